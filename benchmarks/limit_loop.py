"""Builds limit_loop.c with the product's own flags and calls it with the product's arrays."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perpcore.book import BOOK_COMMAND, BOOK_TRADE

HERE = Path(__file__).parent


def product_flags() -> list[str]:
    """PERPCORE_FLAGS of CMakeLists.txt, and what its Release build adds."""
    text = (HERE.parent / "CMakeLists.txt").read_text()
    found = re.search(r"set\(PERPCORE_FLAGS ([^)]*)\)", text)
    if found is None:
        raise RuntimeError("CMakeLists.txt sets no PERPCORE_FLAGS")
    return ["-DNDEBUG", *found.group(1).split()]


def compiler() -> str:
    """The C compiler. Raises RuntimeError when there is none."""
    found = shutil.which("gcc") or shutil.which("cc")
    if found is None:
        raise RuntimeError("the limit loop needs a C compiler")
    return found


def compiler_version() -> str:
    """The first line of what it says about itself."""
    told = subprocess.run([compiler(), "--version"], check=True, capture_output=True, text=True)
    return told.stdout.splitlines()[0]


def build(folder: Path) -> ctypes.CDLL:
    """Compile into `folder` and load."""
    target = folder / "limit_loop.so"
    source = HERE / "limit_loop.c"
    subprocess.run(
        [compiler(), *product_flags(), "-std=gnu11", "-shared", "-fPIC", str(source),
         "-o", str(target)],
        check=True,
    )  # fmt: skip
    return declared(ctypes.CDLL(str(target)))


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """A library that has the limit loop in it, its functions with their types."""
    pointer, count = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("limit_create", pointer, [ctypes.c_int64, count]),
        ("limit_free", None, [pointer]),
        ("limit_apply", count, [pointer, pointer, count, pointer]),
        ("limit_queue", count, [pointer, ctypes.c_int, pointer, pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class LimitBook:
    """One array book; prices 1..max_price_ticks, order ids 0..max_id."""

    def __init__(self, library: ctypes.CDLL, max_price_ticks: int, max_id: int) -> None:
        self.library, self.max_id = library, max_id
        self.handle = library.limit_create(max_price_ticks, max_id)
        if not self.handle:
            raise MemoryError("no memory for the limit loop")

    def __del__(self) -> None:
        if getattr(self, "handle", None):
            self.library.limit_free(self.handle)

    def apply(self, commands: NDArray[np.void], trades: NDArray[np.void]) -> int:
        """Apply (n,) BOOK_COMMAND; returns how many of `trades`, BOOK_TRADE, were written."""
        assert commands.dtype == BOOK_COMMAND
        assert trades.dtype == BOOK_TRADE
        return self.library.limit_apply(
            self.handle, commands.ctypes.data, len(commands), trades.ctypes.data
        )

    def queue(self, side: int) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
        """Order ids and lots of side 1 (buy) or 2 (sell), in the order in which they would fill."""
        ids, lots = np.zeros(self.max_id + 1, np.uint64), np.zeros(self.max_id + 1, np.int64)
        count = self.library.limit_queue(
            self.handle, side - 1, ids.ctypes.data, lots.ctypes.data
        )
        return ids[:count], lots[:count]
