"""Chapter 2: who may raise risk (A2)."""

from __future__ import annotations

from .codes import Code, MarketState, Profile
from .state import Refused, State


def standing_code(state: State, account: int) -> int:
    """202, 411 or 412 of the account itself; 0 if it may trade derivatives."""
    profile = state.accounts[account].profile
    citizenship, residence = profile >> 16 & 0xFFFF, profile >> 32 & 0xFFFF
    if profile & Profile.SUSPENDED:
        return Code.ACCOUNT_SUSPENDED
    excluded = ((citizenship and citizenship in state.venue.excluded_citizenship)
                or (residence and residence in state.venue.excluded_residence))
    if not profile & Profile.ADVANCED or excluded:
        return Code.NO_DERIVATIVES_USER
    if not profile & Profile.DERIVATIVES:
        return Code.NO_DERIVATIVES_ACCOUNT
    return 0


def group_allowed(state: State, account: int, contract: int) -> bool:
    group = state.markets[contract].terms.terms.access_group
    return bool(state.accounts[account].profile >> 48 & (1 << group))


def collateral_allowed(state: State, account: int, amount: int) -> bool:
    """Money into a block comes from USD first, then from USDC; each must be allowed if used."""
    profile, cash = state.accounts[account].profile, max(0, state.main(account).cash)
    if min(amount, cash) > 0 and not profile & Profile.USD:
        return False
    return not (amount > cash and not profile & Profile.USDC)


def require_eligible(state: State, account: int, contract: int, *, isolated: bool, leverage: int,
                     amount: int = 0) -> None:
    """Step 10 of the precedence; amount 0 moves no money."""
    code = standing_code(state, account)
    if code:
        raise Refused(code)
    profile = state.accounts[account].profile
    if not group_allowed(state, account, contract):
        raise Refused(Code.CONTRACT_NOT_ALLOWED)
    if amount and not collateral_allowed(state, account, amount):
        raise Refused(Code.CONTRACT_NOT_ALLOWED)
    if isolated and not profile & Profile.ISOLATED:
        raise Refused(Code.NO_ISOLATED_ACCESS)
    largest = profile >> 8 & 0xFF
    if largest and leverage > largest:
        raise Refused(Code.INVALID_LEVERAGE)
    if state.markets[contract].state == MarketState.REDUCE_ONLY:
        raise Refused(Code.INSTRUMENT_NOT_TRADABLE)
