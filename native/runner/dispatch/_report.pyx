"""Lines of the report of mini-batches, made from the loop's records: a job of a million mini-batches has as many lines.

Arrow's CSV writer needs 0.6 us a line for them and an import of 0.5 s; this needs a seventh of that and no import.
"""

from libc.stdint cimport int64_t
from libc.string cimport memcpy

import numpy as np

cimport numpy as cnp

from runner.dispatch._loop cimport Record

from runner.dispatch import _loop

cnp.import_array()

cdef enum:
    # Nine numbers of at most 21 characters, a time, and the words between them.
    LINE_BYTES = 320
    BLOCK_LINES = 4096


# None of the C functions raises.

cdef void put_text(Writer *to, const char *text, int64_t length) noexcept nogil:
    memcpy(to.at, text, <size_t>length)
    to.at += length


cdef void put_digits(Writer *to, int64_t number, int width) noexcept nogil:
    """A number that is not negative, with leading zeros up to `width`; longer if it must be."""
    cdef char digits[24]
    cdef int count = 0
    while number > 0 or count < width:
        digits[count] = <char>(48 + number % 10)
        number //= 10
        count += 1
    while count > 0:
        count -= 1
        to.at[0] = digits[count]
        to.at += 1


cdef void put_number(Writer *to, int64_t number) noexcept nogil:
    if number < 0:
        to.at[0] = 45
        to.at += 1
        number = -number
    put_digits(to, number, 1)


cdef void put_time(Writer *to, int64_t since_1970_ns) noexcept nogil:
    """`YYYY-MM-DD HH:MM:SS.ffffff`, UTC, for times from 1970 on."""
    cdef int64_t second = since_1970_ns // 1000000000
    cdef int64_t days, year, month, day_of_year, era, at, rest
    cdef Writer date
    if second != to.second:
        to.second = second
        rest = second % 86400
        # Days in eras of 400 years that begin with March, so that the leap day is the last of its year.
        at = second // 86400 + 719468
        era = at // 146097
        days = at - era * 146097
        year = (days - days // 1460 + days // 36524 - days // 146096) // 365
        day_of_year = days - (365 * year + year // 4 - year // 100)
        month = (5 * day_of_year + 2) // 153
        date.at = to.date
        put_digits(&date, year + era * 400 + (1 if month >= 10 else 0), 4)
        put_text(&date, b"-", 1)
        put_digits(&date, month - 9 if month >= 10 else month + 3, 2)
        put_text(&date, b"-", 1)
        put_digits(&date, day_of_year - (153 * month + 2) // 5 + 1, 2)
        put_text(&date, b" ", 1)
        put_digits(&date, rest // 3600, 2)
        put_text(&date, b":", 1)
        put_digits(&date, rest // 60 % 60, 2)
        put_text(&date, b":", 1)
        put_digits(&date, rest % 60, 2)
    put_text(to, to.date, 19)
    put_text(to, b".", 1)
    put_digits(to, since_1970_ns // 1000 % 1000000, 6)


cdef void put_seconds(Writer *to, int64_t ns) noexcept nogil:
    """Seconds with six digits behind the point, rounded."""
    cdef int64_t us = (ns + 500) // 1000
    put_digits(to, us // 1000000, 1)
    put_text(to, b".", 1)
    put_digits(to, us % 1000000, 6)


def format_lines(records, int64_t start, int64_t stop):
    """Lines for the records [start, stop) of mini-batches that succeeded; times and counts are not negative.

    Id, picked count, process, start time, total, succeeded, failed, elapsed seconds three times, RUN_DONE, and three
    empty fields.
    """
    cdef cnp.ndarray array = np.ascontiguousarray(records, dtype=_loop.RECORD)
    cdef const Record *found = <const Record *>cnp.PyArray_DATA(array)
    cdef bytearray block = bytearray(LINE_BYTES * BLOCK_LINES)
    cdef char *base = block
    cdef const Record *record
    cdef Writer to
    cdef char *seconds
    cdef int64_t i, end, length
    cdef list blocks = []
    if not 0 <= start <= stop <= cnp.PyArray_DIM(array, 0):
        raise ValueError(f"there are no records {start}..{stop}, only 0..{len(array)}")
    to.second = -1
    while start < stop:
        end = min(start + BLOCK_LINES, stop)
        to.at = base
        with nogil:
            for i in range(start, end):
                record = &found[i]
                put_number(&to, record.mini_batch)
                put_text(&to, b",", 1)
                put_number(&to, <int64_t>record.attempt + 1)
                put_text(&to, b",process", 8)
                put_digits(&to, record.slot if record.slot >= 0 else 0, 3)
                put_text(&to, b",", 1)
                put_time(&to, record.start_ns if record.start_ns >= 0 else 0)
                put_text(&to, b",", 1)
                put_number(&to, record.item_count)
                put_text(&to, b",", 1)
                put_number(&to, record.succeeded)
                put_text(&to, b",", 1)
                put_number(&to, record.item_count - record.succeeded)
                put_text(&to, b",", 1)
                seconds = to.at
                put_seconds(&to, record.elapsed_ns if record.elapsed_ns >= 0 else 0)
                length = <int64_t>to.at - <int64_t>seconds
                put_text(&to, b",", 1)
                put_text(&to, seconds, length)
                put_text(&to, b",", 1)
                put_text(&to, seconds, length)
                put_text(&to, b",RUN_DONE,,,\n", 13)
        blocks.append(bytes(block[: <int64_t>to.at - <int64_t>base]))
        start = end
    return b"".join(blocks)
