/* SPDX-License-Identifier: MIT
 * Preloaded into a program, makes the directory that $SLUICE_TEST_READONLY names behave as one of a file
 * system that the kernel has made read-only after an error, while the file beside it with ".readonly"
 * after its name exists: writing to its files fails with EROFS, open as they are. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_readonly(const char *path)
{
    const char *directory = getenv("SLUICE_TEST_READONLY");
    char marker[4096];
    size_t size = directory ? strlen(directory) : 0;

    if (!size || strncmp(path, directory, size) || (path[size] && path[size] != '/'))
        return 0;
    snprintf(marker, sizeof marker, "%s.readonly", directory);
    return !access(marker, F_OK);
}

static int refused(int fd)
{
    char link[64], path[4096];
    int reason = errno;
    ssize_t size;

    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    size = readlink(link, path, sizeof path - 1);
    errno = reason;
    if (size <= 0)
        return 0;
    path[size] = '\0';
    if (!is_readonly(path))
        return 0;
    errno = EROFS;
    return 1;
}

#define NEXT(name_) ((__typeof__(&name_))dlsym(RTLD_NEXT, #name_))

ssize_t write(int fd, const void *data, size_t size)
{
    return refused(fd) ? -1 : NEXT(write)(fd, data, size);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    return refused(fd) ? -1 : NEXT(writev)(fd, parts, count);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    return refused(fd) ? -1 : NEXT(pwrite)(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    return refused(fd) ? -1 : NEXT(pwrite64)(fd, data, size, at);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    return refused(fd) ? -1 : NEXT(pwritev)(fd, parts, count, at);
}

int ftruncate(int fd, off_t size)
{
    return refused(fd) ? -1 : NEXT(ftruncate)(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    return refused(fd) ? -1 : NEXT(ftruncate64)(fd, size);
}

static int open_as(const char *symbol, const char *path, int flags, mode_t mode)
{
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, symbol);

    if ((flags & (O_WRONLY | O_RDWR | O_CREAT)) && is_readonly(path)) {
        errno = EROFS;
        return -1;
    }
    return real(path, flags, mode);
}

#define MODE(flags_)                                                                               \
    ({                                                                                             \
        va_list list_;                                                                             \
        mode_t mode_ = 0;                                                                          \
        va_start(list_, flags_);                                                                   \
        if (flags_ & O_CREAT)                                                                      \
            mode_ = va_arg(list_, mode_t);                                                         \
        va_end(list_);                                                                             \
        mode_;                                                                                     \
    })

int open(const char *path, int flags, ...)
{
    return open_as("open", path, flags, MODE(flags));
}

int open64(const char *path, int flags, ...)
{
    return open_as("open64", path, flags, MODE(flags));
}
