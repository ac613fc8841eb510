"""What the model says to a seed's commands, kept: an engine can be judged by it in milliseconds.

The model is plain Python and slow; the mutation check runs hundreds of engines over the same
commands. So the model's events are recorded once, with the state hash of an engine whose complete
state was compared with the model's at that point.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from driver import EngineSide, Pair, Row, as_row
from rulebook import draw_rulebook
from workload import Workload
from worlds import Step, World, make_world


@dataclass(frozen=True, slots=True)
class Batch:
    """Commands that go in together, the events of each by the model, the state hash after all."""

    steps: tuple[Step, ...]
    rows: tuple[tuple[Row, ...], ...]
    state_hash: int


@dataclass(frozen=True, slots=True)
class Recording:
    seed: int
    world: World
    batches: tuple[Batch, ...]


def record(seed: int, count: int, mix: type[Workload] = Workload) -> Recording:
    """Model and engine side by side, as in the differential test; a divergence raises."""
    world = draw_rulebook(make_world(seed), seed)
    side = EngineSide(world)
    pair, workload = Pair(world, side), mix(world, seed)
    batches: list[Batch] = []
    steps = workload.opening()
    while len(pair.trace) < count:
        if steps:
            events = pair.play(steps)
            pair.compare()
            rows = tuple(tuple(as_row(event) for event in some) for some in events)
            batches.append(Batch(tuple(steps), rows, side.state_hash()))
        steps = workload.next(pair.state, pair.model.ask)
    return Recording(seed, world, tuple(batches))


def record_all(file: Path, seeds: Sequence[int], count: int, jobs: int) -> None:
    """Write the recordings of some seeds, one after the other."""
    with (ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool,
          file.open("wb") as sink):
        for found in pool.map(record, seeds, [count] * len(seeds)):
            pickle.dump(found, sink)


def read_all(file: Path) -> Iterator[Recording]:
    """One at a time: most mutants are noticed by the first."""
    with file.open("rb") as source:
        while source.peek(1):
            yield pickle.load(source)


def judge(recording: Recording) -> str:
    """How an engine differs from a recording; empty when it does not.

    Each batch's first command is previewed before it (X1), and the engine checks itself after it.
    """
    side = EngineSide(recording.world, cuts=recording.seed)
    done, mark = 0, side.state_hash()
    for batch in recording.batches:
        if tuple(side.preview(batch.steps[0])) != batch.rows[0]:
            return f"preview of command {done + 1}"
        if side.state_hash() != mark:
            return f"state after the preview of command {done + 1}"
        if side.apply(batch.steps) != [row for rows in batch.rows for row in rows]:
            return f"events of commands {done + 1} to {done + len(batch.steps)}"
        done += len(batch.steps)
        mark = side.state_hash()
        if mark != batch.state_hash:
            return f"state after command {done}"
        problems = side.problems()
        if problems:
            return f"{problems[0]} after command {done}"
    return ""


def main(file: str) -> int:
    """Judge the engine that is imported by all recordings of a file."""
    for recording in read_all(Path(file)):
        print(f"seed {recording.seed}", flush=True)
        try:
            found = judge(recording)
        except Exception as error:
            found = f"raised {type(error).__name__}: {error}"
        if found:
            print(f"differs: {found}", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
