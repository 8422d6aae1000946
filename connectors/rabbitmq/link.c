/* SPDX-License-Identifier: MIT
 * A link as the host's side has it: made, started, asked for news, ended; and how its thread tells that side. */
#define _GNU_SOURCE
#include "link_inside.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#define STACK_BYTES ((size_t)16 << 20) /* the most that fit into a frame take 2 to 4 MiB */
#define RELEASE_US  RABBIT_SECOND /* what is given back waits at least so long: it comes again at once */

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

/* ---- its end ---- */

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

void link_free_abandoned(struct rabbit_link *link)
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

/* ---- the host's side ---- */

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
    return link_start_thread(link, wake_fd, link_run, link);
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
