"""A4: USDC that goes into a block stays USDC there (policy block_collateral = in_kind).

DAVE has 10,000 USDC and no USD; one USDC is worth 1.00 USD and gives 0.90 when it is converted. A
long of 100 lots (0.1 BTC) from 60,000 at 20x asks for 300 of margin, 3 for the fee and 33 in
reserve: 336 USD, which 373.33333334 USDC give (rounded up). Its fee of 3 USD is covered at once by
3.33333334 of them, so that his block carries the position with 370 USDC and no USD.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.codes import (
    Code,
    Currency,
    Done,
    Ev,
    Exec,
    Kind,
    Ledger,
    Policy,
    Reason,
    Scope,
)
from test_liquidation import block_of, dollars, inventory
from test_policies import tiny_world
from test_session import FIRST, HELPER, LOSER, TINY
from world import ALICE, BOB, BTC, DAVE, MAKER, USD, Answer, World, isolated

Make = Callable[..., World]
USDC = Currency.USDC
#: What gives 336, 236 and 3 USD at 0.90.
FOR_336, FOR_236, FOR_3 = 373_33333334, 262_22222223, 3_33333334


@pytest.fixture
def kind(make_venue: Make) -> World:
    """The populated world, its blocks in kind."""
    return make_venue(block_collateral=Policy.IN_KIND)


def usdc(venue: World, account: int = DAVE) -> int:
    return int(venue.account(account)["usdc_units"])


def money(venue: World, isolation_id: int = 1) -> tuple[int, int]:
    """USD and USDC of a block's position."""
    block = venue.block(isolation_id)
    assert block is not None
    return block["cash_units"], block["usdc_units"]


def held(venue: World, order_id: int) -> tuple[int, int]:
    """USD and USDC that an order holds."""
    order = venue.live(order_id)
    assert order is not None
    return order["reserve"], order["usdc"]


def moves(answer: Answer, reason: int) -> list[tuple[int, int]]:
    """(ledger, amount) of every change for a reason, in order."""
    return [(e.ledger, e.amount_units) for e in answer.of(Ev.BALANCE) if e.reason == reason]


def margin(venue: World, kind: int, amount: int, currency: int = USDC, account: int = DAVE,
           isolation_id: int = 1) -> Answer:
    return venue.do(kind, account=account, isolation_id=isolation_id, amount_units=amount,
                    currency=currency)


# ---- I2: what an order takes from main


def test_an_order_s_reserve_is_moved_in_kind(kind: World) -> None:
    """I2, A4: 336 USD are needed; no USD is there; nothing is converted."""
    answer = kind.buy(DAVE, 100, 60_000, **isolated(20))
    assert moves(answer, Reason.ISOLATED_TRANSFER) == [
        (Ledger.MAIN_USDC, -FOR_336), (Ledger.BLOCK_ORDER_USDC, FOR_336)]
    assert moves(answer, Reason.AUTO_CONVERSION) == []
    assert answer.of(Ev.ACCEPTED)[0].amount_units == 0
    assert held(kind, answer.order_id) == (0, FOR_336)
    assert usdc(kind) == 10_000 * USD - FOR_336


def test_usd_goes_first_and_comes_back_as_it_was(kind: World) -> None:
    """I2, I3, L2: 100 USD and what gives 236; the payer's side of each currency comes first."""
    kind.deposit(DAVE, 100 * USD)
    answer = kind.buy(DAVE, 100, 60_000, **isolated(20))
    order = answer.order_id
    assert moves(answer, Reason.ISOLATED_TRANSFER) == [
        (Ledger.MAIN_USD, -100 * USD), (Ledger.BLOCK_ORDER, 100 * USD),
        (Ledger.MAIN_USDC, -FOR_236), (Ledger.BLOCK_ORDER_USDC, FOR_236)]
    assert {(e.contract, e.order_id) for e in answer.of(Ev.BALANCE)} == {(BTC, order)}
    assert answer.of(Ev.ACCEPTED)[0].amount_units == 100 * USD
    told = kind.cancel(DAVE, order)
    assert moves(told, Reason.ISOLATED_TRANSFER) == [
        (Ledger.BLOCK_ORDER, -100 * USD), (Ledger.MAIN_USD, 100 * USD),
        (Ledger.BLOCK_ORDER_USDC, -FOR_236), (Ledger.MAIN_USDC, FOR_236)]
    assert (kind.cash(DAVE), usdc(kind)) == (100 * USD, 10_000 * USD)


def test_what_converting_would_give_is_the_limit(kind: World) -> None:
    """C2: 10,000 USDC give 9,000 USD: an explicit amount of so much moves them all."""
    refused = kind.buy(DAVE, 10, 60_000, **isolated(20, margin=9_000 * USD + 1))
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, 9_000 * USD + 1, 9_000 * USD)
    assert kind.buy(DAVE, 10, 60_000, **isolated(20, margin=9_000 * USD)).code == 0
    assert usdc(kind) == 0


def test_under_convert_the_same_order_becomes_usd(make_venue: Make) -> None:
    """A4: the default, for comparison."""
    venue = make_venue()
    answer = venue.buy(DAVE, 100, 60_000, **isolated(20))
    assert moves(answer, Reason.AUTO_CONVERSION)[0] == (Ledger.MAIN_USDC, -FOR_336)
    order = venue.live(answer.order_id)
    assert order is not None
    assert (order["reserve"], "usdc" in order) == (336 * USD, False)


# ---- I3: fills

#: USD at first, limit, explicit margin; USD and USDC of the position, USD that returned
FILLS = [
    ("USDC alone", "0", 60_000, "0", "0", 370 * USD, "0"),
    ("USD first", "100", 60_000, "0", "97", FOR_236, "0"),
    # 6,060 at the limit: 303 + 3.03 + 33.33 + 60 = 399.36; 332.62222223 USDC give 299.36 of them.
    ("a better price returns USD alone", "100", 60_600, "0", "33.64", 332_62222223, "63.36"),
    # 399.36 give 443.73333334 USDC: all of them stay, 63.36 too many; the fee takes 3.33333334.
    ("without USD nothing returns", "0", 60_600, "0", "0", 443_73333334 - FOR_3, "0"),
    ("an explicit amount stays", "100", 60_000, "500", "97", 444_44444445, "0"),
]


@pytest.mark.parametrize("case", FILLS, ids=lambda case: case[0])
def test_a_fill_keeps_its_usdc_and_as_much_usd_as_is_asked(kind: World, case: Any) -> None:
    """I3: USDC of the slice counts at what it gives; what is left over of the USD returns."""
    _, usd, limit, explicit, cash, own, returned = case
    kind.deposit(DAVE, dollars(usd))
    assert kind.sell(MAKER, 100, 60_000).code == 0
    answer = kind.buy(DAVE, 100, limit, **isolated(20, margin=dollars(explicit)))
    assert answer.fills(DAVE) == [(100, 60_000)]
    assert money(kind) == (dollars(cash), own)
    assert kind.cash(DAVE) == dollars(returned)
    moved_in = sum(amount for ledger, amount in moves(answer, Reason.ISOLATED_TRANSFER)
                   if ledger == Ledger.MAIN_USDC)
    assert usdc(kind) == 10_000 * USD + moved_in


def test_lots_take_their_part_of_both_currencies_rounded_up(kind: World) -> None:
    """C3, O2: 30 of 100 lots take 30 USD and 78.66666667 USDC, which give 70.80: together the
    100.80 that they ask for. 40 lots fewer free 40 USD and 4/7 of the other USDC."""
    kind.deposit(DAVE, 100 * USD)
    order = kind.buy(DAVE, 100, 60_000, **isolated(20)).order_id
    kind.sell(MAKER, 30, 60_000)
    # The fee of a maker is 0.36; with it 0.54 of the USD are too many.
    assert money(kind) == (dollars("29.1"), 78_66666667)
    assert held(kind, order) == (70 * USD, 183_55555556)
    told = kind.amend(DAVE, order, qty_lots=60)
    assert held(kind, order) == (30 * USD, 78_66666667)
    assert moves(told, Reason.ISOLATED_TRANSFER)[1::2] == [
        (Ledger.MAIN_USD, 40 * USD), (Ledger.MAIN_USDC, 104_88888889)]
    kind.sell(MAKER, 30, 60_000)
    block = kind.block(1)
    assert block is not None
    assert (block["order_cash_units"], block["order_usdc_units"]) == (0, 0)


def test_an_order_that_closes_gives_its_reserve_back_in_kind(kind: World) -> None:
    """C3, I12: a bid that rested before the short: 100 lots that close need none of it."""
    bid = kind.buy(DAVE, 100, 59_000, **isolated(20))
    kind.buy(MAKER, 100, 60_000)
    assert kind.sell(DAVE, 100, 60_000, **isolated(20, 1)).code == 0
    before = held(kind, bid.order_id)
    assert before[0] == 0
    told = kind.sell(MAKER, 50, 59_000)
    assert moves(told, Reason.ISOLATED_TRANSFER)[:2] == [(Ledger.BLOCK_ORDER_USDC, -before[1] // 2),
                            (Ledger.MAIN_USDC, before[1] // 2)]


# ---- Q1, Q2: margin


@pytest.mark.parametrize(("mark", "is_alive"), [(582_620, True), (582_619, False)])
def test_half_of_the_haircut_counts_to_the_mark_tick(
    kind: World, mark: int, is_alive: bool
) -> None:
    """Q1, Q2: 370 - 18.5 + N - 6,000 < N (2.5 % + 0.55 %): N below 5,826.19907."""
    block_of(kind, DAVE, 100)
    answer = kind.mark(BTC, mark)
    assert (answer.of(Ev.LIQUIDATED) == []) == is_alive


@pytest.mark.parametrize(("index", "is_alive"), [(520_626, True), (520_625, False)])
def test_an_index_finds_the_block_that_it_breaks(kind: World, index: int, is_alive: bool) -> None:
    """Q2, A4: 370 i - 18.5 i < 183: at 0.520626 USD there is 0.000039 too much. His main account
    has 9,626.66 USDC, which do not help (Q7)."""
    block_of(kind, DAVE, 100)
    before = kind.account(DAVE)
    answer = kind.index(index)
    assert (answer.of(Ev.LIQUIDATED) == []) == is_alive
    if is_alive:
        return
    # 370 USDC give 173.368125 at 0.520625 x 0.9; the inventory takes the rest of the cost.
    assert moves(answer, Reason.AUTO_CONVERSION) == [
        (Ledger.BLOCK_POSITION_USDC, -370 * USD), (Ledger.CONVERSION_USDC, 370 * USD),
        (Ledger.CONVERSION_USD, -dollars("173.368125")),
        (Ledger.BLOCK_POSITION, dollars("173.368125"))]
    assert answer.kinds().index(Ev.BALANCE) > answer.kinds().index(Ev.BLOCK_LIQUIDATING)
    assert inventory(kind) == (100, dollars("5826.631875"))
    assert {**before, "deficit_units": 0} == {**kind.account(DAVE), "deficit_units": 0}


def test_the_haircut_may_come_off_the_value(make_venue: Make) -> None:
    """A4, policy haircut_in: 333 + N - 6,000 < 3.05 % of N: N below 5,845.28107."""
    venue = make_venue(block_collateral=Policy.IN_KIND, haircut_in=Policy.HAIRCUT_IN_VALUE)
    block_of(venue, DAVE, 100)
    assert venue.mark(BTC, 584_529).of(Ev.LIQUIDATED) == []
    assert len(venue.mark(BTC, 584_528).of(Ev.LIQUIDATED)) == 1


def test_a_negative_balance_is_covered_by_the_block_s_own(kind: World) -> None:
    """A4, F1, I4: funding of 6 USD takes 6.66666667 USDC of the block, and none of main's."""
    block_of(kind, DAVE, 100)
    before = usdc(kind)
    answer = kind.funding(BTC, 1_000_000)
    assert (Ledger.BLOCK_POSITION_USDC, -6_66666667) in moves(answer, Reason.AUTO_CONVERSION)
    assert money(kind) == (0, 370 * USD - 6_66666667)
    assert usdc(kind) == before


def test_a_roll_s_loss_is_covered_too(kind: World) -> None:
    """S3: 100 USD below the opening at 59,000; the fund pays nothing."""
    block_of(kind, DAVE, 100)
    kind.mark(BTC, 590_000)
    kind.settle()
    assert money(kind) == (0, 370 * USD - 111_11111112)
    assert kind.fund == 100_000 * USD


# ---- O7, I10, I11: closing


@pytest.mark.parametrize(("held_units", "code"), [(2, 0), (1, Code.BEYOND_BANKRUPTCY)])
def test_one_unit_of_usdc_gives_nothing(kind: World, held_units: int, code: int) -> None:
    """O7, A4: ALICE's block sells at 56,600: -340, fee 2.83, of a cash one unit short of both.

    Two units of USDC give floor(1.8) = 1, which is what is missing; one gives floor(0.9) = 0.
    """
    block_of(kind, ALICE, 100)
    kind.add_margin(ALICE, 1, dollars("9.83") - 1)
    kind.deposit(ALICE, held_units, USDC)
    assert margin(kind, Kind.ADD_MARGIN, held_units, account=ALICE).code == 0
    assert money(kind) == (dollars("342.83") - 1, held_units)
    kind.mark(BTC, 590_000)
    kind.buy(MAKER, 100, 56_600)
    assert kind.close(ALICE, price=56_600, isolation_id=1).code == code


@pytest.mark.parametrize(("price", "code"), [(56_699, 0), (56_698, Code.BEYOND_BANKRUPTCY)])
def test_a_close_may_cost_what_the_usdc_gives(kind: World, price: int, code: int) -> None:
    """O7: 333 + 0.1 p - 6,000 - 0.00005 p >= 0 from 56,698.35 on; its value would be 370."""
    block_of(kind, DAVE, 100)
    kind.mark(BTC, 583_000)
    kind.buy(MAKER, 100, price)
    assert kind.close(DAVE, isolation_id=1).code == code


def test_a_full_close_returns_both_currencies(kind: World) -> None:
    """I11: at 59,400 it loses 60 and pays 2.97: 69.96666667 USDC are converted, the rest goes
    back in kind, and the block closes."""
    block_of(kind, DAVE, 100)
    before = usdc(kind)
    kind.buy(MAKER, 100, 59_400)
    answer = kind.close(DAVE, isolation_id=1)
    assert [e.isolation_id for e in answer.of(Ev.BLOCK_CLOSED)] == [1]
    assert moves(answer, Reason.ISOLATED_TRANSFER) == [
        (Ledger.BLOCK_POSITION_USDC, -300_03333333), (Ledger.MAIN_USDC, 300_03333333)]
    assert (usdc(kind), kind.cash(DAVE)) == (before + 300_03333333, 0)


def test_a_profit_is_in_usd(kind: World) -> None:
    """I10, I11: 50 lots at 60,600 gain 30 and pay 1.515; then the rest gains as much."""
    block_of(kind, DAVE, 100)
    kind.buy(MAKER, 100, 60_600)
    kind.close(DAVE, 50, isolation_id=1)
    assert money(kind) == (dollars("28.485"), 370 * USD)
    kind.close(DAVE, isolation_id=1)
    assert (kind.cash(DAVE), usdc(kind)) == (dollars("56.97"), 10_000 * USD - FOR_3)


def test_a_release_moves_usd_alone(kind: World) -> None:
    """I10: of 40 USD beside the 370 USDC half a close releases 20."""
    block_of(kind, DAVE, 100)
    kind.deposit(DAVE, 40 * USD)
    assert kind.add_margin(DAVE, 1, 40 * USD).code == 0
    kind.mark(BTC, 606_000)
    kind.buy(MAKER, 50, 60_600)
    answer = kind.close(DAVE, 50, isolation_id=1, exec_flags=Exec.RELEASE_MARGIN)
    assert moves(answer, Reason.ISOLATED_TRANSFER) == [
        (Ledger.BLOCK_POSITION, -20 * USD), (Ledger.MAIN_USD, 20 * USD)]
    assert money(kind) == (dollars("48.485"), 370 * USD)


# ---- I8, I9: margin in and out


def test_margin_is_added_in_either_currency(kind: World) -> None:
    """I8: exactly 50 USDC; 50 USD are what 55.55555556 USDC give, and go in as these."""
    block_of(kind, DAVE, 100)
    assert moves(margin(kind, Kind.ADD_MARGIN, 50 * USD), Reason.ISOLATED_TRANSFER) == [
        (Ledger.MAIN_USDC, -50 * USD), (Ledger.BLOCK_POSITION_USDC, 50 * USD)]
    margin(kind, Kind.ADD_MARGIN, 50 * USD, Currency.USD)
    assert money(kind) == (0, 475_55555556)


def test_as_much_usdc_goes_into_a_block_as_may_be_withdrawn(kind: World) -> None:
    """I8, C5: with a cross position that needs margin; one unit more is 306, in USDC."""
    block_of(kind, DAVE, 100)
    assert kind.trade(DAVE, MAKER, 1_000, 60_000).code == 0
    most = kind.preview(Kind.WITHDRAW, account=DAVE, currency=USDC,
                        amount_units=10**15).available
    assert 0 < most < usdc(kind)
    refused = margin(kind, Kind.ADD_MARGIN, most + 1)
    assert (refused.code, refused.needed, refused.available) == (
        Code.INSUFFICIENT_BALANCE, most + 1, most)
    assert margin(kind, Kind.ADD_MARGIN, most).code == 0


CURRENCIES = [(0, 0, 0), (Currency.USD, 0, 0), (USDC, Code.INVALID_CURRENCY, 0),
              (3, Code.INVALID_CURRENCY, Code.INVALID_CURRENCY)]


@pytest.mark.parametrize("command", [Kind.ADD_MARGIN, Kind.REMOVE_MARGIN])
@pytest.mark.parametrize(("currency", "convert", "in_kind"), CURRENCIES)
def test_usdc_is_a_currency_of_margin_only_where_it_stays(
    make_venue: Make, command: int, currency: int, convert: int, in_kind: int
) -> None:
    """I8, I9, O5: 211, before the block is looked for."""
    for policy, code in enumerate((convert, in_kind)):
        venue = make_venue(block_collateral=policy)
        assert margin(venue, command, 1, currency).code == (code or Code.INVALID_ISOLATION_ID)
        venue.buy(DAVE, 10, 59_000, **isolated(20))
        venue.deposit(DAVE, USD)
        assert venue.add_margin(DAVE, 1, USD).code == 0
        if policy:
            assert margin(venue, Kind.ADD_MARGIN, 1).code == 0
        assert margin(venue, command, 1, currency).code == code


REMOVALS = [
    # 470 USDC: MB - IM = 437 - 300 - 47 = 90, and a USDC costs 0.90 of it
    ("initial margin", Policy.REMOVAL_FREE, "100", 600_000, 100 * USD),
    # at 66,000 in profit: 0.9 x rest >= 165 + 23.5; 209.44444445 have to stay
    ("what the block gives", 0, "100", 660_000, 260_55555555),
    ("no profit", 0, "100", 600_000, 0),
    ("nothing above the initial margin", Policy.REMOVAL_FREE, "0", 600_000, 0),
]


@pytest.mark.parametrize("case", REMOVALS, ids=lambda case: case[0])
def test_usdc_is_removed_to_the_unit(make_venue: Make, case: Any) -> None:
    """I9: one unit more is refused, with figures in USDC."""
    _, policy, added, mark, most = case
    venue = make_venue(block_collateral=Policy.IN_KIND, removal=policy)
    block_of(venue, DAVE, 100)
    if added != "0":
        margin(venue, Kind.ADD_MARGIN, dollars(added))
    venue.mark(BTC, mark)
    refused = margin(venue, Kind.REMOVE_MARGIN, most + 1)
    assert (refused.code, refused.needed, refused.available) == (
        Code.EXCEEDS_REMOVABLE, most + 1, most)
    if most:
        answer = margin(venue, Kind.REMOVE_MARGIN, most)
        assert moves(answer, Reason.ISOLATED_TRANSFER) == [
            (Ledger.BLOCK_POSITION_USDC, -most), (Ledger.MAIN_USDC, most)]


#: USD beside the 370 USDC, what of it may go: MM = 165 + 18.5 less 333 is carried by the USDC
USD_REMOVALS = [("all of it", 100, 100), ("none", 0, 0)]


@pytest.mark.parametrize("case", USD_REMOVALS, ids=lambda case: case[0])
def test_usd_may_go_where_usdc_carries_the_position(kind: World, case: Any) -> None:
    """I9: never more than there is in USD."""
    _, has, most = case
    block_of(kind, DAVE, 100)
    if has:
        kind.deposit(DAVE, has * USD)
        kind.add_margin(DAVE, 1, has * USD)
    kind.mark(BTC, 660_000)
    refused = kind.remove_margin(DAVE, 1, most * USD + 1)
    assert (refused.code, refused.available) == (Code.EXCEEDS_REMOVABLE, most * USD)
    if most:
        assert kind.remove_margin(DAVE, 1, most * USD).code == 0


def test_usd_that_usdc_does_not_carry_stays(kind: World) -> None:
    """I9: 120 of the 370 USDC are left: they give 108 of MM = 165 + 6; 63 USD of 300 stay."""
    block_of(kind, DAVE, 100)
    kind.deposit(DAVE, 300 * USD)
    kind.add_margin(DAVE, 1, 300 * USD)
    kind.mark(BTC, 660_000)
    assert margin(kind, Kind.REMOVE_MARGIN, 250 * USD).code == 0
    refused = kind.remove_margin(DAVE, 1, 237 * USD + 1)
    assert (refused.code, refused.available) == (Code.EXCEEDS_REMOVABLE, 237 * USD)


def test_a_pending_block_gives_everything_back(kind: World) -> None:
    """I9: without a position all of each currency is removable."""
    kind.buy(DAVE, 10, 59_000, **isolated(20))
    margin(kind, Kind.ADD_MARGIN, 7 * USD)
    refused = margin(kind, Kind.REMOVE_MARGIN, 7 * USD + 1)
    assert (refused.code, refused.available) == (Code.EXCEEDS_REMOVABLE, 7 * USD)
    assert margin(kind, Kind.REMOVE_MARGIN, 7 * USD).code == 0


# ---- I7: leverage down


def test_a_lower_leverage_asks_for_what_is_missing_in_usd(kind: World) -> None:
    """I7: IM 600 + 37 less MB 337 is 300 USD: 320, or 333.33333334 USDC from main; a bid of 10
    lots at 59,000 holds 37.33333334 USDC (33.60) and needs 63.60 at 10x: 30 more."""
    block_of(kind, DAVE, 100)
    bid = kind.buy(DAVE, 10, 59_000, **isolated(20, 1)).order_id
    refused = kind.leverage(DAVE, 10, isolation_id=1)
    assert (refused.code, refused.needed) == (Code.EXCEEDS_INITIAL_MARGIN, 330 * USD)
    assert kind.leverage(DAVE, 10, isolation_id=1, top_up=True).code == 0
    assert money(kind) == (0, 370 * USD + 333_33333334)
    assert held(kind, bid) == (0, 37_33333334 + 33_33333334)


# ---- Q3, Q4: the end of a block


def test_a_liquidation_returns_the_usdc_of_its_orders(kind: World) -> None:
    """Q3: a bid's 37.33333334 USDC go back to main before; the block's own are converted."""
    block_of(kind, DAVE, 100)
    order = kind.buy(DAVE, 10, 59_000, **isolated(20, 1)).order_id
    before = usdc(kind)
    answer = kind.mark(BTC, 560_000)
    assert (order, Done.LIQUIDATION) in answer.done()
    assert usdc(kind) == before + 37_33333334
    # 333 USD were in it at 56,000, where the position has lost 400.
    assert kind.account(DAVE)["deficit_units"] == 67 * USD


@pytest.mark.parametrize(("index", "is_alive"), [(322_764, True), (322_763, False)])
def test_a_loss_as_maker_is_covered_before_the_block_is_tested_again(
    kind: World, index: int, is_alive: bool
) -> None:
    """Q8, A4: the index breaks BOB's short and DAVE's long. BOB is bought back first, 90 lots of it
    from DAVE at 59,000: 91.062 USD lost, which his USDC covers at 0.90 of the index. With 10 lots
    left, 0.95 (370 i - 91.062 / 0.9) + 1 < 18.3305 closes him too; at its value, not covered yet,
    his USDC would carry them down to an index of 0.308."""
    kind.withdraw(BOB, 10_000 * USD)
    kind.deposit(BOB, 10_000 * USD, USDC)
    block_of(kind, DAVE, 100)
    kind.trade_short(BOB, MAKER, 100, 60_000, **isolated(20))
    kind.mark(BTC, 601_000)
    assert kind.close(DAVE, 90, 59_000, isolation_id=1).code == 0
    answer = kind.index(index)
    assert answer.fills(DAVE) == [(90, 59_000)]
    assert [e.isolation_id for e in answer.of(Ev.LIQUIDATED)] == ([2] if is_alive else [2, 1])
    if is_alive:
        assert money(kind)[0] == 0


def test_a_forfeit_order_s_usdc_goes_to_the_fund_as_usd(make_venue: Make) -> None:
    """Q3, policy forfeit: 37.33333334 USDC give 33.60; the deficit is 33.40."""
    venue = make_venue(block_collateral=Policy.IN_KIND,
                       order_margin_in_liquidation=Policy.ORDER_MARGIN_FORFEIT)
    block_of(venue, DAVE, 100)
    venue.buy(DAVE, 10, 59_000, **isolated(20, 1))
    before = usdc(venue)
    answer = venue.mark(BTC, 560_000)
    assert moves(answer, Reason.AUTO_CONVERSION)[4:] == [
        (Ledger.BLOCK_ORDER_USDC, -37_33333334), (Ledger.CONVERSION_USDC, 37_33333334),
        (Ledger.CONVERSION_USD, -dollars("33.6")), (Ledger.BLOCK_ORDER, dollars("33.6"))]
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars("33.6")
    assert venue.account(DAVE)["deficit_units"] == dollars("33.4")
    assert usdc(venue) == before


def test_a_main_account_s_liquidation_gets_a_pending_block_s_usdc_back(kind: World) -> None:
    """Q3: 9,000 of 10,000 USDC wait in a bid; they return before the second test, and save him."""
    assert kind.trade(DAVE, MAKER, 100, 60_000).code == 0
    most = kind.preview(Kind.NEW_ORDER, account=DAVE, contract=BTC, side=1, order_type=1,
                        price_ticks=59_000, qty_lots=10, time_in_force=1,
                        **isolated(20, margin=10**14)).available
    order = kind.buy(DAVE, 10, 59_000, **isolated(20, margin=most)).order_id
    answer = kind.mark(BTC, 570_000)
    assert (order, Done.LIQUIDATION) in answer.done()
    assert [e.isolation_id for e in answer.of(Ev.BLOCK_CLOSED)] == [1]
    assert answer.of(Ev.LIQUIDATED) == []
    assert kind.qty(DAVE) == 100


def test_a_deleveraged_block_goes_home_with_both_currencies(make_venue: Make) -> None:
    """Q4, I11: DAVE is short with 372 USDC; at ALICE's bankruptcy price of 56,670 he gains 333."""
    venue = make_venue(block_collateral=Policy.IN_KIND, backstop=Policy.BACKSTOP_ADL)
    assert venue.sell(DAVE, 100, 60_000, **isolated(20)).code == 0
    assert venue.buy(ALICE, 100, 60_000, **isolated(20)).code == 0
    short = venue.dump()["blocks"][0]
    assert (short["cash_units"], short["usdc_units"]) == (0, 372 * USD)
    answer = venue.mark(BTC, 584_000)
    assert len(answer.of(Ev.DELEVERAGED)) == 2
    assert venue.dump()["blocks"] == []
    assert venue.cash(DAVE) == 333 * USD
    assert usdc(venue) == 10_000 * USD - 1_33333334


# ---- C5, S4: the profit lock and shared losses


def test_locked_profit_moves_with_usd_and_not_with_usdc(kind: World) -> None:
    """C5: 193.95 USD, of them 93.95 locked, and 117.83333334 USDC make 300; all come back."""
    kind.trade(ALICE, MAKER, 100, 60_000)
    kind.mark(BTC, 610_000)
    kind.buy(MAKER, 100, 61_000)
    kind.close(ALICE)
    assert kind.withdraw(ALICE, 9_900 * USD).code == 0
    kind.deposit(ALICE, 1_000 * USD, USDC)
    order = kind.buy(ALICE, 10, 60_000, **isolated(20, margin=300 * USD)).order_id
    assert held(kind, order) == (dollars("193.95"), 117_83333334)
    block = kind.block(1)
    assert block is not None
    assert block["session_pnl_units"] == dollars("93.95")
    kind.cancel(ALICE, order)
    assert kind.account(ALICE)["session_pnl_units"] == dollars("93.95")


def test_a_share_of_a_loss_is_paid_from_usdc_before_the_orders_end(side: str) -> None:
    """S4: the block's 100 units of profit pay first, then 6 USDC give the 5 that are missing; the
    order that holds the other 20 units of profit rests on.

    10 lots at 10x and 2 in main, both up by 10; main's 20 units went into the order of 22.
    """
    world = tiny_world(side, 0, 15, [0], block_collateral=Policy.IN_KIND)
    world.index(1_000_000)
    world.deposit(FIRST, 1_000, USDC)
    assert world.trade(FIRST, LOSER, 10, 100, TINY, **isolated(10)).code == 0
    assert world.trade(FIRST, LOSER, 2, 100, TINY).code == 0
    world.mark(TINY, 110)
    world.trade(HELPER, FIRST, 2, 110, TINY)
    order = world.buy(FIRST, 2, 60, TINY, **isolated(10, 1)).order_id
    assert held(world, order) == (20, 3)
    before = money(world)
    assert before == (0, 112)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 105
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.SOCIALIZED_LOSS, FIRST) == -105
    assert (answer.done(), money(world)) == ([], (0, 106))


def test_a_block_is_the_same_whatever_the_policy_when_it_has_no_usdc(make_venue: Make) -> None:
    """A4: USD alone: the same events to the last unit."""
    told = []
    for policy in (0, 1):
        venue = make_venue(block_collateral=policy)
        block_of(venue, ALICE, 100)
        venue.buy(ALICE, 10, 59_000, **isolated(20, 1))
        venue.funding(BTC, 100_000, Scope.FUNDING_NOW)
        venue.mark(BTC, 600_500)
        venue.settle()
        venue.mark(BTC, 560_000)
        told.append([list(answer) for answer in venue.told])
    assert told[0] == told[1]
    assert any(e.kind == Ev.LIQUIDATED for answer in told[0] for e in answer)


PREVIEWS = [
    ("an order for a new block", {"kind": Kind.NEW_ORDER, "contract": BTC, "side": 2,
                                  "order_type": 1, "price_ticks": 61_000, "qty_lots": 10,
                                  **isolated(0, 1)}),
    ("margin in", {"kind": Kind.ADD_MARGIN, "isolation_id": 1, "amount_units": 9 * USD,
                   "currency": USDC}),
    ("margin out", {"kind": Kind.REMOVE_MARGIN, "isolation_id": 1, "amount_units": 9 * USD,
                    "currency": USDC}),
    ("leverage down", {"kind": Kind.SET_LEVERAGE, "contract": BTC, "isolation_id": 1,
                       "leverage": 10, "exec_flags": Exec.AUTO_TOP_UP}),
    ("a full close", {"kind": Kind.CLOSE_POSITION, "contract": BTC, "order_type": 2,
                      "isolation_id": 1}),
    ("an index that breaks it", {"kind": Kind.INDEX, "mark_ticks": 400_000, "currency": USDC}),
    ("a settlement", {"kind": Kind.SETTLE_SESSION}),
]


@pytest.mark.parametrize("case", PREVIEWS, ids=lambda case: case[0])
def test_a_preview_says_what_happens_to_both_currencies(kind: World, case: Any) -> None:
    """X1: the whole state is compared after it."""
    _, fields = case
    block_of(kind, DAVE, 100)
    margin(kind, Kind.ADD_MARGIN, 20 * USD)
    kind.buy(MAKER, 100, 59_400)
    kind.mark(BTC, 606_000)
    owner = {} if fields["kind"] in (Kind.INDEX, Kind.SETTLE_SESSION) else {"account": DAVE}
    foreseen = kind.preview(**fields, **owner)
    assert foreseen.code == 0
    assert kind.do(**fields, **owner) == foreseen
