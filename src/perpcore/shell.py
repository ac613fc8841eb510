"""What Venue, Account, Block and Admin share: the way a command goes in and an answer comes out.

Not for import by users; `perpcore` exports what they need.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore import commands
from perpcore.amounts import MONEY_STEP, NotOnGrid, Number, from_units, to_steps
from perpcore.codes import Code, EventKind, Kind, Ledger, Reason, Side
from perpcore.contracts import Contract, Grid
from perpcore.engine import Engine, Steps
from perpcore.errors import Context, OffGrid, Rejected, Unknown, rejection
from perpcore.foresight import UnitState, after, liquidation_mark, unit_state
from perpcore.records import COMMAND, EVENT
from perpcore.results import (
    AdlPlace,
    Events,
    OrderResult,
    Preview,
    as_events,
    balances,
    events_of,
    side_word,
    trade_fees,
)

# Room for the events of one command; twice as much is taken when it is not enough.
_OUT_EVENTS = 512
_ORDERS = (Kind.NEW_ORDER, Kind.CLOSE_POSITION)


class Listed(dict[str, tuple[int, Contract]]):
    """Number and terms of a contract by name; a name that is none raises Unknown (209)."""

    def __missing__(self, instrument_name: str) -> tuple[int, Contract]:
        known = ", ".join(self) or "none yet"
        raise Unknown(
            Code.INVALID_INSTRUMENT,
            f"{instrument_name!r} is no contract of this venue: it has {known}",
        )


class Core:
    """One engine with the names and grids that the records do not carry."""

    __slots__ = ("admitted", "contracts", "engine", "labels", "listed", "names", "pending")

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.contracts: list[Contract] = []
        self.listed = Listed()
        self.names: dict[str, int] = {}
        self.labels: dict[int, str] = {}
        self.admitted: list[int] = []
        self.pending = False

    def fork(self) -> Core:
        """The same venue once more, with a life of its own."""
        with self.alone():
            self._require_read()
            twin = Core(self.engine.fork())
        twin.contracts, twin.listed = list(self.contracts), Listed(self.listed)
        twin.names, twin.labels = dict(self.names), dict(self.labels)
        twin.admitted = list(self.admitted)
        return twin

    # Names -------------------------------------------------------------------------------------

    def label(self, account: int) -> str:
        """An account's name, or 'account 7'."""
        return self.labels.get(account, f"account {account}")

    def stamp(self, timestamp_ns: int | None) -> int:
        """The command's time: as given, else one nanosecond after the venue's."""
        return int(self.engine.time_ns) + 1 if timestamp_ns is None else timestamp_ns

    # Commands ----------------------------------------------------------------------------------

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One thread at a time: events of one call never reach another; else EngineBusy."""
        self.engine.claim()
        try:
            yield
        finally:
            self.engine.release()

    def run(self, batch: NDArray[np.void], key: int = 0) -> Events:
        """Apply all commands; their events as one array of its own."""
        chunks: list[NDArray[np.void]] = []
        done, room = 0, _OUT_EVENTS + 4 * len(batch)
        with self.alone():
            self._require_read()
            while True:
                out = np.empty(room, EVENT)
                applied, written = self.engine.apply(batch[done:], out, key)
                done += applied
                chunks.append(out[:written])
                if written < room:
                    break
                room *= 2
        if len(chunks) == 1:
            # What a single command did is kept by its result: not with a buffer many times larger.
            return as_events(chunks[0].copy() if len(batch) == 1 else chunks[0], done)
        whole = f"V{EVENT.itemsize}"
        return as_events(np.concatenate([c.view(whole) for c in chunks]).view(EVENT), done)

    def run_into(self, batch: NDArray[np.void], out: NDArray[np.void], key: int = 0) -> Events:
        """Apply into the caller's buffer; stops between commands when it is full."""
        with self.alone():
            applied, written = self.engine.apply(batch, out, key)
            self.pending = written == len(out)
        return as_events(out[:written], applied)

    def _require_read(self) -> None:
        if self.pending:
            raise RuntimeError(
                "a batch with out= was full and its events are not all read: call apply again "
                "until it returns fewer events than out has room for"
            )

    def call(self, fields: tuple[Any, ...], key: int = 0) -> bytes:
        """Apply one command given by its fields; its EVENT records, or raises Rejected.

        fields: whole numbers in the order of COMMAND, those at the end that are 0 left out;
        timestamp_ns None: one nanosecond after the last command.
        """
        if self.pending:
            self._require_read()
        try:
            code, told = self.engine.call(fields, key)
        except (TypeError, OverflowError):
            self.record(fields)  # Says which field it is, and what fits.
            raise
        if code:
            raise self.refusal(self.record(fields), events_of(told)) or RuntimeError(code)
        return told

    def record(self, fields: tuple[Any, ...]) -> NDArray[np.void]:
        """(1,) COMMAND of the fields that `call` takes."""
        return commands.record((self.stamp(fields[0]), *fields[1:]))

    def send(self, command: NDArray[np.void], key: int = 0) -> Events:
        """Apply one command, (1,) COMMAND; raises Rejected when the venue refuses it."""
        return events_of(self.call(command[0].item(), key))

    def refusal(self, command: NDArray[np.void], events: NDArray[np.void]) -> Rejected | None:
        """The exception of one command's REJECT event, if it has one."""
        rejects = events[events["kind"] == EventKind.REJECT]
        return self.explain(command, rejects[-1:], events) if len(rejects) else None

    def explain(
        self, command: NDArray[np.void], event: NDArray[np.void], events: Any = None
    ) -> Rejected:
        """A REJECT event in words, beside the command that it answers."""
        row, reject = command.reshape(-1)[0], event.reshape(-1)[0]
        number = int(row["contract"])
        isolation_id = int(row["isolation_id"])
        if isolation_id and row["kind"] not in (Kind.NEW_ORDER, Kind.CLOSE_POSITION):
            number = self.contract_of_block(int(row["account"]), isolation_id, number)
        contract = self.contracts[number] if number < len(self.contracts) else None
        who = self.label(int(row["account"]))
        return rejection(Context(row, reject, who, contract), events)

    def contract_of_block(self, account: int, isolation_id: int, default: int) -> int:
        """The contract of an open block, or the default."""
        unit = self.unit(account, isolation_id)
        return int(unit["legs"][0]["contract"]) if unit and unit["legs"] else default

    # Queries -----------------------------------------------------------------------------------

    def unit(self, account: int, isolation_id: int = 0) -> dict[str, Any] | None:
        """The engine's view of a unit; None for a block that is not open (any more)."""
        if isolation_id and isolation_id not in self.engine.blocks(account):
            return None
        return self.engine.unit(account, isolation_id)

    def adl_places(self, number: int) -> list[AdlPlace]:
        """Both queues of auto-deleveraging on a contract, longs first."""
        grid, places = self.contracts[number].grid, []
        ranks = {int(Side.BUY): 0, int(Side.SELL): 0}
        for side, account, isolation_id, lots, _ in self.engine.adl_rank(number):
            ranks[side] += 1
            places.append(
                AdlPlace(
                    side_word(side), ranks[side], account, isolation_id or None,
                    grid.quantity(lots),
                )
            )
        return places

    def adl_rank(self, number: int, account: int, isolation_id: int | None) -> int | None:
        """A unit's rank on its side of a contract; None without a position."""
        for place in self.adl_places(number):
            if (place.account, place.isolation_id) == (account, isolation_id):
                return place.rank
        return None

    # Previews ----------------------------------------------------------------------------------

    def preview(self, command: NDArray[np.void], key: int = 0) -> Preview:
        """What the command would do: applied, rolled back, its events read (SPEC X1)."""
        events = self._previewed(command, key)
        row = command[0]
        account, isolation_id = int(row["account"]), int(row["isolation_id"])
        refusal = self.refusal(command, events)
        accepted = events[events["kind"] == EventKind.ACCEPTED]
        kind = int(row["kind"])
        if refusal is None and kind in _ORDERS:
            isolation_id = int(accepted[0]["isolation_id"])
        number = int(row["contract"])
        if isolation_id:
            number = self.contract_of_block(account, isolation_id, number)
        unit = self.unit(account, isolation_id) if account < self.engine.accounts else None
        then = unit_state(unit, number)
        now: UnitState | None = then
        if refusal is None:
            now = after(
                then, events, account=account, isolation_id=isolation_id, contract=number,
                usdc_counts=self.engine.usdc_counts,
            )
        order = None
        if refusal is None and kind in (*_ORDERS, Kind.AMEND):
            order = self._order_of(command, events.tobytes(), self._side(command))
        main = balances(
            events, account=account, ledgers=(int(Ledger.MAIN_USD),),
            reason=int(Reason.R_ISOLATED_TRANSFER),
        )
        return Preview(
            code=refusal.code if refusal else Code.OK,
            refusal=refusal,
            order=order,
            fees=trade_fees(events, account),
            moved=from_units(-int(main["amount_units"].sum())),
            margin_before=from_units(then.cash_units) if isolation_id and unit else None,
            margin_after=from_units(now.cash_units) if isolation_id and now else None,
            liquidation_price_before=self._liquidation(then, number),
            liquidation_price_after=self._liquidation(now, number),
            events=events,
        )

    def _previewed(self, command: NDArray[np.void], key: int) -> NDArray[np.void]:
        room = _OUT_EVENTS
        with self.alone():
            self._require_read()
            while True:
                out = np.empty(room, EVENT)
                written = self.engine.preview(command, out, key)
                if written < room:
                    return out[:written].copy()
                room *= 8

    def _liquidation(self, state: UnitState | None, number: int) -> Decimal | None:
        if state is None or number >= len(self.contracts):
            return None
        contract = self.contracts[number]
        mark = liquidation_mark(state, contract.row, contract.grid.value_units)
        return None if mark is None else contract.grid.mark(mark)

    # Orders ------------------------------------------------------------------------------------

    def send_order(self, command: NDArray[np.void]) -> OrderResult:
        """Apply a close or an amendment and say what became of the order."""
        side = self._side(command)
        return self._order_of(command, self.call(command[0].item()), side)

    def _side(self, command: NDArray[np.void]) -> int:
        """The side of the order that a command makes or changes, known before it is applied."""
        row = command[0]
        if row["kind"] == Kind.CLOSE_POSITION:
            account, isolation_id = int(row["account"]), int(row["isolation_id"])
            unit = self.unit(account, isolation_id) if account < self.engine.accounts else None
            state = unit_state(unit, int(row["contract"]))
            return int(Side.SELL if state.qty_lots > 0 else Side.BUY)
        if row["kind"] == Kind.AMEND:
            order = self.engine.order(int(row["order_id"]))
            return int(order["side"]) if order else 0
        return int(row["side"])

    def _order_of(self, command: NDArray[np.void], told: bytes, side: int) -> OrderResult:
        row = command[0]
        client, amended = int(row["client_order_id"]), 0
        if row["kind"] == Kind.AMEND:
            amended = int(row["order_id"])
            live = self.engine.order(amended)
            client = int(live["client_order_id"]) if live else client
        return OrderResult.of((told, self.contracts, row.item(), side, client, amended))


# Words and numbers of a caller ------------------------------------------------------------------


def known(value: str | int, table: dict[str, Any], what: str, code: Code) -> int:
    """The number of a word; raises Unknown with the venue's code."""
    try:
        return commands.word(value, table, what)
    except (ValueError, TypeError) as error:
        raise Unknown(code, str(error)) from None


def currency(value: str) -> int:
    """The number of "USD" or "USDC"; raises Unknown (211)."""
    return known(value, commands.CURRENCIES, "currency", Code.INVALID_CURRENCY)


def _on_grid(value: Number, steps: Steps, what: str, code: Code, name: str) -> int:
    """What `steps` does not count by itself: other spellings, and numbers between two steps."""
    try:
        return to_steps(value, steps.step, what)
    except NotOnGrid as error:
        raise OffGrid(code, error, what, name) from None


def price_ticks(grid: Grid, price: Number, what: str = "price") -> int:
    """Ticks of an order price in USD; raises OffGrid (308) with the two nearest prices."""
    count = grid.ticks.count(price)
    if count is None:
        count = _on_grid(price, grid.ticks, what, Code.INVALID_PRICE, f"{grid.symbol}'s tick")
    return count


def mark_ticks(grid: Grid, price: Number, what: str = "mark") -> int:
    """Mark ticks of a mark or an index in USD; raises OffGrid (308)."""
    count = grid.mark_ticks.count(price)
    if count is None:
        name = f"{grid.symbol}'s mark tick"
        count = _on_grid(price, grid.mark_ticks, what, Code.INVALID_PRICE, name)
    return count


def qty_lots(grid: Grid, quantity: Number) -> int:
    """Lots of a size in base units; raises OffGrid (213) with the two nearest sizes."""
    count = grid.lots.count(quantity)
    if count is None:
        name = f"{grid.symbol}'s lot"
        count = _on_grid(quantity, grid.lots, "quantity", Code.INVALID_ORDER_QTY, name)
    return count


_MONEY, _RATES = Steps(MONEY_STEP), Steps(Decimal("1e-9"))


def money(amount: Number, what: str = "amount") -> int:
    """Money units of an amount; raises OffGrid (40001)."""
    count = _MONEY.count(amount)
    if count is None:
        count = _on_grid(amount, _MONEY, what, Code.INVALID_ARGUMENT, "the money unit")
    return count


def rate_e9(rate: Number) -> int:
    """A rate in e-9; raises OffGrid (40001)."""
    count = _RATES.count(rate)
    if count is None:
        count = _on_grid(rate, _RATES, "rate", Code.INVALID_ARGUMENT, "rates")
    return count


def largest(accepted: Callable[[int], bool], low: int, high: int) -> int:
    """A count between low and high that is accepted while one more is not; 0 when `low` is not.

    Bisection keeps both ends true, so the answer is maximal whatever lies between.
    """
    if high < low or not accepted(low):
        return 0
    if accepted(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        if accepted(middle):
            low = middle
        else:
            high = middle
    return low


def as_batch(batch: NDArray[np.void]) -> NDArray[np.void]:
    """A one-dimensional contiguous COMMAND array, or TypeError."""
    array = np.atleast_1d(np.asarray(batch))
    if array.dtype != COMMAND:
        if array.size:
            raise TypeError(f"commands must have dtype perpcore.COMMAND, not {array.dtype}")
        array = np.zeros(0, COMMAND)
    if array.ndim != 1:
        raise TypeError(f"commands must be a (n,) array, not of shape {array.shape}")
    return np.ascontiguousarray(array)
