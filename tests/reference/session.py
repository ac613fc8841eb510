"""Chapters 6 and 8: funding (F1), settlement, uncovered loss and the profit lock (S2-S5)."""

from __future__ import annotations

from .closing import remainder_to_fund
from .codes import Code, Done, Ev, Policy, Reason
from .liquidation import run_rounds
from .margin import upnl_of
from .posting import convert_usdc, cover_negative_usd, post_cash, post_fund, post_inventory
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
        cover_negative_usd(state, unit)
        if unit.cash < 0:
            remainder_to_fund(state, unit)
    uncovered = uncovered_loss(state)
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
    state.paid += max(0, -amount)
    post_inventory(state, -amount, Reason.INSURANCE_FUND)
    post_fund(state, amount, Reason.INSURANCE_FUND)


# ---- uncovered loss (S4)


def uncovered_loss(state: State) -> int:
    """What the fund lacks, or paid beyond its limit (S1): the larger of the two."""
    limit = state.venue.cover_limit_units
    if limit:
        state.excess += max(0, state.paid - limit)
    state.paid = 0
    return max(0, state.excess, -state.fund[0])


def winners(state: State) -> list[tuple[list[Unit], int]]:
    """Who gained in the session, as units or as traders, in the order of ties."""
    units = sorted(state.units.values(), key=lambda u: u.order)
    groups = [[unit] for unit in units]
    if state.venue.socialize_by == Policy.BY_TRADER:
        groups = [state.units_of(account) for account in sorted(state.accounts)]
    gains = [(group, sum(unit.session_pnl for unit in group)) for group in groups]
    return [(group, profit) for group, profit in gains if profit > 0]


def parts_of(state: State, loss: int, profits: list[int]) -> list[int]:
    """Each winner's part: a hundredth of its profit if that is enough, else pro rata."""
    total = sum(profits)
    hundredths = [ceil_div(profit, 100) for profit in profits]
    if state.venue.socialized_loss == Policy.ONE_PERCENT and sum(hundredths) >= loss:
        return hundredths
    if loss >= total:
        return profits
    parts = [floor_div(loss * profit, total) for profit in profits]
    by_remainder = sorted(range(len(profits)),
                          key=lambda i: (parts[i] * total - loss * profits[i], i))
    for i in by_remainder[: loss - sum(parts)]:
        parts[i] += 1
    return parts


def shares_of(state: State, loss: int) -> list[tuple[Unit, int]]:
    """Of each unit that pays, by account: main first, then its blocks, each from its own profit."""
    groups = winners(state)
    shares = []
    for (group, _), part in zip(groups, parts_of(state, loss, [p for _, p in groups]), strict=True):
        for unit in group:
            own = min(part, max(0, unit.session_pnl))
            shares.append((unit, own))
            part -= own
    return sorted(shares, key=lambda share: share[0].key)


def share_loss(state: State, loss: int) -> None:
    """What all profits together do not pay is carried to the next session."""
    state.carried = 0
    if not loss:
        return
    shares = shares_of(state, loss)
    paid = sum(share for _, share in shares)
    state.carried = max(0, loss - paid)
    state.excess = max(0, state.excess - paid)
    state.emit_venue(Ev.LOSS_UNCOVERED, amount_units=loss, balance_units=state.carried)
    for unit, share in shares:
        pay_share(state, unit, share)
    post_fund(state, paid, Reason.SOCIALIZED_LOSS)


def pay_share(state: State, unit: Unit, share: int) -> None:
    """From the unit's cash; what a block lacks comes from its USDC, then from its orders' money."""
    if unit.is_block:
        convert_usdc(state, unit, share - max(0, unit.cash))
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
    least = 0 if state.venue.unlock_requires == Policy.UNLOCK_NONNEGATIVE else 1
    is_free = state.carried == 0 and (state.whole_fund >= least or loss > 0)
    is_late = state.venue.unlock_at == Policy.UNLOCK_AT_NEXT
    amount = sum(unit.kept if is_free and is_late else unit.lock for unit in units)
    for unit in units:
        fresh = max(0, unit.session_pnl)
        unit.kept = (fresh if is_late else 0) if is_free else unit.lock
        unit.session_pnl = 0
    state.emit_venue(Ev.PROFIT_UNLOCKED if is_free else Ev.PROFIT_LOCKED, amount_units=amount)
