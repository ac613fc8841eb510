"""nautilus_trader's matching engine and margin account behind the shapes of `books` and `scans`.

Its matching engine is a venue's stand-in for backtests: it fills one user's orders against a feed
of somebody else's. So resting orders and their cancels reach it as changes of an L3 book, and the
takers are its user's IOC orders. It does not take what it has filled out of the book; the changes
that say so follow each taker, as a feed would bring them. Objects are made before the clock starts.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import books
import measure
import numpy as np
from nautilus_trader.accounting.accounts.margin import MarginAccount
from nautilus_trader.backtest.engine import OrderMatchingEngine
from nautilus_trader.backtest.models import FillModel, MakerTakerFeeModel
from nautilus_trader.cache.cache import Cache
from nautilus_trader.common.component import MessageBus, TestClock
from nautilus_trader.common.factories import OrderFactory
from nautilus_trader.model.currencies import BTC, USD
from nautilus_trader.model.data import BookOrder, OrderBookDelta
from nautilus_trader.model.enums import (
    AccountType,
    BookAction,
    BookType,
    OmsType,
    OrderSide,
    PositionSide,
    TimeInForce,
)
from nautilus_trader.model.events import OrderFilled
from nautilus_trader.model.identifiers import (
    AccountId,
    InstrumentId,
    StrategyId,
    Symbol,
    TraderId,
    Venue,
)
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Price, Quantity
from nautilus_trader.test_kit.stubs.events import TestEventStubs

from perpcore.book import OrderBook
from perpcore.margin import MarginTerms

ACCOUNT = AccountId("PEER-1")
SIDES = {books.BUY: OrderSide.BUY, books.SELL: OrderSide.SELL}
LEVERAGE = 20
HALF_A_CENT = 500_000


def instrument() -> Any:
    """Prices and sizes in whole units of 1, margin 1 / leverage and half of it."""
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSD-PERP"), Venue("PEER")),
        raw_symbol=Symbol("BTCUSD-PERP"), base_currency=BTC, quote_currency=USD,
        settlement_currency=USD, is_inverse=False, price_precision=0, size_precision=0,
        price_increment=Price(1, 0), size_increment=Quantity(1, 0), ts_event=0, ts_init=0,
        margin_init=Decimal(1), margin_maint=Decimal("0.5"), maker_fee=Decimal(0),
        taker_fee=Decimal(0),
    )  # fmt: skip


class Nautilus(books.Peer):
    name = "nautilus_trader OrderMatchingEngine"
    leaves_out = "makers are a feed: no maker ids, no depletion, no order of its own meets another"
    tells_makers = False

    def __init__(self, flow: Any) -> None:
        clock, trader, cache = TestClock(), TraderId("PEER-001"), Cache()
        bus = MessageBus(trader, clock)
        self.instrument = instrument()
        cache.add_instrument(self.instrument)
        self.engine = OrderMatchingEngine(
            self.instrument, 0, FillModel(), MakerTakerFeeModel(), BookType.L3_MBO,
            OmsType.NETTING, AccountType.MARGIN, bus, cache, clock,
        )  # fmt: skip
        self.factory = OrderFactory(trader, StrategyId("PEER-001"), clock)
        bus.register("ExecEngine.process", self.take)
        #: The same flow, to know which makers a taker has met and what is left of them.
        self.shadow = OrderBook(flow.max_price_ticks, flow.capacity)
        self.resting: dict[int, Any] = {}
        self.order: Any = None
        self.fills: list[Any] = []

    def take(self, event: Any) -> None:
        """What its execution engine does with an event, as far as a fill needs it."""
        self.order.apply(event)
        if isinstance(event, OrderFilled):
            self.fills.append(event)

    def change(self, action: Any, order: Any, order_id: int) -> Any:
        return OrderBookDelta(self.instrument.id, action, order, 0, order_id, 0, 0)

    def prepare(self, rows: list[books.Row]) -> list[tuple[Any, list[Any]]]:
        """(its user's order or None, changes of the feed that follow) for every command."""
        made = []
        for order_id, target, side, price, lots, ioc in rows:
            if not order_id:
                self.shadow.cancel(target)
                gone = self.resting.pop(target)
                made.append((None, [self.change(BookAction.DELETE, gone, target)]))
                continue
            self.shadow.add(order_id, side, price, lots, books.LIMIT, books.IOC if ioc else 0)
            trades = self.shadow.last_trades()
            changes = [self.after(trade) for trade in trades]
            left = lots - int(trades["qty_lots"].sum())
            if left and not ioc:
                rests = BookOrder(SIDES[side], Price(price, 0), Quantity(left, 0), order_id)
                self.resting[order_id] = rests
                changes.append(self.change(BookAction.ADD, rests, order_id))
            made.append((self.taker(side, price, lots) if ioc or left < lots else None, changes))
        return made

    def taker(self, side: int, price: int, lots: int) -> Any:
        order = self.factory.limit(
            self.instrument.id, SIDES[side], Quantity(lots, 0), Price(price, 0),
            time_in_force=TimeInForce.IOC,
        )  # fmt: skip
        order.apply(TestEventStubs.order_submitted(order, account_id=ACCOUNT))
        return order

    def after(self, trade: Any) -> Any:
        """The change that takes a fill out of the feed's book."""
        maker = int(trade["maker_order_id"])
        before = self.resting.pop(maker)
        left = int(before.size) - int(trade["qty_lots"])
        if not left:
            return self.change(BookAction.DELETE, before, maker)
        rests = BookOrder(before.side, before.price, Quantity(left, 0), maker)
        self.resting[maker] = rests
        return self.change(BookAction.UPDATE, rests, maker)

    def run(self, rows: list[Any]) -> list[Any]:
        change, process = self.engine.process_order_book_delta, self.engine.process_order
        self.fills = []
        for order, changes in rows:
            if order is not None:
                self.order = order
                process(order, ACCOUNT)
            for delta in changes:
                change(delta)
        return self.fills

    def trades(self, found: list[Any]) -> list[books.Trade]:
        return [(0, int(fill.last_px), int(fill.last_qty)) for fill in found]


def margins(count: int) -> list[tuple[str, str, float]]:
    """(who, what it leaves out, median ns): initial and maintenance margin of one position."""
    rng = np.random.default_rng(5)
    rows = list(zip(
        rng.integers(1, 1_000, count).tolist(), rng.integers(10_000, 100_000, count).tolist(),
        strict=True,
    ))  # fmt: skip
    of_peer = [(Quantity(lots, 0), Price(price, 0)) for lots, price in rows]
    made, account = instrument(), MarginAccount(TestEventStubs.margin_account_state(ACCOUNT))
    account.set_default_leverage(Decimal(LEVERAGE))
    # Money units are 1e-8 USD: one tick x one lot is 1 USD, as the peer's.
    terms = MarginTerms(
        value_units=10**8, max_leverage=LEVERAGE, maintenance_share_e4=5_000, max_mark_ticks=200_000
    )

    def theirs() -> list[Any]:
        initial, maintenance = account.calculate_margin_init, account.calculate_margin_maint
        return [
            (initial(made, lots, price), maintenance(made, PositionSide.LONG, lots, price))
            for lots, price in of_peer
        ]

    def ours() -> list[Any]:
        initial, maintenance = terms.initial_margin, terms.maintenance_margin
        return [(initial(lots, price), maintenance(lots, price)) for lots, price in rows]

    times: list[tuple[float, float]] = []
    for _ in range(measure.ROUNDS):
        ours_ns, found = measure.timed(ours)
        theirs_ns, answers = measure.timed(theirs)
        for exact, pair in zip(found, answers, strict=True):
            for units, amount in zip(exact, pair, strict=True):
                assert abs(units - int(amount.as_decimal() * 10**8)) <= HALF_A_CENT
        times.append((ours_ns / count, theirs_ns / count))
    ours_at, theirs_at = (float(np.median(column)) for column in zip(*times, strict=True))
    return [
        ("perpcore MarginTerms, initial and maintenance", "nothing: exact in 1e-8 USD", ours_at),
        ("nautilus_trader MarginAccount, the same two", "rounds to cents; one rate for all sizes",
         theirs_at),
    ]  # fmt: skip
