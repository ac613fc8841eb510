"""The venue: batches of orders at 1 k to 1 M accounts.

Run as docs/benchmarks.md says. What counts is `ratio` in extra_info: ours per operation by the
limit loop per command, both of the same round. Each case checks what it has timed.
"""

from __future__ import annotations

import measure
import pytest
import venue_loads
from measure import Round

ACCOUNTS = [measure.scaled(count, 60) for count in (1_000, 20_000, 1_000_000)]


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
    venue_loads.check(traffic.engine)
