/* SPDX-License-Identifier: MIT
 * The engine's life: messages coming in, verdicts going out. */
#include "core/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/engine_inside.h"

#define FREE_MESSAGES_MOST 16384
#define HEADERS_MOST       256
#define WITNESS_ROOM       8 /* messages over the buffer's bound */
/* How many buffers of messages may be held in all: those with a verdict wait for their record, and a
 * commit of the recorder must not hold up the target. What they hold of memory counts in bytes. */
#define HELD_FACTOR        4

struct engine *engine_new(const struct rules *rules, const struct token_rule *token_rule,
                          bool settle_up_to, const struct engine_ops *ops, void *argument,
                          uint64_t seed)
{
    struct engine *engine = memory_zero(1, sizeof *engine);

    engine->rules = rules;
    engine->token_rule = token_rule;
    engine->settle_up_to = settle_up_to;
    engine->ops = ops;
    engine->argument = argument;
    engine->random.state = seed ? seed : 1;
    engine->run = 1;
    engine->age_at_us = CLOCK_NEVER;
    engine->patience_us = rules->retry.patience_us;
    gate_init(&engine->gate, &rules->concurrency);
    buffer_init(&engine->token, TOKEN_BYTES_MOST);
    return engine;
}

void engine_free(struct engine *engine)
{
    struct message *message;
    struct batch *batch;

    if (!engine)
        return;
    assert(!engine->lanes);
    while ((message = message_list_take(&engine->finished)) ||
           (message = message_list_take(&engine->dead)))
        engine_discard(engine, message);
    engine_take_parked(engine, SIZE_MAX, SIZE_MAX, &(struct message_list){0}); /* orphans all */
    while ((batch = engine->flying)) {
        engine->flying = batch->next_flying;
        engine_drop(engine, batch);
    }
    while ((batch = batch_heap_first(&engine->waiting))) {
        batch_heap_remove(&engine->waiting, batch);
        engine_drop(engine, batch);
    }
    while ((message = engine->free_messages)) {
        engine->free_messages = message->next;
        free(message);
    }
    batch_heap_fini(&engine->waiting);
    buffer_fini(&engine->token);
    free(engine->slots);
    free(engine);
}

/* ---- messages in ---- */

/* Where all that is held has failed, whether the target lives is for others to show. */
static bool wants_witness(const struct engine *engine)
{
    return engine->unjudged && !engine->untried && engine->unjudged == engine->held &&
           engine->held < engine->rules->buffer_messages + WITNESS_ROOM;
}

struct sluice_room engine_room(const struct engine *engine)
{
    const struct rules *rules = engine->rules;
    struct sluice_room room = {0};

    if (engine->unjudged < rules->buffer_messages &&
        engine->held < HELD_FACTOR * (size_t)rules->buffer_messages &&
        engine->held_bytes < rules->buffer_bytes) {
        room.messages = rules->buffer_messages - engine->unjudged;
        room.bytes = rules->buffer_bytes - engine->held_bytes;
    } else if (wants_witness(engine)) {
        room.messages = 1;
        room.bytes = rules->batch.bytes;
    }
    return room;
}

bool engine_needs_witness(const struct engine *engine)
{
    enum gate_state state = engine->gate.state;

    return (state == GATE_FAILING || state == GATE_PAUSED || engine->suspects.count) &&
           engine->untried <= danger_behind(engine) && engine_askable(engine) < WITNESS_ROOM;
}

bool engine_lacks_work(const struct engine *engine)
{
    return !engine->untried && engine->unjudged < engine->rules->batch.size;
}

/* Whether of each that bounds the buffer, messages and bytes, less than so many eighths are taken. */
static bool takes_less(const struct engine *engine, size_t eighths)
{
    return 8 * engine->held < eighths * engine->rules->buffer_messages &&
           8 * engine->held_bytes < eighths * engine->rules->buffer_bytes;
}

/* A lane that waits must not take all the room from the others. Where all are equally busy, the
 * room as a whole is limit enough: pausing one after the other would only cost. So it would while there
 * is room for all, and one lane alone must fill as many invocations as there may be. What comes from the
 * park is held back there. */
static void check_pause(struct engine *engine, struct lane *lane)
{
    const struct rules *rules = engine->rules;
    size_t others = engine->lane_count - engine->park_lanes, lanes = others ? others : 1;
    size_t share = rules->buffer_messages / lanes;
    size_t most = share > 2 * rules->batch.size ? share : 2 * rules->batch.size;
    uint64_t distance = tracker_distance(&lane->tracker);
    bool greedy = lanes > 1 && lane->unfinished >= most && !takes_less(engine, 6) &&
                  2 * lane->unfinished * lanes >= 3 * engine->held;
    bool full = greedy || distance >= rules->distance;
    bool free_again = (lane->unfinished <= most / 2 || takes_less(engine, 5)) &&
                      distance <= rules->distance / 2;

    if (full != lane->paused && (full || free_again)) {
        lane->paused = full;
        engine->ops->pause_lane(engine->argument, lane, full);
    }
}

static struct message *message_take_free(struct engine *engine)
{
    struct message *message = engine->free_messages;

    if (message) {
        engine->free_messages = message->next;
        engine->free_count--;
        __builtin_prefetch(message->next, 1);
    } else {
        message = memory_new(sizeof *message);
    }
    memset(message, 0, offsetof(struct message, token_inline));
    return message;
}

static bool finished_before(struct lane *lane, uint64_t position)
{
    if (!lane->finished_before.count)
        return false;
    if (!lane->first_seen && position < lane->finished_before.base) {
        positions_fini(&lane->finished_before); /* rewound on purpose */
        return false;
    }
    if (positions_contain(&lane->finished_before, position))
        return true;
    if (position > lane->finished_before.ranges[lane->finished_before.count - 1].last)
        positions_fini(&lane->finished_before);
    return false;
}

/* Derives the token. False: the message got its verdict instead. */
static bool take_token(struct engine *engine, struct message *message)
{
    const struct token_settings *settings = token_rule_settings(engine->token_rule);
    struct sluice_header headers[HEADERS_MOST];
    struct fault why = {.text = ""};
    char hex[64];
    size_t count = 0;

    if (settings->source == TOKEN_HASH) {
        engine->ops->sha256(message->source.payload.data, message->source.payload.size, hex);
        message_set_token(message, hex, sizeof hex);
    } else {
        if (settings->source == TOKEN_HEADER && message->source.has_headers) {
            count = engine->ops->headers(engine->argument, message, headers, HEADERS_MOST);
            count = count < HEADERS_MOST ? count : HEADERS_MOST;
        }
        buffer_reset(&engine->token);
        if (token_find(engine->token_rule, &message->source, headers, count, &engine->token, &why)) {
            message_set_token(message, engine->token.data, engine->token.size);
        } else if (settings->on_missing == TOKEN_MISSING_DEAD_LETTER) {
            engine_bury(engine, message, DEAD_TOKEN_MISSING, why.text);
            return false;
        } else {
            return true; /* its position is its token, guarded like all positions */
        }
    }
    engine->ops->fingerprint(message->source.payload.data, message->source.payload.size,
                             message->fingerprint);
    return true;
}

/* False: the message got its verdict instead. */
static bool pass_filter(struct engine *engine, struct message *message)
{
    struct fault why = {.text = ""};

    if (!engine->ops->filter)
        return true;
    switch (engine->ops->filter(engine->argument, message, &why)) {
    case FILTER_PASS:
        return true;
    case FILTER_DROP:
        engine->counts.filtered++;
        engine_finish(engine, message, VERDICT_FILTERED);
        break;
    case FILTER_DEAD_LETTER:
        engine->counts.filtered++;
        engine_bury(engine, message, DEAD_FILTERED, why.text);
        break;
    case FILTER_FOREIGN:
        engine_bury(engine, message, DEAD_FOREIGN, why.text);
        break;
    }
    return false;
}

/* Deliveries that the source counted, to a process before this one for example, count as attempts; but
 * whatever it counted, at least one is made here. */
static uint32_t attempts_elsewhere(const struct engine *engine, const struct sluice_message *source)
{
    uint32_t most = engine->rules->retry.attempts - 1;

    return source->delivery_count < most ? source->delivery_count : most;
}

struct message *engine_take_in(struct engine *engine, const struct sluice_message *source,
                               int64_t now_us)
{
    struct lane *lane = source->lane;
    struct message *message = message_take_free(engine);

    message->source = *source;
    message->attempts = attempts_elsewhere(engine, source);
    message->bytes = source->key.size + source->payload.size;
    message->lane = lane;
    message->held = true;
    message->arrived_us = now_us;
    message->entry =
        tracker_add(&lane->tracker, lane->parked ? lane->tracker.next : source->position);
    message->live_next = lane->live;
    if (lane->live)
        lane->live->live_previous = message;
    else
        lane->oldest = message;
    lane->live = message;
    lane->unfinished++;
    engine->held++;
    engine->held_bytes += message->bytes;
    engine->unjudged++;
    engine->untried++;
    return message;
}

static void feed_one(struct engine *engine, const struct sluice_message *source, int64_t now_us)
{
    struct lane *lane = source->lane;
    struct message *message = engine_take_in(engine, source, now_us);

    engine->counts.received++;
    if (finished_before(lane, source->position)) {
        engine->counts.duplicates++;
        engine->ops->event(engine->argument, ENGINE_DUPLICATE, NULL, message, NULL);
        engine_finish(engine, message, VERDICT_DUPLICATE);
    } else if (pass_filter(engine, message) &&
               (token_rule_is_positional(engine->token_rule) || take_token(engine, message)) &&
               !engine_park_takes(engine, message)) {
        message->strand = strand_of(engine, lane, source);
        if (!danger_take(engine, message))
            strand_append(engine, message->strand, message);
    }
    lane_note_delivered(lane, source->position);
}

void engine_feed(struct engine *engine, const struct sluice_message *messages, size_t count,
                 int64_t now_us)
{
    struct lane *lane = NULL;

    for (size_t i = 0; i < count; i++) {
        if (lane && lane != messages[i].lane)
            check_pause(engine, lane);
        lane = messages[i].lane;
        feed_one(engine, &messages[i], now_us);
    }
    if (lane)
        check_pause(engine, lane);
}

void engine_claim_again(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    assert(message->place == PLACE_CLAIM);
    if (strand->blocked) {
        strand->blocked = false;
        message->place = PLACE_WAITING;
        strand_update(engine, strand);
    } else {
        strand_restore(engine, message);
    }
}

/* ---- verdicts out ---- */

void engine_release(struct engine *engine, struct message *message)
{
    if (!message->held)
        return;
    message->held = false;
    engine->held_bytes -= message->bytes;
    if (message->from_park)
        engine->ops->release_parked(engine->argument, message->source.handle);
    else
        engine->ops->release(engine->argument, message->source.handle);
    message->source.key.data = message->source.payload.data = NULL;
    message->source.identity.data = message->source.message_id.data = NULL;
}

/* Gives a verdict; the message is in no batch and no strand any more. */
void engine_finish(struct engine *engine, struct message *message, enum verdict verdict)
{
    message->verdict = (uint8_t)verdict;
    message->place = PLACE_JUDGED;
    if (verdict == VERDICT_DEAD || verdict == VERDICT_PARKED) {
        message_list_append(verdict == VERDICT_DEAD ? &engine->dead : &engine->parked, message);
    } else {
        if (message->lane)
            tracker_finish(&message->lane->tracker, message->entry);
        if (engine->settle_up_to && !message->from_park)
            engine_release(engine, message);
        message_list_append(&engine->finished, message);
    }
    if (message->lane) {
        engine_leave_unjudged(engine, message);
        message->lane->judged++;
    }
}

void engine_bury(struct engine *engine, struct message *message, enum dead_letter_class class,
                 const char *reason)
{
    message->dead_class = (uint8_t)class;
    message->reason = memory_text(reason);
    engine->counts.dead++;
    engine->ops->event(engine->argument, ENGINE_DEAD, NULL, message, reason);
    engine_finish(engine, message, VERDICT_DEAD);
}

void engine_unclaim(struct engine *engine, struct message *message)
{
    if (message->claimed)
        engine->ops->unclaim(engine->argument, message);
    message->claimed = false;
}

/* Frees an orphan, or a message that is durable. */
void engine_discard(struct engine *engine, struct message *message)
{
    if (message->place == PLACE_CLAIM)
        engine->ops->unclaim(engine->argument, message);
    engine_unclaim(engine, message);
    message_fini(message);
    if (engine->free_count < FREE_MESSAGES_MOST) {
        message->next = engine->free_messages;
        engine->free_messages = message;
        engine->free_count++;
    } else {
        free(message);
    }
}

void engine_take_finished(struct engine *engine, struct message_list *ret_list)
{
    engine_park_drop_lost(engine);
    message_list_join(ret_list, &engine->finished);
}

void engine_take_dead(struct engine *engine, size_t most, size_t most_bytes,
                      struct message_list *ret_list)
{
    struct message *message;

    /* An orphan's payload is gone; whoever has the lane now gets the message again. */
    while (ret_list->count < most && ret_list->bytes < most_bytes &&
           (message = message_list_take(&engine->dead)))
        if (message->lane)
            message_list_append(ret_list, message);
        else
            engine_discard(engine, message);
}

static void settle_one(struct engine *engine, struct message *message)
{
    struct lane *lane = message->lane;

    if (tracker_durable(&lane->tracker, message->entry))
        lane->to_settle = !lane->parked;
    if (!engine->settle_up_to || message->from_park)
        engine->ops->settle(engine->argument, lane, message, message->source.position);
    engine_release(engine, message);
    engine_unlink_live(message);
    lane->judged--;
    lane->unfinished--;
    engine->held--;
    engine->counts.settled += !message->from_park;
}

void engine_durable(struct engine *engine, struct message_list *list)
{
    struct message *message;

    while ((message = message_list_take(list))) {
        engine_park_begin(engine, message);
        if (message->lane)
            settle_one(engine, message);
        engine_discard(engine, message);
    }
    for (struct lane *lane = engine->lanes; lane; lane = lane->next) {
        if (lane->to_settle && engine->settle_up_to)
            engine->ops->settle(engine->argument, lane, NULL, lane->tracker.watermark);
        lane->to_settle = false;
        check_pause(engine, lane);
        engine_check_drained(engine, lane);
    }
}

void engine_buried(struct engine *engine, struct message_list *list)
{
    struct message *message;

    while ((message = message_list_take(list))) {
        if (message->lane)
            tracker_finish(&message->lane->tracker, message->entry);
        message_list_append(&engine->finished, message);
    }
}

/* ---- looking in ---- */

const struct gate *engine_gate(const struct engine *engine)
{
    return &engine->gate;
}

const struct engine_counts *engine_counts(const struct engine *engine)
{
    return &engine->counts;
}

size_t engine_unfinished(const struct engine *engine)
{
    return engine->held;
}

size_t engine_unjudged(const struct engine *engine)
{
    return engine->unjudged;
}

size_t engine_askable(const struct engine *engine)
{
    return engine->unjudged - danger_behind(engine);
}

size_t engine_waiting_retries(const struct engine *engine)
{
    return engine->waiting.count;
}

size_t engine_suspects(const struct engine *engine)
{
    return engine->suspects.count;
}

size_t engine_held_bytes(const struct engine *engine)
{
    return engine->held_bytes;
}
