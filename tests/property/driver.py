"""Model and engine side by side: the same commands, and everything that comes out compared.

`Pair.play` is the only way commands go in; it keeps the trace, so that whatever fails can be shrunk
(`shrink.py`) and shown as a few lines of Python.
"""

from __future__ import annotations

import random
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, NoReturn, Protocol

import numpy as np
from invariants import (
    INVARIANTS,
    SCANS,
    Terms,
    preview_is_the_result,
    voluntary_acts_cost_the_fund_nothing,
)
from reference.codes import Ev, Kind
from reference.records import Command, Event, to_row
from reference.venue import Venue
from rulebook import draw_rulebook
from workload import Workload
from worlds import Dump, Step, World, make_world

from perpcore.records import COMMAND, CONTRACT_TERMS, EVENT, VENUE_TERMS

ADMIN_KEY = 0x5EED
ROOM = 1 << 16
Row = tuple[int, ...]
NAMES = EVENT.names or ()
as_row = attrgetter(*NAMES)


def as_event(row: Row) -> Event:
    """A row in words, for messages."""
    return Event(**dict(zip(NAMES, row, strict=True)))


class Divergence(AssertionError):
    """The sides differ, or one breaks an invariant, after the last step of the trace.

    `key` is what stays when the trace is shrunk: what differs, not by how much.
    """

    def __init__(self, key: tuple[Any, ...], detail: str, world: World,
                 trace: Sequence[Step]) -> None:
        super().__init__(f"{key} after command {len(trace)}\n{detail}")
        self.key, self.world, self.trace = key, world, list(trace)


class Side(Protocol):
    """What the driver asks of a venue."""

    def apply(self, steps: Sequence[Step]) -> list[Row]: ...
    def preview(self, step: Step) -> list[Row]: ...
    def dump(self) -> Dump: ...
    def problems(self) -> list[str]: ...
    def state_hash(self) -> Any: ...


class ModelSide:
    def __init__(self, world: World) -> None:
        self.venue = Venue(world.venue, ADMIN_KEY)
        for terms in world.contracts:
            self.venue.add_contract(terms, ADMIN_KEY)

    def apply(self, steps: Sequence[Step]) -> list[Row]:
        rows: list[Row] = []
        for step in steps:
            events = self.venue.apply(step.command, ADMIN_KEY if step.admin else 0)
            rows += [as_row(event) for event in events]
        return rows

    def preview(self, step: Step) -> list[Row]:
        events = self.venue.preview(step.command, ADMIN_KEY if step.admin else 0)
        return [as_row(event) for event in events]

    def ask(self, command: Command) -> Sequence[Event]:
        events: Sequence[Event] = self.venue.preview(command, ADMIN_KEY)
        return events

    def dump(self) -> Dump:
        dump: Dump = self.venue.dump()
        return dump

    def problems(self) -> list[str]:
        return residuals("model", self.venue.audit())

    def state_hash(self) -> Any:
        return self.dump()


class EngineSide:
    """The compiled engine; a batch goes in as arrays, cut where the capability changes."""

    def __init__(self, world: World, cuts: int = 0) -> None:
        from perpcore.engine import Engine

        terms = np.zeros(1, VENUE_TERMS)
        to_row(world.venue, terms[0])
        self.engine = Engine(terms, ADMIN_KEY)
        for contract in world.contracts:
            self.engine.add_contract(contract_array(contract), ADMIN_KEY)
        self.out = np.zeros(ROOM, EVENT)
        self.cuts = random.Random(cuts)

    def apply(self, steps: Sequence[Step]) -> list[Row]:
        rows: list[Row] = []
        start = 0
        while start < len(steps):
            end = start + 1
            while end < len(steps) and steps[end].admin == steps[start].admin:
                end += 1
            end = self.cuts.randint(start + 1, end)  # any split gives the same (D1)
            key = ADMIN_KEY if steps[start].admin else 0
            applied, count = self.engine.apply(command_array(steps[start:end]), self.out, key)
            rows += self.out[:count].tolist()
            start += applied
        return rows

    def preview(self, step: Step) -> list[Row]:
        key = ADMIN_KEY if step.admin else 0
        count = self.engine.preview(command_array([step]), self.out, key)
        rows: list[Row] = self.out[:count].tolist()
        return rows

    def dump(self) -> Dump:
        return self.engine.dump()

    def problems(self) -> list[str]:
        found = residuals("engine", self.engine.audit())
        if any(self.engine.running_residual()):
            found.append(f"engine: running residual {self.engine.running_residual()}")
        return found + [f"engine: {line}" for line in self.engine.check()]

    def state_hash(self) -> Any:
        return self.engine.state_hash()


def residuals(side: str, audit: Any) -> list[str]:
    """L1: what an audit finds must be 0, whatever it is called."""

    def numbers(value: Any) -> list[int]:
        if isinstance(value, dict):
            return [n for part in value.values() for n in numbers(part)]
        if isinstance(value, (list, tuple)):
            return [n for part in value for n in numbers(part)]
        return [int(value)]

    return [f"{side}: audit {audit}"] if any(numbers(audit)) else []


def contract_array(terms: Any) -> Any:
    """(1,) CONTRACT_TERMS."""
    row = np.zeros(1, CONTRACT_TERMS)
    to_row(terms, row[0])
    return row


def command_array(steps: Sequence[Step]) -> Any:
    """(n,) COMMAND."""
    names = COMMAND.names or ()
    get = attrgetter(*names)
    return np.array([get(step.command) for step in steps], COMMAND)


# ---- what happened


@dataclass
class Report:
    """How often each thing occurred, by name."""

    pairs: Counter[tuple[int, int]] = field(default_factory=Counter)  # (kind of command, code)
    events: Counter[int] = field(default_factory=Counter)
    reasons: Counter[int] = field(default_factory=Counter)
    ledgers: Counter[int] = field(default_factory=Counter)
    done: Counter[int] = field(default_factory=Counter)
    intents: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)  # by intent

    def note(self, step: Step, events: Sequence[Event]) -> None:
        code = 0
        for event in events:
            self.events[event.kind] += 1
            if event.kind == Ev.REJECT:
                code = event.code
            elif event.kind == Ev.BALANCE:
                self.reasons[event.reason] += 1
                self.ledgers[event.ledger] += 1
            elif event.kind == Ev.CANCELLED:
                self.done[event.reason] += 1
        self.pairs[step.command.kind, code] += 1
        self.intents[step.intent] += 1
        self.accepted[step.intent] += code == 0

    def __add__(self, other: Report) -> Report:
        return Report(self.pairs + other.pairs, self.events + other.events,
                      self.reasons + other.reasons, self.ledgers + other.ledgers,
                      self.done + other.done, self.intents + other.intents,
                      self.accepted + other.accepted)


class Pair:
    """The model and another side on one world."""

    def __init__(self, world: World, other: Side) -> None:
        self.world, self.other = world, other
        self.model = ModelSide(world)
        self.terms = Terms(
            tuple(market.terms for market in self.model.venue.state.markets),
            world.venue.usdc_haircut_e9, bool(world.venue.haircut_in))
        self.trace: list[Step] = []
        self.report = Report()
        self.state: Dump = self.model.dump()

    def fail(self, detail: str, *key: Any) -> NoReturn:
        raise Divergence(key, detail, self.world, self.trace)

    def play(self, steps: Sequence[Step]) -> list[list[Event]]:
        """Apply a batch to both sides, compare the events field by field; returns the model's."""
        events: list[list[Event]] = []
        for step in steps:
            key = ADMIN_KEY if step.admin else 0
            try:
                events.append(self.model.venue.apply(step.command, key))
            except Exception as error:
                self.trace += steps[: len(events) + 1]
                self.fail(traceback.format_exc(limit=-4), "model raised", type(error).__name__)
            self.report.note(step, events[-1])
        expected = [[as_row(event) for event in some] for some in events]
        try:
            got = self.other.apply(steps)
        except Exception as error:
            self.trace += steps
            self.fail(traceback.format_exc(limit=-4), "other raised", type(error).__name__)
        if [row for rows in expected for row in rows] == got:
            self.trace += steps
            return events
        for step, rows in zip(steps, expected, strict=True):
            self.trace.append(step)
            if got[: len(rows)] != rows or len(self.trace) == self.model.venue.seq:
                break
            got = got[len(rows):]
        seq = len(self.trace)
        text, kinds = difference(rows, [row for row in got if row[0] == seq])
        self.fail(text, "events", self.trace[-1].command.kind, *kinds)

    def compare(self) -> None:
        """The complete state of both sides, and their own checks."""
        self.state, other = self.model.dump(), self.other.dump()
        if self.state != other:
            found = unequal("", self.state, other)
            path = "".join(c for c in found[0].split(":")[0] if not c.isdigit())
            self.fail("\n".join(found[:20]), "state", path)
        problems = self.model.problems() + self.other.problems()
        if problems:
            self.fail("\n".join(problems), "check", problems[0].split(":")[0])

    def play_closely(self, step: Step) -> None:
        """One command with everything that can be said about it: a preview first (X1), then the
        command, both states, and the invariants between the states."""
        before, mark = self.state, self.other.state_hash()
        shown = self.other.preview(step)
        unmoved = self.other.state_hash() == mark
        events = self.play([step])[0]
        rows = [as_row(event) for event in events]
        if shown != rows:
            text, _ = difference(rows, shown)
            self.fail(f"what happened (model) and its preview (other)\n{text}", "preview")
        self.hold(preview_is_the_result, shown, rows, unmoved)
        self.compare()
        for invariant in INVARIANTS:
            self.hold(invariant, step.command, events, before, self.state)
        for scan in SCANS:
            self.hold(scan, self.terms, events, self.state)
        # Where a liquidation may sell down to the band, the fund covers what it loses there (Q3).
        if step.command.kind < Kind.ADMIN_FIRST and not self.world.venue.liquidation_limit:
            self.hold(voluntary_acts_cost_the_fund_nothing, events)

    def hold(self, invariant: Callable[..., None], *facts: Any) -> None:
        try:
            invariant(*facts)
        except AssertionError as error:
            self.fail(str(error), "invariant", invariant.__name__)


def run(seed: int, count: int, *, closely: bool = False,
        other: Callable[[World], Side] = EngineSide) -> Pair:
    """`count` commands of a seed on both sides. Closely: command by command, with previews and
    invariants; else in batches, with the states compared after each."""
    world = draw_rulebook(make_world(seed), seed)
    pair, workload = Pair(world, other(world)), Workload(world, seed)
    steps = workload.opening()
    while True:
        if closely:
            for step in steps:
                pair.play_closely(step)
        else:
            pair.play(steps)
            pair.compare()
        if len(pair.trace) >= count:
            return pair
        steps = []
        while not steps:
            steps = workload.next(pair.state, pair.model.ask)


def difference(expected: Sequence[Row], got: Sequence[Row]) -> tuple[str, tuple[int, ...]]:
    """Two lists of events from their first difference on, and the kinds that differ there."""
    same = 0
    while same < min(len(expected), len(got)) and expected[same] == got[same]:
        same += 1
    lines = [f"  both   {as_event(row)}" for row in expected[max(0, same - 3):same]]
    lines += [f"  model  {as_event(row)}" for row in expected[same:same + 6]] or ["  model  (end)"]
    lines += [f"  other  {as_event(row)}" for row in got[same:same + 6]] or ["  other  (end)"]
    kinds = tuple(rows[same][NAMES.index("kind")] if same < len(rows) else 0
                  for rows in (expected, got))
    return "\n".join(lines), kinds


def unequal(path: str, model: Any, other: Any) -> list[str]:
    """Where two dumps differ."""
    if isinstance(model, dict) and isinstance(other, dict):
        return [line for key in sorted({*model, *other}, key=str)
                for line in unequal(f"{path}.{key}", model.get(key), other.get(key))]
    if isinstance(model, (list, tuple)) and isinstance(other, (list, tuple)):
        if len(model) != len(other):
            return [f"{path}: model {model} other {other}"]
        return [line for i, (a, b) in enumerate(zip(model, other, strict=True))
                for line in unequal(f"{path}[{i}]", a, b)]
    return [] if model == other else [f"{path}: model {model!r} other {other!r}"]
