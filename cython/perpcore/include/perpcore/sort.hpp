// Orders of work: units and orders are taken in the order of two keys, the smallest first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace perpcore {

constexpr int kDigitBits = 11;
constexpr std::uint64_t kLong = 256;

struct Ranked {
    std::uint64_t key;
    std::uint64_t tie;
    std::uint32_t index;  // what is taken: a unit, an order slot
};

inline bool ranked_before(const Ranked& a, const Ranked& b) noexcept {
    return a.key != b.key ? a.key < b.key : a.tie < b.tie;
}

inline bool ranked_before(const Ranked* a, const Ranked* b) noexcept {
    return ranked_before(*a, *b);
}

// Keys and ties together are unique, so that the order is the same on every machine.
inline void ranked_sort(Ranked* first, std::uint64_t count) noexcept {
    // Two is what a fill touches, and less than a call of the general sort costs.
    if (count <= 2) {
        if (count == 2 && ranked_before(first[1], first[0])) {
            std::swap(first[0], first[1]);
        }
        return;
    }
    std::sort(first, first + count,
              [](const Ranked& a, const Ranked& b) { return ranked_before(a, b); });
}

// One stable pass by up to 11 bits of the key or the tie; the sorted row is in `to`.
inline void ranked_pass(const Ranked* from, Ranked* to, std::uint64_t count, bool by_tie, int shift,
                        int bits) noexcept {
    std::uint32_t places[1U << kDigitBits] = {0};
    const std::uint64_t mask = (std::uint64_t{1} << bits) - 1;
    for (std::uint64_t n = 0; n < count; ++n) {
        ++places[((by_tie ? from[n].tie : from[n].key) >> shift) & mask];
    }
    std::uint32_t place = 0;
    for (std::uint64_t digit = 0; digit <= mask; ++digit) {
        const std::uint32_t here = places[digit];
        places[digit] = place;
        place += here;
    }
    for (std::uint64_t n = 0; n < count; ++n) {
        to[places[((by_tie ? from[n].tie : from[n].key) >> shift) & mask]++] = from[n];
    }
}

// ranked_sort of a row of any length, with room for as many more behind it: by digits, from the
// last one that differs to the first. It compares nothing, so that no branch is guessed wrong.
inline void ranked_sort_long(Ranked* first, std::uint64_t count) noexcept {
    if (count < kLong) {
        ranked_sort(first, count);
        return;
    }
    std::uint64_t differ[2] = {0, 0};
    for (std::uint64_t n = 1; n < count; ++n) {
        differ[0] |= first[n].tie ^ first[0].tie;
        differ[1] |= first[n].key ^ first[0].key;
    }
    Ranked* from = first;
    Ranked* to = first + count;
    for (int word = 0; word < 2; ++word) {
        while (differ[word] != 0) {
            const int shift = __builtin_ctzll(differ[word]);
            const int bits = 64 - shift < kDigitBits ? 64 - shift : kDigitBits;
            ranked_pass(from, to, count, word == 0, shift, bits);
            std::swap(from, to);
            differ[word] &= ~(((std::uint64_t{1} << bits) - 1) << shift);
        }
    }
    if (from != first) {
        std::copy(from, from + count, first);
    }
}

// Puts the `wanted` smallest in front, in any order among themselves, and the next one behind them:
// linear, not sorted.
inline void ranked_select(Ranked* first, std::uint64_t count, std::uint64_t wanted) noexcept {
    if (wanted < count) {
        std::nth_element(first, first + wanted, first + count,
                         [](const Ranked& a, const Ranked& b) { return ranked_before(a, b); });
    }
}

}  // namespace perpcore
