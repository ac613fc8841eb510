"""One isolated margin block: margin, position and orders of its own (SPEC I1 to I13)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perpcore import commands
from perpcore.amounts import Number, from_units
from perpcore.codes import BlockState, Code, OrderType
from perpcore.positions import position_of
from perpcore.results import Events, OrderResult, Position, Preview
from perpcore.shell import Core, known, largest, money, price_ticks, qty_lots
from perpcore.shell import currency as currency_number


class Block:
    """An isolated block of an account: what its owner can lose through it is what is in it.

    Made by `Account.isolated` or `Account.blocks`; an order with exec_inst="ISOLATED_MARGIN" opens
    the block itself. The handle stays readable after the block's end: `state` is "CLOSED", money
    is 0, prices are None. Money and prices are USD where nothing else is said, sizes base units,
    all Decimal.

    state: "PENDING" (orders only) -> "OPEN" (a position) -> "CLOSED"; "OPEN" goes back to
    "PENDING" when the position ends while orders are left.
    Read: margin, order_margin, collateral, margin_balance, removable, liquidation_price,
    bankruptcy_price, position, leverage. Change: add_margin, remove_margin, set_leverage, close,
    attach_tp_sl, cancel_all_orders.
    Each change has a preview; max_leverage and min_leverage are what set_leverage accepts now.
    """

    __slots__ = ("_account", "_contract", "_core", "isolation_id")

    def __init__(self, core: Core, account: int, contract: int, isolation_id: int) -> None:
        self._core = core
        self._account = account
        self._contract = contract
        self.isolation_id = isolation_id

    def __repr__(self) -> str:
        return f"<Block {self.isolation_id} {self.instrument_name} {self.state}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Block)
            and other._core is self._core
            and other._account == self._account
            and other.isolation_id == self.isolation_id
        )

    def __hash__(self) -> int:
        return hash((id(self._core), self.isolation_id))

    @property
    def instrument_name(self) -> str:
        """The contract's name."""
        return self._core.contracts[self._contract].symbol

    def _unit(self) -> dict[str, Any] | None:
        return self._core.unit(self._account, self.isolation_id)

    def _units(self, field: str) -> Decimal:
        unit = self._unit()
        return from_units(unit[field]) if unit else Decimal(0)

    # State -------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """One of "PENDING", "OPEN", "CLOSED"; none is being liquidated when a call returns."""
        unit = self._unit()
        return BlockState(unit["state"]).name if unit else BlockState.CLOSED.name

    @property
    def position(self) -> Position | None:
        """The block's position; None when it has none."""
        unit = self._unit()
        legs = [leg for leg in unit["legs"] if leg["qty_lots"]] if unit else []
        return position_of(self._core, legs[0], self.isolation_id) if legs else None

    @property
    def quantity(self) -> Decimal:
        """Base units, negative for short; 0 without a position."""
        position = self.position
        return position.quantity if position else Decimal(0)

    @property
    def leverage(self) -> int | None:
        """Whole number; None once the block is closed."""
        unit = self._unit()
        return int(unit["leverage"]) if unit else None

    @property
    def margin(self) -> Decimal:
        """Position cash: what pays the block's fees, funding and losses (SPEC I4)."""
        return self._units("cash_units")

    @property
    def order_margin(self) -> Decimal:
        """Order cash: reserves of the block's orders, never at risk of the position (SPEC I2)."""
        return self._units("order_cash_units")

    @property
    def collateral(self) -> dict[str, Decimal]:
        """What lies with the position: {"USD": margin, "USDC": ...} (SPEC A4, I4).

        USDC is there where it stays USDC in a block (policy block_collateral: "in_kind"): it counts
        at the index with its haircut, as main's does.
        """
        return {"USD": self.margin, "USDC": self._units("usdc_units")}

    @property
    def order_collateral(self) -> dict[str, Decimal]:
        """What lies with the block's orders, in both currencies: {"USD": order_margin, "USDC"}."""
        return {"USD": self.order_margin, "USDC": self._units("order_usdc_units")}

    @property
    def unrealized_pnl(self) -> Decimal:
        """Position x mark - cost."""
        return self._units("upnl_units")

    @property
    def margin_balance(self) -> Decimal:
        """margin + value of its USDC + unrealized PnL - fee reserve, rounded down (SPEC I4)."""
        return self._units("mb_units")

    @property
    def initial_margin(self) -> Decimal:
        """ceil(notional x margin rate) at the block's leverage (SPEC C1)."""
        return self._units("im_units")

    @property
    def maintenance_margin(self) -> Decimal:
        """Shown rounded up; the block is liquidated when margin balance is below it, exactly."""
        return self._units("mm_units")

    @property
    def removable(self) -> Decimal:
        """What remove_margin accepts at most: exactly that, one unit more is refused (SPEC I9).

        max(0, floor(min(margin - MM, margin balance - IM))), and 0 unless the position is in
        profit measured from its opening cost (policy removal: "free" asks for none).
        """
        return self._units("removable_units")

    @property
    def removable_usdc(self) -> Decimal:
        """USDC that remove_margin accepts at most; one unit more is refused (SPEC I9).

        The most that leaves margin balance - IM and margin + what the rest gives when it is
        converted - MM at 0 or more; 0 where USDC does not stay USDC in a block.
        """
        return self._units("removable_usdc_units")

    @property
    def liquidation_price(self) -> Decimal | None:
        """First mark price at which the block is liquidated (SPEC Q2); None when no mark does it.

        With a = maintenance rate + fee reserve rate = num / den, C cost, Q lots, v value of one
        mark tick x lot. Long: ceil(den (C - margin) / (Q v (den - num))) - 1 mark ticks;
        short: floor(den (margin - C) / (|Q| v (den + num))) + 1.
        """
        position = self.position
        return position.liquidation_price if position else None

    @property
    def bankruptcy_price(self) -> Decimal | None:
        """Mark price of equity 0, rounded in the fund's favor (SPEC Q3); None without position."""
        position = self.position
        return position.bankruptcy_price if position else None

    @property
    def adl_rank(self) -> int | None:
        """Its place in the queue of auto-deleveraging, 1 first; None without position (Q4)."""
        return self._core.adl_rank(self._contract, self._account, self.isolation_id)

    # Margin ------------------------------------------------------------------------------------

    def add_margin(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Events:
        """Move money from main into the block, at once (SPEC I8). Returns the events.

        USD, of which main's USDC gives what its USD lacks; or USDC itself, at most what main could
        withdraw, with the policy block_collateral "in_kind" (else 211). The liquidation price moves
        away by exactly what its formula says. Raises Rejected: 306 above what main has free, 613
        when the block is closed.
        """
        return self._core.send(
            self._transfer(commands.add_margin, amount, currency, timestamp_ns)
        )

    def preview_add_margin(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Preview:
        """What `add_margin` would do; nothing changes (SPEC X1)."""
        return self._core.preview(
            self._transfer(commands.add_margin, amount, currency, timestamp_ns)
        )

    def remove_margin(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Events:
        """Move money from the block to main, at most what is removable (SPEC I9).

        USD: `removable`; USDC: `removable_usdc`. Returns the events. Raises Rejected: 321 with what
        is removable, 613 when the block is closed.
        """
        return self._core.send(
            self._transfer(commands.remove_margin, amount, currency, timestamp_ns)
        )

    def preview_remove_margin(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Preview:
        """What `remove_margin` would do; nothing changes (SPEC X1)."""
        return self._core.preview(
            self._transfer(commands.remove_margin, amount, currency, timestamp_ns)
        )

    def _transfer(
        self, builder: Any, amount: Number, currency: str, timestamp_ns: int | None
    ) -> NDArray[np.void]:
        record: NDArray[np.void] = builder(
            account=self._account, isolation_id=self.isolation_id, amount_units=money(amount),
            currency=currency_number(currency), timestamp_ns=self._core.stamp(timestamp_ns),
        )
        return record

    # Leverage ----------------------------------------------------------------------------------

    def set_leverage(
        self, leverage: int, *, auto_top_up: bool = False, timestamp_ns: int | None = None
    ) -> Events:
        """Change the block's leverage, a whole number (SPEC I6, I7). Returns the events.

        Up: no cash moves; maintenance margin and liquidation price stay. Down: what is missing at
        the new leverage must be in the block already, else Rejected (320, needed); with
        `auto_top_up` exactly that moves from main (306 if it lacks it). Never half applied.
        """
        return self._core.send(self._leverage(leverage, auto_top_up, timestamp_ns))

    def preview_leverage(
        self, leverage: int, *, auto_top_up: bool = False, timestamp_ns: int | None = None
    ) -> Preview:
        """What `set_leverage` would do; nothing changes (SPEC X1)."""
        return self._core.preview(self._leverage(leverage, auto_top_up, timestamp_ns))

    def _leverage(
        self, leverage: int, auto_top_up: bool, timestamp_ns: int | None
    ) -> NDArray[np.void]:
        return commands.set_leverage(
            account=self._account, contract=self._contract, isolation_id=self.isolation_id,
            leverage=leverage, auto_top_up=auto_top_up,
            timestamp_ns=self._core.stamp(timestamp_ns),
        )

    @property
    def max_leverage(self) -> int:
        """Largest leverage that set_leverage accepts now; one more is refused (SPEC X2).

        0 when the block is closed.
        """
        most = self._core.contracts[self._contract].max_leverage
        return largest(lambda leverage: self.preview_leverage(leverage).ok, self._now(), most)

    @property
    def min_leverage(self) -> int:
        """Smallest leverage that set_leverage accepts without a top-up; one less is refused.

        0 when the block is closed.
        """
        now = self._now()
        # Counted downward from the leverage of now, which is always accepted.
        steps = largest(lambda down: self.preview_leverage(now - down + 1).ok, 1, now)
        return now - steps + 1 if steps else 0

    def _now(self) -> int:
        return self.leverage or 1

    def top_up_for(self, leverage: int) -> Decimal:
        """USD that a lower leverage would need from main: the least that is enough (SPEC I7, X2).

        0 when it needs none. Raises what set_leverage would raise for any other reason.
        """
        preview = self.preview_leverage(leverage)
        if preview.refusal is None:
            return Decimal(0)
        if preview.code != Code.EXCEEDS_INITIAL_MARGIN:
            raise preview.refusal
        return preview.refusal.needed or Decimal(0)

    # Position and orders -----------------------------------------------------------------------

    def close(
        self,
        quantity: Number | None = None,
        *,
        type: str = "MARKET",
        price: Number | None = None,
        release_margin: bool = False,
        timestamp_ns: int | None = None,
    ) -> OrderResult:
        """Close the position, all or part of it, with a reduce-only order (SPEC I10, I11).

        quantity: base units, None for all. type: "MARKET", or "LIMIT" with `price` (USD).
        A full close moves all of the block's cash to main in the same step. A part keeps its
        margin in the block; `release_margin` moves its share out, as far as margin allows.
        Raises Rejected: 201 without a position, 613 when the block is closed, and what an order
        may raise.
        """
        return self._core.send_order(
            self._close(quantity, type, price, release_margin, timestamp_ns)
        )

    def preview_close(
        self,
        quantity: Number | None = None,
        *,
        type: str = "MARKET",
        price: Number | None = None,
        release_margin: bool = False,
        timestamp_ns: int | None = None,
    ) -> Preview:
        """What `close` would do; nothing changes (SPEC X1)."""
        return self._core.preview(
            self._close(quantity, type, price, release_margin, timestamp_ns)
        )

    def _close(
        self,
        quantity: Number | None,
        type: str,
        price: Number | None,
        release_margin: bool,
        timestamp_ns: int | None,
    ) -> NDArray[np.void]:
        contract = self._core.contracts[self._contract]
        order_type = known(type, commands.TYPES, "type", Code.INVALID_ORDER_TYPE)
        if (order_type == OrderType.LIMIT) != (price is not None):
            raise ValueError("type LIMIT goes with a price, type MARKET without one")
        return commands.close_position(
            account=self._account,
            contract=self._contract,
            timestamp_ns=self._core.stamp(timestamp_ns),
            isolation_id=self.isolation_id,
            price_ticks=0 if price is None else price_ticks(contract.grid, price),
            qty_lots=0 if quantity is None else qty_lots(contract.grid, quantity),
            release_margin=release_margin,
        )

    def attach_tp_sl(
        self,
        *,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        quantity: Number | None = None,
        ref_price_type: str = "MARK_PRICE",
        timestamp_ns: int | None = None,
    ) -> list[OrderResult]:
        """Close the position where it has won or lost enough; see `Account.attach_tp_sl` (O1)."""
        from perpcore.account import Account

        return Account(self._core, self._account).attach_tp_sl(
            self.instrument_name, take_profit=take_profit, stop_loss=stop_loss, quantity=quantity,
            ref_price_type=ref_price_type, isolation_id=self.isolation_id,
            timestamp_ns=timestamp_ns,
        )

    def cancel_all_orders(self, *, timestamp_ns: int | None = None) -> Events:
        """Cancel the block's orders; their reserves return to main. Returns the events."""
        return self._core.send(
            commands.cancel_all(
                account=self._account, contract=self._contract, scope="ISOLATED",
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    # Why ---------------------------------------------------------------------------------------

    def explain(self) -> str:
        """The liquidation test in whole numbers: at the mark, and one tick around the threshold.

        Money units (1e-8 USD) and mark ticks, exactly as the core compares them (SPEC Q1, X3).
        """
        from perpcore.explain import explain_unit

        return explain_unit(self._core, self._account, self.isolation_id)
