"""Floor 4: the only writer of money. Every change is an event (L2); the ledger stays closed (L1).

The running residual of a currency is
  sum of cash - sum of costs + fees + fund + conversion - deposits + withdrawals, modulo 2^64.
Each function below adds what it changes; a command that leaves it non-zero is our bug.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from perpcore.codes cimport (
    BALANCE, BLOCK_ORDER, BLOCK_POSITION, BLOCK_POSITION_USDC, CONVERSION_USD, CONVERSION_USDC,
    FUND_USD, FUND_USDC, INVENTORY, MAIN_USD, MAIN_USDC, R_AUTO_CONVERSION, R_DEPOSIT,
    R_ISOLATED_TRANSFER, R_REALIZED_PNL, R_WITHDRAW, SUB_FUND,
)
from perpcore.int128 cimport (
    add64, i128, i128_add, i128_cmp, i128_from, i128_low64, i128_neg, i128_to64,
    magnitude, mul_div_ceil, sub64,
)
from perpcore.memory cimport rarely
from perpcore.policies cimport FUND_BY_CONTRACT
from perpcore.records cimport Event
from perpcore.state cimport (
    NO_CONTRACT, BlockUsdc, Core, Leg, Live, Unit, edit_account, edit_block_usdc, edit_leg,
    edit_live, edit_unit, event, is_block, money_matters, touch, unit_event,
)
from perpcore.undo cimport undo_save
from perpcore.unitset cimport unitset_add

cdef enum:
    USD_LEDGER = 0
    USDC_LEDGER = 1

# What a close takes off the two costs of a position.
cdef struct Released:
    int64_t cost_units
    int64_t opening_units


cdef inline bint counts_as_session_pnl(uint8_t reason) noexcept nogil:
    """S4: every change of a unit's cash except money that only moves."""
    return ((1 << R_DEPOSIT | 1 << R_WITHDRAW | 1 << R_ISOLATED_TRANSFER | 1 << R_AUTO_CONVERSION)
            >> reason) & 1 == 0


cdef inline void tell_unit(Core* e, uint32_t u, uint32_t contract, uint64_t order_id,
                           uint8_t reason, uint8_t ledger, int64_t units,
                           int64_t balance_units) noexcept nogil:
    """BALANCE of one of a unit's ledgers: what changed, and what it is now (L2)."""
    cdef Event* ev = unit_event(e, BALANCE, u, contract)
    ev.order_id = order_id
    ev.reason = reason
    ev.ledger = ledger
    ev.amount_units = units
    ev.balance_units = balance_units


cdef inline void tell_venue(Core* e, uint32_t contract, uint8_t reason, uint8_t ledger,
                            int64_t units, int64_t balance_units) noexcept nogil:
    """BALANCE of one of the venue's own ledgers (L2)."""
    cdef Event* ev = event(e, BALANCE)
    ev.contract = <uint16_t>contract
    ev.reason = reason
    ev.ledger = ledger
    ev.amount_units = units
    ev.balance_units = balance_units


cdef inline void post_cash(Core* e, uint32_t u, int64_t units, uint8_t reason,
                           uint32_t contract, uint64_t order_id) noexcept nogil:
    """Change a unit's own cash: USD of a main account, position_cash of a block."""
    if units == 0:
        return
    write_cash(e, u, units, reason, contract, order_id)
    # With more money a unit passes what it passed before, and its key is only too early.
    if units < 0 or money_matters(&e.units[u]):
        touch(e, u)


cdef inline void write_cash(Core* e, uint32_t u, int64_t units, uint8_t reason,
                            uint32_t contract, uint64_t order_id) noexcept nogil:
    """post_cash where the caller sees to tests and thresholds."""
    cdef Unit* unit
    if units == 0:
        return
    unit = edit_unit(e, u)
    unit.cash_units = add64(unit.cash_units, units)
    if rarely(unit.session_pnl_units == 0):
        unitset_add(e.settling, u)
    unit.session_pnl_units = add64(
        unit.session_pnl_units, units & -<int64_t>counts_as_session_pnl(reason))
    if rarely(money_matters(unit)):
        unitset_add(e.needy, u)
    e.h.residual[USD_LEDGER] += <uint64_t>units
    tell_unit(e, u, contract, order_id, reason, BLOCK_POSITION if is_block(unit) else MAIN_USD,
              units, unit.cash_units)


cdef inline void post_order_cash(Core* e, uint32_t u, int64_t units, uint8_t reason,
                                 uint32_t contract, uint64_t order_id) noexcept nogil:
    """Change the money that a block holds for its orders: no test and no threshold reads it."""
    if units == 0:
        return
    cdef Unit* unit = edit_unit(e, u)
    unit.order_cash_units = add64(unit.order_cash_units, units)
    e.h.residual[USD_LEDGER] += <uint64_t>units
    tell_unit(e, u, contract, order_id, reason, BLOCK_ORDER, units, unit.order_cash_units)


cdef inline void post_usdc(Core* e, uint32_t account, int64_t units, uint8_t reason,
                           uint32_t contract, uint64_t order_id) noexcept nogil:
    """Change an account's USDC."""
    if units == 0:
        return
    cdef uint32_t u = e.accounts[account].unit
    edit_account(e, account).usdc_units = add64(e.accounts[account].usdc_units, units)
    e.h.residual[USDC_LEDGER] += <uint64_t>units
    tell_unit(e, u, contract, order_id, reason, MAIN_USDC, units, e.accounts[account].usdc_units)
    touch(e, u)


cdef inline void post_block_usdc(Core* e, uint32_t u, uint8_t ledger, int64_t units,
                                 uint8_t reason, uint32_t contract,
                                 uint64_t order_id) noexcept nogil:
    """Change a block's USDC: of its position (BLOCK_POSITION_USDC) or of its orders."""
    if units == 0:
        return
    cdef BlockUsdc* held = edit_block_usdc(e, u)
    cdef int64_t* balance = (
        &held.position_units if ledger == BLOCK_POSITION_USDC else &held.order_units)
    balance[0] = add64(balance[0], units)
    e.h.residual[USDC_LEDGER] += <uint64_t>units
    tell_unit(e, u, contract, order_id, reason, ledger, units, balance[0])
    if ledger == BLOCK_POSITION_USDC:
        touch(e, u)


cdef inline int64_t post_sub_fund(Core* e, uint32_t contract, int64_t units,
                                  uint8_t reason) noexcept nogil:
    """Change a contract's own fund, down to 0 at most; returns what is left for the shared one."""
    cdef i128* fund = &e.sub_funds[contract]
    cdef int64_t part = units
    if units < 0 and i128_cmp(i128_neg(fund[0]), i128_from(units)) > 0:
        part = i128_to64(i128_neg(fund[0]))
    if part:
        undo_save(&e.undo, fund, sizeof(i128))
        fund[0] = i128_add(fund[0], i128_from(part))
        e.h.residual[USD_LEDGER] += <uint64_t>part
        tell_venue(e, contract, reason, SUB_FUND, part, <int64_t>i128_low64(fund[0]))
    return sub64(units, part)


cdef inline void post_fund(Core* e, int currency, int64_t units, uint8_t reason,
                           uint32_t contract) noexcept nogil:
    """Change the insurance fund (currency 0 USD, 1 USDC); by policy its contract's part first."""
    if e.terms.fund_by_contract == FUND_BY_CONTRACT and contract != NO_CONTRACT:
        units = post_sub_fund(e, contract, units, reason)
    if units == 0:
        return
    e.h.fund_units[currency] = i128_add(e.h.fund_units[currency], i128_from(units))
    e.h.residual[currency] += <uint64_t>units
    tell_venue(e, contract, reason, FUND_USD if currency == USD_LEDGER else FUND_USDC,
               units, <int64_t>i128_low64(e.h.fund_units[currency]))


cdef inline void post_conversion(Core* e, int currency, int64_t units) noexcept nogil:
    """Change the venue's conversion account (A4)."""
    if units == 0:
        return
    e.h.conversion_units[currency] = i128_add(e.h.conversion_units[currency], i128_from(units))
    e.h.residual[currency] += <uint64_t>units
    tell_venue(e, NO_CONTRACT, R_AUTO_CONVERSION,
               CONVERSION_USD if currency == USD_LEDGER else CONVERSION_USDC,
               units, <int64_t>i128_low64(e.h.conversion_units[currency]))


cdef inline void post_inventory(Core* e, int64_t units, uint8_t reason,
                                uint32_t contract) noexcept nogil:
    """Change the cash of the fund's inventory."""
    if units == 0:
        return
    e.h.inventory_cash_units = add64(e.h.inventory_cash_units, units)
    e.h.residual[USD_LEDGER] += <uint64_t>units
    tell_venue(e, contract, reason, INVENTORY, units, e.h.inventory_cash_units)


cdef inline void credit_fees(Core* e, int64_t units) noexcept nogil:
    """The fee account's side of a TRADE_FEE; the payer's event stands for both."""
    e.h.fees_units = i128_add(e.h.fees_units, i128_from(units))
    e.h.residual[USD_LEDGER] += <uint64_t>units


cdef inline void book_deposit(Core* e, int currency, int64_t units) noexcept nogil:
    """Money came from outside; whoever gets it is posted by the caller."""
    e.h.deposits_units[currency] = i128_add(e.h.deposits_units[currency], i128_from(units))
    e.h.residual[currency] -= <uint64_t>units


cdef inline void book_withdrawal(Core* e, int currency, int64_t units) noexcept nogil:
    """Money left the venue; whoever gave it is posted by the caller."""
    e.h.withdrawals_units[currency] = i128_add(e.h.withdrawals_units[currency], i128_from(units))
    e.h.residual[currency] += <uint64_t>units


cdef inline void move_position(Core* e, uint32_t leg, int64_t lots, int64_t cost_units,
                               int64_t opening_cost_units) noexcept nogil:
    """Change a leg by signed lots and signed costs (U4)."""
    write_position(e, leg, lots, cost_units, opening_cost_units)
    touch(e, e.legs[leg].unit)


cdef inline Released released_costs(const Leg* leg, int64_t lots) noexcept nogil:
    """What closing `lots` takes off a position's costs: ceil(C k / |Q|) (U4).

    Up, also for a short's negative cost: what stays is never dearer than its share.
    """
    cdef int64_t held = magnitude(leg.qty_lots)
    cdef Released r
    r.cost_units = leg.cost_units
    r.opening_units = leg.opening_cost_units
    if lots == held:
        return r
    r.cost_units = mul_div_ceil(leg.cost_units, lots, held)
    # Until a session has rolled the position its two costs are one.
    if leg.opening_cost_units == leg.cost_units:
        r.opening_units = r.cost_units
    else:
        r.opening_units = mul_div_ceil(leg.opening_cost_units, lots, held)
    return r


cdef inline void write_position(Core* e, uint32_t leg, int64_t lots, int64_t cost_units,
                                int64_t opening_cost_units) noexcept nogil:
    """move_position where the caller sees to tests and thresholds."""
    cdef Leg* held = edit_leg(e, leg)
    cdef Live* live = edit_live(e, held.contract)
    live.position_count -= held.qty_lots != 0
    held.qty_lots = add64(held.qty_lots, lots)
    held.cost_units = add64(held.cost_units, cost_units)
    held.opening_cost_units = add64(held.opening_cost_units, opening_cost_units)
    live.position_count += held.qty_lots != 0
    live.qty_sum_lots = add64(live.qty_sum_lots, lots)
    e.h.residual[USD_LEDGER] -= <uint64_t>cost_units


cdef inline void roll_position(Core* e, uint32_t leg, int64_t upnl_units) noexcept nogil:
    """Turn uPnL into cash: C grows by as much, C0 stays (U4).

    Equity does not change and nor does C - cash, so that no test and no threshold can (Q2): the
    unit is not touched.
    """
    cdef Leg* held
    if upnl_units == 0:
        return
    held = edit_leg(e, leg)
    held.cost_units = add64(held.cost_units, upnl_units)
    e.h.residual[USD_LEDGER] -= <uint64_t>upnl_units
    write_cash(e, held.unit, upnl_units, R_REALIZED_PNL, held.contract, 0)


cdef inline void move_inventory(Core* e, uint32_t contract, int64_t lots,
                                int64_t cost_units) noexcept nogil:
    """Change the fund's inventory on a contract by signed lots and signed cost."""
    cdef Live* live = edit_live(e, contract)
    live.inventory_lots = add64(live.inventory_lots, lots)
    live.inventory_cost_units = add64(live.inventory_cost_units, cost_units)
    live.qty_sum_lots = add64(live.qty_sum_lots, lots)
    e.h.residual[USD_LEDGER] -= <uint64_t>cost_units
