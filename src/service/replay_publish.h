/* SPDX-License-Identifier: MIT
 * Dead letters of one mapping back to the topics or queues that their messages came from: published, by an
 * instance of the source's connector that does nothing else, with the header `sluice-replayed` that holds
 * the letter's id. A letter leaves the store after that is confirmed. */
#ifndef SERVICE_REPLAY_PUBLISH_H
#define SERVICE_REPLAY_PUBLISH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/dead_letter_store.h"
#include "service/mapping.h"

#define REPLAY_PUBLISH_MARK "sluice-replayed"

struct replay_publish;

struct replay_publish_settings {
    const struct mapping *mapping; /* whose source's options are used; borrowed for its life */
    const char *state_directory;
    struct dead_letter_place *places; /* taken over */
    size_t count;
    uint32_t rate; /* letters a second; 0: as fast as it goes */
    struct dead_letter_act act; /* line of the log; texts are copied */
};

struct replay_publish_status {
    uint64_t selected, done;
    uint64_t failed;  /* will never be taken: they stay */
    uint64_t gone;    /* removed by somebody else before their turn */
    uint64_t changed; /* published, but edited meanwhile: still there */
    bool down;        /* nothing can be published now, or the store cannot be read */
    char text[400];   /* why; else "" */
    bool ended;
};

/* Begins. NULL with a fault; the places are freed then too. */
struct replay_publish *replay_publish_new(const struct replay_publish_settings *settings,
                                          struct fault *fault);
/* Begins with no more letters; what is under way has until `drain_us` from now. Any thread. */
void replay_publish_stop(struct replay_publish *publish, int64_t drain_us);
/* Any thread. */
void replay_publish_read_status(struct replay_publish *publish,
                                struct replay_publish_status *ret_status);
/* Waits for its end. NULL is fine. */
void replay_publish_free(struct replay_publish *publish);

#endif
