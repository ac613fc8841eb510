"""Where a rule turns on equality: the unit that changes the answer, and the one that does not.

The block of the tables is 0.1 BTC for 6,000 USD at 20x with 333 USD of position_cash (see
test_isolated): maintenance 2.5 % and fee reserve 0.55 % of the notional.
"""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from reference.codes import Code, Currency, Ev, Kind
from world import (
    ALICE,
    BOB,
    BTC,
    CAROL,
    DAVE,
    ETH,
    FULL_PROFILE,
    FUND,
    MAKER,
    SOL,
    SOL_PERP_10X,
    USD,
    World,
    isolated,
)


def liquidated(venue: World, contract: int, mark: int) -> list[tuple[int, int]]:
    return [(e.account, e.isolation_id) for e in venue.mark(contract, mark).of(Ev.LIQUIDATED)]


#: At 58,452.8 equity is 333 - 154.72 = 178.28 USD, maintenance and fees 3.05 % of 5,845.28 =
#: 178.28104: 104,000 units are missing.
@pytest.mark.rule("Q1", "Q2", "I8")
@pytest.mark.parametrize(("added", "ends"), [(104_000, []), (103_999, [(ALICE, 1)])])
def test_a_block_lives_at_exactly_its_maintenance_and_not_one_unit_below(
    venue: World, added: int, ends: list[tuple[int, int]]
) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.add_margin(ALICE, 1, added)
    assert liquidated(venue, BTC, 584_528) == ends


#: CAROL's 100 BTC lots and 100 ETH lots; at 52,000 and 3,000 USD: BTC 5,200 x 3.05 % = 158.60,
#: ETH 3,000 x (1 % + 0.55 %) = 46.50. Cash 1,000 - 3 - 1.50 = 995.50, uPnL -800: 195.50 against
#: 205.10: 9.60 USD are missing.
@pytest.mark.rule("Q1", "Q2")
@pytest.mark.parametrize(("added", "ends"), [
    (960_000_000, []), (960_000_000 - 1, [(CAROL, 0)])])
def test_a_main_account_with_two_legs_lives_at_exactly_its_maintenance(
    venue: World, added: int, ends: list[tuple[int, int]]
) -> None:
    venue.trade(CAROL, MAKER, 100, 60_000)
    venue.trade(CAROL, MAKER, 100, 30_000, ETH)
    venue.deposit(CAROL, added)
    assert liquidated(venue, BTC, 520_000) == ends


#: SOL has no fees, IM 10 %, MM 5 %. CAROL: 300 lots for 3,000 USD with 303 USD. At 93: equity 93;
#: MM of 2,790 is 139.50. Two slices sold at 93 leave 100 lots with an IM of exactly 93.
@pytest.mark.rule("Q3")
@pytest.mark.parametrize(("extra", "fills"), [(0, 3), (1, 2)])
def test_a_main_account_is_sold_until_it_is_above_and_not_just_at_its_initial_margin(
    venue: World, extra: int, fills: int
) -> None:
    venue.trade(CAROL, MAKER, 300, 10_000, SOL)
    venue.withdraw(CAROL, 697 * USD - extra)
    venue.buy(MAKER, 300, 9_300, SOL)
    assert venue.mark(SOL, 9_300).fills(CAROL) == [(100, 9_300)] * fills


#: MB - IM of CAROL's 0.2 BTC (cash 994) at 58,263.6 is 994 - 347.28 - 5.55 % of 11,652.72 =
#: -0.00596 USD: 596,000 units are missing.
@pytest.mark.rule("C4")
@pytest.mark.parametrize(("added", "calls"), [(596_000, 0), (595_999, 1)])
def test_a_margin_call_comes_below_and_not_at_the_initial_margin(
    venue: World, added: int, calls: int
) -> None:
    venue.trade(CAROL, MAKER, 200, 60_000)
    venue.buy(CAROL, 10, 55_000)
    venue.deposit(CAROL, added)
    assert len(venue.mark(BTC, 582_636).of(Ev.MARGIN_CALL)) == calls


#: ALICE's 0.1 BTC block, 333 USD, at a mark of 59,000: a sale of 100 lots at 56,698 costs 330.20
#: and a fee of 2.8349: 0.0349 USD are missing.
@pytest.mark.rule("O7")
@pytest.mark.parametrize(("added", "fills"), [(3_490_000, 1), (3_489_999, 0)])
def test_a_closing_fill_may_leave_exactly_nothing(venue: World, added: int, fills: int) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    venue.add_margin(ALICE, 1, added)
    venue.mark(BTC, 590_000)
    venue.buy(MAKER, 100, 56_698)
    assert venue.close(ALICE, isolation_id=1).fills(ALICE) == [(100, 56_698)] * fills


#: BOB has USDC alone: 1,000 less 3.33333334 for the fee of 3 USD give 896.99999999 USD at 0.9. A
#: sale of 0.1 BTC at 51,056 costs 894.40 + 2.5528, at 51,055 894.50 + 2.55275.
@pytest.mark.rule("O7", "A4")
@pytest.mark.parametrize(("bid", "code"), [(51_056, 0), (51_055, Code.BEYOND_BANKRUPTCY)])
def test_a_closing_fill_counts_usdc_at_what_it_gives(venue: World, bid: int, code: int) -> None:
    venue.withdraw(BOB, 10_000 * USD)
    venue.deposit(BOB, 1_000 * USD, Currency.USDC)
    venue.trade(BOB, MAKER, 100, 60_000)
    venue.mark(BTC, 528_000)
    venue.buy(MAKER, 100, bid)
    assert venue.close(BOB).code == code
    # 896.9528 / 0.9 are used up.
    left = 0 if code == 0 else 100
    assert (venue.qty(BOB), venue.cash(BOB), venue.fund) == (left, 0, FUND)


#: CAROL: 0.1 BTC cross, a short of 0.01 BTC in a block. Main's cash 1,000 - 3 - 33.60 = 963.40:
#: (6,000 - 963.40) / 0.9695 = 51,950.49 USD, though the block has gained 80 USD by then.
@pytest.mark.rule("Q7", "I4")
@pytest.mark.parametrize(("mark", "ends"), [(519_505, []), (519_504, [(CAROL, 0)])])
def test_a_blocks_profit_does_not_hold_up_its_owners_main_account(
    venue: World, mark: int, ends: list[tuple[int, int]]
) -> None:
    venue.trade_short(CAROL, MAKER, 10, 60_000, **isolated(20))
    venue.trade(CAROL, MAKER, 100, 60_000)
    assert liquidated(venue, BTC, mark) == ends
    block = venue.block(1)
    assert block is not None
    assert block["qty_lots"] == -10


@pytest.mark.rule("Q7")
def test_a_blocks_liquidation_ends_no_order_of_another_unit(venue: World) -> None:
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    cross = venue.buy(ALICE, 10, 50_000).order_id
    other = venue.buy(ALICE, 10, 29_000, ETH, **isolated(10)).order_id
    own = venue.buy(ALICE, 10, 55_000, **isolated(20, 1)).order_id
    answer = venue.mark(BTC, 584_000)
    assert [order_id for order_id, _ in answer.done()] == [own]
    assert venue.live(cross) is not None
    assert venue.live(other) is not None


#: DAVE: 100 BTC lots, 10,000 USDC less 3 / 0.9 for the fee. A deposit's last unit decides.
@pytest.mark.rule("C5", "A4")
def test_the_last_unit_of_usdc_stays_when_it_is_margin(venue: World) -> None:
    venue.trade(DAVE, MAKER, 100, 60_000)
    # Own 9,996.66666666; IM 300 and FR 33: what stays, less its tenth, is at least 333 USD.
    own = 10_000 * USD - 333_333_334
    assert venue.account(DAVE)["usdc_units"] == own
    most = own - 37_000_000_000
    refused = venue.withdraw(DAVE, most + 1, Currency.USDC)
    assert (refused.needed, refused.available) == (most + 1, most)
    assert venue.withdraw(DAVE, most, Currency.USDC).code == 0


# ---- Q2: marks that are worth one unit a lot, where a part of a unit decides

def fine_contracts(venue: World) -> list[int]:
    """Two contracts without fees and with v = 1, marked at 10,000 ticks."""
    fine = replace(SOL_PERP_10X, lot_size_e9=10**3, min_order_lots=1, access_group=0,
                   stale_after_ns=0)
    pair = [venue.add_contract(replace(fine, symbol=symbol)) for symbol in ("X", "Y")]
    for contract in pair:
        venue.mark(contract, 10_000)
    return pair


#: Two shorts of one lot at 10,000 ticks, cash 3,000 units, maintenance 5 %. They stand while
#: 3,000 - a - b >= 5 % of (20,000 + a + b), a and b being what the marks have risen: to 1,904.
FINE_STEPS = [
    ("both alike", (952, 952), (0, 953)),
    ("one far, then the other", (1_000, 904), (1, 905)),
    ("the other far, then the one", (904, 1_000), (0, 905)),
    ("one alone", (1_904, 0), (0, 1_905)),
]


@pytest.mark.parametrize("case", FINE_STEPS, ids=lambda case: case[0])
def test_a_short_loses_its_margin_rate_too_with_every_tick(
    venue: World, case: tuple[str, tuple[int, int], tuple[int, int]]
) -> None:
    """Q1, Q2: a tick costs 1.05 units, not 1: who counts on 1 looks too late at one of them."""
    pair = fine_contracts(venue)
    venue.open_account(5)
    venue.deposit(5, 3_000)
    for contract in pair:
        assert venue.trade_short(5, MAKER, 1, 10_000, contract).code == 0
    _, rises, (last, rise) = case
    for contract, ticks in zip(pair, rises, strict=True):
        assert venue.mark(contract, 10_000 + ticks).of(Ev.LIQUIDATED) == []
        assert venue.side.faults() == []
    answer = venue.mark(pair[last], 10_000 + rise)
    assert [e.account for e in answer.of(Ev.LIQUIDATED)] == [5]


#: Longs of one lot at 10,000 and at 100 ticks, cash 1,510 units; the large one's mark falls by a.
#: They stand while 1,510 - a >= 5 % of (10,100 - a): to 1,057, where 453 stand against 452.15.
@pytest.mark.parametrize("before", [0, 1_000, 1_056, 1_057])
def test_what_is_left_of_a_unit_is_no_unit(venue: World, before: int) -> None:
    """Q1, Q2: with less than a unit to spare the next tick is the last one."""
    large, small = fine_contracts(venue)
    venue.mark(small, 100)
    venue.open_account(5)
    venue.deposit(5, 1_510)
    assert venue.trade(5, MAKER, 1, 10_000, large).code == 0
    assert venue.trade(5, MAKER, 1, 100, small).code == 0
    for fall in (before, 1_057):
        assert venue.mark(large, 10_000 - fall).of(Ev.LIQUIDATED) == []
        assert venue.side.faults() == []
    assert [e.account for e in venue.mark(large, 8_942).of(Ev.LIQUIDATED)] == [5]


def test_blocks_may_stand_where_a_mark_has_ended_a_row_of_others(venue: World) -> None:
    """Q2, Q8: eight blocks under one tick end by one mark. Of eight new ones every second is at
    10x, far below: the next mark that comes to the tick ends the others and leaves them alone."""
    accounts = range(5, 13)
    for account in accounts:
        venue.open_account(account)
        venue.deposit(account, 20 * USD)
    for ends, leverage in ((accounts, 20), (accounts[::2], 10)):
        venue.mark(BTC, 600_000)
        for account in accounts:
            at = 20 if account in ends else leverage
            assert venue.trade(account, MAKER, 1, 60_000, **isolated(at)).code == 0
        assert venue.side.faults() == []
        assert venue.mark(BTC, 584_529).of(Ev.LIQUIDATED) == []
        answer = venue.mark(BTC, 584_528)
        assert [e.account for e in answer.of(Ev.LIQUIDATED)] == [*ends]
        assert venue.side.faults() == []
    for number, account in enumerate(accounts[1::2]):
        venue.buy(MAKER, 1, 58_000)
        assert venue.close(account, isolation_id=10 + 2 * number).code == 0
        assert venue.side.faults() == []
    assert venue.mark(BTC, 400_000).of(Ev.LIQUIDATED) == []


@pytest.mark.parametrize("seed", range(3))
def test_of_many_blocks_under_one_tick_each_leaves_alone(venue: World, seed: int) -> None:
    """Q2, X1: thirty accounts open and close at random, at 20x or at 10x, so that two ticks fill
    and empty in any order; a preview of each close leaves no trace. At the end a mark ends all that
    stand at 20x, and nobody else."""
    rng = random.Random(seed)
    accounts = range(5, 35)
    at: dict[int, int] = {}
    ids: dict[int, int] = {}
    for account in accounts:
        venue.open_account(account)
        venue.deposit(account, 100 * USD)
    for _ in range(150):
        account = rng.choice(accounts)
        if account in at:
            venue.buy(MAKER, 1, 60_000)
            venue.preview(Kind.CLOSE_POSITION, account=account, contract=BTC,
                          isolation_id=ids[account])
            assert venue.side.faults() == []
            assert venue.close(account, isolation_id=ids[account]).code == 0
            del at[account]
        else:
            leverage = rng.choice((20, 20, 10))
            answer = venue.trade(account, MAKER, 1, 60_000, **isolated(leverage))
            assert answer.code == 0
            at[account] = leverage
            ids[account] = answer.of(Ev.BLOCK_OPEN)[0].isolation_id
        assert venue.side.faults() == []
    assert venue.mark(BTC, 584_529).of(Ev.LIQUIDATED) == []
    answer = venue.mark(BTC, 584_528)
    assert sorted(e.account for e in answer.of(Ev.LIQUIDATED)) == sorted(
        account for account, leverage in at.items() if leverage == 20)
    assert venue.side.faults() == []


def test_one_funding_files_more_legs_than_any_group_of_them(venue: World) -> None:
    """F1, Q2: fifty-five accounts with two positions each pay at once, and both legs of each are
    filed anew; a mark that breaks them finds all of them."""
    accounts = range(5, 60)
    for account in accounts:
        venue.open_account(account)
        venue.deposit(account, 20 * USD)
        assert venue.trade(account, MAKER, 1, 60_000, BTC).code == 0
        assert venue.trade(account, MAKER, 1, 30_000, ETH).code == 0
    answer = venue.funding(BTC, 5_000_000)
    assert {e.amount_units for e in answer if e.account in accounts} == {-30_000_000}
    assert venue.side.faults() == []
    assert venue.mark(ETH, 20_000).of(Ev.LIQUIDATED) == []
    assert venue.side.faults() == []
    ended = venue.mark(BTC, 500_000).of(Ev.LIQUIDATED)
    assert sorted(e.account for e in ended) == list(accounts)
    assert venue.side.faults() == []


def test_one_funding_files_more_blocks_than_a_group_of_them(venue: World) -> None:
    """F1, Q2: fifty blocks pay 0.5 % at once, and each is filed nearer. In ticks a lot: 33,300 less
    3,000 stand beside 0.9695 x mark - 600,000: from 587,623, where they stood from 584,529."""
    accounts = range(5, 55)
    for account in accounts:
        venue.open_account(account)
        venue.deposit(account, 20 * USD)
        assert venue.trade(account, MAKER, 1, 60_000, **isolated(20)).code == 0
    venue.funding(BTC, 5_000_000)
    assert venue.mark(BTC, 587_623).of(Ev.LIQUIDATED) == []
    ended = venue.mark(BTC, 587_622).of(Ev.LIQUIDATED)
    assert sorted(e.account for e in ended) == list(accounts)


#: CAROL's bid of 290 lots at 60,000 rests while the mark falls. Filled, 1,000 USD less the maker's
#: fee of 3.48 stand beside 0.29 x mark - 17,400; 3.05 % of 0.29 x mark must be left: from 58,343.2.
@pytest.mark.rule("O7")
@pytest.mark.parametrize(("mark", "lots"), [(583_440, 290), (583_430, 0)])
def test_the_fee_of_an_opening_fill_counts_in_what_must_be_left(
    venue: World, mark: int, lots: int
) -> None:
    order = venue.buy(CAROL, 290, 60_000).order_id
    venue.mark(BTC, mark)
    venue.sell(MAKER, 290, 60_000)
    assert venue.qty(CAROL) == lots
    assert venue.live(order) is None


@pytest.mark.rule("C6", "A3")
def test_who_may_not_isolate_may_raise_main_leverage(venue: World) -> None:
    """Main's leverage is no matter of blocks: 615 belongs to those alone."""
    venue.eligibility(ALICE, FULL_PROFILE & ~8)
    assert venue.leverage(ALICE, 10).code == 0
    assert venue.leverage(ALICE, 20).code == 0
    refused = venue.trade(ALICE, MAKER, 1, 60_000, **isolated(20))
    assert refused.code == Code.NO_ISOLATED_ACCESS


def test_a_top_up_takes_main_to_its_last_unit(venue: World) -> None:
    """I7: what lower leverage asks for may be all that main has, and not one unit more."""
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    need = venue.leverage(ALICE, 10, isolation_id=1).needed
    assert venue.withdraw(ALICE, venue.cash(ALICE) - need + 1).code == 0
    refused = venue.leverage(ALICE, 10, isolation_id=1, top_up=True)
    assert (refused.code, refused.needed) == (Code.INSUFFICIENT_BALANCE, need)
    assert refused.available == need - 1
    venue.deposit(ALICE, 1)
    assert venue.leverage(ALICE, 10, isolation_id=1, top_up=True).code == 0
    assert venue.cash(ALICE) == 0
