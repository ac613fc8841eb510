"""Bugs that are planted into the engine on purpose, to see that they are found.

Each `NAME.patch` here begins with a line that says which rule it breaks and how; after it comes a
diff that `patch -p1` takes. Here it is applied more strictly: the lines that a hunk replaces must
stand in their file exactly once, wherever that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Hunk:
    """`old` becomes `new` in a file of the tree."""

    file: str
    old: str
    new: str

    def places(self, root: Path) -> list[int]:
        """Where whole lines of the file are the old ones."""
        text = (root / self.file).read_text(encoding="utf-8")
        return [found.start() for found in re.finditer("^" + re.escape(self.old), text, re.M)]


@dataclass(frozen=True)
class Patch:
    name: str
    says: str
    hunks: tuple[Hunk, ...]

    def misfits(self, root: Path) -> list[str]:
        """Why it does not apply to a tree; empty when it does."""
        counts = [len(hunk.places(root)) for hunk in self.hunks]
        return [f"{hunk.file} has {count} times:\n{hunk.old}"
                for hunk, count in zip(self.hunks, counts, strict=True) if count != 1]

    def apply(self, root: Path) -> None:
        """Plant it; raises ValueError where it does not apply."""
        misfits = self.misfits(root)
        if misfits:
            raise ValueError(f"{self.name}: {misfits[0]}")
        for hunk in self.hunks:
            path, (place,) = root / hunk.file, hunk.places(root)
            text = path.read_text(encoding="utf-8")
            path.write_text(text[:place] + hunk.new + text[place + len(hunk.old):],
                            encoding="utf-8")


def hunks_of(lines: list[str]) -> Iterator[Hunk]:
    file, old, new = "", [], []
    for line in [*lines, "@@"]:
        if line.startswith(("--- ", "@@")):
            if old or new:
                yield Hunk(file, "".join(old), "".join(new))
            old, new = [], []
        elif line.startswith("+++ "):
            file = line.split()[1].removeprefix("b/")
        elif line[0] in " -+":
            if line[0] != "+":
                old.append(line[1:])
            if line[0] != "-":
                new.append(line[1:])


def read(path: Path) -> Patch:
    says, *lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return Patch(path.stem, says.strip(), tuple(hunks_of(lines)))


def all_patches() -> list[Patch]:
    return [read(path) for path in sorted(HERE.glob("*.patch"))]


def rules_of(patch: Patch) -> list[str]:
    """The numbers that its first line begins with."""
    return re.findall(r"[A-Z]\d+", patch.says.split(":")[0])
