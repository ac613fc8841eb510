"""Presets: the policies of venues that exist, each in a small file beside this one.

    venue, admin = pc.Venue.create(preset="dydx")
    admin.add_contract(presets.load("dydx").contract(pc.BTCUSD_PERP))

A file has four tables. `sources`: where something is published, under a short name. `policies`:
every policy, in the order of `perpcore.policies`; a value without a source is not known of the
venue and must be the default. `contract`: terms of contracts that belong to the venue's rules.
`differs`: what the venue does that neither policies nor terms can say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perpcore.contracts import Contract
from perpcore.policies import Policies

#: Every preset that comes with the package; the first one's policies are the defaults.
NAMES = ("crypto_com", "bybit", "binance", "hyperliquid", "dydx", "vega")

_TABLES = ("sources", "policies", "contract", "differs")
_POLICIES = tuple(field.name for field in dataclasses.fields(Policies))
# Names, steps and sizes belong to a contract, rates and shares to a venue's rules.
_TERMS = (
    "taker_fee", "maker_fee", "liquidation_fee", "maintenance_share", "band_aggressive",
    "band_passive", "work_off_band", "funding_cap",
)


@dataclass(frozen=True)
class Entry:
    """A value or a sentence of a preset, and where it is published; None: not known."""

    text: str
    source: str | None


@dataclass(frozen=True)
class Preset:
    """What one venue chose.

    title: the venue. policies: for `Venue.create`. values: every policy as it is written, with its
    source. terms: terms of contracts, with theirs. differs: what cannot be said here.
    """

    name: str
    title: str
    policies: Policies
    values: Mapping[str, Entry]
    terms: Mapping[str, Entry]
    differs: Mapping[str, Entry]

    def entries(self) -> list[Entry]:
        """Everything that the file says, for those who look for its sources."""
        return [*self.values.values(), *self.terms.values(), *self.differs.values()]

    def contract(self, contract: Contract) -> Contract:
        """The same contract with this venue's terms."""
        changes: dict[str, Any] = {name: entry.text for name, entry in self.terms.items()}
        if contract.brackets:
            changes.pop("maintenance_share", None)
        return dataclasses.replace(contract, **changes)


def load(name: str) -> Preset:
    """The preset of that name; raises ValueError for another one."""
    if name not in NAMES:
        raise ValueError(f"preset: {name!r} is none of {', '.join(NAMES)}")
    return read(path_of(name))


def path_of(name: str) -> Path:
    """The file of a preset."""
    return Path(__file__).parent / f"{name}.toml"


def read(path: str | Path) -> Preset:
    """A preset from a file of one's own: copy one of these and change it.

    Raises ValueError, "file: key: what is wrong; what to do", OSError for a file that is not there.
    """
    import tomllib

    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path.name}: {error}; mend the file's form (TOML)") from None
    return _Reader(path, data).preset()


class _Reader:
    """Checks one file; what it raises names file, key and cure."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path, self.data = path, data

    def error(self, key: str, what: str, cure: str) -> ValueError:
        return ValueError(f"{self.path.name}: {key}: {what}; {cure}")

    def preset(self) -> Preset:
        for key in self.data.keys() - {"title", *_TABLES}:
            raise self.error(key, "is no key", f"use title, {', '.join(_TABLES)}")
        title = self.data.get("title")
        if not isinstance(title, str) or not title:
            raise self.error("title", "is missing", "name the venue")
        self.sources = self.table("sources")
        for key, where in self.sources.items():
            if not isinstance(where, str) or not where:
                raise self.error(f"sources.{key}", "is no text", "say where it is published")
        values, terms = self.entries("policies", _POLICIES), self.entries("contract", _TERMS)
        differs = self.entries("differs", None)
        return Preset(self.path.stem, title, self.policies(values), values, terms, differs)

    def table(self, name: str) -> dict[str, Any]:
        table = self.data.get(name, {})
        if not isinstance(table, dict):
            raise self.error(name, "is no table", f"write [{name}]")
        return table

    def entries(self, name: str, known: tuple[str, ...] | None) -> dict[str, Entry]:
        """A table of { value, source }; every number is written as text, so that it is exact."""
        found = {}
        for key, entry in self.table(name).items():
            where = f"{name}.{key}"
            if known is not None and key not in known:
                raise self.error(where, "is no key", f"use {', '.join(known)}")
            if not isinstance(entry, dict) or not entry.keys() <= {"value", "source"}:
                raise self.error(where, "is no entry", 'write { value = "...", source = "..." }')
            value, source = entry.get("value"), entry.get("source")
            if not isinstance(value, str) or not value:
                raise self.error(where, f"{value!r} is no text", 'write value = "..."')
            if source is not None and source not in self.sources:
                raise self.error(where, f"{source!r} is no source", "add it to [sources]")
            if source is None and name != "policies":
                raise self.error(where, "has no source", "name one, or leave the value out")
            found[key] = Entry(value, None if source is None else self.sources[source])
        return found

    def policies(self, values: Mapping[str, Entry]) -> Policies:
        """The choices; one that differs from the default needs a source."""
        for name in _POLICIES:
            if name not in values:
                raise self.error(f"policies.{name}", "is missing", "every policy has a line")
        try:
            made = Policies(**{name: entry.text for name, entry in values.items()})
        except ValueError as error:
            raise ValueError(f"{self.path.name}: policies.{error}; choose one of these") from None
        defaults = Policies()
        for name, entry in values.items():
            if entry.source is None and getattr(made, name) != getattr(defaults, name):
                raise self.error(
                    f"policies.{name}", f"{entry.text!r} has no source",
                    f"name one, or leave the default, {getattr(defaults, name)!s}",
                )
        return made
