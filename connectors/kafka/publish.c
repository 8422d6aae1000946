/* SPDX-License-Identifier: MIT
 * Publishing with confirmation, by an idempotent producer that is made when first needed. */
#include "kafka.h"

#include <stdlib.h>
#include <string.h>

static int make_producer(struct kafka *kafka)
{
    static const uint64_t one = 1;
    char error[KAFKA_TEXT];
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(kafka->conf);

    rd_kafka_conf_set(conf, "client.id", kafka->name ? kafka->name : "sluice", error, sizeof error);
    rd_kafka_conf_set(conf, "enable.idempotence", "true", error, sizeof error);
    rd_kafka_conf_set(conf, "linger.ms", "5", error, sizeof error);
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    kafka->producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof error);
    if (!kafka->producer) {
        rd_kafka_conf_destroy(conf);
        kafka_log(kafka, SLUICE_LOG_ERROR, "producer_failed", "%s", error);
        return -1;
    }
    kafka->reports = rd_kafka_queue_get_main(kafka->producer);
    rd_kafka_queue_io_event_enable(kafka->reports, kafka->fd, &one, sizeof one);
    return 0;
}

int kafka_publish(void *instance, const struct sluice_publication *publication)
{
    struct kafka *kafka = instance;
    rd_kafka_headers_t *headers;
    rd_kafka_resp_err_t failed;

    if (!kafka->producer && make_producer(kafka))
        return -1;
    headers = rd_kafka_headers_new(publication->header_count);
    for (size_t i = 0; i < publication->header_count; i++) {
        const struct sluice_header *header = &publication->headers[i];

        rd_kafka_header_add(headers, header->name.data, (ssize_t)header->name.size,
                            header->value.data, (ssize_t)header->value.size);
    }
    failed = rd_kafka_producev(
        kafka->producer,
        RD_KAFKA_V_TOPIC(publication->destination ? publication->destination
                                                  : kafka->topics->elems[0].topic),
        RD_KAFKA_V_KEY(publication->key.data, publication->key.size),
        RD_KAFKA_V_VALUE((void *)(uintptr_t)publication->payload.data, publication->payload.size),
        RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_OPAQUE(publication->cookie), RD_KAFKA_V_END);
    if (failed)
        rd_kafka_headers_destroy(headers);
    return failed ? -1 : 0;
}

void kafka_serve_reports(struct kafka *kafka)
{
    rd_kafka_event_t *event;

    while (kafka->producer && (event = rd_kafka_queue_poll(kafka->reports, 0))) {
        const rd_kafka_message_t *message;

        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH)
            kafka_oauth_refresh(kafka, kafka->producer);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_DR)
            while ((message = rd_kafka_event_message_next(event)))
                kafka->api->published(kafka->host, message->_private,
                                      message->err ? rd_kafka_err2str(message->err) : NULL);
        rd_kafka_event_destroy(event);
    }
}

void kafka_publish_close(struct kafka *kafka)
{
    if (!kafka->producer)
        return;
    rd_kafka_purge(kafka->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    kafka_serve_reports(kafka);
    rd_kafka_queue_destroy(kafka->reports);
    rd_kafka_destroy(kafka->producer);
    kafka->producer = NULL;
}
