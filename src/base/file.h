/* SPDX-License-Identifier: MIT
 * Small files, read whole. */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include <stddef.h>
#include <sys/types.h>

/* Reads up to `size` bytes of the file into `room` and returns how many there were; -1 with errno. A
 * directory is EISDIR. Never waits for a pipe's writer. */
ssize_t file_read(const char *path, char *room, size_t size);

#endif
