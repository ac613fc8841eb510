"""Floor 8: funding, settlement, profit lock, uncovered and socialized loss (F1, S1 to S5).

Whatever runs over all units takes them by account: the main account, then its blocks, oldest first.
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.amendments cimport end_orders
from perpcore.codes cimport (
    DONE_SOCIALIZED, FUNDING_AT_SETTLEMENT, FUNDING_SET, INVALID_ARGUMENT, LOSS_UNCOVERED, OK,
    PROFIT_LOCKED, PROFIT_UNLOCKED, R_FUNDING, R_INSURANCE_FUND, R_REALIZED_PNL, R_ROUNDING,
    R_SOCIALIZED_LOSS, SESSION_SETTLED,
)
from perpcore.fund cimport count_cover, hand_to_fund
from perpcore.int128 cimport (
    add64, ceil_div, i128, i128_add, i128_cmp, i128_from, i128_low64, i128_neg, i128_to64, mul64,
    not_below_zero, smaller, sub64, u64_mul_div,
)
from perpcore.liquidation cimport ahead_of_test, run_rounds
from perpcore.margin cimport funding_change
from perpcore.memory cimport CHECK, prefetch
from perpcore.orders cimport mark_code
from perpcore.policies cimport (
    LOSS_ONE_PERCENT, SOCIALIZE_BY_TRADER, UNLOCK_AT_NEXT_SETTLEMENT, UNLOCK_NONNEGATIVE,
)
from perpcore.posting cimport (
    USD_LEDGER, move_inventory, post_cash, post_fund, post_inventory, roll_position, write_cash,
)
from perpcore.records cimport NONE, Command, Event
from perpcore.sort cimport Ranked, ranked_before, ranked_select
from perpcore.standing cimport position_upnl
from perpcore.state cimport (
    DONE_THIS_COMMAND, NO_CONTRACT, Core, Leg, Live, Market, Unit, edit_live, edit_unit, event,
    is_block, main_of, money_matters, orders_matter, touch, unit_rank,
)
from perpcore.thresholds cimport Plans, begin_plans, carry_out, look_after_loss
from perpcore.transfers cimport cover_negative, cover_usd
from perpcore.unitset cimport unitset_next, unitset_remove
from perpcore.walks cimport next_settling

cdef extern from *:
    """
    static const uint64_t PERPCORE_HAS_DEBT = ~0ULL;
    """
    # In the place of a profit.
    const uint64_t HAS_DEBT "PERPCORE_HAS_DEBT"

# A winner's part of a loss, rounded down, and the remainder of the division.
cdef struct Share:
    int64_t units
    uint64_t rest

cdef enum:
    AHEAD_ROW = 32               # by how many units a walk in memory's order loads them early


# ---- funding ------------------------------------------------------------------------------------

cdef inline void pay_funding(Core* e, uint32_t contract, int64_t rate_e9) noexcept nogil:
    """Q v mark rate by holder: payer up, receiver down, the dust to the fund (F1)."""
    cdef Market* m = &e.markets[contract]
    cdef int64_t tick = mul64(m.terms.v, m.live.mark_ticks), change, dust = 0
    cdef uint32_t u = next_settling(e, NONE), i
    cdef Plans plans
    begin_plans(&plans, True)
    while u != NONE:
        i = e.units[u].first_leg
        while i != NONE:
            if e.legs[i].contract == contract and e.legs[i].qty_lots:
                change = funding_change(mul64(e.legs[i].qty_lots, tick), rate_e9)
                dust = sub64(dust, change)
                write_cash(e, u, change, R_FUNDING, contract, 0)
                # A payment changes nobody else: who has paid can be tested. Whoever got money
                # passes what it passed before, and its key is only too early.
                if change < 0:
                    look_after_loss(e, u, &plans)
                elif orders_matter(e, u):
                    touch(e, u)
            i = e.legs[i].next_leg
        u = next_settling(e, u)
    carry_out(e, &plans)
    change = funding_change(mul64(m.live.inventory_lots, tick), rate_e9)
    dust = sub64(dust, change)
    post_inventory(e, change, R_FUNDING, contract)
    CHECK(dust >= 0)
    post_fund(e, USD_LEDGER, dust, R_ROUNDING, contract)


cdef inline int set_funding(Core* e, const Command* c) noexcept nogil:
    """FUNDING: paid at once, or kept for the next settlement."""
    cdef Market* m = &e.markets[c.contract]
    cdef int64_t cap = m.terms.terms.funding_cap_e9
    cdef Live* live
    cdef Event* ev
    cdef int code
    if c.rate_e9 > cap or c.rate_e9 < -cap:
        return INVALID_ARGUMENT
    if c.scope != FUNDING_AT_SETTLEMENT and m.live.position_count:
        code = mark_code(e, c.contract)
        if code:
            return code
    ev = event(e, FUNDING_SET)
    ev.contract = c.contract
    ev.price_ticks = c.rate_e9
    ev.flags = c.scope
    if c.scope == FUNDING_AT_SETTLEMENT:
        live = edit_live(e, c.contract)
        live.funding_rate_e9 = c.rate_e9
        live.funding_pending = 1
    elif m.live.position_count:
        pay_funding(e, c.contract, c.rate_e9)
    return OK


# ---- roll and debts -----------------------------------------------------------------------------

cdef inline void roll_unit(Core* e, uint32_t u) noexcept nogil:
    """C := mark value, uPnL realized, exactly; C0 stays (U4, S3)."""
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    while i != NONE:
        leg = &e.legs[i]
        if leg.qty_lots:
            roll_position(
                e, i, position_upnl(&e.markets[leg.contract], leg.qty_lots, leg.cost_units))
        i = leg.next_leg


cdef inline void roll_inventory(Core* e) noexcept nogil:
    """The inventory's positions are rolled too, and its cash goes to the fund."""
    cdef uint32_t contract
    cdef Live* live
    cdef int64_t pnl, cash
    for contract in range(e.h.contract_count):
        live = &e.markets[contract].live
        if live.inventory_lots:
            pnl = position_upnl(&e.markets[contract], live.inventory_lots,
                                live.inventory_cost_units)
            move_inventory(e, contract, 0, pnl)
            post_inventory(e, pnl, R_REALIZED_PNL, contract)
    cash = e.h.inventory_cash_units
    count_cover(e, -cash)
    post_inventory(e, -cash, R_INSURANCE_FUND, NO_CONTRACT)
    post_fund(e, USD_LEDGER, cash, R_INSURANCE_FUND, NO_CONTRACT)


cdef inline void settle_debt(Core* e, uint32_t u) noexcept nogil:
    """The unit's own USDC first; what is still negative is the fund's."""
    cover_negative(e, u)
    if e.units[u].cash_units < 0:
        hand_to_fund(e, u, e.legs[e.units[u].first_leg].contract if is_block(&e.units[u])
                     else NO_CONTRACT, 0)


# ---- uncovered loss -----------------------------------------------------------------------------

cdef inline int64_t profit_of(Core* e, uint32_t u) noexcept nogil:
    return not_below_zero(e.units[u].session_pnl_units)


cdef inline int64_t winnings(Core* e, uint32_t u) noexcept nogil:
    """p of S4: of the unit, or of all units of its account together."""
    cdef i128 sum
    cdef uint32_t b
    if e.terms.socialize_by != SOCIALIZE_BY_TRADER:
        return profit_of(e, u)
    sum = i128_from(e.units[u].session_pnl_units)
    b = e.accounts[e.units[u].account].first_block
    while b != NONE:
        sum = i128_add(sum, i128_from(e.units[b].session_pnl_units))
        b = e.units[b].next_block
    return not_below_zero(i128_to64(sum))


cdef inline uint32_t list_winners(Core* e, uint32_t count, int64_t* profits) noexcept nogil:
    """Of the `count` rows of `ranked` (profit, unit order, unit), by account, those that share a
    loss stay there and in `tested`; returns their number. `profits`: their sum.

    By policy an account shares as a whole, as its main account (S4).
    """
    cdef i128 sum = i128_from(0)
    cdef uint32_t n, last = NONE, winners = 0
    cdef Ranked row
    for n in range(count):
        row = e.ranked[n]
        if e.terms.socialize_by == SOCIALIZE_BY_TRADER:
            row.index = main_of(e, row.index)
            row.key = <uint64_t>winnings(e, row.index) if row.index != last else 0
            row.tie = unit_rank(&e.units[row.index])
            last = row.index
        if row.key:
            sum = i128_add(sum, i128_from(<int64_t>row.key))
            e.tested[winners] = row.index
            e.ranked[winners] = row
            winners += 1
    profits[0] = i128_to64(sum)
    return winners


cdef inline Share floor_share(int64_t loss, int64_t profit, uint64_t profits) noexcept nogil:
    """A winner's part of a loss below all profits together: down, and what is left over."""
    cdef uint64_t units
    cdef Share share
    cdef bint fits = u64_mul_div(<uint64_t>loss, <uint64_t>profit, profits, &units, &share.rest)
    CHECK(fits)
    share.units = <int64_t>units
    return share


cdef inline Ranked by_remainder(uint64_t rank, uint64_t rest) noexcept nogil:
    """A winner's place when the largest remainder comes first, and of equal ones the smaller id."""
    return Ranked(~rest, rank, 0)


cdef inline Ranked last_remainder(Core* e, uint32_t winners, int64_t loss,
                                  uint64_t profits) noexcept nogil:
    """The last in the order of remainders who pays one unit more; no winner's place is 0, 0 (S4).

    The floors of the shares leave fewer units over than there are winners.
    """
    cdef uint32_t n
    cdef int64_t left = loss
    cdef Share share
    for n in range(winners):
        share = floor_share(loss, <int64_t>e.ranked[n].key, profits)
        left -= share.units
        e.ranked[n] = by_remainder(e.ranked[n].tie, share.rest)
    CHECK(0 <= left <= winners)
    if left == 0:
        return Ranked(0, 0, 0)
    ranked_select(e.ranked, winners, <uint64_t>left - 1)
    return e.ranked[left - 1]


cdef inline void pay_share(Core* e, uint32_t u, int64_t share, Plans* plans) noexcept nogil:
    """From the unit's cash; a block's missing part from its own USDC, then from what its orders
    give back to main (S4)."""
    cdef int64_t own = share
    cdef uint32_t contract = NO_CONTRACT, main
    if is_block(&e.units[u]):
        contract = e.legs[e.units[u].first_leg].contract
        own = smaller(share, not_below_zero(e.units[u].cash_units))
        own = add64(own, cover_usd(e, u, sub64(share, own)))
    write_cash(e, u, -own, R_SOCIALIZED_LOSS, contract, 0)
    if own < share:
        main = main_of(e, u)
        end_orders(e, u, False, DONE_SOCIALIZED)
        post_cash(e, main, -(share - own), R_SOCIALIZED_LOSS, contract, 0)
    # A payment changes nobody else: who has paid can be tested.
    look_after_loss(e, u, plans)


cdef inline void pay_winner(Core* e, uint32_t u, int64_t share, Plans* plans) noexcept nogil:
    """A unit pays itself; of an account main pays first, then its blocks, each from its profit."""
    cdef uint32_t payer = u, after
    cdef int64_t part
    if e.terms.socialize_by != SOCIALIZE_BY_TRADER:
        pay_share(e, u, share, plans)
        return
    after = e.accounts[e.units[u].account].first_block
    while share:
        CHECK(payer != NONE)
        part = smaller(share, profit_of(e, payer))
        if part:
            pay_share(e, payer, part, plans)
            share -= part
        payer = after
        after = NONE if payer == NONE else e.units[payer].next_block


cdef inline int64_t sum_of_percents(Core* e, uint32_t winners) noexcept nogil:
    """One percent of each winner's profit, up: whoever owes, owes it whole."""
    cdef i128 sum = i128_from(0)
    cdef uint32_t n
    for n in range(winners):
        sum = i128_add(sum, i128_from(ceil_div(<int64_t>e.ranked[n].key, 100)))
    return i128_to64(sum)


cdef inline void share_loss(Core* e, int64_t loss, uint32_t count) noexcept nogil:
    """S4: the session's winners bear what the fund could not; what is more is carried.

    In proportion to their profits, or by policy one percent of each where that is enough.
    `count`: rows of `ranked` among which the winners are.
    """
    cdef int64_t profits = 0, profit, share, paid = 0
    cdef uint32_t winners = list_winners(e, count, &profits), n
    cdef Ranked place
    cdef Share part
    cdef bint all_of_it = loss >= profits
    cdef bint flat = (e.terms.socialized_loss == LOSS_ONE_PERCENT
                      and sum_of_percents(e, winners) >= loss)
    cdef Ranked last = Ranked(0, 0, 0)
    cdef Plans plans
    cdef Event* ev
    begin_plans(&plans, True)
    e.h.carried_units = 0 if flat or not all_of_it else loss - profits
    ev = event(e, LOSS_UNCOVERED)
    ev.amount_units = loss
    ev.balance_units = e.h.carried_units
    if not all_of_it and not flat:
        last = last_remainder(e, winners, loss, <uint64_t>profits)
    for n in range(winners):
        ahead_of_test(e, n, winners)
        profit = winnings(e, e.tested[n])
        share = profit
        if flat:
            share = ceil_div(profit, 100)
        elif not all_of_it:
            part = floor_share(loss, profit, <uint64_t>profits)
            place = by_remainder(unit_rank(&e.units[e.tested[n]]), part.rest)
            share = part.units + (not ranked_before(&last, &place))
        if share:
            pay_winner(e, e.tested[n], share, &plans)
        paid = add64(paid, share)
    carry_out(e, &plans)
    CHECK(paid >= loss if flat else paid == (profits if all_of_it else loss))
    post_fund(e, USD_LEDGER, paid, R_SOCIALIZED_LOSS, NO_CONTRACT)


cdef inline int64_t excess_units(Core* e) noexcept nogil:
    """What the fund paid above its cover limit, with what is not shared of earlier ones (S1)."""
    if e.terms.cover_limit_units == 0:
        return 0
    return add64(e.h.excess_units,
                 not_below_zero(sub64(e.h.covered_units, e.terms.cover_limit_units)))


cdef inline int64_t resolve_loss(Core* e, uint32_t count) noexcept nogil:
    """D of S4, and its sharing: what the fund lacks, at least what it paid above its limit.

    `count`: rows of `ranked` among which the winners are.
    """
    cdef int64_t excess = excess_units(e), loss = excess, shared
    cdef i128 lack = i128_neg(e.h.fund_units[USD_LEDGER])
    if i128_cmp(lack, i128_from(loss)) > 0:
        loss = i128_to64(lack)
    e.h.carried_units = 0
    e.h.covered_units = 0
    if loss:
        share_loss(e, loss, count)
    shared = sub64(loss, e.h.carried_units)          # what was shared, a surplus apart
    e.h.excess_units = not_below_zero(sub64(excess, shared))
    return loss


# ---- profit lock --------------------------------------------------------------------------------

cdef inline bint profits_are_free(Core* e, int64_t loss) noexcept nogil:
    """S5: the fund stands, or the loss was shared in full."""
    cdef i128 fund = e.h.fund_units[USD_LEDGER]
    cdef uint32_t contract
    cdef int standing
    for contract in range(e.h.contract_count):       # all parts of the fund together
        fund = i128_add(fund, e.sub_funds[contract])
    standing = i128_cmp(fund, i128_from(0))
    if e.h.carried_units:
        return False
    return loss > 0 or standing > 0 or (
        standing == 0 and e.terms.unlock_requires == UNLOCK_NONNEGATIVE)


cdef inline void release_or_keep(Core* e, int64_t loss) noexcept nogil:
    """S5: what is kept and, at its own settlement, the session's profit are unlocked, or stay."""
    cdef bint released = profits_are_free(e, loss)
    cdef bint waits = e.terms.unlock_at == UNLOCK_AT_NEXT_SETTLEMENT
    cdef uint32_t u = unitset_next(e.settling, 0, e.h.unit_top)
    cdef i128 total = i128_from(0)
    cdef int64_t profit, kept
    cdef Unit* unit
    while u < e.h.unit_top:
        prefetch(&e.units[u + AHEAD_ROW])
        unit = edit_unit(e, u)
        if unit.account != NONE:
            profit = profit_of(e, u)
            kept = add64(profit, unit.kept_units)
            total = i128_add(total, i128_from(unit.kept_units if released and waits else kept))
            unit.session_pnl_units = 0
            unit.kept_units = kept if not released else profit if waits else 0
        if unit.account == NONE or (unit.kept_units == 0 and unit.first_leg == NONE):
            unitset_remove(e.settling, u, &e.undo)
        u = unitset_next(e.settling, u + 1, e.h.unit_top)
    event(e, PROFIT_UNLOCKED if released else PROFIT_LOCKED).amount_units = i128_to64(total)


# ---- settlement ---------------------------------------------------------------------------------

cdef inline bint holds_position(Core* e, uint32_t u) noexcept nogil:
    cdef uint32_t i = e.units[u].first_leg
    while i != NONE and e.legs[i].qty_lots == 0:
        i = e.legs[i].next_leg
    return i != NONE


cdef inline void test_holders(Core* e) noexcept nogil:
    """Every unit with a position is tested (S3); the round puts who is touched into unit order.

    Every unit passed its margin tests when it last changed, a mark crossed it or funding was paid:
    what can still follow from a test is the rest of orders_matter, which for a unit with a position
    needs a call or USD below 0.
    """
    cdef uint32_t u = unitset_next(e.needy, 0, e.h.unit_top)
    while u < e.h.unit_top:
        if e.units[u].account == NONE or not money_matters(&e.units[u]):
            unitset_remove(e.needy, u, &e.undo)
        elif orders_matter(e, u) and holds_position(e, u):
            touch(e, u)
        u = unitset_next(e.needy, u + 1, e.h.unit_top)


cdef inline void allow_second_time(Core* e, uint32_t count) noexcept nogil:
    """Who was liquidated before the roll may be again in the new session's first pass.

    All others passed their tests then, and what came since either touched them or kept their
    equity: they need no second look. Who is liquidated is filed anew: `count` were by then.
    """
    cdef uint32_t n, u
    for n in range(count):
        u = e.dirty[n]
        if e.units[u].account != NONE and e.units[u].flags & DONE_THIS_COMMAND:
            edit_unit(e, u).flags &= 0xFF ^ DONE_THIS_COMMAND
            if holds_position(e, u):
                touch(e, u)


cdef inline int settlement_code(Core* e) noexcept nogil:
    """A missing or stale mark of a contract with a position postpones it whole (S3)."""
    cdef uint32_t contract
    cdef int code
    for contract in range(e.h.contract_count):
        if e.markets[contract].live.position_count:
            code = mark_code(e, contract)
            if code:
                return code
    return OK


cdef inline void pay_pending_funding(Core* e) noexcept nogil:
    cdef uint32_t contract
    cdef Live* live
    for contract in range(e.h.contract_count):
        if e.markets[contract].live.funding_pending:
            live = edit_live(e, contract)
            if live.position_count:
                pay_funding(e, contract, live.funding_rate_e9)
            live.funding_pending = 0
            live.funding_rate_e9 = 0


cdef inline uint32_t roll_everything(Core* e) noexcept nogil:
    """All positions to their marks; then every debt finds its payer.

    Returns how many rows (profit, unit order, unit) are in `ranked`: by account, of all units that
    have profit or had a debt.
    """
    cdef uint32_t u = next_settling(e, NONE), n, count = 0
    cdef Unit* unit
    while u != NONE:
        roll_unit(e, u)
        unit = &e.units[u]
        if unit.cash_units < 0 or unit.session_pnl_units > 0:
            e.ranked[count] = Ranked(
                HAS_DEBT if unit.cash_units < 0 else <uint64_t>unit.session_pnl_units,
                unit_rank(unit), u)
            count += 1
        u = next_settling(e, u)
    roll_inventory(e)
    for n in range(count):
        if e.ranked[n].key == HAS_DEBT:
            settle_debt(e, e.ranked[n].index)
            e.ranked[n].key = <uint64_t>profit_of(e, e.ranked[n].index)
    return count


cdef inline int settle(Core* e) noexcept nogil:
    """SETTLE_SESSION: funding, liquidation, roll, loss, lock, and the new session's first pass."""
    cdef int code = settlement_code(e)
    cdef int64_t loss
    cdef uint32_t count, changed
    cdef Event* ev
    if code:
        return code
    pay_pending_funding(e)
    test_holders(e)
    run_rounds(e)
    changed = e.dirty_count
    count = roll_everything(e)
    loss = resolve_loss(e, count)
    release_or_keep(e, loss)
    ev = event(e, SESSION_SETTLED)
    ev.qty_lots = e.h.session
    ev.amount_units = loss
    ev.balance_units = <int64_t>i128_low64(e.h.fund_units[USD_LEDGER])
    e.h.session += 1
    # The new session's first pass is the one that ends every command.
    allow_second_time(e, changed)
    return OK
