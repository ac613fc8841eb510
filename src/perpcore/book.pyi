"""The order book alone: price-time matching over ticks, lots and order ids, without accounts."""

from enum import IntEnum
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

class BookKind(IntEnum):
    """What a command of the book does."""
    BOOK_NEW = 1
    BOOK_CANCEL = 2
    BOOK_REDUCE = 3
    BOOK_REPLACE = 4

BOOK_COMMAND: np.dtype[np.void]
BOOK_TRADE: np.dtype[np.void]
BOOK_LEVEL: np.dtype[np.void]
BOOK_ORDER: np.dtype[np.void]

class Applied(NamedTuple):
    """What a batch did: how many commands were applied, a code for each, the trades in order."""
    applied: int
    statuses: NDArray[np.int32]
    trades: NDArray[Any]

class RestingOrder(NamedTuple):
    """One order of the book."""
    order_id: int
    side: int
    price_ticks: int
    qty_lots: int
    owner: int

class BookBusy(RuntimeError):
    """A second thread called a book that is at work; the call had no effect."""

@disjoint_base
class OrderBook:
    """A limit order book with price-time priority."""

    def __new__(cls, max_price_ticks: int, capacity: int) -> Self: ...
    def apply(
        self,
        commands: NDArray[Any],
        trades: NDArray[Any] | None = None,
        statuses: NDArray[np.int32] | None = None,
    ) -> Applied: ...
    def add(
        self,
        order_id: int,
        side: int,
        price_ticks: int,
        qty_lots: int,
        order_type: int = 1,
        time_in_force: int = 0,
        flags: int = 0,
        owner: int = 0,
        stp: int = 0,
    ) -> int: ...
    def cancel(self, order_id: int) -> int: ...
    def reduce(self, order_id: int, lots: int) -> int: ...
    def replace(
        self,
        order_id: int,
        price_ticks: int,
        qty_lots: int,
        time_in_force: int = 0,
        flags: int = 0,
        stp: int = 0,
    ) -> int: ...
    def last_trades(self) -> NDArray[Any]: ...
    def __len__(self) -> int: ...
    def __contains__(self, order_id: int, /) -> bool: ...
    @property
    def max_price_ticks(self) -> int: ...
    @property
    def capacity(self) -> int: ...
    def best(self, side: int) -> int | None: ...
    def order_count(self, side: int) -> int: ...
    def qty_lots(self, side: int) -> int: ...
    def depth(self, side: int, levels: int | None = None) -> NDArray[Any]: ...
    def order(self, order_id: int) -> RestingOrder | None: ...
    def orders(self, side: int) -> NDArray[Any]: ...
