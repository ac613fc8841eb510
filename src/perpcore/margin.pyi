"""Margin without a venue: what a position needs, what it is worth, and the mark that ends it."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Self, SupportsIndex, final

import numpy as np
from numpy.typing import NDArray

_Whole = SupportsIndex
_Column = SupportsIndex | NDArray[np.integer[Any]]

@final
class MarginTerms:
    """The numbers of one linear contract that margin depends on, checked once."""

    def __init__(
        self,
        *,
        value_units: _Whole,
        max_leverage: _Whole,
        maintenance_share_e4: _Whole | None = None,
        unit_margin_rate_e15: _Whole = 0,
        taker_fee_e9: _Whole = 0,
        liquidation_fee_e9: _Whole = 0,
        max_mark_ticks: _Whole = ...,
        brackets: Sequence[tuple[_Whole, _Whole, _Whole]] = (),
    ) -> None: ...
    @classmethod
    def from_record(cls, record: np.void) -> Self: ...
    @property
    def value_units(self) -> int: ...
    @property
    def max_leverage(self) -> int: ...
    @property
    def maintenance_share_e4(self) -> int: ...
    @property
    def unit_margin_rate_e15(self) -> int: ...
    @property
    def taker_fee_e9(self) -> int: ...
    @property
    def liquidation_fee_e9(self) -> int: ...
    @property
    def max_mark_ticks(self) -> int: ...
    @property
    def brackets(self) -> tuple[tuple[int, int, int, int], ...]: ...
    def margin_rate(
        self, qty_lots: _Whole, leverage: _Whole = 0, mark_ticks: _Whole | None = None
    ) -> Fraction: ...
    def maintenance_rate(
        self, qty_lots: _Whole, mark_ticks: _Whole | None = None
    ) -> Fraction: ...
    def trigger_rate(self, qty_lots: _Whole, mark_ticks: _Whole | None = None) -> Fraction: ...
    def notional(self, qty_lots: _Whole, mark_ticks: _Whole) -> int: ...
    def unrealized_pnl(self, qty_lots: _Whole, cost_units: _Whole, mark_ticks: _Whole) -> int: ...
    def initial_margin(self, qty_lots: _Whole, mark_ticks: _Whole, leverage: _Whole = 0) -> int: ...
    def maintenance_margin(self, qty_lots: _Whole, mark_ticks: _Whole) -> int: ...
    def fee_reserve(self, qty_lots: _Whole, mark_ticks: _Whole) -> int: ...
    def margin_balance(
        self, cash_units: _Whole, qty_lots: _Whole, cost_units: _Whole, mark_ticks: _Whole
    ) -> int: ...
    def available_margin(
        self,
        cash_units: _Whole,
        qty_lots: _Whole,
        cost_units: _Whole,
        mark_ticks: _Whole,
        leverage: _Whole = 0,
    ) -> int: ...
    def removable_margin(
        self,
        cash_units: _Whole,
        qty_lots: _Whole,
        cost_units: _Whole,
        mark_ticks: _Whole,
        leverage: _Whole = 0,
        opening_cost_units: _Whole | None = None,
    ) -> int: ...
    def order_reserve(
        self,
        qty_lots: _Whole,
        price_mark_ticks: _Whole,
        mark_ticks: _Whole,
        side: int,
        *,
        size_lots: _Whole | None = None,
        leverage: _Whole = 0,
    ) -> int: ...
    def funding_payment(self, qty_lots: _Whole, mark_ticks: _Whole, rate_e9: _Whole) -> int: ...
    def is_below_maintenance(
        self, cash_units: _Whole, qty_lots: _Whole, cost_units: _Whole, mark_ticks: _Whole
    ) -> bool: ...
    def liquidation_mark(
        self, cash_units: _Whole, qty_lots: _Whole, cost_units: _Whole
    ) -> int | None: ...
    def bankruptcy_mark(self, cash_units: _Whole, qty_lots: _Whole, cost_units: _Whole) -> int: ...
    def liquidation_marks(
        self,
        cash_units: _Column,
        qty_lots: _Column,
        cost_units: _Column,
        *,
        out: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]: ...
    def initial_margins(
        self,
        qty_lots: _Column,
        mark_ticks: _Column,
        leverage: _Column = 0,
        *,
        out: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]: ...
    def maintenance_margins(
        self,
        qty_lots: _Column,
        mark_ticks: _Column,
        *,
        out: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]: ...
    def margin_balances(
        self,
        cash_units: _Column,
        qty_lots: _Column,
        cost_units: _Column,
        mark_ticks: _Column,
        *,
        out: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]: ...
    def below_maintenance(
        self,
        cash_units: _Column,
        qty_lots: _Column,
        cost_units: _Column,
        mark_ticks: _Column,
        *,
        out: NDArray[np.bool_] | None = None,
    ) -> NDArray[np.bool_]: ...

def released_cost(cost_units: _Whole, lots: _Whole, qty_lots: _Whole) -> int: ...
