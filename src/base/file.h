/* SPDX-License-Identifier: MIT
 * Small files, read whole. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

#include "base/fault.h"

/* Reads up to `size` bytes of the file into `room` and returns how many there were; -1 with errno. A
 * directory is EISDIR. Never waits for a pipe's writer. */
ssize_t file_read(const char *path, char *room, size_t size);

/* Makes sure that nobody else can change the file, or put another one in its place: it and all
 * directories on the way to it, links included, belong to root, the user that this process runs as, or
 * the owner of its program, and are writable for nobody but the owner and a group that is root's or the
 * user's own, or the directory is sticky. -1 with a fault that begins with `what` and says what to do. */
int file_check_owner(const char *path, const char *what, struct fault *fault);

#endif
