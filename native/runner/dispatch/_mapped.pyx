"""Files in shared memory that an instance and its workers map: made whole or not at all, and checked when opened."""

from libc.stdint cimport int64_t, uint64_t
from posix.mman cimport MAP_FAILED, MAP_SHARED, PROT_READ, PROT_WRITE, mmap, munmap

import errno
import os


cdef void *map_new(str path, int64_t size) except NULL:
    """Create a zeroed file of `size` bytes whose space is reserved, and map it. Leaves no file behind when it raises.

    The space must be reserved: a store into a hole of a full /dev/shm is a SIGBUS, posix_fallocate an OSError.
    """
    cdef int fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(fd, 0, size)
        return map_file(path, fd, size)
    except OSError as cause:
        os.unlink(path)
        raise OSError(cause.errno, f"cannot reserve {size} bytes of shared memory: {os.strerror(cause.errno)}", path) from None
    finally:
        os.close(fd)


cdef void *map_file(str path, int fd, int64_t size) except NULL:
    cdef void *at = mmap(NULL, <size_t>size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)
    if at == MAP_FAILED:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM), path)
    return at


cdef void *map_old(str path, str what, uint64_t magic, int64_t header_size, int64_t size_index, int64_t *size) except NULL:
    """Map an existing file after its first words said that it is a `what` of this version and whole."""
    cdef void *at
    cdef uint64_t *words
    cdef int fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        size[0] = os.fstat(fd).st_size
        if size[0] < header_size:
            raise ValueError(f"{path} is no {what}: it has {size[0]} bytes")
        at = map_file(path, fd, size[0])
    finally:
        os.close(fd)
    words = <uint64_t *>at
    problem = None
    if runner_load(&words[0]) != magic:
        problem = f"{path} is no {what}"
    elif words[1] != VERSION:
        problem = f"{path} is a {what} of version {words[1]}, this build reads version {VERSION}"
    elif <int64_t>words[size_index] != size[0]:
        problem = f"{path} is a damaged {what}: it should have {words[size_index]} bytes and has {size[0]}"
    if problem is not None:
        munmap(at, <size_t>size[0])
        raise ValueError(problem)
    return at
