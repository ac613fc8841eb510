"""Chapter 2: what the venue remembers (A1, I1), and how a refused command is undone (O5).

Every object writes the old value of what it changes into one journal. Rolling the journal back is
how a refusal changes nothing and how a preview leaves no trace.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from .codes import BlockState, Code, OrderType, Side
from .contract import Contract
from .records import Event, VenueTerms
from .units import NO_CONTRACT, NONE

ABSENT = object()
K = TypeVar("K")
V = TypeVar("V")
Key = tuple[int, int]  # (account, isolation_id); isolation_id 0 is the main account


class Refused(Exception):
    """The command's answer: a code, and the figures that go with it."""

    def __init__(self, code: int, needed: int = 0, available: int = 0, price: int = 0,
                 lots: int = 0) -> None:
        super().__init__(code)
        self.code = code
        self.needed = needed
        self.available = available
        self.price = price
        self.lots = lots


class Journal:
    """Old values, newest last."""

    def __init__(self) -> None:
        self.entries: list[tuple[Any, Any, Any]] = []

    def mark(self) -> int:
        return len(self.entries)

    def rollback(self, mark: int) -> None:
        while len(self.entries) > mark:
            owner, name, old = self.entries.pop()
            if isinstance(owner, Table):
                owner.restore(name, old)
            elif old is not ABSENT:
                object.__setattr__(owner, name, old)


class Recorded:
    """An object whose every assignment can be undone; values are immutable."""

    __slots__ = ("journal",)

    journal: Journal

    def __init__(self, journal: Journal, **values: Any) -> None:
        object.__setattr__(self, "journal", journal)
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        self.journal.entries.append((self, name, getattr(self, name, ABSENT)))
        object.__setattr__(self, name, value)


class Table(dict[K, V]):
    """A dict whose every change can be undone; it is always read in sorted order."""

    def __init__(self, journal: Journal) -> None:
        super().__init__()
        self.journal = journal

    def __setitem__(self, key: K, value: V) -> None:
        self.journal.entries.append((self, key, self.get(key, ABSENT)))
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        self.journal.entries.append((self, key, self[key]))
        super().__delitem__(key)

    def restore(self, key: K, old: Any) -> None:
        if old is ABSENT:
            super().__delitem__(key)
        else:
            super().__setitem__(key, old)


class Leg(Recorded):
    """One position of a unit (U4) and the ids of the unit's live orders on that contract."""

    __slots__ = ("contract", "cost", "cost0", "leverage", "orders", "qty")

    contract: int
    qty: int
    cost: int
    cost0: int
    leverage: int
    orders: tuple[int, ...]

    def __init__(self, journal: Journal, contract: int, leverage: int = 0) -> None:
        super().__init__(journal, contract=contract, qty=0, cost=0, cost0=0, leverage=leverage,
                         orders=())


class Unit(Recorded):
    """A main account (isolation_id 0) or an isolated block."""

    __slots__ = ("account", "cash", "contract", "forfeits", "is_block", "isolation_id", "kept",
                 "key", "legs", "leverage", "margin_call", "order_cash", "order_usdc",
                 "session_pnl", "state", "usdc")

    account: int
    isolation_id: int
    key: Key
    is_block: bool
    contract: int
    leverage: int
    state: int
    cash: int
    order_cash: int
    usdc: int        # a block's own, in kind (A4); a main account's is its Account's
    order_usdc: int  # what the block's orders hold of it
    session_pnl: int
    kept: int
    margin_call: int
    forfeits: int  # its orders end without their money: it is being liquidated
    legs: Table[int, Leg]

    def __init__(self, journal: Journal, account: int, isolation_id: int = 0,
                 contract: int = NO_CONTRACT, leverage: int = 0) -> None:
        super().__init__(
            journal, account=account, isolation_id=isolation_id, key=(account, isolation_id),
            is_block=isolation_id != 0, contract=contract, leverage=leverage,
            state=BlockState.PENDING if isolation_id else BlockState.MAIN,
            cash=0, order_cash=0, usdc=0, order_usdc=0, session_pnl=0, kept=0, margin_call=0,
            forfeits=0, legs=Table(journal))
        if isolation_id:
            self.legs[contract] = Leg(journal, contract, leverage)

    def positions(self) -> list[Leg]:
        """Legs with a position, by contract."""
        return [self.legs[c] for c in sorted(self.legs) if self.legs[c].qty]

    @property
    def order(self) -> tuple[int, int]:
        """Unit order: main accounts by account, then blocks by isolation id."""
        return (1, self.isolation_id) if self.is_block else (0, self.account)

    @property
    def lock(self) -> int:
        """Profit that may not leave the venue yet (C5)."""
        return max(0, self.session_pnl) + self.kept


class Order(Recorded):
    """A live order and the money it holds (C3)."""

    __slots__ = ("accept_mark", "account", "client_order_id", "contract", "exec_flags",
                 "expiry_ns", "explicit", "extra", "filled", "isolation_id", "left", "leverage",
                 "link", "order_id", "price", "reserve", "reserved_total", "reserved_used",
                 "resting", "side", "size", "stp", "time_in_force", "trigger_by", "trigger_price",
                 "trigger_type", "usdc")

    order_id: int
    account: int
    isolation_id: int
    contract: int
    side: int
    price: int
    left: int
    filled: int
    client_order_id: int
    time_in_force: int
    exec_flags: int
    stp: int
    expiry_ns: int
    resting: bool
    link: int  # the order that ends with this one, or 0
    # While it is dormant: its type, the price that wakes it, and of what; else 0.
    trigger_type: int
    trigger_price: int
    trigger_by: int
    # The reserve: MR' is the rate at `size` and `leverage`; price and mark as at acceptance.
    leverage: int
    accept_mark: int
    size: int
    reserved_total: int
    reserved_used: int
    reserve: int
    usdc: int  # the part of the reserve that is USDC (policy block_collateral)
    extra: int
    explicit: int

    @property
    def key(self) -> Key:
        return (self.account, self.isolation_id)

    @property
    def reserved(self) -> int:
        """Reserved lots left: only these may open."""
        return self.reserved_total - self.reserved_used

    @property
    def unreserved(self) -> int:
        return self.left - self.reserved

    @property
    def rises(self) -> bool:
        return fires_on_rise(self.trigger_type, self.side)

    @property
    def sign(self) -> int:
        return 1 if self.side == Side.BUY else -1


def fires_on_rise(trigger_type: int, side: int) -> bool:
    """Whether a dormant order waits for its reference to rise, or to fall."""
    is_stop = trigger_type in (OrderType.STOP_LOSS, OrderType.STOP_LIMIT)
    return is_stop == (side == Side.BUY)


class Account(Recorded):
    """What an owner has beside units: USDC, a profile, the ids of open blocks, a statistic."""

    __slots__ = ("blocks", "cancel_after_ns", "deficit", "profile", "usdc")

    usdc: int
    profile: int
    deficit: int
    cancel_after_ns: int  # when all its orders end, 0: never
    blocks: tuple[int, ...]

    def __init__(self, journal: Journal) -> None:
        super().__init__(journal, usdc=0, profile=0, deficit=0, cancel_after_ns=0, blocks=())


class Market(Recorded):
    """The part of a contract that changes: mark, state, inventory, book."""

    __slots__ = ("funding_pending", "index", "inventory_cost", "inventory_qty", "last_price",
                 "levels", "mark", "mark_time_ns", "number", "state", "sub_fund", "terms")

    number: int
    terms: Contract
    mark: int
    mark_time_ns: int
    last_price: int
    index: int  # the contract's own, on its mark grid; 0: none
    state: int
    funding_pending: int | None
    inventory_qty: int
    inventory_cost: int
    sub_fund: int  # what the fund keeps for this contract alone (S1), never below 0
    levels: dict[int, Table[int, tuple[int, ...]]]

    def __init__(self, journal: Journal, number: int, terms: Contract) -> None:
        super().__init__(journal, number=number, terms=terms, mark=0, mark_time_ns=0, last_price=0,
                         index=0, state=0, funding_pending=None, inventory_qty=0, inventory_cost=0,
                         sub_fund=0, levels={Side.BUY: Table(journal), Side.SELL: Table(journal)})


@dataclass(frozen=True, slots=True)
class Change:
    """A state that may come to be: a unit with one leg, its cash and its USDC changed."""

    contract: int
    qty: int
    cost: int
    cash_delta: int
    usdc_delta: int = 0


#: Policy -> the largest value that the venue knows.
LARGEST_POLICY = {
    "haircut_in": 1, "block_collateral": 1, "removal": 1, "partial_close": 1, "isolated_flip": 2,
    "liquidation_limit": 1, "order_margin_in_liquidation": 1, "backstop": 1, "adl_rank": 2,
    "adl_price": 1, "surplus_to": 1, "deficit": 1, "socialize_by": 1, "socialized_loss": 1,
    "unlock_requires": 1, "unlock_at": 1, "fund_by_contract": 1,
}


def validate(terms: VenueTerms) -> None:
    """Policies that the venue does not know are refused before the first command."""
    for name, largest in LARGEST_POLICY.items():
        if not 0 <= getattr(terms, name) <= largest:
            raise ValueError(f"venue refused: {name} is 0 to {largest}")
    if any(terms.spare) or terms.cover_limit_units < 0:
        raise ValueError("venue refused: spare bytes are 0, a cover limit is not negative")


class State(Recorded):
    """The whole venue: scalars, accounts, units, orders, markets, events of the command."""

    __slots__ = ("accounts", "carried", "conversion", "deposits", "done", "events", "excess",
                 "fees", "fund", "index", "inventory_cash", "markets", "next_isolation_id",
                 "orders", "paid", "seq", "session", "time_ns", "touched", "units", "venue",
                 "withdrawals")

    venue: VenueTerms
    seq: int
    time_ns: int
    session: int
    next_isolation_id: int
    index: int
    fund: tuple[int, int]
    fees: int
    conversion: tuple[int, int]
    deposits: tuple[int, int]
    withdrawals: tuple[int, int]
    carried: int
    paid: int    # by the fund for negative cash, in this session (S1)
    excess: int  # of what it paid over its limit, still to be shared
    inventory_cash: int
    accounts: Table[int, Account]
    units: Table[Key, Unit]
    orders: Table[int, Order]
    markets: list[Market]
    # Of the command in hand: its events, whom it touched, whom it liquidated.
    events: list[Event]
    touched: set[Key]
    done: set[Key]

    def __init__(self, terms: VenueTerms) -> None:
        validate(terms)
        journal = Journal()
        opening = tuple(terms.fund_opening_units)
        super().__init__(
            journal, venue=terms, seq=0, time_ns=0, session=1, next_isolation_id=1, index=0,
            fund=opening, fees=0, conversion=(0, 0), deposits=opening, withdrawals=(0, 0),
            carried=0, paid=0, excess=0, inventory_cash=0, accounts=Table(journal),
            units=Table(journal), orders=Table(journal), markets=[], events=[], touched=set(),
            done=set())

    def emit_unit(self, kind: int, unit: Unit, contract: int = NO_CONTRACT, **values: int) -> None:
        self.events.append(Event(self.seq, kind, unit.account, contract, unit.isolation_id,
                                 **values))

    def emit_venue(self, kind: int, contract: int = NO_CONTRACT, **values: int) -> None:
        self.events.append(Event(self.seq, kind, NONE, contract, **values))

    def touch(self, unit: Unit) -> None:
        """The unit changed: the next round looks at it."""
        self.touched.add(unit.key)

    def main(self, account: int) -> Unit:
        return self.units[(account, 0)]

    def unit_of(self, order: Order) -> Unit:
        return self.units[order.key]

    def blocks_of(self, account: int) -> list[Unit]:
        return [self.units[(account, i)] for i in sorted(self.accounts[account].blocks)]

    def units_of(self, account: int) -> list[Unit]:
        return [self.main(account), *self.blocks_of(account)]

    def leg(self, unit: Unit, contract: int) -> Leg:
        """The unit's leg on a contract, made when it has none."""
        if contract not in unit.legs:
            unit.legs[contract] = Leg(self.journal, contract)
        return unit.legs[contract]

    def orders_of(self, unit: Unit, contract: int | None = None) -> list[Order]:
        """The unit's live orders by id, on one contract or on all."""
        legs = unit.legs.values() if contract is None else (
            [unit.legs[contract]] if contract in unit.legs else [])
        return [self.orders[i] for i in sorted(i for leg in legs for i in leg.orders)]

    def account_orders(self, account: int) -> list[Order]:
        found = [o for unit in self.units_of(account) for o in self.orders_of(unit)]
        return sorted(found, key=lambda order: order.order_id)

    def units_by_account(self) -> list[Unit]:
        """Each main account, then its blocks, oldest first: the order of funding and settlement."""
        return [self.units[key] for key in sorted(self.units)]

    def holders(self, contract: int) -> Iterator[Unit]:
        """Units with a position on the contract, by account; the inventory is not one."""
        for unit in self.units_by_account():
            leg = unit.legs.get(contract)
            if leg is not None and leg.qty:
                yield unit

    def require_room(self, units: int = 0, legs: int = 0, orders: int = 0) -> None:
        """50001. A main account keeps the leg of a contract that it once used."""
        used_legs = sum(len(unit.legs) for unit in self.units.values())
        if ((units and len(self.units) + units > self.venue.unit_capacity)
                or (legs and used_legs + legs > self.venue.leg_capacity)
                or (orders and len(self.orders) + orders > self.venue.order_capacity)):
            raise Refused(Code.CAPACITY)

    @property
    def whole_fund(self) -> int:
        """USD of the shared fund and of every contract's (S5)."""
        return self.fund[0] + sum(market.sub_fund for market in self.markets)

    def require_mark(self, contract: int) -> None:
        """O4: 207 without a mark, 222 with a stale one."""
        market = self.markets[contract]
        stale_after = market.terms.terms.stale_after_ns
        if market.mark == 0:
            raise Refused(Code.NO_MARK_PRICE)
        if stale_after and self.time_ns - market.mark_time_ns > stale_after:
            raise Refused(Code.STALE_MARK_PRICE)
