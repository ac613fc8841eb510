"""Published liquidation prices, met by isolated blocks of a running venue.

A contract with the case's maintenance rate is listed, the position is opened against a maker at
the entry price and gets the case's margin. The price that the block shows must be the published
one, and the mark must end the block there and not one mark tick earlier.
"""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import perpcore as pc

DATA = Path(__file__).parent / "data" / "liquidation_prices.json"
# Maintenance that follows the mark; the others are formulas, see test_margin_cases.py.
MODELS = {"mm_on_mark", "mm_plus_taker_on_mark", "mm_on_mark_minus_cum", "entry*(1-s/leverage)"}
NAME = "XXXUSD-PERP"


def dec(value: Any) -> Decimal:
    return Decimal(str(value))


def step_of(value: Any) -> Decimal:
    """The power of ten of the last digit that is written."""
    return Decimal(1).scaleb(min(0, int(dec(value).normalize().as_tuple().exponent)))


def contract_for(i: dict[str, Any]) -> pc.Contract:
    """A contract whose maintenance rate is the case's, on marks as fine as its values allow."""
    tick, lot, quantity, entry = step_of(i["entry"]), step_of(i["qty"]), dec(i["qty"]), i["entry"]
    marks = 1
    while (marks < 10**5 and tick * lot * 10**8 / (marks * 10) >= 1
           and 4 * dec(entry) / tick * marks * 10 < 1 << 31):  # fmt: skip
        marks *= 10
    rate = dec(i["mmr"]) or dec("0.0001")
    # rate = share / leverage, the highest leverage for which the share is below 1 and has 4 digits.
    leverage = next(n for n in range(min(1000, int(1 / rate)), 0, -1)
                    if rate * n < 1 and rate * n * 10**4 % 1 == 0)  # fmt: skip
    return pc.Contract(
        symbol=NAME, base="XXX", tick_size=tick, lot_size=lot, marks_per_tick=marks,
        max_price=dec(entry) * 4, min_quantity=lot, max_quantity=quantity, max_position=quantity,
        liquidation_slice=quantity, inventory_limit=quantity, work_off_slice=quantity,
        taker_fee=dec(i["taker_fee"]), maker_fee=0, liquidation_fee=0,
        maintenance_share=rate * leverage, max_leverage=leverage,
    )  # fmt: skip


def open_block(i: dict[str, Any]) -> tuple[pc.Admin, pc.Block, Decimal]:
    """The block with the case's position and margin, and the size of its mark tick."""
    _, admin = pc.Venue.create(insurance_fund=10**6)
    contract = contract_for(i)
    admin.add_contract(contract)
    admin.mark(NAME, dec(i["entry"]))
    value, margin = dec(i["qty"]) * dec(i["entry"]), dec(i["margin"]) + dec(i["maint_amount"])
    maker = admin.open_account("maker", deposit={"USD": 10 * value})
    owner = admin.open_account("owner", deposit={"USD": 10 * value})
    ours, theirs = ("BUY", "SELL") if i["side"] == "long" else ("SELL", "BUY")
    maker.create_order(NAME, theirs, quantity=dec(i["qty"]), price=dec(i["entry"]))
    owner.create_order(
        NAME, ours, quantity=dec(i["qty"]), price=dec(i["entry"]), exec_inst="ISOLATED_MARGIN",
        leverage=int(contract.max_leverage),
    )  # fmt: skip
    block = owner.isolated(NAME)
    missing = (margin - block.margin).quantize(Decimal("1e-8"))
    if missing:
        block.add_margin(missing)
    return admin, block, contract.tick_size / contract.marks_per_tick


def cases() -> list[Any]:
    """Cases that a block can hold; a cumulative amount acts as that much more margin."""
    found = json.loads(DATA.read_text())["cases"]
    return [
        pytest.param({**case, "inputs": {"maint_amount": 0, "taker_fee": 0, **case["inputs"]}},
                     id=case["id"])
        for case in found
        if case["model"] in MODELS and case["maps_linear_isolated"]
    ]  # fmt: skip


@pytest.mark.parametrize("case", cases())
def test_a_block_shows_the_published_price_and_is_liquidated_at_it(case):
    admin, block, tick = open_block(case["inputs"])
    room = dec(case["tolerance"]) + tick
    if case["kind"] == "bankruptcy_price":
        # A price of 0 is no mark: a long that has paid its whole value in has none.
        assert abs((block.bankruptcy_price or 0) - dec(case["expected"])) <= room
        return
    price = block.liquidation_price
    assert abs(price - dec(case["expected"])) <= room
    admin.mark(NAME, price + tick if case["inputs"]["side"] == "long" else price - tick)
    assert block.state == "OPEN"
    admin.mark(NAME, price)
    assert block.state == "CLOSED"


def test_the_cases_of_every_model_that_follows_the_mark_are_run():
    taken = [case.values[0] for case in cases()]
    assert {case["model"] for case in taken} >= MODELS - {"mm_on_mark"}
    assert {case["inputs"]["side"] for case in taken} == {"long", "short"}
