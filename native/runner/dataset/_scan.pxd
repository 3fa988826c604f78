cimport cython
from libc.stdint cimport int64_t

@cython.final
cdef class RecordScan:
    # -1 for none: JSON lines.
    cdef int delimiter
    # -1 for none: every line break ends a record.
    cdef int quote
    cdef int64_t mark_bytes
    # Where the next block begins, and behind which offset the next mark is due.
    cdef int64_t at
    cdef int64_t next_mark
    cdef int64_t count
    cdef int state
    cdef list rows
    cdef list offsets

    # None of these raises.
    cdef void scan(self, const unsigned char *data, int64_t size) noexcept nogil
    cdef bint scan_word(self, const unsigned char *data, int64_t at, bint has_quotes, bint has_crs) noexcept nogil
    cdef void scan_letters(self, const unsigned char *data, int64_t at, int64_t end) noexcept nogil
    cdef void begin(self, int64_t offset) noexcept nogil
