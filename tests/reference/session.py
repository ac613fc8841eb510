"""Chapters 6 and 8: funding (F1), settlement, uncovered loss and the profit lock (S2-S5)."""

from __future__ import annotations

from .codes import Code, Done, Ev, Reason
from .liquidation import remainder_to_fund, run_rounds
from .margin import upnl_of
from .posting import cover_negative_usd, post_cash, post_fund, post_inventory
from .records import Command
from .reserves import end_orders
from .state import Market, Refused, State, Unit
from .units import E9, ceil_div, floor_div, wrap64

# ---- funding (F1)


def set_funding(state: State, c: Command) -> None:
    """At once, or kept for the next settlement."""
    market = state.markets[c.contract]
    if abs(c.rate_e9) > market.terms.terms.funding_cap_e9:
        raise Refused(Code.INVALID_ARGUMENT)
    if not c.scope and has_positions(state, market):
        state.require_mark(c.contract)
    state.emit_venue(Ev.FUNDING_SET, c.contract, price_ticks=c.rate_e9, flags=c.scope)
    if c.scope:
        market.funding_pending = c.rate_e9
    else:
        pay_funding(state, market, c.rate_e9)


def has_positions(state: State, market: Market) -> bool:
    return market.inventory_qty != 0 or any(True for _ in state.holders(market.number))


def funding_payment(market: Market, qty: int, rate_e9: int) -> int:
    """What the holder's balance changes by: a payer pays the ceiling, a receiver gets the floor."""
    owed = qty * market.terms.v * market.mark * rate_e9
    return -ceil_div(owed, E9) if owed > 0 else floor_div(-owed, E9)


def pay_funding(state: State, market: Market, rate_e9: int) -> None:
    """Every holder, the inventory last; the dust goes to the fund."""
    dust = 0
    for unit in list(state.holders(market.number)):
        amount = funding_payment(market, unit.legs[market.number].qty, rate_e9)
        dust -= amount
        state.touch(unit)
        post_cash(state, unit, amount, Reason.FUNDING, market.number)
    amount = funding_payment(market, market.inventory_qty, rate_e9)
    post_inventory(state, amount, Reason.FUNDING, market.number)
    post_fund(state, dust - amount, Reason.ROUNDING, market.number)


# ---- settlement (S3)


def settle_session(state: State, c: Command) -> None:
    for market in state.markets:
        if has_positions(state, market):
            state.require_mark(market.number)
    for market in state.markets:
        if market.funding_pending is not None:
            pay_funding(state, market, market.funding_pending)
            market.funding_pending = None
    touch_positions(state)
    run_rounds(state)
    roll(state)
    post_fund_from_inventory(state)
    for unit in state.units_by_account():
        if not unit.is_block:
            cover_negative_usd(state, unit)
        if unit.cash < 0:
            remainder_to_fund(state, unit)
    uncovered = max(0, -state.fund[0])
    share_loss(state, uncovered)
    settle_profits(state, uncovered)
    state.emit_venue(Ev.SESSION_SETTLED, qty_lots=state.session, amount_units=uncovered,
                     balance_units=wrap64(state.fund[0]))
    state.session += 1
    # The last pass belongs to the new session: whom the first one met may be met again.
    state.done.clear()
    touch_positions(state)


def touch_positions(state: State) -> None:
    for unit in state.units.values():
        if unit.positions():
            state.touch(unit)


def roll(state: State) -> None:
    """Unrealized PnL is realized at the frozen mark; the opening cost stays (U4)."""
    for unit in state.units_by_account():
        for leg in unit.positions():
            market = state.markets[leg.contract]
            profit = upnl_of(market, leg.qty, leg.cost)
            leg.cost += profit
            post_cash(state, unit, profit, Reason.REALIZED_PNL, leg.contract)
    for market in state.markets:
        profit = upnl_of(market, market.inventory_qty, market.inventory_cost)
        market.inventory_cost += profit
        post_inventory(state, profit, Reason.REALIZED_PNL, market.number)


def post_fund_from_inventory(state: State) -> None:
    amount = state.inventory_cash
    post_inventory(state, -amount, Reason.INSURANCE_FUND)
    post_fund(state, amount, Reason.INSURANCE_FUND)


# ---- uncovered loss (S4)


def shares_of(state: State, loss: int) -> list[tuple[Unit, int]]:
    """Each winner's part of the loss, by session profit; largest remainders take the odd units."""
    winners = [u for u in state.units_by_account() if u.session_pnl > 0]
    profits = sum(u.session_pnl for u in winners)
    if loss >= profits:
        return [(u, u.session_pnl) for u in winners]
    shares = {u.key: floor_div(loss * u.session_pnl, profits) for u in winners}
    remainders = {u.key: loss * u.session_pnl - shares[u.key] * profits for u in winners}
    odd = loss - sum(shares.values())
    by_remainder = sorted(winners, key=lambda u: (-remainders[u.key], u.order))
    for unit in by_remainder[:odd]:
        shares[unit.key] += 1
    return [(u, shares[u.key]) for u in winners]


def share_loss(state: State, loss: int) -> None:
    """The shares sum to the loss exactly, unless all profits together are less: then it carries."""
    state.carried = 0
    if not loss:
        return
    shares = shares_of(state, loss)
    paid = sum(share for _, share in shares)
    state.carried = loss - paid
    state.emit_venue(Ev.LOSS_UNCOVERED, amount_units=loss, balance_units=state.carried)
    for unit, share in shares:
        pay_share(state, unit, share)
    post_fund(state, paid, Reason.SOCIALIZED_LOSS)


def pay_share(state: State, unit: Unit, share: int) -> None:
    """From the unit's cash; what a block lacks comes from the money of its orders."""
    at_once = min(share, max(0, unit.cash)) if unit.is_block else share
    post_cash(state, unit, -at_once, Reason.SOCIALIZED_LOSS, unit.contract)
    if share > at_once:
        end_orders(state, state.orders_of(unit), Done.SOCIALIZED)
        main = state.main(unit.account)
        post_cash(state, main, at_once - share, Reason.SOCIALIZED_LOSS, unit.contract)


# ---- the profit lock (S5)


def settle_profits(state: State, loss: int) -> None:
    """Profits are free when the fund is above 0, or when the loss was shared in full."""
    units = state.units_by_account()
    is_free = state.fund[0] > 0 or (loss > 0 and state.carried == 0)
    profits = sum(unit.lock for unit in units)
    for unit in units:
        unit.kept = 0 if is_free else unit.lock
        unit.session_pnl = 0
    state.emit_venue(Ev.PROFIT_UNLOCKED if is_free else Ev.PROFIT_LOCKED, amount_units=profits)
