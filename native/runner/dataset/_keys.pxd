from libc.stdint cimport int32_t, int64_t, uint64_t


cdef struct Entry:
    uint64_t hashed
    int64_t count
    # The number that it was found with, then the place of its next row.
    int64_t place


cdef class Grouping:
    cdef Entry *entries
    cdef int32_t *slots
    cdef int64_t entry_room
    cdef int64_t slot_room
    cdef int64_t count

    # These return -1 when memory ran out.
    cdef int64_t find(self, uint64_t hashed) noexcept nogil
    cdef int grow(self) noexcept nogil
    cdef int place(
        self, const uint64_t *hashes, const int64_t *rows, int32_t *numbers, int64_t count, int64_t *order, int64_t at
    ) noexcept nogil
