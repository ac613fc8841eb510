"""Terms of contracts and of the venue, written in decimals and checked on the way into the core.

`Contract` holds what a venue publishes about a perpetual; `BTCUSD_PERP` and `ETHUSD_PERP` are two
that are ready to use. Perpetuals here are linear: quoted and paid in USD (SPEC U2).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from perpcore.amounts import (
    NotOnGrid,
    Number,
    from_steps,
    from_units,
    plain,
    to_decimal,
    to_steps,
    to_units,
    trimmed,
)
from perpcore.engine import Steps
from perpcore.policies import Policies
from perpcore.records import BRACKETS_MAX, CONTRACT_TERMS, VENUE_TERMS

_TICK, _LOT, _RATE = Decimal("1e-12"), Decimal("1e-9"), Decimal("1e-9")
_SHARE, _UNIT_RATE = Decimal("1e-4"), Decimal("1e-15")
_SECOND_NS = 1_000_000_000
_NO_CAP_UNITS = 2**60  # above every notional (SPEC U2)

# field of the terms, attribute, step of the attribute's decimal
_RATES = (
    ("taker_fee_e9", "taker_fee", _RATE),
    ("maker_fee_e9", "maker_fee", _RATE),
    ("liquidation_fee_e9", "liquidation_fee", _RATE),
    ("maintenance_share_e4", "maintenance_share", _SHARE),
    ("band_aggressive_e9", "band_aggressive", _RATE),
    ("band_passive_e9", "band_passive", _RATE),
    ("work_off_band_e9", "work_off_band", _RATE),
    ("funding_cap_e9", "funding_cap", _RATE),
)
_SIZES = (
    ("min_order_lots", "min_quantity"),
    ("max_order_lots", "max_quantity"),
    ("max_position_lots", "max_position"),
    ("liquidation_slice_lots", "liquidation_slice"),
    ("inventory_limit_lots", "inventory_limit"),
    ("work_off_slice_lots", "work_off_slice"),
)


def _exact(value: Number, step: Decimal, what: str) -> int:
    try:
        return to_steps(value, step, what)
    except NotOnGrid as error:
        raise ValueError(
            f"{what}: {plain(error.value)} is not a multiple of {plain(step)}; nearest: "
            f"{plain(error.below)} and {plain(error.above)}"
        ) from None


@dataclass(frozen=True)
class Bracket:
    """One row of a table of notional brackets (SPEC C1), as venues publish them.

    cap: USD; the largest notional of the bracket; None in the last row: no limit.
    maintenance_rate: what the notional needs beyond the last bracket's cap, as a share of it.
    leverage: the largest leverage of a position of this notional.
    """

    cap: Number | None
    maintenance_rate: Number
    leverage: int

    def __post_init__(self) -> None:
        """Keep decimals as Decimal, so that equal rows compare equal."""
        if self.cap is not None:
            object.__setattr__(self, "cap", trimmed(to_decimal(self.cap, "cap")))
        rate = trimmed(to_decimal(self.maintenance_rate, "maintenance_rate"))
        object.__setattr__(self, "maintenance_rate", rate)
        leverage = _exact(to_decimal(self.leverage, "leverage"), Decimal(1), "leverage")
        object.__setattr__(self, "leverage", leverage)


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Terms of one linear perpetual, in decimals.

    Every number may be given as str, Decimal or int and reads back as Decimal (counts as int).

    symbol: name on the venue, at most 32 ASCII characters, e.g. "BTCUSD-PERP".
    base: what one lot is a part of, e.g. "BTC"; taken from the symbol when left out.
    tick_size: USD; order prices are its multiples. lot_size: base units; sizes are its multiples.
    multiplier: base units that one unit of size stands for.
    marks_per_tick: marks are finer than order prices by this factor (SPEC U1).
    max_price: USD; the largest order price.
    min_quantity, max_quantity: base units, of one order. max_position: of an account and side.
    liquidation_slice: base units that one step of a cross liquidation closes (SPEC Q3).
    inventory_limit, work_off_slice, work_off_band: what the insurance fund may hold, and how it
    sells it (SPEC Q4).
    taker_fee, maker_fee, liquidation_fee: shares of the notional.
    maintenance_share: maintenance margin as a share of initial margin; unit_margin_rate: initial
    margin rate that each base unit of position adds (SPEC C1); max_leverage: whole number.
    brackets: the second margin model of SPEC C1: up to 16 `Bracket`s, or tuples of their fields,
    caps rising to the largest position's notional. They replace maintenance_share and
    unit_margin_rate, and limit the leverage by notional.
    band_aggressive, band_passive: largest distance of an order from the mark (SPEC O4).
    funding_cap: largest funding rate of one interval (SPEC F1).
    stale_after: seconds after which a mark is too old to trade on; 0: never (SPEC O4).
    access_group: 0 to 15; an eligibility profile allows groups (SPEC A2).
    """

    symbol: str
    tick_size: Number
    lot_size: Number
    base: str = ""
    multiplier: int = 1
    marks_per_tick: int = 1
    max_price: Number
    min_quantity: Number
    max_quantity: Number
    max_position: Number
    liquidation_slice: Number
    inventory_limit: Number
    work_off_slice: Number
    taker_fee: Number = "0.0005"
    maker_fee: Number = "0.0002"
    liquidation_fee: Number = "0.005"
    maintenance_share: Number = "0.5"
    unit_margin_rate: Number = 0
    max_leverage: int = 100
    brackets: Iterable[Bracket | tuple[Number | None, Number, int]] = ()
    band_aggressive: Number = "0.05"
    band_passive: Number = "0.5"
    work_off_band: Number = "0.005"
    funding_cap: Number = "0.00075"
    stale_after: Number = 0
    access_group: int = 0

    def __post_init__(self) -> None:
        """Keep decimals as Decimal, so that equal terms compare equal however they were written."""
        counts = {"multiplier", "marks_per_tick", "max_leverage", "access_group"}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in {"symbol", "base", "brackets"}:
                continue
            number = to_decimal(value, field.name)
            if field.name in counts:
                object.__setattr__(self, field.name, _exact(number, Decimal(1), field.name))
            else:
                object.__setattr__(self, field.name, trimmed(number))
        rows = tuple(r if isinstance(r, Bracket) else Bracket(*r) for r in self.brackets)
        object.__setattr__(self, "brackets", rows)
        if rows:
            object.__setattr__(self, "maintenance_share", Decimal(0))
            if self.unit_margin_rate:
                raise ValueError(f"{self.symbol}: unit_margin_rate has no place beside brackets")
        if not self.base:
            object.__setattr__(self, "base", self.symbol.split("-")[0].removesuffix("USD"))

    def terms(self) -> NDArray[np.void]:
        """(1,) CONTRACT_TERMS for the core.

        Raises ValueError where a number is no multiple of its step: tick 1e-12, lot 1e-9, rates
        1e-9, sizes one lot, prices one tick. What the core refuses beyond that (SPEC U2) it says
        when the contract is added.
        """
        symbol = self.symbol.encode("ascii")
        if not 1 <= len(symbol) <= 32:
            raise ValueError(f"symbol: {self.symbol!r} must have 1 to 32 ASCII characters")
        tick, lot = to_decimal(self.tick_size, "tick_size"), to_decimal(self.lot_size, "lot_size")
        if tick <= 0 or lot <= 0:
            raise ValueError(f"{self.symbol}: tick_size and lot_size must be above 0")
        values: dict[str, int | bytes] = {
            "symbol": symbol,
            "tick_size_e12": _exact(tick, _TICK, "tick_size"),
            "lot_size_e9": _exact(lot, _LOT, "lot_size"),
            "multiplier": self.multiplier,
            "marks_per_tick": self.marks_per_tick,
            "max_price_ticks": _exact(self.max_price, tick, "max_price"),
            "max_leverage": self.max_leverage,
            "stale_after_ns": _exact(self.stale_after, Decimal("1e-9"), "stale_after"),
            "access_group": self.access_group,
            "kind": 1,
        }
        for name, attribute in _SIZES:
            values[name] = _exact(getattr(self, attribute), lot, attribute)
        for name, attribute, step in _RATES:
            values[name] = _exact(getattr(self, attribute), step, attribute)
        per_lot = to_decimal(self.unit_margin_rate, "unit_margin_rate") * lot
        values["unit_margin_rate_e15"] = _exact(per_lot, _UNIT_RATE, "unit_margin_rate per lot")
        terms = np.zeros(1, CONTRACT_TERMS)
        for name, value in values.items():
            terms[name] = value
        self._write_brackets(terms)
        return terms

    def _write_brackets(self, terms: NDArray[np.void]) -> None:
        """The table, and the cumulative amounts that make its maintenance margin continuous."""
        rows = tuple(self.brackets)
        if len(rows) > BRACKETS_MAX:
            raise ValueError(f"{self.symbol}: {len(rows)} brackets, at most {BRACKETS_MAX}")
        terms["bracket_count"] = len(rows)
        cap = rate = cum = 0
        for i, row in enumerate(rows):
            assert isinstance(row, Bracket)
            what = f"brackets[{i}]"
            rate_before, rate = rate, _exact(row.maintenance_rate, _RATE, f"{what} rate")
            grown = Decimal(cap * (rate - rate_before)) * _RATE
            if cap:
                cum += _exact(grown, Decimal(1), f"{what} cumulative amount in 1e-8 USD")
            if row.cap is None and i < len(rows) - 1:
                raise ValueError(f"{self.symbol}: {what} has no cap, but is not the last")
            cap = _NO_CAP_UNITS if row.cap is None else _money(row.cap, f"{what} cap")
            for name, value in (("cap_units", cap), ("mm_e9", rate), ("leverage", row.leverage),
                                ("cum_units", cum)):
                terms[f"bracket_{name}"][0, i] = value

    @classmethod
    def from_terms(cls, terms: NDArray[np.void] | bytes) -> Contract:
        """The contract of (1,) CONTRACT_TERMS or of its bytes: the inverse of `terms`."""
        row = np.frombuffer(terms, CONTRACT_TERMS) if isinstance(terms, bytes) else terms
        names = [name for name in row.dtype.names or () if row.dtype[name].shape == ()]
        n = {name: int(row[name][0]) for name in names if name != "symbol"}
        tick, lot = from_steps(n["tick_size_e12"], _TICK), from_steps(n["lot_size_e9"], _LOT)
        values: dict[str, Number] = {}
        for name, attribute in _SIZES:
            values[attribute] = from_steps(n[name], lot)
        for name, attribute, step in _RATES:
            values[attribute] = from_steps(n[name], step)
        return cls(
            symbol=bytes(row["symbol"][0]).decode("ascii"),
            tick_size=tick,
            lot_size=lot,
            multiplier=n["multiplier"],
            marks_per_tick=n["marks_per_tick"],
            max_price=from_steps(n["max_price_ticks"], tick),
            unit_margin_rate=from_steps(n["unit_margin_rate_e15"], _UNIT_RATE) / lot,
            max_leverage=n["max_leverage"],
            brackets=[
                Bracket(
                    None if cap == _NO_CAP_UNITS else from_units(int(cap)),
                    from_steps(int(rate), _RATE),
                    int(leverage),
                )
                for cap, rate, leverage in zip(
                    *(row[f"bracket_{name}"][0, : n["bracket_count"]]
                      for name in ("cap_units", "mm_e9", "leverage")), strict=True)
            ],
            stale_after=from_steps(n["stale_after_ns"], Decimal("1e-9")),
            access_group=n["access_group"],
            **values,  # type: ignore[arg-type]
        )

    @cached_property
    def row(self) -> np.void:
        """The row of `terms`, made once: raw integers for whoever computes with them."""
        row: np.void = self.terms()[0]
        return row

    @cached_property
    def grid(self) -> Grid:
        """Steps of prices, marks and sizes as the core counts them."""
        return Grid(self)


class Grid:
    """The steps of one contract: turns prices and sizes into ticks and lots and back, exactly.

    tick, mark_tick: USD (a mark tick is tick / marks_per_tick). lot: base units.
    value_units: money units (1e-8 USD) of one mark tick x one lot, v of SPEC U2.
    ticks, mark_ticks, lots: count such steps in a number; None where plain digits are not enough.
    """

    __slots__ = (
        "base", "lot", "lots", "mark_tick", "mark_ticks", "marks_per_tick", "symbol", "tick",
        "ticks", "value_units",
    )

    def __init__(self, contract: Contract) -> None:
        self.symbol, self.base = contract.symbol, contract.base
        self.tick = to_decimal(contract.tick_size, "tick_size")
        self.lot = to_decimal(contract.lot_size, "lot_size")
        self.marks_per_tick = contract.marks_per_tick
        self.mark_tick = trimmed(self.tick / contract.marks_per_tick)
        value = self.tick * self.lot * contract.multiplier * 100_000_000 / contract.marks_per_tick
        self.value_units = int(value)
        self.ticks, self.mark_ticks = Steps(self.tick), Steps(self.mark_tick)
        self.lots = Steps(self.lot)

    def price(self, ticks: int) -> Decimal:
        """USD of a count of ticks."""
        return trimmed(from_steps(ticks, self.tick))

    def mark(self, mark_ticks: int) -> Decimal:
        """USD of a count of mark ticks."""
        return trimmed(from_steps(mark_ticks, self.mark_tick))

    def quantity(self, lots: int) -> Decimal:
        """Base units of a count of lots."""
        return trimmed(from_steps(lots, self.lot))


def venue_terms(
    *,
    insurance_fund: Mapping[str, Number] | Number = 0,
    usdc_haircut: Number = "0.02",
    max_orders: int = 200,
    max_blocks: int = 20,
    account_notional_limit: Number = 0,
    excluded_citizenship: Iterable[int] = (),
    excluded_residence: Iterable[int] = (),
    accounts: int = 1_000,
    orders: int = 20_000,
    price_pages: int = 4_096,
    timers_per_command: int = 64,
    policies: Policies | None = None,
) -> NDArray[np.void]:
    """(1,) VENUE_TERMS: what is fixed when a venue is made. `Venue.create` takes the same words.

    insurance_fund: USD, or {"USD": ..., "USDC": ...}; opening cover of the fund (SPEC S1).
    usdc_haircut: share of USDC collateral that counts as margin needed (SPEC A4).
    max_orders, max_blocks: live orders and isolated blocks of an account (318, 614).
    account_notional_limit: USD over all positions of an account; 0: none (303).
    excluded_citizenship, excluded_residence: up to 16 ISO 3166 numeric countries each (SPEC A2).
    accounts, orders: how many there is room for; nothing is allocated after the venue is made.
    price_pages: pages of price levels a contract and side. timers_per_command: SPEC O6.
    policies: what differs between venues; `Policies()` when left out.
    Raises ValueError for what does not fit.
    """
    fund = insurance_fund if isinstance(insurance_fund, Mapping) else {"USD": insurance_fund}
    if not fund.keys() <= {"USD", "USDC"}:
        raise ValueError(f"insurance_fund: {sorted(fund)} has a currency beside USD and USDC")
    counts = {
        "max_orders_per_account": max_orders,
        "max_blocks_per_account": max_blocks,
        "account_capacity": accounts,
        "unit_capacity": accounts * 2 + 64,
        "leg_capacity": accounts * 4 + 64,
        "order_capacity": orders,
        "page_capacity": price_pages,
        "timers_per_command": timers_per_command,
    }
    for name, count in counts.items():
        if not 1 <= count < 2**32:
            raise ValueError(f"{name}: {count} is not from 1 to {2**32 - 1}")
    terms = np.zeros(1, VENUE_TERMS)
    for name, count in counts.items():
        terms[name] = count
    opening = [_money(fund.get(currency, 0), "insurance_fund") for currency in ("USD", "USDC")]
    terms["fund_opening_units"][0] = opening
    terms["usdc_haircut_e9"] = _exact(usdc_haircut, _RATE, "usdc_haircut")
    terms["account_notional_limit_units"] = _money(account_notional_limit, "account_notional_limit")
    for name, countries in (
        ("excluded_citizenship", tuple(excluded_citizenship)),
        ("excluded_residence", tuple(excluded_residence)),
    ):
        if len(countries) > 16 or not all(0 < country < 1000 for country in countries):
            raise ValueError(f"{name}: {countries} must be at most 16 ISO 3166 numeric countries")
        terms[name][0, : len(countries)] = countries
    (policies or Policies()).write(terms)
    return terms


def _money(value: Number, what: str) -> int:
    try:
        units = to_units(value, what)
    except NotOnGrid as error:
        raise ValueError(f"{what}: {plain(error.value)} is finer than 0.00000001") from None
    if units < 0:
        raise ValueError(f"{what}: {units} money units is below 0")
    return units


#: Bitcoin in USD: tick 0.1, lot 0.0001, leverage to 100; each BTC of position adds 0.002 % to the
#: initial margin rate.
BTCUSD_PERP = Contract(
    symbol="BTCUSD-PERP",
    tick_size="0.1",
    lot_size="0.0001",
    max_price=1_000_000,
    min_quantity="0.0001",
    max_quantity=5_000,
    max_position=10_000,
    liquidation_slice=20,
    inventory_limit=40_000,
    work_off_slice=1,
    unit_margin_rate="0.00002",
)

#: Ether in USD: tick 0.01, lot 0.001, leverage to 100.
ETHUSD_PERP = Contract(
    symbol="ETHUSD-PERP",
    tick_size="0.01",
    lot_size="0.001",
    max_price=100_000,
    min_quantity="0.001",
    max_quantity=50_000,
    max_position=100_000,
    liquidation_slice=200,
    inventory_limit=400_000,
    work_off_slice=10,
    unit_margin_rate="0.000002",
)
