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

def run(*arguments: str, out: Path | None = None) -> subprocess.CompletedProcess[str]:
    env = TINY | ({"PERPCORE_BENCH_OUT": str(out)} if out else {})
    return subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True,
        timeout=900, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder after a tiny run of everything that `make bench` runs."""
    folder = tmp_path_factory.mktemp("bench")
    cases = sorted(str(path.relative_to(ROOT)) for path in BENCHMARKS.glob("bench_*.py"))
    result = run(
        "-m", "pytest", *cases, "-q", "--benchmark-only", "--benchmark-quiet",
        f"--benchmark-json={folder / 'bench.json'}", "-p", "no:cacheprovider", out=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    (folder / "table.txt").write_text(result.stdout)
    return folder


@pytest.fixture(scope="module")
def report(out):
    """The JSON of that run."""
    return json.loads((out / "bench.json").read_text())


@pytest.fixture
def targets(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import targets

    return targets


def test_every_case_that_is_compared_has_its_rounds(report):
    compared = [b["extra_info"] for b in report["benchmarks"] if "ratio" in b["extra_info"]]
    assert len(compared) > 20
    for info in compared:
        assert info["ratio"] > 0
        assert info["per"]
        assert len(info["rounds_ns"]) == 7
        assert all(len(pair) == 2 and min(pair) > 0 for pair in info["rounds_ns"])


def test_every_target_has_its_row_and_its_verdict_in_the_table(report, out, targets):
    rows = {row["case"]: row for row in report["table"]}
    assert len(rows) == len(report["table"])
    assert [case for case in targets.TARGETS if case not in rows] == []
    text = (out / "table.txt").read_text()
    for case, row in rows.items():
        assert case in text
        assert (row["verdict"] in {"PASS", "short"}) == (case in targets.TARGETS)
    counts = [sum(row["verdict"] == word for row in rows.values()) for word in ("PASS", "short")]
    assert f"{counts[0]} PASS, {counts[1]} short" in text
    assert report["compiler"]["flags"]


def test_a_target_in_ns_is_so_many_limit_loops_of_sixteen(targets):
    target = targets.Target(250, "ns")
    assert target.value == 15.625
    assert target.is_met(15.625)
    assert not target.is_met(15.63)
    assert targets.Target(1.5, "us").value == 93.75
    assert targets.Target(4, targets.LOOPS).value == 4
    assert targets.Target(0.95, "x", at_least=True).is_met(0.95)
    assert not targets.Target(0.95, "x", at_least=True).is_met(0.94)


def test_a_row_that_is_behind_its_target_says_so(targets, monkeypatch):
    monkeypatch.setitem(targets.TARGETS, "some case", targets.Target(160, "ns"))
    info = {"per": "mark", "ns": 200.0, "limit_ns": 20.0}
    verdicts = [
        [row.verdict for row in targets.rows_of("test_some_case", {**info, "ratio": ratio})]
        for ratio in (10.0, 10.1)
    ]
    assert verdicts == [["PASS"], ["short"]]


def test_every_side_has_a_latency_histogram_with_all_its_samples(report):
    from hdrh.histogram import HdrHistogram

    (series,) = [
        b["extra_info"]["series"] for b in report["benchmarks"] if "series" in b["extra_info"]
    ]
    assert [one["name"].split(",")[0] for one in series] == ["limit loop", "book", "venue", "venue"]
    for one in series:
        histogram = HdrHistogram.decode(one["hdr_v2"].encode())
        assert histogram.get_total_count() == one["samples"] > 0
        assert len(one["rounds_ns"]) == 7
    limit, book = series[:2]
    assert limit["samples"] == book["samples"]


def test_the_page_shows_cost_against_size_and_latency(report, out):
    result = run("benchmarks/plots.py", out=out)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (out / "plots.html").read_text()
    for title in ("Cost against size", "mark that crosses nobody", "Latency of one command"):
        assert title in page
    curves = [b["extra_info"]["curve"] for b in report["benchmarks"] if "curve" in b["extra_info"]]
    assert {curve["over"] for curve in curves} == {
        "orders", "levels", "accounts", "isolated blocks"
    }  # fmt: skip
    assert all(point[1] > 0 for curve in curves for point in curve["points"])


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
