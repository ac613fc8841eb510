"""Terms of a contract, validated once, and the rates that follow (U1, U2, C1, C3)."""

from __future__ import annotations

from fractions import Fraction
from math import lcm

from .codes import Side
from .records import ContractTerms
from .units import E4, E6, E9, E13, E15, ceil_div, floor_div, part_up


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
            ("maintenance share in (0, 1)", not 0 < self.share < 1),
            ("maintenance of the largest position at most 1",
             self.share * self.lot_rate * t.max_position_lots > 1),
            ("maintenance plus fee reserve below 1", self.share + self.fee_reserve >= 1),
            ("denominators of the rates fit", den > 2**60),
        ])

    @staticmethod
    def _refuse(rules: list[tuple[str, bool]]) -> None:
        for rule, is_broken in rules:
            if is_broken:
                raise ValueError(f"contract refused (U2): {rule}")

    # ---- rates (C1)

    def margin_rate(self, lots: int, leverage: int = 0) -> Fraction:
        """MR at a size and a leverage; leverage 0: the product's own rate."""
        key = (lots, leverage)
        if key not in self._rates:
            rate = max(Fraction(1, self.terms.max_leverage), self.lot_rate * lots)
            if leverage:
                rate = max(rate, Fraction(1, leverage))
            self._rates[key] = min(Fraction(1), rate)
        return self._rates[key]

    def maintenance_rate(self, lots: int) -> Fraction:
        """mm: a share of the product's margin rate."""
        return self.share * self.margin_rate(lots)

    def trigger_rate(self, lots: int) -> Fraction:
        """mm + fr, the rate a of Q2."""
        if lots not in self._maintenance:
            self._maintenance[lots] = self.maintenance_rate(lots) + self.fee_reserve
        return self._maintenance[lots]

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
