/* SPDX-License-Identifier: MIT
 * What the service tells about itself: each mapping's state with its reason, and GET /v1/status. */
#ifndef SERVICE_STATUS_H
#define SERVICE_STATUS_H

#include <stdint.h>

#include "service/router.h"
#include "service/supervisor.h"

enum status_health {
    STATUS_GOOD,
    STATUS_DEGRADED, /* makes no progress now, and will by itself */
    STATUS_BAD       /* needs a person */
};

/* How a mapping is, in one word and one reason. */
struct status_verdict {
    enum status_health health;
    const char *state;     /* a word in snake_case, static */
    const char *reason;    /* for people, "": none; within the arguments */
    int64_t since_wall_us; /* 0: unknown */
};

/* Judges a mapping by what is seen of it and of the stores. `now_us`: monotonic. */
struct status_verdict status_judge(const struct supervisor_view *view,
                                   const struct recorder_stats *stores, int64_t now_us);

struct status;

/* The supervisor is borrowed. */
struct status *status_new(struct supervisor *supervisor);
void status_free(struct status *status); /* NULL is fine */

/* Adds /v1/status and /v1/mappings/{name}. */
void status_add_routes(struct status *status, struct router *router);

#endif
