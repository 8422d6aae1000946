/* SPDX-License-Identifier: MIT */
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

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
