"""Exact numbers at the border of the core: str, Decimal and int in, whole steps of a grid inside.

The core counts prices in ticks, sizes in lots and money in 1e-8 of a currency (SPEC U1). This
module is the only place that turns a number a person writes into such a count, and back. Nothing
is ever rounded on the way in: a number that is not on its grid is refused with the grid's step and
the two nearest values.
"""

from __future__ import annotations

import decimal
from decimal import Decimal
from operator import index

#: What a person may write where the interface asks for a number. A float is taken for the decimal
#: that Python prints for it, and must then be exactly on the grid.
Number = str | Decimal | int | float

#: Money units in one unit of a currency (SPEC U1).
UNITS_PER_COIN = 100_000_000
MONEY_STEP = Decimal("0.00000001")
#: Steps must fit the core's int64.
MAX_STEPS = 2**63 - 1

# Wide enough that no sum or product of two int64 counts is ever rounded.
_EXACT = decimal.Context(
    prec=200,
    Emin=-9999,
    Emax=9999,
    traps=[decimal.Inexact, decimal.InvalidOperation, decimal.Overflow, decimal.DivisionByZero],
)


class NotOnGrid(Exception):
    """A number that is no whole count of steps; `below` and `above` are its neighbors."""

    def __init__(self, value: Decimal, step: Decimal, below: Decimal, above: Decimal) -> None:
        super().__init__(f"{plain(value)} is not a multiple of {plain(step)}")
        self.value, self.step, self.below, self.above = value, step, below, above


def plain(value: Decimal) -> str:
    """The decimal in digits, without exponent and without trailing zeros: '0.05', '60000'."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text if text not in {"-0", ""} else "0"


def to_decimal(value: Number, what: str) -> Decimal:
    """The exact decimal of a number as a person writes it.

    Parameters: `value` is a str ("60,000.5" is not read: no separators), Decimal, int, or a float,
    which counts as the shortest decimal that names it (what `repr` prints). `what` is the word for
    the number in an error.
    Raises TypeError for any other type (bool too) and ValueError for what is no finite number.
    """
    if isinstance(value, bool):
        raise TypeError(f"{what}: a number is needed, not the bool {value!r}")
    if isinstance(value, Decimal):
        number = value
    elif isinstance(value, str):
        number = _from_text(value, what)
    elif isinstance(value, float):
        number = Decimal(float.__repr__(value))
    else:
        try:
            number = Decimal(index(value))
        except TypeError:
            raise TypeError(
                f"{what}: give a str, Decimal or int, not {type(value).__name__} {value!r}"
            ) from None
    # Numbers longer than this are on no grid, and arithmetic with them would not be exact.
    if not number.is_finite() or abs(number.adjusted()) > 60 or len(number.as_tuple().digits) > 60:
        raise ValueError(f"{what}: {value!r} is not a number that a venue can use")
    return number


def _from_text(text: str, what: str) -> Decimal:
    try:
        return Decimal(text.strip()) if "_" not in text else Decimal("x")
    except decimal.InvalidOperation:
        raise ValueError(
            f"{what}: {text!r} is not a number; write digits and a point, as in '60000.5'"
        ) from None


def to_steps(value: Number, step: Decimal, what: str) -> int:
    """The whole count of `step` in `value`, exactly.

    Raises NotOnGrid with the two neighbors when `value` lies between two steps, ValueError when
    the count leaves int64, and what `to_decimal` raises.
    """
    number = to_decimal(value, what)
    # floor(number / step) over whole numerators: exact for either sign.
    a, b = number.as_integer_ratio()
    c, d = step.as_integer_ratio()
    steps, rest = divmod(a * d, b * c)
    if abs(steps) > MAX_STEPS:
        raise ValueError(f"{what}: {plain(number)} is beyond what the venue counts")
    if rest:
        raise NotOnGrid(number, step, from_steps(steps, step), from_steps(steps + 1, step))
    return steps


def from_steps(steps: int, step: Decimal) -> Decimal:
    """steps x step, exactly."""
    return _EXACT.multiply(Decimal(steps), step)


def to_units(value: Number, what: str = "amount") -> int:
    """Money units (1e-8) of an amount; raises as `to_steps` does."""
    return to_steps(value, MONEY_STEP, what)


def from_units(units: int) -> Decimal:
    """The amount of so many money units, with its eight decimals dropped where they are zero."""
    return trimmed(from_steps(units, MONEY_STEP))


def trimmed(value: Decimal) -> Decimal:
    """The same number without trailing zeros behind the point."""
    whole = int(value)
    return Decimal(whole) if whole == value else value.normalize(_EXACT)


def quotient(numerator: int, denominator: int, step: Decimal, places: int = 8) -> Decimal:
    """numerator x step / denominator for display: rounded half even to `places` decimals.

    The core never stores such a number (SPEC U4); averages are computed for the eye only.
    """
    with decimal.localcontext() as context:
        context.prec = 60
        exact = Decimal(numerator) * step / Decimal(denominator)
        return trimmed(exact.quantize(Decimal(1).scaleb(-places)))
