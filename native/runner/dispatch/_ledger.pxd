cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

# GCC and Clang builtins: the only way to 64-bit atomics in shared memory that needs no library.
cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t runner_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
    static inline void runner_store(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
    static inline int runner_swap(uint64_t *at, uint64_t expected, uint64_t desired) {
        return __atomic_compare_exchange_n(at, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void runner_add(uint64_t *at, uint64_t value) { __atomic_fetch_add(at, value, __ATOMIC_ACQ_REL); }
    static inline int64_t runner_peek(const int64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline void runner_poke(int64_t *at, int64_t value) { __atomic_store_n(at, value, __ATOMIC_RELAXED); }
    static inline void runner_fence_before_stores(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
    static inline void runner_fence_after_loads(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    """
    uint64_t runner_load(const uint64_t *at) noexcept nogil
    void runner_store(uint64_t *at, uint64_t value) noexcept nogil
    int runner_swap(uint64_t *at, uint64_t expected, uint64_t desired) noexcept nogil
    void runner_add(uint64_t *at, uint64_t value) noexcept nogil
    int64_t runner_peek(const int64_t *at) noexcept nogil
    void runner_poke(int64_t *at, int64_t value) noexcept nogil
    void runner_fence_before_stores() noexcept nogil
    void runner_fence_after_loads() noexcept nogil

cdef enum:
    SLOTS = 8192
    STATE_FREE = 0
    STATE_CLAIMED = 1
    STATE_DONE = 2
    STATE_SET_ASIDE = 3
    STATE_WITHDRAWN = 4
    PHASE_IDLE = 0
    PHASE_LOAD = 1
    PHASE_RUN = 2
    PHASE_RETURN = 3
    PHASE_FLUSH = 4

cdef inline int64_t now_ns() noexcept nogil:
    cdef timespec at
    clock_gettime(CLOCK_MONOTONIC, &at)
    return <int64_t>at.tv_sec * 1000000000 + at.tv_nsec

# Raises ValueError for a number that is no slot.
cdef inline int check_slot(int64_t slot) except -1:
    if not 0 <= slot < SLOTS:
        raise ValueError(f"slot {slot} is not in 0..{SLOTS - 1}")
    return 0

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

cdef struct BoardHeader:
    uint64_t magic
    uint64_t version
    int64_t slot_count
    int64_t size_bytes
    uint64_t unused[28]

cdef enum:
    ENTRY_WORDS = 10

cdef struct Entry:
    int64_t phase
    int64_t mini_batch
    int64_t first_item
    int64_t item_count
    int64_t started_ns
    int64_t call_number
    int64_t done_count
    int64_t failed_count
    int64_t item_count_done
    int64_t item_count_failed

cdef struct SlotCopy:
    # Read in the first copy only: which of the two copies is valid is its lowest bit.
    uint64_t sequence
    Entry entry
    uint64_t unused[5]

cdef struct SlotPair:
    SlotCopy copies[2]

@cython.final
cdef class Board:
    cdef BoardHeader *header
    cdef SlotPair *slots
    cdef int64_t size
    cdef readonly int64_t slot_count
    cdef str path

    # Never raises; `slot` was checked by the caller. Adds the last four to the slot's counters.
    cdef void write(
        self, int64_t slot, int64_t phase, int64_t mini_batch, int64_t first_item, int64_t item_count, int64_t now_ns,
        int64_t done, int64_t failed, int64_t items_done, int64_t items_failed,
    ) noexcept nogil
    # Never raises.
    cdef void snapshot(self, int64_t slot, Entry *into) noexcept nogil
    # Raises ValueError when the board is closed or has no such slot.
    cdef int check(self, int64_t slot) except -1

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
