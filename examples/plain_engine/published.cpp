// The plain engine behind the functions that the benchmark published with arXiv 2606.01183 loads
// (github.com/flash1-dev/matching-engine-benchmark, api/matching_engine_api.h): its orders,
// cancels, modifies and reports lie in memory as ours do, and our ring is its transport.
//
//     ./harness --engine .../published.so --scenario normal --mode perf
#include "plain_engine.h"

namespace {

// What carries the reports: made before engine_init, which gets what create returned.
struct Transport {
    void* (*create)(uint32_t capacity);
    int (*push)(void* handle, const plain_report* report);
    uint32_t (*drain)(void* handle, plain_report* out, uint32_t most);
    void (*flush)(void* handle);
    void (*destroy)(void* handle);
};

plain_engine* engine = nullptr;

void* create(uint32_t capacity) {
    // Prices are signed; the days stay below a million ticks, and rest 42,000 orders at most.
    plain_terms terms{-(1 << 20), 1 << 24, 1 << 17, 64};
    while (terms.ring_reports < capacity && terms.ring_reports < 1u << 31) terms.ring_reports *= 2;
    return engine = plain_engine_create(&terms);
}

uint32_t drain(void* handle, plain_report* out, uint32_t most) {
    return plain_engine_read(static_cast<plain_engine*>(handle), out, most);
}

// A report can be read as soon as it is written.
void flush(void*) {}

// The engine writes its reports itself.
int push(void*, const plain_report*) { return 0; }

void destroy(void* handle) {
    plain_engine_destroy(static_cast<plain_engine*>(handle));
    engine = nullptr;
}

const Transport transport{create, push, drain, flush, destroy};

}  // namespace

extern "C" {

PLAIN_ENGINE_API const Transport* engine_get_transport() { return &transport; }
PLAIN_ENGINE_API void engine_init(uint64_t, const Transport*, void*) {}
PLAIN_ENGINE_API void engine_shutdown() {}
PLAIN_ENGINE_API void engine_flush() {}

PLAIN_ENGINE_API void engine_on_new_order(const plain_new* order) {
    plain_engine_new(engine, order);
}
PLAIN_ENGINE_API void engine_on_cancel(const plain_cancel* cancel) {
    plain_engine_cancel(engine, cancel);
}
PLAIN_ENGINE_API void engine_on_modify(const plain_modify* modify) {
    plain_engine_modify(engine, modify);
}

PLAIN_ENGINE_API int64_t engine_query_best_bid() { return plain_engine_best(engine, PLAIN_BUY); }
PLAIN_ENGINE_API int64_t engine_query_best_ask() { return plain_engine_best(engine, PLAIN_SELL); }
PLAIN_ENGINE_API uint64_t engine_query_depth_at(int64_t price_ticks, uint8_t side) {
    return plain_engine_depth(engine, side, price_ticks);
}

}  // extern "C"
