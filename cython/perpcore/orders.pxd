"""Floor 6: an order from its checks to its place in the book (O1 to O7, C3, I2).

The checks stand in the order of docs/rejects.md and the first that fails gives the code. Nothing
is written before they are done; what can still be refused while it matches is undone.
"""
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.book cimport book_best, book_has_room, book_insert, pool_find, pool_take
from perpcore.clearing cimport TAKES_ORDER, WALK_BOTH, WALK_DONE, Taker, closes, reaches, walk
from perpcore.codes cimport (
    ACCEPTED, ACCOUNT_IN_MARGIN_CALL, AMENDED, BELOW_MIN_ORDER_SIZE, BEYOND_BANKRUPTCY,
    BLOCK_EXISTS, BLOCK_ORDER_USDC, BLOCK_PENDING, BUY, CAPACITY, DONE_LINKED, DONE_MAINTENANCE,
    DONE_REDUCE_ONLY, DONE_REST, DONE_SELF_TRADE, DUPLICATE_CLIENT_ORDER_ID,
    EXCEEDS_ACCOUNT_NOTIONAL, EXCEEDS_INITIAL_MARGIN, EXCEEDS_MAX_BLOCKS, EXCEEDS_MAX_ORDERS,
    EXCEEDS_MAX_ORDER_SIZE, EXCEEDS_MAX_POSITION, FAR_AWAY_PRICE, FOK, FOK_NOT_FILLED, GTC, GTD,
    IMMEDIATE_LIQUIDATION, INSUFFICIENT_BALANCE, INVALID_ARGUMENT, INVALID_EXEC_INST,
    INVALID_ISOLATION_ID, INVALID_LEVERAGE, INVALID_ORDER_ID, INVALID_ORDER_QTY, INVALID_ORDER_TYPE,
    INVALID_PRICE, INVALID_SIDE, INVALID_TIME_IN_FORCE, IOC, IOC_NOT_FILLED, ISOLATED_MARGIN, LIMIT,
    MARGIN_WITHOUT_RISK, MARKET, MARKET_HALTED, MARKET_NOT_OPEN, NO_MARK_PRICE, NO_POSITION, NO_TIF,
    OK, PENDING, POST_ONLY, POST_ONLY_WOULD_TAKE, PRICE_ABOVE_LIMIT, PRICE_BELOW_LIMIT, REDUCE_ONLY,
    REDUCE_ONLY_REJECTED, RELEASE_MARGIN, SELF_TRADE_PREVENTED, SELL, SMART_POST_ONLY,
    STALE_MARK_PRICE, STOP_LIMIT, STOP_LOSS, STP_BOTH, STP_DEFAULT, STP_TAKER, TAKE_PROFIT,
    TAKE_PROFIT_LIMIT,
)
from perpcore.contract cimport E9, MAX_DEPOSITS, margin_rate
from perpcore.eligibility cimport eligibility_code
from perpcore.int128 cimport (
    add64, ceil_div, floor_div, i128, i128_add, i128_cmp, i128_from, i128_low64, magnitude, mul64,
    not_below_zero, smaller, sub64,
)
from perpcore.margin cimport Rate
from perpcore.memory cimport CHECK, rarely
from perpcore.policies cimport FLIP_ALLOWED, FLIP_REJECTED
from perpcore.records cimport NONE, Command, Event
from perpcore.reserves cimport (
    book_of, change_order_usdc, client_place, edit_rare, extra_needed, find_client, link_order,
    open_block, order_end, order_forget, order_linked, reserve_of, set_client, timer_add,
)
from perpcore.standing cimport Amounts, amounts, compare_initial, free_money, free_units
from perpcore.state cimport (
    Bands, Core, Dormant, Leg, LegOrders, Market, OrderCold, block_by_id, block_on, core_commit,
    core_mark, core_rollback, edit_account, edit_cold, edit_dormant, edit_order, free_lots,
    has_room, leg_of, leg_take, main_of, order_leg, reserved_lots, touch_orders, unit_event,
)
from perpcore.transfers cimport cut_usdc, fund_orders, fund_usdc

# The figures that go with a refusal.
cdef struct Answer:
    int64_t needed_units
    int64_t available_units
    int64_t price_ticks          # nearest valid
    int64_t qty_lots             # the limit, or the nearest valid size

# An order before it is accepted.
cdef struct Draft:
    uint64_t order_id
    uint64_t client_order_id
    int64_t price_ticks          # LIMIT: its price; MARKET: the edge of the aggressive band
    int64_t qty_lots
    int64_t filled_lots          # of the order that it amends
    int64_t expiry_ns
    int64_t explicit_units       # isolated_margin_amount, 0: the formula's
    int64_t raising_lots         # lots that raise risk: only they are reserved (C3)
    int64_t size_lots            # size at which MR' is taken
    int64_t extra_units          # E
    int64_t amount_units         # what is reserved
    int64_t trigger_ticks        # conditional: 0 when it is none, or has fired
    uint64_t linked_id           # of the order that ends when this one does, 0: none
    uint32_t account
    uint32_t contract
    uint32_t unit                # NONE: a new block
    uint32_t leg                 # NONE: the unit has none on the contract
    uint32_t leverage            # block's; main's setting or 0
    uint8_t side                 # 0 buys, 1 sells
    uint8_t order_type
    uint8_t time_in_force
    uint8_t exec_flags
    uint8_t stp
    uint8_t trigger_type         # conditional: codes.OrderType as it was sent
    uint8_t reference            # conditional: codes.Scope TRIGGER_*
    bint fires_on_rise
    bint isolated
    bint amends
    bint closes_all              # the smallest size does not apply


# ---- form (step 1) ------------------------------------------------------------------------------

cdef inline bint is_conditional(uint8_t order_type) noexcept nogil:
    return STOP_LOSS <= order_type <= TAKE_PROFIT_LIMIT


cdef inline uint8_t type_when_fired(uint8_t order_type) noexcept nogil:
    """What a conditional order becomes; other types stay what they are (O1)."""
    if order_type == STOP_LOSS or order_type == TAKE_PROFIT:
        return MARKET
    return LIMIT if order_type == STOP_LIMIT or order_type == TAKE_PROFIT_LIMIT else order_type


cdef inline int form_code(Core* e, const Command* c) noexcept nogil:
    """220, 218, 221, 219, 40001 of a NEW_ORDER's words."""
    cdef uint8_t flags = c.exec_flags, tif = c.time_in_force
    cdef uint8_t order_type = type_when_fired(c.order_type)
    if c.side != BUY and c.side != SELL:
        return INVALID_SIDE
    if order_type != LIMIT and order_type != MARKET:
        return INVALID_ORDER_TYPE
    if order_type == MARKET:
        if tif != NO_TIF and tif != IOC:
            return INVALID_TIME_IN_FORCE
    elif tif > GTD:
        return INVALID_TIME_IN_FORCE
    if (c.expiry_ns <= e.h.time_ns) if tif == GTD else (c.expiry_ns != 0):
        return INVALID_TIME_IN_FORCE
    if flags & ~(POST_ONLY | REDUCE_ONLY | ISOLATED_MARGIN | SMART_POST_ONLY):
        return INVALID_EXEC_INST
    if flags & (POST_ONLY | SMART_POST_ONLY) and (order_type != LIMIT or tif == IOC or tif == FOK):
        return INVALID_EXEC_INST
    if flags & POST_ONLY and flags & SMART_POST_ONLY:
        return INVALID_EXEC_INST
    if c.stp > STP_BOTH or c.isolated_margin_units < 0:
        return INVALID_ARGUMENT
    if is_conditional(c.order_type) and c.isolated_margin_units:
        return INVALID_ARGUMENT
    if not flags & ISOLATED_MARGIN and (c.isolation_id or c.leverage or c.isolated_margin_units):
        return INVALID_ARGUMENT
    return OK


# ---- size, price, market (steps 2 to 6) ---------------------------------------------------------

cdef inline int size_code(Core* e, const Draft* d, Answer* a) noexcept nogil:
    cdef Market* m = &e.markets[d.contract]
    if d.qty_lots < 1:
        a.qty_lots = m.terms.terms.min_order_lots
        return INVALID_ORDER_QTY
    if d.qty_lots < m.terms.terms.min_order_lots and not d.closes_all:
        a.qty_lots = m.terms.terms.min_order_lots
        return BELOW_MIN_ORDER_SIZE
    if d.qty_lots > m.terms.terms.max_order_lots:
        a.qty_lots = m.terms.terms.max_order_lots
        return EXCEEDS_MAX_ORDER_SIZE
    return OK


cdef inline int price_code(Core* e, const Draft* d, Answer* a) noexcept nogil:
    cdef int64_t highest = e.markets[d.contract].terms.terms.max_price_ticks
    if d.order_type == MARKET:
        return OK if d.price_ticks == 0 else INVALID_PRICE
    if d.price_ticks < 1:
        a.price_ticks = 1
        return INVALID_PRICE
    if d.price_ticks > highest:
        a.price_ticks = highest
        return INVALID_PRICE
    return OK


cdef inline int mark_code(Core* e, uint32_t contract) noexcept nogil:
    """207 without a mark, 222 with one that is too old (O4)."""
    cdef Market* m = &e.markets[contract]
    cdef int64_t stale_after_ns = m.terms.terms.stale_after_ns
    if m.live.mark_ticks == 0:
        return NO_MARK_PRICE
    if stale_after_ns and e.h.time_ns - m.live.mark_time_ns > stale_after_ns:
        return STALE_MARK_PRICE
    return OK


cdef inline int64_t band_high(const Market* m, int64_t band_e9) noexcept nogil:
    """Highest order price within a band around the mark: inward (O4)."""
    cdef int64_t high = floor_div(
        mul64(m.live.mark_ticks, E9 + band_e9), mul64(E9, m.terms.k))
    return smaller(high, m.terms.terms.max_price_ticks)


cdef inline int64_t band_low(const Market* m, int64_t band_e9) noexcept nogil:
    """Lowest order price within a band around the mark, at least 1: inward (O4)."""
    cdef int64_t low = ceil_div(mul64(m.live.mark_ticks, E9 - band_e9), mul64(E9, m.terms.k))
    return low if low > 1 else 1


cdef inline Bands* bands_of(Market* m) noexcept nogil:
    """The bands around the mark of now; computed once a mark."""
    cdef Bands* bands = &m.bands
    if rarely(bands.mark_ticks != m.live.mark_ticks):
        bands.mark_ticks = m.live.mark_ticks
        bands.highest[0] = band_high(m, m.terms.terms.band_aggressive_e9)
        bands.lowest[1] = band_low(m, m.terms.terms.band_aggressive_e9)
        bands.highest[1] = band_high(m, m.terms.terms.band_passive_e9)
        bands.lowest[0] = band_low(m, m.terms.terms.band_passive_e9)
    return bands


cdef inline int band_code(Core* e, const Draft* d, Answer* a) noexcept nogil:
    cdef Bands* bands = bands_of(&e.markets[d.contract])
    cdef int64_t highest = bands.highest[d.side], lowest = bands.lowest[d.side]
    if lowest <= d.price_ticks <= highest:
        a.price_ticks = 0
        return OK
    if d.price_ticks > highest:
        a.price_ticks = highest
        return PRICE_ABOVE_LIMIT if d.side == 0 else FAR_AWAY_PRICE
    a.price_ticks = lowest
    return FAR_AWAY_PRICE if d.side == 0 else PRICE_BELOW_LIMIT


cdef inline int open_code(Core* e, const Draft* d) noexcept nogil:
    """Steps 4 and 5."""
    cdef int code
    if e.markets[d.contract].live.state == MARKET_HALTED:
        return MARKET_NOT_OPEN
    code = mark_code(e, d.contract)
    if code:
        return code
    if find_client(e, d.account, d.client_order_id) != NONE:
        return DUPLICATE_CLIENT_ORDER_ID
    return OK


cdef inline int slide_code(Core* e, Draft* d, Answer* a) noexcept nogil:
    """SMART_POST_ONLY: a price that would take becomes the best that does not, or is 43005 (O1)."""
    cdef int64_t best = book_best(&e.markets[d.contract].book, 1 - d.side)
    if best < 0 or (d.price_ticks < best if d.side == 0 else d.price_ticks > best):
        return band_code(e, d, a)
    d.price_ticks = best - 1 if d.side == 0 else best + 1
    if price_code(e, d, a) or band_code(e, d, a):
        a.price_ticks = 0
        return POST_ONLY_WOULD_TAKE
    return OK


cdef inline int market_code(Core* e, Draft* d, Answer* a) noexcept nogil:
    """Steps 4 to 6; a MARKET order gets its limit here."""
    cdef Market* m = &e.markets[d.contract]
    cdef int code = open_code(e, d)
    if code:
        return code
    if d.order_type == LIMIT:
        return slide_code(e, d, a) if d.exec_flags & SMART_POST_ONLY else band_code(e, d, a)
    d.price_ticks = bands_of(m).highest[0] if d.side == 0 else bands_of(m).lowest[1]
    return OK


cdef inline int basic_code(Core* e, Draft* d, Answer* a) noexcept nogil:
    """Steps 2 to 6."""
    cdef int code = size_code(e, d, a)
    if code == OK:
        code = price_code(e, d, a)
    if code == OK:
        code = market_code(e, d, a)
    return code


# ---- unit and risk (steps 7 to 12) --------------------------------------------------------------

cdef inline int unit_code(Core* e, const Command* c, Draft* d) noexcept nogil:
    """Step 7: which unit the order is for, and its leverage."""
    cdef uint32_t block
    if not d.isolated:
        d.unit = e.accounts[d.account].unit
        d.leg = leg_of(e, d.unit, d.contract)
        d.leverage = 0 if d.leg == NONE else e.legs[d.leg].leverage
        return OK
    if c.isolation_id:
        d.unit = block_by_id(e, d.account, c.isolation_id)
        if d.unit == NONE:
            return INVALID_ISOLATION_ID
        d.leg = e.units[d.unit].first_leg
        if e.legs[d.leg].contract != d.contract:
            return INVALID_ISOLATION_ID
        d.leverage = e.units[d.unit].leverage
        return OK if c.leverage == 0 or c.leverage == d.leverage else INVALID_LEVERAGE
    block = block_on(e, d.account, d.contract)
    if block != NONE:
        return BLOCK_EXISTS
    d.unit = d.leg = NONE
    d.leverage = c.leverage
    if c.leverage < 1 or c.leverage > e.markets[d.contract].terms.terms.max_leverage:
        return INVALID_LEVERAGE
    return OK


cdef inline int link_code(Core* e, const Draft* d) noexcept nogil:
    """212: the order to be linked with lives in the same unit and contract and has no link yet."""
    cdef uint32_t other
    if d.linked_id == 0:
        return OK
    other = pool_find(&e.pool, d.linked_id)
    if (other == NONE or d.leg == NONE or order_leg(e, other) != d.leg
            or order_linked(e, other) != NONE):
        return INVALID_ORDER_ID
    return OK


cdef inline int64_t held_lots(Core* e, uint32_t leg) noexcept nogil:
    return 0 if leg == NONE else e.legs[leg].qty_lots


cdef inline void count_raising(Core* e, Draft* d) noexcept nogil:
    """Steps 8 and 9: what exceeds the position less the unreserved lots that wait to reduce it."""
    cdef int64_t held = held_lots(e, d.leg), reducible = 0
    if closes(held, d.side):
        reducible = not_below_zero(magnitude(held) - free_lots(e, d.leg, d.side))
    d.raising_lots = not_below_zero(d.qty_lots - reducible)
    if d.exec_flags & REDUCE_ONLY:
        d.raising_lots = 0


cdef inline int flip_code(Core* e, Draft* d) noexcept nogil:
    """I12: what becomes of the lots of a block's order that exceed its opposite position."""
    if (e.terms.isolated_flip == FLIP_ALLOWED or not d.isolated or d.raising_lots == 0
            or not closes(held_lots(e, d.leg), d.side)):
        return OK
    if e.terms.isolated_flip == FLIP_REJECTED:
        return MARGIN_WITHOUT_RISK
    d.qty_lots -= d.raising_lots
    d.raising_lots = 0
    return OK if d.qty_lots else REDUCE_ONLY_REJECTED


cdef inline void price_reserve(Core* e, Draft* d) noexcept nogil:
    """C3: size, E and amount of the reserve; an explicit amount stands as it is."""
    cdef Market* m = &e.markets[d.contract]
    cdef int64_t held = held_lots(e, d.leg)
    cdef Rate rate
    d.size_lots = d.extra_units = d.amount_units = 0
    if d.raising_lots == 0:
        return
    d.size_lots = reserved_lots(e, d.leg, d.side) + d.raising_lots
    if held != 0 and not closes(held, d.side):
        d.size_lots += magnitude(held)
    rate = margin_rate(&m.terms, d.size_lots,
                       mul64(d.size_lots, mul64(m.live.mark_ticks, m.terms.v)), d.leverage)
    d.extra_units = extra_needed(e, d.leg, d.side, rate)
    d.amount_units = reserve_of(
        &m.terms, d.raising_lots, d.price_ticks * m.terms.k, m.live.mark_ticks, d.side, rate,
        d.extra_units)


cdef inline int64_t side_exposure(Core* e, uint32_t leg, int side) noexcept nogil:
    """Lots that a leg holds or may come to hold on a side."""
    cdef int64_t held = held_lots(e, leg)
    return not_below_zero(held if side == 0 else -held) + reserved_lots(e, leg, side)


cdef inline int64_t position_limit_lots(Core* e, const Draft* d) noexcept nogil:
    """Lots of the account on the contract and side, cross and isolated, this order included."""
    cdef uint32_t block = block_on(e, d.account, d.contract)
    cdef uint32_t main_leg = leg_of(e, e.accounts[d.account].unit, d.contract)
    cdef int64_t lots = d.raising_lots + side_exposure(e, main_leg, d.side)
    if block != NONE:
        lots += side_exposure(e, e.units[block].first_leg, d.side)
    return lots


cdef inline i128 leg_exposure_units(Core* e, uint32_t i, const Draft* d,
                                    bint at_largest_mark) noexcept nogil:
    """303: the larger side of a leg, the draft included, at the mark or at the largest one."""
    cdef Market* m = &e.markets[e.legs[i].contract]
    cdef int64_t buys = side_exposure(e, i, 0), sells = side_exposure(e, i, 1)
    if i == d.leg:
        if d.side == 0:
            buys += d.raising_lots
        else:
            sells += d.raising_lots
    return i128_from(mul64(
        buys if buys > sells else sells,
        mul64(m.terms.v, m.terms.max_mark_ticks if at_largest_mark else m.live.mark_ticks)))


cdef inline i128 account_exposure_units(Core* e, const Draft* d,
                                        bint at_largest_mark) noexcept nogil:
    """Notional of all that the account holds or may come to hold, this order included."""
    cdef Market* m = &e.markets[d.contract]
    cdef i128 total = i128_from(0)
    cdef uint32_t u = e.accounts[d.account].unit, after = e.accounts[d.account].first_block, i
    if d.leg == NONE:
        total = i128_from(mul64(d.raising_lots, mul64(
            m.terms.v, m.terms.max_mark_ticks if at_largest_mark else m.live.mark_ticks)))
    while u != NONE:
        i = e.units[u].first_leg
        while i != NONE:
            total = i128_add(total, leg_exposure_units(e, i, d, at_largest_mark))
            i = e.legs[i].next_leg
        u = after
        after = NONE if u == NONE else e.units[u].next_block
    return total


cdef inline bint exceeds_notional(Core* e, const Draft* d, Answer* a) noexcept nogil:
    """303: the account's own limit at the mark, and what 64 bits can count at the largest marks."""
    cdef int64_t limit = e.terms.account_notional_limit_units
    cdef i128 total
    if limit:
        total = account_exposure_units(e, d, False)
        if i128_cmp(total, i128_from(limit)) > 0:
            a.needed_units = <int64_t>i128_low64(total)
            a.available_units = limit
            return True
    # One contract is below 2^60 by its own limit, so two always fit.
    if e.h.contract_count <= 2:
        return False
    total = account_exposure_units(e, d, True)
    if i128_cmp(total, i128_from(MAX_DEPOSITS)) < 0:
        return False
    a.needed_units = <int64_t>i128_low64(total)
    a.available_units = MAX_DEPOSITS - 1
    return True


cdef inline int64_t order_margin_growth(Core* e, const Draft* d) noexcept nogil:
    """By how much main's order margin grows with the draft: the larger side counts (C3)."""
    cdef int64_t sides[2]
    cdef int64_t before
    sides[0] = sides[1] = 0
    if d.leg != NONE and e.legs[d.leg].orders != NONE:
        sides[0] = e.groups[e.legs[d.leg].orders].reserve_units[0]
        sides[1] = e.groups[e.legs[d.leg].orders].reserve_units[1]
    before = sides[0] if sides[0] > sides[1] else sides[1]
    sides[d.side] = add64(sides[d.side], d.amount_units)
    return (sides[0] if sides[0] > sides[1] else sides[1]) - before


cdef inline int main_money_code(Core* e, const Draft* d, int64_t free, Answer* a) noexcept nogil:
    """306 of an order of main, whose MB - IM - order margin is `free`."""
    cdef int64_t growth = order_margin_growth(e, d)
    if free - growth >= 0:
        return OK
    a.needed_units = growth
    a.available_units = free
    return INSUFFICIENT_BALANCE


cdef inline int block_money_code(Core* e, Draft* d, Answer* a) noexcept nogil:
    """320 and 306 of an order of a block: its reserve has to be there."""
    cdef Amounts now
    if d.explicit_units:
        if d.explicit_units < d.amount_units:
            a.needed_units = d.amount_units
            a.available_units = d.explicit_units
            return EXCEEDS_INITIAL_MARGIN
        d.amount_units = d.explicit_units
    now = amounts(e, e.accounts[d.account].unit)
    a.available_units = free_money(&now)
    if d.amount_units > not_below_zero(a.available_units):
        a.needed_units = d.amount_units
        return INSUFFICIENT_BALANCE
    a.available_units = 0
    return OK


cdef inline int risk_code(Core* e, Draft* d, Answer* a) noexcept nogil:
    """Steps 10 to 12, for an order that raises risk."""
    cdef Market* m = &e.markets[d.contract]
    cdef int64_t free = 0
    cdef int code = eligibility_code(
        e, d.account, d.contract, d.isolated,
        d.leverage if d.leverage else m.terms.terms.max_leverage,
        (d.explicit_units if d.explicit_units else d.amount_units) if d.isolated else 0)
    if code:
        return code
    if not d.isolated:
        free = free_units(e, d.unit)
        # Amounts are rounded against the account: who has money left is in no margin call.
        if free < 0 and compare_initial(e, d.unit) < 0:
            return ACCOUNT_IN_MARGIN_CALL
    if d.unit == NONE and e.accounts[d.account].block_count >= e.terms.max_blocks_per_account:
        return EXCEEDS_MAX_BLOCKS
    if position_limit_lots(e, d) > m.terms.terms.max_position_lots:
        a.qty_lots = m.terms.terms.max_position_lots
        return EXCEEDS_MAX_POSITION
    if exceeds_notional(e, d, a):
        return EXCEEDS_ACCOUNT_NOTIONAL
    return block_money_code(e, d, a) if d.isolated else main_money_code(e, d, free, a)


# ---- room and place (step 13) -------------------------------------------------------------------

cdef inline bint may_rest(const Draft* d) noexcept nogil:
    return d.order_type == LIMIT and (d.time_in_force == GTC or d.time_in_force == GTD)


cdef inline void taker_of(const Draft* d, Taker* t) noexcept nogil:
    t.kind = TAKES_ORDER
    t.side = d.side
    t.stp = d.stp if d.stp != STP_DEFAULT else <uint8_t>STP_TAKER
    t.commits = d.time_in_force != FOK
    t.contract = d.contract
    t.account = d.account
    t.slot = t.leg = NONE
    t.limit_ticks = d.price_ticks
    t.left_lots = t.filled_lots = 0


cdef inline int place_code(Core* e, const Draft* d, bint crosses) noexcept nogil:
    """Step 13, and what is certain to be refused without a walk."""
    cdef Market* m = &e.markets[d.contract]
    if may_rest(d) and e.accounts[d.account].order_count >= e.terms.max_orders_per_account:
        return EXCEEDS_MAX_ORDERS
    if (not has_room(e, d.unit == NONE, d.leg == NONE, 1)
            or (may_rest(d) and not book_has_room(&m.book, d.side, d.price_ticks))):
        return CAPACITY
    if crosses and d.exec_flags & POST_ONLY:
        return POST_ONLY_WOULD_TAKE
    if not crosses and not may_rest(d):
        return FOK_NOT_FILLED if d.time_in_force == FOK else IOC_NOT_FILLED
    return OK


# ---- acceptance ---------------------------------------------------------------------------------

cdef inline void lay_asleep(Core* e, const Draft* d, uint32_t slot) noexcept nogil:
    """Make a record a dormant order's: it is filed under its trigger, its limit is kept apart."""
    cdef Dormant* dormant = edit_dormant(e, slot)
    e.pool.orders[slot].price_side = <uint32_t>(d.trigger_ticks << 1) | d.fires_on_rise
    e.cold[slot].is_dormant = True
    dormant.price_ticks = <uint32_t>d.price_ticks
    dormant.side = d.side
    dormant.order_type = d.trigger_type
    dormant.reference = d.reference


cdef inline uint32_t record_order(Core* e, const Draft* d) noexcept nogil:
    """Take the order's record and count it; it is not in the book yet."""
    cdef uint32_t slot = pool_take(&e.pool, d.order_id, &e.undo)
    cdef OrderCold* o
    CHECK(slot != NONE)
    o = edit_cold(e, slot)
    e.pool.orders[slot].qty_lots = d.qty_lots
    e.pool.orders[slot].price_side = <uint32_t>(d.price_ticks << 1) | d.side
    e.pool.orders[slot].owner = d.leg
    o.reserve_units = d.amount_units
    o.reserved_total = d.raising_lots
    o.reserved_used = 0
    o.size_lots = d.size_lots
    o.filled_lots = d.filled_lots
    o.client_order_id = d.client_order_id
    o.accept_mark_ticks = <uint32_t>e.markets[d.contract].live.mark_ticks
    o.next_order = o.prev_order = NONE
    o.leverage = <uint16_t>d.leverage
    o.exec_flags = d.exec_flags
    o.time_in_force = d.time_in_force
    o.stp = d.stp
    o.is_explicit = d.explicit_units != 0
    o.in_book = o.is_dormant = o.has_rare = False
    if d.extra_units:
        edit_rare(e, slot).extra_units = d.extra_units
    if d.expiry_ns:
        edit_rare(e, slot).expiry_ns = d.expiry_ns
    if d.client_order_id:
        set_client(e, client_place(e, d.account, d.client_order_id), slot + 1)
    if d.trigger_ticks:
        lay_asleep(e, d, slot)
    link_order(e, d.leg, slot)
    edit_account(e, d.account).order_count += 1
    touch_orders(e, d.unit)
    return slot


cdef inline uint32_t accept(Core* e, Draft* d) noexcept nogil:
    """The order is in: event, unit, record, and its reserve moves in the same step (I2)."""
    cdef bint is_new = d.unit == NONE
    cdef uint32_t slot
    cdef int64_t usdc = 0
    cdef Event* ev
    if is_new:
        d.unit = open_block(e, d.account, d.contract, d.leverage)
        d.leg = e.units[d.unit].first_leg
    elif d.leg == NONE:
        d.leg = leg_take(e, d.unit, d.contract)
    if d.isolated:
        usdc = cut_usdc(e, main_of(e, d.unit), &d.amount_units)
    ev = unit_event(e, AMENDED if d.amends else ACCEPTED, d.unit, d.contract)
    ev.order_id = d.order_id
    ev.price_ticks = d.price_ticks
    ev.qty_lots = d.qty_lots
    ev.amount_units = d.amount_units
    if is_new:
        unit_event(e, BLOCK_PENDING, d.unit, d.contract)
    slot = record_order(e, d)
    if d.isolated:
        fund_orders(e, d.unit, d.amount_units, d.contract, d.order_id)
    if usdc:
        change_order_usdc(e, slot, usdc)
        fund_usdc(e, d.unit, BLOCK_ORDER_USDC, usdc, d.contract, d.order_id)
    return slot


cdef inline void put_in_book(Core* e, uint32_t slot) noexcept nogil:
    cdef OrderCold* o = edit_cold(e, slot)
    book_insert(book_of(e, slot), &e.pool, slot, &e.undo)
    o.in_book = True
    e.h.dormant_count += o.is_dormant
    if o.time_in_force == GTD:
        timer_add(e, slot)


cdef inline void tie(Core* e, const Draft* d) noexcept nogil:
    """The order's matching is done: link it with the one it named, or end what is left of both."""
    cdef uint32_t own, other
    if d.linked_id == 0:
        return
    own = pool_find(&e.pool, d.order_id)
    other = pool_find(&e.pool, d.linked_id)
    if own == NONE and other != NONE:
        order_end(e, other, DONE_LINKED)
    elif own != NONE and other == NONE:
        order_end(e, own, DONE_LINKED)
    elif own != NONE:
        edit_rare(e, own).linked = other
        edit_rare(e, other).linked = own


cdef inline uint8_t reason_of(int stop) noexcept nogil:
    """Why the rest of a stopped taker ends."""
    if stop == SELF_TRADE_PREVENTED or stop == WALK_BOTH:
        return DONE_SELF_TRADE
    if stop == IMMEDIATE_LIQUIDATION or stop == BEYOND_BANKRUPTCY:
        return DONE_MAINTENANCE
    return DONE_REDUCE_ONLY


cdef inline int verdict(const Draft* d, int stop, int64_t filled, int64_t left) noexcept nogil:
    """The refusal that undoes a walk, or 0."""
    if d.time_in_force == FOK and left != 0:
        return FOK_NOT_FILLED
    if filled or stop == WALK_BOTH:
        return OK
    if stop != WALK_DONE:
        return stop
    return OK if may_rest(d) else IOC_NOT_FILLED


cdef inline int enter(Core* e, Draft* d) noexcept nogil:
    """Step 13 and acceptance; an order that meets nobody rests."""
    cdef Market* m = &e.markets[d.contract]
    cdef bint crosses = reaches(d.side, d.price_ticks, book_best(&m.book, 1 - d.side))
    cdef int code = place_code(e, d, crosses)
    if code:
        return code
    if crosses:
        return match(e, d)
    # Nothing can refuse it any more: what follows need not be undone.
    core_commit(e)
    put_in_book(e, accept(e, d))
    tie(e, d)
    return OK


cdef inline int match(Core* e, Draft* d) noexcept nogil:
    """Acceptance, matching, and what becomes of the rest."""
    cdef Taker t
    cdef bint began = not e.undo.on
    cdef uint64_t mark = core_mark(e), event_count = e.event_count
    cdef int64_t left
    cdef int code, stop
    taker_of(d, &t)
    t.slot = accept(e, d)
    stop = walk(e, &t)
    left = e.pool.orders[t.slot].qty_lots
    code = verdict(d, stop, t.filled_lots, left)
    if code:
        core_rollback(e, mark, event_count)
        if began:
            core_commit(e)
        return code
    if left == 0:
        order_forget(e, t.slot)
    elif stop != WALK_DONE:
        order_end(e, t.slot, reason_of(stop))
    elif may_rest(d):
        put_in_book(e, t.slot)
    else:
        order_end(e, t.slot, DONE_REST)
    tie(e, d)
    core_commit(e)
    return OK


# ---- commands -----------------------------------------------------------------------------------

cdef inline int check_and_enter(Core* e, Draft* d, Answer* a) noexcept nogil:
    """Steps 8 to 14 of an order whose unit is known."""
    cdef int code
    if d.exec_flags & REDUCE_ONLY and not closes(held_lots(e, d.leg), d.side):
        return REDUCE_ONLY_REJECTED
    count_raising(e, d)
    code = flip_code(e, d)
    if code:
        return code
    if d.explicit_units and d.raising_lots == 0:
        return MARGIN_WITHOUT_RISK
    price_reserve(e, d)
    if d.raising_lots:
        code = risk_code(e, d, a)
        if code:
            return code
    return enter(e, d)


cdef inline void read_order(Core* e, const Command* c, Draft* d) noexcept nogil:
    """A NEW_ORDER whose form is right; field by field, as to clear and copy it costs much more."""
    d.order_id = e.h.seq
    d.client_order_id = c.client_order_id
    d.price_ticks = c.price_ticks
    d.qty_lots = c.qty_lots
    d.expiry_ns = c.expiry_ns
    d.explicit_units = c.isolated_margin_units
    d.linked_id = c.order_id
    d.account = c.account
    d.contract = c.contract
    d.side = c.side - BUY
    d.order_type = type_when_fired(c.order_type)
    d.time_in_force = c.time_in_force
    if d.time_in_force == NO_TIF:
        d.time_in_force = IOC if d.order_type == MARKET else GTC
    d.exec_flags = c.exec_flags
    d.stp = c.stp
    d.isolated = (c.exec_flags & ISOLATED_MARGIN) != 0
    d.unit = d.leg = NONE
    d.filled_lots = d.raising_lots = d.size_lots = d.extra_units = d.amount_units = 0
    d.trigger_ticks = d.trigger_type = d.reference = d.leverage = 0
    d.fires_on_rise = d.amends = d.closes_all = False


cdef inline int new_order(Core* e, const Command* c, Answer* a) noexcept nogil:
    """NEW_ORDER of a type that is not conditional (O1)."""
    cdef Draft d
    cdef int code = form_code(e, c)
    if code:
        return code
    read_order(e, c, &d)
    code = basic_code(e, &d, a)
    if code == OK:
        code = unit_code(e, c, &d)
    if code == OK:
        code = link_code(e, &d)
    if code:
        return code
    return check_and_enter(e, &d, a)


cdef inline int close_position(Core* e, const Command* c, Answer* a) noexcept nogil:
    """CLOSE_POSITION: a reduce-only order of the opposite side (O2, I10, I11)."""
    cdef Draft d
    cdef int code
    cdef int64_t held
    if c.order_type != LIMIT and c.order_type != MARKET:
        return INVALID_ORDER_TYPE
    if c.exec_flags & ~RELEASE_MARGIN or (c.exec_flags and c.isolation_id == 0):
        return INVALID_EXEC_INST
    memset(&d, 0, sizeof(Draft))
    d.account = c.account
    d.contract = c.contract
    d.isolated = c.isolation_id != 0
    d.unit = e.accounts[c.account].unit
    if d.isolated:
        d.unit = block_by_id(e, c.account, c.isolation_id)
        if d.unit == NONE or e.legs[e.units[d.unit].first_leg].contract != c.contract:
            return INVALID_ISOLATION_ID
    d.leg = leg_of(e, d.unit, d.contract)
    held = held_lots(e, d.leg)
    if held == 0:
        return NO_POSITION
    d.order_id = e.h.seq
    d.price_ticks = c.price_ticks
    d.qty_lots = magnitude(held) if c.qty_lots == 0 else smaller(c.qty_lots, magnitude(held))
    d.closes_all = d.qty_lots == magnitude(held)
    d.side = 1 if held > 0 else 0
    d.order_type = c.order_type
    d.time_in_force = GTC if c.order_type == LIMIT else IOC
    d.exec_flags = REDUCE_ONLY | c.exec_flags | (ISOLATED_MARGIN if d.isolated else 0)
    d.leverage = e.units[d.unit].leverage if d.isolated else e.legs[d.leg].leverage
    code = basic_code(e, &d, a)
    if code:
        return code
    return check_and_enter(e, &d, a)
