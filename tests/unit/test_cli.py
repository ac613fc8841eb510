"""The command line refuses what it cannot use: exit code 2, one line, nothing written."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from perpcore.cli import run_cli

PRICES = "timestamp,close\n2022-01-20 00:00,41677\n2022-01-20 00:01,41680\n"


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the refusal of `perpcore cascade ARGUMENTS` prints."""
    assert run_cli(["cascade", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    lines = shown.err.splitlines()
    assert len(lines) == 1
    return lines[0]


# option    | value        | what the line says, cure included
PARAMETERS = [
    ("--traders", "0", ["'0' is not a whole number from 1 to 200,000", "try --traders 20000"]),
    ("--traders", "-5", ["'-5' is not a whole number", "try --traders 20000"]),
    ("--traders", "1.5", ["'1.5' is not a whole number", "try --traders 20000"]),
    ("--traders", "many", ["'many' is not a whole number", "try --traders 20000"]),
    ("--traders", "200001", ["'200001' is not a whole number", "from 1 to 200,000"]),
    ("--fund", "abc", ["'abc' is not a whole number of USD", "try --fund 5000000"]),
    ("--fund", "-1", ["'-1' is not a whole number of USD", "try --fund 5000000"]),
    ("--fund", "nan", ["'nan' is not a whole number of USD", "try --fund 5000000"]),
    ("--seed", "--7", ["'--7' is not a whole number", "try --seed 7"]),
    ("--seed", "x", ["'x' is not a whole number", "try --seed 7"]),
    ("--contract", "DOGEUSD-PERP", ["'DOGEUSD-PERP' is not a contract", "give BTCUSD-PERP"]),
    ("--out", "", ["--out: names nothing", "see perpcore cascade --help"]),
    ("--prices", "nowhere.csv", ["nowhere.csv: no such file", "check the path"]),
]


@pytest.mark.parametrize(("option", "value", "parts"), PARAMETERS)
def test_a_nonsense_parameter_is_refused_in_one_line_with_its_cure(
    capsys: pytest.CaptureFixture[str], option: str, value: str, parts: list[str]
) -> None:
    line = refused(capsys, option, value)
    for part in (option if option != "--prices" else value, *parts):
        assert part in line


def test_an_unknown_option_and_a_missing_value_say_where_the_options_are_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert "--frobnicate" in refused(capsys, "--frobnicate")
    assert "see perpcore cascade --help" in refused(capsys, "--fund")


def test_a_bad_price_file_is_named_with_row_and_cure(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "prices.csv"
    file.write_text(PRICES + "2022-01-20 00:03,41680\n")
    out = tmp_path / "out"
    line = refused(capsys, "--prices", str(file), "--out", str(out))
    assert f"{file}: row 4: 1 minute is missing" in line
    assert "fill the gap" in line
    assert not out.exists()


def test_prices_of_another_contract_are_refused_with_the_contract_to_give(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "xrp.csv"
    file.write_text("timestamp,close\n2022-01-20 00:00,0.71\n2022-01-20 00:01,0.72\n")
    line = refused(capsys, "--prices", str(file))
    assert f"{file}: row 2: price 0.71 is outside BTCUSD-PERP's" in line
    assert "give --contract XRPUSD-PERP" in line


def test_out_that_is_a_file_is_refused_before_the_run_and_kept(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "results"
    out.write_text("mine")
    line = refused(capsys, "--out", str(out))
    assert "is an existing file; name a directory" in line
    assert str(out) in line
    assert out.read_text() == "mine"
    assert "is a file" in refused(capsys, "--out", str(out / "below"))


def test_out_without_the_report_packages_says_what_to_install(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly", None)
    line = refused(capsys, "--out", str(tmp_path / "out"))
    assert "plotly is not installed; pip install 'perpcore[report]'" in line


def test_without_click_the_command_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from perpcore.__main__ import main

    monkeypatch.delitem(sys.modules, "perpcore.cli")
    monkeypatch.setitem(sys.modules, "click", None)
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "pip install 'perpcore[report]'" in capsys.readouterr().err


def test_help_tells_every_option_and_succeeds(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["cascade", "--help"]) == 0
    shown = capsys.readouterr().out
    for option in ("--prices", "--contract", "--traders", "--seed", "--fund", "--out"):
        assert option in shown


@pytest.mark.parametrize(
    ("arguments", "cure"),
    [
        (["frobnicate"], "give cascade, presets, shrink, verify, or see perpcore --help"),
        (["verify"], "see perpcore verify --help"),
        (["presets", "dydx"], "see perpcore presets --help"),
    ],
)
def test_a_wrong_command_or_argument_names_what_there_is(
    capsys: pytest.CaptureFixture[str], arguments: list[str], cure: str
) -> None:
    assert run_cli(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert shown.err.endswith(f"; {cure}\n")


def test_the_list_of_commands_tells_each_in_a_whole_sentence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run_cli(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in ("cascade", "presets", "verify"):
        (line,) = [line for line in shown.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(".")
        assert not line.endswith("...")
    assert "Exit codes: 0 done" in shown
