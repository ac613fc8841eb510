"""The book as a plain matching engine in C: answers, their order, the ring, and no Python in it.

Whatever is sent, each message is answered as a model of dicts and lists answers it, field by field.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib.util
import random
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from outside import EXAMPLES, Compile, run

from perpcore.codes import Code

BUY, SELL = 0, 1
LIMIT, IOC, MARKET = range(3)
ORDER_ACK, TRADE, CANCEL_ACK, MODIFY_ACK, CANCEL_REJECT, MODIFY_REJECT, ORDER_REJECT = range(7)
LOWEST, HIGHEST, CAPACITY = -20, 300, 60
INT64 = (-(1 << 63), (1 << 63) - 1)


class New(ctypes.Structure):
    _fields_ = [
        ("order_id", ctypes.c_uint64), ("sequence", ctypes.c_uint64),
        ("price_ticks", ctypes.c_int64), ("qty_lots", ctypes.c_uint32), ("side", ctypes.c_uint8),
        ("type", ctypes.c_uint8), ("_pad", ctypes.c_uint8 * 2),
    ]  # fmt: skip


class Cancel(ctypes.Structure):
    _fields_ = [("order_id", ctypes.c_uint64), ("sequence", ctypes.c_uint64)]


class Modify(ctypes.Structure):
    _fields_ = [
        ("order_id", ctypes.c_uint64), ("sequence", ctypes.c_uint64),
        ("price_ticks", ctypes.c_int64), ("qty_lots", ctypes.c_uint32), ("_pad", ctypes.c_uint32),
    ]  # fmt: skip


class Report(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_uint8), ("side", ctypes.c_uint8), ("code", ctypes.c_uint16),
        ("_pad", ctypes.c_uint32), ("sequence", ctypes.c_uint64), ("order_id", ctypes.c_uint64),
        ("price_ticks", ctypes.c_int64), ("qty_lots", ctypes.c_uint32), ("_pad2", ctypes.c_uint32),
        ("maker_order_id", ctypes.c_uint64), ("taker_order_id", ctypes.c_uint64),
        ("number", ctypes.c_uint64),
    ]  # fmt: skip


class Terms(ctypes.Structure):
    _fields_ = [
        ("min_price_ticks", ctypes.c_int64), ("max_price_ticks", ctypes.c_int64),
        ("order_capacity", ctypes.c_uint32), ("ring_reports", ctypes.c_uint32),
    ]  # fmt: skip


def row(report: Report) -> tuple[int, ...]:
    """What the model tells too: all but padding and the number."""
    return (
        report.type, report.side, report.code, report.sequence, report.order_id,
        report.price_ticks, report.qty_lots, report.maker_order_id, report.taker_order_id,
    )  # fmt: skip


class Engine:
    """The library's functions on one engine."""

    def __init__(self, library: ctypes.CDLL, terms: Terms) -> None:
        self.library, self.sequence = library, 0
        self.handle = ctypes.c_void_p(library.plain_engine_create(ctypes.byref(terms)))
        assert self.handle

    def new(self, order_id: int, side: int, price: int, lots: int, kind: int = LIMIT) -> None:
        self.send("new", New(order_id, self.sequence, price, lots, side, kind))

    def cancel(self, order_id: int) -> None:
        self.send("cancel", Cancel(order_id, self.sequence))

    def modify(self, order_id: int, price: int, lots: int) -> None:
        self.send("modify", Modify(order_id, self.sequence, price, lots))

    def send(self, name: str, message: ctypes.Structure) -> None:
        getattr(self.library, f"plain_engine_{name}")(self.handle, ctypes.byref(message))
        self.sequence += 1

    def read(self, most: int = 4096) -> list[Report]:
        """All that is there; a call gives what is in the ring or what was asked for."""
        found: list[Report] = []
        out = (Report * most)()
        while count := self.library.plain_engine_read(self.handle, out, most):
            found += [Report.from_buffer_copy(out[i]) for i in range(count)]
        return found

    def orders(self, side: int) -> list[tuple[int, int, int]]:
        out = (New * CAPACITY)()
        count = self.library.plain_engine_orders(self.handle, side, out, CAPACITY)
        return [(o.order_id, o.price_ticks, o.qty_lots) for o in out[:count]]

    def best(self, side: int) -> int:
        return int(self.library.plain_engine_best(self.handle, side))

    def depth(self, side: int, price: int) -> int:
        return int(self.library.plain_engine_depth(self.handle, side, price))


class Model:
    """The same in plain Python: a list of [id, price, lots] a side, in the order of filling."""

    def __init__(self) -> None:
        self.sides: tuple[list[list[int]], list[list[int]]] = ([], [])
        self.said: list[tuple[int, ...]] = []
        self.sequence = 0

    def say(self, kind: int, side: int, order_id: int, price: int, lots: int, code: int = 0,
            maker: int = 0, taker: int = 0) -> None:  # fmt: skip
        self.said.append((kind, side, code, self.sequence, order_id, price, lots, maker, taker))

    def find(self, order_id: int) -> tuple[int, list[int]] | None:
        for side in (BUY, SELL):
            for order in self.sides[side]:
                if order[0] == order_id:
                    return side, order
        return None

    def match(self, order_id: int, side: int, limit: int | None, lots: int) -> int:
        others = self.sides[1 - side]
        while lots and others:
            maker, price, left = others[0]
            if limit is not None and (price > limit if side == BUY else price < limit):
                break
            taken = min(lots, left)
            self.say(TRADE, side, order_id, price, taken, 0, maker, order_id)
            lots -= taken
            others[0][2] -= taken
            if taken == left:
                others.pop(0)
        return lots

    def rest(self, order_id: int, side: int, price: int, lots: int) -> None:
        mine = self.sides[side]
        at = len(mine)
        while at and (mine[at - 1][1] < price if side == BUY else mine[at - 1][1] > price):
            at -= 1
        mine.insert(at, [order_id, price, lots])

    def refusal(self, order_id: int, side: int, price: int, lots: int, kind: int) -> int:
        if side > SELL:
            return Code.INVALID_SIDE
        if kind > MARKET:
            return Code.INVALID_ORDER_TYPE
        if lots == 0:
            return Code.INVALID_ORDER_QTY
        if kind != MARKET and not LOWEST <= price <= HIGHEST:
            return Code.INVALID_PRICE
        if kind == LIMIT and len(self.sides[BUY]) + len(self.sides[SELL]) == CAPACITY:
            return Code.EXCEEDS_MAX_ORDERS
        return Code.DUPLICATE_CLIENT_ORDER_ID if self.find(order_id) else Code.OK

    def new(self, order_id: int, side: int, price: int, lots: int, kind: int = LIMIT) -> None:
        if code := self.refusal(order_id, side, price, lots, kind):
            self.say(ORDER_REJECT, side, order_id, price, lots, code)
        else:
            self.say(ORDER_ACK, side, order_id, price, lots)
            left = self.match(order_id, side, None if kind == MARKET else price, lots)
            if left and kind == LIMIT:
                self.rest(order_id, side, price, left)
            elif left:
                self.say(CANCEL_ACK, side, order_id, price, left)
        self.sequence += 1

    def cancel(self, order_id: int) -> None:
        found = self.find(order_id)
        if found is None:
            self.say(CANCEL_REJECT, 0, order_id, 0, 0, Code.INVALID_ORDER_ID)
        else:
            side, order = found
            self.sides[side].remove(order)
            self.say(CANCEL_ACK, side, order_id, order[1], order[2])
        self.sequence += 1

    def modify(self, order_id: int, price: int, lots: int) -> None:
        found = self.find(order_id)
        code = Code.OK
        if found is None:
            code = Code.INVALID_ORDER_ID
        elif lots == 0:
            code = Code.INVALID_ORDER_QTY
        elif not LOWEST <= price <= HIGHEST:
            code = Code.INVALID_PRICE
        if code or found is None:
            self.say(MODIFY_REJECT, 0, order_id, price, lots, code)
        else:
            side, order = found
            self.sides[side].remove(order)
            left = self.match(order_id, side, price, lots)
            if left:
                self.rest(order_id, side, price, left)
            self.say(MODIFY_ACK, side, order_id, price, lots)
        self.sequence += 1


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, built as its own build.py builds it."""
    copy = tmp_path_factory.mktemp("plain") / "plain_engine"
    left = shutil.ignore_patterns("build", "*.so", "days", "__pycache__")
    shutil.copytree(EXAMPLES / "plain_engine", copy, ignore=left)
    run(sys.executable, "build.py", cwd=copy)
    return copy


@pytest.fixture(scope="session")
def library(folder: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(folder / "libplain_engine.so"))
    loaded.plain_engine_create.restype = ctypes.c_void_p
    loaded.plain_engine_best.restype = ctypes.c_int64
    loaded.plain_engine_depth.restype = ctypes.c_uint64
    loaded.plain_engine_depth.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_int64]
    loaded.plain_engine_orders.restype = ctypes.c_uint64
    loaded.plain_engine_orders.argtypes = [
        ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint64,
    ]  # fmt: skip
    return loaded


@pytest.fixture
def engine(library: ctypes.CDLL) -> Iterator[Engine]:
    made = Engine(library, Terms(LOWEST, HIGHEST, CAPACITY, 4096))
    yield made
    library.plain_engine_destroy(made.handle)


@pytest.fixture(scope="session")
def driver(folder: Path) -> ModuleType:
    """The example's main.py."""
    spec = importlib.util.spec_from_file_location("plain_engine_main", folder / "main.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_library_needs_no_python(folder: Path) -> None:
    asked_for = run("nm", "-D", "--undefined-only", folder / "libplain_engine.so")
    given = run("nm", "-D", "--defined-only", folder / "libplain_engine.so")
    assert [line for line in asked_for.split() if line.lstrip("_").startswith("Py")] == []
    assert {line.split()[-1] for line in given.splitlines()} == {
        f"plain_engine_{name}"
        for name in ("create", "destroy", "new", "cancel", "modify", "read", "best", "depth",
                     "orders")
    }  # fmt: skip


@pytest.mark.parametrize("standard", ["c11", "c++11"])
def test_the_header_is_plain_c_and_its_records_have_their_sizes(
    folder: Path, compile_strictly: Compile, standard: str
) -> None:
    sizes = {"plain_new": 32, "plain_cancel": 16, "plain_modify": 32, "plain_report": 64}
    word = "static_assert" if "++" in standard else "_Static_assert"
    asserts = "".join(
        f'{word}(sizeof({name}) == {size}, "{name}");' for name, size in sizes.items()
    )
    compile_strictly(f'#include "{folder / "plain_engine.h"}"\n{asserts}\n', standard, links=False)


@pytest.mark.parametrize("seed", range(8))
def test_every_message_is_answered_as_the_model_answers_it(engine: Engine, seed: int) -> None:
    dice, model = random.Random(seed), Model()
    for _ in range(2_500):
        order_id, lots = dice.randrange(90), dice.choice([0, *range(1, 30)])
        price = dice.choice([LOWEST - 1, HIGHEST + 1, *INT64, *range(100, 120)])
        if seed % 2:
            price = dice.randint(LOWEST, HIGHEST)
        draw = dice.random()
        for book in (engine, model):
            if draw < 0.55:
                side, kind = order_id % 2, [LIMIT, LIMIT, LIMIT, IOC, MARKET][lots % 5]
                book.new(order_id, side, price, lots, kind)
            elif draw < 0.56:
                book.new(order_id, 2 + lots, price, lots, 3 + lots)
            elif draw < 0.8:
                book.cancel(order_id)
            else:
                book.modify(order_id, price, lots)
    reports = engine.read()
    assert [row(report) for report in reports] == model.said
    assert [report.number for report in reports] == list(range(1, len(reports) + 1))
    kinds = {said[0] for said in model.said}
    assert kinds == set(range(7))
    for side in (BUY, SELL):
        assert engine.orders(side) == [tuple(order) for order in model.sides[side]]


def test_a_second_cancel_is_rejected_and_so_is_one_of_an_id_never_seen(engine: Engine) -> None:
    engine.new(7, BUY, 100, 5)
    for order_id in (7, 7, 2**64 - 1):
        engine.cancel(order_id)
    answers = [(r.type, r.code, r.order_id) for r in engine.read()]
    assert answers == [
        (ORDER_ACK, 0, 7), (CANCEL_ACK, 0, 7), (CANCEL_REJECT, Code.INVALID_ORDER_ID, 7),
        (CANCEL_REJECT, Code.INVALID_ORDER_ID, 2**64 - 1),
    ]  # fmt: skip


def test_a_full_book_refuses_what_may_rest_and_takes_what_may_not(engine: Engine) -> None:
    for order_id in range(CAPACITY):
        engine.new(order_id, SELL, 100 + order_id, 1)
    engine.new(1000, SELL, 100, 1)
    engine.new(1001, BUY, 100, 1, IOC)
    engine.new(1002, BUY, 0, 1, MARKET)
    answers = [(r.type, r.code) for r in engine.read()][CAPACITY:]
    assert answers == [
        (ORDER_REJECT, Code.EXCEEDS_MAX_ORDERS), (ORDER_ACK, 0), (TRADE, 0), (ORDER_ACK, 0),
        (TRADE, 0),
    ]  # fmt: skip


def test_best_price_and_depth_say_what_rests(engine: Engine) -> None:
    assert (engine.best(BUY), engine.best(SELL)) == INT64
    engine.new(1, BUY, LOWEST, 5)
    engine.new(2, SELL, HIGHEST, 6)
    engine.new(3, SELL, HIGHEST, 7)
    assert (engine.best(BUY), engine.best(SELL)) == (LOWEST, HIGHEST)
    assert engine.depth(SELL, HIGHEST) == 13
    assert [engine.depth(BUY, p) for p in (HIGHEST, LOWEST - 1, HIGHEST + 1, *INT64)] == [0] * 5


def test_a_writer_waits_while_the_ring_is_full_and_nothing_is_lost(library: ctypes.CDLL) -> None:
    ring, count = 64, 1_000
    engine = Engine(library, Terms(LOWEST, HIGHEST, CAPACITY, ring))

    def write() -> None:
        for order_id in range(count):
            engine.cancel(order_id)

    writer = threading.Thread(target=write)
    writer.start()
    while engine.sequence < ring:
        time.sleep(0.001)
    # Nobody has read: the next report cannot be written, however long it is given.
    time.sleep(0.05)
    assert (engine.sequence, writer.is_alive()) == (ring, True)
    reports: list[Report] = []
    while len(reports) < count:
        reports += engine.read(7)
    writer.join()
    assert [r.number for r in reports] == list(range(1, count + 1))
    assert [r.order_id for r in reports] == list(range(count))
    library.plain_engine_destroy(engine.handle)


@pytest.mark.parametrize(
    "terms",
    [
        (10, 9, 8, 64),
        (1, 1 << 31, 8, 64),
        (*INT64, 8, 64),
        (INT64[0], INT64[0] + 5, 8, 64),
        (1, 9, 0, 64),
        (1, 9, 1 << 31, 64),
        (1, 9, 8, 96),
        (1, 9, 8, 32),
        (1, 9, 8, 0),
    ],
)
def test_terms_out_of_range_make_no_engine(
    library: ctypes.CDLL, terms: tuple[int, int, int, int]
) -> None:
    assert library.plain_engine_create(ctypes.byref(Terms(*terms))) is None


def test_the_widest_range_of_prices_can_be_traded(library: ctypes.CDLL) -> None:
    lowest = -(1 << 40)
    engine = Engine(library, Terms(lowest, lowest + (1 << 31) - 2, CAPACITY, 64))
    engine.new(1, SELL, lowest + (1 << 31) - 2, 5)
    engine.new(2, BUY, lowest, 5)
    engine.new(3, SELL, lowest, 5)
    engine.new(4, BUY, lowest + (1 << 31) - 2, 5)
    trades = [r for r in engine.read() if r.type == TRADE]
    assert [r.price_ticks for r in trades] == [lowest, lowest + (1 << 31) - 2]
    library.plain_engine_destroy(engine.handle)


class Transport(ctypes.Structure):
    """What the published benchmark reads reports through."""

    _fields_ = [
        ("create", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_uint32)),
        ("push", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)),
        ("drain", ctypes.CFUNCTYPE(
            ctypes.c_uint32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)),
        ("flush", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
        ("destroy", ctypes.CFUNCTYPE(None, ctypes.c_void_p)),
    ]  # fmt: skip


def test_the_published_benchmark_finds_its_functions_and_reads_through_our_ring(
    folder: Path,
) -> None:
    published = ctypes.CDLL(str(folder / "published.so"))
    published.engine_get_transport.restype = ctypes.POINTER(Transport)
    published.engine_query_best_bid.restype = ctypes.c_int64
    published.engine_query_best_ask.restype = ctypes.c_int64
    published.engine_query_depth_at.restype = ctypes.c_uint64
    published.engine_query_depth_at.argtypes = [ctypes.c_int64, ctypes.c_uint8]
    transport = published.engine_get_transport().contents
    handle = transport.create(1 << 10)
    published.engine_init(ctypes.c_uint64(23), ctypes.byref(transport), ctypes.c_void_p(handle))
    for message in (New(1, 0, 100, 5, SELL, LIMIT), New(2, 1, 100, 7, BUY, LIMIT),
                    New(3, 2, 99, 7, SELL, IOC)):  # fmt: skip
        published.engine_on_new_order(ctypes.byref(message))
    assert (published.engine_query_best_bid(), published.engine_query_best_ask()) == INT64
    published.engine_on_new_order(ctypes.byref(New(4, 3, -7, 8, BUY, LIMIT)))
    published.engine_on_modify(ctypes.byref(Modify(4, 4, -6, 9)))
    assert published.engine_query_best_bid() == -6
    assert published.engine_query_depth_at(-6, BUY) == 9
    published.engine_on_cancel(ctypes.byref(Cancel(4, 5)))
    published.engine_on_cancel(ctypes.byref(Cancel(4, 6)))
    published.engine_flush()
    transport.flush(handle)
    out = (Report * 64)()
    count = transport.drain(handle, out, 64)
    said = [(r.type, r.sequence, r.price_ticks, r.qty_lots) for r in out[:count]]
    assert said == [
        (ORDER_ACK, 0, 100, 5), (ORDER_ACK, 1, 100, 7), (TRADE, 1, 100, 5),
        (ORDER_ACK, 2, 99, 7), (TRADE, 2, 100, 2), (CANCEL_ACK, 2, 99, 5),
        (ORDER_ACK, 3, -7, 8), (MODIFY_ACK, 4, -6, 9), (CANCEL_ACK, 5, -6, 9),
        (CANCEL_REJECT, 6, 0, 0),
    ]  # fmt: skip
    published.engine_shutdown()
    transport.destroy(handle)


def test_the_program_plays_the_days_and_all_of_them_are_as_the_order_book_has_them(
    folder: Path,
) -> None:
    said = run(sys.executable, "main.py", "4000", "7", "1", cwd=folder)
    assert said.count("are OrderBook's") == 5
    assert "worst: " in said


def test_a_wrong_report_does_not_pass_the_comparison(folder: Path, driver: ModuleType) -> None:
    """The check of the days can fail: one lot, one order, one answer is enough."""
    at = folder / "played"
    at.mkdir()
    run(folder / "days", "3000", "7", "1", at)
    for day, suffix, field, kind in (
        ("normal", "reports", "qty_lots", TRADE),
        ("normal", "reports", "maker_order_id", TRADE),
        ("swing-40", "reports", "type", MODIFY_ACK),
        ("static", "orders", "qty_lots", None),
    ):
        driver.compare(day, at)
        path = at / f"{day}.{suffix}"
        right = path.read_bytes()
        wrong = np.frombuffer(right, driver.REPORT if suffix == "reports" else driver.ORDER).copy()
        rows = np.arange(len(wrong)) if kind is None else np.flatnonzero(wrong["type"] == kind)
        wrong[field][rows[0]] += 1
        path.write_bytes(wrong.tobytes())
        with pytest.raises(AssertionError):
            driver.compare(day, at)
        path.write_bytes(right)


def test_the_published_form_is_a_line_a_report_by_message_and_type(driver: ModuleType) -> None:
    reports = np.zeros(3, driver.REPORT)
    reports["type"] = [CANCEL_REJECT, TRADE, ORDER_ACK]
    reports["sequence"] = [9, 4, 4]
    for field, value in (("order_id", 11), ("price_ticks", -5), ("qty_lots", 3), ("side", 1),
                         ("maker_order_id", 21), ("taker_order_id", 22)):  # fmt: skip
        reports[field] = value
    text = "0,4,1,11,-5,3\n1,4,-5,3,21,22\n4,9,11"
    assert driver.published_hash(reports) == hashlib.sha256(text.encode()).hexdigest()
