/* The limit loop under latency.h's clock. See probe.py. */
#include "limit_loop.c"

#include "latency.h"

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
