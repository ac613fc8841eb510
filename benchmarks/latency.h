/* One command at a time, each between two readings of the processor's clock. */
#pragma once

#include <stdint.h>

#if defined(__x86_64__)
#include <x86intrin.h>
/* The fences keep the timed call between its two readings. */
static inline uint64_t latency_now(void) {
    _mm_lfence();
    uint64_t ticks = __rdtsc();
    _mm_lfence();
    return ticks;
}
#else
#include <time.h>
static inline uint64_t latency_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
#endif
