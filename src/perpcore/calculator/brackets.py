"""Notional brackets with a cumulative amount: the maintenance model of Binance and those like it.

A table says by notional N which rate applies, and an amount that makes the requirement continuous:

    floor_i <= N < floor_(i+1):   MM(N) = rate_i N - amount_i
    amount_0 = 0,  amount_i = amount_(i-1) + floor_i (rate_i - rate_(i-1))

so that MM(N) is the sum over brackets of rate x the part of N inside the bracket.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from os import PathLike
from typing import Any

from perpcore.calculator.numbers import Exact, Number, Numbers, Side, each, exact, signed

# The spellings of venues and libraries; a raw venue row inside ("info") is looked at first, since
# its numbers are still text.
_FLOOR = ("floor", "notionalFloor", "minNotional", "min_notional", "notional_floor")
_CAP = ("cap", "notionalCap", "maxNotional", "max_notional", "notional_cap")
_RATE = (
    "mmr", "maintMarginRatio", "maintenanceMarginRate", "maintenanceMarginRatio", "rate",
    "maintenance_rate", "mm_ratio",
)  # fmt: skip
_AMOUNT = ("maint_amount", "cum", "maintAmt", "maintenance_amt", "amount", "cum_amount")
_LEVERAGE = ("max_leverage", "initialLeverage", "maxLeverage", "leverage")


@dataclass(frozen=True)
class Bracket:
    """One line of a table: from `floor` (included) up to the next one's floor."""

    floor: Fraction
    rate: Fraction
    amount: Fraction
    max_leverage: Fraction | None

    def maintenance(self, value: Fraction) -> Fraction:
        """rate x notional - amount."""
        return self.rate * value - self.amount


def _field(row: Mapping[str, Any], names: Iterable[str]) -> Fraction | None:
    for place in (row.get("info") or {}, row):
        for name in names:
            if place.get(name) is not None:
                return exact(place[name], name)
    return None


class Brackets:
    """The brackets of one contract, checked when they are made.

    Parameters: `rows` in any order, each a dict with a floor, a maintenance rate and, if the table
    has them, cap, amount and largest leverage, under the names of Binance, ccxt or this package.
    Raises ValueError, naming the bracket, unless the first floor is 0, floors differ, each cap is
    the next floor, rates are in [0, 1) and every amount given is the one that continuity asks for.
    Amounts that are not given are computed from it.

    >>> table = Brackets([{"floor": 0, "mmr": "0.004"}, {"floor": 50_000, "mmr": "0.005"},
    ...                   {"floor": 250_000, "mmr": "0.01"}])
    >>> [str(line.amount) for line in table.lines]
    ['0', '50', '1300']
    >>> table.maintenance_margin(300_000)
    Fraction(1700, 1)
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        found = [(_field(row, _FLOOR), row) for row in rows]
        if any(low is None for low, _ in found):
            raise ValueError(f"a bracket has no floor: one of {', '.join(_FLOOR)} is needed")
        ordered = sorted(((low, row) for low, row in found if low is not None), key=lambda r: r[0])
        lines: list[Bracket] = []
        cap: Fraction | None = None
        for number, (low, row) in enumerate(ordered, 1):
            lines.append(_checked(f"bracket {number}", low, row, lines[-1] if lines else None, cap))
            cap = _field(row, _CAP)
        if not lines:
            raise ValueError("a table needs at least one bracket")
        self.lines: tuple[Bracket, ...] = tuple(lines)
        #: Where the last bracket ends, None when the table does not say. No notional above it is
        #: allowed by the venue; the formulas go on with the last rate.
        self.cap = cap
        self._floors = [line.floor for line in lines]

    def line(self, value: Number) -> Bracket:
        """The bracket of a notional: the last whose floor is not above it."""
        return self._at(exact(value, "notional"))

    def _at(self, value: Fraction) -> Bracket:
        if value < 0:
            raise ValueError(f"notional: {value} is below 0")
        return self.lines[bisect_right(self._floors, value) - 1]

    def rate(self, notional: Numbers) -> Exact:
        """Maintenance rate at a notional."""
        return each(lambda n: self._at(n).rate, notional)

    def amount(self, notional: Numbers) -> Exact:
        """Cumulative amount at a notional."""
        return each(lambda n: self._at(n).amount, notional)

    def maintenance_margin(self, notional: Numbers) -> Exact:
        """rate x notional - amount. Exact, continuous, never below 0."""
        return each(lambda n: self._at(n).maintenance(n), notional)

    def max_leverage(self, notional: Numbers) -> Exact:
        """The largest leverage that a notional may have; None where the table does not say."""
        return each(lambda n: self._at(n).max_leverage, notional)

    def max_notional(self, leverage: Number) -> Fraction | None:
        """Where the brackets that allow the leverage end; 0 if none does, None if they do not end.

        Raises ValueError for a table without leverages.
        """
        wanted = exact(leverage, "leverage")
        ends = [*self._floors[1:], self.cap]
        top: Fraction | None = Fraction(0)
        for line, end in zip(self.lines, ends, strict=True):
            if line.max_leverage is None:
                raise ValueError("this table does not say which leverage a bracket allows")
            if line.max_leverage >= wanted:
                top = end
        return top

    def liquidation_price(
        self, *, qty: Numbers, entry: Numbers, margin: Numbers, side: Side = None
    ) -> Exact:
        """The mark at which equity is the maintenance margin of the notional at that mark.

        Each bracket's equation W + q (p - e) = rate |q| p - amount has one root; brackets are
        walked from the lowest and the first root that is not above its bracket's end is the price.
        Why that is the only one: with N = |q| p, equity less maintenance is continuous in N
        (amounts are) and strictly monotone, of slope 1 - rate > 0 for a long and -(1 + rate) < 0
        for a short. If the root of bracket i - 1 lies above its end, then at that end a long is
        still short of margin (a short still has margin), the same holds for bracket i there, since
        the two agree at it, and so the root of bracket i is above its floor.

        Parameters, shapes and meaning of a price at or below 0 as for `liquidation_price`.
        Exact. Raises ValueError for qty 0.

        >>> table = Brackets([{"floor": 0, "mmr": "0.01"}, {"floor": 900, "mmr": "0.05"}])
        >>> price = table.liquidation_price(qty=10, entry=100, margin=100)
        >>> price, 10 * price > 900  # in the second bracket
        (Fraction(1728, 19), True)
        >>> table.maintenance_margin(10 * price) == 100 + 10 * (price - 100)
        True
        """

        def walk(q: Fraction, e: Fraction, w: Fraction) -> Fraction:
            if not q:
                raise ValueError("qty: a position of 0 has no liquidation price")
            size, price = abs(q), Fraction(0)
            for line, end in zip(self.lines, [*self._floors[1:], None], strict=True):
                price = (q * e - w - line.amount) / (q - line.rate * size)
                if end is None or size * price <= end:
                    break
            return price

        return each(walk, signed(qty, side), entry, margin)


def _checked(
    what: str, low: Fraction, row: Mapping[str, Any], before: Bracket | None, cap: Fraction | None
) -> Bracket:
    """One line, against the line before it and where that one ends."""
    rate, given = _field(row, _RATE), _field(row, _AMOUNT)
    if rate is None:
        raise ValueError(f"{what}: no maintenance rate: one of {', '.join(_RATE)} is needed")
    if not 0 <= rate < 1:
        raise ValueError(f"{what}: maintenance rate {rate} is outside [0, 1)")
    if before is None:
        if low:
            raise ValueError(f"{what}: the first floor is {low}, not 0")
        amount = Fraction(0)
    else:
        if low <= before.floor:
            raise ValueError(f"{what}: floor {low} appears twice")
        if cap is not None and cap != low:
            raise ValueError(f"{what}: floor {low} is not the cap before it, {cap}")
        amount = before.amount + low * (rate - before.rate)
    if given is not None and given != amount:
        raise ValueError(f"{what}: amount {given}, but maintenance is continuous with {amount}")
    return Bracket(low, rate, amount, _field(row, _LEVERAGE))


def read_brackets(source: str | PathLike[str] | Mapping[str, Any]) -> dict[str, Brackets]:
    """The tables of many contracts: a JSON file, or what it holds, {contract: [bracket, ...]}.

    Raises ValueError that names the contract whose table is wrong.
    """
    if isinstance(source, Mapping):
        tables = source
    else:
        with open(source, encoding="utf-8") as file:
            tables = json.load(file)
    found: dict[str, Brackets] = {}
    for name, rows in tables.items():
        try:
            found[name] = Brackets(rows)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return found
