"""The table of `make rules` is complete and can be applied; the runner tells a proof from none.

`make rules` runs every mutation; here only what costs no time, and one of each outcome.
"""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import mutations  # noqa: E402
import rules  # noqa: E402
from mutants import MUTANTS  # noqa: E402

PROVEN = next(mutant for mutant in MUTANTS if mutant.rule == "I9")


def test_every_rule_has_a_test_and_a_mutation() -> None:
    assert rules.gaps(rules.citations(TESTS)) == []


def test_a_rule_that_is_named_exists() -> None:
    found = rules.citations(TESTS)
    assert set(found) - set(rules.RULES) == set()
    assert {mutant.rule for mutant in MUTANTS} - set(rules.RULES) == set()


@pytest.mark.parametrize(
    "mutant", MUTANTS, ids=[f"{m.rule}-{n}" for n, m in enumerate(MUTANTS)])
def test_a_mutation_changes_one_place_and_names_tests_that_exist(
    mutant: mutations.Mutation
) -> None:
    text = (TESTS / "reference" / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1
    compile(text.replace(mutant.old, mutant.new), mutant.file, "exec")
    for node in mutant.nodes:
        file, name = node.split("::")
        source = (TESTS / file).read_text(encoding="utf-8")
        assert re.search(rf"^def {name}\(", source, re.M), node


def test_the_runner_tells_a_proof_from_a_change_that_nobody_notices() -> None:
    harmless = replace(PROVEN, new=PROVEN.old)
    lost = replace(PROVEN, old="no such text", new="")
    broken = replace(PROVEN, new="if (:")
    holes = [outcome.hole for outcome in mutations.run([PROVEN, harmless, lost, broken])]
    assert holes[0] == ""
    assert holes[1].startswith("survives")
    assert "occurs 0 times" in holes[2]
    # A model that does not even start proves nothing about the rule.
    assert holes[3].startswith("survives")
