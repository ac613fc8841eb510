"""Margin without a venue: each number against its formula in exact fractions, and each refusal.

The threshold is the heart: it must equal the inequality MB < MM on both sides of its tick, so small
numbers are tried exhaustively and large ones at random.
"""

from __future__ import annotations

import doctest
import re
from fractions import Fraction
from itertools import product
from math import ceil, floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perpcore as pc
from perpcore.codes import Side
from perpcore.margin import MarginTerms, released_cost

ROOT = Path(__file__).parents[2]
USD = 10**8

# BTC: tick 0.1, lot 0.0001; half of 1/20 is kept, 0.05 % + 0.5 % fees, margin rate 2e-6 a lot.
BTC_20X = MarginTerms(
    value_units=1000,
    max_leverage=20,
    maintenance_share_e4=5000,
    unit_margin_rate_e15=2 * 10**9,
    taker_fee_e9=500_000,
    liquidation_fee_e9=5_000_000,
    max_mark_ticks=10_000_000,
)

# The same without a margin rate by size.
BTC_FLAT = MarginTerms(
    value_units=1000,
    max_leverage=20,
    taker_fee_e9=500_000,
    liquidation_fee_e9=5_000_000,
    max_mark_ticks=10_000_000,
)
MOST_LOTS = (2**60 - 1) // 1000 // 10_000_000


def small_terms(max_mark=40, **numbers):
    return MarginTerms(value_units=1, **{"max_leverage": 5, **numbers}, max_mark_ticks=max_mark)


def exact_margin_rate(terms, lots, leverage=0):
    rates = [Fraction(1, terms.max_leverage), Fraction(terms.unit_margin_rate_e15 * lots, 10**15)]
    if leverage:
        rates.append(Fraction(1, leverage))
    return min(Fraction(1), max(rates))


def exact_maintenance_rate(terms, lots):
    return exact_margin_rate(terms, lots) * Fraction(terms.maintenance_share_e4, 10**4)


def fee_reserve_rate(terms):
    return Fraction(terms.taker_fee_e9 + terms.liquidation_fee_e9, 10**9)


def is_below(terms, cash, qty, cost, mark):
    """MB < MM in fractions, straight from Q1."""
    if qty == 0:
        return cash < 0
    value = qty * terms.value_units * mark
    rate = exact_maintenance_rate(terms, abs(qty)) + fee_reserve_rate(terms)
    return cash + value - cost < abs(value) * rate


def assert_mark_divides(terms, cash, qty, cost, marks):
    """Every given mark on the dangerous side of the liquidation mark is below, every other not."""
    threshold = terms.liquidation_mark(cash, qty, cost)
    for mark in marks:
        beyond = threshold is not None and (mark <= threshold if qty > 0 else mark >= threshold)
        assert is_below(terms, cash, qty, cost, mark) == beyond, (cash, qty, cost, mark, threshold)
        assert terms.is_below_maintenance(cash, qty, cost, mark) == beyond


# ---- rates and amounts


def test_margin_rate_is_the_largest_of_leverage_product_and_size():
    assert BTC_20X.margin_rate(1) == Fraction(1, 20)
    assert BTC_20X.margin_rate(-1, leverage=10) == Fraction(1, 10)
    assert BTC_20X.margin_rate(25_000) == Fraction(1, 20)  # 25,000 lots x 2e-6 = 5 %
    assert BTC_20X.margin_rate(25_001) == Fraction(25_001, 500_000)
    assert BTC_20X.margin_rate(50_000, leverage=10) == Fraction(1, 10)
    assert BTC_20X.margin_rate(-50_001, leverage=10) == Fraction(50_001, 500_000)


def test_margin_rate_ends_at_one():
    terms = small_terms(unit_margin_rate_e15=3 * 10**14)  # 30 % a lot
    assert [terms.margin_rate(lots) for lots in (1, 3, 4, 99)] == [
        Fraction(3, 10),
        Fraction(9, 10),
        1,
        1,
    ]
    assert terms.maintenance_rate(4) == Fraction(1, 2)
    assert terms.margin_rate(4, leverage=2) == 1


def test_maintenance_rate_ignores_the_leverage_of_the_user():
    assert BTC_20X.maintenance_rate(100) == Fraction(1, 40)
    assert BTC_20X.trigger_rate(100) == Fraction(1, 40) + Fraction(55, 10_000)
    assert BTC_20X.trigger_rate(-100_000) == Fraction(1, 10) + Fraction(55, 10_000)


def test_requirements_round_up_and_balances_follow():
    # 1 lot at mark 7 is 7 units: 1/5 of it is 1.4, half of that 0.7, 0.1 % fees 0.007.
    terms = small_terms(taker_fee_e9=400_000, liquidation_fee_e9=600_000)
    assert terms.notional(-1, 7) == 7
    assert terms.initial_margin(1, 7) == 2
    assert terms.initial_margin(1, 7, leverage=1) == 7
    assert terms.maintenance_margin(-1, 7) == 1
    assert terms.fee_reserve(1, 7) == 1
    assert terms.unrealized_pnl(-1, -9, 7) == 2
    assert terms.margin_balance(3, -1, -9, 7) == 4
    assert terms.available_margin(3, -1, -9, 7) == 2
    assert terms.available_margin(0, -1, -6, 7) == 0
    assert terms.initial_margin(0, 7) == terms.fee_reserve(0, 7) == 0
    assert terms.margin_balance(-3, 0, 0, 7) == -3


def test_removable_margin_needs_profit_on_the_opening_cost():
    # 100 lots at 100: value 10,000, MM 1,000, IM at 5x 2,000.
    terms = small_terms(max_mark=1000)
    assert terms.removable_margin(5000, 100, 9_000, 100) == 4000  # MB - IM and cash - MM alike
    assert terms.removable_margin(3000, 100, 8_000, 100) == 2000  # cash - MM binds
    assert terms.removable_margin(3000, 100, 8_000, 100, leverage=2) == 0  # MB 5,000 - IM 5,000
    assert terms.removable_margin(3000, 100, 10_000, 100) == 0  # no gain
    assert terms.removable_margin(5000, 100, 10_000, 100, opening_cost_units=9_999) == 3000
    assert terms.removable_margin(5000, 100, 9_000, 100, opening_cost_units=10_000) == 0
    assert terms.removable_margin(70, 0, 0, 100) == 70
    assert terms.removable_margin(-70, 0, 0, 100) == 0


def test_order_reserve_holds_margin_both_fees_and_the_loss_it_starts_with():
    # Buy 0.05 BTC at 60,500 with the mark at 60,000, 10x: value 3,025 USD.
    # 302.50 margin + 1.5125 taker + 16.6375 both fees + 25 of loss at once.
    need = BTC_20X.order_reserve(500, 605_000, 600_000, Side.BUY, leverage=10)
    assert need == 302_50000000 + 1_51250000 + 16_63750000 + 25_00000000
    # A sell at that price starts with a gain: no loss is added, the price still sets the value.
    sell = BTC_20X.order_reserve(500, 605_000, 600_000, Side.SELL, leverage=10)
    assert sell == need - 25_00000000
    # Below the mark the mark sets the value: a sell there starts with a loss.
    low = BTC_20X.order_reserve(500, 595_000, 600_000, Side.SELL, leverage=10)
    assert low == 300_00000000 + 1_50000000 + 16_50000000 + 25_00000000
    assert BTC_20X.order_reserve(0, 605_000, 600_000, Side.BUY) == 0


def test_order_reserve_takes_the_margin_rate_of_the_size_that_is_reached():
    small = BTC_20X.order_reserve(500, 600_000, 600_000, Side.BUY)
    large = BTC_20X.order_reserve(500, 600_000, 600_000, Side.BUY, size_lots=50_000)
    assert large - small == 150_00000000  # 10 % instead of 5 % of 3,000 USD


def test_each_term_of_an_order_reserve_rounds_up_by_itself():
    terms = small_terms(taker_fee_e9=1, liquidation_fee_e9=1)
    assert terms.order_reserve(1, 7, 7, Side.SELL) == 2 + 1 + 1


@pytest.mark.parametrize(
    ("qty", "rate_e9", "received"),
    [(3, 1, -1), (-3, 1, 0), (3, -1, 0), (-3, -1, -1), (0, 1, 0), (10**9, 3, -30)],
)
def test_a_funding_payer_pays_the_ceiling_and_a_receiver_gets_the_floor(qty, rate_e9, received):
    terms = MarginTerms(value_units=1, max_leverage=5, max_mark_ticks=10)
    assert terms.funding_payment(qty, 10, rate_e9) == received


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(1 - 10**9, 10**9 - 1))
def test_funding_of_both_sides_leaves_dust_of_at_most_one_unit_and_never_a_gap(qty, mark, rate):
    terms = MarginTerms(value_units=1000, max_leverage=5, max_mark_ticks=10**6)
    there, back = terms.funding_payment(qty, mark, rate), terms.funding_payment(-qty, mark, rate)
    assert there == floor(Fraction(-qty * 1000 * mark * rate, 10**9))
    assert there + back in (-1, 0)


def test_a_partial_close_releases_the_ceiling_of_its_share_of_the_cost():
    assert released_cost(100, 1, 3) == 34
    assert released_cost(-100, 1, -3) == -33
    assert released_cost(-100, 3, -3) == -100
    assert released_cost((1 << 60) - 1, (1 << 59) - 1, 1 << 59) == ceil(
        Fraction(((1 << 60) - 1) * ((1 << 59) - 1), 1 << 59)
    )


@given(st.integers(-(10**17), 10**17), st.lists(st.integers(1, 50), min_size=1, max_size=6))
def test_closing_in_parts_releases_the_whole_cost(cost, parts):
    left_cost, left_lots = cost, sum(parts)
    for lots in parts:
        left_cost -= released_cost(left_cost, lots, left_lots)
        left_lots -= lots
    assert (left_cost, left_lots) == (0, 0)


# ---- thresholds


@pytest.mark.parametrize(
    "numbers",
    [
        {"max_leverage": 5},
        {"max_leverage": 1, "maintenance_share_e4": 9999},
        {"max_leverage": 3, "taker_fee_e9": 100_000_000, "liquidation_fee_e9": 50_000_000},
        {"max_leverage": 7, "unit_margin_rate_e15": 3 * 10**14, "maintenance_share_e4": 3333},
    ],
)
def test_liquidation_mark_equals_the_inequality_on_all_small_numbers(numbers):
    terms = small_terms(**numbers)
    for qty, cost_at, cash in product((-5, -2, -1, 1, 2, 5), (1, 13, 39), range(-30, 75, 3)):
        assert_mark_divides(terms, cash, qty, qty * cost_at + 1, range(1, 41))


@settings(max_examples=400, deadline=None)
@given(st.data())
def test_liquidation_mark_equals_the_inequality_on_both_sides_of_its_tick(data):
    terms = MarginTerms(
        value_units=data.draw(st.sampled_from([1, 7, 1000, 10**6])),
        max_leverage=data.draw(st.sampled_from([1, 3, 20, 100, 1000])),
        maintenance_share_e4=data.draw(st.integers(1, 9000)),
        unit_margin_rate_e15=data.draw(st.sampled_from([0, 2 * 10**9, 10**12])),
        taker_fee_e9=data.draw(st.integers(0, 10**7)),
        liquidation_fee_e9=data.draw(st.integers(0, 10**7)),
        max_mark_ticks=10**6,
    )
    qty = data.draw(st.integers(1, 10**5)) * data.draw(st.sampled_from([1, -1]))
    entry = data.draw(st.integers(1, 10**6))
    value = abs(qty) * terms.value_units * entry
    cost = qty * terms.value_units * entry + data.draw(st.integers(-3, 3))
    cash = data.draw(st.integers(-value // 5, value * 6 // 5))
    threshold = terms.liquidation_mark(cash, qty, cost)
    near = {1, 10**6, entry}
    if threshold is not None:
        near |= {m for m in range(threshold - 2, threshold + 3) if 1 <= m <= 10**6}
    assert_mark_divides(terms, cash, qty, cost, near)


def test_liquidation_mark_is_exact_where_every_number_is_as_large_as_it_may_be():
    terms = MarginTerms(value_units=1 << 20, max_leverage=3, maintenance_share_e4=9973,
                        taker_fee_e9=1, max_mark_ticks=(1 << 31) - 2)  # fmt: skip
    qty = ((1 << 60) - 1) // ((1 << 20) * ((1 << 31) - 2))
    for lots, entry in product((qty, -qty), (1, 1 << 30, (1 << 31) - 2)):
        cost = lots * (1 << 20) * entry
        for cash in (0, 1, 10**17, (1 << 60) + 1, -(1 << 60), (1 << 61) - 1, 1 - (1 << 61)):
            mark = terms.liquidation_mark(cash, lots, cost)
            near = {1, 1 << 20, (1 << 31) - 2}
            near |= {m for m in range((mark or 1) - 1, (mark or 1) + 2) if 1 <= m < (1 << 31) - 1}
            assert_mark_divides(terms, cash, lots, cost, near)


@pytest.mark.parametrize(
    ("cash", "qty", "mark"),
    [
        (3_057_965_281_270_409, -1013, 2_826_485),
        (7_438_497_557_950_160, -1013, 6_875_422),
        (-2_668_395_978_933_221, 1013, 2_826_485),
        (-3_245_435_305_382_658, 1013, 3_437_711),
    ],
)
def test_a_threshold_less_than_a_mark_tick_from_a_mark_is_exact_beyond_64_bits(cash, qty, mark):
    """Q2: cash x denominator passes 2^62, and its rest by the tick's value decides."""
    terms = MarginTerms(
        value_units=999_983, max_leverage=1000, maintenance_share_e4=5000,
        unit_margin_rate_e15=123_456_789_123, taker_fee_e9=500_000,
        liquidation_fee_e9=5_000_000, max_mark_ticks=10**7,
    )  # fmt: skip
    assert terms.liquidation_mark(cash, qty, 0) == mark
    assert_mark_divides(terms, cash, qty, 0, {mark - 1, mark, mark + 1})


def test_a_position_that_no_mark_ends_has_no_liquidation_mark():
    terms = small_terms()
    assert terms.liquidation_mark(100, 1, 10) is None  # a long that owns its whole value
    assert terms.liquidation_mark(100, -1, -10) is None  # above the largest mark
    assert terms.liquidation_mark(100, 0, 0) is None
    # A position that every mark ends gives the mark nearest to safety.
    assert terms.liquidation_mark(-1000, 1, 10) == 40
    assert terms.liquidation_mark(-1000, -1, -10) == 1


def test_a_session_roll_leaves_the_liquidation_mark_where_it_was():
    qty, cost, cash = 500, 500 * 1000 * 600_000, 150 * USD
    before = BTC_20X.liquidation_mark(cash, qty, cost)
    for mark in (590_000, 599_999, 640_001):
        gain = BTC_20X.unrealized_pnl(qty, cost, mark)
        assert BTC_20X.liquidation_mark(cash + gain, qty, cost + gain) == before


def test_added_margin_moves_the_liquidation_mark_by_what_the_formula_says():
    qty, cost = 500, 500 * 1000 * 600_000
    base = BTC_20X.liquidation_mark(150 * USD, qty, cost)
    more = BTC_20X.liquidation_mark(200 * USD, qty, cost)
    # 50 USD move it by 50 / (0.05 x (1 - 0.0305)) = 1,031.46 USD: 10,314 whole ticks here.
    assert base - more == 10314


def test_closing_at_the_bankruptcy_mark_leaves_nothing_missing_and_one_tick_beyond_does():
    for qty, cash, entry in product((-7, -3, -1, 1, 2, 9), range(-25, 60, 7), (5, 20, 33)):
        terms = small_terms()
        cost = qty * entry + 1
        mark = terms.bankruptcy_mark(cash, qty, cost)
        worse = mark - 1 if qty > 0 else mark + 1
        assert cash + qty * mark - cost >= 0 > cash + qty * worse - cost


# ---- arrays


@pytest.fixture
def many():
    rng = np.random.default_rng(1)
    qty = rng.integers(-60_000, 60_000, 4000)
    qty[:50] = 0
    cost = qty * 1000 * rng.integers(1, 1_000_000, 4000)
    cash = rng.integers(-(10**10), 10**13, 4000)
    return cash, qty, cost


def test_arrays_give_what_the_scalar_functions_give(many):
    cash, qty, cost = many
    mark = np.random.default_rng(2).integers(1, 10_000_000, cash.size)
    rows = list(zip(cash.tolist(), qty.tolist(), cost.tolist(), mark.tolist(), strict=True))
    assert BTC_20X.liquidation_marks(*many).tolist() == [
        BTC_20X.liquidation_mark(c, q, k) or 0 for c, q, k, _ in rows
    ]
    assert BTC_20X.margin_balances(*many, mark).tolist() == [
        BTC_20X.margin_balance(*row) for row in rows
    ]
    below = BTC_20X.below_maintenance(*many, mark)
    assert below.dtype == np.bool_
    assert below.tolist() == [BTC_20X.is_below_maintenance(*row) for row in rows]
    assert 100 < below.sum() < 3900


@pytest.mark.parametrize("terms", [BTC_20X, BTC_FLAT], ids=["by size", "flat"])
@pytest.mark.parametrize("leverage", [0, 1, 7, 20])
def test_requirements_of_arrays_are_the_ceilings_of_the_exact_products(many, terms, leverage):
    qty = np.concatenate([many[1], [1, -1, MOST_LOTS, -MOST_LOTS]])
    mark = np.random.default_rng(3).integers(1, 10_000_000, qty.size)
    mark[-4:] = 10_000_000
    rows = list(zip(qty.tolist(), mark.tolist(), strict=True))
    assert terms.initial_margins(qty, mark, leverage).tolist() == [
        ceil(abs(q) * 1000 * m * exact_margin_rate(terms, abs(q), leverage)) for q, m in rows
    ]
    assert terms.maintenance_margins(qty, mark).tolist() == [
        ceil(abs(q) * 1000 * m * exact_maintenance_rate(terms, abs(q))) for q, m in rows
    ]


def test_each_row_of_an_array_may_have_a_leverage_of_its_own(many):
    leverage = np.random.default_rng(4).integers(0, 21, 4000)
    assert BTC_20X.initial_margins(many[1], 600_000, leverage).tolist() == [
        BTC_20X.initial_margin(q, 600_000, at)
        for q, at in zip(many[1].tolist(), leverage.tolist(), strict=True)
    ]
    leverage[3] = 21
    with pytest.raises(ValueError, match="row 3: leverage: 21 is outside"):
        BTC_20X.initial_margins(many[1], 600_000, leverage)


@pytest.mark.parametrize("terms", [BTC_20X, BTC_FLAT], ids=["by size", "flat"])
def test_arrays_turn_exactly_at_the_liquidation_mark(many, terms):
    cash, qty, cost = many
    marks = terms.liquidation_marks(*many)
    inside = (marks > 1) & (marks < 10_000_000)
    assert inside.sum() > 1000
    cash, qty, cost, marks = cash[inside], qty[inside], cost[inside], marks[inside]
    assert terms.below_maintenance(cash, qty, cost, marks).all()
    assert not terms.below_maintenance(cash, qty, cost, marks + np.sign(qty)).any()


def test_arrays_test_the_inequality_to_the_unit():
    """Equity of one unit around the requirement, where it is whole and where it is not."""
    for qty, mark in [(500, 600_000), (-500, 600_000), (7, 333_333), (-1, 1)]:
        rate = exact_maintenance_rate(BTC_FLAT, abs(qty)) + fee_reserve_rate(BTC_FLAT)
        need = abs(qty) * 1000 * mark * rate
        cash = np.arange(floor(need) - 3, floor(need) + 4)
        assert BTC_FLAT.below_maintenance(cash, qty, qty * 1000 * mark, mark).tolist() == [
            c < need for c in cash.tolist()
        ]


def test_a_number_stands_for_equal_rows_and_out_is_filled_and_returned(many):
    cash, qty, cost = many
    marks, mask = np.zeros(4000, np.int64), np.zeros(4000, np.bool_)
    assert BTC_20X.liquidation_marks(10**12, qty, cost, out=marks) is marks
    assert marks.tolist() == BTC_20X.liquidation_marks(np.full(4000, 10**12), qty, cost).tolist()
    assert BTC_20X.below_maintenance(cash, qty, cost, 600_000, out=mask) is mask
    assert mask.any()
    assert BTC_20X.margin_balances(5, 0, 0, 1).tolist() == [5]
    assert BTC_20X.liquidation_marks(cash[::2], qty[::2], cost[::2]).shape == (2000,)
    assert BTC_20X.liquidation_marks(cash[:0], qty[:0], cost[:0]).shape == (0,)


def everything(terms, cash, qty, cost, mark, leverage):
    """All that arrays answer."""
    return [
        terms.below_maintenance(cash, qty, cost, mark),
        terms.liquidation_marks(cash, qty, cost),
        terms.margin_balances(cash, qty, cost, mark),
        terms.initial_margins(qty, mark, leverage),
        terms.maintenance_margins(qty, mark),
    ]


def test_fields_of_records_slices_and_numbers_are_columns_like_any_other(many):
    """Rows that do not stand side by side, or on no multiple of their size, in several chunks."""
    rng = np.random.default_rng(6)
    columns = [*many, rng.integers(1, 10_000_000, 4000), rng.integers(0, 21, 4000)]
    names = ["cash", "qty", "cost", "mark", "leverage"]
    plain = everything(BTC_20X, *columns)
    odd = np.zeros(4000, [("odd", "i1"), *((name, "i8") for name in names)])
    for name, column in zip(names, columns, strict=True):
        odd[name] = column
    assert not odd["cash"].flags.aligned
    for ours, theirs in zip(plain, everything(BTC_20X, *(odd[n] for n in names)), strict=True):
        assert (ours == theirs).all()
    for step in (-1, 3):
        of = everything(BTC_20X, *(column[::step] for column in columns))
        for ours, theirs in zip(plain, of, strict=True):
            assert (ours[::step] == theirs).all()
    of = everything(BTC_20X, *columns[:3], 600_000, 7)
    full = everything(BTC_20X, *columns[:3], np.full(4000, 600_000), np.full(4000, 7))
    for ours, theirs in zip(full, of, strict=True):
        assert (ours == theirs).all()


def test_out_may_be_a_slice(many):
    cash, qty, cost = many
    wide, mask = np.full(8000, -5), np.full(12_000, fill_value=True)
    BTC_20X.margin_balances(cash, qty, cost, 600_000, out=wide[::2])
    BTC_20X.below_maintenance(cash, qty, cost, 600_000, out=mask[::3])
    assert (wide[::2] == BTC_20X.margin_balances(cash, qty, cost, 600_000)).all()
    assert (mask[::3] == BTC_20X.below_maintenance(cash, qty, cost, 600_000)).all()
    assert (wide[1::2] == -5).all()
    assert mask[1::3].all()
    assert mask[2::3].all()


@pytest.mark.parametrize("leverage", [3, 7, 20])
def test_ceilings_are_exact_where_the_reciprocal_alone_no_longer_tells_them(leverage):
    """Around 2^63 / den of the rate, and where the product is whole."""
    terms = MarginTerms(
        value_units=1, max_leverage=leverage, taker_fee_e9=333_333_337, max_mark_ticks=1
    )
    for rate, of in [
        (Fraction(1, leverage), terms.initial_margin),
        (exact_maintenance_rate(terms, 1), terms.maintenance_margin),
        (fee_reserve_rate(terms), terms.fee_reserve),
    ]:
        den = rate.denominator
        edge = min(2**63 // den, 2**60 - 4)
        for lots in [*range(edge - 3, edge + 3), edge // den * den, edge // den * den + 1]:
            assert of(lots, 1) == ceil(lots * rate)
    qty = np.arange(2**63 // (2 * leverage) - 300, 2**63 // (2 * leverage) + 300)
    qty = qty[qty < 2**60]
    assert terms.maintenance_margins(qty, 1).tolist() == [
        ceil(q * exact_maintenance_rate(terms, 1)) for q in qty.tolist()
    ]


# ---- refusals


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"value_units": 0}, "value_units: 0 is outside 1.."),
        ({"max_leverage": 1001}, "max_leverage: 1001 is outside 1..1000"),
        ({"maintenance_share_e4": 10_000}, "maintenance_share_e4: 10000 is outside 1..9999"),
        ({"unit_margin_rate_e15": -1}, "unit_margin_rate_e15: -1"),
        ({"taker_fee_e9": 10**9}, "taker_fee_e9: 1000000000 is outside 0..999999999"),
        ({"liquidation_fee_e9": -1}, "liquidation_fee_e9: -1"),
        ({"max_mark_ticks": 1 << 31}, "max_mark_ticks: 2147483648 is outside 1..2147483646"),
        ({"value_units": 1 << 40}, "take a smaller lot or a smaller max_mark_ticks"),
        ({"taker_fee_e9": 5 * 10**8}, "is 1 or more"),
        ({"max_leverage": 997, "unit_margin_rate_e15": 1, "taker_fee_e9": 1}, "common denominator"),
    ],
)
def test_terms_that_cannot_hold_are_refused_with_the_cure(numbers, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        MarginTerms(**{"value_units": 1000, "max_leverage": 20, **numbers})


def test_terms_just_inside_their_limits_are_taken():
    MarginTerms(value_units=1, max_leverage=1, maintenance_share_e4=9999, taker_fee_e9=99_999)
    with pytest.raises(ValueError, match="is 1 or more"):
        MarginTerms(value_units=1, max_leverage=1, maintenance_share_e4=9999, taker_fee_e9=100_000)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: t.notional(t.notional(1, 1), 1), "qty_lots: "),
        (lambda t: t.initial_margin(1, 0), "mark_ticks: 0 is outside 1..10000000"),
        (lambda t: t.initial_margin(1, 10_000_001), "mark_ticks: 10000001"),
        (lambda t: t.initial_margin(1, 1, leverage=21), "leverage: 21 is outside 0..20"),
        (lambda t: t.liquidation_mark(1 << 61, 1, 1), "cash_units: "),
        (lambda t: t.liquidation_mark(1, 1, 1 << 60), "cost_units: "),
        (lambda t: t.bankruptcy_mark(1, 0, 0), "0 lots have no bankruptcy mark"),
        (lambda t: t.order_reserve(-1, 1, 1, Side.BUY), "qty_lots: -1"),
        (lambda t: t.order_reserve(2, 1, 1, Side.BUY, size_lots=1), "size_lots: 1"),
        (lambda t: t.order_reserve(1, 1, 1, 3), "side: 3 is neither Side.BUY (1)"),
        (lambda t: t.funding_payment(1, 1, 10**9), "rate_e9: 1000000000"),
        (lambda t: released_cost(1, 3, -2), "lots: 3 is outside 1..2"),
        (lambda t: released_cost(1, 1, 0), "0 lots have no cost to release"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(call, message):
    terms = MarginTerms(value_units=10**6, max_leverage=20, max_mark_ticks=10_000_000)
    with pytest.raises(ValueError, match=re.escape(message)):
        call(terms)


def test_what_is_no_whole_number_is_refused():
    with pytest.raises(TypeError, match=r"mark_ticks: a whole number is needed, not 1\.5"):
        BTC_20X.notional(1, 1.5)
    with pytest.raises(TypeError, match=r"qty_lots: .*float64"):
        BTC_20X.liquidation_marks(1, np.ones(3), 1)
    with pytest.raises(TypeError, match=r"cash_units: .*2 dimensions"):
        BTC_20X.liquidation_marks(np.ones((2, 2), np.int64), 1, 1)


@pytest.mark.parametrize("name", ["liquidation_marks", "margin_balances", "below_maintenance"])
def test_a_bad_row_of_an_array_is_named(name):
    call = getattr(BTC_20X, name)
    marks = () if name == "liquidation_marks" else (np.array([1, 1, 1]),)
    for field, cash, qty, cost in [
        ("cash_units", [0, 0, 1 << 61], 1, 1),
        ("qty_lots", 0, [1, 1, 1 << 60], 1),
        ("cost_units", 0, 1, [1, 1, -(1 << 60)]),
    ]:
        with pytest.raises(ValueError, match=f"row 2: {field}: "):
            call(*map(np.array, (cash, qty, cost)), *marks)
    if marks:
        with pytest.raises(ValueError, match="row 1: mark_ticks: 0 is outside"):
            call(0, 1, 1, np.array([1, 0, 1]))
    far = np.ones(1000, np.int64)
    far[700] = -(1 << 63)
    with pytest.raises(ValueError, match="row 700: qty_lots: "):
        call(0, far, 1, *(1 for _ in marks))


def test_arrays_that_do_not_fit_together_are_refused():
    two, three = np.ones(2, np.int64), np.ones(3, np.int64)
    with pytest.raises(ValueError, match=r"one length .* qty_lots \(2,\), cost_units \(3,\)"):
        BTC_20X.liquidation_marks(1, two, three)
    with pytest.raises(ValueError, match=r"out: an \(2,\) array of int64 is needed"):
        BTC_20X.liquidation_marks(1, two, 1, out=three)
    with pytest.raises(ValueError, match=r"out: an .* of int64"):
        BTC_20X.liquidation_marks(1, two, 1, out=np.ones(2))
    two.setflags(write=False)
    with pytest.raises(ValueError, match="read-only"):
        BTC_20X.liquidation_marks(1, 1, np.ones(2, np.int64), out=two)
    with pytest.raises(ValueError, match=r"2\^63 or more"):
        BTC_20X.liquidation_marks(np.array([1 << 63], np.uint64), 1, 1)


# ---- with the rest of the package


def test_terms_come_from_the_record_of_a_contract():
    terms = MarginTerms.from_record(pc.BTCUSD_PERP.terms()[0])
    assert terms.value_units == pc.BTCUSD_PERP.grid.value_units
    assert terms.margin_rate(1) == Fraction(1, int(pc.BTCUSD_PERP.max_leverage))
    assert terms.trigger_rate(1) == terms.maintenance_rate(1) + Fraction(
        pc.BTCUSD_PERP.taker_fee + pc.BTCUSD_PERP.liquidation_fee
    )
    assert eval(repr(terms), {"MarginTerms": MarginTerms}).value_units == terms.value_units
    fine = pc.BTCUSD_PERP.terms()[0]
    fine["tick_size_e12"] = 1
    with pytest.raises(ValueError, match="not a whole number of money units"):
        MarginTerms.from_record(fine)


def test_the_example_of_the_docstring_holds():
    runner = doctest.DocTestRunner()
    names = {"MarginTerms": MarginTerms}
    text = MarginTerms.__doc__
    assert runner.run(doctest.DocTestParser().get_doctest(text, names, "MarginTerms", None, 0)) == (
        doctest.TestResults(failed=0, attempted=3)
    )


def test_every_worked_number_of_the_margin_document_holds():
    text = (ROOT / "docs" / "margin.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "margin.md", None, 0)
    result = doctest.DocTestRunner().run(test)
    assert result.failed == 0
    assert result.attempted >= 50


@pytest.mark.parametrize("over", [1, 2, 999, 1_999, 2_000])
@pytest.mark.parametrize("thousands", [1, 2**40, 2**48, 2**48 + 1])
def test_a_fee_is_the_ceiling_where_the_reciprocal_of_its_rate_is_one_short(over, thousands):
    """U3: 0.55 % is 11 / 2,000; 1,091 x 11 is 1 above a multiple of 2,000. A part of so few of them
    is less than what the product with a rounded reciprocal lacks of a large notional."""
    terms = small_terms(1, taker_fee_e9=500_000, liquidation_fee_e9=5_000_000)
    notional = 2_000 * thousands + 1_091 * over
    assert terms.fee_reserve(notional, 1) == ceil(Fraction(11 * notional, 2_000))
