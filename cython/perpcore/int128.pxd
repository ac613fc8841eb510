"""Floor 0: checked whole numbers of 64 and 128 bits; overflow stops the process (U1).

Every division says its direction and takes a divisor above 0. A 128-bit value is a plain struct of
two words, 0 when all its bytes are 0, whatever the compiler has.
"""
from libc.stdint cimport int64_t, uint64_t

cdef extern from "perpcore/int128.hpp" nogil:
    cdef struct i128 "perpcore::i128":
        int64_t hi               # two's complement: hi x 2^64 + lo
        uint64_t lo

    # ---- 64 bits
    int64_t add64 "perpcore::add64"(int64_t a, int64_t b) noexcept
    int64_t sub64 "perpcore::sub64"(int64_t a, int64_t b) noexcept
    int64_t mul64 "perpcore::mul64"(int64_t a, int64_t b) noexcept
    # Whether a b passes 64 bits; if not, *product is a b.
    bint mul_overflows "perpcore::mul_overflows"(int64_t a, int64_t b, int64_t* product) noexcept
    int64_t smaller "perpcore::smaller"(int64_t a, int64_t b) noexcept
    int64_t larger "perpcore::larger"(int64_t a, int64_t b) noexcept
    int64_t magnitude "perpcore::magnitude"(int64_t a) noexcept
    # a, or -a where `sign` is below 0.
    int64_t signed_as "perpcore::signed_as"(int64_t a, int64_t sign) noexcept
    # -1, 0, 1.
    int sign_of "perpcore::sign_of"(int64_t a) noexcept
    # One is below 0, the other is not.
    bint are_opposite "perpcore::are_opposite"(int64_t a, int64_t b) noexcept
    int64_t not_below_zero "perpcore::not_below_zero"(int64_t a) noexcept
    int64_t floor_div "perpcore::floor_div"(int64_t a, int64_t d) noexcept
    int64_t ceil_div "perpcore::ceil_div"(int64_t a, int64_t d) noexcept
    # a b / d; the product may have 128 bits, the quotient must fit.
    int64_t mul_div_floor "perpcore::mul_div_floor"(int64_t a, int64_t b, int64_t d) noexcept
    int64_t mul_div_ceil "perpcore::mul_div_ceil"(int64_t a, int64_t b, int64_t d) noexcept
    uint64_t u64_gcd "perpcore::u64_gcd"(uint64_t a, uint64_t b) noexcept
    # a / d where d divides a: the one division that needs no direction.
    uint64_t u64_exact_div "perpcore::u64_exact_div"(uint64_t a, uint64_t d) noexcept
    # Sign of a b - c d.
    int u64_cmp_products "perpcore::u64_cmp_products"(
        uint64_t a, uint64_t b, uint64_t c, uint64_t d) noexcept
    # The same where a may be below 0; c is not.
    int cmp_products "perpcore::cmp_products"(
        int64_t a, uint64_t b, int64_t c, uint64_t d) noexcept

    # The upper word of a b.
    uint64_t u64_mul_high "perpcore::u64_mul_high"(uint64_t a, uint64_t b) noexcept
    # The same, one more where the lower word is not 0.
    uint64_t u64_mul_high_up "perpcore::u64_mul_high_up"(uint64_t a, uint64_t b) noexcept
    # Whether a b / d, down, fits 64 bits; then quotient[0] is it and rest[0] what is left.
    bint u64_mul_div "perpcore::u64_mul_div"(
        uint64_t a, uint64_t b, uint64_t d, uint64_t* quotient, uint64_t* rest) noexcept

    # ---- 128 bits
    i128 i128_from "perpcore::i128_from"(int64_t a) noexcept
    i128 i128_mul "perpcore::i128_mul"(int64_t a, int64_t b) noexcept
    i128 i128_mul_u "perpcore::i128_mul_u"(i128 a, uint64_t b) noexcept
    i128 i128_add "perpcore::i128_add"(i128 a, i128 b) noexcept
    i128 i128_sub "perpcore::i128_sub"(i128 a, i128 b) noexcept
    i128 i128_neg "perpcore::i128_neg"(i128 a) noexcept
    # -1, 0, 1.
    int i128_cmp "perpcore::i128_cmp"(i128 a, i128 b) noexcept
    bint i128_fits64 "perpcore::i128_fits64"(i128 a) noexcept
    int64_t i128_to64 "perpcore::i128_to64"(i128 a) noexcept
    # The nearest number in [low, high].
    int64_t i128_within "perpcore::i128_within"(i128 a, int64_t low, int64_t high) noexcept
    # The low word, as the bits it has.
    uint64_t i128_low64 "perpcore::i128_low64"(i128 a) noexcept
    i128 i128_floor_div "perpcore::i128_floor_div"(i128 a, uint64_t d) noexcept
    i128 i128_ceil_div "perpcore::i128_ceil_div"(i128 a, uint64_t d) noexcept
    # The quotient must fit 64 bits.
    int64_t i128_floor_div64 "perpcore::i128_floor_div64"(i128 a, uint64_t d) noexcept
    int64_t i128_ceil_div64 "perpcore::i128_ceil_div64"(i128 a, uint64_t d) noexcept

    # ---- sums of fractions
    enum: FRACTIONS_MAX "perpcore::FRACTIONS_MAX"
    # Sign of whole - the sum of num / den, exactly, where 0 < num < den for each.
    int fractions_cmp "perpcore::fractions_cmp"(
        int64_t whole, const uint64_t* nums, const uint64_t* dens, int count) noexcept
