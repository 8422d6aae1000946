/* SPDX-License-Identifier: MIT
 * Deliveries as messages. A header of a message has bytes only, so that what AMQP says besides goes into
 * headers with names of our own, and into one behind a header that is no string:
 *   amqp:fieldType    the AMQP type of the header just before it (a letter of RabbitMQ's field types);
 *                     without one it is a string (S)
 *   amqp:contentType, contentEncoding, deliveryMode, priority, correlationId, replyTo, expiration,
 *   messageId, timestamp (seconds), type, userId, appId, clusterId
 *                     the basic properties that the message has
 *   amqp:redelivered  `true` where it was delivered before
 *   amqp:exchange, amqp:routingKey   unless the queue's own name was its address
 *   amqp:vhost        unless it is /
 * Values that are no strings are written as JSON, see text_add_field. */
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define QUEUE_NAME_MOST 255 /* of AMQP */

struct part {
    size_t name, name_size, value, value_size; /* into the text */
    bool absent;
};

struct builder {
    struct text text;
    struct part *parts; /* `first`, or own memory */
    struct part first[32];
    size_t count, room;
};

static struct part *add_part(struct builder *builder, const void *name, size_t size)
{
    struct part *part;

    if (builder->count == builder->room) {
        size_t room = builder->room * 2;
        struct part *larger = malloc(room * sizeof *larger);

        if (!larger) {
            builder->text.failed = true;
            builder->count--; /* the message is given up anyway */
        } else {
            memcpy(larger, builder->parts, builder->count * sizeof *larger);
            if (builder->parts != builder->first)
                free(builder->parts);
            builder->parts = larger;
            builder->room = room;
        }
    }
    part = &builder->parts[builder->count++];
    *part = (struct part){.name = builder->text.size, .name_size = size};
    text_add(&builder->text, name, size);
    part->value = builder->text.size;
    return part;
}

static void end_part(struct builder *builder, struct part *part)
{
    part->value_size = builder->text.size - part->value;
}

static void add_bytes(struct builder *builder, const char *name, amqp_bytes_t bytes)
{
    struct part *part = add_part(builder, name, strlen(name));

    text_add(&builder->text, bytes.bytes, bytes.len);
    end_part(builder, part);
}

static void add_text(struct builder *builder, const char *name, const char *value)
{
    add_bytes(builder, name, (amqp_bytes_t){strlen(value), (void *)(uintptr_t)value});
}

/* snprintf takes longer than all else that is done for a message. */
static char *put_number(char *out, uint64_t number)
{
    char digits[20], *at = digits + sizeof digits;

    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    memcpy(out, at, (size_t)(digits + sizeof digits - at));
    return out + (digits + sizeof digits - at);
}

static char *put_text(char *out, const char *text, size_t most)
{
    size_t size = strnlen(text, most);

    memcpy(out, text, size);
    return out + size;
}

static void add_number(struct builder *builder, const char *name, uint64_t number)
{
    char digits[20];

    add_bytes(builder, name, (amqp_bytes_t){(size_t)(put_number(digits, number) - digits), digits});
}

static void add_header(struct builder *builder, const amqp_table_entry_t *entry)
{
    struct part *part = add_part(builder, entry->key.bytes, entry->key.len);
    char type[2] = {(char)entry->value.kind, '\0'};

    if (entry->value.kind == AMQP_FIELD_KIND_UTF8 || entry->value.kind == AMQP_FIELD_KIND_BYTES)
        text_add(&builder->text, entry->value.value.bytes.bytes, entry->value.value.bytes.len);
    else if (entry->value.kind == AMQP_FIELD_KIND_VOID)
        part->absent = true;
    else
        text_add_field(&builder->text, &entry->value);
    end_part(builder, part);
    if (entry->value.kind != AMQP_FIELD_KIND_UTF8 && entry->value.kind != AMQP_FIELD_KIND_VOID)
        add_text(builder, "amqp:fieldType", type);
}

static void add_properties(struct builder *builder, const amqp_basic_properties_t *properties)
{
    const struct {
        amqp_flags_t flag;
        const char *name;
        const amqp_bytes_t *value;
    } texts[] = {
        {AMQP_BASIC_CONTENT_TYPE_FLAG, "amqp:contentType", &properties->content_type},
        {AMQP_BASIC_CONTENT_ENCODING_FLAG, "amqp:contentEncoding", &properties->content_encoding},
        {AMQP_BASIC_CORRELATION_ID_FLAG, "amqp:correlationId", &properties->correlation_id},
        {AMQP_BASIC_REPLY_TO_FLAG, "amqp:replyTo", &properties->reply_to},
        {AMQP_BASIC_EXPIRATION_FLAG, "amqp:expiration", &properties->expiration},
        {AMQP_BASIC_MESSAGE_ID_FLAG, "amqp:messageId", &properties->message_id},
        {AMQP_BASIC_TYPE_FLAG, "amqp:type", &properties->type},
        {AMQP_BASIC_USER_ID_FLAG, "amqp:userId", &properties->user_id},
        {AMQP_BASIC_APP_ID_FLAG, "amqp:appId", &properties->app_id},
        {AMQP_BASIC_CLUSTER_ID_FLAG, "amqp:clusterId", &properties->cluster_id},
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (properties->_flags & texts[i].flag)
            add_bytes(builder, texts[i].name, *texts[i].value);
    if (properties->_flags & AMQP_BASIC_DELIVERY_MODE_FLAG)
        add_number(builder, "amqp:deliveryMode", properties->delivery_mode);
    if (properties->_flags & AMQP_BASIC_PRIORITY_FLAG)
        add_number(builder, "amqp:priority", properties->priority);
    if (properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG)
        add_number(builder, "amqp:timestamp", properties->timestamp);
}

static bool is_text(amqp_bytes_t bytes, const char *text)
{
    return bytes.len == strlen(text) && !memcmp(bytes.bytes, text, bytes.len);
}

static void add_origin(struct builder *builder, const struct rabbit_origin *origin)
{
    if (origin->redelivered)
        add_text(builder, "amqp:redelivered", "true");
    if (origin->exchange.len || !is_text(origin->routing_key, origin->queue)) {
        add_bytes(builder, "amqp:exchange", origin->exchange);
        add_bytes(builder, "amqp:routingKey", origin->routing_key);
    }
    if (strcmp(origin->vhost, "/"))
        add_text(builder, "amqp:vhost", origin->vhost);
}

/* Quorum queues count on every delivery; a count of 0 says nothing and is left out. */
static bool is_first_delivery(const amqp_table_entry_t *entry)
{
    return is_text(entry->key, "x-delivery-count") && entry->value.kind == AMQP_FIELD_KIND_I64 &&
           !entry->value.value.i64;
}

bool rabbit_stream_offset(const amqp_basic_properties_t *properties, uint64_t *ret_offset)
{
    const amqp_table_t *headers = &properties->headers;

    if (!(properties->_flags & AMQP_BASIC_HEADERS_FLAG))
        return false;
    /* The broker puts its own first. */
    for (int i = 0; i < headers->num_entries; i++)
        if (is_text(headers->entries[i].key, "x-stream-offset") &&
            headers->entries[i].value.kind == AMQP_FIELD_KIND_I64 &&
            headers->entries[i].value.value.i64 >= 0) {
            *ret_offset = (uint64_t)headers->entries[i].value.value.i64;
            return true;
        }
    return false;
}

int64_t rabbit_danger(int64_t limit)
{
    int64_t left = limit / 4 > 2 ? limit / 4 : 2;

    if (limit <= 0)
        return limit < 0 ? -1 : 0;
    return limit > left ? limit - left : 1;
}

/* Only quorum queues count, and they alone have a limit. */
static void read_headers(struct rabbit_message *message, const amqp_table_t *headers, int64_t danger)
{
    for (int i = 0; i < headers->num_entries; i++) {
        const amqp_table_entry_t *entry = &headers->entries[i];

        if (entry->value.kind != AMQP_FIELD_KIND_I64)
            continue;
        if (!is_text(entry->key, "x-delivery-count") || entry->value.value.i64 < 0 ||
            entry->value.value.i64 >= UINT32_MAX)
            continue;
        message->delivery_count = (uint32_t)entry->value.value.i64;
        message->endangered = danger >= 0 && entry->value.value.i64 >= danger;
    }
}

/* Lays the message out: itself, its headers, their text, its names, its body. */
static struct rabbit_message *lay_out(const struct builder *builder, const char *identity,
                                      size_t identity_size, amqp_bytes_t id, size_t body_size)
{
    size_t headers_size = builder->count * sizeof(struct sluice_header);
    struct rabbit_message *message =
        builder->text.failed ? NULL
                             : malloc(sizeof *message + headers_size + builder->text.size +
                                      identity_size + id.len + body_size + 1);
    char *text;

    if (!message)
        return NULL;
    *message = (struct rabbit_message){.size = sizeof *message + headers_size + builder->text.size +
                                               identity_size + id.len + body_size,
                                       .headers = (struct sluice_header *)(message + 1),
                                       .header_count = builder->count};
    text = (char *)(message->headers + builder->count);
    memcpy(text, builder->text.data, builder->text.size);
    for (size_t i = 0; i < builder->count; i++) {
        const struct part *part = &builder->parts[i];

        message->headers[i] = (struct sluice_header){
            {text + part->name, part->name_size},
            {part->absent ? NULL : text + part->value, part->value_size}};
    }
    text += builder->text.size;
    memcpy(text, identity, identity_size);
    message->identity = (struct sluice_bytes){identity_size ? text : NULL, identity_size};
    text += identity_size;
    if (id.len) {
        memcpy(text, id.bytes, id.len);
        message->message_id = (struct sluice_bytes){text, id.len};
    }
    message->payload = (struct sluice_bytes){text + id.len, body_size};
    return message;
}

/* QUEUE/SESSION-GENERATION-TAG; returns its end. */
static char *write_identity(char *out, const struct rabbit_origin *origin)
{
    out = put_text(out, origin->queue, QUEUE_NAME_MOST);
    *out++ = '/';
    out = put_text(out, origin->session, RABBIT_SESSION);
    *out++ = '-';
    out = put_number(out, origin->generation);
    *out++ = '-';
    return put_number(out, origin->tag);
}

struct rabbit_message *rabbit_message_new(const struct rabbit_origin *origin,
                                          const amqp_basic_properties_t *properties,
                                          size_t body_size)
{
    struct builder builder;
    struct rabbit_message *message;
    amqp_bytes_t id = {0, NULL};
    char identity[QUEUE_NAME_MOST + RABBIT_SESSION + 48];
    uint64_t offset = 0;
    bool is_from_stream = rabbit_stream_offset(properties, &offset);
    size_t identity_size =
        origin->is_stream ? 0 : (size_t)(write_identity(identity, origin) - identity);

    builder.count = 0;
    builder.parts = builder.first;
    builder.room = sizeof builder.first / sizeof builder.first[0];
    text_init(&builder.text);
    if (properties->_flags & AMQP_BASIC_HEADERS_FLAG)
        for (int i = 0; i < properties->headers.num_entries; i++)
            if (!is_first_delivery(&properties->headers.entries[i]))
                add_header(&builder, &properties->headers.entries[i]);
    add_properties(&builder, properties);
    add_origin(&builder, origin);
    if (properties->_flags & AMQP_BASIC_MESSAGE_ID_FLAG)
        id = properties->message_id;
    message = lay_out(&builder, identity, identity_size, id, body_size);
    if (message) {
        message->tag = origin->tag;
        message->offset = offset;
        message->is_from_stream = is_from_stream;
        message->generation = origin->generation;
        message->has_timestamp = properties->_flags & AMQP_BASIC_TIMESTAMP_FLAG &&
                                 properties->timestamp < INT64_MAX / 1000;
        message->timestamp_ms =
            message->has_timestamp ? (int64_t)properties->timestamp * 1000 : 0;
        if (properties->_flags & AMQP_BASIC_HEADERS_FLAG)
            read_headers(message, &properties->headers, origin->danger);
    }
    text_fini(&builder.text);
    if (builder.parts != builder.first)
        free(builder.parts);
    return message;
}

void rabbit_message_convert(const struct rabbit_message *from, bool is_stream, struct sluice_message *to)
{
    *to = (struct sluice_message){
        .position = is_stream ? from->offset : from->tag,
        .payload = from->payload,
        .identity = from->identity,
        .message_id = from->message_id,
        .timestamp_ms = from->timestamp_ms,
        .timestamp_kind = from->has_timestamp ? SLUICE_TIMESTAMP_CREATED : SLUICE_TIMESTAMP_NONE,
        .delivery_count = from->delivery_count,
        .has_headers = from->header_count > 0,
        .endangered = from->endangered,
    };
}
