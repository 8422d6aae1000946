/* SPDX-License-Identifier: MIT
 * `sluice check --connect`: tries brokers, topics and group for real. */
#include "kafka.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void report(const struct sluice_check *check, bool ok, const char *format, ...)
{
    char text[KAFKA_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    check->report(check->cookie, ok, text);
}

/* Serves the handle's events while waiting, and keeps the newest error's text; that all brokers are down says
 * less than why. */
static void serve(struct kafka *kafka, rd_kafka_t *rk, rd_kafka_queue_t *queue, int timeout_ms,
                  struct kafka_fetch **fetch, char error[KAFKA_TEXT])
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, timeout_ms);

    if (!event)
        return;
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR &&
        (!*error || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN))
        snprintf(error, KAFKA_TEXT, "%s", rd_kafka_event_error_string(event));
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LOG)
        kafka_on_log(kafka, event);
    else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH)
        kafka_oauth_refresh(kafka, rk, fetch);
    rd_kafka_event_destroy(event);
}

const char *kafka_part(const struct kafka *kafka)
{
    return kafka->publishes_only ? "dead_letter.to" : "source";
}

static int check_topic(const struct sluice_check *check, const struct kafka *kafka, rd_kafka_t *rk,
                       const char *name, int timeout_ms)
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(rk, name, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t failed = rd_kafka_metadata(rk, 0, topic, &metadata, timeout_ms);
    int result = -1;

    if (!failed && metadata->topic_cnt == 1)
        failed = metadata->topics[0].err;
    if (failed == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        report(check, false, "topic %s does not exist: create it or correct %s.kafka.topic", name,
               kafka_part(kafka));
    else if (failed == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        report(check, false, "topic %s may not be %s by this user: allow %s and DESCRIBE", name,
               kafka->publishes_only ? "written" : "read", kafka->publishes_only ? "WRITE" : "READ");
    else if (failed)
        report(check, false, "topic %s: %s", name, rd_kafka_err2str(failed));
    else {
        report(check, true, "topic %s has %d partitions", name,
               metadata->topics[0].partition_cnt);
        result = 0;
    }
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return result;
}

static int check_group(const struct sluice_check *check, struct kafka *kafka, rd_kafka_t *rk,
                       int timeout_ms)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_resp_err_t failed;
    int64_t committed;

    rd_kafka_topic_partition_list_add(list, kafka->topics->elems[0].topic, 0);
    failed = rd_kafka_committed(rk, list, timeout_ms);
    committed = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    if (failed) {
        report(check, false, "group %s: %s: allow READ on the group", kafka->group,
               rd_kafka_err2str(failed));
        return -1;
    }
    if (committed >= 0)
        report(check, true, "group %s has committed offsets and goes on from them", kafka->group);
    else
        report(check, true, "group %s is new and starts at %s", kafka->group,
               kafka->api->values->text(kafka->values, "start"));
    return 0;
}

int kafka_check(void *instance, const struct sluice_check *check)
{
    struct kafka *kafka = instance;
    char error[KAFKA_TEXT] = "";
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(kafka->conf);
    int64_t until = kafka_now() + check->deadline_us;
    const struct rd_kafka_metadata *metadata = NULL;
    const char *destination = kafka->publishes_only && kafka->api->abi_minor ? check->destination
                                                                             : NULL;
    struct kafka_fetch *fetch = NULL;
    rd_kafka_queue_t *queue;
    rd_kafka_t *rk;
    int result = 0;

    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    rk = rd_kafka_new(kafka->publishes_only ? RD_KAFKA_PRODUCER : RD_KAFKA_CONSUMER, conf, error,
                      sizeof error);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        report(check, false, "cannot make a client: %s", error);
        return -1;
    }
    if (!kafka->publishes_only)
        rd_kafka_poll_set_consumer(rk);
    queue = kafka->publishes_only ? rd_kafka_queue_get_main(rk) : rd_kafka_queue_get_consumer(rk);
    rd_kafka_set_log_queue(rk, queue);
    while (!metadata && kafka_now() < until) {
        serve(kafka, rk, queue, 100, &fetch, error);
        if (rd_kafka_metadata(rk, 0, NULL, &metadata, 400))
            metadata = NULL;
    }
    if (!metadata) {
        report(check, false, "no broker of %s answers%s%s: check %s.kafka.brokers, sasl and tls",
               kafka->brokers, error[0] ? ": " : "", error, kafka_part(kafka));
        result = -1;
    } else {
        int left_ms = (int)((until - kafka_now()) / 1000) + 1000;

        report(check, true, "%d brokers answer", metadata->broker_cnt);
        rd_kafka_metadata_destroy(metadata);
        if (destination)
            result = check_topic(check, kafka, rk, destination, left_ms);
        for (int i = 0; i < kafka->topics->cnt && !destination; i++)
            result |= check_topic(check, kafka, rk, kafka->topics->elems[i].topic, left_ms);
        if (!result && !kafka->publishes_only)
            result = check_group(check, kafka, rk, left_ms);
    }
    kafka_fetch_free(fetch);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    return result;
}
