/* What a disk and a clock say to a program, falsified: a library for LD_PRELOAD, which scripts/faults.py compiles.

   FAULT names a file. While it is there, its two lines are a path and an error number, and whatever the program reads,
   writes, syncs, makes or renames at or below that path fails with this error; EDQUOT, ENOSPC and EROFS leave reading
   alone. CLOCK_OFFSET names a file with the seconds by which the time of day is off; clocks that only count are right. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* The content of a file that a variable names; 0 where there is none. System calls only: all else is falsified. */
static int content(const char *variable, char *text, int most)
{
    const char *name = getenv(variable);
    if (!name)
        return 0;
    int saved = errno;
    int handle = syscall(SYS_openat, AT_FDCWD, name, O_RDONLY | O_CLOEXEC);
    int got = handle < 0 ? 0 : syscall(SYS_read, handle, text, most - 1);
    if (handle >= 0)
        syscall(SYS_close, handle);
    errno = saved;
    text[got > 0 ? got : 0] = 0;
    return got > 0;
}

/* The error with which an operation at a path fails; 0 where it does not. */
static int fault_at(const char *path, int writes)
{
    char text[4200];
    if (!path || !content("FAULT", text, sizeof text))
        return 0;
    char *end = strchr(text, '\n');
    if (!end)
        return 0;
    *end = 0;
    int error = atoi(end + 1);
    if (!writes && (error == EDQUOT || error == ENOSPC || error == EROFS))
        return 0;
    size_t length = strlen(text);
    const char *rest = path + length; /* "-wal" and "-shm" beside a database are the same file to a person */
    return strncmp(path, text, length) == 0 && (*rest == 0 || *rest == '/' || *rest == '-') ? error : 0;
}

static int fault_of(int handle, int writes)
{
    char link[64], path[4200];
    if (handle < 0 || !getenv("FAULT"))
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", handle);
    int saved = errno;
    ssize_t got = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    errno = saved;
    if (got <= 0)
        return 0;
    path[got] = 0;
    return fault_at(path, writes);
}

#define FAIL_OF(handle, writes) do { int e = fault_of(handle, writes); if (e) { errno = e; return -1; } } while (0)
#define FAIL_AT(path, writes) do { int e = fault_at(path, writes); if (e) { errno = e; return -1; } } while (0)

/* A file opens on a disk that does not answer; one that is to be made, or cut, does not. */
static int opened(int folder, const char *path, int flags, mode_t mode)
{
    struct stat found;
    int is_there = !(flags & (O_CREAT | O_TRUNC)) || syscall(SYS_newfstatat, folder, path, &found, 0) == 0;
    if (!is_there || (flags & O_TRUNC))
        FAIL_AT(path, 1);
    return syscall(SYS_openat, folder, path, flags, mode);
}

#define OPEN(name) int name(const char *path, int flags, ...) { va_list more; va_start(more, flags); \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; va_end(more); return opened(AT_FDCWD, path, flags, mode); }
#define OPENAT(name) int name(int at, const char *path, int flags, ...) { va_list more; va_start(more, flags); \
    mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0; va_end(more); return opened(at, path, flags, mode); }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)
ssize_t read(int f, void *b, size_t n) { FAIL_OF(f, 0); return syscall(SYS_read, f, b, n); }
ssize_t pread(int f, void *b, size_t n, off_t o) { FAIL_OF(f, 0); return syscall(SYS_pread64, f, b, n, o); }
ssize_t pread64(int f, void *b, size_t n, off64_t o) { FAIL_OF(f, 0); return syscall(SYS_pread64, f, b, n, o); }
ssize_t write(int f, const void *b, size_t n) { FAIL_OF(f, 1); return syscall(SYS_write, f, b, n); }
ssize_t pwrite(int f, const void *b, size_t n, off_t o) { FAIL_OF(f, 1); return syscall(SYS_pwrite64, f, b, n, o); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { FAIL_OF(f, 1); return syscall(SYS_pwrite64, f, b, n, o); }
int fsync(int f) { FAIL_OF(f, 1); return syscall(SYS_fsync, f); }
int fdatasync(int f) { FAIL_OF(f, 1); return syscall(SYS_fdatasync, f); }
int mkdir(const char *path, mode_t mode) { FAIL_AT(path, 1); return syscall(SYS_mkdir, path, mode); }
int rename(const char *from, const char *to) { FAIL_AT(to, 1); return syscall(SYS_rename, from, to); }

static double clock_is_off(void)
{
    char text[64];
    return content("CLOCK_OFFSET", text, sizeof text) ? atof(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = syscall(SYS_clock_gettime, clock, now);
    if (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)
        now->tv_sec += (time_t)clock_is_off();
    return status;
}

int gettimeofday(struct timeval *now, void *zone)
{
    (void)zone;
    struct timespec exact;
    clock_gettime(CLOCK_REALTIME, &exact);
    now->tv_sec = exact.tv_sec;
    now->tv_usec = exact.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}
