"""A venue's history in one file: its terms, its contracts and every command that it got (SPEC D1).

The same commands give the same events and the same state, so that this is all that a failure needs
to be met again. The file is numpy's .npz of five arrays, the fields of `Journal`:

    Journal(venue, contracts, commands, admin).save("failing.npz")
    Journal.load("failing.npz").replay()
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore.engine import Engine
from perpcore.prices import InputError
from perpcore.records import COMMAND, CONTRACT_TERMS, EVENT, VENUE_TERMS

#: The capability of a venue that is made from a journal.
KEY = 1
#: Room for the events of one command; a liquidation of everybody has as many as there are units.
_ROOM = 1 << 16

#: Called before each command with its place, from 0.
Progress = Callable[[int], None]


@dataclass(frozen=True)
class Journal:
    """What a venue was made with, and what came in.

    venue (1,) VENUE_TERMS; contracts (m,) CONTRACT_TERMS; commands (n,) COMMAND; admin (n,) bool:
    whether the administration's capability came with the command; contracts_at (m,) int64: how
    many commands came before the contract was registered, by default none.
    """

    venue: NDArray[np.void]
    contracts: NDArray[np.void]
    commands: NDArray[np.void]
    admin: NDArray[np.bool_]
    contracts_at: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        if not len(self.contracts_at):
            object.__setattr__(self, "contracts_at", np.zeros(len(self.contracts), np.int64))

    def __len__(self) -> int:
        return len(self.commands)

    def engine(self) -> Engine:
        """A venue with these terms that got nothing yet; raises ValueError as `Engine` does."""
        return Engine(self.venue, KEY)

    def register(self, engine: Engine, at: int) -> None:
        """The contracts that come directly before a command; raises ValueError for terms that the
        venue refuses."""
        for place in np.flatnonzero(self.contracts_at == at):
            try:
                engine.add_contract(self.contracts[place:place + 1], KEY)
            except ValueError as error:
                raise ValueError(f"contracts row {place}: {error}") from error

    def key(self, at: int) -> int:
        """What comes with a command as its capability."""
        return KEY if self.admin[at] else 0

    def steps(self, progress: Progress = lambda at: None) -> Iterator[tuple[Engine, Any, int]]:
        """Before each command: the venue, the command (1,) COMMAND, its place. The one who asks
        applies it."""
        engine = self.engine()
        for at in range(len(self)):
            self.register(engine, at)
            progress(at)
            yield engine, self.commands[at:at + 1], at

    def replay(self) -> tuple[Engine, NDArray[np.void]]:
        """The venue after all commands, and all events."""
        out, events, engine = np.empty(_ROOM, EVENT), [], None
        for engine, command, at in self.steps():
            events.append(apply_one(engine, command, out, self.key(at)))
        engine = engine or self.engine()
        self.register(engine, len(self))
        return engine, np.concatenate(events) if events else np.zeros(0, EVENT)

    # ---- parts

    def first(self, count: int) -> Journal:
        """The journal up to and including so many commands."""
        return Journal(self.venue, self.contracts, self.commands[:count], self.admin[:count],
                       np.minimum(self.contracts_at, count))

    def keep(self, kept: NDArray[np.intp], commands: NDArray[np.void]) -> Journal:
        """The commands of some places, in their order, as they are told here."""
        return Journal(self.venue, self.contracts, commands, self.admin[kept],
                       np.searchsorted(kept, self.contracts_at))

    # ---- files

    def save(self, path: Path | str) -> Path:
        """Write the .npz; returns its path."""
        path = Path(path)
        with path.open("wb") as file:
            np.savez_compressed(file, **{spec.name: getattr(self, spec.name)
                                         for spec in fields(self)})
        return path

    @classmethod
    def load(cls, path: Path | str) -> Journal:
        """Read a journal; raises InputError that names the file and what is wrong with it."""
        path = Path(path)
        cure = "give a .npz that perpcore.journal wrote"
        if not path.is_file():
            raise InputError(str(path), "is not a file", cure)
        try:
            with path.open("rb") as source, np.load(source, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
        except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
            raise InputError(str(path), "is not a .npz file", cure) from error
        problem = _misfit(arrays)
        if problem:
            raise InputError(str(path), problem, cure)
        journal = cls(**arrays)
        try:
            engine = journal.engine()
            for at in sorted(set(journal.contracts_at.tolist())):
                journal.register(engine, at)
        except ValueError as error:
            raise InputError(str(path), str(error), "mend the terms of that row") from error
        return journal


_TYPES: dict[str, Any] = {
    "venue": VENUE_TERMS, "contracts": CONTRACT_TERMS, "commands": COMMAND,
    "admin": np.dtype(np.bool_), "contracts_at": np.dtype(np.int64),
}


def _misfit(arrays: dict[str, Any]) -> str:
    """What keeps arrays from being a journal; empty when nothing does."""
    for name, dtype in _TYPES.items():
        if name not in arrays:
            return f"has no array {name}"
        if arrays[name].dtype != dtype or arrays[name].ndim != 1:
            return f"{name} is {arrays[name].dtype.name} of shape {arrays[name].shape}"
    if set(arrays) != set(_TYPES):
        return f"has an array {min(set(arrays) - set(_TYPES))} that no journal has"
    if len(arrays["venue"]) != 1:
        return f"venue has {len(arrays['venue'])} rows instead of 1"
    for name, like in (("admin", "commands"), ("contracts_at", "contracts")):
        if len(arrays[name]) != len(arrays[like]):
            return f"{name} has {len(arrays[name])} rows, {like} {len(arrays[like])}"
    wrong = np.flatnonzero((np.diff(arrays["contracts_at"], prepend=0) < 0)
                           | (arrays["contracts_at"] > len(arrays["commands"])))
    return f"contracts_at row {wrong[0]} is out of order" if len(wrong) else ""


def apply_one(engine: Engine, command: Any, out: Any, key: int) -> NDArray[np.void]:
    """The events of one command; `out` (m,) EVENT is room that is used again."""
    chunks = []
    while True:
        applied, written = engine.apply(command, out, key)
        chunks.append(out[:written].copy())
        command = command[applied:]
        if written < len(out):
            return chunks[0] if len(chunks) == 1 else np.concatenate(chunks)
