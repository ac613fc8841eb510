"""Run after `python build.py`: plays the five days and checks every answer of every message.

main.py [ORDERS] [SEED] [ROUNDS]. The reports and the book at the end are compared with those of
perpcore.book.OrderBook, and with the published SHA-256 of the day where there is one.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from perpcore.book import BOOK_COMMAND, BookKind, OrderBook
from perpcore.codes import Code, OrderType, Side, TimeInForce

HERE = Path(__file__).resolve().parent
DAYS = ("static", "normal", "swing-25", "swing-40", "flash-crash")
#: plain_new and plain_report; a message is its kind and, laid over each other, what it carries.
ORDER = np.dtype([
    ("order_id", "<u8"), ("sequence", "<u8"), ("price_ticks", "<i8"), ("qty_lots", "<u4"),
    ("side", "u1"), ("type", "u1"), ("_pad", "V2"),
])  # fmt: skip
MESSAGE = np.dtype([("kind", "<u8"), *[(name, ORDER[name]) for name in ORDER.names]])
REPORT = np.dtype([
    ("type", "u1"), ("side", "u1"), ("code", "<u2"), ("_pad", "V4"), ("sequence", "<u8"),
    ("order_id", "<u8"), ("price_ticks", "<i8"), ("qty_lots", "<u4"), ("_pad2", "V4"),
    ("maker_order_id", "<u8"), ("taker_order_id", "<u8"), ("number", "<u8"),
])  # fmt: skip
NEW, CANCEL, MODIFY = range(3)
ORDER_ACK, TRADE, CANCEL_ACK, MODIFY_ACK, CANCEL_REJECT, MODIFY_REJECT = range(6)

#: SHA-256 of all reports of 1,000,000 orders, seed 23, as published with arXiv 2606.01183
#: (github.com/flash1-dev/matching-engine-benchmark, reference/correctness_hash.txt).
PUBLISHED = {
    "static": "9803843ee404fc29c9a0aa5614f8f0d5a58b5c44fcac9ef89067886fcaaa30d1",
    "normal": "e9b2e3926854410b01a035aeb25dd05f1e597c233be8263de9eb49b6713d367e",
    "swing-25": "61a84be9469661bd039e00dbc9a7c011e70b6ace37aadfe60045ea083b05f4df",
    "swing-40": "3cb0175e7982ff09ea220d1feaee3844cf9116a5ce455757879dea1d880b9b9f",
    "flash-crash": "cff8d3f94b709fc64a8b2058a6ca4fb6920364904796e46906895e362d2bb16b",
}
#: What of a report is in the published form, by its type.
FORMS = {
    ORDER_ACK: ("type", "sequence", "side", "order_id", "price_ticks", "qty_lots"),
    TRADE: ("type", "sequence", "price_ticks", "qty_lots", "maker_order_id", "taker_order_id"),
    CANCEL_ACK: ("type", "sequence", "side", "order_id", "price_ticks"),
    MODIFY_ACK: ("type", "sequence", "side", "order_id", "price_ticks", "qty_lots"),
    CANCEL_REJECT: ("type", "sequence", "order_id"),
    MODIFY_REJECT: ("type", "sequence", "order_id"),
}


def published_hash(reports: NDArray[np.void]) -> str:
    """SHA-256 of a line a report, sorted by message and type, as the benchmark takes it."""
    order = np.lexsort((reports["type"], reports["sequence"]))
    lines = np.empty(len(reports), object)
    for kind, fields in FORMS.items():
        at = np.flatnonzero(reports["type"] == kind)
        columns = [reports[field][at].tolist() for field in fields]
        lines[at] = [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return hashlib.sha256("\n".join(lines[order].tolist()).encode()).hexdigest()


def commands_of(messages: NDArray[np.void]) -> NDArray[np.void]:
    """The messages as commands of OrderBook."""
    commands = np.zeros(len(messages), BOOK_COMMAND)
    kinds = (BookKind.BOOK_NEW, BookKind.BOOK_CANCEL, BookKind.BOOK_REPLACE)
    commands["kind"] = np.array(kinds, np.uint8)[messages["kind"]]
    commands["order_id"] = messages["order_id"]
    new, priced = messages["kind"] == NEW, messages["kind"] != CANCEL
    commands["side"][new] = messages["side"][new] + np.uint8(Side.BUY)
    commands["order_type"][new] = OrderType.LIMIT
    ioc = messages["type"][new] != 0
    commands["time_in_force"][new] = np.where(ioc, TimeInForce.IOC, TimeInForce.GTC)
    for field in ("price_ticks", "qty_lots"):
        commands[field][priced] = messages[field][priced]
    return commands


def compare(name: str, folder: Path) -> OrderBook:
    """OrderBook after the same day; AssertionError where the engine said anything else."""
    messages = np.fromfile(folder / f"{name}.messages", MESSAGE)
    reports = np.fromfile(folder / f"{name}.reports", REPORT)
    orders = np.fromfile(folder / f"{name}.orders", ORDER)
    book = OrderBook(1 << 24, 1 << 17)
    done = book.apply(commands_of(messages))
    trades = reports[reports["type"] == TRADE]
    assert np.array_equal(trades["sequence"], messages["sequence"][np.isin(
        messages["sequence"], trades["sequence"])].repeat(np.unique(
            trades["sequence"], return_counts=True)[1]))  # fmt: skip
    for field in ("taker_order_id", "maker_order_id", "price_ticks", "qty_lots"):
        assert np.array_equal(trades[field], done.trades[field]), field
    # One answer a message; an IOC has a second for what it did not fill.
    answers = reports[reports["type"] != TRADE]
    first = answers[np.unique(answers["sequence"], return_index=True)[1]]
    refused = np.array([CANCEL_REJECT, CANCEL_REJECT, MODIFY_REJECT])[messages["kind"]]
    accepted = np.array([ORDER_ACK, CANCEL_ACK, MODIFY_ACK])[messages["kind"]]
    right = (done.statuses == Code.OK) | (done.statuses == Code.IOC_NOT_FILLED)
    assert np.array_equal(first["type"], np.where(right, accepted, refused))
    assert np.array_equal(first["order_id"], messages["order_id"])
    both = np.concatenate([book.orders(Side.BUY), book.orders(Side.SELL)])
    for field in ("order_id", "price_ticks", "qty_lots"):
        assert np.array_equal(orders[field], both[field]), field
    return book


def main() -> None:
    """Play, print what was reached, and compare."""
    orders, seed, rounds = (sys.argv[1:] + ["1000000", "23", "7"][len(sys.argv) - 1 :])[:3]
    with tempfile.TemporaryDirectory() as folder:
        command = [str(HERE / "days"), orders, seed, rounds, folder]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for name in DAYS:
            book = compare(name, Path(folder))
            said = f"{name}: trades, answers and {len(book):,} resting orders are OrderBook's"
            if (orders, seed) == ("1000000", "23"):
                reports = np.fromfile(Path(folder) / f"{name}.reports", REPORT)
                assert published_hash(reports) == PUBLISHED[name], f"{name}: not as published"
                said += "; all reports have the published SHA-256"
            print(said)


if __name__ == "__main__":
    main()
