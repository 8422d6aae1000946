/* SPDX-License-Identifier: MIT */
#include "core/lane.h"

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

void lane_record_write(const struct lane *lane, struct buffer *buffer)
{
    struct positions positions = {.base = lane->has_settled ? lane->settled : 0};

    tracker_collect(&lane->tracker, &positions);
    collect_finished_before(lane, &positions);
    positions_write(&positions, buffer);
    positions_fini(&positions);
}
