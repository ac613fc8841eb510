"""A small named world, and one way to talk to both venues: the model and the engine.

Scenarios are tables that a trader reads. Every one of them runs against the reference model
(`reference.venue.Venue`) and against the compiled engine (`perpcore.engine.Engine`) with the same
commands, and after every command the named invariants of `invariants` are checked.

| contract | tick | lot | one lot at the first mark | leverage |
|---|---|---|---|---|
| BTC (BTC_PERP_20X) | 1 USD, marks 0.10 USD | 0.001 BTC | 60 USD at 60,000 | 20 |
| ETH (ETH_PERP_50X) | 0.10 USD | 0.01 ETH | 30 USD at 3,000 | 50, less above 2,000 lots |
| SOL (SOL_PERP_10X) | 0.01 USD | 0.1 SOL | 10 USD at 100 | 10 |

Fees of BTC and ETH: taker 0.05 %, maker 0.02 %, liquidation 0.50 %. SOL has none, but small limits,
marks that are stale after 60 s, and access group 1. Maintenance is half of the product's margin.

MAKER has 10,000,000 USD, ALICE and BOB 10,000 USD, CAROL 1,000 USD, DAVE 10,000 USDC (1.00 USD
each, haircut 10 %). The fund starts with 100,000 USD.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

import invariants
from reference.codes import Currency, Ev, Exec, Kind, OrderType, Scope, Side, Tif
from reference.records import Command, ContractTerms, Event, VenueTerms, from_row, to_row

ADMIN_KEY = 0x5EC2E7
SECOND = 10**9
USD = 10**8  # money units of one dollar
ALL_CONTRACTS = 0xFFFF

# ---- contracts: k marks a tick, v money units of one mark tick x one lot

#: v = 10,000: one lot (0.001 BTC) gains 0.0001 USD on a mark tick of 0.10 USD.
BTC_PERP_20X = ContractTerms(
    symbol="BTCUSD-PERP", tick_size_e12=10**12, lot_size_e9=10**6, multiplier=1, marks_per_tick=10,
    max_price_ticks=1_000_000, min_order_lots=1, max_order_lots=50_000, max_position_lots=100_000,
    liquidation_slice_lots=10_000, inventory_limit_lots=400_000, work_off_slice_lots=1_000,
    taker_fee_e9=500_000, maker_fee_e9=200_000, liquidation_fee_e9=5_000_000,
    maintenance_share_e4=5_000, unit_margin_rate_e15=0, max_leverage=20,
    band_aggressive_e9=50_000_000, band_passive_e9=500_000_000, work_off_band_e9=5_000_000,
    funding_cap_e9=7_500_000, stale_after_ns=0, access_group=0)
#: v = 100,000. The rate grows by 0.001 % a lot: above 2,000 lots (20 ETH) it passes 1/50.
ETH_PERP_50X = replace(
    BTC_PERP_20X, symbol="ETHUSD-PERP", tick_size_e12=10**11, lot_size_e9=10**7, marks_per_tick=1,
    max_price_ticks=1_000_000, unit_margin_rate_e15=10**10, max_leverage=50,
    max_position_lots=50_000)
#: v = 100,000. Nothing but margin: no fees; limits that a test can reach; access group 1.
SOL_PERP_10X = replace(
    BTC_PERP_20X, symbol="SOLUSD-PERP", tick_size_e12=10**10, lot_size_e9=10**8, marks_per_tick=1,
    max_price_ticks=1_000_000, min_order_lots=10, max_order_lots=1_000, max_position_lots=2_000,
    liquidation_slice_lots=100, inventory_limit_lots=100_000, work_off_slice_lots=50,
    taker_fee_e9=0, maker_fee_e9=0, liquidation_fee_e9=0, max_leverage=10,
    stale_after_ns=60 * SECOND, access_group=1)
CONTRACTS = (BTC_PERP_20X, ETH_PERP_50X, SOL_PERP_10X)
BTC, ETH, SOL = range(3)
#: 60,000.0, 3,000.0 and 100.00 USD on the contract's own mark grid.
MARKS = (600_000, 30_000, 10_000)

# ---- accounts

MAKER, ALICE, BOB, CAROL, DAVE = range(5)
CASH = ((10_000_000, 0), (10_000, 0), (10_000, 0), (1_000, 0), (0, 10_000))
#: Every flag but SUSPENDED, no own leverage limit, no country, all contract groups.
FULL_PROFILE = 0b111110 | 0xFFFF << 48
FUND = 100_000 * USD
TERMS = VenueTerms(
    fund_opening_units=(FUND, 0), usdc_haircut_e9=100_000_000, max_orders_per_account=20,
    max_blocks_per_account=3, excluded_citizenship=(840,), excluded_residence=(840, 392),
    account_capacity=64, unit_capacity=256, leg_capacity=512, order_capacity=1024,
    page_capacity=64, timers_per_command=4)


class Answer(list[Event]):
    """The events of one command, and the questions that tests ask of them."""

    def __init__(self, events: list[Event], seq: int) -> None:
        super().__init__(events)
        self.seq = seq

    @property
    def order_id(self) -> int:
        """Id of the order that a NEW_ORDER or CLOSE_POSITION made (O2)."""
        return self.seq

    @property
    def refusal(self) -> Event | None:
        return next((event for event in self if event.kind == Ev.REJECT), None)

    @property
    def code(self) -> int:
        """0, or the code of the refusal."""
        return self.refusal.code if self.refusal else 0

    @property
    def needed(self) -> int:
        return self.refusal.amount_units if self.refusal else 0

    @property
    def available(self) -> int:
        return self.refusal.balance_units if self.refusal else 0

    def of(self, kind: int) -> list[Event]:
        return [event for event in self if event.kind == kind]

    def kinds(self) -> list[int]:
        return [event.kind for event in self]

    def fills(self, account: int | None = None) -> list[tuple[int, int]]:
        """(lots, price) of each fill, of one account or of all."""
        return [(e.qty_lots, e.price_ticks) for e in self.of(Ev.FILL)
                if account is None or e.account == account]

    def done(self) -> list[tuple[int, int]]:
        """(order id, reason) of each order that ended."""
        return [(event.order_id, event.reason) for event in self.of(Ev.CANCELLED)]

    def paid(self, ledger: int, reason: int, account: int | None = None) -> int:
        """Sum of the changes of a ledger for a reason."""
        return sum(e.amount_units for e in self.of(Ev.BALANCE)
                   if (e.ledger, e.reason) == (ledger, reason)
                   and (account is None or e.account == account))


class Backend(Protocol):
    """What both venues answer to."""

    def add_contract(self, terms: ContractTerms, admin_key: int) -> int: ...
    def apply(self, command: Command, admin_key: int) -> list[Event]: ...
    def preview(self, command: Command, admin_key: int) -> list[Event]: ...
    def dump(self) -> dict[str, Any]: ...
    def faults(self) -> list[str]: ...
    @property
    def seq(self) -> int: ...


class ModelSide:
    """The reference model."""

    def __init__(self, terms: VenueTerms) -> None:
        from reference.venue import Venue

        self.venue = Venue(terms, ADMIN_KEY)

    def add_contract(self, terms: ContractTerms, admin_key: int) -> int:
        return int(self.venue.add_contract(terms, admin_key))

    def apply(self, command: Command, admin_key: int) -> list[Event]:
        return list(self.venue.apply(command, admin_key))

    def preview(self, command: Command, admin_key: int) -> list[Event]:
        return list(self.venue.preview(command, admin_key))

    def dump(self) -> dict[str, Any]:
        return dict(self.venue.dump())

    def faults(self) -> list[str]:
        return []

    @property
    def seq(self) -> int:
        return int(self.venue.seq)


class EngineSide:
    """The compiled engine: the same commands as records."""

    def __init__(self, terms: VenueTerms) -> None:
        import numpy as np

        from perpcore import records
        from perpcore.engine import Engine

        self.np, self.records = np, records
        row = np.zeros(1, records.VENUE_TERMS)
        to_row(terms, row[0])
        self.engine: Any = Engine(row, ADMIN_KEY)
        self.out = np.zeros(8192, records.EVENT)

    def add_contract(self, terms: ContractTerms, admin_key: int) -> int:
        row = self.np.zeros(1, self.records.CONTRACT_TERMS)
        to_row(terms, row[0])
        return int(self.engine.add_contract(row, admin_key))

    def _record(self, command: Command) -> Any:
        row = self.np.zeros(1, self.records.COMMAND)
        to_row(command, row[0])
        return row

    def _events(self, count: int) -> list[Event]:
        return [from_row(Event, self.out[i]) for i in range(count)]

    def apply(self, command: Command, admin_key: int) -> list[Event]:
        applied, count = self.engine.apply(self._record(command), self.out, admin_key)
        assert applied == 1
        return self._events(count)

    def preview(self, command: Command, admin_key: int) -> list[Event]:
        return self._events(self.engine.preview(self._record(command), self.out, admin_key))

    def dump(self) -> dict[str, Any]:
        return dict(self.engine.dump())

    def faults(self) -> list[str]:
        """The engine's own invariants: index == exhaustive scan, links, totals."""
        return list(self.engine.check())

    @property
    def seq(self) -> int:
        return int(self.engine.seq)


SIDES: dict[str, Callable[[VenueTerms], Backend]] = {"model": ModelSide, "engine": EngineSide}


class World:
    """One venue of either kind, its clock, and the words of a trader."""

    def __init__(self, side: str, terms: VenueTerms = TERMS) -> None:
        self.side = SIDES[side](terms)
        self.now = SECOND
        self.told: list[Answer] = []
        self._dump = self.side.dump()

    @classmethod
    def populated(cls, side: str, **changes: Any) -> World:
        """Contracts, marks, accounts and cash of the module's docstring; venue terms may differ."""
        world = cls(side, replace(TERMS, **changes))
        for terms in CONTRACTS:
            world.add_contract(terms)
        for contract, mark in enumerate(MARKS):
            world.mark(contract, mark)
        world.do(Kind.INDEX, mark_ticks=1_000_000, currency=Currency.USDC)
        for account, (dollars, usdc) in enumerate(CASH):
            world.open_account(account)
            world.deposit(account, dollars * USD)
            world.deposit(account, usdc * USD, Currency.USDC)
        return world

    def add_contract(self, terms: ContractTerms, admin_key: int = ADMIN_KEY) -> int:
        contract = self.side.add_contract(terms, admin_key)
        self._dump = self.side.dump()
        return contract

    # ---- any command

    def command(self, kind: int, **fields: Any) -> Command:
        return Command(kind=kind, timestamp_ns=fields.pop("timestamp_ns", self.now), **fields)

    def do(self, kind: int, admin_key: int | None = None, **fields: Any) -> Answer:
        """Apply one command; administration's commands come with the capability.

        `told` keeps the answers since the world was made.
        """
        command = self.command(kind, **fields)
        key = self._key(kind, admin_key)
        answer = Answer(self.side.apply(command, key), self.side.seq)
        self.told.append(answer)
        before, self._dump = self._dump, self.side.dump()
        invariants.check(command, answer, before, self._dump)
        assert self.side.faults() == []
        return answer

    def preview(self, kind: int, admin_key: int | None = None, **fields: Any) -> Answer:
        """What the command would answer; it must leave no trace (X1)."""
        command = self.command(kind, **fields)
        events = self.side.preview(command, self._key(kind, admin_key))
        assert self.side.dump() == self._dump
        return Answer(events, self.side.seq + 1)

    @staticmethod
    def _key(kind: int, admin_key: int | None) -> int:
        if admin_key is not None:
            return admin_key
        return ADMIN_KEY if kind >= Kind.ADMIN_FIRST else 0

    def wait(self, seconds: int) -> None:
        """The next commands come later."""
        self.now += seconds * SECOND

    # ---- orders

    def order(self, account: int, side: int, lots: int, price: int | None, contract: int = BTC,
              **fields: Any) -> Answer:
        """A LIMIT order at a price in ticks (GTC unless said), or MARKET without one."""
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        tif = Tif.NONE if price is None else Tif.GTC
        return self.do(Kind.NEW_ORDER, **{
            "account": account, "side": side, "qty_lots": lots, "contract": contract,
            "price_ticks": price or 0, "order_type": kind, "time_in_force": tif, **fields})

    def buy(self, account: int, lots: int, price: int | None = None, contract: int = BTC,
            **fields: Any) -> Answer:
        return self.order(account, Side.BUY, lots, price, contract, **fields)

    def sell(self, account: int, lots: int, price: int | None = None, contract: int = BTC,
             **fields: Any) -> Answer:
        return self.order(account, Side.SELL, lots, price, contract, **fields)

    def trade(self, buyer: int, seller: int, lots: int, price: int, contract: int = BTC,
              **taker: Any) -> Answer:
        """The seller's quote rests, the buyer takes it; extra fields go with the buyer."""
        assert self.sell(seller, lots, price, contract).code == 0
        return self.buy(buyer, lots, price, contract, **taker)

    def trade_short(self, seller: int, buyer: int, lots: int, price: int, contract: int = BTC,
                    **taker: Any) -> Answer:
        """The buyer's quote rests, the seller takes it; extra fields go with the seller."""
        assert self.buy(buyer, lots, price, contract).code == 0
        return self.sell(seller, lots, price, contract, **taker)

    def cancel(self, account: int, order_id: int = 0, **fields: Any) -> Answer:
        return self.do(Kind.CANCEL, account=account, order_id=order_id, **fields)

    def amend(self, account: int, order_id: int, **fields: Any) -> Answer:
        return self.do(Kind.AMEND, account=account, order_id=order_id, **fields)

    def cancel_all(self, account: int, contract: int = ALL_CONTRACTS,
                   scope: int = Scope.ALL) -> Answer:
        return self.do(Kind.CANCEL_ALL, account=account, contract=contract, scope=scope)

    def close(self, account: int, lots: int = 0, price: int | None = None, contract: int = BTC,
              **fields: Any) -> Answer:
        """CLOSE_POSITION: lots 0 is the whole of it."""
        kind = OrderType.MARKET if price is None else OrderType.LIMIT
        return self.do(Kind.CLOSE_POSITION, **{
            "account": account, "qty_lots": lots, "contract": contract, "price_ticks": price or 0,
            "order_type": kind, **fields})

    # ---- margin and money

    def leverage(self, account: int, leverage: int, contract: int = BTC, isolation_id: int = 0,
                 top_up: bool = False) -> Answer:
        return self.do(Kind.SET_LEVERAGE, account=account, contract=contract, leverage=leverage,
                       isolation_id=isolation_id, exec_flags=Exec.AUTO_TOP_UP if top_up else 0)

    def add_margin(self, account: int, isolation_id: int, amount: int) -> Answer:
        return self.do(Kind.ADD_MARGIN, account=account, isolation_id=isolation_id,
                       amount_units=amount)

    def remove_margin(self, account: int, isolation_id: int, amount: int) -> Answer:
        return self.do(Kind.REMOVE_MARGIN, account=account, isolation_id=isolation_id,
                       amount_units=amount)

    def deposit(self, account: int, amount: int, currency: int = Currency.USD) -> Answer | None:
        """Nothing happens for an amount of 0."""
        return self.do(Kind.DEPOSIT, account=account, currency=currency,
                       amount_units=amount) if amount else None

    def withdraw(self, account: int, amount: int, currency: int = Currency.USD) -> Answer:
        return self.do(Kind.WITHDRAW, account=account, currency=currency, amount_units=amount)

    def open_account(self, account: int, profile: int = FULL_PROFILE) -> None:
        assert self.do(Kind.OPEN_ACCOUNT, account=account).code == 0
        assert self.eligibility(account, profile).code == 0

    # ---- administration

    def mark(self, contract: int, mark_ticks: int) -> Answer:
        return self.do(Kind.MARK, contract=contract, mark_ticks=mark_ticks)

    def index(self, index_e6: int) -> Answer:
        """USDC in 1e-6 USD."""
        return self.do(Kind.INDEX, mark_ticks=index_e6, currency=Currency.USDC)

    def funding(self, contract: int, rate_e9: int, scope: int = Scope.FUNDING_NOW) -> Answer:
        return self.do(Kind.FUNDING, contract=contract, rate_e9=rate_e9, scope=scope)

    def settle(self) -> Answer:
        return self.do(Kind.SETTLE_SESSION)

    def eligibility(self, account: int, profile: int) -> Answer:
        return self.do(Kind.SET_ELIGIBILITY, account=account, profile=profile)

    def market_state(self, contract: int, state: int) -> Answer:
        return self.do(Kind.SET_MARKET_STATE, contract=contract, scope=state)

    def top_up_fund(self, amount: int, currency: int = Currency.USD) -> Answer:
        return self.do(Kind.FUND_TOP_UP, amount_units=amount, currency=currency)

    # ---- what a trader sees

    def dump(self) -> dict[str, Any]:
        """The complete state after the last command."""
        return self._dump

    def account(self, account: int) -> dict[str, Any]:
        return dict(self._dump["accounts"][account])

    def cash(self, account: int) -> int:
        """USD cash of the main account."""
        return int(self.account(account)["cash_units"])

    def leg(self, account: int, contract: int = BTC) -> dict[str, Any] | None:
        """Main's position, or None."""
        return next((leg for leg in self.account(account)["legs"]
                     if leg["contract"] == contract), None)

    def qty(self, account: int, contract: int = BTC) -> int:
        leg = self.leg(account, contract)
        return int(leg["qty_lots"]) if leg else 0

    def block(self, isolation_id: int) -> dict[str, Any] | None:
        """An open block, or None."""
        return next((block for block in self._dump["blocks"]
                     if block["isolation_id"] == isolation_id), None)

    def live(self, order_id: int) -> dict[str, Any] | None:
        """A live order, or None."""
        return next((order for order in self._dump["orders"]
                     if order["order_id"] == order_id), None)

    @property
    def fund(self) -> int:
        """The fund's USD."""
        return int(self._dump["fund_units"][0])


def isolated(leverage: int, isolation_id: int = 0, margin: int = 0) -> dict[str, int]:
    """Order fields of an isolated order."""
    return {"exec_flags": Exec.ISOLATED_MARGIN, "leverage": leverage,
            "isolation_id": isolation_id, "isolated_margin_units": margin}
