// Arenas: one zeroed mapping each, taken at creation and never grown.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#if defined(__unix__) || defined(__APPLE__)
#define PERPCORE_HAS_MMAP 1
#include <sys/mman.h>
#else
#define PERPCORE_HAS_MMAP 0
#endif

#include "perpcore/check.hpp"

namespace perpcore {

constexpr std::size_t kPageBytes = 4096;
constexpr std::size_t kHugeBytes = std::size_t{2} << 20;
constexpr std::size_t kHugeFromBytes = std::size_t{1} << 20;

// Large arenas are rounded to whole huge pages; alloc and free must agree on the length.
inline std::size_t arena_length(std::size_t bytes) noexcept {
    const std::size_t unit = bytes >= kHugeFromBytes ? kHugeBytes : kPageBytes;
    return bytes > SIZE_MAX - 2 * kHugeBytes ? 0 : (bytes + unit - 1) / unit * unit;
}

// Zeroed memory, committed when first touched; nullptr when the system has none left.
inline void* arena_alloc(std::size_t bytes) noexcept {
    const std::size_t length = arena_length(bytes);
    if (length == 0) {
        return nullptr;
    }
#if PERPCORE_HAS_MMAP
    const bool huge = length >= kHugeFromBytes;
    // A huge page must start at its own size: map one more and give the two ends back.
    const std::size_t mapped = huge ? length + kHugeBytes : length;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS;
#ifdef MAP_NORESERVE
    flags |= MAP_NORESERVE;
#endif
    void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, flags, -1, 0);
    if (base == MAP_FAILED) {
        return nullptr;
    }
    if (!huge) {
        return base;
    }
    const std::uintptr_t start = reinterpret_cast<std::uintptr_t>(base);
    const std::uintptr_t aligned = (start + kHugeBytes - 1) / kHugeBytes * kHugeBytes;
    const std::size_t front = aligned - start;
    const std::size_t back = mapped - front - length;
    if (front != 0) {
        munmap(base, front);
    }
    if (back != 0) {
        munmap(reinterpret_cast<void*>(aligned + length), back);
    }
#ifdef MADV_HUGEPAGE
    // Advice only: without huge pages the arena works, with more misses.
    madvise(reinterpret_cast<void*>(aligned), length, MADV_HUGEPAGE);
#endif
    return reinterpret_cast<void*>(aligned);
#else
    return std::calloc(1, length);
#endif
}

// `bytes` is what arena_alloc was given.
inline void arena_free(void* arena, std::size_t bytes) noexcept {
    if (arena == nullptr) {
        return;
    }
#if PERPCORE_HAS_MMAP
    PERPCORE_CHECK(munmap(arena, arena_length(bytes)) == 0);
#else
    std::free(arena);
#endif
}

// Copies an arena into a fresh one of the same length; pages that hold nothing stay uncommitted.
inline void arena_copy(void* to, const void* source, std::size_t bytes) noexcept {
    static const unsigned char nothing[kPageBytes] = {};
    const char* from = static_cast<const char*>(source);
    for (std::size_t at = 0; at < bytes; at += kPageBytes) {
        const std::size_t length = bytes - at < kPageBytes ? bytes - at : kPageBytes;
        if (std::memcmp(from + at, nothing, length) != 0) {
            std::memcpy(static_cast<char*>(to) + at, from + at, length);
        }
    }
}

// Commits the first `bytes` now, so that the first command to touch them does not pay a page fault.
inline void arena_prefault(void* arena, std::size_t bytes) noexcept {
    volatile char* byte = static_cast<volatile char*>(arena);
    for (std::size_t at = 0; at < bytes; at += kPageBytes) {
        byte[at] = byte[at];
    }
}

// Position of the lowest set bit; `bits` is not zero.
inline int lowest_bit(std::uint64_t bits) noexcept {
    return __builtin_ctzll(bits);
}

// Tells the compiler to lay the code of a rare case out of the way.
inline bool rarely(bool condition) noexcept {
    return __builtin_expect(condition, 0);
}

// The one address or the other without a branch, for conditions that nothing foresees.
inline std::uint32_t* either(bool first, std::uint32_t* one, std::uint32_t* other) noexcept {
    const std::uintptr_t mask = std::uintptr_t{0} - first;
    return reinterpret_cast<std::uint32_t*>((reinterpret_cast<std::uintptr_t>(one) & mask)
                                            | (reinterpret_cast<std::uintptr_t>(other) & ~mask));
}

// The empty statement counts as an effect: without one the compiler drops a function that does
// nothing else, and every call of it.
inline void prefetch(const void* address) noexcept {
    __builtin_prefetch(address, 0, 3);
    __asm__ volatile("" : : "r"(address));
}

}  // namespace perpcore
