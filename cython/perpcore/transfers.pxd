"""Floor 4.4: money between main and its blocks; USDC that covers what USD lacks (A4, C5)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perpcore.codes cimport (
    BLOCK_ORDER_USDC, BLOCK_POSITION_USDC, R_AUTO_CONVERSION, R_ISOLATED_TRANSFER,
)
from perpcore.contract cimport E6, E9
from perpcore.int128 cimport (
    add64, i128_ceil_div, i128_mul, i128_mul_u, i128_to64, not_below_zero, smaller, sub64,
)
from perpcore.memory cimport rarely
from perpcore.posting cimport (
    USD_LEDGER, USDC_LEDGER, post_block_usdc, post_cash, post_conversion, post_order_cash,
    post_usdc, write_cash,
)
from perpcore.standing cimport convertible, lock_units
from perpcore.state cimport (
    NO_CONTRACT, Core, Unit, edit_unit, is_block, is_in_kind, main_of, money_matters, smudge, touch,
    unit_usdc,
)
from perpcore.unitset cimport unitset_add


cdef inline int64_t usdc_for(Core* e, uint32_t u, int64_t missing_units) noexcept nogil:
    """The unit's USDC that gives so much USD at index x (1 - haircut), up; at most all of it (A4).

    Up favors the venue's conversion account, and what stays USDC is worth what it stands for.
    """
    cdef int64_t own = unit_usdc(e, u)
    if convertible(e, own) < missing_units:
        return own
    return i128_to64(i128_ceil_div(
        i128_mul_u(i128_mul(missing_units, 1), <uint64_t>(E6 * E9)),
        <uint64_t>(e.h.index_e6 * (E9 - e.terms.usdc_haircut_e9))))


cdef inline void convert(Core* e, uint32_t u, int64_t paid_usdc, int64_t got_usd) noexcept nogil:
    """A unit's own USDC becomes USD against the venue's conversion account (A4)."""
    cdef uint32_t contract
    if is_block(&e.units[u]):
        contract = e.legs[e.units[u].first_leg].contract
        post_block_usdc(e, u, BLOCK_POSITION_USDC, -paid_usdc, R_AUTO_CONVERSION, contract, 0)
    else:
        contract = NO_CONTRACT
        post_usdc(e, e.units[u].account, -paid_usdc, R_AUTO_CONVERSION, contract, 0)
    post_conversion(e, USDC_LEDGER, paid_usdc)
    post_conversion(e, USD_LEDGER, -got_usd)
    post_cash(e, u, got_usd, R_AUTO_CONVERSION, contract, 0)


cdef inline int64_t cover_usd(Core* e, uint32_t u, int64_t missing_units) noexcept nogil:
    """Turn the unit's own USDC into so much USD, or into as much as it gives; returns the USD (A4).

    What too little of it gives is rounded down; what would give nothing stays.
    """
    cdef int64_t got
    if missing_units <= 0:
        return 0
    got = convertible(e, unit_usdc(e, u))
    if got == 0:
        return 0
    got = missing_units if got > missing_units else got
    convert(e, u, usdc_for(e, u, missing_units), got)
    return got


cdef inline void cover_negative(Core* e, uint32_t u) noexcept nogil:
    """A negative USD leg of a unit is covered by its own USDC before any test (A4)."""
    if rarely(e.units[u].cash_units < 0):
        cover_usd(e, u, -e.units[u].cash_units)


cdef inline void convert_all(Core* e, uint32_t u) noexcept nogil:
    """All USDC of a block that is liquidated becomes USD, that of forfeit orders too (Q3)."""
    cdef uint32_t contract = e.legs[e.units[u].first_leg].contract
    cdef int64_t usdc, got
    if not is_in_kind(e):
        return
    usdc = e.block_usdc[u].position_units
    convert(e, u, usdc, convertible(e, usdc))
    usdc = e.block_usdc[u].order_units
    got = convertible(e, usdc)
    post_block_usdc(e, u, BLOCK_ORDER_USDC, -usdc, R_AUTO_CONVERSION, contract, 0)
    post_conversion(e, USDC_LEDGER, usdc)
    post_conversion(e, USD_LEDGER, -got)
    post_order_cash(e, u, got, R_AUTO_CONVERSION, contract, 0)


# ---- USDC that stays USDC -----------------------------------------------------------------------

cdef inline int64_t cut_usdc(Core* e, uint32_t main, int64_t* units) noexcept nogil:
    """Of an amount that moves into a block: what main's USD lacks, as its USDC, where it stays that
    (A4). `units` is cut down to the part in USD; 0: all of it is."""
    cdef int64_t cash = e.units[main].cash_units, missing
    if not is_in_kind(e):
        return 0
    missing = sub64(units[0], not_below_zero(cash))
    if missing <= 0:
        return 0
    units[0] = sub64(units[0], missing)
    return usdc_for(e, main, missing)


cdef inline void fund_usdc(Core* e, uint32_t block, uint8_t ledger, int64_t units,
                           uint32_t contract, uint64_t order_id) noexcept nogil:
    """USDC from main to a ledger of the block; it carries no profit and so no lock (C5)."""
    post_usdc(e, e.units[block].account, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_block_usdc(e, block, ledger, units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void return_usdc(Core* e, uint32_t block, uint8_t ledger, int64_t units,
                             uint32_t contract, uint64_t order_id) noexcept nogil:
    """USDC from a ledger of the block to main."""
    post_block_usdc(e, block, ledger, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_usdc(e, e.units[block].account, units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void return_position_usdc(Core* e, uint32_t block, uint32_t contract,
                                      uint64_t order_id) noexcept nogil:
    """All USDC of a position that has ended, to main."""
    if is_in_kind(e):
        return_usdc(e, block, BLOCK_POSITION_USDC, e.block_usdc[block].position_units, contract,
                    order_id)


cdef inline void spend_order_usdc(Core* e, uint32_t block, int64_t units, uint32_t contract,
                                  uint64_t order_id) noexcept nogil:
    """USDC of an opening fill's slice: from the block's orders to its position."""
    post_block_usdc(e, block, BLOCK_ORDER_USDC, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_block_usdc(e, block, BLOCK_POSITION_USDC, units, R_ISOLATED_TRANSFER, contract, order_id)


# ---- USD ----------------------------------------------------------------------------------------

cdef inline void move_session(Core* e, uint32_t payer, uint32_t payee,
                              int64_t units) noexcept nogil:
    """So much locked profit goes along with a transfer: the session's first, then what was kept."""
    if units <= 0:
        return
    cdef Unit* source = edit_unit(e, payer)
    cdef Unit* to = edit_unit(e, payee)
    cdef int64_t profit = not_below_zero(source.session_pnl_units)
    profit = smaller(profit, units)
    source.session_pnl_units = sub64(source.session_pnl_units, profit)
    to.session_pnl_units = add64(to.session_pnl_units, profit)
    source.kept_units = sub64(source.kept_units, units - profit)
    to.kept_units = add64(to.kept_units, units - profit)
    unitset_add(e.settling, payee)


cdef inline void leave_main(Core* e, uint32_t main, uint32_t block, int64_t units,
                            uint32_t contract, uint64_t order_id) noexcept nogil:
    """The main account pays: unlocked money first, USDC for what USD lacks (C5, I2, I8)."""
    cdef int64_t cash = e.units[main].cash_units, lock, unlocked, moved
    cover_usd(e, main, sub64(units, not_below_zero(cash)))
    lock = lock_units(&e.units[main])
    unlocked = sub64(e.units[main].cash_units, lock)
    moved = sub64(units, not_below_zero(unlocked))
    move_session(e, main, block, smaller(moved, lock))
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
    move_session(e, block, main, smaller(units, lock))


cdef inline void fund_orders(Core* e, uint32_t block, int64_t units, uint32_t contract,
                             uint64_t order_id) noexcept nogil:
    """From main to the block's order_cash."""
    if units <= 0:
        return
    leave_main(e, main_of(e, block), block, units, contract, order_id)
    post_order_cash(e, block, units, R_ISOLATED_TRANSFER, contract, order_id)


cdef inline void fund_position(Core* e, uint32_t block, int64_t units,
                               uint32_t contract) noexcept nogil:
    """From main to the block's position_cash; by policy USDC goes beside it as it is."""
    cdef int64_t usdc
    if units <= 0:
        return
    usdc = cut_usdc(e, main_of(e, block), &units)
    leave_main(e, main_of(e, block), block, units, contract, 0)
    post_cash(e, block, units, R_ISOLATED_TRANSFER, contract, 0)
    fund_usdc(e, block, BLOCK_POSITION_USDC, usdc, contract, 0)


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
    """A flat position's money goes to main with the block's session PnL, losses too (I11).

    Money that stays for the block's orders keeps the locked profit that it is: as with any
    transfer, what goes back takes the locked first (C5).
    """
    cdef uint32_t main = main_of(e, block)
    cover_negative(e, block)
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
    unitset_add(e.settling, main)
    post_cash(e, block, -units, R_ISOLATED_TRANSFER, contract, order_id)
    post_cash(e, main, units, R_ISOLATED_TRANSFER, contract, order_id)
    return_position_usdc(e, block, contract, order_id)
