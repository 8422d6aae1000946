/* SPDX-License-Identifier: MIT
 * Publishing with confirmation, by an idempotent producer that is made when first needed. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CLOSE_WAIT_MS 1000
#define PURGE_ALL \
    (RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING)

struct kafka_refusal {
    struct kafka_refusal *next;
    void *cookie;
    rd_kafka_resp_err_t code;
    char text[KAFKA_TEXT];
};

int kafka_publish_start(struct kafka *kafka)
{
    static const uint64_t one = 1;
    char error[KAFKA_TEXT];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(kafka->conf);

    rd_kafka_conf_set(conf, "client.id", kafka->name ? kafka->name : "sluice", error, sizeof error);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", error, sizeof error);
    rd_kafka_conf_set(conf, "linger.ms", "5", error, sizeof error);
    /* How long a topic that is not there is waited for, as it may just have been made. */
    rd_kafka_conf_set(conf, "topic.metadata.propagation.max.ms", "5000", error, sizeof error);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH |
                                       (kafka->publishes_only ? RD_KAFKA_EVENT_STATS : 0));
    kafka->producer_away = true;
    kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!kafka->producer) {
        rd_kafka_conf_destroy(conf);
        kafka_log(kafka, SLUICE_LOG_ERROR, "producer_failed", "%s", error);
        if (kafka->publishes_only)
            kafka_state(kafka, SLUICE_STATE_FAILED, "cannot make a producer: %s", error);
        return -1;
    }
    kafka->reports = rd_kafka_queue_get_main(kafka->producer);
    rd_kafka_set_log_queue(kafka->producer, kafka->reports);
    rd_kafka_queue_io_event_enable(kafka->reports, kafka->fd, &one, sizeof one);
    return 0;
}

static void drop_producer(struct kafka *kafka)
{
    rd_kafka_queue_io_event_enable(kafka->reports, -1, NULL, 0);
    rd_kafka_queue_destroy(kafka->reports);
    kafka_aside_destroy(kafka->aside, kafka->producer, NULL, kafka->producer_fetch);
    kafka->producer = NULL;
    kafka->reports = NULL;
    kafka->producer_fetch = NULL;
    kafka->producer_broken = false;
}

static void explain(char text[KAFKA_TEXT], const char *topic, rd_kafka_resp_err_t code)
{
    snprintf(text, KAFKA_TEXT, "topic %s: %s", topic, rd_kafka_err2str(code));
}

static bool is_too_large(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || code == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE;
}

static void tell(struct kafka *kafka, void *cookie, rd_kafka_resp_err_t code, const char *text)
{
    kafka->unreported--;
    if (is_too_large(code) && SLUICE_HOST_HAS(kafka->api, unpublishable))
        kafka->api->unpublishable(kafka->host, cookie, text);
    else
        kafka->api->published(kafka->host, cookie, code ? text : NULL);
}

/* What will never be taken must not be tried again: it is told like any other failure. */
static void refuse_later(struct kafka *kafka, const struct sluice_publication *publication,
                         const char *topic, rd_kafka_resp_err_t code)
{
    static const uint64_t one = 1;
    struct kafka_refusal *refusal = calloc(1, sizeof *refusal);

    refusal->cookie = publication->cookie;
    refusal->code = code;
    explain(refusal->text, topic, code);
    refusal->next = kafka->refusals;
    kafka->refusals = refusal;
    kafka->unreported++;
    if (kafka->fd >= 0 && write(kafka->fd, &one, sizeof one) < 0) {
        /* It is called every other second anyway. */
    }
}

int kafka_publish(void *instance, const struct sluice_publication *publication)
{
    struct kafka *kafka = instance;
    const char *topic =
        publication->destination ? publication->destination : kafka->topics->elems[0].topic;
    rd_kafka_headers_t *headers;
    rd_kafka_resp_err_t failed;

    if (kafka->producer_broken || (!kafka->producer && kafka_publish_start(kafka)))
        return -1;
    headers = rd_kafka_headers_new(publication->header_count);
    for (size_t i = 0; i < publication->header_count; i++) {
        const struct sluice_header *header = &publication->headers[i];

        rd_kafka_header_add(headers, header->name.data, (ssize_t)header->name.size,
                            header->value.data, (ssize_t)header->value.size);
    }
    failed = rd_kafka_producev(
        kafka->producer, RD_KAFKA_V_TOPIC(topic),
        RD_KAFKA_V_KEY(publication->key.data, publication->key.size),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)publication->payload.data, publication->payload.size),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(publication->cookie),
        /* A purge reports what is still in librdkafka's output buffers. */
        RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END);
    if (!failed) {
        kafka->unreported++;
        return 0;
    }
    rd_kafka_headers_destroy(headers);
    if (failed == RD_KAFKA_RESP_ERR__QUEUE_FULL || failed == RD_KAFKA_RESP_ERR__FATAL)
        return -1;
    refuse_later(kafka, publication, topic, failed);
    return 0;
}

/* A topic's trouble lasts until it takes something. */
static void tell_topic(struct kafka *kafka, rd_kafka_resp_err_t code, const char *text)
{
    if (!kafka->publishes_only || kafka->stopping)
        return;
    if (code == RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC || code == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        kafka_state(kafka, SLUICE_STATE_MISSING,
                    "%s; it is tried again and again: create the topic or correct %s.kafka.topic", text,
                    kafka_part(kafka));
    else if (code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "%s; it is tried again and again: allow this user to WRITE to it", text);
    else if (!code)
        kafka_state(kafka, SLUICE_STATE_RUNNING, NULL);
    if (!code)
        kafka->producer_away = false;
}

static void report(struct kafka *kafka, const rd_kafka_message_t *message)
{
    char text[KAFKA_TEXT] = "";

    if (message->err)
        explain(text, rd_kafka_topic_name(message->rkt), message->err);
    tell_topic(kafka, message->err, text);
    tell(kafka, message->_private, message->err, text);
}

/* A consumer's errors are told by the consumer. */
static void on_error(struct kafka *kafka, rd_kafka_resp_err_t code, const char *text)
{
    if (!kafka->publishes_only || kafka->stopping)
        return;
    if (code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED)
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "the login at %s fails: %s; check %s.kafka.sasl", kafka->brokers, text,
                    kafka_part(kafka));
    else if (code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN || code == RD_KAFKA_RESP_ERR__SSL ||
             code == RD_KAFKA_RESP_ERR__RESOLVE)
        kafka_state(kafka, SLUICE_STATE_UNREACHABLE, "no broker of %s answers: %s; it is tried again",
                    kafka->brokers, text);
    else
        return;
    kafka->producer_away = true;
}

/* A connection that works again while nothing is to be published. */
static void on_statistics(struct kafka *kafka, const char *text)
{
    if (!kafka->producer_away || kafka->stopping || !kafka_statistics_up(text))
        return;
    kafka->producer_away = false;
    kafka_state(kafka, SLUICE_STATE_RUNNING, NULL);
}

static void serve(struct kafka *kafka, rd_kafka_event_t *event)
{
    const rd_kafka_message_t *message;

    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
        kafka_oauth_refresh(kafka, kafka->producer, &kafka->producer_fetch);
        break;
    case RD_KAFKA_EVENT_DR:
        while ((message = rd_kafka_event_message_next(event)))
            report(kafka, message);
        break;
    case RD_KAFKA_EVENT_LOG:
        kafka_on_log(kafka, event);
        break;
    case RD_KAFKA_EVENT_ERROR:
        on_error(kafka, rd_kafka_event_error(event), rd_kafka_event_error_string(event));
        break;
    case RD_KAFKA_EVENT_STATS:
        on_statistics(kafka, rd_kafka_event_stats(event));
        break;
    default:
        break;
    }
}

static void check_fatal(struct kafka *kafka)
{
    char text[KAFKA_TEXT];

    if (kafka->producer_broken || !rd_kafka_fatal_error(kafka->producer, text, sizeof text))
        return;
    kafka_log(kafka, SLUICE_LOG_ERROR, "producer_failed",
              "%s; what was not confirmed is told as failed, and a new producer is made", text);
    kafka->producer_broken = true;
    rd_kafka_purge(kafka->producer, PURGE_ALL);
}

static void tell_refusals(struct kafka *kafka)
{
    struct kafka_refusal *refusal;

    while ((refusal = kafka->refusals)) {
        kafka->refusals = refusal->next;
        tell(kafka, refusal->cookie, refusal->code, refusal->text);
        free(refusal);
    }
}

void kafka_serve_reports(struct kafka *kafka)
{
    rd_kafka_event_t *event;

    tell_refusals(kafka);
    while (kafka->producer && (event = rd_kafka_queue_poll(kafka->reports, 0))) {
        serve(kafka, event);
        rd_kafka_event_destroy(event);
    }
    if (kafka->producer)
        check_fatal(kafka);
    if (kafka->producer_broken && !kafka->unreported)
        drop_producer(kafka);
}

void kafka_publish_close(struct kafka *kafka)
{
    int64_t until_us = kafka_now() + CLOSE_WAIT_MS * INT64_C(1000);

    tell_refusals(kafka);
    if (!kafka->producer)
        return;
    rd_kafka_purge(kafka->producer, PURGE_ALL);
    while (kafka->unreported && kafka_now() < until_us) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(kafka->reports, 10);

        if (event) {
            serve(kafka, event);
            rd_kafka_event_destroy(event);
        }
    }
    drop_producer(kafka);
}
