/* SPDX-License-Identifier: MIT
 * The connector for HTTP queues: descriptor, and the host's side of an instance. */
#define _GNU_SOURCE
#include "http.h"

#include <stdio.h>
#include <stdlib.h>

#include <curl/curl.h>

#define TICK_US       (60 * HTTP_SECOND)
#define STOP_TICK_US  (HTTP_SECOND / 50)
#define FLUSH_MOST_US (2 * HTTP_SECOND) /* of a stop's time, for what is given back; at most half */

static int open_instance(struct sluice_host *host, const struct sluice_host_api *api,
                         const struct sluice_values *values, bool publishes_only, void **ret_instance)
{
    struct http *http = calloc(1, sizeof *http);

    if (!http)
        return -1;
    http->host = host;
    http->api = api;
    http->publishes_only = publishes_only;
    http->config = http_config_new(api, values, publishes_only);
    http->wire = http->config ? http_wire_new(&http->config->wire) : NULL;
    if (!http->wire) {
        http_config_free(http->config);
        free(http);
        return -1;
    }
    http->items_end = &http->items;
    http->fetch_most = 1;
    http->poll_us = http->config->poll_least_us;
    http->backlog = -1;
    *ret_instance = http;
    return 0;
}

static int http_open(struct sluice_host *host, const struct sluice_host_api *api,
                     const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, false, ret_instance);
}

static int http_open_publisher(struct sluice_host *host, const struct sluice_host_api *api,
                               const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, true, ret_instance);
}

static int http_start(void *instance, const char *name)
{
    struct http *http = instance;

    (void)name; /* no API asks who it is */
    http->api->state(http->host, SLUICE_STATE_CONNECTING, NULL);
    return 0;
}

static int http_descriptor(void *instance)
{
    return http_wire_descriptor(((struct http *)instance)->wire);
}

/* ---- settling ---- */

static int64_t seconds_of(int64_t time_us, int64_t most_us)
{
    if (time_us > most_us)
        time_us = most_us;
    return time_us > 0 ? (time_us - 1) / HTTP_SECOND + 1 : 0;
}

static void http_settle(void *instance, struct sluice_settle_item *items, size_t count)
{
    struct http *http = instance;

    for (size_t i = 0; i < count; i++) {
        struct http_message *message = items[i].handle;

        items[i].result = 0;
        message->settled = true;
        http_let_go(http, message);
        if (items[i].action != SLUICE_RELEASE)
            http_settle_add(http, message, HTTP_ACKNOWLEDGE, 0);
        else if (http->config->can.releases) /* else its lease ends, and it comes again */
            http_settle_add(http, message, HTTP_RELEASE,
                            seconds_of(items[i].delay_us, http->config->can.delay_most_us));
    }
    http_wire_wake(http->wire);
}

static void http_release(void *instance, void *const *handles, size_t count)
{
    struct http *http = instance;

    for (size_t i = 0; i < count; i++) {
        struct http_message *message = handles[i];

        message->released = true;
        if (!message->settled) {
            http_let_go(http, message);
            if (http->config->can.releases)
                http_settle_add(http, message, HTTP_RELEASE, 0);
            http_wire_wake(http->wire);
        }
        http_message_done(message);
    }
}

static size_t http_headers(void *instance, void *handle, struct sluice_header *ret, size_t room)
{
    const struct http_message *message = handle;

    (void)instance;
    for (size_t i = 0; i < message->header_count && i < room; i++)
        ret[i] = message->headers[i];
    return message->header_count;
}

static void http_pause_lane(void *instance, void *lane_pointer, bool paused)
{
    struct http *http = instance;
    struct http_lane *lane = lane_pointer;

    if (lane->paused == paused)
        return;
    lane->paused = paused;
    http->paused_count = paused ? http->paused_count + lane->waiting : http->paused_count - lane->waiting;
    if (!paused)
        http_wire_wake(http->wire);
}

static void http_lane_drained(void *instance, void *lane)
{
    ((struct http_lane *)lane)->drained = true;
    http_wire_wake(((struct http *)instance)->wire);
}

static void http_source_lag(void *instance, struct sluice_lag *ret_lag)
{
    const struct http *http = instance;

    *ret_lag = (struct sluice_lag){-1, -1};
    if (http->backlog >= 0 && !http->receiving.bad) /* of those counted apart, what we hold is no part */
        ret_lag->messages = http->backlog + (http->config->dialect->count ? (int64_t)http->held_count : 0);
}

static void http_lag(void *instance, void *lane_pointer, struct sluice_lag *ret_lag)
{
    const struct http_lane *lane = lane_pointer;

    *ret_lag = (struct sluice_lag){-1, -1};
    if (!lane->keyed)
        http_source_lag(instance, ret_lag);
}

static int http_publish_one(void *instance, const struct sluice_publication *publication)
{
    struct http *http = instance;

    http->now_us = http_now();
    return http_publish(http, publication);
}

/* ---- progress ---- */

/* Lanes go when nothing of them is in flight, or when it is time; then all that is not settled goes
 * back to the server, and with the last answer the connector has stopped. A receive that the server holds
 * open is kept until all is back: it brings what was given back, or else that would be leased to nobody. */
static void continue_stop(struct http *http)
{
    struct http_lane *lane, *next;
    bool late = http->now_us >= http->stop_deadline_us - http->stop_flush_us;

    HASH_ITER(hh, http->lanes, lane, next)
    {
        http_lane_give_back(http, lane);
        if (!lane->closing) {
            lane->closing = true;
            http->api->lane_closing(http->host, lane->cookie);
        }
        if (lane->drained || late)
            http_lane_lose(http, lane);
    }
    if (http->lanes || http->publishings || !http_settle_flushed(http))
        http->quiet_us = http->now_us;
    http_fetch_end(http, false);
    if (http->now_us >= http->stop_deadline_us || (http->quiet_us < http->now_us && !http->fetches)) {
        http->stopped = true;
        http->api->stopped(http->host);
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t http_receive(void *instance, const struct sluice_room *room)
{
    struct http *http = instance;
    int64_t due_us;
    uint64_t ended;
    bool more = false;

    http->now_us = http_now();
    http_wire_turn(http->wire, http->now_us);
    http_publish_turn(http);
    due_us = http_watch(http);
    if (!http->stopping && !http->publishes_only) {
        more = room->messages && room->bytes && http_deliver(http, room);
        due_us = sooner(due_us, http_fetch(http, room));
        due_us = sooner(due_us, http_count(http));
    } else if (http->stopping && !http->stopped) {
        continue_stop(http);
    }
    due_us = sooner(due_us, http_settle_turn(http));
    /* What was begun just now starts at once; of what ends meanwhile something may follow. */
    ended = http_wire_ended(http->wire);
    due_us = sooner(due_us, http_wire_turn(http->wire, http->now_us));
    if (more)
        return 0;
    if (http_wire_ended(http->wire) != ended)
        return 1;
    due_us = due_us - http->now_us;
    due_us = due_us < 1 ? 1 : due_us;
    return sooner(due_us, http->stopping ? STOP_TICK_US : TICK_US);
}

static void http_stop(void *instance, int64_t deadline_us)
{
    struct http *http = instance;
    int64_t deadline = http_now() + deadline_us;

    if (!http->stopping || deadline < http->stop_deadline_us) {
        http->stop_deadline_us = deadline;
        http->stop_flush_us = sooner(FLUSH_MOST_US, deadline_us / 2);
    }
    http->stopping = true;
    http_wire_wake(http->wire);
}

static void http_close(void *instance)
{
    struct http *http = instance;
    struct http_lane *lane, *next;

    http->stopping = true;
    http_fetch_end(http, true);
    http_publish_give_up(http);
    HASH_ITER(hh, http->lanes, lane, next)
    {
        http_lane_lose(http, lane);
    }
    http_settle_free(http);
    http_wire_free(http->wire);
    http_config_free(http->config);
    free(http);
}

static int http_try(void *instance, const struct sluice_check *check)
{
    return http_check(instance, check);
}

static int http_look_into(void *instance, const struct sluice_browse *browse)
{
    return http_browse(instance, browse);
}

static char description[80];

__attribute__((constructor)) static void describe(void)
{
    snprintf(description, sizeof description, "HTTP queues, by libcurl %s",
             curl_version_info(CURLVERSION_NOW)->version);
}

static const struct sluice_connector http_connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = HTTP_CAPABILITIES,
    .name = "http",
    .version = SLUICE_VERSION,
    .description = description,
    .options = http_options,
    .open = http_open,
    .start = http_start,
    .descriptor = http_descriptor,
    .receive = http_receive,
    .settle = http_settle,
    .release = http_release,
    .headers = http_headers,
    .pause_lane = http_pause_lane,
    .lane_drained = http_lane_drained,
    .publish = http_publish_one,
    .lag = http_lag,
    .source_lag = http_source_lag,
    .stop = http_stop,
    .close = http_close,
    .check = http_try,
    .open_publisher = http_open_publisher,
    .capabilities_with = http_capabilities,
    .browse = http_look_into,
};

SLUICE_CONNECTOR(http_connector)
