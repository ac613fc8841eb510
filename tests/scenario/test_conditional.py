"""Chapter 5, O1 and O6: orders that wait for a price, slide, end each other or end by time.

BTC stands at 60,000 (mark 600,000). MAKER quotes 1,000 lots at 59,990 and 60,010.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.codes import Code, Currency, Done, Ev, Exec, Kind, OrderType, Scope, Side, Tif
from world import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    ETH,
    FULL_PROFILE,
    MAKER,
    SECOND,
    USD,
    Answer,
    World,
    isolated,
)

BUY, SELL = Side.BUY, Side.SELL
STOP, STOP_LIMIT = OrderType.STOP_LOSS, OrderType.STOP_LIMIT
TAKE, TAKE_LIMIT = OrderType.TAKE_PROFIT, OrderType.TAKE_PROFIT_LIMIT
MARK, INDEX, LAST = Scope.TRIGGER_MARK, Scope.TRIGGER_INDEX, Scope.TRIGGER_LAST


def quoted(venue: World) -> World:
    venue.buy(MAKER, 1_000, 59_990)
    venue.sell(MAKER, 1_000, 60_010)
    return venue


def wait_for(venue: World, kind: int, side: int, trigger: int, account: int = ALICE,
             lots: int = 10, **more: int) -> Answer:
    """A conditional order; its limit, if it has one, is the trigger."""
    is_limit = kind in (STOP_LIMIT, TAKE_LIMIT)
    return venue.do(Kind.NEW_ORDER, **{
        "account": account, "side": side, "qty_lots": lots, "contract": BTC, "order_type": kind,
        "price_ticks": trigger if is_limit else 0, "trigger_price_ticks": trigger, **more})


def fired(answer: Answer) -> list[int]:
    return [event.order_id for event in answer.of(Ev.TRIGGERED)]


# ---- O1: when


#: type, side, trigger; the mark before and the mark at which it fires.
TRIGGERS = [
    (STOP, SELL, 59_000, 590_001, 590_000), (STOP_LIMIT, SELL, 59_000, 590_001, 590_000),
    (STOP, BUY, 61_000, 609_999, 610_000), (STOP_LIMIT, BUY, 61_000, 609_999, 610_000),
    (TAKE, SELL, 61_000, 609_999, 610_000), (TAKE_LIMIT, SELL, 61_000, 609_999, 610_000),
    (TAKE, BUY, 59_000, 590_001, 590_000), (TAKE_LIMIT, BUY, 59_000, 590_001, 590_000),
]


@pytest.mark.parametrize("case", TRIGGERS, ids=lambda c: f"{c[0]}-{c[1]}")
def test_an_order_fires_at_its_trigger_and_not_a_mark_tick_before(
    venue: World, case: Any
) -> None:
    """O1: a stop with the market, a take-profit against it; then it is an order like any other."""
    kind, side, trigger, before, at = case
    quoted(venue)
    answer = wait_for(venue, kind, side, trigger)
    assert answer.kinds() == [Ev.ACCEPTED]
    assert answer[0].amount_units == 0
    assert fired(venue.mark(BTC, before)) == []
    told = venue.mark(BTC, at)
    event = told.of(Ev.TRIGGERED)[0]
    assert (event.order_id, event.price_ticks, event.qty_lots, event.flags) == (
        answer.order_id, trigger, 10, MARK)
    kinds = told.kinds()
    assert kinds[kinds.index(Ev.TRIGGERED) + 1] == Ev.ACCEPTED
    # A limit of 61,000 (59,000) is better than the quote for a stop, worse for a take-profit.
    price = 60_010 if side == BUY else 59_990
    fills = [] if kind == TAKE_LIMIT else [(10, price)]
    assert told.fills(ALICE) == fills
    live = venue.live(answer.order_id)
    assert (live is not None) == (kind == TAKE_LIMIT)


@pytest.mark.parametrize("kind", [STOP, TAKE])
@pytest.mark.parametrize("way", [BUY, SELL])
@pytest.mark.parametrize("away", [-1, 0, 1])
def test_a_trigger_that_is_reached_already_is_refused(
    venue: World, kind: int, way: int, away: int
) -> None:
    """O1: 229 at the mark of 60,000 and beyond it."""
    rises = (kind == STOP) == (way == BUY)
    reached = away <= 0 if rises else away >= 0
    answer = wait_for(venue, kind, way, 60_000 + away)
    assert answer.code == (Code.INVALID_TRIGGER if reached else 0)


def test_the_reference_is_the_mark_the_index_or_the_last_trade(venue: World) -> None:
    """O1: each looks at its own; an index or a trade that is not there yet is not reached."""
    quoted(venue)
    orders = {by: wait_for(venue, STOP, BUY, 60_005, scope=by).order_id
              for by in (MARK, INDEX, LAST)}
    venue.sell(MAKER, 1, 60_002)
    assert fired(venue.buy(BOB, 1, 60_002)) == []
    assert fired(venue.buy(BOB, 1, 60_010)) == [orders[LAST]]
    index = venue.do(Kind.INDEX, contract=BTC, mark_ticks=600_049)
    assert [(e.kind, e.contract, e.price_ticks) for e in index] == [(Ev.INDEXED, BTC, 600_049)]
    assert fired(venue.do(Kind.INDEX, contract=BTC, mark_ticks=600_050)) == [orders[INDEX]]
    assert fired(venue.mark(BTC, 600_050)) == [orders[MARK]]


INDEXES = [
    ("with USDC a contract is no field", {"currency": Currency.USDC, "contract": 1}, 40001),
    ("an unknown contract", {"contract": 7}, Code.INVALID_INSTRUMENT),
    ("no index", {"mark_ticks": 0}, 40001), ("the largest", {"mark_ticks": 10_000_000}, 0),
    ("beyond the largest", {"mark_ticks": 10_000_001}, 40001),
    ("dollars have no index", {"currency": Currency.USD}, Code.INVALID_CURRENCY),
]


@pytest.mark.parametrize("case", INDEXES, ids=lambda case: case[0])
def test_the_index_of_a_contract_is_on_its_mark_grid(venue: World, case: Any) -> None:
    """O1, U1."""
    _, fields, code = case
    assert venue.do(Kind.INDEX, **{"contract": BTC, "mark_ticks": 1, **fields}).code == code


# ---- O1: what may wait


FORMS = [
    ("a market type with a price", STOP, {"price_ticks": 59_000}, Code.INVALID_PRICE),
    ("a market type that wants to rest", STOP, {"time_in_force": Tif.GTC},
     Code.INVALID_TIME_IN_FORCE),
    ("a trigger of 0", STOP, {"trigger_price_ticks": 0}, Code.INVALID_PRICE),
    ("a trigger beyond the grid", STOP, {"trigger_price_ticks": 1_000_001}, Code.INVALID_PRICE),
    ("an unknown reference", STOP, {"scope": 3}, Code.INVALID_ARGUMENT),
    ("a plain order with a trigger", OrderType.MARKET, {}, Code.INVALID_ARGUMENT),
    ("a block that is not there", STOP, isolated(20, 1), Code.INVALID_ISOLATION_ID),
    ("money of its own", STOP, isolated(20, 1, USD), Code.INVALID_ARGUMENT),
    ("nothing to reduce", STOP, {"exec_flags": Exec.REDUCE_ONLY}, Code.REDUCE_ONLY_REJECTED),
    ("a limit beyond today's band", STOP_LIMIT,
     {"trigger_price_ticks": 50_000, "price_ticks": 50_000}, 0),
]


@pytest.mark.parametrize("case", FORMS, ids=lambda case: case[0])
def test_what_waits_is_checked_as_far_as_it_can_be(venue: World, case: Any) -> None:
    """O1, O5: form, size, price and market now; band, reserve and eligibility when it fires."""
    _, kind, fields, code = case
    assert wait_for(venue, kind, SELL, 59_000, **fields).code == code


def test_a_waiting_order_holds_no_money_and_needs_it_when_it_fires(venue: World) -> None:
    """O1, C3: CAROL's 1,000 USD do not carry 1,000 lots; that shows at the trigger: 306."""
    quoted(venue)
    answer = wait_for(venue, STOP, BUY, 60_100, CAROL, 1_000)
    assert venue.withdraw(CAROL, 500 * USD).code == 0
    told = venue.mark(BTC, 601_000)
    assert [e.kind for e in told if e.account == CAROL] == [Ev.TRIGGERED, Ev.CANCELLED]
    last = told.of(Ev.CANCELLED)[0]
    assert (last.order_id, last.reason, last.code) == (
        answer.order_id, Done.TRIGGER, Code.INSUFFICIENT_BALANCE)
    assert venue.live(answer.order_id) is None


def test_without_a_market_nothing_fires(venue: World) -> None:
    """O1, O4: in a halt the order waits; when the market opens it fires."""
    quoted(venue)
    stop = wait_for(venue, STOP, BUY, 60_100).order_id
    venue.market_state(BTC, 1)
    assert fired(venue.mark(BTC, 601_000)) == []
    assert fired(venue.market_state(BTC, 0)) == [stop]


def test_what_waits_counts_as_an_order(make_venue: Callable[..., World]) -> None:
    """O2, O4: for the limit of orders, for client ids, for cancels."""
    venue = make_venue(max_orders_per_account=2)
    first = wait_for(venue, STOP, SELL, 59_000, client_order_id=5)
    assert venue.buy(ALICE, 1, 59_000, client_order_id=5).code == Code.DUPLICATE_CLIENT_ORDER_ID
    second = wait_for(venue, STOP, SELL, 58_000)
    assert wait_for(venue, STOP, SELL, 57_000).code == Code.EXCEEDS_MAX_ORDERS
    assert venue.buy(ALICE, 1, 59_000).code == Code.EXCEEDS_MAX_ORDERS
    assert venue.cancel(ALICE, first.order_id).done() == [(first.order_id, Done.USER)]
    assert venue.cancel_all(ALICE).done() == [(second.order_id, Done.USER)]


def test_neither_a_margin_call_nor_eligibility_ends_what_has_no_reserve(venue: World) -> None:
    """A2, C4: SUSPENDED, she may not open: that is said when it fires."""
    quoted(venue)
    stop = wait_for(venue, STOP, BUY, 60_100).order_id
    assert venue.eligibility(ALICE, FULL_PROFILE | 1).done() == []
    told = venue.mark(BTC, 601_000)
    assert [(e.order_id, e.code) for e in told.of(Ev.CANCELLED)] == [
        (stop, Code.ACCOUNT_SUSPENDED)]


def test_it_is_not_among_the_lots_that_close(venue: World) -> None:
    """C3: a waiting sale of the whole position leaves the position for another order."""
    venue.trade(ALICE, MAKER, 100, 60_000)
    wait_for(venue, STOP, SELL, 59_000, lots=100)
    assert venue.sell(ALICE, 100, 61_000).of(Ev.ACCEPTED)[0].amount_units == 0


def test_the_end_of_a_position_ends_what_could_only_reduce_it(venue: World) -> None:
    """C3: the stop that is reduce-only ends with it; the entry stop goes on waiting."""
    venue.trade(ALICE, MAKER, 100, 60_000)
    stop = wait_for(venue, STOP, SELL, 59_000, lots=100, exec_flags=Exec.REDUCE_ONLY)
    entry = wait_for(venue, STOP, BUY, 61_000, lots=100)
    venue.buy(MAKER, 100, 60_000)
    assert venue.close(ALICE).done() == [(stop.order_id, Done.REDUCE_ONLY)]
    assert venue.live(entry.order_id) is not None


def test_a_liquidation_ends_what_waits(venue: World) -> None:
    """Q3: at 58,452.8 the block and its stop at 58,000 go together."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    stop = wait_for(venue, STOP, SELL, 58_000, lots=100,
                    exec_flags=Exec.REDUCE_ONLY | Exec.ISOLATED_MARGIN, isolation_id=1)
    assert venue.mark(BTC, 584_528).done() == [(stop.order_id, Done.LIQUIDATION)]


def test_a_stop_saves_what_a_liquidation_would_take(venue: World) -> None:
    """O1, Q1: at 58,500 the block sells at 58,490 by itself, and has closed before 58,452.8."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.buy(MAKER, 100, 58_490)
    wait_for(venue, STOP, SELL, 58_500, lots=100,
             exec_flags=Exec.REDUCE_ONLY | Exec.ISOLATED_MARGIN, isolation_id=1)
    told = venue.mark(BTC, 585_000)
    assert told.fills(ALICE) == [(100, 58_490)]
    assert [e.isolation_id for e in told.of(Ev.BLOCK_CLOSED)] == [1]
    assert venue.mark(BTC, 584_528).of(Ev.LIQUIDATED) == []


# ---- O1: in which order


def test_falls_come_before_rises_and_each_as_the_price_meets_them(
    make_venue: Callable[..., World]
) -> None:
    """O1: by contract and reference; falls from above, rises from below; then the older one."""
    venue = make_venue(timers_per_command=16)
    venue.mark(BTC, 650_000)
    far = wait_for(venue, STOP, SELL, 61_000).order_id
    near = wait_for(venue, STOP, SELL, 62_000).order_id
    venue.do(Kind.INDEX, contract=BTC, mark_ticks=500_000)
    first = wait_for(venue, STOP, BUY, 51_000, scope=INDEX).order_id
    high = wait_for(venue, STOP, BUY, 52_000, scope=INDEX).order_id
    same = wait_for(venue, STOP, BUY, 51_000, scope=INDEX).order_id
    venue.market_state(BTC, 1)
    venue.do(Kind.INDEX, contract=BTC, mark_ticks=600_000)
    venue.mark(BTC, 600_000)
    assert fired(venue.market_state(BTC, 0)) == [near, far, first, same, high]


def test_so_many_fire_and_the_rest_with_the_next_command(
    make_venue: Callable[..., World]
) -> None:
    """O6: two of three, then the third, even after a command that is refused."""
    venue = make_venue(timers_per_command=2)
    stops = [wait_for(venue, STOP, BUY, 60_100).order_id for _ in range(3)]
    assert fired(venue.mark(BTC, 601_000)) == stops[:2]
    refused = venue.cancel(ALICE, 10**6)
    assert refused.code == Code.INVALID_ORDER_ID
    assert fired(refused) == stops[2:]


def test_what_had_to_wait_must_still_be_reached(make_venue: Callable[..., World]) -> None:
    """O1, O6: one of two fires at 60,100; the mark comes back before the other's turn."""
    venue = make_venue(timers_per_command=1)
    first, second = (wait_for(venue, STOP, BUY, 60_100).order_id for _ in range(2))
    assert fired(venue.mark(BTC, 601_000)) == [first]
    assert fired(venue.mark(BTC, 600_999)) == []
    assert fired(venue.mark(BTC, 601_000)) == [second]


def test_one_stop_may_set_off_the_next(venue: World) -> None:
    """O1: ALICE's sale trades at 59,800, which wakes BOB's stop on the last trade."""
    venue.buy(MAKER, 10, 59_800)
    venue.buy(MAKER, 10, 59_700)
    first = wait_for(venue, STOP, SELL, 59_900).order_id
    second = wait_for(venue, STOP, SELL, 59_850, BOB, scope=LAST).order_id
    told = venue.mark(BTC, 599_000)
    assert fired(told) == [first, second]
    assert (told.fills(ALICE), told.fills(BOB)) == ([(10, 59_800)], [(10, 59_700)])


# ---- O1: SMART_POST_ONLY

SLIDES = [
    ("a purchase slides below the ask", BUY, 60_020, 60_009, 0),
    ("at the ask too", BUY, 60_010, 60_009, 0),
    ("below it stays", BUY, 60_009, 60_009, 0),
    ("a sale slides above the bid", SELL, 59_000, 59_991, 0),
    ("above it stays", SELL, 60_000, 60_000, 0),
    ("from beyond the band, too", BUY, 63_001, 60_009, 0),
    ("what would not take is held against the band", SELL, 90_001, 0, Code.FAR_AWAY_PRICE),
]


@pytest.mark.parametrize("case", SLIDES, ids=lambda case: case[0])
def test_a_smart_post_only_order_slides_to_the_best_passive_price(
    venue: World, case: Any
) -> None:
    """O1: it never takes."""
    _, side, price, rests_at, code = case
    quoted(venue)
    told = venue.order(ALICE, side, 5, price, exec_flags=Exec.SMART_POST_ONLY)
    assert told.code == code
    if not code:
        assert told.fills() == []
        assert venue.dump()["orders"][-1]["price"] == rests_at


def test_a_price_that_cannot_slide_is_refused(venue: World) -> None:
    """O1: an ask of 60,000 from before the mark doubled; one tick below it is out of the band."""
    venue.sell(MAKER, 10, 60_000)
    venue.mark(BTC, 1_200_000)
    told = venue.buy(ALICE, 1, 60_000, exec_flags=Exec.SMART_POST_ONLY)
    assert told.code == Code.POST_ONLY_WOULD_TAKE


@pytest.mark.parametrize("flags", [Exec.SMART_POST_ONLY | Exec.POST_ONLY, Exec.SMART_POST_ONLY])
def test_smart_post_only_is_for_what_rests_and_not_with_post_only(
    venue: World, flags: int
) -> None:
    """O1, O5: 219."""
    tif = Tif.GTC if flags & Exec.POST_ONLY else Tif.IOC
    told = venue.buy(ALICE, 1, 60_000, exec_flags=flags, time_in_force=tif)
    assert told.code == Code.INVALID_EXEC_INST


# ---- O1: one cancels other


def linked(venue: World, **more: Any) -> tuple[int, int]:
    """Two bids of ALICE, at 59,900 and 59,800."""
    first = venue.buy(ALICE, 10, 59_900).order_id
    second = venue.buy(ALICE, 10, 59_800, **{"order_id": first, **more})
    assert second.code == 0
    return first, second.order_id


def test_a_full_fill_ends_the_other_and_a_partial_one_does_not(venue: World) -> None:
    """O1: the sweep reaches down to 59,800, but when 59,900 is gone so is the other bid."""
    first, second = linked(venue)
    assert venue.sell(MAKER, 4, 59_900).done() == []
    told = venue.sell(MAKER, 16, 59_800)
    assert told.fills(ALICE) == [(6, 59_900)]
    assert told.done() == [(second, Done.LINKED)]
    assert venue.live(first) is None


def test_a_cancelled_order_takes_the_other_along(venue: World) -> None:
    """O1: whichever of the two it is, and whatever ended it."""
    first, second = linked(venue)
    assert venue.cancel(ALICE, second).done() == [(second, Done.USER), (first, Done.LINKED)]
    first, second = linked(venue, time_in_force=Tif.GTD, expiry_ns=venue.now + SECOND)
    venue.wait(1)
    assert venue.do(Kind.TICK).done() == [(second, Done.EXPIRED), (first, Done.LINKED)]
    first, second = linked(venue)
    assert venue.cancel_all(ALICE).done() == [(first, Done.USER), (second, Done.LINKED)]


def test_an_order_that_is_gone_at_once_ends_what_it_names(venue: World) -> None:
    """O1: filled or not, a taker does not stay for a link."""
    quoted(venue)
    bid = venue.buy(ALICE, 10, 59_900).order_id
    told = venue.buy(ALICE, 10, None, order_id=bid)
    assert told.fills(ALICE) == [(10, 60_010)]
    assert told.done() == [(bid, Done.LINKED)]


def test_an_order_whose_fill_ends_what_it_names_ends_with_it(venue: World) -> None:
    """O1, C3: 10 of 15 lots close the position and with it the stop; the 5 left end, too."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    stop = wait_for(venue, STOP, SELL, 59_000, exec_flags=Exec.REDUCE_ONLY).order_id
    venue.buy(MAKER, 10, 60_000)
    told = venue.sell(ALICE, 15, 60_000, order_id=stop)
    assert told.fills(ALICE) == [(10, 60_000)]
    assert told.done() == [(stop, Done.REDUCE_ONLY), (told.order_id, Done.LINKED)]


def test_a_pair_that_closes_a_position_ends_once(venue: World) -> None:
    """O1, C3: MAKER takes the last lot of one ask; the position ends, and with it the other ask,
    which would have ended the first had it not been filled."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    reduce = {"exec_flags": Exec.REDUCE_ONLY}
    first = venue.sell(ALICE, 10, 60_100, **reduce).order_id
    second = venue.sell(ALICE, 10, 60_200, **reduce, order_id=first).order_id
    told = venue.buy(MAKER, 20, 60_200)
    assert told.fills(ALICE) == [(10, 60_100)]
    assert told.done() == [(second, Done.REDUCE_ONLY)]
    assert venue.live(first) is None


def test_a_partial_fill_that_ends_the_position_ends_both(venue: World) -> None:
    """O1, C3: after 4 of 10 lots nothing is left to reduce: the second is cancelled by the fill,
    the first by their link."""
    venue.trade(ALICE, MAKER, 4, 60_000)
    reduce = {"exec_flags": Exec.REDUCE_ONLY}
    second = venue.sell(ALICE, 10, 60_200, **reduce).order_id
    first = venue.sell(ALICE, 10, 60_100, **reduce, order_id=second).order_id
    told = venue.buy(MAKER, 20, 60_150)
    assert told.fills(ALICE) == [(4, 60_100)]
    assert told.done() == [(second, Done.REDUCE_ONLY), (first, Done.LINKED)]


def test_stop_loss_and_take_profit_of_a_position(venue: World) -> None:
    """O1: the first that fires ends the other before it trades."""
    quoted(venue)
    venue.buy(ALICE, 10, None)
    reduce = {"exec_flags": Exec.REDUCE_ONLY}
    stop = wait_for(venue, STOP, SELL, 59_000, **reduce).order_id
    take = wait_for(venue, TAKE, SELL, 61_000, **reduce, order_id=stop).order_id
    told = venue.mark(BTC, 610_000)
    kinds = [e.kind for e in told if e.order_id in (stop, take)]
    assert kinds[:3] == [Ev.TRIGGERED, Ev.CANCELLED, Ev.ACCEPTED]
    assert told.done() == [(stop, Done.LINKED)]
    assert venue.qty(ALICE) == 0


LINKS = [
    ("another account's", {"account": BOB}, Code.INVALID_ORDER_ID),
    ("on another contract", {"contract": ETH, "price": 29_000}, Code.INVALID_ORDER_ID),
    ("of another unit", isolated(20), Code.INVALID_ORDER_ID),
    ("its own", {}, 0),
]


@pytest.mark.parametrize("case", LINKS, ids=lambda case: case[0])
def test_a_link_is_between_orders_of_one_unit_and_contract(venue: World, case: Any) -> None:
    """O1: else 212."""
    _, fields, code = case
    bid = venue.buy(ALICE, 10, 59_900).order_id
    told = venue.buy(**{"account": ALICE, "lots": 10, "price": 59_000, "order_id": bid, **fields})
    assert told.code == code


def test_an_order_has_one_link(venue: World) -> None:
    """O1: a third order cannot name one of a pair; an id that nobody has neither."""
    first, second = linked(venue)
    for order_id in (first, second, 10**6):
        assert venue.buy(ALICE, 10, 59_700, order_id=order_id).code == Code.INVALID_ORDER_ID
    assert venue.amend(ALICE, first, price_ticks=59_850).code == 0
    assert venue.cancel(ALICE, first).done() == [(first, Done.USER), (second, Done.LINKED)]


# ---- O6: the dead man's switch


def test_all_orders_end_when_the_owner_is_silent(venue: World) -> None:
    """O6: resting, waiting and isolated ones, a nanosecond after not before; then it is off."""
    resting = venue.buy(ALICE, 10, 59_900).order_id
    waiting = wait_for(venue, STOP, SELL, 59_000).order_id
    block = venue.buy(ALICE, 10, 59_000, **isolated(20)).order_id
    other = venue.buy(BOB, 10, 59_000).order_id
    told = venue.do(Kind.CANCEL_ALL_AFTER, account=ALICE, expiry_ns=venue.now + 10 * SECOND)
    assert [(e.kind, e.account, e.amount_units) for e in told] == [
        (Ev.CANCEL_AFTER_SET, ALICE, venue.now + 10 * SECOND)]
    venue.now += 10 * SECOND - 1
    assert venue.do(Kind.TICK).done() == []
    venue.now += 1
    assert venue.do(Kind.TICK).done() == [
        (order, Done.DEAD_MAN) for order in (resting, waiting, block)]
    assert venue.live(other) is not None
    again = venue.buy(ALICE, 10, 59_900).order_id
    venue.wait(20)
    assert venue.do(Kind.TICK).done() == []
    assert venue.live(again) is not None


@pytest.mark.parametrize(("after", "ends"), [(0, False), (5 * SECOND, True), (30 * SECOND, False)],
                         ids=["switched off", "earlier", "renewed"])
def test_a_new_switch_replaces_the_old(venue: World, after: int, ends: bool) -> None:
    """O6: set for 10 seconds, then anew; after 10 seconds the order is there or not."""
    venue.buy(ALICE, 10, 59_900)
    for seconds in (10 * SECOND, after):
        assert venue.do(Kind.CANCEL_ALL_AFTER, account=ALICE,
                        expiry_ns=venue.now + seconds if seconds else 0).code == 0
    venue.wait(10)
    assert bool(venue.do(Kind.TICK).done()) == ends


@pytest.mark.parametrize(("late", "code"), [(-1, 40001), (0, 40001), (1, 0)])
def test_a_switch_is_set_for_a_time_to_come(venue: World, late: int, code: int) -> None:
    """O6: 40001."""
    assert venue.do(Kind.CANCEL_ALL_AFTER, account=ALICE, expiry_ns=venue.now + late).code == code


def test_switches_and_dated_orders_fire_by_time_and_count_alike(
    make_venue: Callable[..., World]
) -> None:
    """O6: two timers a command: ALICE's switch, then BOB's order of the same second, then CAROL's
    switch; at one time an order comes before a switch."""
    venue = make_venue(timers_per_command=2)
    at = venue.now + 5 * SECOND
    carol = venue.buy(CAROL, 1, 59_000).order_id
    alice = venue.buy(ALICE, 1, 59_000).order_id
    bob = venue.buy(BOB, 1, 59_000, time_in_force=Tif.GTD, expiry_ns=at).order_id
    venue.do(Kind.CANCEL_ALL_AFTER, account=CAROL, expiry_ns=at)
    venue.do(Kind.CANCEL_ALL_AFTER, account=ALICE, expiry_ns=at - 1)
    venue.wait(5)
    assert venue.do(Kind.TICK).done() == [(alice, Done.DEAD_MAN), (bob, Done.EXPIRED)]
    assert venue.do(Kind.TICK).done() == [(carol, Done.DEAD_MAN)]
