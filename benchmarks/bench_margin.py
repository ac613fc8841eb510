"""Margin without a venue: whole columns in and out, and one number at a time.

Half of the positions are long, half short; about one in fifty is below maintenance. Columns are
given with the arrays that take the answers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import crowds
import measure
import numpy as np
import pytest
from measure import Round
from venue_loads import ENTRY, VALUE

from perpcore.contracts import BTCUSD_PERP
from perpcore.margin import MarginTerms

COUNT = measure.scaled(100_000, 300)
CALLS = measure.scaled(20_000, 300)
LEVERAGE = 20


class Positions:
    """(COUNT,) columns around a mark, and the arrays for what is asked of them."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.terms = MarginTerms.from_record(BTCUSD_PERP.terms()[0])
        self.mark = ENTRY
        lots = rng.integers(1, crowds.MAX_LOTS + 1, COUNT)
        self.lots = np.where(rng.random(COUNT) < 0.5, lots, -lots)
        self.cost = self.lots * VALUE * rng.integers(ENTRY * 97 // 100, ENTRY * 103 // 100, COUNT)
        self.cash = np.abs(self.cost) // 25
        self.flags = np.ones(COUNT, np.bool_)
        self.outs = [np.ones(COUNT, np.int64) for _ in range(4)]

    def below(self) -> Any:
        return self.terms.below_maintenance(
            self.cash, self.lots, self.cost, self.mark, out=self.flags
        )

    def margins(self) -> Any:
        """Initial and maintenance margin and margin balance."""
        initial, maintenance, balance = self.outs[:3]
        terms, mark = self.terms, self.mark
        terms.initial_margins(self.lots, mark, LEVERAGE, out=initial)
        terms.maintenance_margins(self.lots, mark, out=maintenance)
        terms.margin_balances(self.cash, self.lots, self.cost, mark, out=balance)
        return self.outs[:3]

    def margins_and_marks(self) -> Any:
        """The three, and the mark of liquidation."""
        self.margins()
        self.terms.liquidation_marks(self.cash, self.lots, self.cost, out=self.outs[3])
        return self.outs

    def one(self, place: int) -> tuple[int, int, int, int, bool]:
        """The same of one position, one number at a time; a mark that is never reached is -1."""
        cash, lots, cost = (int(a[place]) for a in (self.cash, self.lots, self.cost))
        mark = self.terms.liquidation_mark(cash, lots, cost)
        return (
            self.terms.initial_margin(lots, self.mark, LEVERAGE),
            self.terms.maintenance_margin(lots, self.mark),
            self.terms.margin_balance(cash, lots, cost, self.mark),
            -1 if mark is None else mark,
            self.terms.is_below_maintenance(cash, lots, cost, self.mark),
        )


@pytest.fixture(scope="module")
def positions():
    return Positions()


def columns(benchmark, yardstick, positions, run: Callable[[], Any]):
    """Time a batch over all positions; a sample of the answers is compared with single calls."""

    def prepare():
        def check(_: Any, __: Any) -> None:
            positions.below()
            positions.margins_and_marks()
            for place in range(0, COUNT, COUNT // 100):
                *numbers, below = positions.one(place)
                assert [int(out[place]) for out in positions.outs] == numbers
                assert positions.flags[place] == below

        return Round(run, COUNT, yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, "position", positions=COUNT)
    assert positions.flags.any()


def test_margin_batch_of_liquidatable_flags(benchmark, yardstick, positions):
    columns(benchmark, yardstick, positions, positions.below)


def test_margin_batch_of_im_mm_and_mb(benchmark, yardstick, positions):
    columns(benchmark, yardstick, positions, positions.margins)


def test_margin_batch_with_the_liquidation_price(benchmark, yardstick, positions):
    columns(benchmark, yardstick, positions, positions.margins_and_marks)


@pytest.mark.parametrize("name", ["is_below_maintenance", "liquidation_mark"])
def test_margin_of_one_position(benchmark, yardstick, positions, name):
    """One call a position in a Python loop, the loop included."""
    call = getattr(positions.terms, name)
    columns_of = [a[:CALLS].tolist() for a in (positions.cash, positions.lots, positions.cost)]
    if name == "is_below_maintenance":
        columns_of.append([positions.mark] * CALLS)
    rows = list(zip(*columns_of, strict=True))

    def prepare():
        def run():
            for row in rows:
                answer = call(*row)
            return answer

        def check(answer, _):
            place = len(rows) - 1
            *_, mark, below = positions.one(place)
            assert answer in ({below} if name == "is_below_maintenance" else {mark, None})

        return Round(run, len(rows), yardstick.prepare(), yardstick.stretch, check)

    measure.compare(benchmark, prepare, "call")
