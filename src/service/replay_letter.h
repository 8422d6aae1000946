/* SPDX-License-Identifier: MIT
 * A letter out at the engine in a replay, with a copy of what its message points to. */
#ifndef SERVICE_REPLAY_LETTER_H
#define SERVICE_REPLAY_LETTER_H

#include "core/dead_letter.h"

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

#endif
