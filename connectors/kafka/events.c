/* SPDX-License-Identifier: MIT
 * What the consumer queue tells: commits, errors, statistics. */
#include "kafka.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How long a batch that cannot be read counts after it was met: it is fetched again all the time. */
#define DAMAGED_US 15000000

static void on_commit(struct kafka *kafka, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t failed = rd_kafka_event_error(event);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

    if (failed && failed != RD_KAFKA_RESP_ERR__NO_OFFSET) {
        kafka_log(kafka, SLUICE_LOG_WARNING, "commit_failed",
                  "the group's offsets were not committed: %s; the next commit carries them too",
                  rd_kafka_err2str(failed));
        kafka->api->settle_failed(kafka->host, 1);
        return;
    }
    for (int i = 0; list && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *element = &list->elems[i];
        struct kafka_lane *lane = kafka_find_lane(kafka, element->topic, element->partition);

        if (!lane || element->err || element->offset < 0)
            continue;
        lane->committed = element->offset;
        if (lane->recommit >= 0 && element->offset >= lane->recommit)
            lane->recommit = -1;
        kafka->api->settled(kafka->host, lane->cookie, (uint64_t)element->offset);
    }
}

static void on_fatal(struct kafka *kafka)
{
    char text[KAFKA_TEXT];
    rd_kafka_resp_err_t code = rd_kafka_fatal_error(kafka->rk, text, sizeof text);

    if (code == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        kafka_state(kafka, SLUICE_STATE_FAILED,
                    "another consumer joined group %s with the same source.kafka.instance_id: give "
                    "each its own; it is tried again",
                    kafka->group);
    else
        kafka_state(kafka, SLUICE_STATE_FAILED, "%s; it is tried again with a new consumer", text);
    kafka_disconnect(kafka);
    kafka_plan_restart(kafka);
}

static void on_all_brokers_down(struct kafka *kafka)
{
    kafka_state(kafka, SLUICE_STATE_UNREACHABLE,
                "none of the brokers %s can be reached%s%s; they are tried again: check "
                "source.kafka.brokers and the network",
                kafka->brokers, *kafka->trouble ? ": " : "", kafka->trouble);
    kafka->all_brokers_down = true;
}

/* Remembers why a connection failed, without how long that took, which differs each time. While no
   broker is up librdkafka does not say so again, but another kind of failure is another reason. */
static void on_connection_lost(struct kafka *kafka, rd_kafka_resp_err_t code, const char *text)
{
    const char *end = strstr(text, " (after ");
    bool another = kafka->trouble_code != code;

    snprintf(kafka->trouble, sizeof kafka->trouble, "%.*s",
             (int)(end ? (size_t)(end - text) : strlen(text)), text);
    kafka->trouble_code = code;
    kafka_log(kafka, SLUICE_LOG_DEBUG, "connection_lost", "%s", text);
    if (another && kafka->all_brokers_down)
        on_all_brokers_down(kafka);
}

static void on_error(struct kafka *kafka, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    const char *text = rd_kafka_event_error_string(event);

    switch (code) {
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
        on_all_brokers_down(kafka);
        break;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "the broker refuses the credentials: %s; check source.kafka.sasl", text);
        break;
    case RD_KAFKA_RESP_ERR__SSL:
        kafka_state(kafka, SLUICE_STATE_UNREACHABLE, "TLS fails: %s; check source.kafka.tls", text);
        break;
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "the broker refuses to let this user join group %s: allow READ on it",
                    kafka->group);
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "the broker refuses to let this user read a topic: %s; allow READ and DESCRIBE",
                    text);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        kafka_state(kafka, SLUICE_STATE_MISSING,
                    "%s at %s; it is looked for again and again: create the topic or correct "
                    "source.kafka.topic",
                    text, kafka->brokers);
        break;
    case RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED:
        kafka_log(kafka, SLUICE_LOG_ERROR, "max_poll_exceeded", "%s", text);
        break;
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
        on_connection_lost(kafka, code, text);
        break;
    default:
        kafka_log(kafka, SLUICE_LOG_WARNING, "consumer_error", "%s: %s", rd_kafka_err2name(code),
                  text);
        break;
    }
}

/* ---- statistics: https://github.com/confluentinc/librdkafka STATISTICS.md ---- */

static void read_partitions(struct kafka *kafka, const char *topic, json_t *partitions)
{
    const char *number;
    json_t *partition;

    json_object_foreach(partitions, number, partition)
    {
        struct kafka_lane *lane = kafka_find_lane(kafka, topic, atoi(number));
        json_t *stable = json_object_get(partition, "ls_offset");

        if (lane && json_is_integer(stable))
            lane->stable = json_integer_value(stable);
    }
}

static bool any_broker_up(json_t *brokers)
{
    const char *name;
    json_t *broker;

    json_object_foreach(brokers, name, broker)
    {
        const char *state = json_string_value(json_object_get(broker, "state"));

        if (state && !strcmp(state, "UP"))
            return true;
    }
    return false;
}

bool kafka_statistics_up(const char *text)
{
    json_t *root = json_loads(text, 0, NULL);
    bool up = any_broker_up(json_object_get(root, "brokers"));

    json_decref(root);
    return up;
}

static void on_statistics(struct kafka *kafka, const char *text)
{
    json_t *root = json_loads(text, 0, NULL), *topic;
    bool up = any_broker_up(json_object_get(root, "brokers"));
    const char *name;

    json_object_foreach(json_object_get(root, "topics"), name, topic)
        read_partitions(kafka, name, json_object_get(topic, "partitions"));
    if (up)
        kafka->all_brokers_down = false;
    if (kafka->damaged_us && kafka_now() - kafka->damaged_us < DAMAGED_US)
        ; /* told, and not yet mended */
    else if (kafka->lane_count && up)
        kafka_state(kafka, SLUICE_STATE_RUNNING, NULL);
    json_decref(root);
}

void kafka_lag(void *instance, void *lane_pointer, struct sluice_lag *ret_lag)
{
    const struct kafka_lane *lane = lane_pointer;
    int64_t settled = lane->settled > lane->committed ? lane->settled : lane->committed;

    (void)instance;
    if (settled < 0)
        settled = lane->stable ? lane->first : 0; /* a group without commits; an empty topic */
    *ret_lag = (struct sluice_lag){-1, -1};
    if (lane->stable >= 0 && settled >= 0)
        ret_lag->messages = lane->stable > settled ? lane->stable - settled : 0;
}

/* ---- dispatch ---- */

/* Returns whether the handle can go on. Every partition is forwarded elsewhere before it is assigned,
 * so only errors come this way; a message here would be skipped, so it is fetched again. */
static bool on_messages(struct kafka *kafka, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message = rd_kafka_event_message_next(event);

    if (message && message->err)
        kafka_log(kafka, SLUICE_LOG_WARNING, "consumer_error", "%s",
                  rd_kafka_message_errstr(message));
    return !message || message->err;
}

/* What librdkafka itself finds worth saying, by facility and syslog level. */
void kafka_on_log(struct kafka *kafka, rd_kafka_event_t *event)
{
    const char *facility, *text;
    int level;

    if (rd_kafka_event_log(event, &facility, &text, &level))
        return;
    if (!strcmp(facility, "OFFSET") && level <= 4)
        kafka_log(kafka, SLUICE_LOG_ERROR, "offset_out_of_range",
                  "%s; reading goes on at the oldest message there is: what the broker deleted "
                  "before it was read is gone",
                  text);
    else if (level > 4 || !strcmp(facility, "FAIL") || !strcmp(facility, "COMMITFAIL") ||
             !strcmp(facility, "CONFWARN"))
        /* Told otherwise: as states and events. Properties go to consumer and producer alike. */
        kafka_log(kafka, SLUICE_LOG_DEBUG, "librdkafka", "%s: %s", facility, text);
    else
        kafka_log(kafka, SLUICE_LOG_WARNING, "librdkafka", "%s: %s", facility, text);
}

void kafka_serve_events(struct kafka *kafka)
{
    rd_kafka_event_t *event;

    while (kafka->rk && (event = rd_kafka_queue_poll(kafka->events, 0))) {
        switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_REBALANCE:
            kafka_rebalance(kafka, event);
            continue;
        case RD_KAFKA_EVENT_OFFSET_COMMIT:
            on_commit(kafka, event);
            break;
        case RD_KAFKA_EVENT_ERROR:
            /* A fatal error may come under its own name. */
            if (rd_kafka_fatal_error(kafka->rk, NULL, 0)) {
                rd_kafka_event_destroy(event);
                on_fatal(kafka);
                continue;
            }
            on_error(kafka, event);
            break;
        case RD_KAFKA_EVENT_STATS:
            on_statistics(kafka, rd_kafka_event_stats(event));
            break;
        case RD_KAFKA_EVENT_FETCH:
            if (!on_messages(kafka, event)) {
                rd_kafka_event_destroy(event);
                kafka_state(kafka, SLUICE_STATE_FAILED,
                            "a message came outside its lane; it is read again with a new consumer");
                kafka_disconnect(kafka);
                kafka_plan_restart(kafka);
                continue;
            }
            break;
        case RD_KAFKA_EVENT_LOG:
            kafka_on_log(kafka, event);
            break;
        case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
            kafka_oauth_refresh(kafka, kafka->rk, &kafka->fetch);
            break;
        default:
            break;
        }
        rd_kafka_event_destroy(event);
    }
}
