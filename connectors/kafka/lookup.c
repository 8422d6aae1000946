/* SPDX-License-Identifier: MIT
 * Where partitions begin that the group has no committed offset for. The answer is committed at
 * once: decided anew after a crash, `start: latest` would skip what arrived in between.
 *
 * `latest` is meant for what was there when the mapping began. A partition that comes later, or whose
 * topic was made anew, begins at its oldest message: nobody could have read what is in it. */
#include "kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIMEOUT_MS 10000

struct kafka_lookup {
    rd_kafka_t *rk;
    enum kafka_start start;
    int64_t start_ms;
    int delay_ms;
    rd_kafka_event_t *event;
    rd_kafka_topic_partition_list_t *list;
    rd_kafka_topic_partition_list_t *known, *sizes; /* copies of the instance's */
    int64_t *committed;
    char error[KAFKA_TEXT];
    pthread_t thread;
    atomic_bool done;
};

/* Takes note of how many partitions the topics have, once for each. */
static rd_kafka_resp_err_t note_sizes(struct kafka_lookup *lookup)
{
    for (int i = 0; i < lookup->list->cnt; i++) {
        const char *name = lookup->list->elems[i].topic;
        const struct rd_kafka_metadata *metadata = NULL;
        rd_kafka_resp_err_t failed;
        rd_kafka_topic_t *topic;

        if (rd_kafka_topic_partition_list_find(lookup->sizes, name, RD_KAFKA_PARTITION_UA))
            continue;
        topic = rd_kafka_topic_new(lookup->rk, name, NULL);
        failed = rd_kafka_metadata(lookup->rk, 0, topic, &metadata, TIMEOUT_MS);
        rd_kafka_topic_destroy(topic);
        if (failed)
            return failed;
        if (metadata->topic_cnt == 1)
            failed = metadata->topics[0].err;
        if (metadata->topic_cnt == 1 && !failed)
            rd_kafka_topic_partition_list_add(lookup->sizes, name, RD_KAFKA_PARTITION_UA)->offset =
                metadata->topics[0].partition_cnt;
        rd_kafka_metadata_destroy(metadata);
        if (failed)
            return failed;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static bool came_later(const struct kafka_lookup *lookup, const rd_kafka_topic_partition_t *element)
{
    const rd_kafka_topic_partition_t *size = rd_kafka_topic_partition_list_find(
        lookup->sizes, element->topic, RD_KAFKA_PARTITION_UA);

    return (size && element->partition >= size->offset) ||
           rd_kafka_topic_partition_list_find(lookup->known, element->topic, element->partition);
}

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
        fresh->elems[i].offset = came_later(lookup, &fresh->elems[i]) ? low : high;
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t first_error(const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].err)
            return list->elems[i].err;
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t find_time(struct kafka_lookup *lookup,
                                     rd_kafka_topic_partition_list_t *fresh)
{
    rd_kafka_topic_partition_list_t *young = rd_kafka_topic_partition_list_new(fresh->cnt);
    rd_kafka_resp_err_t failed;

    for (int i = 0; i < fresh->cnt; i++)
        fresh->elems[i].offset = lookup->start_ms;
    failed = rd_kafka_offsets_for_times(lookup->rk, fresh, TIMEOUT_MS);
    if (!failed)
        failed = first_error(fresh);
    for (int i = 0; !failed && i < fresh->cnt; i++)
        if (fresh->elems[i].offset < 0) /* nothing that young yet */
            rd_kafka_topic_partition_list_add(young, fresh->elems[i].topic,
                                              fresh->elems[i].partition);
    if (!failed)
        failed = find_latest(lookup, young);
    for (int i = 0; !failed && i < young->cnt; i++)
        rd_kafka_topic_partition_list_set_offset(fresh, young->elems[i].topic,
                                                 young->elems[i].partition,
                                                 young->elems[i].offset);
    rd_kafka_topic_partition_list_destroy(young);
    return failed;
}

/* Decides where the partitions of `fresh` begin, durably where that depends on now. */
static rd_kafka_resp_err_t decide(struct kafka_lookup *lookup,
                                  rd_kafka_topic_partition_list_t *fresh)
{
    rd_kafka_resp_err_t failed;

    if (lookup->start == KAFKA_START_EARLIEST) {
        for (int i = 0; i < fresh->cnt; i++)
            fresh->elems[i].offset = RD_KAFKA_OFFSET_BEGINNING;
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    failed = lookup->start == KAFKA_START_LATEST ? find_latest(lookup, fresh)
                                                 : find_time(lookup, fresh);
    if (!failed)
        failed = rd_kafka_commit(lookup->rk, fresh, 0);
    return failed ? failed : first_error(fresh);
}

static rd_kafka_resp_err_t look(struct kafka_lookup *lookup)
{
    rd_kafka_topic_partition_list_t *list = lookup->list, *fresh;
    rd_kafka_resp_err_t failed = rd_kafka_committed(lookup->rk, list, TIMEOUT_MS);

    /* A partition whose offset could not be read is not one without. */
    if (!failed)
        failed = first_error(list);
    if (!failed && lookup->start == KAFKA_START_LATEST)
        failed = note_sizes(lookup);
    if (failed)
        return failed;
    fresh = rd_kafka_topic_partition_list_new(list->cnt);
    for (int i = 0; i < list->cnt; i++)
        if (list->elems[i].offset < 0)
            rd_kafka_topic_partition_list_add(fresh, list->elems[i].topic,
                                              list->elems[i].partition);
    if (fresh->cnt)
        failed = decide(lookup, fresh);
    for (int i = 0; !failed && i < list->cnt; i++) {
        rd_kafka_topic_partition_t *element = &list->elems[i];
        const rd_kafka_topic_partition_t *decided =
            rd_kafka_topic_partition_list_find(fresh, element->topic, element->partition);
        int64_t begin = decided ? decided->offset : element->offset;

        lookup->committed[i] = begin >= 0 ? begin : -1;
        /* INVALID: from the committed offset, by which librdkafka also knows it as committed. */
        element->offset = begin >= 0 ? RD_KAFKA_OFFSET_INVALID : begin;
    }
    rd_kafka_topic_partition_list_destroy(fresh);
    return failed;
}

static void *run(void *argument)
{
    struct kafka_lookup *lookup = argument;
    const struct timespec delay = {.tv_nsec = lookup->delay_ms * 1000000L};
    rd_kafka_resp_err_t failed;

    nanosleep(&delay, NULL);
    failed = look(lookup);
    if (failed)
        snprintf(lookup->error, sizeof lookup->error, "%s", rd_kafka_err2str(failed));
    atomic_store(&lookup->done, true);
    return NULL;
}

struct kafka_lookup *kafka_lookup_start(struct kafka *kafka, rd_kafka_event_t *event, int delay_ms)
{
    struct kafka_lookup *lookup = calloc(1, sizeof *lookup);

    lookup->rk = kafka->rk;
    lookup->start = kafka->start;
    lookup->start_ms = kafka->start_ms;
    lookup->delay_ms = delay_ms;
    lookup->event = event;
    lookup->list = rd_kafka_topic_partition_list_copy(rd_kafka_event_topic_partition_list(event));
    lookup->known = rd_kafka_topic_partition_list_copy(kafka->known);
    lookup->sizes = rd_kafka_topic_partition_list_copy(kafka->sizes);
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

static void finish(struct kafka_lookup *lookup)
{
    if (lookup->thread)
        pthread_join(lookup->thread, NULL);
    rd_kafka_topic_partition_list_destroy(lookup->known);
}

rd_kafka_topic_partition_list_t *kafka_lookup_take(struct kafka *kafka,
                                                   struct kafka_lookup *lookup,
                                                   rd_kafka_event_t **ret_event,
                                                   int64_t **ret_committed, char error[KAFKA_TEXT])
{
    rd_kafka_topic_partition_list_t *list = lookup->list;

    finish(lookup);
    rd_kafka_topic_partition_list_destroy(kafka->sizes);
    kafka->sizes = lookup->sizes;
    *ret_event = lookup->event;
    *ret_committed = lookup->committed;
    memcpy(error, lookup->error, KAFKA_TEXT);
    free(lookup);
    return list;
}

void kafka_lookup_discard(struct kafka_lookup *lookup)
{
    if (!lookup)
        return;
    finish(lookup);
    rd_kafka_topic_partition_list_destroy(lookup->sizes);
    rd_kafka_topic_partition_list_destroy(lookup->list);
    rd_kafka_event_destroy(lookup->event);
    free(lookup->committed);
    free(lookup);
}
