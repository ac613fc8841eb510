"""The venue: batches of orders at 1 k to 1 M accounts, marks over 1 M blocks, a settlement.

Run as docs/benchmarks.md says. What counts is `ratio` in extra_info: ours per operation by the
limit loop per command, both of the same round. Each case checks what it has timed.
"""

from __future__ import annotations

import measure
import pytest
import venue_loads
from measure import Round

ACCOUNTS = [measure.scaled(count, 60) for count in (1_000, 20_000, 1_000_000)]
BLOCKS = measure.scaled(1_000_000, 200)
RESTING = measure.scaled(venue_loads.workloads.RESTING, 200)
IDLE, SINGLES, MANY = (
    measure.scaled(10_000, 20), measure.scaled(200, 2), measure.scaled(10_000, 20),
)  # fmt: skip


@pytest.fixture(scope="module")
def crowd():
    return venue_loads.Crowd(BLOCKS, SINGLES, MANY, measure.ROUNDS, RESTING)


@pytest.mark.parametrize("half_isolated", [True, False], ids=["half isolated", "cross"])
@pytest.mark.parametrize("accounts", ACCOUNTS, ids=["1k", "20k", "1M"])
def test_venue_batch_in_the_standard_mix(
    benchmark, standard, yardstick, accounts, half_isolated
):
    """The same stretch of orders in the venue and in the limit loop; the trades are the same."""
    traffic = venue_loads.Traffic(
        standard, accounts, measure.ROUNDS, half_isolated=half_isolated
    )

    def prepare():
        return Round(
            traffic.prepare(), traffic.stretch, yardstick.prepare(), yardstick.stretch,
            traffic.check,
        )  # fmt: skip

    measure.compare(benchmark, prepare, "command", accounts=accounts, commands=traffic.stretch)
    venue_loads.check_ledger(traffic.engine)


def marks(benchmark, yardstick, crowd, make, count, per, crossed):
    """Time what `make()` prepares, `count` operations that liquidate `crossed` blocks."""

    def prepare():
        def check(events, _):
            venue_loads.check_liquidations(events, crossed)

        return Round(make(), count, yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, per, blocks=crowd.blocks, crossed=crossed)
    venue_loads.check_ledger(crowd.engine)


def test_mark_that_crosses_no_block(benchmark, yardstick, crowd):
    marks(benchmark, yardstick, crowd, lambda: crowd.idle_marks(IDLE), IDLE, "mark", 0)


def test_mark_that_crosses_one_block(benchmark, yardstick, crowd):
    def make():
        return crowd.single_marks(SINGLES)

    marks(benchmark, yardstick, crowd, make, SINGLES, "mark", SINGLES)


def test_mark_that_crosses_ten_thousand_blocks(benchmark, yardstick, crowd):
    marks(benchmark, yardstick, crowd, crowd.one_big_mark, MANY, "liquidation", MANY)


def test_session_settlement(benchmark, yardstick, crowd):
    """Every block has a position to roll; units: the blocks that are left."""

    def prepare():
        def check(events, _):
            venue_loads.check_settlement(events, BLOCKS)

        return Round(
            crowd.settlement(), crowd.alive, yardstick.prepare(), yardstick.stretch, check
        )

    measure.compare(benchmark, prepare, "unit", blocks=crowd.alive)
    venue_loads.check_ledger(crowd.engine)
