"""Fails when liquidation throughput or the venue batch is clearly behind what was recorded.

    python benchmarks/guard.py             measure, compare, exit 1 when a ratio has doubled
    python benchmarks/guard.py --record    measure and write recorded.json

Both cases run on a venue of 20,000 units and in less than 90 s. What is compared is the ratio to
the limit loop of the same round, so that another machine or a busy hour does not matter much; a
case that is behind is measured once more before it is called so.
"""

from __future__ import annotations

import datetime
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import crowds
import limit_loop
import measure
import venue_loads
import workloads
from measure import Round, Yardstick

RECORDED = Path(__file__).with_name("recorded.json")
#: Behind by this factor is a regression; noise of a shared machine stays well below it.
BEHIND = 2.0

UNITS = measure.scaled(20_000, 200)
RESTING = measure.scaled(workloads.RESTING, 200)
STRETCH = measure.scaled(30_000, 300)
CROSSED = measure.scaled(5_000, 20)


def venue_batch(library: Any, flow: workloads.Flow) -> dict[str, Any]:
    """The standard mix at 20,000 accounts, half isolated; ratio of nanoseconds a command."""
    traffic = venue_loads.Traffic(flow, UNITS, measure.ROUNDS, half_isolated=True)
    yardstick = Yardstick(library, flow, measure.ROUNDS)

    def prepare() -> Round:
        return Round(
            traffic.prepare(), traffic.stretch, yardstick.prepare(), yardstick.stretch,
            traffic.check,
        )  # fmt: skip

    return measure.rounds_of(prepare)


def liquidation(library: Any, flow: workloads.Flow) -> dict[str, Any]:
    """Marks that cross 5,000 blocks each; ratio of nanoseconds a liquidation through the book."""
    stretch = crowds.Stretch(1, CROSSED, ticks=workloads.LEVELS_A_SIDE)
    crowd = crowds.Crowd(UNITS, [stretch], measure.ROUNDS, resting=RESTING)
    yardstick = Yardstick(library, flow, measure.ROUNDS)

    def prepare() -> Round:
        return Round(
            crowd.run(crowd.next_lap(0)), CROSSED, yardstick.prepare(), yardstick.stretch,
            lambda events, _: crowds.check_liquidations(events, CROSSED),
        )  # fmt: skip

    return measure.rounds_of(prepare)


CASES: dict[str, Callable[[Any, workloads.Flow], dict[str, Any]]] = {
    "venue batch": venue_batch,
    "liquidation": liquidation,
}


def measured(case: str) -> dict[str, Any]:
    """What a case measures now."""
    flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)
    with tempfile.TemporaryDirectory() as folder:
        return CASES[case](limit_loop.build(Path(folder)), flow)


def is_behind(ratio: float, recorded: float) -> bool:
    return ratio > BEHIND * recorded


def line(case: str, ratio: float, recorded: float) -> str:
    """One line for a person: what was measured, and what that means."""
    verdict = (
        f"FAILED: {ratio / recorded:.2f} times the recorded one, {BEHIND:g} is the end"
        if is_behind(ratio, recorded)
        else "ok"
    )
    return f"{case}: {ratio:.2f} limit loops, recorded {recorded:.2f}: {verdict}"


def guard(recorded: dict[str, Any]) -> int:
    """Measure and compare every case; 0, or 1 when one is behind twice."""
    failed = 0
    for case in CASES:
        before = recorded[case]["ratio"]
        ratio = measured(case)["ratio"]
        if is_behind(ratio, before):
            print(f"{case}: {ratio:.2f} limit loops; once more")
            ratio = min(ratio, measured(case)["ratio"])
        failed |= is_behind(ratio, before)
        print(line(case, ratio, before))
    return int(failed)


def record() -> None:
    """Write the best of three measurements of every case, the one least disturbed, with the day."""
    found: dict[str, Any] = {"day": datetime.datetime.now(datetime.UTC).date().isoformat()}
    for case in CASES:
        best = min((measured(case) for _ in range(3)), key=lambda facts: facts["ratio"])
        found[case] = {name: round(best[name], 2) for name in ("ratio", "ns", "limit_ns")}
        print(f"{case}: {best['ratio']:.2f} limit loops")
    RECORDED.write_text(json.dumps(found, indent=2) + "\n")


def main(arguments: list[str]) -> int:
    if arguments == ["--record"]:
        record()
        return 0
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    return guard(json.loads(RECORDED.read_text()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
