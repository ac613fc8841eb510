// What is kept of an order beside the 32 bytes that matching reads.

#pragma once

#include <cstdint>

namespace perpcore {

// 64 B: one line, so that words and marks share one word.
struct OrderCold {
    std::int64_t reserve_units;   // money still held
    std::int64_t reserved_total;  // n of SPEC C3
    std::int64_t reserved_used;   // f of SPEC C3
    std::int64_t size_lots;       // size at which MR' was taken
    std::int64_t filled_lots;
    std::uint64_t client_order_id;
    std::uint32_t next_order;  // orders of the same leg
    std::uint32_t prev_order;
    std::uint32_t accept_mark_ticks;
    std::uint32_t leverage : 10;  // of the reserve; 1000 at most
    std::uint32_t exec_flags : 8;
    std::uint32_t time_in_force : 3;
    std::uint32_t stp : 2;
    std::uint32_t is_explicit : 1;  // the reserve is an isolated_margin_amount
    std::uint32_t in_book : 1;
    std::uint32_t is_dormant : 1;  // waits for its trigger: no reserve, in no book (O1)
    std::uint32_t has_rare : 1;    // there is an OrderRare at its slot
};

static_assert(sizeof(OrderCold) == 64, "an order's record is one cache line");

}  // namespace perpcore
