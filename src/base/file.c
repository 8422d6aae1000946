/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

ssize_t file_read(const char *path, char *room, size_t size)
{
    size_t have = 0;
    ssize_t got = 1;
    struct stat status;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return -1;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        close(fd);
        errno = EISDIR;
        return -1;
    }
    while (have < size && got > 0) {
        got = read(fd, room + have, size - have);
        if (got > 0)
            have += (size_t)got;
    }
    close(fd);
    return got < 0 ? -1 : (ssize_t)have;
}

static bool is_trusted(uid_t owner)
{
    struct stat program;

    return owner == 0 || owner == geteuid() ||
           (stat("/proc/self/exe", &program) == 0 && owner == program.st_uid);
}

static int check_owner(const char *path, const char *what, struct fault *fault)
{
    struct stat status;

    if (stat(path, &status) != 0)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    if (!is_trusted(status.st_uid))
        return fault_set(fault,
                         "%s %s belongs to user %u, who could change it under sluice; it must belong "
                         "to root or to user %u, who runs sluice (chown it)",
                         what, path, (unsigned)status.st_uid, (unsigned)geteuid());
    /* In a sticky one such as /tmp others cannot replace what is ours. */
    if (S_ISDIR(status.st_mode) && (status.st_mode & S_ISVTX))
        return 0;
    if (status.st_mode & S_IWOTH)
        return fault_set(fault, "%s %s can be written by everybody; run chmod o-w %s", what, path,
                         path);
    if ((status.st_mode & S_IWGRP) && status.st_gid != 0 &&
        (status.st_uid != geteuid() || status.st_gid != getegid()))
        return fault_set(fault, "%s %s can be written by group %u; run chmod g-w %s", what, path,
                         (unsigned)status.st_gid, path);
    return 0;
}

int file_check_owner(const char *path, const char *what, struct fault *fault)
{
    const char *slash = strrchr(path, '/');
    char *directory = slash ? memory_text_n(path, (size_t)(slash - path) + 1) : memory_text(".");
    char *whose = memory_format("%s's directory", what);
    int result = check_owner(path, what, fault);

    if (result == 0)
        result = check_owner(directory, whose, fault);
    free(whose);
    free(directory);
    return result;
}
