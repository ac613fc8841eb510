"""Published cases by a running venue, through the Python interface (C1, C2, F1, Q3, Q5, S1, S4).

A runner belongs to a kind of case, not to a case: it builds the venue from the inputs. Samples that
print results without inputs name the rest of the sample here. What a rule of this venue excludes is
reported with the rule's number.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import gcd
from typing import Any

import pytest
from published import Excluded, Found, OffGrid, Way

from perpcore import Account, Admin, Block, Contract, Policies, Venue
from perpcore.amounts import from_units
from perpcore.calculator.numbers import sign_of
from perpcore.codes import EventKind, Reason
from perpcore.contracts import venue_terms
from perpcore.engine import Engine

UNIT = Decimal("0.00000001")
PERP = "PERP"
# The isolated position of the sample: what its lines are computed from.
SAMPLE_LEVERAGE = 10
SAMPLE_VALUE, SAMPLE_UPNL = Decimal("10.962"), Decimal("-0.003")
SAMPLE_CASH = Decimal("8.9632670590686")
# The cross sample: initial margin, the haircut in it, and what is available beside it.
CROSS_IM, CROSS_HAIRCUT, CROSS_AVAILABLE = (
    Decimal(text) for text in ("2874.36673202", "2388.054", "4721.05898580")
)
CROSS_MARKET_VALUE = Decimal("4776.10795996")
# Winners of the two tables of the article on socialised loss.
TABLE_PROFITS = [Decimal(n) for n in (50_000, 45_000, 30_000, 30_000, 15_000, 1_000)]


def contract(tick: Any = 1, lot: Any = "0.0001", **terms: Any) -> Contract:
    """A contract without fees, wide enough for any case."""
    wide = {
        "symbol": PERP, "tick_size": tick, "lot_size": lot, "max_price": 100_000,
        "min_quantity": lot, "max_quantity": 100_000, "max_position": 100_000,
        "liquidation_slice": 100_000, "inventory_limit": 200_000, "work_off_slice": lot,
        "taker_fee": 0, "maker_fee": 0, "liquidation_fee": 0, "funding_cap": "0.1",
    }
    return Contract(**{**wide, **terms})


def venue_with(terms: Contract, fund: Decimal | int = 0, **options: Any) -> Admin:
    _, admin = Venue.create(insurance_fund=fund, accounts=32, orders=64, **options)
    admin.add_contract(terms)
    return admin


def trade(buyer: Account, seller: Account, quantity: Any, price: Any, **taker: Any) -> None:
    """The seller's order rests, the buyer takes it."""
    seller.create_order(PERP, "SELL", quantity, price=price)
    assert buyer.create_order(PERP, "BUY", quantity, price=price, **taker).status == "FILLED"


def paid(events: Any, reason: Reason, account: int) -> Decimal:
    """USD that BALANCE events of a reason took from an account (negative: gave)."""
    chosen = events[
        (events["kind"] == EventKind.BALANCE)
        & (events["reason"] == reason)
        & (events["account"] == account)
    ]
    return -from_units(int(chosen["amount_units"].sum()))


def fund_change(events: Any, reason: Reason) -> Decimal:
    return -paid(events, reason, 0xFFFFFFFF)


# ---- a crash that leaves a loss (S4)


@dataclass
class Crash:
    """Winners long, losers short, one mark that moves half the price, a settlement."""

    shares: list[Decimal]
    uncovered: Decimal
    fund_left: Decimal


def crash(
    profits: Sequence[Decimal],
    losers: Sequence[tuple[Decimal, Decimal]],
    fund: Decimal,
    policies: Policies | None = None,
) -> Crash:
    """`losers`: what each loses, and the money it has. Profits and losses sum to the same."""
    assert sum(profits) == sum(loss for loss, _ in losers)
    # 200 -> 300 USD: a coin gains or loses 100, a lot a ten thousandth of a cent.
    coins = [profit / 100 for profit in profits]
    admin = venue_with(
        contract(lot="0.00000001", max_leverage=1_000), fund, policies=policies)
    admin.mark(PERP, 200)
    # Half the notional is margin enough at any leverage, and no winner is near a limit.
    winners = [
        admin.open_account(f"winner {n}", deposit={"USD": profit * 2 + 1})
        for n, profit in enumerate(profits)
    ]
    for n, (loss, has) in enumerate(losers):
        loser = admin.open_account(f"loser {n}", deposit={"USD": has})
        left = loss / 100
        for i, winner in enumerate(winners):
            part = min(left, coins[i])
            if part > 0:
                trade(winner, loser, part, 200)
                coins[i] -= part
                left -= part
    admin.mark(PERP, 300)
    events = admin.settle_session()
    assert admin.venue.audit().ok
    lost = events[events["kind"] == EventKind.LOSS_UNCOVERED]
    return Crash(
        [paid(events, Reason.R_SOCIALIZED_LOSS, winner.number) for winner in winners],
        from_units(int(lost["amount_units"].sum())),
        admin.venue.insurance_fund("USD"),
    )


def share_of(loss: Decimal, profit: Decimal, total: Decimal) -> Decimal:
    """What the winner of `profit` pays when all winners made `total` and `loss` is uncovered."""
    others = [total - profit] if total > profit else []
    result = crash([profit, *others], [(total, total - loss)], Decimal(0))
    assert (result.uncovered, result.fund_left) == (loss, 0)
    assert sum(result.shares) == loss
    return result.shares[0]


def numbers(case: dict[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(str(value)) for name, value in case["inputs"].items()}


def pro_rata(case: dict[str, Any]) -> Decimal:
    given = numbers(case)
    return share_of(given["loss"], given["profit"], given["total"])


def flat_crash(profits: list[Decimal], loss: Decimal) -> Crash:
    """A loss shared by policy `one_percent`: each winner pays one per cent."""
    total = sum(profits, Decimal(0))
    return crash(
        profits, [(total, total - loss)], Decimal(0), Policies(socialized_loss="one_percent"))


def flat(case: dict[str, Any]) -> Decimal:
    """What one winner of the table pays; the others' profits make the loss bearable."""
    given = numbers(case)
    return flat_crash([given["profit"], *TABLE_PROFITS], given["loss"]).shares[0]


def flat_surplus(case: dict[str, Any]) -> Decimal:
    """What the flat shares bring beyond the loss is the fund's."""
    return flat_crash(list(TABLE_PROFITS), numbers(case)["loss"]).fund_left


# ---- the isolated sample (C1, C2, I4)


def isolated_sample() -> Block:
    """The sample's block: value 10.962, uPnL -0.003, cash 8.96326705 at 10x."""
    return isolated_block(SAMPLE_VALUE, SAMPLE_UPNL, SAMPLE_CASH, SAMPLE_LEVERAGE)


def isolated_block(value: Decimal, upnl: Decimal, cash: Decimal, leverage: int) -> Block:
    """A block of that value, uPnL and cash on a product of at most 20x with 0.54 % fee reserve.

    The ledger keeps eight decimals of the cash, rounded down.
    """
    cash = cash.quantize(UNIT, rounding="ROUND_DOWN")
    entry = value - upnl
    # One price unit is 1e-8 USD; as many whole coins as both values allow at one price each.
    lots = gcd(int(value / UNIT), int(entry / UNIT))
    lots = next(n for n in range(1, lots + 1) if lots % n == 0 and entry / n < 20)
    admin = venue_with(
        contract(
            tick_size=UNIT, lot_size=1, max_price=21, min_quantity=1, max_quantity=10**6,
            max_position=10**6, liquidation_slice=1, inventory_limit=10**6, work_off_slice=1,
            taker_fee="0.0004", liquidation_fee="0.005", max_leverage=20,
        )
    )
    admin.mark(PERP, entry / lots)
    maker = admin.open_account("maker", deposit={"USD": 100_000})
    owner = admin.open_account("owner", deposit={"USD": 100_000})
    # The fee of the opening trade comes on top.
    fee = (entry * Decimal("0.0004")).quantize(UNIT, rounding="ROUND_UP")
    trade(
        owner, maker, lots, entry / lots, exec_inst="ISOLATED_MARGIN", leverage=leverage,
        isolated_margin_amount=cash + fee,
    )
    admin.mark(PERP, value / lots)
    block = owner.isolated(PERP)
    assert (block.margin, block.unrealized_pnl, block.position.notional) == (cash, upnl, value)
    return block


def block_initial_margin(case: dict[str, Any]) -> Decimal:
    given = numbers(case)
    at = int(given["lev"])
    return isolated_block(given["value"], SAMPLE_UPNL, SAMPLE_CASH, at).initial_margin


def product_initial_margin(case: dict[str, Any]) -> Decimal:
    """The initial margin at the largest leverage of the product."""
    value = numbers(case)["value"]
    return isolated_block(value, SAMPLE_UPNL, SAMPLE_CASH, 20).initial_margin


def block_maintenance(case: dict[str, Any]) -> Decimal:
    value = numbers(case)["pim"] * 20
    return isolated_block(value, SAMPLE_UPNL, SAMPLE_CASH, SAMPLE_LEVERAGE).maintenance_margin


def block_available(case: dict[str, Any]) -> Decimal:
    given = numbers(case)
    block = isolated_block(given["value"], given["upnl"], given["cash"], SAMPLE_LEVERAGE)
    return block.margin_balance - block.initial_margin


def block_effective_leverage(case: dict[str, Any]) -> Decimal:
    block = isolated_sample()
    return block.position.notional / block.margin_balance


def block_position_limit(case: dict[str, Any]) -> Decimal:
    block = isolated_sample()
    return block.margin_balance * block.leverage


# ---- the cross sample (A4, C1, C2)


def cross_sample() -> Account:
    """The user-balance sample: half of the collateral's market value is its haircut.

    The sample prints IM = position IM + haircut and available = margin balance - IM; so the
    position's IM and the margin balance follow from its lines. USDC stands for its CRO.
    """
    haircut, balance = CROSS_HAIRCUT, CROSS_AVAILABLE + CROSS_IM
    position_im = CROSS_IM - haircut
    # At 20x; a whole number of lots times a price in 1e-8 USD, at most 19 units below 20 x IM.
    notional = int(position_im * 20 / UNIT)
    lots = next(n for n in range(500, 10**6) if notional % n < 20)
    price = (notional // lots) * UNIT
    admin = venue_with(
        contract(
            tick_size=UNIT, lot_size=1, max_price=21, min_quantity=1, max_quantity=10**6,
            max_position=10**6, liquidation_slice=1, inventory_limit=10**6, work_off_slice=1,
            max_leverage=20,
        ),
        usdc_haircut="0.5",
    )
    admin.index("USDC", 1)
    admin.mark(PERP, price)
    maker = admin.open_account("maker", deposit={"USD": 100_000})
    owner = admin.open_account(
        "owner", deposit={"USDC": haircut * 2, "USD": balance - haircut * 2}
    )
    trade(owner, maker, lots, price)
    assert owner.margin_balance == balance
    return owner


def cross_haircut(case: dict[str, Any]) -> Decimal:
    """IM of USDC alone: its haircut. The sample's market value is 4,776.10795996."""
    admin = venue_with(contract(), usdc_haircut="0.5")
    admin.index("USDC", 1)
    value = CROSS_MARKET_VALUE
    return admin.open_account("owner", deposit={"USDC": value}).initial_margin


# ---- sessions and funding (S3, U4, F1)


def session_sample() -> dict[str, Decimal]:
    """The article's trader: 0.1 at 50,000 and 0.1 at 50,500, half closed at 50,700, marks of
    51,000 and 52,000, then the session's end."""
    admin = venue_with(contract())
    trader = admin.open_account("A", deposit={"USD": 50_000})
    maker = admin.open_account("maker", deposit={"USD": 50_000})
    admin.mark(PERP, 50_000)
    trade(trader, maker, "0.1", 50_000)
    trade(trader, maker, "0.1", 50_500)
    average = trader.positions[0].average_price
    before = trader.cash["USD"]
    trade(maker, trader, "0.1", 50_700)
    realized = trader.cash["USD"] - before
    admin.mark(PERP, 51_000)
    unrealized = trader.unrealized_pnl
    admin.mark(PERP, 52_000)
    before = trader.cash["USD"]
    admin.settle_session()
    settled = trader.cash["USD"] - before
    position = trader.positions[0]
    assert position.cost / position.quantity == 52_000
    assert position.average_price == average
    return {
        "average": average, "realized": realized, "unrealized": unrealized, "settled": settled
    }  # fmt: skip


def hourly_funding(case: dict[str, Any]) -> Decimal:
    """What a long of that value pays at a quarter of the four-hour rate."""
    value = Decimal(str(case["inputs"]["value"]))
    rate = Decimal(case["inputs"]["rate4h"].rstrip("%")) / 100 / 4
    admin = venue_with(contract())
    admin.mark(PERP, 1_000)
    holder = admin.open_account("long", deposit={"USD": value})
    trade(holder, admin.open_account("short", deposit={"USD": value}), value / 1_000, 1_000)
    events = admin.funding(PERP, rate)
    return paid(events, Reason.R_FUNDING, holder.number)


# ---- the fund at a liquidation (Q3, Q5)


def liquidation_fee(
    coins: Decimal, owed: Decimal, filled: Decimal, fill: Decimal, fee: Decimal
) -> Decimal:
    """Fee that the fund gets when a block is closed in the book.

    coins: the block's position, signed. owed: its cost less its cash, the value at which it has
    nothing left. filled, fill: what the book takes, and the price.
    """
    long, bankrupt = coins > 0, owed / coins
    if (fill < bankrupt) if long else (fill > bankrupt):
        raise Excluded("Q3: no fill beyond the bankruptcy price; the inventory takes the rest")
    if not bankrupt / 2 < fill < bankrupt * 2:
        raise Excluded("O4: no order can rest so far from the mark")
    if filled < abs(coins) and abs(fill - bankrupt) < fill * fee:
        raise Excluded("Q3: a block is closed whole, its cash is not split over its parts")
    cent = Decimal("0.01")
    entry = max(bankrupt * Decimal("1.1"), fill) if long else min(bankrupt * Decimal("0.9"), fill)
    entry = entry.quantize(cent)
    mark = (bankrupt * (Decimal("1.001") if long else Decimal("0.999"))).quantize(cent)
    admin = venue_with(contract(tick=cent, lot="0.000001", liquidation_fee=fee), fund=1_000_000)
    owner, maker = (admin.open_account(n, deposit={"USD": 1_000_000}) for n in ("owner", "maker"))
    side, other = ("BUY", "SELL") if long else ("SELL", "BUY")
    admin.mark(PERP, entry)
    maker.create_order(PERP, other, abs(coins), price=entry)
    owner.create_order(
        PERP, side, abs(coins), price=entry, exec_inst="ISOLATED_MARGIN", leverage=100,
        isolated_margin_amount=coins * entry - owed,
    )
    block = owner.isolated(PERP)
    assert block.position.cost - block.margin == owed
    maker.create_order(PERP, side, filled, price=fill)
    assert block.state == "OPEN"
    main = owner.cash["USD"]
    events = admin.mark(PERP, mark)
    assert (block.state, owner.cash["USD"]) == ("CLOSED", main)
    assert admin.venue.audit().ok
    return fund_change(events, Reason.R_LIQUIDATION_FEE)


def largest_fee(case: dict[str, Any]) -> Decimal:
    given = numbers(case)
    # The case prints values of 0.1 BTC.
    coins = Decimal("0.1")
    return liquidation_fee(coins, given["bankr"], coins, given["fill"] / coins, Decimal("0.005"))


def inverse_refused(case: dict[str, Any]) -> Decimal:
    terms = contract(symbol="BTCUSD-INVERSE").terms()
    terms["kind"] = 2
    with pytest.raises(ValueError, match="linear"):
        Engine(venue_terms(), 7).add_contract(terms, 7)
    raise Excluded("U2: perpetuals are linear, an inverse contract is refused by name")


#: By the beginning of the wording (`what`).
LINES: dict[str, Way] = {
    "pro-rata socialised loss": pro_rata,
    "1% flat variant": flat,
    "surplus to IF": flat_surplus,
    "total_initial_margin = value/leverage": block_initial_margin,
    "total_position_im = value*5%": product_initial_margin,
    "MM = 50% of position IM": block_maintenance,
    "available = cash+uPnL-fee_reserve": block_available,
    "effective leverage": block_effective_leverage,
    "position_limit": block_position_limit,
    "available = margin_balance-IM": lambda case: cross_sample().available,
    "IM = position IM + haircut": lambda case: cross_sample().initial_margin,
    "MM = IM/2": lambda case: cross_sample().maintenance_margin,
    "haircut = market value": cross_haircut,
    "VWAP entry": lambda case: session_sample()["average"],
    "realised on partial close": lambda case: session_sample()["realized"],
    "unrealised at mark": lambda case: session_sample()["unrealized"],
    "session settle": lambda case: session_sample()["settled"],
    "inverse": inverse_refused,
    "IF delta": largest_fee,
    "hourly funding": hourly_funding,
}


# ---- insurance_deleveraging.json


def fund_delta(case: dict[str, Any]) -> Decimal:
    """dYdX: the smaller of the largest fee and what the fill leaves; here the liquidation fee, at
    most what the block has (Q5). What is left beyond it goes to the fund too (Q6)."""
    given = case["inputs"]
    if len(given["positions"]) > 1:
        raise Excluded("I1: a block holds one position")
    (position,) = given["positions"]
    # A base quantum is 1e-8 BTC, a quote quantum 1e-6 USD.
    coins = Decimal(position["base_quantums"]) / 10**8
    owed = Decimal(-given["usdc_quantums"]) / 10**6
    filled = Decimal(given["fill_base_quantums"]) / 10**8
    fill = Decimal(str(case["fill_price_usd"]))
    fee = Decimal(str(given["max_liquidation_fee"]))
    return liquidation_fee(coins, owed, filled, fill, fee) * 10**6


def fund_absorbs(case: dict[str, Any]) -> bool:
    """A deficit that leaves the fund at 0 or above is no uncovered loss (S2, S4)."""
    balance, delta = (Decimal(case["inputs"][name]) / 10**6 for name in ("balance", "delta"))
    if balance < 0 or delta > 0:
        raise Excluded("S1: deltas above 0 are fees, and a fund opens with money")
    loss = max(Decimal(100), -2 * delta)
    result = crash([loss], [(loss, loss + delta)], balance)
    assert result.fund_left == max(0, balance + delta)
    return result.uncovered == 0


def shared_loss(case: dict[str, Any]) -> Found:
    """Vega rounds down to whole units and gives the last winner the rest, less than a unit for each
    winner; here a unit is 1e-8 USD and the largest remainders get the rest (S4)."""
    given = case["inputs"]
    wins = {name: Decimal(value) for name, value in given["winners"].items()}
    losers = [
        (Decimal(value), Decimal(given["available"][name]))
        for name, value in given["losers"].items()
    ]
    result = crash(list(wins.values()), losers, Decimal(given["insurance"]))
    assert sum(result.shares) == result.uncovered
    received = {n: wins[n] - s for n, s in zip(wins, result.shares, strict=True)}
    found = {
        "received": received,
        "uncovered": result.uncovered,
        "insurance_left": result.fund_left,
    }
    return Found(found, len(wins))


def settled_loss(case: dict[str, Any]) -> Found:
    """The same from trades to settlement, with a fund."""
    given = case["inputs"]
    wins = {name: Decimal(p) for name, p in given["mtm_profits_in_payout_order"].items()}
    losers = [
        (Decimal(loss), Decimal(given["available"][name]))
        for name, loss in given["mtm_losses"].items()
    ]
    result = crash(list(wins.values()), losers, Decimal(given["insurance"]))
    shares = dict(zip(wins, result.shares, strict=True))
    found = {
        "winner_haircut": {name: -share for name, share in shares.items()},
        "insurance_left": result.fund_left,
    }
    return Found(found, len(wins))


# ---- liquidation prices of blocks


def step_of(value: Any) -> Decimal:
    """The power of ten of the last digit that is written."""
    return Decimal(1).scaleb(min(0, int(dec(value).normalize().as_tuple().exponent)))


def dec(value: Any) -> Decimal:
    return Decimal(str(value))


def contract_for(i: dict[str, Any]) -> Contract:
    """A contract whose maintenance rate is the case's, on marks as fine as its values allow."""
    tick, lot, quantity, entry = step_of(i["entry"]), step_of(i["qty"]), dec(i["qty"]), i["entry"]
    marks = 1
    while (marks < 10**5 and tick * lot * 10**8 / (marks * 10) >= 1
           and 4 * dec(entry) / tick * marks * 10 < 1 << 31):  # fmt: skip
        marks *= 10
    rate = dec(i["mmr"]) or dec("0.0001")
    # rate = share / leverage, the highest leverage for which the share is below 1 and has 4 digits.
    leverage = next(n for n in range(min(1000, int(1 / rate)), 0, -1)
                    if rate * n < 1 and rate * n * 10**4 % 1 == 0)  # fmt: skip
    return Contract(
        symbol=PERP, base="XXX", tick_size=tick, lot_size=lot, marks_per_tick=marks,
        max_price=dec(entry) * 4, min_quantity=lot, max_quantity=quantity, max_position=quantity,
        liquidation_slice=quantity, inventory_limit=quantity, work_off_slice=quantity,
        taker_fee=dec(i["taker_fee"]), maker_fee=0, liquidation_fee=0,
        maintenance_share=rate * leverage, max_leverage=leverage,
    )  # fmt: skip


def open_block(i: dict[str, Any]) -> tuple[Admin, Block, Decimal]:
    """The block with the case's position and margin, and the size of its mark tick."""
    _, admin = Venue.create(insurance_fund=10**6)
    contract = contract_for(i)
    admin.add_contract(contract)
    admin.mark(PERP, dec(i["entry"]))
    value, margin = dec(i["qty"]) * dec(i["entry"]), dec(i["margin"]) + dec(i["maint_amount"])
    maker = admin.open_account("maker", deposit={"USD": 10 * value})
    owner = admin.open_account("owner", deposit={"USD": 10 * value})
    ours, theirs = ("BUY", "SELL") if sign_of(i["side"]) > 0 else ("SELL", "BUY")
    maker.create_order(PERP, theirs, quantity=dec(i["qty"]), price=dec(i["entry"]))
    owner.create_order(
        PERP, ours, quantity=dec(i["qty"]), price=dec(i["entry"]), exec_inst="ISOLATED_MARGIN",
        leverage=int(contract.max_leverage),
    )  # fmt: skip
    block = owner.isolated(PERP)
    missing = (margin - block.margin).quantize(Decimal("1e-8"))
    if missing:
        block.add_margin(missing)
    return admin, block, contract.tick_size / contract.marks_per_tick


def block_price(case: dict[str, Any]) -> Found:
    """The price that a block with the case's position and margin shows, at which it is liquidated
    and not one mark tick earlier. A cumulative amount acts as that much more margin."""
    i = {"maint_amount": 0, "taker_fee": 0, **case["inputs"]}
    admin, block, tick = open_block(i)
    if case["kind"] == "bankruptcy_price":
        # A price of 0 is no mark: a long that has paid its whole value in has none.
        return Found(block.bankruptcy_price or 0, tick)
    price = block.liquidation_price
    if price is None:
        raise OffGrid("no mark above 0 liquidates it")
    admin.mark(PERP, price + tick if sign_of(i["side"]) > 0 else price - tick)
    assert block.state == "OPEN"
    admin.mark(PERP, price)
    assert block.state == "CLOSED"
    return Found(price, tick)


#: Maintenance that follows the mark; the others are formulas of other venues.
BLOCK_MODELS = {
    "mm_on_mark", "mm_plus_taker_on_mark", "mm_on_mark_minus_cum", "entry*(1-s/leverage)"
}  # fmt: skip
KINDS: dict[str, Way] = {
    "insurance_fund_delta": fund_delta,
    "insurance_fund_can_absorb": fund_absorbs,
    "socialised_loss": shared_loss,
    "socialised_loss_end_to_end": settled_loss,
}


def way_of(case: dict[str, Any]) -> Way | None:
    """By kind, model or wording; None for what no venue is needed for, or this one cannot do."""
    if "what" in case:
        known = [text for text in LINES if case["what"].startswith(text)]
        return LINES[max(known, key=len)] if known else None
    if not case.get("maps_linear_isolated", True):
        return None
    if case["kind"] in ("liquidation_price", "bankruptcy_price"):
        return block_price if case["model"] in BLOCK_MODELS else None
    return KINDS.get(case["kind"])
