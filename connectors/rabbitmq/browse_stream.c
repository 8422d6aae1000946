/* SPDX-License-Identifier: MIT
 * Looking into a stream: by offsets, with a consumer of its own, so that nobody notices and nothing is
 * remembered. AMQP tells its end by delivering the last chunk alone; that is looked at first. */
#include "browse_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TAG      "sluice-browse"
#define PREFETCH 256 /* messages under way */
#define CHUNK_US (2 * RABBIT_SECOND) /* a message has come by then, if there is one */
#define TRIES    5

/* ---- consuming ---- */

/* On a new channel. 1: it is no stream; -1: told. */
static int consume(struct browsing *browsing, unsigned prefetch, amqp_field_value_t offset)
{
    amqp_connection_state_t connection = browsing->link->connection;
    amqp_table_entry_t entry = {amqp_cstring_bytes("x-stream-offset"), offset};
    struct link_refusal refusal;

    browse_close_channel(browsing);
    if (browsing->broken || browse_open_channel(browsing))
        return -1;
    link_set_rpc_timeout(browsing->link, connection, 0);
    if (amqp_basic_qos(connection, browsing->number, 0, (uint16_t)prefetch, 0) &&
        amqp_basic_consume(connection, browsing->number, amqp_cstring_bytes(browsing->queue),
                           amqp_cstring_bytes(TAG), 0, 0, 0, (amqp_table_t){1, &entry}))
        return 0;
    browse_refusal(browsing, &refusal);
    if (strstr(refusal.text, "x-stream-offset"))
        return 1;
    browse_fail(browsing, "stream %s cannot be read: %s%s", browsing->queue, refusal.text,
                refusal.code == AMQP_ACCESS_REFUSED ? "; give the permission to read" : "");
    return -1;
}

static int sent(struct browsing *browsing, int status)
{
    if (status == AMQP_STATUS_OK)
        return 0;
    browsing->broken = true;
    browse_fail(browsing, "the connection to %s is lost", browsing->link->config->servers);
    return -1;
}

static int acknowledge(struct browsing *browsing, uint64_t tag)
{
    return sent(browsing, amqp_basic_ack(browsing->link->connection, browsing->number, tag, 1));
}

/* ---- its end ---- */

/* All of the last chunk comes before the answer to what is asked once it began to come. */
static int ask(struct browsing *browsing)
{
    amqp_queue_declare_t declare = {.queue = amqp_cstring_bytes(browsing->queue), .passive = 1};

    return sent(browsing, amqp_send_method(browsing->link->connection, browsing->number,
                                           AMQP_QUEUE_DECLARE_METHOD, &declare));
}

/* The offset behind the newest message; 0: it is empty. 1: it is no stream; -1: told. */
static int find_end(struct browsing *browsing, uint64_t *ret_end)
{
    int64_t until_us = rabbit_now() + CHUNK_US;
    uint64_t offset;
    bool asked = false;
    int got = consume(browsing, UINT16_MAX, stream_at_word("last"));

    *ret_end = 0;
    if (got)
        return got;
    while (!browse_ends(browsing) && (asked || rabbit_now() < until_us)) {
        amqp_frame_t frame;

        got = browse_frame(browsing, &frame);
        if (got < 0)
            return -1;
        if (!got)
            continue;
        if (frame.frame_type == AMQP_FRAME_METHOD &&
            frame.payload.method.id == AMQP_QUEUE_DECLARE_OK_METHOD)
            return 0;
        if (frame.frame_type != AMQP_FRAME_HEADER ||
            frame.payload.properties.class_id != AMQP_BASIC_CLASS ||
            !rabbit_stream_offset(frame.payload.properties.decoded, &offset))
            continue;
        if (offset >= *ret_end)
            *ret_end = offset + 1;
        if (!asked && ask(browsing))
            return -1;
        asked = true;
    }
    return browsing->enough ? -1 : 0;
}

/* ---- its messages ---- */

struct reading {
    uint64_t least, next, end; /* offsets: none before `least` is shown; `next` is to be read */
    bool by_time;              /* nothing came yet of what is asked for by time */
    bool any;                  /* came, since it was asked for */
    unsigned tries;
    uint64_t tag;        /* of the message that came last */
    unsigned unanswered; /* messages that were not acknowledged yet */
};

/* RabbitMQ (3.10) now and then begins behind what was asked for, or waits for the stream to grow. Whether it is
 * retention that removed what is missing shows when it is asked once more. */
static bool began_behind(struct reading *reading, uint64_t offset)
{
    return !reading->any && !reading->by_time && !reading->tries && offset > reading->next;
}

/* 0; 1: it is to be asked again. */
static int take(struct browsing *browsing, struct reading *reading, const struct rabbit_message *message)
{
    if (began_behind(reading, message->offset))
        return 1;
    reading->tag = message->tag;
    reading->by_time = false;
    reading->any = true;
    reading->tries = 0;
    if (message->offset >= reading->least && message->offset >= reading->next &&
        message->offset < reading->end)
        browse_show(browsing, message, true);
    if (message->offset >= reading->next)
        reading->next = message->offset + 1;
    if (++reading->unanswered < PREFETCH / 2)
        return 0;
    reading->unanswered = 0;
    return acknowledge(browsing, reading->tag);
}

/* Until it ends, or must be asked again. */
static void read_on(struct browsing *browsing, struct reading *reading)
{
    int64_t silent_us = rabbit_now();
    int again = 0;

    while (!again && reading->next < reading->end && !browse_ends(browsing) &&
           rabbit_now() - silent_us < CHUNK_US << reading->tries) {
        struct rabbit_message *message;
        int got = browse_delivery(browsing, true, &message);

        if (got < 0)
            return;
        if (!got)
            continue;
        silent_us = rabbit_now();
        again = take(browsing, reading, message);
        free(message);
    }
}

bool browse_stream(struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;
    struct reading reading = {.by_time = asked->since_ms > 0};
    int found = find_end(browsing, &reading.end);

    if (found)
        return found < 0;
    if (asked->newest && reading.end > asked->newest)
        reading.least = reading.end - asked->newest;
    if (!reading.by_time)
        reading.next = reading.least;
    for (; reading.next < reading.end && reading.tries < TRIES && !browse_ends(browsing); reading.tries++) {
        bool by_time = reading.by_time;

        reading.unanswered = 0;
        reading.any = false;
        if (consume(browsing, PREFETCH,
                    by_time ? stream_at_time((uint64_t)asked->since_ms / 1000) : stream_at_number(reading.next)))
            return true;
        read_on(browsing, &reading);
        if (by_time && reading.by_time)
            return true; /* nothing is that young */
    }
    if (reading.next < reading.end && !browse_ends(browsing))
        browse_fail(browsing, "stream %s: the broker sends nothing from offset %" PRIu64 " on, of %" PRIu64,
                    browsing->queue, reading.next, reading.end);
    return true;
}
