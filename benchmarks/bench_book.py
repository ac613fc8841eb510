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
        return book.apply(flow.timed, trades, statuses)

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

        def check(done, expected):
            if done is not None:
                assert np.array_equal(done.trades, expected)
            check_equal(book, limit_book)

        return Round(run, len(flow.timed), limit, len(flow.timed), check)

    measure.compare(benchmark, prepare, "command", workload=flow.name, commands=len(flow.timed))


def test_book_batch_in_the_standard_mix(benchmark, library, whole):
    beside_the_limit(benchmark, library, whole, batch)


def test_book_one_call_an_order_in_the_standard_mix(benchmark, library, whole):
    beside_the_limit(benchmark, library, whole, one_by_one)


def test_book_batch_in_a_cancel_storm(benchmark, library):
    beside_the_limit(benchmark, library, workloads.storm(COMMANDS // 2), batch)


#: Flow and how many of its commands are refused: cancels of what is gone.
HOSTILE = {
    "jumping": 0, "sparse": 0, "crash": 0, "crowded": 0, "storm": 0, "amends": 0, "repeated": 0.8,
}  # fmt: skip


@pytest.fixture(scope="module")
def friendly(whole):
    """Units of work of the standard mix."""
    return workloads.units_of_work(whole)


@pytest.mark.parametrize("flow", HOSTILE)
def test_book_under_hostile_flow(benchmark, whole, friendly, flow):
    """Per unit of work (command, fill, level that goes), beside the book on the standard mix."""
    made = getattr(workloads, flow)(COMMANDS // 2)
    work = workloads.units_of_work(made)
    refused = round(HOSTILE[flow] * len(made.timed))

    def prepare():
        run, _ = batch(made)
        friendly_run, _ = batch(whole)

        def check(done, _):
            assert np.count_nonzero(done.statuses) == refused

        return Round(run, work, friendly_run, friendly, check)

    measure.compare(
        benchmark, prepare, "unit of work", beside="the standard mix", workload=made.name,
        commands=len(made.timed), units=work,
    )  # fmt: skip
