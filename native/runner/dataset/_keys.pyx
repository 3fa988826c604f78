"""Hashes of partition keys: 64 bits that depend on the values alone, never on machine, library or batch.

Version 1. A row's hash begins as 0x9E3779B97F4A7C15 and takes in one key column after the other by h = mix(h * K + w),
K = 0x9FB21C651E98DF25, where mix is the finaliser of splitmix64 and w is a word: a number's own 64 bits, or for text and
bytes first their length, then their bytes in words of eight, little-endian, the last one filled up with zeros.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy

cdef enum:
    WORD_BYTES = 8

cdef uint64_t FACTOR = 0x9FB21C651E98DF25


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
