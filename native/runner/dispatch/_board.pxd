cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec

cdef enum:
    SLOTS = 8192
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
