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

#include "core/envelope_shapes.h"

#define OWN "amqp:"

static bool is_text(const struct sluice_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && !memcmp(bytes->data, text, bytes->size);
}

/* NULL: it has none. */
static const struct sluice_bytes *find(const struct envelope_record *record, const char *name)
{
    for (size_t i = 0; i < record->header_count; i++)
        if (is_text(&record->headers[i].name, name))
            return &record->headers[i].value;
    return NULL;
}

static void add_string(struct buffer *buffer, const void *data, size_t size)
{
    buffer_add_text(buffer, "\"");
    envelope_add_text(buffer, data, size);
    buffer_add_text(buffer, "\"");
}

/* ---- headers ---- */

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

static bool is_own(const struct sluice_bytes *name)
{
    return name->size >= strlen(OWN) && !memcmp(name->data, OWN, strlen(OWN));
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
        else if (type == 'S' || type == 'x')
            add_bytes(buffer, &header->value);
        else
            buffer_add(buffer, header->value.data, header->value.size); /* JSON already */
    }
    buffer_add_text(buffer, "}");
}

/* ---- properties ---- */

static void add_property(struct buffer *buffer, const struct envelope_record *record,
                         const char *header_name, bool is_number)
{
    const struct sluice_bytes *value = find(record, header_name);
    const char *name = header_name + strlen(OWN);

    add_string(buffer, name, strlen(name));
    buffer_add_text(buffer, ":");
    if (!value)
        buffer_add_text(buffer, "null");
    else if (is_number)
        buffer_add(buffer, value->data, value->size);
    else
        add_string(buffer, value->data, value->size);
    buffer_add_text(buffer, ",");
}

/* As Java's DateFormat writes it: "Jan 1, 1970, 12:33:41 AM", in UTC. */
static void add_timestamp(struct buffer *buffer, const struct sluice_message *message)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t seconds = (time_t)(message->timestamp_ms / 1000);
    struct tm at;

    buffer_add_text(buffer, "\"timestamp\":");
    if (message->timestamp_kind == SLUICE_TIMESTAMP_NONE || !gmtime_r(&seconds, &at))
        buffer_add_text(buffer, "null,");
    else
        buffer_format(buffer, "\"%s %d, %" PRId64 ", %d:%02d:%02d %s\",", months[at.tm_mon],
                      at.tm_mday, (int64_t)at.tm_year + 1900,
                      at.tm_hour % 12 ? at.tm_hour % 12 : 12, at.tm_min, at.tm_sec,
                      at.tm_hour < 12 ? "AM" : "PM");
}

static void add_properties(struct buffer *buffer, const struct envelope_record *record)
{
    buffer_add_text(buffer, "{");
    add_property(buffer, record, OWN "contentType", false);
    add_property(buffer, record, OWN "contentEncoding", false);
    buffer_add_text(buffer, "\"headers\":");
    add_headers(buffer, record);
    buffer_add_text(buffer, ",");
    add_property(buffer, record, OWN "deliveryMode", true);
    add_property(buffer, record, OWN "priority", true);
    add_property(buffer, record, OWN "correlationId", false);
    add_property(buffer, record, OWN "replyTo", false);
    add_property(buffer, record, OWN "expiration", false);
    add_property(buffer, record, OWN "messageId", false);
    add_timestamp(buffer, record->message);
    add_property(buffer, record, OWN "type", false);
    add_property(buffer, record, OWN "userId", false);
    add_property(buffer, record, OWN "appId", false);
    add_property(buffer, record, OWN "clusterId", false);
    buffer_add_text(buffer, "\"bodySize\":");
    buffer_add_unsigned(buffer, record->message->payload.size);
    buffer_add_text(buffer, "}");
}

/* ---- messages ---- */

static void add_record(struct buffer *buffer, const struct envelope_record *record)
{
    const struct sluice_bytes *payload = &record->message->payload;
    bool again = find(record, OWN "redelivered") || record->message->delivery_count;

    buffer_add_text(buffer, "{\"basicProperties\":");
    add_properties(buffer, record);
    buffer_add_text(buffer, again ? ",\"redelivered\":true" : ",\"redelivered\":false");
    buffer_add_text(buffer, ",\"data\":\"");
    envelope_add_base64(buffer, payload);
    buffer_add_text(buffer, "\"}");
}

static void add_group_start(struct buffer *buffer, const struct envelope_record *record, bool first)
{
    const struct sluice_bytes *vhost = find(record, OWN "vhost");

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
        if (i == 0 || envelope_compare_places(sorted[i - 1], sorted[i]))
            add_group_start(buffer, sorted[i], i == 0);
        else
            buffer_add_text(buffer, ",");
        add_record(buffer, sorted[i]);
    }
    buffer_add_text(buffer, count ? "]}}" : "}}");
    free(sorted);
}
