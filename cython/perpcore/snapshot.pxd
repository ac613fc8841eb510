"""Floor 8.6: what a reader gets to see of a unit, a position, a market, the venue (X3).

The structs are those of perpcore/api.h, so that C, C++ and Python read the same numbers.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.adl cimport adl_queue
from perpcore.book cimport BookOrder, book_best
from perpcore.checks cimport Audit, audit_state
from perpcore.codes cimport BUY
from perpcore.contract cimport margin_rate
from perpcore.int128 cimport floor_div, i128, i128_low64, magnitude, not_below_zero, sub64
from perpcore.margin cimport bankruptcy_mark, rate_ceil, scaled_ceil
from perpcore.records cimport NONE
from perpcore.reserves cimport limit_of, order_expiry, order_linked, order_usdc, reserved_left
from perpcore.standing cimport (
    Amounts, amounts, maintenance_units, meets_maintenance, most_usdc_out, notional, paying_equity,
    position_upnl, removable, removable_usdc, transferable, withdrawable_usd,
)
from perpcore.state cimport (
    IN_MARGIN_CALL, NO_CONTRACT, Core, Leg, Market, OrderCold, Unit, is_block, is_in_kind,
    order_leg, unit_usdc,
)
from perpcore.thresholds cimport only_leg, solo_threshold

cdef extern from "perpcore/api.h" nogil:
    cdef struct VenueView "perpcore_venue":
        uint64_t seq
        int64_t time_ns
        int64_t session
        int64_t index_e6
        int64_t fund_units[2]
        int64_t fees_units
        int64_t carried_units
        int64_t inventory_cash_units
        uint32_t accounts
        uint32_t contracts
        uint32_t next_isolation_id
        uint32_t orders

    cdef struct AuditView "perpcore_audit":
        int64_t residual_units[2]
        int64_t open_lots

    cdef struct UnitView "perpcore_unit":
        int64_t cash_units
        int64_t usdc_units
        int64_t order_cash_units
        int64_t collateral_units
        int64_t upnl_units
        int64_t mb_units
        int64_t im_units
        int64_t mm_units
        int64_t order_margin_units
        int64_t available_units
        int64_t transferable_units
        int64_t withdrawable_units[2]
        int64_t removable_units
        int64_t session_pnl_units
        int64_t kept_units
        int64_t deficit_units
        uint32_t account
        uint32_t isolation_id
        uint32_t positions
        uint32_t orders
        uint16_t contract
        uint16_t leverage
        uint8_t state
        uint8_t margin_call
        int64_t order_usdc_units
        int64_t removable_usdc_units

    cdef struct PositionView "perpcore_position":
        int64_t qty_lots
        int64_t cost_units
        int64_t opening_cost_units
        int64_t notional_units
        int64_t upnl_units
        int64_t im_units
        int64_t mm_units
        int64_t fr_units
        int64_t liquidation_mark_ticks
        int64_t bankruptcy_mark_ticks
        uint16_t leverage
        uint16_t contract

    cdef struct ContractView "perpcore_contract":
        int64_t mark_ticks
        int64_t mark_time_ns
        int64_t last_price_ticks
        int64_t best_bid_ticks
        int64_t best_ask_ticks
        int64_t bid_lots
        int64_t ask_lots
        int64_t inventory_lots
        int64_t inventory_cost_units
        int64_t funding_rate_e9
        uint8_t funding_pending
        uint8_t state
        int64_t index_ticks
        int64_t sub_fund_units

    cdef struct OrderView "perpcore_order":
        uint64_t order_id
        uint64_t client_order_id
        uint64_t linked_order_id
        int64_t price_ticks
        int64_t left_lots
        int64_t filled_lots
        int64_t reserved_lots
        int64_t reserve_units
        int64_t reserve_usdc_units
        int64_t expiry_ns
        int64_t trigger_price_ticks
        uint32_t account
        uint32_t isolation_id
        uint16_t contract
        uint16_t leverage
        uint8_t side
        uint8_t trigger_type
        uint8_t trigger_by
        uint8_t time_in_force
        uint8_t exec_flags
        uint8_t stp
        uint8_t is_explicit


cdef inline VenueView view_venue(Core* e) noexcept nogil:
    cdef VenueView v
    memset(&v, 0, sizeof(VenueView))
    v.seq = e.h.seq
    v.time_ns = e.h.time_ns
    v.session = e.h.session
    v.index_e6 = e.h.index_e6
    v.fund_units[0] = <int64_t>i128_low64(e.h.fund_units[0])
    v.fund_units[1] = <int64_t>i128_low64(e.h.fund_units[1])
    v.fees_units = <int64_t>i128_low64(e.h.fees_units)
    v.carried_units = e.h.carried_units
    v.inventory_cash_units = e.h.inventory_cash_units
    v.accounts = e.h.account_count
    v.contracts = e.h.contract_count
    v.next_isolation_id = e.h.next_isolation_id
    v.orders = e.pool.state.live_count
    return v


cdef inline AuditView view_audit(Core* e) noexcept nogil:
    cdef Audit sums = audit_state(e)
    cdef AuditView v
    memset(&v, 0, sizeof(AuditView))
    v.residual_units[0] = <int64_t>i128_low64(sums.residual[0])
    v.residual_units[1] = <int64_t>i128_low64(sums.residual[1])
    v.open_lots = sums.open_lots
    return v


cdef inline UnitView view_unit(Core* e, uint32_t u) noexcept nogil:
    cdef UnitView v
    cdef Unit* unit = &e.units[u]
    cdef Amounts now = amounts(e, u)
    cdef uint32_t i = unit.first_leg
    cdef bint block = is_block(unit)
    memset(&v, 0, sizeof(UnitView))
    v.cash_units = unit.cash_units
    v.order_cash_units = unit.order_cash_units
    v.collateral_units = now.collateral_units
    v.upnl_units = now.upnl_units
    v.mb_units = now.mb_units
    v.im_units = now.im_units
    v.mm_units = now.mm_units
    v.order_margin_units = now.order_margin_units
    v.available_units = not_below_zero(now.free_units)
    v.session_pnl_units = unit.session_pnl_units
    v.kept_units = unit.kept_units
    v.account = unit.account
    v.isolation_id = unit.isolation_id
    v.contract = NO_CONTRACT
    v.leverage = unit.leverage
    v.state = unit.state
    v.margin_call = (unit.flags & IN_MARGIN_CALL) != 0
    v.usdc_units = unit_usdc(e, u)
    if block:
        v.order_usdc_units = e.block_usdc[u].order_units if is_in_kind(e) else 0
        v.removable_units = removable(e, u)
        v.removable_usdc_units = removable_usdc(e, u)
        v.contract = e.legs[unit.first_leg].contract
    else:
        v.deficit_units = e.accounts[unit.account].deficit_units
        v.transferable_units = transferable(&now)
        v.withdrawable_units[0] = withdrawable_usd(e, u, &now)
        v.withdrawable_units[1] = most_usdc_out(e, u, &now)
    while i != NONE:
        v.positions += e.legs[i].qty_lots != 0
        if e.legs[i].orders != NONE:
            v.orders += e.groups[e.legs[i].orders].count
        i = e.legs[i].next_leg
    return v


cdef inline bint below_at(Core* e, uint32_t u, uint32_t contract, int64_t mark) noexcept nogil:
    """Whether the unit would be below maintenance at another mark of one contract, others equal."""
    cdef int64_t now = e.markets[contract].live.mark_ticks
    cdef bint below
    # Lent for the length of one test: every formula reads the mark from its market.
    e.markets[contract].live.mark_ticks = mark
    below = not meets_maintenance(e, u, NULL)
    e.markets[contract].live.mark_ticks = now
    return below


cdef inline int64_t liquidation_mark(Core* e, uint32_t u, uint32_t i) noexcept nogil:
    """The first mark of the leg's contract that liquidates its unit, other marks equal; 0: none.

    One leg: Q2's formula. Several: MB - MM is monotone in each mark, so a bisection finds the turn.
    """
    cdef Leg* leg = &e.legs[i]
    cdef int64_t last = e.markets[leg.contract].terms.max_mark_ticks, low, high, middle
    cdef bint is_long = leg.qty_lots > 0
    if leg.qty_lots == 0:
        return 0
    if only_leg(e, u) == i:
        low = solo_threshold(e, u, i, False)
        return low if 1 <= low <= last else 0
    # low: not liquidated side of a long is above; both ends are kept true.
    low, high = 0, last + 1
    while high - low > 1:
        middle = low + floor_div(high - low, 2)
        if below_at(e, u, leg.contract, middle) == is_long:
            low = middle
        else:
            high = middle
    if is_long:
        return low
    return high if high <= last else 0


cdef inline PositionView view_position(Core* e, uint32_t u, uint32_t i) noexcept nogil:
    cdef PositionView v
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t lots = magnitude(leg.qty_lots), n, worst
    memset(&v, 0, sizeof(PositionView))
    v.contract = leg.contract
    v.leverage = leg.leverage
    if lots == 0:
        return v
    n = notional(m, lots)
    v.qty_lots = leg.qty_lots
    v.cost_units = leg.cost_units
    v.opening_cost_units = leg.opening_cost_units
    v.notional_units = n
    v.upnl_units = position_upnl(m, leg.qty_lots, leg.cost_units)
    v.im_units = rate_ceil(n, margin_rate(&m.terms, lots, n, leg.leverage))
    v.mm_units = maintenance_units(m, lots, n)
    v.fr_units = scaled_ceil(n, &m.terms.rates.fee_reserve)
    v.liquidation_mark_ticks = liquidation_mark(e, u, i)
    # What its USDC gives when it is converted: below that the fund would have to pay (Q3).
    worst = bankruptcy_mark(sub64(paying_equity(e, u, NULL), v.upnl_units), leg.qty_lots,
                            leg.cost_units, m.terms.v)
    v.bankruptcy_mark_ticks = worst if 1 <= worst <= m.terms.max_mark_ticks else 0
    return v


cdef inline ContractView view_contract(Core* e, uint32_t contract) noexcept nogil:
    cdef ContractView v
    cdef Market* m = &e.markets[contract]
    memset(&v, 0, sizeof(ContractView))
    v.mark_ticks = m.live.mark_ticks
    v.mark_time_ns = m.live.mark_time_ns
    v.last_price_ticks = m.live.last_price_ticks
    v.best_bid_ticks = book_best(&m.book, 0)
    v.best_ask_ticks = book_best(&m.book, 1)
    v.best_bid_ticks = not_below_zero(v.best_bid_ticks)
    v.best_ask_ticks = not_below_zero(v.best_ask_ticks)
    v.bid_lots = m.book.totals.qty_lots[0]
    v.ask_lots = m.book.totals.qty_lots[1]
    v.inventory_lots = m.live.inventory_lots
    v.inventory_cost_units = m.live.inventory_cost_units
    v.funding_rate_e9 = m.live.funding_rate_e9
    v.funding_pending = m.live.funding_pending
    v.state = m.live.state
    v.index_ticks = m.live.index_ticks
    v.sub_fund_units = <int64_t>i128_low64(e.sub_funds[contract])
    return v


cdef inline OrderView view_order(Core* e, uint32_t slot) noexcept nogil:
    """A live order; while it waits for its trigger, that too."""
    cdef OrderView v
    cdef OrderCold* o = &e.cold[slot]
    cdef BookOrder* b = &e.pool.orders[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    memset(&v, 0, sizeof(OrderView))
    v.order_id = b.order_id
    v.client_order_id = o.client_order_id
    if order_linked(e, slot) != NONE:
        v.linked_order_id = e.pool.orders[order_linked(e, slot)].order_id
    v.price_ticks = limit_of(e, slot)
    v.left_lots = b.qty_lots
    v.filled_lots = o.filled_lots
    v.reserved_lots = reserved_left(o)
    v.reserve_units = o.reserve_units
    v.reserve_usdc_units = order_usdc(e, slot)
    v.expiry_ns = order_expiry(e, slot)
    v.account = leg.account
    v.isolation_id = e.units[leg.unit].isolation_id
    v.contract = leg.contract
    v.leverage = o.leverage
    v.side = <uint8_t>((b.price_side & 1) + BUY)
    v.time_in_force = o.time_in_force
    v.exec_flags = o.exec_flags
    v.stp = o.stp
    v.is_explicit = o.is_explicit
    if o.is_dormant:
        v.side = <uint8_t>(e.dormant[slot].side + BUY)
        v.trigger_price_ticks = b.price_side >> 1
        v.trigger_type = e.dormant[slot].order_type
        v.trigger_by = e.dormant[slot].reference
    return v


cdef inline uint32_t rank_in_queue(Core* e, uint32_t i) noexcept nogil:
    """A position's place in its side's queue of auto-deleveraging, 1 first (Q4)."""
    cdef uint32_t n = 0, count = adl_queue(
        e, e.legs[i].contract, -1 if e.legs[i].qty_lots > 0 else 1)
    while n < count and e.ranked[n].index != i:
        n += 1
    return n + 1
