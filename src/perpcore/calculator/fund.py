"""What an insurance fund gets or pays when a position is closed, and closing against others.

Quote and base amounts are signed: `quote` is an account's money (below 0: it owes), a sale brings
positive quote, a purchase negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from perpcore.calculator.numbers import Exact, Number, Numbers, each, exact, to_step


@dataclass(frozen=True)
class Holding:
    """One position of an account: signed base, quote a unit of base, maintenance rate."""

    base: Number
    price: Number
    mmr: Number

    @property
    def value(self) -> Fraction:
        """base x price, signed."""
        return exact(self.base, "base") * exact(self.price, "price")

    def maintenance(self, base: Fraction) -> Fraction:
        """|base| x price x mmr, rounded up to a whole unit of quote."""
        return Fraction(ceil(abs(base) * exact(self.price, "price") * exact(self.mmr, "mmr")))


def _closing(holding: Holding, delta: Fraction) -> Fraction:
    """The base held. Raises ValueError for a delta that does not reduce it."""
    base = exact(holding.base, "base")
    if base * delta >= 0 or abs(delta) > abs(base):
        raise ValueError(f"delta: {delta} does not close a part of {base}")
    return base


def bankruptcy_notional(
    quote: Number, holdings: Sequence[Holding], closed: int, delta: Number
) -> Fraction:
    """The quote for which `delta` of one position is worth nothing to the account, rounded up.

    -delta x price - TNC x |DMMR| / TMMR, with TNC the account's net value (quote + base x price),
    TMMR its maintenance, DMMR how much of it the delta takes away. For a single position it is
    -quote x |delta| / |base|, whatever the price. Up is against the account, so that a close at it
    asks nothing of the fund.

    Parameters: `closed` is the index of the position, `delta` the signed base that closes it or a
    part of it; amounts in whole units of quote (1e-6 USD for dYdX).
    Returns a whole Fraction, positive when quote comes in (a long is sold).
    Raises ValueError for a delta that does not reduce the position or an account whose maintenance
    is 0.
    Source: dydxprotocol/v4-chain x/clob/keeper, GetBankruptcyPriceInQuoteQuantums.

    >>> short = Holding(base=-100_000_000, price=500, mmr="0.1")
    >>> bankruptcy_notional(13_000_000, [short], 0, 21_347)
    Fraction(-2775, 1)
    """
    change = exact(delta, "delta")
    base = _closing(holdings[closed], change)
    net = exact(quote, "quote") + sum(h.value for h in holdings)
    need = sum((h.maintenance(exact(h.base)) for h in holdings), Fraction(0))
    if not need:
        raise ValueError("the account has no maintenance to share its value by")
    held = holdings[closed]
    freed = held.maintenance(base) - held.maintenance(base + change)
    return -change * exact(held.price) - floor(net * freed / need)


def liquidation_order_price(
    quote: Number,
    holdings: Sequence[Holding],
    closed: int,
    *,
    bankruptcy_adjustment: Number = 1,
    spread_to_mm: Number = "0.1",
) -> Fraction:
    """dYdX: the worst price at which a liquidation order may fill, quote a unit of base. Exact.

    (base x price - A x spread x maintenance) / base with A = adjustment x (1 - TNC / TMMR), held
    between 0 and 1: the closer to bankruptcy, the further from the oracle.
    Source: dydxprotocol/v4-chain x/clob/keeper, GetFillablePrice.
    """
    held = holdings[closed]
    net = exact(quote, "quote") + sum(h.value for h in holdings)
    need = sum((h.maintenance(exact(h.base)) for h in holdings), Fraction(0))
    rating = exact(bankruptcy_adjustment, "bankruptcy_adjustment") * (1 - net / need)
    spread = min(max(rating, Fraction(0)), Fraction(1)) * exact(spread_to_mm, "spread_to_mm")
    base = exact(held.base, "base")
    return (held.value - spread * held.maintenance(base)) / base


def fund_delta(proceeds: Numbers, bankruptcy: Numbers, max_fee_rate: Numbers) -> Exact:
    """What the fund gets from a liquidation fill (below 0: pays).

    proceeds - bankruptcy when that is not above 0, else the smaller of it and the fee
    floor(|proceeds| x rate). Both amounts signed as from `bankruptcy_notional`, in whole units.
    Source: dydxprotocol/v4-chain x/clob/keeper, GetLiquidationInsuranceFundDelta.

    >>> fund_delta(5_610_000_000, 5_100_000_000, "0.005")
    Fraction(28050000, 1)
    """

    def formula(got: Fraction, owed: Fraction, rate: Fraction) -> Fraction:
        left = got - owed
        return left if left <= 0 else min(left, Fraction(floor(abs(got) * rate)))

    return each(formula, proceeds, bankruptcy, max_fee_rate)


def liquidation_fee(notional: Numbers, rate: Numbers, cash: Numbers, step: Number = 1) -> Exact:
    """The venue's own fee (Q5): the notional x rate rounded up, at most what the unit has, never
    below 0: a fee never makes a deficit."""
    fee = to_step(each(lambda n, r: n * r, notional, rate), step, "up")
    return each(lambda f, c: min(f, max(Fraction(0), c)), fee, cash)


def can_absorb(balance: Number, delta: Number) -> bool:
    """Whether a fund can book a delta: it gets something, or has what it pays."""
    change = exact(delta, "delta")
    return change >= 0 or exact(balance, "balance") + change >= 0


@dataclass(frozen=True)
class Cover:
    """A loss met by a fund: what it paid, has left, and could not pay."""

    paid: Fraction
    left: Fraction
    uncovered: Fraction


def cover(balance: Number, loss: Number) -> Cover:
    """A loss (>= 0) against one pool; no other pool is ever touched.

    >>> cover(300, 500)
    Cover(paid=Fraction(300, 1), left=Fraction(0, 1), uncovered=Fraction(200, 1))
    """
    have, asked = exact(balance, "balance"), exact(loss, "loss")
    if asked < 0:
        raise ValueError(f"loss: {asked} is below 0")
    paid = min(max(have, Fraction(0)), asked)
    return Cover(paid, have - paid, asked - paid)


@dataclass(frozen=True)
class Deleveraged:
    """Both sides after a close against each other."""

    liquidated_quote: Fraction
    liquidated_base: Fraction
    offsetting_quote: Fraction
    offsetting_base: Fraction


def deleverage(
    *,
    liquidated_quote: Number,
    liquidated: Sequence[Holding],
    closed: int,
    offsetting_quote: Number,
    offsetting_base: Number,
    delta: Number,
) -> Deleveraged:
    """`delta` of the liquidated account's position is closed against an opposite one at the
    liquidated account's bankruptcy price (`bankruptcy_notional`), without fees: what one pays the
    other receives.

    Raises ValueError when the delta does not reduce both sides.
    Source: dydxprotocol/v4-chain x/clob/keeper, ProcessDeleveraging.
    """
    change, other = exact(delta, "delta"), exact(offsetting_base, "offsetting_base")
    if other * -change >= 0 or abs(change) > abs(other):
        raise ValueError(f"delta: {-change} does not close a part of {other}")
    paid = bankruptcy_notional(liquidated_quote, liquidated, closed, change)
    return Deleveraged(
        exact(liquidated_quote) + paid,
        exact(liquidated[closed].base) + change,
        exact(offsetting_quote, "offsetting_quote") - paid,
        other - change,
    )
