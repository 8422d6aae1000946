/* SPDX-License-Identifier: MIT
 * Lanes come and go with the group's rebalances. */
#include "kafka.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long a partition that another member waits for may be held for invocations in flight. */
#define REVOKE_WAIT_US 5000000
#define LEAVE_US       200000 /* for the last commit and to leave the group */
#define LOOKUP_AGAIN_MS 500
#define PAUSE_SHORT_US  100000
#define MESSAGE_BYTES   512 /* of one beside its key and payload */

static int compare(const char *topic, int32_t partition, const struct kafka_lane *lane)
{
    int order = strcmp(topic, lane->topic);

    return order ? order : (partition > lane->partition) - (partition < lane->partition);
}

static size_t place_of(const struct kafka *kafka, const char *topic, int32_t partition)
{
    size_t low = 0, high = kafka->lane_count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (compare(topic, partition, kafka->lanes[middle]) > 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct kafka_lane *kafka_find_lane(struct kafka *kafka, const char *topic, int32_t partition)
{
    size_t at = place_of(kafka, topic, partition);

    if (at < kafka->lane_count && !compare(topic, partition, kafka->lanes[at]))
        return kafka->lanes[at];
    return NULL;
}

static struct kafka_lane *open_lane(struct kafka *kafka, const char *topic, int32_t partition,
                                    int64_t committed)
{
    struct kafka_lane *lane = calloc(1, sizeof *lane);
    size_t at = place_of(kafka, topic, partition);
    char name[300];
    struct sluice_lane info = {.name = name, .cookie = lane};

    lane->topic = strdup(topic);
    lane->partition = partition;
    lane->settled = lane->first = lane->stable = lane->newest = lane->recommit = -1;
    lane->committed = committed;
    lane->queue = rd_kafka_queue_get_partition(kafka->rk, lane->topic, lane->partition);
    if (lane->queue)
        rd_kafka_queue_forward(lane->queue, kafka->messages);
    kafka->lanes = realloc(kafka->lanes, (kafka->lane_count + 1) * sizeof(struct kafka_lane *));
    memmove(kafka->lanes + at + 1, kafka->lanes + at,
            (kafka->lane_count - at) * sizeof(struct kafka_lane *));
    kafka->lanes[at] = lane;
    kafka->lane_count++;

    snprintf(name, sizeof name, "%s/%" PRId32, lane->topic, lane->partition);
    info.source = lane->topic;
    info.partition = lane->partition;
    lane->cookie = kafka->api->lane_opened(kafka->host, &info);
    if (committed >= 0)
        kafka->api->settled(kafka->host, lane->cookie, (uint64_t)committed);
    else if (rd_kafka_topic_partition_list_find(kafka->known, topic, partition))
        lane->made_anew = true;
    return lane;
}

/* For lanes that come again: librdkafka remembers what it saw committed, too. */
static void remember(struct kafka *kafka, const struct kafka_lane *lane)
{
    if (!rd_kafka_topic_partition_list_find(kafka->known, lane->topic, lane->partition))
        rd_kafka_topic_partition_list_add(kafka->known, lane->topic, lane->partition);
    rd_kafka_topic_partition_list_set_offset(kafka->known, lane->topic, lane->partition,
                                             lane->committed);
}

/* ---- what comes of lanes that are paused ---- */

static size_t cost(const rd_kafka_message_t *message)
{
    return message->len + message->key_len + MESSAGE_BYTES;
}

void kafka_keep(struct kafka_lane *lane, rd_kafka_message_t *message)
{
    struct kafka_kept *kept = &lane->kept;

    if (kept->first + kept->count == kept->room && kept->first) {
        memmove(kept->messages, kept->messages + kept->first,
                kept->count * sizeof(rd_kafka_message_t *));
        kept->first = 0;
    } else if (kept->count == kept->room) {
        kept->room = kept->room ? kept->room * 2 : 64;
        kept->messages = realloc(kept->messages, kept->room * sizeof(rd_kafka_message_t *));
    }
    kept->messages[kept->first + kept->count++] = message;
    kept->bytes += cost(message);
}

/* Only once all that is kept of it went to the host: each time that it is cut off what the queue has of it is
 * kept, and its own queue fills anew. */
static void rejoin(struct kafka *kafka, struct kafka_lane *lane)
{
    if (!lane->cut || lane->paused || lane->kept.count)
        return;
    rd_kafka_queue_forward(lane->queue, kafka->messages);
    lane->cut = false;
}

rd_kafka_message_t *kafka_take_kept(struct kafka *kafka, struct kafka_lane *lane)
{
    struct kafka_kept *kept = &lane->kept;
    rd_kafka_message_t *message;

    if (!kept->count)
        return NULL;
    message = kept->messages[kept->first++];
    kept->bytes -= cost(message);
    if (!--kept->count) {
        free(kept->messages);
        *kept = (struct kafka_kept){0};
        rejoin(kafka, lane);
    }
    return message;
}

static void drop_kept(struct kafka_lane *lane)
{
    struct kafka_kept *kept = &lane->kept;

    while (kept->count--)
        rd_kafka_message_destroy(kept->messages[kept->first++]);
    free(kept->messages);
    *kept = (struct kafka_kept){0};
}

size_t kafka_kept_bytes(const struct kafka *kafka)
{
    size_t bytes = 0;

    for (size_t i = 0; i < kafka->lane_count; i++)
        bytes += kafka->lanes[i]->cut ? 0 : kafka->lanes[i]->kept.bytes;
    return bytes;
}

static void lose_lane(struct kafka *kafka, struct kafka_lane *lane)
{
    size_t at = place_of(kafka, lane->topic, lane->partition);

    drop_kept(lane);
    kafka->api->lane_lost(kafka->host, lane->cookie);
    if (lane->committed >= 0)
        remember(kafka, lane);
    memmove(kafka->lanes + at, kafka->lanes + at + 1,
            (kafka->lane_count - at - 1) * sizeof(struct kafka_lane *));
    kafka->lane_count--;
    kafka->last_lane = NULL;
    if (lane->queue)
        rd_kafka_queue_destroy(lane->queue);
    free(lane->topic);
    free(lane);
}

void kafka_lose_all_lanes(struct kafka *kafka)
{
    while (kafka->lane_count)
        lose_lane(kafka, kafka->lanes[kafka->lane_count - 1]);
}

struct kafka_lane *kafka_rewind_lane(struct kafka *kafka, struct kafka_lane *lane, int64_t offset)
{
    char topic[256];
    int32_t partition = lane->partition;
    bool closing = lane->closing;
    struct kafka_kept kept = lane->kept; /* came after it */

    kafka_log(kafka, SLUICE_LOG_WARNING, "log_begins_again",
              "%s/%" PRId32 " goes on at offset %" PRId64 " after %" PRId64 ": it was made anew or "
              "cut; what is there is read from its beginning",
              lane->topic, partition, offset, lane->newest);
    snprintf(topic, sizeof topic, "%s", lane->topic);
    lane->kept = (struct kafka_kept){0};
    lose_lane(kafka, lane);
    lane = open_lane(kafka, topic, partition, -1);
    lane->kept = kept;
    lane->made_anew = true;
    if (closing) {
        lane->closing = true;
        kafka->api->lane_closing(kafka->host, lane->cookie);
    }
    return lane;
}

static bool cooperative(const struct kafka *kafka)
{
    const char *protocol = rd_kafka_rebalance_protocol(kafka->rk);

    return protocol && !strcmp(protocol, "COOPERATIVE");
}

static void tell_failure(struct kafka *kafka, const char *what, rd_kafka_error_t *error,
                         rd_kafka_resp_err_t code)
{
    if (error)
        kafka_log(kafka, SLUICE_LOG_WARNING, "rebalance_failed", "%s: %s", what,
                  rd_kafka_error_string(error));
    else if (code)
        kafka_log(kafka, SLUICE_LOG_WARNING, "rebalance_failed", "%s: %s", what,
                  rd_kafka_err2str(code));
    if (error)
        rd_kafka_error_destroy(error);
}

static void assign(struct kafka *kafka, rd_kafka_topic_partition_list_t *list,
                   const int64_t *committed)
{
    if (!cooperative(kafka))
        kafka_lose_all_lanes(kafka);
    for (int i = 0; i < list->cnt; i++)
        open_lane(kafka, list->elems[i].topic, list->elems[i].partition, committed[i]);
    if (cooperative(kafka))
        tell_failure(kafka, "assign", rd_kafka_incremental_assign(kafka->rk, list), 0);
    else
        tell_failure(kafka, "assign", NULL, rd_kafka_assign(kafka->rk, list));
    kafka->restarts = 0;
    kafka_log(kafka, SLUICE_LOG_INFO, "lanes_assigned", "%d lanes more, %zu in all", list->cnt,
              kafka->lane_count);
    kafka_state(kafka, SLUICE_STATE_RUNNING, NULL);
}

static void unassign(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_lane *lane =
            kafka_find_lane(kafka, list->elems[i].topic, list->elems[i].partition);

        if (lane)
            lose_lane(kafka, lane);
    }
    kafka_log(kafka, SLUICE_LOG_INFO, "lanes_revoked", "%d lanes less, %zu left", list->cnt,
              kafka->lane_count);
    if (cooperative(kafka))
        tell_failure(kafka, "unassign", rd_kafka_incremental_unassign(kafka->rk, list), 0);
    else
        tell_failure(kafka, "unassign", NULL, rd_kafka_assign(kafka->rk, NULL));
}

static void finish_revoke(struct kafka *kafka)
{
    rd_kafka_event_t *event = kafka->revoke;

    kafka->revoke = NULL;
    unassign(kafka, rd_kafka_event_topic_partition_list(event));
    rd_kafka_event_destroy(event);
}

static bool all_drained(struct kafka *kafka, const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        const struct kafka_lane *lane =
            kafka_find_lane(kafka, list->elems[i].topic, list->elems[i].partition);

        if (lane && !lane->drained)
            return false;
    }
    return true;
}

static void begin_revoke(struct kafka *kafka, rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *list = rd_kafka_event_topic_partition_list(event);

    if (kafka->revoke)
        finish_revoke(kafka);
    kafka->revoke = event;
    if (rd_kafka_assignment_lost(kafka->rk)) {
        kafka_log(kafka, SLUICE_LOG_WARNING, "assignment_lost",
                  "the group gave %d lanes to others before they were given back; what is in "
                  "flight may be invoked again there",
                  list->cnt);
        finish_revoke(kafka);
        return;
    }
    kafka->revoke_deadline_us = kafka_now() + REVOKE_WAIT_US;
    for (int i = 0; i < list->cnt; i++) {
        struct kafka_lane *lane =
            kafka_find_lane(kafka, list->elems[i].topic, list->elems[i].partition);

        if (lane && !lane->closing) {
            lane->closing = true;
            kafka->api->lane_closing(kafka->host, lane->cookie);
        }
    }
}

static void finish_lookup(struct kafka *kafka)
{
    char error[KAFKA_TEXT];
    rd_kafka_event_t *event;
    int64_t *committed;
    rd_kafka_topic_partition_list_t *list =
        kafka_lookup_take(kafka, kafka->lookup, &event, &committed, error);

    kafka->lookup = NULL;
    if (error[0]) {
        kafka_state(kafka, SLUICE_STATE_FAILED,
                    "cannot find out where to start: %s; it is tried again", error);
        kafka->lookup = kafka_lookup_start(kafka, event, LOOKUP_AGAIN_MS);
    } else {
        assign(kafka, list, committed);
        rd_kafka_event_destroy(event);
    }
    rd_kafka_topic_partition_list_destroy(list);
    free(committed);
}

/* The group waits for lanes that move; on a stop only the host does, as long as it said. */
static int64_t revoke_deadline(const struct kafka *kafka)
{
    return kafka->stopping ? kafka->stop_deadline_us - LEAVE_US : kafka->revoke_deadline_us;
}

void kafka_rebalance_continue(struct kafka *kafka)
{
    if (kafka->lookup && kafka_lookup_done(kafka->lookup))
        finish_lookup(kafka);
    if (kafka->revoke &&
        (rd_kafka_assignment_lost(kafka->rk) || kafka_now() >= revoke_deadline(kafka) ||
         all_drained(kafka, rd_kafka_event_topic_partition_list(kafka->revoke))))
        finish_revoke(kafka);
}

/* Takes the event over. */
void kafka_rebalance(struct kafka *kafka, rd_kafka_event_t *event)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);

    if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        /* A lookup that is still running belongs to a generation that is over. */
        if (kafka->lookup)
            finish_lookup(kafka);
        kafka->lookup = kafka_lookup_start(kafka, event, 0);
        return;
    }
    if (kafka->lookup)
        finish_lookup(kafka);
    if (code == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        begin_revoke(kafka, event);
        return;
    }
    kafka_log(kafka, SLUICE_LOG_WARNING, "rebalance_failed", "%s", rd_kafka_err2str(code));
    kafka_lose_all_lanes(kafka);
    rd_kafka_assign(kafka->rk, NULL);
    rd_kafka_event_destroy(event);
}

/* ---- pauses ----
 * What comes of a paused lane is kept. For a short pause that is all: a partition that is cut off is soon
 * not fetched any more, and a fetch of the others, if these are at their ends, holds up the next one of all
 * for fetch.wait.max.ms, so that a lane which is full again and again, because it brings more than the
 * function does, would be fetched in small portions. Once half of fetch.buffer is kept the queue is not read
 * on, until the pause ends or, as the others must not wait for long, the lane is cut off. What the queue has
 * of it then is kept too, and it stays cut off until the host has all of that. */

void kafka_cut_lanes(struct kafka *kafka)
{
    int64_t now_us = kafka_now(), next_us = 0;

    if (!kafka->cut_us || now_us < kafka->cut_us)
        return;
    for (size_t i = 0; i < kafka->lane_count; i++) {
        struct kafka_lane *lane = kafka->lanes[i];
        int64_t at_us = lane->paused_us + PAUSE_SHORT_US;

        if (!lane->paused || lane->cut)
            continue;
        if (now_us >= at_us) {
            lane->cut = true;
            rd_kafka_queue_forward(lane->queue, NULL);
        } else if (!next_us || at_us < next_us) {
            next_us = at_us;
        }
    }
    kafka->cut_us = next_us;
}

void kafka_pause_lane(void *instance, void *lane_pointer, bool paused)
{
    static const uint64_t one = 1;
    struct kafka *kafka = instance;
    struct kafka_lane *lane = lane_pointer;

    if (lane->paused == paused || !lane->queue)
        return;
    lane->paused = paused;
    if (paused) {
        lane->paused_us = kafka_now();
        if (!kafka->cut_us)
            kafka->cut_us = lane->paused_us + PAUSE_SHORT_US;
    } else {
        rejoin(kafka, lane);
    }
    /* There is another time to be called at, or something to deliver. */
    if (write(kafka->fd, &one, sizeof one) < 0) {
        /* It is called every other second anyway. */
    }
}

void kafka_lane_drained(void *instance, void *lane)
{
    (void)instance;
    ((struct kafka_lane *)lane)->drained = true;
}
