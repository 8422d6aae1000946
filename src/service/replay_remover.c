/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/replay_remover.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define REMOVE_MOST 5000 /* letters in one transaction: the recorder does not wait long */
#define REMOVE_US   (100 * CLOCK_MS) /* so that there are few and large ones */
#define AGAIN_US    (500 * CLOCK_MS)

struct finished_letter {
    int64_t number;
    uint32_t edits;
};

struct finished {
    struct finished_letter *letters;
    size_t count, room;
};

struct replay_remover {
    struct dead_letter_store *store; /* the thread's, once it runs */
    struct dead_letter_act *act;
    int wake;
    pthread_t thread;

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct finished finished;
    uint64_t died;
    bool finishing, ending;
    struct replay_remover_state state;
};

/* With the lock held. */
static void wait_until(struct replay_remover *remover, int64_t us)
{
    int64_t until_us = clock_wall() + us;
    struct timespec until = {.tv_sec = until_us / CLOCK_SECOND,
                             .tv_nsec = until_us % CLOCK_SECOND * 1000};

    pthread_cond_timedwait(&remover->changed, &remover->mutex, &until);
}

static void tell(struct replay_remover *remover)
{
    const uint64_t one = 1;

    if (write(remover->wake, &one, sizeof one) < 0)
        return; /* it is readable already */
}

static int see_it(void *argument, const struct dead_letter *letter)
{
    (void)argument;
    (void)letter;
    return 1;
}

/* How many are still there, as they were edited. Others that were not removed had been so before, by
 * another replay or by hand. */
static uint64_t count_kept(struct replay_remover *remover, const int64_t *numbers, size_t count)
{
    struct fault fault;
    uint64_t kept = 0;

    for (size_t i = 0; i < count; i++)
        kept += remover->store->ops->read(remover->store, numbers[i], see_it, NULL, &fault) > 0;
    return kept;
}

/* The first `count` of them, or with none the line of the log. Without the lock. */
static int64_t write_store(struct replay_remover *remover, const int64_t *numbers,
                           const uint32_t *edits, size_t count, uint64_t *ret_changed,
                           struct fault *fault)
{
    struct dead_letter_store *store = remover->store;
    int64_t removed;

    *ret_changed = 0;
    if (!count)
        return store->ops->log(store, remover->act, fault);
    removed = store->ops->remove(store, numbers, edits, count, remover->act, fault);
    if (removed >= 0 && (size_t)removed < count)
        *ret_changed = count_kept(remover, numbers, count);
    return removed;
}

static int by_number(const void *one, const void *other)
{
    int64_t a = ((const struct finished_letter *)one)->number;
    int64_t b = ((const struct finished_letter *)other)->number;

    return (a > b) - (a < b);
}

/* With the lock held, but not while it writes. */
static void remove_some(struct replay_remover *remover)
{
    struct finished *finished = &remover->finished;
    size_t count = finished->count < REMOVE_MOST ? finished->count : REMOVE_MOST;
    int64_t numbers[REMOVE_MOST];
    uint32_t edits[REMOVE_MOST];
    struct fault fault = {.text = ""};
    uint64_t changed;
    bool failed;

    /* Lanes take turns, so that letters end in another order than they lie in the file: sorted, each
     * page is written once. */
    if (count)
        qsort(finished->letters, count, sizeof *finished->letters, by_number);
    for (size_t i = 0; i < count; i++) {
        numbers[i] = finished->letters[i].number;
        edits[i] = finished->letters[i].edits;
    }
    remover->act->failed = remover->died;
    pthread_mutex_unlock(&remover->mutex);
    failed = write_store(remover, numbers, edits, count, &changed, &fault) < 0;
    pthread_mutex_lock(&remover->mutex);
    remover->state.failing = failed;
    if (failed) {
        remover->state.fault = fault;
        return;
    }
    remover->state.changed += changed;
    finished->count -= count;
    if (count)
        memmove(finished->letters, finished->letters + count,
                finished->count * sizeof *finished->letters);
    if (!count)
        remover->state.finished = true;
}

static void *run(void *argument)
{
    struct replay_remover *remover = argument;

    pthread_mutex_lock(&remover->mutex);
    while (!remover->ending) {
        if (!remover->finishing && !remover->finished.count) {
            pthread_cond_wait(&remover->changed, &remover->mutex);
            continue;
        }
        if (remover->state.finished) {
            pthread_cond_wait(&remover->changed, &remover->mutex);
            continue;
        }
        if (remover->finished.count < REMOVE_MOST && !remover->finishing)
            wait_until(remover, REMOVE_US);
        remove_some(remover);
        tell(remover);
        if (remover->state.failing)
            wait_until(remover, AGAIN_US);
    }
    pthread_mutex_unlock(&remover->mutex);
    return NULL;
}

struct replay_remover *replay_remover_new(const char *state_directory, struct dead_letter_act *act,
                                          int wake, struct fault *fault)
{
    struct replay_remover *remover = memory_zero(1, sizeof *remover);
    int failed;

    remover->act = act;
    remover->wake = wake;
    /* A removal that power loss takes back is only done again: the token is recorded. */
    remover->store = dead_letter_store_sqlite_open(state_directory, DEAD_LETTER_WRITE_SOON, fault);
    if (!remover->store || remover->store->ops->log(remover->store, act, fault) != 0) {
        if (remover->store)
            remover->store->ops->close(remover->store);
        free(remover);
        return NULL;
    }
    pthread_mutex_init(&remover->mutex, NULL);
    pthread_cond_init(&remover->changed, NULL);
    failed = pthread_create(&remover->thread, NULL, run, remover);
    if (!failed) {
        pthread_setname_np(remover->thread, "replay-remover");
        return remover;
    }
    fault_set(fault, "cannot start a thread: %s", strerror(failed));
    remover->store->ops->close(remover->store);
    free(remover);
    return NULL;
}

void replay_remover_free(struct replay_remover *remover)
{
    if (!remover)
        return;
    pthread_mutex_lock(&remover->mutex);
    remover->ending = true;
    pthread_cond_broadcast(&remover->changed);
    pthread_mutex_unlock(&remover->mutex);
    pthread_join(remover->thread, NULL);
    remover->store->ops->close(remover->store);
    pthread_cond_destroy(&remover->changed);
    pthread_mutex_destroy(&remover->mutex);
    free(remover->finished.letters);
    free(remover);
}

void replay_remover_add(struct replay_remover *remover, int64_t number, uint32_t edits)
{
    struct finished *finished = &remover->finished;

    pthread_mutex_lock(&remover->mutex);
    if (finished->count == finished->room) {
        finished->room = finished->room ? finished->room * 2 : REMOVE_MOST;
        finished->letters =
            memory_resize(finished->letters, finished->room, sizeof *finished->letters);
    }
    finished->letters[finished->count++] = (struct finished_letter){number, edits};
    if (finished->count == 1 || finished->count == REMOVE_MOST)
        pthread_cond_broadcast(&remover->changed);
    pthread_mutex_unlock(&remover->mutex);
}

void replay_remover_died(struct replay_remover *remover)
{
    pthread_mutex_lock(&remover->mutex);
    remover->died++;
    pthread_mutex_unlock(&remover->mutex);
}

void replay_remover_state(struct replay_remover *remover, struct replay_remover_state *ret_state)
{
    pthread_mutex_lock(&remover->mutex);
    *ret_state = remover->state;
    ret_state->waiting = remover->finished.count;
    pthread_mutex_unlock(&remover->mutex);
}

void replay_remover_finish(struct replay_remover *remover)
{
    pthread_mutex_lock(&remover->mutex);
    remover->finishing = true;
    pthread_cond_broadcast(&remover->changed);
    pthread_mutex_unlock(&remover->mutex);
}
