/* SPDX-License-Identifier: MIT
 * A client for a moment: to try what a mapping names, or to read there. It joins no group. */
#include "kafka.h"

#include <stdio.h>

const char *kafka_part(const struct kafka *kafka)
{
    return kafka->publishes_only ? "dead_letter.to" : "source";
}

int kafka_visit_begin(struct kafka_visit *visit, struct kafka *kafka, rd_kafka_type_t type,
                      rd_kafka_conf_t *conf)
{
    char why[KAFKA_TEXT - 32] = "";

    *visit = (struct kafka_visit){.kafka = kafka};
    rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_LOG |
                                       RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
    visit->rk = rd_kafka_new(type, conf, why, sizeof why);
    if (!visit->rk) {
        rd_kafka_conf_destroy(conf);
        snprintf(visit->error, sizeof visit->error, "cannot make a client: %s", why);
        return -1;
    }
    if (type == RD_KAFKA_CONSUMER && !rd_kafka_poll_set_consumer(visit->rk))
        visit->queue = rd_kafka_queue_get_consumer(visit->rk);
    if (!visit->queue) /* it publishes, or has no group */
        visit->queue = rd_kafka_queue_get_main(visit->rk);
    rd_kafka_set_log_queue(visit->rk, visit->queue);
    return 0;
}

static bool is_of_partition(rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_t *at = rd_kafka_event_topic_partition(event);

    if (at)
        rd_kafka_topic_partition_destroy(at);
    return at != NULL;
}

/* Of errors the newest is kept; that all brokers are down says less than why. */
rd_kafka_event_t *kafka_visit_serve(struct kafka_visit *visit, int timeout_ms)
{
    rd_kafka_event_t *event = rd_kafka_queue_poll(visit->queue, timeout_ms);

    if (!event)
        return NULL;
    switch (rd_kafka_event_type(event)) {
    case RD_KAFKA_EVENT_ERROR:
        if (is_of_partition(event))
            return event;
        if (!*visit->error || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN)
            snprintf(visit->error, sizeof visit->error, "%s", rd_kafka_event_error_string(event));
        break;
    case RD_KAFKA_EVENT_LOG:
        kafka_on_log(visit->kafka, event);
        break;
    case RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH:
        kafka_oauth_refresh(visit->kafka, visit->rk, &visit->fetch);
        break;
    default:
        return event;
    }
    rd_kafka_event_destroy(event);
    return NULL;
}

int kafka_visit_wait(struct kafka_visit *visit, int64_t until_us, char text[KAFKA_TEXT])
{
    const struct kafka *kafka = visit->kafka;
    const struct rd_kafka_metadata *metadata = NULL;
    int brokers;

    while (!metadata && kafka_now() < until_us) {
        rd_kafka_event_t *event = kafka_visit_serve(visit, 100);

        if (event)
            rd_kafka_event_destroy(event);
        if (rd_kafka_metadata(visit->rk, 0, NULL, &metadata, 400))
            metadata = NULL;
    }
    if (!metadata) {
        snprintf(text, KAFKA_TEXT, "no broker of %.150s answers%s%.200s: check %s.kafka.brokers, sasl and tls",
                 kafka->brokers, visit->error[0] ? ": " : "", visit->error, kafka_part(kafka));
        return -1;
    }
    brokers = metadata->broker_cnt;
    rd_kafka_metadata_destroy(metadata);
    return brokers;
}

int kafka_visit_topic(struct kafka_visit *visit, const char *name, const char *may, int timeout_ms,
                      char text[KAFKA_TEXT])
{
    rd_kafka_topic_t *topic = rd_kafka_topic_new(visit->rk, name, NULL);
    const struct rd_kafka_metadata *metadata = NULL;
    rd_kafka_resp_err_t failed = rd_kafka_metadata(visit->rk, 0, topic, &metadata, timeout_ms);
    int count = -1;

    if (!failed && metadata->topic_cnt == 1)
        failed = metadata->topics[0].err;
    if (failed == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART)
        snprintf(text, KAFKA_TEXT, "topic %s does not exist: create it or correct %s.kafka.topic", name,
                 kafka_part(visit->kafka));
    else if (failed == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED)
        snprintf(text, KAFKA_TEXT, "topic %s is refused to this user: allow %s and DESCRIBE", name, may);
    else if (failed)
        snprintf(text, KAFKA_TEXT, "topic %s: %s", name, rd_kafka_err2str(failed));
    else
        count = metadata->topics[0].partition_cnt;
    if (metadata)
        rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
    return count;
}

void kafka_visit_end(struct kafka_visit *visit)
{
    if (!visit->rk)
        return;
    kafka_fetch_free(visit->fetch);
    rd_kafka_queue_destroy(visit->queue);
    rd_kafka_destroy_flags(visit->rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    visit->rk = NULL;
}
