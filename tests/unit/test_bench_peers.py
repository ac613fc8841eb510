"""The peers run tiny here, so that their comparison cannot rot; what is compared is equal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_books_that_are_compared_make_the_same_trades(tmp_path):
    result = subprocess.run(
        [sys.executable, "benchmarks/peers/compare.py"], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "PERPCORE_BENCH_SCALE": "0.001", "PERPCORE_BENCH_OUT": str(tmp_path)},
        timeout=240, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    found = json.loads((tmp_path / "peers.json").read_text())["books"]
    assert len(found) >= 3
    assert [one["departs"] for one in found] == [""] * len(found)
    assert result.stdout.count("results equal") == len(found)
