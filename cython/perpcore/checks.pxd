"""Floor 8.5: invariants of the state, walked in full: what must hold after every command.

`first_fault` names the first that does not; tests ask after every command, `Engine.check` anyone.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.book cimport Book, BookOrder, book_best, book_head, book_level_lots, book_next_level
from perpcore.codes cimport LIQUIDATING, MARKET_HALTED, OPEN, PENDING
from perpcore.int128 cimport i128, i128_add, i128_from, i128_neg, i128_sub, magnitude
from perpcore.pricemap cimport PriceMap, pricemap_has
from perpcore.records cimport NONE
from perpcore.reserves cimport (
    book_of, find_client, free_left, order_extra, order_linked, reserved_left,
)
from perpcore.standing cimport compare_initial, meets_maintenance
from perpcore.state cimport (
    DONE_THIS_COMMAND, FILED_FOR_CALL, IN_CELL, REFERENCES, Bucket, Core, Leg, LegExtra, LegOrders,
    Market, OrderCold, Unit, has_reserved_orders, is_block, is_in_kind, money_matters, order_leg,
)
from perpcore.thresholds cimport (
    bucket_of, filed_mark, head_chunk, is_chained, map_of, no_mark_is_safe, only_leg,
    solo_threshold, unsafe_mark,
)
from perpcore.triggers cimport reached_order
from perpcore.unitset cimport unitset_has
from perpcore.walks cimport next_unit

cdef enum Fault:
    NO_FAULT = 0
    LEDGER_OPEN = 1              # L1: the identity has a residual
    POSITIONS_OPEN = 2           # L1: the positions of a contract do not sum to 0
    UNIT_BELOW_MAINTENANCE = 3   # Q1: a unit rests below its maintenance margin
    UNCALLED_MARGIN = 4          # C4: reserved orders rest below initial margin
    UNIT_LIQUIDATING = 5         # Q4: a unit is in liquidation between commands
    BLOCK_STATE = 6              # I1: state, position and orders disagree
    ORDER_CASH = 7               # I2: a block's order cash is not the sum of its orders' reserves
    GROUP_TOTALS = 8             # sums over a leg's orders
    ORDER_LINKS = 9              # a live order is not where it should be
    KEY_MISSING = 10             # Q2: a position that is not filed though a mark can cross it
    KEY_WRONG = 11               # Q2: filed elsewhere than at its threshold
    INDEX_BROKEN = 12            # a filed leg is not in its bucket
    COUNTS = 13                  # orders, blocks, positions of an account or a contract
    TRIGGER_MISSED = 14          # a reached order waits and nobody will look at it
    SUB_FUND_NEGATIVE = 15       # S1: a contract's own fund paid more than it had
    UNSEEN_BY_SETTLEMENT = 16    # S3, S5: a unit is missing in a set that settlements walk over

# What the audit of L1 sums.
cdef struct Audit:
    i128 residual[2]             # USD, USDC
    int64_t open_lots            # over contracts: sum of |sum of positions|


cdef inline int64_t lots_of(Core* e, uint32_t contract) noexcept nogil:
    """Sum of all positions on a contract, the inventory included."""
    cdef int64_t total = e.markets[contract].live.inventory_lots
    cdef uint32_t u = next_unit(e, NONE), i
    while u != NONE:
        i = e.units[u].first_leg
        while i != NONE:
            if e.legs[i].contract == contract:
                total += e.legs[i].qty_lots
            i = e.legs[i].next_leg
        u = next_unit(e, u)
    return total


cdef inline Audit audit_state(Core* e) noexcept nogil:
    """L1 from scratch: cash - costs + fees + fund + conversion - deposits + withdrawals."""
    cdef Audit a
    cdef uint32_t u = next_unit(e, NONE), i
    cdef int64_t lots
    a.residual[0] = i128_add(e.h.fees_units, i128_from(e.h.inventory_cash_units))
    a.residual[1] = i128_from(0)
    for i in range(2):
        a.residual[i] = i128_add(a.residual[i], e.h.fund_units[i])
        a.residual[i] = i128_add(a.residual[i], e.h.conversion_units[i])
        a.residual[i] = i128_sub(a.residual[i], e.h.deposits_units[i])
        a.residual[i] = i128_add(a.residual[i], e.h.withdrawals_units[i])
    for i in range(e.h.account_count):
        a.residual[1] = i128_add(a.residual[1], i128_from(e.accounts[i].usdc_units))
    while u != NONE:
        if is_block(&e.units[u]) and is_in_kind(e):
            a.residual[1] = i128_add(a.residual[1], i128_from(e.block_usdc[u].position_units))
            a.residual[1] = i128_add(a.residual[1], i128_from(e.block_usdc[u].order_units))
        a.residual[0] = i128_add(a.residual[0], i128_from(e.units[u].cash_units))
        a.residual[0] = i128_add(a.residual[0], i128_from(e.units[u].order_cash_units))
        i = e.units[u].first_leg
        while i != NONE:
            a.residual[0] = i128_sub(a.residual[0], i128_from(e.legs[i].cost_units))
            i = e.legs[i].next_leg
        u = next_unit(e, u)
    a.open_lots = 0
    for i in range(e.h.contract_count):
        a.residual[0] = i128_sub(
            a.residual[0], i128_from(e.markets[i].live.inventory_cost_units))
        a.residual[0] = i128_add(a.residual[0], e.sub_funds[i])
        lots = lots_of(e, i)
        a.open_lots += lots if lots >= 0 else -lots
    return a


cdef inline bint is_zero(i128 value) noexcept nogil:
    return value.hi == 0 and value.lo == 0


cdef inline bint link_holds(Core* e, uint32_t slot) noexcept nogil:
    """A link goes both ways and stays within a unit and a contract."""
    cdef uint32_t other = order_linked(e, slot)
    return other == NONE or (order_linked(e, other) == slot
                             and order_leg(e, other) == order_leg(e, slot))


cdef inline int group_fault(Core* e, uint32_t i) noexcept nogil:
    """A leg's totals against its orders one by one."""
    cdef uint32_t g = e.legs[i].orders, slot, count = 0, before = NONE
    cdef LegOrders sums
    cdef LegExtra extra
    cdef int side
    cdef uint64_t last_id = 0
    if g == NONE:
        return NO_FAULT
    for side in range(2):
        sums.reserve_units[side] = extra.units[side] = 0
        sums.reserved_lots[side] = sums.free_lots[side] = 0
    slot = e.groups[g].first_order
    while slot != NONE:
        side = e.pool.orders[slot].price_side & 1
        if order_leg(e, slot) != i or e.cold[slot].prev_order != before \
                or e.pool.orders[slot].order_id <= last_id or not e.cold[slot].in_book:
            return ORDER_LINKS
        if e.cold[slot].client_order_id and find_client(
                e, e.legs[i].account, e.cold[slot].client_order_id) != slot:
            return ORDER_LINKS
        sums.reserve_units[side] += e.cold[slot].reserve_units
        extra.units[side] += order_extra(e, slot)
        sums.reserved_lots[side] += reserved_left(&e.cold[slot])
        sums.free_lots[side] += free_left(e, slot)
        if not link_holds(e, slot):
            return ORDER_LINKS
        count += 1
        before = slot
        last_id = e.pool.orders[slot].order_id
        slot = e.cold[slot].next_order
    if count == 0 or count != e.groups[g].count:
        return GROUP_TOTALS
    for side in range(2):
        if (sums.reserve_units[side] != e.groups[g].reserve_units[side]
                or extra.units[side] != e.extras[g].units[side]
                or sums.reserved_lots[side] != e.groups[g].reserved_lots[side]
                or sums.free_lots[side] != e.groups[g].free_lots[side]):
            return GROUP_TOTALS
    return NO_FAULT


cdef inline int usdc_fault(Core* e, uint32_t u) noexcept nogil:
    """A block's USDC: none is owed, and its orders' is theirs one by one."""
    cdef uint32_t g = e.legs[e.units[u].first_leg].orders
    cdef uint32_t slot = NONE if g == NONE else e.groups[g].first_order
    cdef int64_t held = 0
    while slot != NONE:
        if e.order_usdc[slot] < 0 or (e.order_usdc[slot] and not reserved_left(&e.cold[slot])):
            return ORDER_CASH
        held += e.order_usdc[slot]
        slot = e.cold[slot].next_order
    if e.block_usdc[u].order_units != held or e.block_usdc[u].position_units < 0:
        return ORDER_CASH
    return NO_FAULT


cdef inline int block_fault(Core* e, uint32_t u) noexcept nogil:
    cdef Unit* unit = &e.units[u]
    cdef Leg* leg = &e.legs[unit.first_leg]
    cdef int64_t held = 0
    if unit.state == LIQUIDATING:
        return UNIT_LIQUIDATING
    if unit.state != (OPEN if leg.qty_lots else PENDING):
        return BLOCK_STATE
    if leg.next_leg != NONE or (leg.qty_lots == 0 and leg.orders == NONE):
        return BLOCK_STATE
    if leg.orders != NONE:
        held = e.groups[leg.orders].reserve_units[0] + e.groups[leg.orders].reserve_units[1]
    if unit.order_cash_units != held:
        return ORDER_CASH
    return usdc_fault(e, u) if is_in_kind(e) else NO_FAULT


cdef inline bint stands_in(Core* e, uint32_t i) noexcept nogil:
    """Whether a filed leg is in its bucket, and there where it says."""
    cdef Leg* leg = &e.legs[i]
    cdef PriceMap* index = map_of(&e.markets[leg.contract], leg.key_side)
    cdef uint32_t n = 0, c
    cdef Bucket* bucket
    if not pricemap_has(index, leg.key):
        return False
    bucket = bucket_of(index, leg.key)
    if leg.chunk == IN_CELL:
        return i + 1 in (bucket.legs[0], bucket.legs[1], bucket.legs[2])
    c = head_chunk(bucket) if is_chained(bucket) else NONE
    while c != NONE and c != leg.chunk:
        c = e.chunks[c].next
    while c != NONE and n < e.chunks[c].count and e.chunks[c].legs[n] != i:
        n += 1
    return c != NONE and n < e.chunks[c].count


cdef inline int key_fault(Core* e, uint32_t u) noexcept nogil:
    """Q2: no key is reached; one leg is filed at its threshold or nearer to the mark.

    A key that the mark has reached would be a unit that nobody looked at.
    """
    cdef uint32_t only = only_leg(e, u), i = e.units[u].first_leg
    cdef Leg* leg
    cdef int64_t mark = 0, last, turn
    cdef bint initial = (e.units[u].flags & FILED_FOR_CALL) != 0
    if not initial and not is_block(&e.units[u]) and has_reserved_orders(e, u):
        return KEY_WRONG
    while i != NONE:
        leg = &e.legs[i]
        last = e.markets[leg.contract].terms.max_mark_ticks
        if leg.chunk != NONE:
            if not stands_in(e, i):
                return INDEX_BROKEN
            if leg.qty_lots == 0 or leg.key_side != (leg.qty_lots < 0):
                return KEY_WRONG
            mark = filed_mark(&e.markets[leg.contract], leg)
            if (mark >= e.markets[leg.contract].live.mark_ticks if leg.qty_lots > 0
                    else mark <= e.markets[leg.contract].live.mark_ticks):
                if not (initial and no_mark_is_safe(&e.markets[leg.contract], leg,
                                                    magnitude(leg.qty_lots))
                        and mark == unsafe_mark(&e.markets[leg.contract], leg)):
                    return KEY_WRONG
        if i == only:
            turn = solo_threshold(e, u, i, initial)
            if leg.chunk == NONE:
                if 1 <= turn <= last:
                    return KEY_MISSING
            elif mark < turn if leg.qty_lots > 0 else mark > turn:
                return KEY_WRONG
        i = leg.next_leg
    return NO_FAULT


cdef inline bint misses_settlement(Core* e, uint32_t u) noexcept nogil:
    """A call that may end, USD below 0, a leg (S3), or profit (S5) that no settlement looks at."""
    cdef Unit* unit = &e.units[u]
    if money_matters(unit) and not unitset_has(e.needy, u):
        return True
    return ((unit.first_leg != NONE or unit.session_pnl_units | unit.kept_units != 0)
            and not unitset_has(e.settling, u))


cdef inline int unit_fault(Core* e, uint32_t u) noexcept nogil:
    cdef uint32_t i = e.units[u].first_leg
    cdef int fault
    if e.units[u].flags & DONE_THIS_COMMAND:
        return UNIT_LIQUIDATING
    while i != NONE:
        if e.legs[i].unit != u or e.legs[i].account != e.units[u].account:
            return ORDER_LINKS
        fault = group_fault(e, i)
        if fault:
            return fault
        i = e.legs[i].next_leg
    if is_block(&e.units[u]):
        fault = block_fault(e, u)
        if fault:
            return fault
    if not meets_maintenance(e, u, NULL):
        return UNIT_BELOW_MAINTENANCE
    if not is_block(&e.units[u]) and has_reserved_orders(e, u) and compare_initial(e, u) < 0:
        return UNCALLED_MARGIN
    if misses_settlement(e, u):
        return UNSEEN_BY_SETTLEMENT
    return key_fault(e, u)


cdef inline int book_fault(Core* e, uint32_t contract, Book* book, uint32_t* orders) noexcept nogil:
    """Every order of a book is live at its price, and levels sum up."""
    cdef int side
    cdef int64_t price, lots
    cdef uint32_t slot
    for side in range(2):
        price = book_best(book, side)
        while price >= 0:
            lots = 0
            slot = book_head(book, side, price)
            while slot != NONE:
                if (not e.cold[slot].in_book or book_of(e, slot) != book
                        or e.legs[order_leg(e, slot)].contract != contract
                        or e.pool.orders[slot].price_side != (<uint32_t>(price << 1) | side)):
                    return ORDER_LINKS
                lots += e.pool.orders[slot].qty_lots
                orders[0] += 1
                slot = e.pool.orders[slot].next
            if lots != book_level_lots(book, side, price):
                return ORDER_LINKS
            price = book_next_level(book, side, price)
    return NO_FAULT


cdef inline bint misses_trigger(Core* e, uint32_t contract) noexcept nogil:
    """A dormant order is reached though its open market is not to be looked at."""
    cdef Market* m = &e.markets[contract]
    return (m.live.state != MARKET_HALTED and not (e.h.watched >> contract) & 1
            and reached_order(m) != NONE)


cdef inline int count_fault(Core* e) noexcept nogil:
    """Counters of accounts and contracts against the records."""
    cdef uint32_t account, u, i, blocks, orders, all_orders = 0, contract, positions
    cdef bint in_main
    for account in range(e.h.account_count):
        blocks = orders = 0
        u = e.accounts[account].unit
        in_main = True
        while u != NONE:
            i = e.units[u].first_leg
            while i != NONE:
                if e.legs[i].orders != NONE:
                    orders += e.groups[e.legs[i].orders].count
                i = e.legs[i].next_leg
            blocks += not in_main
            u = e.accounts[account].first_block if in_main else e.units[u].next_block
            in_main = False
        if blocks != e.accounts[account].block_count or orders != e.accounts[account].order_count:
            return COUNTS
        all_orders += orders
    if all_orders != e.pool.state.live_count:
        return COUNTS
    for contract in range(e.h.contract_count):
        positions = 0
        u = next_unit(e, NONE)
        while u != NONE:
            i = e.units[u].first_leg
            while i != NONE:
                positions += e.legs[i].contract == contract and e.legs[i].qty_lots != 0
                i = e.legs[i].next_leg
            u = next_unit(e, u)
        if positions != e.markets[contract].live.position_count:
            return COUNTS
    return NO_FAULT


cdef inline int first_fault(Core* e, uint32_t* culprit) noexcept nogil:
    """The first invariant that does not hold, and the unit (or contract) of it; 0 when all hold."""
    cdef Audit sums = audit_state(e)
    cdef uint32_t u = next_unit(e, NONE), contract, orders = 0, dormant, dormant_orders = 0
    cdef int reference
    cdef int fault
    culprit[0] = NONE
    if not is_zero(sums.residual[0]) or not is_zero(sums.residual[1]):
        return LEDGER_OPEN
    if sums.open_lots:
        return POSITIONS_OPEN
    while u != NONE:
        fault = unit_fault(e, u)
        if fault:
            culprit[0] = u
            return fault
        u = next_unit(e, u)
    for contract in range(e.h.contract_count):
        culprit[0] = contract
        fault = book_fault(e, contract, &e.markets[contract].book, &orders)
        for reference in range(REFERENCES):
            dormant = orders
            if fault == NO_FAULT:
                fault = book_fault(e, contract, &e.markets[contract].triggers[reference], &orders)
            dormant_orders += orders - dormant
        if fault == NO_FAULT and misses_trigger(e, contract):
            fault = TRIGGER_MISSED
        if fault == NO_FAULT and e.sub_funds[contract].hi < 0:
            fault = SUB_FUND_NEGATIVE
        if fault:
            return fault
    culprit[0] = NONE
    if orders != e.pool.state.live_count or dormant_orders != e.h.dormant_count:
        return ORDER_LINKS
    return count_fault(e)
