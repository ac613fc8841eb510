"""Chapter 6: funding (F1). Payment = Q x mark value x rate; a payer pays the ceiling, a receiver
gets the floor, and the fund keeps the dust.

At a mark of 60,000 one BTC lot is 60 USD, 6,000,000,000 money units: a rate of 1e-9 is 6 units. At
60,000.1 (600,001 mark ticks) it is 6.00001 units: every payer pays one more than a receiver gets.
"""

from __future__ import annotations

from typing import Any

import pytest
from reference.codes import Code, Ev, Ledger, Reason, Scope
from world import ALICE, BOB, BTC, CAROL, ETH, MAKER, SOL, World, isolated


def paid(answer: Any, account: int) -> int:
    """What an account's main and blocks paid as funding (negative: received)."""
    return -sum(event.amount_units for event in answer.of(Ev.BALANCE)
                if event.reason == Reason.FUNDING and event.account == account)


#: name, lots of ALICE, BOB, CAROL (MAKER has the other side), mark ticks, rate e-9,
#: payments of ALICE, BOB, CAROL, MAKER in units, dust
PAYMENTS: list[tuple[str, tuple[int, int, int], int, int, tuple[int, ...], int]] = [
    # 600 USD x 0.01 % = 0.06 USD
    ("longs pay when the rate is positive", (10, 0, 0), 600_000, 100_000,
     (6_000_000, 0, 0, -6_000_000), 0),
    ("shorts pay when it is negative", (10, 0, 0), 600_000, -100_000,
     (-6_000_000, 0, 0, 6_000_000), 0),
    ("nobody pays a rate of 0", (10, 0, 0), 600_000, 0, (0, 0, 0, 0), 0),
    # 3 x 6.00001 = 18.00003: 19; 1 x: 6; 2 x: 12.00002: 12
    ("one payer up, receivers down", (3, -1, -2), 600_001, 1, (19, -6, -12, 0), 1),
    # receivers of 2 and 1 lots from MAKER's short 3: 18.00003 up
    ("the same with the sign turned", (2, 1, 0), 600_001, -1, (-12, -6, 0, 19), 1),
    # each of three payers rounds up: 7 + 7 + 7, the receiver of 18.00003 gets 18
    ("three payers leave three units", (1, 1, 1), 600_001, 1, (7, 7, 7, -18), 3),
]


@pytest.mark.parametrize("case", PAYMENTS, ids=lambda case: case[0])
def test_payers_pay_the_ceiling_and_receivers_get_the_floor(venue: World, case: Any) -> None:
    """F1, U3."""
    _, lots, mark, rate, payments, dust = case
    for account, qty in zip((ALICE, BOB, CAROL), lots, strict=True):
        if qty > 0:
            venue.trade(account, MAKER, qty, 60_000)
        elif qty < 0:
            venue.trade_short(account, MAKER, -qty, 60_000)
    venue.mark(BTC, mark)
    fund = venue.fund
    answer = venue.funding(BTC, rate)
    assert tuple(paid(answer, who) for who in (ALICE, BOB, CAROL, MAKER)) == payments
    assert venue.fund - fund == dust
    assert answer.paid(Ledger.FUND_USD, Reason.ROUNDING) == dust


def test_a_block_pays_its_own_funding(venue: World) -> None:
    """F1, I4: 0.06 USD from position_cash; her cross position pays 0.03 from main."""
    venue.trade(ALICE, MAKER, 10, 60_000, **isolated(10))
    venue.trade(ALICE, MAKER, 5, 60_000)
    block, main = venue.block(1)["cash_units"], venue.cash(ALICE)
    venue.funding(BTC, 100_000)
    assert venue.block(1)["cash_units"] == block - 6_000_000
    assert venue.cash(ALICE) == main - 3_000_000


def test_funding_of_one_contract_leaves_the_others_alone(venue: World) -> None:
    """F1: 0.01 % of 300 USD of ETH is 0.03 USD; BTC pays nothing."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.trade(ALICE, MAKER, 10, 30_000, ETH)
    answer = venue.funding(ETH, 100_000)
    assert paid(answer, ALICE) == 3_000_000
    assert {event.contract for event in answer.of(Ev.BALANCE)} == {ETH}


def test_funding_counts_as_session_pnl(venue: World) -> None:
    """F1, S4: a payment lowers it, a receipt raises it."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    alice, maker = (venue.account(who)["session_pnl_units"] for who in (ALICE, MAKER))
    venue.funding(BTC, 100_000)
    assert venue.account(ALICE)["session_pnl_units"] == alice - 6_000_000
    assert venue.account(MAKER)["session_pnl_units"] == maker + 6_000_000


@pytest.mark.parametrize(("rate", "code"), [
    (7_500_000, 0), (-7_500_000, 0),
    (7_500_001, Code.INVALID_ARGUMENT), (-7_500_001, Code.INVALID_ARGUMENT)])
def test_the_cap_is_part_of_the_terms(venue: World, rate: int, code: int) -> None:
    """F1, U2: 0.75 % either way, and not a billionth more."""
    assert venue.funding(BTC, rate).code == code


def test_funding_needs_a_mark_that_is_not_stale(venue: World) -> None:
    """F1, O4: SOL's mark is too old after 60 s; without positions it does not matter."""
    venue.wait(61)
    assert venue.funding(SOL, 100).code == 0
    venue.mark(SOL, 10_000)
    venue.trade(ALICE, MAKER, 10, 10_000, SOL)
    venue.wait(61)
    assert venue.funding(SOL, 100).code == Code.STALE_MARK_PRICE


def test_a_rate_for_the_settlement_waits_and_the_last_one_counts(venue: World) -> None:
    """F1, S3: two rates are announced; only the second is paid, once, at the session's end."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    cash = venue.cash(ALICE)
    venue.funding(BTC, 500_000, Scope.FUNDING_AT_SETTLEMENT)
    answer = venue.funding(BTC, 100_000, Scope.FUNDING_AT_SETTLEMENT)
    assert [(e.price_ticks, e.flags) for e in answer.of(Ev.FUNDING_SET)] == [(100_000, 1)]
    assert venue.cash(ALICE) == cash
    assert venue.dump()["contracts"][BTC]["funding_rate_e9"] == 100_000
    assert paid(venue.settle(), ALICE) == 6_000_000
    assert venue.dump()["contracts"][BTC]["funding_rate_e9"] is None
    assert paid(venue.settle(), ALICE) == 0


def test_funding_may_liquidate_in_the_same_command(venue: World) -> None:
    """F1, Q1: a long of 100 lots has 333 USD; at 58,453 it is 0.018 USD above its limit.

    0.001 % of 5,845.30 USD is 0.06: the block falls below maintenance and is taken over.
    """
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.mark(BTC, 584_530)
    assert venue.block(1) is not None
    answer = venue.funding(BTC, 10_000)
    assert [event.isolation_id for event in answer.of(Ev.LIQUIDATED)] == [1]
    assert answer.of(Ev.TAKEN_OVER)[0].qty_lots == 100


def test_the_fund_s_inventory_pays_like_any_unit(venue: World) -> None:
    """F1, Q4: it took 100 lots at 58,450; 0.01 % of 5,845 USD is 0.5845 USD."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.mark(BTC, 584_500)
    answer = venue.funding(BTC, 100_000)
    assert answer.paid(Ledger.INVENTORY, Reason.FUNDING) == -58_450_000
    assert paid(answer, MAKER) == -58_450_000
