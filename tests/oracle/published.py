"""Published cases: where they are, what they expect, and when a result meets it.

A case is a dict of one of the files in `data/` (or in the directory that PERPCORE_ORACLES names).
`way_*.py` compute results; a way is chosen by the case's kind, model or wording, never by its id.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

DATA = Path(os.environ.get("PERPCORE_ORACLES") or Path(__file__).parent / "data")
MATCHING = "matching.json"
FILES = (
    "venue_examples.json", "liquidation_prices.json", "bankruptcy_dydx.json",
    "insurance_deleveraging.json", "margin_pnl_funding.json", "more_published.json", MATCHING,
)  # fmt: skip


class Excluded(Exception):
    """A rule of this venue contradicts the case; the text begins with the rule's number."""


class OffGrid(Exception):
    """This way counts in whole steps, and a number of the case lies between two."""


@dataclass(frozen=True)
class Found:
    """A result, and the step of the grid that it was counted on."""

    value: Any
    step: Decimal | int = 0


#: Computes what a case expects, from the case: the value, or Found. Raises Excluded or OffGrid.
Way = Callable[[dict[str, Any]], Any]


@dataclass(frozen=True)
class Case:
    """One case and the file it is from."""

    file: str
    data: dict[str, Any]

    @property
    def name(self) -> str:
        return f"{self.data['id']} {self.data.get('kind', '')}".strip()


def read(file: str, directory: Path = DATA) -> list[Case]:
    """The cases of one file; none when the directory has no such file."""
    path = directory / file
    if not path.exists():
        return []
    found = json.loads(path.read_text(encoding="utf-8"))
    return [Case(file, case) for case in (found["cases"] if isinstance(found, dict) else found)]


def read_all(directory: Path = DATA) -> list[Case]:
    return [case for file in FILES for case in read(file, directory)]


def number(value: Any) -> Fraction:
    """The exact number that was written: a JSON number, decimal text, "a/b" or a percentage."""
    text = str(value).strip()
    if text.endswith("%"):
        return number(text[:-1]) / 100
    if "/" in text:
        return Fraction(text)
    return Fraction(Decimal(text))


def expected(case: dict[str, Any]) -> Any:
    """What the source asserts, under whichever of the schemas' names."""
    names = ("expected", "expected_quote_quantums", "expected_quote_per_base_quantum")
    return next(case[name] for name in names if name in case)


def tolerance(case: dict[str, Any]) -> Fraction:
    return number(case.get("tolerance", case.get("tol", 0)))


def meets(got: Any, wanted: Any, room: Fraction) -> bool:
    """Whether a result is what was published: within the tolerance, entry by entry for a dict."""
    if isinstance(wanted, dict):
        return all(meets(got[name], value, room) for name, value in wanted.items())
    if isinstance(wanted, bool):
        return got is wanted
    return abs(number(got) - number(wanted)) <= room
