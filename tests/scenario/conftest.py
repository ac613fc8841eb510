"""Every scenario runs twice: against the reference model and against the compiled engine.

The engine is not optional: without `perpcore.engine` its half fails.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

# `reference` and `invariants` lie one floor up.
sys.path.insert(0, str(Path(__file__).parents[1]))

from world import SIDES, World


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rule(number, ...): rules of the venue that a test shows")


@pytest.fixture(params=list(SIDES))
def side(request: pytest.FixtureRequest) -> str:
    """'model' or 'engine'."""
    return str(request.param)


@pytest.fixture
def venue(side: str) -> World:
    """The populated world."""
    return World.populated(side)


@pytest.fixture
def make_venue(side: str) -> Callable[..., World]:
    """A populated world whose venue terms differ: `make_venue(fund_opening_units=(0, 0))`."""

    def make(**changes: Any) -> World:
        return World.populated(side, **changes)

    return make
