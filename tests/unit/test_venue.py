"""The Python interface, used from outside: venue, accounts, blocks, administration, batches."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

import perpcore as pc
from perpcore import commands
from perpcore.amounts import MONEY_STEP
from perpcore.codes import EventKind, Ledger

BTC, ETH = "BTCUSD-PERP", "ETHUSD-PERP"
ISOLATED: dict[str, Any] = {"type": "MARKET", "exec_inst": "ISOLATED_MARGIN", "leverage": 20}
UNIT = MONEY_STEP


@pytest.fixture
def demo() -> tuple[pc.Venue, pc.Admin]:
    return pc.Venue.demo()


@pytest.fixture
def ann(demo: tuple[pc.Venue, pc.Admin]) -> pc.Account:
    return demo[0].account("ann", deposit={"USD": "2000"})


# The venue that is ready to trade ------------------------------------------------------------


def test_the_demo_venue_has_two_markets_makers_and_a_fund(
    demo: tuple[pc.Venue, pc.Admin],
) -> None:
    venue, _ = demo
    assert list(venue.contracts) == [BTC, ETH]
    assert venue.mark_price(BTC) == 60_000
    assert venue.mark_price(ETH) == 3_000
    assert venue.insurance_fund("USD") == 5_000_000
    market, book = venue.market(BTC), venue.book(BTC, depth=3)
    assert (market.best_bid, market.best_ask, market.state) == (59_990, 60_010, "OPEN")
    assert [level.price for level in book.asks] == [60_010, 60_020, 60_030]
    assert [level.quantity for level in book.bids] == [1, 1, 1]
    assert venue.audit().ok


def test_a_venue_is_made_with_its_administration_or_not_at_all() -> None:
    with pytest.raises(TypeError, match=r"Venue\.create"):
        pc.Venue()


def test_equal_commands_give_equal_hashes_and_the_capability_is_no_part_of_it() -> None:
    """D1: two demo venues have different keys and the same state."""
    hashes = set()
    for _ in range(2):
        venue, _ = pc.Venue.demo()
        venue.account("ann", deposit={"USD": 2_000}).create_order(BTC, "BUY", "0.05", **ISOLATED)
        hashes.add(venue.state_hash())
    assert len(hashes) == 1


# Orders ----------------------------------------------------------------------------------------


def test_a_market_order_says_what_it_did(ann: pc.Account) -> None:
    """0.05 BTC at 60,010 = 3,000.50 USD; fee 0.05 % = 1.50025."""
    order = ann.create_order(BTC, "BUY", "0.05", client_oid=7, **ISOLATED)
    assert (order.status, order.reason, order.side) == ("FILLED", None, "BUY")
    assert order.fills == (pc.Fill(Decimal(60_010), Decimal("0.05"), "TAKER"),)
    assert (order.quantity, order.cumulative_quantity) == (Decimal("0.05"), Decimal("0.05"))
    assert order.average_price == 60_010
    assert order.fees == Decimal("1.50025")
    assert (order.client_oid, order.isolation_id) == (7, ann.isolated(BTC).isolation_id)
    # 0.05 BTC at the band's edge 63,000: 157.50 + 1.575 + 17.325 + 150 (C3)
    assert order.reserved == Decimal("326.4")


def test_a_resting_order_is_listed_amended_and_cancelled(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """O2: less keeps its id and place, a new price keeps its id."""
    venue, _ = demo
    order = ann.create_order(BTC, "BUY", "0.05", price="59955", exec_inst="POST_ONLY")
    assert (order.status, order.fills, order.average_price) == ("ACTIVE", (), None)
    (live,) = ann.open_orders
    assert (live.order_id, live.price, live.quantity) == (order.order_id, 59_955, Decimal("0.05"))
    assert (live.exec_inst, live.time_in_force) == (("POST_ONLY",), "GOOD_TILL_CANCEL")
    assert live.reserved == order.reserved == ann.order_margin

    less = ann.amend_order(order.order_id, new_quantity="0.04")
    assert (less.order_id, less.status) == (order.order_id, "ACTIVE")
    moved = ann.amend_order(order.order_id, new_price="59945")
    assert (moved.order_id, moved.side) == (order.order_id, "BUY")
    assert (ann.order(order.order_id).price, ann.order(order.order_id).quantity) == (
        59_945, Decimal("0.04"),
    )
    assert pc.Level(Decimal(59_945), Decimal("0.04"), 1) in venue.book(BTC).bids
    ann.cancel_order(order.order_id)
    assert (ann.open_orders, ann.order_margin, ann.cash["USD"]) == ([], 0, 2_000)


def test_an_order_that_takes_a_part_rests_with_the_other(ann: pc.Account) -> None:
    order = ann.create_order(BTC, "BUY", "1.5", price=60_010, exec_inst=(), client_oid=None)
    assert (order.status, order.cumulative_quantity) == ("ACTIVE", 1)
    rest = ann.create_order(BTC, "BUY", "0.5", price="60010", time_in_force="GTC")
    assert rest.status == "ACTIVE"


def test_the_rest_of_an_immediate_order_is_cancelled_with_its_reason(ann: pc.Account) -> None:
    ann.deposit(100_000)
    order = ann.create_order(BTC, "BUY", "1.5", price=60_010, time_in_force="IOC")
    assert (order.status, order.reason, order.cumulative_quantity) == ("CANCELED", "REST", 1)


def test_words_of_the_venue_and_their_short_forms_mean_the_same(ann: pc.Account) -> None:
    for word in ("GOOD_TILL_CANCEL", "GTC", "gtc"):
        assert ann.create_order(BTC, "buy", "0.01", price=59_000, time_in_force=word).status == (
            "ACTIVE"
        )
    assert len(ann.cancel_all_orders(BTC)) == 3


def test_cancel_all_reaches_the_orders_of_its_scope(ann: pc.Account) -> None:
    cross = ann.create_order(BTC, "BUY", "0.01", price=59_000)
    isolated = ann.create_order(
        BTC, "BUY", "0.01", price=59_000, exec_inst="ISOLATED_MARGIN", leverage=10
    )
    assert ann.cancel_all_orders(scope="CROSS") == [cross.order_id]
    assert ann.cancel_all_orders(ETH) == []
    assert ann.cancel_all_orders(BTC, scope="ISOLATED") == [isolated.order_id]
    assert ann.cash["USD"] == 2_000


def test_closing_a_cross_position_leaves_none(ann: pc.Account) -> None:
    ann.create_order(BTC, "SELL", "0.05", type="MARKET")
    (position,) = ann.positions
    assert (position.side, position.quantity, position.isolation_id) == (
        "SELL", Decimal("-0.05"), None,
    )
    assert position.average_price == 59_990
    part = ann.close_position(BTC, quantity="0.02")
    assert (part.side, part.cumulative_quantity) == ("BUY", Decimal("0.02"))
    waiting = ann.close_position(BTC, type="LIMIT", price=59_000)
    assert (waiting.side, waiting.status) == ("BUY", "ACTIVE")
    ann.close_position(BTC)
    assert (ann.positions, ann.open_orders) == ([], [])


# Blocks ----------------------------------------------------------------------------------------


def test_a_block_can_be_read_after_its_end(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """I1: the id is never used again, the handle stays readable."""
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    assert block.state == "OPEN"
    block.close()
    assert (block.state, block.margin, block.order_margin, block.removable) == ("CLOSED", 0, 0, 0)
    assert (block.position, block.liquidation_price, block.bankruptcy_price) == (None, None, None)
    assert (block.leverage, block.quantity, block.max_leverage, block.min_leverage) == (
        None, 0, 0, 0,
    )
    assert "CLOSED" in block.explain()
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    assert ann.isolated(BTC) != block
    assert ann.isolated(BTC, block.isolation_id) == block


def test_a_liquidated_block_takes_nothing_from_main(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """Q7, I13."""
    venue, admin = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block, main, fund = ann.isolated(BTC), ann.cash, venue.insurance_fund()
    events = admin.mark(BTC, 54_000)
    assert (events["kind"] == EventKind.LIQUIDATED).sum() == 1
    assert (block.state, ann.cash, ann.positions) == ("CLOSED", main, [])
    assert venue.insurance_fund() != fund
    assert venue.audit().ok


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_the_liquidation_price_is_the_first_mark_that_liquidates(side: str) -> None:
    """Q2: one mark tick before it the block lives, at it the block is closed."""
    venue, admin = pc.Venue.demo()
    ann = venue.account("ann", deposit={"USD": "2000"})
    ann.create_order(BTC, side, "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    price = block.liquidation_price
    assert price is not None
    tick = venue.contract(BTC).grid.mark_tick
    text = block.explain()
    assert f"liquidated at {price:f}: " in text
    assert "mark 60000: " in text
    assert text.splitlines()[-1].endswith("liquidated")
    assert text.splitlines()[-2].endswith("safe")
    admin.mark(BTC, price + tick if side == "BUY" else price - tick)
    assert block.state == "OPEN"
    admin.mark(BTC, price)
    assert block.state == "CLOSED"


def test_levels_of_liquidation_show_every_block_at_its_price(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, _ = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    price = ann.isolated(BTC).liquidation_price
    assert price is not None
    assert pc.LiquidationLevel("BUY", price, Decimal("0.05")) in venue.liquidation_levels(BTC)


def test_leverage_up_moves_no_cash_and_no_liquidation_price(ann: pc.Account) -> None:
    """I6."""
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    before = (block.margin, block.maintenance_margin, block.liquidation_price, ann.cash)
    block.set_leverage(40)
    assert block.leverage == 40
    assert before == (block.margin, block.maintenance_margin, block.liquidation_price, ann.cash)


def test_leverage_down_takes_exactly_what_it_needs(ann: pc.Account) -> None:
    """I7, X2: one unit less in the block and it would be refused."""
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    need = block.top_up_for(10)
    assert need > 0
    with pytest.raises(pc.Rejected) as refused:
        block.set_leverage(10)
    assert (refused.value.code, refused.value.needed) == (320, need)
    block.add_margin(need - UNIT)
    assert block.preview_leverage(10).code == 320
    main = ann.cash["USD"]
    block.set_leverage(10, auto_top_up=True)
    assert (block.leverage, main - ann.cash["USD"]) == (10, UNIT)


def test_the_extremes_of_leverage_are_accepted_and_one_step_more_is_not(ann: pc.Account) -> None:
    """X2."""
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    assert block.max_leverage == 100
    lowest = block.min_leverage
    assert block.preview_leverage(lowest).ok
    assert not block.preview_leverage(lowest - 1).ok
    block.add_margin(200)
    assert block.min_leverage < lowest


def test_removable_is_accepted_and_one_unit_more_is_refused(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """I9."""
    _, admin = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    assert block.removable == 0
    admin.mark(BTC, 61_000)
    most, margin, main = block.removable, block.margin, ann.cash["USD"]
    assert most > 0
    assert block.preview_remove_margin(most + UNIT).code == 321
    assert block.preview_remove_margin(most).ok
    block.remove_margin(most)
    assert (margin - block.margin, ann.cash["USD"] - main) == (most, most)


def test_a_partial_close_keeps_its_margin_or_releases_it(ann: pc.Account) -> None:
    """I10."""
    ann.create_order(BTC, "BUY", "0.1", **ISOLATED)
    block = ann.isolated(BTC)
    keep, release = block.preview_close("0.05"), block.preview_close("0.05", release_margin=True)
    assert keep.ok
    assert release.ok
    assert keep.moved == 0
    assert release.moved < 0
    block.close("0.05", release_margin=True)
    assert block.margin == release.margin_after


def test_closing_a_block_by_a_limit_order_rests(ann: pc.Account) -> None:
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    result = block.close(type="LIMIT", price=61_000)
    assert (result.status, result.side, result.isolation_id) == (
        "ACTIVE", "SELL", block.isolation_id,
    )
    block.cancel_all_orders()
    assert ann.open_orders == []


# Previews --------------------------------------------------------------------------------------

Step = Callable[[pc.Account], Any]


def block_of(ann: pc.Account) -> pc.Block:
    return ann.isolated(BTC)


# name | preview | the call itself
PREVIEWED: list[tuple[str, Step, Step]] = [
    ("isolated order", lambda a: a.preview_order(ETH, "SELL", 1, **ISOLATED),
     lambda a: a.create_order(ETH, "SELL", 1, **ISOLATED)),
    ("cross order", lambda a: a.preview_order(ETH, "BUY", "0.5", type="MARKET"),
     lambda a: a.create_order(ETH, "BUY", "0.5", type="MARKET")),
    ("resting order", lambda a: a.preview_order(BTC, "BUY", "0.01", price=59_000),
     lambda a: a.create_order(BTC, "BUY", "0.01", price=59_000)),
    ("more of the block", lambda a: a.preview_order(
        BTC, "BUY", "0.01", type="MARKET", exec_inst="ISOLATED_MARGIN",
        isolation_id=block_of(a).isolation_id),
     lambda a: a.create_order(
        BTC, "BUY", "0.01", type="MARKET", exec_inst="ISOLATED_MARGIN",
        isolation_id=block_of(a).isolation_id)),
    ("flip of the block", lambda a: a.preview_order(
        BTC, "SELL", "0.07", type="MARKET", exec_inst="ISOLATED_MARGIN",
        isolation_id=block_of(a).isolation_id),
     lambda a: a.create_order(
        BTC, "SELL", "0.07", type="MARKET", exec_inst="ISOLATED_MARGIN",
        isolation_id=block_of(a).isolation_id)),
    ("part of the block", lambda a: block_of(a).preview_close("0.02"),
     lambda a: block_of(a).close("0.02")),
    ("all of the block", lambda a: a.preview_close_position(
        BTC, isolation_id=block_of(a).isolation_id),
     lambda a: a.close_position(BTC, isolation_id=block_of(a).isolation_id)),
    ("leverage of the block", lambda a: block_of(a).preview_leverage(30),
     lambda a: block_of(a).set_leverage(30)),
    ("margin added", lambda a: block_of(a).preview_add_margin("12.3"),
     lambda a: block_of(a).add_margin("12.3")),
    ("leverage of main", lambda a: a.preview_leverage(ETH, 5), lambda a: a.set_leverage(ETH, 5)),
    ("withdrawal", lambda a: a.preview_withdraw(100), lambda a: a.withdraw(100)),
    ("too much", lambda a: a.preview_withdraw(10_000), lambda a: a.withdraw(10_000)),
    ("too large", lambda a: a.preview_order(ETH, "BUY", 100, **ISOLATED),
     lambda a: a.create_order(ETH, "BUY", 100, **ISOLATED)),
]


@pytest.mark.parametrize(("name", "preview", "call"), PREVIEWED, ids=[p[0] for p in PREVIEWED])
def test_a_preview_changes_nothing_and_is_what_the_call_then_does(
    name: str, preview: Step, call: Step
) -> None:
    """X1."""
    venue, _ = pc.Venue.demo()
    ann = venue.account("ann", deposit={"USD": "2000"})
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    seen, hashed = ann.cash, venue.state_hash()
    price = block_of(ann).liquidation_price
    look = preview(ann)
    assert (ann.cash, venue.state_hash()) == (seen, hashed)
    block = block_of(ann)
    if not look.ok:
        with pytest.raises(pc.Rejected) as refused:
            call(ann)
        assert (look.code, str(look.refusal)) == (refused.value.code, str(refused.value))
        assert (name, look.code) in {("too much", 30024), ("too large", 306)}
        return
    result = call(ann)
    events = result.events if isinstance(result, pc.OrderResult) else result
    assert (look.events == np.asarray(events)).all()
    if isinstance(result, pc.OrderResult):
        assert look.order == result
    if "block" in name or "margin" in name:
        assert look.liquidation_price_before == price
        assert look.liquidation_price_after == block.liquidation_price
        assert look.margin_after == block.margin
    moved = seen["USD"] - ann.cash["USD"]
    if name not in {"withdrawal", "cross order"}:
        assert look.moved == moved


def test_the_preview_of_a_cross_order_tells_its_liquidation_price() -> None:
    """Q2: the same price as the position then shows."""
    venue, _ = pc.Venue.demo()
    bob = venue.account("bob", deposit={"USD": "500"})
    for quantity in ("0.1", "0.05"):
        look = bob.preview_order(BTC, "SELL", quantity, type="MARKET")
        bob.create_order(BTC, "SELL", quantity, type="MARKET")
        (position,) = bob.positions
        assert look.liquidation_price_after == position.liquidation_price is not None


def test_administration_can_look_ahead_at_a_mark(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, admin = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    crash = commands.mark(contract=0, mark_ticks=540_000, timestamp_ns=venue.time_ns)
    look = admin.preview(crash)
    assert (look.events["kind"] == EventKind.LIQUIDATED).sum() == 1
    assert ann.isolated(BTC).state == "OPEN"
    assert venue.preview(crash).code == 40101


def test_the_largest_order_is_accepted_and_one_lot_more_is_not(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """X2."""
    venue, _ = demo
    lot = venue.contract(ETH).grid.lot
    most = ann.max_quantity(ETH, "BUY", **ISOLATED)
    assert most > 0
    assert ann.preview_order(ETH, "BUY", most + lot, **ISOLATED).code == 306
    assert ann.create_order(ETH, "BUY", most, **ISOLATED).cumulative_quantity == most
    ann.withdraw(ann.withdrawable["USD"])
    assert ann.max_quantity(BTC, "BUY", **ISOLATED) == 0


# Money -----------------------------------------------------------------------------------------


def test_withdrawable_is_accepted_and_one_unit_more_is_refused(ann: pc.Account) -> None:
    """C5."""
    ann.create_order(BTC, "BUY", "0.05", type="MARKET")
    most = ann.withdrawable["USD"]
    assert 0 < most < 2_000
    assert ann.preview_withdraw(most + UNIT).code == 30024
    ann.withdraw(most)
    assert ann.withdrawable["USD"] == 0


def test_usdc_counts_at_its_index_and_is_withdrawn_as_usdc(
    demo: tuple[pc.Venue, pc.Admin],
) -> None:
    """A4: 1,000 USDC at 0.9995 are 999.50 USD of collateral."""
    venue, admin = demo
    admin.index("USDC", "0.9995")
    bob = venue.account("bob", deposit={"USDC": 1_000})
    assert bob.cash == {"USD": 0, "USDC": 1_000}
    assert bob.collateral == Decimal("999.5")
    bob.withdraw(400, "USDC")
    assert bob.cash["USDC"] == 600
    assert venue.audit().ok


def test_the_numbers_of_an_account_add_up(ann: pc.Account) -> None:
    """C2: MB = collateral + uPnL - FR, available = MB - IM - order margin."""
    ann.create_order(BTC, "BUY", "0.05", type="MARKET")
    ann.create_order(BTC, "BUY", "0.01", price=59_000)
    (position,) = ann.positions
    assert position.unrealized_pnl == Decimal("-0.5")
    assert position.notional == 3_000
    assert position.initial_margin == 30
    assert position.maintenance_margin == 15
    assert position.fee_reserve == Decimal("16.5")
    assert ann.margin_balance == ann.collateral + ann.unrealized_pnl - position.fee_reserve
    assert ann.available == ann.margin_balance - ann.initial_margin - ann.order_margin
    assert ann.transferable == ann.available
    assert not ann.margin_call


def test_isolated_money_is_no_part_of_main(ann: pc.Account) -> None:
    """I4."""
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    assert ann.isolated_margin == block.margin
    assert ann.margin_balance == ann.cash["USD"]
    assert ann.positions == [block.position]
    assert ann.unrealized_pnl == 0


# Administration ------------------------------------------------------------------------------


def test_funding_and_settlement_move_money_and_keep_the_ledger(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """F1: 0.05 BTC at 60,000 pay 0.0001 x 3,000 = 0.30 USD."""
    venue, admin = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    block = ann.isolated(BTC)
    margin, session = block.margin, venue.session
    admin.funding(BTC, "0.0001")
    assert margin - block.margin == Decimal("0.3")
    admin.settle_session()
    assert venue.session == session + 1
    assert venue.audit().ok


def test_administration_sets_the_state_of_a_market(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, admin = demo
    for state in ("HALTED", "REDUCE_ONLY", "OPEN"):
        admin.market_state(BTC, state)
        assert venue.market(BTC).state == state


def test_the_fund_is_topped_up(demo: tuple[pc.Venue, pc.Admin]) -> None:
    venue, admin = demo
    admin.fund_top_up("1000.5")
    assert venue.insurance_fund("USD") == Decimal("5001000.5")
    assert venue.insurance_fund("USDC") == 0
    assert venue.audit().ok


def test_accounts_that_nobody_admitted_hold_money_but_do_not_trade() -> None:
    """A2."""
    venue, admin = pc.Venue.create()
    admin.add_contract(pc.BTCUSD_PERP)
    admin.mark(BTC, 60_000)
    ann = venue.account("ann", deposit={"USD": 100})
    with pytest.raises(pc.Rejected) as refused:
        ann.create_order(BTC, "BUY", "0.01", price=60_000)
    assert refused.value.code == 411
    admin.eligibility("ann", pc.Eligibility())
    assert ann.create_order(BTC, "BUY", "0.01", price=60_000).status == "ACTIVE"
    admin.eligibility(ann, pc.Eligibility.none())
    assert ann.open_orders == []


def reachable(thing: object, depth: int = 4) -> list[object]:
    """What attribute access leads to from an object, without reaching into modules."""
    found, edge = [thing], [thing]
    for _ in range(depth):
        after: list[object] = []
        for item in edge:
            for name in dir(item):
                if name.startswith("__"):
                    continue
                try:
                    value = getattr(item, name)
                except (pc.Rejected, AttributeError, TypeError, ValueError):
                    continue
                if type(value).__module__.startswith("perpcore") and value not in found:
                    after.append(value)
                    found.append(value)
        edge = after
    return found


def test_no_trading_handle_leads_to_administration(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    """A3: not by attributes, not by a batch, not by a copy."""
    venue, admin = demo
    ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    for handle in (venue, ann, ann.isolated(BTC)):
        assert not any(isinstance(item, pc.Admin) for item in reachable(handle))
    mark = commands.mark(contract=0, mark_ticks=540_000, timestamp_ns=venue.time_ns)
    events = venue.apply(mark)
    assert events["code"].tolist() == [40101]
    assert venue.mark_price(BTC) == 60_000
    for copier in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError):
            copier(admin)


def test_a_contract_that_breaks_a_limit_is_refused_with_its_reason() -> None:
    """U2."""
    _, admin = pc.Venue.create()
    terms = {name: getattr(pc.BTCUSD_PERP, name) for name in ("tick_size", "lot_size", "max_price",
             "min_quantity", "max_quantity", "max_position", "liquidation_slice",
             "inventory_limit", "work_off_slice")}
    admin.add_contract(pc.BTCUSD_PERP)
    with pytest.raises(ValueError, match="exists"):
        admin.add_contract(pc.BTCUSD_PERP)
    fine = {"symbol": "A-PERP", **terms}
    with pytest.raises(ValueError, match=r"."):
        admin.add_contract(pc.Contract(**{**fine, "lot_size": "0.0000000001"}))
    with pytest.raises(ValueError, match="max_price"):
        admin.add_contract(pc.Contract(**{**fine, "max_price": "1000000.05"}))
    for change in ({"max_position": 10**9}, {"maintenance_share": "0.9999"},
                   {"taker_fee": "1.5"}, {"max_leverage": 0}):
        with pytest.raises(ValueError, match=r"."):
            admin.add_contract(pc.Contract(**{**fine, **change}))
    assert admin.add_contract(pc.Contract(**fine)) == 1


# Batches ---------------------------------------------------------------------------------------


def orders(venue: pc.Venue, account: int, n: int) -> Any:
    """(n,) bids far from the market, one of them with an account that does not exist."""
    owners = np.full(n, account)
    owners[n // 2] = 10**6
    return commands.limit(
        account=owners, contract=0, side="BUY", price_ticks=500_000 + np.arange(n), qty_lots=1,
        timestamp_ns=venue.time_ns,
    )


def test_a_batch_goes_on_after_a_refusal_and_reports_it(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, _ = demo
    batch = orders(venue, ann.number, 9)
    events = venue.apply(batch)
    assert events.applied == 9
    rejects = events[events["kind"] == EventKind.REJECT]
    assert rejects["code"].tolist() == [210]
    assert len(ann.open_orders) == 8
    assert "Venue.account" in str(venue.explain_reject(batch[4:5], rejects))


@pytest.mark.parametrize("room", [1, 2, 3, 7, 64])
def test_a_full_buffer_stops_between_commands_and_loses_no_event(room: int) -> None:
    """D1: any split of a batch gives the same events and the same hash."""
    whole, parts = [], []
    for buffer, found in ((None, whole), (np.zeros(room, pc.EVENT), parts)):
        venue, _ = pc.Venue.demo()
        ann = venue.account("ann", deposit={"USD": 2_000})
        batch = commands.concat(
            orders(venue, ann.number, 9),
            commands.market(account=ann.number, contract=0, side="BUY", qty_lots=100,
                            timestamp_ns=venue.time_ns),
            commands.cancel_all(account=ann.number, timestamp_ns=venue.time_ns),
        )
        while True:
            events = venue.apply(batch, out=buffer)
            found.append(np.array(events))
            batch = batch[events.applied :]
            if buffer is None or len(events) < len(buffer):
                break
        assert len(batch) == 0
        found.append(venue.state_hash())
    assert (np.concatenate(parts[:-1]) == np.concatenate(whole[:-1])).all()
    assert parts[-1] == whole[-1]


def test_single_calls_wait_until_a_full_buffer_is_read(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, _ = demo
    batch = commands.market(
        account=ann.number, contract=0, side="BUY", qty_lots=100, timestamp_ns=venue.time_ns
    )
    buffer = np.zeros(1, pc.EVENT)
    venue.apply(batch, out=buffer)
    with pytest.raises(RuntimeError, match="apply again"):
        ann.deposit(1)
    nothing = batch[:0]
    while len(venue.apply(nothing, out=np.zeros(8, pc.EVENT))) == 8:
        pass
    ann.deposit(1)


def test_folding_the_events_gives_every_balance_back(
    demo: tuple[pc.Venue, pc.Admin],
) -> None:
    """L2: the sum of a ledger's changes is its balance, and the last event says so."""
    venue, admin = demo
    names = ["ann", "bob"]
    people = [venue.account(name) for name in names]
    log = [person.deposit(2_000) for person in people]
    ann, bob = people
    log.append(ann.create_order(BTC, "BUY", "0.05", **ISOLATED).events)
    log.append(bob.create_order(BTC, "SELL", "0.02", type="MARKET").events)
    log += [admin.mark(BTC, 60_500), admin.funding(BTC, "0.0002"), admin.settle_session()]
    events = np.concatenate([np.asarray(part) for part in log])
    balances = events[events["kind"] == EventKind.BALANCE]
    for person in people:
        own = balances[
            (balances["account"] == person.number) & (balances["ledger"] == Ledger.MAIN_USD)
        ]
        assert own["amount_units"].sum() == own["balance_units"][-1]
        assert person.cash["USD"] * 10**8 == int(own["balance_units"][-1])


def test_other_arrays_are_no_commands(demo: tuple[pc.Venue, pc.Admin]) -> None:
    venue, _ = demo
    with pytest.raises(TypeError, match=r"perpcore\.COMMAND"):
        venue.apply(np.zeros(3))
    with pytest.raises(TypeError):
        venue.apply(np.zeros((2, 2), pc.COMMAND))
    assert len(venue.apply(np.zeros(0, pc.COMMAND))) == 0


def test_a_second_thread_gets_engine_busy_and_no_harm_is_done(
    demo: tuple[pc.Venue, pc.Admin], ann: pc.Account
) -> None:
    venue, _ = demo
    batch = np.tile(orders(venue, ann.number, 64), 200)
    outcomes: list[str] = []

    def run() -> None:
        for _ in range(4):
            try:
                venue.apply(batch, out=np.zeros(100_000, pc.EVENT))
                outcomes.append("applied")
            except pc.EngineBusy:
                outcomes.append("busy")
            except RuntimeError:
                outcomes.append("unread")

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == 16
    assert "applied" in outcomes
    assert venue.audit().ok


def test_events_can_be_read(demo: tuple[pc.Venue, pc.Admin], ann: pc.Account) -> None:
    venue, admin = demo
    order = ann.create_order(BTC, "BUY", "0.05", **ISOLATED)
    text = "\n".join(venue.describe(order.events))
    n, block = order.order_id, order.isolation_id
    fill = f"FILL ann block {block} {BTC} order {n}: BUY 0.05 at 60010 (taker)"
    assert f"#{n} {fill}" in text
    assert f"FILL maker-1 {BTC} order " in text
    assert f"BALANCE ann block {block} {BTC} BLOCK_POSITION -1.50025 USD TRADE_FEE, now" in text
    batch = orders(venue, ann.number, 3)
    told = venue.describe(venue.apply(batch)) + venue.describe(ann.cancel_order(venue.seq))
    assert f"REJECT account 1000000 {BTC} 210 INVALID_ACCOUNT" in "\n".join(told)
    assert told[-1].endswith(f"order {venue.seq - 1}: 0.0001 left at 50000.2, USER")
    told = venue.describe(admin.mark(BTC, 54_000))
    assert told[0].endswith(f"MARKED {BTC} 54000")
    assert any("LIQUIDATED ann" in line and "the fund gets" in line for line in told)
    told = venue.describe(np.concatenate([np.asarray(events) for events in (
        admin.settle_session(), admin.index("USDC", "0.999"), admin.market_state(ETH, "HALTED"),
        admin.funding(ETH, 0), ann.set_leverage(BTC, 5), admin.fund_top_up(5),
    )]))
    for words in ("SESSION_SETTLED session 1", "INDEXED 0.999 USD", "HALTED", "5x", "FUND_USD 5 "):
        assert words in "\n".join(told)


def test_main_with_several_positions_is_explained_over_all_of_them(ann: pc.Account) -> None:
    """X3."""
    assert "no position" in ann.explain()
    ann.create_order(BTC, "BUY", "0.05", type="MARKET")
    assert "liquidated at" in ann.explain()
    ann.create_order(ETH, "SELL", "0.5", type="MARKET")
    text = ann.explain()
    assert f"{BTC}: Q = 500 lots" in text
    assert f"{ETH}: Q = -500 lots" in text
    assert text.endswith("safe")
    assert [p.liquidation_price for p in ann.positions] == [None, None]


# The package -----------------------------------------------------------------------------------


def test_every_public_name_loads_and_is_documented() -> None:
    for name in pc.__all__:
        value = getattr(pc, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            assert inspect.getdoc(value), name
    for owner in (pc.Venue, pc.Account, pc.Block, pc.Admin):
        for name, member in vars(owner).items():
            if not name.startswith("_") and (callable(member) or isinstance(member, property)):
                assert inspect.getdoc(member), f"{owner.__name__}.{name}"
    with pytest.raises(AttributeError, match="nothing"):
        pc.nothing  # noqa: B018


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = (
        "import sys, perpcore, perpcore.venue; "
        "print([m for m in ('click', 'rich', 'pydantic', 'pyarrow', 'plotly', 'jinja2', "
        "'asyncio', 'perpcore.cli', 'perpcore.scenario') if m in sys.modules])"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert shown.stdout.strip() == "[]"


def test_the_headers_lie_where_get_include_says() -> None:
    from pathlib import Path

    include = Path(pc.get_include())
    assert (include / "perpcore" / "check.hpp").is_file()
    assert (include.parent / "records.pxd").is_file()


def test_terms_survive_the_way_through_the_core() -> None:
    venue, admin = pc.Venue.create()
    admin.add_contract(pc.ETHUSD_PERP)
    raw = venue._core.engine.contract_terms(0)
    assert pc.Contract.from_terms(raw) == pc.ETHUSD_PERP
    assert venue.contract_number(ETH) == 0


@pytest.mark.parametrize(
    "eligibility",
    [
        pc.Eligibility(),
        pc.Eligibility.none(),
        pc.Eligibility(suspended=True, max_leverage=20, citizenship=840, residence=702,
                       contract_groups=(3, 1), collateral=("USDC",), level="BASIC"),
    ],
)
def test_a_profile_survives_its_bits(eligibility: pc.Eligibility) -> None:
    assert pc.Eligibility.from_profile(eligibility.profile) == eligibility
    assert 0 <= eligibility.profile < 2**64


def test_a_read_only_buffer_is_refused_and_never_written(
    demo: tuple[pc.Venue, pc.Admin],
) -> None:
    """X1: also a preview writes into `out` alone, and only where it may."""
    engine = demo[0]._core.engine
    room = np.zeros(8, pc.EVENT)
    room.flags.writeable = False
    tick = pc.commands.tick(timestamp_ns=demo[0].time_ns + 1)
    for call in (engine.apply, engine.preview):
        with pytest.raises(ValueError, match="read-only"):
            call(tick, room)
    assert not room.view(np.uint8).any()


def test_a_single_unit_in_main_is_transferable() -> None:
    """C2: the smallest amount that there is."""
    _, admin = pc.Venue.create()
    ann = admin.open_account("ann", deposit={"USD": "0.00000001"})
    assert ann.transferable == Decimal("0.00000001")
