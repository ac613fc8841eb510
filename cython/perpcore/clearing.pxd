"""Floor 5: the walk through the book, and one fill turned into money on both sides (O1, O3, O7).

Every fill comes through here: voluntary orders, liquidations and the work-off of the fund's
inventory. The maker is cleared first, then the taker, at the maker's price.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perpcore.book cimport (
    BOOK_BUY, BookOrder, book_best, book_head, book_reduce, pool_prefetch_id,
)
from perpcore.codes cimport (
    AMENDED, BEYOND_BANKRUPTCY, BLOCK_OPEN, BLOCK_ORDER_USDC, BLOCK_PENDING, DONE_MAINTENANCE,
    DONE_REDUCE_ONLY,
    DONE_SELF_TRADE, FILL, FILL_LIQUIDATION, FILL_MAKER, FILL_TAKER, FILL_WORK_OFF,
    IMMEDIATE_LIQUIDATION, OPEN, PENDING, R_ISOLATED_TRANSFER, R_LIQUIDATION_FEE, R_REALIZED_PNL,
    R_TRADE_FEE, REDUCE_ONLY, REDUCE_ONLY_REJECTED, RELEASE_MARGIN, SELF_TRADE_PREVENTED, STP_BOTH,
    STP_TAKER,
)
from perpcore.int128 cimport (
    add64, larger, magnitude, mul64, mul_div_ceil, mul_div_floor, not_below_zero, smaller, sub64,
)
from perpcore.margin cimport rate_ceil, scaled_ceil
from perpcore.memory cimport prefetch
from perpcore.policies cimport PARTIAL_CLOSE_RELEASES
from perpcore.posting cimport (
    USD_LEDGER, Released, credit_fees, move_inventory, move_position, post_cash, post_fund,
    post_inventory, post_order_cash, released_costs, write_cash, write_position,
)
from perpcore.records cimport NONE, Event
from perpcore.reserves cimport (
    change_order_usdc, order_end, order_extra, order_filled, order_linked, order_out_of_book,
    order_rate, order_slice, reserved_left, spend_lots, usdc_slice,
)
from perpcore.standing cimport Probe, convertible, meets_maintenance, paying_equity, releasable
from perpcore.state cimport (
    Core, Leg, LegOrders, Market, OrderCold, Unit, core_commit, edit_cold, edit_group, edit_live,
    edit_order, edit_unit, event, is_block, order_leg, prefetch_leg, prefetch_order, prefetch_owner,
    touch, unit_event, watch,
)
from perpcore.thresholds cimport serves_after
from perpcore.transfers cimport (
    bring_back, return_everything, return_order_cash, return_position_cash, return_usdc,
    spend_order_usdc,
)

cdef enum TakerKind:
    TAKES_ORDER = 0
    TAKES_LIQUIDATION = 1        # of a leg, reduce only
    TAKES_WORK_OFF = 2           # of the fund's inventory, reduce only

cdef enum Stop:
    WALK_DONE = 0                # filled, or the book ran out; other stops are refusal codes
    WALK_BOTH = 1                # self-trade prevention BOTH: both orders end, nothing is refused

cdef struct Taker:
    uint8_t kind                 # TakerKind
    uint8_t side                 # 0 buys, 1 sells
    uint8_t stp                  # codes.SelfTrade, not the default
    bint commits                 # after a first fill the command cannot be refused any more
    uint32_t contract
    uint32_t account             # NONE: the fund's inventory
    uint32_t slot                # TAKES_ORDER
    uint32_t leg                 # TAKES_LIQUIDATION
    int64_t limit_ticks
    int64_t left_lots            # liquidation, work-off
    int64_t filled_lots

# What one side of a fill means in money, before anything moves.
cdef struct Money:
    int64_t notional_units
    int64_t fee_units
    int64_t slice_units          # leaves order_cash
    int64_t usdc_units           # leaves order_usdc with it
    int64_t kept_units           # stays in position_cash (a block's opening fill)
    int64_t pnl_units            # realized (closing)
    Released released
    int64_t free_lots            # lots without a reserve that the fill uses
    bint closing
    bint serves                  # the unit's key serves after it: nothing to test, nothing to file


# ---- one side of a fill -------------------------------------------------------------------------

cdef inline bint closes(int64_t qty_lots, int side) noexcept nogil:
    return signed_lots(side, qty_lots) < 0


cdef inline int64_t signed_lots(int side, int64_t lots) noexcept nogil:
    """Lots of a buy, -lots of a sell; sides come at random, so that this has no branch."""
    cdef int64_t mask = -<int64_t>side
    return (lots ^ mask) - mask


cdef inline int64_t fill_notional(const Market* m, int64_t lots,
                                  int64_t price_ticks) noexcept nogil:
    return mul64(lots, mul64(price_ticks * m.terms.k, m.terms.v))


cdef inline int64_t order_possible_lots(Core* e, uint32_t slot) noexcept nogil:
    """Lots an order may fill at its turn: a fill never crosses zero, only reserved lots open."""
    cdef BookOrder* b = &e.pool.orders[slot]
    cdef OrderCold* o = &e.cold[slot]
    cdef int64_t held = e.legs[order_leg(e, slot)].qty_lots
    if closes(held, b.price_side & 1):
        return smaller(b.qty_lots, magnitude(held))
    return smaller(b.qty_lots, reserved_left(o))


cdef inline void fill_money(Core* e, uint32_t slot, int64_t lots, int64_t price_ticks,
                            bint is_taker, Money* money) noexcept nogil:
    """What filling `lots` of an order at a price means for its unit (I3, I10, U4)."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef Market* m = &e.markets[leg.contract]
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef int64_t free = e.pool.orders[slot].qty_lots - reserved_left(o)
    money.notional_units = fill_notional(m, lots, price_ticks)
    money.fee_units = scaled_ceil(
        money.notional_units, &m.terms.rates.taker if is_taker else &m.terms.rates.maker)
    money.kept_units = money.pnl_units = 0
    money.released.cost_units = money.released.opening_units = money.free_lots = 0
    money.closing = closes(leg.qty_lots, side)
    if not money.closing:
        money.slice_units = order_slice(e, slot, lots)
        money.usdc_units = usdc_slice(e, slot, lots)
        if is_block(&e.units[leg.unit]):
            money.kept_units = kept_of(e, slot, lots, price_ticks, money)
        return
    money.free_lots = smaller(lots, free)
    money.slice_units = order_slice(e, slot, lots - money.free_lots)
    money.usdc_units = usdc_slice(e, slot, lots - money.free_lots)
    money.released = released_costs(leg, lots)
    money.pnl_units = sub64(-signed_lots(side, 1) * money.notional_units,
                            money.released.cost_units)


cdef inline int64_t kept_of(Core* e, uint32_t slot, int64_t lots, int64_t price_ticks,
                            const Money* money) noexcept nogil:
    """What an opening fill keeps of its slice: C3's formula at fill price and mark (I3)."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Market* m = &e.markets[e.legs[order_leg(e, slot)].contract]
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef int64_t mark = m.live.mark_ticks, price = price_ticks * m.terms.k
    cdef int64_t n = mul64(lots, mul64(larger(price, mark), m.terms.v))
    cdef int64_t worse = price - mark if side == BOOK_BUY else mark - price
    cdef int64_t asked
    if o.is_explicit:
        return money.slice_units
    asked = add64(rate_ceil(n, order_rate(e, slot)), money.fee_units)
    asked = add64(asked, scaled_ceil(n, &m.terms.rates.fee_reserve))
    asked = add64(asked, mul64(lots, mul64(not_below_zero(worse), m.terms.v)))
    asked = add64(asked, order_extra(e, slot))
    if money.usdc_units:                             # it stays, for what it gives
        asked = not_below_zero(sub64(asked, convertible(e, money.usdc_units)))
    return smaller(money.slice_units, asked)


cdef inline int fill_refusal(Core* e, uint32_t slot, int64_t lots, Money* money) noexcept nogil:
    """O7: 304 if an opening fill would leave MB < MM, 310 if a closing one equity < 0; else 0."""
    cdef uint32_t i = order_leg(e, slot)
    cdef Leg* leg = &e.legs[i]
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef Probe probe
    probe.contract = leg.contract
    probe.qty_lots = leg.qty_lots + signed_lots(side, lots)
    if money.closing:
        probe.cost_units = sub64(leg.cost_units, money.released.cost_units)
        probe.cash_delta_units = sub64(money.pnl_units, money.fee_units)
        probe.usdc_delta_units = 0
        money.serves = serves_after(e, i, &probe)
        if money.serves or paying_equity(e, leg.unit, &probe) >= 0:
            return 0
        return BEYOND_BANKRUPTCY
    probe.cost_units = add64(leg.cost_units, signed_lots(side, 1) * money.notional_units)
    # A block keeps money and USDC of its order; main's orders hold neither for it.
    probe.cash_delta_units = sub64(money.kept_units, money.fee_units)
    probe.usdc_delta_units = money.usdc_units
    money.serves = serves_after(e, i, &probe)
    if money.serves or meets_maintenance(e, leg.unit, &probe):
        return 0
    return IMMEDIATE_LIQUIDATION


cdef inline void fill_event(Core* e, Event* ev, uint8_t flags, int side, int64_t lots,
                            int64_t price_ticks, int64_t notional_units) noexcept nogil:
    ev.price_ticks = price_ticks
    ev.qty_lots = lots
    ev.amount_units = notional_units
    ev.flags = <uint8_t>(flags | ((side + 1) << 4))


cdef inline void use_lots(Core* e, uint32_t slot, int64_t lots, const Money* money) noexcept nogil:
    """Take filled lots off an order, in the book and in its leg's totals."""
    cdef OrderCold* o = edit_cold(e, slot)
    cdef Market* m = &e.markets[e.legs[order_leg(e, slot)].contract]
    if lots == e.pool.orders[slot].qty_lots:
        order_out_of_book(e, slot)
        edit_order(e, slot).qty_lots = 0
    elif o.in_book:
        book_reduce(&m.book, &e.pool, slot, lots, &e.undo)
    else:
        edit_order(e, slot).qty_lots -= lots
    o.filled_lots += lots
    spend_lots(e, slot, money.free_lots, lots - money.free_lots, money.slice_units)
    if money.usdc_units:
        change_order_usdc(e, slot, -money.usdc_units)


cdef inline void clear_order(Core* e, uint32_t slot, int64_t lots, int64_t price_ticks,
                             const Money* money, bint is_taker) noexcept nogil:
    """One side of a voluntary fill: event, position, money."""
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef Event* ev = unit_event(e, FILL, leg.unit, leg.contract)
    ev.order_id = e.pool.orders[slot].order_id
    fill_event(e, ev, FILL_TAKER if is_taker else FILL_MAKER, side, lots, price_ticks,
               money.notional_units)
    if not money.serves:
        touch(e, leg.unit)
    if money.closing:
        clear_closing(e, slot, lots, money, is_taker)
    else:
        clear_opening(e, slot, lots, money)
    if not is_taker and e.pool.orders[slot].qty_lots == 0:
        order_filled(e, slot)


cdef inline void clear_opening(Core* e, uint32_t slot, int64_t lots,
                               const Money* money) noexcept nogil:
    cdef uint32_t i = order_leg(e, slot)
    cdef uint32_t u = e.legs[i].unit, contract = e.legs[i].contract
    cdef uint64_t order_id = e.pool.orders[slot].order_id
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef int64_t cost = signed_lots(side, 1) * money.notional_units
    cdef bint was_flat = e.legs[i].qty_lots == 0, isolated = is_block(&e.units[u])
    use_lots(e, slot, lots, money)
    write_position(e, i, signed_lots(side, lots), cost, cost)
    if isolated:
        post_order_cash(e, u, -money.slice_units, R_ISOLATED_TRANSFER, contract, order_id)
        write_cash(e, u, money.slice_units, R_ISOLATED_TRANSFER, contract, order_id)
        if money.usdc_units:
            spend_order_usdc(e, u, money.usdc_units, contract, order_id)
    write_cash(e, u, -money.fee_units, R_TRADE_FEE, contract, order_id)
    credit_fees(e, money.fee_units)
    if isolated:
        bring_back(e, u, sub64(money.slice_units, money.kept_units), contract, order_id)
        if was_flat:
            edit_unit(e, u).state = OPEN
            unit_event(e, BLOCK_OPEN, u, contract)


cdef inline void clear_closing(Core* e, uint32_t slot, int64_t lots, const Money* money,
                               bint is_taker) noexcept nogil:
    """Lots without a reserve are used first, then reserved ones, whose slice returns (C3, I10)."""
    cdef uint32_t i = order_leg(e, slot)
    cdef uint32_t u = e.legs[i].unit, contract = e.legs[i].contract
    cdef uint64_t order_id = e.pool.orders[slot].order_id
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef int64_t cash_before = e.units[u].cash_units, held = magnitude(e.legs[i].qty_lots), asked
    cdef bint isolated = is_block(&e.units[u])
    use_lots(e, slot, lots, money)
    write_position(e, i, signed_lots(side, lots), -money.released.cost_units,
                   -money.released.opening_units)
    if isolated:
        return_order_cash(e, u, money.slice_units, contract, order_id)
        if money.usdc_units:
            return_usdc(e, u, BLOCK_ORDER_USDC, money.usdc_units, contract, order_id)
    write_cash(e, u, money.pnl_units, R_REALIZED_PNL, contract, order_id)
    write_cash(e, u, -money.fee_units, R_TRADE_FEE, contract, order_id)
    credit_fees(e, money.fee_units)
    if e.legs[i].qty_lots == 0:
        if isolated:
            return_everything(e, u, contract, order_id)
        position_ended(e, i, slot, is_taker)
    elif e.cold[slot].exec_flags & RELEASE_MARGIN or (
            isolated and e.terms.partial_close == PARTIAL_CLOSE_RELEASES):
        # Down: a release (U3).
        asked = smaller(mul_div_floor(cash_before, lots, held), releasable(e, u))
        return_position_cash(e, u, asked, contract, order_id)


cdef inline uint32_t first_after(Core* e, uint32_t group, uint64_t order_id) noexcept nogil:
    """The group's first order with a larger id, or NONE."""
    cdef uint32_t slot = e.groups[group].first_order
    while slot != NONE and e.pool.orders[slot].order_id <= order_id:
        slot = e.cold[slot].next_order
    return slot


cdef inline bint waits_for_more(const OrderCold* o) noexcept nogil:
    """A dormant order that may open: it outlives the position."""
    return o.is_dormant and not o.exec_flags & REDUCE_ONLY


cdef inline void position_ended(Core* e, uint32_t i, uint32_t in_hand,
                                bint is_taker) noexcept nogil:
    """A flat leg's orders lose the lots that could only reduce; a block with orders is PENDING.

    `in_hand`: the order whose fill ended it, NONE when no order did.
    """
    cdef uint32_t g = e.legs[i].orders
    cdef uint32_t slot = NONE if g == NONE else e.groups[g].first_order, after
    cdef bint was_linked
    while slot != NONE:
        after = e.cold[slot].next_order
        if (is_taker and slot == in_hand) or e.pool.orders[slot].qty_lots == 0:
            pass                                     # whoever has it in hand ends it
        elif waits_for_more(&e.cold[slot]):
            pass
        elif reserved_left(&e.cold[slot]):
            keep_reserved_lots(e, slot)
        else:
            was_linked = order_linked(e, slot) != NONE
            order_end(e, slot, DONE_REDUCE_ONLY)
            if was_linked:                           # the next may have ended with it
                after = first_after(e, g, e.pool.orders[slot].order_id)
        slot = after
    if is_block(&e.units[e.legs[i].unit]):
        edit_unit(e, e.legs[i].unit).state = PENDING
        if orders_live(e, i, in_hand, is_taker):
            unit_event(e, BLOCK_PENDING, e.legs[i].unit, e.legs[i].contract)


cdef inline bint orders_live(Core* e, uint32_t i, uint32_t in_hand, bint is_taker) noexcept nogil:
    """Whether lots of any order are left on a flat leg, the reserved ones of a taker included."""
    cdef uint32_t g = e.legs[i].orders
    cdef uint32_t slot = NONE if g == NONE else e.groups[g].first_order
    while slot != NONE:
        if e.pool.orders[slot].qty_lots != 0 and (
                not is_taker or slot != in_hand or reserved_left(&e.cold[slot]) != 0):
            return True
        slot = e.cold[slot].next_order
    return False


cdef inline void keep_reserved_lots(Core* e, uint32_t slot) noexcept nogil:
    """Cut a resting order down to its reserved lots; it keeps its place."""
    cdef OrderCold* o = &e.cold[slot]
    cdef Leg* leg = &e.legs[order_leg(e, slot)]
    cdef int64_t free = e.pool.orders[slot].qty_lots - reserved_left(o)
    cdef int side = e.pool.orders[slot].price_side & 1
    cdef Event* ev
    if free == 0:
        return
    book_reduce(&e.markets[leg.contract].book, &e.pool, slot, free, &e.undo)
    edit_group(e, leg.orders).free_lots[side] -= free
    ev = unit_event(e, AMENDED, leg.unit, leg.contract)
    ev.order_id = e.pool.orders[slot].order_id
    ev.price_ticks = e.pool.orders[slot].price_side >> 1
    ev.qty_lots = e.pool.orders[slot].qty_lots
    ev.amount_units = o.reserve_units


# ---- sides that are no order --------------------------------------------------------------------

cdef inline void clear_liquidation(Core* e, uint32_t i, int side, int64_t lots,
                                   int64_t price_ticks) noexcept nogil:
    """The liquidated side: PnL, taker fee, liquidation fee; a fee makes no deficit (Q5)."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t n = fill_notional(m, lots, price_ticks)
    cdef Released released = released_costs(leg, lots)
    cdef int64_t fee
    cdef Event* ev = unit_event(e, FILL, leg.unit, leg.contract)
    fill_event(e, ev, FILL_TAKER | FILL_LIQUIDATION, side, lots, price_ticks, n)
    move_position(e, i, signed_lots(side, lots), -released.cost_units, -released.opening_units)
    post_cash(e, leg.unit, sub64(-signed_lots(side, 1) * n, released.cost_units), R_REALIZED_PNL,
              leg.contract, 0)
    fee = smaller(scaled_ceil(n, &m.terms.rates.taker),
                  not_below_zero(e.units[leg.unit].cash_units))
    post_cash(e, leg.unit, -fee, R_TRADE_FEE, leg.contract, 0)
    credit_fees(e, fee)
    charge_liquidation_fee(e, i, n)


cdef inline void charge_liquidation_fee(Core* e, uint32_t i, int64_t notional_units) noexcept nogil:
    """Up, but at most what cash there is; to the fund (Q5)."""
    cdef uint32_t u = e.legs[i].unit, contract = e.legs[i].contract
    cdef int64_t fee = smaller(
        scaled_ceil(notional_units, &e.markets[contract].terms.rates.liquidation),
        not_below_zero(e.units[u].cash_units))
    post_cash(e, u, -fee, R_LIQUIDATION_FEE, contract, 0)
    post_fund(e, USD_LEDGER, fee, R_LIQUIDATION_FEE, contract)


cdef inline void clear_work_off(Core* e, uint32_t contract, int side, int64_t lots,
                                int64_t price_ticks) noexcept nogil:
    """The inventory's side of a fill; it pays no fee (Q4)."""
    cdef Market* m = &e.markets[contract]
    cdef int64_t n = fill_notional(m, lots, price_ticks)
    cdef int64_t released = mul_div_ceil(
        m.live.inventory_cost_units, lots, magnitude(m.live.inventory_lots))
    cdef Event* ev = event(e, FILL)
    ev.contract = <unsigned short>contract
    fill_event(e, ev, FILL_TAKER | FILL_WORK_OFF, side, lots, price_ticks, n)
    move_inventory(e, contract, signed_lots(side, lots), -released)
    post_inventory(e, sub64(-signed_lots(side, 1) * n, released), R_REALIZED_PNL, contract)


# ---- the walk -----------------------------------------------------------------------------------

cdef inline int64_t wanted_lots(Core* e, const Taker* t) noexcept nogil:
    return e.pool.orders[t.slot].qty_lots if t.kind == TAKES_ORDER else t.left_lots


cdef inline bint reaches(int side, int64_t limit_ticks, int64_t price_ticks) noexcept nogil:
    """The best opposite price is within a taker's limit; -1 is no price."""
    if price_ticks == -1:
        return False
    return signed_lots(side, limit_ticks - price_ticks) >= 0


cdef inline void clear_taker(Core* e, Taker* t, int64_t lots, int64_t price_ticks,
                             const Money* money) noexcept nogil:
    if t.kind == TAKES_ORDER:
        clear_order(e, t.slot, lots, price_ticks, money, True)
        return
    if t.kind == TAKES_LIQUIDATION:
        clear_liquidation(e, t.leg, t.side, lots, price_ticks)
    else:
        clear_work_off(e, t.contract, t.side, lots, price_ticks)
    t.left_lots -= lots


cdef inline void ahead_of_maker(Core* e, uint32_t maker) noexcept nogil:
    """Start loading the orders behind the maker, each a step further, and those that the maker's
    end unlinks."""
    cdef uint32_t slot = e.pool.orders[maker].next
    if slot != NONE:
        prefetch_owner(e, e.pool.orders[slot].owner)
        slot = e.pool.orders[slot].next
        if slot != NONE:
            prefetch_leg(e, e.pool.orders[slot].owner)
            slot = e.pool.orders[slot].next
            if slot != NONE:
                prefetch_order(e, slot)
    pool_prefetch_id(&e.pool, e.pool.orders[maker].order_id)
    if e.cold[maker].next_order != NONE:
        prefetch(&e.cold[e.cold[maker].next_order].prev_order)
    if e.cold[maker].prev_order != NONE:
        prefetch(&e.cold[e.cold[maker].prev_order].next_order)


cdef inline int meet(Core* e, Taker* t, uint32_t maker, int64_t price_ticks) noexcept nogil:
    """One maker, the first of the best level: a fill, a cancelled maker, or the stop's code."""
    cdef int64_t lots
    cdef Money maker_money, taker_money
    cdef int code
    ahead_of_maker(e, maker)
    if e.legs[order_leg(e, maker)].account == t.account:
        if t.stp == STP_TAKER:
            return SELF_TRADE_PREVENTED
        order_end(e, maker, DONE_SELF_TRADE)
        return WALK_BOTH if t.stp == STP_BOTH else WALK_DONE
    lots = order_possible_lots(e, maker)
    if lots == 0:
        order_end(e, maker, DONE_REDUCE_ONLY)
        return WALK_DONE
    lots = smaller(lots, order_possible_lots(e, t.slot) if t.kind == TAKES_ORDER else t.left_lots)
    if lots == 0:
        return REDUCE_ONLY_REJECTED
    fill_money(e, maker, lots, price_ticks, False, &maker_money)
    if fill_refusal(e, maker, lots, &maker_money):
        order_end(e, maker, DONE_MAINTENANCE)
        return WALK_DONE
    if t.kind == TAKES_ORDER:
        fill_money(e, t.slot, lots, price_ticks, True, &taker_money)
        code = fill_refusal(e, t.slot, lots, &taker_money)
        if code:
            return code
    # From here on the command stands: nothing has to be saved any more.
    if t.commits:
        core_commit(e)
    clear_order(e, maker, lots, price_ticks, &maker_money, False)
    clear_taker(e, t, lots, price_ticks, &taker_money)
    edit_live(e, t.contract).last_price_ticks = price_ticks
    watch(e, t.contract)
    t.filled_lots += lots
    if t.kind == TAKES_ORDER and exhausted(e, t.slot):
        return REDUCE_ONLY_REJECTED
    return WALK_DONE


cdef inline bint exhausted(Core* e, uint32_t slot) noexcept nogil:
    """The position is gone and what is left of the order could only reduce."""
    return (e.pool.orders[slot].qty_lots != 0 and e.legs[order_leg(e, slot)].qty_lots == 0
            and reserved_left(&e.cold[slot]) == 0)


cdef inline int walk(Core* e, Taker* t) noexcept nogil:
    """Fill the taker maker by maker until it is full or stops; a Stop or the code of the stop."""
    cdef Market* m = &e.markets[t.contract]
    cdef int64_t price_ticks
    cdef int stop
    while wanted_lots(e, t) > 0:
        price_ticks = book_best(&m.book, 1 - t.side)
        if not reaches(t.side, t.limit_ticks, price_ticks):
            return WALK_DONE
        stop = meet(e, t, book_head(&m.book, 1 - t.side, price_ticks), price_ticks)
        if stop != WALK_DONE:
            return stop
    return WALK_DONE
