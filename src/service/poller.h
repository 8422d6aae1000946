/* SPDX-License-Identifier: MIT
 * A poller: one thread with one event loop that owns all it touches: a connector instance, the
 * engine with its lanes and batches, an HTTP client. It meets others only at the recorder, the
 * mapping's claims and its mailbox. */
#ifndef SERVICE_POLLER_H
#define SERVICE_POLLER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <sluice/connector.h>

#include "base/histogram.h"
#include "core/engine.h"
#include "service/allowance.h"
#include "service/books.h"
#include "service/claims.h"
#include "service/mapping.h"
#include "service/publisher.h"
#include "service/recorder.h"

/* What a poller works with; borrowed, and outlives it. */
struct poller_context {
    const struct mapping *mapping;
    uint32_t number; /* 0..mapping->pollers-1 */
    struct recorder *recorder;
    struct publisher *publisher; /* takes dead letters in the recorder's place; NULL: none */
    struct token_store *token_store;
    struct claims *claims;
    struct book *book;            /* of the mapping; NULL: nobody looks in */
    struct replay_source *replay; /* letters to work on, as `mapping` has them for its source; NULL:
                                     the source itself */
    struct park *park; /* NULL: nothing is parked */
    struct allowance *allowance; /* of memory; NULL: only the mapping's own bounds hold */
};

/* What went wrong lately; the same text again counts up. */
#define POLLER_ERRORS 3
struct poller_error {
    int64_t wall_us; /* of the last time; 0: none */
    uint64_t count;
    char text[160];
};

/* An invocation whose trace exemplifies a bucket of a histogram. */
struct poller_exemplar {
    char trace_id[33]; /* "": none */
    double value;
    int64_t wall_us; /* when it ended */
};

/* A lane, or the sum of several. */
struct poller_lane {
    uint32_t lanes;    /* 0: none */
    int64_t lag;       /* -1: unknown */
    int64_t oldest_ms; /* timestamp of the oldest unfinished message; -1: none */
};

/* For status and metrics; a snapshot made by the poller as it turns. */
struct poller_status {
    struct engine_counts counts;
    uint32_t state;           /* enum sluice_state */
    char state_text[512];
    enum gate_state gate;
    char gate_text[256];
    int64_t gate_since_wall_us;
    int64_t gate_next_wall_us; /* no probe before then; 0: none waits */
    uint32_t in_flight, limit;
    uint64_t unfinished, bytes, waiting_retries, suspects, lanes;
    int64_t lag;              /* -1: unknown */
    bool lag_is_shared;       /* with the mapping's other pollers */
    int64_t oldest_ms;        /* timestamp of the oldest unfinished message; -1: none */
    double received_rate, done_rate; /* messages a second */
    struct poller_error errors[POLLER_ERRORS]; /* latest first */
    uint64_t settle_failures;  /* requests */
    struct histogram duration; /* of invocations, by poller_duration_scale, s */
    struct poller_exemplar exemplars[HISTOGRAM_BOUNDS + 1]; /* of its buckets, the latest */
    struct histogram batch;    /* messages in them, by poller_batch_scale */
    struct histogram age;      /* of the first message of each when it was done, s */
    bool dead_letters_stuck;  /* dead letters cannot be written */
    struct publisher_status publisher; /* of all pollers; zero where none is */
    bool records_stuck;       /* tokens cannot be recorded */
    bool memory_short;        /* others hold the memory that it could receive into */
    bool begun;               /* its loop has turned at least once */
    int64_t turn_us;          /* monotonic, of the last turn of its loop, or of its start */
};

/* A loop turns at least so often, though nothing happens. */
#define POLLER_TURN_MOST_US (2 * CLOCK_SECOND)

extern const struct histogram_scale poller_duration_scale, poller_batch_scale, poller_age_scale;

struct poller;

struct poller *poller_new(const struct poller_context *context, struct fault *fault);
int poller_start(struct poller *poller, struct fault *fault);
/* Any thread: gives lanes back after what is in flight has landed, at the latest after `drain_us`. */
void poller_stop(struct poller *poller, int64_t drain_us);
/* Any thread: takes no more messages and begins no invocations, keeping its lanes; or goes on. */
void poller_pause(struct poller *poller, bool paused);
/* Any thread: a target that is waited for is tried again at once. */
void poller_resume(struct poller *poller);
/* Any thread: at most so many invocations in flight from now on; 0: as the mapping has it. */
void poller_cap(struct poller *poller, uint32_t invocations);
/* Whether the thread has ended. */
bool poller_ended(const struct poller *poller);
/* Joins the thread. NULL is fine. */
void poller_free(struct poller *poller);
/* Any thread. */
void poller_read_status(struct poller *poller, struct poller_status *ret_status);
/* Any thread. Adds its lanes to `sum`, an entry for each place of the book and one for all others. One
 * lane may be open in several pollers: it lags as far as the one that sees most of it says. */
void poller_add_lanes(struct poller *poller, struct poller_lane *sum);

#endif
