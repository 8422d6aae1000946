/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/recorder_inside.h"

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
#define GROUP_LETTERS   1000 /* of one commit */
#define EXPIRE_MOST     500  /* letters in one step, */
#define EXPIRE_LEAST    20   /* as many as take this long, on whatever disk: */
#define EXPIRE_STEP     (10 * CLOCK_MS) /* what is to be written waits meanwhile */

const struct histogram_scale recorder_commit_scale = {
    12, {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5, 30}};

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

struct keep *recorder_keep_of(struct recorder *recorder, const char *mapping)
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
    recorder_keep_of(recorder, mapping)->keep_us = keep_us;
    pthread_mutex_unlock(&recorder->mutex);
}

void recorder_set_limits(struct recorder *recorder, const char *mapping,
                         const struct recorder_limits *limits)
{
    pthread_mutex_lock(&recorder->mutex);
    recorder_keep_of(recorder, mapping)->limits = *limits;
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

    while (recorder->oldest && recorder->group_count < RECORDER_JOBS) {
        struct record_job *job = (struct record_job *)recorder->oldest;

        records += job->token_count + job->lane_count;
        letters += job->letter_count;
        bytes += letter_bytes(job);
        if (recorder->group_count &&
            (records > RECORDER_RECORDS || letters > GROUP_LETTERS || bytes > RECORDER_BYTES))
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
    recorder_commit(recorder);
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
