/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"

#define BACKLOG     64
#define GROUPS_MOST 65536 /* NGROUPS_MAX of Linux */

char *unix_socket_short_path(const char *path, int *ret_directory, struct fault *fault)
{
    const char *slash = strrchr(path, '/');
    char *parent, *text;
    int fd;

    if (strlen(path) < sizeof(struct sockaddr_un){0}.sun_path) {
        *ret_directory = -1;
        return memory_text(path);
    }
    parent = slash ? memory_text_n(path, (size_t)(slash - path) + 1) : memory_text(".");
    fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        fault_set(fault, "%s: %s", parent, strerror(errno));
        free(parent);
        return NULL;
    }
    free(parent);
    text = memory_format("/proc/self/fd/%d/%s", fd, slash ? slash + 1 : path);
    if (strlen(text) >= sizeof(struct sockaddr_un){0}.sun_path) {
        fault_set(fault, "unix:%s: the name of a socket may have at most 80 bytes", path);
        close(fd);
        free(text);
        return NULL;
    }
    *ret_directory = fd;
    return text;
}

/* Removes a socket that nobody listens at any more. 0, or -1 with a fault where something is there
 * that must stay. */
static int clear_path(const char *path, const struct sockaddr_un *address, struct fault *fault)
{
    struct stat what;
    int fd, failed, reason;

    if (lstat(address->sun_path, &what))
        return 0;
    if (!S_ISSOCK(what.st_mode))
        return fault_set(fault, "cannot listen at unix:%s: there is a file that is not a socket",
                         path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    failed = fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof *address);
    reason = errno;
    if (fd >= 0)
        close(fd);
    if (!failed || reason == EAGAIN)
        return fault_set(fault,
                         "cannot listen at unix:%s: another process listens there (is another "
                         "sluice running?)",
                         path);
    if (reason == ECONNREFUSED && !unlink(address->sun_path))
        return 0;
    return fault_set(fault, "cannot listen at unix:%s: cannot replace the socket that is there: %s",
                     path, strerror(reason == ECONNREFUSED ? errno : reason));
}

static int listen_at(const char *path, const struct sockaddr_un *address, struct fault *fault)
{
    int fd;

    if (clear_path(path, address, fault))
        return -1;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* The mode before bind is what the file is made with: at no moment is it open to all. */
    if (fd < 0 || fchmod(fd, 0600) || bind(fd, (const struct sockaddr *)address, sizeof *address) ||
        chmod(address->sun_path, 0660) || listen(fd, BACKLOG)) {
        fault_set(fault, "cannot listen at unix:%s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    return fd;
}

int unix_socket_listen(const char *path, struct fault *fault)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int directory, fd;
    char *text;

    if (*path != '/')
        return fault_set(fault, "listen address unix:%s: expected an absolute path", path);
    text = unix_socket_short_path(path, &directory, fault);
    if (!text)
        return fault_prefix(fault, "cannot listen");
    memcpy(address.sun_path, text, strlen(text) + 1);
    fd = listen_at(path, &address, fault);
    free(text);
    if (directory >= 0)
        close(directory);
    return fd;
}

static bool in_group(int fd, gid_t group)
{
    socklen_t size = GROUPS_MOST * sizeof(gid_t);
    gid_t *groups = memory_new(size);
    bool found = false;

    if (!getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size))
        for (size_t i = 0; !found && i < size / sizeof *groups; i++)
            found = groups[i] == group;
    free(groups);
    return found;
}

bool unix_socket_peer_allowed(int fd, gid_t group, struct unix_socket_peer *ret_peer)
{
    struct ucred peer;
    socklen_t size = sizeof peer;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) || size != sizeof peer)
        return false;
    *ret_peer = (struct unix_socket_peer){peer.pid, peer.uid, peer.gid};
    /* Within a user namespace all groups that are not part of it look alike; there the mode of the
       socket's file decides between them. */
    return !peer.uid || peer.uid == geteuid() || peer.gid == group || in_group(fd, group);
}
