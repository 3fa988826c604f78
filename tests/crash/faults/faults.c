/* Numbers the file-system operations of one process below given folders, and kills it or lies to it at one of them.
 *
 * Loaded by LD_PRELOAD. It is asleep until FAULTS_PROCESS is a word of the command line, or until faults_arm() is called
 * (by a process that has forked and wants to be hit itself). What to do stands in the environment:
 *
 *   FAULTS_ROOTS   folders, divided by ':'; only paths below them count
 *   FAULTS_LOG     a file that gets a line per operation: number, operation, path, bytes
 *   FAULTS_ACTION  record (the default) | kill: before the operation | torn: after half of a write, or after any other
 *                  operation | short: half of a write, told truthfully | error: nothing happens, errno is set
 *   FAULTS_OP, FAULTS_PATH   patterns (fnmatch) of the operations that are meant; all by default
 *   FAULTS_NTH     which of these, from 1
 *   FAULTS_ERRNO   for error
 *   FAULTS_LASTING 1: all that follow fail too; with ENOSPC only those that need room
 *
 * The C library's own calls of itself (stdio) are not seen; Python, SQLite and Arrow use none for their files.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

#define SIGNAL_KILL 9
#define LOG_FD_FROM 900

enum action { PASS, KILL, TORN, SHORT, ERROR };

static atomic_int armed, seen, matched;
static enum action action;
static int nth = 1, error_number = EIO, is_lasting, log_fd = -1;
static const char *op_pattern = "*", *path_pattern = "*";
static char roots[4][PATH_MAX];
static int root_count;

#define REAL(name) ((__typeof__(&name))real_of(#name))
static void *real_of(const char *name) { return dlsym(RTLD_NEXT, name); }

static long raw(long number, long a, long b, long c, long d) {
    static long (*call)(long, ...);
    if (!call) call = (long (*)(long, ...))real_of("syscall");
    return call(number, a, b, c, d);
}

static void die(void) {
    for (;;) raw(SYS_kill, getpid(), SIGNAL_KILL, 0, 0);
}

static int is_below(const char *path) {
    for (int i = 0; i < root_count; i++) {
        size_t length = strlen(roots[i]);
        if (!strncmp(path, roots[i], length) && (path[length] == '/' || !path[length])) return 1;
    }
    return 0;
}

static const char *path_of_fd(int fd, char *buffer) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, buffer, PATH_MAX - 1);
    if (length < 0) return NULL;
    buffer[length] = 0;
    return buffer;
}

static const char *path_at(int dir, const char *path, char *buffer) {
    char folder[PATH_MAX];
    if (!path || path[0] == '/') return path;
    if (dir == AT_FDCWD ? !getcwd(folder, sizeof folder) : !path_of_fd(dir, folder)) return NULL;
    return snprintf(buffer, PATH_MAX, "%s/%s", folder, path) < PATH_MAX ? buffer : NULL;
}

static int needs_room(const char *op) {
    static const char *const growing[] = {"open", "write", "mkdir", "link", "fallocate", "copy", "truncate", NULL};
    for (int i = 0; growing[i]; i++)
        if (!strcmp(op, growing[i])) return 1;
    return 0;
}

static int is_hit(const char *op, const char *path) {
    if (action == PASS) return 0;
    if (is_lasting && atomic_load(&matched) >= nth) return error_number != ENOSPC || needs_room(op);
    if (fnmatch(op_pattern, op, 0) || fnmatch(path_pattern, path, 0)) return 0;
    return atomic_fetch_add(&matched, 1) + 1 == nth;
}

/* Counts one operation and says what becomes of it; does not return when it is to be killed. errno is kept. */
static enum action at_point(const char *op, const char *path, size_t bytes) {
    char line[PATH_MAX + 80];
    int before = errno, number;
    if (!path || !is_below(path)) return PASS;
    number = atomic_fetch_add(&seen, 1) + 1;
    if (log_fd >= 0) {
        int length = snprintf(line, sizeof line, "%d %s %s %zu\n", number, op, path, bytes);
        raw(SYS_write, log_fd, (long)line, length, 0);
    }
    errno = before;
    if (!is_hit(op, path)) return PASS;
    if (log_fd >= 0) raw(SYS_write, log_fd, (long)"hit\n", 4, 0);
    if (action == KILL) die();
    errno = before;
    return action;
}

#define AWAKE (atomic_load_explicit(&armed, memory_order_relaxed))
#define AFTER(result) do { __typeof__(result) said_ = (result); if (act_ == TORN) die(); return said_; } while (0)
#define POINT(op, path, bytes) \
    enum action act_ = AWAKE ? at_point(op, path, bytes) : PASS; \
    if (act_ == ERROR) { errno = error_number; return -1; }
#define HALF(count) (act_ == TORN || act_ == SHORT ? ((count) + 1) / 2 : (count))

static void arm(void) {
    const char *text = getenv("FAULTS_ACTION");
    static const char *const names[] = {"record", "kill", "torn", "short", "error"};
    for (int i = 0; text && i < 5; i++)
        if (!strcmp(text, names[i])) action = (enum action)i;
    if ((text = getenv("FAULTS_OP"))) op_pattern = strdup(text);
    if ((text = getenv("FAULTS_PATH"))) path_pattern = strdup(text);
    if ((text = getenv("FAULTS_NTH"))) nth = atoi(text);
    if ((text = getenv("FAULTS_ERRNO"))) error_number = atoi(text);
    if ((text = getenv("FAULTS_LASTING"))) is_lasting = atoi(text);
    if ((text = getenv("FAULTS_ROOTS"))) {
        char *copy = strdup(text), *rest = copy, *one;
        for (root_count = 0; root_count < 4 && (one = strsep(&rest, ":")); root_count++)
            snprintf(roots[root_count], PATH_MAX, "%s", one);
        free(copy);
    }
    if ((text = getenv("FAULTS_LOG"))) {
        int fd = (int)raw(SYS_openat, AT_FDCWD, (long)text, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
        log_fd = (int)raw(SYS_fcntl, fd, F_DUPFD_CLOEXEC, LOG_FD_FROM, 0);
        raw(SYS_close, fd, 0, 0, 0);
    }
    atomic_store(&armed, 1);
}

void faults_arm(void) { arm(); }

__attribute__((constructor)) static void begin(void) {
    const char *word = getenv("FAULTS_PROCESS");
    char command[4096];
    if (!word) return;
    int fd = (int)raw(SYS_openat, AT_FDCWD, (long)"/proc/self/cmdline", O_RDONLY | O_CLOEXEC, 0);
    long length = raw(SYS_read, fd, (long)command, sizeof command - 1, 0);
    raw(SYS_close, fd, 0, 0, 0);
    command[length > 0 ? length : 0] = 0;
    for (char *at = command; at < command + length; at += strlen(at) + 1)
        if (!strcmp(at, word)) arm();
}

/* ---- files that are made --------------------------------------------------------------------------------- */

static int open_at(const char *name, int dir, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    int (*real)(int, const char *, int, ...) = (int (*)(int, const char *, int, ...))real_of(name);
    if (!(flags & O_CREAT)) return real(dir, path, flags, mode);
    POINT("open", path_at(dir, path, buffer), 0)
    AFTER(real(dir, path, flags, mode));
}

#define OPEN_MODE(last) \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { va_list more; va_start(more, last); mode = va_arg(more, mode_t); va_end(more); }

int open(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at("openat", AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { OPEN_MODE(flags) return open_at("openat64", AT_FDCWD, path, flags, mode); }
int openat(int dir, const char *path, int flags, ...) { OPEN_MODE(flags) return open_at("openat", dir, path, flags, mode); }
int openat64(int dir, const char *path, int flags, ...) {
    OPEN_MODE(flags)
    return open_at("openat64", dir, path, flags, mode);
}

/* ---- writes ---------------------------------------------------------------------------------------------- */

#define FD_POINT(op, fd, bytes) \
    char buffer[PATH_MAX]; \
    POINT(op, AWAKE ? path_of_fd(fd, buffer) : NULL, bytes)

ssize_t write(int fd, const void *data, size_t count) {
    static __typeof__(&write) real;
    if (!real) real = REAL(write);
    FD_POINT("write", fd, count)
    AFTER(real(fd, data, HALF(count)));
}

static ssize_t pwrite_at(const char *name, int fd, const void *data, size_t count, off_t offset) {
    ssize_t (*real)(int, const void *, size_t, off_t) = (ssize_t (*)(int, const void *, size_t, off_t))real_of(name);
    FD_POINT("write", fd, count)
    AFTER(real(fd, data, HALF(count), offset));
}

ssize_t pwrite(int fd, const void *d, size_t n, off_t at) { return pwrite_at("pwrite", fd, d, n, at); }
ssize_t pwrite64(int fd, const void *d, size_t n, off64_t at) { return pwrite_at("pwrite64", fd, d, n, at); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t bytes = 0;
    for (int i = 0; i < count; i++) bytes += parts[i].iov_len;
    FD_POINT("write", fd, bytes)
    if (act_ == TORN || act_ == SHORT) AFTER(REAL(write)(fd, parts[0].iov_base, HALF(parts[0].iov_len)));
    return REAL(writev)(fd, parts, count);
}

ssize_t copy_file_range(int in, off64_t *from, int fd, off64_t *to, size_t count, unsigned flags) {
    FD_POINT("copy", fd, count)
    struct stat found;
    if ((act_ == TORN || act_ == SHORT) && !fstat(in, &found) && (size_t)found.st_size < count) count = (size_t)found.st_size;
    AFTER(REAL(copy_file_range)(in, from, fd, to, HALF(count), flags));
}

static ssize_t send_at(const char *name, int fd, int in, off_t *from, size_t count) {
    ssize_t (*real)(int, int, off_t *, size_t) = (ssize_t (*)(int, int, off_t *, size_t))real_of(name);
    FD_POINT("copy", fd, count)
    AFTER(real(fd, in, from, HALF(count)));
}

ssize_t sendfile(int fd, int in, off_t *from, size_t n) { return send_at("sendfile", fd, in, from, n); }
ssize_t sendfile64(int fd, int in, off64_t *from, size_t n) { return send_at("sendfile64", fd, in, from, n); }

/* ---- durability and sizes -------------------------------------------------------------------------------- */

int fsync(int fd) { FD_POINT("sync", fd, 0) AFTER(REAL(fsync)(fd)); }
int fdatasync(int fd) { FD_POINT("sync", fd, 0) AFTER(REAL(fdatasync)(fd)); }
int ftruncate(int fd, off_t size) { FD_POINT("truncate", fd, (size_t)size) AFTER(REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off64_t size) { FD_POINT("truncate", fd, (size_t)size) AFTER(REAL(ftruncate64)(fd, size)); }

static int truncate_path(const char *path, off_t size) {
    char buffer[PATH_MAX];
    POINT("truncate", path_at(AT_FDCWD, path, buffer), (size_t)size)
    AFTER(REAL(truncate)(path, size));
}

int truncate(const char *path, off_t size) { return truncate_path(path, size); }
int truncate64(const char *path, off64_t size) { return truncate_path(path, size); }

static int reserve(int fd, int mode, off_t from, off_t count) {
    FD_POINT("fallocate", fd, (size_t)count)
    AFTER(REAL(fallocate)(fd, mode, from, count));
}

int fallocate(int fd, int mode, off_t from, off_t count) { return reserve(fd, mode, from, count); }
int fallocate64(int fd, int mode, off64_t from, off64_t count) { return reserve(fd, mode, from, count); }
/* These two give the error instead of setting it. */
int posix_fallocate(int fd, off_t from, off_t count) {
    enum action act_ = PASS;
    char buffer[PATH_MAX];
    if (AWAKE) act_ = at_point("fallocate", path_of_fd(fd, buffer), (size_t)count);
    if (act_ == ERROR) return error_number;
    AFTER(REAL(posix_fallocate)(fd, from, count));
}
int posix_fallocate64(int fd, off64_t from, off64_t count) { return posix_fallocate(fd, from, count); }

/* ---- names ----------------------------------------------------------------------------------------------- */

#define NAME_POINT(op, dir, path) \
    char buffer[PATH_MAX]; \
    POINT(op, AWAKE ? path_at(dir, path, buffer) : NULL, 0)

int rename(const char *from, const char *to) { NAME_POINT("rename", AT_FDCWD, to) AFTER(REAL(rename)(from, to)); }
int renameat(int a, const char *from, int b, const char *to) {
    NAME_POINT("rename", b, to)
    AFTER(REAL(renameat)(a, from, b, to));
}
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    NAME_POINT("rename", b, to)
    AFTER(REAL(renameat2)(a, from, b, to, flags));
}
int link(const char *from, const char *to) { NAME_POINT("link", AT_FDCWD, to) AFTER(REAL(link)(from, to)); }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    NAME_POINT("link", b, to)
    AFTER(REAL(linkat)(a, from, b, to, flags));
}
int symlink(const char *from, const char *to) { NAME_POINT("link", AT_FDCWD, to) AFTER(REAL(symlink)(from, to)); }
int unlink(const char *path) { NAME_POINT("unlink", AT_FDCWD, path) AFTER(REAL(unlink)(path)); }
int unlinkat(int dir, const char *path, int flags) {
    NAME_POINT(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dir, path)
    AFTER(REAL(unlinkat)(dir, path, flags));
}
int mkdir(const char *path, mode_t mode) { NAME_POINT("mkdir", AT_FDCWD, path) AFTER(REAL(mkdir)(path, mode)); }
int mkdirat(int dir, const char *path, mode_t mode) { NAME_POINT("mkdir", dir, path) AFTER(REAL(mkdirat)(dir, path, mode)); }
int rmdir(const char *path) { NAME_POINT("rmdir", AT_FDCWD, path) AFTER(REAL(rmdir)(path)); }

/* ---- the same by number ---------------------------------------------------------------------------------- */

long syscall(long number, ...) {
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(more, long);
    va_end(more);
    if (AWAKE && number == SYS_renameat2)
        return renameat2((int)a[0], (const char *)a[1], (int)a[2], (const char *)a[3], (unsigned)a[4]);
    if (AWAKE && number == SYS_copy_file_range)
        return copy_file_range((int)a[0], (off64_t *)a[1], (int)a[2], (off64_t *)a[3], (size_t)a[4], (unsigned)a[5]);
    return ((long (*)(long, ...))real_of("syscall"))(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
