"""Every published case, by every way that can compute it: calculator, margin core, running venue.

A case is taken by its kind, model or wording. It is met when each way that knows the kind gives
what the source asserts, within the source's tolerance and one step of the way's own grid. A case
that no way computes is unmapped; it must then contradict a rule, which is named, and at most one in
ten of a file may. Order sequences are run by test_matching.py and only counted here.

`python tests/oracle/test_published.py [directory]` prints the same as a table, for any directory
with files of these kinds; PERPCORE_ORACLES makes the tests use one.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import InvalidOperation
from pathlib import Path
from typing import Any

import pytest
import way_calculator
import way_margin
import way_venue
from published import (
    DATA,
    FILES,
    MATCHING,
    Case,
    Excluded,
    Found,
    OffGrid,
    Way,
    expected,
    meets,
    number,
    read,
    read_all,
    tolerance,
)
from test_matching import Run

from perpcore.errors import Rejected

WAYS: dict[str, Callable[[dict[str, Any]], Way | None]] = {
    "calculator": way_calculator.way_of,
    "margin core": way_margin.way_of,
    "venue": way_venue.way_of,
}
RULE = re.compile(r"^[ACDFILOQSUX]\d+: ")
# What the core and the venue say of numbers that their grids or limits cannot hold, and of fields
# that they need and another venue does not print.
CANNOT_HOLD = (
    KeyError, TypeError, ValueError, OverflowError, InvalidOperation, StopIteration, Rejected,
)  # fmt: skip


@dataclass
class Outcome:
    """What became of a case: ways that met it, ways that did not, rules that it contradicts."""

    met: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)


def computed(name: str, way: Way, case: dict[str, Any]) -> Found:
    """The result of a way; the calculator has no grid, so what it raises is an error of ours."""
    try:
        found = way(case)
    except CANNOT_HOLD as error:
        if name == "calculator":
            raise
        raise OffGrid(str(error)) from error
    return found if isinstance(found, Found) else Found(found)


def by_ways(case: dict[str, Any]) -> Outcome:
    outcome = Outcome()
    for name, way_of in WAYS.items():
        way = way_of(case)
        if way is None:
            continue
        try:
            found = computed(name, way, case)
        except Excluded as rule:
            outcome.rules.append(str(rule))
        except OffGrid:
            pass
        else:
            wanted, room = expected(case), tolerance(case) + number(found.step)
            if meets(found.value, wanted, room):
                outcome.met.append(name)
            else:
                outcome.missed.append(f"{name}: {found.value}, published {wanted}")
    return outcome


def by_book(case: dict[str, Any]) -> Outcome:
    """An order sequence; trades and books are asserted on the way."""
    run = Run(case)
    rule = run.steps()
    if rule is not None:
        return Outcome(rules=[str(rule)])
    run.check_end()
    return Outcome(met=["book"])


def outcome_of(case: Case) -> Outcome:
    return by_book(case.data) if case.file == MATCHING else by_ways(case.data)


# Cases that print numbers; sequences are another test's.
NUMBERS = [case for case in read_all() if case.file != MATCHING]


@pytest.mark.parametrize("case", NUMBERS, ids=lambda case: case.name)
def test_every_way_that_knows_the_kind_gives_the_published_number(case: Case) -> None:
    outcome = by_ways(case.data)
    assert not outcome.missed
    # What no way may compute names the rule that it contradicts; how many is the next test's.
    assert outcome.met or outcome.rules, f"nothing computes {case.data.get('kind')}: {case.data}"
    assert outcome.met or RULE.match(outcome.rules[0])


@pytest.mark.parametrize("file", FILES)
def test_at_most_one_case_in_ten_is_unmapped_and_each_contradicts_a_rule(file: str) -> None:
    outcomes = [outcome_of(case) for case in read(file)]
    unmapped = [outcome for outcome in outcomes if not outcome.met]
    for outcome in unmapped:
        print(f"{file}: {'; '.join(outcome.rules)}")
    assert len(unmapped) * 10 <= len(outcomes)
    assert all(RULE.match(rule) for outcome in unmapped for rule in outcome.rules[:1])
    assert all(outcome.rules for outcome in unmapped)


def test_no_case_of_the_venue_that_the_rules_are_from_is_left_out() -> None:
    own = [case for case in NUMBERS if "crypto.com" in str(case.data["source"]).lower()]
    assert all(by_ways(case.data).met for case in own)


@pytest.mark.skipif(DATA.parent != Path(__file__).parent, reason="counts are of the bundled files")
def test_each_way_meets_as_many_cases_as_it_ever_did() -> None:
    """A way that quietly stops computing a kind would otherwise go unnoticed."""
    ways = Counter(way for case in NUMBERS for way in by_ways(case.data).met)
    assert ways == {"calculator": 142, "margin core": 66, "venue": 50}


def test_every_published_number_names_its_source() -> None:
    for case in NUMBERS:
        source = case.data["source"]
        assert source if isinstance(source, str) else source["repo"] and source["commit"]


def reported(case: Case) -> Outcome:
    """The outcome; an error of one case is a line of the table, not the end of it."""
    try:
        return outcome_of(case)
    except Exception as error:
        return Outcome(missed=[f"{type(error).__name__}: {error}"])


@pytest.mark.parametrize(
    ("side", "published"),
    [("long", "90.909091"), ("buy", "90.909091"), ("Short", "108.910891"), ("sell", "108.910891")],
)
def test_a_side_may_have_any_of_its_names(side: str, published: str) -> None:
    inputs = {"side": side, "entry": "100", "qty": "1", "margin": 10, "mmr": "1%"}
    case = {"kind": "liquidation_price", "model": "mm_on_mark", "inputs": inputs,
            "expected": published, "tolerance": "0.000001"}  # fmt: skip
    outcome = by_ways(case)
    assert "calculator" in outcome.met
    assert not outcome.missed


def test_an_error_of_one_case_is_a_line_of_the_table() -> None:
    case = {"id": "x", "kind": "liquidation_price", "model": "mm_on_mark", "inputs": {"entry": 1}}
    assert reported(Case("liquidation_prices.json", case)).missed == ["KeyError: 'leverage'"]


def report(directory: Path) -> bool:
    """Print a line for each file and each case that is not met; True when all is as it must be."""
    good = True
    for file in FILES:
        cases = read(file, directory)
        outcomes = [(case, reported(case)) for case in cases]
        met = sum(bool(o.met) and not o.missed for _, o in outcomes)
        ways = Counter(way for _, o in outcomes for way in o.met)
        counts = ", ".join(f"{way} {n}" for way, n in ways.items())
        print(f"{file:30} {len(cases):4} cases, {met:4} met ({counts})")
        for case, outcome in outcomes:
            if outcome.missed or not outcome.met:
                reasons = outcome.missed or outcome.rules or ["nothing computes this kind"]
                print(f"    {case.name}: {'; '.join(reasons)}")
        good &= not any(o.missed for _, o in outcomes)
        good &= (len(cases) - met) * 10 <= len(cases)
    return good


if __name__ == "__main__":
    sys.exit(not report(Path(sys.argv[1]) if len(sys.argv) > 1 else DATA))
