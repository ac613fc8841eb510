// Whole numbers of 64 and 128 bits, always checked: overflow stops the process, it never wraps (U1).
// Every division says its direction and takes a divisor above 0. Values of 128 bits travel as two
// words, so that no caller needs a 128-bit type; only the two primitives below differ by compiler.
#pragma once

#include <cstdint>

#include "perpcore/check.hpp"

namespace perpcore {

// Two's complement, as one number: hi x 2^64 + lo. All zero bytes are 0.
struct i128 {
    std::int64_t hi;
    std::uint64_t lo;
};

struct u128 {
    std::uint64_t hi;
    std::uint64_t lo;
};

// ---- the two primitives: 64 x 64 -> 128, and 128 / 64 -> 64 where the quotient fits

#if defined(__SIZEOF_INT128__) && !defined(PERPCORE_TWO_WORDS)

__extension__ typedef unsigned __int128 native_u128;

inline u128 u64_mul(std::uint64_t a, std::uint64_t b) noexcept {
    const native_u128 product = static_cast<native_u128>(a) * b;
    return {static_cast<std::uint64_t>(product >> 64), static_cast<std::uint64_t>(product)};
}

// Down; needs hi < d, as then the quotient is below 2^64. *rest is what is left.
inline std::uint64_t u128_div_word(u128 a, std::uint64_t d, std::uint64_t* rest) noexcept {
#if defined(__x86_64__)
    // The compiler divides 128 bits by a function, as it cannot know that the quotient fits.
    std::uint64_t quotient = 0;
    __asm__("divq %4" : "=a"(quotient), "=d"(*rest) : "0"(a.lo), "1"(a.hi), "r"(d) : "cc");
    return quotient;
#else
    const native_u128 whole = static_cast<native_u128>(a.hi) << 64 | a.lo;
    const std::uint64_t quotient = static_cast<std::uint64_t>(whole / d);
    *rest = a.lo - quotient * d;  // below d, so that the low words alone give it
    return quotient;
#endif
}

#else

inline u128 u64_mul(std::uint64_t a, std::uint64_t b) noexcept {
    const std::uint64_t half = 0xffffffffU;
    const std::uint64_t low = (a & half) * (b & half);
    const std::uint64_t mid = (a >> 32) * (b & half) + (low >> 32);
    const std::uint64_t mid2 = (a & half) * (b >> 32) + (mid & half);
    return {(a >> 32) * (b >> 32) + (mid >> 32) + (mid2 >> 32), mid2 << 32 | (low & half)};
}

// One digit of 32 bits: (rest 2^32 + next) / d, for a divisor with its top bit set and rest < d.
inline std::uint64_t div_digit(std::uint64_t rest, std::uint64_t next, std::uint64_t d,
                               std::uint64_t* left) noexcept {
    const std::uint64_t half = 0xffffffffU;
    std::uint64_t digit = rest / (d >> 32);
    std::uint64_t over = rest % (d >> 32);
    // The guess is too large by at most 2 (Knuth, 4.3.1, theorem B).
    while (digit > half || digit * (d & half) > (over << 32 | next)) {
        --digit;
        over += d >> 32;
        if (over > half) {
            break;
        }
    }
    *left = (rest << 32) + next - digit * d;  // wraps to the true rest, which is below d
    return digit;
}

// Down; needs hi < d, as then the quotient is below 2^64. *rest is what is left.
inline std::uint64_t u128_div_word(u128 a, std::uint64_t d, std::uint64_t* rest) noexcept {
    const int shift = __builtin_clzll(d);
    const std::uint64_t divisor = d << shift;
    const std::uint64_t top = shift == 0 ? a.hi : a.hi << shift | a.lo >> (64 - shift);
    const std::uint64_t bottom = a.lo << shift;
    std::uint64_t left = 0;
    const std::uint64_t first = div_digit(top, bottom >> 32, divisor, &left);
    const std::uint64_t second = div_digit(left, bottom & 0xffffffffU, divisor, &left);
    *rest = left >> shift;
    return first << 32 | second;
}

#endif

// ---- 64 bits

inline std::int64_t add64(std::int64_t a, std::int64_t b) noexcept {
    std::int64_t sum = 0;
    PERPCORE_CHECK(!__builtin_add_overflow(a, b, &sum));
    return sum;
}

inline std::int64_t sub64(std::int64_t a, std::int64_t b) noexcept {
    std::int64_t difference = 0;
    PERPCORE_CHECK(!__builtin_sub_overflow(a, b, &difference));
    return difference;
}

inline std::int64_t mul64(std::int64_t a, std::int64_t b) noexcept {
    std::int64_t product = 0;
    PERPCORE_CHECK(!__builtin_mul_overflow(a, b, &product));
    return product;
}

// Whether a b passes 64 bits, which is rare; if not, *product is a b.
inline bool mul_overflows(std::int64_t a, std::int64_t b, std::int64_t* product) noexcept {
    return __builtin_expect(__builtin_mul_overflow(a, b, product), 0);
}

inline std::int64_t smaller(std::int64_t a, std::int64_t b) noexcept {
    return b < a ? b : a;
}

inline std::int64_t larger(std::int64_t a, std::int64_t b) noexcept {
    return a < b ? b : a;
}

// Needs a number that has a negative: all but the least one.
inline std::int64_t magnitude(std::int64_t a) noexcept {
    return a < 0 ? -a : a;
}

// a, or -a where `sign` is below 0.
inline std::int64_t signed_as(std::int64_t a, std::int64_t sign) noexcept {
    return sign < 0 ? -a : a;
}

// -1, 0, 1.
inline int sign_of(std::int64_t a) noexcept {
    return (a > 0) - (a < 0);
}

// One is below 0, the other is not.
inline bool are_opposite(std::int64_t a, std::int64_t b) noexcept {
    return (a ^ b) < 0;
}

inline std::int64_t not_below_zero(std::int64_t a) noexcept {
    return a < 0 ? 0 : a;
}

inline std::int64_t floor_div(std::int64_t a, std::int64_t d) noexcept {
    PERPCORE_CHECK(d > 0);
    return a / d - (a % d < 0 ? 1 : 0);
}

inline std::int64_t ceil_div(std::int64_t a, std::int64_t d) noexcept {
    PERPCORE_CHECK(d > 0);
    return a / d + (a % d > 0 ? 1 : 0);
}

inline std::uint64_t u64_gcd(std::uint64_t a, std::uint64_t b) noexcept {
    while (b != 0) {
        const std::uint64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

// a / d where d divides a: the one division that needs no direction.
inline std::uint64_t u64_exact_div(std::uint64_t a, std::uint64_t d) noexcept {
    PERPCORE_CHECK(d > 0 && a % d == 0);
    return a / d;
}

// Sign of a b - c d.
inline int u64_cmp_products(std::uint64_t a, std::uint64_t b, std::uint64_t c,
                            std::uint64_t d) noexcept {
    const u128 left = u64_mul(a, b);
    const u128 right = u64_mul(c, d);
    if (left.hi != right.hi) {
        return left.hi < right.hi ? -1 : 1;
    }
    return left.lo == right.lo ? 0 : left.lo < right.lo ? -1 : 1;
}

// The same where a may be below 0; c is not.
inline int cmp_products(std::int64_t a, std::uint64_t b, std::int64_t c, std::uint64_t d) noexcept {
    return a < 0 ? -1
                 : u64_cmp_products(static_cast<std::uint64_t>(a), b,
                                    static_cast<std::uint64_t>(c), d);
}

// The upper word of a b.
inline std::uint64_t u64_mul_high(std::uint64_t a, std::uint64_t b) noexcept {
    return u64_mul(a, b).hi;
}

// The upper word of a b, one more where the lower word is not 0: a b / 2^64, up.
inline std::uint64_t u64_mul_high_up(std::uint64_t a, std::uint64_t b) noexcept {
    const u128 product = u64_mul(a, b);
    return product.hi + (product.lo != 0);
}

// Whether a b / d, down, fits 64 bits; then *quotient is it and *rest what is left.
inline bool u64_mul_div(std::uint64_t a, std::uint64_t b, std::uint64_t d,
                        std::uint64_t* quotient, std::uint64_t* rest) noexcept {
    const u128 product = u64_mul(a, b);
    if (__builtin_expect(product.hi >= d, 0)) {
        return false;
    }
    *quotient = u128_div_word(product, d, rest);
    return true;
}

// ---- 128 bits

inline i128 i128_from(std::int64_t a) noexcept {
    return {a < 0 ? -1 : 0, static_cast<std::uint64_t>(a)};
}

// The low word, as the bits it has.
inline std::uint64_t i128_low64(i128 a) noexcept { return a.lo; }

inline bool i128_fits64(i128 a) noexcept {
    return a.hi == (static_cast<std::int64_t>(a.lo) < 0 ? -1 : 0);
}

inline std::int64_t i128_to64(i128 a) noexcept {
    PERPCORE_CHECK(i128_fits64(a));
    return static_cast<std::int64_t>(a.lo);
}

// -1, 0, 1.
inline int i128_cmp(i128 a, i128 b) noexcept {
    if (a.hi != b.hi) {
        return a.hi < b.hi ? -1 : 1;
    }
    return a.lo == b.lo ? 0 : a.lo < b.lo ? -1 : 1;
}

// The nearest number in [low, high].
inline std::int64_t i128_within(i128 a, std::int64_t low, std::int64_t high) noexcept {
    if (i128_cmp(a, i128_from(low)) < 0) {
        return low;
    }
    return i128_cmp(a, i128_from(high)) > 0 ? high : i128_to64(a);
}

inline i128 i128_add(i128 a, i128 b) noexcept {
    i128 sum{0, a.lo + b.lo};
    const std::int64_t carry = sum.lo < a.lo ? 1 : 0;
    // hi + hi + carry fits when the sum fits; a carry can bring an overflowing pair back in range.
    std::int64_t high = 0;
    const bool over = __builtin_add_overflow(a.hi, b.hi, &high);
    const bool over_carry = __builtin_add_overflow(high, carry, &sum.hi);
    PERPCORE_CHECK(over == over_carry);
    return sum;
}

inline i128 i128_neg(i128 a) noexcept {
    const std::uint64_t borrow = a.lo != 0 ? 1 : 0;
    PERPCORE_CHECK(!(a.hi == INT64_MIN && borrow == 0));
    return {static_cast<std::int64_t>(0 - static_cast<std::uint64_t>(a.hi) - borrow), 0 - a.lo};
}

inline i128 i128_sub(i128 a, i128 b) noexcept {
    i128 difference{0, a.lo - b.lo};
    const std::int64_t borrow = a.lo < b.lo ? 1 : 0;
    std::int64_t high = 0;
    const bool over = __builtin_sub_overflow(a.hi, b.hi, &high);
    const bool over_borrow = __builtin_sub_overflow(high, borrow, &difference.hi);
    PERPCORE_CHECK(over == over_borrow);
    return difference;
}

inline u128 i128_magnitude(i128 a) noexcept {
    if (a.hi >= 0) {
        return {static_cast<std::uint64_t>(a.hi), a.lo};
    }
    const std::uint64_t borrow = a.lo != 0 ? 1 : 0;
    return {0 - static_cast<std::uint64_t>(a.hi) - borrow, 0 - a.lo};
}

// The number with this magnitude and sign; -2^127 is the only one whose magnitude has the top bit.
inline i128 i128_signed(u128 magnitude, bool negative) noexcept {
    const std::uint64_t top = 1ULL << 63;
    if (!negative) {
        PERPCORE_CHECK(magnitude.hi < top);
        return {static_cast<std::int64_t>(magnitude.hi), magnitude.lo};
    }
    PERPCORE_CHECK(magnitude.hi < top || (magnitude.hi == top && magnitude.lo == 0));
    const std::uint64_t borrow = magnitude.lo != 0 ? 1 : 0;
    return {static_cast<std::int64_t>(0 - magnitude.hi - borrow), 0 - magnitude.lo};
}

inline std::uint64_t i64_magnitude(std::int64_t a) noexcept {
    return a < 0 ? 0 - static_cast<std::uint64_t>(a) : static_cast<std::uint64_t>(a);
}

inline i128 i128_mul(std::int64_t a, std::int64_t b) noexcept {
    return i128_signed(u64_mul(i64_magnitude(a), i64_magnitude(b)), (a < 0) != (b < 0));
}

inline i128 i128_mul_u(i128 a, std::uint64_t b) noexcept {
    const u128 size = i128_magnitude(a);
    const u128 low = u64_mul(size.lo, b);
    const u128 high = u64_mul(size.hi, b);
    std::uint64_t top = 0;
    PERPCORE_CHECK(high.hi == 0 && !__builtin_add_overflow(high.lo, low.hi, &top));
    return i128_signed({top, low.lo}, a.hi < 0);
}

// Down; *rest is what is left.
inline u128 u128_div(u128 a, std::uint64_t d, std::uint64_t* rest) noexcept {
    if (a.hi == 0) {
        *rest = a.lo % d;
        return {0, a.lo / d};
    }
    if (a.hi < d) {
        return {0, u128_div_word(a, d, rest)};
    }
    const std::uint64_t top = a.hi / d;
    const std::uint64_t low = u128_div_word({a.hi - top * d, a.lo}, d, rest);
    return {top, low};
}

// By magnitude: away from 0 when there is a rest and the direction asks for it.
inline i128 i128_div(i128 a, std::uint64_t d, bool away_from_zero) noexcept {
    PERPCORE_CHECK(d > 0);
    std::uint64_t rest = 0;
    u128 quotient = u128_div(i128_magnitude(a), d, &rest);
    if (away_from_zero && rest != 0) {
        quotient.lo += 1;
        quotient.hi += quotient.lo == 0 ? 1 : 0;
    }
    return i128_signed(quotient, a.hi < 0);
}

inline i128 i128_floor_div(i128 a, std::uint64_t d) noexcept { return i128_div(a, d, a.hi < 0); }

inline i128 i128_ceil_div(i128 a, std::uint64_t d) noexcept { return i128_div(a, d, a.hi >= 0); }

inline std::int64_t i128_floor_div64(i128 a, std::uint64_t d) noexcept {
    return i128_to64(i128_floor_div(a, d));
}

inline std::int64_t i128_ceil_div64(i128 a, std::uint64_t d) noexcept {
    return i128_to64(i128_ceil_div(a, d));
}

// ---- a b / d with a product of 128 bits

inline std::int64_t mul_div_floor(std::int64_t a, std::int64_t b, std::int64_t d) noexcept {
    PERPCORE_CHECK(d > 0);
    std::int64_t product = 0;
    if (__builtin_expect(!__builtin_mul_overflow(a, b, &product), 1)) {
        return floor_div(product, d);
    }
    return i128_floor_div64(i128_mul(a, b), static_cast<std::uint64_t>(d));
}

inline std::int64_t mul_div_ceil(std::int64_t a, std::int64_t b, std::int64_t d) noexcept {
    PERPCORE_CHECK(d > 0);
    std::int64_t product = 0;
    if (__builtin_expect(!__builtin_mul_overflow(a, b, &product), 1)) {
        return ceil_div(product, d);
    }
    return i128_ceil_div64(i128_mul(a, b), static_cast<std::uint64_t>(d));
}

// ---- sums of fractions

enum : int { FRACTIONS_MAX = 128 };

// a := a x b + c x d over `words` words; the result fits because the caller left room for it.
inline void words_mul_add(std::uint64_t* a, std::uint64_t b, const std::uint64_t* c,
                          std::uint64_t d, int words) noexcept {
    std::uint64_t carry_a = 0, carry_c = 0, over = 0;
    for (int i = 0; i < words; ++i) {
        const u128 x = u64_mul(a[i], b);
        const u128 y = u64_mul(c[i], d);
        // Each product takes its own carry, so that no sum of high words can overflow.
        const std::uint64_t left = x.lo + carry_a;
        carry_a = x.hi + (left < x.lo ? 1 : 0);
        const std::uint64_t right = y.lo + carry_c;
        carry_c = y.hi + (right < y.lo ? 1 : 0);
        const std::uint64_t sum = left + right;
        const std::uint64_t total = sum + over;
        over = (sum < left ? 1U : 0U) + (total < sum ? 1U : 0U);
        a[i] = total;
    }
    PERPCORE_CHECK(carry_a == 0 && carry_c == 0 && over == 0);
}

// Sign of whole - the sum of num / den, over their common denominator: exact at any size.
inline int fractions_cmp_exact(std::int64_t whole, const std::uint64_t* nums,
                               const std::uint64_t* dens, int count) noexcept {
    constexpr int size = FRACTIONS_MAX + 2;
    std::uint64_t sum[size] = {0};
    std::uint64_t den[size] = {1};
    const std::uint64_t zero[size] = {0};
    for (int i = 0; i < count; ++i) {
        // A word a factor and one for the sum's whole part bound both numbers.
        words_mul_add(sum, dens[i], den, nums[i], i + 3 < size ? i + 3 : size);
        words_mul_add(den, dens[i], zero, 0, i + 3 < size ? i + 3 : size);
    }
    words_mul_add(den, static_cast<std::uint64_t>(whole), zero, 0, size);
    for (int i = size - 1; i >= 0; --i) {
        if (den[i] != sum[i]) {
            return den[i] < sum[i] ? -1 : 1;
        }
    }
    return 0;
}

// Sign of whole - the sum of num / den, where 0 < num < den for each of at most FRACTIONS_MAX.
// Bounds first, then 64 binary digits of each, and the common denominator only when these tie.
inline int fractions_cmp(std::int64_t whole, const std::uint64_t* nums, const std::uint64_t* dens,
                         int count) noexcept {
    PERPCORE_CHECK(count <= FRACTIONS_MAX);
    if (whole >= count) {
        return whole > 0 ? 1 : 0;
    }
    if (whole <= 0) {
        return -1;
    }
    i128 digits{0, 0};  // the sum x 2^64, too small by less than one a fraction
    for (int i = 0; i < count; ++i) {
        std::uint64_t rest = 0;
        digits = i128_add(digits, i128{0, u128_div_word({nums[i], 0}, dens[i], &rest)});
    }
    const i128 target{whole, 0};
    if (i128_cmp(target, digits) < 0) {
        return -1;
    }
    if (i128_cmp(target, i128_add(digits, i128_from(count))) >= 0) {
        return 1;
    }
    return fractions_cmp_exact(whole, nums, dens, count);
}

}  // namespace perpcore
