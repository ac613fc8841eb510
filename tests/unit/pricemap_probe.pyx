"""Drives the price map, the order pool and the undo log against dicts; built by test_pricemap."""
import bisect

from libc.stdint cimport uint32_t

from perpcore.book cimport (
    OrderPool, pool_find, pool_free, pool_init, pool_release, pool_take,
)
from perpcore.pricemap cimport (
    Cell, PriceMap, pricemap_enter, pricemap_erase, pricemap_find, pricemap_free, pricemap_has_room,
    pricemap_init, pricemap_is_open, pricemap_min, pricemap_next, pricemap_open_page,
)
from perpcore.records cimport NONE as NO_SLOT
from perpcore.undo cimport (
    UndoLog, undo_begin, undo_end, undo_free, undo_init, undo_mark, undo_rollback_to, undo_save,
)

NONE = <uint32_t>NO_SLOT


def init_code(max_tick, pages):
    """What pricemap_init answers."""
    cdef PriceMap m
    code = pricemap_init(&m, max_tick, pages, sizeof(Cell))
    pricemap_free(&m)
    return code


cdef class Map:
    """A price map with its undo log; the head of a cell is the value."""

    cdef PriceMap m
    cdef UndoLog undo

    def __cinit__(self, max_tick, pages):
        assert pricemap_init(&self.m, max_tick, pages, sizeof(Cell)) == 0
        assert undo_init(&self.undo, 1 << 24) == 0

    def __dealloc__(self):
        pricemap_free(&self.m)
        undo_free(&self.undo)

    def begin(self):
        undo_begin(&self.undo)

    def mark(self):
        return undo_mark(&self.undo)

    def roll_back(self, mark):
        undo_rollback_to(&self.undo, mark)

    def end(self):
        undo_end(&self.undo)

    def image(self):
        """Every byte that the map may change."""
        return (self.m.state.min_tick, self.m.state.free_count, self.m.state.tick_count,
                (<char*>self.m.arena)[:self.m.arena_bytes],
                (<char*>self.m.pool)[:self.m.pool_bytes])

    def has_room(self, tick):
        return pricemap_has_room(&self.m, tick)

    def put(self, tick, value):
        cdef Cell* cell
        if not pricemap_is_open(&self.m, tick):
            pricemap_open_page(&self.m, tick, &self.undo)
        cell = pricemap_enter(&self.m, tick, &self.undo)
        undo_save(&self.undo, cell, sizeof(Cell))
        before = cell.head
        cell.head = value
        cell.last = 1
        return before

    def erase(self, tick):
        pricemap_erase(&self.m, pricemap_find(&self.m, tick), tick, &self.undo)

    def get(self, tick):
        cdef Cell* cell = pricemap_find(&self.m, tick)
        return None if cell == NULL else cell.head

    def minimum(self):
        return pricemap_min(&self.m)

    def after(self, tick):
        return pricemap_next(&self.m, tick)

    def ticks(self):
        """All set ticks, walked from the smallest."""
        found = []
        tick = self.minimum()
        while tick >= 0:
            found.append(tick)
            tick = self.after(tick)
        return found

    def pages_used(self):
        return self.m.page_capacity - self.m.state.free_count

    def check(self, model, probes):
        """The map answers like the dict, at `probes` too."""
        ticks = sorted(model)
        assert self.minimum() == (ticks[0] if ticks else -1)
        assert self.m.state.tick_count == len(ticks)
        assert self.pages_used() == len({tick >> 6 for tick in ticks})
        for tick in probes:
            at = bisect.bisect_right(ticks, tick)
            assert self.after(tick) == (ticks[at] if at < len(ticks) else -1)
            assert self.get(tick) == model.get(tick)


cdef class Pool:
    """An order pool with its undo log."""

    cdef OrderPool pool
    cdef UndoLog undo

    def __cinit__(self, capacity):
        assert pool_init(&self.pool, capacity) == 0
        assert undo_init(&self.undo, 1 << 22) == 0

    def __dealloc__(self):
        pool_free(&self.pool)
        undo_free(&self.undo)

    def begin(self):
        undo_begin(&self.undo)

    def roll_back(self):
        undo_rollback_to(&self.undo, 0)
        undo_end(&self.undo)

    def image(self):
        return (self.pool.state.free_head, self.pool.state.fresh, self.pool.state.live_count,
                (<char*>self.pool.orders)[:self.pool.arena_bytes])

    def take(self, order_id):
        return pool_take(&self.pool, order_id, &self.undo)

    def release(self, slot):
        pool_release(&self.pool, slot, &self.undo)

    def find(self, order_id):
        return pool_find(&self.pool, order_id)

    def __len__(self):
        return self.pool.state.live_count
