"""Where records of CSV and JSON lines begin, found without the GIL in one pass over the bytes.

The rules are those of the reader that parses the records afterwards: a quote opens a quoted field only at the field's
beginning; within one a doubled quote is a quote, a single one ends the quoting, and what follows it up to the delimiter
is taken as it is; line feed, carriage return and both together end a record outside of quotes; lines without a
character are no records. For JSON lines, without a delimiter, lines of white space are none either.

Sixty-four bytes are looked at at once: one word says where the quotes are, and whether a byte lies inside of them is
whether the quotes up to it are odd in number. That holds as long as every quote that opens follows a delimiter, a line
break or a quote that has just closed. Where one does not, it is a letter like others, and these sixty-four bytes are
gone through one by one.
"""

from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memchr, memcpy

cimport cython

cdef enum:
    LINE_START = 0
    FIELD_START = 1
    IN_FIELD = 2
    IN_QUOTES = 3
    AFTER_QUOTE = 4
    NONE = -1
    LF = 10
    CR = 13
    SPACE = 32
    TAB = 9
    WORD_BYTES = 64

cdef uint64_t EACH = 0x0101010101010101
cdef uint64_t LOW = 0x7F7F7F7F7F7F7F7F
cdef uint64_t GATHER = 0x0102040810204080


@cython.overflowcheck(False)
cdef inline uint64_t equal_mask(const unsigned char *data, uint64_t pattern) noexcept nogil:
    """Which of sixty-four bytes are the letter that `pattern` repeats: a bit for each, the first one lowest."""
    cdef uint64_t mask = 0
    cdef uint64_t word
    cdef int index
    for index in range(8):
        memcpy(&word, data + 8 * index, 8)
        word ^= pattern
        word = ~(((word & LOW) + LOW) | word | LOW)
        mask |= (((word >> 7) * GATHER) >> 56) << (8 * index)
    return mask


@cython.overflowcheck(False)
cdef inline uint64_t odd_counts(uint64_t bits) noexcept nogil:
    """At each place, whether the bits up to and with it are odd in number."""
    bits ^= bits << 1
    bits ^= bits << 2
    bits ^= bits << 4
    bits ^= bits << 8
    bits ^= bits << 16
    return bits ^ bits << 32


@cython.final
cdef class RecordScan:
    """Fed with a file block by block; afterwards it knows how many records there are and where some of them begin.

    A mark is kept for the first record that begins at or behind each multiple of `mark_bytes`. Offsets count from the
    first byte that was fed, plus `offset`.
    """

    def __init__(self, int delimiter, int quote, *, int64_t mark_bytes, int64_t offset=0):
        if mark_bytes < 1:
            raise ValueError(f"marks every {mark_bytes} bytes")
        self.delimiter, self.quote = delimiter, quote
        self.mark_bytes, self.at, self.next_mark = mark_bytes, offset, offset
        self.state = LINE_START
        self.count = 0
        self.rows, self.offsets = [], []

    def feed(self, const unsigned char[::1] block not None):
        """Take in the next bytes."""
        cdef int64_t size = block.shape[0]
        if size == 0:
            return
        with nogil:
            self.scan(&block[0], size)
        self.at += size

    @property
    def row_count(self):
        """Records so far, one that has begun and not ended included."""
        return self.count

    @property
    def is_in_quotes(self):
        """Whether a quote is open: at the end of a file it was never closed."""
        return self.state == IN_QUOTES

    @property
    def marks(self):
        """Number and offset of the records that are marked, in order."""
        return list(zip(self.rows, self.offsets))

    @property
    def last_mark(self):
        """Number and offset of the last record that is marked; None without one."""
        cdef Py_ssize_t count = len(self.rows)
        return (self.rows[count - 1], self.offsets[count - 1]) if count else None

    cdef void scan(self, const unsigned char *data, int64_t size) noexcept nogil:
        cdef bint has_quotes = self.quote != NONE and memchr(data, self.quote, <size_t>size) != NULL
        cdef bint has_crs = memchr(data, CR, <size_t>size) != NULL
        cdef int64_t at = 0
        while at + WORD_BYTES <= size:
            if not self.scan_word(data, at, has_quotes, has_crs):
                self.scan_letters(data, at, at + WORD_BYTES)
            at += WORD_BYTES
        self.scan_letters(data, at, size)

    @cython.overflowcheck(False)
    cdef bint scan_word(self, const unsigned char *data, int64_t at, bint has_quotes, bint has_crs) noexcept nogil:
        """Take in sixty-four bytes at once; False, and nothing is done, when they are to be gone through singly."""
        cdef uint64_t breaks = equal_mask(data + at, LF * EACH)
        cdef uint64_t inside = 0
        cdef uint64_t quotes, opening, before, begins
        cdef int last = data[at + WORD_BYTES - 1]
        cdef int64_t place
        if has_crs:
            breaks |= equal_mask(data + at, CR * EACH)
        if has_quotes:
            quotes = equal_mask(data + at, <uint64_t>self.quote * EACH)
            if quotes:
                inside = odd_counts(quotes)
                if self.state == IN_QUOTES:
                    inside = ~inside
                opening = quotes & inside
                if opening:
                    before = (breaks | quotes | equal_mask(data + at, <uint64_t>self.delimiter * EACH)) << 1
                    if opening & ~(before | (self.state != IN_FIELD)):
                        return False
            elif self.state == IN_QUOTES:
                return True
        elif self.state == IN_QUOTES:
            return True
        breaks &= ~inside
        begins = ((breaks << 1) | (self.state == LINE_START)) & ~breaks
        if begins:
            if self.delimiter == NONE:
                before = equal_mask(data + at, SPACE * EACH) | equal_mask(data + at, TAB * EACH)
                if begins & before:
                    return False
            place = self.at + at
            if place + WORD_BYTES <= self.next_mark:
                while begins:
                    begins &= begins - 1
                    self.count += 1
            else:
                while begins:
                    if begins & 1:
                        self.begin(place)
                    begins >>= 1
                    place += 1
        if inside >> 63:
            self.state = IN_QUOTES
        elif breaks >> 63:
            self.state = LINE_START
        elif last == self.quote:
            self.state = AFTER_QUOTE
        elif last == self.delimiter:
            self.state = FIELD_START
        else:
            self.state = IN_FIELD
        return True

    cdef void scan_letters(self, const unsigned char *data, int64_t at, int64_t end) noexcept nogil:
        cdef int letter
        cdef const unsigned char *found
        while at < end:
            if self.state == IN_QUOTES:
                found = <const unsigned char *>memchr(data + at, self.quote, <size_t>(end - at))
                if found == NULL:
                    return
                at = found - data + 1
                self.state = AFTER_QUOTE
                continue
            letter = data[at]
            if letter == LF or letter == CR:
                self.state = LINE_START
            else:
                if self.state == LINE_START:
                    if self.delimiter == NONE and (letter == SPACE or letter == TAB):
                        at += 1
                        continue
                    self.begin(self.at + at)
                    self.state = FIELD_START
                if letter == self.quote:
                    if self.state == FIELD_START or self.state == AFTER_QUOTE:
                        self.state = IN_QUOTES
                    else:
                        self.state = IN_FIELD
                elif letter == self.delimiter:
                    self.state = FIELD_START
                else:
                    self.state = IN_FIELD
            at += 1

    cdef void begin(self, int64_t offset) noexcept nogil:
        if offset >= self.next_mark:
            with gil:
                self.rows.append(self.count)
                self.offsets.append(offset)
            self.next_mark = (offset // self.mark_bytes + 1) * self.mark_bytes
        self.count += 1
