/* SPDX-License-Identifier: MIT
 * What the broker sends. */
#include "link_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MOST   ((uint64_t)512 << 20) /* RabbitMQ itself takes no larger message */
#define FRAMES_MOST 4096                  /* read in one go, so that what is settled is sent in between */

static struct rabbit_channel *channel_of(struct rabbit_link *link, amqp_channel_t number)
{
    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].phase != RABBIT_CLOSED && link->channels[i].number == number)
            return &link->channels[i];
    return NULL;
}

static int fail(struct rabbit_link *link, const char *why)
{
    link_failed(link, why);
    return -1;
}

/* ---- deliveries ---- */

static int begin_delivery(struct rabbit_link *link, struct rabbit_channel *channel,
                          const amqp_basic_deliver_t *deliver)
{
    amqp_bytes_t exchange = deliver->exchange, key = deliver->routing_key;

    if (deliver->consumer_tag.len != strlen(link->name) ||
        memcmp(deliver->consumer_tag.bytes, link->name, deliver->consumer_tag.len) != 0)
        return fail(link, "the broker sent a delivery for a consumer that there is not");
    if (channel->in_delivery || exchange.len >= sizeof channel->exchange ||
        key.len >= sizeof channel->routing_key)
        return fail(link, "the broker sent a delivery within another");
    if (exchange.len)
        memcpy(channel->exchange, exchange.bytes, exchange.len);
    if (key.len)
        memcpy(channel->routing_key, key.bytes, key.len);
    channel->origin = (struct rabbit_origin){
        .queue = link->config->queues[channel->queue],
        .vhost = link->config->vhost,
        .session = link->session,
        .tag = deliver->delivery_tag,
        .generation = channel->generation,
        .danger = link->config->begin ? -1 : rabbit_danger(link->delivery_limit),
        .redelivered = deliver->redelivered,
        .is_stream = link->config->begin != RABBIT_NO_STREAM,
        .exchange = {exchange.len, channel->exchange},
        .routing_key = {key.len, channel->routing_key},
    };
    channel->in_delivery = true;
    return 0;
}

static size_t bytes_waiting(const struct rabbit_link *link)
{
    size_t bytes = 0;

    for (size_t i = 0; i < link->config->queue_count; i++)
        if (link->channels[i].lane)
            bytes += atomic_load_explicit(&link->channels[i].lane->waiting, memory_order_relaxed);
    return bytes;
}

/* AMQP counts messages, memory counts bytes. What does not fit stays unacknowledged at the broker, and
 * so does all behind it, as the lane is in order; the lane is given back, and consumed anew with a
 * prefetch for messages of this size. */
static void begin_overflow(struct rabbit_link *link, struct rabbit_channel *channel, size_t size)
{
    size_t fit = link->bytes / 2 / size;

    channel->overflowing = true;
    channel->prefetch /= 2;
    if (fit < channel->prefetch)
        channel->prefetch = (unsigned)fit;
    if (!channel->prefetch)
        channel->prefetch = 1;
    link_log(link, SLUICE_LOG_INFO, "prefetch_reduced",
             "messages of queue %s are large (one of %zu KiB): no more than %u of them are fetched "
             "ahead; set prefetch to begin with less",
             link->config->queues[channel->queue], size >> 10, channel->prefetch);
    if (!channel->giving_back)
        channel_give_back(link, channel);
}

/* Returns whether the host is to have it. */
static bool keep(struct rabbit_link *link, struct rabbit_channel *channel,
                 const struct rabbit_message *message)
{
    size_t waiting = bytes_waiting(link);

    /* One of any size finds room. */
    if (!channel->overflowing && waiting && waiting + message->size > link->bytes)
        begin_overflow(link, channel, message->size);
    return !channel->overflowing;
}

/* A stream keeps no position of ours, so that it is not read by chance. */
static int refuse_kind(struct rabbit_link *link, struct rabbit_channel *channel, bool is_stream)
{
    channel_refused(link, channel, AMQP_NOT_IMPLEMENTED,
                    is_stream ? "it is a stream: say with stream_offset where to begin"
                              : RABBIT_NO_STREAM_TEXT);
    channel_tell_state(link);
    return channel_end(link, channel, true);
}

static int end_delivery(struct rabbit_link *link, struct rabbit_channel *channel)
{
    struct rabbit_message *message = channel->partial;

    channel->partial = NULL;
    channel->in_delivery = false;
    if (link->config->begin && !message->is_from_stream) {
        free(message);
        return refuse_kind(link, channel, false);
    }
    if (!link->config->begin && message->is_from_stream && !channel->seems_stream) {
        channel->seems_stream = true;
        link->depth_us = 0;
    }
    if (link->config->begin && stream_began_behind(channel, message->offset)) {
        free(message);
        channel->begun_behind++;
        return channel_open_again(link, channel);
    }
    channel->moved_us = rabbit_now();
    channel->newest = message->offset;
    channel->delivered = true;
    if (rabbit_tags_add(&channel->tags, message->tag, message->offset, channel->moved_us)) {
        free(message);
        return fail(link, "the broker skipped a delivery tag");
    }
    amqp_maybe_release_buffers_on_channel(link->connection, channel->number);
    if (link->config->begin && !stream_wants(link, channel, message->offset)) {
        rabbit_tags_done(&channel->tags, message->tag);
        free(message);
        return 0;
    }
    if (!keep(link, channel, message)) {
        free(message);
        return 0;
    }
    atomic_fetch_add_explicit(&channel->lane->waiting, message->size, memory_order_relaxed);
    if (channel->incoming.last)
        channel->incoming.last->next = message;
    else
        channel->incoming.first = message;
    channel->incoming.last = message;
    channel->incoming.count++;
    return 0;
}

static int on_header(struct rabbit_link *link, struct rabbit_channel *channel,
                     const amqp_frame_t *frame)
{
    uint64_t size = frame->payload.properties.body_size;

    if (!channel->in_delivery || channel->partial ||
        frame->payload.properties.class_id != AMQP_BASIC_CLASS)
        return fail(link, "the broker sent a message's header that belongs to no delivery");
    if (size > BODY_MOST)
        return fail(link, "the broker sent a message larger than 512 MiB");
    channel->partial =
        rabbit_message_new(&channel->origin, frame->payload.properties.decoded, (size_t)size);
    channel->body_at = 0;
    if (!channel->partial)
        return fail(link, "there is no memory for a message");
    return size ? 0 : end_delivery(link, channel);
}

static int on_body(struct rabbit_link *link, struct rabbit_channel *channel,
                   const amqp_frame_t *frame)
{
    amqp_bytes_t piece = frame->payload.body_fragment;
    struct rabbit_message *message = channel->partial;

    if (!message || piece.len > message->payload.size - channel->body_at)
        return fail(link, "the broker sent a message's body that belongs to no header");
    memcpy((char *)(uintptr_t)message->payload.data + channel->body_at, piece.bytes, piece.len);
    channel->body_at += piece.len;
    return channel->body_at == message->payload.size ? end_delivery(link, channel) : 0;
}

/* ---- methods ---- */

static int on_channel_close(struct rabbit_link *link, struct rabbit_channel *channel,
                            const amqp_channel_close_t *close)
{
    amqp_channel_close_ok_t ok = {0};
    char why[RABBIT_TEXT / 2];

    link_copy_text(close->reply_text, why, sizeof why);
    amqp_send_method(link->connection, channel->number, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    if (channel->phase == RABBIT_OPEN)
        link_log(link, SLUICE_LOG_WARNING, "channel_closed",
                 "the broker closed the channel of queue %s: %s; its messages come again",
                 link->config->queues[channel->queue], why);
    channel_refused(link, channel, close->reply_code, why);
    channel_end(link, channel, false);
    channel_tell_state(link);
    return 0;
}

/* The queue was deleted, or its node went away. */
static int on_cancel(struct rabbit_link *link, struct rabbit_channel *channel)
{
    link_log(link, SLUICE_LOG_WARNING, "consumer_cancelled",
             "the broker cancelled the consumer of queue %s (it was deleted, or its node is gone)",
             link->config->queues[channel->queue]);
    return channel_open_again(link, channel);
}

static int on_depth(struct rabbit_link *link, struct rabbit_channel *channel,
                    const amqp_queue_declare_ok_t *declared)
{
    channel->asked_depth = false;
    /* A stream counts no consumers. */
    if (channel->seems_stream && !declared->consumer_count)
        return refuse_kind(link, channel, true);
    channel->others = declared->consumer_count ? declared->consumer_count - 1 : 0;
    pthread_mutex_lock(&link->lock);
    channel->lane->depth = declared->message_count;
    pthread_mutex_unlock(&link->lock);
    return 0;
}

static int on_connection_method(struct rabbit_link *link, const amqp_method_t *method)
{
    char why[RABBIT_TEXT / 2] = "";

    if (method->id == AMQP_CONNECTION_BLOCKED_METHOD) {
        const amqp_connection_blocked_t *blocked = method->decoded;

        link_copy_text(blocked->reason, why, sizeof why);
        link_log(link, SLUICE_LOG_WARNING, "connection_blocked",
                 "the broker takes no more messages for now (%s); consuming goes on", why);
    } else if (method->id == AMQP_CONNECTION_UNBLOCKED_METHOD) {
        link_log(link, SLUICE_LOG_INFO, "connection_unblocked", "the broker takes messages again");
    } else if (method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = method->decoded;
        amqp_connection_close_ok_t ok = {0};

        link_copy_text(close->reply_text, why, sizeof why);
        amqp_send_method(link->connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        return fail(link, why);
    }
    return 0;
}

/* While it is opening or closing. */
static int on_early_frame(struct rabbit_link *link, struct rabbit_channel *channel,
                          const amqp_frame_t *frame)
{
    if (frame->frame_type == AMQP_FRAME_HEADER && channel->step >= RABBIT_STREAM_PROBING &&
        channel->phase == RABBIT_OPENING &&
        frame->payload.properties.class_id == AMQP_BASIC_CLASS)
        return stream_probed(link, channel, frame->payload.properties.decoded);
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return 0;
    if (frame->payload.method.id == AMQP_CHANNEL_CLOSE_METHOD)
        return on_channel_close(link, channel, frame->payload.method.decoded);
    if (frame->payload.method.id == AMQP_BASIC_CANCEL_METHOD && channel->phase == RABBIT_OPENING)
        return on_cancel(link, channel);
    return channel_on_answer(link, channel, &frame->payload.method);
}

static int on_frame(struct rabbit_link *link, const amqp_frame_t *frame)
{
    struct rabbit_channel *channel = channel_of(link, frame->channel);
    int result = 0;

    if (!frame->channel)
        return frame->frame_type == AMQP_FRAME_METHOD
                   ? on_connection_method(link, &frame->payload.method)
                   : 0;
    if (frame->channel >= link->next_number)
        return fail(link, "the broker sent something on a channel that was not opened");
    if (!channel || channel->phase != RABBIT_OPEN) {
        if (channel)
            result = on_early_frame(link, channel, frame);
        else if (frame->channel == link->look.number)
            result = look_on_frame(link, frame);
        if (!result)
            amqp_maybe_release_buffers_on_channel(link->connection, frame->channel);
        return result;
    }
    if (frame->frame_type == AMQP_FRAME_HEADER)
        return on_header(link, channel, frame);
    if (frame->frame_type == AMQP_FRAME_BODY)
        return on_body(link, channel, frame);
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return 0;
    switch (frame->payload.method.id) {
    case AMQP_BASIC_DELIVER_METHOD:
        return begin_delivery(link, channel, frame->payload.method.decoded);
    case AMQP_BASIC_CANCEL_METHOD:
        return on_cancel(link, channel);
    case AMQP_CHANNEL_CLOSE_METHOD:
        return on_channel_close(link, channel, frame->payload.method.decoded);
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        return on_depth(link, channel, frame->payload.method.decoded);
    default:
        return 0;
    }
}

int frames_read(struct rabbit_link *link)
{
    for (int i = 0; i < FRAMES_MOST; i++) {
        struct timeval now = {0, 0};
        amqp_frame_t frame;
        int status = amqp_simple_wait_frame_noblock(link->connection, &frame, &now);

        if (status == AMQP_STATUS_TIMEOUT)
            return 0;
        if (status != AMQP_STATUS_OK)
            return fail(link, status == AMQP_STATUS_HEARTBEAT_TIMEOUT
                                  ? "it gives no sign of life (heartbeats)"
                                  : amqp_error_string2(status));
        if (on_frame(link, &frame))
            return -1;
    }
    return 1;
}

size_t frames_hand_over(struct rabbit_link *link)
{
    size_t count = 0;

    for (size_t i = 0; i < link->config->queue_count; i++)
        count += link->channels[i].incoming.count;
    if (!count)
        return 0;
    pthread_mutex_lock(&link->lock);
    for (size_t i = 0; i < link->config->queue_count; i++) {
        struct rabbit_channel *channel = &link->channels[i];

        if (channel->incoming.first)
            rabbit_list_join(&channel->lane->fetched, &channel->incoming);
    }
    pthread_mutex_unlock(&link->lock);
    link_wake(link);
    return count;
}
