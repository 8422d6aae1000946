/* SPDX-License-Identifier: MIT
 * Acknowledging, giving back and extending: a row of items, of which requests take as many as their
 * dialect can put into one. What fails is asked again until it was answered. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define REQUESTS_MOST 16
#define TOGETHER_MOST 1000 /* items that a request is built of */
#define LOOK_AHEAD    4    /* times as many as a request takes: they may be of several kinds */

/* One request with what it is about. */
struct http_settling {
    struct http *http;
    struct http_settling *next;
    int64_t begun_us;
    size_t count;
    struct http_item *items[];
};

void http_message_done(struct http_message *message)
{
    if (message->released && !message->items)
        http_message_free(message);
}

/* ---- the row ---- */

static void append(struct http *http, struct http_item *item)
{
    if (!http->items)
        http->items_end = &http->items;
    item->next = NULL;
    *http->items_end = item;
    http->items_end = &item->next;
}

void http_settle_add(struct http *http, struct http_message *message, enum http_action action,
                     int64_t seconds)
{
    struct http_item *item = message->item.message ? malloc(sizeof *item) : &message->item;

    if (!item) { /* its lease ends, and it comes again */
        message->extending = false;
        return;
    }
    *item = (struct http_item){.message = message, .action = (uint8_t)action, .seconds = seconds};
    message->items++;
    http->item_count++;
    http->extension_count += action == HTTP_EXTEND;
    append(http, item);
}

static void free_item(struct http *http, struct http_item *item)
{
    struct http_message *message = item->message;

    if (item->action == HTTP_EXTEND) {
        message->extending = false;
        http->extension_count--;
    }
    message->items--;
    http->item_count--;
    if (item == &message->item)
        item->message = NULL;
    else
        free(item);
    http_message_done(message);
}

/* Drops those that have no purpose any more: extensions of what was settled meanwhile. */
static bool is_void(const struct http_item *item)
{
    return item->action == HTTP_EXTEND && (item->message->settled || item->message->released);
}

/* ---- answers ---- */

static void finish_item(struct http_settling *settling, struct http_item *item)
{
    struct http *http = settling->http;

    if (item->action == HTTP_EXTEND && item->result == HTTP_DONE)
        item->message->lease_us = settling->begun_us + item->seconds * HTTP_SECOND;
    free_item(http, item);
}

/* Asked again; extensions are not, as the next look at the leases asks for them anew. */
static void again(struct http_settling *settling, struct http_item *item, bool alone)
{
    item->taken = false;
    item->alone = alone;
    item->result = HTTP_OPEN;
    if (item->action == HTTP_EXTEND && !alone)
        free_item(settling->http, item);
    else
        append(settling->http, item);
}

/* The request itself was refused: of several, some receipt may be to blame; of one, it is. */
static void refused(struct http_settling *settling, const struct http_fault *fault)
{
    struct http *http = settling->http;

    if (settling->count > 1) {
        for (size_t i = 0; i < settling->count; i++)
            again(settling, settling->items[i], true);
        return;
    }
    http->api->log(http->host, SLUICE_LOG_WARNING, "settlement_refused", fault->text);
    http->api->settle_failed(http->host, 1);
    if (settling->items[0]->action == HTTP_EXTEND)
        settling->items[0]->message->lease_us = http->now_us; /* not ours any more */
    finish_item(settling, settling->items[0]);
}

static void take_settling(struct http_settling *settling)
{
    struct http *http = settling->http;
    struct http_settling **at = &http->settlings;

    while (*at != settling)
        at = &(*at)->next;
    *at = settling->next;
    http->settling_count--;
}

/* Whether it was about the receipts. What a dialect knows to pass, or to be about credentials, is not. */
static bool is_refusal(long status, const struct http_fault *fault)
{
    return status / 100 == 4 && status != 401 && status != 403 && status != 408 && status != 429 &&
           fault->state != SLUICE_STATE_UNREACHABLE && fault->state != SLUICE_STATE_UNAUTHORISED;
}

static void tell_stale(struct http_settling *settling, struct http_item *item)
{
    struct http *http = settling->http;
    char text[200];

    snprintf(text, sizeof text,
             "message %.*s: its receipt is not taken any more, as its lease ended or its queue is another "
             "one; it comes again, or is gone",
             item->message->id.size < 80 ? (int)item->message->id.size : 80,
             (const char *)item->message->id.data);
    http->api->log(http->host, SLUICE_LOG_WARNING, "settlement_refused", text);
    if (item->action == HTTP_EXTEND)
        item->message->lease_us = http->now_us;
}

/* Those that were answered are done with, the others are asked for again. */
static void sort_out(struct http_settling *settling)
{
    for (size_t i = 0; i < settling->count; i++) {
        struct http_item *item = settling->items[i];

        if (item->result == HTTP_STALE)
            tell_stale(settling, item);
        if (item->result == HTTP_OPEN)
            again(settling, item, item->alone);
        else
            finish_item(settling, item);
    }
}

static void on_settled(void *argument, const struct http_reply *reply)
{
    struct http_settling *settling = argument;
    struct http *http = settling->http;
    const struct http_config *config = http->config;
    struct http_fault fault;
    int status = http_judge(http, reply, &fault);

    take_settling(settling);
    if (status && is_refusal(reply->answer.status, &fault)) {
        refused(settling, &fault);
        http_worked(http, &http->settling);
    } else if (status ||
               config->dialect->settled(config->instance, &reply->answer, settling->items,
                                        settling->count, &fault)) {
        if (fault.state == SLUICE_STATE_UNAUTHORISED && config->dialect->forget)
            config->dialect->forget(config->instance);
        http->api->settle_failed(http->host, 1);
        sort_out(settling);
        http_failed(http, &http->settling, &fault, reply->retry_after_us);
    } else {
        sort_out(settling);
        http_worked(http, &http->settling);
    }
    free(settling);
}

/* ---- requests ---- */

/* Takes out of the row what the request is about, which is among its first `looked_at`. */
static size_t pick(struct http *http, size_t looked_at, struct http_item **ret_items)
{
    struct http_item *item, **at = &http->items;
    size_t count = 0;

    for (; looked_at && (item = *at); looked_at--) {
        if (item->taken) {
            *at = item->next;
            ret_items[count++] = item;
        } else {
            at = &item->next;
        }
    }
    if (!*at)
        http->items_end = at;
    return count;
}

static void drop_void(struct http *http)
{
    struct http_item *item, **at = &http->items;

    if (!http->extension_count) /* the row is long where much is done at once */
        return;
    while ((item = *at)) {
        if (is_void(item)) {
            *at = item->next;
            free_item(http, item);
        } else {
            at = &item->next;
        }
    }
    http->items_end = at;
}

/* One request of the row's beginning. -1 where it cannot be made. */
static int begin(struct http *http, struct http_fault *fault)
{
    const struct http_config *config = http->config;
    struct http_item *items[TOGETHER_MOST];
    struct http_request request = {0};
    struct http_settling *settling;
    size_t count = 0, most = LOOK_AHEAD * config->can.settle_most;
    int status;

    most = most < TOGETHER_MOST ? most : TOGETHER_MOST;
    items[count++] = http->items;
    for (struct http_item *item = http->items->next; item && count < most; item = item->next)
        items[count++] = item;
    settling = malloc(sizeof *settling + count * sizeof *items);
    if (!settling)
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    status = config->dialect->settle(config->instance, items, count, &request, fault);
    settling->http = http;
    settling->begun_us = http->now_us;
    settling->count = pick(http, count, settling->items);
    if (status && settling->count) { /* it cannot be written: some receipt is to blame */
        http_request_free(&request);
        refused(settling, fault);
        free(settling);
        return 0;
    }
    if (!status && http_ask(http, &request, config->timeout_us, on_settled, settling))
        status = http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    if (status) {
        http_request_free(&request);
        for (size_t i = 0; i < settling->count; i++)
            again(settling, settling->items[i], settling->items[i]->alone);
        free(settling);
        return -1;
    }
    settling->next = http->settlings;
    http->settlings = settling;
    http->settling_count++;
    return 0;
}

/* Where requests take many items, the next waits for an answer and so for company, unless it is full:
 * fewer requests, and none later than one round trip. */
static bool is_worth_it(const struct http *http)
{
    size_t waiting = 0;

    if (!http->settlings || http->config->can.settle_most == 1)
        return true;
    for (const struct http_item *item = http->items; item; item = item->next)
        if (++waiting >= http->config->can.settle_most)
            return true;
    return false;
}

int64_t http_settle_turn(struct http *http)
{
    struct http_fault fault;

    drop_void(http);
    if (!http->items)
        return INT64_MAX;
    if (http->now_us < http->settling.due_us)
        return http->settling.due_us;
    while (http->items && http->settling_count < REQUESTS_MOST && is_worth_it(http) && http_may_ask(http))
        if (begin(http, &fault)) {
            http_failed(http, &http->settling, &fault, 0);
            return http->settling.due_us;
        }
    return INT64_MAX;
}

bool http_settle_flushed(const struct http *http)
{
    return !http->items && !http->settlings;
}

void http_settle_free(struct http *http)
{
    while (http->settlings) {
        struct http_settling *settling = http->settlings;

        /* Whoever is taken is in the list no more. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        http_wire_cancel(http->wire, on_settled, settling);
        take_settling(settling);
        for (size_t i = 0; i < settling->count; i++)
            free_item(http, settling->items[i]);
        free(settling);
    }
    while (http->items) {
        struct http_item *item = http->items;

        http->items = item->next;
        free_item(http, item);
    }
}
