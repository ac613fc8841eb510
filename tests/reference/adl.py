"""Chapter 7, Q4: the rest of a liquidation is closed against the opposite side, by rank."""

from __future__ import annotations

from .closing import close_lots, remainder_to_fund
from .codes import Ev, Policy
from .margin import bankruptcy_mark, equity, notional_of, upnl_of
from .matching import position_ended
from .posting import cover_negative_usd, return_everything, return_usdc
from .state import Leg, State, Unit
from .units import E3, E6, ceil_of, floor_div, floor_of

LARGEST_FACTOR = 2**31


def clip(x: int) -> int:
    return max(-LARGEST_FACTOR, min(LARGEST_FACTOR, x))


def score(state: State, unit: Unit, contract: int) -> int:
    """Profit from the opening cost x effective leverage; a loss counts less with more leverage."""
    market, leg = state.markets[contract], unit.legs[contract]
    profit = upnl_of(market, leg.qty, leg.cost0)
    profit_e6 = clip(floor_div(profit * E6, max(1, abs(leg.cost0))))
    leverage_e3 = clip(floor_div(notional_of(market, leg.qty) * E3, max(1, equity(state, unit))))
    if profit_e6 > 0:
        return profit_e6 * leverage_e3
    return -floor_div(-profit_e6 * E6, max(1, leverage_e3))


def ranked(state: State, contract: int, units: list[Unit]) -> list[Unit]:
    """The queue: largest score first, ties in unit order."""
    return sorted(units, key=lambda u: (-score(state, u, contract), u.order))


def candidates(state: State, unit: Unit, leg: Leg) -> list[Unit]:
    """Other accounts' units on the other side that this command has not liquidated."""
    return [u for u in state.holders(leg.contract)
            if u.account != unit.account and u.key not in state.done
            and u.legs[leg.contract].qty * leg.qty < 0]


def allotment(state: State, unit: Unit, leg: Leg, lots: int) -> list[tuple[Unit, int]]:
    """Who closes how many lots, in the order in which they do."""
    found = candidates(state, unit, leg)
    held = {u.key: abs(u.legs[leg.contract].qty) for u in found}
    if state.venue.adl_rank == Policy.RANK_PRO_RATA:
        found.sort(key=lambda u: u.order)
        parts = pro_rata([held[u.key] for u in found], lots)
    else:
        found = ranked(state, leg.contract, found)
        parts = []
        for u in found:
            parts.append(min(held[u.key], lots - sum(parts)))
    return [(u, part) for u, part in zip(found, parts, strict=True) if part]


def pro_rata(held: list[int], lots: int) -> list[int]:
    """By size; lots that are left over go one each to the largest remainders."""
    total = sum(held)
    lots = min(lots, total)
    if not lots:
        return [0] * len(held)
    parts = [floor_div(lots * own, total) for own in held]
    odd = lots - sum(parts)
    by_remainder = sorted(range(len(held)), key=lambda i: (parts[i] * total - lots * held[i], i))
    for i in by_remainder[:odd]:
        parts[i] += 1
    return parts


def price_of(state: State, unit: Unit, leg: Leg) -> int:
    """In mark ticks: the bankruptcy price of the leg in the fund's favour, or the mark."""
    market, venue = state.markets[leg.contract], state.venue
    if venue.adl_price == Policy.ADL_AT_MARK or venue.adl_rank == Policy.RANK_QUEUE_AT_MARK:
        return market.mark
    exact = bankruptcy_mark(state, unit, leg)
    price = ceil_of(exact) if leg.qty > 0 else floor_of(exact)
    return min(max(price, 1), market.terms.max_mark)


def deleverage(state: State, unit: Unit, leg: Leg, lots: int) -> int:
    """Close up to `lots` of the liquidated leg; returns the notional that was closed."""
    price = price_of(state, unit, leg)
    value = price * state.markets[leg.contract].terms.v
    closed = 0
    for other, part in allotment(state, unit, leg, lots):
        close_side(state, unit, leg, part, price, part * value)
        close_side(state, other, other.legs[leg.contract], part, price, part * value)
        if other.legs[leg.contract].qty == 0:
            end_candidate(state, other, leg.contract)
        closed += part * value
    return closed


def close_side(state: State, unit: Unit, leg: Leg, lots: int, price: int,
                    notional: int) -> None:
    sign = 1 if leg.qty > 0 else -1
    state.emit_unit(Ev.DELEVERAGED, unit, leg.contract, qty_lots=sign * lots, price_ticks=price,
                    amount_units=notional)
    close_lots(state, unit, leg, lots, notional)


def end_candidate(state: State, unit: Unit, contract: int) -> None:
    """As any position that ends; a block's owner loses no more than what is in the block (I13)."""
    if unit.is_block:
        cover_negative_usd(state, unit)
        if unit.cash < 0:
            remainder_to_fund(state, unit)
            return_usdc(state, unit, unit.usdc)
        else:
            return_everything(state, unit)
    position_ended(state, unit, contract)
