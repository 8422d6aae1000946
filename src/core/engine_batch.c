/* SPDX-License-Identifier: MIT
 * From strands to batches, and from answers to verdicts. */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "core/engine_inside.h"
#include "core/retry.h"

void engine_drop(struct engine *engine, struct batch *batch)
{
    while (batch) {
        struct batch *then = batch->then;
        struct message *message;

        while ((message = message_list_take(&batch->messages)))
            engine_discard(engine, message);
        batch_free(batch);
        batch = then;
    }
}

/* A message leaves its batch to get a verdict; its strand may go on. */
void engine_leave(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    strand_leave(engine, strand);
    message->strand = NULL;
    strand_drop_if_empty(engine, strand);
}

void engine_wait(struct engine *engine, struct batch *batch, int64_t due_us)
{
    batch_heap_add(&engine->waiting, batch, due_us);
}

void engine_resolve(struct engine *engine, struct batch *batch, int64_t now_us)
{
    if (batch->then)
        engine_wait(engine, batch->then, now_us);
    batch_free(batch);
}

void engine_retry(struct engine *engine, struct batch *batch, uint32_t failures, int64_t floor_us,
                  bool own, int64_t now_us)
{
    const struct retry_settings *retry = &engine->rules->retry;
    int64_t delay_us = 0;

    if (batch->messages.count) {
        engine->counts.retried += batch->messages.count;
        delay_us = retry_delay(retry->backoff_first_us, retry->backoff_most_us, failures, floor_us,
                               &engine->random);
        if (own)
            engine_park(engine, batch, delay_us, now_us);
    }
    if (batch->messages.count)
        engine_wait(engine, batch, now_us + delay_us);
    else
        engine_resolve(engine, batch, now_us);
}

/* ---- building ---- */

/* Whether the claim lets the message into a batch. False: it was dealt with otherwise. */
static bool admit(struct engine *engine, struct strand *strand, struct message *message)
{
    const struct token_settings *settings = token_rule_settings(engine->token_rule);

    if (!message->token || message->claimed)
        return true;
    switch (engine->ops->claim(engine->argument, message)) {
    case CLAIM_MINE:
        message->claimed = true;
        return true;
    case CLAIM_WAIT:
        message->place = PLACE_CLAIM;
        if (strand->parallel)
            strand_take(engine, strand);
        else
            strand->blocked = true;
        return false;
    case CLAIM_CONFLICT:
        if (settings->on_conflict == TOKEN_CONFLICT_INVOKE)
            return true;
        strand_take(engine, strand);
        message->strand = NULL;
        if (settings->on_conflict == TOKEN_CONFLICT_DEAD_LETTER) {
            engine_bury(engine, message, DEAD_TOKEN_CONFLICT,
                        "its token was recorded for another payload");
            return false;
        }
        break;
    case CLAIM_RECORDED:
        strand_take(engine, strand);
        message->strand = NULL;
        break;
    }
    engine->counts.duplicates++;
    engine->ops->event(engine->argument, ENGINE_DUPLICATE, NULL, message, NULL);
    engine_finish(engine, message, VERDICT_DUPLICATE);
    return false;
}

/* Moves what fits from one strand into the batch. */
static void gather(struct engine *engine, struct strand *strand, struct batch *batch, size_t most,
                   int64_t now_us)
{
    const struct batch_settings *settings = &engine->rules->batch;

    while (strand->waiting.first && !strand->blocked && batch->messages.count < most) {
        struct message *message = strand->waiting.first;

        __builtin_prefetch(message->next);
        if (batch->messages.count && (message->called_back || batch->messages.first->called_back ||
                                      batch->messages.bytes + message->bytes > settings->bytes))
            break;
        if (engine_too_old(engine, message, now_us)) {
            strand_take(engine, strand);
            message->strand = NULL;
            engine_bury_old(engine, message);
            continue;
        }
        if (!admit(engine, strand, message))
            continue;
        strand_take(engine, strand);
        message->place = PLACE_BATCH;
        strand->outstanding++;
        message_list_append(&batch->messages, message);
    }
    strand_served(engine, strand);
    strand_drop_if_empty(engine, strand);
}

static bool strand_closes(const struct engine *engine, const struct message_list *waiting,
                          int64_t now_us, int64_t *ret_at_us)
{
    const struct batch_settings *settings = &engine->rules->batch;
    int64_t closes_us = waiting->first->arrived_us + settings->window_us;

    if (waiting->count >= settings->size || waiting->bytes >= settings->bytes ||
        closes_us <= now_us || gate_probing(&engine->gate))
        return true;
    if (closes_us < *ret_at_us)
        *ret_at_us = closes_us;
    return false;
}

/* With `order: lane` each strand closes its own batches. */
static struct strand *closing_strand(const struct engine *engine, int64_t now_us,
                                     int64_t *ret_at_us)
{
    for (struct strand *strand = engine->ready.first; strand; strand = strand->next_ready)
        if (strand_closes(engine, &strand->waiting, now_us, ret_at_us))
            return strand;
    return NULL;
}

/* Otherwise batches are made from all ready strands together. */
static bool ready_closes(const struct engine *engine, int64_t now_us, int64_t *ret_at_us)
{
    struct message_list all = {.count = engine->ready.messages, .bytes = engine->ready.bytes};

    if (!engine->ready.first)
        return false;
    all.first = engine->ready.first->waiting.first;
    if (engine->rules->order == ORDER_NONE)
        for (struct strand *strand = engine->ready.first; strand; strand = strand->next_ready)
            if (strand->waiting.first->arrived_us < all.first->arrived_us)
                all.first = strand->waiting.first;
    return strand_closes(engine, &all, now_us, ret_at_us);
}

/* Fills a batch from all ready strands, each once. */
static void gather_all(struct engine *engine, struct batch *batch, size_t most, int64_t now_us)
{
    const struct strand *last = engine->ready.last;
    struct strand *strand, *next = engine->ready.first;
    bool more = true;

    while (more && batch->messages.count < most) {
        strand = next;
        next = strand->next_ready;
        more = strand != last;
        gather(engine, strand, batch, most, now_us);
    }
}

/* The next batch of messages that were not tried yet, NULL if none closes now. */
static struct batch *build(struct engine *engine, int64_t now_us, int64_t *ret_at_us)
{
    size_t most = engine->gate.state == GATE_FAILING || engine->gate.state == GATE_PAUSED
                      ? 1
                      : engine->rules->batch.size;
    struct batch *batch = batch_new();

    while (!batch->messages.count) {
        if (engine->rules->order == ORDER_LANE) {
            struct strand *strand = closing_strand(engine, now_us, ret_at_us);

            if (!strand)
                break;
            gather(engine, strand, batch, most, now_us);
        } else {
            if (!ready_closes(engine, now_us, ret_at_us))
                break;
            gather_all(engine, batch, most, now_us);
        }
    }
    if (batch->messages.count)
        return batch;
    batch_free(batch);
    return NULL;
}

/* The last resort where only suspects of its own strand could be asked: a message from behind them,
 * alone. NULL: they are asked again first, or the message was dealt with otherwise. */
static struct batch *build_witness(struct engine *engine, struct strand *strand, int64_t now_us)
{
    struct batch *batch = batch_new();

    if (!blame_ask_again(engine, strand, now_us))
        gather(engine, strand, batch, 1, now_us);
    if (batch->messages.count)
        return batch;
    batch_free(batch);
    return NULL;
}

/* Whether messages before it in its order have come back while its batch waited. */
static bool must_queue(const struct message *message)
{
    const struct strand *strand = message->strand;
    const struct message *first = strand->waiting.first;

    return !strand->parallel && (strand->suspects || (first && first->entry < message->entry));
}

/* Takes orphans, messages of lanes that are being given back, those too old, and those behind others
 * out of a batch that waited. NULL if nothing is left to try now. */
static struct batch *refresh(struct engine *engine, struct batch *batch, int64_t now_us)
{
    struct message_list messages = batch->messages;
    struct message *message;

    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages))) {
        if (!message->lane) {
            engine_discard(engine, message);
        } else if (message->lane->closing || must_queue(message)) {
            struct strand *strand = message->strand;

            strand->ask_again = true;
            strand_restore(engine, message);
            strand_leave(engine, strand);
        } else if (engine_too_old(engine, message, now_us)) {
            engine_leave(engine, message);
            engine_bury_old(engine, message);
        } else {
            message_list_append(&batch->messages, message);
        }
    }
    if (batch->messages.count)
        return batch;
    engine_resolve(engine, batch, now_us);
    return NULL;
}

/* ---- flying ---- */

static void start(struct engine *engine, struct batch *batch, int64_t now_us)
{
    batch->flying = true;
    batch->started_us = now_us;
    batch->sent = batch->messages.count;
    batch->success_seen_us = engine->success_started_us;
    batch->success_landed_us = engine->success_landed_us;
    batch->next_flying = engine->flying;
    if (engine->flying)
        engine->flying->previous_flying = batch;
    engine->flying = batch;
    engine->gate.in_flight++;
    engine->counts.invocations++;
    for (struct message *message = batch->messages.first; message; message = message->next)
        message->lane->flying++;
    engine->ops->invoke(engine->argument, batch);
}

static void land(struct engine *engine, struct batch *batch)
{
    batch->flying = false;
    if (batch->previous_flying)
        batch->previous_flying->next_flying = batch->next_flying;
    else
        engine->flying = batch->next_flying;
    if (batch->next_flying)
        batch->next_flying->previous_flying = batch->previous_flying;
    batch->previous_flying = batch->next_flying = NULL;
    engine->gate.in_flight--;
    for (struct message *message = batch->messages.first; message; message = message->next)
        if (message->lane)
            message->lane->flying--;
}

static bool is_due(const struct batch *batch, int64_t now_us)
{
    return batch && batch->due_us <= now_us;
}

/* The doubted strand to be asked for a witness now: the one whose suspect failed just now, else the one
 * that waits longest. NULL: none, or one that may be the witness is in flight. */
static struct strand *doubted_strand(const struct engine *engine, int64_t now_us)
{
    struct strand *strand = engine->doubted.first;

    if (strand && !blame_is_fresh(strand, now_us))
        strand = engine->doubted.last;
    if (strand && engine->flying && engine->flying->started_us >= strand->suspect_us)
        return NULL;
    return strand;
}

/* While probing, another message says more about the target than one that failed. */
static bool waiting_goes_first(const struct engine *engine, const struct strand *doubted,
                               int64_t now_us)
{
    const struct batch *waiting = batch_heap_first(&engine->waiting);

    if (!is_due(waiting, now_us))
        return false;
    if (!gate_probing(&engine->gate))
        return true;
    return !engine->ready.first &&
           !(doubted && (blame_is_fresh(doubted, now_us) || doubted->suspect_us < waiting->due_us));
}

/* Chooses what to begin. False: nothing now, but at `ret_at_us` at the latest. */
static bool choose(struct engine *engine, int64_t now_us, struct batch **ret_batch,
                   int64_t *ret_at_us)
{
    struct strand *doubted = doubted_strand(engine, now_us);
    struct batch *waiting = batch_heap_first(&engine->waiting);

    *ret_at_us = CLOCK_NEVER;
    if (waiting_goes_first(engine, doubted, now_us)) {
        batch_heap_remove(&engine->waiting, waiting);
        *ret_batch = refresh(engine, waiting, now_us);
        return true;
    }
    *ret_batch = build(engine, now_us, ret_at_us);
    if (*ret_batch || (is_due(waiting, now_us) && !doubted))
        return true;
    if (doubted) {
        *ret_batch = build_witness(engine, doubted, now_us);
        return true;
    }
    if (waiting && waiting->due_us < *ret_at_us)
        *ret_at_us = waiting->due_us;
    return false;
}

int64_t engine_run(struct engine *engine, int64_t now_us)
{
    int64_t at_us = CLOCK_NEVER, look_us, age_us = age_run(engine, now_us);
    struct batch *batch;

    danger_run(engine);
    if (engine->on_hold)
        return CLOCK_NEVER;
    for (;;) {
        if (!gate_admits(&engine->gate, now_us)) {
            bool held_back = engine->ready.first || engine->doubted.first || engine->waiting.count;

            at_us = CLOCK_NEVER;
            if (held_back && engine->gate.in_flight < gate_present_limit(&engine->gate) &&
                (!gate_probing(&engine->gate) || !engine->gate.in_flight))
                at_us = engine->gate.next_us;
            break;
        }
        if (!choose(engine, now_us, &batch, &at_us))
            break;
        if (batch)
            start(engine, batch, now_us);
    }
    look_us = blame_run(engine, now_us);
    at_us = look_us < at_us ? look_us : at_us;
    return age_us < at_us ? age_us : at_us;
}

/* ---- landing ---- */

/* A message whose lane was lost meanwhile: if it is done, its token is still recorded. */
static void let_orphan_go(struct engine *engine, struct message *message, bool done)
{
    if (done)
        engine_finish(engine, message, VERDICT_DONE);
    else
        engine_discard(engine, message);
}

static void drop_orphans(struct engine *engine, struct batch *batch)
{
    struct message_list messages = batch->messages;
    struct message *message;

    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages)))
        if (message->lane)
            message_list_append(&batch->messages, message);
        else
            engine_discard(engine, message);
}

static void remember(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                     const char *name, int64_t now_us)
{
    struct attempt *attempt = attempt_new(outcome, (uint32_t)batch->messages.count, name);

    for (struct message *message = batch->messages.first; message; message = message->next) {
        message_remember(message, attempt);
        if (!message->first_failed_us) {
            message->first_failed_us = now_us;
            engine->untried--;
        }
        age_note(engine, message);
    }
    attempt_unref(attempt);
}

static bool all_named(const struct batch *batch, const struct outcome *outcome)
{
    for (size_t i = 0; outcome->named && i < batch->messages.count; i++)
        if (!outcome->named[i])
            return false;
    return outcome->named != NULL;
}

/* Whether each message was named before, while another was done. */
static bool all_known(const struct batch *batch)
{
    for (const struct message *message = batch->messages.first; message; message = message->next)
        if (!message->named)
            return false;
    return true;
}

static void finish_done(struct engine *engine, struct message *message)
{
    engine_leave(engine, message);
    engine->counts.done++;
    engine_finish(engine, message, VERDICT_DONE);
}

/* A named message costs itself an attempt; that the function named it is evidence enough. */
static void judge_named(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                        struct message_list *named, int64_t now_us)
{
    const struct retry_settings *retry = &engine->rules->retry;
    struct message *message;
    uint32_t most = 0;

    batch->messages = *named;
    remember(engine, batch, outcome, "named", now_us);
    *named = batch->messages;
    batch->messages = (struct message_list){0};
    while ((message = message_list_take(named))) {
        engine->counts.named++;
        message->named = true;
        blame_count(engine, message, true);
        message->last_failed_us = now_us;
        if (message->attempts >= retry->attempts) {
            engine_leave(engine, message);
            engine_bury(engine, message, DEAD_NAMED,
                        "the function named it as failed until its attempts were used up");
            continue;
        }
        most = message->attempts > most ? message->attempts : most;
        message_list_append(&batch->messages, message);
    }
    engine_retry(engine, batch, most, outcome->retry_after_us, true, now_us);
}

static void judge_done(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                       int64_t now_us)
{
    struct message_list messages = batch->messages, named = {0};
    struct message *message;
    size_t i = 0;

    if (!all_named(batch, outcome)) /* else nothing was done, which proves nothing */
        blame_success(engine, batch, now_us);
    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages))) {
        bool is_named = outcome->named && outcome->named[i++];

        if (message->lane && is_named)
            message_list_append(&named, message);
        else if (message->lane)
            finish_done(engine, message);
        else
            let_orphan_go(engine, message, !is_named);
    }
    if (named.count)
        judge_named(engine, batch, outcome, &named, now_us);
    else
        engine_resolve(engine, batch, now_us);
}

static void judge_refused(struct engine *engine, struct batch *batch,
                          const struct outcome *outcome, int64_t now_us)
{
    remember(engine, batch, outcome, outcome_class_name(outcome->class), now_us);
    engine->patience_from_us = engine->refused_us = now_us;
    engine->counts.refused++;
    if (gate_refused(&engine->gate, engine->rules, outcome->retry_after_us, now_us,
                     &engine->random))
        engine->ops->event(engine->argument, ENGINE_GATE_OPENED, batch, NULL, outcome->error);
    engine_retry(engine, batch, ++batch->refusals, outcome->retry_after_us, false, now_us);
}

static void judge_failed(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                         int64_t now_us)
{
    engine->counts.failed++;
    batch->refusals = 0;
    engine->ops->event(engine->argument, ENGINE_BATCH_FAILED, batch, NULL, outcome->error);
    remember(engine, batch, outcome, outcome_class_name(outcome->class), now_us);
    blame_failure(engine, batch, outcome, now_us);
}

void engine_answer(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                   int64_t now_us)
{
    struct outcome failed = *outcome;

    land(engine, batch);
    if (outcome->class == OUTCOME_DONE && all_named(batch, outcome) && !all_known(batch)) {
        /* Every message named says as little about each as a plain error. */
        failed.class = OUTCOME_FAILED;
        failed.error = "the function named every message of the batch as failed";
        failed.named = NULL;
        outcome = &failed;
    }
    if (outcome->class != OUTCOME_DONE)
        drop_orphans(engine, batch);
    if (outcome->class == OUTCOME_DONE) {
        judge_done(engine, batch, outcome, now_us);
    } else if (!batch->messages.count) {
        engine_resolve(engine, batch, now_us);
    } else if (outcome->class == OUTCOME_THROTTLED || outcome->class == OUTCOME_UNAVAILABLE) {
        judge_refused(engine, batch, outcome, now_us);
    } else {
        judge_failed(engine, batch, outcome, now_us);
    }
    if (engine->closing_count)
        for (struct lane *lane = engine->lanes, *next; lane; lane = next) {
            next = lane->next;
            engine_check_drained(engine, lane);
        }
}

void engine_resume(struct engine *engine)
{
    engine->gate.next_us = 0;
}

void engine_cap(struct engine *engine, uint32_t invocations)
{
    engine->gate.cap = invocations;
}

void engine_hold(struct engine *engine, bool held, int64_t now_us)
{
    if (engine->on_hold && !held)
        engine->patience_from_us = now_us;
    engine->on_hold = held;
}
