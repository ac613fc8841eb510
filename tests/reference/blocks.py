"""Chapters 3 and 4: leverage (C6, I6, I7), margin in and out (I8, I9), and a block's end (I3)."""

from __future__ import annotations

from .codes import BlockState, Code, Currency, Ev, Exec, Policy
from .eligibility import require_eligible
from .margin import (
    amounts,
    leg_im,
    removable,
    removable_usdc,
    side_reserves,
    withdrawable_usdc,
)
from .orders import open_block
from .posting import (
    fund_orders,
    fund_position,
    parts_of,
    return_everything,
    return_position_cash,
    return_usdc,
)
from .records import Command
from .reserves import reserve_at_leverage
from .state import Leg, Refused, State, Unit

# ---- leverage


def set_leverage(state: State, c: Command) -> None:
    tops_up = bool(c.exec_flags & Exec.AUTO_TOP_UP)
    if c.exec_flags & ~Exec.AUTO_TOP_UP or (tops_up and not c.isolation_id):
        raise Refused(Code.INVALID_EXEC_INST)
    unit = open_block(state, c.account, c.isolation_id, c.contract) if c.isolation_id else (
        state.main(c.account))
    largest = state.markets[c.contract].terms.terms.max_leverage
    if not 1 <= c.leverage <= largest:
        raise Refused(Code.INVALID_LEVERAGE)
    now = unit.legs[c.contract].leverage if c.contract in unit.legs else 0
    now = now or largest  # a main account that set none has the contract's maximum
    if c.leverage == now:
        return
    if c.leverage > now:
        require_eligible(state, c.account, c.contract, isolated=unit.is_block, leverage=c.leverage)
    state.require_room(legs=int(c.contract not in unit.legs))
    leg = state.leg(unit, c.contract)
    if c.leverage > now:
        change_leverage(state, unit, leg, c.leverage)
    elif unit.is_block:
        lower_block(state, unit, leg, c.leverage, tops_up)
    else:
        lower_main(state, unit, leg, c.leverage)


def change_leverage(state: State, unit: Unit, leg: Leg, leverage: int) -> None:
    leg.leverage = leverage
    unit.leverage = leverage if unit.is_block else unit.leverage
    state.touch(unit)
    state.emit_unit(Ev.LEVERAGE_SET, unit, leg.contract, qty_lots=leverage)


def lower_main(state: State, main: Unit, leg: Leg, leverage: int) -> None:
    """C6: MB - IM - order margin stays >= 0 at the new leverage, reserves included."""
    now = amounts(state, main)
    market = state.markets[leg.contract]
    orders = state.orders_of(main, leg.contract)
    held_before = side_reserves(state, main, leg.contract)
    held_after = {1: 0, 2: 0}
    for order in orders:
        held_after[order.side] += reserve_at_leverage(state, order, leverage)
    more = (leg_im(market, leg, leverage) - leg_im(market, leg, leg.leverage)
            + max(held_after.values()) - max(held_before.values()))
    if now.free < more:
        raise Refused(Code.INSUFFICIENT_BALANCE, more, now.free)
    change_leverage(state, main, leg, leverage)
    for order in orders:
        order.reserve = reserve_at_leverage(state, order, leverage)
        order.leverage = 0 if order.trigger_type else leverage


def lower_block(state: State, block: Unit, leg: Leg, leverage: int, tops_up: bool) -> None:
    """I7: what is missing comes from main, exactly, or nothing changes."""
    market = state.markets[leg.contract]
    orders = state.orders_of(block)
    now = amounts(state, block)
    for_position = max(0, leg_im(market, leg, leverage) + now.cut - now.mb)
    for_orders = {o.order_id: reserve_at_leverage(state, o, leverage) - o.reserve for o in orders}
    need = for_position + sum(for_orders.values())
    if need and not tops_up:
        raise Refused(Code.EXCEEDS_INITIAL_MARGIN, need)
    main = state.main(block.account)
    main_now = amounts(state, main)
    if need > main_now.transferable:
        raise Refused(Code.INSUFFICIENT_BALANCE, need, main_now.payable)
    change_leverage(state, block, leg, leverage)
    fund_position(state, block, parts_of(state, main, for_position))
    for order in orders:
        parts = parts_of(state, main, for_orders[order.order_id])
        order.leverage = 0 if order.trigger_type else leverage
        order.reserve += parts[0]
        order.usdc += parts[1]
        fund_orders(state, block, parts, order.order_id)


# ---- margin in and out


def is_usdc(state: State, c: Command) -> bool:
    """Margin is in USD unless it is said; in USDC only where a block holds it in kind (A4)."""
    if c.currency in (0, Currency.USD):
        return False
    if c.currency != Currency.USDC or state.venue.block_collateral != Policy.IN_KIND:
        raise Refused(Code.INVALID_CURRENCY)
    return True


def add_margin(state: State, c: Command) -> None:
    """I8: from main's transferable money, at once; USDC as far as C5 lets it leave main."""
    in_usdc = is_usdc(state, c)
    block = open_block(state, c.account, c.isolation_id)
    main = state.main(c.account)
    now = amounts(state, main)
    free, shown = now.transferable, now.payable
    if in_usdc:
        free = shown = withdrawable_usdc(state, main)
    if c.amount_units > free:
        raise Refused(Code.INSUFFICIENT_BALANCE, c.amount_units, shown)
    parts = (0, c.amount_units) if in_usdc else parts_of(state, main, c.amount_units)
    fund_position(state, block, parts)


def remove_margin(state: State, c: Command) -> None:
    """I9: at most what is removable; it raises risk."""
    in_usdc = is_usdc(state, c)
    block = open_block(state, c.account, c.isolation_id)
    require_eligible(state, c.account, block.contract, isolated=True, leverage=block.leverage)
    if block.positions():
        state.require_mark(block.contract)
    most = (removable_usdc if in_usdc else removable)(state, block)
    if c.amount_units > most:
        raise Refused(Code.EXCEEDS_REMOVABLE, c.amount_units, most)
    (return_usdc if in_usdc else return_position_cash)(state, block, c.amount_units)


# ---- the end of a block


def is_idle(state: State, block: Unit) -> bool:
    return not block.positions() and not state.orders_of(block)


def close_block(state: State, block: Unit) -> None:
    """All its money goes to main; then it is gone, and its id never comes back."""
    return_everything(state, block)
    end_block(state, block)


def end_block(state: State, block: Unit) -> None:
    block.state = BlockState.CLOSED
    state.emit_unit(Ev.BLOCK_CLOSED, block, block.contract)
    account = state.accounts[block.account]
    account.blocks = tuple(i for i in account.blocks if i != block.isolation_id)
    del state.units[block.key]
