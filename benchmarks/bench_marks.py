"""Marks over a million and over ten million isolated blocks, that liquidate nobody or k of them.

Every liquidation goes through the book: the block is closed against makers' orders (1 to 2 fills
each), fees are taken, its rest goes to the fund, events are written. Makers are 100 main accounts,
or 10,000 isolated blocks a side with one order each.
"""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from typing import Any

import crowds
import measure
import numpy as np
import probe
import pytest
import venue_loads
import workloads
from crowds import Crowd, Stretch
from measure import Round

from perpcore.codes import Kind

RESTING = measure.scaled(workloads.RESTING, 200)
IDLE = measure.scaled(10_000, 20)
#: Calls of a round, with the same marks: one takes a third of a millisecond, less than what others
#: take away from a processor at a time.
IDLE_CALLS = 10
REKEYED = measure.scaled(100_000, 50)
#: Money units that bring the threshold of every block nearer, that of the largest by 3 mark ticks.
NEARER = 3 * crowds.MAX_LOTS * venue_loads.VALUE
ISOLATED_MAKERS = measure.scaled(10_000, 30)
SINGLES, HUNDREDS, MANY = 0, 1, 2
MANY_ISOLATED = 3
STRETCHES = [
    Stretch(measure.scaled(200, 2), 1),
    Stretch(measure.scaled(20, 2), measure.scaled(100, 10), ticks=20),
    Stretch(1, measure.scaled(10_000, 20), ticks=workloads.LEVELS_A_SIDE),
    Stretch(1, measure.scaled(10_000, 20), ticks=workloads.LEVELS_A_SIDE, isolated=True),
]
SIZES = {"1M": measure.scaled(1_000_000, 200), "10M": measure.scaled(10_000_000, 400)}


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def made(size: str) -> Crowd:
    return Crowd(
        SIZES[size], STRETCHES, measure.ROUNDS + 1, resting=RESTING,
        isolated_makers=ISOLATED_MAKERS, make=probe.engine().Engine,
    )  # fmt: skip


@pytest.fixture(scope="module")
def million():
    return made("1M")


@pytest.fixture(scope="module")
def ten_million():
    gc.collect()
    before = resident()
    crowd = made("10M")
    gc.collect()
    crowd.resident = resident() - before - crowd.events.nbytes
    return crowd


@pytest.fixture(params=SIZES)
def crowd(request):
    return request.getfixturevalue({"1M": "million", "10M": "ten_million"}[request.param])


@pytest.fixture(scope="module")
def thousand():
    return Crowd(measure.scaled(1_000, 100), [], resting=200)


def test_memory_of_records(benchmark, crowd):
    """What is kept for an order and a block, and what is needed to find them."""

    def run() -> dict[str, Any]:
        found = probe.engine().memory(crowd.engine, 0)
        of_order = found["venue order"] + found["order ids"] + found["client ids"]
        return {
            "book order": {"value": found["book order"], "unit": "B"},
            "book order and what finds its id": {
                "value": found["book order"] + found["order ids"], "unit": "B",
            },
            "venue order with all ids": {"value": of_order, "unit": "B"},
            "block": {"value": found["block"], "unit": "B"},
            "threshold of a block": {"value": found["threshold"], "unit": "B"},
        }  # fmt: skip

    measure.once(benchmark, run)


def test_memory_of_ten_million_blocks(benchmark, ten_million):
    """What the process has grown by with them, their main accounts and the makers included."""
    size = ten_million.resident
    measure.once(benchmark, lambda: {
        "resident": {"value": size / 2**30, "unit": "GiB"},
        "a block and its account": {"value": size / ten_million.blocks, "unit": "B"},
    })  # fmt: skip


def no_liquidations(events: Any, _: Any) -> None:
    crowds.check_liquidations(events, 0)


def alone(crowd, marks):
    """Every mark as a call of its own: (events, figures), its p99 and the worst in microseconds."""
    ticks, fills = np.ones(len(marks), np.uint64), np.ones(len(marks), np.uint32)
    used = probe.engine().timed_calls(
        crowd.engine, marks, crowd.events, ticks, fills, venue_loads.ADMIN
    )
    us = probe.clock().ns(ticks) / 1_000
    return crowd.events[:used], {
        "p99 tick": {"value": float(np.percentile(us, 99)), "unit": "us"},
        "worst tick": {"value": float(us.max()), "unit": "us"},
    }  # fmt: skip


def idle_calls(crowd):
    """To be timed once: returns the events of the last call."""
    run = crowd.run(crowd.idle_marks(IDLE))
    return lambda: [run() for _ in range(IDLE_CALLS)][-1]


def test_mark_that_crosses_nobody(benchmark, yardstick, crowd):
    """Many marks in one call, up and down between the nearest thresholds."""

    def prepare():
        return Round(
            idle_calls(crowd), IDLE_CALLS * IDLE, yardstick.prepare(), yardstick.stretch,
            no_liquidations,
        )  # fmt: skip

    measure.compare(benchmark, prepare, "mark", blocks=crowd.blocks)
    events, figures = alone(crowd, crowd.idle_marks(IDLE))
    no_liquidations(events, None)
    benchmark.extra_info["figures"] = figures
    venue_loads.check(crowd.engine)


def test_mark_that_crosses_nobody_10M_to_1k_blocks(benchmark, ten_million, thousand):
    """How flat it is: the same marks over ten million blocks and over a thousand."""

    def prepare():
        def check(ours, others):
            no_liquidations(ours, None)
            no_liquidations(others, None)

        return Round(
            idle_calls(ten_million), IDLE_CALLS * IDLE,
            idle_calls(thousand), IDLE_CALLS * IDLE, check,
        )  # fmt: skip

    measure.compare(benchmark, prepare, "mark", beside="1k blocks", blocks=ten_million.blocks)


def test_mark_as_one_python_call(benchmark, yardstick, million):
    """`Engine.call` in a loop that makes the fields, its code read; nobody is crossed."""
    call, kind = million.engine.call, int(Kind.MARK)

    def prepare():
        marks = million.idle_marks(IDLE)["mark_ticks"].tolist()

        def run():
            refused = 0
            for mark in marks:
                fields = (None, 0, 0, 0, 0, 0, 0, kind, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mark)
                code, _ = call(fields, venue_loads.ADMIN)
                refused += code
            return refused

        def check(refused, _):
            assert refused == 0

        return Round(run, IDLE, yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, "call", blocks=million.blocks)
    venue_loads.check(million.engine)


def some_blocks(crowd, count):
    """(count,) accounts whose short block no mark has crossed, in no order."""
    places = np.random.default_rng(count).permutation(crowd.longs)[:count]
    return (2 * places + 1).astype(np.uint32)


def give_back(crowd, accounts, units):
    """The money that the rounds took, and the keys as they are without it."""
    probe.engine().take_cash(crowd.engine, accounts, -measure.ROUNDS * units)
    probe.engine().begin_filing(crowd.engine, accounts)
    probe.engine().end_filing(crowd.engine)
    venue_loads.check(crowd.engine)


def test_rekey_of_a_threshold_in_a_batch(benchmark, yardstick, crowd):
    """What moves a unit's money files it anew; here nothing but the filing is timed.

    As when one command has changed so many units: it has written them down before the clock runs.
    Each time the thresholds have come nearer by three mark ticks and more.
    """
    timed, accounts = probe.engine(), some_blocks(crowd, REKEYED)
    nearer = np.full(REKEYED, NEARER)

    def prepare():
        timed.take_cash(crowd.engine, accounts, nearer)
        timed.begin_filing(crowd.engine, accounts)
        return Round(
            lambda: timed.end_filing(crowd.engine), REKEYED,
            yardstick.prepare(), yardstick.stretch, lambda _, __: None,
        )  # fmt: skip

    measure.compare(benchmark, prepare, "threshold", blocks=crowd.blocks)
    give_back(crowd, accounts, nearer)


def test_rekey_of_a_threshold_alone(benchmark, yardstick, crowd):
    """As when each is a command's own work: nothing was asked for early, its memory is cold."""
    timed, accounts = probe.engine(), some_blocks(crowd, REKEYED)
    nearer, ticks = np.full(REKEYED, NEARER), np.zeros(REKEYED, np.uint64)

    def run():
        rounds = []
        for _ in range(measure.ROUNDS):
            measure.Quiet.wait()
            timed.take_cash(crowd.engine, accounts, nearer)
            limit_ns, _ = measure.timed(yardstick.prepare())
            timed.timed_filing(crowd.engine, accounts, ticks)
            found = np.percentile(probe.clock().ns(ticks), (50, 99))
            rounds.append([(ns, limit_ns / yardstick.stretch) for ns in found.tolist()])
        return {
            name: measure.facts(list(column)) | {"per": "threshold"}
            for name, column in zip(("p50", "p99"), zip(*rounds, strict=True), strict=True)
        }

    measure.once(benchmark, run)
    give_back(crowd, accounts, nearer)


def liquidations(benchmark, yardstick, crowd, stretch):
    """Time one lap of a stretch a round, as one call; one operation is a liquidation."""
    count = STRETCHES[stretch].marks * STRETCHES[stretch].crossed

    def prepare():
        return Round(
            crowd.run(crowd.next_lap(stretch)), count, yardstick.prepare(), yardstick.stretch,
            lambda events, _: crowds.check_liquidations(events, count),
        )  # fmt: skip

    measure.compare(benchmark, prepare, "liquidation", blocks=crowd.blocks, crossed=count)
    events, figures = alone(crowd, crowd.next_lap(stretch))
    crowds.check_liquidations(events, count)
    benchmark.extra_info["figures"] = {"worst tick": figures["worst tick"]}
    venue_loads.check(crowd.engine)


def test_mark_that_liquidates_1(benchmark, yardstick, crowd):
    liquidations(benchmark, yardstick, crowd, SINGLES)


def test_mark_that_liquidates_100(benchmark, yardstick, crowd):
    liquidations(benchmark, yardstick, crowd, HUNDREDS)


def test_mark_that_liquidates_10k_with_100_makers(benchmark, yardstick, crowd):
    liquidations(benchmark, yardstick, crowd, MANY)


def test_mark_that_liquidates_10k_with_10k_isolated_makers(benchmark, yardstick, crowd):
    liquidations(benchmark, yardstick, crowd, MANY_ISOLATED)
