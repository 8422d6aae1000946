/* SPDX-License-Identifier: MIT
 * The lanes of an instance, on the host's side. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>

#include "instance.h"

/* A stream is begun where the host has recorded that it goes on. */
static void begin_lane(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    struct rabbit_settlement wish = {.generation = lane->generation, .action = RABBIT_BEGIN};
    char text[RABBIT_TEXT];
    int known = rabbit->api->lane_position(rabbit->host, lane->cookie, &wish.tag);

    if (known < 0) {
        snprintf(text, sizeof text,
                 "where stream %s goes on cannot be read from the store; it is tried again",
                 rabbit->queues[lane->queue]);
        rabbit->api->state(rabbit->host, SLUICE_STATE_FAILED, text);
        return;
    }
    if (known)
        wish.action = RABBIT_BEGIN_AT;
    lane->placed = known;
    lane->settled = wish.tag;
    lane->begun = true;
    lane->recorded = known;
    rabbit_link_settle(rabbit->link, &wish, 1);
}

void lanes_begin(struct rabbit *rabbit)
{
    for (struct rabbit_lane *lane = rabbit->lanes; lane; lane = lane->next)
        if (!lane->begun)
            begin_lane(rabbit, lane);
}

/* Whether messages of a stream may go to the host: only when it has recorded where they begin. Decided
 * anew after a crash, `next` would skip what came in between. */
bool lanes_is_recorded(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    uint64_t position;

    if (!rabbit->streams || lane->recorded || !lane->ready.first)
        return true;
    if (!lane->told)
        rabbit->api->settled(rabbit->host, lane->cookie, lane->ready.first->offset);
    lane->told = true;
    lane->recorded = rabbit->api->lane_position(rabbit->host, lane->cookie, &position) > 0;
    return lane->recorded;
}

void lanes_open(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    const char *queue = rabbit->queues[lane->queue];
    const struct sluice_lane info = {
        .name = queue, .source = queue, .partition = -1, .cookie = lane};

    lane->known = true;
    lane->next = rabbit->lanes;
    rabbit->lanes = lane;
    lane->cookie = rabbit->api->lane_opened(rabbit->host, &info);
}

void lanes_lose(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    struct rabbit_lane **at = &rabbit->lanes;

    while (*at && *at != lane)
        at = &(*at)->next;
    if (*at) {
        *at = lane->next;
        rabbit->api->lane_lost(rabbit->host, lane->cookie);
    }
    rabbit_list_free(&lane->fetched);
    rabbit_list_free(&lane->ready);
    free(lane);
}

static void give_back(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    const struct rabbit_settlement wish = {.generation = lane->generation,
                                           .action = RABBIT_GIVE_BACK};

    rabbit_link_settle(rabbit->link, &wish, 1);
}

void lanes_close(struct rabbit *rabbit, struct rabbit_lane *lane)
{
    if (lane->closing || !lane->known)
        return;
    lane->closing = true;
    rabbit->api->lane_closing(rabbit->host, lane->cookie);
}

void lanes_drained(void *instance, void *lane_pointer)
{
    struct rabbit *rabbit = instance;
    struct rabbit_lane *lane = lane_pointer;

    lane->drained = true;
    /* With a stop all go together. */
    if (!rabbit->stopping)
        give_back(rabbit, lane);
}

void lanes_pause(void *instance, void *lane, bool paused)
{
    struct rabbit *rabbit = instance;

    ((struct rabbit_lane *)lane)->paused = paused;
    if (!paused && rabbit->fd >= 0)
        eventfd_write(rabbit->fd, 1);
}

static int64_t behind(uint64_t end, uint64_t settled)
{
    return end > settled ? (int64_t)(end - settled) : 0;
}

void lanes_lag(void *instance, void *lane_pointer, struct sluice_lag *ret_lag)
{
    struct rabbit *rabbit = instance;
    const struct rabbit_lane *lane = lane_pointer;
    int64_t depth = rabbit_link_depth(rabbit->link, lane);

    *ret_lag = (struct sluice_lag){-1, -1};
    if (depth < 0 || (rabbit->streams && !lane->placed))
        return;
    if (rabbit->streams)
        ret_lag->messages = behind((uint64_t)depth > lane->seen ? (uint64_t)depth : lane->seen, lane->settled);
    else
        ret_lag->messages = depth + (int64_t)(lane->ready.count + lane->held);
}

void lanes_source_lag(void *instance, struct sluice_lag *ret_lag)
{
    struct rabbit *rabbit = instance;

    *ret_lag = (struct sluice_lag){-1, -1};
    for (struct rabbit_lane *lane = rabbit->lanes; lane; lane = lane->next) {
        struct sluice_lag lag;

        lanes_lag(rabbit, lane, &lag);
        if (lag.messages >= 0)
            ret_lag->messages = (ret_lag->messages < 0 ? 0 : ret_lag->messages) + lag.messages;
    }
}
