/* SPDX-License-Identifier: MIT
 * Ids of dead letters: ULIDs (github.com/ulid/spec) whose first ten of the random bits hold the
 * microseconds below the millisecond, so that an id leads to its row without an index. */
#ifndef IO_DEAD_LETTER_STORE_ID_H
#define IO_DEAD_LETTER_STORE_ID_H

#include <stdint.h>

#define DEAD_LETTER_ID 26 /* characters, without the NUL */

/* The id of a letter of time `wall_us`, with 70 bits of `random`. */
void dead_letter_store_id_write(int64_t wall_us, const uint64_t random[2],
                                char ret_id[DEAD_LETTER_ID + 1]);

/* The times [since, until) of all ids that begin with `prefix`, in either case; more prefixes than
 * one can lead to the same. 0, or -1 where no id begins so. */
int dead_letter_store_id_range(const char *prefix, int64_t *ret_since_us, int64_t *ret_until_us);

#endif
