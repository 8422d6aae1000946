/* SPDX-License-Identifier: MIT
 * What the files of the recorder share. Nothing else includes it. */
#ifndef SERVICE_RECORDER_INSIDE_H
#define SERVICE_RECORDER_INSIDE_H

#include <pthread.h>
#include <stdatomic.h>

#include "service/recorder.h"

#define RECORDER_JOBS    1024
#define RECORDER_RECORDS 20000 /* tokens and lanes of one commit */
#define RECORDER_BYTES   ((size_t)32 << 20) /* of one commit: what is on the way to the disk at once */

struct keep {
    char *mapping;
    int64_t keep_us;
    struct recorder_limits limits;
};

struct recorder {
    struct token_store *tokens;
    struct dead_letter_store *letters;
    struct parked_store *park;
    struct recorder_options options;
    struct mailbox mailbox;
    struct mailbox_item stop; /* the last item ever posted */
    pthread_t thread;
    bool running;
    atomic_uint_fast64_t waiting;
    _Atomic int64_t turn_us;

    pthread_mutex_t replying; /* held while answers are posted */
    pthread_mutex_t mutex;    /* guards stats and keeps */
    struct recorder_stats stats;
    struct keep *keeps;
    size_t keep_count;

    /* The recorder's thread only. */
    struct mailbox_item *oldest, **end; /* jobs taken from the mailbox */
    bool stopping;
    struct record_job *group[RECORDER_JOBS];
    size_t group_count;
    struct dead_letter *gathered;
    size_t gathered_room;
    int64_t commit_at_us, expire_at_us; /* not before */
    bool expiring_tokens;
    size_t expiring_keep;
    uint32_t expire_letters; /* in the next step */
};

/* recorder.c: what is known of a mapping; made where it is missing. With the mutex held. */
struct keep *recorder_keep_of(struct recorder *recorder, const char *mapping);

/* recorder_commit.c: makes the group durable, store by store. Jobs of which a part is not are marked as
 * failed. */
void recorder_commit(struct recorder *recorder);

#endif
