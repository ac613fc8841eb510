"""Floor 0: the order in which a rule takes units or orders: two keys, smallest first."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "perpcore/sort.hpp" nogil:
    cdef struct Ranked "perpcore::Ranked":
        uint64_t key
        uint64_t tie
        uint32_t index           # what is taken: a unit, an order slot

    bint ranked_before "perpcore::ranked_before"(const Ranked* a, const Ranked* b) noexcept
    # Keys and ties together are unique, so that the order is the same on every machine.
    void ranked_sort "perpcore::ranked_sort"(Ranked* first, uint64_t count) noexcept
    # The same for long rows; as much room behind the row is written over.
    void ranked_sort_long "perpcore::ranked_sort_long"(Ranked* first, uint64_t count) noexcept
    # Puts the `wanted` smallest in front, in any order among themselves, and the next one behind.
    void ranked_select "perpcore::ranked_select"(
        Ranked* first, uint64_t count, uint64_t wanted) noexcept
