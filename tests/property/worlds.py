"""Seeded worlds for the differential driver, and a dump of one that is ready to be asked."""

from __future__ import annotations

import random
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from reference.codes import Side
from reference.records import Command, ContractTerms, VenueTerms

BUY, SELL = Side.BUY, Side.SELL
E9 = 10**9
USD_UNITS = 10**8
SECOND = 10**9
ACCOUNTS = 9
EXCLUDED_COUNTRY = 840
VALID, BOUNDARY, GARBAGE = "valid", "boundary", "garbage"
Dump = dict[str, Any]
#: account, isolation_id, contract, lots, cost, leverage
Position = tuple[int, int, int, int, int, int]


@dataclass(frozen=True, slots=True)
class World:
    """What is fixed before the first command."""

    venue: VenueTerms
    contracts: tuple[ContractTerms, ...]
    cruel: bool = False  # marks jump, and the fund begins with nothing
    scale: int = 1  # a lot is worth so much more, and so is everybody's money
    triggers: bool = False  # conditional orders and what goes with them


@dataclass(frozen=True, slots=True)
class Step:
    """One command, whether the administration's capability comes with it, and why it was made."""

    command: Command
    admin: bool
    intent: str = VALID


# ---- worlds

#: symbol, tick_size_e12, lot_size_e9, multiplier, marks_per_tick, price around which it trades,
#: largest order: a fine grid, a coarse one where a tick is a percent, and one of 3 units a lot,
#: where everything that is rounded shows.
GRIDS = (
    ("FINE", 10**13, 10**5, 1, 10, 6000, 2000),
    ("COARSE", 10**12, 10**8, 1, 1, 100, 500),
    ("DUST", 21 * 10**10, 10**3, 1, 7, 3000, 5_000_000),
)
REFERENCE_TICKS = tuple(grid[5] for grid in GRIDS)


#: Brings the largest position of each contract near 2^60 money units, where the proofs of U2 end.
LARGEST_SCALE = 150_000


def make_contract(rng: random.Random, number: int, scale: int) -> ContractTerms:
    symbol, tick, lot, multiplier, k, price, largest = GRIDS[number]
    position = largest * 3 // 2
    share = rng.choice((5000, 5000, 3333, 9000))
    size_rate = rng.choice((0, 0, Fraction(1, 10), Fraction(1, 2), Fraction(1)))
    lot_rate = int(size_rate * 10**15 / position) // 10**6 * 10**6
    return ContractTerms(
        symbol=symbol,
        tick_size_e12=tick,
        lot_size_e9=lot,
        multiplier=multiplier * scale,
        marks_per_tick=k,
        max_price_ticks=price * 4,
        min_order_lots=rng.choice((1, 1, 2)),
        max_order_lots=largest,
        max_position_lots=position,
        liquidation_slice_lots=max(1, largest // rng.choice((3, 10, 50))),
        inventory_limit_lots=position * (1000 if scale == 1 else 2),
        work_off_slice_lots=max(1, largest // rng.choice((5, 40))),
        taker_fee_e9=rng.choice((300_000, 500_000, 123_457, 0)),
        maker_fee_e9=rng.choice((0, 100_000, 76_543)),
        liquidation_fee_e9=rng.choice((5_000_000, 5_000_000, 7_654_321, 0)),
        maintenance_share_e4=share,
        unit_margin_rate_e15=lot_rate,
        max_leverage=rng.choice((100, 50, 20, 7)),
        band_aggressive_e9=rng.choice((50_000_000, 50_000_000, 100_000_000)),
        band_passive_e9=rng.choice((500_000_000, 200_000_000)),
        work_off_band_e9=rng.choice((5_000_000, 30_000_000)),
        funding_cap_e9=rng.choice((7_500_000, 50_000_000)),
        stale_after_ns=(0, 60 * SECOND, 10 * SECOND)[number],
        access_group=(0, 3, 15)[number],
    )


def make_world(seed: int) -> World:
    """Three contracts and a venue. Every fourth is so small that it runs out of records; every
    third has a poor fund and a wild market, so that losses have to be shared; every fifth counts
    in numbers that only just fit."""
    rng = random.Random(f"world {seed}")
    tight, cruel, scale = seed % 4 == 3, seed % 3 == 2, LARGEST_SCALE if seed % 5 == 4 else 1
    contracts = tuple(make_contract(rng, number, scale) for number in range(len(GRIDS)))
    venue = VenueTerms(
        fund_opening_units=(0, 0) if cruel else rng.choice((
            (0, 0), (10 * USD_UNITS * scale, 0), (5_000 * USD_UNITS * scale, 10**10))),
        usdc_haircut_e9=rng.choice((20_000_000, 0, 123_456_789)),
        max_orders_per_account=rng.choice((6, 12, 30)),
        max_blocks_per_account=rng.choice((1, 2, 3)),
        account_notional_limit_units=rng.choice((0, 0, 20_000 * USD_UNITS * scale)),
        excluded_citizenship=(EXCLUDED_COUNTRY, 643),
        excluded_residence=(408,),
        account_capacity=ACCOUNTS + 1 if tight else 32,
        unit_capacity=ACCOUNTS + 3 if tight else 256,
        leg_capacity=ACCOUNTS * 3 if tight else 1024,
        order_capacity=24 if tight else 1024,
        page_capacity=1024,
        timers_per_command=rng.choice((1, 2, 16)),
    )
    return World(venue, contracts, cruel, scale)


# ---- the state, ready to be asked


class View:
    """A dump with its lists sorted by who and where."""

    def __init__(self, dump: Dump, world: World) -> None:
        self.dump, self.world = dump, world
        self.accounts: list[dict[str, Any]] = dump["accounts"]
        self.contracts: list[dict[str, Any]] = dump["contracts"]
        self.orders: list[dict[str, Any]] = dump["orders"]
        self.blocks: list[dict[str, Any]] = dump["blocks"]
        self.order_of = {order["order_id"]: order for order in self.orders}

    def value(self, contract: int) -> int:
        """Money units of one mark tick x one lot."""
        t = self.world.contracts[contract]
        return t.tick_size_e12 * t.lot_size_e9 * t.multiplier // (10**13 * t.marks_per_tick)

    def mark(self, contract: int) -> int:
        return int(self.contracts[contract]["mark_ticks"])

    def price(self, contract: int) -> int:
        """The order price nearest to the mark, or where the contract is going to trade."""
        mark = self.mark(contract)
        k = self.world.contracts[contract].marks_per_tick
        return max(1, mark // k) if mark else REFERENCE_TICKS[contract]

    def best(self, contract: int, side: int) -> int | None:
        queue = self.contracts[contract]["buys" if side == BUY else "sells"]
        return int(self.order_of[queue[0]]["price"]) if queue else None

    def best_lots(self, contract: int, side: int) -> int:
        queue = self.contracts[contract]["buys" if side == BUY else "sells"]
        return int(self.order_of[queue[0]]["left"]) if queue else 1

    def orders_by(self, account: int) -> list[dict[str, Any]]:
        return [order for order in self.orders if order["account"] == account]

    def blocks_by(self, account: int) -> list[dict[str, Any]]:
        return [block for block in self.blocks if block["account"] == account]

    def block_on(self, account: int, contract: int) -> dict[str, Any] | None:
        found = (b for b in self.blocks_by(account) if b["contract"] == contract)
        return next(found, None)

    def leg(self, account: int, contract: int) -> dict[str, Any] | None:
        found = (leg for leg in self.accounts[account]["legs"] if leg["contract"] == contract)
        return next(found, None)

    def money(self, account: int) -> int:
        row = self.accounts[account]
        return int(row["cash_units"] + row["usdc_units"] * self.dump["index_e6"] // 10**6)

    def free(self, account: int) -> int:
        """Money less what positions and orders of the main account hold, about."""
        held = sum(order["reserve"] for order in self.orders_by(account)
                   if not order["isolation_id"])
        for leg in self.accounts[account]["legs"]:
            contract, lots = leg["contract"], leg["qty_lots"]
            value = lots * self.value(contract) * self.mark(contract)
            held += int(abs(value) * self.initial_rate(contract, lots, leg["leverage"]))
            held += min(0, leg["cost_units"] - value)
        return self.money(account) - held

    def positions(self) -> list[Position]:
        found = [
            (row["account"], 0, leg["contract"], leg["qty_lots"], leg["cost_units"],
             leg["leverage"])
            for row in self.accounts for leg in row["legs"] if leg["qty_lots"]
        ]
        found += [
            (b["account"], b["isolation_id"], b["contract"], b["qty_lots"], b["cost_units"],
             b["leverage"])
            for b in self.blocks if b["qty_lots"]
        ]
        return found

    def bracket(self, contract: int, lots: int, mark: int) -> int:
        """Which bracket holds the lots at a mark."""
        t = self.world.contracts[contract]
        notional = abs(lots) * self.value(contract) * mark
        return next((i for i, cap in enumerate(t.bracket_cap_units) if notional <= cap),
                    t.bracket_count - 1)

    def initial_rate(self, contract: int, lots: int, leverage: int, mark: int = 0) -> Fraction:
        """At a mark, or at that of now."""
        t = self.world.contracts[contract]
        if t.bracket_count:
            own = t.bracket_leverage[self.bracket(contract, lots, mark or self.mark(contract))]
            return Fraction(1, min(own, leverage or own, t.max_leverage))
        rates = [Fraction(1, t.max_leverage), Fraction(t.unit_margin_rate_e15 * abs(lots), 10**15)]
        if leverage:
            rates.append(Fraction(1, leverage))
        return min(Fraction(1), max(rates))

    def rate(self, contract: int, lots: int, leverage: int, called: bool,
             mark: int = 0) -> tuple[Fraction, int]:
        """Fee reserve and maintenance, or initial margin, as a part of the notional; and what the
        bracket takes off."""
        t = self.world.contracts[contract]
        rate = Fraction(t.taker_fee_e9 + t.liquidation_fee_e9, E9)
        if called:
            return rate + self.initial_rate(contract, lots, leverage, mark), 0
        if t.bracket_count:
            i = self.bracket(contract, lots, mark or self.mark(contract))
            return rate + Fraction(t.bracket_mm_e9[i], E9), t.bracket_cum_units[i]
        share = Fraction(t.maintenance_share_e4, 10**4)
        return rate + share * self.initial_rate(contract, lots, 0), 0

    def cash_of(self, account: int, isolation_id: int) -> int:
        """What carries a unit's position: a block's cash and USDC, or main's money."""
        for block in self.blocks:
            if isolation_id and block["isolation_id"] == isolation_id:
                usdc = self.usdc_of(account, isolation_id)
                return int(block["cash_units"] + usdc * self.dump["index_e6"] // 10**6)
        return self.money(account)

    def usdc_of(self, account: int, isolation_id: int) -> int:
        """A main account's, or a block's where it stays in kind."""
        if not isolation_id:
            return int(self.accounts[account]["usdc_units"])
        return sum(int(block.get("usdc_units", 0)) for block in self.blocks
                   if block["isolation_id"] == isolation_id)

    def bankruptcy_price(self, position: Position) -> int:
        """The order price next below the mark at which a unit with one leg owns nothing."""
        account, isolation_id, contract, lots, cost, _ = position
        each = lots * self.value(contract) * self.world.contracts[contract].marks_per_tick
        return (cost - self.cash_of(account, isolation_id)) // each

    def haircut_of(self, account: int, isolation_id: int, called: bool) -> int:
        """What the unit's USDC adds to its requirement: half of it to maintenance; all of it where
        it is taken off the value (A4)."""
        value = self.usdc_of(account, isolation_id) * self.dump["index_e6"] // 10**6
        cut = -(-value * self.world.venue.usdc_haircut_e9 // E9)
        return cut if called or self.world.venue.haircut_in else (cut + 1) // 2

    def slack(self, position: Position, called: bool) -> Fraction:
        """What the unit has beside the position: cash and other legs at their marks, less needs."""
        account, isolation_id, contract, *_ = position
        total = Fraction(self.cash_of(account, isolation_id)
                         - self.haircut_of(account, isolation_id, called))
        for owner, number, held, lots, cost, leverage in self.positions():
            if (owner, number) == (account, isolation_id) and held != contract:
                value = lots * self.value(held) * self.mark(held)
                rate, off = self.rate(held, lots, leverage, called)
                total += value - cost - abs(value) * rate + off
        return total

    def shortage(self, position: Position, mark: int, called: bool) -> int:
        """What the unit would lack at a mark to be just above liquidation, or a margin call."""
        _, _, contract, lots, cost, leverage = position
        value = lots * self.value(contract) * mark
        rate, off = self.rate(contract, lots, leverage, called, mark)
        lack = abs(value) * rate - off - (value - cost)
        lack -= self.slack(position, called)
        return -(-lack.numerator // lack.denominator)

    def edge_mark(self, position: Position, called: bool) -> int | None:
        """The first mark at which the position's unit is liquidated, or has a margin call.

        With brackets in the bracket of now: merely a mark near which something happens.
        """
        _, _, contract, lots, cost, leverage = position
        t, slack = self.world.contracts[contract], self.slack(position, called)
        rate, off = self.rate(contract, lots, leverage, called)
        slack += off
        if rate >= 1:
            return None
        if lots > 0:
            exact = (cost - slack) / (lots * self.value(contract) * (1 - rate))
            mark = -(-exact.numerator // exact.denominator) - 1
        else:
            exact = (slack - cost) / (-lots * self.value(contract) * (1 + rate))
            mark = exact.numerator // exact.denominator + 1
        return mark if 1 < mark < t.max_price_ticks * t.marks_per_tick else None
