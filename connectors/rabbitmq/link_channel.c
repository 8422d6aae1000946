/* SPDX-License-Identifier: MIT
 * Queues on a connection: consuming, acknowledging, giving back. */
#include "link_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SINGLES_US (10000) /* how long what is done behind a gap waits for the gap to close */

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
        if (link->channels[i].phase != RABBIT_OPEN)
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
                 "again: create it, correct source.rabbitmq.queue, or set declare",
                 queue, config->vhost, config->servers);
    } else if (code == AMQP_ACCESS_REFUSED && !strstr(why, "exclusive")) {
        channel->problem = SLUICE_STATE_UNAUTHORISED;
        snprintf(channel->problem_text, sizeof channel->problem_text,
                 "the broker refuses to let user %s read queue %s: %s; give the permission to read",
                 config->username, queue, why);
    } else {
        snprintf(channel->problem_text, sizeof channel->problem_text,
                 "queue %s cannot be consumed: %s; it is tried again", queue, why);
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
    return channel_request(link, channel, AMQP_CHANNEL_OPEN_METHOD, &open);
}

/* Declares passively, or, if asked to, for real: a queue that is there must then be the same. */
static int declare(struct rabbit_link *link, const struct rabbit_channel *channel)
{
    const struct rabbit_config *config = link->config;
    amqp_table_entry_t type = {.key = amqp_cstring_bytes("x-queue-type")};
    amqp_queue_declare_t declare = {
        .queue = amqp_cstring_bytes(config->queues[channel->queue]),
        .passive = !config->declare,
        .durable = 1,
        .arguments = {config->declare != NULL, &type},
    };

    type.value.kind = AMQP_FIELD_KIND_UTF8;
    if (config->declare)
        type.value.value.bytes = amqp_cstring_bytes(config->declare);
    return channel_request(link, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
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

static void opened(struct rabbit_link *link, struct rabbit_channel *channel)
{
    channel->phase = RABBIT_OPEN;
    channel->generation = ++link->generation;
    channel->lane = calloc(1, sizeof *channel->lane);
    channel->lane->queue = channel->queue;
    channel->lane->generation = channel->generation;
    channel->lane->depth = channel->depth;
    channel->giving_back = channel->overflowing = false;
    channel->asked_depth = channel->in_delivery = false;
    channel->singles_us = channel->retry_us = 0;
    channel->problem = 0;
    channel->tries = 0;
    channel->tags = (struct rabbit_tags){0};
    link_tell(link, RABBIT_LANE_OPENED, 0, channel->lane, NULL, NULL);
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
        channel->depth = ((const amqp_queue_declare_ok_t *)method->decoded)->message_count;
        return consume(link, channel);
    case AMQP_BASIC_CONSUME_OK_METHOD:
        opened(link, channel);
        return 0;
    default:
        return 0;
    }
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
        if (channel->phase == RABBIT_OPENING && channel->answer_us <= now_us &&
            give_up(link, channel))
            return -1;
    }
    return 0;
}

static void lose_lane(struct rabbit_link *link, struct rabbit_channel *channel)
{
    struct rabbit_lane *lane = channel->lane;

    if (!lane)
        return;
    channel->lane = NULL;
    rabbit_tags_fini(&channel->tags);
    free(channel->partial);
    channel->partial = NULL;
    rabbit_list_free(&channel->incoming);
    link_tell(link, RABBIT_LANE_LOST, 0, lane, NULL, NULL);
}

/* Gives back all that is out. With the end of a channel a quorum queue learns of it a moment later than
 * of the next consumer, who would get what comes behind it first. */
static int give_back_all(struct rabbit_link *link, const struct rabbit_channel *channel)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(link->name), .nowait = 1};
    amqp_basic_nack_t nack = {.delivery_tag = 0 /* all */, .multiple = 1, .requeue = 1};

    return channel_request(link, channel, AMQP_BASIC_CANCEL_METHOD, &cancel) ||
                   channel_request(link, channel, AMQP_BASIC_NACK_METHOD, &nack)
               ? -1
               : 0;
}

int channel_end(struct rabbit_link *link, struct rabbit_channel *channel, bool close)
{
    amqp_channel_close_t goodbye = {.reply_code = AMQP_REPLY_SUCCESS,
                                    .reply_text = amqp_empty_bytes};
    bool was_open = channel->phase == RABBIT_OPEN;

    lose_lane(link, channel);
    channel->phase = RABBIT_CLOSED;
    if (close && was_open && give_back_all(link, channel))
        return -1;
    channel->phase = close ? RABBIT_CLOSING : RABBIT_CLOSED;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    return close ? channel_request(link, channel, AMQP_CHANNEL_CLOSE_METHOD, &goodbye) : 0;
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

static int acknowledge(struct rabbit_link *link, const struct rabbit_channel *channel, uint64_t tag,
                       bool multiple)
{
    amqp_basic_ack_t ack = {.delivery_tag = tag, .multiple = multiple};

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
