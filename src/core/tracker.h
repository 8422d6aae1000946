/* SPDX-License-Identifier: MIT
 * What was delivered of one lane and what of it is finished, so that settling never overtakes:
 * completion may come in any order, the watermark moves only over what is finished without a gap.
 * It knows delivered positions only, so holes in them (transactions, compaction) do not matter. */
#ifndef CORE_TRACKER_H
#define CORE_TRACKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/positions.h"

enum tracker_state {
    TRACKER_PENDING = 0,
    TRACKER_FINISHED, /* has its verdict, not yet durable */
    TRACKER_DURABLE
};

struct tracker_entry {
    uint64_t position;
    uint8_t state; /* enum tracker_state */
};

struct tracker {
    struct tracker_entry *ring;
    size_t room;        /* power of two */
    uint64_t oldest;    /* number of the oldest entry kept */
    uint64_t next;      /* number of the next entry; entries are numbered from 0 */
    bool has_watermark;
    uint64_t watermark; /* position of the newest entry below which all is durable, inclusive */
};

void tracker_fini(struct tracker *tracker);
/* Takes note of a delivered position and returns its entry number. */
uint64_t tracker_add(struct tracker *tracker, uint64_t position);
/* A verdict was reached. */
void tracker_finish(struct tracker *tracker, uint64_t entry);
/* The verdict is durable. Returns whether the watermark moved. */
bool tracker_durable(struct tracker *tracker, uint64_t entry);
/* Entries between the oldest that is not durable and the newest. */
static inline uint64_t tracker_distance(const struct tracker *tracker)
{
    return tracker->next - tracker->oldest;
}
/* Adds all finished and durable positions to `positions` (which has `base` set). */
void tracker_collect(const struct tracker *tracker, struct positions *positions);

#endif
