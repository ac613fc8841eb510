"""Chapters 3 and 4: where a unit stands (C1-C6, I4, I9), and the exact tests (Q1, C4, O7)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from .codes import Policy
from .state import Change, Leg, Market, State, Unit
from .units import E6, E9, E15, ceil_div, ceil_of, covers, exceeds, floor_div, floor_of, part_up

# ---- collateral (A4)


def usdc_value(state: State, usdc: int) -> int:
    """What USDC counts as collateral; the haircut is in it or in IM and MM."""
    value = floor_div(state.index * usdc, E6)
    if state.venue.haircut_in == Policy.HAIRCUT_IN_VALUE:
        value -= ceil_div(value * state.venue.usdc_haircut_e9, E9)
    return value


def haircut_of(state: State, value: int) -> int:
    if state.venue.haircut_in == Policy.HAIRCUT_IN_VALUE:
        return 0
    return ceil_div(value * state.venue.usdc_haircut_e9, E9)


def usdc_of(state: State, unit: Unit, change: Change | None = None) -> int:
    """The unit's own; that of a block's orders is not its collateral."""
    own = unit.usdc if unit.is_block else state.accounts[unit.account].usdc
    return own + (change.usdc_delta if change else 0)


def haircut(state: State, unit: Unit, change: Change | None = None) -> int:
    """What USDC adds to IM; MM has half of it."""
    return haircut_of(state, usdc_value(state, usdc_of(state, unit, change)))


def conversion_rate(state: State) -> Fraction:
    """USD units for one USDC unit: the index less the haircut."""
    return Fraction(state.index * (E9 - state.venue.usdc_haircut_e9), E15)


def given_for(state: State, usdc: int) -> int:
    """What USDC gives as USD when it is converted."""
    return floor_of(usdc * conversion_rate(state))


def collateral(state: State, unit: Unit, change: Change | None = None) -> int:
    return unit.cash + usdc_value(state, usdc_of(state, unit, change))


def converted(state: State, unit: Unit) -> int:
    """What the collateral gives as USD: less than its value by the haircut of the USDC."""
    return unit.cash + given_for(state, usdc_of(state, unit))


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
    total = collateral(state, unit, change) + (change.cash_delta if change else 0)
    return total + sum(upnl_of(market, qty, cost)
                       for market, qty, cost, _ in legs_after(state, unit, change))


def is_solvent(state: State, unit: Unit, change: Change) -> bool:
    """O7: a reducing fill leaves no debt; USDC counts at what it gives when it is converted."""
    return equity(state, unit, change) - collateral(state, unit) + converted(state, unit) >= 0


def meets_maintenance(state: State, unit: Unit, change: Change | None = None) -> bool:
    """Q1, O7: MB >= MM as the exact rational inequality."""
    half = ceil_div(haircut(state, unit, change), 2)
    legs = [(market, abs(qty)) for market, qty, _, _ in legs_after(state, unit, change)]
    off = sum(market.terms.cumulative(lots, market.mark) for market, lots in legs)
    return covers(equity(state, unit, change) - half + off,
                  [(notional_of(market, lots), market.terms.trigger_rate(lots, market.mark))
                   for market, lots in legs])


def _initial_terms(state: State, unit: Unit) -> list[tuple[int, Fraction]]:
    terms = []
    for market, qty, _, leverage in legs_after(state, unit, None):
        notional = notional_of(market, qty)
        terms.append((notional, market.terms.fee_reserve))
        terms.append((notional, market.terms.margin_rate(abs(qty), market.mark, leverage)))
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
    cut: int  # the USDC haircut: in IM whole, in MM half

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
    rate = market.terms.margin_rate(abs(leg.qty), market.mark, leverage)
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
        mm += ceil_of(market.terms.maintenance(abs(leg.qty), market.mark))
        fr += part_up(notional, market.terms.fee_reserve)
    cut = haircut(state, unit)
    return Amounts(collateral(state, unit), converted(state, unit), upnl, im + cut,
                   mm + ceil_div(cut, 2), fr, order_margin(state, unit), cut)


def withdrawable_usd(state: State, unit: Unit) -> int:
    """C5, USD."""
    a = amounts(state, unit)
    return max(0, min(a.free - max(0, a.upnl), unit.cash - unit.lock))


def withdrawable_usdc(state: State, unit: Unit) -> int:
    """C5, USDC: the most that leaves the first term of the rule >= 0."""
    own = state.accounts[unit.account].usdc
    a = amounts(state, unit)
    free = a.free - max(0, a.upnl)

    def fits(leaving: int) -> bool:
        before, after = usdc_value(state, own), usdc_value(state, own - leaving)
        lost = before - after - haircut_of(state, before) + haircut_of(state, after)
        return free >= lost

    return most_of(own, fits)


def releasable(state: State, unit: Unit) -> int:
    """min(position_cash - MM, MB - IM), not below 0 (I9, I10); own USDC carries MM first."""
    a = amounts(state, unit)
    bare = max(0, a.mm - given_for(state, usdc_of(state, unit)))
    return max(0, min(unit.cash - bare, a.mb - a.im))


def gains(state: State, block: Unit) -> bool:
    """I9: whether the position gains on its opening cost, or need not."""
    leg = block.legs[block.contract]
    profit = upnl_of(state.markets[block.contract], leg.qty, leg.cost0)
    return profit > 0 or state.venue.removal == Policy.REMOVAL_FREE


def removable(state: State, block: Unit) -> int:
    """I9, USD."""
    if not block.positions():
        return block.cash
    return releasable(state, block) if gains(state, block) else 0


def removable_usdc(state: State, block: Unit) -> int:
    """I9, USDC: the most that leaves both terms of the rule >= 0; MM as it is before."""
    if not block.positions():
        return block.usdc
    a, own = amounts(state, block), block.usdc

    def fits(leaving: int) -> bool:
        value = usdc_value(state, own - leaving)
        lost = usdc_value(state, own) - value + haircut_of(state, value) - a.cut
        return (block.cash + given_for(state, own - leaving) >= a.mm
                and a.mb - a.im >= lost)

    return most_of(own, fits) if gains(state, block) else 0


def most_of(own: int, fits: Callable[[int], bool]) -> int:
    """The largest part of what is owned that fits, where what is less fits too; 0 if nothing."""
    low, high = 0, own
    while low < high:
        middle = high - floor_div(high - low, 2)
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low if fits(low) else 0


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
    if market.terms.brackets:
        return bisect_threshold(market, leg, cash)
    rate = market.terms.trigger_rate(abs(leg.qty), market.mark)
    num, den, v = rate.numerator, rate.denominator, market.terms.v
    if leg.qty > 0:
        mark = ceil_div(den * (leg.cost - cash), leg.qty * v * (den - num)) - 1
    else:
        mark = floor_div(den * (cash - leg.cost), -leg.qty * v * (den + num)) + 1
    return min(max(mark, 0), market.terms.max_mark + 1)


def bisect_threshold(market: Market, leg: Leg, cash: int) -> int:
    """The same with brackets: MB - MM has one zero in the mark, and halving finds it."""
    contract, lots = market.terms, abs(leg.qty)

    def is_below(mark: int) -> bool:
        equity = cash + leg.qty * contract.v * mark - leg.cost
        fees = lots * contract.v * mark * contract.fee_reserve
        return equity < contract.maintenance(lots, mark) + fees

    low, high = 0, contract.max_mark + 1
    while low < high:
        if leg.qty > 0:
            middle = high - floor_div(high - low, 2)
            low, high = (middle, high) if is_below(middle) else (low, middle - 1)
        else:
            middle = low + floor_div(high - low, 2)
            low, high = (low, middle) if is_below(middle) else (middle + 1, high)
    return low


def bankruptcy_mark(state: State, unit: Unit, leg: Leg) -> Fraction:
    """The mark of one leg at which the unit's equity is 0, the other legs standing still (Q3).

    USDC counts at what it gives when it is converted: at any worse mark the fund would pay.
    """
    market = state.markets[leg.contract]
    other = (equity(state, unit) - collateral(state, unit) + converted(state, unit)
             - upnl_of(market, leg.qty, leg.cost))
    return Fraction(leg.cost - other, leg.qty * market.terms.v)


def bankruptcy_price(state: State, unit: Unit, leg: Leg) -> int:
    """The worst order price that leaves equity >= 0: up for a long's sale, down for a purchase."""
    price = bankruptcy_mark(state, unit, leg) / state.markets[leg.contract].terms.k
    return ceil_of(price) if leg.qty > 0 else floor_of(price)
