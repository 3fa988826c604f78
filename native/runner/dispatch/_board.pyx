"""The board: what each worker of an instance is doing. It outlives leases.

Each slot is written by one worker and read by the instance at any time, also when the writer was stopped or killed in
the middle of a write: the writer fills the copy that nobody reads and then publishes it by one store. There is no lock.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t
from posix.mman cimport munmap

from typing import NamedTuple

from runner.dispatch._mapped cimport (
    VERSION,
    map_new,
    map_old,
    runner_fence_after_loads,
    runner_fence_before_stores,
    runner_load,
    runner_peek,
    runner_poke,
    runner_store,
)

IDLE = PHASE_IDLE
LOAD = PHASE_LOAD
RUN = PHASE_RUN
RETURN = PHASE_RETURN
FLUSH = PHASE_FLUSH

cdef uint64_t BOARD_MAGIC = 0x00647261_6F424E52  # "RNBoard"

Slot = NamedTuple(
    "Slot",
    [
        ("phase", int), ("mini_batch", int), ("first_item", int), ("item_count", int), ("started_ns", int),
        ("call_number", int), ("done_count", int), ("failed_count", int), ("item_count_done", int),
        ("item_count_failed", int),
    ],
)
Slot.__module__ = __name__
Slot.__doc__ = """What one worker is doing.

`mini_batch` is -1 when there is no entry at hand. `started_ns` is CLOCK_MONOTONIC. `call_number` grows with each
phase RUN: the same number and phase RUN at two readings is one call. The counters are for display: `failed_count`
counts failed attempts, `item_count_failed` the items that are missing in returns that counted.
"""


@cython.final
cdef class Board:
    """What each worker of an instance is doing: one slot per worker, which only that worker writes."""

    def __dealloc__(self):
        if self.header != NULL:
            munmap(self.header, <size_t>self.size)

    @staticmethod
    def create(str path, int64_t slot_count):
        """Create the file; OSError (ENOSPC) when shared memory is full, FileExistsError when it is there."""
        cdef Board board = Board.__new__(Board)
        cdef int64_t size, slot
        if not 1 <= slot_count <= SLOTS:
            raise ValueError(f"a board has 1 to {SLOTS} slots, not {slot_count}")
        size = <int64_t>sizeof(BoardHeader) + slot_count * <int64_t>sizeof(SlotPair)
        board.header = <BoardHeader *>map_new(path, size)
        board.size = size
        board.header.version = VERSION
        board.header.slot_count = slot_count
        board.header.size_bytes = size
        board.path = path
        board.slot_count = slot_count
        board.slots = <SlotPair *>(board.header + 1)
        for slot in range(slot_count):
            board.slots[slot].copies[0].entry.mini_batch = -1
        runner_store(&board.header.magic, BOARD_MAGIC)
        return board

    @staticmethod
    def open(str path):
        """Map an existing board; ValueError when it is none, or of another version."""
        cdef Board board = Board.__new__(Board)
        board.header = <BoardHeader *>map_old(path, "board", BOARD_MAGIC, sizeof(BoardHeader), 3, &board.size)
        board.path = path
        board.slot_count = board.header.slot_count
        board.slots = <SlotPair *>(board.header + 1)
        if board.size != <int64_t>sizeof(BoardHeader) + board.slot_count * <int64_t>sizeof(SlotPair):
            raise ValueError(f"{path} is a damaged board: {board.slot_count} slots do not fit {board.size} bytes")
        return board

    cdef int check(self, int64_t slot) except -1:
        if self.header == NULL:
            raise ValueError("the board is closed")
        if not 0 <= slot < self.slot_count:
            raise ValueError(f"{self.path} has no slot {slot}, only 0..{self.slot_count - 1}")
        return 0

    cdef void write(
        self, int64_t slot, int64_t phase, int64_t mini_batch, int64_t first_item, int64_t item_count, int64_t now_ns,
        int64_t done, int64_t failed, int64_t items_done, int64_t items_failed,
    ) noexcept nogil:
        cdef SlotPair *pair = &self.slots[slot]
        cdef uint64_t sequence = pair.copies[0].sequence
        cdef Entry *old = &pair.copies[sequence & 1].entry
        cdef Entry *new = &pair.copies[(sequence + 1) & 1].entry
        # Keeps these stores behind the publication of the copy that readers use now.
        runner_fence_before_stores()
        runner_poke(&new.phase, phase)
        runner_poke(&new.mini_batch, mini_batch)
        runner_poke(&new.first_item, first_item)
        runner_poke(&new.item_count, item_count)
        runner_poke(&new.started_ns, now_ns)
        runner_poke(&new.call_number, old.call_number + (phase == PHASE_RUN))
        runner_poke(&new.done_count, old.done_count + done)
        runner_poke(&new.failed_count, old.failed_count + failed)
        runner_poke(&new.item_count_done, old.item_count_done + items_done)
        runner_poke(&new.item_count_failed, old.item_count_failed + items_failed)
        runner_store(&pair.copies[0].sequence, sequence + 1)

    cdef void snapshot(self, int64_t slot, Entry *into) noexcept nogil:
        cdef SlotPair *pair = &self.slots[slot]
        cdef uint64_t sequence
        cdef const int64_t *source
        cdef int64_t *target = <int64_t *>into
        cdef int i
        while True:
            sequence = runner_load(&pair.copies[0].sequence)
            source = <const int64_t *>&pair.copies[sequence & 1].entry
            for i in range(ENTRY_WORDS):
                target[i] = runner_peek(&source[i])
            runner_fence_after_loads()
            if runner_load(&pair.copies[0].sequence) == sequence:
                return

    def read(self, int64_t slot):
        """Return a consistent snapshot of a slot; never waits for its writer, which may be stopped or dead."""
        cdef Entry entry
        self.check(slot)
        self.snapshot(slot, &entry)
        return Slot(
            entry.phase, entry.mini_batch, entry.first_item, entry.item_count, entry.started_ns, entry.call_number,
            entry.done_count, entry.failed_count, entry.item_count_done, entry.item_count_failed,
        )

    def set_phase(
        self, int64_t slot, int64_t phase, int64_t mini_batch=-1, int64_t first_item=-1, int64_t item_count=0
    ):
        """Say what the worker of this slot does from now on. Only that worker may call this."""
        self.check(slot)
        if not PHASE_IDLE <= phase <= PHASE_FLUSH:
            raise ValueError(f"{phase} is no phase")
        self.write(slot, phase, mini_batch, first_item, item_count, now_ns(), 0, 0, 0, 0)

    def clear(self, int64_t slot):
        """Reset the slot of a worker that has been waited for: idle, counters zero. The call number goes on growing."""
        cdef Entry entry
        self.check(slot)
        self.snapshot(slot, &entry)
        self.write(
            slot, PHASE_IDLE, -1, -1, 0, now_ns(),
            -entry.done_count, -entry.failed_count, -entry.item_count_done, -entry.item_count_failed,
        )

    def close(self):
        """Unmap the file; it stays where it is. Idempotent. No other thread may be using the board."""
        if self.header != NULL:
            munmap(self.header, <size_t>self.size)
            self.header = NULL
            self.slots = NULL
