"""The installed headers: they compile alone, and say what the core says (records, numbers, ABI)."""

from __future__ import annotations

import re
from enum import IntEnum
from pathlib import Path

import numpy as np
import pytest
from outside import Compile, run

import perpcore
from perpcore import codes

INCLUDE = Path(perpcore.get_include())
HEADERS = sorted(path.relative_to(INCLUDE) for path in INCLUDE.glob("perpcore/*.h*"))

RECORDS = {
    "perpcore_command": perpcore.COMMAND,
    "perpcore_event": perpcore.EVENT,
    "perpcore_contract_terms": perpcore.CONTRACT_TERMS,
    "perpcore_venue_terms": perpcore.VENUE_TERMS,
}
ENUMERATIONS = [
    value
    for value in vars(codes).values()
    if isinstance(value, type) and issubclass(value, IntEnum) and value is not IntEnum
]
NUMBERS = {
    name: int(member)
    for enumeration in ENUMERATIONS
    for name, member in enumeration.__members__.items()
}

#: Spoils one field of a table that fits; the header's own test must say so.
SPOILED = {
    "abi_number += 1": "ABI number differs",
    "abi_number -= 1": "ABI number differs",
    "table_bytes -= 1": "older than the headers",
    "command_bytes += 8": "another size",
    "event_bytes -= 8": "another size",
    "contract_terms_bytes += 8": "another size",
    "venue_terms_bytes += 4": "another size",
}


def program(body: str) -> str:
    return f"""
#include <stdio.h>
#include <string.h>
#include "perpcore/api.h"
int main(void) {{
{body}
    return 0;
}}
"""


def fitting_table(change: str = "") -> str:
    """C that makes a table which fits, changes it and prints what is wrong with it."""
    return f"""
    perpcore_api api;
    memset(&api, 0, sizeof api);
    api.abi_number = PERPCORE_API_ABI;
    api.table_bytes = sizeof api;
    api.command_bytes = sizeof(perpcore_command);
    api.event_bytes = sizeof(perpcore_event);
    api.contract_terms_bytes = sizeof(perpcore_contract_terms);
    api.venue_terms_bytes = sizeof(perpcore_venue_terms);
    {change}
    const char* mismatch = perpcore_api_mismatch(&api);
    printf("%s", mismatch == NULL ? "fits" : mismatch);
"""


def test_the_headers_for_c_and_cpp_are_installed() -> None:
    assert {"api.h", "codes.h", "int128.hpp"} <= {path.name for path in HEADERS}


@pytest.mark.parametrize("header", HEADERS, ids=str)
@pytest.mark.parametrize("standard", ["c++17", "c++20"])
def test_a_header_compiles_alone_in_cpp(
    header: Path, standard: str, compile_strictly: Compile
) -> None:
    compile_strictly(f'#include "{header.as_posix()}"\n', standard, links=False)


@pytest.mark.parametrize("header", ["perpcore/api.h", "perpcore/codes.h"])
@pytest.mark.parametrize("standard", ["c11", "gnu17"])
def test_the_c_headers_compile_alone_in_c(
    header: str, standard: str, compile_strictly: Compile
) -> None:
    compile_strictly(f'#include "{header}"\ntypedef int used;\n', standard, links=False)


@pytest.mark.parametrize("standard", ["c11", "c++17"])
def test_a_record_in_c_is_the_dtype_in_python_field_by_field(
    standard: str, compile_strictly: Compile
) -> None:
    lines, expected = [], []
    for struct, dtype in RECORDS.items():
        lines.append(f'    printf("{struct} 0 %zu\\n", sizeof({struct}));')
        expected.append(f"{struct} 0 {dtype.itemsize}")
        fields = dtype.fields or {}
        # Without a gap, so that no field of C is missing in Python.
        assert sum(field.itemsize for field, *_ in fields.values()) == dtype.itemsize
        for name, (field, offset, *_) in fields.items():
            lines.append(
                f'    printf("{name} %zu %zu\\n", offsetof({struct}, {name}),'
                f" sizeof((({struct}*)0)->{name}));"
            )
            expected.append(f"{name} {offset} {field.itemsize}")
    assert run(compile_strictly(program("\n".join(lines)), standard)).splitlines() == expected


@pytest.mark.parametrize("struct", RECORDS)
def test_a_field_of_a_record_has_the_sign_that_python_gives_it(
    struct: str, compile_strictly: Compile
) -> None:
    kinds = {
        name: field.base.kind
        for name, (field, *_) in (RECORDS[struct].fields or {}).items()
        if field.base.kind in "iu"
    }
    array = {name for name, (field, *_) in (RECORDS[struct].fields or {}).items() if field.shape}
    lines = [f"    {struct} r;", "    memset(&r, 0xFF, sizeof r);"]
    for name in kinds:
        value = f"r.{name}[0]" if name in array else f"r.{name}"
        lines.append(f'    printf("{name} %c\\n", {value} < 1 ? \'i\' : \'u\');')
    printed = run(compile_strictly(program("\n".join(lines)), "c11")).split()
    assert dict(zip(printed[::2], printed[1::2], strict=True)) == kinds


def test_every_number_of_the_venue_is_in_the_header_and_no_other() -> None:
    text = (INCLUDE / "perpcore" / "codes.h").read_text(encoding="utf-8")
    named = re.findall(r"^    PERPCORE_(\w+) = (\d+),?$", text, re.MULTILINE)
    assert len(named) == len(set(named)) == sum(len(e.__members__) for e in ENUMERATIONS)
    assert {name: int(number) for name, number in named} == NUMBERS


def test_the_compiler_reads_the_same_numbers(compile_strictly: Compile) -> None:
    body = "\n".join(f'    printf("%d\\n", (int)PERPCORE_{name});' for name in NUMBERS)
    printed = run(compile_strictly(program(body), "c11")).split()
    assert [int(number) for number in printed] == list(NUMBERS.values())


def test_a_table_that_fits_is_taken(compile_strictly: Compile) -> None:
    assert run(compile_strictly(program(fitting_table()), "c11")) == "fits"


def test_a_newer_table_with_more_functions_is_taken(compile_strictly: Compile) -> None:
    assert run(compile_strictly(program(fitting_table("api.table_bytes += 8;")), "c11")) == "fits"


@pytest.mark.parametrize("change", SPOILED)
def test_a_table_that_does_not_fit_is_refused_in_words(
    change: str, compile_strictly: Compile
) -> None:
    said = run(compile_strictly(program(fitting_table(f"api.{change};")), "c11"))
    assert SPOILED[change] in said


def test_without_a_table_the_header_says_what_to_import(compile_strictly: Compile) -> None:
    body = '    printf("%s", perpcore_api_mismatch(NULL));'
    assert "perpcore.engine" in run(compile_strictly(program(body), "c11"))


def test_records_are_little_endian_here() -> None:
    assert np.array([1], "<u2").tobytes() == np.array([1], np.uint16).tobytes()
