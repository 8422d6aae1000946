/* SPDX-License-Identifier: MIT
 * Streams on a connection. A stream forgets nothing and remembers no reader: the host says where to go on.
 * An offset beyond its end is no error to the broker, which then delivers nothing until the stream has
 * grown so far. So where something was read before, its last chunk is looked at first: a stream that ends
 * before that was made anew, and is read from its beginning.
 * Where a stream grows just while a consumer begins at an offset, RabbitMQ (3.10) now and then begins behind
 * it, and sends nothing before the stream grows once more. So it is asked for the last message that was
 * finished, and asked again where that does not come, or another comes first. */
#include "link_inside.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PROBE_TAG "sluice-probe"
#define FIRST_US        (2 * RABBIT_SECOND)
#define FIRST_DOUBLINGS 5
#define BEHIND_MOST     5 /* then it is retention that removed what is before */

static int consume(struct rabbit_link *link, const struct rabbit_channel *channel, const char *tag,
                   amqp_field_value_t offset)
{
    amqp_table_entry_t entry = {amqp_cstring_bytes("x-stream-offset"), offset};
    amqp_basic_consume_t consume = {
        .queue = amqp_cstring_bytes(link->config->queues[channel->queue]),
        .consumer_tag = amqp_cstring_bytes(tag),
        .arguments = {1, &entry},
    };

    return channel_request(link, channel, AMQP_BASIC_CONSUME_METHOD, &consume);
}

amqp_field_value_t stream_at_word(const char *word)
{
    amqp_field_value_t value = {.kind = AMQP_FIELD_KIND_UTF8};

    value.value.bytes = amqp_cstring_bytes(word);
    return value;
}

amqp_field_value_t stream_at_number(uint64_t number)
{
    amqp_field_value_t value = {.kind = AMQP_FIELD_KIND_I64};

    value.value.i64 = number < INT64_MAX ? (int64_t)number : INT64_MAX;
    return value;
}

amqp_field_value_t stream_at_time(uint64_t seconds)
{
    amqp_field_value_t value = {.kind = AMQP_FIELD_KIND_TIMESTAMP};

    value.value.u64 = seconds;
    return value;
}

static amqp_field_value_t where_told(const struct rabbit_config *config)
{
    switch (config->begin) {
    case RABBIT_BEGIN_LAST:
        return stream_at_word("last");
    case RABBIT_BEGIN_NEXT:
        return stream_at_word("next");
    case RABBIT_BEGIN_TIME:
        return stream_at_time(config->begin_at);
    case RABBIT_BEGIN_NUMBER:
        return stream_at_number(config->begin_at);
    default:
        return stream_at_word("first");
    }
}

int stream_declared(struct rabbit_link *link, struct rabbit_channel *channel)
{
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(PROBE_TAG)};

    if (channel->step == RABBIT_STREAM_PROBED) /* all of the last chunk came before this answer */
        return channel_request(link, channel, AMQP_BASIC_CANCEL_METHOD, &cancel);
    if (channel->step != RABBIT_STREAM_NEW)
        return 0; /* not asked for */
    channel_make_lane(link, channel);
    channel->step = RABBIT_STREAM_ASKED;
    channel->answer_us = INT64_MAX;
    return 0;
}

static int consume_for_good(struct rabbit_link *link, struct rabbit_channel *channel,
                            amqp_field_value_t offset)
{
    channel->step = RABBIT_STREAM_SET;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    return consume(link, channel, link->name, offset);
}

int stream_begin(struct rabbit_link *link, struct rabbit_channel *channel, bool known,
                 uint64_t position)
{
    if (channel->step != RABBIT_STREAM_ASKED)
        return 0;
    channel->resumed = known;
    channel->begin = known ? position : 0;
    channel->probe_tag = 0;
    if (!known)
        return consume_for_good(link, channel, where_told(link->config));
    if (!position)
        return consume_for_good(link, channel, stream_at_number(0));
    channel->step = RABBIT_STREAM_PROBING;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    return consume(link, channel, PROBE_TAG, stream_at_word("last"));
}

/* An empty stream is looked at until something comes. */
static void probing(struct rabbit_link *link, struct rabbit_channel *channel)
{
    channel->answer_us = INT64_MAX;
    channel->probes = true;
    channel_tell_state(link);
}

static int end_probe(struct rabbit_link *link, struct rabbit_channel *channel)
{
    amqp_basic_ack_t ack = {.delivery_tag = channel->probe_tag, .multiple = 1};

    if (channel_request(link, channel, AMQP_BASIC_ACK_METHOD, &ack))
        return -1;
    if (channel->probe_newest + 1 < channel->begin) {
        link_log(link, SLUICE_LOG_WARNING, "stream_made_anew",
                 "stream %s ends at offset %" PRIu64 ", but all before %" PRIu64
                 " was finished: it was made anew, and is read from its beginning",
                 link->config->queues[channel->queue], channel->probe_newest, channel->begin);
        channel->begin = 0;
        channel->resumed = false;
    }
    /* With the last one that was finished: that it comes shows that nothing is missing. */
    return consume_for_good(link, channel,
                            stream_at_number(channel->begin ? channel->begin - 1 : 0));
}

static void opened(struct rabbit_link *link, struct rabbit_channel *channel)
{
    unsigned doublings =
        channel->begun_silent < FIRST_DOUBLINGS ? channel->begun_silent : FIRST_DOUBLINGS;

    channel_opened(link, channel);
    channel->first_us =
        channel->resumed && channel->begin ? rabbit_now() + (FIRST_US << doublings) : 0;
}

int stream_answered(struct rabbit_link *link, struct rabbit_channel *channel,
                    const amqp_method_t *method)
{
    switch (method->id) {
    case AMQP_BASIC_CONSUME_OK_METHOD:
        if (channel->step == RABBIT_STREAM_PROBING)
            probing(link, channel);
        else
            opened(link, channel);
        return 0;
    case AMQP_BASIC_DELIVER_METHOD:
        channel->probe_tag = ((const amqp_basic_deliver_t *)method->decoded)->delivery_tag;
        return 0;
    case AMQP_BASIC_CANCEL_OK_METHOD:
        return channel->step == RABBIT_STREAM_PROBED ? end_probe(link, channel) : 0;
    default:
        return 0;
    }
}

int stream_probed(struct rabbit_link *link, struct rabbit_channel *channel,
                  const amqp_basic_properties_t *properties)
{
    amqp_queue_declare_t declare = {
        .queue = amqp_cstring_bytes(link->config->queues[channel->queue]), .passive = 1};
    uint64_t offset;

    if (!rabbit_stream_offset(properties, &offset))
        return 0;
    if (channel->step != RABBIT_STREAM_PROBING) {
        if (offset > channel->probe_newest)
            channel->probe_newest = offset;
        return 0;
    }
    channel->probe_newest = offset;
    channel->step = RABBIT_STREAM_PROBED;
    channel->answer_us = rabbit_now() + link->config->connect_timeout_us;
    return channel_request(link, channel, AMQP_QUEUE_DECLARE_METHOD, &declare);
}

bool stream_began_behind(const struct rabbit_channel *channel, uint64_t offset)
{
    return channel->resumed && offset > channel->begin && channel->begun_behind < BEHIND_MOST;
}

int stream_watch_first(struct rabbit_link *link, struct rabbit_channel *channel)
{
    if (channel->phase != RABBIT_OPEN || !channel->first_us || rabbit_now() < channel->first_us)
        return 0;
    channel->begun_silent++;
    return channel_open_again(link, channel);
}

bool stream_wants(struct rabbit_link *link, struct rabbit_channel *channel, uint64_t offset)
{
    if (channel->resumed && offset > channel->begin)
        link_log(link, SLUICE_LOG_WARNING, "stream_cut",
                 "the retention of stream %s removed messages %" PRIu64 " to %" PRIu64
                 " before they were read",
                 link->config->queues[channel->queue], channel->begin, offset - 1);
    channel->resumed = false;
    channel->first_us = 0;
    channel->begun_behind = channel->begun_silent = 0;
    return offset >= channel->begin;
}
