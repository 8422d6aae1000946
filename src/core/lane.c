/* SPDX-License-Identifier: MIT */
#include "core/lane.h"

void lane_record_write(const struct lane *lane, struct buffer *buffer)
{
    struct positions positions = {.base = lane->has_settled ? lane->settled : 0};

    tracker_collect(&lane->tracker, &positions);
    positions_write(&positions, buffer);
    positions_fini(&positions);
}
