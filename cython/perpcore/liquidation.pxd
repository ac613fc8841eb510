"""Floor 7: who is liquidated, in which order, and how (Q1 to Q8).

After a command's own work the units it touched are tested; those that fail are closed out through
the book and, for what the book does not take, through the fund. What that touches is the next
round; a liquidated unit has no orders left, so nothing touches it twice and the rounds end.
"""
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from perpcore.adl cimport deleverage, goes_to_adl
from perpcore.amendments cimport collect_orders, end_collected, end_orders
from perpcore.blocks cimport close_idle_block, forget_block, is_idle
from perpcore.clearing cimport TAKES_LIQUIDATION, Taker, charge_liquidation_fee, signed_lots, walk
from perpcore.codes cimport (
    BLOCK_LIQUIDATING, BLOCK_OPEN, BLOCK_PENDING, DONE_LIQUIDATION, DONE_MARGIN_CALL, LIQUIDATED,
    LIQUIDATING, MARGIN_CALL, MARGIN_CALL_CLEARED, OPEN, PENDING, R_INSURANCE_FUND,
    R_REALIZED_PNL, R_TAKE_OVER, STP_MAKER,
)
from perpcore.contract cimport maintenance_line
from perpcore.fund cimport (
    announce_take_over, count_deficit, hand_to_fund, take_into_inventory,
)
from perpcore.int128 cimport (
    add64, floor_div, i128_floor_div64, i128_from, i128_mul_u, larger, magnitude, mul64,
    sign_of, signed_as, smaller, sub64,
)
from perpcore.margin cimport Line, bankruptcy_mark, is_long
from perpcore.memory cimport prefetch
from perpcore.orders cimport bands_of
from perpcore.policies cimport LIMIT_IS_BAND, SURPLUS_TO_TRADER
from perpcore.posting cimport (
    USD_LEDGER, Released, move_position, post_cash, post_fund, post_order_cash, released_costs,
)
from perpcore.records cimport NONE, Event
from perpcore.reserves cimport compare_products, rest_of
from perpcore.sort cimport Ranked, ranked_sort_long
from perpcore.standing cimport (
    compare_initial, equity, meets_maintenance, notional, paying_equity, position_upnl,
)
from perpcore.state cimport (
    DONE_THIS_COMMAND, IN_MARGIN_CALL, NO_CONTRACT, Core, Leg, Market, Unit, edit_unit,
    forget_touched, has_reserved_orders, is_block, leave_out, prefetch_unit, smudge, unit_event,
    unit_rank,
)
from perpcore.sweep cimport sweep
from perpcore.thresholds cimport AFTER_SOLO, distance_key, only_leg, solo_threshold
from perpcore.transfers cimport convert_all, cover_negative, return_everything
from perpcore.unitset cimport unitset_add

cdef enum:
    # By how many units units are loaded before they are tested or end, and what they lead to.
    TEST_UNIT = 32
    TEST_LEG = 16
    END_UNIT = 16
    END_LEG = 4
    END_GROUP = 8


# ---- closing out --------------------------------------------------------------------------------

cdef inline void sell_out(Core* e, uint32_t i, int64_t lots,
                          int64_t other_equity_units) noexcept nogil:
    """Reduce-only IOC of a liquidated leg: not worse than equity 0, and inside the band (Q3).

    `other_equity_units`: what the unit owns beside this leg. The limit is rounded in the fund's
    favor: up for a long's sale, down for a short's purchase. By policy the band alone limits.
    """
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    # By a whole tick's value: rounded twice, by mark ticks and then by ticks, it would be the same.
    cdef int64_t limit = bankruptcy_mark(
        other_equity_units, leg.qty_lots, leg.cost_units, mul64(m.terms.v, m.terms.k))
    cdef bint band_alone = e.terms.liquidation_limit == LIMIT_IS_BAND
    cdef Taker t
    if is_long(leg.qty_lots):
        t.limit_ticks = bands_of(m).lowest[1]
        if not band_alone:
            t.limit_ticks = larger(limit, t.limit_ticks)
    else:
        t.limit_ticks = bands_of(m).highest[0]
        if not band_alone:
            t.limit_ticks = smaller(limit, t.limit_ticks)
    t.kind = TAKES_LIQUIDATION
    t.side = is_long(leg.qty_lots)
    t.stp = STP_MAKER
    t.commits = False
    t.contract = leg.contract
    t.account = leg.account
    t.slot = NONE
    t.leg = i
    t.left_lots = lots
    t.filled_lots = 0
    walk(e, &t)


cdef inline void announce_end(Core* e, uint32_t u, uint32_t contract, int64_t lots, int64_t mark,
                              int64_t gain_units) noexcept nogil:
    cdef Event* ev = unit_event(e, LIQUIDATED, u, contract)
    ev.qty_lots = lots
    ev.price_ticks = mark
    ev.amount_units = gain_units


# ---- a block ------------------------------------------------------------------------------------

cdef inline void take_over_block(Core* e, uint32_t u) noexcept nogil:
    """The inventory takes (Q, C - cash) and leaves (0, 0): exact, without a price (Q4)."""
    cdef uint32_t i = e.units[u].first_leg, contract = e.legs[i].contract
    cdef int64_t lots = e.legs[i].qty_lots, cost = e.legs[i].cost_units
    cdef int64_t cash = e.units[u].cash_units
    # What the fund gets of the block's orders makes what it bears smaller.
    count_deficit(e, e.units[u].account,
                  -add64(equity(e, u, NULL), e.units[u].order_cash_units))
    announce_take_over(e, u, contract, lots, sub64(cost, cash))
    move_position(e, i, -lots, -cost, -e.legs[i].opening_cost_units)
    post_cash(e, u, -cash, R_TAKE_OVER, contract, 0)
    take_into_inventory(e, contract, lots, sub64(cost, cash))


cdef inline void back_up_block(Core* e, uint32_t u) noexcept nogil:
    """What the book did not take; at the mark where a surplus is the owner's (Q4, Q6)."""
    cdef uint32_t i = e.units[u].first_leg
    cdef int64_t lots = e.legs[i].qty_lots, closed = 0
    if lots == 0:
        return
    if goes_to_adl(e, e.legs[i].contract, lots):
        closed = deleverage(e, i, magnitude(lots))
        lots = e.legs[i].qty_lots
    if lots and e.terms.surplus_to == SURPLUS_TO_TRADER and equity(e, u, NULL) >= 0:
        take_over_slice(e, i, magnitude(lots))
    elif lots:
        take_over_block(e, u)
    charge_liquidation_fee(e, i, closed)


cdef inline int64_t clear_out(Core* e, uint32_t u, uint32_t contract) noexcept nogil:
    """A liquidated block's money: to the fund, a surplus by policy to its owner; returns the
    fund's gain."""
    cdef int64_t gain = e.units[u].cash_units, forfeit = e.units[u].order_cash_units
    if gain >= 0 and e.terms.surplus_to == SURPLUS_TO_TRADER:
        return_everything(e, u, contract, 0)
        gain = 0
    else:
        hand_to_fund(e, u, contract, forfeit)
    post_order_cash(e, u, -forfeit, R_INSURANCE_FUND, contract, 0)
    post_fund(e, USD_LEDGER, forfeit, R_INSURANCE_FUND, contract)
    return add64(gain, forfeit)


cdef inline void liquidate_block(Core* e, uint32_t u) noexcept nogil:
    """The whole position; then all that is left goes to the fund and the block closes (Q3, Q6)."""
    cdef uint32_t i = e.units[u].first_leg, contract = e.legs[i].contract
    cdef int64_t lots = e.legs[i].qty_lots, gain
    cdef bint healthy
    cdef Unit* unit
    # An earlier liquidation of the round may have healed it, or taken USD that its own USDC has to
    # cover before the test (A4); its orders have no part in that.
    cover_negative(e, u)
    healthy = meets_maintenance(e, u, NULL)
    unit_event(e, BLOCK_LIQUIDATING, u, contract)
    if healthy:
        smudge(e, u)
        end_orders(e, u, False, DONE_LIQUIDATION)
        edit_unit(e, u).state = OPEN if lots else PENDING
        unit_event(e, BLOCK_OPEN if lots else BLOCK_PENDING, u, contract)
        return
    unit = edit_unit(e, u)
    unit.state = LIQUIDATING
    leave_out(e, unit)
    end_orders(e, u, False, DONE_LIQUIDATION)
    convert_all(e, u)
    if lots:
        sell_out(e, i, magnitude(lots), e.units[u].cash_units)
    back_up_block(e, u)
    gain = clear_out(e, u, contract)
    announce_end(e, u, contract, lots, e.markets[contract].live.mark_ticks, gain)
    forget_block(e, u)


# ---- a main account -----------------------------------------------------------------------------

cdef inline int compare_lines(int64_t n1, Line a, int64_t n2, Line b) noexcept nogil:
    """Sign of one MM - another, exactly: whole parts, then the rests over both denominators."""
    cdef int64_t whole1 = i128_floor_div64(i128_mul_u(i128_from(n1), a.rate.num), a.rate.den)
    cdef int64_t whole2 = i128_floor_div64(i128_mul_u(i128_from(n2), b.rate.num), b.rate.den)
    cdef int64_t more = sub64(sub64(whole1, a.cum_units), sub64(whole2, b.cum_units))
    if more != 0:
        return sign_of(more)
    return compare_products(rest_of(n1, a.rate, whole1), b.rate.den,
                            rest_of(n2, b.rate, whole2), a.rate.den)


cdef inline uint32_t heaviest_leg(Core* e, uint32_t u) noexcept nogil:
    """The leg with the largest MM, of equal ones the smaller contract; NONE without a position."""
    cdef uint32_t i = e.units[u].first_leg, best = NONE
    cdef Market* m
    cdef Line line, heaviest
    cdef int64_t n, best_n = 0
    heaviest.rate.num = 0
    heaviest.rate.den = 1
    heaviest.cum_units = 0
    while i != NONE:
        if e.legs[i].qty_lots:
            m = &e.markets[e.legs[i].contract]
            n = notional(m, e.legs[i].qty_lots)
            line = maintenance_line(&m.terms, magnitude(e.legs[i].qty_lots), n)
            # Legs come by contract, so that the first of equal ones is kept.
            if best == NONE or compare_lines(n, line, best_n, heaviest) > 0:
                best = i
                best_n = n
                heaviest = line
        i = e.legs[i].next_leg
    return best


cdef inline void take_over_slice(Core* e, uint32_t i, int64_t lots) noexcept nogil:
    """The inventory takes the rest of a main account's slice at the mark, with the fee (Q4)."""
    cdef Leg* leg = &e.legs[i]
    cdef uint32_t u = leg.unit, contract = leg.contract
    cdef Market* m = &e.markets[contract]
    cdef int64_t n = notional(m, lots)
    cdef Released released = released_costs(leg, lots)
    cdef int64_t signed = signed_as(lots, leg.qty_lots)
    cdef int64_t cost = signed_as(n, signed)
    announce_take_over(e, u, contract, signed, cost)
    move_position(e, i, -signed, -released.cost_units, -released.opening_units)
    post_cash(e, u, sub64(cost, released.cost_units), R_REALIZED_PNL, contract, 0)
    charge_liquidation_fee(e, i, n)
    take_into_inventory(e, contract, signed, cost)


cdef inline void liquidate_slice(Core* e, uint32_t u, uint32_t i) noexcept nogil:
    """One slice of a leg, or all of it below two slices: to the book, the rest to who backs it."""
    cdef Leg* leg = &e.legs[i]
    cdef Market* m = &e.markets[leg.contract]
    cdef int64_t held = leg.qty_lots, slice_lots = m.terms.terms.liquidation_slice_lots
    cdef int64_t lots = magnitude(held), rest, closed = 0
    if floor_div(lots, 2) >= slice_lots:
        lots = slice_lots
    sell_out(e, i, lots, sub64(paying_equity(e, u, NULL),
                               position_upnl(m, held, leg.cost_units)))
    rest = lots - (magnitude(held) - magnitude(leg.qty_lots))
    if rest and goes_to_adl(e, leg.contract, signed_as(rest, held)):
        closed = deleverage(e, i, rest)
        rest = lots - (magnitude(held) - magnitude(leg.qty_lots))
    if rest:
        take_over_slice(e, i, rest)
    charge_liquidation_fee(e, i, closed)


cdef inline void end_main_orders(Core* e, uint32_t u) noexcept nogil:
    """Main's orders and those of its blocks without a position end; such blocks close (Q3)."""
    cdef uint32_t account = e.units[u].account, b = e.accounts[account].first_block, after
    cdef uint32_t count = collect_orders(e, u, NO_CONTRACT, False, 0)
    while b != NONE:
        if e.legs[e.units[b].first_leg].qty_lots == 0:
            count = collect_orders(e, b, NO_CONTRACT, False, count)
        b = e.units[b].next_block
    end_collected(e, count, DONE_LIQUIDATION)
    b = e.accounts[account].first_block
    while b != NONE:
        after = e.units[b].next_block
        if is_idle(e, b):
            close_idle_block(e, b)
        b = after


cdef inline void liquidate_main(Core* e, uint32_t u) noexcept nogil:
    """Slice by slice, the heaviest leg first, until MB > IM; the fund pays a debt that is left."""
    cdef uint32_t i
    cdef int64_t gain = 0
    end_main_orders(e, u)
    cover_negative(e, u)
    if meets_maintenance(e, u, NULL):
        return
    while compare_initial(e, u) <= 0:
        i = heaviest_leg(e, u)
        if i == NONE:
            break
        liquidate_slice(e, u, i)
    cover_negative(e, u)
    if e.units[u].cash_units < 0 and heaviest_leg(e, u) == NONE:
        gain = e.units[u].cash_units
        hand_to_fund(e, u, NO_CONTRACT, 0)
    announce_end(e, u, NO_CONTRACT, 0, 0, gain)


# ---- rounds -------------------------------------------------------------------------------------

cdef inline uint32_t rank_touched(Core* e, Ranked* ranked) noexcept nogil:
    """The touched units that still exist, in unit order; returns their number."""
    cdef uint32_t n, count = 0, u
    for n in range(e.touched_count):
        u = e.touched[n]
        if e.units[u].account != NONE:
            ranked[count] = Ranked(unit_rank(&e.units[u]), 0, u)
            count += 1
    ranked_sort_long(ranked, count)
    return count


cdef inline uint32_t freeze_touched(Core* e, Ranked* ranked) noexcept nogil:
    """Cover debts, close idle blocks, and write down who is to be tested, in unit order."""
    cdef uint32_t count = rank_touched(e, ranked), n
    cdef bint closed = False
    for n in range(count):
        cover_negative(e, ranked[n].index)
    for n in range(count):
        if is_block(&e.units[ranked[n].index]) and is_idle(e, ranked[n].index):
            close_idle_block(e, ranked[n].index)
            closed = True
    # A block that closes is gone, and its main account may be new in the round.
    if closed:
        count = rank_touched(e, ranked)
    for n in range(count):
        e.tested[n] = ranked[n].index
    forget_touched(e)
    return count


cdef inline void review_margin_call(Core* e, uint32_t u) noexcept nogil:
    """C4: a healthy main account is called, or its call ends."""
    cdef bint called = (e.units[u].flags & IN_MARGIN_CALL) != 0
    cdef bint reserved
    if is_block(&e.units[u]):
        return
    reserved = has_reserved_orders(e, u)
    if not called and not reserved:
        return
    if compare_initial(e, u) >= 0:
        if called:
            edit_unit(e, u).flags &= <uint8_t>~IN_MARGIN_CALL
            unit_event(e, MARGIN_CALL_CLEARED, u, NO_CONTRACT)
        return
    if reserved:
        unit_event(e, MARGIN_CALL, u, NO_CONTRACT)
        edit_unit(e, u).flags |= IN_MARGIN_CALL
        unitset_add(e.needy, u)
        end_orders(e, u, True, DONE_MARGIN_CALL)


cdef inline uint64_t turn_of(Core* e, uint32_t u) noexcept nogil:
    """Q8: the key by which a unit is closed out."""
    cdef uint32_t i = only_leg(e, u)
    if i == NONE:
        return AFTER_SOLO
    return distance_key(e, i, solo_threshold(e, u, i, False))


cdef inline void liquidate(Core* e, uint32_t u) noexcept nogil:
    edit_unit(e, u).flags |= DONE_THIS_COMMAND
    if is_block(&e.units[u]):
        liquidate_block(e, u)
    else:
        smudge(e, u)
        liquidate_main(e, u)


cdef inline void ahead_of_test(Core* e, uint32_t n, uint32_t count) noexcept nogil:
    """Start loading units of `tested`, and their positions, that come soon."""
    cdef uint32_t i
    if n + TEST_UNIT >= count:
        return
    prefetch_unit(e, e.tested[n + TEST_UNIT])
    i = e.units[e.tested[n + TEST_LEG]].first_leg
    if i != NONE:
        prefetch(&e.legs[i])


cdef inline uint32_t group_end(uint32_t start, uint32_t count) noexcept nogil:
    return start + END_GROUP if start + END_GROUP < count else count


cdef inline void ahead_of_ends(Core* e, uint32_t n, uint32_t count) noexcept nogil:
    """Start loading what the ends of units read and write: their legs and owners.

    A group of them at once: the processor waits for the place of an owner among millions, but for
    several at once no longer than for one. Units are asked for half a group before, so that no more
    lines are on their way at a time than the processor keeps.
    """
    cdef uint32_t u, k
    if n % END_GROUP == END_GROUP // 2:
        for k in range(n + END_UNIT, group_end(n + END_UNIT, count)):
            prefetch_unit(e, e.tested[k])
    if n % END_GROUP:
        return
    for k in range(n + END_LEG, group_end(n + END_LEG, count)):
        u = e.tested[k]
        # It may be gone by now: a block of a main account that was closed out.
        if e.units[u].account == NONE:
            continue
        prefetch(&e.accounts[e.units[u].account])
        if not is_block(&e.units[u]) and e.units[u].first_leg != NONE:
            prefetch(&e.legs[e.units[u].first_leg])


cdef inline void one_round(Core* e, uint32_t failing) noexcept nogil:
    """Test who was touched; close out who fails, in the order of Q8.

    The first `failing` of `ranked` are known to fail.
    """
    cdef uint32_t count = freeze_touched(e, e.ranked + failing), n, u
    for n in range(count):
        ahead_of_test(e, n, count)
        u = e.tested[n]
        if meets_maintenance(e, u, NULL):
            review_margin_call(e, u)
        elif not e.units[u].flags & DONE_THIS_COMMAND:
            e.ranked[failing] = Ranked(turn_of(e, u), unit_rank(&e.units[u]), u)
            failing += 1
    ranked_sort_long(e.ranked, failing)
    # The list is copied: who is closed out uses the same scratch.
    for n in range(failing):
        e.tested[n] = e.ranked[n].index
    for n in range(failing):
        ahead_of_ends(e, n, failing)
        if e.units[e.tested[n]].account != NONE:
            liquidate(e, e.tested[n])


cdef inline void run_rounds(Core* e) noexcept nogil:
    """Rounds until nobody is touched any more."""
    while e.touched_count:
        one_round(e, 0)


cdef inline void run_mark(Core* e, uint32_t contract) noexcept nogil:
    """Whom a new mark reaches is tested; rounds follow (Q1, Q2)."""
    cdef uint32_t failing = sweep(e, contract)
    if failing:
        one_round(e, failing)
    run_rounds(e)
