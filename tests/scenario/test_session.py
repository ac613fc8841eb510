"""Chapter 8: the insurance fund, settlement, uncovered loss and the profit lock (S1-S5).

Shares are counted in single money units here, so that every remainder is seen: on TINY one tick x
one lot is one unit (1e-8 USD), the first mark is 100, there are no fees, leverage reaches 100. A
long of n lots gains n units a tick. PENNY is the same with a taker fee of 1 %: n lots cost n units.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from reference.codes import Code, Done, Ev, Exec, Ledger, Reason, Scope
from world import (
    ALICE,
    BOB,
    BTC,
    BTC_PERP_20X,
    DAVE,
    MAKER,
    SOL,
    TERMS,
    USD,
    Answer,
    World,
    isolated,
)

TINY_TERMS = replace(
    BTC_PERP_20X, symbol="TINY-PERP", tick_size_e12=10**4, lot_size_e9=10**9, marks_per_tick=1,
    max_position_lots=10**9, max_order_lots=10**9, liquidation_slice_lots=10**9,
    inventory_limit_lots=10**12, taker_fee_e9=0, maker_fee_e9=0, liquidation_fee_e9=0,
    max_leverage=100)
PENNY_TERMS = replace(TINY_TERMS, symbol="PENNY-PERP", taker_fee_e9=10_000_000)
TINY, PENNY = 0, 1
#: LOSER is short what the WINNERS are long; HELPER is rich and trades with anybody.
LOSER, HELPER, FIRST = 0, 1, 2
RICH = 1_000_000


def tiny_world(side: str, fund: int, loser_cash: int, winners: list[int]) -> World:
    """TINY and PENNY at 100; winners with so many units of cash."""
    world = World(side, replace(TERMS, fund_opening_units=(fund, 0)))
    world.add_contract(TINY_TERMS)
    world.add_contract(PENNY_TERMS)
    world.mark(TINY, 100)
    world.mark(PENNY, 100)
    for account, cash in enumerate([loser_cash, RICH, *winners]):
        world.open_account(account)
        world.deposit(account, cash)
    return world


def crash(side: str, lots: list[int], move: int, loser_cash: int, fund: int) -> World:
    """Winners long of those lots, the loser short of all of them, the mark up by `move`."""
    world = tiny_world(side, fund, loser_cash, [10_000] * len(lots))
    for n, part in enumerate(lots):
        assert world.trade(FIRST + n, LOSER, part, 100, TINY).code == 0
    world.mark(TINY, 100 + move)
    return world


def shares(answer: Answer, accounts: int) -> tuple[int, ...]:
    """What each winner paid as SOCIALIZED_LOSS."""
    return tuple(-answer.paid(Ledger.MAIN_USD, Reason.SOCIALIZED_LOSS, FIRST + n)
                 for n in range(accounts))


def withdrawable(world: World, account: int) -> int:
    """What a refusal of too much says."""
    answer = world.preview(9, account=account, currency=1, amount_units=10**15)
    assert answer.code == Code.EXCEEDS_WITHDRAWABLE
    return answer.available


# ---- S4: how a loss is shared

#: name, lots of the winners, ticks, the loser's cash, fund, shares.
#: P = lots x ticks, D = P - cash - fund.
SHARES: list[tuple[str, list[int], int, int, int, tuple[int, ...]]] = [
    # 2/3 each: the two odd units go to the smaller ids
    ("three equal winners and two units", [1, 1, 1], 4, 10, 0, (1, 1, 0)),
    # 7/6 = 1.17, 2.33, 3.50: the odd unit to the largest remainder
    ("the largest remainder takes the odd unit", [1, 2, 3], 10, 53, 0, (1, 2, 4)),
    # 1.33, 2.67, 4
    ("a whole share has no remainder", [1, 2, 3], 10, 52, 0, (1, 3, 4)),
    # 0.5, 0.5, 1
    ("a tie goes to the smaller id", [1, 1, 2], 10, 38, 0, (1, 0, 1)),
    ("the fund pays first", [1, 1, 1], 4, 10, 1, (1, 0, 0)),
    ("nothing is left to share", [1, 1, 1], 4, 10, 2, (0, 0, 0)),
    ("the fund is more than enough", [1, 1, 1], 4, 10, 3, (0, 0, 0)),
]


@pytest.mark.parametrize("case", SHARES, ids=lambda case: case[0])
def test_winners_share_the_loss_pro_rata_to_the_unit(side: str, case: Any) -> None:
    """S4: floor(D p / P), odd units one each to the largest remainders; the sum is D exactly."""
    _, lots, move, cash, fund, expected = case
    profits = sum(lots) * move
    loss = max(0, profits - cash - fund)
    world = crash(side, lots, move, cash, fund)
    assert world.fund == fund + cash - profits
    answer = world.settle()
    assert shares(answer, len(lots)) == expected
    assert sum(expected) == loss
    assert [e.amount_units for e in answer.of(Ev.LOSS_UNCOVERED)] == ([loss] if loss else [])
    (settled,) = answer.of(Ev.SESSION_SETTLED)
    assert (settled.qty_lots, settled.amount_units) == (1, loss)
    assert world.fund == max(0, fund + cash - profits)
    assert world.dump()["carried_units"] == 0


def test_okex_a_fund_of_ten_and_a_clawback_of_eighteen_per_cent(side: str) -> None:
    """S4 (OKEx, 31 Jul 2018): the loser leaves 190 of 1,000 unpaid, the fund has 10.

    180 of 1,000 units of profit: every winner keeps 82 %, 410, 246 and 164.
    """
    world = crash(side, [50, 30, 20], 10, 810, 10)
    answer = world.settle()
    assert shares(answer, 3) == (90, 54, 36)
    assert [world.cash(FIRST + n) - 10_000 for n in range(3)] == [410, 246, 164]
    assert world.fund == 0


#: fees that the winner paid, profit, share, carried; 9 of the loser's 10 units are uncovered
LIMITS = [
    ("less than the profit", 0, 10, 9, 0),
    ("exactly the profit", 1, 9, 9, 0),
    ("more than the profit", 2, 8, 8, 1),
    ("no profit at all", 10, 0, 0, 9),
]


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: case[0])
def test_more_than_all_profits_is_not_taken(side: str, case: Any) -> None:
    """S4, S5: D >= P takes every profit whole, D - P is carried as a named line.

    D shared in full unlocks what is left of the profits; a carried loss does not.
    """
    _, fees, profit, share, carried = case
    world = tiny_world(side, 0, 1, [10_000])
    world.trade(FIRST, LOSER, 1, 100, TINY)
    if fees:
        world.trade(FIRST, HELPER, fees, 100, PENNY)
    world.mark(TINY, 110)
    assert world.fund == -9
    answer = world.settle()
    assert shares(answer, 1) == (share,)
    (lost,) = answer.of(Ev.LOSS_UNCOVERED)
    assert (lost.amount_units, lost.balance_units) == (9, carried)
    assert (world.dump()["carried_units"], world.fund) == (carried, -carried)
    assert bool(answer.of(Ev.PROFIT_UNLOCKED)) == (carried == 0)
    assert world.account(FIRST)["kept_units"] == 0
    assert world.cash(FIRST) == 10_000 + profit - share


def test_a_carried_loss_is_shared_by_the_next_session(side: str) -> None:
    """S4: one unit is carried. Next, the mark gains 5: the inventory's short loses 5 more, two
    winners have 5 each: 6 are shared, 3 and 3, and nothing is carried on."""
    world = tiny_world(side, 0, 1, [10_000, 10_000])
    world.trade(FIRST, LOSER, 1, 100, TINY)
    world.trade(FIRST, HELPER, 2, 100, PENNY)
    world.mark(TINY, 110)
    world.settle()
    assert world.dump()["carried_units"] == 1
    world.trade(FIRST + 1, HELPER, 1, 110, TINY)
    world.mark(TINY, 115)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 6
    assert shares(answer, 2) == (3, 3)
    assert (world.dump()["carried_units"], world.fund) == (0, 0)
    assert world.dump()["session"] == 3


def test_units_share_not_owners(side: str) -> None:
    """S4: an owner's block won 10, her main account lost 10 to another: the block shares alone.

    5 of 20 units: 2.5 each; the odd unit goes to the main account, which comes before blocks.
    """
    world = tiny_world(side, 0, 5, [10_000, 10_000])
    world.trade(FIRST, LOSER, 1, 100, TINY, **isolated(10))
    world.trade(FIRST + 1, FIRST, 1, 100, TINY)
    world.mark(TINY, 110)
    answer = world.settle()
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.SOCIALIZED_LOSS, FIRST) == -2
    assert shares(answer, 2) == (0, 3)


def test_a_loss_that_the_fund_paid_is_no_loss_of_its_owner(side: str) -> None:
    """S4: the loser's session PnL is -5, what he had; with fresh money he wins 20 later.

    Then his profit is 15, and his share is counted on it.
    """
    world = tiny_world(side, 0, 5, [10_000])
    world.trade(FIRST, LOSER, 1, 100, TINY)
    world.mark(TINY, 110)
    assert world.account(LOSER)["session_pnl_units"] == -5
    world.deposit(LOSER, 100)
    world.trade(LOSER, HELPER, 2, 110, TINY)
    world.mark(TINY, 120)
    # The fund is short of 5, and of 10 of the inventory's short: 15; profits 15 and 20.
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 15
    # 15 x 15 / 35 = 6.43, 15 x 20 / 35 = 8.57
    assert answer.paid(Ledger.MAIN_USD, Reason.SOCIALIZED_LOSS, LOSER) == -6
    assert shares(answer, 1) == (9,)


def test_a_block_pays_its_share_from_the_money_of_its_orders(side: str) -> None:
    """S4, C5: 20 units of profit; 110 of the winner's 120 units go into a pending block's order.

    100 of them are free, 10 are profit: so block and main have 10 each, and of 5 units main pays 3
    (the odd one), the block 2. It has no cash: its order ends, and main pays from what came back.
    """
    world = tiny_world(side, 0, 15, [100])
    world.trade(FIRST, LOSER, 2, 100, TINY)
    world.mark(TINY, 110)
    world.trade(HELPER, FIRST, 2, 110, TINY)
    order = world.buy(FIRST, 10, 60, TINY, **isolated(10))
    assert world.block(1)["order_cash_units"] == 110
    assert world.block(1)["session_pnl_units"] == 10
    answer = world.settle()
    assert answer.done() == [(order.order_id, Done.SOCIALIZED)]
    assert shares(answer, 1) == (5,)
    assert world.block(1) is None
    assert world.cash(FIRST) == 115


# ---- S5: the profit lock

#: fund after cover, share, profit that stays locked, withdrawable of 110 less IM 2
LOCKS = [(-1, 1, 0, 107), (0, 0, 10, 100), (1, 0, 0, 108)]


@pytest.mark.parametrize(("fund_after", "share", "locked", "free"), LOCKS)
def test_profits_are_free_when_the_fund_is_above_zero_or_the_loss_is_shared(
    side: str, fund_after: int, share: int, locked: int, free: int
) -> None:
    """S5: at -1, 0 and +1 unit. At 0 there is nothing to share and nothing behind the profits."""
    world = tiny_world(side, 5 + fund_after, 5, [100])
    world.trade(FIRST, LOSER, 1, 100, TINY)
    world.mark(TINY, 110)
    assert world.fund == fund_after
    answer = world.settle()
    assert shares(answer, 1) == (share,)
    assert world.account(FIRST)["kept_units"] == locked
    assert world.account(FIRST)["session_pnl_units"] == 0
    assert [e.amount_units for e in answer.of(Ev.PROFIT_LOCKED)] == ([10] if locked else [])
    assert [e.amount_units for e in answer.of(Ev.PROFIT_UNLOCKED)] == (
        [] if locked else [10 - share])
    assert withdrawable(world, FIRST) == free
    assert world.withdraw(FIRST, free + 1).code == Code.EXCEEDS_WITHDRAWABLE
    assert world.withdraw(FIRST, free).code == 0


def test_locked_profit_is_released_by_a_later_settlement(side: str) -> None:
    """S5, S1: one unit into the fund, and the next session's end frees the 10."""
    world = crash(side, [1], 10, 5, 5)
    world.settle()
    world.top_up_fund(1)
    assert world.settle().of(Ev.PROFIT_UNLOCKED)[0].amount_units == 10
    assert world.account(FIRST)["kept_units"] == 0


def test_what_stays_locked_pays_no_share_of_a_later_loss(side: str) -> None:
    """S5: the first session leaves the fund at 0 and 10 units locked; the winner is flat then.

    In the second she pays a fee of 3, the helper wins 6 and the inventory loses 6: the helper pays
    all 6.
    """
    world = crash(side, [1], 10, 5, 5)
    world.settle()
    world.trade(HELPER, FIRST, 1, 110, TINY)
    world.trade(FIRST, HELPER, 3, 100, PENNY)
    world.mark(TINY, 116)
    answer = world.settle()
    assert shares(answer, 1) == (0,)
    assert answer.paid(Ledger.MAIN_USD, Reason.SOCIALIZED_LOSS, HELPER) == -6
    # Shared in full: everything is free now, the old profit too.
    assert world.account(FIRST)["kept_units"] == 0
    assert world.cash(FIRST) == 10_007


def test_a_share_is_counted_on_the_new_profit_alone(side: str) -> None:
    """S5: 10 units are locked from the first session; in the second she wins 6 of the 12 units and
    the inventory loses 6: she and the helper pay 3 each."""
    world = crash(side, [1], 10, 5, 5)
    world.settle()
    world.deposit(LOSER, 100)
    world.trade(HELPER, LOSER, 1, 110, TINY)
    world.mark(TINY, 116)
    answer = world.settle()
    assert shares(answer, 1) == (3,)
    assert answer.paid(Ledger.MAIN_USD, Reason.SOCIALIZED_LOSS, HELPER) == -3


def test_realized_profit_stays_until_the_session_is_settled(venue: World) -> None:
    """S5, C5: ALICE gains 100 USD and closes: of 10,093.95 the first 10,000 may leave."""
    venue.trade(ALICE, MAKER, 100, 60_000)
    venue.mark(BTC, 610_000)
    venue.buy(MAKER, 100, 61_000)
    venue.close(ALICE)
    # 10,000 - 3 + 100 - 3.05; session PnL 93.95 is locked.
    assert venue.cash(ALICE) == 10_093_95000000
    assert withdrawable(venue, ALICE) == 10_000 * USD
    assert venue.settle().of(Ev.PROFIT_UNLOCKED) != []
    assert withdrawable(venue, ALICE) == 10_093_95000000


# ---- S3: the order of work


def test_a_roll_realizes_profit_and_keeps_the_opening_cost(venue: World) -> None:
    """S3, U4: 10 lots from 60,000 to 61,000: 10 USD become cash, cost 610, opening cost 600."""
    venue.trade(ALICE, MAKER, 10, 60_000)
    venue.mark(BTC, 610_000)
    cash = venue.cash(ALICE)
    answer = venue.settle()
    leg = venue.leg(ALICE)
    assert (leg["cost_units"], leg["opening_cost_units"]) == (610 * USD, 600 * USD)
    assert venue.cash(ALICE) == cash + 10 * USD
    assert answer.paid(Ledger.MAIN_USD, Reason.REALIZED_PNL, ALICE) == 10 * USD
    assert answer.paid(Ledger.MAIN_USD, Reason.REALIZED_PNL, MAKER) == -10 * USD


def test_funding_liquidation_roll_and_fund_come_in_this_order(venue: World) -> None:
    """S3: the block's funding of 0.0585 USD liquidates it; the inventory rolls what it took."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.mark(BTC, 584_530)
    venue.funding(BTC, 10_000, Scope.FUNDING_AT_SETTLEMENT)
    answer = venue.settle()

    def first(kind: int, reason: int = 0, ledger: int = 0) -> int:
        return next(i for i, e in enumerate(answer) if e.kind == kind
                    and (not reason or (e.reason, e.ledger) == (reason, ledger)))

    steps = [
        first(Ev.BALANCE, Reason.FUNDING, Ledger.BLOCK_POSITION),
        first(Ev.LIQUIDATED),
        first(Ev.BALANCE, Reason.REALIZED_PNL, Ledger.INVENTORY),
        first(Ev.BALANCE, Reason.INSURANCE_FUND, Ledger.INVENTORY),
        first(Ev.PROFIT_UNLOCKED),
        first(Ev.SESSION_SETTLED),
    ]
    assert steps == sorted(steps)


def test_the_inventory_s_result_goes_to_the_fund(venue: World) -> None:
    """S3: taken for 5,667 USD, worth 5,845.28: 178.28 for the fund; at 56,000 it is 67 less."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.mark(BTC, 584_528)
    venue.settle()
    assert venue.fund == 100_178_28000000
    assert venue.dump()["inventory_cash_units"] == 0
    assert venue.dump()["contracts"][BTC]["inventory_cost_units"] == 5_845_28000000
    venue.mark(BTC, 560_000)
    venue.settle()
    assert venue.fund == 99_933 * USD


def test_a_roll_s_loss_is_paid_from_the_owner_s_own_usdc(venue: World) -> None:
    """S3, A4: DAVE loses 10 USD; 11.11111112 of his USDC give them at 0.90."""
    venue.trade(DAVE, MAKER, 10, 60_000)
    venue.mark(BTC, 590_000)
    usdc = venue.account(DAVE)["usdc_units"]
    answer = venue.settle()
    assert answer.paid(Ledger.MAIN_USD, Reason.AUTO_CONVERSION, DAVE) == 10 * USD
    assert venue.account(DAVE)["usdc_units"] == usdc - 11_11111112
    assert venue.cash(DAVE) == 0


def test_a_missing_or_stale_mark_postpones_the_whole_settlement(venue: World) -> None:
    """S3: SOL's mark is 61 s old and ALICE holds SOL: BTC is not rolled either."""
    venue.trade(BOB, MAKER, 10, 60_000)
    venue.trade(ALICE, MAKER, 10, 10_000, SOL)
    venue.mark(BTC, 610_000)
    venue.wait(61)
    assert venue.settle().code == Code.STALE_MARK_PRICE
    assert venue.leg(BOB)["cost_units"] == 600 * USD
    venue.mark(SOL, 10_000)
    assert venue.settle().code == 0
    assert venue.leg(BOB)["cost_units"] == 610 * USD


def test_a_stale_mark_without_positions_does_not_matter(venue: World) -> None:
    """S3."""
    venue.wait(61)
    assert venue.settle().code == 0


#: mark, what the last pass does. The winner has 11 + 10 units left of a profit that was clawed
#: back; her 10 lots need 1 % of the mark each, half of it to stay.
LAST_PASS = [(200, 0), (300, Ev.MARGIN_CALL), (500, Ev.LIQUIDATED)]


@pytest.mark.parametrize(("mark", "kind"), LAST_PASS)
def test_the_last_pass_meets_whom_the_shared_loss_made_weak(
    side: str, mark: int, kind: int
) -> None:
    """S3, C4: at 200 she needs 20 of her 21 units; at 300 it is 30 (margin call); at 500 she needs
    50, and 25 to stay: liquidated, in the new session."""
    world = tiny_world(side, 0, 10, [11])
    world.trade(FIRST, LOSER, 10, 100, TINY)
    order = world.buy(FIRST, 1, 60, TINY)
    assert order.code == 0
    world.mark(TINY, mark)
    answer = world.settle()
    assert world.cash(FIRST) == 21
    kinds = answer.kinds()
    settled = kinds.index(Ev.SESSION_SETTLED)
    assert not {Ev.MARGIN_CALL, Ev.LIQUIDATED} & set(kinds[:settled])
    after = [k for k in kinds[settled:] if k in (Ev.MARGIN_CALL, Ev.LIQUIDATED)]
    assert after == ([kind] if kind else [])
    assert (world.live(order.order_id) is None) == bool(kind)
    assert world.qty(FIRST, TINY) == (0 if kind == Ev.LIQUIDATED else 10)


def test_a_settlement_without_positions_only_turns_the_page(venue: World) -> None:
    """S3: session 1 ends with D = 0 and a fund of 100,000 USD; session 2 begins."""
    answer = venue.settle()
    (settled,) = answer.of(Ev.SESSION_SETTLED)
    assert (settled.qty_lots, settled.amount_units, settled.balance_units) == (
        1, 0, 100_000 * USD)
    assert venue.dump()["session"] == 2


# ---- S1, S2: the fund


def test_the_fund_may_be_negative_until_the_session_ends(side: str) -> None:
    """S2: 5 units short, and the venue trades on."""
    world = crash(side, [1], 10, 5, 0)
    assert world.fund == -5
    assert world.trade(HELPER, FIRST, 1, 110, TINY).code == 0
    world.settle()
    assert world.fund == 0


def test_the_fund_is_opened_and_topped_up_by_deposits(venue: World) -> None:
    """S1, L1: USD and USDC apart; each is a deposit into the venue."""
    deposits = list(venue.dump()["deposits_units"])
    answer = venue.top_up_fund(7 * USD)
    assert answer.paid(Ledger.FUND_USD, Reason.DEPOSIT) == 7 * USD
    assert venue.top_up_fund(3 * USD, 2).paid(Ledger.FUND_USDC, Reason.DEPOSIT) == 3 * USD
    assert list(venue.dump()["fund_units"]) == [100_007 * USD, 3 * USD]
    assert list(venue.dump()["deposits_units"]) == [deposits[0] + 7 * USD, deposits[1] + 3 * USD]


@pytest.mark.rule("S3", "S5", "C4")
def test_a_settlement_finds_those_who_are_far_apart(make_venue: Callable[..., World]) -> None:
    """The first and the last of two hundred accounts trade, nobody in between. The call of the last
    one, which a mark has healed, ends at the settlement, and the profits of both are unlocked."""
    venue = make_venue(account_capacity=256, unit_capacity=512)
    first, last = 5, 199
    for account in range(first, last + 1):
        venue.open_account(account)
    for account in (first, last):
        venue.deposit(account, 1_000 * USD)
    before = {account: venue.cash(account) for account in (MAKER, first, last)}
    assert venue.trade_short(first, MAKER, 10, 60_000).code == 0
    assert venue.trade(last, MAKER, 200, 60_000).code == 0
    bid = venue.buy(last, 10, 55_000).order_id
    assert venue.mark(BTC, 582_636).done() == [(bid, Done.MARGIN_CALL)]
    for mark in (600_000, 610_000, 590_000):
        venue.mark(BTC, mark)
        answer = venue.settle()
        assert [e.account for e in answer.of(Ev.MARGIN_CALL_CLEARED)] == (
            [last] if mark == 600_000 else [])
        profits = {account: venue.cash(account) - cash for account, cash in before.items()}
        assert answer.of(Ev.PROFIT_UNLOCKED)[0].amount_units == sum(
            profit for profit in profits.values() if profit > 0)
        before = {account: venue.cash(account) for account in before}


@pytest.mark.rule("S5", "I11")
@pytest.mark.parametrize("lots", [50, 100])
def test_a_settlement_finds_profit_that_went_to_main(venue: World, lots: int) -> None:
    """A block that is older than the session wins, and what it realizes goes to a main account that
    has no position and took no part in the session until then."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.settle()
    venue.mark(BTC, 610_000)
    venue.buy(MAKER, lots, 61_000)
    answer = venue.close(ALICE, isolation_id=1, qty_lots=lots, exec_flags=Exec.RELEASE_MARGIN)
    assert answer.code == 0
    assert venue.side.faults() == []
    assert venue.settle().of(Ev.PROFIT_UNLOCKED)[0].amount_units > 0
    assert venue.account(ALICE)["session_pnl_units"] == 0
