"""Chapter 2: accounts, and money into and out of the venue (A1, C5)."""

from __future__ import annotations

from .codes import Code, Currency, Ev, Policy, Profile, Reason, Scope
from .margin import withdrawable_usd, withdrawable_usdc
from .posting import deposit, post_cash, post_fund, post_usdc, withdraw
from .records import Command
from .state import Account, Refused, State, Unit
from .units import NO_CONTRACT

# Deposits of a currency stay below these, so that every sum of a currency fits (U1).
DEPOSIT_LIMITS = {Currency.USD: 2**61, Currency.USDC: 2**57}


def open_account(state: State, c: Command) -> None:
    if len(state.accounts) >= state.venue.account_capacity:
        raise Refused(Code.CAPACITY)
    state.require_room(units=1)
    state.accounts[c.account] = Account(state.journal)
    unit = Unit(state.journal, c.account)
    state.units[unit.key] = unit
    state.emit_unit(Ev.ACCOUNT_OPENED, unit)


def require_currency(c: Command) -> None:
    if c.currency not in DEPOSIT_LIMITS:
        raise Refused(Code.INVALID_CURRENCY)


def require_countable(state: State, c: Command) -> None:
    total = state.deposits[c.currency - Currency.USD] + c.amount_units
    if total >= DEPOSIT_LIMITS[c.currency]:
        raise Refused(Code.INVALID_ARGUMENT)


def deposit_money(state: State, c: Command) -> None:
    require_currency(c)
    if c.currency == Currency.USDC and state.index == 0:
        raise Refused(Code.NO_MARK_PRICE)
    require_countable(state, c)
    deposit(state, c.currency, c.amount_units)
    main = state.main(c.account)
    post_money(state, main, c.currency, c.amount_units, Reason.DEPOSIT)
    if c.currency == Currency.USD and state.venue.deficit == Policy.DEFICIT_RECEIVABLE:
        pay_debt(state, main, c.amount_units)


def pay_debt(state: State, main: Unit, amount: int) -> None:
    """Policy deficit: what the fund paid for the owner is due as soon as money comes."""
    account = state.accounts[main.account]
    paid = min(amount, account.deficit)
    account.deficit -= paid
    post_cash(state, main, -paid, Reason.INSURANCE_FUND)
    post_fund(state, paid, Reason.INSURANCE_FUND)


def post_money(state: State, main: Unit, currency: int, amount: int, reason: int) -> None:
    if currency == Currency.USD:
        post_cash(state, main, amount, reason)
    else:
        post_usdc(state, main, amount, reason)


def withdraw_money(state: State, c: Command) -> None:
    """C5: never profit that is not settled, never what margin needs."""
    require_currency(c)
    if state.accounts[c.account].profile & Profile.SUSPENDED:
        raise Refused(Code.ACCOUNT_SUSPENDED)
    main = state.main(c.account)
    for leg in main.positions():
        state.require_mark(leg.contract)
    most = (withdrawable_usd if c.currency == Currency.USD else withdrawable_usdc)(state, main)
    if c.amount_units > most:
        raise Refused(Code.EXCEEDS_WITHDRAWABLE, c.amount_units, most)
    post_money(state, main, c.currency, -c.amount_units, Reason.WITHDRAW)
    withdraw(state, c.currency, c.amount_units)


def top_up_fund(state: State, c: Command) -> None:
    """S1: a deposit into the fund, or into the sub-fund of a contract, which is in USD."""
    require_currency(c)
    is_shared = c.scope == Scope.FUND_SHARED
    if not is_shared and c.currency != Currency.USD:
        raise Refused(Code.INVALID_CURRENCY)
    require_countable(state, c)
    deposit(state, c.currency, c.amount_units)
    post_fund(state, c.amount_units, Reason.DEPOSIT, NO_CONTRACT if is_shared else c.contract,
              c.currency - Currency.USD)
