/* SPDX-License-Identifier: MIT */
#include "core/lane.h"

void lane_note_delivered(struct lane *lane, uint64_t position)
{
    if (!lane->first_seen)
        lane->first = position;
    else if (position <= lane->newest)
        lane->disordered = true;
    if (!lane->first_seen || position > lane->newest)
        lane->newest = position;
    lane->first_seen = true;
}

/* What an earlier process finished and the source has not yet delivered again is still finished. */
static void collect_finished_before(const struct lane *lane, struct positions *positions)
{
    for (size_t i = 0; i < lane->finished_before.count; i++) {
        struct position_range range = lane->finished_before.ranges[i];

        if (lane->first_seen && range.last <= lane->newest)
            continue;
        if (lane->first_seen && range.first <= lane->newest)
            range.first = lane->newest + 1;
        positions_append(positions, range.first, false);
        positions_append(positions, range.last, true);
    }
}

/* Where the source has told of nothing settled, what came before the first delivery is not known to
 * be finished: a source that begins before it was rewound, and the record must be void then. */
static uint64_t base_of(const struct lane *lane)
{
    if (lane->has_settled)
        return lane->settled;
    return lane->first_seen ? lane->first : lane->finished_before.base;
}

void lane_record_write(const struct lane *lane, struct buffer *buffer)
{
    struct positions positions = {.base = base_of(lane)};

    /* Ranges take what lies between two deliveries for holes. Out of order it may yet come: then
       nothing is recorded, and what is not settled is invoked again after a crash. */
    if (!lane->disordered) {
        tracker_collect(&lane->tracker, &positions);
        collect_finished_before(lane, &positions);
    }
    positions_write(&positions, buffer);
    positions_fini(&positions);
}
