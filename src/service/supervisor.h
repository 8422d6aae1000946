/* SPDX-License-Identifier: MIT
 * All mappings of a configuration running: stores, recorder, pollers, and the end of it all. */
#ifndef SERVICE_SUPERVISOR_H
#define SERVICE_SUPERVISOR_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "service/mapping.h"
#include "service/poller.h"

struct supervisor;

/* Opens the stores and makes the pollers. `configuration` is borrowed. NULL with a fault. */
struct supervisor *supervisor_new(const struct configuration *configuration, struct fault *fault);
int supervisor_start(struct supervisor *supervisor, struct fault *fault);
/* Asks all pollers to stop; once more: at once, leaving what is in flight to redelivery. */
void supervisor_stop(struct supervisor *supervisor, bool at_once);
/* Whether all pollers have ended. */
bool supervisor_ended(const struct supervisor *supervisor);
/* Joins and frees everything; the recorder finishes first what it was given. */
void supervisor_free(struct supervisor *supervisor);

/* Any thread while it runs: status of mapping `index`, summed over its pollers. */
void supervisor_status(struct supervisor *supervisor, size_t index,
                       struct poller_status *ret_status);
void supervisor_recorder_stats(struct supervisor *supervisor, struct recorder_stats *ret_stats);

#endif
