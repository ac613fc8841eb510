"""Price paths: one-minute prices from CSV, Parquet or Feather, checked row by row before use.

A path drives the index of a scenario. Nothing is repaired in silence: the first row that is wrong
is named with its file and a cure. Prices stay exact decimals until they become ticks.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MINUTE_NS = 60_000_000_000

#: Names a time column may have, in the order in which they are looked for (any letter case).
TIME_COLUMNS = ("timestamp", "time", "datetime", "date", "open_time")
#: Names a price column may have; minute closes come first.
PRICE_COLUMNS = ("close", "price", "index", "mark")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE_SUFFIXES = {".parquet", ".pq", ".feather", ".arrow"}
_CSV_SUFFIXES = {".csv", ".txt"}
_PACKED_SUFFIXES = {".gz", ".zip", ".bz2", ".xz", ".zst"}
#: Times of a path, from 2000 to before 2100: others are no epoch in s, ms, us or ns.
_YEARS_NS = (946_684_800 * 10**9, 4_102_444_800 * 10**9)

#: What is wrong with a price, and the cure; None where nothing is.
Judge = Callable[[Decimal], tuple[str, str] | None]


class InputError(ValueError):
    """An input that cannot be used: says where, what is wrong, and the cure, in one line."""

    def __init__(self, where: str, problem: str, cure: str) -> None:
        self.where = where
        self.problem = problem
        self.cure = cure
        super().__init__(f"{where}: {problem}; {cure}")


@dataclass(frozen=True)
class PricePath:
    """A price each minute: `prices[i]` in USD is the price at `timestamps_ns[i]`.

    `timestamps_ns` is (n,) int64, UTC, one minute apart; `prices` holds n exact decimals > 0.
    """

    name: str
    timestamps_ns: NDArray[np.int64]
    prices: tuple[Decimal, ...]

    def __len__(self) -> int:
        return len(self.prices)

    def mark_ticks(self, mark_tick: Decimal, max_ticks: int) -> tuple[NDArray[np.int64], int]:
        """The prices on a grid of marks, and how many of them were not exactly on it.

        Parameters: `mark_tick` in USD; `max_ticks`, the largest mark a contract accepts.
        Returns ((n,) int64 mark ticks, rounded count). A price off the grid goes to the nearest
        tick, ties to the even one (an index has no payer whom the direction could favor).
        Raises InputError where a price is below half a tick or above `max_ticks`.
        """
        tick_num, tick_den = mark_tick.as_integer_ratio()
        ticks = np.empty(len(self.prices), np.int64)
        rounded = 0
        for i, price in enumerate(self.prices):
            price_num, price_den = price.as_integer_ratio()
            value, inexact = _nearest_even(price_num * tick_den, price_den * tick_num)
            rounded += inexact
            if not 1 <= value <= max_ticks:
                raise InputError(
                    f"{self.name}: {utc_minute(int(self.timestamps_ns[i]))}",
                    f"price {price} is outside the contract's grid of {mark_tick} USD to "
                    f"{max_ticks * mark_tick:,f} USD",
                    "choose the contract that this path belongs to (--contract)",
                )
            ticks[i] = value
        return ticks, rounded


def utc_minute(timestamp_ns: int) -> str:
    """A time in ns as `2022-01-20 23:01` (UTC)."""
    seconds = timestamp_ns // 1_000_000_000
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def load_prices(file: str | Path, judge: Judge = lambda price: None) -> PricePath:
    """Read and check a one-minute price path.

    CSV needs a header; Parquet and Feather need pyarrow. Columns: one of TIME_COLUMNS (ISO 8601,
    or an epoch in s, ms, us or ns; without a zone it is UTC) and one of PRICE_COLUMNS (USD); others
    are ignored. Rows are counted as an editor counts lines (CSV, the header is row 1) or from 1.
    `judge` may refuse a price that its user has no place for (scenario.off_range).
    Raises InputError, which names file, row and cure: absent or empty file, missing column, a
    price that is no number, NaN, zero or negative, times unsorted, repeated or with a gap.
    """
    path = Path(file)
    if not path.exists():
        raise InputError(str(file), "no such file", "check the path given to --prices")
    if path.is_dir():
        raise InputError(str(file), "is a directory", "name one CSV, Parquet or Feather file")
    if not path.is_file():
        raise InputError(str(file), "is not a file", "save the prices to a file and name it")
    if not os.access(path, os.R_OK):
        raise InputError(str(file), "cannot be read", "check its permissions")
    if path.stat().st_size == 0:
        raise InputError(str(file), "the file is empty", "export it again with a header and rows")
    suffix = path.suffix.lower()
    if suffix in _CSV_SUFFIXES:
        rows = _csv_rows(path)
    elif suffix in _TABLE_SUFFIXES:
        rows = _table_rows(path)
    elif suffix in _PACKED_SUFFIXES:
        raise InputError(str(file), f"is packed ({suffix})", "unpack it and name what is inside")
    else:
        raise InputError(
            str(file),
            f"files ending in {suffix or 'nothing'!r} are not read",
            "give a .csv, .parquet or .feather file",
        )
    return _checked(path, rows, judge)


def bundled_prices() -> PricePath:
    """BTC perpetual, minute closes, 2022-01-20 00:00 to 2022-01-24 23:59 UTC (7,200 rows)."""
    return load_prices(Path(__file__).with_name("data") / "btc-perp-2022-01-20-24-1m.csv")


def _nearest_even(numerator: int, denominator: int) -> tuple[int, bool]:
    """numerator / denominator to the nearest integer, ties to even; and whether it was inexact."""
    floor, rest = divmod(numerator, denominator)
    if 2 * rest > denominator or (2 * rest == denominator and floor % 2):
        floor += 1
    return floor, rest != 0


def _column(where: str, names: Iterable[str], wanted: tuple[str, ...], what: str) -> str:
    found = {name.strip().lower(): name for name in names}
    for name in wanted:
        if name in found:
            return found[name]
    have = ", ".join(repr(name) for name in found) or "none"
    cure = f"name one of its columns {', '.join(wanted[:-1])} or {wanted[-1]}"
    if any(name.replace(".", "").isdecimal() for name in found):
        cure = f"write a header above the first row: {wanted[0]} for the {what}"
    raise InputError(where, f"no {what} column (found {have})", cure)


def _csv_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream, strict=True)
            header = next(reader, [])
            where = f"{path}: row 1"
            time_at = header.index(_column(where, header, TIME_COLUMNS, "time"))
            price_at = header.index(_column(where, header, PRICE_COLUMNS, "price"))
            for fields in reader:
                if not any(field.strip() for field in fields):
                    continue
                if len(fields) <= max(time_at, price_at):
                    raise InputError(
                        f"{path}: row {reader.line_num}",
                        f"has {len(fields)} of {len(header)} fields",
                        "the file may be cut off: export it again",
                    )
                yield reader.line_num, fields[time_at], fields[price_at]
    except UnicodeDecodeError:
        raise InputError(
            str(path), "is not a text file in UTF-8", "export it as CSV in UTF-8, or as Parquet"
        ) from None
    except csv.Error as error:
        raise InputError(
            f"{path}: row {reader.line_num}", f"is not valid CSV ({error})", "export it again"
        ) from None
    except OSError as error:
        raise InputError(
            str(path), f"cannot be read ({error.strerror})", "check its permissions"
        ) from None


def _table_rows(path: Path) -> Iterator[tuple[int, Any, Any]]:
    try:
        import pyarrow
        from pyarrow import feather, parquet
    except ImportError:
        raise InputError(
            str(path), "needs pyarrow to be read", "pip install 'perpcore[cli]', or give a CSV"
        ) from None
    is_parquet = path.suffix.lower() in {".parquet", ".pq"}
    kind = "Parquet" if is_parquet else "Feather"
    try:
        if is_parquet:
            names = parquet.read_schema(path).names
        else:
            names = feather.read_table(path).column_names
        time_name = _column(str(path), names, TIME_COLUMNS, "time")
        price_name = _column(str(path), names, PRICE_COLUMNS, "price")
        columns = [time_name, price_name]
        read = parquet.read_table if is_parquet else feather.read_table
        table = read(path, columns=columns)
    except (pyarrow.ArrowException, OSError):
        raise InputError(
            str(path), f"is not a {kind} file", f"export it again as {kind}, or give a CSV"
        ) from None
    times = _time_values(table.column(time_name))
    prices = table.column(price_name).to_pylist()
    for row, (time, price) in enumerate(zip(times, prices, strict=True), start=1):
        yield row, time, price


def _time_values(column: Any) -> list[Any]:
    """Times as integers in ns where the column has a time type, else as they stand."""
    import pyarrow as pa

    if not pa.types.is_timestamp(column.type):
        return list(column.to_pylist())
    factor = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}[column.type.unit]
    values = column.cast(pa.int64()).to_pylist()
    return [None if value is None else _Nanoseconds(value * factor) for value in values]


class _Nanoseconds(int):
    """An integer that is known to be ns since 1970, unlike one whose unit must be told."""


def _checked(path: Path, rows: Iterator[tuple[int, Any, Any]], judge: Judge) -> PricePath:
    times: list[int] = []
    prices: list[Decimal] = []
    for row, raw_time, raw_price in rows:
        where = f"{path}: row {row}"
        time = _timestamp_ns(where, raw_time)
        if times and time - times[-1] > MINUTE_NS:
            raise _gap_or_disorder(path, where, times, time, rows)
        if times:
            _check_step(where, times[-1], time)
        times.append(time)
        price = _price(where, raw_price)
        wrong = judge(price)
        if wrong is not None:
            raise InputError(where, *wrong)
        prices.append(price)
    if len(times) < 2:
        count = f"{len(times)} row{'' if len(times) == 1 else 's'}"
        raise InputError(str(path), f"has {count} of prices", "a path needs 2 minutes or more")
    return PricePath(path.name, np.array(times, np.int64), tuple(prices))


def _check_step(where: str, before: int, now: int) -> None:
    """Refuse a time that is not after the one before it by a minute; gaps are told elsewhere."""
    step = now - before
    if step == MINUTE_NS:
        return
    if step == 0:
        problem, cure = f"time {utc_minute(now)} is there twice", "remove one of the two rows"
    elif step < 0:
        problem = f"time {utc_minute(now)} comes after {utc_minute(before)}"
        cure = "sort the file by time"
    else:
        problem = f"is {step / 1e9:g} s after the row before it"
        cure = "give one row a minute"
    raise InputError(where, problem, cure)


def _gap_or_disorder(
    path: Path, where: str, times: list[int], now: int, rest: Iterator[tuple[int, Any, Any]]
) -> InputError:
    """The error for a row that comes too late: rows are missing, or one of them stands below."""
    before, step = times[-1], now - times[-1]
    try:
        for row, raw_time, _ in rest:
            time = _timestamp_ns(f"{path}: row {row}", raw_time)
            if before < time < now:
                return InputError(
                    f"{path}: row {row}",
                    f"time {utc_minute(time)} comes after {utc_minute(now)}",
                    "sort the file by time",
                )
    except InputError:
        pass  # The gap comes first, whatever is wrong below it.
    missing = step // MINUTE_NS - (step % MINUTE_NS == 0)
    minutes = "minute is" if missing == 1 else "minutes are"
    cure = "fill the gap, or give the part before or after it"
    if len(times) == 1 and step % MINUTE_NS == 0:
        apart = f"{step // MINUTE_NS:,} minutes"
        cure = f"fill the gap, or export one-minute prices if all rows are {apart} apart"
    return InputError(
        where,
        f"{missing:,} {minutes} missing between {utc_minute(before)} and {utc_minute(now)}",
        cure,
    )


def _timestamp_ns(where: str, raw: Any) -> int:
    if isinstance(raw, _Nanoseconds):
        return _in_years(where, int(raw))
    if isinstance(raw, str):
        raw = raw.strip()
        if re.fullmatch(r"-?\d{1,30}", raw):
            raw = int(raw)
    if isinstance(raw, int) and not isinstance(raw, bool):
        return _in_years(where, raw * _epoch_factor(raw))
    if isinstance(raw, date) and not isinstance(raw, datetime):
        raw = raw.isoformat()
    if isinstance(raw, float) and raw.is_integer():
        return _in_years(where, int(raw) * _epoch_factor(int(raw)))
    try:
        moment = raw if isinstance(raw, datetime) else datetime.fromisoformat(raw)
    except (TypeError, ValueError):
        raise InputError(
            where,
            "has no time" if raw is None or raw == "" else f"{raw!r} is not a time",
            "write it like 2022-01-20 00:01, or as an epoch",
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - _EPOCH
    ns = (since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1_000
    return _in_years(where, ns)


def _in_years(where: str, timestamp_ns: int) -> int:
    """The time itself, if it is one that a path of prices can have."""
    if _YEARS_NS[0] <= timestamp_ns < _YEARS_NS[1]:
        return timestamp_ns
    raise InputError(
        where,
        "its time is not within the years 2000 to 2099",
        "write it like 2022-01-20 00:01, or as an epoch in s, ms, us or ns",
    )


def _epoch_factor(value: int) -> int:
    """ns in one unit of an epoch, told by its size (s until the year 5138, then ms, us, ns)."""
    for limit, factor in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if abs(value) < limit:
            return factor
    return 1


def _price(where: str, raw: Any) -> Decimal:
    text = repr(raw) if isinstance(raw, float) else str(raw if raw is not None else "").strip()
    if not text:
        raise InputError(where, "has no price", "fill it in, or cut the path before it")
    try:
        price = Decimal(text)
    except InvalidOperation:
        raise InputError(
            where, f"price {text!r} is not a number", "write it like 41677.5"
        ) from None
    if not price.is_finite():
        raise InputError(
            where, f"price is {text}", "fill it in, or cut the path before it"
        )
    if price <= 0:
        raise InputError(
            where, f"price {text} is not above 0", "correct it, or cut the path before it"
        )
    return price
