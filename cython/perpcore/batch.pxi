# The book's batch: commands in blocks, what the next blocks touch asked for early.

cdef enum:
    # Commands whose loads are asked for together: places of ids two blocks early, orders one.
    BLOCK = 16
    PLACES = 4 * BLOCK           # a ring of places: three blocks are in use
    # By how many rows the caller's arrays are loaded early.
    AHEAD_COMMANDS = 128
    AHEAD_STATUSES = 64
    AHEAD_TRADES = 8
    LINE_BYTES = 64
    # More levels than that are not in the first cache; then levels are asked for early too.
    WIDE_LEVELS = 4096


cdef inline void find_places(const OrderPool* pool, const BookCommand* commands, uint64_t count,
                             uint32_t** places) noexcept nogil:
    """Places of the ids of a block of commands; start loading them."""
    cdef uint64_t i
    for i in range(count):
        places[i] = pool_place(pool, commands[i].order_id)
        prefetch(places[i])


cdef inline void find_orders(const OrderPool* pool, uint64_t count,
                             uint32_t** places) noexcept nogil:
    """Start loading the orders of a block whose places have come."""
    cdef uint64_t i
    for i in range(count):
        # An id that is not live asks for the record before the first order.
        prefetch(&pool.orders[<int64_t>(places[i][0] & LINK_SLOT) - 1])


cdef inline bint wide(const Matcher* m) noexcept nogil:
    """The levels no longer fit into the first cache: asking for them early pays."""
    return (m.book.sides[0].state.tick_count + m.book.sides[1].state.tick_count) > WIDE_LEVELS


cdef inline int64_t likely_key(const Matcher* m, const BookCommand* c, int side) noexcept nogil:
    """Key of an order that has not been checked; some key for anything else."""
    cdef int64_t price_ticks = c.price_ticks
    return book_key(&m.book, side,
                    price_ticks if <uint64_t>price_ticks <= <uint64_t>m.book.max_ticks else 0)


cdef inline void find_words(const Matcher* m, const BookCommand* commands,
                            uint64_t count) noexcept nogil:
    """Start loading what leads to the levels of a block of orders."""
    cdef uint64_t i
    cdef int side
    cdef int64_t word
    for i in range(count):
        side = (commands[i].side - BUY) & 1
        word = likely_key(m, &commands[i], side) >> PRICEMAP_BITS
        prefetch(&m.book.sides[side].words[word])


cdef inline void find_levels(const Matcher* m, const BookCommand* commands,
                             uint64_t count) noexcept nogil:
    """Start loading the levels of a block of orders."""
    cdef uint64_t i
    cdef int side
    for i in range(count):
        side = (commands[i].side - BUY) & 1
        prefetch(pricemap_cell(&m.book.sides[side], likely_key(m, &commands[i], side)))


cdef inline void find_best(const Matcher* m, int side) noexcept nogil:
    """Start loading what takers of the next commands will meet: levels, orders, places of ids."""
    cdef const PriceMap* levels = &m.book.sides[side]
    cdef int64_t key = pricemap_min(levels)
    cdef uint32_t slot
    cdef int found = 0
    while key >= 0 and found < 3 * BLOCK // 2:
        if found < BLOCK // 2:
            slot = pricemap_cell(levels, key).head
            prefetch(pool_place(&m.pool, m.pool.orders[slot].order_id))
        elif found < BLOCK:
            prefetch(&m.pool.orders[pricemap_cell(levels, key).head])
        else:
            prefetch(pricemap_cell(levels, key))
        key = pricemap_next(levels, key)
        found += 1


cdef inline void ahead_of_rows(const BookCommand* commands, const int32_t* statuses,
                               const BookTrade* trades) noexcept nogil:
    """Start loading a block of commands, and where its codes and trades will stand.

    A store waits for its line too, and only so many may wait; what lies in a row the processor sees
    by itself, but not over the end of a page.
    """
    cdef int line
    for line in range(BLOCK * sizeof(BookCommand) // LINE_BYTES):
        prefetch(<const char*>commands + line * LINE_BYTES)
    prefetch(statuses)
    # A command in three trades, two trades a line.
    for line in range(4):
        prefetch(<const char*>(trades + AHEAD_TRADES) + line * LINE_BYTES)


cdef inline uint64_t block_of(uint64_t start, uint64_t count) noexcept nogil:
    """Commands of the block that starts there."""
    return 0 if start >= count else BLOCK if count - start > BLOCK else count - start


cdef void look_far(
        Matcher* m, const BookCommand* commands, uint64_t start, uint64_t count) noexcept nogil:
    """What a batch asks for early when the levels no longer fit into the first cache.

    Called at two places, so that gcc leaves it out of the loop: the registers are needed there.
    """
    cdef int side
    find_words(m, &commands[start + BLOCK], block_of(start + BLOCK, count))
    find_levels(m, &commands[start], block_of(start, count))
    for side in range(2):
        if m.book.sides[side].state.min_tick != m.seen_best[side]:
            m.seen_best[side] = m.book.sides[side].state.min_tick
            find_best(m, side)


cdef void apply_block(Matcher* m, const BookCommand* c, const BookCommand* end, int32_t* status,
                      uint32_t** place) noexcept nogil:
    """Apply a block for whose trades there is room in any case.

    Called at two places, so that gcc leaves it out of the caller: the registers are needed.
    """
    while c != end:
        status[0] = apply_plain(m, c, place[0])
        c += 1
        status += 1
        place += 1


cdef uint64_t apply_near_full(Matcher* m, const BookCommand* c, uint64_t count, int32_t* status,
                              uint32_t** place, const BookTrade* full) noexcept nogil:
    """Apply a block whose trades may not fit; returns how many were applied."""
    cdef uint64_t i
    for i in range(count):
        if may_trade(&c[i]):
            if not apply_bounded(m, &c[i], &status[i], m.end, full - m.end):
                return i
        else:
            status[i] = apply_one(m, &c[i], place[i], <UndoLog*>&NO_UNDO)
    return count


cdef inline uint64_t step(Matcher* m, const BookCommand* commands, uint64_t start, uint64_t count,
                          int32_t* statuses, const BookTrade* full, uint32_t** places,
                          uint64_t here, uint64_t second, uint64_t third) noexcept nogil:
    """Ask for what the next two blocks touch and apply the one at `start`.

    here, second, third: commands of the three. Returns how many of the first were applied: fewer
    than `here` only when trades are full.
    """
    cdef uint32_t** place = &places[start % PLACES]
    ahead_of_rows(commands + start + AHEAD_COMMANDS, statuses + start + AHEAD_STATUSES, m.end)
    if rarely(wide(m)):
        look_far(m, commands, start + BLOCK, count)
    find_places(&m.pool, &commands[start + 2 * BLOCK], third,
                &places[(start + 2 * BLOCK) % PLACES])
    find_orders(&m.pool, second, &places[(start + BLOCK) % PLACES])
    # A trade ends an order that rests or comes, or is the last of its command.
    if rarely(<uint64_t>(full - m.end) < m.pool.state.live_count + 2 * here):
        return apply_near_full(m, &commands[start], here, &statuses[start], place, full)
    apply_block(m, &commands[start], &commands[start + here], &statuses[start], place)
    return here


cdef uint64_t apply_all(Matcher* m, const BookCommand* commands, uint64_t count,
                        int32_t* statuses, BookTrade* trades, uint64_t capacity,
                        uint64_t* trade_count) noexcept nogil:
    """Apply commands in order; returns how many, fewer than `count` only when trades are full."""
    cdef uint64_t start = 0, applied = BLOCK
    cdef uint32_t* places[PLACES]
    cdef BookTrade* full = trades + capacity
    m.end = trades
    find_places(&m.pool, commands, block_of(0, count), places)
    find_places(&m.pool, &commands[BLOCK], block_of(BLOCK, count), &places[BLOCK])
    find_orders(&m.pool, block_of(0, count), places)
    if rarely(wide(m)):
        look_far(m, commands, start, count)
    # While three blocks are left their size is known to the compiler: no compare a command.
    while applied == BLOCK and count - start >= 3 * BLOCK:
        applied = step(m, commands, start, count, statuses, full, places, BLOCK, BLOCK, BLOCK)
        start += applied
    while applied == BLOCK and start < count:
        applied = step(m, commands, start, count, statuses, full, places, block_of(start, count),
                       block_of(start + BLOCK, count), block_of(start + 2 * BLOCK, count))
        start += applied
    trade_count[0] = m.end - trades
    return start
