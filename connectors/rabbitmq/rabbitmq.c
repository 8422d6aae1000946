/* SPDX-License-Identifier: MIT
 * The RabbitMQ connector: descriptor, and the host's side of an instance. */
#include "instance.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "publish.h"

#define TICK_US       (60 * RABBIT_SECOND) /* all that happens is told by the descriptor */
#define CLOSE_WAIT_US (3 * RABBIT_SECOND)
#define FLUSH_US      (RABBIT_SECOND / 2) /* of a stop's time, for what is settled and the goodbye */
#define DELIVER_MOST  512
#define SETTLE_MOST   128 /* handed over in one go */
#define BYTES_LEAST   ((size_t)1 << 20) /* fetched ahead, however little room the host has */

int64_t rabbit_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * RABBIT_SECOND + now.tv_nsec / 1000;
}

int64_t rabbit_backoff(unsigned tries, int64_t first_us, int64_t most_us)
{
    int64_t pause_us = first_us << (tries < 10 ? tries : 10);
    uint64_t chance = (uint64_t)rabbit_now() * UINT64_C(0x9e3779b97f4a7c15) >> 33;

    if (pause_us > most_us)
        pause_us = most_us;
    return pause_us / 2 + (int64_t)(chance % (uint64_t)(pause_us / 2 + 1));
}

static int open_instance(struct sluice_host *host, const struct sluice_host_api *api,
                         const struct sluice_values *values, bool publishes_only,
                         void **ret_instance)
{
    struct rabbit *rabbit = calloc(1, sizeof *rabbit);

    if (!rabbit)
        return -1;
    rabbit->host = host;
    rabbit->api = api;
    rabbit->values = values;
    rabbit->publishes_only = publishes_only;
    rabbit->fd = -1;
    rabbit->config = rabbit_config_new(api, values, publishes_only);
    if (!rabbit->config) {
        free(rabbit);
        return -1;
    }
    *ret_instance = rabbit;
    return 0;
}

static int rabbit_open(struct sluice_host *host, const struct sluice_host_api *api,
                       const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, false, ret_instance);
}

static int rabbit_open_publisher(struct sluice_host *host, const struct sluice_host_api *api,
                                 const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, true, ret_instance);
}

/* Made when first needed. */
static int make_publisher(struct rabbit *rabbit)
{
    struct rabbit_config *config =
        rabbit_config_new(rabbit->api, rabbit->values, rabbit->publishes_only);
    char name[RABBIT_TEXT];

    snprintf(name, sizeof name, rabbit->publishes_only ? "%s" : "%s (publishes)", rabbit->name);
    rabbit->publisher =
        config ? rabbit_publisher_new(config, name, rabbit->fd, rabbit->publishes_only) : NULL;
    return rabbit->publisher ? 0 : -1;
}

static int rabbit_publish(void *instance, const struct sluice_publication *publication)
{
    struct rabbit *rabbit = instance;

    if (!rabbit->publisher && make_publisher(rabbit))
        return -1;
    return rabbit_publisher_put(rabbit->publisher, publication);
}

static int rabbit_start(void *instance, const char *name)
{
    struct rabbit *rabbit = instance;

    if (rabbit->fd < 0)
        rabbit->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (rabbit->fd < 0) {
        char text[RABBIT_TEXT];

        snprintf(text, sizeof text, "cannot make an event descriptor: %s", strerror(errno));
        rabbit->api->state(rabbit->host, SLUICE_STATE_FAILED, text);
        return -1;
    }
    free(rabbit->name);
    rabbit->name = strdup(name);
    rabbit->api->state(rabbit->host, SLUICE_STATE_CONNECTING, NULL);
    if (rabbit->publishes_only) {
        if (!make_publisher(rabbit))
            return 0;
        rabbit->api->state(rabbit->host, SLUICE_STATE_FAILED, "cannot start a thread");
        return -1;
    }
    rabbit->prefetch = rabbit->config->prefetch;
    rabbit->streams = rabbit->config->begin != RABBIT_NO_STREAM;
    rabbit->queues = rabbit->config->queues; /* the link's, which lives as long */
    rabbit->link = rabbit_link_new(rabbit->config, name);
    rabbit->config = NULL;
    return 0;
}

static int rabbit_descriptor(void *instance)
{
    return ((struct rabbit *)instance)->fd;
}

/* ---- events ---- */

static void on_event(struct rabbit *rabbit, const struct rabbit_event *event)
{
    switch (event->kind) {
    case RABBIT_STATE:
        if (!rabbit->stopping)
            rabbit->api->state(rabbit->host, event->number, event->text[0] ? event->text : NULL);
        break;
    case RABBIT_LOG:
        rabbit->api->log(rabbit->host, event->number, event->name, event->text);
        break;
    case RABBIT_LANE_OPENED:
        /* At a stop, and within close, the host hears of no new ones; they are lost soon. */
        if (!rabbit->stopping)
            lanes_open(rabbit, event->lane);
        break;
    case RABBIT_LANE_CLOSING:
        lanes_close(rabbit, event->lane);
        break;
    case RABBIT_LANE_LOST:
        lanes_lose(rabbit, event->lane);
        break;
    case RABBIT_ENDED:
        rabbit->ended = true;
        break;
    }
}

static void serve_events(struct rabbit *rabbit)
{
    struct rabbit_event *event = rabbit_link_events(rabbit->link), *next;

    for (; event; event = next) {
        next = event->next;
        on_event(rabbit, event);
        free(event);
    }
}

/* ---- messages ---- */

static struct rabbit_message *take_ready(struct rabbit_lane *lane)
{
    struct rabbit_message *message = lane->ready.first;

    lane->ready.first = message->next;
    if (!message->next)
        lane->ready.last = NULL;
    lane->ready.count--;
    lane->held++;
    atomic_fetch_sub_explicit(&lane->waiting, message->size, memory_order_relaxed);
    return message;
}

/* The first one of a stream need not follow what was settled: retention, or a stream made anew. */
static void note_place(struct rabbit_lane *lane, uint64_t offset)
{
    if (!lane->seen)
        lane->settled = offset;
    lane->placed = true;
    lane->seen = offset + 1;
}

/* Returns whether more is ready. */
static bool deliver_lane(struct rabbit *rabbit, struct rabbit_lane *lane, size_t most,
                         size_t *messages, size_t *bytes)
{
    struct sluice_message batch[DELIVER_MOST];
    size_t count = 0;

    if (lane->paused || lane->closing || !lanes_is_recorded(rabbit, lane))
        return false;
    while (lane->ready.first && count < most && count < DELIVER_MOST && *messages && *bytes) {
        struct rabbit_message *message = take_ready(lane);
        size_t size = message->payload.size;

        if (rabbit->streams)
            note_place(lane, message->offset);
        rabbit_message_convert(message, rabbit->streams, &batch[count]);
        batch[count].lane = lane->cookie;
        batch[count++].handle = message;
        --*messages;
        *bytes -= size < *bytes ? size : *bytes;
    }
    if (count)
        rabbit->api->deliver(rabbit->host, batch, count);
    return lane->ready.first;
}

/* By turns, so that no queue takes all the room. Returns whether more may be ready. */
static bool deliver(struct rabbit *rabbit, const struct sluice_room *room)
{
    size_t messages = room->messages, bytes = room->bytes, lanes = 0;
    bool more = false;

    for (struct rabbit_lane *lane = rabbit->lanes; lane; lane = lane->next)
        lanes += lane->ready.first && !lane->paused && !lane->closing;
    for (struct rabbit_lane *lane = rabbit->lanes; lane && messages && bytes; lane = lane->next)
        more |= deliver_lane(rabbit, lane, lanes > 1 ? messages / lanes + 1 : messages, &messages,
                             &bytes);
    return more;
}

static void rabbit_settle(void *instance, struct sluice_settle_item *items, size_t count)
{
    struct rabbit *rabbit = instance;
    struct rabbit_settlement settlements[SETTLE_MOST];
    size_t filled = 0;

    for (size_t i = 0; i < count; i++) {
        struct rabbit_lane *lane = items[i].lane;
        const struct rabbit_message *message = items[i].handle;

        settlements[filled++] =
            message ? (struct rabbit_settlement){.generation = message->generation,
                                                 .tag = message->tag,
                                                 .due_us = items[i].delay_us,
                                                 .action = items[i].action}
                    : (struct rabbit_settlement){.generation = lane->generation,
                                                 .tag = items[i].position,
                                                 .action = RABBIT_ACCEPT_UP_TO};
        if (!message)
            lane->settled = items[i].position + 1;
        items[i].result = 0;
        if (lane->held)
            lane->held--;
        if (filled == SETTLE_MOST || i + 1 == count) {
            rabbit_link_settle(rabbit->link, settlements, filled);
            filled = 0;
        }
    }
}

static void rabbit_release(void *instance, void *const *handles, size_t count)
{
    (void)instance;
    for (size_t i = 0; i < count; i++)
        free(handles[i]);
}

static size_t rabbit_headers(void *instance, void *handle, struct sluice_header *ret, size_t room)
{
    const struct rabbit_message *message = handle;

    (void)instance;
    for (size_t i = 0; i < message->header_count && i < room; i++)
        ret[i] = message->headers[i];
    return message->header_count;
}

/* ---- progress ---- */

static void start_link(struct rabbit *rabbit, const struct sluice_room *room)
{
    unsigned prefetch = rabbit->prefetch;
    int failed;

    /* The first room is all that the host has. */
    if (rabbit->started || rabbit->stopping || !rabbit->link || !room->messages || !room->bytes)
        return;
    if (!prefetch) {
        prefetch = room->messages < 32767 ? (unsigned)room->messages * 2 : 65535;
    }
    failed = rabbit_link_start(rabbit->link, rabbit->fd, prefetch,
                               room->bytes > BYTES_LEAST ? room->bytes : BYTES_LEAST);
    rabbit->started = !failed;
    if (failed) {
        char text[RABBIT_TEXT];

        snprintf(text, sizeof text, "cannot start a thread: %s; it is tried again",
                 strerror(failed));
        rabbit->api->state(rabbit->host, SLUICE_STATE_FAILED, text);
    }
}

static void continue_stop(struct rabbit *rabbit)
{
    int64_t now_us = rabbit_now();
    bool drained = true;

    if (rabbit->stopped)
        return;
    for (struct rabbit_lane *lane = rabbit->lanes; lane; lane = lane->next)
        lanes_close(rabbit, lane);
    for (struct rabbit_lane *lane = rabbit->lanes; lane; lane = lane->next)
        drained = drained && lane->drained;
    if (rabbit->started && !rabbit->finishing &&
        (drained || now_us >= rabbit->stop_deadline_us - FLUSH_US)) {
        rabbit->finishing = true;
        rabbit_link_stop(rabbit->link);
    }
    if (((!rabbit->started || rabbit->ended) &&
         (!rabbit->publisher || rabbit_publisher_idle(rabbit->publisher))) ||
        now_us >= rabbit->stop_deadline_us) {
        rabbit->stopped = true;
        rabbit->api->stopped(rabbit->host);
    }
}

static int64_t rabbit_receive(void *instance, const struct sluice_room *room)
{
    struct rabbit *rabbit = instance;
    eventfd_t count;
    bool more = false;

    if (eventfd_read(rabbit->fd, &count) < 0 && errno != EAGAIN)
        rabbit->api->log(rabbit->host, SLUICE_LOG_ERROR, "descriptor_failed", strerror(errno));
    start_link(rabbit, room);
    if (rabbit->link)
        serve_events(rabbit);
    if (rabbit->publisher)
        rabbit_publisher_serve(rabbit->publisher, rabbit->host, rabbit->api,
                               rabbit->publishes_only && !rabbit->stopping);
    if (!rabbit->stopping && rabbit->link) {
        if (rabbit->streams)
            lanes_begin(rabbit);
        rabbit_link_fetch(rabbit->link, rabbit->lanes);
        if (room->messages && room->bytes)
            more = deliver(rabbit, room);
    } else if (rabbit->stopping) {
        continue_stop(rabbit);
    }
    if (more)
        return 0;
    return rabbit->stopping ? 10000 : TICK_US;
}

static void rabbit_stop(void *instance, int64_t deadline_us)
{
    struct rabbit *rabbit = instance;

    rabbit->stopping = true;
    rabbit->stop_deadline_us = rabbit_now() + deadline_us;
}

static void tell_late(const struct rabbit *rabbit)
{
    rabbit->api->log(rabbit->host, SLUICE_LOG_WARNING, "close_late",
                     "the connection to RabbitMQ does not end in time (a name server that does not "
                     "answer?); it is left behind");
}

static void end_link(struct rabbit *rabbit)
{
    struct rabbit_lane *lane;

    if (rabbit_link_end(rabbit->link, CLOSE_WAIT_US)) {
        serve_events(rabbit);
        rabbit_link_free(rabbit->link);
        return;
    }
    tell_late(rabbit);
    /* The lanes themselves are the link's. */
    for (lane = rabbit->lanes; lane; lane = lane->next)
        rabbit->api->lane_lost(rabbit->host, lane->cookie);
}

static void rabbit_close(void *instance)
{
    struct rabbit *rabbit = instance;

    rabbit->stopping = true;
    if (!rabbit_publisher_close(rabbit->publisher, CLOSE_WAIT_US, rabbit->host, rabbit->api))
        tell_late(rabbit);
    if (rabbit->link)
        end_link(rabbit);
    rabbit_config_free(rabbit->config);
    free(rabbit->name);
    if (rabbit->fd >= 0)
        close(rabbit->fd);
    free(rabbit);
}

static int rabbit_try(void *instance, const struct sluice_check *check)
{
    struct rabbit *rabbit = instance;
    struct rabbit_config *config = rabbit->config;

    rabbit->config = NULL;
    return rabbit_check(config, check, rabbit->publishes_only,
                        rabbit->publishes_only && rabbit->api->abi_minor ? check->destination : NULL);
}

static int rabbit_browse(void *instance, const struct sluice_browse *browse)
{
    struct rabbit *rabbit = instance;
    struct rabbit_config *config = rabbit->config;

    rabbit->config = NULL;
    return rabbit_browse_places(config, browse, rabbit->api->abi_minor >= 2);
}

static char description[80];

/* With the version of the library that is there, which need not be that of the headers. */
__attribute__((constructor)) static void describe(void)
{
    snprintf(description, sizeof description, "RabbitMQ queues, by librabbitmq %s", amqp_version());
}

static const struct sluice_connector rabbit_connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_CAN_PUBLISH | SLUICE_CAN_BROWSE | SLUICE_CAN_PAUSE_LANE | SLUICE_HAS_DELIVERY_COUNT |
                    SLUICE_HAS_MESSAGE_ID | SLUICE_IS_ORDERED |
                    SLUICE_BROWSE_LEAVES_TRACE, /* of queues, see rabbit_capabilities */
    .name = "rabbitmq",
    .version = SLUICE_VERSION,
    .description = description,
    .options = rabbit_options,
    .open = rabbit_open,
    .start = rabbit_start,
    .descriptor = rabbit_descriptor,
    .receive = rabbit_receive,
    .settle = rabbit_settle,
    .release = rabbit_release,
    .headers = rabbit_headers,
    .pause_lane = lanes_pause,
    .lane_drained = lanes_drained,
    .publish = rabbit_publish,
    .lag = lanes_lag,
    .source_lag = lanes_source_lag,
    .stop = rabbit_stop,
    .close = rabbit_close,
    .check = rabbit_try,
    .open_publisher = rabbit_open_publisher,
    .capabilities_with = rabbit_capabilities,
    .browse = rabbit_browse,
};

SLUICE_CONNECTOR(rabbit_connector)
