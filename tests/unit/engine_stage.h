/* SPDX-License-Identifier: MIT
 * A stage for exact tests of single rules of the engine: the test says what is delivered, what each
 * invocation is answered and how long it takes, and reads a log of what was invoked when.
 *
 * Messages have one-letter names, `a`, `b`, ... in the order in which they are fed, whatever their
 * lane. An invocation in the log: `MS:NAMES=ANSWER`, MS the milliseconds since the test began. An
 * answer is one letter:
 *
 *   D done, F failed, P poison, X fatal, T throttled, U unavailable, H hangs (the test lands it),
 *   N names the bad messages, done with the others; Z names all of them
 *
 * Verdicts become durable at once, unless `stage->recorder_stands`. */
#ifndef ENGINE_STAGE_H
#define ENGINE_STAGE_H

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

#define STAGE_SEED   77
#define STAGE_LANES  4
#define STAGE_PLAYERS 128
#define STAGE_BEGIN_US (1000 * CLOCK_SECOND)
#define UNUSED       __attribute__((unused))

struct stage;

struct player {
    struct stage *stage;
    char name;
    char payload[32];
    char token[32];
    char key[8];
    bool bad;       /* batches with it are answered with stage->bad */
    char verdict;   /* . none, D done, + dead, = duplicate, - filtered; lower case: not durable */
    bool released, settled, suspected;
    uint32_t invoked;
    int64_t verdict_us;
    enum dead_letter_class class;
    char reason[256];
    struct message *message; /* while it has no verdict */
};

struct stage_flight {
    struct batch *batch;
    int64_t lands_us;
    char answer;
};

struct stage_token {
    char text[32];
    struct message *holder, *waiter;
    bool recorded;
    uint64_t fingerprint;
};

struct stage {
    struct rules rules;
    struct engine_ops ops;
    struct token_rule *token_rule;
    struct engine *engine;
    bool by_message;
    int64_t now_us;
    struct lane *lanes[STAGE_LANES];
    uint64_t positions[STAGE_LANES];
    int64_t settled[STAGE_LANES]; /* -1: nothing yet */
    bool paused[STAGE_LANES], drained[STAGE_LANES];
    struct player players[STAGE_PLAYERS];
    size_t player_count;

    const char *script;  /* an answer for each invocation, first; then as follows */
    char outage;         /* answers all until outage_to_us */
    int64_t outage_to_us;
    char bad;            /* answers a batch with a bad message; 0: F */
    int64_t takes_us;    /* each invocation */
    int64_t retry_after_us;

    bool recorder_stands;
    /* Set by tests with a park: records what is to be parked; feeds what is due and returns when to
     * go on. */
    void (*park_record)(struct stage *stage);
    int64_t (*park_feed)(struct stage *stage);
    struct stage_flight flights[64];
    size_t flight_count;
    struct stage_token tokens[16];
    size_t token_count;
    bool claim_posted;
    char log[16384];
    char events[1024];   /* one letter each: O gate opened, C closed, S suspect, + dead, = duplicate */
};

static struct player *player_of(const struct message *message)
{
    return message->source.handle;
}

/* ---- what the engine asks for ---- */

static char answer_to(struct stage *stage, const struct batch *batch)
{
    if (stage->script && *stage->script)
        return *stage->script++;
    if (stage->outage && stage->now_us < stage->outage_to_us)
        return stage->outage;
    for (const struct message *m = batch->messages.first; m; m = m->next)
        if (player_of(m)->bad)
            return stage->bad ? stage->bad : 'F';
    return 'D';
}

/* By the first letter of the payload: `-` is dropped, `+` cannot be told. */
UNUSED static enum filter_answer stage_filter(void *argument, const struct message *message,
                                              struct fault *why)
{
    char first = *(const char *)message->source.payload.data;

    assert_null(message->token);
    if (first == '+')
        fault_set(why, "it is not JSON");
    return first == '-' ? FILTER_DROP : first == '+' ? FILTER_DEAD_LETTER : FILTER_PASS;
}

static void stage_invoke(void *argument, struct batch *batch)
{
    struct stage *stage = argument;
    struct stage_flight *flight = &stage->flights[stage->flight_count++];
    size_t at = strlen(stage->log);

    assert_true(stage->flight_count <= 64);
    assert_true(at < sizeof stage->log - 256);
    at += (size_t)sprintf(stage->log + at, "%s%lld:", at ? " " : "",
                          (long long)((stage->now_us - STAGE_BEGIN_US) / CLOCK_MS));
    for (const struct message *m = batch->messages.first; m; m = m->next) {
        stage->log[at++] = player_of(m)->name;
        player_of(m)->invoked++;
        assert_false(player_of(m)->released);
    }
    *flight = (struct stage_flight){.batch = batch, .answer = answer_to(stage, batch)};
    flight->lands_us = flight->answer == 'H' ? CLOCK_NEVER : stage->now_us + stage->takes_us;
    sprintf(stage->log + at, "=%c", flight->answer);
}

static struct stage_token *stage_token(struct stage *stage, const struct message *message)
{
    struct stage_token *token;

    for (size_t i = 0; i < stage->token_count; i++)
        if (strlen(stage->tokens[i].text) == message->token_size &&
            !memcmp(stage->tokens[i].text, message->token, message->token_size))
            return &stage->tokens[i];
    token = &stage->tokens[stage->token_count++];
    assert_true(stage->token_count <= 16 && message->token_size < sizeof token->text);
    memcpy(token->text, message->token, message->token_size);
    return token;
}

static enum claim stage_claim(void *argument, struct message *message)
{
    struct stage_token *token = stage_token(argument, message);

    if (token->holder) {
        assert_null(token->waiter);
        token->waiter = message;
        return CLAIM_WAIT;
    }
    if (token->recorded)
        return token->fingerprint == message->fingerprint[0] ? CLAIM_RECORDED : CLAIM_CONFLICT;
    token->holder = message;
    return CLAIM_MINE;
}

static void stage_unclaim(void *argument, struct message *message)
{
    struct stage_token *token = stage_token(argument, message);

    if (token->waiter == message) {
        token->waiter = NULL;
        return;
    }
    assert_ptr_equal(token->holder, message);
    token->holder = NULL;
}

static size_t stage_lane_number(const struct stage *stage, const struct lane *lane)
{
    size_t number = 0;

    while (stage->lanes[number] != lane)
        assert_true(++number < STAGE_LANES);
    return number;
}

static void stage_settle(void *argument, struct lane *lane, const struct message *message,
                         uint64_t position)
{
    struct stage *stage = argument;

    if (message)
        player_of(message)->settled = true;
    else
        stage->settled[stage_lane_number(stage, lane)] = (int64_t)position;
}

static void stage_release(void *argument, void *handle)
{
    struct player *player = handle;

    assert_false(player->released);
    player->released = true;
}

static void stage_pause_lane(void *argument, struct lane *lane, bool paused)
{
    struct stage *stage = argument;

    stage->paused[stage_lane_number(stage, lane)] = paused;
}

static void stage_drained(void *argument, struct lane *lane)
{
    struct stage *stage = argument;

    stage->drained[stage_lane_number(stage, lane)] = true;
}

static size_t stage_headers(void *argument, const struct message *message,
                            struct sluice_header *ret, size_t room)
{
    return 0;
}

static void stage_fingerprint(const void *data, size_t size, uint64_t ret_value[2])
{
    const unsigned char *bytes = data;

    ret_value[0] = 1469598103934665603u;
    for (size_t i = 0; i < size; i++)
        ret_value[0] = (ret_value[0] ^ bytes[i]) * 1099511628211u;
    ret_value[1] = 0;
}

static void stage_sha256(const void *data, size_t size, char ret_hex[64])
{
    memset(ret_hex, '0', 64);
    memcpy(ret_hex, data, size < 64 ? size : 64);
}

static void stage_event(void *argument, enum engine_event event, const struct batch *batch,
                        const struct message *message, const char *text)
{
    static const char letters[] = {[ENGINE_GATE_OPENED] = 'O', [ENGINE_GATE_CLOSED] = 'C',
                                   [ENGINE_BATCH_FAILED] = 0,  [ENGINE_SUSPECT] = 'S',
                                   [ENGINE_DEAD] = '+',        [ENGINE_DUPLICATE] = '='};
    struct stage *stage = argument;
    struct player *player = message ? player_of(message) : NULL;

    if (letters[event] && strlen(stage->events) < sizeof stage->events - 1)
        stage->events[strlen(stage->events)] = letters[event];
    if (event == ENGINE_SUSPECT)
        player->suspected = true;
    if (event == ENGINE_DEAD) {
        player->class = message->dead_class;
        snprintf(player->reason, sizeof player->reason, "%s", text);
    }
}

/* ---- setting up ---- */

/* Rules of which each test changes what it is about: retries come at once, batches do not wait. */
UNUSED static struct stage *stage_new(void)
{
    struct stage *stage = memory_zero(1, sizeof *stage);

    stage->rules = (struct rules){
        .order = ORDER_LANE,
        .batch = {.size = 100, .bytes = 1 << 20},
        .token = {.source = TOKEN_POSITION},
        .retry = {.attempts = 3,
                  .patience_us = 2 * CLOCK_MINUTE,
                  .probe_first_us = 30 * CLOCK_SECOND,
                  .probe_most_us = 10 * CLOCK_MINUTE,
                  .split = true},
        .concurrency = {.least = 1, .most = 32},
        .buffer_messages = 10000,
        .buffer_bytes = 64 << 20,
        .distance = 100000,
    };
    stage->ops = (struct engine_ops){
        .invoke = stage_invoke,
        .claim = stage_claim,
        .unclaim = stage_unclaim,
        .settle = stage_settle,
        .release = stage_release,
        .pause_lane = stage_pause_lane,
        .lane_drained = stage_drained,
        .headers = stage_headers,
        .fingerprint = stage_fingerprint,
        .sha256 = stage_sha256,
        .event = stage_event,
    };
    stage->now_us = STAGE_BEGIN_US;
    for (size_t i = 0; i < STAGE_LANES; i++)
        stage->settled[i] = -1;
    return stage;
}

UNUSED static void stage_open_lane(struct stage *stage, size_t number, struct positions *finished)
{
    struct sluice_lane info = {.name = "orders/0", .source = "orders",
                               .partition = (int32_t)number};

    stage->lanes[number] = engine_lane_open(stage->engine, &info, finished);
    stage->paused[number] = stage->drained[number] = false;
}

/* Rules are set: makes the engine and opens so many lanes. */
UNUSED static void stage_begin(struct stage *stage, size_t lanes)
{
    struct fault fault;

    stage->token_rule = token_rule_new(&stage->rules.token, &fault);
    assert_non_null(stage->token_rule);
    stage->engine = engine_new(&stage->rules, stage->token_rule, !stage->by_message, &stage->ops,
                               stage, STAGE_SEED);
    for (size_t i = 0; i < lanes; i++)
        stage_open_lane(stage, i, NULL);
}

UNUSED static void stage_end(struct stage *stage)
{
    struct message_list list = {0};

    for (size_t i = 0; i < STAGE_LANES; i++)
        if (stage->lanes[i])
            engine_lane_lost(stage->engine, stage->lanes[i]);
    engine_take_finished(stage->engine, &list);
    engine_durable(stage->engine, &list);
    engine_free(stage->engine);
    token_rule_free(stage->token_rule);
    for (size_t i = 0; i < stage->player_count; i++)
        assert_true(stage->players[i].released);
    for (size_t i = 0; i < stage->token_count; i++)
        assert_null(stage->tokens[i].holder);
    free(stage);
}

/* ---- feeding ---- */

/* The next message of a lane at the next position; change it before stage_feed. Its payload is its
 * name. */
UNUSED static struct player *stage_player(struct stage *stage)
{
    struct player *player = &stage->players[stage->player_count];

    assert_true(stage->player_count < STAGE_PLAYERS);
    *player = (struct player){.stage = stage, .verdict = '.'};
    player->name = (char)(stage->player_count < 26 ? 'a' + stage->player_count
                          : stage->player_count < 52 ? 'A' + (stage->player_count - 26)
                                                     : '*');
    player->payload[0] = player->name;
    stage->player_count++;
    return player;
}

UNUSED static struct player *stage_feed(struct stage *stage, size_t lane, struct player *player)
{
    struct sluice_message message = {
        .lane = stage->lanes[lane],
        .handle = player,
        .position = stage->positions[lane]++,
        .payload = {player->payload, strlen(player->payload)},
    };

    if (player->key[0])
        message.key = (struct sluice_bytes){player->key, strlen(player->key)};
    if (player->token[0])
        message.message_id = (struct sluice_bytes){player->token, strlen(player->token)};
    engine_feed(stage->engine, &message, 1, stage->now_us);
    return player;
}

/* So many plain messages. Returns the first. */
UNUSED static struct player *stage_feed_many(struct stage *stage, size_t lane, size_t count)
{
    struct player *first = &stage->players[stage->player_count];

    for (size_t i = 0; i < count; i++)
        stage_feed(stage, lane, stage_player(stage));
    return first;
}

/* ---- time ---- */

static void note_verdicts(struct stage *stage, const struct message_list *list, bool durable)
{
    static const char letters[] = {[VERDICT_DONE] = 'D', [VERDICT_FILTERED] = '-',
                                   [VERDICT_DUPLICATE] = '=', [VERDICT_DEAD] = '+',
                                   [VERDICT_PARKED] = 'p'};

    for (const struct message *m = list->first; m; m = m->next) {
        player_of(m)->verdict = letters[m->verdict];
        player_of(m)->verdict_us = stage->now_us;
        if (durable && m->token && m->verdict == VERDICT_DONE) {
            stage_token(stage, m)->recorded = true;
            stage_token(stage, m)->fingerprint = m->fingerprint[0];
        }
    }
}

UNUSED static void stage_record(struct stage *stage)
{
    struct message_list list = {0};

    engine_take_dead(stage->engine, 1000, SIZE_MAX, &list);
    engine_buried(stage->engine, &list);
    if (stage->park_record)
        stage->park_record(stage);
    engine_take_finished(stage->engine, &list);
    note_verdicts(stage, &list, true);
    engine_durable(stage->engine, &list);
}

static void stage_land(struct stage *stage, size_t number)
{
    static const enum outcome_class classes[128] = {
        ['D'] = OUTCOME_DONE, ['F'] = OUTCOME_FAILED, ['P'] = OUTCOME_POISON,
        ['X'] = OUTCOME_FATAL, ['T'] = OUTCOME_THROTTLED, ['U'] = OUTCOME_UNAVAILABLE};
    struct stage_flight flight = stage->flights[number];
    char answer = flight.answer;
    struct outcome outcome = {.class = classes[(int)answer],
                              .retry_after_us = stage->retry_after_us};
    bool named[1000];
    size_t i = 0;

    stage->flights[number] = stage->flights[--stage->flight_count];
    if (answer == 'N' || answer == 'Z') {
        for (const struct message *m = flight.batch->messages.first; m; m = m->next)
            named[i++] = answer == 'Z' || player_of(m)->bad;
        outcome.named = named;
    }
    if (outcome.class != OUTCOME_DONE) {
        outcome.error = "it failed";
        outcome.status = 500;
    }
    engine_answer(stage->engine, flight.batch, &outcome, stage->now_us);
}

/* Lands the invocation in flight that has message `name`. */
UNUSED static void stage_answer(struct stage *stage, char name, char answer)
{
    for (size_t i = 0; i < stage->flight_count; i++)
        for (struct message *m = stage->flights[i].batch->messages.first; m; m = m->next)
            if (player_of(m)->name == name) {
                stage->flights[i].answer = answer;
                stage_land(stage, i);
                return;
            }
    fail_msg("%c is not in flight", name);
}

static bool land_due(struct stage *stage)
{
    for (size_t i = 0; i < stage->flight_count; i++)
        if (stage->flights[i].lands_us <= stage->now_us) {
            stage_land(stage, i);
            return true;
        }
    return false;
}

static bool answer_claims(struct stage *stage)
{
    for (size_t i = 0; i < stage->token_count; i++) {
        struct stage_token *token = &stage->tokens[i];

        if (token->waiter && !token->holder) {
            struct message *message = token->waiter;

            token->waiter = NULL;
            engine_claim_again(stage->engine, message);
            return true;
        }
    }
    return false;
}

/* Does all that is to be done at this moment; returns when there is more to do. */
UNUSED static int64_t stage_turn(struct stage *stage)
{
    int64_t at_us, due_us = CLOCK_NEVER;
    int turns = 0;

    do {
        if (++turns > 5000)
            fail_msg("the engine turns without end at one moment: ...%s",
                     stage->log + (strlen(stage->log) > 200 ? strlen(stage->log) - 200 : 0));
        at_us = engine_run(stage->engine, stage->now_us);
        if (!stage->recorder_stands)
            stage_record(stage);
        if (stage->park_feed)
            due_us = stage->park_feed(stage);
        at_us = due_us < at_us ? due_us : at_us;
    } while (land_due(stage) || answer_claims(stage) || at_us <= stage->now_us);
    for (size_t i = 0; i < stage->flight_count; i++)
        if (stage->flights[i].lands_us < at_us)
            at_us = stage->flights[i].lands_us;
    return at_us;
}

/* Lets time pass, from event to event. */
UNUSED static void stage_run(struct stage *stage, int64_t span_us)
{
    int64_t end_us = stage->now_us + span_us;

    for (;;) {
        int64_t at_us = stage_turn(stage);

        if (at_us > end_us)
            break;
        stage->now_us = at_us;
    }
    stage->now_us = end_us;
}

/* ---- what came of it ---- */

/* A letter for each message, see struct player. */
UNUSED static const char *stage_verdicts(const struct stage *stage)
{
    static char text[STAGE_PLAYERS + 1];

    for (size_t i = 0; i < stage->player_count; i++)
        text[i] = stage->players[i].verdict;
    text[stage->player_count] = 0;
    return text;
}

UNUSED static struct player *stage_named(struct stage *stage, char name)
{
    for (size_t i = 0; i < stage->player_count; i++)
        if (stage->players[i].name == name)
            return &stage->players[i];
    fail_msg("no message %c", name);
    return NULL;
}

#endif
