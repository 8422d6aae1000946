/* SPDX-License-Identifier: MIT
 * How many dead letters a mapping may have, and what happens at the bound. */
#ifndef SERVICE_RECORDER_LIMITS_H
#define SERVICE_RECORDER_LIMITS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/dead_letter_store.h"

struct recorder_limits {
    uint64_t count, bytes; /* letters, and bytes of their keys, payloads and headers; 0: no limit */
    bool drop_oldest;      /* else nothing more is taken: the lane waits */
};

/* Makes sure that letters of one mapping may be added: dropping its oldest ones, or refusing with a
 * fault that names the cure. A store just below its limit takes one more group, so that a limit
 * smaller than a group is no trap. Letters that go back to their rows need no room. 0 with how many
 * were dropped, or -1. */
int recorder_limits_make_room(struct dead_letter_store *store, const struct recorder_limits *limits,
                              const struct dead_letter *letters, size_t count,
                              uint64_t *ret_dropped, struct fault *fault);

#endif
