/* SPDX-License-Identifier: MIT
 * The simulated world of engine_world.h as the engine sees it: items, target, claims, and the
 * operations that the engine calls. */
#ifndef ENGINE_WORLD_OPS_H
#define ENGINE_WORLD_OPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/memory.h"
#include "core/engine.h"
#include "core/token.h"
#include "service/lot.h"

#define LANES_MOST   8
#define FLIGHTS_MOST 1000
#define UNUSED       __attribute__((unused))

struct world;

/* A message as its source has it. */
struct item {
    uint32_t lane, index;
    uint64_t position;
    int64_t at_us; /* when it appears at the source */
    char key[16];  /* empty: none */
    char token[16];
    char payload[64];
    size_t size;
    int poison; /* enum outcome_class of every batch that it is in; 0: none */
    bool named; /* the function names it as failed */
    enum filter_answer filtered;
    bool suspected, buried, durable, settled, late;
    bool torn; /* its lane was lost while what was recorded of it was on its way */
    uint32_t invoked, succeeded, duplicates, alone_failed, delivered;
    uint64_t done_number; /* order of the first success, 0: none */
    int64_t dead_us, done_us;
    enum dead_letter_class dead_class;
    char reason[256];
};

/* One delivery. Kept until the world ends, so that messages can be asked for their item; its bytes
 * go when the engine releases them, so that late reads are seen. */
struct handle {
    struct handle *next;
    struct item *item;
    char *bytes; /* key, then payload; NULL: released */
    int64_t arrived_us, first_failed_us, landed_us;
    uint32_t invoked;
    uint32_t counted; /* failures that may have cost it an attempt */
    bool other;       /* one of them was no plain failure */
    int64_t number;   /* of its row, 0: from the source */
    size_t parked_bytes;
    bool settled;     /* with the park */
};

/* A message in the store of the park. */
struct row {
    int64_t number;
    struct item *item;
    struct lot_place place;
    bool has_token, named, other;
    char token[80];
    size_t token_size;
    uint32_t attempts, counted;
    int64_t first_failed_us;
    uint32_t history_count, kept;
    struct dead_letter_attempt history[DEAD_LETTER_ATTEMPTS];
};

struct source_lane {
    char name[16];
    struct item *items;
    size_t count, next;
    struct lane *lane;    /* NULL: not ours now */
    uint64_t committed;   /* exclusive; what a new owner starts from */
    uint64_t committing;  /* asked for, not yet durable */
    int64_t commit_us;    /* 0: none under way */
    bool paused, drained;
    uint32_t generation;  /* how often it was assigned */
    struct buffer record; /* durable positions */
};

struct flight {
    struct batch *batch;
    int64_t due_us;
    struct outcome outcome;
    bool *named;
};

struct job {
    struct message_list messages;
    struct buffer values[LANES_MOST];
    bool writes[LANES_MOST];
    uint32_t generations[LANES_MOST];
    bool busy, failing;
    int64_t due_us, retry_us;
};

struct world_park {
    struct row *rows; /* durable */
    size_t row_count;
    struct lot *lot;
    int64_t numbers;
    struct job job;
    struct row *writing; /* by that job */
    int64_t *orphans, *unparked; /* unparked: by the job of the finished ones */
    size_t orphan_count, unparked_count, unparked_orphans; /* the latter come first */
    struct lane *lanes[LANES_MOST];
    size_t out, out_bytes;
    const struct message *has_it; /* a duplicate of what is parked */
};

struct token_entry {
    char token[80];
    size_t size;
    struct message *holder; /* NULL: free */
    bool recorded;
    uint64_t fingerprint[2];
};

struct world {
    struct rules rules;
    struct token_rule *token_rule;
    struct engine *engine;
    bool by_message; /* the source settles messages one by one */
    bool silent_source; /* does not tell what it knows to be settled */
    bool stable;        /* its names of messages are known again after a crash */
    uint32_t many;      /* deliveries from which on messages are endangered; 0: they never are */
    int64_t now_us, step_us;
    uint32_t steps_now;
    struct random random;

    struct source_lane lanes[LANES_MOST];
    size_t lane_count;
    struct handle *handles;
    size_t handle_count, handle_bytes;

    struct flight flights[FLIGHTS_MOST];
    size_t flight_count, flights_most_seen;
    struct job finished, dead;
    struct world_park park;
    struct token_entry *tokens;
    size_t token_count;
    struct message *waiters[4096];
    bool posted[4096];
    size_t waiter_count;

    /* The target. */
    int64_t outage_from_us, outage_to_us;
    enum outcome_class outage;
    int64_t retry_after_us, latency_us;
    uint32_t failing_percent; /* of invocations, at random */
    enum outcome_class failing;
    int64_t heals_us;         /* random failures end then; 0: never */
    void (*target)(struct world *world, struct flight *flight); /* instead of all this */

    /* The recorder. */
    int64_t record_us;
    int64_t record_fails_until_us;
    uint32_t record_fails_percent;

    uint64_t done_numbers;
    uint64_t invocations, dead_letters, late, late_unsuspected, gates_opened, parked;
    size_t biggest_batch, biggest_bytes;
    int64_t last_probe_us;
};

static struct handle *handle_of(const struct message *message)
{
    return message->source.handle;
}

static struct item *item_of(const struct message *message)
{
    return handle_of(message)->item;
}

/* Whether the park has it, durably. */
static bool is_kept(const struct world *world, const struct item *item)
{
    for (size_t i = 0; i < world->park.row_count; i++)
        if (world->park.rows[i].item == item)
            return true;
    return false;
}

static bool item_over(const struct item *item)
{
    return item->durable;
}

/* ---- what the engine asks for ---- */

static void decide(struct world *world, struct flight *flight)
{
    struct batch *batch = flight->batch;
    struct outcome *outcome = &flight->outcome;
    size_t i = 0;
    bool any = false;

    if (world->now_us >= world->outage_from_us && world->now_us < world->outage_to_us) {
        outcome->class = world->outage;
        outcome->retry_after_us = world->retry_after_us;
    } else if (world->failing_percent && (!world->heals_us || world->now_us < world->heals_us) &&
               (uint32_t)random_up_to(&world->random, 99) < world->failing_percent) {
        outcome->class = world->failing;
    }
    if (outcome->class != OUTCOME_DONE)
        return;
    for (struct message *m = batch->messages.first; m; m = m->next)
        if (item_of(m)->poison)
            outcome->class = (enum outcome_class)item_of(m)->poison;
    if (outcome->class != OUTCOME_DONE)
        return;
    flight->named = memory_zero(batch->messages.count, 1);
    for (struct message *m = batch->messages.first; m; m = m->next)
        any |= flight->named[i++] = item_of(m)->named;
    if (any)
        outcome->named = flight->named;
}

static void note_success(struct world *world, struct item *item)
{
    struct source_lane *lane = &world->lanes[item->lane];

    item->succeeded++;
    if (item->done_number)
        return;
    item->done_number = ++world->done_numbers;
    item->done_us = world->now_us;
    if (world->rules.order == ORDER_NONE ||
        (world->rules.order == ORDER_KEY && !item->key[0]))
        return;
    for (size_t i = item->index + 1; i < lane->count; i++)
        if (lane->items[i].done_number &&
            (world->rules.order == ORDER_LANE || !strcmp(lane->items[i].key, item->key))) {
            item->late = true;
            world->late++;
            /* One given up steps aside too; it comes again if its letter was not yet written. */
            world->late_unsuspected += !item->suspected && !item->dead_us;
            break;
        }
}

static void check_concurrent(const struct world *world, const struct batch *batch)
{
    for (const struct message *m = batch->messages.first; m; m = m->next)
        for (size_t i = 0; world->rules.order != ORDER_NONE && i < world->flight_count; i++)
            for (const struct message *o = world->flights[i].batch->messages.first; o; o = o->next)
                if (o->lane && item_of(o)->lane == item_of(m)->lane &&
                    (world->rules.order == ORDER_LANE ||
                     (item_of(m)->key[0] && !strcmp(item_of(o)->key, item_of(m)->key))))
                    fail_msg("two batches of one lane or key are in flight");
}

/* A batch of messages that were not tried before closes on count, bytes or window. */
static void check_closed(const struct world *world, const struct batch *batch)
{
    const struct rules *rules = &world->rules;

    if (rules->order != ORDER_LANE || rules->token.source != TOKEN_POSITION ||
        gate_probing(engine_gate(world->engine)) || engine_suspects(world->engine))
        return;
    for (const struct message *m = batch->messages.first; m; m = m->next)
        if (handle_of(m)->invoked || m->from_park) /* which has a token: some may be duplicates */
            return;
    if (batch->messages.count < rules->batch.size &&
        batch->messages.bytes + sizeof(struct item) < rules->batch.bytes &&
        world->now_us < handle_of(batch->messages.first)->arrived_us + rules->batch.window_us)
        fail_msg("a batch of %zu messages closed before its window", batch->messages.count);
}

static void check_age(const struct world *world, const struct message *message)
{
    const struct handle *handle = handle_of(message);
    int64_t ends_us = handle->first_failed_us + world->rules.retry.age_us;

    if (world->rules.retry.age_us && handle->first_failed_us && world->now_us >= ends_us)
        fail_msg("%u/%u is invoked although it is too old", handle->item->lane,
                 handle->item->index);
}

static struct token_entry *token_entry(struct world *world, const struct message *message)
{
    for (size_t i = 0; i < world->token_count; i++)
        if (world->tokens[i].size == message->token_size &&
            !memcmp(world->tokens[i].token, message->token, message->token_size))
            return &world->tokens[i];
    world->tokens = memory_resize(world->tokens, world->token_count + 1, sizeof *world->tokens);
    world->tokens[world->token_count] = (struct token_entry){.size = message->token_size};
    memcpy(world->tokens[world->token_count].token, message->token, message->token_size);
    return &world->tokens[world->token_count++];
}

static void check_token(struct world *world, const struct message *message)
{
    /* One in conflict has no claim. */
    const struct token_entry *entry = message->claimed ? token_entry(world, message) : NULL;

    if (entry && entry->recorded && entry->fingerprint[0] == message->fingerprint[0])
        fail_msg("%u/%u is invoked although its token is recorded", item_of(message)->lane,
                 item_of(message)->index);
}

static void world_invoke(void *argument, struct batch *batch)
{
    struct world *world = argument;
    struct flight flight = {.batch = batch, .due_us = world->now_us + 1 +
                                                      random_up_to(&world->random,
                                                                   world->latency_us)};
    size_t i = 0;

    check_concurrent(world, batch);
    check_closed(world, batch);
    assert_true(batch->messages.count >= 1 && batch->messages.count <= world->rules.batch.size);
    if (batch->messages.count > 1)
        assert_true(batch->messages.bytes <= world->rules.batch.bytes);
    world->invocations++;
    world->last_probe_us = world->now_us;
    if (batch->messages.count > world->biggest_batch)
        world->biggest_batch = batch->messages.count;
    for (struct message *m = batch->messages.first; m; m = m->next) {
        struct item *item = item_of(m);

        if (item->durable && !item->token[0] && !item->torn && world->stable)
            fail_msg("%u/%llu was finished durably and is invoked again", item->lane,
                     (unsigned long long)item->position);
        if (m->lane->closing)
            fail_msg("a message of a closing lane is invoked");
        check_age(world, m);
        check_token(world, m);
        assert_int_equal(item->filtered, FILTER_PASS);
        item->invoked++;
        handle_of(m)->invoked++;
        assert_memory_equal(m->source.payload.data, item->payload, item->size);
    }
    if (world->target)
        world->target(world, &flight);
    else
        decide(world, &flight);
    flight.outcome.error = flight.outcome.class == OUTCOME_DONE ? NULL : "it failed";
    flight.outcome.status = flight.outcome.class == OUTCOME_DONE ? 200 : 500;
    for (struct message *m = batch->messages.first; m; m = m->next, i++)
        if (flight.outcome.class == OUTCOME_DONE &&
            !(flight.outcome.named && flight.outcome.named[i]))
            note_success(world, item_of(m));
        else if (batch->messages.count == 1)
            item_of(m)->alone_failed++;
    assert_true(world->flight_count < FLIGHTS_MOST);
    world->flights[world->flight_count++] = flight;
    assert_true(world->flight_count <= world->rules.concurrency.most);
    if (world->flight_count > world->flights_most_seen)
        world->flights_most_seen = world->flight_count;
}

static enum claim world_claim(void *argument, struct message *message)
{
    struct world *world = argument;
    struct token_entry *entry = token_entry(world, message);

    assert_int_equal(item_of(message)->filtered, FILTER_PASS);
    if (entry->holder) {
        assert_true(entry->holder != message);
        assert_true(world->waiter_count < 4096);
        world->posted[world->waiter_count] = false;
        world->waiters[world->waiter_count++] = message;
        message->waiter = message;
        return CLAIM_WAIT;
    }
    if (entry->recorded)
        return entry->fingerprint[0] == message->fingerprint[0] ? CLAIM_RECORDED : CLAIM_CONFLICT;
    entry->holder = message;
    return CLAIM_MINE;
}

static void world_unclaim(void *argument, struct message *message)
{
    struct world *world = argument;
    struct token_entry *entry = token_entry(world, message);

    if (message->waiter) {
        for (size_t i = 0; i < world->waiter_count; i++)
            if (world->waiters[i] == message)
                world->waiters[i] = NULL;
        message->waiter = NULL;
        return;
    }
    assert_ptr_equal(entry->holder, message);
    entry->holder = NULL;
    message->claimed = false;
    for (size_t i = 0; i < world->waiter_count; i++)
        if (world->waiters[i] && token_entry(world, world->waiters[i]) == entry)
            world->posted[i] = true;
}

static struct source_lane *source_of(struct world *world, const struct lane *lane)
{
    return lane->cookie;
}

static void world_settle(void *argument, struct lane *lane, const struct message *message,
                         uint64_t position)
{
    struct world *world = argument;
    struct source_lane *source = source_of(world, lane);

    if (world->by_message) {
        assert_non_null(message);
        assert_true(item_of(message)->durable || is_kept(world, item_of(message)));
        assert_false(item_of(message)->settled);
        item_of(message)->settled = true;
        return;
    }
    assert_null(message);
    assert_true(position + 1 >= source->committing);
    for (size_t i = 0; i < source->count && source->items[i].position <= position; i++)
        if (!source->items[i].durable && !is_kept(world, &source->items[i]))
            fail_msg("settled %s up to %llu over %llu, which is not durable", source->name,
                     (unsigned long long)position,
                     (unsigned long long)source->items[i].position);
    source->committing = position + 1;
    if (!source->commit_us)
        source->commit_us = world->now_us + 1 + random_up_to(&world->random, CLOCK_SECOND);
}

static struct handle *handle_new(struct world *world, struct item *item)
{
    struct handle *handle = memory_zero(1, sizeof *handle);
    size_t key = strlen(item->key);

    handle->item = item;
    handle->arrived_us = world->now_us;
    handle->bytes = memory_new(key + item->size + 1);
    memcpy(handle->bytes, item->key, key);
    memcpy(handle->bytes + key, item->payload, item->size);
    handle->next = world->handles;
    world->handles = handle;
    world->handle_count++;
    world->handle_bytes += key + item->size;
    return handle;
}

static void world_release(void *argument, void *pointer)
{
    struct world *world = argument;
    struct handle *handle = pointer;

    assert_non_null(handle->bytes); /* once only */
    free(handle->bytes);
    handle->bytes = NULL;
    world->handle_count--;
    world->handle_bytes -= handle->item->size + strlen(handle->item->key);
}

static void world_pause_lane(void *argument, struct lane *lane, bool paused)
{
    struct source_lane *source = source_of(argument, lane);

    if (lane->parked)
        return;
    assert_true(source->paused != paused);
    source->paused = paused;
}

static void world_drained(void *argument, struct lane *lane)
{
    if (!lane->parked)
        source_of(argument, lane)->drained = true;
}

static size_t world_headers(void *argument, const struct message *message,
                            struct sluice_header *ret, size_t room)
{
    return 0;
}

static void world_fingerprint(const void *data, size_t size, uint64_t ret_value[2])
{
    const unsigned char *bytes = data;

    ret_value[0] = UINT64_C(1469598103934665603);
    for (size_t i = 0; i < size; i++)
        ret_value[0] = (ret_value[0] ^ bytes[i]) * UINT64_C(1099511628211);
    ret_value[1] = ~ret_value[0];
}

static void world_sha256(const void *data, size_t size, char ret_hex[64])
{
    uint64_t value[2];
    char text[65];

    world_fingerprint(data, size, value);
    snprintf(text, sizeof text, "%064llx", (unsigned long long)value[0]);
    memcpy(ret_hex, text, 64);
}

static enum filter_answer world_filter(void *argument, const struct message *message,
                                       struct fault *why)
{
    assert_null(message->token);
    fault_set(why, "it cannot be told");
    return item_of(message)->filtered;
}

static void check_dead(const struct world *world, const struct message *message)
{
    const struct retry_settings *retry = &world->rules.retry;
    const struct handle *handle = handle_of(message);
    uint32_t counted = handle->counted;

    switch (message->dead_class) {
    case DEAD_AGE:
        /* At that very moment, or when what was in flight then landed. */
        if (world->now_us < handle->first_failed_us + retry->age_us ||
            (world->now_us > handle->first_failed_us + retry->age_us &&
             world->now_us > handle->landed_us && !message->token && !message->from_park))
            fail_msg("%u/%u ended %lld us after its age", handle->item->lane, handle->item->index,
                     (long long)(world->now_us - handle->first_failed_us - retry->age_us));
        break;
    case DEAD_ATTEMPTS:
        if (counted < retry->attempts ||
            (!retry->patience_us && counted > retry->attempts && !handle->other &&
             !world->gates_opened))
            fail_msg("%u/%u was given up after %u attempts of %u", handle->item->lane,
                     handle->item->index, counted, retry->attempts);
        break;
    case DEAD_PATIENCE:
        assert_true(retry->patience_us > 0);
        break;
    case DEAD_NAMED:
        assert_true(handle->item->named && message->attempts >= retry->attempts);
        break;
    case DEAD_TOKEN_MISSING:
        assert_false(handle->item->token[0] ||
                     world->rules.token.on_missing != TOKEN_MISSING_DEAD_LETTER);
        break;
    case DEAD_TOKEN_CONFLICT:
        assert_int_equal(world->rules.token.on_conflict, TOKEN_CONFLICT_DEAD_LETTER);
        break;
    case DEAD_FILTERED:
        assert_int_equal(handle->item->filtered, FILTER_DEAD_LETTER);
        assert_string_equal(message->reason, "it cannot be told");
        break;
    default:
        assert_int_equal(message->dead_class, DEAD_POISON);
    }
}

static void world_event(void *argument, enum engine_event event, const struct batch *batch,
                        const struct message *message, const char *text)
{
    struct world *world = argument;

    if (event == ENGINE_SUSPECT)
        item_of(message)->suspected = true;
    if (event == ENGINE_DUPLICATE)
        item_of(message)->duplicates += message != world->park.has_it;
    world->park.has_it = NULL;
    if (event == ENGINE_GATE_OPENED)
        world->gates_opened++;
    if (event == ENGINE_DEAD) {
        check_dead(world, message);
        item_of(message)->dead_class = message->dead_class;
        item_of(message)->dead_us = world->now_us;
        snprintf(item_of(message)->reason, sizeof item_of(message)->reason, "%s", text);
    }
}

#endif
