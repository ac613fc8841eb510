"""Floor 4.2: the ordered index of next adverse events (Q2): a mark touches only what it crosses.

Each leg with a position is filed under one mark tick of its contract: longs in a mirrored map, so
that both maps are searched from their smallest key. A block is filed under its exact threshold, a
main account with one leg a little before it; either stays there until its threshold comes nearer
to the mark than its key: a key that is reached too early costs a look. A unit with several legs is
filed under a safe box: its slack is split over its legs, each leg gets the number of ticks that
its part can pay for, and as long as no leg left its box the losses cannot exceed the slack; when
one does, the unit is tested exactly and filed anew, with a larger part for that leg.

A bucket keeps up to three legs in the map's own cell; of more it keeps two there and the others in
chunks: where ticks are sparse a filing costs no line but the cell's.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perpcore.contract cimport (
    call_rate, maintenance_threshold, margin_rate, steepest_trigger, trigger_line,
)
from perpcore.int128 cimport (
    add64, ceil_div, floor_div, i128_ceil_div64, i128_from, i128_mul_u, magnitude, mul64,
    mul_div_floor, not_below_zero, signed_as, sub64,
)
from perpcore.margin cimport (
    ExactSum, Line, Rate, exact_add, exact_clear, is_long, liquidation_threshold, margin_below,
    rate_of,
)
from perpcore.memory cimport CHECK, either, prefetch
from perpcore.pricemap cimport (
    PriceMap, pricemap_clear_if, pricemap_is_open, pricemap_place, pricemap_set,
)
from perpcore.records cimport NONE
from perpcore.standing cimport (
    Probe, compare_initial, counted_usdc, equity, half_haircut, may_hold_usdc, meets_maintenance,
    notional, required_haircut, sum_maintenance,
)
from perpcore.state cimport (
    CELL_IDS, CHUNK_IDS, DONE_THIS_COMMAND, FILED_FOR_CALL, IN_CELL, Bucket, Chunk, Core, Leg,
    Market, Unit, edit_leg, edit_unit, has_reserved_orders, is_block, money_matters, orders_matter,
    prefetch_unit, smudge, touch, unit_usdc,
)
from perpcore.undo cimport undo_save


cdef extern from *:
    """
    static const uint64_t PERPCORE_AFTER_SOLO = 1ULL << 63;
    """
    # Units with several legs are closed out after those with one (Q8).
    const uint64_t AFTER_SOLO "PERPCORE_AFTER_SOLO"

cdef extern from *:
    """
    static const uint32_t PERPCORE_CHAINED = 1U << 31;
    """
    # Of a bucket's last place: legs and chunks are fewer than 2^31.
    const uint32_t CHAINED "PERPCORE_CHAINED"

cdef enum:
    SLACK_PART = 64              # of the way to a threshold, for accounts that trade
    REACHED_PART = 4             # of the slack, to whose box the mark has left, more than to others
    # How many legs move side by side, and by how many units units and their legs are loaded early.
    AHEAD_FEW = 4                # so few are not worth it
    FILING_GROUP = 32
    AHEAD_UNIT = 32
    AHEAD_LEG = 24
    AHEAD_NEXT = 16
    AHEAD_THIRD = 8

# A leg that has to move in the index.
cdef struct Filing:
    uint32_t leg
    int64_t key                  # under which it will stand
    PriceMap* left               # where it stands; NULL: nowhere
    PriceMap* entered            # where it will stand; NULL: nowhere

# Legs that are to move, of units that are planned together.
cdef struct Plans:
    bint are_many
    uint32_t count
    Filing filings[96]           # FILING_GROUP - 1, and those of one unit more: 64 contracts


cdef inline PriceMap* map_of(Market* m, int key_side) noexcept nogil:
    return &m.longs if key_side == 0 else &m.shorts


cdef inline int64_t key_of(const Market* m, int key_side, int64_t mark_ticks) noexcept nogil:
    """Key of a mark tick on a side, and back: longs, side 0, are reached from above."""
    return mark_ticks if key_side else m.terms.max_mark_ticks - mark_ticks


cdef inline int64_t filed_mark(const Market* m, const Leg* leg) noexcept nogil:
    """The mark tick under which a leg is filed."""
    return key_of(m, leg.key_side, leg.key)


cdef inline Bucket* bucket_of(const PriceMap* index, int64_t key) noexcept nogil:
    """The bucket of a key that is set, or an empty one where only its neighbors are."""
    return <Bucket*>index.cells + pricemap_place(index, key)


cdef inline bint is_chained(const Bucket* bucket) noexcept nogil:
    return bucket.legs[2] & CHAINED != 0


cdef inline uint32_t head_chunk(const Bucket* bucket) noexcept nogil:
    """The only chunk of a chained bucket that may have holes, at its end."""
    return bucket.legs[2] ^ CHAINED


cdef inline uint32_t legs_in(const Bucket* bucket) noexcept nogil:
    """How many stand in the cell itself; no loop, as nothing foretells the number."""
    return ((bucket.legs[0] != 0) + <uint32_t>(bucket.legs[1] != 0)
            + <uint32_t>(bucket.legs[2] - 1 < CHAINED - 1))


cdef inline uint32_t place_in_cell(const Bucket* bucket, uint32_t i) noexcept nogil:
    cdef uint32_t n = (bucket.legs[1] == i + 1) + 2 * <uint32_t>(bucket.legs[2] == i + 1)
    CHECK(bucket.legs[n] == i + 1)
    return n


cdef inline uint32_t chunk_take(Core* e, uint32_t after) noexcept nogil:
    """An empty chunk in front of another one, or of NONE."""
    cdef uint32_t c = e.h.chunk_free
    if c != NONE:
        e.h.chunk_free = e.chunks[c].next
    else:
        c = e.h.chunk_top
        e.h.chunk_top += 1
    undo_save(&e.undo, &e.chunks[c], sizeof(Chunk))
    e.chunks[c].count = 0
    e.chunks[c].next = after
    return c


cdef inline void put_in_chunk(Core* e, uint32_t c, uint32_t i) noexcept nogil:
    """At the end of a chunk that has room; it is saved."""
    edit_leg(e, i).chunk = c
    e.chunks[c].legs[e.chunks[c].count] = i
    e.chunks[c].count += 1


cdef inline void file_leg(Core* e, uint32_t i, PriceMap* index, int64_t key) noexcept nogil:
    """Put a leg under a key: into the cell if it has room, else into the head chunk."""
    cdef Leg* leg = edit_leg(e, i)
    cdef Bucket* bucket
    cdef uint32_t n, head
    pricemap_set(index, key, &e.undo)
    bucket = bucket_of(index, key)
    n = legs_in(bucket)
    leg.key = <uint32_t>key
    leg.key_side = not is_long(leg.qty_lots)
    if n + is_chained(bucket) < CELL_IDS:
        undo_save(&e.undo, bucket, sizeof(Bucket))
        bucket.legs[n] = i + 1
        leg.chunk = IN_CELL
        return
    if not is_chained(bucket):
        # The last leg makes room for the chunk.
        head = chunk_take(e, NONE)
        put_in_chunk(e, head, bucket.legs[2] - 1)
        undo_save(&e.undo, bucket, sizeof(Bucket))
        bucket.legs[2] = head | CHAINED
    elif e.chunks[head_chunk(bucket)].count == CHUNK_IDS:
        head = chunk_take(e, head_chunk(bucket))
        undo_save(&e.undo, bucket, sizeof(Bucket))
        bucket.legs[2] = head | CHAINED
    else:
        head = head_chunk(bucket)
        undo_save(&e.undo, &e.chunks[head], sizeof(Chunk))
    put_in_chunk(e, head, i)


cdef inline uint32_t place_in(const Chunk* chunk, uint32_t i) noexcept nogil:
    """Where a leg stands in its chunk, found there: a leg that knew would be one more to write."""
    cdef uint32_t n = 0
    while chunk.legs[n] != i:
        n += 1
        CHECK(n < CHUNK_IDS)
    return n


cdef inline void leave_chunk(Core* e, uint32_t i, Bucket* bucket) noexcept nogil:
    """Take a leg out of its chunk: the last id of the head chunk fills its place."""
    cdef uint32_t at = e.legs[i].chunk, head = head_chunk(bucket), moved
    undo_save(&e.undo, &e.chunks[head], sizeof(Chunk))
    e.chunks[head].count -= 1
    moved = e.chunks[head].legs[e.chunks[head].count]
    if moved != i:
        undo_save(&e.undo, &e.chunks[at], sizeof(Chunk))
        e.chunks[at].legs[place_in(&e.chunks[at], i)] = moved
        if head != at:
            edit_leg(e, moved).chunk = at
    if e.chunks[head].count == 0:
        undo_save(&e.undo, bucket, sizeof(Bucket))
        bucket.legs[2] = 0 if e.chunks[head].next == NONE else e.chunks[head].next | CHAINED
        e.chunks[head].next = e.h.chunk_free
        e.h.chunk_free = head


cdef inline void take_out(Core* e, uint32_t i, PriceMap* index) noexcept nogil:
    """Take a leg out of the map in which it stands; a place in the cell is filled from the cell."""
    cdef Leg* leg = edit_leg(e, i)
    cdef Bucket* bucket = bucket_of(index, leg.key)
    cdef uint32_t last
    if leg.chunk == IN_CELL:
        undo_save(&e.undo, bucket, sizeof(Bucket))
        last = legs_in(bucket) - 1
        bucket.legs[place_in_cell(bucket, i)] = bucket.legs[last]
        bucket.legs[last] = 0
    else:
        leave_chunk(e, i, bucket)
    pricemap_clear_if(index, leg.key, bucket.legs[0] | bucket.legs[2] == 0, &e.undo)
    leg.chunk = NONE


cdef inline bint is_mark(const Market* m, int64_t ticks) noexcept nogil:
    return 1 <= ticks and ticks <= m.terms.max_mark_ticks


cdef inline void unfile_leg(Core* e, uint32_t i) noexcept nogil:
    """Take a leg out of the index, if it is there."""
    if e.legs[i].chunk != NONE:
        take_out(e, i, map_of(&e.markets[e.legs[i].contract], e.legs[i].key_side))


cdef inline void move_leg(Core* e, const Filing* f) noexcept nogil:
    if f.left != NULL:
        take_out(e, f.leg, f.left)
    if f.entered != NULL:
        file_leg(e, f.leg, f.entered, f.key)


cdef inline void plan_leg(Core* e, Plans* plans, uint32_t i, int64_t mark) noexcept nogil:
    """Put down that a leg is to stand under the mark at which its unit must be looked at, unless it
    does; out of range: never.
    """
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef Filing* f = &plans.filings[plans.count]
    f.leg = i
    f.left = f.entered = NULL
    if leg.chunk != NONE:
        f.left = map_of(m, leg.key_side)
    if leg.qty_lots and is_mark(m, mark):
        f.entered = map_of(m, not is_long(leg.qty_lots))
        f.key = key_of(m, not is_long(leg.qty_lots), mark)
        if f.entered == f.left and leg.key == f.key:
            return
    elif f.left == NULL:
        return
    plans.count += 1
    if plans.are_many:
        ahead_of_cells(e, leg, f)


cdef inline void ahead_of_cells(Core* e, const Leg* leg, const Filing* f) noexcept nogil:
    """Start loading the buckets that a leg leaves and enters."""
    if f.left != NULL:
        prefetch(bucket_of(f.left, leg.key))
        if leg.chunk != IN_CELL:
            prefetch(&e.chunks[leg.chunk])
    if f.entered != NULL and pricemap_is_open(f.entered, f.key):
        prefetch(bucket_of(f.entered, f.key))


cdef inline int64_t solo_cash(Core* e, uint32_t u, bint initial) noexcept nogil:
    """The cash of Q2's formula: the unit's USDC counts at today's index, less its haircut."""
    cdef Unit* unit = &e.units[u]
    if not may_hold_usdc(e, unit):
        return unit.cash_units
    cdef int64_t usdc = unit_usdc(e, u)
    cdef int64_t cash = add64(unit.cash_units, counted_usdc(e, usdc))
    if initial:
        return sub64(cash, required_haircut(e, usdc))
    return sub64(cash, half_haircut(e, u))


cdef inline bint no_mark_is_safe(const Market* m, const Leg* leg,
                                 int64_t lots) noexcept nogil:
    """No mark can be told before which there is no margin call: every mark is looked at.

    Initial margin jumps where a bracket ends; a long whose margin rate and fee reserve reach 1
    loses when its mark rises.
    """
    cdef Rate a
    if m.terms.rates.has_brackets:
        return True
    a = call_rate(&m.terms, lots, 0, leg.leverage)
    return is_long(leg.qty_lots) and a.num >= a.den


cdef inline int64_t unsafe_mark(const Market* m, const Leg* leg) noexcept nogil:
    """The key that every mark crosses."""
    return m.terms.max_mark_ticks if is_long(leg.qty_lots) else 1


cdef inline int64_t solo_threshold(Core* e, uint32_t u, uint32_t i, bint initial) noexcept nogil:
    """The mark at which a unit with this one leg crosses maintenance, or the margin call."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t cash = solo_cash(e, u, initial)
    if not initial:
        return maintenance_threshold(&m.terms, cash, leg.qty_lots, leg.cost_units)
    if no_mark_is_safe(m, leg, magnitude(leg.qty_lots)):
        return unsafe_mark(m, leg)
    return liquidation_threshold(
        cash, leg.qty_lots, leg.cost_units, m.terms.v,
        call_rate(&m.terms, magnitude(leg.qty_lots), 0, leg.leverage), m.terms.max_mark_ticks)


cdef inline uint32_t only_leg(Core* e, uint32_t u) noexcept nogil:
    """The unit's leg with a position if it has exactly one, else NONE."""
    cdef uint32_t i = e.units[u].first_leg, found = NONE
    while i != NONE:
        if e.legs[i].qty_lots:
            if found != NONE:
                return NONE
            found = i
        i = e.legs[i].next_leg
    return found


cdef inline int64_t slack_units(Core* e, uint32_t u, bint initial) noexcept nogil:
    """MB less the requirement, rounded down by at most one unit a fraction: safe for a box."""
    cdef ExactSum s
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    cdef Market* m
    cdef int64_t n
    if not initial:
        sum_maintenance(e, u, NULL, &s)
        return sub64(sub64(equity(e, u, NULL), half_haircut(e, u)), add64(s.whole, s.count))
    exact_clear(&s)
    while i != NONE:
        leg = &e.legs[i]
        m = &e.markets[leg.contract]
        if leg.qty_lots:
            n = notional(m, leg.qty_lots)
            exact_add(&s, n, rate_of(&m.terms.rates.fee_reserve))
            exact_add(&s, n, margin_rate(&m.terms, magnitude(leg.qty_lots), n, leg.leverage))
        i = leg.next_leg
    cdef int64_t usdc = e.accounts[e.units[u].account].usdc_units
    return sub64(sub64(equity(e, u, NULL), required_haircut(e, usdc)), add64(s.whole, s.count))


cdef inline int64_t leg_slope_units(Market* m, const Leg* leg, bint initial) noexcept nogil:
    """What one adverse mark tick costs at most: |Q| v (1 - a) for a long, (1 + a) for a short."""
    cdef int64_t lots = magnitude(leg.qty_lots)
    cdef int64_t tick = mul64(lots, m.terms.v)
    cdef Rate a
    if is_long(leg.qty_lots):
        return tick                                  # an upper bound of |Q| v (1 - a)
    if initial:
        return mul64(tick, 3)                        # fee reserve and margin rate are below 1 each
    a = steepest_trigger(&m.terms, lots)
    return i128_ceil_div64(i128_mul_u(i128_from(tick), a.den + a.num), a.den)


cdef inline int64_t box_weight(Core* e, uint32_t i, uint32_t reached) noexcept nogil:
    """A leg's part of its unit's slack: by its notional, and more if the mark has reached it.

    Some contracts move and others rest; whose box was left once is likely to be left again.
    """
    cdef Leg* leg = &e.legs[i]
    cdef int64_t weight = 1 + floor_div(notional(&e.markets[leg.contract], leg.qty_lots), 64)
    return mul64(weight, REACHED_PART) if i == reached else weight


cdef inline void plan_box(Core* e, uint32_t u, uint32_t reached, bint initial, int64_t slack,
                          Plans* plans) noexcept nogil:
    """File each leg of a unit with several legs at the edge of its safe box."""
    cdef int64_t total = 0, part, ticks, mark
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    cdef Market* m
    while i != NONE:
        leg = &e.legs[i]
        if leg.qty_lots:
            total = add64(total, box_weight(e, i, reached))
        i = leg.next_leg
    i = e.units[u].first_leg
    while i != NONE:
        leg = &e.legs[i]
        m = &e.markets[leg.contract]
        mark = 0
        if initial and leg.qty_lots and no_mark_is_safe(m, leg, magnitude(leg.qty_lots)):
            mark = unsafe_mark(m, leg)
        elif leg.qty_lots:
            part = mul_div_floor(not_below_zero(slack), box_weight(e, i, reached), total)
            ticks = floor_div(part, leg_slope_units(m, leg, initial))
            mark = sub64(m.live.mark_ticks, signed_as(ticks + 1, leg.qty_lots))
        plan_leg(e, plans, i, mark)
        i = leg.next_leg


cdef inline bint key_serves(Core* e, uint32_t u, uint32_t i, bint initial) noexcept nogil:
    """Whether a unit's only leg may stay where it is filed.

    A product instead of the divisions of a threshold; most changes of a unit end here.
    """
    cdef Leg* leg = &e.legs[i]
    return key_holds(e, u, leg, leg.qty_lots, leg.cost_units, 0, initial)


cdef inline bint serves_after(Core* e, uint32_t i, const Probe* p) noexcept nogil:
    """Whether a fill leaves the unit's key in service, and with it nothing to test or to file.

    A key that serves proves that the unit passes at the mark: maintenance (O7, Q1), and the margin
    call (C4) where it may be called. A call that may end, USD below 0, and USDC, which counts for
    more than it can pay (A4), are left to the tests themselves.
    """
    cdef uint32_t u = e.legs[i].unit
    cdef Unit* unit = &e.units[u]
    cdef bint initial = (unit.flags & FILED_FOR_CALL) != 0
    if (p.qty_lots == 0 or money_matters(unit)
            or add64(unit.cash_units, p.cash_delta_units) < 0 or only_leg(e, u) != i):
        return False
    if unit_usdc(e, u) or p.usdc_delta_units:
        return False
    if not is_block(unit) and not initial and has_reserved_orders(e, u):
        return False
    return key_holds(e, u, &e.legs[i], p.qty_lots, p.cost_units, p.cash_delta_units, initial)


cdef inline bint key_holds(Core* e, uint32_t u, const Leg* leg, int64_t qty_lots,
                           int64_t cost_units, int64_t cash_delta_units,
                           bint initial) noexcept nogil:
    """Whether a unit whose only position is or will be this one may stay where its leg is filed:
    the mark has not reached the key, and one tick before the key the unit passes its test, so that
    it does at every mark up to there.
    """
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t lots = magnitude(qty_lots), before
    cdef Line line
    if leg.chunk == NONE or leg.key_side == is_long(qty_lots):
        return False
    # Where no mark is safe, passing at one proves nothing of others.
    if initial and no_mark_is_safe(m, leg, lots):
        return False
    if is_long(qty_lots):
        before = filed_mark(m, leg) + 1
    else:
        before = filed_mark(m, leg) - 1
    if signed_as(m.live.mark_ticks - before, qty_lots) < 0:
        return False
    if initial:
        line = Line(call_rate(&m.terms, lots, 0, leg.leverage), 0)
    else:
        line = trigger_line(&m.terms, lots, mul64(lots, mul64(m.terms.v, before)))
    return not margin_below(
        add64(add64(solo_cash(e, u, initial), cash_delta_units), line.cum_units), qty_lots,
        cost_units, before, m.terms.v, line.rate)


cdef inline int64_t with_slack(const Market* m, const Leg* leg, int64_t threshold) noexcept nogil:
    """A key a little before a threshold, so that it serves while an account goes on to trade.

    Each fill that opens moves the threshold nearer, and every new key costs two divisions and two
    changes of the index. A mark that comes near looks at the account some three times more.
    """
    cdef int64_t room = signed_as(m.live.mark_ticks - threshold, leg.qty_lots)
    if not is_mark(m, threshold):
        return threshold
    return threshold + signed_as(floor_div(not_below_zero(room), SLACK_PART), leg.qty_lots)


cdef inline void note_filing(Core* e, uint32_t u, bint initial) noexcept nogil:
    """Remember for which of the two tests the unit is filed."""
    if initial != ((e.units[u].flags & FILED_FOR_CALL) != 0):
        edit_unit(e, u).flags ^= FILED_FOR_CALL


cdef inline void plan_only(Core* e, uint32_t u, uint32_t i, bint initial,
                           Plans* plans) noexcept nogil:
    """Where the one leg of a main account moves, unless its key still serves."""
    cdef int64_t mark
    if ((initial or e.units[u].flags & FILED_FOR_CALL) and key_serves(e, u, i, True)):
        note_filing(e, u, True)
        return
    if not initial and key_serves(e, u, i, False):
        note_filing(e, u, False)
        return
    note_filing(e, u, initial)
    mark = solo_threshold(e, u, i, initial)
    plan_leg(e, plans, i, with_slack(&e.markets[e.legs[i].contract], &e.legs[i], mark))


cdef inline void plan_block(Core* e, uint32_t i, int64_t threshold, Plans* plans) noexcept nogil:
    """Where a block's leg moves; it stays where its key comes first on the way to its threshold."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t at
    # The key of a position that has turned lies beyond the mark: no threshold of it is there.
    if leg.qty_lots and leg.chunk != NONE:
        at = filed_mark(m, leg)
        if (threshold >= at > m.live.mark_ticks if leg.key_side
                else threshold <= at < m.live.mark_ticks):
            return
    plan_leg(e, plans, i, threshold)


cdef inline void plan_unit(Core* e, uint32_t u, Plans* plans) noexcept nogil:
    """Where a unit's legs move; the margin call comes first if it has reserved orders."""
    cdef uint32_t i, j
    cdef bint initial
    if is_block(&e.units[u]):
        i = e.units[u].first_leg
        plan_block(e, i, solo_threshold(e, u, i, False) if e.legs[i].qty_lots else 0, plans)
        return
    i = only_leg(e, u)
    initial = has_reserved_orders(e, u)
    if i == NONE:
        note_filing(e, u, initial)
        plan_box(e, u, NONE, initial, slack_units(e, u, initial), plans)
        return
    j = e.units[u].first_leg
    while j != NONE:
        if j != i and e.legs[j].chunk != NONE:
            plan_leg(e, plans, j, 0)
        j = e.legs[j].next_leg
    plan_only(e, u, i, initial, plans)


# ---- the end of a command -----------------------------------------------------------------------

cdef inline void plan_dirty(Core* e, uint32_t u, Plans* plans) noexcept nogil:
    """plan_unit of a unit that the command has changed; it may be gone."""
    if e.units[u].account == NONE:
        return
    if e.units[u].flags & DONE_THIS_COMMAND:
        edit_unit(e, u).flags &= 0xFF ^ DONE_THIS_COMMAND
    plan_unit(e, u, plans)


cdef inline void ahead_of_leg(Core* e, uint32_t u, int links) noexcept nogil:
    """Start loading the leg to which so many links lead; a block has its own alone."""
    cdef uint32_t i
    if is_block(&e.units[u]):
        return
    i = e.units[u].first_leg
    while i != NONE and links > 1:
        i = e.legs[i].next_leg
        links -= 1
    if i != NONE:
        prefetch(&e.legs[i])


cdef inline void ahead_of_plan(Core* e, uint32_t n) noexcept nogil:
    """Start loading units and positions that are planned soon."""
    if n + AHEAD_UNIT < e.dirty_count:
        prefetch_unit(e, e.dirty[n + AHEAD_UNIT])
        ahead_of_leg(e, e.dirty[n + AHEAD_LEG], 1)
        ahead_of_leg(e, e.dirty[n + AHEAD_NEXT], 2)
        ahead_of_leg(e, e.dirty[n + AHEAD_THIRD], 3)


cdef inline void ahead_of_more(Core* e, const Filing* f) noexcept nogil:
    """Start loading what the buckets' last places lead to: a head chunk, or the leg that makes room
    for one.
    """
    cdef Leg* leg = &e.legs[f.leg]
    cdef uint32_t last
    if f.left != NULL and leg.chunk != IN_CELL:
        prefetch(&e.chunks[head_chunk(bucket_of(f.left, leg.key))])
    if f.entered != NULL and pricemap_is_open(f.entered, f.key):
        last = bucket_of(f.entered, f.key).legs[2]
        prefetch(either(last & CHAINED != 0, <uint32_t*>&e.chunks[last ^ CHAINED],
                        <uint32_t*>&e.legs[last - (last != 0)]))


cdef inline void ahead_of_last(Core* e, const Filing* f) noexcept nogil:
    """Start loading the leg from another chunk that will fill the place which this one leaves."""
    cdef Leg* leg = &e.legs[f.leg]
    cdef uint32_t head
    if f.left != NULL and leg.chunk != IN_CELL:
        head = head_chunk(bucket_of(f.left, leg.key))
        if head != leg.chunk:
            prefetch(&e.legs[e.chunks[head].legs[e.chunks[head].count - 1]])


cdef inline void carry_out(Core* e, Plans* plans) noexcept nogil:
    """Move all legs that are put down; of many each step loads what the next one reads.

    A filing follows four links, each on a line of its own; one by one each would be waited for.
    """
    cdef uint32_t k
    if plans.are_many:
        for k in range(plans.count):
            ahead_of_more(e, &plans.filings[k])
        for k in range(plans.count):
            ahead_of_last(e, &plans.filings[k])
    for k in range(plans.count):
        move_leg(e, &plans.filings[k])
    plans.count = 0


cdef inline void begin_plans(Plans* plans, bint are_many) noexcept nogil:
    plans.count = 0
    plans.are_many = are_many


cdef inline void file_dirty(Core* e) noexcept nogil:
    """Re-key every unit that the command has changed."""
    cdef Plans plans
    cdef uint32_t n
    begin_plans(&plans, e.dirty_count > AHEAD_FEW)
    for n in range(e.dirty_count):
        ahead_of_plan(e, n)
        plan_dirty(e, e.dirty[n], &plans)
        if plans.count >= FILING_GROUP:
            carry_out(e, &plans)
    if plans.count:
        carry_out(e, &plans)


cdef inline bint fails_a_test(Core* e, uint32_t u) noexcept nogil:
    """Below maintenance, or, with reserved orders, below initial margin (Q1, C4)."""
    if not meets_maintenance(e, u, NULL):
        return True
    return (not is_block(&e.units[u]) and has_reserved_orders(e, u)
            and compare_initial(e, u) < 0)


cdef inline void look_at(Core* e, uint32_t u) noexcept nogil:
    """A key of the unit was crossed: it is touched if a test of it fails, else only filed anew."""
    if fails_a_test(e, u):
        touch(e, u)
    else:
        smudge(e, u)


cdef inline void look_after_loss(Core* e, uint32_t u, Plans* plans) noexcept nogil:
    """A unit has paid: it is touched if a round would find anything to do there, else filed anew.

    A block of USD alone is filed at once, while it is in the cache, and needs no test of its own:
    the mark has not reached its threshold.
    """
    cdef uint32_t i = e.units[u].first_leg
    cdef int64_t threshold
    if not is_block(&e.units[u]) or unit_usdc(e, u) or e.legs[i].qty_lots == 0:
        smudge(e, u)
        if orders_matter(e, u) or fails_a_test(e, u):
            touch(e, u)
        return
    threshold = solo_threshold(e, u, i, False)
    if signed_as(e.markets[e.legs[i].contract].live.mark_ticks - threshold,
                 e.legs[i].qty_lots) <= 0:
        touch(e, u)
        return
    plan_block(e, i, threshold, plans)
    if plans.count >= FILING_GROUP:
        carry_out(e, plans)


# ---- a block's turn ------------------------------------------------------------------------------

cdef inline uint64_t distance_key(Core* e, uint32_t i, int64_t threshold) noexcept nogil:
    """Q8: units with one leg by how far the mark is past their threshold, farthest first."""
    cdef int64_t distance = sub64(threshold, e.markets[e.legs[i].contract].live.mark_ticks)
    distance = signed_as(distance, e.legs[i].qty_lots)
    CHECK(distance >= 0)
    return AFTER_SOLO - 1 - <uint64_t>distance


cdef inline int64_t filed_threshold(Core* e, uint32_t u, uint32_t i) noexcept nogil:
    """solo_threshold of a block that stands where it was filed: mostly its key.

    It passes its test one tick before its key; if it fails at the key, that is the threshold.
    """
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t at = filed_mark(m, leg)
    cdef int64_t lots = magnitude(leg.qty_lots)
    cdef Line line = trigger_line(&m.terms, lots, mul64(lots, mul64(m.terms.v, at)))
    if margin_below(add64(solo_cash(e, u, False), line.cum_units), leg.qty_lots, leg.cost_units,
                    at, m.terms.v, line.rate):
        return at
    return solo_threshold(e, u, i, False)
