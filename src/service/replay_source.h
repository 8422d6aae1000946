/* SPDX-License-Identifier: MIT
 * Dead letters as a source: a connector over the local store, within the service. A replay is a poller
 * of the mapping that receives from it, so that batches, order, tokens, retries and envelopes are the
 * same code. A letter leaves the store after the verdict on its message is durable; one that dies
 * again goes back to its row (struct dead_letter, `replay`). */
#ifndef SERVICE_REPLAY_SOURCE_H
#define SERVICE_REPLAY_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/connector.h>

#include "core/dead_letter.h"
#include "core/verdict.h"
#include "io/dead_letter_store.h"

struct replay_source;

struct replay_source_settings {
    const char *state_directory;
    const struct sluice_connector *connector; /* of the mapping: envelopes are made for its kind */
    struct dead_letter_place *places;         /* by lane and position; taken over */
    size_t count;
    uint32_t rate;         /* letters a second; 0: as fast as it goes */
    uint64_t max_failures; /* letters that died again, then it stops; 0: once there are 10 of them and
                              they are the most */
    int64_t drain_us;      /* for what is in flight then */
    struct dead_letter_act act; /* line of the log; texts are copied */
};

struct replay_source_counts {
    uint64_t selected;
    uint64_t delivered; /* to the engine */
    uint64_t done;      /* invoked, and out of the store */
    uint64_t already;   /* its token was recorded meanwhile: out of the store without invocation */
    uint64_t died;      /* again: back in its row */
    uint64_t gone;      /* removed by somebody else before its turn */
    uint64_t changed;   /* done, but edited meanwhile: still there */
    bool too_many;      /* stopped because too many died */
};

struct replay_source *replay_source_new(const struct replay_source_settings *settings);
/* After the poller was freed. NULL is fine. */
void replay_source_free(struct replay_source *source);

/* The connector that the poller's mapping names. */
const struct sluice_connector *replay_source_connector(struct replay_source *source);
/* Any thread. */
void replay_source_counts(struct replay_source *source, struct replay_source_counts *ret_counts);

/* For the poller, on its thread: the verdict on a message is durable. */
void replay_source_settle(struct replay_source *source, void *handle, enum verdict verdict);
/* The message as its source gave it: the one at the engine has the letter's token for its identity, and
 * counts its deliveries anew. */
const struct sluice_message *replay_source_message(const void *handle);
/* Makes a letter about a message that died again one of its own row. */
void replay_source_name(const void *handle, struct dead_letter *letter);

#endif
