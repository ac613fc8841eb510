"""Chapters 3 and 4: where a unit stands (C1-C6, I4, I9), and the exact tests (Q1, C4, O7)."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from .state import Change, Leg, Market, State, Unit
from .units import E6, E9, E15, ceil_div, ceil_of, covers, exceeds, floor_div, floor_of, part_up

# ---- collateral (A4)


def usdc_value(state: State, usdc: int) -> int:
    return floor_div(state.index * usdc, E6)


def haircut_of(state: State, value: int) -> int:
    return ceil_div(value * state.venue.usdc_haircut_e9, E9)


def haircut(state: State, unit: Unit) -> int:
    """What USDC adds to IM; MM has half of it. Blocks hold no USDC."""
    if unit.is_block:
        return 0
    return haircut_of(state, usdc_value(state, state.accounts[unit.account].usdc))


def conversion_rate(state: State) -> Fraction:
    """USD units for one USDC unit: the index less the haircut."""
    return Fraction(state.index * (E9 - state.venue.usdc_haircut_e9), E15)


def collateral(state: State, unit: Unit) -> int:
    if unit.is_block:
        return unit.cash
    return unit.cash + usdc_value(state, state.accounts[unit.account].usdc)


def converted(state: State, unit: Unit) -> int:
    """What the collateral gives as USD: less than its value by the haircut of the USDC."""
    own = 0 if unit.is_block else state.accounts[unit.account].usdc
    return unit.cash + floor_of(own * conversion_rate(state))


# ---- positions at the mark


def notional_of(market: Market, qty: int) -> int:
    return abs(qty) * market.terms.v * market.mark


def upnl_of(market: Market, qty: int, cost: int) -> int:
    return qty * market.terms.v * market.mark - cost


def legs_after(state: State, unit: Unit,
               change: Change | None) -> list[tuple[Market, int, int, int]]:
    """(market, qty, cost, leverage) of each position, with the change made if there is one."""
    found = [(state.markets[leg.contract], leg.qty, leg.cost, leg.leverage)
             for leg in unit.positions() if change is None or leg.contract != change.contract]
    if change is not None and change.qty:
        leverage = unit.legs[change.contract].leverage
        found.append((state.markets[change.contract], change.qty, change.cost, leverage))
    return found


def equity(state: State, unit: Unit, change: Change | None = None) -> int:
    """Collateral value + uPnL: a whole number."""
    total = collateral(state, unit) + (change.cash_delta if change else 0)
    return total + sum(upnl_of(market, qty, cost)
                       for market, qty, cost, _ in legs_after(state, unit, change))


def is_solvent(state: State, unit: Unit, change: Change) -> bool:
    """O7: a reducing fill leaves no debt; USDC counts at what it gives when it is converted."""
    return equity(state, unit, change) - collateral(state, unit) + converted(state, unit) >= 0


def meets_maintenance(state: State, unit: Unit, change: Change | None = None) -> bool:
    """Q1, O7: MB >= MM as the exact rational inequality."""
    half = ceil_div(haircut(state, unit), 2)
    return covers(equity(state, unit, change) - half,
                  [(notional_of(market, qty), market.terms.trigger_rate(abs(qty)))
                   for market, qty, _, _ in legs_after(state, unit, change)])


def _initial_terms(state: State, unit: Unit) -> list[tuple[int, Fraction]]:
    terms = []
    for market, qty, _, leverage in legs_after(state, unit, None):
        notional = notional_of(market, qty)
        terms.append((notional, market.terms.fee_reserve))
        terms.append((notional, market.terms.margin_rate(abs(qty), leverage)))
    return terms


def meets_initial(state: State, unit: Unit) -> bool:
    """C4: MB >= sum of N MR and the haircut, exactly."""
    return covers(equity(state, unit) - haircut(state, unit), _initial_terms(state, unit))


def above_initial(state: State, unit: Unit) -> bool:
    """Q3: MB > IM, exactly; where a main account's liquidation stops."""
    return exceeds(equity(state, unit) - haircut(state, unit), _initial_terms(state, unit))


def in_margin_call(state: State, unit: Unit) -> bool:
    """C4 holds and the unit has orders with a reserve to cancel."""
    return (not unit.is_block and any(o.reserved for o in state.orders_of(unit))
            and not meets_initial(state, unit))


# ---- amounts: each leg's requirement rounds up by itself


@dataclass(frozen=True, slots=True)
class Amounts:
    collateral: int
    converted: int
    upnl: int
    im: int
    mm: int
    fr: int
    order_margin: int

    @property
    def mb(self) -> int:
        return self.collateral + self.upnl - self.fr

    @property
    def free(self) -> int:
        """MB - IM - order margin; may be negative."""
        return self.mb - self.im - self.order_margin

    @property
    def transferable(self) -> int:
        """What may move into a block (C2)."""
        return max(0, self.payable)

    @property
    def payable(self) -> int:
        """What a 306 shows as available for a transfer; it may be negative."""
        return min(self.free, self.converted)


def leg_im(market: Market, leg: Leg, leverage: int) -> int:
    rate = market.terms.margin_rate(abs(leg.qty), leverage)
    return part_up(notional_of(market, leg.qty), rate)


def side_reserves(state: State, unit: Unit, contract: int) -> dict[int, int]:
    """Money held by the unit's orders on a contract, by side."""
    held = {1: 0, 2: 0}
    for order in state.orders_of(unit, contract):
        held[order.side] += order.reserve
    return held


def order_margin(state: State, unit: Unit) -> int:
    """Main's order margin: per contract the larger side (C3). A block's is order_cash, apart."""
    if unit.is_block:
        return 0
    return sum(max(side_reserves(state, unit, c).values()) for c in unit.legs
               if unit.legs[c].orders)


def amounts(state: State, unit: Unit) -> Amounts:
    upnl = im = mm = fr = 0
    for leg in unit.positions():
        market = state.markets[leg.contract]
        notional = notional_of(market, leg.qty)
        upnl += upnl_of(market, leg.qty, leg.cost)
        im += leg_im(market, leg, leg.leverage)
        mm += part_up(notional, market.terms.maintenance_rate(abs(leg.qty)))
        fr += part_up(notional, market.terms.fee_reserve)
    cut = haircut(state, unit)
    return Amounts(collateral(state, unit), converted(state, unit), upnl, im + cut,
                   mm + ceil_div(cut, 2), fr, order_margin(state, unit))


def withdrawable_usd(state: State, unit: Unit) -> int:
    """C5, USD."""
    a = amounts(state, unit)
    return max(0, min(a.free - max(0, a.upnl), unit.cash - unit.lock))


def withdrawable_usdc(state: State, unit: Unit) -> int:
    """C5, USDC: the most that leaves the first term of the rule >= 0."""
    own = state.accounts[unit.account].usdc
    a = amounts(state, unit)
    free = a.free - max(0, a.upnl)

    def left(leaving: int) -> int:
        before, after = usdc_value(state, own), usdc_value(state, own - leaving)
        return free - (before - after) + haircut_of(state, before) - haircut_of(state, after)

    if left(0) < 0:
        return 0
    low, high = 0, own
    while low < high:
        middle = high - floor_div(high - low, 2)
        low, high = (middle, high) if left(middle) >= 0 else (low, middle - 1)
    return low


def releasable(state: State, unit: Unit) -> int:
    """min(position_cash - MM, MB - IM), not below 0 (I9, I10)."""
    a = amounts(state, unit)
    return max(0, min(unit.cash - a.mm, a.mb - a.im))


def removable(state: State, unit: Unit) -> int:
    """I9: nothing unless the position gains on its opening cost."""
    leg = unit.legs[unit.contract]
    if not leg.qty:
        return unit.cash
    if upnl_of(state.markets[unit.contract], leg.qty, leg.cost0) <= 0:
        return 0
    return releasable(state, unit)


# ---- thresholds (Q2, Q3)


def liquidation_threshold(state: State, unit: Unit) -> int | None:
    """The mark that liquidates a unit with exactly one leg; None with no or several legs.

    A long is liquidated at or below it, a short at or above. USDC counts at the index of now.
    """
    legs = unit.positions()
    if len(legs) != 1:
        return None
    leg = legs[0]
    market = state.markets[leg.contract]
    cash = collateral(state, unit) - ceil_div(haircut(state, unit), 2)
    rate = market.terms.trigger_rate(abs(leg.qty))
    num, den, v = rate.numerator, rate.denominator, market.terms.v
    if leg.qty > 0:
        mark = ceil_div(den * (leg.cost - cash), leg.qty * v * (den - num)) - 1
    else:
        mark = floor_div(den * (cash - leg.cost), -leg.qty * v * (den + num)) + 1
    return min(max(mark, 0), market.terms.max_mark + 1)


def bankruptcy_mark(state: State, unit: Unit, leg: Leg) -> Fraction:
    """The mark of one leg at which the unit's equity is 0, the other legs standing still (Q3)."""
    market = state.markets[leg.contract]
    other = equity(state, unit) - upnl_of(market, leg.qty, leg.cost)
    return Fraction(leg.cost - other, leg.qty * market.terms.v)


def bankruptcy_price(state: State, unit: Unit, leg: Leg) -> int:
    """The worst order price that leaves equity >= 0: up for a long's sale, down for a purchase."""
    price = bankruptcy_mark(state, unit, leg) / state.markets[leg.contract].terms.k
    return ceil_of(price) if leg.qty > 0 else floor_of(price)
