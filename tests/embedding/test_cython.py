"""A foreign Cython project cimports book, margin and int128 from the package, compiles and counts.

The answers are compared with plain Python ints: exact inequality of SPEC Q2, a book of two lists.
"""

from __future__ import annotations

import random
import sys
from fractions import Fraction
from types import ModuleType

import numpy as np
import pytest
from outside import Example, run

VALUE = 1_000  # money units of one mark tick x one lot
RATE = Fraction(105, 10_000)
MAX_MARK = 2_000


@pytest.fixture(scope="module")
def stress(cython_example: Example) -> ModuleType:
    return cython_example.load()


def column(values: list[int]) -> np.ndarray:
    return np.array(values, np.int64)


def is_below(cash: int, lots: int, cost: int, mark: int) -> bool:
    """MB < MM, as SPEC Q1 says it."""
    value = lots * VALUE * mark
    return cash + value - cost < abs(value) * RATE


def first_mark(cash: int, lots: int, cost: int) -> int:
    """The mark next to safety that liquidates, by trying them all."""
    marks = [mark for mark in range(1, MAX_MARK + 1) if is_below(cash, lots, cost, mark)]
    if lots > 0:
        return max(marks, default=0)
    return min(marks, default=MAX_MARK + 1)


def test_liquidation_marks_equal_the_inequality_tried_at_every_mark(stress: ModuleType) -> None:
    rng = random.Random(1)
    positions = []
    for _ in range(200):
        lots = rng.choice([-1, 1]) * rng.randint(1, 50)
        cost = lots * VALUE * rng.randint(1, MAX_MARK)
        positions.append((rng.randint(0, abs(cost)), lots, cost))
    cash, lots_, cost_ = (column(list(values)) for values in zip(*positions, strict=True))
    out = np.zeros(len(positions), np.int64)
    stress.liquidation_marks(
        lots_, cost_, cash, out, value_units=VALUE, rate_num=105, rate_den=10_000,
        max_mark_ticks=MAX_MARK,
    )
    assert out.tolist() == [first_mark(*position) for position in positions]
    assert len(set(out.tolist())) > 50


def test_a_flat_position_is_named_and_nothing_is_written(stress: ModuleType) -> None:
    out = column([7, 7])
    with pytest.raises(ValueError, match="position 1 is flat"):
        stress.liquidation_marks(
            column([1, 0]), column([1, 1]), column([1, 1]), out, value_units=VALUE, rate_num=1,
            rate_den=100, max_mark_ticks=MAX_MARK,
        )
    assert out.tolist() == [7, 7]


def sold(bids: list[list[int]], lots: int) -> tuple[int, int]:
    """(price x lots, lots left) of a sale into [price, lots] bids, which it uses up."""
    proceeds = 0
    while lots and bids:
        best = max(range(len(bids)), key=lambda i: (bids[i][0], -i))
        taken = min(lots, bids[best][1])
        proceeds += taken * bids[best][0]
        lots -= taken
        bids[best][1] -= taken
        if not bids[best][1]:
            del bids[best]
    return proceeds, lots


@pytest.mark.parametrize("seed", range(5))
def test_a_batch_through_the_book_equals_two_lists(stress: ModuleType, seed: int) -> None:
    rng = random.Random(seed)
    bids = [[rng.randint(900, 960), rng.randint(1, 40)] for _ in range(300)]
    book = stress.Bids(max_ticks=MAX_MARK, capacity=300)
    book.rest(column([price for price, _ in bids]), column([lots for _, lots in bids]))
    lots = [rng.randint(1, 60) for _ in range(250)]
    cost = [n * VALUE * rng.randint(900, 1_000) for n in lots]
    cash = [c // rng.randint(10, 50) for c in cost]

    gain = loss = unsold = 0
    for n, c, own in zip(lots, cost, cash, strict=True):
        proceeds, left = sold(bids, n)
        unsold += left
        rest = own + proceeds * VALUE - c + -(proceeds * VALUE * 500_000) // 10**9
        if not left:
            gain, loss = gain + max(0, rest), loss + max(0, -rest)

    found = stress.fund_result(
        book, column(lots), column(cost), column(cash), value_units=VALUE, fee_e9=500_000
    )
    assert found == (gain, loss, unsold)
    assert min(gain, loss) > 0
    assert book.qty_lots == sum(lots for _, lots in bids)
    assert book.best_ticks == max((price for price, _ in bids), default=-1)


def test_bids_that_do_not_fit_are_named_and_none_is_added(stress: ModuleType) -> None:
    book = stress.Bids(max_ticks=MAX_MARK, capacity=2)
    with pytest.raises(ValueError, match=r"bid 1: 5 lots at 2001 ticks"):
        book.rest(column([900, 2_001]), column([5, 5]))
    with pytest.raises(ValueError, match="room for 2 bids"):
        book.rest(column([900, 901, 902]), column([1, 1, 1]))
    assert (book.qty_lots, book.best_ticks) == (0, -1)


def test_the_program_of_the_example_runs(cython_example: Example) -> None:
    lines = run(sys.executable, "main.py", cwd=cython_example.folder).splitlines()
    assert [line.split(" in ")[1].split()[0] for line in lines] == ["40", "4", "1"]
    assert all("921 liquidated" in line for line in lines)
