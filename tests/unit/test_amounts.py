"""Numbers cross the border of the core exactly, or not at all."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perpcore.amounts import (
    NotOnGrid,
    from_steps,
    from_units,
    plain,
    to_steps,
    to_units,
    trimmed,
)

TICK = Decimal("0.1")

# what a person writes | ticks of 0.1
PRICES = [
    ("60000", 600_000),
    (" 60000.5 ", 600_005),
    ("6e4", 600_000),
    (Decimal("60000.10"), 600_001),
    (60_000, 600_000),
    (np.int64(7), 70),
    (60_000.5, 600_005),
    (0.1, 1),
    (0.3, 3),
    (np.float64(0.7), 7),
    ("-0.1", -1),
    ("0", 0),
]


@pytest.mark.parametrize(("written", "ticks"), PRICES)
def test_a_price_on_the_grid_is_that_many_ticks_however_it_is_written(
    written: str | Decimal | int | float, ticks: int
) -> None:
    assert to_steps(written, TICK, "price") == ticks


# off the grid | neighbors
BETWEEN = [
    ("60000.05", "60000", "60000.1"),
    (60000.05, "60000", "60000.1"),
    (0.1 + 0.2, "0.3", "0.4"),
    ("-0.05", "-0.1", "0"),
]


@pytest.mark.parametrize(("written", "below", "above"), BETWEEN)
def test_a_price_between_two_ticks_names_both(
    written: str | float, below: str, above: str
) -> None:
    with pytest.raises(NotOnGrid) as refused:
        to_steps(written, TICK, "price")
    assert (refused.value.below, refused.value.above) == (Decimal(below), Decimal(above))
    assert refused.value.step == TICK


NOT_NUMBERS = [
    "", "x", "60,000", "60_000", "1e999", "nan", "inf", float("nan"), float("inf"), Decimal("NaN"),
]


@pytest.mark.parametrize("written", NOT_NUMBERS)
def test_what_is_no_finite_number_is_a_value_error(written: str | float) -> None:
    with pytest.raises(ValueError, match="price"):
        to_steps(written, TICK, "price")


@pytest.mark.parametrize("written", [True, None, [1], 1j, b"1"])
def test_another_type_is_a_type_error(written: object) -> None:
    with pytest.raises(TypeError, match="price"):
        to_steps(written, TICK, "price")  # type: ignore[arg-type]


def test_a_count_beyond_the_core_is_refused_before_it_is_sent() -> None:
    assert to_units("92233720368.54775807") == 2**63 - 1
    with pytest.raises(ValueError, match="beyond"):
        to_units("92233720368.54775808")


@given(st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 12))
def test_steps_survive_the_way_out_and_back(steps: int, places: int) -> None:
    step = Decimal(1).scaleb(-places)
    assert to_steps(from_steps(steps, step), step, "x") == steps
    assert to_steps(plain(from_steps(steps, step)), step, "x") == steps


@given(st.floats(allow_nan=False, allow_infinity=False, width=64))
def test_a_float_counts_as_the_decimal_that_python_prints_for_it(value: float) -> None:
    written = Decimal(repr(value))
    if abs(value) > 2**63 / 1e8 - 1 or 0 < abs(value) < 1e-50:
        with pytest.raises((ValueError, NotOnGrid)):
            to_units(value)
    elif written % Decimal("0.00000001"):
        with pytest.raises(NotOnGrid) as between:
            to_units(value)
        assert between.value.below < written < between.value.above
    else:
        assert from_units(to_units(value)) == written


def test_money_is_shown_without_idle_zeros() -> None:
    assert str(from_units(150_000_000)) == "1.5"
    assert str(from_units(6_000_000_000_000)) == "60000"
    assert plain(from_units(-1)) == "-0.00000001"
    assert str(from_units(0)) == "0"


@given(st.integers(-(10**40), 10**40), st.integers(-12, 6))
def test_a_trimmed_number_is_the_same_number_in_its_fewest_digits(digits: int, power: int) -> None:
    value = from_steps(digits, Decimal(1).scaleb(power))
    shown = trimmed(value)
    assert shown == value
    assert shown.as_tuple() == Decimal(plain(value)).as_tuple()
