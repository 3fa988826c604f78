cimport cython
from libc.stdint cimport int64_t

@cython.final
cdef class RecordScan:
    cdef int delimiter
    # -1 for none: JSON lines.
    cdef int quote
    cdef int64_t mark_bytes
    # Where the next block begins, and behind which offset the next mark is due.
    cdef int64_t at
    cdef int64_t next_mark
    cdef int64_t count
    cdef int state
    cdef bint is_after_cr
    cdef list rows
    cdef list offsets

    # None of these raises.
    cdef bint is_simple(self, const unsigned char *data, int64_t size) noexcept nogil
    cdef void scan_lines(self, const unsigned char *data, int64_t size) noexcept nogil
    cdef int64_t skip_blank(self, const unsigned char *data, int64_t at, int64_t size) noexcept nogil
    cdef void scan_all(self, const unsigned char *data, int64_t size) noexcept nogil
    cdef void begin(self, int64_t offset) noexcept nogil
