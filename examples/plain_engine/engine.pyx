"""The engine behind plain_engine.h: perpcore's book, compiled into a library without Python.

Prices are shifted so that the lowest is tick 1. NO_UNDO: nothing is ever taken back, so that the
book's questions about its undo log are folded away.
"""
from libc.stdint cimport INT64_MAX, INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.book cimport (
    Book, BookOrder, OrderPool, book_best, book_free, book_head, book_init, book_insert, book_key,
    book_level_lots, book_next_level, book_prefault, book_reduce, book_remove, book_side,
    pool_find_at, pool_free, pool_init, pool_place, pool_prefault, pool_release, pool_release_from,
    pool_take_at,
)
from perpcore.codes cimport (
    DUPLICATE_CLIENT_ORDER_ID, EXCEEDS_MAX_ORDERS, INVALID_ORDER_ID, INVALID_ORDER_QTY,
    INVALID_ORDER_TYPE, INVALID_PRICE, INVALID_SIDE, OK,
)
from perpcore.memory cimport arena_alloc, arena_free, rarely
from perpcore.pricemap cimport PriceMap, pricemap_cell, pricemap_min
from perpcore.records cimport NONE
from perpcore.undo cimport NO_UNDO, UndoLog

cdef extern from "plain_engine.h" nogil:
    enum:
        PLAIN_LIMIT, PLAIN_IOC, PLAIN_MARKET
        PLAIN_ORDER_ACK, PLAIN_TRADE, PLAIN_CANCEL_ACK, PLAIN_MODIFY_ACK, PLAIN_CANCEL_REJECT
        PLAIN_MODIFY_REJECT, PLAIN_ORDER_REJECT

    ctypedef struct plain_new:
        uint64_t order_id
        uint64_t sequence
        int64_t price_ticks
        uint32_t qty_lots
        uint8_t side
        uint8_t type

    ctypedef struct plain_cancel:
        uint64_t order_id
        uint64_t sequence

    ctypedef struct plain_modify:
        uint64_t order_id
        uint64_t sequence
        int64_t price_ticks
        uint32_t qty_lots

    ctypedef struct plain_report:
        uint8_t type
        uint8_t side
        uint16_t code
        uint64_t sequence
        uint64_t order_id
        int64_t price_ticks
        uint32_t qty_lots
        uint64_t maker_order_id
        uint64_t taker_order_id

    ctypedef struct plain_terms:
        int64_t min_price_ticks
        int64_t max_price_ticks
        uint32_t order_capacity
        uint32_t ring_reports

    ctypedef struct plain_engine:
        pass

cdef extern from "report_ring.hpp" nogil:
    cdef struct Ring "plain::Ring":
        plain_report* slots

    int ring_init "plain::ring_init"(Ring* ring, uint32_t reports) noexcept
    void ring_free "plain::ring_free"(Ring* ring) noexcept
    void ring_put "plain::ring_put"(Ring* ring, plain_report report) noexcept
    uint32_t ring_take "plain::ring_take"(Ring* ring, plain_report* out, uint32_t most) noexcept

cdef enum:
    LEVEL_BYTES = 8 << 20        # levels of a side that are touched at creation

cdef struct Engine:
    Ring ring
    Book book
    OrderPool pool
    int64_t base_ticks           # price of tick 0

# An order on its walk through the other side.
cdef struct Taker:
    uint64_t sequence
    uint64_t order_id
    int64_t left_lots
    uint8_t side


cdef inline void report(Engine* e, int kind, uint64_t sequence, uint64_t order_id, uint8_t side,
                        int64_t price_ticks, uint32_t qty_lots, int code) noexcept nogil:
    cdef plain_report r
    memset(&r, 0, sizeof(r))
    r.type = <uint8_t>kind
    r.side = side
    r.code = <uint16_t>code
    r.sequence = sequence
    r.order_id = order_id
    r.price_ticks = price_ticks
    r.qty_lots = qty_lots
    ring_put(&e.ring, r)


cdef void fill(Engine* e, Taker* t, BookOrder* maker, int64_t lots) noexcept nogil:
    cdef plain_report r
    memset(&r, 0, sizeof(r))
    r.type = PLAIN_TRADE
    r.side = t.side
    r.sequence = t.sequence
    r.order_id = t.order_id
    r.price_ticks = <int64_t>(maker.price_side >> 1) + e.base_ticks
    r.qty_lots = <uint32_t>lots
    r.maker_order_id = maker.order_id
    r.taker_order_id = t.order_id
    ring_put(&e.ring, r)


cdef void walk(Engine* e, Taker* t, int64_t limit_key) noexcept nogil:
    """Fill the taker, best price first and first come first within it, up to its limit."""
    cdef UndoLog* undo = <UndoLog*>&NO_UNDO
    cdef PriceMap* levels = book_side(&e.book, 1 - t.side)
    cdef BookOrder* maker
    cdef uint32_t slot
    cdef int64_t key, lots
    while t.left_lots != 0:
        key = pricemap_min(levels)
        if key < 0 or key > limit_key:
            return
        slot = pricemap_cell(levels, key).head
        maker = &e.pool.orders[slot]
        lots = maker.qty_lots if maker.qty_lots < t.left_lots else t.left_lots
        fill(e, t, maker, lots)
        t.left_lots -= lots
        if lots < maker.qty_lots:
            book_reduce(&e.book, &e.pool, slot, lots, undo)
        else:
            book_remove(&e.book, &e.pool, slot, undo)
            pool_release(&e.pool, slot, undo)


cdef inline bint crosses(Engine* e, int side, int64_t limit_key) noexcept nogil:
    # Empty is -1, the largest unsigned key.
    return (<uint64_t>pricemap_min(book_side(&e.book, 1 - side)) <= <uint64_t>limit_key)


cdef inline void rest(Engine* e, uint32_t slot, int64_t price, int64_t lots,
                      int side) noexcept nogil:
    cdef BookOrder* order = &e.pool.orders[slot]
    order.qty_lots = lots
    order.price_side = <uint32_t>(price << 1) | <uint32_t>side
    book_insert(&e.book, &e.pool, slot, <UndoLog*>&NO_UNDO)


cdef inline bint is_price(const Engine* e, int64_t price) noexcept nogil:
    return <uint64_t>(price - 1) < <uint64_t>e.book.max_ticks


cdef inline int refusal(const Engine* e, const plain_new* o, int64_t price) noexcept nogil:
    """Code of what is wrong with the fields of an order, or OK."""
    if o.side > 1:
        return INVALID_SIDE
    if o.type > PLAIN_MARKET:
        return INVALID_ORDER_TYPE
    if o.qty_lots == 0:
        return INVALID_ORDER_QTY
    if o.type != PLAIN_MARKET and not is_price(e, price):
        return INVALID_PRICE
    if o.type == PLAIN_LIMIT and e.pool.state.live_count == e.pool.capacity:
        return EXCEEDS_MAX_ORDERS
    return OK


cdef void take(Engine* e, const plain_new* o, int64_t price, int64_t limit_key) noexcept nogil:
    """An order that reaches the other side, or that may not rest."""
    cdef Taker t = Taker(o.sequence, o.order_id, o.qty_lots, o.side)
    walk(e, &t, limit_key)
    if t.left_lots == 0:
        return
    if o.type == PLAIN_LIMIT:
        rest(e, pool_take_at(&e.pool, pool_place(&e.pool, o.order_id), o.order_id,
                             <UndoLog*>&NO_UNDO), price, t.left_lots, o.side)
    else:
        report(e, PLAIN_CANCEL_ACK, o.sequence, o.order_id, o.side, o.price_ticks,
               <uint32_t>t.left_lots, OK)


# ---- plain_engine.h -----------------------------------------------------------------------------

cdef public plain_engine* plain_engine_create(const plain_terms* terms) noexcept nogil:
    cdef Engine* e
    # Unsigned: the difference of any two prices has a value.
    cdef uint64_t span = <uint64_t>terms.max_price_ticks - <uint64_t>terms.min_price_ticks
    if (terms.max_price_ticks < terms.min_price_ticks or span >= 0x7FFFFFFF
            or terms.min_price_ticks == INT64_MIN):
        return NULL
    e = <Engine*>arena_alloc(sizeof(Engine))
    if e == NULL:
        return NULL
    e.base_ticks = terms.min_price_ticks - 1
    # A page of levels an order: none is ever refused for lack of one.
    if (ring_init(&e.ring, terms.ring_reports) != 0
            or pool_init(&e.pool, terms.order_capacity) != 0
            or book_init(&e.book, <int64_t>span + 1, terms.order_capacity) != 0):
        plain_engine_destroy(<plain_engine*>e)
        return NULL
    pool_prefault(&e.pool)
    book_prefault(&e.book, LEVEL_BYTES)
    return <plain_engine*>e


cdef public void plain_engine_destroy(plain_engine* engine) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    if e != NULL:
        book_free(&e.book)
        pool_free(&e.pool)
        ring_free(&e.ring)
        arena_free(e, sizeof(Engine))


cdef public void plain_engine_new(plain_engine* engine, const plain_new* o) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef uint32_t* place = pool_place(&e.pool, o.order_id)
    # Unsigned, as any int64 may come; what is too low becomes very high.
    cdef int64_t price = <int64_t>(<uint64_t>o.price_ticks - <uint64_t>e.base_ticks)
    cdef int code = refusal(e, o, price)
    cdef int64_t limit_key
    if rarely(code == OK and pool_find_at(&e.pool, place, o.order_id) != NONE):
        code = DUPLICATE_CLIENT_ORDER_ID
    if rarely(code != OK):
        report(e, PLAIN_ORDER_REJECT, o.sequence, o.order_id, o.side, o.price_ticks, o.qty_lots,
               code)
        return
    report(e, PLAIN_ORDER_ACK, o.sequence, o.order_id, o.side, o.price_ticks, o.qty_lots, OK)
    limit_key = (e.book.max_ticks if o.type == PLAIN_MARKET
                 else book_key(&e.book, 1 - o.side, price))
    if rarely(o.type != PLAIN_LIMIT or crosses(e, o.side, limit_key)):
        take(e, o, price, limit_key)
    else:
        rest(e, pool_take_at(&e.pool, place, o.order_id, <UndoLog*>&NO_UNDO), price, o.qty_lots,
             o.side)


cdef public void plain_engine_cancel(plain_engine* engine, const plain_cancel* c) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef uint32_t* place = pool_place(&e.pool, c.order_id)
    cdef uint32_t slot = pool_find_at(&e.pool, place, c.order_id)
    cdef BookOrder* order
    if rarely(slot == NONE):
        report(e, PLAIN_CANCEL_REJECT, c.sequence, c.order_id, 0, 0, 0, INVALID_ORDER_ID)
        return
    order = &e.pool.orders[slot]
    report(e, PLAIN_CANCEL_ACK, c.sequence, c.order_id, order.price_side & 1,
           <int64_t>(order.price_side >> 1) + e.base_ticks, <uint32_t>order.qty_lots, OK)
    book_remove(&e.book, &e.pool, slot, <UndoLog*>&NO_UNDO)
    pool_release_from(&e.pool, place, slot, <UndoLog*>&NO_UNDO)


cdef public void plain_engine_modify(plain_engine* engine, const plain_modify* m) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef uint32_t slot = pool_find_at(&e.pool, pool_place(&e.pool, m.order_id), m.order_id)
    cdef int64_t price = <int64_t>(<uint64_t>m.price_ticks - <uint64_t>e.base_ticks)
    cdef int64_t limit_key
    cdef int code = OK
    cdef Taker t
    if slot == NONE:
        code = INVALID_ORDER_ID
    elif m.qty_lots == 0:
        code = INVALID_ORDER_QTY
    elif not is_price(e, price):
        code = INVALID_PRICE
    if rarely(code != OK):
        report(e, PLAIN_MODIFY_REJECT, m.sequence, m.order_id, 0, m.price_ticks, m.qty_lots, code)
        return
    t = Taker(m.sequence, m.order_id, m.qty_lots, e.pool.orders[slot].price_side & 1)
    book_remove(&e.book, &e.pool, slot, <UndoLog*>&NO_UNDO)
    limit_key = book_key(&e.book, 1 - t.side, price)
    if rarely(crosses(e, t.side, limit_key)):
        walk(e, &t, limit_key)
    if t.left_lots != 0:
        rest(e, slot, price, t.left_lots, t.side)
    else:
        pool_release(&e.pool, slot, <UndoLog*>&NO_UNDO)
    report(e, PLAIN_MODIFY_ACK, m.sequence, m.order_id, t.side, m.price_ticks, m.qty_lots, OK)


cdef public uint32_t plain_engine_read(
        plain_engine* engine, plain_report* out, uint32_t most) noexcept nogil:
    return ring_take(&(<Engine*>engine).ring, out, most)


cdef public int64_t plain_engine_best(const plain_engine* engine, int side) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef int64_t price = book_best(&e.book, side & 1)
    if price < 0:
        return INT64_MAX if side & 1 else INT64_MIN
    return price + e.base_ticks


cdef public uint64_t plain_engine_depth(
        const plain_engine* engine, int side, int64_t price_ticks) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef int64_t price = <int64_t>(<uint64_t>price_ticks - <uint64_t>e.base_ticks)
    return <uint64_t>book_level_lots(&e.book, side & 1, price) if is_price(e, price) else 0


cdef public uint64_t plain_engine_orders(
        const plain_engine* engine, int side, plain_new* out, uint64_t most) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef int64_t price = book_best(&e.book, side & 1)
    cdef BookOrder* order
    cdef uint64_t count = 0
    cdef uint32_t slot
    while price >= 0 and count < most:
        slot = book_head(&e.book, side & 1, price)
        while slot != NONE and count < most:
            order = &e.pool.orders[slot]
            out[count].order_id = order.order_id
            out[count].sequence = 0
            out[count].price_ticks = price + e.base_ticks
            out[count].qty_lots = <uint32_t>order.qty_lots
            out[count].side = <uint8_t>(side & 1)
            out[count].type = PLAIN_LIMIT
            count += 1
            slot = order.next
        price = book_next_level(&e.book, side & 1, price)
    return e.book.totals.order_count[side & 1]
