/* SPDX-License-Identifier: MIT
 * The floor of RabbitMQ: what librabbitmq and libcurl alone cost from a queue to HTTP functions, as the
 * shortest honest loop over them: frames read as they come, AWS's event written straight into the
 * request's body, so many requests in flight, one acknowledgement for all up to the oldest unfinished
 * message. It has no tokens, retries, dead letters or limits, and does not survive its broker: sluice is
 * measured against it, and shares no code with it.
 *
 *   floor_rabbitmq --port P --queue Q --url U [--batch N] [--in-flight N] [--messages N]
 *                  [--prefetch N]
 *   floor_rabbitmq --port P --queue Q --fill N [--size BYTES] [--ids]
 *
 * --fill makes a quorum queue with N messages, with a message_id each if --ids, and returns when the
 * broker has confirmed them. Otherwise it ends once --messages are done and prints one JSON object; time
 * and CPU are counted from the first message on. The login is guest's. */
#define _GNU_SOURCE
#include <getopt.h>

#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/framing.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_framing.h>
#include <amqp_tcp_socket.h>
#endif

#include "floor.h"

#define WINDOW_US   50000
#define UNCONFIRMED 2000 /* published ahead of the broker's confirmations */
#define CHANNEL     1

struct batch {
    CURL *easy;
    struct batch *next;  /* idle */
    struct batch *newer; /* under way */
    char *body, *end;
    size_t capacity;
    uint64_t last_tag;
    int count;
    bool done;
};

static struct {
    const char *queue, *url;
    int port, batch, in_flight, prefetch;
    int64_t messages, fill, size;
    bool ids;
} options = {.batch = 100, .in_flight = 16, .prefetch = 4000, .messages = INT64_MAX, .size = 1024};

static amqp_connection_state_t connection;
static CURLM *multi;
static struct batch *idle, *filling, *oldest, *newest;
static struct floor_counts counts;
static int64_t filling_since_us;
/* The delivery that is coming in. */
static uint64_t tag;
static bool redelivered;
static char *body;
static size_t body_size, body_at, body_capacity;

static void expect(const char *what, amqp_rpc_reply_t reply)
{
    if (reply.reply_type != AMQP_RESPONSE_NORMAL)
        die(what, reply.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION
                      ? amqp_error_string2(reply.library_error)
                      : "the broker refused");
}

static void log_in(void)
{
    amqp_socket_t *socket;

    connection = amqp_new_connection();
    socket = amqp_tcp_socket_new(connection);
    if (amqp_socket_open(socket, "127.0.0.1", options.port))
        die("connection", "cannot connect");
    expect("login", amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest",
                               "guest"));
    amqp_channel_open(connection, CHANNEL);
    expect("channel", amqp_get_rpc_reply(connection));
}

/* ---- filling ---- */

/* Waits until no more than `most` publications of the `published` are unconfirmed. */
static void wait_confirmed(int64_t published, int64_t most)
{
    static int64_t count;
    static uint64_t first = 1; /* unconfirmed, or further */
    static bool *confirmed;

    if (!confirmed)
        confirmed = calloc((size_t)options.fill + 1, sizeof *confirmed);
    while (published - count > most) {
        const amqp_basic_ack_t *ack;
        amqp_frame_t frame;

        if (amqp_simple_wait_frame(connection, &frame) || frame.frame_type != AMQP_FRAME_METHOD ||
            frame.payload.method.id != AMQP_BASIC_ACK_METHOD)
            die("publishing", "a message was not confirmed");
        ack = frame.payload.method.decoded;
        for (uint64_t i = ack->multiple ? first : ack->delivery_tag; i <= ack->delivery_tag; i++) {
            count += !confirmed[i];
            confirmed[i] = true;
        }
        if (ack->multiple)
            first = ack->delivery_tag + 1;
        amqp_maybe_release_buffers(connection);
    }
}

static void declare(void)
{
    amqp_table_entry_t type = {.key = amqp_cstring_bytes("x-queue-type")};

    type.value.kind = AMQP_FIELD_KIND_UTF8;
    type.value.value.bytes = amqp_cstring_bytes("quorum");
    amqp_queue_declare(connection, CHANNEL, amqp_cstring_bytes(options.queue), 0, 1, 0, 0,
                       (amqp_table_t){1, &type});
    expect("queue", amqp_get_rpc_reply(connection));
}

static void fill(void)
{
    amqp_basic_properties_t properties = {
        ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
                  (options.ids ? AMQP_BASIC_MESSAGE_ID_FLAG : 0),
        .content_type = amqp_cstring_bytes("application/json"),
        .delivery_mode = 2,
    };
    char *value = malloc((size_t)options.size + 64);

    declare();
    amqp_confirm_select(connection, CHANNEL);
    expect("confirms", amqp_get_rpc_reply(connection));
    for (int64_t i = 1; i <= options.fill; i++) {
        char id[32];
        int size = sprintf(value, "{\"order\":{\"id\":\"order-%lld\"},\"pad\":\"", (long long)i);

        sprintf(id, "order-%lld", (long long)i);
        properties.message_id = amqp_cstring_bytes(id);
        while (size < options.size - 2)
            value[size++] = 'x';
        value[size++] = '"';
        value[size++] = '}';
        if (amqp_basic_publish(connection, CHANNEL, amqp_empty_bytes,
                               amqp_cstring_bytes(options.queue), 0, 0, &properties,
                               (amqp_bytes_t){(size_t)size, value}))
            die("publishing", "the connection failed");
        wait_confirmed(i, UNCONFIRMED);
    }
    wait_confirmed(options.fill, 0);
    free(value);
}

/* ---- the event ---- */

static char *put_string(char *out, bool there, amqp_bytes_t value)
{
    if (!there)
        return PUT(out, "null");
    *out++ = '"';
    for (size_t i = 0; i < value.len; i++) {
        char c = ((const char *)value.bytes)[i];

        if ((unsigned char)c < 0x20) {
            out += sprintf(out, "\\u%04x", c);
            continue;
        }
        if (c == '"' || c == '\\')
            *out++ = '\\';
        *out++ = c;
    }
    *out++ = '"';
    return out;
}

static char *put_headers(char *out, const amqp_table_t *headers)
{
    bool first = true;

    *out++ = '{';
    for (int i = 0; i < headers->num_entries; i++) {
        const amqp_table_entry_t *entry = &headers->entries[i];
        amqp_bytes_t value = entry->value.value.bytes;

        if (entry->value.kind != AMQP_FIELD_KIND_UTF8)
            continue; /* the messages of this bench have none */
        if (!first)
            *out++ = ',';
        first = false;
        out = put_string(out, true, entry->key);
        out = PUT(out, ":{\"bytes\":[");
        for (size_t j = 0; j < value.len; j++) {
            if (j)
                *out++ = ',';
            out = put_number(out, ((const signed char *)value.bytes)[j]);
        }
        out = PUT(out, "]}");
    }
    *out++ = '}';
    return out;
}

#define TEXT(name, flag, field)                                                                    \
    (out = PUT(out, ",\"" name "\":"),                                                             \
     out = put_string(out, properties->_flags & AMQP_BASIC_##flag##_FLAG, properties->field))
#define NUMBER(name, flag, field)                                                                  \
    (out = PUT(out, ",\"" name "\":"),                                                             \
     out = properties->_flags & AMQP_BASIC_##flag##_FLAG                                           \
               ? put_number(out, (int64_t)properties->field)                                       \
               : PUT(out, "null"))

static char *put_properties(char *out, const amqp_basic_properties_t *properties)
{
    static const amqp_table_t none;

    out = PUT(out, "{\"basicProperties\":{\"contentType\":");
    out = put_string(out, properties->_flags & AMQP_BASIC_CONTENT_TYPE_FLAG,
                     properties->content_type);
    TEXT("contentEncoding", CONTENT_ENCODING, content_encoding);
    out = PUT(out, ",\"headers\":");
    out = put_headers(out, properties->_flags & AMQP_BASIC_HEADERS_FLAG ? &properties->headers
                                                                        : &none);
    NUMBER("deliveryMode", DELIVERY_MODE, delivery_mode);
    NUMBER("priority", PRIORITY, priority);
    TEXT("correlationId", CORRELATION_ID, correlation_id);
    TEXT("replyTo", REPLY_TO, reply_to);
    TEXT("expiration", EXPIRATION, expiration);
    TEXT("messageId", MESSAGE_ID, message_id);
    out = PUT(out, ",\"timestamp\":null"); /* the messages of this bench have none */
    TEXT("type", TYPE, type);
    TEXT("userId", USER_ID, user_id);
    TEXT("appId", APP_ID, app_id);
    TEXT("clusterId", CLUSTER_ID, cluster_id);
    out = PUT(out, ",\"bodySize\":");
    out = put_number(out, (int64_t)body_size);
    out = redelivered ? PUT(out, "},\"redelivered\":true") : PUT(out, "},\"redelivered\":false");
    return PUT(out, ",\"data\":\"");
}

static size_t room_for(const amqp_basic_properties_t *properties)
{
    size_t room = 600 + 7 * 10 * 256 + body_size * 4 / 3;

    if (properties->_flags & AMQP_BASIC_HEADERS_FLAG)
        for (int i = 0; i < properties->headers.num_entries; i++)
            room += 6 * properties->headers.entries[i].key.len + 32 +
                    (properties->headers.entries[i].value.kind == AMQP_FIELD_KIND_UTF8
                         ? 5 * properties->headers.entries[i].value.value.bytes.len
                         : 0);
    return room;
}

/* ---- batches ---- */

static void begin_batch(void)
{
    filling = idle;
    idle = idle->next;
    filling->count = 0;
    filling->done = false;
    filling->newer = NULL;
    filling->end = filling->body;
    filling->end = PUT(filling->end, "{\"eventSource\":\"aws:rmq\",\"eventSourceArn\":"
                                     "\"arn:aws:mq:::broker:127.0.0.1:");
    filling->end = put_number(filling->end, options.port);
    filling->end = PUT(filling->end, "\",\"rmqMessagesByQueue\":{\"");
    filling->end = put(filling->end, options.queue, strlen(options.queue));
    filling->end = PUT(filling->end, "::/\":[");
    filling_since_us = now_us();
}

static void send_batch(void)
{
    struct batch *batch = filling;

    filling = NULL;
    batch->end = PUT(batch->end, "]}}");
    if (newest)
        newest->newer = batch;
    else
        oldest = batch;
    newest = batch;
    floor_send(multi, batch->easy, batch->body, (size_t)(batch->end - batch->body), &counts);
}

static void finish_batch(struct batch *batch)
{
    uint64_t last = 0;

    batch->done = true;
    counts.messages += batch->count;
    while (oldest && oldest->done) {
        batch = oldest;
        last = batch->last_tag;
        oldest = batch->newer;
        if (!oldest)
            newest = NULL;
        batch->next = idle;
        idle = batch;
    }
    if (last && amqp_basic_ack(connection, CHANNEL, last, 1))
        die("acknowledging", "the connection failed");
}

static void take_answers(void)
{
    struct batch *batch;

    while ((batch = floor_answer(multi, &counts)))
        finish_batch(batch);
}

/* ---- deliveries ---- */

static void begin_record(const amqp_basic_properties_t *properties)
{
    size_t room = room_for(properties) + 64, used;

    if (!filling)
        begin_batch();
    used = (size_t)(filling->end - filling->body);
    if (used + room > filling->capacity) {
        filling->capacity = (used + room) * 2;
        filling->body = realloc(filling->body, filling->capacity);
        filling->end = filling->body + used;
    }
    if (filling->count)
        *filling->end++ = ',';
    filling->end = put_properties(filling->end, properties);
}

static void end_record(const void *data)
{
    filling->end = put_base64(filling->end, data, body_size);
    filling->end = PUT(filling->end, "\"}");
    filling->last_tag = tag;
    if (++filling->count == options.batch)
        send_batch();
    amqp_maybe_release_buffers(connection);
}

static void on_body(amqp_bytes_t piece)
{
    if (piece.len == body_size) {
        end_record(piece.bytes);
        return;
    }
    if (body_size > body_capacity)
        body = realloc(body, body_capacity = body_size);
    memcpy(body + body_at, piece.bytes, piece.len);
    body_at += piece.len;
    if (body_at == body_size)
        end_record(body);
}

static void on_frame(const amqp_frame_t *frame)
{
    const amqp_basic_deliver_t *deliver = frame->payload.method.decoded;

    floor_begin(&counts);
    if (frame->frame_type == AMQP_FRAME_HEADER) {
        body_size = frame->payload.properties.body_size;
        body_at = 0;
        begin_record(frame->payload.properties.decoded);
        if (!body_size)
            end_record("");
    } else if (frame->frame_type == AMQP_FRAME_BODY) {
        on_body(frame->payload.body_fragment);
    } else if (frame->payload.method.id == AMQP_BASIC_DELIVER_METHOD) {
        tag = deliver->delivery_tag;
        redelivered = deliver->redelivered;
    } else {
        die("consuming", "the broker sent something else than a delivery");
    }
}

/* Returns whether it stopped for want of an idle request, so that there may be more. */
static bool take_messages(void)
{
    while (filling || idle) {
        amqp_frame_t frame;
        int status = amqp_simple_wait_frame_noblock(connection, &frame, &(struct timeval){0, 0});

        if (status == AMQP_STATUS_TIMEOUT) {
            if (filling && now_us() - filling_since_us >= WINDOW_US)
                send_batch();
            return false;
        }
        if (status)
            die("consuming", amqp_error_string2(status));
        on_frame(&frame);
    }
    return true;
}

/* ---- set-up ---- */

static void make_batches(void)
{
    multi = floor_multi(options.in_flight);
    for (int i = 0; i < options.in_flight; i++) {
        struct batch *batch = calloc(1, sizeof *batch);

        batch->capacity = 1024 + 2 * strlen(options.queue);
        batch->body = malloc(batch->capacity);
        batch->easy = floor_request(options.url, batch);
        batch->next = idle;
        idle = batch;
    }
}

static void consume(void)
{
    struct curl_waitfd wait = {.fd = amqp_get_sockfd(connection), .events = CURL_WAIT_POLLIN};
    int running;

    amqp_basic_qos(connection, CHANNEL, 0, (uint16_t)options.prefetch, 0);
    expect("prefetch", amqp_get_rpc_reply(connection));
    amqp_basic_consume(connection, CHANNEL, amqp_cstring_bytes(options.queue), amqp_empty_bytes, 0,
                       0, 0, amqp_empty_table);
    expect("consuming", amqp_get_rpc_reply(connection));
    while (counts.messages < options.messages) {
        bool more = take_messages();

        curl_multi_perform(multi, &running);
        take_answers();
        if (more || amqp_frames_enqueued(connection) || amqp_data_in_buffer(connection))
            curl_multi_poll(multi, NULL, 0, idle || filling ? 0 : 1000, NULL);
        else
            curl_multi_poll(multi, &wait, 1, filling ? 5 : 1000, NULL);
    }
    floor_report(&counts);
}

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {
        {"port", 1, NULL, 'p'},     {"queue", 1, NULL, 'q'},     {"url", 1, NULL, 'u'},
        {"batch", 1, NULL, 'n'},    {"in-flight", 1, NULL, 'f'}, {"messages", 1, NULL, 'm'},
        {"prefetch", 1, NULL, 'e'}, {"fill", 1, NULL, 'i'},      {"size", 1, NULL, 's'},
        {"ids", 0, NULL, 'd'},      {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, arguments, "", known, NULL)) >= 0) {
        switch (option) {
        case 'p':
            options.port = atoi(optarg);
            break;
        case 'q':
            options.queue = optarg;
            break;
        case 'u':
            options.url = optarg;
            break;
        case 'n':
            options.batch = atoi(optarg);
            break;
        case 'f':
            options.in_flight = atoi(optarg);
            break;
        case 'm':
            options.messages = atoll(optarg);
            break;
        case 'e':
            options.prefetch = atoi(optarg);
            break;
        case 'i':
            options.fill = atoll(optarg);
            break;
        case 's':
            options.size = atoll(optarg);
            break;
        case 'd':
            options.ids = true;
            break;
        default:
            exit(64);
        }
    }
    if (!options.port || !options.queue || (!options.url && !options.fill) || options.batch < 1 ||
        options.in_flight < 1 || options.size < 64)
        die("usage", "floor_rabbitmq --port P --queue Q (--url U [--batch N] [--in-flight N] "
                     "[--messages N] [--prefetch N] | --fill N [--size BYTES] [--ids])");
}

int main(int count, char **arguments)
{
    read_options(count, arguments);
    log_in();
    if (options.fill) {
        fill();
    } else {
        make_pairs();
        curl_global_init(CURL_GLOBAL_DEFAULT);
        make_batches();
        consume();
    }
    amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
    return counts.failed ? 1 : 0;
}
