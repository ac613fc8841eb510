"""A scenario: the venue's terms, who trades on it and with how much leverage, all from one seed.

Every draw is a whole number from numpy's PCG64, looked up in the tables below; no float and no
logarithm is involved, so that a seed gives the same traders on every machine. The tables are the
stated assumptions of `perpcore cascade`: change a weight and the summary says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from perpcore.records import CONTRACT_TERMS, VENUE_TERMS

Ints = NDArray[np.int64]

#: Money units in one USD (SPEC U1).
USD = 100_000_000
#: A price or rate of 1 in e-9.
E9 = 1_000_000_000

#: Leverage of a position and its weight in percent.
LEVERAGE_WEIGHTS = ((2, 8), (3, 9), (5, 18), (10, 25), (20, 19), (25, 8), (50, 9), (100, 4))
#: Deposit of a trader in USD, from (inclusive) to (exclusive), and its weight in per mille.
DEPOSIT_WEIGHTS = (
    (100, 250, 240),
    (250, 1_000, 350),
    (1_000, 5_000, 260),
    (5_000, 25_000, 112),
    (25_000, 100_000, 33),
    (100_000, 500_000, 5),
)
#: Minutes a position is held before its owner closes it, and the weight in percent.
HOLD_WEIGHTS = ((30, 8), (120, 14), (480, 24), (1_440, 26), (2_880, 16), (20_000, 12))
#: Minutes between two positions of a trader.
WAIT_MINUTES = (20, 1_200)
#: Positions a trader opens at most, one after another.
TRIPS_MAX = 6
#: Margin put behind a position, in percent of the money its account holds.
USE_PERCENT = (25, 85)
#: Shares in percent: isolated and cross positions (the rest hold both), longs at first and later.
ISOLATED_PERCENT, CROSS_PERCENT = 55, 35
LONG_FIRST_PERCENT, LONG_LATER_PERCENT = 62, 55
#: Share of positions opened before the path begins, and of cross traders with resting orders.
EARLY_PERCENT, LADDER_PERCENT = 60, 40
#: Traders who add margin when their block loses, who withdraw after a close, who hold USDC too.
DEFENDER_PERCENT, WITHDRAWER_PERCENT, USDC_PERCENT = 12, 25, 15
#: Largest position of a trader in USD.
NOTIONAL_MAX_USD = 4_000_000

#: Makers, the capital of each and the depth of all on one side of the book, in USD a trader.
MAKERS = 5
MAKER_CAPITAL_USD = 1_000
MAKER_DEPTH_USD = 600
#: Distance of a maker's quotes from its fair price in e-4, and the weight of each in percent.
QUOTE_LEVELS = ((2, 10), (7, 20), (20, 30), (50, 40))
#: A maker's largest position as a multiple of its capital.
MAKER_INVENTORY_MULTIPLE = 3
MAKER_LEVERAGE = 20

#: What the fund works off of its inventory at each mark, in cents a trader.
WORK_OFF_CENTS = 200
#: A main account is liquidated in slices of this size.
LIQUIDATION_SLICE_USD = 800_000
#: The smallest price of a path in ticks.
TICKS_MIN = 1_000

MINUTES_BEFORE = 60
SESSION_MINUTES = 60


@dataclass(frozen=True)
class Contract:
    """What a scenario has to know of its contract beside the terms: grids in exact decimals.

    Prices of a path are `price_low` to `price_high`: on a coarser grid than a thousandth of the
    price, a tick would be a move that liquidates; above the highest the terms are not proven.
    """

    symbol: str
    base: str
    tick: Decimal
    lot: Decimal
    max_price_ticks: int
    marks_per_tick: int = 1

    @property
    def max_position_lots(self) -> int:
        """As large as SPEC U2 proves: 10 billion USD (1e18 units) at the largest price."""
        return 10**18 // (self.max_price_ticks * self.marks_per_tick * self.value_units)

    @property
    def price_low(self) -> Decimal:
        return self.tick * TICKS_MIN

    @property
    def price_high(self) -> Decimal:
        return self.tick * self.max_price_ticks

    @property
    def mark_tick(self) -> Decimal:
        return self.tick / self.marks_per_tick

    @property
    def value_units(self) -> int:
        """Money units of one mark tick x one lot (v of SPEC U2)."""
        return int(self.mark_tick * self.lot * USD)

    def price_text(self, mark_ticks: int, sign: str = "") -> str:
        """A price or a difference of prices for display, in USD."""
        return f"{mark_ticks * self.mark_tick:{sign},.{self.digits(mark_ticks)}f}"

    def digits(self, mark_ticks: int) -> int:
        """Decimals worth showing of a price: none from 1,000 USD on, else those of the mark."""
        exponent = self.mark_tick.as_tuple().exponent
        return 0 if abs(mark_ticks) * self.mark_tick >= 1_000 else max(0, -int(exponent))


CONTRACTS = {
    contract.symbol: contract
    for contract in (
        Contract("BTCUSD-PERP", "BTC", Decimal("0.1"), Decimal("0.0001"), 10_000_000),
        Contract("ETHUSD-PERP", "ETH", Decimal("0.01"), Decimal("0.001"), 10_000_000),
        Contract("XRPUSD-PERP", "XRP", Decimal("0.0001"), Decimal(1), 100_000),
    )
}


def off_range(contract: Contract, price: Decimal) -> tuple[str, str] | None:
    """What is wrong with a path's price for a contract, and the cure; None where it fits."""
    if contract.price_low <= price <= contract.price_high:
        return None
    problem = (
        f"price {price} is outside {contract.symbol}'s {contract.price_low.normalize():,f} to "
        f"{contract.price_high.normalize():,f} USD"
    )
    fitting = [c.symbol for c in CONTRACTS.values() if c.price_low <= price <= c.price_high]
    if fitting:
        return problem, f"give --contract {' or '.join(fitting)} if the path is of it"
    return problem, "no contract has such a price: quote it for 1,000 coins, or for a thousandth"


@dataclass(frozen=True)
class Scenario:
    """Settings of one run: `traders` accounts, a `seed`, the fund's opening in whole USD."""

    traders: int = 20_000
    seed: int = 7
    fund_usd: int = 5_000_000
    contract: Contract = CONTRACTS["BTCUSD-PERP"]

    def contract_terms(self, first_mark_ticks: int) -> NDArray[np.void]:
        """(1,) CONTRACT_TERMS: fees 5 and 2 e-4, liquidation fee 0.5 %, leverage up to 100.

        What is stated in USD becomes lots at the path's first price.
        """
        c = self.contract
        lot_units = first_mark_ticks * c.value_units
        terms = np.zeros(1, CONTRACT_TERMS)
        values: dict[str, int | bytes] = {
            "symbol": c.symbol.encode(),
            "tick_size_e12": int(c.tick * 10**12),
            "lot_size_e9": int(c.lot * 10**9),
            "multiplier": 1,
            "marks_per_tick": c.marks_per_tick,
            "max_price_ticks": c.max_price_ticks,
            "min_order_lots": 1,
            "max_order_lots": c.max_position_lots // 2,
            "max_position_lots": c.max_position_lots,
            "liquidation_slice_lots": 1 + LIQUIDATION_SLICE_USD * USD // lot_units,
            "inventory_limit_lots": 4 * c.max_position_lots,
            # Worked off slowly: what the fund took over stays its risk for hours.
            "work_off_slice_lots": 1 + self.traders * WORK_OFF_CENTS * USD // (100 * lot_units),
            "taker_fee_e9": 500_000,
            "maker_fee_e9": 200_000,
            "liquidation_fee_e9": 5_000_000,
            "maintenance_share_e4": 5_000,
            "unit_margin_rate_e15": 2 * 10**14 // c.max_position_lots,
            "max_leverage": 100,
            "band_aggressive_e9": 50_000_000,
            "band_passive_e9": 500_000_000,
            "work_off_band_e9": 5_000_000,
            "funding_cap_e9": 750_000,
            "kind": 1,
        }
        for name, value in values.items():
            terms[name] = value
        return terms

    def venue_terms(self) -> NDArray[np.void]:
        """(1,) VENUE_TERMS: the fund's opening, a USDC haircut of 2 %, room for every trader."""
        accounts = self.traders + MAKERS
        terms = np.zeros(1, VENUE_TERMS)
        terms["fund_opening_units"] = (self.fund_usd * USD, 0)
        terms["usdc_haircut_e9"] = 20_000_000
        terms["max_orders_per_account"] = 64
        terms["max_blocks_per_account"] = 4
        terms["account_capacity"] = accounts
        terms["unit_capacity"] = 2 * accounts + 64
        terms["leg_capacity"] = 2 * accounts + 64
        terms["order_capacity"] = 2 * accounts + 4_096
        terms["page_capacity"] = 16_384
        terms["timers_per_command"] = 64
        return terms


def pick(rng: np.random.Generator, weights: tuple[tuple[int, int], ...], n: int) -> Ints:
    """(n,) int64 values drawn from (value, weight) pairs, by whole numbers only."""
    values = np.array([value for value, _ in weights], np.int64)
    bounds = np.cumsum([weight for _, weight in weights])
    return values[np.searchsorted(bounds, rng.integers(0, bounds[-1], n), side="right")]


def chance(rng: np.random.Generator, percent: int, n: int) -> NDArray[np.bool_]:
    """(n,) bool, each true with `percent` in 100."""
    return rng.integers(0, 100, n) < percent


@dataclass(frozen=True)
class Population:
    """Traders and their strategies, drawn once; nothing the market does changes a draw.

    A strategy is one line of trading: an account, isolated or cross, one position after another.
    Account arrays are (accounts,); strategy arrays (strategies,) or (strategies, TRIPS_MAX).
    `cross_of` and `isolated_of` lead from an account to its strategy, -1 where it has none.
    """

    deposit_usd: Ints
    usdc_usd: Ints
    account: Ints
    isolated: NDArray[np.bool_]
    leverage: Ints
    use_percent: Ints
    first_minute: Ints
    long: NDArray[np.bool_]
    hold_minutes: Ints
    wait_minutes: Ints
    ladder: NDArray[np.bool_]
    defender: NDArray[np.bool_]
    withdrawer: NDArray[np.bool_]
    cross_of: Ints
    isolated_of: Ints

    @property
    def strategies(self) -> int:
        return len(self.account)


def draw_population(scenario: Scenario, minutes: int) -> Population:
    """The traders of a scenario over a path of `minutes`; the same for the same seed."""
    rng = np.random.Generator(np.random.PCG64(scenario.seed))
    n = scenario.traders
    mode = rng.integers(0, 100, n)
    isolated_only = mode < ISOLATED_PERCENT
    cross_only = (mode >= ISOLATED_PERCENT) & (mode < ISOLATED_PERCENT + CROSS_PERCENT)
    with_isolated = np.flatnonzero(~cross_only)
    with_cross = np.flatnonzero(~isolated_only)
    account = np.concatenate([with_isolated, with_cross])
    m = len(account)
    isolated = np.arange(m) < len(with_isolated)
    cross_of = np.full(n + MAKERS, -1, np.int64)
    isolated_of = np.full(n + MAKERS, -1, np.int64)
    isolated_of[with_isolated] = np.arange(len(with_isolated))
    cross_of[with_cross] = np.arange(len(with_isolated), m)

    deposit_usd = _deposits(rng, n)
    # A sixth of the money in USDC, for those who hold it; isolated margin may come from it too.
    usdc_usd = np.where(chance(rng, USDC_PERCENT, n), deposit_usd // 6, 0)
    early = chance(rng, EARLY_PERCENT, m)
    before = rng.integers(2 - MINUTES_BEFORE, 0, m)
    later = rng.integers(0, max(1, minutes), m)
    shape = (m, TRIPS_MAX)
    long_draw = rng.integers(0, 100, shape)
    long_percent = np.full(shape, LONG_LATER_PERCENT)
    long_percent[:, 0] = LONG_FIRST_PERCENT
    return Population(
        deposit_usd=deposit_usd,
        usdc_usd=usdc_usd,
        account=account,
        isolated=isolated,
        leverage=pick(rng, LEVERAGE_WEIGHTS, m),
        use_percent=rng.integers(*USE_PERCENT, m),
        first_minute=np.where(early, before, later),
        long=long_draw < long_percent,
        hold_minutes=pick(rng, HOLD_WEIGHTS, m * TRIPS_MAX).reshape(shape),
        wait_minutes=rng.integers(*WAIT_MINUTES, shape),
        ladder=chance(rng, LADDER_PERCENT, m) & ~isolated,
        defender=chance(rng, DEFENDER_PERCENT, m) & isolated,
        withdrawer=chance(rng, WITHDRAWER_PERCENT, m),
        cross_of=cross_of,
        isolated_of=isolated_of,
    )


def _deposits(rng: np.random.Generator, n: int) -> Ints:
    tiers = tuple((i, weight) for i, (_, _, weight) in enumerate(DEPOSIT_WEIGHTS))
    tier = pick(rng, tiers, n)
    low = np.array([low for low, _, _ in DEPOSIT_WEIGHTS], np.int64)[tier]
    high = np.array([high for _, high, _ in DEPOSIT_WEIGHTS], np.int64)[tier]
    deposits: Ints = rng.integers(low, high)
    return deposits
