"""Statistics of a run, on a small tape written by hand.

The world: contract BTCUSD-PERP, one mark tick is 0.1 USD, one lot 0.0001 BTC, so that one lot at
40,000 USD is worth 4 USD. Three traders: 0 isolated at 10x, 1 isolated at 50x, 2 cross at 5x.
Minutes are 10:00, 10:01 and 11:00.

- 10:00 the block of trader 0 (id 1): 100 lots sold in the book for 390 USD, fee 2, surplus 3.
- 10:01 the block of trader 1 (id 2): 1,000 lots taken over at 4,000 USD, worth 3,900.
- 11:00 trader 2: 50 lots sold for 195 USD, the fund pays a deficit of 7 USD.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from perpcore.codes import EventKind, FillFlag, Ledger, Reason, Side
from perpcore.drive import Run, Tape
from perpcore.records import EVENT, NO_ACCOUNT
from perpcore.scenario import CONTRACTS, MAKERS, USD, Scenario
from perpcore.statistics import (
    block_waterfall,
    by_hour,
    by_leverage,
    find_liquidations,
    fund_bridge,
    fund_series,
    pnl_by_account,
    sessions,
    summarize,
    worst_cascade,
)

HOUR_NS = 3_600 * 10**9
TEN_NS = 1_642_672_800 * 10**9


def event(seq: int, kind: int, account: int = NO_ACCOUNT, **fields: int) -> np.ndarray:
    row = np.zeros(1, EVENT)
    row["seq"], row["kind"], row["account"] = seq, kind, account
    for name, value in fields.items():
        row[name] = value
    return row


def balance(
    seq: int, account: int, ledger: int, reason: int, usd: int, after: int = 0, block: int = 0
) -> np.ndarray:
    return event(
        seq, EventKind.BALANCE, account, isolation_id=block, ledger=ledger, reason=reason,
        amount_units=usd * USD, balance_units=after * USD,
    )


def liquidation_fill(seq: int, account: int, block: int, lots: int, usd: int) -> np.ndarray:
    return event(
        seq, EventKind.FILL, account, isolation_id=block, qty_lots=lots, amount_units=usd * USD,
        flags=FillFlag.FILL_LIQUIDATION | FillFlag.FILL_TAKER | Side.SELL << 4,
    )


def tape_events() -> np.ndarray:
    block, main, fund = Ledger.BLOCK_POSITION, Ledger.MAIN_USD, Ledger.FUND_USD
    fee, insurance = Reason.R_LIQUIDATION_FEE, Reason.R_INSURANCE_FUND
    return np.concatenate([
        balance(5, 0, main, Reason.R_DEPOSIT, 100, 100),
        balance(6, 0, main, Reason.R_ISOLATED_TRANSFER, -50, 50),
        balance(6, 0, block, Reason.R_ISOLATED_TRANSFER, 50, 50, 1),
        liquidation_fill(10, 0, 1, 100, 390),
        # The maker's side of the same trade is no liquidation of the maker.
        event(10, EventKind.FILL, 3, order_id=7, qty_lots=100, amount_units=390 * USD),
        balance(10, 0, block, Reason.R_REALIZED_PNL, -45, 5, 1),
        balance(10, 0, block, fee, -2, 3, 1),
        balance(10, NO_ACCOUNT, fund, fee, 2, 1_002),
        balance(10, 0, block, insurance, -3, 0, 1),
        balance(10, NO_ACCOUNT, fund, insurance, 3, 1_005),
        event(10, EventKind.LIQUIDATED, 0, isolation_id=1, qty_lots=100, amount_units=3 * USD),
        event(20, EventKind.TAKEN_OVER, 1, isolation_id=2, qty_lots=1_000,
              price_ticks=390_000, amount_units=4_000 * USD),
        event(20, EventKind.LIQUIDATED, 1, isolation_id=2, qty_lots=1_000),
        balance(25, NO_ACCOUNT, Ledger.INVENTORY, insurance, 100),
        balance(25, NO_ACCOUNT, fund, insurance, -100, 905),
        event(25, EventKind.PROFIT_UNLOCKED, amount_units=11 * USD),
        event(25, EventKind.SESSION_SETTLED, qty_lots=1),
        liquidation_fill(30, 2, 0, 50, 195),
        balance(30, 2, main, Reason.R_REALIZED_PNL, -107, -7),
        balance(30, 2, main, insurance, 7, 0),
        balance(30, NO_ACCOUNT, fund, insurance, -7, 898),
        event(30, EventKind.LIQUIDATED, 2, amount_units=-7 * USD),
    ])


@pytest.fixture
def run() -> Run:
    events = tape_events()
    people = SimpleNamespace(
        leverage=np.array([10, 50, 5]),
        isolated_of=np.array([0, 1, -1] + [-1] * MAKERS),
        cross_of=np.array([-1, -1, 2] + [-1] * MAKERS),
    )
    tape = Tape(
        events=events,
        first_seq=np.array([1, 15, 25]),
        timestamps_ns=np.array([TEN_NS, TEN_NS + 60 * 10**9, TEN_NS + HOUR_NS]),
        index_ticks=np.array([400_000, 395_000, 390_000]),
        mark_ticks=np.array([400_000, 390_000, 389_000]),
        waves=np.array([1, 2, 1]),
        open_interest_lots=np.array([500, 2_000, 50]),
    )
    return Run(
        scenario=Scenario(traders=3, fund_usd=1_000, contract=CONTRACTS["BTCUSD-PERP"]),
        population=cast(Any, people), tape=tape, opened=np.array([2, 4, 1]), levels=[],
        audit={"USD": 0, "USDC": 0, "positions": [0]}, state_hash=1, commands=30,
        engine_seconds=1.0, prices_rounded=0, path_name="by hand",
    )


def test_a_liquidation_is_put_together_from_its_fills_and_its_take_over(run: Run) -> None:
    found = find_liquidations(run)
    assert found.minute.tolist() == [0, 1, 2]
    assert found.isolated.tolist() == [True, True, False]
    assert found.leverage.tolist() == [10, 50, 5]
    assert found.book_units.tolist() == [390 * USD, 0, 195 * USD]
    assert found.taken_units.tolist() == [0, 3_900 * USD, 0]
    assert found.take_over_loss_units.tolist() == [0, 100 * USD, 0]
    assert found.fund_units.tolist() == [3 * USD, 0, -7 * USD]


def test_liquidations_by_leverage_count_positions_and_what_the_fund_lost(run: Run) -> None:
    rows = {row.leverage: row for row in by_leverage(run, find_liquidations(run))}
    # leverage | positions | isolated | cross | notional | the fund's loss, USD
    table = [(10, 2, 1, 0, 390, 0), (50, 4, 1, 0, 3_900, 100), (5, 1, 0, 1, 195, 7)]
    for leverage, positions, isolated, cross, notional, loss in table:
        row = rows[leverage]
        assert (row.positions, row.isolated, row.cross) == (positions, isolated, cross)
        assert (row.notional_units, row.fund_loss_units) == (notional * USD, loss * USD)
    assert rows[100].isolated + rows[100].cross == 0


def test_liquidations_by_hour_follow_the_clock(run: Run) -> None:
    first, second = by_hour(run.tape, find_liquidations(run))
    assert (first.start_ns, first.isolated, first.cross) == (TEN_NS, 2, 0)
    assert (first.book_units, first.taken_units) == (390 * USD, 3_900 * USD)
    assert (first.mark_low_ticks, first.waves_max) == (390_000, 2)
    assert (second.isolated, second.cross, second.book_units) == (0, 1, 195 * USD)


def test_the_worst_cascade_has_the_largest_notional_of_its_window(run: Run) -> None:
    worst = worst_cascade(run.tape, find_liquidations(run))
    assert worst is not None
    assert (worst.first, worst.last, worst.liquidations) == (0, 2, 3)
    assert worst.notional_units == 4_485 * USD
    assert worst.gap_ticks == -5_000


def test_the_fund_bridge_sums_to_the_fund_at_the_end(run: Run) -> None:
    minute, after = fund_series(run)
    assert minute.tolist() == [0, 0, 0, 2, 2]
    bridge = fund_bridge(run, (minute, after))
    assert bridge.start_units == 1_000 * USD
    assert bridge.minimum_units == bridge.end_units == 898 * USD
    assert bridge.liquidation_fees_units == 2 * USD
    assert bridge.surplus_units == 3 * USD
    assert bridge.deficits_paid_units == -7 * USD
    assert bridge.inventory_units == -100 * USD
    assert bridge.socialized_units == bridge.other_units == 0


def test_transfers_and_deposits_are_nobodys_profit(run: Run) -> None:
    pnl = pnl_by_account(run)
    assert pnl[:3].tolist() == [-50 * USD, 0, -100 * USD]


def test_the_margin_of_liquidated_blocks_goes_somewhere_to_the_last_unit(run: Run) -> None:
    waterfall = block_waterfall(run, find_liquidations(run))
    assert waterfall.blocks == 2
    steps = dict(waterfall.steps)
    assert steps["Margin moved in"] == 50 * USD
    assert steps["Surplus to the fund"] == -3 * USD
    assert sum(steps.values()) == 0


def test_sessions_tell_what_was_released_and_what_is_still_kept(run: Run) -> None:
    found = sessions(run)
    assert (found.settled, found.released_units) == (1, 11 * USD)
    assert found.kept_end_units == found.uncovered_units == found.socialized_units == 0
    locked = event(31, EventKind.PROFIT_LOCKED, amount_units=5 * USD)
    run.tape.events = np.concatenate([run.tape.events, locked])
    assert sessions(run).kept_end_units == 5 * USD


def test_open_interest_is_worth_its_lots_at_the_mark_of_its_minute(run: Run) -> None:
    statistics = summarize(run)
    # 2,000 lots = 0.2 BTC at 39,000 USD, then 50 lots = 0.005 BTC at 38,900 USD.
    assert statistics.open_interest_peak == (7_800 * USD, TEN_NS + 60 * 10**9)
    assert statistics.open_interest_end_units == 19_450 * USD // 100


def test_a_quiet_run_has_no_cascade(run: Run) -> None:
    events = run.tape.events
    run.tape.events = events[events["kind"] == EventKind.SESSION_SETTLED]
    statistics = summarize(run)
    assert statistics.cascade is None
    assert len(statistics.liquidations.minute) == 0
    assert statistics.fund.end_units == 1_000 * USD
