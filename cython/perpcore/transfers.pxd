"""Floor 4.4: money between main and its blocks; USDC that covers what USD lacks (A4, C5)."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.codes cimport R_AUTO_CONVERSION, R_ISOLATED_TRANSFER
from perpcore.contract cimport E6, E9
from perpcore.int128 cimport add64, i128_ceil_div, i128_mul, i128_mul_u, i128_to64, sub64
from perpcore.posting cimport (
    USD_LEDGER, USDC_LEDGER, post_cash, post_conversion, post_order_cash, post_usdc,
    write_cash,
)
from perpcore.standing cimport convertible, lock_units
from perpcore.state cimport (
    NO_CONTRACT, Core, Unit, edit_unit, main_of, money_matters, smudge, touch,
)


cdef inline void cover_usd(Core* e, uint32_t u, int64_t missing_units) noexcept nogil:
    """Turn the main account's own USDC into so much USD, or into as much as it gives (A4).

    The rate is index x (1 - haircut); the USDC paid is rounded up, what too little of it gives
    down: both favor the venue's conversion account.
    """
    cdef int64_t own = e.accounts[e.units[u].account].usdc_units
    cdef uint64_t num = <uint64_t>(e.h.index_e6 * (E9 - e.terms.usdc_haircut_e9))
    cdef int64_t paid = own, got = convertible(e, own)
    if missing_units <= 0 or got == 0:
        return
    if got >= missing_units:
        paid = i128_to64(i128_ceil_div(
            i128_mul_u(i128_mul(missing_units, 1), <uint64_t>(E6 * E9)), num))
        got = missing_units
    post_usdc(e, e.units[u].account, -paid, R_AUTO_CONVERSION)
    post_conversion(e, USDC_LEDGER, paid)
    post_conversion(e, USD_LEDGER, -got)
    post_cash(e, u, got, R_AUTO_CONVERSION, NO_CONTRACT, 0)


cdef inline void cover_negative(Core* e, uint32_t u) noexcept nogil:
    """A negative USD leg of a main account is covered before any test (A4)."""
    cdef int64_t cash = e.units[u].cash_units
    if cash < 0 and e.accounts[e.units[u].account].usdc_units > 0:
        cover_usd(e, u, -cash)


cdef inline void move_session(Core* e, uint32_t payer, uint32_t payee,
                              int64_t units) noexcept nogil:
    """So much locked profit goes along with a transfer: the session's first, then what was kept."""
    if units <= 0:
        return
    cdef Unit* source = edit_unit(e, payer)
    cdef Unit* to = edit_unit(e, payee)
    cdef int64_t profit = source.session_pnl_units if source.session_pnl_units > 0 else 0
    profit = profit if profit < units else units
    source.session_pnl_units = sub64(source.session_pnl_units, profit)
    to.session_pnl_units = add64(to.session_pnl_units, profit)
    source.kept_units = sub64(source.kept_units, units - profit)
    to.kept_units = add64(to.kept_units, units - profit)


cdef inline void leave_main(Core* e, uint32_t main, uint32_t block, int64_t units,
                            uint32_t contract, uint64_t order_id) noexcept nogil:
    """The main account pays: unlocked money first, USDC for what USD lacks (C5, I2, I8)."""
    cdef int64_t cash = e.units[main].cash_units, lock, unlocked, moved
    cover_usd(e, main, sub64(units, cash if cash > 0 else 0))
    lock = lock_units(&e.units[main])
    unlocked = sub64(e.units[main].cash_units, lock)
    moved = sub64(units, unlocked if unlocked > 0 else 0)
    move_session(e, main, block, moved if moved < lock else lock)
    write_cash(e, main, -units, R_ISOLATED_TRANSFER, contract, order_id)
    # No more than what is transferable goes (C2): every test is passed after it as before.
    if money_matters(&e.units[main]):
        touch(e, main)
    else:
        smudge(e, main)


cdef inline void return_session(Core* e, uint32_t block, uint32_t main,
                                int64_t units) noexcept nogil:
    """Money that comes back brings the locked profit first (C5)."""
    cdef int64_t lock = lock_units(&e.units[block])
    move_session(e, block, main, units if units < lock else lock)


cdef inline void fund_orders(Core* e, uint32_t block, int64_t units, uint32_t contract,
                             uint64_t order_id) noexcept nogil:
    """From main to the block's order_cash."""
    if units <= 0:
        return
    leave_main(e, main_of(e, block), block, units, contract, order_id)
    post_order_cash(e, block, units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void fund_position(Core* e, uint32_t block, int64_t units,
                               uint32_t contract) noexcept nogil:
    """From main to the block's position_cash."""
    if units <= 0:
        return
    leave_main(e, main_of(e, block), block, units, contract, 0)
    post_cash(e, block, units, R_ISOLATED_TRANSFER, contract, 0)


cdef inline void return_order_cash(Core* e, uint32_t block, int64_t units, uint32_t contract,
                                   uint64_t order_id) noexcept nogil:
    """From the block's order_cash to main."""
    if units <= 0:
        return
    return_session(e, block, main_of(e, block), units)
    post_order_cash(e, block, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_cash(e, main_of(e, block), units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void return_position_cash(Core* e, uint32_t block, int64_t units, uint32_t contract,
                                      uint64_t order_id) noexcept nogil:
    """From the block's position_cash to main."""
    if units <= 0:
        return
    bring_back(e, block, units, contract, order_id)
    touch(e, block)


cdef inline void bring_back(Core* e, uint32_t block, int64_t units, uint32_t contract,
                            uint64_t order_id) noexcept nogil:
    """return_position_cash where the caller sees to the block's tests and threshold."""
    if units <= 0:
        return
    return_session(e, block, main_of(e, block), units)
    write_cash(e, block, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_cash(e, main_of(e, block), units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void return_everything(Core* e, uint32_t block, uint32_t contract,
                                   uint64_t order_id) noexcept nogil:
    """A flat position's cash goes to main with the block's session PnL, losses too (I11).

    Money that stays for the block's orders keeps the locked profit that it is: as with any
    transfer, what goes back takes the locked first (C5).
    """
    cdef uint32_t main = main_of(e, block)
    cdef Unit* source = edit_unit(e, block)
    cdef Unit* to = edit_unit(e, main)
    cdef int64_t units = source.cash_units, session = source.session_pnl_units
    cdef int64_t kept = source.kept_units
    if source.order_cash_units:
        return_session(e, block, main, units)
        session = session if session < 0 else 0
        kept = 0
    to.session_pnl_units = add64(to.session_pnl_units, session)
    to.kept_units = add64(to.kept_units, kept)
    source.session_pnl_units = sub64(source.session_pnl_units, session)
    source.kept_units = sub64(source.kept_units, kept)
    post_cash(e, block, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_cash(e, main, units, R_ISOLATED_TRANSFER, contract, order_id)
