/* SPDX-License-Identifier: MIT
 * Which lanes of a mapping are told one by one in the metrics: so many at a time, whatever lanes a
 * source makes up. A lane keeps its place while it is open, and for LANE_SLOTS_KEPT_US after; only then
 * another takes it. So there are never more than `most` series at once, and never more than `most` new
 * ones within that time. The lanes without a place are summed. */
#ifndef SERVICE_LANE_SLOTS_H
#define SERVICE_LANE_SLOTS_H

#include <stdint.h>

#include "base/clock.h"

#define LANE_SLOTS_MOST    1000
#define LANE_SLOTS_KEPT_US CLOCK_HOUR
#define LANE_SLOTS_NAME    200 /* a longer name gets no place */

struct lane_slots;

struct lane_slots *lane_slots_new(uint32_t most);
void lane_slots_free(struct lane_slots *slots); /* NULL is fine */

/* How many places there are; also the number of the one for all others. */
uint32_t lane_slots_most(const struct lane_slots *slots);

/* Any thread. A lane was opened: the number of its place, lane_slots_most() where it has none. Another
 * poller may have opened it too. Each call is followed by one of lane_slots_leave. */
uint32_t lane_slots_enter(struct lane_slots *slots, const char *name, int64_t now_us);
void lane_slots_leave(struct lane_slots *slots, uint32_t slot, int64_t now_us);

/* Any thread: between the two no place changes its lane. */
void lane_slots_lock(struct lane_slots *slots);
void lane_slots_unlock(struct lane_slots *slots);
/* The lane's name as the value of a label, escaped (text format 0.0.4); `other` for all others. Locked. */
const char *lane_slots_label(const struct lane_slots *slots, uint32_t slot);
/* The name as it is; NULL for all others. Locked. */
const char *lane_slots_name(const struct lane_slots *slots, uint32_t slot);

#endif
