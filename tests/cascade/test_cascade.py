"""The cascade as it is run: what must happen in it, that it repeats, and what it leaves on disk.

The two full runs (20,000 traders, five days of January 2022) are made once for all tests here.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from perpcore import report
from perpcore.cli import run_cli
from perpcore.codes import EventKind, Ledger, Reason
from perpcore.drive import Drive, Run
from perpcore.prices import PricePath, bundled_prices
from perpcore.scenario import CONTRACTS, MAKERS, USD, Contract, Scenario, draw_population
from perpcore.statistics import Statistics, summarize


def minutes(path: PricePath, first: int, last: int) -> PricePath:
    """Part of a path."""
    return replace(
        path, timestamps_ns=path.timestamps_ns[first:last], prices=path.prices[first:last]
    )


@pytest.fixture(scope="module")
def full() -> tuple[Run, Statistics]:
    run = Drive(Scenario(), bundled_prices()).run()
    return run, summarize(run)


@pytest.fixture(scope="module")
def poor() -> tuple[Run, Statistics]:
    run = Drive(Scenario(fund_usd=10_000), bundled_prices()).run()
    return run, summarize(run)


@pytest.fixture
def small_prices(tmp_path: Path) -> Path:
    """Four hours with the fall of 21 January, as a file."""
    path = minutes(bundled_prices(), 1_440, 1_680)
    lines = [
        f"{stamp // 10**9},{price}"
        for stamp, price in zip(path.timestamps_ns.tolist(), path.prices, strict=True)
    ]
    file = tmp_path / "fall.csv"
    file.write_text("\n".join(["timestamp,close", *lines]) + "\n")
    return file


def test_the_default_run_contains_everything_that_liquidation_can_do(
    full: tuple[Run, Statistics],
) -> None:
    run, s = full
    found, events = s.liquidations, run.tape.events
    filled = found.book_units > 0
    seen = {
        "isolated units liquidated through the book": (found.isolated & filled).sum(),
        "cross units liquidated through the book": (~found.isolated & filled).sum(),
        "surpluses paid to the fund": (found.isolated & (found.fund_units > 0)).sum(),
        "take-overs whose loss the fund bears": (
            (found.take_over_loss_units > 0) | (found.taken_units > 0) & (found.fund_units < 0)
        ).sum(),
        "margin calls": s.margin_calls,
        "withdrawals refused while the profit was locked": s.sessions.withdrawals_refused,
        "profits released by a settlement": s.sessions.released_units,
        "withdrawals": ((events["reason"] == Reason.R_WITHDRAW)
                        & (events["kind"] == EventKind.BALANCE)).sum(),
        "waves that follow one another in a minute": (run.tape.waves > 1).sum(),
    }
    assert {what for what, count in seen.items() if count <= 0} == set()


def test_the_default_run_leaves_the_books_balanced(full: tuple[Run, Statistics]) -> None:
    run, s = full
    assert run.audit == {"USD": 0, "USDC": 0, "positions": [0]}
    assert s.fund.start_units == 5_000_000 * USD
    assert s.fund.minimum_units < s.fund.start_units
    assert sum(units for _, units in s.waterfall.steps) == 0


def test_a_profit_is_withdrawn_only_after_its_session_was_settled(
    full: tuple[Run, Statistics],
) -> None:
    events = full[0].tape.events
    refused = events[(events["kind"] == EventKind.REJECT) & (events["code"] == 30024)]
    paid = events[(events["kind"] == EventKind.BALANCE) & (events["reason"] == Reason.R_WITHDRAW)]
    settled = events["seq"][events["kind"] == EventKind.SESSION_SETTLED]
    first_paid = {int(account): int(seq) for account, seq in paid[["account", "seq"]][::-1]}
    waited = 0
    for account, seq in refused[["account", "seq"]]:
        then = first_paid.get(int(account), 0)
        waited += then > seq and bool(np.any((settled > seq) & (settled < then)))
    assert waited > 0


def test_a_small_fund_ends_in_a_socialized_loss_that_the_winners_share(
    poor: tuple[Run, Statistics],
) -> None:
    run, s = poor
    assert s.fund.minimum_units < 0
    assert s.sessions.uncovered_units > 0
    assert s.sessions.socialized_units == s.fund.socialized_units > 0
    assert s.sessions.socialized_owners > 1
    assert run.audit == {"USD": 0, "USDC": 0, "positions": [0]}


def test_main_balances_fold_from_their_events(full: tuple[Run, Statistics]) -> None:
    events = full[0].tape.events
    own = events[(events["kind"] == EventKind.BALANCE) & (events["ledger"] == Ledger.MAIN_USD)]
    accounts = int(own["account"].max()) + 1
    folded, last = np.zeros(accounts, np.int64), np.zeros(accounts, np.int64)
    np.add.at(folded, own["account"], own["amount_units"])
    last[own["account"]] = own["balance_units"]
    assert np.array_equal(folded, last)


def test_the_same_seed_gives_the_same_hash_and_events_and_another_seed_does_not() -> None:
    path = minutes(bundled_prices(), 1_440, 1_560)
    first, second = (Drive(Scenario(traders=400, seed=3), path).run() for _ in range(2))
    other = Drive(Scenario(traders=400, seed=4), path).run()
    assert first.state_hash == second.state_hash != other.state_hash
    assert first.tape.events.tobytes() == second.tape.events.tobytes()


def test_what_traders_believe_to_hold_is_what_the_engine_holds_for_them() -> None:
    drive = Drive(Scenario(traders=500, seed=3), minutes(bundled_prices(), 1_440, 1_680))
    drive.run()
    state, people = drive.engine.dump(), drive.population
    held = np.zeros(people.strategies, np.int64)
    makers = np.zeros(MAKERS, np.int64)
    for account in state["accounts"]:
        lots = sum(leg["qty_lots"] for leg in account["legs"])
        if account["account"] >= 500:
            makers[account["account"] - 500] = lots
        elif lots:
            held[people.cross_of[account["account"]]] = lots
    for block in state["blocks"]:
        held[people.isolated_of[block["account"]]] = block["qty_lots"]
    assert np.array_equal(held, drive.lots)
    assert np.array_equal(makers, drive.maker_lots)
    inventory = state["contracts"][0]["inventory_lots"]
    assert inventory == -held.sum() - makers.sum() != 0


def test_traders_are_drawn_in_the_stated_proportions() -> None:
    people = draw_population(Scenario(traders=20_000, seed=1), 7_200)
    share = {int(lev): float((people.leverage == lev).mean()) for lev in (2, 10, 100)}
    assert share == pytest.approx({2: 0.08, 10: 0.25, 100: 0.04}, abs=0.01)
    assert float((people.isolated_of[:20_000] >= 0).mean()) == pytest.approx(0.65, abs=0.02)
    assert 100 <= people.deposit_usd.min() <= people.deposit_usd.max() < 500_000


@pytest.mark.parametrize("traders", [1, 2])
def test_a_run_with_hardly_anyone_in_it_works(traders: int) -> None:
    run = Drive(Scenario(traders=traders), minutes(bundled_prices(), 0, 2)).run()
    statistics = summarize(run)
    assert statistics.cascade is None
    assert report.report_html(run, statistics)


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=CONTRACTS.keys())
@pytest.mark.parametrize("end", ["price_low", "price_high"])
def test_every_contract_trades_at_both_ends_of_its_prices(contract: Contract, end: str) -> None:
    price = getattr(contract, end)
    # A tenth of a percent inwards a minute, so that both ends stay in range.
    step = price / 1_000 if end == "price_low" else -price / 1_000
    path = replace(
        minutes(bundled_prices(), 0, 30), prices=tuple(price + step * i for i in range(30))
    )
    run = Drive(Scenario(traders=60, contract=contract), path).run()
    assert run.audit == {"USD": 0, "USDC": 0, "positions": [0]}
    assert run.opened.sum() > 30
    assert report.report_html(run, summarize(run))


def test_the_state_hash_does_not_depend_on_what_is_written(
    tmp_path: Path, small_prices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hashes = set()
    for extra in ([], ["--out", str(tmp_path / "a")], ["--out", str(tmp_path / "b")]):
        arguments = ["cascade", "--traders", "50", "--prices", str(small_prices), *extra]
        assert run_cli(arguments) == 0
        table = capsys.readouterr().out
        hashes.add(next(line for line in table.splitlines() if line.startswith("State hash")))
    assert len(hashes) == 1
    first, second = (json.loads((tmp_path / d / "summary.json").read_text()) for d in "ab")
    del first["speed"], second["speed"]
    assert first == second


def test_out_holds_whole_events_summary_and_a_page_that_needs_no_network(
    tmp_path: Path, small_prices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from plotly.offline import get_plotlyjs
    from pyarrow import parquet

    out = tmp_path / "new" / "out"
    arguments = ["cascade", "--traders", "300", "--prices", str(small_prices), "--out", str(out)]
    assert run_cli(arguments) == 0
    assert "State hash" in capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == [
        "events.parquet", "report.html", "summary.json",
    ]
    summary = json.loads((out / "summary.json").read_text())
    assert summary["scenario"]["traders"] == 300
    assert summary["audit"] == {"USD": 0, "USDC": 0, "positions": [0]}
    table = parquet.read_table(out / "events.parquet")
    assert table.num_rows == summary["events"]
    assert "MARKED" in table.column("kind_name").to_pylist()
    page = (out / "report.html").read_text()
    assert page.count(get_plotlyjs()) == 1
    rest = page.replace(get_plotlyjs(), "")
    assert [word for word in ("http:", "https:", "<link", "@import", "url(") if word in rest] == []


def test_a_failure_while_writing_leaves_nothing_half_written(
    tmp_path: Path,
    small_prices: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full_disk(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(report, "report_html", full_disk)
    out = tmp_path / "place" / "out"
    arguments = ["cascade", "--traders", "20", "--prices", str(small_prices), "--out", str(out)]
    assert run_cli(arguments) == 2
    line = capsys.readouterr().err
    assert "cannot be written (No space left on device); make room" in line
    assert list(out.parent.iterdir()) == []


def test_other_files_in_an_existing_out_are_left_alone(
    tmp_path: Path, small_prices: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "summary.json").write_text("old")
    arguments = ["cascade", "--traders", "20", "--prices", str(small_prices), "--out", str(out)]
    assert run_cli(arguments) == 0
    capsys.readouterr()
    assert (out / "mine.txt").read_text() == "mine"
    assert json.loads((out / "summary.json").read_text())["scenario"]["traders"] == 20
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []
