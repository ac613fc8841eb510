"""A seeded generator of commands that look at the state they will meet.

70 % of the commands are valid by construction as far as that is knowable, 20 % stand at a boundary
(one unit, lot or tick on either side of a limit), 10 % carry garbage in one or two fields. The
state is a `dump()`, of the model or of the engine; boundaries are found by asking for a preview of
a command that is too large and reading what the refusal offers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reference.codes import Currency, Ev, Exec, Kind, OrderType, Tif
from reference.records import Command
from rulebook import RulebookCommands
from valid_commands import BUY, FULL_PROFILE, MAKERS, SELL, TRADERS, Fields, Maker
from worlds import (
    ACCOUNTS,
    BOUNDARY,
    GARBAGE,
    REFERENCE_TICKS,
    SECOND,
    VALID,
    Dump,
    Position,
    Step,
    View,
    World,
)

HUGE = 2**60
Ask = Callable[[Command], Sequence[Any]]

#: Field -> largest value it holds; what garbage is made from.
FIELD_MAX = {
    "order_id": 2**64 - 1, "client_order_id": 2**64 - 1, "price_ticks": 2**63 - 1,
    "qty_lots": 2**63 - 1, "account": 2**32 - 1, "contract": 2**16 - 1, "kind": 255, "side": 255,
    "isolation_id": 2**64 - 1, "order_type": 255, "time_in_force": 255, "exec_flags": 255,
    "stp": 255, "leverage": 2**16 - 1, "scope": 255, "currency": 255,
    "trigger_price_ticks": 2**63 - 1, "expiry_ns": 2**63 - 1, "isolated_margin_units": 2**63 - 1,
    "amount_units": 2**63 - 1, "mark_ticks": 2**63 - 1, "rate_e9": 2**63 - 1,
    "profile": 2**64 - 1, "caller_tag": 2**64 - 1,
}
SIGNED = {name for name, most in FIELD_MAX.items() if most == 2**63 - 1}


class Workload(RulebookCommands):
    """Commands for one world: `opening`, then `next` for ever."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed)
        self.ask: Ask
        self.boundaries: tuple[tuple[int, Maker], ...] = (
            (6, self.edge_of_liquidation), (3, self.edge_of_margin_call), (3, self.edge_add),
            (2, self.edge_grow), (3, self.edge_close), (2, self.edge_withdraw),
            (2, self.edge_add_margin),
            (3, self.edge_remove), (3, self.edge_money), (2, self.edge_explicit),
            (3, self.edge_size), (3, self.edge_price), (2, self.edge_leverage),
            (1, self.edge_funding), (2, self.edge_expiry), (1, self.edge_stale),
            (2, self.edge_fund), (2, self.edge_amend), (3, self.edge_gap), (5, self.edge_drain),
            (2, self.edge_stake), (3, self.edge_bankruptcy),
            (7, self.edge_unit), *self.more_boundaries(),
        )
        self.valid += self.more_valid()

    def opening(self) -> list[Step]:
        """Accounts, their money and profiles, and first marks; some of it too early on purpose."""
        steps: list[Fields] = [
            {"kind": Kind.OPEN_ACCOUNT, "account": number} for number in range(ACCOUNTS)
        ]
        steps.append(self.make_deposit(2, Currency.USDC, 5 * self.dollar))  # no index yet: 207
        steps.append({"kind": Kind.INDEX, "currency": Currency.USDC,
                      "mark_ticks": self.rng.choice((1_000_000, 999_700, 1_000_300))})
        rich = 200_000 if self.world.scale == 1 else 40_000  # all deposits stay below 2^61
        for account in range(ACCOUNTS):
            dollars = rich if account in MAKERS else self.rng.choice((20, 100, 400, 1500))
            steps.append(self.make_deposit(account, Currency.USD, dollars * self.dollar))
            if account in (5, 6) or (self.world.venue.block_collateral and account in TRADERS):
                steps.append(self.make_deposit(account, Currency.USDC, 800 * self.dollar))
            profile = FULL_PROFILE if account < ACCOUNTS - 1 else 0
            steps.append({"kind": Kind.SET_ELIGIBILITY, "account": account, "profile": profile})
        for contract in range(2):  # the third has no mark for a while
            k = self.world.contracts[contract].marks_per_tick
            steps.append({"kind": Kind.MARK, "contract": contract,
                          "mark_ticks": REFERENCE_TICKS[contract] * k})
        return [self.step(fields, VALID) for fields in steps]

    def next(self, dump: Dump, ask: Ask) -> list[Step]:
        """One to about eight commands that suit the state; the last ones may find it changed."""
        self.view, self.ask = View(dump, self.world), ask
        self.now = max(self.now, dump["time_ns"])
        if self.rng.random() < 0.03:
            self.drift = self.rng.choice((0.0, 0.0, -0.02, 0.02, -0.06, 0.06))
        if self.todo:
            return [self.step(fields, BOUNDARY) for fields in self.todo.pop(0)()]
        dice = self.rng.random()
        if dice < 0.23:  # shares of calls: a call for valid commands makes two and a half of them
            return [self.step(self.garble(self.some_valid()), GARBAGE)]
        if dice < 0.43:
            return [self.step(fields, BOUNDARY) for fields in self.pick(self.boundaries)()]
        count = self.rng.choice((1, 1, 2, 3, 6))
        return [self.step(self.some_valid(), VALID) for _ in range(count)]

    def step(self, fields: Fields, intent: str) -> Step:
        """Give the command its time and the capability that its kind needs."""
        fields = dict(fields)
        delay = self.rng.random()
        if delay > 0.996:
            self.now += self.rng.randrange(10, 80) * SECOND
        elif delay > 0.6:
            self.now += self.rng.choice((1, 1000, SECOND // 10, SECOND // 2))
        self.now = max(self.now, fields.pop("at", 0))
        needs_admin = fields["kind"] >= Kind.ADMIN_FIRST
        admin = bool(fields.pop("admin", needs_admin or self.rng.random() < 0.5))
        timestamp = fields.pop("timestamp_ns", self.now)
        return Step(Command(timestamp_ns=timestamp, **fields), admin, intent)

    def refusal(self, fields: Fields) -> Any:
        """The REJECT event that the command would get now, or None."""
        events = self.ask(Command(timestamp_ns=self.now, **fields))
        return next((event for event in events if event.kind == Ev.REJECT), None)

    def around(self, value: int) -> int:
        return max(0, value + self.rng.choice((-1, 0, 0, 1)))

    # -- garbage

    def garble(self, fields: Fields) -> Fields:
        """One or two fields of a valid command replaced by something."""
        fields = dict(fields)
        if self.rng.random() < 0.07:
            fields["timestamp_ns"] = self.now - self.rng.choice((1, SECOND, self.now + 1))
            return fields
        if fields["kind"] >= Kind.ADMIN_FIRST and self.rng.random() < 0.2:
            return {**fields, "admin": 0}
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            used = [name for name in fields if name in FIELD_MAX]
            name = self.rng.choice(used if self.rng.random() < 0.7 else list(FIELD_MAX))
            fields[name] = self.garbage(name, fields.get(name, 0))
        return fields

    def garbage(self, name: str, old: int) -> int:
        most = FIELD_MAX[name]
        values = [0, 1, 2, 3, 4, 7, old + 1, old - 1, old ^ 1, old ^ 8, old * 2, most, most - 1,
                  most // 2 + 1]
        if name in SIGNED:
            values += [-1, -old, -most - 1]
        elif name == "isolation_id":
            values += [2**32, self.view.dump["next_isolation_id"]]
        elif name == "order_id":
            values += [order["order_id"] for order in self.view.orders[:3]]
        value = self.rng.choice([v for v in values if (-most - 1 if name in SIGNED else 0)
                                 <= v <= most])
        if name == "amount_units" and value > 2**50 and self.rng.random() < 0.8:
            return -value  # seldom let an account become rich beyond all limits
        return value

    # -- the liquidation threshold and the margin call, one tick on either side

    def edge_position(self) -> tuple[Any, int | None]:
        positions = self.view.positions()
        if not positions:
            return None, None
        blocks = [position for position in positions if position[1]]
        position = self.rng.choice(blocks if blocks and self.rng.random() < 0.5 else positions)
        return position, self.view.edge_mark(position, called=False)

    def edge_of_liquidation(self) -> list[Fields]:
        position, edge = self.edge_position()
        if edge is None:
            return []
        contract, sign = position[2], 1 if position[3] > 0 else -1
        safe = self.make_mark(contract, edge + sign)
        if self.rng.random() < 0.5:
            return [safe]
        return [safe, self.make_mark(contract, edge)]

    def edge_gap(self) -> list[Fields]:
        """A mark far beyond a threshold: deficits, and then who pays them (S4)."""
        position, edge = self.edge_position()
        if edge is None:
            return []
        contract, sign = position[2], 1 if position[3] > 0 else -1
        gap = self.make_mark(contract, edge - sign * edge * self.rng.randint(1, 30) // 100)
        marks = [self.make_mark(c, self.view.mark(c)) for c in range(len(self.world.contracts))
                 if c != contract and self.view.mark(c)]
        return [*marks, gap, *self.rng.choice((self.settle, list))()]

    def edge_bankruptcy(self) -> list[Fields]:
        """A quote at the worst price that a liquidation takes, and a tick on each side (Q3)."""
        position, edge = self.edge_position()
        if edge is None:
            return []
        contract, lots = position[2], position[3]
        t = self.world.contracts[contract]
        price = self.view.bankruptcy_price(position) + self.rng.choice((0, 0, 0, 1, 1, 1, -1, 2))
        if not 0 < price <= t.max_price_ticks:
            return []
        sweep = [{"kind": Kind.CANCEL_ALL, "account": account, "contract": contract}
                 for account in MAKERS]
        size = max(t.min_order_lots, min(abs(lots), t.max_order_lots) // self.rng.choice((1, 9)))
        sign = 1 if lots > 0 else -1
        return [*sweep, self.make_mark(contract, edge + sign),
                self.quote_at(contract, BUY if lots > 0 else SELL, price, size),
                self.make_mark(contract, edge)]

    def edge_stake(self) -> list[Fields]:
        """A session's winner puts all it has into an order that rests: its share of a loss is
        then taken from the order's money, and the order ends (S4)."""
        winners = [row["account"] for row in self.view.accounts if row["session_pnl_units"] > 0
                   and row["profile"] == FULL_PROFILE and row["cash_units"] > 0]
        if not winners:
            return []
        account, contract = self.rng.choice(winners), self.contract()
        t, mark = self.world.contracts[contract], self.view.mark(contract)
        if self.view.block_on(account, contract) or not mark:
            return []
        fields: Fields = {
            "kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": BUY,
            "order_type": OrderType.LIMIT, "exec_flags": Exec.ISOLATED_MARGIN, "leverage": 1,
            "price_ticks": max(1, mark * 9 // (t.marks_per_tick * 10)),
            "qty_lots": t.min_order_lots,
        }
        answer = self.refusal({**fields, "isolated_margin_units": HUGE})
        if answer is None or answer.balance_units <= 0:
            return []
        self.todo.append(self.edge_gap)
        self.todo.append(self.settle)
        return [{**fields, "isolated_margin_units": answer.balance_units}]

    def edge_unit(self) -> list[Fields]:
        """A unit gets exactly what it lacks at the mark that comes next, or one unit less or more:
        the exact inequality of Q1 and C4, which no rounding may blur."""
        called = self.rng.random() < 0.4
        positions = self.view.positions()
        if called:
            waiting = {order["account"] for order in self.view.orders
                       if order["reserved"] and not order["isolation_id"]}
            positions = [p for p in positions if p[1] == 0 and p[0] in waiting]
        if not positions:
            return []
        position = self.rng.choice(positions)
        account, isolation_id, contract, lots, _, _ = position
        edge = self.view.edge_mark(position, called) or self.view.mark(contract)
        sign = 1 if lots > 0 else -1
        mark = edge - sign * self.rng.choice((0, 1, 1, edge // 200, edge // 30))
        units = self.view.shortage(position, mark, called) + self.rng.choice((-1, 0, 0, 1))
        if units <= 0:
            return [self.make_mark(contract, mark)]
        if isolation_id:
            return [self.make_deposit(account, Currency.USD, units),
                    {"kind": Kind.ADD_MARGIN, "account": account,
                     "isolation_id": isolation_id, "amount_units": units},
                    self.make_mark(contract, mark)]
        return [self.make_deposit(account, Currency.USD, units), self.make_mark(contract, mark)]

    def edge_of_margin_call(self) -> list[Fields]:
        """The mark at which main has a call, and then an order that is refused for it (301)."""
        mains = [p for p in self.view.positions() if p[1] == 0]
        if not mains:
            return []
        position = self.rng.choice(mains)
        edge = self.view.edge_mark(position, called=True)
        if edge is None:
            return []
        account, _, contract, lots, _, _ = position
        order = self.order(account, contract, BUY if lots > 0 else SELL,
                           self.world.contracts[contract].min_order_lots)
        sign = 1 if lots > 0 else -1
        return [self.make_mark(contract, edge + sign), self.make_mark(contract, edge), order]

    def quote_at(self, contract: int, side: int, price: int, lots: int) -> Fields:
        return {"kind": Kind.NEW_ORDER, "account": self.rng.choice(MAKERS), "contract": contract,
                "side": side, "order_type": OrderType.LIMIT, "price_ticks": max(1, price),
                "qty_lots": lots, "time_in_force": Tif.GTC}

    def edge_grow(self) -> list[Fields]:
        """A block whose maintenance grows faster than the margin of what is added to it: a large
        share and a rate that grows with size. Just above its threshold one more slice is 304."""
        steep = [c for c, t in enumerate(self.world.contracts) if t.maintenance_share_e4 > 5000
                 and t.unit_margin_rate_e15 and self.is_fresh(c)]
        able = [n for n in TRADERS if self.view.accounts[n]["profile"] == FULL_PROFILE]
        if not steep or not able:
            return []
        contract, account = self.rng.choice(steep), self.rng.choice(able)
        t, leverage = self.world.contracts[contract], self.rng.choice((2, 3, 5))
        lots = min(10**15 * 9 // (10 * leverage * t.unit_margin_rate_e15), t.max_order_lots)
        if self.view.block_on(account, contract) or lots < 20:
            return []
        side, price = self.rng.choice((BUY, SELL)), self.view.price(contract)
        money = 2 * lots * price * t.marks_per_tick * self.view.value(contract)

        def grow() -> list[Fields]:
            block = self.view.block_on(account, contract)
            if block is None or not block["qty_lots"]:
                return []
            return self.add_to((account, block["isolation_id"], contract, block["qty_lots"],
                                block["cost_units"], leverage), abs(block["qty_lots"]) // 10)

        self.todo.append(grow)
        return [
            self.make_deposit(account, Currency.USD, money),
            self.quote_at(contract, 3 - side, price, lots),
            {"kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": side,
             "order_type": OrderType.MARKET, "qty_lots": lots, "leverage": leverage,
             "exec_flags": Exec.ISOLATED_MARGIN},
        ]

    def edge_add(self) -> list[Fields]:
        """A block just above its threshold is made larger: where 304 can be (O7)."""
        position, _ = self.edge_position()
        if position is None or position[1] == 0:
            return []
        lots = abs(position[3])
        return self.add_to(position, self.rng.choice((1, lots // 10, lots)))

    def add_to(self, position: Position, more: int) -> list[Fields]:
        account, isolation_id, contract, lots, _, _ = position
        edge = self.view.edge_mark(position, called=False)
        if edge is None:
            return []
        side, sign = (BUY, 1) if lots > 0 else (SELL, -1)
        t = self.world.contracts[contract]
        more = max(t.min_order_lots, min(t.max_order_lots, more))
        mark = edge + sign * self.rng.choice((1, 1, 2))
        price = mark // t.marks_per_tick
        return [
            self.make_mark(contract, mark),
            self.quote_at(contract, 3 - side, price, more),
            {"kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": side,
             "order_type": OrderType.MARKET, "qty_lots": more, "isolation_id": isolation_id,
             "exec_flags": Exec.ISOLATED_MARGIN},
        ]

    def edge_close(self) -> list[Fields]:
        """A unit just above its threshold sells into a thin book at the band's edge: 310 (O7)."""
        position, edge = self.edge_position()
        if edge is None:
            return []
        account, isolation_id, contract, lots, _, _ = position
        sign = 1 if lots > 0 else -1
        t = self.world.contracts[contract]
        mark = edge + sign * self.rng.choice((1, 1, 2))
        band = mark * t.band_aggressive_e9 // (10**9 * t.marks_per_tick)
        price = mark // t.marks_per_tick - sign * band + sign * self.rng.choice((0, 1))
        sweep = [{"kind": Kind.CANCEL_ALL, "account": account, "contract": contract}
                 for account in MAKERS]
        size = max(t.min_order_lots, min(abs(lots), t.max_order_lots))
        return [
            *sweep,
            self.make_mark(contract, mark),
            self.quote_at(contract, BUY if lots > 0 else SELL, price, size),
            {"kind": Kind.CLOSE_POSITION, "account": account, "contract": contract,
             "isolation_id": isolation_id, "order_type": OrderType.MARKET},
        ]

    # -- amounts, one unit on either side; what is possible is asked for

    def edge_amount(self, fields: Fields) -> list[Fields]:
        answer = self.refusal({**fields, "amount_units": HUGE})
        if answer is None:
            return []
        return [{**fields, "amount_units": max(1, self.around(answer.balance_units))}]

    def edge_withdraw(self) -> list[Fields]:
        return self.edge_amount({"kind": Kind.WITHDRAW, "account": self.trader(),
                                 "currency": self.rng.choice((Currency.USD, Currency.USDC))})

    def edge_drain(self) -> list[Fields]:
        """A main account with positions gives away all it can, and then something moves a little:
        where a margin call or a liquidation that nobody noticed would be (the safe box of Q2)."""
        holders = [row for row in self.view.accounts
                   if sum(1 for leg in row["legs"] if leg["qty_lots"])]
        if not holders:
            return []
        row = max(self.rng.choices(holders, k=2), key=lambda r: len(r["legs"]))
        account = row["account"]
        held = {leg["contract"]: leg["qty_lots"] for leg in row["legs"] if leg["qty_lots"]}
        contract = self.rng.choice(list(held))
        resting = self.rng.choice((0, 1, 2, 2, 2, 2))  # an order on the third ties down least
        order = self.order(account, resting, self.rng.choice((BUY, SELL)),
                           self.world.contracts[resting].min_order_lots)
        order.update(order_type=OrderType.LIMIT, time_in_force=Tif.GTC, expiry_ns=0, exec_flags=0,
                     price_ticks=self.view.price(resting))

        dice = self.rng.random()

        def drain() -> list[Fields]:
            return [fields for currency in (Currency.USDC, Currency.USD) for fields in
                    self.edge_amount({"kind": Kind.WITHDRAW, "account": account,
                                      "currency": currency})]

        def move() -> list[Fields]:
            """Small steps to one side, of a mark or of the index."""
            mark, sign = self.view.mark(contract), self.rng.choice((-1, 1) if dice < 0.55 else (
                -1, 1, 1, 1))
            step = max(1, mark // self.rng.choice((10_000, 500, 50, 10)))
            if self.rng.random() < 0.2:
                return [{"kind": Kind.INDEX, "currency": Currency.USDC,
                         "mark_ticks": self.view.dump["index_e6"] + sign * n} for n in (1, 500)]
            return [self.make_mark(contract, mark + sign * step * n) for n in (1, 2, 3)]

        self.todo += [drain, move]
        if dice < 0.4:
            return [order]
        leverage = {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract,
                    "leverage": self.rng.choice((1, 1, 1, 2, 5))}
        if dice < 0.55:
            return [leverage, order]
        # At leverage 1 a long's margin and fees are more than its value: what rises costs, too.
        worth = sum(abs(lots) * self.view.value(c) * self.view.mark(c) for c, lots in held.items())
        refresh = [self.make_mark(c, self.view.mark(c)) for c in {*held, resting}
                   if self.view.mark(c)]
        return [*refresh, self.make_deposit(account, Currency.USD, worth + worth // 20), leverage,
                *self.settle(), order]

    def edge_add_margin(self) -> list[Fields]:
        block = self.some_block()
        return self.edge_amount(
            self.on_block(Kind.ADD_MARGIN, block, 0) | self.some_currency()) if block else []

    def edge_remove(self) -> list[Fields]:
        blocks = [b for b in self.view.blocks if b["qty_lots"]] or self.view.blocks
        if not blocks:
            return []
        return self.edge_amount(self.on_block(Kind.REMOVE_MARGIN, self.rng.choice(blocks), 0)
                                | self.some_currency())

    def edge_explicit(self) -> list[Fields]:
        fields = self.isolated_order(explicit=1)[0]
        answer = self.refusal(fields)
        if answer is None or answer.amount_units <= 0:
            return [fields]
        return [{**fields, "isolated_margin_units": max(1, self.around(answer.amount_units))}]

    def edge_money(self) -> list[Fields]:
        """The largest order that passes, and one lot more."""
        fields = self.rng.choice((self.cross_order, self.isolated_order))()[0]
        fields.pop("isolated_margin_units", 0)
        low, high = 0, self.world.contracts[fields["contract"]].max_order_lots
        while low < high:
            middle = (low + high + 1) // 2
            if self.refusal({**fields, "qty_lots": middle}) is None:
                low = middle
            else:
                high = middle - 1
        return [{**fields, "qty_lots": max(1, low + self.rng.choice((0, 1)))}]

    def edge_size(self) -> list[Fields]:
        """Smallest and largest order, and the largest position (319)."""
        fields = self.rng.choice((self.cross_order, self.isolated_order))()[0]
        t = self.world.contracts[fields["contract"]]
        if self.rng.random() < 0.5:
            lots = self.around(self.rng.choice((t.min_order_lots, t.max_order_lots)))
            return [{**fields, "qty_lots": lots}]
        fields["account"] = self.rng.choice(MAKERS)
        fields.update(isolation_id=0, exec_flags=0, leverage=0, isolated_margin_units=0,
                      qty_lots=t.max_order_lots)
        answer = self.refusal(fields)
        if answer is None:
            return [fields, fields]
        return [{**fields, "qty_lots": self.around(answer.qty_lots)}]

    def edge_price(self) -> list[Fields]:
        """Both bands of both sides, and the ends of the price scale."""
        fields = self.rng.choice((self.quote_of(self.rng.choice(MAKERS)), self.cross_order()[0]))
        contract = fields["contract"]
        t, mark = self.world.contracts[contract], self.view.mark(contract)
        edges = [1, t.max_price_ticks]
        for band in (t.band_aggressive_e9, t.band_passive_e9):
            edges += [mark * (10**9 + sign * band) // (10**9 * t.marks_per_tick)
                      for sign in (-1, 1)]
        return [{**fields, "order_type": OrderType.LIMIT, "time_in_force": Tif.GTC,
                 "expiry_ns": 0, "price_ticks": self.around(self.rng.choice(edges))}]

    def edge_leverage(self) -> list[Fields]:
        """A lower leverage with exactly what it needs put in before, or one unit less."""
        blocks = [b for b in self.view.blocks if b["leverage"] > 1]
        if not blocks:
            return self.leverage()
        block = self.rng.choice(blocks)
        fields = {**self.on_block(Kind.SET_LEVERAGE, block, 0), "contract": block["contract"],
                  "leverage": self.rng.randint(1, block["leverage"])}
        answer = self.refusal(fields)
        if answer is None or answer.amount_units <= 0:
            return [fields]
        return [self.on_block(Kind.ADD_MARGIN, block, max(1, self.around(answer.amount_units))),
                fields]

    def edge_amend(self) -> list[Fields]:
        """A total of what is filled already, or of the smallest order, and one lot on each side."""
        order = self.some_order()
        if order is None:
            return []
        least = self.world.contracts[order["contract"]].min_order_lots
        total = max(0, self.rng.choice((order["filled"], least)) + self.rng.choice((-1, 0, 1)))
        return [{"kind": Kind.AMEND, "account": order["account"], "order_id": order["order_id"],
                 "qty_lots": total}]

    # -- rates and times

    def edge_funding(self) -> list[Fields]:
        fields = self.funding()[0]
        cap = self.world.contracts[fields["contract"]].funding_cap_e9
        return [{**fields, "rate_e9": self.rng.choice((-1, 1)) * self.around(cap)}]

    def edge_expiry(self) -> list[Fields]:
        """Orders that end now, a nanosecond from now, and together; then time goes by."""
        expiry = self.now + self.rng.choice((0, 1, 1, SECOND))
        orders = []
        for _ in range(3):
            fields = self.rng.choice((self.quote_of(0), self.quote_of(1),
                                      self.isolated_order()[0]))
            orders.append({**fields, "order_type": OrderType.LIMIT, "time_in_force": Tif.GTD,
                           "price_ticks": self.view.price(fields["contract"]),
                           "timestamp_ns": self.now, "expiry_ns": expiry})
        return [*orders, {"kind": Kind.TICK, "at": expiry + self.rng.choice((-1, 0, 0, 1))}]

    def edge_stale(self) -> list[Fields]:
        """An order when the mark is exactly as old as it may be, and a nanosecond later."""
        contract = self.rng.choice((1, 2))
        fields = self.cross_order()[0] | {"contract": contract}
        last = (self.view.contracts[contract]["mark_time_ns"]
                + self.world.contracts[contract].stale_after_ns)
        return [{**fields, "at": last}, {**self.quote_of(1), "contract": contract, "at": last + 1},
                {"kind": Kind.SETTLE_SESSION, "at": last + 1}]

    def edge_fund(self) -> list[Fields]:
        """The fund at -1, 0 and +1 when a session is settled (S5)."""
        fund = self.view.dump["fund_units"][0]
        if not -10**13 < fund < 1:
            return self.settle()
        return [{"kind": Kind.FUND_TOP_UP, "currency": Currency.USD,
                 "amount_units": max(1, self.around(-fund))}, *self.settle()]
