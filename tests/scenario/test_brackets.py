"""C1, the second margin model: notional brackets with a cumulative maintenance amount.

TIERED has no fees; a lot is 10 USD at the mark of 100 (10,000 ticks of 0.01 USD).

| notional | maintenance | less | leverage |
|---|---|---|---|
| to 10,000 USD | 1 % | 0 | 50 |
| to 50,000 USD | 2 % | 100 USD | 25 |
| above | 5 % | 1,600 USD | 10 |
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from reference.codes import Code, Ev
from world import ALICE, BOB, CAROL, MAKER, SOL_PERP_10X, USD, World, isolated

E7 = 10**7
LARGEST = 90_000 * 1_000_000 * 100_000  # lots x largest mark x money units
TIERED_TERMS = replace(
    SOL_PERP_10X, symbol="TIERED-PERP", maintenance_share_e4=0, max_leverage=50, min_order_lots=1,
    max_order_lots=50_000, max_position_lots=90_000, liquidation_slice_lots=50_000,
    stale_after_ns=0, access_group=0, bracket_count=3,
    bracket_cap_units=(10_000 * USD, 50_000 * USD, LARGEST), bracket_mm_e9=(E7, 2 * E7, 5 * E7),
    bracket_leverage=(50, 25, 10), bracket_cum_units=(0, 100 * USD, 1_600 * USD))
TIERED = 3


@pytest.fixture
def tiered(venue: World) -> World:
    assert venue.add_contract(TIERED_TERMS) == TIERED
    venue.mark(TIERED, 10_000)
    return venue


#: lots of 10 USD, leverage, initial margin in USD
NEEDS = [
    ("a small one at the contract's leverage", 1_000, 50, "200"),
    ("a lot more is in the next bracket", 1_001, 50, "400.4"),
    ("less leverage than the bracket's", 1_001, 20, "500.5"),
    ("the last lot of the second bracket", 5_000, 50, "2000"),
    ("the third bracket", 5_001, 50, "5001"),
    ("leverage below all brackets", 5_001, 2, "25005"),
]


@pytest.mark.parametrize("case", NEEDS, ids=lambda case: case[0])
def test_initial_margin_is_that_of_the_bracket_or_of_the_leverage(
    tiered: World, case: Any
) -> None:
    """C1, C3: MR = max(1 / leverage, 1 / the bracket's leverage), at the whole notional."""
    _, lots, leverage, need = case
    whole, _, part = need.partition(".")
    units = int(whole) * USD + int(part.ljust(8, "0"))
    told = tiered.buy(ALICE, lots, 10_000, TIERED, **isolated(leverage, margin=1))
    assert (told.code, told.needed) == (Code.EXCEEDS_INITIAL_MARGIN, units)


def test_the_bracket_of_an_order_counts_what_rests_before_it(tiered: World) -> None:
    """C3: 600 lots rest at 2 %; with 600 more the second order is in the bracket of 4 %."""
    first = tiered.buy(BOB, 600, 10_000, TIERED)
    second = tiered.buy(BOB, 600, 10_000, TIERED)
    held = [told.of(Ev.ACCEPTED)[0].amount_units for told in (first, second)]
    assert held == [120 * USD, 240 * USD]
    # The lots that are held already need the higher rate, too, when more come.
    tiered.sell(MAKER, 1_200, 10_000, TIERED)
    third = tiered.buy(BOB, 3_801, 10_000, TIERED)
    assert third.of(Ev.ACCEPTED)[0].amount_units == 3_801 * USD + 720 * USD


#: lots, added margin, the last mark alive and the first dead. Block: cash is the initial margin.
THRESHOLDS = [
    # 100 lots at 50x: cash 20; 10 p - 1,000 + 20 < 0.01 x 10 p
    ("in the first bracket", 100, 50, 9_899, 9_898),
    # 2,000 lots: cash 800; 200 p - 19,200 < 0.02 x 200 p - 100
    ("in the second", 2_000, 50, 9_745, 9_744),
    # 5,200 lots at 10x: cash 5,200; alone 520 p - 46,800 < 0.05 x 520 p - 1,600 would be 91.5, but
    # below 96.15 it is in the second bracket: < 0.02 x 520 p - 100
    ("from the third down into the second", 5_200, 10, 9_165, 9_164),
    # 6,000 lots at 10x: cash 6,000; 600 p - 54,000 < 0.05 x 600 p - 1,600
    ("in the third", 6_000, 10, 9_193, 9_192),
    # short 900 lots at 50x: cash 180; 9,180 - 90 p < 0.01 x 90 p to 111.11
    ("a short in the first", -900, 50, 10_099, 10_100),
    # short 950 lots at 10x: cash 950; 10,450 - 95 p < 0.02 x 95 p - 100 above 105.26
    ("a short up into the second", -950, 10, 10_887, 10_888),
]


@pytest.mark.parametrize("case", THRESHOLDS, ids=lambda case: case[0])
def test_a_block_is_liquidated_on_its_bracket_s_tick(tiered: World, case: Any) -> None:
    """Q1, Q2, C1: MM = N mm - cum has no step at a cap, and the threshold none either."""
    _, lots, leverage, alive, dead = case
    tiered.deposit(ALICE, 100_000 * USD)
    trade = tiered.trade if lots > 0 else tiered.trade_short
    assert trade(ALICE, MAKER, abs(lots), 10_000, TIERED, **isolated(leverage)).code == 0
    assert tiered.mark(TIERED, alive).of(Ev.LIQUIDATED) == []
    assert [e.isolation_id for e in tiered.mark(TIERED, dead).of(Ev.LIQUIDATED)] == [1]


def test_what_may_leave_a_block_leaves_its_bracket_s_maintenance(tiered: World) -> None:
    """I9, C1: 2,000 lots with 800 USD, at 105 worth 21,000: MM = 420 - 100."""
    tiered.trade(ALICE, MAKER, 2_000, 10_000, TIERED, **isolated(50))
    tiered.mark(TIERED, 10_500)
    refused = tiered.remove_margin(ALICE, 1, 480 * USD + 1)
    assert (refused.code, refused.available) == (Code.EXCEEDS_REMOVABLE, 480 * USD)
    assert tiered.remove_margin(ALICE, 1, 480 * USD).code == 0


def test_a_margin_call_may_come_with_a_gain(tiered: World) -> None:
    """C4: CAROL's 900 lots grow to 10,002 USD: initial margin jumps from 198 to 400.08."""
    tiered.trade(CAROL, MAKER, 900, 10_000, TIERED)
    # After it 100 USD and 1,002 of profit would be enough; so most of it is taken away first.
    assert tiered.withdraw(CAROL, 800 * USD).code == 0
    tiered.settle()
    tiered.mark(TIERED, 11_111)
    tiered.settle()
    told = tiered.preview(9, account=CAROL, currency=1, amount_units=10**15)
    assert tiered.withdraw(CAROL, told.available).code == 0
    assert tiered.mark(TIERED, 11_112).of(Ev.MARGIN_CALL) == []  # nothing to cancel
    bid = tiered.buy(CAROL, 1, 10_000, TIERED)
    assert bid.code == Code.ACCOUNT_IN_MARGIN_CALL


REFUSED = [
    ("a share besides", {"maintenance_share_e4": 5_000}),
    ("a unit margin rate besides", {"unit_margin_rate_e15": 1}),
    ("too many", {"bracket_count": 17}), ("fewer than none", {"bracket_count": -1}),
    ("one not filled in", {"bracket_count": 4}), ("one that is not counted", {"bracket_count": 2}),
    ("a cap that does not rise", {"bracket_cap_units": (50_000 * USD, 50_000 * USD, LARGEST)}),
    ("a cap of nothing", {"bracket_cap_units": (0, 50_000 * USD, LARGEST)}),
    ("a last cap below the largest position",
     {"bracket_cap_units": (10_000 * USD, 50_000 * USD, LARGEST - 1)}),
    ("maintenance that falls", {"bracket_mm_e9": (2 * E7, E7, 5 * E7)}),
    ("no maintenance", {"bracket_mm_e9": (0, 2 * E7, 5 * E7)}),
    ("maintenance above the initial margin", {"bracket_mm_e9": (E7, 2 * E7, 10 * E7 + 1)}),
    ("maintenance and fees of all that there is",
     {"bracket_mm_e9": (E7, 2 * E7, 995_000_000), "bracket_leverage": (50, 25, 1),
      "liquidation_fee_e9": 5_000_000}),
    ("leverage that rises", {"bracket_leverage": (25, 50, 10)}),
    ("leverage above the contract's", {"bracket_leverage": (51, 25, 10)}),
    ("no leverage", {"bracket_leverage": (50, 25, 0)}),
    ("an amount off at the start", {"bracket_cum_units": (1, 100 * USD, 1_600 * USD)}),
    ("a step at a cap", {"bracket_cum_units": (0, 100 * USD, 1_600 * USD + 1)}),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_a_table_that_is_not_continuous_and_monotone_is_refused(
    venue: World, case: Any
) -> None:
    """U2, C1: the proof of one threshold needs it."""
    changed = replace(TIERED_TERMS, **case[1])
    if "bracket_cum_units" not in case[1]:
        changed = replace(changed, bracket_cum_units=continuous(
            changed.bracket_cap_units, changed.bracket_mm_e9))
    with pytest.raises(ValueError, match=r"refused|bracket|reach 1"):
        venue.add_contract(changed)


def continuous(caps: tuple[int, ...], rates: tuple[int, ...]) -> tuple[int, ...]:
    """The cumulative amounts that leave no step, so that a table is wrong in one thing only."""
    found = [0]
    for cap, rate, after in zip(caps, rates, rates[1:], strict=False):
        found.append(found[-1] + cap * (after - rate) // 10**9)
    return tuple(found)


def test_the_table_of_these_tests_is_continuous(venue: World) -> None:
    """C1: so that the refusals above are for what they say."""
    table = continuous(TIERED_TERMS.bracket_cap_units, TIERED_TERMS.bracket_mm_e9)
    assert table == TIERED_TERMS.bracket_cum_units
    assert venue.add_contract(TIERED_TERMS) == TIERED


def test_a_single_bracket_is_a_flat_rate(tiered: World) -> None:
    """C1: 2 % maintenance at 20x for all sizes."""
    flat = replace(TIERED_TERMS, symbol="FLAT-PERP", max_leverage=20, bracket_count=1,
                   bracket_cap_units=(LARGEST,), bracket_mm_e9=(2 * E7,), bracket_leverage=(20,),
                   bracket_cum_units=(0,))
    number = tiered.add_contract(flat)
    tiered.mark(number, 10_000)
    for lots in (1, 1_000):
        told = tiered.buy(ALICE, lots, 10_000, number, **isolated(20, margin=1))
        assert told.needed == lots * USD // 2
