/* SPDX-License-Identifier: MIT
 * AWS's `aws:rmq` event (AWS Lambda developer guide, "Using Lambda with Amazon MQ", event shape):
 *   {"eventSource":"aws:rmq","eventSourceArn":"arn:aws:mq:::broker:h1:5672",
 *    "rmqMessagesByQueue":{"queue::/":[
 *     {"basicProperties":{"contentType":"text/plain","contentEncoding":null,
 *       "headers":{"h":{"bytes":[118,97]},"n":10},"deliveryMode":1,"priority":34,
 *       "correlationId":null,"replyTo":null,"expiration":"60000","messageId":null,
 *       "timestamp":"Jan 1, 1970, 12:33:41 AM","type":null,"userId":"user","appId":null,
 *       "clusterId":null,"bodySize":80},
 *      "redelivered":false,"data":"<base64>"}]}}
 * Properties, vhost and types come from the headers that the connector made of them (`amqp:...`, see
 * sluice-rabbitmq(7)). Where AWS documents nothing: bytes are signed, as Java's; tables and arrays are
 * objects and arrays, as in the header's text; the ARN, which only AWS's own brokers have, names the
 * servers. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/json_scan.h"
#include "core/envelope_shapes.h"

#define OWN "amqp:"

static bool is_text(const struct sluice_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && !memcmp(bytes->data, text, bytes->size);
}

/* What a message has besides headers of its own. */
enum own {
    CONTENT_TYPE,
    CONTENT_ENCODING,
    DELIVERY_MODE,
    PRIORITY,
    CORRELATION_ID,
    REPLY_TO,
    EXPIRATION,
    MESSAGE_ID,
    TYPE,
    USER_ID,
    APP_ID,
    CLUSTER_ID,
    REDELIVERED,
    VHOST,
    OWN_COUNT
};

static const char *const own_names[OWN_COUNT] = {
    "contentType", "contentEncoding", "deliveryMode", "priority", "correlationId",
    "replyTo",     "expiration",      "messageId",    "type",     "userId",
    "appId",       "clusterId",       "redelivered",  "vhost"};

static bool is_own(const struct sluice_bytes *name)
{
    return name->size >= strlen(OWN) && !memcmp(name->data, OWN, strlen(OWN));
}

/* NULL where it has none. Behind the headers that a producer named so: the last ones are the connector's. */
static void find_own(const struct envelope_record *record, const struct sluice_bytes *ret[OWN_COUNT])
{
    for (int own = 0; own < OWN_COUNT; own++)
        ret[own] = NULL;
    for (size_t i = 0; i < record->header_count; i++) {
        const struct sluice_header *header = &record->headers[i];
        struct sluice_bytes name;

        if (!is_own(&header->name))
            continue;
        name = (struct sluice_bytes){(const char *)header->name.data + strlen(OWN),
                                     header->name.size - strlen(OWN)};
        for (int own = 0; own < OWN_COUNT; own++)
            if (is_text(&name, own_names[own]))
                ret[own] = &header->value;
    }
}

static void add_string(struct buffer *buffer, const void *data, size_t size)
{
    buffer_add_text(buffer, "\"");
    envelope_add_text(buffer, data, size);
    buffer_add_text(buffer, "\"");
}

/* ---- headers ---- */

/* A producer may name a header as one of the connector's: what goes into the event as it is must be
 * looked at. */
static bool is_json(const struct sluice_bytes *value)
{
    return json_scan(value->data, value->size, NULL, 0, NULL);
}

static void add_bytes(struct buffer *buffer, const struct sluice_bytes *value)
{
    const signed char *bytes = value->data;

    buffer_add_text(buffer, "{\"bytes\":[");
    for (size_t i = 0; i < value->size; i++) {
        if (i)
            buffer_add_text(buffer, ",");
        buffer_add_number(buffer, bytes[i]);
    }
    buffer_add_text(buffer, "]}");
}

/* The type that the header behind it names; 'S' for a string. */
static char type_of(const struct envelope_record *record, size_t index)
{
    const struct sluice_header *next = &record->headers[index + 1];

    if (index + 1 < record->header_count && is_text(&next->name, OWN "fieldType") &&
        next->value.size == 1)
        return *(const char *)next->value.data;
    return 'S';
}

static void add_headers(struct buffer *buffer, const struct envelope_record *record)
{
    bool first = true;

    buffer_add_text(buffer, "{");
    for (size_t i = 0; i < record->header_count; i++) {
        const struct sluice_header *header = &record->headers[i];
        char type;

        if (is_own(&header->name))
            continue;
        buffer_add_text(buffer, first ? "" : ",");
        first = false;
        add_string(buffer, header->name.data, header->name.size);
        buffer_add_text(buffer, ":");
        type = type_of(record, i);
        if (!header->value.data)
            buffer_add_text(buffer, "null");
        else if (type == 'S' || type == 'x' || !is_json(&header->value))
            add_bytes(buffer, &header->value);
        else
            buffer_add(buffer, header->value.data, header->value.size); /* JSON already */
    }
    buffer_add_text(buffer, "}");
}

/* ---- properties ---- */

/* `member` is its name, quoted, with the colon. */
static void add_member(struct buffer *buffer, const char *member, size_t member_size,
                       const struct sluice_bytes *value, bool is_number)
{
    size_t size;
    char *out;

    is_number = is_number && value && is_json(value);
    size = !value      ? strlen("null")
           : is_number ? value->size
                       : json_text_size(value->data, value->size) + 2;
    if (!buffer_reserve(buffer, member_size + size))
        return;
    out = envelope_put(buffer->data + buffer->size, member, member_size);
    if (!value) {
        out = ENVELOPE_PUT(out, "null");
    } else if (is_number) {
        out = envelope_put(out, value->data, value->size);
    } else {
        *out++ = '"';
        out = json_text_write(out, value->data, value->size);
        *out++ = '"';
    }
    buffer->size = (size_t)(out - buffer->data);
}

#define ADD_TEXT(buffer, member, value)   add_member(buffer, member, strlen(member), value, false)
#define ADD_NUMBER(buffer, member, value) add_member(buffer, member, strlen(member), value, true)

/* As Java's DateFormat writes it: "Jan 1, 1970, 12:33:41 AM", in UTC. */
static void add_timestamp(struct buffer *buffer, const struct sluice_message *message)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(message->timestamp_ms / 1000);
    struct tm at;

    buffer_add_text(buffer, ",\"timestamp\":");
    if (message->timestamp_kind == SLUICE_TIMESTAMP_NONE || !gmtime_r(&seconds, &at))
        buffer_add_text(buffer, "null");
    else
        buffer_format(buffer, "\"%s %d, %" PRId64 ", %d:%02d:%02d %s\"", months[at.tm_mon],
                      at.tm_mday, (int64_t)at.tm_year + 1900,
                      at.tm_hour % 12 ? at.tm_hour % 12 : 12, at.tm_min, at.tm_sec,
                      at.tm_hour < 12 ? "AM" : "PM");
}

static void add_properties(struct buffer *buffer, const struct envelope_record *record,
                           const struct sluice_bytes *const own[OWN_COUNT])
{
    ADD_TEXT(buffer, "{\"contentType\":", own[CONTENT_TYPE]);
    ADD_TEXT(buffer, ",\"contentEncoding\":", own[CONTENT_ENCODING]);
    buffer_add_text(buffer, ",\"headers\":");
    add_headers(buffer, record);
    ADD_NUMBER(buffer, ",\"deliveryMode\":", own[DELIVERY_MODE]);
    ADD_NUMBER(buffer, ",\"priority\":", own[PRIORITY]);
    ADD_TEXT(buffer, ",\"correlationId\":", own[CORRELATION_ID]);
    ADD_TEXT(buffer, ",\"replyTo\":", own[REPLY_TO]);
    ADD_TEXT(buffer, ",\"expiration\":", own[EXPIRATION]);
    ADD_TEXT(buffer, ",\"messageId\":", own[MESSAGE_ID]);
    add_timestamp(buffer, record->message);
    ADD_TEXT(buffer, ",\"type\":", own[TYPE]);
    ADD_TEXT(buffer, ",\"userId\":", own[USER_ID]);
    ADD_TEXT(buffer, ",\"appId\":", own[APP_ID]);
    ADD_TEXT(buffer, ",\"clusterId\":", own[CLUSTER_ID]);
    buffer_add_text(buffer, ",\"bodySize\":");
    buffer_add_unsigned(buffer, record->message->payload.size);
    buffer_add_text(buffer, "}");
}

/* ---- messages ---- */

static void add_record(struct buffer *buffer, const struct envelope_record *record,
                       const struct sluice_bytes *const own[OWN_COUNT])
{
    bool again = own[REDELIVERED] || record->message->delivery_count;

    buffer_add_text(buffer, "{\"basicProperties\":");
    add_properties(buffer, record, own);
    buffer_add_text(buffer, again ? ",\"redelivered\":true" : ",\"redelivered\":false");
    buffer_add_text(buffer, ",\"data\":\"");
    envelope_add_base64(buffer, &record->message->payload);
    buffer_add_text(buffer, "\"}");
}

static void add_group_start(struct buffer *buffer, const struct envelope_record *record,
                            const struct sluice_bytes *vhost, bool first)
{
    buffer_add_text(buffer, first ? "\"" : "],\"");
    envelope_add_text(buffer, record->source, strlen(record->source));
    buffer_add_text(buffer, "::");
    if (vhost)
        envelope_add_text(buffer, vhost->data, vhost->size);
    else
        buffer_add_text(buffer, "/");
    buffer_add_text(buffer, "\":[");
}

void envelope_rabbitmq_write(struct buffer *buffer, const struct envelope_context *context,
                             const struct envelope_record *records, size_t count)
{
    const struct envelope_record **sorted = envelope_sort_by_place(records, count);
    const char *servers = context->servers ? context->servers : "";

    buffer_add_text(buffer, "{\"eventSource\":\"aws:rmq\",\"eventSourceArn\":\"arn:aws:mq:::broker:");
    envelope_add_text(buffer, servers, strlen(servers));
    buffer_add_text(buffer, "\",\"rmqMessagesByQueue\":{");
    for (size_t i = 0; i < count && !buffer->full; i++) {
        const struct sluice_bytes *own[OWN_COUNT];

        find_own(sorted[i], own);
        if (i == 0 || envelope_compare_places(sorted[i - 1], sorted[i]))
            add_group_start(buffer, sorted[i], own[VHOST], i == 0);
        else
            buffer_add_text(buffer, ",");
        add_record(buffer, sorted[i], own);
    }
    buffer_add_text(buffer, count ? "]}}" : "}}");
    free(sorted);
}
