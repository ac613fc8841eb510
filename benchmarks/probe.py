"""The product's own modules with timed loops and counters behind them, and the clock's helpers.

`book()` and `engine()` are copies of book.pyx and engine.pyx as they are, with probe_*.pyx.in
appended, compiled with the product's flags. They are built once into out/build, by the contents of
everything they are made of.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import subprocess
import sys
import sysconfig
import time
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import limit_loop
import numpy as np

HERE = Path(__file__).parent
ROOMS = HERE.parent / "cython"
HEADERS = ROOMS / "perpcore" / "include"
BUILD = HERE.parent / "out" / "build"
DIRECTIVES = (
    "cdivision=True", "boundscheck=False", "wraparound=False", "initializedcheck=False",
    "binding=False",
)  # fmt: skip


def fingerprint(*own: str) -> str:
    """Of all sources of the product and of some files here."""
    digest = hashlib.sha256(" ".join(limit_loop.product_flags()).encode())
    digest.update(limit_loop.compiler_version().encode())
    sources = [path for path in ROOMS.rglob("*") if path.suffix in {".pyx", ".pxd", ".pxi", ".hpp"}]
    for path in [*sorted(sources), *(HERE / name for name in own)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def run(*arguments: str) -> None:
    subprocess.run(arguments, check=True)


def compiled(name: str) -> ModuleType:
    """perpcore's module `name` with probe_<name>.pyx.in behind it."""
    tail = f"probe_{name}.pyx.in"
    folder = BUILD / fingerprint(tail, "latency.h")
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        source, made = folder / f"{name}.pyx", folder / f"{name}.cpp"
        source.write_text(
            (ROOMS / "perpcore" / f"{name}.pyx").read_text() + (HERE / tail).read_text()
        )
        run(
            sys.executable, "-m", "cython", "--cplus", "-3", "-I", str(ROOMS), "-I",
            str(ROOMS / "perpcore"), "--module-name", f"perpcore.{name}",
            *(part for directive in DIRECTIVES for part in ("-X", directive)), str(source),
            "-o", str(made),
        )  # fmt: skip
        # Into another name first: who comes meanwhile must not load half a module.
        run(
            "g++", *limit_loop.product_flags(), "-w", "-std=gnu++17", "-shared", "-fPIC",
            f"-I{HERE}", f"-I{sysconfig.get_path('include')}", f"-I{np.get_include()}",
            f"-I{HEADERS}", str(made), "-o", f"{target}.new",
        )  # fmt: skip
        Path(f"{target}.new").replace(target)
    spec = importlib.util.spec_from_file_location(f"probe.{name}", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def book() -> ModuleType:
    return compiled("book")


@cache
def engine() -> ModuleType:
    return compiled("engine")


def in_c(name: str, *more: str) -> Path:
    """<name>.c as a library, compiled with the product's flags; `more`: what it includes."""
    folder = BUILD / fingerprint(f"{name}.c", *more)
    target = folder / f"{name}.so"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        run(
            limit_loop.compiler(), *limit_loop.product_flags(), "-std=gnu11", "-shared", "-fPIC",
            f"-I{HERE}", str(HERE / f"{name}.c"), "-o", f"{target}.new",
        )  # fmt: skip
        Path(f"{target}.new").replace(target)
    return target


def preload() -> Path:
    """The counting allocator, for LD_PRELOAD."""
    return in_c("steady")


@cache
def library() -> ctypes.CDLL:
    """latency.c with the limit loop in it."""
    target = in_c("latency", "latency.h", "limit_loop.c", "limit_loop.h")
    loaded = limit_loop.declared(ctypes.CDLL(str(target)))
    pointer, count = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("latency_clock", count, []),
        ("latency_empty", None, [count, pointer]),
        ("latency_limit", count, [pointer, pointer, count, pointer, pointer]),
    ):
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


class Clock:
    """Nanoseconds of ticks, with the cost of two readings taken off."""

    def __init__(self) -> None:
        read = library().latency_clock
        ticks, ns = read(), time.monotonic_ns()
        time.sleep(0.2)
        self.per_ns = (read() - ticks) / (time.monotonic_ns() - ns)
        empty = np.ones(10_000, np.uint64)
        library().latency_empty(len(empty), empty.ctypes.data)
        self.empty_ticks = float(np.median(empty))

    @property
    def empty_ns(self) -> float:
        return self.empty_ticks / self.per_ns

    def ns(self, ticks: Any) -> Any:
        return np.maximum(np.asarray(ticks, np.float64) - self.empty_ticks, 0.0) / self.per_ns


@cache
def clock() -> Clock:
    return Clock()
