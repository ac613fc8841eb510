"""Profit, fees and funding of linear positions. Money is positive when the holder receives it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

from perpcore.calculator.models import bankruptcy_price
from perpcore.calculator.numbers import Exact, Number, Numbers, Side, each, exact, field, signed


def unrealized_pnl(*, qty: Numbers, entry: Numbers, mark: Numbers, side: Side = None) -> Exact:
    """q (mark - entry). Exact. `qty` is signed, or not with `side`."""
    return each(lambda q, e, p: q * (p - e), signed(qty, side), entry, mark)


def trade_fee(qty: Numbers, price: Numbers, rate: Numbers) -> Exact:
    """|qty| x price x rate, what the trader pays (below 0: a rebate). Exact; a venue rounds up."""
    return each(lambda q, p, r: abs(q) * p * r, qty, price, rate)


def realized_pnl(
    *,
    qty: Numbers,
    open: Numbers,
    close: Numbers,
    side: Side = None,
    open_fee_rate: Numbers = 0,
    close_fee_rate: Numbers = 0,
    funding: Numbers = 0,
) -> Exact:
    """q (close - open) - |q| open x its fee rate - |q| close x its fee rate + funding received.

    Exact. Without fees and funding it is the gross profit. Leverage does not enter.

    >>> realized_pnl(side="short", qty=30, open="2.2", close=2, open_fee_rate="0.0025",
    ...              close_fee_rate="0.0025", funding=1)
    Fraction(1337, 200)
    """

    def formula(
        q: Fraction, o: Fraction, c: Fraction, fo: Fraction, fc: Fraction, f: Fraction
    ) -> Fraction:
        return q * (c - o) - abs(q) * (o * fo + c * fc) + f

    return each(formula, signed(qty, side), open, close, open_fee_rate, close_fee_rate, funding)


def open_value(*, qty: Numbers, price: Numbers, side: Side = None, fee_rate: Numbers = 0) -> Exact:
    """What opening costs a long (value + fee), or brings a short (value - fee). Exact."""
    return each(lambda q, p, r: abs(q) * p + q * p * r, signed(qty, side), price, fee_rate)


def close_value(
    *,
    qty: Numbers,
    price: Numbers,
    side: Side = None,
    fee_rate: Numbers = 0,
    funding: Numbers = 0,
) -> Exact:
    """What closing brings a long (value - fee + funding), or costs a short (value + fee - funding).

    Exact. `realized_pnl` is the difference between `close_value` and `open_value`, from the short's
    side the other way round.
    """

    def formula(q: Fraction, p: Fraction, r: Fraction, f: Fraction) -> Fraction:
        return abs(q) * p - q * p * r + (f if q > 0 else -f)

    return each(formula, signed(qty, side), price, fee_rate, funding)


def open_and_bankruptcy_fee(
    *, qty: Numbers, price: Numbers, leverage: Numbers, taker_fee: Numbers, side: Side = None
) -> Exact:
    """The fee of opening plus that of closing at the bankruptcy price, as Bybit and KuCoin reserve
    it: |q| (price + price (1 - s / leverage)) x fee. Exact.

    >>> open_and_bankruptcy_fee(side="long", qty="0.02", price="38497.5", leverage=2,
    ...                         taker_fee="0.0004")
    Fraction(46197, 100000)
    """
    size = signed(qty, side)
    end = bankruptcy_price(qty=size, entry=price, leverage=leverage)
    return each(lambda q, p, b, r: abs(q) * (p + b) * r, size, price, end, taker_fee)


# ---- positions from fills


@dataclass(frozen=True)
class Position:
    """A position after fills: signed quantity, its exact cost, and what closing has realized."""

    qty: Fraction = Fraction(0)
    cost: Fraction = Fraction(0)
    realized: Fraction = Fraction(0)

    @property
    def average_price(self) -> Fraction | None:
        """cost / qty, for display (U4: it is never stored); None when flat."""
        return self.cost / self.qty if self.qty else None

    def unrealized(self, mark: Number) -> Fraction:
        """qty x mark - cost."""
        return self.qty * exact(mark, "mark") - self.cost

    def after(self, qty: Number, price: Number) -> Position:
        """After one fill of a signed quantity.

        A closing fill of k releases cost x k / |qty| (U4) and realizes its proceeds less that; what
        goes beyond the position opens the other way at the fill's price. Exact: a venue that keeps
        whole units rounds the released cost up (`perpcore.margin.released_cost`).
        """
        change, at = exact(qty, "qty"), exact(price, "price")
        if self.qty * change >= 0:
            return Position(self.qty + change, self.cost + change * at, self.realized)
        closed = max(change, -self.qty) if change < 0 else min(change, -self.qty)
        released = self.cost * -closed / self.qty
        gain = -closed * at - released
        opened = change - closed
        return Position(
            self.qty + change, self.cost - released + opened * at, self.realized + gain
        )


def position_after(fills: Iterable[tuple[Number, Number]]) -> Position:
    """The position after fills (signed quantity, price), from flat.

    >>> held = position_after([(25, 40), (-1, "43.816")])
    >>> held.realized, held.unrealized("43.816")
    (Fraction(477, 125), Fraction(11448, 125))
    """
    position = Position()
    for qty, price in fills:
        position = position.after(qty, price)
    return position


# ---- funding


def funding_payment(*, qty: Numbers, mark: Numbers, rate: Numbers, side: Side = None) -> Exact:
    """-q x mark x rate: at a positive rate longs pay and shorts receive (F1).

    Exact. The venue rounds it down, so that who pays pays the ceiling and who receives gets the
    floor: `to_step(..., step, "down")`, `MarginTerms.funding_payment`.
    """
    return each(lambda q, p, r: -q * p * r, signed(qty, side), mark, rate)


def impact_price(levels: Iterable[tuple[Number, Number]], notional: Number) -> Fraction:
    """The average price at which so much notional trades against one side of a book.

    Parameters: `levels` are (price, quantity), the best first; `notional` in the quote currency.
    Exact. Raises ValueError where the levels hold less than the notional.

    >>> impact_price([(100, 1), (110, 5)], 210)
    Fraction(105, 1)
    """
    left, lots = exact(notional), Fraction(0)
    if left <= 0:
        raise ValueError(f"notional is {left}: an impact price needs more than 0")
    paid = left
    for price, quantity in levels:
        taken = min(left, exact(price) * exact(quantity))
        lots += taken / exact(price)
        left -= taken
        if left == 0:
            return paid / lots
    raise ValueError(f"the levels lack {left} of the notional {paid}: give more of the book")


def premium_index(*, impact_bid: Numbers, impact_ask: Numbers, index: Numbers) -> Exact:
    """How far the book stands above (below 0: under) the index, as a rate: what funding follows.

    (max(0, impact bid - index) - max(0, index - impact ask)) / index. Exact; 0 while the index
    lies between the two. Source: the formula that Crypto.com, Binance and Bybit publish.

    >>> premium_index(impact_bid=101, impact_ask=102, index=100)
    Fraction(1, 100)
    """
    return each(
        lambda bid, ask, at: (max(Fraction(0), bid - at) - max(Fraction(0), at - ask)) / at,
        impact_bid, impact_ask, index,
    )  # fmt: skip


def funding_rate(
    *,
    premium: Numbers,
    interest: Numbers = "0.0001",
    clamp: Numbers = "0.0005",
    cap: Numbers | None = None,
    intervals: Numbers = 1,
) -> Exact:
    """The rate of one interval from the mean premium index of eight hours (F1).

    (premium + min(max(interest - premium, -clamp), clamp)) / intervals, then at most `cap` of
    either sign; `intervals` that pay in eight hours: 8 where funding is hourly. Exact; the command
    FUNDING takes whole 1e-9, towards zero: `to_step(rate, "0.000000001", "zero")`.

    >>> funding_rate(premium="0.002")
    Fraction(3, 2000)
    """

    def formula(p: Fraction, i: Fraction, c: Fraction, n: Fraction) -> Fraction:
        return (p + min(max(i - p, -c), c)) / n

    rate = each(formula, premium, interest, clamp, intervals)
    return rate if cap is None else each(lambda r, c: min(max(r, -c), c), rate, cap)


def _moment(value: Any) -> Any:
    """Times that compare: text is read as ISO ("2021-09-01 08:00"), in UTC if it names no zone."""
    time = datetime.fromisoformat(value) if isinstance(value, str) else value
    if isinstance(time, datetime) and time.tzinfo is None:
        return time.replace(tzinfo=UTC)
    return time


def funding_over(
    schedule: Iterable[Mapping[str, Any]],
    *,
    qty: Number,
    opened: Any,
    closed: Any,
    side: Side = None,
) -> Fraction:
    """The funding received while a position of constant size was held.

    Parameters: `schedule` has a dict with time, rate and mark for every payment; a payment counts
    when opened <= time <= closed. Times are ISO text or datetimes, in UTC where no zone is named,
    or numbers throughout.
    Returns the exact sum of `funding_payment`. Raises ValueError that names the payment and what it
    lacks, and for times of two kinds.
    """
    start, end = _moment(opened), _moment(closed)
    size = signed(qty, side)
    paid = Fraction(0)
    for number, due in enumerate(schedule, 1):
        where = f"payment {number}"
        time = _moment(field(due, "time", where))
        if len({isinstance(moment, datetime) for moment in (start, time, end)}) > 1:
            raise ValueError(f"{where}: {time!r} does not compare with opened and closed; "
                             "give dates or numbers throughout")
        if start <= time <= end:
            paid += funding_payment(
                qty=size, mark=field(due, "mark", where), rate=field(due, "rate", where)
            )
    return paid


def funding_index_delta(
    *,
    rate_8h_ppm: Numbers,
    price: Numbers,
    seconds: Numbers,
    price_exponent: int = 0,
    atomic_resolution: int = 0,
    quote_resolution: int = -6,
) -> Exact:
    """dYdX: how far the funding index (ppm of quote quantums a base quantum) moves.

    rate x seconds / 28,800 x price x 10^(price exponent + base resolution - quote resolution),
    rounded toward zero to a whole number once, at the end.
    Source: dydxprotocol/v4-chain x/perpetuals/funding.

    >>> funding_index_delta(rate_8h_ppm=-1_001_999, price=1000, seconds=28_800,
    ...                     atomic_resolution=-12)
    Fraction(-1001, 1)
    """
    scale = Fraction(10) ** (price_exponent + atomic_resolution - quote_resolution)

    def formula(rate: Fraction, at: Fraction, time: Fraction) -> Fraction:
        return Fraction(int(rate * time / 28_800 * at * scale))

    return each(formula, rate_8h_ppm, price, seconds)
