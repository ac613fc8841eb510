"""Why a unit is liquidated or not, and what events say, in lines that a person reads (SPEC X3)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore.amounts import from_units, plain
from perpcore.codes import BlockState, Code, Done, EventKind, FillFlag, Ledger, MarketState, Reason
from perpcore.foresight import trigger_line, unit_state
from perpcore.records import NO_ACCOUNT, NO_CONTRACT
from perpcore.results import side_word
from perpcore.shell import Core

_AMOUNTS = (EventKind.LOSS_UNCOVERED, EventKind.PROFIT_LOCKED, EventKind.PROFIT_UNLOCKED)


# Liquidation -----------------------------------------------------------------------------------


def explain_unit(core: Core, account: int, isolation_id: int) -> str:
    """The liquidation test of a unit in whole numbers: at the mark, and around the threshold.

    Money units (1e-8 USD) and mark ticks, exactly as the core compares them (SPEC Q1, Q2).
    """
    name = f"block {isolation_id}" if isolation_id else f"main of {core.label(account)}"
    unit = core.unit(account, isolation_id)
    if unit is None:
        return f"{name}: {BlockState.CLOSED.name}, nothing to liquidate"
    legs = [leg for leg in unit["legs"] if leg["qty_lots"]]
    if not legs:
        return f"{name}: no position, nothing to liquidate"
    cash = unit_state(unit, legs[0]["contract"]).cash_units
    lines = [f"{name}: liquidated iff cash + sum(Q v m - C) < sum(|Q| v m a) (SPEC Q1)"]
    lines.append(f"cash = {cash} money units{_of_usdc(unit, cash)}")
    marks = [core.engine.contract_state(leg["contract"])["mark_ticks"] for leg in legs]
    lines += [_terms(core, leg, mark) for leg, mark in zip(legs, marks, strict=True)]
    lines.append(_compared(core, cash, legs, marks, "mark"))
    threshold = legs[0]["liquidation_mark_ticks"]
    if len(legs) == 1 and threshold:
        away = 1 if legs[0]["qty_lots"] > 0 else -1
        lines.append(_compared(core, cash, legs, [threshold + away], "last safe"))
        lines.append(_compared(core, cash, legs, [threshold], "liquidated at"))
    return "\n".join(lines)


def _of_usdc(unit: dict[str, Any], cash: int) -> str:
    """How USDC enters the cash, where there is some: its value, less half of its haircut (A4)."""
    if not unit["usdc_units"]:
        return ""
    value = unit["collateral_units"] - unit["cash_units"]
    half = unit["collateral_units"] - cash
    return (
        f": {unit['cash_units']} of USD + {value}, the value of {unit['usdc_units']} of USDC, "
        f"- {half} of its haircut"
    )


def _terms(core: Core, leg: dict[str, Any], mark: int) -> str:
    contract = core.contracts[leg["contract"]]
    lots = abs(leg["qty_lots"])
    num, den, cum = trigger_line(contract.row, lots, lots * contract.grid.value_units * mark)
    bracket = f"; less {cum}, the cumulative amount of the notional's bracket" if cum else ""
    return (
        f"{contract.symbol}: Q = {leg['qty_lots']} lots, C = {leg['cost_units']}, "
        f"v = {contract.grid.value_units}, a = {num}/{den}{bracket}"
    )


def _compared(
    core: Core, cash: int, legs: list[dict[str, Any]], marks: list[int], what: str
) -> str:
    """Both sides of the inequality over one denominator."""
    equity, needed, common = cash, 0, 1
    for leg, mark in zip(legs, marks, strict=True):
        contract = core.contracts[leg["contract"]]
        notional = leg["qty_lots"] * contract.grid.value_units * mark
        num, den, cum = trigger_line(contract.row, abs(leg["qty_lots"]), abs(notional))
        equity += notional - leg["cost_units"]
        needed, common = needed * den + (abs(notional) * num - cum * den) * common, common * den
    below = equity * common < needed
    prices = ", ".join(
        plain(core.contracts[leg["contract"]].grid.mark(mark))
        for leg, mark in zip(legs, marks, strict=True)
    )
    return (
        f"{what} {prices}: {equity} x {common} {'<' if below else '>='} {needed}: "
        f"{'liquidated' if below else 'safe'}"
    )


# Events ----------------------------------------------------------------------------------------


def describe(core: Core, events: NDArray[np.void]) -> list[str]:
    """One line an event: number of its command, kind, whose, and its numbers in decimals."""
    return [f"#{int(event['seq'])} {_line(core, event)}" for event in events]


def _line(core: Core, event: np.void) -> str:
    kind = EventKind(int(event["kind"]))
    words = [kind.name, *_whose(core, event)]
    teller = _TELLERS.get(kind)
    if teller is not None:
        words.append(teller(core, event))
    elif kind in _AMOUNTS:
        words.append(_usd(event["amount_units"]))
    return " ".join(word for word in words if word)


def _whose(core: Core, event: np.void) -> list[str]:
    """Account, block and contract, those that are named."""
    words = []
    if event["account"] != NO_ACCOUNT:
        words.append(core.label(int(event["account"])))
    if event["isolation_id"]:
        words.append(f"block {int(event['isolation_id'])}")
    if event["contract"] != NO_CONTRACT and int(event["contract"]) < len(core.contracts):
        words.append(core.contracts[int(event["contract"])].symbol)
    return words


def _usd(units: Any) -> str:
    return f"{plain(from_units(int(units)))} USD"


def _size(core: Core, event: np.void) -> str:
    return plain(core.contracts[int(event["contract"])].grid.quantity(int(event["qty_lots"])))


def _price(core: Core, event: np.void) -> str:
    return plain(core.contracts[int(event["contract"])].grid.price(int(event["price_ticks"])))


def _mark(core: Core, event: np.void) -> str:
    return plain(core.contracts[int(event["contract"])].grid.mark(int(event["price_ticks"])))


def _order(core: Core, event: np.void) -> str:
    order = f"order {int(event['order_id'])}: {_size(core, event)} at {_price(core, event)}"
    if event["balance_units"]:  # amended while it waits
        grid = core.contracts[int(event["contract"])].grid
        return f"{order}, waits for {plain(grid.price(int(event['balance_units'])))}"
    return f"{order}, reserve {_usd(event['amount_units'])}"


def _fill(core: Core, event: np.void) -> str:
    flags = int(event["flags"])
    roles = [flag.name.removeprefix("FILL_") for flag in FillFlag if flag and flags & flag]
    order = f"order {int(event['order_id'])}: " if event["order_id"] else ""
    role = " ".join(roles).lower() or "maker"
    side = side_word(flags >> 4)
    return f"{order}{side} {_size(core, event)} at {_price(core, event)} ({role})"


def _balance(core: Core, event: np.void) -> str:
    ledger = Ledger(int(event["ledger"]))
    money = "USDC" if ledger.name.endswith("USDC") else "USD"
    change, balance = (from_units(int(event[f])) for f in ("amount_units", "balance_units"))
    reason = Reason(int(event["reason"])).name.removeprefix("R_")
    return f"{ledger.name} {plain(change)} {money} {reason}, now {plain(balance)}"


def _index(core: Core, event: np.void) -> str:
    """USDC's, or a contract's on its mark grid."""
    if event["contract"] != NO_CONTRACT:
        return _mark(core, event)
    return f"{plain(from_units(int(event['price_ticks']) * 100))} USD"


def _liquidated(core: Core, event: np.void) -> str:
    gain = int(event["amount_units"])
    fund = f"the fund {'pays' if gain < 0 else 'gets'} {_usd(abs(gain))}"
    if event["contract"] == NO_CONTRACT:
        return fund
    return f"{_size(core, event)} at mark {_mark(core, event)}, {fund}"


_TELLERS: dict[EventKind, Any] = {
    EventKind.ACCEPTED: _order,
    EventKind.AMENDED: _order,
    EventKind.REJECT: lambda core, e: f"{int(e['code'])} {Code(int(e['code'])).name}",
    EventKind.FILL: _fill,
    EventKind.CANCELLED: lambda core, e: (
        f"order {int(e['order_id'])}: {_size(core, e)} left at {_price(core, e)}, "
        f"{Done(int(e['reason'])).name.removeprefix('DONE_')}"
    ),
    EventKind.BALANCE: _balance,
    EventKind.LIQUIDATED: _liquidated,
    EventKind.TAKEN_OVER: lambda core, e: (
        f"{_size(core, e)} at a cost of {_usd(e['amount_units'])}, mark {_mark(core, e)}"
    ),
    EventKind.DELEVERAGED: lambda core, e: (
        f"{_size(core, e)} at {_mark(core, e)}, notional {_usd(e['amount_units'])}"
    ),
    EventKind.MARKED: _mark,
    EventKind.INDEXED: _index,
    EventKind.TRIGGERED: lambda core, e: f"order {int(e['order_id'])}: reached {_price(core, e)}",
    EventKind.CANCEL_AFTER_SET: lambda core, e: f"at {int(e['amount_units'])} ns",
    EventKind.FUNDING_SET: lambda core, e: f"rate {int(e['price_ticks'])}e-9",
    EventKind.LEVERAGE_SET: lambda core, e: f"{int(e['qty_lots'])}x",
    EventKind.SESSION_SETTLED: lambda core, e: (
        f"session {int(e['qty_lots'])}, uncovered loss {_usd(e['amount_units'])}, "
        f"fund {_usd(e['balance_units'])}"
    ),
    EventKind.MARKET_STATE_SET: lambda core, e: (
        MarketState(int(e["qty_lots"])).name.removeprefix("MARKET_")
    ),
}
