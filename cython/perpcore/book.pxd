"""Floor 2: limit order book: prices, lots and order ids; it knows no account and no money.

Orders live in one pool shared by the books of a venue and are linked by 32-bit slots: first in,
first out within a level, O(1) to take one out. A level is a cell of a PriceMap; bids are filed
under mirrored keys, so both sides look for their smallest key. Side 0 buys, side 1 sells.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.memory cimport (
    CHECK, arena_alloc, arena_free, arena_prefault, prefetch, rarely,
)
from perpcore.pricemap cimport (
    Cell, PriceMap, pricemap_cell, pricemap_enter, pricemap_erase, pricemap_find, pricemap_free,
    pricemap_has_room, pricemap_init, pricemap_is_open, pricemap_min, pricemap_next,
    pricemap_open_page, pricemap_prefault,
)
from perpcore.records cimport NONE
from perpcore.undo cimport UndoLog, undo_on, undo_save

cdef enum:
    BOOK_BUY = 0
    BOOK_SELL = 1
    # A link to an order by its id: slot + 1, 0: none. The top bit says that another order has the
    # same hash; without it, as nearly always, the chain is not touched.
    LINK_SLOT = 0x7FFFFFFF
    LINK_SHARED = 0x80000000
    # Records before slot 0: one is used, two are a cache line.
    SPARE_RECORDS = 2

# 32 B, two a cache line.
cdef struct BookOrder:
    uint64_t order_id
    int64_t qty_lots             # left to fill
    uint32_t next                # later order of the level; in a free slot: next free slot
    uint32_t prev                # earlier order of the level
    uint32_t price_side          # price ticks << 1 | side
    uint32_t owner               # the caller's; the book never reads it

# The part that changes; saved whole.
cdef struct PoolState:
    uint32_t free_head           # released slots, the last first
    uint32_t fresh               # slots from here on were never used
    uint32_t live_count
    uint32_t _pad

cdef struct OrderPool:
    PoolState state
    # Before slot 0 stands a record that is no order. Where there is no order a link may be
    # written to it, and it may be asked for early, without a branch; nobody reads it.
    BookOrder* orders
    uint32_t* heads              # by hash of the id: a link, 2.5 to 5 a slot
    uint32_t* chain              # by slot: the link to the next order with the same hash, if any
    uint64_t arena_bytes         # from the orders on
    int id_shift                 # 64 - log2(heads)
    uint32_t capacity            # slots

# The part that changes; saved whole.
cdef struct BookTotals:
    int64_t qty_lots[2]          # resting, by side
    uint32_t order_count[2]

cdef struct Book:
    BookTotals totals
    int64_t max_ticks            # highest price
    # By side: key = (price ^ key_flip) + key_shift, and back.
    int64_t key_flip[2]
    int64_t key_shift[2]
    PriceMap sides[2]            # buys: key = max_ticks - price; sells: key = price


# ---- order pool ---------------------------------------------------------------------------------

cdef inline uint64_t pool_arena_bytes(const OrderPool* pool) noexcept nogil:
    """All of the arena."""
    return pool.arena_bytes + SPARE_RECORDS * sizeof(BookOrder)


cdef inline void pool_free(OrderPool* pool) noexcept nogil:
    if pool.orders != NULL:
        arena_free(pool.orders - SPARE_RECORDS, pool_arena_bytes(pool))
    memset(pool, 0, sizeof(OrderPool))


cdef inline int pool_init(OrderPool* pool, uint32_t capacity) noexcept nogil:
    """Empty pool of `capacity` slots (below 2^31) and the index of their ids; 0 or -1."""
    cdef int line_bits = 1
    cdef BookOrder* arena
    memset(pool, 0, sizeof(OrderPool))
    if capacity == 0 or capacity >= (<uint32_t>1 << 31):
        return -1
    # Heads are many, so that nearly every chain is one order long and branches are foreseen.
    while (<uint64_t>32 << line_bits) < 5 * <uint64_t>capacity:
        line_bits += 1
    pool.capacity = capacity
    pool.id_shift = 60 - line_bits
    pool.state.free_head = NONE
    # One arena, so that all three parts can share huge pages.
    pool.arena_bytes = (
        ((<uint64_t>16 << line_bits) + capacity) * sizeof(uint32_t)
        + (<uint64_t>capacity + 2) * sizeof(BookOrder))
    arena = <BookOrder*>arena_alloc(pool_arena_bytes(pool))
    if arena == NULL:
        return -1
    pool.orders = arena + SPARE_RECORDS
    # Two orders a line: heads start on a line for an even number of slots.
    pool.heads = <uint32_t*>(pool.orders + ((<uint64_t>capacity + 1) & ~<uint64_t>1))
    pool.chain = pool.heads + (<uint64_t>16 << line_bits)
    return 0


cdef inline void pool_prefault(OrderPool* pool) noexcept nogil:
    """Commit all of the pool now, so that no later command pays a page fault for it."""
    arena_prefault(pool.orders - SPARE_RECORDS, pool_arena_bytes(pool))


cdef inline uint32_t* pool_place(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Head of the id's chain: 16 consecutive ids share one cache line, lines are spread evenly."""
    # They have the same hash, whose last four bits only order them within the line.
    cdef uint64_t hashed = ((order_id >> 4) * <uint64_t>0x9E3779B97F4A7C15) >> pool.id_shift
    return &pool.heads[hashed ^ (order_id & 15)]


cdef inline uint32_t pool_find_at(
        const OrderPool* pool, const uint32_t* place, uint64_t order_id) noexcept nogil:
    """pool_find, when the id's place is known already."""
    cdef uint32_t link = place[0]
    cdef uint32_t slot
    while link & LINK_SLOT != 0:
        slot = (link & LINK_SLOT) - 1
        if pool.orders[slot].order_id == order_id:
            return slot
        link = pool.chain[slot] if link & LINK_SHARED else 0
    return NONE


cdef inline uint32_t pool_find(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Slot of a live order, or NONE."""
    return pool_find_at(pool, pool_place(pool, order_id), order_id)


cdef inline void pool_prefetch_id(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Start loading the id's place, for a command some places ahead."""
    prefetch(pool_place(pool, order_id))


cdef inline void pool_save(
        OrderPool* pool, uint32_t slot, uint32_t* place, UndoLog* undo) noexcept nogil:
    """Save what taking or releasing a slot changes."""
    undo_save(undo, &pool.state, sizeof(PoolState))
    undo_save(undo, &pool.orders[slot], sizeof(BookOrder))
    undo_save(undo, &pool.chain[slot], sizeof(uint32_t))
    undo_save(undo, place, sizeof(uint32_t))


cdef inline bint pool_is_full(const OrderPool* pool) noexcept nogil:
    """No slot is left."""
    return rarely(pool.state.free_head == NONE) and pool.state.fresh == pool.capacity


cdef inline uint32_t pool_take_at(
        OrderPool* pool, uint32_t* place, uint64_t order_id, UndoLog* undo) noexcept nogil:
    """pool_take, when the id's place is known already."""
    cdef uint32_t slot = pool.state.free_head
    cdef uint32_t link = place[0]
    if pool_is_full(pool):
        return NONE
    if undo_on(undo):
        pool_save(pool, slot if slot != NONE else pool.state.fresh, place, undo)
    if slot != NONE:
        pool.state.free_head = pool.orders[slot].next
    else:
        slot = pool.state.fresh
        pool.state.fresh += 1
    pool.state.live_count += 1
    pool.orders[slot].order_id = order_id
    if rarely(link != 0):
        pool.chain[slot] = link
        place[0] = (slot + 1) | LINK_SHARED
    else:
        place[0] = slot + 1
    return slot


cdef inline uint32_t pool_take(OrderPool* pool, uint64_t order_id, UndoLog* undo) noexcept nogil:
    """A slot registered under `order_id`, which is not live; NONE when the pool is full.

    Only order_id is set; the caller fills the rest.
    """
    return pool_take_at(pool, pool_place(pool, order_id), order_id, undo)


cdef inline void pool_release_from(
        OrderPool* pool, uint32_t* place, uint32_t slot, UndoLog* undo) noexcept nogil:
    """pool_release, when the id's place is known already."""
    cdef uint32_t later = 0
    # One compare tells the first of its chain that has none behind it, as nearly all are.
    if rarely(place[0] != slot + 1):
        while place[0] & LINK_SLOT != slot + 1:
            # A slot that is not registered would be released twice.
            CHECK(place[0] & LINK_SHARED)
            place = &pool.chain[(place[0] & LINK_SLOT) - 1]
        if place[0] & LINK_SHARED:
            later = pool.chain[slot]
    if undo_on(undo):
        pool_save(pool, slot, place, undo)
    place[0] = later
    pool.orders[slot].next = pool.state.free_head
    pool.state.free_head = slot
    pool.state.live_count -= 1


cdef inline void pool_release(OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Unregister the id and recycle the slot; the order rests in no book any more."""
    pool_release_from(pool, pool_place(pool, pool.orders[slot].order_id), slot, undo)


# ---- book ---------------------------------------------------------------------------------------

cdef inline void book_free(Book* b) noexcept nogil:
    pricemap_free(&b.sides[BOOK_BUY])
    pricemap_free(&b.sides[BOOK_SELL])


cdef inline int book_init(Book* b, int64_t max_ticks, uint32_t page_capacity) noexcept nogil:
    """Empty book over prices 0..max_ticks (< 2^31), page_capacity pages of 64 prices a side.

    Returns 0, or -1 when the range is wrong or memory is short.
    """
    memset(b, 0, sizeof(Book))
    b.max_ticks = max_ticks
    b.key_flip[BOOK_BUY] = -1
    b.key_shift[BOOK_BUY] = max_ticks + 1
    if (pricemap_init(&b.sides[BOOK_BUY], max_ticks, page_capacity, sizeof(Cell)) != 0
            or pricemap_init(
                &b.sides[BOOK_SELL], max_ticks, page_capacity, sizeof(Cell)) != 0):
        book_free(b)
        return -1
    return 0


cdef inline void book_prefault(Book* b, uint64_t limit_bytes) noexcept nogil:
    """Commit the first limit_bytes of each side's levels."""
    pricemap_prefault(&b.sides[BOOK_BUY], limit_bytes)
    pricemap_prefault(&b.sides[BOOK_SELL], limit_bytes)


cdef inline PriceMap* book_side(Book* b, int side) noexcept nogil:
    return &b.sides[side]


cdef inline int64_t book_key(const Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Key of a price on a side, and back: max_ticks - price for a buy, price for a sell."""
    # Sides come at random, so this has no branch: ~price + max_ticks + 1 is max_ticks - price.
    return (price_ticks ^ b.key_flip[side]) + b.key_shift[side]


cdef inline int64_t book_best(Book* b, int side) noexcept nogil:
    """Best price of a side in ticks, -1 when it is empty."""
    cdef int64_t key = pricemap_min(book_side(b, side))
    return key if key == -1 else book_key(b, side, key)


cdef inline int64_t book_next_level(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Next worse price with orders, -1 when there is none."""
    cdef int64_t key = pricemap_next(book_side(b, side), book_key(b, side, price_ticks))
    return key if key == -1 else book_key(b, side, key)


cdef inline Cell* book_level(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """The level {first order, last order, lots} at a price, NULL when there is none."""
    return pricemap_find(book_side(b, side), book_key(b, side, price_ticks))


cdef inline uint32_t book_head(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Slot of the first order at a price, or NONE."""
    cdef Cell* level = book_level(b, side, price_ticks)
    return NONE if level == NULL else level.head


cdef inline int64_t book_level_lots(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Lots that rest at a price."""
    cdef Cell* level = book_level(b, side, price_ticks)
    return 0 if level == NULL else level.qty_lots


cdef inline bint book_has_room(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """An order may be inserted at this price: a page of levels is there for it."""
    return pricemap_has_room(book_side(b, side), book_key(b, side, price_ticks))


cdef inline void book_save(
        Book* b, OrderPool* pool, Cell* level, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Save what linking or unlinking at `slot` changes besides the order itself."""
    undo_save(undo, &b.totals, sizeof(BookTotals))
    undo_save(undo, level, sizeof(Cell))
    if slot != NONE:
        undo_save(undo, &pool.orders[slot], sizeof(BookOrder))


cdef inline void book_insert_at(Book* b, OrderPool* pool, uint32_t slot, int side, int64_t key,
                                int64_t lots, UndoLog* undo) noexcept nogil:
    """book_insert, when side, key and lots are at hand and the level's page is open."""
    cdef BookOrder* order = &pool.orders[slot]
    cdef Cell* level = pricemap_enter(book_side(b, side), key, undo)
    cdef uint32_t last = level.last
    if undo_on(undo):
        undo_save(undo, order, sizeof(BookOrder))
        book_save(b, pool, level, last - 1, undo)
    # No branch: some levels are fresh, in no order that can be foreseen. Without an order before
    # it the link goes into the record before the first one; the head of a fresh level is 0.
    pool.orders[<int64_t>last - 1].next = slot
    level.head |= slot & -<uint32_t>(last == 0)
    order.next = NONE
    order.prev = last - 1
    level.last = slot + 1
    level.qty_lots += lots
    b.totals.qty_lots[side] += lots
    b.totals.order_count[side] += 1


cdef inline void book_insert(Book* b, OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Put an order at the end of its level. The caller has filled it and has asked for room."""
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef int64_t key = book_key(b, side, order.price_side >> 1)
    if rarely(not pricemap_is_open(book_side(b, side), key)):
        pricemap_open_page(book_side(b, side), key, undo)
    book_insert_at(b, pool, slot, side, key, order.qty_lots, undo)


cdef inline Cell* book_unlink(Book* b, OrderPool* pool, uint32_t slot, int64_t* level_key,
                              UndoLog* undo) noexcept nogil:
    """Take an order out of its level. O(1).

    Returns the level when it is empty now, for the caller to erase at level_key; NULL else.
    """
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef int64_t key = book_key(b, side, order.price_side >> 1)
    cdef int64_t lots = order.qty_lots
    cdef uint32_t before = order.prev, after = order.next
    cdef Cell* level = pricemap_cell(book_side(b, side), key)
    if undo_on(undo):
        book_save(b, pool, level, before, undo)
        book_save(b, pool, level, after, undo)
    b.totals.qty_lots[side] -= lots
    b.totals.order_count[side] -= 1
    level.qty_lots -= lots
    if rarely(before == NONE):
        level.head = after
    else:
        pool.orders[before].next = after
    if rarely(after == NONE):
        level.last = before + 1
        if before == NONE:
            level_key[0] = key
            return level
    else:
        pool.orders[after].prev = before
    return NULL


cdef inline void book_remove(Book* b, OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Take an order out of its level, and the level out when it was the last. O(1).

    The slot stays taken and its fields stay as they were.
    """
    cdef int64_t key
    cdef Cell* level = book_unlink(b, pool, slot, &key, undo)
    if rarely(level != NULL):
        pricemap_erase(book_side(b, pool.orders[slot].price_side & 1), level, key, undo)


cdef inline void book_reduce(
        Book* b, OrderPool* pool, uint32_t slot, int64_t lots, UndoLog* undo) noexcept nogil:
    """Take lots (fewer than it has) off an order; it keeps its place."""
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef Cell* level = pricemap_cell(book_side(b, side), book_key(b, side, order.price_side >> 1))
    if undo_on(undo):
        book_save(b, pool, level, slot, undo)
    order.qty_lots -= lots
    level.qty_lots -= lots
    b.totals.qty_lots[side] -= lots
