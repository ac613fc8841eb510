"""Model and engine in batches, splits of batches, registration, and a test of the driver itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import fields, replace

import numpy as np
import pytest
from driver import (
    ADMIN_KEY,
    Divergence,
    EngineSide,
    ModelSide,
    Pair,
    Row,
    command_array,
    contract_array,
    run,
)
from invariants import batch_split_does_not_matter
from reference.codes import Currency, Done, Ev, Exec, Kind, OrderType, Reason, Tif
from reference.contract import Contract
from reference.records import Command, ContractTerms, Event, VenueTerms
from shrink import failure_of, guarded, journal_of, replayer, show, shrink
from valid_commands import FULL_PROFILE
from worlds import SECOND, USD_UNITS, Step, World, make_world

from perpcore.records import EVENT

LONG = 2_500


@pytest.mark.parametrize("seed", range(1000, 1012))
def test_both_sides_agree_when_commands_come_in_batches(seed: int) -> None:
    """D1: longer lives than those of `test_seeded`, and batches cut anywhere."""
    run(seed, LONG)


def test_a_preview_of_the_model_is_what_then_happens() -> None:
    """X1, of the other side: here the model is held against itself."""
    run(1012, 500, closely=True, other=ModelSide)


# ---- what random worlds meet too seldom


def opened(venue: VenueTerms) -> Pair:
    """Two accounts of 10,000 USD that may trade, and a mark of 6,000 ticks on contract 0."""
    world = replace(make_world(0), venue=venue)
    pair = Pair(world, EngineSide(world))
    for account in (0, 1):
        do(pair, Kind.OPEN_ACCOUNT, account=account)
        do(pair, Kind.DEPOSIT, account=account, currency=Currency.USD,
           amount_units=10_000 * USD_UNITS)
        do(pair, Kind.SET_ELIGIBILITY, account=account, profile=FULL_PROFILE)
    do(pair, Kind.MARK, contract=0, mark_ticks=60_000)
    return pair


def do(pair: Pair, kind: int, at: int = SECOND, **values: int) -> list[Event]:
    events = pair.play([Step(Command(kind, at, **values), True)])[0]
    pair.compare()
    return events


def test_expiries_come_in_order_whatever_was_cancelled_between() -> None:
    """O6: by (time, id), three a command, out of 60 timers that come and go all over the heap."""
    rng = random.Random("timers")
    pair = opened(replace(make_world(0).venue, max_orders_per_account=60, timers_per_command=3))
    now, expired = SECOND, []
    for _ in range(600):
        now += rng.randrange(SECOND)
        orders = pair.state["orders"]
        if len(orders) > 50 or (orders and rng.random() < 0.3):
            events = do(pair, Kind.CANCEL, now, account=0,
                        order_id=rng.choice(orders)["order_id"])
        else:
            events = do(pair, Kind.NEW_ORDER, now, account=0, side=1, order_type=OrderType.LIMIT,
                        price_ticks=rng.randrange(5_000, 5_900), qty_lots=2,
                        time_in_force=Tif.GTD, expiry_ns=now + rng.randrange(1, 200) * SECOND)
        expired += [event for event in events if event.reason == Done.EXPIRED
                    and event.kind == Ev.CANCELLED]
    assert len(expired) > 60


@pytest.mark.parametrize("legs", [1, 2])
def test_a_long_whose_margin_is_its_value_is_called_when_its_mark_rises(legs: int) -> None:
    """C4, Q2: at leverage 1 every dollar of value asks for a dollar and the fees' reserve, so that
    a rise takes margin away, and account 0 has none to spare. Two legs: in the safe box too."""
    pair = opened(make_world(0).venue)
    do(pair, Kind.MARK, contract=1, mark_ticks=100)
    for contract, price, lots in ((0, 6_000, 500), (1, 100, 20))[:legs]:
        for account, side in ((1, 2), (0, 1)):
            do(pair, Kind.NEW_ORDER, account=account, contract=contract, side=side, qty_lots=lots,
               order_type=OrderType.LIMIT, price_ticks=price)
    do(pair, Kind.SET_LEVERAGE, account=0, contract=0, leverage=1)
    do(pair, Kind.MARK, contract=2, mark_ticks=21_000)
    do(pair, Kind.NEW_ORDER, account=0, contract=2, side=1, qty_lots=10, price_ticks=2_900,
       order_type=OrderType.LIMIT)
    refusal = do(pair, Kind.WITHDRAW, account=0, currency=Currency.USD, amount_units=2**60)[-1]
    do(pair, Kind.WITHDRAW, account=0, currency=Currency.USD, amount_units=refusal.balance_units)
    assert not pair.state["accounts"][0]["margin_call"]
    events = do(pair, Kind.MARK, contract=0, mark_ticks=66_000)
    assert any(event.kind == Ev.MARGIN_CALL for event in events)


@pytest.mark.parametrize(("above", "fills"), [(0, False), (1, True)])
def test_a_long_s_liquidation_takes_no_bid_a_part_of_a_tick_below_bankruptcy(
        above: int, fills: bool) -> None:
    """Q3: the limit is the bankruptcy mark rounded up to a whole tick, in the fund's favor."""
    pair = opened(make_world(0).venue)
    do(pair, Kind.NEW_ORDER, account=1, contract=0, side=2, qty_lots=500,
       order_type=OrderType.LIMIT, price_ticks=6_000)
    do(pair, Kind.NEW_ORDER, account=0, contract=0, side=1, qty_lots=500, leverage=20,
       order_type=OrderType.MARKET, exec_flags=Exec.ISOLATED_MARGIN)
    block = pair.state["blocks"][0]
    each = 500 * 10_000 * 10  # lots x v x marks a tick
    if (block["cost_units"] - block["cash_units"]) % each == 0:
        do(pair, Kind.ADD_MARGIN, account=0, isolation_id=1, amount_units=each // 2)
        block = pair.state["blocks"][0]
    bid = (block["cost_units"] - block["cash_units"]) // each + above
    do(pair, Kind.NEW_ORDER, account=1, contract=0, side=1, qty_lots=500,
       order_type=OrderType.LIMIT, price_ticks=bid)
    events = do(pair, Kind.MARK, contract=0, mark_ticks=bid * 10 + 5)
    assert any(event.kind == Ev.LIQUIDATED for event in events)
    assert any(event.kind == Ev.FILL for event in events) == fills
    assert any(event.kind == Ev.TAKEN_OVER for event in events) != fills


# ---- D1: batches


def recorded(seed: int, count: int) -> tuple[World, list[Step]]:
    pair = run(seed, count, other=ModelSide)
    return pair.world, [replace(step, admin=True) for step in pair.trace]


@pytest.mark.parametrize("seed", [2000, 2003])
def test_any_split_of_a_batch_gives_the_same_bytes(seed: int) -> None:
    """D1: one batch, one call a command, and random cuts: the same events and the same hash."""
    world, steps = recorded(seed, 1200)
    commands = command_array(steps)
    rng = random.Random(seed)
    streams, hashes = [], []
    for largest in (len(steps), 1, 2, 50):
        side = EngineSide(world)
        stream, start = b"", 0
        while start < len(steps):
            end = start + (largest if largest in (1, len(steps)) else rng.randint(1, largest))
            batch = commands[start:end]
            applied, count = side.engine.apply(batch, side.out, ADMIN_KEY)
            assert applied == len(batch)
            stream += side.out[:count].tobytes()
            start = end
        streams.append(stream)
        hashes.append(side.state_hash())
    for parts in zip(streams, hashes, strict=True):
        batch_split_does_not_matter((streams[0], hashes[0]), parts)


def test_a_full_buffer_loses_no_event() -> None:
    """A batch goes on where it stopped: what did not fit comes first in the next call."""
    world, steps = recorded(2001, 600)
    commands = command_array(steps)
    whole = EngineSide(world)
    applied, count = whole.engine.apply(commands, whole.out, ADMIN_KEY)
    assert applied == len(steps)
    parts, small = EngineSide(world), np.zeros(5, EVENT)
    start, stream, stops, some = 0, b"", 0, len(small)
    while start < len(steps) or some == len(small):
        applied, some = parts.engine.apply(commands[start:], small, ADMIN_KEY)
        start += applied
        stops += 1
        stream += small[:some].tobytes()
    assert stops > 200
    assert stream == whole.out[:count].tobytes()
    assert parts.state_hash() == whole.state_hash()


def test_a_different_state_has_a_different_hash() -> None:
    """D1: the hash is worth comparing: one unit of money, or one nanosecond, changes it."""
    world, steps = recorded(2002, 100)
    place = next(i for i, step in enumerate(steps)
                 if step.command.kind == Kind.DEPOSIT and step.command.currency == Currency.USD)
    last = steps[place]
    for change in ({"amount_units": last.command.amount_units + 1},
                   {"timestamp_ns": last.command.timestamp_ns + SECOND}):
        changed = replace(last, command=replace(last.command, **change))
        sides = EngineSide(world), EngineSide(world)
        sides[0].apply([*steps[:place], last])
        sides[1].apply([*steps[:place], changed])
        assert sides[0].state_hash() != sides[1].state_hash()


# ---- U2: registration


def terms_near_the_limits(rng: random.Random) -> ContractTerms:
    """Terms of a world with one or two of them moved to where something stops to fit."""
    terms = rng.choice(make_world(rng.randrange(50)).contracts)
    names = [spec.name for spec in fields(ContractTerms)
             if spec.name != "symbol" and not isinstance(getattr(terms, spec.name), tuple)]
    for _ in range(rng.choice((1, 1, 2))):
        name = rng.choice(names)
        old = getattr(terms, name)
        edges = [0, -1, 1, 15, 16, old * 2, old + 1, old * 1000, 10**9 - 1, 10**9, 9_999, 10_000]
        if name == "max_price_ticks":
            edges += [((2**31 - 1) // terms.marks_per_tick) + step for step in (-1, 0, 1)]
        v = terms.tick_size_e12 * terms.lot_size_e9 // (10**13 * max(1, terms.marks_per_tick))
        largest = v * terms.max_price_ticks * terms.marks_per_tick
        if name == "max_position_lots" and largest > 0:
            edges += [2**60 // largest + step for step in (-1, 0, 1)]
        if name == "inventory_limit_lots" and largest > 0:
            edges += [2**62 // largest + step for step in (-1, 0, 1)]
        terms = replace(terms, **{name: rng.choice([e for e in edges if abs(e) < 2**63])})
    return terms


def is_registered(side: ModelSide | EngineSide, terms: ContractTerms) -> bool:
    try:
        if isinstance(side, ModelSide):
            side.venue.add_contract(terms, ADMIN_KEY)
        else:
            side.engine.add_contract(contract_array(terms), ADMIN_KEY)
    except ValueError:
        return False
    return True


def test_both_sides_register_the_same_contracts() -> None:
    """U2: limits are proven at registration, or the contract is refused."""
    rng = random.Random("terms")
    answers = set()
    for _ in range(600):
        terms = terms_near_the_limits(rng)
        empty = World(make_world(0).venue, ())
        answer = is_registered(ModelSide(empty), terms)
        assert is_registered(EngineSide(empty), terms) == answer, terms
        assert answer == model_accepts(terms)
        answers.add(answer)
    assert answers == {True, False}


def model_accepts(terms: ContractTerms) -> bool:
    try:
        Contract(terms)
    except ValueError:
        return False
    return True


# ---- the tools themselves: a driver that sees nothing would agree with everything


class Sabotaged(ModelSide):
    """A model that gives a unit too much to the fee account now and then."""

    def apply(self, steps: Sequence[Step]) -> list[Row]:
        rows = super().apply(steps)
        kind, reason, amount = (EVENT.names.index(n) for n in ("kind", "reason", "amount_units"))
        return [(*row[:amount], row[amount] - 1, *row[amount + 1:])
                if row[kind] == Ev.BALANCE and row[reason] == Reason.TRADE_FEE else row
                for row in rows]


def test_a_single_unit_of_difference_is_found_and_shrunk_to_a_few_commands() -> None:
    with pytest.raises(Divergence) as caught:
        run(7, 1500, other=Sabotaged)
    failure = failure_of(caught.value)
    assert failure.key[0] == "events"
    short = shrink(journal_of(caught.value.world, failure.steps), guarded(replayer(Sabotaged)))
    assert short is not None
    world, small = short
    assert small.key == failure.key
    # Two accounts with money and a profile, a mark, and two orders that meet.
    assert len(small.steps) <= 12
    assert "Command(kind=Kind.NEW_ORDER" in show(world, small)
