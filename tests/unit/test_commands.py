"""Every builder fills its fields and no other; what does not fit a field is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from perpcore import commands
from perpcore.codes import Code, EventKind, ExecFlag, Kind, OrderType, Scope, Side, TimeInForce
from perpcore.records import COMMAND, EVENT, NO_CONTRACT

NOW = 1_700_000_000_000_000_000


def filled(block: Any) -> dict[str, int]:
    """The fields of the one command that are not zero."""
    assert block.shape == (1,)
    assert block.dtype == COMMAND
    return {name: int(block[name][0]) for name in COMMAND.names or () if block[name][0]}


# builder | its arguments | fields that are not zero, beside the time
BUILT = [
    (
        commands.limit,
        {"account": 3, "contract": 1, "side": "SELL", "price_ticks": 600_000, "qty_lots": 5,
         "exec_inst": ["POST_ONLY", "ISOLATED_MARGIN"], "leverage": 20,
         "client_order_id": 2**64 - 1, "isolation_id": 9, "isolated_margin_units": 7,
         "stp": "M", "time_in_force": "GTD", "expiry_ns": NOW + 1, "caller_tag": 4},
        {"kind": Kind.NEW_ORDER, "account": 3, "contract": 1, "side": Side.SELL,
         "price_ticks": 600_000, "qty_lots": 5, "order_type": OrderType.LIMIT,
         "time_in_force": TimeInForce.GTD, "exec_flags": 5, "leverage": 20,
         "client_order_id": 2**64 - 1, "isolation_id": 9, "isolated_margin_units": 7, "stp": 1,
         "expiry_ns": NOW + 1, "caller_tag": 4},
    ),
    (
        commands.market,
        {"account": 3, "contract": 0, "side": "buy", "qty_lots": 5, "exec_inst": "REDUCE_ONLY"},
        {"kind": Kind.NEW_ORDER, "account": 3, "side": Side.BUY, "qty_lots": 5,
         "order_type": OrderType.MARKET, "exec_flags": ExecFlag.REDUCE_ONLY},
    ),
    (
        commands.conditional,
        {"account": 3, "contract": 1, "side": "SELL", "type": "TAKE_PROFIT_LIMIT",
         "trigger_price_ticks": 70, "price_ticks": 71, "qty_lots": 5, "reference": "LAST_PRICE",
         "time_in_force": "GTC", "exec_inst": "SMART_POST_ONLY", "linked_order_id": 12},
        {"kind": Kind.NEW_ORDER, "account": 3, "contract": 1, "side": Side.SELL, "price_ticks": 71,
         "qty_lots": 5, "order_type": OrderType.TAKE_PROFIT_LIMIT, "trigger_price_ticks": 70,
         "scope": Scope.TRIGGER_LAST, "time_in_force": TimeInForce.GTC, "order_id": 12,
         "exec_flags": ExecFlag.SMART_POST_ONLY},
    ),
    (commands.cancel_all_after, {"account": 3, "expiry_ns": NOW + 5},
     {"kind": Kind.CANCEL_ALL_AFTER, "account": 3, "expiry_ns": NOW + 5}),
    (commands.contract_index, {"contract": 1, "mark_ticks": 9},
     {"kind": Kind.INDEX, "contract": 1, "mark_ticks": 9}),
    (commands.cancel, {"account": 3, "order_id": 8},
     {"kind": Kind.CANCEL, "account": 3, "order_id": 8}),
    (commands.amend, {"account": 3, "client_order_id": 8, "price_ticks": 5, "qty_lots": 6,
                      "trigger_price_ticks": 7},
     {"kind": Kind.AMEND, "account": 3, "client_order_id": 8, "price_ticks": 5, "qty_lots": 6,
      "trigger_price_ticks": 7}),
    (commands.cancel_all, {"account": 3, "scope": "CROSS"},
     {"kind": Kind.CANCEL_ALL, "account": 3, "contract": NO_CONTRACT, "scope": Scope.SCOPE_CROSS}),
    (commands.close_position, {"account": 3, "contract": 1, "isolation_id": 2, "price_ticks": 5,
                               "release_margin": True},
     {"kind": Kind.CLOSE_POSITION, "account": 3, "contract": 1, "isolation_id": 2,
      "price_ticks": 5, "order_type": OrderType.LIMIT, "exec_flags": ExecFlag.RELEASE_MARGIN}),
    (commands.close_position, {"account": 3, "contract": 1, "qty_lots": 4},
     {"kind": Kind.CLOSE_POSITION, "account": 3, "contract": 1, "qty_lots": 4,
      "order_type": OrderType.MARKET}),
    (commands.set_leverage, {"account": 3, "contract": 1, "leverage": 25, "auto_top_up": True},
     {"kind": Kind.SET_LEVERAGE, "account": 3, "contract": 1, "leverage": 25,
      "exec_flags": ExecFlag.AUTO_TOP_UP}),
    (commands.add_margin, {"account": 3, "isolation_id": 2, "amount_units": 9},
     {"kind": Kind.ADD_MARGIN, "account": 3, "isolation_id": 2, "amount_units": 9,
      "currency": 1}),
    (commands.remove_margin, {"account": 3, "isolation_id": 2, "amount_units": 9,
                              "currency": "USDC"},
     {"kind": Kind.REMOVE_MARGIN, "account": 3, "isolation_id": 2, "amount_units": 9,
      "currency": 2}),
    (commands.open_account, {"account": 3}, {"kind": Kind.OPEN_ACCOUNT, "account": 3}),
    (commands.deposit, {"account": 3, "amount_units": 9, "currency": "USDC"},
     {"kind": Kind.DEPOSIT, "account": 3, "amount_units": 9, "currency": 2}),
    (commands.withdraw, {"account": 3, "amount_units": 9},
     {"kind": Kind.WITHDRAW, "account": 3, "amount_units": 9, "currency": 1}),
    (commands.mark, {"contract": 1, "mark_ticks": 9},
     {"kind": Kind.MARK, "contract": 1, "mark_ticks": 9}),
    (commands.index, {"index_e6": 999_900},
     {"kind": Kind.INDEX, "mark_ticks": 999_900, "currency": 2}),
    (commands.funding, {"contract": 1, "rate_e9": -5, "at_settlement": True},
     {"kind": Kind.FUNDING, "contract": 1, "rate_e9": -5, "scope": 1}),
    (commands.settle_session, {}, {"kind": Kind.SETTLE_SESSION}),
    (commands.set_eligibility, {"account": 3, "profile": 2**64 - 1},
     {"kind": Kind.SET_ELIGIBILITY, "account": 3, "profile": 2**64 - 1}),
    (commands.set_market_state, {"contract": 1, "state": "HALTED"},
     {"kind": Kind.SET_MARKET_STATE, "contract": 1, "scope": 1}),
    (commands.fund_top_up, {"amount_units": 9},
     {"kind": Kind.FUND_TOP_UP, "amount_units": 9, "currency": 1}),
    (commands.fund_top_up, {"amount_units": 9, "contract": 3},
     {"kind": Kind.FUND_TOP_UP, "amount_units": 9, "currency": 1, "contract": 3,
      "scope": Scope.FUND_OF_CONTRACT}),
    (commands.tick, {}, {"kind": Kind.TICK}),
]


@pytest.mark.parametrize(
    ("builder", "arguments", "fields"), BUILT, ids=lambda x: getattr(x, "__name__", "")
)
def test_a_builder_fills_the_fields_of_its_kind_and_no_other(
    builder: Any, arguments: dict[str, Any], fields: dict[str, int]
) -> None:
    assert filled(builder(timestamp_ns=NOW, **arguments)) == {"timestamp_ns": NOW, **fields}


def test_every_kind_has_a_builder() -> None:
    assert {int(fields["kind"]) for _, _, fields in BUILT} == {int(kind) for kind in Kind}


def test_arrays_make_a_batch_and_scalars_repeat() -> None:
    prices = np.arange(599_000, 599_004)
    batch = commands.limit(
        account=[1, 2, 1, 2], contract=0, side=np.array(["BUY", "SELL", "SELL", "BUY"]),
        price_ticks=prices, qty_lots=10, timestamp_ns=NOW,
    )
    assert batch.shape == (4,)
    assert batch["side"].tolist() == [1, 2, 2, 1]
    assert batch["price_ticks"].tolist() == prices.tolist()
    assert batch["qty_lots"].tolist() == [10] * 4
    assert (batch["timestamp_ns"] == NOW).all()


def test_batches_join_in_order() -> None:
    batch = commands.concat(
        commands.tick(timestamp_ns=[1, 2]), commands.settle_session(timestamp_ns=3)
    )
    assert batch.dtype == COMMAND
    assert batch["timestamp_ns"].tolist() == [1, 2, 3]
    assert batch["kind"].tolist() == [Kind.TICK, Kind.TICK, Kind.SETTLE_SESSION]
    assert len(commands.concat()) == 0


# what does not fit | the error | what it names
MISFITS = [
    ({"account": -1}, ValueError, "account"),
    ({"account": 2**32}, ValueError, "account"),
    ({"contract": 65_536}, ValueError, "contract"),
    ({"contract": np.array([0, -1])}, ValueError, "contract"),
    ({"price_ticks": 2**63}, ValueError, "price_ticks"),
    ({"price_ticks": 60_000.0}, TypeError, "price_ticks"),
    ({"qty_lots": "5"}, TypeError, "qty_lots"),
    ({"qty_lots": None}, TypeError, "qty_lots"),
    ({"qty_lots": np.ones((2, 2), int)}, ValueError, "qty_lots"),
    ({"account": [1, 2], "qty_lots": [1, 2, 3]}, ValueError, "one length"),
    ({"leverage": 65_536}, ValueError, "leverage"),
    ({"client_order_id": 2**64}, ValueError, "client_order_id"),
    ({"side": "LONG"}, ValueError, "side: 'LONG' is not one of BUY, SELL"),
    ({"time_in_force": "DAY"}, ValueError, "GOOD_TILL_CANCEL"),
    ({"exec_inst": "ISOLATED"}, ValueError, "ISOLATED_MARGIN"),
]


@pytest.mark.parametrize(("change", "error", "named"), MISFITS)
def test_a_value_that_does_not_fit_its_field_is_named(
    change: dict[str, Any], error: type[Exception], named: str
) -> None:
    good: dict[str, Any] = {
        "account": 1, "contract": 0, "side": "BUY", "price_ticks": 1, "qty_lots": 1,
        "timestamp_ns": NOW,
    }
    with pytest.raises(error, match=named):
        commands.limit(**{**good, **change})


def test_records_have_the_sizes_of_the_core_and_no_gap() -> None:
    assert (COMMAND.itemsize, EVENT.itemsize) == (128, 64)
    for record in (COMMAND, EVENT):
        assert sum(record[name].itemsize for name in record.names or ()) == record.itemsize
    # All that new, cancel and amend need stands in the first half.
    assert COMMAND.fields is not None
    assert COMMAND.fields["trigger_price_ticks"][1] == 64
    assert int(EventKind.REJECT) == 2
    assert Code(306).name == "INSUFFICIENT_BALANCE"
