/* SPDX-License-Identifier: MIT
 * What this process uses, from /proc. */
#ifndef IO_PROCESS_H
#define IO_PROCESS_H

#include <stdint.h>

struct process_usage {
    double cpu_seconds;      /* of all threads, user and system */
    double start_seconds;    /* when it began, since 1970 */
    uint64_t resident_bytes, virtual_bytes;
    uint64_t open_descriptors, most_descriptors, threads;
};

/* Zero where /proc does not tell. */
void process_read_usage(struct process_usage *ret_usage);

#endif
