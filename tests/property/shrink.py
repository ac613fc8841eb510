"""Makes a failing trace short and prints it as Python that fails again.

    PYTHONPATH=tests .venv/bin/python tests/property/shrink.py SEED [COMMANDS]

runs a seed and, if the sides differ, prints the shortest trace found. Each trial runs in a child
process, so that a failed check of the core (which ends the process) is shrunk like any difference.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from driver import Divergence, EngineSide, ModelSide, Pair, Side, run
from reference.codes import Kind
from reference.records import Command
from rulebook import draw_rulebook
from worlds import Step, World, make_world

GONE = 2**40  # an order id of a command that was left out
DEFAULT = Command()


@dataclass(frozen=True, slots=True)
class Failure:
    """How a trace fails; two failures are the same if their keys are."""

    key: tuple[Any, ...]
    text: str
    steps: tuple[Step, ...]


Replay = Callable[[World, Sequence[Step]], Failure | None]


def failure_of(error: Divergence) -> Failure:
    return Failure(error.key, str(error), tuple(error.trace))


def replayer(other: Callable[[World], Side] = EngineSide) -> Replay:
    """A replay that compares everything after every command."""

    def replay(world: World, steps: Sequence[Step]) -> Failure | None:
        pair = Pair(world, other(world))
        try:
            for step in steps:
                pair.play_closely(step)
        except Divergence as error:
            return failure_of(error)
        return None

    return replay


def guarded(replay: Replay) -> Replay:
    """The replay in a child process; a signal is a failure too."""

    def inside(world: World, steps: Sequence[Step]) -> Failure | None:
        source, sink = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(source)
            try:
                with os.fdopen(sink, "wb") as pipe:
                    pickle.dump(replay(world, steps), pipe)
            finally:
                os._exit(0)
        os.close(sink)
        with os.fdopen(source, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            number = os.WTERMSIG(status)
            return Failure(("signal", number), f"the process ended by signal {number}",
                           tuple(steps))
        failure: Failure | None = pickle.loads(answer)
        return failure

    return inside


# ---- leaving commands out


def created_blocks(world: World, steps: Sequence[Step]) -> list[int]:
    """Index of the command that created each isolation id, from id 1 on, by the model alone."""
    model = ModelSide(world)
    owners: list[int] = []
    for index, step in enumerate(steps):
        try:
            model.apply([step])
        except Exception:
            break  # the failure that is being shrunk; nothing comes after it
        owners += [index] * (model.dump()["next_isolation_id"] - 1 - len(owners))
    return owners


def without(steps: Sequence[Step], owners: Sequence[int], dropped: set[int]) -> list[Step]:
    """The trace without some commands; ids of orders and blocks follow their commands.

    A block's id is taken to be the count of commands that made one before: right unless leaving
    out a command changes which others are accepted.
    """
    order_ids: dict[int, int] = {}
    kept = [index for index in range(len(steps)) if index not in dropped]
    for position, index in enumerate(kept):
        order_ids[index + 1] = position + 1
    blocks: dict[int, int] = {}
    for number, owner in enumerate(owners, 1):
        if owner not in dropped:
            blocks[number] = len(blocks) + 1
    found = []
    for index in kept:
        command = steps[index].command
        order_id, block = command.order_id, command.isolation_id
        if 0 < order_id <= len(steps):
            order_id = order_ids.get(order_id, GONE)
        if 0 < block <= len(owners):
            block = blocks.get(block, GONE % 2**31)
        found.append(replace(steps[index], command=replace(command, order_id=order_id,
                                                           isolation_id=block)))
    return found


def drop_commands(world: World, failure: Failure, replay: Replay) -> Failure:
    """Delta debugging: chunks of half the trace, then smaller ones, until no command can go."""
    size = max(1, len(failure.steps) // 2)
    while True:
        owners = created_blocks(world, failure.steps)
        # The last command is the one that fails, unless a signal left that open.
        end, dropped_any = len(failure.steps) - (failure.key[0] != "signal"), False
        while end > 0:
            chunk = set(range(max(0, end - size), end))
            trial = replay(world, without(failure.steps, owners, chunk))
            if trial is not None and trial.key == failure.key:
                end = min(end - size, len(trial.steps) - (trial.key[0] != "signal"))
                failure, dropped_any = trial, True
                owners = created_blocks(world, failure.steps)
            else:
                end -= size
        if size == 1 and not dropped_any:
            return failure
        size = max(1, size // 2)


# ---- simpler fields and terms


def simpler_commands(step: Step) -> Iterator[Step]:
    for spec in fields(Command):
        value = getattr(step.command, spec.name)
        if spec.name in ("kind", "account", "contract", "timestamp_ns", "side") or value == 0:
            continue
        for smaller in (0, 10 ** (len(str(abs(value))) - 1), value // 2):
            if smaller != value:
                yield replace(step, command=replace(step.command, **{spec.name: smaller}))


def simplify_commands(world: World, failure: Failure, replay: Replay) -> Failure:
    for index in range(len(failure.steps)):
        for simpler in simpler_commands(failure.steps[index]):
            trial_steps = list(failure.steps)
            trial_steps[index] = simpler
            trial = replay(world, trial_steps)
            if trial is not None and trial.key == failure.key and (
                    len(trial.steps) == len(failure.steps)):
                failure = trial
    return failure


def renumber_accounts(world: World, failure: Failure, replay: Replay) -> Failure:
    """The accounts that do something become the first ones, so that the others need not open."""
    def acts(command: Command) -> bool:
        """Names an account, other than to open it."""
        return command.kind == Kind.SET_ELIGIBILITY or (
            command.kind < Kind.ADMIN_FIRST and command.kind != Kind.OPEN_ACCOUNT)

    used = sorted({step.command.account for step in failure.steps if acts(step.command)})
    number = {account: place for place, account in enumerate(used)}
    steps = [replace(step, command=replace(step.command, account=number[step.command.account]))
             if acts(step.command) else step for step in failure.steps]
    trial = replay(world, steps)
    return trial if trial is not None and trial.key == failure.key else failure


PLAIN = {"taker_fee_e9": 0, "maker_fee_e9": 0, "liquidation_fee_e9": 0, "unit_margin_rate_e15": 0,
         "maintenance_share_e4": 5000, "max_leverage": 100, "min_order_lots": 1,
         "stale_after_ns": 0, "marks_per_tick": 1}
PLAIN_VENUE = {"usdc_haircut_e9": 0, "account_notional_limit_units": 0,
               "excluded_citizenship": (), "excluded_residence": (), "fund_opening_units": (0, 0),
               "max_orders_per_account": 200, "max_blocks_per_account": 16,
               "timers_per_command": 16}


def simplify_world(world: World, failure: Failure, replay: Replay) -> tuple[World, Failure]:
    trials: list[Callable[[World], World]] = []
    for name, value in PLAIN_VENUE.items():
        trials.append(lambda w, n=name, v=value: replace(w, venue=replace(w.venue, **{n: v})))
    for number in range(len(world.contracts)):
        for name, value in PLAIN.items():
            trials.append(lambda w, c=number, n=name, v=value: replace(w, contracts=tuple(
                replace(terms, **{n: v}) if i == c else terms
                for i, terms in enumerate(w.contracts))))
    for change in trials:
        simpler = change(world)
        try:
            trial = replay(simpler, failure.steps)
        except Exception:
            continue  # terms that do not fit together
        if trial is not None and trial.key == failure.key:
            world, failure = simpler, trial
    return world, failure


def shrink(world: World, failure: Failure, replay: Replay) -> tuple[World, Failure]:
    """The shortest and plainest trace that still fails in the same way."""
    failure = drop_commands(world, failure, replay)
    failure = simplify_commands(world, failure, replay)
    failure = renumber_accounts(world, failure, replay)
    world, failure = simplify_world(world, failure, replay)
    return world, drop_commands(world, failure, replay)


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


def find(seed: int, count: int) -> Failure | None:
    try:
        run(seed, count, closely=True)
    except Divergence as error:
        return failure_of(error)
    return None


def main(seed: int, count: int = 3000) -> int:
    failure = find(seed, count)
    if failure is None:
        print(f"seed {seed}: model and engine agree over {count} commands")
        return 0
    print(f"seed {seed}: {failure.text}\nshrinking {len(failure.steps)} commands", file=sys.stderr)
    print(show(*shrink(draw_rulebook(make_world(seed), seed), failure, guarded(replayer()))))
    return 1


if __name__ == "__main__":
    raise SystemExit(main(*(int(argument) for argument in sys.argv[1:])))
