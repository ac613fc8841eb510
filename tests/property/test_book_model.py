"""The compiled book against a slow, obvious one: same codes, same trades, same queues, always."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpcore.book import BOOK_COMMAND, BOOK_TRADE, BookKind, OrderBook
from perpcore.codes import Code, ExecFlag, OrderType, SelfTrade, Side, TimeInForce

MAX_PRICE = 200
CAPACITY = 24


@dataclass
class Order:
    order_id: int
    side: int
    price: int
    lots: int
    owner: int


class Model:
    """Two lists of orders in arrival order; everything is looked for by walking them."""

    def __init__(self) -> None:
        self.orders: list[Order] = []

    def find(self, order_id: int) -> Order | None:
        return next((o for o in self.orders if o.order_id == order_id), None)

    def queue(self, side: int) -> list[Order]:
        sign = -1 if side == Side.BUY else 1
        return sorted((o for o in self.orders if o.side == side), key=lambda o: sign * o.price)

    def apply(self, c: dict[str, int]) -> tuple[int, list[tuple[int, int, int, int]]]:
        """Code and trades; on a refusal the orders are those of before."""
        before = [Order(**vars(o)) for o in self.orders]
        action = {
            BookKind.BOOK_NEW: self.new,
            BookKind.BOOK_CANCEL: self.cancel,
            BookKind.BOOK_REDUCE: self.reduce,
            BookKind.BOOK_REPLACE: self.replace,
        }[c["kind"]]
        code, trades = action(c)
        if code:
            self.orders, trades = before, []
        return int(code), trades

    def cancel(self, c):
        order = self.find(c["order_id"])
        if order is None:
            return Code.INVALID_ORDER_ID, []
        self.orders.remove(order)
        return Code.OK, []

    def reduce(self, c):
        order = self.find(c["order_id"])
        if order is None:
            return Code.INVALID_ORDER_ID, []
        if c["qty_lots"] < 1:
            return Code.INVALID_ORDER_QTY, []
        order.lots -= c["qty_lots"]
        if order.lots <= 0:
            self.orders.remove(order)
        return Code.OK, []

    def replace(self, c):
        order = self.find(c["order_id"])
        if c["flags"] and self.tif(c) != TimeInForce.GTC:
            return Code.INVALID_EXEC_INST, []
        if order is None:
            return Code.INVALID_ORDER_ID, []
        if c["qty_lots"] < 1:
            return Code.INVALID_ORDER_QTY, []
        if not 1 <= c["price_ticks"] <= MAX_PRICE:
            return Code.INVALID_PRICE, []
        self.orders.remove(order)
        return self.enter({**c, "side": order.side, "owner": order.owner})

    def new(self, c):
        is_market = c["order_type"] == OrderType.MARKET
        if is_market and c["time_in_force"] == TimeInForce.GTC:
            return Code.INVALID_TIME_IN_FORCE, []
        if c["flags"] and self.tif(c) != TimeInForce.GTC:
            return Code.INVALID_EXEC_INST, []
        if c["qty_lots"] < 1:
            return Code.INVALID_ORDER_QTY, []
        if c["price_ticks"] != 0 if is_market else not 1 <= c["price_ticks"] <= MAX_PRICE:
            return Code.INVALID_PRICE, []
        if self.find(c["order_id"]):
            return Code.DUPLICATE_CLIENT_ORDER_ID, []
        if self.tif(c) == TimeInForce.GTC and len(self.orders) == CAPACITY:
            return Code.EXCEEDS_MAX_ORDERS, []
        return self.enter(c)

    @staticmethod
    def tif(c):
        default = TimeInForce.IOC if c["order_type"] == OrderType.MARKET else TimeInForce.GTC
        return c["time_in_force"] or default

    def enter(self, c):
        is_market = c["order_type"] == OrderType.MARKET

        def reached(maker):
            if is_market:
                return True
            if c["side"] == Side.BUY:
                return maker.price <= c["price_ticks"]
            return maker.price >= c["price_ticks"]

        makers = [o for o in self.queue(Side.BUY + Side.SELL - c["side"]) if reached(o)]
        if makers and c["flags"]:
            return Code.POST_ONLY_WOULD_TAKE, []
        left, trades, stop = c["qty_lots"], [], None
        for maker in makers:
            if left == 0:
                break
            if c["stp"] and maker.owner == c["owner"]:
                if c["stp"] != SelfTrade.STP_TAKER:
                    self.orders.remove(maker)
                if c["stp"] != SelfTrade.STP_MAKER:
                    stop = c["stp"]
                    break
                continue
            lots = min(left, maker.lots)
            trades.append((c["order_id"], maker.order_id, maker.price, lots))
            left -= lots
            maker.lots -= lots
            if maker.lots == 0:
                self.orders.remove(maker)
        if left and self.tif(c) == TimeInForce.FOK:
            return Code.FOK_NOT_FILLED, []
        if not trades and stop == SelfTrade.STP_TAKER:
            return Code.SELF_TRADE_PREVENTED, []
        if not trades and stop is None and self.tif(c) == TimeInForce.IOC:
            return Code.IOC_NOT_FILLED, []
        if left and stop is None and self.tif(c) == TimeInForce.GTC:
            self.orders.append(
                Order(c["order_id"], c["side"], c["price_ticks"], left, c["owner"])
            )
        return Code.OK, trades


prices = st.one_of(st.integers(96, 104), st.integers(0, MAX_PRICE + 1), st.sampled_from([63, 64]))
ids = st.one_of(st.integers(1, 40), st.integers(1, 8).map(lambda k: k << 32 | 7))
owners = st.integers(0, 2)
policies = st.sampled_from([int(s) for s in SelfTrade])
times = st.sampled_from([0, 0, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK])
flags = st.sampled_from([0, 0, 0, ExecFlag.POST_ONLY])
lots = st.integers(0, 30)
ZERO = dict.fromkeys(BOOK_COMMAND.names, 0)


@st.composite
def commands(draw):
    kind = draw(st.sampled_from([1, 1, 1, 1, 1, 2, 2, 3, 4]))
    c = {**ZERO, "kind": BookKind(kind), "order_id": draw(ids)}
    if kind == BookKind.BOOK_NEW:
        c.update(side=draw(st.sampled_from([1, 2])), order_type=OrderType.LIMIT, owner=draw(owners))
        if draw(st.integers(0, 5)) == 0:
            c.update(order_type=OrderType.MARKET)
        c["price_ticks"] = draw(prices) if c["order_type"] == OrderType.LIMIT else 0
    if kind == BookKind.BOOK_REPLACE:
        c["price_ticks"] = draw(prices)
    if kind in (BookKind.BOOK_NEW, BookKind.BOOK_REPLACE):
        c.update(time_in_force=draw(times), flags=draw(flags), stp=draw(policies))
    if kind != BookKind.BOOK_CANCEL:
        c["qty_lots"] = draw(lots)
    return c


def as_array(batch):
    return np.array([tuple(int(c[n]) for n in BOOK_COMMAND.names) for c in batch], BOOK_COMMAND)


def queues(book):
    return [[tuple(o) for o in book.orders(side).tolist()] for side in (Side.BUY, Side.SELL)]


def model_queues(model):
    return [
        [(o.order_id, o.price, o.lots, o.owner, int(o.side)) for o in model.queue(side)]
        for side in (Side.BUY, Side.SELL)
    ]


def check_views(book, model):
    """Every other view of the book agrees with its queues."""
    assert queues(book) == model_queues(model)
    assert len(book) == len(model.orders)
    for side in (Side.BUY, Side.SELL):
        queue = model.queue(side)
        assert book.order_count(side) == len(queue)
        assert book.qty_lots(side) == sum(o.lots for o in queue)
        assert book.best(side) == (queue[0].price if queue else None)
        levels: dict[int, list[int]] = {}
        for o in queue:
            level = levels.setdefault(o.price, [0, 0])
            level[0] += o.lots
            level[1] += 1
        expected = [(price, *level) for price, level in levels.items()]
        assert book.depth(side).tolist() == expected
        assert book.depth(side, 2).tolist() == expected[:2]
    for o in model.orders:
        assert tuple(book.order(o.order_id)) == (o.order_id, o.side, o.price, o.lots, o.owner)
        assert o.order_id in book


def call(book, c):
    """The same command through a single call."""
    number = int(c["order_id"])
    if c["kind"] == BookKind.BOOK_NEW:
        return book.add(
            number, c["side"], c["price_ticks"], c["qty_lots"], c["order_type"],
            c["time_in_force"], c["flags"], c["owner"], c["stp"],
        )  # fmt: skip
    if c["kind"] == BookKind.BOOK_CANCEL:
        return book.cancel(number)
    if c["kind"] == BookKind.BOOK_REDUCE:
        return book.reduce(number, c["qty_lots"])
    return book.replace(
        number, c["price_ticks"], c["qty_lots"], c["time_in_force"], c["flags"], c["stp"]
    )


@settings(max_examples=300, deadline=None)
@given(st.lists(commands(), max_size=60))
def test_single_calls_equal_the_model_after_every_command(batch):
    book, model = OrderBook(MAX_PRICE, CAPACITY), Model()
    for c in batch:
        code, trades = model.apply(c)
        assert call(book, c) == code, Code(code)
        assert book.last_trades().tolist() == trades
        check_views(book, model)


@settings(max_examples=300, deadline=None)
@given(st.lists(commands(), max_size=80), st.integers(0, 12))
def test_a_batch_in_any_pieces_equals_the_model(batch, room):
    """A small trade buffer stops between commands; whatever did not fit is sent again."""
    book, model = OrderBook(MAX_PRICE, CAPACITY), Model()
    expected = [model.apply(c) for c in batch]
    array, codes, trades, at = as_array(batch), [], [], 0
    while at < len(array):
        done, statuses, made = book.apply(array[at:], trades=np.empty(room, BOOK_TRADE))
        codes += statuses.tolist()
        trades += made.tolist()
        at += done
        if done == 0:
            assert len(expected[at][1]) > room
            _, statuses, made = book.apply(array[at : at + 1])
            codes += statuses.tolist()
            trades += made.tolist()
            at += 1
    assert codes == [code for code, _ in expected]
    assert trades == [trade for _, more in expected for trade in more]
    check_views(book, model)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_long_random_day_equals_the_model(seed):
    """Ids from a wide range and a full book: the id index wraps, shifts back and stays exact."""
    rng = np.random.default_rng(seed)
    book, model = OrderBook(MAX_PRICE, CAPACITY), Model()
    for _ in range(3000):
        live = [o.order_id for o in model.orders]
        kind = BookKind(int(rng.choice([1, 1, 1, 2, 3, 4])))
        number = int(rng.integers(1, 2**63))
        if kind != BookKind.BOOK_NEW and live:
            number = int(rng.choice(np.array(live, np.uint64)))
        c = {**ZERO, "kind": kind, "order_id": number}
        if kind in (BookKind.BOOK_NEW, BookKind.BOOK_REPLACE):
            c.update(price_ticks=int(rng.integers(90, 110)), stp=int(rng.integers(0, 4)))
        if kind == BookKind.BOOK_NEW:
            c.update(side=int(rng.integers(1, 3)), order_type=1, owner=int(rng.integers(0, 9)))
        if kind != BookKind.BOOK_CANCEL:
            c["qty_lots"] = int(rng.integers(1, 20))
        code, trades = model.apply(c)
        assert call(book, c) == code
        assert book.last_trades().tolist() == trades
    check_views(book, model)
