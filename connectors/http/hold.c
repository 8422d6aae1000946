/* SPDX-License-Identifier: MIT
 * Lanes, and messages while they are ours: in a row until there is room, with sluice until settled. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http.h"

#define LANE_IDLE_US  (60 * HTTP_SECOND)
#define LANES_IDLE    1000 /* beyond which idle lanes are closed at once */
#define LANE_KEY_MOST 160  /* bytes of a key in a lane's name */
#define DELIVER_MOST  256
#define SCAN_LEAST_US (HTTP_SECOND / 10)
#define SCAN_MOST_US  HTTP_SECOND

/* ---- lanes ---- */

/* FNV-1a, so that keys too long for a name still have one each. */
static uint64_t hash_of(struct sluice_bytes key)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ ((const unsigned char *)key.data)[i]) * UINT64_C(0x100000001b3);
    return hash;
}

void http_lane_name(const char *source, struct sluice_bytes key, char *ret, size_t room)
{
    int size = key.size < LANE_KEY_MOST ? (int)key.size : LANE_KEY_MOST;

    if (key.size <= LANE_KEY_MOST && !memchr(key.data, '\0', key.size))
        snprintf(ret, room, "%s/%.*s", source, size, (const char *)key.data);
    else
        snprintf(ret, room, "%s/%.*s#%016llx", source, size, (const char *)key.data,
                 (unsigned long long)hash_of(key));
}

static struct http_lane *find_lane(struct http *http, struct sluice_bytes key)
{
    const char *source = http->config->can.source, *name = source;
    char keyed[700];
    struct http_lane *lane;
    struct sluice_lane info = {.source = source, .partition = -1};

    if (key.data) {
        http_lane_name(source, key, keyed, sizeof keyed);
        name = keyed;
    }
    HASH_FIND_STR(http->lanes, name, lane);
    if (lane)
        return lane;
    lane = calloc(1, sizeof *lane);
    if (!lane || !(lane->name = strdup(name))) {
        free(lane);
        return NULL;
    }
    lane->keyed = key.data;
    lane->idle_us = http->now_us;
    info.name = lane->name;
    info.cookie = lane;
    lane->cookie = http->api->lane_opened(http->host, &info);
    HASH_ADD_KEYPTR(hh, http->lanes, lane->name, strlen(lane->name), lane);
    return lane;
}

void http_lane_lose(struct http *http, struct http_lane *lane)
{
    http_lane_give_back(http, lane);
    http->api->lane_lost(http->host, lane->cookie); /* sluice gives its messages back within */
    HASH_DEL(http->lanes, lane);
    free(lane->name);
    free(lane);
}

/* ---- the row ---- */

static void count_waiting(struct http *http, struct http_lane *lane, const struct http_message *message,
                          int sign)
{
    size_t one = (size_t)sign, size = message->payload.size * one;

    lane->waiting += one;
    http->waiting_count += one;
    http->waiting_bytes += size;
    if (lane->paused)
        http->paused_count += one;
}

static void link_message(struct http *http, struct http_message *message)
{
    message->next = NULL;
    message->previous = http->last;
    if (http->last)
        http->last->next = message;
    else
        http->first = message;
    http->last = message;
    http->held_count++;
}

static void unlink_message(struct http *http, struct http_message *message)
{
    if (message->previous)
        message->previous->next = message->next;
    else
        http->first = message->next;
    if (message->next)
        message->next->previous = message->previous;
    else
        http->last = message->previous;
    http->held_count--;
}

static void give_back(struct http *http, struct http_message *message)
{
    message->released = true;
    if (http->config->can.releases && message->lease_us > http->now_us)
        http_settle_add(http, message, HTTP_RELEASE, 0);
    http_message_done(message);
}

void http_hold(struct http *http, struct http_message *message)
{
    struct http_lane *lane = http->stopping ? NULL : find_lane(http, message->key);

    if (!lane || lane->closing) {
        give_back(http, message);
        return;
    }
    message->lane = lane;
    message->position = ++http->position;
    message->after = NULL;
    link_message(http, message);
    if (lane->last)
        lane->last->after = message;
    else
        lane->first = message;
    lane->last = message;
    count_waiting(http, lane, message, 1);
}

static struct http_message *take_first(struct http *http, struct http_lane *lane)
{
    struct http_message *message = lane->first;

    lane->first = message->after;
    if (!lane->first)
        lane->last = NULL;
    count_waiting(http, lane, message, -1);
    return message;
}

void http_lane_give_back(struct http *http, struct http_lane *lane)
{
    while (lane->first) {
        struct http_message *message = take_first(http, lane);

        unlink_message(http, message);
        give_back(http, message);
    }
}

/* ---- delivery ---- */

void http_message_convert(const struct http_message *from, struct sluice_message *to)
{
    *to = (struct sluice_message){
        .position = from->position,
        .key = from->key,
        .payload = from->payload,
        .identity = from->id,
        .message_id = from->id,
        .timestamp_ms = from->timestamp_ms,
        .timestamp_kind = from->timestamp_ms > 0 ? SLUICE_TIMESTAMP_APPENDED : SLUICE_TIMESTAMP_NONE,
        .delivery_count = from->delivery_count,
        .has_headers = from->header_count > 0,
    };
}

static bool deliver_lane(struct http *http, struct http_lane *lane, size_t *messages, size_t *bytes)
{
    struct sluice_message batch[DELIVER_MOST];
    size_t count = 0;

    if (lane->paused || lane->closing)
        return false;
    while (lane->first && count < DELIVER_MOST && *messages && *bytes) {
        struct http_message *message = take_first(http, lane);
        size_t size = message->payload.size + message->key.size;

        message->delivered = true;
        lane->held++;
        http_message_convert(message, &batch[count]);
        batch[count].lane = lane->cookie;
        batch[count++].handle = message;
        --*messages;
        *bytes -= size < *bytes ? size : *bytes;
    }
    if (count)
        http->api->deliver(http->host, batch, count);
    return lane->first;
}

bool http_deliver(struct http *http, const struct sluice_room *room)
{
    size_t messages = room->messages, bytes = room->bytes;
    struct http_lane *lane, *next;
    bool more = false;

    if (!http->waiting_count)
        return false;
    HASH_ITER(hh, http->lanes, lane, next)
    {
        if (!messages || !bytes)
            return false;
        if (lane->first)
            more |= deliver_lane(http, lane, &messages, &bytes);
    }
    return more && messages && bytes;
}

void http_let_go(struct http *http, struct http_message *message)
{
    struct http_lane *lane = message->lane;

    unlink_message(http, message);
    message->lane = NULL;
    if (--lane->held == 0 && !lane->waiting)
        lane->idle_us = http->now_us;
}

/* ---- leases ---- */

/* What was never delivered and whose lease is over comes again: it is forgotten here. Rows are short
 * where that happens, so their order is kept by walking. */
static void forget_overdue(struct http *http, struct http_lane *lane)
{
    struct http_message *message, **at = &lane->first;

    lane->last = NULL;
    while ((message = *at)) {
        if (message->lease_us > http->now_us) {
            lane->last = message;
            at = &message->after;
            continue;
        }
        *at = message->after;
        count_waiting(http, lane, message, -1);
        unlink_message(http, message);
        message->released = true;
        http_message_done(message);
    }
}

static void look_at_leases(struct http *http)
{
    const struct http_config *config = http->config;
    int64_t lease_us = config->can.lease_most_us < config->lease_us ? config->can.lease_most_us
                                                                    : config->lease_us;
    int64_t first_us = config->can.first_lease_us ? config->can.first_lease_us : lease_us;
    int64_t half_us = (first_us < lease_us ? first_us : lease_us) / 2;

    for (struct http_message *message = http->first; message; message = message->next)
        if (config->can.extends && !message->extending && message->lease_us > http->now_us &&
            message->lease_us - http->now_us <= half_us) {
            message->extending = true;
            http_settle_add(http, message, HTTP_EXTEND, (lease_us + HTTP_SECOND - 1) / HTTP_SECOND);
        }
}

int64_t http_watch(struct http *http)
{
    const struct http_config *config = http->config;
    int64_t period_us = config->lease_us / 16;
    struct http_lane *lane, *next;
    bool keyed = false;

    if (http->now_us < http->scan_us)
        return http->scan_us;
    period_us = period_us < SCAN_LEAST_US ? SCAN_LEAST_US
                : period_us > SCAN_MOST_US ? SCAN_MOST_US
                                           : period_us;
    http->scan_us = http->now_us + period_us;
    look_at_leases(http);
    HASH_ITER(hh, http->lanes, lane, next)
    {
        keyed = keyed || lane->keyed;
        if (lane->first)
            forget_overdue(http, lane);
        if (lane->keyed && !lane->held && !lane->waiting && !http->stopping &&
            (http->now_us - lane->idle_us > LANE_IDLE_US || HASH_COUNT(http->lanes) > LANES_IDLE))
            http_lane_lose(http, lane);
    }
    return http->first || keyed ? http->scan_us : INT64_MAX;
}
