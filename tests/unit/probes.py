"""Small modules that reach into a room of the core; compiled as an embedder would compile them."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import ModuleType

CYTHON_ROOT = Path(__file__).parents[2] / "cython"


def build_probe(name: str, folder: Path) -> ModuleType:
    """The module of NAME.pyx beside this file, built in the folder."""
    compiler = shutil.which("g++") or shutil.which("c++")
    assert compiler is not None, "a C++ compiler is needed: install g++"
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    source = folder / f"{name}.cpp"
    subprocess.run(
        [sys.executable, "-m", "cython", "--cplus", "-3", "-X", "cdivision=True",
         "-I", str(CYTHON_ROOT), "--module-name", name,
         str(Path(__file__).with_name(f"{name}.pyx")), "-o", str(source)],
        check=True, cwd=CYTHON_ROOT,
    )  # fmt: skip
    subprocess.run(
        [compiler, "-O1", "-std=gnu++17", "-fno-strict-overflow", "-shared", "-fPIC",
         f"-I{CYTHON_ROOT / 'perpcore' / 'include'}", f"-I{sysconfig.get_paths()['include']}",
         str(source), "-o", str(target)],
        check=True,
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location(name, target)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
