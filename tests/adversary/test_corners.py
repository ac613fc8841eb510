"""Corners that a seeded run seldom meets; mutants of the engine asked for them.

Model and engine play each of them; all events and both states are compared after every command.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from actor import PROFILE, SECOND, USD, make_world
from driver import EngineSide, Pair
from reference.codes import (
    Currency,
    Ev,
    Exec,
    Kind,
    OrderType,
    Reason,
    Scope,
    Side,
    Tif,
)
from reference.records import Command, Event
from worlds import Step, World

BUY, SELL = Side.BUY, Side.SELL
MAKER = 3


class Play:
    """Both sides, and the fields of orders that are always the same."""

    def __init__(self, world: World, deposits: tuple[int, ...], usdc: int = 0) -> None:
        self.pair, self.now = Pair(world, EngineSide(world)), 0
        self.send(kind=Kind.INDEX, currency=Currency.USDC, mark_ticks=10**6)
        for account, units in enumerate(deposits):
            self.send(kind=Kind.OPEN_ACCOUNT, account=account)
            self.send(kind=Kind.SET_ELIGIBILITY, account=account, profile=PROFILE)
            self.send(kind=Kind.DEPOSIT, account=account, currency=Currency.USD,
                      amount_units=units)
            if usdc:
                self.send(kind=Kind.DEPOSIT, account=account, currency=Currency.USDC,
                          amount_units=usdc)
        for contract in range(len(world.contracts)):
            self.mark(contract, 600_000)

    def send(self, **fields: int) -> list[Event]:
        """The events of one more command, on which both sides agree."""
        self.now += SECOND
        events: list[Event] = self.pair.play([Step(Command(timestamp_ns=self.now, **fields),
                                                   True)])[0]
        self.pair.compare()
        return events

    def mark(self, contract: int, ticks: int) -> list[Event]:
        return self.send(kind=Kind.MARK, contract=contract, mark_ticks=ticks)

    def order(self, account: int, side: int, lots: int, price: int, **more: int) -> list[Event]:
        fields: dict[str, int] = {
            "kind": Kind.NEW_ORDER, "account": account, "contract": 0, "side": side,
            "qty_lots": lots, "order_type": OrderType.LIMIT, "price_ticks": price,
            "time_in_force": Tif.GTC}
        return self.send(**{**fields, **more})

    def trade(self, account: int, side: int, lots: int, contract: int = 0, **more: int) -> None:
        """At the mark, against the maker."""
        price = self.pair.state["contracts"][contract]["mark_ticks"] // 10
        self.order(MAKER, 3 - side, lots, price, contract=contract)
        self.order(account, side, lots, price, contract=contract, **more)


def code_of(events: list[Event]) -> int:
    return next((event.code for event in events if event.kind == Ev.REJECT), 0)


def kinds_of(events: list[Event]) -> list[int]:
    return [event.kind for event in events]


def world_of(fund_usd: int = 1_000, **terms: Any) -> World:
    world = make_world(fund_usd)
    return replace(world, contracts=tuple(replace(t, **terms) for t in world.contracts))


#: One lot is one coin, 60,000 USD.
COIN = {"lot_size_e9": 10**9, "max_order_lots": 10, "max_position_lots": 10,
        "liquidation_slice_lots": 5, "inventory_limit_lots": 1_000, "work_off_slice_lots": 5}
DEPOSITS = (10_000 * USD,) * 3 + (1_000_000 * USD,)


@pytest.mark.parametrize(("price", "code"), [(59_100, 0), (59_090, 310)])
def test_a_close_must_pay_its_fee_too(price: int, code: int) -> None:
    """O7: 93 USD of margin carry a loss of 90 and a fee of 2.96, not one of 91 and 2.95."""
    play = Play(world_of(), DEPOSITS)
    play.trade(0, BUY, 100, exec_flags=Exec.ISOLATED_MARGIN, leverage=100)
    assert play.pair.state["blocks"][0]["cash_units"] == 93 * USD
    play.order(1, BUY, 100, price)
    assert code_of(play.order(0, SELL, 100, price, time_in_force=Tif.IOC, isolation_id=1,
                              exec_flags=Exec.ISOLATED_MARGIN | Exec.REDUCE_ONLY)) == code


@pytest.mark.parametrize("ticks", [-1, 0, 1, 2])
def test_a_profit_of_one_unit_cannot_be_withdrawn(ticks: int) -> None:
    """C5: one mark tick is one money unit here."""
    play = Play(world_of(lot_size_e9=100), DEPOSITS)
    play.trade(0, BUY, 1)
    play.mark(0, 600_000 + ticks)
    refused = play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USD,
                        amount_units=20_000 * USD)
    assert code_of(refused) == 30024
    most = refused[0].balance_units
    assert code_of(play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USD,
                             amount_units=most + 1)) == 30024
    assert code_of(play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USD,
                             amount_units=most)) == 0


def test_a_settlement_looks_at_who_holds_a_single_lot_and_gains_nothing() -> None:
    """C4, S3: the mark came back to the entry, no cash moves; only the settlement clears."""
    play = Play(world_of(**COIN), DEPOSITS)
    play.trade(0, BUY, 1)
    play.order(0, BUY, 1, 45_000)
    assert Ev.MARGIN_CALL in kinds_of(play.mark(0, 507_000))
    assert Ev.MARGIN_CALL_CLEARED not in kinds_of(play.mark(0, 600_000))
    assert Ev.MARGIN_CALL_CLEARED in kinds_of(play.send(kind=Kind.SETTLE_SESSION))


def test_previews_leave_the_index_of_thresholds_as_it_was() -> None:
    """Q2, X1: many units with the same threshold; one after the other would leave, and stays."""
    play = Play(world_of(), (10_000 * USD,) * 3 + (1_000_000 * USD,) + (10_000 * USD,) * 4)
    for account in (0, 1, 2, 4, 5, 6, 7):
        play.trade(account, BUY, 100, exec_flags=Exec.ISOLATED_MARGIN, leverage=50)
    play.order(MAKER, BUY, 700, 60_000)
    for block in range(1, 8):
        account = play.pair.state["blocks"][block - 1]["account"]
        close = Step(Command(kind=Kind.CLOSE_POSITION, account=account, isolation_id=block,
                             contract=0, order_type=OrderType.MARKET,
                             timestamp_ns=play.now + SECOND), True)
        before = play.pair.other.state_hash()
        assert code_of(list(play.pair.model.ask(close.command))) == 0
        play.pair.other.preview(close)
        assert play.pair.other.state_hash() == before
        assert play.pair.other.problems() == []
    assert kinds_of(play.mark(0, 585_000)).count(Ev.LIQUIDATED) == 7


@pytest.mark.parametrize("more", range(6))
def test_fractions_of_three_legs_that_sum_to_a_whole_unit_are_exact(more: int) -> None:
    """Q1: a sixth of each notional, one money unit a mark tick; the rests of the first two legs,
    1/6 and 5/6, make one unit. The third mark falls by single ticks until the unit fails."""
    world = world_of(max_leverage=3, taker_fee_e9=0, liquidation_fee_e9=0, lot_size_e9=100)
    world = replace(world, contracts=(*world.contracts, replace(world.contracts[0], symbol="SIX")))
    play = Play(world, (600_000 + more, USD, USD, 1_000 * USD))
    for contract in range(3):
        play.trade(0, BUY, 1, contract=contract)
    assert len(play.pair.state["accounts"][0]["legs"]) == 3
    play.mark(0, 480_001)
    play.mark(1, 480_005)
    third = next(mark for mark in range(480_010, 479_960, -1)
                 if Ev.LIQUIDATED in kinds_of(play.mark(2, mark)))
    equity = 600_000 + more - 3 * 600_000 + 480_001 + 480_005 + third
    assert 6 * equity < 960_006 + third
    assert 6 * (equity + 1) >= 960_006 + third + 1


def test_usdc_that_gives_one_unit_can_be_withdrawn_to_the_last() -> None:
    """C5 for USDC: the bisection ends at what leaves the first term at 0."""
    play = Play(world_of(), (1,) * 3 + (1_000_000 * USD,), usdc=1_000 * USD)
    play.trade(0, BUY, 100)
    refused = play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USDC,
                        amount_units=1_000 * USD)
    assert code_of(refused) == 30024
    most = refused[0].balance_units
    for amount, code in ((most + 1, 30024), (most, 0), (1, 30024)):
        assert code_of(play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USDC,
                                 amount_units=amount)) == code


def test_funding_at_a_settlement_is_taken_from_who_holds_one_lot() -> None:
    """F1, S3: a single lot pays, and its unit is tested."""
    play = Play(world_of(**COIN), DEPOSITS)
    play.trade(0, BUY, 1)
    play.send(kind=Kind.FUNDING, contract=0, rate_e9=7_500_000, scope=Scope.FUNDING_AT_SETTLEMENT)
    before = play.pair.state["accounts"][0]["cash_units"]
    play.send(kind=Kind.SETTLE_SESSION)
    assert play.pair.state["accounts"][0]["cash_units"] == before - 450 * USD


@pytest.mark.parametrize("rate", [10**9, 10**9 + 7, 2 * 10**9 - 1])
def test_a_unit_margin_rate_with_a_long_fraction_gives_exact_thresholds(rate: int) -> None:
    """Q2, U2: denominators up to 2^60 are added exactly; each mark is looked at by both sides."""
    world = world_of(unit_margin_rate_e15=rate, taker_fee_e9=123_457,
                     liquidation_fee_e9=7_654_321)
    play = Play(world, (30_000 * USD, 30_000 * USD, USD, 10_000_000 * USD))
    play.trade(0, BUY, 11_003)
    play.trade(1, SELL, 11_003, exec_flags=Exec.ISOLATED_MARGIN, leverage=50)
    play.order(0, BUY, 7, 45_000)
    seen: set[int] = set()
    for ticks in (*range(599_000, 575_000, -1_000), *range(600_000, 625_000, 1_000)):
        seen |= set(kinds_of(play.mark(0, ticks)))
        assert play.pair.other.problems() == []
    assert {Ev.MARGIN_CALL, Ev.LIQUIDATED} <= seen


@pytest.mark.parametrize(("ticks", "filled"), [(596_920, True), (596_900, False)])
def test_an_opening_maker_must_carry_its_fee_too(ticks: int, filled: bool) -> None:
    """O7, I3: of 96 USD, 2.40 is the fee; a loss of 30.80 leaves more than maintenance and the
    fee reserve ask for, one of 31 less."""
    play = Play(world_of(maker_fee_e9=400_000), DEPOSITS)
    play.order(0, BUY, 100, 60_000, exec_flags=Exec.ISOLATED_MARGIN, leverage=100)
    assert play.pair.state["blocks"][0]["order_cash_units"] == 96 * USD
    play.mark(0, ticks)
    done = kinds_of(play.order(MAKER, SELL, 100, 60_000))
    assert (Ev.BLOCK_OPEN in done, Ev.CANCELLED in done) == (filled, not filled)


def settle_with_two_winners(world: World) -> tuple[list[Event], Play]:
    """Account 0 and the maker won, account 1 owes: the fund lacks 1,625.625 USD. In the settlement
    funding takes three slices of account 0 first."""
    play = Play(world, (1_000 * USD,) * 3 + (1_000_000 * USD,))
    isolated = {"exec_flags": Exec.ISOLATED_MARGIN, "leverage": 100}
    play.order(1, SELL, 1_000, 60_000, contract=1, **isolated)
    play.order(0, BUY, 1_000, 60_000, contract=1)
    play.mark(1, 630_000)  # the fund takes over what nobody sells
    play.order(MAKER, BUY, 1_000, 63_000, contract=1)
    play.order(0, SELL, 1_000, 63_000, contract=1)
    play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USD, amount_units=1_000 * USD)
    play.trade(0, BUY, 2_000)
    play.order(MAKER, BUY, 2_000, 59_250)
    assert Ev.LIQUIDATED not in kinds_of(play.mark(0, 592_500))
    play.send(kind=Kind.FUNDING, contract=0, rate_e9=2_000_000, scope=Scope.FUNDING_AT_SETTLEMENT)
    return play.send(kind=Kind.SETTLE_SESSION), play


def test_a_settlement_may_liquidate_a_unit_before_its_roll_and_again_after_it() -> None:
    """S3, Q8: funding takes three slices of account 0, its share of the loss the last one."""
    events, play = settle_with_two_winners(world_of(0))
    kinds = kinds_of(events)
    roll = kinds.index(Ev.SESSION_SETTLED)
    assert kinds.count(Ev.LIQUIDATED) == 2
    assert (kinds[:roll].count(Ev.FILL), kinds[roll:].count(Ev.FILL)) == (6, 2)
    assert play.pair.state["accounts"][0]["legs"] == []


@pytest.mark.parametrize(
    ("loss", "shares"),
    [
        (2_377_000_000, (652_687_500, 1_737_000_000)),
        (2_389_687_500, (652_687_500, 1_737_000_000)),
        (2_389_687_501, (652_687_500, 1_737_000_001)),
    ],
)
def test_one_percent_of_the_profits_is_enough_to_its_last_unit(
    loss: int, shares: tuple[int, int]
) -> None:
    """S4: 1 % of 652.6875 and of 1,737 USD are 23.896875; one unit more is shared pro rata."""
    world = world_of(0)
    venue = replace(world.venue, fund_opening_units=(162_562_500_000 - loss, 0), socialized_loss=1)
    events, _ = settle_with_two_winners(replace(world, venue=venue))
    paid = [-event.amount_units for event in events
            if event.reason == Reason.SOCIALIZED_LOSS and event.amount_units < 0]
    assert tuple(paid) == shares


@pytest.mark.parametrize(("bid", "sold"), [(58_942, True), (58_941, False)])
def test_usdc_backs_a_liquidation_order_at_what_it_gives_when_converted(
    bid: int, sold: bool
) -> None:
    """Q3, A4: 972.45 USDC give 953.00 USD, which 0.9 coins lose at 58,941.11; below that the fund
    would pay the haircut, so the inventory takes the position at the mark."""
    play = Play(world_of(), (1,) * 3 + (1_000_000 * USD,), usdc=1_000 * USD)
    play.trade(0, BUY, 900)
    assert play.pair.state["accounts"][0]["usdc_units"] == 97_244_897_960
    play.order(MAKER, BUY, 900, bid)
    done = kinds_of(play.mark(0, 591_000))
    assert (Ev.FILL in done, Ev.TAKEN_OVER in done) == (sold, not sold)
    owner = play.pair.state["accounts"][0]
    assert (owner["legs"], owner["cash_units"], owner["deficit_units"]) == ([], 0, 0)


def test_the_last_unit_of_main_can_move_into_a_block() -> None:
    """C2, I8: with one unit in main two are refused and one is not."""
    play = Play(world_of(), DEPOSITS)
    play.trade(0, BUY, 100, exec_flags=Exec.ISOLATED_MARGIN, leverage=100)
    cash = play.pair.state["accounts"][0]["cash_units"]
    play.send(kind=Kind.WITHDRAW, account=0, currency=Currency.USD, amount_units=cash - 1)
    for amount, code in ((2, 306), (1, 0), (1, 306)):
        assert code_of(play.send(kind=Kind.ADD_MARGIN, account=0, isolation_id=1,
                                 amount_units=amount)) == code


def test_a_leverage_that_needs_one_record_too_many_is_refused() -> None:
    """C6: the venue holds two positions or settings here; the third setting finds no room."""
    world = world_of()
    play = Play(replace(world, venue=replace(world.venue, leg_capacity=2)), DEPOSITS)
    asked = [(0, 0), (0, 1), (1, 0), (0, 0)]
    codes = [code_of(play.send(kind=Kind.SET_LEVERAGE, account=account, contract=contract,
                               leverage=leverage))
             for leverage, (account, contract) in enumerate(asked, 10)]
    assert codes == [0, 0, 50001, 0]


def test_a_flip_moves_a_block_whose_two_thresholds_have_one_key() -> None:
    """I12, Q2: a long's key is its distance from the largest mark. 60 USD of margin put the short
    at 602,986; the long comes to lie as far below 1,199,900 while its margin is tried out."""
    largest, tick = 1_199_900, 10**6                # of 100 lots, a mark tick is 0.01 USD
    short = (6_060 * USD * 200) // (201 * tick) + 1
    play = Play(world_of(max_price_ticks=largest // 10, taker_fee_e9=0, liquidation_fee_e9=0),
                (100_000 * USD,) * 3 + (1_000_000 * USD,))
    same = 0
    for margin in range(6_060_000_000, 6_080_000_000, 500_000):
        isolated = {"exec_flags": Exec.ISOLATED_MARGIN, "leverage": 100}
        play.trade(0, BUY, 100, isolated_margin_units=margin, **isolated)
        isolated["isolation_id"] = play.pair.state["blocks"][0]["isolation_id"]
        play.trade(0, SELL, 200, **isolated)
        play.trade(0, BUY, 100, **isolated)
        long = -((margin - 6_000 * USD) * 200 // (199 * tick)) - 1
        same += largest - long == short
        assert play.pair.state["blocks"] == []
    assert same > 0
