/* SPDX-License-Identifier: MIT
 * Where streams end, for their lag. The broker tells it in no other way than by delivering. A stream that
 * delivers nothing more though it may ends behind what came last. Of any other the last chunk is read now and
 * then by a consumer of its own, on a channel that stays open for that, and thrown away. A chunk has a broker's
 * thousands of messages, of any size, and is sent as a whole: after a large one the next look is later.
 * All of the chunk comes before the answer to what is asked once it began to come. Of an empty stream nothing
 * does. */
#include "link_inside.h"

#define TAG       "sluice-look"
#define EVERY_US  (30 * RABBIT_SECOND) /* each stream */
#define ANSWER_US (10 * RABBIT_SECOND)
#define QUIET_US  (RABBIT_SECOND) /* what may be delivered has come by then */
#define RATE      (64u << 10) /* bytes a second that all looks may cost */
#define NUMBERS_LEFT 100
#define CHUNK_US  (2 * RABBIT_SECOND) /* its first message has come by then, if there is one */

static int request(struct rabbit_link *link, amqp_method_number_t id, void *method)
{
    int status = amqp_send_method(link->connection, link->look.number, id, method);

    if (status)
        link_failed(link, amqp_error_string2(status));
    return status ? -1 : 0;
}

static void rest(struct rabbit_link *link)
{
    int64_t pause_us = EVERY_US / (int64_t)link->config->queue_count;
    int64_t cost_us = (int64_t)(link->look.bytes * (uint64_t)RABBIT_SECOND / RATE);

    link->look.step = RABBIT_LOOK_RESTS;
    link->look.due_us = rabbit_now() + (cost_us > pause_us ? cost_us : pause_us);
    link->look.bytes = 0;
}

/* What came last is the newest: more would have come, as there is room. */
static bool is_at_end(const struct rabbit_channel *channel)
{
    return !channel->overflowing && channel->tags.next - channel->tags.oldest < channel->prefetch &&
           rabbit_now() - channel->moved_us >= QUIET_US;
}

static void note_end(struct rabbit_link *link, const struct rabbit_channel *channel, uint64_t newest)
{
    pthread_mutex_lock(&link->lock);
    if (channel->phase == RABBIT_OPEN && channel->lane && newest < INT64_MAX)
        channel->lane->depth = (int64_t)newest + 1;
    pthread_mutex_unlock(&link->lock);
}

/* ---- beginning ---- */

static int consume(struct rabbit_link *link)
{
    amqp_table_entry_t entry = {
        amqp_cstring_bytes("x-stream-offset"),
        {.kind = AMQP_FIELD_KIND_UTF8, .value.bytes = amqp_cstring_bytes("last")}};
    amqp_basic_consume_t consume = {
        .queue = amqp_cstring_bytes(link->config->queues[link->look.queue]),
        .consumer_tag = amqp_cstring_bytes(TAG),
        .arguments = {1, &entry},
    };

    link->look.step = RABBIT_LOOK_READS;
    link->look.answer_us = rabbit_now() + CHUNK_US;
    link->look.any = link->look.consumes = false;
    return request(link, AMQP_BASIC_CONSUME_METHOD, &consume);
}

static int begin(struct rabbit_link *link)
{
    amqp_channel_open_t open = {.out_of_band = amqp_empty_bytes};
    struct rabbit_look *look = &link->look;
    const struct rabbit_channel *channel;

    look->queue = (look->queue + 1) % link->config->queue_count;
    channel = &link->channels[look->queue];
    rest(link);
    if (channel->phase != RABBIT_OPEN) {
        look->due_us = rabbit_now() + RABBIT_SECOND;
        return 0;
    }
    if (is_at_end(channel) && (channel->delivered || rabbit_link_depth(link, channel->lane) >= 0)) {
        if (channel->delivered)
            note_end(link, channel, channel->newest);
        return 0;
    }
    look->answer_us = rabbit_now() + ANSWER_US;
    if (look->number)
        return consume(link);
    /* A number is used up by each look that fails; the queues must not lack them. */
    if (link->next_number + NUMBERS_LEFT > amqp_get_channel_max(link->connection))
        return 0;
    look->number = link->next_number++;
    look->step = RABBIT_LOOK_OPENS;
    return request(link, AMQP_CHANNEL_OPEN_METHOD, &open);
}

static int end(struct rabbit_link *link)
{
    struct rabbit_look *look = &link->look;
    amqp_basic_ack_t ack = {.delivery_tag = look->tag, .multiple = 1};
    amqp_basic_cancel_t cancel = {.consumer_tag = amqp_cstring_bytes(TAG)};

    /* Where nothing came, the stream has nothing, or the broker is slow. */
    if (look->any)
        note_end(link, &link->channels[look->queue], look->newest);
    look->step = RABBIT_LOOK_ENDS;
    look->answer_us = rabbit_now() + ANSWER_US;
    if (look->any && request(link, AMQP_BASIC_ACK_METHOD, &ack))
        return -1;
    return request(link, AMQP_BASIC_CANCEL_METHOD, &cancel);
}

/* No answer came, or nothing of a stream that has nothing. */
static int give_up(struct rabbit_link *link)
{
    amqp_channel_close_t goodbye = {.reply_code = AMQP_REPLY_SUCCESS, .reply_text = amqp_empty_bytes};
    int failed;

    if (link->look.step == RABBIT_LOOK_READS && link->look.consumes && !link->look.any)
        return end(link);
    failed = request(link, AMQP_CHANNEL_CLOSE_METHOD, &goodbye);
    rest(link);
    link->look.number = 0;
    return failed;
}

int look_due(struct rabbit_link *link, int64_t *ret_at_us)
{
    struct rabbit_look *look = &link->look;
    int64_t at_us;

    if (!link->config->begin)
        return 0;
    if (look->step != RABBIT_LOOK_RESTS && rabbit_now() >= look->answer_us && give_up(link))
        return -1;
    if (look->step == RABBIT_LOOK_RESTS && rabbit_now() >= look->due_us && begin(link))
        return -1;
    at_us = look->step == RABBIT_LOOK_RESTS ? look->due_us : look->answer_us;
    if (at_us < *ret_at_us)
        *ret_at_us = at_us;
    return 0;
}

/* ---- what comes ---- */

static int on_header(struct rabbit_link *link, const amqp_basic_properties_t *properties, uint64_t size)
{
    struct rabbit_look *look = &link->look;
    amqp_queue_declare_t declare = {
        .queue = amqp_cstring_bytes(link->config->queues[look->queue]), .passive = 1};
    bool first = !look->any;

    look->bytes += size < INT32_MAX ? size : INT32_MAX; /* whatever it says, no sum of them is too much */
    if (!rabbit_stream_offset(properties, &look->newest))
        return 0;
    look->any = true;
    look->answer_us = rabbit_now() + ANSWER_US;
    return first ? request(link, AMQP_QUEUE_DECLARE_METHOD, &declare) : 0;
}

static int on_method(struct rabbit_link *link, const amqp_method_t *method)
{
    struct rabbit_look *look = &link->look;
    amqp_basic_qos_t qos = {.prefetch_count = UINT16_MAX}; /* RabbitMQ 4 delivers no more of the chunk */
    amqp_channel_close_ok_t ok = {0};

    switch (method->id) {
    case AMQP_CHANNEL_OPEN_OK_METHOD:
        return request(link, AMQP_BASIC_QOS_METHOD, &qos);
    case AMQP_BASIC_QOS_OK_METHOD:
        return consume(link);
    case AMQP_BASIC_CONSUME_OK_METHOD:
        look->consumes = true;
        return 0;
    case AMQP_BASIC_DELIVER_METHOD:
        look->tag = ((const amqp_basic_deliver_t *)method->decoded)->delivery_tag;
        return 0;
    case AMQP_QUEUE_DECLARE_OK_METHOD:
        return look->step == RABBIT_LOOK_READS ? end(link) : 0;
    case AMQP_BASIC_CANCEL_OK_METHOD:
    case AMQP_BASIC_CANCEL_METHOD: /* the stream is gone */
        rest(link);
        return 0;
    case AMQP_CHANNEL_CLOSE_METHOD:
        rest(link);
        if (request(link, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok))
            return -1;
        look->number = 0;
        return 0;
    default:
        return 0;
    }
}

int look_on_frame(struct rabbit_link *link, const amqp_frame_t *frame)
{
    if (frame->frame_type == AMQP_FRAME_METHOD)
        return on_method(link, &frame->payload.method);
    if (frame->frame_type == AMQP_FRAME_HEADER && link->look.step == RABBIT_LOOK_READS &&
        frame->payload.properties.class_id == AMQP_BASIC_CLASS)
        return on_header(link, frame->payload.properties.decoded, frame->payload.properties.body_size);
    return 0;
}
