/* A disk that fails when it is told to: preloaded into a daemon, it stands before the C library.
 *
 * FAULTY_DISK is the directory whose files it is about. FAULTY_DISK_ORDER is a file that says
 * what fails now: "write 5" (every write, with that errno), "sync 5", or nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

/* The errno that a call of this kind fails with now, or 0. */
static int ordered(const char *kind, int fd)
{
    const char *directory = getenv("FAULTY_DISK"), *order = getenv("FAULTY_DISK_ORDER");
    char link[64], path[4096], text[64];
    if (!directory || !order)
        return 0;
    int file = (int)syscall(SYS_openat, AT_FDCWD, order, O_RDONLY);
    if (file < 0)
        return 0;
    long size = syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (size <= 0)
        return 0;
    text[size] = 0;
    size_t length = strlen(kind);
    if (strncmp(text, kind, length) != 0 || text[length] != ' ')
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t end = readlink(link, path, sizeof path - 1);
    if (end < 0)
        return 0;
    path[end] = 0;
    return strncmp(path, directory, strlen(directory)) == 0 ? atoi(text + length) : 0;
}

#define FAILS(kind, fd)                \
    do {                               \
        int number = ordered(kind, fd); \
        if (number) {                  \
            errno = number;            \
            return -1;                 \
        }                              \
    } while (0)

#define REAL(type, name, ...)                                       \
    static type (*real)(__VA_ARGS__);                               \
    if (!real)                                                      \
        real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

ssize_t write(int fd, const void *octets, size_t size)
{
    REAL(ssize_t, "write", int, const void *, size_t);
    FAILS("write", fd);
    return real(fd, octets, size);
}

ssize_t pwrite(int fd, const void *octets, size_t size, off_t at)
{
    REAL(ssize_t, "pwrite", int, const void *, size_t, off_t);
    FAILS("write", fd);
    return real(fd, octets, size, at);
}

ssize_t pwrite64(int fd, const void *octets, size_t size, off64_t at)
{
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    FAILS("write", fd);
    return real(fd, octets, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    REAL(ssize_t, "pwritev", int, const struct iovec *, int, off_t);
    FAILS("write", fd);
    return real(fd, parts, count, at);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t at, int flags)
{
    REAL(ssize_t, "pwritev2", int, const struct iovec *, int, off_t, int);
    FAILS("write", fd);
    return real(fd, parts, count, at, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t at, int flags)
{
    REAL(ssize_t, "pwritev64v2", int, const struct iovec *, int, off64_t, int);
    FAILS("write", fd);
    return real(fd, parts, count, at, flags);
}

int fsync(int fd)
{
    REAL(int, "fsync", int);
    FAILS("sync", fd);
    return real(fd);
}

int fdatasync(int fd)
{
    REAL(int, "fdatasync", int);
    FAILS("sync", fd);
    return real(fd);
}
