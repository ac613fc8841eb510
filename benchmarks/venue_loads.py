"""Populated venues for the benchmarks: what all of them share, and order traffic.

`Traffic` runs a book flow of `workloads` through a venue, every order by an account of its own
position, so that its trades are those of the limit loop, one by one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import workloads
from numpy.typing import NDArray

from perpcore import commands
from perpcore.book import BookKind, OrderBook
from perpcore.codes import Code, EventKind, ExecFlag, FillFlag, Kind, OrderType
from perpcore.contracts import BTCUSD_PERP, venue_terms
from perpcore.eligibility import Eligibility
from perpcore.engine import Engine
from perpcore.records import COMMAND, EVENT

ADMIN = 0x5EED
USD = 100_000_000
#: Price at which positions are opened, in ticks of 0.1 USD; also the first mark.
ENTRY = 600_000
#: Money units of one tick x one lot: 0.1 USD x 0.0001 BTC.
VALUE = 1_000
#: Of the blocks that order flow and liquidations run on.
LEVERAGE = 50
CHUNK = 250_000

Int64s = NDArray[np.int64]


def new_engine(
    accounts: int, orders: int, make: Callable[..., Any] = Engine, fund: int = 5_000_000
) -> Any:
    """A venue with one contract, BTCUSD-PERP, marked at ENTRY; make: Engine, or its shape."""
    engine = make(venue_terms(insurance_fund=fund, accounts=accounts, orders=orders), ADMIN)
    assert engine.add_contract(BTCUSD_PERP.terms(), ADMIN) == 0
    feed(engine, commands.mark(contract=0, mark_ticks=ENTRY, timestamp_ns=1))
    return engine


def touched_events(count: int) -> NDArray[np.void]:
    """(count,) EVENT whose pages are there already: a caller reuses its buffer."""
    out = np.empty(count, EVENT)
    out.view(np.uint8)[:] = 1
    return out


def feed(engine: Engine, batch: NDArray[np.void]) -> None:
    """Apply commands that are not timed; none may be refused."""
    out = np.empty(2 * CHUNK, EVENT)
    done, written = 0, len(out)
    # A full buffer may have left events behind, also after the last command.
    while done < len(batch) or written == len(out):
        applied, written = engine.apply(batch[done : done + CHUNK], out, ADMIN)
        refused = out["code"][:written][out["kind"][:written] == EventKind.REJECT]
        assert len(refused) == 0, f"refused: {np.unique(refused)}"
        done += applied


def admit(engine: Engine, first: int, count: int, cash_units: int | Int64s) -> None:
    """Open accounts first, first + 1, ..., each with cash and allowed to do everything.

    cash_units: of all of them, or (count,).
    """
    profile = Eligibility().profile
    cash = np.broadcast_to(cash_units, count)
    for start in range(first, first + count, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, first + count))
        now = engine.time_ns
        feed(engine, commands.open_account(account=numbers, timestamp_ns=now))
        feed(engine, commands.set_eligibility(account=numbers, profile=profile, timestamp_ns=now))
        feed(engine, commands.deposit(
            account=numbers, amount_units=cash[numbers - first], timestamp_ns=now
        ))  # fmt: skip


def in_pairs(first: NDArray[np.void], second: NDArray[np.void]) -> NDArray[np.void]:
    """first[0], second[0], first[1], second[1], ..."""
    both = np.zeros(2 * len(first), COMMAND)
    both[0::2], both[1::2] = first, second
    return both


def check(engine: Engine) -> None:
    """Not one unit of money or lot is missing (L1), and every unit tests as the index says (Q2)."""
    sums = engine.audit()
    assert sums["USD"] == sums["USDC"] == 0
    assert not any(sums["positions"])
    assert engine.check() == []


# Order traffic ---------------------------------------------------------------------------------

#: Flow prices are around 50,000 ticks; the venue's stand this much higher, around ENTRY.
SHIFT = ENTRY - 50_000


class Traffic:
    """A flow's orders in a venue of `accounts` accounts, stretch after stretch.

    Half of the accounts are long and half short by more than a run trades, so that orders that
    raise risk and reserve margin, and orders that only reduce, both come at random, and no position
    ends: a position's end cancels orders that the limit loop would keep.

    half_isolated: every account also has an isolated block, on the other side than its main
    position, and every order is one of the block's with probability 1/2. Else all are cross.
    """

    def __init__(
        self, flow: workloads.Flow, accounts: int, laps: int, make: Callable[..., Any] = Engine,
        *, half_isolated: bool = False,
    ) -> None:  # fmt: skip
        self.flow, self.accounts, self.half_isolated = flow, accounts // 2 * 2, half_isolated
        self.stretch = len(flow.timed) // laps
        whole = np.concatenate([flow.before, flow.timed])
        lots = 2_000 + 300 * len(whole) // accounts
        self.engine = new_engine(self.accounts, flow.capacity + 64, make)
        # A sixteenth of a position, or up to a half more, so that thresholds lie apart, and
        # far from any test that could fail.
        part = lots * ENTRY * VALUE // 16
        spares = np.random.default_rng(accounts).integers(part, part * 3 // 2, (2, self.accounts))
        admit(
            self.engine, 0, self.accounts,
            200 * USD + spares[0] + (spares[1] if half_isolated else 0),
        )  # fmt: skip
        self.open_positions(0, lots, np.zeros(self.accounts, np.int64))
        if half_isolated:
            self.open_positions(
                1, lots, spares[1], exec_inst="ISOLATED_MARGIN", leverage=LEVERAGE
            )
        self.commands = self.as_venue(whole)
        feed(self.engine, self.commands[: len(flow.before)])
        self.place = len(flow.before)
        self.out = touched_events(16 * self.stretch + 4 * flow.capacity)

    def open_positions(self, longs: int, lots: int, margins: Int64s, **terms: Any) -> None:
        """`lots` for everybody: accounts longs, longs + 2, ... buy what their neighbors sell.

        margins: (accounts,) money units that a block gets; 0 where there is none.
        """
        terms |= {
            "contract": 0, "price_ticks": ENTRY, "qty_lots": lots,
            "timestamp_ns": self.engine.time_ns,
        }  # fmt: skip
        for start in range(0, self.accounts, CHUNK):
            buyers = np.arange(start + longs, min(start + CHUNK, self.accounts), 2)
            feed(self.engine, in_pairs(
                commands.limit(
                    account=buyers ^ 1, side="SELL", isolated_margin_units=margins[buyers ^ 1],
                    **terms,
                ),
                commands.limit(
                    account=buyers, side="BUY", time_in_force="IOC",
                    isolated_margin_units=margins[buyers], **terms,
                ),
            ))  # fmt: skip

    def block_of(self, accounts: Int64s) -> Int64s:
        """(n,) isolation ids: blocks were opened in pairs, the even account of a pair first."""
        return accounts + 1

    def as_venue(self, whole: NDArray[np.void]) -> NDArray[np.void]:
        """(n,) COMMAND that do what (n,) BOOK_COMMAND do; order ids are the engine's next."""
        new = whole["kind"] == BookKind.BOOK_NEW
        places = np.zeros(self.flow.max_id + 1, np.int64)
        places[whole["order_id"][new]] = np.flatnonzero(new)
        #: The venue's order id by the flow's.
        self.ids = places + self.engine.seq + 1
        at = places[whole["order_id"]]
        made = np.zeros(len(whole), COMMAND)
        made["timestamp_ns"] = self.engine.time_ns
        owner = owners(self.flow, whole, places, self.accounts)
        made["account"] = owner[at]
        made["kind"] = np.where(new, int(Kind.NEW_ORDER), int(Kind.CANCEL))
        made["order_type"] = np.where(new, int(OrderType.LIMIT), 0)
        made["order_id"] = np.where(new, 0, self.ids[whole["order_id"]])
        made["price_ticks"] = np.where(new, whole["price_ticks"] + SHIFT, 0)
        for name in ("side", "qty_lots", "time_in_force"):
            made[name] = whole[name]
        if self.half_isolated:
            isolated = new & (np.random.default_rng(self.accounts).random(len(whole)) < 0.5)
            made["exec_flags"] = np.where(isolated, int(ExecFlag.ISOLATED_MARGIN), 0)
            made["isolation_id"] = np.where(isolated, self.block_of(owner), 0)
        return made

    def next_stretch(self) -> NDArray[np.void]:
        """(stretch,) COMMAND that come next."""
        batch = self.commands[self.place :][: self.stretch]
        self.place += self.stretch
        return batch

    def prepare(self) -> Callable[[], NDArray[np.void]]:
        """The next stretch, to be timed once: one call, returns the events."""
        batch, engine, out = self.next_stretch(), self.engine, self.out

        def run() -> NDArray[np.void]:
            applied, written = engine.apply(batch, out, 0)
            assert applied == len(batch)
            assert written < len(out), "events are left behind"
            return out[:written]

        return run

    def check(self, events: NDArray[np.void], trades: NDArray[np.void]) -> None:
        """The venue's fills are the limit loop's trades; only empty IOCs were refused."""
        fills = events[events["kind"] == EventKind.FILL]
        makers = fills[fills["flags"] & FillFlag.FILL_TAKER == 0]
        assert np.array_equal(makers["order_id"], self.ids[trades["maker_order_id"]])
        assert np.array_equal(makers["qty_lots"], trades["qty_lots"])
        assert np.array_equal(makers["price_ticks"], trades["price_ticks"] + SHIFT)
        refused = events[events["kind"] == EventKind.REJECT]
        assert np.all(refused["code"] == Code.IOC_NOT_FILLED)


def owners(
    flow: workloads.Flow, whole: NDArray[np.void], places: Int64s, accounts: int
) -> Int64s:
    """(n,) accounts at random, and no order meets one of its own account."""
    rng = np.random.default_rng(len(whole))
    owner = rng.integers(0, accounts, len(whole))
    trades = OrderBook(flow.max_price_ticks, flow.capacity).apply(whole).trades
    taker, maker = places[trades["taker_order_id"]], places[trades["maker_order_id"]]
    for _ in range(200):
        met = np.unique(taker[owner[taker] == owner[maker]])
        if not len(met):
            return owner
        owner[met] = rng.integers(0, accounts, len(met))
    raise ValueError(f"{accounts} accounts are too few for a flow without self-trades")
