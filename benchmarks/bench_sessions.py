"""Funding and the end of a session on a million isolated blocks.

Funding moves money of every position at once and files the payers anew; a settlement rolls every
position, and where the fund could not cover a loss the session's winners share it.
"""

from __future__ import annotations

from typing import Any

import crowds
import measure
import numpy as np
import pytest
import venue_loads
from crowds import Crowd
from measure import Round
from venue_loads import ENTRY, USD, admit, feed

from perpcore import commands
from perpcore.codes import EventKind, Reason
from perpcore.contracts import BTCUSD_PERP

BLOCKS = measure.scaled(1_000_000, 200)
#: By turns longs and shorts pay so much more than they received the time before: a threshold that
#: only goes to and fro would find its key where it was.
RATE_E9 = 100_000
#: The mark goes to and fro by 2.5 %; who opens at leverage 100 in between cannot pay that.
LOW = ENTRY * 975 // 1_000
MAX_LEVERAGE = 100
WORK_OFF_LOTS = int(BTCUSD_PERP.terms()["work_off_slice_lots"][0])


class Sessions(Crowd):
    """A crowd of which nobody is near a liquidation, a fund of 0, and two who trade too large.

    What one of the two lost at the end of every session is more than the fund has.
    """

    def __init__(self) -> None:
        super().__init__(BLOCKS, [], resting=200, fund=0)
        first = self.blocks + len(self.makers)
        self.pair = (first, first + 1)
        admit(self.engine, first, 2, 5_000_000 * USD)
        self.events = venue_loads.touched_events(4_096 + 8 * self.blocks)
        #: What the large position loses beyond its margin is less than the winners made.
        self.large = max(1_000, 2 * self.blocks)

    def order(self, account: int, side: str, **more: Any) -> Any:
        """(1,) COMMAND: the large size, at the mark."""
        return commands.limit(
            account=account, contract=0, side=side, price_ticks=self.mark, qty_lots=self.large,
            timestamp_ns=self.engine.time_ns, **more,
        )  # fmt: skip

    def open_large(self, losing: str) -> None:
        """A block of `losing` side at the mark, that the next mark ends below bankruptcy."""
        winning = "SELL" if losing == "BUY" else "BUY"
        feed(self.engine, commands.concat(
            self.order(self.pair[0], winning),
            self.order(self.pair[1], losing, exec_inst="ISOLATED_MARGIN", leverage=MAX_LEVERAGE),
        ))  # fmt: skip

    def work_off(self) -> None:
        """The fund gives what it took over to who had won: the mark stays, nobody gains."""
        lots = self.engine.contract_state(0)["inventory_lots"]
        if lots:
            feed(self.engine, self.order(self.pair[0], "BUY" if lots > 0 else "SELL"))
            feed(self.engine, self.move_to(np.full(2 + self.large // WORK_OFF_LOTS, self.mark)))
        assert self.engine.contract_state(0)["inventory_lots"] == 0

    def move(self) -> None:
        """The mark goes to the other end; not timed."""
        self.mark = LOW if self.mark == ENTRY else ENTRY
        feed(self.engine, self.move_to(self.mark))

    def settle(self) -> Any:
        return self.run(commands.settle_session(timestamp_ns=self.engine.time_ns))


@pytest.fixture(scope="module")
def sessions():
    return Sessions()


def test_funding(benchmark, yardstick, sessions):
    """One command: every position pays or receives, and who pays, one half, is filed anew."""
    rates = [RATE_E9 * n * (-1) ** n for n in range(measure.ROUNDS, 0, -1)]

    def prepare():
        batch = commands.funding(
            contract=0, rate_e9=rates.pop(),
            timestamp_ns=sessions.engine.time_ns,
        )  # fmt: skip

        def check(events, _):
            assert np.count_nonzero(events["reason"] == Reason.R_FUNDING) >= sessions.blocks
            crowds.check_liquidations(events, 0)

        return Round(
            sessions.run(batch), sessions.blocks, yardstick.prepare(), yardstick.stretch, check
        )

    measure.compare(benchmark, prepare, "position", blocks=sessions.blocks)
    venue_loads.check(sessions.engine)


def settled(events, units):
    """The session's loss; one session ended and at least so many units were rolled."""
    kinds = np.bincount(events["kind"], minlength=32)
    assert kinds[EventKind.SESSION_SETTLED] == 1
    assert kinds[EventKind.REJECT] == kinds[EventKind.LIQUIDATED] == 0
    assert kinds[EventKind.BALANCE] >= units
    return int(events["amount_units"][events["kind"] == EventKind.SESSION_SETTLED][0])


def test_session_settlement(benchmark, yardstick, sessions):
    """The mark has moved, so that every position has profit or loss to roll."""

    def prepare():
        sessions.move()

        def check(events, _):
            assert settled(events, sessions.blocks) == 0

        return Round(
            sessions.settle(), sessions.blocks, yardstick.prepare(), yardstick.stretch, check
        )

    measure.compare(benchmark, prepare, "unit", blocks=sessions.blocks)
    venue_loads.check(sessions.engine)


def test_session_settlement_with_a_socialized_loss(benchmark, yardstick, sessions):
    """A block went bankrupt in the session, and half of all units share what the fund lacks."""

    def prepare():
        sessions.work_off()
        sessions.open_large("BUY" if sessions.mark == ENTRY else "SELL")
        sessions.move()

        def check(events, _):
            loss = settled(events, sessions.blocks)
            shares = events[events["reason"] == Reason.R_SOCIALIZED_LOSS]
            paid = shares[shares["amount_units"] < 0]
            assert loss > 0
            assert len(paid) >= sessions.blocks // 4
            assert -paid["amount_units"].sum() == loss

        return Round(
            sessions.settle(), sessions.blocks, yardstick.prepare(), yardstick.stretch, check
        )

    measure.compare(benchmark, prepare, "unit", blocks=sessions.blocks)
    venue_loads.check(sessions.engine)
