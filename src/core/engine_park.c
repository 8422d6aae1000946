/* SPDX-License-Identifier: MIT
 * Long retries leave for the park: what waits for longer than retry.park_after holds up neither its
 * source nor memory.
 *
 * Only a message's own back-off is a reason: it failed alone or was named, its attempts are not used
 * up, and the target is not doubted. What waits for the target (refusals, an open gate), for a witness
 * or for its turn stays, and so does all of `order: lane`, but for what is endangered
 * (engine_danger.c). Of an ordered strand all that is behind a parked message goes with it, and what
 * comes later queues behind them; where one of its suspects is to come back to a place before it, or
 * has, none goes. */
#include <assert.h>
#include <stdlib.h>

#include "core/engine_inside.h"

/* Sources that drop what came back too often (SQS by its redrive policy, to another queue), and do not say when,
 * lose no message that fails here: after so many deliveries it is parked however short its wait. */
#define DELIVERIES_MANY 10

static bool waits_long(const struct engine *engine, const struct message *message, int64_t delay_us)
{
    return delay_us > engine->rules->retry.park_after_us ||
           (!message->from_park && message->source.delivery_count >= DELIVERIES_MANY);
}

static bool may_leave(const struct message *message)
{
    const struct strand *strand = message->strand;
    const struct message *first = strand->waiting.first;

    if (!message->lane || message->lane->closing)
        return false;
    return strand->parallel || (!strand->suspects && !(first && first->entry < message->entry));
}

/* Until its next try, or until retry.age ends it. */
static int64_t time_away(const struct engine *engine, const struct message *message,
                         int64_t delay_us, int64_t now_us)
{
    int64_t age_us = engine->rules->retry.age_us;
    int64_t left_us = message->first_failed_us + age_us - now_us;

    return age_us && message->first_failed_us && left_us < delay_us ? left_us : delay_us;
}

static bool leave_one(struct engine *engine, struct message *message, int64_t delay_us,
                      int64_t now_us)
{
    if (!may_leave(message) || !waits_long(engine, message, delay_us) ||
        !engine->ops->park(engine->argument, message,
                           time_away(engine, message, delay_us, now_us), false))
        return false;
    message->strand->leaving = !message->strand->parallel;
    return true;
}

void engine_park_behind(struct engine *engine, struct message *message)
{
    bool taken = engine->ops->park(engine->argument, message, 0, true);

    /* Without a place it would be settled and nowhere. */
    if (!taken)
        abort();
}

/* Takes what follows in its order out of the batch. */
static void take_followers(struct engine *engine, struct batch *batch, struct message_list *leaving)
{
    struct message_list messages = batch->messages;
    struct message *message;

    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages)))
        if (message->lane && message->strand->leaving) {
            engine_park_behind(engine, message);
            message_list_append(leaving, message);
        } else {
            message_list_append(&batch->messages, message);
        }
}

/* Takes what waits in the strand behind those that leave. */
static void sweep(struct engine *engine, struct strand *strand, struct message_list *leaving)
{
    struct message *message;

    if (strand->blocked) {
        engine->ops->unclaim(engine->argument, strand->waiting.first);
        strand->waiting.first->place = PLACE_WAITING;
        strand->blocked = false;
    }
    while (strand->waiting.first) {
        message = strand_take(engine, strand);
        message->strand = NULL;
        engine_park_behind(engine, message);
        message_list_append(leaving, message);
    }
    strand_update(engine, strand);
}

void engine_park_one(struct engine *engine, struct message *message)
{
    engine->counts.parked++;
    engine_finish(engine, message, VERDICT_PARKED);
}

void engine_park(struct engine *engine, struct batch *batch, int64_t delay_us, int64_t now_us)
{
    struct message_list messages = batch->messages, leaving = {0}, swept = {0};
    struct message *message;
    bool stays = false; /* one did: those behind it might be of its strand */

    if (!engine->ops->park || !engine->rules->retry.park_after_us ||
        engine->rules->order == ORDER_LANE || gate_probing(&engine->gate))
        return;
    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages))) {
        bool follows = message->lane && message->strand->leaving;

        if (follows)
            engine_park_behind(engine, message);
        else
            stays = stays || !leave_one(engine, message, delay_us, now_us);
        message_list_append(stays && !follows ? &batch->messages : &leaving, message);
    }
    for (struct batch *then = batch->then; then; then = then->then)
        take_followers(engine, then, &leaving);
    for (message = leaving.first; message; message = message->next)
        if (message->strand->leaving) {
            message->strand->leaving = false;
            sweep(engine, message->strand, &swept);
        }
    while ((message = message_list_take(&leaving))) {
        engine_leave(engine, message);
        engine_park_one(engine, message);
    }
    while ((message = message_list_take(&swept)))
        engine_park_one(engine, message);
}

void engine_park_strand(struct engine *engine, struct strand *strand)
{
    struct message_list swept = {0};
    struct message *message;

    sweep(engine, strand, &swept);
    strand_drop_if_empty(engine, strand);
    while ((message = message_list_take(&swept)))
        engine_park_one(engine, message);
}

/* ---- in ---- */

bool engine_park_takes(struct engine *engine, struct message *message)
{
    if (!engine->ops->parked)
        return false;
    switch (engine->ops->parked(engine->argument, message)) {
    case PARK_HAS_NOTHING:
        return false;
    case PARK_HAS_IT:
        engine->counts.duplicates++;
        engine->ops->event(engine->argument, ENGINE_DUPLICATE, NULL, message, NULL);
        engine_finish(engine, message, VERDICT_DUPLICATE);
        break;
    case PARK_HAS_EARLIER:
        if (engine->rules->order == ORDER_LANE) {
            danger_wait(engine, message->lane);
            return false;
        }
        engine_park_behind(engine, message);
        engine_park_one(engine, message);
        break;
    }
    return true;
}

void engine_feed_parked(struct engine *engine, const struct sluice_message *source,
                        const struct parked_story *story, int64_t now_us)
{
    struct message *message = engine_take_in(engine, source, now_us);

    assert(message->lane->parked);
    engine->park_lanes += !message->lane->first_seen;
    message->lane->first_seen = true;
    message->from_park = true;
    message->park_number = story->number;
    /* What it had tried counts on; a success since then is no witness of what it does next. */
    message->attempts = message->attempts_before = story->attempts;
    message->attempts_after = engine->successes;
    message->named = story->named;
    message->history = story->history;
    message->first_failed_us = story->first_failed_us;
    if (message->first_failed_us)
        engine->untried--;
    age_note(engine, message);
    if (story->token.data) {
        message_set_token(message, story->token.data, story->token.size);
        engine->ops->fingerprint(source->payload.data, source->payload.size, message->fingerprint);
        message->fingerprint[1] ^= story->fingerprint;
    }
    message->strand = strand_of(engine, message->lane, source);
    strand_append(engine, message->strand, message);
}

/* ---- out ---- */

static void come_again(struct engine *engine, struct message *message, bool written)
{
    engine->ops->unpark(engine->argument, message, written);
    engine_discard(engine, message);
}

void engine_take_parked(struct engine *engine, size_t most, size_t most_bytes,
                        struct message_list *ret_list)
{
    struct message *message;

    while (ret_list->count < most && ret_list->bytes < most_bytes &&
           (message = message_list_take(&engine->parked)))
        if (message->lane)
            message_list_append(ret_list, message);
        else
            come_again(engine, message, false);
}

void engine_park_drop_lost(struct engine *engine)
{
    struct message_list all = engine->finished;
    struct message *message;

    if (!engine->lost_parked)
        return;
    engine->lost_parked = false;
    engine->finished = (struct message_list){0};
    while ((message = message_list_take(&all)))
        if (message->verdict == VERDICT_PARKED && !message->lane)
            come_again(engine, message, true);
        else
            message_list_append(&engine->finished, message);
}

void engine_park_begin(struct engine *engine, struct message *message)
{
    if (message->verdict != VERDICT_PARKED || message->from_park)
        return;
    /* What settles one by one is not settled without its lane, and no record of a lane says that it is
       finished. */
    if (!message->lane && !engine->settle_up_to)
        engine->ops->unpark(engine->argument, message, true);
    else
        engine->ops->park_begins(engine->argument, message);
}

void engine_parked(struct engine *engine, struct message_list *list)
{
    struct message *message;

    while ((message = message_list_take(list))) {
        if (!message->lane) {
            come_again(engine, message, true);
            continue;
        }
        tracker_finish(&message->lane->tracker, message->entry);
        message_list_append(&engine->finished, message);
    }
}
