"""Chapter 7, Q5 and Q6: what closing by the venue costs, and what the fund gets or gives."""

from __future__ import annotations

from .codes import Reason
from .matching import released_cost
from .posting import (
    charge_trade_fee,
    post_cash,
    post_fund,
    post_inventory,
    post_order_cash,
)
from .state import Leg, Market, State, Unit
from .units import ceil_div, part_up


def close_lots(state: State, unit: Unit, leg: Leg, lots: int, notional: int) -> None:
    """Position and realized PnL of lots that close for a notional."""
    sign = 1 if leg.qty > 0 else -1
    released, released0 = released_cost(leg, lots)
    leg.qty -= sign * lots
    leg.cost -= released
    leg.cost0 -= released0
    state.touch(unit)
    post_cash(state, unit, sign * notional - released, Reason.REALIZED_PNL, leg.contract)


def charge_taker_fee(state: State, unit: Unit, leg: Leg, notional: int) -> None:
    fee = part_up(notional, state.markets[leg.contract].terms.taker)
    charge_trade_fee(state, unit, min(fee, max(0, unit.cash)), leg.contract)


def charge_liquidation_fee(state: State, unit: Unit, leg: Leg, notional: int) -> None:
    """To the fund; a fee never makes a deficit."""
    fee = min(part_up(notional, state.markets[leg.contract].terms.liquidation), max(0, unit.cash))
    post_cash(state, unit, -fee, Reason.LIQUIDATION_FEE, leg.contract)
    post_fund(state, fee, Reason.LIQUIDATION_FEE, leg.contract)


def add_deficit(state: State, unit: Unit, amount: int) -> None:
    """A statistic of the owner, or a debt (policy deficit)."""
    account = state.accounts[unit.account]
    account.deficit += max(0, amount)


def remainder_to_fund(state: State, unit: Unit) -> int:
    """Q6: cash of either sign goes to the fund, forfeit money of a block's orders after it.

    Returns what the fund gained.
    """
    amount, forfeit = unit.cash, unit.order_cash if unit.forfeits else 0
    add_deficit(state, unit, -amount - forfeit)
    state.paid += max(0, -amount - forfeit)
    post_cash(state, unit, -amount, Reason.INSURANCE_FUND, unit.contract)
    post_fund(state, amount, Reason.INSURANCE_FUND, unit.contract)
    post_order_cash(state, unit, -forfeit, 0, Reason.INSURANCE_FUND)
    post_fund(state, forfeit, Reason.INSURANCE_FUND, unit.contract)
    return amount + forfeit


def take_into_inventory(state: State, market: Market, qty: int, cost: int) -> None:
    """Opposite lots meet at cost; what each releases is realized in the inventory's cash."""
    held, held_cost = market.inventory_qty, market.inventory_cost
    if held * qty >= 0:
        market.inventory_qty, market.inventory_cost = held + qty, held_cost + cost
        return
    met = min(abs(held), abs(qty))
    released = ceil_div(held_cost * met, abs(held)) + ceil_div(cost * met, abs(qty))
    market.inventory_qty = held + qty
    market.inventory_cost = held_cost + cost - released
    post_inventory(state, -released, Reason.REALIZED_PNL, market.number)
