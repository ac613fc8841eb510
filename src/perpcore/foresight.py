"""Before and after a command, from its events: the numbers of a preview (SPEC X1, Q2).

The core applies a previewed command and rolls it back; what remains are its events. Folding them
into the unit's state before gives its state after, exactly: whole numbers, no estimate.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore.codes import EventKind, Ledger, Side
from perpcore.records import NO_CONTRACT

#: Events that move a position; each release rounds by itself, so that their order counts.
_MOVES = [int(kind) for kind in (EventKind.FILL, EventKind.TAKEN_OVER, EventKind.DELEVERAGED)]
_E4, _E9, _E15 = 10**4, 10**9, 10**15


@dataclass
class UnitState:
    """One unit on one contract: signed lots, cost and the cash that counts, in money units.

    usdc_units: its USDC, whose worth is in the cash.
    """

    qty_lots: int = 0
    cost_units: int = 0
    cash_units: int = 0
    other_legs: bool = False
    usdc_units: int = 0


def unit_state(unit: dict[str, Any] | None, contract: int) -> UnitState:
    """The state of `Engine.unit`'s answer on a contract; an empty one for None.

    Cash is the unit's collateral value less what its USDC adds to maintenance margin.
    """
    if unit is None:
        return UnitState()
    legs = [leg for leg in unit["legs"] if leg["qty_lots"]]
    own = [leg for leg in legs if leg["contract"] == contract]
    haircut = unit["mm_units"] - sum(leg["mm_units"] for leg in legs)
    state = UnitState(
        cash_units=unit["collateral_units"] - haircut, other_legs=len(legs) > len(own),
        usdc_units=unit["usdc_units"],
    )
    if own:
        state.qty_lots, state.cost_units = own[0]["qty_lots"], own[0]["cost_units"]
    return state


def after(
    before: UnitState,
    events: NDArray[np.void],
    *,
    account: int,
    isolation_id: int,
    contract: int,
    usdc_counts: Callable[[int], int],
) -> UnitState | None:
    """The state after the command whose events these are.

    usdc_counts: what so much USDC counts for before the command, less half of its haircut, as
    `Engine.usdc_counts`. None when the command changed the USDC index.
    """
    ledger = int(Ledger.BLOCK_POSITION if isolation_id else Ledger.MAIN_USD)
    if np.any((events["kind"] == EventKind.INDEXED) & (events["contract"] == NO_CONTRACT)):
        return None
    state = replace(before)
    own = events[(events["account"] == account) & (events["isolation_id"] == isolation_id)]
    usdc = int(Ledger.BLOCK_POSITION_USDC if isolation_id else Ledger.MAIN_USDC)
    money = own[own["kind"] == EventKind.BALANCE]
    state.usdc_units += int(money["amount_units"][money["ledger"] == usdc].sum())
    state.cash_units += int(money["amount_units"][money["ledger"] == ledger].sum())
    if state.usdc_units != before.usdc_units:
        state.cash_units += usdc_counts(state.usdc_units) - usdc_counts(before.usdc_units)
    for event in own[np.isin(own["kind"], _MOVES) & (own["contract"] == contract)]:
        if event["kind"] == EventKind.FILL:
            sign = 1 if int(event["flags"]) >> 4 == Side.BUY else -1
            _add(state, sign * int(event["qty_lots"]), sign * int(event["amount_units"]))
        else:
            _add(state, -int(event["qty_lots"]), 0)
    return state


def _add(state: UnitState, lots: int, cost_units: int) -> None:
    """One fill of the unit: opening adds its cost, closing releases ceil(C k / |Q|) (SPEC U4)."""
    if state.qty_lots * lots >= 0:
        state.cost_units += cost_units
    else:
        state.cost_units -= -(-state.cost_units * abs(lots) // abs(state.qty_lots))
    state.qty_lots += lots


def trigger_line(terms: np.void, lots: int, notional_units: int) -> tuple[int, int, int]:
    """MM + FR = notional x num / den - cum of a size, as (num, den, cum) (SPEC C1, Q2).

    num / den is a of SPEC Q2. cum is 0 without notional brackets; with them, all follows from the
    notional.
    """
    lines = _bracket_lines(terms)
    if lines:
        caps = terms["bracket_cap_units"]
        i = 0
        while i < len(lines) - 1 and notional_units > int(caps[i]):
            i += 1
        return lines[i]
    leverage, unit_rate = int(terms["max_leverage"]), int(terms["unit_margin_rate_e15"]) * lots
    # max(1 / L, rate x lots) by cross multiplication, at most 1.
    num, den = (1, leverage) if unit_rate * leverage <= _E15 else (min(unit_rate, _E15), _E15)
    share = int(terms["maintenance_share_e4"])
    num, den = share * num * _E9 + _reserve_e9(terms) * _E4 * den, _E4 * _E9 * den
    common = gcd(num, den)
    return num // common, den // common, 0


def _reserve_e9(terms: np.void) -> int:
    return int(terms["taker_fee_e9"]) + int(terms["liquidation_fee_e9"])


def _bracket_lines(terms: np.void) -> list[tuple[int, int, int]]:
    """What each bracket asks, as `trigger_line` gives it; none without brackets."""
    count = int(terms["bracket_count"])
    rates, amounts = terms["bracket_mm_e9"][:count], terms["bracket_cum_units"][:count]
    return [
        (int(rate) + _reserve_e9(terms), _E9, int(cum))
        for rate, cum in zip(rates, amounts, strict=True)
    ]


def liquidation_mark(state: UnitState, terms: np.void, value_units: int) -> int | None:
    """First mark tick, in the adverse direction, at which the unit is liquidated (SPEC Q2).

    None without a position, with positions on other contracts, or when no mark of the contract
    does it. With brackets the maintenance margin is the largest of their lines (docs/margin.md):
    the first of them that is not met liquidates.
    """
    lots = abs(state.qty_lots)
    if not lots or state.other_legs:
        return None
    lines = _bracket_lines(terms) or [trigger_line(terms, lots, 0)]
    if state.qty_lots > 0:
        mark = max(_long_mark(state, line, lots * value_units) for line in lines)
        return mark if mark >= 1 else None
    mark = max(1, min(_short_mark(state, line, lots * value_units) for line in lines))
    highest = int(terms["max_price_ticks"]) * int(terms["marks_per_tick"])
    return mark if mark <= highest else None


def _long_mark(state: UnitState, line: tuple[int, int, int], tick_units: int) -> int:
    num, den, cum = line
    missing = den * (state.cost_units - state.cash_units - cum)
    return -(-missing // (tick_units * (den - num))) - 1


def _short_mark(state: UnitState, line: tuple[int, int, int], tick_units: int) -> int:
    num, den, cum = line
    spare = den * (state.cash_units + cum - state.cost_units)
    return spare // (tick_units * (den + num)) + 1
