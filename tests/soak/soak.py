"""`make soak`: model and engine side by side for SOAK_MINUTES (30), on all cores.

    SOAK_MINUTES=30 SOAK_SEED=1000 .venv/bin/python tests/soak/soak.py

Each seed is a world and a swarm: it turns some kinds of commands off and others up, so that what a
fixed mix seldom meets is met often. Half of the seeds are played command by command, with a preview
before each and all invariants after it; the others in batches that are cut at random. At the end
all commands are played again, in long batches, to the same state. Prints what was compared and the
coverage matrix; exit code 1 if the sides ever differ (the trace is shrunk and written to out/soak,
as Python and as a command log), 2 if they agree but a cell that can be reached never was.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import conftest  # noqa: F401  puts the driver beside this directory on the path
from cells import Cell, cell, holes, show
from driver import Divergence, EngineSide, ModelSide, Pair, Report, Side
from invariants import batch_split_does_not_matter
from reference.codes import Ev, Kind, Reason
from rulebook import draw_rulebook
from shrink import Failure, failure_of, guarded, journal_of, replayer, shrink
from shrink import show as program
from swarm import Swarm
from worlds import Step, World, make_world

COMMANDS = 1_500  # of a seed


def world_of(seed: int) -> World:
    """With policies, brackets and triggers in some."""
    return draw_rulebook(make_world(seed), seed)


@dataclass
class Found:
    """What a seed gives back."""

    seed: int
    report: Report = field(default_factory=Report)
    cells: Counter[Cell] = field(default_factory=Counter)
    failure: Failure | None = None


def play(seed: int, count: int, other: Callable[[World], Side] = EngineSide) -> Found:
    """`count` commands of a seed on both sides."""
    world = world_of(seed)
    pair, workload, found = Pair(world, other(world)), Swarm(world, seed), Found(seed)
    steps = workload.opening()
    closely = seed // 4 % 2 == 0  # half of each kind of world
    try:
        while len(pair.trace) < count:
            for step in steps if closely else ():
                before = pair.state
                codes = Counter(pair.report.pairs)
                pair.play_closely(step)
                note(found, step, pair.report.pairs - codes, before)
            if steps and not closely:
                before, codes = pair.state, Counter(pair.report.pairs)
                pair.play(steps)
                pair.compare()
                if len(steps) == 1:
                    note(found, steps[0], pair.report.pairs - codes, before)
            steps = workload.next(pair.state, pair.model.ask)
        again = other(world)
        again.apply(joined(pair.trace))
        pair.hold(batch_split_does_not_matter, ([], again.state_hash()),
                  ([], pair.other.state_hash()))
    except Divergence as error:
        found.failure = failure_of(error)
    found.report = pair.report
    return found


def joined(trace: list[Step]) -> list[Step]:
    """The same commands, in batches as long as they get: the capability means nothing to traders'
    commands (A3), and only where it changes a batch is cut."""
    return [replace(step, admin=True) if step.command.kind < Kind.ADMIN_FIRST else step
            for step in trace]


def note(found: Found, step: Step, pairs: Counter[tuple[int, int]], before: Any) -> None:
    for _, code in pairs:
        found.cells[cell(step.command, code, before)] += 1


def worker(pipe: Connection, count: int) -> None:
    """Play the seeds that come through a pipe."""
    while True:
        seed = pipe.recv()
        if seed is None:
            return
        pipe.send(play(seed, count))


def trace_of(seed: int, count: int) -> list[Step]:
    """The commands of a seed, by the model alone."""
    world = world_of(seed)
    model, workload = ModelSide(world), Swarm(world, seed)
    trace, steps = [], workload.opening()
    while len(trace) < count:
        model.apply(steps)
        trace += steps
        steps = workload.next(model.dump(), model.ask)
    return trace


def hunt(first: int, step: int, seconds: int) -> int:
    """Play every `step`-th seed until the sides differ: exit code 1; 0 when the time is over."""
    until, seed, commands = time.monotonic() + seconds, first, 0
    while time.monotonic() < until:
        print(f"{commands} commands, seed {seed}", flush=True)
        found = play(seed, COMMANDS)
        commands += found.report.pairs.total()
        if found.failure is not None:
            print(f"{commands} commands, seed {seed}: {found.failure.key}", flush=True)
            return 1
        seed += step
    return 0


def written(seed: int, failure: Failure, out: Path, other: Callable[[World], Side] = EngineSide,
            ) -> Path:
    """The failing trace, shrunk, as a program that fails again, and beside it as a command log for
    `perpcore shrink`. A worker that died has left no trace: then it is that of the model."""
    world, steps = world_of(seed), failure.steps or trace_of(seed, COMMANDS)
    short = shrink(journal_of(world, steps), guarded(replayer(other)))
    world, failure = short or (world, replace(failure, steps=tuple(steps)))
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"seed_{seed}.py"
    path.write_text(program(world, failure), encoding="utf-8")
    journal_of(world, failure.steps).save(path.with_suffix(".npz"))
    return path


@dataclass
class Soak:
    """All seeds together."""

    first: int
    minutes: float
    jobs: int
    count: int = COMMANDS
    seeds: int = 0
    report: Report = field(default_factory=Report)
    cells: Counter[Cell] = field(default_factory=Counter)
    failures: list[tuple[int, Failure]] = field(default_factory=list)

    def run(self) -> None:
        context, until = get_context("spawn"), time.monotonic() + self.minutes * 60
        busy: dict[Any, tuple[Any, int]] = {}
        told = time.monotonic()

        def start() -> None:
            pipe, end = context.Pipe()
            process = context.Process(target=worker, args=(end, self.count), daemon=True)
            process.start()
            end.close()
            give(pipe, process)

        def give(pipe: Any, process: Any) -> None:
            pipe.send(self.first + self.seeds)
            busy[pipe] = process, self.first + self.seeds
            self.seeds += 1

        for _ in range(self.jobs):
            start()
        while busy:
            for pipe in wait(list(busy)):
                process, seed = busy.pop(pipe)
                try:
                    self.take(pipe.recv())
                except EOFError:
                    self.failures.append((seed, Failure(("signal",), "a worker ended", ())))
                    if time.monotonic() < until:
                        start()
                    continue
                if time.monotonic() < until:
                    give(pipe, process)
                else:
                    pipe.send(None)
            if time.monotonic() - told > 60:
                told = time.monotonic()
                print(f"{max(0, until - told) / 60:.0f} min left: {self.line()}", flush=True)

    def take(self, found: Found) -> None:
        self.report += found.report
        self.cells += found.cells
        if found.failure is not None:
            self.failures.append((found.seed, found.failure))
            print(f"seed {found.seed} differs: {found.failure.text}", flush=True)

    def line(self) -> str:
        events, reasons = self.report.events, self.report.reasons
        return (f"{self.report.pairs.total():,} commands compared in {self.seeds:,} seeds, "
                f"{events[Ev.LIQUIDATED]:,} liquidations, "
                f"{events[Ev.SESSION_SETTLED]:,} sessions, "
                f"{events[Ev.LOSS_UNCOVERED]:,} uncovered losses, "
                f"{reasons[Reason.SOCIALIZED_LOSS]:,} shares of socialized loss, "
                f"{len(self.failures)} failures")


def main() -> int:
    environment = os.environ.get
    soak = Soak(int(environment("SOAK_SEED", "1000")), float(environment("SOAK_MINUTES", "30")),
                os.cpu_count() or 1)
    soak.run()
    print("\n".join(["", "command, code: unit state and how often", *show(soak.cells), "",
                     soak.line()]))
    for seed, failure in soak.failures:
        print(f"seed {seed}: {failure.text}\nwritten: {written(seed, failure, Path('out/soak'))}",
              flush=True)
    missing = holes(soak.cells)
    if missing:
        print(f"{len(missing)} cells that can be reached were not: {', '.join(missing)}")
    return 1 if soak.failures else 2 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
