// A ring of reports with one writer and one reader. A report is there when its own number is: the
// two share no line but the reports', and each looks at the other's place once a lap.
#pragma once

#include <cstdint>
#include <cstring>
#include <thread>

#include "perpcore/memory.hpp"
#include "plain_engine.h"

namespace plain {

// A reader that has caught up waits for so many reports, or so many pauses (some microseconds):
// it would otherwise take away, again and again, the line that is just being written.
constexpr std::uint32_t kTogether = 64;
constexpr int kPauses = 256;
// The writer asks for the line of so many reports later: it may still be the reader's.
constexpr std::uint64_t kAhead = 12;

struct Ring {
    plain_report* slots;
    std::uint64_t mask;
    alignas(64) std::uint64_t written;  // the writer's
    std::uint64_t room_until;           // reports up to here fit, as far as it knows
    alignas(64) std::uint64_t taken;    // the reader's
    alignas(64) std::uint64_t released;  // what the reader has told the writer
};

inline int ring_init(Ring* ring, std::uint32_t reports) noexcept {
    if (reports < kTogether || (reports & (reports - 1)) != 0) {
        return -1;
    }
    const std::size_t bytes = sizeof(plain_report) * std::size_t{reports};
    ring->slots = static_cast<plain_report*>(perpcore::arena_alloc(bytes));
    if (ring->slots == nullptr) {
        return -1;
    }
    perpcore::arena_prefault(ring->slots, bytes);
    ring->mask = reports - 1;
    ring->room_until = reports;
    return 0;
}

inline void ring_free(Ring* ring) noexcept {
    perpcore::arena_free(ring->slots, sizeof(plain_report) * (ring->mask + 1));
}

inline void pause() noexcept {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Start loading a line that will be written.
inline void ask_for(const void* line) noexcept {
#if defined(__x86_64__)
    // gcc makes a load for reading of the builtin when it builds for any x86-64.
    __asm__ volatile("prefetchw %0" : : "m"(*static_cast<const char*>(line)));
#else
    __builtin_prefetch(line, 1, 3);
#endif
}

// Until the reader has made room.
__attribute__((noinline, cold)) inline void ring_wait(Ring* ring) noexcept {
    for (;;) {
        ring->room_until = __atomic_load_n(&ring->released, __ATOMIC_ACQUIRE) + ring->mask + 1;
        if (ring->written != ring->room_until) {
            return;
        }
        std::this_thread::yield();
    }
}

inline void ring_put(Ring* ring, plain_report report) noexcept {
    if (__builtin_expect(ring->written == ring->room_until, 0)) {
        ring_wait(ring);
    }
    plain_report* slot = &ring->slots[ring->written & ring->mask];
    ask_for(&ring->slots[(ring->written + kAhead) & ring->mask]);
    ring->written += 1;
    std::memcpy(slot, &report, sizeof report - sizeof report.number);
    __atomic_store_n(&slot->number, ring->written, __ATOMIC_RELEASE);
}

inline bool ring_has(const Ring* ring, std::uint64_t number) noexcept {
    const plain_report* slot = &ring->slots[(number - 1) & ring->mask];
    return __atomic_load_n(&slot->number, __ATOMIC_ACQUIRE) == number;
}

inline std::uint32_t ring_take(Ring* ring, plain_report* out, std::uint32_t most) noexcept {
    const std::uint32_t together = most < kTogether ? most : kTogether;
    std::uint32_t count = 0;
    for (int i = 0; i < kPauses && !ring_has(ring, ring->taken + together); i++) {
        pause();
    }
    while (count < together && ring_has(ring, ring->taken + 1)) {
        out[count] = ring->slots[ring->taken & ring->mask];
        count += 1;
        ring->taken += 1;
    }
    if (count != 0) {
        __atomic_store_n(&ring->released, ring->taken, __ATOMIC_RELEASE);
    }
    return count;
}

}  // namespace plain
