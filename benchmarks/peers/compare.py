"""Prints what peers of PyPI cost beside perpcore's book and margin, in one interleaved run.

    make bench-peers        (its own virtual environment, .venv-peers)

The same commands go to every book; its trades (or, where it tells none, its resting lots) must be
those of `OrderBook`, or the row says where it departs. Ratios are medians over the rounds.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

import books
import measure
import numpy as np
import scans
import workloads

from perpcore.book import BookKind
from perpcore.codes import TimeInForce

STRETCH = measure.scaled(5_000, 200)
RESTING = measure.scaled(workloads.RESTING, 200)
TRIAL_SECONDS = 20
POSITIONS = measure.scaled(100_000, 500)
PACKAGES = (
    "nanobook", "limit-order-book", "order-book", "sortedcontainers", "pyorderbook",
    "lightmatchingengine", "nautilus_trader", "numpy",
)  # fmt: skip


def rows_of(commands: Any) -> list[books.Row]:
    """Plain tuples, as a user of one call an order has them."""
    new, ioc = int(BookKind.BOOK_NEW), int(TimeInForce.IOC)
    names = ("kind", "order_id", "side", "price_ticks", "qty_lots", "time_in_force")
    return [
        (order_id, 0, side, price, lots, tif == ioc)
        if kind == new
        else (0, order_id, 0, 0, 0, False)
        for kind, order_id, side, price, lots, tif in zip(
            *(commands[name].tolist() for name in names), strict=True
        )
    ]


def departs(peer: books.Peer, found: Any, expected: list[books.Trade],
            resting: tuple[int, int]) -> str:  # fmt: skip
    """How a peer's results differ from OrderBook's; empty: they do not."""
    trades = peer.trades(found)
    if trades is None:
        return "" if peer.resting() == resting else f"rests {peer.resting()}, not {resting}"
    if not peer.tells_makers:
        expected = [(0, price, lots) for _, price, lots in expected]
    if trades == expected:
        return ""
    same = sum(1 for ours, theirs in zip(expected, trades, strict=False) if ours == theirs)
    return f"{same} of {len(expected)} trades are equal"


def ends(kind: Any, flow: Any, before: list[books.Row], rows: list[books.Row]) -> bool:
    """Whether a peer takes the whole flow: what hangs in native code must be ended from outside."""
    trial = multiprocessing.get_context("fork").Process(
        target=lambda: [
            peer.run(peer.prepare(rows)) for peer in books.populated([kind], flow, before)
        ]
    )
    trial.start()
    trial.join(TRIAL_SECONDS)
    if trial.is_alive():
        trial.kill()
    trial.join()
    return trial.exitcode == 0


def installed_nautilus() -> list[type[books.Peer]]:
    """It is large and many places have no wheel of it."""
    try:
        import nautilus
    except ImportError:
        return []
    return [nautilus.Nautilus]


def books_in_turns() -> list[dict[str, Any]]:
    """Every book on consecutive stretches of the standard mix, in turns."""
    flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)
    before, whole = rows_of(flow.before), rows_of(flow.timed)
    known = [*books.PEERS, *installed_nautilus()]
    kinds = [kind for kind in known if kind is books.OurBatch or ends(kind, flow, before, whole)]
    for kind in set(known) - set(kinds):
        print(f"{kind.name}: does not end within {TRIAL_SECONDS} s, or fails: left out")
    peers = books.populated(kinds, flow, before)
    batch = peers[0]
    times: list[list[float]] = [[] for _ in peers]
    wrong = ["" for _ in peers]
    for number in range(measure.ROUNDS):
        commands = flow.timed[number * STRETCH :][:STRETCH]
        batch.commands, rows = commands, rows_of(commands)
        taken = [
            measure.timed(lambda peer=peer, ready=ready: peer.run(ready))
            for peer, ready in [(peer, peer.prepare(rows)) for peer in peers]
        ]
        expected, resting = batch.trades(taken[0][1]), batch.resting()
        assert expected, "a stretch without trades proves nothing"
        for place, (peer, (spent, found)) in enumerate(zip(peers, taken, strict=True)):
            times[place].append(spent / STRETCH)
            wrong[place] = wrong[place] or departs(peer, found, expected, resting)
    return [
        {
            "name": peer.name, "leaves_out": peer.leaves_out, "departs": wrong[place],
            "ns": statistics.median(times[place]), "rounds_ns": times[place],
            "of_batch": float(np.median(np.divide(times[place], times[0]))),
            "of_call": float(np.median(np.divide(times[place], times[1]))),
        }
        for place, peer in enumerate(peers)
    ]  # fmt: skip


def versions() -> dict[str, str | None]:
    """Installed versions; None: the package could not be installed here."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def main() -> int:
    have = versions()
    print("packages:", ", ".join(f"{name} {have[name] or 'NOT INSTALLED'}" for name in have))
    print(f"\nstandard mix, {RESTING:,} resting orders, {STRETCH:,} commands a round")
    print(f"{'ns':>10} {'of batch':>9} {'of call':>8}  book")
    found = books_in_turns()
    for row in found:
        print(f"{row['ns']:10,.0f} {row['of_batch']:9.1f} {row['of_call']:8.2f}  {row['name']}")
        verdict = f"RESULTS DIFFER: {row['departs']}" if row["departs"] else "results equal"
        print(f"{'':30}{verdict}; leaves out: {row['leaves_out']}")
    print(f"\nwho is below maintenance, {POSITIONS:,} positions: one mark")
    scanned = scans.scans(POSITIONS, measure.scaled(5_000, 20))
    for name, less, ns in scanned:
        print(f"{ns / 1000:12,.2f} us  {name} (leaves out: {less})")
    margins = []
    if installed_nautilus():
        import nautilus

        print("\ninitial and maintenance margin of one position")
        margins = nautilus.margins(measure.scaled(20_000, 200))
        for name, less, ns in margins:
            print(f"{ns:12,.0f} ns  {name} (leaves out: {less})")
    measure.OUT.mkdir(exist_ok=True)
    (measure.OUT / "peers.json").write_text(json.dumps(
        {"packages": have, "books": found, "scans": scanned, "margins": margins}, indent=1
    ))  # fmt: skip
    return int(any(row["departs"] for row in found))


if __name__ == "__main__":
    sys.exit(main())
