/* SPDX-License-Identifier: MIT
 * A message in the park: it left its source, and waits for its next try in the local store. */
#ifndef CORE_PARKED_H
#define CORE_PARKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/dead_letter.h"

/* All pointers are borrowed unless a function says otherwise. */
struct parked {
    int64_t number;         /* of its row; grows as messages are parked */
    int64_t due_wall_us;    /* 0: once what is parked before it in its queue is gone */
    int64_t parked_wall_us; /* the last time */
    uint64_t queue;         /* what it must not overtake has the same one; 0: nothing */
    size_t bytes;           /* that it counts for in retry.park_bytes */
    uint64_t fingerprint;   /* of the payload; where it is named by its place in a log, which may be made
                               anew, of its key and time as well */
    bool has_token;         /* letter.token names this message and no other, wherever it comes from;
                               else it is only what the function is told */
    uint32_t attempts;      /* counted */
    bool named;             /* the function named it while it did another */
    int64_t first_failed_wall_us; /* 0: it never failed */
    struct dead_letter letter; /* message and story, as its dead letter would have them; without class,
                                  reason, id and what comes after its death */
};

#endif
