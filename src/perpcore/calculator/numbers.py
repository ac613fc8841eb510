"""Exact numbers of the calculator: whatever a person writes in, fractions out, rounding on request.

Nothing here knows a unit. Amounts may be dollars, 1e-8 dollars or quote quantums, prices may be
dollars or ticks, as long as price x size is in the unit of the amounts: every formula is exact, so
the unit of the result is the one that went in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from perpcore.amounts import to_decimal

#: A number that is taken exactly. A float counts as the decimal that Python prints for it.
Number = str | Decimal | int | float | Fraction
#: A number, or an array of numbers of any dtype and shape; arrays are broadcast.
Numbers = Number | NDArray[Any]
#: Fraction when every argument is a scalar, else an object array of Fractions. It is `Any` for the
#: type checker: which of the two it is follows from the arguments.
Exact = Any
#: "long" or "short" ("buy", "sell" are the same), 1 or -1, or an array of these. None takes the
#: sign of the quantity.
Side = str | int | NDArray[Any] | None
Rounding = Literal["down", "up", "zero", "away", "nearest"]

_SIGNS = {"long": 1, "buy": 1, "short": -1, "sell": -1}


def exact(value: Number, what: str = "number") -> Fraction:
    """The number as a fraction, without loss.

    Raises TypeError for what is no number (bool included), ValueError for NaN, infinities and text
    that is no decimal.
    """
    if isinstance(value, Fraction):
        return value
    return Fraction(to_decimal(value, what))


def field(row: Mapping[str, Any], name: str, where: str) -> Any:
    """A value that a row must have. Raises ValueError that says where it is missing."""
    if name not in row:
        raise ValueError(f"{where}: {name} is missing; there are {', '.join(map(str, row))}")
    return row[name]


def sign_of(side: object) -> Fraction:
    """1 for a long, -1 for a short. Raises ValueError for any other word or number."""
    if isinstance(side, str) and side.lower() in _SIGNS:
        return Fraction(_SIGNS[side.lower()])
    if not isinstance(side, str) and side in (1, -1):
        return Fraction(side)
    raise ValueError(f"side: {side!r} is neither long (buy, 1) nor short (sell, -1)")


def each(formula: Callable[..., Any], *values: Any, kind: Any = object) -> Any:
    """`formula` of fractions, on scalars or element by element on broadcast arrays.

    An argument that is an array makes the result one: shape by numpy's rules, dtype `kind`.
    None stays None. Raises what `exact` and `formula` raise; ValueError for shapes that do not fit.
    """
    if not any(isinstance(value, np.ndarray) for value in values):
        return formula(*(None if value is None else exact(value) for value in values))
    columns = np.broadcast_arrays(*(_column(value) for value in values))
    rows = zip(*(column.ravel().tolist() for column in columns), strict=True)
    out = np.empty(columns[0].size, dtype=kind)
    out[:] = [formula(*row) for row in rows]
    return out.reshape(columns[0].shape)


def _column(value: Any) -> NDArray[Any]:
    """The value as an object array of fractions, each element read once."""
    if not isinstance(value, np.ndarray):
        return _filled([None if value is None else exact(value)], ())
    return _filled([exact(item) for item in value.ravel().tolist()], value.shape)


def _filled(items: list[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    out = np.empty(len(items), dtype=object)
    out[:] = items
    return out.reshape(shape)


def signed(qty: Numbers, side: Side) -> Exact:
    """The quantity with the sign of the side; as it is when `side` is None.

    Raises ValueError when a side is given and the quantity has a sign of its own (is below 0).
    """
    if side is None:
        return each(lambda q: q, qty)
    if isinstance(side, np.ndarray):
        signs: Any = _filled([sign_of(item) for item in side.ravel().tolist()], side.shape)
    else:
        signs = sign_of(side)
    return each(_with_sign, qty, signs)


def _with_sign(qty: Fraction, sign: Fraction) -> Fraction:
    if qty < 0:
        raise ValueError(f"qty: {qty} has a sign and a side was given; give one of them")
    return qty * sign


def _step_count(value: Fraction, step: Fraction, rounding: Rounding) -> int:
    steps = value / step
    if rounding == "nearest":
        return round(steps)
    # Toward zero is up for what is below it; away from zero is up for the rest.
    up = rounding == "up" or rounding == ("zero" if steps < 0 else "away")
    return ceil(steps) if up else floor(steps)


def to_step(value: Numbers, step: Number, rounding: Rounding) -> Exact:
    """The value on a grid of `step`: down (to minus infinity), up, zero (toward 0), away, nearest
    (ties to the even step).

    Returns a Fraction, or an object array of them. Raises ValueError for a step that is not above 0
    and for an unknown direction.
    """
    unit = _unit(step, rounding)
    return each(lambda v: _step_count(v, unit, rounding) * unit, value)


def to_count(value: Numbers, step: Number = 1, rounding: Rounding = "down") -> Any:
    """Whole steps of the value: an int, or an int64 array (OverflowError beyond 64 bits).

    `to_count(amount, "0.00000001")` gives money units, `to_count(price, tick)` ticks.
    """
    unit = _unit(step, rounding)
    return each(lambda v: _step_count(v, unit, rounding), value, kind=np.int64)


def _unit(step: Number, rounding: Rounding) -> Fraction:
    unit = exact(step, "step")
    if unit <= 0:
        raise ValueError(f"step: {step!r} is not above 0")
    if rounding not in ("down", "up", "zero", "away", "nearest"):
        raise ValueError(f"rounding: {rounding!r} is none of down, up, zero, away, nearest")
    return unit


def to_text(value: Numbers, places: int = 8, rounding: Rounding = "nearest") -> Any:
    """The value as a Decimal of so many places, trailing zeros kept; for display.

    An array gives an object array of Decimals.
    """
    step = Fraction(1, 10**places)

    def shown(v: Fraction) -> Decimal:
        return Decimal(_step_count(v, step, rounding)).scaleb(-places)

    return each(shown, value)


def to_float(value: Numbers) -> Any:
    """The nearest float, or a float64 array. The only place where the calculator makes one."""
    return each(float, value, kind=np.float64)


def total(values: Iterable[Number]) -> Fraction:
    """The exact sum."""
    return sum((exact(value) for value in values), Fraction(0))
