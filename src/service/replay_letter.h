/* SPDX-License-Identifier: MIT
 * A letter out at the engine in a replay, with a copy of what its message points to. */
#ifndef SERVICE_REPLAY_LETTER_H
#define SERVICE_REPLAY_LETTER_H

#include <stddef.h>
#include <stdint.h>

#include "core/dead_letter.h"
#include "io/dead_letter_store.h"

struct replay_letter {
    struct replay_lane *lane;
    int64_t number;
    uint32_t edits;
    char id[27];
    struct sluice_bytes token;
    struct sluice_header *headers;
    size_t header_count;
    struct sluice_message message; /* as its source gave it */
};

/* A copy, in one piece of memory: to be freed. */
struct replay_letter *replay_letter_copy(const struct dead_letter *letter);

/* One that is to be delivered next. */
struct replay_pick {
    struct replay_lane *lane;
    size_t at; /* of the replay's letters */
    int64_t number;
    enum { REPLAY_UNREAD, REPLAY_READ, REPLAY_GONE } state;
    struct replay_letter *letter; /* READ: to be freed */
};

#define REPLAY_PICKS 256 /* at once */

/* Reads them in the order in which they lie in the file, until they have so many bytes: the rest stays
 * UNREAD, but the first one, as those read may all have to wait for it. 0, or -1 with a fault and all UNREAD. */
int replay_letters_read(struct dead_letter_store *store, struct replay_pick *picks, size_t count,
                        size_t bytes, struct fault *fault);

#endif
