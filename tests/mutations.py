"""Small mutations of the rules' code, and the tests that must notice each: a rule's proof.

A citation in a comment proves nothing. Here every rule has at least one mutation: a few characters
of the reference model (tests/reference) replaced, and named tests that fail with it and pass
without. `run` copies the model and the scenarios to a temporary directory, makes the change there
and runs only those tests, on the model's side.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

TESTS = Path(__file__).resolve().parent
#: What the scenarios of the model need; the package is no part of it.
PARTS = ("reference", "scenario", "invariants.py")
SETTINGS = "[pytest]\npythonpath = . scenario\naddopts = --strict-markers\n"
MODEL_ONLY = ("-q", "--tb=no", "-rfE", "-p", "no:cacheprovider", "-k", "model")


@dataclass(frozen=True)
class Mutation:
    """`old` becomes `new` in a file of tests/reference; `tests` of tests/scenario must fail."""

    rule: str
    file: str
    old: str
    new: str
    tests: str  # "test_file.py::test_name", more with a space between

    @property
    def nodes(self) -> list[str]:
        return [f"scenario/{test}" for test in self.tests.split()]


@dataclass(frozen=True)
class Outcome:
    """Why a mutation proves nothing; empty when it does."""

    mutation: Mutation
    hole: str


def prepare(root: Path) -> None:
    """The model and its scenarios, apart from everything else."""
    root.mkdir()
    for part in PARTS:
        source, target = TESTS / part, root / part
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target)
    (root / "pytest.ini").write_text(SETTINGS, encoding="utf-8")


def pytest_in(root: Path, nodes: list[str]) -> subprocess.CompletedProcess[str]:
    """Without other plugins: half of the time would be theirs."""
    return subprocess.run(
        [sys.executable, "-m", "pytest", *MODEL_ONLY, *nodes], cwd=root, text=True,
        capture_output=True, check=False,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})


def unnoticed(output: str, nodes: list[str]) -> list[str]:
    """Named tests none of whose cases failed; an error before the test proper is no failure."""
    failed = re.findall(r"^FAILED (\S+?)[\[\s]", output, re.M)
    return [node for node in nodes if node not in failed]


def apply(root: Path, mutation: Mutation) -> str:
    """Make the change; says why it cannot be made."""
    path = root / "reference" / mutation.file
    text = path.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        return f"the text to change occurs {text.count(mutation.old)} times in {mutation.file}"
    for compiled in path.parent.glob(f"__pycache__/{path.stem}.*"):
        compiled.unlink()
    path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
    return ""


def prove(unchanged: Path, mutation: Mutation) -> Outcome:
    """Run the named tests on a copy of the model, compiled already, with the mutation."""
    copy = Path(tempfile.mkdtemp(dir=unchanged.parent)) / "tests"
    shutil.copytree(unchanged, copy)
    hole = apply(copy, mutation)
    if not hole:
        done = pytest_in(copy, mutation.nodes)
        survivors = unnoticed(done.stdout, mutation.nodes)
        if survivors:
            hole = f"survives {', '.join(survivors)}"
    shutil.rmtree(copy.parent)
    return Outcome(mutation, hole)


def run(mutations: list[Mutation]) -> Iterator[Outcome]:
    """Every mutation's outcome, in order; the tests must pass on the unchanged model first."""
    with tempfile.TemporaryDirectory() as place:
        unchanged = Path(place) / "unchanged"
        prepare(unchanged)
        nodes = sorted({node for mutation in mutations for node in mutation.nodes})
        done = pytest_in(unchanged, nodes)
        if done.returncode:
            raise SystemExit(f"the tests fail without any mutation:\n{done.stdout}{done.stderr}")
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
            yield from pool.map(partial(prove, unchanged), mutations)
