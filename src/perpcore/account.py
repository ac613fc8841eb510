"""A trader's side of the venue: the main account and its isolated blocks."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from perpcore import commands
from perpcore.amounts import Number, from_units
from perpcore.block import Block
from perpcore.codes import Code, EventKind, Kind, OrderType
from perpcore.errors import Rejected, Unknown
from perpcore.foresight import unit_state
from perpcore.positions import position_of
from perpcore.records import NO_CONTRACT
from perpcore.results import (
    CONDITIONAL_WORDS,
    EXEC_WORDS,
    REFERENCE_WORDS,
    TIF_WORDS,
    Events,
    Order,
    OrderResult,
    Position,
    Preview,
    side_word,
)
from perpcore.shell import Core, currency, known, largest, money, price_ticks, qty_lots


class OrderOptions(TypedDict, total=False):
    """The keywords of `Account.create_order` beside instrument, side and quantity."""

    type: str
    price: Number | None
    time_in_force: str | None
    exec_inst: str | Iterable[str] | None
    client_oid: int | None
    isolation_id: int | None
    isolated_margin_amount: Number | None
    leverage: int | None
    expiry_ns: int | None
    stp_inst: str | None
    ref_price: Number | None
    ref_price_type: str
    linked_order_id: int | None
    timestamp_ns: int | None


class Account:
    """One trader's main account: cash, cross positions, orders, and its isolated blocks.

    Made by `Venue.account`. Money, prices and sizes go in as str, Decimal or int and come out as
    Decimal: USD for money and prices, base units (BTC, ETH) for sizes. A number off its grid raises
    `OffGrid`; a command that the venue refuses raises `Rejected` and changes nothing.

    `timestamp_ns` on a command is the venue's time in ns for it; left out, it is one nanosecond
    after the last. Time never goes back (40003).

    Orders: create_order, amend_order, cancel_order, cancel_all_orders, close_position,
    attach_tp_sl, cancel_all_after.
    Money: deposit, withdraw, cash, margin_balance, available, transferable, withdrawable.
    Isolated margin: isolated(instrument_name) -> Block; blocks.
    Before you do it: preview_order, preview_close_position, preview_leverage, preview_withdraw,
    preview_amend_order, max_quantity.
    """

    __slots__ = ("_core", "_number")

    def __init__(self, core: Core, number: int) -> None:
        self._core = core
        self._number = number

    def __repr__(self) -> str:
        return f"<Account {self.name!r} number {self._number}>"

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Account)
            and other._core is self._core
            and other._number == self._number
        )

    def __hash__(self) -> int:
        return hash((id(self._core), self._number))

    @property
    def name(self) -> str:
        """The name it was opened with."""
        return self._core.label(self._number)

    @property
    def number(self) -> int:
        """Its number in command and event records (`account`)."""
        return self._number

    # Orders ------------------------------------------------------------------------------------

    def create_order(
        self,
        instrument_name: str,
        side: str,
        quantity: Number,
        *,
        type: str = "LIMIT",
        price: Number | None = None,
        time_in_force: str | None = None,
        exec_inst: str | Iterable[str] | None = None,
        client_oid: int | None = None,
        isolation_id: int | None = None,
        isolated_margin_amount: Number | None = None,
        leverage: int | None = None,
        expiry_ns: int | None = None,
        stp_inst: str | None = None,
        ref_price: Number | None = None,
        ref_price_type: str = "MARK_PRICE",
        linked_order_id: int | None = None,
        timestamp_ns: int | None = None,
    ) -> OrderResult:
        """Send an order; it reserves margin, matches, and may rest (SPEC O1, C3, I2).

        side: "BUY" | "SELL". quantity: base units, a multiple of the lot size.
        type: "LIMIT" with `price` (USD, a multiple of the tick) | "MARKET", which takes up to the
            edge of the aggressive band around the mark. With `ref_price`, the trigger in USD:
            "STOP_LOSS" | "TAKE_PROFIT", then MARKET, "STOP_LIMIT" | "TAKE_PROFIT_LIMIT" with
            `price`, then LIMIT. A stop buys on a rise and sells on a fall, a take-profit the other
            way round. It waits, "UNTRIGGERED", without a reserve until `ref_price_type`
            ("MARK_PRICE" | "INDEX_PRICE" | "LAST_PRICE") is there, and is then checked as a new
            order; what refuses it ends it (TRIGGER).
        time_in_force: "GOOD_TILL_CANCEL" (GTC, default of LIMIT) | "IMMEDIATE_OR_CANCEL" (IOC,
            what MARKET is) | "FILL_OR_KILL" (FOK) | "GOOD_TILL_DATE" (GTD) with `expiry_ns`.
        exec_inst: one or several of "POST_ONLY", "SMART_POST_ONLY" (a price that would take slides
            to the best that does not), "REDUCE_ONLY", "ISOLATED_MARGIN".
        client_oid: your own number, 1 to 2^64 - 1, unique among live orders of the account.
        With ISOLATED_MARGIN: no `isolation_id` makes a new block at `leverage` (whole number);
            an `isolation_id` adds to that block at its leverage. Margin comes from main, exactly
            the order's need, or `isolated_margin_amount` (USD) where that is given.
        stp_inst: whose order self-trade prevention cancels: "M" maker, "T" taker (default),
            "B" both.
        linked_order_id: a live order of the same unit and contract: when one of the two is filled
            in full, triggered or ends, the other ends too (LINKED).
        Returns an OrderResult. Raises Rejected, its codes in order of precedence in
        docs/rejects.md; OffGrid (308, 213) for a price or size between two steps; Unknown for a
        word or name that is none.
        Need of n lots, b = max(price, mark): ceil(n b MR) + ceil(n b taker fee) + ceil(n b (taker
        + liquidation fee)) + n x max(0, distance from the mark to a worse price) (SPEC C3).
        """
        core = self._core
        fields = self._order(
            instrument_name, side, quantity, type, price, time_in_force, exec_inst, client_oid,
            isolation_id, isolated_margin_amount, leverage, expiry_ns, stp_inst, ref_price,
            ref_price_type, linked_order_id, timestamp_ns,
        )
        return OrderResult.of((core.call(fields), core.contracts, fields, fields[8], fields[2], 0))

    def preview_order(
        self,
        instrument_name: str,
        side: str,
        quantity: Number,
        **options: Unpack[OrderOptions],
    ) -> Preview:
        """What `create_order` with the same arguments would do; nothing changes (SPEC X1)."""
        fields = self._order(instrument_name, side, quantity, **options)
        return self._core.preview(self._core.record(fields))

    def _order(
        self,
        instrument_name: str,
        side: str,
        quantity: Number,
        type: str = "LIMIT",
        price: Number | None = None,
        time_in_force: str | None = None,
        exec_inst: str | Iterable[str] | None = None,
        client_oid: int | None = None,
        isolation_id: int | None = None,
        isolated_margin_amount: Number | None = None,
        leverage: int | None = None,
        expiry_ns: int | None = None,
        stp_inst: str | None = None,
        ref_price: Number | None = None,
        ref_price_type: str = "MARK_PRICE",
        linked_order_id: int | None = None,
        timestamp_ns: int | None = None,
    ) -> tuple[Any, ...]:
        """Fields of the NEW_ORDER in the order of COMMAND, without the last, which are 0."""
        number, contract = self._core.listed[instrument_name]
        grid = contract.grid
        shape = side, type, time_in_force, exec_inst, stp_inst
        try:
            side_code, order_type, tif, flags, stp, limited, waits = _SHAPES[shape]
        except TypeError:  # A list of words is no key.
            side_code, order_type, tif, flags, stp, limited, waits = _read_shape(shape)
        if limited and price is None:
            raise ValueError("a LIMIT order needs a price: give price, or type='MARKET'")
        if waits != (ref_price is not None):
            raise ValueError("ref_price is the trigger of a conditional order, which needs one")
        reference = trigger = 0
        if ref_price is not None:
            reference = known(
                ref_price_type, commands.REFERENCES, "ref_price_type", Code.INVALID_ARGUMENT
            )
            trigger = price_ticks(grid, ref_price, "ref_price")
        margin = isolated_margin_amount
        return (
            timestamp_ns,
            linked_order_id or 0,
            client_oid or 0,
            0 if price is None else price_ticks(grid, price),
            qty_lots(grid, quantity),
            self._number,
            number,
            _NEW_ORDER,
            side_code,
            isolation_id or 0,
            order_type,
            tif,
            flags,
            stp,
            leverage or 0,
            reference,
            0,
            trigger,
            expiry_ns or 0,
            0 if margin is None else money(margin, "isolated_margin_amount"),
        )

    def attach_tp_sl(
        self,
        instrument_name: str,
        *,
        take_profit: Number | None = None,
        stop_loss: Number | None = None,
        quantity: Number | None = None,
        ref_price_type: str = "MARK_PRICE",
        isolation_id: int | None = None,
        timestamp_ns: int | None = None,
    ) -> list[OrderResult]:
        """Close a position where it has won or lost enough: reduce-only orders that wait (O1).

        take_profit, stop_loss: USD at which `ref_price_type` closes `quantity` (base units; None:
        all of it now) at market. Given both, one cancels the other. They end with the position.
        isolation_id: the block's; None: the cross position. Returns their OrderResults in that
        order. Raises Rejected: 201 without a position, 613, 229 for a price that is reached
        already; then neither waits.
        """
        number, contract = self._core.listed[instrument_name]
        wanted = [("TAKE_PROFIT", take_profit), ("STOP_LOSS", stop_loss)]
        if take_profit is None and stop_loss is None:
            raise ValueError("nothing to attach: give take_profit, stop_loss or both")
        unit = self._core.unit(self._number, isolation_id or 0)
        state = unit_state(unit, number)
        if not state.qty_lots:
            self._core.send(self._close(
                instrument_name, "MARKET", None, None, isolation_id, False, timestamp_ns))
        lots = contract.grid.quantity(abs(state.qty_lots))
        attached: list[OrderResult] = []
        for order_type, trigger in wanted:
            if trigger is None:
                continue
            try:
                attached.append(self.create_order(
                    instrument_name, "SELL" if state.qty_lots > 0 else "BUY",
                    lots if quantity is None else quantity, type=order_type, ref_price=trigger,
                    ref_price_type=ref_price_type, isolation_id=isolation_id,
                    exec_inst=("REDUCE_ONLY", "ISOLATED_MARGIN") if isolation_id else "REDUCE_ONLY",
                    linked_order_id=attached[0].order_id if attached else None,
                    timestamp_ns=timestamp_ns,
                ))
            except Rejected:
                for result in attached:
                    self.cancel_order(result.order_id, timestamp_ns=timestamp_ns)
                raise
        return attached

    def max_quantity(
        self, instrument_name: str, side: str, **options: Unpack[OrderOptions]
    ) -> Decimal:
        """Largest quantity that `create_order` with these options would accept now (SPEC X2).

        Base units; 0 when not even the smallest order is accepted. It is maximal: one lot more is
        refused. It accounts for margin, limits and the book as they are; each of about 30 previews
        is applied and rolled back.
        """
        _, contract = self._core.listed[instrument_name]
        grid = contract.grid
        low, high = (qty_lots(grid, q) for q in (contract.min_quantity, contract.max_quantity))

        def accepted(lots: int) -> bool:
            return self.preview_order(instrument_name, side, grid.quantity(lots), **options).ok

        return grid.quantity(largest(accepted, low, high))

    def amend_order(
        self,
        order_id: int | None = None,
        *,
        orig_client_oid: int | None = None,
        new_price: Number | None = None,
        new_quantity: Number | None = None,
        new_ref_price: Number | None = None,
        timestamp_ns: int | None = None,
    ) -> OrderResult:
        """Change a live order's price (USD) or total quantity (base units, filled part included).

        Less quantity alone keeps its place in the queue; anything else goes to the end of its
        level, or takes, as a new order would (SPEC O2). `new_ref_price` (USD): the trigger of an
        order that still waits for it. Name the order by `order_id`, or by `orig_client_oid`.
        Returns an OrderResult whose quantity is what was left to fill.
        Raises Rejected: 212 when it is not live, 213 when the total is not above what is filled,
        40001 for a trigger of an order that waits for none, and what create_order raises; the
        order then stays as it was.
        """
        return self._core.send_order(
            self._amend(
                order_id, orig_client_oid, new_price, new_quantity, new_ref_price, timestamp_ns
            )
        )

    def preview_amend_order(
        self,
        order_id: int | None = None,
        *,
        orig_client_oid: int | None = None,
        new_price: Number | None = None,
        new_quantity: Number | None = None,
        new_ref_price: Number | None = None,
        timestamp_ns: int | None = None,
    ) -> Preview:
        """What `amend_order` with the same arguments would do; nothing changes (SPEC X1)."""
        return self._core.preview(
            self._amend(
                order_id, orig_client_oid, new_price, new_quantity, new_ref_price, timestamp_ns
            )
        )

    def _amend(
        self,
        order_id: int | None,
        orig_client_oid: int | None,
        new_price: Number | None,
        new_quantity: Number | None,
        new_ref_price: Number | None,
        timestamp_ns: int | None,
    ) -> NDArray[np.void]:
        if new_price is None and new_quantity is None and new_ref_price is None:
            raise ValueError("nothing to amend: give new_price, new_quantity or new_ref_price")
        live = self._find(order_id, orig_client_oid)
        grid = self._core.contracts[live["contract"]].grid
        return commands.amend(
            account=self._number,
            timestamp_ns=self._core.stamp(timestamp_ns),
            order_id=live["order_id"],
            price_ticks=0 if new_price is None else price_ticks(grid, new_price, "new_price"),
            qty_lots=0 if new_quantity is None else qty_lots(grid, new_quantity),
            trigger_price_ticks=(
                0 if new_ref_price is None
                else price_ticks(grid, new_ref_price, "new_ref_price")
            ),
        )

    def _find(self, order_id: int | None, client_oid: int | None) -> dict[str, Any]:
        """A live order by either id; raises Unknown (212)."""
        if (order_id is None) == (client_oid is None):
            raise ValueError("name the order by its order_id or by its client_oid: one of them")
        for live in self._core.engine.orders(self._number):
            own = live["order_id"] if order_id is not None else live["client_order_id"]
            if own == (order_id if order_id is not None else client_oid):
                return live
        what = f"order_id {order_id}" if order_id is not None else f"client_oid {client_oid}"
        raise Unknown(
            Code.INVALID_ORDER_ID,
            f"{self.name} has no live order with {what}: it is filled, cancelled, or another "
            "account's; open_orders lists the live ones",
        )

    def cancel_order(
        self,
        order_id: int | None = None,
        *,
        client_oid: int | None = None,
        timestamp_ns: int | None = None,
    ) -> Events:
        """Cancel a live order; its reserve returns (SPEC O2, I3). Returns the events.

        Raises Rejected (212) when the account has no such live order.
        """
        if (order_id is None) == (client_oid is None):
            raise ValueError("name the order by its order_id or by its client_oid: one of them")
        return self._core.send(
            commands.cancel(
                account=self._number, timestamp_ns=self._core.stamp(timestamp_ns),
                order_id=order_id or 0, client_order_id=client_oid or 0,
            )
        )

    def cancel_all_orders(
        self,
        instrument_name: str | None = None,
        *,
        scope: str = "ALL",
        timestamp_ns: int | None = None,
    ) -> list[int]:
        """Cancel all orders, on one contract or on every one; their order ids, ascending.

        scope: "ALL" | "CROSS" | "ISOLATED" (SPEC O2).
        """
        number = NO_CONTRACT
        if instrument_name is not None:
            number, _ = self._core.listed[instrument_name]
        events = self._core.send(
            commands.cancel_all(
                account=self._number, timestamp_ns=self._core.stamp(timestamp_ns),
                contract=number, scope=known(scope, commands.SCOPES, "scope",
                                             Code.INVALID_ARGUMENT),
            )
        )
        own = (events["kind"] == EventKind.CANCELLED) & (events["account"] == self._number)
        return [int(order_id) for order_id in events[own]["order_id"]]

    def cancel_all_after(
        self, expiry_ns: int | None, *, timestamp_ns: int | None = None
    ) -> Events:
        """The dead man's switch: all orders end at `expiry_ns` unless it is set anew (SPEC O6).

        None disarms it. Returns the events. Raises Rejected (40001) for a time that is not after
        now. `cancel_after_ns` says what is set.
        """
        return self._core.send(
            commands.cancel_all_after(
                account=self._number, expiry_ns=expiry_ns or 0,
                timestamp_ns=self._core.stamp(timestamp_ns),
            )
        )

    @property
    def cancel_after_ns(self) -> int | None:
        """When all orders end, ns; None while the dead man's switch is off (SPEC O6)."""
        return int(self._core.engine.unit(self._number)["cancel_after_ns"]) or None

    def close_position(
        self,
        instrument_name: str,
        *,
        type: str = "MARKET",
        price: Number | None = None,
        quantity: Number | None = None,
        isolation_id: int | None = None,
        release_margin: bool = False,
        timestamp_ns: int | None = None,
    ) -> OrderResult:
        """Close a position with a reduce-only order of the opposite side (SPEC O2, I10, I11).

        type: "MARKET", or "LIMIT" with `price` (USD). quantity: base units, None for all of it.
        isolation_id: the block's; None: the cross position. `release_margin`: a partial close also
        moves its share of the block's cash to main, as far as margin allows.
        Returns an OrderResult. Raises Rejected: 201 without a position, 613 for no open block, and
        what an order may raise. Closing is never stopped by eligibility.
        """
        return self._core.send_order(
            self._close(
                instrument_name, type, price, quantity, isolation_id, release_margin, timestamp_ns
            )
        )

    def preview_close_position(
        self,
        instrument_name: str,
        *,
        type: str = "MARKET",
        price: Number | None = None,
        quantity: Number | None = None,
        isolation_id: int | None = None,
        release_margin: bool = False,
        timestamp_ns: int | None = None,
    ) -> Preview:
        """What `close_position` with the same arguments would do; nothing changes (SPEC X1)."""
        return self._core.preview(
            self._close(
                instrument_name, type, price, quantity, isolation_id, release_margin, timestamp_ns
            )
        )

    def _close(
        self,
        instrument_name: str,
        type: str,
        price: Number | None,
        quantity: Number | None,
        isolation_id: int | None,
        release_margin: bool,
        timestamp_ns: int | None,
    ) -> NDArray[np.void]:
        number, contract = self._core.listed[instrument_name]
        order_type = known(type, commands.TYPES, "type", Code.INVALID_ORDER_TYPE)
        if (order_type == OrderType.LIMIT) != (price is not None):
            raise ValueError("type LIMIT goes with a price, type MARKET without one")
        return commands.close_position(
            account=self._number,
            contract=number,
            timestamp_ns=self._core.stamp(timestamp_ns),
            isolation_id=isolation_id or 0,
            price_ticks=0 if price is None else price_ticks(contract.grid, price),
            qty_lots=0 if quantity is None else qty_lots(contract.grid, quantity),
            release_margin=release_margin,
        )

    def set_leverage(
        self, instrument_name: str, leverage: int, *, timestamp_ns: int | None = None
    ) -> Events:
        """Set main's leverage on a contract, a whole number (SPEC C6). Returns the events.

        Up always works within eligibility; resting orders keep their reserves. Down raises Rejected
        (306, with what is missing) unless MB - IM - order margin >= 0 holds at the new leverage.
        226: outside 1 to the contract's largest. A block's own is `Block.set_leverage`.
        """
        return self._core.send(self._leverage(instrument_name, leverage, timestamp_ns))

    def preview_leverage(
        self, instrument_name: str, leverage: int, *, timestamp_ns: int | None = None
    ) -> Preview:
        """What `set_leverage` with the same arguments would do; nothing changes (SPEC X1)."""
        return self._core.preview(self._leverage(instrument_name, leverage, timestamp_ns))

    def _leverage(
        self, instrument_name: str, leverage: int, timestamp_ns: int | None
    ) -> NDArray[np.void]:
        number, _ = self._core.listed[instrument_name]
        return commands.set_leverage(
            account=self._number, contract=number, leverage=leverage,
            timestamp_ns=self._core.stamp(timestamp_ns),
        )

    # Isolated margin ---------------------------------------------------------------------------

    def isolated(self, instrument_name: str, isolation_id: int | None = None) -> Block:
        """The open block on a contract, as a handle that stays readable after the block's end.

        `isolation_id` names a block of the past too. Raises Unknown (613) when there is none.
        """
        number, _ = self._core.listed[instrument_name]
        if isolation_id is not None:
            if not 1 <= isolation_id < self._core.engine.next_isolation_id:
                raise Unknown(
                    Code.INVALID_ISOLATION_ID,
                    f"{isolation_id} is no block: none has had that number yet",
                )
            return Block(self._core, self._number, number, isolation_id)
        for block in self.blocks:
            if block.instrument_name == instrument_name:
                return block
        raise Unknown(
            Code.INVALID_ISOLATION_ID,
            f"{self.name} has no open block on {instrument_name}: an order with "
            "exec_inst='ISOLATED_MARGIN' makes one",
        )

    @property
    def blocks(self) -> list[Block]:
        """The open blocks (PENDING or OPEN), oldest first."""
        return [
            Block(
                self._core, self._number,
                self._core.contract_of_block(self._number, isolation_id, 0), isolation_id,
            )
            for isolation_id in sorted(self._core.engine.blocks(self._number))
        ]

    # Money -------------------------------------------------------------------------------------

    def deposit(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Events:
        """Pay in USD or USDC. Returns the events. USDC needs its index first (207)."""
        return self._core.send(self._money(commands.deposit, amount, currency, timestamp_ns))

    def withdraw(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Events:
        """Pay out USD or USDC, at most `withdrawable` (SPEC C5). Returns the events.

        Raises Rejected: 30024 with what is withdrawable, 202 when suspended.
        """
        return self._core.send(self._money(commands.withdraw, amount, currency, timestamp_ns))

    def preview_withdraw(
        self, amount: Number, currency: str = "USD", *, timestamp_ns: int | None = None
    ) -> Preview:
        """What `withdraw` with the same arguments would do; nothing changes (SPEC X1)."""
        return self._core.preview(self._money(commands.withdraw, amount, currency, timestamp_ns))

    def _money(
        self, builder: Any, amount: Number, name: str, timestamp_ns: int | None
    ) -> NDArray[np.void]:
        record: NDArray[np.void] = builder(
            account=self._number, amount_units=money(amount), currency=currency(name),
            timestamp_ns=self._core.stamp(timestamp_ns),
        )
        return record

    def _main(self, field: str) -> Decimal:
        return from_units(self._core.engine.unit(self._number)[field])

    @property
    def cash(self) -> dict[str, Decimal]:
        """Cash of main: {"USD": ..., "USDC": ...}. Blocks' cash is apart (SPEC I4)."""
        main = self._core.engine.unit(self._number)
        return {"USD": from_units(main["cash_units"]), "USDC": from_units(main["usdc_units"])}

    @property
    def collateral(self) -> Decimal:
        """USD: cash + floor(index x USDC), by policy less its haircut (SPEC A4)."""
        return self._main("collateral_units")

    @property
    def unrealized_pnl(self) -> Decimal:
        """USD: sum of position x mark - cost over cross positions."""
        return self._main("upnl_units")

    @property
    def margin_balance(self) -> Decimal:
        """USD: collateral + unrealized PnL - fee reserve, rounded down (SPEC C2)."""
        return self._main("mb_units")

    @property
    def initial_margin(self) -> Decimal:
        """USD: ceil(notional x margin rate) over cross positions, haircut included (SPEC C1)."""
        return self._main("im_units")

    @property
    def maintenance_margin(self) -> Decimal:
        """USD, rounded up; margin balance below it means liquidation (SPEC C1, Q1)."""
        return self._main("mm_units")

    @property
    def order_margin(self) -> Decimal:
        """USD: per contract the larger of buy and sell reserves, summed (SPEC C3)."""
        return self._main("order_margin_units")

    @property
    def available(self) -> Decimal:
        """USD: max(0, margin balance - initial margin - order margin) (SPEC C2)."""
        return self._main("available_units")

    @property
    def transferable(self) -> Decimal:
        """USD that may move into a block: the smaller of available and collateral (SPEC C2)."""
        return self._main("transferable_units")

    @property
    def withdrawable(self) -> dict[str, Decimal]:
        """{"USD": ..., "USDC": ...}; each is maximal by itself: one unit more is refused (C5)."""
        main = self._core.engine.unit(self._number)
        return {
            "USD": from_units(main["withdrawable_usd_units"]),
            "USDC": from_units(main["withdrawable_usdc_units"]),
        }

    @property
    def session_pnl(self) -> Decimal:
        """USD: main's session PnL; as far as it is positive it is locked until settled (S5)."""
        return self._main("session_pnl_units")

    @property
    def locked_profit(self) -> Decimal:
        """USD of earlier sessions' profit that is still locked (SPEC S5)."""
        return self._main("kept_units")

    def adl_rank(self, instrument_name: str) -> int | None:
        """Place of main's position in the queue of auto-deleveraging, 1 first (SPEC Q4).

        None without a position on the contract.
        """
        return self._core.adl_rank(self._core.listed[instrument_name][0], self._number, None)

    def explain(self) -> str:
        """The liquidation test of main in whole numbers, over all its positions (SPEC Q1, X3)."""
        from perpcore.explain import explain_unit

        return explain_unit(self._core, self._number, 0)

    @property
    def margin_call(self) -> bool:
        """Whether main is in a margin call (SPEC C4)."""
        return bool(self._core.engine.unit(self._number)["margin_call"])

    @property
    def isolated_margin(self) -> Decimal:
        """USD in the open blocks, position and order cash; no part of main's margin (SPEC I4)."""
        blocks = (block.margin + block.order_margin for block in self.blocks)
        return sum(blocks, Decimal(0))

    # Positions and orders ----------------------------------------------------------------------

    @property
    def positions(self) -> list[Position]:
        """Cross positions by contract, then those of blocks by isolation id."""
        main = self._core.engine.unit(self._number)
        found = [
            position_of(self._core, leg, None) for leg in main["legs"] if leg["qty_lots"]
        ]
        return found + [block.position for block in self.blocks if block.position is not None]

    @property
    def open_orders(self) -> list[Order]:
        """Live orders, cross and isolated, by order id."""
        live = self._core.engine.orders(self._number)
        return [self._order_of(order) for order in sorted(live, key=lambda o: o["order_id"])]

    def order(self, order_id: int) -> Order:
        """A live order by its id; raises Unknown (212) when it is not live."""
        return self._order_of(self._find(order_id, None))

    def _order_of(self, live: dict[str, Any]) -> Order:
        contract = self._core.contracts[live["contract"]]
        grid, flags = contract.grid, live["exec_flags"]
        return Order(
            order_id=live["order_id"],
            client_oid=live["client_order_id"] or None,
            isolation_id=live["isolation_id"] or None,
            instrument_name=contract.symbol,
            side=side_word(live["side"]),
            price=grid.price(live["price"]) if live["price"] else None,
            quantity=grid.quantity(live["left"] + live["filled"]),
            cumulative_quantity=grid.quantity(live["filled"]),
            time_in_force=TIF_WORDS[live["time_in_force"]],
            exec_inst=tuple(text for bit, text in EXEC_WORDS if flags & bit),
            leverage=live["leverage"] or None,
            reserved=from_units(live["reserve"]),
            type=CONDITIONAL_WORDS.get(live["trigger_type"], "LIMIT"),
            ref_price=grid.price(live["trigger_price"]) if live["trigger_type"] else None,
            ref_price_type=REFERENCE_WORDS[live["trigger_by"]] if live["trigger_type"] else None,
            linked_order_id=live["linked"] or None,
        )


_TYPES = {**commands.TYPES, **commands.CONDITIONALS}
_LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TAKE_PROFIT_LIMIT)
_NEW_ORDER = int(Kind.NEW_ORDER)

#: side, type, time_in_force, exec_inst and stp_inst of an order as a caller writes them.
Shape = tuple[str, str, str | None, str | Iterable[str] | None, str | None]
#: Numbers of these words, whether the order has a limit, and whether it waits for a trigger.
ShapeNumbers = tuple[int, int, int, int, int, bool, bool]


class _Shapes(dict[Shape, ShapeNumbers]):
    """Orders are written in few ways, so each is read once."""

    def __missing__(self, shape: Shape) -> ShapeNumbers:
        numbers = _read_shape(shape)
        # Words are few; numbers in their place are not, and a list can change.
        if all(part is None or isinstance(part, str) for part in shape):
            self[shape] = numbers
        return numbers


def _read_shape(shape: Shape) -> ShapeNumbers:
    side, type, time_in_force, exec_inst, stp_inst = shape
    order_type = known(type, _TYPES, "type", Code.INVALID_ORDER_TYPE)
    limited = order_type in _LIMITS
    tif = time_in_force or ("GTC" if limited else 0)
    words = [exec_inst] if isinstance(exec_inst, str) else exec_inst or ()
    flags = 0
    for text in words:
        flags |= known(text, commands.EXEC_INSTS, "exec_inst", Code.INVALID_EXEC_INST)
    return (
        known(side, commands.SIDES, "side", Code.INVALID_SIDE),
        order_type,
        known(tif, commands.TIMES_IN_FORCE, "time_in_force", Code.INVALID_TIME_IN_FORCE),
        flags,
        known(stp_inst or 0, commands.SELF_TRADES, "stp_inst", Code.INVALID_ARGUMENT),
        limited,
        order_type in CONDITIONAL_WORDS,
    )


_SHAPES = _Shapes()
