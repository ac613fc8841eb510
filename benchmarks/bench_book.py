"""The order book against the limit loop, on populated books, interleaved in every round.

Run: `pytest benchmarks/bench_book.py --benchmark-json=book.json`. Milliseconds differ between
machines and hours; what counts is `ratio` in extra_info, the median over the rounds of book / limit
loop, both timed in the same round. PERPCORE_BENCH_COMMANDS sets the length of a run.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import limit_loop
import workloads

from perpcore.book import BOOK_TRADE, BookKind, OrderBook
from perpcore.codes import Side

COMMANDS = int(os.environ.get("PERPCORE_BENCH_COMMANDS", "400000"))
ROUNDS = 9


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    return limit_loop.build(tmp_path_factory.mktemp("limit"))


@pytest.fixture(scope="session")
def standard():
    return workloads.standard(COMMANDS, resting=min(workloads.RESTING, COMMANDS))


def batch(flow):
    """(run, book): one call for the whole flow."""
    book = OrderBook(flow.max_price_ticks, flow.capacity)
    book.apply(flow.before)
    trades = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
    statuses = np.zeros(len(flow.timed), np.int32)

    def run():
        return book.apply(flow.timed, trades, statuses).trades

    return run, book


def one_by_one(flow):
    """(run, book): one call an order, with the loop that makes them."""
    book = OrderBook(flow.max_price_ticks, flow.capacity)
    book.apply(flow.before)
    add, cancel, new = book.add, book.cancel, int(BookKind.BOOK_NEW)
    names = ("kind", "order_id", "side", "price_ticks", "qty_lots", "time_in_force")
    rows = list(zip(*(flow.timed[name].tolist() for name in names), strict=True))

    def run():
        for kind, order_id, side, price_ticks, qty_lots, time_in_force in rows:
            if kind == new:
                add(order_id, side, price_ticks, qty_lots, 1, time_in_force)
            else:
                cancel(order_id)

    return run, book


def limit(library, flow):
    book = limit_loop.LimitBook(library, flow.max_price_ticks, flow.max_id)
    trades = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
    book.apply(flow.before, trades)

    def run():
        return trades[: book.apply(flow.timed, trades)]

    return run, book


def timed(run):
    start = time.perf_counter_ns()
    result = run()
    return time.perf_counter_ns() - start, result


def check_equal(book, limit_book):
    """The two final books are the same, order by order."""
    for side in (Side.BUY, Side.SELL):
        orders, (ids, lots) = book.orders(side), limit_book.queue(side)
        assert np.array_equal(orders["order_id"], ids)
        assert np.array_equal(orders["qty_lots"], lots)
        assert book.qty_lots(side) == lots.sum()


def compare(benchmark, library, flow, make):
    """Time `make(flow)` by pytest-benchmark, and in the same rounds the limit loop beside it."""
    rounds = []

    def setup():
        return (*make(flow), *limit(library, flow)), {}

    def both(run, book, limit_run, limit_book):
        # The one that goes second finds warmer commands, so they take turns.
        if len(rounds) % 2:
            (limit_ns, limit_trades), (book_ns, trades) = timed(limit_run), timed(run)
        else:
            (book_ns, trades), (limit_ns, limit_trades) = timed(run), timed(limit_run)
        rounds.append((book_ns / len(flow.timed), limit_ns / len(flow.timed)))
        if trades is not None:
            assert np.array_equal(trades, limit_trades)
        check_equal(book, limit_book)

    benchmark.pedantic(both, setup=setup, rounds=ROUNDS, iterations=1)
    record(benchmark, flow, rounds)


def record(benchmark, flow, rounds):
    benchmark.extra_info.update(
        workload=flow.name,
        commands=len(flow.timed),
        ratio=statistics.median(ours / limit_ns for ours, limit_ns in rounds),
        book_ns=statistics.median(ours for ours, _ in rounds),
        limit_ns=statistics.median(limit_ns for _, limit_ns in rounds),
        rounds_ns=[[round(value, 2) for value in pair] for pair in rounds],
    )


def test_batch_in_the_standard_mix(benchmark, library, standard):
    compare(benchmark, library, standard, batch)


def test_one_call_an_order_in_the_standard_mix(benchmark, library, standard):
    compare(benchmark, library, standard, one_by_one)


def test_batch_in_a_cancel_storm(benchmark, library):
    compare(benchmark, library, workloads.storm(COMMANDS // 2), batch)


@pytest.mark.parametrize("flow", ["jumping", "sparse"])
def test_batch_where_a_walk_over_empty_levels_dies(benchmark, flow):
    """No limit loop: it looks at every empty tick between two orders, up to 10 M of them."""
    made = getattr(workloads, flow)(COMMANDS // 2)
    rounds = []

    def setup():
        return batch(made), {}

    def run_one(run, book):
        rounds.append((timed(run)[0] / len(made.timed), float("nan")))

    benchmark.pedantic(run_one, setup=setup, rounds=ROUNDS, iterations=1)
    benchmark.extra_info.update(
        workload=made.name,
        commands=len(made.timed),
        book_ns=statistics.median(ours for ours, _ in rounds),
        rounds_ns=[round(ours, 2) for ours, _ in rounds],
    )
