/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/recorder.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"

#define COMMIT_INTERVAL (2 * CLOCK_MS)
#define EXPIRE_INTERVAL (5 * CLOCK_SECOND)
#define TURN_MOST       CLOCK_SECOND /* without work, to show that the thread lives */
#define GROUP_JOBS      1024
#define GROUP_RECORDS   20000 /* tokens and lanes of one commit */
#define GROUP_LETTERS   1000  /* of one commit, and their bytes: what is on the way to */
#define GROUP_BYTES     ((size_t)32 << 20) /* the disk at once */
#define ALONE_FAILURES  8                  /* in a row: then it is the store, not the jobs */
#define EXPIRE_MOST     500                /* letters in one step, */
#define EXPIRE_LEAST    20                 /* as many as take this long, on whatever disk: */
#define EXPIRE_STEP     (10 * CLOCK_MS)    /* what is to be written waits meanwhile */

const struct histogram_scale recorder_commit_scale = {
    12, {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}};

struct keep {
    char *mapping;
    int64_t keep_us;
    struct recorder_limits limits;
};

struct recorder {
    struct token_store *tokens;
    struct dead_letter_store *letters;
    struct parked_store *park;
    struct recorder_options options;
    struct mailbox mailbox;
    struct mailbox_item stop; /* the last item ever posted */
    pthread_t thread;
    bool running;
    atomic_uint_fast64_t waiting;
    _Atomic int64_t turn_us;

    pthread_mutex_t replying; /* held while answers are posted */
    pthread_mutex_t mutex;    /* guards stats and keeps */
    struct recorder_stats stats;
    struct keep *keeps;
    size_t keep_count;

    /* The recorder's thread only. */
    struct mailbox_item *oldest, **end; /* jobs taken from the mailbox */
    bool stopping;
    struct record_job *group[GROUP_JOBS];
    size_t group_count;
    struct dead_letter *gathered;
    size_t gathered_room;
    int64_t commit_at_us, expire_at_us; /* not before */
    bool expiring_tokens;
    size_t expiring_keep;
    uint32_t expire_letters; /* in the next step */
};

struct recorder *recorder_new(struct token_store *token_store,
                              struct dead_letter_store *dead_letter_store,
                              const struct recorder_options *options, struct fault *fault)
{
    struct recorder *recorder = memory_zero(1, sizeof *recorder);

    if (mailbox_init(&recorder->mailbox, fault) != 0) {
        free(recorder);
        return NULL;
    }
    recorder->tokens = token_store;
    recorder->letters = dead_letter_store;
    if (options)
        recorder->options = *options;
    if (!recorder->options.commit_interval_us)
        recorder->options.commit_interval_us = COMMIT_INTERVAL;
    if (!recorder->options.expire_interval_us)
        recorder->options.expire_interval_us = EXPIRE_INTERVAL;
    recorder->end = &recorder->oldest;
    recorder->expire_letters = EXPIRE_MOST;
    pthread_mutex_init(&recorder->mutex, NULL);
    pthread_mutex_init(&recorder->replying, NULL);
    return recorder;
}

void recorder_free(struct recorder *recorder)
{
    if (!recorder)
        return;
    recorder_stop(recorder);
    mailbox_fini(&recorder->mailbox);
    pthread_mutex_destroy(&recorder->mutex);
    pthread_mutex_destroy(&recorder->replying);
    for (size_t i = 0; i < recorder->keep_count; i++)
        free(recorder->keeps[i].mapping);
    free(recorder->keeps);
    free(recorder->gathered);
    free(recorder);
}

void recorder_use_park(struct recorder *recorder, struct parked_store *store)
{
    recorder->park = store;
}

void recorder_submit(struct recorder *recorder, struct record_job *job)
{
    job->failed = false;
    job->submitted_us = clock_now();
    atomic_fetch_add(&recorder->waiting, 1);
    mailbox_post(&recorder->mailbox, &job->item);
}

void recorder_quiesce(struct recorder *recorder)
{
    pthread_mutex_lock(&recorder->replying);
    pthread_mutex_unlock(&recorder->replying);
}

/* What is known of a mapping; made where it is missing. With the mutex held. */
static struct keep *keep_of(struct recorder *recorder, const char *mapping)
{
    size_t i;

    for (i = 0; i < recorder->keep_count; i++)
        if (strcmp(recorder->keeps[i].mapping, mapping) == 0)
            return &recorder->keeps[i];
    recorder->keeps = memory_resize(recorder->keeps, ++recorder->keep_count, sizeof(struct keep));
    recorder->keeps[i] = (struct keep){.mapping = memory_text(mapping)};
    return &recorder->keeps[i];
}

void recorder_set_keep(struct recorder *recorder, const char *mapping, int64_t keep_us)
{
    pthread_mutex_lock(&recorder->mutex);
    keep_of(recorder, mapping)->keep_us = keep_us;
    pthread_mutex_unlock(&recorder->mutex);
}

void recorder_set_limits(struct recorder *recorder, const char *mapping,
                         const struct recorder_limits *limits)
{
    pthread_mutex_lock(&recorder->mutex);
    keep_of(recorder, mapping)->limits = *limits;
    pthread_mutex_unlock(&recorder->mutex);
}

void recorder_stats(struct recorder *recorder, struct recorder_stats *ret_stats)
{
    pthread_mutex_lock(&recorder->mutex);
    *ret_stats = recorder->stats;
    pthread_mutex_unlock(&recorder->mutex);
    ret_stats->waiting = atomic_load(&recorder->waiting);
    ret_stats->turn_us = atomic_load(&recorder->turn_us);
}

/* ---- one group of jobs ---- */

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
    limits = keep_of(recorder, mapping)->limits;
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
    if (transaction->records >= GROUP_RECORDS ||
        (transaction->records && transaction->bytes + bytes > GROUP_BYTES)) {
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
    struct record_job *jobs[GROUP_JOBS];
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

static void reply_group(struct recorder *recorder, int64_t duration_us)
{
    uint64_t tokens = 0, letters = 0, jobs = 0;

    for (size_t i = 0; i < recorder->group_count; i++) {
        const struct record_job *job = recorder->group[i];

        if (job->failed)
            continue;
        jobs++;
        tokens += job->token_count;
        letters += job->letter_count;
    }
    pthread_mutex_lock(&recorder->mutex);
    recorder->stats.jobs += jobs;
    recorder->stats.tokens += tokens;
    recorder->stats.letters += letters;
    histogram_add(&recorder->stats.commit_duration, &recorder_commit_scale,
                  (double)duration_us / CLOCK_SECOND);
    pthread_mutex_unlock(&recorder->mutex);
    pthread_mutex_lock(&recorder->replying);
    for (size_t i = 0; i < recorder->group_count; i++) {
        struct record_job *job = recorder->group[i];

        /* Once posted, the job is the poller's again. */
        atomic_fetch_sub(&recorder->waiting, 1);
        mailbox_post(job->reply_to, &job->item);
    }
    pthread_mutex_unlock(&recorder->replying);
    recorder->group_count = 0;
}

static size_t letter_bytes(const struct record_job *job)
{
    size_t bytes = 0;

    for (size_t i = 0; i < job->letter_count; i++)
        bytes += job->letters[i].payload.size + job->letters[i].key.size;
    for (size_t i = 0; i < job->parked_count; i++)
        bytes += job->parked[i].bytes;
    return bytes;
}

/* Moves jobs from the queue to the group: at least one, then as many as the limits allow. */
static void form_group(struct recorder *recorder)
{
    size_t records = 0, letters = 0, bytes = 0;

    while (recorder->oldest && recorder->group_count < GROUP_JOBS) {
        struct record_job *job = (struct record_job *)recorder->oldest;

        records += job->token_count + job->lane_count;
        letters += job->letter_count;
        bytes += letter_bytes(job);
        if (recorder->group_count &&
            (records > GROUP_RECORDS || letters > GROUP_LETTERS || bytes > GROUP_BYTES))
            break;
        recorder->oldest = job->item.next;
        if (!recorder->oldest)
            recorder->end = &recorder->oldest;
        recorder->group[recorder->group_count++] = job;
    }
}

static void take_posted(struct recorder *recorder)
{
    struct mailbox_item *item = mailbox_take_all(&recorder->mailbox);

    while (item) {
        struct mailbox_item *next = item->next;

        if (item == &recorder->stop) {
            recorder->stopping = true;
        } else {
            item->next = NULL;
            *recorder->end = item;
            recorder->end = &item->next;
        }
        item = next;
    }
}

static void sleep_until(int64_t at_us)
{
    struct timespec at = {.tv_sec = at_us / CLOCK_SECOND, .tv_nsec = at_us % CLOCK_SECOND * 1000};

    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) == EINTR)
        ;
}

static void commit_group(struct recorder *recorder)
{
    int64_t began = clock_now();

    if (began < recorder->commit_at_us) {
        sleep_until(recorder->commit_at_us);
        take_posted(recorder);
        began = clock_now();
    }
    recorder->commit_at_us = began + recorder->options.commit_interval_us;
    form_group(recorder);
    run_step(recorder, "dead_letters", &recorder->stats.letters_failing_since_us, write_letters,
             has_letters);
    run_step(recorder, "parked", &recorder->stats.park_failing_since_us, write_parked, has_parked);
    run_step(recorder, "tokens", &recorder->stats.tokens_failing_since_us, write_tokens,
             has_tokens);
    run_step(recorder, "parked", &recorder->stats.park_failing_since_us, remove_parked,
             has_unparked);
    reply_group(recorder, clock_now() - began);
}

/* ---- expiry, a bounded step at a time ---- */

/* The next mapping whose dead letters do not stay for ever; NULL after the last. */
static char *next_keep(struct recorder *recorder, int64_t *ret_keep_us)
{
    char *mapping = NULL;

    pthread_mutex_lock(&recorder->mutex);
    while (!mapping && recorder->expiring_keep < recorder->keep_count) {
        const struct keep *keep = &recorder->keeps[recorder->expiring_keep];

        if (keep->keep_us > 0) {
            mapping = memory_text(keep->mapping);
            *ret_keep_us = keep->keep_us;
        } else {
            recorder->expiring_keep++;
        }
    }
    pthread_mutex_unlock(&recorder->mutex);
    return mapping;
}

static void expire_failed(const char *store, const struct fault *fault)
{
    log_event(LOG_WARNING, "expire_failed", LOG_TEXT("store", store),
              LOG_TEXT("error", fault->text));
}

static void expire_tokens(struct recorder *recorder)
{
    struct fault fault;
    int more = 0;

    if (recorder->tokens)
        more = recorder->tokens->ops->expire(recorder->tokens, clock_wall(), &fault);
    if (more < 0)
        expire_failed("tokens", &fault);
    recorder->expiring_tokens = more > 0;
}

/* How many letters the next step takes, after one that took so long. */
static uint32_t fit_step(uint32_t letters, int64_t took_us)
{
    int64_t fitting = took_us > 0 ? letters * EXPIRE_STEP / took_us : EXPIRE_MOST;

    if (fitting > 2 * letters)
        fitting = 2 * letters;
    return fitting > EXPIRE_MOST ? EXPIRE_MOST : fitting < EXPIRE_LEAST ? EXPIRE_LEAST : (uint32_t)fitting;
}

static void expire_letters(struct recorder *recorder, const char *mapping, int64_t keep_us)
{
    uint32_t most = recorder->expire_letters;
    int64_t began = clock_now(), removed;
    struct fault fault;

    removed = recorder->letters->ops->expire(recorder->letters, mapping, clock_wall() - keep_us,
                                             most, &fault);
    if (removed < 0)
        expire_failed("dead_letters", &fault);
    else if (removed > 0)
        log_event(LOG_DEBUG, "dead_letters_expired", LOG_TEXT("mapping", mapping),
                  LOG_NUMBER("count", removed));
    if (removed < most)
        recorder->expiring_keep++;
    else
        recorder->expire_letters = fit_step(most, clock_now() - began);
}

static void expire_step(struct recorder *recorder)
{
    int64_t keep_us = 0;
    char *mapping;

    if (recorder->expiring_tokens) {
        expire_tokens(recorder);
        return;
    }
    mapping = recorder->letters ? next_keep(recorder, &keep_us) : NULL;
    if (!mapping) {
        recorder->expire_at_us = clock_now() + recorder->options.expire_interval_us;
        recorder->expiring_tokens = true;
        recorder->expiring_keep = 0;
        return;
    }
    expire_letters(recorder, mapping, keep_us);
    free(mapping);
}

/* ---- the thread ---- */

static void wait_for_work(struct recorder *recorder)
{
    int64_t left = recorder->expire_at_us - clock_now();
    struct pollfd poll_for = {.fd = mailbox_fd(&recorder->mailbox), .events = POLLIN};

    if (left > TURN_MOST)
        left = TURN_MOST;
    if (left > 0)
        poll(&poll_for, 1, (int)((left + CLOCK_MS - 1) / CLOCK_MS));
}

static void *run(void *argument)
{
    struct recorder *recorder = argument;

    recorder->expire_at_us = clock_now() + recorder->options.expire_interval_us;
    recorder->expiring_tokens = true;
    for (;;) {
        atomic_store(&recorder->turn_us, clock_now());
        take_posted(recorder);
        if (recorder->oldest)
            commit_group(recorder);
        else if (recorder->stopping)
            break;
        else
            wait_for_work(recorder);
        if (!recorder->stopping && clock_now() >= recorder->expire_at_us)
            expire_step(recorder);
    }
    return NULL;
}

int recorder_start(struct recorder *recorder, struct fault *fault)
{
    sigset_t all, before;
    int code;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    code = pthread_create(&recorder->thread, NULL, run, recorder);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code)
        return fault_set(fault, "cannot start the recorder's thread: %s", strerror(code));
    pthread_setname_np(recorder->thread, "recorder");
    recorder->running = true;
    return 0;
}

void recorder_stop(struct recorder *recorder)
{
    if (!recorder->running)
        return;
    mailbox_post(&recorder->mailbox, &recorder->stop);
    pthread_join(recorder->thread, NULL);
    recorder->running = false;
}
