"""The loop that calls the user's `run`: claim, slice, call, count, buffer, with no other Python work per mini-batch.

One turn, for a slab that the worker has decoded:

1. Claim a short run of adjacent words, sized by what the last ones took (about 20 ms of work, first of all one).
2. For each: name the entry in the slot (phase RUN), then build the mini-batch and call `run`. A crash or a hang from
   here on is blamed on exactly this entry, by its slot.
3. Phase RETURN, to which the script's time limit does not apply. Count what came back, copy or render it, append one
   record. From here on the script may do to its objects what it likes.
4. When enough is buffered, or for long enough, return to the worker, which takes the buffer, writes it as a segment
   and only then completes the words.

What a crash loses: the entry at hand, what is buffered, and what is claimed; all of it is still CLAIMED in the ledger.

An exception of the script is data: it goes to `fail`, its word stays CLAIMED for the instance to decide on, and
the loop goes on. SystemExit, KeyboardInterrupt and GeneratorExit are no failures of a mini-batch: they leave
`drain` with the slot still naming the entry, and the worker must end its process at once (`os._exit`), which the
instance then blames as it does any crash.
"""

cimport cython
from cpython.ref cimport Py_REFCNT
from cpython.tuple cimport PyTuple_GET_ITEM, PyTuple_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy
from posix.unistd cimport usleep

import time
from typing import Any, NamedTuple, Protocol

import numpy as np

cimport numpy as cnp

from runner.dispatch._arrays cimport is_copied, is_counted, output_size, same_type, view_rows
from runner.dispatch._board cimport PHASE_IDLE, PHASE_RETURN, PHASE_RUN, Board, check_slot, now_ns
from runner.dispatch._ledger cimport Ledger, attempt_of, is_claimed_by

cnp.import_array()

cdef extern from "Python.h":
    object PyObject_CallOneArg(object function, object argument)
    object PySequence_GetSlice(object sequence, Py_ssize_t start, Py_ssize_t stop)

cdef enum:
    MODE_COUNT = 0
    MODE_TEXT = 1
    MODE_ROWS = 2
    # What a turn ends with; GO_ON never leaves the loop.
    END_DRY = 0
    END_FULL = 1
    END_DUE = 2
    END_STOPPED = 3
    GO_ON = 4
    CLAIM_NS = 20_000_000
    MAX_CLAIM = 65536
    FIRST_VALUES = 4096

COUNT = MODE_COUNT
TEXT = MODE_TEXT
ROWS = MODE_ROWS

DRY = END_DRY
FULL = END_FULL
DUE = END_DUE
STOPPED = END_STOPPED

RECORD = np.dtype(
    [
        ("mini_batch", "i8"), ("item_count", "i8"), ("length", "i8"), ("succeeded", "i8"), ("row_count", "i8"),
        ("start_ns", "i8"), ("elapsed_ns", "i8"), ("attempt", "i4"), ("slot", "i4"), ("flags", "i4"), ("unused", "i4"),
    ]
)

Taken = NamedTuple("Taken", [("records", object), ("outputs", list), ("kept", list)])
Taken.__module__ = __name__
Taken.__doc__ = """What a loop had buffered.

`records` has one RECORD per successful mini-batch, in the order they ran. `outputs`: for ROWS, in that order, either
("array", values) for the natively copied returns of as many mini-batches as their row counts make up, or ("object",
output, row_count) for one; for TEXT one `bytes` per record; for COUNT nothing. `kept` is a list of (slab.kept,
start, stop), the rows that belong to the outputs in the same order, adjacent ones joined.
"""


class Slab(Protocol):
    """Decoded rows of whole mini-batches, as the loop reads them: once, when it begins with another slab.

    Mini-batch m of [first_mini_batch, end_mini_batch) has the rows from (m - first_mini_batch) * rows_per_mini_batch
    on, the last one as many as there are; or, where `bounds` (int64) are given, those from bounds[m - first] to
    bounds[m - first + 1]. `columns` are arrays of at least `row_count` rows, given to `run` as a dict
    of views; without them `cut(start_row, stop_row, mini_batch)` makes the mini-batch. `first_item` is what row 0
    counts as in failures and in the slot. `kept` comes back from `take` beside the rows that belong to it.
    """

    first_mini_batch: int
    end_mini_batch: int
    rows_per_mini_batch: int
    row_count: int
    first_item: int
    columns: Any
    cut: Any
    kept: Any
    bounds: Any


@cython.final
cdef class Loop:
    """Runs claimed mini-batches of one worker and buffers what they return; holds the GIL.

    Belongs to one thread; from another one only `pending_count`, `due_ns`, `take` and `hand_back_rest` may be used.

    `finish(result, mini_batch, item_count)` returns (output, length, rows) for what is not counted or copied
    natively; its exceptions count as failures of the mini-batch. `fail(mini_batch, attempt, first_item, item_count,
    error)` is told of each failure; what it raises leaves `drain`. `context(mini_batch, attempt)`, when given, makes
    the second argument of `run`. With `keep` a return must have exactly one row per item.
    """

    def __init__(
        self,
        Board board not None,
        int64_t slot,
        run,
        int mode,
        *,
        finish,
        fail,
        context=None,
        bint keep=False,
        int64_t max_bytes=64 * 1024 * 1024,
        int64_t max_ns=1_000_000_000,
    ):
        check_slot(slot)
        board.check(slot)
        if not MODE_COUNT <= mode <= MODE_ROWS:
            raise ValueError(f"{mode} is no mode; use COUNT, TEXT or ROWS")
        if max_bytes < 1 or max_ns < 1:
            raise ValueError(f"max_bytes and max_ns are at least 1, not {max_bytes} and {max_ns}")
        self.board = board
        self.slot = slot
        self.run = run
        self.mode = mode
        self.finish = finish
        self.fail = fail
        self.context = context
        self.keep = keep
        self.max_bytes = max_bytes
        self.max_ns = max_ns
        self.wall_offset_ns = time.time_ns() - time.monotonic_ns()
        self.claim_size = 1
        self.part_first = 0
        self.part_count = -1
        self.outputs = []
        self.kept = []

    def __dealloc__(self):
        free(self.records)

    def drain(self, Ledger ledger not None, slab not None):
        """Claim and run mini-batches of the slab until there is a reason to return: DRY, FULL, DUE or STOPPED.

        DRY: the slab has no FREE word. FULL: `max_bytes` are buffered. DUE: the first buffered result is `max_ns` old,
        or the last mini-batch took longer than that by itself. STOPPED: the lease was aborted. After FULL and DUE,
        what was claimed and not run is carried on by the next drain of the same slab, or handed back by any other.
        """
        cdef int end
        ledger.check()
        self.board.check(self.slot)
        if self.slab is not slab or self.ledger is not ledger:
            self.adopt(ledger, slab)
        while True:
            if self.next >= self.stop and not self.claim():
                end = END_STOPPED if ledger.is_aborted() else END_DRY
            else:
                end = self.guarded(False, 0)
            if end != GO_ON:
                break
        if end == END_STOPPED or end == END_DRY:
            self.hand_back()
        self.idle()
        return end

    def call(
        self, Ledger ledger not None, slab not None, int64_t mini_batch, int64_t first_item=0, int64_t item_count=-1
    ):
        """Run one mini-batch of the slab that this slot has already claimed (assigned by the instance), or items of it.

        With a range, `run` gets only items [first_item, first_item + item_count) of the mini-batch, and slot, failure
        and record tell of these. Returns as `drain`; DRY when nothing more is to be said.
        """
        cdef int end
        cdef int64_t room
        ledger.check_number(mini_batch)
        self.board.check(self.slot)
        if not is_claimed_by(ledger.load(mini_batch), self.slot):
            raise ValueError(f"mini-batch {mini_batch} is not claimed by slot {self.slot}")
        if self.slab is not slab or self.ledger is not ledger:
            self.adopt(ledger, slab)
        if not self.slab_first <= mini_batch < self.slab_end:
            raise ValueError(f"mini-batch {mini_batch} is not in the slab {self.slab_first}..{self.slab_end}")
        if first_item != 0 or item_count != -1:
            room = self.stop_of(mini_batch) - self.start_of(mini_batch)
            if not 0 <= first_item < room or not 1 <= item_count <= room - first_item:
                raise ValueError(f"mini-batch {mini_batch} has {room} items, not {item_count} from {first_item} on")
        self.part_first, self.part_count = first_item, item_count
        try:
            end = END_STOPPED if ledger.is_aborted() else self.guarded(True, mini_batch)
        finally:
            self.part_first, self.part_count = 0, -1
        self.idle()
        return END_DRY if end == GO_ON else end

    def hand_back_claims(self):
        """Put back what is claimed and not run, and let go of the slab: for a worker that will not drain it again."""
        self.hand_back()

    def hand_back_rest(self):
        """Put back what is claimed and not begun, and return how many those are: the call at hand takes long.

        Another thread may do so while this one is in the script.
        """
        cdef int64_t count = 0
        if self.next < self.stop and self.ledger.header != NULL:
            count = self.ledger.unclaim(self.slot, self.next, self.stop)
            self.stop = self.next
        return count

    @property
    def pending_count(self):
        """How many successful mini-batches are buffered."""
        return self.record_count

    @property
    def due_ns(self):
        """When what is buffered falls due, in CLOCK_MONOTONIC nanoseconds; 0 when nothing is buffered."""
        return self.buffered_since_ns + self.max_ns if self.record_count else 0

    def take(self):
        """Return what is buffered, and begin anew.

        Drop the arrays before the next drain where possible: their memory is then used again. Another thread may take
        while this one is in the script or in a callback.
        """
        cdef cnp.ndarray records
        self.enter()
        try:
            self.close_values()
            self.close_kept()
            records = np.empty(self.record_count, dtype=RECORD)
            if self.record_count:
                memcpy(cnp.PyArray_DATA(records), self.records, <size_t>self.record_count * sizeof(Record))
            taken = Taken(records, self.outputs, self.kept)
            self.outputs = []
            self.kept = []
            self.record_count = 0
            self.buffered_bytes = 0
            return taken
        finally:
            self.busy = False

    # -- the slab and the claim at hand

    cdef int adopt(self, Ledger ledger, object slab) except -1:
        """Take over another slab, checking once what the loop then relies on."""
        cdef list names = [], arrays = []
        self.hand_back()
        self.slab_first = slab.first_mini_batch
        self.slab_end = slab.end_mini_batch
        self.rows_per_mini_batch = slab.rows_per_mini_batch
        self.row_count = slab.row_count
        self.first_item = slab.first_item
        bounds = slab.bounds
        self.has_bounds = bounds is not None
        if self.has_bounds:
            self.take_bounds(bounds)
        elif self.rows_per_mini_batch < 1 or not 0 <= self.row_count <= (self.slab_end - self.slab_first) * self.rows_per_mini_batch:
            raise ValueError(
                f"{self.row_count} rows by {self.rows_per_mini_batch} do not fit mini-batches"
                f" {self.slab_first}..{self.slab_end}"
            )
        self.cut = slab.cut
        columns = slab.columns
        if columns is None:
            if self.cut is None:
                raise ValueError("a slab has columns or a cut")
        else:
            for name, array in columns:
                if not isinstance(array, np.ndarray) or array.ndim < 1 or len(array) < self.row_count:
                    raise ValueError(f"column {name!r} is no array of {self.row_count} rows")
                names.append(name)
                arrays.append(array)
        self.names = tuple(names)
        self.arrays = None if columns is None else tuple(arrays)
        self.kept_rows = slab.kept if self.keep else None
        self.cursor = self.slab_first
        self.ledger = ledger
        self.slab = slab
        return 0

    cdef int take_bounds(self, object bounds) except -1:
        """Take over the rows at which mini-batches begin, and check that they go up to the slab's last row."""
        cdef const int64_t[::1] view = bounds
        cdef int64_t index, count = self.slab_end - self.slab_first
        if view.shape[0] != count + 1 or view[0] < 0 or view[count] > self.row_count:
            raise ValueError(f"{view.shape[0]} bounds do not fit mini-batches {self.slab_first}..{self.slab_end}")
        for index in range(count):
            if view[index] > view[index + 1]:
                raise ValueError(f"bound {index} is behind the next one")
        self.bounds = view
        return 0

    cdef inline int64_t start_of(self, int64_t mini_batch) noexcept:
        if self.has_bounds:
            return self.bounds[mini_batch - self.slab_first]
        return (mini_batch - self.slab_first) * self.rows_per_mini_batch

    cdef inline int64_t stop_of(self, int64_t mini_batch) noexcept:
        if self.has_bounds:
            return self.bounds[mini_batch - self.slab_first + 1]
        return min((mini_batch - self.slab_first + 1) * self.rows_per_mini_batch, self.row_count)

    cdef void hand_back(self) noexcept:
        if self.next < self.stop and self.ledger.header != NULL:
            self.ledger.unclaim(self.slot, self.next, self.stop)
        self.next = self.stop = 0
        self.ledger = None
        self.slab = None
        self.cut = None
        self.kept_rows = None
        self.names = None
        self.arrays = None

    cdef bint claim(self) noexcept:
        """Claim the next run, looking on from the last one and then once from the beginning. False when there is none."""
        cdef int64_t found = 0
        cdef int64_t count = self.ledger.claim_run(self.slot, self.cursor, self.slab_end, self.claim_size, &found)
        if count == 0 and self.cursor > self.slab_first:
            count = self.ledger.claim_run(self.slot, self.slab_first, self.cursor, self.claim_size, &found)
        if count == 0:
            return False
        self.next = found
        self.stop = self.cursor = found + count
        return True

    cdef int guarded(self, bint single, int64_t mini_batch) except -1:
        """Run what is claimed, or a single number, and turn an exception of the script into a failure."""
        # The handler is out here so that a mini-batch that succeeds does not pay for it.
        try:
            self.now = now_ns()
            return self.run_one(mini_batch) if single else self.run_claimed()
        except (SystemExit, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:
            return self.on_failure(error)

    cdef int run_claimed(self) except -1:
        cdef int64_t began = self.now, first = self.next, mini_batch, mean_ns, fitting
        cdef int end = GO_ON
        while self.next < self.stop:
            if self.ledger.is_aborted():
                return END_STOPPED
            mini_batch = self.next
            self.next = mini_batch + 1
            end = self.run_one(mini_batch)
            if end != GO_ON:
                break
        mean_ns = (self.now - began) // (self.next - first) + 1
        fitting = CLAIM_NS // mean_ns
        self.claim_size = max(1, min(fitting, 2 * self.claim_size, MAX_CLAIM))
        return end

    # -- one mini-batch

    cdef int run_one(self, int64_t mini_batch) except -1:
        cdef int64_t start, stop
        cdef int64_t called_ns, elapsed_ns, length, rows, size = 0
        cdef cnp.ndarray array = None
        assert self.slab_first <= mini_batch < self.slab_end, "a mini-batch outside its slab"
        start, stop = self.start_of(mini_batch), self.stop_of(mini_batch)
        start = min(start + self.part_first, stop)
        if self.part_count >= 0:
            stop = min(start + self.part_count, stop)
        self.mini_batch = mini_batch
        self.attempt = <int64_t>attempt_of(self.ledger.load(mini_batch))
        self.start_row = start
        self.item_count = stop - start
        self.began_ns = self.now
        self.phase(PHASE_RUN)
        self.reserve_record()

        batch = self.slice(start, stop) if self.arrays is not None else self.cut(start, stop, mini_batch)
        if self.context is None:
            called_ns = now_ns()
            result = PyObject_CallOneArg(self.run, batch)
        else:
            context = self.context(mini_batch, self.attempt)
            called_ns = now_ns()
            result = self.run(batch, context)
        self.now = now_ns()

        elapsed_ns = self.now - called_ns
        output = None
        if self.mode == MODE_COUNT and is_counted(result):
            length = rows = len(result)
        elif self.mode == MODE_ROWS and is_copied(result):
            length = rows = cnp.PyArray_DIM(result, 0)
            array = result
            size = cnp.PyArray_NBYTES(array)
        else:
            self.phase(PHASE_RETURN)
            output, length, rows = self.finish(result, mini_batch, self.item_count)
            size = output_size(output, rows)
            self.now = now_ns()
        if self.keep and rows != self.item_count:
            raise ValueError(
                f"run returned {rows} rows for {self.item_count} items; with keep_columns it must return exactly one row per item"
            )
        self.append(called_ns, elapsed_ns, start, stop, length, rows, size, array, output)
        return self.verdict()

    cdef int append(
        self, int64_t called_ns, int64_t elapsed_ns, int64_t start, int64_t stop, int64_t length, int64_t rows,
        int64_t size, cnp.ndarray array, object output,
    ) except -1:
        """Buffer what the entry at hand returned: an array to copy or an output, and its record. All of it or nothing."""
        cdef int64_t succeeded = min(length, self.item_count)
        cdef Record *record
        self.enter()
        try:
            # Whatever may raise comes before the record.
            if self.kept_rows is not None:
                self.append_kept(start)
            if self.mode == MODE_TEXT:
                self.outputs.append(<bytes?>output)
            elif self.mode == MODE_ROWS:
                if array is not None:
                    self.append_values(array)
                else:
                    self.close_values()
                    self.outputs.append(("object", output, rows))
            if self.kept_rows is not None:
                self.kept_stop = stop
            record = &self.records[self.record_count]
            record.mini_batch = self.mini_batch
            record.item_count = self.item_count
            record.length = length
            record.succeeded = succeeded
            record.row_count = rows
            record.start_ns = called_ns + self.wall_offset_ns
            record.elapsed_ns = elapsed_ns
            record.attempt = <int32_t>self.attempt
            record.slot = <int32_t>self.slot
            record.flags = 0
            record.unused = 0
            if self.record_count == 0:
                self.buffered_since_ns = self.now
            self.record_count += 1
            self.buffered_bytes += size + <int64_t>sizeof(Record)
        finally:
            self.busy = False
        self.board.write(
            self.slot, PHASE_RETURN, self.mini_batch, self.first_item + start, self.item_count, self.began_ns,
            1, 0, succeeded, self.item_count - succeeded,
        )
        return 0

    cdef dict slice(self, int64_t start, int64_t stop):
        """A new dict of views on rows [start, stop), as read-only as their columns are."""
        cdef dict batch = {}
        cdef Py_ssize_t i
        cdef object array, view
        for i in range(PyTuple_GET_SIZE(self.arrays)):
            array = <object>PyTuple_GET_ITEM(self.arrays, i)
            if cnp.PyArray_CheckExact(array):
                view = view_rows(array, start, stop)
            else:
                # Masked arrays: only their own slicing takes the mask along.
                view = PySequence_GetSlice(array, start, stop)
            batch[<object>PyTuple_GET_ITEM(self.names, i)] = view
        return batch

    cdef int on_failure(self, object error) except -1:
        self.board.write(
            self.slot, PHASE_RETURN, self.mini_batch, self.first_item + self.start_row, self.item_count, self.began_ns,
            0, 1, 0, 0,
        )
        drop_own_frames(error)
        self.fail(self.mini_batch, self.attempt, self.first_item + self.start_row, self.item_count, error)
        self.now = now_ns()
        return self.verdict()

    cdef int verdict(self) noexcept:
        """Whether to go on after the entry at hand has ended."""
        if self.buffered_bytes >= self.max_bytes:
            return END_FULL
        if self.now - self.began_ns > self.max_ns:
            return END_DUE
        if self.record_count > 0 and self.now - self.buffered_since_ns >= self.max_ns:
            return END_DUE
        return GO_ON

    # -- the buffers

    cdef void enter(self) noexcept:
        """Wait until no other thread is changing the buffers; `busy` is then ours.

        Allocating may run the collector, that a finalizer, and that gives up the GIL in the middle of a change.
        """
        while self.busy:
            with nogil:
                usleep(50)
        self.busy = True

    cdef int reserve_record(self) except -1:
        cdef int64_t capacity
        cdef void *larger
        if self.record_count < self.record_capacity:
            return 0
        capacity = max(1024, 2 * self.record_capacity)
        larger = realloc(self.records, <size_t>capacity * sizeof(Record))
        if larger == NULL:
            raise MemoryError()
        self.records = <Record *>larger
        self.record_capacity = capacity
        return 0

    cdef int append_values(self, cnp.ndarray values) except -1:
        """Copy a one-dimensional array behind those of its type; another type begins another run."""
        cdef int64_t count = cnp.PyArray_DIM(values, 0)
        cdef int64_t width = cnp.PyArray_ITEMSIZE(values)
        if self.values is not None and not same_type(self.values, values):
            self.close_values()
        if self.values is None or self.value_count + count > self.value_capacity:
            self.grow_values(values, count)
        memcpy(
            <char *>cnp.PyArray_DATA(self.values) + self.value_count * width, cnp.PyArray_DATA(values),
            <size_t>(count * width),
        )
        self.value_count += count
        return 0

    cdef int grow_values(self, cnp.ndarray like, int64_t count) except -1:
        """Make room for `count` more values of the type of `like`."""
        cdef cnp.ndarray larger
        cdef int64_t capacity = max(FIRST_VALUES, self.value_count + count)
        if self.values is not None:
            capacity = max(capacity, 2 * self.value_capacity)
        if self.spare is not None and Py_REFCNT(self.spare) == 1 and (
            same_type(self.spare, like) and cnp.PyArray_DIM(self.spare, 0) >= capacity
        ):
            larger = self.spare
        else:
            larger = np.empty(capacity, dtype=like.dtype)
        self.spare = None
        if self.value_count:
            memcpy(cnp.PyArray_DATA(larger), cnp.PyArray_DATA(self.values), <size_t>cnp.PyArray_NBYTES(self.values))
        self.values = larger
        self.value_capacity = cnp.PyArray_DIM(larger, 0)
        return 0

    cdef int close_values(self) except -1:
        if self.values is not None:
            self.outputs.append(("array", self.values[: self.value_count]))
            # Used again once nobody holds a view on it: fresh pages cost more than the copy itself.
            self.spare = self.values
            self.values = None
            self.value_count = 0
        return 0

    cdef int append_kept(self, int64_t start) except -1:
        """Make sure that the open run of kept rows ends at `start`; the caller then moves its end on."""
        if self.kept_run is self.kept_rows and self.kept_stop == start:
            return 0
        self.close_kept()
        self.kept_run = self.kept_rows
        self.kept_start = self.kept_stop = start
        return 0

    cdef int close_kept(self) except -1:
        if self.kept_run is not None and self.kept_start < self.kept_stop:
            self.kept.append((self.kept_run, self.kept_start, self.kept_stop))
        self.kept_run = None
        return 0

    # -- the slot

    cdef void phase(self, int64_t phase) noexcept:
        self.board.write(
            self.slot, phase, self.mini_batch, self.first_item + self.start_row, self.item_count, self.now, 0, 0, 0, 0
        )

    cdef void idle(self) noexcept:
        self.board.write(self.slot, PHASE_IDLE, -1, -1, 0, now_ns(), 0, 0, 0, 0)


cdef object drop_own_frames(object error):
    """Let the traceback begin in the script: frames of this file tell its author nothing."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.endswith("runner/dispatch/_loop.pyx"):
        trace = trace.tb_next
    error.__traceback__ = trace
