"""Chapter 7: who is liquidated, in which order, and how (Q1-Q8, C4)."""

from __future__ import annotations

from .blocks import close_block, end_block, is_idle
from .codes import BlockState, Done, Ev, Fill, Reason, Side, Stp
from .margin import (
    above_initial,
    bankruptcy_price,
    equity,
    in_margin_call,
    liquidation_threshold,
    meets_initial,
    meets_maintenance,
    notional_of,
)
from .matching import released_cost, walk
from .posting import (
    charge_trade_fee,
    cover_negative_usd,
    post_cash,
    post_fund,
    post_inventory,
)
from .reserves import end_orders
from .state import Leg, Market, State, Unit
from .units import NONE, ceil_div, part_up

# ---- rounds (Q8)


def run_rounds(state: State) -> None:
    """Look at what was touched, liquidate what fails, and again, until nothing is touched."""
    while state.touched:
        failing = look_at_touched(state)
        for unit in sorted(failing, key=lambda u: place_in_round(state, u)):
            if unit.key in state.units:
                state.done.add(unit.key)
                liquidate(state, unit)


def touched_units(state: State) -> list[Unit]:
    found = [state.units[key] for key in state.touched if key in state.units]
    return sorted(found, key=lambda unit: unit.order)


def look_at_touched(state: State) -> list[Unit]:
    """Cover, close idle blocks, send margin calls; returns the units with MB < MM."""
    for unit in touched_units(state):
        if not unit.is_block:
            cover_negative_usd(state, unit)
    for unit in touched_units(state):
        if unit.is_block and is_idle(state, unit):
            close_block(state, unit)
    units = touched_units(state)
    state.touched.clear()
    failing = []
    for unit in units:
        if not meets_maintenance(state, unit):
            if unit.key not in state.done:
                failing.append(unit)
        elif not unit.is_block:
            margin_call(state, unit)
    return failing


def margin_call(state: State, main: Unit) -> None:
    """C4: its reserved orders end, and the flag stays until it is touched above IM again."""
    if in_margin_call(state, main):
        main.margin_call = 1
        state.emit_unit(Ev.MARGIN_CALL, main)
        end_orders(state, [o for o in state.orders_of(main) if o.reserved], Done.MARGIN_CALL)
    elif main.margin_call and meets_initial(state, main):
        main.margin_call = 0
        state.emit_unit(Ev.MARGIN_CALL_CLEARED, main)


def place_in_round(state: State, unit: Unit) -> tuple[int, int, tuple[int, int]]:
    """One leg: the farthest past its threshold first; then the others, by unit id."""
    threshold = liquidation_threshold(state, unit)
    if threshold is None:
        return (1, 0, unit.order)
    leg = unit.positions()[0]
    mark = state.markets[leg.contract].mark
    past = threshold - mark if leg.qty > 0 else mark - threshold
    return (0, -past, unit.order)


def touch_failing(state: State, units: list[Unit]) -> None:
    """What a mark or an index crosses; units that are merely looked at are not touched."""
    for unit in units:
        if not meets_maintenance(state, unit) or in_margin_call(state, unit):
            state.touch(unit)


# ---- the venue's own takers


class LiquidationTaker:
    """A reduce-only IOC of the venue for one leg of a unit (Q3)."""

    def __init__(self, state: State, unit: Unit, leg: Leg, lots: int) -> None:
        self.state, self.unit, self.leg, self.left = state, unit, leg, lots
        self.account = unit.account
        self.stp = Stp.MAKER
        self.side = Side.SELL if leg.qty > 0 else Side.BUY
        self.limit = liquidation_limit(state, unit, leg)

    def wanted(self) -> int:
        return self.left

    def possible(self) -> int:
        return self.left

    def refusal(self, lots: int, price: int) -> int:
        return 0

    def clear(self, lots: int, price: int) -> None:
        contract = self.state.markets[self.leg.contract].terms
        notional = lots * price * contract.k * contract.v
        self.left -= lots
        self.state.emit_unit(
            Ev.FILL, self.unit, self.leg.contract, price_ticks=price, qty_lots=lots,
            amount_units=notional, flags=(Fill.TAKER | Fill.LIQUIDATION) + 16 * self.side)
        close_lots(self.state, self.unit, self.leg, lots, notional)
        charge_taker_fee(self.state, self.unit, self.leg, notional)
        charge_liquidation_fee(self.state, self.unit, self.leg, notional)

    def exhausted(self) -> bool:
        return False


class WorkOffTaker:
    """The inventory's order: reduce-only, within the work-off band, free of fees (Q4)."""

    def __init__(self, state: State, market: Market, lots: int) -> None:
        self.state, self.market, self.left = state, market, lots
        self.account = NONE
        self.stp = Stp.TAKER
        self.side = Side.SELL if market.inventory_qty > 0 else Side.BUY
        self.limit = market.terms.worst_price(
            self.side, market.mark, market.terms.terms.work_off_band_e9)

    def wanted(self) -> int:
        return self.left

    def possible(self) -> int:
        return self.left

    def refusal(self, lots: int, price: int) -> int:
        return 0

    def clear(self, lots: int, price: int) -> None:
        market, sign = self.market, 1 if self.market.inventory_qty > 0 else -1
        notional = lots * price * market.terms.k * market.terms.v
        released = ceil_div(market.inventory_cost * lots, abs(market.inventory_qty))
        self.left -= lots
        market.inventory_qty -= sign * lots
        market.inventory_cost -= released
        self.state.emit_venue(
            Ev.FILL, market.number, price_ticks=price, qty_lots=lots, amount_units=notional,
            flags=(Fill.TAKER | Fill.WORK_OFF) + 16 * self.side)
        post_inventory(self.state, sign * notional - released, Reason.REALIZED_PNL, market.number)

    def exhausted(self) -> bool:
        return False


def liquidation_limit(state: State, unit: Unit, leg: Leg) -> int:
    """Never worse than bankruptcy, and inside the aggressive band."""
    market = state.markets[leg.contract]
    band = market.terms.terms.band_aggressive_e9
    price = bankruptcy_price(state, unit, leg)
    if leg.qty > 0:
        return max(price, market.terms.worst_price(Side.SELL, market.mark, band))
    return min(price, market.terms.worst_price(Side.BUY, market.mark, band))


# ---- charges (Q5)


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


# ---- the fund's inventory (Q4)


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


def work_off(state: State, market: Market, held_before: int) -> None:
    """After a mark: a little of what the inventory held before it, if it still does."""
    if held_before * market.inventory_qty <= 0:
        return
    lots = min(abs(held_before), abs(market.inventory_qty),
               market.terms.terms.work_off_slice_lots)
    walk(state, market.number, WorkOffTaker(state, market, lots))


# ---- liquidation of one unit


def liquidate(state: State, unit: Unit) -> None:
    if unit.is_block:
        liquidate_block(state, unit)
    else:
        liquidate_main(state, unit)


def add_deficit(state: State, unit: Unit, amount: int) -> None:
    """A statistic of the owner; nobody is asked to pay it back."""
    account = state.accounts[unit.account]
    account.deficit += max(0, amount)


def remainder_to_fund(state: State, unit: Unit) -> int:
    """Q6: cash of either sign goes to the fund; returns what the fund gained."""
    amount = unit.cash
    add_deficit(state, unit, -amount)
    post_cash(state, unit, -amount, Reason.INSURANCE_FUND, unit.contract)
    post_fund(state, amount, Reason.INSURANCE_FUND, unit.contract)
    return amount


def liquidate_block(state: State, block: Unit) -> None:
    """The whole position; then everything that is left, whatever its sign, to the fund (Q6)."""
    leg = block.legs[block.contract]
    market, lots_at_start = state.markets[block.contract], leg.qty
    block.state = BlockState.LIQUIDATING
    state.emit_unit(Ev.BLOCK_LIQUIDATING, block, block.contract)
    end_orders(state, state.orders_of(block), Done.LIQUIDATION)
    if meets_maintenance(state, block):
        # An earlier liquidation of the round has healed it: it was the maker of that one's fill.
        block.state = BlockState.OPEN if leg.qty else BlockState.PENDING
        state.emit_unit(Ev.BLOCK_OPEN if leg.qty else Ev.BLOCK_PENDING, block, block.contract)
        return
    walk(state, block.contract, LiquidationTaker(state, block, leg, abs(leg.qty)))
    if leg.qty:
        add_deficit(state, block, -equity(state, block))
        qty, cost = leg.qty, leg.cost - block.cash
        leg.qty = leg.cost = leg.cost0 = 0
        state.emit_unit(Ev.TAKEN_OVER, block, block.contract, qty_lots=qty, amount_units=cost,
                        price_ticks=market.mark)
        post_cash(state, block, -block.cash, Reason.TAKE_OVER, block.contract)
        take_into_inventory(state, market, qty, cost)
    gained = remainder_to_fund(state, block)
    state.emit_unit(Ev.LIQUIDATED, block, block.contract, qty_lots=lots_at_start,
                    price_ticks=market.mark, amount_units=gained)
    end_block(state, block)


def liquidate_main(state: State, main: Unit) -> None:
    """Slice by slice until MB > IM; the orders end first, and the blocks that hold nothing else."""
    pending = [block for block in state.blocks_of(main.account) if not block.positions()]
    end_orders(state, [order for unit in (main, *pending) for order in state.orders_of(unit)],
               Done.LIQUIDATION)
    for block in pending:
        close_block(state, block)
    cover_negative_usd(state, main)
    if meets_maintenance(state, main):
        return
    while main.positions() and not above_initial(state, main):
        liquidate_slice(state, main, leg_with_most_maintenance(state, main))
    cover_negative_usd(state, main)
    gained = 0
    if main.cash < 0 and not main.positions():
        gained = remainder_to_fund(state, main)
    state.emit_unit(Ev.LIQUIDATED, main, amount_units=gained)


def leg_with_most_maintenance(state: State, main: Unit) -> Leg:
    """Exact; of equal ones the smaller contract."""
    def needed(leg: Leg) -> tuple[object, int]:
        market = state.markets[leg.contract]
        rate = market.terms.maintenance_rate(abs(leg.qty))
        return (notional_of(market, leg.qty) * rate, -leg.contract)

    return max(main.positions(), key=needed)


def liquidate_slice(state: State, main: Unit, leg: Leg) -> None:
    """To the book; what the book does not take goes to the inventory at the mark."""
    market = state.markets[leg.contract]
    one_slice = market.terms.terms.liquidation_slice_lots
    held = abs(leg.qty)
    taker = LiquidationTaker(state, main, leg, held if held < 2 * one_slice else one_slice)
    walk(state, leg.contract, taker)
    lots = taker.left
    if not lots:
        return
    sign = 1 if leg.qty > 0 else -1
    notional = lots * market.terms.v * market.mark
    state.emit_unit(Ev.TAKEN_OVER, main, leg.contract, qty_lots=sign * lots,
                    amount_units=sign * notional, price_ticks=market.mark)
    close_lots(state, main, leg, lots, notional)
    charge_liquidation_fee(state, main, leg, notional)
    take_into_inventory(state, market, sign * lots, sign * notional)
