"""The policies of the rules: one scenario, and what each choice makes of it.

The block of most tables is that of `test_liquidation`: a long of 100 lots (0.1 BTC) from 60,000 at
20x with 333 USD, liquidated at 58,452.8 and below, bankrupt at 56,670. The sessions are those of
`test_session`: on TINY one lot gains one money unit a tick.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from reference.codes import Code, Currency, Ev, Exec, Ledger, Policy, Reason
from test_liquidation import LONG_LIMIT, block_of, dollars, inventory
from test_session import FIRST, HELPER, LOSER, PENNY, PENNY_TERMS, RICH, TINY, TINY_TERMS, shares
from world import ALICE, BTC, DAVE, MAKER, SOL, TERMS, USD, World, isolated

Make = Callable[..., World]


# ---- A4: haircut_in


@pytest.mark.parametrize(("policy", "alive"), [(0, 527), (Policy.HAIRCUT_IN_VALUE, 1_053)],
                         ids=["margin", "value"])
def test_the_haircut_is_in_the_margin_or_in_the_value(
    make_venue: Make, policy: int, alive: int
) -> None:
    """A4: DAVE's 10,000 USDC carry 100 SOL from 100 USD (no fees; maintenance 5 %).

    In the margin half of the haircut counts: 100 p < 5 p + 500; in the value all of it:
    100 p - 1,000 < 5 p. Both leave him 9,000 USD for an initial margin.
    """
    venue = make_venue(haircut_in=policy)
    refused = venue.do(9, account=DAVE, currency=Currency.USD, amount_units=1)
    assert refused.code == Code.EXCEEDS_WITHDRAWABLE
    assert venue.do(9, account=DAVE, currency=Currency.USDC, amount_units=10**15).available == (
        10_000 * USD)
    assert venue.trade(DAVE, MAKER, 1_000, 10_000, SOL).code == 0
    assert venue.mark(SOL, alive).of(Ev.LIQUIDATED) == []
    assert len(venue.mark(SOL, alive - 1).of(Ev.LIQUIDATED)) == 1


# ---- I9, I10, I12: blocks


@pytest.mark.parametrize(("policy", "available"), [(0, 0), (Policy.REMOVAL_FREE, 100 * USD)],
                         ids=["in_profit", "free"])
def test_removing_margin_needs_profit_or_not(
    make_venue: Make, policy: int, available: int
) -> None:
    """I9: 100 USD were added and the mark stands still: MB - IM = 400 - 300."""
    venue = make_venue(removal=policy)
    block_of(venue, ALICE, 100)
    assert venue.add_margin(ALICE, 1, 100 * USD).code == 0
    refused = venue.remove_margin(ALICE, 1, available + 1)
    assert (refused.code, refused.available) == (Code.EXCEEDS_REMOVABLE, available)
    if available:
        assert venue.remove_margin(ALICE, 1, available).code == 0


@pytest.mark.parametrize("closes_as", ["taker", "maker"])
@pytest.mark.parametrize(("policy", "left"), [(0, "431.5"),
                                              (Policy.PARTIAL_CLOSE_PROPORTIONAL, "215")],
                         ids=["keep", "proportional"])
def test_a_partial_close_keeps_or_releases_its_share(
    make_venue: Make, closes_as: str, policy: int, left: str
) -> None:
    """I10: half of 433 USD is 216.50; the fee is 1.50 as a taker and 0.60 as a maker."""
    venue = make_venue(partial_close=policy)
    block_of(venue, ALICE, 100)
    venue.add_margin(ALICE, 1, 100 * USD)
    reduce = {"exec_flags": Exec.ISOLATED_MARGIN | Exec.REDUCE_ONLY, "isolation_id": 1}
    if closes_as == "taker":
        venue.buy(MAKER, 50, 60_000)
        venue.sell(ALICE, 50, 60_000, **reduce)
    else:
        venue.sell(ALICE, 50, 60_000, **reduce)
        venue.buy(MAKER, 50, 60_000)
    block = venue.block(1)
    assert block is not None
    assert block["qty_lots"] == 50
    saved = 0 if closes_as == "taker" else dollars("0.9")
    assert block["cash_units"] == dollars(left) + saved


@pytest.mark.parametrize(("policy", "code", "after"), [
    (0, 0, -50), (Policy.FLIP_CLIP, 0, None), (Policy.FLIP_REJECT, Code.MARGIN_WITHOUT_RISK, 100),
], ids=["allow", "clip", "reject"])
def test_an_order_beyond_the_position_turns_it_is_cut_or_refused(
    make_venue: Make, policy: int, code: int, after: int | None
) -> None:
    """I12: 150 lots are sold out of a block that is long 100."""
    venue = make_venue(isolated_flip=policy)
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 200, 60_000)
    answer = venue.sell(ALICE, 150, 60_000, **isolated(20, 1))
    assert answer.code == code
    block = venue.block(1)
    assert (block["qty_lots"] if block else None) == after
    if policy == Policy.FLIP_CLIP:
        assert answer.of(Ev.ACCEPTED)[0].qty_lots == 100
        assert answer.fills(ALICE) == [(100, 60_000)]


def test_a_clipped_order_without_a_lot_to_close_is_refused(make_venue: Make) -> None:
    """I12, C3: a resting order closes the whole position already."""
    venue = make_venue(isolated_flip=Policy.FLIP_CLIP)
    block_of(venue, ALICE, 100)
    assert venue.sell(ALICE, 100, 61_000, **isolated(20, 1)).code == 0
    assert venue.sell(ALICE, 1, 61_000, **isolated(20, 1)).code == Code.REDUCE_ONLY_REJECTED
    # An order on the position's own side is not a flip.
    assert venue.buy(ALICE, 10, 59_000, **isolated(20, 1)).code == 0


# ---- Q3, Q6: liquidation


@pytest.mark.parametrize(("policy", "fills", "fund"), [
    (0, [], "0"), (Policy.LIMIT_BAND, [(100, 55_000)], "-167")], ids=["bankruptcy", "band"])
def test_a_liquidation_sells_down_to_bankruptcy_or_to_the_band(
    make_venue: Make, policy: int, fills: list[tuple[int, int]], fund: str
) -> None:
    """Q3: a bid of 55,000 below the bankruptcy price of 56,670: the fund pays the 167 at once."""
    venue = make_venue(liquidation_limit=policy)
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 55_000)
    answer = venue.mark(BTC, 560_000)
    assert answer.fills(ALICE) == fills
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars(fund)


@pytest.mark.parametrize(("policy", "cash", "gained", "deficit"), [
    (0, "9664", "0", "67"), (Policy.ORDER_MARGIN_FORFEIT, "9630.4", "33.6", "33.4")],
    ids=["return", "forfeit"])
def test_the_money_of_a_liquidated_block_s_orders_returns_or_is_forfeit(
    make_venue: Make, policy: int, cash: str, gained: str, deficit: str
) -> None:
    """Q3: a bid holds 33.60; at 56,000 the equity is 333 - 400."""
    venue = make_venue(order_margin_in_liquidation=policy)
    block_of(venue, ALICE, 100)
    venue.buy(ALICE, 10, 55_000, **isolated(0, 1))
    answer = venue.mark(BTC, 560_000)
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars(gained)
    assert answer.paid(Ledger.BLOCK_ORDER, Reason.INSURANCE_FUND) == -dollars(gained)
    assert venue.cash(ALICE) == dollars(cash)
    assert venue.account(ALICE)["deficit_units"] == dollars(deficit)


SURPLUS = [
    ("filled, to the fund", 0, 58_450, LONG_LIMIT, "0", "145.8525", None),
    ("filled, to the trader", 1, 58_450, LONG_LIMIT, "145.8525", "0", None),
    ("taken over, to the fund", 0, 0, LONG_LIMIT, "0", "0", "5667"),
    ("taken over at the mark", 1, 0, LONG_LIMIT, "149.0536", "0", "5845.28"),
    ("below 0 as ever", 1, 0, 560_000, "0", "0", "5667"),
]


@pytest.mark.parametrize("case", SURPLUS, ids=lambda case: case[0])
def test_what_is_left_of_a_block_goes_to_the_fund_or_to_its_owner(
    make_venue: Make, case: Any
) -> None:
    """Q6: at 58,450 she sells with 178 left, less fees of 2.9225 and 29.225; at the mark of
    58,452.80 the inventory takes with 178.28 left, less 29.2264."""
    _, policy, bid, mark, to_owner, to_fund, cost = case
    venue = make_venue(surplus_to=policy)
    block_of(venue, ALICE, 100)
    if bid:
        venue.buy(MAKER, 100, bid)
    answer = venue.mark(BTC, mark)
    assert venue.cash(ALICE) == 9_664 * USD + dollars(to_owner)
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == dollars(to_fund)
    assert inventory(venue) == ((100, dollars(cost)) if cost else (0, 0))
    # The block's loss goes to main's session PnL as at a full close (I11), or ends with the block.
    lost = dollars(to_owner) - 336 * USD
    assert venue.account(ALICE)["session_pnl_units"] == (lost if policy else 0)


@pytest.mark.parametrize(("policy", "debt", "cash", "paid"), [
    (0, 67, "9764", 0), (Policy.DEFICIT_RECEIVABLE, 0, "9697", 67)],
    ids=["forgive", "receivable"])
def test_a_deficit_is_forgiven_or_due_with_the_next_deposits(
    make_venue: Make, policy: int, debt: int, cash: str, paid: int
) -> None:
    """Q6: 67 USD; of two deposits of 50 the second pays only what is still due."""
    venue = make_venue(deficit=policy)
    block_of(venue, ALICE, 100)
    venue.mark(BTC, 560_000)
    assert venue.account(ALICE)["deficit_units"] == 67 * USD
    fund = venue.fund
    for _ in range(2):
        answer = venue.deposit(ALICE, 50 * USD)
        assert answer is not None
        assert answer.code == 0
    assert venue.account(ALICE)["deficit_units"] == debt * USD
    assert venue.cash(ALICE) == dollars(cash)
    assert venue.fund == fund + paid * USD


# ---- S1, S4, S5: sessions in single units


def tiny_world(side: str, fund: int, loser_cash: int, winners: list[int],
               **policies: int) -> World:
    """TINY and PENNY at 100; winners with so many units of cash."""
    world = World(side, replace(TERMS, fund_opening_units=(fund, 0), **policies))
    for terms in (TINY_TERMS, PENNY_TERMS):
        world.mark(world.add_contract(terms), 100)
    for account, cash in enumerate([loser_cash, RICH, *winners]):
        world.open_account(account)
        world.deposit(account, cash)
    return world


def crashed(side: str, lots: list[int], fund: int, loser_cash: int, **policies: int) -> World:
    """Winners long of those lots, the loser short of all of them; ten ticks up."""
    world = tiny_world(side, fund, loser_cash, [10_000] * len(lots), **policies)
    for n, part in enumerate(lots):
        assert world.trade(FIRST + n, LOSER, part, 100, TINY).code == 0
    world.mark(TINY, 110)
    return world


@pytest.mark.parametrize(("policy", "block", "other"), [(0, 2, 3), (Policy.BY_TRADER, 0, 5)],
                         ids=["unit", "trader"])
def test_a_loss_is_shared_by_units_or_by_traders(
    side: str, policy: int, block: int, other: int
) -> None:
    """S4: an owner's block won 10, her main account lost 10: as a trader she won nothing."""
    world = tiny_world(side, 0, 5, [10_000, 10_000], socialize_by=policy)
    world.trade(FIRST, LOSER, 1, 100, TINY, **isolated(10))
    world.trade(FIRST + 1, FIRST, 1, 100, TINY)
    world.mark(TINY, 110)
    answer = world.settle()
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.SOCIALIZED_LOSS, FIRST) == -block
    assert shares(answer, 2) == (0, other)


def test_a_trader_pays_from_main_first_and_from_no_unit_more_than_it_won(side: str) -> None:
    """S4: main won 10, the block 20, the other trader 30. Of 40 each pays 20: main 10, block 10."""
    world = tiny_world(side, 0, 20, [10_000, 10_000], socialize_by=Policy.BY_TRADER)
    world.trade(FIRST, LOSER, 1, 100, TINY)
    world.trade(FIRST, LOSER, 2, 100, TINY, **isolated(10))
    world.trade(FIRST + 1, LOSER, 3, 100, TINY)
    world.mark(TINY, 110)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 40
    assert shares(answer, 2) == (10, 20)
    assert answer.paid(Ledger.BLOCK_POSITION, Reason.SOCIALIZED_LOSS, FIRST) == -10


#: name, policy, the loser's cash (he lost 101, gained are 61 + 40), shares, the fund after it.
PERCENT = [
    ("pro rata", 0, 999, (7, 4), 0),
    ("one per cent is exactly enough", 1, 999, (7, 4), 0),
    ("one per cent is more than enough", 1, 1_000, (7, 4), 1),
    ("one per cent is not enough", 1, 998, (7, 5), 0),
]


@pytest.mark.parametrize("case", PERCENT, ids=lambda case: case[0])
def test_each_winner_pays_one_per_cent_if_that_is_enough(side: str, case: Any) -> None:
    """S4: profits of 610 and 400; a hundredth is 7 (rounded up) and 4. What is too much stays in
    the fund; if 11 do not suffice, 12 are shared pro rata: 7.25 and 4.75."""
    _, policy, loser_cash, expected, fund = case
    world = crashed(side, [61, 40], 0, loser_cash, socialized_loss=policy)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 1_010 - loser_cash
    assert shares(answer, 2) == expected
    assert (world.fund, world.dump()["carried_units"]) == (fund, 0)


@pytest.mark.parametrize(("loser_cash", "expected"), [(1_008, (11, 1)), (1_007, (13, 0))],
                         ids=["exactly enough", "one unit short"])
def test_one_per_cent_that_is_exactly_enough_is_not_shared_pro_rata(
    side: str, loser_cash: int, expected: tuple[int, int]
) -> None:
    """S4: profits of 1,010 and 10; a hundredth, rounded up, is 11 and 1. Pro rata 12 would be 11.88
    and 0.12, and the odd unit the first one's; 13 are 12.87 and 0.13."""
    world = crashed(side, [101, 1], 0, loser_cash, socialized_loss=Policy.ONE_PERCENT)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 1_020 - loser_cash
    assert shares(answer, 2) == expected


def withdrawable(world: World, account: int) -> int:
    answer = world.preview(9, account=account, currency=1, amount_units=10**15)
    assert answer.code == Code.EXCEEDS_WITHDRAWABLE
    return answer.available


@pytest.mark.parametrize(("policy", "fund", "free"), [
    (0, 0, False), (0, 1, True), (1, 0, True), (1, 1, True)])
def test_a_fund_of_nothing_unlocks_where_it_need_not_be_positive(
    side: str, policy: int, fund: int, free: bool
) -> None:
    """S5: nobody lost more than he had; the fund stands at 0 or 1."""
    world = crashed(side, [10], fund, 1_000, unlock_requires=policy)
    answer = world.settle()
    assert bool(answer.of(Ev.PROFIT_UNLOCKED)) == free
    assert world.account(FIRST)["kept_units"] == (0 if free else 100)


def test_profit_may_be_free_only_with_the_next_settlement(side: str) -> None:
    """S5: 100 units won in the first session are kept in it, and freed by the second."""
    world = crashed(side, [10], 1, 1_000, unlock_at=Policy.UNLOCK_AT_NEXT)
    answer = world.settle()
    assert answer.of(Ev.PROFIT_UNLOCKED)[0].amount_units == 0
    assert world.account(FIRST)["kept_units"] == 100
    assert withdrawable(world, FIRST) == 10_000  # all but the profit
    world.mark(TINY, 112)
    answer = world.settle()
    assert answer.of(Ev.PROFIT_UNLOCKED)[0].amount_units == 100
    assert world.account(FIRST)["kept_units"] == 20


#: name, limit, what the fund pays beyond it, the fund after the shares (it had 1,000).
LIMITS = [("no limit", 0, 0, 900), ("paid exactly", 100, 0, 900), ("one more", 99, 1, 901),
          ("most of it", 1, 99, 999)]


@pytest.mark.parametrize("case", LIMITS, ids=lambda case: case[0])
def test_what_the_fund_pays_beyond_its_limit_is_shared(side: str, case: Any) -> None:
    """S1, S4: the loser has 900 of 1,000; the fund pays 100 of its 1,000."""
    _, limit, excess, fund = case
    world = crashed(side, [100], 1_000, 900, cover_limit_units=limit)
    answer = world.settle()
    assert sum(e.amount_units for e in answer.of(Ev.LOSS_UNCOVERED)) == excess
    assert shares(answer, 1) == (excess,)
    assert world.fund == fund
    assert answer.of(Ev.PROFIT_UNLOCKED)
    # The next session begins with nothing paid.
    assert world.settle().of(Ev.LOSS_UNCOVERED) == []


def test_an_excess_that_profits_do_not_pay_is_carried(side: str) -> None:
    """S1, S4: the fund paid 90, 89 too many; the winner's 30 are all there is. 59 wait, and so do
    profits, though the fund is rich. Then the inventory's short loses 50, 49 too many: of 108 the
    session's profits pay 50.
    """
    world = crashed(side, [10], 1_000, 10, cover_limit_units=1)
    world.trade(FIRST, HELPER, 70, 100, PENNY)  # 70 units of fees
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 89
    assert shares(answer, 1) == (30,)
    assert answer.of(Ev.PROFIT_LOCKED)
    state = world.dump()
    assert (state["carried_units"], state["excess_units"], state["paid_units"]) == (59, 59, 0)
    world.mark(TINY, 115)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 108
    assert shares(answer, 1) == (50,)
    assert world.dump()["excess_units"] == 58


@pytest.mark.parametrize("changes", [
    {"haircut_in": 2}, {"block_collateral": 2}, {"isolated_flip": 3}, {"fund_by_contract": 2},
    {"spare": (0, 0, 0, 1, 0, 0, 0)}, {"cover_limit_units": -1}], ids=lambda c: next(iter(c)))
def test_a_policy_that_the_venue_does_not_know_is_refused(
    side: str, changes: dict[str, Any]
) -> None:
    """A venue that does not do what its terms say would be worse than none."""
    with pytest.raises(ValueError, match=r"refused|policies"):
        World(side, replace(TERMS, **changes))
