"""Chapter 9: previews are the command itself, rolled back (X1); limits are maximal (X2); what the
venue shows of itself (X3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.codes import Code, Currency, Exec, Kind, OrderType, Scope, Side, Tif
from world import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    DAVE,
    ETH,
    FULL_PROFILE,
    MAKER,
    SECOND,
    SOL,
    USD,
    World,
    isolated,
)

ORDER = {"side": Side.BUY, "order_type": OrderType.LIMIT, "time_in_force": Tif.GTC,
         "qty_lots": 10, "price_ticks": 59_000}


def busy(venue: World) -> World:
    """ALICE: a cross long, a block in profit (id 1), a pending block (id 2), resting orders; BOB a
    block near its end (id 3); bids and asks by MAKER; DAVE's USDC; an order that ends in 5 s."""
    venue.trade(ALICE, MAKER, 50, 60_000)
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(10))
    venue.buy(ALICE, 10, 29_000, ETH, **isolated(5))
    venue.buy(ALICE, 10, 55_000, client_order_id=5)
    venue.buy(ALICE, 10, 54_000, time_in_force=Tif.GTD, expiry_ns=venue.now + 5 * SECOND)
    venue.trade_short(BOB, MAKER, 100, 60_000, **isolated(20))
    venue.trade(DAVE, MAKER, 20, 60_000)
    venue.mark(BTC, 614_000)
    venue.buy(MAKER, 200, 61_300)
    venue.sell(MAKER, 200, 61_500)
    return venue


#: name, kind, fields; together every kind of command, accepted and refused
COMMANDS: list[tuple[str, int, dict[str, Any]]] = [
    ("an order that rests", Kind.NEW_ORDER, {"account": ALICE, **ORDER}),
    ("an order that takes", Kind.NEW_ORDER, {"account": CAROL, **ORDER, "price_ticks": 61_500}),
    ("an order for a new block", Kind.NEW_ORDER, {
        "account": CAROL, **ORDER, "price_ticks": 61_500, **isolated(20)}),
    ("an order that flips a block", Kind.NEW_ORDER, {
        "account": ALICE, **ORDER, "side": Side.SELL, "qty_lots": 150, "price_ticks": 61_300,
        **isolated(10, 1)}),
    ("an order without money", Kind.NEW_ORDER, {"account": CAROL, **ORDER, "qty_lots": 9_000}),
    ("an order that nobody fills", Kind.NEW_ORDER, {
        "account": ALICE, **ORDER, "time_in_force": Tif.FOK}),
    ("cancel", Kind.CANCEL, {"account": ALICE, "client_order_id": 5}),
    ("cancel what is not there", Kind.CANCEL, {"account": ALICE, "client_order_id": 6}),
    ("amend", Kind.AMEND, {"account": ALICE, "client_order_id": 5, "qty_lots": 30}),
    ("cancel the isolated orders", Kind.CANCEL_ALL, {
        "account": ALICE, "contract": 0xFFFF, "scope": Scope.ISOLATED}),
    ("close the block", Kind.CLOSE_POSITION, {
        "account": ALICE, "contract": BTC, "order_type": OrderType.MARKET, "isolation_id": 1}),
    ("close a part and release its margin", Kind.CLOSE_POSITION, {
        "account": ALICE, "contract": BTC, "order_type": OrderType.MARKET, "isolation_id": 1,
        "qty_lots": 40, "exec_flags": Exec.RELEASE_MARGIN}),
    ("leverage up", Kind.SET_LEVERAGE, {
        "account": ALICE, "contract": BTC, "isolation_id": 1, "leverage": 15}),
    ("leverage down with a top-up", Kind.SET_LEVERAGE, {
        "account": ALICE, "contract": BTC, "isolation_id": 1, "leverage": 5,
        "exec_flags": Exec.AUTO_TOP_UP}),
    ("leverage down without", Kind.SET_LEVERAGE, {
        "account": ALICE, "contract": BTC, "isolation_id": 1, "leverage": 5}),
    ("add margin", Kind.ADD_MARGIN, {
        "account": BOB, "isolation_id": 3, "amount_units": 50 * USD}),
    ("remove margin", Kind.REMOVE_MARGIN, {
        "account": ALICE, "isolation_id": 1, "amount_units": 10 * USD}),
    ("remove too much", Kind.REMOVE_MARGIN, {
        "account": ALICE, "isolation_id": 1, "amount_units": 9_000 * USD}),
    ("withdraw", Kind.WITHDRAW, {
        "account": ALICE, "currency": Currency.USD, "amount_units": 100 * USD}),
    ("open an account", Kind.OPEN_ACCOUNT, {"account": 5}),
    ("deposit", Kind.DEPOSIT, {
        "account": CAROL, "currency": Currency.USDC, "amount_units": 100 * USD}),
    ("a mark that liquidates", Kind.MARK, {"contract": BTC, "mark_ticks": 615_000}),
    ("an index that hurts", Kind.INDEX, {"currency": Currency.USDC, "mark_ticks": 10_000}),
    ("funding", Kind.FUNDING, {"contract": BTC, "rate_e9": 100_000}),
    ("settlement", Kind.SETTLE_SESSION, {}),
    ("an eligibility that is lost", Kind.SET_ELIGIBILITY, {"account": ALICE, "profile": 0}),
    ("an eligibility that stays", Kind.SET_ELIGIBILITY, {
        "account": ALICE, "profile": FULL_PROFILE}),
    ("a market that halts", Kind.SET_MARKET_STATE, {"contract": BTC, "scope": 1}),
    ("a fund top-up", Kind.FUND_TOP_UP, {"currency": Currency.USD, "amount_units": USD}),
    ("all orders end later", Kind.CANCEL_ALL_AFTER, {"account": ALICE, "expiry_ns": 10**18}),
    ("time alone", Kind.TICK, {"timestamp_ns": 100 * SECOND}),
    ("no kind at all", 99, {}),
    ("administration without the capability", Kind.MARK, {
        "contract": BTC, "mark_ticks": 1, "admin_key": 1}),
]


@pytest.mark.parametrize("case", COMMANDS, ids=lambda case: case[0])
def test_a_preview_says_exactly_what_the_command_does(venue: World, case: Any) -> None:
    """X1: the same events to the last field, twice; the state is compared after each preview."""
    _, kind, fields = case
    busy(venue)
    foreseen = venue.preview(kind, **fields)
    assert venue.preview(kind, **fields) == foreseen
    assert foreseen
    assert venue.do(kind, **fields) == foreseen


def test_previews_are_tested_for_every_kind() -> None:
    """X1."""
    assert {kind for _, kind, _ in COMMANDS} - {99} == {
        value for name, value in vars(Kind).items() if name.isupper() and name != "ADMIN_FIRST"}


def test_a_preview_takes_no_number_and_no_time(venue: World) -> None:
    """X1, O2: ids and clock go on as if it had not been."""
    seq = venue.side.seq
    venue.preview(Kind.NEW_ORDER, account=ALICE, timestamp_ns=50 * SECOND, **ORDER,
                  **isolated(10))
    assert venue.side.seq == seq
    assert venue.buy(ALICE, 10, 59_000, **isolated(10)).order_id == seq + 1
    assert venue.block(1) is not None
    assert venue.dump()["time_ns"] == venue.now


# ---- X2: the last value that is accepted

Ask = Callable[[World, int], int]


def largest_order(venue: World, lots: int) -> int:
    return venue.preview(Kind.NEW_ORDER, account=CAROL, **{**ORDER, "qty_lots": lots}).code


def largest_isolated_order(venue: World, lots: int) -> int:
    return venue.preview(Kind.NEW_ORDER, account=CAROL, **isolated(10),
                         **{**ORDER, "qty_lots": lots}).code


def largest_removal(venue: World, units: int) -> int:
    return venue.preview(Kind.REMOVE_MARGIN, account=ALICE, isolation_id=1,
                         amount_units=units).code


def largest_withdrawal(venue: World, units: int) -> int:
    return venue.preview(Kind.WITHDRAW, account=CAROL, currency=Currency.USD,
                         amount_units=units).code


def largest_usdc_withdrawal(venue: World, units: int) -> int:
    return venue.preview(Kind.WITHDRAW, account=DAVE, currency=Currency.USDC,
                         amount_units=units).code


def largest_transfer(venue: World, units: int) -> int:
    return venue.preview(Kind.ADD_MARGIN, account=ALICE, isolation_id=1, amount_units=units).code


def largest_leverage(venue: World, leverage: int) -> int:
    return venue.preview(Kind.SET_LEVERAGE, account=ALICE, contract=BTC, isolation_id=1,
                         leverage=leverage).code


def lowest_leverage(venue: World, below_20: int) -> int:
    return largest_leverage(venue, 20 - below_20)


#: ALICE: a block long of 100 lots at 20x, cash 333, at a mark of 63,000: MB 598.35, MM 157.50;
#: main 9,664. CAROL 1,000 USD. DAVE 10,000 USDC, haircut 10 %, long 20 lots of 63 USD.
LARGEST: list[tuple[str, Ask, int, int]] = [
    # 63 x (5 % + 0.05 % + 0.55 %) = 3.528 a lot at the mark: 283 lots are 998.424
    ("order", largest_order, 283, Code.INSUFFICIENT_BALANCE),
    # at 10x 6.678 a lot: 149 lots are 995.022
    ("isolated order", largest_isolated_order, 149, Code.INSUFFICIENT_BALANCE),
    # 333 - 157.50
    ("removal of margin", largest_removal, 175_50000000, Code.EXCEEDS_REMOVABLE),
    ("withdrawal", largest_withdrawal, 1_000 * USD, Code.EXCEEDS_WITHDRAWABLE),
    ("transfer into a block", largest_transfer, 9_664 * USD, Code.INSUFFICIENT_BALANCE),
    ("leverage", largest_leverage, 20, Code.INVALID_LEVERAGE),
    # 6,300 / 11 = 572.73 <= 598.35 < 630
    ("step down from 20x", lowest_leverage, 9, Code.EXCEEDS_INITIAL_MARGIN),
]


def prepared(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.mark(BTC, 630_000)


@pytest.mark.parametrize("case", LARGEST, ids=lambda case: case[0])
def test_the_largest_value_is_accepted_and_one_more_is_not(venue: World, case: Any) -> None:
    """X2, I9, C2, C5."""
    _, ask, most, code = case
    prepared(venue)
    assert ask(venue, most) == 0
    assert ask(venue, most + 1) == code


def test_the_most_usdc_that_may_leave_is_exact(venue: World) -> None:
    """X2, C5: DAVE's long of 20 lots needs 60 + 6.60; what may leave is worth 90 % of itself.

    He paid 0.60 USD of fee with 0.66666667 USDC. (9,999.33333333 - x) x 0.9 >= 66.60 at a mark of
    60,000: x = 9,925.33333333; the ceiling of the haircut decides the last unit.
    """
    venue.trade(DAVE, MAKER, 20, 60_000)
    assert venue.account(DAVE)["usdc_units"] == 9_999_33333333
    assert largest_usdc_withdrawal(venue, 9_925_33333333) == 0
    assert largest_usdc_withdrawal(venue, 9_925_33333334) == Code.EXCEEDS_WITHDRAWABLE


def test_the_smallest_top_up_is_enough_and_one_unit_less_is_not(venue: World) -> None:
    """X2, I7: 10x needs 630 - 598.35 = 31.65 USD; the refusal says so."""
    prepared(venue)
    answer = venue.leverage(ALICE, 10, isolation_id=1)
    assert (answer.code, answer.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 31_65000000)
    venue.add_margin(ALICE, 1, 31_65000000 - 1)
    answer = venue.leverage(ALICE, 10, isolation_id=1)
    assert (answer.code, answer.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 1)
    venue.add_margin(ALICE, 1, 1)
    assert venue.leverage(ALICE, 10, isolation_id=1).code == 0


def test_a_refusal_names_what_would_have_passed(venue: World) -> None:
    """X2, O4: the limits of a refusal are themselves accepted."""
    prepared(venue)
    too_large = venue.buy(MAKER, 1_001, 9_000, SOL).refusal
    assert venue.buy(MAKER, too_large.qty_lots, 9_000, SOL).code == 0
    too_high = venue.buy(MAKER, 10, 70_000).refusal
    assert venue.buy(MAKER, 10, too_high.price_ticks).code == 0
    too_much = venue.withdraw(CAROL, 2_000 * USD)
    assert venue.withdraw(CAROL, too_much.available).code == 0


# ---- X3: what the interface shows (of the engine: the model has no interface)


def test_liquidation_levels_and_explanations_show_the_exact_threshold() -> None:
    """X3, Q2: a long of 0.1 BTC at 20x falls at 58,452.8, a short at 61,455.7; see
    test_liquidation."""
    from decimal import Decimal

    from perpcore import Contract, Venue

    _, admin = Venue.create(insurance_fund=100_000)
    admin.add_contract(Contract(
        symbol="BTCUSD-PERP", tick_size=1, lot_size="0.001", marks_per_tick=10, max_price=10**6,
        min_quantity="0.001", max_quantity=50, max_position=100, liquidation_slice=10,
        inventory_limit=400, work_off_slice=1, max_leverage=20))
    admin.mark("BTCUSD-PERP", 60_000)
    long, short = (admin.open_account(name, deposit={"USD": 10_000}) for name in ("a", "b"))
    margin = {"exec_inst": "ISOLATED_MARGIN", "leverage": 20}
    short.create_order("BTCUSD-PERP", "SELL", "0.1", price=60_000, **margin)
    long.create_order("BTCUSD-PERP", "BUY", "0.1", price=60_000, **margin)
    levels = {(level.side, level.mark_price, level.quantity)
              for level in admin.venue.liquidation_levels("BTCUSD-PERP")}
    # The maker paid 1.20 instead of 3 USD and got the 1.80 back: 333 as well.
    assert levels == {("BUY", Decimal("58452.8"), Decimal("0.1")),
                      ("SELL", Decimal("61455.7"), Decimal("0.1"))}
    block = long.isolated("BTCUSD-PERP")
    assert (block.liquidation_price, block.margin) == (Decimal("58452.8"), 333)
    # a = 61 / 2000: 178.29 x 2000 against 5,845.29 x 61, and one tick lower
    assert "17829000000 x 2000 >= 35656269000000" in block.explain()
    assert "17828000000 x 2000 < 35656208000000" in block.explain()
