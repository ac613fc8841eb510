"""Margin without a venue: what a position needs, what it is worth, and the mark that ends it.

`MarginTerms` holds the few numbers of a contract that margin depends on and answers in whole units,
for one position or for arrays of them without the GIL. It is the arithmetic of the venue's core:
the same functions, so the same integers. Units: money 1e-8 USD, sizes lots (long above 0), marks
mark ticks (an order price p is the mark p x marks_per_tick), costs the signed sum of price x size.
Requirements round up, balances and releases down, tests compare exact rationals (SPEC U3, Q1).
Formulas with worked numbers: docs/margin.md.
"""
cimport cython
from libc.stdint cimport int64_t, uint8_t, uint64_t

from cpython.long cimport PyLong_CheckExact

from perpcore.codes cimport BUY, SELL
from perpcore.columns cimport (
    CHUNK_ROWS, Column, column_open, column_read, column_target, column_write,
)
from perpcore.int128 cimport (
    add64, ceil_div, floor_div, mul64, mul_div_ceil, smaller,
)
from perpcore.records cimport BRACKETS_MAX, Brackets

from fractions import Fraction
from operator import index

import numpy as np

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

# What the venue proves at a contract's registration (U2), asked of every number here.
cdef extern from *:
    """
    namespace {
    constexpr long long AMOUNT_MAX = 1LL << 60;      // money units: a notional, a cost
    constexpr long long CASH_MAX = 1LL << 61;        // money units
    constexpr long long MARK_MAX = (1LL << 31) - 2;  // mark ticks
    constexpr long long E4 = 10'000, E9 = 1'000'000'000, E15 = 1'000'000'000'000'000;
    }
    """
    const int64_t AMOUNT_MAX, CASH_MAX, MARK_MAX, E4, E9, E15

# A rate that sizes up to a limit have, scaled; beyond it the size has a say, or a bracket.
cdef struct Flat:
    Scaled rate
    int64_t lots                 # 1..lots; 0: no size has it

cdef struct Rates:
    Scaled taker
    Scaled fee_reserve
    Rate lot                     # unit margin rate of one lot
    Rate flat                    # 1 / max leverage
    int64_t cap_lots             # from this size on the margin rate is 1
    CommonRates common           # maintenance and fee reserve
    Brackets brackets            # with a count above 0: instead of all but the fees' rates

# What answers depend on, beside the rows.
cdef struct Terms:
    const Rates* rates
    Flat maintenance
    Flat trigger                 # maintenance and fee reserve
    int64_t v                    # money units of one mark tick x one lot
    int64_t max_lots             # notional stays below 2^60 at every mark
    int64_t max_mark_ticks
    int64_t max_leverage


cdef inline int64_t size_of(int64_t qty_lots) noexcept nogil:
    return qty_lots if qty_lots >= 0 else -qty_lots


cdef inline int64_t amount_ceil(int64_t units, Rate rate) noexcept nogil:
    return 0 if units == 0 else rate_ceil(units, rate)


cdef inline Rate margin_rate_of(const Rates* r, int64_t lots, int64_t n,
                                int64_t leverage) noexcept nogil:
    """min(1, max(1 / leverage, 1 / max leverage, unit margin rate x lots)) (C1).

    With brackets max(1 / leverage, 1 / leverage of the notional's bracket).
    """
    cdef Rate rate = r.flat
    if r.brackets.count:
        rate = Rate(1, <uint64_t>r.brackets.leverage[bracket_of(&r.brackets, n)])
    if lots >= r.cap_lots:
        return Rate(1, 1)
    if r.lot.num:
        rate = rate_max(rate, Rate(r.lot.num * <uint64_t>lots, r.lot.den))
    return rate if leverage == 0 else rate_max(rate, Rate(1, <uint64_t>leverage))


cdef inline Line maintenance_of(const Rates* r, int64_t lots, int64_t n) noexcept nogil:
    """Maintenance of a size, or of a notional n where there are brackets (C1)."""
    if r.brackets.count:
        return bracket_line(&r.brackets, bracket_of(&r.brackets, n), 0)
    return Line(Rate(maintenance_num(&r.common, r.cap_lots, lots), r.common.den), 0)


cdef inline Line trigger_of(const Rates* r, int64_t lots, int64_t n) noexcept nogil:
    """Maintenance and fee reserve; its rate is a of Q2."""
    cdef Line line = maintenance_of(r, lots, n)
    line.rate.num += r.common.reserve_num
    return line


cdef inline bint is_below(const Rates* r, int64_t v, int64_t cash, int64_t qty, int64_t cost,
                          int64_t mark) noexcept nogil:
    cdef Line line
    if qty == 0:
        return cash < 0
    line = trigger_of(r, size_of(qty), mul64(size_of(qty), mul64(v, mark)))
    return margin_below(add64(cash, line.cum_units), qty, cost, mark, v, line.rate)


cdef inline int64_t value_of(int64_t qty, int64_t lot_units) noexcept nogil:
    """Q x what a lot is worth, of a row in range: below 2^60 (U2), so that nothing is checked."""
    return qty * lot_units


cdef inline int64_t initial_of(const Rates* r, int64_t lots, int64_t n,
                               int64_t leverage) noexcept nogil:
    return amount_ceil(n, margin_rate_of(r, lots, n, leverage))


cdef inline int64_t maintenance_units_of(const Rates* r, int64_t lots, int64_t n) noexcept nogil:
    cdef Line line = maintenance_of(r, lots, n)
    return amount_ceil(n, line.rate) - line.cum_units


cdef inline int64_t threshold_of(const Rates* r, int64_t v, int64_t max_mark, int64_t cash,
                                 int64_t qty, int64_t cost) noexcept nogil:
    """The liquidation mark; 0 where no mark in 1..max does it."""
    cdef int64_t mark
    if qty == 0:
        return 0
    if r.brackets.count:
        mark = bracket_threshold(cash, qty, cost, v, &r.brackets, r.common.reserve_num, max_mark)
    else:
        mark = liquidation_threshold(cash, qty, cost, v, trigger_of(r, size_of(qty), 0).rate,
                                     max_mark)
    return mark if mark <= max_mark else 0


cdef inline int64_t balance_of(const Scaled* reserve, int64_t lot_units, int64_t cash, int64_t qty,
                               int64_t cost) noexcept nogil:
    cdef int64_t value = value_of(qty, lot_units)
    return cash + value - cost - scaled_ceil(size_of(value), reserve)


cdef inline Flat flat_of(Rate rate, int64_t lots) noexcept nogil:
    """A rate of 1 has no reciprocal here: nothing is flat then."""
    cdef Flat f
    f.lots = lots if rate.num < rate.den else 0
    f.rate = rate_scaled(rate_reduce(rate.num, rate.den) if rate.num < rate.den else Rate(0, 1))
    return f


cdef inline bint is_outside(int64_t value, int64_t low, int64_t high) noexcept nogil:
    # As one comparison: below `low` the difference is a huge unsigned number.
    return <uint64_t>value - <uint64_t>low > <uint64_t>high - <uint64_t>low


cdef inline bint is_size_outside(int64_t lots, int64_t max_lots) noexcept nogil:
    # The size of the lowest number of 64 bits is a huge unsigned one.
    return <uint64_t>lots > <uint64_t>max_lots


cdef inline bint is_money_outside(int64_t cash, int64_t cost) noexcept nogil:
    # One by one: a branch that is never taken costs less than a bit of an answer.
    return (rarely(is_outside(cost, 1 - AMOUNT_MAX, AMOUNT_MAX - 1))
            or rarely(is_outside(cash, 1 - CASH_MAX, CASH_MAX - 1)))


include "rows.pxi"


cdef int64_t whole(object value, str name, int64_t low, int64_t high) except? -1:
    """value as int64 within low..high; the error names the field, the bounds and the cure."""
    cdef int overflow = 0
    cdef int64_t number
    if PyLong_CheckExact(value):
        number = PyLong_AsLongLongAndOverflow(value, &overflow)
        if overflow == 0 and low <= number <= high:
            return number
    try:
        value = index(value)
    except TypeError:
        raise TypeError(
            f"{name}: a whole number is needed, not {value!r}; records count ticks, lots and "
            "money units of 1e-8 (docs/units.md)") from None
    if not low <= value <= high:
        raise ValueError(f"{name}: {value} is outside {low}..{high}; give it in its unit "
                         "(docs/units.md), or take terms with a smaller max_mark_ticks")
    return value


def _column(values, str name):
    """values as an int64 array, a scalar as one of no dimension; floats are refused."""
    array = np.asarray(values)
    if array.dtype.kind not in "iu" or array.ndim > 1:
        raise TypeError(f"{name}: a whole number or an (n,) integer array is needed, not "
                        f"{array.dtype} of {array.ndim} dimensions; convert with .astype('int64')")
    if array.dtype.kind == "u" and array.size and int(array.max()) >= 1 << 63:
        raise ValueError(f"{name}: a value is 2^63 or more; amounts are below 2^61")
    return array.astype(np.int64, copy=False)


def _columns(dict given):
    """The arrays by name, broadcast to one length n; scalars stand for n equal rows."""
    columns = {name: _column(value, name) for name, value in given.items()}
    sizes = {column.shape[0] for column in columns.values() if column.ndim}
    if len(sizes) > 1:
        shapes = ", ".join(f"{name} {np.shape(value)}" for name, value in given.items())
        raise ValueError(f"arrays of one length are needed; got {shapes}")
    n = sizes.pop() if sizes else 1
    return {name: np.broadcast_to(column, (n,)) for name, column in columns.items()}


cdef int open_column(Column* c, dict columns, str name, int64_t otherwise) except -1:
    """The column of a name, which `columns` keeps alive; without it one number for all rows."""
    cdef const int64_t[:] rows
    c.room[0] = otherwise
    if name in columns:
        rows = columns[name]
        column_open(c, <char*>&rows[0], rows.strides[0])
    else:
        column_open(c, <char*>&c.room[0], 0)
    return 0


def _target(out, Py_ssize_t n, dtype):
    """The array to write to: the caller's if it fits, else a new one."""
    if out is None:
        return np.empty(n, dtype)
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != (n,):
        raise ValueError(f"out: an ({n},) array of {np.dtype(dtype)} is needed, not {out!r:.80}")
    if not out.flags.writeable:
        raise ValueError("out: the array is read-only; give one that can be written")
    return out


@cython.final
cdef class MarginTerms:
    """The numbers of one linear contract that margin depends on, checked once (SPEC U2, C1, C2).

    value_units: money units (1e-8 USD) of one mark tick x one lot, >= 1; `Contract.grid` has it.
    max_leverage: 1..1000; the margin rate is at least 1 / max_leverage.
    maintenance_share_e4: 1..9999, 1e-4; maintenance rate = share x product margin rate.
    unit_margin_rate_e15: 0..1e15 - 1, 1e-15; margin rate that each lot of size adds.
    taker_fee_e9, liquidation_fee_e9: 0..1e9 - 1, 1e-9 of notional; their sum is the fee reserve.
    max_mark_ticks: 1..2^31 - 2; the largest mark.
    brackets: the second margin model: up to 16 rows (cap_units, mm_e9, leverage), caps rising; the
    last goes on above its cap. The notional's row gives the maintenance rate mm_e9, 1e-9, never
    falling, and the largest leverage, never rising; mm_e9 x leverage <= 1e9. Each row's cumulative
    amount follows, must be whole, and is what makes the maintenance margin continuous. Then
    maintenance_share_e4 and unit_margin_rate_e15 are left out, and what depends on a rate needs
    the mark.

    Raises TypeError for what is no whole number, ValueError for a number out of range, where
    share (or the last mm_e9) + fee reserve reaches 1, or where the rates have no common denominator
    up to 2^60.

    >>> terms = MarginTerms(value_units=1000, max_leverage=20, taker_fee_e9=500_000,
    ...                     liquidation_fee_e9=5_000_000)
    >>> terms.initial_margin(500, 600_000, leverage=10)      # 0.05 BTC at 60,000: 300 USD
    30000000000
    >>> terms.maintenance_margin(500, 600_000)               # half of 1/20: 75 USD
    7500000000
    """
    cdef readonly int64_t value_units
    cdef readonly int64_t max_leverage
    cdef readonly int64_t maintenance_share_e4
    cdef readonly int64_t unit_margin_rate_e15
    cdef readonly int64_t taker_fee_e9
    cdef readonly int64_t liquidation_fee_e9
    cdef readonly int64_t max_mark_ticks
    cdef Rates rates
    cdef Terms terms
    cdef int64_t max_lots                # notional stays below 2^60 at every mark

    def __init__(self, *, value_units, max_leverage, maintenance_share_e4=None,
                 unit_margin_rate_e15=0, taker_fee_e9=0, liquidation_fee_e9=0,
                 max_mark_ticks=MARK_MAX, brackets=()):
        self.value_units = whole(value_units, "value_units", 1, AMOUNT_MAX - 1)
        self.max_leverage = whole(max_leverage, "max_leverage", 1, 1000)
        cdef bint has_table = len(brackets) > 0
        if maintenance_share_e4 is None:
            maintenance_share_e4 = 0 if has_table else 5000
        self.maintenance_share_e4 = whole(maintenance_share_e4, "maintenance_share_e4",
                                          0 if has_table else 1, 0 if has_table else E4 - 1)
        self.unit_margin_rate_e15 = whole(unit_margin_rate_e15, "unit_margin_rate_e15", 0,
                                          0 if has_table else E15 - 1)
        self.taker_fee_e9 = whole(taker_fee_e9, "taker_fee_e9", 0, E9 - 1)
        self.liquidation_fee_e9 = whole(liquidation_fee_e9, "liquidation_fee_e9", 0, E9 - 1)
        self.max_mark_ticks = whole(max_mark_ticks, "max_mark_ticks", 1, MARK_MAX)
        self.max_lots = floor_div(floor_div(AMOUNT_MAX - 1, self.value_units), self.max_mark_ticks)
        if self.max_lots < 1:
            raise ValueError(
                "value_units x max_mark_ticks: one lot at the largest mark is 2^60 money units or "
                "more; take a smaller lot or a smaller max_mark_ticks")
        self._set_rates()
        self._set_brackets(brackets)
        self._set_terms()

    cdef int _set_rates(self) except -1:
        cdef Rates* r = &self.rates
        cdef Rate share = rate_reduce(<uint64_t>self.maintenance_share_e4, <uint64_t>E4)
        cdef bint fits = True
        cdef int64_t fee_e9 = self.taker_fee_e9 + self.liquidation_fee_e9
        if self.maintenance_share_e4 * E9 + fee_e9 * E4 >= E9 * E4:
            raise ValueError(
                "maintenance share + taker fee + liquidation fee is 1 or more: no position could "
                "stand at margin rate 1; lower one of them")
        r.taker = rate_scaled(rate_reduce(<uint64_t>self.taker_fee_e9, <uint64_t>E9))
        r.fee_reserve = rate_scaled(rate_reduce(<uint64_t>fee_e9, <uint64_t>E9))
        r.lot = rate_reduce(<uint64_t>self.unit_margin_rate_e15, <uint64_t>E15)
        r.flat = rate_reduce(1, <uint64_t>self.max_leverage)
        # A ceiling, so that the product is below 1 for every smaller size.
        r.cap_lots = AMOUNT_MAX
        if r.lot.num:
            r.cap_lots = ceil_div(<int64_t>r.lot.den, <int64_t>r.lot.num)
        r.common = common_rates(share, self.max_leverage, rate_of(&r.fee_reserve), r.lot, &fits)
        if not fits:
            raise ValueError(
                "the rates have no common denominator up to 2^60; give them with fewer digits, or "
                "a max_leverage that divides a power of ten")
        return 0

    cdef int _set_brackets(self, object rows) except -1:
        """The table with its cumulative amounts, proven as at a registration (U2)."""
        cdef Brackets* b = &self.rates.brackets
        cdef int64_t most = self.max_leverage, least_cap = 1, least_mm = 1
        if len(rows) > BRACKETS_MAX:
            raise ValueError(f"brackets: {len(rows)} rows, at most {BRACKETS_MAX} are possible")
        for i, (cap_units, mm_e9, leverage) in enumerate(rows):
            b.cap_units[i] = whole(cap_units, f"brackets[{i}] cap_units", least_cap, AMOUNT_MAX)
            b.mm_e9[i] = whole(mm_e9, f"brackets[{i}] mm_e9", least_mm, E9 - 1)
            b.leverage[i] = whole(leverage, f"brackets[{i}] leverage", 1, most)
            if b.mm_e9[i] * b.leverage[i] > E9:
                raise ValueError(f"brackets[{i}]: maintenance would exceed the initial margin; "
                                 "mm_e9 x leverage must be 1e9 or less")
            if i:
                grown, rest = divmod(int(b.cap_units[i - 1]) * (b.mm_e9[i] - b.mm_e9[i - 1]), E9)
                if rest:
                    raise ValueError(f"brackets[{i}]: the cumulative amount is no whole number of "
                                     "money units; choose a rounder cap or rate before it")
                b.cum_units[i] = b.cum_units[i - 1] + grown
            least_cap, least_mm, most = b.cap_units[i] + 1, b.mm_e9[i], b.leverage[i]
        b.count = len(rows)
        if b.count and b.mm_e9[b.count - 1] + self.taker_fee_e9 + self.liquidation_fee_e9 >= E9:
            raise ValueError("the last maintenance rate + taker fee + liquidation fee is 1 or "
                             "more; lower one of them")
        if b.count:
            self.rates.common.den = <uint64_t>E9
            self.rates.common.reserve_num = <uint64_t>(self.taker_fee_e9 + self.liquidation_fee_e9)
        return 0

    cdef int _set_terms(self) except -1:
        cdef const Rates* r = &self.rates
        cdef int64_t lots = 0 if r.brackets.count else self.max_lots
        if r.common.lot_num:
            lots = min(lots, floor_div(<int64_t>r.common.flat_num, <int64_t>r.common.lot_num))
        self.terms.rates = r
        self.terms.maintenance = flat_of(Rate(r.common.flat_num, r.common.den), lots)
        self.terms.trigger = flat_of(Rate(r.common.flat_num + r.common.reserve_num, r.common.den),
                                     lots)
        self.terms.v = self.value_units
        self.terms.max_lots = self.max_lots
        self.terms.max_mark_ticks = self.max_mark_ticks
        self.terms.max_leverage = self.max_leverage
        return 0

    @classmethod
    def from_record(cls, record):
        """Terms from one CONTRACT_TERMS record, e.g. `Contract.terms()[0]`.

        Raises ValueError where one mark tick x one lot is no whole number of money units (U2), and
        what the constructor raises.
        """
        numbers = {name: int(record[name]) for name in record.dtype.names
                   if record.dtype[name].shape == () and name != "symbol"}
        rows = zip(record["bracket_cap_units"], record["bracket_mm_e9"], record["bracket_leverage"])
        value, rest = divmod(
            numbers["tick_size_e12"] * numbers["lot_size_e9"] * numbers["multiplier"],
            10**13 * numbers["marks_per_tick"])
        if rest:
            raise ValueError("one mark tick x one lot is not a whole number of money units (1e-8 "
                             "USD); take a larger lot_size or fewer marks_per_tick")
        rates = ("max_leverage", "maintenance_share_e4", "unit_margin_rate_e15", "taker_fee_e9",
                 "liquidation_fee_e9")
        return cls(value_units=value, **{name: numbers[name] for name in rates},
                   max_mark_ticks=numbers["max_price_ticks"] * numbers["marks_per_tick"],
                   brackets=list(rows)[:numbers["bracket_count"]])

    @property
    def brackets(self):
        """Rows (cap_units, mm_e9, leverage, cum_units) of the notional brackets; () without."""
        cdef const Brackets* b = &self.rates.brackets
        return tuple((b.cap_units[i], b.mm_e9[i], b.leverage[i], b.cum_units[i])
                     for i in range(b.count))

    def __repr__(self):
        return (f"MarginTerms(value_units={self.value_units}, max_leverage={self.max_leverage}, "
                f"maintenance_share_e4={self.maintenance_share_e4}, "
                f"unit_margin_rate_e15={self.unit_margin_rate_e15}, "
                f"taker_fee_e9={self.taker_fee_e9}, "
                f"liquidation_fee_e9={self.liquidation_fee_e9}, "
                f"max_mark_ticks={self.max_mark_ticks}, "
                f"brackets={[row[:3] for row in self.brackets]})")

    # ---- checks of arguments

    cdef int64_t _qty(self, object qty_lots) except? -1:
        return whole(qty_lots, "qty_lots", -self.max_lots, self.max_lots)

    cdef int64_t _mark(self, object mark_ticks) except? -1:
        return whole(mark_ticks, "mark_ticks", 1, self.max_mark_ticks)

    cdef int64_t _cost(self, object cost_units) except? -1:
        return whole(cost_units, "cost_units", 1 - AMOUNT_MAX, AMOUNT_MAX - 1)

    cdef int64_t _cash(self, object cash_units) except? -1:
        return whole(cash_units, "cash_units", 1 - CASH_MAX, CASH_MAX - 1)

    cdef int64_t _leverage(self, object leverage) except? -1:
        return whole(leverage, "leverage", 0, self.max_leverage)

    cdef int64_t _notional(self, object qty_lots, object mark_ticks) except? -1:
        return size_of(self._qty(qty_lots)) * self.value_units * self._mark(mark_ticks)

    cdef int64_t _notional_of_rate(self, object qty_lots, object mark_ticks) except? -1:
        """The notional that a rate depends on: with brackets only, and then there is a mark."""
        if self.rates.brackets.count == 0:
            return 0
        if mark_ticks is None:
            raise ValueError("mark_ticks: with brackets a rate depends on the notional; give one")
        return self._notional(qty_lots, mark_ticks)

    # ---- rates, exact

    def margin_rate(self, qty_lots, leverage=0, mark_ticks=None):
        """Margin rate of a position as a Fraction of its notional.

        qty_lots: signed lots. leverage: 1..max_leverage; 0: none set, the product's rate.
        mark_ticks: needed with brackets, whose leverage then stands for the unit margin rate's.
        Formula: min(1, max(1 / leverage, 1 / max_leverage, unit margin rate x |Q|)). Source: C1.
        """
        cdef Rate rate = margin_rate_of(&self.rates, size_of(self._qty(qty_lots)),
                                        self._notional_of_rate(qty_lots, mark_ticks),
                                        self._leverage(leverage))
        return Fraction(rate.num, rate.den)

    def maintenance_rate(self, qty_lots, mark_ticks=None):
        """Maintenance rate as a Fraction of notional: share x margin rate without leverage (C1).

        mark_ticks: needed with brackets: the rate of the notional's bracket.
        """
        cdef Rate rate = maintenance_of(&self.rates, size_of(self._qty(qty_lots)),
                                        self._notional_of_rate(qty_lots, mark_ticks)).rate
        return Fraction(rate.num, rate.den)

    def trigger_rate(self, qty_lots, mark_ticks=None):
        """a of the liquidation formula as a Fraction: maintenance + fee reserve rate (Q2)."""
        cdef Rate rate = trigger_of(&self.rates, size_of(self._qty(qty_lots)),
                                    self._notional_of_rate(qty_lots, mark_ticks)).rate
        return Fraction(rate.num, rate.den)

    # ---- amounts of one position, money units

    def notional(self, qty_lots, mark_ticks):
        """|Q| x value x mark, exact (U2)."""
        return self._notional(qty_lots, mark_ticks)

    def unrealized_pnl(self, qty_lots, cost_units, mark_ticks):
        """Q x value x mark - C, exact: the gain since the cost was set.

        cost_units: signed sum of price x size of the position (U4).
        """
        cdef int64_t qty = self._qty(qty_lots), cost = self._cost(cost_units)
        return qty * self.value_units * self._mark(mark_ticks) - cost

    def initial_margin(self, qty_lots, mark_ticks, leverage=0):
        """IM = ceil(N x margin rate): up, a requirement (C1)."""
        return initial_of(&self.rates, size_of(self._qty(qty_lots)),
                          self._notional(qty_lots, mark_ticks), self._leverage(leverage))

    def maintenance_margin(self, qty_lots, mark_ticks):
        """MM = ceil(N x maintenance rate): up, as it is shown; a trigger compares exactly (C1).

        With brackets less the cumulative amount of the notional's bracket.
        """
        return maintenance_units_of(&self.rates, size_of(self._qty(qty_lots)),
                                    self._notional(qty_lots, mark_ticks))

    def fee_reserve(self, qty_lots, mark_ticks):
        """FR = ceil(N x (taker fee + liquidation fee)): up, a requirement (C2)."""
        return scaled_ceil(self._notional(qty_lots, mark_ticks), &self.rates.fee_reserve)

    def margin_balance(self, cash_units, qty_lots, cost_units, mark_ticks):
        """MB = cash + unrealized PnL - FR (C2, I4)."""
        return balance_of(&self.rates.fee_reserve, self.value_units * self._mark(mark_ticks),
                          self._cash(cash_units), self._qty(qty_lots), self._cost(cost_units))

    def available_margin(self, cash_units, qty_lots, cost_units, mark_ticks, leverage=0):
        """max(0, MB - IM): what the position does not need at its leverage (C2)."""
        return max(0, self.margin_balance(cash_units, qty_lots, cost_units, mark_ticks)
                   - self.initial_margin(qty_lots, mark_ticks, leverage))

    def removable_margin(self, cash_units, qty_lots, cost_units, mark_ticks, leverage=0,
                         opening_cost_units=None):
        """What may leave an isolated block: max(0, min(cash - MM, MB - IM)) (I9).

        opening_cost_units: cost since the opening, that no session settlement resets; the default
        is cost_units. 0 is removable unless the position gains on it; all cash without a position.
        """
        cdef int64_t cash = self._cash(cash_units)
        opening = cost_units if opening_cost_units is None else opening_cost_units
        if self._qty(qty_lots) == 0:
            return max(0, cash)
        if self.unrealized_pnl(qty_lots, opening, mark_ticks) <= 0:
            return 0
        free = (self.margin_balance(cash_units, qty_lots, cost_units, mark_ticks)
                - self.initial_margin(qty_lots, mark_ticks, leverage))
        return max(0, min(cash - self.maintenance_margin(qty_lots, mark_ticks), free))

    def order_reserve(self, qty_lots, price_mark_ticks, mark_ticks, side, *, size_lots=None,
                      leverage=0):
        """R(n) of an order's risk-raising lots: margin, both fees, the loss it starts with (C3).

        qty_lots: n >= 0. price_mark_ticks: the limit in MARK ticks (order price x marks_per_tick).
        side: codes.Side. size_lots: size of position and orders on this side once all is filled,
        n or more; it sets the margin rate, with brackets by its notional at the mark; the default
        is n. leverage: as in margin_rate.
        Formula, b = max(price, mark), s = 1 to buy and -1 to sell, each term up:
        ceil(n b v MR) + ceil(n b v taker) + ceil(n b v (taker + liquidation fee))
        + n v max(0, s (price - mark)).
        """
        cdef int64_t lots = whole(qty_lots, "qty_lots", 0, self.max_lots), size, n = 0
        cdef int64_t price = whole(price_mark_ticks, "price_mark_ticks", 1, self.max_mark_ticks)
        if side not in (BUY, SELL):
            raise ValueError(f"side: {side!r} is neither Side.BUY (1) nor Side.SELL (2)")
        size = lots
        if size_lots is not None:
            size = whole(size_lots, "size_lots", lots,
                         self.max_lots if self.rates.brackets.count else AMOUNT_MAX)
        n = self._notional_of_rate(size, mark_ticks)
        return reserve_units(lots, price, self._mark(mark_ticks), side == SELL, self.value_units,
                             margin_rate_of(&self.rates, size, n, self._leverage(leverage)),
                             &self.rates.taker, &self.rates.fee_reserve)

    def funding_payment(self, qty_lots, mark_ticks, rate_e9):
        """What the holder receives (+) or pays (-) for one interval (F1).

        rate_e9: 1e-9 of notional; above 0 longs pay. floor(-Q v mark rate): the payer pays the
        ceiling, the receiver gets the floor.
        """
        cdef int64_t rate = whole(rate_e9, "rate_e9", 1 - E9, E9 - 1), qty = self._qty(qty_lots)
        return funding_change(qty * self.value_units * self._mark(mark_ticks), rate)

    # ---- the marks at which a position ends

    def is_below_maintenance(self, cash_units, qty_lots, cost_units, mark_ticks):
        """Whether MB < MM at the mark, as exact rationals (Q1); without a position: cash < 0."""
        return bool(is_below(&self.rates, self.value_units, self._cash(cash_units),
                             self._qty(qty_lots), self._cost(cost_units), self._mark(mark_ticks)))

    def liquidation_mark(self, cash_units, qty_lots, cost_units):
        """The first mark, coming from safety, at which the position is liquidated; None: none is.

        A long is liquidated at this mark and at every lower one, a short at every higher one.
        Formula, a = num / den the trigger rate: long ceil(den (C - cash) / (Q v (den - num))) - 1,
        short floor(den (cash - C) / (|Q| v (den + num))) + 1. It equals the inequality MB < MM on
        both sides of the tick. A long below maintenance at every mark gives max_mark_ticks, a short
        gives 1. With brackets a and the cumulative amount, which counts as cash, are those of the
        bracket in which MB = MM. Source: Q2.
        """
        cdef int64_t mark = threshold_of(
            &self.rates, self.value_units, self.max_mark_ticks, self._cash(cash_units),
            self._qty(qty_lots), self._cost(cost_units))
        return mark if mark else None

    def bankruptcy_mark(self, cash_units, qty_lots, cost_units):
        """The mark at which a close leaves exactly nothing, fees apart: (C - cash) / (Q v) (Q3).

        Rounded against the position, up for a long and down for a short, so that whoever closes at
        it needs no help from the insurance fund. May lie outside 1..max_mark_ticks. Raises
        ValueError for a position of 0 lots, which has none.
        """
        cdef int64_t qty = self._qty(qty_lots), cash = self._cash(cash_units)
        cdef int64_t cost = self._cost(cost_units)
        if qty == 0:
            raise ValueError("qty_lots: 0 lots have no bankruptcy mark; give a position")
        return bankruptcy_mark(cash, qty, cost, self.value_units)

    # ---- many positions at once

    def liquidation_marks(self, cash_units, qty_lots, cost_units, *, out=None):
        """(n,) int64 liquidation marks of n positions, without the GIL; 0 where no mark does it.

        cash_units, qty_lots, cost_units: (n,) integer arrays, or numbers that stand for n equal
        rows. out: (n,) int64 to write to. Raises ValueError with the first row out of range.
        """
        return self._answer(THRESHOLD, out, {
            "cash_units": cash_units, "qty_lots": qty_lots, "cost_units": cost_units})

    def initial_margins(self, qty_lots, mark_ticks, leverage=0, *, out=None):
        """(n,) int64 initial margins of n positions, without the GIL; see initial_margin.

        Arguments: (n,) integer arrays, or numbers that stand for n equal rows. out: (n,) int64 to
        write to. Raises ValueError with the first row out of range.
        """
        return self._answer(INITIAL, out, {
            "qty_lots": qty_lots, "mark_ticks": mark_ticks, "leverage": leverage})

    def maintenance_margins(self, qty_lots, mark_ticks, *, out=None):
        """(n,) int64 maintenance margins of n positions, without the GIL; see maintenance_margin.

        Arguments: (n,) integer arrays, or numbers that stand for n equal rows. out: (n,) int64 to
        write to. Raises ValueError with the first row out of range.
        """
        return self._answer(MAINTENANCE, out, {"qty_lots": qty_lots, "mark_ticks": mark_ticks})

    def margin_balances(self, cash_units, qty_lots, cost_units, mark_ticks, *, out=None):
        """(n,) int64 margin balances of n positions, without the GIL; see margin_balance.

        Arguments: (n,) integer arrays, or numbers that stand for n equal rows; mark_ticks too.
        out: (n,) int64 to write to. Raises ValueError with the first row out of range.
        """
        return self._answer(BALANCE, out, {
            "cash_units": cash_units, "qty_lots": qty_lots, "cost_units": cost_units,
            "mark_ticks": mark_ticks})

    def below_maintenance(self, cash_units, qty_lots, cost_units, mark_ticks, *, out=None):
        """(n,) bool, which of n positions are below maintenance, without the GIL (Q1).

        Arguments: (n,) integer arrays, or numbers that stand for n equal rows; mark_ticks too.
        out: (n,) bool to write to. Raises ValueError with the first row out of range.
        """
        return self._answer(BELOW, out, {
            "cash_units": cash_units, "qty_lots": qty_lots, "cost_units": cost_units,
            "mark_ticks": mark_ticks})

    cdef object _answer(self, Answer asked, object out, dict given):
        """The answers to (n,) columns by the names of their arguments, without the GIL."""
        cdef Batch batch
        cdef Py_ssize_t n, bad
        cdef dict columns = _columns(given)
        n = len(columns["qty_lots"])
        result = _target(out, n, np.bool_ if asked == BELOW else np.int64)
        open_column(&batch.cash, columns, "cash_units", 0)
        open_column(&batch.qty, columns, "qty_lots", 0)
        open_column(&batch.cost, columns, "cost_units", 0)
        open_column(&batch.mark, columns, "mark_ticks", 1)
        open_column(&batch.leverage, columns, "leverage", 0)
        cdef uint8_t[:] flags
        cdef int64_t[:] numbers
        if asked == BELOW:
            flags = result.view(np.uint8)
            column_open(&batch.out, <char*>&flags[0], flags.strides[0])
        else:
            numbers = result
            column_open(&batch.out, <char*>&numbers[0], numbers.strides[0])
        with nogil:
            bad = answer_rows(&self.terms, asked, &batch, n)
        if bad >= 0:
            self._raise_row(bad, {name: column[bad] for name, column in columns.items()})
        return result

    def _raise_row(self, Py_ssize_t row, dict numbers):
        """Raise what the scalar functions raise for the row, with its number."""
        try:
            self._qty(numbers["qty_lots"])
            self._mark(numbers.get("mark_ticks", 1))
            self._cost(numbers.get("cost_units", 0))
            self._cash(numbers.get("cash_units", 0))
            self._leverage(numbers.get("leverage", 0))
        except ValueError as error:
            raise ValueError(f"row {row}: {error}") from None


def released_cost(cost_units, lots, qty_lots):
    """Cost that closing `lots` of a position releases: ceil(C k / |Q|) (U4).

    cost_units: signed cost C. lots: k, 1..|Q|. qty_lots: Q, signed. The realized PnL of the close
    is its proceeds less this; what is left has the cost C - released.
    """
    cdef int64_t cost = whole(cost_units, "cost_units", 1 - AMOUNT_MAX, AMOUNT_MAX - 1)
    cdef int64_t held = size_of(whole(qty_lots, "qty_lots", 1 - AMOUNT_MAX, AMOUNT_MAX - 1))
    if held == 0:
        raise ValueError("qty_lots: 0 lots have no cost to release; give a position")
    return mul_div_ceil(cost, whole(lots, "lots", 1, held), held)
