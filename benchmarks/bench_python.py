"""The Python interface: an order with every check, a mark, the import, and threads of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from decimal import Decimal
from typing import Any

import limit_loop
import measure
import numpy as np
import pytest
import venue_loads
import workloads
from measure import Round

import perpcore as pc

CALLS = measure.scaled(4_000, 40)
TRADERS = measure.scaled(400, 20)
ACCOUNTS = measure.scaled(1_000, 60)
#: Laps of a round of threads: one says little where others use the machine too.
LAPS = 8
#: Of two threads; of a machine that has one, that one twice.
PROCESSORS = (2 * (measure.PROCESSORS or [0]))[-2:]
#: What a venue needs: no package of the command line or of reports may be among it.
EVERYTHING = "import perpcore; perpcore.Venue; perpcore.Admin; perpcore.commands; perpcore.margin"
IMPORTS = {"the package": "import perpcore", "all that a venue needs": EVERYTHING}
FOREIGN = ("pydantic", "click", "rich", "plotly", "pyarrow", "jinja2")


class Desk:
    """A venue with traders who send orders in decimals, at random prices, and withdraw them."""

    def __init__(self) -> None:
        self.venue, self.admin = pc.Venue.create(
            insurance_fund=5_000_000, accounts=TRADERS + 64, orders=2 * CALLS + 64,
            max_orders=CALLS + 64,
        )  # fmt: skip
        self.admin.add_contract(pc.BTCUSD_PERP)
        self.admin.mark("BTCUSD-PERP", 60_000)
        self.admin.admit(TRADERS)
        self.traders = [
            self.venue.account(f"trader {n}", deposit={"USD": 1_000_000}) for n in range(TRADERS)
        ]
        self.rng = np.random.default_rng(3)

    def orders(self, number: type) -> list[tuple[Any, str, Any, Any]]:
        """CALLS orders (account, side, quantity, price); buys are below all sells: none trades."""
        sides = self.rng.integers(0, 2, CALLS).tolist()
        away = self.rng.integers(1, 20_000, CALLS).tolist()
        lots = self.rng.integers(1, 2_000, CALLS).tolist()
        made = []
        for n, (side, ticks, size) in enumerate(zip(sides, away, lots, strict=True)):
            tenths = 600_000 + (ticks if side else -ticks)
            price, quantity = f"{tenths // 10}.{tenths % 10}", format(Decimal(size) / 10_000, "f")
            made.append((
                self.traders[n % TRADERS], "SELL" if side else "BUY", number(quantity),
                number(price),
            ))  # fmt: skip
        return made


@pytest.fixture(scope="module")
def desk():
    return Desk()


@pytest.mark.parametrize("number", [str, Decimal], ids=["str", "Decimal"])
def test_create_order(benchmark, yardstick, desk, number):
    """`Account.create_order` with the full check and its result, the loop included."""

    def prepare():
        for trader in desk.traders:
            trader.cancel_all_orders()
        orders = desk.orders(number)

        def run():
            for trader, side, quantity, price in orders:
                result = trader.create_order("BTCUSD-PERP", side, quantity, price=price)
            return result

        def check(result, _):
            assert result.status == "ACTIVE"
            assert sum(len(trader.open_orders) for trader in desk.traders) == CALLS

        return Round(run, CALLS, yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, "call")
    assert desk.venue.audit().ok


def test_admin_mark(benchmark, yardstick, desk):
    """`Admin.mark` with a symbol and a decimal string; it crosses nobody."""
    prices = [f"{60_000 + n % 7}.{n % 10}" for n in range(CALLS)]
    mark = desk.admin.mark

    def prepare():
        def run():
            for price in prices:
                events = mark("BTCUSD-PERP", price)
            return events

        def check(events, _):
            assert len(events) == 1

        return Round(run, CALLS, yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, "call")


@pytest.mark.parametrize("what", IMPORTS)
def test_import_over_importing_numpy(benchmark, yardstick, tmp_path, what):
    """Processor time of the import alone in a fresh process that has numpy already.

    Of the thread that imports: one of numpy's own still looks for work at that time, half as much
    again. With bytecode where an installed package has it: the first process writes it.
    """
    code = (
        "import sys, time, numpy; start = time.thread_time_ns(); "
        f"{IMPORTS[what]}; print(time.thread_time_ns() - start); "
        f"assert not set(sys.modules) & set({FOREIGN!r})"
    )

    env = {**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)}
    env.pop("PYTHONDONTWRITEBYTECODE", None)

    def imported():
        told = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=env
        )
        return float(told.stdout)

    def run():
        rounds = []
        imported()
        for _ in range(measure.ROUNDS):
            measure.Quiet.wait()
            limit_ns = measure.timed(yardstick.prepare())[0] / yardstick.stretch
            rounds.append((imported(), limit_ns))
        return {"import": measure.facts(rounds) | {"per": "process"}}

    measure.once(benchmark, run)


def own_seconds(*runs):
    """Wall clock seconds of (processor, run)s that start at once, a thread each, added up.

    Each thread stays on its processor: those that wake together start on one and are parted later.
    """
    gate = threading.Barrier(len(runs))
    seconds = []

    def wait_and_run(processor, run):
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {processor})  # of this thread alone
        gate.wait()
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)

    threads = [threading.Thread(target=wait_and_run, args=pair) for pair in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(seconds)


def test_two_venues_in_two_threads(benchmark, library):
    """How much two at once do of what two alone would, beside two limit loops: no lock is shared.

    A venue's lap is a stretch of the standard mix; a limit loop's is eight of them, which take as
    long. On the wall clock, as a thread that waits for another shows nowhere else; a round is the
    sum of laps of both in turns. With one processor alone it says nothing.
    """
    stretches = 2 * measure.ROUNDS * LAPS
    flow = workloads.standard(
        stretches * measure.scaled(30_000, 200), resting=measure.scaled(workloads.RESTING, 200)
    )
    laps_of_loop = flow.timed[: 8 * len(flow.timed) // stretches]
    venues = [
        venue_loads.Traffic(flow, ACCOUNTS, stretches, half_isolated=True) for _ in range(2)
    ]
    trades = [np.ones(4 * 2 * len(laps_of_loop), np.uint64).view(pc.book.BOOK_TRADE)
              for _ in range(2)]  # fmt: skip

    def loops():
        made = []
        for out in trades:
            book = limit_loop.LimitBook(library, flow.max_price_ticks, flow.max_id)
            book.apply(flow.before, out)
            made.append(lambda book=book, out=out: book.apply(laps_of_loop, out))
        return made

    def one_by_one(*runs):
        return sum(own_seconds(run) for run in runs)

    def lap(made, number):
        """Seconds of two runs one after the other, and of two at once; by turns these first."""
        ways = (one_by_one, own_seconds) if number % 2 else (own_seconds, one_by_one)
        found = {way: way(*zip(PROCESSORS, made(), strict=True)) for way in ways}
        return np.array([found[one_by_one], found[own_seconds]])

    def run():
        found = []
        for _ in range(measure.ROUNDS):
            ours, theirs = np.zeros(2), np.zeros(2)
            for number in range(LAPS):
                ours += lap(lambda: [venue.prepare() for venue in venues], number)
                theirs += lap(loops, number)
            shares = ours[0] / ours[1], theirs[0] / theirs[1]
            found.append((shares[0] / shares[1], *shares))
        return {
            "venues at once to limit loops at once": {
                "value": float(np.median([ratio for ratio, *_ in found])), "unit": "x",
                "rounds": found,
            }
        }  # fmt: skip

    measure.once(benchmark, run)
    for venue in venues:
        venue_loads.check(venue.engine)
