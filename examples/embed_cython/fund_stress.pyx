"""What would a fall of the mark cost the insurance fund? perpcore's rooms without a venue.

Bids rest in a `perpcore.book` book, liquidation marks come from `perpcore.margin`. Both are inline
functions over plain structs: this module compiles them in and calls nothing of the package.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.book cimport (
    BOOK_BUY, Book, BookOrder, OrderPool, book_best, book_free, book_head, book_init,
    book_insert, book_reduce, book_remove, pool_free, pool_init, pool_release, pool_take,
)
from perpcore.int128 cimport add64, mul64, sub64
from perpcore.margin cimport Rate, liquidation_threshold, rate_ceil, rate_reduce
from perpcore.undo cimport UndoLog


cdef class Bids:
    """Resting buy orders, best price first, then first come, first served.

    max_ticks: highest price. capacity: most orders at once. Raises MemoryError.
    """

    cdef Book book
    cdef OrderPool pool
    cdef UndoLog undo            # zeroed, which is off: nothing here is ever taken back
    cdef uint64_t last_id

    def __cinit__(self, int64_t max_ticks, uint32_t capacity):
        if pool_init(&self.pool, capacity) != 0 or book_init(&self.book, max_ticks, capacity) != 0:
            raise MemoryError("no memory for the bids")

    def __dealloc__(self):
        book_free(&self.book)
        pool_free(&self.pool)

    def rest(self, const int64_t[::1] price_ticks, const int64_t[::1] qty_lots):
        """Add (n,) bids in order; raises ValueError for what does not fit, and adds none."""
        cdef Py_ssize_t i
        if price_ticks.shape[0] != qty_lots.shape[0]:
            raise ValueError("price_ticks and qty_lots have different lengths")
        for i in range(price_ticks.shape[0]):
            if not 1 <= price_ticks[i] <= self.book.max_ticks or qty_lots[i] < 1:
                raise ValueError(f"bid {i}: {qty_lots[i]} lots at {price_ticks[i]} ticks")
        if <uint64_t>self.pool.state.live_count + price_ticks.shape[0] > self.pool.capacity:
            raise ValueError(f"there is room for {self.pool.capacity} bids")
        with nogil:
            for i in range(price_ticks.shape[0]):
                self.add(price_ticks[i], qty_lots[i])

    cdef void add(self, int64_t price_ticks, int64_t qty_lots) noexcept nogil:
        self.last_id += 1
        cdef uint32_t slot = pool_take(&self.pool, self.last_id, &self.undo)
        cdef BookOrder* order = &self.pool.orders[slot]
        order.price_side = <uint32_t>(price_ticks << 1) | <uint32_t>BOOK_BUY
        order.qty_lots = qty_lots
        order.owner = 0
        book_insert(&self.book, &self.pool, slot, &self.undo)

    cdef int64_t sell(self, int64_t* qty_lots) noexcept nogil:
        """Sell into the bids; returns the sum of price x lots. *qty_lots: what they leave."""
        cdef int64_t price_ticks, taken, proceeds = 0
        cdef uint32_t slot
        while qty_lots[0] > 0:
            price_ticks = book_best(&self.book, BOOK_BUY)
            if price_ticks < 0:
                break
            slot = book_head(&self.book, BOOK_BUY, price_ticks)
            taken = self.pool.orders[slot].qty_lots
            if taken > qty_lots[0]:
                taken = qty_lots[0]
                book_reduce(&self.book, &self.pool, slot, taken, &self.undo)
            else:
                book_remove(&self.book, &self.pool, slot, &self.undo)
                pool_release(&self.pool, slot, &self.undo)
            proceeds = add64(proceeds, mul64(taken, price_ticks))
            qty_lots[0] -= taken
        return proceeds

    @property
    def qty_lots(self):
        """Lots that still rest."""
        return self.book.totals.qty_lots[BOOK_BUY]

    @property
    def best_ticks(self):
        """Best price, -1 when nothing rests."""
        return book_best(&self.book, BOOK_BUY)


def liquidation_marks(const int64_t[::1] qty_lots, const int64_t[::1] cost_units,
                      const int64_t[::1] cash_units, int64_t[::1] out, *, int64_t value_units,
                      uint64_t rate_num, uint64_t rate_den, int64_t max_mark_ticks):
    """The first mark that liquidates each of n isolated positions, into `out` (SPEC Q2).

    qty_lots: not 0, short below 0. value_units: money units of one mark tick x one lot. The rate is
    maintenance + fee reserve, below 1. Long: this mark and every lower one; 0: none. Short: this
    mark and every higher one; max_mark_ticks + 1: none.
    """
    cdef Rate a = rate_reduce(rate_num, rate_den)
    cdef Py_ssize_t i
    if not (qty_lots.shape[0] == cost_units.shape[0] == cash_units.shape[0] == out.shape[0]):
        raise ValueError("the four arrays have different lengths")
    for i in range(qty_lots.shape[0]):
        if qty_lots[i] == 0:
            raise ValueError(f"position {i} is flat")
    with nogil:
        for i in range(qty_lots.shape[0]):
            out[i] = liquidation_threshold(
                cash_units[i], qty_lots[i], cost_units[i], value_units, a, max_mark_ticks)


def fund_result(Bids bids, const int64_t[::1] qty_lots, const int64_t[::1] cost_units,
                const int64_t[::1] cash_units, *, int64_t value_units, uint64_t fee_e9):
    """Sell n longs into the bids, in order, and add up what is left of each (SPEC Q4).

    Returns (gain, loss, unsold): money units that the fund keeps, that it pays, and lots that no
    bid took: a position that is not sold out counts neither way. fee_e9: share of the proceeds.
    """
    cdef Rate fee = rate_reduce(fee_e9, 1_000_000_000)
    cdef Py_ssize_t i
    cdef int64_t left, proceeds, rest, gain = 0, loss = 0, unsold = 0
    if not qty_lots.shape[0] == cost_units.shape[0] == cash_units.shape[0]:
        raise ValueError("the three arrays have different lengths")
    with nogil:
        for i in range(qty_lots.shape[0]):
            left = qty_lots[i]
            proceeds = mul64(bids.sell(&left), value_units)
            if left:
                unsold = add64(unsold, left)
                continue
            rest = sub64(add64(cash_units[i], proceeds), cost_units[i])
            rest = sub64(rest, rate_ceil(proceeds, fee))
            if rest >= 0:
                gain = add64(gain, rest)
            else:
                loss = sub64(loss, rest)
    return gain, loss, unsold
