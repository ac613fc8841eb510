"""Chapter 3, cross margin: what a main account must hold, may reserve, move, withdraw and borrow.

Figures come to light where a command asks for one unit too much: a refusal carries `needed` and
`available`. Without USDC: free = cash + uPnL - FR - IM - order margin.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from reference.codes import Code, Currency, Done, Ev, Exec, Ledger, Reason
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    CAROL,
    DAVE,
    ETH,
    MAKER,
    USD,
    World,
    isolated,
)


def withdrawable(venue: World, account: int, currency: int = Currency.USD) -> int:
    """Asking for more than anybody has tells what may leave."""
    refused = venue.withdraw(account, 10**17, currency)
    assert refused.code == Code.EXCEEDS_WITHDRAWABLE
    return refused.available


# ---- C1

#: Contract, lots at the first mark, leverage of main (0: not set), free money of ALICE afterwards.
INITIAL_MARGIN = [
    # 0.1 BTC = 6,000 USD; fee 3, FR 0.55 % = 33; cash 9,997.
    ("5 % at 20x", BTC, 100, 20, 966_400_000_000),      # IM 300
    ("unset is the contract's 20x", BTC, 100, 0, 966_400_000_000),
    ("10 % at 10x", BTC, 100, 10, 936_400_000_000),     # IM 600
    ("1/3 rounds up", BTC, 100, 3, 796_400_000_000),    # IM 2,000
    ("1/7 rounds up", BTC, 100, 7, 910_685_714_285),    # IM 857.14285715
    ("100 % at 1x", BTC, 100, 1, 396_400_000_000),      # IM 6,000
    # 10 ETH = 30,000 USD; fee 15, FR 165; 2 % = 600.
    ("1,000 lots below the size rate", ETH, 1_000, 50, 922_000_000_000),
    # 60,000 USD; fee 30, FR 330; 2 % = 1,200: 0.001 % x 2,000 lots is just as much.
    ("2,000 lots where the size rate starts", ETH, 2_000, 50, 844_000_000_000),
    # 60,030 USD; fee 30.015, FR 330.165; 2.001 % = 1,201.2003.
    ("2,001 lots", ETH, 2_001, 50, 843_861_970_000),
    # 120,000 USD; fee 60, FR 660; 4 % = 4,800.
    ("4,000 lots", ETH, 4_000, 50, 448_000_000_000),
    # 120,000 USD at 20x: 5 % = 6,000 is more than the size's 4 %.
    ("4,000 lots at 20x", ETH, 4_000, 20, 328_000_000_000),
]


@pytest.mark.rule("C1")
@pytest.mark.parametrize(("contract", "lots", "leverage", "free"),
                         [row[1:] for row in INITIAL_MARGIN],
                         ids=[row[0].replace(" ", "_") for row in INITIAL_MARGIN])
def test_initial_margin_is_the_largest_of_leverage_contract_and_size(
    venue: World, contract: int, lots: int, leverage: int, free: int
) -> None:
    if leverage:
        assert venue.leverage(ALICE, leverage, contract).code == 0
    venue.trade(ALICE, MAKER, lots, 60_000 if contract == BTC else 30_000, contract)
    assert withdrawable(venue, ALICE) == free


@pytest.mark.rule("C1")
def test_the_margin_rate_ends_at_the_whole_notional(venue: World) -> None:
    # 1 % a lot: 150 lots would ask for 150 % of 9,000 USD.
    steep = venue.add_contract(replace(
        BTC_PERP_20X, symbol="STEEPUSD-PERP", unit_margin_rate_e15=10**13, max_position_lots=200))
    venue.mark(steep, 600_000)
    venue.trade(ALICE, MAKER, 150, 60_000, steep)
    # 10,000 - fee 4.50 - FR 49.50 - IM 9,000.
    assert withdrawable(venue, ALICE) == 946 * USD


#: CAROL, cash 997 after the fee, 0.1 BTC for 6,000: (6,000 - 997) / (1 - 2.5 % - 0.55 %) =
#: 51,603.92 USD. MM is half of the product's margin, whatever her own leverage.
@pytest.mark.rule("C1", "Q1")
@pytest.mark.parametrize("leverage", [20, 10])
@pytest.mark.parametrize(("mark", "liquidated"), [(516_040, []), (516_039, [CAROL])])
def test_maintenance_is_half_of_the_products_margin_at_any_leverage(
    venue: World, leverage: int, mark: int, liquidated: list[int]
) -> None:
    venue.leverage(CAROL, leverage)
    venue.trade(CAROL, MAKER, 100, 60_000)
    answer = venue.mark(BTC, mark)
    assert [event.account for event in answer.of(Ev.LIQUIDATED)] == liquidated


# ---- C2


@pytest.mark.rule("C2")
def test_only_free_money_within_the_collateral_moves_into_a_block(venue: World) -> None:
    # 1 BTC for 60,000 USD; fee 30, cash 9,970. A pending block of 0.01 ETH at 10x: 3 + .015 + .165.
    venue.trade(ALICE, MAKER, 1_000, 60_000)
    venue.buy(ALICE, 1, 30_000, ETH, **isolated(10))
    # At 61,000: uPnL 1,000, FR 335.50, IM 3,050; free = 9,966.82 + 1,000 - 3,385.50 = 7,581.32.
    venue.mark(BTC, 610_000)
    assert venue.add_margin(ALICE, 1, 758_132_000_001).available == 758_132_000_000
    # At 66,000: uPnL 6,000, FR 363, IM 3,300; free = 12,303.82, but the collateral is 9,966.82.
    venue.mark(BTC, 660_000)
    refused = venue.add_margin(ALICE, 1, 996_682_000_001)
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 996_682_000_001, 996_682_000_000)
    assert venue.add_margin(ALICE, 1, 996_682_000_000).code == 0


@pytest.mark.rule("C2", "C3")
def test_a_306_carries_what_is_needed_and_what_is_free(venue: World) -> None:
    # 0.4 BTC = 24,000 USD: 1,200 + 12 + 132 = 1,344 USD; CAROL has 1,000.
    refused = venue.buy(CAROL, 400, 60_000)
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 1_344 * USD, 1_000 * USD)


@pytest.mark.rule("C2")
def test_the_available_of_a_306_is_negative_when_main_is_short_already(venue: World) -> None:
    # 0.2 BTC for 12,000 USD, fee 6, cash 994. At 57,000: uPnL -600, FR 62.70, IM 570.
    venue.trade(CAROL, MAKER, 200, 60_000)
    venue.mark(BTC, 570_000)
    # 994 - 600 - 62.70 - 570 = -238.70 USD; a block's order of 0.01 ETH needs 3.18 USD.
    refused = venue.buy(CAROL, 1, 30_000, ETH, **isolated(10))
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 318_000_000, -23_870_000_000)


# ---- C3

#: Side, price, leverage of main, reserve of 0.1 BTC at the mark of 60,000.
RESERVES = [
    # 6,000 USD: margin 5 %, taker 0.05 %, taker + liquidation 0.55 %.
    ("a buy at the mark", "buy", 60_000, 0, 33_600_000_000),       # 300 + 3 + 33
    ("a buy below the mark", "buy", 59_000, 0, 33_600_000_000),    # the mark is the base
    # 6,060 USD: 303 + 3.03 + 33.33, and 0.1 x 600 that the fill would lose at the mark.
    ("a buy above the mark", "buy", 60_600, 0, 39_936_000_000),
    ("a sell below the mark", "sell", 59_400, 0, 39_600_000_000),  # 336 + 60
    ("a sell above the mark", "sell", 60_600, 0, 33_936_000_000),  # 303 + 3.03 + 33.33
    ("at 10x", "buy", 60_000, 10, 63_600_000_000),                 # 600 + 3 + 33
]


@pytest.mark.rule("C3")
@pytest.mark.parametrize(("order", "price", "leverage", "reserve"), [row[1:] for row in RESERVES],
                         ids=[row[0].replace(" ", "_") for row in RESERVES])
def test_an_order_reserves_margin_fees_and_what_it_would_lose_at_the_mark(
    venue: World, order: str, price: int, leverage: int, reserve: int
) -> None:
    if leverage:
        venue.leverage(ALICE, leverage)
    answer = getattr(venue, order)(ALICE, 100, price)
    assert answer.of(Ev.ACCEPTED)[0].amount_units == reserve
    live = venue.live(answer.order_id)
    assert live is not None
    assert (live["reserve"], live["reserved"]) == (reserve, 100)
    assert withdrawable(venue, ALICE) == 10_000 * USD - reserve


@pytest.mark.rule("C3", "I2")
def test_a_market_order_reserves_at_the_edge_of_its_band(venue: World) -> None:
    # 5 % above 60,000: 6,300 USD: 315 + 3.15 + 34.65, and 0.1 x 3,000 above the mark.
    venue.sell(MAKER, 100, 60_000)
    accepted = venue.buy(ALICE, 100).of(Ev.ACCEPTED)[0]
    assert (accepted.price_ticks, accepted.amount_units) == (63_000, 65_280_000_000)


@pytest.mark.rule("C3")
def test_a_larger_order_carries_the_higher_rate_of_the_lots_already_held(venue: World) -> None:
    # 15 ETH held = 45,000 USD at 2 %.
    venue.trade(ALICE, MAKER, 1_500, 30_000, ETH)
    # 15 more: 3 % of 30 ETH. 1,350 + 22.50 + 247.50, and 45,000 x (3 % - 2 %) = 450.
    first = venue.buy(ALICE, 1_500, 30_000, ETH)
    assert first.of(Ev.ACCEPTED)[0].amount_units == 2_070 * USD
    # 5 more: 3.5 % of 35 ETH. 525 + 7.50 + 82.50, and 45,000 x 1.5 % - 450 = 225.
    second = venue.buy(ALICE, 500, 30_000, ETH)
    assert second.of(Ev.ACCEPTED)[0].amount_units == 840 * USD
    assert [venue.live(a.order_id)["extra"] for a in (first, second)] == [  # type: ignore[index]
        450 * USD, 225 * USD]


@pytest.mark.rule("C3")
def test_only_lots_beyond_the_position_and_its_resting_closers_are_reserved(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000)
    asks = [venue.sell(ALICE, 30, 61_000, exec_flags=Exec.REDUCE_ONLY),
            venue.sell(ALICE, 40, 61_000),
            # 100 - 30 - 40 = 30 lots are left to close, 20 lots open a short.
            venue.sell(ALICE, 50, 60_000),
            venue.sell(ALICE, 10, 60_000)]
    assert [venue.live(ask.order_id)["reserved"] for ask in asks] == [  # type: ignore[index]
        0, 0, 20, 10]
    # 20 lots = 1,200 USD: 60 + 0.60 + 6.60; 10 lots the half of it.
    assert [ask.of(Ev.ACCEPTED)[0].amount_units for ask in asks] == [
        0, 0, 6_720_000_000, 3_360_000_000]


@pytest.mark.rule("C3")
def test_order_margin_of_main_is_the_larger_side(venue: World) -> None:
    venue.buy(ALICE, 100, 59_000)   # 336 USD
    venue.sell(ALICE, 100, 61_000)  # 6,100 USD: 305 + 3.05 + 33.55 = 341.60
    assert withdrawable(venue, ALICE) == 965_840_000_000
    # Another 0.1 BTC on the smaller side: 672 USD counts, 330.40 more.
    venue.buy(ALICE, 100, 59_000)
    assert withdrawable(venue, ALICE) == 932_800_000_000


@pytest.mark.rule("C3")
def test_a_fill_takes_its_slice_and_the_last_the_rest(venue: World) -> None:
    # 3 lots = 180 USD: 9 + 0.09 + 0.99 = 10.08 USD; the mark then moves, the reserve does not.
    bid = venue.buy(ALICE, 3, 60_000).order_id
    venue.mark(BTC, 603_000)
    venue.sell(MAKER, 1, 60_000)
    assert venue.live(bid)["reserve"] == 672_000_000  # type: ignore[index]
    venue.sell(MAKER, 2, 60_000)
    assert venue.live(bid) is None
    assert venue.qty(ALICE) == 3


@pytest.mark.rule("C3")
def test_an_order_without_a_reserve_ends_with_the_position_and_a_mixed_one_shrinks(
    venue: World,
) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000)
    closer = venue.sell(ALICE, 60, 61_000).order_id
    mixed = venue.sell(ALICE, 60, 61_500).order_id      # 40 close, 20 open
    venue.buy(MAKER, 100, 60_000)
    answer = venue.close(ALICE)
    assert answer.done() == [(closer, Done.REDUCE_ONLY)]
    assert [(e.order_id, e.qty_lots) for e in answer.of(Ev.AMENDED)] == [(mixed, 20)]
    left = venue.live(mixed)
    assert left is not None
    assert (left["left"], left["reserved"]) == (20, 20)


@pytest.mark.rule("C3")
def test_closing_fills_use_unreserved_lots_first(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000)
    ask = venue.sell(ALICE, 150, 60_000).order_id       # 100 close, 50 open: 168 USD
    venue.buy(MAKER, 90, 60_000)
    live = venue.live(ask)
    assert live is not None
    assert (live["left"], live["reserved"], live["reserve"]) == (60, 50, 168 * USD)


# ---- C4

#: CAROL: 0.2 BTC for 12,000, cash 994, a bid of 10 lots at 55,000. MB - IM at the mark m (0.10 USD)
#: is 994 - 12,000 + 0.02 m (1 - 5 % - 0.55 %): 0.0129 USD at 582,637, -0.0059 at 582,636.


@pytest.fixture
def carol(venue: World) -> tuple[World, int, int]:
    """The world, CAROL's bid (reserved) and her reduce-only ask."""
    venue.trade(CAROL, MAKER, 200, 60_000)
    bid = venue.buy(CAROL, 10, 55_000).order_id
    ask = venue.sell(CAROL, 50, 61_000, exec_flags=Exec.REDUCE_ONLY).order_id
    return venue, bid, ask


@pytest.mark.rule("C4")
def test_a_margin_call_comes_when_the_exact_margin_balance_is_below_the_initial_margin(
    carol: tuple[World, int, int],
) -> None:
    venue, bid, ask = carol
    assert venue.mark(BTC, 582_637).kinds() == [Ev.MARKED]
    answer = venue.mark(BTC, 582_636)
    assert answer.kinds() == [Ev.MARKED, Ev.MARGIN_CALL, Ev.CANCELLED]
    assert answer.done() == [(bid, Done.MARGIN_CALL)]
    assert venue.live(ask) is not None
    assert venue.account(CAROL)["margin_call"] == 1


@pytest.mark.rule("C4")
def test_under_margin_call_an_account_may_reduce_but_not_open(
    carol: tuple[World, int, int],
) -> None:
    venue, _, _ = carol
    venue.mark(BTC, 582_636)
    assert venue.buy(CAROL, 1, 58_000).code == Code.ACCOUNT_IN_MARGIN_CALL
    assert venue.sell(CAROL, 150, 61_000).code == 0
    # The 151st lot would open: refused as well.
    assert venue.sell(CAROL, 1, 61_000).code == Code.ACCOUNT_IN_MARGIN_CALL


@pytest.mark.rule("C4")
def test_the_call_is_cleared_when_the_account_is_next_touched(
    carol: tuple[World, int, int],
) -> None:
    venue, _, _ = carol
    venue.mark(BTC, 582_636)
    assert venue.mark(BTC, 600_000).kinds() == [Ev.MARKED]
    assert venue.account(CAROL)["margin_call"] == 1
    answer = venue.deposit(CAROL, USD)
    assert answer is not None
    assert answer.kinds() == [Ev.BALANCE, Ev.MARGIN_CALL_CLEARED]
    assert venue.account(CAROL)["margin_call"] == 0


@pytest.mark.rule("C4")
def test_without_reserved_orders_there_is_nothing_to_call(venue: World) -> None:
    venue.trade(CAROL, MAKER, 200, 60_000)
    assert venue.mark(BTC, 582_636).kinds() == [Ev.MARKED]
    assert venue.buy(CAROL, 1, 58_000).code == Code.ACCOUNT_IN_MARGIN_CALL


# ---- C5


@pytest.mark.rule("C5")
def test_unrealized_profit_stays(venue: World) -> None:
    # 0.1 BTC for 6,000 USD, cash 9,997. At 61,000: uPnL 100, IM 305, FR 33.55.
    venue.trade(ALICE, MAKER, 100, 60_000)
    venue.mark(BTC, 610_000)
    # 9,997 + 100 - 33.55 - 100 - 305 = 9,658.45; a loss of 100 would count: 9,364 + ... at 59,000.
    assert withdrawable(venue, ALICE) == 965_845_000_000
    venue.mark(BTC, 590_000)
    # 9,997 - 100 - 32.45 - 295 = 9,569.55.
    assert withdrawable(venue, ALICE) == 956_955_000_000
    assert venue.withdraw(ALICE, 956_955_000_000).code == 0


@pytest.mark.rule("C5", "S5")
def test_realized_profit_is_locked_until_its_session_is_settled(venue: World) -> None:
    # Bought at 60,000 (fee 3), sold at 61,000 (fee 3.05): 93.95 USD.
    venue.trade(ALICE, MAKER, 100, 60_000)
    venue.buy(MAKER, 100, 61_000)
    venue.close(ALICE)
    assert venue.cash(ALICE) == 1_009_395_000_000
    assert venue.account(ALICE)["session_pnl_units"] == 9_395_000_000
    assert withdrawable(venue, ALICE) == 10_000 * USD
    venue.settle()
    assert withdrawable(venue, ALICE) == 1_009_395_000_000


@pytest.mark.rule("C5")
def test_into_a_block_the_unlocked_money_goes_first_and_back_the_locked(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000)
    venue.buy(MAKER, 100, 61_000)
    venue.close(ALICE)
    # Cash 10,093.95, of it 93.95 locked. A pending block of 0.01 ETH at 10x takes 3.18.
    order = venue.buy(ALICE, 1, 30_000, ETH, **isolated(10)).order_id
    assert venue.account(ALICE)["session_pnl_units"] == 9_395_000_000
    # Unlocked are 9,996.82 USD: the last 3.18 of 10,000 are locked profit.
    venue.add_margin(ALICE, 1, 10_000 * USD)
    assert venue.account(ALICE)["session_pnl_units"] == 9_077_000_000
    assert venue.block(1)["session_pnl_units"] == 318_000_000  # type: ignore[index]
    assert withdrawable(venue, ALICE) == 0
    # 1 USD back from the block: locked profit, so that still nothing may leave.
    assert venue.remove_margin(ALICE, 1, USD).code == 0
    assert venue.account(ALICE)["session_pnl_units"] == 9_177_000_000
    assert withdrawable(venue, ALICE) == 0
    venue.cancel(ALICE, order)
    assert venue.account(ALICE)["session_pnl_units"] == 9_395_000_000
    assert withdrawable(venue, ALICE) == 10_000 * USD


@pytest.mark.rule("C5", "A4")
def test_usdc_may_leave_until_what_is_left_just_carries_the_margin(venue: World) -> None:
    # 10,000 USDC; the bid reserves 336 USD: what stays, less its haircut, must be 336.
    venue.buy(DAVE, 100, 60_000)
    # 373.33333334 - 37.33333334 = 336; 373.33333333 - 37.33333334 would not do.
    assert withdrawable(venue, DAVE, Currency.USDC) == 962_666_666_666
    assert venue.withdraw(DAVE, 962_666_666_666, Currency.USDC).code == 0
    assert withdrawable(venue, DAVE, Currency.USDC) == 0


# ---- C6


@pytest.mark.rule("C6")
def test_leverage_of_main_is_set_per_contract(venue: World) -> None:
    answer = venue.leverage(ALICE, 10, ETH)
    assert [(e.kind, e.contract, e.qty_lots) for e in answer] == [(Ev.LEVERAGE_SET, ETH, 10)]
    assert [(leg["contract"], leg["leverage"]) for leg in venue.account(ALICE)["legs"]] == [
        (ETH, 10)]
    assert venue.leverage(ALICE, 51, ETH).code == Code.INVALID_LEVERAGE
    assert venue.leverage(ALICE, 0, ETH).code == Code.INVALID_LEVERAGE
    assert venue.leverage(ALICE, 21, BTC).code == Code.INVALID_LEVERAGE


@pytest.mark.rule("C6")
def test_leverage_up_always_passes_and_leaves_reserves(venue: World) -> None:
    venue.leverage(ALICE, 5)
    venue.trade(ALICE, MAKER, 100, 60_000)
    bid = venue.buy(ALICE, 100, 59_000).order_id        # 1,200 + 3 + 33 USD
    assert venue.leverage(ALICE, 20).code == 0
    assert venue.live(bid)["reserve"] == 1_236 * USD  # type: ignore[index]
    # Position 6,000 USD: IM 300, FR 33, cash 9,997: 9,997 - 33 - 300 - 1,236.
    assert withdrawable(venue, ALICE) == 8_428 * USD


@pytest.mark.rule("C6")
def test_leverage_up_passes_even_when_main_is_short(venue: World) -> None:
    venue.leverage(CAROL, 5)
    venue.trade(CAROL, MAKER, 75, 60_000)
    # 4,500 USD: fee 2.25, IM 900. At 57,000: uPnL -225, FR 23.5125, IM 855: short by 106.
    venue.mark(BTC, 570_000)
    assert withdrawable(venue, CAROL) == 0
    assert venue.leverage(CAROL, 6).code == 0


@pytest.mark.rule("C6")
def test_leverage_down_needs_what_the_new_margin_lacks(venue: World) -> None:
    # 1 BTC for 60,000 USD: cash 9,970, FR 330. At 7x: IM 8,571.42857143: 1,068.57142857 free.
    venue.trade(ALICE, MAKER, 1_000, 60_000)
    assert venue.leverage(ALICE, 7).code == 0
    # At 6x: IM 10,000: 360 USD are missing.
    refused = venue.leverage(ALICE, 6)
    assert (refused.code, refused.needed - refused.available) == (
        Code.INSUFFICIENT_BALANCE, 360 * USD)
    assert venue.leg(ALICE)["leverage"] == 7  # type: ignore[index]
    venue.deposit(ALICE, 360 * USD - 1)
    assert venue.leverage(ALICE, 6).code == Code.INSUFFICIENT_BALANCE
    venue.deposit(ALICE, 1)
    assert venue.leverage(ALICE, 6).code == 0


@pytest.mark.rule("C6", "C3")
def test_leverage_down_counts_the_reserves_at_the_new_leverage(venue: World) -> None:
    # A bid of 1 BTC: 3,000 + 30 + 330 = 3,360 USD at 20x, 6,360 at 10x, 9,860 at 6.32x.
    bid = venue.buy(ALICE, 1_000, 60_000).order_id
    assert venue.leverage(ALICE, 10).code == 0
    live = venue.live(bid)
    assert live is not None
    assert (live["reserve"], live["leverage"]) == (6_360 * USD, 10)
    # At 6x: 10,000 + 360.
    refused = venue.leverage(ALICE, 6)
    assert (refused.code, refused.needed - refused.available) == (
        Code.INSUFFICIENT_BALANCE, 360 * USD)


@pytest.mark.rule("C6")
def test_an_equal_leverage_changes_nothing(venue: World) -> None:
    venue.leverage(ALICE, 10)
    before = venue.account(ALICE)
    answer = venue.leverage(ALICE, 10)
    assert answer.code == 0
    assert answer.of(Ev.LEVERAGE_SET) == []
    assert venue.account(ALICE) == before


@pytest.mark.rule("C5", "L2")
def test_a_deposit_and_a_withdrawal_are_no_profit(venue: World) -> None:
    venue.deposit(BOB, 5 * USD)
    answer = venue.withdraw(BOB, 3 * USD)
    assert answer.paid(Ledger.MAIN_USD, Reason.WITHDRAW, BOB) == -3 * USD
    assert venue.account(BOB)["session_pnl_units"] == 0
