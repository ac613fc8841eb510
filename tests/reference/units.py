"""Chapter 0: units and rounding (U1, U3). Every division of the model goes through here."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

E3 = 10**3
E4 = 10**4
E6 = 10**6
E9 = 10**9
E13 = 10**13
E15 = 10**15
NONE = 0xFFFFFFFF
NO_CONTRACT = 0xFFFF


def floor_div(a: int, b: int) -> int:
    """Down: balances, releases, what a receiver gets."""
    return a // b


def ceil_div(a: int, b: int) -> int:
    """Up: requirements, fees, what a payer pays."""
    return -((-a) // b)


def floor_of(x: Fraction) -> int:
    return floor_div(x.numerator, x.denominator)


def ceil_of(x: Fraction) -> int:
    return ceil_div(x.numerator, x.denominator)


def part_up(amount: int, rate: Fraction) -> int:
    """ceil(amount x rate): a requirement or a fee."""
    return ceil_div(amount * rate.numerator, rate.denominator)


def covers(amount: int, terms: Iterable[tuple[int, Fraction]]) -> bool:
    """Whether a whole amount is at least the exact sum of notional x rate (Q1)."""
    num, den = 0, 1
    for notional, rate in terms:
        num = num * rate.denominator + notional * rate.numerator * den
        den *= rate.denominator
    return amount * den >= num


def exceeds(amount: int, terms: Iterable[tuple[int, Fraction]]) -> bool:
    """Whether a whole amount is more than the exact sum of notional x rate."""
    num, den = 0, 1
    for notional, rate in terms:
        num = num * rate.denominator + notional * rate.numerator * den
        den *= rate.denominator
    return amount * den > num


def wrap64(x: int) -> int:
    """A venue total as an event shows it: modulo 2^64, two's complement."""
    return (x + 2**63) % 2**64 - 2**63
