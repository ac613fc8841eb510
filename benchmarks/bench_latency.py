"""Latency of single commands: the limit loop, the book and the venue, each call under one clock.

    python benchmarks/bench_latency.py        (writes out/latency.json, prints the percentiles)

A batch hides what one command costs: it asks early for what comes next. Here every command is a
call of its own from C, no Python between two of them, between two readings of the processor's
clock; what two readings cost by themselves is taken off. All three run the same flow in turns.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import limit_loop
import measure
import numpy as np
import venue_loads
import workloads
from hdrh.histogram import HdrHistogram

import perpcore.engine
from perpcore.book import BOOK_TRADE

HERE = Path(__file__).parent
ROOMS = HERE.parent / "cython"
HEADERS = ROOMS / "perpcore" / "include"
PERCENTILES = (50.0, 99.0, 99.9)
MOST_FILLS = 8
ACCOUNTS = [measure.scaled(count, 60) for count in (1_000, 20_000)]
STRETCH = measure.scaled(60_000, 300)
RESTING = measure.scaled(workloads.RESTING, 200)
PAST_ALL_NS = 10**10


def build_harness(folder: Path) -> ctypes.CDLL:
    """latency.c with the limit loop in it, compiled with the product's flags."""
    target = folder / "latency.so"
    subprocess.run(
        ["gcc", *limit_loop.product_flags(), "-std=gnu11", "-shared", "-fPIC", f"-I{HERE}",
         f"-I{HEADERS}", str(HERE / "latency.c"), "-o", str(target)],
        check=True,
    )  # fmt: skip
    library = limit_loop.declared(ctypes.CDLL(str(target)))
    pointer, count = ctypes.c_void_p, ctypes.c_uint64
    for name, result, arguments in (
        ("latency_clock", count, []),
        ("latency_empty", None, [count, pointer]),
        ("latency_limit", count, [pointer, pointer, count, pointer, pointer]),
        ("latency_venue", count,
         [pointer, pointer, pointer, count, pointer, count, pointer, pointer]),
    ):  # fmt: skip
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def build_book(folder: Path) -> ModuleType:
    """The product's book.pyx as it is, with the timed loop behind it, as a module of its own."""
    source = folder / "book.pyx"
    source.write_text(
        (ROOMS / "perpcore" / "book.pyx").read_text() + (HERE / "latency_book.pyx.in").read_text()
    )
    directives = ("cdivision=True", "boundscheck=False", "wraparound=False",
                  "initializedcheck=False", "binding=False")  # fmt: skip
    subprocess.run(
        [sys.executable, "-m", "cython", "--cplus", "-3", "-I", str(ROOMS), "--module-name",
         "perpcore.book", *(part for name in directives for part in ("-X", name)), str(source),
         "-o", str(folder / "book.cpp")],
        check=True,
    )  # fmt: skip
    target = folder / f"book{sysconfig.get_config_var('EXT_SUFFIX')}"
    subprocess.run(
        ["g++", *limit_loop.product_flags(), "-w", "-std=gnu++17", "-shared", "-fPIC", f"-I{HERE}",
         f"-I{sysconfig.get_path('include')}", f"-I{HEADERS}",
         str(folder / "book.cpp"), "-o", str(target)],
        check=True,
    )  # fmt: skip
    spec = importlib.util.spec_from_file_location("timed.book", target)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Api(ctypes.Structure):
    """perpcore_api as far as it is used here."""

    _fields_ = [
        ("numbers", ctypes.c_uint32 * 6),
        *((name, ctypes.c_void_p) for name in (
            "create", "destroy", "add_contract", "apply", "preview", "state_hash", "audit", "venue",
        )),
    ]  # fmt: skip


def api_address() -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return get(perpcore.engine._capi, b"perpcore.engine._capi")


class TableEngine:
    """A venue made through the C table, in the shape in which `Traffic` uses an Engine."""

    def __init__(self, terms: Any, admin_key: int) -> None:
        self.api = Api.from_address(api_address())
        self.handle = ctypes.c_void_p()
        self.call("create", terms.ctypes, ctypes.c_uint64(admin_key), ctypes.byref(self.handle))

    def __del__(self) -> None:
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.api.destroy)(self.handle)

    def call(self, name: str, *arguments: Any) -> None:
        function = ctypes.CFUNCTYPE(ctypes.c_int)(getattr(self.api, name))
        status = function(*(getattr(a, "_as_parameter_", a) for a in arguments))
        assert status == 0, f"{name}: {status}"

    def add_contract(self, terms: Any, admin_key: int) -> int:
        number, breach = ctypes.c_uint16(), ctypes.c_int32()
        self.call("add_contract", self.handle, terms.ctypes, ctypes.c_uint64(admin_key),
                  ctypes.byref(number), ctypes.byref(breach))  # fmt: skip
        return number.value

    def apply(self, commands: Any, out: Any, admin_key: int) -> tuple[int, int]:
        applied, written = ctypes.c_uint64(), ctypes.c_uint64()
        self.call("apply", self.handle, commands.ctypes, ctypes.c_uint64(len(commands)), out.ctypes,
                  ctypes.c_uint64(len(out)), ctypes.c_uint64(admin_key), ctypes.byref(applied),
                  ctypes.byref(written))  # fmt: skip
        return applied.value, written.value

    def head(self) -> Any:
        """(seq, time_ns): the first fields of perpcore_venue."""
        view = np.zeros(2, np.int64)
        self.call("venue", self.handle, view.ctypes, ctypes.c_size_t(view.nbytes))
        return view.tolist()

    @property
    def seq(self) -> int:
        return self.head()[0]

    @property
    def time_ns(self) -> int:
        return self.head()[1]

    def check_ledger(self) -> None:
        """The residuals of perpcore_audit, USD, USDC and lots, are 0 (L1)."""
        view = np.ones(3, np.int64)
        self.call("audit", self.handle, view.ctypes, ctypes.c_size_t(view.nbytes))
        assert not view.any()


class Clock:
    """Nanoseconds of ticks, with the cost of two readings taken off."""

    def __init__(self, library: ctypes.CDLL) -> None:
        ticks, ns = library.latency_clock(), time.monotonic_ns()
        time.sleep(0.2)
        self.per_ns = (library.latency_clock() - ticks) / (time.monotonic_ns() - ns)
        empty = np.ones(10_000, np.uint64)
        library.latency_empty(len(empty), empty.ctypes.data)
        self.empty_ticks = float(np.median(empty))

    def ns(self, ticks: Any) -> Any:
        return np.maximum(ticks.astype(np.float64) - self.empty_ticks, 0.0) / self.per_ns


class Series:
    """One side's samples: percentiles a round, one HdrHistogram of all rounds, page faults."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.rounds: list[list[float]] = []
        self.histogram = HdrHistogram(1, PAST_ALL_NS, 3)
        self.faults = 0

    def take(self, ns: Any) -> None:
        self.rounds.append(np.percentile(ns, PERCENTILES).tolist())
        values, counts = np.unique(np.maximum(np.rint(ns), 1).astype(np.int64), return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.histogram.record_value(value, count)

    def facts(self, limit: Series) -> dict[str, Any]:
        """Medians over the rounds of every percentile and of its ratio to the limit's."""
        ratios = np.divide(self.rounds, np.maximum(limit.rounds, 1e-9))
        return {
            "name": self.name, "samples": self.histogram.get_total_count(),
            "percentiles": PERCENTILES,
            "ns": [statistics.median(column) for column in zip(*self.rounds, strict=True)],
            "ratios": np.median(ratios, axis=0).tolist(), "rounds_ns": self.rounds,
            "page_faults": self.faults, "most_ns": self.histogram.get_max_value(),
            "hdr_v2": self.histogram.encode().decode(),
        }  # fmt: skip


def faults() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt


class Runs:
    """Limit loop, book and venues on one flow, a stretch of it in every round."""

    def __init__(self, folder: Path) -> None:
        self.library = build_harness(folder)
        self.timed_book = build_book(folder)
        self.clock = Clock(self.library)
        self.flow = workloads.standard(STRETCH * measure.ROUNDS, resting=RESTING)
        flow = self.flow
        self.trades = [
            np.ones(4 * (flow.capacity + 2 * STRETCH), np.uint64).view(BOOK_TRADE)
            for _ in range(2)
        ]
        self.limit = limit_loop.LimitBook(self.library, flow.max_price_ticks, flow.max_id)
        self.limit.apply(flow.before, self.trades[0])
        self.book = self.timed_book.OrderBook(flow.max_price_ticks, flow.capacity)
        self.book.apply(flow.before)
        self.venues = [
            venue_loads.Traffic(flow, accounts, measure.ROUNDS, TableEngine)
            for accounts in ACCOUNTS
        ]
        self.ticks = np.ones(STRETCH, np.uint64)
        self.fills = np.ones(STRETCH, np.uint32)
        self.statuses = np.ones(STRETCH, np.int32)
        self.series = [Series("limit loop"), Series("book")] + [
            Series(f"venue, {accounts:,} accounts, <= {MOST_FILLS} fills") for accounts in ACCOUNTS
        ]

    def through_limit(self, commands: Any) -> Any:
        made = self.library.latency_limit(
            self.limit.handle, commands.ctypes.data, STRETCH, self.trades[0].ctypes.data,
            self.ticks.ctypes.data,
        )  # fmt: skip
        return self.trades[0][:made]

    def through_book(self, commands: Any) -> Any:
        made = self.timed_book.timed_calls(
            self.book, commands, self.trades[1], self.statuses, self.ticks
        )
        return self.trades[1][:made]

    def through_venue(self, traffic: venue_loads.Traffic) -> Any:
        commands = traffic.commands[traffic.place :][:STRETCH]
        traffic.place += STRETCH
        engine, out = traffic.engine, traffic.out
        used = self.library.latency_venue(
            ctypes.addressof(engine.api), engine.handle, commands.ctypes.data, STRETCH,
            out.ctypes.data, len(out), self.ticks.ctypes.data, self.fills.ctypes.data,
        )  # fmt: skip
        assert used, "a call failed or events are left behind"
        return out[:used]

    def round(self, number: int) -> None:
        """All of them once; the results are compared after each clock has stopped."""
        commands = self.flow.timed[number * STRETCH :][:STRETCH]
        expected: Any = None
        for place, series in enumerate(self.series):
            before = faults()
            if place == 0:
                expected = self.through_limit(commands)
            elif place == 1:
                found = self.through_book(commands)
            else:
                found = self.through_venue(self.venues[place - 2])
            series.faults += faults() - before
            ns = self.clock.ns(self.ticks)
            if place == 1:
                assert np.array_equal(found, expected)
            elif place > 1:
                self.venues[place - 2].check(found, expected)
                ns = ns[self.fills <= MOST_FILLS]
            series.take(ns)


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        runs = Runs(Path(folder))
        for number in range(measure.ROUNDS):
            runs.round(number)
        for traffic in runs.venues:
            traffic.engine.check_ledger()
    found = [series.facts(runs.series[0]) for series in runs.series]
    empty_ns = runs.clock.empty_ticks / runs.clock.per_ns
    print(f"ns a command, the clock's own {empty_ns:.1f} taken off; ratio to the limit loop's")
    print(f"{'':38}" + "".join(f"{f'p{p:g}':>18}" for p in PERCENTILES) + f"{'page faults':>13}")
    for row in found:
        cells = "".join(
            f"{f'{ns:,.0f} ({ratio:.2f})':>18}"
            for ns, ratio in zip(row["ns"], row["ratios"], strict=True)
        )
        print(f"{row['name']:38}{cells}{row['page_faults']:13,}")
    measure.OUT.mkdir(exist_ok=True)
    (measure.OUT / "latency.json").write_text(
        json.dumps({"empty_ns": empty_ns, "series": found}, indent=1)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
