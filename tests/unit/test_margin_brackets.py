"""C1's second model: notional brackets, from the terms of a contract to the mark that liquidates.

The reference here is the table itself: the first bracket that holds a notional has rate and amount.
Small numbers are tried at every mark, large ones at random around the threshold.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from math import ceil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import perpcore as pc
from perpcore.codes import EventKind, Side
from perpcore.contracts import Bracket, venue_terms
from perpcore.engine import Engine
from perpcore.margin import MarginTerms

USD = 10**8
E9 = 10**9

# cap, maintenance rate e-9, leverage; amounts 0, 1, 13: whole, as they must be.
STEPS = [(10, 100_000_000, 5), (40, 200_000_000, 4), (100, 500_000_000, 1)]
TABLES = [
    STEPS,
    [(10**6, 125_000_000, 5)],
    [(20, 100_000_000, 5), (30, 100_000_000, 2), (70, 600_000_000, 1)],  # one rate, two leverages
    [(10, 100_000_000, 5), (20, 200_000_000, 5), (30, 300_000_000, 3), (40, 400_000_000, 2)],
]


def small_terms(table, **numbers):
    return MarginTerms(value_units=1, max_leverage=5, max_mark_ticks=40, brackets=table, **numbers)


def bracket_at(terms, notional):
    return next((row for row in terms.brackets if notional <= row[0]), terms.brackets[-1])


def exact_maintenance(terms, notional):
    _, mm_e9, _, cum = bracket_at(terms, notional)
    return Fraction(notional * mm_e9, E9) - cum


def is_below(terms, cash, qty, cost, mark):
    """MB < MM in fractions, straight from Q1 and C1."""
    value = qty * terms.value_units * mark
    reserve = Fraction(abs(value) * (terms.taker_fee_e9 + terms.liquidation_fee_e9), E9)
    return cash + value - cost - reserve < exact_maintenance(terms, abs(value))


@pytest.mark.parametrize("table", TABLES)
def test_requirements_of_arrays_follow_the_table(table):
    terms = small_terms(table)
    qty, mark = np.meshgrid(np.arange(-4, 5), np.arange(1, 41))
    qty, mark = qty.reshape(-1), mark.reshape(-1)
    rows = [(abs(q * m), m) for q, m in zip(qty.tolist(), mark.tolist(), strict=True)]
    assert terms.maintenance_margins(qty, mark).tolist() == [
        ceil(exact_maintenance(terms, n)) for n, _ in rows
    ]
    assert terms.initial_margins(qty, mark).tolist() == [
        ceil(Fraction(n, bracket_at(terms, n)[2])) for n, _ in rows
    ]


def assert_mark_divides(terms, cash, qty, cost, marks):
    threshold = terms.liquidation_mark(cash, qty, cost)
    for mark in marks:
        beyond = threshold is not None and (mark <= threshold if qty > 0 else mark >= threshold)
        assert is_below(terms, cash, qty, cost, mark) == beyond, (cash, qty, cost, mark, threshold)
        assert terms.is_below_maintenance(cash, qty, cost, mark) == beyond


# ---- the formulas


def test_the_notional_chooses_rate_amount_and_leverage():
    terms = small_terms(STEPS)
    assert terms.brackets == tuple((*row, cum) for row, cum in zip(STEPS, (0, 1, 13), strict=True))
    # 1 lot at marks 10, 11 and 40: a cap belongs to its bracket.
    assert [terms.maintenance_rate(-1, mark) for mark in (10, 11, 40)] == [
        Fraction(1, 10), Fraction(1, 5), Fraction(1, 5)]
    assert terms.maintenance_rate(2, 40) == Fraction(1, 2)
    assert [terms.maintenance_margin(1, mark) for mark in (10, 11, 40)] == [1, 2, 7]
    assert terms.maintenance_margin(2, 25) == 12  # 50 x 0.5 - 13
    assert terms.maintenance_margin(0, 40) == 0
    assert [terms.margin_rate(1, mark_ticks=mark) for mark in (10, 11)] == [
        Fraction(1, 5), Fraction(1, 4)]
    assert terms.margin_rate(1, leverage=3, mark_ticks=40) == Fraction(1, 3)
    assert terms.margin_rate(2, leverage=3, mark_ticks=40) == 1
    assert [terms.initial_margin(1, mark) for mark in (10, 11)] == [2, 3]


def test_above_the_last_cap_the_last_bracket_goes_on():
    terms = small_terms(STEPS)
    assert terms.maintenance_margin(5, 40) == 200 // 2 - 13
    assert terms.margin_rate(5, mark_ticks=40) == 1


def test_an_order_reserves_by_the_bracket_of_the_size_it_leads_to():
    terms = small_terms(STEPS)
    assert terms.order_reserve(1, 10, 10, Side.BUY) == 2  # 10 / 5
    assert terms.order_reserve(1, 10, 10, Side.BUY, size_lots=2) == 3  # 10 / 4, up
    assert terms.order_reserve(1, 10, 10, Side.SELL, size_lots=5) == 10
    # The mark decides, not the price: at mark 11 one lot is in the second bracket.
    assert terms.order_reserve(1, 11, 10, Side.SELL) == 3
    assert terms.order_reserve(1, 10, 11, Side.SELL) == 3 + 1  # sold 1 below the mark


def test_what_depends_on_a_rate_needs_the_mark():
    terms = small_terms(STEPS)
    for ask in (terms.margin_rate, terms.maintenance_rate, terms.trigger_rate):
        with pytest.raises(ValueError, match="mark_ticks: with brackets"):
            ask(1)
    flat = MarginTerms(value_units=1, max_leverage=5)
    assert flat.margin_rate(1, mark_ticks=7) == flat.margin_rate(1)
    assert flat.brackets == ()


@pytest.mark.parametrize("table", TABLES)
def test_maintenance_is_the_largest_of_its_lines(table):
    """A step of the proof in docs/margin.md: continuous, and steeper with the notional."""
    terms = small_terms(table)
    for notional in range(1, 200):
        lines = [Fraction(notional * mm, E9) - cum for _, mm, _, cum in terms.brackets]
        assert exact_maintenance(terms, notional) == max(lines)
    for (cap, *_), row, after in zip(table, terms.brackets, terms.brackets[1:], strict=False):
        assert cap * row[1] - row[3] * E9 == cap * after[1] - after[3] * E9


# ---- the mark that liquidates


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("fees", [{}, {"taker_fee_e9": 50_000_000, "liquidation_fee_e9": 1}])
def test_the_liquidation_mark_is_the_inequality_at_every_mark(table, fees):
    terms = small_terms(table, **fees)
    for qty, cash, price in product((-3, -2, -1, 1, 2, 3), range(-6, 40, 2), (1, 9, 14, 27, 40)):
        assert_mark_divides(terms, cash, qty, qty * price, range(1, 41))


def published_like(caps, rates):
    """Brackets of at most 1 / rate leverage; caps are multiples that keep the amounts whole."""
    return [(cap * 1_000, rate * 1_000_000, max(1, min(100, 1_000 // rate)))
            for cap, rate in zip(sorted(caps), sorted(rates), strict=True)]


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_large_positions_turn_where_the_inequality_does(data):
    n = data.draw(st.integers(1, 16))
    caps = data.draw(st.sets(st.integers(1, 10**13), min_size=n, max_size=n))
    rates = data.draw(st.lists(st.integers(1, 900), min_size=n, max_size=n))
    terms = MarginTerms(value_units=1000, max_leverage=100, max_mark_ticks=10**7,
                        taker_fee_e9=500_001, liquidation_fee_e9=5_000_000,
                        brackets=published_like(caps, rates))
    # A position whose turn lies at a mark of our choice, in any bracket or at a cap.
    mark = data.draw(st.integers(1, 10**7))
    cap = data.draw(st.sampled_from([row[0] for row in terms.brackets]))
    lots = data.draw(st.one_of(st.integers(1, 10**7), st.just(max(1, cap // (1000 * mark)))))
    lots = min(lots, 10**7)
    qty = data.draw(st.sampled_from([lots, -lots]))
    value = qty * 1000 * mark
    needed = exact_maintenance(terms, abs(value)) + Fraction(abs(value) * 5_500_001, E9)
    cost = data.draw(st.integers(-10**17, 10**17))
    cash = ceil(needed) - value + cost + data.draw(st.integers(-2, 2))
    threshold = terms.liquidation_mark(cash, qty, cost)
    near = threshold or mark
    marks = {m for m in (near - 1, near, near + 1, mark - 1, mark, mark + 1, 1, 10**7)
             if 1 <= m <= 10**7}
    assert_mark_divides(terms, cash, qty, cost, marks)


def test_the_kernels_say_what_the_functions_say():
    terms = small_terms(STEPS, taker_fee_e9=10_000_000)
    rows = list(product((0, 5, 20), (-3, 0, 1, 2), (10, 30)))
    cash, qty, price = (np.array(column) for column in zip(*rows, strict=True))
    marks = terms.liquidation_marks(cash, qty, qty * price)
    below = terms.below_maintenance(cash, qty, qty * price, 21)
    for i, (c, q, p) in enumerate(rows):
        assert marks[i] == (terms.liquidation_mark(c, q, q * p) or 0)
        assert below[i] == terms.is_below_maintenance(c, q, q * p, 21)
    assert set(below) == {False, True}


# ---- what is refused


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([(10, 100_000_000, 5), (10, 200_000_000, 4)], r"\[1\] cap_units: 10 is outside 11"),
        ([(10, 100_000_000, 5), (20, 99_999_999, 4)], r"brackets\[1\] mm_e9: 99999999 is outside"),
        ([(10, 100_000_000, 4), (20, 100_000_000, 5)], r"\[1\] leverage: 5 is outside 1..4"),
        ([(10, 100_000_000, 6)], r"brackets\[0\] leverage: 6 is outside 1..5"),
        ([(10, 0, 5)], r"brackets\[0\] mm_e9: 0 is outside"),
        ([(0, 1, 5)], r"brackets\[0\] cap_units: 0 is outside"),
        ([(10, 200_000_001, 5)], "exceed the initial margin"),
        ([(10, 100_000_000, 5), (20, 150_000_000, 4)], "no whole number of money units"),
        ([(i + 1, 100_000_000, 5) for i in range(17)], "17 rows"),
        ([(10, 995_000_000, 1)], "the last maintenance rate"),
    ],
)
def test_a_table_that_proves_nothing_is_refused(table, words):
    with pytest.raises(ValueError, match=words):
        small_terms(table, taker_fee_e9=5_000_000)


def test_brackets_stand_alone():
    with pytest.raises(ValueError, match=r"maintenance_share_e4: 5000 is outside 0\.\.0"):
        small_terms(STEPS, maintenance_share_e4=5000)
    with pytest.raises(ValueError, match=r"unit_margin_rate_e15: 1 is outside 0\.\.0"):
        small_terms(STEPS, unit_margin_rate_e15=1)
    assert small_terms([(10, 994_999_999, 1)], taker_fee_e9=5_000_000).brackets
    same = eval(repr(small_terms(STEPS)), {"MarginTerms": MarginTerms})
    assert same.brackets == small_terms(STEPS).brackets


# ---- contracts

ROWS = [Bracket(50_000, "0.004", 125), Bracket(600_000, "0.005", 100), Bracket(None, "0.01", 50)]


def contract(**changes):
    terms = {
        "symbol": "BTCUSD-PERP", "tick_size": "0.1", "lot_size": "0.0001", "max_price": 200_000,
        "min_quantity": "0.0001", "max_quantity": 100, "max_position": 200, "liquidation_slice": 20,
        "inventory_limit": 1_000, "work_off_slice": 1, "max_leverage": 125, "brackets": ROWS,
    }  # fmt: skip
    return pc.Contract(**{**terms, **changes})


def test_a_contract_keeps_its_brackets_through_its_record():
    listed = contract()
    record = listed.terms()[0]
    assert record["bracket_count"] == 3
    assert record["bracket_cap_units"].tolist()[:4] == [50_000 * USD, 600_000 * USD, 2**60, 0]
    assert record["bracket_cum_units"].tolist()[:4] == [0, 50 * USD, 3_050 * USD, 0]
    assert record["maintenance_share_e4"] == 0
    assert pc.Contract.from_terms(listed.terms()) == listed
    tuples = [(50_000, "0.004", 125), (600_000, "0.005", 100), (None, "0.01", 50)]
    assert contract(brackets=tuples) == listed
    assert MarginTerms.from_record(record).brackets[2] == (2**60, 10_000_000, 50, 3_050 * USD)


def test_a_contract_says_what_is_wrong_with_its_brackets():
    for changes, words in [
        ({"unit_margin_rate": "0.1"}, "unit_margin_rate has no place beside brackets"),
        ({"brackets": [(None, "0.01", 50), (1, "0.02", 25)]}, r"brackets\[0\] has no cap"),
        ({"brackets": [(i + 1, "0.01", 50) for i in range(17)]}, "17 brackets, at most 16"),
        ({"brackets": [("0.000000005", "0.01", 50)]}, r"brackets\[0\] cap"),
        ({"brackets": [("0.00000001", "0.01", 50), (1, "0.02", 25)]}, "cumulative amount"),
    ]:
        with pytest.raises(ValueError, match=words):
            contract(**changes).terms()


def registered(**fields):
    """Register the record with raw fields changed: 'bracket_cap_units', 1 -> that place."""
    terms = contract().terms()
    for name, value in fields.items():
        name, _, place = name.partition("__")
        if place:
            terms[name][0, int(place)] = value
        else:
            terms[name] = value
    engine = Engine(venue_terms(), 1)
    return engine.add_contract(terms, 1)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"bracket_count": 17}, "brackets: 0 to 16"),
        ({"bracket_count": -1}, "brackets: 0 to 16"),
        ({"bracket_count": 0}, "unused fields"),
        ({"bracket_count": 2}, "unused fields"),
        ({"bracket_cum_units__3": 1}, "unused fields"),
        ({"bracket_leverage__15": 1}, "unused fields"),
        ({"maintenance_share_e4": 5000}, "unused fields"),
        ({"unit_margin_rate_e15": 1}, "unused fields"),
        ({"bracket_cap_units__0": 0}, "each cap 1 to 2"),
        ({"bracket_cap_units__2": 2**60 + 1}, "each cap 1 to 2"),
        ({"bracket_mm_e9__0": 0}, "above 0"),
        ({"bracket_leverage__0": 126}, "leverage 1 to max_leverage"),
        ({"bracket_leverage__2": 0}, "leverage 1 to max_leverage"),
        ({"bracket_mm_e9__2": 20_000_001}, "at most 1 / leverage"),
        ({"bracket_cap_units__1": 50_000 * USD}, "caps must rise"),
        ({"bracket_mm_e9__1": 3_999_999}, "must not fall"),
        ({"bracket_leverage__1": 126, "max_leverage": 200}, "must not rise"),
        ({"bracket_cum_units__0": 1}, "first cumulative amount is 0"),
        ({"bracket_cum_units__1": 50 * USD + 1}, "cap x growth"),
        ({"bracket_cum_units__2": 3_050 * USD - 1}, "cap x growth"),
        ({"bracket_cap_units__2": 200 * 200_000 * USD - 1}, "last cap must reach"),
        ({"liquidation_fee_e9": 989_500_000}, "no margin could cover"),
    ],
)
def test_registration_refuses_a_table_with_its_reason(fields, words):
    with pytest.raises(ValueError, match=words):
        registered(**fields)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"bracket_cap_units__2": 200 * 200_000 * USD},
        {"bracket_leverage__2": 100},  # 0.01 x 100 is 1: maintenance equals initial margin
        {"bracket_leverage__1": 125},
        {"liquidation_fee_e9": 989_499_999},
    ],
)
def test_registration_accepts_what_just_fits(fields):
    assert registered(**fields) == 0


def test_the_hash_counts_a_table():
    def hash_of(**changes):
        engine = Engine(venue_terms(), 1)
        engine.add_contract(contract(**changes).terms(), 1)
        return engine.state_hash()

    assert hash_of() == hash_of()
    assert hash_of() != hash_of(brackets=[*ROWS[:2], Bracket(None, "0.01", 49)])


# ---- in a venue

BTC = "BTCUSD-PERP"


def venue_of(listed):
    """A venue with the contract at a mark of 60,000; bob, who is rich, and ann."""
    venue, admin = pc.Venue.create()
    admin.add_contract(listed)
    admin.mark(BTC, 60_000)
    for name in ("ann", "bob"):
        venue.account(name, deposit={"USD": 1_000_000})
        admin.eligibility(name, pc.Eligibility())
    return venue, admin


def trade(venue, side, quantity, **options):
    """Ann takes what bob offers at 60,000."""
    other = "SELL" if side == "BUY" else "BUY"
    venue.account("bob").create_order(BTC, other, quantity, price=60_000)
    return venue.account("ann").create_order(BTC, side, quantity, price=60_000, **options)


@pytest.mark.parametrize(("side", "away"), [("BUY", 1), ("SELL", -1)])
def test_a_block_is_liquidated_at_the_mark_of_its_bracket(side, away):
    """20 BTC are 1.2 million USD: the third bracket, 50x at most, 0.01 x 1.2 million - 3,050."""
    venue, admin = venue_of(contract())
    isolated = {"exec_inst": "ISOLATED_MARGIN", "leverage": 125, "time_in_force": "IOC"}
    look = venue.account("ann").preview_order(BTC, side, 20, price=60_000, **isolated)
    assert look.code == 43004  # nobody offers yet
    trade(venue, side, 20, **isolated)
    block = venue.account("ann").isolated(BTC)
    assert (block.initial_margin, block.maintenance_margin) == (24_000, 8_950)
    terms = MarginTerms.from_record(contract().terms()[0])
    cash, cost = int(block.margin * USD), away * 1_200_000 * USD
    mark = terms.liquidation_mark(cash, away * 200_000, cost)
    assert block.liquidation_price == venue.contract(BTC).grid.mark(mark)
    added = block.preview_add_margin(1_000)
    block.add_margin(1_000)
    assert added.liquidation_price_after == block.liquidation_price
    mark = terms.liquidation_mark(cash + 1_000 * USD, away * 200_000, cost)
    assert block.liquidation_price == venue.contract(BTC).grid.mark(mark)
    text = block.explain()
    assert "less 305000000000, the cumulative amount" in text
    assert text.splitlines()[-1].endswith(": liquidated")
    assert text.splitlines()[-2].endswith(": safe")
    admin.mark(BTC, block.liquidation_price + away * venue.contract(BTC).grid.mark_tick)
    assert block.state == "OPEN"
    admin.mark(BTC, block.liquidation_price)
    assert block.state == "CLOSED"
    assert venue.audit().ok


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_a_rising_mark_calls_margin_where_a_bracket_ends(side):
    """0.8 BTC: 50,000 USD at 62,500. A long gains, too, and yet needs 1/2 instead of 1/125."""
    venue, admin = venue_of(contract(brackets=[(50_000, "0.004", 125), (None, "0.005", 2)]))
    ann = venue.account("ann")
    trade(venue, side, "0.8")
    ann.withdraw(990_000)
    ann.create_order(BTC, side, "0.001", price=60_000)
    assert ann.open_orders
    assert not (admin.mark(BTC, 62_500)["kind"] == EventKind.MARGIN_CALL).any()
    assert ann.open_orders
    events = admin.mark(BTC, "62500.1")
    assert (events["kind"] == EventKind.MARGIN_CALL).sum() == 1
    assert ann.margin_call
    assert ann.open_orders == []
    assert ann.positions


def test_an_account_with_two_contracts_turns_where_its_exact_sum_does():
    """Q2, several legs: a safe box across brackets; the short goes from the second to the third."""
    venue, admin = venue_of(contract())
    admin.add_contract(contract(symbol="ETHUSD-PERP"))
    admin.mark("ETHUSD-PERP", 60_000)
    ann, bob = venue.account("ann"), venue.account("bob")
    trade(venue, "BUY", 9)
    bob.create_order("ETHUSD-PERP", "BUY", 9, price=60_000)
    ann.create_order("ETHUSD-PERP", "SELL", 9, price=60_000)
    ann.withdraw(900_000)
    terms, cash = MarginTerms.from_record(contract().terms()[0]), int(ann.cash["USD"] * USD)

    def surplus(mark):
        """MB - MM with the short at `mark`, both bought and sold at 60,000."""
        values = [540_000 * USD, 90_000 * 1_000 * mark]
        needed = sum(exact_maintenance(terms, n) + Fraction(n * 5_500_000, E9) for n in values)
        return cash + values[0] - values[1] - needed

    first = next(mark for mark in range(690_000, 720_000) if surplus(mark) < 0)
    assert first * 90_000 * 1_000 > 600_000 * USD
    for mark, is_liquidated in ((first - 1, False), (first, True)):
        price = venue.contract(BTC).grid.mark(mark)
        events = admin.mark("ETHUSD-PERP", price)
        assert (events["kind"] == EventKind.LIQUIDATED).any() == is_liquidated
    assert venue.audit().ok


def test_the_box_of_a_short_bounds_what_its_last_bracket_costs():
    """Q2: a short above its first cap loses 1.5055 of a tick, not 1.0095 as in the first bracket.

    5 BTC long and 5 ETH short at 60,000, 400,000 USD; the slack is about 246,000 USD, half a leg.
    BTC pays its half with 24,500 USD without being looked at; then ETH at 80,000 costs 150,000.
    """
    venue, admin = venue_of(contract(brackets=[(None, "0.004", 125)]))
    steep = [(1_000, "0.004", 125), (None, "0.5", 2)]
    admin.add_contract(contract(symbol="ETHUSD-PERP", brackets=steep))
    admin.mark("ETHUSD-PERP", 60_000)
    ann, bob = venue.account("ann"), venue.account("bob")
    trade(venue, "BUY", 5)
    bob.create_order("ETHUSD-PERP", "BUY", 5, price=60_000)
    ann.create_order("ETHUSD-PERP", "SELL", 5, price=60_000)
    ann.withdraw(600_000)
    assert not (admin.mark(BTC, 35_500)["kind"] == EventKind.LIQUIDATED).any()
    assert ann.margin_balance > ann.maintenance_margin
    events = admin.mark("ETHUSD-PERP", 80_000)
    assert (events["kind"] == EventKind.LIQUIDATED).any()
    assert venue.audit().ok
