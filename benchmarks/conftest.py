"""Fixtures of all benchmarks, and the table that a run ends with."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parent))

import limit_loop
import measure
import workloads


@pytest.fixture(scope="session")
def library(tmp_path_factory):
    """The limit loop, compiled with the product's flags."""
    return limit_loop.build(tmp_path_factory.mktemp("limit"))


@pytest.fixture(scope="session")
def standard():
    """The standard mix, long enough for a stretch a round."""
    count = measure.ROUNDS * measure.scaled(60_000, 300)
    return workloads.standard(count, resting=measure.scaled(workloads.RESTING, 200))


@pytest.fixture
def yardstick(library, standard):
    """The limit loop on the standard mix, a stretch a round."""
    return measure.Yardstick(library, standard, measure.ROUNDS)


def row(bench: Any) -> list[str]:
    info = bench.extra_info
    sizes = [f"{info[name]:,} {name}" for name in ("accounts", "blocks") if name in info]
    return [
        bench.name.split("[")[0].removeprefix("test_").replace("_", " "),
        sizes[0] if sizes else info["workload"],
        info["per"],
        f"{info['ns']:,.1f}",
        f"{info['limit_ns']:.1f}",
        f"{info['ratio']:,.2f}",
    ]


def pytest_terminal_summary(config: pytest.Config) -> None:
    """What counts: nanoseconds an operation, and its ratio to the limit loop beside it."""
    session = getattr(config, "_benchmarksession", None)
    measured = [b for b in session.benchmarks if b.extra_info] if session else []
    if not measured:
        return
    table = Table(title="ratio = median over the rounds of ours / limit loop, both of one round")
    for name in ("case", "on", "one"):
        table.add_column(name)
    for name in ("ns", "limit ns", "ratio"):
        table.add_column(name, justify="right")
    for bench in measured:
        table.add_row(*row(bench))
    Console(width=140).print(table)
