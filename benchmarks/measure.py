"""What every benchmark shares: sizes, and rounds in which ours and the limit loop take turns."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import limit_loop
import numpy as np
import workloads

from perpcore.book import BOOK_TRADE

#: All sizes are multiplied by it: the test suite runs every case tiny, so that none can rot.
SCALE = float(os.environ.get("PERPCORE_BENCH_SCALE", "1"))
ROUNDS = 7
#: Those that this process may use, four at most; none where a thread cannot choose one.
PROCESSORS = sorted(os.sched_getaffinity(0))[-4:] if hasattr(os, "sched_setaffinity") else []
#: A processor is quiet where a little loop takes at most so many times its best.
QUIET = 1.15
#: Seconds that one round may wait for a quiet processor.
LONGEST_WAIT_S = 0.25
#: Where results go; the test suite sends those of its tiny runs elsewhere.
OUT = Path(os.environ.get("PERPCORE_BENCH_OUT", Path(__file__).resolve().parents[1] / "out"))


def scaled(size: int, least: int) -> int:
    """A size of the full benchmark at the scale of this run, never below `least`."""
    return max(least, int(size * SCALE))


class Yardstick:
    """The limit loop on consecutive stretches of one flow: the machine's speed at this moment."""

    def __init__(self, library: Any, flow: workloads.Flow, laps: int) -> None:
        self.library, self.flow, self.laps = library, flow, laps
        self.stretch = len(flow.timed) // laps
        self.trades = np.zeros(flow.capacity + 2 * max(self.stretch, flow.capacity), BOOK_TRADE)
        # Touched now, or the first lap would pay for the pages.
        self.trades["qty_lots"] = 1
        self.done = laps

    def prepare(self) -> Callable[[], Any]:
        """The next lap, to be timed once: applies `stretch` commands and returns the trades."""
        if self.done == self.laps:
            self.book = limit_loop.LimitBook(
                self.library, self.flow.max_price_ticks, self.flow.max_id
            )
            self.book.apply(self.flow.before, self.trades)
            self.done = 0
        commands = self.flow.timed[self.done * self.stretch :][: self.stretch]
        self.done += 1
        return lambda: self.trades[: self.book.apply(commands, self.trades)]


@dataclass
class Round:
    """One run of ours, `count` operations, beside one of the limit loop, `limit_count` commands.

    check(ours, limit) sees what both returned after the clock has stopped.
    """

    run: Callable[[], Any]
    count: int
    limit: Callable[[], Any]
    limit_count: int
    check: Callable[[Any, Any], None]
    results: list[Any] = field(default_factory=list)
    ns: tuple[float, float] = (0.0, 0.0)

    def take(self, limit_first: bool) -> None:
        """Time both. The one that goes second finds warmer caches, so they take turns."""
        if limit_first:
            (limit_ns, limit), (ours_ns, ours) = timed(self.limit), timed(self.run)
        else:
            (ours_ns, ours), (limit_ns, limit) = timed(self.run), timed(self.limit)
        self.results = [ours, limit]
        self.ns = (ours_ns / self.count, limit_ns / self.limit_count)

    def verify(self) -> None:
        """What was timed is what should have happened."""
        self.check(*self.results)


def timed(run: Callable[[], Any]) -> tuple[int, Any]:
    """Nanoseconds of this thread's processor time: waiting for a busy machine's core is not ours.

    A lap of the limit loop is a millisecond; on the wall clock one lost time slice is five of it.
    """
    start = time.thread_time_ns()
    result = run()
    return time.thread_time_ns() - start, result


class Quiet:
    """Which processor others leave to this process, and for how many seconds it will still wait."""

    best_ns = float("inf")
    patience_s = 30.0 * SCALE

    @classmethod
    def slowness(cls) -> dict[int, float]:
        """By processor, how many times its best a little loop takes there now."""
        found = {}
        for processor in PROCESSORS:
            os.sched_setaffinity(0, {processor})
            found[processor] = min(timed(lambda: sum(range(20_000)))[0] for _ in range(4))
        cls.best_ns = min(cls.best_ns, *found.values())
        return {processor: ns / cls.best_ns for processor, ns in found.items()}

    @classmethod
    def wait(cls) -> None:
        """Until a processor is quiet or patience ends; this thread goes to the quickest one.

        Processors that share their core with another's work are slow for parts of a second. Code
        that waits for memory feels it less than code that does not, so that ratios move.
        """
        start = time.monotonic()
        while PROCESSORS:
            found = cls.slowness()
            os.sched_setaffinity(0, {min(PROCESSORS, key=lambda processor: found[processor])})
            spent = time.monotonic() - start
            if min(found.values()) <= QUIET or spent > min(cls.patience_s, LONGEST_WAIT_S):
                cls.patience_s -= spent
                break
            time.sleep(0.01)


def facts(rounds: list[tuple[float, float]]) -> dict[str, Any]:
    """Median of the rounds' ratios, medians of both sides, and the rounds themselves."""
    return {
        "ratio": statistics.median(ours / limit for ours, limit in rounds),
        "ns": statistics.median(ours for ours, _ in rounds),
        "limit_ns": statistics.median(limit for _, limit in rounds),
        "rounds_ns": [[round(value, 2) for value in pair] for pair in rounds],
    }


def rounds_of(prepare: Callable[[], Round], rounds: int = ROUNDS) -> dict[str, Any]:
    """Prepare, time and verify so many rounds; their `facts`."""
    found = []
    for number in range(rounds):
        Quiet.wait()
        this = prepare()
        this.take(limit_first=number % 2 == 1)
        this.verify()
        found.append(this.ns)
    return facts(found)


def compare(benchmark: Any, prepare: Callable[[], Round], per: str, **more: Any) -> None:
    """`rounds_of` under pytest-benchmark; what it found goes into `extra_info`.

    per: what one operation is. more: sizes and names that belong to the case; `beside` when the
    other side of the rounds is not the limit loop; `figures` by name for what else it has found.
    """
    found: list[tuple[float, float]] = []

    def setup() -> tuple[tuple[Round], dict[str, Any]]:
        Quiet.wait()
        return (prepare(),), {}

    def both(this: Round) -> None:
        this.take(limit_first=len(found) % 2 == 1)
        found.append(this.ns)

    benchmark.pedantic(
        both, setup=setup, teardown=lambda this: this.verify(), rounds=ROUNDS, iterations=1
    )
    benchmark.extra_info.update(per=per, **more, **facts(found))


def once(benchmark: Any, run: Callable[[], dict[str, Any]], **more: Any) -> None:
    """A case with rounds of its own: `run` returns its figures by name."""
    benchmark.extra_info.update(figures=benchmark.pedantic(run, rounds=1, iterations=1), **more)
