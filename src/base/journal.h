/* SPDX-License-Identifier: MIT
 * Entries for systemd's journal in its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a
 * datagram of lines NAME=value. Ours is the small part of it that a log line needs, so that nothing is
 * linked for it: values without line ends, and entries far below what a datagram holds, so that there
 * is no need to pass a file. */
#ifndef BASE_JOURNAL_H
#define BASE_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>

/* Whether the journal reads what is written to `fd`, as systemd.exec(5) says of JOURNAL_STREAM. */
bool journal_reads(int fd);

/* Sends an entry, without waiting. Any thread. 0, or -1 with errno where the journal did not take it
 * (gone, or does not keep up). */
int journal_send(const char *entry, size_t size);

/* Sends them to the socket at `path` from now on, instead of the journal's; borrowed. Before other
 * threads start. */
void journal_set_path(const char *path);

#endif
