/* SPDX-License-Identifier: MIT
 * The link's thread, and how the host's side talks to it. */
#define _GNU_SOURCE
#include "link_inside.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define LINGER_US   (RABBIT_SECOND / 5)
#define STACK_BYTES ((size_t)16 << 20) /* the most that fit into a frame take 2 to 4 MiB */
#define DEPTH_US   (5 * RABBIT_SECOND)
#define FINISH_US  (3 * RABBIT_SECOND)
#define GATHER_US   2000
#define GATHER_FROM 8 /* messages in one go that announce more */
#define GATHER_CLOSE_US 500 /* so do messages that follow each other so closely */
#define RELEASE_US RABBIT_SECOND /* what is given back waits at least so long: it comes again at once */

void rabbit_list_join(struct rabbit_list *to, struct rabbit_list *from)
{
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->count += from->count;
    *from = (struct rabbit_list){0};
}

void rabbit_list_free(struct rabbit_list *list)
{
    struct rabbit_message *message;

    while ((message = list->first)) {
        list->first = message->next;
        free(message);
    }
    *list = (struct rabbit_list){0};
}

static void wake(int fd)
{
    static const uint64_t one = 1;

    if (write(fd, &one, sizeof one) < 0)
        return; /* it is readable already */
}

/* ---- to the host's side ---- */

void link_wake(struct rabbit_link *link)
{
    pthread_mutex_lock(&link->lock);
    if (!link->abandoned)
        wake(link->wake_fd);
    pthread_mutex_unlock(&link->lock);
}

void link_wake_thread(const struct rabbit_link *link)
{
    wake(link->work_fd);
}

void link_tell(struct rabbit_link *link, enum rabbit_event_kind kind, uint32_t number,
               struct rabbit_lane *lane, const char *name, const char *text)
{
    struct rabbit_event *event = calloc(1, sizeof *event);

    *event = (struct rabbit_event){.kind = kind, .number = number, .lane = lane, .name = name};
    snprintf(event->text, sizeof event->text, "%s", text ? text : "");
    pthread_mutex_lock(&link->lock);
    *link->events_end = event;
    link->events_end = &event->next;
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
}

void link_state(struct rabbit_link *link, uint32_t state, const char *format, ...)
{
    char text[RABBIT_TEXT] = "";
    va_list arguments;

    if (format) {
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
    }
    memcpy(link->state_text, text, sizeof text);
    link_tell(link, RABBIT_STATE, state, NULL, NULL, text);
}

void link_log(struct rabbit_link *link, uint32_t level, const char *event, const char *format, ...)
{
    char text[RABBIT_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    link_tell(link, RABBIT_LOG, level, NULL, event, text);
}

/* ---- settlements ---- */

static void put_off(struct rabbit_link *link, const struct rabbit_settlement *settlement)
{
    if (link->later_count == link->later_room) {
        link->later_room = link->later_room ? link->later_room * 2 : 64;
        link->later = reallocarray(link->later, link->later_room, sizeof *link->later);
    }
    link->later[link->later_count++] = *settlement;
}

/* -1: the connection failed. */
static int give_back_message(struct rabbit_link *link, struct rabbit_channel *channel,
                             const struct rabbit_settlement *settlement)
{
    amqp_basic_reject_t reject = {.delivery_tag = settlement->tag,
                                  .requeue = settlement->action == SLUICE_RELEASE};

    if (!rabbit_tags_gone(&channel->tags, settlement->tag))
        return 0;
    return channel_request(link, channel, AMQP_BASIC_REJECT_METHOD, &reject);
}

static int settle(struct rabbit_link *link, const struct rabbit_settlement *settlement)
{
    struct rabbit_channel *channel = channel_of_generation(link, settlement->generation);

    if (!channel)
        return 0; /* its lane is lost */
    switch (settlement->action) {
    case SLUICE_ACCEPT:
        rabbit_tags_done(&channel->tags, settlement->tag);
        return 0;
    case RABBIT_GIVE_BACK:
        return channel_let_go(link, channel);
    case RABBIT_ACCEPT_UP_TO:
        rabbit_tags_done_to(&channel->tags, settlement->tag);
        return 0;
    case RABBIT_BEGIN:
    case RABBIT_BEGIN_AT:
        return stream_begin(link, channel, settlement->action == RABBIT_BEGIN_AT,
                            settlement->tag);
    case SLUICE_RELEASE:
        if (settlement->due_us > rabbit_now()) {
            put_off(link, settlement);
            return 0;
        }
        break;
    default:
        break;
    }
    return give_back_message(link, channel, settlement);
}

static int settle_due(struct rabbit_link *link)
{
    int64_t now_us = rabbit_now();

    for (size_t i = 0; i < link->later_count;) {
        struct rabbit_settlement settlement = link->later[i];

        if (settlement.due_us > now_us) {
            i++;
            continue;
        }
        link->later[i] = link->later[--link->later_count];
        if (settle(link, &settlement))
            return -1;
    }
    return 0;
}

/* Takes what the host's side settled; without a connection it is void. */
static int settle_all(struct rabbit_link *link)
{
    struct rabbit_settlement *settlements;
    size_t count;
    int result = 0;

    pthread_mutex_lock(&link->lock);
    settlements = link->settlements;
    count = link->settlement_count;
    link->settlements = NULL;
    link->settlement_count = link->settlement_room = 0;
    pthread_mutex_unlock(&link->lock);
    for (size_t i = 0; i < count && !result && link->connection; i++)
        result = settle(link, &settlements[i]);
    free(settlements);
    return result ? result : settle_due(link);
}

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
    if (rabbit_now() < link->depth_us || link->config->begin) /* a stream's says nothing */
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
    if (ask_depths(link))
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
        settle_all(link);
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
    if (settle_all(link) || keep_time(link, &until_us))
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

    settle_all(link);
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

static void free_all(struct rabbit_link *link)
{
    rabbit_config_free(link->config);
    free(link->channels);
    free(link->settlements);
    free(link->later);
    free(link->name);
    close(link->work_fd);
    pthread_cond_destroy(&link->ended_cond);
    pthread_mutex_destroy(&link->lock);
    free(link);
}

static void free_abandoned(struct rabbit_link *link)
{
    struct rabbit_event *event;

    while ((event = link->events)) {
        link->events = event->next;
        if (event->kind == RABBIT_LANE_LOST) {
            rabbit_list_free(&event->lane->fetched);
            rabbit_list_free(&event->lane->ready);
            free(event->lane);
        }
        free(event);
    }
    free_all(link);
}

bool link_end_thread(struct rabbit_link *link)
{
    bool abandoned;

    pthread_mutex_lock(&link->lock);
    link->ended = true;
    abandoned = link->abandoned;
    pthread_cond_signal(&link->ended_cond);
    pthread_mutex_unlock(&link->lock);
    return abandoned;
}

static void *run(void *argument)
{
    struct rabbit_link *link = argument;

    while (!atomic_load(&link->stop))
        turn(link);
    if (!atomic_load(&link->quit))
        finish(link);
    link_disconnect(link, false);
    link_tell(link, RABBIT_ENDED, 0, NULL, NULL, NULL);
    if (link_end_thread(link))
        free_abandoned(link);
    return NULL;
}

int rabbit_thread(pthread_t *ret_thread, void *(*begin)(void *), void *argument)
{
    pthread_attr_t attributes;
    int failed;

    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    failed = pthread_create(ret_thread, &attributes, begin, argument);
    pthread_attr_destroy(&attributes);
    return failed;
}

/* ---- the host's side ---- */

struct rabbit_link *rabbit_link_new(struct rabbit_config *config, const char *name)
{
    struct rabbit_link *link = calloc(1, sizeof *link);
    pthread_condattr_t attributes;

    link->config = config;
    link->name = strdup(name);
    link->events_end = &link->events;
    link->wake_fd = -1;
    link->channels = calloc(config->queue_count ? config->queue_count : 1, sizeof *link->channels);
    for (size_t i = 0; i < config->queue_count; i++)
        link->channels[i].queue = i;
    link->host = config->host_count ? (size_t)rabbit_now() % config->host_count : 0;
    link->work_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    pthread_mutex_init(&link->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&link->ended_cond, &attributes);
    pthread_condattr_destroy(&attributes);
    return link;
}

int link_start_thread(struct rabbit_link *link, int wake_fd, void *(*function)(void *),
                      void *argument)
{
    int failed;

    link->wake_fd = wake_fd;
    failed = link->work_fd < 0 ? EMFILE : rabbit_thread(&link->thread, function, argument);
    link->started = !failed;
    if (!failed)
        pthread_setname_np(link->thread, "rabbitmq");
    return failed;
}

int rabbit_link_start(struct rabbit_link *link, int wake_fd, unsigned prefetch, size_t bytes)
{
    link->bytes = bytes;
    for (size_t i = 0; i < link->config->queue_count; i++)
        link->channels[i].prefetch = prefetch;
    return link_start_thread(link, wake_fd, run, link);
}

struct rabbit_event *rabbit_link_events(struct rabbit_link *link)
{
    struct rabbit_event *events;

    pthread_mutex_lock(&link->lock);
    events = link->events;
    link->events = NULL;
    link->events_end = &link->events;
    pthread_mutex_unlock(&link->lock);
    return events;
}

void rabbit_link_fetch(struct rabbit_link *link, struct rabbit_lane *lanes)
{
    pthread_mutex_lock(&link->lock);
    for (struct rabbit_lane *lane = lanes; lane; lane = lane->next)
        rabbit_list_join(&lane->ready, &lane->fetched);
    pthread_mutex_unlock(&link->lock);
}

void rabbit_link_settle(struct rabbit_link *link, const struct rabbit_settlement *settlements,
                        size_t count)
{
    bool first;

    pthread_mutex_lock(&link->lock);
    first = !link->settlement_count;
    while (link->settlement_room - link->settlement_count < count) {
        link->settlement_room = link->settlement_room ? link->settlement_room * 2 : 256;
        link->settlements =
            reallocarray(link->settlements, link->settlement_room, sizeof *link->settlements);
    }
    for (size_t i = 0; i < count; i++) {
        struct rabbit_settlement *to = &link->settlements[link->settlement_count++];

        *to = settlements[i];
        if (to->action == SLUICE_RELEASE)
            to->due_us = rabbit_now() + (to->due_us > RELEASE_US ? to->due_us : RELEASE_US);
    }
    pthread_mutex_unlock(&link->lock);
    if (first)
        wake(link->work_fd);
}

int64_t rabbit_link_depth(struct rabbit_link *link, const struct rabbit_lane *lane)
{
    int64_t depth;

    pthread_mutex_lock(&link->lock);
    depth = lane->depth;
    pthread_mutex_unlock(&link->lock);
    return depth;
}

void rabbit_link_stop(struct rabbit_link *link)
{
    atomic_store(&link->stop, true);
    wake(link->work_fd);
}

bool rabbit_link_end(struct rabbit_link *link, int64_t wait_us)
{
    int64_t until_us = rabbit_now() + wait_us;
    struct timespec until = {until_us / RABBIT_SECOND, until_us % RABBIT_SECOND * 1000};
    int failed = 0;
    bool ended;

    if (!link->started)
        return true;
    atomic_store(&link->quit, true);
    rabbit_link_stop(link);
    pthread_mutex_lock(&link->lock);
    while (!link->ended && !failed)
        failed = pthread_cond_timedwait(&link->ended_cond, &link->lock, &until);
    ended = link->ended;
    link->abandoned = !ended;
    if (!ended)
        pthread_detach(link->thread);
    pthread_mutex_unlock(&link->lock);
    if (ended)
        pthread_join(link->thread, NULL);
    return ended;
}

void rabbit_link_free(struct rabbit_link *link)
{
    free_all(link);
}
