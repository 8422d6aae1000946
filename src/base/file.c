/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"

#define LINKS_MOST 40 /* as the kernel follows at most */

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

static int check_way(const char *path, const char *what, unsigned links, struct fault *fault);

/* `path` is a link on the way: it must be ours, and so must the way on which it leads. */
static int follow_link(const char *path, const struct stat *status, const char *what,
                       unsigned links, struct fault *fault)
{
    char target[PATH_MAX], *way;
    ssize_t size = readlink(path, target, sizeof target - 1);
    const char *slash = strrchr(path, '/');
    int result;

    if (size < 0)
        return fault_set(fault, "%s: %s", path, strerror(errno));
    if (!links)
        return fault_set(fault, "%s: %s", path, strerror(ELOOP));
    if (!is_trusted(status->st_uid))
        return fault_set(fault,
                         "%s: the link %s belongs to user %u, who could let it lead elsewhere; it "
                         "must belong to root or to user %u, who runs sluice",
                         what, path, (unsigned)status->st_uid, (unsigned)geteuid());
    target[size] = '\0';
    way = *target == '/' ? memory_text(target)
                         : memory_format("%.*s/%s", (int)(slash - path), path, target);
    result = check_way(way, what, links - 1, fault);
    free(way);
    return result;
}

/* All directories on the way to `path`, an absolute one, from the root on. */
static int check_way(const char *path, const char *what, unsigned links, struct fault *fault)
{
    char *prefix = memory_text(path);
    struct stat status;
    int result = check_owner("/", what, fault);

    for (char *end = prefix; result == 0 && *end; end++) {
        if (end == prefix || (*end != '/' && end[1]))
            continue;
        if (*end == '/')
            *end = '\0';
        if (lstat(prefix, &status) != 0)
            result = fault_set(fault, "%s: %s", prefix, strerror(errno));
        else if (S_ISLNK(status.st_mode))
            result = follow_link(prefix, &status, what, links, fault);
        else if (S_ISDIR(status.st_mode))
            result = check_owner(prefix, what, fault);
        *end = path[end - prefix];
    }
    free(prefix);
    return result;
}

/* A pipe and the like, as /dev/stdin and /dev/fd name them: its way says nothing. */
static bool is_nameless(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0 && !S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode);
}

int file_check_owner(const char *path, const char *what, struct fault *fault)
{
    char here[PATH_MAX], *absolute, *whose;
    int result = check_owner(path, what, fault);

    if (result != 0 || is_nameless(path))
        return result;
    if (*path != '/' && !getcwd(here, sizeof here))
        return fault_set(fault, "%s: %s", path, strerror(errno));
    absolute = *path == '/' ? memory_text(path) : memory_format("%s/%s", here, path);
    whose = memory_format("%s's directory", what);
    result = check_way(absolute, whose, LINKS_MOST, fault);
    free(whose);
    free(absolute);
    return result;
}
