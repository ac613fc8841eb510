"""Which test shows which rule of the venue, and which mutation proves it: `make rules`.

A test shows a rule by a `rule("I9")` marker or by the number in its docstring. That alone proves
nothing: the rule's code in the reference model is changed a little (`mutations`, `mutants`) and the
named test must fail. A rule without a test, without a mutation, or whose mutation no test notices
is a hole, and the exit code is 1.

Numbers: units U, ledger L, accounts A, cross margin C, isolated blocks I, orders O, funding F,
liquidation Q, session S, queries X, determinism D.
"""

from __future__ import annotations

import ast
import re
import sys
import time
from collections import defaultdict
from pathlib import Path

import mutations
from mutants import MUTANTS

CHAPTERS = {"U": 4, "L": 2, "A": 4, "C": 6, "I": 13, "O": 7, "F": 1, "Q": 8, "S": 5, "X": 3, "D": 1}
RULES = [f"{chapter}{n}" for chapter, last in CHAPTERS.items() for n in range(1, last + 1)]
#: Rules whose code is still to come, and why; they are no holes.
LATER = {
    "X3": "snapshots, ADL rank and explain() of a whole account are still to come",
}
CITED = re.compile(r"\b([ULACIOFQSXD]\d{1,2})\b")


def marked(function: ast.FunctionDef) -> set[str]:
    """Rules named by the function's `pytest.mark.rule(...)` and by its docstring."""
    named = set(CITED.findall(ast.get_docstring(function) or ""))
    for decorator in function.decorator_list:
        if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "pytest.mark.rule":
            named |= {str(ast.literal_eval(argument)) for argument in decorator.args}
    return named


def citations(root: Path) -> dict[str, list[str]]:
    """Rule -> the tests that show it, as 'file::test'."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                for rule in marked(node):
                    found[rule].append(f"{path.relative_to(root)}::{node.name}")
    return found


def shown(text: str) -> str:
    """A piece of code in one line."""
    return " ".join(text.split()) or "nothing"


def gaps(found: dict[str, list[str]]) -> list[str]:
    """Rules that no test shows or no mutation proves, before anything runs."""
    mutated = {mutant.rule for mutant in MUTANTS}
    due = [rule for rule in RULES if rule not in LATER]
    return [*(f"{rule}: no test" for rule in due if not found.get(rule)),
            *(f"{rule}: no mutation" for rule in due if rule not in mutated)]


def main() -> int:
    """Print rule, tests and mutations; 1 when there is a hole."""
    started = time.monotonic()
    found = citations(mutations.TESTS)
    holes = gaps(found)
    proven: dict[str, list[mutations.Outcome]] = defaultdict(list)
    for outcome in mutations.run(MUTANTS):
        proven[outcome.mutation.rule].append(outcome)
    for rule in RULES:
        print(f"{rule:<4}{len(found.get(rule, ())):>4} tests")
        if rule in LATER:
            print(f"      later: {LATER[rule]}")
        for outcome in proven[rule]:
            mutant = outcome.mutation
            print(f"      {mutant.file}: {shown(mutant.old)}  ->  {shown(mutant.new)}")
            for test in mutant.tests.split():
                print(f"        {'noticed by' if not outcome.hole else 'NOT PROVEN by'} {test}")
            if outcome.hole:
                holes.append(f"{rule}: {outcome.hole}")
    print(f"{len(RULES)} rules, {len(MUTANTS)} mutations, {time.monotonic() - started:.0f} s")
    for hole in holes:
        print(f"hole: {hole}")
    return 1 if holes else 0


if __name__ == "__main__":
    sys.exit(main())
