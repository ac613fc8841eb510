"""Floor 8.6: a second venue that starts where the first one stands (X3).

Records hold slots, not addresses, so that a copy of the arenas is a copy of the venue; memory that
was never used is not copied.
"""
from libc.stdint cimport uint32_t
from libc.string cimport memcpy

from perpcore.arenas cimport market_init
from perpcore.book cimport Book
from perpcore.memory cimport arena_copy
from perpcore.pricemap cimport PriceMap
from perpcore.state cimport REFERENCES, Core, Market, is_in_kind


cdef inline void copy_map(PriceMap* to, const PriceMap* source) noexcept nogil:
    to.state = source.state
    arena_copy(to.arena, source.arena, source.arena_bytes)
    arena_copy(to.pool, source.pool, source.pool_bytes)


cdef inline void copy_book(Book* to, const Book* source) noexcept nogil:
    to.totals = source.totals
    copy_map(&to.sides[0], &source.sides[0])
    copy_map(&to.sides[1], &source.sides[1])


cdef inline int copy_market(Core* to, Market* fresh, const Market* source) noexcept nogil:
    """0, or -1 when there is no memory for the contract's books."""
    cdef int reference
    fresh.terms = source.terms
    if market_init(to, fresh) != 0:
        return -1
    fresh.live = source.live
    fresh.bands = source.bands
    copy_book(&fresh.book, &source.book)
    for reference in range(REFERENCES):
        copy_book(&fresh.triggers[reference], &source.triggers[reference])
    copy_map(&fresh.longs, &source.longs)
    copy_map(&fresh.shorts, &source.shorts)
    return 0


cdef inline int core_fork(Core* to, const Core* source) noexcept nogil:
    """Fill a core that was made with the same terms and has done nothing yet; 0 or -1.

    Between two commands nobody is touched and nothing is to be filed, so that lists and events of
    the source's last command are not part of it.
    """
    cdef uint32_t contract
    for contract in range(source.h.contract_count):
        if copy_market(to, &to.markets[contract], &source.markets[contract]) != 0:
            return -1
        to.h.contract_count = contract + 1
    arena_copy(to.accounts, source.accounts, source.sizes[1])
    arena_copy(to.units, source.units, source.sizes[2])
    arena_copy(to.groups, source.groups, source.sizes[4])
    arena_copy(to.cold, source.cold, source.sizes[5])
    arena_copy(to.chunks, source.chunks, source.sizes[6])
    arena_copy(to.timers, source.timers, source.sizes[7])
    arena_copy(to.client_index, source.client_index, source.sizes[8])
    arena_copy(to.dormant, source.dormant, source.sizes[15])
    arena_copy(to.rare, source.rare, source.sizes[18])
    arena_copy(to.extras, source.extras, source.sizes[19])
    arena_copy(to.needy, source.needy, source.sizes[20])
    arena_copy(to.settling, source.settling, source.sizes[3])
    if is_in_kind(to):
        arena_copy(to.block_usdc, source.block_usdc, source.sizes[16])
        arena_copy(to.order_usdc, source.order_usdc, source.sizes[17])
    arena_copy(to.pool.orders, source.pool.orders, source.pool.arena_bytes)
    to.pool.state = source.pool.state
    to.h = source.h
    memcpy(to.sub_funds, source.sub_funds, sizeof(source.sub_funds))
    to.epoch = source.epoch
    to.command_epoch = source.command_epoch
    return 0
