/* SPDX-License-Identifier: MIT
 * What errors have in common: a reason with its numbers, ids and quoted parts folded. */
#ifndef IO_DEAD_LETTER_STORE_FOLD_H
#define IO_DEAD_LETTER_STORE_FOLD_H

#include <stddef.h>

/* `HTTP 500: user 'joe' (order 8f14e45f-ceea) failed at 12:31` becomes
 * `HTTP 500: user '*' (order #) failed at #:#`. Status codes after HTTP or status stay. Writes at
 * most `room` bytes with the NUL; cut between characters. Returns the length. */
size_t dead_letter_store_fold(const char *reason, char *ret_folded, size_t room);

#endif
