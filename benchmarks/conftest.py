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
import targets
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


def table_of(benchmarks: list[Any]) -> list[targets.Row]:
    """The lines of the table, in the order in which the cases ran."""
    return [row for bench in benchmarks for row in targets.rows_of(bench.name, bench.extra_info)]


def pytest_benchmark_update_json(
    config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]
) -> None:
    """The table, and what the compiler was, beside the rounds of every case."""
    output_json["table"] = [row.facts() for row in table_of(benchmarks)]
    output_json["compiler"] = {
        "version": limit_loop.compiler_version(), "flags": limit_loop.product_flags(),
    }  # fmt: skip


def cells(row: targets.Row) -> list[str]:
    target = row.target
    shown = f"{row.value:,.2f}" if row.ns is not None else f"{row.value:,.4g} {row.unit}".rstrip()
    if row.ns is not None and row.unit != targets.LOOPS:
        shown += f" {row.unit}"
    return [
        row.case, row.one,
        "" if row.ns is None else f"{row.ns:,.1f}",
        "" if row.limit_ns is None else f"{row.limit_ns:,.1f}",
        shown,
        target.words if target else "",
        f"{target.value:,.4g}" if target and target.is_time else "",
        row.verdict,
    ]  # fmt: skip


def pytest_terminal_summary(config: pytest.Config) -> None:
    """One table: nanoseconds an operation, limit loops, and what they should be."""
    session = getattr(config, "_benchmarksession", None)
    rows = table_of(session.benchmarks) if session else []
    if not rows:
        return
    table = Table(
        title="one operation of each case; in limit loops of the same round, medians of all rounds",
        caption=f"a target in ns is so many limit loops of {targets.REFERENCE_NS:g} ns; "
        f"{sum(row.verdict == 'PASS' for row in rows)} PASS, "
        f"{sum(row.verdict == 'short' for row in rows)} short",
    )
    for name in ("case", "one"):
        table.add_column(name, no_wrap=True)
    for name in ("ns", "beside, ns", "limit loops", "target", "in loops", ""):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*cells(row))
    Console(width=240).print(table)
