/* SPDX-License-Identifier: MIT */
#include "service/status_lanes.h"

#include <stdbool.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/json_value.h"

struct found {
    const struct poller_lane *lane;
    uint32_t slot;
};

static bool is_worse(const struct poller_lane *one, const struct poller_lane *other)
{
    if (one->lag != other->lag)
        return one->lag > other->lag;
    if (one->oldest_ms < 0 || other->oldest_ms < 0)
        return one->oldest_ms >= 0;
    return one->oldest_ms < other->oldest_ms;
}

/* Puts it where it belongs among the worst. */
static size_t insert(struct found *worst, size_t count, struct found found)
{
    size_t at = count;

    while (at && is_worse(found.lane, worst[at - 1].lane))
        at--;
    if (at == STATUS_LANES)
        return count;
    if (count == STATUS_LANES)
        count--;
    for (size_t i = count; i > at; i--)
        worst[i] = worst[i - 1];
    worst[at] = found;
    return count + 1;
}

static json_t *lane_json(const struct lane_slots *slots, struct found found)
{
    const struct poller_lane *lane = found.lane;

    return json_pack("{s:o, s:o, s:o}", "lane", json_value_text(lane_slots_name(slots, found.slot)),
                     "lag", lane->lag < 0 ? json_null() : json_integer(lane->lag), "oldest",
                     json_value_time(lane->oldest_ms > 0 ? lane->oldest_ms * CLOCK_MS : 0));
}

json_t *status_lanes(const struct running *running)
{
    struct lane_slots *slots = running->book->lanes;
    uint32_t others = lane_slots_most(slots), lanes = 0;
    struct poller_lane *all = memory_zero(others + 1, sizeof *all);
    struct found worst[STATUS_LANES];
    json_t *list = json_array();
    size_t count = 0;

    lane_slots_lock(slots);
    running_lanes(running, all);
    for (uint32_t i = 0; i <= others; i++) {
        lanes += all[i].lanes;
        if (all[i].lanes && (all[i].lag > 0 || all[i].oldest_ms >= 0))
            count = insert(worst, count, (struct found){&all[i], i});
    }
    for (size_t i = 0; i < count && lanes > 1; i++)
        json_array_append_new(list, lane_json(slots, worst[i]));
    lane_slots_unlock(slots);
    free(all);
    return list;
}
