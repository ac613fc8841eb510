"""What each seed of the soak plays: a mix of its own, and what a fixed mix hardly ever meets."""

from __future__ import annotations

import random
from typing import Any

from reference.codes import Currency, Exec, Kind, OrderType, Tif
from valid_commands import FULL_PROFILE, MAKERS, TRADERS, Fields
from workload import Workload
from worlds import BOUNDARY, BUY, SECOND, SELL, Position, Step, World

ALWAYS = {"quote", "mark", "deposit", "account", "eligibility"}  # without these nothing happens


class Swarm(Workload):
    """A workload with its own mix of commands for each seed."""

    def __init__(self, world: World, seed: int) -> None:
        super().__init__(world, seed)
        self.mains_alone = False
        rng = random.Random(f"swarm {seed}")

        def mixed(table: tuple[tuple[int, Any], ...]) -> tuple[tuple[int, Any], ...]:
            found = tuple((weight * rng.choice((0, 1, 1, 1, 3, 6)), maker)
                          if maker.__name__ not in ALWAYS else (weight, maker)
                          for weight, maker in table)
            return found if any(weight for weight, _ in found) else table

        self.valid, self.boundaries = mixed(self.valid), mixed(self.boundaries)
        self.boundaries += ((rng.choice((1, 4)), self.barred), (1, self.crowded),
                            (1, self.astray), (1, self.called),
                            (1, self.oversized), (2, self.late), (4, self.odds),
                            (4, self.edge_bankruptcy),
                            (3, self.crossed), (2, self.beyond), (1, self.healed),
                            (6 if world.cruel else 0, self.equal_winners))
        if any(t.maintenance_share_e4 > 5000 and t.unit_margin_rate_e15 for t in world.contracts):
            self.boundaries += ((6, self.edge_grow),)
        if world.venue.leg_capacity < 100:
            self.boundaries += ((1, self.roomless),)

    def opening(self) -> list[Step]:
        """In some seeds, orders for a block that is not there, and for a new one, before their
        contract has a mark."""
        steps = super().opening()
        if self.rng.random() < 0.3:
            order: Fields = {
                "kind": Kind.NEW_ORDER, "account": self.rng.choice(TRADERS), "contract": 2,
                "side": BUY, "order_type": OrderType.MARKET, "qty_lots": 2,
                "exec_flags": Exec.ISOLATED_MARGIN}
            steps += [self.step({**order, "isolation_id": 1}, BOUNDARY),
                      self.step({**order, "leverage": 1}, BOUNDARY)]
        return steps

    def barred(self) -> list[Fields]:
        """An account may do no more what it did; it tries everything that raises its risk (A2)."""
        owners = [row["account"] for row in self.view.blocks] * 2 + list(TRADERS)
        account = self.rng.choice(owners)
        held = [leg["contract"] for leg in self.view.accounts[account]["legs"] if leg["qty_lots"]]
        contract = self.rng.choice(held) if held and self.rng.random() < 0.6 else self.contract()
        profile = self.rng.choice((
            FULL_PROFILE | 1, FULL_PROFILE & ~2, FULL_PROFILE & ~4, FULL_PROFILE & ~8,
            FULL_PROFILE & ~16, FULL_PROFILE & (2**48 - 1), FULL_PROFILE & ~0xFF00 | 1 << 8,
            FULL_PROFILE))
        who = {"kind": Kind.SET_ELIGIBILITY, "account": account}
        where = {"kind": Kind.SET_MARKET_STATE, "contract": contract}
        shut = profile == FULL_PROFILE  # instead the market takes only what reduces
        tries: list[Fields] = [
            {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract,
             "leverage": self.world.contracts[contract].max_leverage},
            {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract, "leverage": 1},
            {"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract, "leverage": 1,
             "exec_flags": Exec.AUTO_TOP_UP},
            self.order(account, contract, self.rng.choice((BUY, SELL)), 2),
            {"kind": Kind.WITHDRAW, "account": account, "currency": 1, "amount_units": 1}]
        for block in self.view.blocks_by(account):
            its = {"account": account, "isolation_id": block["isolation_id"]}
            tries += [
                {**its, "kind": Kind.REMOVE_MARGIN, "amount_units": 1},
                {**its, "kind": Kind.SET_LEVERAGE, "contract": block["contract"],
                 "leverage": min(block["leverage"] + 1,
                                 self.world.contracts[block["contract"]].max_leverage)},
                self.order_of_block(account, block["contract"], block["isolation_id"])]
        self.rng.shuffle(tries)
        change = {**where, "scope": 2} if shut else {**who, "profile": profile}
        back = {**where, "scope": 0} if shut else {**who, "profile": FULL_PROFILE}
        below = max(1, self.world.contracts[contract].max_leverage - 1)  # so that there is an up
        return [{"kind": Kind.SET_LEVERAGE, "account": account, "contract": contract,
                 "leverage": below}, change, *tries, back]

    def crowded(self) -> list[Fields]:
        """As many small orders as an account may have, and one more; client ids come twice."""
        account, contract = self.rng.choice(TRADERS), self.contract()
        held = [block for block in self.view.blocks if block["qty_lots"]]
        if held and self.rng.random() < 0.5:
            some = self.rng.choice(held)
            account, contract = some["account"], some["contract"]
        price = self.view.price(contract)
        block = self.view.block_on(account, contract)
        flags = Exec.ISOLATED_MARGIN if self.rng.random() < 0.6 else 0
        one: Fields = {
            "kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": BUY,
            "qty_lots": 2, "order_type": OrderType.LIMIT, "price_ticks": max(1, price * 97 // 100),
            "time_in_force": Tif.GTC, "exec_flags": flags}
        if flags and block is not None:
            one["isolation_id"] = block["isolation_id"]
        elif flags:
            one["leverage"] = 1
        count = self.world.venue.max_orders_per_account + 1 if not flags or block else 1
        twice = {**one, "client_order_id": self.client_ids or 1}
        close: Fields = {
            "kind": Kind.CLOSE_POSITION, "account": account, "contract": contract,
            "order_type": OrderType.LIMIT, "price_ticks": price,
            "isolation_id": one.get("isolation_id", 0)}
        return [twice, *[one] * count, close, {"kind": Kind.CANCEL_ALL, "account": account,
                                               "contract": 65535}]

    def order_of_block(self, account: int, contract: int, number: int) -> Fields:
        return {**self.order(account, contract, self.rng.choice((BUY, SELL)), 2),
                "exec_flags": Exec.ISOLATED_MARGIN, "isolation_id": number}

    def astray(self) -> list[Fields]:
        """An order for a block that is not there while the market is halted; an account that opens
        before the time of now."""
        account, contract = self.rng.choice(TRADERS), self.contract()
        gone = self.view.dump["next_isolation_id"] + self.rng.choice((-1, 0, 1))
        where = {"kind": Kind.SET_MARKET_STATE, "contract": contract}
        return [{**where, "scope": 1}, self.order_of_block(account, contract, gone),
                {**where, "scope": 0},
                {"kind": Kind.OPEN_ACCOUNT, "account": len(self.view.accounts),
                 "timestamp_ns": self.now - 1}]

    def unit(self) -> tuple[int, int, Fields, Fields]:
        """An account and a contract; what an order says that is for its main account, its block or
        a new one; and what the next order says, when the first has made the block."""
        account, contract = self.trader(), self.contract()
        if self.view.blocks and self.rng.random() < 0.6:
            block = self.rng.choice(self.view.blocks)
            account, contract = block["account"], block["contract"]
        if self.rng.random() < 0.3:
            return account, contract, {}, {}
        held = self.view.block_on(account, contract)
        number = held["isolation_id"] if held else self.view.dump["next_isolation_id"]
        later: Fields = {"exec_flags": Exec.ISOLATED_MARGIN, "isolation_id": number}
        leverage = self.rng.choice((1, self.world.contracts[contract].max_leverage))
        return account, contract, later if held else {
            "exec_flags": Exec.ISOLATED_MARGIN, "leverage": leverage}, later

    def resting(self, account: int, contract: int, side: int, unit: Fields) -> Fields:
        """A small order three percent from the mark, with a client id of its own."""
        self.client_ids += 1
        percent = 97 if side == BUY else 103
        return {"kind": Kind.NEW_ORDER, "account": account, "contract": contract, "side": side,
                "order_type": OrderType.LIMIT, "client_order_id": self.client_ids,
                "price_ticks": max(1, self.view.price(contract) * percent // 100),
                "qty_lots": self.world.contracts[contract].min_order_lots, **unit}

    def odds(self) -> list[Fields]:
        """What a unit refuses, in an open, a reducing and a halted market."""
        account, contract, first, unit = self.unit()
        t, where = self.world.contracts[contract], {"kind": Kind.SET_MARKET_STATE,
                                                    "contract": contract}
        order = self.resting(account, contract, self.rng.choice((BUY, SELL)), first)
        if self.rng.random() < 0.5:
            order["qty_lots"] = self.affordable(account, contract, t.max_leverage)
        plain = {**order, **unit, "client_order_id": 0, "leverage": 0}
        reducing = {**plain, "exec_flags": unit.get("exec_flags", 0) | Exec.REDUCE_ONLY}
        its: Fields = {"account": account, "contract": contract,
                       "isolation_id": unit.get("isolation_id", 0)}
        leverage = {**its, "kind": Kind.SET_LEVERAGE, "leverage": t.max_leverage}
        close = {**its, "kind": Kind.CLOSE_POSITION, "order_type": OrderType.MARKET}
        amend: Fields = {"kind": Kind.AMEND, "account": account,
                         "client_order_id": order["client_order_id"]}
        refused = [
            {**plain, "qty_lots": 0}, {**plain, "qty_lots": max(1, t.min_order_lots - 1)},
            {**plain, "qty_lots": t.max_order_lots}, {**order, **unit, "leverage": 0},
            reducing, {**reducing, "side": 3 - order["side"]}, close,
            {**close, "exec_flags": Exec.POST_ONLY}, {**leverage, "exec_flags": Exec.POST_ONLY},
            {**leverage, "leverage": 1}, {**amend, "qty_lots": -1},
            {**leverage, "leverage": 1, "exec_flags": Exec.AUTO_TOP_UP},
            {**amend, "qty_lots": t.max_order_lots + 1},
            {**amend, "price_ticks": t.max_price_ticks + 1},
            {**plain, "isolation_id": self.view.dump["next_isolation_id"] + 1, "qty_lots": 0,
             "exec_flags": Exec.ISOLATED_MARGIN}]
        return [order, *self.rng.sample(refused, 5), {**where, "scope": 2}, plain, leverage,
                {**where, "scope": 1}, plain, {**amend, "price_ticks": order["price_ticks"] + 1},
                close, {**where, "scope": 0}]

    def crossed(self) -> list[Fields]:
        """An order is amended to where it would take: one that may only post (43005), or meet an
        order of its own account (43012)."""
        account, contract, first, unit = self.unit()
        order = self.resting(account, contract, BUY, first)
        other = {**self.resting(account, contract, SELL, unit),
                 "price_ticks": self.view.price(contract) + 1}
        if self.rng.random() < 0.5:
            order["exec_flags"] = order.get("exec_flags", 0) | Exec.POST_ONLY
            other = self.quote_at(contract, SELL, self.view.price(contract) + 1, 2)
        sweep: list[Fields] = [{"kind": Kind.CANCEL_ALL, "account": maker, "contract": contract}
                               for maker in MAKERS]
        return [*sweep, order, other,
                {"kind": Kind.AMEND, "account": account, "price_ticks": other["price_ticks"],
                 "client_order_id": order["client_order_id"]}]

    def called(self) -> list[Fields]:
        """Whoever has a margin call sends orders that only reduce, and asks for money back."""
        called = [row["account"] for row in self.view.accounts if row["margin_call"]]
        if not called:
            steps = self.edge_of_margin_call()
            if steps and self.rng.random() < 0.5:
                self.todo.append(self.called)
            return steps
        account = self.rng.choice(called)
        who = {"kind": Kind.SET_ELIGIBILITY, "account": account}
        return [*({**self.order(account, contract, side, 2), "exec_flags": Exec.REDUCE_ONLY}
                  for contract in range(len(self.world.contracts)) for side in (BUY, SELL)),
                {"kind": Kind.CANCEL, "account": account, "order_id": 1},
                {"kind": Kind.AMEND, "account": account, "order_id": 1, "qty_lots": 1},
                {**who, "profile": FULL_PROFILE | 1},
                {"kind": Kind.WITHDRAW, "account": account, "currency": 1, "amount_units": 1},
                {**who, "profile": FULL_PROFILE}, *self.relief(account)]

    def relief(self, account: int) -> list[Fields]:
        """The marks move in an account's favor, which ends no call, and it asks for money."""
        legs = [leg for leg in self.view.accounts[account]["legs"] if leg["qty_lots"]]
        return [*(self.make_mark(leg["contract"], self.view.mark(leg["contract"])
                                 * (120 if leg["qty_lots"] > 0 else 80) // 100) for leg in legs),
                {"kind": Kind.WITHDRAW, "account": account, "currency": 1, "amount_units": 1}]

    def oversized(self) -> list[Fields]:
        """A position that is larger than an order may be is closed whole (314)."""
        contract = self.contract()
        t, price = self.world.contracts[contract], self.view.price(contract)
        seller, buyer = self.rng.sample(MAKERS, 2)
        block = self.view.block_on(buyer, contract)
        more: Fields = {}
        if self.rng.random() < 0.5:
            more = {"exec_flags": Exec.ISOLATED_MARGIN}
            more |= {"isolation_id": block["isolation_id"]} if block else {
                "leverage": t.max_leverage}
        number = block["isolation_id"] if block else self.view.dump["next_isolation_id"]
        steps: list[Fields] = [{"kind": Kind.CANCEL_ALL, "account": account, "contract": contract}
                               for account in (seller, buyer)]
        for lots in (t.max_order_lots, max(t.min_order_lots, t.max_order_lots // 3)):
            quote: Fields = {
                "kind": Kind.NEW_ORDER, "account": seller, "contract": contract, "side": SELL,
                "order_type": OrderType.LIMIT, "price_ticks": price, "qty_lots": lots}
            steps += [quote, {**quote, **more, "account": buyer, "side": BUY}]
            if more and "leverage" in more:
                more = {"exec_flags": Exec.ISOLATED_MARGIN, "isolation_id": number}
        return [*steps, {"kind": Kind.CLOSE_POSITION, "account": buyer, "contract": contract,
                         "order_type": OrderType.MARKET, "isolation_id": number if more else 0}]

    def equal_winners(self) -> list[Fields]:
        """A position falls so far that the fund owes, and two accounts have won the same: whose
        remainder is the larger (S4)?"""
        losers = [(position, edge) for position in self.view.positions()
                  if (edge := self.view.edge_mark(position, called=False)) is not None]
        if not losers:
            return []
        loser, edge = self.rng.choice(losers)
        contract, sign = loser[2], 1 if loser[3] > 0 else -1
        winners = [n for n in TRADERS if n != loser[0] and not self.view.block_on(n, contract)
                   and self.view.accounts[n]["profile"] == FULL_PROFILE
                   and not (self.view.leg(n, contract) or {"qty_lots": 0})["qty_lots"]]
        if len(winners) < 2:
            return []
        price, lots = self.view.price(contract), self.world.contracts[contract].min_order_lots
        sweep: list[Fields] = [
            {"kind": Kind.CANCEL_ALL, "account": account, "contract": contract}
            for account in range(len(self.view.accounts))]
        marks = [self.make_mark(c, self.view.mark(c)) for c in range(len(self.world.contracts))
                 if self.view.mark(c)]
        side = SELL if sign > 0 else BUY
        takes: list[Fields] = []
        for account in self.rng.sample(winners, 2):
            takes += [self.make_deposit(account, Currency.USD, 10 * self.dollar),
                      {**self.quote_at(contract, side, price, lots), "account": account}]
        fall = self.make_mark(contract, edge * (100 - sign * self.rng.randint(1, 30)) // 100)
        return [*sweep, *marks, *self.settle(), self.quote_at(contract, 3 - side, price, 2 * lots),
                *takes, fall, *self.settle()]

    def healed(self) -> list[Fields]:
        """Two equal blocks fail by a funding, though the mark has reached neither's threshold; what
        the one sells meets an order of the other, whose money may heal it before its turn (Q8)."""
        contract = self.contract()
        able = [n for n in TRADERS if self.view.accounts[n]["profile"] == FULL_PROFILE
                and not self.view.block_on(n, contract)]
        if len(able) < 2 or not self.view.mark(contract):
            return []
        pair = sorted(self.rng.sample(able, 2))
        t, price = self.world.contracts[contract], self.view.price(contract)
        lots = t.min_order_lots * self.rng.choice((1, 10))
        worth = lots * price * t.marks_per_tick * self.view.value(contract)

        def fail() -> list[Fields]:
            found = [(p, self.view.edge_mark(p, called=False)) for p in self.view.positions()
                     if p[0] in pair and p[1] and p[2] == contract]
            edges = [edge for _, edge in found if edge is not None]
            if len(edges) < 2:
                return []
            mark = max(edges) + 1
            bid = {**self.quote_at(contract, BUY, mark // t.marks_per_tick, 2 * lots),
                   "account": pair[1], "isolation_id": found[1][0][1],
                   "exec_flags": Exec.ISOLATED_MARGIN, "isolated_margin_units": 2 * worth}
            return [self.make_mark(contract, mark), bid,
                    {"kind": Kind.FUNDING, "contract": contract,
                     "rate_e9": self.rng.choice((10_000, 100_000, 1_000_000))}]

        self.todo.append(fail)
        steps: list[Fields] = [{"kind": Kind.CANCEL_ALL, "account": account, "contract": contract}
                               for account in MAKERS]
        for account in pair:
            steps += [self.make_deposit(account, Currency.USD, 4 * worth),
                      self.quote_at(contract, SELL, price, lots),
                      {**self.quote_at(contract, BUY, price, lots), "account": account,
                       "time_in_force": Tif.IOC, "exec_flags": Exec.ISOLATED_MARGIN,
                       "leverage": t.max_leverage}]
        return steps

    def late(self) -> list[Fields]:
        """Funding and settlement while the marks are stale, most of all when the fund owes."""
        if self.view.dump["fund_units"][0] >= 0 and self.rng.random() < 0.8:
            return []
        later = self.now + 61 * SECOND
        return [{"kind": Kind.TICK, "at": later},
                *({"kind": Kind.FUNDING, "contract": contract, "rate_e9": 1}
                  for contract in range(len(self.world.contracts))),
                {"kind": Kind.SETTLE_SESSION}]

    def roomless(self) -> list[Fields]:
        """Every account sets a leverage on every contract, until no record is left for it."""
        if self.rng.random() < 0.5:
            return []
        return [{"kind": Kind.SET_LEVERAGE, "account": row["account"], "contract": contract,
                 "leverage": 2} for row in self.view.accounts
                for contract in range(len(self.world.contracts))]

    def add_to(self, position: Position, more: int) -> list[Fields]:
        """Or an order that rests already is amended, so that it takes (304)."""
        steps = super().add_to(position, more)
        if not steps or self.rng.random() < 0.75:
            return steps
        mark, quote, order = steps
        away = max(1, quote["price_ticks"] // 50)
        self.client_ids += 1
        rests = {**order, "order_type": OrderType.LIMIT, "client_order_id": self.client_ids,
                 "price_ticks": max(1, quote["price_ticks"] - away if order["side"] == BUY
                                    else quote["price_ticks"] + away)}
        return [rests, mark, quote,
                {"kind": Kind.AMEND, "account": order["account"],
                 "client_order_id": self.client_ids, "price_ticks": quote["price_ticks"]}]

    def edge_position(self) -> tuple[Any, int | None]:
        if not self.mains_alone:
            return super().edge_position()
        found = [p for p in self.view.positions() if not p[1] and p[0] not in MAKERS
                 and not self.view.accounts[p[0]]["margin_call"]]
        position = self.rng.choice(found) if found else None
        return position, position and self.view.edge_mark(position, called=False)

    def beyond(self) -> list[Fields]:
        """A main account sells beyond its bankruptcy (310)."""
        self.mains_alone = True
        steps = self.edge_close()
        self.mains_alone = False
        return steps

    def edge_close(self) -> list[Fields]:
        """Or an order of the other side closes (310)."""
        steps = super().edge_close()
        if not steps or self.rng.random() < 0.6:
            return steps
        close, quote = steps[-1], steps[-2]
        quote["price_ticks"] += 1 if quote["side"] == BUY else -1  # the band is rounded inward
        order: Fields = {"kind": Kind.NEW_ORDER, "account": close["account"],
                         "contract": close["contract"], "side": 3 - quote["side"],
                         "order_type": OrderType.MARKET, "qty_lots": quote["qty_lots"],
                         "exec_flags": Exec.REDUCE_ONLY}
        if close["isolation_id"]:
            order.update(isolation_id=close["isolation_id"], exec_flags=Exec.ISOLATED_MARGIN)
        return [*steps[:-1], order]
