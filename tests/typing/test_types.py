"""The types that the package publishes are true: mypy --strict on a program, stubtest on stubs."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / "src"
COMPILED = ("codes", "margin", "book", "engine")


def checked(*arguments: str, cache: Path) -> subprocess.CompletedProcess[str]:
    """The outcome of `python -m ARGUMENTS`, with the package's own sources in sight."""
    settings = dict(os.environ, MYPY_CACHE_DIR=str(cache))
    if SOURCE.is_dir():
        # An editable install is found by an import hook that a type checker does not run.
        settings["MYPYPATH"] = str(SOURCE)
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, env=settings,
        cwd=cache, check=False,
    )


@pytest.mark.parametrize("name", ["sample.py", "misuse.py"])
def test_a_program_that_uses_the_package_type_checks_strictly(name: str, tmp_path: Path) -> None:
    done = checked("mypy", "--strict", str(HERE / name), cache=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_sample_program_runs() -> None:
    runpy.run_path(str(HERE / "sample.py"))


@pytest.mark.parametrize("module", COMPILED)
def test_the_stub_of_a_compiled_module_says_what_the_module_has(
    module: str, tmp_path: Path
) -> None:
    done = checked(
        "mypy.stubtest", "--allowlist", str(HERE / "allowlist.txt"), "--ignore-unused-allowlist",
        f"perpcore.{module}", cache=tmp_path,
    )
    assert done.returncode == 0, done.stdout + done.stderr
