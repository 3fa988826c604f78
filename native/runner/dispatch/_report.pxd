from libc.stdint cimport int64_t

cdef struct Writer:
    # The next byte to write; whoever calls has made room for a whole line.
    char *at
    # The second that `date` holds as text, so that lines of one second format it once.
    int64_t second
    char date[20]
