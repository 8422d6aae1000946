/* SPDX-License-Identifier: MIT
 * Unix stream sockets by path, and who is at their other end. Paths of any length: one that is
 * longer than an address can be (107 bytes) is reached through its directory's descriptor. */
#ifndef IO_UNIX_SOCKET_H
#define IO_UNIX_SOCKET_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/fault.h"

/* Listens at an absolute path, mode 0660, close-on-exec, non-blocking. A socket left behind by a
 * dead process is replaced; one that is served, or a file that is no socket, is a fault. The
 * descriptor, or -1 with a fault. */
int unix_socket_listen(const char *path, struct fault *fault);

/* A text that a library's own connect() takes for `path`: `path` itself, or one that goes through
 * *ret_directory, which the caller closes afterwards (-1: nothing to close). Memory of the caller's;
 * NULL with a fault where the directory cannot be opened. */
char *unix_socket_short_path(const char *path, int *ret_directory, struct fault *fault);

/* The process that connected, as the kernel saw it at that moment. */
struct unix_socket_peer {
    pid_t pid;
    uid_t uid;
    gid_t gid;
};

/* Reads who is at the other end of a connected socket. Returns whether it is one that may give
 * orders: root, the user of this process, or a member of `group` (its own group or a supplementary
 * one). False too where the kernel does not tell. */
bool unix_socket_peer_allowed(int fd, gid_t group, struct unix_socket_peer *ret_peer);

#endif
