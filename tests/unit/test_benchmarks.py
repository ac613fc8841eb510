"""Every benchmark runs tiny here, so that none can rot; the guard says yes and no as it should."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"
RECORDED = BENCHMARKS / "recorded.json"
TINY = {**os.environ, "PERPCORE_BENCH_SCALE": "0.001"}

if not BENCHMARKS.is_dir():
    pytest.skip("the benchmarks are not here: an installed package", allow_module_level=True)

#: What has to be measured, and how many operations of which kind one of its numbers is about.
CASES = {
    "test_book_batch_in_the_standard_mix": "command",
    "test_book_one_call_an_order_in_the_standard_mix": "command",
    "test_book_batch_in_a_cancel_storm": "command",
    "test_book_batch_where_a_walk_over_empty_levels_dies[jumping]": "command",
    "test_book_batch_where_a_walk_over_empty_levels_dies[sparse]": "command",
    **{
        f"test_venue_batch_in_the_standard_mix[{accounts}-{mix}]": "command"
        for accounts in ("1k", "20k", "1M")
        for mix in ("half isolated", "cross")
    },
    "test_mark_that_crosses_no_block": "mark",
    "test_mark_that_crosses_one_block": "mark",
    "test_mark_that_crosses_ten_thousand_blocks": "liquidation",
    "test_session_settlement": "unit",
}


def run(*arguments: str, timeout: int = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=TINY, capture_output=True, text=True,
        timeout=timeout, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """(output, benchmarks by name) of a tiny run of both files."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    result = run(
        "-m", "pytest", "benchmarks/bench_book.py", "benchmarks/bench_venue.py", "-q",
        "--benchmark-only", "--benchmark-quiet", f"--benchmark-json={path}",
        "-p", "no:cacheprovider",
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    benchmarks = json.loads(path.read_text())["benchmarks"]
    return result.stdout, {bench["name"]: bench["extra_info"] for bench in benchmarks}


def test_every_case_is_measured_and_has_its_ratio_and_its_rounds(report):
    _, found = report
    assert {name: info["per"] for name, info in found.items()} == CASES
    for info in found.values():
        assert info["ratio"] > 0
        rounds = info["rounds_ns"]
        assert len(rounds) == 7
        assert all(len(pair) == 2 and min(pair) > 0 for pair in rounds)


def test_the_run_ends_with_a_table_of_ratios(report):
    text, found = report
    assert "ratio" in text
    for name in found:
        assert name.removeprefix("test_").split("[")[0].replace("_", " ") in text


@pytest.fixture
def guard(monkeypatch):
    """The guard as a module, with two cases whose measurements are given by the test."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import guard

    return guard


def against(guard, monkeypatch, capsys, *ratios):
    """(exit code, printed) when one case was recorded at 10 and measures `ratios` in turn."""
    left = list(ratios)
    monkeypatch.setattr(guard, "CASES", {"liquidation": None})
    monkeypatch.setattr(guard, "measured", lambda case: {"ratio": left.pop(0)})
    code = guard.guard({"liquidation": {"ratio": 10.0}})
    assert left == []
    return code, capsys.readouterr().out


def test_the_guard_lets_twice_the_recorded_ratio_pass(guard, monkeypatch, capsys):
    assert against(guard, monkeypatch, capsys, 20.0) == (
        0, "liquidation: 20.00 limit loops, recorded 10.00: ok\n"
    )  # fmt: skip


def test_the_guard_fails_when_a_case_is_behind_twice(guard, monkeypatch, capsys):
    code, text = against(guard, monkeypatch, capsys, 25.0, 20.1)
    assert code == 1
    assert text.splitlines()[-1] == (
        "liquidation: 20.10 limit loops, recorded 10.00: "
        "FAILED: 2.01 times the recorded one, 2 is the end"
    )


def test_the_guard_measures_once_more_before_it_fails(guard, monkeypatch, capsys):
    assert against(guard, monkeypatch, capsys, 25.0, 11.0)[0] == 0


def test_the_guard_runs_from_its_command_line_and_knows_its_recorded_cases(tmp_path):
    """Tiny sizes: the ratios mean nothing here, that they are measured does."""
    result = run("benchmarks/guard.py")
    assert result.returncode in (0, 1), result.stderr
    recorded = json.loads(RECORDED.read_text())
    for case in ("venue batch", "liquidation"):
        assert f"{case}: " in result.stdout
        assert recorded[case]["ratio"] > 0
    assert run("benchmarks/guard.py", "--nonsense").returncode == 2
