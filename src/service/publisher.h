/* SPDX-License-Identifier: MIT
 * Dead letters to somewhere else than the state directory: one thread for each mapping that wants it, with
 * a connector instance that only publishes. For a poller it stands in the recorder's place: it takes the
 * same jobs and gives them back through the same mailbox, when every letter of theirs is confirmed.
 *
 * While the place takes none, jobs wait here, and are tried again with growing pauses: the pollers' lanes
 * wait with them, and status, metrics and log say so. A letter that the place will never take, because
 * it is too large, is kept in the state directory, and a letter without payload tells there where. */
#ifndef SERVICE_PUBLISHER_H
#define SERVICE_PUBLISHER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "service/mapping.h"
#include "service/recorder.h"

struct park;
struct publisher;

struct publisher_status {
    uint64_t published; /* letters, confirmed; those kept counted */
    uint64_t kept;      /* in the state directory, as they do not fit */
    uint64_t failures;  /* tries that failed */
    uint64_t waiting;   /* letters that are not there yet */
    bool stuck;         /* they cannot be written now */
    char text[400];     /* why; "" where not */
    uint32_t state;     /* enum sluice_state, as the connector last told it; 0: it does not run */
    int64_t state_wall_us; /* since when */
    char state_text[300];  /* why, "": nothing to say */
    char error[300];       /* the last that went wrong, of letters or the connection; "": nothing yet */
    int64_t error_wall_us;
    int64_t turn_us;    /* monotonic, of its loop; 0: it does not run */
};

/* For the mapping's `dead_letter.to`, which it must have. `mapping`, `recorder` and `park` (NULL: none) are
 * borrowed and outlive it. NULL with a fault. */
struct publisher *publisher_new(const struct mapping *mapping, struct recorder *recorder,
                                struct park *park, struct fault *fault);
int publisher_start(struct publisher *publisher, struct fault *fault);
/* Takes a job with letters and nothing else over; see struct record_job. Any thread; never blocks. */
void publisher_submit(struct publisher *publisher, struct record_job *job);
/* From `drain_us` on what is not confirmed is given back as failed, at once. Any thread. */
void publisher_stop(struct publisher *publisher, int64_t drain_us);
/* Nobody submits any more: its thread ends. Any thread. */
void publisher_finish(struct publisher *publisher);
bool publisher_ended(const struct publisher *publisher);
/* Joins the thread; after that no mailbox is in its hands. Once finished. NULL is fine. */
void publisher_free(struct publisher *publisher);
struct publisher_burial {
    uint64_t count;   /* buried since it was last asked */
    uint64_t waiting; /* to be confirmed by the place, or just about to be sent */
    uint64_t unreadable; /* all that is left, and stays */
    struct fault fault;  /* why, and the cure */
};
/* Makes dead letters, at the place, of what is parked of its mapping, PARK_BURY_MOST at most: to be called
 * again and again until the first two numbers are 0. It must have a park. Any thread; never blocks. */
void publisher_bury(struct publisher *publisher, struct publisher_burial *ret_burial);
/* Any thread. */
void publisher_read_status(struct publisher *publisher, struct publisher_status *ret_status);

#endif
