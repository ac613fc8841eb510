"""Chapter 1, the ledger: the books balance to the last unit, and every change has its event."""

from __future__ import annotations

from collections import defaultdict

import invariants
import pytest
from reference.codes import Currency, Ev, Kind, Ledger, Reason, Scope
from reference.units import NONE
from world import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    DAVE,
    ETH,
    FUND,
    MAKER,
    USD,
    Answer,
    World,
    isolated,
)


def tell_a_whole_story(venue: World) -> list[Answer]:
    """Every way in which money moves: trades, blocks, funding, transfers, liquidation, session."""
    first = len(venue.told)
    # BOB is long 0.1 BTC, ALICE 0.1 BTC in a block, DAVE pays a fee with his USDC.
    venue.trade(BOB, MAKER, 100, 60_000)
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.trade(DAVE, MAKER, 1_000, 30_000, ETH)
    venue.add_margin(ALICE, 1, 50 * USD)
    # 60.0001 USD a lot x 0.0100001 % leaves dust.
    venue.mark(BTC, 600_001)
    venue.funding(BTC, 100_001)
    venue.funding(ETH, -77_777, Scope.FUNDING_AT_SETTLEMENT)
    venue.mark(BTC, 610_000)
    venue.remove_margin(ALICE, 1, USD)
    venue.buy(MAKER, 50, 61_000)
    venue.close(BOB, 50)
    venue.withdraw(BOB, USD)
    venue.withdraw(DAVE, USD, Currency.USDC)
    # CAROL's block is sold to the book at 59,400; the gap to 50,000 takes ALICE's block over.
    venue.trade(CAROL, MAKER, 100, 61_000, **isolated(20))
    venue.buy(MAKER, 100, 59_000)
    venue.mark(BTC, 594_000)
    venue.mark(BTC, 500_000)
    venue.top_up_fund(1_000 * USD)
    venue.settle()
    return venue.told[first:]


@pytest.mark.rule("L1")
def test_cash_less_cost_plus_venue_accounts_is_deposits_less_withdrawals(venue: World) -> None:
    told = tell_a_whole_story(venue)
    assert all(answer.code == 0 for answer in told)
    dump = venue.dump()
    # Deposits: 10,021,000 USD of traders, the fund's 100,000 and 1,000; withdrawn: 1 USD.
    assert dump["deposits_units"] == [10_122_000 * USD, 10_000 * USD]
    assert dump["withdrawals_units"] == [1 * USD, 1 * USD]
    invariants.ledger_identity(None, [], dump, dump)
    invariants.positions_cancel_out(None, [], dump, dump)
    assert sum(cost for _, cost in invariants.positions_of(dump).values()) == 0


@pytest.mark.rule("L1")
def test_a_trade_at_any_price_leaves_the_sum_of_cash_less_cost_plus_fees(venue: World) -> None:
    # 0.1 BTC at 61,234 though the mark is 60,000: no price of the venue enters the identity.
    venue.trade(ALICE, BOB, 100, 61_234)
    dump = venue.dump()
    assert venue.leg(ALICE)["cost_units"] == 612_340_000_000  # type: ignore[index]
    assert venue.leg(BOB)["cost_units"] == -612_340_000_000  # type: ignore[index]
    # Taker 0.05 % and maker 0.02 % of 6,123.40 USD.
    assert dump["fees_units"] == 306_170_000 + 122_468_000
    assert venue.cash(ALICE) == 10_000 * USD - 306_170_000
    assert venue.cash(BOB) == 10_000 * USD - 122_468_000


@pytest.mark.rule("L2")
def test_folding_the_events_from_the_opening_gives_every_balance_back(side: str) -> None:
    venue = World.populated(side)
    start = invariants.balances_of(venue.dump())
    told = tell_a_whole_story(venue)
    folded = defaultdict(int, start)
    for answer in told:
        for event in answer.of(Ev.BALANCE):
            folded[event.ledger, (event.account, event.isolation_id)] += event.amount_units
    final = invariants.balances_of(venue.dump())
    assert {place: units for place, units in folded.items() if units} == {
        place: units for place, units in final.items() if units}


#: Ledger, reason, whose: the story has a change of a balance for each reason of this venue.
TYPED_REASONS = [
    (Ledger.MAIN_USD, Reason.WITHDRAW, BOB),
    (Ledger.MAIN_USDC, Reason.WITHDRAW, DAVE),
    (Ledger.MAIN_USD, Reason.TRADE_FEE, BOB),
    (Ledger.BLOCK_POSITION, Reason.TRADE_FEE, ALICE),
    (Ledger.MAIN_USD, Reason.REALIZED_PNL, BOB),
    (Ledger.MAIN_USD, Reason.FUNDING, BOB),
    (Ledger.BLOCK_POSITION, Reason.FUNDING, ALICE),
    (Ledger.MAIN_USD, Reason.ISOLATED_TRANSFER, ALICE),
    (Ledger.BLOCK_ORDER, Reason.ISOLATED_TRANSFER, ALICE),
    (Ledger.BLOCK_POSITION, Reason.ISOLATED_TRANSFER, ALICE),
    (Ledger.BLOCK_POSITION, Reason.LIQUIDATION_FEE, CAROL),
    (Ledger.BLOCK_POSITION, Reason.INSURANCE_FUND, CAROL),
    (Ledger.BLOCK_POSITION, Reason.TAKE_OVER, ALICE),
    (Ledger.FUND_USD, Reason.LIQUIDATION_FEE, NONE),
    (Ledger.FUND_USD, Reason.INSURANCE_FUND, NONE),
    (Ledger.FUND_USD, Reason.DEPOSIT, NONE),
    (Ledger.FUND_USD, Reason.ROUNDING, NONE),
    (Ledger.MAIN_USD, Reason.AUTO_CONVERSION, DAVE),
    (Ledger.MAIN_USDC, Reason.AUTO_CONVERSION, DAVE),
    (Ledger.CONVERSION_USD, Reason.AUTO_CONVERSION, NONE),
    (Ledger.CONVERSION_USDC, Reason.AUTO_CONVERSION, NONE),
    (Ledger.INVENTORY, Reason.REALIZED_PNL, NONE),
]


@pytest.mark.rule("L2")
def test_every_change_of_a_balance_has_its_typed_reason(side: str) -> None:
    venue = World.populated(side)
    told = [event for answer in tell_a_whole_story(venue) for event in answer.of(Ev.BALANCE)]
    seen = {(event.ledger, event.reason, event.account) for event in told}
    assert [place for place in TYPED_REASONS if place not in seen] == []
    assert all(event.reason and event.amount_units for event in told)


@pytest.mark.rule("L2")
def test_a_transfer_is_two_events_the_payer_first(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    answer = venue.add_margin(ALICE, 1, 50 * USD)
    moves = [(e.ledger, e.reason, e.amount_units) for e in answer.of(Ev.BALANCE)]
    assert moves == [
        (Ledger.MAIN_USD, Reason.ISOLATED_TRANSFER, -50 * USD),
        (Ledger.BLOCK_POSITION, Reason.ISOLATED_TRANSFER, 50 * USD)]


@pytest.mark.rule("L1", "L2", "S1")
def test_a_top_up_of_the_fund_is_a_deposit(venue: World) -> None:
    before = venue.dump()["deposits_units"][0]
    answer = venue.top_up_fund(25 * USD)
    (event,) = answer.of(Ev.BALANCE)
    assert (event.ledger, event.reason, event.amount_units, event.balance_units) == (
        Ledger.FUND_USD, Reason.DEPOSIT, 25 * USD, FUND + 25 * USD)
    assert venue.dump()["deposits_units"][0] == before + 25 * USD
    assert venue.do(Kind.FUND_TOP_UP, currency=Currency.USDC, amount_units=USD).code == 0
    assert venue.dump()["fund_units"] == [FUND + 25 * USD, USD]
