"""Chapter 10: the same commands give the same events and the same state, however they come (D1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from random import Random
from typing import Any

import pytest
from reference.codes import Currency, Ev, Exec, Kind, OrderType, Scope, Side, Tif
from reference.records import Command, to_row
from world import (
    ADMIN_KEY,
    CASH,
    CONTRACTS,
    FULL_PROFILE,
    MARKS,
    SECOND,
    SIDES,
    TERMS,
    USD,
    EngineSide,
)

SEED = 20_220_124
COUNT = 1_500


def opening() -> Iterator[Command]:
    """Marks, an index, accounts and money of the world."""
    for contract, mark in enumerate(MARKS):
        yield Command(Kind.MARK, SECOND, contract=contract, mark_ticks=mark)
    yield Command(Kind.INDEX, SECOND, currency=Currency.USDC, mark_ticks=1_000_000)
    for account, amounts in enumerate(CASH):
        yield Command(Kind.OPEN_ACCOUNT, SECOND, account=account)
        yield Command(Kind.SET_ELIGIBILITY, SECOND, account=account, profile=FULL_PROFILE)
        for currency, amount in enumerate(amounts, start=Currency.USD):
            if amount:
                yield Command(Kind.DEPOSIT, SECOND, account=account, currency=currency,
                              amount_units=amount * USD)


def random_order(draw: Random, now: int) -> Command:
    """Around the mark, cross or isolated, of any type."""
    contract = draw.randrange(3)
    price = round(MARKS[contract] / CONTRACTS[contract].marks_per_tick * draw.uniform(0.97, 1.03))
    is_market = draw.random() < 0.2
    is_isolated = draw.random() < 0.4
    tif = Tif.NONE if is_market else draw.choice((Tif.GTC, Tif.GTC, Tif.IOC, Tif.GTD))
    return Command(
        Kind.NEW_ORDER, now, account=draw.choice((0, 0, 1, 2, 3, 4)), contract=contract,
        side=draw.choice((Side.BUY, Side.SELL)), qty_lots=draw.randrange(10, 60),
        order_type=OrderType.MARKET if is_market else OrderType.LIMIT,
        price_ticks=0 if is_market else price, time_in_force=tif,
        expiry_ns=now + 30 * SECOND if tif == Tif.GTD else 0, stp=draw.randrange(4),
        exec_flags=Exec.ISOLATED_MARGIN if is_isolated else 0,
        isolation_id=draw.choice((0, 0, 1, 2, 3)) if is_isolated else 0,
        leverage=draw.choice((0, 10)) if is_isolated else 0)


def random_command(draw: Random, now: int, number: int) -> Command:
    account, contract = draw.randrange(5), draw.randrange(3)
    choice = draw.random()
    if choice < 0.72:
        return random_order(draw, now)
    if choice < 0.80:
        return Command(Kind.CANCEL, now, account=account, order_id=draw.randrange(1, number + 30))
    if choice < 0.84:
        return Command(Kind.CANCEL_ALL, now, account=account, contract=0xFFFF,
                       scope=draw.choice((Scope.CROSS, Scope.ISOLATED)))
    if choice < 0.88:
        return Command(Kind.CLOSE_POSITION, now, account=account, contract=contract,
                       order_type=OrderType.MARKET)
    if choice < 0.90:
        return Command(Kind.FUNDING, now, contract=contract, rate_e9=draw.randrange(-10**6, 10**6))
    if choice < 0.91:
        return Command(Kind.SETTLE_SESSION, now)
    mark = round(MARKS[contract] * draw.uniform(0.93, 1.07))
    return Command(Kind.MARK, now, contract=contract, mark_ticks=mark)


def script() -> list[Command]:
    """One fixed history: a random walk that liquidates now and then; a number is its only root."""
    draw = Random(SEED)
    commands = list(opening())
    now = SECOND
    for number in range(COUNT):
        now += draw.choice((0, SECOND // 3, 2 * SECOND))
        commands.append(random_command(draw, now, number))
    return commands


def fresh(side: str) -> Any:
    venue = SIDES[side](TERMS)
    for terms in CONTRACTS:
        venue.add_contract(terms, ADMIN_KEY)
    return venue


def run(side: str, commands: list[Command]) -> tuple[list[Any], dict[str, Any]]:
    venue = fresh(side)
    events = [event for command in commands for event in venue.apply(command, ADMIN_KEY)]
    return events, venue.dump()


def engine_batch(commands: list[Command], size: int) -> tuple[bytes, int]:
    """Events as bytes and the state hash, the batch split into parts of `size`."""
    import numpy as np

    from perpcore import records

    venue: EngineSide = fresh("engine")
    rows = np.zeros(len(commands), records.COMMAND)
    for command, row in zip(commands, rows, strict=True):
        to_row(command, row)
    out = np.zeros(1 << 16, records.EVENT)
    found = b""
    for start in range(0, len(rows), size):
        part = rows[start:start + size]
        applied, count = venue.engine.apply(part, out, ADMIN_KEY)
        assert applied == len(part)
        found += out[:count].tobytes()
    return found, venue.engine.state_hash()


def test_the_same_commands_give_the_same_events_and_state(side: str) -> None:
    """D1: two venues of a kind, one history."""
    commands = script()
    assert run(side, commands) == run(side, commands)


def test_the_history_is_not_an_easy_one() -> None:
    """D1: fills, refusals, liquidations, take-overs and settlements are in it."""
    events, _ = run("model", script())
    kinds = {event.kind for event in events}
    assert {Ev.REJECT, Ev.FILL, Ev.LIQUIDATED, Ev.TAKEN_OVER, Ev.SESSION_SETTLED, Ev.CANCELLED,
            Ev.BLOCK_CLOSED} <= kinds


def test_previews_and_refusals_leave_no_trace_in_what_follows(side: str) -> None:
    """D1, X1, O5: the history with each command foreseen first is the same history."""
    commands = script()[:600]
    plain = run(side, commands)
    venue = fresh(side)
    events = []
    for command in commands:
        foreseen = venue.preview(command, ADMIN_KEY)
        applied = venue.apply(command, ADMIN_KEY)
        assert foreseen == applied
        events += applied
    assert (events, venue.dump()) == plain


def test_the_clock_of_the_commands_is_the_only_one(side: str) -> None:
    """D1: the same history a day later differs in its times alone."""
    day = 86_400 * SECOND
    commands = script()[:600]
    later = [Command(**{**asdict(c), "timestamp_ns": c.timestamp_ns + day,
                        "expiry_ns": c.expiry_ns + day if c.expiry_ns else 0}) for c in commands]
    events, dump = run(side, commands)
    moved_events, moved = run(side, later)
    assert moved_events == events
    assert moved.pop("time_ns") == dump.pop("time_ns") + day
    for state in (dump, moved):
        for contract in state["contracts"]:
            del contract["mark_time_ns"]
    assert [dict(o, expiry_ns=0) for o in moved.pop("orders")] == [
        dict(o, expiry_ns=0) for o in dump.pop("orders")]
    assert moved == dump


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_any_split_of_a_batch_gives_the_same_bytes_and_hash(size: int) -> None:
    """D1: the engine's events byte for byte, and its state hash."""
    commands = script()
    assert engine_batch(commands, size) == engine_batch(commands, 333)


def test_engine_and_reference_write_the_same_bytes() -> None:
    """D1: two programs in two languages, one sequence of 64-byte records."""
    import numpy as np

    from perpcore import records

    commands = script()
    events, dump = run("model", commands)
    rows = np.zeros(len(events), records.EVENT)
    for event, row in zip(events, rows, strict=True):
        for name, value in event._asdict().items():
            row[name] = value
    found, _ = engine_batch(commands, 64)
    assert found == rows.tobytes()
    assert run("engine", commands)[1] == dump


def test_the_hash_sees_every_change() -> None:
    """D1: one unit, one tick, one nanosecond make another state; a preview does not."""
    base = list(opening())
    changes = [
        Command(Kind.DEPOSIT, SECOND, account=1, currency=Currency.USD, amount_units=1),
        Command(Kind.DEPOSIT, SECOND, account=2, currency=Currency.USD, amount_units=1),
        Command(Kind.DEPOSIT, SECOND, account=1, currency=Currency.USD, amount_units=2),
        Command(Kind.MARK, SECOND, contract=0, mark_ticks=600_001),
        Command(Kind.MARK, SECOND + 1, contract=0, mark_ticks=600_001),
        Command(Kind.TICK, SECOND),
    ]
    hashes = {engine_batch([*base, change], 100)[1] for change in changes}
    hashes.add(engine_batch(base, 100)[1])
    assert len(hashes) == len(changes) + 1
    venue = fresh("engine")
    before = venue.engine.state_hash()
    venue.preview(Command(Kind.OPEN_ACCOUNT, SECOND), ADMIN_KEY)
    assert venue.engine.state_hash() == before
