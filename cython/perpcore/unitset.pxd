"""Floor 1: a set of units as a bitmap: which ones a settlement has to look at.

A member may stand there in vain, but none is missing: adding needs no undo, and whoever walks over
the set takes out those for whom nothing is to be done.
"""
from libc.stdint cimport uint32_t, uint64_t

from perpcore.memory cimport lowest_bit
from perpcore.undo cimport UndoLog, undo_save


cdef inline uint64_t unitset_bytes(uint64_t units) noexcept nogil:
    return ((units >> 6) + 1) * sizeof(uint64_t)


cdef inline void unitset_add(uint64_t* words, uint32_t u) noexcept nogil:
    words[u >> 6] |= <uint64_t>1 << (u & 63)


cdef inline bint unitset_has(const uint64_t* words, uint32_t u) noexcept nogil:
    return (words[u >> 6] >> (u & 63)) & 1


cdef inline void unitset_remove(uint64_t* words, uint32_t u, UndoLog* undo) noexcept nogil:
    undo_save(undo, &words[u >> 6], sizeof(uint64_t))
    words[u >> 6] &= ~(<uint64_t>1 << (u & 63))


cdef inline uint32_t unitset_next(const uint64_t* words, uint32_t u, uint32_t end) noexcept nogil:
    """The first member from `u` on, `end` when there is none below it."""
    cdef uint64_t bits
    while u < end:
        bits = words[u >> 6] >> (u & 63)
        if bits:
            return min(u + <uint32_t>lowest_bit(bits), end)
        u = (u | 63) + 1
    return end
