/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/tracer.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/http_client.h"
#include "io/loop.h"
#include "io/otlp.h"

#define LINGER_US      CLOCK_SECOND /* how long a span waits for others */
#define STOP_US        (2 * CLOCK_SECOND)
#define RETRY_LEAST_US CLOCK_SECOND
#define RETRY_MOST_US  (30 * CLOCK_SECOND)
#define HOST_MOST      64

struct span_list {
    struct span *first, *last;
    uint32_t count;
};

struct tracer {
    const struct trace_settings *settings;
    struct mailbox mailbox;
    struct mailbox_item stop; /* posted: the end is asked for */
    atomic_uint waiting;      /* spans in the mailbox and the list */
    atomic_uint_fast64_t sent, dropped;
    pthread_t thread;

    /* The thread's own. */
    struct loop *loop;
    struct http_client *client;
    char host[HOST_MOST];
    struct span_list list;
    int64_t oldest_us; /* when the list began */
    char *body;        /* a request, in flight or to be sent again; NULL: none */
    uint32_t body_count;
    bool in_flight;
    unsigned tries;
    int64_t retry_us;
    bool failing; /* which was told */
    int64_t stop_us; /* when to end in any case; 0: not asked */
};

double tracer_ratio(const struct tracer *tracer)
{
    return tracer->settings->sample;
}

void tracer_offer(struct tracer *tracer, struct span *span)
{
    if (atomic_fetch_add_explicit(&tracer->waiting, 1, memory_order_relaxed) < TRACER_WAITING) {
        mailbox_post(&tracer->mailbox, &span->item);
        return;
    }
    atomic_fetch_sub_explicit(&tracer->waiting, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&tracer->dropped, 1, memory_order_relaxed);
    free(span);
}

struct tracer_stats tracer_stats(struct tracer *tracer)
{
    return tracer ? (struct tracer_stats){atomic_load(&tracer->sent), atomic_load(&tracer->dropped)}
                  : (struct tracer_stats){0};
}

/* ---- in ---- */

static void on_mailbox(void *argument, uint32_t events)
{
    struct tracer *tracer = argument;
    struct mailbox_item *item = mailbox_take_all(&tracer->mailbox), *next;

    (void)events;
    for (; item; item = next) {
        struct span_list *list = &tracer->list;

        next = item->next;
        item->next = NULL;
        if (item == &tracer->stop) {
            tracer->stop_us = clock_now() + STOP_US;
            continue;
        }
        if (list->last)
            list->last->item.next = item;
        else
            list->first = (struct span *)item;
        list->last = (struct span *)item;
        if (!list->count++)
            tracer->oldest_us = loop_now(tracer->loop);
    }
}

/* Takes the first spans out of the list, at most so many. */
static struct span *take(struct tracer *tracer, uint32_t most, uint32_t *ret_count)
{
    struct span_list *list = &tracer->list;
    struct span *first = list->first, *last = first;
    uint32_t count = 1;

    for (; count < most && last->item.next; count++)
        last = (struct span *)last->item.next;
    list->first = (struct span *)last->item.next;
    if (!list->first)
        list->last = NULL;
    last->item.next = NULL;
    list->count -= count;
    atomic_fetch_sub_explicit(&tracer->waiting, count, memory_order_relaxed);
    *ret_count = count;
    return first;
}

/* ---- out ---- */

static void finish(struct tracer *tracer, uint64_t sent)
{
    if (sent > tracer->body_count)
        sent = tracer->body_count;
    atomic_fetch_add(&tracer->sent, sent);
    atomic_fetch_add(&tracer->dropped, tracer->body_count - sent);
    free(tracer->body);
    tracer->body = NULL;
    tracer->tries = 0;
}

static void tell(struct tracer *tracer, const char *error, const char *effect)
{
    if (!tracer->failing)
        log_event(LOG_WARNING, "traces_failed", LOG_TEXT("error", error),
                  LOG_TEXT("effect", effect));
    tracer->failing = true;
}

static bool is_temporary(const struct http_answer *answer)
{
    return answer->end != HTTP_ANSWERED || answer->status == 429 || answer->status == 502 ||
           answer->status == 503 || answer->status == 504;
}

static void try_later(struct tracer *tracer, const struct http_answer *answer)
{
    int64_t wait_us = RETRY_LEAST_US << (tracer->tries < 5 ? tracer->tries : 5);

    tracer->tries++;
    wait_us = wait_us < RETRY_MOST_US ? wait_us : RETRY_MOST_US;
    if (answer->retry_after_us > wait_us)
        wait_us = answer->retry_after_us;
    tracer->retry_us = loop_now(tracer->loop) + wait_us;
}

static void on_answer(void *argument, const struct http_answer *answer)
{
    struct tracer *tracer = argument;
    char text[sizeof answer->error + 64];

    tracer->in_flight = false;
    if (answer->end == HTTP_ANSWERED && answer->status / 100 == 2) {
        uint64_t rejected = otlp_rejected(answer->body, answer->body_size);

        finish(tracer, tracer->body_count - (rejected < tracer->body_count ? rejected
                                                                           : tracer->body_count));
        if (tracer->failing)
            log_event(LOG_INFO, "traces_sent");
        tracer->failing = false;
        return;
    }
    if (answer->end == HTTP_ANSWERED) /* without its body, which may say more than it should */
        snprintf(text, sizeof text, "the receiver of traces answered %u",
                 (unsigned)answer->status);
    else
        snprintf(text, sizeof text, "%s", answer->error);
    if (is_temporary(answer) && !tracer->stop_us) {
        tell(tracer, text, "it is tried again; what does not fit meanwhile is dropped");
        try_later(tracer, answer);
    } else {
        tell(tracer, text, "these traces are dropped");
        finish(tracer, 0);
    }
}

static void send(struct tracer *tracer)
{
    static const char *const headers[] = {"Content-Type: application/json"};
    struct http_request request = {.body = tracer->body,
                                   .body_size = strlen(tracer->body),
                                   .headers = headers,
                                   .header_count = 1,
                                   .done = on_answer,
                                   .argument = tracer};
    struct fault fault;

    tracer->in_flight = !http_client_send(tracer->client, &request, &fault);
    if (tracer->in_flight)
        return;
    tell(tracer, fault.text, "these traces are dropped");
    finish(tracer, 0);
}

static void write_body(struct tracer *tracer)
{
    struct span *span = take(tracer, TRACER_BATCH, &tracer->body_count), *next;

    tracer->body = otlp_write(span, tracer->host);
    for (; span; span = next) {
        next = (struct span *)span->item.next;
        free(span);
    }
    if (!tracer->body) /* of what no JSON can hold */
        finish(tracer, 0);
}

/* Sends what is due; returns when to look again. */
static int64_t work(struct tracer *tracer)
{
    int64_t now_us = loop_now(tracer->loop), due_us = tracer->oldest_us + LINGER_US;

    if (tracer->in_flight)
        return CLOCK_NEVER;
    if (tracer->body && now_us < tracer->retry_us && !tracer->stop_us)
        return tracer->retry_us;
    if (!tracer->body && tracer->list.count) {
        if (tracer->list.count < TRACER_BATCH && now_us < due_us && !tracer->stop_us)
            return due_us;
        write_body(tracer);
    }
    if (tracer->body)
        send(tracer);
    return tracer->in_flight || !tracer->list.count ? CLOCK_NEVER : now_us;
}

static bool is_at_end(const struct tracer *tracer)
{
    return tracer->stop_us && (clock_now() >= tracer->stop_us ||
                               (!tracer->in_flight && !tracer->body && !tracer->list.count));
}

static void *run(void *argument)
{
    struct tracer *tracer = argument;

    while (!is_at_end(tracer)) {
        int64_t until_us = work(tracer);

        if (tracer->stop_us && until_us > tracer->stop_us)
            until_us = tracer->stop_us;
        if (!is_at_end(tracer))
            loop_turn(tracer->loop, until_us);
    }
    return NULL;
}

/* ---- life ---- */

static void tracer_free(struct tracer *tracer)
{
    struct span *span, *next;

    for (span = tracer->list.first; span; span = next) {
        next = (struct span *)span->item.next;
        free(span);
    }
    free(tracer->body);
    http_client_free(tracer->client);
    if (tracer->mailbox.fd >= 0)
        mailbox_fini(&tracer->mailbox);
    loop_free(tracer->loop);
    free(tracer);
}

static int make_parts(struct tracer *tracer, struct fault *fault)
{
    tracer->loop = loop_new(fault);
    if (!tracer->loop || mailbox_init(&tracer->mailbox, fault))
        return -1;
    tracer->client = http_client_new(tracer->loop, &tracer->settings->http, fault);
    if (!tracer->client)
        return fault_prefix(fault, "traces");
    if (loop_watch(tracer->loop, mailbox_fd(&tracer->mailbox), EPOLLIN, on_mailbox, tracer))
        return fault_set(fault, "cannot watch a descriptor: %s", strerror(errno));
    return 0;
}

struct tracer *tracer_start(const struct trace_settings *settings, struct fault *fault)
{
    struct tracer *tracer = memory_zero(1, sizeof *tracer);
    int failed;

    tracer->settings = settings;
    tracer->mailbox.fd = -1;
    gethostname(tracer->host, sizeof tracer->host - 1);
    if (make_parts(tracer, fault)) {
        tracer_free(tracer);
        return NULL;
    }
    failed = pthread_create(&tracer->thread, NULL, run, tracer);
    if (failed) {
        fault_set(fault, "cannot start a thread: %s", strerror(failed));
        tracer_free(tracer);
        return NULL;
    }
    pthread_setname_np(tracer->thread, "traces");
    return tracer;
}

void tracer_stop(struct tracer *tracer)
{
    if (!tracer)
        return;
    mailbox_post(&tracer->mailbox, &tracer->stop);
    pthread_join(tracer->thread, NULL);
    tracer_free(tracer);
}
