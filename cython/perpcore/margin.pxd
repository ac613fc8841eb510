"""Floor 0.9: pure arithmetic of margin: exact rates, exact sums of them, thresholds (C1, Q1, Q2).

Every function depends on its arguments alone. Maintenance margin is a line in the notional: a rate
of it, less an amount that only brackets have. A rate is a fraction of whole numbers; an amount made
from a rate says its direction, a test compares exactly and makes no amount.
"""
from libc.stdint cimport INT64_MAX, int64_t, uint64_t

from perpcore.int128 cimport (
    FRACTIONS_MAX, add64, ceil_div, cmp_products, floor_div, fractions_cmp, i128, i128_add,
    i128_ceil_div, i128_ceil_div64, i128_cmp, i128_fits64, i128_floor_div, i128_floor_div64,
    i128_from, i128_mul, i128_mul_u, i128_neg, i128_to64, i128_within, larger, magnitude, mul64,
    mul_overflows, not_below_zero, signed_as, smaller, sub64, u64_cmp_products, u64_exact_div,
    u64_gcd, u64_mul_div, u64_mul_high, u64_mul_high_up,
)
from perpcore.memory cimport CHECK, rarely
from perpcore.records cimport Brackets

cdef enum:
    MARGIN_E9 = 1_000_000_000
# num / den >= 0; den >= 1. Below 2^60 each where a venue's terms made it.
cdef struct Rate:
    uint64_t num
    uint64_t den

# Maintenance and fee reserve over one denominator, so that Q2 is one multiplication.
cdef struct CommonRates:
    uint64_t den
    uint64_t reserve_num         # fee reserve
    uint64_t flat_num            # maintenance at 1 / max leverage
    uint64_t lot_num             # maintenance a lot
    uint64_t cap_num             # maintenance at margin rate 1

# A rate below 1 beside its reciprocal: many amounts of one rate need no division.
cdef struct Scaled:
    uint64_t num
    uint64_t den
    uint64_t whole               # floor(num 2^64 / den)
    uint64_t exact_up_to         # amount: up to it `whole` alone gives amount x rate, up

# A requirement of a notional N: N x rate - cum, exact; without brackets cum is 0.
cdef struct Line:
    Rate rate
    int64_t cum_units

# whole + the sum of num / den, each fraction in (0, 1) and no denominator twice.
cdef struct ExactSum:
    int64_t whole                # money units
    int64_t count
    uint64_t num[128]            # FRACTIONS_MAX: two rates of each of 64 contracts
    uint64_t den[128]


# ---- rates

cdef inline Rate rate_reduce(uint64_t num, uint64_t den) noexcept nogil:
    """num / den in lowest terms."""
    cdef uint64_t divisor = u64_gcd(num, den)
    return Rate(u64_exact_div(num, divisor), u64_exact_div(den, divisor))


cdef inline Rate rate_max(Rate a, Rate b) noexcept nogil:
    """The larger rate; the first if they are equal."""
    return b if u64_cmp_products(a.num, b.den, b.num, a.den) < 0 else a


cdef inline Rate rate_add(Rate a, Rate b, bint* fits) noexcept nogil:
    """a + b over one denominator, exact; *fits turns 0 when the least common one passes 2^60."""
    # The product serves as well when it is small: no divisor has to be found.
    if (a.num | a.den | b.num | b.den) >> 30 == 0:
        return Rate(a.num * b.den + b.num * a.den, a.den * b.den)
    cdef uint64_t divisor = u64_gcd(a.den, b.den)
    cdef uint64_t more_a = u64_exact_div(b.den, divisor), more_b = u64_exact_div(a.den, divisor)
    cdef i128 den = i128_mul_u(i128_mul_u(i128_from(1), a.den), more_a)
    cdef i128 num = i128_add(i128_mul_u(i128_mul_u(i128_from(1), a.num), more_a),
                             i128_mul_u(i128_mul_u(i128_from(1), b.num), more_b))
    cdef i128 limit = i128_from(<int64_t>1 << 60)
    if i128_cmp(den, limit) > 0 or not i128_fits64(num):
        fits[0] = False
        return Rate(0, 1)
    return Rate(<uint64_t>i128_to64(num), <uint64_t>i128_to64(den))


cdef inline uint64_t least_common_multiple(uint64_t a, uint64_t b, bint* fits) noexcept nogil:
    """Of two numbers >= 1; *fits turns 0, and the result too, when it passes 2^60."""
    cdef uint64_t step = u64_exact_div(b, u64_gcd(a, b))
    if step > <uint64_t>floor_div(<int64_t>1 << 60, <int64_t>a):
        fits[0] = False
        return 0
    return a * step


cdef inline CommonRates common_rates(Rate share, int64_t max_leverage, Rate fee_reserve, Rate lot,
                                     bint* fits) noexcept nogil:
    """The maintenance share of each margin rate, and the fee reserve, over one denominator (Q2).

    *fits turns 0 when the least common one passes 2^60.
    """
    cdef CommonRates t
    cdef Rate flat = rate_reduce(share.num, share.den * <uint64_t>max_leverage)
    cdef Rate a_lot = rate_reduce(share.num * lot.num, share.den * lot.den)
    # The denominator of the flat rate is a multiple of the share's.
    t.den = least_common_multiple(fee_reserve.den, flat.den, fits)
    if fits[0]:
        t.den = least_common_multiple(t.den, a_lot.den, fits)
    t.reserve_num = t.flat_num = t.lot_num = t.cap_num = 0
    if fits[0]:
        t.reserve_num = fee_reserve.num * u64_exact_div(t.den, fee_reserve.den)
        t.flat_num = flat.num * u64_exact_div(t.den, flat.den)
        t.lot_num = a_lot.num * u64_exact_div(t.den, a_lot.den)
        t.cap_num = share.num * u64_exact_div(t.den, share.den)
    return t


cdef inline uint64_t maintenance_num(const CommonRates* r, int64_t cap_lots,
                                     int64_t lots) noexcept nogil:
    """MM of a size as a rate: over r.den; from cap_lots on the margin rate is 1 (C1)."""
    if lots >= cap_lots:
        return r.cap_num
    cdef uint64_t by_size = r.lot_num * <uint64_t>lots
    return by_size if by_size > r.flat_num else r.flat_num


cdef inline int64_t rate_ceil(int64_t amount_units, Rate rate) noexcept nogil:
    """amount x rate, up: a requirement or a fee (U3)."""
    cdef int64_t product
    if not rarely((rate.num | rate.den) >> 63) and not mul_overflows(
            amount_units, <int64_t>rate.num, &product):
        return ceil_div(product, <int64_t>rate.den)
    return i128_ceil_div64(i128_mul_u(i128_from(amount_units), rate.num), rate.den)


cdef inline int64_t rate_floor(int64_t amount_units, Rate rate) noexcept nogil:
    """amount x rate, down: a balance or a release (U3)."""
    cdef int64_t product
    if not rarely((rate.num | rate.den) >> 63) and not mul_overflows(
            amount_units, <int64_t>rate.num, &product):
        return floor_div(product, <int64_t>rate.den)
    return i128_floor_div64(i128_mul_u(i128_from(amount_units), rate.num), rate.den)


cdef inline Scaled rate_scaled(Rate rate) noexcept nogil:
    """A rate below 1 with its reciprocal."""
    cdef Scaled s
    cdef uint64_t rest = 0
    CHECK(rate.num < rate.den)
    s.num = rate.num
    s.den = rate.den
    s.whole = 0
    # num 2^63 x 2 / den fits, as the rate is below 1.
    u64_mul_div(rate.num, <uint64_t>1 << 63, rate.den, &s.whole, &rest)
    s.whole = 2 * s.whole + (rest >= rate.den - rest)
    # `whole` lacks less than 1, a product with an amount up to 2^63 / den less than 1 / den: the
    # least by which amount x rate can be above a whole number.
    s.exact_up_to = <uint64_t>floor_div(INT64_MAX, <int64_t>rate.den)
    return s


cdef inline Rate rate_of(const Scaled* rate) noexcept nogil:
    return Rate(rate.num, rate.den)


cdef inline uint64_t scaled_about(uint64_t amount_units, const Scaled* rate) noexcept nogil:
    """amount x rate, down, or one less: what the reciprocal lacks is below 1 in all."""
    return u64_mul_high(amount_units, rate.whole)


cdef inline int64_t scaled_ceil(uint64_t amount_units, const Scaled* rate) noexcept nogil:
    """rate_ceil without a division; the amount is below 2^63."""
    cdef uint64_t about
    if not rarely(amount_units > rate.exact_up_to):
        return <int64_t>u64_mul_high_up(amount_units, rate.whole)
    about = scaled_about(amount_units, rate)
    # What is left is below twice the denominator, so that the low words alone give it.
    cdef uint64_t rest = amount_units * rate.num - about * rate.den
    return <int64_t>(about + (rest > 0) + (rest > rate.den))


# ---- exact sums

cdef inline void exact_clear(ExactSum* s) noexcept nogil:
    s.whole = 0
    s.count = 0


cdef inline void exact_add(ExactSum* s, int64_t amount_units, Rate rate) noexcept nogil:
    """Add amount x rate, exactly; the amount is not negative."""
    cdef int64_t whole = rate_floor(amount_units, rate), i = 0
    # The rest lies in [0, den), so that the low words alone give it.
    cdef uint64_t rest = <uint64_t>amount_units * rate.num - <uint64_t>whole * rate.den
    cdef uint64_t room
    s.whole = add64(s.whole, whole)
    if rest == 0:
        return
    while i < s.count and s.den[i] != rate.den:
        i += 1
    if i == s.count:
        CHECK(i < FRACTIONS_MAX)
        s.num[i] = rest
        s.den[i] = rate.den
        s.count += 1
        return
    room = rate.den - s.num[i]                        # what is missing to one whole unit
    if rest < room:
        s.num[i] += rest
        return
    s.whole = add64(s.whole, 1)
    s.num[i] = rest - room
    if s.num[i] == 0:
        s.count -= 1
        s.num[i] = s.num[s.count]
        s.den[i] = s.den[s.count]


cdef inline void exact_add_line(ExactSum* s, int64_t amount_units, Line line) noexcept nogil:
    """Add amount x rate - cum, exactly."""
    exact_add(s, amount_units, line.rate)
    s.whole = sub64(s.whole, line.cum_units)


cdef inline int exact_cmp(const ExactSum* s, int64_t amount_units) noexcept nogil:
    """Sign of the amount less the sum: 1 when the amount is the larger."""
    return fractions_cmp(sub64(amount_units, s.whole), s.num, s.den, <int>s.count)


# ---- the test of one position, and the mark at which it turns

cdef inline bint equity_below(int64_t equity_units, int64_t notional_units, Rate a) noexcept nogil:
    """equity < notional x a, exactly; the notional is not negative."""
    return cmp_products(equity_units, a.den, notional_units, a.num) < 0


cdef inline bint margin_below(int64_t cash_units, int64_t qty_lots, int64_t cost_units,
                              int64_t mark_ticks, int64_t v, Rate a) noexcept nogil:
    """cash + Q v mark - C < |Q| v mark a, exactly (Q1); v = money units of a mark tick x a lot."""
    cdef int64_t value = mul64(qty_lots, mul64(v, mark_ticks))
    cdef int64_t equity = sub64(add64(cash_units, value), cost_units)
    return equity_below(equity, magnitude(value), a)


cdef inline bint is_long(int64_t qty_lots) noexcept nogil:
    """Needs Q != 0."""
    return qty_lots > 0


cdef inline int64_t liquidation_threshold(int64_t cash_units, int64_t qty_lots, int64_t cost_units,
                                          int64_t v, Rate a, int64_t max_mark_ticks) noexcept nogil:
    """The mark nearest to safety at which margin_below holds (Q2).

    A long is below at this mark and every lower one; 0: at none. A short is below at this mark and
    every higher one; max + 1: at none. Needs Q != 0, and a < 1 for a long. Nested divisions in one
    direction round like one division by the product.
    """
    CHECK(qty_lots != 0)
    cdef uint64_t tick, by_tick, rest
    cdef int64_t mark, owed
    if is_long(qty_lots):
        CHECK(a.num < a.den)
        tick = <uint64_t>mul64(qty_lots, v)
        owed = sub64(cost_units, cash_units)
        if owed <= 0:
            return 0
        if not u64_mul_div(<uint64_t>owed, a.den, tick, &by_tick, &rest) or by_tick >> 62:
            return far_threshold(owed, tick, a, True, max_mark_ticks)
        mark = ceil_div(<int64_t>by_tick + (rest > 0), <int64_t>(a.den - a.num)) - 1
        return smaller(mark, max_mark_ticks)
    tick = <uint64_t>mul64(-qty_lots, v)
    owed = sub64(cash_units, cost_units)
    if owed < 0:
        return 1
    if not u64_mul_div(<uint64_t>owed, a.den, tick, &by_tick, &rest) or by_tick >> 62:
        return far_threshold(owed, tick, a, False, max_mark_ticks)
    mark = floor_div(<int64_t>by_tick, <int64_t>(a.den + a.num)) + 1
    return smaller(mark, max_mark_ticks + 1)


cdef inline int64_t far_threshold(int64_t owed_units, uint64_t tick, Rate a, bint is_long,
                                  int64_t max_mark_ticks) noexcept nogil:
    """liquidation_threshold where a number in between passes 64 bits."""
    cdef i128 gap = i128_mul_u(i128_from(owed_units), a.den)
    if is_long:
        gap = i128_ceil_div(i128_ceil_div(gap, tick), a.den - a.num)
        return i128_within(i128_add(gap, i128_from(-1)), 0, max_mark_ticks)
    gap = i128_floor_div(i128_floor_div(gap, tick), a.den + a.num)
    return i128_within(i128_add(gap, i128_from(1)), 1, max_mark_ticks + 1)


# ---- notional brackets (C1)

cdef inline int bracket_of(const Brackets* b, int64_t notional_units) noexcept nogil:
    """The first bracket whose cap the notional does not pass; above the last cap the last."""
    cdef int i = 0, last = <int>b.count - 1
    while i < last and notional_units > b.cap_units[i]:
        i += 1
    return i


cdef inline Line bracket_line(const Brackets* b, int i, uint64_t reserve_e9) noexcept nogil:
    """Maintenance of a bracket, with a fee reserve rate on top."""
    return Line(Rate(<uint64_t>b.mm_e9[i] + reserve_e9, MARGIN_E9), b.cum_units[i])


cdef inline int64_t bracket_threshold(int64_t cash_units, int64_t qty_lots, int64_t cost_units,
                                      int64_t v, const Brackets* b, uint64_t reserve_e9,
                                      int64_t max_mark_ticks) noexcept nogil:
    """liquidation_threshold where the maintenance margin has brackets (Q2).

    The surplus MB - MM is continuous in the notional, rises with a long's and falls with a short's
    (docs/margin.md). So it turns in the first bracket at whose cap it has turned, and there it is
    the bracket's line: cum counts as cash.
    """
    cdef int i = 0, last = <int>b.count - 1
    cdef int64_t cap, equity
    cdef Line line = bracket_line(b, 0, reserve_e9)
    while i < last:
        cap = b.cap_units[i]
        equity = sub64(add64(cash_units, line.cum_units), cost_units)
        equity = add64(equity, signed_as(cap, qty_lots))
        if equity_below(equity, cap, line.rate) != is_long(qty_lots):
            break
        i += 1
        line = bracket_line(b, i, reserve_e9)
    return liquidation_threshold(add64(cash_units, line.cum_units), qty_lots, cost_units, v,
                                 line.rate, max_mark_ticks)


cdef inline int64_t bankruptcy_mark(int64_t other_equity_units, int64_t qty_lots,
                                    int64_t cost_units, int64_t v) noexcept nogil:
    """The worst mark at which closing Q leaves nothing negative: (C - other equity) / (Q v) (Q3).

    Up for a long and down for a short: in the fund's favor, which pays nothing for a close at it.
    May lie below 1, or above every price. Needs Q != 0.
    """
    CHECK(qty_lots != 0)
    if is_long(qty_lots):
        return ceil_div(sub64(cost_units, other_equity_units), mul64(qty_lots, v))
    return floor_div(sub64(other_equity_units, cost_units), mul64(-qty_lots, v))


# ---- amounts

cdef inline int64_t funding_change(int64_t value_units, int64_t rate_e9) noexcept nogil:
    """What the holder of Q v mark gets (F1): down, so that a payer pays the ceiling."""
    return i128_floor_div64(i128_neg(i128_mul(value_units, rate_e9)), 1_000_000_000)


cdef inline int64_t reserve_units(int64_t lots, int64_t price_marks, int64_t mark_ticks,
                                  bint is_sell, int64_t v, Rate margin, const Scaled* taker,
                                  const Scaled* fee_reserve) noexcept nogil:
    """R(n) of C3 without the part for lots already held: every term up by itself."""
    if lots < 1:
        return 0
    cdef int64_t b = larger(price_marks, mark_ticks)
    cdef int64_t n = mul64(lots, mul64(b, v))
    cdef int64_t worse = mark_ticks - price_marks if is_sell else price_marks - mark_ticks
    cdef int64_t total = add64(rate_ceil(n, margin), scaled_ceil(n, taker))
    total = add64(total, scaled_ceil(n, fee_reserve))
    # Sides come at random: a product with 0 costs less than a branch.
    return add64(total, mul64(lots, mul64(not_below_zero(worse), v)))
