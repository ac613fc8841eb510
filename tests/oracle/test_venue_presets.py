"""Presets against the published cases of their venues, by a running venue.

Every case that the runner of `way_venue` can compute is computed again on a venue that was made
of its own venue's preset. What dYdX publishes of its fund and of deleveraging needs that venue's
rules and has a runner here. Hyperliquid publishes no cases: its documents' sentences are tested.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import way_venue
from published import (
    DATA,
    Case,
    Excluded,
    OffGrid,
    expected,
    meets,
    number,
    read_all,
    tolerance,
)
from test_published import computed

from perpcore import Account, Admin, Block, Events, Policies, Venue, presets
from perpcore.codes import EventKind, Reason

PERP = way_venue.PERP
#: How a source names the venue whose numbers it has.
NAMED = {
    "crypto.com": "crypto_com", "bybit": "bybit", "binance": "binance", "dydx": "dydx",
    "vegaprotocol": "vega",
}  # fmt: skip


def venue_of(case: dict[str, Any]) -> str | None:
    """The preset of the venue that a case is from."""
    source = str(case["source"]).lower()
    return next((preset for text, preset in NAMED.items() if text in source), None)


CASES = [
    case for case in read_all() if case.file != "matching.json" and venue_of(case.data) is not None
]
# dYdX's kinds and its line of the examples have their own runner.
BY_VENUE = [
    case for case in CASES
    if way_venue.way_of(case.data) is not None and venue_of(case.data) != "dydx"
]  # fmt: skip


class OfPreset:
    """Stands in for Venue: makes one of a preset's policies."""

    def __init__(self, name: str) -> None:
        self.name, self.made = name, 0

    def create(self, policies: Policies | None = None, **options: Any) -> tuple[Venue, Admin]:
        self.made += 1
        if policies is None:
            return Venue.create(preset=self.name, **options)
        # A published variant names its own policy; the others are the preset's.
        named = {
            field.name: getattr(policies, field.name) for field in dataclasses.fields(policies)
            if getattr(policies, field.name) != getattr(Policies(), field.name)
        }
        own = dataclasses.replace(presets.load(self.name).policies, **named)
        return Venue.create(policies=own, **options)


@pytest.mark.parametrize("case", BY_VENUE, ids=lambda case: case.name)
def test_a_case_comes_out_under_its_venues_preset(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    way, name = way_venue.way_of(case.data), venue_of(case.data)
    assert way is not None
    assert name is not None
    made = OfPreset(name)
    monkeypatch.setattr(way_venue, "Venue", made)
    try:
        found = computed("venue", way, case.data)
    except (Excluded, OffGrid) as reason:
        # Then it is the case that a rule excludes, with every policy, and not the preset.
        monkeypatch.undo()
        with pytest.raises(type(reason)):
            computed("venue", way, case.data)
        return
    room = tolerance(case.data) + number(found.step)
    assert made.made
    assert meets(found.value, expected(case.data), room)


def test_each_venue_with_published_cases_is_tried_by_some() -> None:
    tried = Counter(venue_of(case.data) for case in BY_VENUE)
    assert tried.keys() == {"crypto_com", "bybit", "binance", "vega"}


# ---- venues whose rules need a runner of their own


def opened(
    name: str, coins: Decimal, owed: Decimal, entry: Decimal, *, maker_usd: Decimal | int = 10**6,
    fund: Decimal | int = 10**6, **terms: Any,
) -> tuple[Admin, Account, Block, Account]:  # fmt: skip
    """A block of `coins` that is bankrupt at a value of `owed`, on a venue of the preset.

    terms: of the contract, over the preset's own. Returns also owner and counterparty.
    """
    preset = presets.load(name)
    _, admin = Venue.create(insurance_fund=fund, accounts=32, orders=64, preset=preset)
    base = preset.contract(way_venue.contract(tick="0.01", lot="0.000001"))
    admin.add_contract(dataclasses.replace(base, **terms))
    owner = admin.open_account("owner", deposit={"USD": 10**6})
    maker = admin.open_account("maker", deposit={"USD": maker_usd})
    side, other = ("BUY", "SELL") if coins > 0 else ("SELL", "BUY")
    admin.mark(PERP, entry)
    maker.create_order(PERP, other, abs(coins), price=entry)
    owner.create_order(
        PERP, side, abs(coins), price=entry, exec_inst="ISOLATED_MARGIN",
        leverage=int(terms.get("max_leverage", base.max_leverage)),
        isolated_margin_amount=coins * entry - owed,
    )
    block = owner.isolated(PERP)
    assert block.position.cost - block.margin == owed
    return admin, owner, block, maker


def fund_gained(events: Events) -> Decimal:
    reasons = (Reason.R_LIQUIDATION_FEE, Reason.R_INSURANCE_FUND)
    return sum((way_venue.fund_change(events, reason) for reason in reasons), Decimal(0))


def liquidated_at(
    name: str, coins: Decimal, owed: Decimal, fill: Decimal, **options: Any
) -> tuple[Admin, Decimal, Decimal]:
    """The venue, what the fund got and what the owner's main account got, when the book closes a
    block at `fill`."""
    bankrupt, long, cent = owed / coins, coins > 0, Decimal("0.01")
    if not bankrupt / 2 < fill < bankrupt * 2:
        raise Excluded("O4: no order can rest so far from the mark")
    near = Decimal("1.001") if long else Decimal("0.999")
    entry = max(bankrupt * Decimal("1.1"), fill) if long else min(bankrupt * Decimal("0.9"), fill)
    admin, owner, block, maker = opened(
        name, coins, owed, entry.quantize(cent), band_aggressive="0.3", **options
    )
    maker.create_order(PERP, "BUY" if long else "SELL", abs(coins), price=fill)
    assert block.state == "OPEN"
    main = owner.cash["USD"]
    events = admin.mark(PERP, (bankrupt * near).quantize(cent))
    assert block.state == "CLOSED"
    assert admin.venue.audit().ok
    return admin, fund_gained(events), owner.cash["USD"] - main


# ---- dYdX


def fund_delta(case: dict[str, Any]) -> Decimal:
    """The smaller of the largest fee and what the fill leaves; a loss beyond it is the fund's."""
    given = case["inputs"]
    if len(given["positions"]) > 1:
        raise Excluded("I1: a block holds one position")
    (position,) = given["positions"]
    if abs(position["base_quantums"]) != given["fill_base_quantums"]:
        raise Excluded("Q3: a block is closed whole")
    coins = Decimal(position["base_quantums"]) / 10**8
    owed = Decimal(-given["usdc_quantums"]) / 10**6
    fee, fill = given["max_liquidation_fee"], Decimal(str(case["fill_price_usd"]))
    _, gained, kept = liquidated_at(
        "dydx", coins, owed, fill, liquidation_fee=str(fee), max_leverage=100
    )
    # What the penalty leaves stays with the account.
    assert kept == max(Decimal(0), coins * fill - owed - gained)
    return gained * 10**6


def example_delta(case: dict[str, Any]) -> Decimal:
    """The line of the examples: values of 0.1 BTC, the largest fee 0.5 %."""
    coins, given = Decimal("0.1"), {n: Decimal(v) for n, v in case["inputs"].items()}
    _, gained, _ = liquidated_at(
        "dydx", coins, given["bankr"], given["fill"] / coins, liquidation_fee="0.005",
        max_leverage=100,
    )
    return gained


def absorbs(case: dict[str, Any]) -> bool:
    """A fill that costs the fund `delta` leaves it at 0 or above, or does not."""
    balance, delta = (Decimal(case["inputs"][name]) / 10**6 for name in ("balance", "delta"))
    if balance < 0 or delta > 0:
        raise Excluded("S1: deltas above 0 are fees, and a fund opens with money")
    owed = max(Decimal(1_000), -10 * delta)
    admin, gained, _ = liquidated_at("dydx", Decimal(1), owed, owed + delta, fund=balance)
    assert gained == delta
    return admin.venue.insurance_fund("USD") >= 0


def deleveraged(case: dict[str, Any]) -> dict[str, Decimal]:
    """Both sides of a pair after deleveraging, in quote quantums (Q4)."""
    given = case["inputs"]
    ours, theirs = given["liquidated"], given["offsetting"]
    if abs(given["delta_base_quantums"]) != abs(ours["base_quantums"]):
        raise Excluded("Q4: what the book leaves is deleveraged as a whole")
    coins, owed = Decimal(ours["base_quantums"]) / 10**8, Decimal(-ours["usdc_quantums"]) / 10**6
    oracle = Decimal(given["oracle_usd"])
    entry = oracle * (Decimal("1.2") if coins > 0 else Decimal("0.8"))
    # The counterparty's cash at an entry price that is ours to choose.
    has = Decimal(theirs["usdc_quantums"]) / 10**6 - coins * entry
    admin, owner, block, maker = opened("dydx", coins, owed, entry, maker_usd=has, max_leverage=5)
    main = owner.cash["USD"]
    events = admin.mark(PERP, oracle)
    pairs = events[events["kind"] == EventKind.DELEVERAGED]
    assert len(pairs) == 2
    assert block.state == "CLOSED"
    assert maker.positions == []
    assert admin.venue.audit().ok
    left = owner.cash["USD"] - main + fund_gained(events)
    return {"liquidated_usdc": left * 10**6, "offsetting_usdc": maker.cash["USD"] * 10**6}


DYDX = {
    "insurance_fund_delta": fund_delta, "insurance_fund_can_absorb": absorbs,
    "deleverage_pair": deleveraged, "published": example_delta,
}  # fmt: skip
OF_DYDX = [
    case for case in CASES if case.data.get("kind") in DYDX and venue_of(case.data) == "dydx"
]


def by_dydx(case: Case) -> bool | None:
    """Whether the venue gives what dYdX asserts; None for what it cannot be asked."""
    try:
        found = computed("venue", DYDX[case.data["kind"]], case.data)
    except (Excluded, OffGrid):
        return None
    return meets(found.value, expected(case.data), tolerance(case.data))


@pytest.mark.parametrize("case", OF_DYDX, ids=lambda case: case.name)
def test_dydx_gives_what_it_publishes_of_fund_and_deleveraging(case: Case) -> None:
    # None: the venue cannot be asked; the next test counts how often.
    assert by_dydx(case) in (True, None)


@pytest.mark.skipif(DATA.parent != Path(__file__).parent, reason="counts are of the bundled files")
def test_few_cases_of_dydx_are_beyond_the_venue() -> None:
    assert Counter(by_dydx(case) for case in OF_DYDX) == {True: 16, None: 4}


# ---- what documents say without a number


@pytest.mark.parametrize("name", ["binance", "hyperliquid", "dydx"])
def test_margin_is_adjusted_freely_also_at_a_loss(name: str) -> None:
    admin, _, block, _ = opened(
        name, Decimal("0.5"), Decimal(3_000), Decimal(10_000), max_leverage=20
    )
    admin.mark(PERP, 9_900)
    assert block.unrealized_pnl < 0 < block.removable


@pytest.mark.parametrize("name", ["bybit", "hyperliquid", "dydx", "vega"])
def test_a_market_order_of_the_venue_may_cost_the_fund_money(name: str) -> None:
    _, gained, kept = liquidated_at(
        name, Decimal("0.5"), Decimal(5_000), Decimal(9_900), max_leverage=20
    )
    assert (gained, kept) == (-50, 0)


@pytest.mark.parametrize("fill", [64_500, 64_000, 63_500])
def test_bybit_settles_at_the_bankruptcy_price_and_the_fund_has_the_difference(fill: int) -> None:
    """Insurance Fund, 2024-08-18: liquidation at 65,000, bankruptcy at 64,000, any fill."""
    _, gained, kept = liquidated_at(
        "bybit", Decimal("0.5"), Decimal(32_000), Decimal(fill), max_leverage=25
    )
    assert (gained, kept) == (Decimal("0.5") * (fill - 64_000), 0)


@pytest.mark.parametrize("mark", ["9600", "9990", "10000", "10400"])
def test_binance_lets_go_what_its_formula_says(mark: str) -> None:
    """FAQ 360038447311: min(wallet - MM, wallet + size (mark - entry) - mark |size| IMR)."""
    size, entry, wallet = Decimal("0.5"), Decimal(10_000), Decimal(1_500)
    admin, _, block, _ = opened(
        "binance", size, size * entry - wallet, entry, liquidation_fee=0, max_leverage=10
    )
    admin.mark(PERP, mark)
    value = size * Decimal(mark)
    published = min(wallet - value / 20, wallet + value - size * entry - value / 10)
    assert block.removable == published > 0
    block.remove_margin(published)


def test_binance_takes_its_fee_and_leaves_the_rest_to_the_trader() -> None:
    _, gained, kept = liquidated_at(
        "binance", Decimal("0.5"), Decimal(5_000), Decimal(10_100), max_leverage=20
    )
    assert (gained, kept) == (Decimal("25.25"), Decimal("24.75"))


def test_hyperliquid_leaves_what_the_book_returns_to_the_trader() -> None:
    """Remaining collateral stays with the trader, and there is no clearance fee."""
    _, gained, kept = liquidated_at(
        "hyperliquid", Decimal("0.5"), Decimal(5_000), Decimal(10_050), max_leverage=20
    )
    assert (gained, kept) == (0, 25)


def test_hyperliquid_deleverages_at_the_mark() -> None:
    """When the vault may not take the position: it holds nothing beyond its limit."""
    admin, _, block, maker = opened(
        "hyperliquid", Decimal("0.5"), Decimal(5_000), Decimal(11_000), max_leverage=20,
        inventory_limit="0.1", work_off_slice="0.1",
    )
    events = admin.mark(PERP, 10_010)
    pairs = events[events["kind"] == EventKind.DELEVERAGED]
    assert pairs["price_ticks"].tolist() == [1_001_000] * 2
    assert block.state == "CLOSED"
    assert maker.cash["USD"] == 10**6 + Decimal("0.5") * (11_000 - 10_010)


def test_hyperliquid_maintains_half_of_the_initial_margin_at_the_largest_leverage() -> None:
    _, _, block, _ = opened(
        "hyperliquid", Decimal(1), Decimal(9_000), Decimal(10_000), max_leverage=20
    )
    assert block.maintenance_margin == 10_000 / Decimal(20) / 2
