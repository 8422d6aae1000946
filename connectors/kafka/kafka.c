/* SPDX-License-Identifier: MIT
 * The Kafka connector: descriptor and life of an instance. */
#include "kafka.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#define TICK_US          3000000 /* well within max.poll.interval.ms */
#define RESTART_FIRST_US 1000000
#define RESTART_MOST_US  30000000
#define CLOSE_WAIT_US    3000000
#define TIMER_SLACK_NS   50000000UL

int64_t kafka_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void kafka_log(struct kafka *kafka, uint32_t level, const char *event, const char *format, ...)
{
    char text[KAFKA_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    kafka->api->log(kafka->host, level, event, text);
}

void kafka_state(struct kafka *kafka, uint32_t state, const char *format, ...)
{
    char text[KAFKA_TEXT];
    va_list arguments;

    kafka->all_brokers_down = false;
    if (!format) {
        kafka->api->state(kafka->host, state, NULL);
        return;
    }
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    kafka->api->state(kafka->host, state, text);
}

static int open_instance(struct sluice_host *host, const struct sluice_host_api *api,
                         const struct sluice_values *values, bool publishes_only,
                         void **ret_instance)
{
    struct kafka *kafka = calloc(1, sizeof *kafka);

    if (!kafka)
        return -1;
    kafka->host = host;
    kafka->api = api;
    kafka->values = values;
    kafka->publishes_only = publishes_only;
    kafka->fd = -1;
    kafka->aside = kafka_aside_new();
    if (!kafka->aside || kafka_configure(kafka)) {
        if (kafka->aside)
            kafka_aside_close(kafka->aside, 0);
        kafka_unconfigure(kafka);
        free(kafka);
        return -1;
    }
    *ret_instance = kafka;
    return 0;
}

static int kafka_open(struct sluice_host *host, const struct sluice_host_api *api,
                      const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, false, ret_instance);
}

static int kafka_open_publisher(struct sluice_host *host, const struct sluice_host_api *api,
                                const struct sluice_values *values, void **ret_instance)
{
    return open_instance(host, api, values, true, ret_instance);
}

/* ---- the consumer handle ---- */

static rd_kafka_queue_t *listening_queue(struct kafka *kafka, rd_kafka_queue_t *queue)
{
    static const uint64_t one = 1;

    rd_kafka_queue_io_event_enable(queue, kafka->fd, &one, sizeof one);
    return queue;
}

static rd_kafka_conf_t *consumer_conf(struct kafka *kafka)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(kafka->conf);
    const char *instance = kafka->api->values->text(kafka->values, "instance_id");
    char text[256], error[KAFKA_TEXT];

    rd_kafka_conf_set(conf, "client.id", kafka->name, error, sizeof error);
    if (instance) {
        /* Every poller is a member of its own: the number from its name tells them apart. */
        const char *dash = strrchr(kafka->name, '@');
        const char *number = dash;

        while (number && number > kafka->name && number[-1] != '-')
            number--;
        snprintf(text, sizeof text, "%s-%.*s", instance, dash ? (int)(dash - number) : 1,
                 dash ? number : "0");
        rd_kafka_conf_set(conf, "group.instance.id", text, error, sizeof error);
    }
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT |
                                       RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS |
                                       RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    return conf;
}

/* An old librdkafka (before 2.4.0) sleeps in whole milliseconds, rounded down, and turns without rest for
 * what is left until each of its timers, four a second. Threads inherit from who makes them how late their
 * timers may be: with this much they wake when one is due, and often several at once. What comes over the
 * network wakes them as ever. Where they wait for a queue (needs_nudges is false) it would cost. */
static rd_kafka_t *new_consumer(const struct kafka *kafka, rd_kafka_conf_t *conf,
                                char error[KAFKA_TEXT])
{
    int slack = prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
    bool lazy = kafka->needs_nudges && slack > 0 &&
                !prctl(PR_SET_TIMERSLACK, TIMER_SLACK_NS, 0, 0, 0);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, KAFKA_TEXT);

    if (lazy)
        prctl(PR_SET_TIMERSLACK, (unsigned long)slack, 0, 0, 0);
    return rk;
}

int kafka_connect(struct kafka *kafka)
{
    char error[KAFKA_TEXT];
    rd_kafka_conf_t *conf = consumer_conf(kafka);
    rd_kafka_resp_err_t failed;

    kafka->rk = new_consumer(kafka, conf, error);
    if (!kafka->rk) {
        rd_kafka_conf_destroy(conf);
        kafka_state(kafka, SLUICE_STATE_FAILED, "cannot make a consumer: %s", error);
        return -1;
    }
    rd_kafka_poll_set_consumer(kafka->rk);
    kafka->events = listening_queue(kafka, rd_kafka_queue_get_consumer(kafka->rk));
    kafka->messages = listening_queue(kafka, rd_kafka_queue_new(kafka->rk));
    kafka->known = rd_kafka_topic_partition_list_new(0);
    rd_kafka_set_log_queue(kafka->rk, kafka->events);
    failed = rd_kafka_subscribe(kafka->rk, kafka->topics);
    if (failed) {
        kafka_state(kafka, SLUICE_STATE_FAILED, "cannot subscribe: %s", rd_kafka_err2str(failed));
        kafka_disconnect(kafka);
        return -1;
    }
    return 0;
}

void kafka_disconnect(struct kafka *kafka)
{
    rd_kafka_t *rk = kafka->rk;

    kafka_lose_all_lanes(kafka);
    if (kafka->revoke)
        rd_kafka_event_destroy(kafka->revoke);
    kafka->revoke = NULL;
    if (!rk)
        return;
    kafka->rk = NULL;
    rd_kafka_topic_partition_list_destroy(kafka->known);
    kafka->known = NULL;
    rd_kafka_queue_io_event_enable(kafka->events, -1, NULL, 0);
    rd_kafka_queue_io_event_enable(kafka->messages, -1, NULL, 0);
    rd_kafka_queue_destroy(kafka->events);
    rd_kafka_queue_destroy(kafka->messages);
    kafka->events = kafka->messages = NULL;
    kafka_aside_destroy(kafka->aside, rk, kafka->lookup, kafka->fetch);
    kafka->lookup = NULL;
    kafka->fetch = NULL;
}

void kafka_plan_restart(struct kafka *kafka)
{
    int64_t delay = RESTART_FIRST_US << (kafka->restarts < 5 ? kafka->restarts : 5);

    kafka->restarts++;
    if (delay > RESTART_MOST_US)
        delay = RESTART_MOST_US;
    /* Members of one group that were fenced together must not come back together. */
    kafka->restart_us = kafka_now() + delay / 2 + (int64_t)((uint64_t)kafka_now() * 2654435761u %
                                                           (uint64_t)(delay / 2 + 1));
}

static int kafka_start(void *instance, const char *name)
{
    struct kafka *kafka = instance;

    free(kafka->name);
    kafka->name = strdup(name);
    if (kafka->fd < 0)
        kafka->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (kafka->fd < 0 || !kafka->name) {
        kafka_state(kafka, SLUICE_STATE_FAILED, "cannot make an event descriptor: %s",
                    strerror(errno));
        return -1;
    }
    kafka_state(kafka, SLUICE_STATE_CONNECTING, NULL);
    return kafka->publishes_only ? kafka_publish_start(kafka) : kafka_connect(kafka);
}

static int kafka_descriptor(void *instance)
{
    return ((struct kafka *)instance)->fd;
}

/* ---- progress ---- */

static void report_stopped(struct kafka *kafka)
{
    if (!kafka->stopped) {
        kafka->stopped = true;
        kafka->api->stopped(kafka->host);
    }
}

/* Waits for the close to finish, or gives up at the deadline (a broker that does not answer). */
static void continue_stop(struct kafka *kafka)
{
    bool late = kafka_now() >= kafka->stop_deadline_us;

    if (!kafka->rk) {
        if (late || !kafka->unreported)
            report_stopped(kafka);
        return;
    }
    if (!kafka->closing && !kafka->lookup) {
        rd_kafka_error_t *error = rd_kafka_consumer_close_queue(kafka->rk, kafka->events);

        kafka->closing = true;
        if (error) {
            rd_kafka_error_destroy(error);
            late = true;
        }
    }
    if (late || (kafka->closing && rd_kafka_consumer_closed(kafka->rk))) {
        kafka_disconnect(kafka);
        if (late || !kafka->unreported)
            report_stopped(kafka);
    }
}

/* In how long something is due that the descriptor does not tell of. */
static int64_t due_in(const struct kafka *kafka, const struct sluice_room *room)
{
    const int64_t due_us[] = {kafka->cut_us, kafka->restart_us, kafka->recommit_us};
    int64_t now_us = kafka_now(), wait_us = TICK_US;

    if (kafka->nudge_until_us && room->messages)
        return KAFKA_NUDGE_US;
    if (kafka->stopping || kafka->revoke || kafka->lookup)
        return 10000;
    for (size_t i = 0; i < sizeof due_us / sizeof *due_us; i++)
        if (due_us[i] && due_us[i] - now_us < wait_us)
            wait_us = due_us[i] - now_us;
    return wait_us > 0 ? wait_us : 1;
}

static int64_t kafka_receive(void *instance, const struct sluice_room *room)
{
    struct kafka *kafka = instance;
    uint64_t count;
    bool more = false;

    if (read(kafka->fd, &count, sizeof count) < 0 && errno != EAGAIN)
        kafka_log(kafka, SLUICE_LOG_ERROR, "descriptor_failed", "%s", strerror(errno));
    if (!kafka->rk && kafka->restart_us && !kafka->stopping && kafka_now() >= kafka->restart_us) {
        kafka->restart_us = 0;
        if (kafka_connect(kafka))
            kafka_plan_restart(kafka);
    }
    if (kafka->rk)
        kafka_serve_events(kafka);
    if (kafka->rk)
        kafka_rebalance_continue(kafka);
    kafka_cut_lanes(kafka);
    if (kafka->rk && !kafka->stopping && room->messages && room->bytes)
        more = kafka_deliver(kafka, room);
    if (kafka->rk) {
        kafka_recommit(kafka);
        kafka_nudge(kafka);
    }
    kafka_serve_reports(kafka);
    if (kafka->stopping)
        continue_stop(kafka);
    return more ? 0 : due_in(kafka, room);
}

static void kafka_stop(void *instance, int64_t deadline_us)
{
    struct kafka *kafka = instance;

    kafka->stopping = true;
    kafka->stop_deadline_us = kafka_now() + deadline_us;
}

static void kafka_close(void *instance)
{
    struct kafka *kafka = instance;

    kafka_disconnect(kafka);
    kafka_publish_close(kafka);
    /* librdkafka's broker threads cannot be interrupted while they resolve a name: with a name server
       that is gone that takes as long as resolv.conf says. They are left to themselves then. */
    if (!kafka_aside_close(kafka->aside, CLOSE_WAIT_US))
        kafka_log(kafka, SLUICE_LOG_WARNING, "close_late",
                  "connections to %s do not end within %d s (a name server that does not answer?); "
                  "they are left behind",
                  kafka->brokers, CLOSE_WAIT_US / 1000000);
    if (kafka->fd >= 0)
        close(kafka->fd);
    kafka_unconfigure(kafka);
    free(kafka->lanes);
    free(kafka->name);
    free(kafka);
}

static char description[80];

/* With the version of the library that is there, which need not be that of the headers. */
__attribute__((constructor)) static void describe(void)
{
    snprintf(description, sizeof description, "Apache Kafka topics, by librdkafka %s",
             rd_kafka_version_str());
}

static const struct sluice_connector kafka_connector = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof(struct sluice_connector),
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_CAN_SETTLE_UP_TO | SLUICE_CAN_PUBLISH | SLUICE_CAN_BROWSE |
                    SLUICE_CAN_PAUSE_LANE |
                    SLUICE_HAS_KEY | SLUICE_IS_ORDERED | SLUICE_HAS_STABLE_IDENTITY,
    .name = "kafka",
    .version = SLUICE_VERSION,
    .description = description,
    .options = kafka_options,
    .open = kafka_open,
    .start = kafka_start,
    .descriptor = kafka_descriptor,
    .receive = kafka_receive,
    .settle = kafka_settle,
    .release = kafka_release,
    .headers = kafka_headers,
    .pause_lane = kafka_pause_lane,
    .lane_drained = kafka_lane_drained,
    .publish = kafka_publish,
    .lag = kafka_lag,
    .stop = kafka_stop,
    .close = kafka_close,
    .check = kafka_check,
    .open_publisher = kafka_open_publisher,
    .browse = kafka_browse,
};

SLUICE_CONNECTOR(kafka_connector)
