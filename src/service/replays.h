/* SPDX-License-Identifier: MIT
 * Replays within the running service, and their resources on the control socket. */
#ifndef SERVICE_REPLAYS_H
#define SERVICE_REPLAYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "service/router.h"
#include "service/supervisor.h"

#define REPLAYS_MOST 8  /* at once */
#define REPLAYS_KEPT 32 /* that can still be looked at after their end */

struct replays;

/* The supervisor is borrowed. */
struct replays *replays_new(struct supervisor *supervisor);
/* Stops what runs, at once, and waits for it: before supervisor_free. NULL is fine. */
void replays_free(struct replays *replays);

/* Adds POST and GET /v1/replays, GET /v1/replays/{id} and POST /v1/replays/{id}/stop. */
void replays_add_routes(struct replays *replays, struct router *router);

/* Letters of all replays since the service began, and how many run. Any thread. */
struct replays_totals {
    size_t running;
    uint64_t done, already, died, gone, changed; /* see struct replay_status */
};
void replays_read_totals(struct replays *replays, struct replays_totals *ret_totals);

/* Stops all; what is in flight may land until `drain_us` from now. None begins after supervisor_stop. */
void replays_stop(struct replays *replays, int64_t drain_us);
bool replays_ended(struct replays *replays);

#endif
