"""200,000 seeded commands through model and engine; every code of the venue occurs among them.

After each command: a preview that said the same (X1), events and complete states of both sides
compared, the invariants of `invariants.py` (L1, L2, O5, Q4, Q7, I4, I13), and the engine's own walk
through all units, which compares the index of thresholds with an exhaustive scan (Q2).
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import pytest
from driver import Divergence, Report, run
from reference.codes import Done, Ev, Kind, Ledger, Reason, name_of

from perpcore.codes import Code

SEEDS = range(200)
COMMANDS = 1_000  # each seed; together 200,000
#: Of two names of one number the later one is the kind's own: MARK, not ADMIN_FIRST.
KINDS = {number: name for name, number in vars(Kind).items() if not name.startswith("_")}
LATER = {Code.OK, Code.POSITION_IN_LIQUIDATION}  # 311 needs a fund that may be full (SPEC Q8)


def play(seed: int) -> tuple[Report, str]:
    """In a worker: the report of a seed, and how it failed. Its number is on stderr, because a
    failed check of the core ends the process."""
    print(f"seed {seed}", file=sys.stderr, flush=True)
    try:
        return run(seed, COMMANDS, closely=True).report, ""
    except Divergence as error:
        return Report(), (f"seed {seed}: {error}\nshrink it: PYTHONPATH=tests "
                          f"python tests/property/shrink.py {seed} {COMMANDS}")


def table(report: Report) -> list[str]:
    """How often each (command, code) pair occurred; one line a kind of command."""
    lines = []
    for kind in sorted({kind for kind, _ in report.pairs}):
        codes = sorted((code, n) for (k, code), n in report.pairs.items() if k == kind)
        if kind in KINDS:
            shown = "  ".join(f"{code or 'ok'}:{n}" for code, n in codes)
            lines.append(f"{KINDS[kind]:>16}  {shown}")
    unknown = sum(n for (_, code), n in report.pairs.items() if code == Code.UNKNOWN_COMMAND)
    return [*lines, f"{'(no such kind)':>16}  {int(Code.UNKNOWN_COMMAND)}:{unknown}"]


def named(names: type, counts: Counter[int]) -> str:
    return "  ".join(f"{name_of(names, number)}:{n}" for number, n in sorted(counts.items()))


def members(names: type) -> set[int]:
    return {value for name, value in vars(names).items()
            if not name.startswith("_") and isinstance(value, int)}


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Report:
    """All seeds, in two processes; prints the tables past pytest's capture."""
    start, total, failures = time.monotonic(), Report(), []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(2, os.cpu_count() or 1), mp_context=context) as pool:
        for part, failure in pool.map(play, SEEDS):
            total += part
            if failure:
                failures.append(failure)
    lines = [
        f"{total.pairs.total():,} commands through model and engine in "
        f"{time.monotonic() - start:.0f} s, by (command, code):",
        *table(total),
        f"made as: {dict(total.intents)}, accepted of them: {dict(total.accepted)}",
        f"events: {named(Ev, total.events)}",
        f"orders ended: {named(Done, total.done)}",
        f"balances by reason: {named(Reason, total.reasons)}",
    ]
    capture = request.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        print("\n" + "\n".join(lines))
    if failures:
        pytest.fail("\n\n".join(failures), pytrace=False)
    return total


def test_model_and_engine_agree_over_200_000_seeded_commands(report: Report) -> None:
    """SPEC 0-8: the same events in every field, and the same complete state (D1)."""
    assert report.pairs.total() >= 200_000


def test_every_code_of_the_venue_occurs(report: Report) -> None:
    """O5: a code that no command ever meets would be a check that nobody tests."""
    seen = {code for _, code in report.pairs}
    missing = [code.name for code in Code if code not in LATER and code not in seen]
    assert not missing
    assert not seen & {int(code) for code in LATER if code}


def test_every_kind_of_command_is_accepted_and_refused(report: Report) -> None:
    """And each of them, administration's too, was previewed before it was played (X1)."""
    accepted = {kind for kind, code in report.pairs if code == 0}
    refused = {kind for kind, code in report.pairs if code}
    assert set(KINDS) <= accepted
    assert set(KINDS) <= refused


def test_every_event_reason_and_ending_occurs(report: Report) -> None:
    """L2 and the life of an order: CONTRACT_ADDED comes before the first command; settlement has
    reasons of its own, so that three of the reserved numbers are never booked."""
    unused = {Reason.SESSION_SETTLE, Reason.UNCOVERED_LOSS, Reason.ADJUSTMENT}
    assert members(Ev) - {Ev.CONTRACT_ADDED} <= set(report.events)
    assert members(Reason) - unused <= set(report.reasons)
    assert members(Ledger) - {0} <= set(report.ledgers)
    assert members(Done) <= set(report.done)


def test_the_mix_is_as_stated(report: Report) -> None:
    """70 % valid by construction, 20 % at boundaries, 10 % garbage, within 3 points."""
    total = report.intents.total()
    for intent, share in (("valid", 0.70), ("boundary", 0.20), ("garbage", 0.10)):
        assert abs(report.intents[intent] / total - share) < 0.03, dict(report.intents)
    # Valid is what the state before the batch allows; the market moves on within it.
    assert report.accepted["valid"] > 0.65 * report.intents["valid"]
