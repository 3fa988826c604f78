from libc.stdint cimport uint64_t

cdef uint64_t take_in(uint64_t hashed, uint64_t word) noexcept nogil
