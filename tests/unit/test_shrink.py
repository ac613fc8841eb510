"""`perpcore shrink LOG`: a failing command log becomes short, and a file is judged before it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from perpcore import BTCUSD_PERP, commands
from perpcore import shrink as shrinking
from perpcore.cli import run_cli
from perpcore.codes import EventKind, Kind
from perpcore.commands import concat
from perpcore.contracts import venue_terms
from perpcore.eligibility import Eligibility
from perpcore.journal import Journal, apply_one
from perpcore.prices import InputError
from perpcore.records import COMMAND, CONTRACT_TERMS, EVENT
from perpcore.shrink import (
    CHECKS,
    Failure,
    by_checks,
    creators,
    guarded,
    judge_of,
    listing,
    shrink,
    without,
)

USD = 10**8
FULL = Eligibility().profile


def day() -> Journal:
    """Five accounts, a hundred quotes that rest and end, two blocks, and one liquidation: account 3
    is long 100 lots at 100x in block 2 when the mark falls."""
    steps: list[Any] = [commands.mark(contract=0, mark_ticks=600_000, timestamp_ns=1)]
    for account in range(5):
        steps += [
            commands.open_account(account=account, timestamp_ns=2),
            commands.deposit(account=account, amount_units=10_000 * USD, timestamp_ns=2),
            commands.set_eligibility(account=account, profile=FULL, timestamp_ns=2)]
    quotes = np.arange(50)
    steps.append(commands.limit(
        account=1, contract=0, side="BUY", price_ticks=500_000 + quotes, qty_lots=1 + quotes,
        timestamp_ns=3 + quotes))
    for account, side in ((0, "SELL"), (2, "BUY"), (0, "SELL"), (3, "BUY")):
        margin = {"exec_inst": "ISOLATED_MARGIN", "leverage": 50} if account else {}
        steps.append(commands.limit(account=account, contract=0, side=side, price_ticks=600_000,
                                    qty_lots=100, timestamp_ns=60, **margin))
    steps.append(commands.cancel_all(account=1, timestamp_ns=61))
    steps.append(commands.add_margin(account=2, isolation_id=1, amount_units=500 * USD,
                                     timestamp_ns=62))
    steps.append(commands.mark(contract=0, mark_ticks=580_000, timestamp_ns=63))
    steps += [commands.tick(timestamp_ns=time) for time in range(70, 90)]
    batch = concat(*steps)
    return Journal(venue_terms(insurance_fund=100_000), BTCUSD_PERP.terms(), batch,
                   batch["kind"] >= Kind.MARK)


def at_a_liquidation(act: Callable[[], None]) -> Any:
    def trial(journal: Journal, progress: Any) -> Failure | None:
        out = np.empty(4_096, EVENT)
        for engine, command, at in journal.steps(progress):
            events = apply_one(engine, command, out, journal.key(at))
            if (events["kind"] == EventKind.LIQUIDATED).any():
                act()
                return Failure(("liquidated",), "somebody is liquidated", at + 1)
        return None

    return trial


def test_what_does_not_fail_is_not_shrunk() -> None:
    assert shrink(day(), by_checks(tuple(CHECKS))) is None


def test_a_failing_log_keeps_only_the_commands_that_it_needs() -> None:
    """Two accounts with money and a profile, a mark, two orders that meet, and the fall."""
    journal = day()
    found = shrink(journal, guarded(at_a_liquidation(lambda: None)))
    assert found is not None
    short, failure = found
    assert failure.key == ("liquidated",)
    kinds = [Kind(int(kind)) for kind in short.commands["kind"]]
    assert len(short) == failure.at == 10
    assert kinds[-1] == Kind.MARK
    assert kinds.count(Kind.NEW_ORDER) == 2
    assert sorted(set(short.commands["account"].tolist())) == [0, 1]
    # The ids followed: what is left fails by itself.
    assert guarded(at_a_liquidation(lambda: None))(short) == failure


def test_a_log_that_ends_the_process_is_shrunk_like_any_other() -> None:
    def abort() -> None:
        os.write(2, b"check failed: all is well\n")
        os.abort()

    found = shrink(day(), guarded(at_a_liquidation(abort)))
    assert found is not None
    short, failure = found
    assert failure.key == ("signal", 6, "check failed: all is well")
    assert len(short) == failure.at == 10


def test_ids_of_orders_and_blocks_follow_when_commands_are_left_out() -> None:
    journal = day()
    owners = creators(journal)
    assert [int(journal.commands["account"][at]) for at in owners] == [2, 3]
    batch = journal.commands
    cancel = commands.cancel(account=3, order_id=owners[1] + 1, timestamp_ns=90)
    add = commands.add_margin(account=3, isolation_id=2, amount_units=1, timestamp_ns=90)
    longer = Journal(journal.venue, journal.contracts, concat(batch, cancel, add),
                     np.append(journal.admin, [False, False]))
    kept = without(longer, owners, range(owners[0], owners[0] + 1))
    assert kept.commands["order_id"][-2] == owners[1]
    assert kept.commands["isolation_id"][-1] == 1
    # What names something that was left out names nothing.
    gone = without(longer, owners, range(owners[1], owners[1] + 1))
    assert gone.commands["order_id"][-2] > len(longer)
    assert gone.commands["isolation_id"][-1] > 2


@pytest.mark.parametrize("name", CHECKS)
def test_a_check_reports_where_and_what_it_finds(
        name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each check sees an engine that lies in the way that it looks for."""
    journal = day()

    class Liar:
        """An engine whose answers go wrong from its 20th command on."""

        def __init__(self, engine: Any) -> None:
            self.engine, self.seen = engine, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self.engine, name)

        def apply(self, command: Any, out: Any, key: int) -> tuple[int, int]:
            self.seen += len(command)
            applied, written = self.engine.apply(command, out, key)
            if self.seen >= 20 and name == "verify":
                out["amount_units"][:written] += out["kind"][:written] == EventKind.BALANCE
            if self.seen >= 20 and len(command) > 1 and name == "split":
                out["qty_lots"][:written] += 1
            return applied, written

        def audit(self) -> dict[str, Any]:
            return {**self.engine.audit(), "USD": int(self.seen >= 20)}

        def preview(self, command: Any, out: Any, key: int) -> int:
            written = self.engine.preview(command, out, key)
            return int(written - (self.seen >= 19))

    honest = Journal.engine
    monkeypatch.setattr(Journal, "engine", lambda self: Liar(honest(self)))
    found = by_checks((name,))(journal)
    assert found is not None
    assert found.key[0] == name
    assert found.at is not None
    assert found.at >= 20


# ---- files


def test_a_journal_comes_back_from_its_file(tmp_path: Path) -> None:
    journal = day()
    again = Journal.load(journal.save(tmp_path / "day.npz"))
    for one, other in ((again.commands, journal.commands), (again.admin, journal.admin),
                       (again.venue, journal.venue), (again.contracts, journal.contracts)):
        assert one.tobytes() == other.tobytes()
    engine, events = again.replay()
    assert (events["kind"] == EventKind.LIQUIDATED).sum() == 1
    assert engine.state_hash() == journal.replay()[0].state_hash()


def test_a_contract_may_be_registered_between_commands() -> None:
    """Orders on it are 209 before."""
    journal = day()
    late = Journal(journal.venue, journal.contracts, journal.commands, journal.admin,
                   np.array([5]))
    events = late.replay()[1]
    assert (events["code"][events["kind"] == EventKind.REJECT] == 209).sum() == 1
    assert late.first(3).contracts_at.tolist() == [3]
    assert without(late, [], range(0, 2)).contracts_at.tolist() == [3]


def damaged(path: Path, **arrays: Any) -> Path:
    journal = day()
    names = ("venue", "contracts", "commands", "admin", "contracts_at")
    np.savez(path, **{**{name: getattr(journal, name) for name in names}, **arrays})
    return path


BAD_TERMS = BTCUSD_PERP.terms()
BAD_TERMS["max_leverage"] = 0
DAMAGES: list[tuple[dict[str, Any], str]] = [
    ({"commands": np.zeros(3)}, "commands is float64 of shape (3,)"),
    ({"commands": np.zeros((2, 2), COMMAND)}, "commands is"),
    ({"admin": np.zeros(3, np.bool_)}, "admin has 3 rows, commands 93"),
    ({"contracts_at": np.array([94])}, "contracts_at row 0 is out of order"),
    ({"contracts": np.concatenate([BTCUSD_PERP.terms(), BAD_TERMS]),
      "contracts_at": np.zeros(2, np.int64)}, "contracts row 1: "),
    ({"contracts": np.zeros(1, CONTRACT_TERMS)}, "contracts row 0: "),
    ({"more": np.zeros(1)}, "has an array more that no journal has"),
]


@pytest.mark.parametrize(("arrays", "says"), DAMAGES, ids=[says for _, says in DAMAGES])
def test_a_file_that_is_no_log_is_refused_with_row_and_reason(
        arrays: dict[str, Any], says: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    path = damaged(tmp_path / "log.npz", **arrays)
    assert run_cli(["shrink", str(path)]) == 2
    shown = capsys.readouterr()
    assert f"{path}: {says}" in shown.err
    assert len(shown.err.splitlines()) == 1
    assert shown.out == ""


@pytest.mark.parametrize("content", [None, b"", b"nothing", b"PK\x03\x04 and then nothing"])
def test_a_file_that_is_none_is_refused_in_one_line(
        content: bytes | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "log.npz"
    if content is not None:
        path.write_bytes(content)
    assert run_cli(["shrink", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# ---- the command

PROGRAM = f"""\
import sys
from perpcore.journal import Journal
marks = (Journal.load(sys.argv[1]).replay()[1]["kind"] == {int(EventKind.MARKED)}).sum()
print(marks, "marks")
sys.exit(int(marks))
"""


def test_a_program_of_ones_own_says_what_fails(
        tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A process a trial is slow: here, only commands are left out.
    for step in ("simplify_commands", "renumber_accounts", "simplify_terms"):
        monkeypatch.setattr(shrinking, step, lambda journal, failure, judge: (journal, failure))
    program = tmp_path / "prog.py"
    program.write_text(PROGRAM)
    log = day().first(4).save(tmp_path / "log.npz")
    assert run_cli(["shrink", str(log), "--command", f"{sys.executable} {program} {{log}}"]) == 1
    shown = capsys.readouterr()
    assert "1 admin  MARK timestamp_ns=1 mark_ticks=600000" in shown.out
    assert "exit code 1 1 marks" in shown.out
    assert f"1 of 4 commands; wrote {tmp_path / 'log.min.npz'}" in shown.out
    assert len(Journal.load(tmp_path / "log.min.npz")) == 1


def test_a_log_without_a_failure_says_so(
        tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = day().save(tmp_path / "log.npz")
    assert run_cli(["shrink", str(log)]) == 0
    assert "93 commands, and nothing fails" in capsys.readouterr().out


WRONG = [
    (["--check", "luck"], "'luck' is no check; give audit, verify, preview, split"),
    (["--command", "prog"], "does not name the log; write {log} where its path belongs"),
    (["--command", "nowhere {log}"], "'nowhere' does not run"),
    (["--command", "false {log}"], "fails without any command, too"),
    (["--check", "audit", "--command", "true {log}"], "give one of them"),
    (["--out", "nowhere/short.npz"], "is no directory; make it first"),
]


@pytest.mark.parametrize(("options", "says"), WRONG, ids=[says for _, says in WRONG])
def test_an_option_that_cannot_be_used_is_refused_in_one_line(
        options: list[str], says: str, tmp_path: Path,
        capsys: pytest.CaptureFixture[str]) -> None:
    log = day().first(4).save(tmp_path / "log.npz")
    assert run_cli(["shrink", str(log), *options]) == 2
    shown = capsys.readouterr()
    assert says in shown.err
    assert len(shown.err.splitlines()) == 1


def test_a_judge_of_one_check_asks_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CHECKS, "verify", lambda journal, progress: "never 3 the same 4")
    assert judge_of("audit", None)(day()) is None
    found = judge_of(None, None)(day())
    assert found is not None
    assert found.key == ("verify", "never  the same ")


def test_a_preview_that_has_no_room_for_all_is_no_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    """X1: it shows the first events; the liquidation at the end has more than two."""
    monkeypatch.setattr(shrinking, "_ROOM", 2)
    assert shrinking.preview(day(), lambda at: None) == ""


def test_the_listing_names_who_sends_what() -> None:
    lines = list(listing(day().first(3)))
    assert lines[0].startswith("venue fund_opening_units=[10000000000000, 0]")
    assert lines[1].startswith("contract 0 symbol=BTCUSD-PERP")
    assert lines[2:] == [
        "     1 admin  MARK timestamp_ns=1 mark_ticks=600000",
        "     2 trader OPEN_ACCOUNT timestamp_ns=2",
        "     3 trader DEPOSIT timestamp_ns=2 currency=1 amount_units=1000000000000"]


def test_a_judge_that_breaks_is_no_verdict() -> None:
    def broken(journal: Journal, progress: Any) -> Failure | None:
        raise KeyError("not about the log")

    with pytest.raises(RuntimeError, match=r"failed itself[\s\S]*not about the log"):
        guarded(broken)(day())


def test_a_command_that_misses_the_log_is_an_input_error() -> None:
    with pytest.raises(InputError):
        judge_of(None, "prog")
