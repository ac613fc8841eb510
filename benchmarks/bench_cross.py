"""A million cross accounts with several contracts, while real minutes pass on one of them.

A unit with several positions is filed under a safe box (Q2): each mark that leaves a box tests one
unit again, exactly, and files it anew. Every account holds the contract that moves, and has so
much money that no minute ends it; how much more is drawn at random.

minutes.npz: closes of a BTC perpetual, one a minute from 2021-12-31 23:01 to 2022-02-01 05:31, as
differences of whole tenths of a USD; the price fell by a third in that month. They are the column
`close` of nautechsystems/nautilus_trader, tests/test_data, revision a95c8042; prices are facts.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import measure
import numpy as np
import probe
import pytest
import venue_loads
from venue_loads import ADMIN, CHUNK, VALUE, admit, feed, in_pairs

from perpcore import commands
from perpcore.contracts import BTCUSD_PERP, venue_terms

ACCOUNTS = measure.scaled(1_000_000, 400) // 2 * 2
CONTRACTS = 10
MINUTES = Path(__file__).with_name("minutes.npz")
#: Maintenance rate and fee reserve with some room for the margin rate's growth, in 1e-4.
TRIGGER_E4 = 120
#: Equity beyond what the fall takes, in 1e-4 of all positions: from 0.5 % to a half.
SPARE_E4 = (50, 5_000)


def minutes() -> Any:
    """(n,) mark ticks, one a minute; a small run takes fewer of the same month."""
    closes = np.cumsum(np.load(MINUTES)["close_tenths"], dtype=np.int64)
    return closes[:: len(closes) // measure.scaled(len(closes), 200)]


class Minutes:
    """The venue, and the marks that are still to come."""

    def __init__(self, most_contracts: int) -> None:
        self.rng = np.random.default_rng(most_contracts)
        self.marks = minutes()
        self.entry = int(self.marks[0])
        self.lots = self.positions(most_contracts)
        terms = venue_terms(insurance_fund=5_000_000, accounts=ACCOUNTS, orders=64)
        terms["leg_capacity"] = ACCOUNTS * (most_contracts + 1) + 64
        self.engine = probe.engine().Engine(terms, ADMIN)
        for number in range(CONTRACTS):
            contract = dataclasses.replace(BTCUSD_PERP, symbol=f"C{number}USD-PERP", base="BTC")
            assert self.engine.add_contract(contract.terms(), ADMIN) == number
        feed(self.engine, commands.mark(
            contract=np.arange(CONTRACTS), mark_ticks=self.entry, timestamp_ns=1
        ))  # fmt: skip
        admit(self.engine, 0, ACCOUNTS, self.cash())
        for number in range(most_contracts):
            self.open(number)

    def positions(self, most: int) -> Any:
        """(ACCOUNTS, most) signed lots; an account has 1 to `most` contracts, the moving one too.

        Neighbors are each other's counterparts; a coin for each contract says who is long.
        """
        held = self.rng.integers(1, most + 1, ACCOUNTS // 2)
        lots = self.rng.integers(10, 100, (ACCOUNTS // 2, most))
        lots *= self.rng.choice([-1, 1], lots.shape)
        lots[np.arange(most) >= held[:, None]] = 0
        return np.stack([lots, -lots], axis=1).reshape(ACCOUNTS, most)

    def cash(self) -> Any:
        """(ACCOUNTS,) money units."""
        notional = np.abs(self.lots).sum(axis=1) * VALUE * self.entry
        moves = self.marks - self.entry
        worst = np.where(self.lots[:, 0] > 0, -moves.min(), moves.max())
        lost = np.abs(self.lots[:, 0]) * VALUE * worst
        spare = self.rng.integers(*SPARE_E4, ACCOUNTS)
        return lost + notional * (TRIGGER_E4 + spare) // 10_000

    def open(self, number: int) -> None:
        """Everybody's positions on one contract."""
        lots = self.lots[::2, number]
        sellers = 2 * np.flatnonzero(lots) + (lots[lots != 0] > 0)
        size = np.abs(lots[lots != 0])
        for start in range(0, len(sellers), CHUNK // 2):
            part = slice(start, start + CHUNK // 2)
            terms = {
                "contract": number, "price_ticks": self.entry, "qty_lots": size[part],
                "timestamp_ns": self.engine.time_ns,
            }  # fmt: skip
            feed(self.engine, in_pairs(
                commands.limit(account=sellers[part], side="SELL", **terms),
                commands.limit(
                    account=sellers[part] ^ 1, side="BUY", time_in_force="IOC", **terms
                ),
            ))  # fmt: skip

    def commands(self) -> Any:
        """(n,) MARK commands, one a minute."""
        return commands.mark(
            contract=0, mark_ticks=self.marks, timestamp_ns=self.engine.time_ns
        )


def counted(engine: Any, marks: Any) -> Any:
    """(n,) re-tests of each mark; `check` scans all units, as if there were no index."""
    looks = np.zeros(len(marks), np.int64)
    events = venue_loads.touched_events(64)
    for n in range(len(marks)):
        looks[n] = probe.engine().looks(engine, 0, int(marks["mark_ticks"][n]))
        applied, written = engine.apply(marks[n : n + 1], events, ADMIN)
        assert (applied, written) == (1, 1), "somebody was liquidated"
        if n in (0, len(marks) // 2, len(marks) - 1):
            venue_loads.check(engine)
    return looks


@pytest.mark.parametrize("most", [10, 3], ids=["1 to 10 contracts", "1 to 3 contracts"])
def test_minutes_over_cross_accounts(benchmark, yardstick, most):
    """Each minute a call of its own; a twin of the venue counts what each looks at and checks."""
    world = Minutes(most)
    marks = world.commands()
    twin, timed = world.engine.fork(), probe.engine()
    looks = counted(twin, marks)
    events = venue_loads.touched_events(2 * len(marks))
    ticks, fills = np.ones(len(marks), np.uint64), np.ones(len(marks), np.uint32)
    parts = np.array_split(np.arange(len(marks)), measure.ROUNDS)

    def run() -> dict[str, Any]:
        tests, tails = [], []
        for part in parts:
            measure.Quiet.wait()
            limit_ns = measure.timed(yardstick.prepare())[0] / yardstick.stretch
            of_part = np.ones(len(part), np.uint64)
            spent_ns, _ = measure.timed(lambda part=part, of_part=of_part: timed.timed_calls(
                world.engine, marks[part[0] : part[-1] + 1], events, of_part, fills, ADMIN
            ))  # fmt: skip
            ticks[part] = of_part
            tests.append((spent_ns / max(1, int(looks[part].sum())), limit_ns))
            tails.append((float(np.percentile(probe.clock().ns(of_part), 99)), limit_ns))
        return {
            "re-test": measure.facts(tests) | {"per": "re-test"},
            "p99 tick": measure.facts(tails) | {"per": "mark"},
            "mean re-tests a tick": {"value": float(looks.mean()), "unit": ""},
            "ticks with re-tests": {"value": float((looks > 0).mean()), "unit": ""},
            "worst tick": {"value": float(probe.clock().ns(ticks).max()) / 1_000, "unit": "us"},
            "most re-tests of a tick": {"value": int(looks.max()), "unit": ""},
        }

    measure.once(benchmark, run, accounts=ACCOUNTS, minutes=len(marks))
    assert looks.sum() > 0
    # The twin was checked at this point; the same state needs no second scan.
    assert world.engine.state_hash() == twin.state_hash()
