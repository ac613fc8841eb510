"""Floor 6.1: conditional orders: dormant until mark, index or last price reach the trigger (O1).

Dormant orders of a contract and a reference are filed by their trigger in a Book of their own: side
0 fires on a fall, side 1 on a rise, so that the best of each side is the next to fire and looking
is two compares.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.book cimport (
    Book, book_best, book_has_room, book_head, book_insert, book_reduce, book_remove,
)
from perpcore.clearing cimport closes
from perpcore.codes cimport (
    ACCEPTED, AMENDED, BELOW_MIN_ORDER_SIZE, BLOCK_PENDING, BUY, CANCELLED, CAPACITY, DONE_LINKED,
    DONE_TRIGGER, EXCEEDS_MAX_BLOCKS, EXCEEDS_MAX_ORDERS, INVALID_PRICE, INVALID_TRIGGER, LIMIT,
    MARKET_HALTED, OK, REDUCE_ONLY, REDUCE_ONLY_REJECTED, STOP_LIMIT, STOP_LOSS, TRIGGERED,
    TRIGGER_INDEX, TRIGGER_LAST,
)
from perpcore.eligibility cimport eligibility_code
from perpcore.memory cimport lowest_bit
from perpcore.orders cimport (
    Answer, Draft, basic_code, check_and_enter, form_code, held_lots, link_code, open_code,
    price_code, put_in_book, read_order, record_order, size_code, tie, type_when_fired, unit_code,
)
from perpcore.records cimport NONE, Command, Event
from perpcore.reserves cimport (
    book_of, cut_link, end_one, open_block, order_close, order_expiry, order_linked, order_usdc,
)
from perpcore.state cimport (
    REFERENCES, Core, Dormant, Leg, Market, OrderCold, core_commit, core_mark, core_rollback,
    has_room, is_block, leg_take, main_of, order_leg, touch, touch_orders, unit_event,
)


# ---- references ---------------------------------------------------------------------------------

cdef inline int64_t reference_now(const Market* m, int reference) noexcept nogil:
    """The price that triggers of a reference wait for, 0 while there is none."""
    if reference == TRIGGER_LAST:
        return m.live.last_price_ticks
    return m.live.index_ticks if reference == TRIGGER_INDEX else m.live.mark_ticks


cdef inline bint is_reached(const Market* m, int reference, bint on_rise,
                            int64_t trigger_ticks) noexcept nogil:
    """Mark and index are compared on the mark grid, the last price in ticks."""
    cdef int64_t now = reference_now(m, reference)
    cdef int64_t trigger = trigger_ticks if reference == TRIGGER_LAST else trigger_ticks * m.terms.k
    if now == 0:
        return False
    return now >= trigger if on_rise else now <= trigger


# ---- acceptance ---------------------------------------------------------------------------------

cdef inline int waiting_form_code(Core* e, const Draft* d, Answer* a) noexcept nogil:
    """Steps 2 to 5, with 308 of the trigger; the bands are the fired order's."""
    cdef Market* m = &e.markets[d.contract]
    cdef int code = size_code(e, d, a)
    if code == OK:
        code = price_code(e, d, a)
    if code:
        return code
    if d.trigger_ticks < 1 or d.trigger_ticks > m.terms.terms.max_price_ticks:
        a.price_ticks = 1 if d.trigger_ticks < 1 else m.terms.terms.max_price_ticks
        return INVALID_PRICE
    return open_code(e, d)


cdef inline int new_block_code(Core* e, const Draft* d) noexcept nogil:
    """Step 10 and 614 of a block that is made for a conditional order: no money moves yet (I1)."""
    cdef int code = eligibility_code(e, d.account, d.contract, True, d.leverage, 0)
    if code == OK and e.accounts[d.account].block_count >= e.terms.max_blocks_per_account:
        code = EXCEEDS_MAX_BLOCKS
    return code


cdef inline int waiting_place_code(Core* e, const Draft* d) noexcept nogil:
    """Step 8, what a new block asks, then 229, 318 and 50001."""
    cdef Market* m = &e.markets[d.contract]
    cdef int code = OK
    if d.exec_flags & REDUCE_ONLY and not closes(held_lots(e, d.leg), d.side):
        return REDUCE_ONLY_REJECTED
    if d.unit == NONE:
        code = new_block_code(e, d)
    if code:
        return code
    if is_reached(m, d.reference, d.fires_on_rise, d.trigger_ticks):
        return INVALID_TRIGGER
    if e.accounts[d.account].order_count >= e.terms.max_orders_per_account:
        return EXCEEDS_MAX_ORDERS
    if (not has_room(e, d.unit == NONE, d.leg == NONE, 1)
            or not book_has_room(&m.triggers[d.reference], d.fires_on_rise, d.trigger_ticks)):
        return CAPACITY
    return OK


cdef inline int waiting_code(Core* e, const Command* c, Draft* d, Answer* a) noexcept nogil:
    """All checks of a conditional order that is new."""
    cdef int code = waiting_form_code(e, d, a)
    if code == OK:
        code = unit_code(e, c, d)
    if code == OK:
        code = link_code(e, d)
    if code == OK:
        code = waiting_place_code(e, d)
    return code


cdef inline int new_conditional(Core* e, const Command* c, Answer* a) noexcept nogil:
    """NEW_ORDER of a conditional type: it holds no reserve until it fires."""
    cdef Draft d
    cdef Event* ev
    cdef bint is_new
    cdef int code = form_code(e, c)
    if code:
        return code
    read_order(e, c, &d)
    d.trigger_ticks = c.trigger_price_ticks
    d.trigger_type = c.order_type
    d.reference = c.scope
    # A stop follows the price, a take-profit waits for it to come: buys and sells mirror.
    d.fires_on_rise = (d.trigger_type == STOP_LOSS or d.trigger_type == STOP_LIMIT) == (d.side == 0)
    code = waiting_code(e, c, &d, a)
    if code:
        return code
    is_new = d.unit == NONE
    if is_new:
        d.unit = open_block(e, d.account, d.contract, d.leverage)
        d.leg = e.units[d.unit].first_leg
    elif d.leg == NONE:
        d.leg = leg_take(e, d.unit, d.contract)
    d.leverage = 0
    ev = unit_event(e, ACCEPTED, d.unit, d.contract)
    ev.order_id = d.order_id
    ev.price_ticks = d.price_ticks
    ev.qty_lots = d.qty_lots
    if is_new:
        unit_event(e, BLOCK_PENDING, d.unit, d.contract)
    put_in_book(e, record_order(e, &d))
    tie(e, &d)
    return OK


# ---- amending -----------------------------------------------------------------------------------

cdef inline void announce_waiting(Core* e, uint32_t slot) noexcept nogil:
    """AMENDED of a dormant order says its trigger beside its limit."""
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef Event* ev = unit_event(e, AMENDED, leg.unit, leg.contract)
    ev.order_id = e.pool.orders[slot].order_id
    ev.price_ticks = e.dormant[slot].price_ticks
    ev.qty_lots = e.pool.orders[slot].qty_lots
    ev.balance_units = e.pool.orders[slot].price_side >> 1


cdef inline void take_turn_by_id(Core* e, uint32_t slot) noexcept nogil:
    """Orders with one trigger fire by id: younger ones that came before go behind the amended."""
    cdef Book* book = book_of(e, slot)
    cdef uint32_t other = book_head(book, e.pool.orders[slot].price_side & 1,
                                    e.pool.orders[slot].price_side >> 1), after
    while other != slot:
        after = e.pool.orders[other].next
        if e.pool.orders[other].order_id > e.pool.orders[slot].order_id:
            book_remove(book, &e.pool, other, &e.undo)
            book_insert(book, &e.pool, other, &e.undo)
        other = after


cdef inline int refile_waiting(Core* e, uint32_t slot, Draft* d, Answer* a) noexcept nogil:
    """Cancel and new in one step, under the same id; refused, the old order stays untouched."""
    cdef uint64_t event_count = e.event_count, mark = core_mark(e)
    cdef int code
    if order_linked(e, slot) != NONE:
        d.linked_id = e.pool.orders[order_linked(e, slot)].order_id
    cut_link(e, slot)
    order_close(e, slot)
    code = waiting_form_code(e, d, a)
    if code == OK:
        code = waiting_place_code(e, d)
    if code:
        core_rollback(e, mark, event_count)
    else:
        slot = record_order(e, d)
        announce_waiting(e, slot)
        put_in_book(e, slot)
        take_turn_by_id(e, slot)
        tie(e, d)
    core_commit(e)
    return code


cdef inline int amend_waiting(Core* e, uint32_t slot, const Command* c, Answer* a) noexcept nogil:
    """AMEND of a dormant order: lots, limit and trigger; 0 keeps each (O2)."""
    cdef Draft d = woken_draft(e, slot)
    cdef int64_t lots = d.qty_lots
    d.trigger_type = e.dormant[slot].order_type
    d.reference = e.dormant[slot].reference
    d.fires_on_rise = e.pool.orders[slot].price_side & 1
    d.trigger_ticks = e.pool.orders[slot].price_side >> 1
    d.leverage = 0
    if c.qty_lots:
        d.qty_lots = c.qty_lots
    if (d.qty_lots < 1 or d.qty_lots >= lots
            or (c.price_ticks and c.price_ticks != d.price_ticks)
            or (c.trigger_price_ticks and c.trigger_price_ticks != d.trigger_ticks)):
        d.price_ticks = c.price_ticks if c.price_ticks else d.price_ticks
        d.trigger_ticks = c.trigger_price_ticks if c.trigger_price_ticks else d.trigger_ticks
        return refile_waiting(e, slot, &d, a)
    if size_code(e, &d, a):
        return BELOW_MIN_ORDER_SIZE
    book_reduce(book_of(e, slot), &e.pool, slot, lots - d.qty_lots, &e.undo)
    announce_waiting(e, slot)
    touch_orders(e, d.unit)
    return OK


# ---- firing -------------------------------------------------------------------------------------

cdef inline uint32_t reached_order(Market* m) noexcept nogil:
    """The contract's first reached order: by reference, falls before rises, farthest past first."""
    cdef int reference, side
    cdef int64_t trigger
    for reference in range(REFERENCES):
        for side in range(2):
            trigger = book_best(&m.triggers[reference], side)
            if trigger >= 0 and is_reached(m, reference, side == 1, trigger):
                return book_head(&m.triggers[reference], side, trigger)
    return NONE


cdef inline uint32_t next_reached(Core* e) noexcept nogil:
    """The venue's first reached order, or NONE; contracts where nothing moved are not looked at."""
    cdef uint32_t contract, slot
    while e.h.dormant_count and e.h.watched:
        contract = <uint32_t>lowest_bit(e.h.watched)
        slot = NONE
        # A halted market fires nothing: opening it is a reason to look again.
        if e.markets[contract].live.state != MARKET_HALTED:
            slot = reached_order(&e.markets[contract])
        if slot != NONE:
            return slot
        e.h.watched &= e.h.watched - 1
    return NONE


cdef inline Draft woken_draft(Core* e, uint32_t slot) noexcept nogil:
    """The order that a dormant one becomes: its unit's leverage of now, its own id."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Dormant* dormant = &e.dormant[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef Draft d
    memset(&d, 0, sizeof(Draft))
    d.order_id = e.pool.orders[slot].order_id
    d.client_order_id = o.client_order_id
    d.price_ticks = dormant.price_ticks
    d.qty_lots = e.pool.orders[slot].qty_lots
    d.expiry_ns = order_expiry(e, slot)
    d.account = leg.account
    d.contract = leg.contract
    d.unit = leg.unit
    d.leg = order_leg(e, slot)
    d.isolated = is_block(&e.units[leg.unit])
    d.leverage = leg.leverage
    d.side = dormant.side
    d.order_type = type_when_fired(dormant.order_type)
    d.time_in_force = o.time_in_force
    d.exec_flags = o.exec_flags
    d.stp = o.stp
    return d


cdef inline void fire(Core* e, uint32_t slot) noexcept nogil:
    """TRIGGERED; then it is a new order under its own id, or ends with the code that refuses it."""
    cdef Draft d = woken_draft(e, slot)
    cdef int64_t price_ticks = d.price_ticks, lots = d.qty_lots   # the checks may change both
    cdef uint32_t other
    cdef bint returned = False
    cdef Answer a
    cdef int code
    cdef Event* ev = unit_event(e, TRIGGERED, d.unit, d.contract)
    ev.order_id = d.order_id
    ev.price_ticks = e.pool.orders[slot].price_side >> 1
    ev.qty_lots = d.qty_lots
    ev.flags = e.dormant[slot].reference
    other = cut_link(e, slot)
    order_close(e, slot)
    if other != NONE:
        returned = is_block(&e.units[d.unit]) and (
            e.cold[other].reserve_units > 0 or order_usdc(e, other) > 0)
        end_one(e, other, DONE_LINKED)
    memset(&a, 0, sizeof(Answer))
    code = basic_code(e, &d, &a)
    if code == OK:
        code = check_and_enter(e, &d, &a)
    if code == OK:
        return
    # A walk that is undone forgets whom was touched before it: the unit lost an order all the same,
    # and main may have got the money of the linked one.
    touch(e, d.unit)
    if returned:
        touch(e, main_of(e, d.unit))
    ev = unit_event(e, CANCELLED, d.unit, d.contract)
    ev.order_id = d.order_id
    ev.reason = DONE_TRIGGER
    ev.code = <unsigned short>code
    ev.qty_lots = lots
    ev.price_ticks = price_ticks
