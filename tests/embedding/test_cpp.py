"""The engine through the capsule table, from C++: it is the engine that Python has, bit for bit."""

from __future__ import annotations

import ctypes
import sys
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from outside import Example, run

import perpcore
import perpcore.engine
from perpcore.codes import BlockState, EventKind, Ledger, Reason

USD = 100_000_000
CAPSULE = b"perpcore.engine._capi"
#: ABI number, bytes of the table, of a command, an event, contract terms and venue terms.
HEADER = [1, 4096, 128, 64, 744, 168]

FAKE = """
import ctypes, sys, types
import perpcore
table = (ctypes.c_uint32 * 1024)(*{header})
new = ctypes.pythonapi.PyCapsule_New
new.restype, new.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
engine = types.ModuleType("perpcore.engine")
engine._capi = new(ctypes.addressof(table), b"perpcore.engine._capi", None)
sys.modules["perpcore.engine"] = perpcore.engine = engine
import price_slide
print("imported")
"""


@pytest.fixture(scope="module")
def slide(cpp_example: Example) -> dict[str, Any]:
    """What the C++ program did and saw."""
    result: dict[str, Any] = cpp_example.load().run()
    return result


@pytest.fixture(scope="module")
def events(slide: dict[str, Any]) -> np.ndarray:
    return np.frombuffer(slide["events"], perpcore.EVENT)


def test_the_table_says_its_abi_number_and_the_sizes_of_the_records() -> None:
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = (ctypes.c_uint32 * 6).from_address(pointer(perpcore.engine._capi, CAPSULE))
    abi, table_bytes, *sizes = table
    assert abi == 1
    assert table_bytes >= 24 + 11 * ctypes.sizeof(ctypes.c_void_p)
    dtypes = (perpcore.COMMAND, perpcore.EVENT, perpcore.CONTRACT_TERMS, perpcore.VENUE_TERMS)
    assert sizes == [dtype.itemsize for dtype in dtypes]


def test_a_module_built_for_this_table_is_imported(cpp_example: Example) -> None:
    done = cpp_example.python(FAKE.format(header=HEADER))
    assert (done.returncode, done.stdout.strip()) == (0, "imported"), done.stderr


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        (0, 2, "the ABI number differs"),
        (1, 24, "older than the headers"),
        (2, 136, "a record has another size"),
        (3, 56, "a record has another size"),
        (4, 232, "a record has another size"),
        (5, 140, "a record has another size"),
    ],
)
def test_importing_against_a_table_that_does_not_fit_raises(
    cpp_example: Example, place: int, value: int, said: str
) -> None:
    header = [*HEADER[:place], value, *HEADER[place + 1 :]]
    done = cpp_example.python(FAKE.format(header=header))
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: perpcore: ")
    assert said in done.stderr


def test_the_same_commands_in_python_give_the_same_events_and_hash(
    slide: dict[str, Any], events: np.ndarray
) -> None:
    """The table and `perpcore.engine.Engine` are two doors of one engine (D1)."""
    key = slide["admin_key"]
    engine = perpcore.engine.Engine(
        np.frombuffer(slide["venue_terms"], perpcore.VENUE_TERMS).copy(), key
    )
    terms = np.frombuffer(slide["contract_terms"], perpcore.CONTRACT_TERMS).copy()
    assert engine.add_contract(terms, key) == 0
    commands = np.frombuffer(slide["commands"], perpcore.COMMAND).copy()
    out = np.zeros(4 * len(events), perpcore.EVENT)
    applied, written = engine.apply(commands, out, key)
    assert applied == len(commands)
    assert out[:written].tobytes() == events.tobytes()
    assert engine.state_hash() == slide["state_hash"]


def test_no_command_of_the_program_is_refused(events: np.ndarray) -> None:
    assert events["code"][events["kind"] == EventKind.REJECT].tolist() == []


def test_a_preview_tells_the_events_of_the_order_and_changes_nothing(
    slide: dict[str, Any], events: np.ndarray
) -> None:
    """The program itself compares the hash before and after (X1)."""
    opened = events["seq"][events["kind"] == EventKind.BLOCK_OPEN]
    assert slide["previewed_events"] == (events["seq"] == opened[0]).sum()


def test_the_block_has_the_margin_that_left_the_main_account(slide: dict[str, Any]) -> None:
    """500 lots at 60,010 USD, taker fee 0.05 % of 3,000.50 USD (I2, I3)."""
    assert slide["block_state"] == BlockState.OPEN
    assert slide["qty_lots"] == 500
    assert slide["cost_units"] == 300_050_000_000
    fee = 150_025_000
    assert slide["main_cash_units"] == 2_000 * USD - slide["margin_units"] - fee


def test_the_snapshot_shows_the_first_mark_that_liquidates(slide: dict[str, Any]) -> None:
    """MB < MM there, exactly, and not one tick above (Q2): 0.5 % maintenance, 0.55 % reserve."""

    def is_below(mark: int) -> bool:
        value = slide["qty_lots"] * 1_000 * mark
        equity = slide["margin_units"] + value - slide["cost_units"]
        return equity < value * Fraction(105, 10_000)

    mark = slide["liquidation_mark_ticks"]
    assert 540_000 < mark < 600_000
    assert is_below(mark)
    assert not is_below(mark + 1)


def test_the_slide_liquidates_the_block_and_the_fund_gets_what_is_left(
    slide: dict[str, Any], events: np.ndarray
) -> None:
    """Sold to the bid of 59,990 USD; what remains after fees goes to the fund (Q3, S1)."""
    assert slide["mark_ticks"] == 540_000
    assert slide["block_at_end"] == -6  # PERPCORE_STATUS_NOT_FOUND
    fund = events[(events["ledger"] == Ledger.FUND_USD) & (events["kind"] == EventKind.BALANCE)]
    assert set(fund["reason"].tolist()) == {Reason.R_LIQUIDATION_FEE, Reason.R_INSURANCE_FUND}
    gain = slide["fund_after_units"] - slide["fund_before_units"]
    assert gain == fund["amount_units"].sum() > 0
    # Margin less 0.02 x 0.05 BTC x 1,000 of spread and the taker fee of 2,999.50 USD.
    assert gain == slide["margin_units"] - 1 * USD - 149_975_000


def test_the_books_balance(slide: dict[str, Any]) -> None:
    """L1: money of both currencies, and lots."""
    assert slide["residuals"] == [0, 0, 0]


def test_the_program_of_the_example_runs(cpp_example: Example) -> None:
    said = run(sys.executable, "main.py", cwd=cpp_example.folder)
    assert "residuals [0, 0, 0]" in said
