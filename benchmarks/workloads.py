"""Seeded order flows as numpy arrays: what the book benchmarks run.

Every workload is a `Flow`: commands that fill a book first and are not timed, then the commands
that are. All of them are plain LIMIT orders and cancels, so that the limit loop can run them too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from perpcore.book import BOOK_COMMAND, BookKind, OrderBook
from perpcore.codes import OrderType, Side, TimeInForce

#: The standard mix in percent: passive adds, cancels of live orders, IOC.
ADDS, CANCELS, TAKES = 58, 35, 7
RESTING = 18_000
LEVELS_A_SIDE = 500


@dataclass(frozen=True)
class Flow:
    """name; max_price_ticks and capacity of the book; (n,) BOOK_COMMAND before and timed."""

    name: str
    max_price_ticks: int
    capacity: int
    before: NDArray[np.void]
    timed: NDArray[np.void]

    @property
    def max_id(self) -> int:
        return int(max(self.before["order_id"].max(initial=0), self.timed["order_id"].max()))


def adds(ids, sides, prices, lots, time_in_force=TimeInForce.GTC):
    """LIMIT orders as commands; every argument is a scalar or (n,)."""
    commands = np.zeros(len(ids), BOOK_COMMAND)
    commands["kind"] = BookKind.BOOK_NEW
    commands["order_type"] = OrderType.LIMIT
    commands["order_id"] = ids
    commands["side"] = sides
    commands["price_ticks"] = prices
    commands["qty_lots"] = lots
    commands["time_in_force"] = time_in_force
    return commands


def cancels(ids):
    commands = np.zeros(len(ids), BOOK_COMMAND)
    commands["kind"] = BookKind.BOOK_CANCEL
    commands["order_id"] = ids
    return commands


class Live:
    """The resting ids, to draw one at random in O(1)."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.place: dict[int, int] = {}

    def put(self, order_id: int) -> None:
        self.place[order_id] = len(self.ids)
        self.ids.append(order_id)

    def drop(self, order_id: int) -> None:
        place = self.place.pop(order_id, None)
        if place is None:
            return
        last = self.ids.pop()
        if last != order_id:
            self.ids[place] = last
            self.place[last] = place


class Market:
    """Order flow around a mid price that walks by itself; a book follows what still rests."""

    def __init__(self, seed: int, max_price_ticks: int, resting: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.book = OrderBook(max_price_ticks, 2 * resting + 1024)
        self.live = Live()
        self.resting = resting
        self.next_id = 1
        self.rows: list[tuple[int, int, int, int, int, int]] = []

    def enter(self, side: int, price: int, lots: int, time_in_force: int) -> None:
        order_id = self.next_id
        self.next_id += 1
        self.book.add(order_id, side, price, lots, OrderType.LIMIT, time_in_force)
        for maker in self.book.last_trades()["maker_order_id"].tolist():
            if maker not in self.book:
                self.live.drop(maker)
        if order_id in self.book:
            self.live.put(order_id)
        self.rows.append((order_id, price, lots, int(BookKind.BOOK_NEW), side, time_in_force))

    def cancel(self, order_id: int) -> None:
        self.book.cancel(order_id)
        self.live.drop(order_id)
        self.rows.append((order_id, 0, 0, int(BookKind.BOOK_CANCEL), 0, 0))

    def taken(self) -> NDArray[np.void]:
        """The commands so far, and forget them."""
        rows = np.array(self.rows, np.int64).reshape(-1, 6)
        commands = np.zeros(len(rows), BOOK_COMMAND)
        fields = ("order_id", "price_ticks", "qty_lots", "kind", "side", "time_in_force")
        for column, field in enumerate(fields):
            commands[field] = rows[:, column]
        commands["order_type"][commands["kind"] == BookKind.BOOK_NEW] = OrderType.LIMIT
        self.rows = []
        return commands


def standard(count: int, seed: int = 1, resting: int = RESTING) -> Flow:
    """The standard mix: 58 % adds, 35 % cancels, 7 % IOC, about 1,000 levels.

    Takers are sized so that what adds bring and cancels leave is traded away: the book keeps its
    size. Distances from the mid are geometric and end at LEVELS_A_SIDE.
    """
    max_price, mid = 100_000, 50_000.0
    market = Market(seed, max_price, resting)
    rng = market.rng
    while len(market.live.ids) < resting:
        side = int(rng.integers(Side.BUY, Side.SELL + 1))
        away = 1 + int(rng.exponential(LEVELS_A_SIDE / 4)) % LEVELS_A_SIDE
        price = int(mid) + (away if side == Side.SELL else -away)
        market.enter(side, price, int(rng.integers(1, 100)), TimeInForce.GTC)
    before = market.taken()
    kinds = rng.integers(0, ADDS + CANCELS + TAKES, count)
    sides = rng.integers(Side.BUY, Side.SELL + 1, count).tolist()
    away = (1 + rng.exponential(LEVELS_A_SIDE / 4, count).astype(int) % LEVELS_A_SIDE).tolist()
    lots = rng.integers(1, 100, count).tolist()
    steps = rng.normal(0, 0.15, count).cumsum().tolist()
    draws = rng.random(count).tolist()
    for i, kind in enumerate(kinds.tolist()):
        at, side = int(mid + steps[i]), sides[i]
        sign = 1 if side == Side.SELL else -1
        if kind < ADDS:
            market.enter(side, at + sign * away[i], lots[i], TimeInForce.GTC)
        elif kind < ADDS + CANCELS:
            ids = market.live.ids
            market.cancel(ids[int(draws[i] * len(ids))])
        else:
            # 3.3 orders a taker keep the balance; the exponent pulls the book back to its size.
            size = lots[i] * 3.3 * (len(market.live.ids) / resting) ** 4
            market.enter(side, at - sign * 50, 1 + int(size), TimeInForce.IOC)
    # A small book wanders further from its size than a large one, in proportion.
    capacity = max(resting * 7 // 4, resting + 1024)
    return Flow("standard", max_price, capacity, before, market.taken())


def jumping(count: int, seed: int = 2) -> Flow:
    """The price jumps over a range of 10 M ticks; each stay builds a few levels and eats them."""
    rng = np.random.default_rng(seed)
    max_price, stay = 10_000_000, 8
    rounds = count // (2 * stay)
    mids = rng.integers(1_000, max_price - 1_000, rounds).repeat(2 * stay)
    turn = np.tile(np.arange(2 * stay), rounds)
    makes = turn < stay
    prices = np.where(makes, mids + turn * 7, mids + 500)
    sides = np.where(makes, int(Side.SELL), int(Side.BUY))
    times = np.where(makes, int(TimeInForce.GTC), int(TimeInForce.IOC))
    ids = np.arange(1, len(prices) + 1)
    return Flow("jumping", max_price, 1_024, adds([], 1, 1, 1),
                adds(ids, sides, prices, 10, times))  # fmt: skip


def sparse(count: int, seed: int = 3, resting: int = 100_000, max_price: int = 10_000_000) -> Flow:
    """One order a level on 100,000 levels of 10 M ticks; takers sweep the best, adds refill."""
    rng = np.random.default_rng(seed)
    places = rng.permutation(np.arange(1, resting * 2 + 1)) * (max_price // (resting * 2 + 2))
    ids = np.arange(1, resting + 1)
    before = adds(ids, Side.SELL, places[:resting], 10)
    fresh = rng.choice(places[resting:], count // 2)
    timed = np.concatenate([
        adds(np.arange(resting + 1, resting + 1 + len(fresh)), Side.SELL, fresh, 10),
        adds(np.arange(resting + 1 + count, resting + 1 + count + len(fresh)), Side.BUY,
             max_price, 10, TimeInForce.IOC),
    ])  # fmt: skip
    order = np.arange(len(timed)).reshape(2, -1).T.reshape(-1)
    return Flow("sparse", max_price, resting + count, before, timed[order])


def storm(count: int, seed: int = 4) -> Flow:
    """Everybody cancels: `count` orders rest and all of them leave in a random order."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, count + 1)
    sides = rng.integers(Side.BUY, Side.SELL + 1, count)
    away = rng.integers(1, LEVELS_A_SIDE + 1, count)
    prices = np.where(sides == Side.SELL, 50_000 + away, 50_000 - away)
    return Flow("storm", 100_000, count, adds(ids, sides, prices, 10),
                cancels(rng.permutation(ids)))  # fmt: skip


def churn(count: int, resting: int, seed: int = 5) -> Flow:
    """`resting` orders on 1,000 levels; by turns one of them leaves, at random, and one comes."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, resting + count // 2 + 1)
    sides = rng.integers(Side.BUY, Side.SELL + 1, len(ids))
    away = rng.integers(1, LEVELS_A_SIDE + 1, len(ids))
    made = adds(ids, sides, np.where(sides == Side.SELL, 50_000 + away, 50_000 - away), 10)
    timed = np.empty(count // 2 * 2, BOOK_COMMAND)
    timed[1::2] = made[resting:]
    live, leaving = ids[:resting].tolist(), []
    for place, fresh in zip(
        rng.integers(0, resting, count // 2).tolist(), ids[resting:].tolist(), strict=True
    ):
        leaving.append(live[place])
        live[place] = fresh
    timed[0::2] = cancels(np.array(leaving))
    return Flow("churn", 100_000, resting + 1, made[:resting], timed)


def crash(count: int, seed: int = 6) -> Flow:
    """Again and again all bids are sold in one order, 500 levels deep, and then quoted anew."""
    rng = np.random.default_rng(seed)
    quotes = min(RESTING // 2, count // 2)
    crashes = count // (quotes + 1)
    away = rng.integers(1, LEVELS_A_SIDE + 1, (crashes, quotes))
    ids = np.arange(1, crashes * (quotes + 1) + 1).reshape(crashes, quotes + 1)
    bids = adds(ids[:, :-1].reshape(-1), Side.BUY, 50_000 - away.reshape(-1), 10)
    sells = adds(ids[:, -1], Side.SELL, 1, 10 * quotes, TimeInForce.IOC)
    timed = np.concatenate([bids.reshape(crashes, quotes), sells[:, None]], axis=1).reshape(-1)
    return Flow("crash", 100_000, quotes + 1, adds([], 1, 1, 1), timed)


def crowded(count: int, seed: int = 7, resting: int = 40_000, levels: int = 60) -> Flow:
    """40,000 orders on 60 levels; by turns one of them leaves, at random, and one comes."""
    flow = churn(count, resting, seed)
    for part in (flow.before, flow.timed):
        new = part["kind"] == BookKind.BOOK_NEW
        away = np.abs(part["price_ticks"][new] - 50_000) % (levels // 2) + 1
        part["price_ticks"][new] = np.where(
            part["side"][new] == Side.SELL, 50_000 + away, 50_000 - away
        )
    return Flow("crowded", flow.max_price_ticks, flow.capacity, flow.before, flow.timed)


def amends(count: int, seed: int = 8, resting: int = RESTING) -> Flow:
    """The orders of a full book move to new prices, at random, again and again."""
    rng = np.random.default_rng(seed)
    full = storm(resting, seed)
    drawn = rng.integers(0, resting, count)
    timed = np.zeros(count, BOOK_COMMAND)
    timed["kind"] = BookKind.BOOK_REPLACE
    timed["order_id"] = full.before["order_id"][drawn]
    away = rng.integers(1, LEVELS_A_SIDE + 1, count)
    sells = full.before["side"][drawn] == Side.SELL
    timed["price_ticks"] = np.where(sells, 50_000 + away, 50_000 - away)
    timed["qty_lots"] = 10
    return Flow("amends", full.max_price_ticks, resting, full.before, timed)


def repeated(count: int, seed: int = 9, times: int = 5) -> Flow:
    """Every order is cancelled five times, in no order."""
    full = storm(count // times, seed)
    ids = np.random.default_rng(seed).permutation(np.repeat(full.before["order_id"], times))
    return Flow("repeated", full.max_price_ticks, full.capacity, full.before, cancels(ids))


def units_of_work(flow: Flow) -> int:
    """Commands, fills and price levels that go, of the timed part of a flow."""
    commands = np.concatenate([flow.before, flow.timed])
    done = OrderBook(flow.max_price_ticks, flow.capacity).apply(commands)
    trades = iter(done.trades[["maker_order_id", "qty_lots"]].tolist())
    takers = np.unique(done.trades["taker_order_id"], return_counts=True)
    fills = dict(zip(*(column.tolist() for column in takers), strict=True))
    resting: dict[int, list[int]] = {}
    orders_at: dict[int, int] = {}
    gone = 0

    def leave(order_id: int) -> None:
        nonlocal gone
        price = resting.pop(order_id)[1]
        orders_at[price] -= 1
        gone += orders_at[price] == 0

    names = ("kind", "order_id", "price_ticks", "qty_lots", "time_in_force")
    rows = zip(*(commands[name].tolist() for name in names), strict=True)
    for number, (kind, order_id, price, lots, time_in_force) in enumerate(rows):
        if number == len(flow.before):
            gone = 0
        if kind != BookKind.BOOK_NEW and order_id in resting:
            leave(order_id)
        if kind == BookKind.BOOK_CANCEL:
            continue
        for _ in range(fills.pop(order_id, 0)):
            maker, filled = next(trades)
            lots -= filled
            resting[maker][0] -= filled
            if resting[maker][0] == 0:
                leave(maker)
        if lots and time_in_force != TimeInForce.IOC:
            resting[order_id] = [lots, price]
            orders_at[price] = orders_at.get(price, 0) + 1
    made_before = np.isin(done.trades["taker_order_id"], flow.before["order_id"]).sum()
    return len(flow.timed) + len(done.trades) - int(made_before) + gone
