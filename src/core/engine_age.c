/* SPDX-License-Identifier: MIT
 * The end of messages that have been failing for longer than retry.age, wherever they wait. */
#include "base/clock.h"
#include "core/engine_inside.h"

bool engine_too_old(const struct engine *engine, const struct message *message, int64_t now_us)
{
    return engine->rules->retry.age_us && message->first_failed_us &&
           now_us - message->first_failed_us >= engine->rules->retry.age_us;
}

void age_note(struct engine *engine, const struct message *message)
{
    int64_t ends_us = message->first_failed_us + engine->rules->retry.age_us;

    if (engine->rules->retry.age_us && message->first_failed_us && ends_us < engine->age_at_us)
        engine->age_at_us = ends_us;
}

void engine_bury_old(struct engine *engine, struct message *message)
{
    engine_bury(engine, message, DEAD_AGE, "it kept failing until retry.age passed");
}

/* Messages of a lane that is being given back are the next owner's. */
static bool ends_now(const struct engine *engine, const struct message *message, int64_t now_us)
{
    return message->lane && !message->lane->closing && engine_too_old(engine, message, now_us);
}

static bool has_old(const struct engine *engine, const struct batch *batch, int64_t now_us)
{
    for (; batch; batch = batch->then)
        for (const struct message *message = batch->messages.first; message;
             message = message->next)
            if (ends_now(engine, message, now_us))
                return true;
    return false;
}

/* Ends what is too old in a batch and in those that follow it. */
static void end_chain(struct engine *engine, struct batch *batch, int64_t now_us)
{
    for (; batch; batch = batch->then) {
        struct message_list messages = batch->messages;
        struct message *message;

        batch->messages = (struct message_list){0};
        while ((message = message_list_take(&messages)))
            if (ends_now(engine, message, now_us)) {
                engine_leave(engine, message);
                engine_bury_old(engine, message);
            } else {
                message_list_append(&batch->messages, message);
            }
    }
}

/* What is in flight itself is judged when it lands. */
static void end_batches(struct engine *engine, int64_t now_us)
{
    for (struct batch *batch = engine->flying; batch; batch = batch->next_flying)
        end_chain(engine, batch->then, now_us);
    for (size_t i = 0; i < engine->waiting.count;) {
        struct batch *batch = engine->waiting.slots[i++];

        if (!has_old(engine, batch, now_us))
            continue;
        batch_heap_remove(&engine->waiting, batch);
        end_chain(engine, batch, now_us);
        if (batch->messages.count)
            engine_wait(engine, batch, batch->due_us);
        else
            engine_resolve(engine, batch, now_us);
        i = 0;
    }
}

static void end_one(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    if (message->place == PLACE_SUSPECT)
        blame_forget_suspect(engine, message);
    else
        strand_remove(engine, message);
    message->strand = NULL;
    strand_drop_if_empty(engine, strand);
    engine_bury_old(engine, message);
}

int64_t age_run(struct engine *engine, int64_t now_us)
{
    if (now_us < engine->age_at_us)
        return engine->age_at_us;
    engine->age_at_us = CLOCK_NEVER;
    end_batches(engine, now_us);
    for (struct lane *lane = engine->lanes; lane; lane = lane->next)
        for (struct message *message = lane->live; message; message = message->live_next) {
            bool waits = message->place == PLACE_WAITING || message->place == PLACE_SUSPECT;

            if (waits && ends_now(engine, message, now_us))
                end_one(engine, message);
            else if (!message->verdict && !lane->closing && !engine_too_old(engine, message, now_us))
                age_note(engine, message);
        }
    return engine->age_at_us;
}
