"""Floor 1: the undo log. Writers save a record's old bytes before they change it.

A rolled-back stretch is bit for bit a stretch that never ran, so a preview is apply and roll back,
and a refused command changes nothing. An entry is the old bytes, padded to 8, then a 16-byte
trailer (address, length), so that the log reads backwards.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from perpcore.memory cimport CHECK, arena_alloc, arena_free

cdef struct UndoTrailer:
    void* address
    uint64_t size_bytes          # of the record, without the padding

cdef struct UndoLog:
    bint on                      # 0: undo_save returns at once
    uint8_t* bytes
    uint64_t used                # bytes
    uint64_t capacity            # bytes
    bint overflowed              # an entry did not fit: the stretch can no longer be undone


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


cdef inline void undo_push(UndoLog* undo, void* address, uint32_t size_bytes) noexcept nogil:
    """Append one entry; the part of undo_save that runs only while the log is on."""
    cdef uint64_t padded = (<uint64_t>size_bytes + 7) & ~<uint64_t>7
    cdef UndoTrailer* trailer
    if undo.used + padded + sizeof(UndoTrailer) > undo.capacity:
        # A stretch that is kept needs no log, so only a roll-back stops on this.
        undo.overflowed = 1
        return
    memcpy(undo.bytes + undo.used, address, size_bytes)
    trailer = <UndoTrailer*>(undo.bytes + undo.used + padded)
    trailer.address = address
    trailer.size_bytes = size_bytes
    undo.used += padded + sizeof(UndoTrailer)


cdef inline void undo_save(UndoLog* undo, void* address, uint32_t size_bytes) noexcept nogil:
    """Remember `size_bytes` at `address`; call it before the record is changed."""
    if undo.on:
        undo_push(undo, address, size_bytes)


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
