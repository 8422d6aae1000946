/* SPDX-License-Identifier: MIT
 * Queues on a connection: consuming, acknowledging, giving back. */
#include "link_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLES_US (10000) /* how long what is done behind a gap waits for the gap to close */
#define LEFT_US       (5 * RABBIT_SECOND) /* waited at most for what a former consumer held */
#define LEFT_EMPTY_US (RABBIT_SECOND)     /* so where the queue seems empty */
#define LEFT_ASK_US   (RABBIT_SECOND / 20)

struct rabbit_channel *channel_of_generation(struct rabbit_link *link, uint64_t generation)
{
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].lane && link->channels[i].generation == generation)
            return &link->channels[i];
    return NULL;
}

void channel_tell_state(struct rabbit_link *link)
{
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].problem) {
            link_state(link, link->channels[i].problem, "%s", link->channels[i].problem_text);
            return;
        }
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].phase != RABBIT_OPEN && !link->channels[i].probes)
            return;
    link_state(link, SLUICE_STATE_RUNNING, NULL);
}

void channel_refused(struct rabbit_link *link, struct rabbit_channel *channel, int code,
                     const char *why)
{
    const struct rabbit_config *config = link->config;
    const char *queue = config->queues[channel->queue];

    channel->problem = SLUICE_STATE_FAILED;
    if (code == AMQP_NOT_FOUND) {
        channel->problem = SLUICE_STATE_MISSING;
        snprintf(channel->problem_text, sizeof channel->problem_text,
                 "queue %s does not exist in the virtual host %s at %s; it is looked for again and "
                 "again: create it, correct the option queue, or set declare",
                 queue, config->vhost, config->servers);
    } else if (code == AMQP_ACCESS_REFUSED && !strstr(why, "exclusive")) {
        channel->problem = SLUICE_STATE_UNAUTHORISED;
        snprintf(channel->problem_text, sizeof channel->problem_text,
                 "the broker refuses to let user %s read queue %s: %s; give the permission to read",
                 config->username, queue, why);
    } else {
        snprintf(channel->problem_text, sizeof channel->problem_text,
                 "queue %s cannot be consumed: %s; it is tried again", queue,
                 strstr(why, "x-stream-offset") ? RABBIT_NO_STREAM_TEXT : why);
    }
    channel->retry_us = rabbit_now() + rabbit_backoff(channel->tries++, RABBIT_RETRY_FIRST_US,
                                                      RABBIT_RETRY_MOST_US);
}

/* ---- consuming ---- */

int channel_request(struct rabbit_link *link, const struct rabbit_channel *channel,
                    amqp_method_number_t id, void *method)
{
    int status = amqp_send_method(link->connection, channel->number, id, method);

    if (status)
        link_failed(link, amqp_error_string2(status));
    return status ? -1 : 0;
}

static int begin(struct rabbit_link *link, struct rabbit_channel *channel)
{
    amqp_channel_open_t open = {.out_of_band = amqp_empty_bytes};

    if (link->next_number > amqp_get_channel_max(link->connection)) {
        link_failed(link, "all its channel numbers were used");
        link->retry_us = 0;
        return -1;
    }
    channel->number = link->next_number++;
    channel->phase = RABBIT_OPENING;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    channel->declare_us = 0;
    channel->step = RABBIT_STREAM_NEW;
    channel->probes = false;
    channel->probe_tag = 0;
    return channel_request(link, channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

/* Declares passively, or, if asked to, for real: a queue that is there must then be the same. */
static int declare(struct rabbit_link *link, struct rabbit_channel *channel)
{
    const struct rabbit_config *config = link->config;
    amqp_queue_declare_t declare = {
        .queue = amqp_cstring_bytes(config->queues[channel->queue]),
        .passive = !config->declare,
        .durable = 1,
        .arguments = config->arguments,
    };

    channel->declare_us = 0;
    channel->answer_us = rabbit_now() + config->connect_timeout_us;
    return channel_request(link, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

/* The end of a channel, or of a connection, reaches the queue a while after us. A consumer that begins
 * before gets what comes behind the messages that were out. Where others consume there is no order to
 * keep. A quorum queue that is slow to answer says that it has no messages and no consumers. */
static bool is_still_held(struct rabbit_channel *channel, const amqp_queue_declare_ok_t *declared)
{
    int64_t now_us = rabbit_now();
    int64_t wait_us = declared->consumer_count ? LEFT_US : LEFT_EMPTY_US;

    if (!channel->left)
        return false;
    if (!channel->left_us)
        channel->left_us = now_us;
    if (!declared->consumer_count && (declared->message_count || !channel->left_some))
        return false;
    return now_us - channel->left_us < wait_us;
}

static int consume(struct rabbit_link *link, const struct rabbit_channel *channel)
{
    const struct rabbit_config *config = link->config;
    amqp_table_entry_t priority = {.key = amqp_cstring_bytes("x-priority")};
    amqp_basic_consume_t consume = {
        .queue = amqp_cstring_bytes(config->queues[channel->queue]),
        .consumer_tag = amqp_cstring_bytes(link->name),
        .arguments = {config->has_priority, &priority},
    };

    priority.value.kind = AMQP_FIELD_KIND_I32;
    priority.value.value.i32 = config->priority;
    return channel_request(link, channel, AMQP_BASIC_CONSUME_METHOD, &consume);
}

static int on_declared(struct rabbit_link *link, struct rabbit_channel *channel,
                       const amqp_queue_declare_ok_t *declared)
{
    if (link->config->begin)
        return stream_declared(link, channel);
    if (is_still_held(channel, declared)) {
        channel->declare_us = rabbit_now() + LEFT_ASK_US;
        return 0;
    }
    channel->depth = declared->message_count;
    channel->others = declared->consumer_count;
    return consume(link, channel);
}

void channel_make_lane(struct rabbit_link *link, struct rabbit_channel *channel)
{
    channel->generation = ++link->generation;
    channel->lane = calloc(1, sizeof *channel->lane);
    channel->lane->queue = channel->queue;
    channel->lane->generation = channel->generation;
    channel->lane->depth = link->config->begin ? -1 : channel->depth;
    link_tell(link, RABBIT_LANE_OPENED, 0, channel->lane, NULL, NULL);
}

void channel_opened(struct rabbit_link *link, struct rabbit_channel *channel)
{
    if (!channel->lane)
        channel_make_lane(link, channel);
    channel->phase = RABBIT_OPEN;
    channel->giving_back = channel->overflowing = false;
    channel->asked_depth = channel->in_delivery = channel->seems_stream = false;
    channel->singles_us = channel->retry_us = 0;
    channel->left = channel->delivered = false;
    channel->moved_us = rabbit_now();
    channel->problem = 0;
    channel->tries = 0;
    channel->tags = (struct rabbit_tags){0};
    if (channel->probe_tag)
        channel->tags.oldest = channel->tags.next = channel->probe_tag + 1;
    channel_tell_state(link);
}

int channel_on_answer(struct rabbit_link *link, struct rabbit_channel *channel,
                      const amqp_method_t *method)
{
    amqp_basic_qos_t qos = {.prefetch_count = (uint16_t)channel->prefetch};

    if (channel->phase == RABBIT_CLOSING) {
        if (method->id == AMQP_CHANNEL_CLOSE_OK_METHOD)
            channel->phase = RABBIT_CLOSED;
        return 0;
    }
    switch (method->id) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        return channel_request(link, channel, AMQP_BASIC_QOS_METHOD, &qos);
    case AMQP_BASIC_QOS_OK_METHOD:
        return declare(link, channel);
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        return on_declared(link, channel, method->decoded);
    case AMQP_BASIC_CONSUME_OK_METHOD:
        if (!link->config->begin) {
            channel_opened(link, channel);
            return 0;
        }
        break;
    default:
        break;
    }
    return link->config->begin ? stream_answered(link, channel, method) : 0;
}

/* A queue without a leader answers nothing; the others go on. */
static int give_up(struct rabbit_link *link, struct rabbit_channel *channel)
{
    channel_refused(link, channel, 0, "the broker gave no answer");
    channel_tell_state(link);
    return channel_end(link, channel, true);
}

int channel_open_due(struct rabbit_link *link)
{
    int64_t now_us = rabbit_now();

    for (size_t i = 0; i < link->config->queue_count; i++) {
        struct rabbit_channel *channel = &link->channels[i];

        if (channel->phase == RABBIT_CLOSING && channel->answer_us <= now_us)
            channel->phase = RABBIT_CLOSED;
        if (channel->phase == RABBIT_CLOSED && channel->retry_us <= now_us && begin(link, channel))
            return -1;
        if (channel->phase == RABBIT_OPENING && channel->declare_us &&
            channel->declare_us <= now_us && declare(link, channel))
            return -1;
        if (channel->phase == RABBIT_OPENING && channel->answer_us <= now_us &&
            give_up(link, channel))
            return -1;
    }
    return 0;
}

static void lose_lane(struct rabbit_link *link, struct rabbit_channel *channel)
{
    struct rabbit_lane *lane = channel->lane;

    channel->probes = false;
    if (!lane)
        return;
    channel->lane = NULL;
    rabbit_tags_fini(&channel->tags);
    free(channel->partial);
    channel->partial = NULL;
    rabbit_list_free(&channel->incoming);
    link_tell(link, RABBIT_LANE_LOST, 0, lane, NULL, NULL);
}

/* What is out goes back with the end of the channel: then a queue puts all of it where it was, before
 * the next consumer gets anything. A requeue by nack puts it at the end of a quorum queue without
 * delivery limit, and a cancel lets a waiting consumer (single active) begin before it is back. */
int channel_end(struct rabbit_link *link, struct rabbit_channel *channel, bool close)
{
    amqp_channel_close_t goodbye = {.reply_code = AMQP_REPLY_SUCCESS,
                                    .reply_text = amqp_empty_bytes};

    if (channel->phase == RABBIT_OPEN) {
        channel->left = !channel->others;
        channel->left_some = rabbit_tags_oldest_us(&channel->tags) > 0;
        channel->left_us = 0;
    }
    lose_lane(link, channel);
    channel->phase = close ? RABBIT_CLOSING : RABBIT_CLOSED;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    return close ? channel_request(link, channel, AMQP_CHANNEL_CLOSE_METHOD, &goodbye) : 0;
}

int channel_open_again(struct rabbit_link *link, struct rabbit_channel *channel)
{
    if (channel_end(link, channel, true))
        return -1;
    channel->left = false;
    channel->retry_us = 0;
    return 0;
}

void channel_give_back(struct rabbit_link *link, struct rabbit_channel *channel)
{
    int64_t limit_us = link->config->consumer_timeout_us;
    int64_t oldest_us = rabbit_tags_oldest_us(&channel->tags);

    channel->giving_back = true;
    channel->cut_us = limit_us && oldest_us ? oldest_us + limit_us / 10 * 9 : INT64_MAX;
    link_tell(link, RABBIT_LANE_CLOSING, 0, channel->lane, NULL, NULL);
}

/* ---- acknowledging ---- */

static int acknowledge(struct rabbit_link *link, struct rabbit_channel *channel, uint64_t tag,
                       bool multiple)
{
    amqp_basic_ack_t ack = {.delivery_tag = tag, .multiple = multiple};

    channel->moved_us = rabbit_now();
    return channel_request(link, channel, AMQP_BASIC_ACK_METHOD, &ack);
}

int channel_acknowledge(struct rabbit_link *link, struct rabbit_channel *channel, bool all)
{
    uint64_t tag = rabbit_tags_take_prefix(&channel->tags);

    if (tag && acknowledge(link, channel, tag, true))
        return -1;
    if (!channel->tags.done) {
        channel->singles_us = 0;
        return 0;
    }
    if (!channel->singles_us)
        channel->singles_us = rabbit_now() + SINGLES_US;
    if (!all && rabbit_now() < channel->singles_us)
        return 0;
    channel->singles_us = 0;
    for (tag = 0; (tag = rabbit_tags_take_single(&channel->tags, tag));)
        if (acknowledge(link, channel, tag, false))
            return -1;
    return 0;
}

int channel_let_go(struct rabbit_link *link, struct rabbit_channel *channel)
{
    if (channel_acknowledge(link, channel, true) || channel_end(link, channel, true))
        return -1;
    channel->retry_us = 0;
    return 0;
}
