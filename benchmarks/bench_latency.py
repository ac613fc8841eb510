"""Latency of single commands: the limit loop, the book and the venue, each call under one clock.

A batch hides what one command costs: it asks early for what comes next. Here every command is a
call of its own from C, no Python between two of them, between two readings of the processor's
clock; what two readings cost by themselves is taken off. All run the same flow in turns. Samples
go into HdrHistograms, which the JSON keeps whole.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import limit_loop
import measure
import numpy as np
import probe
import venue_loads
import workloads
from hdrh.histogram import HdrHistogram
from measure import Yardstick

from perpcore.book import BOOK_TRADE

PERCENTILES = (50.0, 99.0, 99.9)
MOST_FILLS = 8
ACCOUNTS = {"1k": measure.scaled(1_000, 60), "20k": measure.scaled(20_000, 60)}
STRETCH = measure.scaled(60_000, 300)
RESTING = measure.scaled(workloads.RESTING, 200)
PAST_ALL_NS = 10**10


class Series:
    """One side's samples: percentiles a round, and one HdrHistogram of all rounds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rounds: list[list[float]] = []
        self.histogram = HdrHistogram(1, PAST_ALL_NS, 3)

    def take(self, ns: Any) -> None:
        self.rounds.append(np.percentile(ns, PERCENTILES).tolist())
        values, counts = np.unique(np.maximum(np.rint(ns), 1).astype(np.int64), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.histogram.record_value(value, count)

    def beside(self, others: list[list[float]]) -> list[dict[str, float]]:
        """Of every percentile: medians over the rounds of both sides and of their ratio."""
        return [
            {
                "ratio": statistics.median(a / max(b, 1e-9) for a, b in zip(*pair, strict=True)),
                "ns": statistics.median(pair[0]), "limit_ns": statistics.median(pair[1]),
            }
            for pair in zip(zip(*self.rounds, strict=True), zip(*others, strict=True), strict=True)
        ]  # fmt: skip

    def facts(self) -> dict[str, Any]:
        return {
            "name": self.name, "samples": self.histogram.get_total_count(),
            "percentiles": PERCENTILES, "rounds_ns": self.rounds,
            "most_ns": self.histogram.get_max_value(), "hdr_v2": self.histogram.encode().decode(),
        }  # fmt: skip


class Runs:
    """Limit loop, book and venues on one flow, a stretch of it in every round."""

    def __init__(self) -> None:
        self.flow = flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)
        self.trades = [
            np.ones(4 * (flow.capacity + 2 * STRETCH), np.uint64).view(BOOK_TRADE) for _ in range(2)
        ]
        self.limit = limit_loop.LimitBook(probe.library(), flow.max_price_ticks, flow.max_id)
        self.limit.apply(flow.before, self.trades[0])
        self.book = probe.book().OrderBook(flow.max_price_ticks, flow.capacity)
        self.book.apply(flow.before)
        self.venues = {
            name: venue_loads.Traffic(
                flow, accounts, measure.ROUNDS, probe.engine().Engine, half_isolated=True
            )
            for name, accounts in ACCOUNTS.items()
        }
        self.yardstick = Yardstick(probe.library(), flow, measure.ROUNDS)
        #: Of the limit loop in one call, the measure of times: a round each.
        self.batch_ns: list[float] = []
        self.ticks = np.ones(STRETCH, np.uint64)
        self.fills = np.ones(STRETCH, np.uint32)
        self.statuses = np.ones(STRETCH, np.int32)
        self.series = {name: Series(name) for name in ("limit loop", "book")}
        self.series |= {
            name: Series(f"venue, {accounts:,} accounts, <= {MOST_FILLS} fills")
            for name, accounts in ACCOUNTS.items()
        }

    def through_limit(self, commands: Any) -> Any:
        made = probe.library().latency_limit(
            self.limit.handle, commands.ctypes.data, STRETCH, self.trades[0].ctypes.data,
            self.ticks.ctypes.data,
        )  # fmt: skip
        self.series["limit loop"].take(probe.clock().ns(self.ticks))
        return self.trades[0][:made]

    def through_book(self, commands: Any, expected: Any) -> None:
        made = probe.book().timed_calls(
            self.book, commands, self.trades[1], self.statuses, self.ticks
        )
        self.series["book"].take(probe.clock().ns(self.ticks))
        assert np.array_equal(self.trades[1][:made], expected)

    def through_venue(self, name: str, expected: Any) -> None:
        traffic = self.venues[name]
        used = probe.engine().timed_calls(
            traffic.engine, traffic.next_stretch(), traffic.out, self.ticks, self.fills
        )
        self.series[name].take(probe.clock().ns(self.ticks)[self.fills <= MOST_FILLS])
        traffic.check(traffic.out[:used], expected)

    def round(self, number: int) -> None:
        """All of them once; the results are compared after each clock has stopped."""
        measure.Quiet.wait()
        commands = self.flow.timed[number * STRETCH :][:STRETCH]
        spent, _ = measure.timed(self.yardstick.prepare())
        self.batch_ns.append(spent / self.yardstick.stretch)
        expected = self.through_limit(commands)
        self.through_book(commands, expected)
        for name in self.venues:
            self.through_venue(name, expected)

    def figures(self) -> dict[str, Any]:
        """The book's percentiles by the limit's own, the venue's in limit loops of a batch."""
        found: dict[str, Any] = {}
        limit = self.series["limit loop"].rounds
        names = [f"p{p:g}" for p in PERCENTILES]
        batch = [[ns] * len(names) for ns in self.batch_ns]
        for name, facts in zip(names, self.series["book"].beside(limit), strict=True):
            found[f"book, {name}"] = facts | {"per": "command", "beside": "the limit's"}
        for venue in self.venues:
            for name, facts in zip(names, self.series[venue].beside(batch), strict=True):
                found[f"venue, {venue}, {name}"] = facts | {"per": "command"}
        for name, facts in zip(names, self.series["limit loop"].beside(batch), strict=True):
            found[f"limit loop, {name}"] = facts | {"per": "command"}
        return found


def test_latency(benchmark):
    """Commands of the standard mix, half of the venue's isolated, with at most 8 fills each."""
    runs = Runs()

    def run() -> dict[str, Any]:
        for number in range(measure.ROUNDS):
            runs.round(number)
        return runs.figures()

    measure.once(benchmark, run, clock_ns=probe.clock().empty_ns)
    benchmark.extra_info["batch_ns"] = runs.batch_ns
    benchmark.extra_info["series"] = [series.facts() for series in runs.series.values()]
    for traffic in runs.venues.values():
        venue_loads.check(traffic.engine)


def test_steady_state(benchmark):
    """Allocations and page faults while orders flow, in a process whose allocator counts."""
    shim = probe.preload()

    def run() -> dict[str, Any]:
        told = subprocess.run(
            [sys.executable, str(Path(__file__).with_name("steady.py")), str(shim)], check=True,
            capture_output=True, text=True, env={**os.environ, "LD_PRELOAD": str(shim)},
        )  # fmt: skip
        found = json.loads(told.stdout)
        allocations, faults = (sum(column) for column in zip(*found["grown"], strict=True))
        return {
            "allocations": {"value": allocations, "unit": "", "rounds": found["grown"]},
            "page faults": {"value": faults, "unit": ""},
            "commands": {"value": found["stretch"] * len(found["grown"]), "unit": ""},
        }

    measure.once(benchmark, run)
