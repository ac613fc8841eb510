"""Chapter 9: the whole state as plain data, in the same keys as the engine's dump (X3)."""

from __future__ import annotations

from typing import Any

from .book import depth
from .codes import Policy, Side
from .state import Leg, Market, Order, State, Unit


def dump(state: State) -> dict[str, Any]:
    units = list(state.units.values())
    cover = {"paid_units": state.paid, "excess_units": state.excess}
    return {
        **(cover if state.venue.cover_limit_units else {}),
        "time_ns": state.time_ns,
        "seq": state.seq,
        "session": state.session,
        "next_isolation_id": state.next_isolation_id,
        "index_e6": state.index,
        "fund_units": list(state.fund),
        "conversion_units": list(state.conversion),
        "fees_units": state.fees,
        "carried_units": state.carried,
        "inventory_cash_units": state.inventory_cash,
        "deposits_units": list(state.deposits),
        "withdrawals_units": list(state.withdrawals),
        "contracts": [contract_row(state, market) for market in state.markets],
        "accounts": [account_row(state, account) for account in sorted(state.accounts)],
        "blocks": [block_row(state, unit) for unit in sorted(units, key=lambda u: u.isolation_id)
                   if unit.is_block],
        "orders": [order_row(state, state.orders[i]) for i in sorted(state.orders)],
    }


def contract_row(state: State, market: Market) -> dict[str, Any]:
    sub_fund = {"sub_fund_units": market.sub_fund}
    return {
        **(sub_fund if state.venue.fund_by_contract == Policy.FUND_BY_CONTRACT else {}),
        "mark_ticks": market.mark,
        "mark_time_ns": market.mark_time_ns,
        "last_price_ticks": market.last_price,
        "index_ticks": market.index,
        "state": market.state,
        "funding_rate_e9": market.funding_pending,
        "inventory_lots": market.inventory_qty,
        "inventory_cost_units": market.inventory_cost,
        "buys": [i for _, queue in depth(market, Side.BUY) for i in queue],
        "sells": [i for _, queue in depth(market, Side.SELL) for i in queue],
    }


def leg_row(leg: Leg) -> dict[str, int]:
    return {
        "contract": leg.contract,
        "qty_lots": leg.qty,
        "cost_units": leg.cost,
        "opening_cost_units": leg.cost0,
        "leverage": leg.leverage,
    }


def account_row(state: State, account: int) -> dict[str, Any]:
    main = state.main(account)
    legs = [main.legs[contract] for contract in sorted(main.legs)]
    return {
        "account": account,
        "profile": state.accounts[account].profile,
        "cash_units": main.cash,
        "usdc_units": state.accounts[account].usdc,
        "session_pnl_units": main.session_pnl,
        "kept_units": main.kept,
        "margin_call": main.margin_call,
        "deficit_units": state.accounts[account].deficit,
        "cancel_after_ns": state.accounts[account].cancel_after_ns,
        "legs": [leg_row(leg) for leg in legs if leg.qty or leg.leverage],
    }


def block_row(state: State, block: Unit) -> dict[str, int]:
    leg = block.legs[block.contract]
    in_kind = {"usdc_units": block.usdc, "order_usdc_units": block.order_usdc}
    return {
        **(in_kind if state.venue.block_collateral == Policy.IN_KIND else {}),
        "account": block.account,
        "isolation_id": block.isolation_id,
        "contract": block.contract,
        "state": block.state,
        "leverage": block.leverage,
        "cash_units": block.cash,
        "order_cash_units": block.order_cash,
        "session_pnl_units": block.session_pnl,
        "kept_units": block.kept,
        "qty_lots": leg.qty,
        "cost_units": leg.cost,
        "opening_cost_units": leg.cost0,
    }


def order_row(state: State, order: Order) -> dict[str, int]:
    in_kind = {"usdc": order.usdc}
    return {
        **(in_kind if state.venue.block_collateral == Policy.IN_KIND else {}),
        "order_id": order.order_id,
        "account": order.account,
        "isolation_id": order.isolation_id,
        "contract": order.contract,
        "side": order.side,
        "price": order.price,
        "left": order.left,
        "filled": order.filled,
        "client_order_id": order.client_order_id,
        "time_in_force": order.time_in_force,
        "exec_flags": order.exec_flags,
        "stp": order.stp,
        "expiry_ns": order.expiry_ns,
        "reserve": order.reserve,
        "extra": order.extra,
        "reserved": order.reserved,
        "leverage": order.leverage,
        "explicit": order.explicit,
        "trigger_type": order.trigger_type,
        "trigger_price": order.trigger_price,
        "trigger_by": order.trigger_by,
        "linked": order.link,
    }
