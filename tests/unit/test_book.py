"""The order book alone, case by case: every code, its place in the order of checks, every edge."""

from __future__ import annotations

import importlib
import threading
from pathlib import Path

import numpy as np
import pytest

from perpcore.book import (
    BOOK_COMMAND,
    BOOK_TRADE,
    Applied,
    BookBusy,
    BookKind,
    OrderBook,
    RestingOrder,
)
from perpcore.codes import Code, ExecFlag, OrderType, SelfTrade, Side, TimeInForce

BUY, SELL = Side.BUY, Side.SELL
LIMIT, MARKET = OrderType.LIMIT, OrderType.MARKET
GTC, IOC, FOK = TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK
MAKER, TAKER, BOTH = SelfTrade.STP_MAKER, SelfTrade.STP_TAKER, SelfTrade.STP_BOTH
ANN, BOB = 1, 2


def asks(*levels, owner=BOB, capacity=64):
    """A book with sells 1, 2, 3, ... of the given (price, lots)."""
    book = OrderBook(1000, capacity)
    for number, (price, lots) in enumerate(levels, 1):
        assert book.add(number, SELL, price, lots, owner=owner) == Code.OK
    return book


def state(book):
    return [book.orders(side).tolist() for side in (BUY, SELL)]


def command(**fields):
    row = np.zeros(1, BOOK_COMMAND)
    for name, value in fields.items():
        row[name] = value
    return row


def trades(book):
    """(maker, price, lots) of the last call."""
    return [tuple(t)[1:] for t in book.last_trades().tolist()]


def test_best_price_comes_first_and_then_the_earlier_order():
    book = asks((101, 5), (100, 5), (101, 5), (100, 5))
    assert book.add(9, BUY, 101, 17) == Code.OK
    assert trades(book) == [(2, 100, 5), (4, 100, 5), (1, 101, 5), (3, 101, 2)]
    assert book.order(3) == RestingOrder(3, SELL, 101, 3, BOB)
    assert 9 not in book


def test_what_a_limit_order_does_not_fill_rests_at_its_price():
    book = asks((100, 5))
    book.add(9, BUY, 100, 8, owner=ANN)
    assert book.order(9) == RestingOrder(9, BUY, 100, 3, ANN)
    assert (book.best(BUY), book.best(SELL)) == (100, None)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (Code.INVALID_SIDE, (9, 0, 100, 5)),
        (Code.INVALID_SIDE, (9, 3, 100, 5)),
        (Code.INVALID_ORDER_TYPE, (9, BUY, 100, 5, 0)),
        (Code.INVALID_ORDER_TYPE, (9, BUY, 100, 5, 3)),
        (Code.INVALID_TIME_IN_FORCE, (9, BUY, 100, 5, LIMIT, TimeInForce.GTD)),
        (Code.INVALID_TIME_IN_FORCE, (9, BUY, 0, 5, MARKET, GTC)),
        (Code.INVALID_EXEC_INST, (9, BUY, 100, 5, LIMIT, GTC, ExecFlag.REDUCE_ONLY)),
        (Code.INVALID_EXEC_INST, (9, BUY, 100, 5, LIMIT, IOC, ExecFlag.POST_ONLY)),
        (Code.INVALID_EXEC_INST, (9, BUY, 0, 5, MARKET, 0, ExecFlag.POST_ONLY)),
        (Code.INVALID_ARGUMENT, (9, BUY, 100, 5, LIMIT, GTC, 0, ANN, 4)),
        (Code.INVALID_ORDER_QTY, (9, BUY, 100, 0)),
        (Code.INVALID_ORDER_QTY, (9, BUY, 100, -5)),
        (Code.INVALID_ORDER_QTY, (9, BUY, 100, (1 << 62) + 1)),
        (Code.INVALID_PRICE, (9, BUY, 0, 5)),
        (Code.INVALID_PRICE, (9, BUY, -1, 5)),
        (Code.INVALID_PRICE, (9, BUY, 1001, 5)),
        (Code.INVALID_PRICE, (9, BUY, 100, 5, MARKET)),
        (Code.DUPLICATE_CLIENT_ORDER_ID, (1, BUY, 100, 5)),
        (Code.POST_ONLY_WOULD_TAKE, (9, BUY, 100, 5, LIMIT, GTC, ExecFlag.POST_ONLY)),
        (Code.FOK_NOT_FILLED, (9, BUY, 100, 6, LIMIT, FOK)),
        (Code.FOK_NOT_FILLED, (9, BUY, 99, 1, LIMIT, FOK)),
        (Code.IOC_NOT_FILLED, (9, BUY, 99, 5, LIMIT, IOC)),
        (Code.IOC_NOT_FILLED, (9, SELL, 0, 5, MARKET)),
        (Code.SELF_TRADE_PREVENTED, (9, BUY, 100, 5, LIMIT, GTC, 0, BOB, TAKER)),
    ],
)
def test_a_refused_order_gets_its_code_and_changes_nothing(code, arguments):
    book = asks((100, 5), (101, 7))
    before = state(book)
    assert book.add(*arguments) == code
    assert state(book) == before
    assert len(book.last_trades()) == 0


def test_checks_come_in_one_order_the_first_that_fails_gives_the_code():
    book = asks((100, 5), capacity=1)
    wrong = {
        "side": 0, "order_type": 9, "time_in_force": 9, "flags": 2, "stp": 9, "qty_lots": 0,
        "price_ticks": 0, "order_id": 1,
    }  # fmt: skip
    right = {
        "side": BUY, "order_type": LIMIT, "time_in_force": GTC, "flags": ExecFlag.POST_ONLY,
        "stp": 0, "qty_lots": 5, "price_ticks": 100, "order_id": 9,
    }  # fmt: skip
    codes = [220, 218, 221, 219, 40001, 213, 308, 204]
    for at, code in enumerate(codes):
        repaired = {name: right[name] for name in list(wrong)[:at]}
        row = command(kind=BookKind.BOOK_NEW, **{**wrong, **repaired})
        assert book.apply(row).statuses.tolist() == [code]
    assert book.apply(command(kind=1, **right)).statuses.tolist() == [Code.EXCEEDS_MAX_ORDERS]
    assert asks((100, 5)).apply(command(kind=1, **right)).statuses.tolist() == [43005]


@pytest.mark.parametrize("kind", [0, 5, 255])
def test_an_unknown_kind_is_refused(kind):
    assert asks((100, 5)).apply(command(kind=kind, order_id=1)).statuses.tolist() == [40004]


@pytest.mark.parametrize(
    ("kind", "used"),
    [
        (BookKind.BOOK_CANCEL, {"order_id"}),
        (BookKind.BOOK_REDUCE, {"order_id", "qty_lots"}),
        (
            BookKind.BOOK_REPLACE,
            {"order_id", "qty_lots", "price_ticks", "time_in_force", "flags", "stp"},
        ),
    ],
)
def test_a_field_that_a_kind_does_not_use_must_be_zero(kind, used):
    for name in set(BOOK_COMMAND.names) - used - {"kind"}:
        book = asks((100, 5))
        fields = {"order_id": 1, "price_ticks": 100, "qty_lots": 1}
        fields = {k: v for k, v in fields.items() if k in used}
        assert book.apply(command(kind=kind, **{**fields, name: 1})).statuses.tolist() == [40001]
        assert book.apply(command(kind=kind, **fields)).statuses.tolist() == [0]


def test_a_full_book_refuses_what_may_rest_and_takes_what_may_not():
    book = asks((100, 5), (101, 5), capacity=2)
    assert book.add(9, BUY, 100, 1) == Code.EXCEEDS_MAX_ORDERS
    assert book.add(9, BUY, 100, 1, LIMIT, IOC) == Code.OK
    assert book.replace(1, 102, 9) == Code.OK
    assert book.cancel(1) == Code.OK
    assert book.add(9, BUY, 90, 1) == Code.OK


def test_an_id_is_free_again_when_its_order_is_gone():
    book = asks((100, 5))
    book.cancel(1)
    assert book.add(1, BUY, 50, 2) == Code.OK
    book.add(2, SELL, 50, 2)
    assert book.add(1, SELL, 60, 2) == Code.OK


@pytest.mark.parametrize(
    ("policy", "time", "lots", "code", "made", "left"),
    [
        # Book: 1 of Bob, 2 of Ann, 3 of Bob, five lots each at 100; Ann buys.
        (0, GTC, 12, 0, [(1, 5), (2, 5), (3, 2)], {3: 3}),
        (MAKER, GTC, 12, 0, [(1, 5), (3, 5)], {9: 2}),
        (MAKER, IOC, 12, 0, [(1, 5), (3, 5)], {}),
        (MAKER, FOK, 11, 43003, [], {1: 5, 2: 5, 3: 5}),
        (MAKER, FOK, 10, 0, [(1, 5), (3, 5)], {}),
        (TAKER, GTC, 12, 0, [(1, 5)], {2: 5, 3: 5}),
        (TAKER, FOK, 12, 43003, [], {1: 5, 2: 5, 3: 5}),
        (TAKER, FOK, 5, 0, [(1, 5)], {2: 5, 3: 5}),
        (BOTH, GTC, 12, 0, [(1, 5)], {3: 5}),
        (BOTH, FOK, 12, 43003, [], {1: 5, 2: 5, 3: 5}),
    ],
)
def test_self_trade_prevention_cancels_maker_taker_or_both(policy, time, lots, code, made, left):
    book = OrderBook(1000, 8)
    for number, owner in ((1, BOB), (2, ANN), (3, BOB)):
        book.add(number, SELL, 100, 5, owner=owner)
    assert book.add(9, BUY, 100, lots, LIMIT, time, 0, ANN, policy) == code
    assert [(maker, k) for maker, _, k in trades(book)] == made
    resting = {o[0]: o[2] for side in state(book) for o in side}
    assert resting == left


def test_an_ioc_that_would_only_cancel_its_own_orders_is_refused_and_cancels_none():
    book = asks((100, 5), (101, 5), owner=ANN)
    before = state(book)
    assert book.add(9, BUY, 101, 5, LIMIT, IOC, 0, ANN, MAKER) == Code.IOC_NOT_FILLED
    assert state(book) == before


def test_both_with_nothing_filled_is_accepted_and_both_orders_end():
    book = asks((100, 5), owner=ANN)
    assert book.add(9, BUY, 100, 5, LIMIT, GTC, 0, ANN, BOTH) == Code.OK
    assert len(book) == 0


def test_reduce_keeps_priority_and_an_over_reduce_removes():
    book = asks((100, 5), (100, 5))
    assert book.reduce(1, 4) == Code.OK
    book.add(9, BUY, 100, 2)
    assert trades(book) == [(1, 100, 1), (2, 100, 1)]
    assert book.reduce(2, 300) == Code.OK
    assert (book.reduce(2, 1), len(book)) == (Code.INVALID_ORDER_ID, 0)


def test_reduce_by_nothing_is_refused():
    assert asks((100, 5)).reduce(1, 0) == Code.INVALID_ORDER_QTY


def test_replace_goes_to_the_end_even_at_the_same_price():
    book = asks((100, 5), (100, 5))
    assert book.replace(1, 100, 5) == Code.OK
    assert [o[0] for o in state(book)[1]] == [2, 1]


def test_a_replace_that_crosses_trades_at_once():
    book = asks((100, 5))
    book.add(9, BUY, 90, 8, owner=ANN)
    assert book.replace(9, 100, 7) == Code.OK
    assert trades(book) == [(1, 100, 5)]
    assert book.order(9) == RestingOrder(9, BUY, 100, 2, ANN)


@pytest.mark.parametrize(
    ("code", "arguments"),
    [
        (Code.INVALID_ORDER_ID, (77, 100, 5)),
        (Code.INVALID_ORDER_QTY, (9, 100, 0)),
        (Code.INVALID_PRICE, (9, 0, 5)),
        (Code.INVALID_PRICE, (9, 1001, 5)),
        (Code.POST_ONLY_WOULD_TAKE, (9, 100, 5, GTC, ExecFlag.POST_ONLY)),
        (Code.FOK_NOT_FILLED, (9, 100, 50, FOK)),
        (Code.IOC_NOT_FILLED, (9, 99, 5, IOC)),
        (Code.SELF_TRADE_PREVENTED, (9, 100, 5, GTC, 0, TAKER)),
    ],
)
def test_a_refused_replace_leaves_the_order_at_its_place(code, arguments):
    book = asks((100, 5), owner=ANN)
    book.add(9, BUY, 90, 8, owner=ANN)
    book.add(10, BUY, 90, 8, owner=ANN)
    before = state(book)
    assert book.replace(*arguments) == code
    assert state(book) == before


def test_a_full_trade_buffer_stops_between_commands():
    book = asks(*[(100, 1)] * 6)
    flow = np.concatenate([
        command(kind=1, order_id=number, side=BUY, order_type=LIMIT, price_ticks=100, qty_lots=k)
        for number, k in ((11, 2), (12, 3), (13, 1))
    ])  # fmt: skip
    first = book.apply(flow, trades=np.empty(4, BOOK_TRADE))
    assert (first.applied, first.statuses.tolist(), len(first.trades)) == (1, [0], 2)
    assert len(book) == 4
    rest = book.apply(flow[1:])
    assert rest.trades["maker_order_id"].tolist() == [3, 4, 5, 6]
    assert isinstance(rest, Applied)


def test_given_arrays_are_written_and_returned_as_views():
    book = asks((100, 5))
    made, codes = np.zeros(3, BOOK_TRADE), np.full(3, -1, np.int32)
    row = command(kind=1, order_id=9, side=BUY, order_type=LIMIT, price_ticks=100, qty_lots=2)
    done = book.apply(row, made, codes)
    assert done.trades.base is made
    assert made[0].tolist() == (9, 1, 100, 2)
    assert codes.tolist() == [0, -1, -1]


def test_an_empty_batch_does_nothing():
    done = asks((100, 5)).apply(np.zeros(0, BOOK_COMMAND))
    assert (done.applied, len(done.statuses), len(done.trades)) == (0, 0, 0)


def test_other_arrays_are_misuse():
    book = asks((100, 5))
    with pytest.raises(TypeError, match="BOOK_COMMAND"):
        book.apply(np.zeros(2, BOOK_TRADE))
    with pytest.raises(TypeError, match="BOOK_TRADE"):
        book.apply(np.zeros(2, BOOK_COMMAND), np.zeros(2, np.int64))
    with pytest.raises(ValueError, match="statuses"):
        book.apply(np.zeros(2, BOOK_COMMAND), None, np.zeros(1, np.int32))
    with pytest.raises(ValueError, match="side"):
        book.best(0)
    with pytest.raises(ValueError, match="levels"):
        book.depth(BUY, -1)
    with pytest.raises(OverflowError):
        book.cancel(-1)


@pytest.mark.parametrize(("price", "capacity"), [(0, 1), (1 << 31, 1), (10, 0), (10, 1 << 31)])
def test_a_book_out_of_range_is_misuse(price, capacity):
    with pytest.raises(ValueError, match="must be"):
        OrderBook(price, capacity)


def test_the_ends_of_the_price_range_can_be_traded():
    book = OrderBook((1 << 31) - 1, 8)
    top = book.max_price_ticks
    book.add(1, SELL, top, 5)
    book.add(2, BUY, 1, 5)
    assert (book.best(SELL), book.best(BUY)) == (top, 1)
    book.add(3, BUY, top, 6)
    book.add(4, SELL, 1, 11)
    assert [t[0] for t in trades(book)] == [3, 2]
    assert book.depth(SELL).tolist() == [(1, 5, 1)]


def test_lots_of_a_side_never_pass_the_limit():
    book = OrderBook(100, 8)
    assert book.add(1, BUY, 5, 1 << 61) == Code.OK
    assert book.add(2, BUY, 6, 1 << 61) == Code.OK
    assert book.add(3, BUY, 7, 1) == Code.INVALID_ORDER_QTY
    assert book.qty_lots(BUY) == 1 << 62


def test_one_order_a_level_over_the_whole_capacity_finds_room():
    book = OrderBook(64 * 200, 200)
    for number in range(200):
        assert book.add(number, SELL, 64 * number + 1, 1) == Code.OK
    assert book.add(999, BUY, 64 * 200, 200, LIMIT, FOK) == Code.OK
    assert len(book.last_trades()) == 200


def test_a_second_thread_is_told_that_the_book_is_busy():
    book = OrderBook(1_000_000, 1 << 17)
    count = 200_000
    flow = np.zeros(2 * count, BOOK_COMMAND)
    flow["order_id"] = np.repeat(np.arange(count), 2)
    flow["kind"] = np.tile([BookKind.BOOK_NEW, BookKind.BOOK_CANCEL], count)
    adds = flow[::2]
    adds["side"], adds["order_type"], adds["price_ticks"], adds["qty_lots"] = BUY, LIMIT, 5, 1
    seen = []

    def poke():
        while not done.is_set():
            try:
                book.cancel(10**9)
            except BookBusy:
                seen.append(True)

    done = threading.Event()
    other = threading.Thread(target=poke)
    other.start()
    try:
        for _ in range(50):
            assert book.apply(flow).applied == len(flow)
            if seen:
                break
    finally:
        done.set()
        other.join()
    assert seen
    assert len(book) == 0


def test_the_benchmarks_standard_mix_gives_the_limit_loops_trades_and_book(tmp_path, monkeypatch):
    """The benchmark in small, so that it cannot rot."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    limit_loop, workloads = (importlib.import_module(n) for n in ("limit_loop", "workloads"))
    library = limit_loop.build(tmp_path)
    for flow in (workloads.standard(2_000, resting=500), workloads.storm(500)):
        book = OrderBook(flow.max_price_ticks, flow.capacity)
        limit = limit_loop.LimitBook(library, flow.max_price_ticks, flow.max_id)
        made = np.zeros(flow.capacity + 2 * len(flow.timed), BOOK_TRADE)
        book.apply(flow.before)
        limit.apply(flow.before, made)
        found = book.apply(flow.timed).trades
        assert found.tolist() == made[: limit.apply(flow.timed, made)].tolist()
        for side in (BUY, SELL):
            ids, lots = limit.queue(side)
            assert book.orders(side)["order_id"].tolist() == ids.tolist()
            assert book.orders(side)["qty_lots"].tolist() == lots.tolist()


@pytest.mark.parametrize(
    ("name", "refused"),
    [("jumping", 0), ("sparse", 0), ("crash", 0), ("crowded", 0), ("storm", 0), ("amends", 0),
     ("repeated", 0.8)],
)  # fmt: skip
def test_the_hostile_workloads_of_the_benchmark_do_what_they_are_named_for(
    monkeypatch, name, refused
):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    workloads = importlib.import_module("workloads")
    sizes = {"sparse": {"resting": 1_000}, "crowded": {"resting": 500}}
    flow = getattr(workloads, name)(2_000, **sizes.get(name, {}))
    book = OrderBook(flow.max_price_ticks, flow.capacity)
    assert not book.apply(flow.before).statuses.any()
    done = book.apply(flow.timed)
    assert np.count_nonzero(done.statuses) == refused * len(flow.timed)
    levels = {"crowded": 60, "sparse": 1_000, "amends": 1_000}.get(name, 0)
    assert levels * 0.6 <= len(book.depth(BUY)) + len(book.depth(SELL)) <= levels


def test_a_unit_of_work_is_a_command_a_fill_or_a_level_that_goes(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "benchmarks"))
    workloads = importlib.import_module("workloads")
    before = workloads.adds(np.arange(1, 6), SELL, [100, 100, 101, 102, 103], 5)
    timed = np.concatenate([
        workloads.adds([10], BUY, 101, 12, IOC),     # 3 fills, level 100 goes, 3 of 101 are left
        workloads.cancels([4, 4]),                   # level 102 goes, once
        workloads.adds([11], BUY, 101, 8),           # 1 fill, level 101 goes, 5 rest
        command(kind=BookKind.BOOK_REPLACE, order_id=11, price_ticks=99, qty_lots=5),  # so does it
    ])  # fmt: skip
    flow = workloads.Flow("small", 1_000, 16, before, timed)
    assert workloads.units_of_work(flow) == 5 + 4 + 4
