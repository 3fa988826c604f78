"""The ledger through which the workers of an instance share one lease.

It is a file in shared memory, mapped by the instance and its workers, and holds no mutex: SIGKILL at any instruction
leaves a state that the instance can finish or hand back.

A ledger is a header, its units, and one 64-bit word per mini-batch.
The word is the only truth about its mini-batch::

    bits   0-2  state    FREE, CLAIMED, DONE, SET_ASIDE, WITHDRAWN
    bits  3-18  attempt  0 for the first try
    bits 19-31  slot     who claimed it
    bits 32-63  segment  DONE only: where the result stands, counted by that slot from 1

Who may change it, always by compare-and-swap of the whole word::

    FREE -> CLAIMED            a worker (claim), or the instance for a worker (assign)
    CLAIMED -> DONE            the worker of that slot, after its segment is on disk (complete): its last write
    CLAIMED -> FREE            the worker that hands back what it did not run; the instance, when the worker has
                               been waited for (free_slot), or when it reported a failure (retry: attempt + 1)
    CLAIMED -> CLAIMED         the instance, when the next process of the slot shall try it again (retry with `hold`),
                               or when another slot shall have it (pass_on)
    CLAIMED -> DONE            the instance too, for a mini-batch whose results it has put together itself
    CLAIMED -> SET_ASIDE       the instance, when a failed mini-batch has no tries left
    FREE -> WITHDRAWN          the instance, when the end of the lease goes elsewhere (lower_limit), or when the
                               mini-batch is not in the lease though its neighbours are (exclude)

So after the death of a worker exactly the words that name its slot are open, and a result counts only when a
DONE word names its segment. Which units are taken is a hint that spares decoding the same data twice: when it is
wrong or lost, work is slower, never wrong.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset
from posix.mman cimport munmap

from typing import NamedTuple

import numpy as np

cimport numpy as cnp

from runner.dispatch._board cimport check_slot
from runner.dispatch._mapped cimport VERSION, map_new, map_old, runner_add, runner_load, runner_store, runner_swap

cnp.import_array()

FREE = STATE_FREE
CLAIMED = STATE_CLAIMED
DONE = STATE_DONE
SET_ASIDE = STATE_SET_ASIDE
WITHDRAWN = STATE_WITHDRAWN

MAX_MINI_BATCHES = 10**6

cdef enum:
    MAX_ATTEMPT = 65535

cdef uint64_t LEDGER_MAGIC = 0x72656764_654C4E52  # "RNLedger", little-endian
cdef uint64_t MAX_SEGMENT = 0xFFFFFFFF

Word = NamedTuple("Word", [("state", int), ("attempt", int), ("slot", int), ("segment", int)])
Word.__module__ = __name__
Word.__doc__ = "One mini-batch's word, taken apart."


cdef int64_t ledger_size(int64_t unit_count, int64_t count) noexcept nogil:
    cdef int64_t units = unit_count * <int64_t>sizeof(Unit)
    return <int64_t>sizeof(Header) + (units + 63) // 64 * 64 + count * <int64_t>sizeof(uint64_t)


@cython.final
cdef class Ledger:
    """The mini-batches [first, end) of one lease: who has which, and what became of it."""

    def __dealloc__(self):
        if self.header != NULL:
            munmap(self.header, <size_t>self.size)

    cdef int lay_out(self, str path) except -1:
        """Set the pointers from the header. ValueError when sizes disagree."""
        cdef Header *header = self.header
        self.path = path
        self.first = header.first
        self.end = header.end
        self.unit_count = header.unit_count
        if not (
            0 <= self.first < self.end <= self.first + <int64_t>MAX_MINI_BATCHES
            and 1 <= self.unit_count <= self.end - self.first
            and header.size_bytes == ledger_size(self.unit_count, self.end - self.first)
        ):
            raise ValueError(f"{path} is a damaged ledger: its header says {self.unit_count} units in {self.first}..{self.end}")
        self.units = <Unit *>(header + 1)
        self.state = <uint64_t *>(<char *>header + ledger_size(self.unit_count, 0))
        return 0

    @staticmethod
    def create(str path, int64_t first, int64_t end, unit_starts):
        """Create the ledger of a lease, every mini-batch FREE.

        `unit_starts` are the first mini-batches of its units, ascending, the first one `first`. OSError (ENOSPC)
        when shared memory is full, FileExistsError when the file is there; neither leaves a file behind.
        """
        cdef Ledger ledger = Ledger.__new__(Ledger)
        cdef cnp.ndarray[cnp.int64_t, ndim=1] starts = np.ascontiguousarray(unit_starts, dtype=np.int64)
        cdef int64_t unit_count = starts.shape[0]
        cdef int64_t size, unit, start, before = -1
        if not 0 <= first < end:
            raise ValueError(f"a lease is a range of at least one mini-batch, not {first}..{end}")
        if end - first > <int64_t>MAX_MINI_BATCHES:
            raise ValueError(f"a lease has at most {MAX_MINI_BATCHES} mini-batches, not {end - first}")
        if unit_count == 0 or starts[0] != first:
            raise ValueError(f"the first unit of a lease begins at its first mini-batch, {first}")
        for unit in range(unit_count):
            start = starts[unit]
            if not before < start < end:
                raise ValueError(f"units ascend and begin below {end}; number {unit} begins at {start}")
            before = start
        size = ledger_size(unit_count, end - first)
        ledger.header = <Header *>map_new(path, size)
        ledger.size = size
        ledger.header.version = VERSION
        ledger.header.first = first
        ledger.header.end = end
        ledger.header.unit_count = unit_count
        ledger.header.size_bytes = size
        ledger.header.limit = <uint64_t>end
        ledger.lay_out(path)
        for unit in range(unit_count):
            ledger.units[unit].start = starts[unit]
        runner_store(&ledger.header.magic, LEDGER_MAGIC)
        return ledger

    @staticmethod
    def open(str path):
        """Map an existing ledger; ValueError when it is none, of another version, or not whole."""
        cdef Ledger ledger = Ledger.__new__(Ledger)
        ledger.header = <Header *>map_old(path, "ledger", LEDGER_MAGIC, sizeof(Header), 5, &ledger.size)
        ledger.lay_out(path)
        return ledger

    cdef int check(self) except -1:
        if self.header == NULL:
            raise ValueError("the ledger is closed")
        return 0

    cdef int check_number(self, int64_t mini_batch) except -1:
        self.check()
        if not self.first <= mini_batch < self.end:
            raise ValueError(f"{self.path} has no mini-batch {mini_batch}, only {self.first}..{self.end - 1}")
        return 0

    cdef int check_range(self, int64_t lo, int64_t hi) except -1:
        self.check()
        if not self.first <= lo <= hi <= self.end:
            raise ValueError(f"{self.path} has no range {lo}..{hi}, only parts of {self.first}..{self.end}")
        return 0

    # Asserts are left out of the build unless it is a debug one; in these two they only tell, they cannot raise.
    cdef uint64_t load(self, int64_t mini_batch) noexcept nogil:
        assert self.first <= mini_batch < self.end
        return runner_load(&self.state[mini_batch - self.first])

    cdef bint swap(self, int64_t mini_batch, uint64_t expected, uint64_t desired) noexcept nogil:
        assert self.first <= mini_batch < self.end
        return runner_swap(&self.state[mini_batch - self.first], expected, desired)

    cdef bint is_aborted(self) noexcept nogil:
        return runner_load(&self.header.aborted) != 0

    cdef int64_t find_free(self, int64_t lo, int64_t hi) noexcept nogil:
        """The first FREE number in [lo, hi), or hi."""
        while lo < hi and state_of(self.load(lo)) != STATE_FREE:
            lo += 1
        return lo

    # -- the lease as a whole

    @property
    def limit(self):
        """The first number that may not be claimed; `end` unless it was lowered."""
        self.check()
        return <int64_t>runner_load(&self.header.limit)

    def lower_limit(self, int64_t limit):
        """Take the end of the lease back, as far as nobody has begun it, and return the resulting limit.

        That is the first number at or above `limit` from which on nothing was ever claimed (or only by workers
        that died before they ran it). No worker can claim there any more, whatever it was doing meanwhile.
        """
        cdef uint64_t result
        self.check()
        with nogil:
            result = self.withdraw(limit)
        return <int64_t>result

    cdef uint64_t withdraw(self, int64_t limit) noexcept nogil:
        # Word by word from the end, so that a worker about to claim there loses the swap: lowering the header's limit
        # alone would leave it a moment between reading the limit and claiming.
        cdef int64_t at = <int64_t>runner_load(&self.header.limit)
        cdef int64_t stop = limit if limit > self.first else self.first
        while at > stop and self.swap(at - 1, 0, pack(STATE_WITHDRAWN, 0, 0, 0)):
            at -= 1
        runner_store(&self.header.limit, <uint64_t>at)
        return <uint64_t>at

    def exclude(self, int64_t lo, int64_t hi):
        """Take the FREE mini-batches of [lo, hi) out of the lease for good, and return how many those were."""
        cdef int64_t at, count = 0
        cdef uint64_t word
        self.check_range(lo, hi)
        with nogil:
            for at in range(lo, hi):
                word = self.load(at)
                count += state_of(word) == STATE_FREE and self.swap(at, word, pack(STATE_WITHDRAWN, 0, 0, 0))
        return count

    @property
    def aborted(self):
        """Whether nothing more is to be claimed or run."""
        self.check()
        return self.is_aborted()

    def abort(self):
        """Stop all claiming, for good; loops return STOPPED before their next call."""
        self.check()
        runner_store(&self.header.aborted, 1)

    @property
    def retry_count(self):
        """How often a mini-batch was put back for another try: when it has grown, there may be work behind."""
        self.check()
        return runner_load(&self.header.retry_count)

    # -- units: hints on who decodes what

    cdef int64_t unit_end(self, int64_t unit) noexcept nogil:
        return self.units[unit + 1].start if unit + 1 < self.unit_count else self.end

    def unit_range(self, int64_t unit):
        """The mini-batches [first, end) of a unit, counted from 0 within this lease."""
        self.check()
        if not 0 <= unit < self.unit_count:
            raise ValueError(f"{self.path} has no unit {unit}, only 0..{self.unit_count - 1}")
        return self.units[unit].start, self.unit_end(unit)

    def take_unit(self, int64_t slot, int64_t prefer=-1):
        """Mark a unit that nobody took and that has FREE words as taken, and return its number; -1 when there is none.

        Tries `prefer` and those after it in order, then those before it. A hint only: claims in any unit are legal.
        """
        cdef int64_t unit
        self.check()
        check_slot(slot)
        with nogil:
            unit = -1 if self.is_aborted() else self.take(slot, prefer)
        return unit

    cdef int64_t next_fresh(self, int64_t slot, int64_t lo, int64_t hi) noexcept nogil:
        """Take the first fresh unit in [lo, hi); hi when there is none."""
        cdef int64_t unit, end
        for unit in range(lo, hi):
            if runner_load(&self.units[unit].taken) != 0:
                continue
            end = self.unit_end(unit)
            if self.find_free(self.units[unit].start, end) < end:
                if runner_swap(&self.units[unit].taken, 0, <uint64_t>slot + 1):
                    return unit
        return hi

    cdef int64_t take(self, int64_t slot, int64_t prefer) noexcept nogil:
        cdef uint64_t hint = runner_load(&self.header.fresh)
        cdef int64_t lowest = <int64_t><uint32_t>hint
        cdef int64_t start = prefer if prefer > lowest else lowest
        cdef int64_t unit
        if start > self.unit_count:
            start = self.unit_count
        unit = self.next_fresh(slot, start, self.unit_count)
        if unit < self.unit_count:
            if start == lowest:
                runner_swap(&self.header.fresh, hint, (hint >> 32 << 32) | <uint64_t>(unit + 1))
            return unit
        unit = self.next_fresh(slot, lowest, start)
        if unit < start:
            runner_swap(&self.header.fresh, hint, (hint >> 32 << 32) | <uint64_t>(unit + 1))
            return unit
        runner_swap(&self.header.fresh, hint, (hint >> 32 << 32) | <uint64_t>self.unit_count)
        return -1

    cdef void forget_fresh(self) noexcept nogil:
        """Whatever became FREE may have made a unit fresh: look at all of them again."""
        cdef uint64_t hint = runner_load(&self.header.fresh)
        # The generation keeps a worker that has looked at the units before from moving the hint on after.
        while not runner_swap(&self.header.fresh, hint, ((hint >> 32) + 1) << 32):
            hint = runner_load(&self.header.fresh)

    def release_units(self, int64_t slot):
        """Forget which units a worker took, once it is dead."""
        cdef int64_t unit
        self.check()
        check_slot(slot)
        with nogil:
            for unit in range(self.unit_count):
                runner_swap(&self.units[unit].taken, <uint64_t>slot + 1, 0)
            self.forget_fresh()

    # -- looking for work

    def has_free(self, int64_t lo, int64_t hi):
        """Whether any mini-batch of [lo, hi) is FREE."""
        cdef int64_t at
        self.check_range(lo, hi)
        with nogil:
            at = self.find_free(lo, hi)
        return at < hi

    def fullest_stretch(self):
        """The longest run of FREE words as (lo, hi), the first one of equals; (0, 0) when there is none."""
        cdef int64_t at, begin, best = 0, lo = 0
        self.check()
        with nogil:
            at = self.find_free(self.first, self.end)
            while at < self.end:
                begin = at
                while at < self.end and state_of(self.load(at)) == STATE_FREE:
                    at += 1
                if at - begin > best:
                    best = at - begin
                    lo = begin
                at = self.find_free(at, self.end)
        return lo, lo + best

    # -- a worker's moves

    cdef int64_t claim_run(self, int64_t slot, int64_t lo, int64_t hi, int64_t max_count, int64_t *found) noexcept nogil:
        cdef int64_t limit = <int64_t>runner_load(&self.header.limit)
        cdef int64_t count = 0
        cdef uint64_t word
        if lo < self.first:
            lo = self.first
        if hi > limit:
            hi = limit
        if self.is_aborted():
            hi = lo
        while lo < hi and count < max_count:
            word = self.load(lo)
            if state_of(word) == STATE_FREE and self.swap(lo, word, pack(STATE_CLAIMED, attempt_of(word), <uint64_t>slot, 0)):
                if count == 0:
                    found[0] = lo
                count += 1
            elif count > 0:
                break
            lo += 1
        return count

    def claim(self, int64_t slot, int64_t lo, int64_t hi, int64_t max_count):
        """Claim the first run of adjacent FREE words in [lo, hi), at most `max_count`; return (first, count).

        The count is 0 when there is none, or the lease was aborted; `first` is then -1. Parts of the range that
        are not in this lease do not matter.
        """
        cdef int64_t found = -1, count
        self.check()
        check_slot(slot)
        with nogil:
            count = self.claim_run(slot, lo, hi, max_count, &found)
        return found, count

    cdef int64_t unclaim(self, int64_t slot, int64_t lo, int64_t hi) noexcept nogil:
        """Put the words of [lo, hi) that this slot has claimed back to FREE, same attempt; return how many."""
        cdef int64_t at, count = 0
        cdef uint64_t word
        for at in range(lo, hi):
            word = self.load(at)
            if is_claimed_by(word, slot) and self.swap(at, word, pack(STATE_FREE, attempt_of(word), 0, 0)):
                count += 1
        if count > 0:
            self.forget_fresh()
        return count

    def complete(self, int64_t slot, mini_batches, int64_t segment):
        """Say that the results of these mini-batches stand in that segment of this slot; return how many were taken.

        The segment must be on disk. Words that this slot has not claimed (any more) are left alone.
        """
        cdef cnp.ndarray[cnp.int64_t, ndim=1] numbers = np.ascontiguousarray(mini_batches, dtype=np.int64)
        cdef const int64_t *at = <const int64_t *>cnp.PyArray_DATA(numbers)
        cdef int64_t i, count = numbers.shape[0], done = 0
        cdef uint64_t word
        self.check()
        check_slot(slot)
        if not 1 <= segment <= <int64_t>MAX_SEGMENT:
            raise ValueError(f"segments are numbered 1..{MAX_SEGMENT}, not {segment}")
        for i in range(count):
            self.check_number(at[i])
        with nogil:
            for i in range(count):
                word = self.load(at[i])
                if is_claimed_by(word, slot):
                    done += self.swap(at[i], word, pack(STATE_DONE, attempt_of(word), <uint64_t>slot, <uint64_t>segment))
        return done

    # -- the instance's moves

    def assign(self, int64_t slot, int64_t mini_batch):
        """Claim one FREE mini-batch for a worker; return whether it was FREE."""
        cdef uint64_t word
        self.check_number(mini_batch)
        check_slot(slot)
        word = self.load(mini_batch)
        return state_of(word) == STATE_FREE and self.swap(
            mini_batch, word, pack(STATE_CLAIMED, attempt_of(word), <uint64_t>slot, 0)
        )

    def pass_on(self, int64_t mini_batch, int64_t slot, int64_t to_slot):
        """Let another slot have what this one has claimed; return whether it had. It was never FREE meanwhile."""
        cdef uint64_t word
        self.check_number(mini_batch)
        check_slot(slot)
        check_slot(to_slot)
        word = self.load(mini_batch)
        return is_claimed_by(word, slot) and self.swap(
            mini_batch, word, pack(STATE_CLAIMED, attempt_of(word), <uint64_t>to_slot, 0)
        )

    def retry(self, int64_t mini_batch, int64_t slot, bint hold=False):
        """Put a mini-batch that failed back for another try; return whether that slot had it claimed.

        With `hold` it stays claimed by the slot, for the next process there: nobody else can have it.
        """
        cdef uint64_t word
        self.check_number(mini_batch)
        check_slot(slot)
        word = self.load(mini_batch)
        if not is_claimed_by(word, slot):
            return False
        if attempt_of(word) == MAX_ATTEMPT:
            raise OverflowError(f"mini-batch {mini_batch} was tried {MAX_ATTEMPT + 1} times; set it aside")
        if hold:
            return bool(self.swap(mini_batch, word, pack(STATE_CLAIMED, attempt_of(word) + 1, <uint64_t>slot, 0)))
        if not self.swap(mini_batch, word, pack(STATE_FREE, attempt_of(word) + 1, 0, 0)):
            return False
        # In this order: whoever sees the count grow finds the word FREE.
        self.forget_fresh()
        runner_add(&self.header.retry_count, 1)
        return True

    def set_aside(self, int64_t mini_batch, int64_t slot):
        """Close a mini-batch that failed for good; return whether that slot had it claimed."""
        cdef uint64_t word
        self.check_number(mini_batch)
        check_slot(slot)
        word = self.load(mini_batch)
        return is_claimed_by(word, slot) and self.swap(
            mini_batch, word, pack(STATE_SET_ASIDE, attempt_of(word), <uint64_t>slot, 0)
        )

    def free_slot(self, int64_t slot, held=()):
        """Put everything that a dead worker had claimed back to FREE, same attempt, and return the numbers.

        What is in `held` stays claimed, for the next process in that slot. Only after waitpid: a worker that is merely silent would go on completing words that are no longer its own.
        """
        cdef int64_t at
        cdef list numbers = []
        self.check()
        check_slot(slot)
        for at in range(self.first, self.end):
            if is_claimed_by(self.load(at), slot) and at not in held and self.unclaim(slot, at, at + 1):
                numbers.append(at)
        return numbers

    # -- reading

    def word(self, int64_t mini_batch):
        """One word, taken apart."""
        cdef uint64_t word
        self.check_number(mini_batch)
        word = self.load(mini_batch)
        return Word(state_of(word), attempt_of(word), slot_of(word), word >> 32)

    def words(self, int64_t lo, int64_t hi):
        """A copy of the words of [lo, hi) as they are: state `& 7`, attempt `>> 3 & 0xFFFF`, slot `>> 19 & 0x1FFF`, segment `>> 32`."""
        cdef cnp.ndarray[cnp.uint64_t, ndim=1] copy
        cdef uint64_t *into
        cdef int64_t at
        self.check_range(lo, hi)
        copy = np.empty(hi - lo, dtype=np.uint64)
        into = <uint64_t *>cnp.PyArray_DATA(copy)
        with nogil:
            for at in range(lo, hi):
                into[at - lo] = self.load(at)
        return copy

    def counts(self, int64_t lo, int64_t hi):
        """How many of [lo, hi) are (FREE, CLAIMED, DONE, SET_ASIDE); withdrawn ones count nowhere."""
        cdef int64_t tally[8]
        cdef int64_t at
        self.check_range(lo, hi)
        with nogil:
            memset(tally, 0, sizeof(tally))
            for at in range(lo, hi):
                tally[state_of(self.load(at))] += 1
        return tally[STATE_FREE], tally[STATE_CLAIMED], tally[STATE_DONE], tally[STATE_SET_ASIDE]

    def first_open(self, int64_t lo, int64_t hi):
        """The first number of [lo, hi) that may still have to be run, FREE or CLAIMED; hi when there is none."""
        cdef int64_t at = lo
        cdef uint64_t state
        self.check_range(lo, hi)
        with nogil:
            while at < hi:
                state = state_of(self.load(at))
                if state == STATE_FREE or state == STATE_CLAIMED:
                    break
                at += 1
        return at

    def close(self):
        """Unmap the file; it stays where it is. Idempotent. No other thread may be using the ledger."""
        if self.header != NULL:
            munmap(self.header, <size_t>self.size)
            self.header = NULL
            self.units = NULL
            self.state = NULL
