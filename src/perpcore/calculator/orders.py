"""Margin of resting orders where a position covers what only reduces it (Vega's isolated mode).

The venue's own reserve, with fees and price loss, is `perpcore.margin.MarginTerms.order_reserve`
(C3); this is the plain form: price x size x rate, the larger side.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor

from perpcore.calculator.numbers import Number, exact, sign_of

#: (side, quantity, limit price)
Order = tuple[str | int, Number, Number]


def order_margin(
    position: Number,
    orders: Sequence[Order],
    rate: Number,
    *,
    contract_size: Number = 1,
    worst_price: Number = 0,
    reducing_free: bool = True,
) -> Fraction:
    """The larger of what the buy orders and the sell orders need.

    By side: sum over its orders of the lots that can raise risk x max(price, worst_price), x rate
    x contract size. Lots that the position covers need nothing: the orders that trade first (buys
    from the highest price down, sells from the lowest up) are covered first.

    Parameters: `position` signed; `rate` the margin factor (1 / leverage); `worst_price` the price
    at which an auction may fill, 0 outside one; `reducing_free=False` lets every lot count.
    Exact; Vega rounds it down to a whole unit (`to_step(..., 1, "down")`).
    Source: vegaprotocol/specs 0019-MCAL, core/risk/isolated_margin_test.go.

    >>> book = [("sell", 10, 20), ("buy", 10, 50), ("sell", 20, 40), ("buy", 20, 40)]
    >>> order_margin(-4, book, "0.5", contract_size="0.1")
    Fraction(55, 1)
    """
    held, low = exact(position, "position"), exact(worst_price, "worst_price")
    sides: dict[Fraction, list[tuple[Fraction, Fraction]]] = {Fraction(1): [], Fraction(-1): []}
    for side, qty, price in orders:
        sides[sign_of(side)].append((exact(price, "price"), exact(qty, "qty")))
    needs = []
    for sign, resting in sides.items():
        covered = max(Fraction(0), -sign * held) if reducing_free else Fraction(0)
        value = Fraction(0)
        for price, qty in sorted(resting, key=lambda order: -sign * order[0]):
            free = min(covered, qty)
            covered -= free
            value += (qty - free) * max(price, low)
        needs.append(value)
    return max(needs) * exact(rate, "rate") * exact(contract_size, "contract_size")


def isolated_transfer(
    position: Number,
    average_entry: Number,
    rate: Number,
    *,
    margin_balance: Number = 0,
    contract_size: Number = 1,
) -> Fraction:
    """What moves into a position's own margin when it becomes isolated, or its rate changes:
    |position| x average entry x contract size x rate - what it has. Below 0 it comes back.

    Exact. Source: vegaprotocol/vega core/risk, switching to isolated margin.
    """
    size = abs(exact(position, "position")) * exact(contract_size, "contract_size")
    need = size * exact(average_entry, "average_entry") * exact(rate, "rate")
    return need - exact(margin_balance, "margin_balance")


def transfer_on_trades(
    position: Number,
    trades: Sequence[tuple[Number, Number]],
    rate: Number,
    *,
    margin_balance: Number = 0,
    mark: Number = 0,
    contract_size: Number = 1,
) -> Fraction:
    """What moves into an isolated position's margin with trades that change it; below 0 it leaves.

    - It grows: sum of size x price, x contract size x rate.
    - It shrinks: the closed part of what the margin would be if all of it were closed at the
      trades' average price, |closed| / |position| x (balance + (average - mark) x |position| x
      contract size), leaves.
    - It turns: the balance leaves, and what the trades open beyond 0 is margined anew.

    Each amount is rounded down to a whole unit, and so is the average price: Vega counts so.

    Parameters: `position` before the trades, signed; `trades` (signed size, price), all of one
    sign, in order; `mark` only matters when it shrinks.
    Raises ValueError for trades of both signs or none.
    Source: vegaprotocol/vega core/risk, isolated margin on a change of position.

    >>> transfer_on_trades(20, [(-5, 12), (-10, 10)], "0.5", margin_balance=40, mark=12,
    ...                    contract_size="0.1")
    Fraction(-27, 1)
    """
    held, scale = exact(position, "position"), exact(contract_size, "contract_size")
    factor, balance = exact(rate, "rate"), exact(margin_balance, "margin_balance")
    made = [(exact(size, "size"), exact(price, "price")) for size, price in trades]
    change = sum((size for size, _ in made), Fraction(0))
    if not made or any(size * change <= 0 for size, _ in made):
        raise ValueError("trades: give at least one, all of one sign")
    if held * change >= 0:
        return Fraction(floor(sum(abs(size) * price for size, price in made) * scale * factor))
    if abs(change) <= abs(held):
        average = floor(sum(size * price for size, price in made) / change)
        whole = floor(balance + (average - exact(mark, "mark")) * abs(held) * scale)
        return -Fraction(floor(whole * abs(change) / abs(held)))
    left, opened = abs(held), Fraction(0)
    for size, price in made:
        closed = min(left, abs(size))
        left -= closed
        opened += (abs(size) - closed) * price
    return floor(opened * scale * factor) - balance
