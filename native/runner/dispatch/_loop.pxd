cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t

from runner.dispatch._board cimport Board
from runner.dispatch._ledger cimport Ledger

cimport numpy as cnp

cdef struct Record:
    int64_t mini_batch
    int64_t item_count
    int64_t length
    int64_t succeeded
    int64_t row_count
    int64_t start_ns
    int64_t elapsed_ns
    int32_t attempt
    int32_t slot
    int32_t flags
    int32_t unused

@cython.final
cdef class Loop:
    cdef Board board
    cdef int64_t slot
    cdef int mode
    cdef bint keep
    cdef object run
    cdef object finish
    cdef object fail
    cdef object context
    cdef int64_t max_bytes
    cdef int64_t max_ns
    # CLOCK_REALTIME - CLOCK_MONOTONIC when the loop was made.
    cdef int64_t wall_offset_ns
    # The latest reading of CLOCK_MONOTONIC.
    cdef int64_t now

    # The slab at hand.
    cdef Ledger ledger
    cdef object slab
    cdef tuple names
    cdef tuple arrays
    cdef object cut
    cdef object kept_rows
    cdef int64_t slab_first
    cdef int64_t slab_end
    cdef int64_t rows_per_mini_batch
    cdef int64_t row_count
    cdef int64_t first_item
    # Where each mini-batch begins, and the last one ends, when they are of different sizes.
    cdef bint has_bounds
    cdef const int64_t[::1] bounds

    # What is claimed and not yet run, [next, stop); where to look for more; how many to claim at once.
    cdef int64_t next
    cdef int64_t stop
    cdef int64_t cursor
    cdef int64_t claim_size

    # The entry at hand.
    cdef int64_t mini_batch
    cdef int64_t attempt
    cdef int64_t start_row
    cdef int64_t item_count
    cdef int64_t began_ns
    # For `call`: where in the mini-batch to begin, and with how many items, -1 for all that follow.
    cdef int64_t part_first
    cdef int64_t part_count

    # What is buffered; only whoever made `busy` true, under the GIL, changes it.
    cdef bint busy
    cdef Record *records
    cdef int64_t record_count
    cdef int64_t record_capacity
    cdef int64_t buffered_bytes
    cdef int64_t buffered_since_ns
    cdef list outputs
    cdef cnp.ndarray values
    cdef cnp.ndarray spare
    cdef int64_t value_count
    cdef int64_t value_capacity
    cdef list kept
    cdef object kept_run
    cdef int64_t kept_start
    cdef int64_t kept_stop

    # All of these raise what Python code below them raises, unless they are noexcept.
    cdef int adopt(self, Ledger ledger, object slab) except -1
    cdef int take_bounds(self, object bounds) except -1
    cdef int64_t start_of(self, int64_t mini_batch) noexcept
    cdef int64_t stop_of(self, int64_t mini_batch) noexcept
    cdef void hand_back(self) noexcept
    cdef bint claim(self) noexcept
    cdef int run_claimed(self) except -1
    cdef int run_one(self, int64_t mini_batch) except -1
    cdef int guarded(self, bint single, int64_t mini_batch) except -1
    cdef int append(
        self, int64_t called_ns, int64_t elapsed_ns, int64_t start, int64_t stop, int64_t length, int64_t rows,
        int64_t size, cnp.ndarray array, object output,
    ) except -1
    cdef void enter(self) noexcept
    cdef dict slice(self, int64_t start, int64_t stop)
    cdef int on_failure(self, object error) except -1
    cdef int verdict(self) noexcept
    cdef int reserve_record(self) except -1
    cdef int append_values(self, cnp.ndarray values) except -1
    cdef int grow_values(self, cnp.ndarray like, int64_t count) except -1
    cdef int close_values(self) except -1
    cdef int append_kept(self, int64_t start) except -1
    cdef int close_kept(self) except -1
    cdef void phase(self, int64_t phase) noexcept
    cdef void idle(self) noexcept
