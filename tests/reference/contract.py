"""Terms of a contract, validated once, and the rates that follow (U1, U2, C1, C3)."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import lcm
from typing import NamedTuple

from .codes import Side
from .records import ContractTerms
from .units import E4, E6, E9, E13, E15, ceil_div, floor_div, part_up


class Bracket(NamedTuple):
    """A tier of notionals up to `cap`."""

    cap: int
    mm_e9: int
    leverage: int
    cum: int


class Contract:
    """The fixed part of a contract: terms and exact rates."""

    def __init__(self, terms: ContractTerms) -> None:
        self.terms = terms
        self.k = terms.marks_per_tick
        product = terms.tick_size_e12 * terms.lot_size_e9 * terms.multiplier
        self.v = floor_div(product, E13 * self.k) if self.k >= 1 else 0
        self.max_mark = terms.max_price_ticks * self.k
        self.taker = Fraction(terms.taker_fee_e9, E9)
        self.maker = Fraction(terms.maker_fee_e9, E9)
        self.liquidation = Fraction(terms.liquidation_fee_e9, E9)
        self.fee_reserve = self.taker + self.liquidation
        self.share = Fraction(terms.maintenance_share_e4, E4)
        self.lot_rate = Fraction(terms.unit_margin_rate_e15, E15)
        n = min(max(terms.bracket_count, 0), 16)
        self.brackets = [Bracket(*row) for row in zip(
            terms.bracket_cap_units[:n], terms.bracket_mm_e9, terms.bracket_leverage,
            terms.bracket_cum_units, strict=False)]
        self._rates: dict[tuple[int, int], Fraction] = {}
        self._maintenance: dict[int, Fraction] = {}
        self.validate()

    def validate(self) -> None:
        """Refuse what U2 cannot prove; the message names the rule."""
        t = self.terms
        broken = [
            ("only linear contracts", t.kind != 1),
            ("sizes are positive", min(
                t.tick_size_e12, t.lot_size_e9, t.multiplier, t.marks_per_tick, t.max_price_ticks,
                t.min_order_lots, t.max_position_lots, t.inventory_limit_lots,
                t.liquidation_slice_lots, t.work_off_slice_lots, t.max_leverage) < 1),
            ("sizes fit", t.tick_size_e12 > 10**17 or t.lot_size_e9 > E13 or t.multiplier > E6
             or t.marks_per_tick > 100_000),
            ("minimum size at most maximum size", t.min_order_lots > t.max_order_lots),
            ("largest leverage at most 1,000", t.max_leverage > 1000),
            ("a mark goes stale after a time of at least 0", t.stale_after_ns < 0),
            ("access group 0..15", not 0 <= t.access_group <= 15),
        ]
        self._refuse(broken)
        self._refuse(self.broken_brackets() if t.bracket_count else [])
        product = t.tick_size_e12 * t.lot_size_e9 * t.multiplier
        rates = (t.taker_fee_e9, t.maker_fee_e9, t.liquidation_fee_e9, t.band_aggressive_e9,
                 t.band_passive_e9, t.work_off_band_e9, t.funding_cap_e9)
        den = lcm(self.fee_reserve.denominator, (self.share / t.max_leverage).denominator,
                  (self.share * self.lot_rate).denominator, self.share.denominator)
        self._refuse([
            ("one mark tick x lot is a whole number of units",
             self.v < 1 or self.v * E13 * self.k != product),
            ("largest mark below 2^31 - 1", self.max_mark >= 2**31 - 1),
            ("largest notional below 2^60", t.max_position_lots * self.v * self.max_mark >= 2**60),
            ("notional of the largest order below 2^60",
             t.max_order_lots * self.v * self.max_mark >= 2**60),
            ("largest inventory below 2^62",
             t.inventory_limit_lots * self.v * self.max_mark >= 2**62),
            ("rates in [0, 1)", not (all(0 <= rate < E9 for rate in rates)
                                     and 0 <= t.unit_margin_rate_e15 < E15)),
            ("maintenance share in (0, 1)", not self.brackets and not 0 < self.share < 1),
            ("maintenance of the largest position at most 1",
             self.share * self.lot_rate * t.max_position_lots > 1),
            ("maintenance plus fee reserve below 1", self.share + self.fee_reserve >= 1),
            ("denominators of the rates fit", den > 2**60),
        ])

    def broken_brackets(self) -> list[tuple[str, bool]]:
        """The second margin model: maintenance is continuous and rises by less than the value."""
        t, rows, n = self.terms, self.brackets, self.terms.bracket_count
        tables = (t.bracket_cap_units, t.bracket_mm_e9, t.bracket_leverage, t.bracket_cum_units)
        whole = [("1 to 16 brackets", not 1 <= n <= 16 or len(rows) != n),
                 ("nothing stands beyond the last bracket",
                  any(any(table[n:]) for table in tables)),
                 ("brackets need no share and no unit margin rate",
                  t.maintenance_share_e4 != 0 or t.unit_margin_rate_e15 != 0)]
        if any(is_broken for _, is_broken in whole):
            return whole
        last = rows[-1]
        return [
            ("maintenance of a bracket in (0, 1), at most its margin rate",
             any(not 0 < b.mm_e9 < E9 or b.mm_e9 * b.leverage > E9 for b in rows)),
            ("leverage of a bracket 1 to the contract's",
             any(not 1 <= b.leverage <= t.max_leverage for b in rows)),
            ("the first bracket has a cap and no cumulative amount",
             rows[0].cap < 1 or rows[0].cum != 0),
            ("caps rise, maintenance does not fall, leverage does not rise",
             any(a.cap >= b.cap or a.mm_e9 > b.mm_e9 or a.leverage < b.leverage
                 for a, b in pairwise(rows))),
            ("maintenance is continuous at a cap",
             any((b.cum - a.cum) * E9 != a.cap * (b.mm_e9 - a.mm_e9) for a, b in pairwise(rows))),
            ("caps at most 2^60", last.cap > 2**60),
            ("the last bracket holds the largest position",
             last.cap < t.max_position_lots * self.v * self.max_mark),
            ("maintenance plus fee reserve below 1",
             Fraction(last.mm_e9, E9) + self.fee_reserve >= 1),
        ]

    @staticmethod
    def _refuse(rules: list[tuple[str, bool]]) -> None:
        for rule, is_broken in rules:
            if is_broken:
                raise ValueError(f"contract refused (U2): {rule}")

    # ---- rates (C1)

    def bracket_at(self, lots: int, mark: int) -> Bracket:
        """The tier of a notional: the first that holds it."""
        notional = lots * self.v * mark
        return next((b for b in self.brackets if notional <= b.cap), self.brackets[-1])

    def margin_rate(self, lots: int, mark: int, leverage: int = 0) -> Fraction:
        """MR at a size and a leverage; leverage 0: the product's own rate."""
        if self.brackets:
            own = self.bracket_at(lots, mark).leverage
            return Fraction(1, min(own, leverage or own, self.terms.max_leverage))
        key = (lots, leverage)
        if key not in self._rates:
            rate = max(Fraction(1, self.terms.max_leverage), self.lot_rate * lots)
            if leverage:
                rate = max(rate, Fraction(1, leverage))
            self._rates[key] = min(Fraction(1), rate)
        return self._rates[key]

    def maintenance(self, lots: int, mark: int) -> Fraction:
        """MM, exact: a share of the product's margin rate, or N mm - cum of the bracket."""
        return (lots * self.v * mark * (self.trigger_rate(lots, mark) - self.fee_reserve)
                - self.cumulative(lots, mark))

    def trigger_rate(self, lots: int, mark: int) -> Fraction:
        """mm + fr, the rate a of Q2."""
        if self.brackets:
            return Fraction(self.bracket_at(lots, mark).mm_e9, E9) + self.fee_reserve
        if lots not in self._maintenance:
            rate = self.share * self.margin_rate(lots, mark)
            self._maintenance[lots] = rate + self.fee_reserve
        return self._maintenance[lots]

    def cumulative(self, lots: int, mark: int) -> int:
        """What the bracket takes off N mm, so that maintenance has no step at a cap."""
        return self.bracket_at(lots, mark).cum if self.brackets else 0

    # ---- price bands (O4): rounded inward

    def highest(self, mark: int, band_e9: int) -> int:
        """Largest order price at most mark (1 + band)."""
        return floor_div(mark * (E9 + band_e9), E9 * self.k)

    def lowest(self, mark: int, band_e9: int) -> int:
        """Smallest order price at least mark (1 - band), and at least 1."""
        return max(1, ceil_div(mark * (E9 - band_e9), E9 * self.k))

    def worst_price(self, side: int, mark: int, band_e9: int) -> int:
        """The edge of a band that an aggressive order may reach."""
        if side == Side.BUY:
            return min(self.highest(mark, band_e9), self.terms.max_price_ticks)
        return self.lowest(mark, band_e9)

    # ---- order reserve (C3)

    def reserve(self, lots: int, price: int, mark: int, side: int, rate: Fraction) -> int:
        """R(lots) without E."""
        if lots <= 0:
            return 0
        price_marks = price * self.k
        notional = lots * max(price_marks, mark) * self.v
        worse = price_marks - mark if side == Side.BUY else mark - price_marks
        return (part_up(notional, rate) + part_up(notional, self.taker)
                + part_up(notional, self.fee_reserve) + lots * self.v * max(0, worse))
