/* SPDX-License-Identifier: MIT
 * What its source will drop, or move away, when it is delivered some more times (`endangered`) is parked as
 * it comes in, whatever becomes of the target: each stop, crash and lost connection is a delivery.
 *
 * In an ordered strand all that waits before it goes with it; where something of the strand is in flight or
 * suspect, that is first. With `order: lane` what is received later waits in memory until the park has no
 * more of the lane: parked too, a lane that is never quiet would go through the park for ever. Only where
 * all that came out of the park has failed some of it is parked, to come out behind that as witnesses. */
#include "core/engine_inside.h"

#define WITNESSES 8

size_t danger_behind(const struct engine *engine)
{
    size_t count = 0;

    for (const struct lane *lane = engine->behind ? engine->lanes : NULL; lane; lane = lane->next)
        if (lane->behind)
            count += lane->main->waiting.count;
    return count;
}

void danger_wait(struct engine *engine, struct lane *lane)
{
    lane->behind = engine->behind = true;
    strand_update(engine, lane->main);
}

static void park_strand(struct engine *engine, struct strand *strand)
{
    struct lane *lane = strand->lane;

    if (!strand->endangered || strand->outstanding || strand->suspects)
        return;
    strand->endangered = false;
    engine_park_strand(engine, strand);
    if (engine->rules->order == ORDER_LANE)
        danger_wait(engine, lane);
}

bool danger_take(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    if (!message->source.endangered || !engine->ops->park)
        return false;
    if (strand->parallel) {
        if (!engine->ops->park(engine->argument, message, 0, true))
            return false;
        message->strand = NULL;
        engine_park_one(engine, message);
        return true;
    }
    strand_append(engine, strand, message);
    strand->endangered = engine->endangered = true;
    park_strand(engine, strand);
    return true;
}

/* ---- as time goes on ---- */

static bool park_idle(struct engine *engine)
{
    bool left = false;

    for (struct lane *lane = engine->lanes; lane; lane = lane->next) {
        park_strand(engine, lane->main);
        left |= lane->main->endangered;
    }
    for (size_t i = 0; i < engine->slot_count; i++)
        for (struct strand *strand = engine->slots[i], *next; strand; strand = next) {
            next = strand->next_in_slot;
            if (strand->endangered && !strand->outstanding && !strand->suspects)
                park_strand(engine, strand);
            else
                left |= strand->endangered;
        }
    return left;
}

static void lend_witnesses(struct engine *engine, struct lane *lane)
{
    struct strand *strand = lane->main;

    if (lane->closing || strand->blocked || engine->ops->park_precedes(engine->argument, lane, true))
        return;
    for (size_t i = 0; i < WITNESSES && strand->waiting.first; i++) {
        struct message *message = strand_take(engine, strand);

        message->strand = NULL;
        engine_park_behind(engine, message);
        engine_park_one(engine, message);
    }
}

static bool let_go_on(struct engine *engine)
{
    bool lacks = engine_needs_witness(engine), left = false;

    for (struct lane *lane = engine->lanes; lane; lane = lane->next) {
        if (!lane->behind)
            continue;
        if (!engine->ops->park_precedes(engine->argument, lane, false)) {
            lane->behind = false;
            strand_update(engine, lane->main);
            continue;
        }
        left = true;
        if (lacks)
            lend_witnesses(engine, lane);
    }
    return left;
}

void danger_run(struct engine *engine)
{
    if (engine->endangered)
        engine->endangered = park_idle(engine);
    if (engine->behind)
        engine->behind = let_go_on(engine);
}
