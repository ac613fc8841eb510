"""Chapter 3, C3: the money of an order, and how an order ends."""

from __future__ import annotations

from fractions import Fraction

from .book import take_out
from .codes import Done, Ev
from .margin import given_for
from .posting import return_order_cash
from .state import Order, State
from .units import ceil_div


def order_rate(state: State, order: Order, leverage: int | None = None) -> Fraction:
    """MR' as the order took it at acceptance, or the same size at another leverage."""
    contract = state.markets[order.contract].terms
    leverage = order.leverage if leverage is None else leverage
    return contract.margin_rate(order.size, order.accept_mark, leverage)


def reserve_of(state: State, order: Order, lots: int, rate: Fraction | None = None) -> int:
    """R(lots) of an accepted order without E, at its own price, mark and size."""
    contract = state.markets[order.contract].terms
    rate = order_rate(state, order) if rate is None else rate
    return contract.reserve(lots, order.price, order.accept_mark, order.side, rate)


def share_of(held: int, lots: int, left: int) -> int:
    """Of money that is split by lots, rounded up: explicit amounts, USDC, and USD beside it."""
    return ceil_div(held * lots, left)


def slice_of(state: State, order: Order, lots: int) -> tuple[int, int]:
    """USD and USDC of the next `lots` reserved lots; the last take what is left."""
    if lots <= 0:
        return 0, 0
    if lots >= order.reserved:
        return order.reserve, order.usdc
    if order.explicit or order.usdc:
        left = order.reserved
        return share_of(order.reserve, lots, left), share_of(order.usdc, lots, left)
    used = order.reserved_used
    part = reserve_of(state, order, used + lots) - reserve_of(state, order, used) + order.extra
    return min(order.reserve, part), 0


def spend(state: State, order: Order, lots: int) -> tuple[int, int]:
    """Use up reserved lots and their slice; E goes with the first. Returns the slice."""
    usd, usdc = slice_of(state, order, lots)
    if lots > 0:
        order.reserve -= usd
        order.usdc -= usdc
        order.reserved_used += lots
        order.extra = 0
        state.touch(state.unit_of(order))
    return usd, usdc


def shorten_reserve(state: State, order: Order, lots: int) -> tuple[int, int]:
    """`lots` reserved lots are no longer wanted; returns the USD and USDC that become free."""
    if lots <= 0:
        return 0, 0
    left = order.reserved - lots
    kept, kept_usdc = 0, 0
    if left == 0:
        order.extra = 0
    elif order.explicit or order.usdc:
        kept = share_of(order.reserve, left, order.reserved)
        kept_usdc = share_of(order.usdc, left, order.reserved)
    else:
        used = order.reserved_used
        part = reserve_of(state, order, used + left) - reserve_of(state, order, used) + order.extra
        kept = min(order.reserve, part)
    freed = order.reserve - kept, order.usdc - kept_usdc
    order.reserve, order.usdc = kept, kept_usdc
    order.reserved_total -= lots
    return freed


def reserve_at_leverage(state: State, order: Order, leverage: int) -> int:
    """The USD that the order must hold at another leverage (C6, I7), beside its USDC."""
    if order.reserved == 0:
        return order.reserve
    rate = order_rate(state, order, leverage)
    total, used = order.reserved_total, order.reserved_used
    asked = reserve_of(state, order, total, rate) - reserve_of(state, order, used, rate)
    return max(order.reserve, asked + order.extra - given_for(state, order.usdc))


def add_order(state: State, order: Order) -> None:
    leg = state.unit_of(order).legs[order.contract]
    state.orders[order.order_id] = order
    leg.orders = (*leg.orders, order.order_id)
    state.touch(state.unit_of(order))


def remove_order(state: State, order: Order) -> None:
    """Out of the book and of every list; says nothing and returns nothing."""
    take_out(state, order)
    unit = state.unit_of(order)
    leg = unit.legs[order.contract]
    leg.orders = tuple(i for i in leg.orders if i != order.order_id)
    del state.orders[order.order_id]
    state.touch(unit)


def end_order(state: State, order: Order, reason: int, code: int = 0) -> None:
    """Cancel: the event, then the order's money, then the order that it is linked with."""
    unit = state.unit_of(order)
    state.emit_unit(Ev.CANCELLED, unit, order.contract, order_id=order.order_id, reason=reason,
                    qty_lots=order.left, price_ticks=order.price, code=code)
    remove_order(state, order)
    if unit.is_block and not unit.forfeits:
        return_order_cash(state, unit, (order.reserve, order.usdc), order.order_id)
    end_linked(state, order)


def end_linked(state: State, order: Order) -> None:
    """One cancels other; an order whose last lot is being filled is not cancelled."""
    other = state.orders.get(order.link)
    order.link = 0
    if other is None:
        return
    other.link = 0
    if other.left:
        end_order(state, other, Done.LINKED)


def end_orders(state: State, orders: list[Order], reason: int) -> None:
    """Ascending id; a link may have ended some of them already."""
    for order in sorted(orders, key=lambda o: o.order_id):
        if order.order_id in state.orders:
            end_order(state, order, reason)
