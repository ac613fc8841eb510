"""O5: one documented order of checks; the first that fails gives the code.

A table a kind of command: a command that passes, and breaches of it in the order of
docs/rejects.md. Each breach alone gives its code; with any of the next ones beside it, it still
does. Breaches that need the same field, or states that exclude each other, are no pair.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from reference.codes import Code, Currency, Exec, Kind, MarketState, OrderType, Scope, Side, Tif
from steep import STEEP_PERP
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    CAROL,
    CONTRACTS,
    ETH,
    FULL_PROFILE,
    MAKER,
    MARKS,
    SECOND,
    SOL,
    SOL_PERP_10X,
    TERMS,
    USD,
    World,
    isolated,
)

REJECTS = Path(__file__).parents[2] / "docs" / "rejects.md"
#: Contracts beside BTC, ETH and SOL: one without a mark, two for more blocks, one that is steep.
UNMARKED, FOURTH, FIFTH, STEEP = range(3, 7)
#: Rich, and nobody else trades with it.
BANK = 4
#: A pair is tested with so many of the later breaches that go with it.
NEIGHBORS = 3

Setup = Callable[[World], Any]


@dataclass(frozen=True)
class Breach:
    """What makes one check fail: fields of the command, a state, bits of the profile."""

    code: int
    word: str
    fields: dict[str, int] = field(default_factory=dict)
    setup: Setup | None = None
    uses: tuple[str, ...] = ()
    profile_off: int = 0
    profile_on: int = 0
    late: int = 0  # setups run in this order; the profile is set at 5, later is time's and markets'
    risky: bool = False  # checked only where the command raises risk
    reduces: bool = False  # makes it a command that does not

    def goes_with(self, other: Breach) -> bool:
        """Whether both can be true of one command; flags are joined."""
        mine, others = (
            {*b.uses, *(name for name in b.fields if name != "exec_flags")} for b in (self, other))
        one_reduces = (self.reduces and other.risky) or (self.risky and other.reduces)
        return not mine & others and not one_reduces


@dataclass(frozen=True)
class Table:
    """A command that passes in a prepared world, and its breaches in order."""

    word: str
    kind: int
    base: dict[str, int]
    breaches: tuple[Breach, ...]
    prepare: Setup | None = None

    def run(self, side: str, *breaches: Breach) -> int:
        """The code of the command with these breaches, in a fresh world."""
        world = populated(side)
        if self.prepare:
            self.prepare(world)
        profile = FULL_PROFILE
        for breach in breaches:
            profile = profile & ~breach.profile_off | breach.profile_on
        steps = [(b.late, b.setup) for b in breaches if b.setup]
        if profile != FULL_PROFILE:
            steps.append((5, lambda world: world.eligibility(ALICE, profile)))
        for _, step in sorted(steps, key=lambda step: step[0]):
            step(world)
        fields = dict(self.base)
        for breach in breaches:
            flags = fields.get("exec_flags", 0) | breach.fields.get("exec_flags", 0)
            fields |= breach.fields | ({"exec_flags": flags} if flags else {})
        return world.do(**{"kind": self.kind, **fields}).code


def populated(side: str) -> World:
    """Seven contracts, ALICE rich, no USDC index, room for 30 orders and six accounts, and a
    notional limit of 2,000,000 USD."""
    world = World(side, replace(TERMS, account_notional_limit_units=2_000_000 * USD,
                                order_capacity=30, account_capacity=6))
    more = [replace(SOL_PERP_10X, symbol="UNMARKED"), replace(BTC_PERP_20X, symbol="FOURTH"),
            replace(BTC_PERP_20X, symbol="FIFTH"), STEEP_PERP]
    for terms in (*CONTRACTS, *more):
        world.add_contract(terms)
    for contract, mark in zip((BTC, ETH, SOL, FOURTH, FIFTH, STEEP),
                              (*MARKS, 600_000, 600_000, 10_000), strict=True):
        world.mark(contract, mark)
    for account, dollars in enumerate((9_000_000, 300_000, 10_000, 10_000, 9_000_000)):
        world.open_account(account)
        world.deposit(account, dollars * USD)
    return world


# ---- states


def withdraw_all(world: World) -> None:
    """All the USD that may leave."""
    asked = {"account": ALICE, "currency": Currency.USD, "amount_units": 10**15}
    most = world.preview(Kind.WITHDRAW, **asked).available
    if most > 0:
        assert world.withdraw(ALICE, most).code == 0


def margin_call(world: World) -> None:
    """A BTC long, no money beside its margin, the mark one tick lower."""
    if not world.qty(ALICE):
        assert world.trade(ALICE, MAKER, 100, 60_000).code == 0
    withdraw_all(world)
    world.mark(BTC, 599_999)


def nearly_full(world: World) -> None:
    """ALICE holds 1,950 of the 2,000 SOL lots that an account may."""
    for lots in (1_000, 950):
        assert world.trade(ALICE, MAKER, lots, 10_000, SOL).code == 0


def nearly_at_the_notional_limit(world: World) -> None:
    """ALICE holds 1,999,740 to 1,999,800 USD, her SOL of 10 USD a lot included."""
    lots = (1_999_800 - 10 * world.qty(ALICE, SOL)) // 60
    assert world.trade(ALICE, BANK, lots, 60_000).code == 0


def twenty_orders(world: World) -> None:
    """None of them has a reserve, so that nothing ends them: asks for one ETH lot that she has."""
    assert world.trade(ALICE, MAKER, 1, 30_000, ETH).code == 0
    for n in range(20):
        assert world.sell(ALICE, 1, 31_000 + n, ETH, exec_flags=Exec.REDUCE_ONLY).code == 0


def client_order(world: World) -> None:
    """An order without a reserve that has the client order id 77."""
    assert world.trade(ALICE, MAKER, 1, 30_000, ETH).code == 0
    assert world.sell(ALICE, 1, 31_500, ETH, exec_flags=Exec.REDUCE_ONLY,
                      client_order_id=77).code == 0


def own_ask(world: World) -> None:
    """A reduce-only ask of her own at the price of the command."""
    assert world.trade(ALICE, MAKER, 10, 10_000, SOL).code == 0
    assert world.sell(ALICE, 10, 10_000, SOL, exec_flags=Exec.REDUCE_ONLY).code == 0


def maker_s_ask(world: World) -> None:
    assert world.sell(MAKER, 10, 10_000, SOL).code == 0


def no_bids(world: World) -> None:
    world.cancel_all(MAKER)


def own_bid(world: World) -> None:
    """Her own bid is the only one."""
    world.cancel_all(MAKER)
    assert world.buy(ALICE, 10, 10_000, SOL).code == 0


def three_blocks(world: World) -> None:
    for contract in (BTC, FOURTH, FIFTH):
        assert world.trade(ALICE, MAKER, 1, 60_000, contract, **isolated(10)).code == 0


def sol_block(leverage: int) -> Setup:
    """A block long of 100 SOL lots, 1,000 USD."""
    return lambda world: world.trade(ALICE, MAKER, 100, 10_000, SOL, **isolated(leverage))


def sol_position(world: World) -> None:
    """ALICE holds 100 SOL lots, MAKER bids for 200."""
    assert world.trade(ALICE, MAKER, 100, 10_000, SOL).code == 0
    assert world.buy(MAKER, 200, 10_000, SOL).code == 0


def fill_the_venue(world: World) -> None:
    """Other accounts' orders until there is no record left."""
    for account in (BOB, CAROL):
        for n in range(20):
            code = world.buy(account, 1, 50_000 + n).code
            if code == Code.CAPACITY:
                return
            assert code == 0
    raise AssertionError("the venue has room left")


def state_of(contract: int, state: int) -> Setup:
    return lambda world: world.market_state(contract, state)


# ---- breaches that several kinds share

UNKNOWN = Breach(Code.UNKNOWN_COMMAND, "kind", {"kind": 99})
NOT_ADMIN = Breach(Code.NOT_ADMINISTRATION, "capability", {"admin_key": 1})
LATE = Breach(Code.TIME_GOES_BACK, "time", {"timestamp_ns": SECOND - 1})
UNUSED = Breach(Code.INVALID_ARGUMENT, "unused field", {"trigger_price_ticks": 1})
NO_AMOUNT = Breach(Code.INVALID_ARGUMENT, "no amount", {"amount_units": 0})
NO_ACCOUNT = Breach(Code.INVALID_ACCOUNT, "account", {"account": 77})
NO_CONTRACT = Breach(Code.INVALID_INSTRUMENT, "contract", {"contract": 77})
STRUCTURE = (UNKNOWN, LATE, UNUSED)
#: The same of a command to which a trigger belongs.
WITH_TRIGGER = (UNKNOWN, LATE, replace(UNUSED, fields={"amount_units": 1}))
ADMIN = (UNKNOWN, NOT_ADMIN, LATE, UNUSED)
HALTED = Breach(Code.MARKET_NOT_OPEN, "halted", setup=state_of(SOL, MarketState.HALTED), late=8,
                uses=("market",))
STALE = Breach(Code.STALE_MARK_PRICE, "stale mark", setup=lambda world: world.wait(61), late=9,
               uses=("contract",))
NO_MONEY_NAME = Breach(Code.INVALID_CURRENCY, "currency", {"currency": 3})
NO_BLOCK = Breach(Code.INVALID_ISOLATION_ID, "isolation id", {"isolation_id": 99})
SUSPENDED = Breach(Code.ACCOUNT_SUSPENDED, "suspended", profile_on=1, risky=True)
PERSON = (
    SUSPENDED,
    Breach(Code.NO_DERIVATIVES_USER, "not advanced", profile_off=2, risky=True),
    Breach(Code.NO_DERIVATIVES_USER, "excluded country", profile_on=840 << 16, risky=True),
    Breach(Code.NO_DERIVATIVES_ACCOUNT, "no derivatives", profile_off=4, risky=True),
    Breach(Code.CONTRACT_NOT_ALLOWED, "contract groups", profile_off=3 << 48, risky=True))
NO_COLLATERAL = Breach(Code.CONTRACT_NOT_ALLOWED, "collateral", profile_off=16, risky=True,
                       uses=("usd",))
NO_ISOLATED = Breach(Code.NO_ISOLATED_ACCESS, "no isolated access", profile_off=8, risky=True)
LOW_LEVERAGE = Breach(Code.INVALID_LEVERAGE, "profile's leverage", profile_on=4 << 8, risky=True)
REDUCE_MARKET = Breach(Code.INSTRUMENT_NOT_TRADABLE, "reduce-only market", risky=True, late=8,
                       setup=state_of(SOL, MarketState.REDUCE_ONLY), uses=("market",))
POOR = Breach(Code.INSUFFICIENT_BALANCE, "money", setup=withdraw_all, late=3, risky=True,
              uses=("usd",))
CROWDED = Breach(Code.EXCEEDS_MAX_ORDERS, "orders", setup=twenty_orders, late=1,
                 uses=("time_in_force", "orders"))
REACHED = Breach(Code.INVALID_TRIGGER, "reached", {"trigger_price_ticks": 10_000})
FULL = Breach(Code.CAPACITY, "no record", setup=fill_the_venue, late=4)

# ---- new orders

FORM = (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT,
    Breach(Code.INVALID_SIDE, "side", {"side": 3}),
    Breach(Code.INVALID_ORDER_TYPE, "type", {"order_type": 7}),
    Breach(Code.INVALID_TIME_IN_FORCE, "time in force", {"time_in_force": 9}),
    Breach(Code.INVALID_EXEC_INST, "flag", {"exec_flags": Exec.AUTO_TOP_UP}),
    Breach(Code.INVALID_ARGUMENT, "stp", {"stp": 9}),
    Breach(Code.INVALID_ORDER_QTY, "nothing", {"qty_lots": 0}),
    Breach(Code.BELOW_MIN_ORDER_SIZE, "small", {"qty_lots": 9}),
    Breach(Code.EXCEEDS_MAX_ORDER_SIZE, "large", {"qty_lots": 1_001}),
    Breach(Code.INVALID_PRICE, "no price", {"price_ticks": 0}),
    HALTED,
    Breach(Code.NO_MARK_PRICE, "unmarked", {"contract": UNMARKED}, uses=("market",)),
    STALE,
    Breach(Code.DUPLICATE_CLIENT_ORDER_ID, "client order id", {"client_order_id": 77},
           client_order, uses=("orders",)),
    Breach(Code.PRICE_ABOVE_LIMIT, "above", {"price_ticks": 10_501}),
    Breach(Code.PRICE_BELOW_LIMIT, "below", {"price_ticks": 9_499, "side": Side.SELL}),
    Breach(Code.FAR_AWAY_PRICE, "far", {"price_ticks": 4_999}),
)
NOTHING_TO_REDUCE = Breach(Code.REDUCE_ONLY_REJECTED, "reduce-only",
                           {"exec_flags": Exec.REDUCE_ONLY}, reduces=True, uses=("position",))
LIMITS = (
    Breach(Code.EXCEEDS_MAX_POSITION, "position limit", setup=nearly_full, risky=True,
           uses=("side",)),
    Breach(Code.EXCEEDS_ACCOUNT_NOTIONAL, "notional limit", risky=True,
           setup=nearly_at_the_notional_limit),
)
MATCHING = (
    CROWDED, FULL,
    Breach(Code.POST_ONLY_WOULD_TAKE, "post-only", {"exec_flags": Exec.POST_ONLY}, maker_s_ask,
           late=1, uses=("time_in_force",)),
    Breach(Code.FOK_NOT_FILLED, "fok", {"time_in_force": Tif.FOK}),
    Breach(Code.IOC_NOT_FILLED, "ioc", {"time_in_force": Tif.IOC}, uses=("stop",)),
    Breach(Code.SELF_TRADE_PREVENTED, "own ask", setup=own_ask, late=1, uses=("stop", "orders")),
)
BUY_SOL = {
    "account": ALICE, "contract": SOL, "side": Side.BUY, "order_type": OrderType.LIMIT,
    "time_in_force": Tif.GTC, "price_ticks": 10_000, "qty_lots": 100}

CROSS = Table("cross order", Kind.NEW_ORDER, BUY_SOL, (
    *FORM, NOTHING_TO_REDUCE, *PERSON,
    replace(LOW_LEVERAGE, setup=lambda world: world.leverage(ALICE, 9, SOL)),
    REDUCE_MARKET,
    Breach(Code.ACCOUNT_IN_MARGIN_CALL, "margin call", setup=margin_call, late=2, risky=True),
    *LIMITS, POOR, *MATCHING))

NEW_BLOCK = Table("order for a new block", Kind.NEW_ORDER, {**BUY_SOL, **isolated(10)}, (
    *FORM, NO_BLOCK,
    Breach(Code.BLOCK_EXISTS, "block exists", setup=sol_block(10), uses=("isolation_id",)),
    Breach(Code.INVALID_LEVERAGE, "leverage", {"leverage": 11}),
    NOTHING_TO_REDUCE,
    Breach(Code.MARGIN_WITHOUT_RISK, "margin without risk",
           {"isolation_id": 1, "isolated_margin_units": 1}, reduces=True, uses=("position",),
           setup=lambda world: world.trade_short(ALICE, MAKER, 200, 10_000, SOL, **isolated(10))),
    *PERSON, NO_COLLATERAL, NO_ISOLATED, LOW_LEVERAGE, REDUCE_MARKET,
    Breach(Code.EXCEEDS_MAX_BLOCKS, "three blocks", setup=three_blocks, risky=True,
           uses=("isolation_id",)),
    *LIMITS,
    Breach(Code.EXCEEDS_INITIAL_MARGIN, "explicit margin", {"isolated_margin_units": 1},
           risky=True),
    POOR, *MATCHING))


def steep_block(world: World) -> None:
    """See test_orders: 10,000 lots at 5x, 5,350 USD above maintenance; 6,000 lots on offer."""
    assert world.trade(ALICE, MAKER, 10_000, 10_000, STEEP, **isolated(5)).code == 0
    world.mark(STEEP, 8_850)
    assert world.sell(MAKER, 6_000, 8_850, STEEP).code == 0


ADD = Table("order for a block", Kind.NEW_ORDER, {
    **BUY_SOL, "contract": STEEP, "price_ticks": 8_850, "qty_lots": 1_000,
    **isolated(0, isolation_id=1)}, (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT, NO_BLOCK,
    Breach(Code.INVALID_LEVERAGE, "another leverage", {"leverage": 6}),
    *PERSON, NO_COLLATERAL, NO_ISOLATED, LOW_LEVERAGE, POOR, CROWDED, FULL,
    Breach(Code.IMMEDIATE_LIQUIDATION, "too steep", {"qty_lots": 5_000}, risky=True),
), steep_block)

# ---- cancel, amend, close


def bid_five(world: World) -> None:
    """A bid for 100 SOL lots with the client order id 5."""
    assert world.buy(ALICE, 100, 9_900, SOL, client_order_id=5).code == 0


NO_ORDER = Breach(Code.INVALID_ORDER_ID, "order id", {"client_order_id": 6})
CANCEL = Table("cancel", Kind.CANCEL, {"account": ALICE, "client_order_id": 5},
               (*STRUCTURE, NO_ACCOUNT, NO_ORDER), bid_five)
CANCEL_ALL = Table("cancel all", Kind.CANCEL_ALL, {"account": ALICE, "contract": SOL}, (
    *STRUCTURE, Breach(Code.INVALID_ARGUMENT, "scope", {"scope": 3}), NO_ACCOUNT, NO_CONTRACT))
AMEND = Table("amend", Kind.AMEND, {"account": ALICE, "client_order_id": 5, "qty_lots": 150}, (
    *WITH_TRIGGER, NO_ACCOUNT, NO_ORDER,
    Breach(Code.INVALID_ARGUMENT, "nothing to change", {"qty_lots": 0}, uses=("price_ticks",)),
    Breach(Code.INVALID_ARGUMENT, "a trigger", {"trigger_price_ticks": 9_000}),
    Breach(Code.INVALID_ORDER_QTY, "filled already", {"qty_lots": 20},
           lambda world: world.sell(MAKER, 20, 9_900, SOL)),
    Breach(Code.BELOW_MIN_ORDER_SIZE, "small", {"qty_lots": 9}),
    Breach(Code.EXCEEDS_MAX_ORDER_SIZE, "large", {"qty_lots": 1_001}),
    Breach(Code.INVALID_PRICE, "price", {"price_ticks": 1_000_001}),
    HALTED, STALE,
    Breach(Code.PRICE_ABOVE_LIMIT, "above", {"price_ticks": 10_501}),
    Breach(Code.FAR_AWAY_PRICE, "far", {"price_ticks": 4_999}),
    REDUCE_MARKET, POOR), bid_five)
CLOSE = Table("close", Kind.CLOSE_POSITION, {
    "account": ALICE, "contract": SOL, "order_type": OrderType.LIMIT, "price_ticks": 10_000,
    "qty_lots": 50}, (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT,
    Breach(Code.INVALID_ORDER_TYPE, "type", {"order_type": 3}),
    Breach(Code.INVALID_EXEC_INST, "release of a cross position",
           {"exec_flags": Exec.RELEASE_MARGIN}, uses=("isolation_id",)),
    NO_BLOCK,
    Breach(Code.NO_POSITION, "flat", setup=lambda world: world.close(ALICE, contract=SOL),
           uses=("isolation_id", "qty_lots")),
    Breach(Code.BELOW_MIN_ORDER_SIZE, "small", {"qty_lots": 9}),
    Breach(Code.INVALID_PRICE, "no price", {"price_ticks": 0}),
    HALTED, STALE,
    Breach(Code.PRICE_BELOW_LIMIT, "below", {"price_ticks": 9_499}),
    Breach(Code.FAR_AWAY_PRICE, "far", {"price_ticks": 15_001}),
    CROWDED, FULL,
    Breach(Code.IOC_NOT_FILLED, "no bids", {"order_type": OrderType.MARKET, "price_ticks": 0},
           no_bids, uses=("stop", "time_in_force")),
    Breach(Code.SELF_TRADE_PREVENTED, "own bid", setup=own_bid, uses=("stop", "orders")),
), sol_position)


def ruined_block(world: World) -> None:
    """See test_orders: 100 BTC lots, 0.035 USD too few for a sale of all at the only bid."""
    assert world.trade(ALICE, MAKER, 100, 60_000, **isolated(20)).code == 0
    world.mark(BTC, 590_000)
    assert world.buy(MAKER, 100, 56_698).code == 0


RUIN = Table("close of a ruined block", Kind.CLOSE_POSITION, {
    "account": ALICE, "contract": BTC, "order_type": OrderType.MARKET, "qty_lots": 40,
    "isolation_id": 1}, (
    NO_ACCOUNT, NO_CONTRACT, NO_BLOCK,
    replace(HALTED, setup=state_of(BTC, MarketState.HALTED)), FULL,
    Breach(Code.BEYOND_BANKRUPTCY, "the last bid", {"qty_lots": 100}),
), ruined_block)

# ---- leverage and margin

LEVERAGE_UP = Table("leverage up", Kind.SET_LEVERAGE, {
    "account": ALICE, "contract": SOL, "isolation_id": 1, "leverage": 8}, (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT, NO_BLOCK,
    Breach(Code.INVALID_LEVERAGE, "leverage", {"leverage": 11}),
    *PERSON, NO_ISOLATED, LOW_LEVERAGE, REDUCE_MARKET), sol_block(5))


def fat_block(world: World) -> None:
    """At 10x with 200 USD beside its margin of 100: 4x is fine, 2x needs 500."""
    sol_block(10)(world)
    assert world.add_margin(ALICE, 1, 200 * USD).code == 0


LEVERAGE_DOWN = Table("leverage down", Kind.SET_LEVERAGE, {
    "account": ALICE, "contract": SOL, "isolation_id": 1, "leverage": 4}, (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT,
    NO_BLOCK, Breach(Code.INVALID_LEVERAGE, "leverage", {"leverage": 0}),
    Breach(Code.EXCEEDS_INITIAL_MARGIN, "too low", {"leverage": 2}),
    Breach(Code.INSUFFICIENT_BALANCE, "top-up",
           {"leverage": 2, "exec_flags": Exec.AUTO_TOP_UP}, withdraw_all),
), fat_block)
MAIN_DOWN = Table("leverage of main down", Kind.SET_LEVERAGE, {
    "account": ALICE, "contract": SOL, "leverage": 9}, (
    *STRUCTURE, NO_ACCOUNT, NO_CONTRACT, Breach(Code.INVALID_LEVERAGE, "leverage", {"leverage": 0}),
    Breach(Code.INSUFFICIENT_BALANCE, "money", {"leverage": 1}, withdraw_all)), sol_position)
ADD_MARGIN = Table("add margin", Kind.ADD_MARGIN, {
    "account": ALICE, "isolation_id": 1, "amount_units": 10 * USD}, (
    *STRUCTURE, NO_AMOUNT, NO_ACCOUNT, NO_MONEY_NAME, NO_BLOCK,
    Breach(Code.INSUFFICIENT_BALANCE, "money", {"amount_units": 10**15})), sol_block(5))


def gaining_block(world: World) -> None:
    """200 USD of margin, 10 of profit, IM 202: 8 are removable."""
    sol_block(5)(world)
    world.mark(SOL, 10_100)


REMOVE_MARGIN = Table("remove margin", Kind.REMOVE_MARGIN, {
    "account": ALICE, "isolation_id": 1, "amount_units": 8 * USD}, (
    *STRUCTURE, NO_AMOUNT, NO_ACCOUNT, NO_MONEY_NAME, NO_BLOCK, *PERSON, NO_ISOLATED, LOW_LEVERAGE,
    REDUCE_MARKET, STALE,
    Breach(Code.EXCEEDS_REMOVABLE, "too much", {"amount_units": 10**15})), gaining_block)

# ---- money and administration

WITHDRAW = Table("withdraw", Kind.WITHDRAW, {
    "account": ALICE, "currency": Currency.USD, "amount_units": 10 * USD}, (
    *STRUCTURE, NO_AMOUNT, NO_ACCOUNT, NO_MONEY_NAME, replace(SUSPENDED, risky=False), STALE,
    Breach(Code.EXCEEDS_WITHDRAWABLE, "too much", {"amount_units": 10**15})), sol_position)
DEPOSIT = Table("deposit", Kind.DEPOSIT, {
    "account": ALICE, "currency": Currency.USD, "amount_units": USD}, (
    *STRUCTURE, NO_AMOUNT, NO_ACCOUNT, NO_MONEY_NAME,
    Breach(Code.NO_MARK_PRICE, "no index", {"currency": Currency.USDC}),
    Breach(Code.INVALID_ARGUMENT, "more than is countable", {"amount_units": 2**61})))
OPEN_ACCOUNT = Table("open account", Kind.OPEN_ACCOUNT, {"account": 5}, (
    *STRUCTURE, NO_ACCOUNT,
    Breach(Code.CAPACITY, "six accounts", {"account": 6}, lambda world: world.open_account(5))))
MARK = Table("mark", Kind.MARK, {"contract": SOL, "mark_ticks": 10_001}, (
    *ADMIN, NO_CONTRACT, Breach(Code.INVALID_ARGUMENT, "no mark", {"mark_ticks": 0})))
INDEX = Table("index", Kind.INDEX, {"currency": Currency.USDC, "mark_ticks": 999_999}, (
    *ADMIN, Breach(Code.INVALID_CURRENCY, "currency", {"currency": Currency.USD}),
    Breach(Code.INVALID_ARGUMENT, "no index", {"mark_ticks": 0})))
FUNDING = Table("funding", Kind.FUNDING, {"contract": SOL, "rate_e9": 100}, (
    *ADMIN, Breach(Code.INVALID_ARGUMENT, "scope", {"scope": Scope.FUNDING_AT_SETTLEMENT + 1}),
    NO_CONTRACT, Breach(Code.INVALID_ARGUMENT, "beyond the cap", {"rate_e9": 7_500_001}),
    STALE), sol_position)
SETTLE = Table("settle", Kind.SETTLE_SESSION, {}, (*ADMIN, STALE), sol_position)
ELIGIBILITY = Table("eligibility", Kind.SET_ELIGIBILITY, {
    "account": ALICE, "profile": FULL_PROFILE}, (
    *ADMIN, Breach(Code.INVALID_ARGUMENT, "reserved bit", {"profile": 64}), NO_ACCOUNT))
MARKET_STATE = Table("market state", Kind.SET_MARKET_STATE, {"contract": SOL, "scope": 2}, (
    *ADMIN, Breach(Code.INVALID_ARGUMENT, "state", {"scope": 3}), NO_CONTRACT))
TOP_UP = Table("fund top-up", Kind.FUND_TOP_UP, {"currency": Currency.USD, "amount_units": USD}, (
    *ADMIN, NO_AMOUNT, NO_MONEY_NAME))
TICK = Table("tick", Kind.TICK, {}, ADMIN)
STOP = Table("stop", Kind.NEW_ORDER, {
    "account": ALICE, "contract": SOL, "side": Side.SELL, "order_type": OrderType.STOP_LOSS,
    "qty_lots": 50, "trigger_price_ticks": 9_500}, (
    *WITH_TRIGGER, NO_ACCOUNT, NO_CONTRACT,
    Breach(Code.INVALID_SIDE, "side", {"side": 3}),
    Breach(Code.INVALID_ORDER_QTY, "no lots", {"qty_lots": 0}),
    Breach(Code.INVALID_PRICE, "trigger", {"trigger_price_ticks": 1_000_001}),
    HALTED, STALE,
    REACHED))
#: A new block: standing and blocks are looked at now, money and limits when it fires.
STOP_BLOCK = Table("stop for a new block", Kind.NEW_ORDER, {**STOP.base, **isolated(10)}, (
    *WITH_TRIGGER, NO_ACCOUNT, NO_CONTRACT,
    Breach(Code.INVALID_ARGUMENT, "money", {"isolated_margin_units": 1}),
    Breach(Code.INVALID_PRICE, "trigger", {"trigger_price_ticks": 1_000_001}),
    HALTED, STALE, NO_BLOCK,
    Breach(Code.BLOCK_EXISTS, "block exists", setup=sol_block(10), uses=("isolation_id",)),
    Breach(Code.INVALID_LEVERAGE, "leverage", {"leverage": 11}),
    NOTHING_TO_REDUCE, *PERSON, NO_ISOLATED, LOW_LEVERAGE, REDUCE_MARKET,
    Breach(Code.EXCEEDS_MAX_BLOCKS, "three blocks", setup=three_blocks, risky=True,
           uses=("isolation_id",)),
    REACHED, CROWDED, FULL))


def wait_with_five(world: World) -> None:
    """A stop of 100 SOL lots at 95 with the client order id 5."""
    assert world.do(Kind.NEW_ORDER, **{**STOP.base, "qty_lots": 100, "client_order_id": 5,
                                       "order_type": OrderType.STOP_LIMIT,
                                       "price_ticks": 9_400}).code == 0


AMEND_STOP = Table("amend of a stop", Kind.AMEND, {
    "account": ALICE, "client_order_id": 5, "qty_lots": 150, "trigger_price_ticks": 9_600}, (
    *WITH_TRIGGER, NO_ACCOUNT, NO_ORDER,
    Breach(Code.INVALID_ARGUMENT, "nothing to change", {"qty_lots": 0, "trigger_price_ticks": 0},
           uses=("price_ticks",)),
    Breach(Code.INVALID_ORDER_QTY, "no lots", {"qty_lots": -1}),
    Breach(Code.BELOW_MIN_ORDER_SIZE, "small", {"qty_lots": 9}),
    Breach(Code.EXCEEDS_MAX_ORDER_SIZE, "large", {"qty_lots": 1_001}),
    Breach(Code.INVALID_PRICE, "price", {"price_ticks": 1_000_001}),
    Breach(Code.INVALID_PRICE, "trigger", {"trigger_price_ticks": -1}),
    HALTED, STALE, REACHED), wait_with_five)
CANCEL_AFTER = Table("cancel all after", Kind.CANCEL_ALL_AFTER, {
    "account": ALICE, "expiry_ns": 10**18}, (*STRUCTURE, NO_ACCOUNT))

TABLES = (CROSS, NEW_BLOCK, ADD, STOP, STOP_BLOCK, CANCEL, CANCEL_AFTER, AMEND, AMEND_STOP,
          CANCEL_ALL, CLOSE, RUIN, LEVERAGE_UP, LEVERAGE_DOWN, MAIN_DOWN, ADD_MARGIN,
          REMOVE_MARGIN, WITHDRAW, DEPOSIT, OPEN_ACCOUNT, MARK, INDEX, FUNDING, SETTLE,
          ELIGIBILITY, MARKET_STATE, TOP_UP, TICK)
SINGLES = [(table, breach) for table in TABLES for breach in table.breaches]
PAIRS = [(table, first, second) for table in TABLES
         for n, first in enumerate(table.breaches)
         for second in islice((b for b in table.breaches[n + 1:] if first.goes_with(b)), NEIGHBORS)]


def word_of(value: Any) -> str:
    return str(value.word)


@pytest.mark.parametrize("table", TABLES, ids=word_of)
def test_the_command_without_a_breach_passes(side: str, table: Table) -> None:
    """O5."""
    assert table.run(side) == 0


@pytest.mark.parametrize(("table", "breach"), SINGLES, ids=word_of)
def test_each_breach_gives_its_code(side: str, table: Table, breach: Breach) -> None:
    """O5; that a refusal changes nothing is checked after every command of these worlds."""
    assert table.run(side, breach) == breach.code


@pytest.mark.parametrize(("table", "first", "second"), PAIRS, ids=word_of)
def test_the_earlier_of_two_breaches_gives_the_code(
    side: str, table: Table, first: Breach, second: Breach
) -> None:
    """O5."""
    assert table.run(side, first, second) == first.code


def documented() -> list[int]:
    """The codes of docs/rejects.md in its order."""
    return [int(code) for code in re.findall(r"^### (\d+) ", REJECTS.read_text(), re.MULTILINE)]


#: What a command other than a new order names is looked up first, marks where they are needed.
LOOKED_UP = {Code.INVALID_ORDER_ID, Code.INVALID_ISOLATION_ID, Code.NO_POSITION,
             Code.INVALID_CURRENCY, Code.NO_MARK_PRICE, Code.STALE_MARK_PRICE}


@pytest.mark.parametrize("table", TABLES, ids=word_of)
def test_the_checks_come_in_the_order_of_the_documentation(table: Table) -> None:
    """O5: a code that is checked twice stands there at its first place (40001, 226)."""
    order = documented()
    free = set() if table.kind == Kind.NEW_ORDER else LOOKED_UP
    free |= {Code.INVALID_ARGUMENT}
    places: list[int] = []
    for breach in table.breaches:
        place = order.index(breach.code)
        if place not in places and breach.code not in free and not breach.profile_on >> 8 & 0xFF:
            places.append(place)
    assert places == sorted(places)


def test_every_code_of_the_venue_is_documented_and_occurs() -> None:
    """O5: all but OK and 311, which exists only without a backstop (Q8)."""
    codes = {value for name, value in vars(Code).items() if name.isupper()}
    assert set(documented()) == codes
    assert len(documented()) == len(codes)
    assert {breach.code for _, breach in SINGLES} == codes - {
        Code.OK, Code.POSITION_IN_LIQUIDATION}
    assert {table.kind for table in TABLES} == {
        value for name, value in vars(Kind).items() if name.isupper() and name != "ADMIN_FIRST"}
