"""Chapter 5: what happens by itself: conditional orders that fire (O1), and timers (O6)."""

from __future__ import annotations

from .codes import Code, Done, Ev, MarketState, Tif
from .liquidation import run_rounds
from .orders import BECOMES, Ticket, is_reached, place
from .records import Command
from .reserves import end_linked, end_order, end_orders, remove_order
from .state import Order, Refused, State

# ---- conditional orders


def fire_reached(state: State) -> None:
    """One after the other, each with its rounds; what a command may not fire waits for the next."""
    for _ in range(state.venue.timers_per_command):
        reached = [o for o in state.orders.values() if o.trigger_type and may_fire(state, o)]
        if not reached:
            return
        state.done.clear()  # a step of its own
        fire(state, min(reached, key=turn_of))
        run_rounds(state)


def may_fire(state: State, order: Order) -> bool:
    market = state.markets[order.contract]
    return market.state != MarketState.HALTED and is_reached(market, order)


def turn_of(order: Order) -> tuple[int, int, int, int]:
    """By contract and reference, falls (below 0) first, each as a price that moves meets them."""
    met = order.trigger_price if order.rises else -order.trigger_price
    return (order.contract, order.trigger_by, met, order.order_id)


def fire(state: State, order: Order) -> None:
    """From here on it is a new order under its own id; a refusal ends it."""
    state.emit_unit(Ev.TRIGGERED, state.unit_of(order), order.contract, order_id=order.order_id,
                    price_ticks=order.trigger_price, qty_lots=order.left, flags=order.trigger_by)
    end_linked(state, order)
    before, spoken, touched = state.journal.mark(), len(state.events), set(state.touched)
    try:
        remove_order(state, order)
        place(state, Ticket(
            order.order_id, order.account, order.contract, order.side,
            BECOMES[order.trigger_type], order.price, order.left, order.time_in_force,
            order.exec_flags, order.stp, order.expiry_ns, order.client_order_id,
            order.isolation_id))
    except Refused as refusal:
        state.journal.rollback(before)
        del state.events[spoken:]
        state.touched.clear()
        state.touched.update(touched)
        end_order(state, order, Done.TRIGGER, refusal.code)


# ---- timers


def cancel_all_after(state: State, c: Command) -> None:
    """A dead man's switch: all orders end at that time, unless it is set anew before."""
    if c.expiry_ns and c.expiry_ns <= state.time_ns:
        raise Refused(Code.INVALID_ARGUMENT)
    state.accounts[c.account].cancel_after_ns = c.expiry_ns
    state.emit_unit(Ev.CANCEL_AFTER_SET, state.main(c.account), amount_units=c.expiry_ns)


def fire_timers(state: State) -> None:
    """What is due by time: orders by id, then accounts by number; so many a command."""
    for _ in range(state.venue.timers_per_command):
        due = [(o.expiry_ns, 0, o.order_id) for o in state.orders.values()
               if o.time_in_force == Tif.GTD and o.expiry_ns <= state.time_ns]
        due += [(a.cancel_after_ns, 1, number) for number, a in state.accounts.items()
                if 0 < a.cancel_after_ns <= state.time_ns]
        if not due:
            return
        _, is_account, number = min(due)
        if is_account:
            state.accounts[number].cancel_after_ns = 0
            end_orders(state, state.account_orders(number), Done.DEAD_MAN)
        else:
            end_order(state, state.orders[number], Done.EXPIRED)
