"""A fund for each contract as a user sees it: who pays for whom, and in which order (S1)."""

from __future__ import annotations

from decimal import Decimal

import pytest

import perpcore as pc
from perpcore.codes import EventKind, Ledger
from perpcore.contracts import BTCUSD_PERP, ETHUSD_PERP

BTC, ETH = "BTCUSD-PERP", "ETHUSD-PERP"


def made(fund_by_contract: str = "on") -> tuple[pc.Venue, pc.Admin]:
    """Ann is long 0.1 BTC in a block at 20x against bob; nobody else bids."""
    venue, admin = pc.Venue.create(
        insurance_fund=1_000, policies=pc.Policies(fund_by_contract=fund_by_contract)
    )
    admin.add_contract(BTCUSD_PERP)
    admin.add_contract(ETHUSD_PERP)
    admin.mark(BTC, 60_000)
    ann, bob = (admin.open_account(name, deposit={"USD": 10_000}) for name in ("ann", "bob"))
    bob.create_order(BTC, "SELL", quantity="0.1", price=60_000)
    ann.create_order(
        BTC, "BUY", quantity="0.1", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=20
    )
    return venue, admin


def test_a_contract_has_nothing_at_first_and_gets_what_is_paid_in() -> None:
    venue, admin = made()
    assert venue.insurance_fund(contract=BTC) == 0
    events = admin.fund_top_up("12.5", contract=BTC)
    assert venue.describe(events) == [
        f"#{venue.seq} BALANCE {BTC} SUB_FUND 12.5 USD DEPOSIT, now 12.5"
    ]
    assert (venue.insurance_fund(), venue.insurance_fund(contract=BTC)) == (1_000, Decimal("12.5"))
    assert venue.insurance_fund(contract=ETH) == 0
    assert venue.audit().ok


def test_a_loss_is_paid_by_its_contract_first_and_then_by_the_shared_fund() -> None:
    """The book takes ann's 0.1 BTC 1,000 USD below her bankruptcy price."""
    venue, admin = pc.Venue.create(
        insurance_fund=1_000,
        policies=pc.Policies(fund_by_contract="on", liquidation_limit="band"),
    )
    admin.add_contract(BTCUSD_PERP)
    admin.mark(BTC, 60_000)
    ann, bob, cid = (
        admin.open_account(name, deposit={"USD": 20_000}) for name in ("ann", "bob", "cid")
    )
    bob.create_order(BTC, "SELL", quantity="0.1", price=60_000)
    ann.create_order(
        BTC, "BUY", quantity="0.1", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=20
    )
    block = ann.isolated(BTC)
    admin.fund_top_up(30, contract=BTC)
    below = block.bankruptcy_price - 1_000
    price = below - below % 10
    cid.create_order(BTC, "BUY", quantity="0.1", price=price)
    events = admin.mark(BTC, 56_900)
    assert block.state == "CLOSED"
    paid = events[(events["kind"] == EventKind.BALANCE) & (events["amount_units"] < 0)]
    ledgers = [int(row["ledger"]) for row in paid if row["ledger"] in (
        Ledger.SUB_FUND, Ledger.FUND_USD)]
    assert ledgers == [Ledger.SUB_FUND, Ledger.FUND_USD]
    assert venue.insurance_fund(contract=BTC) == 0
    # Between 100 and 101 USD are missing: 30 are the contract's, the rest is everybody's.
    assert 929 < venue.insurance_fund() <= 930
    assert venue.audit().ok


def test_fees_of_a_liquidation_stay_with_its_contract() -> None:
    venue, admin = made()
    venue.account("bob").create_order(BTC, "BUY", quantity="0.1", price=57_500)
    admin.mark(BTC, 57_150)
    assert venue.account("ann").blocks == []
    assert venue.insurance_fund() == 1_000
    assert venue.insurance_fund(contract=BTC) > 0
    assert venue.insurance_fund(contract=ETH) == 0


def test_a_venue_with_one_fund_takes_no_payment_for_a_contract() -> None:
    venue, admin = made("off")
    with pytest.raises(pc.Rejected) as refusal:
        admin.fund_top_up(1, contract=BTC)
    assert refusal.value.code == 40001
    assert venue.insurance_fund(contract=BTC) == 0


def test_a_contracts_part_is_in_usd() -> None:
    venue, admin = made()
    with pytest.raises(pc.Rejected) as refusal:
        admin.fund_top_up(1, "USDC", contract=BTC)
    assert refusal.value.code == 211
    with pytest.raises(ValueError, match="USD"):
        venue.insurance_fund("USDC", contract=BTC)


def test_a_copy_has_the_same_parts_and_goes_its_own_way() -> None:
    venue, admin = made()
    admin.fund_top_up(7, contract=ETH)
    twin = venue.fork()
    assert twin.insurance_fund(contract=ETH) == 7
    assert twin.state_hash() == venue.state_hash()
    admin.fund_top_up(1, contract=ETH)
    assert twin.insurance_fund(contract=ETH) == 7
    assert twin.state_hash() != venue.state_hash()
