/* SPDX-License-Identifier: MIT
 * A group of jobs made durable: all of them in one commit of each store, or, where that fails, each alone. */
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/recorder_inside.h"

#define ALONE_FAILURES 8 /* in a row: then it is the store, not the jobs */

/* Counts one commit of a store. */
static void count_commit(struct recorder *recorder, const struct fault *fault)
{
    pthread_mutex_lock(&recorder->mutex);
    if (fault) {
        recorder->stats.failures++;
        recorder->stats.last_error = *fault;
    } else {
        recorder->stats.commits++;
    }
    pthread_mutex_unlock(&recorder->mutex);
}

/* Says when a store begins to fail jobs (`fault`), and when it no longer does. */
static void note_health(struct recorder *recorder, const char *store, int64_t *since_us,
                        const struct fault *fault)
{
    int64_t before;

    pthread_mutex_lock(&recorder->mutex);
    before = *since_us;
    if (!fault)
        *since_us = 0;
    else if (!before)
        *since_us = clock_now();
    pthread_mutex_unlock(&recorder->mutex);
    if (fault)
        log_event(LOG_ERROR, "record_failed", LOG_TEXT("store", store),
                  LOG_TEXT("error", fault->text));
    else if (before)
        log_event(LOG_INFO, "record_recovered", LOG_TEXT("store", store));
}

/* A step that makes one part of `count` jobs durable, in one commit unless there is too much. Where
 * it fails, some of it may be there. */
typedef int (*step_fn)(struct recorder *recorder, struct record_job **jobs, size_t count,
                       struct fault *fault);

/* A job's letters are of one mapping. */
static int make_room_for(struct recorder *recorder, const struct record_job *job,
                         struct fault *fault)
{
    const char *mapping = job->letter_count ? job->letters[0].mapping : NULL;
    struct recorder_limits limits = {0};
    uint64_t dropped = 0;
    int result;

    if (!mapping)
        return 0;
    pthread_mutex_lock(&recorder->mutex);
    limits = recorder_keep_of(recorder, mapping)->limits;
    pthread_mutex_unlock(&recorder->mutex);
    result = recorder_limits_make_room(recorder->letters, &limits, job->letters,
                                       job->letter_count, &dropped, fault);
    if (dropped)
        log_event(LOG_WARNING, "dead_letters_dropped", LOG_TEXT("mapping", mapping),
                  LOG_NUMBER("count", (int64_t)dropped),
                  LOG_TEXT("text", "the oldest, as dead_letter.on_full is drop_oldest"));
    return result;
}

static int write_letters(struct recorder *recorder, struct record_job **jobs, size_t count,
                         struct fault *fault)
{
    size_t letters = 0, at = 0;

    if (!recorder->letters)
        return fault_set(fault, "there is no dead-letter store");
    for (size_t i = 0; i < count; i++) {
        if (make_room_for(recorder, jobs[i], fault) != 0)
            return -1;
        letters += jobs[i]->letter_count;
    }
    if (letters > recorder->gathered_room) {
        recorder->gathered_room = letters;
        recorder->gathered = memory_resize(recorder->gathered, letters, sizeof *recorder->gathered);
    }
    for (size_t i = 0; i < count; at += jobs[i++]->letter_count)
        memcpy(recorder->gathered + at, jobs[i]->letters,
               jobs[i]->letter_count * sizeof *recorder->gathered);
    if (recorder->letters->ops->add(recorder->letters, recorder->gathered, letters, fault) != 0)
        return -1;
    at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t n = 0; n < jobs[i]->letter_count; n++)
            memcpy(jobs[i]->letters[n].id, recorder->gathered[at++].id,
                   sizeof recorder->gathered->id);
    return 0;
}

/* What was put since the last begin. */
struct transaction {
    size_t records, bytes;
};

/* Commits and begins anew where the next records would make the transaction too large. */
static int make_room(struct token_store *store, struct transaction *transaction, size_t bytes,
                     struct fault *fault)
{
    if (transaction->records >= RECORDER_RECORDS ||
        (transaction->records && transaction->bytes + bytes > RECORDER_BYTES)) {
        if (store->ops->commit(store, fault) != 0 || store->ops->begin(store, fault) != 0)
            return -1;
        *transaction = (struct transaction){0};
    }
    transaction->records++;
    transaction->bytes += bytes;
    return 0;
}

/* Tokens before lanes: a lane calls finished what the tokens of its job stand for. A job of usual
 * size is one transaction with others, one that is too large is several. */
static int write_job(struct token_store *store, const struct record_job *job,
                     struct transaction *transaction, struct fault *fault)
{
    for (size_t i = 0; i < job->token_count; i++)
        if (make_room(store, transaction, job->tokens[i].token_size, fault) != 0 ||
            store->ops->put_tokens(store, &job->tokens[i], 1, fault) != 0)
            return -1;
    for (size_t i = 0; i < job->lane_count; i++)
        if (make_room(store, transaction, job->lanes[i].value_size, fault) != 0 ||
            store->ops->put_lanes(store, &job->lanes[i], 1, fault) != 0)
            return -1;
    return 0;
}

static int write_tokens(struct recorder *recorder, struct record_job **jobs, size_t count,
                        struct fault *fault)
{
    struct token_store *store = recorder->tokens;
    struct transaction transaction = {0};

    if (!store)
        return fault_set(fault, "there is no token store");
    if (store->ops->begin(store, fault) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (write_job(store, jobs[i], &transaction, fault) != 0) {
            store->ops->abort(store);
            return -1;
        }
    }
    return store->ops->commit(store, fault);
}

/* Jobs have many at a time, and the park is no hot path: a commit for each. */
static int write_parked(struct recorder *recorder, struct record_job **jobs, size_t count,
                        struct fault *fault)
{
    if (!recorder->park)
        return fault_set(fault, "there is no store for parked messages");
    for (size_t i = 0; i < count; i++)
        if (parked_store_write(recorder->park, jobs[i]->parked, jobs[i]->parked_count, fault) != 0)
            return -1;
    return 0;
}

static int remove_parked(struct recorder *recorder, struct record_job **jobs, size_t count,
                         struct fault *fault)
{
    if (!recorder->park)
        return fault_set(fault, "there is no store for parked messages");
    for (size_t i = 0; i < count; i++)
        if (parked_store_remove(recorder->park, jobs[i]->unparked, jobs[i]->unparked_count,
                                fault) != 0)
            return -1;
    return 0;
}

static bool has_parked(const struct record_job *job)
{
    return job->parked_count > 0;
}

static bool has_unparked(const struct record_job *job)
{
    return job->unparked_count > 0;
}

static bool has_letters(const struct record_job *job)
{
    return job->letter_count > 0;
}

static bool has_tokens(const struct record_job *job)
{
    return job->token_count + job->lane_count > 0;
}

/* Runs a step for each job alone, after it failed for all together, so that a record that the store
 * cannot take holds up nobody else's. Returns how many jobs failed. */
static size_t run_alone(struct recorder *recorder, step_fn step, struct record_job **jobs,
                        size_t count, struct fault *fault)
{
    size_t failed = 0;
    unsigned in_a_row = 0;

    for (size_t i = 0; i < count; i++) {
        if (count > 1 && in_a_row < ALONE_FAILURES) {
            if (step(recorder, &jobs[i], 1, fault) == 0) {
                in_a_row = 0;
                count_commit(recorder, NULL);
                continue;
            }
            in_a_row++;
            count_commit(recorder, fault);
        }
        jobs[i]->failed = true;
        jobs[i]->fault = *fault;
        failed++;
    }
    return failed;
}

/* Runs a step for all jobs that need it, in one commit if that works. */
static void run_step(struct recorder *recorder, const char *store, int64_t *since_us, step_fn step,
                     bool (*needs)(const struct record_job *job))
{
    struct record_job *jobs[RECORDER_JOBS];
    size_t count = 0, failed = 0;
    struct fault fault;

    for (size_t i = 0; i < recorder->group_count; i++)
        if (!recorder->group[i]->failed && needs(recorder->group[i]))
            jobs[count++] = recorder->group[i];
    if (!count)
        return;
    if (step(recorder, jobs, count, &fault) == 0) {
        count_commit(recorder, NULL);
    } else {
        count_commit(recorder, &fault);
        failed = run_alone(recorder, step, jobs, count, &fault);
    }
    note_health(recorder, store, since_us, failed ? &fault : NULL);
}

void recorder_commit(struct recorder *recorder)
{
    run_step(recorder, "dead_letters", &recorder->stats.letters_failing_since_us, write_letters,
             has_letters);
    run_step(recorder, "parked", &recorder->stats.park_failing_since_us, write_parked, has_parked);
    run_step(recorder, "tokens", &recorder->stats.tokens_failing_since_us, write_tokens,
             has_tokens);
    run_step(recorder, "parked", &recorder->stats.park_failing_since_us, remove_parked,
             has_unparked);
}
