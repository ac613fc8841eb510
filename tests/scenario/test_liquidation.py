"""Chapter 7: liquidation (Q1-Q8), the fund's inventory, and what other venues went through.

The block of most tables: a long of 100 lots (0.1 BTC, cost 6,000 USD) at 20x. Its reserve was
300 + 3 + 33 USD, the fee 3: position cash 333. Maintenance 2.5 % and fee reserve 0.55 % make
a = 0.0305. It is liquidated at marks of ceil(5,667 / (0.1 x 0.9695) = 58,452.81...) less a tick:
58,452.8 and below; its bankruptcy price is 56,670. A short has cost -6,000: 61,455.7 and above.
"""

from __future__ import annotations

from typing import Any

import pytest
from reference.codes import BlockState, Code, Done, Ev, Exec, Fill, Kind, Ledger, Reason, Side
from steep import STEEP_PERP
from world import ALICE, BOB, BTC, CAROL, DAVE, ETH, MAKER, SOL, TERMS, USD, Answer, World, isolated

#: First mark ticks (0.10 USD) that liquidate the long and the short of the docstring.
LONG_LIMIT, SHORT_LIMIT = 584_528, 614_557
NOBODY = 0xFFFFFFFF


def dollars(text: str) -> int:
    """Money units of a decimal number of USD, exactly."""
    whole, _, part = text.partition(".")
    sign = -1 if whole.startswith("-") else 1
    return sign * (abs(int(whole)) * USD + int(part.ljust(8, "0")))


def block_of(venue: World, account: int, lots: int, leverage: int = 20) -> None:
    """Open a block at 60,000 against MAKER: long for lots > 0, else short."""
    trade = venue.trade if lots > 0 else venue.trade_short
    assert trade(account, MAKER, abs(lots), 60_000, **isolated(leverage)).code == 0


def units_liquidated(answer: Answer) -> list[tuple[int, int]]:
    return [(event.account, event.isolation_id) for event in answer.of(Ev.LIQUIDATED)]


def inventory(venue: World, contract: int = BTC) -> tuple[int, int]:
    """Lots and cost of the fund's inventory."""
    state = venue.dump()["contracts"][contract]
    return state["inventory_lots"], state["inventory_cost_units"]


# ---- Q1, Q2: the threshold is exact on both sides of the tick

THRESHOLDS = [
    ("a long one tick above its limit", 100, LONG_LIMIT + 1, False),
    ("a long at its limit", 100, LONG_LIMIT, True),
    ("a long one tick below", 100, LONG_LIMIT - 1, True),
    ("a short one tick below its limit", -100, SHORT_LIMIT - 1, False),
    ("a short at its limit", -100, SHORT_LIMIT, True),
    ("a short one tick above", -100, SHORT_LIMIT + 1, True),
]


@pytest.mark.parametrize("rolled", [False, True], ids=["first session", "after a roll"])
@pytest.mark.parametrize("case", THRESHOLDS, ids=lambda case: case[0])
def test_a_block_is_liquidated_exactly_at_its_threshold(
    venue: World, case: Any, rolled: bool
) -> None:
    """Q1, Q2, S3: at 584,529 equity 178.29 >= 178.281345; at 584,528: 178.28 < 178.28104. A
    session roll at 59,900 changes cash and cost, not the threshold."""
    _, lots, mark, liquidated = case
    block_of(venue, ALICE, lots)
    if rolled:
        venue.mark(BTC, 599_000)
        venue.settle()
        assert venue.block(1)["cash_units"] == dollars("323" if lots > 0 else "343")
    answer = venue.mark(BTC, mark)
    assert bool(answer.of(Ev.LIQUIDATED)) == liquidated
    assert (venue.block(1) is None) == liquidated


#: CAROL's 1,000 USD, 150 lots (9,000 USD), fee 4.50, 395.50 withdrawn: cash 600.
#: Long: (9,000 - 600) / (0.15 x 0.9695) = 57,761.73; short: (600 + 9,000) / (0.15 x 1.0305).
MAIN_LIMITS = [(150, 577_618, 577_617), (-150, 621_057, 621_058)]


@pytest.mark.parametrize(("lots", "alive", "dead"), MAIN_LIMITS, ids=["long", "short"])
def test_a_main_account_with_one_position_has_a_threshold_too(
    venue: World, lots: int, alive: int, dead: int
) -> None:
    """Q1, Q2."""
    trade = venue.trade if lots > 0 else venue.trade_short
    trade(CAROL, MAKER, abs(lots), 60_000)
    assert venue.withdraw(CAROL, dollars("395.5")).code == 0
    assert venue.mark(BTC, alive).of(Ev.LIQUIDATED) == []
    assert units_liquidated(venue.mark(BTC, dead)) == [(CAROL, 0)]


def test_many_blocks_with_one_threshold_come_and_go_in_any_order(venue: World) -> None:
    """Q2, Q8, X1: 40 longs of one lot stand under one tick, block n of account DAVE + n.

    Thirty close, from everywhere in the row, and the first ten of them open another; previews in
    between leave no trace. At the limit all that are left end, in the order of their blocks.
    """
    for account in range(DAVE + 1, DAVE + 41):
        venue.open_account(account)
        venue.deposit(account, 10 * USD)
        block_of(venue, account, 1)
    venue.buy(MAKER, 30, 60_000)
    gone = [27 * turn % 41 for turn in range(1, 31)]
    for number in gone:
        venue.preview(Kind.MARK, contract=BTC, mark_ticks=LONG_LIMIT)
        assert venue.side.faults() == []
        assert venue.close(DAVE + number, isolation_id=number).fills(MAKER) == [(1, 60_000)]
    for number in gone[:10]:
        block_of(venue, DAVE + number, 1)
        venue.preview(Kind.MARK, contract=BTC, mark_ticks=LONG_LIMIT)
        assert venue.side.faults() == []
    left = [*sorted({*range(1, 41)} - {*gone}), *gone[:10]]
    assert venue.mark(BTC, LONG_LIMIT + 1).of(Ev.LIQUIDATED) == []
    answer = venue.mark(BTC, LONG_LIMIT)
    assert [account - DAVE for account, _ in units_liquidated(answer)] == left


def test_the_rate_of_a_large_position_is_its_own(venue: World) -> None:
    """Q2, C1: 5,000 lots of ETH (150,000 USD) have a margin rate of 5 %, maintenance 2.5 %.

    At 20x: reserve 7,500 + 75 + 825, fee 75, cash 8,325. Limit 141,675 / (50 x 0.9695) = 2,922.64.
    """
    venue.trade(ALICE, MAKER, 5_000, 30_000, ETH, **isolated(20))
    assert venue.block(1)["cash_units"] == 8_325 * USD
    assert venue.mark(ETH, 29_227).of(Ev.LIQUIDATED) == []
    assert units_liquidated(venue.mark(ETH, 29_226)) == [(ALICE, 1)]


#: CAROL with two legs: 100 BTC lots and 400 ETH lots, cash 991 USD. She is liquidated where
#: 0.09695 BTC + 3.938 ETH < 17,009 (prices in USD). Marks one after the other; the last kills.
BOXES = [
    ("eth falls alone", [(ETH, 28_421), (ETH, 28_420)]),
    ("btc gives the last push", [(ETH, 28_421), (BTC, 599_981), (BTC, 599_980)]),
    ("a gain in btc moves the bound of eth", [(BTC, 610_000), (ETH, 28_175), (ETH, 28_174)]),
    ("a gain in eth moves the bound of btc", [(ETH, 31_000), (BTC, 495_225), (BTC, 495_224)]),
    ("there and back again", [(BTC, 570_000), (ETH, 30_800), (BTC, 600_000), (ETH, 28_421),
                              (ETH, 30_000), (ETH, 28_420)]),
]


@pytest.mark.parametrize("case", BOXES, ids=lambda case: case[0])
def test_an_account_with_two_positions_is_tested_over_both(venue: World, case: Any) -> None:
    """Q1, Q2: safe boxes may be approximate, the liquidation may not."""
    venue.trade(CAROL, MAKER, 100, 60_000)
    venue.trade(CAROL, MAKER, 400, 30_000, ETH)
    assert venue.cash(CAROL) == 991 * USD
    *harmless, (contract, mark) = case[1]
    for step in harmless:
        assert venue.mark(*step).of(Ev.LIQUIDATED) == []
    assert units_liquidated(venue.mark(contract, mark)) == [(CAROL, 0)]


# ---- Q3 - Q6: a block, the book, the fund


def test_the_book_closes_a_block_and_the_fund_keeps_the_rest(venue: World) -> None:
    """Q3, Q5, Q6: sold at 58,450: -155; fee 2.9225; liquidation fee 29.225; 145.8525 are left."""
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 58_450)
    fund = venue.fund
    answer = venue.mark(BTC, LONG_LIMIT)
    own = [(e.reason, e.amount_units) for e in answer.of(Ev.BALANCE)
           if (e.account, e.ledger) == (ALICE, Ledger.BLOCK_POSITION)]
    assert own == [(Reason.REALIZED_PNL, dollars("-155")), (Reason.TRADE_FEE, dollars("-2.9225")),
                   (Reason.LIQUIDATION_FEE, dollars("-29.225")),
                   (Reason.INSURANCE_FUND, dollars("-145.8525"))]
    (fill,) = [e for e in answer.of(Ev.FILL) if e.account == ALICE]
    assert (fill.qty_lots, fill.price_ticks, fill.order_id) == (100, 58_450, 0)
    assert fill.flags == Fill.TAKER + Fill.LIQUIDATION + 16 * Side.SELL
    (end,) = answer.of(Ev.LIQUIDATED)
    assert (end.qty_lots, end.price_ticks, end.amount_units) == (
        100, LONG_LIMIT, dollars("145.8525"))
    assert venue.fund == fund + dollars("175.0775")
    assert venue.cash(ALICE) == 9_664 * USD
    assert inventory(venue) == (0, 0)
    kinds = [kind for kind in answer.kinds() if kind in (
        Ev.BLOCK_LIQUIDATING, Ev.FILL, Ev.LIQUIDATED, Ev.BLOCK_CLOSED)]
    assert kinds == [Ev.BLOCK_LIQUIDATING, Ev.FILL, Ev.FILL, Ev.LIQUIDATED, Ev.BLOCK_CLOSED]


def test_a_short_block_is_bought_back(venue: World) -> None:
    """Q3: at 61,500: -150; fee 3.075; liquidation fee 30.75; 149.175 of the 333 USD are left."""
    block_of(venue, ALICE, -100)
    venue.sell(MAKER, 100, 61_500)
    answer = venue.mark(BTC, SHORT_LIMIT)
    assert answer.fills(ALICE) == [(100, 61_500)]
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars("149.175")
    assert answer.of(Ev.LIQUIDATED)[0].qty_lots == -100


def test_the_inventory_takes_what_the_book_does_not(venue: World) -> None:
    """Q4: 40 sold at 58,450: -62, fee 1.169, liquidation fee 11.69; 258.141 are left for 60 lots.

    The inventory takes 60 lots for 3,600 - 258.141; no price is needed, the block is at (0, 0).
    """
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 40, 58_450)
    answer = venue.mark(BTC, LONG_LIMIT)
    (taken,) = answer.of(Ev.TAKEN_OVER)
    assert (taken.account, taken.qty_lots, taken.amount_units, taken.price_ticks) == (
        ALICE, 60, dollars("3341.859"), LONG_LIMIT)
    assert inventory(venue) == (60, dollars("3341.859"))
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.TAKE_OVER) == dollars("-258.141")
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == 0
    assert venue.fund == 100_000 * USD + dollars("11.69")


#: mark, deficit that the owner left: 5,667 - 0.1 mark, if the mark is beyond the bankruptcy price
GAPS = [(LONG_LIMIT, "0"), (566_700, "0"), (566_699, "0.01"), (560_000, "67")]


@pytest.mark.parametrize(("mark", "deficit"), GAPS)
def test_a_gap_ends_in_the_inventory_and_in_a_statistic(
    venue: World, mark: int, deficit: str
) -> None:
    """Q4, Q6, I13: with an empty book the inventory has 100 lots for 5,667 USD at any mark."""
    block_of(venue, ALICE, 100)
    main = venue.cash(ALICE)
    answer = venue.mark(BTC, mark)
    assert inventory(venue) == (100, 5_667 * USD)
    assert answer.of(Ev.FILL) == []
    assert venue.account(ALICE)["deficit_units"] == dollars(deficit)
    assert (venue.cash(ALICE), venue.fund) == (main, 100_000 * USD)


@pytest.mark.parametrize(("bid", "filled"), [(56_670, True), (56_669, False)])
def test_no_liquidation_fill_is_worse_than_the_bankruptcy_price(
    venue: World, bid: int, filled: bool
) -> None:
    """Q3, Q5: at 56,670 the block is at 0 after its loss; there is nothing left for fees."""
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, bid)
    answer = venue.mark(BTC, 560_000)
    assert answer.fills(ALICE) == ([(100, 56_670)] if filled else [])
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.TRADE_FEE) == 0
    assert answer.paid(Ledger.FUND_USD, Reason.LIQUIDATION_FEE) == 0
    assert inventory(venue) == ((0, 0) if filled else (100, 5_667 * USD))
    assert venue.fund == 100_000 * USD


def test_fees_take_what_is_there_and_make_no_deficit(venue: World) -> None:
    """Q5: at 56,700 3 USD are left after the loss: 2.835 of fee, 0.165 of liquidation fee."""
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 56_700)
    answer = venue.mark(BTC, 560_000)
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.TRADE_FEE) == dollars("-2.835")
    assert answer.paid(Ledger.FUND_USD, Reason.LIQUIDATION_FEE) == dollars("0.165")
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == 0


#: A block of 10,000 lots at 100 USD and 5x on STEEP: 200,000 USD, maintenance 9 %. The long falls
#: at 87.91, bankrupt at 80, band from 83.52; the short at 110.10, bankrupt at 120, band to 115.60.
EDGES = [("buy", 8_791, 8_352, True), ("buy", 8_791, 8_351, False),
         ("sell", 11_010, 11_560, True), ("sell", 11_010, 11_561, False)]


@pytest.mark.parametrize(("quote", "mark", "price", "filled"), EDGES)
def test_no_liquidation_fill_is_outside_the_band(
    side: str, quote: str, mark: int, price: int, filled: bool
) -> None:
    """Q3: however far the bankruptcy price is."""
    venue = World(side, TERMS)
    venue.add_contract(STEEP_PERP)
    venue.mark(0, 10_000)
    for account in (MAKER, ALICE):
        venue.open_account(account)
        venue.deposit(account, 10_000_000 * USD)
    trade = venue.trade if quote == "buy" else venue.trade_short
    trade(ALICE, MAKER, 10_000, 10_000, 0, **isolated(5))
    getattr(venue, quote)(MAKER, 10_000, price, 0)
    answer = venue.mark(0, mark)
    assert units_liquidated(answer) == [(ALICE, 1)]
    assert answer.fills(ALICE) == ([(10_000, price)] if filled else [])


def test_order_cash_is_not_lost_with_the_block(venue: World) -> None:
    """Q3, I13: a resting order of 10 lots holds 30 + 0.30 + 3.30; it ends, its money returns."""
    block_of(venue, ALICE, 100)
    bid = venue.buy(ALICE, 10, 55_000, **isolated(0, 1))
    assert venue.block(1)["order_cash_units"] == dollars("33.6")
    answer = venue.mark(BTC, LONG_LIMIT)
    assert answer.done() == [(bid.order_id, Done.LIQUIDATION)]
    assert venue.cash(ALICE) == 9_664 * USD
    assert inventory(venue)[0] == 100


def test_a_liquidation_cancels_the_owner_s_own_orders_in_its_way(venue: World) -> None:
    """O3, Q3: her cross bid of 58,460 would be hit first; it ends, MAKER's at 58,450 is filled."""
    block_of(venue, ALICE, 100)
    own = venue.buy(ALICE, 50, 58_460)
    venue.buy(MAKER, 100, 58_450)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert answer.done() == [(own.order_id, Done.SELF_TRADE)]
    assert answer.fills(ALICE) == [(100, 58_450)]
    assert venue.qty(ALICE) == 0


def test_liquidation_goes_on_in_a_halted_market(venue: World) -> None:
    """O4, Q3: the book of a halted market still serves it."""
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 58_450)
    venue.market_state(BTC, 1)
    assert venue.mark(BTC, LONG_LIMIT).fills(ALICE) == [(100, 58_450)]


def test_liquidating_a_block_leaves_the_owner_s_cross_position_alone(venue: World) -> None:
    """Q7: main's cash, cost, lots, session PnL and leverage are what they were."""
    venue.trade(ALICE, MAKER, 200, 60_000)
    venue.leverage(ALICE, 15)
    block_of(venue, ALICE, 100)
    before = dict(venue.account(ALICE))
    answer = venue.mark(BTC, 560_000)
    assert units_liquidated(answer) == [(ALICE, 1)]
    after = dict(venue.account(ALICE))
    assert after.pop("deficit_units") == 67 * USD
    before.pop("deficit_units")
    assert after == before


# ---- Q3: a main account


@pytest.mark.parametrize(("bid_lots", "added"), [(80, "0"), (20, "201.6")])
def test_money_of_pending_blocks_comes_back_before_main_is_liquidated(
    venue: World, bid_lots: int, added: str
) -> None:
    """Q3: CAROL, long 200 lots (cash 994), put 268.80 USD into a new block: 3.36 for each lot that
    it bids for, the rest as margin.

    Without them she falls at 58,147, with those of the small bid at 57,801; all return: 56,761.2.
    """
    venue.trade(CAROL, MAKER, 200, 60_000)
    bid = venue.buy(CAROL, bid_lots, 50_000, **isolated(20))
    if dollars(added):
        assert venue.add_margin(CAROL, 1, dollars(added)).code == 0
    assert venue.cash(CAROL) == dollars("725.2")
    answer = venue.mark(BTC, 577_000)
    assert answer.done() == [(bid.order_id, Done.LIQUIDATION)]
    assert [event.isolation_id for event in answer.of(Ev.BLOCK_CLOSED)] == [1]
    assert answer.of(Ev.LIQUIDATED) == []
    assert (venue.qty(CAROL), venue.cash(CAROL)) == (200, 994 * USD)
    assert venue.mark(BTC, 567_613).of(Ev.LIQUIDATED) == []
    assert units_liquidated(venue.mark(BTC, 567_612)) == [(CAROL, 0)]


def test_all_of_main_s_orders_end_first(venue: World) -> None:
    """Q3: the bid with a reserve and the reduce-only ask; a jump past both needs no margin call."""
    venue.trade(CAROL, MAKER, 150, 60_000)
    ask = venue.sell(CAROL, 10, 65_000, exec_flags=Exec.REDUCE_ONLY)
    bid = venue.buy(CAROL, 20, 55_000)
    answer = venue.mark(BTC, 540_000)
    assert answer.done() == [(ask.order_id, Done.LIQUIDATION), (bid.order_id, Done.LIQUIDATION)]
    assert answer.of(Ev.MARGIN_CALL) == []
    assert units_liquidated(answer) == [(CAROL, 0)]


# SOL: no fees, maintenance 5 %, slices of 100 lots. CAROL, 1,000 USD, long 900 lots (9,000 USD),
# falls at 93.56: equity 420.40 < 5 % of 8,420.40. Each slice of 935.60 USD lowers IM by 93.56; she
# is above it after five: 420.40 > 842.04 - 467.80.


def test_main_is_sold_in_slices_until_it_is_above_initial_margin(venue: World) -> None:
    """Q3: bids at 93.50 cost 0.60 a slice: after four 418 < 467.80, after five 417.40 > 374.24."""
    venue.trade(CAROL, MAKER, 900, 10_000, SOL)
    venue.buy(MAKER, 900, 9_350, SOL)
    assert venue.mark(SOL, 9_357).of(Ev.LIQUIDATED) == []
    answer = venue.mark(SOL, 9_356)
    assert answer.fills(CAROL) == [(100, 9_350)] * 5
    assert (venue.qty(CAROL, SOL), venue.cash(CAROL)) == (400, 675 * USD)
    (end,) = answer.of(Ev.LIQUIDATED)
    assert (end.account, end.isolation_id, end.contract, end.qty_lots, end.amount_units) == (
        CAROL, 0, 0xFFFF, 0, 0)


def test_the_last_slice_is_the_one_that_lifts_main_above_initial_margin(venue: World) -> None:
    """Q3: with 953.84 USD her equity at 93.56 is 374.24. After five slices at the mark IM is 374.24
    too: equal is not above, a sixth is sold."""
    venue.trade(CAROL, MAKER, 900, 10_000, SOL)
    assert venue.withdraw(CAROL, dollars("46.16")).code == 0
    venue.buy(MAKER, 900, 9_356, SOL)
    assert venue.mark(SOL, 9_356).fills(CAROL) == [(100, 9_356)] * 6


def test_main_pays_the_liquidation_fee_of_a_take_over_and_keeps_the_rest(venue: World) -> None:
    """Q4, Q5: CAROL's 150 lots with 600 USD, taken at 57,761.7: -335.745, fee 0.5 % of 8,664.255.

    No taker fee; 220.933725 USD stay hers: only a block's rest goes to the fund.
    """
    venue.trade(CAROL, MAKER, 150, 60_000)
    venue.withdraw(CAROL, dollars("395.5"))
    answer = venue.mark(BTC, 577_617)
    assert answer.paid(Ledger.MAIN_USD, Reason.LIQUIDATION_FEE) == dollars("-43.321275")
    assert answer.paid(Ledger.MAIN_USD, Reason.TRADE_FEE) == 0
    assert venue.cash(CAROL) == dollars("220.933725")
    assert venue.fund == 100_000 * USD + dollars("43.321275")


def test_main_pays_from_its_own_usdc_before_the_fund_does(venue: World) -> None:
    """Q3, A4: DAVE, long 1,000 lots on 10,000 USDC, loses 8,000 USD at 52,000 and is taken over.

    8,888.88888889 USDC at 0.90 pay for it; 1,077.77777777 are left, and the fund pays nothing.
    """
    venue.trade(DAVE, MAKER, 1_000, 60_000)
    answer = venue.mark(BTC, 520_000)
    assert units_liquidated(answer) == [(DAVE, 0)]
    assert answer.paid(Ledger.FUND_USD, Reason.INSURANCE_FUND) == 0
    assert (venue.cash(DAVE), venue.account(DAVE)["usdc_units"]) == (0, 1_077_77777777)
    assert venue.account(DAVE)["deficit_units"] == 0


def test_what_the_book_leaves_of_a_slice_goes_to_the_inventory_at_the_mark(venue: World) -> None:
    """Q4: 30 lots at 93.50, then nothing: 70 and four whole slices at 93.56."""
    venue.trade(CAROL, MAKER, 900, 10_000, SOL)
    venue.buy(MAKER, 30, 9_350, SOL)
    answer = venue.mark(SOL, 9_356)
    assert answer.fills(CAROL) == [(30, 9_350)]
    taken = [(e.qty_lots, e.amount_units) for e in answer.of(Ev.TAKEN_OVER)]
    assert taken == [(70, dollars("654.92"))] + [(100, dollars("935.6"))] * 4
    # 1,000 - 30 x 0.65 - 470 x 0.644
    assert venue.cash(CAROL) == dollars("677.82")
    assert inventory(venue, SOL) == (470, dollars("4397.32"))


#: lots, cash after a withdrawal, mark that liquidates, fills at that price
SLICES = [
    (199, "205", 9_440, [(199, 9_440)]),               # below two slices: whole
    (200, "205", 9_447, [(100, 9_447), (100, 9_447)]),  # 94.40 is not above 94.47: on
]


@pytest.mark.parametrize(("lots", "cash", "mark", "fills"), SLICES)
def test_less_than_two_slices_is_closed_whole(
    venue: World, lots: int, cash: str, mark: int, fills: list[tuple[int, int]]
) -> None:
    """Q3."""
    venue.trade(CAROL, MAKER, lots, 10_000, SOL)
    assert venue.withdraw(CAROL, 1_000 * USD - dollars(cash)).code == 0
    venue.buy(MAKER, 200, mark, SOL)
    assert venue.mark(SOL, mark).fills(CAROL) == fills


def test_the_leg_with_the_largest_maintenance_goes_first(venue: World) -> None:
    """Q3: CAROL has BTC of 6,000 USD (MM 150) and ETH of 11,340 USD (MM 113.40) at 2,835.

    Equity 331 < 358.77. BTC is sold at 60,000 for 3 + 30 of fees: 298 > 226.80 + 62.37, enough.
    """
    venue.trade(CAROL, MAKER, 100, 60_000)
    venue.trade(CAROL, MAKER, 400, 30_000, ETH)
    venue.buy(MAKER, 100, 60_000)
    answer = venue.mark(ETH, 28_350)
    assert answer.fills(CAROL) == [(100, 60_000)]
    assert (venue.qty(CAROL, BTC), venue.qty(CAROL, ETH)) == (0, 400)
    assert (venue.cash(CAROL), venue.fund) == (958 * USD, 100_030 * USD)


def test_equal_legs_go_by_contract_and_the_index_is_a_leg(venue: World) -> None:
    """Q3, A4: DAVE's 10,000 USDC carry BTC of 24,000 and ETH of 60,000 USD: MM 600 each.

    The USDC index falls to 0.17: about 1,692 USD less half a haircut, below 1,200 + 462.
    """
    venue.trade(DAVE, MAKER, 400, 60_000)
    venue.trade(DAVE, MAKER, 2_000, 30_000, ETH)
    assert venue.index(180_000).of(Ev.LIQUIDATED) == []
    answer = venue.index(170_000)
    assert units_liquidated(answer) == [(DAVE, 0)]
    assert [event.contract for event in answer.of(Ev.TAKEN_OVER)] == [BTC, ETH]
    assert answer.of(Ev.TAKEN_OVER)[0].amount_units == 24_000 * USD


def test_the_fund_zeroes_what_main_cannot_pay(venue: World) -> None:
    """Q4, Q6: CAROL, long 250 lots (15,000 USD), cash 992.50; the mark jumps to 50,000: -2,500.

    Nobody bids: the inventory takes at the mark, no fee is left to take, the fund pays 1,507.50.
    """
    venue.trade(CAROL, MAKER, 250, 60_000)
    answer = venue.mark(BTC, 500_000)
    assert inventory(venue) == (250, 12_500 * USD)
    assert answer.paid(Ledger.MAIN_USD, Reason.INSURANCE_FUND) == dollars("1507.5")
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars("-1507.5")
    assert (venue.cash(CAROL), venue.fund) == (0, dollars("98492.5"))
    assert venue.account(CAROL)["deficit_units"] == dollars("1507.5")


def test_main_s_fills_stop_at_its_bankruptcy_price_too(venue: World) -> None:
    """Q3, Q5: the same jump with a bid of 56,100 (bankruptcy 56,030): -975 leave 17.50 USD.

    Fee 7.0125, liquidation fee what is left, 10.4875 of 70.125.
    """
    venue.trade(CAROL, MAKER, 250, 60_000)
    venue.buy(MAKER, 250, 56_100)
    answer = venue.mark(BTC, 500_000)
    assert answer.fills(CAROL) == [(250, 56_100)]
    assert answer.paid(Ledger.MAIN_USD, Reason.TRADE_FEE, CAROL) == dollars("-7.0125")
    assert answer.paid(Ledger.FUND_USD, Reason.LIQUIDATION_FEE) == dollars("10.4875")
    assert (venue.cash(CAROL), venue.account(CAROL)["deficit_units"]) == (0, 0)


# ---- Q4: the inventory


def test_opposite_lots_meet_at_cost(venue: World) -> None:
    """Q4: 100 long taken for 5,667; 50 short taken for -3,166.50 (-3,000 less 166.50).

    2,833.50 of the one and -3,166.50 of the other are released: 333 USD into the inventory's cash.
    """
    block_of(venue, BOB, -50)
    block_of(venue, ALICE, 100)
    venue.mark(BTC, LONG_LIMIT)
    answer = venue.mark(BTC, SHORT_LIMIT)
    assert answer.of(Ev.TAKEN_OVER)[0].amount_units == dollars("-3166.5")
    assert inventory(venue) == (50, dollars("2833.5"))
    assert venue.dump()["inventory_cash_units"] == 333 * USD
    assert answer.paid(Ledger.INVENTORY, Reason.REALIZED_PNL) == 333 * USD


def test_a_take_over_may_turn_the_inventory_round(venue: World) -> None:
    """Q4: 50 long meet 100 short: 50 short are left, with half of their cost of -6,333."""
    block_of(venue, BOB, -100)
    block_of(venue, ALICE, 50)
    venue.mark(BTC, LONG_LIMIT)
    venue.mark(BTC, SHORT_LIMIT)
    assert inventory(venue) == (-50, dollars("-3166.5"))


def test_the_inventory_is_worked_off_on_the_next_mark(venue: World) -> None:
    """Q4: 100 lots for 5,667; at a mark of 58,500 it sells down to 58,207.5, rounded inward.

    30 at 58,300 bring 1,749 - 1,700.10 = 48.90 USD without a fee; the bid of 58,207 stays.
    """
    block_of(venue, ALICE, 100)
    venue.mark(BTC, LONG_LIMIT)
    venue.buy(MAKER, 30, 58_300)
    venue.buy(BOB, 50, 58_207)
    maker = venue.cash(MAKER)
    answer = venue.mark(BTC, 585_000)
    own, other = sorted(answer.of(Ev.FILL), key=lambda event: -event.account)
    assert (own.account, own.qty_lots, own.price_ticks) == (NOBODY, 30, 58_300)
    assert own.flags == Fill.TAKER + Fill.WORK_OFF + 16 * Side.SELL
    assert (other.account, other.flags) == (MAKER, Fill.MAKER + 16 * Side.BUY)
    assert inventory(venue) == (70, dollars("3966.9"))
    assert venue.dump()["inventory_cash_units"] == dollars("48.9")
    assert answer.paid(Ledger.INVENTORY, Reason.TRADE_FEE) == 0
    # MAKER closes 30 of its short of 100 from 60,000: +51, fee 0.3498.
    assert venue.cash(MAKER) == maker + dollars("50.6502")


def test_a_mark_works_off_one_slice_at_most(venue: World) -> None:
    """Q4: SOL's slice is 50 lots; 500 taken at 93.56, bids at 93.50 within 0.5 % of 93.60."""
    venue.trade(CAROL, MAKER, 900, 10_000, SOL)
    venue.mark(SOL, 9_356)
    assert inventory(venue, SOL) == (500, 4_678 * USD)
    venue.buy(MAKER, 400, 9_350, SOL)
    answer = venue.mark(SOL, 9_360)
    assert answer.fills(NOBODY) == [(50, 9_350)]
    assert inventory(venue, SOL) == (450, dollars("4210.2"))
    assert venue.dump()["inventory_cash_units"] == dollars("-0.3")


def test_what_was_just_taken_waits_for_the_next_mark(venue: World) -> None:
    """Q4: the bid of 56,660 is beyond the bankruptcy price, but inside the work-off band."""
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 56_660)
    answer = venue.mark(BTC, 566_600)
    assert answer.of(Ev.FILL) == []
    assert inventory(venue)[0] == 100
    assert venue.mark(BTC, 566_600).fills(NOBODY) == [(100, 56_660)]


def test_released_cost_of_the_inventory_is_rounded_up(venue: World) -> None:
    """Q4, U4: one unit more margin makes the cost 5,666.99999999 for 100 lots.

    30 lots sold release 1,700.0999999970: 1,700.10. 35 met by a short release half of the rest,
    1,983.449999995 : 1,983.45.
    """
    block_of(venue, BOB, -35)
    block_of(venue, ALICE, 100)
    assert venue.add_margin(ALICE, 2, 1).code == 0
    venue.mark(BTC, LONG_LIMIT)
    assert inventory(venue) == (100, dollars("5666.99999999"))
    venue.buy(MAKER, 30, 58_300)
    venue.mark(BTC, 585_000)
    assert inventory(venue) == (70, dollars("3966.89999999"))
    venue.mark(BTC, SHORT_LIMIT)
    assert inventory(venue) == (35, dollars("1983.44999999"))


def test_a_mark_works_off_no_more_than_was_held_before_it(venue: World) -> None:
    """Q4: 50 lots of BOB's; at 53,600 ALICE's 100 at 10x are taken too (bankruptcy 53,670).

    MAKER bids 53,400 for 500, inside the work-off band: 50 are sold.
    """
    block_of(venue, BOB, 50)
    block_of(venue, ALICE, 100, leverage=10)
    venue.mark(BTC, LONG_LIMIT)
    venue.buy(MAKER, 500, 53_400)
    answer = venue.mark(BTC, 536_000)
    assert units_liquidated(answer) == [(ALICE, 2)]
    assert answer.fills(NOBODY) == [(50, 53_400)]
    assert inventory(venue)[0] == 100


def test_an_inventory_that_a_mark_turns_round_is_not_worked_off_on_it(venue: World) -> None:
    """Q4: long 50; at 63,350 ALICE's short of 100 is taken (bankruptcy 63,330): short 50.

    MAKER's ask of 63,400 waits for the next mark.
    """
    block_of(venue, BOB, 50)
    block_of(venue, ALICE, -100)
    venue.mark(BTC, LONG_LIMIT)
    venue.sell(MAKER, 500, 63_400)
    answer = venue.mark(BTC, 633_500)
    assert units_liquidated(answer) == [(ALICE, 2)]
    assert answer.fills(NOBODY) == []
    assert inventory(venue)[0] == -50
    assert venue.mark(BTC, 633_500).fills(NOBODY) == [(50, 63_400)]


# ---- Q8: order


def test_the_most_under_water_go_first_and_several_legs_last(venue: World) -> None:
    """Q8: at a mark of 50,000, in distance past the threshold: ALICE and CAROL at 20x (58,452.8)
    by block id, FRANK's main with 397 USD (57,792), BOB at 10x (55,358), then EVE with two legs."""
    eve, frank = 5, 6
    for account, cash in ((eve, 700), (frank, 400)):
        venue.open_account(account)
        venue.deposit(account, cash * USD)
    block_of(venue, BOB, 100, leverage=10)
    block_of(venue, ALICE, 100)
    block_of(venue, CAROL, 100)
    venue.trade(frank, MAKER, 100, 60_000)
    venue.trade(eve, MAKER, 100, 60_000)
    venue.trade(eve, MAKER, 20, 30_000, ETH)
    answer = venue.mark(BTC, 500_000)
    assert units_liquidated(answer) == [(ALICE, 2), (CAROL, 3), (frank, 0), (BOB, 1), (eve, 0)]


def test_the_first_in_order_gets_the_better_bid(venue: World) -> None:
    """Q8: ALICE's block is older than CAROL's at the same distance; one bid of 100 lots."""
    block_of(venue, ALICE, 100)
    block_of(venue, CAROL, 100)
    venue.buy(MAKER, 100, 58_450)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert answer.fills(ALICE) == [(100, 58_450)]
    assert [event.account for event in answer.of(Ev.TAKEN_OVER)] == [CAROL]


def test_a_maker_ruined_by_a_liquidation_falls_in_the_next_round(venue: World) -> None:
    """Q8, O7: BOB, short 100 lots from 57,000 with 316.35 USD, bids 61,215 for 70 of them.

    At 56,790 ALICE's long from 58,300 falls and is sold to him: he loses 295.05 + 0.857, and with
    20.443 + 6.30 for 30 lots he is below 51.96. He was sound when the mark came: the next round.
    """
    venue.mark(BTC, 570_000)
    assert venue.trade_short(BOB, MAKER, 100, 57_000, **isolated(20)).code == 0
    venue.mark(BTC, 583_000)
    assert venue.trade(ALICE, MAKER, 100, 58_300, **isolated(20)).code == 0
    venue.close(BOB, 70, 61_215, isolation_id=1)
    assert venue.block(1)["cash_units"] == dollars("316.35")
    answer = venue.mark(BTC, 567_900)
    assert answer.fills(BOB) == [(70, 61_215)]
    assert units_liquidated(answer) == [(ALICE, 2), (BOB, 1)]
    assert [(e.account, e.qty_lots) for e in answer.of(Ev.TAKEN_OVER)] == [(ALICE, 30), (BOB, -30)]
    assert inventory(venue) == (0, 0)


def test_whom_an_earlier_liquidation_of_the_round_has_healed_is_left_alone(venue: World) -> None:
    """Q8, Q3: DAVE is long and EVE short 1,000 lots, both on 10,000 USDC; the index falls to 0.19.

    Both are below 1,830 USD; the long is farther past its threshold. He is sold to her reduce-only
    bid: she is flat, and nothing more happens to her.
    """
    eve = 5
    venue.open_account(eve)
    venue.deposit(eve, 10_000 * USD, 2)
    venue.trade(DAVE, MAKER, 1_000, 60_000)
    venue.trade_short(eve, MAKER, 1_000, 60_000)
    venue.buy(eve, 1_000, 60_000, exec_flags=Exec.REDUCE_ONLY)
    answer = venue.index(190_000)
    assert answer.fills(DAVE) == answer.fills(eve) == [(1_000, 60_000)]
    assert units_liquidated(answer) == [(DAVE, 0)]
    assert venue.qty(eve) == 0
    assert venue.account(eve)["usdc_units"] > 9_800 * USD


def test_a_block_that_an_earlier_liquidation_of_the_round_has_healed_stays_open(
    venue: World,
) -> None:
    """Q8, Q3: funding of 0.06 USD takes two longs of 100 lots below maintenance, though the mark
    has reached neither's threshold. ALICE's, the older, is sold to BOB's bid, whose 1,000 USD of
    margin come into his block with it: at his turn it loses its orders, and no more.
    """
    block_of(venue, ALICE, 100)
    block_of(venue, BOB, 100)
    venue.mark(BTC, 584_530)
    assert venue.buy(BOB, 150, 58_453, **isolated(20, 2, 1_500 * USD)).code == 0
    answer = venue.funding(BTC, 10_000)
    assert answer.fills(ALICE) == answer.fills(BOB) == [(100, 58_453)]
    assert units_liquidated(answer) == [(ALICE, 1)]
    assert [(e.account, e.isolation_id) for e in answer.of(Ev.BLOCK_LIQUIDATING)] == [
        (ALICE, 1), (BOB, 2)]
    assert [reason for _, reason in answer.done()] == [Done.LIQUIDATION]
    block = venue.block(2)
    assert (block["state"], block["qty_lots"]) == (BlockState.OPEN, 200)
    assert block["order_cash_units"] == 0
    # 333 + 1,000, less the funding of 0.058453 and the fee of 1.16906
    assert block["cash_units"] == dollars("1331.772487")


def test_a_block_that_opens_where_one_has_just_ended_has_its_own_threshold(venue: World) -> None:
    """Q2, Q3: the command after the mark that ends ALICE's block opens BOB's, on the same record:
    10 lots short at 58,490, 32.46195 USD. Limit (584.90 + 32.46195) / (0.01 x 1.0305) = 59,908.97.
    """
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 110, 58_490)
    assert units_liquidated(venue.mark(BTC, LONG_LIMIT)) == [(ALICE, 1)]
    assert venue.sell(BOB, 10, 58_490, **isolated(20)).fills(BOB) == [(10, 58_490)]
    assert venue.block(2)["cash_units"] == dollars("32.46195")
    assert venue.side.faults() == []
    assert venue.mark(BTC, 599_089).of(Ev.LIQUIDATED) == []
    assert units_liquidated(venue.mark(BTC, 599_090)) == [(BOB, 2)]


# ---- what happened to others


def test_dydx_a_liquidation_takes_the_whole_open_interest(venue: World) -> None:
    """Q3 (dYdX, 10 Oct 2025): ALICE's block is the only long, BOB the only short; his bid closes
    both. Nothing is open any more, and the venue goes on: settlement, a new trade."""
    venue.trade(ALICE, BOB, 100, 60_000, **isolated(20))
    venue.buy(BOB, 100, 58_450, exec_flags=Exec.REDUCE_ONLY)
    answer = venue.mark(BTC, LONG_LIMIT)
    assert answer.fills(ALICE) == answer.fills(BOB) == [(100, 58_450)]
    assert (venue.qty(BOB), inventory(venue)) == (0, (0, 0))
    assert venue.settle().code == 0
    assert venue.trade(ALICE, BOB, 10, 58_450).code == 0


def test_dydx_the_whole_open_interest_goes_through_the_inventory(venue: World) -> None:
    """Q4: the same without a bid; BOB's later bid of 58,300 is met by the work-off, 163 USD up."""
    venue.trade(ALICE, BOB, 100, 60_000, **isolated(20))
    venue.mark(BTC, LONG_LIMIT)
    assert inventory(venue) == (100, 5_667 * USD)
    venue.close(BOB, price=58_300)
    venue.mark(BTC, 584_600)
    assert (venue.qty(BOB), inventory(venue)) == (0, (0, 0))
    assert venue.dump()["inventory_cash_units"] == 163 * USD


def test_drift_a_block_does_not_count_in_the_cross_bankruptcy(venue: World) -> None:
    """Q7, I4 (Drift #2123): ALICE's main, long 2,900 lots with 9,745 USD, is 1,855 USD short at
    56,000; her short block, 200 USD in profit, is not touched and pays nothing."""
    venue.trade(ALICE, MAKER, 2_900, 60_000)
    block_of(venue, ALICE, -50)
    block = venue.block(1)
    assert venue.cash(ALICE) == 9_745 * USD
    answer = venue.mark(BTC, 560_000)
    assert units_liquidated(answer) == [(ALICE, 0)]
    assert venue.block(1) == block
    assert venue.account(ALICE)["deficit_units"] == 1_855 * USD
    venue.sell(MAKER, 50, 56_000)
    venue.close(ALICE, isolation_id=1)
    # 166.50 + 200 - 1.40
    assert venue.cash(ALICE) == dollars("365.1")


def test_drift_a_bankrupt_block_does_not_count_against_main(venue: World) -> None:
    """Q7, I4: main's long of 50 lots with 9,660 USD stays whole at 50,000, the block is gone."""
    venue.trade(ALICE, MAKER, 50, 60_000)
    block_of(venue, ALICE, 100)
    cash = venue.cash(ALICE)
    assert units_liquidated(venue.mark(BTC, 500_000)) == [(ALICE, 1)]
    assert (venue.qty(ALICE), venue.cash(ALICE)) == (50, cash)


def test_drift_nobody_is_stuck_in_liquidation(venue: World) -> None:
    """Q4, I1 (Drift #2122): the block is closed and a new one opens at once; a main account that
    lost slices has its account back."""
    block_of(venue, ALICE, 100)
    venue.trade(CAROL, MAKER, 900, 10_000, SOL)
    venue.mark(BTC, LONG_LIMIT)
    venue.mark(SOL, 9_356)
    answer = venue.buy(ALICE, 10, 58_000, **isolated(20))
    assert (answer.code, venue.block(2)["state"]) == (0, BlockState.PENDING)
    assert venue.close(ALICE, isolation_id=1).code == Code.INVALID_ISOLATION_ID
    assert venue.buy(CAROL, 10, 9_356, SOL).code == 0
    venue.buy(MAKER, 400, 9_357, SOL)
    assert venue.close(CAROL, contract=SOL).code == 0


def test_hyperliquid_margin_taken_out_before_a_fall_does_not_cost_the_fund(venue: World) -> None:
    """I9, Q5 (Hyperliquid, 12 Mar 2025): at 63,000 ALICE removes all she may, cash - MM = 175.50.

    Her block falls at 60,263.0, not at 58,452.8; sold 1 % below that mark it still pays: -34, fees
    2.983 and 29.83, and 90.687 are left for the fund.
    """
    block_of(venue, ALICE, 100)
    venue.mark(BTC, 630_000)
    assert venue.remove_margin(ALICE, 1, dollars("175.5") + 1).code == Code.EXCEEDS_REMOVABLE
    assert venue.remove_margin(ALICE, 1, dollars("175.5")).code == 0
    venue.buy(MAKER, 100, 59_660)
    assert venue.mark(BTC, 602_631).of(Ev.LIQUIDATED) == []
    answer = venue.mark(BTC, 602_630)
    assert answer.fills(ALICE) == [(100, 59_660)]
    assert venue.fund == 100_000 * USD + dollars("120.517")
    assert venue.account(ALICE)["deficit_units"] == 0


def test_hyperliquid_unrealized_profit_cannot_be_taken_out_of_a_cross_position(
    venue: World
) -> None:
    """C5: long 1,000 lots (60,000 USD), 3,000 USD up: what may leave is what could leave without.

    9,970 - 0.55 % of 63,000 - 5 % of 63,000 = 6,473.50; one unit more is refused.
    """
    venue.trade(ALICE, MAKER, 1_000, 60_000)
    venue.mark(BTC, 630_000)
    assert venue.withdraw(ALICE, dollars("6473.5") + 1).code == Code.EXCEEDS_WITHDRAWABLE
    assert venue.withdraw(ALICE, dollars("6473.5")).code == 0
