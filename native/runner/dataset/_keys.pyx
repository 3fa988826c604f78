"""Hashes of partition keys: 64 bits that depend on the values alone, never on machine, library or batch.

Version 1. A row's hash begins as 0x9E3779B97F4A7C15 and takes in one key column after the other by h = mix(h * K + w),
K = 0x9FB21C651E98DF25, where mix is the finaliser of splitmix64 and w is a word: a number's own 64 bits, or for text and
bytes first their length, then their bytes in words of eight, little-endian, the last one filled up with zeros.

Rows are put in the order of their hashes by two steps: a stable scatter by the highest bits, into parts that fit a
core's cache, and in each part a table of the hashes that occur, of which there are far fewer than rows.
"""

cimport cython
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc, qsort, realloc
from libc.string cimport memcpy, memset

import numpy as np

cdef enum:
    WORD_BYTES = 8
    # About so many rows are in one part of the scatter.
    PART_ROWS = 4096
    MOST_PART_BITS = 12
    HASH_BITS = 64
    NO_SLOT = -1

cdef uint64_t FACTOR = 0x9FB21C651E98DF25


@cython.overflowcheck(False)  # the bits that do not fit are meant to be lost
cdef inline uint64_t take_in(uint64_t hashed, uint64_t word) noexcept nogil:
    hashed = hashed * FACTOR + word
    hashed = (hashed ^ (hashed >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
    hashed = (hashed ^ (hashed >> 27)) * <uint64_t>0x94D049BB133111EB
    return hashed ^ (hashed >> 31)


def hash_words(const uint64_t[::1] words not None, uint64_t[::1] hashes not None):
    """Let each hash take in one word."""
    cdef int64_t index, count = words.shape[0]
    if hashes.shape[0] != count:
        raise ValueError(f"{count} words for {hashes.shape[0]} hashes")
    with nogil:
        for index in range(count):
            hashes[index] = take_in(hashes[index], words[index])


def hash_bytes(const int64_t[::1] offsets not None, const unsigned char[::1] data not None, uint64_t[::1] hashes not None):
    """Let each hash take in the bytes between two neighbouring offsets."""
    cdef int64_t index, at, end, left, count = hashes.shape[0]
    cdef uint64_t hashed, word
    cdef const unsigned char *start = NULL
    if offsets.shape[0] != count + 1:
        raise ValueError(f"{offsets.shape[0]} offsets for {count} hashes")
    for index in range(count):
        if not 0 <= offsets[index] <= offsets[index + 1] <= data.shape[0]:
            raise ValueError(f"offset {index} is out of order")
    if data.shape[0]:
        start = &data[0]
    with nogil:
        for index in range(count):
            at, end = offsets[index], offsets[index + 1]
            hashed = take_in(hashes[index], <uint64_t>(end - at))
            while end - at >= WORD_BYTES:
                memcpy(&word, start + at, WORD_BYTES)
                hashed = take_in(hashed, word)
                at += WORD_BYTES
            left = end - at
            if left:
                word = 0
                memcpy(&word, start + at, left)
                hashed = take_in(hashed, word)
            hashes[index] = hashed


cdef int by_hash(const void *one, const void *other) noexcept nogil:
    cdef uint64_t first = (<const Entry *>one).hashed, second = (<const Entry *>other).hashed
    return -1 if first < second else first > second


@cython.final
cdef class Grouping:
    """Finds the different hashes of a part; its memory serves one part after the other."""

    def __cinit__(self):
        self.entry_room = PART_ROWS
        self.slot_room = 4 * PART_ROWS
        self.entries = <Entry *>malloc(self.entry_room * sizeof(Entry))
        self.slots = <int32_t *>malloc(self.slot_room * sizeof(int32_t))
        if self.entries == NULL or self.slots == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.entries)
        free(self.slots)

    cdef int64_t find(self, uint64_t hashed) noexcept nogil:
        """The number of the entry of this hash, made when there is none."""
        # The highest bits are alike within a part.
        cdef int64_t at = <int64_t>(hashed & <uint64_t>(self.slot_room - 1))
        while self.slots[at] != NO_SLOT:
            if self.entries[self.slots[at]].hashed == hashed:
                return self.slots[at]
            at = (at + 1) & (self.slot_room - 1)
        if self.count == self.entry_room:
            if self.grow():
                return -1
            at = <int64_t>(hashed & <uint64_t>(self.slot_room - 1))
            while self.slots[at] != NO_SLOT:
                at = (at + 1) & (self.slot_room - 1)
        self.slots[at] = <int32_t>self.count
        self.entries[self.count].hashed = hashed
        self.entries[self.count].count = 0
        self.entries[self.count].place = self.count
        self.count += 1
        return self.count - 1

    cdef int grow(self) noexcept nogil:
        cdef int64_t index, at
        cdef Entry *entries = <Entry *>realloc(self.entries, 2 * self.entry_room * sizeof(Entry))
        if entries == NULL:
            return -1
        self.entries = entries
        cdef int32_t *slots = <int32_t *>realloc(self.slots, 2 * self.slot_room * sizeof(int32_t))
        if slots == NULL:
            return -1
        self.slots = slots
        self.entry_room *= 2
        self.slot_room *= 2
        memset(self.slots, 0xFF, self.slot_room * sizeof(int32_t))
        for index in range(self.count):
            at = <int64_t>(self.entries[index].hashed & <uint64_t>(self.slot_room - 1))
            while self.slots[at] != NO_SLOT:
                at = (at + 1) & (self.slot_room - 1)
            self.slots[at] = <int32_t>index
        return 0

    cdef int place(
        self, const uint64_t *hashes, const int64_t *rows, int32_t *numbers, int64_t count, int64_t *order, int64_t at
    ) noexcept nogil:
        """Write the rows of a part from `at` on, by hash, and those of one hash in the order in which they stand."""
        cdef int64_t index, number
        self.count = 0
        memset(self.slots, 0xFF, self.slot_room * sizeof(int32_t))
        for index in range(count):
            number = self.find(hashes[index])
            if number < 0:
                return -1
            self.entries[number].count += 1
            numbers[index] = <int32_t>number
        qsort(self.entries, self.count, sizeof(Entry), by_hash)
        # Where each entry begins, by the number it was found with: the slots are not needed any more.
        cdef int64_t *places = <int64_t *>malloc(max(self.count, 1) * sizeof(int64_t))
        if places == NULL:
            return -1
        for index in range(self.count):
            places[self.entries[index].place] = at
            at += self.entries[index].count
        for index in range(count):
            order[places[numbers[index]]] = rows[index]
            places[numbers[index]] += 1
        free(places)
        return 0


def order_by_hash(const uint64_t[::1] hashes not None, int used_bits = 0):
    """The numbers of all rows (int64) by hash, and those of one hash in the order in which they stand.

    The first `used_bits` bits are the same in all hashes.
    """
    cdef int64_t index, part, start, count = hashes.shape[0], widest = 0
    cdef int bits = 0, failed = 0
    if not 0 <= used_bits <= HASH_BITS:
        raise ValueError(f"{used_bits} bits of {HASH_BITS}")
    while bits < min(MOST_PART_BITS, HASH_BITS - used_bits) and count >> bits > PART_ROWS:
        bits += 1
    cdef int shift = HASH_BITS - used_bits - bits
    cdef int64_t parts = 1 << bits
    cdef uint64_t mask = <uint64_t>(parts - 1)
    order_array, ends_array = np.empty(count, np.int64), np.zeros(parts + 1, np.int64)
    if not count:
        return order_array
    scattered_array, rows_array = np.empty(count, np.uint64), np.empty(count, np.int64)
    cdef int64_t[::1] order = order_array, ends = ends_array, rows = rows_array
    cdef uint64_t[::1] scattered = scattered_array
    with nogil:
        for index in range(count):
            part = <int64_t>((hashes[index] >> shift) & mask) if bits else 0
            ends[part + 1] += 1
        for part in range(parts):
            widest = max(widest, ends[part + 1])
            ends[part + 1] += ends[part]
        # ends[part] is where the part begins, and once its rows are scattered where it ends.
        for index in range(count):
            part = <int64_t>((hashes[index] >> shift) & mask) if bits else 0
            scattered[ends[part]] = hashes[index]
            rows[ends[part]] = index
            ends[part] += 1
    cdef int32_t[::1] numbers = np.empty(widest, np.int32)
    cdef Grouping grouping = Grouping()
    with nogil:
        start = 0
        for part in range(parts):
            if ends[part] > start:
                failed = grouping.place(
                    &scattered[start], &rows[start], &numbers[0], ends[part] - start, &order[0], start
                )
                if failed:
                    break
            start = ends[part]
    if failed:
        raise MemoryError
    return order_array
