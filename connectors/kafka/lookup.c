/* SPDX-License-Identifier: MIT
 * Where partitions begin that the group has no committed offset for. The answer is committed at
 * once: decided anew after a crash, `start: latest` would skip what arrived in between. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMEOUT_MS 10000

struct kafka_lookup {
    rd_kafka_t *rk;
    enum kafka_start start;
    int64_t start_ms;
    rd_kafka_event_t *event;
    rd_kafka_topic_partition_list_t *list;
    int64_t *committed;
    char error[KAFKA_TEXT];
    pthread_t thread;
    atomic_bool done;
};

static rd_kafka_resp_err_t find_latest(struct kafka_lookup *lookup,
                                       rd_kafka_topic_partition_list_t *fresh)
{
    for (int i = 0; i < fresh->cnt; i++) {
        int64_t low, high;
        rd_kafka_resp_err_t failed =
            rd_kafka_query_watermark_offsets(lookup->rk, fresh->elems[i].topic,
                                             fresh->elems[i].partition, &low, &high, TIMEOUT_MS);

        if (failed)
            return failed;
        fresh->elems[i].offset = high;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t find_time(struct kafka_lookup *lookup,
                                     rd_kafka_topic_partition_list_t *fresh)
{
    rd_kafka_resp_err_t failed;

    for (int i = 0; i < fresh->cnt; i++)
        fresh->elems[i].offset = lookup->start_ms;
    failed = rd_kafka_offsets_for_times(lookup->rk, fresh, TIMEOUT_MS);
    if (failed)
        return failed;
    for (int i = 0; i < fresh->cnt; i++)
        if (fresh->elems[i].offset < 0) { /* nothing that young yet */
            int64_t low, high;

            failed = rd_kafka_query_watermark_offsets(
                lookup->rk, fresh->elems[i].topic, fresh->elems[i].partition, &low, &high,
                TIMEOUT_MS);
            if (failed)
                return failed;
            fresh->elems[i].offset = high;
        }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t look(struct kafka_lookup *lookup)
{
    rd_kafka_topic_partition_list_t *fresh;
    rd_kafka_resp_err_t failed = rd_kafka_committed(lookup->rk, lookup->list, TIMEOUT_MS);

    if (failed)
        return failed;
    fresh = rd_kafka_topic_partition_list_new(lookup->list->cnt);
    for (int i = 0; i < lookup->list->cnt; i++) {
        rd_kafka_topic_partition_t *element = &lookup->list->elems[i];

        lookup->committed[i] = element->offset >= 0 ? element->offset : -1;
        if (element->offset < 0)
            rd_kafka_topic_partition_list_add(fresh, element->topic, element->partition);
        element->offset = RD_KAFKA_OFFSET_INVALID; /* from the committed one */
    }
    if (fresh->cnt && lookup->start == KAFKA_START_LATEST)
        failed = find_latest(lookup, fresh);
    else if (fresh->cnt && lookup->start == KAFKA_START_TIMESTAMP)
        failed = find_time(lookup, fresh);
    if (!failed && fresh->cnt && lookup->start != KAFKA_START_EARLIEST)
        failed = rd_kafka_commit(lookup->rk, fresh, 0);
    for (int i = 0; !failed && i < fresh->cnt; i++) {
        rd_kafka_topic_partition_t *element = rd_kafka_topic_partition_list_find(
            lookup->list, fresh->elems[i].topic, fresh->elems[i].partition);

        if (lookup->start == KAFKA_START_EARLIEST)
            element->offset = RD_KAFKA_OFFSET_BEGINNING;
        else
            element->offset = fresh->elems[i].offset;
    }
    rd_kafka_topic_partition_list_destroy(fresh);
    return failed;
}

static void *run(void *argument)
{
    struct kafka_lookup *lookup = argument;
    rd_kafka_resp_err_t failed = look(lookup);

    if (failed)
        snprintf(lookup->error, sizeof lookup->error, "%s", rd_kafka_err2str(failed));
    atomic_store(&lookup->done, true);
    return NULL;
}

struct kafka_lookup *kafka_lookup_start(struct kafka *kafka, rd_kafka_event_t *event)
{
    struct kafka_lookup *lookup = calloc(1, sizeof *lookup);

    lookup->rk = kafka->rk;
    lookup->start = kafka->start;
    lookup->start_ms = kafka->start_ms;
    lookup->event = event;
    lookup->list = rd_kafka_topic_partition_list_copy(rd_kafka_event_topic_partition_list(event));
    lookup->committed = calloc((size_t)lookup->list->cnt + 1, sizeof *lookup->committed);
    if (pthread_create(&lookup->thread, NULL, run, lookup)) {
        run(lookup);
        lookup->thread = 0;
    }
    return lookup;
}

bool kafka_lookup_done(const struct kafka_lookup *lookup)
{
    return atomic_load(&lookup->done);
}

rd_kafka_topic_partition_list_t *kafka_lookup_take(struct kafka_lookup *lookup,
                                                   rd_kafka_event_t **ret_event,
                                                   int64_t **ret_committed, char error[KAFKA_TEXT])
{
    rd_kafka_topic_partition_list_t *list = lookup->list;

    if (lookup->thread)
        pthread_join(lookup->thread, NULL);
    *ret_event = lookup->event;
    *ret_committed = lookup->committed;
    memcpy(error, lookup->error, KAFKA_TEXT);
    free(lookup);
    return list;
}
