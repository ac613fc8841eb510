"""Folds events into every balance, without an engine: `perpcore verify EVENTS.parquet`.

A reader who does not trust the venue keeps its books again, from nothing but the events (SPEC L2):
cash of every account and block, positions with their exact cost, the fund, its inventory, fees. At
each event the balance that the venue states is compared with the book's; after each command the
ledger identity (L1) must hold. What the venue may not invent is worked out: the profit of a close
from its fills, the roll of a session from its mark, what a take-over costs, a block's life, the
lots that an order has left.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from perpcore.codes import BlockState, EventKind, FillFlag, Ledger, Reason, Scope, Side
from perpcore.prices import InputError
from perpcore.records import EVENT, NO_ACCOUNT

#: seq, account, contract, code, isolation_id, kind, reason, ledger, flags, order_id, price_ticks,
#: qty_lots, amount_units, balance_units: the fields of EVENT in their order.
Row = Sequence[int]
#: A main account (account, 0), a block (0, isolation_id), the fund's inventory, or for its own
#: part of the fund a contract (contract, 0).
Unit = tuple[int, int]
NAMES: tuple[str, ...] = EVENT.names or ()
INVENTORY: Unit = (NO_ACCOUNT, 0)
MODULUS = 1 << 64
E9 = 10**9
MAIN_LEDGERS = frozenset({Ledger.MAIN_USD, Ledger.MAIN_USDC})
BLOCK_USDC = frozenset({Ledger.BLOCK_POSITION_USDC, Ledger.BLOCK_ORDER_USDC})
BLOCK_LEDGERS = frozenset({Ledger.BLOCK_POSITION, Ledger.BLOCK_ORDER}) | BLOCK_USDC
FUND_LEDGERS = frozenset({Ledger.FUND_USD, Ledger.FUND_USDC})
USDC_LEDGERS = BLOCK_USDC | {Ledger.MAIN_USDC, Ledger.FUND_USDC, Ledger.CONVERSION_USDC}
#: Balances that no rule lets fall below 0 (A4, S1).
NEVER_NEGATIVE = BLOCK_USDC | {Ledger.MAIN_USDC, Ledger.SUB_FUND}

#: What a block may become from what it is (I1); NO_BLOCK: an id that was never used.
NEXT = {
    EventKind.BLOCK_PENDING: (BlockState.PENDING, {BlockState.NO_BLOCK, BlockState.OPEN,
                                                   BlockState.LIQUIDATING}),
    EventKind.BLOCK_OPEN: (BlockState.OPEN, {BlockState.PENDING, BlockState.OPEN,
                                             BlockState.LIQUIDATING}),
    EventKind.BLOCK_LIQUIDATING: (BlockState.LIQUIDATING, {BlockState.PENDING, BlockState.OPEN}),
    EventKind.BLOCK_CLOSED: (BlockState.CLOSED, {BlockState.PENDING, BlockState.OPEN,
                                                 BlockState.LIQUIDATING}),
}


class Misfit(Exception):
    """An event that does not follow from the ones before it."""


def ceil_div(numerator: int, denominator: int) -> int:
    """Toward plus infinity; the denominator is positive."""
    return -(-numerator // denominator)


def expect(holds: bool, problem: str) -> None:
    if not holds:
        raise Misfit(problem)


@dataclass
class Position:
    """Signed lots and their exact cost in money units (U4)."""

    lots: int = 0
    cost: int = 0

    def trade(self, lots: int, cost: int) -> int:
        """Take signed lots at a signed cost; returns the profit of what that closes.

        Opposite lots release ceil(C k / |Q|); here the new lots are money, so that theirs is exact.
        """
        if self.lots == 0 or (self.lots > 0) == (lots > 0):
            self.lots += lots
            self.cost += cost
            return 0
        expect(abs(lots) <= abs(self.lots), "a fill crosses zero")
        released = ceil_div(self.cost * abs(lots), abs(self.lots))
        self.lots += lots
        self.cost -= released
        return -cost - released

    def meet(self, lots: int, cost: int) -> int:
        """The inventory takes a position at its cost: opposite lots meet, each release ceiled."""
        if self.lots == 0 or (self.lots > 0) == (lots > 0):
            return self.trade(lots, cost)
        met = min(abs(self.lots), abs(lots))
        old = ceil_div(self.cost * met, abs(self.lots))
        new = ceil_div(cost * met, abs(lots))
        kept = 1 if lots > 0 else -1
        self.lots -= met if self.lots > 0 else -met
        self.cost -= old
        if abs(lots) > met:
            self.lots, self.cost = self.lots + lots - kept * met, self.cost + cost - new
        return -old - new


@dataclass
class Market:
    """What events tell of a contract."""

    mark: int = 0
    rate_e9: int | None = None  # kept for the next settlement
    now: tuple[int, int] = (0, 0)  # of the last one paid at once: number of its command, rate
    notional_units: int = 0  # of one lot at order price 1; 0: not known yet
    value_units: int = 0  # of one lot at mark 1; 0: not known yet


@dataclass
class Fold:
    """The books. `take` an event at a time; `finish` when there are no more."""

    balances: dict[tuple[int, Unit], int] = field(default_factory=dict)
    positions: dict[tuple[Unit, int], Position] = field(default_factory=dict)
    markets: dict[int, Market] = field(default_factory=lambda: defaultdict(Market))
    blocks: dict[int, BlockState] = field(default_factory=dict)
    orders: dict[int, int] = field(default_factory=dict)  # lots left
    triggered: set[int] = field(default_factory=set)  # orders between TRIGGERED and what follows
    owed: dict[tuple[Unit, int], int] = field(default_factory=dict)  # profit not yet booked
    paid_fund: dict[Unit, int] = field(default_factory=lambda: defaultdict(int))
    take_over: dict[tuple[Unit, int], int] = field(default_factory=dict)
    called: set[int] = field(default_factory=set)
    traded: set[tuple[Unit, int]] = field(default_factory=set)  # blocks, by the command in hand
    open_lots: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    counts: Counter[str] = field(default_factory=Counter)
    refusals: Counter[int] = field(default_factory=Counter)
    opening: dict[int, int] = field(default_factory=dict)  # fund ledgers, before the first event
    fund_lowest: int | None = None
    fees: int = 0
    residual: list[int] = field(default_factory=lambda: [0, 0])  # USD, USDC (L1)
    deposits: list[int] = field(default_factory=lambda: [0, 0])
    withdrawals: list[int] = field(default_factory=lambda: [0, 0])
    shared: int = 0  # of the command in hand: what the fund got from winners
    loss: int = 0  # and its uncovered loss, and what of that is carried on
    carried: int = 0
    seq: int = 0
    accounts: int = 0
    sessions: int = 0
    events: int = 0

    # ---- one event

    def take(self, row: Row) -> None:
        """Raises Misfit when the event does not fit."""
        if row[0] != self.seq:
            expect(row[0] > self.seq, "a command's number goes back")
            self.end_command()
            self.seq = row[0]
        step = STEPS.get(row[5])
        expect(step is not None, "no such kind of event")
        if step is not None:
            step(self, row)
        self.events += 1

    def end_command(self) -> None:
        """What holds between commands: L1 in both currencies, nothing left to be booked."""
        expect(not self.owed, f"the profit of {first(self.owed)} was not booked in full")
        expect(not self.take_over, f"the take-over of {first(self.take_over)} was not booked")
        expect(not any(self.residual), f"L1 is off by {self.residual} units (USD, USDC)")
        expect(not any(self.open_lots.values()), "the positions of a contract do not sum to 0")
        for unit, contract in self.traded:
            state = self.blocks[unit[1]]
            held = self.positions.get((unit, contract), Position())
            expect((held.lots != 0) == (state == BlockState.OPEN),
                   f"block {unit[1]} is {state.name} with {held.lots} lots")
        self.traded.clear()
        self.paid_fund.clear()
        self.shared = 0

    def finish(self) -> None:
        self.end_command()
        for number, state in self.blocks.items():
            expect(state != BlockState.LIQUIDATING, f"block {number} is left in liquidation")

    def unit_of(self, row: Row) -> Unit:
        """Whose event it is; a closed block has no more of them."""
        if row[4]:
            expect(self.blocks.get(row[4]) not in (None, BlockState.CLOSED),
                   f"block {row[4]} is not open")
            return 0, row[4]
        return (row[1], 0)

    def position(self, unit: Unit, contract: int) -> Position:
        return self.positions.setdefault((unit, contract), Position())

    def owe(self, unit: Unit, contract: int, profit: int) -> None:
        """The next REALIZED_PNL of this unit and contract must be this."""
        expect((unit, contract) not in self.owed, "the last profit of this unit was not booked")
        if profit:
            self.owed[unit, contract] = profit

    # ---- trades

    def fill(self, row: Row) -> None:
        contract, flags, order_id, price, lots, notional = (
            row[2], row[8], row[9], row[10], row[11], row[12])
        market = self.markets[contract]
        expect(lots > 0 and price > 0, "a fill needs lots and a price")
        if not market.notional_units:
            market.notional_units = notional // (lots * price)
        expect(notional == lots * price * market.notional_units, "notional is not lots x price")
        side = 1 if flags >> 4 == Side.BUY else -1
        expect(flags >> 4 in (Side.BUY, Side.SELL), "a fill needs a side")
        unit = self.unit_of(row)
        held = self.position(unit, contract)
        if row[4]:
            self.traded.add((unit, contract))
        self.open_lots[contract] += side * lots
        self.residual[0] += held.cost
        self.owe(unit, contract, held.trade(side * lots, side * notional))
        self.residual[0] -= held.cost
        if order_id:
            left = self.orders.get(order_id, 0) - lots
            expect(left >= 0, f"order {order_id} has not so many lots left")
            self.orders[order_id] = left
        else:
            expect(flags & (FillFlag.FILL_LIQUIDATION | FillFlag.FILL_WORK_OFF) != 0,
                   "a fill of no order")

    def deleveraged(self, row: Row) -> None:
        """Both sides of a pair close at one price, the liquidated one first (Q4)."""
        contract, price, lots, notional = row[2], row[10], row[11], row[12]
        market, unit = self.markets[contract], self.unit_of(row)
        self.value_of(market, abs(lots), price, notional)
        held = self.position(unit, contract)
        if row[4]:
            self.traded.add((unit, contract))
        self.open_lots[contract] -= lots
        self.residual[0] += held.cost
        self.owe(unit, contract, held.trade(-lots, -notional if lots > 0 else notional))
        self.residual[0] -= held.cost
        self.counts["deleveraged"] += 1

    def taken_over(self, row: Row) -> None:
        contract, mark, lots, cost = row[2], row[10], row[11], row[12]
        unit = self.unit_of(row)
        held, market = self.position(unit, contract), self.markets[contract]
        expect(mark == market.mark, f"a take-over at {mark}, while the mark is {market.mark}")
        expect(lots != 0 and (held.lots > 0) == (lots > 0) and abs(lots) <= abs(held.lots),
               f"a take-over of {lots} lots from a position of {held.lots}")
        inventory = self.position(INVENTORY, contract)
        self.residual[0] += held.cost + inventory.cost
        cash = self.balances.get((Ledger.BLOCK_POSITION, unit), 0)
        expect(not row[4] or lots == held.lots, "a block is taken over whole (Q4)")
        if row[4] and cost == held.cost - cash:
            held.lots = held.cost = 0
            if cash:
                self.take_over[unit, contract] = -cash
        else:  # at the mark: a main account, or a block whose surplus is its owner's (Q6)
            self.value_at_mark(market, lots, cost)
            self.owe(unit, contract, held.trade(-lots, -cost))
        self.owe(INVENTORY, contract, inventory.meet(lots, cost))
        self.residual[0] -= held.cost + inventory.cost
        self.counts["taken over"] += 1

    def value_at_mark(self, market: Market, lots: int, value: int) -> None:
        self.value_of(market, lots, market.mark, value)

    def value_of(self, market: Market, lots: int, mark: int, value: int) -> None:
        """`value` is lots x v x mark, v whole and always the same."""
        if not market.value_units and lots * mark:
            market.value_units = value // (lots * mark)
        expect(value == lots * market.value_units * mark,
               f"{lots} lots at the mark {mark} are not {value} units")

    # ---- money

    def balance(self, row: Row) -> None:
        reason, ledger, amount = row[6], row[7], row[12]
        unit: Unit = (0, 0)
        if ledger in BLOCK_LEDGERS:
            unit = self.unit_of(row)
            expect(row[4] != 0, "a block's ledger without a block")
        elif ledger in MAIN_LEDGERS:
            unit = (row[1], 0)
            expect(row[1] < self.accounts, "an account that was not opened")
        elif ledger == Ledger.SUB_FUND:
            unit = (row[2], 0)  # a contract's own
        place = (ledger, unit)
        before = self.balances.get(place)
        if before is None:
            before = 0
            if ledger in FUND_LEDGERS:
                before = self.open_fund(ledger, signed(row[13]) - amount)
        self.balances[place] = after = before + amount
        expect(amount != 0, "a balance event that changes nothing")
        expect((after - row[13]) % MODULUS == 0,
               f"{Ledger(ledger).name} is {after} by the fold, {row[13]} by the event")
        expect(after >= 0 or ledger not in NEVER_NEGATIVE,
               f"{Ledger(ledger).name} would be {after}")
        self.residual[ledger in USDC_LEDGERS] += amount
        if ledger == Ledger.FUND_USD:
            self.fund_lowest = min(after, after if self.fund_lowest is None else self.fund_lowest)
        self.explain(reason, ledger, unit, row)

    def open_fund(self, ledger: int, units: int) -> int:
        """Openings come before the first command and have no event."""
        return self.opening.setdefault(ledger, units)

    def explain(self, reason: int, ledger: int, unit: Unit, row: Row) -> None:
        """What this reason may do to this ledger; keeps L1's sum."""
        amount, usdc = row[12], ledger in USDC_LEDGERS
        if reason == Reason.R_REALIZED_PNL:
            self.realized(INVENTORY if ledger == Ledger.INVENTORY else unit, row)
        elif reason == Reason.R_TRADE_FEE:
            expect(amount < 0, "a trading fee is paid, never received")
            self.fees -= amount
            self.residual[0] -= amount
        elif reason == Reason.R_DEPOSIT:
            expect(amount > 0, "a deposit adds")
            self.deposits[usdc] += amount
            self.residual[usdc] -= amount
        elif reason == Reason.R_WITHDRAW:
            expect(amount < 0, "a withdrawal takes")
            self.withdrawals[usdc] -= amount
            self.residual[usdc] -= amount
        elif reason == Reason.R_TAKE_OVER:
            wanted = self.take_over.pop((unit, row[2]), 0)
            expect(amount == wanted, f"the take-over leaves {wanted} units, not {amount}")
        elif reason == Reason.R_INSURANCE_FUND:
            if ledger not in FUND_LEDGERS and ledger != Ledger.SUB_FUND:
                self.paid_fund[unit] -= amount
        elif reason == Reason.R_FUNDING:
            self.funding(INVENTORY if ledger == Ledger.INVENTORY else unit, row)
        elif reason == Reason.R_SOCIALIZED_LOSS and ledger == Ledger.FUND_USD:
            self.shared += amount
        elif reason in (Reason.R_ADJUSTMENT, Reason.NO_REASON):
            raise Misfit("no rule books this reason")

    def realized(self, unit: Unit, row: Row) -> None:
        """The profit of a close that the fold expects, or else a session's roll to the mark."""
        contract, amount = row[2], row[12]
        wanted = self.owed.pop((unit, contract), None)
        if wanted is None:
            held = self.positions.get((unit, contract), Position())
            expect(held.lots != 0, "a profit without a close or a position")
            held.cost += amount
            self.residual[0] -= amount
            self.value_at_mark(self.markets[contract], held.lots, held.cost)
            wanted = amount
            self.counts["rolls"] += 1
        expect(amount == wanted, f"the profit is {wanted} units by the fold, {amount} by the event")

    def funding(self, unit: Unit, row: Row) -> None:
        """F1: the payer pays the ceiling, a receiver gets the floor."""
        market, amount = self.markets[row[2]], row[12]
        held = self.positions.get((unit, row[2]), Position())
        rate = market.now[1] if market.now[0] == row[0] else market.rate_e9
        expect(held.lots != 0 and rate is not None, "funding without a position or a rate")
        if market.value_units:
            owed = held.lots * market.value_units * market.mark * (rate or 0)
            expect(amount == -owed // E9, f"funding is {-owed // E9} units, not {amount}")

    # ---- orders and blocks

    def accepted(self, row: Row) -> None:
        expect(row[9] not in self.orders, f"order {row[9]} was accepted before")
        expect(row[9] == row[0] or row[9] in self.triggered,
               "an order's id is the number of its command (O2)")
        self.triggered.discard(row[9])
        expect(row[11] > 0, "an order needs lots")
        self.orders[row[9]] = row[11]
        self.counts["orders"] += 1

    def woken(self, row: Row) -> None:
        """A conditional order becomes one, under its own id: accepted again, or cancelled."""
        expect(self.orders.get(row[9]) == row[11], f"order {row[9]} has not {row[11]} lots left")
        del self.orders[row[9]]
        self.triggered.add(row[9])

    def amended(self, row: Row) -> None:
        expect(row[9] in self.orders, f"order {row[9]} is not known")
        self.orders[row[9]] = row[11]

    def cancelled(self, row: Row) -> None:
        left = self.orders.pop(row[9], None)
        if row[9] in self.triggered:
            self.triggered.discard(row[9])
            return
        expect(left == row[11], f"order {row[9]} has {left} lots left, not {row[11]}")

    def block(self, row: Row) -> None:
        becomes, allowed = NEXT[EventKind(row[5])]
        number = row[4]
        was = self.blocks.get(number, BlockState.NO_BLOCK)
        expect(was in allowed, f"block {number} cannot go from {was.name} to {becomes.name}")
        if was == BlockState.NO_BLOCK:
            expect(number == len(self.blocks) + 1, "isolation ids are given in order (I1)")
        self.blocks[number] = becomes
        unit, held = (0, number), self.positions.get(((0, number), row[2]), Position())
        expect((held.lots != 0) == (becomes == BlockState.OPEN)
               or becomes == BlockState.LIQUIDATING,
               f"block {number} is {becomes.name} with {held.lots} lots")
        if becomes == BlockState.CLOSED:
            for ledger in BLOCK_LEDGERS:
                expect(self.balances.pop((ledger, unit), 0) == 0, f"block {number} has cash left")
            self.positions.pop((unit, row[2]), None)
            self.counts["blocks closed"] += 1

    # ---- liquidation and session

    def margin_call(self, row: Row) -> None:
        expect(row[1] not in self.called, "the account is in a margin call already")
        self.called.add(row[1])
        self.counts["margin calls"] += 1

    def call_cleared(self, row: Row) -> None:
        expect(row[1] in self.called, "the account is in no margin call")
        self.called.discard(row[1])

    def liquidated(self, row: Row) -> None:
        unit = self.unit_of(row)
        paid = self.paid_fund.pop(unit, 0)
        expect(paid == row[12], f"the fund gained {paid} units, not {row[12]} (Q6)")
        self.counts["isolated liquidations" if row[4] else "cross liquidations"] += 1

    def uncovered(self, row: Row) -> None:
        fund = self.balances.get((Ledger.FUND_USD, (0, 0)), 0)
        expect(row[12] >= max(1, -fund), f"the fund is {fund}, the uncovered loss {row[12]} (S4)")
        self.loss, self.carried, self.shared = row[12], row[13], 0

    def settled(self, row: Row) -> None:
        """Every position stands at the session's mark, and the fund is as stated (S3)."""
        self.sessions += 1
        expect(row[11] == self.sessions, f"this is the end of session {self.sessions}")
        for (_, contract), held in self.positions.items():
            if held.lots:
                self.value_at_mark(self.markets[contract], held.lots, held.cost)
        fund = self.balances.get((Ledger.FUND_USD, (0, 0)), self.opening.get(Ledger.FUND_USD))
        expect(fund is None or (fund - row[13]) % MODULUS == 0, f"the fund is {fund} by the fold")
        expect(row[12] == self.loss, f"the uncovered loss was {self.loss}")
        expect(self.shared >= self.loss - self.carried, "less was shared than the loss (S4)")
        self.loss = self.carried = 0
        self.counts["socialized units"] += self.shared
        for market in self.markets.values():
            market.rate_e9 = None
        self.paid_fund.clear()

    # ---- the venue's own

    def marked(self, row: Row) -> None:
        expect(row[10] > 0, "a mark needs a price")
        self.markets[row[2]].mark = row[10]

    def funding_set(self, row: Row) -> None:
        market = self.markets[row[2]]
        if row[8] == Scope.FUNDING_NOW:
            market.now = row[0], row[10]
        else:
            market.rate_e9 = row[10]

    def account_opened(self, row: Row) -> None:
        expect(row[1] == self.accounts, "accounts are numbered in the order of their opening")
        self.accounts += 1

    def refused(self, row: Row) -> None:
        expect(row[3] != 0, "a refusal needs a code")
        self.refusals[row[3]] += 1

    def nothing(self, row: Row) -> None:
        """A kind that moves no money and no position."""

    # ---- what comes out

    def total(self, *ledgers: int) -> int:
        return sum(units for (ledger, _), units in self.balances.items() if ledger in ledgers)

    def state_hash(self) -> str:
        """Over all balances, positions, open blocks and live orders, in a canonical order."""
        parts = [
            sorted([*place, units] for place, units in flat(self.balances)),
            sorted([*unit, contract, held.lots, held.cost]
                   for (unit, contract), held in self.positions.items() if held.lots),
            sorted([number, int(state)] for number, state in self.blocks.items()
                   if state != BlockState.CLOSED),
            sorted([number, lots] for number, lots in self.orders.items() if lots),
            [self.fees, self.deposits, self.withdrawals, self.sessions],
        ]
        text = json.dumps(parts, separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


STEPS: dict[int, Callable[[Fold, Row], None]] = dict.fromkeys(map(int, EventKind), Fold.nothing)
STEPS |= {
    EventKind.ACCEPTED: Fold.accepted,
    EventKind.REJECT: Fold.refused,
    EventKind.FILL: Fold.fill,
    EventKind.CANCELLED: Fold.cancelled,
    EventKind.AMENDED: Fold.amended,
    EventKind.BALANCE: Fold.balance,
    **dict.fromkeys(NEXT, Fold.block),
    EventKind.DELEVERAGED: Fold.deleveraged,
    EventKind.TRIGGERED: Fold.woken,
    EventKind.MARGIN_CALL: Fold.margin_call,
    EventKind.MARGIN_CALL_CLEARED: Fold.call_cleared,
    EventKind.LIQUIDATED: Fold.liquidated,
    EventKind.TAKEN_OVER: Fold.taken_over,
    EventKind.MARKED: Fold.marked,
    EventKind.FUNDING_SET: Fold.funding_set,
    EventKind.SESSION_SETTLED: Fold.settled,
    EventKind.LOSS_UNCOVERED: Fold.uncovered,
    EventKind.ACCOUNT_OPENED: Fold.account_opened,
}


def signed(word: int) -> int:
    """A 64-bit word as a number with a sign."""
    word %= MODULUS
    return word - MODULUS if word >> 63 else word


def first(mapping: dict[tuple[Unit, int], int]) -> str:
    for (unit, contract), units in mapping.items():
        who = f"block {unit[1]}" if unit[1] else (
            "the inventory" if unit == INVENTORY else f"account {unit[0]}")
        return f"{who} on contract {contract}, {units} units,"
    return ""


def flat(balances: dict[tuple[int, Unit], int]) -> Iterator[tuple[list[int], int]]:
    return (([int(ledger), *unit], units) for (ledger, unit), units in balances.items() if units)


@dataclass(frozen=True)
class Finding:
    """The first event that does not fit: its row in the file (from 0) and why."""

    row: int
    event: Row | None
    problem: str

    def __str__(self) -> str:
        if self.event is None:
            return f"after the last event: {self.problem}"
        kind = self.event[5]
        name = EventKind(kind).name if kind in set(EventKind) else str(kind)
        shown = ", ".join(f"{key}={value}" for key, value in zip(NAMES, self.event, strict=True)
                          if value and key not in ("seq", "kind"))
        return f"row {self.row}, command {self.event[0]}, {name} ({shown}): {self.problem}"


def fold_events(rows: Iterable[Row], fold: Fold) -> Finding | None:
    """Fold all events, in order; the first that does not fit ends it."""
    begun, row = fold.events, None
    try:
        for row in rows:
            fold.take(row)
        row = None
        fold.finish()
    except Misfit as misfit:
        return Finding(fold.events - begun, row, str(misfit))
    return None


# ---- files


def read_rows(path: Path) -> Iterator[Row]:
    """The events of a file that `perpcore cascade --out` wrote, batch by batch."""
    import pyarrow as pa
    from pyarrow import parquet

    cure = "give the events.parquet that perpcore cascade --out writes"
    if not path.is_file():
        raise InputError(str(path), "is not a file", cure)
    try:
        file = parquet.ParquetFile(path)
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), "is not a Parquet file", cure) from error
    missing = [name for name in NAMES if name not in file.schema_arrow.names]
    if missing:
        raise InputError(str(path), f"has no column {missing[0]}", cure)
    try:
        for batch in file.iter_batches(batch_size=1 << 16, columns=list(NAMES)):
            columns = [batch.column(name).to_pylist() for name in NAMES]
            if any(None in column for column in columns):
                raise InputError(str(path), "has an empty field", cure)
            yield from zip(*columns, strict=True)
    except (pa.ArrowException, OSError) as error:
        raise InputError(str(path), "is damaged", cure) from error


def read_summary(path: Path) -> dict[str, Any]:
    cure = "give the summary.json that perpcore cascade --out writes"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(str(path), "cannot be read", cure) from error
    except ValueError as error:
        raise InputError(str(path), "is not JSON", cure) from error
    if not isinstance(found, dict) or not {"fund", "events", "liquidations"} <= set(found):
        raise InputError(str(path), "is not a summary of a cascade", cure)
    return found


def against_summary(fold: Fold, summary: dict[str, Any]) -> list[str]:
    """Figures of the summary that the fold does not give."""
    found, fund = summary["liquidations"], summary["fund"]
    counted = {
        "events": (summary["events"], fold.events),
        "fund.start_usd": (units(fund["start_usd"]), fold.opening.get(Ledger.FUND_USD)),
        "fund.end_usd": (units(fund["end_usd"]),
                         fold.balances.get((Ledger.FUND_USD, (0, 0)))),
        "fund.minimum_usd": (units(fund["minimum_usd"]), None if fold.fund_lowest is None else min(
            fold.fund_lowest, fold.opening.get(Ledger.FUND_USD, fold.fund_lowest))),
        "liquidations.isolated": (found["isolated"], fold.counts["isolated liquidations"]),
        "liquidations.cross": (found["cross"], fold.counts["cross liquidations"]),
        "margin_calls": (summary["margin_calls"], fold.counts["margin calls"]),
        "sessions.settled": (summary["sessions"]["settled"], fold.sessions),
        "sessions.socialized_usd": (units(summary["sessions"]["socialized_usd"]),
                                    fold.counts["socialized units"]),
        "result.trading_fees_usd": (units(summary["result"]["trading_fees_usd"]), fold.fees),
    }
    wrong = [f"{name}: {stated} by the summary, {folded} by the fold"
             for name, (stated, folded) in counted.items()
             if folded is not None and stated != folded]
    stated = {int(name.split()[0]): count for name, count in summary["refusals"].items()}
    if stated != dict(fold.refusals):
        wrong.append(f"refusals: {stated} by the summary, {dict(fold.refusals)} by the fold")
    return wrong


def units(usd: str) -> int:
    """Decimal USD as money units."""
    return int(Decimal(usd) * 10**8)


def table_rows(fold: Fold) -> list[tuple[str, str]]:
    """(name, value) of what the events add up to."""

    def usd(amount: int) -> str:
        return f"{amount / 1e8:,.2f} USD"

    fund = fold.total(Ledger.FUND_USD) or fold.opening.get(Ledger.FUND_USD, 0)
    lots: dict[int, int] = defaultdict(int)
    for (_, contract), held in fold.positions.items():
        lots[contract] += max(0, held.lots)
    return [
        ("Events", f"{fold.events:,} of commands up to {fold.seq:,}"),
        ("Accounts", f"{fold.accounts:,}, with {usd(fold.total(Ledger.MAIN_USD))}"),
        ("Blocks", f"{len(fold.blocks):,}, {fold.counts['blocks closed']:,} of them closed, with "
         f"{usd(fold.total(Ledger.BLOCK_POSITION, Ledger.BLOCK_ORDER))}"),
        ("Orders", f"{fold.counts['orders']:,}, {sum(map(bool, fold.orders.values())):,} of them "
         "live"),
        ("Open interest", ", ".join(f"contract {number}: {count:,} lots"
                                    for number, count in sorted(lots.items())) or "none"),
        ("Liquidations", f"{fold.counts['isolated liquidations']:,} isolated, "
         f"{fold.counts['cross liquidations']:,} cross, {fold.counts['taken over']:,} take-overs"),
        ("Sessions", f"{fold.sessions:,}; socialized {usd(fold.counts['socialized units'])}"),
        ("Deposits, withdrawals", f"{usd(fold.deposits[0])}, {usd(fold.withdrawals[0])}"),
        ("Insurance fund", f"start {usd(fold.opening.get(Ledger.FUND_USD, 0))}, lowest "
         f"{usd(fold.fund_lowest or 0)}, end {usd(fund)}"),
        ("Trading fees", usd(fold.fees)),
        ("Refusals", f"{fold.refusals.total():,}"),
        ("L1", "0 units off in USD and USDC after every command"),
        ("Hash of the fold", fold.state_hash()),
    ]
