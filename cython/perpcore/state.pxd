"""Floor 3: the venue's records: units, legs, orders and accounts behind u32 indices.

Nothing here decides anything. Every writer calls one of the `edit_*` functions first, which hand
the record to the undo log; a rolled-back command is bit for bit a command that never came.
"""
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from perpcore.book cimport Book, BookOrder, OrderPool
from perpcore.contract cimport Contract
from perpcore.int128 cimport i128, i128_add, i128_from
from perpcore.memory cimport CHECK, prefetch, rarely
from perpcore.policies cimport COLLATERAL_IN_KIND
from perpcore.pricemap cimport PriceMap
from perpcore.records cimport NONE, Event, VenueTerms
from perpcore.sort cimport Ranked
from perpcore.unitset cimport unitset_add
from perpcore.undo cimport (
    UndoLog, undo_begin, undo_end, undo_mark, undo_rollback_to, undo_save,
)

cdef enum:
    MAX_CONTRACTS = 64
    CELL_IDS = 3
    CHUNK_IDS = 6
    IN_CELL = 0xFFFFFFFE         # of Leg.chunk: it stands in the map's cell
    SIZES_COUNT = 21
    REFERENCES = 3               # mark, index, last price: codes.Scope TRIGGER_*
    NO_CONTRACT = 0xFFFF
    AHEAD_EVENTS = 12            # how early the place of an event is asked for

cdef extern from "perpcore/order.hpp" nogil:
    # The part of an order that matching does not read.
    cdef struct OrderCold "perpcore::OrderCold":
        int64_t reserve_units
        int64_t reserved_total
        int64_t reserved_used
        int64_t size_lots
        int64_t filled_lots
        uint64_t client_order_id
        uint32_t next_order
        uint32_t prev_order
        uint32_t accept_mark_ticks
        uint16_t leverage
        uint8_t exec_flags
        uint8_t time_in_force
        uint8_t stp
        bint is_explicit
        bint in_book
        bint is_dormant
        bint has_rare

cdef extern from *:
    """
    static const uint32_t PERPCORE_ACCOUNT_TIMER = 1U << 31;
    static const uint64_t PERPCORE_ACCOUNT_TIMERS = 1ULL << 63;
    """
    # Slots of orders are below 2^31 and their ids below 2^63: accounts' timers come after them.
    const uint32_t ACCOUNT_TIMER "PERPCORE_ACCOUNT_TIMER"
    const uint64_t ACCOUNT_TIMERS "PERPCORE_ACCOUNT_TIMERS"

cdef enum UnitFlag:
    IN_MARGIN_CALL = 1
    DONE_THIS_COMMAND = 2        # liquidated by this command: at most once (Q8)
    FILED_FOR_CALL = 4           # its key is that of the margin call, which comes first (Q2)

# 64 B: one position of a unit.
cdef struct Leg:
    int64_t qty_lots
    int64_t cost_units
    int64_t opening_cost_units
    uint32_t unit
    uint32_t next_leg
    uint16_t contract
    uint16_t leverage            # main's setting, 0: not set; block: its own
    uint32_t orders              # LegOrders or NONE
    uint32_t key                 # filed under this tick of its threshold map
    uint32_t chunk               # where it is filed; IN_CELL, or NONE: not filed
    uint8_t key_side             # 0: map of longs, 1: map of shorts
    uint8_t _pad[3]
    uint32_t next_free
    uint32_t account             # of the unit, so that self-trade prevention reads one line

# 128 B: a main account or an isolated block, and beside it the leg that it takes first.
cdef struct Unit:
    int64_t cash_units           # main: USD cash; block: position_cash
    int64_t order_cash_units     # block: money of its orders; main: 0
    int64_t session_pnl_units
    int64_t kept_units           # profit that stays locked from earlier sessions (S5)
    uint32_t account
    uint32_t isolation_id        # 0: main account
    uint32_t first_leg
    uint32_t next_block          # next block of the same account
    uint32_t touched             # epoch of the round that touched it
    uint32_t dirty               # epoch of the command that must re-file it
    uint16_t leverage            # block
    uint8_t state                # codes.BlockState; 0 main
    uint8_t flags
    uint32_t next_free
    Leg own_leg

# A block's USDC, where it stays what it is (A4); kept apart, as most venues convert it.
cdef struct BlockUsdc:
    int64_t position_units       # counts as collateral of the position
    int64_t order_units          # of its orders

# 64 B: what the live orders of one leg add up to; index 0 buys, 1 sells.
cdef struct LegOrders:
    int64_t reserve_units[2]
    int64_t reserved_lots[2]
    int64_t free_lots[2]         # lots without a reserve
    uint32_t first_order
    uint32_t last_order
    uint32_t next_free
    uint32_t count

# The E of SPEC C3 that they hold; few hold any. By the place of LegOrders, 0 where none is.
cdef struct LegExtra:
    int64_t units[2]

# What few orders have; by slot, and committed where it is used.
cdef struct OrderRare:
    int64_t extra_units          # E still held (C3)
    int64_t expiry_ns
    uint32_t timer               # place in the timer heap, NONE: no expiry
    uint32_t linked              # the order that ends when this one does, or NONE

# What a conditional order becomes; its BookOrder holds the trigger: side 0 a fall, 1 a rise.
cdef struct Dormant:
    uint32_t price_ticks         # 0: MARKET
    uint8_t side                 # 0 buys, 1 sells
    uint8_t order_type           # codes.OrderType, as it was sent
    uint8_t reference            # codes.Scope TRIGGER_*
    uint8_t _pad

# 64 B: one line.
cdef struct Account:
    int64_t usdc_units
    uint64_t profile
    int64_t deficit_units        # what the fund paid for this owner, a statistic
    uint32_t unit
    uint32_t first_block
    uint32_t order_count
    uint32_t block_count
    int64_t cancel_after_ns      # when all its orders end, 0: never (O6)
    uint32_t timer               # place in the timer heap, NONE: none
    uint32_t _pad[3]

# 12 B: the legs filed under one mark tick, in its map's cell, from the first on, + 1; 0: none.
cdef struct Bucket:
    uint32_t legs[CELL_IDS]      # the last: CHAINED + the first of the chunks that hold more

# 32 B: legs that their bucket has no room for.
cdef struct Chunk:
    uint32_t next
    uint32_t count
    uint32_t legs[CHUNK_IDS]

cdef struct Timer:
    int64_t expiry_ns
    uint64_t id                  # of an order, or ACCOUNT_TIMERS + account
    uint32_t slot                # of an order, or ACCOUNT_TIMER | account

# The part of a contract that changes.
cdef struct Live:
    int64_t mark_ticks           # 0: none yet
    int64_t mark_time_ns
    int64_t last_price_ticks
    int64_t index_ticks          # of the contract, on its mark grid; 0: none yet
    int64_t inventory_lots
    int64_t inventory_cost_units
    int64_t position_count       # legs with a position, the inventory not counted
    int64_t qty_sum_lots         # sum of all positions, the inventory included: 0 (L1)
    int64_t funding_rate_e9
    uint8_t funding_pending
    uint8_t state                # codes.MarketState

# Scalars; saved whole when an undo begins.
cdef struct Header:
    uint64_t seq
    int64_t time_ns
    int64_t session
    uint32_t next_isolation_id
    uint32_t account_count
    uint32_t contract_count
    uint32_t unit_top
    uint32_t unit_free
    uint32_t leg_count           # in use
    uint32_t leg_top             # of those that are no unit's own
    uint32_t leg_free
    uint32_t group_top
    uint32_t group_free
    uint32_t chunk_top
    uint32_t chunk_free
    uint32_t timer_count
    uint32_t dormant_count
    uint64_t watched             # bit by contract: a price that triggers may have moved
    int64_t index_e6
    i128 fund_units[2]
    i128 fees_units
    i128 conversion_units[2]
    i128 deposits_units[2]
    i128 withdrawals_units[2]
    int64_t carried_units
    int64_t covered_units        # debts that the fund paid in this session (S1)
    int64_t excess_units         # of it above the cover limit, of earlier sessions and not shared
    int64_t inventory_cash_units
    uint64_t residual[2]         # running L1, modulo 2^64

# Furthest order prices from one mark (O4): kept, as every order asks and a mark seldom changes.
# They follow from the mark and the terms alone, so that no undo has to restore them.
cdef struct Bands:
    int64_t mark_ticks           # they are for this mark; 0: for none yet
    int64_t highest[2]           # of a buy: aggressive; of a sell: passive
    int64_t lowest[2]            # of a buy: passive; of a sell: aggressive

cdef struct Market:
    Contract terms
    Live live
    Bands bands
    Book book
    Book triggers[REFERENCES]    # dormant orders by trigger; side 0 fires on a fall, 1 on a rise
    PriceMap longs               # mirrored: key = max_mark - mark
    PriceMap shorts

cdef struct Core:
    Header h
    VenueTerms terms
    uint64_t admin_key
    Market* markets
    i128 sub_funds[64]           # MAX_CONTRACTS; USD, of each contract where that is policy (S1)
    Account* accounts
    Unit* units
    Leg* legs
    LegOrders* groups
    LegExtra* extras             # by group
    OrderPool pool
    OrderCold* cold
    OrderRare* rare              # by order slot; of those that have one
    Dormant* dormant             # by order slot; of dormant orders only
    BlockUsdc* block_usdc        # by unit; NULL unless USDC stays USDC in a block
    int64_t* order_usdc          # by order slot: what the order holds beside its USD; or NULL
    Chunk* chunks
    Timer* timers
    uint32_t* client_index       # (account, client order id) -> order slot + 1
    uint64_t client_count        # places in it
    uint32_t* touched            # units that changed and wait for their test
    uint32_t touched_count
    uint32_t* dirty              # units to be filed anew when the command ends
    uint32_t dirty_count
    uint32_t epoch               # of the round
    uint32_t command_epoch
    Event* events                # of the command in hand: in the caller's buffer or in the arena
    uint64_t event_count
    uint64_t event_room          # of `events`
    Event* event_arena           # takes what any one command can append
    uint64_t event_capacity      # of the arena
    UndoLog undo
    bint keep_undo               # a preview needs the whole log
    uint64_t* needy              # set of units: money_matters of them
    uint64_t* settling           # set of units: those with a leg, session PnL or kept profit
    uint32_t* tested             # scratch: the units of a round
    Ranked* ranked               # scratch: units in the order in which a rule takes them
    Ranked* ended                # scratch: orders in the order in which they end
    uint64_t sizes[SIZES_COUNT]  # bytes of the arenas, for their release


# ---- writing ------------------------------------------------------------------------------------

cdef inline Unit* edit_unit(Core* e, uint32_t u) noexcept nogil:
    undo_save(&e.undo, &e.units[u], sizeof(Unit) - sizeof(Leg))
    return &e.units[u]


cdef inline Leg* edit_leg(Core* e, uint32_t leg) noexcept nogil:
    undo_save(&e.undo, &e.legs[leg], sizeof(Leg))
    return &e.legs[leg]


cdef inline bint is_in_kind(Core* e) noexcept nogil:
    """Whether USDC that goes into a block stays USDC there (A4)."""
    return e.terms.block_collateral == COLLATERAL_IN_KIND


cdef inline BlockUsdc* edit_block_usdc(Core* e, uint32_t u) noexcept nogil:
    undo_save(&e.undo, &e.block_usdc[u], sizeof(BlockUsdc))
    return &e.block_usdc[u]


cdef inline int64_t unit_usdc(Core* e, uint32_t u) noexcept nogil:
    """USDC that counts as a unit's collateral: main's, or that of a block's position."""
    cdef Unit* unit = &e.units[u]
    if is_block(unit):
        return e.block_usdc[u].position_units if is_in_kind(e) else 0
    return e.accounts[unit.account].usdc_units


cdef inline LegOrders* edit_group(Core* e, uint32_t group) noexcept nogil:
    undo_save(&e.undo, &e.groups[group], sizeof(LegOrders))
    return &e.groups[group]


cdef inline OrderCold* edit_cold(Core* e, uint32_t slot) noexcept nogil:
    undo_save(&e.undo, &e.cold[slot], sizeof(OrderCold))
    return &e.cold[slot]


cdef inline uint32_t order_leg(const Core* e, uint32_t slot) noexcept nogil:
    """The leg that an order is of: what the book calls its owner."""
    return e.pool.orders[slot].owner


cdef inline BookOrder* edit_order(Core* e, uint32_t slot) noexcept nogil:
    undo_save(&e.undo, &e.pool.orders[slot], sizeof(BookOrder))
    return &e.pool.orders[slot]


cdef inline Dormant* edit_dormant(Core* e, uint32_t slot) noexcept nogil:
    undo_save(&e.undo, &e.dormant[slot], sizeof(Dormant))
    return &e.dormant[slot]


cdef inline Account* edit_account(Core* e, uint32_t account) noexcept nogil:
    undo_save(&e.undo, &e.accounts[account], sizeof(Account))
    return &e.accounts[account]


cdef inline Live* edit_live(Core* e, uint32_t contract) noexcept nogil:
    undo_save(&e.undo, &e.markets[contract].live, sizeof(Live))
    return &e.markets[contract].live


cdef inline uint64_t core_mark(Core* e) noexcept nogil:
    """Start (or deepen) a reversible stretch; returns the place to roll back to."""
    cdef uint64_t mark
    if not e.undo.on:
        undo_begin(&e.undo)
    mark = undo_mark(&e.undo)
    undo_save(&e.undo, &e.h, sizeof(Header))
    return mark


cdef inline void core_rollback(Core* e, uint64_t mark, uint64_t event_count) noexcept nogil:
    """The stretch since `mark` never came, and neither did its events."""
    undo_rollback_to(&e.undo, mark)
    e.event_count = event_count
    forget_touched(e)
    forget_dirty(e)


cdef inline void core_commit(Core* e) noexcept nogil:
    """What was done stands: forget how to undo it, unless a preview still needs it."""
    if e.undo.on and not e.keep_undo:
        undo_end(&e.undo)


cdef inline void forget_touched(Core* e) noexcept nogil:
    """A new round: nobody has been touched yet."""
    cdef uint32_t u
    e.touched_count = 0
    e.epoch += 1
    # A stamp of four billion rounds ago would pass for one of this round.
    if rarely(e.epoch == 0):
        e.epoch = 1
        for u in range(e.h.unit_top):
            e.units[u].touched = 0


cdef inline void forget_dirty(Core* e) noexcept nogil:
    """Nothing is to be filed anew yet."""
    cdef uint32_t u
    e.dirty_count = 0
    e.command_epoch += 1
    if rarely(e.command_epoch == 0):
        e.command_epoch = 1
        for u in range(e.h.unit_top):
            e.units[u].dirty = 0


cdef inline void smudge(Core* e, uint32_t u) noexcept nogil:
    """File the unit's thresholds anew when the command ends, without testing it again."""
    cdef Unit* unit = &e.units[u]
    if unit.dirty != e.command_epoch:
        unit.dirty = e.command_epoch
        e.dirty[e.dirty_count] = u
        e.dirty_count += 1


cdef inline void touch(Core* e, uint32_t u) noexcept nogil:
    """The unit changed: it is tested in the next round and filed anew when the command ends."""
    cdef Unit* unit = &e.units[u]
    if unit.touched != e.epoch:
        unit.touched = e.epoch
        e.touched[e.touched_count] = u
        e.touched_count += 1
    smudge(e, u)


cdef inline void leave_out(Core* e, Unit* unit) noexcept nogil:
    """A unit that ends now needs no test and no filing: as if it stood in both lists already.

    No unit begins before both are forgotten, so that its slot's next life is not left out.
    """
    unit.touched = e.epoch
    unit.dirty = e.command_epoch


cdef inline void watch(Core* e, uint32_t contract) noexcept nogil:
    """A price of the contract moved: its dormant orders are looked at when the command ends."""
    e.h.watched |= <uint64_t>1 << contract


cdef inline void prefetch_unit(Core* e, uint32_t u) noexcept nogil:
    """Start loading a unit and its own leg."""
    prefetch(&e.units[u])
    prefetch(&e.units[u].own_leg)


cdef inline void prefetch_leg(Core* e, uint32_t i) noexcept nogil:
    """Start loading a leg and, where it is a unit's own, the unit beside it."""
    prefetch(&e.legs[i])
    prefetch(&e.legs[i ^ 1])


cdef inline void prefetch_order(Core* e, uint32_t slot) noexcept nogil:
    """Start loading all that is kept of an order."""
    prefetch(&e.pool.orders[slot])
    prefetch(&e.pool.chain[slot])
    prefetch(&e.cold[slot])


cdef inline void prefetch_owner(Core* e, uint32_t leg) noexcept nogil:
    """Start loading what a leg that is loaded leads to: unit, account, and its orders' totals."""
    cdef uint32_t g = e.legs[leg].orders
    prefetch(&e.accounts[e.legs[leg].account])
    if e.legs[leg].unit != NONE:
        prefetch(&e.units[e.legs[leg].unit])
    if g != NONE:
        prefetch(&e.groups[g])


cdef inline bint has_reserved_orders(Core* e, uint32_t u) noexcept nogil:
    """Whether any order of the unit may still raise its risk."""
    cdef uint32_t i = e.units[u].first_leg, g
    while i != NONE:
        g = e.legs[i].orders
        if g != NONE and (e.groups[g].reserved_lots[0] or e.groups[g].reserved_lots[1]):
            return True
        i = e.legs[i].next_leg
    return False


cdef inline bint orders_matter(Core* e, uint32_t u) noexcept nogil:
    """Whether a test or an end can follow from a change of nothing but the unit's orders.

    No margin test reads an order (C2, C4, Q1), and every unit passed its own when it last changed
    or a mark crossed it. What is left: a margin call ends at the next touch, USD that fell below 0
    is covered once its USDC is worth something, and a block without position and orders closes.
    """
    cdef Unit* unit = &e.units[u]
    cdef Leg* leg
    if unit.cash_units < 0 and unit_usdc(e, u) > 0:
        return True
    if is_block(unit):
        leg = &e.legs[unit.first_leg]
        return leg.qty_lots == 0 and leg.orders == NONE
    return (unit.flags & IN_MARGIN_CALL) != 0


cdef inline bint money_matters(const Unit* unit) noexcept nogil:
    """Whether a round has something to do for a unit that only got money.

    Its margin call may end, or USD below 0 may still have to be covered.
    """
    return (unit.flags & IN_MARGIN_CALL) != 0 or unit.cash_units < 0


cdef inline void touch_orders(Core* e, uint32_t u) noexcept nogil:
    """Orders of the unit changed and nothing else: it is tested or filed anew only if that matters.

    Once it has reserved orders it is filed for its margin call, and stays so when they are gone: a
    key that is crossed too early costs a look, and the next filing moves it.
    """
    if orders_matter(e, u):
        touch(e, u)
    elif (not is_block(&e.units[u]) and not e.units[u].flags & FILED_FOR_CALL
            and has_reserved_orders(e, u)):
        smudge(e, u)


cdef inline bint is_block(const Unit* unit) noexcept nogil:
    return unit.isolation_id != 0


cdef inline uint64_t unit_rank(const Unit* unit) noexcept nogil:
    """Unit order: main accounts by account, then blocks by isolation id."""
    if unit.isolation_id:
        return (<uint64_t>1 << 32) | unit.isolation_id
    return unit.account


cdef inline uint32_t main_of(Core* e, uint32_t u) noexcept nogil:
    return e.accounts[e.units[u].account].unit


cdef inline void write_events_to(Core* e, Event* events, uint64_t room) noexcept nogil:
    """Events of the next command go there; the arena takes over when it is full."""
    e.events = events
    e.event_room = room
    e.event_count = 0


cdef inline void spill_events(Core* e) noexcept nogil:
    """The caller's buffer is full in the middle of a command: go on in the arena, which never is.

    Whoever appends an event fills it before the next one, so that no pointer is left behind.
    """
    CHECK(e.events != e.event_arena)
    memcpy(e.event_arena, e.events, e.event_count * sizeof(Event))
    e.events = e.event_arena
    e.event_room = e.event_capacity


cdef inline Event* event(Core* e, uint8_t kind) noexcept nogil:
    """Append one event of the current command; the caller fills what the kind uses."""
    if rarely(e.event_count == e.event_room):
        spill_events(e)
    cdef Event* ev = &e.events[e.event_count]
    e.event_count += 1
    prefetch(ev + AHEAD_EVENTS)
    memset(ev, 0, sizeof(Event))
    ev.seq = e.h.seq
    ev.account = NONE
    ev.contract = NO_CONTRACT
    ev.kind = kind
    return ev


cdef inline Event* unit_event(Core* e, uint8_t kind, uint32_t u, uint32_t contract) noexcept nogil:
    cdef Event* ev = event(e, kind)
    ev.account = e.units[u].account
    ev.isolation_id = e.units[u].isolation_id
    ev.contract = <uint16_t>contract
    return ev


cdef inline uint32_t unit_take(Core* e) noexcept nogil:
    cdef uint32_t u = e.h.unit_free
    if u != NONE:
        e.h.unit_free = e.units[u].next_free
    else:
        u = e.h.unit_top
        e.h.unit_top += 1
    cdef Unit* unit = edit_unit(e, u)
    # The epochs stay: a stamp of this command would otherwise be lost with the slot's old life.
    cdef uint32_t touched = unit.touched, dirty = unit.dirty
    memset(unit, 0, sizeof(Unit) - sizeof(Leg))
    unit.touched = touched
    unit.dirty = dirty
    unit.first_leg = NONE
    unit.next_block = NONE
    unit.next_free = NONE
    edit_leg(e, own_leg(u)).unit = NONE
    return u


cdef inline void unit_release(Core* e, uint32_t u) noexcept nogil:
    cdef Unit* unit = edit_unit(e, u)
    unit.isolation_id = 0
    unit.account = NONE
    unit.state = 0
    unit.first_leg = NONE
    unit.next_free = e.h.unit_free
    e.h.unit_free = u


cdef inline uint32_t own_leg(uint32_t u) noexcept nogil:
    """The leg that lies beside a unit."""
    return 2 * u + 1


cdef inline uint32_t first_spare_leg(const Core* e) noexcept nogil:
    """The first of the legs that are no unit's own."""
    return 2 * (e.terms.unit_capacity + 1)


cdef inline uint32_t spare_leg(Core* e) noexcept nogil:
    """One of the legs that are no unit's own."""
    cdef uint32_t i = e.h.leg_free
    if i != NONE:
        e.h.leg_free = e.legs[i].next_free
        return i
    e.h.leg_top += 1
    return e.h.leg_top - 1


cdef inline uint32_t leg_take(Core* e, uint32_t u, uint32_t contract) noexcept nogil:
    """A new leg of a unit: its own, or a spare one where it has that already."""
    cdef uint32_t i = own_leg(u)
    if e.legs[i].unit != NONE:
        i = spare_leg(e)
    e.h.leg_count += 1
    cdef Leg* leg = edit_leg(e, i)
    memset(leg, 0, sizeof(Leg))
    leg.unit = u
    leg.account = e.units[u].account
    leg.contract = <uint16_t>contract
    leg.orders = NONE
    leg.chunk = NONE
    leg.next_free = NONE
    # By contract, so that whoever walks over a unit's legs meets them in the venue's order.
    cdef uint32_t before = NONE, after = e.units[u].first_leg
    while after != NONE and e.legs[after].contract < contract:
        before = after
        after = e.legs[after].next_leg
    leg.next_leg = after
    if before == NONE:
        edit_unit(e, u).first_leg = i
        unitset_add(e.settling, u)
    else:
        edit_leg(e, before).next_leg = i
    return i


cdef inline void leg_release(Core* e, uint32_t i) noexcept nogil:
    cdef Leg* leg = edit_leg(e, i)
    e.h.leg_count -= 1
    if i != own_leg(leg.unit):
        leg.next_free = e.h.leg_free
        e.h.leg_free = i
    leg.unit = NONE


cdef inline bint has_room(Core* e, uint32_t units, uint32_t legs, uint32_t orders) noexcept nogil:
    """Whether so many more records exist; asked before anything changes (50001)."""
    if units and e.h.unit_free == NONE and e.h.unit_top + units > e.terms.unit_capacity:
        return False
    if legs and e.h.leg_count + legs > e.terms.leg_capacity:
        return False
    return e.pool.state.live_count + orders <= e.terms.order_capacity


cdef inline uint32_t leg_of(Core* e, uint32_t u, uint32_t contract) noexcept nogil:
    """The unit's leg on the contract, or NONE."""
    cdef uint32_t i = e.units[u].first_leg
    while i != NONE and e.legs[i].contract != contract:
        i = e.legs[i].next_leg
    return i


cdef inline LegOrders* group_of(Core* e, uint32_t leg) noexcept nogil:
    """The leg's order totals to be changed, made when it has none."""
    cdef uint32_t g = e.legs[leg].orders
    return edit_group(e, g) if g != NONE else group_take(e, leg)


cdef inline LegOrders* group_take(Core* e, uint32_t leg) noexcept nogil:
    """New order totals for a leg that has none."""
    cdef uint32_t g = e.h.group_free
    if g != NONE:
        e.h.group_free = e.groups[g].next_free
    else:
        g = e.h.group_top
        e.h.group_top += 1
    cdef LegOrders* group = edit_group(e, g)
    memset(group, 0, sizeof(LegOrders))
    group.first_order = NONE
    group.last_order = NONE
    group.next_free = NONE
    edit_leg(e, leg).orders = g
    return group


cdef inline void group_drop_if_empty(Core* e, uint32_t leg) noexcept nogil:
    cdef uint32_t g = e.legs[leg].orders
    if g == NONE or e.groups[g].count:
        return
    edit_group(e, g).next_free = e.h.group_free
    e.h.group_free = g
    edit_leg(e, leg).orders = NONE


cdef inline int64_t reserved_lots(Core* e, uint32_t leg, int side) noexcept nogil:
    if leg == NONE or e.legs[leg].orders == NONE:
        return 0
    return e.groups[e.legs[leg].orders].reserved_lots[side]


cdef inline int64_t free_lots(Core* e, uint32_t leg, int side) noexcept nogil:
    if leg == NONE or e.legs[leg].orders == NONE:
        return 0
    return e.groups[e.legs[leg].orders].free_lots[side]


cdef inline uint32_t block_by_id(Core* e, uint32_t account, uint64_t isolation_id) noexcept nogil:
    """The account's open block with that id, or NONE."""
    cdef uint32_t u = e.accounts[account].first_block
    while u != NONE and e.units[u].isolation_id != isolation_id:
        u = e.units[u].next_block
    return u


cdef inline uint32_t block_on(Core* e, uint32_t account, uint32_t contract) noexcept nogil:
    """The account's open block on that contract, or NONE; there is at most one (I1)."""
    cdef uint32_t u = e.accounts[account].first_block
    while u != NONE and e.legs[e.units[u].first_leg].contract != contract:
        u = e.units[u].next_block
    return u
