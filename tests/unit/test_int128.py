"""Checked arithmetic of 64 and 128 bits against Python ints, in both of its implementations.

The header is compiled once as the compiler has it and once with two words only; both must give
the same numbers and stop at the same overflows. For that the probe turns the check into a flag; one
test leaves the check as it is and sees the process stop.
"""

from __future__ import annotations

import ctypes
import random
import shutil
import subprocess
import sys
from fractions import Fraction
from itertools import product
from math import ceil, floor, gcd
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

INCLUDE = Path(__file__).parents[2] / "cython" / "perpcore" / "include"
IMPLEMENTATIONS = {"native": [], "two_words": ["-DPERPCORE_TWO_WORDS"]}

SOURCE = """
#include "perpcore/check.hpp"
static int failures = 0;
#ifdef COUNT_FAILURES
#undef PERPCORE_CHECK
#define PERPCORE_CHECK(condition) do { if (!(condition)) ++failures; } while (0)
#endif
#include "perpcore/int128.hpp"
using namespace perpcore;
extern "C" {
int take_failures() { int n = failures; failures = 0; return n; }
#define TWO(name) int64_t p_##name(int64_t a, int64_t b) { return name(a, b); }
#define THREE(name) int64_t p_##name(int64_t a, int64_t b, int64_t d) { return name(a, b, d); }
#define WIDE(name) i128 p_##name(i128 a, i128 b) { return name(a, b); }
#define DIVIDE(name, type) type p_##name(i128 a, uint64_t d) { return name(a, d); }
TWO(larger) TWO(smaller) TWO(signed_as)
TWO(add64) TWO(sub64) TWO(mul64) TWO(floor_div) TWO(ceil_div)
THREE(mul_div_floor) THREE(mul_div_ceil)
WIDE(i128_add) WIDE(i128_sub)
DIVIDE(i128_floor_div, i128) DIVIDE(i128_ceil_div, i128)
DIVIDE(i128_floor_div64, int64_t) DIVIDE(i128_ceil_div64, int64_t)
i128 p_i128_from(int64_t a) { return i128_from(a); }
i128 p_i128_neg(i128 a) { return i128_neg(a); }
i128 p_i128_mul(int64_t a, int64_t b) { return i128_mul(a, b); }
i128 p_i128_mul_u(i128 a, uint64_t b) { return i128_mul_u(a, b); }
int p_i128_cmp(i128 a, i128 b) { return i128_cmp(a, b); }
int p_i128_fits64(i128 a) { return i128_fits64(a); }
int64_t p_i128_to64(i128 a) { return i128_to64(a); }
uint64_t p_i128_low64(i128 a) { return i128_low64(a); }
int64_t p_magnitude(int64_t a) { return magnitude(a); }
int64_t p_not_below_zero(int64_t a) { return not_below_zero(a); }
int p_sign_of(int64_t a) { return sign_of(a); }
int p_are_opposite(int64_t a, int64_t b) { return are_opposite(a, b); }
int p_cmp_products(int64_t a, uint64_t b, int64_t c, uint64_t d) {
    return cmp_products(a, b, c, d);
}
int64_t p_i128_within(i128 a, int64_t low, int64_t high) { return i128_within(a, low, high); }
uint64_t p_u64_gcd(uint64_t a, uint64_t b) { return u64_gcd(a, b); }
uint64_t p_u64_exact_div(uint64_t a, uint64_t b) { return u64_exact_div(a, b); }
int p_u64_cmp_products(uint64_t a, uint64_t b, uint64_t c, uint64_t d) {
    return u64_cmp_products(a, b, c, d);
}
int p_fractions_cmp(int64_t whole, const uint64_t* nums, const uint64_t* dens, int count) {
    return fractions_cmp(whole, nums, dens, count);
}
int p_fractions_cmp_exact(int64_t whole, const uint64_t* nums, const uint64_t* dens, int count) {
    return fractions_cmp_exact(whole, nums, dens, count);
}
}
"""

I64, U64, INT = ctypes.c_int64, ctypes.c_uint64, ctypes.c_int
I64_MIN, I64_MAX = -(1 << 63), (1 << 63) - 1
I128_MIN, I128_MAX = -(1 << 127), (1 << 127) - 1
EDGES64 = sorted(
    {s * (base + d) for base in (0, 1 << 31, 1 << 32, 1 << 62) for d in (-1, 0, 1) for s in (1, -1)}
    | {I64_MIN, I64_MIN + 1, I64_MAX - 1, I64_MAX, 10**9, -(10**9), 7, -7}
)
DIVISORS = [1, 2, 3, 10**9, (1 << 32) - 1, 1 << 32, (1 << 32) + 1, (1 << 62) + 1, I64_MAX]
DIVISORS_U = [*DIVISORS, 1 << 63, (1 << 63) + 1, (1 << 64) - 2, (1 << 64) - 1]
EDGES128 = sorted(
    {a << s for a in (-3, -1, 0, 1, 3) for s in (0, 32, 63, 64, 96, 120)}
    | {I128_MIN, I128_MIN + 1, I128_MAX - 1, I128_MAX, (1 << 64) - 1, -(1 << 64) + 1, I64_MIN}
    | {I64_MAX, 1 << 126, -(1 << 126), (1 << 96) - 1, ((1 << 63) - 1) << 64}
)


class I128(ctypes.Structure):
    _fields_ = [("hi", I64), ("lo", U64)]

    @classmethod
    def of(cls, value: int) -> I128:
        return cls(value >> 64, value & ((1 << 64) - 1))

    def __int__(self) -> int:
        return (self.hi << 64) + self.lo


SIGNATURES = {
    **dict.fromkeys(("add64", "sub64", "mul64", "floor_div", "ceil_div"), (I64, I64, I64)),
    **dict.fromkeys(("mul_div_floor", "mul_div_ceil"), (I64, I64, I64, I64)),
    **dict.fromkeys(("i128_add", "i128_sub"), (I128, I128, I128)),
    **dict.fromkeys(("i128_floor_div", "i128_ceil_div"), (I128, I128, U64)),
    **dict.fromkeys(("i128_floor_div64", "i128_ceil_div64"), (I64, I128, U64)),
    "i128_from": (I128, I64),
    "i128_neg": (I128, I128),
    "i128_mul": (I128, I64, I64),
    "i128_mul_u": (I128, I128, U64),
    "i128_cmp": (INT, I128, I128),
    "i128_fits64": (INT, I128),
    "i128_to64": (I64, I128),
    "i128_low64": (U64, I128),
    **dict.fromkeys(("larger", "smaller", "signed_as"), (I64, I64, I64)),
    "magnitude": (I64, I64),
    "not_below_zero": (I64, I64),
    "sign_of": (INT, I64),
    "are_opposite": (INT, I64, I64),
    "cmp_products": (INT, I64, U64, I64, U64),
    "i128_within": (I64, I128, I64, I64),
    "u64_gcd": (U64, U64, U64),
    "u64_exact_div": (U64, U64, U64),
    "u64_cmp_products": (INT, U64, U64, U64, U64),
}


class Probe:
    """Calls by name; the number, or OVERFLOW where a check failed."""

    def __init__(self, path: Path):
        self.library = ctypes.CDLL(str(path))
        for name, (result, *arguments) in SIGNATURES.items():
            function = getattr(self.library, f"p_{name}")
            function.restype, function.argtypes = result, arguments
        for name in ("p_fractions_cmp", "p_fractions_cmp_exact"):
            getattr(self.library, name).argtypes = [I64, ctypes.c_void_p, ctypes.c_void_p, INT]

    def __call__(self, name: str, *values: int) -> int | str:
        function = getattr(self.library, f"p_{name}")
        sent = [I128.of(v) if kind is I128 else v
                for v, kind in zip(values, function.argtypes, strict=True)]  # fmt: skip
        result = int(function(*sent))
        return "OVERFLOW" if self.library.take_failures() else result

    def fractions(self, whole: int, parts: list[tuple[int, int]], *, exact: bool = False) -> int:
        nums = (U64 * max(1, len(parts)))(*[num for num, _ in parts])
        dens = (U64 * max(1, len(parts)))(*[den for _, den in parts])
        name = "p_fractions_cmp_exact" if exact else "p_fractions_cmp"
        result = getattr(self.library, name)(whole, nums, dens, len(parts))
        assert self.library.take_failures() == 0
        return result


def compiled(folder: Path, *flags: str) -> Path:
    """The probe as a shared library; it needs no Python header."""
    compiler = shutil.which("g++") or shutil.which("c++")
    if compiler is None:
        pytest.fail("no C++ compiler: install g++ or clang++")
    source, target = folder / "probe.cpp", folder / "probe.so"
    source.write_text(SOURCE)
    subprocess.run(
        [compiler, "-std=c++17", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-Wpedantic",
         "-Werror", "-fno-strict-overflow", *flags, f"-I{INCLUDE}", str(source), "-o", str(target)],
        check=True,
    )  # fmt: skip
    return target


@pytest.fixture(scope="module", params=IMPLEMENTATIONS)
def probe(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    return Probe(compiled(folder, "-DCOUNT_FAILURES", *IMPLEMENTATIONS[request.param]))


def within(value: int, low: int, high: int) -> int | str:
    return value if low <= value <= high else "OVERFLOW"


def in64(value: int) -> int | str:
    return within(value, I64_MIN, I64_MAX)


def in128(value: int) -> int | str:
    return within(value, I128_MIN, I128_MAX)


def sign(value) -> int:
    return (value > 0) - (value < 0)


def test_signs_and_the_larger_of_two_are_those_of_whole_numbers(probe):
    for a, b in product(EDGES64, repeat=2):
        assert probe("larger", a, b) == max(a, b)
        assert probe("smaller", a, b) == min(a, b)
        assert probe("are_opposite", a, b) == ((a < 0) != (b < 0))
        if a != I64_MIN:
            assert probe("signed_as", a, b) == (-a if b < 0 else a)
    for a in EDGES64:
        assert probe("not_below_zero", a) == max(a, 0)
        assert probe("sign_of", a) == sign(a)
        if a != I64_MIN:
            assert probe("magnitude", a) == abs(a)


def test_a_number_is_brought_into_bounds_of_64_bits(probe):
    for a in EDGES128:
        for low, high in ((0, 0), (0, 7), (1, 1 << 62), (-7, 7), (I64_MIN, I64_MAX)):
            assert probe("i128_within", a, low, high) == min(max(a, low), high)


def test_products_compare_exactly_where_the_first_factor_may_be_below_zero(probe):
    whole = [0, 1, 3, 10**9, 1 << 62, I64_MAX]
    for a, b, c, d in product([*whole, *(-n for n in whole)], whole[1:], whole, whole[1:]):
        assert probe("cmp_products", a, b, c, d) == sign(a * b - c * d)


def test_sums_and_products_of_64_bits_are_exact_or_stop(probe):
    for a, b in product(EDGES64, repeat=2):
        assert probe("add64", a, b) == in64(a + b)
        assert probe("sub64", a, b) == in64(a - b)
        assert probe("mul64", a, b) == in64(a * b)
        assert probe("i128_mul", a, b) == a * b


def test_each_division_of_64_bits_goes_in_the_direction_of_its_name(probe):
    for a, d in product(EDGES64, DIVISORS):
        assert probe("floor_div", a, d) == a // d
        assert probe("ceil_div", a, d) == -(-a // d)


def test_a_product_of_128_bits_is_divided_in_the_direction_of_its_name(probe):
    for a, b, d in product(EDGES64, EDGES64, DIVISORS):
        assert probe("mul_div_floor", a, b, d) == in64(a * b // d)
        assert probe("mul_div_ceil", a, b, d) == in64(-(-a * b // d))


def test_sums_of_128_bits_are_exact_or_stop(probe):
    for a, b in product(EDGES128, repeat=2):
        assert probe("i128_add", a, b) == in128(a + b)
        assert probe("i128_sub", a, b) == in128(a - b)
        assert probe("i128_cmp", a, b) == sign(a - b)
    for a in EDGES128:
        assert probe("i128_neg", a) == in128(-a)
        assert probe("i128_fits64", a) == (I64_MIN <= a <= I64_MAX)
        assert probe("i128_to64", a) == in64(a)
        assert probe("i128_low64", a) == a % (1 << 64)


def test_products_and_quotients_of_128_bits_are_exact_or_stop(probe):
    for a, d in product(EDGES128, DIVISORS_U):
        assert probe("i128_mul_u", a, d) == in128(a * d)
        assert probe("i128_floor_div", a, d) == a // d
        assert probe("i128_ceil_div", a, d) == -(-a // d)
        assert probe("i128_floor_div64", a, d) == in64(a // d)
        assert probe("i128_ceil_div64", a, d) == in64(-(-a // d))


@settings(max_examples=300, deadline=None)
@given(st.integers(I128_MIN, I128_MAX), st.integers(1, (1 << 64) - 1), st.integers(0, 64))
def test_any_quotient_of_128_bits_is_exact(probe, a, d, shift):
    d = max(1, d >> shift)
    assert probe("i128_floor_div", a, d) == a // d
    assert probe("i128_ceil_div", a, d) == -(-a // d)
    assert probe("i128_mul_u", a >> 64, d) == (a >> 64) * d


def test_quotients_whose_first_guess_is_too_large_are_corrected(probe):
    # Dividends one below a multiple of a divisor with a full low half: Knuth's rare steps.
    rng = random.Random(3)
    for _ in range(3000):
        d = rng.choice([(rng.getrandbits(32) | 1 << 31) << 32, 1 << 63]) | rng.choice(
            [0xFFFFFFFF, 0, 1, rng.getrandbits(32)]
        )
        a = d * (rng.getrandbits(63) | rng.choice([0, 0xFFFFFFFF])) + rng.choice([-1, 0, d - 1])
        a = max(0, min(a, I128_MAX))
        assert probe("i128_floor_div", a, d) == a // d


def test_divisors_and_products_of_rates_are_exact(probe):
    values = [1, 2, 6, 10**9, 10**15, (1 << 60) - 93, 1 << 63, (1 << 64) - 1]
    for a, b in product(values, repeat=2):
        assert probe("u64_gcd", a, b) == gcd(a, b)
        assert probe("u64_exact_div", a, b) == (a // b if a % b == 0 else "OVERFLOW")
        for c, d in product(values, repeat=2):
            assert probe("u64_cmp_products", a, b, c, d) == sign(a * b - c * d)
    assert probe("u64_gcd", 0, 5) == 5


LARGE = [(1 << 60) - 93, (1 << 59) - 55, (1 << 63) - 25, (1 << 64) - 59]


def test_a_sum_of_fractions_that_equals_the_whole_number_is_seen_as_equal(probe):
    p = (1 << 59) - 55
    ties = [
        (1, [(1, 2), (1, 3), (1, 6)]),
        (1, [(1, p), (2 * p - 2, 2 * p)]),
        (2, [(1, p), (2 * p - 2, 2 * p), (7, 9), (2, 9)]),
        # 128 fractions whose denominators have 64 bits: 64 x (a/p + (2p - 2a)/(2p)).
        (64, [part for a in range(1, 65) for part in ((a, p), (2 * p - 2 * a, 2 * p))]),
    ]
    for whole, parts in ties:
        assert sum(Fraction(*part) for part in parts) == whole
        for exact in (False, True):
            assert probe.fractions(whole, parts, exact=exact) == 0
            less = [(parts[0][0], parts[0][1] + 1), *parts[1:]]
            assert probe.fractions(whole, less, exact=exact) == 1
            more = [(parts[0][0] * 2, parts[0][1] * 2 - 1), *parts[1:]]
            assert probe.fractions(whole, more, exact=exact) == -1


def test_bounds_of_a_sum_of_fractions_need_no_sum(probe):
    assert probe.fractions(0, []) == 0
    assert probe.fractions(1, []) == 1
    assert probe.fractions(-1, []) == -1
    assert probe.fractions(0, [(1, 3)]) == -1
    assert probe.fractions(1, [(2, 3)]) == 1
    assert probe.fractions(I64_MAX, [(2, 3)]) == 1
    assert probe.fractions(I64_MIN, [(2, 3)]) == -1


def test_any_sum_of_fractions_compares_exactly(probe):
    rng = random.Random(5)
    for _ in range(1500):
        count = rng.choice([1, 2, 3, 5, 128])
        dens = [rng.choice([2, 3, 10**9, 10**12, *LARGE, rng.randint(2, 99)]) for _ in range(count)]
        parts = [(rng.choice([1, den - 1, rng.randint(1, den - 1)]), den) for den in dens]
        total = sum((Fraction(*part) for part in parts), Fraction(0))
        for whole in range(max(0, floor(total) - 1), ceil(total) + 2):
            assert probe.fractions(whole, parts) == sign(whole - total)
            if whole > 0 and count < 10:
                assert probe.fractions(whole, parts, exact=True) == sign(whole - total)


@pytest.mark.parametrize("flags", IMPLEMENTATIONS.values(), ids=IMPLEMENTATIONS)
def test_overflow_and_a_divisor_of_zero_stop_the_process(tmp_path, flags):
    path = compiled(tmp_path, *flags)
    calls = {
        "p_add64": "2**63-1, 1",
        "p_mul64": "2**62, 2",
        "p_floor_div": "1, 0",
        "p_ceil_div": "1, -1",
        "p_mul_div_floor": "2**62, 4, 1",
        "p_mul_div_ceil": "1, 1, 0",
    }
    for name, arguments in calls.items():
        script = (
            f"import ctypes; f = ctypes.CDLL({str(path)!r}).{name}; "
            f"f(*map(ctypes.c_int64, ({arguments})))"
        )
        done = subprocess.run([sys.executable, "-S", "-c", script], capture_output=True, text=True)
        assert done.returncode < 0, name
        assert "perpcore: check failed: " in done.stderr
