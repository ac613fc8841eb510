"""The calculator against what its formulas claim: inequalities, sums, other ways to a number.

Published numbers are test_published.py's; here the inputs are drawn, so that a formula is right for
numbers that nobody has printed.
"""

from __future__ import annotations

import doctest
import json
import re
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, ROUND_HALF_EVEN, ROUND_UP, Decimal
from fractions import Fraction
from importlib import import_module
from itertools import pairwise
from math import ceil, floor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from perpcore import calculator as calc
from perpcore.margin import MarginTerms, released_cost

ROOT = Path(__file__).parents[2]
TABLES = json.loads((Path(__file__).parent / "data" / "leverage_brackets.json").read_text())
BRACKETS = calc.read_brackets(TABLES["contracts"])

sides = st.sampled_from(["long", "short"])
amounts = st.decimals(0, 10**6, places=4, allow_nan=False)
sizes = st.decimals("0.001", 10**4, places=3, allow_nan=False)
prices = st.decimals("0.01", 10**5, places=2, allow_nan=False)
shares_of_one = st.decimals(0, "0.4", places=5, allow_nan=False)
positions = st.fixed_dictionaries(
    {
        "side": sides, "qty": sizes, "entry": prices, "margin": amounts, "mmr": shares_of_one,
        "taker_fee": shares_of_one, "maint_amount": amounts, "maintenance_margin": amounts,
    }
)  # fmt: skip
models = st.sampled_from(list(calc.MarginModel))


def bisected(model: calc.MarginModel, inputs: dict[str, Any], steps: int = 40) -> tuple[Any, Any]:
    """Two marks, close to each other, between which the inequality changes its answer."""
    low, high = Fraction(-(10**12)), Fraction(10**12)
    at_low = calc.is_liquidated(model, mark=low, **inputs)
    assert at_low != calc.is_liquidated(model, mark=high, **inputs)
    for _ in range(steps):
        middle = (low + high) / 2
        if calc.is_liquidated(model, mark=middle, **inputs) == at_low:
            low = middle
        else:
            high = middle
    return low, high


# ---- liquidation and bankruptcy


@given(models, positions)
def test_the_liquidation_price_is_where_the_inequality_changes(model, inputs):
    price = calc.liquidation_price(model, **inputs)
    low, high = bisected(model, inputs)
    assert low <= price <= high
    beyond = -1 if inputs["side"] == "long" else 1
    assert not calc.is_liquidated(model, mark=price, **inputs)
    assert not calc.is_liquidated(model, mark=price - beyond, **inputs)
    assert calc.is_liquidated(model, mark=price + beyond * Fraction(1, 10**9), **inputs)


@given(models, positions)
def test_at_the_liquidation_price_equity_is_the_maintenance_margin(model, inputs):
    price = calc.liquidation_price(model, **inputs)
    rest = {k: v for k, v in inputs.items() if k not in ("side", "margin")}
    gain = calc.unrealized_pnl(
        side=inputs["side"], qty=inputs["qty"], entry=inputs["entry"], mark=price
    )
    need = calc.maintenance_margin(model, mark=price, **rest)
    assert calc.exact(inputs["margin"]) + gain == need


@given(positions, st.integers(1, 125))
def test_leverage_stands_for_the_margin_that_it_leaves(inputs, leverage):
    del inputs["margin"]
    margin = calc.initial_margin(inputs["qty"], inputs["entry"], leverage)
    for model in calc.MarginModel:
        assert calc.liquidation_price(model, leverage=leverage, **inputs) == (
            calc.liquidation_price(model, margin=margin, **inputs)
        )
    sign = 1 if inputs["side"] == "long" else -1
    entry = calc.exact(inputs["entry"])
    assert entry * (1 - Fraction(sign, leverage)) == calc.bankruptcy_price(
        side=inputs["side"], qty=inputs["qty"], entry=entry, leverage=leverage
    )


@given(positions)
def test_a_signed_quantity_is_the_same_as_a_side(inputs):
    side = inputs.pop("side")
    signed = inputs["qty"] if side == "long" else -inputs["qty"]
    for model in calc.MarginModel:
        assert calc.liquidation_price(model, side=side, **inputs) == (
            calc.liquidation_price(model, **{**inputs, "qty": signed})
        )


@given(
    sides, st.integers(1, 10**4), st.integers(1, 10**5), st.integers(0, 10**7),
    st.integers(1, 100), st.integers(1, 9_000), st.integers(0, 10**7),
)  # fmt: skip
def test_the_core_liquidates_at_the_last_mark_beyond_the_price(
    side, lots, entry, cash, leverage, share, fee
):
    terms = MarginTerms(
        value_units=10, max_leverage=leverage, maintenance_share_e4=share, taker_fee_e9=fee,
        max_mark_ticks=10**6,
    )  # fmt: skip
    qty = lots if side == "long" else -lots
    cost = qty * 10 * entry
    price = calc.liquidation_price(
        "mm_plus_taker_on_mark", qty=qty * 10, entry=entry, margin=cash,
        mmr=terms.maintenance_rate(lots), taker_fee=Fraction(fee, 10**9),
    )  # fmt: skip
    mark = terms.liquidation_mark(cash, qty, cost)
    wanted = ceil(price) - 1 if qty > 0 else floor(price) + 1
    if 1 <= wanted <= 10**6:
        assert mark == wanted
    end = calc.bankruptcy_price(qty=qty * 10, entry=entry, margin=cash)
    assert terms.bankruptcy_mark(cash, qty, cost) == (ceil(end) if qty > 0 else floor(end))


@given(positions, prices, prices)
def test_the_other_positions_count_like_money_that_the_account_has_or_owes(inputs, entry, mark):
    other = {
        "qty": -3, "entry": entry, "mark": mark, "mmr": "0.05", "maint_amount": 7, "taker_fee": 0
    }  # fmt: skip
    left = calc.cross_margin(inputs["margin"], [other])
    gain = 3 * (calc.exact(entry) - calc.exact(mark))
    need = 3 * calc.exact(mark) * Fraction(1, 20) - 7
    assert left == calc.exact(inputs["margin"]) + gain - need


# ---- brackets


@pytest.mark.parametrize("name", BRACKETS)
def test_maintenance_is_the_sum_of_each_brackets_part(name):
    """The published cumulative amounts are checked when the table is read."""
    table = BRACKETS[name]
    ends = [*(line.floor for line in table.lines[1:]), None]
    for value in (0, 1, *(f + d for f in ends[:-1] for d in (-1, 0, 1)), 10**9):
        whole = Fraction(0)
        for line, end in zip(table.lines, ends, strict=True):
            top = value if end is None else min(value, end)
            whole += max(Fraction(0), top - line.floor) * line.rate
        assert table.maintenance_margin(value) == whole


@given(st.sampled_from(sorted(BRACKETS)), sides, prices, sizes, st.integers(1, 125), st.booleans())
def test_the_walk_ends_where_equity_is_the_maintenance_margin(
    name, side, entry, qty, leverage, in_whole_table
):
    table = BRACKETS[name]
    quantity = calc.exact(qty) * (100 if in_whole_table else 1)
    margin = calc.initial_margin(quantity, entry, leverage)
    price = table.liquidation_price(side=side, qty=quantity, entry=entry, margin=margin)
    assume(price > 0)
    sign = 1 if side == "long" else -1

    def spare(mark: Fraction) -> Fraction:
        gain = sign * quantity * (mark - calc.exact(entry))
        return margin + gain - table.maintenance_margin(quantity * mark)

    assert spare(price) == 0
    marks = [price * n / 8 for n in range(1, 24)]
    values = [sign * spare(mark) for mark in marks]
    assert all(a < b for a, b in pairwise(values)), "strictly monotone"


@pytest.mark.parametrize("side", ["long", "short"])
@pytest.mark.parametrize("name", BRACKETS)
def test_in_each_bracket_the_walk_agrees_with_that_brackets_formula(name, side):
    """One position for each bracket whose price lies in the middle of the bracket."""
    table = BRACKETS[name]
    ends = [*(line.floor for line in table.lines[1:]), table.lines[-1].floor * 2 + 1000]
    for line, end in zip(table.lines, ends, strict=True):
        middle = (line.floor + end) / 2
        entry = middle * (Fraction(11, 10) if side == "long" else Fraction(9, 10))
        need = table.maintenance_margin(middle)
        margin = need + abs(entry - middle)
        found = {"side": side, "qty": 1, "entry": entry, "margin": margin}
        assert table.liquidation_price(**found) == middle
        assert middle == calc.liquidation_price(
            "mm_on_mark_minus_cum", mmr=line.rate, maint_amount=line.amount, **found
        )


def test_a_bracket_begins_at_its_floor_and_the_last_has_no_end():
    table = BRACKETS["BTC/USDT:USDT"]
    second = table.lines[1].floor
    assert table.line(second - 1) is table.lines[0]
    assert table.line(second) is table.lines[1]
    assert table.line(10**15) is table.lines[-1]
    assert table.max_notional(table.lines[0].max_leverage) == second
    assert table.max_notional(table.lines[-1].max_leverage) == table.cap
    assert table.max_notional(10**6) == 0


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one"),
        ([{"mmr": "0.01"}], "no floor"),
        ([{"floor": 5, "mmr": "0.01"}], "bracket 1: the first floor is 5"),
        ([{"floor": 0, "mmr": "1"}], "bracket 1: maintenance rate 1"),
        ([{"floor": 0, "mmr": "0.01"}, {"floor": 0, "mmr": "0.02"}], "appears twice"),
        ([{"floor": 0, "cap": 9, "mmr": "0.01"}, {"floor": 10, "mmr": "0.02"}], "the cap before"),
        ([{"floor": 0, "mmr": "0.01"}, {"floor": 9, "mmr": "0.02", "cum": 1}], "continuous with"),
    ],
)
def test_a_table_that_is_wrong_is_refused_with_the_bracket(rows, message):
    with pytest.raises(ValueError, match=message):
        calc.Brackets(rows)
    with pytest.raises(ValueError, match="XXX: "):
        calc.read_brackets({"XXX": rows})


def test_tables_are_read_from_a_file_under_any_of_the_usual_names(tmp_path):
    rows = TABLES["contracts"]["ETH/USDT:USDT"]
    renamed = [
        {"minNotional": float(r["notionalFloor"]), "maintenanceMarginRate": r["maintMarginRatio"],
         "maxLeverage": int(r["initialLeverage"]), "info": {}}
        for r in reversed(rows)
    ]  # fmt: skip
    path = tmp_path / "tiers.json"
    path.write_text(json.dumps({"raw": rows, "renamed": renamed}))
    raw, other = calc.read_brackets(path).values()
    assert raw.lines == other.lines
    assert other.cap is None


# ---- PnL and funding


fills = st.lists(
    st.tuples(st.decimals(-100, 100, places=2, allow_nan=False).filter(bool), prices),
    min_size=1, max_size=8,
)  # fmt: skip


@given(fills, prices)
def test_realized_and_unrealized_are_what_the_cash_flows_say(made, mark):
    held = calc.position_after(made)
    flows = sum(-calc.exact(q) * calc.exact(p) for q, p in made)
    value = held.qty * calc.exact(mark)
    assert held.qty == sum(calc.exact(q) for q, _ in made)
    assert held.realized + held.unrealized(mark) == flows + value
    if held.qty:
        used = [calc.exact(p) for _, p in made]
        assert min(used) <= held.average_price <= max(used)
    else:
        assert held.average_price is None
        assert held.cost == 0


@given(st.integers(1, 10**6), st.integers(-(10**9), 10**9), st.data())
def test_a_partial_close_releases_what_the_core_releases_before_rounding(lots, cost, data):
    closed = data.draw(st.integers(1, lots))
    held = calc.Position(Fraction(lots), Fraction(cost))
    left = held.after(-closed, 0)
    assert ceil(held.cost - left.cost) == released_cost(cost, closed, lots)


@given(sides, sizes, prices, prices, shares_of_one, shares_of_one, amounts)
def test_net_profit_is_what_closing_brings_less_what_opening_took(
    side, qty, start, end, open_rate, close_rate, funding
):
    net = calc.realized_pnl(
        side=side, qty=qty, open=start, close=end, open_fee_rate=open_rate,
        close_fee_rate=close_rate, funding=funding,
    )  # fmt: skip
    first = calc.open_value(side=side, qty=qty, price=start, fee_rate=open_rate)
    last = calc.close_value(side=side, qty=qty, price=end, fee_rate=close_rate, funding=funding)
    assert net == (last - first if side == "long" else first - last)
    gross = calc.realized_pnl(side=side, qty=qty, open=start, close=end)
    fees = calc.trade_fee(qty, start, open_rate) + calc.trade_fee(qty, end, close_rate)
    assert net == gross - fees + calc.exact(funding)


@given(st.integers(-(10**6), 10**6), st.integers(1, 10**6), st.integers(-(10**7), 10**7))
def test_funding_is_what_the_core_pays_before_rounding(lots, mark, rate):
    terms = MarginTerms(value_units=10, max_leverage=10, max_mark_ticks=10**6)
    paid = calc.funding_payment(qty=lots * 10, mark=mark, rate=Fraction(rate, 10**9))
    assert calc.to_count(paid, 1, "down") == terms.funding_payment(lots, mark, rate)


def test_funding_counts_both_ends_of_the_time_that_a_position_was_held():
    schedule = [
        {"time": f"2021-09-01 {hour:02}:00", "rate": "0.0001", "mark": 100} for hour in (0, 8, 16)
    ]

    def received(opened: str, closed: str) -> Fraction:
        return calc.funding_over(schedule, side="short", qty=1, opened=opened, closed=closed)

    one = Fraction(1, 100)
    assert received("2021-09-01 00:00:00", "2021-09-01 16:00") == 3 * one
    assert received("2021-09-01 00:00:01", "2021-09-01T15:59:59") == one
    assert received("2021-09-01 08:00", "2021-09-01 08:00") == one
    assert received("2021-09-01 09:00", "2021-09-01 10:00") == 0


def test_a_time_without_a_zone_is_in_utc():
    schedule = [{"time": "2021-09-01 08:00", "rate": "0.001", "mark": 100}]
    at = datetime(2021, 9, 1, 8)
    for same in (at, at.replace(tzinfo=UTC), "2021-09-01T08:00:00Z", "2021-09-01 10:00+02:00"):
        received = calc.funding_over(schedule, side="short", qty=1, opened=same, closed=same)
        assert received == Fraction(1, 10)


@pytest.mark.parametrize(
    ("bid", "ask", "premium"),
    [(99, 101, "0"), (102, 103, "0.02"), (97, 99, "-0.01"), (100, 100, "0"), (101, 99, "0")],
)
def test_a_premium_is_what_the_book_stands_beyond_the_index(bid, ask, premium):
    """F1: the index is 100; a crossed book is beyond it on both sides."""
    found = calc.premium_index(impact_bid=bid, impact_ask=ask, index=100)
    assert found == Fraction(premium)
    both = calc.premium_index(impact_bid=np.array([bid, bid]), impact_ask=ask, index=100)
    assert both.tolist() == [Fraction(premium)] * 2


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        ("0", "0.0001"), ("0.0001", "0.0001"), ("0.0006", "0.0001"), ("0.0007", "0.0002"),
        ("-0.0004", "0.0001"), ("-0.0005", "0"), ("0.01", "0.0075"), ("-0.01", "-0.0075"),
    ],
)  # fmt: skip
def test_a_funding_rate_is_the_interest_while_the_premium_is_near_it(premium, rate):
    """F1: within 0.05 % of the interest of 0.01 %; beyond it the premium decides, up to the cap."""
    assert calc.funding_rate(premium=premium, cap="0.0075") == Fraction(rate)
    assert calc.funding_rate(premium=premium, intervals=8) * 8 == calc.funding_rate(premium=premium)


def test_an_impact_price_is_the_average_of_what_the_notional_takes():
    levels = [(100, 1), ("110", "0.5"), (120, 10)]
    assert calc.impact_price(levels, 100) == 100
    assert calc.impact_price(levels, 155) == Fraction(155) / Fraction("1.5")
    assert calc.impact_price(levels, 275) == 275 / (Fraction("1.5") + 1)
    assert calc.impact_price(levels, 1_355) == Fraction(1_355) / Fraction("11.5")
    with pytest.raises(ValueError, match="lack 1 of the notional 1356"):
        calc.impact_price(levels, 1_356)
    with pytest.raises(ValueError, match="more than 0"):
        calc.impact_price(levels, 0)


@given(st.integers(-(10**7), 10**7), st.integers(0, 10**6), st.integers(0, 30_000))
def test_a_funding_index_moves_toward_zero_when_it_is_rounded(rate, price, seconds):
    moved = calc.funding_index_delta(
        rate_8h_ppm=rate, price=price, seconds=seconds, atomic_resolution=-9
    )
    real = Fraction(rate * seconds * price, 28_800 * 1000)
    assert moved == int(real)
    assert abs(moved) <= abs(real) < abs(moved) + 1


# ---- orders


orders = st.lists(
    st.tuples(st.sampled_from(["buy", "sell"]), st.integers(1, 50), st.integers(1, 100)), max_size=8
)


@given(st.integers(-100, 100), orders, st.randoms())
def test_lots_that_the_position_covers_need_no_margin(position, resting, random):
    """Lot by lot, best price first."""
    sums = {}
    for side, best in (("buy", max), ("sell", min)):
        lots = [price for way, qty, price in resting if way == side for _ in range(qty)]
        lots.sort(reverse=best is max)
        covered = max(0, -position if side == "buy" else position)
        sums[side] = sum(lots[covered:])
    need = calc.order_margin(position, resting, "0.5", contract_size="0.1")
    assert need == Fraction(max(sums.values()), 20)
    random.shuffle(resting)
    assert need == calc.order_margin(position, resting, "0.5", contract_size="0.1")
    free = calc.order_margin(position, resting, 1, reducing_free=False)
    assert free == calc.order_margin(0, resting, 1) >= need


def test_an_auction_price_is_the_least_that_an_order_is_margined_at():
    resting = [("sell", 10, 20), ("sell", 20, 40), ("sell", 30, 50)]
    for position, wanted in ((0, 138), (4, Fraction("129.6")), (20, 96), (60, 0)):
        assert wanted == calc.order_margin(
            position, resting, "0.5", contract_size="0.1", worst_price=42
        )


def test_what_moves_to_isolated_margin_may_come_back():
    assert calc.isolated_transfer(-2, 1000, "0.5", margin_balance=10) == 990
    assert calc.isolated_transfer(1, 1000, "0.1", margin_balance=150) == -50


@given(st.integers(1, 100), st.integers(1, 100), st.integers(0, 10**4), st.data())
def test_margin_moves_with_trades_in_proportion_to_what_they_close(held, price, balance, data):
    """At the mark, nothing has been lost or won; what is closed takes its part of the margin."""
    closed = data.draw(st.integers(1, held))
    moved = {
        sign: calc.transfer_on_trades(
            sign * held, [(-sign * closed, price)], "0.1", margin_balance=balance, mark=price
        )
        for sign in (1, -1)
    }
    assert moved[1] == moved[-1] == -(balance * closed // held)
    turned = calc.transfer_on_trades(held, [(-held - 3, price)], "0.1", margin_balance=balance)
    assert turned == 3 * price // 10 - balance
    grown = calc.transfer_on_trades(held, [(3, price)], "0.1", margin_balance=balance)
    assert grown == 3 * price // 10


# ---- the fund


accounts = st.tuples(
    st.integers(-(10**9), 10**9),
    st.lists(st.integers(-(10**5), 10**5).filter(bool), min_size=1, max_size=3),
)


@given(accounts, st.data())
def test_closing_at_the_bankruptcy_notional_takes_the_share_of_value_and_never_more(account, data):
    quote, bases = account
    held = [calc.Holding(base, 10 * (n + 1), "0.1") for n, base in enumerate(bases)]
    closed = data.draw(st.integers(0, len(held) - 1))
    lots = data.draw(st.integers(1, abs(bases[closed])))
    delta = -lots if bases[closed] > 0 else lots
    owed = calc.bankruptcy_notional(quote, held, closed, delta)
    net = quote + sum(h.value for h in held)
    need = sum(abs(h.value) / 10 for h in held)
    freed = lots * calc.exact(held[closed].price) / 10
    # What the account is left with if it is closed at this notional.
    left = net + owed + delta * calc.exact(held[closed].price)
    assert 0 <= left - net * (1 - freed / need) < 1
    if len(held) == 1:
        assert owed == released_cost(-quote, lots, bases[0])


@pytest.mark.parametrize("delta", [1, 0, -6])
def test_a_delta_that_does_not_close_is_refused(delta):
    with pytest.raises(ValueError, match="does not close a part of 5"):
        calc.bankruptcy_notional(0, [calc.Holding(5, 10, "0.1")], 0, delta)


@pytest.mark.parametrize("delta", [-1, 0, 6, 10])
def test_deleveraging_that_does_not_close_both_is_refused(delta):
    with pytest.raises(ValueError, match="does not close a part of"):
        calc.deleverage(
            liquidated_quote=0, liquidated=[calc.Holding(-9, 10, "0.1")], closed=0,
            offsetting_quote=0, offsetting_base=5, delta=delta,
        )  # fmt: skip


@given(st.integers(-(10**6), 10**6), st.integers(1, 100), st.integers(1, 100), st.data())
def test_deleveraging_makes_no_money(quote, short, long, data):
    delta = data.draw(st.integers(1, min(short, long)))
    done = calc.deleverage(
        liquidated_quote=quote, liquidated=[calc.Holding(-short, 10, "0.1")], closed=0,
        offsetting_quote=7, offsetting_base=long, delta=delta,
    )  # fmt: skip
    assert done.liquidated_quote + done.offsetting_quote == quote + 7
    assert (done.liquidated_base, done.offsetting_base) == (delta - short, long - delta)
    if delta == short:
        assert done.liquidated_quote == 0


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), shares_of_one)
def test_the_fund_gets_a_fee_or_what_is_left_and_pays_all_that_lacks(proceeds, owed, rate):
    delta = calc.fund_delta(proceeds, owed, rate)
    left = proceeds - owed
    if left <= 0:
        assert delta == left
    else:
        assert delta == min(left, floor(abs(proceeds) * calc.exact(rate)))


def test_a_pool_pays_what_it_has():
    assert calc.cover(5, 3) == calc.Cover(Fraction(3), Fraction(2), Fraction(0))
    assert calc.cover(-5, 3) == calc.Cover(Fraction(0), Fraction(-5), Fraction(3))
    assert [calc.can_absorb(5, delta) for delta in (1, -5, -6)] == [True, True, False]
    assert [calc.can_absorb(-5, delta) for delta in (-1, 0, 1)] == [False, True, True]
    with pytest.raises(ValueError, match="below 0"):
        calc.cover(5, -1)


def test_a_fee_rounds_up_and_never_makes_a_deficit():
    notionals, cash = np.array([1000, 1001, 1001, 1001]), np.array([99, 99, 5, -3])
    fees = calc.liquidation_fee(notionals, "0.005", cash)
    assert fees.tolist() == [5, 6, 5, 0]


# ---- shares


profits = st.lists(st.integers(0, 10**6), min_size=1, max_size=8)


@given(profits, st.integers(0, 10**7), st.sampled_from(["largest_remainder", "last_takes_rest",
                                                        "one_percent", "exact"]))  # fmt: skip
def test_shares_sum_to_the_loss_and_none_is_above_its_profit(won, loss, rule):
    result = calc.socialize(loss, won, rule)
    assert sum(result.shares) == loss - result.carried + result.surplus
    assert all(share <= p for share, p in zip(result.shares, won, strict=True))
    # Where the last winner gets the rest, it may get a little more than it has won.
    least = 1 - len(won) if rule == "last_takes_rest" else 0
    assert all(share >= least for share in result.shares)
    assert (result.carried > 0) == (loss > sum(won))
    if rule != "exact":
        assert all(share.denominator == 1 for share in result.shares)


@given(profits, st.integers(0, 10**7))
def test_a_share_is_within_a_step_of_its_part_and_larger_remainders_go_first(won, loss):
    assume(loss < sum(won))
    ideal = calc.socialize(loss, won, "exact").shares
    shares = calc.socialize(loss, won).shares
    assert all(abs(s - i) < 1 for s, i in zip(shares, ideal, strict=True))
    rounded_up = [i - floor(i) for s, i in zip(shares, ideal, strict=True) if s > i]
    rounded_down = [i - floor(i) for s, i in zip(shares, ideal, strict=True) if s < i]
    assert not rounded_up or not rounded_down or min(rounded_up) >= max(rounded_down)
    total = sum(won)
    each = calc.pro_rata_share(loss, np.array(won, dtype=object), total)
    assert each.tolist() == list(ideal)


def test_one_per_cent_is_taken_rounded_up_and_falls_back_to_the_parts():
    enough = calc.socialize(20, [1050, 1000], "one_percent")
    assert (enough.shares, enough.surplus) == ((11, 10), 1)
    assert calc.socialize(22, [1050, 1000], "one_percent") == calc.socialize(22, [1050, 1000])
    dollars = calc.socialize("0.05", ["1", "1", "1"], step="0.01")
    assert dollars.shares == (Fraction("0.02"), Fraction("0.02"), Fraction("0.01"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, [1]), "loss: -1 is below 0"),
        ((1, [5, "0.5"]), "profit: 0.5 is below 0 or no multiple of 1"),
        ((1, [5, 5], "fair"), "rule: 'fair' is unknown"),
    ],
)
def test_shares_of_what_cannot_be_shared_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        calc.socialize(*arguments)


# ---- numbers and arrays


DIRECTIONS = {
    "down": ROUND_FLOOR, "up": ROUND_CEILING, "zero": ROUND_DOWN, "away": ROUND_UP,
    "nearest": ROUND_HALF_EVEN,
}  # fmt: skip


@given(st.decimals(-(10**6), 10**6, places=5, allow_nan=False), st.sampled_from(list(DIRECTIONS)))
def test_rounding_goes_where_decimal_rounds(value, direction):
    wanted = value.quantize(Decimal("0.01"), DIRECTIONS[direction])
    assert calc.to_step(value, "0.01", direction) == Fraction(wanted)
    assert calc.to_count(value, "0.01", direction) == int(wanted * 100)
    assert calc.to_text(value, 2, direction) == wanted


@given(st.lists(positions, min_size=1, max_size=5), models)
def test_an_array_gives_what_its_elements_give(rows, model):
    columns = {
        name: np.array([row[name] for row in rows], dtype=None if name == "side" else object)
        for name in rows[0]
    }
    many = calc.liquidation_price(model, **columns)
    assert many.tolist() == [calc.liquidation_price(model, **row) for row in rows]
    marks = calc.to_float(many)
    assert marks.dtype == np.float64
    below = calc.is_liquidated(model, mark=columns["entry"], **columns)
    assert below.dtype == np.bool_
    assert below.tolist() == [
        calc.is_liquidated(model, mark=row["entry"], **row) for row in rows
    ]


def test_arrays_of_any_dtype_are_broadcast_and_stay_exact():
    sizes_of = np.array([[1], [-2]])
    marks = np.array([10, 11, 12], dtype=np.int64)
    gains = calc.unrealized_pnl(qty=sizes_of, entry="10.5", mark=marks)
    assert gains.shape == (2, 3)
    assert gains.tolist() == [[Fraction(n, 2) for n in (-1, 1, 3)], [1, -1, -3]]
    assert calc.to_count(gains, "0.5").tolist() == [[-1, 1, 3], [2, -2, -6]]
    assert calc.to_count(gains, "0.5").dtype == np.int64
    floats, texts = np.array([0.1, 0.2]), np.array(["0.1", "0.2"])
    assert (calc.notional(floats, 3) == calc.notional(texts, 3)).all()
    assert calc.notional(floats, 3).tolist() == [Fraction(3, 10), Fraction(6, 10)]
    assert calc.notional(np.array([], dtype=float), 3).shape == (0,)
    large = np.array([2**62, 1])
    assert calc.notional(large, 10**9).tolist() == [2**62 * 10**9, 10**9]
    with pytest.raises(OverflowError):
        calc.to_count(calc.notional(large, 10**9))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: calc.exact(True), TypeError, "not the bool"),
        (lambda: calc.exact("1,000"), ValueError, "not a number"),
        (lambda: calc.notional(float("nan"), 1), ValueError, "not a number"),
        (lambda: calc.to_step(1, 0, "up"), ValueError, "step: 0 is not above 0"),
        (lambda: calc.to_step(1, 1, "sideways"), ValueError, "rounding: 'sideways'"),
        (lambda: calc.initial_margin(1, 1, 0), ValueError, "leverage: 0"),
        (lambda: calc.unrealized_pnl(qty=-1, side="long", entry=1, mark=1), ValueError, "a sign"),
        (lambda: calc.unrealized_pnl(qty=1, side="up", entry=1, mark=1), ValueError, "neither"),
        (lambda: calc.bankruptcy_price(qty=1, entry=1), TypeError, "one of them"),
        (
            lambda: calc.bankruptcy_price(qty=1, entry=1, margin=1, leverage=1),
            TypeError,
            "one of them",
        ),
        (lambda: calc.bankruptcy_price(qty=0, entry=1, margin=1), ValueError, "qty: a position"),
        (
            lambda: calc.liquidation_price("x", qty=1, entry=1, margin=1),
            ValueError,
            "'x' is none of mm_on_mark, mm_plus",
        ),
        (
            lambda: calc.cross_margin(1, [{"qty": 1, "entry": 1, "mmr": 0}]),
            ValueError,
            "position 1: mark is missing; there are qty, entry, mmr",
        ),
        (
            lambda: calc.funding_over([{"time": 1, "rat": 1}], qty=1, opened=0, closed=2),
            ValueError,
            "payment 1: mark is missing",
        ),
        (
            lambda: calc.funding_over([{"time": "2026-01-01"}], qty=1, opened=0, closed=2),
            ValueError,
            "payment 1: .* dates or numbers throughout",
        ),
        (
            lambda: calc.Brackets([{"floor": 0, "mmrate": "0.01"}]),
            ValueError,
            "bracket 1: no maintenance rate: one of ",
        ),
        (
            lambda: calc.liquidation_price("mm_on_mark", qty=1, entry=1, margin=1, mmr=1),
            ValueError,
            "outside",
        ),
        (lambda: calc.transfer_on_trades(1, [], 1), ValueError, "trades: give at least one"),
        (lambda: calc.transfer_on_trades(1, [(1, 1), (-2, 1)], 1), ValueError, "all of one sign"),
        (lambda: calc.pro_rata_share(1, 1, 0), ValueError, "total_profit: 0"),
        (lambda: BRACKETS["BTC/USDT:USDT"].rate(-1), ValueError, "notional: -1"),
        (
            lambda: calc.Brackets([{"floor": 0, "mmr": 0}]).max_notional(1),
            ValueError,
            "does not say",
        ),
        (
            lambda: calc.Brackets([{"floor": 0, "mmr": 0}]).liquidation_price(
                qty=0, entry=1, margin=1
            ),
            ValueError,
            "qty: a position",
        ),
        (
            lambda: calc.bankruptcy_notional(0, [calc.Holding(5, 10, 0)], 0, -1),
            ValueError,
            "no maintenance",
        ),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_the_word_for_it(call, error, message):
    with pytest.raises(error, match=message):
        call()


# ---- documents


@pytest.mark.parametrize(
    "name", ["numbers", "models", "brackets", "pnl", "orders", "fund", "shares"]
)
def test_examples_in_docstrings_are_true(name):
    module = import_module(f"perpcore.calculator.{name}")
    assert doctest.testmod(module).failed == 0
    public = [getattr(calc, n) for n in calc.__all__]
    here = [thing for thing in public if getattr(thing, "__module__", "") == module.__name__]
    assert here
    assert all(thing.__doc__ for thing in here)


def test_the_worked_numbers_of_the_page_are_true():
    text = (ROOT / "docs" / "calculator.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```pycon\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 8
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "calculator.md", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_page_names_everything_that_is_public():
    text = (ROOT / "docs" / "calculator.md").read_text(encoding="utf-8")
    assert [name for name in calc.__all__ if f"`{name}`" not in text] == []
