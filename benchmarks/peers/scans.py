"""Who is below maintenance at a mark: a Python loop, numpy, the margin batch, a venue's mark.

The first three look at every position. The venue does not: it keeps every unit's threshold in
order, and a mark that crosses nobody looks at none of them. All of it is exact; numpy's int64 has
room for it only because these positions are small, which `Positions` makes sure of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import crowds
import measure
import numpy as np
import venue_loads

from perpcore.contracts import BTCUSD_PERP
from perpcore.margin import MarginTerms

SCALE = 10_000


class Positions:
    """(n,) random isolated positions of BTCUSD-PERP around a mark; about one in fifty is below."""

    def __init__(self, count: int) -> None:
        rng = np.random.default_rng(7)
        self.terms = MarginTerms.from_record(BTCUSD_PERP.terms()[0])
        lots = rng.integers(1, crowds.MAX_LOTS + 1, count)
        rates = {self.terms.trigger_rate(int(size)) for size in np.unique(lots)}
        assert len(rates) == 1, "one rate for all sizes, or the loops below are wrong"
        self.trigger = int(rates.pop() * SCALE)
        self.mark = venue_loads.ENTRY
        self.lots = np.where(rng.random(count) < 0.5, lots, -lots)
        entries = rng.integers(self.mark * 97 // 100, self.mark * 103 // 100, count)
        self.cost = self.lots * venue_loads.VALUE * entries
        self.cash = np.abs(self.cost) // 25
        self.rows = list(
            zip(self.cash.tolist(), self.lots.tolist(), self.cost.tolist(), strict=True)
        )

    def loop(self, mark: int) -> list[bool]:
        value, trigger = venue_loads.VALUE, self.trigger
        return [
            (cash + lots * value * mark - cost) * SCALE < abs(lots) * value * mark * trigger
            for cash, lots, cost in self.rows
        ]

    def numpy(self, mark: int) -> Any:
        worth = self.lots * (venue_loads.VALUE * mark)
        return (self.cash + worth - self.cost) * SCALE < np.abs(worth) * self.trigger

    def batch(self, mark: int) -> Any:
        return self.terms.below_maintenance(self.cash, self.lots, self.cost, mark)


def scans(count: int, marks: int) -> list[tuple[str, str, float]]:
    """(who, what it leaves out, median ns a mark) over the rounds, all in turns."""
    positions = Positions(count)
    crowd = crowds.Crowd(count, [], resting=measure.scaled(1_000, 200))
    ways: list[tuple[str, str, Callable[[int], Any]]] = [
        ("plain Python loop", "one position a unit; finds, does not act", positions.loop),
        ("numpy, int64", "the same, and silent overflow on large positions", positions.numpy),
        ("perpcore margin batch", "one position a unit; finds, does not act", positions.batch),
    ]
    times: dict[str, list[float]] = {name: [] for name, _, _ in ways}
    venue: list[float] = []
    for number in range(measure.ROUNDS):
        mark, answers = positions.mark + number, []
        for name, _, way in ways:
            spent, answer = measure.timed(lambda way=way, mark=mark: way(mark))
            times[name].append(spent)
            answers.append(np.asarray(answer))
        assert answers[0].any(), "a scan that finds nobody proves nothing"
        assert all(np.array_equal(answers[0], other) for other in answers[1:])
        spent, events = measure.timed(crowd.run(crowd.idle_marks(marks)))
        crowds.check_liquidations(events, 0)
        venue.append(spent / marks)
    rows = [(name, less, float(np.median(times[name]))) for name, less, _ in ways]
    rows.append((
        "perpcore venue, a mark that crosses nobody", "nothing: it would close who is below",
        float(np.median(venue)),
    ))  # fmt: skip
    return rows
