"""Chapter 7, Q4: what neither the book nor the inventory takes closes the other side.

The block is that of `test_liquidation`: a long of 100 lots (0.1 BTC) from 60,000 at 20x with 333
USD, liquidated at 58,452.8 and below, bankrupt at 56,670.0. Prices of ADL are mark ticks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from reference.codes import BlockState, Done, Ev, Exec, Ledger, Policy, Reason
from test_liquidation import LONG_LIMIT, SHORT_LIMIT, block_of, dollars, inventory
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    CAROL,
    DAVE,
    MAKER,
    USD,
    Answer,
    World,
    isolated,
)

Make = Callable[..., World]
BANKRUPT = 566_700


def closings(answer: Answer) -> list[tuple[int, int, int]]:
    """(account, lots, price) of every DELEVERAGED."""
    return [(e.account, e.qty_lots, e.price_ticks) for e in answer.of(Ev.DELEVERAGED)]


PRICES = [
    ("at the bankruptcy price nothing is left", {}, BANKRUPT, "333", "0", "0"),
    ("at the mark the fee and the rest are the fund's", {"adl_price": Policy.ADL_AT_MARK},
     LONG_LIMIT, "154.72", "29.2264", "149.0536"),
    ("a queue at the mark", {"adl_rank": Policy.RANK_QUEUE_AT_MARK}, LONG_LIMIT, "154.72",
     "29.2264", "149.0536"),
]


@pytest.mark.parametrize("case", PRICES, ids=lambda case: case[0])
def test_the_other_side_is_closed_at_the_bankruptcy_price_or_the_mark(
    make_venue: Make, case: Any
) -> None:
    """Q4, Q5: nobody bids; MAKER's short of 100 is what there is. No taker fee on either side."""
    _, policies, price, profit, fee, rest = case
    venue = make_venue(backstop=Policy.BACKSTOP_ADL, **policies)
    block_of(venue, ALICE, 100)
    fees, cash = venue.dump()["fees_units"], venue.cash(MAKER)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert closings(answer) == [(ALICE, 100, price), (MAKER, -100, price)]
    assert venue.cash(MAKER) - cash == dollars(profit)
    assert answer.paid(Ledger.FUND_USD, Reason.LIQUIDATION_FEE) == dollars(fee)
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars(rest)
    assert (venue.qty(MAKER), inventory(venue)) == (0, (0, 0))
    assert venue.dump()["fees_units"] == fees
    assert venue.dump()["contracts"][BTC]["last_price_ticks"] == 60_000


def test_a_short_is_closed_against_longs(make_venue: Make) -> None:
    """Q4: bankrupt at (6,000 + 333) / 0.1 = 63,330."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    block_of(venue, ALICE, -100)
    answer = venue.mark(BTC, SHORT_LIMIT)
    assert closings(answer) == [(ALICE, -100, 633_300), (MAKER, 100, 633_300)]


@pytest.mark.parametrize(("lots", "extra", "price"), [
    (100, 1, 566_700), (100, 5_000_000_000, 561_700), (-100, 1, 633_300)],
    ids=["a long, up", "a long, exactly", "a short, down"])
def test_the_bankruptcy_price_is_rounded_for_the_fund(
    make_venue: Make, lots: int, extra: int, price: int
) -> None:
    """Q3, Q4: one unit more in the block moves the price by less than a mark tick: up for a long,
    down for a short, so that what is left is never negative."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    block_of(venue, ALICE, lots)
    assert venue.add_margin(ALICE, 1, extra).code == 0
    answer = venue.mark(BTC, 500_000 if lots > 0 else 700_000)
    assert closings(answer)[0][2] == price
    assert answer.of(Ev.LIQUIDATED)[0].amount_units >= 0


def three_shorts(make_venue: Make, bid: int, **policies: int) -> Answer:
    """BOB is short 50, CAROL (who has least) 30, MAKER 20; a bid takes so many of ALICE's 100."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL, **policies)
    for account, lots in ((BOB, 50), (CAROL, 30), (MAKER, 20)):
        venue.sell(account, lots, 60_000)
    venue.buy(ALICE, 100, 60_000, **isolated(20))
    venue.buy(DAVE, bid, 58_450)
    return venue.mark(BTC, LONG_LIMIT)


RANKS = [
    ("by profit x leverage", 0, 60, [(CAROL, 30), (BOB, 10)]),
    ("the queue at the mark has the same order", Policy.RANK_QUEUE_AT_MARK, 49,
     [(CAROL, 30), (BOB, 21)]),
    ("pro rata, without remainders", Policy.RANK_PRO_RATA, 60,
     [(MAKER, 8), (BOB, 20), (CAROL, 12)]),
    ("pro rata, to the largest remainder", Policy.RANK_PRO_RATA, 59,
     [(MAKER, 8), (BOB, 21), (CAROL, 12)]),
    ("pro rata, ties to the smaller unit", Policy.RANK_PRO_RATA, 95,
     [(MAKER, 1), (BOB, 3), (CAROL, 1)]),
    ("all of them", 0, 1, [(CAROL, 30), (BOB, 50), (MAKER, 19)]),
]


@pytest.mark.parametrize("case", RANKS, ids=lambda case: case[0])
def test_the_queue_says_who_is_closed(make_venue: Make, case: Any) -> None:
    """Q4: equal profit of 2.6 %, so CAROL's leverage of 1.7 comes before BOB's of 0.3; pro rata of
    41 lots is 20.5, 12.3 and 8.2; of 5 lots 2.5, 1.5 and 1."""
    _, rank, bid, expected = case
    answer = three_shorts(make_venue, bid, adl_rank=rank)
    assert [(account, -lots) for account, lots, _ in closings(answer)
            if account != ALICE] == expected


def test_profit_is_counted_from_the_opening_cost(make_venue: Make) -> None:
    """Q4: after a session BOB, short from 62,000, is still before ALICE, short from 60,000 with a
    little more leverage, though a roll has made their costs equal."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    venue.trade_short(BOB, MAKER, 50, 62_000)
    venue.trade_short(ALICE, MAKER, 50, 60_000)
    venue.withdraw(ALICE, 500 * USD)
    venue.mark(BTC, 590_000)
    venue.settle()
    block_of(venue, CAROL, 100)
    answer = venue.mark(BTC, 500_000)
    assert [account for account, lots, _ in closings(answer) if lots < 0] == [BOB, ALICE]


def test_the_owner_and_the_liquidated_are_no_candidates(make_venue: Make) -> None:
    """Q4, Q7: ALICE's own short is left alone; MAKER is flat; so the inventory takes all."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    block_of(venue, ALICE, 100)
    venue.trade(MAKER, ALICE, 100, 60_000)
    before = venue.leg(ALICE)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert closings(answer) == []
    assert inventory(venue) == (100, 5_667 * USD)
    assert venue.leg(ALICE) == before


def test_what_candidates_lack_the_inventory_takes(make_venue: Make) -> None:
    """Q4: MAKER is short of 60 only: 60 of them lose 199.80 of the 333, 40 go with the rest."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    block_of(venue, ALICE, 100)
    venue.trade(MAKER, ALICE, 40, 60_000)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert closings(answer) == [(ALICE, 60, BANKRUPT), (MAKER, -60, BANKRUPT)]
    assert inventory(venue) == (40, dollars("2266.8"))
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == 0


@pytest.mark.parametrize(("limit", "taken"), [(100, True), (99, False)])
def test_a_full_inventory_takes_nothing(venue: World, limit: int, taken: bool) -> None:
    """Q4: the backstop is the fund; what would pass the inventory's limit goes to ADL whole."""
    small = venue.add_contract(replace(BTC_PERP_20X, symbol="SMALL", inventory_limit_lots=limit))
    venue.mark(small, 600_000)
    venue.trade(ALICE, MAKER, 100, 60_000, small, **isolated(20))
    answer = venue.mark(small, LONG_LIMIT)
    assert bool(closings(answer)) != taken
    assert inventory(venue, small)[0] == (100 if taken else 0)


def test_a_slice_of_main_goes_the_same_way(make_venue: Make) -> None:
    """Q3, Q4: CAROL's 996.40 USD carry 120 lots down to 51,696.67, a mark tick up: 51,696.70.
    What the book leaves of her position is closed there; 0.004 are left, and go for the fee."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    venue.trade(CAROL, MAKER, 120, 60_000)
    answer = venue.mark(BTC, 530_000)
    assert closings(answer) == [(CAROL, 120, 516_967), (MAKER, -120, 516_967)]
    assert venue.cash(CAROL) == 0
    assert answer.paid(Ledger.FUND_USD, Reason.LIQUIDATION_FEE) == dollars("0.004")
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == 0


def test_a_candidate_s_position_ends_as_any_other(make_venue: Make) -> None:
    """Q4, I11: BOB's block of 100 is flat: its money is main's, its take-profit ends, its bid (with
    a reserve) keeps it pending."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL)
    venue.sell(BOB, 100, 60_000, **isolated(20))
    venue.buy(ALICE, 100, 60_000, **isolated(20))
    close = venue.buy(BOB, 50, 55_000, exec_flags=Exec.ISOLATED_MARGIN | Exec.REDUCE_ONLY,
                      isolation_id=1)
    ask = venue.sell(BOB, 10, 65_000, **isolated(20, 1))
    answer = venue.mark(BTC, LONG_LIMIT)
    assert closings(answer) == [(ALICE, 100, BANKRUPT), (BOB, -100, BANKRUPT)]
    assert answer.done() == [(close.order_id, Done.REDUCE_ONLY)]
    assert venue.live(ask.order_id) is not None
    block = venue.block(1)
    assert block is not None
    assert (block["state"], block["cash_units"]) == (BlockState.PENDING, 0)
    held = block["order_cash_units"]
    assert venue.cash(BOB) == 10_000 * USD + 333 * USD - dollars("1.2") - held


def test_a_partly_closed_candidate_keeps_its_margin(make_venue: Make) -> None:
    """I10, Q4: BOB's block is short 200; half of it is closed, its money stays and grows."""
    venue = make_venue(backstop=Policy.BACKSTOP_ADL,
                       partial_close=Policy.PARTIAL_CLOSE_PROPORTIONAL)
    venue.sell(BOB, 200, 60_000, **isolated(20))
    venue.buy(ALICE, 100, 60_000, **isolated(20))
    venue.buy(MAKER, 100, 60_000)
    block = venue.block(1)
    assert block is not None
    before = block["cash_units"]
    venue.mark(BTC, LONG_LIMIT)
    block = venue.block(1)
    assert block is not None
    assert (block["qty_lots"], block["cash_units"] - before) == (-100, 333 * USD)
