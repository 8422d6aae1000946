/* SPDX-License-Identifier: MIT
 * The lanes of a mapping that are furthest behind, for its status. */
#ifndef SERVICE_STATUS_LANES_H
#define SERVICE_STATUS_LANES_H

#include <jansson.h>

#include "service/running.h"

#define STATUS_LANES 3 /* told at most */

/* [{"lane", "lag", "oldest"}]: those with the most messages to come, and of equals the one with the oldest
 * message; none that has nothing to do, and none of a mapping that has a single lane. `lane` null: all
 * those that have no place of their own in the metrics, together. A new reference. */
json_t *status_lanes(const struct running *running);

#endif
