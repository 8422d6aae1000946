/* SPDX-License-Identifier: MIT */
#include "base/journal.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

static const char *path = "/run/systemd/journal/socket";
static pthread_once_t once = PTHREAD_ONCE_INIT;
static int socket_fd = -1; /* not connected, so that it outlives the journal's restarts */

bool journal_reads(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(fd, &status) == 0 &&
           status.st_dev == device && status.st_ino == inode;
}

static void open_socket(void)
{
    socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
}

int journal_send(const char *entry, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path) + 1);
    pthread_once(&once, open_socket);
    return sendto(socket_fd, entry, size, MSG_NOSIGNAL | MSG_DONTWAIT, (struct sockaddr *)&address,
                  sizeof address) < 0
               ? -1
               : 0;
}

void journal_set_path(const char *other)
{
    path = other;
}
