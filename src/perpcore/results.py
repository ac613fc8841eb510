"""What calls return: plain, frozen values in Decimals and the venue's words."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from struct import Struct
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from perpcore.amounts import from_units, quotient
from perpcore.codes import (
    Code,
    Done,
    EventKind,
    FillFlag,
    Ledger,
    OrderType,
    Reason,
    Side,
    TimeInForce,
)
from perpcore.contracts import Contract
from perpcore.errors import Rejected
from perpcore.records import COMMAND, EVENT


class Events(np.ndarray):
    """(n,) EVENT array of one call to `apply`; a numpy structured array in every respect.

    applied: how many of the commands were applied. It is less than their number only when `out`
    was full; see `Venue.apply`.
    """

    applied: int

    def __array_finalize__(self, source: Any) -> None:
        """A view or slice keeps the count of the call it comes from."""
        self.applied = getattr(source, "applied", 0)


def events_of(told: bytes) -> Events:
    """The EVENT records of one command, from their bytes, in an array of their own."""
    events = Events(len(told) // EVENT.itemsize, EVENT, bytearray(told))
    events.applied = 1
    return events


def as_events(array: NDArray[np.void], applied: int) -> Events:
    """The array as Events, without a copy."""
    events: Events = array.view(Events)
    events.applied = applied
    return events


class Fill(NamedTuple):
    """One fill of an order: price in USD, quantity in base units, MAKER's or TAKER's side of it."""

    price: Decimal
    quantity: Decimal
    liquidity: str


class Level(NamedTuple):
    """One price of the book: USD, base units, number of orders."""

    price: Decimal
    quantity: Decimal
    orders: int


class Book(NamedTuple):
    """Both sides of a book, best price first."""

    bids: list[Level]
    asks: list[Level]


class _Told:
    """What an OrderResult is made from, until somebody asks: see `OrderResult.of`."""

    __slots__ = ("_source",)


@dataclass(frozen=True, slots=True)
class OrderResult(_Told):
    """What became of an order in the call that sent it.

    order_id: the order's number, for amend and cancel. client_oid: yours, or None.
    isolation_id: the block it belongs to; None for cross margin.
    status: "ACTIVE" (rests, perhaps partly filled), "FILLED", "UNTRIGGERED" (a conditional order
        that waits), or "CANCELED" (an unfilled rest ended; `reason` says why: REST, SELF_TRADE,
        REDUCE_ONLY, MAINTENANCE, ...).
    quantity, cumulative_quantity: base units ordered and filled. average_price: USD, for display,
        None without fills. fills: price and quantity of each.
    fees: USD, the order's own trade fees. reserved: USD put aside for it at acceptance (SPEC C3);
        USDC beside it, where a block keeps USDC, is in Block.order_collateral.
    events: (n,) EVENT, all that the command caused, other accounts' included.
    """

    order_id: int
    client_oid: int | None
    isolation_id: int | None
    instrument_name: str
    side: str
    status: str
    reason: str | None
    quantity: Decimal
    cumulative_quantity: Decimal
    average_price: Decimal | None
    fills: tuple[Fill, ...]
    fees: Decimal
    reserved: Decimal
    events: NDArray[np.void] = field(repr=False, compare=False)

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Read the events when a field is asked for; the number alone, or all the rest."""
            if name == "order_id":
                # A new order has the number of its command, which each of its events carries.
                told, *_, amended = self._source
                return amended or _SEQ.unpack_from(told)[0]
            if name == "_source" or name not in OrderResult.__slots__:
                raise AttributeError(f"'OrderResult' object has no attribute {name!r}")
            for own, value in read_order(*self._source).items():
                object.__setattr__(self, own, value)
            return object.__getattribute__(self, name)

    @staticmethod
    def of(source: tuple[Any, ...]) -> OrderResult:
        """The result whose fields `read_order(*source)` gives, read when they are asked for."""
        result = _new(OrderResult)
        _tell(result, source)
        return result


_SEQ = Struct("<Q")
_new = object.__new__
_tell = _Told._source.__set__  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Order:
    """A live order. quantity: base units in all; cumulative_quantity: filled.

    price: USD, None for a conditional order that will be MARKET.
    reserved: USD held for it now, without its USDC where a block keeps that; leverage: that of its
        reserve, None without one.
    type: "LIMIT", or the conditional type while it waits for `ref_price` (USD) of `ref_price_type`.
    linked_order_id: the order that ends when this one does.
    """

    order_id: int
    client_oid: int | None
    isolation_id: int | None
    instrument_name: str
    side: str
    price: Decimal | None
    quantity: Decimal
    cumulative_quantity: Decimal
    time_in_force: str
    exec_inst: tuple[str, ...]
    leverage: int | None
    reserved: Decimal
    type: str
    ref_price: Decimal | None
    ref_price_type: str | None
    linked_order_id: int | None


@dataclass(frozen=True)
class Position:
    """One position: main's on a contract (`isolation_id` None), or that of a block.

    quantity: base units, negative for short. open_cost, cost: USD, signed sums of price x size;
    `cost` is reset by each session's roll, `open_cost` is not (SPEC U4). average_price: USD,
    open_cost / size, for display. Margins in USD, rounded up (SPEC C1, C2).
    liquidation_price: USD, the first mark at which the unit is liquidated (SPEC Q2); None when no
    mark does it, or when main has several positions and each depends on the others.
    bankruptcy_price: USD, the mark of equity 0, rounded in the fund's favor (SPEC Q3).
    """

    instrument_name: str
    isolation_id: int | None
    quantity: Decimal
    cost: Decimal
    open_cost: Decimal
    average_price: Decimal
    leverage: int
    notional: Decimal
    unrealized_pnl: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    fee_reserve: Decimal
    liquidation_price: Decimal | None
    bankruptcy_price: Decimal | None

    @property
    def side(self) -> str:
        """Side of the fill that opened it: "BUY" for long, "SELL" for short."""
        return "BUY" if self.quantity > 0 else "SELL"


@dataclass(frozen=True)
class Preview:
    """What a command would do; nothing was done (SPEC X1).

    The command was applied and rolled back, so this is what it would return in this state.
    code: 0 (`Code.OK`), or the refusal's number; `refusal` is the exception the call would raise.
    order: the OrderResult of an order or close. fees: USD, the sender's trade fees.
    moved: USD that main would pay into blocks (negative: get back).
    margin_before, margin_after: USD, the block's position cash, with what its USDC counts for
    where USDC stays USDC; None for cross margin.
    liquidation_price_before, liquidation_price_after: USD, of the unit that the command is about;
        None as in `Position`, and where there is no position.
    """

    code: Code
    refusal: Rejected | None
    order: OrderResult | None
    fees: Decimal
    moved: Decimal
    margin_before: Decimal | None
    margin_after: Decimal | None
    liquidation_price_before: Decimal | None
    liquidation_price_after: Decimal | None
    events: NDArray[np.void] = field(repr=False, compare=False)

    @property
    def ok(self) -> bool:
        """Whether the command would be accepted."""
        return self.code == Code.OK


@dataclass(frozen=True)
class Audit:
    """Residuals of the ledger identity (SPEC L1), summed in full; `ok` when all are 0.

    usd, usdc: cash - cost + fees + fund + conversion - deposits + withdrawals, in the currency.
    positions: the sum of all positions by contract, in lots.
    """

    usd: Decimal
    usdc: Decimal
    positions: dict[str, int]

    @property
    def ok(self) -> bool:
        """Whether not one unit and not one lot is missing or too many."""
        return not (self.usd or self.usdc or any(self.positions.values()))


class MarketData(NamedTuple):
    """One contract's prices in USD (None: not known yet) and its state.

    state: "OPEN" | "HALTED" | "REDUCE_ONLY".
    """

    instrument_name: str
    state: str
    mark_price: Decimal | None
    last_price: Decimal | None
    best_bid: Decimal | None
    best_ask: Decimal | None
    index_price: Decimal | None


class LiquidationLevel(NamedTuple):
    """Positions that a mark liquidates: their side, the first such mark in USD, base units."""

    side: str
    mark_price: Decimal
    quantity: Decimal


class AdlPlace(NamedTuple):
    """A place in the queue of auto-deleveraging: rank 1 of its side is closed first.

    side: of the position. account: its number, for `Venue.account`. isolation_id: None of a main
    account. quantity: base units.
    """

    side: str
    rank: int
    account: int
    isolation_id: int | None
    quantity: Decimal


EXEC_WORDS = (
    (1, "POST_ONLY"), (2, "REDUCE_ONLY"), (4, "ISOLATED_MARGIN"), (32, "SMART_POST_ONLY"),
)
CONDITIONAL_WORDS = {
    int(kind): kind.name
    for kind in (
        OrderType.STOP_LOSS, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT,
        OrderType.TAKE_PROFIT_LIMIT,
    )
}
REFERENCE_WORDS = ("MARK_PRICE", "INDEX_PRICE", "LAST_PRICE")
TIF_WORDS = {
    TimeInForce.NO_TIF: "GOOD_TILL_CANCEL",
    TimeInForce.GTC: "GOOD_TILL_CANCEL",
    TimeInForce.IOC: "IMMEDIATE_OR_CANCEL",
    TimeInForce.FOK: "FILL_OR_KILL",
    TimeInForce.GTD: "GOOD_TILL_DATE",
}


def side_word(side: int) -> str:
    """The venue's word for a side: "BUY" or "SELL"."""
    return "BUY" if side == Side.BUY else "SELL"


def balances(
    events: NDArray[np.void], *, account: int, ledgers: tuple[int, ...], reason: int = 0
) -> NDArray[np.void]:
    """BALANCE events of an account's ledgers, of one reason where it is given."""
    chosen = (events["kind"] == EventKind.BALANCE) & (events["account"] == account)
    chosen &= np.isin(events["ledger"], ledgers)
    if reason:
        chosen &= events["reason"] == reason
    found: NDArray[np.void] = events[chosen]
    return found


UNIT_LEDGERS = (int(Ledger.MAIN_USD), int(Ledger.BLOCK_POSITION))


def trade_fees(events: NDArray[np.void], account: int, order_id: int | None = None) -> Decimal:
    """USD of trade fees that an account, or one order of it, paid in these events."""
    fees = balances(events, account=account, ledgers=UNIT_LEDGERS, reason=int(Reason.R_TRADE_FEE))
    if order_id is not None:
        fees = fees[fees["order_id"] == order_id]
    return from_units(-int(fees["amount_units"].sum()))


class _Row(NamedTuple):
    """One EVENT record in Python numbers, its fields in their order."""

    seq: int
    account: int
    contract: int
    code: int
    isolation_id: int
    kind: int
    reason: int
    ledger: int
    flags: int
    order_id: int
    price_ticks: int
    qty_lots: int
    amount_units: int
    balance_units: int


_ROW = Struct("<QIHHIBBBBQqqqq")
_ORDER = _Row._fields.index("order_id")
_KIND_BYTE = Struct("<QIHHI").size  # What stands before it.


def opening(told: bytes, amended: int) -> _Row:
    """The event that accepts an order, or amends the one of that number."""
    kind = int(EventKind.AMENDED if amended else EventKind.ACCEPTED)
    kinds = told[_KIND_BYTE :: _ROW.size]
    place = kinds.index(kind)
    while True:
        row = _Row(*_ROW.unpack_from(told, place * _ROW.size))
        if amended in (0, row.order_id):
            return row
        place = kinds.index(kind, place + 1)


def read_order(
    told: bytes, contracts: list[Contract], fields: tuple[int, ...], side: int,
    client_order_id: int, amended: int,
) -> dict[str, Any]:
    """The fields of a command's OrderResult, from its events.

    told: all the command's EVENT records. fields: the command's. amended: the order's id where the
    command amends one, else 0.
    """
    accepted = opening(told, amended)
    contract = contracts[accepted.contract]
    grid = contract.grid
    rows = (_Row(*row) for row in _ROW.iter_unpack(told) if row[_ORDER] == accepted.order_id)
    own = list(rows)
    taken = [r for r in own if r.kind == EventKind.FILL and r.flags & 1 == FillFlag.FILL_TAKER]
    filled = sum(fill.qty_lots for fill in taken)
    cost = sum(fill.price_ticks * fill.qty_lots for fill in taken)
    fees = sum(
        row.amount_units for row in own
        if row.kind == EventKind.BALANCE and row.reason == Reason.R_TRADE_FEE
        and row.ledger in UNIT_LEDGERS and row.account == accepted.account
    )
    status, reason = _status(own, accepted.qty_lots - filled, fields, bool(amended))
    return {
        "order_id": accepted.order_id,
        "client_oid": client_order_id or None,
        "isolation_id": accepted.isolation_id or None,
        "instrument_name": contract.symbol,
        "side": side_word(side),
        "status": status,
        "reason": reason,
        "quantity": grid.quantity(accepted.qty_lots),
        "cumulative_quantity": grid.quantity(filled),
        "average_price": quotient(cost, filled, grid.tick) if filled else None,
        "fills": tuple(
            Fill(grid.price(fill.price_ticks), grid.quantity(fill.qty_lots), "TAKER")
            for fill in taken
        ),
        "fees": from_units(-fees),
        "reserved": from_units(accepted.amount_units),
        "events": events_of(told),
    }


_FIELDS = list(COMMAND.names or ())
_TYPE, _TIF = _FIELDS.index("order_type"), _FIELDS.index("time_in_force")


def _status(
    own: list[_Row], left: int, fields: tuple[int, ...], amends: bool
) -> tuple[str, str | None]:
    """Status and reason of an order by its own events and the lots that it has left."""
    order_type = int(OrderType.LIMIT) if amends else fields[_TYPE]
    ended = [row for row in own if row.kind == EventKind.CANCELLED]
    fired = any(row.kind == EventKind.TRIGGERED for row in own)
    # An amendment says the trigger of an order that waits, and of no other.
    waits = any(row.kind == EventKind.AMENDED and row.balance_units for row in own)
    if (order_type in CONDITIONAL_WORDS or waits) and not ended and not fired:
        return "UNTRIGGERED", None
    if left <= 0:
        return "FILLED", None
    rests = order_type == OrderType.LIMIT and fields[_TIF] not in (
        TimeInForce.IOC, TimeInForce.FOK,
    )
    if rests and not ended:
        return "ACTIVE", None
    return "CANCELED", Done(ended[-1].reason).name.removeprefix("DONE_") if ended else None
