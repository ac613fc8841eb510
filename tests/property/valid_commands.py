"""Commands that are valid by construction, as far as the state in hand tells."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from reference.codes import (
    Currency,
    Exec,
    Kind,
    OrderType,
    Profile,
    Scope,
    Side,
    Stp,
    Tif,
)
from worlds import ACCOUNTS, EXCLUDED_COUNTRY, REFERENCE_TICKS, SECOND, USD_UNITS, View, World

BUY, SELL = Side.BUY, Side.SELL
ALL_CONTRACTS = 0xFFFF
FULL_PROFILE = 62 | 0xFFFF << 48  # all but the bit that suspends
MAKERS = (0, 1)
TRADERS = (2, 3, 4, 5, 6, 7)

Fields = dict[str, int]
Maker = Callable[[], list[Fields]]


class ValidCommands:
    """One method a kind; each returns the fields of its command, or nothing if none suits."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self.rng = random.Random(f"commands {seed}")
        self.dollar = USD_UNITS * world.scale
        self.now = 1_000 * SECOND
        self.client_ids = 0
        self.drift = 0.0
        self.todo: list[Maker] = []
        self.view: View
        self.valid: tuple[tuple[int, Maker], ...] = (
            (22, self.quote), (16, self.cross_order), (17, self.isolated_order),
            (7, self.reduce_order), (4, self.close), (5, self.cancel), (6, self.amend),
            (1, self.cancel_all), (3, self.leverage), (3, self.add_margin),
            (3, self.remove_margin), (2, self.withdraw), (2, self.deposit), (13, self.mark),
            (2, self.index), (2, self.funding), (2, self.settle), (2, self.eligibility),
            (1, self.market_state), (1, self.top_up), (1, self.tick), (1, self.account),
        )

    def pick(self, table: Sequence[tuple[int, Maker]]) -> Maker:
        weights = [weight for weight, _ in table]
        return self.rng.choices(table, weights)[0][1]

    def some_valid(self) -> Fields:
        while True:
            fields = self.pick(self.valid)()
            if fields:
                return fields[0]

    # -- choices

    def contract(self) -> int:
        """Mostly one that has a fresh mark."""
        fresh = [c for c in range(len(self.world.contracts)) if self.is_fresh(c)]
        if fresh and self.rng.random() < 0.98:
            return self.rng.choice(fresh)
        return self.rng.randrange(len(self.world.contracts))

    def is_fresh(self, contract: int) -> bool:
        row, t = self.view.contracts[contract], self.world.contracts[contract]
        age = self.now - row["mark_time_ns"]
        return bool(row["mark_ticks"]) and (not t.stale_after_ns or age < t.stale_after_ns - SECOND)

    def trader(self) -> int:
        """Mostly one that may trade and has something to trade with."""
        dice = self.rng.random()
        if dice < 0.10:
            return self.rng.randrange(len(self.view.accounts)) if dice < 0.03 else (
                self.rng.choice(TRADERS))
        able = [n for n in TRADERS if self.view.accounts[n]["profile"] == FULL_PROFILE]
        solvent = [n for n in able if self.view.free(n) > 2 * self.dollar]
        return self.rng.choice(solvent or able or TRADERS)

    def has_room(self, account: int) -> bool:
        """Whether one more order may rest; else, mostly, the order must not want to."""
        most = self.world.venue.max_orders_per_account
        return len(self.view.orders_by(account)) < most or self.rng.random() < 0.1

    def some_leverage(self, contract: int) -> int:
        most = self.world.contracts[contract].max_leverage
        return min(most, self.rng.choice((1, 2, 3, 5, 10, 20, 50, most, most)))

    def affordable(self, account: int, contract: int, leverage: int) -> int:
        """Lots that a part of the account's free money carries, about."""
        v, k = self.view.value(contract), self.world.contracts[contract].marks_per_tick
        each = v * k * self.view.price(contract)
        part = max(0, self.view.free(account)) * self.rng.choice((0.05, 0.2, 0.4, 0.8))
        lots = int(part / (each * (1 / leverage + 0.03)))
        t = self.world.contracts[contract]
        most = self.rng.choice((t.max_order_lots, t.max_order_lots // 3, t.max_order_lots // 9))
        return max(t.min_order_lots, min(lots, most))

    def near_price(self, contract: int, side: int) -> int:
        """Crossing the other side's best, joining one's own, or some ticks from the mark."""
        mine, other = self.view.best(contract, side), self.view.best(contract, 3 - side)
        price = self.view.price(contract)
        step = max(1, price // 100)
        sign = 1 if side == BUY else -1
        choice = self.rng.random()
        if choice < 0.45 and other is not None:
            return max(1, other + sign * self.rng.choice((0, 0, 1, step)))
        if choice < 0.6 and mine is not None:
            return mine
        return max(1, price - sign * self.rng.choice((-step, 0, 1, 2, step, 3 * step)))

    def client_id(self) -> int:
        if self.rng.random() < 0.6:
            return 0
        if self.client_ids and self.rng.random() < 0.15:
            return self.rng.randrange(max(1, self.client_ids - 8), self.client_ids + 1)
        self.client_ids += 1
        return self.client_ids

    def order(self, account: int, contract: int, side: int, lots: int, **more: int) -> Fields:
        """A new order with some time in force, flags and self-trade prevention."""
        fields: Fields = {
            "kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": side,
            "qty_lots": lots, "client_order_id": self.client_id(),
            "stp": self.rng.choice((Stp.DEFAULT, Stp.MAKER, Stp.TAKER, Stp.BOTH)),
        }
        if self.rng.random() < 0.15:
            fields["order_type"] = OrderType.MARKET
            fields["time_in_force"] = self.rng.choice((Tif.NONE, Tif.IOC))
        else:
            fields["order_type"] = OrderType.LIMIT
            fields["price_ticks"] = self.near_price(contract, side)
            tif = self.rng.choice((Tif.NONE, Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK, Tif.GTD))
            best = self.view.best(contract, 3 - side)
            if not self.has_room(account):
                tif = self.rng.choice((Tif.IOC, Tif.FOK))
            if tif in (Tif.IOC, Tif.FOK) and best is not None and self.rng.random() < 0.9:
                fields["price_ticks"] = best
            if tif == Tif.FOK and self.rng.random() < 0.7:
                fields["qty_lots"] = max(self.world.contracts[contract].min_order_lots,
                                         min(lots, self.view.best_lots(contract, 3 - side)))
            fields["time_in_force"] = tif
            if tif == Tif.GTD:
                fields["expiry_ns"] = self.now + self.rng.randrange(1, 90) * SECOND
            if tif in (Tif.NONE, Tif.GTC, Tif.GTD) and self.rng.random() < 0.12:
                fields["exec_flags"] = Exec.POST_ONLY
        flags = fields.get("exec_flags", 0) | more.pop("exec_flags", 0)
        return {**fields, **more, "exec_flags": flags}

    # -- valid commands

    def quote(self) -> list[Fields]:
        account = self.rng.choice(MAKERS)
        return [self.quote_of(account)] if self.has_room(account) else self.cancel_all_of(account)

    def quote_of(self, account: int) -> Fields:
        contract = self.contract()
        side = self.rng.choice((BUY, SELL))
        price, sign = self.view.price(contract), 1 if side == BUY else -1
        away = self.rng.choice((0, 1, 1, 2, 3, max(1, price // 100), max(1, price // 30)))
        t = self.world.contracts[contract]
        lots = min(self.affordable(account, contract, t.max_leverage), self.rng.choice((
            t.min_order_lots, 7, t.max_order_lots // 40, t.max_order_lots // 10)))
        fields = self.order(account, contract, side, max(lots, t.min_order_lots))
        tif = self.rng.choice((Tif.NONE, Tif.GTC, Tif.GTC, Tif.GTD))
        fields.update(order_type=OrderType.LIMIT, price_ticks=max(1, price - sign * away),
                      time_in_force=tif, exec_flags=fields["exec_flags"] & Exec.POST_ONLY)
        fields["expiry_ns"] = (
            self.now + self.rng.randrange(1, 90) * SECOND if tif == Tif.GTD else 0)
        return fields

    def cross_order(self) -> list[Fields]:
        account, contract = self.trader(), self.contract()
        leg = self.view.leg(account, contract)
        leverage = (leg["leverage"] if leg else 0) or self.world.contracts[contract].max_leverage
        lots = self.affordable(account, contract, leverage)
        side = self.rng.choice((BUY, SELL))
        return [self.order(account, contract, side, lots)]

    def isolated_order(self, explicit: int | None = None) -> list[Fields]:
        account, contract = self.trader(), self.contract()
        blocks = self.view.blocks_by(account)
        if len(blocks) >= self.world.venue.max_blocks_per_account and self.rng.random() < 0.95:
            contract = self.rng.choice(blocks)["contract"]
        block = self.view.block_on(account, contract)
        more: Fields = {"exec_flags": Exec.ISOLATED_MARGIN}
        if block:
            leverage = block["leverage"]
            more["isolation_id"] = block["isolation_id"]
            more["leverage"] = self.rng.choice((0, leverage))
        else:
            leverage = self.some_leverage(contract)
            more["leverage"] = leverage
        lots = self.affordable(account, contract, leverage)
        side = self.rng.choice((BUY, SELL))
        if block and block["qty_lots"] and self.rng.random() < 0.4:
            side = BUY if block["qty_lots"] < 0 else SELL
            lots = max(self.world.contracts[contract].min_order_lots, min(
                abs(block["qty_lots"]) + self.rng.choice((0, 1, lots)),
                self.world.contracts[contract].max_order_lots))
        fields = self.order(account, contract, side, lots, **more)
        if explicit is not None:
            fields["isolated_margin_units"] = explicit
        elif self.rng.random() < 0.25:
            each = self.view.value(contract) * self.world.contracts[contract].marks_per_tick
            need = lots * each * self.view.price(contract) // leverage
            fields["isolated_margin_units"] = need + need // self.rng.choice((5, 10, 20)) + 1000
        return [fields]

    def reduce_order(self) -> list[Fields]:
        positions = self.view.positions()
        if not positions:
            return []
        account, isolation_id, contract, lots, _, leverage = self.rng.choice(positions)
        side = SELL if lots > 0 else BUY
        t = self.world.contracts[contract]
        most = min(t.max_order_lots, abs(lots))
        fields = self.order(account, contract, side, max(
            t.min_order_lots, self.rng.choice((most, self.rng.randint(1, most), most + 1))))
        if isolation_id:
            fields["isolation_id"] = isolation_id
            fields["exec_flags"] |= Exec.ISOLATED_MARGIN
            fields["leverage"] = self.rng.choice((0, leverage))
        if self.rng.random() < 0.7:
            fields["exec_flags"] |= Exec.REDUCE_ONLY
        return [fields]

    def close(self) -> list[Fields]:
        positions = self.view.positions()
        if not positions:
            return []
        account, isolation_id, contract, lots, _, _ = self.rng.choice(positions)
        fields: Fields = {"kind": Kind.CLOSE_POSITION, "account": account, "contract": contract,
                          "isolation_id": isolation_id}
        if self.rng.random() < 0.6:
            fields["order_type"] = OrderType.MARKET
        else:
            fields["order_type"] = OrderType.LIMIT
            fields["price_ticks"] = self.near_price(contract, SELL if lots > 0 else BUY)
        if self.rng.random() < 0.5:
            fields["qty_lots"] = self.rng.randint(1, abs(lots) + 1)
        if isolation_id and self.rng.random() < 0.4:
            fields["exec_flags"] = Exec.RELEASE_MARGIN
        return [fields]

    def some_order(self) -> dict[str, Any] | None:
        return self.rng.choice(self.view.orders) if self.view.orders else None

    def cancel(self) -> list[Fields]:
        order = self.some_order()
        if order is None:
            return []
        fields: Fields = {"kind": Kind.CANCEL, "account": order["account"]}
        if order["client_order_id"] and self.rng.random() < 0.5:
            fields["client_order_id"] = order["client_order_id"]
        else:
            fields["order_id"] = order["order_id"]
        return [fields]

    def amend(self) -> list[Fields]:
        order = self.some_order()
        if order is None:
            return []
        fields: Fields = {"kind": Kind.AMEND, "account": order["account"],
                          "order_id": order["order_id"]}
        if order["trigger_type"]:
            return [fields | self.change_of_waiting(order)]
        if self.rng.random() < 0.6:
            total = order["left"] + order["filled"]
            fields["qty_lots"] = max(1, self.rng.choice((
                total - 1, order["filled"] + 1, order["filled"] + (order["left"] + 1) // 2,
                total + 1, total * 2, total)))
        if "qty_lots" not in fields or self.rng.random() < 0.4:
            fields["price_ticks"] = self.rng.choice((
                self.near_price(order["contract"], order["side"]), order["price"] + 1,
                order["price"]))
        return [fields]

    def change_of_waiting(self, order: dict[str, Any]) -> Fields:
        """Some of lots, limit and trigger of a conditional order, mostly a trigger to come."""
        fields: Fields = {}
        dice, left, trigger = self.rng.random(), order["left"], order["trigger_price"]
        if dice < 0.6:
            fields["qty_lots"] = max(1, self.rng.choice((left - 1, left, left + 1, left // 2)))
        if dice > 0.4:
            near = self.view.price(order["contract"])
            fields["trigger_price_ticks"] = max(1, self.rng.choice((
                trigger - 1, trigger, trigger + 1, (3 * trigger - near) // 2,
                (trigger + near) // 2)))
        if order["price"] and self.rng.random() < 0.3:
            fields["price_ticks"] = max(1, order["price"] + self.rng.choice((-1, 0, 1)))
        return fields

    def cancel_all(self) -> list[Fields]:
        return self.cancel_all_of(self.rng.choice((*TRADERS, *MAKERS)))

    def cancel_all_of(self, account: int) -> list[Fields]:
        contract = self.rng.choice((*range(len(self.world.contracts)), ALL_CONTRACTS))
        return [{"kind": Kind.CANCEL_ALL, "account": account, "contract": contract,
                 "scope": self.rng.randrange(3)}]

    def leverage(self) -> list[Fields]:
        account, contract = self.trader(), self.contract()
        block = self.view.block_on(account, contract)
        fields: Fields = {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract,
                          "leverage": self.some_leverage(contract)}
        if block and self.rng.random() < 0.7:
            fields["isolation_id"] = block["isolation_id"]
            if self.rng.random() < 0.5:
                fields["exec_flags"] = Exec.AUTO_TOP_UP
        return [fields]

    def some_block(self) -> dict[str, Any] | None:
        return self.rng.choice(self.view.blocks) if self.view.blocks else None

    def on_block(self, kind: int, block: dict[str, Any], amount: int) -> Fields:
        return {"kind": kind, "account": block["account"],
                "isolation_id": block["isolation_id"], "amount_units": amount}

    def add_margin(self) -> list[Fields]:
        block = self.some_block()
        if block is None:
            return []
        money = max(1, self.view.money(block["account"]))
        fields = self.on_block(Kind.ADD_MARGIN, block, self.rng.randint(1, max(1, money // 4)))
        return [fields | self.some_currency()]

    def some_currency(self) -> Fields:
        """Of margin that goes in or out: USD, said or not, or USDC where it stays in kind."""
        if self.world.venue.block_collateral and self.rng.random() < 0.5:
            return {"currency": Currency.USDC}
        return {"currency": self.rng.choice((0, 0, 0, Currency.USD))}

    def remove_margin(self) -> list[Fields]:
        block = self.some_block()
        if block is None:
            return []
        currency = self.some_currency()
        own = block.get("usdc_units", 0) if currency["currency"] == Currency.USDC else (
            block["cash_units"])
        fields = self.on_block(Kind.REMOVE_MARGIN, block, self.rng.randint(1, max(1, own // 10)))
        return [fields | currency]

    def withdraw(self) -> list[Fields]:
        account = self.trader()
        currency = self.rng.choice((Currency.USD, Currency.USD, Currency.USDC))
        row = self.view.accounts[account]
        own = row["cash_units"] if currency == Currency.USD else row["usdc_units"]
        amount = self.rng.randint(1, max(1, own // 10))
        return [{"kind": Kind.WITHDRAW, "account": account, "currency": currency,
                 "amount_units": amount}]

    def make_deposit(self, account: int, currency: int, units: int) -> Fields:
        return {"kind": Kind.DEPOSIT, "account": account, "currency": currency,
                "amount_units": units}

    def deposit(self) -> list[Fields]:
        poorest = min(TRADERS, key=self.view.free)
        account = self.rng.choice((poorest, poorest, self.trader()))
        currency = self.rng.choice((Currency.USD, Currency.USD, Currency.USDC))
        units = self.rng.choice((1, 5 * self.dollar + 1, 90 * self.dollar, 400 * self.dollar))
        return [self.make_deposit(account, currency, units)]

    def make_mark(self, contract: int, mark: int) -> Fields:
        t = self.world.contracts[contract]
        most = t.max_price_ticks * t.marks_per_tick
        return {"kind": Kind.MARK, "contract": contract, "mark_ticks": min(max(1, mark), most)}

    def mark(self) -> list[Fields]:
        stale = [c for c in range(len(self.world.contracts)) if not self.is_fresh(c)]
        contract = self.rng.choice(stale) if stale else self.contract()
        k = self.world.contracts[contract].marks_per_tick
        mark = self.view.mark(contract)
        home = REFERENCE_TICKS[contract] * k
        if not mark:
            return [self.make_mark(contract, home)]
        pull = -0.03 * (mark / home - 1)
        wild = self.rng.choice((0.002, 0.05, 0.2)) if self.world.cruel else 0.0
        move = self.rng.gauss(self.drift + pull, self.rng.choice((0.0005, 0.003, 0.02)) + wild)
        if mark < home // 3 or mark > home * 3:
            move = 0.2 * (1 if mark < home else -1)
        return [self.make_mark(contract, round(mark * (1 + move)) + self.rng.choice((-1, 0, 1)))]

    def index(self) -> list[Fields]:
        old = self.view.dump["index_e6"] or 1_000_000
        new = old + self.rng.choice((-300, -1, 0, 1, 300, -20_000, 20_000))
        if not 700_000 < new < 1_300_000:
            new = 1_000_000
        return [{"kind": Kind.INDEX, "currency": Currency.USDC, "mark_ticks": new}]

    def funding(self) -> list[Fields]:
        contract = self.contract()
        cap = self.world.contracts[contract].funding_cap_e9
        rate = self.rng.choice((0, 1, -1, cap, -cap, self.rng.randint(-cap, cap)))
        return [{"kind": Kind.FUNDING, "contract": contract, "rate_e9": rate,
                 "scope": self.rng.randrange(2)}]

    def settle(self) -> list[Fields]:
        return [{"kind": Kind.SETTLE_SESSION}]

    def eligibility(self) -> list[Fields]:
        lost = [n for n in TRADERS if self.view.accounts[n]["profile"] != FULL_PROFILE]
        if lost and self.rng.random() < 0.7:
            return [{"kind": Kind.SET_ELIGIBILITY, "account": self.rng.choice(lost),
                     "profile": FULL_PROFILE}]
        account, profile = self.rng.choice((*TRADERS, ACCOUNTS - 1)), FULL_PROFILE
        for _ in range(self.rng.choice((1, 1, 2))):
            profile = self.rng.choice((
                profile ^ Profile.SUSPENDED,
                profile & ~Profile.ADVANCED,
                profile & ~Profile.DERIVATIVES,
                profile & ~Profile.ISOLATED,
                profile & ~Profile.USD,
                profile & ~Profile.USDC,
                profile & ~(0xFF << 8) | self.rng.choice((1, 5, 10)) << 8,
                profile & ~(0xFFFF << 16) | EXCLUDED_COUNTRY << 16,
                profile & ~(0xFFFF << 32) | self.rng.choice((408, 276)) << 32,
                profile & ~(1 << 48 + self.rng.choice((0, 3, 15))),
            ))
        return [{"kind": Kind.SET_ELIGIBILITY, "account": account, "profile": profile}]

    def market_state(self) -> list[Fields]:
        shut = [c for c, row in enumerate(self.view.contracts) if row["state"]]
        if shut:
            return [{"kind": Kind.SET_MARKET_STATE, "contract": self.rng.choice(shut), "scope": 0}]
        contract, scope = self.contract(), self.rng.randrange(1, 3)

        def reopen() -> list[Fields]:
            orders = [self.cross_order()[0] | {"contract": contract} for _ in range(2)]
            return [*orders, {"kind": Kind.SET_MARKET_STATE, "contract": contract, "scope": 0}]

        self.todo.append(reopen)
        return [{"kind": Kind.SET_MARKET_STATE, "contract": contract, "scope": scope}]

    def top_up(self) -> list[Fields]:
        currency = self.rng.choice((Currency.USD, Currency.USD, Currency.USDC))
        units = 1 if self.world.cruel else self.rng.choice((1, self.dollar, 20 * self.dollar))
        fields: Fields = {"kind": Kind.FUND_TOP_UP, "currency": currency, "amount_units": units}
        if self.world.venue.fund_by_contract and self.rng.random() < 0.7:
            fields.update(scope=Scope.FUND_OF_CONTRACT, currency=Currency.USD,
                          contract=self.rng.randrange(len(self.world.contracts)))
        return [fields]

    def tick(self) -> list[Fields]:
        return [{"kind": Kind.TICK, "at": self.now + self.rng.choice((1, 3, 12)) * SECOND}]

    def account(self) -> list[Fields]:
        count = len(self.view.accounts)
        if count > ACCOUNTS + 1 and self.rng.random() < 0.8:
            return []
        return [{"kind": Kind.OPEN_ACCOUNT, "account": count}]
