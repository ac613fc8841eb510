"""Floor 6.2: isolated blocks between orders: leverage, margin in and out (C6, I1, I6 to I11)."""
from libc.stdint cimport int64_t, uint16_t, uint32_t, uint64_t

from perpcore.codes cimport (
    AUTO_TOP_UP, BLOCK_CLOSED, BLOCK_ORDER_USDC, BLOCK_POSITION_USDC, CAPACITY,
    EXCEEDS_INITIAL_MARGIN, EXCEEDS_REMOVABLE, INSUFFICIENT_BALANCE, INVALID_CURRENCY,
    INVALID_EXEC_INST, INVALID_ISOLATION_ID, INVALID_LEVERAGE, LEVERAGE_SET, OK, USD, USDC,
)
from perpcore.contract cimport margin_rate
from perpcore.eligibility cimport eligibility_code
from perpcore.int128 cimport add64, magnitude, not_below_zero, sub64
from perpcore.margin cimport rate_ceil
from perpcore.memory cimport CHECK
from perpcore.orders cimport Answer, mark_code
from perpcore.records cimport NONE, Command, Event
from perpcore.reserves cimport (
    change_order_usdc, order_extra, order_reserve, order_usdc, reserved_left,
)
from perpcore.standing cimport (
    Amounts, amounts, convertible, free_money, most_usdc_out, notional, removable, removable_usdc,
    transferable,
)
from perpcore.state cimport (
    Account, Core, Leg, LegOrders, Market, OrderCold, Unit, block_by_id, core_commit, core_mark,
    core_rollback, edit_account, edit_cold, edit_group, edit_leg, edit_unit, has_room, is_in_kind,
    leg_of, leg_release, leg_take, main_of, order_leg, touch, unit_event, unit_release,
)
from perpcore.thresholds cimport unfile_leg
from perpcore.transfers cimport (
    cut_usdc, fund_orders, fund_position, fund_usdc, return_everything, return_position_cash,
    return_usdc,
)


# ---- the end of a block -------------------------------------------------------------------------

cdef inline bint is_idle(Core* e, uint32_t u) noexcept nogil:
    """Neither position nor orders: the block closes."""
    cdef Leg* leg = &e.legs[e.units[u].first_leg]
    return leg.qty_lots == 0 and leg.orders == NONE


cdef inline void forget_block(Core* e, uint32_t u) noexcept nogil:
    """BLOCK_CLOSED, and its records are free; its cash is gone already."""
    cdef uint32_t account = e.units[u].account, leg = e.units[u].first_leg
    cdef uint32_t before = e.accounts[account].first_block
    cdef Account* owner = edit_account(e, account)
    CHECK(e.units[u].cash_units == 0 and e.units[u].order_cash_units == 0)
    CHECK(not is_in_kind(e)
          or (e.block_usdc[u].position_units | e.block_usdc[u].order_units) == 0)
    unit_event(e, BLOCK_CLOSED, u, e.legs[leg].contract)
    owner.block_count -= 1
    if before == u:
        owner.first_block = e.units[u].next_block
    else:
        while e.units[before].next_block != u:
            before = e.units[before].next_block
        edit_unit(e, before).next_block = e.units[u].next_block
    unfile_leg(e, leg)
    leg_release(e, leg)
    unit_release(e, u)


cdef inline void close_idle_block(Core* e, uint32_t u) noexcept nogil:
    """All that is left, and the session PnL, goes to main (I1, I11)."""
    return_everything(e, u, e.legs[e.units[u].first_leg].contract, 0)
    forget_block(e, u)


# ---- leverage -----------------------------------------------------------------------------------

cdef inline int64_t reserve_at(Core* e, uint32_t slot, int64_t leverage) noexcept nogil:
    """What an order would have to hold at another leverage: R(n) - R(f), E only while f = 0."""
    cdef OrderCold* o = &e.cold[slot]
    cdef uint16_t before = o.leverage
    cdef int64_t need
    if reserved_left(o) == 0:
        return 0
    # The reserve reads the order's leverage: it is lent the new one for the length of a formula.
    o.leverage = <uint16_t>leverage
    need = add64(sub64(order_reserve(e, slot, o.reserved_total),
                       order_reserve(e, slot, o.reserved_used)), order_extra(e, slot))
    o.leverage = before
    return need


cdef inline int64_t order_shortfall(Core* e, uint32_t slot, int64_t leverage) noexcept nogil:
    """What an order lacks at another leverage; its USDC counts for what it gives (I7)."""
    return not_below_zero(sub64(
        reserve_at(e, slot, leverage),
        add64(e.cold[slot].reserve_units, convertible(e, order_usdc(e, slot)))))


cdef inline uint32_t first_order(Core* e, uint32_t leg) noexcept nogil:
    return NONE if e.legs[leg].orders == NONE else e.groups[e.legs[leg].orders].first_order


cdef inline int64_t position_shortfall(Core* e, uint32_t u, int64_t leverage) noexcept nogil:
    """I7: max(0, IM(new) - MB), with the haircut of what USDC there is."""
    cdef Leg* leg = &e.legs[e.units[u].first_leg]
    cdef Market* m = &e.markets[leg.contract]
    cdef Amounts now
    cdef int64_t n = notional(m, leg.qty_lots)
    if leg.qty_lots == 0:
        return 0
    now = amounts(e, u)
    return not_below_zero(sub64(add64(
        rate_ceil(n, margin_rate(&m.terms, magnitude(leg.qty_lots), n, leverage)),
        now.haircut_units), now.mb_units))


cdef inline void raise_reserve(Core* e, uint32_t slot, int64_t units,
                               int64_t leverage) noexcept nogil:
    """The order holds so much more, at its new leverage; a dormant one has neither."""
    cdef OrderCold* o = edit_cold(e, slot)
    cdef LegOrders* g = edit_group(e, e.legs[order_leg(e, slot)].orders)
    cdef int side = e.pool.orders[slot].price_side & 1
    if o.is_dormant:
        return
    o.leverage = <uint16_t>leverage
    o.reserve_units = add64(o.reserve_units, units)
    g.reserve_units[side] = add64(g.reserve_units[side], units)


cdef inline bint raises(int64_t now, int64_t leverage) noexcept nogil:
    """Needs another leverage than now."""
    return leverage > now


cdef inline void announce_leverage(Core* e, uint32_t u, uint32_t contract,
                                   int64_t leverage) noexcept nogil:
    cdef Event* ev = unit_event(e, LEVERAGE_SET, u, contract)
    ev.qty_lots = leverage
    touch(e, u)


cdef inline void lower_block(Core* e, uint32_t u, int64_t position,
                             int64_t leverage) noexcept nogil:
    """I7, after its checks: what is missing moves in, first to the position, then by order id."""
    cdef uint32_t leg = e.units[u].first_leg, contract = e.legs[leg].contract
    cdef uint32_t slot = first_order(e, leg)
    cdef int64_t missing, usdc
    fund_position(e, u, position, contract)
    while slot != NONE:
        missing = order_shortfall(e, slot, leverage)
        usdc = cut_usdc(e, main_of(e, u), &missing)
        raise_reserve(e, slot, missing, leverage)
        fund_orders(e, u, missing, contract, e.pool.orders[slot].order_id)
        if usdc:
            change_order_usdc(e, slot, usdc)
            fund_usdc(e, u, BLOCK_ORDER_USDC, usdc, contract, e.pool.orders[slot].order_id)
        slot = e.cold[slot].next_order


cdef inline int set_block_leverage(Core* e, const Command* c, uint32_t u, Answer* a) noexcept nogil:
    """I6 up: no cash moves. I7 down: nothing, 320 with the need, or exactly the need moves in."""
    cdef uint32_t leg = e.units[u].first_leg, slot = first_order(e, leg)
    cdef int64_t position, need
    cdef Amounts main
    cdef int code
    if raises(e.units[u].leverage, c.leverage):
        code = eligibility_code(e, c.account, c.contract, True, c.leverage, 0)
        if code:
            return code
        edit_unit(e, u).leverage = c.leverage
        edit_leg(e, leg).leverage = c.leverage
        announce_leverage(e, u, c.contract, c.leverage)
        return OK
    position = position_shortfall(e, u, c.leverage)
    need = position
    while slot != NONE:
        need = add64(need, order_shortfall(e, slot, c.leverage))
        slot = e.cold[slot].next_order
    if need and not c.exec_flags & AUTO_TOP_UP:
        a.needed_units = need
        return EXCEEDS_INITIAL_MARGIN
    if need:
        main = amounts(e, main_of(e, u))
        if need > transferable(&main):
            a.needed_units = need
            a.available_units = free_money(&main)
            return INSUFFICIENT_BALANCE
    edit_unit(e, u).leverage = c.leverage
    edit_leg(e, leg).leverage = c.leverage
    announce_leverage(e, u, c.contract, c.leverage)
    lower_block(e, u, position, c.leverage)
    return OK


cdef inline int lower_main(Core* e, uint32_t u, uint32_t leg, int64_t leverage,
                           Answer* a) noexcept nogil:
    """C6: refused unless MB - IM - order margin >= 0 at the new leverage, reserves included."""
    cdef int64_t before = amounts(e, u).free_units, after
    cdef uint32_t slot = first_order(e, leg)
    edit_leg(e, leg).leverage = <uint16_t>leverage
    while slot != NONE:
        raise_reserve(e, slot, order_shortfall(e, slot, leverage), leverage)
        slot = e.cold[slot].next_order
    after = amounts(e, u).free_units
    if after >= 0:
        return OK
    a.needed_units = sub64(before, after)
    a.available_units = before
    return INSUFFICIENT_BALANCE


cdef inline int set_main_leverage(Core* e, const Command* c, Answer* a) noexcept nogil:
    """C6: main's leverage is per contract; up is free, down has to be paid for."""
    cdef uint32_t u = e.accounts[c.account].unit, leg = leg_of(e, u, c.contract)
    cdef int64_t largest = e.markets[c.contract].terms.terms.max_leverage
    cdef int64_t now = 0 if leg == NONE else e.legs[leg].leverage
    cdef uint64_t mark, event_count = e.event_count
    cdef int code = OK
    now = now if now else largest
    if c.leverage == now:
        return OK
    if raises(now, c.leverage):
        code = eligibility_code(e, c.account, c.contract, False, c.leverage, 0)
    if code == OK and leg == NONE and not has_room(e, 0, 1, 0):
        code = CAPACITY
    if code:
        return code
    mark = core_mark(e)
    if leg == NONE:
        leg = leg_take(e, u, c.contract)
    if raises(now, c.leverage):
        edit_leg(e, leg).leverage = c.leverage
    else:
        code = lower_main(e, u, leg, c.leverage, a)
    if code:
        core_rollback(e, mark, event_count)
    else:
        announce_leverage(e, u, c.contract, c.leverage)
    core_commit(e)
    return code


cdef inline int set_leverage(Core* e, const Command* c, Answer* a) noexcept nogil:
    """SET_LEVERAGE of a block, or of main on a contract."""
    cdef uint32_t u = NONE
    if c.exec_flags & ~AUTO_TOP_UP or (c.exec_flags and c.isolation_id == 0):
        return INVALID_EXEC_INST
    if c.isolation_id:
        u = block_by_id(e, c.account, c.isolation_id)
        if u == NONE or e.legs[e.units[u].first_leg].contract != c.contract:
            return INVALID_ISOLATION_ID
    if c.leverage < 1 or c.leverage > e.markets[c.contract].terms.terms.max_leverage:
        return INVALID_LEVERAGE
    if c.isolation_id == 0:
        return set_main_leverage(e, c, a)
    if c.leverage == e.units[u].leverage:
        return OK
    return set_block_leverage(e, c, u, a)


# ---- margin in and out --------------------------------------------------------------------------

cdef inline bint takes_currency(Core* e, const Command* c) noexcept nogil:
    """Margin moves in USD, said or not, and in USDC where that stays what it is (A4)."""
    return c.currency <= USD or (c.currency == USDC and is_in_kind(e))


cdef inline int add_margin(Core* e, const Command* c, Answer* a) noexcept nogil:
    """I8: from main's transferable money into the block's position, at once."""
    cdef uint32_t u = block_by_id(e, c.account, c.isolation_id), contract
    cdef Amounts main
    cdef int64_t available
    if not takes_currency(e, c):
        return INVALID_CURRENCY
    if u == NONE:
        return INVALID_ISOLATION_ID
    contract = e.legs[e.units[u].first_leg].contract
    main = amounts(e, main_of(e, u))
    if c.currency == USDC:
        available = most_usdc_out(e, main_of(e, u), &main)
    else:
        available = free_money(&main)
    if c.amount_units > not_below_zero(available):
        a.needed_units = c.amount_units
        a.available_units = available
        return INSUFFICIENT_BALANCE
    if c.currency == USDC:
        fund_usdc(e, u, BLOCK_POSITION_USDC, c.amount_units, contract, 0)
    else:
        fund_position(e, u, c.amount_units, contract)
    return OK


cdef inline int remove_margin(Core* e, const Command* c, Answer* a) noexcept nogil:
    """I9: at most what is removable goes to main; one unit more is refused (321)."""
    cdef uint32_t u = block_by_id(e, c.account, c.isolation_id), contract
    cdef int64_t available
    cdef int code
    if not takes_currency(e, c):
        return INVALID_CURRENCY
    if u == NONE:
        return INVALID_ISOLATION_ID
    contract = e.legs[e.units[u].first_leg].contract
    code = eligibility_code(e, c.account, contract, True, e.units[u].leverage, 0)
    if code == OK and e.legs[e.units[u].first_leg].qty_lots:
        code = mark_code(e, contract)
    if code:
        return code
    available = removable_usdc(e, u) if c.currency == USDC else removable(e, u)
    if c.amount_units > available:
        a.needed_units = c.amount_units
        a.available_units = available
        return EXCEEDS_REMOVABLE
    if c.currency == USDC:
        return_usdc(e, u, BLOCK_POSITION_USDC, c.amount_units, contract, 0)
    else:
        return_position_cash(e, u, c.amount_units, contract, 0)
    return OK
