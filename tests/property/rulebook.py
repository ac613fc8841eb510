"""Worlds and commands beyond the default rulebook: policies, brackets, triggers, links.

Swarm testing: each world draws a random subset of the choices, and a good part of the worlds none,
so that what two of them hide from each other shows in a third.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from reference.codes import Currency, Exec, Kind, OrderType, Scope, Tif
from valid_commands import BUY, SELL, Fields, Maker, ValidCommands
from worlds import E9, SECOND, USD_UNITS, World

#: Policy -> its largest value; 0 is the default.
POLICIES = {
    "haircut_in": 1, "block_collateral": 1, "removal": 1, "partial_close": 1, "isolated_flip": 2,
    "liquidation_limit": 1,
    "order_margin_in_liquidation": 1, "backstop": 1, "adl_rank": 2, "adl_price": 1,
    "surplus_to": 1, "deficit": 1, "socialize_by": 1, "socialized_loss": 1, "unlock_requires": 1,
    "unlock_at": 1, "fund_by_contract": 1,
}
MARKET_TYPES = (OrderType.STOP_LOSS, OrderType.TAKE_PROFIT)
LIMIT_TYPES = (OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
STOPS = (OrderType.STOP_LOSS, OrderType.STOP_LIMIT)


def draw_rulebook(world: World, seed: int) -> World:
    """The world with some policies, small inventories and brackets, or as it is."""
    rng = random.Random(f"rulebook {seed}")
    if rng.random() < 0.4:
        return world
    chosen = {name: rng.randint(1, most) for name, most in POLICIES.items() if rng.random() < 0.35}
    if rng.random() < 0.4:
        chosen["cover_limit_units"] = rng.choice((1, USD_UNITS, 100 * USD_UNITS)) * world.scale
    contracts = world.contracts
    if rng.random() < 0.5:
        contracts = tuple(replace(t, inventory_limit_lots=max(1, t.max_position_lots // divisor))
                          for t in contracts for divisor in (rng.choice((1, 20, 10_000)),))
    if rng.random() < 0.5:
        contracts = tuple(bracketed(rng, t) if rng.random() < 0.7 else t for t in contracts)
    return replace(world, venue=replace(world.venue, **chosen), contracts=contracts,
                   triggers=rng.random() < 0.6)


def bracketed(rng: random.Random, terms: Any) -> Any:
    """The contract with notional brackets: caps from a few dollars to its largest position."""
    v = terms.tick_size_e12 * terms.lot_size_e9 * terms.multiplier // (
        10**13 * terms.marks_per_tick)
    most = terms.max_position_lots * v * terms.max_price_ticks * terms.marks_per_tick
    count = rng.choice((1, 2, 3, 6, 16))
    step = 10_000  # so that cumulative amounts are whole
    inner = {rng.randrange(1, max(2, most >> rng.choice((4, 8, 12)))) // step * step + step
             for _ in range(count - 1)}
    caps = [*sorted(cap for cap in inner if cap < most), most + rng.randrange(0, 3)]
    leverages = sorted(rng.choices(range(1, terms.max_leverage + 1), k=len(caps)), reverse=True)
    rates, cumulative = [], [0]
    for leverage in leverages:
        largest = min(E9 // leverage, 9 * E9 // 10) // 100_000
        floor = rates[-1] // 100_000 if rates else 1
        rates.append(max(floor, rng.randint(max(1, largest // 3), largest)) * 100_000)
    for i in range(1, len(caps)):
        more, rest = divmod(caps[i - 1] * (rates[i] - rates[i - 1]), E9)
        assert rest == 0
        cumulative.append(cumulative[-1] + more)
    return replace(
        terms, maintenance_share_e4=0, unit_margin_rate_e15=0, bracket_count=len(caps),
        bracket_cap_units=tuple(caps), bracket_mm_e9=tuple(rates),
        bracket_leverage=tuple(leverages), bracket_cum_units=tuple(cumulative))


class RulebookCommands(ValidCommands):
    """Conditional orders, what wakes them, links, dead men."""

    def more_valid(self) -> tuple[tuple[int, Maker], ...]:
        if not self.world.triggers:
            return ()
        return ((9, self.conditional), (4, self.contract_index), (2, self.cancel_after),
                (4, self.linked), (3, self.smart), (3, self.bracket_of_position))

    def more_boundaries(self) -> tuple[tuple[int, Maker], ...]:
        in_kind = ((4, self.edge_index),) if self.world.venue.block_collateral else ()
        if not self.world.triggers:
            return in_kind
        return (*in_kind, (6, self.edge_trigger), (2, self.edge_many), (2, self.edge_dead_man),
                (3, self.edge_amended_trigger))

    def trigger_of(self, fields: Fields, away: int | None = None) -> Fields:
        """The order as a conditional one, with a trigger that is not reached yet (mostly)."""
        contract, side = fields["contract"], fields["side"]
        kind = self.rng.choice(MARKET_TYPES + LIMIT_TYPES)
        rises = (kind in STOPS) == (side == BUY)
        row, k = self.view.contracts[contract], self.world.contracts[contract].marks_per_tick
        by = self.rng.choice((Scope.TRIGGER_MARK, Scope.TRIGGER_MARK, Scope.TRIGGER_INDEX,
                              Scope.TRIGGER_LAST))
        now = (row["mark_ticks"] // k, row.get("index_ticks", 0) // k,
               row["last_price_ticks"])[by] or self.view.price(contract)
        if away is None:
            away = self.rng.choice((0, 1, 1, 2, max(1, now // 500), max(1, now // 50)))
        fields = {**fields, "order_type": kind, "scope": by,
                  "trigger_price_ticks": max(1, now + (away if rises else -away))}
        fields.pop("isolated_margin_units", 0)
        if kind in MARKET_TYPES:
            fields.update(price_ticks=0, time_in_force=self.rng.choice((Tif.NONE, Tif.IOC)),
                          expiry_ns=0)
            fields["exec_flags"] &= ~Exec.POST_ONLY
        elif not fields.get("price_ticks"):
            fields.update(price_ticks=fields["trigger_price_ticks"], time_in_force=Tif.GTC)
        return fields

    def conditional(self) -> list[Fields]:
        """Of main, of a block, or for a new one, opening or reducing."""
        fields = self.pick(((3, self.reduce_order), (2, self.cross_order),
                            (3, self.isolated_order)))()
        return [self.trigger_of(fields[0])] if fields else []

    def bracket_of_position(self) -> list[Fields]:
        """A stop loss, and soon a take profit linked with it."""
        fields = self.reduce_order()
        if not fields:
            return []
        stop = self.trigger_of(fields[0])
        stop["exec_flags"] |= Exec.REDUCE_ONLY

        def take_profit() -> list[Fields]:
            mine = [o for o in self.view.orders_by(stop["account"])
                    if o.get("trigger_type") and not o["linked"]]
            return [self.trigger_of({**stop, "order_id": mine[-1]["order_id"],
                                     "client_order_id": 0})] if mine else []

        self.todo.append(take_profit)
        return [stop]

    def linked(self) -> list[Fields]:
        """An order that names another of its unit and contract."""
        free = [o for o in self.view.orders if not o.get("linked")]
        if not free:
            return []
        other = self.rng.choice(free)
        t = self.world.contracts[other["contract"]]
        side = self.rng.choice((other["side"], other["side"], BUY, SELL))
        more: Fields = {"order_id": other["order_id"]}
        if other["isolation_id"]:
            more.update(isolation_id=other["isolation_id"], exec_flags=Exec.ISOLATED_MARGIN)
        lots = self.rng.choice((t.min_order_lots, max(t.min_order_lots, other["left"])))
        fields = self.order(other["account"], other["contract"], side, lots, **more)
        return [self.trigger_of(fields) if self.rng.random() < 0.3 else fields]

    def smart(self) -> list[Fields]:
        """Posted at the best price that does not take."""
        account, contract = self.trader(), self.contract()
        side = self.rng.choice((BUY, SELL))
        fields = self.order(account, contract, side, self.world.contracts[contract].min_order_lots)
        sign = 1 if side == BUY else -1
        price = self.view.price(contract)
        fields.update(
            order_type=OrderType.LIMIT, time_in_force=Tif.GTC, expiry_ns=0,
            exec_flags=Exec.SMART_POST_ONLY,
            price_ticks=max(1, price + sign * self.rng.choice((0, 1, 2, max(1, price // 50)))))
        return [fields]

    def contract_index(self) -> list[Fields]:
        contract = self.contract()
        mark = self.view.mark(contract)
        old = self.view.contracts[contract].get("index_ticks", 0) or mark
        if not old:
            return []
        near = self.rng.choice((old, mark or old))
        return [{"kind": Kind.INDEX, "contract": contract, "mark_ticks": max(
            1, near + self.rng.choice((-1, 0, 1, near // 300, -(near // 300), near // 40)))}]

    def cancel_after(self) -> list[Fields]:
        account = self.trader()
        after = self.rng.choice((0, 1, SECOND, 3 * SECOND))
        return [{"kind": Kind.CANCEL_ALL_AFTER, "account": account,
                 "expiry_ns": self.now + SECOND + after if self.rng.random() < 0.8 else 0}]

    # -- boundaries

    def edge_index(self) -> list[Fields]:
        """The index of USDC at which a unit that owns some is liquidated, and beside it."""
        holders = [p for p in self.view.positions() if self.view.usdc_of(p[0], p[1])]
        if not holders:
            return []
        position = self.rng.choice(holders)
        usdc, mark = self.view.usdc_of(position[0], position[1]), self.view.mark(position[2])
        haircut = self.world.venue.usdc_haircut_e9
        part = 2 * E9 - haircut * (2 if self.world.venue.haircut_in else 1)
        surplus = -self.view.shortage(position, mark, called=False)
        index = self.view.dump["index_e6"] - surplus * 10**6 * 2 * E9 // (usdc * part)
        if not 500_000 < index < 2_000_000:
            return []
        step = self.rng.choice((0, 1))
        return [{"kind": Kind.INDEX, "currency": Currency.USDC, "mark_ticks": index + n}
                for n in (2 + step, 1, 0, -1 - step)]

    def edge_trigger(self) -> list[Fields]:
        """The reference one tick before a trigger, at it, and beyond."""
        waiting = [o for o in self.view.orders if o.get("trigger_type")]
        if not waiting:
            return []
        order = self.rng.choice(waiting)
        contract = order["contract"]
        t = self.world.contracts[contract]
        at = order["trigger_price"] * t.marks_per_tick + self.rng.choice((-1, 0, 1))
        if order["trigger_by"] == Scope.TRIGGER_LAST:
            price, side = order["trigger_price"], self.rng.choice((BUY, SELL))
            makers = self.rng.sample((0, 1), 2)
            return [{"kind": Kind.NEW_ORDER, "account": account, "contract": contract,
                     "side": side if account == makers[0] else 3 - side, "price_ticks": price,
                     "order_type": OrderType.LIMIT, "qty_lots": t.min_order_lots}
                    for account in makers]
        if order["trigger_by"] == Scope.TRIGGER_INDEX:
            return [{"kind": Kind.INDEX, "contract": contract, "mark_ticks": max(1, at)}]
        return [self.make_mark(contract, at)]

    def edge_amended_trigger(self) -> list[Fields]:
        """A trigger moved to its reference, a tick before it or beyond; then the reference
        comes to it, or a block that had nothing else is looked at."""
        waiting = [o for o in self.view.orders if o["trigger_type"]]
        if not waiting:
            return []
        order = self.rng.choice(waiting)
        row = self.view.contracts[order["contract"]]
        k = self.world.contracts[order["contract"]].marks_per_tick
        now = (row["mark_ticks"], row["index_ticks"], row["last_price_ticks"] * k)[
            order["trigger_by"]]
        fields: Fields = {
            "kind": Kind.AMEND, "account": order["account"], "order_id": order["order_id"],
            "trigger_price_ticks": max(1, now // k + self.rng.choice((-1, 0, 1, 2)))}
        if self.rng.random() < 0.5:
            fields["qty_lots"] = max(1, order["left"] + self.rng.choice((-1, 0, 1)))
        self.todo.append(self.edge_trigger)
        return [fields]

    def edge_many(self) -> list[Fields]:
        """More triggers at once than a command may fire, then the mark comes back."""
        contract = self.contract()
        t, mark = self.world.contracts[contract], self.view.mark(contract)
        if not mark:
            return []
        orders = []
        for _ in range(self.rng.randint(2, 5)):
            fields = self.order(self.trader(), contract, BUY, t.min_order_lots)
            fields["exec_flags"] = 0
            orders.append({**self.trigger_of(fields, 1), "scope": Scope.TRIGGER_MARK,
                           "order_type": OrderType.STOP_LOSS, "price_ticks": 0,
                           "time_in_force": Tif.NONE, "expiry_ns": 0,
                           "trigger_price_ticks": mark // t.marks_per_tick + self.rng.choice(
                               (1, 1, 2))})
        jump = self.make_mark(contract, mark + 3 * t.marks_per_tick)
        return [*orders, jump, self.make_mark(contract, mark), {"kind": Kind.TICK}]

    def edge_dead_man(self) -> list[Fields]:
        """At the time, a nanosecond before and after; a GTD order may end at the same time."""
        account, at = self.trader(), self.now + self.rng.choice((1, SECOND))
        order = self.order(account, self.contract(), BUY, 1)
        order.update(order_type=OrderType.LIMIT, time_in_force=Tif.GTD, expiry_ns=at, exec_flags=0,
                     price_ticks=self.view.price(order["contract"]), timestamp_ns=self.now)
        return [{"kind": Kind.CANCEL_ALL_AFTER, "account": account, "expiry_ns": at,
                 "timestamp_ns": self.now}, order,
                {"kind": Kind.TICK, "at": at + self.rng.choice((-1, 0, 1))}]
