"""Chapters 1 and 2: what only administration may do (A3)."""

from __future__ import annotations

from .codes import Code, Currency, Done, Ev, Profile
from .eligibility import group_allowed, standing_code
from .liquidation import run_rounds, touch_failing, work_off
from .margin import usdc_of
from .records import Command
from .reserves import end_orders
from .state import Order, Refused, State

LARGEST_INDEX_E6 = 10_000_000


def set_mark(state: State, c: Command) -> None:
    """Liquidates what it crosses; then the inventory works off a little of what it held before."""
    market = state.markets[c.contract]
    if not 1 <= c.mark_ticks <= market.terms.max_mark:
        raise Refused(Code.INVALID_ARGUMENT)
    held_before = market.inventory_qty
    market.mark = c.mark_ticks
    market.mark_time_ns = state.time_ns
    state.emit_venue(Ev.MARKED, c.contract, price_ticks=c.mark_ticks)
    touch_failing(state, list(state.holders(c.contract)))
    run_rounds(state)
    work_off(state, market, held_before)


def set_index(state: State, c: Command) -> None:
    """A4: the index of USDC concerns every unit that has some."""
    if c.currency == 0:
        set_contract_index(state, c)
        return
    if c.currency != Currency.USDC:
        raise Refused(Code.INVALID_CURRENCY)
    if not 1 <= c.mark_ticks <= LARGEST_INDEX_E6:
        raise Refused(Code.INVALID_ARGUMENT)
    state.index = c.mark_ticks
    state.emit_venue(Ev.INDEXED, price_ticks=c.mark_ticks)
    touch_failing(state, [unit for unit in state.units.values() if usdc_of(state, unit)])


def set_contract_index(state: State, c: Command) -> None:
    """What conditional orders may look at (O1); it moves nothing else."""
    market = state.markets[c.contract]
    if not 1 <= c.mark_ticks <= market.terms.max_mark:
        raise Refused(Code.INVALID_ARGUMENT)
    market.index = c.mark_ticks
    state.emit_venue(Ev.INDEXED, c.contract, price_ticks=c.mark_ticks)


def set_eligibility(state: State, c: Command) -> None:
    """A2: orders with a reserve end where the account may no longer raise risk."""
    state.accounts[c.account].profile = c.profile
    state.emit_unit(Ev.ELIGIBILITY_SET, state.main(c.account), amount_units=as_int64(c.profile))
    end_orders(state, [o for o in state.account_orders(c.account)
                       if o.reserved and lost(state, o)], Done.ELIGIBILITY)


def as_int64(bits: int) -> int:
    return bits - 2**64 if bits >= 2**63 else bits


def lost(state: State, order: Order) -> bool:
    is_shut_out = order.isolation_id and not (
        state.accounts[order.account].profile & Profile.ISOLATED)
    return bool(is_shut_out or standing_code(state, order.account)
                or not group_allowed(state, order.account, order.contract))


def set_market_state(state: State, c: Command) -> None:
    state.markets[c.contract].state = c.scope
    state.emit_venue(Ev.MARKET_STATE_SET, c.contract, qty_lots=c.scope)


def tick(state: State, c: Command) -> None:
    """Time alone: what is due has fired."""
