/* The limit loop and the venue's C table under latency.h's clock. See bench_latency.py. */
#include "limit_loop.c"

#include "latency.h"
#include "perpcore/api.h"

LIMIT_API uint64_t latency_clock(void) { return latency_now(); }

/* What two readings cost with nothing between them. */
LIMIT_API void latency_empty(uint64_t count, uint64_t* ticks) {
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = latency_now();
        ticks[i] = latency_now() - start;
    }
}

/* Called through a pointer, as the venue is: the loop around it must not be compiled into one. */
LIMIT_API uint64_t latency_limit(LimitBook* book, const LimitCommand* commands, uint64_t count,
                                 LimitTrade* trades, uint64_t* ticks) {
    uint64_t (*volatile apply)(LimitBook*, const LimitCommand*, uint64_t, LimitTrade*) =
        limit_apply;
    uint64_t made = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t start = latency_now();
        uint64_t trade_count = apply(book, &commands[i], 1, trades + made);
        ticks[i] = latency_now() - start;
        made += trade_count;
    }
    return made;
}

/* Events of all commands one after another into `out`; fills[i]: trades of command i. Returns how
   many events, or 0 when a call failed or `out` was full. */
LIMIT_API uint64_t latency_venue(const perpcore_api* api, perpcore_engine* engine,
                                 const perpcore_command* commands, uint64_t count,
                                 perpcore_event* out, uint64_t capacity, uint64_t* ticks,
                                 uint32_t* fills) {
    uint64_t used = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t applied = 0, written = 0;
        uint64_t start = latency_now();
        int status = api->apply(engine, &commands[i], 1, out + used, capacity - used, 0, &applied,
                                &written);
        ticks[i] = latency_now() - start;
        if (status != PERPCORE_STATUS_OK || applied != 1 || written == capacity - used) {
            return 0;
        }
        uint32_t both_sides = 0;
        for (uint64_t e = used; e < used + written; e++) {
            both_sides += out[e].kind == PERPCORE_FILL;
        }
        fills[i] = both_sides / 2;
        used += written;
    }
    return used;
}
