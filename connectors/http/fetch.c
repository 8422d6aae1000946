/* SPDX-License-Identifier: MIT
 * Receiving: how many receives are under way, and the pauses between them. */
#include <stdlib.h>

#include "http.h"

#define OPEN_LONG_US   (2 * HTTP_SECOND)
#define ANSWER_SOON_US (HTTP_SECOND * 3 / 10)
#define ANSWER_BYTES   ((size_t)2 << 20) /* what an answer should not be much larger than: reading it takes
                                            the poller's time and memory */
#define FIRST_COUNT    100 /* messages of the first receive */

struct http_fetch {
    struct http *http;
    struct http_fetch *next;
    unsigned count;
    int64_t begun_us;
};

static void take_fetch(struct http_fetch *fetch)
{
    struct http *http = fetch->http;
    struct http_fetch **at = &http->fetches;

    while (*at != fetch)
        at = &(*at)->next;
    *at = fetch->next;
    http->fetch_count--;
    http->asked -= fetch->count;
}

/* An answer of more than half of what it could be: more is there, and one more receive at a time may
 * help. An empty one: one is enough, and the next waits; longer each time. */
static void adapt(struct http *http, const struct http_fetch *fetch, size_t count)
{
    const struct http_config *config = http->config;

    if (count) {
        http->poll_us = config->poll_least_us;
        http->poll_due_us = 0;
        if (count * 2 > fetch->count && http->fetch_most < config->receives)
            http->fetch_most++;
        return;
    }
    http->fetch_most = 1;
    http->poll_due_us = fetch->begun_us + http->poll_us;
    http->poll_us = http->poll_us * 2 < config->poll_most_us ? http->poll_us * 2 : config->poll_most_us;
}

/* Large messages at once count in full, small ones only by and by: the next may be large again. */
static void learn_size(struct http *http, size_t bytes, size_t count)
{
    size_t each = bytes / count + 1;

    http->message_bytes = each > http->message_bytes ? each : http->message_bytes - (http->message_bytes - each) / 8;
}

/* How many messages one receive may ask for: what fits by what is known of their size, and not many more
 * than came the last time, as a few small ones say little of the rest. */
static unsigned count_most(const struct http *http)
{
    size_t most = FIRST_COUNT + 2 * http->newest_count;

    if (http->message_bytes && ANSWER_BYTES / http->message_bytes < most)
        most = ANSWER_BYTES / http->message_bytes;
    most = most < http->config->can.receive_most ? most : http->config->can.receive_most;
    return most ? (unsigned)most : 1;
}

static void take_list(struct http *http, const struct http_fetch *fetch, struct http_list *list)
{
    const struct http_config *config = http->config;
    int64_t lease_us = config->can.first_lease_us ? config->can.first_lease_us : config->lease_us;
    int64_t since_us = config->can.wait_us ? http->now_us : fetch->begun_us; /* not after its begin */
    struct http_message *next;

    for (struct http_message *message = list->first; message; message = next) {
        next = message->next;
        message->lease_us = since_us + lease_us;
        if (config->dialect->count && http->backlog > 0)
            http->backlog--; /* it waits no longer; counted anew later */
        http_hold(http, message);
    }
}

static void on_received(void *argument, const struct http_reply *reply)
{
    struct http_fetch *fetch = argument;
    struct http *http = fetch->http;
    const struct http_config *config = http->config;
    struct http_list list = {.backlog = -1};
    struct http_fault fault;

    take_fetch(fetch);
    /* Where the server holds it open, the end of our patience is an empty answer. */
    if (!reply->answer.status && config->can.wait_us &&
        http->now_us - fetch->begun_us >= config->can.wait_us) {
        adapt(http, fetch, 0);
    } else if (http_judge(http, reply, &fault) ||
               config->dialect->received(config->instance, &reply->answer, &list, &fault)) {
        if (fault.state == SLUICE_STATE_UNAUTHORISED && config->dialect->forget)
            config->dialect->forget(config->instance);
        http->fetch_most = 1;
        if (reply->too_large) /* half as many next time */
            learn_size(http, ANSWER_BYTES, (fetch->count + 1) / 2);
        http_failed(http, &http->receiving, &fault, reply->retry_after_us);
    } else {
        if (!config->dialect->count)
            http->backlog = list.backlog;
        if (list.count)
            learn_size(http, reply->answer.size, list.count);
        http->newest_count = list.count;
        adapt(http, fetch, list.count);
        take_list(http, fetch, &list);
        http_worked(http, &http->receiving);
    }
    free(fetch);
}

static int begin(struct http *http, unsigned count)
{
    const struct http_config *config = http->config;
    struct http_fetch *fetch = calloc(1, sizeof *fetch);
    struct http_request request = {0};

    if (!fetch || config->dialect->receive(config->instance, count, &request) ||
        http_ask(http, &request, config->timeout_us + config->can.wait_us, on_received, fetch)) {
        http_request_free(&request);
        free(fetch);
        return -1;
    }
    *fetch = (struct http_fetch){http, http->fetches, count, http->now_us};
    http->fetches = fetch;
    http->fetch_count++;
    http->asked += count;
    return 0;
}

/* How many messages there is room for, beyond those on their way. What a paused lane holds takes none
 * of it, so that it does not keep others out. */
static size_t wanted(const struct http *http, const struct sluice_room *room)
{
    size_t most = room->messages < HTTP_MESSAGES * 4 ? room->messages : HTTP_MESSAGES * 4;
    size_t taken = http->waiting_count - http->paused_count + http->asked;

    if (http->held_count + http->asked >= HTTP_HELD_MOST || http->item_count >= HTTP_ITEMS_MOST ||
        http->waiting_bytes >= room->bytes)
        return 0;
    return taken < most ? most - taken : 0;
}

/* Where the server holds a receive open, that says that all is well as an answer does. */
static void look_at_open(struct http *http)
{
    if (!http->config->can.wait_us || (http->running && !http->receiving.bad))
        return;
    for (const struct http_fetch *fetch = http->fetches; fetch; fetch = fetch->next)
        if (http->now_us - fetch->begun_us >= OPEN_LONG_US) {
            http_worked(http, &http->receiving);
            return;
        }
}

int64_t http_fetch(struct http *http, const struct sluice_room *room)
{
    size_t count = wanted(http, room);
    int64_t due_us = http->poll_due_us > http->receiving.due_us ? http->poll_due_us
                                                                : http->receiving.due_us;

    look_at_open(http);
    if (!count || !room->bytes)
        return INT64_MAX;
    if (http->now_us < due_us)
        return due_us;
    while (count && http->fetch_count < http->fetch_most && http_may_ask(http)) {
        unsigned most = count_most(http), some = count < most ? (unsigned)count : most;

        if (begin(http, some)) {
            struct http_fault fault;

            http_fault(&fault, SLUICE_STATE_FAILED, "no memory for a request; it is tried again");
            http_failed(http, &http->receiving, &fault, 0);
            break;
        }
        count -= some;
    }
    return http->running && !http->receiving.bad ? INT64_MAX : http->now_us + OPEN_LONG_US / 4;
}

void http_fetch_end(struct http *http, bool all)
{
    struct http_fetch *next;

    for (struct http_fetch *fetch = http->fetches; fetch; fetch = next) {
        next = fetch->next;
        if (!all && (!http->config->can.wait_us || http->now_us - fetch->begun_us < ANSWER_SOON_US ||
                     http->now_us - http->quiet_us < ANSWER_SOON_US))
            continue;
        http_wire_cancel(http->wire, on_received, fetch);
        take_fetch(fetch);
        free(fetch);
    }
}
