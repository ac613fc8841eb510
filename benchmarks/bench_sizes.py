"""Cost against size: orders, levels, accounts and blocks from a thousand to ten million.

Each point is the median ratio to the limit loop beside it, which stays on the standard mix; a flat
line is what should be seen. What grows is the memory that a command touches.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import crowds
import measure
import numpy as np
import venue_loads
import workloads
from measure import Round, Yardstick

from perpcore.book import BOOK_TRADE, OrderBook

SIZES = [10**n for n in range(3, 8)]
LEAST = 60
STRETCH = measure.scaled(20_000, 300)
RESTING = measure.scaled(workloads.RESTING, 200)
IDLE = measure.scaled(10_000, 20)

Facts = dict[str, Any]


def sizes() -> list[int]:
    return sorted({measure.scaled(size, LEAST) for size in SIZES})


def curve(benchmark: Any, name: str, over: str, point: Callable[[int], Facts]) -> None:
    """Measure at all sizes; one figure each."""

    def run() -> Facts:
        return {f"{size:,} {over}": {"per": name, **point(size)} for size in sizes()}

    measure.once(benchmark, run)
    found = benchmark.extra_info["figures"].values()
    benchmark.extra_info["curve"] = {
        "name": name, "over": over,
        "points": [
            [size, facts["ratio"], facts["ns"], facts["limit_ns"]]
            for size, facts in zip(sizes(), found, strict=True)
        ],
    }  # fmt: skip


def in_stretches(flow: workloads.Flow, check: Callable[[Any], None]) -> Callable[[Any], Round]:
    """A round of the book on the next stretch of a flow, beside the yardstick that is given."""
    book = OrderBook(flow.max_price_ticks, flow.capacity)
    book.apply(flow.before)
    stretch = len(flow.timed) // measure.ROUNDS
    left = [flow.timed[n * stretch :][:stretch] for n in reversed(range(measure.ROUNDS))]
    trades = np.ones(4 * 2 * stretch, np.uint64).view(BOOK_TRADE)
    statuses = np.ones(stretch, np.int32)

    def prepare(yardstick: Yardstick) -> Round:
        commands = left.pop()
        return Round(
            lambda: book.apply(commands, trades, statuses), stretch, yardstick.prepare(),
            yardstick.stretch, lambda applied, _: check(applied),
        )  # fmt: skip

    return prepare


def test_cost_against_orders(benchmark, yardstick):
    """So many orders on 1,000 levels: one leaves and one comes, anywhere."""

    def point(size: int) -> Facts:
        def check(applied: Any) -> None:
            assert not applied.statuses.any()
            assert len(applied.trades) == 0

        prepare = in_stretches(workloads.churn(measure.ROUNDS * STRETCH, size), check)
        return measure.rounds_of(lambda: prepare(yardstick))

    curve(benchmark, "book batch, a command", "orders", point)


def test_cost_against_levels(benchmark, yardstick):
    """One order a level: takers sweep the best, others come anywhere; most levels are empty."""

    def point(size: int) -> Facts:
        def check(applied: Any) -> None:
            assert not applied.statuses.any()
            assert len(applied.trades) == STRETCH // 2

        flow = workloads.sparse(
            measure.ROUNDS * STRETCH, resting=size, max_price=max(10_000_000, 4 * size)
        )
        prepare = in_stretches(flow, check)
        return measure.rounds_of(lambda: prepare(yardstick))

    curve(benchmark, "book batch, a command, one order a level", "levels", point)


def test_cost_against_accounts(benchmark, library):
    """The venue's batch of the standard mix, half of it isolated."""
    flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)

    def point(size: int) -> Facts:
        traffic = venue_loads.Traffic(flow, size, measure.ROUNDS, half_isolated=True)
        beside = Yardstick(library, flow, measure.ROUNDS)
        facts = measure.rounds_of(lambda: Round(
            traffic.prepare(), traffic.stretch, beside.prepare(), beside.stretch, traffic.check
        ))  # fmt: skip
        venue_loads.check(traffic.engine)
        return facts

    curve(benchmark, "venue batch, a command", "accounts", point)


def test_cost_against_blocks(benchmark, yardstick):
    """A mark that crosses none of so many isolated blocks."""

    def point(size: int) -> Facts:
        crowd = crowds.Crowd(size, [], resting=200)
        facts = measure.rounds_of(lambda: Round(
            crowd.run(crowd.idle_marks(IDLE)), IDLE, yardstick.prepare(), yardstick.stretch,
            lambda events, _: crowds.check_liquidations(events, 0),
        ))  # fmt: skip
        venue_loads.check(crowd.engine)
        return facts

    curve(benchmark, "mark that crosses nobody", "isolated blocks", point)
