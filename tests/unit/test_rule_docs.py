"""docs/rules.md: every rule has its section, formula, rounding, an example, and tests that hold it.

The examples themselves are run by test_readme.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS))

import rules  # noqa: E402

PAGE = (TESTS.parent / "docs" / "rules.md").read_text(encoding="utf-8")
SECTION = re.compile(r"^### (\w+) (.+)\n((?:.*\n)*?)(?=^##|\Z)", re.MULTILINE)
SECTIONS = {match[1]: match[3] for match in SECTION.finditer(PAGE)}
CITED = re.compile(r"`([\w/]+\.py)`|`(test_\w+)`")
FOUND = rules.citations(TESTS)


def named_tests(section: str) -> list[str]:
    """The tests that a section names, as 'file::test'."""
    (line,) = re.findall(r"^- Tests: ((?:.*\n)+?)(?=\n)", section, re.MULTILINE)
    named, file = [], ""
    for path, test in CITED.findall(line):
        file = path or file
        if test:
            named.append(f"{file}::{test}")
    return named


def test_every_rule_has_its_section_once_and_in_order() -> None:
    assert [match[1] for match in SECTION.finditer(PAGE)] == rules.RULES


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_rule_says_its_formula_its_rounding_and_where_it_is_decided(rule: str) -> None:
    said = re.findall(r"^- (\w+): \S", SECTIONS[rule], re.MULTILINE)
    assert said == ["Formula", "Rounding", "Decided", "Tests"]


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_rule_has_an_example_that_checks_a_number(rule: str) -> None:
    (source,) = re.findall(r"^```python\n(.*?)^```$", SECTIONS[rule], re.MULTILINE | re.DOTALL)
    checks = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Assert)]
    constants = [part.value for check in checks for part in ast.walk(check)
                 if isinstance(part, ast.Constant)]
    assert [value for value in constants if re.fullmatch(r"-?\d[\d.]*", str(value))]


@pytest.mark.parametrize("rule", rules.RULES)
def test_a_rule_names_tests_that_hold_it(rule: str) -> None:
    named = named_tests(SECTIONS[rule])
    assert named
    assert set(named) <= set(FOUND[rule])


REJECTS = (TESTS.parent / "docs" / "rejects.md").read_text(encoding="utf-8")
CODES = re.findall(r"^### (\d+) \w+\n((?:.+\n)+)", REJECTS, re.MULTILINE)


@pytest.mark.parametrize(
    "said", [said for number, said in CODES if number not in {"0", "311"}],
    ids=[number for number, _ in CODES if number not in {"0", "311"}],
)
def test_a_code_has_a_cause_and_then_a_cure(said: str) -> None:
    """That no code is missing and that they stand in the order of the checks: test_precedence."""
    cause, cure = said.split("Cure:")
    assert len(cause.split()) >= 4
    assert len(cure.split()) >= 2
