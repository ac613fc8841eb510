"""Floor 6.6: auto-deleveraging: what neither book nor fund takes is closed with the winners (Q4).

The other side of the contract gives up lots at one price, in the order of a queue. Both sides of a
pair are closed as a fill would close them, but there is no order, no taker fee and no test.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.clearing cimport position_ended
from perpcore.codes cimport DELEVERAGED, R_REALIZED_PNL
from perpcore.contract cimport E6
from perpcore.fund cimport hand_to_fund
from perpcore.int128 cimport (
    add64, floor_div, i128_floor_div, i128_floor_div64, i128_low64, i128_mul, i128_within,
    magnitude, mul64, smaller, sub64,
)
from perpcore.margin cimport bankruptcy_mark, is_long
from perpcore.policies cimport (
    ADL_AT_MARK, ADL_PRO_RATA, ADL_QUEUE_AT_MARK, BACKSTOP_ADL,
)
from perpcore.posting cimport Released, move_position, post_cash, released_costs
from perpcore.records cimport NONE, Event
from perpcore.sort cimport Ranked, ranked_select, ranked_sort
from perpcore.standing cimport equity, notional, paying_equity, position_upnl
from perpcore.state cimport (
    DONE_THIS_COMMAND, Core, Leg, Market, first_spare_leg, is_block, own_leg, unit_event,
    unit_rank,
)
from perpcore.transfers cimport cover_negative, return_everything, return_position_usdc

cdef enum:
    FEW = 64

cdef extern from *:
    """
    static const int64_t PERPCORE_ADL_CLIP = 1LL << 31;
    static const int64_t PERPCORE_ADL_TOP = 1LL << 62;
    """
    # Each factor of a score is clipped, so that their product fits; no score is above the top.
    const int64_t ADL_CLIP "PERPCORE_ADL_CLIP"
    const int64_t ADL_TOP "PERPCORE_ADL_TOP"


# ---- the queue ----------------------------------------------------------------------------------

cdef inline int64_t adl_score(Core* e, uint32_t i) noexcept nogil:
    """Profit from the opening cost x effective leverage; of a loss, less with more leverage."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t base = magnitude(leg.opening_cost_units), own = equity(e, leg.unit, NULL)
    cdef int64_t profit = position_upnl(m, leg.qty_lots, leg.opening_cost_units)
    cdef int64_t profit_e6 = i128_within(
        i128_floor_div(i128_mul(profit, E6), <uint64_t>(base if base > 1 else 1)),
        -ADL_CLIP, ADL_CLIP)
    cdef int64_t leverage_e3 = i128_within(
        i128_floor_div(i128_mul(notional(m, leg.qty_lots), 1_000),
                       <uint64_t>(own if own > 1 else 1)), -ADL_CLIP, ADL_CLIP)
    if profit_e6 > 0:
        return mul64(profit_e6, leverage_e3)
    return -floor_div(-profit_e6 * E6, leverage_e3 if leverage_e3 > 1 else 1)


cdef inline bint is_opposite(Core* e, uint32_t i, uint32_t contract, int64_t against_lots,
                             uint32_t account) noexcept nogil:
    cdef Leg* leg = &e.legs[i]
    return (leg.contract == contract and leg.qty_lots and leg.unit != NONE
            and is_long(leg.qty_lots) != is_long(against_lots) and leg.account != account
            and not e.units[leg.unit].flags & DONE_THIS_COMMAND)


cdef inline void put_in_queue(Core* e, uint32_t place, uint32_t i) noexcept nogil:
    e.ranked[place] = Ranked(
        <uint64_t>(ADL_TOP - adl_score(e, i)), unit_rank(&e.units[e.legs[i].unit]), i)


cdef inline uint32_t collect_opposite(Core* e, uint32_t contract, int64_t against_lots,
                                      uint32_t account) noexcept nogil:
    """Positions of other accounts on the side opposite to `against_lots`, in `ranked`, unsorted.

    Who was liquidated in this command is not among them. Returns their number. The legs are walked
    as they lie in memory: at a million units a walk by account costs several times as much.
    """
    cdef uint32_t u, i, count = 0
    for u in range(e.h.unit_top):
        if is_opposite(e, own_leg(u), contract, against_lots, account):
            put_in_queue(e, count, own_leg(u))
            count += 1
    for i in range(first_spare_leg(e), e.h.leg_top):
        if is_opposite(e, i, contract, against_lots, account):
            put_in_queue(e, count, i)
            count += 1
    return count


cdef inline uint32_t adl_queue(Core* e, uint32_t contract, int64_t against_lots) noexcept nogil:
    """The whole queue against a position, first first, in `ranked`; returns its length."""
    cdef uint32_t count = collect_opposite(e, contract, against_lots, NONE)
    ranked_sort(e.ranked, count)
    return count


cdef inline uint32_t sort_further(Core* e, uint32_t start, uint32_t count) noexcept nogil:
    """Sort the queue from `start` on, first a few: mostly they are enough. Returns how far."""
    cdef uint32_t wanted = count - start
    if start == 0 and wanted > FEW:
        wanted = FEW
    ranked_select(e.ranked + start, count - start, wanted)
    ranked_sort(e.ranked + start, wanted)
    return start + wanted


# ---- pairs --------------------------------------------------------------------------------------

cdef inline void close_side(Core* e, uint32_t i, int64_t lots, int64_t price_marks,
                            int64_t notional_units) noexcept nogil:
    """One side of a pair: its event, position and profit."""
    cdef Leg* leg = &e.legs[i]
    cdef int64_t sign = 1 if leg.qty_lots > 0 else -1
    cdef Released released = released_costs(leg, lots)
    cdef Event* ev = unit_event(e, DELEVERAGED, leg.unit, leg.contract)
    ev.qty_lots = sign * lots
    ev.price_ticks = price_marks
    ev.amount_units = notional_units
    move_position(e, i, -sign * lots, -released.cost_units, -released.opening_units)
    post_cash(e, leg.unit, sub64(sign * notional_units, released.cost_units), R_REALIZED_PNL,
              leg.contract, 0)


cdef inline void end_candidate(Core* e, uint32_t i) noexcept nogil:
    """As any position that ends; a block's owner loses no more than what is in it (I13)."""
    cdef uint32_t u = e.legs[i].unit, contract = e.legs[i].contract
    if is_block(&e.units[u]):
        cover_negative(e, u)
        if e.units[u].cash_units < 0:
            hand_to_fund(e, u, contract, 0)
            return_position_usdc(e, u, contract, 0)
        else:
            return_everything(e, u, contract, 0)
    position_ended(e, i, NONE, False)


cdef inline int64_t adl_price(Core* e, uint32_t i) noexcept nogil:
    """In mark ticks: the mark, or the leg's bankruptcy price, rounded in the fund's favor."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t other, price
    if e.terms.adl_price == ADL_AT_MARK or e.terms.adl_rank == ADL_QUEUE_AT_MARK:
        return m.live.mark_ticks
    other = sub64(paying_equity(e, leg.unit, NULL),
                  position_upnl(m, leg.qty_lots, leg.cost_units))
    price = bankruptcy_mark(other, leg.qty_lots, leg.cost_units, m.terms.v)
    if price < 1:
        return 1
    return smaller(price, m.terms.max_mark_ticks)


cdef inline void allot(Core* e, uint32_t count, int64_t lots) noexcept nogil:
    """Pro rata: into `tie` of the queue the lots that each gives, and the queue in unit order.

    What the floors leave over goes one lot each to the largest remainders, ties in unit order.
    """
    cdef uint32_t n
    cdef int64_t total = 0, part, left, held
    for n in range(count):
        total = add64(total, magnitude(e.legs[e.ranked[n].index].qty_lots))
    lots = smaller(lots, total)
    left = lots
    for n in range(count):
        held = magnitude(e.legs[e.ranked[n].index].qty_lots)
        part = i128_floor_div64(i128_mul(lots, held), <uint64_t>total)
        left -= part
        e.ranked[n].key = ~(i128_low64(i128_mul(lots, held)) - <uint64_t>part * <uint64_t>total)
    ranked_select(e.ranked, count, <uint64_t>left)
    for n in range(count):
        held = magnitude(e.legs[e.ranked[n].index].qty_lots)
        e.ranked[n].key = e.ranked[n].tie
        e.ranked[n].tie = <uint64_t>(i128_floor_div64(i128_mul(lots, held), <uint64_t>total)
                                     + (n < left))
    ranked_sort(e.ranked, count)


cdef inline int64_t deleverage(Core* e, uint32_t i, int64_t lots) noexcept nogil:
    """Close up to `lots` of a liquidated leg with the queue; returns the notional closed.

    Queue and price are taken once, before the first pair.
    """
    cdef Leg* leg = &e.legs[i]
    cdef uint32_t count = collect_opposite(e, leg.contract, leg.qty_lots, leg.account)
    cdef uint32_t n = 0, other, ordered = 0   # `ordered`: how far the queue is sorted
    cdef int64_t price = adl_price(e, i), value = mul64(price, e.markets[leg.contract].terms.v)
    cdef int64_t part, closed = 0
    cdef bint shared = e.terms.adl_rank == ADL_PRO_RATA
    if shared and count:
        allot(e, count, lots)
        ordered = count
    while n < count and lots > 0:
        if n == ordered:
            ordered = sort_further(e, n, count)
        other = e.ranked[n].index
        part = smaller(
            <int64_t>e.ranked[n].tie if shared else magnitude(e.legs[other].qty_lots), lots)
        n += 1
        if part == 0:
            continue
        close_side(e, i, part, price, mul64(part, value))
        close_side(e, other, part, price, mul64(part, value))
        if e.legs[other].qty_lots == 0:
            end_candidate(e, other)
        lots -= part
        closed = add64(closed, mul64(part, value))
    return closed


cdef inline bint goes_to_adl(Core* e, uint32_t contract, int64_t signed_lots) noexcept nogil:
    """Whether the inventory may not take so many lots: by policy, or above its limit (Q4)."""
    cdef Market* m = &e.markets[contract]
    if e.terms.backstop == BACKSTOP_ADL:
        return True
    return (magnitude(add64(m.live.inventory_lots, signed_lots))
            > m.terms.terms.inventory_limit_lots)
