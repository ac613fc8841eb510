"""Floor 8.7: an engine as its callers hold it: made, listed into, applied to, one thread at a time.

C, C++, Cython and Python all come through here, so that no gate can be walked around (A3).
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from perpcore.accounts cimport MAX_USDC_DEPOSITS
from perpcore.arenas cimport core_free, core_init, market_init
from perpcore.book cimport (
    LINK_SLOT, Book, BookOrder, book_best, book_head, pool_place, pool_prefetch_id,
)
from perpcore.codes cimport BUY, IOC, MARK, SELL
from perpcore.contract cimport (
    E9, MAX_DEPOSITS, SYMBOL_EXISTS, TERMS_OK, rate_is_fraction, terms_validate,
)
from perpcore.dispatch cimport apply_one, preview_one
from perpcore.int128 cimport i128_from
from perpcore.memory cimport arena_alloc, arena_free, prefetch
from perpcore.policies cimport policies_fit
from perpcore.records cimport NONE, Command, ContractTerms, Event, VenueTerms
from perpcore.state cimport (
    MAX_CONTRACTS, Account, Core, Market, OrderCold, own_leg, prefetch_leg, prefetch_order,
    prefetch_unit, write_events_to,
)

cdef extern from "perpcore/owner.hpp" nogil:
    bint owner_enter "perpcore::owner_enter"(int* flag) noexcept
    void owner_leave "perpcore::owner_leave"(int* flag) noexcept

cdef extern from "perpcore/api.h" nogil:
    enum:
        STATUS_OK "PERPCORE_STATUS_OK"
        STATUS_BAD_ARGUMENT "PERPCORE_STATUS_BAD_ARGUMENT"
        STATUS_BUSY "PERPCORE_STATUS_BUSY"
        STATUS_NO_MEMORY "PERPCORE_STATUS_NO_MEMORY"
        STATUS_BAD_TERMS "PERPCORE_STATUS_BAD_TERMS"
        STATUS_NOT_ADMIN "PERPCORE_STATUS_NOT_ADMIN"
        STATUS_NOT_FOUND "PERPCORE_STATUS_NOT_FOUND"
        STATUS_FULL "PERPCORE_STATUS_FULL"

cdef enum:
    # By how many commands each visit of `look_ahead` is early: a load takes about one command.
    AHEAD_RECORD = 20
    AHEAD_ACCOUNT = 14
    AHEAD_UNIT = 10
    AHEAD_LEG = 6
    AHEAD_ORDERS = 3
    AHEAD_KEPT = 16              # more than AHEAD_UNIT

# What the visits of a coming command have found: places in their arenas, any that are in range.
cdef struct Ahead:
    uint32_t slot
    uint32_t main
    uint32_t block
    uint32_t leg
    uint32_t block_leg

cdef struct Host:
    Core core
    Ahead ahead[16]              # AHEAD_KEPT
    int busy                     # the owner flag
    uint64_t delivered           # events of the last command that were handed out already


cdef inline bint capacity_fits(uint32_t count) noexcept nogil:
    return 1 <= count <= 0x7FFFFFFF


cdef inline bint venue_terms_fit(const VenueTerms* t) noexcept nogil:
    """Every limit of the venue's own terms."""
    return (0 <= t.fund_opening_units[0] < MAX_DEPOSITS
            and 0 <= t.fund_opening_units[1] < MAX_USDC_DEPOSITS
            and rate_is_fraction(t.usdc_haircut_e9, E9)
            and t.max_orders_per_account >= 0 and t.max_blocks_per_account >= 0
            and t.account_notional_limit_units >= 0
            and capacity_fits(t.account_capacity) and capacity_fits(t.unit_capacity)
            and capacity_fits(t.leg_capacity) and capacity_fits(t.order_capacity)
            # Every unit has a leg of its own; 2^31 has a meaning in the index of thresholds.
            and 2 * (<uint64_t>t.unit_capacity + 1) + t.leg_capacity < 0x7FFFFFFF
            and capacity_fits(t.page_capacity) and policies_fit(t))


cdef inline Host* host_create(const VenueTerms* terms, int* status) noexcept nogil:
    """A venue with all its memory, or NULL and why."""
    cdef Host* host
    cdef int i
    if not venue_terms_fit(terms):
        status[0] = STATUS_BAD_ARGUMENT
        return NULL
    status[0] = STATUS_NO_MEMORY
    # In pages of its own: two venues in two threads must not write to one line.
    host = <Host*>arena_alloc(sizeof(Host))
    if host == NULL:
        return NULL
    if core_init(&host.core, terms) != 0:
        arena_free(host, sizeof(Host))
        return NULL
    for i in range(2):
        host.core.h.fund_units[i] = i128_from(terms.fund_opening_units[i])
        host.core.h.deposits_units[i] = i128_from(terms.fund_opening_units[i])
    status[0] = STATUS_OK
    return host


cdef inline void host_destroy(Host* host) noexcept nogil:
    if host != NULL:
        core_free(&host.core)
        arena_free(host, sizeof(Host))


cdef inline int host_add_contract(Host* host, const ContractTerms* terms, uint64_t key,
                                  uint32_t* number, int* breach) noexcept nogil:
    """List a contract (U2); the limits of all its products are proven here."""
    cdef Core* e = &host.core
    cdef Market* m
    cdef uint32_t i
    breach[0] = TERMS_OK
    if key != e.admin_key:
        return STATUS_NOT_ADMIN
    if e.h.contract_count >= MAX_CONTRACTS:
        return STATUS_FULL
    for i in range(e.h.contract_count):
        if memcmp(e.markets[i].terms.terms.symbol, terms.symbol, sizeof(terms.symbol)) == 0:
            breach[0] = SYMBOL_EXISTS
            return STATUS_BAD_TERMS
    m = &e.markets[e.h.contract_count]
    memset(m, 0, sizeof(Market))
    m.terms.terms = terms[0]
    breach[0] = terms_validate(terms, &m.terms.v, &m.terms.rates)
    if breach[0] != TERMS_OK:
        return STATUS_BAD_TERMS
    m.terms.k = terms.marks_per_tick
    m.terms.max_mark_ticks = terms.max_price_ticks * terms.marks_per_tick
    if market_init(e, m) != 0:
        return STATUS_NO_MEMORY
    number[0] = e.h.contract_count
    e.h.contract_count += 1
    return STATUS_OK


cdef inline uint64_t deliver(Host* host, Event* out, uint64_t capacity) noexcept nogil:
    """Hand out what is left of the last command's events, as far as there is room."""
    cdef uint64_t count = host.core.event_count - host.delivered
    count = count if count < capacity else capacity
    memcpy(out, host.core.events + host.delivered, count * sizeof(Event))
    host.delivered += count
    return count


cdef inline bint all_delivered(const Host* host) noexcept nogil:
    return host.delivered == host.core.event_count


cdef inline void look_ahead(Host* host, const Command* commands, uint64_t at,
                            uint64_t count) noexcept nogil:
    """Start loading what the commands after the one at `at` will read.

    A record is found through the one before it (account, unit, leg, its orders; or id, order, leg,
    unit), so each command is visited several times: every visit follows what the last one has
    brought. A hint changes nothing; what it reads was true a moment ago, and every index read is
    within its arena. New orders and cancels, cross and isolated come at random: a branch on which
    it is would be foreseen wrong at every visit, so that all is asked for, and what a command does
    not have is asked for at slot 0.
    """
    cdef Core* e = &host.core
    cdef const Command* c = commands + at
    cdef uint64_t left = count - at
    if left > AHEAD_RECORD:
        prefetch(&c[AHEAD_RECORD])
        prefetch(<const char*>&c[AHEAD_RECORD] + 64)
    pool_prefetch_id(&e.pool, e.h.seq + AHEAD_RECORD)
    if left > AHEAD_ACCOUNT:
        prefetch(&e.accounts[ahead_owner(e, &c[AHEAD_ACCOUNT])])
        pool_prefetch_id(&e.pool, c[AHEAD_ACCOUNT].order_id)
    if left > AHEAD_UNIT:
        ahead_unit(e, &c[AHEAD_UNIT], &host.ahead[(at + AHEAD_UNIT) % AHEAD_KEPT])
        ahead_makers(e, &c[AHEAD_UNIT], 0)
    if left > AHEAD_LEG:
        ahead_leg(e, &c[AHEAD_LEG], &host.ahead[(at + AHEAD_LEG) % AHEAD_KEPT])
    if left > AHEAD_ORDERS:
        ahead_orders(e, &host.ahead[(at + AHEAD_ORDERS) % AHEAD_KEPT])
        ahead_makers(e, &c[AHEAD_ORDERS], 1)


cdef inline void ahead_makers(Core* e, const Command* c, int step) noexcept nogil:
    """The orders that an IOC meets first: at each step one order more, and one record further."""
    cdef Book* book
    cdef int64_t best
    cdef uint32_t slot
    if (c.time_in_force != IOC or c.contract >= e.h.contract_count
            or (c.side != BUY and c.side != SELL)):
        return
    book = &e.markets[c.contract].book
    best = book_best(book, 0 if c.side == SELL else 1)
    slot = NONE if best < 0 else book_head(book, 0 if c.side == SELL else 1, best)
    while slot != NONE:
        if step == 0:
            prefetch_order(e, slot)
            return
        if step == 1:
            prefetch_leg(e, e.pool.orders[slot].owner)
        slot = e.pool.orders[slot].next
        step -= 1


cdef inline uint32_t one_of(bint first, uint32_t a, uint32_t b) noexcept nogil:
    """a if `first`, else b; without a branch."""
    return b ^ ((a ^ b) & (0 - <uint32_t>first))


cdef inline uint32_t some(uint32_t i) noexcept nogil:
    """An index, 0 for NONE."""
    return one_of(i == NONE, 0, i)


cdef inline uint32_t ahead_owner(Core* e, const Command* c) noexcept nogil:
    return one_of(c.account < e.h.account_count, c.account, 0)


cdef inline void ahead_unit(Core* e, const Command* c, Ahead* a) noexcept nogil:
    """The order at the place of the id; the account's units: a cross order's limits count its
    block too (O4)."""
    cdef Account* account = &e.accounts[ahead_owner(e, c)]
    a.slot = some((pool_place(&e.pool, c.order_id)[0] & LINK_SLOT) - 1)
    a.main = account.unit
    a.block = one_of(account.first_block != NONE, account.first_block, account.unit)
    prefetch_order(e, a.slot)
    prefetch_unit(e, a.main)
    prefetch_unit(e, a.block)


cdef inline void ahead_leg(Core* e, const Command* c, Ahead* a) noexcept nogil:
    """The legs, and the neighbors of an order that is named."""
    cdef BookOrder* order = &e.pool.orders[a.slot]
    cdef OrderCold* cold = &e.cold[a.slot]
    a.leg = one_of(c.order_id != 0, order.owner, some(e.units[a.main].first_leg))
    a.block_leg = own_leg(a.block)
    prefetch_leg(e, a.leg)
    # The links of an order that is not in the book are those of its past: any slot, or none.
    prefetch(&e.pool.orders[some(order.prev)])
    prefetch(&e.pool.orders[some(order.next)])
    prefetch(&e.cold[some(cold.prev_order)].next_order)
    prefetch(&e.cold[some(cold.next_order)].next_order)


cdef inline void ahead_orders(Core* e, const Ahead* a) noexcept nogil:
    """What the orders of the legs add up to, and the unit of an order that is named."""
    prefetch(&e.units[some(e.legs[a.leg].unit)])
    ahead_group(e, a.leg)
    ahead_group(e, a.block_leg)


cdef inline void ahead_group(Core* e, uint32_t leg) noexcept nogil:
    prefetch(&e.groups[some(e.legs[leg].orders)])


cdef inline void host_apply(Host* host, const Command* commands, uint64_t count, Event* out,
                            uint64_t capacity, uint64_t key, uint64_t* applied,
                            uint64_t* written) noexcept nogil:
    """Commands in order until all are applied or `out` is full; nothing of a command is lost."""
    cdef Core* e = &host.core
    cdef uint64_t done = 0, filled = deliver(host, out, capacity)
    cdef bint is_administration = key == e.admin_key
    while done < count and all_delivered(host) and filled < capacity:
        if commands[done].kind != MARK:              # feeds of marks read nothing of these
            look_ahead(host, commands, done, count)
        # Straight into the caller's buffer; what does not fit is in the arena then.
        write_events_to(e, out + filled, capacity - filled)
        apply_one(e, &commands[done], is_administration)
        done += 1
        if e.events != e.event_arena:
            filled += e.event_count
            host.delivered = e.event_count
        else:
            host.delivered = 0
            filled += deliver(host, out + filled, capacity - filled)
    if all_delivered(host):
        write_events_to(e, e.event_arena, e.event_capacity)
        host.delivered = 0
    applied[0] = done
    written[0] = filled


cdef inline int host_call(Host* host, const Command* command, uint64_t key) noexcept nogil:
    """One command; its events stand in `host.core.events` until the next. Returns its code.

    The caller has asked `all_delivered`, and sets `event_count` to 0 when it has taken them.
    """
    cdef Core* e = &host.core
    write_events_to(e, e.event_arena, e.event_capacity)
    return apply_one(e, command, key == e.admin_key)


cdef inline uint64_t host_preview(Host* host, const Command* command, Event* out,
                                  uint64_t capacity, uint64_t key) noexcept nogil:
    """The events that the command would have; the engine is as it was.

    The caller has asked `all_delivered`: a preview needs the place of the last command's events.
    """
    cdef Core* e = &host.core
    cdef uint64_t count
    preview_one(e, command, key == e.admin_key)
    count = e.event_count if e.event_count < capacity else capacity
    memcpy(out, e.events, count * sizeof(Event))
    e.event_count = 0
    host.delivered = 0
    return count
