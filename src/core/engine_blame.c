/* SPDX-License-Identifier: MIT
 * Blame needs evidence: whose fault a failure is.
 *
 * A message whose attempts are used up is given up only if the target was seen alive meanwhile: an
 * invocation that began after the message's previous failure had succeeded before this attempt
 * began (the failure is *witnessed*). Otherwise it becomes a suspect and steps aside; the next
 * success is its witness, and calls it back for one more attempt, which then decides. So a target
 * that was down while the attempts were used up costs no message.
 *
 * Where order counts, witnesses come from other strands if any can be asked now. Otherwise the next
 * message of the strand is asked, alone, and only just after the suspects before it have failed: at
 * once when a message becomes suspect, and after they were asked again at any later time (all of
 * them; the first only where answers take long or the target was found guilty). So when an outage
 * ends, the first message to notice is the first in order; a witness that succeeds overtakes only
 * what failed a moment before.
 *
 * Disjoint batches that fail without any success in between make a *run*. When the run is long
 * enough it was the target: everything goes back to its old order as if not tried since the last
 * success, and the gate opens for single probes. Each run of failing probes must be one longer than
 * the one before, so that no row of bad messages, however long, hides a target that lives. */
#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "core/engine_inside.h"
#include "core/retry.h"

#define HALVES_WAIT_MOST_US CLOCK_SECOND /* before a failing batch is tried in halves */
#define RUN_OF_FAILURES   8
#define RUN_OF_FATALS     2
#define FRESH_US          CLOCK_SECOND /* how long after its failure a suspect may be overtaken */
#define SLOW_US           (100 * CLOCK_MS)
#define ALIVE_FOR_US      (60 * CLOCK_SECOND) /* how long one success lets a fatal answer be doubted */
#define PATIENCE_MOST_US  CLOCK_HOUR
#define LONELY_FIRST_US   CLOCK_SECOND
#define LONELY_MOST_US    (30 * CLOCK_SECOND)

/* ---- suspects ---- */

static void leave_suspects(struct strand *strand)
{
    assert(strand->suspects);
    if (!--strand->suspects)
        strand->recall = strand->ask_again = false;
}

void blame_forget_suspect(struct engine *engine, struct message *suspect)
{
    struct message_list all = engine->suspects, rest = {0};
    struct message *message;

    while ((message = message_list_take(&all)))
        if (message != suspect)
            message_list_append(&rest, message);
    engine->suspects = rest;
    leave_suspects(suspect->strand);
    strand_update(engine, suspect->strand);
}

static void suspect(struct engine *engine, struct message *message, int64_t now_us)
{
    struct strand *strand = message->strand;

    message->place = PLACE_SUSPECT;
    /* It is not in flight: what waits for its token may be the witness it needs. */
    engine_unclaim(engine, message);
    if (!message->suspect_since_us) {
        message->suspect_since_us = now_us;
        engine->accused++;
        engine->ops->event(engine->argument, ENGINE_SUSPECT, NULL, message, NULL);
    }
    message_list_append(&engine->suspects, message);
    strand->suspects++;
    strand->suspect_us = now_us;
    strand_leave(engine, strand);
}

/* For one more attempt: it takes its old place, goes alone, and where order counts is the next of its
 * strand, never beside another batch of it. */
static void call_back(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    blame_forget_suspect(engine, message);
    message->called_back = true;
    strand->recall = false;
    strand_restore(engine, message);
}

bool blame_is_fresh(const struct strand *strand, int64_t now_us)
{
    return !strand->ask_again && now_us - strand->suspect_us <= FRESH_US;
}

static void call_back_all(struct engine *engine, const struct strand *strand)
{
    struct message *message, *next;

    for (message = engine->suspects.first; message; message = next) {
        next = message->next;
        if (message->strand == strand)
            call_back(engine, message);
    }
}

static struct message *first_suspect(const struct engine *engine, const struct strand *strand)
{
    struct message *first = NULL;

    for (struct message *message = engine->suspects.first; message; message = message->next)
        if (message->strand == strand && (!first || message->entry < first->entry))
            first = message;
    return first;
}

bool blame_ask_again(struct engine *engine, struct strand *strand, int64_t now_us)
{
    /* Where answers take long, most outages would end while one in the middle is asked; and a target
       that was found guilty is not to be troubled with all of them. */
    bool first_only = strand->slow || engine->gate.state == GATE_FAILING;

    if (blame_is_fresh(strand, now_us) || (first_only && strand->waiting.first->called_back))
        return false;
    strand->ask_again = false;
    if (first_only)
        call_back(engine, first_suspect(engine, strand));
    else
        call_back_all(engine, strand);
    return true;
}

static void give_up(struct engine *engine, struct message *message, enum dead_letter_class class)
{
    char reason[256];
    const struct attempt *last = message->history->attempts[message->history->kept - 1];

    snprintf(reason, sizeof reason, "%s%s", last->record.error,
             class == DEAD_PATIENCE ? " (nothing else succeeded within retry.patience)" : "");
    engine_bury(engine, message, class, reason);
}

static void give_up_suspect(struct engine *engine, struct message *message,
                            enum dead_letter_class class)
{
    blame_forget_suspect(engine, message);
    strand_drop_if_empty(engine, message->strand);
    message->strand = NULL;
    give_up(engine, message, class);
}

static enum dead_letter_class class_of(const struct message *message,
                                       const struct engine *engine)
{
    return message->attempts >= engine->rules->retry.attempts ? DEAD_ATTEMPTS : DEAD_POISON;
}

/* ---- runs ---- */

void blame_success(struct engine *engine, const struct batch *batch, int64_t now_us)
{
    struct message *message, *next;

    engine->successes++;
    engine->run++;
    engine->run_failures = 0;
    engine->acquittals = 0;
    if (batch->started_us > engine->success_started_us)
        engine->success_started_us = batch->started_us;
    engine->success_landed_us = now_us;
    engine->patience_us = engine->rules->retry.patience_us;
    engine->patience_from_us = now_us;
    engine->lonely_probes = 0;
    engine->lonely_probe_us = 0;
    if (gate_succeeded(&engine->gate, engine->rules))
        engine->ops->event(engine->argument, ENGINE_GATE_CLOSED, NULL, NULL, NULL);
    for (message = engine->suspects.first; message; message = next) {
        next = message->next;
        if (batch->started_us >= message->last_failed_us)
            call_back(engine, message);
    }
}

void blame_count(struct engine *engine, struct message *message, bool proven)
{
    if (message->attempts_after != engine->successes)
        message->attempts_before = message->attempts;
    message->attempts_after = engine->successes;
    message->attempts++;
    if (proven)
        message->attempts_before = message->attempts;
}

/* As if not tried since the last success; its age and its history are kept. What failed before counts
 * on: else a bad message that meets an outage ever and again would never be used up. */
static void pardon(struct engine *engine, struct message *message)
{
    if (message->suspect_since_us)
        engine->accused--;
    if (message->attempts_after == engine->successes)
        message->attempts = message->attempts_before;
    message->blame_since_us = 0;
    message->last_failed_us = 0;
    message->suspect_since_us = 0;
    message->called_back = false;
}

static void put_back(struct engine *engine, struct message *message)
{
    struct strand *strand = message->strand;

    strand_restore(engine, message);
    strand_leave(engine, strand);
}

/* Puts a batch, and what follows it, back into its strands; `pardoned`: as if never tried. */
static void dissolve(struct engine *engine, struct batch *batch, bool pardoned)
{
    while (batch) {
        struct batch *then = batch->then;
        struct message *message;

        while ((message = message_list_take(&batch->messages))) {
            if (!message->lane) {
                engine_discard(engine, message);
                continue;
            }
            if (pardoned)
                pardon(engine, message);
            put_back(engine, message);
        }
        batch_free(batch);
        batch = then;
    }
}

/* Suspects go back too. Those of a strand in which something is in flight wait until that has landed
 * (`recall`). `flagged`: only those that waited so. */
static void recall_suspects(struct engine *engine, bool flagged)
{
    struct message_list all = engine->suspects;
    struct message *message;

    engine->suspects = (struct message_list){0};
    while ((message = message_list_take(&all))) {
        struct strand *strand = message->strand;
        bool busy = !strand->parallel && strand->outstanding;

        if (busy && !flagged)
            strand->recall = true;
        if (busy || (flagged && !strand->recall)) {
            message_list_append(&engine->suspects, message);
            continue;
        }
        leave_suspects(strand);
        pardon(engine, message);
        strand_restore(engine, message); /* which moves the strand to where it belongs */
    }
}

/* It was the target. Takes `batch` over. */
static void acquit_all(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                       int64_t now_us)
{
    enum gate_state state = outcome->class == OUTCOME_FATAL ? GATE_PAUSED : GATE_FAILING;
    struct batch *waiting;

    if (gate_probing(&engine->gate) && batch->started_us > engine->gate.opened_us)
        engine->acquittals++;
    if (gate_open(&engine->gate, state, engine->rules, outcome->retry_after_us, now_us,
                  &engine->random))
        engine->ops->event(engine->argument, ENGINE_GATE_OPENED, batch, NULL, outcome->error);
    engine->run++;
    engine->run_failures = 0;
    engine->patience_from_us = now_us;
    dissolve(engine, batch, true);
    while ((waiting = batch_heap_first(&engine->waiting))) {
        batch_heap_remove(&engine->waiting, waiting);
        dissolve(engine, waiting, true);
    }
    recall_suspects(engine, false);
    for (struct lane *lane = engine->lanes; lane; lane = lane->next)
        for (struct message *message = lane->live; message; message = message->live_next)
            if (message->called_back && message->place == PLACE_WAITING)
                pardon(engine, message);
}

/* Whether there are messages besides `batch` and the suspects that could be witnesses. */
static bool witnesses_exist(const struct engine *engine, size_t batch_messages)
{
    return engine_askable(engine) > engine->suspects.count + batch_messages;
}

/* Whether the target was seen alive between an earlier failure of the message and this one. */
static bool witnessed(const struct batch *batch, const struct message *message,
                      enum outcome_class class)
{
    int64_t seen_us = batch->success_seen_us;

    if (class == OUTCOME_FAILED)
        return message->last_failed_us && seen_us >= message->last_failed_us;
    /* Where the target gives up at the first failure, a success since blame began will do, or one
       just now if it was acquitted since it first failed. */
    if (message->blame_since_us && seen_us >= message->blame_since_us)
        return true;
    return message->first_failed_us && seen_us >= message->first_failed_us &&
           batch->started_us - batch->success_landed_us <= FRESH_US;
}

/* One success lets a fatal answer be doubted for a while: it may be about this message alone. */
static bool fatal_is_doubtful(const struct engine *engine, const struct batch *batch,
                              int64_t now_us)
{
    const struct message *first = batch->messages.first;
    size_t count = batch->messages.count;
    bool was_alive = engine->success_started_us &&
                     now_us - engine->success_landed_us < ALIVE_FOR_US;

    if (count == 1 && witnessed(batch, first, OUTCOME_FATAL))
        return true;
    /* Single probes of a paused target must get past a message that it really refuses. */
    if (engine->gate.state == GATE_PAUSED)
        return engine->run_failures < RUN_OF_FATALS + engine->acquittals &&
               witnesses_exist(engine, count);
    return engine->run_failures < RUN_OF_FAILURES && was_alive &&
           (count > 1 || witnesses_exist(engine, count));
}

static bool target_is_guilty(const struct engine *engine, const struct batch *batch,
                             enum outcome_class class, int64_t now_us)
{
    if (class == OUTCOME_FATAL)
        return !fatal_is_doubtful(engine, batch, now_us);
    return engine->rules->retry.patience_us &&
           engine->run_failures >= RUN_OF_FAILURES + engine->acquittals;
}

static void count_in_run(struct engine *engine, struct batch *batch)
{
    struct message *single = batch->messages.count == 1 ? batch->messages.first : NULL;

    if (batch->counted_run != engine->run && !(single && single->failed_run == engine->run))
        engine->run_failures++;
    batch->counted_run = engine->run;
    if (single)
        single->failed_run = engine->run;
}

/* ---- failures ---- */

/* Gives up, suspects or keeps one message. True: it stays in the batch. */
static bool judge_one(struct engine *engine, struct message *message, enum outcome_class class,
                      bool is_witnessed, int64_t now_us)
{
    const struct retry_settings *retry = &engine->rules->retry;
    bool used_up;

    blame_count(engine, message, false);
    used_up = class != OUTCOME_FAILED || message->attempts >= retry->attempts;
    if (engine_too_old(engine, message, now_us)) {
        engine_leave(engine, message);
        engine_bury_old(engine, message);
        return false;
    }
    if (!used_up)
        return true;
    if (is_witnessed || (!retry->patience_us && class != OUTCOME_FATAL)) {
        engine_leave(engine, message);
        give_up(engine, message, class == OUTCOME_FAILED ? DEAD_ATTEMPTS : DEAD_POISON);
        return false;
    }
    suspect(engine, message, now_us);
    return false;
}

static void mark_failed(struct message *message, int64_t now_us)
{
    if (!message->blame_since_us)
        message->blame_since_us = now_us;
    message->last_failed_us = now_us;
}

static void split(struct engine *engine, struct batch *batch, enum outcome_class class,
                  int64_t now_us)
{
    const struct retry_settings *retry = &engine->rules->retry;
    const int64_t first_us = retry->backoff_first_us < HALVES_WAIT_MOST_US ? retry->backoff_first_us
                                                                           : HALVES_WAIT_MOST_US;
    struct batch *second;
    int64_t delay_us = 0;

    for (struct message *message = batch->messages.first; message; message = message->next)
        mark_failed(message, now_us);
    if (class == OUTCOME_FAILED)
        delay_us = retry_delay(first_us, retry->backoff_most_us, 1, 0, &engine->random);
    second = batch->messages.count > 1 ? batch_split(batch) : NULL; /* the others are orphans */
    if (second && engine->rules->order == ORDER_NONE) {
        engine_wait(engine, second, now_us + delay_us);
    } else if (second) {
        second->then = batch->then;
        batch->then = second;
    }
    engine_wait(engine, batch, now_us + delay_us);
}

/* Whether the batch went back because suspects before it wait for its strand to be free. */
static bool recalled(struct engine *engine, struct batch *batch)
{
    bool wanted = false;

    for (struct message *message = batch->messages.first; message; message = message->next)
        wanted = wanted || (message->strand->recall && message->strand->suspects);
    if (wanted) {
        dissolve(engine, batch, true);
        recall_suspects(engine, true);
    }
    return wanted;
}

/* Judges the messages of a batch that is not split. Those to be tried again stay in it. Returns the
 * ordered strand that now has one more suspect, NULL if there is none. */
static struct strand *judge_each(struct engine *engine, struct batch *batch,
                                 enum outcome_class class, uint32_t *ret_most, int64_t now_us)
{
    struct message_list messages = batch->messages;
    struct strand *doubted = NULL;
    struct message *message;

    *ret_most = 1;
    batch->messages = (struct message_list){0};
    while ((message = message_list_take(&messages))) {
        bool is_witnessed = witnessed(batch, message, class);

        mark_failed(message, now_us);
        if (judge_one(engine, message, class, is_witnessed, now_us)) {
            *ret_most = message->attempts > *ret_most ? message->attempts : *ret_most;
            message_list_append(&batch->messages, message);
        } else if (message->place == PLACE_SUSPECT && !message->strand->parallel) {
            doubted = message->strand;
            doubted->slow = now_us - batch->started_us > SLOW_US;
        }
    }
    return doubted;
}

/* The next probe comes after a while; but what may overtake a suspect is asked at once, where the
 * target was found guilty after a suspect that was called back: single probes become pairs, not
 * bursts. */
static void probe_later(struct engine *engine, const struct outcome *outcome,
                        const struct strand *doubted, bool again, int64_t now_us)
{
    bool at_once = doubted && doubted->list == &engine->doubted && !engine->ready.first &&
                   (again || engine->gate.state != GATE_FAILING);

    if (gate_probing(&engine->gate) && !at_once)
        gate_open(&engine->gate, engine->gate.state, engine->rules, outcome->retry_after_us, now_us,
                  &engine->random);
}

void blame_failure(struct engine *engine, struct batch *batch, const struct outcome *outcome,
                   int64_t now_us)
{
    bool again = batch->messages.first->called_back;
    struct strand *doubted;
    uint32_t most;

    count_in_run(engine, batch);
    if (target_is_guilty(engine, batch, outcome->class, now_us)) {
        acquit_all(engine, batch, outcome, now_us);
        return;
    }
    if (engine_askable(engine) > engine->accused)
        engine->patience_from_us = now_us; /* it runs only where nobody can be a witness */
    if (recalled(engine, batch)) {
        probe_later(engine, outcome, NULL, again, now_us);
        return;
    }
    if (batch->sent > 1 && engine->rules->retry.split) {
        split(engine, batch, outcome->class, now_us);
        probe_later(engine, outcome, NULL, again, now_us);
        return;
    }
    doubted = judge_each(engine, batch, outcome->class, &most, now_us);
    /* Behind a suspect nothing goes but single witnesses. */
    if (doubted)
        dissolve(engine, batch, false);
    else
        engine_retry(engine, batch, most, outcome->retry_after_us, true, now_us);
    probe_later(engine, outcome, doubted, again, now_us);
}

/* ---- time ---- */

/* Nothing else is there to be a witness: what was seen since blame began must do. */
static void judge_lonely(struct engine *engine)
{
    struct message *message, *next;

    for (message = engine->suspects.first; message; message = next) {
        next = message->next;
        if (engine->success_started_us >= message->blame_since_us)
            give_up_suspect(engine, message, class_of(message, engine));
    }
}

/* Whether patience does not run for a suspect. Without patience only fatal answers make suspects, and
 * those are no failure of theirs. */
static bool target_is_doubted(const struct engine *engine, const struct message *suspect)
{
    bool refused_since = engine->refused_us >= suspect->last_failed_us;

    return !engine->rules->retry.patience_us || engine->gate.state == GATE_FAILING ||
           engine->gate.state == GATE_PAUSED ||
           (engine->gate.state == GATE_UNAVAILABLE && refused_since);
}

static int64_t judge_patience(struct engine *engine, int64_t now_us)
{
    struct message *oldest = engine->suspects.first;
    int64_t from_us = oldest->suspect_since_us > engine->patience_from_us
                          ? oldest->suspect_since_us
                          : engine->patience_from_us;

    if (target_is_doubted(engine, oldest))
        return CLOCK_NEVER;
    if (now_us < from_us + engine->patience_us)
        return from_us + engine->patience_us;
    give_up_suspect(engine, oldest, DEAD_PATIENCE);
    engine->patience_us = engine->patience_us < PATIENCE_MOST_US / 2 ? engine->patience_us * 2
                                                                     : PATIENCE_MOST_US;
    engine->patience_from_us = now_us;
    return now_us;
}

static int64_t probe_lonely(struct engine *engine, int64_t now_us)
{
    if (!engine->lonely_probe_us)
        engine->lonely_probe_us =
            now_us + retry_interval(LONELY_FIRST_US, LONELY_MOST_US, ++engine->lonely_probes);
    if (now_us < engine->lonely_probe_us)
        return engine->lonely_probe_us;
    engine->lonely_probe_us = 0;
    if (engine->suspects.first->strand->parallel)
        call_back(engine, engine->suspects.first);
    else
        call_back_all(engine, engine->suspects.first->strand);
    return now_us;
}

int64_t blame_run(struct engine *engine, int64_t now_us)
{
    int64_t patience_at_us, probe_at_us = CLOCK_NEVER;
    /* What waits for the claim of a suspect cannot be its witness. */
    bool idle = !engine->ready.first && !engine->doubted.first && !engine->waiting.count &&
                !engine->flying;

    if (!engine->suspects.count)
        return CLOCK_NEVER;
    if (!witnesses_exist(engine, 0) && !gate_probing(&engine->gate))
        judge_lonely(engine);
    if (!engine->suspects.count)
        return now_us;
    patience_at_us = judge_patience(engine, now_us);
    if (engine->suspects.count && idle)
        probe_at_us = probe_lonely(engine, now_us);
    return probe_at_us < patience_at_us ? probe_at_us : patience_at_us;
}
