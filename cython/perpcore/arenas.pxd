"""Floor 3.1: the venue's memory: all arenas are taken at once, and given back at once."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from perpcore.book cimport book_free, book_init, pool_free, pool_init
from perpcore.memory cimport arena_alloc, arena_free, arena_prefault
from perpcore.policies cimport ADL_PRO_RATA, COLLATERAL_IN_KIND
from perpcore.pricemap cimport pricemap_free, pricemap_init
from perpcore.records cimport NONE, Event, VenueTerms
from perpcore.sort cimport Ranked
from perpcore.state cimport (
    MAX_CONTRACTS, REFERENCES, Account, BlockUsdc, Bucket, Chunk, Core, Dormant, Leg, LegExtra,
    LegOrders, Live, Market, OrderCold, OrderRare, Timer, Unit, first_spare_leg, is_in_kind,
    write_events_to,
)
from perpcore.undo cimport undo_free, undo_init
from perpcore.unitset cimport unitset_bytes

cdef enum:
    PREFAULT_BYTES = 8 << 20     # of the orders' records that are committed at creation


cdef inline void* take_arena(Core* e, int place, uint64_t bytes_) noexcept nogil:
    e.sizes[place] = bytes_
    return arena_alloc(bytes_)


cdef inline void core_free(Core* e) noexcept nogil:
    """Give everything back; a core that is half made too."""
    cdef uint32_t i
    if e.markets != NULL:
        for i in range(e.h.contract_count):
            market_free(&e.markets[i])
    arena_free(e.markets, e.sizes[0])
    arena_free(e.accounts, e.sizes[1])
    arena_free(e.units, e.sizes[2])
    arena_free(e.groups, e.sizes[4])
    arena_free(e.cold, e.sizes[5])
    arena_free(e.chunks, e.sizes[6])
    arena_free(e.timers, e.sizes[7])
    arena_free(e.client_index, e.sizes[8])
    arena_free(e.touched, e.sizes[9])
    arena_free(e.dirty, e.sizes[10])
    arena_free(e.event_arena, e.sizes[11])
    arena_free(e.tested, e.sizes[12])
    arena_free(e.ranked, e.sizes[13])
    arena_free(e.ended, e.sizes[14])
    arena_free(e.dormant, e.sizes[15])
    arena_free(e.block_usdc, e.sizes[16])
    arena_free(e.order_usdc, e.sizes[17])
    arena_free(e.rare, e.sizes[18])
    arena_free(e.extras, e.sizes[19])
    arena_free(e.needy, e.sizes[20])
    arena_free(e.settling, e.sizes[3])
    pool_free(&e.pool)
    undo_free(&e.undo)
    memset(e, 0, sizeof(Core))


cdef inline int core_init(Core* e, const VenueTerms* terms) noexcept nogil:
    """Take all memory of a venue, zeroed and committed when first touched; 0, or -1 without room.

    What one command may append or change is bounded by what exists: the event and undo arenas are
    sized by that bound, so that no command can run out of either.
    """
    cdef uint64_t units = <uint64_t>terms.unit_capacity + 1
    cdef uint64_t legs = <uint64_t>terms.leg_capacity + 1
    cdef uint64_t orders = <uint64_t>terms.order_capacity + 1
    cdef uint64_t clients = 2 * orders + 64
    # Deleveraging pro rata may close all units of a side at each step of a liquidation.
    cdef uint64_t steps = 16 if terms.adl_rank == ADL_PRO_RATA else 1
    memset(e, 0, sizeof(Core))
    e.terms = terms[0]
    e.client_count = clients
    e.h.unit_free = e.h.leg_free = e.h.group_free = e.h.chunk_free = NONE
    e.h.session = 1
    e.h.next_isolation_id = 1
    e.event_capacity = 65536 + steps * 40 * units + 32 * orders
    e.markets = <Market*>take_arena(e, 0, MAX_CONTRACTS * sizeof(Market))
    e.accounts = <Account*>take_arena(
        e, 1, (<uint64_t>terms.account_capacity + 1) * sizeof(Account))
    # Legs that are no unit's own lie behind the units.
    e.units = <Unit*>take_arena(e, 2, units * sizeof(Unit) + legs * sizeof(Leg))
    e.legs = <Leg*>e.units
    e.h.leg_top = first_spare_leg(e)
    e.groups = <LegOrders*>take_arena(e, 4, legs * sizeof(LegOrders))
    e.cold = <OrderCold*>take_arena(e, 5, orders * sizeof(OrderCold))
    # A chunk a leg is enough: every chunk that is in use holds one at least.
    e.chunks = <Chunk*>take_arena(e, 6, legs * sizeof(Chunk))
    e.timers = <Timer*>take_arena(
        e, 7, (orders + terms.account_capacity) * sizeof(Timer))
    e.client_index = <uint32_t*>take_arena(e, 8, clients * sizeof(uint32_t))
    e.touched = <uint32_t*>take_arena(e, 9, units * sizeof(uint32_t))
    e.dirty = <uint32_t*>take_arena(e, 10, units * sizeof(uint32_t))
    e.event_arena = <Event*>take_arena(e, 11, e.event_capacity * sizeof(Event))
    write_events_to(e, e.event_arena, e.event_capacity)
    e.tested = <uint32_t*>take_arena(e, 12, units * sizeof(uint32_t))
    # Twice, as a long row is sorted into the room behind it.
    e.ranked = <Ranked*>take_arena(e, 13, 2 * units * sizeof(Ranked))
    e.ended = <Ranked*>take_arena(e, 14, orders * sizeof(Ranked))
    e.dormant = <Dormant*>take_arena(e, 15, orders * sizeof(Dormant))
    e.rare = <OrderRare*>take_arena(e, 18, orders * sizeof(OrderRare))
    e.extras = <LegExtra*>take_arena(e, 19, legs * sizeof(LegExtra))
    e.needy = <uint64_t*>take_arena(e, 20, unitset_bytes(units))
    e.settling = <uint64_t*>take_arena(e, 3, unitset_bytes(units))
    if terms.block_collateral == COLLATERAL_IN_KIND:
        e.block_usdc = <BlockUsdc*>take_arena(e, 16, units * sizeof(BlockUsdc))
        e.order_usdc = <int64_t*>take_arena(e, 17, orders * sizeof(int64_t))
    cdef bint short = (
        e.markets == NULL or e.accounts == NULL or e.units == NULL
        or e.groups == NULL or e.cold == NULL or e.chunks == NULL or e.timers == NULL
        or e.client_index == NULL or e.touched == NULL or e.dirty == NULL
        or e.event_arena == NULL or e.tested == NULL or e.ranked == NULL or e.ended == NULL
        or e.dormant == NULL or e.rare == NULL or e.extras == NULL or e.needy == NULL
        or e.settling == NULL or (is_in_kind(e) and (e.block_usdc == NULL or e.order_usdc == NULL)))
    if (short or pool_init(&e.pool, terms.order_capacity) != 0
            or undo_init(
                &e.undo, (<uint64_t>1 << 24) + steps * 8192 * units + 4096 * orders) != 0):
        core_free(e)
        return -1
    # Orders that have never been are taken last of all, when the venue has run for long.
    arena_prefault(e.pool.orders, min(e.pool.arena_bytes, <uint64_t>PREFAULT_BYTES))
    arena_prefault(e.cold, min(e.sizes[5], <uint64_t>PREFAULT_BYTES))
    return 0


cdef inline void market_free(Market* m) noexcept nogil:
    cdef int i
    book_free(&m.book)
    for i in range(REFERENCES):
        book_free(&m.triggers[i])
    pricemap_free(&m.longs)
    pricemap_free(&m.shorts)


cdef inline int market_init(Core* e, Market* m) noexcept nogil:
    """Book and threshold maps of a contract whose terms are set; 0, or -1 without room."""
    # A page holds 64 ticks and each filed leg needs one at most.
    cdef int64_t pages = min((m.terms.max_mark_ticks >> 6) + 1, <int64_t>e.terms.leg_capacity + 1)
    cdef int i
    memset(&m.live, 0, sizeof(Live))
    for i in range(REFERENCES):
        if book_init(&m.triggers[i], m.terms.terms.max_price_ticks, e.terms.page_capacity) != 0:
            market_free(m)
            return -1
    if (book_init(&m.book, m.terms.terms.max_price_ticks, e.terms.page_capacity) != 0
            or pricemap_init(
                &m.longs, m.terms.max_mark_ticks, <uint32_t>pages, sizeof(Bucket)) != 0
            or pricemap_init(
                &m.shorts, m.terms.max_mark_ticks, <uint32_t>pages, sizeof(Bucket)) != 0):
        market_free(m)
        return -1
    return 0
