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
        if (link->channels[i].open && link->channels[i].generation == generation)
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
        if (!link->channels[i].open)
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
                 "again: create it or correct source.rabbitmq.queue",
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

/* What became of a request: 0; 1: the broker closed the channel, which is planned anew; -1: the
 * connection failed. */
static int answered(struct rabbit_link *link, struct rabbit_channel *channel)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(link->connection);
    struct link_refusal refusal;

    if (reply.reply_type == AMQP_RESPONSE_NORMAL)
        return 0;
    link_read_refusal(&reply, &refusal);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_ok_t ok = {0};

        amqp_send_method(link->connection, channel->number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
        channel_refused(link, channel, refusal.code, refusal.text);
        return 1;
    }
    /* A queue without a leader answers nothing: the others must not wait with it each time. */
    snprintf(channel->problem_text, sizeof channel->problem_text,
             "queue %s cannot be consumed: %s; it is tried again",
             link->config->queues[channel->queue], refusal.text);
    channel->problem = SLUICE_STATE_FAILED;
    channel->retry_us = rabbit_now() + rabbit_backoff(channel->tries++, RABBIT_RETRY_FIRST_US,
                                                      RABBIT_RETRY_MOST_US);
    link_failed(link, refusal.text);
    return -1;
}

/* ---- consuming ---- */

/* Consumes; the lane is open then. As `answered`. */
static int consume(struct rabbit_link *link, struct rabbit_channel *channel)
{
    const struct rabbit_config *config = link->config;
    amqp_bytes_t queue = amqp_cstring_bytes(config->queues[channel->queue]);
    amqp_table_entry_t priority = {.key = amqp_cstring_bytes("x-priority")};
    amqp_table_t arguments = {config->has_priority, &priority};
    const amqp_queue_declare_ok_t *declared;
    int result;

    priority.value.kind = AMQP_FIELD_KIND_I32;
    priority.value.value.i32 = config->priority;
    amqp_channel_open(link->connection, channel->number);
    if ((result = answered(link, channel)))
        return result;
    amqp_basic_qos(link->connection, channel->number, 0, (uint16_t)link->prefetch, 0);
    if ((result = answered(link, channel)))
        return result;
    declared = amqp_queue_declare(link->connection, channel->number, queue, 1, 0, 0, 0,
                                  amqp_empty_table);
    if ((result = answered(link, channel)))
        return result;
    channel->lane->depth = declared->message_count;
    amqp_basic_consume(link->connection, channel->number, queue, amqp_cstring_bytes(link->name), 0,
                       0, 0, arguments);
    return answered(link, channel);
}

static int open_channel(struct rabbit_link *link, struct rabbit_channel *channel)
{
    int result;

    if (link->next_number > amqp_get_channel_max(link->connection)) {
        link_failed(link, "all its channel numbers were used");
        link->retry_us = 0;
        return -1;
    }
    channel->number = link->next_number++;
    channel->lane = calloc(1, sizeof *channel->lane);
    channel->lane->queue = channel->queue;
    channel->lane->generation = channel->generation = ++link->generation;
    result = consume(link, channel);
    if (result) {
        free(channel->lane);
        channel->lane = NULL;
        return result < 0 ? -1 : 0;
    }
    channel->open = true;
    channel->giving_back = channel->asked_depth = channel->in_delivery = false;
    channel->singles_us = channel->retry_us = 0;
    channel->problem = 0;
    channel->tries = 0;
    channel->tags = (struct rabbit_tags){0};
    link_tell(link, RABBIT_LANE_OPENED, 0, channel->lane, NULL, NULL);
    return 0;
}

int channel_open_due(struct rabbit_link *link)
{
    int64_t now_us = rabbit_now();
    bool tried = false;

    for (size_t i = 0; i < link->config->queue_count; i++) {
        struct rabbit_channel *channel = &link->channels[i];

        if (channel->open || channel->retry_us > now_us)
            continue;
        tried = true;
        if (open_channel(link, channel))
            return -1;
    }
    if (tried)
        channel_tell_state(link);
    return 0;
}

int channel_end(struct rabbit_link *link, struct rabbit_channel *channel, bool close)
{
    struct rabbit_lane *lane = channel->lane;

    channel->open = false;
    channel->lane = NULL;
    rabbit_tags_fini(&channel->tags);
    free(channel->partial);
    channel->partial = NULL;
    rabbit_list_free(&channel->incoming);
    link_tell(link, RABBIT_LANE_LOST, 0, lane, NULL, NULL);
    if (close) {
        amqp_channel_close(link->connection, channel->number, AMQP_REPLY_SUCCESS);
        if (answered(link, channel) < 0)
            return -1;
    }
    return 0;
}

/* ---- acknowledging ---- */

static int acknowledge(struct rabbit_link *link, const struct rabbit_channel *channel, uint64_t tag,
                       bool multiple)
{
    int status = amqp_basic_ack(link->connection, channel->number, tag, multiple);

    if (status)
        link_failed(link, amqp_error_string2(status));
    return status ? -1 : 0;
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
