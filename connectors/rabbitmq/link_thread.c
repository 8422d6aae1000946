/* SPDX-License-Identifier: MIT
 * The link's thread: what is due, what comes in, rest, and the end. */
#define _GNU_SOURCE
#include "link_inside.h"

#include <poll.h>
#include <time.h>
#include <unistd.h>

#define LINGER_US       (RABBIT_SECOND / 5)
#define DEPTH_US        (5 * RABBIT_SECOND)
#define FINISH_US       (3 * RABBIT_SECOND)
#define GATHER_US       2000
#define GATHER_FROM     8   /* messages in one go that announce more */
#define GATHER_CLOSE_US 500 /* so do messages that follow each other so closely */

/* ---- time ---- */

static int64_t earlier(int64_t a_us, int64_t b_us)
{
    return b_us && b_us < a_us ? b_us : a_us;
}

/* Gives a lane back before the broker takes the channel for a dead one: first the host lets go of it,
 * then, or at last, the channel is closed and opened anew. */
static int watch_consumer_timeout(struct rabbit_link *link, struct rabbit_channel *channel,
                                  int64_t *ret_at_us)
{
    int64_t limit_us = link->config->consumer_timeout_us;
    int64_t oldest_us = rabbit_tags_oldest_us(&channel->tags);
    int64_t now_us = rabbit_now();

    if (!limit_us || !oldest_us)
        return 0;
    if (!channel->giving_back && now_us >= oldest_us + limit_us / 10 * 8) {
        link_log(link, SLUICE_LOG_INFO, "lane_given_back",
                 "messages of queue %s have been held for most of consumer_timeout: they go back and "
                 "come again",
                 link->config->queues[channel->queue]);
        channel_give_back(link, channel);
    }
    if (channel->giving_back && now_us >= channel->cut_us)
        return channel_let_go(link, channel);
    *ret_at_us = earlier(*ret_at_us, channel->giving_back ? channel->cut_us
                                                           : oldest_us + limit_us / 10 * 8);
    return 0;
}

static int ask_depths(struct rabbit_link *link)
{
    if (rabbit_now() < link->depth_us || link->config->begin) /* a stream's is stale; see look_due */
        return 0;
    link->depth_us = rabbit_now() + DEPTH_US;
    for (size_t i = 0; i < link->config->queue_count; i++) {
        struct rabbit_channel *channel = &link->channels[i];
        amqp_queue_declare_t declare = {
            .queue = amqp_cstring_bytes(link->config->queues[i]), .passive = 1};

        if (channel->phase != RABBIT_OPEN || channel->asked_depth)
            continue;
        channel->asked_depth = true;
        if (channel_request(link, channel, AMQP_QUEUE_DECLARE_METHOD, &declare))
            return -1;
    }
    return 0;
}

/* What is due; -1: the connection failed. */
static int keep_time(struct rabbit_link *link, int64_t *ret_at_us)
{
    int heartbeat_s = amqp_get_heartbeat(link->connection);

    if (heartbeat_s > 0)
        *ret_at_us = earlier(*ret_at_us, rabbit_now() + heartbeat_s * RABBIT_SECOND / 2);
    if (ask_depths(link) || look_due(link, ret_at_us))
        return -1;
    if (!link->config->begin)
        *ret_at_us = earlier(*ret_at_us, link->depth_us);
    for (size_t i = 0; i < link->config->queue_count; i++) {
        struct rabbit_channel *channel = &link->channels[i];

        if (channel->phase == RABBIT_OPEN &&
            (channel_acknowledge(link, channel, false) ||
             watch_consumer_timeout(link, channel, ret_at_us) ||
             stream_watch_first(link, channel)))
            return -1;
        if (channel->phase == RABBIT_OPEN)
            *ret_at_us = earlier(earlier(*ret_at_us, channel->singles_us), channel->first_us);
        else if (channel->phase == RABBIT_CLOSED)
            *ret_at_us = earlier(*ret_at_us, channel->retry_us ? channel->retry_us : 1);
        else
            *ret_at_us = earlier(earlier(*ret_at_us, channel->answer_us), channel->declare_us);
    }
    for (size_t i = 0; i < link->later_count; i++)
        *ret_at_us = earlier(*ret_at_us, link->later[i].due_us);
    return 0;
}

/* ---- the thread ---- */

/* Takes off the wakes that came. */
static void clear_wakes(const struct rabbit_link *link)
{
    uint64_t count;

    if (read(link->work_fd, &count, sizeof count) < 0)
        return; /* there were none */
}

/* Whether many come: `count` just did. */
static bool is_busy(struct rabbit_link *link, size_t count)
{
    int64_t now_us = rabbit_now();
    bool busy = count && (count >= GATHER_FROM || now_us - link->handed_us < GATHER_CLOSE_US);

    if (count)
        link->handed_us = now_us;
    return busy;
}

/* While many come, those of a moment are taken together: to wake, and to wake the host's side, costs as
 * much as several messages. What is settled ends the pause. */
static void gather(struct rabbit_link *link)
{
    struct pollfd work = {.fd = link->work_fd, .events = POLLIN};
    const struct timespec pause = {0, GATHER_US * 1000};

    if (ppoll(&work, 1, &pause, NULL) > 0)
        clear_wakes(link);
}

static void rest(struct rabbit_link *link, int64_t until_us)
{
    struct pollfd fds[2] = {{.fd = link->work_fd, .events = POLLIN},
                            {.fd = link->connection ? amqp_get_sockfd(link->connection) : -1,
                             .events = POLLIN}};
    int64_t left_us = until_us - rabbit_now();
    struct timespec left = {0};

    if (link->connection &&
        (amqp_frames_enqueued(link->connection) || amqp_data_in_buffer(link->connection)))
        left_us = 0;
    if (left_us > 0)
        left = (struct timespec){left_us / RABBIT_SECOND, left_us % RABBIT_SECOND * 1000};
    if (ppoll(fds, 2, &left, NULL) > 0 && fds[0].revents)
        clear_wakes(link);
}

static void turn(struct rabbit_link *link)
{
    int64_t until_us = rabbit_now() + 60 * RABBIT_SECOND;
    size_t count;
    int more;

    if (!link->connection) {
        link_settle(link);
        if (rabbit_now() < link->retry_us)
            rest(link, link->retry_us);
        else
            link_connect(link);
        return;
    }
    if (channel_open_due(link))
        return;
    more = frames_read(link);
    if (more < 0)
        return;
    count = frames_hand_over(link);
    if (link_settle(link) || keep_time(link, &until_us))
        return;
    if (!more && is_busy(link, count))
        gather(link);
    else
        rest(link, more ? 0 : until_us);
}

static bool is_closing(const struct rabbit_link *link)
{
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].phase == RABBIT_CLOSING)
            return true;
    return false;
}

/* A broker's channel holds back acknowledgements while a quorum queue has not applied many others (32), and
 * forgets them with its end: so it gets a moment between the last of them and that. */
static void linger(struct rabbit_link *link)
{
    int64_t until_us = rabbit_now() + LINGER_US;
    bool any = false;

    for (size_t i = 0; i < link->config->queue_count && link->connection; i++)
        if (link->channels[i].phase == RABBIT_OPEN) {
            any = true;
            if (channel_acknowledge(link, &link->channels[i], true))
                return;
        }
    while (any && link->connection && !atomic_load(&link->quit) && rabbit_now() < until_us &&
           frames_read(link) >= 0)
        rest(link, until_us);
}

/* Sends what is settled. The broker's answer to a channel's end comes when it has done what was sent
 * before. */
static void finish(struct rabbit_link *link)
{
    int64_t until_us = rabbit_now() + FINISH_US;

    link_settle(link);
    linger(link);
    for (size_t i = 0; i < link->config->queue_count && link->connection; i++) {
        struct rabbit_channel *channel = &link->channels[i];

        if (channel->phase == RABBIT_OPEN && channel_let_go(link, channel))
            return;
        if (channel->phase == RABBIT_OPENING && channel_end(link, channel, true))
            return;
    }
    while (link->connection && is_closing(link) && !atomic_load(&link->quit) &&
           rabbit_now() < until_us && frames_read(link) >= 0)
        rest(link, rabbit_now() + RABBIT_SECOND / 20);
    link_disconnect(link, true);
}

void *link_run(void *argument)
{
    struct rabbit_link *link = argument;

    while (!atomic_load(&link->stop))
        turn(link);
    if (!atomic_load(&link->quit))
        finish(link);
    link_disconnect(link, false);
    link_tell(link, RABBIT_ENDED, 0, NULL, NULL, NULL);
    if (link_end_thread(link))
        link_free_abandoned(link);
    return NULL;
}
