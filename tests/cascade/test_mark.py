"""The mark rule of a scenario: median of index, last, index + basis, bounded around the index."""

from __future__ import annotations

from itertools import pairwise

import pytest

from perpcore.drive import mark_price, next_basis, toward_zero

# index    | last      | basis   | mark      | why
MARKS = [
    (4_000_000, 4_000_000, 0, 4_000_000, "all agree"),
    (4_000_000, 3_990_000, 0, 4_000_000, "one trade alone does not move the mark"),
    (4_000_000, 3_990_000, -4_000, 3_996_000, "the basis follows, the mark with it"),
    (4_000_000, 3_990_000, -20_000, 3_990_000, "never beyond the last price"),
    (4_000_000, 3_500_000, -400_000, 3_960_000, "at most 1 % below the index"),
    (4_000_000, 4_500_000, 400_000, 4_040_000, "at most 1 % above the index"),
    (199, 1, -198, 198, "the bound is rounded toward the index"),
    (1, 1, -5, 1, "never below one tick"),
]


@pytest.mark.parametrize(("index", "last", "basis", "mark", "why"), MARKS)
def test_the_mark_is_a_bounded_median(
    index: int, last: int, basis: int, mark: int, why: str
) -> None:
    assert mark_price(index, last, basis) == mark, why


def test_the_basis_approaches_the_premium_and_never_overshoots() -> None:
    basis, seen = 0, []
    for _ in range(100):
        basis = next_basis(basis, 4_000_000, 3_999_000)
        seen.append(basis)
    assert seen[0] == -62
    assert all(later <= sooner for sooner, later in pairwise(seen))
    assert -1_000 <= seen[-1] < -980


def test_a_quotient_toward_zero_treats_both_signs_alike() -> None:
    assert [toward_zero(n, 8) for n in (-17, -16, -1, 0, 1, 16, 17)] == [-2, -2, 0, 0, 0, 2, 2]
