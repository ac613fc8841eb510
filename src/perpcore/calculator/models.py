"""Margin, liquidation and bankruptcy of one linear position, for each of the venues' margin models.

A position is a signed quantity q, an entry price e and the margin W behind it; p is the mark.

    equity(p)      = W + q (p - e)
    requirement(p) = a |q| p + b
    liquidated     <=> equity(p) < requirement(p)

Every model is a choice of a (the part that follows the mark) and b (the part that does not):

    model                    a                  b                    used by
    mm_on_mark               mmr                0                    most venues
    mm_plus_taker_on_mark    mmr + taker fee    0                    Gate, OKX
    mm_on_mark_minus_cum     mmr                - maint_amount       Binance, inside one bracket
    mm_on_entry              0                  mmr |q| e            Bybit, KuCoin
    fixed_mm                 0                  maintenance_margin   a number that the venue sends
    bankruptcy               0                  0                    equity 0

Solved for p, with s the sign of q:

    liquidation price = (q e - W + b) / (q - a |q|)

The venue's own model, on its grid of whole units, is `perpcore.margin.MarginTerms`; with mmr =
maintenance rate and taker fee = fee reserve rate it is `mm_plus_taker_on_mark`, and its liquidation
mark is the last mark on the wrong side of the price found here.
"""

from __future__ import annotations

from enum import StrEnum
from fractions import Fraction
from typing import Any

import numpy as np

from perpcore.calculator.numbers import Exact, Number, Numbers, Side, each, exact, field, signed


class MarginModel(StrEnum):
    """What maintenance margin is a rate of. The values are names; a plain str does as well."""

    ON_MARK = "mm_on_mark"
    ON_MARK_PLUS_TAKER = "mm_plus_taker_on_mark"
    ON_MARK_MINUS_AMOUNT = "mm_on_mark_minus_cum"
    ON_ENTRY = "mm_on_entry"
    FIXED = "fixed_mm"
    BANKRUPTCY = "bankruptcy"

    @classmethod
    def _missing_(cls, value: object) -> MarginModel:
        raise ValueError(f"model: {value!r} is none of {', '.join(cls)}")


def _terms(
    model: MarginModel | str,
    size: Fraction,
    entry: Fraction,
    mmr: Fraction,
    taker_fee: Fraction,
    maint_amount: Fraction,
    maintenance_margin: Fraction,
) -> tuple[Fraction, Fraction]:
    """(a, b) of the requirement; arguments that the model does not use are not looked at."""
    zero = Fraction(0)
    match MarginModel(model):
        case MarginModel.ON_MARK:
            rate, fixed = mmr, zero
        case MarginModel.ON_MARK_PLUS_TAKER:
            rate, fixed = mmr + taker_fee, zero
        case MarginModel.ON_MARK_MINUS_AMOUNT:
            rate, fixed = mmr, -maint_amount
        case MarginModel.ON_ENTRY:
            rate, fixed = zero, mmr * size * entry
        case MarginModel.FIXED:
            rate, fixed = zero, maintenance_margin
        case _:
            rate, fixed = zero, zero
    if not 0 <= rate < 1:
        raise ValueError(f"maintenance rate: {rate} is outside [0, 1)")
    return rate, fixed


def _margin(
    margin: Numbers | None, leverage: Numbers | None, qty: Exact, entry: Numbers
) -> Numbers:
    """The margin given, or the value at entry over the leverage."""
    if margin is not None and leverage is None:
        return margin
    if leverage is not None and margin is None:
        return initial_margin(qty, entry, leverage)  # type: ignore[no-any-return]
    raise TypeError("give margin or leverage, one of them")


def notional(qty: Numbers, price: Numbers) -> Exact:
    """|qty| x price. Exact."""
    return each(lambda q, p: abs(q) * p, qty, price)


def initial_margin(qty: Numbers, price: Numbers, leverage: Numbers) -> Exact:
    """|qty| x price / leverage. Exact; a venue rounds it up (U3: `to_step(..., "up")`).

    Raises ValueError for a leverage that is not above 0.
    """
    return each(_over_leverage, notional(qty, price), leverage)


def _over_leverage(value: Fraction, leverage: Fraction) -> Fraction:
    if leverage <= 0:
        raise ValueError(f"leverage: {leverage} is not above 0")
    return value / leverage


def size_from_margin(margin: Numbers, price: Numbers, leverage: Numbers) -> Exact:
    """The quantity that a margin carries: margin x leverage / price. Exact; round down to lots."""
    return each(lambda m, p, lev: m * lev / p, margin, price, leverage)


def maintenance_margin(
    model: MarginModel | str,
    *,
    qty: Numbers,
    mark: Numbers,
    entry: Numbers = 0,
    mmr: Numbers = 0,
    taker_fee: Numbers = 0,
    maint_amount: Numbers = 0,
    maintenance_margin: Numbers = 0,
) -> Exact:
    """The requirement a |q| mark + b of a model. Exact.

    Parameters: `entry` for mm_on_entry, `maint_amount` (the bracket's cumulative amount) for
    mm_on_mark_minus_cum, `maintenance_margin` for fixed_mm; rates are fractions of 1.
    Raises ValueError for an unknown model and for a rate outside [0, 1).

    >>> maintenance_margin("mm_on_mark_minus_cum", qty="109.488", mark="31967.27",
    ...                    mmr="0.025", maint_amount=16300)  # Binance: 71,200.81144
    Fraction(17800202861, 250000)
    """

    def formula(q: Fraction, p: Fraction, e: Fraction, *rest: Fraction) -> Fraction:
        rate, fixed = _terms(model, abs(q), e, *rest)
        return rate * abs(q) * p + fixed

    return each(formula, qty, mark, entry, mmr, taker_fee, maint_amount, maintenance_margin)


def liquidation_price(
    model: MarginModel | str,
    *,
    qty: Numbers,
    entry: Numbers,
    side: Side = None,
    margin: Numbers | None = None,
    leverage: Numbers | None = None,
    mmr: Numbers = 0,
    taker_fee: Numbers = 0,
    maint_amount: Numbers = 0,
    maintenance_margin: Numbers = 0,
) -> Exact:
    """The mark at which equity equals the requirement: (q e - W + b) / (q - a |q|).

    A long is liquidated below it, a short above it. At or below 0 no mark liquidates a long; a
    short whose margin is negative enough has a price at or below 0 too: every mark liquidates it.

    Parameters: `qty` is signed, or not with `side`. `margin` W is what the position may lose: its
    own when isolated, `cross_margin` when cross; or give `leverage`, then W = |q| e / leverage.
    `mmr`, `taker_fee` are fractions of 1; `maint_amount` and `maintenance_margin` are money.
    Returns a Fraction, or an object array when an argument is an array. Exact; round it to a tick
    in the direction that the venue uses (`to_step`).
    Raises ValueError for an unknown model, qty 0, or a rate outside [0, 1); TypeError unless one of
    margin and leverage is given.
    Source: the venues' documents; the published cases in tests/oracle/data/liquidation_prices.json.

    >>> liquidation_price("mm_on_mark", side="long", qty=1, entry=10, leverage=5, mmr="0.01")
    Fraction(800, 99)
    >>> liquidation_price("mm_plus_taker_on_mark", side="short", qty=1, entry=10, margin=2,
    ...                   mmr="0.01", taker_fee="0.0006")
    Fraction(60000, 5053)
    >>> liquidation_price("mm_on_entry", qty=250, entry=80, margin=10_000, mmr="0.004")
    Fraction(1008, 25)
    """

    def formula(q: Fraction, e: Fraction, w: Fraction, *rest: Fraction) -> Fraction:
        if not q:
            raise ValueError("qty: a position of 0 has no liquidation price")
        rate, fixed = _terms(model, abs(q), e, *rest)
        return (q * e - w + fixed) / (q - rate * abs(q))

    size = signed(qty, side)
    behind = _margin(margin, leverage, size, entry)
    return each(formula, size, entry, behind, mmr, taker_fee, maint_amount, maintenance_margin)


def is_liquidated(
    model: MarginModel | str,
    *,
    qty: Numbers,
    entry: Numbers,
    mark: Numbers,
    side: Side = None,
    margin: Numbers | None = None,
    leverage: Numbers | None = None,
    mmr: Numbers = 0,
    taker_fee: Numbers = 0,
    maint_amount: Numbers = 0,
    maintenance_margin: Numbers = 0,
) -> Any:
    """The inequality itself: equity(mark) < requirement(mark). A bool, or a bool array.

    Parameters and errors as for `liquidation_price`; a position of 0 is liquidated when its margin
    is below the model's fixed part.
    """

    def formula(
        q: Fraction, e: Fraction, p: Fraction, w: Fraction, *rest: Fraction
    ) -> bool:
        rate, fixed = _terms(model, abs(q), e, *rest)
        return w + q * (p - e) < rate * abs(q) * p + fixed

    size = signed(qty, side)
    behind = _margin(margin, leverage, size, entry)
    return each(
        formula, size, entry, mark, behind, mmr, taker_fee, maint_amount, maintenance_margin,
        kind=np.bool_,
    )  # fmt: skip


def bankruptcy_price(
    *,
    qty: Numbers,
    entry: Numbers,
    side: Side = None,
    margin: Numbers | None = None,
    leverage: Numbers | None = None,
) -> Exact:
    """The price at which equity is 0: e - W / q; with a leverage L: e (1 - s / L).

    Exact. So that a close at it never costs a fund anything, a venue rounds it up for a long and
    down for a short (Q3). Parameters and errors as for `liquidation_price`.

    >>> bankruptcy_price(side="long", qty="0.1", entry=50_000, margin=499)
    Fraction(45010, 1)
    >>> bankruptcy_price(side="short", qty="12.5", entry=40, leverage=1)
    Fraction(80, 1)
    """
    return liquidation_price(
        MarginModel.BANKRUPTCY, qty=qty, entry=entry, side=side, margin=margin, leverage=leverage
    )


def cross_margin(
    wallet: Number,
    others: list[dict[str, Any]],
) -> Fraction:
    """What a cross account has behind one of its positions: the wallet, plus what the others have
    gained, less what they require. Use it as `margin` of `liquidation_price`.

    Parameters: each of `others` is a dict with qty (signed, or with side), entry, mark, mmr, and
    optionally maint_amount, taker_fee. Their marks are taken as they are: the price found is the
    one at which this position's mark alone ends the account.
    Raises ValueError that names the position and what it lacks.
    Source: Binance, "How to calculate the liquidation price of USDT-M futures contracts".

    >>> behind = cross_margin("1535443.01", [dict(qty="109.488", entry="32481.98",
    ...     mark="31967.27", mmr="0.025", maint_amount=16300)])
    >>> price = liquidation_price("mm_on_mark_minus_cum", qty="3683.979", entry="1456.84",
    ...     margin=behind, mmr="0.1", maint_amount=135365)
    >>> round(float(price), 2)
    1153.26
    """
    left = exact(wallet, "wallet")
    for number, other in enumerate(others, 1):
        where = f"position {number}"
        qty = signed(field(other, "qty", where), other.get("side"))
        mark = exact(field(other, "mark", where), "mark")
        entry = exact(field(other, "entry", where), "entry")
        rate = exact(field(other, "mmr", where), "mmr")
        rate += exact(other.get("taker_fee", 0), "taker_fee")
        need = rate * abs(qty) * mark - exact(other.get("maint_amount", 0), "maint_amount")
        left += qty * (mark - entry) - need
    return left
