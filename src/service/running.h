/* SPDX-License-Identifier: MIT
 * One mapping with its pollers, from being made to having ended. Main thread, but for what is said to
 * be for any. */
#ifndef SERVICE_RUNNING_H
#define SERVICE_RUNNING_H

#include <stdbool.h>

#include "service/config.h"
#include "service/poller.h"

/* What pollers work with beside their mapping; borrowed. */
struct running_context {
    struct recorder *recorder;
    struct token_store *token_store;
    struct books *books;
    struct park *park;
    struct allowance *allowance;
};

struct running {
    struct configuration *configuration; /* held, as the mapping is part of it */
    const struct mapping *mapping;
    const struct running_context *context;
    struct claims *claims; /* held */
    struct book *book;
    uint32_t cap;             /* of invocations in flight per poller, an operator's; 0: none */
    struct poller **pollers; /* NULL: none, drained */
    struct publisher *publisher; /* of dead letters; NULL: they go to the recorder */
    bool stopping;
};

/* Makes it without pollers. `claims` of what ran for the mapping before, NULL: new ones. */
struct running *running_new(struct configuration *configuration, const struct mapping *mapping,
                            struct claims *claims, const struct running_context *context);
/* Waits for its threads. NULL is fine. */
void running_free(struct running *running);

/* Makes pollers that do not run yet. 0, or -1 with a fault and none of them. */
int running_prepare(struct running *running, struct fault *fault);
/* Starts them. 0, or -1 with a fault where a thread could not be started: stop it then. */
int running_start(struct running *running, struct fault *fault);
/* Asks them to stop: within the mapping's drain time, or at once. */
void running_stop(struct running *running, bool at_once);
/* Takes no more messages and begins no more invocations, keeping its lanes; or goes on. Any thread. */
void running_pause(struct running *running, bool paused);
/* Ends the target's pause: the next invocation may go out at once. Any thread. */
void running_resume(struct running *running);

/* At most so many invocations in flight per poller, now and after a drain; 0: as the mapping has it. */
void running_cap(struct running *running, uint32_t invocations);

/* Whether all its threads have ended. */
bool running_ended(const struct running *running);
/* Frees the pollers of one that has ended, so that running_prepare can make new ones. */
void running_drop_pollers(struct running *running);

/* Status summed over the pollers; all zero but `lag` without any. */
void running_status(const struct running *running, struct poller_status *ret_status);
/* Its lanes, an entry for each place of the book and one for all others. */
void running_lanes(const struct running *running, struct poller_lane *ret_lanes);

#endif
