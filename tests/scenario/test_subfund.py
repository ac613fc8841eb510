"""S1: sub-funds, one a contract (policy fund_by_contract).

What a contract brings is its own, what it costs is paid from it first, and the shared fund, which
may be negative, pays the rest. The block of most tables is that of `test_liquidation`: a long of
100 lots (0.1 BTC) from 60,000 at 20x with 333 USD. Sessions are counted in single units on TINY.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from reference.codes import Code, Currency, Ev, Kind, Ledger, Policy, Reason, Scope
from reference.units import NO_CONTRACT
from test_liquidation import LONG_LIMIT, block_of, dollars
from test_policies import crashed, tiny_world
from test_session import FIRST, HELPER, LOSER, PENNY, TINY, shares
from world import ALICE, BTC, CAROL, ETH, MAKER, USD, Answer, World, isolated

Make = Callable[..., World]
ON = {"fund_by_contract": Policy.FUND_BY_CONTRACT}


def sub_fund(venue: World, contract: int) -> int:
    return int(venue.dump()["contracts"][contract]["sub_fund_units"])


def give(venue: World, contract: int, amount: int) -> Answer:
    """A top-up of a contract's own fund."""
    return venue.do(Kind.FUND_TOP_UP, currency=Currency.USD, amount_units=amount,
                    contract=contract, scope=Scope.FUND_OF_CONTRACT)


def fund_events(answer: Answer) -> list[tuple[int, int, int]]:
    """(ledger, contract, amount) of what both kinds of fund got or gave, in order."""
    return [(e.ledger, e.contract, e.amount_units) for e in answer.of(Ev.BALANCE)
            if e.ledger in (Ledger.FUND_USD, Ledger.SUB_FUND)]


# ---- S1: money from outside


def test_a_sub_fund_is_topped_up_apart(make_venue: Make) -> None:
    """S1, L1: 7 USD for ETH: a deposit like any; the shared fund and BTC's stay."""
    venue = make_venue(**ON)
    before = venue.dump()["deposits_units"][0]
    answer = give(venue, ETH, 7 * USD)
    assert [(e.ledger, e.contract, e.amount_units, e.balance_units)
            for e in answer.of(Ev.BALANCE)] == [(Ledger.SUB_FUND, ETH, 7 * USD, 7 * USD)]
    assert give(venue, ETH, 1)[0].balance_units == 7 * USD + 1
    assert [sub_fund(venue, c) for c in (BTC, ETH)] == [0, 7 * USD + 1]
    assert venue.fund == 100_000 * USD
    assert venue.dump()["deposits_units"][0] == before + 7 * USD + 1


TOP_UPS = [
    ("the first contract", {"scope": 1, "contract": BTC}, 0, Code.INVALID_ARGUMENT),
    ("the shared fund", {}, 0, 0),
    ("a contract without its scope", {"contract": ETH}, Code.INVALID_ARGUMENT,
     Code.INVALID_ARGUMENT),
    ("no such scope", {"scope": 2}, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT),
    ("no such contract", {"scope": 1, "contract": 7}, Code.INVALID_INSTRUMENT,
     Code.INVALID_ARGUMENT),
    ("no contract", {"scope": 1, "contract": NO_CONTRACT}, Code.INVALID_INSTRUMENT,
     Code.INVALID_ARGUMENT),
    ("USDC", {"scope": 1, "contract": ETH, "currency": Currency.USDC}, Code.INVALID_CURRENCY,
     Code.INVALID_ARGUMENT),
    ("USDC for the shared fund", {"currency": Currency.USDC}, 0, 0),
    ("more than a venue holds", {"scope": 1, "contract": ETH, "amount_units": 2**61},
     Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT),
]


@pytest.mark.parametrize("policy", [0, 1], ids=["off", "on"])
@pytest.mark.parametrize("case", TOP_UPS, ids=lambda case: case[0])
def test_a_contract_is_named_only_where_it_has_a_fund(
    make_venue: Make, case: Any, policy: int
) -> None:
    """S1, O5."""
    _, fields, code_on, code_off = case
    venue = make_venue(fund_by_contract=policy)
    answer = venue.do(Kind.FUND_TOP_UP, **{
        "currency": Currency.USD, "amount_units": USD, **fields})
    assert answer.code == (code_on if policy else code_off)


# ---- S1: in


@pytest.mark.parametrize(("policy", "own", "shared"), [(0, None, "175.0775"), (1, "175.0775", "0")],
                         ids=["off", "on"])
def test_what_a_liquidated_block_leaves_belongs_to_its_contract(
    make_venue: Make, policy: int, own: str | None, shared: str
) -> None:
    """S1, Q5, Q6: sold at 58,450: fee 29.225, and 145.8525 that are left."""
    venue = make_venue(fund_by_contract=policy)
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 58_450)
    answer = venue.mark(BTC, LONG_LIMIT)
    ledger = Ledger.SUB_FUND if policy else Ledger.FUND_USD
    assert fund_events(answer) == [(ledger, BTC, dollars("29.225")),
                                   (ledger, BTC, dollars("145.8525"))]
    assert venue.fund == 100_000 * USD + dollars(shared)
    row = venue.dump()["contracts"][BTC]
    assert row.get("sub_fund_units") == (None if own is None else dollars(own))


def test_the_fee_of_a_main_account_s_leg_belongs_to_the_leg_s_contract(make_venue: Make) -> None:
    """S1, Q5: CAROL's 250 lots at 57,000: 0.5 % of 14,250 USD."""
    venue = make_venue(**ON)
    assert venue.trade(CAROL, MAKER, 250, 60_000).code == 0
    answer = venue.mark(BTC, 570_000)
    assert fund_events(answer) == [(Ledger.SUB_FUND, BTC, dollars("71.25"))]


def test_funding_s_dust_belongs_to_the_contract(side: str) -> None:
    """S1, U3, F1: 0.75 of a unit: the payer pays a unit, the receiver gets none."""
    world = tiny_world(side, 0, 100, [10_000], **ON)
    world.trade(FIRST, LOSER, 1, 100, TINY)
    assert fund_events(world.funding(TINY, 7_500_000)) == [(Ledger.SUB_FUND, TINY, 1)]


# ---- S1, S2: out

#: what the sub-fund has of the 167 USD that are missing, what it pays, what the shared fund pays
MISSING = 167 * USD
PAYERS = [
    ("nothing", 0, 0, MISSING), ("one unit", 1, 1, MISSING - 1),
    ("all but one unit", MISSING - 1, MISSING - 1, 1), ("exactly", MISSING, MISSING, 0),
    ("one unit more", MISSING + 1, MISSING, 0),
]


@pytest.mark.parametrize("case", PAYERS, ids=lambda case: case[0])
def test_a_contract_s_deficit_is_paid_from_its_own_fund_first(make_venue: Make, case: Any) -> None:
    """S1, Q6: sold at 55,000 with 333 USD of margin; the shared fund pays what is missing there."""
    _, has, own, shared = case
    venue = make_venue(liquidation_limit=Policy.LIMIT_BAND, **ON)
    block_of(venue, ALICE, 100)
    give(venue, ETH, 1_000 * USD)
    if has:
        give(venue, BTC, has)
    venue.buy(MAKER, 100, 55_000)
    answer = venue.mark(BTC, 560_000)
    assert fund_events(answer) == [
        (ledger, BTC, -paid) for ledger, paid in ((Ledger.SUB_FUND, own), (Ledger.FUND_USD, shared))
        if paid]
    assert answer.of(Ev.LIQUIDATED)[0].amount_units == -MISSING
    assert (sub_fund(venue, BTC), sub_fund(venue, ETH)) == (has - own, 1_000 * USD)
    assert venue.fund == 100_000 * USD - shared


def test_the_shared_fund_may_be_negative_and_a_sub_fund_never(make_venue: Make) -> None:
    """S2: a shared fund of 0 pays 67 of the 167; the session's end will find them."""
    venue = make_venue(liquidation_limit=Policy.LIMIT_BAND, fund_opening_units=(0, 0), **ON)
    block_of(venue, ALICE, 100)
    give(venue, BTC, 100 * USD)
    venue.buy(MAKER, 100, 55_000)
    venue.mark(BTC, 560_000)
    assert (sub_fund(venue, BTC), venue.fund) == (0, -67 * USD)


def test_a_main_account_s_debt_is_the_shared_fund_s(make_venue: Make) -> None:
    """S1, Q6: 1,000 - 7.50 - 1,000 at 56,000: it belongs to no contract, whatever she held."""
    venue = make_venue(**ON)
    assert venue.trade(CAROL, MAKER, 250, 60_000).code == 0
    give(venue, BTC, 1_000 * USD)
    answer = venue.mark(BTC, 560_000)
    assert fund_events(answer) == [(Ledger.FUND_USD, NO_CONTRACT, -dollars("7.5"))]
    assert sub_fund(venue, BTC) == 1_000 * USD


# ---- S3, S4, S5: the session


def test_the_inventory_s_result_is_the_shared_fund_s(make_venue: Make) -> None:
    """S3: taken for 5,667 USD, worth 5,845.28."""
    venue = make_venue(**ON)
    block_of(venue, ALICE, 100)
    venue.mark(BTC, LONG_LIMIT)
    assert fund_events(venue.settle()) == [(Ledger.FUND_USD, NO_CONTRACT, dollars("178.28"))]


def test_a_loss_of_the_shared_fund_is_shared_though_a_contract_s_has_more(side: str) -> None:
    """S3, S4: 5 units missing, 100 in TINY's own fund: the winner pays 5, to the shared fund."""
    world = crashed(side, [1], 0, 5, **ON)
    give(world, TINY, 100)
    answer = world.settle()
    assert answer.of(Ev.LOSS_UNCOVERED)[0].amount_units == 5
    assert shares(answer, 1) == (5,)
    assert fund_events(answer)[-1] == (Ledger.FUND_USD, NO_CONTRACT, 5)
    (settled,) = answer.of(Ev.SESSION_SETTLED)
    assert (settled.amount_units, settled.balance_units) == (5, 0)
    assert sub_fund(world, TINY) == 100


#: shared fund after cover, the sub-funds of TINY and PENNY, free or not
UNLOCKS = [(0, 0, 0, False), (0, 1, 0, True), (0, 0, 1, True), (1, 0, 0, True)]


@pytest.mark.parametrize(("shared", "tiny", "penny", "free"), UNLOCKS)
def test_profits_are_free_when_any_fund_has_something(
    side: str, shared: int, tiny: int, penny: int, free: bool
) -> None:
    """S5: the shared fund and every sub-fund together are above 0."""
    world = crashed(side, [1], 5 + shared, 5, **ON)
    for contract, amount in ((TINY, tiny), (PENNY, penny)):
        if amount:
            give(world, contract, amount)
    assert bool(world.settle().of(Ev.PROFIT_UNLOCKED)) == free


@pytest.mark.parametrize(("limit", "excess"), [(100, 0), (99, 1), (70, 30)])
def test_a_cover_limit_counts_what_both_funds_paid(side: str, limit: int, excess: int) -> None:
    """S1: the loser's block has 100 of the 200 it loses; TINY's fund pays 60, the shared one 40."""
    world = tiny_world(side, 1_000, 1_000, [10_000], cover_limit_units=limit,
                       liquidation_limit=Policy.LIMIT_BAND, **ON)
    assert world.trade_short(LOSER, FIRST, 10, 100, TINY, **isolated(10)).code == 0
    give(world, TINY, 60)
    world.sell(HELPER, 10, 120, TINY)
    answer = world.mark(TINY, 120)
    assert fund_events(answer) == [(Ledger.SUB_FUND, TINY, -60), (Ledger.FUND_USD, TINY, -40)]
    assert world.dump()["paid_units"] == 100
    answer = world.settle()
    assert sum(e.amount_units for e in answer.of(Ev.LOSS_UNCOVERED)) == excess
    assert shares(answer, 1) == (excess,)
    # The sessions' share goes to the fund that all pay into.
    assert [part for part in fund_events(answer) if part[0] == Ledger.SUB_FUND] == []


def test_a_debt_that_is_paid_back_goes_to_the_shared_fund(make_venue: Make) -> None:
    """Q6, S1: policy deficit: what CAROL owes is due with her next deposit."""
    venue = make_venue(deficit=Policy.DEFICIT_RECEIVABLE, **ON)
    venue.trade(CAROL, MAKER, 250, 60_000)
    venue.mark(BTC, 560_000)
    answer = venue.deposit(CAROL, 10 * USD)
    assert answer is not None
    assert fund_events(answer) == [(Ledger.FUND_USD, NO_CONTRACT, dollars("7.5"))]
    assert answer.paid(Ledger.MAIN_USD, Reason.INSURANCE_FUND) == -dollars("7.5")


def test_a_preview_says_what_a_sub_fund_pays(make_venue: Make) -> None:
    """X1: a mark that costs both funds, and a top-up."""
    venue = make_venue(liquidation_limit=Policy.LIMIT_BAND, **ON)
    block_of(venue, ALICE, 100)
    venue.buy(MAKER, 100, 55_000)
    top_up = {"kind": Kind.FUND_TOP_UP, "currency": Currency.USD, "amount_units": USD,
              "contract": BTC, "scope": Scope.FUND_OF_CONTRACT}
    for command in (top_up, {"kind": Kind.MARK, "contract": BTC, "mark_ticks": 560_000}):
        foreseen = venue.preview(**command)
        assert venue.do(**command) == foreseen
    assert sub_fund(venue, BTC) == 0
