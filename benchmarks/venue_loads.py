"""Populated venues for the benchmarks: order traffic of cross accounts, and a crowd of blocks.

`Traffic` runs a book flow of `workloads` through a venue, every order by an account of its own
position, so that its trades are those of the limit loop, one by one. `Crowd` is a venue of isolated
blocks whose liquidation marks are chosen, so that a mark crosses exactly as many as a case says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import workloads
from numpy.typing import NDArray

from perpcore import commands
from perpcore.book import BookKind, OrderBook
from perpcore.codes import Code, EventKind, ExecFlag, FillFlag, Kind, OrderType, Side
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
CHUNK = 250_000

Int64s = NDArray[np.int64]


def new_engine(accounts: int, orders: int, make: Callable[..., Any] = Engine) -> Any:
    """A venue with one contract, BTCUSD-PERP, marked at ENTRY; make: Engine, or its shape."""
    engine = make(
        venue_terms(insurance_fund=5_000_000, accounts=accounts, orders=orders), ADMIN
    )
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


def admit(engine: Engine, first: int, count: int, cash_units: int) -> None:
    """Open accounts first, first + 1, ..., each with cash and allowed to do everything."""
    profile = Eligibility().profile
    for start in range(first, first + count, CHUNK):
        numbers = np.arange(start, min(start + CHUNK, first + count))
        now = engine.time_ns
        feed(engine, commands.open_account(account=numbers, timestamp_ns=now))
        feed(engine, commands.set_eligibility(account=numbers, profile=profile, timestamp_ns=now))
        feed(
            engine, commands.deposit(account=numbers, amount_units=cash_units, timestamp_ns=now)
        )


def in_pairs(first: NDArray[np.void], second: NDArray[np.void]) -> NDArray[np.void]:
    """first[0], second[0], first[1], second[1], ..."""
    both = np.zeros(2 * len(first), COMMAND)
    both[0::2], both[1::2] = first, second
    return both


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
        # Half the notional, an eighth in a block: far from any margin test that could fail.
        half = lots * ENTRY * VALUE // 2
        admit(self.engine, 0, self.accounts, 5_000 * USD + half + half_isolated * half // 4)
        self.open_positions(0, lots)
        if half_isolated:
            self.open_positions(
                1, lots, exec_inst="ISOLATED_MARGIN", leverage=LEVERAGE,
                isolated_margin_units=half // 4,
            )  # fmt: skip
        self.commands = self.as_venue(whole)
        feed(self.engine, self.commands[: len(flow.before)])
        self.place = len(flow.before)
        self.out = touched_events(16 * self.stretch + 4 * flow.capacity)

    def open_positions(self, longs: int, lots: int, **terms: Any) -> None:
        """`lots` for everybody: accounts longs, longs + 2, ... buy what their neighbors sell."""
        buyers = np.arange(longs, self.accounts, 2)
        terms |= {
            "contract": 0, "price_ticks": ENTRY, "qty_lots": lots,
            "timestamp_ns": self.engine.time_ns,
        }  # fmt: skip
        feed(self.engine, in_pairs(
            commands.limit(account=buyers ^ 1, side="SELL", **terms),
            commands.limit(account=buyers, side="BUY", time_in_force="IOC", **terms),
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

    def prepare(self) -> Callable[[], NDArray[np.void]]:
        """The next stretch, to be timed once: one call, returns the events."""
        batch = self.commands[self.place :][: self.stretch]
        self.place += self.stretch
        engine, out = self.engine, self.out

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


# A crowd of isolated blocks --------------------------------------------------------------------

LEVERAGE = 50
#: Maintenance rate (half of 1 / 100) and fee reserve (taker 0.05 % + liquidation 0.5 %), in 1e-4.
TRIGGER_E4 = 50 + 55
TAKER_E4, MAKER_E4 = 5, 2
MAX_LOTS = 50
#: Liquidation marks begin 3 % from the entry, and the deepest are at half and one and a half of it.
FIRST_LONG, FIRST_SHORT = ENTRY * 97 // 100, ENTRY * 103 // 100
LAST_LONG, LAST_SHORT = ENTRY // 2, ENTRY * 3 // 2
ORDERS_A_MAKER = 90


def cash_for(thresholds: Int64s, lots: Int64s, side: int) -> Int64s:
    """(n,) money units with which a block is liquidated from `thresholds` (mark ticks) on (Q2).

    A long: cash + Q v m - C < Q v m a from m = threshold downwards, C = Q v ENTRY. Half a tick is
    left on both sides, so that the mark beside the threshold is safe.
    """
    value = lots * VALUE
    if side == Side.BUY:
        return value * ENTRY - value * (2 * thresholds + 1) * (10_000 - TRIGGER_E4) // 20_000
    return value * (2 * thresholds - 1) * (10_000 + TRIGGER_E4) // 20_000 - value * ENTRY


@dataclass(frozen=True)
class Zone:
    """Long blocks in line to be crossed: `count` of them between the marks top and bottom."""

    top: int
    bottom: int
    count: int


def zones(singles: int, many: int, laps: int) -> list[Zone]:
    """From the top: a tick with one block each, then `laps` stretches with `many` blocks each."""
    made = [Zone(FIRST_LONG - i, FIRST_LONG - i, 1) for i in range(singles)]
    top = FIRST_LONG - singles
    for _ in range(laps):
        made.append(Zone(top, top - workloads.LEVELS_A_SIDE + 1, many))
        top -= workloads.LEVELS_A_SIDE
    return made


class Crowd:
    """Accounts with one isolated block each, half long and half short, and makers who quote.

    blocks: how many are left when all of the others, which stand in line, have been liquidated.
    """

    def __init__(
        self, blocks: int, singles: int, many: int, laps: int, resting: int = workloads.RESTING
    ) -> None:
        self.rng = np.random.default_rng(blocks)
        self.resting = resting
        self.line = zones(singles * laps, many, laps)
        self.single_count = singles * laps
        self.single, self.zone = 0, self.single_count
        waiting = sum(zone.count for zone in self.line)
        self.longs = max(waiting, (blocks + waiting + 1) // 2)
        self.makers = 2 + resting // ORDERS_A_MAKER
        self.mark = ENTRY
        traders = 2 * self.longs
        self.engine = new_engine(traders + self.makers, orders=resting + 64)
        admit(self.engine, 0, traders, 1_000 * USD)
        admit(self.engine, traders, self.makers, 10_000_000 * USD)
        self.open_blocks()
        self.blocks = traders
        self.events = touched_events(4_096 + max(40 * many, 8 * traders))

    def open_blocks(self) -> None:
        """Each long block buys from the short block of its pair; margins are explicit."""
        waiting = np.concatenate([
            np.linspace(zone.top, zone.bottom, zone.count).astype(np.int64) for zone in self.line
        ])  # fmt: skip
        bottom = self.line[-1].bottom
        others = self.rng.integers(LAST_LONG, bottom, self.longs - len(waiting))
        long_marks = np.concatenate([waiting, others])
        short_marks = self.rng.integers(FIRST_SHORT, LAST_SHORT, self.longs)
        lots = self.rng.integers(1, MAX_LOTS + 1, self.longs)
        notional = lots * VALUE * ENTRY
        # Neighbors in the line are no neighbors in memory, as in a venue with a history.
        seats = self.rng.permutation(self.longs)
        now = self.engine.time_ns
        for start in range(0, self.longs, CHUNK):
            part = slice(start, start + CHUNK)
            terms = {
                "contract": 0, "price_ticks": ENTRY, "qty_lots": lots[part], "timestamp_ns": now,
                "exec_inst": "ISOLATED_MARGIN", "leverage": LEVERAGE,
            }  # fmt: skip
            short_cash = cash_for(short_marks[part], lots[part], Side.SELL)
            long_cash = cash_for(long_marks[part], lots[part], Side.BUY)
            feed(self.engine, in_pairs(
                commands.limit(
                    account=2 * seats[part] + 1, side="SELL", **terms,
                    isolated_margin_units=short_cash + notional[part] * MAKER_E4 // 10_000,
                ),
                commands.limit(
                    account=2 * seats[part], side="BUY", time_in_force="IOC", **terms,
                    isolated_margin_units=long_cash + notional[part] * TAKER_E4 // 10_000,
                ),
            ))  # fmt: skip

    @property
    def alive(self) -> int:
        """Blocks that have not been liquidated."""
        before = sum(zone.count for zone in self.line[self.single_count : self.zone])
        return self.blocks - self.single - before

    def quote(self, around: int) -> None:
        """All makers cancel and quote anew: half of `resting` orders on each side of a mark."""
        numbers = np.arange(self.makers) + 2 * self.longs
        now = self.engine.time_ns
        feed(self.engine, commands.cancel_all(account=numbers, timestamp_ns=now))
        count = self.resting // 2
        levels = workloads.LEVELS_A_SIDE
        for side, sign in (("BUY", -1), ("SELL", 1)):
            away = 1 + self.rng.exponential(levels / 4, count).astype(np.int64) % levels
            feed(self.engine, commands.limit(
                account=numbers[np.arange(count) % self.makers], contract=0, side=side,
                price_ticks=around + sign * away, qty_lots=self.rng.integers(1, 100, count),
                exec_inst="POST_ONLY", timestamp_ns=now,
            ))  # fmt: skip

    def run(self, batch: NDArray[np.void]) -> Callable[[], NDArray[np.void]]:
        """To be timed once: one call with the whole batch, returns the events."""
        engine, out = self.engine, self.events

        def run() -> NDArray[np.void]:
            applied, written = engine.apply(batch, out, ADMIN)
            assert applied == len(batch)
            assert written < len(out), "events are left behind"
            return out[:written]

        return run

    def move_to(self, marks: Any) -> NDArray[np.void]:
        """(n,) MARK commands."""
        return commands.mark(contract=0, mark_ticks=marks, timestamp_ns=self.engine.time_ns)

    def idle_marks(self, count: int) -> Callable[[], NDArray[np.void]]:
        """`count` marks that cross nobody: up and down, between the nearest thresholds."""
        at = self.mark + np.arange(count) % 2
        self.mark = int(at[-1])
        return self.run(self.move_to(at))

    def single_marks(self, count: int) -> Callable[[], NDArray[np.void]]:
        """`count` marks that cross one block each; the makers have quoted before."""
        line = self.line[self.single : self.single + count]
        self.single += count
        self.quote(line[-1].bottom)
        self.mark = line[-1].bottom
        return self.run(self.move_to(np.array([zone.bottom for zone in line])))

    def one_big_mark(self) -> Callable[[], NDArray[np.void]]:
        """One mark that crosses all blocks of the next zone; the makers have quoted before."""
        zone = self.line[self.zone]
        self.zone += 1
        self.quote(zone.bottom)
        self.mark = zone.bottom
        return self.run(self.move_to(zone.bottom))

    def settlement(self) -> Callable[[], NDArray[np.void]]:
        """SETTLE_SESSION after the mark has moved, so that every position has profit to roll."""
        self.mark += 1
        feed(self.engine, self.move_to(self.mark))
        return self.run(commands.settle_session(timestamp_ns=self.engine.time_ns))


def check_ledger(engine: Engine) -> None:
    """Not one unit of money or lot is missing (L1)."""
    sums = engine.audit()
    assert sums["USD"] == sums["USDC"] == 0
    assert not any(sums["positions"])


def check_liquidations(events: NDArray[np.void], count: int) -> None:
    """So many blocks were liquidated, all of them through the book, and nothing was refused."""
    kinds = np.bincount(events["kind"], minlength=32)
    assert kinds[EventKind.LIQUIDATED] == kinds[EventKind.BLOCK_CLOSED] == count
    assert kinds[EventKind.TAKEN_OVER] == kinds[EventKind.REJECT] == 0
    fills = events[events["kind"] == EventKind.FILL]
    closed = np.count_nonzero(fills["flags"] & FillFlag.FILL_LIQUIDATION)
    assert closed == len(fills) // 2 >= count


def check_settlement(events: NDArray[np.void], count: int) -> None:
    """One session ended and at least `count` units had profit or loss rolled."""
    kinds = np.bincount(events["kind"], minlength=32)
    assert kinds[EventKind.SESSION_SETTLED] == 1
    assert kinds[EventKind.REJECT] == kinds[EventKind.LIQUIDATED] == 0
    assert kinds[EventKind.BALANCE] >= count
