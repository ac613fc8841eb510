"""`perpcore verify`: the books kept again from events alone, and whoever falsifies one is found."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import record
from reference.codes import Ev, Ledger, Reason, name_of

from perpcore.records import EVENT
from perpcore.verify import NAMES, Finding, Fold, Row, fold_events

FIELD = {name: place for place, name in enumerate(NAMES)}
KIND, REASON, LEDGER, AMOUNT = (FIELD[name] for name in (
    "kind", "reason", "ledger", "amount_units"))


def rows_of(seed: int, count: int = 1_000) -> list[Row]:
    """The events of a seeded run in which every kind of command occurs."""
    return [row for batch in record(seed, count).batches for rows in batch.rows for row in rows]


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return rows_of(2)


def finding(rows: Sequence[Row]) -> Finding | None:
    return fold_events(rows, Fold())


def changed(row: Row, name: str, by: int) -> Row:
    fields = list(row)
    fields[FIELD[name]] += by
    return tuple(fields)


def places(rows: Sequence[Row], kind: int) -> list[int]:
    found = [place for place, row in enumerate(rows) if row[KIND] == kind]
    assert found
    return found


@pytest.mark.parametrize("seed", range(12))
def test_the_events_of_any_run_fold_to_the_balances_that_they_state(seed: int) -> None:
    """L1, L2: three contracts, isolated and cross, funding, liquidation, sessions, poor funds."""
    assert finding(rows_of(seed)) is None


@pytest.mark.parametrize("seed", [7, 4], ids=["the default rules", "sub-funds, USDC in kind"])
def test_the_fold_ends_at_the_state_of_the_venue(seed: int) -> None:
    """L2: account by account, block by block, lot by lot, contract by contract."""
    from driver import EngineSide

    recording = record(seed, 1_000)
    assert bool(recording.world.venue.fund_by_contract) == (seed == 4)
    assert bool(recording.world.venue.block_collateral) == (seed == 4)
    side, fold = EngineSide(recording.world), Fold()
    for batch in recording.batches:
        assert fold_events(side.apply(batch.steps), fold) is None
    dump = side.dump()
    for row in dump["accounts"]:
        unit = (row["account"], 0)
        assert fold.balances.get((Ledger.MAIN_USD, unit), 0) == row["cash_units"]
        assert fold.balances.get((Ledger.MAIN_USDC, unit), 0) == row["usdc_units"]
        for leg in row["legs"]:
            held = fold.position(unit, leg["contract"])
            assert (held.lots, held.cost) == (leg["qty_lots"], leg["cost_units"])
    for row in dump["blocks"]:
        unit, held = (0, row["isolation_id"]), fold.position((0, row["isolation_id"]),
                                                            row["contract"])
        assert fold.balances.get((Ledger.BLOCK_POSITION, unit), 0) == row["cash_units"]
        assert fold.balances.get((Ledger.BLOCK_ORDER, unit), 0) == row["order_cash_units"]
        for ledger, name in ((Ledger.BLOCK_POSITION_USDC, "usdc_units"),
                             (Ledger.BLOCK_ORDER_USDC, "order_usdc_units")):
            assert fold.balances.get((ledger, unit), 0) == row.get(name, 0)
        assert (held.lots, held.cost) == (row["qty_lots"], row["cost_units"])
        assert fold.blocks[row["isolation_id"]] == row["state"]
    for number, row in enumerate(dump["contracts"]):
        place = (Ledger.SUB_FUND, (number, 0))
        assert fold.balances.get(place, 0) == row.get("sub_fund_units", 0)
    assert fold.fees == dump["fees_units"]
    assert fold.sessions == dump["session"] - 1
    assert {number: lots for number, lots in fold.orders.items() if lots} == {
        row["order_id"]: row["left"] for row in dump["orders"]}


def test_one_unit_more_in_any_balance_event_is_found_at_that_event(rows: list[Row]) -> None:
    for place in places(rows, Ev.BALANCE)[::23]:
        forged = [*rows[:place], changed(rows[place], "amount_units", 1), *rows[place + 1:]]
        fund_opening = rows[place][LEDGER] in (Ledger.FUND_USD, Ledger.FUND_USDC)
        found = finding(forged)
        assert found is not None, place
        assert found.row == place or fund_opening


@pytest.mark.parametrize("ledger", [Ledger.SUB_FUND, Ledger.BLOCK_ORDER_USDC])
def test_a_balance_that_no_rule_lets_fall_below_0_is_found_there(ledger: int) -> None:
    """S1, A4: whatever the books say elsewhere."""
    rows = rows_of(4)
    place = next(place for place in places(rows, Ev.BALANCE) if rows[place][LEDGER] == ledger
                 and rows[place][AMOUNT] > 0)
    amount = -rows[place][AMOUNT]
    forged = list(rows[place])
    forged[AMOUNT], forged[FIELD["balance_units"]] = amount, amount
    found = finding([*rows[:place], tuple(forged)])
    assert found is not None
    assert (found.row, found.problem) == (place, f"{name_of(Ledger, ledger)} would be {amount}")


def test_one_unit_taken_from_one_account_and_given_to_another_is_found(rows: list[Row]) -> None:
    """Both balances stated as they would then be: only the rule of the amount gives it away."""
    profits = [place for place in places(rows, Ev.BALANCE)
               if rows[place][REASON] == Reason.REALIZED_PNL
               and rows[place][LEDGER] == Ledger.MAIN_USD]
    place = profits[len(profits) // 2]
    row = rows[place]
    forged = [*rows[:place], changed(changed(row, "amount_units", 1), "balance_units", 1)]
    found = finding(forged)
    assert found is not None
    assert found.row == place
    assert "the profit is" in found.problem or "at the mark" in found.problem


def test_a_dropped_event_of_money_or_position_is_found(rows: list[Row]) -> None:
    for kind in (Ev.BALANCE, Ev.FILL, Ev.TAKEN_OVER, Ev.BLOCK_OPEN, Ev.SESSION_SETTLED,
                 Ev.BLOCK_PENDING, Ev.ACCOUNT_OPENED):
        for place in places(rows, kind)[::19]:
            found = finding([*rows[:place], *rows[place + 1:]])
            if kind == Ev.SESSION_SETTLED and place == places(rows, kind)[-1]:
                continue  # the number of the next one would tell
            assert found is not None, rows[place]


def test_a_doubled_event_is_found(rows: list[Row]) -> None:
    for kind in (Ev.BALANCE, Ev.FILL, Ev.TAKEN_OVER, Ev.ACCEPTED, Ev.CANCELLED,
                 Ev.BLOCK_CLOSED, Ev.SESSION_SETTLED, Ev.ACCOUNT_OPENED):
        for place in places(rows, kind)[::19]:
            found = finding([*rows[:place + 1], *rows[place:]])
            assert found is not None, rows[place]
            assert found.row >= place


def test_a_lot_more_or_less_in_a_fill_is_found_at_that_fill(rows: list[Row]) -> None:
    """The first of a contract apart: it tells what a lot is worth."""
    fills, contract = places(rows, Ev.FILL), FIELD["contract"]
    first = {rows[place][contract]: place for place in reversed(fills)}
    for place in [place for place in fills if place not in first.values()][1::7]:
        for by in (1, -1):
            forged = changed(rows[place], "qty_lots", by)
            found = finding([*rows[:place], forged, *rows[place + 1:]])
            assert found is not None
            assert found.row == place


# ---- as a command


def write(path: Path, rows: Sequence[Row]) -> Path:
    import pyarrow as pa
    from pyarrow import parquet

    table: Any = np.array([tuple(row) for row in rows], EVENT)
    parquet.write_table(pa.table({name: table[name] for name in NAMES}), path)
    return path


def command(*arguments: str) -> int:
    from perpcore.cli import run_cli

    return run_cli(["verify", *arguments])


def test_a_whole_file_gives_a_table_with_the_hash_of_the_fold(
        rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fold = Fold()
    assert fold_events(rows, fold) is None
    assert command(str(write(tmp_path / "events.parquet", rows))) == 0
    shown = capsys.readouterr()
    assert fold.state_hash() in shown.out
    assert shown.err == ""


def test_the_first_event_that_does_not_fit_is_named(
        rows: list[Row], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = [p for p in places(rows, Ev.BALANCE) if rows[p][LEDGER] == Ledger.MAIN_USD][40]
    forged = [*rows[:place], changed(rows[place], "balance_units", -1), *rows[place + 1:]]
    assert command(str(write(tmp_path / "events.parquet", forged))) == 1
    shown = capsys.readouterr()
    assert f"row {place}, command {rows[place][0]}, BALANCE" in shown.err
    assert "MAIN_USD is" in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize(("content", "says"), [
    (None, "is not a file"), (b"no parquet", "is not a Parquet file"), (b"", "is not a Parquet"),
])
def test_a_file_that_holds_no_events_is_refused_in_one_line(
        content: bytes | None, says: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "events.parquet"
    if content is not None:
        path.write_bytes(content)
    assert command(str(path)) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_column_that_is_missing_is_named(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    parquet.write_table(pa.table({name: [1] for name in NAMES if name != "amount_units"}),
                        tmp_path / "e.parquet")
    assert command(str(tmp_path / "e.parquet")) == 2
    assert "has no column amount_units" in capsys.readouterr().err


def test_a_summary_of_another_run_is_found(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A short cascade: its events fit its summary, and not one with another figure."""
    from perpcore.cli import run_cli
    from perpcore.prices import bundled_prices

    path = bundled_prices()
    prices = tmp_path / "prices.csv"
    prices.write_text("timestamp,close\n" + "".join(
        f"{np.datetime64(int(time), 'ns')},{price}\n"
        for time, price in list(zip(path.timestamps_ns, path.prices, strict=True))[2100:2220]))
    out = tmp_path / "out"
    assert run_cli(["cascade", "--traders", "300", "--prices", str(prices), "--out", str(out)]) == 0
    events, summary = str(out / "events.parquet"), out / "summary.json"
    assert command(events, "--summary", str(summary)) == 0
    capsys.readouterr()
    figures = json.loads(summary.read_text())
    figures["fund"]["end_usd"] = "1.00000000"
    summary.write_text(json.dumps(figures))
    assert command(events, "--summary", str(summary)) == 1
    assert "fund.end_usd" in capsys.readouterr().err
