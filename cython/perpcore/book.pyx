"""The order book alone: price-time matching over ticks, lots and order ids, without accounts.

`OrderBook` takes arrays of commands without the GIL, or single calls with plain ints. The checks of
a command stand in one order and the first that fails gives the code (the venue's numbers, SPEC O):
40004 kind; 40001 a field that the kind does not use is not zero; 220 side; 218 type; 221 time in
force; 219 flags; 40001 self-trade policy; 212 unknown order; 213 quantity; 308 price; 204 duplicate
id; 318 full; 43005; then the walk: 43003, 43012, 43004. A refused command changes nothing.
"""
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from perpcore.codes cimport (
    BUY, EXCEEDS_MAX_ORDERS, FOK, FOK_NOT_FILLED, GTC, INVALID_ARGUMENT, INVALID_EXEC_INST,
    INVALID_ORDER_ID, INVALID_ORDER_QTY, INVALID_ORDER_TYPE, INVALID_PRICE, INVALID_SIDE,
    INVALID_TIME_IN_FORCE, IOC, IOC_NOT_FILLED, LIMIT, MARKET, NO_TIF, OK, POST_ONLY,
    POST_ONLY_WOULD_TAKE, SELF_TRADE_PREVENTED, SELL, STP_BOTH, STP_DEFAULT, STP_MAKER, STP_TAKER,
    UNKNOWN_COMMAND, DUPLICATE_CLIENT_ORDER_ID,
)
from perpcore.memory cimport CHECK, arena_alloc, arena_free, prefetch, rarely
from perpcore.pricemap cimport (
    PRICEMAP_BITS, Cell, PriceMap, pricemap_cell, pricemap_erase, pricemap_is_open, pricemap_min,
    pricemap_next, pricemap_open_page,
)
from perpcore.records cimport NONE
from perpcore.undo cimport (
    NO_UNDO, UndoLog, undo_begin, undo_end, undo_free, undo_init, undo_mark, undo_on,
    undo_rollback_to, undo_save,
)

from typing import NamedTuple

import numpy as np

cdef extern from *:
    """
    // The path of a plain command is one piece of code, with the undo log that is never on folded
    // away. gcc's own measure of size leaves it in five functions, a fifth slower.
    #undef CYTHON_INLINE
    #define CYTHON_INLINE inline __attribute__((always_inline))
    """

cpdef enum BookKind:
    """What a command of the book does."""
    BOOK_NEW = 1
    BOOK_CANCEL = 2
    BOOK_REDUCE = 3
    BOOK_REPLACE = 4

cdef enum:
    PREFAULT_BYTES = 4 << 20     # levels of a side that are committed at creation
    UNDO_BYTES_AN_ORDER = 1024   # more than taking one order out ever saves
    UNDO_BYTES_EXTRA = 1 << 16
    # The most lots that rest on a side: sums stay far from the end of int64.
    MAX_SIDE_LOTS = 0x4000000000000000
    # terms_of() a LIMIT order that buys, GTC by default; what may be on top: SELL, GTC by name.
    PLAIN_NEW = 0x00010101
    PLAIN_SELL = 1 << 8
    PLAIN_GTC = 1 << 24

# 40 B.
cdef packed struct BookCommand:
    uint64_t order_id
    int64_t price_ticks
    int64_t qty_lots
    uint32_t owner
    uint8_t kind                 # BookKind
    uint8_t side                 # codes.Side
    uint8_t order_type           # codes.OrderType
    uint8_t time_in_force        # codes.TimeInForce; 0: GTC for LIMIT, IOC for MARKET
    uint32_t flags               # codes.ExecFlag: POST_ONLY
    uint32_t stp                 # codes.SelfTrade; 0: none

# 32 B.
cdef packed struct BookTrade:
    uint64_t taker_order_id
    uint64_t maker_order_id
    int64_t price_ticks
    int64_t qty_lots

cdef packed struct LevelRecord:
    int64_t price_ticks
    int64_t qty_lots
    int64_t order_count

cdef packed struct OrderRecord:
    uint64_t order_id
    int64_t price_ticks
    int64_t qty_lots
    uint32_t owner
    uint32_t side

# One book with its memory.
cdef struct Matcher:
    Book book
    OrderPool pool
    UndoLog undo
    BookTrade* end               # where the next trade goes
    BookTrade* trades            # of one command; one per resting order is enough
    uint64_t trades_bytes
    int64_t seen_best[2]         # by side: the best key when a batch last looked far ahead

# The order in hand on its walk through the other side.
cdef struct Taker:
    uint64_t order_id
    int64_t left_lots
    int64_t limit_key            # last key of the other side that it reaches
    BookTrade* first             # its first trade
    uint32_t owner
    uint32_t stp
    int maker_side
    bint stopped                 # by self-trade prevention


BOOK_COMMAND = np.dtype([
    ("order_id", "<u8"), ("price_ticks", "<i8"), ("qty_lots", "<i8"), ("owner", "<u4"),
    ("kind", "u1"), ("side", "u1"), ("order_type", "u1"), ("time_in_force", "u1"),
    ("flags", "<u4"), ("stp", "<u4"),
])
BOOK_TRADE = np.dtype([
    ("taker_order_id", "<u8"), ("maker_order_id", "<u8"), ("price_ticks", "<i8"),
    ("qty_lots", "<i8"),
])
cdef object FROM_BUFFER = np.frombuffer
cdef object NO_TRADES = np.zeros(0, BOOK_TRADE)
NO_TRADES.flags.writeable = False
BOOK_LEVEL = np.dtype([("price_ticks", "<i8"), ("qty_lots", "<i8"), ("order_count", "<i8")])
BOOK_ORDER = np.dtype([
    ("order_id", "<u8"), ("price_ticks", "<i8"), ("qty_lots", "<i8"), ("owner", "<u4"),
    ("side", "<u4"),
])


class Applied(NamedTuple):
    """What a batch did: how many commands were applied, a code for each, the trades in order."""

    applied: int
    statuses: object
    trades: object


class RestingOrder(NamedTuple):
    """One order of the book."""

    order_id: int
    side: int
    price_ticks: int
    qty_lots: int
    owner: int


class BookBusy(RuntimeError):
    """A second thread called a book that is at work; the call had no effect."""


# ---- matching -----------------------------------------------------------------------------------

cdef inline bint take_level(Matcher* m, Taker* t, PriceMap* levels, int64_t key,
                            UndoLog* undo) noexcept nogil:
    """Fill the taker against one level, first order first. False when the taker stops there."""
    cdef Cell* level = pricemap_cell(levels, key)
    cdef uint32_t slot = level.head
    cdef uint32_t count = 0
    cdef int64_t lots = 0, taken, left = t.left_lots
    cdef int64_t price_ticks = book_key(&m.book, t.maker_side, key)
    cdef BookOrder* order
    cdef BookTrade* trade
    cdef uint32_t after
    while slot != NONE and left != 0 and not t.stopped:
        order = &m.pool.orders[slot]
        after = order.next
        if rarely(t.stp != STP_DEFAULT) and order.owner == t.owner:
            t.stopped = t.stp != STP_MAKER
            if t.stp == STP_TAKER:
                break
            taken = order.qty_lots
        else:
            taken = order.qty_lots if order.qty_lots < left else left
            trade = m.end
            m.end += 1
            trade.taker_order_id = t.order_id
            trade.maker_order_id = order.order_id
            trade.price_ticks = price_ticks
            trade.qty_lots = taken
            left -= taken
        lots += taken
        if taken < order.qty_lots:
            undo_save(undo, order, sizeof(BookOrder))
            order.qty_lots -= taken
            break
        if after != NONE:
            prefetch(&m.pool.orders[after])
        pool_release(&m.pool, slot, undo)
        count += 1
        slot = after
    t.left_lots = left
    if lots != 0:
        undo_save(undo, &m.book.totals, sizeof(BookTotals))
        m.book.totals.qty_lots[t.maker_side] -= lots
        m.book.totals.order_count[t.maker_side] -= count
    if slot == NONE:
        pricemap_erase(levels, level, key, undo)
        return left != 0 and not t.stopped
    undo_save(undo, level, sizeof(Cell))
    undo_save(undo, &m.pool.orders[slot], sizeof(BookOrder))
    level.head = slot
    level.qty_lots -= lots
    m.pool.orders[slot].prev = NONE
    return False


cdef inline void walk(Matcher* m, Taker* t, UndoLog* undo) noexcept nogil:
    """Fill the taker level by level until it is full, stopped, or reaches no order any more."""
    cdef PriceMap* levels = book_side(&m.book, t.maker_side)
    cdef int64_t key
    while True:
        key = pricemap_min(levels)
        if key < 0 or key > t.limit_key or not take_level(m, t, levels, key, undo):
            return


cdef int verdict(const Matcher* m, const Taker* t, int time_in_force) noexcept nogil:
    """Code of a finished walk: 0, or the refusal that undoes it (SPEC O1, O3)."""
    if time_in_force == FOK and t.left_lots != 0:
        return FOK_NOT_FILLED
    if m.end != t.first:
        return OK
    if t.stopped:
        # BOTH has cancelled an order: that stands, and the taker ends with it.
        return SELF_TRADE_PREVENTED if t.stp == STP_TAKER else OK
    return IOC_NOT_FILLED if time_in_force == IOC else OK


# Two rare things, out of line: the path of a plain command needs the registers.

cdef void open_levels(PriceMap* levels, int64_t key, UndoLog* undo) noexcept nogil:
    pricemap_open_page(levels, key, undo)


cdef void erase_level(PriceMap* levels, Cell* level, int64_t key, UndoLog* undo) noexcept nogil:
    pricemap_erase(levels, level, key, undo)


cdef inline void remove(Matcher* m, uint32_t slot, UndoLog* undo) noexcept nogil:
    """book_remove, its rare half out of line."""
    cdef int64_t key
    cdef Cell* level = book_unlink(&m.book, &m.pool, slot, &key, undo)
    if rarely(level != NULL):
        erase_level(book_side(&m.book, m.pool.orders[slot].price_side & 1), level, key, undo)


cdef inline void rest(Matcher* m, uint32_t slot, const BookCommand* c, int64_t lots, int side,
                      int64_t key, uint32_t owner, UndoLog* undo) noexcept nogil:
    """Fill a slot that undo has saved or that is new, and put it at the end of its level."""
    cdef BookOrder* order = &m.pool.orders[slot]
    order.qty_lots = lots
    order.price_side = <uint32_t>(c.price_ticks << 1) | <uint32_t>side
    order.owner = owner
    if rarely(not pricemap_is_open(book_side(&m.book, side), key)):
        open_levels(book_side(&m.book, side), key, undo)
    book_insert_at(&m.book, &m.pool, slot, side, key, lots, undo)


cdef int cross(Matcher* m, const BookCommand* c, Taker* t, uint32_t slot,
               int time_in_force, UndoLog* undo) noexcept nogil:
    """Walk, then rest or end what is left; on a refusal everything is as it was.

    slot: the order that a REPLACE takes out first, or NONE.
    """
    cdef bint outer = undo_on(undo)
    # Only these can be refused after something was changed.
    cdef bint undoable = (outer or slot != NONE or time_in_force == FOK
                          or (t.stp == STP_MAKER and time_in_force == IOC))
    cdef uint64_t mark = 0
    cdef int side = 1 - t.maker_side
    cdef int code
    if undoable:
        if not outer:
            undo = &m.undo
            undo_begin(undo)
        mark = undo_mark(undo)
    if slot != NONE:
        remove(m, slot, undo)
    if undoable:
        walk(m, t, undo)
    else:
        # Most takers: here the log is folded away.
        walk(m, t, <UndoLog*>&NO_UNDO)
    code = verdict(m, t, time_in_force)
    if code != OK:
        m.end = t.first
        if undoable:
            undo_rollback_to(undo, mark)
    elif t.left_lots != 0 and time_in_force == GTC and not t.stopped:
        if slot == NONE:
            slot = pool_take(&m.pool, t.order_id, undo)
            CHECK(slot != NONE)
        undo_save(undo, &m.pool.orders[slot], sizeof(BookOrder))
        rest(m, slot, c, t.left_lots, side, m.book.max_ticks - t.limit_key, t.owner, undo)
    elif slot != NONE:
        pool_release(&m.pool, slot, undo)
    if undoable and not outer:
        undo_end(undo)
    return code


cdef inline int check_terms(const BookCommand* c, int time_in_force) noexcept nogil:
    """Time in force, flags and self-trade policy of an order."""
    if time_in_force != GTC and time_in_force != IOC and time_in_force != FOK:
        return INVALID_TIME_IN_FORCE
    if c.order_type == MARKET and time_in_force == GTC:
        return INVALID_TIME_IN_FORCE
    if c.flags & ~<uint32_t>POST_ONLY or (c.flags and time_in_force != GTC):
        return INVALID_EXEC_INST
    if c.stp > STP_BOTH:
        return INVALID_ARGUMENT
    return OK


cdef inline int effective_tif(const BookCommand* c) noexcept nogil:
    if c.time_in_force == NO_TIF:
        return IOC if c.order_type == MARKET else GTC
    return c.time_in_force


cdef inline bint reaches(const Matcher* m, int maker_side, int64_t limit_key) noexcept nogil:
    # Empty is -1, the largest unsigned key.
    return <uint64_t>m.book.sides[maker_side].state.min_tick <= <uint64_t>limit_key


cdef int enter(Matcher* m, const BookCommand* c, int side, uint32_t owner, int64_t limit_key,
               uint32_t slot, int time_in_force, UndoLog* undo) noexcept nogil:
    """An order whose limit reaches the other side; slot: what it replaces, or NONE."""
    cdef Taker t
    if c.flags & POST_ONLY:
        return POST_ONLY_WOULD_TAKE
    t.order_id = c.order_id
    t.left_lots = c.qty_lots
    t.limit_key = limit_key
    t.first = m.end
    t.owner = owner
    t.stp = c.stp
    t.maker_side = 1 - side
    t.stopped = False
    return cross(m, c, &t, slot, time_in_force, undo)


cdef inline int enter_new(Matcher* m, const BookCommand* c, int side, bint is_market,
                          int time_in_force, uint32_t* place, UndoLog* undo) noexcept nogil:
    """A new order whose terms are right: check what depends on the book, trade, rest."""
    cdef int64_t key, limit_key
    if <uint64_t>(c.qty_lots - 1) >= <uint64_t>(MAX_SIDE_LOTS - m.book.totals.qty_lots[side]):
        return INVALID_ORDER_QTY
    key = book_key(&m.book, side, c.price_ticks)
    limit_key = m.book.max_ticks - key
    if is_market:
        if c.price_ticks != 0:
            return INVALID_PRICE
        limit_key = m.book.max_ticks
    elif <uint64_t>(c.price_ticks - 1) >= <uint64_t>m.book.max_ticks:
        return INVALID_PRICE
    if pool_find_at(&m.pool, place, c.order_id) != NONE:
        return DUPLICATE_CLIENT_ORDER_ID
    if pool_is_full(&m.pool) and time_in_force == GTC:
        return EXCEEDS_MAX_ORDERS
    if reaches(m, 1 - side, limit_key):
        return enter(m, c, side, c.owner, limit_key, NONE, time_in_force, undo)
    if time_in_force != GTC:
        return FOK_NOT_FILLED if time_in_force == FOK else IOC_NOT_FILLED
    rest(m, pool_take_at(&m.pool, place, c.order_id, undo), c, c.qty_lots, side, key, c.owner,
         undo)
    return OK


cdef inline int apply_new(
        Matcher* m, const BookCommand* c, uint32_t* place, UndoLog* undo) noexcept nogil:
    cdef int code, time_in_force
    if c.side != BUY and c.side != SELL:
        return INVALID_SIDE
    if c.order_type != LIMIT and c.order_type != MARKET:
        return INVALID_ORDER_TYPE
    time_in_force = effective_tif(c)
    code = check_terms(c, time_in_force)
    if code != OK:
        return code
    return enter_new(m, c, c.side - BUY, c.order_type == MARKET, time_in_force, place, undo)


cdef int apply_replace(
        Matcher* m, const BookCommand* c, uint32_t* place, UndoLog* undo) noexcept nogil:
    """Cancel and new in one step: side, owner and id stay, the place in the level does not."""
    cdef BookOrder* order
    cdef uint32_t slot
    cdef int64_t limit_key
    cdef int code, side
    cdef int time_in_force = effective_tif(c)
    if c.side or c.order_type or c.owner:
        return INVALID_ARGUMENT
    code = check_terms(c, time_in_force)
    if code != OK:
        return code
    slot = pool_find_at(&m.pool, place, c.order_id)
    if slot == NONE:
        return INVALID_ORDER_ID
    order = &m.pool.orders[slot]
    side = order.price_side & 1
    if c.qty_lots < 1 or c.qty_lots > MAX_SIDE_LOTS - m.book.totals.qty_lots[side]:
        return INVALID_ORDER_QTY
    if c.price_ticks < 1 or c.price_ticks > m.book.max_ticks:
        return INVALID_PRICE
    limit_key = book_key(&m.book, 1 - side, c.price_ticks)
    if reaches(m, 1 - side, limit_key):
        return enter(m, c, side, order.owner, limit_key, slot, time_in_force, undo)
    if time_in_force != GTC:
        return FOK_NOT_FILLED if time_in_force == FOK else IOC_NOT_FILLED
    remove(m, slot, undo)
    undo_save(undo, order, sizeof(BookOrder))
    rest(m, slot, c, c.qty_lots, side, m.book.max_ticks - limit_key, order.owner, undo)
    return OK


cdef inline uint32_t terms_of(const BookCommand* c) noexcept nogil:
    """Kind, side, type and time in force in one word: gcc makes it one load."""
    return (<uint32_t>c.kind | <uint32_t>c.side << 8 | <uint32_t>c.order_type << 16
            | <uint32_t>c.time_in_force << 24)


cdef inline bint only_id_and_qty(const BookCommand* c) noexcept nogil:
    # Bitwise, so that seven fields are one branch.
    return (c.price_ticks | c.owner | c.flags | c.stp | c.side | c.order_type
            | c.time_in_force) == 0


cdef inline int end_order(
        Matcher* m, uint64_t order_id, uint32_t* place, UndoLog* undo) noexcept nogil:
    cdef uint32_t slot = pool_find_at(&m.pool, place, order_id)
    if slot == NONE:
        return INVALID_ORDER_ID
    remove(m, slot, undo)
    pool_release_from(&m.pool, place, slot, undo)
    return OK


cdef inline int apply_cancel(
        Matcher* m, const BookCommand* c, uint32_t* place, UndoLog* undo) noexcept nogil:
    if c.qty_lots or not only_id_and_qty(c):
        return INVALID_ARGUMENT
    return end_order(m, c.order_id, place, undo)


cdef int apply_reduce(
        Matcher* m, const BookCommand* c, uint32_t* place, UndoLog* undo) noexcept nogil:
    cdef uint32_t slot
    if not only_id_and_qty(c):
        return INVALID_ARGUMENT
    slot = pool_find_at(&m.pool, place, c.order_id)
    if slot == NONE:
        return INVALID_ORDER_ID
    if c.qty_lots < 1:
        return INVALID_ORDER_QTY
    if c.qty_lots < m.pool.orders[slot].qty_lots:
        book_reduce(&m.book, &m.pool, slot, c.qty_lots, undo)
    else:
        remove(m, slot, undo)
        pool_release(&m.pool, slot, undo)
    return OK


cdef int apply_one(
        Matcher* m, const BookCommand* c, uint32_t* place, UndoLog* undo) noexcept nogil:
    """Apply one command; at m.end there is room for a trade with every resting order."""
    if c.kind == BOOK_NEW:
        return apply_new(m, c, place, undo)
    if c.kind == BOOK_CANCEL:
        return apply_cancel(m, c, place, undo)
    if c.kind == BOOK_REDUCE:
        return apply_reduce(m, c, place, undo)
    if c.kind == BOOK_REPLACE:
        return apply_replace(m, c, place, undo)
    return UNKNOWN_COMMAND


cdef inline int apply_plain(Matcher* m, const BookCommand* c, uint32_t* place) noexcept nogil:
    """apply_one without undo: nearly every command is a plain one, seen as such at once."""
    cdef uint32_t terms = terms_of(c)
    cdef uint32_t beyond = terms - PLAIN_NEW
    if terms == BOOK_CANCEL:
        if not rarely((c.qty_lots | c.price_ticks | c.owner | c.flags | c.stp) != 0):
            return end_order(m, c.order_id, place, <UndoLog*>&NO_UNDO)
    elif not rarely((beyond & ~<uint32_t>(PLAIN_SELL | PLAIN_GTC) | c.flags | c.stp) != 0):
        return enter_new(m, c, beyond >> 8 & 1, False, GTC, place, <UndoLog*>&NO_UNDO)
    return apply_one(m, c, place, <UndoLog*>&NO_UNDO)


cdef uint64_t apply_single(
        Matcher* m, const BookCommand* c, int32_t* code, UndoLog* undo) noexcept nogil:
    """Apply one command into the book's own trades; returns how many it made."""
    m.end = m.trades
    code[0] = apply_one(m, c, pool_place(&m.pool, c.order_id), undo)
    return m.end - m.trades


cdef bint apply_bounded(Matcher* m, const BookCommand* c, int32_t* code, BookTrade* trades,
                        uint64_t room) noexcept nogil:
    """Apply one command if its trades fit into `room`; otherwise it never came. False: no fit."""
    cdef uint64_t made
    undo_begin(&m.undo)
    made = apply_single(m, c, code, &m.undo)
    m.end = trades
    if made > room:
        undo_rollback_to(&m.undo, 0)
    else:
        memcpy(trades, m.trades, made * sizeof(BookTrade))
        m.end += made
    undo_end(&m.undo)
    return made <= room


cdef inline bint may_trade(const BookCommand* c) noexcept nogil:
    return c.kind == BOOK_NEW or c.kind == BOOK_REPLACE


include "batch.pxi"


# ---- the Python surface -------------------------------------------------------------------------

cdef bint take_memory(Matcher* m, int64_t max_price_ticks, uint32_t capacity) noexcept:
    """All of a zeroed matcher's memory; whether there was enough. What there was is freed later."""
    m.trades_bytes = <uint64_t>capacity * sizeof(BookTrade)
    m.trades = <BookTrade*>arena_alloc(m.trades_bytes)
    # A page a resting order is enough: no order is ever refused for lack of levels.
    return (m.trades != NULL
            and undo_init(&m.undo, <uint64_t>capacity * UNDO_BYTES_AN_ORDER + UNDO_BYTES_EXTRA) == 0
            and pool_init(&m.pool, capacity) == 0
            and book_init(&m.book, max_price_ticks, capacity) == 0)


cdef class OrderBook:
    """A limit order book with price-time priority.

    max_price_ticks: highest price, 1..2^31 - 1; prices are 1..max_price_ticks.
    capacity: most orders that rest at once, 1..2^31 - 1. Memory is taken once, here; no later call
    allocates except for what it returns. One thread at a time: a second gets BookBusy.
    Raises ValueError for a value out of range, MemoryError when memory is short.
    """

    cdef Matcher* m
    cdef uint64_t last_count     # trades of the last single call
    cdef bint busy

    def __cinit__(self, int64_t max_price_ticks, int64_t capacity):
        if not 1 <= max_price_ticks < 1 << 31:
            raise ValueError(f"max_price_ticks must be 1..{(1 << 31) - 1}, not {max_price_ticks}")
        if not 1 <= capacity < 1 << 31:
            raise ValueError(f"capacity must be 1..{(1 << 31) - 1}, not {capacity}")
        # In pages of its own: two books in two threads must not write to one line.
        self.m = <Matcher*>arena_alloc(sizeof(Matcher))
        if self.m == NULL or not take_memory(self.m, max_price_ticks, <uint32_t>capacity):
            raise MemoryError("no memory for the order book")
        pool_prefault(&self.m.pool)
        book_prefault(&self.m.book, PREFAULT_BYTES)

    def __dealloc__(self):
        if self.m != NULL:
            book_free(&self.m.book)
            pool_free(&self.m.pool)
            undo_free(&self.m.undo)
            arena_free(self.m.trades, self.m.trades_bytes)
            arena_free(self.m, sizeof(Matcher))

    cdef int enter(self) except -1:
        if self.busy:
            raise BookBusy("the book is at work in another thread")
        return 0

    cdef int one(self, const BookCommand* command) except -1:
        """One command of a single call; its trades stay until the next one."""
        if self.busy:
            self.enter()
        cdef int32_t code
        self.last_count = apply_single(self.m, command, &code, <UndoLog*>&NO_UNDO)
        return code

    # ---- batches ----

    def apply(self, commands, trades=None, statuses=None):
        """Apply commands in order, without the GIL.

        commands: (n,) BOOK_COMMAND, C-contiguous; fields that a kind does not use are zero.
        trades: (k,) BOOK_TRADE to write into; None: one that is large enough is made.
        statuses: (>= n,) int32 to write into; None: one is made.
        Returns Applied(applied, statuses, trades): codes of the applied commands, 0 or a refusal,
        and the trades made. `applied` is below n only when the next command's trades do not fit
        into `trades`; that command has no effect and may be sent again.
        Raises TypeError or ValueError for another dtype or too few statuses, BookBusy.
        """
        cdef const BookCommand[::1] view
        cdef BookTrade[::1] trade_view
        cdef int32_t[::1] status_view
        cdef uint64_t count, done = 0, made = 0, room
        cdef const BookCommand* first
        cdef BookTrade* first_trade = NULL
        self.enter()
        if commands.dtype != BOOK_COMMAND:
            raise TypeError(f"commands must have dtype BOOK_COMMAND, not {commands.dtype}")
        view = commands
        count = view.shape[0]
        if trades is None:
            # A trade ends a resting order or is the last of its command.
            trades = np.empty(len(self) + 2 * count, BOOK_TRADE)
        elif trades.dtype != BOOK_TRADE:
            raise TypeError(f"trades must have dtype BOOK_TRADE, not {trades.dtype}")
        if statuses is None:
            statuses = np.empty(count, np.int32)
        trade_view = trades
        status_view = statuses
        if <uint64_t>status_view.shape[0] < count:
            raise ValueError(f"statuses has {status_view.shape[0]} places for {count} commands")
        room = trade_view.shape[0]
        self.last_count = 0
        if count != 0:
            first = &view[0]
            if room != 0:
                first_trade = &trade_view[0]
            self.busy = True
            with nogil:
                done = apply_all(self.m, first, count, &status_view[0], first_trade, room, &made)
            self.busy = False
        return Applied(done, statuses[:done], trades[:made])

    # ---- single calls ----

    def add(self, uint64_t order_id, uint8_t side, int64_t price_ticks, int64_t qty_lots,
            uint8_t order_type=LIMIT, uint8_t time_in_force=0, uint32_t flags=0, uint32_t owner=0,
            uint32_t stp=0):
        """Add one order; returns 0 or the refusal's code. Trades: `last_trades()`.

        order_id: any uint64 that no resting order has. side: Side.BUY or Side.SELL.
        price_ticks: 1..max_price_ticks, 0 for MARKET. qty_lots: >= 1. order_type: OrderType.LIMIT
        or MARKET. time_in_force: GTC, IOC or FOK; 0 is GTC for LIMIT and IOC for MARKET. flags:
        ExecFlag.POST_ONLY or 0. owner: orders of one owner do not trade when stp says so.
        stp: SelfTrade.STP_MAKER, STP_TAKER or STP_BOTH cancels those; 0: owners do not matter.
        Raises OverflowError for an int that does not fit its field, BookBusy.
        """
        cdef BookCommand command
        command.order_id = order_id
        command.price_ticks = price_ticks
        command.qty_lots = qty_lots
        command.owner = owner
        command.kind = BOOK_NEW
        command.side = side
        command.order_type = order_type
        command.time_in_force = time_in_force
        command.flags = flags
        command.stp = stp
        return self.one(&command)

    def cancel(self, uint64_t order_id):
        """Cancel one order; returns 0, or 212 when no such order rests."""
        cdef BookCommand command = BookCommand(order_id, 0, 0, 0, BOOK_CANCEL, 0, 0, 0, 0, 0)
        return self.one(&command)

    def reduce(self, uint64_t order_id, int64_t lots):
        """Take lots (>= 1) off an order; it keeps its place. All its lots or more remove it.

        Returns 0, 212 unknown order, 213 lots below 1.
        """
        cdef BookCommand command = BookCommand(order_id, 0, lots, 0, BOOK_REDUCE, 0, 0, 0, 0, 0)
        return self.one(&command)

    def replace(self, uint64_t order_id, int64_t price_ticks, int64_t qty_lots,
                uint8_t time_in_force=0, uint32_t flags=0, uint32_t stp=0):
        """Cancel an order and enter it anew in one step, under its id, at the end of its level.

        qty_lots: what is to rest or trade from now on, not a total. Side and owner stay. When the
        new order is refused, the old one stays where it was. Returns 0 or the refusal's code.
        """
        cdef BookCommand command = BookCommand(
            order_id, price_ticks, qty_lots, 0, BOOK_REPLACE, 0, 0, time_in_force, flags, stp)
        return self.one(&command)

    def last_trades(self):
        """Trades of the last single call, (k,) BOOK_TRADE, a copy; read-only."""
        self.enter()
        if self.last_count == 0:
            return NO_TRADES
        # An array over bytes takes half the time of an empty one and a typed view to fill it.
        return FROM_BUFFER(PyBytes_FromStringAndSize(
            <char*>self.m.trades, self.last_count * sizeof(BookTrade)), BOOK_TRADE)

    # ---- queries ----

    def __len__(self):
        return self.m.pool.state.live_count

    def __contains__(self, uint64_t order_id):
        self.enter()
        return pool_find(&self.m.pool, order_id) != NONE

    @property
    def max_price_ticks(self):
        """Highest price in ticks."""
        return self.m.book.max_ticks

    @property
    def capacity(self):
        """Most orders that rest at once."""
        return self.m.pool.capacity

    cdef int index(self, int side) except -1:
        self.enter()
        if side != BUY and side != SELL:
            raise ValueError(f"side must be BUY (1) or SELL (2), not {side}")
        return side - BUY

    def best(self, int side):
        """Best price of a side in ticks, None when it is empty."""
        cdef int64_t price_ticks = book_best(&self.m.book, self.index(side))
        return None if price_ticks < 0 else price_ticks

    def order_count(self, int side):
        """Orders that rest on a side."""
        return self.m.book.totals.order_count[self.index(side)]

    def qty_lots(self, int side):
        """Lots that rest on a side."""
        return self.m.book.totals.qty_lots[self.index(side)]

    def depth(self, int side, levels=None):
        """Levels of a side, best first: (k,) BOOK_LEVEL, at most `levels` of them."""
        cdef int at = self.index(side)
        cdef PriceMap* levels_map = book_side(&self.m.book, at)
        cdef uint64_t count = levels_map.state.tick_count
        cdef uint64_t i
        cdef uint32_t slot
        cdef int64_t price_ticks = book_best(&self.m.book, at)
        cdef LevelRecord[::1] view
        if levels is not None:
            if levels < 0:
                raise ValueError(f"levels must not be negative, not {levels}")
            count = min(count, levels)
        found = np.zeros(count, BOOK_LEVEL)
        view = found
        for i in range(count):
            view[i].price_ticks = price_ticks
            view[i].qty_lots = book_level_lots(&self.m.book, at, price_ticks)
            slot = book_head(&self.m.book, at, price_ticks)
            while slot != NONE:
                view[i].order_count += 1
                slot = self.m.pool.orders[slot].next
            price_ticks = book_next_level(&self.m.book, at, price_ticks)
        return found

    def order(self, uint64_t order_id):
        """The order as RestingOrder, None when no such order rests."""
        self.enter()
        cdef uint32_t slot = pool_find(&self.m.pool, order_id)
        if slot == NONE:
            return None
        cdef BookOrder* order = &self.m.pool.orders[slot]
        return RestingOrder(order.order_id, (order.price_side & 1) + BUY, order.price_side >> 1,
                            order.qty_lots, order.owner)

    def orders(self, int side):
        """Orders of a side in the order in which they would fill: (k,) BOOK_ORDER."""
        cdef int at = self.index(side)
        cdef int64_t price_ticks = book_best(&self.m.book, at)
        cdef uint32_t slot
        cdef uint64_t i = 0
        found = np.zeros(self.m.book.totals.order_count[at], BOOK_ORDER)
        cdef OrderRecord[::1] view = found
        while price_ticks >= 0:
            slot = book_head(&self.m.book, at, price_ticks)
            while slot != NONE:
                view[i].order_id = self.m.pool.orders[slot].order_id
                view[i].price_ticks = price_ticks
                view[i].qty_lots = self.m.pool.orders[slot].qty_lots
                view[i].owner = self.m.pool.orders[slot].owner
                view[i].side = side
                i += 1
                slot = self.m.pool.orders[slot].next
            price_ticks = book_next_level(&self.m.book, at, price_ticks)
        return found
