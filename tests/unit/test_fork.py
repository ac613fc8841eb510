"""A fork is the venue once more, with a life of its own (X3, D1)."""

from __future__ import annotations

import numpy as np
import pytest

import perpcore as pc

BTC = "BTCUSD-PERP"


@pytest.fixture
def busy() -> tuple[pc.Venue, pc.Admin]:
    """Ann holds a block and rests a bid, a stop waits, a GTD order will expire."""
    venue, admin = pc.Venue.demo()
    ann = venue.account("ann", deposit={"USD": "5000"})
    ann.create_order(BTC, "BUY", "0.05", type="MARKET", exec_inst="ISOLATED_MARGIN", leverage=20)
    ann.create_order(BTC, "BUY", "0.01", price="59000")
    ann.create_order(
        BTC, "BUY", "0.01", price="58000", time_in_force="GOOD_TILL_DATE",
        expiry_ns=venue.time_ns + 50,
    )
    return venue, admin


def test_a_fork_starts_with_the_same_state(busy: tuple[pc.Venue, pc.Admin]) -> None:
    venue, _ = busy
    twin = venue.fork()
    assert twin.state_hash() == venue.state_hash()
    assert twin._core.engine.dump() == venue._core.engine.dump()
    assert twin._core.engine.check() == []
    assert twin.account("ann").cash == venue.account("ann").cash


def test_what_happens_in_a_fork_is_unknown_to_the_first(busy: tuple[pc.Venue, pc.Admin]) -> None:
    venue, admin = busy
    before = venue.state_hash()
    twin, chief = admin.fork()
    block = twin.account("ann").isolated(BTC)
    chief.mark(BTC, "54000")
    assert block.state == "CLOSED"
    assert venue.account("ann").isolated(BTC).state == "OPEN"
    assert venue.state_hash() == before
    assert twin.audit().ok
    assert venue.audit().ok


def test_the_same_commands_give_the_same_in_both(busy: tuple[pc.Venue, pc.Admin]) -> None:
    """D1: indexes, timers and order ids go on where they were."""
    _, admin = busy
    _, chief = admin.fork()
    seen = []
    for who in (admin, chief):
        events = [who.mark(BTC, "58900"), who.mark(BTC, "54000"), who.settle_session()]
        seen.append((np.concatenate([e.view("V64") for e in events]).tobytes(),
                     who.venue.state_hash(), who.venue._core.engine.check()))
    assert seen[0] == seen[1]
    assert seen[0][2] == []


def test_a_fork_without_the_capability_cannot_be_administrated(
    busy: tuple[pc.Venue, pc.Admin],
) -> None:
    """A3."""
    twin = busy[0].fork()
    events = twin.apply(
        pc.commands.mark(contract=0, mark_ticks=540_000, timestamp_ns=twin.time_ns + 1))
    assert events[0]["code"] == 40101
