/* SPDX-License-Identifier: MIT
 * Lanes: they come, are given back or lost, and take their messages with them. */
#include <stdlib.h>

#include "base/memory.h"
#include "core/engine_inside.h"

struct lane *engine_lane_open(struct engine *engine, const struct sluice_lane *info,
                              struct positions *finished)
{
    struct lane *lane = memory_zero(1, sizeof *lane);

    lane->name = memory_text(info->name);
    lane->source = memory_text(info->source);
    lane->partition = info->partition;
    lane->cookie = info->cookie;
    if (finished) {
        lane->finished_before = *finished;
        *finished = (struct positions){0};
    }
    lane->main = strand_new(lane, 0, engine->rules->order != ORDER_LANE);
    lane->next = engine->lanes;
    if (engine->lanes)
        engine->lanes->previous = lane;
    engine->lanes = lane;
    engine->lane_count++;
    return lane;
}

static void for_each_strand(struct engine *engine, struct lane *lane)
{
    strand_update(engine, lane->main);
    for (size_t i = 0; i < engine->slot_count; i++)
        for (struct strand *strand = engine->slots[i]; strand; strand = strand->next_in_slot)
            if (strand->lane == lane)
                strand_update(engine, strand);
}

void engine_check_drained(struct engine *engine, struct lane *lane)
{
    if (lane->closing && !lane->drained && !lane->flying && !lane->judged) {
        lane->drained = true;
        engine->ops->lane_drained(engine->argument, lane);
    }
}

void engine_lane_close(struct engine *engine, struct lane *lane)
{
    if (!lane->closing)
        engine->closing_count++;
    lane->closing = true;
    for_each_strand(engine, lane);
    engine_check_drained(engine, lane);
}

/* The message stays where it is (a batch, a list of judged ones) but belongs to no lane. */
static void make_orphan(struct engine *engine, struct message *message)
{
    engine_release(engine, message);
    engine_unlink_live(message);
    message->lane = NULL;
    message->strand = NULL;
    engine->held--;
    engine->lost_parked |= message->verdict == VERDICT_PARKED;
    if (!message->verdict)
        engine_leave_unjudged(engine, message);
}

void engine_lane_lost(struct engine *engine, struct lane *lane)
{
    struct message *message, *next;

    if (!lane->closing)
        engine->closing_count++;
    lane->closing = true; /* its strands are not to be worked on any more */
    for (message = lane->live; message; message = next) {
        next = message->live_next;
        if (message->place == PLACE_SUSPECT)
            blame_forget_suspect(engine, message);
        if (message->place == PLACE_BATCH || message->place == PLACE_JUDGED) {
            make_orphan(engine, message);
        } else {
            make_orphan(engine, message);
            engine_discard(engine, message);
        }
    }
    strand_drop_lane(engine, lane);
    if (lane->previous)
        lane->previous->next = lane->next;
    else
        engine->lanes = lane->next;
    if (lane->next)
        lane->next->previous = lane->previous;
    engine->lane_count--;
    engine->park_lanes -= lane->parked && lane->first_seen;
    engine->closing_count--;
    tracker_fini(&lane->tracker);
    positions_fini(&lane->finished_before);
    free(lane->name);
    free(lane->source);
    free(lane);
}

void engine_lane_settled(struct engine *engine, struct lane *lane, uint64_t position)
{
    (void)engine;
    if (!lane->has_settled || position > lane->settled) {
        lane->settled = position;
        lane->has_settled = true;
    }
}

/* ---- looking in ---- */

int64_t engine_lane_oldest_ms(const struct lane *lane)
{
    const struct message *message = lane->oldest;

    return message && message->source.timestamp_kind != SLUICE_TIMESTAMP_NONE
               ? message->source.timestamp_ms
               : -1;
}

int64_t engine_oldest_ms(const struct engine *engine)
{
    int64_t oldest_ms = -1;

    for (const struct lane *lane = engine->lanes; lane; lane = lane->next) {
        int64_t lane_ms = engine_lane_oldest_ms(lane);

        if (lane_ms >= 0 && (oldest_ms < 0 || lane_ms < oldest_ms))
            oldest_ms = lane_ms;
    }
    return oldest_ms;
}

struct lane *engine_next_lane(const struct engine *engine, const struct lane *lane)
{
    return lane ? lane->next : engine->lanes;
}
