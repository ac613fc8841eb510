"""Floor 4.6: the money of an order (C3, I2, I3), and the records that it and its block live in."""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from perpcore.book cimport Book, BookOrder, book_remove, pool_release
from perpcore.codes cimport BLOCK_ORDER_USDC, CANCELLED, DONE_LINKED, LIQUIDATING, PENDING
from perpcore.contract cimport Contract, margin_rate
from perpcore.int128 cimport (
    add64, i128_cmp, i128_floor_div64, i128_from, i128_mul_u, magnitude, mul64, mul_div_ceil,
    not_below_zero, smaller, sub64, u64_mul_high,
)
from perpcore.margin cimport Rate, reserve_units
from perpcore.policies cimport ORDER_MARGIN_IS_FORFEIT
from perpcore.records cimport NONE, Event
from perpcore.standing cimport notional
from perpcore.state cimport (
    ACCOUNT_TIMER, ACCOUNT_TIMERS, Account, Core, Leg, LegExtra, LegOrders, Market, OrderCold,
    OrderRare, Timer, Unit, edit_account, edit_cold, edit_unit, group_drop_if_empty, group_of,
    is_block, is_in_kind, leg_take, order_leg, touch_orders, unit_event, unit_take,
)
from perpcore.transfers cimport return_order_cash, return_usdc
from perpcore.undo cimport undo_save


cdef inline int64_t reserve_of(const Contract* c, int64_t lots, int64_t price_marks, int64_t mark,
                               int side, Rate mr, int64_t extra) noexcept nogil:
    """R(n) of SPEC C3 for `lots` at a price and a mark (both in marks); side 0 buys, 1 sells."""
    return add64(reserve_units(lots, price_marks, mark, side == 1, c.v, mr, &c.rates.taker,
                               &c.rates.fee_reserve), extra)


cdef inline int64_t accepted_notional(const Market* m, const OrderCold* o) noexcept nogil:
    """N' of C3: of position and orders on the side, at the mark of the acceptance."""
    return mul64(o.size_lots, mul64(o.accept_mark_ticks, m.terms.v))


cdef inline Rate order_rate(Core* e, uint32_t slot) noexcept nogil:
    """MR' as the order took it at acceptance."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Market* m = &e.markets[e.legs[order_leg(e, slot)].contract]
    return margin_rate(&m.terms, o.size_lots, accepted_notional(m, o), o.leverage)


cdef inline int64_t order_reserve(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """R(lots) of an accepted order, at its own price, mark, size and leverage; E not included."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Market* m = &e.markets[e.legs[order_leg(e, slot)].contract]
    cdef uint32_t price_side = e.pool.orders[slot].price_side
    return reserve_of(&m.terms, lots, <int64_t>(price_side >> 1) * m.terms.k,
                      o.accept_mark_ticks, price_side & 1, order_rate(e, slot), 0)


cdef inline int64_t reserved_left(const OrderCold* o) noexcept nogil:
    return o.reserved_total - o.reserved_used


cdef inline int64_t order_slice(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """The money that goes with the next `lots` reserved lots; the last take what is left."""
    cdef OrderCold* o = &e.cold[slot]
    cdef int64_t left = reserved_left(o), part
    if lots <= 0:
        return 0
    if lots >= left:
        return o.reserve_units
    if o.is_explicit or order_usdc(e, slot):
        return mul_div_ceil(o.reserve_units, lots, left)
    part = order_reserve(e, slot, o.reserved_used + lots)
    if o.reserved_used:                              # R(0) is 0
        part = sub64(part, order_reserve(e, slot, o.reserved_used))
    part = add64(part, order_extra(e, slot))        # E goes with the first slice
    return smaller(part, o.reserve_units)


cdef inline int64_t order_usdc(Core* e, uint32_t slot) noexcept nogil:
    """What an order holds beside its USD."""
    return e.order_usdc[slot] if is_in_kind(e) else 0


cdef inline void change_order_usdc(Core* e, uint32_t slot, int64_t units) noexcept nogil:
    undo_save(&e.undo, &e.order_usdc[slot], sizeof(int64_t))
    e.order_usdc[slot] += units


cdef inline int64_t usdc_slice(Core* e, uint32_t slot, int64_t lots) noexcept nogil:
    """The USDC that goes with the next `lots` reserved lots, as an explicit amount does (C3)."""
    cdef int64_t held = order_usdc(e, slot), left = reserved_left(&e.cold[slot])
    if held == 0 or lots <= 0:
        return 0
    return held if lots >= left else mul_div_ceil(held, lots, left)


cdef inline int64_t extra_needed(Core* e, uint32_t leg, int side, Rate mr) noexcept nogil:
    """E of SPEC C3: what a higher margin rate asks for lots already held, less what orders hold."""
    if leg == NONE:
        return 0
    cdef Leg* position = &e.legs[leg]
    if position.qty_lots == 0 or (position.qty_lots > 0) != (side == 0):
        return 0
    cdef Market* m = &e.markets[position.contract]
    cdef int64_t n = notional(m, position.qty_lots), held = 0, need
    cdef Rate now = margin_rate(&m.terms, magnitude(position.qty_lots), n, position.leverage)
    if mr.num == now.num and mr.den == now.den:
        return 0
    need = difference_ceil(n, mr, now)
    if position.orders != NONE:
        held = e.extras[position.orders].units[side]
    return need - held if need > held else 0


cdef inline int64_t difference_ceil(int64_t n, Rate high, Rate low) noexcept nogil:
    """ceil(n (high - low)), not below 0: integer parts apart, fractions over one denominator."""
    cdef int64_t whole_high = i128_floor_div64(i128_mul_u(i128_from(n), high.num), high.den)
    cdef int64_t whole_low = i128_floor_div64(i128_mul_u(i128_from(n), low.num), low.den)
    cdef uint64_t rest_high = rest_of(n, high, whole_high), rest_low = rest_of(n, low, whole_low)
    cdef int64_t whole = sub64(whole_high, whole_low)
    # rest_high / high.den > rest_low / low.den asks for one unit more.
    if compare_products(rest_high, low.den, rest_low, high.den) > 0:
        whole = add64(whole, 1)
    return not_below_zero(whole)


cdef inline uint64_t rest_of(int64_t n, Rate r, int64_t whole) noexcept nogil:
    """n num - whole den, which lies in [0, den)."""
    return <uint64_t>n * r.num - <uint64_t>whole * r.den


cdef inline int compare_products(uint64_t a, uint64_t b, uint64_t c,
                                 uint64_t d) noexcept nogil:
    """Sign of a b - c d; the four are below 2^60."""
    return i128_cmp(i128_mul_u(i128_from(<int64_t>a), b), i128_mul_u(i128_from(<int64_t>c), d))


# ---- the rare part of an order's record

cdef inline OrderRare* edit_rare(Core* e, uint32_t slot) noexcept nogil:
    """The rare part of an order's record; empty, if it had none."""
    cdef OrderRare* rare = &e.rare[slot]
    undo_save(&e.undo, rare, sizeof(OrderRare))
    if not e.cold[slot].has_rare:
        edit_cold(e, slot).has_rare = True
        rare[0] = OrderRare(0, 0, NONE, NONE)
    return rare


cdef inline int64_t order_extra(const Core* e, uint32_t slot) noexcept nogil:
    return e.rare[slot].extra_units if e.cold[slot].has_rare else 0


cdef inline int64_t order_expiry(const Core* e, uint32_t slot) noexcept nogil:
    return e.rare[slot].expiry_ns if e.cold[slot].has_rare else 0


cdef inline uint32_t order_timer(const Core* e, uint32_t slot) noexcept nogil:
    return e.rare[slot].timer if e.cold[slot].has_rare else <uint32_t>NONE


cdef inline uint32_t order_linked(const Core* e, uint32_t slot) noexcept nogil:
    return e.rare[slot].linked if e.cold[slot].has_rare else <uint32_t>NONE


# ---- the index of client order ids

cdef inline uint64_t client_home(Core* e, uint32_t account, uint64_t client) noexcept nogil:
    cdef uint64_t x = client ^ (<uint64_t>account * <uint64_t>0x9E3779B97F4A7C15)
    x ^= x >> 31
    x *= <uint64_t>0xBF58476D1CE4E5B9
    x ^= x >> 29
    # A part of the table as large as the part of the hash: no power of two is needed.
    return u64_mul_high(x, e.client_count)


cdef inline uint64_t client_next(const Core* e, uint64_t at) noexcept nogil:
    return 0 if at + 1 == e.client_count else at + 1


cdef inline uint64_t client_distance(const Core* e, uint64_t before, uint64_t after) noexcept nogil:
    """How far behind a place another one is; the first follows the last."""
    return after - before if after >= before else after + e.client_count - before


cdef inline uint32_t order_account(Core* e, uint32_t slot) noexcept nogil:
    return e.legs[order_leg(e, slot)].account


cdef inline uint64_t client_place(Core* e, uint32_t account, uint64_t client) noexcept nogil:
    """The place of the id in the table, or the free place where its search ends."""
    cdef uint64_t at = client_home(e, account, client)
    cdef uint32_t slot
    while e.client_index[at]:
        slot = e.client_index[at] - 1
        if e.cold[slot].client_order_id == client and order_account(e, slot) == account:
            break
        at = client_next(e, at)
    return at


cdef inline uint32_t find_client(Core* e, uint32_t account, uint64_t client) noexcept nogil:
    """Order slot of a live client order id, or NONE."""
    if client == 0:
        return NONE
    return e.client_index[client_place(e, account, client)] - 1   # 0 - 1 is NONE


cdef inline void set_client(Core* e, uint64_t at, uint32_t value) noexcept nogil:
    undo_save(&e.undo, &e.client_index[at], sizeof(uint32_t))
    e.client_index[at] = value


cdef inline void drop_client(Core* e, uint32_t account, uint64_t client) noexcept nogil:
    """Close the gap behind a removed id: every search still ends at the first free place."""
    if client == 0:
        return
    cdef uint64_t hole = client_place(e, account, client), at, home
    cdef uint32_t slot
    at = hole
    while True:
        at = client_next(e, at)
        if e.client_index[at] == 0:
            break
        slot = e.client_index[at] - 1
        home = client_home(e, order_account(e, slot), e.cold[slot].client_order_id)
        if client_distance(e, home, at) >= client_distance(e, hole, at):
            set_client(e, hole, e.client_index[at])
            hole = at
    set_client(e, hole, 0)


# ---- timers: a heap by (time, id): orders that expire, then accounts whose orders end

cdef inline bint timer_before(const Timer* a, const Timer* b) noexcept nogil:
    if a.expiry_ns != b.expiry_ns:
        return a.expiry_ns < b.expiry_ns
    return a.id < b.id


cdef inline void timer_put(Core* e, uint32_t at, Timer t) noexcept nogil:
    undo_save(&e.undo, &e.timers[at], sizeof(Timer))
    e.timers[at] = t
    if t.slot & ACCOUNT_TIMER:
        edit_account(e, t.slot ^ ACCOUNT_TIMER).timer = at
    else:
        edit_rare(e, t.slot).timer = at


cdef inline void timer_up(Core* e, uint32_t at) noexcept nogil:
    cdef Timer t = e.timers[at]
    cdef uint32_t parent
    while at:
        parent = (at - 1) >> 1
        if not timer_before(&t, &e.timers[parent]):
            break
        timer_put(e, at, e.timers[parent])
        at = parent
    timer_put(e, at, t)


cdef inline void timer_down(Core* e, uint32_t at) noexcept nogil:
    cdef Timer t = e.timers[at]
    cdef uint32_t child
    while True:
        child = 2 * at + 1
        if child >= e.h.timer_count:
            break
        if child + 1 < e.h.timer_count and timer_before(&e.timers[child + 1], &e.timers[child]):
            child += 1
        if not timer_before(&e.timers[child], &t):
            break
        timer_put(e, at, e.timers[child])
        at = child
    timer_put(e, at, t)


cdef inline void timer_enter(Core* e, Timer t) noexcept nogil:
    cdef uint32_t at = e.h.timer_count
    e.h.timer_count += 1
    timer_put(e, at, t)
    timer_up(e, at)


cdef inline void timer_leave(Core* e, uint32_t at) noexcept nogil:
    """Close the gap at a place of the heap."""
    e.h.timer_count -= 1
    cdef uint32_t last = e.h.timer_count
    if at == last:
        return
    timer_put(e, at, e.timers[last])
    timer_up(e, at)
    timer_down(e, at)


cdef inline void timer_add(Core* e, uint32_t slot) noexcept nogil:
    timer_enter(e, Timer(order_expiry(e, slot), e.pool.orders[slot].order_id, slot))


cdef inline void timer_drop(Core* e, uint32_t slot) noexcept nogil:
    cdef uint32_t at = order_timer(e, slot)
    if at != NONE:
        edit_rare(e, slot).timer = NONE
        timer_leave(e, at)


cdef inline void account_timer_set(Core* e, uint32_t account, int64_t at_ns) noexcept nogil:
    """When all orders of the account end; 0: never. It replaces what was set before."""
    cdef uint32_t at = e.accounts[account].timer
    edit_account(e, account).cancel_after_ns = at_ns
    if at != NONE:
        e.accounts[account].timer = NONE
        timer_leave(e, at)
    if at_ns:
        timer_enter(e, Timer(at_ns, ACCOUNT_TIMERS + account, ACCOUNT_TIMER | account))


# ---- the life of an order's record, and of the block that it opens

cdef inline uint32_t open_block(Core* e, uint32_t owner, uint32_t contract,
                                int64_t leverage) noexcept nogil:
    """A new block, PENDING, at the end of its account's chain, with its leg (I1)."""
    cdef uint32_t u = unit_take(e), last = e.accounts[owner].first_block
    cdef Unit* unit = &e.units[u]
    cdef Account* account = edit_account(e, owner)
    unit.account = owner
    unit.isolation_id = e.h.next_isolation_id
    e.h.next_isolation_id += 1
    unit.leverage = <uint16_t>leverage
    unit.state = PENDING
    account.block_count += 1
    if last == NONE:
        account.first_block = u
    else:
        while e.units[last].next_block != NONE:
            last = e.units[last].next_block
        edit_unit(e, last).next_block = u
    e.legs[leg_take(e, u, contract)].leverage = <uint16_t>leverage
    return u


cdef inline int64_t free_left(Core* e, uint32_t slot) noexcept nogil:
    """Lots without a reserve that may fill; a dormant order has none yet."""
    cdef OrderCold* o = &e.cold[slot]
    return 0 if o.is_dormant else e.pool.orders[slot].qty_lots - reserved_left(o)


cdef inline Book* book_of(Core* e, uint32_t slot) noexcept nogil:
    """Where the order is filed: its contract's book, or the triggers of its reference."""
    cdef Market* m = &e.markets[e.legs[order_leg(e, slot)].contract]
    return &m.triggers[e.dormant[slot].reference] if e.cold[slot].is_dormant else &m.book


cdef inline int64_t limit_of(Core* e, uint32_t slot) noexcept nogil:
    """The order's limit in ticks; 0 for a dormant MARKET order."""
    if e.cold[slot].is_dormant:
        return e.dormant[slot].price_ticks
    return e.pool.orders[slot].price_side >> 1


cdef inline uint32_t cut_link(Core* e, uint32_t slot) noexcept nogil:
    """Part two linked orders; returns the other one, NONE when there is none that lives."""
    cdef uint32_t other = order_linked(e, slot)
    if other == NONE:
        return NONE
    edit_rare(e, slot).linked = NONE
    edit_rare(e, other).linked = NONE
    # One that is filled and still in hand has ended already.
    return other if e.pool.orders[other].qty_lots else <uint32_t>NONE


cdef inline void change_extra(Core* e, uint32_t slot, int64_t units) noexcept nogil:
    """What the orders of the order's leg and side hold of E."""
    cdef LegExtra* extra = &e.extras[e.legs[order_leg(e, slot)].orders]
    cdef int side = e.pool.orders[slot].price_side & 1
    if units:
        undo_save(&e.undo, extra, sizeof(LegExtra))
        extra.units[side] = add64(extra.units[side], units)


cdef inline uint32_t first_behind(Core* e, const LegOrders* g, uint64_t order_id) noexcept nogil:
    """The first of a leg's orders with a larger id, or NONE; sought from the end that is nearer."""
    cdef uint32_t i = g.first_order, after = NONE
    cdef uint64_t first = e.pool.orders[i].order_id, last = e.pool.orders[g.last_order].order_id
    if <int64_t>(order_id - first) < <int64_t>(last - order_id):
        while i != NONE and e.pool.orders[i].order_id < order_id:
            i = e.cold[i].next_order
        return i
    i = g.last_order
    while i != NONE and e.pool.orders[i].order_id > order_id:
        after = i
        i = e.cold[i].prev_order
    return after


cdef inline void link_order(Core* e, uint32_t leg, uint32_t slot) noexcept nogil:
    """Put it among the leg's orders, by id, and count its lots and money."""
    cdef LegOrders* g = group_of(e, leg)
    cdef OrderCold* o = edit_cold(e, slot)
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef uint32_t before = g.last_order, after = NONE
    # A new id is the largest; only an amended order goes back to an earlier place.
    if e.pool.orders[slot].order_id != e.h.seq and before != NONE:
        after = first_behind(e, g, e.pool.orders[slot].order_id)
        if after != NONE:
            before = e.cold[after].prev_order
    o.next_order = after
    o.prev_order = before
    if before != NONE:
        edit_cold(e, before).next_order = slot
    else:
        g.first_order = slot
    if after != NONE:
        edit_cold(e, after).prev_order = slot
    else:
        g.last_order = slot
    g.count += 1
    g.reserve_units[side] = add64(g.reserve_units[side], o.reserve_units)
    change_extra(e, slot, order_extra(e, slot))
    g.reserved_lots[side] += reserved_left(o)
    g.free_lots[side] += free_left(e, slot)


cdef inline void unlink_order(Core* e, uint32_t slot) noexcept nogil:
    """Take the order, its lots and its money out of its leg's totals."""
    cdef OrderCold* o = &e.cold[slot]
    cdef LegOrders* g = group_of(e, order_leg(e, slot))
    cdef int side = e.pool.orders[slot].price_side & 1
    if o.prev_order != NONE:
        edit_cold(e, o.prev_order).next_order = o.next_order
    else:
        g.first_order = o.next_order
    if o.next_order != NONE:
        edit_cold(e, o.next_order).prev_order = o.prev_order
    else:
        g.last_order = o.prev_order
    g.count -= 1
    g.reserve_units[side] = sub64(g.reserve_units[side], o.reserve_units)
    change_extra(e, slot, -order_extra(e, slot))
    g.reserved_lots[side] -= reserved_left(o)
    g.free_lots[side] -= free_left(e, slot)
    group_drop_if_empty(e, order_leg(e, slot))


cdef inline void release_extra(Core* e, uint32_t slot) noexcept nogil:
    """The order holds no E any more."""
    cdef int64_t extra = order_extra(e, slot)
    change_extra(e, slot, -extra)
    if extra:
        edit_rare(e, slot).extra_units = 0


cdef inline void spend_lots(Core* e, uint32_t slot, int64_t free, int64_t reserved,
                            int64_t slice_units) noexcept nogil:
    """`free` and `reserved` lots of the order, and the money of the latter, are used up."""
    cdef OrderCold* o = edit_cold(e, slot)
    cdef LegOrders* g = group_of(e, order_leg(e, slot))
    cdef int side = e.pool.orders[slot].price_side & 1
    g.free_lots[side] -= free
    g.reserved_lots[side] -= reserved
    g.reserve_units[side] = sub64(g.reserve_units[side], slice_units)
    o.reserve_units = sub64(o.reserve_units, slice_units)
    o.reserved_used += reserved
    if reserved:
        release_extra(e, slot)


cdef inline void order_forget(Core* e, uint32_t slot) noexcept nogil:
    """Free the order's record; it is out of the book and holds no money."""
    cdef uint32_t account = order_account(e, slot), u = e.legs[order_leg(e, slot)].unit
    timer_drop(e, slot)
    drop_client(e, account, e.cold[slot].client_order_id)
    unlink_order(e, slot)
    edit_account(e, account).order_count -= 1
    pool_release(&e.pool, slot, &e.undo)
    touch_orders(e, u)


cdef inline void order_out_of_book(Core* e, uint32_t slot) noexcept nogil:
    if e.cold[slot].in_book:
        book_remove(book_of(e, slot), &e.pool, slot, &e.undo)
        edit_cold(e, slot).in_book = False
        e.h.dormant_count -= e.cold[slot].is_dormant


cdef inline bint forfeits(Core* e, uint32_t u) noexcept nogil:
    """Whether the money of the block's orders stays for the fund: it is being liquidated (Q3)."""
    return (e.units[u].state == LIQUIDATING
            and e.terms.order_margin_in_liquidation == ORDER_MARGIN_IS_FORFEIT)


cdef inline void order_close(Core* e, uint32_t slot) noexcept nogil:
    """Take the order away and give its reserve back; without an event of its own."""
    cdef OrderCold* o = &e.cold[slot]
    cdef uint32_t leg = order_leg(e, slot), u = e.legs[leg].unit
    cdef uint64_t order_id = e.pool.orders[slot].order_id
    cdef int64_t money = o.reserve_units, usdc = order_usdc(e, slot)
    cdef uint32_t contract = e.legs[leg].contract
    order_out_of_book(e, slot)
    order_forget(e, slot)
    if usdc:
        change_order_usdc(e, slot, -usdc)
    if is_block(&e.units[u]) and not forfeits(e, u):
        return_order_cash(e, u, money, contract, order_id)
        if usdc:
            return_usdc(e, u, BLOCK_ORDER_USDC, usdc, contract, order_id)


cdef inline void end_one(Core* e, uint32_t slot, uint8_t reason) noexcept nogil:
    """Cancel an order that has no link: event, then its money."""
    cdef BookOrder* b = &e.pool.orders[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef Event* ev = unit_event(e, CANCELLED, leg.unit, leg.contract)
    ev.order_id = b.order_id
    ev.reason = reason
    ev.qty_lots = b.qty_lots
    ev.price_ticks = limit_of(e, slot)
    order_close(e, slot)


cdef inline void order_end(Core* e, uint32_t slot, uint8_t reason) noexcept nogil:
    """Cancel an order (SPEC O2 and every rule that cancels), and then the one linked to it."""
    cdef uint32_t other = cut_link(e, slot)
    end_one(e, slot, reason)
    if other != NONE:
        end_one(e, other, DONE_LINKED)


cdef inline void order_filled(Core* e, uint32_t slot) noexcept nogil:
    """An order is filled in full: it goes, and the one linked to it ends."""
    cdef uint32_t other = cut_link(e, slot)
    order_forget(e, slot)
    if other != NONE:
        end_one(e, other, DONE_LINKED)
