from libc.stdint cimport int64_t, uint64_t

# GCC and Clang builtins: the only way to 64-bit atomics in shared memory that needs no library.
cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t runner_load(const uint64_t *at) { return __atomic_load_n(at, __ATOMIC_ACQUIRE); }
    static inline void runner_store(uint64_t *at, uint64_t value) { __atomic_store_n(at, value, __ATOMIC_RELEASE); }
    static inline int runner_swap(uint64_t *at, uint64_t expected, uint64_t desired) {
        return __atomic_compare_exchange_n(at, &expected, desired, 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE);
    }
    static inline void runner_add(uint64_t *at, uint64_t value) { __atomic_fetch_add(at, value, __ATOMIC_ACQ_REL); }
    static inline int64_t runner_peek(const int64_t *at) { return __atomic_load_n(at, __ATOMIC_RELAXED); }
    static inline void runner_poke(int64_t *at, int64_t value) { __atomic_store_n(at, value, __ATOMIC_RELAXED); }
    static inline void runner_fence_before_stores(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
    static inline void runner_fence_after_loads(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    """
    uint64_t runner_load(const uint64_t *at) noexcept nogil
    void runner_store(uint64_t *at, uint64_t value) noexcept nogil
    int runner_swap(uint64_t *at, uint64_t expected, uint64_t desired) noexcept nogil
    void runner_add(uint64_t *at, uint64_t value) noexcept nogil
    int64_t runner_peek(const int64_t *at) noexcept nogil
    void runner_poke(int64_t *at, int64_t value) noexcept nogil
    void runner_fence_before_stores() noexcept nogil
    void runner_fence_after_loads() noexcept nogil

cdef enum:
    # Of every format of such files; their first two words are a magic number and this.
    VERSION = 1

# Raises OSError, and then leaves no file behind.
cdef void *map_new(str path, int64_t size) except NULL
# Raises OSError or ValueError.
cdef void *map_file(str path, int fd, int64_t size) except NULL
cdef void *map_old(str path, str what, uint64_t magic, int64_t header_size, int64_t size_index, int64_t *size) except NULL
