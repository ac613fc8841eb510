"""Floor 0: columns of whole numbers that numpy gave, read and written a chunk of rows at a time.

A column may have any stride: a field of records, a slice, one number for all rows. A loop works on
plain arrays; where a column is one already, nothing is copied.
"""
from libc.stdint cimport int64_t
from libc.string cimport memcpy

cdef enum:
    CHUNK_ROWS = 256

cdef struct Column:
    char* data
    Py_ssize_t stride            # bytes from row to row; 0: one number for all
    bint is_plain                # rows stand side by side, each on a multiple of its size
    int64_t room[256]            # CHUNK_ROWS: of a column that is not plain


cdef inline void column_open(Column* c, char* data, Py_ssize_t stride) noexcept nogil:
    c.data = data
    c.stride = stride
    c.is_plain = stride == sizeof(int64_t) and <size_t>data % sizeof(int64_t) == 0


cdef inline const int64_t* column_read(Column* c, Py_ssize_t first,
                                       Py_ssize_t count) noexcept nogil:
    """Rows first .. first + count - 1; the first chunk is the largest."""
    cdef Py_ssize_t i
    if c.is_plain:
        return <const int64_t*>c.data + first
    if first == 0 or c.stride != 0:
        for i in range(count):
            memcpy(&c.room[i], c.data + (first + i) * c.stride, sizeof(int64_t))
    return c.room


cdef inline int64_t* column_target(Column* c, Py_ssize_t first) noexcept nogil:
    """Where to write the rows from `first` on, before column_write."""
    return <int64_t*>c.data + first if c.is_plain else c.room


cdef inline void column_write(Column* c, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """What stands at column_target goes into the column."""
    cdef Py_ssize_t i
    if c.is_plain:
        return
    for i in range(count):
        memcpy(c.data + (first + i) * c.stride, &c.room[i], sizeof(int64_t))
