"""Floor 1: the terms of a contract, validated once, and the rates that follow (U1, U2, C1)."""
from libc.stdint cimport int64_t, uint8_t, uint64_t

from perpcore.int128 cimport (
    ceil_div, floor_div, i128, i128_add, i128_cmp, i128_fits64, i128_floor_div, i128_from, i128_mul,
    i128_mul_u, i128_to64, magnitude,
)
from perpcore.margin cimport (
    CommonRates, Line, Rate, Scaled, bracket_line, bracket_of, bracket_threshold, common_rates,
    liquidation_threshold, maintenance_num, rate_add, rate_max, rate_of, rate_reduce, rate_scaled,
)
from perpcore.memory cimport CHECK
from perpcore.records cimport BRACKETS_MAX, Brackets, ContractTerms

cdef enum:
    E4 = 10_000
    E6 = 1_000_000
cdef extern from *:
    """
    static const int64_t PERPCORE_E9 = 1000000000LL;
    static const int64_t PERPCORE_E13 = 10000000000000LL;
    static const int64_t PERPCORE_E15 = 1000000000000000LL;
    static const int64_t PERPCORE_MAX_COST = 1LL << 60;
    static const int64_t PERPCORE_MAX_INVENTORY = 1LL << 62;
    static const int64_t PERPCORE_MAX_MARK = (1LL << 31) - 2;
    static const int64_t PERPCORE_MAX_DEPOSITS = 1LL << 61;
    """
    const int64_t E9 "PERPCORE_E9"
    const int64_t E13 "PERPCORE_E13"
    const int64_t E15 "PERPCORE_E15"
    const int64_t MAX_COST "PERPCORE_MAX_COST"
    const int64_t MAX_INVENTORY "PERPCORE_MAX_INVENTORY"
    const int64_t MAX_MARK "PERPCORE_MAX_MARK"
    const int64_t MAX_DEPOSITS "PERPCORE_MAX_DEPOSITS"

cdef enum Breach:
    """Why registration refuses a contract; the shell turns each into a sentence."""
    TERMS_OK = 0
    NOT_LINEAR = 1
    SIZES = 2
    VALUE_NOT_WHOLE = 3
    MARK_RANGE = 4
    NOTIONAL_RANGE = 5
    INVENTORY_RANGE = 6
    RATES = 7
    MARGIN_OVER_ONE = 8
    DENOMINATORS = 9
    LEVERAGE = 10
    ACCESS_GROUP = 11
    SIZE_OVER_ONE = 12
    SYMBOL_EXISTS = 13
    BRACKET_FIELDS = 14
    BRACKET_ORDER = 15
    BRACKET_AMOUNTS = 16
    BRACKET_REACH = 17

cdef struct Rates:
    Scaled taker
    Scaled maker
    Scaled liquidation
    Scaled fee_reserve           # taker + liquidation (C2)
    Rate lot                     # unit margin rate a lot
    Rate flat                    # 1 / max leverage
    Rate flat_call               # flat + fee reserve
    bint has_brackets            # then of `common` den and reserve_num alone are used
    int64_t flat_lots            # up to this size the margin rate is the flat one
    int64_t cap_lots             # from this size on the margin rate is 1
    CommonRates common           # maintenance and fee reserve

cdef struct Contract:
    ContractTerms terms
    Rates rates
    int64_t v                    # money units of one mark tick x one lot
    int64_t k                    # marks per tick
    int64_t max_mark_ticks


cdef inline bint rate_is_fraction(int64_t rate, int64_t scale) noexcept nogil:
    return 0 <= rate < scale


cdef inline int terms_sizes(const ContractTerms* t) noexcept nogil:
    if t.kind != 1:
        return NOT_LINEAR
    if not (1 <= t.tick_size_e12 <= E15 * 100 and 1 <= t.lot_size_e9 <= E13
            and 1 <= t.multiplier <= E6 and 1 <= t.marks_per_tick <= 100_000):
        return SIZES
    if not (1 <= t.min_order_lots <= t.max_order_lots and t.max_position_lots >= 1
            and t.liquidation_slice_lots >= 1 and t.inventory_limit_lots >= 1
            and t.work_off_slice_lots >= 1 and t.max_price_ticks >= 1 and t.stale_after_ns >= 0
            and t.max_order_lots <= MAX_COST):
        return SIZES
    if not 1 <= t.max_leverage <= 1000:
        return LEVERAGE
    if not 0 <= t.access_group <= 15:
        return ACCESS_GROUP
    return TERMS_OK


cdef inline int terms_value(const ContractTerms* t, int64_t* v) noexcept nogil:
    """One mark tick x one lot in money units: whole, or the contract is refused (U2)."""
    cdef i128 product = i128_mul_u(i128_mul(t.tick_size_e12, t.lot_size_e9), <uint64_t>t.multiplier)
    cdef uint64_t den = <uint64_t>(E13 * t.marks_per_tick)
    cdef i128 quotient = i128_floor_div(product, den)   # exact or refused: no direction is needed
    if not i128_fits64(quotient):
        return NOTIONAL_RANGE
    v[0] = i128_to64(quotient)
    if v[0] < 1 or i128_cmp(i128_mul_u(quotient, den), product) != 0:
        return VALUE_NOT_WHOLE
    return TERMS_OK


cdef inline int terms_ranges(const ContractTerms* t, int64_t v) noexcept nogil:
    if t.max_price_ticks > floor_div(MAX_MARK, t.marks_per_tick):
        return MARK_RANGE
    cdef i128 lot = i128_mul(v, t.max_price_ticks * t.marks_per_tick)
    if not i128_fits64(lot):
        return NOTIONAL_RANGE
    if i128_cmp(i128_mul(i128_to64(lot), t.max_position_lots), i128_from(MAX_COST)) >= 0:
        return NOTIONAL_RANGE
    if i128_cmp(i128_mul(i128_to64(lot), t.max_order_lots), i128_from(MAX_COST)) >= 0:
        return NOTIONAL_RANGE
    if i128_cmp(i128_mul(i128_to64(lot), t.inventory_limit_lots), i128_from(MAX_INVENTORY)) >= 0:
        return INVENTORY_RANGE
    return TERMS_OK


cdef inline Scaled fee_rate(int64_t rate_e9) noexcept nogil:
    return rate_scaled(rate_reduce(<uint64_t>rate_e9, <uint64_t>E9))


cdef inline int terms_rates(const ContractTerms* t, Rates* r) noexcept nogil:
    cdef bint fits = True
    if not (rate_is_fraction(t.taker_fee_e9, E9) and rate_is_fraction(t.maker_fee_e9, E9)
            and rate_is_fraction(t.liquidation_fee_e9, E9)
            and rate_is_fraction(t.band_aggressive_e9, E9)
            and rate_is_fraction(t.band_passive_e9, E9)
            and rate_is_fraction(t.work_off_band_e9, E9)
            and rate_is_fraction(t.funding_cap_e9, E9)
            and rate_is_fraction(t.unit_margin_rate_e15, E15)
            and ((1 <= t.maintenance_share_e4 < E4) != (t.brackets.count > 0))):
        return RATES
    if (t.maintenance_share_e4 * <int64_t>E9
            + (t.taker_fee_e9 + t.liquidation_fee_e9) * E4 >= E9 * E4):
        return MARGIN_OVER_ONE
    r.taker = fee_rate(t.taker_fee_e9)
    r.maker = fee_rate(t.maker_fee_e9)
    r.liquidation = fee_rate(t.liquidation_fee_e9)
    r.fee_reserve = fee_rate(t.taker_fee_e9 + t.liquidation_fee_e9)
    r.lot = rate_reduce(<uint64_t>t.unit_margin_rate_e15, <uint64_t>E15)
    r.flat = rate_reduce(1, <uint64_t>t.max_leverage)
    # Fits: the denominators are at most 10^9 and 1,000.
    r.flat_call = rate_add(rate_of(&r.fee_reserve), r.flat, &fits)
    # The size at which the margin rate reaches 1: its ceiling, so that below it the product is < 1.
    r.flat_lots = r.cap_lots = MAX_INVENTORY
    if r.lot.num > 0:
        r.cap_lots = ceil_div(<int64_t>r.lot.den, <int64_t>r.lot.num)
        # The last size whose product is not above the flat rate: its floor.
        r.flat_lots = floor_div(<int64_t>r.lot.den, <int64_t>r.lot.num * t.max_leverage)
    if i128_cmp(i128_mul_u(i128_mul(t.unit_margin_rate_e15, t.max_position_lots),
                           <uint64_t>t.maintenance_share_e4), i128_mul(E15, E4)) > 0:
        return SIZE_OVER_ONE
    r.has_brackets = t.brackets.count > 0
    if not r.has_brackets:
        return terms_denominators(t, r)
    r.common.den = <uint64_t>E9
    r.common.reserve_num = <uint64_t>(t.taker_fee_e9 + t.liquidation_fee_e9)
    if t.brackets.mm_e9[t.brackets.count - 1] + <int64_t>r.common.reserve_num >= E9:
        return MARGIN_OVER_ONE
    return TERMS_OK


cdef inline bint bracket_fits(const ContractTerms* t, int i) noexcept nogil:
    """Every number within its range; 0 where there is no bracket. MM stays at most IM."""
    cdef const Brackets* b = &t.brackets
    if i >= b.count:
        return (b.cap_units[i] == 0 and b.mm_e9[i] == 0 and b.leverage[i] == 0
                and b.cum_units[i] == 0)
    return (1 <= b.cap_units[i] <= MAX_COST and 1 <= b.mm_e9[i] < E9
            and 1 <= b.leverage[i] <= t.max_leverage and b.mm_e9[i] * b.leverage[i] <= E9)


cdef inline bint bracket_follows(const Brackets* b, int i) noexcept nogil:
    return (b.cap_units[i] > b.cap_units[i - 1] and b.mm_e9[i] >= b.mm_e9[i - 1]
            and b.leverage[i] <= b.leverage[i - 1])


cdef inline bint bracket_continues(const Brackets* b, int i) noexcept nogil:
    """cum grows by cap x growth of the rate: the maintenance margin is continuous at the cap."""
    cdef i128 grown = i128_mul(b.cap_units[i - 1], b.mm_e9[i] - b.mm_e9[i - 1])
    return i128_cmp(i128_mul(b.cum_units[i], E9),
                    i128_add(i128_mul(b.cum_units[i - 1], E9), grown)) == 0


cdef inline int terms_brackets(const ContractTerms* t, int64_t v) noexcept nogil:
    """C1's second model: what the threshold's proof needs of a table (docs/margin.md)."""
    cdef const Brackets* b = &t.brackets
    cdef int i
    if not 0 <= b.count <= BRACKETS_MAX:
        return BRACKET_FIELDS
    for i in range(BRACKETS_MAX):
        if not bracket_fits(t, i):
            return BRACKET_FIELDS
    if b.count == 0:
        return TERMS_OK
    if t.maintenance_share_e4 != 0 or t.unit_margin_rate_e15 != 0:
        return BRACKET_FIELDS
    if b.cum_units[0] != 0:
        return BRACKET_AMOUNTS
    for i in range(1, <int>b.count):
        if not bracket_follows(b, i):
            return BRACKET_ORDER
        if not bracket_continues(b, i):
            return BRACKET_AMOUNTS
    if (t.max_position_lots * v * (t.max_price_ticks * t.marks_per_tick)
            > b.cap_units[b.count - 1]):
        return BRACKET_REACH
    return TERMS_OK


cdef inline int terms_denominators(const ContractTerms* t, Rates* r) noexcept nogil:
    """Every rate of a trigger has one denominator with the others (U2)."""
    cdef bint fits = True
    r.common = common_rates(rate_reduce(<uint64_t>t.maintenance_share_e4, E4), t.max_leverage,
                            rate_of(&r.fee_reserve), r.lot, &fits)
    # The margin call adds the fee reserve to a margin rate; that sum must have a denominator too.
    if fits:
        rate_add(rate_of(&r.fee_reserve), Rate(1, r.lot.den), &fits)
    return TERMS_OK if fits else DENOMINATORS


cdef inline int terms_validate(const ContractTerms* t, int64_t* v, Rates* r) noexcept nogil:
    """Every limit of SPEC U2, proven here once; returns a Breach."""
    cdef int breach = terms_sizes(t)
    if breach == TERMS_OK:
        breach = terms_value(t, v)
    if breach == TERMS_OK:
        breach = terms_ranges(t, v[0])
    if breach == TERMS_OK:
        breach = terms_brackets(t, v[0])
    if breach == TERMS_OK:
        breach = terms_rates(t, r)
    return breach


cdef inline Rate product_margin_rate(const Rates* r, int64_t lots) noexcept nogil:
    """MR without the user's leverage: min(1, max(1 / max leverage, unit rate x lots)) (C1)."""
    if lots <= r.flat_lots:
        return r.flat
    if lots >= r.cap_lots:
        return Rate(1, 1)
    return Rate(r.lot.num * <uint64_t>lots, r.lot.den)


cdef inline Rate margin_rate(const Contract* c, int64_t lots, int64_t notional_units,
                             int64_t leverage) noexcept nogil:
    """MR of a size at a leverage, 0 = none set; with brackets of its notional (C1)."""
    # Of most positions, and small enough to stand where it is asked for.
    if leverage == 0 and lots <= c.rates.flat_lots and not c.rates.has_brackets:
        return c.rates.flat
    return special_rate(c, lots, notional_units, leverage)


cdef inline Rate special_rate(const Contract* c, int64_t lots, int64_t notional_units,
                              int64_t leverage) noexcept nogil:
    """margin_rate where size, brackets or a leverage have a say."""
    cdef Rate rate
    if c.rates.has_brackets:
        rate = Rate(1, <uint64_t>c.terms.brackets.leverage[
            bracket_of(&c.terms.brackets, notional_units)])
    else:
        rate = product_margin_rate(&c.rates, lots)
    if leverage == 0:
        return rate
    return rate_max(rate, Rate(1, <uint64_t>leverage))


cdef inline Line maintenance_line(const Contract* c, int64_t lots,
                                  int64_t notional_units) noexcept nogil:
    """MM of a size, or with brackets of its notional (C1)."""
    if c.rates.has_brackets:
        return bracket_line(&c.terms.brackets, bracket_of(&c.terms.brackets, notional_units), 0)
    cdef const CommonRates* r = &c.rates.common
    return Line(Rate(maintenance_num(r, c.rates.cap_lots, lots), r.den), 0)


cdef inline Line trigger_line(const Contract* c, int64_t lots,
                              int64_t notional_units) noexcept nogil:
    """MM + FR, what Q1 and O7 ask of a unit; the rate is a of SPEC Q2."""
    cdef const CommonRates* r = &c.rates.common
    if c.rates.has_brackets:
        return bracket_line(&c.terms.brackets, bracket_of(&c.terms.brackets, notional_units),
                            r.reserve_num)
    return Line(Rate(maintenance_num(r, c.rates.cap_lots, lots) + r.reserve_num, r.den), 0)


cdef inline Rate steepest_trigger(const Contract* c, int64_t lots) noexcept nogil:
    """The largest rate at which MM + FR may grow with the mark."""
    if c.rates.has_brackets:
        return bracket_line(&c.terms.brackets, <int>c.terms.brackets.count - 1,
                            c.rates.common.reserve_num).rate
    return trigger_line(c, lots, 0).rate


cdef inline int64_t maintenance_threshold(const Contract* c, int64_t cash_units, int64_t qty_lots,
                                          int64_t cost_units) noexcept nogil:
    """The mark nearest to safety at which MB < MM; as liquidation_threshold (Q2)."""
    if c.rates.has_brackets:
        return bracket_threshold(cash_units, qty_lots, cost_units, c.v, &c.terms.brackets,
                                 c.rates.common.reserve_num, c.max_mark_ticks)
    return liquidation_threshold(
        cash_units, qty_lots, cost_units, c.v,
        trigger_line(c, magnitude(qty_lots), 0).rate, c.max_mark_ticks)


cdef inline Rate call_rate(const Contract* c, int64_t lots, int64_t notional_units,
                           int64_t leverage) noexcept nogil:
    """MR + FR rate: the margin call's counterpart of the trigger (C4); 1 or more: never safe."""
    cdef bint fits = True
    cdef Rate a
    if leverage == 0 and lots <= c.rates.flat_lots and not c.rates.has_brackets:
        return c.rates.flat_call                     # of most positions: added once, in the terms
    a = rate_add(rate_of(&c.rates.fee_reserve), margin_rate(c, lots, notional_units, leverage),
                 &fits)
    CHECK(fits)
    return a
