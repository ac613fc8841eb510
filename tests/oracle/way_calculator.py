"""Published cases by the calculator: exact, so a result must lie within the source's tolerance."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from published import Excluded, Way, number

from perpcore import calculator as calc
from perpcore.calculator.numbers import sign_of

Inputs = dict[str, Any]


def first(i: Inputs, *names: str, default: Any = 0) -> Any:
    """The first of several names that the inputs have with a value."""
    return next((i[name] for name in names if i.get(name) is not None), default)


def size(i: Inputs) -> Fraction:
    """Base units of the position, contracts times their size; negative for a short."""
    quantity = number(first(i, "qty", "quantity", "size", default=1))
    quantity *= number(first(i, "contract_size", default=1))
    return quantity * sign_of(first(i, "side", default="long"))


def behind(i: Inputs) -> Inputs:
    """The margin, or the leverage when the case gives nothing else."""
    margin = first(i, "margin", "isolated_margin", "wallet", "collateral", default=None)
    return {"leverage": i["leverage"]} if margin is None else {"margin": margin}


def position(i: Inputs) -> Inputs:
    return {"qty": size(i), "entry": first(i, "entry", "open", "price", "mark"), **behind(i)}


def rates(i: Inputs) -> Inputs:
    return {
        "mmr": number(first(i, "mmr", "maintenance_rate")),
        "taker_fee": number(first(i, "taker_fee", "fee_rate")),
        "maint_amount": first(i, "maint_amount", "cum", "maintenance_amount"),
        "maintenance_margin": first(i, "maintenance_margin"),
    }


def by_model(model: str) -> Callable[[Inputs], Fraction]:
    return lambda i: calc.liquidation_price(model, **position(i), **rates(i))


def by_brackets(i: Inputs) -> Fraction:
    return calc.Brackets(first(i, "tiers", "brackets")).liquidation_price(**position(i))


def cross(i: Inputs) -> Fraction:
    """Cross margin: the wallet and what the other positions leave of it."""
    others = first(i, "others", "other", default=[])
    others = [others] if isinstance(others, dict) else others
    left = calc.cross_margin(
        first(i, "wallet", "margin"), [{**o, "qty": size(o), "side": None} for o in others]
    )
    return calc.liquidation_price(
        "mm_on_mark_minus_cum", qty=size(i), entry=i["entry"], margin=left,
        mmr=number(i["mmr"]) + number(first(i, "taker_fee")), maint_amount=first(i, "maint_amount"),
    )  # fmt: skip


def at_mark(i: Inputs) -> Fraction:
    """Vega: the margin is given at the mark, and funding that is owed comes off it."""
    margin = number(i["margin_at_mark"]) - number(first(i, "funding_owed"))
    return calc.liquidation_price(
        "mm_on_mark", qty=size(i), entry=i["mark"], margin=margin, mmr=i["mmr"]
    )


def bankrupt_at_leverage(i: Inputs) -> Fraction:
    return calc.bankruptcy_price(qty=size(i), entry=i["entry"], leverage=i["leverage"])


MODELS: dict[str, Callable[[Inputs], Fraction]] = {
    **{model.value: by_model(model) for model in calc.MarginModel},
    "brackets": by_brackets,
    "entry*(1-s/leverage)": bankrupt_at_leverage,
    "linear_slippage+risk_factor": at_mark,
    "cross_two_positions": cross,
}


# ---- margin, PnL, funding


def fold(i: Inputs) -> calc.Position:
    return calc.position_after([(number(q), number(p)) for q, p in i["fills"]])


def realized(i: Inputs) -> Fraction:
    if "fills" in i:
        return fold(i).realized
    return calc.realized_pnl(
        qty=size(i), open=first(i, "open", "entry"), close=first(i, "close", "exit"),
        open_fee_rate=first(i, "open_fee_rate", "fee_rate"),
        close_fee_rate=first(i, "close_fee_rate", "fee_rate"),
        funding=first(i, "funding_received"),
    )  # fmt: skip


def unrealized(i: Inputs) -> Fraction:
    if "fills" in i:
        return fold(i).unrealized(i["mark"])
    return calc.unrealized_pnl(qty=size(i), entry=i["entry"], mark=i["mark"])


def wallet(i: Inputs) -> Fraction:
    return number(i["deposit"]) + fold(i).realized - number(first(i, "fees"))


def close_value(i: Inputs) -> Fraction:
    return calc.close_value(
        qty=size(i), price=i["close"], fee_rate=first(i, "fee_rate", "close_fee_rate"),
        funding=first(i, "funding_received"),
    )  # fmt: skip


def open_value(i: Inputs) -> Fraction:
    return calc.open_value(qty=size(i), price=i["open"], fee_rate=first(i, "fee_rate"))


def over_hold(i: Inputs) -> Fraction:
    return calc.funding_over(
        i["schedule"], qty=size(i), opened=i["opened"], closed=i["closed"]
    )


def index_delta(i: Inputs) -> Fraction:
    return calc.funding_index_delta(
        rate_8h_ppm=i["rate_8h_ppm"], price=i["price"], seconds=i["seconds"],
        price_exponent=i["price_exponent"], atomic_resolution=i["atomic_resolution"],
    )  # fmt: skip


def initial(i: Inputs) -> Fraction:
    return calc.initial_margin(size(i), first(i, "entry", "price", "mark"), i["leverage"])


def from_margin(i: Inputs) -> Fraction:
    return calc.size_from_margin(
        i["margin"], first(i, "entry", "price", "mark"), i["leverage"]
    ) / number(first(i, "contract_size", default=1))


def on_entry(i: Inputs) -> Fraction:
    return calc.maintenance_margin(
        "mm_on_entry", qty=size(i), mark=0, entry=i["entry"], mmr=i["mmr"]
    )


def two_fees(i: Inputs) -> Fraction:
    return calc.open_and_bankruptcy_fee(
        qty=size(i), price=first(i, "price", "entry"), leverage=i["leverage"],
        taker_fee=i["taker_fee"],
    )  # fmt: skip


def order_margin(i: Inputs) -> Fraction:
    """Vega counts in whole units and drops the rest."""
    need = calc.order_margin(
        i["position"], [tuple(order) for order in i["orders"]], i["margin_factor"],
        contract_size=first(i, "contract_size", default=1),
        worst_price=first(i, "auction_price"),
        reducing_free=first(i, "reducing_orders_free", default=True),
    )  # fmt: skip
    return calc.to_step(need, 1, "down")


def transfer(i: Inputs) -> Fraction:
    """To the position's margin, and to that of the orders if there are any."""
    scale = number(first(i, "contract_size", default=1))
    moved = calc.isolated_transfer(
        i["position"], i["avg_entry"], i["margin_factor"],
        margin_balance=first(i, "margin_balance"), contract_size=scale,
    )  # fmt: skip
    for _, quantity, price in first(i, "orders", default=[]):
        moved += number(quantity) * number(price) * number(i["margin_factor"]) * scale
    return moved - number(first(i, "order_margin_balance"))


def on_trades(i: Inputs) -> Fraction:
    return calc.transfer_on_trades(
        i["position"], [tuple(trade) for trade in i["trades"]], i["margin_factor"],
        margin_balance=first(i, "margin_balance"), mark=first(i, "mark"),
        contract_size=first(i, "contract_size", default=1),
    )  # fmt: skip


def tiered(case: dict[str, Any]) -> Any:
    i, wanted = case["inputs"], case["expected"]
    table = calc.Brackets(first(i, "tiers", "brackets"))
    value = number(i["notional"])
    found = {
        "mmr": table.rate(value),
        "maint_amount": table.amount(value),
        "maintenance_margin": table.maintenance_margin(value),
        "max_leverage": table.max_leverage(value),
    }
    return found if isinstance(wanted, dict) else found["maintenance_margin"]


# ---- dYdX: quote in 1e-6 USD, BTC in 1e-8, ETH in 1e-9, marked at 50,000 and 3,000

PRICES, DECIMALS = {0: 500, 1: 3}, {0: 8, 1: 9}


def holdings(case: dict[str, Any]) -> tuple[list[calc.Holding], int]:
    """The account's positions, and which of them is closed."""
    i = case["inputs"]
    rate = case.get("as_isolated_block", {}).get("mmr", first(i, "mmr", default="0.1"))
    held = [calc.Holding(p["base_quantums"], PRICES[p["perp"]], rate) for p in i["positions"]]
    perps = [p["perp"] for p in i["positions"]]
    return held, perps.index(first(i, "close_perp", "perp", default=perps[0]))


def bankruptcy_notional(case: dict[str, Any]) -> Fraction:
    i = case["inputs"]
    return calc.bankruptcy_notional(
        i["usdc_quantums"], *holdings(case), i["delta_base_quantums"]
    )


def order_price(case: dict[str, Any]) -> Fraction:
    i = case["inputs"]
    return calc.liquidation_order_price(
        i["usdc_quantums"], *holdings(case), bankruptcy_adjustment=i["bankruptcy_adjustment"],
        spread_to_mm=i["spread_to_mm"],
    )  # fmt: skip


def fund_delta(case: dict[str, Any]) -> Fraction:
    i = case["inputs"]
    held, closed = holdings(case)
    decimals = DECIMALS[i["positions"][closed]["perp"]]
    value = number(i["subticks"]) * number(i["fill_base_quantums"]) / 10**decimals
    value = calc.to_step(value, 1, "down")
    buys = i["is_buy"]
    delta = i["fill_base_quantums"] if buys else -i["fill_base_quantums"]
    owed = calc.bankruptcy_notional(i["usdc_quantums"], held, closed, delta)
    return calc.fund_delta(-value if buys else value, owed, i["max_liquidation_fee"])


def absorbs(i: Inputs) -> bool:
    return calc.can_absorb(i["balance"], i["delta"])


def deleverage_pair(i: Inputs) -> dict[str, Fraction]:
    # Quote quantums (1e-6 USD) a base quantum (1e-8): a hundredth of the price.
    price = number(first(i, "oracle_usd", default=50_000)) / 100
    held = calc.Holding(i["liquidated"]["base_quantums"], price, first(i, "mmr", default="0.1"))
    done = calc.deleverage(
        liquidated_quote=i["liquidated"]["usdc_quantums"], liquidated=[held], closed=0,
        offsetting_quote=i["offsetting"]["usdc_quantums"],
        offsetting_base=i["offsetting"]["base_quantums"], delta=i["delta_base_quantums"],
    )  # fmt: skip
    return {
        "liquidated_usdc": done.liquidated_quote, "liquidated_base": done.liquidated_base,
        "offsetting_usdc": done.offsetting_quote, "offsetting_base": done.offsetting_base,
    }  # fmt: skip


# ---- Vega: whole units, the last winner gets what rounding leaves


def uncovered(losses: Inputs, available: Inputs, insurance: Any) -> calc.Cover:
    """What the losers lack, after the fund."""
    lacking = sum(max(0, number(losses[n]) - number(available.get(n, losses[n]))) for n in losses)
    return calc.cover(insurance, lacking)


def shared(wins: Inputs, covered: calc.Cover) -> dict[str, Fraction]:
    parts = calc.socialize(covered.uncovered, list(wins.values()), "last_takes_rest").shares
    return dict(zip(wins, parts, strict=True))


def socialized(i: Inputs) -> Inputs:
    """The source's `uncovered` is what the losers lack."""
    covered = uncovered(i["losers"], i["available"], first(i, "insurance"))
    lost = shared(i["winners"], covered)
    return {
        "received": {name: number(win) - lost[name] for name, win in i["winners"].items()},
        "insurance_left": covered.left,
        "uncovered": covered.uncovered,
    }


def end_to_end(i: Inputs) -> Inputs:
    covered = uncovered(i["mtm_losses"], i["available"], first(i, "insurance"))
    lost = shared(i["mtm_profits_in_payout_order"], covered)
    return {
        "winner_haircut": {name: -share for name, share in lost.items()},
        "insurance_left": covered.left,
        "uncovered": covered.uncovered,
    }


# ---- lines of venues' documents


def line_share(i: Inputs) -> Fraction:
    return calc.pro_rata_share(i["loss"], i["profit"], i["total"])


def line_flat(i: Inputs) -> Fraction:
    """A flat per cent of the one winner that the line names, and of the rest of the table."""
    return number(i["profit"]) / 100


def faq_maintenance(i: Inputs, coin: str) -> Fraction:
    """The two positions of the venue's article on liquidation prices."""
    sample = {
        "BTC": {"qty": "109.488", "mark": "31967.27", "mmr": "0.025", "maint_amount": 16_300},
        "ETH": {"qty": "3683.979", "mark": "1335.18", "mmr": "0.1", "maint_amount": 135_365},
    }
    return calc.maintenance_margin("mm_on_mark_minus_cum", **{**sample[coin], **i})


def line_fee(i: Inputs) -> Fraction:
    """In dollars, so a millionth of one is the unit."""
    million = 10**6
    return (
        calc.fund_delta(number(i["fill"]) * million, number(i["bankr"]) * million, "0.005")
        / million
    )


def line_funding(i: Inputs) -> Fraction:
    """What the long of that value pays an hour: a quarter of the four-hour rate."""
    return -calc.funding_payment(qty=i["value"], mark=1, rate=number(i["rate4h"]) / 4)


def refuse_inverse(i: Inputs) -> Fraction:
    raise Excluded("U2: perpetuals are linear, an inverse contract is refused by name")


#: By the beginning of the wording (`what`).
LINES: dict[str, Callable[[Inputs], Fraction]] = {
    "pro-rata socialised loss": line_share,
    "1% flat variant": line_flat,
    "total_initial_margin = value/leverage": lambda i: calc.initial_margin(1, i["value"], i["lev"]),
    "total_position_im = value*5%": lambda i: calc.initial_margin(1, i["value"], 20),
    "MM = 50% of position IM": lambda i: number(i["pim"]) / 2,
    "inverse": refuse_inverse,
    "MM BTC": lambda i: faq_maintenance(i, "BTC"),
    "MM ETH": lambda i: faq_maintenance(i, "ETH"),
    "IF delta": line_fee,
    "hourly funding": line_funding,
}


def of_inputs(function: Callable[[Inputs], Any]) -> Way:
    return lambda case: function(case["inputs"])


def unless_average_stays(case: dict[str, Any]) -> Fraction:
    """A source that leaves its average price as it was when a fill adds to the position."""
    sizes = [number(q) for q, _ in case["inputs"].get("fills", [])]
    adding = [q for q in sizes[1:] if q * sizes[0] > 0]
    if adding and not case.get("maps_linear_isolated", True):
        raise Excluded("U4: every fill adds to the cost, no average price is kept")
    return unrealized(case["inputs"])


KINDS: dict[str, Way] = {
    "unrealised_pnl": unless_average_stays,
    "realised_pnl_net": of_inputs(realized),
    "realised_pnl_gross": of_inputs(realized),
    "wallet_after_close": of_inputs(wallet),
    "close_value": of_inputs(close_value),
    "open_value": of_inputs(open_value),
    "funding_payment": of_inputs(
        lambda i: calc.funding_payment(qty=size(i), mark=i["mark"], rate=i["rate"])
    ),
    "funding_accrued_over_hold": of_inputs(over_hold),
    "funding_index_delta": of_inputs(index_delta),
    "initial_margin": of_inputs(initial),
    "size_from_margin": of_inputs(from_margin),
    "maintenance_margin_on_entry": of_inputs(on_entry),
    "open_plus_bankruptcy_close_fee": of_inputs(two_fees),
    "isolated_order_margin": of_inputs(order_margin),
    "isolated_order_margin_auction": of_inputs(order_margin),
    "transfer_when_switching_to_isolated": of_inputs(transfer),
    "transfer_on_trades": of_inputs(on_trades),
    "tiered_maintenance": tiered,
    "bankruptcy_notional": bankruptcy_notional,
    "liquidation_order_price": order_price,
    "insurance_fund_delta": fund_delta,
    "insurance_fund_can_absorb": of_inputs(absorbs),
    "deleverage_pair": of_inputs(deleverage_pair),
    "socialised_loss": of_inputs(socialized),
    "socialised_loss_end_to_end": of_inputs(end_to_end),
}


def way_of(case: dict[str, Any]) -> Way | None:
    """By kind; prices by model; lines of documents by their wording."""
    if "what" in case:
        known = [text for text in LINES if case["what"].startswith(text)]
        return of_inputs(LINES[max(known, key=len)]) if known else None
    if case["kind"] in ("liquidation_price", "bankruptcy_price"):
        function = MODELS.get(case["model"])
        return of_inputs(function) if function else None
    return KINDS.get(case["kind"])
