"""Where records of CSV and JSON lines begin, found without the GIL in one pass over the bytes.

The rules are those of the reader that parses the records afterwards: a quote opens a quoted field only at the field's
beginning; within one a doubled quote is a quote, a single one ends the quoting, and what follows it up to the delimiter
is taken as it is; line feed, carriage return and both together end a record outside of quotes; lines without a
character are no records. For JSON lines, without a quote character, lines of white space are none either.
"""

from libc.stdint cimport int64_t
from libc.string cimport memchr

cimport cython

cdef enum:
    LINE_START = 0
    FIELD_START = 1
    IN_FIELD = 2
    IN_QUOTES = 3
    AFTER_QUOTE = 4
    NO_QUOTE = -1
    LF = 10
    CR = 13


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
        self.is_after_cr = False
        self.count = 0
        self.rows, self.offsets = [], []

    def feed(self, const unsigned char[::1] block not None):
        """Take in the next bytes."""
        cdef const unsigned char *data
        cdef int64_t size = block.shape[0]
        if size == 0:
            return
        data = &block[0]
        with nogil:
            if self.is_simple(data, size):
                self.scan_lines(data, size)
            else:
                self.scan_all(data, size)
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

    cdef bint is_simple(self, const unsigned char *data, int64_t size) noexcept nogil:
        """Whether the block holds nothing but plain lines: most do, and those are found much faster."""
        if self.state == IN_QUOTES or self.state == AFTER_QUOTE or self.is_after_cr:
            return False
        if self.quote != NO_QUOTE and memchr(data, self.quote, <size_t>size) != NULL:
            return False
        return memchr(data, CR, <size_t>size) == NULL

    cdef void scan_lines(self, const unsigned char *data, int64_t size) noexcept nogil:
        cdef int64_t at = 0
        cdef const unsigned char *found
        if self.state != LINE_START:
            found = <const unsigned char *>memchr(data, LF, <size_t>size)
            if found == NULL:
                self.state = FIELD_START if data[size - 1] == self.delimiter else IN_FIELD
                return
            at = found - data + 1
            self.state = LINE_START
        while at < size:
            if data[at] == LF:
                at += 1
                continue
            if self.quote == NO_QUOTE and (data[at] == 32 or data[at] == 9):
                at = self.skip_blank(data, at, size)
                if at >= size or self.state == LINE_START:
                    continue
            else:
                self.begin(self.at + at)
            found = <const unsigned char *>memchr(data + at, LF, <size_t>(size - at))
            if found == NULL:
                self.state = FIELD_START if data[size - 1] == self.delimiter else IN_FIELD
                return
            at = found - data + 1

    cdef int64_t skip_blank(self, const unsigned char *data, int64_t at, int64_t size) noexcept nogil:
        """Go over white space at the beginning of a line; the record, if there is one, begins behind it."""
        while at < size and (data[at] == 32 or data[at] == 9):
            at += 1
        if at >= size or data[at] == LF:
            self.state = LINE_START
        else:
            self.begin(self.at + at)
            self.state = IN_FIELD
        return at

    cdef void scan_all(self, const unsigned char *data, int64_t size) noexcept nogil:
        cdef int64_t at = 0
        cdef int letter
        cdef const unsigned char *found
        while at < size:
            if self.state == IN_QUOTES:
                found = <const unsigned char *>memchr(data + at, self.quote, <size_t>(size - at))
                if found == NULL:
                    return
                at = found - data + 1
                self.state = AFTER_QUOTE
                continue
            letter = data[at]
            if letter == LF or letter == CR:
                self.is_after_cr = letter == CR
                self.state = LINE_START
                at += 1
                continue
            self.is_after_cr = False
            if self.state == LINE_START:
                if self.quote == NO_QUOTE and (letter == 32 or letter == 9):
                    at += 1
                    continue
                self.begin(self.at + at)
                self.state = FIELD_START
            if letter == self.quote and self.quote != NO_QUOTE:
                if self.state == FIELD_START or self.state == AFTER_QUOTE:
                    self.state = IN_QUOTES
                else:
                    self.state = IN_FIELD
            elif letter == self.delimiter and self.quote != NO_QUOTE:
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
