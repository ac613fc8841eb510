"""Chapter 4, the isolated margin block: its money, its leverage, its life.

ALICE has 10,000 USD. Unless a table says otherwise a block is 0.1 BTC (100 lots) for 6,000 USD at
20x: reserve 300 margin + 3 taker + 33 fee reserve = 336; after the fee position_cash is 333 USD.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from reference.codes import BlockState, Code, Ev, Exec, Kind, Ledger, Reason, Tif
from world import ALICE, BOB, BTC, CAROL, ETH, MAKER, SOL, USD, World, isolated

FIRST = 1  # the first isolation_id


def open_block(venue: World, leverage: int = 20, account: int = ALICE) -> None:
    """0.1 BTC at 60,000 in a new block."""
    assert venue.trade(account, MAKER, 100, 60_000, **isolated(leverage)).code == 0


def position_cash(venue: World, isolation_id: int = FIRST) -> int:
    block = venue.block(isolation_id)
    assert block is not None
    return int(block["cash_units"])


def order_cash(venue: World, isolation_id: int = FIRST) -> int:
    block = venue.block(isolation_id)
    assert block is not None
    return int(block["order_cash_units"])


def removable(venue: World, isolation_id: int = FIRST) -> int:
    """Asking for more than anybody has tells what may leave the block (I9)."""
    refused = venue.remove_margin(ALICE, isolation_id, 10**17)
    assert refused.code == Code.EXCEEDS_REMOVABLE
    return refused.available


def transferable(venue: World, isolation_id: int = FIRST) -> int:
    """What main could give to the block (C2)."""
    refused = venue.add_margin(ALICE, isolation_id, 10**17)
    assert refused.code == Code.INSUFFICIENT_BALANCE
    return refused.available


# ---- I1


@pytest.mark.rule("I1")
def test_a_block_is_pending_then_open_then_closed_and_its_id_never_comes_back(
    venue: World,
) -> None:
    bid = venue.buy(ALICE, 100, 60_000, **isolated(20))
    assert [e.isolation_id for e in bid.of(Ev.BLOCK_PENDING)] == [FIRST]
    assert venue.block(FIRST)["state"] == BlockState.PENDING  # type: ignore[index]
    fill = venue.sell(MAKER, 100, 60_000)
    assert [e.isolation_id for e in fill.of(Ev.BLOCK_OPEN)] == [FIRST]
    assert venue.block(FIRST)["state"] == BlockState.OPEN  # type: ignore[index]
    venue.buy(MAKER, 100, 60_000)
    closed = venue.close(ALICE, isolation_id=FIRST)
    assert [e.isolation_id for e in closed.of(Ev.BLOCK_CLOSED)] == [FIRST]
    assert venue.block(FIRST) is None
    # Another block gets another id; the old one is no block any more.
    assert venue.buy(ALICE, 1, 60_000, **isolated(20, FIRST)).code == Code.INVALID_ISOLATION_ID
    assert venue.buy(ALICE, 1, 60_000, **isolated(20)).of(Ev.BLOCK_PENDING)[0].isolation_id == 2


@pytest.mark.rule("I1")
def test_a_refused_order_takes_no_isolation_id(venue: World) -> None:
    assert venue.buy(CAROL, 400, 60_000, **isolated(20)).code == Code.INSUFFICIENT_BALANCE
    assert venue.dump()["next_isolation_id"] == FIRST
    assert venue.buy(ALICE, 1, 60_000, **isolated(20)).of(Ev.BLOCK_PENDING)[0].isolation_id == FIRST


@pytest.mark.rule("I1")
def test_there_is_one_block_per_account_and_contract(venue: World) -> None:
    open_block(venue)
    assert venue.buy(ALICE, 1, 60_000, **isolated(20)).code == Code.BLOCK_EXISTS
    # On another contract and for another account there may be one.
    assert venue.buy(ALICE, 1, 30_000, ETH, **isolated(20)).code == 0
    assert venue.buy(BOB, 1, 60_000, **isolated(20)).code == 0


@pytest.mark.rule("I1")
@pytest.mark.parametrize(("account", "contract", "isolation_id"), [
    (ALICE, BTC, 7), (BOB, BTC, FIRST), (ALICE, ETH, FIRST)],
    ids=["an_id_that_does_not_exist", "of_another_account", "of_another_contract"])
def test_a_wrong_isolation_id_is_refused(
    venue: World, account: int, contract: int, isolation_id: int
) -> None:
    open_block(venue)
    price = 60_000 if contract == BTC else 30_000
    refused = venue.buy(account, 1, price, contract, **isolated(20, isolation_id))
    assert refused.code == Code.INVALID_ISOLATION_ID


@pytest.mark.rule("I1")
def test_an_account_has_at_most_its_number_of_blocks(make_venue: Callable[..., World]) -> None:
    venue = make_venue(max_blocks_per_account=2)
    assert venue.buy(ALICE, 1, 60_000, **isolated(20)).code == 0
    assert venue.buy(ALICE, 1, 30_000, ETH, **isolated(20)).code == 0
    assert venue.buy(ALICE, 10, 10_000, SOL, **isolated(10)).code == Code.EXCEEDS_MAX_BLOCKS
    assert venue.buy(BOB, 10, 10_000, SOL, **isolated(10)).code == 0


@pytest.mark.rule("I1")
def test_block_and_cross_position_on_one_contract_never_net(venue: World) -> None:
    venue.trade_short(ALICE, MAKER, 100, 60_000)
    open_block(venue)
    # Long 0.1 in the block, short 0.1 in main: both pay their margin.
    assert venue.qty(ALICE) == -100
    assert venue.block(FIRST)["qty_lots"] == 100  # type: ignore[index]
    # Main: 10,000 - 3 fee - 336 moved; FR 33, IM 300: 9,328 USD free.
    assert transferable(venue) == 9_328 * USD
    # A cross order that reduces main's short does not touch the block.
    venue.sell(MAKER, 100, 60_000)
    venue.close(ALICE)
    assert (venue.qty(ALICE), venue.block(FIRST)["qty_lots"]) == (0, 100)  # type: ignore[index]


# ---- I2

#: Price, leverage, what moves from main into order_cash for 0.1 BTC (C3).
NEEDS = [
    (60_000, 20, 33_600_000_000),   # 300 + 3 + 33
    (59_000, 20, 33_600_000_000),   # the mark is the base
    (60_600, 20, 39_936_000_000),   # 303 + 3.03 + 33.33 + 60 above the mark
    (60_000, 10, 63_600_000_000),   # 600 + 3 + 33
    (60_000, 1, 603_600_000_000),   # 6,000 + 3 + 33
]


@pytest.mark.rule("I2")
@pytest.mark.parametrize(("price", "leverage", "need"), NEEDS)
def test_the_reserve_moves_into_the_block_with_the_acceptance(
    venue: World, price: int, leverage: int, need: int
) -> None:
    answer = venue.buy(ALICE, 100, price, **isolated(leverage))
    assert answer.kinds() == [Ev.ACCEPTED, Ev.BLOCK_PENDING, Ev.BALANCE, Ev.BALANCE]
    assert answer.of(Ev.ACCEPTED)[0].amount_units == need
    assert (venue.cash(ALICE), order_cash(venue)) == (10_000 * USD - need, need)


@pytest.mark.rule("I2")
def test_each_orders_reserve_is_its_own_money_and_both_sides_add_up(venue: World) -> None:
    venue.buy(ALICE, 100, 59_000, **isolated(20))
    venue.sell(ALICE, 100, 60_600, **isolated(20, FIRST))
    # 336 + (303 + 3.03 + 33.33): in main only the larger would count.
    assert order_cash(venue) == 67_536_000_000


@pytest.mark.rule("I2")
def test_the_reserve_must_be_transferable_to_the_unit(venue: World) -> None:
    # 0.29 BTC: 17,400 USD: 870 + 8.70 + 95.70 = 974.40; CAROL has 1,000; another 0.01 BTC: 33.60.
    venue.buy(CAROL, 290, 60_000, **isolated(20))
    refused = venue.buy(CAROL, 10, 60_000, **isolated(20, FIRST))
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 3_360_000_000, 2_560_000_000)
    venue.deposit(CAROL, 800_000_000 - 1)
    assert venue.buy(CAROL, 10, 60_000, **isolated(20, FIRST)).code == Code.INSUFFICIENT_BALANCE
    venue.deposit(CAROL, 1)
    assert venue.buy(CAROL, 10, 60_000, **isolated(20, FIRST)).code == 0
    assert venue.cash(CAROL) == 0


@pytest.mark.rule("I2")
def test_an_explicit_amount_covers_the_need_and_moves_whole(venue: World) -> None:
    refused = venue.buy(ALICE, 100, 60_000, **isolated(20, margin=336 * USD - 1))
    assert (refused.code, refused.needed, refused.available) == (
        Code.EXCEEDS_INITIAL_MARGIN, 336 * USD, 336 * USD - 1)
    assert venue.buy(ALICE, 100, 60_000, **isolated(20, margin=500 * USD)).code == 0
    assert order_cash(venue) == 500 * USD


@pytest.mark.rule("I2")
def test_an_explicit_amount_needs_risk_raising_lots(venue: World) -> None:
    open_block(venue)
    answer = venue.sell(ALICE, 100, 60_000, **isolated(20, FIRST, USD))
    assert answer.code == Code.MARGIN_WITHOUT_RISK
    # One lot more opens: then the amount has something to cover.
    assert venue.sell(ALICE, 101, 60_000, **isolated(20, FIRST, 100 * USD)).code == 0


@pytest.mark.rule("I2")
def test_a_market_order_needs_the_worst_price_of_the_band(venue: World) -> None:
    venue.sell(MAKER, 100, 60_000)
    answer = venue.buy(ALICE, 100, **isolated(20))
    # At 63,000: 315 + 3.15 + 34.65 + 300 = 652.80 USD; what 60,000 does not need returns.
    assert answer.of(Ev.ACCEPTED)[0].amount_units == 65_280_000_000
    assert (position_cash(venue), venue.cash(ALICE)) == (333 * USD, 9_664 * USD)


@pytest.mark.rule("I2")
def test_a_fill_moves_its_slice_from_order_cash_to_position_cash(venue: World) -> None:
    bid = venue.buy(ALICE, 3, 60_000, **isolated(20)).order_id   # 10.08 USD
    answer = venue.sell(MAKER, 1, 60_000)
    # One lot: 3.36 USD; maker fee 0.012 of the 0.03 reserved: 0.018 returns.
    assert answer.paid(Ledger.BLOCK_ORDER, Reason.ISOLATED_TRANSFER) == -336_000_000
    assert venue.live(bid)["reserve"] == 672_000_000  # type: ignore[index]
    assert order_cash(venue) == 672_000_000
    assert position_cash(venue) == 336_000_000 - 1_800_000 - 1_200_000


@pytest.mark.rule("I2", "C3")
def test_an_explicit_amount_is_split_by_lots_rounded_up(venue: World) -> None:
    bid = venue.buy(ALICE, 3, 60_000, **isolated(20, margin=1_000_000_000 + 12_000_001)).order_id
    venue.sell(MAKER, 1, 60_000)
    # A third of 10.12000001 is 3.373333336667: up. Nothing returns; the maker fee is 0.012.
    assert venue.live(bid)["reserve"] == 1_012_000_001 - 337_333_334  # type: ignore[index]
    assert position_cash(venue) == 337_333_334 - 1_200_000
    venue.sell(MAKER, 2, 60_000)
    assert position_cash(venue) == 1_012_000_001 - 3_600_000


# ---- I3


@pytest.mark.rule("I3")
def test_a_fill_at_a_better_price_returns_what_is_left_over(venue: World) -> None:
    # Reserve at 60,600: 399.36; kept at 60,000: 300 + 3 + 33.
    venue.sell(MAKER, 100, 60_000)
    answer = venue.buy(ALICE, 100, 60_600, **isolated(20))
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.ISOLATED_TRANSFER) == 336 * USD
    assert position_cash(venue) == 333 * USD


@pytest.mark.rule("I3")
def test_a_fill_keeps_the_margin_of_the_current_mark(venue: World) -> None:
    bid = venue.buy(ALICE, 100, 60_000, **isolated(20)).order_id
    assert venue.live(bid) is not None
    # Filled as the maker at 60,000 while the mark is 59,500: the loss of 50 USD is not reserved,
    # the slice is all that there is: 336 - maker fee 1.20.
    venue.mark(BTC, 595_000)
    venue.sell(MAKER, 100, 60_000)
    assert position_cash(venue) == 33_480_000_000


@pytest.mark.rule("I3")
def test_an_explicit_amount_stays_whole(venue: World) -> None:
    venue.sell(MAKER, 100, 60_000)
    venue.buy(ALICE, 100, 60_600, **isolated(20, margin=500 * USD))
    assert (position_cash(venue), order_cash(venue)) == (497 * USD, 0)
    assert venue.cash(ALICE) == 9_500 * USD


@pytest.mark.rule("I3")
@pytest.mark.parametrize("way", ["cancel", "expiry"])
def test_an_order_that_ends_returns_its_reserve_and_the_idle_block_closes(
    venue: World, way: str
) -> None:
    expiry = venue.now + 10**9 if way == "expiry" else 0
    order = venue.buy(ALICE, 100, 60_000, **isolated(20), expiry_ns=expiry,
                      time_in_force=Tif.GTD if expiry else Tif.GTC).order_id
    assert venue.cash(ALICE) == 9_664 * USD
    venue.wait(1)
    answer = venue.cancel(ALICE, order) if way == "cancel" else venue.do(Kind.TICK)
    assert [e.isolation_id for e in answer.of(Ev.BLOCK_CLOSED)] == [FIRST]
    assert venue.cash(ALICE) == 10_000 * USD


@pytest.mark.rule("I3")
def test_the_unfilled_rest_of_an_ioc_returns_its_reserve(venue: World) -> None:
    venue.sell(MAKER, 40, 60_000)
    venue.buy(ALICE, 100, 60_000, **isolated(20), time_in_force=Tif.IOC)
    # 40 lots keep 134.40 and pay 1.20.
    assert (position_cash(venue), order_cash(venue)) == (13_320_000_000, 0)
    assert venue.cash(ALICE) == 10_000 * USD - 13_440_000_000


# ---- I4


@pytest.mark.rule("I4")
def test_only_position_cash_pays_the_blocks_fees_and_funding(venue: World) -> None:
    open_block(venue)
    venue.buy(ALICE, 100, 59_000, **isolated(20, FIRST))     # order_cash 336
    main = venue.cash(ALICE)
    venue.funding(BTC, 1_000_000)                            # 0.1 % of 6,000 USD: 6
    assert (position_cash(venue), order_cash(venue)) == (327 * USD, 336 * USD)
    assert venue.cash(ALICE) == main


@pytest.mark.rule("I4", "Q2")
@pytest.mark.parametrize(("mark", "is_liquidated"), [(584_529, False), (584_528, True)])
def test_order_cash_does_not_move_the_threshold(
    venue: World, mark: int, is_liquidated: bool
) -> None:
    open_block(venue)
    venue.buy(ALICE, 100, 59_000, **isolated(20, FIRST))
    # (6,000 - 333) / (1 - 2.5 % - 0.55 %) = 58,452.81 USD, whatever the orders hold.
    answer = venue.mark(BTC, mark)
    assert [e.isolation_id for e in answer.of(Ev.LIQUIDATED)] == [FIRST] * is_liquidated


@pytest.mark.rule("I4")
def test_isolated_cash_and_profit_never_enter_mains_figures(venue: World) -> None:
    open_block(venue)
    assert transferable(venue) == 9_664 * USD
    venue.mark(BTC, 650_000)                                 # + 500 USD in the block
    assert transferable(venue) == 9_664 * USD
    refused = venue.withdraw(ALICE, 10_000 * USD)
    assert (refused.code, refused.available) == (Code.EXCEEDS_WITHDRAWABLE, 9_664 * USD)
    venue.mark(BTC, 590_000)                                 # - 100 USD
    assert transferable(venue) == 9_664 * USD


# ---- I5


@pytest.mark.rule("I5")
def test_adding_margins_the_added_slice_and_leaves_what_was_posted(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 610_000)
    # 0.1 BTC more at 61,000: 305 + 3.05 + 33.55 = 341.60; 333 + 341.60 - 3.05 fee.
    assert venue.trade(ALICE, MAKER, 100, 61_000, **isolated(20, FIRST)).code == 0
    assert position_cash(venue) == 67_155_000_000
    assert venue.block(FIRST)["qty_lots"] == 200  # type: ignore[index]


@pytest.mark.rule("I5")
@pytest.mark.parametrize(("leverage", "code"), [
    (20, 0), (0, 0), (19, Code.INVALID_LEVERAGE), (21, Code.INVALID_LEVERAGE)])
def test_an_order_for_a_block_has_the_blocks_leverage_or_none(
    venue: World, leverage: int, code: int
) -> None:
    open_block(venue)
    assert venue.buy(ALICE, 1, 60_000, **isolated(leverage, FIRST)).code == code


# ---- I6


@pytest.mark.rule("I6")
@pytest.mark.parametrize("leverage", [10, 20])
@pytest.mark.parametrize(("mark", "is_liquidated"), [(553_585, False), (553_584, True)])
def test_leverage_up_moves_no_cash_and_leaves_the_liquidation_price(
    venue: World, leverage: int, mark: int, is_liquidated: bool
) -> None:
    open_block(venue, 10)                                    # 600 + 3 + 33, cash 633
    if leverage == 20:
        answer = venue.leverage(ALICE, 20, isolation_id=FIRST)
        assert answer.kinds() == [Ev.LEVERAGE_SET]
    assert position_cash(venue) == 633 * USD
    # (6,000 - 633) / 0.9695 = 55,358.43 USD.
    answer = venue.mark(BTC, mark)
    assert [e.isolation_id for e in answer.of(Ev.LIQUIDATED)] == [FIRST] * is_liquidated


@pytest.mark.rule("I6")
def test_leverage_up_frees_margin_and_ends_at_the_contracts_limit(venue: World) -> None:
    open_block(venue, 10)
    venue.mark(BTC, 610_000)
    # MB 633 + 100 - 33.55 = 699.45; IM 610 at 10x, 305 at 20x.
    assert removable(venue) == 8_945_000_000
    assert venue.leverage(ALICE, 21, isolation_id=FIRST).code == Code.INVALID_LEVERAGE
    venue.leverage(ALICE, 20, isolation_id=FIRST)
    assert removable(venue) == 39_445_000_000


# ---- I7


@pytest.mark.rule("I7")
def test_leverage_down_without_the_margin_is_refused_with_the_need(venue: World) -> None:
    open_block(venue)
    # MB 333 - 33 = 300; IM at 10x 600.
    refused = venue.leverage(ALICE, 10, isolation_id=FIRST)
    assert (refused.code, refused.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 300 * USD)
    venue.add_margin(ALICE, FIRST, 300 * USD - 1)
    refused = venue.leverage(ALICE, 10, isolation_id=FIRST)
    assert (refused.code, refused.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 1)
    venue.add_margin(ALICE, FIRST, 1)
    assert venue.leverage(ALICE, 10, isolation_id=FIRST).kinds() == [Ev.LEVERAGE_SET]
    assert venue.block(FIRST)["leverage"] == 10  # type: ignore[index]


@pytest.mark.rule("I7")
def test_auto_top_up_moves_exactly_the_need(venue: World) -> None:
    open_block(venue)
    # A bid of 0.05 BTC: 150 + 1.50 + 16.50 = 168 at 20x, 318 at 10x.
    bid = venue.buy(ALICE, 50, 59_000, **isolated(20, FIRST)).order_id
    refused = venue.leverage(ALICE, 10, isolation_id=FIRST)
    assert (refused.code, refused.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 450 * USD)
    main = venue.cash(ALICE)
    assert venue.leverage(ALICE, 10, isolation_id=FIRST, top_up=True).code == 0
    assert venue.cash(ALICE) == main - 450 * USD
    assert (position_cash(venue), order_cash(venue)) == (633 * USD, 318 * USD)
    live = venue.live(bid)
    assert live is not None
    assert (live["reserve"], live["leverage"]) == (318 * USD, 10)


@pytest.mark.rule("I7")
def test_leverage_down_is_never_half_applied(venue: World) -> None:
    open_block(venue)
    venue.withdraw(ALICE, 9_664 * USD - 300 * USD + 1)
    refused = venue.leverage(ALICE, 10, isolation_id=FIRST, top_up=True)
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 300 * USD, 300 * USD - 1)
    assert venue.block(FIRST)["leverage"] == 20  # type: ignore[index]
    assert position_cash(venue) == 333 * USD


# ---- I8


@pytest.mark.rule("I8")
def test_margin_comes_from_mains_transferable_money_to_the_last_unit(venue: World) -> None:
    open_block(venue)
    refused = venue.add_margin(ALICE, FIRST, 9_664 * USD + 1)
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 9_664 * USD + 1, 9_664 * USD)
    assert venue.add_margin(ALICE, FIRST, 9_664 * USD).code == 0
    assert (venue.cash(ALICE), position_cash(venue)) == (0, 9_997 * USD)


@pytest.mark.rule("I8", "Q2")
@pytest.mark.parametrize(("mark", "is_liquidated"), [(574_214, False), (574_213, True)])
def test_added_margin_moves_the_liquidation_price_by_the_formula(
    venue: World, mark: int, is_liquidated: bool
) -> None:
    open_block(venue)
    venue.add_margin(ALICE, FIRST, 100 * USD)
    # (6,000 - 433) / 0.9695 = 57,421.35 USD.
    answer = venue.mark(BTC, mark)
    assert [e.isolation_id for e in answer.of(Ev.LIQUIDATED)] == [FIRST] * is_liquidated


@pytest.mark.rule("I8", "I9")
def test_a_pending_block_takes_margin_and_gives_it_back(venue: World) -> None:
    venue.buy(ALICE, 100, 59_000, **isolated(20))
    assert venue.add_margin(ALICE, FIRST, 50 * USD).code == 0
    assert (position_cash(venue), order_cash(venue)) == (50 * USD, 336 * USD)
    assert removable(venue) == 50 * USD
    assert venue.remove_margin(ALICE, FIRST, 50 * USD).code == 0


# ---- I9


@pytest.mark.rule("I9")
def test_removable_is_accepted_and_one_unit_more_is_refused(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 610_000)
    # MM 152.50, IM 305, FR 33.55: min(333 - 152.50, 333 + 100 - 33.55 - 305) = 94.45.
    refused = venue.remove_margin(ALICE, FIRST, 9_445_000_001)
    assert (refused.code, refused.needed, refused.available) == (
        Code.EXCEEDS_REMOVABLE, 9_445_000_001, 9_445_000_000)
    assert venue.remove_margin(ALICE, FIRST, 9_445_000_000).code == 0
    assert position_cash(venue) == 33_300_000_000 - 9_445_000_000
    assert removable(venue) == 0


@pytest.mark.rule("I9")
def test_position_cash_never_goes_below_maintenance(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 660_000)
    # uPnL 600, MM 165, IM 330, FR 36.30: the second term would give 566.70.
    assert removable(venue) == 168 * USD


@pytest.mark.rule("I9")
def test_without_profit_nothing_is_removable(venue: World) -> None:
    open_block(venue)
    venue.add_margin(ALICE, FIRST, 500 * USD)
    assert removable(venue) == 0
    venue.mark(BTC, 600_001)
    # One mark tick of profit: 0.01 USD. MB 833.01 - 33.000055 rounds its FR up; IM 300.0005.
    assert removable(venue) == 83_301_000_000 - 3_300_005_500 - 30_000_050_000


#: Settled at, mark afterwards, removable: profit counts from the opening at 60,000.
SINCE_OPENING = [
    # Cost 6,100 after the roll, cash 433. uPnL -50, IM 302.50, FR 33.275.
    ("a loss in this session, but a gain since the opening", 610_000, 605_000, 4_722_500_000),
    # Cost 5,950 after the roll: a gain of 30 in this session, a loss of 20 since the opening.
    ("a gain in this session, but a loss since the opening", 595_000, 598_000, 0),
]


@pytest.mark.rule("I9", "U4")
@pytest.mark.parametrize(("settled", "mark", "left"), [row[1:] for row in SINCE_OPENING],
                         ids=[row[0].replace(" ", "_") for row in SINCE_OPENING])
def test_profit_is_measured_from_the_opening_cost(
    venue: World, settled: int, mark: int, left: int
) -> None:
    open_block(venue)
    venue.add_margin(ALICE, FIRST, 0 if settled == 610_000 else 500 * USD)
    venue.mark(BTC, settled)
    venue.settle()
    venue.mark(BTC, mark)
    assert removable(venue) == left


# ---- I10


@pytest.mark.rule("I10")
def test_a_partial_close_realizes_its_share_and_leaves_the_margin(venue: World) -> None:
    open_block(venue)
    venue.buy(MAKER, 40, 61_000)
    answer = venue.close(ALICE, 40, isolation_id=FIRST)
    # 2,440 - 2,400 = 40; fee 1.22; 333 + 40 - 1.22 = 371.78.
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.REALIZED_PNL) == 40 * USD
    assert position_cash(venue) == 37_178_000_000
    assert venue.cash(ALICE) == 9_664 * USD


@pytest.mark.rule("I10")
def test_a_close_with_release_moves_out_the_share_of_the_cash_before(venue: World) -> None:
    open_block(venue)
    venue.buy(MAKER, 40, 61_000)
    venue.close(ALICE, 40, isolation_id=FIRST, exec_flags=Exec.RELEASE_MARGIN)
    # 333 x 40 / 100 = 133.20, without any profit at the mark of 60,000.
    assert venue.cash(ALICE) == 9_664 * USD + 13_320_000_000
    assert position_cash(venue) == 37_178_000_000 - 13_320_000_000


@pytest.mark.rule("I10")
def test_a_release_leaves_the_margin_of_the_rest(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 590_000)
    venue.buy(MAKER, 40, 59_000)
    venue.close(ALICE, 40, isolation_id=FIRST, exec_flags=Exec.RELEASE_MARGIN)
    # 333 - 40 - 1.18 = 291.82; 0.06 BTC: uPnL -60, FR 19.47, IM 177, MM 88.50: 35.35 may go,
    # less than the share of 133.20.
    assert position_cash(venue) == 29_182_000_000 - 3_535_000_000


@pytest.mark.rule("I10", "U3")
def test_a_release_rounds_down(venue: World) -> None:
    # 3 lots: 10.08 - 0.09 = 9.99; another 0.00000001 makes a third uneven.
    venue.trade(ALICE, MAKER, 3, 60_000, **isolated(20))
    venue.add_margin(ALICE, FIRST, 999_000_001)
    venue.buy(MAKER, 1, 60_000)
    before = position_cash(venue)
    assert before == 1_998_000_001
    answer = venue.close(ALICE, 1, isolation_id=FIRST, exec_flags=Exec.RELEASE_MARGIN)
    moved = answer.paid(Ledger.BLOCK_POSITION, Reason.ISOLATED_TRANSFER)
    assert moved == -666_000_000


# ---- I11


@pytest.mark.rule("I11")
def test_a_full_close_returns_all_cash_and_the_session_profit_with_it(venue: World) -> None:
    open_block(venue)
    venue.buy(MAKER, 100, 61_000)
    answer = venue.close(ALICE, isolation_id=FIRST)
    # 333 + 100 - 3.05 fee = 429.95.
    assert answer.paid(Ledger.MAIN_USD, Reason.ISOLATED_TRANSFER, ALICE) == 42_995_000_000
    assert venue.cash(ALICE) == 1_009_395_000_000
    assert venue.block(FIRST) is None
    # -3 + 100 - 3.05: the profit is locked in main now.
    assert venue.account(ALICE)["session_pnl_units"] == 9_395_000_000
    assert venue.withdraw(ALICE, 10_000 * USD + 1).available == 10_000 * USD


@pytest.mark.rule("I11", "C5", "S4")
def test_money_of_a_waiting_order_keeps_the_locked_profit_that_it_is(venue: World) -> None:
    # 1,000 lots from 60,000 to 61,000: 1,000 - 30 - 30.50 = 939.50 USD of locked profit.
    venue.trade(ALICE, MAKER, 1_000, 60_000)
    venue.buy(MAKER, 1_000, 61_000)
    venue.close(ALICE)
    open_block(venue)
    # All that is left goes to a bid of the block, the profit with it: main has nothing.
    venue.buy(ALICE, 1, 50_000, **isolated(0, FIRST, venue.cash(ALICE)))
    assert (venue.cash(ALICE), venue.account(ALICE)["session_pnl_units"]) == (0, 0)
    venue.buy(MAKER, 100, 60_000)
    venue.close(ALICE, isolation_id=FIRST)
    # 939.50 - 3 - 3 of session PnL; the 327 of the position are locked, the rest lies in the bid.
    back = venue.cash(ALICE)
    assert venue.account(ALICE)["session_pnl_units"] == back > 0
    block = venue.block(FIRST)
    assert block is not None
    assert block["session_pnl_units"] == 93_350_000_000 - back
    assert venue.withdraw(ALICE, 1).available == 0


@pytest.mark.rule("I11")
def test_a_loss_of_the_session_goes_along_as_well(venue: World) -> None:
    open_block(venue)
    venue.buy(MAKER, 100, 60_000)
    venue.close(ALICE, isolation_id=FIRST)
    assert venue.account(ALICE)["session_pnl_units"] == -6 * USD
    assert venue.cash(ALICE) == 9_994 * USD


@pytest.mark.rule("I11")
def test_with_orders_left_the_block_is_pending_again(venue: World) -> None:
    open_block(venue)
    bid = venue.buy(ALICE, 50, 59_000, **isolated(20, FIRST)).order_id     # 168 USD
    venue.buy(MAKER, 100, 60_000)
    answer = venue.close(ALICE, isolation_id=FIRST)
    assert [e.isolation_id for e in answer.of(Ev.BLOCK_PENDING)] == [FIRST]
    assert answer.of(Ev.BLOCK_CLOSED) == []
    block = venue.block(FIRST)
    assert block is not None
    assert (block["state"], block["cash_units"], block["order_cash_units"]) == (
        BlockState.PENDING, 0, 168 * USD)
    assert venue.live(bid) is not None
    assert venue.cash(ALICE) == 9_664 * USD - 168 * USD + 330 * USD


# ---- I12


@pytest.mark.rule("I12")
def test_an_opposite_order_closes_and_opens_the_rest_in_one_command(venue: World) -> None:
    open_block(venue)
    venue.buy(MAKER, 150, 60_000)
    answer = venue.sell(ALICE, 150, 60_000, **isolated(20, FIRST))
    # Only the 50 lots beyond the position are reserved: 150 + 1.50 + 16.50.
    assert answer.of(Ev.ACCEPTED)[0].amount_units == 168 * USD
    assert answer.fills(ALICE) == [(100, 60_000), (50, 60_000)]
    block = venue.block(FIRST)
    assert block is not None
    assert (block["state"], block["qty_lots"], block["cost_units"], block["leverage"]) == (
        BlockState.OPEN, -50, -3_000 * USD, 20)
    # The long's 330 went to main; the short keeps 168 less its fee of 1.50.
    assert position_cash(venue) == 16_650_000_000
    assert venue.cash(ALICE) == 10_000 * USD - 6 * USD - 168 * USD


@pytest.mark.rule("I12", "O7")
def test_a_close_below_zero_opens_nothing(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 585_000)
    # 0.1 BTC sold at 55,600: -440 against 333 of cash.
    venue.buy(MAKER, 150, 55_600)
    answer = venue.sell(ALICE, 150, 55_600, **isolated(20, FIRST))
    assert answer.code == Code.BEYOND_BANKRUPTCY
    assert venue.block(FIRST)["qty_lots"] == 100  # type: ignore[index]


# ---- I13

#: The mark, and what becomes of the 336 USD that moved into the block.
PATHS = [
    ("liquidated with something left", 584_000),
    ("a gap far beyond bankruptcy", 300_000),
    ("a gap to almost nothing", 10),
]


@pytest.mark.rule("I13", "I4")
@pytest.mark.parametrize("mark", [row[1] for row in PATHS],
                         ids=[row[0].replace(" ", "_") for row in PATHS])
def test_an_owner_loses_at_most_what_moved_in(venue: World, mark: int) -> None:
    open_block(venue)
    main = dict(venue.account(ALICE))
    answer = venue.mark(BTC, mark)
    assert [e.isolation_id for e in answer.of(Ev.LIQUIDATED)] == [FIRST]
    assert venue.block(FIRST) is None
    after = venue.account(ALICE)
    assert after["cash_units"] == 9_664 * USD
    assert {**after, "deficit_units": 0} == {**main, "deficit_units": 0}


@pytest.mark.rule("I13")
def test_funding_beyond_the_blocks_cash_does_not_reach_main(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 590_000)
    # 0.75 % of 5,900 USD is 44.25 an interval; MB 200.55 is below maintenance after two.
    for _ in range(2):
        venue.funding(BTC, 7_500_000)
    assert venue.block(FIRST) is None
    assert venue.cash(ALICE) == 9_664 * USD


@pytest.mark.rule("I13", "S3")
def test_a_session_takes_a_blocks_loss_from_the_block(venue: World) -> None:
    open_block(venue)
    venue.mark(BTC, 586_000)
    venue.settle()
    # The roll realizes -140 USD: 193 are left; main is as it was.
    assert position_cash(venue) == 193 * USD
    assert venue.cash(ALICE) == 9_664 * USD


@pytest.mark.rule("I2", "O2")
def test_a_close_order_of_a_block_names_its_unit_only_by_its_id(venue: World) -> None:
    open_block(venue)
    assert venue.close(ALICE).code == Code.NO_POSITION
    assert venue.close(ALICE, isolation_id=9).code == Code.INVALID_ISOLATION_ID
