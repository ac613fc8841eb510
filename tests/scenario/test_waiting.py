"""Chapter 5, O1 and O2: conditional orders that make a block, and amendments of what waits.

BTC stands at 60,000 (mark 600,000). MAKER quotes 1,000 lots at 59,990 and 60,010. A lot is 60 USD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.codes import BlockState, Code, Done, Ev, Exec, Ledger, MarketState, Reason, Scope
from reference.records import Event
from test_conditional import (
    BUY,
    SELL,
    STOP,
    STOP_LIMIT,
    TAKE,
    TAKE_LIMIT,
    fired,
    quoted,
    wait_for,
)
from world import ALICE, BOB, BTC, CAROL, ETH, FULL_PROFILE, USD, World, isolated

Make = Callable[..., World]


def block_events(events: list[Event]) -> list[int]:
    return [e.kind for e in events if e.account == ALICE and e.kind != Ev.BALANCE]


# ---- O1, I1: a conditional order for a block that is still to be made


def test_a_waiting_order_makes_its_block_without_money(venue: World) -> None:
    """O1, I1: the block is PENDING at the leverage of the command; no money moves."""
    answer = wait_for(venue, STOP, BUY, 60_100, **isolated(20))
    assert answer.kinds() == [Ev.ACCEPTED, Ev.BLOCK_PENDING]
    assert [event.isolation_id for event in answer] == [1, 1]
    assert answer[0].amount_units == 0
    block, order = venue.block(1), venue.live(answer.order_id)
    assert block is not None
    assert order is not None
    assert (block["state"], block["leverage"]) == (BlockState.PENDING, 20)
    assert (block["cash_units"], block["order_cash_units"]) == (0, 0)
    assert (order["isolation_id"], order["reserve"], order["leverage"]) == (1, 0, 0)
    assert venue.cash(ALICE) == 10_000 * USD


def test_it_reserves_and_opens_when_it_fires(venue: World) -> None:
    """O1, I2, I3: 10 lots at 60,010, the mark at 60,100, at 20x: margin ceil(601 / 20) = 30.05,
    reserve for both fees 0.55 % of 601 = 3.3055; the fee of the fill is 0.30005."""
    quoted(venue)
    stop = wait_for(venue, STOP, BUY, 60_100, **isolated(20)).order_id
    told = venue.mark(BTC, 601_000)
    assert fired(told) == [stop]
    assert told.fills(ALICE) == [(10, 60_010)]
    assert block_events(told) == [Ev.TRIGGERED, Ev.ACCEPTED, Ev.FILL, Ev.BLOCK_OPEN]
    block = venue.block(1)
    assert block is not None
    assert (block["state"], block["qty_lots"]) == (BlockState.OPEN, 10)
    # Kept: 30.05 + 0.30005 + 3.3055, less the fee that is paid.
    assert block["cash_units"] == 3_335_550_000
    assert venue.cash(ALICE) == 10_000 * USD - 3_335_550_000 - 30_005_000


def test_the_leverage_is_that_of_the_block_when_it_fires(venue: World) -> None:
    """O1, I6: raised from 5x to 10x while the order waits: 600.1 x 10 at 10x is 60.01."""
    wait_for(venue, STOP_LIMIT, BUY, 60_010, **isolated(5))
    assert venue.leverage(ALICE, 10, isolation_id=1).code == 0
    told = venue.mark(BTC, 600_100)
    # 60.01 margin, 0.05 % and 0.55 % of 600.10: 0.30005 and 3.30055
    assert told.of(Ev.ACCEPTED)[0].amount_units == 6_001_000_000 + 30_005_000 + 330_055_000


def test_a_block_ends_with_the_order_that_made_it(venue: World) -> None:
    """O1, I3: cancelled, the block is idle and closes."""
    stop = wait_for(venue, STOP, BUY, 60_100, **isolated(20)).order_id
    told = venue.cancel(ALICE, stop)
    assert told.kinds() == [Ev.CANCELLED, Ev.BLOCK_CLOSED]
    assert venue.block(1) is None
    # The id is used up (I1).
    assert wait_for(venue, STOP, BUY, 60_100, **isolated(20))[0].isolation_id == 2


def test_refused_at_its_trigger_it_takes_the_empty_block_along(venue: World) -> None:
    """O1, I2: CAROL's 1,000 USD do not carry 1,000 lots at 20x: 306, and the block closes."""
    quoted(venue)
    stop = wait_for(venue, STOP, BUY, 60_100, CAROL, 1_000, **isolated(20)).order_id
    told = venue.mark(BTC, 601_000)
    assert [e.kind for e in told if e.account == CAROL] == [
        Ev.TRIGGERED, Ev.CANCELLED, Ev.BLOCK_CLOSED]
    last = told.of(Ev.CANCELLED)[0]
    assert (last.order_id, last.reason, last.code) == (
        stop, Done.TRIGGER, Code.INSUFFICIENT_BALANCE)
    assert venue.cash(CAROL) == 1_000 * USD


def test_margin_that_was_added_comes_back_when_it_is_refused(venue: World) -> None:
    """I8, I3: a PENDING block takes margin; without its order it is idle and returns it."""
    wait_for(venue, STOP, BUY, 60_100, CAROL, 1_000, **isolated(20))
    assert venue.add_margin(CAROL, 1, 5 * USD).code == 0
    told = venue.mark(BTC, 601_000)
    assert told.paid(Ledger.MAIN_USD, Reason.ISOLATED_TRANSFER, CAROL) == 5 * USD
    assert venue.block(1) is None


def test_a_second_order_names_the_block(venue: World) -> None:
    """I1: 617 without an id, one more order of the block with it; the block stays for it."""
    first = wait_for(venue, STOP, BUY, 60_100, **isolated(20)).order_id
    assert wait_for(venue, STOP, BUY, 60_200, **isolated(20)).code == Code.BLOCK_EXISTS
    assert venue.buy(ALICE, 10, 59_000, **isolated(20)).code == Code.BLOCK_EXISTS
    assert venue.buy(ALICE, 10, 59_000, **isolated(20, 1)).code == 0
    told = venue.cancel(ALICE, first)
    assert told.kinds() == [Ev.CANCELLED]
    assert venue.block(1) is not None


NEW_BLOCKS = [
    ("leverage above the contract's", {"leverage": 21}, FULL_PROFILE, Code.INVALID_LEVERAGE),
    ("no leverage", {"leverage": 0}, FULL_PROFILE, Code.INVALID_LEVERAGE),
    ("leverage above the profile's", {}, FULL_PROFILE | 10 << 8, Code.INVALID_LEVERAGE),
    ("no isolated access", {}, FULL_PROFILE & ~8, Code.NO_ISOLATED_ACCESS),
    ("suspended", {}, FULL_PROFILE | 1, Code.ACCOUNT_SUSPENDED),
    ("no collateral moves yet", {}, FULL_PROFILE & ~48, 0),
    ("nothing to reduce", {"exec_flags": Exec.ISOLATED_MARGIN | Exec.REDUCE_ONLY}, FULL_PROFILE,
     Code.REDUCE_ONLY_REJECTED),
    ("money of its own", {"isolated_margin_units": USD}, FULL_PROFILE, Code.INVALID_ARGUMENT),
    ("an id that is not there", {"isolation_id": 9}, FULL_PROFILE, Code.INVALID_ISOLATION_ID),
    ("reached already", {"trigger_price_ticks": 60_000}, FULL_PROFILE, Code.INVALID_TRIGGER),
]


@pytest.mark.parametrize("case", NEW_BLOCKS, ids=lambda case: case[0])
def test_a_new_block_is_checked_when_it_is_made(venue: World, case: Any) -> None:
    """O1, A2, I1; a refused one takes no isolation id."""
    _, fields, profile, code = case
    venue.eligibility(ALICE, profile)
    answer = wait_for(venue, STOP, BUY, 60_100, **{**isolated(20), **fields})
    assert answer.code == code
    assert venue.dump()["next_isolation_id"] == (1 if code else 2)


def test_what_waits_counts_as_a_block(make_venue: Make) -> None:
    """I1: one block an account: 614 for the second; capacity 50001 is that of any block."""
    venue = make_venue(max_blocks_per_account=1)
    wait_for(venue, STOP, BUY, 60_100, **isolated(20))
    assert wait_for(venue, STOP, BUY, 3_010, contract=ETH, price_ticks=0,
                    **isolated(20)).code == Code.EXCEEDS_MAX_BLOCKS
    full = make_venue(unit_capacity=5)
    assert wait_for(full, STOP, BUY, 60_100, **isolated(20)).code == Code.CAPACITY


def test_a_link_needs_a_block_that_is_there(venue: World) -> None:
    """O1: 212 with a new block; inside the block the pair is linked, and one ends the other."""
    bid = venue.buy(ALICE, 10, 59_000).order_id
    assert wait_for(venue, STOP, BUY, 60_100, order_id=bid, **isolated(20)).code == (
        Code.INVALID_ORDER_ID)
    stop = wait_for(venue, STOP, BUY, 60_100, **isolated(20)).order_id
    take = wait_for(venue, TAKE, BUY, 59_000, order_id=stop, **isolated(20, 1)).order_id
    assert venue.cancel(ALICE, take).done() == [(take, Done.USER), (stop, Done.LINKED)]
    assert venue.block(1) is None


def test_a_liquidation_of_main_ends_the_empty_block(venue: World) -> None:
    """Q3: with main's orders go those of its blocks without a position."""
    assert venue.trade(CAROL, BOB, 250, 60_000).code == 0
    stop = wait_for(venue, STOP, BUY, 70_000, CAROL, **isolated(20)).order_id
    told = venue.mark(BTC, 570_000)
    assert (stop, Done.LIQUIDATION) in told.done()
    assert [e.isolation_id for e in told.of(Ev.BLOCK_CLOSED)] == [1]


# ---- O2: amend of what waits


#: type, the change, then limit, lots and trigger after it
CHANGES = [
    ("fewer lots", STOP, {"qty_lots": 4}, (0, 4, 59_000)),
    ("more lots", STOP, {"qty_lots": 40}, (0, 40, 59_000)),
    ("another trigger", STOP, {"trigger_price_ticks": 58_000}, (0, 10, 58_000)),
    ("a limit", STOP_LIMIT, {"price_ticks": 58_500}, (58_500, 10, 59_000)),
    ("all of it", STOP_LIMIT, {"price_ticks": 57_500, "qty_lots": 7, "trigger_price_ticks": 58_000},
     (57_500, 7, 58_000)),
    ("the same again", STOP_LIMIT, {"price_ticks": 59_000}, (59_000, 10, 59_000)),
]


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case[0])
def test_what_waits_can_be_amended(venue: World, case: Any) -> None:
    """O2: lots, limit and trigger; it holds no money, so that its event says the trigger."""
    _, kind, change, (price, lots, trigger) = case
    stop = wait_for(venue, kind, SELL, 59_000).order_id
    told = venue.amend(ALICE, stop, **change)
    assert [(e.kind, e.order_id, e.price_ticks, e.qty_lots, e.amount_units, e.balance_units)
            for e in told] == [(Ev.AMENDED, stop, price, lots, 0, trigger)]
    order = venue.live(stop)
    assert order is not None
    assert (order["price"], order["left"], order["trigger_price"]) == (price, lots, trigger)


def test_it_fires_at_the_new_trigger_and_not_at_the_old(venue: World) -> None:
    """O1, O2: a stop of 59,000 goes down to 58,000, with its limit of 57,900."""
    venue.buy(BOB, 10, 57_950)
    stop = wait_for(venue, STOP_LIMIT, SELL, 59_000).order_id
    venue.amend(ALICE, stop, trigger_price_ticks=58_000, price_ticks=57_900)
    assert fired(venue.mark(BTC, 580_001)) == []
    told = venue.mark(BTC, 580_000)
    assert told.of(Ev.TRIGGERED)[0].price_ticks == 58_000
    assert told.fills(ALICE) == [(10, 57_950)]


REFUSED = [
    ("nothing to change", STOP, {}, Code.INVALID_ARGUMENT),
    ("no lots", STOP, {"qty_lots": -1}, Code.INVALID_ORDER_QTY),
    ("too many lots", STOP, {"qty_lots": 50_001}, Code.EXCEEDS_MAX_ORDER_SIZE),
    ("a market type with a limit", STOP, {"price_ticks": 59_000}, Code.INVALID_PRICE),
    ("a limit beyond the grid", STOP_LIMIT, {"price_ticks": 1_000_001}, Code.INVALID_PRICE),
    ("a trigger beyond the grid", STOP, {"trigger_price_ticks": 1_000_001}, Code.INVALID_PRICE),
    ("a trigger below it", STOP, {"trigger_price_ticks": -1}, Code.INVALID_PRICE),
    ("a trigger that is reached", STOP, {"trigger_price_ticks": 60_000}, Code.INVALID_TRIGGER),
    ("a trigger beyond the mark", STOP, {"trigger_price_ticks": 60_001}, Code.INVALID_TRIGGER),
    ("a trigger just before it", STOP, {"trigger_price_ticks": 59_999}, 0),
]


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[0])
def test_a_refused_amendment_leaves_what_waits_as_it_was(venue: World, case: Any) -> None:
    """O2, O5: as at acceptance."""
    _, kind, change, code = case
    stop = wait_for(venue, kind, SELL, 59_000).order_id
    before = venue.live(stop)
    assert venue.amend(ALICE, stop, **change).code == code
    assert (venue.live(stop) == before) == (code != 0)


def test_the_smallest_order_is_that_of_the_contract(venue: World) -> None:
    """O2, O4: SOL takes 10 lots at least: 415 for 9, on the way down and with another trigger."""
    venue.mark(2, 10_000)
    stop = wait_for(venue, STOP, SELL, 9_000, contract=2, lots=20).order_id
    negative = venue.amend(ALICE, stop, qty_lots=-1).refusal
    assert negative is not None
    assert (negative.code, negative.qty_lots) == (Code.INVALID_ORDER_QTY, 10)
    for more in ({}, {"trigger_price_ticks": 8_000}):
        refused = venue.amend(ALICE, stop, qty_lots=9, **more)
        assert (refused.code, refused.refusal.qty_lots) == (  # type: ignore[union-attr]
            Code.BELOW_MIN_ORDER_SIZE, 10)


def test_a_trigger_belongs_to_what_waits(venue: World) -> None:
    """O2, O5: an order in the book has none: 40001."""
    bid = venue.buy(ALICE, 10, 59_000).order_id
    assert venue.amend(ALICE, bid, qty_lots=5, trigger_price_ticks=61_000).code == (
        Code.INVALID_ARGUMENT)
    assert venue.amend(ALICE, 10**6, trigger_price_ticks=61_000).code == Code.INVALID_ORDER_ID


def test_fewer_lots_need_no_market(venue: World) -> None:
    """O2, O4: as with any order; whatever else is changed waits for the market to open (309)."""
    stop = wait_for(venue, STOP, SELL, 59_000).order_id
    venue.market_state(BTC, MarketState.HALTED)
    assert venue.amend(ALICE, stop, qty_lots=5).code == 0
    for change in ({"qty_lots": 6}, {"trigger_price_ticks": 58_000}):
        assert venue.amend(ALICE, stop, **change).code == Code.MARKET_NOT_OPEN


def test_its_place_among_equal_triggers_is_its_age(make_venue: Make) -> None:
    """O1, O2: the first comes back to the trigger of the second, and is the older one still."""
    venue = make_venue(timers_per_command=16)
    quoted(venue)
    first = wait_for(venue, STOP, BUY, 60_100).order_id
    second = wait_for(venue, STOP, BUY, 60_200).order_id
    assert venue.amend(ALICE, first, trigger_price_ticks=60_200, qty_lots=20).code == 0
    assert fired(venue.mark(BTC, 601_999)) == []
    assert fired(venue.mark(BTC, 602_000)) == [first, second]


def test_an_amended_order_keeps_its_link_and_its_reference(venue: World) -> None:
    """O1, O2: the pair of a position; the index is what it looks at, before and after."""
    quoted(venue)
    venue.buy(ALICE, 10, None)
    reduce = {"exec_flags": Exec.REDUCE_ONLY}
    stop = wait_for(venue, STOP, SELL, 59_000, **reduce, scope=Scope.TRIGGER_INDEX).order_id
    take = wait_for(venue, TAKE_LIMIT, SELL, 61_000, **reduce, order_id=stop).order_id
    assert venue.amend(ALICE, stop, trigger_price_ticks=59_500).code == 0
    assert fired(venue.mark(BTC, 595_000)) == []
    told = venue.do(33, contract=BTC, mark_ticks=595_000)
    assert fired(told) == [stop]
    assert (take, Done.LINKED) in told.done()


def test_an_amendment_while_it_is_reached_is_too_late_or_makes_it_wait(make_venue: Make) -> None:
    """O1, O6: one firing a command leaves the second reached: fewer lots are all it may be given
    (229 for more), and then it fires."""
    venue = make_venue(timers_per_command=1)
    quoted(venue)
    first, second = (wait_for(venue, STOP, BUY, 60_100).order_id for _ in range(2))
    assert fired(venue.mark(BTC, 601_000)) == [first]
    third = wait_for(venue, TAKE, BUY, 50_000)
    assert fired(third) == [second]
    for _ in range(2):
        wait_for(venue, STOP, BUY, 60_200)
    fourth, fifth = (order["order_id"] for order in venue.dump()["orders"][-2:])
    assert fired(venue.mark(BTC, 602_000)) == [fourth]
    refused = venue.amend(ALICE, fifth, qty_lots=20)
    assert (refused.code, fired(refused)) == (Code.INVALID_TRIGGER, [fifth])


@pytest.mark.parametrize("change", [{"qty_lots": 4}, {"trigger_price_ticks": 59_500}, {
    "trigger_price_ticks": 60_000}], ids=["fewer lots", "another trigger", "a reached one"])
def test_a_preview_says_what_an_amendment_of_what_waits_does(
    venue: World, change: dict[str, int]
) -> None:
    """X1: the state is compared after it; the block of a preview is gone, and its id is free."""
    entry = {"kind": 1, "account": ALICE, "side": BUY, "qty_lots": 10, "contract": BTC,
             "order_type": STOP, "trigger_price_ticks": 60_100, **isolated(20)}
    foreseen = venue.preview(**entry)
    assert venue.do(**entry) == foreseen
    stop = wait_for(venue, STOP, SELL, 59_000).order_id
    amend = {"kind": 3, "account": ALICE, "order_id": stop, **change}
    foreseen = venue.preview(**amend)
    assert venue.do(**amend) == foreseen
