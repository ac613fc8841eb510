"""Floor 4.3: whom a new mark reaches: taken out of the index, tested, and filed anew (Q1, Q2)."""
from libc.stdint cimport int64_t, uint32_t

from perpcore.memory cimport prefetch
from perpcore.pricemap cimport PriceMap, pricemap_clear, pricemap_min
from perpcore.records cimport NONE
from perpcore.sort cimport Ranked
from perpcore.standing cimport meets_maintenance
from perpcore.state cimport (
    CELL_IDS, Bucket, Chunk, Core, Market, edit_leg, has_reserved_orders, is_block,
    prefetch_leg, smudge, unit_rank, unit_usdc,
)
from perpcore.thresholds cimport (
    AHEAD_FEW, FILING_GROUP, Plans, ahead_of_leg, begin_plans, bucket_of, carry_out, distance_key,
    filed_threshold, head_chunk, is_chained, key_of, legs_in, look_at, map_of, note_filing,
    only_leg, plan_box, slack_units,
)
from perpcore.undo cimport undo_save

cdef enum:
    # By how many legs those that were reached are loaded early, then their units, the units' first
    # legs and the legs behind them.
    LOOK_REACHED = 64
    LOOK_UNIT = 32
    LOOK_LEG = 28
    LOOK_LINK = 3                # from one leg to the next: all of ten


# How far the legs of coming units have been followed.
cdef struct Followed:
    uint32_t at[32]              # LOOK_UNIT: the leg last asked for, or NONE
    int64_t last                 # the last main account among them, -1: none yet


cdef inline uint32_t empty_bucket(Core* e, PriceMap* index, int64_t key,
                                  uint32_t count) noexcept nogil:
    """The legs of a bucket's cell into `tested`; the key is clear."""
    cdef Bucket* bucket = bucket_of(index, key)
    cdef uint32_t n
    for n in range(legs_in(bucket)):
        e.tested[count] = bucket.legs[n] - 1
        count += 1
    undo_save(&e.undo, bucket, sizeof(Bucket))
    for n in range(CELL_IDS):
        bucket.legs[n] = 0
    pricemap_clear(index, key, &e.undo)
    return count


cdef inline uint32_t empty_chunk(Core* e, uint32_t c, uint32_t count) noexcept nogil:
    """The legs of a chunk into `tested`; it is free."""
    cdef uint32_t n
    for n in range(e.chunks[c].count):
        e.tested[count] = e.chunks[c].legs[n]
        count += 1
    undo_save(&e.undo, &e.chunks[c], sizeof(Chunk))
    e.chunks[c].next = e.h.chunk_free
    e.h.chunk_free = c
    return count


cdef inline uint32_t empty_chains(Core* e, uint32_t heads, uint32_t count) noexcept nogil:
    """The legs of all chunks behind the `heads` first ones in `ranked` into `tested`.

    One chunk of each chain after another, so that the next ones are asked for early.
    """
    cdef uint32_t n, c, after, left
    while heads:
        left = 0
        for n in range(heads):
            c = e.ranked[n].index
            after = e.chunks[c].next
            count = empty_chunk(e, c, count)
            if after != NONE:
                prefetch(&e.chunks[after])
                e.ranked[left].index = after
                left += 1
        heads = left
    return count


cdef inline uint32_t empty_crossed(Core* e, uint32_t contract) noexcept nogil:
    """Take every leg that the mark reached out of the index, into `tested`; returns their number.

    Whoever is reached is filed anew or ends, so that whole buckets go at once. Two comparisons
    when there is none.
    """
    cdef Market* m = &e.markets[contract]
    cdef int64_t key, bound
    cdef uint32_t heads = 0, count = 0
    cdef PriceMap* index
    cdef Bucket* bucket
    cdef int side
    for side in range(2):
        index = map_of(m, side)
        bound = key_of(m, side, m.live.mark_ticks)
        key = pricemap_min(index)
        while key >= 0 and key <= bound:
            bucket = bucket_of(index, key)
            if is_chained(bucket):
                e.ranked[heads].index = head_chunk(bucket)
                prefetch(&e.chunks[e.ranked[heads].index])
                heads += 1
            count = empty_bucket(e, index, key, count)
            key = pricemap_min(index)
    return empty_chains(e, heads, count)


cdef inline void ahead_of_look(Core* e, int64_t n, int64_t count, Followed* f) noexcept nogil:
    """Start loading legs in `tested`, their units, a main account's USDC, and all its legs.

    Each leg leads to the next one; a block has its own alone. All at once before the first look
    would be gone again from the second-level cache by the last.
    """
    cdef uint32_t u, i
    cdef int64_t k = n + LOOK_LEG
    if n + LOOK_REACHED < count:
        prefetch_leg(e, e.tested[n + LOOK_REACHED])
    if 0 <= n + LOOK_UNIT < count:
        prefetch(&e.units[e.legs[e.tested[n + LOOK_UNIT]].unit])
    if 0 <= k < count:
        u = e.legs[e.tested[k]].unit
        f.at[k % LOOK_UNIT] = NONE
        if not is_block(&e.units[u]):
            prefetch(&e.accounts[e.units[u].account])
            ahead_of_leg(e, u, 1)
            f.at[k % LOOK_UNIT] = e.units[u].first_leg
            f.last = k
    if f.last < n:
        return
    while k >= n + LOOK_LINK:
        k -= LOOK_LINK
        i = f.at[k % LOOK_UNIT] if 0 <= k < count else <uint32_t>NONE
        if i != NONE:
            i = e.legs[i].next_leg
            f.at[k % LOOK_UNIT] = i
            if i != NONE:
                prefetch(&e.legs[i])


cdef inline bint plan_safe(Core* e, uint32_t reached, Plans* plans) noexcept nogil:
    """File a main account with several positions at once if it passes its tests, while it is in
    the cache; False: it is left as it is.

    Slack is rounded down: who has any left passes, and needs no other test.
    """
    cdef uint32_t u = e.legs[reached].unit
    cdef bint initial
    cdef int64_t slack
    if is_block(&e.units[u]) or only_leg(e, u) != NONE:
        return False
    initial = has_reserved_orders(e, u)
    slack = slack_units(e, u, initial)
    if slack < 0 or (initial and not meets_maintenance(e, u, NULL)):
        return False
    note_filing(e, u, initial)
    plan_box(e, u, reached, initial, slack, plans)
    if plans.count >= FILING_GROUP:
        carry_out(e, plans)
    return True


cdef inline uint32_t look_at_reached(Core* e, uint32_t count) noexcept nogil:
    """Look at the units of so many legs in `tested`; who fails a test is touched.

    Blocks of USD alone that are below maintenance stand in `ranked` with the key of their turn
    (Q8): nothing can change them before the round, which needs no second test. Returns how many.
    """
    cdef uint32_t failing = 0, n, i, u
    cdef Followed followed
    cdef int64_t early
    cdef Plans plans
    begin_plans(&plans, count > AHEAD_FEW)
    followed.last = -1
    if plans.are_many:
        for early in range(-LOOK_REACHED, 0):
            ahead_of_look(e, early, count, &followed)
    for n in range(count):
        if plans.are_many:
            ahead_of_look(e, n, count, &followed)
        i = e.tested[n]
        edit_leg(e, i).chunk = NONE
        u = e.legs[i].unit
        # Whoever has USDC may have USD to cover before the test (A4).
        if not is_block(&e.units[u]) or unit_usdc(e, u):
            if not plan_safe(e, i, &plans):
                look_at(e, u)
            continue
        if meets_maintenance(e, u, NULL):
            smudge(e, u)
        else:
            e.ranked[failing] = Ranked(distance_key(e, i, filed_threshold(e, u, i)),
                                       unit_rank(&e.units[u]), u)
            failing += 1
    if plans.count:
        carry_out(e, &plans)
    return failing


cdef inline uint32_t sweep(Core* e, uint32_t contract) noexcept nogil:
    """Look at every unit that the new mark reached; returns how many stand in `ranked`."""
    cdef uint32_t count = empty_crossed(e, contract)
    return look_at_reached(e, count) if count else 0
