"""Builds libplain_engine.so, published.so and the program `days` against the installed perpcore."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import perpcore

HERE = Path(__file__).resolve().parent
HEADERS = Path(perpcore.get_include())
#: `cimport perpcore.book` looks for perpcore/book.pxd under this directory.
ROOMS = HEADERS.parents[1]
# Generated code must not rely on signed overflow, which C++ leaves undefined.
FLAGS = ["-std=gnu++17", "-O3", "-fno-strict-overflow", "-Wall", f"-I{HEADERS}", f"-I{HERE}"]
# The path of a message is one piece of code, in which the undo log that is never on is folded away.
INLINE = "-DCYTHON_INLINE=inline __attribute__((always_inline))"
EXTERN = '-DCYTHON_EXTERN_C=extern "C"'
# What is left is the functions of plain_engine.h: the linker drops the module that Cython makes
# around them, and with it all that needs Python.
SECTIONS = ["-fPIC", "-fvisibility=hidden", "-ffunction-sections", "-fdata-sections"]
LIBRARY = ["-shared", "-Wl,--gc-sections"]


def run(*command: str) -> None:
    subprocess.run(command, check=True, cwd=HERE)


def main() -> None:
    """Everything lies beside this file afterwards."""
    run(
        sys.executable, "-m", "cython", "--cplus", "-3", "-I", str(ROOMS), "-X", "cdivision=True",
        "-X", "boundscheck=False", "engine.pyx", "-o", "build/engine.cpp",
    )  # fmt: skip
    run(
        "g++", *FLAGS, "-w", INLINE, EXTERN, f"-I{sysconfig.get_path('include')}", *SECTIONS,
        "-c", "build/engine.cpp", "-o", "build/engine.o",
    )  # fmt: skip
    run(
        "g++", *LIBRARY, "build/engine.o", "-Wl,--version-script=plain_engine.map",
        "-o", "libplain_engine.so",
    )  # fmt: skip
    run(
        "g++", *FLAGS, *SECTIONS, *LIBRARY, "published.cpp", "build/engine.o",
        "-Wl,--version-script=published.map", "-o", "published.so",
    )  # fmt: skip
    run(
        "g++", *FLAGS, "days.cpp", "-o", "days", "-pthread", "-L.", "-lplain_engine",
        "-Wl,-rpath,$ORIGIN",
    )  # fmt: skip


if __name__ == "__main__":
    (HERE / "build").mkdir(exist_ok=True)
    main()
