"""Floor 6.2: what becomes of orders that are in: cancel, amend, expiry (O2, O6)."""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perpcore.book cimport book_reduce, pool_find
from perpcore.codes cimport (
    AMENDED, BELOW_MIN_ORDER_SIZE, BLOCK_ORDER_USDC, CANCEL_AFTER_SET, DONE_DEAD_MAN, DONE_EXPIRED,
    DONE_USER, INVALID_ARGUMENT, INVALID_ORDER_ID, INVALID_ORDER_QTY, LIMIT, OK, SCOPE_ALL,
    SCOPE_CROSS, SCOPE_ISOLATED,
)
from perpcore.int128 cimport add64, mul_div_ceil, smaller, sub64
from perpcore.orders cimport Answer, Draft, basic_code, check_and_enter
from perpcore.records cimport NONE, Command, Event
from perpcore.reserves cimport (
    account_timer_set, change_order_usdc, cut_link, find_client, order_account, order_close,
    order_end, order_expiry, order_extra, order_linked, order_reserve, order_usdc, release_extra,
    reserved_left,
)
from perpcore.sort cimport Ranked, ranked_sort
from perpcore.state cimport (
    ACCOUNT_TIMER, NO_CONTRACT, Core, Leg, LegOrders, Market, OrderCold, core_commit, core_mark,
    core_rollback, edit_cold, event, group_of, is_block, order_leg, touch, unit_event,
)
from perpcore.transfers cimport return_order_cash, return_usdc
from perpcore.triggers cimport amend_waiting


# ---- many orders at once

cdef inline uint32_t collect_orders(Core* e, uint32_t u, uint32_t contract, bint reserved_only,
                                    uint32_t count) noexcept nogil:
    """Add a unit's orders to the list of those to end; returns how many the list has now."""
    cdef uint32_t i = e.units[u].first_leg, slot
    while i != NONE:
        if e.legs[i].orders != NONE and (contract == NO_CONTRACT or e.legs[i].contract == contract):
            slot = e.groups[e.legs[i].orders].first_order
            while slot != NONE:
                if not reserved_only or reserved_left(&e.cold[slot]):
                    e.ended[count] = Ranked(e.pool.orders[slot].order_id, 0, slot)
                    count += 1
                slot = e.cold[slot].next_order
        i = e.legs[i].next_leg
    return count


cdef inline void end_collected(Core* e, uint32_t count, uint8_t reason) noexcept nogil:
    """End the collected orders in ascending id, but for those that a link has ended before."""
    cdef uint32_t n
    ranked_sort(e.ended, count)
    for n in range(count):
        if pool_find(&e.pool, e.ended[n].key) != NONE:
            order_end(e, e.ended[n].index, reason)


cdef inline void end_orders(Core* e, uint32_t u, bint reserved_only, uint8_t reason) noexcept nogil:
    """End a unit's orders, or those of them that hold a reserve."""
    end_collected(e, collect_orders(e, u, NO_CONTRACT, reserved_only, 0), reason)


# ---- commands

cdef inline uint32_t named_order(Core* e, const Command* c) noexcept nogil:
    """The live order that a command names, by its id or by the account's own; NONE (212)."""
    cdef uint32_t slot
    if c.order_id == 0:
        return find_client(e, c.account, c.client_order_id)
    slot = pool_find(&e.pool, c.order_id)
    if slot == NONE or order_account(e, slot) != c.account:
        return NONE
    return slot


cdef inline int cancel(Core* e, const Command* c) noexcept nogil:
    cdef uint32_t slot = named_order(e, c)
    if slot == NONE:
        return INVALID_ORDER_ID
    order_end(e, slot, DONE_USER)
    return OK


cdef inline void end_account_orders(Core* e, uint32_t account, uint32_t contract, int scope,
                                    uint8_t reason) noexcept nogil:
    """Every order of the account on a contract (65535: on all), cross, isolated or both."""
    cdef uint32_t count = 0, u
    if scope != SCOPE_ISOLATED:
        count = collect_orders(e, e.accounts[account].unit, contract, False, count)
    u = e.accounts[account].first_block
    while u != NONE and scope != SCOPE_CROSS:
        count = collect_orders(e, u, contract, False, count)
        u = e.units[u].next_block
    end_collected(e, count, reason)


cdef inline int cancel_all(Core* e, const Command* c) noexcept nogil:
    end_account_orders(e, c.account, c.contract, c.scope, DONE_USER)
    return OK


cdef inline int cancel_all_after(Core* e, const Command* c) noexcept nogil:
    """The dead man's switch: all orders end at a time unless it is set anew; 0 disarms it (O6)."""
    cdef Event* ev
    if c.expiry_ns and c.expiry_ns <= e.h.time_ns:
        return INVALID_ARGUMENT
    account_timer_set(e, c.account, c.expiry_ns)
    ev = event(e, CANCEL_AFTER_SET)
    ev.account = c.account
    ev.amount_units = c.expiry_ns
    return OK


cdef inline int64_t reserve_kept(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """What an order with `lots` fewer reserved lots still holds: min(H, R(n - d) - R(f))."""
    cdef OrderCold* o = &e.cold[slot]
    cdef int64_t left = reserved_left(o), kept
    if lots >= left:
        return 0
    if o.is_explicit or order_usdc(e, slot):
        return mul_div_ceil(o.reserve_units, left - lots, left)
    kept = sub64(order_reserve(e, slot, o.reserved_total - lots),
                 order_reserve(e, slot, o.reserved_used))
    return smaller(o.reserve_units, add64(kept, order_extra(e, slot)))


cdef inline int64_t usdc_back(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """The USDC that an order with `lots` fewer reserved lots gives back; it keeps its share, up."""
    cdef int64_t held = order_usdc(e, slot), left = reserved_left(&e.cold[slot])
    if held == 0 or lots >= left:
        return held
    return sub64(held, mul_div_ceil(held, left - lots, left))


cdef inline void take_lots_off(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """Fewer lots, the same place in the queue; reserved lots go first and their money returns."""
    cdef OrderCold* o = edit_cold(e, slot)
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef LegOrders* g = group_of(e, order_leg(e, slot))
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef int64_t reserved = smaller(lots, reserved_left(o))
    cdef int64_t back = 0, usdc = 0
    cdef Event* ev
    if reserved:
        back = sub64(o.reserve_units, reserve_kept(e, slot, reserved))
        usdc = usdc_back(e, slot, reserved)
    if usdc:
        change_order_usdc(e, slot, -usdc)
    book_reduce(&e.markets[leg.contract].book, &e.pool, slot, lots, &e.undo)
    g.reserved_lots[side] -= reserved
    g.free_lots[side] -= lots - reserved
    g.reserve_units[side] = sub64(g.reserve_units[side], back)
    o.reserve_units = sub64(o.reserve_units, back)
    o.reserved_total -= reserved
    if reserved_left(o) == 0:
        release_extra(e, slot)
    ev = unit_event(e, AMENDED, leg.unit, leg.contract)
    ev.order_id = e.pool.orders[slot].order_id
    ev.price_ticks = e.pool.orders[slot].price_side >> 1
    ev.qty_lots = e.pool.orders[slot].qty_lots
    ev.amount_units = o.reserve_units
    touch(e, leg.unit)
    if is_block(&e.units[leg.unit]):
        return_order_cash(e, leg.unit, back, leg.contract, e.pool.orders[slot].order_id)
    if usdc:
        return_usdc(e, leg.unit, BLOCK_ORDER_USDC, usdc, leg.contract, e.pool.orders[slot].order_id)


cdef inline void draft_of(Core* e, uint32_t slot, int64_t price_ticks, int64_t lots,
                          Draft* d) noexcept nogil:
    """A live order as it would come anew; an explicit margin is not kept. Writes every field."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    d.order_id = e.pool.orders[slot].order_id
    d.client_order_id = o.client_order_id
    d.price_ticks = price_ticks
    d.qty_lots = lots
    d.filled_lots = o.filled_lots
    d.expiry_ns = order_expiry(e, slot)
    d.explicit_units = d.raising_lots = d.size_lots = d.extra_units = d.amount_units = 0
    d.trigger_ticks = d.trigger_type = d.reference = 0
    d.linked_id = 0
    if order_linked(e, slot) != NONE:
        d.linked_id = e.pool.orders[order_linked(e, slot)].order_id
    d.account = leg.account
    d.contract = leg.contract
    d.unit = leg.unit
    d.leg = order_leg(e, slot)
    d.isolated = is_block(&e.units[leg.unit])
    d.leverage = leg.leverage
    d.side = e.pool.orders[slot].price_side & 1
    d.order_type = LIMIT
    d.time_in_force = o.time_in_force
    d.exec_flags = o.exec_flags
    d.stp = o.stp
    d.amends = True
    d.fires_on_rise = d.closes_all = False


cdef inline int requeue(Core* e, uint32_t slot, int64_t price_ticks, int64_t lots,
                        Answer* a) noexcept nogil:
    """Cancel and new in one step, under the same id; refused, the old order stays untouched."""
    cdef uint64_t event_count = e.event_count, mark = core_mark(e)
    cdef Draft d
    cdef int code
    draft_of(e, slot, price_ticks, lots, &d)
    cut_link(e, slot)
    order_close(e, slot)
    code = basic_code(e, &d, a)
    if code == OK:
        code = check_and_enter(e, &d, a)
    if code:
        core_rollback(e, mark, event_count)
    core_commit(e)
    return code


cdef inline int amend(Core* e, const Command* c, Answer* a) noexcept nogil:
    """AMEND: a price, a total with the filled lots in it, and of an order that waits its trigger; 0
    keeps each (O2)."""
    cdef uint32_t slot = named_order(e, c)
    cdef int64_t left, price_ticks, lots
    if slot == NONE:
        return INVALID_ORDER_ID
    if c.price_ticks == 0 and c.qty_lots == 0 and c.trigger_price_ticks == 0:
        return INVALID_ARGUMENT
    if e.cold[slot].is_dormant:
        return amend_waiting(e, slot, c, a)
    if c.trigger_price_ticks:
        return INVALID_ARGUMENT
    left = e.pool.orders[slot].qty_lots
    price_ticks = e.pool.orders[slot].price_side >> 1
    lots = left
    if c.qty_lots:
        # Compared before it is subtracted: a total may be any number.
        lots = 0
        if c.qty_lots > e.cold[slot].filled_lots:
            lots = c.qty_lots - e.cold[slot].filled_lots
    if lots < 1:
        a.qty_lots = e.cold[slot].filled_lots + 1
        return INVALID_ORDER_QTY
    if (c.price_ticks == 0 or c.price_ticks == price_ticks) and lots < left:
        if c.qty_lots < e.markets[e.legs[order_leg(e, slot)].contract].terms.terms.min_order_lots:
            a.qty_lots = e.markets[e.legs[order_leg(e, slot)].contract].terms.terms.min_order_lots
            return BELOW_MIN_ORDER_SIZE
        take_lots_off(e, slot, left - lots)
        return OK
    return requeue(e, slot, c.price_ticks if c.price_ticks else price_ticks, lots, a)


# ---- timers

cdef inline bint fire_timers(Core* e) noexcept nogil:
    """End what expires by now, by (time, id), at most so many a command; whether any did (O6)."""
    cdef uint32_t fired = 0, slot, account
    while (fired < e.terms.timers_per_command and e.h.timer_count
            and e.timers[0].expiry_ns <= e.h.time_ns):
        slot = e.timers[0].slot
        if slot & ACCOUNT_TIMER:
            account = slot ^ ACCOUNT_TIMER
            account_timer_set(e, account, 0)
            end_account_orders(e, account, NO_CONTRACT, SCOPE_ALL, DONE_DEAD_MAN)
        else:
            order_end(e, slot, DONE_EXPIRED)
        fired += 1
    return fired != 0
