// Orders of work: units and orders are taken in the order of two keys, the smallest first.
#pragma once

#include <algorithm>
#include <cstdint>
#include <utility>

namespace perpcore {

struct Ranked {
    std::uint64_t key;
    std::uint64_t tie;
    std::uint32_t index;  // what is taken: a unit, an order slot
};

inline bool ranked_before(const Ranked& a, const Ranked& b) noexcept {
    return a.key != b.key ? a.key < b.key : a.tie < b.tie;
}

// Keys and ties together are unique, so that the order is the same on every machine.
inline void ranked_sort(Ranked* first, std::uint64_t count) noexcept {
    // Two is what a fill touches, and less than a call of the general sort costs.
    if (count == 2) {
        if (ranked_before(first[1], first[0])) {
            std::swap(first[0], first[1]);
        }
        return;
    }
    std::sort(first, first + count, ranked_before);
}

// Puts the `wanted` smallest in front, in any order among themselves: linear, not sorted.
inline void ranked_select(Ranked* first, std::uint64_t count, std::uint64_t wanted) noexcept {
    if (wanted < count) {
        std::nth_element(first, first + wanted, first + count, ranked_before);
    }
}

}  // namespace perpcore
