"""Path independence, and the other invariants that need more than one command: on model and engine,
from states of random play; each notices a state or an answer that breaks it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import invariants
import pytest
from driver import EngineSide, Pair, run
from reference.codes import Currency, Ev, Kind, Ledger, OrderType, Reason, Tif
from reference.records import Command, Event
from valid_commands import FULL_PROFILE
from worlds import BUY, SECOND, SELL, Dump, Position, Step, View

COMMANDS = 260
SEEDS = range(24)
#: What makes two paths differ by more than fees: a unit that is touched on the way.
ANOTHER_STORY = {Ev.LIQUIDATED, Ev.MARGIN_CALL, Ev.MARGIN_CALL_CLEARED, Ev.TRIGGERED}


class Path:
    """A state of random play, again: both sides, and the commands that go on from there."""

    def __init__(self, origin: Pair) -> None:
        self.pair = Pair(origin.world, EngineSide(origin.world))
        self.pair.play(origin.trace)
        self.pair.compare()
        self.now = self.state["time_ns"]
        self.told: list[Event] = []

    @property
    def state(self) -> Dump:
        return self.pair.state

    def do(self, kind: int, **fields: int) -> int:
        """The code of one command, 0 when it is accepted; both sides are compared after it."""
        step = Step(Command(kind=kind, timestamp_ns=self.now, **fields), True)
        events = self.pair.play([step])[0]
        self.pair.compare()
        self.told += events
        return next((event.code for event in events if event.kind == Ev.REJECT), 0)

    def is_another_story(self) -> bool:
        return any(event.kind in ANOTHER_STORY or (event.reason == Reason.AUTO_CONVERSION
                   and event.kind == Ev.BALANCE) for event in self.told)


def positions_of(pair: Pair) -> list[Position]:
    return View(pair.state, pair.world).positions()


def some_positions(pair: Pair) -> list[Position]:
    """Two of main accounts and two of blocks, as far as there are any."""
    found = [p for p in positions_of(pair) if 3 <= abs(p[3]) <= 1_000]
    return [p for p in found if not p[1]][:2] + [p for p in found if p[1]][:2]


# ---- n partial closes


def quoted(path: Path, position: Position) -> int:
    """An empty book, and one stranger who takes the whole position at the mark; its price."""
    _, _, contract, lots, _, _ = position
    stranger, terms = len(path.state["accounts"]), path.pair.world.contracts[contract]
    mark = path.state["contracts"][contract]["mark_ticks"]
    price = max(1, mark // terms.marks_per_tick)
    for account in range(stranger):
        path.do(Kind.CANCEL_ALL, account=account, contract=0xFFFF)
    path.do(Kind.SET_MARKET_STATE, contract=contract, scope=0)
    path.do(Kind.MARK, contract=contract, mark_ticks=mark)
    path.do(Kind.OPEN_ACCOUNT, account=stranger)
    path.do(Kind.SET_ELIGIBILITY, account=stranger, profile=FULL_PROFILE)
    path.do(Kind.DEPOSIT, account=stranger, currency=Currency.USD,
            amount_units=40_000 * 10**8 * path.pair.world.scale)
    for part in (abs(lots) - abs(lots) // 2, abs(lots) // 2):
        if part and path.do(
                Kind.NEW_ORDER, account=stranger, contract=contract, qty_lots=part,
                side=BUY if lots > 0 else SELL, order_type=OrderType.LIMIT, price_ticks=price,
                time_in_force=Tif.GTC):
            return 0
    return price


def closed(origin: Pair, position: Position, parts: Sequence[int]) -> Path | None:
    """The position closed in these parts; None where somebody refuses or is liquidated."""
    account, isolation_id, contract, _, _, _ = position
    path = Path(origin)
    price = quoted(path, position)
    if not price or path.is_another_story() or position not in positions_of(path.pair):
        return None
    for lots in parts:
        if path.do(Kind.CLOSE_POSITION, account=account, contract=contract, qty_lots=lots,
                   isolation_id=isolation_id, order_type=OrderType.LIMIT, price_ticks=price):
            return None
    held = [p for p in positions_of(path.pair) if p[:3] == position[:3]]
    return None if held or path.is_another_story() else path


def test_closing_in_parts_ends_where_closing_at_once_does() -> None:
    """U4, I10, I11: up to the ceilings of the fees; long and short, cross and isolated."""
    seen = set()
    for seed in SEEDS:
        origin = run(seed, COMMANDS)
        for position in some_positions(origin):
            size = abs(position[3])
            parts = (1, size // 3, size - 1 - size // 3)
            whole, several = closed(origin, position, [size]), closed(origin, position, parts)
            if whole is None or several is None:
                continue
            fills = sum(e.kind == Ev.FILL and e.account == position[0] for e in several.told)
            once = sum(e.kind == Ev.FILL and e.account == position[0] for e in whole.told)
            invariants.partial_closes_add_up(whole.state, several.state, position[0],
                                             fills - once + 1)
            assert fills > once
            seen.add((bool(position[1]), position[3] > 0))
    assert len(seen) == 4


# ---- leverage up and down, margin in and out


def test_leverage_up_and_down_again_is_the_identity() -> None:
    """C6, I6, I7: of main and of blocks, with positions and with orders."""
    seen = set()
    for seed in SEEDS:
        origin = run(seed, COMMANDS)
        for position in some_positions(origin):
            account, isolation_id, contract, _, _, leverage = position
            orders = [o for o in origin.state["orders"] if o["account"] == account
                      and o["isolation_id"] == isolation_id and o["contract"] == contract]
            if not leverage or any(o["reserved"] and o["leverage"] != leverage for o in orders):
                continue
            path, unit = Path(origin), {"account": account, "isolation_id": isolation_id,
                                        "contract": contract}
            path.do(Kind.TICK)
            before = path.state
            up = path.do(Kind.SET_LEVERAGE, leverage=leverage + 1, **unit)
            if up or path.do(Kind.SET_LEVERAGE, leverage=leverage, **unit):
                continue
            if path.is_another_story():
                continue
            invariants.leverage_up_and_down_is_the_identity(before, path.state)
            seen.add((bool(isolation_id), bool(orders)))
    assert len(seen) == 4


def test_margin_that_goes_in_and_comes_out_leaves_nothing_behind() -> None:
    """I8, I9, C5: one unit and a million, into blocks with a position and without."""
    seen = set()
    for seed in SEEDS:
        origin = run(seed, COMMANDS)
        for block in origin.state["blocks"][:2]:
            main = origin.state["accounts"][block["account"]]
            its = {"account": block["account"], "isolation_id": block["isolation_id"]}
            for units in (1, 1_000_000):
                path = Path(origin)
                path.do(Kind.TICK)
                before = path.state
                if main["cash_units"] < units or path.do(
                        Kind.ADD_MARGIN, amount_units=units, **its):
                    continue
                if path.do(Kind.REMOVE_MARGIN, amount_units=units, **its):
                    continue
                if path.is_another_story():
                    continue
                invariants.adding_and_removing_is_the_identity(before, path.state, its["account"])
                seen.add((bool(block["qty_lots"]), units))
    assert len(seen) == 4


# ---- what the venue shows of main


def test_isolated_money_is_no_part_of_what_main_has() -> None:
    """C2, I4: in 24 states, of every account, of the engine's own figures."""
    checked = 0
    for seed in SEEDS:
        pair = run(seed, COMMANDS)
        engine = pair.other.engine  # type: ignore[attr-defined]
        for row in pair.state["accounts"]:
            shown = engine.unit(row["account"])
            invariants.isolated_margin_is_not_available(pair.terms, pair.state, row["account"],
                                                        shown)
            checked += any(b["account"] == row["account"] for b in pair.state["blocks"])
    assert checked > 30


# ---- each notices its breach


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A state with positions, blocks and orders."""
    return run(6, 400)


def units(dump: Dump) -> Dump:
    return deepcopy(dump)


def test_a_scan_notices_a_unit_below_maintenance(pair: Pair) -> None:
    invariants.no_threshold_is_overlooked(pair.terms, [], pair.state)
    for account, isolation_id, contract, lots, _, _ in positions_of(pair):
        tampered = units(pair.state)
        key = (account, isolation_id)
        unit = invariants.units_of(tampered)[key]
        unit["cash_units"] -= 10**16
        with pytest.raises(AssertionError, match=r"Q2: unit"):
            invariants.no_threshold_is_overlooked(pair.terms, [], tampered)
        done = [Event(1, Ev.LIQUIDATED, account, contract, isolation_id=isolation_id)]
        invariants.no_threshold_is_overlooked(pair.terms, done, tampered)
        assert lots


def test_a_scan_notices_an_account_that_should_have_a_margin_call(pair: Pair) -> None:
    invariants.no_margin_call_is_overlooked(pair.terms, [], pair.state)
    waiting = {o["account"] for o in pair.state["orders"]
               if o["reserved"] and not o["isolation_id"]}
    assert waiting
    for account in waiting:
        tampered = units(pair.state)
        tampered["accounts"][account]["cash_units"] -= 10**16
        with pytest.raises(AssertionError, match="C4: account"):
            invariants.no_margin_call_is_overlooked(pair.terms, [], tampered)


def test_one_unit_decides_both_scans(pair: Pair) -> None:
    """Q1, C4: exact at the last unit."""
    for (account, isolation_id), unit in invariants.units_of(pair.state).items():
        key = (account, isolation_id)
        for test in ("meets_maintenance", "meets_initial"):
            low, high = -(2**60), 2**60  # cash too little, and enough

            def passes(cash: int, key: Any = key, unit: Any = unit, test: str = test) -> bool:
                found = invariants.standing_of(pair.terms, pair.state, key,
                                               {**unit, "cash_units": cash})
                return bool(getattr(found, test)())

            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if passes(middle) else (middle, high)
            assert passes(high)
            assert not passes(high - 1)


def test_what_main_shows_may_hold_nothing_of_its_blocks(pair: Pair) -> None:
    block = next(b for b in pair.state["blocks"] if b["cash_units"])
    account = block["account"]
    shown = dict(pair.other.engine.unit(account))  # type: ignore[attr-defined]
    invariants.isolated_margin_is_not_available(pair.terms, pair.state, account, shown)
    for name in ("collateral_units", "mb_units", "available_units", "order_margin_units"):
        forged = {**shown, name: shown[name] + block["cash_units"]}
        with pytest.raises(AssertionError, match="I4: main"):
            invariants.isolated_margin_is_not_available(pair.terms, pair.state, account, forged)
    forged = {**shown, "transferable_units": shown["available_units"] + 1}
    with pytest.raises(AssertionError, match="C2: account"):
        invariants.isolated_margin_is_not_available(pair.terms, pair.state, account, forged)


def balance(account: int, reason: int, amount: int, order_id: int = 0) -> Event:
    return Event(1, Ev.BALANCE, account, reason=reason, ledger=Ledger.MAIN_USD,
                 amount_units=amount, order_id=order_id)


def test_the_fund_may_give_back_the_fees_of_a_liquidation_and_no_more() -> None:
    """O7, Q5."""
    fees = [balance(3, Reason.TRADE_FEE, -5), balance(3, Reason.LIQUIDATION_FEE, -7)]
    invariants.voluntary_acts_cost_the_fund_nothing([*fees, balance(3, Reason.INSURANCE_FUND, 12)])
    wrong = [
        [*fees, balance(3, Reason.INSURANCE_FUND, 13)],
        [*fees, balance(4, Reason.INSURANCE_FUND, 1)],
        [balance(3, Reason.TRADE_FEE, -5, order_id=1), balance(3, Reason.INSURANCE_FUND, 1)],
    ]
    for events in wrong:
        with pytest.raises(AssertionError, match="O7: the fund pays"):
            invariants.voluntary_acts_cost_the_fund_nothing(events)


def test_a_preview_that_differs_or_leaves_a_trace_is_noticed() -> None:
    """X1."""
    invariants.preview_is_the_result([(1, 2)], [(1, 2)], True)
    for shown, unmoved in (([(1, 3)], True), ([], True), ([(1, 2)], False)):
        with pytest.raises(AssertionError, match="X1"):
            invariants.preview_is_the_result(shown, [(1, 2)], unmoved)


def test_a_split_that_matters_is_noticed() -> None:
    """D1."""
    invariants.batch_split_does_not_matter(([(1, 2)], 7), ([(1, 2)], 7))
    for parts in (([(1, 3)], 7), ([(1, 2)], 8)):
        with pytest.raises(AssertionError, match="D1"):
            invariants.batch_split_does_not_matter(([(1, 2)], 7), parts)


def test_a_maximum_that_is_refused_or_not_the_last_is_noticed() -> None:
    """X2."""
    invariants.maximum_is_the_last_accepted(lambda value: 0 if value <= 5 else 321, 5)
    invariants.maximum_is_the_last_accepted(lambda value: 0 if value >= 5 else 320, 5, step=-1)
    invariants.maximum_is_the_last_accepted(lambda value: 321, 0)
    for most in (4, 6):
        with pytest.raises(AssertionError, match="X2"):
            invariants.maximum_is_the_last_accepted(lambda value: 0 if value <= 5 else 321, most)


Forge = Callable[[Dump, int], None]


def take_a_unit(dump: Dump, account: int) -> None:
    dump["accounts"][account]["cash_units"] -= 1


def give_a_unit(dump: Dump, account: int) -> None:
    dump["accounts"][account]["cash_units"] += 1


def forget_a_profit(dump: Dump, account: int) -> None:
    dump["accounts"][account]["session_pnl_units"] -= 1


def enrich_the_fund(dump: Dump, account: int) -> None:
    dump["fund_units"][0] += 1


def keep_a_lot(dump: Dump, account: int) -> None:
    dump["accounts"][account]["legs"].append(
        {"contract": 2, "qty_lots": 1, "cost_units": 1, "opening_cost_units": 1, "leverage": 0})


@pytest.mark.parametrize("forge", [give_a_unit, forget_a_profit, enrich_the_fund, keep_a_lot])
def test_a_path_that_matters_is_noticed(pair: Pair, forge: Forge) -> None:
    """U4, I6, I9: the same state passes, the forged one does not."""
    account = 3
    checks: list[Callable[[Dump, Dump], None]] = [
        lambda one, other: invariants.partial_closes_add_up(one, other, account, 1),
        invariants.leverage_up_and_down_is_the_identity,
        lambda one, other: invariants.adding_and_removing_is_the_identity(one, other, account)]
    for check in checks:
        check(pair.state, units(pair.state))
        forged = units(pair.state)
        forge(forged, account)
        with pytest.raises(AssertionError, match=r"[UI]\d"):
            check(pair.state, forged)


def test_parts_may_cost_their_ceilings_and_no_more(pair: Pair) -> None:
    """U4: n closes cost at most n - 1 units more; the session's profit pays them."""
    forged = units(pair.state)
    for _ in range(2):
        take_a_unit(forged, 3)
        forget_a_profit(forged, 3)
    invariants.partial_closes_add_up(pair.state, forged, 3, 3)
    with pytest.raises(AssertionError, match="U4: 2 closes cost 2 units more"):
        invariants.partial_closes_add_up(pair.state, forged, 3, 2)


def test_time_alone_changes_no_identity(pair: Pair) -> None:
    later = {**units(pair.state), "time_ns": pair.state["time_ns"] + SECOND, "seq": 2**40}
    invariants.leverage_up_and_down_is_the_identity(pair.state, later)
    invariants.adding_and_removing_is_the_identity(pair.state, later, 3)
