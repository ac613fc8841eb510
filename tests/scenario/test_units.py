"""Chapter 0, units and rounding: what a number is, which contracts are accepted, whose the dust."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from reference.codes import Code, Currency, Ev, Kind, Ledger, Reason
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    DAVE,
    ETH_PERP_50X,
    MAKER,
    TERMS,
    USD,
    World,
    isolated,
)

# ---- U1


@pytest.mark.rule("U1")
def test_a_mark_between_two_order_prices_counts_to_the_last_unit(venue: World) -> None:
    # 10 lots (0.010 BTC) bought at 60,000; the mark 60,000.5 lies between 60,000 and 60,001.
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.mark(BTC, 600_005)
    venue.settle()
    # The roll puts the cost at 0.010 x 60,000.5 = 600.005 USD and realizes 0.005 USD.
    assert venue.leg(ALICE) == {
        "contract": BTC, "qty_lots": 10, "cost_units": 60_000_500_000,
        "opening_cost_units": 60_000_000_000, "leverage": 0}
    # Fee 600 x 0.05 % = 0.30 USD.
    assert venue.cash(ALICE) == 10_000 * USD - 30_000_000 + 500_000


@pytest.mark.rule("U1")
@pytest.mark.parametrize(("currency", "bits"), [(Currency.USD, 61), (Currency.USDC, 57)])
def test_a_deposit_beyond_what_can_be_counted_is_an_error_and_never_a_wrap(
    venue: World, currency: int, bits: int
) -> None:
    so_far = venue.dump()["deposits_units"][currency - Currency.USD]
    room = 2**bits - 1 - so_far
    assert venue.preview(Kind.DEPOSIT, account=BOB, currency=currency, amount_units=room).code == 0
    refused = venue.deposit(BOB, room + 1, currency)
    assert refused is not None
    assert refused.code == Code.INVALID_ARGUMENT


@pytest.mark.rule("U1")
def test_time_comes_with_the_command_and_may_stand_still_but_not_go_back(venue: World) -> None:
    assert venue.do(Kind.TICK, timestamp_ns=venue.now).code == 0
    assert venue.do(Kind.TICK, timestamp_ns=venue.now - 1).code == Code.TIME_GOES_BACK
    assert venue.dump()["time_ns"] == venue.now


# ---- U2

#: What registration must refuse, with one number that breaks the rule.
REFUSED_CONTRACTS = [
    ("an inverse contract", {"kind": 2}),
    # 10^-9 BTC x 0.10 USD is a hundredth of a money unit.
    ("a mark tick x lot below one unit", {"lot_size_e9": 1}),
    # 10^-3 BTC x 1/3 USD is 33,333.3 units.
    ("a mark tick x lot that is not whole", {"marks_per_tick": 3}),
    ("a price beyond 2^31 - 1 marks", {"max_price_ticks": 214_748_365}),
    # 2^60 units are 11.5 billion USD; 12,000,000 lots at 1,000,000 USD are 12 billion.
    ("a position beyond 2^60 units", {"max_position_lots": 12_000_000}),
    ("an order beyond 2^60 units", {"max_order_lots": 12_000_000}),
    ("an inventory beyond 2^62 units", {"inventory_limit_lots": 47_000_000}),
    ("a fee of 100 %", {"taker_fee_e9": 10**9}),
    ("a negative fee", {"maker_fee_e9": -1}),
    ("a band of 100 %", {"band_passive_e9": 10**9}),
    # 50 % of 0.01 % a lot x 20,001 lots is more than the whole notional.
    ("maintenance above the notional",
     {"unit_margin_rate_e15": 10**11, "max_position_lots": 20_001}),
    # 99.45 % + 0.55 % = 100 %.
    ("maintenance plus fee reserve of 100 %", {"maintenance_share_e4": 9_945}),
    ("no maintenance", {"maintenance_share_e4": 0}),
    # 1/2 x 10^-15 a lot and 1/2 x 1/997 have the common denominator 2 x 10^15 x 997 > 2^60.
    ("rates without a common denominator",
     {"unit_margin_rate_e15": 1, "max_leverage": 997}),
    ("a minimum above the maximum", {"min_order_lots": 11, "max_order_lots": 10}),
    ("a minimum of 0", {"min_order_lots": 0}),
    ("no tick", {"tick_size_e12": 0}),
    ("no leverage", {"max_leverage": 0}),
    ("leverage above 1,000", {"max_leverage": 1_001}),
    ("a mark that is stale before it comes", {"stale_after_ns": -1}),
    ("a negative margin rate a lot", {"unit_margin_rate_e15": -1}),
    ("a slice of 0", {"liquidation_slice_lots": 0}),
    ("an access group that no profile has", {"access_group": 16}),
]


@pytest.mark.rule("U2")
@pytest.mark.parametrize(
    "changes", [changes for _, changes in REFUSED_CONTRACTS],
    ids=[name.replace(" ", "_") for name, _ in REFUSED_CONTRACTS])
def test_a_contract_whose_limits_cannot_be_proven_is_refused(
    side: str, changes: dict[str, Any]
) -> None:
    world = World(side)
    with pytest.raises(ValueError, match=r"."):
        world.add_contract(replace(BTC_PERP_20X, **changes))
    # It takes no number: the next contract is 0.
    assert world.add_contract(BTC_PERP_20X) == 0


#: The same limits, met exactly.
ACCEPTED_CONTRACTS: list[tuple[str, dict[str, int]]] = [
    ("the largest price", {"max_price_ticks": 214_748_364, "max_position_lots": 1,
                           "inventory_limit_lots": 1}),
    ("the largest position", {"max_position_lots": 11_529_215}),
    ("maintenance of the whole notional",
     {"unit_margin_rate_e15": 10**11, "max_position_lots": 20_000}),
    # 99.44 % + 0.55 % = 99.99 %.
    ("maintenance plus fee reserve just below 100 %", {"maintenance_share_e4": 9_944}),
    ("the largest access group", {"access_group": 15}),
]


@pytest.mark.rule("U2")
@pytest.mark.parametrize(
    "changes", [changes for _, changes in ACCEPTED_CONTRACTS],
    ids=[name.replace(" ", "_") for name, _ in ACCEPTED_CONTRACTS])
def test_a_contract_that_meets_a_limit_exactly_is_accepted(
    side: str, changes: dict[str, Any]
) -> None:
    assert World(side).add_contract(replace(BTC_PERP_20X, **changes)) == 0


@pytest.mark.rule("U2")
def test_a_symbol_is_registered_once(side: str) -> None:
    world = World(side)
    assert world.add_contract(BTC_PERP_20X) == 0
    with pytest.raises(ValueError, match=r"."):
        world.add_contract(BTC_PERP_20X)
    assert world.add_contract(ETH_PERP_50X) == 1


#: The largest position at the largest price: 11,529,215 lots x 1,000,000 USD are 1,152,921,500 x
#: 10^9 units, just below 2^60 = 1,152,921,504.6 x 10^9.
WHALE_PERP = replace(
    BTC_PERP_20X, symbol="WHALE-PERP", max_position_lots=11_529_215, max_order_lots=11_529_215,
    inventory_limit_lots=46_000_000, liquidation_slice_lots=11_529_215)


@pytest.mark.rule("U1", "U2")
def test_at_the_largest_position_and_price_the_books_still_balance_to_the_unit(side: str) -> None:
    world = World(side, replace(TERMS, fund_opening_units=(0, 0)))
    world.add_contract(WHALE_PERP)
    world.mark(0, 10_000_000)
    cash = 4 * 10**17
    for account in (0, 1):
        world.open_account(account)
        world.deposit(account, cash)
    world.trade(1, 0, 11_529_215, 1_000_000, 0)
    # Fees 0.05 % and 0.02 %; funding 0.75 % of it from the buyer to the seller.
    notional, taker, maker = 1_152_921_500 * 10**9, 576_460_750 * 10**6, 230_584_300 * 10**6
    world.funding(0, 7_500_000)
    moved = 8_646_911_250 * 10**6
    assert (world.cash(1), world.cash(0)) == (cash - taker - moved, cash - maker + moved)
    # To 1 USD: the buyer owes all but a millionth of it; the fund pays what she lacks.
    world.mark(0, 10)
    worth = notional // 10**6
    lacks = notional - worth - (cash - taker - moved)
    assert (world.cash(1), world.fund) == (0, -lacks)
    # The seller's profit bears the fund's loss: what is left is all that came in, less the fees.
    world.settle()
    assert (world.cash(0), world.fund) == (2 * cash - taker - maker, 0)


# ---- U3

#: One lot at 60,001 USD is 60.001 USD: fees of these rates do not divide.
ODD_FEES = replace(
    BTC_PERP_20X, symbol="ODDUSD-PERP", taker_fee_e9=333_333, maker_fee_e9=111_111)


@pytest.fixture
def odd(venue: World) -> tuple[World, int]:
    contract = venue.add_contract(ODD_FEES)
    venue.mark(contract, 600_000)
    return venue, contract


@pytest.mark.rule("U3")
def test_fees_round_up(odd: tuple[World, int]) -> None:
    venue, contract = odd
    answer = venue.trade(ALICE, BOB, 1, 60_001, contract)
    # 60.001 USD x 0.0333333 % = 2,000,031.33 units; x 0.0111111 % = 666,677.11 units.
    assert answer.paid(Ledger.MAIN_USD, Reason.TRADE_FEE, ALICE) == -2_000_032
    assert answer.paid(Ledger.MAIN_USD, Reason.TRADE_FEE, BOB) == -666_678
    assert venue.dump()["fees_units"] == 2_000_032 + 666_678


@pytest.mark.rule("U3", "C3")
def test_every_term_of_a_reserve_rounds_up_by_itself(odd: tuple[World, int]) -> None:
    venue, contract = odd
    # 60.001 USD: margin 5 % = 300,005,000; taker 2,000,031.33 up; taker + liquidation 0.5333333 %
    # = 32,000,531.33 up; 1 USD x 0.001 BTC above the mark = 100,000.
    answer = venue.buy(ALICE, 1, 60_001, contract)
    reserve = 300_005_000 + 2_000_032 + 32_000_532 + 100_000
    assert answer.of(Ev.ACCEPTED)[0].amount_units == reserve


@pytest.mark.rule("U3", "F1")
def test_a_payer_pays_the_ceiling_a_receiver_gets_the_floor_and_the_fund_the_dust(
    venue: World,
) -> None:
    venue.trade(ALICE, BOB, 1, 60_000)
    venue.mark(BTC, 600_001)
    # 60.0001 USD x 0.0012345 % = 74,070.12345 units.
    answer = venue.funding(BTC, 12_345)
    assert answer.paid(Ledger.MAIN_USD, Reason.FUNDING, ALICE) == -74_071
    assert answer.paid(Ledger.MAIN_USD, Reason.FUNDING, BOB) == 74_070
    assert answer.paid(Ledger.FUND_USD, Reason.ROUNDING) == 1
    assert answer[-1].reason == Reason.ROUNDING


@pytest.mark.rule("U3", "A4")
def test_collateral_rounds_down_and_its_haircut_up(venue: World) -> None:
    venue.index(999_999)
    venue.deposit(DAVE, 12, Currency.USDC)
    # 10,000.00000012 USDC x 0.999999 = 999,999,000,011.99 units, down; 10 % of that, up.
    value, haircut = 999_999_000_011, 99_999_900_002
    # Nothing moves into a block beyond value - haircut: the 306 tells.
    refused = venue.buy(DAVE, 3_000, 60_000, **isolated(20))
    assert (refused.code, refused.available) == (Code.INSUFFICIENT_BALANCE, value - haircut)


@pytest.mark.rule("U3")
def test_every_division_of_the_model_names_its_direction() -> None:
    """A bare `//` stands in the two helpers of `units` alone."""
    found = []
    for path in sorted((Path(__file__).parents[1] / "reference").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and any(
                isinstance(part, (ast.BinOp, ast.AugAssign))
                and isinstance(part.op, (ast.FloorDiv, ast.Mod)) for part in ast.walk(node)
            ):
                found.append((path.name, node.name))
    assert found == [("units.py", "floor_div"), ("units.py", "ceil_div"), ("units.py", "wrap64")]


# ---- U4


@pytest.mark.rule("U4")
def test_a_partial_close_of_a_long_releases_the_ceiling_of_its_cost(venue: World) -> None:
    # 1 lot at 60,000 and 2 at 60,001: cost 60 + 2 x 60.001 = 180.002 USD for 3 lots.
    venue.trade(ALICE, MAKER, 1, 60_000)
    venue.trade(ALICE, MAKER, 2, 60_001)
    assert venue.leg(ALICE)["cost_units"] == 18_000_200_000  # type: ignore[index]
    venue.buy(MAKER, 1, 60_000)
    answer = venue.sell(ALICE, 1, 60_000)
    # A third is 6,000,066,666.67, released as ...667; the sale brings 6,000,000,000.
    assert answer.paid(Ledger.MAIN_USD, Reason.REALIZED_PNL, ALICE) == -66_667
    assert venue.leg(ALICE)["cost_units"] == 12_000_133_333  # type: ignore[index]
    assert venue.leg(ALICE)["opening_cost_units"] == 12_000_133_333  # type: ignore[index]


@pytest.mark.rule("U4")
def test_a_partial_close_of_a_short_releases_the_ceiling_too(venue: World) -> None:
    # Cost -180.002 USD for -3 lots: a third is -6,000,066,666.67, its ceiling ...666.
    venue.trade_short(ALICE, MAKER, 1, 60_000)
    venue.trade_short(ALICE, MAKER, 2, 60_001)
    assert venue.leg(ALICE)["cost_units"] == -18_000_200_000  # type: ignore[index]
    venue.sell(MAKER, 1, 60_000)
    answer = venue.buy(ALICE, 1, 60_000)
    assert answer.paid(Ledger.MAIN_USD, Reason.REALIZED_PNL, ALICE) == 66_666
    assert venue.leg(ALICE)["cost_units"] == -12_000_133_334  # type: ignore[index]


@pytest.mark.rule("U4", "S3")
def test_a_session_roll_resets_the_cost_and_keeps_the_opening_cost(venue: World) -> None:
    venue.trade(ALICE, BOB, 100, 60_000)
    venue.mark(BTC, 610_000)
    venue.settle()
    # 0.1 BTC: 6,000 USD at the opening, 6,100 at the mark.
    for account, sign in ((ALICE, 1), (BOB, -1)):
        leg = venue.leg(account)
        assert leg is not None
        assert leg["cost_units"] == sign * 6_100 * USD
        assert leg["opening_cost_units"] == sign * 6_000 * USD
