"""Order books of PyPI behind one shape: `run(rows)` feeds them commands, one call each.

Every peer is driven as its own documentation shows, in a plain loop with nothing between the loop
and its call, and gives back what it says about trades. `leaves_out` says what it cannot do that
`OrderBook` does; what it needs beside its call to run the same commands (an IOC as limit order and
cancel) stands in its loop and is timed, because its user pays for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from perpcore.book import BOOK_TRADE, OrderBook
from perpcore.codes import OrderType, Side, TimeInForce

#: One command: (order id, or 0 to cancel `target`; target; side; price; lots; is it an IOC).
Row = tuple[int, int, int, int, int, bool]
#: One trade: (maker's order id, price in ticks, lots).
Trade = tuple[int, int, int]
BUY, SELL = int(Side.BUY), int(Side.SELL)
LIMIT, GTC, IOC = int(OrderType.LIMIT), int(TimeInForce.GTC), int(TimeInForce.IOC)


class Peer:
    """A populated book. `run` is timed; `trades` turns what it returned into Trades afterwards."""

    name: ClassVar[str]
    leaves_out: ClassVar[str]
    #: False: its trades have 0 where the maker's order id should be.
    tells_makers: ClassVar[bool] = True

    def __init__(self, flow: Any) -> None:
        raise NotImplementedError

    def prepare(self, rows: list[Row]) -> Any:
        """What `run` takes, made before the clock starts."""
        return rows

    def run(self, rows: Any) -> Any:
        raise NotImplementedError

    def trades(self, found: Any) -> list[Trade] | None:
        """None: it does not say who traded; then `resting` is compared."""
        return found

    def resting(self) -> tuple[int, int] | None:
        """Lots that rest on the buy and on the sell side, where a peer without trades tells."""
        return None


def as_trades(parts: Iterable[np.ndarray]) -> list[Trade]:
    return [
        (int(t["maker_order_id"]), int(t["price_ticks"]), int(t["qty_lots"]))
        for part in parts for t in part
    ]  # fmt: skip


class OurBatch(Peer):
    """The whole stretch as one array."""

    name = "perpcore OrderBook, one batch"
    leaves_out = "commands stand in an array already"

    def __init__(self, flow: Any) -> None:
        self.book = OrderBook(flow.max_price_ticks, flow.capacity)
        self.commands: Any = None
        self.book.apply(flow.before)
        self.room = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
        self.room["qty_lots"] = 1
        self.statuses = np.ones(len(flow.timed), np.int32)

    def run(self, rows: list[Row]) -> Any:
        return self.book.apply(self.commands, self.room, self.statuses).trades

    def trades(self, found: Any) -> list[Trade]:
        return as_trades([found])

    def resting(self) -> tuple[int, int]:
        return self.book.qty_lots(Side.BUY), self.book.qty_lots(Side.SELL)


class OurCalls(Peer):
    """One call an order, its trades read after each."""

    name = "perpcore OrderBook, one call an order"
    leaves_out = "nothing: the measure of the peers below"

    def __init__(self, flow: Any) -> None:
        self.book = OrderBook(flow.max_price_ticks, flow.capacity)

    def run(self, rows: list[Row]) -> list[Any]:
        add, cancel, last_trades = self.book.add, self.book.cancel, self.book.last_trades
        found = []
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                add(order_id, side, price, lots, LIMIT, IOC if ioc else GTC)
                made = last_trades()
                if len(made):
                    found.append(made)
            else:
                cancel(target)
        return found

    def trades(self, found: Any) -> list[Trade]:
        return as_trades(found)


class OurUnreadCalls(OurCalls):
    """One call an order, no trades read: what a peer without trades is to be compared with."""

    name = "the same, trades not read"
    leaves_out = "trades, as limit-order-book does"

    def run(self, rows: list[Row]) -> None:
        add, cancel = self.book.add, self.book.cancel
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                add(order_id, side, price, lots, LIMIT, IOC if ioc else GTC)
            else:
                cancel(target)

    def trades(self, found: Any) -> None:
        return None

    def resting(self) -> tuple[int, int]:
        return self.book.qty_lots(Side.BUY), self.book.qty_lots(Side.SELL)


class Nanobook(Peer):
    """Rust behind pyo3; it numbers orders itself, from 1, as the flow does."""

    name = "nanobook"
    leaves_out = "no ids or owners of the caller; no self-trade rule"

    def __init__(self, flow: Any) -> None:
        import nanobook

        self.book = nanobook.Exchange()

    def run(self, rows: list[Row]) -> list[Any]:
        submit, cancel = self.book.submit_limit, self.book.cancel
        found: list[Any] = []
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                result = submit(
                    "buy" if side == BUY else "sell", price, lots, "ioc" if ioc else "gtc"
                )
                if result.filled_quantity:
                    found += result.trades
            else:
                cancel(target)
        return found

    def trades(self, found: Any) -> list[Trade]:
        return [(t.passive_order_id, t.price, t.quantity) for t in found]


class LimitOrderBook(Peer):
    """C++ behind ctypes."""

    name = "limit-order-book"
    leaves_out = "no trades at all, no IOC (limit, then cancel), no self-trade rule"

    def __init__(self, flow: Any) -> None:
        from limit_order_book.limit_order_book import LimitOrderBook as Book

        self.book = Book()

    def run(self, rows: list[Row]) -> None:
        book = self.book
        buy, sell, cancel, has = book.limit_buy, book.limit_sell, book.cancel, book.has
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                (buy if side == BUY else sell)(order_id, lots, price)
                if ioc and has(order_id):
                    cancel(order_id)
            else:
                cancel(target)

    def trades(self, found: Any) -> None:
        return None

    def resting(self) -> tuple[int, int]:
        return self.book.volume_buy(), self.book.volume_sell()


class PyOrderBook(Peer):
    """Python: a heap of levels, Decimal prices, an object and a UUID an order."""

    name = "pyorderbook"
    leaves_out = "no IOC (match, then cancel), ids are its own UUIDs, no self-trade rule"

    def __init__(self, flow: Any) -> None:
        from pyorderbook import Book, ask, bid

        self.book, self.ask, self.bid = Book(), ask, bid
        self.orders: dict[int, Any] = {}

    def run(self, rows: list[Row]) -> list[Any]:
        match, cancel, ask, bid, orders = (
            self.book.match, self.book.cancel, self.ask, self.bid, self.orders,
        )  # fmt: skip
        found: list[Any] = []
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                order = (bid if side == BUY else ask)("X", price, lots)
                found += match(order).trades
                if ioc and order.quantity:
                    cancel(order)
                else:
                    orders[order_id] = order
            else:
                cancel(orders[target])
        return found

    def trades(self, found: Any) -> list[Trade]:
        ids = {order.id: order_id for order_id, order in self.orders.items()}
        return [
            (ids[t.standing_order_id], int(t.fill_price), t.fill_quantity) for t in found
        ]


class LightMatchingEngine(Peer):
    """Python: a dict of lists, the best price is found by looking at all prices."""

    name = "lightmatchingengine"
    leaves_out = "no IOC (add, then cancel), ids are its own, no self-trade rule"

    def __init__(self, flow: Any) -> None:
        from lightmatchingengine.lightmatchingengine import LightMatchingEngine as Book

        self.book = Book()

    def run(self, rows: list[Row]) -> list[Any]:
        add, cancel = self.book.add_order, self.book.cancel_order
        found: list[Any] = []
        for order_id, target, side, price, lots, ioc in rows:
            if order_id:
                order, trades = add("X", price, lots, side)
                if trades:
                    found.append((order_id, trades))
                if ioc and order.leaves_qty:
                    cancel(order_id, "X")
            else:
                cancel(target, "X")
        return found

    def trades(self, found: Any) -> list[Trade]:
        # It reports the taker's side of each level too.
        return [
            (t.order_id, int(t.trade_price), t.trade_qty)
            for taker, trades in found for t in trades if t.order_id != taker
        ]  # fmt: skip


class WrittenToday(Peer):
    """What a user writes: a sorted map of prices a side, a dict of orders in each (first in first).

    best(side): the first key of a side's map. It checks nothing.
    """

    leaves_out = "no checks; matching, ids and trades are the user's own Python"

    def __init__(self, flow: Any) -> None:
        self.sides: dict[int, Any] = {side: self.make(side) for side in (BUY, SELL)}
        self.places: dict[int, tuple[int, int]] = {}

    def make(self, side: int) -> Any:
        raise NotImplementedError

    def best(self, side: Any) -> int:
        raise NotImplementedError

    def run(self, rows: list[Row]) -> list[Trade]:
        sides, places, best = self.sides, self.places, self.best
        found: list[Trade] = []
        for order_id, target, side, price, lots, ioc in rows:
            if not order_id:
                at, level_price = places.pop(target)
                level = sides[at][level_price]
                del level[target]
                if not level:
                    del sides[at][level_price]
                continue
            others = sides[SELL if side == BUY else BUY]
            while lots and len(others):
                at = best(others)
                if (at > price) if side == BUY else (at < price):
                    break
                level = others[at]
                maker, rests = next(iter(level.items()))
                traded = min(rests, lots)
                found.append((maker, at, traded))
                lots -= traded
                if traded < rests:
                    level[maker] = rests - traded
                    break
                del level[maker]
                del places[maker]
                if not level:
                    del others[at]
            if lots and not ioc:
                mine = sides[side]
                if price in mine:
                    mine[price][order_id] = lots
                else:
                    mine[price] = {order_id: lots}
                places[order_id] = (side, price)
        return found


class SortedContainers(WrittenToday):
    name = "sortedcontainers.SortedDict and a loop"

    def make(self, side: int) -> Any:
        from sortedcontainers import SortedDict

        return SortedDict((lambda price: -price) if side == BUY else None)

    def best(self, side: Any) -> int:
        return side.peekitem(0)[0]


class OrderBookMap(WrittenToday):
    """order_book is a sorted map in C: it has no matching of its own."""

    name = "order_book's SortedDict and a loop"

    def make(self, side: int) -> Any:
        from order_book import SortedDict

        return SortedDict(ordering="DESC" if side == BUY else "ASC")

    def best(self, side: Any) -> int:
        return side.index(0)[0]


PEERS: tuple[type[Peer], ...] = (
    OurBatch, OurCalls, OurUnreadCalls, Nanobook, LimitOrderBook, OrderBookMap, SortedContainers,
    PyOrderBook, LightMatchingEngine,
)  # fmt: skip


def populated(kinds: Iterable[type[Peer]], flow: Any, before: list[Row]) -> list[Peer]:
    """Those that are installed, with the flow's book; the batch has taken it in already."""
    made = []
    for kind in kinds:
        with contextlib.suppress(ImportError):
            peer = kind(flow)
            if not isinstance(peer, OurBatch):
                peer.run(peer.prepare(before))
            made.append(peer)
    return made
