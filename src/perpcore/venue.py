"""The venue: market data, accounts, batches, audit."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perpcore.account import Account
from perpcore.admin import Admin
from perpcore.amounts import Number, from_units
from perpcore.codes import Code, Currency, MarketState, Side
from perpcore.commands import concat, limit, open_account
from perpcore.contracts import BTCUSD_PERP, ETHUSD_PERP, Contract, venue_terms
from perpcore.engine import Engine
from perpcore.errors import Rejected, Unknown
from perpcore.policies import Policies
from perpcore.results import (
    AdlPlace,
    Audit,
    Book,
    Events,
    Level,
    LiquidationLevel,
    MarketData,
    Preview,
    side_word,
)
from perpcore.shell import Core, as_batch, currency

if TYPE_CHECKING:
    from perpcore.presets import Preset

_DEMO_PLACES = 64
_STATES = {
    MarketState.MARKET_OPEN: "OPEN",
    MarketState.MARKET_HALTED: "HALTED",
    MarketState.MARKET_REDUCE_ONLY: "REDUCE_ONLY",
}


class Venue:
    """A perpetual-futures venue in memory: contracts, order books, accounts, insurance fund.

    Make one with `Venue.demo()` (ready to trade) or `Venue.create()` (empty); both return
    `(venue, admin)`: administration is the second object and cannot be reached from the first.
    Money, prices and sizes are str, Decimal or int on the way in, Decimal on the way out.

    Trade: account(name) -> Account. Market data: market, book, mark_price, contracts, contract.
    Batches: apply(commands) -> events, with `perpcore.commands` as builders and numpy arrays.
    Events as text: describe(events), explain_reject(command, event).
    Trust: audit(), state_hash(), insurance_fund(currency).

    One thread at a time: a second one that enters gets EngineBusy; venues are independent. Time
    comes with the commands, there is no clock: the same commands give the same state hash.
    """

    __slots__ = ("_core",)
    _core: Core

    def __init__(self) -> None:
        raise TypeError("use Venue.create() or Venue.demo(): each returns (venue, admin)")

    @classmethod
    def create(
        cls,
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
        price_pages: int = 1_024,
        policies: Policies | None = None,
        preset: str | Preset | None = None,
    ) -> tuple[Venue, Admin]:
        """A venue without contracts and accounts, and the capability to administrate it.

        insurance_fund: USD, or {"USD": ..., "USDC": ...}; opening cover (SPEC S1).
        usdc_haircut: share of USDC collateral that counts as margin needed (SPEC A4).
        max_orders, max_blocks: live orders (318) and open blocks (614) of an account.
        account_notional_limit: USD over all positions of an account, 0: none (303).
        excluded_citizenship, excluded_residence: ISO 3166 numeric, up to 16 each (SPEC A2).
        accounts, orders, price_pages: room; nothing is allocated later, a full venue refuses
        (50001). price_pages: pages of 256 prices in use at once, a contract and side.
        policies: what differs between venues, `Policies(backstop="adl")`; its defaults if left out.
        preset: the policies of a venue that exists, "dydx"; `perpcore.presets` has them, and the
        terms of contracts that go with them.
        Raises ValueError for terms that do not fit, and for policies beside a preset.
        """
        if preset is not None:
            if policies is not None:
                raise ValueError("policies, preset: give one; dataclasses.replace changes a preset")
            policies = _preset(preset).policies
        terms = venue_terms(
            insurance_fund=insurance_fund, usdc_haircut=usdc_haircut, max_orders=max_orders,
            max_blocks=max_blocks, account_notional_limit=account_notional_limit,
            excluded_citizenship=excluded_citizenship, excluded_residence=excluded_residence,
            accounts=accounts, orders=orders, price_pages=price_pages, policies=policies,
        )
        # The key is drawn here, kept by the Admin alone, and no part of the venue's state.
        key = int.from_bytes(os.urandom(8), "little") | 1
        venue = cls.__new__(cls)
        venue._core = Core(Engine(terms, key))
        return venue, Admin(venue, venue._core, key)

    @classmethod
    def demo(cls) -> tuple[Venue, Admin]:
        """A venue ready to trade: BTCUSD-PERP marked at 60,000 and ETHUSD-PERP at 3,000.

        An insurance fund of 5,000,000 USD, USDC at 1 USD, and two makers with resting orders up
        to 4 % from the marks. `venue.account(name)` opens accounts that may trade everything (64
        places; then administration opens more, `Admin.open_account`).
        """
        venue, admin = cls.create(insurance_fund=5_000_000)
        admin.index("USDC", 1)
        admin.add_contract(BTCUSD_PERP)
        admin.add_contract(ETHUSD_PERP)
        admin.mark("BTCUSD-PERP", 60_000)
        admin.mark("ETHUSD-PERP", 3_000)
        for name in ("maker-1", "maker-2"):
            admin.open_account(name, deposit={"USD": 20_000_000})
        venue._quote("maker-1", "BTCUSD-PERP", best=(59_990, 60_010), step="10", quantity=1)
        venue._quote("maker-2", "BTCUSD-PERP", best=(59_900, 60_100), step="100", quantity=5)
        venue._quote("maker-1", "ETHUSD-PERP", best=("2999.5", "3000.5"), step="0.5", quantity=20)
        venue._quote("maker-2", "ETHUSD-PERP", best=(2_995, 3_005), step="5", quantity=100)
        admin.admit(_DEMO_PLACES)
        return venue, admin

    def _quote(
        self,
        maker: str,
        instrument_name: str,
        *,
        best: tuple[Number, Number],
        step: Number,
        quantity: Number,
        levels: int = 24,
    ) -> None:
        """Rest `levels` orders a side, `step` apart from the best outward."""
        number, contract = self._core.listed[instrument_name]
        grid, account = contract.grid, self.account(maker).number
        apart = int(Decimal(str(step)) / grid.tick)
        lots, now = int(Decimal(str(quantity)) / grid.lot), self._core.stamp(None)
        away = np.arange(levels) * apart
        blocks = []
        for side, price, sign in (("BUY", best[0], -1), ("SELL", best[1], 1)):
            first = int(Decimal(str(price)) / grid.tick)
            blocks.append(
                limit(
                    account=account, contract=number, side=side, timestamp_ns=now,
                    price_ticks=first + sign * away, qty_lots=lots, exec_inst="POST_ONLY",
                )
            )
        self._core.run(concat(*blocks))

    def __repr__(self) -> str:
        return f"<Venue {', '.join(self._core.listed) or 'without contracts'}>"

    # Accounts ----------------------------------------------------------------------------------

    def account(
        self,
        name: str | int,
        *,
        deposit: Mapping[str, Number] | None = None,
        timestamp_ns: int | None = None,
    ) -> Account:
        """The account of that name; a new name opens one, with a deposit where it is given.

        name: any str, or the number of an account that exists. deposit: {"USD": "2000"}, only when
        the account is new (later: `Account.deposit`). A new account takes a place that
        administration admitted beforehand (`Admin.admit`); where none is left it can hold money,
        but trades only after `Admin.eligibility`.
        Raises Unknown (210) for a number that does not exist, ValueError for a deposit into an
        account that exists, Rejected when the deposit is refused.
        """
        core = self._core
        if isinstance(name, int):
            if not 0 <= name < core.engine.accounts:
                raise Unknown(
                    Code.INVALID_ACCOUNT,
                    f"there is no account {name}: numbers go from 0 to {core.engine.accounts - 1}",
                )
            number = name
        elif name in core.names:
            number = core.names[name]
        else:
            opened = self._place(name) or self.open_account(name, timestamp_ns=timestamp_ns)
            for currency_name, amount in (deposit or {}).items():
                opened.deposit(amount, currency_name, timestamp_ns=timestamp_ns)
            return opened
        if deposit:
            raise ValueError(f"{core.label(number)} exists: use Account.deposit")
        return Account(core, number)

    def _place(self, name: str) -> Account | None:
        """An account that was admitted in advance, under its owner's name."""
        core = self._core
        if not core.admitted:
            return None
        number = core.admitted.pop(0)
        core.names[name], core.labels[number] = number, name
        return Account(core, number)

    def open_account(self, name: str, *, timestamp_ns: int | None = None) -> Account:
        """Open an account that can hold money; to trade it needs `Admin.eligibility` (SPEC A2).

        Raises ValueError when the name is taken, Rejected (50001) when the venue is full.
        """
        core = self._core
        if name in core.names:
            raise ValueError(f"the name {name!r} is taken: choose another")
        number = int(core.engine.accounts)
        core.send(open_account(account=number, timestamp_ns=core.stamp(timestamp_ns)))
        core.names[name], core.labels[number] = number, name
        return Account(core, number)

    @property
    def accounts(self) -> list[Account]:
        """All accounts that have a name, by number."""
        return [Account(self._core, number) for number in sorted(self._core.labels)]

    # Market data -------------------------------------------------------------------------------

    @property
    def contracts(self) -> dict[str, Contract]:
        """Terms by name, in the order of their numbers."""
        return {contract.symbol: contract for contract in self._core.contracts}

    def contract(self, instrument_name: str) -> Contract:
        """Terms of a contract; raises Unknown (209). Its number is `contract_number`."""
        return self._core.listed[instrument_name][1]

    def contract_number(self, instrument_name: str) -> int:
        """The contract's number in command and event records (`contract`)."""
        return self._core.listed[instrument_name][0]

    def market(self, instrument_name: str) -> MarketData:
        """State, mark, last and best prices of a contract, in USD."""
        number, contract = self._core.listed[instrument_name]
        state, grid = self._core.engine.contract_state(number), contract.grid
        best = {side: self._core.engine.book(number, side, 1) for side in (Side.BUY, Side.SELL)}
        bid, ask = (grid.price(levels[0][0]) if levels else None for levels in best.values())
        mark, last = state["mark_ticks"], state["last_price_ticks"]
        return MarketData(
            instrument_name=instrument_name,
            state=_STATES[MarketState(state["state"])],
            mark_price=grid.mark(mark) if mark else None,
            last_price=grid.price(last) if last else None,
            best_bid=bid,
            best_ask=ask,
            index_price=grid.mark(state["index_ticks"]) if state["index_ticks"] else None,
        )

    def mark_price(self, instrument_name: str) -> Decimal | None:
        """The mark price in USD; None before the first."""
        return self.market(instrument_name).mark_price

    def book(self, instrument_name: str, depth: int = 10) -> Book:
        """The best `depth` levels of each side: price (USD), quantity (base units), orders."""
        number, contract = self._core.listed[instrument_name]
        grid = contract.grid
        sides = [
            [
                Level(grid.price(price), grid.quantity(lots), count)
                for price, count, lots in self._core.engine.book(number, side, depth)
            ]
            for side in (int(Side.BUY), int(Side.SELL))
        ]
        return Book(*sides)

    def liquidation_levels(self, instrument_name: str) -> list[LiquidationLevel]:
        """Where positions liquidate: side, first such mark (USD), base units (SPEC X3).

        Units with positions on several contracts have no one price and are not in it.
        """
        number, contract = self._core.listed[instrument_name]
        grid = contract.grid
        return [
            LiquidationLevel(side_word(int(side)), grid.mark(int(mark)), grid.quantity(int(lots)))
            for side, mark, lots in self._core.engine.liquidation_levels(number)
        ]

    def adl_queue(self, instrument_name: str) -> list[AdlPlace]:
        """Who auto-deleveraging would close, first first, longs then shorts (SPEC Q4, X3).

        By profit since the opening times effective leverage, as the policy adl_rank
        "profit_leverage" takes them; "pro_rata" closes a part of each instead.
        """
        return self._core.adl_places(self._core.listed[instrument_name][0])

    def insurance_fund(self, currency: str = "USD", *, contract: str | None = None) -> Decimal:
        """The fund's balance; inside a session it may be negative (SPEC S1, S2).

        contract: the name of one, for its own part of the fund, which is never negative; the shared
        part is what no contract is named for. Parts are in USD, with `fund_by_contract` "on".
        """
        number = _currency(currency)
        if contract is None:
            return from_units(int(self._core.engine.fund_units(number)))
        if number != Currency.USD:
            raise ValueError("a contract's part of the fund is in USD: leave the currency out")
        return from_units(
            int(self._core.engine.sub_fund_units(self._core.listed[contract][0]))
        )

    @property
    def session(self) -> int:
        """Number of the session that runs."""
        return int(self._core.engine.session)

    @property
    def time_ns(self) -> int:
        """Time of the last command, ns."""
        return int(self._core.engine.time_ns)

    @property
    def seq(self) -> int:
        """Number of the last command; the next one's is the id of an order it makes."""
        return int(self._core.engine.seq)

    # Batches -----------------------------------------------------------------------------------

    def apply(self, commands: NDArray[np.void], out: NDArray[np.void] | None = None) -> Events:
        """Apply a batch of commands in order and return what happened (events).

        commands: (n,) COMMAND, raw integers; `perpcore.commands` builds them. A refused command is
        a REJECT event with its code; the others go on. The GIL is free meanwhile.
        Without `out`: all commands are applied, and all their events returned in a new array.
        With `out` (m,) EVENT: events go into that buffer and a view of it is returned. When it is
        full the venue stops between commands: `events.applied` says how many were applied, and
        events of the last that did not fit come first in the next call. Read on until
        `len(events) < len(out)`:

            while True:
                events = venue.apply(batch, out=buffer)
                use(events)
                batch = batch[events.applied:]
                if len(events) < len(buffer):
                    break

        Raises TypeError for another dtype, EngineBusy from a second thread. Administrative
        commands are refused here (40101); see `Admin.apply`.
        """
        batch = as_batch(commands)
        return self._core.run(batch) if out is None else self._core.run_into(batch, out)

    def preview(self, command: NDArray[np.void]) -> Preview:
        """What one command (1,) COMMAND would do: applied and rolled back (SPEC X1)."""
        return self._core.preview(as_batch(command))

    def explain_reject(self, command: NDArray[np.void], event: NDArray[np.void]) -> Rejected:
        """The words of a batch's REJECT event, beside its command: the Rejected of a single call.

        command: one COMMAND; event: its REJECT event. The exception is returned, not raised.
        """
        return self._core.explain(np.asarray(command), np.asarray(event))

    def describe(self, events: NDArray[np.void]) -> list[str]:
        """Events as lines to read: kind, whose, and numbers in decimals instead of steps."""
        from perpcore.explain import describe

        return describe(self._core, np.asarray(events))

    def fork(self) -> Venue:
        """A second venue that stands where this one stands and goes its own way (SPEC X3).

        What happens in one is unknown to the other: for a shock, a plan, a comparison. Ask the fork
        for its own accounts (`fork.account(name)`). It has no administration; `Admin.fork` gives
        both. Raises MemoryError when memory is short.
        """
        twin = Venue.__new__(Venue)
        twin._core = self._core.fork()
        return twin

    # Trust -------------------------------------------------------------------------------------

    def audit(self) -> Audit:
        """Sum the whole ledger: every residual is 0 (SPEC L1)."""
        sums = self._core.engine.audit()
        symbols = [contract.symbol for contract in self._core.contracts]
        return Audit(
            usd=from_units(int(sums["USD"])),
            usdc=from_units(int(sums["USDC"])),
            positions=dict(zip(symbols, map(int, sums["positions"]), strict=False)),
        )

    def state_hash(self) -> int:
        """Hash of the venue's whole state: the same commands give the same number (SPEC D1)."""
        return int(self._core.engine.state_hash())


def _preset(preset: str | Preset) -> Preset:
    from perpcore.presets import load

    return load(preset) if isinstance(preset, str) else preset


def _currency(name: str) -> Currency:
    return Currency(currency(name))
