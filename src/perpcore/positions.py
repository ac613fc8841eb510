"""A leg as the engine counts it, as a Position that a person reads."""

from __future__ import annotations

from typing import Any

from perpcore.amounts import from_units, quotient
from perpcore.results import Position
from perpcore.shell import Core


def position_of(core: Core, leg: dict[str, Any], isolation_id: int | None) -> Position:
    """A leg of `Engine.unit` as a Position."""
    contract = core.contracts[leg["contract"]]
    grid, lots = contract.grid, leg["qty_lots"]
    value = grid.value_units * grid.marks_per_tick
    mark, bankruptcy = leg["liquidation_mark_ticks"], leg["bankruptcy_mark_ticks"]
    return Position(
        instrument_name=contract.symbol,
        isolation_id=isolation_id,
        quantity=grid.quantity(lots),
        cost=from_units(leg["cost_units"]),
        open_cost=from_units(leg["opening_cost_units"]),
        average_price=quotient(leg["opening_cost_units"], lots * value, grid.tick),
        leverage=leg["leverage"] or contract.max_leverage,
        notional=from_units(leg["notional_units"]),
        unrealized_pnl=from_units(leg["upnl_units"]),
        initial_margin=from_units(leg["im_units"]),
        maintenance_margin=from_units(leg["mm_units"]),
        fee_reserve=from_units(leg["fr_units"]),
        liquidation_price=grid.mark(mark) if mark else None,
        bankruptcy_price=grid.mark(bankruptcy) if bankruptcy else None,
    )
