"""Tables of notional brackets as a venue publishes them: amounts, registration, liquidation marks.

`data/leverage_brackets.json` holds 27 of Binance's tables (freqtrade at c9ae5e1e). For a soak
PERPCORE_BRACKETS names another file of that form, or freqtrade's own with all 349.
"""

from __future__ import annotations

import json
import os
import random
from fractions import Fraction
from math import ceil
from pathlib import Path

import pytest

import perpcore as pc
from perpcore.contracts import venue_terms
from perpcore.engine import Engine
from perpcore.margin import MarginTerms

DATA = Path(__file__).parent / "data" / "leverage_brackets.json"
USD, E9 = 10**8, 10**9
NO_LIMIT = 2**60  # money units: more than any position is worth (SPEC U2)
FEES_E9 = 500_000 + 5_000_000  # the contract's taker and liquidation fee


def read(path):
    """Published rows by contract."""
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return {name: [row.get("info", row) for row in rows]
            for name, rows in content.get("contracts", content).items()}


TABLES = read(os.environ.get("PERPCORE_BRACKETS", DATA))


def listed(name, rows):
    """A contract with the table, whose largest position reaches the last cap."""
    caps = [int(row["notionalCap"]) for row in rows]
    brackets = [(None if cap * USD >= NO_LIMIT else cap, row["maintMarginRatio"],
                 int(row["initialLeverage"])) for cap, row in zip(caps, rows, strict=True)]
    largest = min(caps[-1], 10**10) // 10_000
    return pc.Contract(
        symbol="X-PERP", base=name, tick_size="0.01", lot_size="0.001", max_price=10_000,
        min_quantity="0.001", max_quantity=largest, max_position=largest, liquidation_slice=1,
        inventory_limit=largest, work_off_slice=1, max_leverage=brackets[0][2], brackets=brackets,
    )  # fmt: skip


@pytest.fixture(scope="module", params=sorted(TABLES))
def table(request):
    rows = TABLES[request.param]
    return rows, listed(request.param, rows)


def test_the_amounts_are_the_published_ones(table):
    """C1: continuity gives each cumulative amount; it equals the printed one."""
    rows, contract = table
    terms = contract.terms()[0]
    printed = [Fraction(row["cum"]) * USD for row in rows]
    assert terms["bracket_cum_units"].tolist()[: len(rows)] == printed


def test_the_table_is_registered(table):
    """U2: all that the proof of one liquidation mark asks of a table holds for it."""
    _, contract = table
    assert Engine(venue_terms(), 1).add_contract(contract.terms(), 1) == 0
    assert pc.Contract.from_terms(contract.terms()).brackets == contract.brackets


def exact_maintenance(rows, notional):
    """From the published row that holds the notional."""
    row = next((r for r in rows if notional <= int(r["notionalCap"]) * USD), rows[-1])
    return notional * Fraction(row["maintMarginRatio"]) - Fraction(row["cum"]) * USD


def positions(rows, terms, rng):
    """(mark, qty, cost, cash): positions that turn near the mark, in every bracket and at each cap.

    Sizes are what the mark makes of a notional; a few units of cash more or less.
    """
    floor = 0
    for row in rows:
        cap = min(int(row["notionalCap"]) * USD, terms.max_mark_ticks * terms.value_units * 10**9)
        for notional in (rng.randint(floor + 1, cap), rng.randint(floor + 1, cap), cap):
            mark = rng.randint(1, terms.max_mark_ticks)
            lots = max(1, notional // (mark * terms.value_units))
            lots = min(lots, (NO_LIMIT - 1) // (terms.value_units * terms.max_mark_ticks))
            qty = rng.choice((lots, -lots))
            value = qty * terms.value_units * mark
            cost = rng.randint(value * 9 // 10, value * 11 // 10) if qty > 0 else value
            needed = exact_maintenance(rows, abs(value)) + Fraction(abs(value) * FEES_E9, E9)
            yield mark, qty, cost, cost - value + ceil(needed) + rng.choice((-1, 0, 0, 1))
        floor = cap


def test_the_liquidation_mark_equals_the_inequality_on_both_sides(table):
    """Q2: at the mark and beyond MB < MM, one tick before not; by the published rows."""
    rows, contract = table
    terms = MarginTerms.from_record(contract.terms()[0])
    rng = random.Random(contract.base)
    for mark, qty, cost, cash in positions(rows, terms, rng):
        threshold = terms.liquidation_mark(cash, qty, cost)
        assert threshold is None or abs(threshold - mark) <= 1 + 5 // abs(qty)
        near = threshold or mark
        for at in {max(1, near - 1), near, min(near + 1, terms.max_mark_ticks), mark}:
            value = qty * terms.value_units * at
            needed = exact_maintenance(rows, abs(value)) + Fraction(abs(value) * FEES_E9, E9)
            is_below = cash + value - cost < needed
            beyond = threshold is not None and (at <= threshold if qty > 0 else at >= threshold)
            assert is_below == beyond, (qty, cost, cash, at, threshold)
            assert terms.is_below_maintenance(cash, qty, cost, at) == beyond
