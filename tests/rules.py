"""Which test cites which rule of the venue: `make rules`. A rule without a test is a failure.

A test cites a rule by its number: in its docstring, in a `rule("I9")` marker, or in a comment or
table inside it. Numbers are those of the venue rules: units U, ledger L, accounts A, cross margin
C, isolated blocks I, orders O, funding F, liquidation Q, session S, queries X, determinism D.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

CHAPTERS = {"U": 4, "L": 2, "A": 4, "C": 6, "I": 13, "O": 7, "F": 1, "Q": 8, "S": 5, "X": 3, "D": 1}
RULES = [f"{chapter}{n}" for chapter, last in CHAPTERS.items() for n in range(1, last + 1)]
CITED = re.compile(r"\b([ULACIOFQSXD]\d{1,2})\b")


def citations(root: Path) -> dict[str, list[str]]:
    """Rule -> the tests that cite it, as 'file::test'; a file's docstring counts for all in it."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(root.rglob("test_*.py")):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        whole = set(CITED.findall(ast.get_docstring(tree) or ""))
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                lines = list(node.decorator_list)
                source = "\n".join(
                    ast.get_source_segment(text, part) or "" for part in (*lines, node)
                )
                for rule in whole | set(CITED.findall(source)):
                    found[rule].append(f"{path.relative_to(root)}::{node.name}")
    return found


def main() -> int:
    """Print the table; 1 when a rule has no test."""
    found = citations(Path(__file__).parent)
    for rule in RULES:
        tests = found.get(rule, [])
        example = tests[0] if tests else "no test"
        print(f"{rule:<4}{len(tests):>4}  {example}")
    missing = [rule for rule in RULES if not found.get(rule)]
    if missing:
        print(f"rules without a test: {', '.join(missing)}")
    else:
        print(f"{len(RULES)} rules, each cited by a test")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
