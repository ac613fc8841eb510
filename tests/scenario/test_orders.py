"""Chapter 5: orders and matching (O1-O7). The world's BTC: mark 60,000 USD, one lot 60 USD.

Fees are 0.05 % for the taker and 0.02 % for the maker: on 10 lots (600 USD) 0.30 and 0.12 USD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from reference.codes import Code, Done, Ev, Exec, Kind, MarketState, Reason, Scope, Stp, Tif
from steep import STEEP_PERP
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    CAROL,
    ETH,
    MAKER,
    SECOND,
    SOL,
    TERMS,
    USD,
    World,
    isolated,
)

REDUCE = {"exec_flags": Exec.REDUCE_ONLY}
IOC = {"time_in_force": Tif.IOC}
FOK = {"time_in_force": Tif.FOK}


def until(venue: World, seconds: int) -> dict[str, int]:
    """A GTD order that ends so many seconds from now."""
    return {"time_in_force": Tif.GTD, "expiry_ns": venue.now + seconds * SECOND}


# ---- O1: order types over one book: MAKER sells 10 at 60,000 and 10 at 60,100

#: name, lots, price, fields, code, fills, (done reason of the rest), lots that rest
TAKES: list[tuple[str, int, int | None, dict[str, int], int, list[tuple[int, int]], int, int]] = [
    ("limit rests with what it does not reach", 15, 60_000, {}, 0, [(10, 60_000)], 0, 5),
    ("limit takes at the better price", 15, 60_100, {}, 0, [(10, 60_000), (5, 60_100)], 0, 0),
    ("market walks the levels", 15, None, {}, 0, [(10, 60_000), (5, 60_100)], 0, 0),
    ("market's rest ends", 25, None, {}, 0, [(10, 60_000), (10, 60_100)], Done.REST, 0),
    ("ioc's rest ends", 15, 60_000, IOC, 0, [(10, 60_000)], Done.REST, 0),
    ("ioc without a fill is refused", 15, 59_999, IOC, Code.IOC_NOT_FILLED, [], 0, 0),
    ("fok fills whole", 20, 60_100, FOK, 0, [(10, 60_000), (10, 60_100)], 0, 0),
    ("fok of one lot too many is refused", 21, 60_100, FOK, Code.FOK_NOT_FILLED, [], 0, 0),
    ("fok looks no further than its price", 11, 60_099, FOK, Code.FOK_NOT_FILLED, [], 0, 0),
    ("post-only that reaches the book is refused", 5, 60_000, {"exec_flags": Exec.POST_ONLY},
     Code.POST_ONLY_WOULD_TAKE, [], 0, 0),
    ("post-only one tick below rests", 5, 59_999, {"exec_flags": Exec.POST_ONLY}, 0, [], 0, 5),
]


@pytest.mark.parametrize("case", TAKES, ids=lambda case: case[0])
def test_a_taker_gets_what_its_type_says(venue: World, case: Any) -> None:
    """O1."""
    _, lots, price, fields, code, fills, reason, rests = case
    venue.sell(MAKER, 10, 60_000)
    venue.sell(MAKER, 10, 60_100)
    answer = venue.buy(ALICE, lots, price, **fields)
    assert answer.code == code
    assert answer.fills(ALICE) == fills
    assert answer.done() == ([(answer.order_id, reason)] if reason else [])
    live = venue.live(answer.order_id)
    assert (live["left"] if live else 0) == rests
    assert venue.qty(ALICE) == sum(lots for lots, _ in fills)


def test_best_price_first_then_the_oldest(venue: World) -> None:
    """O1: 60,000 before 60,010; at 60,010 BOB was there first."""
    bob = venue.sell(BOB, 5, 60_010)
    maker = venue.sell(MAKER, 5, 60_010)
    better = venue.sell(MAKER, 5, 60_000)
    answer = venue.buy(ALICE, 12, 60_010)
    makers = [e.order_id for e in answer.of(Ev.FILL) if e.account != ALICE]
    assert makers == [better.order_id, bob.order_id, maker.order_id]
    assert answer.fills(ALICE) == [(5, 60_000), (5, 60_010), (2, 60_010)]
    assert venue.live(maker.order_id)["left"] == 3


def test_each_side_pays_its_own_fee(venue: World) -> None:
    """O1, C3: the maker's price, 0.05 % and 0.02 % of 600 USD."""
    venue.sell(MAKER, 10, 60_000)
    venue.buy(ALICE, 10, 60_500)
    # 10,000 - 0.30 and 10,000,000 - 0.12
    assert venue.cash(ALICE) == 10_000 * USD - 30 * USD // 100
    assert venue.cash(MAKER) == 10_000_000 * USD - 12 * USD // 100
    assert venue.dump()["fees_units"] == 42 * USD // 100


def test_a_market_order_reaches_to_the_edge_of_the_band(venue: World) -> None:
    """O1, O4: 5 % above 60,000 is 63,000; an order one tick beyond is not taken."""
    venue.sell(MAKER, 10, 63_001)
    assert venue.buy(ALICE, 5).code == Code.IOC_NOT_FILLED
    venue.sell(MAKER, 10, 63_000)
    assert venue.buy(ALICE, 5).fills(ALICE) == [(5, 63_000)]


def test_fok_is_decided_by_the_walk_of_the_fill_itself(venue: World) -> None:
    """O1: her own older order stops it (T), is cancelled by it (M), and comes back if it fails."""
    own = venue.sell(ALICE, 5, 60_000)
    venue.sell(MAKER, 10, 60_000)
    maker = {**FOK, "stp": Stp.MAKER}
    assert venue.buy(ALICE, 10, 60_000, **FOK).code == Code.FOK_NOT_FILLED
    assert venue.buy(ALICE, 11, 60_000, **maker).code == Code.FOK_NOT_FILLED
    assert venue.live(own.order_id)["left"] == 5
    answer = venue.buy(ALICE, 10, 60_000, **maker)
    assert answer.done() == [(own.order_id, Done.SELF_TRADE)]
    assert answer.fills(ALICE) == [(10, 60_000)]


def test_fok_counts_only_what_reduce_only_leaves(venue: World) -> None:
    """O1: a position of 5 cannot fill a reduce-only FOK of 6."""
    venue.trade(ALICE, MAKER, 5, 60_000)
    venue.buy(MAKER, 10, 60_000)
    fields = {"exec_flags": Exec.REDUCE_ONLY, "time_in_force": Tif.FOK}
    assert venue.sell(ALICE, 6, 60_000, **fields).code == Code.FOK_NOT_FILLED
    assert venue.sell(ALICE, 5, 60_000, **fields).code == 0
    assert venue.qty(ALICE) == 0


# ---- O1: reduce-only

#: name, position before, side, code
REDUCES = [
    ("without a position", 0, "sell", Code.REDUCE_ONLY_REJECTED),
    ("a long cannot be reduced by buying", 5, "buy", Code.REDUCE_ONLY_REJECTED),
    ("a short cannot be reduced by selling", -5, "sell", Code.REDUCE_ONLY_REJECTED),
    ("a long is reduced by selling", 5, "sell", 0),
    ("a short is reduced by buying", -5, "buy", 0),
]


@pytest.mark.parametrize("case", REDUCES, ids=lambda case: case[0])
def test_reduce_only_needs_an_opposite_position(venue: World, case: Any) -> None:
    """O1: 1110."""
    _, qty, side, code = case
    if qty > 0:
        venue.trade(ALICE, MAKER, qty, 60_000)
    elif qty < 0:
        venue.trade_short(ALICE, MAKER, -qty, 60_000)
    assert getattr(venue, side)(ALICE, 5, 60_000, **REDUCE).code == code


def test_a_reduce_only_maker_is_clipped_to_the_position_at_its_turn(venue: World) -> None:
    """O1: sells 10 at rest, 6 are closed meanwhile: only 4 are sold, and the order ends."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    resting = venue.sell(ALICE, 10, 60_100, **REDUCE)
    venue.buy(MAKER, 6, 60_000)
    venue.close(ALICE, 6)
    assert venue.live(resting.order_id)["left"] == 10
    answer = venue.buy(BOB, 10, 60_100)
    assert answer.fills(ALICE) == [(4, 60_100)]
    assert answer.done() == [(resting.order_id, Done.REDUCE_ONLY)]
    assert (venue.qty(ALICE), venue.qty(BOB)) == (0, 4)
    assert venue.live(answer.order_id)["left"] == 6


def test_a_reduce_only_taker_stops_at_the_position(venue: World) -> None:
    """O1: of 15 only 10 can reduce; the other 5 end."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.buy(MAKER, 20, 60_000)
    answer = venue.sell(ALICE, 15, 60_000, **REDUCE)
    assert answer.fills(ALICE) == [(10, 60_000)]
    assert answer.done() == [(answer.order_id, Done.REDUCE_ONLY)]
    assert venue.qty(ALICE) == 0


def test_reduce_only_orders_end_with_the_position(venue: World) -> None:
    """O1, C3: two of them, oldest first; the order that has a reserve stays."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    one = venue.sell(ALICE, 4, 60_100, **REDUCE)
    two = venue.sell(ALICE, 6, 60_200, **REDUCE)
    other = venue.buy(ALICE, 5, 59_000)
    venue.buy(MAKER, 10, 60_000)
    answer = venue.close(ALICE)
    assert answer.done() == [(one.order_id, Done.REDUCE_ONLY), (two.order_id, Done.REDUCE_ONLY)]
    assert venue.live(other.order_id)["left"] == 5


def test_reduce_only_looks_at_its_own_unit(venue: World) -> None:
    """O1, I1: a cross long of 10 gives a block nothing to reduce, and the other way round."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    fields = isolated(20)
    fields["exec_flags"] |= Exec.REDUCE_ONLY
    assert venue.sell(ALICE, 5, 60_000, **fields).code == Code.REDUCE_ONLY_REJECTED
    venue.trade(BOB, MAKER, 10, 60_000, **isolated(20))
    assert venue.sell(BOB, 5, 60_000, **REDUCE).code == Code.REDUCE_ONLY_REJECTED


# ---- O2: amend, cancel, close


def queue(venue: World) -> tuple[int, int]:
    """BOB then ALICE bid 10 at 59,900."""
    return venue.buy(BOB, 10, 59_900).order_id, venue.buy(ALICE, 10, 59_900).order_id


#: name, fields of BOB's amendment, whom a sale of 12 at the level fills: BOB's lots, ALICE's lots
AMENDS = [
    ("fewer lots keep the place", {"qty_lots": 4}, 4, 8),
    ("more lots go to the end", {"qty_lots": 12}, 2, 10),
    ("the same price and more lots go to the end", {"qty_lots": 11, "price_ticks": 59_900}, 2, 10),
    ("the same price and fewer lots keep the place", {"qty_lots": 9, "price_ticks": 59_900}, 9, 3),
    ("a better price comes first", {"price_ticks": 59_901}, 10, 2),
    ("fewer lots at a worse price leave the level", {"qty_lots": 4, "price_ticks": 59_899}, 0, 10),
]


@pytest.mark.parametrize("case", AMENDS, ids=lambda case: case[0])
def test_only_fewer_lots_keep_priority(venue: World, case: Any) -> None:
    """O2."""
    _, fields, bob_lots, alice_lots = case
    bob, alice = queue(venue)
    assert venue.amend(BOB, bob, **fields).of(Ev.AMENDED)[0].order_id == bob
    venue.sell(MAKER, 12, 59_900)
    assert (venue.qty(BOB), venue.qty(ALICE)) == (bob_lots, alice_lots)
    left = {o["order_id"] for o in venue.dump()["orders"] if o["account"] in (BOB, ALICE)}
    assert left <= {bob, alice}


@pytest.mark.parametrize("nth", range(6))
def test_an_order_that_is_amended_keeps_its_place_among_its_account_s_orders(
        venue: World, nth: int) -> None:
    """O2: the id stays, and with it the order in which all orders end, whichever it was."""
    ids = [venue.buy(BOB, 10, 59_800 + n).order_id for n in range(6)]
    venue.amend(BOB, ids[nth], price_ticks=59_700)
    assert [o["order_id"] for o in venue.dump()["orders"] if o["account"] == BOB] == ids


def test_an_amended_quantity_counts_what_is_filled(venue: World) -> None:
    """O2: 4 of 10 filled; a total of 6 leaves 2, a total of 4 is refused (213)."""
    bob, _ = queue(venue)
    venue.sell(MAKER, 4, 59_900)
    assert venue.amend(BOB, bob, qty_lots=4).code == Code.INVALID_ORDER_QTY
    venue.amend(BOB, bob, qty_lots=6)
    assert venue.live(bob)["left"] == 2
    assert venue.live(bob)["filled"] == 4


def test_an_amendment_may_take_like_a_new_order(venue: World) -> None:
    """O2: moved up to the ask it fills under its own id; the rest stays with it."""
    bob, _ = queue(venue)
    venue.sell(MAKER, 4, 60_000)
    answer = venue.amend(BOB, bob, price_ticks=60_000)
    assert answer.fills(BOB) == [(4, 60_000)]
    live = venue.live(bob)
    assert (live["price"], live["left"], live["filled"]) == (60_000, 6, 4)


#: name, whose, fields, code
BAD_AMENDS = [
    ("nothing to change", BOB, {}, Code.INVALID_ARGUMENT),
    ("another's order", ALICE, {"qty_lots": 5}, Code.INVALID_ORDER_ID),
    ("above the aggressive band", BOB, {"price_ticks": 63_001}, Code.PRICE_ABOVE_LIMIT),
    ("below the passive band", BOB, {"price_ticks": 29_999}, Code.FAR_AWAY_PRICE),
    ("larger than the money", BOB, {"qty_lots": 4_000}, Code.INSUFFICIENT_BALANCE),
    ("larger than the largest order", BOB, {"qty_lots": 50_001}, Code.EXCEEDS_MAX_ORDER_SIZE),
]


@pytest.mark.parametrize("case", BAD_AMENDS, ids=lambda case: case[0])
def test_a_refused_amendment_leaves_the_order_where_it_was(venue: World, case: Any) -> None:
    """O2, O5: price, lots, reserve and place in the queue."""
    _, account, fields, code = case
    bob, _ = queue(venue)
    before = venue.live(bob)
    assert venue.amend(account, bob, **fields).code == code
    assert venue.live(bob) == before
    venue.sell(MAKER, 10, 59_900)
    assert venue.qty(BOB) == 10


def test_an_order_s_id_is_known_before_it_is_sent(venue: World) -> None:
    """O2: the sequence number of its command; refused commands take one too."""
    bid = venue.side.seq + 1
    assert venue.buy(ALICE, 5, 59_000).of(Ev.ACCEPTED)[0].order_id == bid
    assert venue.cancel(ALICE, bid + 7).code == Code.INVALID_ORDER_ID
    assert venue.buy(ALICE, 5, 59_000).of(Ev.ACCEPTED)[0].order_id == bid + 2
    assert venue.cancel(ALICE, bid).done() == [(bid, Done.USER)]


def test_client_order_ids_are_unique_among_live_orders(venue: World) -> None:
    """O2: 204 while it lives, free when it ended; another account may use the same."""
    first = venue.buy(ALICE, 5, 59_000, client_order_id=77)
    assert venue.buy(ALICE, 5, 58_000, client_order_id=77).code == Code.DUPLICATE_CLIENT_ORDER_ID
    assert venue.buy(BOB, 5, 58_000, client_order_id=77).code == 0
    assert venue.cancel(ALICE, client_order_id=77).done() == [(first.order_id, Done.USER)]
    assert venue.buy(ALICE, 5, 58_000, client_order_id=77).code == 0
    assert venue.cancel(ALICE, client_order_id=78).code == Code.INVALID_ORDER_ID


def test_nobody_cancels_another_s_order(venue: World) -> None:
    """O2: 212, and it lives on."""
    bid = venue.buy(ALICE, 5, 59_000).order_id
    assert venue.cancel(BOB, bid).code == Code.INVALID_ORDER_ID
    assert venue.live(bid)["left"] == 5


#: name, contract, scope, which of the four orders end
CANCELS = [
    ("everything", 0xFFFF, Scope.ALL, [0, 1, 2, 3]),
    ("one contract", BTC, Scope.ALL, [0, 1]),
    ("cross orders", 0xFFFF, Scope.CROSS, [0, 2]),
    ("isolated orders", 0xFFFF, Scope.ISOLATED, [1, 3]),
    ("isolated orders of one contract", ETH, Scope.ISOLATED, [3]),
    ("a contract without orders", SOL, Scope.ALL, []),
]


@pytest.mark.parametrize("case", CANCELS, ids=lambda case: case[0])
def test_cancel_all_ends_what_its_scope_names(venue: World, case: Any) -> None:
    """O2: cross BTC, isolated BTC, cross ETH, isolated ETH; in ascending order of id."""
    _, contract, scope, expected = case
    ids = [venue.buy(ALICE, 5, 59_000, BTC).order_id,
           venue.buy(ALICE, 5, 59_000, BTC, **isolated(10)).order_id,
           venue.buy(ALICE, 5, 29_000, ETH).order_id,
           venue.buy(ALICE, 5, 29_000, ETH, **isolated(10)).order_id]
    bob = venue.buy(BOB, 5, 59_000)
    answer = venue.cancel_all(ALICE, contract, scope)
    assert answer.done() == [(ids[i], Done.USER) for i in expected]
    assert venue.live(bob.order_id)["left"] == 5


#: name, lots, price, code, position left, resting lots
CLOSES = [
    ("all at the market", 0, None, 0, 0, 0),
    ("a part at the market", 4, None, 0, 6, 0),
    ("more than there is is clipped", 25, None, 0, 0, 0),
    ("a limit that reaches", 0, 60_000, 0, 0, 0),
    ("a limit that waits", 4, 60_500, 0, 10, 4),
    ("a limit above the passive band", 0, 90_001, Code.FAR_AWAY_PRICE, 10, 0),
]


@pytest.mark.parametrize("isolated_one", [False, True], ids=["cross", "block"])
@pytest.mark.parametrize("case", CLOSES, ids=lambda case: case[0])
def test_close_position_is_a_reduce_only_order(
    venue: World, case: Any, isolated_one: bool
) -> None:
    """O2: of a long of 10, cross or in a block, with bids of 20 at 60,000."""
    _, lots, price, code, left, resting = case
    venue.trade(ALICE, MAKER, 10, 60_000, **(isolated(10) if isolated_one else {}))
    venue.buy(MAKER, 20, 60_000)
    unit = 1 if isolated_one else 0
    answer = venue.close(ALICE, lots, price, isolation_id=unit)
    assert answer.code == code
    block = venue.block(1)
    held = (block["qty_lots"] if block else 0) if isolated_one else venue.qty(ALICE)
    assert held == left
    live = venue.live(answer.order_id)
    assert (live["left"] if live else 0) == resting
    if live:
        flags = Exec.REDUCE_ONLY | (Exec.ISOLATED_MARGIN if isolated_one else 0)
        assert (live["exec_flags"], live["reserve"]) == (flags, 0)


def test_close_position_names_a_unit_with_a_position(venue: World) -> None:
    """O2: 201 for a flat main account though a block holds one; 613 for a block that is none."""
    venue.trade(ALICE, MAKER, 10, 60_000, **isolated(10))
    assert venue.close(ALICE).code == Code.NO_POSITION
    assert venue.close(ALICE, isolation_id=2).code == Code.INVALID_ISOLATION_ID
    assert venue.close(BOB, isolation_id=1).code == Code.INVALID_ISOLATION_ID


def test_only_a_whole_position_may_be_closed_below_the_smallest_order(venue: World) -> None:
    """O2, O4: SOL's smallest order is 10 lots; of 15 held, 10 are closed, 5 are left."""
    venue.trade(ALICE, MAKER, 15, 10_000, SOL)
    venue.buy(MAKER, 20, 10_000, SOL)
    assert venue.close(ALICE, 10, contract=SOL).code == 0
    assert venue.close(ALICE, 3, contract=SOL).code == Code.BELOW_MIN_ORDER_SIZE
    assert venue.close(ALICE, 5, contract=SOL).code == 0
    assert venue.qty(ALICE, SOL) == 0


# ---- O3: self-trade prevention. ALICE sells 5 at 60,000, MAKER after her; ALICE buys.

#: policy, code, fills, how orders end: "own" is the resting one, "taker" the new one
SELF_TRADES: list[tuple[str, int, int, list[tuple[int, int]], list[str]]] = [
    ("by default the taker stops", Stp.DEFAULT, Code.SELF_TRADE_PREVENTED, [], []),
    ("taker", Stp.TAKER, Code.SELF_TRADE_PREVENTED, [], []),
    ("maker: the resting one ends", Stp.MAKER, 0, [(8, 60_000)], ["own"]),
    ("both end", Stp.BOTH, 0, [], ["own", "taker"]),
]


@pytest.mark.parametrize("own_is_isolated", [False, True], ids=["cross", "isolated maker"])
@pytest.mark.parametrize("case", SELF_TRADES, ids=lambda case: case[0])
def test_nobody_trades_with_herself(venue: World, case: Any, own_is_isolated: bool) -> None:
    """O3: cross and isolated orders of one account are one owner."""
    _, stp, code, fills, ends = case
    own = venue.sell(ALICE, 5, 60_000, **(isolated(10) if own_is_isolated else {}))
    venue.sell(MAKER, 10, 60_000)
    answer = venue.buy(ALICE, 8, 60_000, stp=stp)
    names = {own.order_id: "own", answer.order_id: "taker"}
    assert answer.code == code
    assert answer.fills(ALICE) == fills
    assert [names[i] for i, _ in answer.done()] == ends
    assert all(reason == Done.SELF_TRADE for _, reason in answer.done())
    assert (venue.live(own.order_id) is None) == ("own" in ends)


def test_what_was_filled_before_the_own_order_stays(venue: World) -> None:
    """O3: 5 from MAKER at 60,000, then her own order: the rest of the taker ends."""
    venue.sell(MAKER, 5, 60_000)
    own = venue.sell(ALICE, 5, 60_010)
    answer = venue.buy(ALICE, 10, 60_010)
    assert answer.fills(ALICE) == [(5, 60_000)]
    assert answer.done() == [(answer.order_id, Done.SELF_TRADE)]
    assert venue.live(own.order_id)["left"] == 5


def test_a_refusal_brings_the_cancelled_maker_back(venue: World) -> None:
    """O3, O5: only her own order is there; IOC finds nothing else, so all is undone."""
    own = venue.sell(ALICE, 5, 60_000)
    answer = venue.buy(ALICE, 5, 60_000, stp=Stp.MAKER, **IOC)
    assert answer.code == Code.IOC_NOT_FILLED
    assert venue.live(own.order_id)["left"] == 5


# ---- O4: limits

#: name, fields of a BTC order for 10 lots, code, nearest price or size
LIMITS: list[tuple[str, str, int, int | None, int, int, int]] = [
    ("aggressive edge of a buy", "buy", 10, 63_000, 0, 0, 0),
    ("a buy one tick above it", "buy", 10, 63_001, Code.PRICE_ABOVE_LIMIT, 63_000, 0),
    ("aggressive edge of a sell", "sell", 10, 57_000, 0, 0, 0),
    ("a sell one tick below it", "sell", 10, 56_999, Code.PRICE_BELOW_LIMIT, 57_000, 0),
    ("passive edge of a buy", "buy", 10, 30_000, 0, 0, 0),
    ("a buy one tick below it", "buy", 10, 29_999, Code.FAR_AWAY_PRICE, 30_000, 0),
    ("passive edge of a sell", "sell", 10, 90_000, 0, 0, 0),
    ("a sell one tick above it", "sell", 10, 90_001, Code.FAR_AWAY_PRICE, 90_000, 0),
    ("a price of the largest tick plus one", "sell", 10, 1_000_001, Code.INVALID_PRICE,
     1_000_000, 0),
    ("a quantity of nothing", "buy", 0, 60_000, Code.INVALID_ORDER_QTY, 0, 1),
    ("the largest order plus one lot", "buy", 50_001, 60_000, Code.EXCEEDS_MAX_ORDER_SIZE, 0,
     50_000),
]


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: case[0])
def test_prices_and_sizes_have_edges(venue: World, case: Any) -> None:
    """O4: the edge itself is allowed, one step further is not, and the refusal names the edge."""
    _, side, lots, price, code, nearest_price, nearest_lots = case
    answer = getattr(venue, side)(MAKER, lots, price)
    assert answer.code == code
    if code:
        assert (answer.refusal.price_ticks, answer.refusal.qty_lots) == (
            nearest_price, nearest_lots)


#: side, last price inside, first price outside, code
INWARD = [
    ("buy", 63_000, 63_001, Code.PRICE_ABOVE_LIMIT),   # 60,000.5 x 1.05 = 63,000.525
    ("sell", 57_001, 57_000, Code.PRICE_BELOW_LIMIT),  # 60,000.5 x 0.95 = 57,000.475
    ("buy", 30_001, 30_000, Code.FAR_AWAY_PRICE),      # 60,000.5 x 0.5 = 30,000.25
    ("sell", 90_000, 90_001, Code.FAR_AWAY_PRICE),     # 60,000.5 x 1.5 = 90,000.75
]


@pytest.mark.parametrize("case", INWARD, ids=lambda case: f"{case[0]} {case[1]}")
def test_bands_are_rounded_inward(venue: World, case: Any) -> None:
    """O4: a mark of 60,000.5 lies between two ticks."""
    side, inside, outside, code = case
    venue.mark(BTC, 600_005)
    assert getattr(venue, side)(MAKER, 10, outside).code == code
    assert getattr(venue, side)(MAKER, 10, inside).code == 0


def test_small_orders_are_refused_at_the_contract_s_minimum(venue: World) -> None:
    """O4: SOL's smallest order is 10 lots."""
    answer = venue.buy(ALICE, 9, 10_000, SOL)
    assert (answer.code, answer.refusal.qty_lots) == (Code.BELOW_MIN_ORDER_SIZE, 10)
    assert venue.buy(ALICE, 10, 10_000, SOL).code == 0


def test_the_twenty_first_live_order_is_refused(venue: World) -> None:
    """O4: 318 for orders that may rest; an IOC passes, and one that ends makes room."""
    ids = [venue.buy(ALICE, 1, 50_000 + n).order_id for n in range(20)]
    assert venue.buy(ALICE, 1, 50_100).code == Code.EXCEEDS_MAX_ORDERS
    venue.sell(MAKER, 1, 60_000)
    assert venue.buy(ALICE, 1, 60_000, **IOC).code == 0
    venue.cancel(ALICE, ids[0])
    assert venue.buy(ALICE, 1, 50_100).code == 0


def test_positions_and_reserved_lots_share_one_limit(venue: World) -> None:
    """O4: SOL allows 2,000 lots a side: 900 cross, 600 in a block, 500 reserved by an order.

    MAKER's sales count on the other side. One lot more is refused (319), the other side is free,
    and a reduce-only order does not count.
    """
    venue.deposit(ALICE, 90_000 * USD)
    venue.trade(ALICE, MAKER, 900, 10_000, SOL)
    venue.trade(ALICE, MAKER, 600, 10_000, SOL, **isolated(10))
    venue.buy(ALICE, 490, 9_000, SOL)
    answer = venue.buy(ALICE, 11, 9_000, SOL)
    assert (answer.code, answer.refusal.qty_lots) == (Code.EXCEEDS_MAX_POSITION, 2_000)
    assert venue.buy(ALICE, 10, 9_000, SOL).code == 0
    assert venue.buy(ALICE, 10, 9_000, SOL, **isolated(10, 1)).code == Code.EXCEEDS_MAX_POSITION
    assert venue.sell(ALICE, 1_000, 11_000, SOL).code == 0


def test_an_account_has_a_notional_limit_over_all_contracts(
    make_venue: Callable[..., World]
) -> None:
    """O4: of 10,000 USD: 5,400 BTC cross and 3,000 ETH in a block leave room for 1,600."""
    venue = make_venue(account_notional_limit_units=10_000 * USD)
    venue.trade(ALICE, CAROL, 90, 60_000)
    venue.trade(ALICE, CAROL, 100, 30_000, ETH, **isolated(20))
    # 26 x 60 = 1,560 fits; 27 x 60 = 1,620 does not
    assert venue.buy(ALICE, 27, 59_000).code == Code.EXCEEDS_ACCOUNT_NOTIONAL
    assert venue.buy(ALICE, 26, 59_000).code == 0
    # The other side of BTC: 90 lots close the long, 10 may open a short; the larger side counts.
    assert venue.sell(ALICE, 100, 61_000).code == 0


def test_a_market_s_state_stops_orders(venue: World) -> None:
    """O4: halted stops all orders (309), reduce-only those that raise risk (208); cancels go on."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    bid = venue.buy(ALICE, 5, 59_000)
    venue.buy(MAKER, 10, 60_000)
    venue.market_state(BTC, MarketState.HALTED)
    assert venue.sell(ALICE, 5, 60_000, **REDUCE).code == Code.MARKET_NOT_OPEN
    assert venue.close(ALICE).code == Code.MARKET_NOT_OPEN
    venue.market_state(BTC, MarketState.REDUCE_ONLY)
    assert venue.buy(ALICE, 5, 59_000).code == Code.INSTRUMENT_NOT_TRADABLE
    assert venue.sell(ALICE, 15, 60_000).code == Code.INSTRUMENT_NOT_TRADABLE
    assert venue.sell(ALICE, 4, 60_000).fills(ALICE) == [(4, 60_000)]
    assert venue.cancel(ALICE, bid.order_id).code == 0
    venue.market_state(BTC, MarketState.OPEN)
    assert venue.buy(ALICE, 5, 59_000).code == 0


def test_no_order_without_a_mark_and_none_on_a_stale_one(venue: World) -> None:
    """O4: 207 for a contract that was never marked; 222 when SOL's mark is older than 60 s."""
    fresh = venue.add_contract(replace(BTC_PERP_20X, symbol="NEW-PERP"))
    assert venue.buy(ALICE, 5, 60_000, fresh).code == Code.NO_MARK_PRICE
    venue.wait(60)
    assert venue.buy(ALICE, 10, 10_000, SOL).code == 0
    venue.wait(1)
    assert venue.buy(ALICE, 10, 10_000, SOL).code == Code.STALE_MARK_PRICE
    venue.mark(SOL, 10_000)
    assert venue.buy(ALICE, 10, 10_000, SOL).code == 0


# ---- O6: timers


def test_a_timed_order_ends_at_its_time_before_the_command(venue: World) -> None:
    """O6: a sale at the very second of the expiry finds the bid gone."""
    bid = venue.buy(ALICE, 5, 60_000, **until(venue, 10))
    venue.wait(9)
    venue.sell(MAKER, 1, 60_000)
    assert venue.live(bid.order_id)["left"] == 4
    venue.wait(1)
    answer = venue.sell(MAKER, 4, 60_000)
    assert answer.done() == [(bid.order_id, Done.EXPIRED)]
    assert answer.kinds()[0] == Ev.CANCELLED
    assert answer.fills() == []
    assert venue.live(answer.order_id)["left"] == 4


def test_timers_fire_by_time_then_by_id_and_only_so_many_a_command(venue: World) -> None:
    """O6: this venue fires four a command; the fifth waits for the next."""
    late = venue.buy(ALICE, 1, 50_000, **until(venue, 9)).order_id
    ids = [venue.buy(ALICE, 1, 50_001 + n, **until(venue, 5)).order_id for n in range(3)]
    early = venue.buy(BOB, 1, 50_000, **until(venue, 3)).order_id
    venue.wait(20)
    answer = venue.do(Kind.TICK)
    assert answer.done() == [(i, Done.EXPIRED) for i in [early, *ids]]
    assert venue.do(Kind.TICK).done() == [(late, Done.EXPIRED)]
    assert venue.do(Kind.TICK).done() == []


def test_timers_fire_before_a_command_that_is_refused(venue: World) -> None:
    """O6, O5: the refusal changes nothing, but the order's time was over."""
    bid = venue.buy(ALICE, 5, 59_000, **until(venue, 5))
    venue.wait(5)
    answer = venue.cancel(ALICE, bid.order_id)
    assert answer.done() == [(bid.order_id, Done.EXPIRED)]
    assert answer.code == Code.INVALID_ORDER_ID


def test_what_a_timer_touched_is_finished_before_the_command(venue: World) -> None:
    """O6, I1: the pending block closes with its last order; the same command opens a new one."""
    venue.buy(ALICE, 5, 59_000, **isolated(10), **until(venue, 5))
    assert venue.buy(ALICE, 5, 58_000, **isolated(10)).code == Code.BLOCK_EXISTS
    venue.wait(5)
    answer = venue.buy(ALICE, 5, 58_000, **isolated(10))
    assert [event.isolation_id for event in answer.of(Ev.BLOCK_CLOSED)] == [1]
    assert [event.isolation_id for event in answer.of(Ev.BLOCK_PENDING)] == [2]


# ---- O7: the margin test at an order's turn. ALICE: a block long 100 lots (6,000 USD) at 20x.
#
# Reserve 300 + 3 + 33 = 336, fee 3: position cash 333. At a mark of 59,000 her equity is
# 333 - 100 = 233 USD. A sale of all at p leaves 333 - (6,000 - 0.1 p) - 0.00005 p.


def long_block(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    assert venue.block(1)["cash_units"] == 333 * USD
    venue.mark(BTC, 590_000)


#: the only bid, code; 56,699 leaves 0.06505 USD, 56,698 would leave -0.0349
LAST_BIDS = [(56_699, 0), (56_698, Code.BEYOND_BANKRUPTCY)]


@pytest.mark.parametrize(("bid", "code"), LAST_BIDS)
def test_a_reducing_fill_never_makes_a_deficit(venue: World, bid: int, code: int) -> None:
    """O7: 310 one tick beyond the price that leaves nothing, with the fee in it."""
    long_block(venue)
    venue.buy(MAKER, 100, bid)
    answer = venue.close(ALICE, isolation_id=1)
    assert answer.code == code
    assert (venue.block(1) is None) == (code == 0)
    if code == 0:
        # 10,000 - 336 + 0.06505
        assert venue.cash(ALICE) == 9_664_06505000


def test_a_fill_that_leaves_exactly_nothing_is_allowed(venue: World) -> None:
    """O7, Q1: equality is enough, twice. SOL has no fees: 1,000 USD at 10x, 100 of margin.

    Funding of 0.25 % leaves 97.50. At a mark of 95 her equity is 47.50, maintenance 5 % of 950 =
    47.50: she stays. A sale at 90.25, the edge of the band, loses 97.50.
    """
    venue.trade(ALICE, MAKER, 100, 10_000, SOL, **isolated(10))
    venue.funding(SOL, 2_500_000)
    venue.mark(SOL, 9_500)
    assert venue.block(1)["cash_units"] == 97_50000000
    venue.buy(MAKER, 100, 9_025, SOL)
    assert venue.close(ALICE, contract=SOL, isolation_id=1).fills(ALICE) == [(100, 9_025)]
    assert venue.cash(ALICE) == 9_900 * USD


def test_a_taker_stops_where_the_test_fails_and_keeps_what_it_filled(venue: World) -> None:
    """O7: 40 at 56,800 leave 203.864 USD; 60 more at 56,050 would leave -34.8."""
    long_block(venue)
    venue.buy(MAKER, 40, 56_800)
    venue.buy(MAKER, 60, 56_050)
    answer = venue.close(ALICE, isolation_id=1)
    assert answer.fills(ALICE) == [(40, 56_800)]
    assert answer.done() == [(answer.order_id, Done.MAINTENANCE)]
    # 333 - 128 - 1.136
    assert venue.block(1)["cash_units"] == 203_86400000
    assert venue.block(1)["qty_lots"] == 60


def test_fok_fails_where_the_margin_test_fails(venue: World) -> None:
    """O7, O1: the same walk decides it: 43003, not 310."""
    long_block(venue)
    venue.buy(MAKER, 100, 56_698)
    fields = isolated(0, 1)
    fields["exec_flags"] |= Exec.REDUCE_ONLY
    answer = venue.sell(ALICE, 100, 56_698, **fields, **FOK)
    assert answer.code == Code.FOK_NOT_FILLED


def test_a_maker_that_could_not_hold_its_fill_is_cancelled(venue: World) -> None:
    """O7: ALICE bids 2,500 lots at 60,000 (reserve 8,400 USD), the mark falls to 55,000.

    Filled, she would have lost 12,500 of her 10,000 USD: her bid ends, the sale goes on to BOB's.
    """
    bid = venue.buy(ALICE, 2_500, 60_000)
    bob = venue.buy(BOB, 10, 57_000)
    venue.mark(BTC, 550_000)
    answer = venue.sell(MAKER, 2_500, 57_000)
    assert answer.done() == [(bid.order_id, Done.MAINTENANCE)]
    assert answer.fills(MAKER) == [(10, 57_000)]
    assert venue.live(bob.order_id) is None
    assert (venue.qty(ALICE), venue.cash(ALICE)) == (0, 10_000 * USD)


def test_the_test_is_made_for_the_lots_of_the_fill(venue: World) -> None:
    """O7: of the same bid one lot is harmless: a loss of 5 USD."""
    bid = venue.buy(ALICE, 2_500, 60_000)
    venue.mark(BTC, 550_000)
    assert venue.sell(MAKER, 1, 57_000).fills(ALICE) == [(1, 60_000)]
    assert venue.live(bid.order_id)["left"] == 2_499


def test_a_block_s_order_ends_when_the_mark_has_run_away_from_it(venue: World) -> None:
    """O7, I12: a sale of 500 closes the 100 at 56,699; 400 rest at 56,690 with their own reserve.

    For 100 of them that is 295 + 2.95 + 32.45 + 231 = 561.40 USD. At a mark of 63,000 a short of
    100 from 56,690 is 631 behind: the fill would be a deficit, so the order and the block end.
    """
    long_block(venue)
    venue.buy(MAKER, 100, 56_699)
    sale = venue.sell(ALICE, 500, 56_690, **isolated(0, 1))
    assert sale.fills(ALICE) == [(100, 56_699)]
    assert venue.live(sale.order_id)["left"] == 400
    venue.mark(BTC, 630_000)
    answer = venue.buy(BOB, 100, 60_000)
    assert answer.done() == [(sale.order_id, Done.MAINTENANCE)]
    assert [event.isolation_id for event in answer.of(Ev.BLOCK_CLOSED)] == [1]
    assert venue.cash(ALICE) == 9_664_06505000


def test_a_fill_that_would_be_liquidated_at_once_is_refused(side: str) -> None:
    """O7, I5: a block of 10,000 lots at 5x (200,000 USD) has 85,000 left at a mark of 88.50.

    Maintenance is 9 % of 885,000 = 79,650. 5,000 more lots bring 88,500 of their own, but the rate
    grows to 13.5 % of 1,327,500 = 179,212.50, above 173,500: 304. 1,000 lots (17,700; 9.9 % of
    973,500 = 96,376.50, below 102,700) pass.
    """
    venue = World(side, TERMS)
    venue.add_contract(STEEP_PERP)
    venue.mark(0, 10_000)
    for account in (0, 1):
        venue.open_account(account)
        venue.deposit(account, 10_000_000 * USD)
    venue.trade(1, 0, 10_000, 10_000, 0, **isolated(5))
    venue.mark(0, 8_850)
    venue.sell(0, 6_000, 8_850, 0)
    answer = venue.buy(1, 5_000, 8_850, 0, **isolated(0, 1))
    assert answer.code == Code.IMMEDIATE_LIQUIDATION
    assert venue.buy(1, 1_000, 8_850, 0, **isolated(0, 1)).code == 0
    assert venue.block(1)["cash_units"] == 217_700 * USD


def test_two_friends_cannot_make_the_fund_pay(venue: World) -> None:
    """O7: CAROL sells to ALICE at the low edge of the band and buys back at the high one.

    6,000 USD a coin go to her friend each time, in the largest size that is accepted. Her 1,000 USD
    go, and her last trades are refused; nobody's cash is below 0 and the fund is untouched.
    """
    fund = venue.fund
    for lots in (150, 100, 60, 40, 30, 20, 10, 10, 10, 10, 5, 5):
        venue.buy(ALICE, lots, 57_000)
        venue.sell(CAROL, lots, 57_000)
        venue.cancel_all(ALICE)
        venue.sell(ALICE, lots, 63_000)
        venue.buy(CAROL, lots, 63_000)
        venue.cancel_all(ALICE)
    assert 0 <= venue.cash(CAROL) < 100 * USD
    assert venue.cash(ALICE) > 10_850 * USD
    assert (venue.fund, venue.account(CAROL)["deficit_units"]) == (fund, 0)


def test_an_order_reserve_is_released_with_the_event_of_its_end(venue: World) -> None:
    """O2, L2: an isolated bid of 10 lots at 59,000 holds 30 + 0.30 + 3.30 USD at 20x."""
    answer = venue.buy(ALICE, 10, 59_000, **isolated(20))
    assert venue.block(1)["order_cash_units"] == 33_60000000
    answer = venue.cancel(ALICE, answer.order_id)
    moved = [(e.reason, e.amount_units) for e in answer.of(Ev.BALANCE)]
    assert moved == [(Reason.ISOLATED_TRANSFER, -33_60000000),
                     (Reason.ISOLATED_TRANSFER, 33_60000000)]
    assert venue.cash(ALICE) == 10_000 * USD
