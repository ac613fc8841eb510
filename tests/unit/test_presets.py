"""Presets: the files, what they may say, and the venue that is made of one."""

from __future__ import annotations

import dataclasses
from decimal import Decimal
from pathlib import Path

import pytest

import perpcore as pc
from perpcore import presets
from perpcore.contracts import BTCUSD_PERP, Contract
from perpcore.policies import CHOICES

BTC = "BTCUSD-PERP"


@pytest.fixture(params=presets.NAMES)
def preset(request: pytest.FixtureRequest) -> presets.Preset:
    return presets.load(request.param)


def test_crypto_com_is_every_default() -> None:
    found = presets.load("crypto_com")
    assert found.policies == pc.Policies()
    assert found.contract(BTCUSD_PERP) == BTCUSD_PERP
    assert found.differs == {}


def test_every_file_is_a_preset_and_the_other_way_round() -> None:
    files = {path.stem for path in presets.path_of("vega").parent.glob("*.toml")}
    assert files == set(presets.NAMES)


def test_a_preset_says_every_policy_in_the_same_order(preset: presets.Preset) -> None:
    """So that two files can be compared line by line."""
    assert list(preset.values) == [*CHOICES, "cover_limit"]


def test_every_source_of_a_file_is_used(preset: presets.Preset) -> None:
    import tomllib

    data = tomllib.loads(presets.path_of(preset.name).read_text(encoding="utf-8"))
    assert set(data["sources"].values()) == {entry.source for entry in preset.entries()} - {None}


def test_what_is_said_is_what_the_venue_gets(preset: presets.Preset) -> None:
    for name in CHOICES:
        assert getattr(preset.policies, name) == preset.values[name].text
    venue, admin = pc.Venue.create(preset=preset.name)
    admin.add_contract(preset.contract(BTCUSD_PERP))
    terms = venue.contract(BTC)
    for name, entry in preset.terms.items():
        assert getattr(terms, name) == Decimal(entry.text)


def test_venues_of_two_presets_differ_in_what_happens() -> None:
    """Margin of a block at a loss: binance lets it go, crypto_com does not (I9)."""
    removable = {}
    for name in ("crypto_com", "binance"):
        _, admin = pc.Venue.create(preset=name)
        admin.add_contract(BTCUSD_PERP)
        admin.mark(BTC, 60_000)
        ann, bob = (admin.open_account(n, deposit={"USD": 50_000}) for n in ("ann", "bob"))
        bob.create_order(BTC, "SELL", "0.1", price=60_000)
        ann.create_order(
            BTC, "BUY", "0.1", price=60_000, exec_inst="ISOLATED_MARGIN", leverage=10,
            isolated_margin_amount=3_000,
        )
        admin.mark(BTC, 59_900)
        removable[name] = ann.isolated(BTC).removable
    assert removable["crypto_com"] == 0 < removable["binance"]


def test_a_preset_may_be_changed_in_one_policy() -> None:
    changed = dataclasses.replace(presets.load("dydx").policies, removal="in_profit")
    assert (changed.backstop, changed.removal) == ("adl", "in_profit")
    pc.Venue.create(policies=changed)


def test_policies_beside_a_preset_are_refused() -> None:
    with pytest.raises(ValueError, match="give one"):
        pc.Venue.create(policies=pc.Policies(), preset="dydx")


def test_an_unknown_preset_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(ValueError, match="'ftx' is none of crypto_com, bybit"):
        pc.Venue.create(preset="ftx")


def test_brackets_keep_their_own_maintenance() -> None:
    """They replace the share (C1)."""
    terms = {field.name: getattr(BTCUSD_PERP, field.name) for field in
             dataclasses.fields(BTCUSD_PERP)}
    with_table = Contract(**{
        **terms, "unit_margin_rate": 0, "brackets": [(300_000, "0.004", 125), (None, "0.005", 100)],
        "max_leverage": 125,
    })
    found = presets.load("hyperliquid").contract(with_table)
    assert (found.maintenance_share, found.liquidation_fee) == (0, 0)
    assert found.brackets == with_table.brackets


GOOD = presets.path_of("binance").read_text(encoding="utf-8")
FREE = 'removal = { value = "free", source = "adjust" }'
FEE = 'liquidation_fee = { value = "0.005", source = "fees" }'

# what is replaced | by what | what the refusal says after the file's name
WRONG = [
    (FREE, 'removal = { value = "free" }',
     "policies.removal: 'free' has no source; name one, or leave the default, in_profit"),
    (FREE, 'removal = { value = "always", source = "adjust" }',
     "policies.removal: 'always' is none of in_profit, free; choose one of these"),
    (FREE, "", "policies.removal: is missing; every policy has a line"),
    (FREE, f"{FREE}\nremove = 1", "policies.remove: is no key; use haircut_in,"),
    (FREE, 'removal = "free"', "policies.removal: is no entry; write { value"),
    (FREE, 'removal = { value = "free", source = "hearsay" }',
     "policies.removal: 'hearsay' is no source; add it to [sources]"),
    ('cover_limit = { value = "0" }', "cover_limit = { value = 0 }",
     'policies.cover_limit: 0 is no text; write value = "..."'),
    (FEE, 'liquidation_fee = { value = "0.005" }',
     "contract.liquidation_fee: has no source; name one, or leave the value out"),
    (FEE, FEE.replace("liquidation_fee", "tick_size"), "contract.tick_size: is no key; use taker"),
    (GOOD.splitlines()[0], "", "title: is missing; name the venue"),
    (GOOD.splitlines()[0], 'title = "B"\nauthor = "me"', "author: is no key; use title,"),
    ("[differs.steps]", "[differs.steps", "mend the file's form (TOML)"),
    ('[sources]\n', '[sources]\nempty = ""\n', "sources.empty: is no text; say where"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "said"), WRONG)
def test_a_file_that_is_wrong_is_refused_with_file_key_and_cure(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    assert GOOD.count(old) == 1
    file = tmp_path / "mine.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert presets.read(file).policies == presets.load("binance").policies
    file.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(ValueError, match=r"^mine\.toml: ") as refusal:
        presets.read(file)
    assert said in str(refusal.value)


def test_a_limit_that_is_no_number_is_refused_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(GOOD.replace('cover_limit = { value = "0" }',
                                 'cover_limit = { value = "-1", source = "fund" }'))
    with pytest.raises(ValueError, match=r"^mine\.toml: policies\.cover_limit: -1 is below 0"):
        presets.read(file)


def test_the_command_line_shows_every_preset_and_numbers_its_sources(
    capsys: pytest.CaptureFixture[str],
) -> None:
    from perpcore.cli import run_cli

    assert run_cli(["presets"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == [*presets.NAMES]
    numbers = {line.split(maxsplit=1)[1]: line.split()[0] for line in
               shown[shown.index("Sources") + 1 : -2]}
    removal = next(line for line in shown if line.startswith("removal "))
    adjust = presets.load("binance").values["removal"].source
    assert f"free ({numbers[str(adjust)]})" in removal
    for name in presets.NAMES:
        for entry in presets.load(name).entries():
            assert entry.source is None or entry.source in numbers
        for word, entry in presets.load(name).differs.items():
            assert f"  {word}: {entry.text} ({numbers[str(entry.source)]})" in shown
