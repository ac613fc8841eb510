"""The order book against the limit loop, on populated books, interleaved in every round.

Run as docs/benchmarks.md says. Milliseconds differ between machines and hours; what counts is
`ratio` in extra_info, the median over the rounds of book / limit loop, both of the same round.
"""

from __future__ import annotations

import limit_loop
import measure
import numpy as np
import pytest
import workloads
from measure import Round

from perpcore.book import BOOK_TRADE, BookKind, OrderBook
from perpcore.codes import Side

COMMANDS = measure.scaled(400_000, 2_000)


@pytest.fixture(scope="module")
def whole():
    """The standard mix, run as one batch on a fresh book in every round."""
    return workloads.standard(COMMANDS, resting=measure.scaled(workloads.RESTING, 200))


def batch(flow):
    """(run, book): one call for the whole flow."""
    book = OrderBook(flow.max_price_ticks, flow.capacity)
    book.apply(flow.before)
    trades = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
    statuses = np.zeros(len(flow.timed), np.int32)
    # Touched now: the pages of the answer are the caller's, not the book's.
    trades["qty_lots"], statuses[:] = 1, 1

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


def check_equal(book, limit_book):
    """The two final books are the same, order by order."""
    for side in (Side.BUY, Side.SELL):
        orders, (ids, lots) = book.orders(side), limit_book.queue(side)
        assert np.array_equal(orders["order_id"], ids)
        assert np.array_equal(orders["qty_lots"], lots)
        assert book.qty_lots(side) == lots.sum()


def beside_the_limit(benchmark, library, flow, make):
    """Time `make(flow)` on a fresh book a round, and the limit loop on the same flow beside it."""

    def prepare():
        run, book = make(flow)
        limit_book = limit_loop.LimitBook(library, flow.max_price_ticks, flow.max_id)
        limit_trades = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
        limit_trades["qty_lots"] = 1
        limit_book.apply(flow.before, limit_trades)

        def limit():
            return limit_trades[: limit_book.apply(flow.timed, limit_trades)]

        def check(trades, expected):
            if trades is not None:
                assert np.array_equal(trades, expected)
            check_equal(book, limit_book)

        return Round(run, len(flow.timed), limit, len(flow.timed), check)

    measure.compare(
        benchmark, prepare, "command", workload=flow.name, commands=len(flow.timed)
    )


def test_book_batch_in_the_standard_mix(benchmark, library, whole):
    beside_the_limit(benchmark, library, whole, batch)


def test_book_one_call_an_order_in_the_standard_mix(benchmark, library, whole):
    beside_the_limit(benchmark, library, whole, one_by_one)


def test_book_batch_in_a_cancel_storm(benchmark, library):
    beside_the_limit(benchmark, library, workloads.storm(COMMANDS // 2), batch)


@pytest.mark.parametrize("flow", ["jumping", "sparse"])
def test_book_batch_where_a_walk_over_empty_levels_dies(benchmark, yardstick, flow):
    """The limit loop would look at every one of 10 M empty ticks: it runs the standard mix."""
    made = getattr(workloads, flow)(COMMANDS // 2)

    def prepare():
        run, book = batch(made)

        def check(trades, _):
            assert len(trades) == np.count_nonzero(made.timed["side"] == Side.BUY)
            assert book.order_count(Side.BUY) == 0

        return Round(run, len(made.timed), yardstick.prepare(), yardstick.stretch, check)

    measure.compare(
        benchmark, prepare, "command", workload=made.name, commands=len(made.timed)
    )
