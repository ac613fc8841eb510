"""What goes in and what comes out: commands, events, terms. Fields as in records.pxd."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, NamedTuple

from .codes import Code, Done, Ev, Ledger, Reason, name_of
from .units import NO_CONTRACT, NONE


@dataclass(slots=True)
class Command:
    kind: int = 0
    timestamp_ns: int = 0
    order_id: int = 0
    client_order_id: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    account: int = 0
    contract: int = 0
    side: int = 0
    isolation_id: int = 0
    order_type: int = 0
    time_in_force: int = 0
    exec_flags: int = 0
    stp: int = 0
    leverage: int = 0
    scope: int = 0
    currency: int = 0
    trigger_price_ticks: int = 0
    expiry_ns: int = 0
    isolated_margin_units: int = 0
    amount_units: int = 0
    mark_ticks: int = 0
    rate_e9: int = 0
    profile: int = 0
    caller_tag: int = 0


class Event(NamedTuple):
    seq: int
    kind: int
    account: int = NONE
    contract: int = NO_CONTRACT
    isolation_id: int = 0
    code: int = 0
    reason: int = 0
    ledger: int = 0
    flags: int = 0
    order_id: int = 0
    price_ticks: int = 0
    qty_lots: int = 0
    amount_units: int = 0
    balance_units: int = 0

    def __repr__(self) -> str:
        """Words for numbers, and only what is set: a difference in a test can be read."""
        words = [f"#{self.seq} {name_of(Ev, self.kind)}"]
        for name, value in zip(self._fields[2:], self[2:], strict=True):
            if value == self._field_defaults[name]:
                continue
            shown = str(value)
            if name == "code":
                shown = f"{value} {name_of(Code, value)}"
            elif name == "ledger":
                shown = name_of(Ledger, value)
            elif name == "reason":
                shown = name_of(Reason if self.kind == Ev.BALANCE else Done, value)
            words.append(f"{name}={shown}")
        return "<" + " ".join(words) + ">"


@dataclass(slots=True)
class ContractTerms:
    symbol: str
    tick_size_e12: int
    lot_size_e9: int
    multiplier: int
    marks_per_tick: int
    max_price_ticks: int
    min_order_lots: int
    max_order_lots: int
    max_position_lots: int
    liquidation_slice_lots: int
    inventory_limit_lots: int
    work_off_slice_lots: int
    taker_fee_e9: int
    maker_fee_e9: int
    liquidation_fee_e9: int
    maintenance_share_e4: int
    unit_margin_rate_e15: int
    max_leverage: int
    band_aggressive_e9: int
    band_passive_e9: int
    work_off_band_e9: int
    funding_cap_e9: int
    stale_after_ns: int
    access_group: int = 0
    kind: int = 1
    bracket_count: int = 0
    bracket_cap_units: tuple[int, ...] = ()
    bracket_mm_e9: tuple[int, ...] = ()
    bracket_leverage: tuple[int, ...] = ()
    bracket_cum_units: tuple[int, ...] = ()


@dataclass(slots=True)
class VenueTerms:
    fund_opening_units: tuple[int, int] = (0, 0)
    usdc_haircut_e9: int = 0
    max_orders_per_account: int = 200
    max_blocks_per_account: int = 16
    account_notional_limit_units: int = 0
    excluded_citizenship: tuple[int, ...] = ()
    excluded_residence: tuple[int, ...] = ()
    account_capacity: int = 1024
    unit_capacity: int = 4096
    leg_capacity: int = 8192
    order_capacity: int = 16384
    page_capacity: int = 64
    timers_per_command: int = 16
    haircut_in: int = 0
    block_collateral: int = 0
    removal: int = 0
    partial_close: int = 0
    isolated_flip: int = 0
    liquidation_limit: int = 0
    order_margin_in_liquidation: int = 0
    backstop: int = 0
    adl_rank: int = 0
    adl_price: int = 0
    surplus_to: int = 0
    deficit: int = 0
    socialize_by: int = 0
    socialized_loss: int = 0
    unlock_requires: int = 0
    unlock_at: int = 0
    fund_by_contract: int = 0
    spare: tuple[int, ...] = (0, 0, 0, 0, 0, 0, 0)
    cover_limit_units: int = 0


def from_row(kind: type, row: Any) -> Any:
    """A Command or Event from one row of a numpy array of that record."""
    names = kind._fields if hasattr(kind, "_fields") else [f.name for f in fields(kind)]
    return kind(**{name: int(row[name]) for name in names})


def to_row(record: Any, row: Any) -> None:
    """Write a Command or terms into one row of a numpy array; tuples fill their array from 0."""
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, tuple):
            row[field.name][: len(value)] = value
        else:
            row[field.name] = value
