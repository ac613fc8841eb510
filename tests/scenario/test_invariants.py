"""The invariants themselves: each notices a state or an event that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import invariants
import pytest
from reference.codes import BlockState, Code, Ev, Kind, Ledger, Reason
from reference.records import Event
from world import ALICE, BOB, BTC, MAKER, USD, World, isolated

Moment = tuple[Any, list[Event], dict[str, Any], dict[str, Any]]


def moment(venue: World) -> Moment:
    """A mark that liquidates ALICE's block; BOB has a position, a block and an order."""
    venue.trade(BOB, MAKER, 10, 60_000)
    venue.trade(BOB, MAKER, 10, 60_000, **isolated(2))
    venue.buy(BOB, 10, 55_000, **isolated(2, 1))
    venue.trade(ALICE, MAKER, 100, 60_000, **isolated(20))
    before = deepcopy(venue.dump())
    answer = venue.mark(BTC, 584_000)
    assert answer.of(Ev.LIQUIDATED)
    command = venue.command(Kind.MARK, contract=BTC, mark_ticks=584_000)
    return command, list(answer), before, deepcopy(venue.dump())


def lose_a_unit_of_the_fund(m: Moment) -> None:
    m[3]["fund_units"][0] -= 1


def lose_a_lot(m: Moment) -> None:
    m[3]["accounts"][BOB]["legs"][0]["qty_lots"] -= 1


def forget_an_event(m: Moment) -> None:
    m[1].remove(next(e for e in m[1] if e.kind == Ev.BALANCE))


def misstate_a_balance(m: Moment) -> None:
    place = next(i for i, e in enumerate(m[1]) if e.kind == Ev.BALANCE)
    m[1][place] = m[1][place]._replace(balance_units=m[1][place].balance_units + 1)


def change_a_cost(m: Moment) -> None:
    m[3]["accounts"][BOB]["legs"][0]["cost_units"] += 1


def leave_a_block_liquidating(m: Moment) -> None:
    m[3]["blocks"][0]["state"] = BlockState.LIQUIDATING


def refuse_after_all(m: Moment) -> None:
    m[1][:] = [Event(m[1][0].seq, Ev.REJECT, code=Code.INVALID_ARGUMENT)]


def refuse_and_go_on(m: Moment) -> None:
    m[1].insert(0, Event(m[1][0].seq, Ev.REJECT, code=Code.INVALID_ARGUMENT))


def change_the_session_pnl_of_a_bystander(m: Moment) -> None:
    m[3]["accounts"][BOB]["session_pnl_units"] += 1


def change_a_bystanders_order(m: Moment) -> None:
    m[3]["orders"][0]["left"] -= 1


def drop_a_bystanders_order(m: Moment) -> None:
    del m[3]["orders"][0]


def change_the_owners_position(m: Moment) -> None:
    m[3]["accounts"][ALICE]["profile"] += 1


def charge_the_owner(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, reason=Reason.REALIZED_PNL,
                      ledger=Ledger.MAIN_USD, amount_units=-USD))


def let_the_owner_cover_the_loss(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, reason=Reason.INSURANCE_FUND,
                      ledger=Ledger.MAIN_USD, amount_units=-USD))


def transfer_to_nobody(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, reason=Reason.ISOLATED_TRANSFER,
                      ledger=Ledger.MAIN_USD, amount_units=-USD))


def mix_up_order_cash(m: Moment) -> None:
    m[3]["blocks"][0]["order_cash_units"] += 1


def empty_a_block(m: Moment) -> None:
    m[3]["blocks"][0].update(qty_lots=0, order_cash_units=0)
    m[3]["orders"] = []


def charge_main_s_usdc(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, reason=Reason.TRADE_FEE,
                      ledger=Ledger.MAIN_USDC, amount_units=-USD))


def charge_a_block_s_usdc(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, 1, reason=Reason.INSURANCE_FUND,
                      ledger=Ledger.BLOCK_POSITION_USDC, amount_units=-USD))


def transfer_usdc_to_nobody(m: Moment) -> None:
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, ALICE, BTC, 1, reason=Reason.ISOLATED_TRANSFER,
                      ledger=Ledger.BLOCK_ORDER_USDC, amount_units=USD))


def let_a_block_owe_usdc(m: Moment) -> None:
    m[3]["blocks"][0]["usdc_units"] = -1


def convert(m: Moment, key: tuple[int, int], usd: int, usdc: int) -> None:
    """AUTO_CONVERSION events of a unit and of the conversion account."""
    is_block = key[1] > 0
    own = (Ledger.BLOCK_POSITION, Ledger.BLOCK_POSITION_USDC) if is_block else (
        Ledger.MAIN_USD, Ledger.MAIN_USDC)
    for ledger, amount in zip((*own, Ledger.CONVERSION_USD, Ledger.CONVERSION_USDC),
                              (usd, usdc, -usd, -usdc), strict=True):
        who = {} if ledger in (Ledger.CONVERSION_USD, Ledger.CONVERSION_USDC) else {
            "account": key[0], "isolation_id": key[1]}
        m[1].append(Event(m[1][0].seq, Ev.BALANCE, **who, reason=Reason.AUTO_CONVERSION,
                          ledger=ledger, amount_units=amount))


def convert_above_the_index(m: Moment) -> None:
    convert(m, (ALICE, 0), USD + 1, -USD)


def convert_another_unit_s(m: Moment) -> None:
    convert(m, (ALICE, 0), USD, 0)
    convert(m, (ALICE, 1), 0, -USD)


def forget_the_conversion_account(m: Moment) -> None:
    convert(m, (ALICE, 0), USD, -USD)
    m[1].pop()


def mix_up_order_usdc(m: Moment) -> None:
    m[3]["blocks"][0]["order_usdc_units"] = 1


def give_sub_funds(m: Moment, units: int) -> None:
    for contract in m[2]["contracts"]:
        contract["sub_fund_units"] = units


def spare_the_sub_fund(m: Moment) -> None:
    give_sub_funds(m, 1)
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, contract=BTC, reason=Reason.INSURANCE_FUND,
                      ledger=Ledger.FUND_USD, amount_units=-USD))


def pass_the_sub_fund_by(m: Moment) -> None:
    give_sub_funds(m, 0)
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, contract=BTC, reason=Reason.LIQUIDATION_FEE,
                      ledger=Ledger.FUND_USD, amount_units=USD))


def overdraw_the_sub_fund(m: Moment) -> None:
    give_sub_funds(m, 0)
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, contract=BTC, reason=Reason.INSURANCE_FUND,
                      ledger=Ledger.SUB_FUND, amount_units=-1, balance_units=-1))


def leave_a_debt(m: Moment) -> None:
    m[3]["accounts"][ALICE]["cash_units"] = -1


def withdraw_locked_profit(m: Moment) -> None:
    m[2]["accounts"][BOB]["session_pnl_units"] = 2 * USD
    m[1].append(Event(m[1][0].seq, Ev.BALANCE, BOB, reason=Reason.WITHDRAW,
                      ledger=Ledger.MAIN_USD, amount_units=-USD, balance_units=2 * USD - 1))


BREACHES: list[tuple[Callable[..., None], Callable[[Moment], None]]] = [
    (invariants.ledger_identity, lose_a_unit_of_the_fund),
    (invariants.positions_cancel_out, lose_a_lot),
    (invariants.events_fold_to_balances, forget_an_event),
    (invariants.events_fold_to_balances, misstate_a_balance),
    (invariants.events_fold_to_balances, lose_a_unit_of_the_fund),
    (invariants.events_fold_to_positions, lose_a_lot),
    (invariants.events_fold_to_positions, change_a_cost),
    (invariants.refused_changes_nothing, refuse_after_all),
    (invariants.refused_changes_nothing, refuse_and_go_on),
    (invariants.nobody_is_liquidating, leave_a_block_liquidating),
    (invariants.only_named_units_change, change_the_session_pnl_of_a_bystander),
    (invariants.only_named_units_change, change_a_bystanders_order),
    (invariants.only_named_units_change, drop_a_bystanders_order),
    (invariants.only_named_units_change, change_the_owners_position),
    (invariants.main_pays_only_transfers, charge_the_owner),
    (invariants.main_pays_only_transfers, let_the_owner_cover_the_loss),
    (invariants.main_pays_only_transfers, transfer_to_nobody),
    (invariants.blocks_lose_what_moved_in, charge_main_s_usdc),
    (invariants.blocks_lose_what_moved_in, charge_a_block_s_usdc),
    (invariants.blocks_lose_what_moved_in, transfer_usdc_to_nobody),
    (invariants.blocks_lose_what_moved_in, let_a_block_owe_usdc),
    (invariants.conversion_stays_in_its_unit, convert_above_the_index),
    (invariants.conversion_stays_in_its_unit, convert_another_unit_s),
    (invariants.conversion_stays_in_its_unit, forget_the_conversion_account),
    (invariants.blocks_hold_their_orders, mix_up_order_usdc),
    (invariants.sub_funds_pay_first, spare_the_sub_fund),
    (invariants.sub_funds_pay_first, pass_the_sub_fund_by),
    (invariants.sub_funds_pay_first, overdraw_the_sub_fund),
    (invariants.blocks_hold_their_orders, mix_up_order_cash),
    (invariants.blocks_hold_their_orders, empty_a_block),
    (invariants.no_voluntary_deficit, leave_a_debt),
    (invariants.locked_profit_stays, withdraw_locked_profit),
]


@pytest.mark.rule("L1", "L2", "O5", "Q4", "Q7", "I4", "I13")
@pytest.mark.parametrize(("invariant", "breach"), BREACHES,
                         ids=[f"{i.__name__}-{b.__name__}" for i, b in BREACHES])
def test_an_invariant_notices_its_breach(
    venue: World, invariant: Callable[..., None], breach: Callable[[Moment], None]
) -> None:
    told = moment(venue)
    invariant(*told)
    breach(told)
    with pytest.raises(AssertionError, match=r"[A-Z]\d"):
        invariant(*told)


def test_every_invariant_has_a_breach_that_it_notices() -> None:
    assert {invariant for invariant, _ in BREACHES} == set(invariants.INVARIANTS)
