"""Floor 2: a map from ticks to cells that answers "smallest set tick" at a constant cost.

A bitmap over all ticks (64 ticks a word, one summary bit a word above it, and so on) says which
ticks are set; beside each word of it stands the page of its 64 cells. Pages come from a recycled
pool and go back when their last tick is cleared, so memory follows what is set, not the range,
and nothing is re-centered when a price jumps. Cells of clear ticks are zero. No allocation after
init; a full pool is seen beforehand with `pricemap_has_room`. Callers that want the largest tick
store mirrored keys; whoever has cells of another kind than a book's sets and clears ticks itself.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.memory cimport CHECK, arena_alloc, arena_free, arena_prefault, lowest_bit, rarely
from perpcore.undo cimport UndoLog, undo_on, undo_save

cdef enum:
    PRICEMAP_BITS = 6            # 64 ticks a page and a bitmap word
    PRICEMAP_LOW = 63
    PRICEMAP_LEVELS = 5          # summaries: 64 ** 6 > 2 ** 31 ticks

# 64 ticks: which are set, and where their cells are.
cdef struct Word:
    uint64_t bits
    uint32_t page                # + 1; 0: none
    uint32_t _pad

# 16 B: a book level.
cdef struct Cell:
    uint32_t head
    uint32_t last                # + 1; 0: none, in a clear cell alone
    int64_t qty_lots

# The part that changes; saved whole.
cdef struct PriceMapState:
    int64_t min_tick             # -1: empty
    uint32_t free_count          # pages left
    uint32_t tick_count          # ticks set

cdef struct PriceMap:
    PriceMapState state
    Word* words
    void* cells                  # 64 a page
    uint32_t* free_pages         # stack: the page returned last is taken first
    uint64_t* summaries[PRICEMAP_LEVELS]
    int64_t max_tick
    uint32_t page_capacity
    int level_count              # summaries in use; the last is one word
    void* arena
    uint64_t arena_bytes
    void* pool
    uint64_t pool_bytes


cdef inline uint64_t pricemap_lines(uint64_t size_bytes) noexcept nogil:
    """Bytes rounded up to whole cache lines."""
    return (size_bytes + 63) & ~<uint64_t>63


cdef inline void pricemap_free(PriceMap* m) noexcept nogil:
    arena_free(m.arena, m.arena_bytes)
    arena_free(m.pool, m.pool_bytes)
    memset(m, 0, sizeof(PriceMap))


cdef inline int pricemap_init(PriceMap* m, int64_t max_tick, uint32_t page_capacity,
                              uint64_t cell_bytes) noexcept nogil:
    """Empty map over ticks 0..max_tick (< 2^31) with page_capacity pages of 64 cells; 0 or -1."""
    cdef uint64_t words = (<uint64_t>max_tick >> PRICEMAP_BITS) + 1
    cdef uint64_t sizes[PRICEMAP_LEVELS]
    cdef uint64_t offset = 0, wide = words
    cdef uint32_t page
    cdef int level = 0
    memset(m, 0, sizeof(PriceMap))
    m.state.min_tick = -1
    if max_tick < 0 or max_tick >= (<int64_t>1 << 31) or page_capacity == 0:
        return -1
    m.max_tick = max_tick
    # More pages than the range has words could never be used.
    m.page_capacity = page_capacity if page_capacity < words else <uint32_t>words
    m.arena_bytes = words * sizeof(Word)
    while wide > 1:
        wide = (wide + PRICEMAP_LOW) >> PRICEMAP_BITS
        sizes[level] = pricemap_lines(wide * sizeof(uint64_t))
        m.arena_bytes += sizes[level]
        level += 1
    m.level_count = level
    m.pool_bytes = <uint64_t>m.page_capacity * ((cell_bytes << PRICEMAP_BITS) + sizeof(uint32_t))
    m.arena = arena_alloc(m.arena_bytes)
    m.pool = arena_alloc(m.pool_bytes)
    if m.arena == NULL or m.pool == NULL:
        pricemap_free(m)
        return -1
    # The summaries come first: they are small and always warm.
    while level > 0:
        level -= 1
        m.summaries[level] = <uint64_t*>(<char*>m.arena + offset)
        offset += sizes[level]
    m.words = <Word*>(<char*>m.arena + offset)
    m.cells = m.pool
    m.free_pages = <uint32_t*>(<char*>m.pool + <uint64_t>m.page_capacity
                               * (cell_bytes << PRICEMAP_BITS))
    for page in range(m.page_capacity):
        m.free_pages[page] = m.page_capacity - 1 - page
    m.state.free_count = m.page_capacity
    return 0


cdef inline void pricemap_prefault(PriceMap* m, uint64_t limit_bytes) noexcept nogil:
    """Commit the first limit_bytes of cells, which are the ones used first."""
    arena_prefault(m.pool, limit_bytes if limit_bytes < m.pool_bytes else m.pool_bytes)


cdef inline int64_t pricemap_min(const PriceMap* m) noexcept nogil:
    """Smallest set tick, or -1. O(1)."""
    return m.state.min_tick


cdef inline bint pricemap_has(const PriceMap* m, int64_t tick) noexcept nogil:
    return (m.words[tick >> PRICEMAP_BITS].bits >> (tick & PRICEMAP_LOW)) & 1


cdef inline uint64_t pricemap_place_in(const Word* word, int64_t tick) noexcept nogil:
    """pricemap_place, when the tick's word is known already."""
    cdef uint64_t page = <uint64_t>word.page - 1
    return (page << PRICEMAP_BITS) + (tick & PRICEMAP_LOW)


cdef inline uint64_t pricemap_place(const PriceMap* m, int64_t tick) noexcept nogil:
    """Which of all cells a tick that is known to be set has."""
    return pricemap_place_in(&m.words[tick >> PRICEMAP_BITS], tick)


cdef inline Cell* pricemap_cell(const PriceMap* m, int64_t tick) noexcept nogil:
    """The level of a tick that is known to be set."""
    return <Cell*>m.cells + pricemap_place(m, tick)


cdef inline Cell* pricemap_find(const PriceMap* m, int64_t tick) noexcept nogil:
    """The level of a tick, or NULL when it is not set."""
    if not pricemap_has(m, tick):
        return NULL
    return pricemap_cell(m, tick)


cdef inline int64_t pricemap_next(const PriceMap* m, int64_t tick) noexcept nogil:
    """Smallest set tick above `tick`, or -1: up to a summary with a later bit, then down."""
    cdef uint64_t at = <uint64_t>tick + 1
    cdef uint64_t bits
    cdef int level = 0
    if tick >= m.max_tick:
        return -1
    bits = m.words[at >> PRICEMAP_BITS].bits >> (at & PRICEMAP_LOW)
    if bits != 0:
        return <int64_t>(at + lowest_bit(bits))
    while True:
        at = (at >> PRICEMAP_BITS) + 1
        # Past the last word of a bitmap there is nothing to read.
        if (level == m.level_count
                or at > (<uint64_t>m.max_tick >> (PRICEMAP_BITS * (level + 1)))):
            return -1
        bits = m.summaries[level][at >> PRICEMAP_BITS] >> (at & PRICEMAP_LOW)
        if bits != 0:
            at += lowest_bit(bits)
            break
        level += 1
    while level > 0:
        level -= 1
        at = (at << PRICEMAP_BITS) + lowest_bit(m.summaries[level][at])
    return <int64_t>((at << PRICEMAP_BITS) + lowest_bit(m.words[at].bits))


cdef inline bint pricemap_is_open(const PriceMap* m, int64_t tick) noexcept nogil:
    """The cells of this tick and its neighbors have a page."""
    return m.words[tick >> PRICEMAP_BITS].bits != 0


cdef inline bint pricemap_has_room(const PriceMap* m, int64_t tick) noexcept nogil:
    """An insert at `tick` cannot fail."""
    return pricemap_is_open(m, tick) or m.state.free_count != 0


cdef inline void pricemap_open_page(PriceMap* m, int64_t tick, UndoLog* undo) noexcept nogil:
    """First tick of a word: give it a page and set the summaries that did not know of it."""
    cdef uint64_t word = <uint64_t>tick >> PRICEMAP_BITS
    cdef int level = 0
    cdef uint64_t* summary
    cdef uint64_t before
    undo_save(undo, &m.state, sizeof(PriceMapState))
    undo_save(undo, &m.words[word], sizeof(Word))
    CHECK(m.state.free_count != 0)
    m.state.free_count -= 1
    m.words[word].page = m.free_pages[m.state.free_count] + 1
    while level < m.level_count:
        summary = &m.summaries[level][word >> PRICEMAP_BITS]
        before = summary[0]
        undo_save(undo, summary, sizeof(uint64_t))
        summary[0] = before | (<uint64_t>1 << (word & PRICEMAP_LOW))
        if before != 0:
            return
        word >>= PRICEMAP_BITS
        level += 1


cdef inline void pricemap_close_page(PriceMap* m, uint64_t word, UndoLog* undo) noexcept nogil:
    """Last tick of a word is cleared: return its page and clear the summaries that emptied."""
    cdef int level = 0
    cdef uint64_t* summary
    cdef uint32_t* place = &m.free_pages[m.state.free_count]
    undo_save(undo, place, sizeof(uint32_t))
    place[0] = m.words[word].page - 1
    m.words[word].page = 0
    m.state.free_count += 1
    while level < m.level_count:
        summary = &m.summaries[level][word >> PRICEMAP_BITS]
        undo_save(undo, summary, sizeof(uint64_t))
        summary[0] &= ~(<uint64_t>1 << (word & PRICEMAP_LOW))
        if summary[0] != 0:
            return
        word >>= PRICEMAP_BITS
        level += 1


cdef inline bint pricemap_set(PriceMap* m, int64_t tick, UndoLog* undo) noexcept nogil:
    """Set a tick; returns whether it was. The caller has asked for room.

    No branch tells a fresh tick from one that is set: in a market a quarter of them are fresh, in
    no order that can be foreseen.
    """
    cdef Word* word = &m.words[tick >> PRICEMAP_BITS]
    cdef uint64_t bits = word.bits
    cdef bint was_set = (bits >> (tick & PRICEMAP_LOW)) & 1
    if undo_on(undo) and not was_set:
        undo_save(undo, &m.state, sizeof(PriceMapState))
        undo_save(undo, word, sizeof(Word))
    if rarely(bits == 0):
        pricemap_open_page(m, tick, undo)
    word.bits = bits | <uint64_t>1 << (tick & PRICEMAP_LOW)
    m.state.tick_count += 1 - <uint32_t>was_set
    # -1 for "empty" is the largest unsigned tick.
    m.state.min_tick = tick if <uint64_t>tick < <uint64_t>m.state.min_tick else m.state.min_tick
    return was_set


cdef inline void pricemap_clear(PriceMap* m, int64_t tick, UndoLog* undo) noexcept nogil:
    """Clear a tick that is set; its cell is zero again."""
    pricemap_clear_if(m, tick, True, undo)


cdef inline void pricemap_clear_if(PriceMap* m, int64_t tick, bint is_empty,
                                   UndoLog* undo) noexcept nogil:
    """Clear a tick that is set if its cell is zero again; no branch, as with pricemap_set."""
    cdef uint64_t number = <uint64_t>tick >> PRICEMAP_BITS
    cdef Word* word = &m.words[number]
    if undo_on(undo) and is_empty:
        undo_save(undo, &m.state, sizeof(PriceMapState))
        undo_save(undo, word, sizeof(Word))
    word.bits &= ~(<uint64_t>is_empty << (tick & PRICEMAP_LOW))
    m.state.tick_count -= is_empty
    if rarely(word.bits == 0):
        pricemap_close_page(m, number, undo)
    if rarely(tick == m.state.min_tick) and is_empty:
        m.state.min_tick = pricemap_next(m, tick)


cdef inline Cell* pricemap_enter(PriceMap* m, int64_t tick, UndoLog* undo) noexcept nogil:
    """The level of `tick`, set and zeroed if it was not; whoever writes it saves it first.

    The page is open. A level without a last order is fresh: the caller gives it one.
    """
    cdef Word* word = &m.words[tick >> PRICEMAP_BITS]
    cdef Cell* cell
    if undo_on(undo) and not pricemap_has(m, tick):
        undo_save(undo, &m.state, sizeof(PriceMapState))
        undo_save(undo, word, sizeof(Word))
    cell = <Cell*>m.cells + pricemap_place_in(word, tick)
    word.bits |= <uint64_t>1 << (tick & PRICEMAP_LOW)
    m.state.tick_count += cell.last == 0
    m.state.min_tick = tick if <uint64_t>tick < <uint64_t>m.state.min_tick else m.state.min_tick
    return cell


cdef inline void pricemap_erase(
        PriceMap* m, Cell* cell, int64_t tick, UndoLog* undo) noexcept nogil:
    """Clear a tick that is set, and its level."""
    undo_save(undo, cell, sizeof(Cell))
    cell.head = 0
    cell.last = 0
    cell.qty_lots = 0
    pricemap_clear(m, tick, undo)
