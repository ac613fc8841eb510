"""Floor 2: limit order book: prices, lots and order ids; it knows no account and no money.

Orders live in one pool shared by the books of a venue and are linked by 32-bit slots: first in,
first out within a level, O(1) to take one out. A level is a cell of a PriceMap; bids are filed
under mirrored keys, so both sides look for their smallest key. Side 0 buys, side 1 sells.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.memory cimport CHECK, arena_alloc, arena_free, arena_prefault, prefetch
from perpcore.pricemap cimport (
    Cell, PriceMap, pricemap_cell, pricemap_erase, pricemap_find, pricemap_free, pricemap_has_room,
    pricemap_init, pricemap_insert, pricemap_min, pricemap_next, pricemap_prefault,
)
from perpcore.records cimport NONE
from perpcore.undo cimport UndoLog, undo_save

cdef enum:
    BOOK_BUY = 0
    BOOK_SELL = 1

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
    BookOrder* orders
    uint64_t* ids                # tag | (slot + 1) << 32, 0: empty; see pool_tag
    uint64_t id_mask             # entries - 1
    int id_shift                 # 64 - log2(lines of 8 entries)
    uint32_t capacity            # slots

# The part that changes; saved whole.
cdef struct BookTotals:
    int64_t qty_lots[2]          # resting, by side
    uint32_t order_count[2]

cdef struct Book:
    BookTotals totals
    int64_t max_ticks            # highest price
    PriceMap bids                # key = max_ticks - price
    PriceMap asks                # key = price


# ---- order pool ---------------------------------------------------------------------------------

cdef inline void pool_free(OrderPool* pool) noexcept nogil:
    arena_free(pool.orders, <uint64_t>pool.capacity * sizeof(BookOrder))
    arena_free(pool.ids, (pool.id_mask + 1) * sizeof(uint64_t))
    memset(pool, 0, sizeof(OrderPool))


cdef inline int pool_init(OrderPool* pool, uint32_t capacity) noexcept nogil:
    """Empty pool of `capacity` slots (below 2^31) with an id index of 2 to 4 times that; 0 or -1."""
    cdef int line_bits = 1
    memset(pool, 0, sizeof(OrderPool))
    if capacity == 0 or capacity >= (<uint32_t>1 << 31):
        return -1
    while (<uint64_t>8 << line_bits) < 2 * <uint64_t>capacity:
        line_bits += 1
    pool.capacity = capacity
    pool.id_mask = (<uint64_t>8 << line_bits) - 1
    pool.id_shift = 64 - line_bits
    pool.state.free_head = NONE
    pool.orders = <BookOrder*>arena_alloc(<uint64_t>capacity * sizeof(BookOrder))
    pool.ids = <uint64_t*>arena_alloc((pool.id_mask + 1) * sizeof(uint64_t))
    if pool.orders == NULL or pool.ids == NULL:
        pool_free(pool)
        return -1
    return 0


cdef inline void pool_prefault(OrderPool* pool) noexcept nogil:
    """Commit all of the pool now, so that no later command pays a page fault for it."""
    arena_prefault(pool.orders, <uint64_t>pool.capacity * sizeof(BookOrder))
    arena_prefault(pool.ids, (pool.id_mask + 1) * sizeof(uint64_t))


cdef inline uint32_t pool_tag(uint64_t order_id) noexcept nogil:
    """32 bits of an id. Ids that differ only in their low half keep different tags, and eight
    consecutive ids keep eight consecutive places."""
    return <uint32_t>order_id ^ (<uint32_t>(order_id >> 32) * <uint32_t>0x9E3779B1)


cdef inline uint64_t pool_home(const OrderPool* pool, uint32_t tag) noexcept nogil:
    """First entry to look at: eight consecutive tags share one line, lines are spread evenly."""
    cdef uint64_t line = (<uint64_t>(tag >> 3) * <uint64_t>0x9E3779B97F4A7C15) >> pool.id_shift
    return (line << 3) | (tag & 7)


cdef inline uint64_t pool_entry(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Index of the id's entry, or of the empty one where it would go."""
    cdef uint32_t tag = pool_tag(order_id)
    cdef uint64_t at = pool_home(pool, tag)
    cdef uint64_t entry
    while True:
        entry = pool.ids[at]
        if entry == 0:
            return at
        if <uint32_t>entry == tag and pool.orders[(entry >> 32) - 1].order_id == order_id:
            return at
        at = (at + 1) & pool.id_mask


cdef inline uint32_t pool_find(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Slot of a live order, or NONE. The index is at most half full, so a search ends early."""
    return <uint32_t>(pool.ids[pool_entry(pool, order_id)] >> 32) - 1


cdef inline void pool_prefetch_id(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Start loading the id's entry, for a command some places ahead."""
    prefetch(&pool.ids[pool_home(pool, pool_tag(order_id))])


cdef inline void pool_prefetch_order(const OrderPool* pool, uint64_t order_id) noexcept nogil:
    """Start loading the order, once its entry has arrived; a guess that may miss."""
    cdef uint64_t entry = pool.ids[pool_home(pool, pool_tag(order_id))]
    # An empty entry would lead before the first order.
    if entry != 0:
        prefetch(&pool.orders[(entry >> 32) - 1])


cdef inline uint32_t pool_take_at(
        OrderPool* pool, uint64_t at, uint64_t order_id, UndoLog* undo) noexcept nogil:
    """pool_take, when pool_entry has just said that `order_id` belongs into the empty entry `at`."""
    cdef uint32_t slot = pool.state.free_head
    if slot == NONE and pool.state.fresh == pool.capacity:
        return NONE
    undo_save(undo, &pool.state, sizeof(PoolState))
    if slot != NONE:
        pool.state.free_head = pool.orders[slot].next
    else:
        slot = pool.state.fresh
        pool.state.fresh += 1
    pool.state.live_count += 1
    undo_save(undo, &pool.orders[slot], sizeof(BookOrder))
    pool.orders[slot].order_id = order_id
    undo_save(undo, &pool.ids[at], sizeof(uint64_t))
    pool.ids[at] = pool_tag(order_id) | (<uint64_t>slot + 1) << 32
    return slot


cdef inline uint32_t pool_take(OrderPool* pool, uint64_t order_id, UndoLog* undo) noexcept nogil:
    """A slot registered under `order_id`, which is not live; NONE when the pool is full.

    Only order_id is set; the caller fills the rest.
    """
    cdef uint64_t at = pool_home(pool, pool_tag(order_id))
    while pool.ids[at] != 0:
        at = (at + 1) & pool.id_mask
    return pool_take_at(pool, at, order_id, undo)


cdef inline void pool_release_at(OrderPool* pool, uint64_t at, UndoLog* undo) noexcept nogil:
    """Recycle the slot of entry `at` and close the gap there, so that no tombstones pile up."""
    cdef uint32_t slot = <uint32_t>(pool.ids[at] >> 32) - 1
    cdef uint64_t hole = at
    cdef uint64_t entry
    while True:
        at = (at + 1) & pool.id_mask
        entry = pool.ids[at]
        if entry == 0:
            break
        # An entry may move back to the hole only if its home is not after the hole.
        if ((at - pool_home(pool, <uint32_t>entry)) & pool.id_mask) >= ((at - hole) & pool.id_mask):
            undo_save(undo, &pool.ids[hole], sizeof(uint64_t))
            pool.ids[hole] = entry
            hole = at
    undo_save(undo, &pool.ids[hole], sizeof(uint64_t))
    pool.ids[hole] = 0
    undo_save(undo, &pool.state, sizeof(PoolState))
    undo_save(undo, &pool.orders[slot], sizeof(BookOrder))
    pool.orders[slot].next = pool.state.free_head
    pool.state.free_head = slot
    pool.state.live_count -= 1


cdef inline void pool_release(OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Unregister the id and recycle the slot; the order rests in no book any more."""
    cdef uint32_t tag = pool_tag(pool.orders[slot].order_id)
    cdef uint64_t mine = tag | (<uint64_t>slot + 1) << 32
    cdef uint64_t at = pool_home(pool, tag)
    while pool.ids[at] != mine:
        # A slot that is not registered would be released twice.
        CHECK(pool.ids[at] != 0)
        at = (at + 1) & pool.id_mask
    pool_release_at(pool, at, undo)


# ---- book ---------------------------------------------------------------------------------------

cdef inline void book_free(Book* b) noexcept nogil:
    pricemap_free(&b.bids)
    pricemap_free(&b.asks)


cdef inline int book_init(Book* b, int64_t max_ticks, uint32_t page_capacity) noexcept nogil:
    """Empty book over prices 0..max_ticks (< 2^31), page_capacity pages of 64 prices a side.

    Returns 0, or -1 when the range is wrong or memory is short.
    """
    memset(b, 0, sizeof(Book))
    b.max_ticks = max_ticks
    if (pricemap_init(&b.bids, max_ticks, page_capacity) != 0
            or pricemap_init(&b.asks, max_ticks, page_capacity) != 0):
        book_free(b)
        return -1
    return 0


cdef inline void book_prefault(Book* b, uint64_t limit_bytes) noexcept nogil:
    """Commit the first limit_bytes of each side's levels."""
    pricemap_prefault(&b.bids, limit_bytes)
    pricemap_prefault(&b.asks, limit_bytes)


cdef inline PriceMap* book_side(Book* b, int side) noexcept nogil:
    return &b.bids if side == BOOK_BUY else &b.asks


cdef inline int64_t book_key(const Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Key of a price on a side, and back: the mirror is its own inverse."""
    return b.max_ticks - price_ticks if side == BOOK_BUY else price_ticks


cdef inline int64_t book_best(Book* b, int side) noexcept nogil:
    """Best price of a side in ticks, -1 when it is empty."""
    cdef int64_t key = pricemap_min(book_side(b, side))
    return key if key < 0 else book_key(b, side, key)


cdef inline int64_t book_next_level(Book* b, int side, int64_t price_ticks) noexcept nogil:
    """Next worse price with orders, -1 when there is none."""
    cdef int64_t key = pricemap_next(book_side(b, side), book_key(b, side, price_ticks))
    return key if key < 0 else book_key(b, side, key)


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


cdef inline void book_insert(Book* b, OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Put an order at the end of its level. The caller has filled it and has asked for room."""
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef int64_t key = book_key(b, side, order.price_side >> 1)
    cdef Cell* level = pricemap_insert(book_side(b, side), key, undo)
    undo_save(undo, order, sizeof(BookOrder))
    undo_save(undo, level, sizeof(Cell))
    undo_save(undo, &b.totals, sizeof(BookTotals))
    order.next = NONE
    # Lots of a level that has orders are never 0.
    if level.qty_lots == 0:
        order.prev = NONE
        level.head = slot
    else:
        order.prev = level.tail
        undo_save(undo, &pool.orders[level.tail], sizeof(BookOrder))
        pool.orders[level.tail].next = slot
    level.tail = slot
    level.qty_lots += order.qty_lots
    b.totals.qty_lots[side] += order.qty_lots
    b.totals.order_count[side] += 1


cdef inline void book_remove(Book* b, OrderPool* pool, uint32_t slot, UndoLog* undo) noexcept nogil:
    """Take an order out of its level, and the level out when it was the last. O(1).

    The slot stays taken and its fields stay as they were.
    """
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef int64_t key = book_key(b, side, order.price_side >> 1)
    cdef PriceMap* levels = book_side(b, side)
    cdef Cell* level = pricemap_cell(levels, key)
    undo_save(undo, &b.totals, sizeof(BookTotals))
    b.totals.qty_lots[side] -= order.qty_lots
    b.totals.order_count[side] -= 1
    if order.prev == NONE and order.next == NONE:
        pricemap_erase(levels, key, undo)
        return
    undo_save(undo, level, sizeof(Cell))
    level.qty_lots -= order.qty_lots
    if order.prev == NONE:
        level.head = order.next
    else:
        undo_save(undo, &pool.orders[order.prev], sizeof(BookOrder))
        pool.orders[order.prev].next = order.next
    if order.next == NONE:
        level.tail = order.prev
    else:
        undo_save(undo, &pool.orders[order.next], sizeof(BookOrder))
        pool.orders[order.next].prev = order.prev


cdef inline void book_reduce(
        Book* b, OrderPool* pool, uint32_t slot, int64_t lots, UndoLog* undo) noexcept nogil:
    """Take lots (fewer than it has) off an order; it keeps its place."""
    cdef BookOrder* order = &pool.orders[slot]
    cdef int side = order.price_side & 1
    cdef Cell* level = pricemap_cell(book_side(b, side), book_key(b, side, order.price_side >> 1))
    undo_save(undo, order, sizeof(BookOrder))
    undo_save(undo, level, sizeof(Cell))
    undo_save(undo, &b.totals, sizeof(BookTotals))
    order.qty_lots -= lots
    level.qty_lots -= lots
    b.totals.qty_lots[side] -= lots
