"""Makes a failing command log short: `perpcore shrink LOG`.

Delta debugging: parts of the log are left out, from halves down to single commands, as long as it
fails in the same way; then fields become simpler, accounts are numbered anew and terms plain. What
failing means is a judge's to say; each trial runs in a child process, so that a failed check of
the core, which ends the process, is shrunk like any other failure.
"""

from __future__ import annotations

import faulthandler
import mmap
import os
import pickle
import re
import shlex
import subprocess
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore.codes import Kind
from perpcore.journal import Journal, Progress, apply_one
from perpcore.prices import InputError
from perpcore.records import COMMAND, EVENT, VENUE_TERMS

_GONE = 2**40  # an order id of a command that was left out
_GONE_BLOCK = 2**30
_ROOM = 1 << 16


@dataclass(frozen=True)
class Failure:
    """How a log fails. Two failures are the same if their keys are.

    `at`: how many commands it took, the last one being the one that fails; None: not known.
    """

    key: tuple[Any, ...]
    text: str
    at: int | None = None


Judge = Callable[[Journal], Failure | None]
#: Plays a journal, says before each command which one comes, and what it finds.
Trial = Callable[[Journal, Progress], Failure | None]
Note = Callable[[int, int], None]


# ---- judging


@dataclass(frozen=True)
class Outcome:
    """Of a child process: what it returned, or the signal that ended it and what it said on
    stderr; and the int64 that it wrote down on the way."""

    result: Any
    signal: int
    said: str
    notes: NDArray[np.int64]


def in_child(work: Callable[[Note], Any], places: int) -> Outcome:
    """Run `work` in a child process; it gets a function that notes (place, value) beyond it."""
    notes = np.frombuffer(mmap.mmap(-1, 8 * max(1, places)), np.int64)
    source, sink = os.pipe()
    with tempfile.TemporaryFile() as errors:
        with warnings.catch_warnings():  # the child only computes: it waits for no other thread
            warnings.simplefilter("ignore", DeprecationWarning)
            child = os.fork()
        if child == 0:
            code = 1
            try:
                os.dup2(errors.fileno(), 2)
                faulthandler.disable()
                with os.fdopen(sink, "wb") as pipe:
                    pickle.dump(work(notes.__setitem__), pipe)
                code = 0
            except Exception:
                os.write(2, traceback.format_exc().encode())
            finally:
                os._exit(code)
        os.close(sink)
        with os.fdopen(source, "rb") as pipe:
            answer = pipe.read()
        _, status = os.waitpid(child, 0)
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip()
    if os.WIFSIGNALED(status):
        return Outcome(None, os.WTERMSIG(status), said, notes)
    if status:
        raise RuntimeError(f"what judges a log failed itself:\n{said}")
    return Outcome(pickle.loads(answer), 0, said, notes)


def guarded(trial: Trial) -> Judge:
    """The trial in a child process; a signal, and which check of the core sent it, is a failure
    too."""

    def judge(journal: Journal) -> Failure | None:
        def work(note: Note) -> Failure | None:
            return trial(journal, lambda at: note(0, at + 1))

        done = in_child(work, 1)
        if done.signal:
            said = done.said.splitlines()[-1] if done.said else ""
            return Failure(("signal", done.signal, said),
                           f"the process ended by signal {done.signal} {said}".rstrip(),
                           int(done.notes[0]))
        found: Failure | None = done.result
        return found

    return judge


def by_command(line: str) -> Judge:
    """A program that is given the log as {log}; it fails unless its exit code is 0."""
    words = shlex.split(line)
    if not any("{log}" in word for word in words):
        raise InputError("--command", f"{line!r} does not name the log",
                         "write {log} where its path belongs")

    def judge(journal: Journal) -> Failure | None:
        with tempfile.TemporaryDirectory() as place:
            path = journal.save(Path(place) / "log.npz")
            try:
                done = subprocess.run([word.replace("{log}", str(path)) for word in words],
                                      capture_output=True, text=True, check=False)
            except OSError as error:
                raise InputError("--command", f"{words[0]!r} does not run: {error.strerror}",
                                 "check the path") from error
        if not done.returncode:
            return None
        last = (done.stdout + done.stderr).strip().splitlines()[-1:]
        return Failure(("command",), " ".join([f"exit code {done.returncode}", *last]))

    return judge


# ---- checks of a log


def audit(journal: Journal, progress: Progress) -> str:
    """Every residual of the ledger is 0 (L1), and the engine's own walk through all units,
    thresholds against an exhaustive scan (Q2), finds nothing."""
    out = np.empty(_ROOM, EVENT)
    for engine, command, at in journal.steps(progress):
        apply_one(engine, command, out, journal.key(at))
        sums = engine.audit()
        if sums["USD"] or sums["USDC"] or any(sums["positions"]):
            return f"audit {sums}"
        if any(engine.running_residual()):
            return f"running residual {engine.running_residual()}"
        for line in engine.check():
            return line
    return ""


def verify(journal: Journal, progress: Progress) -> str:
    """The books kept again from the events alone (L1, L2, U4, I1): `perpcore verify`."""
    from perpcore.verify import Fold, fold_events

    out, fold = np.empty(_ROOM, EVENT), Fold()
    for engine, command, at in journal.steps(progress):
        misfit = fold_events(apply_one(engine, command, out, journal.key(at)).tolist(), fold)
        if misfit is not None:
            return misfit.problem
    return ""


def preview(journal: Journal, progress: Progress) -> str:
    """A preview says what the command then does, and changes nothing (X1)."""
    out = np.empty(_ROOM, EVENT)
    for engine, command, at in journal.steps(progress):
        before = engine.state_hash()
        shown = out[:engine.preview(command, out, journal.key(at))].tobytes()
        if engine.state_hash() != before:
            return "a preview changed the state"
        # A preview shows as many events as there is room for; a crash may have more.
        if apply_one(engine, command, out, journal.key(at))[:len(out)].tobytes() != shown:
            return "the preview said something else"
    return ""


def split(journal: Journal, progress: Progress) -> str:
    """Commands in batches give the same events and the same state as one by one (D1)."""
    out = np.empty(_ROOM, EVENT)
    batched, apart = journal.engine(), journal.engine()
    cuts = {0, *np.flatnonzero(np.diff(journal.admin)) + 1, *journal.contracts_at, len(journal)}
    for start, end in pairwise(sorted(int(cut) for cut in cuts)):
        rows = []
        for engine in (batched, apart):
            journal.register(engine, start)
        for at in range(start, end):
            progress(at)
            rows.append(apply_one(apart, journal.commands[at:at + 1], out, journal.key(at)))
        whole = apply_one(batched, journal.commands[start:end], out, journal.key(start))
        if whole.tobytes() != b"".join(row.tobytes() for row in rows):
            return "a batch has other events"
        if batched.state_hash() != apart.state_hash():
            return "a batch leaves another state"
    return ""


CHECKS: dict[str, Callable[[Journal, Progress], str]] = {
    check.__name__: check for check in (audit, verify, preview, split)
}


def by_checks(names: tuple[str, ...]) -> Judge:
    """The first of these checks that finds something; an exception of the engine counts."""

    def trial(journal: Journal, progress: Progress) -> Failure | None:
        reached = 0

        def note(at: int) -> None:
            nonlocal reached
            reached = at + 1
            progress(at)

        for name in names:
            try:
                problem = CHECKS[name](journal, note)
            except Exception as error:
                problem = f"{type(error).__name__}: {error}"
            if problem:
                return Failure((name, re.sub(r"-?\d+", "", problem)), f"{name}: {problem}", reached)
        return None

    return guarded(trial)


def judge_of(check: str | None, line: str | None) -> Judge:
    """What `--check` or `--command` ask for; raises InputError."""
    if line is not None:
        if check is not None:
            raise InputError("--command", "--check is given, too", "give one of them")
        return by_command(line)
    if check is not None and check not in CHECKS:
        raise InputError("--check", f"{check!r} is no check", f"give {', '.join(CHECKS)}")
    return by_checks((check,) if check else tuple(CHECKS))


# ---- leaving commands out


def creators(journal: Journal) -> list[int]:
    """The place of the command that created each isolation id, from id 1 on."""

    def work(note: Note) -> None:
        out, known = np.empty(_ROOM, EVENT), 1
        for engine, command, at in journal.steps():
            apply_one(engine, command, out, journal.key(at))
            for number in range(known, engine.next_isolation_id):
                note(number, at)
            known = engine.next_isolation_id
            note(0, known - 1)

    # The failure that is being shrunk may end it early; nothing comes after that.
    notes = in_child(work, len(journal) + 1).notes
    return [int(at) for at in notes[1:1 + int(notes[0])]]


def without(journal: Journal, owners: list[int], dropped: range) -> Journal:
    """The log without some commands; ids of orders and blocks follow their commands.

    A block's id is taken to be the count of commands that made one before: right unless leaving
    out a command changes which others are accepted.
    """
    kept = np.setdiff1d(np.arange(len(journal)), np.array(dropped, np.intp))
    order_ids = np.full(len(journal) + 1, _GONE, np.uint64)
    order_ids[0], order_ids[kept + 1] = 0, np.arange(1, len(kept) + 1)
    blocks, alive = np.full(len(owners) + 1, _GONE_BLOCK, np.uint64), 0
    blocks[0] = 0
    for number, owner in enumerate(owners, 1):
        if owner not in dropped:
            alive += 1
            blocks[number] = alive
    commands = journal.commands[kept]
    for name, table in (("order_id", order_ids), ("isolation_id", blocks)):
        old = commands[name]
        commands[name] = np.where(old < len(table), table[np.minimum(old, len(table) - 1)], old)
    return journal.keep(kept, commands)


def cut(journal: Journal, failure: Failure) -> Journal:
    """The log up to the command that fails."""
    return journal if failure.at is None else journal.first(failure.at)


def drop_commands(journal: Journal, failure: Failure, judge: Judge) -> tuple[Journal, Failure]:
    """Chunks of half the log, then smaller ones, until no command can go."""
    size = max(1, len(journal) // 2)
    while True:
        owners = creators(journal)
        # The last command is the one that fails, where that is known.
        end, dropped_any = len(journal) - (failure.at is not None), False
        while end > 0:
            trial = without(journal, owners, range(max(0, end - size), end))
            found = judge(trial)
            if found is not None and found.key == failure.key:
                journal, failure, dropped_any = cut(trial, found), found, True
                end = min(end - size, len(journal) - (found.at is not None))
                owners = creators(journal)
            else:
                end -= size
        if size == 1 and not dropped_any:
            return journal, failure
        size = max(1, size // 2)


# ---- simpler fields and terms


def simpler(value: int) -> list[int]:
    """Values to try instead: 0, one digit and zeros, half."""
    options = (0, 10 ** (len(str(abs(value))) - 1), int(value / 2))
    return [option for option in dict.fromkeys(options) if abs(option) < abs(value)]


_KEPT = ("kind", "account", "contract", "timestamp_ns", "side")


def simplify_commands(journal: Journal, failure: Failure, judge: Judge) -> tuple[Journal, Failure]:
    for at in range(len(journal)):
        for name in COMMAND.names or ():
            if name in _KEPT:
                continue
            for option in simpler(int(journal.commands[name][at])):
                commands = journal.commands.copy()
                commands[name][at] = option
                trial = replace(journal, commands=commands)
                found = judge(trial)
                if found is not None and found.key == failure.key and (
                        len(cut(trial, found)) == len(journal)):
                    journal, failure = trial, found
                    break
    return journal, failure


def acting(commands: NDArray[np.void]) -> NDArray[np.bool_]:
    """Which commands name an account, other than to open it."""
    kinds = commands["kind"]
    traders = (kinds < Kind.MARK) & (kinds != Kind.OPEN_ACCOUNT)
    found: NDArray[np.bool_] = traders | (kinds == Kind.SET_ELIGIBILITY)
    return found


def renumber_accounts(journal: Journal, failure: Failure, judge: Judge) -> tuple[Journal, Failure]:
    """The accounts that do something become the first ones, so that the others need not open."""
    commands, named = journal.commands.copy(), acting(journal.commands)
    used, numbers = np.unique(commands["account"][named], return_inverse=True)
    if not len(used):
        return journal, failure
    commands["account"][named] = numbers
    trial = replace(journal, commands=commands)
    found = judge(trial)
    return (trial, found) if found is not None and found.key == failure.key else (journal, failure)


#: Terms without a say in anything; a policy is plain at 0, its default.
PLAIN_CONTRACT = {
    "taker_fee_e9": 0, "maker_fee_e9": 0, "liquidation_fee_e9": 0, "unit_margin_rate_e15": 0,
    "maintenance_share_e4": 5000, "max_leverage": 100, "min_order_lots": 1, "stale_after_ns": 0,
    "marks_per_tick": 1,
}
PLAIN_VENUE = {name: 0 for name in VENUE_TERMS.names or () if "capacity" not in name} | {
    "max_orders_per_account": 200, "max_blocks_per_account": 16, "timers_per_command": 16,
}


def simplify_terms(journal: Journal, failure: Failure, judge: Judge) -> tuple[Journal, Failure]:
    trials = [("venue", 0, name, value) for name, value in PLAIN_VENUE.items()]
    trials += [("contracts", row, name, value) for row in range(len(journal.contracts))
               for name, value in PLAIN_CONTRACT.items()]
    for array, row, name, value in trials:
        terms = getattr(journal, array).copy()
        if np.all(terms[name][row] == value):
            continue
        terms[name][row] = value
        trial = replace(journal, **{array: terms})
        found = judge(trial)  # terms that do not fit together fail in another way
        if found is not None and found.key == failure.key and len(cut(trial, found)) == len(trial):
            journal, failure = trial, found
    return journal, failure


def shrink(journal: Journal, judge: Judge) -> tuple[Journal, Failure] | None:
    """The shortest and plainest log that still fails in the same way; None if it does not fail."""
    failure = judge(journal)
    if failure is None:
        return None
    if judge(journal.first(0)) is not None:
        raise InputError("the log", "fails without any command, too", "look at what judges it: "
                         + failure.text)
    journal = cut(journal, failure)
    journal, failure = drop_commands(journal, failure, judge)
    journal, failure = simplify_commands(journal, failure, judge)
    journal, failure = renumber_accounts(journal, failure, judge)
    journal, failure = simplify_terms(journal, failure, judge)
    return drop_commands(journal, failure, judge)


# ---- as text

#: Of two names of one number the later one is the kind's own: MARK, not ADMIN_FIRST.
_KINDS = {kind.value: name for name, kind in Kind.__members__.items()}


def words_of(row: Any, left_out: tuple[str, ...] = ()) -> str:
    """The fields of a record that are not 0, as name=value."""
    parts = []
    for name in row.dtype.names:
        value = row[name].tolist()
        value = value.decode() if isinstance(value, bytes) else value
        if name not in left_out and (any(value) if isinstance(value, list) else value):
            parts.append(f"{name}={value}")
    return " ".join(parts)


def listing(journal: Journal) -> Iterator[str]:
    """The terms, and a line a command: its number, who sends it, its kind and its fields."""
    yield f"venue {words_of(journal.venue[0])}"
    for number, terms in enumerate(journal.contracts):
        yield f"contract {number} {words_of(terms)}"
    for at, command in enumerate(journal.commands):
        kind = _KINDS.get(int(command["kind"]), f"kind {command['kind']}")
        sender = "admin" if journal.admin[at] else "trader"
        yield f"{at + 1:>6} {sender:<6} {kind} {words_of(command, ('kind',))}"
