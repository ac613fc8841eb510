"""Makes a failing trace short and prints it as Python that fails again.

    PYTHONPATH=tests .venv/bin/python tests/property/shrink.py SEED [COMMANDS]
    PYTHONPATH=tests .venv/bin/python tests/property/shrink.py LOG

runs a seed, or plays a command log, on model and engine; exit code 1 if they differ. Of a seed it
prints the shortest trace that still does; what shortens it is `perpcore.shrink`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from driver import Divergence, EngineSide, Pair, Side, command_array, contract_array, run
from reference.codes import Kind
from reference.records import Command, ContractTerms, VenueTerms, from_row, to_row
from rulebook import draw_rulebook
from worlds import Step, World, make_world

from perpcore import shrink as shrinking
from perpcore.journal import Journal, Progress
from perpcore.records import CONTRACT_TERMS, VENUE_TERMS

DEFAULT = Command()


@dataclass(frozen=True, slots=True)
class Failure:
    """How a trace fails; two failures are the same if their keys are."""

    key: tuple[Any, ...]
    text: str
    steps: tuple[Step, ...]


Replay = Callable[[World, Sequence[Step], Progress], Failure | None]


def failure_of(error: Divergence) -> Failure:
    return Failure(error.key, str(error), tuple(error.trace))


def replayer(other: Callable[[World], Side] = EngineSide) -> Replay:
    """A replay that compares everything after every command."""

    def replay(world: World, steps: Sequence[Step],
               progress: Progress = lambda at: None) -> Failure | None:
        pair = Pair(world, other(world))
        try:
            for at, step in enumerate(steps):
                progress(at)
                pair.play_closely(step)
        except Divergence as error:
            return failure_of(error)
        return None

    return replay


# ---- a world and its steps as a command log, and back


def journal_of(world: World, steps: Sequence[Step]) -> Journal:
    venue = np.zeros(1, VENUE_TERMS)
    to_row(world.venue, venue[0])
    contracts = [contract_array(terms) for terms in world.contracts]
    return Journal(venue, np.concatenate(contracts) if contracts else np.zeros(0, CONTRACT_TERMS),
                   command_array(steps), np.array([step.admin for step in steps], np.bool_))


def terms_of(kind: type[Any], row: Any) -> Any:
    """Terms of a row; zeros at the end of an array of any length say nothing."""
    values = {}
    for spec in fields(kind):
        value = row[spec.name].tolist()
        if isinstance(value, list):
            while value and not value[-1] and spec.name not in ("fund_opening_units", "spare"):
                value.pop()
            value = tuple(value)
        values[spec.name] = value.decode() if isinstance(value, bytes) else value
    count = values.get("bracket_count", 0)
    for name in ("bracket_cap_units", "bracket_mm_e9", "bracket_leverage", "bracket_cum_units"):
        if count:
            values[name] = tuple(row[name][:count].tolist())
    return kind(**values)


def world_of(journal: Journal) -> World:
    return World(terms_of(VenueTerms, journal.venue[0]),
                 tuple(terms_of(ContractTerms, row) for row in journal.contracts))


def steps_of(journal: Journal) -> list[Step]:
    return [Step(from_row(Command, row), bool(admin))
            for row, admin in zip(journal.commands, journal.admin, strict=True)]


def guarded(replay: Replay) -> shrinking.Judge:
    """The replay of a log in a child process; a signal is a failure too."""

    def trial(journal: Journal, progress: Progress) -> shrinking.Failure | None:
        try:
            found = replay(world_of(journal), steps_of(journal), progress)
        except ValueError as error:  # terms that do not fit together
            return shrinking.Failure(("terms",), str(error))
        return found and shrinking.Failure(found.key, found.text, len(found.steps))

    return shrinking.guarded(trial)


def shrink(journal: Journal, judge: shrinking.Judge) -> tuple[World, Failure] | None:
    """The shortest and plainest trace that still fails in the same way; None if it does not."""
    short = shrinking.shrink(journal, judge)
    if short is None:
        return None
    journal, failure = short
    return world_of(journal), Failure(failure.key, failure.text, tuple(steps_of(journal)))


# ---- as text


def show_command(command: Command) -> str:
    names = {value: name for name, value in vars(Kind).items() if not name.startswith("_")}
    known = command.kind in names  # of two names of one number the later one is the kind's own
    parts = [f"kind=Kind.{names[command.kind]}" if known else f"kind={command.kind}"]
    for spec in fields(Command):
        value = getattr(command, spec.name)
        if spec.name != "kind" and value != getattr(DEFAULT, spec.name):
            parts.append(f"{spec.name}={value}")
    return f"Command({', '.join(parts)})"


def show(world: World, failure: Failure) -> str:
    """A program that replays the failure."""
    lines = [
        "from reference.codes import Kind",
        "from reference.records import Command, ContractTerms, VenueTerms",
        "from shrink import replayer",
        "from worlds import Step, World",
        f"world = World({world.venue!r}, (",
        *(f"    {terms!r}," for terms in world.contracts),
        "))",
        "steps = [",
        *(f"    Step({show_command(step.command)}, {step.admin}),  # {i}"
          for i, step in enumerate(failure.steps, 1)),
        "]",
        "failure = replayer()(world, steps)",
        "print(failure.text if failure else 'agrees')",
    ]
    comment = "\n".join(f"# {line}" for line in failure.text.splitlines())
    return "\n".join(lines) + "\n" + comment


def again(path: str) -> int:
    """Play a command log on both sides; exit code 1 if they differ."""
    found = guarded(replayer())(Journal.load(path))
    print(f"{path}: {found.text if found else 'model and engine agree'}")
    return 1 if found else 0


def main(seed: int, count: int = 3000) -> int:
    try:
        run(seed, count, closely=True)
    except Divergence as error:
        failure = failure_of(error)
    else:
        print(f"seed {seed}: model and engine agree over {count} commands")
        return 0
    print(f"seed {seed}: {failure.text}\nshrinking {len(failure.steps)} commands", file=sys.stderr)
    journal = journal_of(draw_rulebook(make_world(seed), seed), failure.steps)
    short = shrink(journal, guarded(replayer()))
    print(show(*short) if short else "it does not fail again")
    return 1


if __name__ == "__main__":
    if Path(sys.argv[1]).suffix == ".npz":
        raise SystemExit(again(sys.argv[1]))
    raise SystemExit(main(*(int(argument) for argument in sys.argv[1:])))
