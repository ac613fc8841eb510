"""Floor 1: the undo log. Writers save a record's old bytes before they change it.

A rolled-back stretch is bit for bit a stretch that never ran, so a preview is apply and roll back,
and a refused command changes nothing. An entry is the old bytes, padded to 8, then a 16-byte
trailer (address, length), so that the log reads backwards.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from perpcore.memory cimport CHECK, arena_alloc, arena_free

cdef extern from "perpcore/undo.hpp" nogil:
    cdef struct UndoTrailer "perpcore::UndoTrailer":
        void* address
        uint64_t size_bytes      # of the record, without the padding

    cdef struct UndoLog "perpcore::UndoLog":
        bint on                  # 0: undo_save returns at once
        bint overflowed          # an entry did not fit: the stretch can no longer be undone
        uint8_t* bytes
        uint64_t used            # bytes
        uint64_t capacity        # bytes

    # Never on, never written: for writers whose changes are never taken back.
    const UndoLog NO_UNDO "perpcore::kNoUndo"

    # Behind it a writer may save several records at the price of one branch.
    bint undo_on "perpcore::undo_on"(const UndoLog* undo) noexcept

    # Remembers size_bytes at address; called before the record is changed. Off: one branch.
    void undo_save "perpcore::undo_save"(
        UndoLog* undo, const void* address, uint32_t size_bytes) noexcept


cdef inline int undo_init(UndoLog* undo, uint64_t capacity_bytes) noexcept nogil:
    """Take the log's memory; 0, or -1 when there is none. It is committed only where it is used."""
    undo.on = 0
    undo.used = 0
    undo.overflowed = 0
    undo.capacity = capacity_bytes
    undo.bytes = <uint8_t*>arena_alloc(capacity_bytes)
    return 0 if undo.bytes != NULL else -1


cdef inline void undo_free(UndoLog* undo) noexcept nogil:
    arena_free(undo.bytes, undo.capacity)
    undo.bytes = NULL
    undo.on = 0


cdef inline void undo_begin(UndoLog* undo) noexcept nogil:
    """Switch the log on, empty."""
    undo.used = 0
    undo.overflowed = 0
    undo.on = 1


cdef inline void undo_end(UndoLog* undo) noexcept nogil:
    """Switch the log off and forget it: the changes stand."""
    undo.on = 0
    undo.used = 0
    undo.overflowed = 0


cdef inline uint64_t undo_mark(UndoLog* undo) noexcept nogil:
    """A place to roll back to; marks nest."""
    return undo.used


cdef inline void undo_rollback_to(UndoLog* undo, uint64_t mark) noexcept nogil:
    """Restore every record saved since `mark`, newest first. The log stays on."""
    cdef UndoTrailer* trailer
    cdef uint64_t start
    CHECK(not undo.overflowed)
    CHECK(mark <= undo.used)
    while undo.used > mark:
        trailer = <UndoTrailer*>(undo.bytes + undo.used - sizeof(UndoTrailer))
        start = undo.used - sizeof(UndoTrailer) - ((trailer.size_bytes + 7) & ~<uint64_t>7)
        memcpy(trailer.address, undo.bytes + start, trailer.size_bytes)
        undo.used = start
