"""Price paths: what is read, and the one line that says what is wrong with a file."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from perpcore.prices import MINUTE_NS, InputError, PricePath, bundled_prices, load_prices
from perpcore.scenario import CONTRACTS, off_range

GOOD = "timestamp,open,close\n2022-01-20 00:00,1,41677.5\n2022-01-20 00:01,1,41700\n"
JANUARY_20_NS = 1_642_636_800 * 10**9


def write(folder: Path, text: str | bytes, name: str = "prices.csv") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def rows(*lines: str) -> str:
    return "\n".join(("timestamp,close", *lines)) + "\n"


def test_csv_prices_are_exact_decimals_at_utc_minutes(tmp_path: Path) -> None:
    path = load_prices(write(tmp_path, GOOD))
    assert path.prices == (Decimal("41677.5"), Decimal("41700"))
    assert path.timestamps_ns.tolist() == [JANUARY_20_NS, JANUARY_20_NS + MINUTE_NS]
    assert path.name == "prices.csv"


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2022-01-20T00:00:00Z", "2022-01-20T00:01:00Z"),
        ("2022-01-20 01:00:00+01:00", "2022-01-20 01:01:00+01:00"),
        ("2022-01-20 00:00:00.000000", "2022-01-20 00:01:00.000000"),
        ("1642636800", "1642636860"),
        ("1642636800000", "1642636860000"),
        ("1642636800000000", "1642636860000000"),
        ("1642636800000000000", "1642636860000000000"),
    ],
)
def test_a_time_may_be_iso_or_an_epoch_in_any_unit(
    tmp_path: Path, first: str, second: str
) -> None:
    path = load_prices(write(tmp_path, rows(f"{first},1", f"{second},2")))
    assert path.timestamps_ns.tolist() == [JANUARY_20_NS, JANUARY_20_NS + MINUTE_NS]


def test_columns_are_found_by_any_of_their_names_and_letter_cases(tmp_path: Path) -> None:
    path = load_prices(write(tmp_path, "Open_Time,Price\n1642636800,5\n1642636860,6\n"))
    assert path.prices == (Decimal(5), Decimal(6))


def test_blank_lines_and_a_byte_order_mark_do_no_harm(tmp_path: Path) -> None:
    assert len(load_prices(write(tmp_path, b"\xef\xbb\xbf" + GOOD.encode() + b"\n\n"))) == 2


@pytest.mark.parametrize("suffix", ["parquet", "feather"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_and_feather_give_the_same_path_as_csv(
    tmp_path: Path, suffix: str, unit: str
) -> None:
    file = table_file(tmp_path, suffix, [41677.5, 41700.0], unit)
    path = load_prices(file)
    assert path.prices == (Decimal("41677.5"), Decimal("41700"))
    assert path.timestamps_ns.tolist() == [JANUARY_20_NS, JANUARY_20_NS + MINUTE_NS]


def table_file(
    folder: Path, suffix: str, prices: list[float | None], unit: str = "ns", step: int = MINUTE_NS
) -> Path:
    import pyarrow as pa
    from pyarrow import feather, parquet

    times = np.array([JANUARY_20_NS + i * step for i in range(len(prices))]).astype("M8[ns]")
    table = pa.table({"date": pa.array(times).cast(pa.timestamp(unit)), "close": prices})
    file = folder / f"prices.{suffix}"
    (parquet.write_table if suffix == "parquet" else feather.write_feather)(table, file)
    return file


# file content                                           | row | what is wrong       | cure
BAD_CSV = [
    ("missing price column", "timestamp,volume\n1,2\n", "row 1", "no price column", "close"),
    ("missing time column", "when,close\n1,2\n", "row 1", "no time column", "timestamp"),
    ("NaN", rows("2022-01-20 00:00,1", "2022-01-20 00:01,NaN"), "row 3", "NaN", "fill it in"),
    ("infinite", rows("2022-01-20 00:00,inf"), "row 2", "inf", "fill it in"),
    ("no price", rows("2022-01-20 00:00,1", "2022-01-20 00:01,"), "row 3", "no price", "fill"),
    ("negative", rows("2022-01-20 00:00,-3"), "row 2", "-3 is not above 0", "correct it"),
    ("zero", rows("2022-01-20 00:00,0.0"), "row 2", "0.0 is not above 0", "correct it"),
    ("words", rows("2022-01-20 00:00,cheap"), "row 2", "'cheap' is not a number", "41677.5"),
    ("no time", rows(",5"), "row 2", "has no time", "2022-01-20 00:01"),
    ("bad time", rows("noon,5"), "row 2", "'noon' is not a time", "2022-01-20 00:01"),
    ("gap", rows("2022-01-20 00:00,1", "2022-01-20 00:04,1"), "row 3",
     "3 minutes are missing between 2022-01-20 00:00 and 2022-01-20 00:04", "fill the gap"),
    ("one missing", rows("2022-01-20 00:00,1", "2022-01-20 00:02,1"), "row 3",
     "1 minute is missing", "fill the gap"),
    ("unsorted", rows("2022-01-20 00:01,1", "2022-01-20 00:00,1"), "row 3",
     "2022-01-20 00:00 comes after 2022-01-20 00:01", "sort the file"),
    ("duplicate", rows("2022-01-20 00:00,1", "2022-01-20 00:00,1"), "row 3",
     "is there twice", "remove one"),
    ("too dense", rows("2022-01-20 00:00:00,1", "2022-01-20 00:00:30,1"), "row 3",
     "is 30 s after", "one row a minute"),
    ("bars of an hour", rows("2022-01-20 00:00,1", "2022-01-20 01:00,1", "2022-01-20 02:00,1"),
     "row 3", "59 minutes are missing", "one-minute prices if all rows are 60 minutes apart"),
    ("two rows swapped", rows("2022-01-20 00:00,1", "2022-01-20 00:02,1", "2022-01-20 00:01,1"),
     "row 4", "2022-01-20 00:01 comes after 2022-01-20 00:02", "sort the file"),
    ("gap above a bad row", rows("2022-01-20 00:00,1", "2022-01-20 00:02,1", "noon,1"),
     "row 3", "1 minute is missing", "fill the gap"),
    ("no header", rows("2022-01-20 00:00,1").split("\n", 1)[1], "row 1",
     "no time column (found '2022-01-20 00:00', '1')", "write a header above the first row"),
    ("time before 2000", rows("60,5"), "row 2", "within the years 2000 to 2099", "epoch in s"),
    ("endless time", rows("9" * 25 + ",5"), "row 2", "within the years 2000 to 2099", "epoch"),
    ("two signs", rows("--5,5"), "row 2", "'--5' is not a time", "2022-01-20 00:01"),
    ("cut off", rows("2022-01-20 00:00,1", "2022-01-"), "row 3", "has 1 of 2 fields", "export"),
    ("header only", rows(), "prices.csv", "has 0 rows", "2 minutes or more"),
    ("one row", rows("2022-01-20 00:00,1"), "prices.csv", "has 1 row", "2 minutes or more"),
    ("empty", "", "prices.csv", "the file is empty", "export it again"),
]


@pytest.mark.parametrize(
    ("text", "row", "problem", "cure"),
    [case[1:] for case in BAD_CSV],
    ids=[case[0] for case in BAD_CSV],
)
def test_a_bad_csv_is_refused_in_one_line_with_file_row_and_cure(
    tmp_path: Path, text: str, row: str, problem: str, cure: str
) -> None:
    file = write(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_prices(file)
    message = str(caught.value)
    assert str(file) in message
    assert row in message
    assert problem in message
    assert cure in caught.value.cure
    assert "\n" not in message


def test_a_file_that_is_no_text_is_refused_as_such(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a text file"):
        load_prices(write(tmp_path, b"timestamp,close\n\xff\xfe\x00,1\n"))


@pytest.mark.parametrize(("suffix", "kind"), [("parquet", "Parquet"), ("feather", "Feather")])
def test_a_file_that_is_not_what_its_name_says_is_refused(
    tmp_path: Path, suffix: str, kind: str
) -> None:
    with pytest.raises(InputError, match=f"is not a {kind} file"):
        load_prices(write(tmp_path, GOOD, f"prices.{suffix}"))


@pytest.mark.parametrize(
    ("prices", "problem"), [([1.0, float("nan")], "price is nan"), ([1.0, None], "has no price")]
)
def test_a_hole_in_a_parquet_file_is_named_by_row(
    tmp_path: Path, prices: list[float | None], problem: str
) -> None:
    with pytest.raises(InputError, match=f"row 2: {problem}"):
        load_prices(table_file(tmp_path, "parquet", prices))


def test_a_gap_in_a_parquet_file_is_named_by_row(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="row 2: 1 minute is missing"):
        load_prices(table_file(tmp_path, "parquet", [1.0, 2.0], step=2 * MINUTE_NS))


def test_a_parquet_file_without_a_price_column_names_the_columns_it_has(tmp_path: Path) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    file = tmp_path / "prices.parquet"
    parquet.write_table(pa.table({"timestamp": [1, 2], "volume": [3.0, 4.0]}), file)
    with pytest.raises(InputError, match="found 'timestamp', 'volume'"):
        load_prices(file)


def test_absent_files_directories_and_unknown_endings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_prices(tmp_path / "nowhere.csv")
    with pytest.raises(InputError, match="is a directory"):
        load_prices(tmp_path)
    with pytest.raises(InputError, match="are not read"):
        load_prices(write(tmp_path, GOOD, "prices.xlsx"))
    with pytest.raises(InputError, match=r"is packed \(.gz\); unpack it"):
        load_prices(write(tmp_path, GOOD, "prices.csv.gz"))


# contract      | price     | what is wrong, cure included; None where it fits
RANGES = [
    ("BTCUSD-PERP", "41677", None),
    ("BTCUSD-PERP", "100", None),
    ("BTCUSD-PERP", "0.5", ("outside BTCUSD-PERP's 100 to 1,000,000 USD", "XRPUSD-PERP")),
    ("BTCUSD-PERP", "99.9", ("outside BTCUSD-PERP's 100 to 1,000,000 USD", "ETHUSD-PERP")),
    ("XRPUSD-PERP", "0.1", None),
    ("XRPUSD-PERP", "41677", ("outside XRPUSD-PERP's 0.1 to 10 USD", "BTCUSD-PERP or ETHUSD")),
    ("ETHUSD-PERP", "0.00001", ("outside ETHUSD-PERP's 10 to 100,000", "quote it for 1,000")),
]


@pytest.mark.parametrize(("symbol", "price", "wrong"), RANGES)
def test_a_price_that_its_contract_has_no_place_for_is_told_the_contract_that_has(
    tmp_path: Path, symbol: str, price: str, wrong: tuple[str, str] | None
) -> None:
    file = write(tmp_path, rows(f"2022-01-20 00:00,{price}", f"2022-01-20 00:01,{price}"))
    contract = CONTRACTS[symbol]
    if wrong is None:
        assert len(load_prices(file, lambda found: off_range(contract, found))) == 2
        return
    with pytest.raises(InputError) as caught:
        load_prices(file, lambda found: off_range(contract, found))
    assert f"{file}: row 2: price {Decimal(price)}" in str(caught.value)
    assert wrong[0] in caught.value.problem
    assert wrong[1] in caught.value.cure


# price       | mark tick | ticks | rounded
GRID = [
    ("41677", "0.01", 4_167_700, 0),
    ("41677.01", "0.01", 4_167_701, 0),
    ("41677.014", "0.01", 4_167_701, 1),
    ("41677.005", "0.01", 4_167_700, 1),
    ("41677.015", "0.01", 4_167_702, 1),
    ("0.75", "0.25", 3, 0),
]


@pytest.mark.parametrize(("price", "tick", "ticks", "rounded"), GRID)
def test_prices_become_ticks_exactly_or_go_to_the_nearest(
    price: str, tick: str, ticks: int, rounded: int
) -> None:
    path = PricePath("p", np.array([0], np.int64), (Decimal(price),))
    found, count = path.mark_ticks(Decimal(tick), 10**9)
    assert (found.tolist(), count) == ([ticks], rounded)


def test_a_price_beyond_the_contract_is_refused_with_its_time() -> None:
    path = PricePath("p", np.array([JANUARY_20_NS], np.int64), (Decimal("41677"),))
    with pytest.raises(InputError, match="2022-01-20 00:00: price 41677 is outside"):
        path.mark_ticks(Decimal("0.01"), 1_000_000)


def test_the_bundled_path_is_five_whole_days_of_january_2022() -> None:
    path = bundled_prices()
    assert len(path) == 5 * 1_440
    assert int(path.timestamps_ns[0]) == JANUARY_20_NS
    assert path.prices[0] == Decimal("41677")
    assert min(path.prices) == Decimal("33061")
