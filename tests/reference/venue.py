"""The venue as one machine: a command goes in, events come out, and the books balance (L1)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import admin, blocks, money, orders, session, triggers
from .codes import Code, Ev, Kind, MarketState, Policy, Profile, Scope
from .contract import Contract
from .liquidation import run_rounds
from .records import Command, ContractTerms, Event, VenueTerms
from .snapshot import dump
from .state import Market, Refused, State
from .units import NO_CONTRACT

Handler = Callable[[State, Command], None]

HANDLERS: dict[int, Handler] = {
    Kind.NEW_ORDER: orders.new_order,
    Kind.CANCEL: orders.cancel,
    Kind.AMEND: orders.amend,
    Kind.CANCEL_ALL: orders.cancel_all,
    Kind.CLOSE_POSITION: orders.close_position,
    Kind.SET_LEVERAGE: blocks.set_leverage,
    Kind.ADD_MARGIN: blocks.add_margin,
    Kind.REMOVE_MARGIN: blocks.remove_margin,
    Kind.WITHDRAW: money.withdraw_money,
    Kind.CANCEL_ALL_AFTER: triggers.cancel_all_after,
    Kind.OPEN_ACCOUNT: money.open_account,
    Kind.DEPOSIT: money.deposit_money,
    Kind.MARK: admin.set_mark,
    Kind.INDEX: admin.set_index,
    Kind.FUNDING: session.set_funding,
    Kind.SETTLE_SESSION: session.settle_session,
    Kind.SET_ELIGIBILITY: admin.set_eligibility,
    Kind.SET_MARKET_STATE: admin.set_market_state,
    Kind.FUND_TOP_UP: money.top_up_fund,
    Kind.TICK: admin.tick,
}

# The fields that a kind uses; any other that is not zero is refused (40001).
EVERYWHERE = {"kind", "timestamp_ns", "caller_tag"}
USED: dict[int, set[str]] = {
    Kind.NEW_ORDER: {
        "account", "contract", "side", "order_type", "time_in_force", "exec_flags", "stp",
        "price_ticks", "qty_lots", "client_order_id", "isolation_id", "leverage", "expiry_ns",
        "isolated_margin_units", "order_id"},
    Kind.CANCEL: {"account", "order_id", "client_order_id"},
    Kind.AMEND: {
        "account", "order_id", "client_order_id", "price_ticks", "qty_lots",
        "trigger_price_ticks"},
    Kind.CANCEL_ALL: {"account", "contract", "scope"},
    Kind.CLOSE_POSITION: {
        "account", "contract", "order_type", "exec_flags", "price_ticks", "qty_lots",
        "isolation_id"},
    Kind.SET_LEVERAGE: {"account", "contract", "isolation_id", "leverage", "exec_flags"},
    Kind.ADD_MARGIN: {"account", "isolation_id", "amount_units", "currency"},
    Kind.REMOVE_MARGIN: {"account", "isolation_id", "amount_units", "currency"},
    Kind.WITHDRAW: {"account", "currency", "amount_units"},
    Kind.CANCEL_ALL_AFTER: {"account", "expiry_ns"},
    Kind.OPEN_ACCOUNT: {"account"},
    Kind.DEPOSIT: {"account", "currency", "amount_units"},
    Kind.MARK: {"contract", "mark_ticks"},
    Kind.INDEX: {"currency", "mark_ticks"},
    Kind.FUNDING: {"contract", "rate_e9", "scope"},
    Kind.SETTLE_SESSION: set(),
    Kind.SET_ELIGIBILITY: {"account", "profile"},
    Kind.SET_MARKET_STATE: {"contract", "scope"},
    Kind.FUND_TOP_UP: {"currency", "amount_units"},  # and a contract, where it has a sub-fund
    Kind.TICK: set(),
}
UNUSED = {kind: sorted(set(Command.__dataclass_fields__) - EVERYWHERE - used)
          for kind, used in USED.items()}
LARGEST_SCOPE = {
    Kind.NEW_ORDER: Scope.TRIGGER_LAST,
    Kind.CANCEL_ALL: Scope.ISOLATED,
    Kind.FUNDING: Scope.FUNDING_AT_SETTLEMENT,
    Kind.SET_MARKET_STATE: MarketState.REDUCE_ONLY,
    Kind.FUND_TOP_UP: Scope.FUND_OF_CONTRACT,
}


class Venue:
    """The model; the engine answers every command with the same events and the same state."""

    def __init__(self, terms: VenueTerms, admin_key: int) -> None:
        self.state = State(terms)
        self.events: list[Event] = []  # what is not caused by a command
        self._admin_key = admin_key

    @property
    def seq(self) -> int:
        return self.state.seq

    @property
    def time_ns(self) -> int:
        return self.state.time_ns

    @property
    def session(self) -> int:
        return self.state.session

    def add_contract(self, terms: ContractTerms, admin_key: int) -> int:
        """Registers a contract; ValueError says which rule its terms break (U2, A3)."""
        if admin_key != self._admin_key:
            raise ValueError("contract refused (A3): administration only")
        markets = self.state.markets
        if any(market.terms.terms.symbol == terms.symbol for market in markets):
            raise ValueError(f"contract refused (U2): {terms.symbol} exists")
        number = len(markets)
        markets.append(Market(self.state.journal, number, Contract(terms)))
        self.events.append(Event(self.state.seq, Ev.CONTRACT_ADDED, contract=number))
        return number

    def apply(self, command: Command, admin_key: int = 0) -> list[Event]:
        """One command with all its consequences; a refusal is one REJECT event (O5)."""
        events = self._run(command, admin_key)
        self.state.journal.entries.clear()
        residuals = self.audit()
        assert residuals["USD"] == residuals["USDC"] == 0, (command, residuals)
        assert not any(residuals["positions"]), (command, residuals)
        return events

    def preview(self, command: Command, admin_key: int = 0) -> list[Event]:
        """X1: what apply would return, by applying it and rolling it back."""
        mark = self.state.journal.mark()
        events = self._run(command, admin_key)
        self.state.journal.rollback(mark)
        return events

    def audit(self) -> dict[str, Any]:
        """L1: the residual of each currency and the sum of positions of each contract; all 0."""
        state = self.state
        legs = [leg for unit in state.units.values() for leg in unit.legs.values()]
        cash = sum(unit.cash + unit.order_cash for unit in state.units.values())
        costs = sum(leg.cost for leg in legs) + sum(m.inventory_cost for m in state.markets)
        usd = cash + state.inventory_cash - costs + state.fees + state.whole_fund
        usd += state.conversion[0]
        usdc = (sum(a.usdc for a in state.accounts.values()) + state.fund[1] + state.conversion[1]
                + sum(unit.usdc + unit.order_usdc for unit in state.units.values()))
        return {
            "USD": usd - state.deposits[0] + state.withdrawals[0],
            "USDC": usdc - state.deposits[1] + state.withdrawals[1],
            "positions": [
                market.inventory_qty + sum(leg.qty for leg in legs if leg.contract == market.number)
                for market in state.markets],
        }

    def dump(self) -> dict[str, Any]:
        return dump(self.state)

    # ---- one command

    def _run(self, command: Command, admin_key: int) -> list[Event]:
        """Clock and timers, then the command, then whom it touched."""
        state = self.state
        state.seq += 1
        state.events = []
        state.touched.clear()
        state.done.clear()
        if command.timestamp_ns >= state.time_ns:
            state.time_ns = command.timestamp_ns
            triggers.fire_timers(state)
            run_rounds(state)
            state.done.clear()  # a step of its own
        before, spoken = state.journal.mark(), len(state.events)
        try:
            check_structure(state, command, admin_key == self._admin_key)
            check_target(state, command)
            HANDLERS[command.kind](state, command)
            run_rounds(state)
        except Refused as refusal:
            events = state.events
            state.journal.rollback(before)
            state.touched.clear()
            del events[spoken:]
            events.append(reject(state, command, refusal))
        triggers.fire_reached(state)
        return state.events


def check_structure(state: State, c: Command, is_admin: bool) -> None:
    """What can be said of a command without looking at accounts and contracts."""
    if c.kind not in HANDLERS:
        raise Refused(Code.UNKNOWN_COMMAND)
    if c.kind >= Kind.ADMIN_FIRST and not is_admin:
        raise Refused(Code.NOT_ADMINISTRATION)
    if c.timestamp_ns < state.time_ns:
        raise Refused(Code.TIME_GOES_BACK)
    if has_unused(c, unused_fields(state, c)):
        raise Refused(Code.INVALID_ARGUMENT)
    if "amount_units" in USED[c.kind] and c.amount_units <= 0:
        raise Refused(Code.INVALID_ARGUMENT)
    if c.scope > LARGEST_SCOPE.get(c.kind, c.scope) or c.profile & Profile.RESERVED_BITS:
        raise Refused(Code.INVALID_ARGUMENT)


def unused_fields(state: State, c: Command) -> list[str]:
    """A trigger belongs to conditional orders, a contract to the index that has no currency and to
    the top-up of a sub-fund."""
    unused = UNUSED[c.kind]
    if c.kind == Kind.NEW_ORDER and c.order_type in orders.BECOMES:
        return [name for name in unused if name not in ("trigger_price_ticks", "scope")]
    if c.kind == Kind.INDEX and c.currency == 0:
        return [name for name in unused if name != "contract"]
    if c.kind == Kind.FUND_TOP_UP and state.venue.fund_by_contract == Policy.FUND_BY_CONTRACT:
        own = ("scope", "contract") if c.scope else ("scope",)
        return [name for name in unused if name not in own]
    return unused


def has_unused(c: Command, names: Iterable[str]) -> bool:
    return any(getattr(c, name) for name in names)


def check_target(state: State, c: Command) -> None:
    """210, then 209."""
    used = USED[c.kind]
    if "account" in used:
        is_new = c.kind == Kind.OPEN_ACCOUNT
        if c.account != len(state.accounts) if is_new else c.account not in state.accounts:
            raise Refused(Code.INVALID_ACCOUNT)
    names_contract = ("contract" in used or (c.kind == Kind.INDEX and c.currency == 0)
                      or (c.kind == Kind.FUND_TOP_UP and c.scope == Scope.FUND_OF_CONTRACT))
    if names_contract and c.contract >= len(state.markets):
        if c.kind == Kind.CANCEL_ALL and c.contract == NO_CONTRACT:
            return
        raise Refused(Code.INVALID_INSTRUMENT)


def reject(state: State, c: Command, refusal: Refused) -> Event:
    return Event(
        state.seq, Ev.REJECT, c.account, c.contract, c.isolation_id & 0xFFFFFFFF,
        code=refusal.code, order_id=c.order_id, price_ticks=refusal.price, qty_lots=refusal.lots,
        amount_units=refusal.needed, balance_units=refusal.available)
