"""The house is in order: floors, stubs, codes, lengths."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "cython" / "perpcore"
SHELL = ROOT / "src" / "perpcore"

#: Every room of the core and its floor; a room cimports rooms of lower floors only.
#: Rooms of one floor that use each other stand on half floors.
FLOORS = {
    "codes": 0, "records": 0, "memory": 0, "sort": 0, "int128": 0, "columns": 0,
    "undo": 0.5,
    "policies": 0.5, "units": 0.5,
    "unitset": 1, "margin": 0.9, "contract": 1,
    "pricemap": 2, "book": 2.5, "funding": 2,
    "state": 3, "arenas": 3.1, "walks": 3.2, "eligibility": 4,
    "standing": 3.5, "posting": 4, "thresholds": 4.2, "sweep": 4.3, "transfers": 4.4,
    "reserves": 4.6,
    "clearing": 5,
    "orders": 6, "triggers": 6.1, "accounts": 6.2, "amendments": 6.2, "blocks": 6.2, "fund": 6.2,
    "adl": 6.6,
    "liquidation": 7,
    "session": 8, "administration": 8,
    "dispatch": 8.5, "checks": 8.5, "digest": 8.5, "snapshot": 8.6, "fork": 8.6, "host": 8.7,
    "engine": 9,
    "journal": 10,
}

CIMPORT = re.compile(r"^\s*(?:from\s+perpcore\.(\w+)\s+cimport|cimport\s+perpcore\.(\w+))", re.M)
ROOMS = sorted([*CORE.glob("*.pxd"), *CORE.glob("*.pyx")])
ROOMS = [path for path in ROOMS if path.stem != "__init__"]
SHELL_FILES = sorted(SHELL.glob("*.py"))


def cimported(path: Path) -> set[str]:
    """Names of the rooms that a file cimports, its own declarations apart."""
    found = {one or other for one, other in CIMPORT.findall(path.read_text(encoding="utf-8"))}
    return found - {path.stem}


@pytest.mark.parametrize("path", ROOMS, ids=lambda path: path.name)
def test_a_room_cimports_only_rooms_of_lower_floors(path: Path) -> None:
    assert path.stem in FLOORS, f"{path.name} has no floor"
    higher = {room for room in cimported(path) if FLOORS[room] >= FLOORS[path.stem]}
    assert higher == set()


@pytest.mark.parametrize("path", sorted(CORE.glob("*.pyx")), ids=lambda path: path.name)
def test_a_compiled_module_has_its_stub(path: Path) -> None:
    assert (SHELL / f"{path.stem}.pyi").is_file()


def test_the_build_names_every_compiled_module() -> None:
    cmake = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    (named,) = re.findall(r"set\(PERPCORE_MODULES ([\w ]+)\)", cmake)
    assert set(named.split()) == {path.stem for path in CORE.glob("*.pyx")}


def declared(enumeration: str) -> dict[str, int]:
    """Names and numbers of an enumeration of codes.pxd."""
    text = (CORE / "codes.pxd").read_text(encoding="utf-8")
    body = text.split(f"cpdef enum {enumeration}:")[1].split("\ncpdef ")[0]
    return {name: int(number) for name, number in re.findall(r"^    (\w+) = (\d+)$", body, re.M)}


def test_every_code_has_its_heading_once_and_its_name_in_a_test() -> None:
    text = (ROOT / "docs" / "rejects.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (\d+) (\w+)$", text, re.M)
    codes = declared("Code")
    assert sorted(headings) == sorted((str(number), name) for name, number in codes.items())
    tests = "\n".join(
        path.read_text(encoding="utf-8")
        for path in (ROOT / "tests").rglob("test_*.py")
        if path.name != "test_house.py"
    )
    untested = [
        name for name, number in codes.items() if not re.search(rf"\b({number}|{name})\b", tests)
    ]
    assert untested == []


def test_the_stub_of_codes_has_every_name_and_number() -> None:
    core = (CORE / "codes.pxd").read_text(encoding="utf-8")
    stub = ast.parse((SHELL / "codes.pyi").read_text(encoding="utf-8"))
    stubbed = {
        node.name: {
            line.targets[0].id: line.value.value  # type: ignore[attr-defined]
            for line in node.body
            if isinstance(line, ast.Assign)
        }
        for node in stub.body
        if isinstance(node, ast.ClassDef)
    }
    named = re.findall(r"^cpdef enum (\w+):", core, re.M)
    assert stubbed == {name: declared(name) for name in named}


#: Field types of records.pxd as numpy says them.
TYPES = {
    "int64_t": "<i8", "uint64_t": "<u8", "uint32_t": "<u4", "uint16_t": "<u2", "uint8_t": "|u1",
}


@pytest.mark.parametrize(
    ("struct", "dtype"),
    [("Command", "COMMAND"), ("Event", "EVENT"), ("ContractTerms", "CONTRACT_TERMS"),
     ("VenueTerms", "VENUE_TERMS")],
)
def test_a_record_of_python_is_the_record_of_the_core(struct: str, dtype: str) -> None:
    from perpcore import records

    text = (CORE / "records.pxd").read_text(encoding="utf-8")
    body = text.split(f"cdef packed struct {struct}:\n")[1].split("\ncdef ")[0]
    table = text.split("cdef packed struct Brackets:\n")[1].split("\ncdef ")[0]
    # A record that stands in another gives its fields under its own name.
    body = body.replace("    Brackets brackets\n", re.sub(r"(?<=_t )", "bracket_", table) + "\n")
    fields = re.findall(r"^    (\w+) (\w+)(?:\[(\d+)\])?", body, re.M)
    core = [
        (name, f"|S{count}" if kind == "char" else TYPES[kind], (int(count),) if count else ())
        for kind, name, count in fields
    ]
    python = [
        (name, field.base.str, field.shape)
        for name, (field, *_) in getattr(records, dtype).fields.items()
    ]
    assert [(n, t, () if t.startswith("|S") else s) for n, t, s in core] == python


@pytest.mark.parametrize("path", [*ROOMS, *SHELL_FILES], ids=lambda path: path.name)
def test_files_and_lines_are_short_enough_to_read(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 800
    assert [number for number, line in enumerate(lines, 1) if len(line) > 100] == []


@pytest.mark.parametrize("path", SHELL_FILES, ids=lambda path: path.name)
def test_functions_are_short_enough_to_read(path: Path) -> None:
    """About 70 lines, docstrings apart."""
    long = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
            if (node.end_lineno or 0) - first.lineno > 70:
                long.append(node.name)
    assert long == []
