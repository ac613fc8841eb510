"""Margin, liquidation, PnL, funding and shares of any venue, as plain exact formulas.

It needs no venue, no contract and no grid: numbers go in as str, Decimal, int, Fraction or float
(taken for the decimal that it prints), or as numpy arrays of these; what comes out is exact, a
Fraction or an object array of Fractions, and is rounded only where a rule rounds, or when asked
(`to_step`, `to_count`, `to_text`, `to_float`).

    from perpcore import calculator as calc
    price = calc.liquidation_price("mm_on_mark", side="long", qty="0.05", entry=60_000,
                                   leverage=20, mmr="0.01")
    calc.to_text(price, 2)

Quantities are signed, or unsigned with `side`. Prices, quantities and money may be in any units in
which price x quantity is money. What this venue itself does, in whole units on a contract's grid,
is `perpcore.margin`. Worked numbers: docs/calculator.md.
"""

from perpcore.calculator.brackets import Bracket, Brackets, read_brackets
from perpcore.calculator.fund import (
    Cover,
    Deleveraged,
    Holding,
    bankruptcy_notional,
    can_absorb,
    cover,
    deleverage,
    fund_delta,
    liquidation_fee,
    liquidation_order_price,
)
from perpcore.calculator.models import (
    MarginModel,
    bankruptcy_price,
    cross_margin,
    initial_margin,
    is_liquidated,
    liquidation_price,
    maintenance_margin,
    notional,
    size_from_margin,
)
from perpcore.calculator.numbers import exact, to_count, to_float, to_step, to_text
from perpcore.calculator.orders import isolated_transfer, order_margin, transfer_on_trades
from perpcore.calculator.pnl import (
    Position,
    close_value,
    funding_index_delta,
    funding_over,
    funding_payment,
    funding_rate,
    impact_price,
    open_and_bankruptcy_fee,
    open_value,
    position_after,
    premium_index,
    realized_pnl,
    trade_fee,
    unrealized_pnl,
)
from perpcore.calculator.shares import Shares, pro_rata_share, socialize

__all__ = [
    "Bracket",
    "Brackets",
    "Cover",
    "Deleveraged",
    "Holding",
    "MarginModel",
    "Position",
    "Shares",
    "bankruptcy_notional",
    "bankruptcy_price",
    "can_absorb",
    "close_value",
    "cover",
    "cross_margin",
    "deleverage",
    "exact",
    "fund_delta",
    "funding_index_delta",
    "funding_over",
    "funding_payment",
    "funding_rate",
    "impact_price",
    "initial_margin",
    "is_liquidated",
    "isolated_transfer",
    "liquidation_fee",
    "liquidation_order_price",
    "liquidation_price",
    "maintenance_margin",
    "notional",
    "open_and_bankruptcy_fee",
    "open_value",
    "order_margin",
    "position_after",
    "premium_index",
    "pro_rata_share",
    "read_brackets",
    "realized_pnl",
    "size_from_margin",
    "socialize",
    "to_count",
    "to_float",
    "to_step",
    "to_text",
    "trade_fee",
    "transfer_on_trades",
    "unrealized_pnl",
]
