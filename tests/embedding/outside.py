"""Builds what embeds perpcore, from outside: against the installed package, never its sources."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType
from typing import Protocol

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


class Compile(Protocol):
    """Compiles one source text with every warning an error; returns the program."""

    def __call__(self, source: str, standard: str, *, links: bool = True) -> Path: ...


def run(*arguments: str | Path, cwd: Path | None = None) -> str:
    """The output of a program; a failure shows all that it said."""
    done = subprocess.run(
        [str(argument) for argument in arguments], capture_output=True, text=True, cwd=cwd,
        check=False,
    )
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def compiler(standard: str) -> str:
    """A compiler for the standard; without one the test fails: nothing was checked."""
    names = ("c++", "g++", "clang++") if "++" in standard else ("cc", "gcc", "clang")
    own = os.environ.get("CXX" if "++" in standard else "CC")
    found = next((path for name in (own, *names) if name and (path := shutil.which(name))), None)
    assert found is not None, f"none of {', '.join(names)} is here: install a compiler"
    return found


class Example:
    """A copy of an example, built as its own setup.py builds it."""

    def __init__(self, name: str, module: str, folder: Path) -> None:
        self.folder = folder / name
        self.module = module
        # A copy: what a build leaves behind must not lie in the source tree, nor be found by luck.
        shutil.copytree(
            EXAMPLES / name, self.folder, ignore=shutil.ignore_patterns("build", "*.so", "*.pyd")
        )
        run(sys.executable, "setup.py", "build_ext", "--inplace", cwd=self.folder)

    def load(self) -> ModuleType:
        """The compiled module."""
        path = self.folder / f"{self.module}{sysconfig.get_config_var('EXT_SUFFIX')}"
        spec = importlib.util.spec_from_file_location(self.module, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    def python(self, source: str) -> subprocess.CompletedProcess[str]:
        """A Python program that finds the module, in a process of its own."""
        return subprocess.run(
            [sys.executable, "-c", source], capture_output=True, text=True, cwd=self.folder,
            check=False,
        )
