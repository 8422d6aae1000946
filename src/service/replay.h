/* SPDX-License-Identifier: MIT
 * A replay: dead letters sent through their mapping again, or through another. One poller for each
 * mapping, which works on letters as it works on messages (service/replay_source.h); or published back
 * to their source (service/replay_publish.h). */
#ifndef SERVICE_REPLAY_H
#define SERVICE_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/dead_letter_store.h"
#include "service/claims.h"
#include "service/mapping.h"
#include "service/poller.h"
#include "service/recorder.h"

/* Which letters, and how. Everything is borrowed for the call. */
struct replay_order {
    struct dead_letter_query query; /* `limit`: in all; oldest first unless sorted otherwise */
    const char *const *ids;         /* whole ids, in place of the query */
    size_t id_count;
    int64_t skip;          /* number of a letter to leave out, 0: none */
    const char *to;        /* mapping to send them through; NULL: their own */
    bool to_source;        /* published back to where their messages came from, invoking nothing */
    bool force;            /* with a new token, see struct dead_letter */
    uint32_t rate;         /* letters a second and mapping, 0: no limit */
    uint32_t concurrency;  /* invocations in flight for each mapping; 0: as the mapping has it */
    uint64_t max_failures; /* see struct replay_source_settings */
    struct dead_letter_act act; /* who, and what was typed; for the log */
};

/* Where it runs: within the service, or alone. Borrowed for the life of the replay. */
struct replay_context {
    const char *state_directory;
    struct mapping *const *mappings;
    size_t mapping_count;
    struct recorder *recorder; /* running */
    struct token_store *token_store;
    struct books *books; /* NULL: nobody looks in */
    struct allowance *allowance; /* of memory; NULL: only the mappings' own bounds hold */
    /* The claims of a mapping's pollers; NULL: nobody else works on it, the replay makes its own. */
    struct claims *(*claims)(void *argument, const char *mapping);
    void *argument;
};

struct replay_status {
    uint64_t selected, done, already, died, gone, changed;
    bool too_many;       /* stopped because too many died */
    bool ended;
    bool down;           /* a target is down or paused, or the store cannot be written: it waits */
    char text[512];      /* why; else "" */
};

struct replay;

/* Chooses the letters and begins. NULL with a fault that names the cure: a mapping that is not
 * configured, the store cannot be read. With nothing chosen it has ended when it begins. */
struct replay *replay_start(const struct replay_context *context, const struct replay_order *order,
                            struct fault *fault);
/* Delivers no more; what is in flight may land until `drain_us` from now. What is left stays a dead
 * letter. Any thread. */
void replay_stop(struct replay *replay, int64_t drain_us);
/* Any thread. */
void replay_read_status(struct replay *replay, struct replay_status *ret_status);
/* Waits for its end. NULL is fine. */
void replay_free(struct replay *replay);

#endif
