"""A block with USDC as its owner sees it: both currencies, maxima, messages, its safety (A4)."""

from __future__ import annotations

from decimal import Decimal

import pytest

import perpcore as pc
from perpcore.contracts import BTCUSD_PERP

BTC = "BTCUSD-PERP"
UNIT = Decimal("0.00000001")


def made(block_collateral: str = "in_kind") -> tuple[pc.Venue, pc.Admin]:
    """BTC at 60,000, USDC at 0.999; ann has 100 USD and 2,000 USDC, bob sells and buys."""
    venue, admin = pc.Venue.create(
        insurance_fund=1_000,
        policies=pc.Policies(block_collateral=block_collateral, removal="free"),
    )
    admin.add_contract(BTCUSD_PERP)
    admin.mark(BTC, 60_000)
    admin.index("USDC", "0.999")
    admin.open_account("ann", deposit={"USD": 100, "USDC": 2_000})
    bob = admin.open_account("bob", deposit={"USD": 100_000})
    bob.create_order(BTC, "SELL", quantity="0.1", price=60_000)
    bob.create_order(BTC, "BUY", quantity="0.1", price=59_990)
    return venue, admin


def opened(venue: pc.Venue) -> tuple[pc.Account, pc.Block]:
    ann = venue.account("ann")
    ann.create_order(
        BTC, "BUY", quantity="0.1", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=10
    )
    return ann, ann.isolated(BTC)


def test_what_usd_lacks_lies_in_the_block_as_usdc() -> None:
    venue, _ = made()
    ann, block = opened(venue)
    held = block.collateral
    assert held["USD"] == block.margin
    # The slice's USDC covers its margin alone: its 100 USD go back, and 3 USD of fee are converted.
    assert (block.margin, ann.cash["USD"]) == (0, 100)
    paid = 2_000 - ann.cash["USDC"] - held["USDC"]
    assert 3 <= paid * Decimal("0.999") * Decimal("0.98") < 3 + UNIT
    assert venue.audit().ok


def test_an_order_shows_what_it_holds_in_both_currencies() -> None:
    venue, _ = made()
    ann = venue.account("ann")
    result = ann.create_order(
        BTC, "BUY", quantity="0.1", price=59_000, exec_inst="ISOLATED_MARGIN", leverage=10
    )
    block = ann.isolated(BTC)
    assert result.reserved == 100
    assert block.order_collateral["USD"] == 100
    assert block.order_collateral["USDC"] == 2_000 - ann.cash["USDC"] > 500
    block.cancel_all_orders()
    assert (ann.cash["USD"], ann.cash["USDC"]) == (100, 2_000)
    assert block.order_collateral == {"USD": 0, "USDC": 0}


@pytest.mark.parametrize("currency", ["USD", "USDC"])
def test_the_most_that_may_be_removed_is_removed_and_one_unit_more_is_not(currency: str) -> None:
    venue, _ = made()
    _, block = opened(venue)
    block.add_margin(300, "USDC")
    venue.account("ann").deposit(500)
    block.add_margin(200)
    most = block.removable_usdc if currency == "USDC" else block.removable
    assert most > 0
    refused = block.preview_remove_margin(most + UNIT, currency)
    assert refused.code == 321
    assert refused.refusal is not None
    assert f"{most} {currency} removable" in str(refused.refusal)
    before = block.collateral[currency]
    block.remove_margin(most, currency)
    assert block.collateral[currency] == before - most


def test_margin_in_usdc_is_at_most_what_main_could_withdraw() -> None:
    venue, _ = made()
    ann, block = opened(venue)
    most = ann.withdrawable["USDC"]
    refused = block.preview_add_margin(most + UNIT, "USDC")
    assert refused.code == 306
    assert refused.refusal is not None
    assert f"{most} USDC is free" in str(refused.refusal)
    below = block.liquidation_price
    assert below is not None
    block.add_margin(most, "USDC")
    after = block.liquidation_price
    assert after is not None
    assert after < below


@pytest.mark.parametrize("move", ["add_margin", "remove_margin"])
def test_a_venue_that_converts_moves_margin_in_usd_alone(move: str) -> None:
    venue, _ = made("convert")
    _, block = opened(venue)
    assert block.collateral["USDC"] == 0
    assert block.removable_usdc == 0
    with pytest.raises(pc.Rejected) as refusal:
        getattr(block, move)(1, "USDC")
    assert refusal.value.code == 211


def test_the_reasons_of_a_block_name_its_usdc_and_the_haircut() -> None:
    venue, _ = made()
    _, block = opened(venue)
    reasons = block.explain()
    units = int(block.collateral["USDC"] * 10**8)
    assert f"the value of {units} of USDC" in reasons
    assert "of its haircut" in reasons
    assert "liquidated at" in reasons


def test_a_lower_index_liquidates_a_block_of_usdc_and_spares_main() -> None:
    venue, admin = made()
    ann, block = opened(venue)
    block.remove_margin(block.removable_usdc, "USDC")
    main = ann.cash
    admin.index("USDC", "0.2")
    assert block.state == "OPEN"
    admin.index("USDC", "0.05")
    assert block.state == "CLOSED"
    assert (ann.cash["USD"], ann.cash["USDC"]) == (main["USD"], main["USDC"])
    assert venue.audit().ok


@pytest.mark.parametrize("block_collateral", ["in_kind", "convert"])
def test_a_preview_tells_the_liquidation_price_that_then_is(block_collateral: str) -> None:
    """X1: of an order that USDC pays for, of margin added in USD and, where it stays, in USDC."""
    venue, _ = made(block_collateral)
    ann = venue.account("ann")
    order = {"type": "MARKET", "exec_inst": "ISOLATED_MARGIN", "leverage": 10}
    told = ann.preview_order(BTC, "BUY", "0.1", **order)  # type: ignore[arg-type]
    ann.create_order(BTC, "BUY", "0.1", **order)  # type: ignore[arg-type]
    block = ann.isolated(BTC)
    prices = [(told.liquidation_price_after, block.liquidation_price)]
    for currency in ("USD", "USDC")[: 2 if block_collateral == "in_kind" else 1]:
        told = block.preview_add_margin(150, currency)
        block.add_margin(150, currency)
        prices.append((told.liquidation_price_after, block.liquidation_price))
    assert all(before == after is not None for before, after in prices)


def test_main_previews_what_a_conversion_leaves() -> None:
    venue, _ = made()
    ann = venue.account("ann")
    told = ann.preview_order(BTC, "BUY", "0.1", type="MARKET")
    ann.create_order(BTC, "BUY", "0.1", type="MARKET")
    (position,) = ann.positions
    assert told.liquidation_price_after == position.liquidation_price is not None


def test_a_copy_holds_the_same_usdc() -> None:
    venue, _ = made()
    _, block = opened(venue)
    twin = venue.fork()
    assert twin.account("ann").isolated(BTC).collateral == block.collateral
    assert twin.state_hash() == venue.state_hash()
