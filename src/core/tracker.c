/* SPDX-License-Identifier: MIT */
#include "core/tracker.h"

#include <assert.h>
#include <stdlib.h>

#include "base/memory.h"

#define FIRST_ROOM 64

static struct tracker_entry *entry_at(const struct tracker *tracker, uint64_t entry)
{
    return &tracker->ring[entry & (tracker->room - 1)];
}

void tracker_fini(struct tracker *tracker)
{
    free(tracker->ring);
    *tracker = (struct tracker){0};
}

static void grow(struct tracker *tracker)
{
    size_t room = tracker->room ? tracker->room * 2 : FIRST_ROOM;
    struct tracker_entry *ring = memory_zero(room, sizeof *ring);

    for (uint64_t i = tracker->oldest; i < tracker->next; i++)
        ring[i & (room - 1)] = *entry_at(tracker, i);
    free(tracker->ring);
    tracker->ring = ring;
    tracker->room = room;
}

uint64_t tracker_add(struct tracker *tracker, uint64_t position)
{
    if (tracker->next - tracker->oldest == tracker->room)
        grow(tracker);
    *entry_at(tracker, tracker->next) = (struct tracker_entry){.position = position};
    return tracker->next++;
}

void tracker_finish(struct tracker *tracker, uint64_t entry)
{
    assert(entry >= tracker->oldest && entry < tracker->next);
    assert(entry_at(tracker, entry)->state == TRACKER_PENDING);
    entry_at(tracker, entry)->state = TRACKER_FINISHED;
}

bool tracker_durable(struct tracker *tracker, uint64_t entry)
{
    bool moved = false;

    assert(entry >= tracker->oldest && entry < tracker->next);
    assert(entry_at(tracker, entry)->state == TRACKER_FINISHED);
    entry_at(tracker, entry)->state = TRACKER_DURABLE;
    while (tracker->oldest < tracker->next &&
           entry_at(tracker, tracker->oldest)->state == TRACKER_DURABLE) {
        uint64_t position = entry_at(tracker, tracker->oldest++)->position;

        /* Never back, whatever the source delivered. */
        if (tracker->has_watermark && position <= tracker->watermark)
            continue;
        tracker->watermark = position;
        tracker->has_watermark = true;
        moved = true;
    }
    return moved;
}

void tracker_collect(const struct tracker *tracker, struct positions *positions)
{
    /* What the watermark has passed but the source has not yet taken note of. */
    bool adjacent = tracker->has_watermark && tracker->watermark >= positions->base;

    if (adjacent) {
        positions_append(positions, positions->base, false);
        positions_append(positions, tracker->watermark, true);
    }
    for (uint64_t i = tracker->oldest; i < tracker->next; i++) {
        bool finished = entry_at(tracker, i)->state != TRACKER_PENDING;

        if (finished)
            positions_append(positions, entry_at(tracker, i)->position, adjacent);
        adjacent = finished;
    }
}
