"""The coverage matrix: kind of command x code x state of the unit that it is about.

Which cells can be reached at all is written down here, from docs/decisions.md; a soak that never
reaches one has a hole in its generator.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from reference.codes import Exec, Kind
from reference.records import Command
from worlds import Dump

from perpcore.codes import BlockState

Cell = tuple[int, int, str]  # kind, code, state

FLAT, HOLDING, CALLED = "flat", "holding", "called"  # main accounts
NEW, PENDING, OPEN, GONE = "new block", "pending", "open", "no block"
CALM, EXPOSED, IN_DEBT = "calm", "exposed", "fund in debt"  # the venue, for administration
ANY = "any"

MAINS = (FLAT, HOLDING, CALLED)
VENUE = (CALM, EXPOSED, IN_DEBT)
#: Found before anybody looks at a unit.
STRUCTURE = frozenset({40001, 40003, 40004, 40101, 209, 210, 211})

ELIGIBLE = (202, 411, 412, 40104, 226)  # A2, in their order; 615 and 208 where they apply
PRICED = (308, 312, 313, 315)
SHAPE = (213, 218, 219, 220, 221)
LISTED = (0, *SHAPE, 415, 314, *PRICED, 309, 222, 204, 1110, *ELIGIBLE, 208, 319, 303, 306,
          318, 50001, 43003, 43004, 43005, 43012)


def cells_of(kind: int, codes: tuple[int, ...], states: tuple[str, ...]) -> set[Cell]:
    return {(kind, code, ANY if code in STRUCTURE else state) for code in codes for state in states}


def possible() -> frozenset[Cell]:
    """Every cell that the rules allow and a generator is expected to meet."""
    k = Kind
    found = cells_of(k.NEW_ORDER, (*LISTED, 209, 210, 40001, 40003), (FLAT, HOLDING))
    found |= cells_of(k.NEW_ORDER, (*LISTED, 320, 615, 614, 617), (NEW,))
    found |= cells_of(k.NEW_ORDER, (*LISTED, 320, 615), (PENDING, OPEN))
    # Who loses these loses the orders that a pending block consists of (A2).
    found -= cells_of(k.NEW_ORDER, (202, 411, 412, 615), (PENDING,))
    found |= cells_of(k.NEW_ORDER, (207,), (FLAT, NEW))  # a position or block had a mark
    found |= cells_of(k.NEW_ORDER, (310,), (HOLDING, OPEN))
    # A reserve covers the initial margin, so that only a block that lost is too low after a fill.
    found |= cells_of(k.NEW_ORDER, (304,), (OPEN,))
    found |= cells_of(k.NEW_ORDER, (619,), (OPEN,))  # elsewhere every lot raises risk
    found |= cells_of(k.NEW_ORDER, (*SHAPE, *PRICED, 309, 207, 613), (GONE,))
    found |= cells_of(k.NEW_ORDER, (301, 0, 1110, 43004, 312, 313), (CALLED,))
    found |= cells_of(k.NEW_ORDER, (212, 229), (FLAT, HOLDING, OPEN))  # links and triggers
    found |= cells_of(k.NEW_ORDER, (301,), (FLAT, HOLDING)) | cells_of(k.NEW_ORDER, (229,), (NEW,))
    amend = (0, 213, 415, 314, *PRICED, 309, 222, 43005, 43012)
    found |= cells_of(k.AMEND, (*amend, 306), (FLAT, HOLDING, PENDING, OPEN))
    found |= cells_of(k.AMEND, (304,), (OPEN,))
    found |= cells_of(k.AMEND, (229,), (FLAT, HOLDING, PENDING, OPEN))
    found |= cells_of(k.AMEND, (210, 40001, 40003), (FLAT,))
    found |= cells_of(k.AMEND, (212,), MAINS)
    found |= cells_of(k.CANCEL, (0,), (FLAT, HOLDING, PENDING, OPEN))
    found |= cells_of(k.CANCEL, (212,), MAINS)
    found |= cells_of(k.CANCEL, (210, 40001, 40003), (FLAT,))
    found |= cells_of(k.CANCEL_ALL, (0, 209, 210, 40001, 40003), MAINS)
    closing = (218, 219, *PRICED, 309, 222)  # it has no client order id that could come twice
    found |= cells_of(k.CLOSE_POSITION, (0, *closing, 415, 314, 318, 43004, 43012, 310),
                      (HOLDING, OPEN))
    found |= cells_of(k.CLOSE_POSITION, (0,), (CALLED,))
    found |= cells_of(k.CLOSE_POSITION, (201, 209, 210, 40001, 40003), (FLAT, PENDING))
    found |= cells_of(k.CLOSE_POSITION, (613,), (GONE,))
    raising = (*ELIGIBLE, 208)
    found |= cells_of(k.SET_LEVERAGE, (0, 219, *raising), (FLAT, HOLDING, PENDING, OPEN))
    found |= cells_of(k.SET_LEVERAGE, (209, 210, 40001, 40003), (FLAT,))
    found |= cells_of(k.SET_LEVERAGE, (613,), (GONE,))
    found -= cells_of(k.SET_LEVERAGE, (202, 411, 412, 40104), (PENDING,))
    found |= cells_of(k.SET_LEVERAGE, (320,), (PENDING, OPEN))
    found |= cells_of(k.SET_LEVERAGE, (615,), (OPEN,))
    found |= cells_of(k.SET_LEVERAGE, (306,), (HOLDING, OPEN, PENDING))
    found |= cells_of(k.SET_LEVERAGE, (50001,), (FLAT,))
    found |= cells_of(k.ADD_MARGIN, (0, 306), (PENDING, OPEN))
    found |= cells_of(k.REMOVE_MARGIN, (0, 321), (PENDING, OPEN))
    found |= cells_of(k.REMOVE_MARGIN, (202, 411, 412, 615, 40104), (OPEN,))
    found |= cells_of(k.REMOVE_MARGIN, (222,), (OPEN,))
    for kind in (k.ADD_MARGIN, k.REMOVE_MARGIN):
        found |= cells_of(kind, (613, 210, 211, 40001, 40003), (GONE,))
    found |= cells_of(k.WITHDRAW, (0, 202, 30024, 210, 211, 40001, 40003), MAINS)
    found |= cells_of(k.WITHDRAW, (222,), (HOLDING,))
    found |= cells_of(k.DEPOSIT, (0, 207, 210, 211, 40001, 40003), (FLAT,))
    found |= cells_of(k.DEPOSIT, (0,), MAINS)
    found |= cells_of(k.CANCEL_ALL_AFTER, (0, 210, 40001, 40003), (FLAT, HOLDING))
    found |= cells_of(k.OPEN_ACCOUNT, (0, 210, 40001, 40003), (CALM, EXPOSED))
    found |= cells_of(k.OPEN_ACCOUNT, (50001,), (EXPOSED,))
    found |= cells_of(k.MARK, (0, 209, 40001, 40003, 40101), VENUE)
    found |= cells_of(k.INDEX, (0, 209, 211, 40001, 40003, 40101), VENUE)
    found |= cells_of(k.FUNDING, (0, 209, 40001, 40003, 40101), VENUE)
    found |= cells_of(k.FUNDING, (222,), (EXPOSED, IN_DEBT))
    found |= cells_of(k.SETTLE_SESSION, (0, 40001, 40003, 40101), VENUE)
    found |= cells_of(k.SETTLE_SESSION, (222,), (EXPOSED, IN_DEBT))
    for kind in (k.SET_ELIGIBILITY, k.SET_MARKET_STATE, k.FUND_TOP_UP, k.TICK):
        found |= cells_of(kind, (0, 40001, 40003, 40101), VENUE)
    found |= cells_of(k.FUND_TOP_UP, (211,), VENUE) | cells_of(k.SET_MARKET_STATE, (209,), VENUE)
    return frozenset(found)


def state_of(command: Command, state: Dump) -> str:
    """The state of the command's unit before it."""
    kind = command.kind
    if kind >= Kind.ADMIN_FIRST or kind == Kind.OPEN_ACCOUNT:
        if state["fund_units"][0] < 0:
            return IN_DEBT
        held = any(leg["qty_lots"] for row in state["accounts"] for leg in row["legs"])
        return EXPOSED if held or any(b["qty_lots"] for b in state["blocks"]) else CALM
    block, contract = command.isolation_id, command.contract
    if kind in (Kind.AMEND, Kind.CANCEL):
        order = target_of(command, state)
        if order is not None:
            block, contract = order["isolation_id"], order["contract"]
    elif kind == Kind.NEW_ORDER and command.exec_flags & Exec.ISOLATED_MARGIN and not block:
        return NEW
    elif kind in (Kind.ADD_MARGIN, Kind.REMOVE_MARGIN) and not block:
        return GONE
    if block:
        return state_of_block(block, command.account, state)
    return state_of_main(command, contract, state)


def state_of_block(number: int, account: int, state: Dump) -> str:
    for row in state["blocks"]:
        if row["isolation_id"] == number and row["account"] == account:
            return OPEN if row["state"] == BlockState.OPEN else PENDING
    return GONE


def state_of_main(command: Command, contract: int, state: Dump) -> str:
    """Holding: on the command's contract, or on any where the command names none."""
    if command.account >= len(state["accounts"]):
        return ANY
    row: dict[str, Any] = state["accounts"][command.account]
    if row["margin_call"]:
        return CALLED
    anywhere = command.kind in (Kind.WITHDRAW, Kind.DEPOSIT, Kind.CANCEL_ALL,
                                Kind.CANCEL_ALL_AFTER)
    held = any(leg["qty_lots"] and (anywhere or leg["contract"] == contract)
               for leg in row["legs"])
    return HOLDING if held else FLAT


def target_of(command: Command, state: Dump) -> dict[str, Any] | None:
    for order in state["orders"]:
        if order["account"] == command.account and (
                order["order_id"] == command.order_id or (
                    not command.order_id and command.client_order_id
                    and order["client_order_id"] == command.client_order_id)):
            found: dict[str, Any] = order
            return found
    return None


def cell(command: Command, code: int, state: Dump) -> Cell:
    return command.kind, code, ANY if code in STRUCTURE else state_of(command, state)


NAMES = {number: name for name, number in vars(Kind).items() if not name.startswith("_")}


def show(counts: Counter[Cell]) -> list[str]:
    """A line a kind and code, its states with their counts; 0 is a cell that was never reached."""
    lines, known = [], possible()
    every = known | counts.keys()
    for kind, code in sorted({(kind, code) for kind, code, _ in every if kind in NAMES}):
        states = sorted(state for a, b, state in every if (a, b) == (kind, code))
        shown = "  ".join(f"{state} {counts[kind, code, state]:,}" for state in states)
        lines.append(f"{NAMES[kind]:>16} {code or 'ok':>6}  {shown}")
    return lines


def holes(counts: Counter[Cell]) -> list[str]:
    """Cells that can be reached and never were."""
    return [f"{NAMES[kind]} {code or 'ok'} {state}"
            for kind, code, state in sorted(possible()) if not counts[kind, code, state]]
