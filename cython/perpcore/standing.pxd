"""Floor 3.5: where a unit stands: equity, requirements, and the exact tests of C4, O7 and Q1.

Amounts round each leg's requirement up; tests compare whole equity with an exact sum (U3, Q1).
"""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from perpcore.contract cimport (
    E6, E9, call_rate, maintenance_line, margin_rate, trigger_line,
)
from perpcore.int128 cimport (
    add64, cmp_products, floor_div, i128_floor_div, i128_mul, i128_mul_u, i128_to64, larger,
    magnitude, mul64, mul_div_ceil, mul_div_floor, not_below_zero, sign_of, smaller, sub64,
)
from perpcore.margin cimport (
    ExactSum, Line, Rate, exact_add, exact_add_line, exact_clear, exact_cmp, margin_below,
    rate_ceil, rate_of, scaled_ceil,
)
from perpcore.memory cimport rarely
from perpcore.policies cimport HAIRCUT_IN_VALUE, REMOVAL_FREE
from perpcore.records cimport NONE
from perpcore.state cimport (
    Core, Leg, Market, Unit, is_block, is_in_kind, leg_of, unit_usdc,
)

# A state that may come to be: the unit's own, with one leg and its cash changed.
cdef struct Probe:
    uint32_t contract
    int64_t qty_lots
    int64_t cost_units
    int64_t cash_delta_units
    int64_t usdc_delta_units     # of a block where USDC stays USDC

# Amounts of a unit, each requirement rounded up by leg.
cdef struct Amounts:
    int64_t collateral_units
    int64_t payable_units        # cash and what its USDC gives when converted
    int64_t upnl_units
    int64_t haircut_units
    int64_t im_units             # with the haircut (A4)
    int64_t mm_units
    int64_t fr_units
    int64_t order_margin_units
    int64_t mb_units             # collateral + uPnL - FR
    int64_t free_units           # MB - IM - order margin, may be negative


cdef inline int64_t usdc_value(Core* e, int64_t usdc_units) noexcept nogil:
    """Down: a balance (U3)."""
    if usdc_units == 0:
        return 0
    return mul_div_floor(usdc_units, e.h.index_e6, E6)


cdef inline int64_t haircut(Core* e, int64_t value_units) noexcept nogil:
    """Up: a requirement (A4)."""
    if value_units == 0:
        return 0
    return mul_div_ceil(value_units, e.terms.usdc_haircut_e9, E9)


cdef inline int64_t counted_usdc(Core* e, int64_t usdc_units) noexcept nogil:
    """What USDC counts for as collateral: its value, less the haircut where that is policy (A4)."""
    cdef int64_t value = usdc_value(e, usdc_units)
    if e.terms.haircut_in == HAIRCUT_IN_VALUE:
        return sub64(value, haircut(e, value))
    return value


cdef inline int64_t required_haircut(Core* e, int64_t usdc_units) noexcept nogil:
    """What USDC adds to initial margin: the haircut, unless it is off its value already (A4)."""
    if usdc_units == 0 or e.terms.haircut_in == HAIRCUT_IN_VALUE:
        return 0
    return haircut(e, usdc_value(e, usdc_units))


cdef inline int64_t convertible(Core* e, int64_t usdc_units) noexcept nogil:
    """What USDC gives when it covers USD: index less haircut, down (A4)."""
    if usdc_units == 0:
        return 0
    return i128_to64(i128_floor_div(
        i128_mul_u(i128_mul(usdc_units, 1), <uint64_t>(e.h.index_e6
                                                       * (E9 - e.terms.usdc_haircut_e9))),
        <uint64_t>(E6 * E9)))


cdef inline int64_t notional(const Market* m, int64_t lots) noexcept nogil:
    """Notional of |lots| at the mark."""
    return mul64(magnitude(lots), mul64(m.terms.v, m.live.mark_ticks))


cdef inline int64_t position_upnl(const Market* m, int64_t lots, int64_t cost) noexcept nogil:
    return sub64(mul64(lots, mul64(m.terms.v, m.live.mark_ticks)), cost)


cdef inline bint may_hold_usdc(Core* e, const Unit* unit) noexcept nogil:
    return not is_block(unit) or is_in_kind(e)


cdef inline int64_t collateral(Core* e, uint32_t u) noexcept nogil:
    """Cash and the value of the USDC that is the unit's own: of a block by policy alone."""
    cdef Unit* unit = &e.units[u]
    if not may_hold_usdc(e, unit):
        return unit.cash_units
    return add64(unit.cash_units, counted_usdc(e, unit_usdc(e, u)))


cdef inline int64_t equity(Core* e, uint32_t u, const Probe* probe) noexcept nogil:
    """Collateral value + uPnL: whole, no rate in it."""
    cdef int64_t total = collateral(e, u)
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    while i != NONE:
        leg = &e.legs[i]
        i = leg.next_leg
        if probe != NULL and leg.contract == probe.contract:
            continue
        if leg.qty_lots:
            total = add64(total, position_upnl(&e.markets[leg.contract], leg.qty_lots,
                                               leg.cost_units))
    if probe != NULL:
        total = add64(total, probe.cash_delta_units)
        if probe.qty_lots:
            total = add64(total, position_upnl(&e.markets[probe.contract], probe.qty_lots,
                                               probe.cost_units))
    return total


cdef inline int64_t paying_equity(Core* e, uint32_t u, const Probe* probe) noexcept nogil:
    """Equity with USDC at what it gives when converted: below 0 the fund would have to pay (O7)."""
    cdef int64_t usdc = unit_usdc(e, u)
    if usdc == 0:
        return equity(e, u, probe)
    return sub64(equity(e, u, probe), sub64(counted_usdc(e, usdc), convertible(e, usdc)))


cdef inline void sum_maintenance(Core* e, uint32_t u, const Probe* probe,
                                 ExactSum* s) noexcept nogil:
    """The exact sum of MM + FR over the unit's legs."""
    exact_clear(s)
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    cdef Market* m
    cdef int64_t n
    while i != NONE:
        leg = &e.legs[i]
        i = leg.next_leg
        if leg.qty_lots == 0 or (probe != NULL and leg.contract == probe.contract):
            continue
        m = &e.markets[leg.contract]
        n = notional(m, leg.qty_lots)
        exact_add_line(s, n, trigger_line(&m.terms, magnitude(leg.qty_lots), n))
    if probe != NULL and probe.qty_lots:
        m = &e.markets[probe.contract]
        n = notional(m, probe.qty_lots)
        exact_add_line(s, n, trigger_line(&m.terms, magnitude(probe.qty_lots), n))


cdef inline int64_t half_haircut_of(Core* e, int64_t usdc_units) noexcept nogil:
    """MM's half of the haircut of so much USDC, up."""
    if usdc_units == 0:
        return 0
    return floor_div(required_haircut(e, usdc_units) + 1, 2)   # the ceiling of a half


cdef inline int64_t half_haircut(Core* e, uint32_t u) noexcept nogil:
    """MM's half of the haircut of the unit's USDC."""
    return half_haircut_of(e, unit_usdc(e, u))


cdef inline int64_t gained_by_usdc(Core* e, uint32_t u, int64_t units) noexcept nogil:
    """By how much more USDC raises what maintenance is compared with; each sum rounds by itself."""
    cdef int64_t own = unit_usdc(e, u), more = add64(own, units)
    return sub64(sub64(counted_usdc(e, more), half_haircut_of(e, more)),
                 sub64(counted_usdc(e, own), half_haircut_of(e, own)))


cdef inline bint meets_maintenance(Core* e, uint32_t u, const Probe* probe) noexcept nogil:
    """MB >= MM, exactly (Q1, O7)."""
    cdef Probe only
    cdef Market* m
    cdef Line line
    cdef int64_t cash
    if rarely(not one_position(e, u, probe, &only)):
        return several_meet_maintenance(e, u, probe)
    cash = add64(collateral(e, u), only.cash_delta_units)
    if may_hold_usdc(e, &e.units[u]):
        cash = sub64(cash, half_haircut(e, u))
        if rarely(only.usdc_delta_units != 0):
            cash = add64(cash, gained_by_usdc(e, u, only.usdc_delta_units))
    if only.qty_lots == 0:
        return cash >= 0
    m = &e.markets[only.contract]
    line = trigger_line(&m.terms, magnitude(only.qty_lots), notional(m, only.qty_lots))
    return not margin_below(add64(cash, line.cum_units), only.qty_lots, only.cost_units,
                            m.live.mark_ticks, m.terms.v, line.rate)


cdef inline bint several_meet_maintenance(Core* e, uint32_t u, const Probe* probe) noexcept nogil:
    """meets_maintenance of a main account with several positions: over their exact sum."""
    cdef ExactSum s
    sum_maintenance(e, u, probe, &s)
    return exact_cmp(&s, sub64(equity(e, u, probe), half_haircut(e, u))) >= 0


cdef inline bint one_position(Core* e, uint32_t u, const Probe* probe,
                              Probe* only) noexcept nogil:
    """Whether the unit (with the probe's leg in place of its own) has one position at most.

    Nearly every unit has: its tests need no sum. `only` is that position; lots 0: there is none.
    """
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    only.contract = NONE
    only.qty_lots = only.cost_units = only.cash_delta_units = only.usdc_delta_units = 0
    if probe != NULL:
        only[0] = probe[0]
    while i != NONE:
        leg = &e.legs[i]
        i = leg.next_leg
        if leg.qty_lots == 0 or (probe != NULL and leg.contract == probe.contract):
            continue
        if only.qty_lots:
            return False
        only.contract = leg.contract
        only.qty_lots = leg.qty_lots
        only.cost_units = leg.cost_units
    return True


cdef inline int compare_initial(Core* e, uint32_t u) noexcept nogil:
    """Sign of MB - sum N MR - haircut, exactly, for a main account (C4, Q3)."""
    cdef Probe only
    cdef Market* m
    cdef Rate a
    cdef int64_t left, n
    if rarely(not one_position(e, u, NULL, &only)):
        return compare_initial_of_several(e, u)
    left = collateral(e, u)
    left = sub64(left, required_haircut(e, e.accounts[e.units[u].account].usdc_units))
    if only.qty_lots == 0:
        return sign_of(left)
    m = &e.markets[only.contract]
    left = add64(left, position_upnl(m, only.qty_lots, only.cost_units))
    n = notional(m, only.qty_lots)
    a = call_rate(&m.terms, magnitude(only.qty_lots), n,
                  e.legs[leg_of(e, u, only.contract)].leverage)
    return cmp_products(left, a.den, n, a.num)


cdef inline int compare_initial_of_several(Core* e, uint32_t u) noexcept nogil:
    """compare_initial of a main account with several positions: over their exact sum."""
    cdef ExactSum s
    exact_clear(&s)
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    cdef Market* m
    cdef int64_t n
    while i != NONE:
        leg = &e.legs[i]
        i = leg.next_leg
        if leg.qty_lots == 0:
            continue
        m = &e.markets[leg.contract]
        n = notional(m, leg.qty_lots)
        exact_add(&s, n, rate_of(&m.terms.rates.fee_reserve))
        exact_add(&s, n, margin_rate(&m.terms, magnitude(leg.qty_lots), n, leg.leverage))
    cdef int64_t usdc = e.accounts[e.units[u].account].usdc_units
    return exact_cmp(&s, sub64(equity(e, u, NULL), required_haircut(e, usdc)))


cdef inline int64_t order_margin(Core* e, uint32_t u) noexcept nogil:
    """Main's order margin: by contract the larger side (C3)."""
    cdef int64_t total = 0, buys, sells
    cdef uint32_t i = e.units[u].first_leg
    cdef uint32_t g
    while i != NONE:
        g = e.legs[i].orders
        if g != NONE:
            buys = e.groups[g].reserve_units[0]
            sells = e.groups[g].reserve_units[1]
            total = add64(total, larger(buys, sells))
        i = e.legs[i].next_leg
    return total


cdef inline int64_t maintenance_units(const Market* m, int64_t lots, int64_t n) noexcept nogil:
    """MM of |lots| as it is shown: up (C1)."""
    cdef Line line = maintenance_line(&m.terms, lots, n)
    return sub64(rate_ceil(n, line.rate), line.cum_units)


cdef inline void leg_amounts(const Market* m, const Leg* leg, Amounts* a) noexcept nogil:
    """Add one leg's uPnL and requirements."""
    cdef int64_t n = notional(m, leg.qty_lots), lots = magnitude(leg.qty_lots)
    a.upnl_units = add64(a.upnl_units, position_upnl(m, leg.qty_lots, leg.cost_units))
    a.im_units = add64(a.im_units, rate_ceil(n, margin_rate(&m.terms, lots, n, leg.leverage)))
    a.mm_units = add64(a.mm_units, maintenance_units(m, lots, n))
    a.fr_units = add64(a.fr_units, scaled_ceil(n, &m.terms.rates.fee_reserve))


cdef inline Amounts amounts(Core* e, uint32_t u) noexcept nogil:
    """All amounts of a unit (C2, I4)."""
    cdef Amounts a
    cdef Unit* unit = &e.units[u]
    cdef int64_t usdc
    a.collateral_units = a.payable_units = unit.cash_units
    a.upnl_units = a.haircut_units = a.im_units = a.mm_units = a.fr_units = 0
    a.order_margin_units = 0
    if may_hold_usdc(e, unit):
        usdc = unit_usdc(e, u)
        a.collateral_units = add64(a.collateral_units, counted_usdc(e, usdc))
        a.payable_units = add64(a.payable_units, convertible(e, usdc))
        a.haircut_units = required_haircut(e, usdc)
        a.im_units = a.haircut_units
        a.mm_units = half_haircut_of(e, usdc)
    if not is_block(unit):
        a.order_margin_units = order_margin(e, u)
    cdef uint32_t i = unit.first_leg
    while i != NONE:
        if e.legs[i].qty_lots:
            leg_amounts(&e.markets[e.legs[i].contract], &e.legs[i], &a)
        i = e.legs[i].next_leg
    a.mb_units = sub64(add64(a.collateral_units, a.upnl_units), a.fr_units)
    a.free_units = sub64(sub64(a.mb_units, a.im_units), a.order_margin_units)
    return a


cdef inline int64_t free_units(Core* e, uint32_t u) noexcept nogil:
    """amounts().free_units of a main account alone: what its orders are checked against."""
    cdef int64_t usdc = e.accounts[e.units[u].account].usdc_units
    cdef int64_t free = sub64(add64(e.units[u].cash_units, counted_usdc(e, usdc)),
                              add64(required_haircut(e, usdc), order_margin(e, u)))
    cdef uint32_t i = e.units[u].first_leg
    cdef Leg* leg
    cdef Market* m
    cdef int64_t n
    while i != NONE:
        leg = &e.legs[i]
        i = leg.next_leg
        if leg.qty_lots == 0:
            continue
        m = &e.markets[leg.contract]
        n = notional(m, leg.qty_lots)
        free = add64(free, position_upnl(m, leg.qty_lots, leg.cost_units))
        free = sub64(free, rate_ceil(
            n, margin_rate(&m.terms, magnitude(leg.qty_lots), n, leg.leverage)))
        free = sub64(free, scaled_ceil(n, &m.terms.rates.fee_reserve))
    return free


cdef inline int64_t free_money(const Amounts* a) noexcept nogil:
    """MB - IM - order margin, at most what main's collateral gives as USD; may be negative (C2)."""
    return smaller(a.free_units, a.payable_units)


cdef inline int64_t transferable(const Amounts* a) noexcept nogil:
    """What may move from main into a block (C2)."""
    cdef int64_t least = free_money(a)
    return not_below_zero(least)


cdef inline int64_t lock_units(const Unit* unit) noexcept nogil:
    """Profit that may not leave the venue yet (C5)."""
    cdef int64_t profit = not_below_zero(unit.session_pnl_units)
    return add64(profit, unit.kept_units)


cdef inline int64_t withdrawable_usd(Core* e, uint32_t u, const Amounts* a) noexcept nogil:
    """C5 for USD."""
    cdef int64_t profit = not_below_zero(a.upnl_units)
    cdef int64_t least = sub64(a.free_units, profit)
    cdef int64_t unlocked = sub64(e.units[u].cash_units, lock_units(&e.units[u]))
    least = smaller(least, unlocked)
    return not_below_zero(least)


cdef inline int64_t usdc_free_after(Core* e, uint32_t u, const Amounts* a,
                                    int64_t leaving) noexcept nogil:
    """MB - IM - order margin after so much USDC has left, less main's uPnL (C5).

    Of a block the lesser of MB - IM and cash with what the rest gives less MM of now (I9).
    """
    cdef int64_t own = unit_usdc(e, u)
    cdef int64_t before = usdc_value(e, own), after = usdc_value(e, own - leaving), by_maintenance
    cdef int64_t profit = not_below_zero(a.upnl_units)
    cdef int64_t free = sub64(a.free_units, sub64(
        sub64(before, haircut(e, before)), sub64(after, haircut(e, after))))
    if not is_block(&e.units[u]):
        return sub64(free, profit)
    by_maintenance = sub64(
        add64(e.units[u].cash_units, convertible(e, own - leaving)), a.mm_units)
    return smaller(free, by_maintenance)


cdef inline int64_t most_usdc_out(Core* e, uint32_t u, const Amounts* a) noexcept nogil:
    """The most USDC that leaves usdc_free_after >= 0: it falls, so a bisection finds it; or 0."""
    cdef int64_t low = 0, high = unit_usdc(e, u), middle
    while low < high:
        middle = low + floor_div(high - low + 1, 2)
        if usdc_free_after(e, u, a, middle) >= 0:
            low = middle
        else:
            high = middle - 1
    return low


cdef inline bint keeps_margin(Core* e, const Leg* leg) noexcept nogil:
    """I9's gate: with in_profit nothing leaves unless the position gains on its opening cost."""
    return e.terms.removal != REMOVAL_FREE and position_upnl(
        &e.markets[leg.contract], leg.qty_lots, leg.opening_cost_units) <= 0


cdef inline int64_t removable(Core* e, uint32_t u) noexcept nogil:
    """USD that may leave a block (I9)."""
    cdef Leg* leg = &e.legs[e.units[u].first_leg]
    if leg.qty_lots == 0:
        return e.units[u].cash_units
    return 0 if keeps_margin(e, leg) else releasable(e, u)


cdef inline int64_t removable_usdc(Core* e, uint32_t u) noexcept nogil:
    """USDC that may leave a block (I9)."""
    cdef Leg* leg = &e.legs[e.units[u].first_leg]
    cdef Amounts a
    if leg.qty_lots == 0:
        return unit_usdc(e, u)
    if keeps_margin(e, leg):
        return 0
    a = amounts(e, u)
    return most_usdc_out(e, u, &a)


cdef inline int64_t releasable(Core* e, uint32_t u) noexcept nogil:
    """min(position_cash - MM, MB - IM), not below 0, without the profit gate (I10).

    USDC of a block meets of MM what it gives when it is converted.
    """
    cdef Amounts a = amounts(e, u)
    cdef int64_t cash = e.units[u].cash_units
    cdef int64_t by_cash = sub64(a.mm_units, sub64(a.payable_units, cash))
    cdef int64_t by_maintenance = sub64(cash, not_below_zero(by_cash))
    cdef int64_t least = smaller(by_maintenance, a.free_units)
    return not_below_zero(least)
