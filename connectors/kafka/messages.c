/* SPDX-License-Identifier: MIT
 * Messages in, settlements out. */
#include "kafka.h"

#include <string.h>

#define DELIVER_MOST 512
#define NUDGE_FOR_US 200000
#define RECOMMIT_US  1000000

/* ---- the cure for the fetch stall of librdkafka before 2.2.0 ----
 * A broker's thread that found the queue full looks again after a second, unless something wakes it.
 * Setting SASL credentials wakes them all (2.0.2, rdkafka_sasl.c: rd_kafka_all_brokers_wakeup)
 * without a request to anybody, so they are set to what they are; without SASL nobody reads them. */

/* A queue this near to its limit may have been full a moment ago. */
static void note_queue(struct kafka *kafka, size_t count, size_t bytes)
{
    size_t length = rd_kafka_queue_length(kafka->messages) + count;

    if (length >= KAFKA_QUEUE_MESSAGES / 4 ||
        (int64_t)(length * (bytes / count)) >= kafka->fetch_buffer / 4)
        kafka->nudge_until_us = kafka_now() + NUDGE_FOR_US;
}

void kafka_wake_brokers(const struct kafka *kafka, rd_kafka_t *rk)
{
    const char *username = kafka->api->values->text(kafka->values, "sasl.username");
    const char *password = kafka->api->values->text(kafka->values, "sasl.password");

    rd_kafka_error_destroy(
        rd_kafka_sasl_set_credentials(rk, username ? username : "", password ? password : ""));
}

void kafka_nudge(struct kafka *kafka)
{
    int64_t now;

    if (!kafka->nudge_until_us)
        return;
    now = kafka_now();
    if (now - kafka->nudged_us < KAFKA_NUDGE_US)
        return;
    kafka_wake_brokers(kafka, kafka->rk);
    kafka->nudged_us = now;
    if (now >= kafka->nudge_until_us)
        kafka->nudge_until_us = 0;
}

/* ---- in ---- */

static struct kafka_lane *lane_of(struct kafka *kafka, const rd_kafka_message_t *message)
{
    struct kafka_lane *last = kafka->last_lane;
    const char *topic = rd_kafka_topic_name(message->rkt);

    if (last && last->partition == message->partition && !strcmp(last->topic, topic))
        return last;
    return kafka->last_lane = kafka_find_lane(kafka, topic, message->partition);
}

static void tell_message_error(struct kafka *kafka, const rd_kafka_message_t *message)
{
    const char *topic = message->rkt ? rd_kafka_topic_name(message->rkt) : "";

    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        kafka_state(kafka, SLUICE_STATE_MISSING,
                    "topic %s does not exist at %s; it is looked for again and again: create it or "
                    "correct source.kafka.topic",
                    topic, kafka->brokers);
        break;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        kafka_state(kafka, SLUICE_STATE_UNAUTHORISED,
                    "the broker refuses to let this user read topic %s: allow READ and DESCRIBE on "
                    "it",
                    topic);
        break;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR__NOT_IMPLEMENTED:
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
        /* librdkafka fetches it again and again. */
        kafka->damaged_us = kafka_now();
        kafka_state(kafka, SLUICE_STATE_FAILED,
                    "%s/%d cannot be read at offset %lld: %s; it waits there, and nothing behind it "
                    "is skipped: mend it, or move the group's offset past it",
                    topic, (int)message->partition, (long long)message->offset,
                    rd_kafka_message_errstr(message));
        break;
    default:
        kafka_log(kafka, SLUICE_LOG_WARNING, "receive_failed", "%s/%d: %s", topic,
                  (int)message->partition, rd_kafka_message_errstr(message));
        break;
    }
}

void kafka_convert(const rd_kafka_message_t *from, struct sluice_message *to)
{
    rd_kafka_timestamp_type_t kind;
    rd_kafka_headers_t *headers;

    *to = (struct sluice_message){
        .handle = (void *)(uintptr_t)from,
        .position = (uint64_t)from->offset,
        .key = {from->key, from->key_len},
        .payload = {from->payload, from->len},
    };
    to->timestamp_ms = rd_kafka_message_timestamp(from, &kind);
    if (kind == RD_KAFKA_TIMESTAMP_CREATE_TIME)
        to->timestamp_kind = SLUICE_TIMESTAMP_CREATED;
    else if (kind == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME)
        to->timestamp_kind = SLUICE_TIMESTAMP_APPENDED;
    else
        to->timestamp_ms = 0;
    to->has_headers = !rd_kafka_message_headers(from, &headers);
}

/* What goes to the host in one call. */
struct portion {
    struct sluice_message messages[DELIVER_MOST];
    size_t count, most;
    size_t taken, bytes; /* in all */
};

static bool has_room(const struct portion *portion, const struct sluice_room *room)
{
    return portion->taken < portion->most && portion->bytes < room->bytes;
}

static void hand_over(struct kafka *kafka, struct portion *portion)
{
    size_t count = portion->count;

    portion->count = 0;
    if (count)
        kafka->api->deliver(kafka->host, portion->messages, count);
}

static void add(struct kafka *kafka, struct portion *portion, struct kafka_lane *lane,
                rd_kafka_message_t *message)
{
    if (message->offset <= lane->newest) {
        /* The host takes no position twice in a lane: what came before it goes first. */
        hand_over(kafka, portion);
        lane = kafka->last_lane = kafka_rewind_lane(kafka, lane, message->offset);
    }
    if (lane->made_anew) {
        lane->made_anew = false;
        lane->recommit = message->offset;
        kafka->recommit_us = kafka_now();
    }
    lane->newest = message->offset;
    if (lane->first < 0)
        lane->first = message->offset;
    portion->taken++;
    portion->bytes += message->len + message->key_len;
    kafka_convert(message, &portion->messages[portion->count]);
    portion->messages[portion->count++].lane = lane->cookie;
}

/* Returns whether more of lanes that go on is kept. */
static bool add_kept(struct kafka *kafka, struct portion *portion, const struct sluice_room *room)
{
    for (size_t i = 0; i < kafka->lane_count; i++)
        while (kafka->lanes[i]->kept.count && !kafka->lanes[i]->paused) {
            if (!has_room(portion, room))
                return true;
            add(kafka, portion, kafka->lanes[i], kafka_take_kept(kafka, kafka->lanes[i]));
        }
    return false;
}

/* Returns whether more may be in the queue. */
static bool add_new(struct kafka *kafka, struct portion *portion, const struct sluice_room *room)
{
    size_t kept = kafka->cut_us ? kafka_kept_bytes(kafka) : 0;
    rd_kafka_message_t *message;

    while (has_room(portion, room)) {
        struct kafka_lane *lane;
        size_t before;

        if (kept >= (size_t)kafka->fetch_buffer / 2)
            return false;
        message = rd_kafka_consume_queue(kafka->messages, 0);
        if (!message)
            return false;
        lane = message->err ? NULL : lane_of(kafka, message);
        if (!lane) {
            /* An error, or a late message of a lane that was given back. */
            if (message->err)
                tell_message_error(kafka, message);
            rd_kafka_message_destroy(message);
        } else if (lane->paused || lane->kept.count) {
            before = lane->kept.bytes;
            kafka_keep(lane, message);
            kept += lane->cut ? 0 : lane->kept.bytes - before;
        } else {
            add(kafka, portion, lane, message);
        }
    }
    return true;
}

bool kafka_deliver(struct kafka *kafka, const struct sluice_room *room)
{
    struct portion portion; /* large: the messages are filled in one by one */
    bool more;

    portion.count = portion.taken = portion.bytes = 0;
    portion.most = room->messages < DELIVER_MOST ? room->messages : DELIVER_MOST;
    more = add_kept(kafka, &portion, room) || add_new(kafka, &portion, room);
    if (portion.taken && kafka->needs_nudges)
        note_queue(kafka, portion.taken, portion.bytes);
    hand_over(kafka, &portion);
    return more;
}

size_t kafka_headers(void *instance, void *handle, struct sluice_header *ret, size_t room)
{
    rd_kafka_headers_t *headers;
    size_t count;

    (void)instance;
    if (rd_kafka_message_headers(handle, &headers))
        return 0;
    count = rd_kafka_header_cnt(headers);
    for (size_t i = 0; i < count && i < room; i++) {
        const char *name;
        const void *value;
        size_t size;

        if (rd_kafka_header_get_all(headers, i, &name, &value, &size))
            break;
        ret[i] = (struct sluice_header){{name, strlen(name)}, {value, size}};
    }
    return count;
}

void kafka_release(void *instance, void *const *handles, size_t count)
{
    (void)instance;
    for (size_t i = 0; i < count; i++)
        rd_kafka_message_destroy(handles[i]);
}

/* ---- out ---- */

/* librdkafka commits a stored offset only above the committed one it knows. Where the log was cut or
 * made anew that would leave the group beyond the log's end, and skip what is written up to there. */
void kafka_recommit(struct kafka *kafka)
{
    rd_kafka_topic_partition_list_t *list;

    /* A commit during a rebalance can cost a member its lanes. */
    if (!kafka->recommit_us || kafka_now() < kafka->recommit_us || kafka->revoke || kafka->lookup)
        return;
    kafka->recommit_us = 0;
    list = rd_kafka_topic_partition_list_new(4);
    for (size_t i = 0; i < kafka->lane_count; i++) {
        const struct kafka_lane *lane = kafka->lanes[i];

        if (lane->recommit >= 0)
            rd_kafka_topic_partition_list_add(list, lane->topic, lane->partition)->offset =
                lane->settled > lane->recommit ? lane->settled : lane->recommit;
    }
    if (list->cnt) {
        rd_kafka_commit_queue(kafka->rk, list, kafka->events, NULL, NULL);
        kafka->recommit_us = kafka_now() + RECOMMIT_US; /* unless it is confirmed by then */
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_settle(void *instance, struct sluice_settle_item *items, size_t count)
{
    struct kafka *kafka = instance;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)count);

    for (size_t i = 0; i < count; i++) {
        struct kafka_lane *lane = items[i].lane;

        items[i].result = 1;
        if (items[i].action != SLUICE_ACCEPT || !kafka->rk)
            continue;
        lane->settled = (int64_t)items[i].position + 1;
        rd_kafka_topic_partition_list_add(list, lane->topic, lane->partition)->offset =
            lane->settled;
    }
    if (list->cnt)
        rd_kafka_offsets_store(kafka->rk, list);
    for (size_t i = 0, at = 0; i < count && list->cnt; i++)
        if (items[i].action == SLUICE_ACCEPT)
            items[i].result = list->elems[at++].err != RD_KAFKA_RESP_ERR_NO_ERROR;
    rd_kafka_topic_partition_list_destroy(list);
}
