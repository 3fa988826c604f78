cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    STATE_FREE = 0
    STATE_CLAIMED = 1
    STATE_DONE = 2
    STATE_SET_ASIDE = 3
    STATE_WITHDRAWN = 4

cdef inline uint64_t pack(uint64_t state, uint64_t attempt, uint64_t slot, uint64_t segment) noexcept nogil:
    return state | (attempt << 3) | (slot << 19) | (segment << 32)

cdef inline uint64_t state_of(uint64_t word) noexcept nogil:
    return word & 7

cdef inline uint64_t attempt_of(uint64_t word) noexcept nogil:
    return (word >> 3) & 0xFFFF

cdef inline uint64_t slot_of(uint64_t word) noexcept nogil:
    return (word >> 19) & 0x1FFF

cdef inline bint is_claimed_by(uint64_t word, int64_t slot) noexcept nogil:
    return state_of(word) == STATE_CLAIMED and <int64_t>slot_of(word) == slot

cdef struct Header:
    uint64_t magic
    uint64_t version
    int64_t first
    int64_t end
    int64_t unit_count
    int64_t size_bytes
    uint64_t unused_a[2]
    # A line that only the instance writes and every claim reads.
    uint64_t limit
    uint64_t aborted
    uint64_t retry_count
    uint64_t unused_b[5]
    # A line that workers write when they take a unit: generation << 32 | lowest unit that may be fresh.
    uint64_t fresh
    uint64_t unused_c[7]

cdef struct Unit:
    int64_t start
    # 0, or 1 + the slot that took it.
    uint64_t taken

@cython.final
cdef class Ledger:
    cdef Header *header
    cdef Unit *units
    cdef uint64_t *state
    cdef int64_t size
    cdef readonly int64_t first
    cdef readonly int64_t end
    cdef readonly int64_t unit_count
    cdef str path

    # The functions without GIL never raise; their arguments were checked or clamped by the caller.
    cdef int64_t claim_run(self, int64_t slot, int64_t lo, int64_t hi, int64_t max_count, int64_t *found) noexcept nogil
    cdef int64_t unclaim(self, int64_t slot, int64_t lo, int64_t hi) noexcept nogil
    cdef uint64_t load(self, int64_t mini_batch) noexcept nogil
    cdef bint is_aborted(self) noexcept nogil
    cdef bint swap(self, int64_t mini_batch, uint64_t expected, uint64_t desired) noexcept nogil
    cdef int64_t find_free(self, int64_t lo, int64_t hi) noexcept nogil
    cdef int64_t next_fresh(self, int64_t slot, int64_t lo, int64_t hi) noexcept nogil
    cdef int64_t unit_end(self, int64_t unit) noexcept nogil
    cdef void forget_fresh(self) noexcept nogil
    cdef int64_t take(self, int64_t slot, int64_t prefer) noexcept nogil
    cdef uint64_t withdraw(self, int64_t limit) noexcept nogil
    # Raise ValueError when the ledger is closed; the second and third for numbers or slots that it does not have.
    # Raises ValueError when the ledger is damaged.
    cdef int lay_out(self, str path) except -1
    cdef int check(self) except -1
    cdef int check_number(self, int64_t mini_batch) except -1
    cdef int check_range(self, int64_t lo, int64_t hi) except -1
