"""Stamps of rounds: a unit is tested in a round of its own, whatever rounds went before (Q1)."""

from __future__ import annotations

from pathlib import Path

import pytest
from probes import build_probe


@pytest.mark.parametrize("stamp", [0, 1, 3])
def test_a_stamp_of_four_billion_rounds_ago_is_not_one_of_this_round(
    stamp: int, tmp_path: Path
) -> None:
    probe = build_probe("state_probe", tmp_path)
    assert probe.rounds_that_pass_a_unit_over(stamp) == 0
