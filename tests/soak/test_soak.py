"""The soak in small, and that it finds what is planted."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from cells import cell, holes, possible, show
from driver import ModelSide, Row
from recording import judge, read_all, record, record_all
from reference.codes import Ev, Kind
from shrink import again
from soak import Soak, joined, play, trace_of, written
from swarm import Swarm
from worlds import Step, make_world

from perpcore.journal import Journal

KIND, BALANCE_UNITS = 5, 13


class OffByOne(ModelSide):
    """A side that states a unit too much from the first fill on."""

    def __init__(self, world: object) -> None:
        super().__init__(world)  # type: ignore[arg-type]
        self.planted = False

    def apply(self, steps: Sequence[Step]) -> list[Row]:
        rows = super().apply(steps)
        for place, row in enumerate(rows):
            self.planted |= row[KIND] == Ev.FILL
            if self.planted and row[KIND] == Ev.BALANCE:
                rows[place] = (*row[:BALANCE_UNITS], row[BALANCE_UNITS] + 1)
        return rows


@pytest.mark.parametrize("seed", [2000, 2001])
def test_model_and_engine_agree_over_a_swarm(seed: int) -> None:
    found = play(seed, 300)
    assert found.failure is None
    assert found.report.pairs.total() >= 300
    assert found.cells


def test_swarms_differ_from_seed_to_seed() -> None:
    def weights(seed: int) -> list[int]:
        return [weight for weight, _ in Swarm(make_world(seed), seed).boundaries]

    assert weights(1) != weights(2)


def test_a_planted_difference_is_found_shrunk_and_written_as_python(tmp_path: Path) -> None:
    failing = next(found for seed in range(2001, 2101, 2)
                   if (found := play(seed, 120, OffByOne)).failure is not None)
    assert failing.failure is not None
    path = written(failing.seed, failing.failure, tmp_path, OffByOne)
    text = path.read_text(encoding="utf-8")
    assert "Step(Command(" in text
    assert text.count("Step(") < len(failing.failure.steps)
    # The program is valid; the real engine agrees with the model over the trace.
    tests = Path(__file__).resolve().parents[1]
    parts = ":".join(map(str, (tests, tests / "property")))
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True,
                          check=True, env={"PYTHONPATH": parts})
    assert done.stdout.strip() == "agrees"
    # So does the log beside it, which `perpcore shrink` takes.
    log = Journal.load(path.with_suffix(".npz"))
    assert len(log) == text.count("    Step(")
    assert again(str(path.with_suffix(".npz"))) == 0


def test_the_trace_of_a_seed_whose_process_died_is_found_again() -> None:
    """By the model alone: the commands that both sides get."""
    batches = record(2002, 200, Swarm).batches
    both = [step for batch in batches for step in batch.steps]
    assert trace_of(2002, 200)[:len(both)] == both


def test_joined_commands_are_long_batches_and_the_same_ones() -> None:
    """A3, D1: only what needs the capability, and has it not, is left apart."""
    trace = trace_of(2003, 300)
    batch = joined(trace)
    assert [step.command for step in batch] == [step.command for step in trace]
    assert sum(not step.admin for step in batch) < 10 < sum(not step.admin for step in trace)
    assert all(step.admin == old.admin for step, old in zip(batch, trace, strict=True)
               if step.command.kind >= Kind.ADMIN_FIRST)


def test_a_soak_of_seconds_sums_up_all_its_workers() -> None:
    soak = Soak(first=3000, minutes=0.01, jobs=2, count=150)
    soak.run()
    assert soak.seeds >= 2
    assert soak.report.pairs.total() >= 150 * soak.seeds
    assert not soak.failures
    assert f"{soak.report.pairs.total():,} commands compared" in soak.line()


def test_a_cell_that_was_never_reached_is_named() -> None:
    reached = play(2000, 200).cells
    missing = holes(reached)
    assert missing
    assert len(missing) + sum(c in possible() for c in reached) == len(possible())
    assert any("new_order" in line.lower() for line in show(reached))


def test_a_command_is_counted_at_the_state_of_its_unit() -> None:
    side = ModelSide(make_world(2000))
    mark = side.venue.dump()
    assert cell(play_step(Kind.MARK).command, 0, mark) == (Kind.MARK, 0, "calm")
    assert cell(play_step(Kind.MARK).command, 209, mark) == (Kind.MARK, 209, "any")
    debt = {**mark, "fund_units": [-1, 0]}
    assert cell(play_step(Kind.MARK).command, 0, debt) == (Kind.MARK, 0, "fund in debt")


def play_step(kind: int) -> Step:
    from reference.records import Command

    return Step(replace(Command(), kind=kind), True)


def test_a_recording_judges_an_engine(tmp_path: Path) -> None:
    """The engine fits it, and would not if the model had said anything else."""
    record_all(tmp_path / "recordings", [5, 6], 200, 1)
    found = list(read_all(tmp_path / "recordings"))
    assert [recording.seed for recording in found] == [5, 6]
    assert judge(found[0]) == ""
    batch = found[0].batches[4]
    wrong = replace(batch, state_hash=batch.state_hash ^ 1)
    forged = replace(found[0], batches=(*found[0].batches[:4], wrong))
    assert judge(forged).startswith("state after command")
    row = batch.rows[0][0]
    wrong = replace(batch, rows=(((*row[:-1], row[-1] + 1), *batch.rows[0][1:]), *batch.rows[1:]))
    forged = replace(found[0], batches=(*found[0].batches[:4], wrong))
    assert "command" in judge(forged)
    assert judge(record(7, 150)) == ""
