"""A crowd of isolated blocks whose liquidation marks are chosen, and makers who quote to them.

A mark crosses exactly as many blocks as a case says: blocks stand in line below the entry price, in
zones that a case goes down through, one mark after another.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import venue_loads
import workloads
from numpy.typing import NDArray
from venue_loads import ADMIN, CHUNK, ENTRY, LEVERAGE, USD, VALUE, Int64s, admit, feed, in_pairs

from perpcore import commands
from perpcore.codes import EventKind, FillFlag, Side
from perpcore.engine import Engine

#: Maintenance rate (half of 1 / 100) and fee reserve (taker 0.05 % + liquidation 0.5 %), in 1e-4.
TRIGGER_E4 = 50 + 55
TAKER_E4, MAKER_E4 = 5, 2
MAX_LOTS = 50
#: Liquidation marks begin 3 % from the entry, and the deepest are at half and one and a half of it.
FIRST_LONG, FIRST_SHORT = ENTRY * 97 // 100, ENTRY * 103 // 100
LAST_LONG, LAST_SHORT = ENTRY // 2, ENTRY * 3 // 2
ORDERS_A_MAKER = 180
#: Of isolated makers: what a fill adds to a block, it margins with a tenth.
MAKER_LEVERAGE = 10


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
class Stretch:
    """A lap of a case: `marks` marks, each of which crosses `crossed` blocks within `ticks`.

    isolated: the makers are isolated blocks, one order each, else main accounts.
    """

    marks: int
    crossed: int
    ticks: int = 1
    isolated: bool = False


@dataclass(frozen=True)
class Zone:
    """Long blocks in line to be crossed at once: between the marks top and bottom."""

    top: int
    bottom: int
    count: int


def zones(stretches: list[Stretch], laps: int) -> list[list[list[Zone]]]:
    """The zones of every stretch and lap, from the top."""
    top, line = FIRST_LONG, []
    for stretch in stretches:
        laps_of_it = []
        for _ in range(laps):
            lap = []
            for _ in range(stretch.marks):
                lap.append(Zone(top, top - stretch.ticks + 1, stretch.crossed))
                top -= stretch.ticks
            laps_of_it.append(lap)
        line.append(laps_of_it)
    return line


class Crowd:
    """Accounts with one isolated block each, half long and half short, and makers who quote.

    stretches: what will be crossed, `laps` times each and in this order; what a run leaves out is
    crossed before the next begins. blocks: how many are left after all of it, at least.
    isolated_makers: how many on each side, for stretches that want them. fund: USD of the insurance
    fund's opening. make: Engine, or its shape.
    """

    def __init__(
        self, blocks: int, stretches: list[Stretch], laps: int = 1, *,
        resting: int = workloads.RESTING, isolated_makers: int = 0,
        make: Callable[..., Any] = Engine, fund: int = 5_000_000,
    ) -> None:  # fmt: skip
        self.rng = np.random.default_rng(blocks)
        #: Bytes that the process has grown by, where somebody has measured it.
        self.resident = 0
        self.stretches, self.line = stretches, zones(stretches, laps)
        waiting = sum(zone.count for laps in self.line for lap in laps for zone in lap)
        self.longs = max(waiting, (blocks + waiting + 1) // 2)
        self.blocks = 2 * self.longs
        self.quoted = max(resting // 2, isolated_makers)
        self.mark = ENTRY
        makers = max(2, 2 * self.quoted // ORDERS_A_MAKER)
        self.makers = np.arange(makers) + self.blocks
        self.isolated = np.arange(2 * isolated_makers) + self.blocks + makers
        self.engine = venue_loads.new_engine(
            self.blocks + makers + len(self.isolated) + 2, 2 * self.quoted + 64, make, fund
        )
        admit(self.engine, 0, self.blocks, 1_000 * USD)
        admit(self.engine, self.blocks, makers, 5_000_000 * USD)
        admit(self.engine, self.blocks + makers, len(self.isolated), 100_000 * USD)
        self.open_blocks()
        self.open_makers()
        most = max((stretch.marks * stretch.crossed for stretch in stretches), default=0)
        self.events = venue_loads.touched_events(65_536 + 40 * most)

    def open_blocks(self) -> None:
        """Each long block buys from the short block of its pair; margins are explicit."""
        waiting = [
            np.linspace(zone.top, zone.bottom, zone.count).astype(np.int64)
            for laps in self.line for lap in laps for zone in lap
        ]  # fmt: skip
        count = sum(map(len, waiting))
        bottom = self.line[-1][-1][-1].bottom if count else FIRST_LONG
        others = self.rng.integers(LAST_LONG, bottom, self.longs - count)
        long_marks = np.concatenate([*waiting, others])
        short_marks = self.rng.integers(FIRST_SHORT, LAST_SHORT, self.longs)
        lots = self.rng.integers(1, MAX_LOTS + 1, self.longs)
        # Neighbors in the line are no neighbors in memory, as in a venue with a history.
        seats = self.rng.permutation(self.longs)
        for start in range(0, self.longs, CHUNK):
            part = slice(start, start + CHUNK)
            self.open_pairs(
                2 * seats[part], lots[part], LEVERAGE,
                cash_for(long_marks[part], lots[part], Side.BUY),
                cash_for(short_marks[part], lots[part], Side.SELL),
            )  # fmt: skip

    def open_pairs(
        self, buyers: Int64s, lots: Int64s, leverage: int, long_cash: Int64s, short_cash: Int64s
    ) -> None:
        """Blocks of accounts `buyers` and their neighbors, with so much cash after the fees."""
        notional = lots * VALUE * ENTRY
        terms = {
            "contract": 0, "price_ticks": ENTRY, "qty_lots": lots, "leverage": leverage,
            "timestamp_ns": self.engine.time_ns, "exec_inst": "ISOLATED_MARGIN",
        }  # fmt: skip
        feed(self.engine, in_pairs(
            commands.limit(
                account=buyers + 1, side="SELL", **terms,
                isolated_margin_units=short_cash + notional * MAKER_E4 // 10_000,
            ),
            commands.limit(
                account=buyers, side="BUY", time_in_force="IOC", **terms,
                isolated_margin_units=long_cash + notional * TAKER_E4 // 10_000,
            ),
        ))  # fmt: skip

    def open_makers(self) -> None:
        """Isolated makers hold a block each from the start: the even ones are long and bid."""
        buyers = self.isolated[::2]
        first = self.blocks + 1
        self.isolation_ids = first + np.arange(len(self.isolated)).reshape(-1, 2)[:, ::-1]
        lots = np.full(len(buyers), MAX_LOTS)
        cash = lots * VALUE * ENTRY // 5
        self.open_pairs(buyers, lots, MAKER_LEVERAGE, cash, cash)

    def quote(self, around: int, isolated: bool) -> None:
        """All makers cancel, and one kind quotes anew: so many orders on each side of a mark."""
        now = self.engine.time_ns
        everyone = np.concatenate([self.makers, self.isolated])
        feed(self.engine, commands.cancel_all(account=everyone, timestamp_ns=now))
        levels = workloads.LEVELS_A_SIDE
        for column, (side, sign) in enumerate((("BUY", -1), ("SELL", 1))):
            away = 1 + self.rng.exponential(levels / 4, self.quoted).astype(np.int64) % levels
            terms: dict[str, Any] = {"exec_inst": "POST_ONLY"}
            accounts = self.makers[np.arange(self.quoted) % len(self.makers)]
            if isolated:
                accounts = self.isolated[column::2]
                away = away[: len(accounts)]
                terms = {
                    "exec_inst": ("POST_ONLY", "ISOLATED_MARGIN"),
                    "isolation_id": self.isolation_ids[:, column],
                }
            feed(self.engine, commands.limit(
                account=accounts, contract=0, side=side, price_ticks=around + sign * away,
                qty_lots=self.rng.integers(1, 100, len(away)), timestamp_ns=now, **terms,
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

    def idle_marks(self, count: int) -> NDArray[np.void]:
        """(count,) marks that cross nobody: up and down, between the nearest thresholds."""
        at = self.mark + np.arange(count) % 2
        self.mark = int(at[-1])
        return self.move_to(at)

    def next_lap(self, stretch: int) -> NDArray[np.void]:
        """(marks,) the next lap of a stretch; the makers have quoted around its last mark."""
        for place in range(stretch):
            while self.line[place]:
                feed(self.engine, self.next_lap(place))
        lap = self.line[stretch].pop(0)
        self.mark = lap[-1].bottom
        self.quote(self.mark, self.stretches[stretch].isolated)
        return self.move_to(np.array([zone.bottom for zone in lap]))


def check_liquidations(events: NDArray[np.void], count: int) -> None:
    """So many blocks were liquidated, all of them through the book, and nothing was refused."""
    kinds = np.bincount(events["kind"], minlength=32)
    assert kinds[EventKind.LIQUIDATED] == kinds[EventKind.BLOCK_CLOSED] == count
    assert kinds[EventKind.TAKEN_OVER] == kinds[EventKind.REJECT] == 0
    fills = events[events["kind"] == EventKind.FILL]
    closed = np.count_nonzero(fills["flags"] & FillFlag.FILL_LIQUIDATION)
    assert closed == len(fills) // 2 >= count
