"""Latency, plots and peers run tiny here, so that none can rot; what they compare is equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

if not (ROOT / "benchmarks").is_dir():
    pytest.skip("the benchmarks are not here: an installed package", allow_module_level=True)


def run(script: str, out: Path) -> str:
    """What a script prints at a thousandth of its size; its results go to `out`."""
    result = subprocess.run(
        [sys.executable, f"benchmarks/{script}"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PERPCORE_BENCH_SCALE": "0.001", "PERPCORE_BENCH_OUT": str(out)},
        timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """The folder after bench_latency.py."""
    folder = tmp_path_factory.mktemp("out")
    run("bench_latency.py", folder)
    return folder


def test_every_side_has_a_histogram_with_all_its_samples(out):
    from hdrh.histogram import HdrHistogram

    series = json.loads((out / "latency.json").read_text())["series"]
    assert [one["name"].split(",")[0] for one in series] == ["limit loop", "book", "venue", "venue"]
    for one in series:
        histogram = HdrHistogram.decode(one["hdr_v2"].encode())
        assert histogram.get_total_count() == one["samples"] > 0
        assert len(one["rounds_ns"]) == 7
    limit, book = series[:2]
    assert limit["samples"] == book["samples"]


def test_the_page_shows_cost_against_size_and_latency(out):
    run("plots.py", out)
    page = (out / "plots.html").read_text()
    for title in ("Cost against size", "mark that crosses nobody", "Latency of one command"):
        assert title in page
    curves = json.loads((out / "cost_against_size.json").read_text())
    assert all(point[1] > 0 for curve in curves for point in curve["points"])


def test_books_that_are_compared_make_the_same_trades(out):
    text = run("peers/compare.py", out)
    found = json.loads((out / "peers.json").read_text())["books"]
    assert len(found) >= 3
    assert [one["departs"] for one in found] == [""] * len(found)
    assert text.count("results equal") == len(found)
