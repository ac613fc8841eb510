"""A hypothesis state machine that drives model and engine with the same commands.

The seeded driver looks at the state to find the interesting commands; this one hardly looks, but
what fails here comes back shrunk.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from driver import EngineSide, Pair
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from reference.codes import Currency, Exec, Kind, MarketState, OrderType, Tif
from reference.records import Command
from valid_commands import FULL_PROFILE
from worlds import EXCLUDED_COUNTRY, REFERENCE_TICKS, SECOND, USD_UNITS, Step, make_world

ACCOUNTS = 4
accounts = st.integers(0, ACCOUNTS - 1)
contracts = st.integers(0, 2)
sides = st.integers(1, 2)
lots = st.sampled_from([1, 2, 3, 10, 40, 100, 500])
steps_off = st.integers(-4, 4)
leverages = st.sampled_from([1, 2, 5, 7, 20, 50])
dollars = st.sampled_from([1, 3, 10, 50, 200])
odd_units = st.sampled_from([0, 0, 1, 7, 50_000_001])
flags = st.sampled_from([0, 0, 0, Exec.POST_ONLY, Exec.REDUCE_ONLY])
times_in_force = st.sampled_from([Tif.NONE, Tif.GTC, Tif.GTC, Tif.IOC, Tif.FOK, Tif.GTD])
stps = st.integers(0, 3)
moves = st.sampled_from([-300, -120, -60, -20, -5, -1, 1, 5, 20, 60, 120, 300])  # per mille
PROFILES = (
    *(FULL_PROFILE,) * 9, FULL_PROFILE | 1, FULL_PROFILE & ~2, FULL_PROFILE & ~8, 0,
    FULL_PROFILE | 5 << 8, FULL_PROFILE | EXCLUDED_COUNTRY << 16, FULL_PROFILE & ~(1 << 51),
)


class BothVenues(RuleBasedStateMachine):
    """Every rule is one command; `Pair.play_closely` compares all there is to compare."""

    @initialize(seed=st.integers(0, 7), in_kind=st.booleans(), wealth=st.lists(
        st.sampled_from([40, 300, 3_000, 20_000]), min_size=ACCOUNTS, max_size=ACCOUNTS))
    def open_the_venue(self, seed: int, in_kind: bool, wealth: list[int]) -> None:
        """In kind: four fifths of everybody's money are USDC."""
        world = make_world(seed)
        self.world = replace(world, venue=replace(world.venue, block_collateral=int(in_kind)))
        self.pair = Pair(self.world, EngineSide(self.world))
        self.now = SECOND
        self.do(Kind.INDEX, currency=Currency.USDC, mark_ticks=999_900)
        for account, money in enumerate(wealth):
            self.do(Kind.OPEN_ACCOUNT, account=account)
            self.do(Kind.DEPOSIT, account=account, currency=Currency.USD,
                    amount_units=money * USD_UNITS // (5 if in_kind else 1))
            if in_kind:
                self.do(Kind.DEPOSIT, account=account, currency=Currency.USDC,
                        amount_units=money * USD_UNITS * 4 // 5)
            self.do(Kind.SET_ELIGIBILITY, account=account, profile=FULL_PROFILE)
        for contract, price in enumerate(REFERENCE_TICKS):
            self.do(Kind.MARK, contract=contract,
                    mark_ticks=price * self.world.contracts[contract].marks_per_tick)

    def do(self, kind: int, **values: int) -> None:
        self.pair.play_closely(Step(Command(kind, self.now, **values), True))

    def price(self, contract: int, off: int) -> int:
        """An order price some steps from the mark."""
        k = self.world.contracts[contract].marks_per_tick
        price = int(self.pair.state["contracts"][contract]["mark_ticks"]) // k
        return max(1, price + off * max(1, price // 200))

    def pick(self, rows: list[Any], number: int) -> Any:
        return rows[number % len(rows)] if rows else None

    def block_fields(self, account: int, contract: int, leverage: int) -> dict[str, int]:
        """Of an order for the account's block on the contract, a new one if there is none."""
        for block in self.pair.state["blocks"]:
            if (block["account"], block["contract"]) == (account, contract):
                return {"exec_flags": Exec.ISOLATED_MARGIN, "leverage": block["leverage"],
                        "isolation_id": block["isolation_id"]}
        return {"exec_flags": Exec.ISOLATED_MARGIN, "leverage": leverage}

    @rule(maker=accounts, taker=accounts, contract=contracts, side=sides, qty=lots, off=steps_off,
          leverage=leverages, isolated=st.integers(0, 3), more=st.integers(0, 2))
    def trade(self, maker: int, taker: int, contract: int, side: int, qty: int, off: int,
              leverage: int, isolated: int, more: int) -> None:
        """A resting order and one that meets it; either may be for a block."""
        limit = {"contract": contract, "order_type": OrderType.LIMIT,
                 "price_ticks": self.price(contract, off // 2)}
        blocks = [self.block_fields(a, contract, leverage) if isolated & bit else {}
                  for a, bit in ((maker, 1), (taker, 2))]
        self.do(Kind.NEW_ORDER, account=maker, side=side, qty_lots=qty, **limit, **blocks[0])
        self.do(Kind.NEW_ORDER, account=taker, side=3 - side, qty_lots=max(1, qty + more - 1),
                **limit, **blocks[1])

    @rule(account=accounts, contract=contracts, side=sides, qty=lots, off=steps_off,
          tif=times_in_force, flag=flags, stp=stps, client=st.integers(0, 3))
    def cross_order(self, account: int, contract: int, side: int, qty: int, off: int, tif: int,
                    flag: int, stp: int, client: int) -> None:
        self.do(Kind.NEW_ORDER, account=account, contract=contract, side=side, qty_lots=qty,
                order_type=OrderType.LIMIT, price_ticks=self.price(contract, off),
                time_in_force=tif, exec_flags=flag, stp=stp, client_order_id=client,
                expiry_ns=self.now + 3 * SECOND if tif == Tif.GTD else 0)

    @rule(account=accounts, contract=contracts, side=sides, qty=lots, off=steps_off,
          leverage=leverages, flag=flags, explicit=dollars, odd=odd_units, market=st.booleans())
    def isolated_order(self, account: int, contract: int, side: int, qty: int, off: int,
                       leverage: int, flag: int, explicit: int, odd: int, market: bool) -> None:
        fields = self.block_fields(account, contract, leverage)
        fields["exec_flags"] |= flag & Exec.REDUCE_ONLY if market else flag
        self.do(Kind.NEW_ORDER, account=account, contract=contract, side=side, qty_lots=qty,
                order_type=OrderType.MARKET if market else OrderType.LIMIT,
                price_ticks=0 if market else self.price(contract, off),
                isolated_margin_units=explicit * USD_UNITS + odd if odd else 0, **fields)

    @rule(number=st.integers(0, 30), off=steps_off, qty=st.integers(0, 60))
    def amend(self, number: int, off: int, qty: int) -> None:
        order = self.pick(self.pair.state["orders"], number)
        if order:
            self.do(Kind.AMEND, account=order["account"], order_id=order["order_id"], qty_lots=qty,
                    price_ticks=self.price(order["contract"], off) if off else 0)

    @rule(account=accounts, contract=contracts, side=sides, qty=lots, off=steps_off,
          kind=st.sampled_from([OrderType.STOP_LOSS, OrderType.TAKE_PROFIT]), leverage=leverages,
          isolated=st.booleans())
    def wait(self, account: int, contract: int, side: int, qty: int, off: int, kind: int,
             leverage: int, isolated: bool) -> None:
        """A conditional order; for a block that may not be there yet."""
        block = self.block_fields(account, contract, leverage) if isolated else {}
        self.do(Kind.NEW_ORDER, account=account, contract=contract, side=side, qty_lots=qty,
                order_type=kind, trigger_price_ticks=self.price(contract, off), **block)

    @rule(number=st.integers(0, 30), off=steps_off, qty=st.integers(0, 60))
    def amend_what_waits(self, number: int, off: int, qty: int) -> None:
        order = self.pick([o for o in self.pair.state["orders"] if o["trigger_type"]], number)
        if order:
            self.do(Kind.AMEND, account=order["account"], order_id=order["order_id"], qty_lots=qty,
                    trigger_price_ticks=self.price(order["contract"], off) if off else 0)

    @rule(number=st.integers(0, 30))
    def cancel(self, number: int) -> None:
        order = self.pick(self.pair.state["orders"], number)
        if order:
            self.do(Kind.CANCEL, account=order["account"], order_id=order["order_id"])

    @rule(account=accounts, scope=st.integers(0, 2))
    def cancel_all(self, account: int, scope: int) -> None:
        self.do(Kind.CANCEL_ALL, account=account, contract=0xFFFF, scope=scope)

    @rule(account=accounts, contract=contracts, in_block=st.booleans(), qty=st.integers(0, 20),
          release=st.booleans())
    def close(self, account: int, contract: int, in_block: bool, qty: int, release: bool) -> None:
        blocks = [b["isolation_id"] for b in self.pair.state["blocks"]
                  if (b["account"], b["contract"]) == (account, contract)]
        self.do(Kind.CLOSE_POSITION, account=account, contract=contract,
                order_type=OrderType.MARKET, qty_lots=qty,
                isolation_id=blocks[0] if in_block and blocks else 0,
                exec_flags=Exec.RELEASE_MARGIN if release and in_block and blocks else 0)

    @rule(account=accounts, contract=contracts, leverage=leverages, number=st.integers(0, 9),
          top_up=st.booleans())
    def set_leverage(self, account: int, contract: int, leverage: int, number: int,
                     top_up: bool) -> None:
        block = self.pick(self.pair.state["blocks"], number)
        if block and number:
            self.do(Kind.SET_LEVERAGE, account=block["account"], contract=block["contract"],
                    isolation_id=block["isolation_id"], leverage=leverage,
                    exec_flags=Exec.AUTO_TOP_UP if top_up else 0)
        else:
            self.do(Kind.SET_LEVERAGE, account=account, contract=contract, leverage=leverage)

    @rule(number=st.integers(0, 9), adds=st.booleans(), money=dollars, odd=odd_units,
          currency=st.sampled_from([0, Currency.USD, Currency.USDC, Currency.USDC]))
    def move_margin(self, number: int, adds: bool, money: int, odd: int, currency: int) -> None:
        block = self.pick(self.pair.state["blocks"], number)
        if block:
            self.do(Kind.ADD_MARGIN if adds else Kind.REMOVE_MARGIN, account=block["account"],
                    isolation_id=block["isolation_id"], currency=currency,
                    amount_units=money * USD_UNITS // 4 + odd)

    @rule(account=accounts, enters=st.booleans(), currency=st.integers(1, 2), money=dollars,
          odd=odd_units)
    def move_money(self, account: int, enters: bool, currency: int, money: int, odd: int) -> None:
        self.do(Kind.DEPOSIT if enters else Kind.WITHDRAW, account=account, currency=currency,
                amount_units=money * USD_UNITS + odd)

    @rule(contract=contracts, move=moves)
    def mark(self, contract: int, move: int) -> None:
        t = self.world.contracts[contract]
        mark = int(self.pair.state["contracts"][contract]["mark_ticks"])
        step = mark * move // 1000 or (1 if move > 0 else -1)
        self.do(Kind.MARK, contract=contract,
                mark_ticks=min(max(1, mark + step), t.max_price_ticks * t.marks_per_tick))

    @rule(step=st.sampled_from([-100_000, -1, 1, 100_000]))
    def index(self, step: int) -> None:
        self.do(Kind.INDEX, currency=Currency.USDC,
                mark_ticks=max(1, self.pair.state["index_e6"] + step))

    @rule(contract=contracts, part=st.integers(-4, 4), scope=st.integers(0, 1))
    def funding(self, contract: int, part: int, scope: int) -> None:
        cap = self.world.contracts[contract].funding_cap_e9
        self.do(Kind.FUNDING, contract=contract, rate_e9=cap * part // 4, scope=scope)

    @rule()
    def settle(self) -> None:
        self.do(Kind.SETTLE_SESSION)

    @rule(account=accounts, profile=st.sampled_from(PROFILES))
    def eligibility(self, account: int, profile: int) -> None:
        self.do(Kind.SET_ELIGIBILITY, account=account, profile=profile)

    @rule(contract=contracts, state=st.sampled_from(
        [MarketState.OPEN] * 4 + [MarketState.HALTED, MarketState.REDUCE_ONLY]))
    def market_state(self, contract: int, state: int) -> None:
        self.do(Kind.SET_MARKET_STATE, contract=contract, scope=state)

    @rule(currency=st.integers(1, 2), units=st.integers(1, 10**9))
    def top_up(self, currency: int, units: int) -> None:
        self.do(Kind.FUND_TOP_UP, currency=currency, amount_units=units)

    @rule(delay=st.sampled_from([1, SECOND, 3 * SECOND, 11 * SECOND]))
    def time_goes_by(self, delay: int) -> None:
        self.now += delay
        self.do(Kind.TICK)


BothVenues.TestCase.settings = settings(
    max_examples=200, stateful_step_count=60, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
TestBothVenues = BothVenues.TestCase
