"""What can go wrong, and what to do then: refusals with the venue's numbers, and misuse.

Three kinds of failure never mix. A refusal is the venue's answer to a command that its rules do not
allow: `Rejected` from a single call, a REJECT event in a batch; nothing changed. Misuse of this
interface (a wrong type, an unknown name) is a TypeError, ValueError or LookupError; no command was
sent. A failed check inside the core is a fault of the core and ends the process at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from perpcore.amounts import NotOnGrid, from_units, plain, to_decimal
from perpcore.codes import Code, Currency, ExecFlag, Kind, OrderType, Side
from perpcore.contracts import Contract


class Rejected(Exception):
    """A command that the venue refused; nothing changed but its clock.

    code: the venue's number as `perpcore.Code`, equal to the int and with a name:
        `error.code == 306`, `error.code.name == "INSUFFICIENT_BALANCE"`; docs/rejects.md lists all.
    name: the code's name.
    needed, available: Decimal, what the command needs and what there is, where the code is about
        an amount (USD for money, base units for sizes, USD for prices); else None.
    nearest: Decimal, the nearest price or size that would pass this check; else None.
    events: the command's events (n,) EVENT, the REJECT among them; None when nothing was sent.
    The message says what was wrong, where, and the cure.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        needed: Decimal | None = None,
        available: Decimal | None = None,
        nearest: Decimal | None = None,
        events: Any = None,
    ) -> None:
        self.code = Code(code)
        self.name = self.code.name
        self.needed, self.available, self.nearest = needed, available, nearest
        self.events = events
        super().__init__(f"{int(code)} {self.name}: {message}")

    @property
    def message(self) -> str:
        """What was wrong, where, and the cure, with the code in front."""
        return str(self.args[0])


class OffGrid(Rejected, ValueError):
    """A price, size or amount that lies between two steps of its grid; no command was sent.

    code 308 for prices, 213 for sizes, 40001 for money and rates. `nearest` is the nearer of
    `below` and `above`. It is a ValueError too, because the number was never valid.
    """

    def __init__(self, code: int, error: NotOnGrid, what: str, step: str) -> None:
        below, above = error.below, error.above
        nearest = below if error.value - below <= above - error.value else above
        super().__init__(
            code,
            f"{what} {plain(error.value)} is not on the grid of {step} {plain(error.step)}: give "
            f"{plain(below)} or {plain(above)}",
            needed=error.value,
            nearest=nearest,
        )
        self.below, self.above, self.step = below, above, error.step


class Unknown(Rejected, LookupError, ValueError):
    """A word or name that the venue does not know; no command was sent.

    code 209 for contracts, 210 accounts, 211 currencies, 218 type, 219 exec_inst, 220 side,
    221 time_in_force, 613 blocks. The message lists what is known.
    """


# Two names have the number of the first administrative kind; the later one says what it does.
_KINDS = {
    int(number): name.lower().replace("_", " ") for name, number in Kind.__members__.items()
}
_ON_CONTRACT = (
    Kind.NEW_ORDER, Kind.CLOSE_POSITION, Kind.SET_LEVERAGE, Kind.ADD_MARGIN, Kind.REMOVE_MARGIN,
)


@dataclass(frozen=True)
class Context:
    """What a message may speak of: the command, its REJECT event, and the names of both."""

    command: Any
    event: Any
    who: str
    contract: Contract | None

    def __getitem__(self, name: str) -> int:
        return int(self.command[name])

    @property
    def where(self) -> str:
        """'this BUY of 0.05 BTCUSD-PERP by ann', or the kind of command where it is no order."""
        kind = self["kind"]
        if kind >= Kind.ADMIN_FIRST:
            return f"{self.kind} by administration"
        if kind == Kind.NEW_ORDER and self.contract is not None:
            side = {int(Side.BUY): "BUY", int(Side.SELL): "SELL"}.get(self["side"], "order")
            return f"this {side} of {self.size} {self.symbol} by {self.who}"
        on = f" on {self.symbol}" if self.contract is not None and kind in _ON_CONTRACT else ""
        return f"this {self.kind}{on} by {self.who}"

    @property
    def kind(self) -> str:
        """The kind of command in words: 'cancel all'."""
        return _KINDS.get(self["kind"], str(self["kind"]))

    @property
    def symbol(self) -> str:
        """The contract's name, or its number when there is none."""
        return self.contract.symbol if self.contract else f"contract {self['contract']}"

    @property
    def block(self) -> str:
        """'block 3', or 'main' where none is meant."""
        return f"block {self['isolation_id']}" if self["isolation_id"] else "main"

    @property
    def size(self) -> str:
        """The command's size in base units."""
        return self.lots(self["qty_lots"])

    @property
    def price(self) -> str:
        """The command's price in USD."""
        return self.ticks(self["price_ticks"])

    @property
    def needed(self) -> Decimal:
        """Money that the REJECT event says is needed."""
        return from_units(int(self.event["amount_units"]))

    @property
    def available(self) -> Decimal:
        """Money that the REJECT event says is there; may be negative."""
        return from_units(int(self.event["balance_units"]))

    @property
    def money(self) -> str:
        """The currency of needed and available: the command's, USD where it names none."""
        return "USDC" if self["currency"] == Currency.USDC else "USD"

    @property
    def short(self) -> str:
        """needed - available."""
        return plain(self.needed - self.available)

    @property
    def nearest_price(self) -> str:
        """Nearest valid price of the REJECT event."""
        return self.ticks(int(self.event["price_ticks"]))

    @property
    def nearest_size(self) -> str:
        """Limit or nearest valid size of the REJECT event."""
        return self.lots(int(self.event["qty_lots"]))

    def ticks(self, ticks: int) -> str:
        """Ticks in USD."""
        return plain(self.contract.grid.price(ticks)) if self.contract else f"{ticks} ticks"

    def lots(self, lots: int) -> str:
        """Lots in base units."""
        return plain(self.contract.grid.quantity(lots)) if self.contract else f"{lots} lots"


Sentence = Callable[[Context], str]
_BECOME_MARKET = (OrderType.STOP_LOSS, OrderType.TAKE_PROFIT)
_C = Code

#: Codes whose needed and available are money, whose nearest is a price, whose nearest is a size.
MONEY = frozenset({
    _C.INSUFFICIENT_BALANCE, _C.EXCEEDS_INITIAL_MARGIN, _C.EXCEEDS_REMOVABLE,
    _C.EXCEEDS_WITHDRAWABLE, _C.EXCEEDS_ACCOUNT_NOTIONAL,
})
PRICES = frozenset({
    _C.INVALID_PRICE, _C.PRICE_ABOVE_LIMIT, _C.PRICE_BELOW_LIMIT, _C.FAR_AWAY_PRICE,
})
SIZES = frozenset({
    _C.INVALID_ORDER_QTY, _C.EXCEEDS_MAX_ORDER_SIZE, _C.EXCEEDS_MAX_POSITION,
    _C.BELOW_MIN_ORDER_SIZE, _C.REDUCE_ONLY_REJECTED,
})


def _leverage(c: Context) -> str:
    if c.contract is None:
        return f"leverage {c['leverage']} is not allowed: give 1 or more"
    most = c.contract.max_leverage
    if c["kind"] == Kind.NEW_ORDER and not c["leverage"]:
        return f"a new block needs its leverage: give leverage, a whole number from 1 to {most}"
    if not 1 <= c["leverage"] <= most:
        return (
            f"leverage {c['leverage']} is not from 1 to {most}, the largest of {c.symbol}: give a "
            "whole number in that range"
        )
    if c["kind"] == Kind.NEW_ORDER and c["isolation_id"]:
        return (
            f"leverage {c['leverage']} is not that of {c.block}: leave it out, or change the "
            "block's leverage first (set_leverage), or stay below the account's own limit"
        )
    return (
        f"leverage {c['leverage']} is above the largest that eligibility gives {c.who}: lower it, "
        "or have administration raise Eligibility.max_leverage"
    )


def _insufficient(c: Context) -> str:
    return (
        f"{c.where} needs {plain(c.needed)} {c.money} and {plain(c.available)} {c.money} is free "
        f"in main: deposit {c.short} {c.money} more, ask for less, or free money (cancel orders, "
        "close positions)"
    )


def _initial_margin(c: Context) -> str:
    if c["kind"] == Kind.SET_LEVERAGE:
        return (
            f"leverage {c['leverage']} of {c.block} needs {plain(c.needed)} USD more margin: "
            "add_margin first, or set auto_top_up"
        )
    return (
        f"isolated_margin_amount {plain(c.available)} USD is below the {plain(c.needed)} USD that "
        f"{c.where} needs: give at least {plain(c.needed)}, or leave it out"
    )


def _band(c: Context) -> str:
    return f"{c.price} USD is too far from the mark for {c.where}: nearest valid price "


def _duplicate(c: Context) -> str:
    return (
        f"client_oid {c['client_order_id']} belongs to a live order of {c.who}: give another, or "
        "cancel that order first"
    )


def _order_id(c: Context) -> str:
    if c["kind"] == Kind.NEW_ORDER:
        return (
            f"linked_order_id {c['order_id']} is no live order of the same unit and contract, or "
            "has a link already: name another"
        )
    by_client = not c["order_id"]
    name = "client_oid" if by_client else "order_id"
    return (
        f"{c.who} has no live order with {name} "
        f"{c['client_order_id'] if by_client else c['order_id']}: it is filled, cancelled, or "
        "another account's; open_orders lists the live ones"
    )


def _price(c: Context) -> str:
    nearest = int(c.event["price_ticks"])
    if not nearest:
        return "an order that is, or becomes, MARKET takes no price: leave it out, or give LIMIT"
    off = c["price_ticks"] > nearest if nearest > 1 else c["price_ticks"] < 1
    if c["trigger_price_ticks"] and (not off or c["order_type"] in _BECOME_MARKET):
        trigger = c.ticks(c["trigger_price_ticks"])
        return (
            f"trigger {trigger} USD is outside {c.symbol}'s range: nearest valid price "
            f"{c.nearest_price}"
        )
    return (
        f"price {c.price} USD is outside {c.symbol}'s range: nearest valid price {c.nearest_price}"
    )


def _quantity(c: Context) -> str:
    if c["kind"] == Kind.AMEND:
        return (
            "the new quantity is the order's total and must be above what is filled already: "
            "give more, or cancel the rest"
        )
    return f"quantity {c.size} of {c.symbol} is not above 0: nearest valid size {c.nearest_size}"


def _currency(c: Context) -> str:
    if c["currency"] == Currency.USDC and c["kind"] == Kind.FUND_TOP_UP:
        return "a contract's part of the fund is in USD: give USD, or leave contract out"
    if c["currency"] == Currency.USDC:
        return (
            f"USDC does not stay USDC in a block here, so {c.where} takes USD: give USD (the "
            "policy block_collateral 'in_kind' would keep it)"
        )
    return "the currency is not USD or USDC here: give USD or USDC"


def _amount(c: Context) -> str | None:
    amount = plain(from_units(c["amount_units"]))
    if c["amount_units"] <= 0:
        return f"the amount of {c.where} is {amount}: amounts are above 0"
    if c["kind"] == Kind.FUND_TOP_UP and c["scope"]:
        return (
            "a contract has a part of the fund only with the policy fund_by_contract 'on': leave "
            "contract out; or the amount is beyond what the venue can count"
        )
    if c["kind"] in (Kind.DEPOSIT, Kind.FUND_TOP_UP):
        return f"{amount} more is beyond what the venue can count: {c.where} must be smaller"
    return None


def _marked(c: Context) -> str | None:
    if c.contract is None or c["currency"]:
        return "an index of USDC is from 0.000001 to 10 USD: give one in that range"
    grid, row = c.contract.grid, c.contract.row
    most = int(row["max_price_ticks"]) * grid.marks_per_tick
    if 1 <= c["mark_ticks"] <= most:
        return None
    return (
        f"{plain(grid.mark(c['mark_ticks']))} USD is outside {c.symbol}'s marks: give "
        f"{plain(grid.mark(1))} to {plain(grid.mark(most))}"
    )


def _rate(c: Context) -> str | None:
    if c.contract is None or abs(c["rate_e9"]) <= int(c.contract.row["funding_cap_e9"]):
        return None
    rate, cap = Decimal(c["rate_e9"]).scaleb(-9), to_decimal(c.contract.funding_cap, "funding_cap")
    return (
        f"a rate of {plain(rate)} is beyond {c.symbol}'s largest of one interval: give at most "
        f"{plain(cap)}, of either sign"
    )


def _silence(c: Context) -> str | None:
    return (
        f"expiry_ns {c['expiry_ns']} is not after now ({c['timestamp_ns']}): give a later time, or "
        "None to switch it off"
    )


def _isolated_fields(c: Context) -> str | None:
    given = [
        f"{word} {c[name]}"
        for name, word in (("leverage", "leverage"), ("isolation_id", "isolation_id"))
        if c[name]
    ]
    margin = c["isolated_margin_units"]
    if margin:
        given.append(f"isolated_margin_amount {plain(from_units(margin))}")
    if given and not c["exec_flags"] & ExecFlag.ISOLATED_MARGIN:
        return (
            f"{', '.join(given)}: only an order with exec_inst ISOLATED_MARGIN takes it; add that, "
            "or leave it out (Account.set_leverage is main's leverage)"
        )
    if margin and c["trigger_price_ticks"]:
        return (
            "an order that waits for its trigger takes no isolated_margin_amount: leave it out, it "
            "reserves what it needs when it fires"
        )
    return f"isolated_margin_amount {from_units(margin)} is not above 0" if margin < 0 else None


def _trigger(c: Context) -> str | None:
    if not c["trigger_price_ticks"]:
        return None
    return (
        f"order {c['order_id']} of {c.who} waits for no trigger: leave new_ref_price out; only an "
        "order that waits has one"
    )


#: What 40001 most likely means, by the kind of the command; None: something else.
_ARGUMENTS: dict[int, Callable[[Context], str | None]] = {
    **dict.fromkeys(
        (Kind.DEPOSIT, Kind.WITHDRAW, Kind.ADD_MARGIN, Kind.REMOVE_MARGIN, Kind.FUND_TOP_UP),
        _amount,
    ),
    **dict.fromkeys((Kind.MARK, Kind.INDEX), _marked),
    Kind.FUNDING: _rate,
    Kind.CANCEL_ALL_AFTER: _silence,
    Kind.NEW_ORDER: _isolated_fields,
    Kind.AMEND: _trigger,
}


def _argument(c: Context) -> str:
    likely = _ARGUMENTS.get(c["kind"])
    return (likely and likely(c)) or (
        f"{c.where} has a value out of range, or one in a field that it does not use: amounts "
        "are above 0, unused fields 0"
    )


SENTENCES: dict[Code, Sentence] = {
    _C.UNKNOWN_COMMAND: lambda c: f"{c['kind']} is no kind of command: use perpcore.commands",
    _C.NOT_ADMINISTRATION: lambda c: (
        f"the command {c.kind!r} needs the administration's capability: use the Admin object that "
        "was made with the venue"
    ),
    _C.TIME_GOES_BACK: lambda c: (
        f"timestamp_ns {c['timestamp_ns']} is before the venue's time: give it or later "
        "(Venue.time_ns)"
    ),
    _C.INVALID_ARGUMENT: _argument,
    _C.INVALID_ACCOUNT: lambda c: (
        f"account {c['account']} does not exist: open it (Venue.account); numbers follow each other"
    ),
    _C.INVALID_INSTRUMENT: lambda c: (
        f"contract {c['contract']} does not exist: Venue.contracts lists them; Admin.add_contract "
        "adds one"
    ),
    _C.INVALID_CURRENCY: _currency,
    _C.INVALID_SIDE: lambda c: f"side {c['side']} is not BUY (1) or SELL (2): give one of them",
    _C.INVALID_ORDER_TYPE: lambda c: (
        f"order type {c['order_type']} is not one of LIMIT (1), MARKET (2), STOP_LOSS (3), "
        "STOP_LIMIT (4), TAKE_PROFIT (5), TAKE_PROFIT_LIMIT (6): give one of them"
    ),
    _C.INVALID_TIME_IN_FORCE: lambda c: (
        "time in force does not fit: LIMIT takes GTC, IOC, FOK or GTD with expiry_ns after now; "
        "MARKET takes none or IOC"
    ),
    _C.INVALID_EXEC_INST: lambda c: (
        "exec_inst does not fit: POST_ONLY or SMART_POST_ONLY goes with LIMIT GTC or GTD only, "
        "release_margin with isolated positions only"
    ),
    _C.INVALID_ORDER_QTY: _quantity,
    _C.BELOW_MIN_ORDER_SIZE: lambda c: (
        f"the quantity is below {c.symbol}'s smallest order: give at least {c.nearest_size}"
    ),
    _C.EXCEEDS_MAX_ORDER_SIZE: lambda c: (
        f"the quantity is above {c.symbol}'s largest order: give at most {c.nearest_size}, or "
        "several orders"
    ),
    _C.INVALID_PRICE: _price,
    _C.MARKET_NOT_OPEN: lambda c: (
        f"{c.symbol} is halted: cancel and wait until administration opens it"
    ),
    _C.NO_MARK_PRICE: lambda c: (
        f"{c.where} needs a price that is not known yet: administration marks the contract "
        "(Admin.mark), USDC needs its index (Admin.index)"
    ),
    _C.STALE_MARK_PRICE: lambda c: (
        f"the mark of {c.symbol} is older than the contract allows: wait for the next mark"
    ),
    _C.DUPLICATE_CLIENT_ORDER_ID: _duplicate,
    _C.INVALID_ORDER_ID: _order_id,
    _C.PRICE_ABOVE_LIMIT: lambda c: f"{_band(c)}{c.nearest_price} or below",
    _C.PRICE_BELOW_LIMIT: lambda c: f"{_band(c)}{c.nearest_price} or above",
    _C.FAR_AWAY_PRICE: lambda c: f"{_band(c)}{c.nearest_price}",
    _C.INVALID_ISOLATION_ID: lambda c: (
        f"{c['isolation_id']} is no open block of {c.who}"
        + (f" on {c.symbol}" if c.contract else "")
        + ": leave isolation_id out for a new block; Account.blocks lists the open ones"
    ),
    _C.BLOCK_EXISTS: lambda c: (
        f"{c.who} has an open block on {c.symbol} already: give its isolation_id to add to it"
    ),
    _C.INVALID_LEVERAGE: _leverage,
    _C.REDUCE_ONLY_REJECTED: lambda c: (
        f"{c.who} holds nothing on {c.symbol} ({c.block}) that {c.where} could reduce: leave "
        "REDUCE_ONLY out, or name the position's unit with isolation_id"
    ),
    _C.INVALID_TRIGGER: lambda c: (
        f"the trigger of {c.where} is reached already: move ref_price away, or send the order "
        "without it"
    ),
    _C.MARGIN_WITHOUT_RISK: lambda c: (
        f"{c.where} only reduces, so it takes no isolated_margin_amount: leave it out; add_margin "
        "puts money into a block"
    ),
    _C.NO_POSITION: lambda c: f"{c.who} has no position on {c.symbol} in {c.block} to close",
    _C.ACCOUNT_SUSPENDED: lambda c: (
        f"{c.who} is suspended: only closing and cancelling are possible; administration lifts it "
        "with Admin.eligibility"
    ),
    _C.NO_DERIVATIVES_USER: lambda c: (
        f"{c.who} may not trade derivatives: level ADVANCED, and a citizenship and residence that "
        "the venue does not exclude, are needed (Admin.eligibility)"
    ),
    _C.NO_DERIVATIVES_ACCOUNT: lambda c: (
        f"{c.who} has no derivatives account: administration gives it (Admin.eligibility)"
    ),
    _C.CONTRACT_NOT_ALLOWED: lambda c: (
        f"{c.symbol}, or the currency its margin would come from, is not allowed for {c.who}: "
        "trade another contract, or use allowed collateral (Eligibility.collateral)"
    ),
    _C.NO_ISOLATED_ACCESS: lambda c: (
        f"{c.who} has no access to isolated margin: trade cross, or ask administration "
        "(Eligibility.isolated)"
    ),
    _C.INSTRUMENT_NOT_TRADABLE: lambda c: (
        f"{c.symbol} is reduce-only now: only orders that close are taken"
    ),
    _C.ACCOUNT_IN_MARGIN_CALL: lambda c: (
        f"{c.who} is in a margin call (margin balance below initial margin): deposit or reduce "
        "before opening more"
    ),
    _C.EXCEEDS_MAX_BLOCKS: lambda c: (
        f"{c.who} has as many isolated blocks as an account may have: close one first"
    ),
    _C.EXCEEDS_MAX_POSITION: lambda c: (
        f"{c.where} would pass the position limit {c.nearest_size} of {c.symbol}, resting orders "
        "included: order less, or cancel or close some"
    ),
    _C.EXCEEDS_ACCOUNT_NOTIONAL: lambda c: (
        f"{c.where} would bring the account's notional to {plain(c.needed)} USD, above its limit "
        f"of {plain(c.available)} USD: order less, or close some"
    ),
    _C.EXCEEDS_INITIAL_MARGIN: _initial_margin,
    _C.INSUFFICIENT_BALANCE: _insufficient,
    _C.EXCEEDS_MAX_ORDERS: lambda c: (
        f"{c.who} has as many live orders as an account may have: cancel one first"
    ),
    _C.CAPACITY: lambda c: (
        "the venue has no free record for this: cancel orders, or make the venue larger "
        "(Venue.create)"
    ),
    _C.POST_ONLY_WOULD_TAKE: lambda c: (
        f"at {c.price} USD {c.where} would take: move the price away from the book, or leave "
        "POST_ONLY out"
    ),
    _C.FOK_NOT_FILLED: lambda c: (
        f"the book cannot fill all of {c.where} up to its price: order less, a better price, or "
        "IMMEDIATE_OR_CANCEL"
    ),
    _C.IOC_NOT_FILLED: lambda c: (
        f"nothing in the book fills {c.where} within its price (MARKET: within the band around "
        "the mark): give a better price, or let a LIMIT order rest"
    ),
    _C.SELF_TRADE_PREVENTED: lambda c: (
        f"{c.where} would trade with {c.who}'s own order, cross and isolated being one owner: "
        "cancel that order, or set stp_inst M"
    ),
    _C.IMMEDIATE_LIQUIDATION: lambda c: (
        f"after {c.where} the unit would be below maintenance margin: add margin, order less, or "
        "at a better price"
    ),
    _C.BEYOND_BANKRUPTCY: lambda c: (
        f"{c.where} would close at a loss that its unit cannot pay: add margin, or close at a "
        "better price"
    ),
    _C.POSITION_IN_LIQUIDATION: lambda c: (
        f"the position of {c.who} is being liquidated: wait for its end"
    ),
    _C.EXCEEDS_REMOVABLE: lambda c: (
        f"{plain(c.needed)} {c.money} is more than the {plain(c.available)} {c.money} removable "
        f"from {c.block}: remove at most that; a position that is not in profit keeps its margin"
    ),
    _C.EXCEEDS_WITHDRAWABLE: lambda c: (
        f"{plain(c.needed)} {c.money} is more than the {plain(c.available)} withdrawable by "
        f"{c.who}: "
        "withdraw at most that; unrealized and this session's profit, margin and reserves stay"
    ),
}


def rejection(context: Context, events: Any = None) -> Rejected:
    """The refusal of a REJECT event in words; see `Venue.explain_reject`."""
    code = Code(int(context.event["code"]))
    sentence = SENTENCES.get(code)
    message = sentence(context) if sentence else f"{context.where} was refused"
    needed = available = nearest = None
    grid = context.contract.grid if context.contract else None
    if code in MONEY:
        needed, available = context.needed, context.available
    elif code in PRICES and grid is not None:
        needed = grid.price(context["price_ticks"])
        nearest = grid.price(int(context.event["price_ticks"]))
    elif code in SIZES and grid is not None:
        needed = grid.quantity(context["qty_lots"])
        nearest = grid.quantity(int(context.event["qty_lots"]))
        available = nearest
    return Rejected(
        code, message, needed=needed, available=available, nearest=nearest, events=events
    )
