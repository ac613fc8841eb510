"""Named invariants, one home: what is true after every command, whoever applied it.

Each is a function of (command, events, before, after): the command record, the events that it
caused and the complete state (`dump()`) around it. A broken one raises AssertionError with its
name. Model and engine are held to the same ones.

| name | rule | what it says |
|---|---|---|
| ledger_identity | L1 | cash - cost + fees + fund + conversion = deposits - withdrawals |
| positions_cancel_out | L1 | per contract the sum of Q is 0 |
| events_fold_to_balances | L2 | the events of the command are the change of every balance |
| events_fold_to_positions | L2, U4 | lots and costs change by fills, take-overs and rolls only |
| refused_changes_nothing | O5 | a refusal leaves everything but clock and sequence number |
| nobody_is_liquidating | Q4 | no unit is LIQUIDATING when a command returns |
| only_named_units_change | Q7, I4 | a unit that no event names is bit-identical |
| main_pays_only_transfers | I4, I13, Q7 | a block takes from main by ISOLATED_TRANSFER alone |
| blocks_lose_what_moved_in | I13 | USDC too: it moves between one owner's units, or is converted |
| conversion_stays_in_its_unit | A4 | a unit's USD comes from its own USDC, at the index at most |
| sub_funds_pay_first | S1 | a contract's fund is not negative, and pays before the shared one |
| blocks_hold_their_orders | I2 | order_cash is the sum of the reserves of the block's orders |
| no_voluntary_deficit | O7 | no unit's cash is negative unless its position carries it |
| locked_profit_stays | C5, S5 | no withdrawal takes locked profit |

Below them are those that need more than one command and its state:

| name | rule | what it says |
|---|---|---|
| voluntary_acts_cost_the_fund_nothing | O7, Q5 | the fund pays for nobody's own command |
| no_threshold_is_overlooked | Q1, Q2 | index == exhaustive scan: every unit has MB >= MM |
| no_margin_call_is_overlooked | C4, Q2 | the same for reserved orders: MB >= IM |
| isolated_margin_is_not_available | C2, I4 | main's amounts come of main's own money alone |
| preview_is_the_result | X1 | a preview says what then happens, and leaves no trace |
| batch_split_does_not_matter | D1 | the same events and state however commands come |
| maximum_is_the_last_accepted | X2, I9 | a maximum is accepted, one unit more is refused |
| partial_closes_add_up | U4, I10 | closing in parts is closing at once, but for fees' ceilings |
| leverage_up_and_down_is_the_identity | C6, I6, I7 | and moves no money |
| adding_and_removing_is_the_identity | C5, I8, I9 | margin in and out again |
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reference.codes import BlockState, Done, Ev, Kind, Ledger, Reason
from reference.contract import Contract
from reference.units import NONE, covers, part_up, wrap64

Dump = dict[str, Any]
Key = tuple[int, int]
INVENTORY: Key = (NONE, 0)

# ---- reading a dump


def units_of(dump: Dump) -> dict[Key, dict[str, Any]]:
    """(account, isolation id) -> the unit's record: main accounts and open blocks."""
    found = {(a["account"], 0): a for a in dump["accounts"]}
    found.update({(b["account"], b["isolation_id"]): b for b in dump["blocks"]})
    return found


def positions_of(dump: Dump) -> dict[tuple[Key, int], tuple[int, int]]:
    """(unit, contract) -> (lots, cost), the inventory included."""
    found = {}
    for account in dump["accounts"]:
        for leg in account["legs"]:
            found[(account["account"], 0), leg["contract"]] = (leg["qty_lots"], leg["cost_units"])
    for block in dump["blocks"]:
        key = (block["account"], block["isolation_id"])
        found[key, block["contract"]] = (block["qty_lots"], block["cost_units"])
    for number, contract in enumerate(dump["contracts"]):
        found[INVENTORY, number] = (contract["inventory_lots"], contract["inventory_cost_units"])
    return found


def balances_of(dump: Dump) -> dict[tuple[int, Key], int]:
    """(ledger, unit) -> balance; the venue's own ledgers stand under no account."""
    found = {
        (Ledger.FUND_USD, INVENTORY): dump["fund_units"][0],
        (Ledger.FUND_USDC, INVENTORY): dump["fund_units"][1],
        (Ledger.CONVERSION_USD, INVENTORY): dump["conversion_units"][0],
        (Ledger.CONVERSION_USDC, INVENTORY): dump["conversion_units"][1],
        (Ledger.INVENTORY, INVENTORY): dump["inventory_cash_units"],
    }
    for number, contract in enumerate(dump["contracts"]):
        found[Ledger.SUB_FUND, (NONE, number)] = contract.get("sub_fund_units", 0)
    for account in dump["accounts"]:
        key = (account["account"], 0)
        found[Ledger.MAIN_USD, key] = account["cash_units"]
        found[Ledger.MAIN_USDC, key] = account["usdc_units"]
    for block in dump["blocks"]:
        key = (block["account"], block["isolation_id"])
        found[Ledger.BLOCK_POSITION, key] = block["cash_units"]
        found[Ledger.BLOCK_ORDER, key] = block["order_cash_units"]
        found[Ledger.BLOCK_POSITION_USDC, key] = block.get("usdc_units", 0)
        found[Ledger.BLOCK_ORDER_USDC, key] = block.get("order_usdc_units", 0)
    return found


def unit_of(event: Any) -> Key:
    return (event.account, event.isolation_id)


def place_of(event: Any) -> tuple[int, Key]:
    """The ledger and whose it is; a sub-fund is its contract's."""
    if event.ledger == Ledger.SUB_FUND:
        return event.ledger, (NONE, event.contract)
    return event.ledger, unit_of(event)


def balance_events(events: Iterable[Any]) -> list[Any]:
    return [event for event in events if event.kind == Ev.BALANCE]


def was_refused(events: Iterable[Any]) -> bool:
    return any(event.kind == Ev.REJECT for event in events)


# ---- chapter 1


def ledger_identity(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """L1, per currency, as exact integers; no price appears in it."""
    usd = after["inventory_cash_units"] + after["fees_units"]
    usd += after["fund_units"][0] + after["conversion_units"][0]
    usd += sum(contract.get("sub_fund_units", 0) for contract in after["contracts"])
    usd += sum(a["cash_units"] for a in after["accounts"])
    usd += sum(b["cash_units"] + b["order_cash_units"] for b in after["blocks"])
    usd -= sum(cost for _, cost in positions_of(after).values())
    assert usd == after["deposits_units"][0] - after["withdrawals_units"][0], "L1 in USD"
    usdc = after["fund_units"][1] + after["conversion_units"][1]
    usdc += sum(a["usdc_units"] for a in after["accounts"])
    usdc += sum(b.get("usdc_units", 0) + b.get("order_usdc_units", 0) for b in after["blocks"])
    assert usdc == after["deposits_units"][1] - after["withdrawals_units"][1], "L1 in USDC"


def positions_cancel_out(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """L1: per contract, longs and shorts and the inventory sum to 0."""
    lots: dict[int, int] = defaultdict(int)
    for (_, contract), (qty, _) in positions_of(after).items():
        lots[contract] += qty
    assert not any(lots.values()), f"L1: sum of Q per contract {dict(lots)}"


def events_fold_to_balances(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """L2: balance before + BALANCE events = balance after, ledger by ledger, step by step.

    The fee account is credited with every TRADE_FEE; deposits and withdrawals are their events.
    """
    folded: dict[tuple[int, Key], int] = defaultdict(int, balances_of(before))
    fees = before["fees_units"]
    deposits, withdrawals = list(before["deposits_units"]), list(before["withdrawals_units"])
    for event in balance_events(events):
        assert event.amount_units != 0, f"L2: an event without a change {event}"
        assert event.reason != Reason.ADJUSTMENT, f"L2: no rule adjusts {event}"
        place = place_of(event)
        folded[place] += event.amount_units
        assert event.balance_units == wrap64(folded[place]), f"L2: balance of {event}"
        currency = int(event.ledger in (Ledger.MAIN_USDC, Ledger.FUND_USDC))
        if event.reason == Reason.TRADE_FEE:
            fees -= event.amount_units
        elif event.reason == Reason.DEPOSIT:
            deposits[currency] += event.amount_units
        elif event.reason == Reason.WITHDRAW:
            withdrawals[currency] -= event.amount_units
    assert fees == after["fees_units"], "L2: the fee account"
    assert deposits == list(after["deposits_units"]), "L2: deposits"
    assert withdrawals == list(after["withdrawals_units"]), "L2: withdrawals"
    final = balances_of(after)
    for place, balance in folded.items():
        # A closed block has left the state: it must have left with nothing.
        assert balance == final.pop(place, 0), f"L2: ledger {place} folds to {balance}"
    assert not any(final.values()), f"L2: balances without an event {final}"


def events_fold_to_positions(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """L2, U4: lots change by FILL, TAKEN_OVER, DELEVERAGED; cost only with them or at a roll."""
    lots: dict[tuple[Key, int], int] = defaultdict(int)
    for place, (qty, _) in positions_of(before).items():
        lots[place] = qty
    moved: set[tuple[Key, int]] = set()
    for event in events:
        place = (unit_of(event), event.contract)
        if event.kind == Ev.FILL:
            lots[place] += event.qty_lots if event.flags >> 4 == 1 else -event.qty_lots
            moved.add(place)
        elif event.kind == Ev.DELEVERAGED:
            lots[place] -= event.qty_lots
            moved.add(place)
        elif event.kind == Ev.TAKEN_OVER:
            lots[place] -= event.qty_lots
            lots[INVENTORY, event.contract] += event.qty_lots
            moved |= {place, (INVENTORY, event.contract)}
    final = positions_of(after)
    for place, qty in lots.items():
        assert qty == final.get(place, (0, 0))[0], f"L2: lots of {place} fold to {qty}"
    old = positions_of(before)
    for place, (qty, cost) in final.items():
        assert qty or not cost, f"U4: cost {cost} without a position at {place}"
        if command.kind != Kind.SETTLE_SESSION and place not in moved:
            assert (qty, cost) == old.get(place, (0, 0)), f"U4: {place} changed without a fill"


# ---- chapters 4, 5, 7: who may change


def undue(after: Dump, before: Dump) -> Dump:
    """The state as if no dead man's switch had come due without orders to cancel."""
    rows = [{**new, "cancel_after_ns": old["cancel_after_ns"]}
            if 0 < old.get("cancel_after_ns", 0) <= after["time_ns"] else new
            for new, old in zip(after["accounts"], before["accounts"], strict=False)]
    return {**after, "accounts": rows + after["accounts"][len(rows):]}


def refused_changes_nothing(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """O5: everything but the clock and the sequence number; timers due may have fired first."""
    if not was_refused(events):
        return
    last = [event.kind for event in events].index(Ev.REJECT)
    after_it = events[last + 1:]
    assert not after_it or after_it[0].kind == Ev.TRIGGERED, "O5: what follows a refusal fired"
    if len(events) == 1:
        free = ("time_ns", "seq")
        changed = [name for name in before
                   if name not in free and before[name] != undue(after, before)[name]]
        assert not changed, f"O5: a refusal changed {changed}"
        return
    # What comes before the refusal belongs to timers: orders that ended, and what followed.
    timers = (Done.EXPIRED, Done.DEAD_MAN)
    assert last == 0 or any(
        event.kind == Ev.CANCELLED and event.reason in timers for event in events[:last]), (
        "O5: a refusal with events that no timer explains")


def nobody_is_liquidating(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """Q4: a liquidation ends in the command that began it."""
    states = {block["isolation_id"]: block["state"] for block in after["blocks"]}
    wrong = [i for i, state in states.items()
             if state not in (BlockState.PENDING, BlockState.OPEN)]
    assert not wrong, f"Q4: blocks {wrong} are neither PENDING nor OPEN"


#: Settlement touches every unit's session PnL without an event for each (S5).
SESSION_FIELDS = ("session_pnl_units", "kept_units")


def only_named_units_change(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """Q7, I4: the complement of the write set is bit-identical; the write set is in the events."""
    named = {unit_of(event) for event in events if event.account != NONE}
    named |= {(event.account, 0) for event in events
              if event.kind in (Ev.ACCOUNT_OPENED, Ev.ELIGIBILITY_SET)}
    free = SESSION_FIELDS if command.kind == Kind.SETTLE_SESSION else ()
    old, new = units_of(before), units_of(after)
    went_flat = {event.account for event in events
                 if event.kind in (Ev.BLOCK_CLOSED, Ev.BLOCK_PENDING)}
    was_liquidated = {event.account for event in events if event.kind == Ev.LIQUIDATED}
    was_met = {event.account for event in events if event.kind == Ev.DELEVERAGED}
    # A position cash of 0 went to its owner, with the session PnL (policy surplus_to), or nowhere.
    left_nothing = was_liquidated - {
        event.account for event in balance_events(events)
        if (event.ledger, event.reason) == (Ledger.BLOCK_POSITION, Reason.INSURANCE_FUND)}
    for key in old.keys() | new.keys():
        if key in named:
            continue
        allowed = free
        if key[0] in was_liquidated | was_met:
            # A main account bears the statistic of its block's end, nothing else.
            allowed = (*free, "deficit_units")
        if key[0] in left_nothing | (went_flat - was_liquidated):
            # The block's session PnL came along, though its cash was exactly 0 (I11).
            allowed = (*allowed, *SESSION_FIELDS)
        one, other = old.get(key, {}), new.get(key, {})
        if 0 < one.get("cancel_after_ns", 0) <= after["time_ns"]:
            allowed = (*allowed, "cancel_after_ns")  # its time came, without orders to cancel
        changed = [name for name in one.keys() | other.keys()
                   if name not in allowed and one.get(name) != other.get(name)]
        assert not changed, f"Q7: unit {key} changed in {changed} though no event names it"
    ids = {event.order_id for event in events}
    before_orders = {order["order_id"]: order for order in before["orders"]}
    for order in after["orders"]:
        known = before_orders.pop(order["order_id"], None)
        unit = (order["account"], order["isolation_id"])
        if known != order:
            assert order["order_id"] in ids or unit in named, f"Q7: {order} changed unnamed"
    gone = set(before_orders) - ids
    assert not gone, f"Q7: orders {gone} ended without an event"


USD_OF_OWNERS = (Ledger.MAIN_USD, Ledger.BLOCK_POSITION, Ledger.BLOCK_ORDER)
USDC_OF_OWNERS = (Ledger.MAIN_USDC, Ledger.BLOCK_POSITION_USDC, Ledger.BLOCK_ORDER_USDC)
#: What may reach a main account's cash without a position of its own.
MONEY_THAT_MOVES = (Reason.DEPOSIT, Reason.WITHDRAW, Reason.ISOLATED_TRANSFER,
                    Reason.AUTO_CONVERSION)


def main_pays_only_transfers(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """I4, I13, Q7: only main's own positions earn or cost it anything; transfers are zero-sum.

    So an owner's loss through a block is at most what moved in less what moved out, on every path.
    """
    held = {(key, contract) for (key, contract), (qty, _) in positions_of(before).items() if qty}
    held |= {(unit_of(event), event.contract) for event in events if event.kind == Ev.FILL}
    is_debt = command.kind == Kind.DEPOSIT
    holders = {key for key, _ in held}
    transfers: dict[int, int] = defaultdict(int)
    for event in balance_events(events):
        if event.reason == Reason.ISOLATED_TRANSFER and event.ledger in USD_OF_OWNERS:
            transfers[event.account] += event.amount_units
        if event.ledger != Ledger.MAIN_USD or event.reason in MONEY_THAT_MOVES:
            continue
        key = unit_of(event)
        if event.reason == Reason.INSURANCE_FUND:
            assert event.amount_units > 0 or is_debt, f"Q6: the fund covers main, or debts {event}"
            assert key in holders or is_debt, f"Q7: the fund pays main without a position {event}"
        elif event.reason == Reason.SOCIALIZED_LOSS:
            assert event.amount_units < 0, f"S4: a share is a loss {event}"
        else:
            assert (key, event.contract) in held, f"I4: main without a position there pays {event}"
    wrong = {account: total for account, total in transfers.items() if total}
    assert not wrong, f"I13: transfers do not cancel out {wrong}"


def blocks_lose_what_moved_in(
    command: Any, events: list[Any], before: Dump, after: Dump
) -> None:
    """I13, A4: USDC changes hands between the units of one owner, is converted, or is main's own.

    So what an owner loses in USDC through a block is at most what moved in less what moved out.
    """
    transfers: dict[int, int] = defaultdict(int)
    for event in balance_events(events):
        if event.ledger not in USDC_OF_OWNERS:
            continue
        if event.reason == Reason.ISOLATED_TRANSFER:
            transfers[event.account] += event.amount_units
        elif event.ledger == Ledger.MAIN_USDC:
            assert event.reason in MONEY_THAT_MOVES, f"I13: main's USDC pays {event}"
        else:
            assert event.reason == Reason.AUTO_CONVERSION, f"I13: a block's USDC pays {event}"
            assert event.amount_units < 0, f"A4: a block buys USDC {event}"
    wrong = {account: total for account, total in transfers.items() if total}
    assert not wrong, f"I13: transfers of USDC do not cancel out {wrong}"
    for block in after["blocks"]:
        held = block.get("usdc_units", 0), block.get("order_usdc_units", 0)
        assert min(held) >= 0, f"I13: a block owes USDC {block}"


def conversion_stays_in_its_unit(
    command: Any, events: list[Any], before: Dump, after: Dump
) -> None:
    """A4: what a unit gets as USD its own USDC has given, and is at most worth; both move."""
    given: dict[Key, list[int]] = defaultdict(lambda: [0, 0])
    venue, index = [0, 0], max(before["index_e6"], after["index_e6"])
    for event in balance_events(events):
        if event.reason != Reason.AUTO_CONVERSION:
            continue
        if event.account == NONE:
            venue[event.ledger == Ledger.CONVERSION_USDC] += event.amount_units
        else:
            given[unit_of(event)][event.ledger in USDC_OF_OWNERS] += event.amount_units
    for key, (usd, usdc) in given.items():
        assert usd >= 0 > usdc, f"A4: unit {key} converts {usdc} USDC into {usd} USD"
        assert usd * 10**6 <= -usdc * index, f"A4: unit {key} gains by conversion"
    for at in (0, 1):
        total = venue[at] + sum(pair[at] for pair in given.values())
        assert total == 0, f"A4: the conversion account is off by {total}"


def sub_funds_pay_first(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """S1: policy fund_by_contract: what belongs to a contract meets its own fund first."""
    funds = [contract.get("sub_fund_units") for contract in before["contracts"]]
    if None in funds:
        return
    for event in balance_events(events):
        if event.ledger == Ledger.SUB_FUND:
            funds[event.contract] = event.balance_units
            assert event.balance_units >= 0, f"S1: a negative sub-fund {event}"
        elif event.ledger == Ledger.FUND_USD and event.contract < len(funds):
            assert event.amount_units < 0, f"S1: the contract's own fund gets {event}"
            assert funds[event.contract] == 0, f"S1: the contract's own fund could pay {event}"


def blocks_hold_their_orders(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """I2: each order's reserve is its own money, and order_cash is their sum, as is their USDC."""
    reserves: dict[Key, int] = defaultdict(int)
    in_kind: dict[Key, int] = defaultdict(int)
    alive: set[Key] = set()
    for order in after["orders"]:
        key = (order["account"], order["isolation_id"])
        reserves[key] += order["reserve"]
        in_kind[key] += order.get("usdc", 0)
        alive.add(key)
        assert 0 <= order["reserved"] <= order["left"], f"C3: reserved lots of {order}"
        assert order["reserve"] >= 0, f"C3: reserve of {order}"
        assert order.get("usdc", 0) >= 0, f"C3: USDC of {order}"
    for block in after["blocks"]:
        key = (block["account"], block["isolation_id"])
        assert block["order_cash_units"] == reserves[key], f"I2: order_cash of block {key}"
        assert block.get("order_usdc_units", 0) == in_kind[key], f"I2: order USDC of block {key}"
        assert block["qty_lots"] or key in alive, f"I2: block {key} has neither position nor orders"
        open_ = BlockState.OPEN if block["qty_lots"] else BlockState.PENDING
        assert block["state"] == open_, f"I1: state of block {key}"


def no_voluntary_deficit(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """O7, Q6: cash below 0 needs a position that carries it."""
    for (account, isolation_id), unit in units_of(after).items():
        lots = unit["qty_lots"] if isolation_id else any(
            leg["qty_lots"] for leg in unit["legs"])
        assert unit["cash_units"] >= 0 or lots, (
            f"O7: unit {(account, isolation_id)} has a deficit and no position")
        if not isolation_id:
            assert unit["usdc_units"] >= 0, f"A4: negative USDC of account {account}"


def locked_profit_stays(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """C5, S5: what leaves the venue leaves the profit of the session, and what is kept, behind."""
    for event in balance_events(events):
        if (event.ledger, event.reason) == (Ledger.MAIN_USD, Reason.WITHDRAW):
            main = before["accounts"][event.account]
            lock = max(0, main["session_pnl_units"]) + main["kept_units"]
            assert event.balance_units >= lock, f"C5: locked profit leaves {event}"


Invariant = Callable[[Any, list[Any], Dump, Dump], None]
INVARIANTS: tuple[Invariant, ...] = (
    ledger_identity, positions_cancel_out, events_fold_to_balances, events_fold_to_positions,
    refused_changes_nothing, nobody_is_liquidating, only_named_units_change,
    main_pays_only_transfers, blocks_lose_what_moved_in, conversion_stays_in_its_unit,
    sub_funds_pay_first, blocks_hold_their_orders, no_voluntary_deficit, locked_profit_stays,
)


def check(command: Any, events: list[Any], before: Dump, after: Dump) -> None:
    """All of them."""
    for invariant in INVARIANTS:
        invariant(command, events, before, after)


# ---- chapters 2, 3, 4, 7: an exhaustive scan of the state


@dataclass(frozen=True)
class Terms:
    """What an exhaustive scan has to know beside the state: rates, and the haircut (A4)."""

    contracts: tuple[Contract, ...]
    haircut_e9: int
    is_off_the_value: bool

    def worth(self, usdc: int, dump: Dump) -> tuple[int, int]:
        """What USDC counts as collateral, and what it adds to initial margin; both whole."""
        value = usdc * dump["index_e6"] // 10**6
        cut = -(-value * self.haircut_e9 // 10**9)
        return (value - cut, 0) if self.is_off_the_value else (value, cut)


@dataclass(frozen=True)
class Standing:
    """A unit at the marks of a dump: equity, haircut, and its positions' size, mark, leverage."""

    equity: int
    haircut: int
    legs: tuple[tuple[Contract, int, int, int], ...]

    def meets_maintenance(self) -> bool:
        """MB >= MM as the exact inequality (Q1)."""
        terms = [(lots * c.v * mark, c.trigger_rate(lots, mark)) for c, lots, mark, _ in self.legs]
        off = sum(c.cumulative(lots, mark) for c, lots, mark, _ in self.legs)
        return covers(self.equity - -(-self.haircut // 2) + off, terms)

    def meets_initial(self) -> bool:
        """MB >= sum of N MR and the haircut, exactly (C4)."""
        terms = [(lots * c.v * mark, c.fee_reserve + c.margin_rate(lots, mark, leverage))
                 for c, lots, mark, leverage in self.legs]
        return covers(self.equity - self.haircut, terms)


def standing_of(terms: Terms, dump: Dump, key: Key, unit: dict[str, Any]) -> Standing:
    value, cut = terms.worth(unit.get("usdc_units", 0), dump)
    equity, legs = unit["cash_units"] + value, []
    for leg in [unit] if key[1] else unit["legs"]:
        contract, mark = leg["contract"], dump["contracts"][leg["contract"]]["mark_ticks"]
        if leg["qty_lots"]:
            rates = terms.contracts[contract]
            equity += leg["qty_lots"] * rates.v * mark - leg["cost_units"]
            legs.append((rates, abs(leg["qty_lots"]), mark, leg["leverage"]))
    return Standing(equity, cut, tuple(legs))


def liquidated(events: Iterable[Any]) -> set[Key]:
    return {unit_of(event) for event in events if event.kind == Ev.LIQUIDATED}


def no_threshold_is_overlooked(terms: Terms, events: list[Any], after: Dump) -> None:
    """Q1, Q2: the index of thresholds is an exhaustive scan: when a command returns, every unit
    has MB >= MM, exactly, but for those that it liquidated already (Q8)."""
    done = liquidated(events)
    for key, unit in units_of(after).items():
        if key not in done:
            assert standing_of(terms, after, key, unit).meets_maintenance(), (
                f"Q2: unit {key} is below maintenance and was not liquidated")


def no_margin_call_is_overlooked(terms: Terms, events: list[Any], after: Dump) -> None:
    """C4, Q2: no safe box hides a margin call: whoever has orders with a reserve in main has
    MB >= IM, exactly."""
    waiting = {order["account"] for order in after["orders"]
               if order["reserved"] and not order["isolation_id"]}
    for account in waiting:
        key = (account, 0)
        assert standing_of(terms, after, key, units_of(after)[key]).meets_initial(), (
            f"C4: account {account} has no margin call")


Scan = Callable[[Terms, list[Any], Dump], None]
SCANS: tuple[Scan, ...] = (no_threshold_is_overlooked, no_margin_call_is_overlooked)


def isolated_margin_is_not_available(terms: Terms, dump: Dump, account: int,
                                     shown: dict[str, int]) -> None:
    """C2, I4: what the venue shows of main comes of main's own cash, legs and orders: isolated
    cash, profit and margin are no part of its balance, its available or its transferable money."""
    unit = units_of(dump)[account, 0]
    unit_standing = standing_of(terms, dump, (account, 0), unit)
    value, _ = terms.worth(unit["usdc_units"], dump)
    reserves: dict[tuple[int, int], int] = defaultdict(int)
    for order in dump["orders"]:
        if (order["account"], order["isolation_id"]) == (account, 0):
            reserves[order["contract"], order["side"]] += order["reserve"]
    contracts = {contract for contract, _ in reserves}
    orders = sum(max(reserves[contract, 1], reserves[contract, 2]) for contract in contracts)
    fees = sum(part_up(lots * c.v * mark, c.fee_reserve)
               for c, lots, mark, _ in unit_standing.legs)
    margin = unit_standing.haircut + sum(
        part_up(lots * c.v * mark, c.margin_rate(lots, mark, leverage))
        for c, lots, mark, leverage in unit_standing.legs)
    free = unit_standing.equity - fees - margin - orders
    ours = {"collateral_units": unit["cash_units"] + value, "order_margin_units": orders,
            "mb_units": unit_standing.equity - fees, "im_units": margin,
            "available_units": max(0, free)}
    wrong = {name: (units, shown[name]) for name, units in ours.items() if units != shown[name]}
    assert not wrong, f"I4: main of account {account}: (its own, shown) {wrong}"
    assert shown["transferable_units"] <= max(0, free), f"C2: account {account} transfers more"


def voluntary_acts_cost_the_fund_nothing(events: list[Any]) -> None:
    """O7: a fill that somebody wanted never makes a deficit. If the account is liquidated after
    it, on other positions, the fund pays at most the fees that this liquidation took (Q5: while
    there is cash, though a later slice may lack it)."""
    fees: dict[int, int] = defaultdict(int)
    paid: dict[int, int] = defaultdict(int)
    for event in balance_events(events):
        if event.account == NONE:
            continue
        if event.reason == Reason.LIQUIDATION_FEE or (
                event.reason == Reason.TRADE_FEE and not event.order_id):
            fees[event.account] -= event.amount_units
        elif event.reason == Reason.INSURANCE_FUND:
            paid[event.account] += event.amount_units
    wrong = {account: units for account, units in paid.items() if units > fees[account]}
    assert not wrong, f"O7: the fund pays for what somebody did of his own will {wrong}"


# ---- chapters 9 and 10: one thing in two ways


def preview_is_the_result(shown: Sequence[Any], happened: Sequence[Any], unmoved: bool) -> None:
    """X1: a preview has the events of the command, field by field, and changes nothing."""
    assert unmoved, "X1: a preview changed the state"
    assert list(shown) == list(happened), "X1: the preview said something else"


def batch_split_does_not_matter(whole: tuple[Sequence[Any], int],
                                parts: tuple[Sequence[Any], int]) -> None:
    """D1: (events, state hash) of the same commands in one batch and in any other split."""
    assert list(whole[0]) == list(parts[0]), "D1: a split of the batch has other events"
    assert whole[1] == parts[1], "D1: a split of the batch leaves another state"


def maximum_is_the_last_accepted(ask: Callable[[int], int], most: int, step: int = 1) -> None:
    """X2, I9: `ask` gives the code of a value, 0 when it is accepted. 0 stands for nothing; `step`
    is -1 for a minimum."""
    assert most == 0 or ask(most) == 0, f"X2: {most} is shown, and refused with {ask(most)}"
    assert ask(most + step) != 0, f"X2: {most} is shown, but {most + step} is accepted, too"


def own_money(dump: Dump, account: int) -> dict[str, int]:
    """Of an account over all its units: cash in USD, USDC, session PnL, and what is kept."""
    units = [unit for (owner, _), unit in units_of(dump).items() if owner == account]
    return {
        "usd": sum(u["cash_units"] + u.get("order_cash_units", 0) for u in units),
        "usdc": sum(u.get("usdc_units", 0) + u.get("order_usdc_units", 0) for u in units),
        "session": sum(u["session_pnl_units"] for u in units),
        "kept": sum(u["kept_units"] for u in units)}


def positions_by(dump: Dump, account: int) -> dict[tuple[Key, int], tuple[int, int]]:
    return {place: held for place, held in positions_of(dump).items()
            if place[0][0] == account and held[0]}


def partial_closes_add_up(whole: Dump, parts: Dump, account: int, closes: int) -> None:
    """U4, I10: a position closed in n parts, at one price, ends where one close ends it, but for
    the n - 1 more ceilings of its fees: what the parts release of the cost is the cost."""
    one, other = own_money(whole, account), own_money(parts, account)
    fees = one["usd"] - other["usd"]
    assert 0 <= fees <= closes - 1, f"U4: {closes} closes cost {fees} units more than one"
    assert one["usdc"] == other["usdc"], "U4: the USDC differs"
    lost = one["session"] + one["kept"] - other["session"] - other["kept"]
    assert lost == fees, f"U4: the session's profit differs by {lost}, the fees by {fees}"
    assert positions_by(whole, account) == positions_by(parts, account), "U4: positions differ"
    assert whole["fund_units"] == parts["fund_units"], "U4: the fund differs"


#: What any accepted command moves.
CLOCK = ("time_ns", "seq")


def leverage_up_and_down_is_the_identity(before: Dump, after: Dump) -> None:
    """C6, I6, I7: up frees nothing and down asks for nothing that was not there: the state is the
    one before, to the last field."""
    changed = [name for name in before if name not in CLOCK and before[name] != after[name]]
    assert not changed, f"I6: leverage up and down changed {changed}"


def adding_and_removing_is_the_identity(before: Dump, after: Dump, account: int) -> None:
    """I8, I9: margin that goes in and comes out is where it was, and so is everything else; locked
    profit moves with money (C5), and stays the owner's."""
    assert own_money(before, account) == own_money(after, account), "I9: the owner's money differs"
    session = ("session_pnl_units", "kept_units")

    def plain(dump: Dump) -> Dump:
        units = {name: [{key: value for key, value in row.items() if key not in session}
                        for row in dump[name]] for name in ("accounts", "blocks")}
        return {name: value for name, value in {**dump, **units}.items() if name not in CLOCK}

    one, other = plain(before), plain(after)
    changed = [name for name in one if one[name] != other[name]]
    assert not changed, f"I9: adding and removing margin changed {changed}"
