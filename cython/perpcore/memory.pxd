"""Floor 0: always-on checks, and arenas that are taken once and never grow."""
from libc.stdint cimport uint32_t, uint64_t

cdef extern from "perpcore/check.hpp" nogil:
    # Stops the process with the file and line when the condition does not hold.
    void CHECK "PERPCORE_CHECK"(bint condition) noexcept

cdef extern from "perpcore/memory.hpp" nogil:
    # Zeroed, committed when first touched, huge pages from 1 MiB on; NULL when memory is short.
    void* arena_alloc "perpcore::arena_alloc"(size_t size_bytes) noexcept
    # size_bytes as given to arena_alloc; NULL is ignored.
    void arena_free "perpcore::arena_free"(void* arena, size_t size_bytes) noexcept
    # Into a fresh arena of the same size; pages that hold nothing stay uncommitted.
    void arena_copy "perpcore::arena_copy"(
        void* to, const void* source, size_t size_bytes) noexcept
    # Commits the first size_bytes, so that no later command pays a page fault for them.
    void arena_prefault "perpcore::arena_prefault"(void* arena, size_t size_bytes) noexcept
    # Position of the lowest set bit of a word that is not zero.
    int lowest_bit "perpcore::lowest_bit"(uint64_t bits) noexcept
    # The condition; its true branch is laid out of the way.
    bint rarely "perpcore::rarely"(bint condition) noexcept
    # The one address or the other without a branch, for conditions that nothing foresees.
    uint32_t* either "perpcore::either"(bint first, uint32_t* one, uint32_t* other) noexcept
    # Starts loading the line of an address; any address is harmless.
    void prefetch "perpcore::prefetch"(const void* address) noexcept
