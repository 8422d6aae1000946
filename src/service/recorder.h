/* SPDX-License-Identifier: MIT
 * The writer thread: makes verdicts durable for all pollers in common commits.
 *
 * Within a commit dead letters and parked messages come first, tokens and lanes second: a lane never
 * says that a message is finished that is not on the disk. What leaves the park comes last: its outcome
 * is there by then. */
#ifndef SERVICE_RECORDER_H
#define SERVICE_RECORDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "base/histogram.h"
#include "base/mailbox.h"
#include "io/dead_letter_store.h"
#include "io/parked_store.h"
#include "io/token_store.h"
#include "service/recorder_limits.h"

/* What a poller wants recorded. The poller's memory, with all that it points to; untouched by the
 * poller from recorder_submit until it comes back through `reply_to`.
 *
 * It comes back with `failed` false when all of it is durable. With `failed` true none of it may be
 * relied on (some of it may be there): the poller settles nothing and submits it again, as often as
 * it takes; letters and tokens written twice are there once.
 *
 * A lane record may call finished what its own job carries or what earlier replies confirmed, and
 * nothing else: what other jobs carry may fail. So a poller has one job with a record of a given
 * lane out at a time, and collects meanwhile. */
struct record_job {
    struct mailbox_item item; /* first: a reply is cast back from it */
    struct mailbox *reply_to;
    const struct token_record *tokens;
    size_t token_count;
    const struct lane_record *lanes;
    size_t lane_count;
    struct dead_letter *letters; /* their `id` is filled in */
    size_t letter_count;
    const struct parked *parked;
    size_t parked_count;
    const int64_t *unparked; /* numbers of rows to be removed */
    size_t unparked_count;
    bool failed;
    struct fault fault;
    int64_t submitted_us; /* set by recorder_submit, monotonic */
};

struct recorder_options {
    int64_t commit_interval_us; /* from one commit's begin to the next; 0: 2 ms. A lone job does not
                                   wait. */
    int64_t expire_interval_us; /* 0: 5 s */
};

struct recorder_stats {
    uint64_t commits;                 /* of either store that worked */
    uint64_t failures;                /* commits that failed */
    uint64_t jobs, tokens, letters;   /* recorded */
    uint64_t waiting;                 /* jobs submitted and not yet answered */
    struct histogram commit_duration; /* of groups of commits, by recorder_commit_scale, s */
    int64_t letters_failing_since_us; /* monotonic; 0: the last commit failed no job */
    int64_t tokens_failing_since_us;
    int64_t park_failing_since_us;
    int64_t turn_us; /* monotonic, when its thread last turned, every second if idle; 0: not started */
    struct fault last_error; /* "" if there was none yet */
};

extern const struct histogram_scale recorder_commit_scale;

struct recorder;

/* The stores are borrowed, and used by the recorder's thread alone until recorder_stop returned
 * (but for readers of the token store). NULL with a fault. */
struct recorder *recorder_new(struct token_store *token_store,
                              struct dead_letter_store *dead_letter_store,
                              const struct recorder_options *options, struct fault *fault);
/* Stops if it runs. NULL is fine. */
void recorder_free(struct recorder *recorder);

/* Where messages are parked; used as the other stores are. Before recorder_start. */
void recorder_use_park(struct recorder *recorder, struct parked_store *store);

int recorder_start(struct recorder *recorder, struct fault *fault);
/* Finishes what was submitted, then ends the thread. Nobody submits any more. */
void recorder_stop(struct recorder *recorder);

/* Any thread; never blocks. */
void recorder_submit(struct recorder *recorder, struct record_job *job);

/* Returns once the recorder's thread is out of every mailbox that it answered before: one whose answers
 * have all come may then be freed. Any thread. */
void recorder_quiesce(struct recorder *recorder);

/* How long dead letters of `mapping` are kept; 0: for ever. Any thread. */
void recorder_set_keep(struct recorder *recorder, const char *mapping, int64_t keep_us);

/* How many dead letters `mapping` may have. Any thread. */
void recorder_set_limits(struct recorder *recorder, const char *mapping,
                         const struct recorder_limits *limits);

/* Any thread. */
void recorder_stats(struct recorder *recorder, struct recorder_stats *ret_stats);

#endif
