"""Chapter 7: who is liquidated, in which order, and how (Q1-Q8, C4)."""

from __future__ import annotations

from .adl import deleverage
from .blocks import close_block, end_block, is_idle
from .closing import (
    add_deficit,
    charge_liquidation_fee,
    charge_taker_fee,
    close_lots,
    remainder_to_fund,
    take_into_inventory,
)
from .codes import BlockState, Done, Ev, Fill, Policy, Reason, Side, Stp
from .margin import (
    above_initial,
    bankruptcy_price,
    equity,
    in_margin_call,
    liquidation_threshold,
    meets_initial,
    meets_maintenance,
)
from .matching import walk
from .posting import (
    convert_everything,
    cover_negative_usd,
    post_cash,
    post_inventory,
    return_everything,
)
from .reserves import end_orders
from .state import Leg, Market, State, Unit
from .units import NONE, ceil_div

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
    """Never worse than bankruptcy (policy), and inside the aggressive band."""
    market = state.markets[leg.contract]
    side = Side.SELL if leg.qty > 0 else Side.BUY
    edge = market.terms.worst_price(side, market.mark, market.terms.terms.band_aggressive_e9)
    if state.venue.liquidation_limit == Policy.LIMIT_BAND:
        return edge
    price = bankruptcy_price(state, unit, leg)
    return max(price, edge) if side == Side.SELL else min(price, edge)


# ---- the fund's inventory (Q4)


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


def liquidate_block(state: State, block: Unit) -> None:
    """The whole position; then everything that is left, whatever its sign, to the fund (Q6)."""
    leg = block.legs[block.contract]
    market, lots_at_start = state.markets[block.contract], leg.qty
    # As a maker of the round's earlier fills it may have lost USD that it did not have (A4).
    cover_negative_usd(state, block)
    block.state = BlockState.LIQUIDATING
    state.emit_unit(Ev.BLOCK_LIQUIDATING, block, block.contract)
    # Its orders do not change the test: what they hold is forfeit only if the block fails it.
    block.forfeits = int(
        state.venue.order_margin_in_liquidation == Policy.ORDER_MARGIN_FORFEIT
        and not meets_maintenance(state, block))
    end_orders(state, state.orders_of(block), Done.LIQUIDATION)
    if meets_maintenance(state, block):
        # An earlier liquidation of the round has healed it: it was the maker of that one's fill.
        block.state = BlockState.OPEN if leg.qty else BlockState.PENDING
        state.emit_unit(Ev.BLOCK_OPEN if leg.qty else Ev.BLOCK_PENDING, block, block.contract)
        return
    convert_everything(state, block)
    walk(state, block.contract, LiquidationTaker(state, block, leg, abs(leg.qty)))
    if leg.qty:
        leave_to_backstop(state, block, leg, abs(leg.qty))
    if state.venue.surplus_to == Policy.SURPLUS_TO_TRADER and block.cash >= 0:
        return_everything(state, block)
    gained = remainder_to_fund(state, block)
    state.emit_unit(Ev.LIQUIDATED, block, block.contract, qty_lots=lots_at_start,
                    price_ticks=market.mark, amount_units=gained)
    end_block(state, block)


# ---- what the book does not take (Q4)


def leave_to_backstop(state: State, unit: Unit, leg: Leg, lots: int) -> None:
    """ADL if that is the policy or the inventory is full; the inventory takes what that leaves."""
    market, sign = state.markets[leg.contract], 1 if leg.qty > 0 else -1
    held_after = abs(leg.qty) - lots
    is_full = (abs(market.inventory_qty + sign * lots)
               > market.terms.terms.inventory_limit_lots)
    closed = 0
    if is_full or state.venue.backstop == Policy.BACKSTOP_ADL:
        closed = deleverage(state, unit, leg, lots)
    left = abs(leg.qty) - held_after
    if left and unit.is_block and not takes_at_mark(state, unit):
        take_over_block(state, unit, leg)
    elif left:
        take_over_at_mark(state, unit, leg, left)
    if closed:
        charge_liquidation_fee(state, unit, leg, closed)


def takes_at_mark(state: State, block: Unit) -> bool:
    return (state.venue.surplus_to == Policy.SURPLUS_TO_TRADER
            and equity(state, block) >= 0)


def take_over_block(state: State, block: Unit, leg: Leg) -> None:
    """(Q, C - cash): exact, without a price."""
    market = state.markets[leg.contract]
    add_deficit(state, block, -equity(state, block) - block.forfeits * block.order_cash)
    qty, cost = leg.qty, leg.cost - block.cash
    leg.qty = leg.cost = leg.cost0 = 0
    state.emit_unit(Ev.TAKEN_OVER, block, block.contract, qty_lots=qty, amount_units=cost,
                    price_ticks=market.mark)
    post_cash(state, block, -block.cash, Reason.TAKE_OVER, block.contract)
    take_into_inventory(state, market, qty, cost)


def take_over_at_mark(state: State, unit: Unit, leg: Leg, lots: int) -> None:
    market, sign = state.markets[leg.contract], 1 if leg.qty > 0 else -1
    notional = lots * market.terms.v * market.mark
    state.emit_unit(Ev.TAKEN_OVER, unit, leg.contract, qty_lots=sign * lots,
                    amount_units=sign * notional, price_ticks=market.mark)
    close_lots(state, unit, leg, lots, notional)
    charge_liquidation_fee(state, unit, leg, notional)
    take_into_inventory(state, market, sign * lots, sign * notional)


# ---- main, slice by slice


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
        return (market.terms.maintenance(abs(leg.qty), market.mark), -leg.contract)

    return max(main.positions(), key=needed)


def liquidate_slice(state: State, main: Unit, leg: Leg) -> None:
    """To the book; what the book does not take goes to the backstop."""
    market = state.markets[leg.contract]
    one_slice = market.terms.terms.liquidation_slice_lots
    held = abs(leg.qty)
    taker = LiquidationTaker(state, main, leg, held if held < 2 * one_slice else one_slice)
    walk(state, leg.contract, taker)
    if taker.left:
        leave_to_backstop(state, main, leg, taker.left)
