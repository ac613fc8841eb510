"""Policies as a user writes them, the queue of auto-deleveraging, and what the core refuses."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

import perpcore as pc
from perpcore.codes import EventKind
from perpcore.contracts import BTCUSD_PERP, venue_terms
from perpcore.engine import Engine
from perpcore.foresight import after, unit_state
from perpcore.policies import CHOICES

BTC = "BTCUSD-PERP"


def made(policies: pc.Policies) -> tuple[pc.Venue, pc.Admin]:
    """BTC at 60,000 USD, no makers, three accounts that may trade."""
    venue, admin = pc.Venue.create(insurance_fund=1_000, policies=policies)
    admin.add_contract(BTCUSD_PERP)
    admin.mark(BTC, 60_000)
    for name in ("ann", "bob", "cid"):
        admin.open_account(name, deposit={"USD": 10_000})
    return venue, admin


def opened(venue: pc.Venue) -> tuple[pc.Account, pc.Account, pc.Account]:
    """Ann is long 0.1 BTC in a block at 20x; bob (40x) and cid (2x) are short half of it each."""
    ann, bob, cid = (venue.account(name) for name in ("ann", "bob", "cid"))
    for seller, leverage in ((bob, 40), (cid, 2)):
        seller.create_order(
            BTC, "SELL", quantity="0.05", price=60_000, exec_inst="ISOLATED_MARGIN",
            leverage=leverage,
        )
    ann.create_order(
        BTC, "BUY", quantity="0.1", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=20
    )
    return ann, bob, cid


def test_every_word_has_the_number_of_its_place() -> None:
    words = {name: choices[-1] for name, choices in CHOICES.items()}
    row = venue_terms(policies=pc.Policies(**words, cover_limit="12.5"))[0]
    assert {name: int(row[name]) for name in words} == {
        name: len(choices) - 1 for name, choices in CHOICES.items()
    }
    assert row["cover_limit_units"] == 1_250_000_000


def test_the_defaults_are_all_zero() -> None:
    row = venue_terms()[0]
    assert [int(row[name]) for name in (*CHOICES, "cover_limit_units")] == [0] * 18


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"backstop": "hope"}, "backstop: 'hope' is none of fund, adl"),
        ({"block_collateral": "in_stone"}, "block_collateral"),
        ({"cover_limit": "-1"}, "below 0"),
    ],
)
def test_a_word_that_is_no_choice_is_refused(words: dict[str, str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        pc.Policies(**words)  # type: ignore[arg-type]


def test_a_limit_finer_than_a_money_unit_is_refused() -> None:
    with pytest.raises(ValueError, match="finer"):
        venue_terms(policies=pc.Policies(cover_limit="0.000000001"))


@pytest.mark.parametrize("name", [*CHOICES, "spare", "cover_limit_units"])
def test_the_core_refuses_a_number_that_means_nothing(name: str) -> None:
    terms = venue_terms()
    terms[name] = -1 if name == "cover_limit_units" else 1
    allowed = len(CHOICES.get(name, "0")) > 1
    if allowed:
        Engine(terms, 1)
        terms[name] = len(CHOICES[name])
    with pytest.raises(ValueError, match="policies"):
        Engine(terms, 1)


@pytest.mark.parametrize(("units", "legs"), [(1 << 30, 1), ((1 << 30) - 3, 4), (1, (1 << 31) - 5)])
def test_more_positions_than_the_index_can_number_are_refused(units: int, legs: int) -> None:
    """Every unit has a leg of its own, beside those that the venue asks for."""
    terms = venue_terms()
    terms["unit_capacity"], terms["leg_capacity"] = units, legs
    with pytest.raises(ValueError, match="twice the units"):
        Engine(terms, 1)


def test_the_queue_puts_the_most_leveraged_winner_first() -> None:
    venue, admin = made(pc.Policies())
    ann, bob, cid = opened(venue)
    admin.mark(BTC, 59_000)
    first, second = bob.isolated(BTC), cid.isolated(BTC)
    assert venue.adl_queue(BTC) == [
        pc.AdlPlace("BUY", 1, ann.number, ann.isolated(BTC).isolation_id, Decimal("0.1")),
        pc.AdlPlace("SELL", 1, bob.number, first.isolation_id, Decimal("0.05")),
        pc.AdlPlace("SELL", 2, cid.number, second.isolation_id, Decimal("0.05")),
    ]
    assert (first.adl_rank, second.adl_rank, bob.adl_rank(BTC)) == (1, 2, None)


def test_the_rank_of_a_main_account_is_its_own() -> None:
    venue, _ = made(pc.Policies())
    bob, ann = venue.account("bob"), venue.account("ann")
    bob.create_order(BTC, "SELL", quantity="0.01", price=60_000)
    ann.create_order(BTC, "BUY", quantity="0.01", type="MARKET")
    assert (ann.adl_rank(BTC), bob.adl_rank(BTC)) == (1, 1)


def test_deleveraging_closes_the_winners_and_leaves_the_inventory_empty() -> None:
    venue, admin = made(pc.Policies(backstop="adl"))
    ann, bob, cid = opened(venue)
    blocks = [account.isolated(BTC) for account in (ann, bob, cid)]
    fund = venue.insurance_fund("USD")
    events = admin.mark(BTC, 56_000)
    closed = events[events["kind"] == EventKind.DELEVERAGED]
    assert closed["account"].tolist() == [ann.number, bob.number, ann.number, cid.number]
    assert closed["qty_lots"].tolist() == [500, -500, 500, -500]
    assert [block.state for block in blocks] == ["CLOSED"] * 3
    assert not np.any(events["kind"] == EventKind.TAKEN_OVER)
    # At the bankruptcy price nothing is missing: the fund gets what is left of rounding up.
    assert 0 <= venue.insurance_fund("USD") - fund < 1
    assert any("DELEVERAGED bob" in line for line in venue.describe(events))
    assert venue.audit().ok


def test_an_inventory_that_is_full_hands_over_to_deleveraging() -> None:
    """The limit of the fund's inventory holds under the fund backstop too (SPEC Q4)."""
    venue, admin = pc.Venue.create(insurance_fund=1_000)
    terms = {**BTCUSD_PERP.__dict__, "inventory_limit": "0.05"}
    admin.add_contract(pc.Contract(**{k: v for k, v in terms.items() if k not in ("row", "grid")}))
    admin.mark(BTC, 60_000)
    for name in ("ann", "bob", "cid"):
        admin.open_account(name, deposit={"USD": 10_000})
    opened(venue)
    events = admin.mark(BTC, 56_000)
    kinds = events["kind"].tolist()
    assert EventKind.DELEVERAGED in kinds
    assert EventKind.TAKEN_OVER not in kinds


def test_the_state_after_a_deleveraging_folds_from_its_events() -> None:
    """Previews fold them: what is left of a position that was closed in part is exact (X1)."""
    venue, admin = made(pc.Policies(backstop="adl"))
    ann, bob, _ = (venue.account(name) for name in ("ann", "bob", "cid"))
    bob.create_order(
        BTC, "SELL", quantity="0.17", price="60000.3", exec_inst="ISOLATED_MARGIN", leverage=10
    )
    for buyer, leverage in ((venue.account("cid"), 10), (ann, 20)):
        buyer.create_order(
            BTC, "BUY", quantity="0.07", type="MARKET", exec_inst="ISOLATED_MARGIN",
            leverage=leverage,
        )
    core, block = venue._core, bob.isolated(BTC)
    before = unit_state(core.unit(bob.number, block.isolation_id), 0)
    events = admin.mark(BTC, 56_000)
    folded = after(
        before, events, account=bob.number, isolation_id=block.isolation_id, contract=0,
        usdc_counts=core.engine.usdc_counts,
    )
    assert EventKind.DELEVERAGED in events["kind"]
    assert folded == unit_state(core.unit(bob.number, block.isolation_id), 0)
    assert block.quantity == Decimal("-0.07")
