/* SPDX-License-Identifier: MIT
 * Looking into queues and streams, for `sluice dlq browse`. */
#include "browse_inside.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_US     (RABBIT_SECOND / 10)
#define MESSAGE_US   (30 * RABBIT_SECOND) /* for the rest of a message that began to come */
#define MESSAGE_MOST ((uint64_t)512 << 20) /* RabbitMQ itself takes no larger one */
#define CLOSE_US     (10 * RABBIT_SECOND)

static void tell(const struct browsing *browsing, void (*told)(void *cookie, const char *text),
                 const char *format, va_list arguments) __attribute__((format(printf, 3, 0)));

static void tell(const struct browsing *browsing, void (*told)(void *cookie, const char *text),
                 const char *format, va_list arguments)
{
    char text[2 * RABBIT_TEXT];

    vsnprintf(text, sizeof text, format, arguments);
    told(browsing->asked->cookie, text);
}

void browse_fail(struct browsing *browsing, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    browsing->failed = true;
    tell(browsing, browsing->asked->fail, format, arguments);
    va_end(arguments);
}

void browse_note(struct browsing *browsing, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    if (browsing->may_leave_trace && browsing->asked->note)
        tell(browsing, browsing->asked->note, format, arguments);
    va_end(arguments);
}

bool browse_ends(struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;

    if (browsing->enough || browsing->broken)
        return true;
    if (browsing->may_leave_trace && asked->stopped && asked->stopped(asked->cookie)) {
        browsing->enough = true;
    } else if (rabbit_now() >= browsing->until_us) {
        browse_fail(browsing, "%s could not be read to its end in time", browsing->queue);
        browsing->enough = true;
    }
    return browsing->enough;
}

/* ---- channels ---- */

void browse_refusal(struct browsing *browsing, struct link_refusal *ret_refusal)
{
    amqp_rpc_reply_t reply = amqp_get_rpc_reply(browsing->link->connection);
    amqp_channel_close_ok_t ok = {0};

    link_read_refusal(&reply, ret_refusal);
    if (reply.reply_type == AMQP_RESPONSE_SERVER_EXCEPTION &&
        reply.reply.id == AMQP_CHANNEL_CLOSE_METHOD)
        browsing->broken = amqp_send_method(browsing->link->connection, browsing->number,
                                            AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) != AMQP_STATUS_OK;
    else
        browsing->broken = true;
    browsing->number = 0;
}

int browse_open_channel(struct browsing *browsing)
{
    struct link_refusal refusal;

    browsing->number = browsing->link->next_number++;
    if (amqp_channel_open(browsing->link->connection, browsing->number))
        return 0;
    browse_refusal(browsing, &refusal);
    browse_fail(browsing, "%s cannot be read: %s", browsing->queue, refusal.text);
    return -1;
}

void browse_close_channel(struct browsing *browsing)
{
    if (!browsing->number || browsing->broken)
        return;
    link_set_rpc_timeout(browsing->link, browsing->link->connection, CLOSE_US);
    if (amqp_channel_close(browsing->link->connection, browsing->number, AMQP_REPLY_SUCCESS)
            .reply_type != AMQP_RESPONSE_NORMAL)
        browsing->broken = true; /* its end gives back what is out */
    browsing->number = 0;
}

/* ---- what comes ---- */

static int closed(struct browsing *browsing, const char *what, amqp_bytes_t why)
{
    char text[RABBIT_TEXT / 2];

    link_copy_text(why, text, sizeof text);
    browse_fail(browsing, "the broker closed the %s while %s was read: %s", what, browsing->queue, text);
    browsing->enough = true;
    return -1;
}

static int on_method(struct browsing *browsing, const amqp_frame_t *frame)
{
    const amqp_method_t *method = &frame->payload.method;
    amqp_channel_close_ok_t ok = {0};

    if (!frame->channel && method->id == AMQP_CONNECTION_CLOSE_METHOD) {
        browsing->broken = true;
        return closed(browsing, "connection", ((const amqp_connection_close_t *)method->decoded)->reply_text);
    }
    if (frame->channel != browsing->number)
        return 0;
    if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
        browsing->broken = amqp_send_method(browsing->link->connection, browsing->number,
                                            AMQP_CHANNEL_CLOSE_OK_METHOD, &ok) != AMQP_STATUS_OK;
        browsing->number = 0;
        return closed(browsing, "channel", ((const amqp_channel_close_t *)method->decoded)->reply_text);
    }
    return 1;
}

int browse_frame(struct browsing *browsing, amqp_frame_t *ret_frame)
{
    struct timeval wait = {0, FRAME_US};
    int status;

    amqp_maybe_release_buffers_on_channel(browsing->link->connection, browsing->number);
    status = amqp_simple_wait_frame_noblock(browsing->link->connection, ret_frame, &wait);
    if (status == AMQP_STATUS_TIMEOUT)
        return 0;
    if (status != AMQP_STATUS_OK) {
        browsing->broken = true;
        browse_fail(browsing, "the connection to %s is lost while %s was read: %s",
                    browsing->link->config->servers, browsing->queue, amqp_error_string2(status));
        return -1;
    }
    if (ret_frame->frame_type == AMQP_FRAME_METHOD)
        return on_method(browsing, ret_frame);
    return ret_frame->channel == browsing->number;
}

/* A frame that must come. */
static int wait_frame(struct browsing *browsing, uint8_t type, amqp_frame_t *ret_frame)
{
    int64_t until_us = rabbit_now() + MESSAGE_US;
    int got = 0;

    while (!got && rabbit_now() < until_us)
        got = browse_frame(browsing, ret_frame);
    if (got > 0 && ret_frame->frame_type == type)
        return 0;
    if (got >= 0) {
        browsing->broken = true;
        browse_fail(browsing, "the broker began to send a message of %s, and not its rest",
                    browsing->queue);
    }
    return -1;
}

static size_t keep_text(amqp_bytes_t bytes, char *text, size_t room)
{
    size_t size = bytes.len < room ? bytes.len : room;

    if (size)
        memcpy(text, bytes.bytes, size);
    return size;
}

static int read_body(struct browsing *browsing, struct rabbit_message *message)
{
    char *out = (char *)(uintptr_t)message->payload.data;
    size_t left = message->payload.size;
    amqp_frame_t frame;

    while (left) {
        amqp_bytes_t piece;

        if (wait_frame(browsing, AMQP_FRAME_BODY, &frame))
            return -1;
        piece = frame.payload.body_fragment;
        if (piece.len > left) {
            browsing->broken = true;
            browse_fail(browsing, "the broker sent more of a message of %s than it said",
                        browsing->queue);
            return -1;
        }
        memcpy(out, piece.bytes, piece.len);
        out += piece.len;
        left -= piece.len;
    }
    return 0;
}

struct rabbit_message *browse_message(struct browsing *browsing, uint64_t tag, bool redelivered,
                                      bool is_stream, amqp_bytes_t exchange, amqp_bytes_t routing_key)
{
    const struct rabbit_origin origin = {
        .queue = browsing->queue,
        .vhost = browsing->link->config->vhost,
        .session = browsing->link->session,
        .tag = tag,
        .redelivered = redelivered,
        .is_stream = is_stream,
        .exchange = {keep_text(exchange, browsing->exchange, sizeof browsing->exchange),
                     browsing->exchange},
        .routing_key = {keep_text(routing_key, browsing->routing_key, sizeof browsing->routing_key),
                        browsing->routing_key},
    };
    struct rabbit_message *message = NULL;
    amqp_frame_t frame;

    if (wait_frame(browsing, AMQP_FRAME_HEADER, &frame))
        return NULL;
    if (frame.payload.properties.class_id == AMQP_BASIC_CLASS &&
        frame.payload.properties.body_size <= MESSAGE_MOST)
        message = rabbit_message_new(&origin, frame.payload.properties.decoded,
                                     (size_t)frame.payload.properties.body_size);
    if (message && !read_body(browsing, message))
        return message;
    if (!message)
        browse_fail(browsing, "there is no memory for a message of %s", browsing->queue);
    browsing->broken = true;
    free(message);
    return NULL;
}

int browse_delivery(struct browsing *browsing, bool is_stream, struct rabbit_message **ret_message)
{
    const amqp_basic_deliver_t *deliver;
    amqp_frame_t frame;
    int got = browse_frame(browsing, &frame);

    if (got < 0)
        return -1;
    if (!got || frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != AMQP_BASIC_DELIVER_METHOD)
        return 0;
    deliver = frame.payload.method.decoded;
    *ret_message = browse_message(browsing, deliver->delivery_tag, deliver->redelivered, is_stream,
                                  deliver->exchange, deliver->routing_key);
    return *ret_message ? 1 : -1;
}

void browse_show(struct browsing *browsing, const struct rabbit_message *message, bool is_stream)
{
    const struct sluice_lane lane = {
        .name = browsing->queue, .source = browsing->queue, .partition = -1};
    struct sluice_message shown;

    rabbit_message_convert(message, is_stream, &shown);
    browsing->enough |= browsing->asked->see(browsing->asked->cookie, &lane, &shown, message->headers,
                                             message->header_count) != 0;
}

/* ---- all of it ---- */

static void look(struct browsing *browsing, const char *queue)
{
    browsing->queue = queue;
    if (browse_ends(browsing))
        return;
    if (!browsing->link->config->begin)
        browse_queue(browsing);
    else if (!browse_stream(browsing))
        browse_fail(browsing, "queue %s cannot be browsed: " RABBIT_NO_STREAM_TEXT, queue);
    browse_close_channel(browsing);
}

static void connect_link(struct browsing *browsing)
{
    int failed = link_connect(browsing->link);
    struct rabbit_event *event = rabbit_link_events(browsing->link), *next;
    const char *why = "no broker could be reached";

    for (next = event; next; next = next->next)
        if (next->kind == RABBIT_STATE && next->text[0])
            why = next->text;
    if (failed)
        browse_fail(browsing, "%s", why);
    for (; event; event = next) {
        next = event->next;
        free(event);
    }
}

struct work {
    struct rabbit_config *config;
    struct browsing browsing;
};

static void *run(void *argument)
{
    struct work *work = argument;
    struct rabbit_config *config = work->config;
    struct browsing *browsing = &work->browsing;
    const struct sluice_browse *asked = browsing->asked;

    browsing->until_us = rabbit_now() + asked->deadline_us;
    config->heartbeat_s = 0; /* somebody is asked before a queue is read, for as long as that takes */
    if (config->connect_timeout_us > asked->deadline_us)
        config->connect_timeout_us = asked->deadline_us;
    if (asked->destination)
        rabbit_config_aim(config, asked->destination);
    browsing->link = rabbit_link_new(config, "sluice-browse");
    if (config->exchange)
        browse_fail(browsing,
                    "exchange %s keeps no messages: browse the queue that has them, by a mapping with "
                    "receive: dead_letters and that queue",
                    config->exchange);
    else
        connect_link(browsing);
    for (size_t i = 0; browsing->link->connection && i < config->queue_count && !browsing->broken; i++)
        look(browsing, config->queues[i]);
    link_disconnect(browsing->link, !browsing->broken);
    rabbit_link_free(browsing->link);
    return NULL;
}

int rabbit_browse_places(struct rabbit_config *config, const struct sluice_browse *browse,
                         bool may_leave_trace)
{
    struct work work = {
        .config = config,
        .browsing = {.asked = browse, .may_leave_trace = may_leave_trace},
    };
    pthread_t thread;
    int failed = rabbit_thread(&thread, run, &work);

    if (failed) {
        browse_fail(&work.browsing, "cannot start a thread: %s", strerror(failed));
        rabbit_config_free(config);
        return -1;
    }
    pthread_join(thread, NULL);
    return work.browsing.failed ? -1 : 0;
}
