"""What the tests of embedding share: built once a session, by helpers of `outside`."""

from __future__ import annotations

from pathlib import Path

import pytest
from outside import Compile, Example, compiler, run

import perpcore


@pytest.fixture
def compile_strictly(tmp_path: Path) -> Compile:
    """`compile_strictly(source, "c11")`, with the installed headers in sight and nothing else."""

    def build(source: str, standard: str, *, links: bool = True) -> Path:
        text = tmp_path / f"consumer.{'cpp' if '++' in standard else 'c'}"
        text.write_text(source, encoding="utf-8")
        program = tmp_path / "consumer"
        run(
            compiler(standard), f"-std={standard}", "-Wall", "-Wextra", "-Werror",
            f"-I{perpcore.get_include()}", *([] if links else ["-c"]), text, "-o", program,
        )
        return program

    return build


@pytest.fixture(scope="session")
def cython_example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """examples/embed_cython: rooms of the core compiled into a foreign Cython module."""
    return Example("embed_cython", "fund_stress", tmp_path_factory.mktemp("cython"))


@pytest.fixture(scope="session")
def cpp_example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    """examples/embed_cpp: the engine through the table, from C++ without Cython."""
    return Example("embed_cpp", "price_slide", tmp_path_factory.mktemp("cpp"))
