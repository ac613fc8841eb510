"""Published cases by `perpcore.margin`, the venue's own margin in whole units.

Decimals become ticks, lots and money units on a grid that is fine enough for the case's tolerance;
no float takes part. A case that lies on no such grid, or that states a rule of another margin
model, is left to the calculator.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction
from typing import Any

from published import Excluded, Found, OffGrid, Way

from perpcore.calculator.numbers import sign_of
from perpcore.codes import Side
from perpcore.margin import MarginTerms, released_cost

E4, E8, E9 = Decimal(10**4), Decimal(10**8), Decimal(10**9)
MAX_MARK = 2 * 10**9


def dec(value: Any) -> Decimal:
    """The decimal that the source wrote."""
    return Decimal(str(value))


def whole(steps: Decimal) -> int:
    if steps != steps.to_integral_value():
        raise OffGrid("a number of the case lies between two steps")
    return int(steps)


def units(money: Decimal) -> int:
    """Money units; what has more digits is rounded up."""
    return int((money * E8).to_integral_value(ROUND_CEILING))


def money(amount: int | Fraction) -> Decimal:
    return Decimal(amount.numerator) / (Decimal(amount.denominator) * E8)


def signed(i: dict[str, Any], quantity: Decimal) -> Decimal:
    return quantity * int(sign_of(i.get("side", "long")))


class Desk:
    """One contract, on the finest grid on which the case's prices and sizes fit."""

    def __init__(self, prices: list[Any], quantities: list[Any], *, leverage: int = 1,
                 mmr: Any = None, taker: Any = 0) -> None:  # fmt: skip
        digits = max(0, *(-dec(q).normalize().as_tuple().exponent for q in quantities))
        self.lot = Decimal(1).scaleb(-digits)
        self.tick = Decimal(1).scaleb(digits - 8)
        while max(map(dec, prices)) * 4 / self.tick > MAX_MARK:
            self.tick *= 10
        value = self.tick * self.lot * E8
        share = Decimal("0.5")
        if mmr is not None:
            # A share of 1 / L: the first L that leaves whole ten-thousandths of it.
            whole = [p for p in (1, 10, 100, 1000) if dec(mmr) * p * E4 % 1 == 0]
            if not whole:
                raise OffGrid("a maintenance rate of more than seven digits")
            leverage = whole[0]
            share = dec(mmr) * leverage
        if value < 1 or leverage > 1000 or dec(taker) * E9 % 1:
            raise OffGrid("a step of the contract is finer than the core counts")
        self.terms = MarginTerms(
            value_units=int(value),
            max_leverage=leverage,
            maintenance_share_e4=int(share * E4),
            taker_fee_e9=int(dec(taker) * E9),
            max_mark_ticks=MAX_MARK,
        )

    def lots(self, quantity: Any) -> int:
        return whole(dec(quantity) / self.lot)

    def mark(self, price: Any) -> int:
        return whole(dec(price) / self.tick)

    def price(self, mark: int) -> Decimal:
        return mark * self.tick

    def cost(self, quantity: Decimal, price: Any) -> int:
        return units(quantity * dec(price))


# ---- liquidation and bankruptcy prices


def threshold(i: dict[str, Any], cash: Decimal, mmr: Any, taker: Any = 0) -> tuple[Desk, Decimal]:
    """The liquidation price of one position with this cash, from the exact threshold (Q2)."""
    entry = i.get("entry", i.get("mark"))
    desk = Desk([entry], [i["qty"]], mmr=mmr, taker=taker)
    quantity = signed(i, dec(i["qty"]))
    lots, cost = desk.lots(quantity), desk.cost(quantity, entry)
    mark = desk.terms.liquidation_mark(units(cash), lots, cost)
    if mark is None:
        raise OffGrid("no mark above 0 liquidates it")
    inside = mark + 1 if lots > 0 else mark - 1
    assert desk.terms.is_below_maintenance(units(cash), lots, cost, mark)
    assert not desk.terms.is_below_maintenance(units(cash), lots, cost, inside)
    return desk, desk.price(mark)


def ruin(i: dict[str, Any], cash: Decimal) -> tuple[Desk, Decimal]:
    """The price at which this much cash is gone (Q3)."""
    desk = Desk([i["entry"]], [i["qty"]])
    quantity = signed(i, dec(i["qty"]))
    mark = desk.terms.bankruptcy_mark(units(cash), desk.lots(quantity),
                                      desk.cost(quantity, i["entry"]))  # fmt: skip
    return desk, desk.price(mark)


def cross_two_positions(i: dict[str, Any]) -> tuple[Desk, Decimal]:
    other = i["other"]
    quantity, mark = signed(other, dec(other["qty"])), dec(other["mark"])
    gain = quantity * (mark - dec(other["entry"]))
    kept = abs(quantity) * mark * dec(other["mmr"]) - dec(other.get("maint_amount", 0))
    cash = dec(i["wallet"]) + gain - kept + dec(i.get("maint_amount", 0))
    return threshold(i, cash, i["mmr"])


def maintenance_on_entry(i: dict[str, Any]) -> Decimal:
    return dec(i["qty"]) * dec(i["entry"]) * dec(i["mmr"])


MODELS: dict[str, Callable[[dict[str, Any]], tuple[Desk, Decimal]]] = {
    "mm_on_mark": lambda i: threshold(i, dec(i["margin"]), i["mmr"]),
    "mm_plus_taker_on_mark": lambda i: threshold(i, dec(i["margin"]), i["mmr"], i["taker_fee"]),
    # A cumulative maintenance amount acts like that much more cash within its bracket.
    "mm_on_mark_minus_cum": lambda i: threshold(
        i, dec(i["margin"]) + dec(i["maint_amount"]), i["mmr"]
    ),
    # A maintenance that does not follow the mark: liquidated where all but it is gone.
    "mm_on_entry": lambda i: ruin(i, dec(i["margin"]) - maintenance_on_entry(i)),
    "fixed_mm": lambda i: ruin(i, dec(i["margin"]) - dec(i["maintenance_margin"])),
    "bankruptcy": lambda i: ruin(i, dec(i["margin"])),
    "entry*(1-s/leverage)": lambda i: ruin(i, dec(i["qty"]) * dec(i["entry"]) / i["leverage"]),
    "linear_slippage+risk_factor": lambda i: threshold(
        i, dec(i["margin_at_mark"]) - dec(i.get("funding_owed", 0)), i["mmr"]
    ),
    "cross_two_positions": cross_two_positions,
}


def unrealized_from_entry(i: dict[str, Any]) -> tuple[Desk, Decimal]:
    desk = Desk([i["entry"], i["mark"]], [i["qty"]])
    quantity = signed(i, dec(i["qty"]))
    cost = desk.cost(quantity, i["entry"])
    return desk, money(desk.terms.unrealized_pnl(desk.lots(quantity), cost, desk.mark(i["mark"])))


def bankruptcy_notional(case: dict[str, Any]) -> Decimal:
    """dYdX: quote at which part of a position is worth nothing, rounded against the account.

    With a cost C and cash, that is the released part of C - cash, which the inventory takes (Q4).
    """
    i = case["inputs"]
    if len(i["positions"]) > 1:
        raise Excluded("Q3: all equity belongs to the leg, it is not shared by maintenance")
    (position,) = i["positions"]
    base, delta = position["base_quantums"], abs(i["delta_base_quantums"])
    block_price(case)
    return Decimal(released_cost(-i["usdc_quantums"], delta, base))


def block_price(case: dict[str, Any]) -> None:
    """The bankruptcy price of the isolated block that the case maps to, at its whole size."""
    block = case.get("as_isolated_block")
    if block is None:
        return
    i = {"side": block["side"], "entry": block["entry_and_mark"], "qty": block["qty_base"]}
    desk, got = ruin(i, dec(block["margin"]))
    wanted = block["expected_bankruptcy_price"]
    if wanted is None:  # the source closes a part; the price is that of the whole
        position = case["inputs"]["positions"][0]["base_quantums"]
        wanted = Decimal(-case["inputs"]["usdc_quantums"]) * 100 / position
    assert abs(got - dec(wanted)) <= desk.tick


# ---- PnL, fees, funding, margin amounts


def fee(desk: Desk, quantity: Any, price: Any) -> int:
    """The taker fee of a trade; it is the whole fee reserve of these terms."""
    return desk.terms.fee_reserve(desk.lots(quantity), desk.mark(price))


def realized(i: dict[str, Any]) -> int:
    desk = Desk([i["open"], i["close"]], [i["qty"]])
    quantity = signed(i, dec(i["qty"]))
    cost = desk.cost(quantity, i["open"])
    return desk.terms.unrealized_pnl(desk.lots(quantity), cost, desk.mark(i["close"]))


def realised_pnl_net(i: dict[str, Any]) -> Decimal:
    prices, sizes = [i["open"], i["close"]], [i["qty"]]
    fees = sum(
        fee(Desk(prices, sizes, taker=i[f"{at}_fee_rate"]), i["qty"], i[at])
        for at in ("open", "close")
    )
    return money(realized(i) - fees) + dec(i["funding_received"])


def close_value(i: dict[str, Any]) -> Decimal:
    desk = Desk([i["close"]], [i["qty"]], taker=i["fee_rate"])
    value = desk.terms.notional(desk.lots(i["qty"]), desk.mark(i["close"]))
    cost = money(fee(desk, i["qty"], i["close"])) - dec(i["funding_received"])
    return money(value) - signed(i, cost)


def funding(i: dict[str, Any], rate: Any, mark: Any) -> Decimal:
    desk = Desk([mark], [i["qty"]])
    lots = desk.lots(signed(i, dec(i["qty"])))
    return money(desk.terms.funding_payment(lots, desk.mark(mark), int(dec(rate) * E9)))


def funding_accrued_over_hold(i: dict[str, Any]) -> Decimal:
    start, end = (datetime.fromisoformat(i[at]) for at in ("opened", "closed"))
    due = [s for s in i["schedule"] if start <= datetime.fromisoformat(s["time"]) <= end]
    return sum((funding(i, s["rate"], s["mark"]) for s in due), Decimal(0))


def run_fills(i: dict[str, Any]) -> tuple[Desk, int, int, int]:
    """(desk, lots, cost, realized) after the fills, a closing one releasing its share (U4)."""
    fills = i["fills"]
    desk = Desk([p for _, p in fills] + [i.get("mark", 1)], [q for q, _ in fills])
    lots = cost = gained = 0
    for quantity, price in fills:
        change = desk.lots(quantity)
        value = desk.cost(dec(quantity), price)
        if lots * change >= 0:
            lots, cost = lots + change, cost + value
            continue
        if abs(change) > abs(lots):
            raise OffGrid("a fill closes and opens at once, which the core does in two steps")
        released = released_cost(cost, abs(change), lots)
        gained += -value - released
        lots, cost = lots + change, cost - released
    return desk, lots, cost, gained


def unrealised_pnl(i: dict[str, Any]) -> Decimal:
    desk, lots, cost, _ = run_fills(i)
    return money(desk.terms.unrealized_pnl(lots, cost, desk.mark(i["mark"])))


def wallet_after_close(i: dict[str, Any]) -> Decimal:
    return dec(i["deposit"]) + money(run_fills(i)[3]) - dec(i.get("fees", 0))


def initial_margin(i: dict[str, Any]) -> Decimal:
    desk = Desk([i["entry"]], [i["qty"]], leverage=i["leverage"])
    return money(desk.terms.initial_margin(desk.lots(i["qty"]), desk.mark(i["entry"])))


def size_from_margin(i: dict[str, Any]) -> Decimal:
    """The largest size whose initial margin the amount pays."""
    desk = Desk([i["entry"]], ["0.00001"], leverage=i["leverage"])
    low, high, have = 0, 10**9, units(dec(i["margin"]))
    while low < high:
        middle = low + (high - low + 1) // 2
        if desk.terms.initial_margin(middle, desk.mark(i["entry"])) <= have:
            low = middle
        else:
            high = middle - 1
    return low * desk.lot


def maintenance_margin_on_entry(i: dict[str, Any]) -> Decimal:
    desk = Desk([i["entry"]], [i["qty"]], mmr=i["mmr"])
    return money(desk.terms.maintenance_margin(desk.lots(i["qty"]), desk.mark(i["entry"])))


def open_plus_bankruptcy_close_fee(i: dict[str, Any]) -> Decimal:
    desk = Desk([i["price"]], [i["qty"]], leverage=i["leverage"], taker=i["taker_fee"])
    quantity = signed(i, dec(i["qty"]))
    lots, mark = desk.lots(quantity), desk.mark(i["price"])
    margin = desk.terms.initial_margin(lots, mark)
    end = desk.terms.bankruptcy_mark(margin, lots, desk.cost(quantity, i["price"]))
    return money(desk.terms.fee_reserve(lots, mark) + desk.terms.fee_reserve(lots, end))


def order_margin(i: dict[str, Any]) -> Decimal:
    """By side the reserves of the lots that do not only reduce; the larger side counts (C3)."""
    factor, worst = 1 / dec(i["margin_factor"]), dec(i.get("auction_price", 0))
    if factor != factor.to_integral_value(ROUND_FLOOR):
        raise OffGrid("a leverage is a whole number")
    desk = Desk([p for *_, p in i["orders"]] + [worst], [q for _, q, _ in i["orders"]],
                leverage=int(factor))  # fmt: skip
    sums = {"buy": 0, "sell": 0}
    free = {"buy": max(0, -i["position"]), "sell": max(0, i["position"])}
    # What trades first is covered first: buys from the highest price, sells from the lowest.
    best_first = sorted(i["orders"], key=lambda o: -o[2] if o[0] == "buy" else o[2])
    for side, quantity, price in best_first:
        raising = max(0, quantity - free[side])
        free[side] -= quantity - raising
        at = desk.mark(max(dec(price), worst))
        code = Side.BUY if side == "buy" else Side.SELL
        sums[side] += desk.terms.order_reserve(desk.lots(raising), at, at, code)
    need = money(max(sums.values())) * dec(i["contract_size"])
    return need.to_integral_value(ROUND_FLOOR)


def transfer_when_switching_to_isolated(i: dict[str, Any]) -> Decimal:
    if i.get("orders"):
        raise OffGrid("orders have money of their own (I2)")
    factor = 1 / dec(i["margin_factor"])
    margin = initial_margin({"qty": abs(i["position"]), "entry": i["avg_entry"],
                             "leverage": whole(factor)})  # fmt: skip
    return margin - dec(i["margin_balance"])


KINDS: dict[str, Callable[[dict[str, Any]], Decimal]] = {
    "close_value": close_value,
    "realised_pnl_net": realised_pnl_net,
    "realised_pnl_gross": lambda i: money(run_fills(i)[3]),
    "unrealised_pnl": unrealised_pnl,
    "wallet_after_close": wallet_after_close,
    "funding_payment": lambda i: funding(i, i["rate"], i["mark"]),
    "funding_accrued_over_hold": funding_accrued_over_hold,
    "initial_margin": initial_margin,
    "size_from_margin": size_from_margin,
    "maintenance_margin_on_entry": maintenance_margin_on_entry,
    "open_plus_bankruptcy_close_fee": open_plus_bankruptcy_close_fee,
    "isolated_order_margin": order_margin,
    "isolated_order_margin_auction": order_margin,
    "transfer_when_switching_to_isolated": transfer_when_switching_to_isolated,
}


#: Money has steps of 1e-8; one step is allowed where a source says 1e-9 or less.
STEP = Decimal("1e-8")


def price(case: dict[str, Any]) -> Found:
    """A price of one of the models, to one mark tick of the grid."""
    if case["kind"] == "unrealised_pnl":
        desk, got = unrealized_from_entry(case["inputs"])
    else:
        desk, got = MODELS[case["model"]](case["inputs"])
    return Found(got, desk.tick)


def way_of(case: dict[str, Any]) -> Way | None:
    """By kind; prices by model. None when the venue's own margin has no such rule."""
    kind = case.get("kind")
    if kind in ("liquidation_price", "bankruptcy_price"):
        return price if case["model"] in MODELS else None
    if kind == "unrealised_pnl" and "fills" not in case["inputs"]:
        return price
    if kind == "bankruptcy_notional":
        return bankruptcy_notional
    if kind not in KINDS or not case.get("maps_linear_isolated", True):
        return None
    return lambda case: Found(KINDS[kind](case["inputs"]), STEP)
