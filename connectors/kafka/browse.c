/* SPDX-License-Identifier: MIT
 * Reading a topic without a group: by offsets, up to where it ended at the beginning, and no trace of it at
 * the broker. That is librdkafka's simple consumer: the other one has a group. */
#include "kafka.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS_USUAL 64

struct part {
    const char *topic;
    rd_kafka_topic_t *handle; /* once it is read */
    int32_t partition;
    int64_t begin, end; /* offsets; `end` is behind the last one */
    bool done;
};

struct browsing {
    struct kafka_visit visit;
    const struct sluice_browse *asked;
    int64_t until_us;
    struct part *parts;
    size_t count, left; /* left: not read to the end */
    struct sluice_header *headers;
    size_t header_room;
    bool enough, failed;
    int64_t woken_us;
};

static void fail(struct browsing *browsing, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void fail(struct browsing *browsing, const char *format, ...)
{
    char text[KAFKA_TEXT];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    browsing->failed = true;
    browsing->asked->fail(browsing->asked->cookie, text);
}

/* At least a moment, so that what is answered at once is not called late. */
static int left_ms(const struct browsing *browsing)
{
    int64_t left = (browsing->until_us - kafka_now()) / 1000;

    return left < 100 ? 100 : left > 600000 ? 600000 : (int)left;
}

/* ---- what there is ---- */

static int add_topic(struct browsing *browsing, const char *topic)
{
    char text[KAFKA_TEXT];
    int count = kafka_visit_topic(&browsing->visit, topic, "READ", left_ms(browsing), text);

    if (count < 0) {
        fail(browsing, "%s", text);
        return -1;
    }
    browsing->parts =
        realloc(browsing->parts, (browsing->count + (size_t)count) * sizeof *browsing->parts);
    for (int i = 0; i < count; i++)
        browsing->parts[browsing->count++] = (struct part){.topic = topic, .partition = i};
    return 0;
}

/* The first offset of that time, for all at once. */
static rd_kafka_resp_err_t find_since(struct browsing *browsing)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)browsing->count);
    rd_kafka_resp_err_t failed;

    for (size_t i = 0; i < browsing->count; i++)
        rd_kafka_topic_partition_list_add(list, browsing->parts[i].topic,
                                          browsing->parts[i].partition)
            ->offset = browsing->asked->since_ms;
    failed = rd_kafka_offsets_for_times(browsing->visit.rk, list, left_ms(browsing));
    for (int i = 0; i < list->cnt && !failed; i++) {
        struct part *part = &browsing->parts[i];

        failed = list->elems[i].err;
        if (list->elems[i].offset < 0) /* nothing that young */
            part->begin = part->end;
        else if (list->elems[i].offset > part->begin)
            part->begin = list->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(list);
    return failed;
}

static int find_range(struct browsing *browsing)
{
    rd_kafka_resp_err_t failed = RD_KAFKA_RESP_ERR_NO_ERROR;
    uint64_t newest = browsing->asked->newest;

    for (size_t i = 0; i < browsing->count && !failed; i++) {
        struct part *part = &browsing->parts[i];

        failed = rd_kafka_query_watermark_offsets(browsing->visit.rk, part->topic, part->partition,
                                                  &part->begin, &part->end, left_ms(browsing));
        if (!failed && newest && (uint64_t)(part->end - part->begin) > newest)
            part->begin = part->end - (int64_t)newest;
    }
    if (!failed && browsing->asked->since_ms && browsing->count)
        failed = find_since(browsing);
    if (!failed)
        return 0;
    fail(browsing, "the offsets of topic %s cannot be asked for: %s%s%.200s", browsing->parts[0].topic,
         rd_kafka_err2str(failed), browsing->visit.error[0] ? ": " : "", browsing->visit.error);
    return -1;
}

static int find_parts(struct browsing *browsing)
{
    const struct kafka *kafka = browsing->visit.kafka;
    char text[KAFKA_TEXT];

    if (kafka_visit_wait(&browsing->visit, browsing->until_us, text) < 0) {
        fail(browsing, "%s", text);
        return -1;
    }
    if (browsing->asked->destination)
        return add_topic(browsing, browsing->asked->destination) ? -1 : find_range(browsing);
    for (int i = 0; i < kafka->topics->cnt; i++)
        if (add_topic(browsing, kafka->topics->elems[i].topic))
            return -1;
    return find_range(browsing);
}

/* ---- reading ---- */

static struct part *part_of(struct browsing *browsing, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < browsing->count; i++)
        if (browsing->parts[i].partition == partition && !strcmp(browsing->parts[i].topic, topic))
            return &browsing->parts[i];
    return NULL;
}

static void finish(struct browsing *browsing, struct part *part)
{
    browsing->left -= !part->done;
    part->done = true;
}

static void show(struct browsing *browsing, const struct part *part, const rd_kafka_message_t *from)
{
    char name[300];
    const struct sluice_lane lane = {
        .name = name, .source = part->topic, .partition = part->partition};
    struct sluice_message message;
    size_t count;

    snprintf(name, sizeof name, "%s/%d", part->topic, (int)part->partition);
    kafka_convert(from, &message);
    count = kafka_headers(NULL, message.handle, browsing->headers, browsing->header_room);
    if (count > browsing->header_room) {
        browsing->header_room = count;
        browsing->headers = realloc(browsing->headers, count * sizeof *browsing->headers);
        count = kafka_headers(NULL, message.handle, browsing->headers, count);
    }
    browsing->enough = browsing->asked->see(browsing->asked->cookie, &lane, &message,
                                            browsing->headers, count) != 0;
}

static void take(struct browsing *browsing, const rd_kafka_message_t *message)
{
    struct part *part = part_of(browsing, message->rkt ? rd_kafka_topic_name(message->rkt) : "",
                                message->partition);

    if (!part || part->done || message->err)
        return;
    if (message->offset < part->end)
        show(browsing, part, message);
    if (message->offset + 1 >= part->end)
        finish(browsing, part);
}

/* Its end, where the last offsets are no messages, or what cannot be read, which is fetched again and again. */
static void take_error(struct browsing *browsing, rd_kafka_event_t *event)
{
    rd_kafka_topic_partition_t *at = rd_kafka_event_topic_partition(event);
    struct part *part = part_of(browsing, at->topic, at->partition);

    if (part && !part->done) {
        if (rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR__PARTITION_EOF)
            fail(browsing, "%s/%d cannot be read further: %.300s", part->topic, (int)part->partition,
                 rd_kafka_event_error_string(event));
        finish(browsing, part);
    }
    rd_kafka_topic_partition_destroy(at);
}

static int start(struct browsing *browsing)
{
    for (size_t i = 0; i < browsing->count; i++) {
        struct part *part = &browsing->parts[i];

        part->done = part->begin >= part->end;
        if (part->done)
            continue;
        part->handle = rd_kafka_topic_new(browsing->visit.rk, part->topic, NULL);
        if (rd_kafka_consume_start_queue(part->handle, part->partition, part->begin,
                                         browsing->visit.queue)) {
            fail(browsing, "%s/%d cannot be read: %s", part->topic, (int)part->partition,
                 rd_kafka_err2str(rd_kafka_last_error()));
            rd_kafka_topic_destroy(part->handle);
            part->handle = NULL;
            return -1;
        }
        browsing->left++;
    }
    return 0;
}

static void stop(struct browsing *browsing)
{
    for (size_t i = 0; i < browsing->count; i++)
        if (browsing->parts[i].handle) {
            rd_kafka_consume_stop(browsing->parts[i].handle, browsing->parts[i].partition);
            rd_kafka_topic_destroy(browsing->parts[i].handle);
        }
}

/* The next event. What was read freed room that librdkafka would look for in a second. */
static rd_kafka_event_t *next_event(struct browsing *browsing)
{
    const struct kafka *kafka = browsing->visit.kafka;

    if (kafka->needs_nudges && kafka_now() - browsing->woken_us >= KAFKA_NUDGE_US) {
        browsing->woken_us = kafka_now();
        kafka_wake_brokers(kafka, browsing->visit.rk);
    }
    return kafka_visit_serve(&browsing->visit, KAFKA_NUDGE_US / 1000);
}

static bool is_stopped(const struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;

    return browsing->visit.kafka->api->abi_minor >= 2 && asked->stopped &&
           asked->stopped(asked->cookie);
}

static void read_all(struct browsing *browsing)
{
    while (browsing->left && !browsing->enough && kafka_now() < browsing->until_us) {
        rd_kafka_event_t *event = next_event(browsing);
        const rd_kafka_message_t *message;

        browsing->enough = is_stopped(browsing);
        if (!event)
            continue;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_FETCH)
            while (!browsing->enough && (message = rd_kafka_event_message_next(event)))
                take(browsing, message);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR)
            take_error(browsing, event);
        rd_kafka_event_destroy(event);
    }
    if (browsing->left && !browsing->enough)
        fail(browsing, "%zu of %zu partitions could not be read to their end in time%s%.300s",
             browsing->left, browsing->count, browsing->visit.error[0] ? ": " : "",
             browsing->visit.error);
}

int kafka_browse(void *instance, const struct sluice_browse *browse)
{
    struct kafka *kafka = instance;
    struct browsing browsing = {.asked = browse, .until_us = kafka_now() + browse->deadline_us};
    rd_kafka_conf_t *conf = rd_kafka_conf_dup(kafka->conf);
    char error[KAFKA_TEXT];

    rd_kafka_conf_set(conf, "group.id", NULL, error, sizeof error);
    rd_kafka_conf_set(conf, "group.instance.id", NULL, error, sizeof error);
    rd_kafka_conf_set(conf, "enable.auto.commit", "false", error, sizeof error);
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", error, sizeof error);
    if (kafka_visit_begin(&browsing.visit, kafka, RD_KAFKA_CONSUMER, conf)) {
        fail(&browsing, "%s", browsing.visit.error);
        return -1;
    }
    browsing.header_room = HEADERS_USUAL;
    browsing.headers = calloc(HEADERS_USUAL, sizeof *browsing.headers);
    if (!find_parts(&browsing) && !start(&browsing))
        read_all(&browsing);
    stop(&browsing);
    kafka_visit_end(&browsing.visit);
    free(browsing.headers);
    free(browsing.parts);
    return browsing.failed ? -1 : 0;
}
