"""Chapter 5: price-time priority (O1). The book knows prices and order ids; nothing of money."""

from __future__ import annotations

from .codes import Side
from .state import Market, Order, State


def best_price(market: Market, side: int) -> int | None:
    levels = market.levels[side]
    if not levels:
        return None
    return max(levels) if side == Side.BUY else min(levels)


def reaches(side: int, limit: int, price: int) -> bool:
    """Whether an order of that side with that limit may trade at a price of the other side."""
    return limit >= price if side == Side.BUY else limit <= price


def next_maker(state: State, market: Market, side: int, limit: int) -> Order | None:
    """The order that a taker of `side` meets next: best price first, then oldest."""
    opposite = Side.SELL if side == Side.BUY else Side.BUY
    price = best_price(market, opposite)
    if price is None or not reaches(side, limit, price):
        return None
    return state.orders[market.levels[opposite][price][0]]


def rest_order(state: State, order: Order) -> None:
    """To the end of its level."""
    level = state.markets[order.contract].levels[order.side]
    level[order.price] = (*level.get(order.price, ()), order.order_id)
    order.resting = True


def take_out(state: State, order: Order) -> None:
    if not order.resting:
        return
    level = state.markets[order.contract].levels[order.side]
    queue = tuple(i for i in level[order.price] if i != order.order_id)
    if queue:
        level[order.price] = queue
    else:
        del level[order.price]
    order.resting = False


def depth(market: Market, side: int) -> list[tuple[int, list[int]]]:
    """(price, ids in queue order) of a side, best first."""
    levels = market.levels[side]
    return [(p, list(levels[p])) for p in sorted(levels, reverse=side == Side.BUY)]
