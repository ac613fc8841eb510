"""Chapter 2, accounts and eligibility: what an account holds, who may do what, what USDC counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from reference.codes import (
    BlockState,
    Code,
    Currency,
    Done,
    Ev,
    Kind,
    Ledger,
    MarketState,
    OrderType,
    Reason,
    Side,
    Tif,
)
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    DAVE,
    ETH,
    FULL_PROFILE,
    MAKER,
    SOL,
    USD,
    World,
    isolated,
)

# ---- A1


@pytest.mark.rule("A1")
def test_a_main_account_holds_both_currencies_cross_positions_orders_and_blocks(
    venue: World,
) -> None:
    venue.deposit(ALICE, 500 * USD, Currency.USDC)
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.trade_short(ALICE, MAKER, 20, 3_000 * 10, ETH)
    resting = venue.buy(ALICE, 5, 59_000).order_id
    venue.trade(ALICE, MAKER, 10, 60_000, **isolated(20))
    venue.buy(ALICE, 10, 2_900 * 10, ETH, **isolated(10))
    venue.sell(ALICE, 10, 110 * 100, SOL, **isolated(5))
    alice = venue.account(ALICE)
    assert alice["usdc_units"] == 500 * USD
    assert [(leg["contract"], leg["qty_lots"]) for leg in alice["legs"]] == [(BTC, 10), (ETH, -20)]
    assert venue.live(resting) is not None
    assert [(b["contract"], b["state"], b["qty_lots"]) for b in venue.dump()["blocks"]] == [
        (BTC, BlockState.OPEN, 10), (ETH, BlockState.PENDING, 0), (SOL, BlockState.PENDING, 0)]


@pytest.mark.rule("A1")
def test_accounts_are_numbered_in_the_order_of_their_opening(venue: World) -> None:
    assert venue.do(Kind.OPEN_ACCOUNT, account=6).code == Code.INVALID_ACCOUNT
    assert venue.do(Kind.OPEN_ACCOUNT, account=5).code == 0
    assert venue.do(Kind.OPEN_ACCOUNT, account=5).code == Code.INVALID_ACCOUNT
    assert venue.account(5)["profile"] == 0


# ---- A2

NO_GROUP_1 = FULL_PROFILE & ~(1 << 49)
USA, JAPAN = 840, 392

#: ALICE's profile, a risk-raising order of hers, the answer. USA may neither be citizenship nor
#: residence, Japan no residence.
ELIGIBILITY = [
    ("everything", FULL_PROFILE, isolated(20), 0),
    ("suspended", FULL_PROFILE | 1, {}, Code.ACCOUNT_SUSPENDED),
    ("not ADVANCED", FULL_PROFILE & ~2, {}, Code.NO_DERIVATIVES_USER),
    ("a citizen of an excluded country", FULL_PROFILE | USA << 16, {}, Code.NO_DERIVATIVES_USER),
    ("a resident of an excluded country", FULL_PROFILE | USA << 32, {}, Code.NO_DERIVATIVES_USER),
    ("residence is its own list", FULL_PROFILE | JAPAN << 32, {}, Code.NO_DERIVATIVES_USER),
    ("citizenship is its own list", FULL_PROFILE | JAPAN << 16, {}, 0),
    ("another country", FULL_PROFILE | 756 << 16 | 756 << 32, {}, 0),
    ("no access to derivatives", FULL_PROFILE & ~4, {}, Code.NO_DERIVATIVES_ACCOUNT),
    ("a contract group that is not allowed", NO_GROUP_1, {"contract": SOL},
     Code.CONTRACT_NOT_ALLOWED),
    ("another contract than the forbidden one", NO_GROUP_1, {}, 0),
    ("USD not allowed as collateral", FULL_PROFILE & ~16, isolated(20), Code.CONTRACT_NOT_ALLOWED),
    ("no isolated access", FULL_PROFILE & ~8, isolated(20), Code.NO_ISOLATED_ACCESS),
    ("no isolated access, but cross", FULL_PROFILE & ~8, {}, 0),
    ("leverage above the largest of the profile", FULL_PROFILE | 10 << 8, isolated(11),
     Code.INVALID_LEVERAGE),
    ("the largest leverage of the profile", FULL_PROFILE | 10 << 8, isolated(10), 0),
]


@pytest.mark.rule("A2")
@pytest.mark.parametrize(
    ("profile", "order", "code"), [row[1:] for row in ELIGIBILITY],
    ids=[row[0].replace(" ", "_") for row in ELIGIBILITY])
def test_every_command_that_raises_risk_asks_the_profile(
    venue: World, profile: int, order: dict[str, int], code: int
) -> None:
    venue.eligibility(ALICE, profile)
    price = 100 * 100 if order.get("contract") == SOL else 60_000
    assert venue.buy(ALICE, 10, price, **order).code == code


@pytest.mark.rule("A2", "O5")
def test_the_profile_is_asked_in_one_order(venue: World) -> None:
    """202, 411, 412, 40104, 615, 226, 208: what is cured gives way to the next."""
    venue.market_state(SOL, MarketState.REDUCE_ONLY)
    profile = 1 | 5 << 8 | USA << 16
    cures: list[tuple[int, Callable[[int], int]]] = [
        (Code.ACCOUNT_SUSPENDED, lambda p: p & ~1),
        (Code.NO_DERIVATIVES_USER, lambda p: (p | 2) & ~(0xFFFF << 16)),
        (Code.NO_DERIVATIVES_ACCOUNT, lambda p: p | 4),
        (Code.CONTRACT_NOT_ALLOWED, lambda p: p | 1 << 49),
        (Code.CONTRACT_NOT_ALLOWED, lambda p: p | 16),
        (Code.NO_ISOLATED_ACCESS, lambda p: p | 8),
        (Code.INVALID_LEVERAGE, lambda p: p | 0xFF << 8),
    ]
    for code, cure in cures:
        venue.eligibility(ALICE, profile)
        assert venue.buy(ALICE, 10, 10_000, SOL, **isolated(6)).code == code
        profile = cure(profile)
    venue.eligibility(ALICE, profile)
    assert venue.buy(ALICE, 10, 10_000, SOL, **isolated(6)).code == Code.INSTRUMENT_NOT_TRADABLE
    venue.market_state(SOL, MarketState.OPEN)
    assert venue.buy(ALICE, 10, 10_000, SOL, **isolated(6)).code == 0


@pytest.fixture
def exposed(venue: World) -> World:
    """ALICE: 0.1 BTC cross and 0.1 BTC in block 1, both in profit, 10x."""
    venue.leverage(ALICE, 10)
    venue.trade(ALICE, MAKER, 100, 60_000)
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(10))
    venue.mark(BTC, 610_000)
    return venue


@pytest.mark.rule("A2")
def test_losing_eligibility_cancels_the_orders_that_have_a_reserve(exposed: World) -> None:
    cross = exposed.buy(ALICE, 10, 59_000).order_id
    in_block = exposed.buy(ALICE, 10, 59_000, **isolated(10, 1)).order_id
    reducing = exposed.sell(ALICE, 30, 62_000).order_id
    answer = exposed.eligibility(ALICE, FULL_PROFILE & ~4)
    assert answer.done() == [(cross, Done.ELIGIBILITY), (in_block, Done.ELIGIBILITY)]
    assert exposed.live(reducing) is not None


#: The command, and whether it raises risk.
RISK = [
    ("a cross order that opens", Kind.NEW_ORDER, {
        "side": Side.BUY, "qty_lots": 1, "price_ticks": 60_000, "order_type": OrderType.LIMIT,
        "time_in_force": Tif.GTC}, True),
    ("an isolated order that opens", Kind.NEW_ORDER, {
        "side": Side.BUY, "qty_lots": 1, "price_ticks": 60_000, "order_type": OrderType.LIMIT,
        "time_in_force": Tif.GTC, **isolated(10, 1)}, True),
    ("leverage of main up", Kind.SET_LEVERAGE, {"leverage": 11}, True),
    ("leverage of the block up", Kind.SET_LEVERAGE, {"leverage": 11, "isolation_id": 1}, True),
    ("removing margin", Kind.REMOVE_MARGIN, {"isolation_id": 1, "amount_units": 1}, True),
    ("a cross order that reduces", Kind.NEW_ORDER, {
        "side": Side.SELL, "qty_lots": 10, "price_ticks": 62_000, "order_type": OrderType.LIMIT,
        "time_in_force": Tif.GTC}, False),
    ("closing the block", Kind.CLOSE_POSITION, {
        "isolation_id": 1, "price_ticks": 62_000, "order_type": OrderType.LIMIT}, False),
    ("leverage of main down", Kind.SET_LEVERAGE, {"leverage": 9}, False),
    ("adding margin", Kind.ADD_MARGIN, {"isolation_id": 1, "amount_units": 1}, False),
    ("withdrawing", Kind.WITHDRAW, {"currency": Currency.USD, "amount_units": 1}, False),
    ("cancelling", Kind.CANCEL_ALL, {"contract": 0xFFFF}, False),
]


@pytest.mark.rule("A2")
@pytest.mark.parametrize(("kind", "fields", "is_risk"), [row[1:] for row in RISK],
                         ids=[row[0].replace(" ", "_") for row in RISK])
def test_without_eligibility_an_account_may_only_reduce_its_risk(
    exposed: World, kind: int, fields: dict[str, int], is_risk: bool
) -> None:
    exposed.eligibility(ALICE, FULL_PROFILE & ~4)
    answer = exposed.do(kind, account=ALICE, **fields)
    assert answer.code == (Code.NO_DERIVATIVES_ACCOUNT if is_risk else 0)


@pytest.mark.rule("A2", "Q1")
def test_losing_eligibility_does_not_stop_a_liquidation(exposed: World) -> None:
    exposed.eligibility(ALICE, FULL_PROFILE & ~4)
    answer = exposed.mark(BTC, 500_000)
    assert (ALICE, 1) in [(e.account, e.isolation_id) for e in answer.of(Ev.LIQUIDATED)]


@pytest.mark.rule("A2")
def test_a_suspended_account_may_not_withdraw_but_close(venue: World) -> None:
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.eligibility(ALICE, FULL_PROFILE | 1)
    assert venue.withdraw(ALICE, USD).code == Code.ACCOUNT_SUSPENDED
    venue.buy(MAKER, 10, 60_000)
    assert venue.close(ALICE).fills(ALICE) == [(10, 60_000)]


@pytest.mark.rule("A2")
def test_losing_one_contract_group_cancels_the_orders_of_that_group_only(venue: World) -> None:
    on_btc = venue.buy(ALICE, 10, 59_000).order_id
    on_sol = venue.buy(ALICE, 10, 9_900, SOL).order_id
    answer = venue.eligibility(ALICE, NO_GROUP_1)
    assert answer.done() == [(on_sol, Done.ELIGIBILITY)]
    assert venue.live(on_btc) is not None


# ---- A3

ADMINISTRATION = [
    (Kind.MARK, {"contract": BTC, "mark_ticks": 600_000}),
    (Kind.INDEX, {"currency": Currency.USDC, "mark_ticks": 1_000_000}),
    (Kind.FUNDING, {"contract": BTC, "rate_e9": 1}),
    (Kind.SETTLE_SESSION, {}),
    (Kind.SET_ELIGIBILITY, {"account": ALICE, "profile": FULL_PROFILE}),
    (Kind.SET_MARKET_STATE, {"contract": BTC, "scope": MarketState.HALTED}),
    (Kind.FUND_TOP_UP, {"currency": Currency.USD, "amount_units": 1}),
    (Kind.TICK, {}),
]


@pytest.mark.rule("A3")
@pytest.mark.parametrize(("kind", "fields"), ADMINISTRATION)
def test_administration_needs_the_capability_made_with_the_venue(
    venue: World, kind: int, fields: dict[str, int]
) -> None:
    assert venue.do(kind, admin_key=0, **fields).code == Code.NOT_ADMINISTRATION
    assert venue.do(kind, admin_key=1, **fields).code == Code.NOT_ADMINISTRATION
    assert venue.do(kind, **fields).code == 0


@pytest.mark.rule("A3")
def test_a_contract_is_registered_with_the_capability_only(side: str) -> None:
    world = World(side)
    with pytest.raises((PermissionError, ValueError)):
        world.add_contract(BTC_PERP_20X, admin_key=0)
    assert world.add_contract(BTC_PERP_20X) == 0


# ---- A4

#: Index, ALICE's USDC, their collateral value and haircut of 10 %, both in USD.
COLLATERAL = [
    (1_000_000, 500 * USD, 500 * USD, 50 * USD),
    # 475 and 47.50 USD.
    (950_000, 500 * USD, 475 * USD, 4_750_000_000),
    # 500.00000001 USDC: 499.9995000099 USD down; 500.0005000100 down, its tenth up.
    (999_999, 500 * USD + 1, 49_999_950_000, 4_999_995_000),
    (1_000_001, 500 * USD + 1, 50_000_050_001, 5_000_005_001),
]


@pytest.mark.rule("A4")
@pytest.mark.parametrize(("index", "usdc", "value", "haircut"), COLLATERAL)
def test_usdc_counts_at_the_index_and_its_haircut_is_initial_margin(
    venue: World, index: int, usdc: int, value: int, haircut: int
) -> None:
    venue.deposit(ALICE, usdc, Currency.USDC)
    venue.index(index)
    # No position: margin balance = 10,000 USD + value, IM = haircut.
    refused = venue.buy(ALICE, 4_000, 60_000)
    assert refused.code == Code.INSUFFICIENT_BALANCE
    assert refused.available == 10_000 * USD + value - haircut
    # 240,000 USD x (5 % + 0.05 % + 0.55 %) = 13,440 USD.
    assert refused.needed == 13_440 * USD


@pytest.mark.rule("A4", "Q1")
@pytest.mark.parametrize(("mark", "liquidated"), [(556_318, []), (556_317, [BOB])])
def test_half_of_the_haircut_is_maintenance_margin(
    venue: World, mark: int, liquidated: list[int]
) -> None:
    # 100 USDC are worth 100 USD, their haircut 10, half of it 5.
    venue.deposit(BOB, 100 * USD, Currency.USDC)
    venue.withdraw(BOB, 4_000 * USD)
    venue.trade(BOB, MAKER, 1_000, 60_000)
    # 1 BTC for 60,000 USD, cash 6,000 - 30 fee: (60,000 - 5,970 - 100 + 5) / (1 - 3.05 %) is
    # 55,631.77 USD.
    answer = venue.mark(BTC, mark)
    assert [event.account for event in answer.of(Ev.LIQUIDATED)] == liquidated


@pytest.mark.rule("A4")
def test_a_fee_that_usd_lacks_is_paid_by_converting_exactly_that_much(venue: World) -> None:
    # Fee of 1 BTC at 60,000: 30 USD; DAVE has USDC only. 30 / (1.00 x 90 %) = 33.33333334 USDC.
    answer = venue.trade(DAVE, MAKER, 1_000, 60_000)
    assert answer.paid(Ledger.MAIN_USDC, Reason.AUTO_CONVERSION, DAVE) == -3_333_333_334
    assert answer.paid(Ledger.MAIN_USD, Reason.AUTO_CONVERSION, DAVE) == 30 * USD
    assert venue.cash(DAVE) == 0
    assert venue.account(DAVE)["usdc_units"] == 10_000 * USD - 3_333_333_334
    assert venue.dump()["conversion_units"] == [-30 * USD, 3_333_333_334]


@pytest.mark.rule("A4")
def test_too_little_usdc_gives_all_that_it_is_worth(venue: World) -> None:
    venue.deposit(BOB, 10 * USD, Currency.USDC)
    venue.trade(BOB, MAKER, 1_000, 60_000)
    venue.trade(BOB, MAKER, 1_000, 30_000, ETH)
    # ETH + 1,000 USD a coin: + 10,000 USD unrealized. BTC - 10,000 USD, realized by closing.
    venue.mark(ETH, 40_000)
    venue.mark(BTC, 500_000)
    venue.buy(MAKER, 1_000, 50_000)
    answer = venue.close(BOB)
    # Cash 10,000 - 30 - 15 - 10,000 - 25 = -70 USD; 10 USDC give 9 USD.
    assert answer.paid(Ledger.MAIN_USD, Reason.AUTO_CONVERSION, BOB) == 9 * USD
    assert (venue.cash(BOB), venue.account(BOB)["usdc_units"]) == (-61 * USD, 0)
    assert venue.account(DAVE)["usdc_units"] == 10_000 * USD


@pytest.mark.rule("A4", "I1")
def test_usdc_that_goes_into_a_block_becomes_usd_after_the_usd(venue: World) -> None:
    venue.deposit(DAVE, 100 * USD)
    # The reserve of 0.1 BTC at 20x is 336 USD: 100 in USD, 236 / 0.9 = 262.22222223 USDC.
    answer = venue.trade(DAVE, MAKER, 100, 60_000, **isolated(20))
    assert answer.paid(Ledger.MAIN_USDC, Reason.AUTO_CONVERSION, DAVE) == -26_222_222_223
    assert answer.paid(Ledger.MAIN_USD, Reason.AUTO_CONVERSION, DAVE) == 236 * USD
    assert answer.paid(Ledger.MAIN_USD, Reason.ISOLATED_TRANSFER, DAVE) == -336 * USD
    # What comes back is USD: 333 after the opening fee, less 3 for the close.
    venue.buy(MAKER, 100, 60_000)
    venue.close(DAVE, isolation_id=1)
    assert venue.cash(DAVE) == 330 * USD
    assert venue.account(DAVE)["usdc_units"] == 10_000 * USD - 26_222_222_223


@pytest.mark.rule("A4")
def test_usdc_without_an_index_is_refused_and_each_currency_goes_by_its_profile(
    side: str,
) -> None:
    venue = World(side)
    venue.add_contract(BTC_PERP_20X)
    venue.mark(BTC, 600_000)
    venue.open_account(0, FULL_PROFILE & ~32)
    refused = venue.deposit(0, 1_000 * USD, Currency.USDC)
    assert refused is not None
    assert refused.code == Code.NO_MARK_PRICE
    venue.index(1_000_000)
    venue.deposit(0, 1_000 * USD, Currency.USDC)
    # Collateral in USDC is not allowed for this account: no block from it.
    assert venue.buy(0, 1, 60_000, **isolated(20)).code == Code.CONTRACT_NOT_ALLOWED
    venue.deposit(0, 10 * USD)
    assert venue.buy(0, 1, 60_000, **isolated(20)).code == 0
