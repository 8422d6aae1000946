/* SPDX-License-Identifier: MIT
 * What each mapping used on each day, on disk: `usage.db` in the state directory, SQLite, a row for each
 * day of a mapping. */
#ifndef IO_USAGE_STORE_H
#define IO_USAGE_STORE_H

#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"

struct usage_counts {
    uint64_t invocations;    /* that reached the function */
    uint64_t messages;       /* done */
    uint64_t received_bytes; /* of keys and payloads from the source */
    uint64_t sent_bytes;     /* of bodies to the function */
    uint64_t function_us;    /* how long invocations took, added up */
};

struct usage_row {
    const char *mapping;
    int64_t day; /* in UTC, since 1970 */
    struct usage_counts counts;
};

struct usage_store;

/* Opens it, and makes it where it is missing. NULL with a fault that names file and cure. One thread. */
struct usage_store *usage_store_open(const char *directory, struct fault *fault);
void usage_store_close(struct usage_store *store); /* NULL is fine */

/* Gives all rows, those of a mapping by day. The row is valid within the call. 0, or -1 with a fault. */
int usage_store_read(struct usage_store *store,
                     void (*take)(void *argument, const struct usage_row *row), void *argument,
                     struct fault *fault);

/* Writes the rows over those of the same mappings and days, and takes away what these mappings have
 * beyond their `days_kept` latest days, in one commit. 0, or -1 with a fault and nothing changed. */
int usage_store_write(struct usage_store *store, const struct usage_row *rows, size_t count,
                      unsigned days_kept, struct fault *fault);

#endif
