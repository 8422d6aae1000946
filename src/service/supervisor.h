/* SPDX-License-Identifier: MIT
 * All mappings of a configuration running: the stores, the recorder, what a reload changes, and the
 * end of it all. Main thread, but for what is said to be for any. */
#ifndef SERVICE_SUPERVISOR_H
#define SERVICE_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/clock.h"
#include "service/config.h"
#include "service/park.h"
#include "service/poller.h"
#include "service/replay.h"

/* A thread that has not turned for this long is stuck: they turn every other second. */
#define SUPERVISOR_STUCK_US (30 * CLOCK_SECOND)

struct running;
struct supervisor;

/* Opens the stores and makes the pollers. Holds the configuration as long as it needs it. NULL with a
 * fault. */
struct supervisor *supervisor_new(struct configuration *configuration, struct fault *fault);
int supervisor_start(struct supervisor *supervisor, struct fault *fault);

/* What a reload did. */
struct supervisor_changes {
    size_t added, changed, removed, unchanged;
};
/* Takes a new configuration over. Mappings that are as they were (also in what their secrets and
 * files hold) do not notice; a changed one drains and starts anew, by itself; a removed one drains
 * and stops; a new one starts. 0 with what it did; -1 with a fault, and nothing happened. */
int supervisor_apply(struct supervisor *supervisor, struct configuration *configuration,
                     struct supervisor_changes *ret_changes, struct fault *fault);

/* What an operator wants of a mapping. */
enum supervisor_wish {
    SUPERVISOR_RUN,
    SUPERVISOR_PAUSE, /* keeps its lanes, takes no messages, begins no invocations */
    SUPERVISOR_DRAIN  /* finishes what is in flight, gives its lanes back, stays stopped */
};
/* Sets it; it stays across reloads, not across restarts. RUN for one that runs lets it probe a target
 * at once that it waits for. 0, or -1 with a fault where there is no such mapping, where a drained one
 * is to be paused, or where it cannot be started. */
int supervisor_wish(struct supervisor *supervisor, const char *mapping, enum supervisor_wish wish,
                    struct fault *fault);

/* Lets the mapping have at most so many invocations in flight per poller, from 1 to what its file
 * allows, until the next reload. 0, or -1 with a fault. */
int supervisor_cap(struct supervisor *supervisor, const char *mapping, int64_t invocations,
                   struct fault *fault);

bool supervisor_knows(const struct supervisor *supervisor, const char *mapping);

/* Goes on with what takes its time: call it a few times a second. */
void supervisor_tick(struct supervisor *supervisor);

/* Asks all pollers to stop; once more: at once, leaving what is in flight to redelivery. */
void supervisor_stop(struct supervisor *supervisor, bool at_once);
/* How long the slowest mapping may take to drain. */
int64_t supervisor_drain_us(const struct supervisor *supervisor);
/* Whether it was asked to stop and all pollers have ended. */
bool supervisor_ended(const struct supervisor *supervisor);
/* Joins and frees everything; the recorder finishes first what it was given. */
void supervisor_free(struct supervisor *supervisor);

/* ---- replays, any thread ---- */

struct supervisor_hold;

/* What a replay works with: every mapping as it is now, with the claims that its pollers share, which
 * all stay until they are let go, whatever a reload does meanwhile. NULL: the service is stopping. */
struct supervisor_hold *supervisor_hold(struct supervisor *supervisor,
                                        struct replay_context *ret_context);
void supervisor_let_go(struct supervisor_hold *hold); /* NULL is fine */

/* ---- looking in, any thread ---- */

enum supervisor_phase {
    SUPERVISOR_RUNNING,
    SUPERVISOR_PAUSED,
    SUPERVISOR_DRAINING,   /* as an operator wished */
    SUPERVISOR_DRAINED,
    SUPERVISOR_RESTARTING, /* its file changed: drains, then starts anew */
    SUPERVISOR_REMOVING,   /* its file is gone: drains */
    SUPERVISOR_STOPPING,   /* with the whole service */
};

struct supervisor_view {
    const struct mapping *mapping;
    enum supervisor_phase phase;
    uint32_t cap;                /* as supervisor_cap set it; 0: it did not */
    int64_t wish_since_wall_us;  /* PAUSED, DRAINING, DRAINED */
    struct poller_status status; /* summed over the pollers */
    const struct running *running;
    struct lot_state parked;
};

/* Called for each mapping, by name, with the supervisor locked: all is valid within the call. */
typedef void (*supervisor_view_fn)(void *argument, const struct supervisor_view *view);
void supervisor_look(struct supervisor *supervisor, supervisor_view_fn look, void *argument);
/* Borrowed; as long as the supervisor. */
struct park *supervisor_park(struct supervisor *supervisor);
void supervisor_recorder_stats(struct supervisor *supervisor, struct recorder_stats *ret_stats);
void supervisor_tracer_stats(struct supervisor *supervisor, struct tracer_stats *ret_stats);
/* The prices of the latest configuration. */
void supervisor_prices(struct supervisor *supervisor, struct prices *ret_prices);
struct books *supervisor_books(const struct supervisor *supervisor);
/* How much memory messages of all mappings may take. Any thread. */
struct allowance *supervisor_allowance(struct supervisor *supervisor);
const char *supervisor_state_directory(const struct supervisor *supervisor);

#endif
