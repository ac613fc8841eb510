"""Administration: contracts, marks, funding, sessions, eligibility, halts (SPEC A3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from perpcore import commands
from perpcore.account import Account
from perpcore.amounts import Number
from perpcore.codes import Code, Kind
from perpcore.contracts import Contract
from perpcore.eligibility import Eligibility
from perpcore.errors import Rejected, Unknown
from perpcore.results import Events, Preview, events_of
from perpcore.shell import Core, as_batch, currency, known, mark_ticks, money, rate_e9

if TYPE_CHECKING:
    from perpcore.venue import Venue

_MARK = int(Kind.MARK)


class Admin:
    """The administration's capability: made once, together with its venue; there is no other way.

    `venue, admin = Venue.create(...)`. The core checks the capability on every administrative
    command, so that no trading handle, batch or embedding program goes round it; whoever must not
    administrate is not given this object. Every act is a command in the venue's sequence.

    `timestamp_ns`: the venue's time in ns; left out, one nanosecond after the last command. Methods
    return the command's events unless they say otherwise and raise Rejected when refused.
    """

    __slots__ = ("__key", "_core", "venue")

    def __init__(self, venue: Venue, core: Core, key: int) -> None:
        self.venue = venue
        self._core = core
        self.__key = key

    def __repr__(self) -> str:
        return f"<Admin of {self.venue!r}>"

    def __reduce__(self) -> str | tuple[object, ...]:
        """A capability is not copied: pickling and copying raise TypeError."""
        raise TypeError("an Admin cannot be copied or pickled")

    def _send(self, command: NDArray[np.void]) -> Events:
        return self._core.send(command, self.__key)

    def fork(self) -> tuple[Venue, Admin]:
        """A second venue and the capability to administrate it: for a shock on the marks (X3).

            venue, admin = admin.fork()
            admin.mark("BTCUSD-PERP", "50000")     # the first venue knows nothing of it

        Raises MemoryError when memory is short.
        """
        twin = self.venue.fork()
        return twin, Admin(twin, twin._core, self.__key)

    # Contracts and prices ----------------------------------------------------------------------

    def add_contract(self, contract: Contract) -> int:
        """List a contract; returns its number (SPEC U2).

        Raises ValueError that names the limit it breaks: linear only, one mark tick x lot x
        multiplier a whole number of 1e-8 USD, largest price x position x rate within 64 bits,
        maintenance + fee reserve below 1; or when the symbol exists.
        """
        if contract.symbol in self._core.listed:
            raise ValueError(f"{contract.symbol} exists already: choose another symbol")
        number = int(self._core.engine.add_contract(contract.terms(), self.__key))
        self._core.contracts.append(contract)
        self._core.listed[contract.symbol] = number, contract
        return number

    def mark(
        self, instrument_name: str, price: Number, *, timestamp_ns: int | None = None
    ) -> Events:
        """Set the mark price, USD on the contract's mark grid; liquidates what it crosses (Q1)."""
        number, contract = self._core.listed[instrument_name]
        fields = (
            timestamp_ns, 0, 0, 0, 0, 0, number, _MARK, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            mark_ticks(contract.grid, price),
        )
        return events_of(self._core.call(fields, self.__key))

    def index(
        self, currency: str, price: Number, *, timestamp_ns: int | None = None
    ) -> Events:
        """Set the index of USDC, USD in steps of 0.000001 (SPEC A4)."""
        if currency != "USDC":
            raise Unknown(Code.INVALID_CURRENCY, f"{currency!r} has no index here: give USDC")
        units = money(price, "index")
        if units % 100:
            raise Rejected(Code.INVALID_ARGUMENT, f"index {price} is finer than 0.000001")
        return self._send(
            commands.index(index_e6=units // 100, timestamp_ns=self._core.stamp(timestamp_ns))
        )

    def index_price(
        self, instrument_name: str, price: Number, *, timestamp_ns: int | None = None
    ) -> Events:
        """Set a contract's index, USD on its mark grid: INDEX_PRICE triggers wait for it (O1)."""
        number, contract = self._core.listed[instrument_name]
        return self._send(
            commands.contract_index(
                contract=number, mark_ticks=mark_ticks(contract.grid, price, "index"),
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    def market_state(
        self, instrument_name: str, state: str, *, timestamp_ns: int | None = None
    ) -> Events:
        """Open or close a market: "OPEN" | "HALTED" (309) | "REDUCE_ONLY" (208 for new risk).

        Cancels, marks, liquidation and settlement go on in every state.
        """
        number, _ = self._core.listed[instrument_name]
        return self._send(
            commands.set_market_state(
                contract=number,
                state=known(state, commands.MARKET_STATES, "state", Code.INVALID_ARGUMENT),
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    # Funding and sessions ----------------------------------------------------------------------

    def funding(
        self,
        instrument_name: str,
        rate: Number,
        *,
        at_settlement: bool = False,
        timestamp_ns: int | None = None,
    ) -> Events:
        """Pay funding at a rate of one interval, e.g. "0.0001" (SPEC F1).

        Payment = position x mark value x rate: longs pay when it is positive. `at_settlement` keeps
        it for the next settlement. Raises Rejected: 40001 beyond the contract's cap, 207, 222.
        """
        number, _ = self._core.listed[instrument_name]
        return self._send(
            commands.funding(
                contract=number, rate_e9=rate_e9(rate), at_settlement=at_settlement,
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    def settle_session(self, *, timestamp_ns: int | None = None) -> Events:
        """End the session: funding, liquidation, roll, uncovered loss, release of profits (S3, S4).

        Raises Rejected (207, 222) when a contract with positions has no mark, or a stale one.
        """
        return self._send(commands.settle_session(timestamp_ns=self._core.stamp(timestamp_ns)))

    def fund_top_up(
        self,
        amount: Number,
        currency: str = "USD",
        *,
        contract: str | None = None,
        timestamp_ns: int | None = None,
    ) -> Events:
        """Pay into the insurance fund, or into a contract's own part of it (SPEC S1).

        contract: its name, where the policy is `fund_by_contract` "on"; its part is in USD.
        """
        return self._send(
            commands.fund_top_up(
                amount_units=money(amount), currency=_currency(currency),
                contract=None if contract is None else self._core.listed[contract][0],
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    def tick(self, timestamp_ns: int) -> Events:
        """Move the venue's time; what is due (orders with an expiry) ends (SPEC O6)."""
        return self._send(commands.tick(timestamp_ns=timestamp_ns))

    # Accounts ----------------------------------------------------------------------------------

    def open_account(
        self,
        name: str,
        *,
        eligibility: Eligibility | None = None,
        deposit: Mapping[str, Number] | None = None,
        timestamp_ns: int | None = None,
    ) -> Account:
        """Open an account that may trade: by default everything the contracts allow (SPEC A2).

        deposit: {"USD": ..., "USDC": ...}. Raises ValueError when the name is taken.
        """
        account = self.venue.open_account(name, timestamp_ns=timestamp_ns)
        self.eligibility(account, eligibility or Eligibility(), timestamp_ns=timestamp_ns)
        for money_name, amount in (deposit or {}).items():
            account.deposit(amount, money_name, timestamp_ns=timestamp_ns)
        return account

    def admit(
        self,
        count: int,
        *,
        eligibility: Eligibility | None = None,
        timestamp_ns: int | None = None,
    ) -> None:
        """Open `count` accounts in advance, eligible already; `Venue.account` hands them out.

        So a venue can take in traders without administration being at hand for each.
        """
        core = self._core
        first, now = int(core.engine.accounts), core.stamp(timestamp_ns)
        numbers = np.arange(first, first + count)
        profile = (eligibility or Eligibility()).profile
        batch = commands.concat(
            commands.open_account(account=numbers, timestamp_ns=now),
            commands.set_eligibility(account=numbers, profile=profile, timestamp_ns=now),
        )
        events = core.run(batch, self.__key)
        refused = np.flatnonzero(events["code"])
        if len(refused):
            event = events[refused[:1]]
            command = batch[int(event["seq"][0]) - int(core.engine.seq) - 1 :][:1]
            raise core.explain(command, event, events)
        core.admitted += [int(number) for number in numbers]

    def eligibility(
        self, account: Account | str, eligibility: Eligibility, *, timestamp_ns: int | None = None
    ) -> Events:
        """Set an account's profile (SPEC A2).

        Losing it cancels the account's orders that have a reserve and makes it reduce-only; it
        never blocks closing, cancelling or liquidation.
        """
        owner = self.venue.account(account) if isinstance(account, str) else account
        return self._send(
            commands.set_eligibility(
                account=owner.number, profile=eligibility.profile,
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    # Records -----------------------------------------------------------------------------------

    def apply(self, batch: NDArray[np.void], out: NDArray[np.void] | None = None) -> Events:
        """`Venue.apply` with the capability: the batch may hold administrative commands."""
        batch = as_batch(batch)
        if out is None:
            return self._core.run(batch, self.__key)
        return self._core.run_into(batch, out, self.__key)

    def preview(self, command: NDArray[np.void]) -> Preview:
        """`Venue.preview` with the capability: e.g. whom a mark would liquidate (SPEC X1)."""
        return self._core.preview(as_batch(command), self.__key)


_currency = currency
