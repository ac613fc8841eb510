"""How an uncovered loss is shared by those who have won."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Literal

from perpcore.calculator.numbers import Exact, Number, Numbers, each, exact

Rule = Literal["largest_remainder", "last_takes_rest", "one_percent", "exact"]


def pro_rata_share(loss: Numbers, profit: Numbers, total_profit: Numbers) -> Exact:
    """loss x profit / total profit, at most the profit. Exact: one line of a venue's table.

    Raises ValueError for a total that is not above 0.

    >>> pro_rata_share(10_000, 50_000, 171_000)
    Fraction(500000, 171)
    """

    def formula(lost: Fraction, won: Fraction, total: Fraction) -> Fraction:
        if total <= 0:
            raise ValueError(f"total_profit: {total} is not above 0")
        return min(won, lost * won / total)

    return each(formula, loss, profit, total_profit)


@dataclass(frozen=True)
class Shares:
    """`shares` in the order of the winners, as whole steps; together with `carried` less `surplus`
    they are the loss."""

    shares: tuple[Fraction, ...]
    #: Loss that all profits together do not cover.
    carried: Fraction
    #: What one_percent takes beyond the loss; it goes to the fund.
    surplus: Fraction


def socialize(
    loss: Number, profits: Sequence[Number], rule: Rule = "largest_remainder", step: Number = 1
) -> Shares:
    """Each winner's share of an uncovered loss D, for profits p_i >= 0 that sum to P.

    D >= P: every whole profit is taken and D - P is carried. Below that, by `rule`:

    - "largest_remainder" (this venue, S4): floor(D p_i / P) steps; those left over go one each to
      the largest remainders, ties to the earlier winner.
    - "last_takes_rest" (Vega): every winner but the last receives floor(p_i (P - D) / P) of the
      profit; the last receives the rest. Shares are what is not received; the last one's may be
      below 0 by less than a step for each other winner.
    - "one_percent": ceil(1 %) of each profit; more than D goes to the fund as `surplus`; if it is
      not enough, "largest_remainder".
    - "exact": D p_i / P.

    Parameters: `step` is the unit that cannot be split (1 when amounts are whole units, 1e-8 when
    they are dollars); loss and profits are multiples of it, except for "exact".
    Shares always sum to D - carried + surplus, exactly.
    Raises ValueError for an amount below 0 or between two steps, and for an unknown rule.

    >>> [int(share) for share in socialize(500, [1400, 700], "last_takes_rest").shares]
    [334, 166]
    >>> [int(share) for share in socialize(100, [1, 1, 1]).shares]
    [1, 1, 1]
    >>> [int(share) for share in socialize(7, [10, 10, 10]).shares]
    [3, 2, 2]
    """
    unit = exact(step, "step")
    whole = rule != "exact"
    lost = _steps(loss, unit, whole, "loss")
    won = [_steps(profit, unit, whole, "profit") for profit in profits]
    everything = sum(won, Fraction(0))
    if lost >= everything:
        return Shares(tuple(p * unit for p in won), (lost - everything) * unit, Fraction(0))
    if rule == "one_percent":
        flat = [Fraction(ceil(p / 100)) for p in won]
        if sum(flat) >= lost:
            return Shares(tuple(s * unit for s in flat), Fraction(0), (sum(flat) - lost) * unit)
    parts = _parts(lost, won, everything, rule)
    return Shares(tuple(s * unit for s in parts), Fraction(0), Fraction(0))


def _steps(value: Number, unit: Fraction, whole: bool, what: str) -> Fraction:
    steps = exact(value, what) / unit
    if steps < 0 or (whole and steps.denominator != 1):
        raise ValueError(f"{what}: {value} is below 0 or no multiple of {unit}")
    return steps


def _parts(
    lost: Fraction, won: list[Fraction], everything: Fraction, rule: Rule
) -> list[Fraction]:
    """Shares of a loss that is below all profits together."""
    if rule == "exact":
        return [lost * p / everything for p in won]
    if rule == "last_takes_rest":
        parts = [p - floor(p * (everything - lost) / everything) for p in won[:-1]]
        return [*parts, lost - sum(parts, Fraction(0))]
    if rule not in ("largest_remainder", "one_percent"):
        raise ValueError(f"rule: {rule!r} is unknown")
    ideal = [lost * p / everything for p in won]
    parts = [Fraction(floor(share)) for share in ideal]
    left = int(lost - sum(parts))
    order = sorted(range(len(won)), key=lambda i: (parts[i] - ideal[i], i))
    for i in order[:left]:
        parts[i] += 1
    return parts
