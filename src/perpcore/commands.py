"""Builders of COMMAND records: one function a kind, scalars or arrays, every field named.

Each function returns a (1,) COMMAND array, or an (n,) array when any argument is an (n,) array;
scalars are repeated. Numbers are the core's: ticks, lots, money units (1e-8), ns. Join batches
with `concat` and hand them to `Venue.apply` (or `Admin.apply` for what only administration may).

    batch = commands.limit(
        account=accounts, contract=0, side="BUY", price_ticks=prices, qty_lots=lots,
        timestamp_ns=now,
    )
    events = venue.apply(commands.concat(batch, commands.cancel_all(account=7, timestamp_ns=now)))

A builder checks that every value fits its field: TypeError for floats and other types, ValueError
for what is out of the field's range or shape. What the venue thinks of it, the venue says: a REJECT
event with the code. `caller_tag` is kept with the command and read by no rule.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from perpcore.codes import (
    Currency,
    ExecFlag,
    Kind,
    MarketState,
    OrderType,
    Scope,
    SelfTrade,
    Side,
    TimeInForce,
)
from perpcore.records import COMMAND, NO_CONTRACT

#: (1,) or (n,) COMMAND.
Commands = NDArray[np.void]
#: A whole number or an (n,) array of whole numbers.
Ints = ArrayLike

SIDES = {"BUY": Side.BUY, "SELL": Side.SELL}
CURRENCIES = {"USD": Currency.USD, "USDC": Currency.USDC}
TYPES = {"LIMIT": OrderType.LIMIT, "MARKET": OrderType.MARKET}
CONDITIONALS = {
    "STOP_LOSS": OrderType.STOP_LOSS,
    "STOP_LIMIT": OrderType.STOP_LIMIT,
    "TAKE_PROFIT": OrderType.TAKE_PROFIT,
    "TAKE_PROFIT_LIMIT": OrderType.TAKE_PROFIT_LIMIT,
}
REFERENCES = {
    "MARK_PRICE": Scope.TRIGGER_MARK,
    "INDEX_PRICE": Scope.TRIGGER_INDEX,
    "LAST_PRICE": Scope.TRIGGER_LAST,
}
TIMES_IN_FORCE = {
    "GOOD_TILL_CANCEL": TimeInForce.GTC,
    "IMMEDIATE_OR_CANCEL": TimeInForce.IOC,
    "FILL_OR_KILL": TimeInForce.FOK,
    "GOOD_TILL_DATE": TimeInForce.GTD,
    "GTC": TimeInForce.GTC,
    "IOC": TimeInForce.IOC,
    "FOK": TimeInForce.FOK,
    "GTD": TimeInForce.GTD,
}
EXEC_INSTS = {
    "POST_ONLY": ExecFlag.POST_ONLY,
    "SMART_POST_ONLY": ExecFlag.SMART_POST_ONLY,
    "REDUCE_ONLY": ExecFlag.REDUCE_ONLY,
    "ISOLATED_MARGIN": ExecFlag.ISOLATED_MARGIN,
}
SELF_TRADES = {
    "M": SelfTrade.STP_MAKER,
    "T": SelfTrade.STP_TAKER,
    "B": SelfTrade.STP_BOTH,
    "MAKER": SelfTrade.STP_MAKER,
    "TAKER": SelfTrade.STP_TAKER,
    "BOTH": SelfTrade.STP_BOTH,
}
SCOPES = {
    "ALL": Scope.SCOPE_ALL,
    "CROSS": Scope.SCOPE_CROSS,
    "ISOLATED": Scope.SCOPE_ISOLATED,
}
MARKET_STATES = {
    "OPEN": MarketState.MARKET_OPEN,
    "HALTED": MarketState.MARKET_HALTED,
    "REDUCE_ONLY": MarketState.MARKET_REDUCE_ONLY,
}

_LIMITS = {
    name: (np.iinfo(COMMAND.fields[name][0]).min, np.iinfo(COMMAND.fields[name][0]).max)
    for name in COMMAND.names or ()
    if COMMAND.fields is not None
}


def word(value: Any, table: dict[str, Any], what: str) -> int:
    """The number of one of the venue's words; an int stands for itself.

    Raises ValueError that lists the words when `value` is none of them.
    """
    if isinstance(value, str):
        number = table.get(value.upper())
        if number is None:
            raise ValueError(f"{what}: {value!r} is not one of {', '.join(table)}")
        return int(number)
    return int(value)


def _words(value: Any, table: dict[str, Any], what: str) -> Any:
    """`word` for one value or an (n,) array of values."""
    if isinstance(value, str) or np.ndim(value) == 0:
        return word(value, table, what)
    values = np.asarray(value)
    if values.dtype.kind in "iu":
        return values
    return np.array([word(str(item), table, what) for item in values], np.int64)


def exec_flags(exec_inst: str | int | Iterable[str] | None) -> int:
    """Flags of `exec_inst`: None, one word of `EXEC_INSTS`, or several."""
    if exec_inst is None:
        return 0
    if isinstance(exec_inst, int):
        return exec_inst
    words = [exec_inst] if isinstance(exec_inst, str) else exec_inst
    flags = 0
    for name in words:
        flags |= word(name, EXEC_INSTS, "exec_inst")
    return flags


def _column(name: str, value: Any) -> Any:
    """The value as whole numbers that fit the field."""
    column = np.asarray(value)
    if column.dtype.kind not in "iub":
        # Python ints beyond int64 come as objects or floats; only true ints are taken.
        if isinstance(value, int):
            column = np.asarray(value, object)
        else:
            kind = f"{column.dtype} {value!r}" if column.ndim else f"{value!r}"
            raise TypeError(f"{name}: whole numbers are needed, not {kind}")
    if column.ndim > 1:
        raise ValueError(f"{name}: one dimension is needed, not the shape {column.shape}")
    low, high = _LIMITS[name]
    if column.size and not (low <= int(column.min()) and int(column.max()) <= high):
        values = f"{column.min()} to {column.max()}" if column.ndim else f"{column}"
        raise ValueError(f"{name}: {values} is not within {low} to {high}")
    return column


def build(kind: Ints, *, timestamp_ns: Ints, **values: Any) -> Commands:
    """(n,) COMMAND of one kind from named fields (ints or (n,) arrays); the others are 0.

    The functions below are the readable way; this one is for kinds of your own tables.
    Raises ValueError when arrays have different lengths or a value does not fit its field.
    """
    values |= {"kind": kind, "timestamp_ns": timestamp_ns}
    if all(isinstance(value, int) for value in values.values()):
        return _one(values)
    columns = {name: _column(name, value) for name, value in values.items()}
    lengths = {len(column) for column in columns.values() if column.ndim}
    if len(lengths) > 1:
        shown = {name: len(column) for name, column in columns.items() if column.ndim}
        raise ValueError(f"arrays of one length are needed, not {shown}")
    block = np.zeros(lengths.pop() if lengths else 1, COMMAND)
    for name, column in columns.items():
        block[name] = column
    return block


def _one(values: dict[str, int]) -> Commands:
    """(1,) COMMAND of Python's own whole numbers, written in one go."""
    row = dict.fromkeys(_LIMITS, 0)
    for name, value in values.items():
        low, high = _LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f"{name}: {value} is not within {low} to {high}")
        row[name] = value
    block = np.zeros(1, COMMAND)
    block[0] = tuple(row.values())
    return block


def record(fields: tuple[int, ...]) -> Commands:
    """(1,) COMMAND of numbers in the order of its fields; those left out at the end are 0."""
    values = dict(zip(COMMAND.names or (), fields, strict=False))
    return build(values.pop("kind"), timestamp_ns=values.pop("timestamp_ns"), **values)


def concat(*blocks: Commands) -> Commands:
    """The commands of all blocks in order, as one (n,) COMMAND array."""
    if not blocks:
        return np.zeros(0, COMMAND)
    # As plain bytes: numpy compares every field's type when it joins structured arrays.
    whole = f"V{COMMAND.itemsize}"
    return np.concatenate([block.view(whole) for block in blocks]).view(COMMAND)


# Orders ----------------------------------------------------------------------------------------


def limit(
    *,
    account: Ints,
    contract: Ints,
    side: Any,
    price_ticks: Ints,
    qty_lots: Ints,
    timestamp_ns: Ints,
    time_in_force: Any = "GTC",
    exec_inst: str | int | Iterable[str] | None = None,
    client_order_id: Ints = 0,
    isolation_id: Ints = 0,
    isolated_margin_units: Ints = 0,
    leverage: Ints = 0,
    expiry_ns: Ints = 0,
    stp: Any = 0,
    linked_order_id: Ints = 0,
    caller_tag: Ints = 0,
) -> Commands:
    """NEW_ORDER, LIMIT: rests at `price_ticks`, or takes up to it (SPEC O1).

    side: "BUY" | "SELL". time_in_force: "GTC" | "IOC" | "FOK" | "GTD" (then `expiry_ns` > now).
    exec_inst: POST_ONLY, SMART_POST_ONLY, REDUCE_ONLY, ISOLATED_MARGIN. With ISOLATED_MARGIN:
    `isolation_id` 0 makes a new block and `leverage` is its leverage; `isolated_margin_units` is an
    explicit margin. linked_order_id: a live order of the same unit and contract; when one of the
    two is filled in full or ends, the other ends too.
    """
    return build(
        Kind.NEW_ORDER, timestamp_ns=timestamp_ns, account=account, contract=contract,
        side=_words(side, SIDES, "side"), order_type=int(OrderType.LIMIT),
        price_ticks=price_ticks, qty_lots=qty_lots,
        time_in_force=_words(time_in_force, TIMES_IN_FORCE, "time_in_force"),
        exec_flags=exec_flags(exec_inst), client_order_id=client_order_id,
        isolation_id=isolation_id, isolated_margin_units=isolated_margin_units, leverage=leverage,
        expiry_ns=expiry_ns, stp=_words(stp, SELF_TRADES, "stp"), order_id=linked_order_id,
        caller_tag=caller_tag,
    )


def market(
    *,
    account: Ints,
    contract: Ints,
    side: Any,
    qty_lots: Ints,
    timestamp_ns: Ints,
    exec_inst: str | int | Iterable[str] | None = None,
    client_order_id: Ints = 0,
    isolation_id: Ints = 0,
    isolated_margin_units: Ints = 0,
    leverage: Ints = 0,
    stp: Any = 0,
    caller_tag: Ints = 0,
) -> Commands:
    """NEW_ORDER, MARKET: takes at once, up to the edge of the aggressive band (SPEC O1, O4)."""
    return build(
        Kind.NEW_ORDER, timestamp_ns=timestamp_ns, account=account, contract=contract,
        side=_words(side, SIDES, "side"), order_type=int(OrderType.MARKET), qty_lots=qty_lots,
        exec_flags=exec_flags(exec_inst), client_order_id=client_order_id,
        isolation_id=isolation_id, isolated_margin_units=isolated_margin_units, leverage=leverage,
        stp=_words(stp, SELF_TRADES, "stp"), caller_tag=caller_tag,
    )


def conditional(
    *,
    account: Ints,
    contract: Ints,
    side: Any,
    type: Any,
    trigger_price_ticks: Ints,
    qty_lots: Ints,
    timestamp_ns: Ints,
    reference: Any = "MARK_PRICE",
    price_ticks: Ints = 0,
    time_in_force: Any = 0,
    exec_inst: str | int | Iterable[str] | None = None,
    client_order_id: Ints = 0,
    isolation_id: Ints = 0,
    leverage: Ints = 0,
    expiry_ns: Ints = 0,
    stp: Any = 0,
    linked_order_id: Ints = 0,
    caller_tag: Ints = 0,
) -> Commands:
    """NEW_ORDER that waits until the reference price reaches its trigger (SPEC O1).

    type: "STOP_LOSS" | "TAKE_PROFIT" become MARKET; "STOP_LIMIT" | "TAKE_PROFIT_LIMIT" become LIMIT
    at `price_ticks`. reference: "MARK_PRICE" | "INDEX_PRICE" | "LAST_PRICE". A stop buys on a rise
    and sells on a fall, a take-profit the other way round. It holds no reserve until it fires.
    time_in_force, exec_inst, isolation_id, leverage, linked_order_id: as of `limit`.
    """
    return build(
        Kind.NEW_ORDER, timestamp_ns=timestamp_ns, account=account, contract=contract,
        side=_words(side, SIDES, "side"), order_type=_words(type, CONDITIONALS, "type"),
        trigger_price_ticks=trigger_price_ticks,
        scope=_words(reference, REFERENCES, "reference"), price_ticks=price_ticks,
        qty_lots=qty_lots, time_in_force=_words(time_in_force, TIMES_IN_FORCE, "time_in_force"),
        exec_flags=exec_flags(exec_inst), client_order_id=client_order_id,
        isolation_id=isolation_id, leverage=leverage, expiry_ns=expiry_ns,
        stp=_words(stp, SELF_TRADES, "stp"), order_id=linked_order_id, caller_tag=caller_tag,
    )


def cancel(
    *, account: Ints, timestamp_ns: Ints, order_id: Ints = 0, client_order_id: Ints = 0,
    caller_tag: Ints = 0,
) -> Commands:
    """CANCEL one order by `order_id`, or by `client_order_id` where that is 0 (SPEC O2)."""
    return build(
        Kind.CANCEL, timestamp_ns=timestamp_ns, account=account, order_id=order_id,
        client_order_id=client_order_id, caller_tag=caller_tag,
    )


def amend(
    *, account: Ints, timestamp_ns: Ints, order_id: Ints = 0, client_order_id: Ints = 0,
    price_ticks: Ints = 0, qty_lots: Ints = 0, trigger_price_ticks: Ints = 0, caller_tag: Ints = 0,
) -> Commands:
    """AMEND an order: new price and new TOTAL lots, filled ones included; 0 keeps (SPEC O2).

    trigger_price_ticks: of an order that still waits for its trigger.
    """
    return build(
        Kind.AMEND, timestamp_ns=timestamp_ns, account=account, order_id=order_id,
        client_order_id=client_order_id, price_ticks=price_ticks, qty_lots=qty_lots,
        trigger_price_ticks=trigger_price_ticks, caller_tag=caller_tag,
    )


def cancel_all(
    *, account: Ints, timestamp_ns: Ints, contract: Ints = NO_CONTRACT, scope: Any = "ALL",
    caller_tag: Ints = 0,
) -> Commands:
    """CANCEL_ALL orders of an account; `contract` 65535: on every one.

    scope: "ALL" | "CROSS" | "ISOLATED".
    """
    return build(
        Kind.CANCEL_ALL, timestamp_ns=timestamp_ns, account=account, contract=contract,
        scope=_words(scope, SCOPES, "scope"), caller_tag=caller_tag,
    )


def cancel_all_after(
    *, account: Ints, expiry_ns: Ints, timestamp_ns: Ints, caller_tag: Ints = 0,
) -> Commands:
    """CANCEL_ALL_AFTER: all orders of the account end at `expiry_ns` unless it is set anew (O6).

    0 disarms it.
    """
    return build(
        Kind.CANCEL_ALL_AFTER, timestamp_ns=timestamp_ns, account=account, expiry_ns=expiry_ns,
        caller_tag=caller_tag,
    )


def close_position(
    *,
    account: Ints,
    contract: Ints,
    timestamp_ns: Ints,
    isolation_id: Ints = 0,
    price_ticks: Ints = 0,
    qty_lots: Ints = 0,
    release_margin: bool = False,
    caller_tag: Ints = 0,
) -> Commands:
    """CLOSE_POSITION: reduce-only order of the opposite side, MARKET, or LIMIT with `price_ticks`.

    qty_lots 0: the whole position. isolation_id 0: the cross position. `release_margin` moves the
    closed part's share of the block's cash to main too (SPEC I10).
    """
    types: Ints
    if isinstance(price_ticks, int):
        types = int(OrderType.LIMIT if price_ticks > 0 else OrderType.MARKET)
    else:
        types = np.where(np.asarray(price_ticks) > 0, OrderType.LIMIT, OrderType.MARKET)
    return build(
        Kind.CLOSE_POSITION, timestamp_ns=timestamp_ns, account=account, contract=contract,
        isolation_id=isolation_id, price_ticks=price_ticks, qty_lots=qty_lots, order_type=types,
        exec_flags=int(ExecFlag.RELEASE_MARGIN) if release_margin else 0, caller_tag=caller_tag,
    )


# Leverage and money ----------------------------------------------------------------------------


def set_leverage(
    *, account: Ints, contract: Ints, leverage: Ints, timestamp_ns: Ints, isolation_id: Ints = 0,
    auto_top_up: bool = False, caller_tag: Ints = 0,
) -> Commands:
    """SET_LEVERAGE of a block, or of main on the contract (`isolation_id` 0) (SPEC C6, I6, I7).

    `auto_top_up`: what the lower leverage needs comes from main, exactly (blocks only).
    """
    return build(
        Kind.SET_LEVERAGE, timestamp_ns=timestamp_ns, account=account, contract=contract,
        leverage=leverage, isolation_id=isolation_id,
        exec_flags=int(ExecFlag.AUTO_TOP_UP) if auto_top_up else 0, caller_tag=caller_tag,
    )


def add_margin(
    *, account: Ints, isolation_id: Ints, amount_units: Ints, timestamp_ns: Ints,
    currency: Any = "USD", caller_tag: Ints = 0,
) -> Commands:
    """ADD_MARGIN: money units from main's transferable money into a block (SPEC I8).

    currency: "USD", or "USDC" where it stays USDC in a block (policy `block_collateral`).
    """
    return build(
        Kind.ADD_MARGIN, timestamp_ns=timestamp_ns, account=account, isolation_id=isolation_id,
        amount_units=amount_units, currency=_words(currency, CURRENCIES, "currency"),
        caller_tag=caller_tag,
    )


def remove_margin(
    *, account: Ints, isolation_id: Ints, amount_units: Ints, timestamp_ns: Ints,
    currency: Any = "USD", caller_tag: Ints = 0,
) -> Commands:
    """REMOVE_MARGIN: money units from a block to main, at most what is removable (SPEC I9).

    currency: as of `add_margin`.
    """
    return build(
        Kind.REMOVE_MARGIN, timestamp_ns=timestamp_ns, account=account, isolation_id=isolation_id,
        amount_units=amount_units, currency=_words(currency, CURRENCIES, "currency"),
        caller_tag=caller_tag,
    )


def open_account(*, account: Ints, timestamp_ns: Ints, caller_tag: Ints = 0) -> Commands:
    """OPEN_ACCOUNT: `account` must be the next number; it holds money but may not trade yet."""
    return build(
        Kind.OPEN_ACCOUNT, timestamp_ns=timestamp_ns, account=account, caller_tag=caller_tag
    )


def deposit(
    *, account: Ints, amount_units: Ints, timestamp_ns: Ints, currency: Any = "USD",
    caller_tag: Ints = 0,
) -> Commands:
    """DEPOSIT money units of USD or USDC into a main account."""
    return build(
        Kind.DEPOSIT, timestamp_ns=timestamp_ns, account=account, amount_units=amount_units,
        currency=_words(currency, CURRENCIES, "currency"), caller_tag=caller_tag,
    )


def withdraw(
    *, account: Ints, amount_units: Ints, timestamp_ns: Ints, currency: Any = "USD",
    caller_tag: Ints = 0,
) -> Commands:
    """WITHDRAW money units from a main account, at most what is withdrawable (SPEC C5)."""
    return build(
        Kind.WITHDRAW, timestamp_ns=timestamp_ns, account=account, amount_units=amount_units,
        currency=_words(currency, CURRENCIES, "currency"), caller_tag=caller_tag,
    )


# Administration: refused with 40101 without the capability ------------------------------------


def mark(
    *, contract: Ints, mark_ticks: Ints, timestamp_ns: Ints, caller_tag: Ints = 0,
) -> Commands:
    """MARK price of a contract on its mark grid; liquidates what it crosses (SPEC Q1, Q2)."""
    return build(
        Kind.MARK, timestamp_ns=timestamp_ns, contract=contract, mark_ticks=mark_ticks,
        caller_tag=caller_tag,
    )


def index(*, index_e6: Ints, timestamp_ns: Ints, caller_tag: Ints = 0) -> Commands:
    """INDEX: price of one USDC in 1e-6 USD (SPEC A4)."""
    return build(
        Kind.INDEX, timestamp_ns=timestamp_ns, mark_ticks=index_e6,
        currency=int(Currency.USDC), caller_tag=caller_tag,
    )


def contract_index(
    *, contract: Ints, mark_ticks: Ints, timestamp_ns: Ints, caller_tag: Ints = 0,
) -> Commands:
    """INDEX price of a contract on its mark grid: what INDEX_PRICE triggers wait for (SPEC O1)."""
    return build(
        Kind.INDEX, timestamp_ns=timestamp_ns, contract=contract, mark_ticks=mark_ticks,
        caller_tag=caller_tag,
    )


def funding(
    *, contract: Ints, rate_e9: Ints, timestamp_ns: Ints, at_settlement: bool = False,
    caller_tag: Ints = 0,
) -> Commands:
    """FUNDING at a rate: paid at once, or kept for the next settlement (SPEC F1, S3)."""
    scope = Scope.FUNDING_AT_SETTLEMENT if at_settlement else Scope.FUNDING_NOW
    return build(
        Kind.FUNDING, timestamp_ns=timestamp_ns, contract=contract, rate_e9=rate_e9,
        scope=int(scope), caller_tag=caller_tag,
    )


def settle_session(*, timestamp_ns: Ints, caller_tag: Ints = 0) -> Commands:
    """SETTLE_SESSION: funding, liquidation, roll, uncovered loss, release of profits (SPEC S3)."""
    return build(Kind.SETTLE_SESSION, timestamp_ns=timestamp_ns, caller_tag=caller_tag)


def set_eligibility(
    *, account: Ints, profile: Ints, timestamp_ns: Ints, caller_tag: Ints = 0
) -> Commands:
    """SET_ELIGIBILITY: the profile bits of an account (`Eligibility.profile`, SPEC A2)."""
    return build(
        Kind.SET_ELIGIBILITY, timestamp_ns=timestamp_ns, account=account, profile=profile,
        caller_tag=caller_tag,
    )


def set_market_state(
    *, contract: Ints, state: Any, timestamp_ns: Ints, caller_tag: Ints = 0
) -> Commands:
    """SET_MARKET_STATE: "OPEN" | "HALTED" (309) | "REDUCE_ONLY" (208)."""
    return build(
        Kind.SET_MARKET_STATE, timestamp_ns=timestamp_ns, contract=contract,
        scope=_words(state, MARKET_STATES, "state"), caller_tag=caller_tag,
    )


def fund_top_up(
    *, amount_units: Ints, timestamp_ns: Ints, currency: Any = "USD", contract: int | None = None,
    caller_tag: Ints = 0,
) -> Commands:
    """FUND_TOP_UP: a deposit into the insurance fund (SPEC S1).

    contract: into that contract's own part, where the policy is `fund_by_contract` "on".
    """
    scope = Scope.FUND_SHARED if contract is None else Scope.FUND_OF_CONTRACT
    return build(
        Kind.FUND_TOP_UP, timestamp_ns=timestamp_ns, amount_units=amount_units,
        currency=_words(currency, CURRENCIES, "currency"), scope=int(scope),
        contract=0 if contract is None else contract, caller_tag=caller_tag,
    )


def tick(*, timestamp_ns: Ints, caller_tag: Ints = 0) -> Commands:
    """TICK: time alone; what is due fires (SPEC O6)."""
    return build(Kind.TICK, timestamp_ns=timestamp_ns, caller_tag=caller_tag)
