/* SPDX-License-Identifier: MIT
 * The publisher's thread. */
#define _GNU_SOURCE
#include "service/publisher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "service/options.h"
#include "service/publisher_inside.h"

#define TURN_MOST_US   CLOCK_SECOND
#define START_RETRY_US (5 * CLOCK_SECOND)
#define STUCK_US       (5 * CLOCK_SECOND) /* a job that waits longer for its confirmations is told of */
#define TELL_AGAIN_US  (60 * CLOCK_SECOND)

/* ---- jobs ---- */

void publisher_take_job(struct publisher *publisher, struct record_job *job, int64_t now_us)
{
    struct task *task = memory_zero(1, sizeof *task);

    *task = (struct task){.job = job,
                          .parcels = memory_zero(job->letter_count, sizeof *task->parcels),
                          .left = job->letter_count,
                          .since_us = now_us};
    for (size_t i = 0; i < job->letter_count; i++)
        task->parcels[i] = (struct parcel){.letter = &job->letters[i], .task = task};
    *publisher->tasks_end = task;
    publisher->tasks_end = &task->next;
}

static void on_mailbox(void *argument, uint32_t events)
{
    struct publisher *publisher = argument;
    struct mailbox_item *item = mailbox_take_all(&publisher->mailbox), *next;

    (void)events;
    for (; item; item = next) {
        next = item->next;
        if (item == &publisher->keep_job.item)
            publisher_kept(publisher, loop_now(publisher->loop));
        else if (!publisher_bury_answered(publisher, item, loop_now(publisher->loop)))
            publisher_take_job(publisher, (struct record_job *)item, loop_now(publisher->loop));
    }
}

/* Gives jobs back: those that are done, and all of them (failed) where nothing is sent any more. */
static void answer(struct publisher *publisher)
{
    struct task **at = &publisher->tasks, *task;

    while ((task = *at)) {
        struct record_job *job = task->job;
        bool keeps = publisher->keeping && publisher->keeping->task == task;

        if (task->left && (publisher->instance || keeps)) {
            at = &task->next;
            continue;
        }
        job->failed = task->left > 0;
        if (job->failed)
            fault_set(&job->fault, "%s: %s", publisher->to->text,
                      publisher->error[0] ? publisher->error : "sluice stops before it has confirmed them");
        *at = task->next;
        for (size_t i = 0; i < job->letter_count; i++)
            free(task->parcels[i].why);
        free(task->parcels);
        free(task);
        mailbox_post(job->reply_to, &job->item);
    }
    publisher->tasks_end = at;
}

/* ---- the state ---- */

void publisher_note_error(struct publisher *publisher, const char *text)
{
    snprintf(publisher->present.error, sizeof publisher->present.error, "%s", text);
    publisher->present.error_wall_us = clock_wall();
}

static const char *why_stuck(const struct publisher *publisher, int64_t now_us)
{
    if (!publisher->tasks)
        return NULL;
    if (publisher->failing)
        return publisher->error;
    if (now_us - publisher->tasks->since_us < STUCK_US)
        return NULL;
    return publisher->present.state_text[0] ? publisher->present.state_text
                                            : "it confirms nothing";
}

static void tell_stuck(struct publisher *publisher, const char *why, int64_t now_us)
{
    struct publisher_status *present = &publisher->present;

    present->stuck = why != NULL;
    if (!why) {
        present->text[0] = '\0';
        if (publisher->told_us)
            log_event(LOG_INFO, "dead_letters_written", LOG_TEXT("mapping", publisher->mapping->name),
                      LOG_TEXT("place", publisher->to->text));
        publisher->told_us = 0;
        return;
    }
    snprintf(present->text, sizeof present->text, "dead letters cannot be written to %.100s: %.250s",
             publisher->to->text, why);
    if (publisher->told_us && now_us - publisher->told_us < TELL_AGAIN_US)
        return;
    publisher->told_us = now_us;
    log_event(LOG_ERROR, "dead_letters_stuck", LOG_TEXT("mapping", publisher->mapping->name),
              LOG_NUMBER("messages", (int64_t)present->waiting),
              LOG_TEXT("place", publisher->to->text), LOG_TEXT("error", why),
              LOG_TEXT("effect", "nothing of them is settled; it is tried again and again"));
}

static void share_status(struct publisher *publisher, int64_t now_us)
{
    publisher->present.waiting = 0;
    for (const struct task *task = publisher->tasks; task; task = task->next)
        publisher->present.waiting += task->left;
    tell_stuck(publisher, why_stuck(publisher, now_us), now_us);
    publisher->present.turn_us = now_us;
    pthread_mutex_lock(&publisher->status_lock);
    publisher->status = publisher->present;
    pthread_mutex_unlock(&publisher->status_lock);
}

void publisher_read_status(struct publisher *publisher, struct publisher_status *ret_status)
{
    pthread_mutex_lock(&publisher->status_lock);
    *ret_status = publisher->status;
    pthread_mutex_unlock(&publisher->status_lock);
}

/* ---- the thread ---- */

static void on_connector(void *argument, uint32_t events)
{
    ((struct publisher *)argument)->receive_us = 0;
    (void)events;
}

static void start_connector(struct publisher *publisher, int64_t now_us)
{
    char name[256];

    if (publisher->started || now_us < publisher->start_us)
        return;
    snprintf(name, sizeof name, "sluice-%s-letters@%s", publisher->mapping->name,
             publisher->host_name);
    if (publisher->connector->start(publisher->instance, name)) {
        publisher->start_us = now_us + START_RETRY_US;
        return;
    }
    publisher->started = true;
    loop_watch(publisher->loop, publisher->connector->descriptor(publisher->instance), EPOLLIN,
               on_connector, publisher);
}

static void receive(struct publisher *publisher, int64_t now_us)
{
    const struct sluice_room none = {0};
    int64_t again_us;

    if (!publisher->started || now_us < publisher->receive_us)
        return;
    again_us = publisher->connector->receive(publisher->instance, &none);
    if (again_us < 0 || again_us > TURN_MOST_US / 2)
        again_us = TURN_MOST_US / 2;
    publisher->receive_us = now_us + again_us;
}

/* What is under way is answered as failed within. */
static void close_connector(struct publisher *publisher)
{
    if (!publisher->instance)
        return;
    if (publisher->started)
        loop_unwatch(publisher->loop, publisher->connector->descriptor(publisher->instance));
    publisher->connector->close(publisher->instance);
    publisher->instance = NULL;
    publisher->started = false;
}

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

static void turn(struct publisher *publisher)
{
    int64_t now_us = loop_now(publisher->loop), until_us = now_us + TURN_MOST_US;

    if (atomic_load(&publisher->stop_asked) && now_us >= atomic_load(&publisher->stop_us))
        close_connector(publisher);
    publisher_bury_turn(publisher, now_us);
    if (publisher->instance) {
        start_connector(publisher, now_us);
        publisher_send(publisher, now_us);
        receive(publisher, now_us);
        publisher_keep(publisher, now_us);
    }
    answer(publisher);
    share_status(publisher, now_us);
    if (publisher->started)
        until_us = earlier(until_us, publisher->receive_us);
    if (publisher->tasks && publisher->retry_us > now_us)
        until_us = earlier(until_us, publisher->retry_us);
    if (atomic_load(&publisher->stop_asked) && publisher->instance)
        until_us = earlier(until_us, atomic_load(&publisher->stop_us));
    loop_turn(publisher->loop, until_us);
}

static void *run(void *argument)
{
    struct publisher *publisher = argument;

    while (!atomic_load(&publisher->finish_asked) || publisher->tasks || publisher->keeping ||
           publisher->burial)
        turn(publisher);
    close_connector(publisher);
    pthread_mutex_lock(&publisher->status_lock);
    publisher->status.turn_us = 0;
    publisher->status.stuck = false;
    publisher->status.state = 0;
    publisher->status.state_wall_us = clock_wall();
    publisher->status.state_text[0] = '\0';
    pthread_mutex_unlock(&publisher->status_lock);
    atomic_store(&publisher->ended, true);
    return NULL;
}

/* ---- life ---- */

static void describe_place(struct publisher *publisher)
{
    const struct mapping *mapping = publisher->mapping;
    const char *url = mapping->target.url ? mapping->target.url : "";
    char name[128] = "localhost";

    gethostname(name, sizeof name - 1);
    publisher->host_name = memory_text(name);
    /* A query may hold a secret; a user and password in it are refused. */
    publisher->target = memory_text_n(url, strcspn(url, "?#"));
    publisher->servers = mapping_servers(mapping);
    publisher->place = (struct letter_place){
        .connector = publisher->connector->name,
        .keeps_keys = publisher->connector->capabilities & SLUICE_HAS_KEY,
        .lacks_headers = mapping_capabilities(publisher->to->connector, publisher->to->values) &
                         SLUICE_LACKS_HEADERS,
        .styles = publisher->to->styles,
        .source_connector = mapping_kind(mapping),
        .servers = publisher->servers,
        .target = publisher->target,
        .group = options_known(mapping->values, "group") ? options_text(mapping->values, "group")
                                                         : NULL,
    };
}

static int make_parts(struct publisher *publisher, struct fault *fault)
{
    const struct letters_to *to = publisher->to;

    if (getrandom(publisher->sequence, sizeof publisher->sequence, 0) !=
        sizeof publisher->sequence)
        publisher->sequence[0] = (uint64_t)clock_wall();
    publisher->loop = loop_new(fault);
    if (!publisher->loop || mailbox_init(&publisher->mailbox, fault))
        return -1;
    if (publisher->connector->open_publisher(&publisher->host, &publisher_host_api, to->values,
                                             &publisher->instance)) {
        publisher->instance = NULL;
        return fault_set(fault, "the connector %s refused the options of dead_letter.to",
                         publisher->connector->name);
    }
    if (loop_watch(publisher->loop, mailbox_fd(&publisher->mailbox), EPOLLIN, on_mailbox, publisher))
        return fault_set(fault, "cannot watch a descriptor: %s", strerror(errno));
    return 0;
}

struct publisher *publisher_new(const struct mapping *mapping, struct recorder *recorder,
                                struct park *park, struct fault *fault)
{
    struct publisher *publisher = memory_zero(1, sizeof *publisher);

    publisher->mapping = mapping;
    publisher->to = &mapping->letters_to;
    publisher->recorder = recorder;
    publisher->park = park;
    publisher->lot = park ? park_lot(park, mapping->name) : NULL;
    publisher->connector = mapping->letters_to.connector;
    publisher->host.publisher = publisher;
    publisher->mailbox.fd = -1;
    publisher->tasks_end = &publisher->tasks;
    pthread_mutex_init(&publisher->status_lock, NULL);
    describe_place(publisher);
    if (make_parts(publisher, fault) == 0)
        return publisher;
    publisher_free(publisher);
    return NULL;
}

int publisher_start(struct publisher *publisher, struct fault *fault)
{
    char name[16];
    int failed;

    publisher->present.state = SLUICE_STATE_CONNECTING;
    publisher->present.state_wall_us = clock_wall();
    publisher->status = publisher->present;
    publisher->status.turn_us = clock_now();
    failed = pthread_create(&publisher->thread, NULL, run, publisher);
    if (failed)
        return fault_set(fault, "cannot start a thread: %s", strerror(failed));
    publisher->running = true;
    snprintf(name, sizeof name, "dl-%.12s", publisher->mapping->name);
    pthread_setname_np(publisher->thread, name);
    return 0;
}

void publisher_submit(struct publisher *publisher, struct record_job *job)
{
    job->failed = false;
    mailbox_post(&publisher->mailbox, &job->item);
}

/* An item that is no job would have to be told apart: a wake is all that is needed. */
void publisher_wake(struct publisher *publisher)
{
    const uint64_t one = 1;

    if (write(mailbox_fd(&publisher->mailbox), &one, sizeof one) < 0)
        return; /* it is readable already */
}

void publisher_stop(struct publisher *publisher, int64_t drain_us)
{
    atomic_store(&publisher->stop_us, clock_now() + drain_us);
    atomic_store(&publisher->stop_asked, true);
    publisher_wake(publisher);
}

void publisher_finish(struct publisher *publisher)
{
    if (!atomic_exchange(&publisher->finish_asked, true))
        publisher_wake(publisher);
}

bool publisher_ended(const struct publisher *publisher)
{
    return !publisher->running || atomic_load(&publisher->ended);
}

void publisher_free(struct publisher *publisher)
{
    if (!publisher)
        return;
    if (publisher->running) {
        publisher_finish(publisher);
        pthread_join(publisher->thread, NULL);
    }
    recorder_quiesce(publisher->recorder);
    if (publisher->instance)
        publisher->connector->close(publisher->instance);
    if (publisher->mailbox.fd >= 0)
        mailbox_fini(&publisher->mailbox);
    loop_free(publisher->loop);
    pthread_mutex_destroy(&publisher->status_lock);
    free(publisher->target);
    free(publisher->servers);
    free(publisher->host_name);
    free(publisher);
}
