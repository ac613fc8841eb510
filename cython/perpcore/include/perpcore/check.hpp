// Always-on checks: a failed check is a bug of ours, and money is safest when the process stops.
#pragma once

#include <cstdio>
#include <cstdlib>

namespace perpcore {

// Kept out of line, so that a check costs its caller one compare and one branch.
[[noreturn]] inline void check_failed(const char* condition, const char* file, int line) noexcept {
    std::fprintf(stderr, "perpcore: check failed: %s at %s:%d\n", condition, file, line);
    std::fflush(stderr);
    std::abort();
}

}  // namespace perpcore

// Not assert: release builds define NDEBUG, and a check must hold there too.
#define PERPCORE_CHECK(condition)                                             \
    do {                                                                      \
        if (__builtin_expect(!(condition), 0)) {                              \
            ::perpcore::check_failed(#condition, __FILE__, __LINE__);         \
        }                                                                     \
    } while (0)
