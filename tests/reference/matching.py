"""Chapter 5: the walk (O1, O3, O7) and the clearing of one side of a fill (I2-I11, U4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from .book import next_maker
from .codes import BlockState, Code, Done, Ev, Exec, Fill, Policy, Reason, Stp
from .margin import given_for, is_solvent, meets_maintenance, releasable
from .posting import (
    charge_trade_fee,
    post_cash,
    return_everything,
    return_order_cash,
    return_position_cash,
    slice_to_position,
)
from .reserves import end_linked, end_order, order_rate, remove_order, slice_of, spend
from .state import Change, Leg, Order, State, Unit
from .units import ceil_div, floor_div, part_up

BOOK_RAN_OUT = 0
BOTH_END = -1  # STP BOTH: the taker stops, but it is not a refusal


class Taker(Protocol):
    """What the walk asks of the side that takes."""

    account: int
    side: int
    limit: int
    stp: int

    def wanted(self) -> int: ...
    def possible(self) -> int: ...
    def refusal(self, lots: int, price: int) -> int: ...
    def clear(self, lots: int, price: int) -> None: ...
    def exhausted(self) -> bool: ...


# ---- one side of a fill


def closes(leg: Leg, sign: int) -> bool:
    return leg.qty * sign < 0


def released_cost(leg: Leg, lots: int) -> tuple[int, int]:
    """U4: a partial close releases ceil(C k / |Q|) of the cost and of the opening cost."""
    held = abs(leg.qty)
    return ceil_div(leg.cost * lots, held), ceil_div(leg.cost0 * lots, held)


def possible_lots(leg: Leg, order: Order) -> int:
    """A fill never crosses zero; only reserved lots open."""
    if closes(leg, order.sign):
        return min(order.left, abs(leg.qty))
    return min(order.left, order.reserved)


@dataclass(frozen=True, slots=True)
class Money:
    """What one side of a fill means in money, before anything moves."""

    notional: int
    fee: int
    slice: int = 0      # leaves order_cash
    usdc: int = 0       # of the slice, beside it: all of it stays in the position
    kept: int = 0       # stays in position_cash (opening)
    pnl: int = 0        # realized (closing)
    released: int = 0   # cost
    released0: int = 0  # opening cost


def money_of(state: State, order: Order, lots: int, price: int, is_taker: bool) -> Money:
    market = state.markets[order.contract]
    contract, leg = market.terms, state.unit_of(order).legs[order.contract]
    notional = lots * price * contract.k * contract.v
    fee = part_up(notional, contract.taker if is_taker else contract.maker)
    if closes(leg, order.sign):
        released, released0 = released_cost(leg, lots)
        part, usdc = slice_of(state, order, lots - min(lots, order.unreserved))
        return Money(notional, fee, part, usdc, 0, -order.sign * notional - released, released,
                     released0)
    part, usdc = slice_of(state, order, lots)
    if order.explicit:
        return Money(notional, fee, part, usdc, part)
    price_marks = price * contract.k
    at_mark = lots * max(price_marks, market.mark) * contract.v
    worse = lots * contract.v * max(0, order.sign * (price_marks - market.mark))
    asked = (part_up(at_mark, order_rate(state, order)) + fee
             + part_up(at_mark, contract.fee_reserve) + worse + order.extra)
    return Money(notional, fee, part, usdc, min(part, max(0, asked - given_for(state, usdc))))


def fill_refusal(state: State, order: Order, lots: int, price: int, is_taker: bool) -> int:
    """O7: 304 if an opening fill would leave MB < MM, 310 if a closing one a debt; else 0."""
    unit, sign = state.unit_of(order), order.sign
    leg = unit.legs[order.contract]
    money = money_of(state, order, lots, price, is_taker)
    if closes(leg, sign):
        change = Change(order.contract, leg.qty + sign * lots, leg.cost - money.released,
                        money.pnl - money.fee)
        return 0 if is_solvent(state, unit, change) else Code.BEYOND_BANKRUPTCY
    change = Change(order.contract, leg.qty + sign * lots, leg.cost + sign * money.notional,
                    (money.kept if unit.is_block else 0) - money.fee, money.usdc)
    return 0 if meets_maintenance(state, unit, change) else Code.IMMEDIATE_LIQUIDATION


def clear_order(state: State, order: Order, lots: int, price: int, is_taker: bool) -> None:
    """One side of a fill: event, money, position."""
    unit, leg = state.unit_of(order), state.unit_of(order).legs[order.contract]
    money = money_of(state, order, lots, price, is_taker)
    state.touch(unit)
    state.emit_unit(Ev.FILL, unit, order.contract, order_id=order.order_id, price_ticks=price,
                    qty_lots=lots, amount_units=money.notional,
                    flags=(Fill.TAKER if is_taker else Fill.MAKER) + 16 * order.side)
    if closes(leg, order.sign):
        clear_closing(state, order, lots, money, is_taker)
    else:
        clear_opening(state, order, lots, money)
    if order.left == 0 and not is_taker:
        remove_order(state, order)
        end_linked(state, order)


def clear_opening(state: State, order: Order, lots: int, money: Money) -> None:
    unit = state.unit_of(order)
    leg = unit.legs[order.contract]
    was_flat = leg.qty == 0
    parts = spend(state, order, lots)
    order.left -= lots
    order.filled += lots
    leg.qty += order.sign * lots
    leg.cost += order.sign * money.notional
    leg.cost0 += order.sign * money.notional
    if unit.is_block:
        slice_to_position(state, unit, parts, order.order_id)
    charge_trade_fee(state, unit, money.fee, order.contract, order.order_id)
    if unit.is_block:
        return_position_cash(state, unit, parts[0] - money.kept, order.order_id)
        if was_flat:
            unit.state = BlockState.OPEN
            state.emit_unit(Ev.BLOCK_OPEN, unit, order.contract)


def clear_closing(state: State, order: Order, lots: int, money: Money, is_taker: bool) -> None:
    """Unreserved lots are used first, then reserved ones, whose slice returns."""
    unit = state.unit_of(order)
    leg = unit.legs[order.contract]
    cash_before, held_before = unit.cash, abs(leg.qty)
    parts = spend(state, order, lots - min(lots, order.unreserved))
    order.left -= lots
    order.filled += lots
    leg.qty += order.sign * lots
    leg.cost -= money.released
    leg.cost0 -= money.released0
    if unit.is_block:
        return_order_cash(state, unit, parts, order.order_id)
    post_cash(state, unit, money.pnl, Reason.REALIZED_PNL, order.contract, order.order_id)
    charge_trade_fee(state, unit, money.fee, order.contract, order.order_id)
    if leg.qty == 0:
        if unit.is_block:
            return_everything(state, unit, order.order_id)
        position_ended(state, unit, order.contract, order, is_taker)
    elif releases_margin(state, order):
        asked = floor_div(cash_before * lots, held_before)
        return_position_cash(state, unit, max(0, min(asked, releasable(state, unit))),
                             order.order_id)


def releases_margin(state: State, order: Order) -> bool:
    """I10: where it was asked for, or always (policy partial_close)."""
    return bool(order.exec_flags & Exec.RELEASE_MARGIN) or (
        order.isolation_id > 0
        and state.venue.partial_close == Policy.PARTIAL_CLOSE_PROPORTIONAL)


def position_ended(state: State, unit: Unit, contract: int, order: Order | None = None,
                   is_taker: bool = False) -> None:
    """A flat unit's orders lose the lots that could only reduce; a block with orders is PENDING.

    `order` is the one whose fill ended the position, if one did.
    """
    for other in state.orders_of(unit, contract):
        if (is_taker and other is order) or other.order_id not in state.orders:
            continue
        if other.unreserved == 0 or (other.trigger_type
                                     and not other.exec_flags & Exec.REDUCE_ONLY):
            continue
        if other.reserved == 0:
            # A maker that is just used up leaves without a word.
            if other.left:
                end_order(state, other, Done.REDUCE_ONLY)
            continue
        other.left = other.reserved
        state.emit_unit(Ev.AMENDED, unit, contract, order_id=other.order_id,
                        price_ticks=other.price, qty_lots=other.left, amount_units=other.reserve)
    if unit.is_block:
        unit.state = BlockState.PENDING
        if any(o.left for o in state.orders_of(unit) if not (o is order and o.reserved == 0)):
            state.emit_unit(Ev.BLOCK_PENDING, unit, contract)


# ---- the walk


class OrderTaker:
    """A voluntary order as the taker."""

    def __init__(self, state: State, order: Order) -> None:
        self.state, self.order = state, order
        self.account, self.side, self.limit = order.account, order.side, order.price
        self.stp = order.stp or Stp.TAKER

    @property
    def leg(self) -> Leg:
        return self.state.unit_of(self.order).legs[self.order.contract]

    def wanted(self) -> int:
        return self.order.left

    def possible(self) -> int:
        return possible_lots(self.leg, self.order)

    def refusal(self, lots: int, price: int) -> int:
        return fill_refusal(self.state, self.order, lots, price, True)

    def clear(self, lots: int, price: int) -> None:
        clear_order(self.state, self.order, lots, price, True)

    def exhausted(self) -> bool:
        """The position is gone and what is left could only reduce."""
        return self.order.left > 0 and self.leg.qty == 0 and self.order.reserved == 0


def walk(state: State, contract: int, taker: Taker) -> int:
    """Match until the taker is filled or stops; returns why it stopped (0: the book ran out)."""
    market = state.markets[contract]
    while taker.wanted() > 0:
        maker = next_maker(state, market, taker.side, taker.limit)
        if maker is None:
            return BOOK_RAN_OUT
        if maker.account == taker.account:
            if taker.stp == Stp.TAKER:
                return Code.SELF_TRADE_PREVENTED
            end_order(state, maker, Done.SELF_TRADE)
            if taker.stp == Stp.BOTH:
                return BOTH_END
            continue
        maker_lots = possible_lots(state.unit_of(maker).legs[contract], maker)
        if maker_lots == 0:
            end_order(state, maker, Done.REDUCE_ONLY)
            continue
        lots = min(maker_lots, taker.possible())
        if lots == 0:
            return Code.REDUCE_ONLY_REJECTED
        if fill_refusal(state, maker, lots, maker.price, False):
            end_order(state, maker, Done.MAINTENANCE)
            continue
        refusal = taker.refusal(lots, maker.price)
        if refusal:
            return refusal
        price = maker.price
        clear_order(state, maker, lots, price, False)
        taker.clear(lots, price)
        market.last_price = price
        if taker.exhausted():
            return Code.REDUCE_ONLY_REJECTED
    return BOOK_RAN_OUT
