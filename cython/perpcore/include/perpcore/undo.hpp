// The undo log's slow half: out of line, so that writers pay one compare and one branch.
#pragma once

#include <cstdint>
#include <cstring>

namespace perpcore {

struct UndoTrailer {
    void* address;
    std::uint64_t size_bytes;  // of the record, without the padding
};

struct UndoLog {
    int on;                    // 0: undo_save returns at once
    int overflowed;            // an entry did not fit: the stretch can no longer be undone
    std::uint8_t* bytes;
    std::uint64_t used;        // bytes
    std::uint64_t capacity;    // bytes
};

// Appends the old bytes, padded to 8, and a trailer, so that the log reads backwards.
__attribute__((noinline)) inline void undo_push(
        UndoLog* undo, const void* address, std::uint32_t size_bytes) noexcept {
    const std::uint64_t padded = (std::uint64_t{size_bytes} + 7) & ~std::uint64_t{7};
    if (undo->used + padded + sizeof(UndoTrailer) > undo->capacity) {
        // A stretch that is kept needs no log, so only a roll-back stops on this.
        undo->overflowed = 1;
        return;
    }
    std::memcpy(undo->bytes + undo->used, address, size_bytes);
    const UndoTrailer trailer = {const_cast<void*>(address), size_bytes};
    std::memcpy(undo->bytes + undo->used + padded, &trailer, sizeof trailer);
    undo->used += padded + sizeof trailer;
}

// Whether the log is on; for writers that save several records behind one branch.
inline bool undo_on(const UndoLog* undo) noexcept {
    return __builtin_expect(undo->on, 0);
}

// A log that is never on: passed where nothing is ever taken back, the compiler drops what asks it.
constexpr UndoLog kNoUndo{};

inline void undo_save(UndoLog* undo, const void* address, std::uint32_t size_bytes) noexcept {
    if (undo_on(undo)) {
        undo_push(undo, address, size_bytes);
    }
}

}  // namespace perpcore
