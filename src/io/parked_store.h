/* SPDX-License-Identifier: MIT
 * Where parked messages are kept: `parked.sqlite` in the state directory (SQLite, WAL,
 * synchronous=FULL). One connection, one thread; readers work beside the writer. */
#ifndef IO_PARKED_STORE_H
#define IO_PARKED_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "core/parked.h"

struct parked_store;

typedef int (*parked_each_fn)(void *argument, const struct parked *parked);

/* To write: makes it where missing. NULL with a fault naming path and cure: unreadable, from a newer
 * version, damaged; or, to read, with an empty one: there is none yet, or a writer is just making it. */
struct parked_store *parked_store_open(const char *directory, bool write, struct fault *fault);
void parked_store_close(struct parked_store *store); /* NULL is fine */

/* Each is one durable transaction. 0, or -1 with a fault and nothing done. */

/* Writes rows; one whose number is there is replaced, so that the same may be written twice. */
int parked_store_write(struct parked_store *store, const struct parked *rows, size_t count,
                       struct fault *fault);
/* Removes rows by number; those that are not there are fine. */
int parked_store_remove(struct parked_store *store, const int64_t *numbers, size_t count,
                        struct fault *fault);

/* The row of that number, whole, borrowed within the callback. 1, 0 where there is none, -1 with a
 * fault. */
int parked_store_read(struct parked_store *store, int64_t number, parked_each_fn each,
                      void *argument, struct fault *fault);
/* When the row of the highest number was written; -1: there is none, or it cannot be read. */
int64_t parked_store_newest(const struct parked_store *store);
/* All rows by number, of one mapping (NULL: of all), without key, payload, headers and story. `each`
 * returns non-zero to stop. */
int parked_store_list(struct parked_store *store, const char *mapping, parked_each_fn each,
                      void *argument, struct fault *fault);

#endif
