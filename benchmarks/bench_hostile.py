"""Order flow that means harm: storms of amends, self-trades, cancels of what is gone.

Each is compared with the standard mix in a venue of as many accounts, half of it isolated, per unit
of work: a command, a fill, or a price level that goes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import measure
import numpy as np
import pytest
import venue_loads
import workloads
from measure import Round
from numpy.typing import NDArray
from venue_loads import ENTRY, USD, admit, feed

from perpcore import commands
from perpcore.codes import Code, EventKind

ACCOUNTS = measure.scaled(1_000, 60)
RESTING = measure.scaled(workloads.RESTING, 200)
STRETCH = measure.scaled(60_000, 330)
LEVELS = workloads.LEVELS_A_SIDE
#: Own orders that one order meets; times each order is cancelled.
MET, REPEATED = 8, 5
REFUSALS = (Code.SELF_TRADE_PREVENTED, Code.INVALID_ORDER_ID)


class Storm:
    """A venue of flat cross accounts; each kind of harm is (commands, work, refusals)."""

    def __init__(self) -> None:
        self.rng = np.random.default_rng(11)
        self.engine = venue_loads.new_engine(ACCOUNTS, 2 * STRETCH + RESTING + 64)
        admit(self.engine, 0, ACCOUNTS, 1_000_000 * USD)
        self.out = venue_loads.touched_events(24 * STRETCH)

    def rest(self, count: int) -> tuple[Any, Any, Any]:
        """Place so many orders on 1,000 levels, not timed: their (accounts, ids, sides)."""
        accounts = np.arange(count) % ACCOUNTS
        sides = np.where(np.arange(count) // ACCOUNTS % 2, "BUY", "SELL")
        first = self.engine.seq + 1
        feed(self.engine, commands.limit(
            account=accounts, contract=0, side=sides, price_ticks=self.prices(sides),
            qty_lots=10, timestamp_ns=self.engine.time_ns,
        ))  # fmt: skip
        return accounts, first + np.arange(count), sides

    def prices(self, sides: Any) -> Any:
        away = 100 + self.rng.integers(1, LEVELS + 1, len(sides))
        return ENTRY + np.where(sides == "SELL", away, -away)

    def clear(self) -> None:
        feed(self.engine, commands.cancel_all(
            account=np.arange(ACCOUNTS), timestamp_ns=self.engine.time_ns
        ))  # fmt: skip

    def amends(self) -> tuple[NDArray[np.void], int, int]:
        """Orders of a full book move to new prices, again and again."""
        accounts, ids, sides = self.rest(RESTING)
        drawn = self.rng.integers(0, RESTING, STRETCH)
        batch = commands.amend(
            account=accounts[drawn], order_id=ids[drawn], price_ticks=self.prices(sides[drawn]),
            timestamp_ns=self.engine.time_ns,
        )  # fmt: skip
        return batch, STRETCH, 0

    def self_trades(self) -> tuple[NDArray[np.void], int, int]:
        """Sells on levels of their own; a buy that meets them is refused, one that ends them rests
        and is cancelled."""
        self.rest(RESTING)
        group = MET + 3
        count = STRETCH // group
        accounts, now = np.arange(count) % ACCOUNTS, self.engine.time_ns
        terms: dict[str, Any] = {"account": accounts, "contract": 0, "timestamp_ns": now}
        columns = [
            commands.limit(side="SELL", price_ticks=ENTRY + n + 1, qty_lots=10, **terms)
            for n in range(MET)
        ]
        buy = {"side": "BUY", "price_ticks": ENTRY + MET, "qty_lots": 10 * MET, **terms}
        last = self.engine.seq + group * np.arange(count) + group - 1
        columns += [
            commands.limit(time_in_force="IOC", **buy),
            commands.limit(stp="M", **buy),
            commands.cancel(account=accounts, order_id=last, timestamp_ns=now),
        ]
        return np.stack(columns, axis=1).reshape(-1), count * (group + MET + 1), count

    def repeated_cancels(self) -> tuple[NDArray[np.void], int, int]:
        """Every order is cancelled five times, in no order."""
        count = STRETCH // REPEATED
        accounts, ids, _ = self.rest(count)
        drawn = self.rng.permutation(np.repeat(np.arange(count), REPEATED))
        batch = commands.cancel(
            account=accounts[drawn], order_id=ids[drawn], timestamp_ns=self.engine.time_ns
        )
        # Levels that go are not counted: at most 1,000.
        return batch, len(batch), len(batch) - count


@pytest.fixture(scope="module")
def friendly():
    """(traffic, its mean work a lap): the standard mix, laps for every kind of harm."""
    laps = 3 * measure.ROUNDS
    flow = workloads.standard(STRETCH // 3 * laps, resting=RESTING)
    traffic = venue_loads.Traffic(flow, ACCOUNTS, laps, half_isolated=True)
    return traffic, workloads.units_of_work(flow) / laps


@pytest.mark.parametrize(
    "kind", ["amends", "self_trades", "repeated_cancels"],
    ids=["amends", "self trades", "repeated cancels"],
)  # fmt: skip
def test_venue_under_a_storm(benchmark, friendly, kind):
    traffic, work_a_lap = friendly
    storm = Storm()
    make: Callable[[], Any] = getattr(storm, kind)

    def prepare():
        storm.clear()
        batch, work, refused = make()

        def run():
            applied, written = storm.engine.apply(batch, storm.out, 0)
            assert applied == len(batch)
            assert written < len(storm.out), "events are left behind"
            return storm.out[:written]

        def check(events, _):
            rejects = events[events["kind"] == EventKind.REJECT]
            assert len(rejects) == refused
            assert np.all(np.isin(rejects["code"], REFUSALS))

        return Round(run, work, traffic.prepare(), work_a_lap, check)

    measure.compare(
        benchmark, prepare, "unit of work", beside="the standard mix", accounts=ACCOUNTS
    )
    venue_loads.check(storm.engine)
