/* SPDX-License-Identifier: MIT
 * From what the host publishes to an AMQP message: the way back of message.c. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "publish.h"

#define PERSISTENT   2
#define POOL_PAGE    4096
#define NAME_MOST    255    /* of a header, an exchange, a routing key */
#define HEADERS_MOST 120000 /* bytes: they must fit into one frame, with the properties */
#define ENTRY_SIZE   8      /* of a header, besides its name and value */

static bool is_name(struct sluice_bytes bytes, const char *name)
{
    return bytes.size == strlen(name) && !memcmp(bytes.data, name, bytes.size);
}

static bool same_name(struct sluice_bytes a, struct sluice_bytes b)
{
    return a.size == b.size && !memcmp(a.data, b.data, a.size);
}

static amqp_bytes_t copy(amqp_pool_t *pool, const void *data, size_t size)
{
    amqp_bytes_t bytes = {size, amqp_pool_alloc(pool, size ? size : 1)};

    if (bytes.bytes && size)
        memcpy(bytes.bytes, data, size);
    return bytes;
}

static amqp_bytes_t copy_bytes(amqp_pool_t *pool, struct sluice_bytes bytes)
{
    return copy(pool, bytes.data, bytes.size);
}

static void refuse(struct rabbit_publication *publication, const char *why)
{
    char place[RABBIT_TEXT / 2];

    if (publication->error[0])
        return;
    publication->never = true;
    snprintf(publication->error, sizeof publication->error, "%s: %.200s",
             rabbit_publication_place(publication, place, sizeof place), why);
}

/* ---- where ---- */

const char *rabbit_publication_place(const struct rabbit_publication *publication, char *text,
                                     size_t room)
{
    const amqp_bytes_t exchange = publication->exchange, key = publication->routing_key;

    if (exchange.len)
        snprintf(text, room, "exchange %.*s with the routing key \"%.*s\"", (int)exchange.len,
                 (const char *)exchange.bytes, (int)key.len, (const char *)key.bytes);
    else
        snprintf(text, room, "queue %.*s", (int)key.len, (const char *)key.bytes);
    return text;
}

static void address(struct rabbit_publication *publication, const struct rabbit_config *config,
                    const char *destination)
{
    amqp_pool_t *pool = &publication->pool;
    const char *exchange = "", *key = destination, *slash;
    size_t exchange_size = 0;

    if (!destination) {
        exchange = config->exchange ? config->exchange : "";
        exchange_size = strlen(exchange);
        key = config->exchange ? config->routing_key : config->queues[0];
    } else if ((slash = strchr(destination, '/'))) {
        size_t i = 0;

        while (i < config->queue_count && strcmp(config->queues[i], destination) != 0)
            i++;
        if (i == config->queue_count) {
            exchange = destination;
            exchange_size = (size_t)(slash - destination);
            key = slash + 1;
        }
    }
    publication->exchange = copy(pool, exchange, exchange_size);
    publication->routing_key = copy(pool, key, strlen(key));
    if (exchange_size > NAME_MOST || strlen(key) > NAME_MOST)
        refuse(publication, "names of more than 255 bytes are none in AMQP");
}

/* ---- properties ---- */

static bool read_property_text(struct rabbit_publication *publication,
                               const struct sluice_header *header)
{
    amqp_basic_properties_t *properties = &publication->properties;
    const struct {
        const char *name;
        amqp_flags_t flag;
        amqp_bytes_t *to;
    } texts[] = {
        {"amqp:contentType", AMQP_BASIC_CONTENT_TYPE_FLAG, &properties->content_type},
        {"amqp:contentEncoding", AMQP_BASIC_CONTENT_ENCODING_FLAG, &properties->content_encoding},
        {"amqp:correlationId", AMQP_BASIC_CORRELATION_ID_FLAG, &properties->correlation_id},
        {"amqp:replyTo", AMQP_BASIC_REPLY_TO_FLAG, &properties->reply_to},
        {"amqp:messageId", AMQP_BASIC_MESSAGE_ID_FLAG, &properties->message_id},
        {"amqp:type", AMQP_BASIC_TYPE_FLAG, &properties->type},
        {"amqp:appId", AMQP_BASIC_APP_ID_FLAG, &properties->app_id},
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (!is_name(header->name, texts[i].name) || header->value.size > NAME_MOST ||
            properties->_flags & texts[i].flag)
            continue;
        properties->_flags |= texts[i].flag;
        *texts[i].to = copy_bytes(&publication->pool, header->value);
        return true;
    }
    return false;
}

/* Whether the header is a property again, or tells of a delivery that is over. What would make the
 * message expire, or be refused for another user's name, stays a header. */
static bool read_property(struct rabbit_publication *publication,
                          const struct sluice_header *header)
{
    amqp_basic_properties_t *properties = &publication->properties;
    amqp_field_value_t number;

    if (header->name.size < 5 || memcmp(header->name.data, "amqp:", 5) != 0 || !header->value.data)
        return false;
    if (is_name(header->name, "amqp:redelivered") || is_name(header->name, "amqp:deliveryMode"))
        return true;
    if (is_name(header->name, "amqp:priority") &&
        rabbit_read_field(&publication->pool, AMQP_FIELD_KIND_U8, header->value, &number)) {
        properties->_flags |= AMQP_BASIC_PRIORITY_FLAG;
        properties->priority = number.value.u8;
        return true;
    }
    if (is_name(header->name, "amqp:timestamp") &&
        rabbit_read_field(&publication->pool, AMQP_FIELD_KIND_TIMESTAMP, header->value, &number)) {
        properties->_flags |= AMQP_BASIC_TIMESTAMP_FLAG;
        properties->timestamp = number.value.u64;
        return true;
    }
    return read_property_text(publication, header);
}

/* ---- headers ---- */

static amqp_field_value_t text_value(amqp_pool_t *pool, struct sluice_bytes value)
{
    amqp_field_value_t field = {.kind = AMQP_FIELD_KIND_VOID};

    if (!value.data)
        return field;
    field.kind = AMQP_FIELD_KIND_UTF8;
    field.value.bytes = copy_bytes(pool, value);
    return field;
}

/* A table has a name once: further values of a name make a list of it. */
static void add_value(struct rabbit_publication *publication, struct sluice_bytes name,
                      amqp_field_value_t value)
{
    amqp_table_t *table = &publication->properties.headers;
    amqp_pool_t *pool = &publication->pool;
    amqp_table_entry_t *entry = NULL;
    amqp_array_t list;

    for (int i = 0; i < table->num_entries && !entry; i++)
        if (same_name(name, (struct sluice_bytes){table->entries[i].key.bytes,
                                                  table->entries[i].key.len}))
            entry = &table->entries[i];
    if (!entry) {
        table->entries[table->num_entries++] =
            (amqp_table_entry_t){copy_bytes(pool, name), value};
        return;
    }
    list = entry->value.value.array;
    if (entry->value.kind != AMQP_FIELD_KIND_ARRAY)
        list = (amqp_array_t){1, &entry->value};
    entry->value.value.array.entries =
        memcpy(amqp_pool_alloc(pool, (size_t)(list.num_entries + 1) * sizeof *list.entries),
               list.entries, (size_t)list.num_entries * sizeof *list.entries);
    entry->value.value.array.entries[list.num_entries] = value;
    entry->value.value.array.num_entries = list.num_entries + 1;
    entry->value.kind = AMQP_FIELD_KIND_ARRAY;
}

/* Whether the header behind says of which type this one is, and it can be that again. */
static bool read_typed(struct rabbit_publication *publication, const struct sluice_header *header,
                       const struct sluice_header *behind, amqp_field_value_t *ret_value)
{
    struct sluice_bytes value = header->value;

    if (!is_name(behind->name, "amqp:fieldType") || behind->value.size != 1 || !value.data)
        return false;
    value.data = copy_bytes(&publication->pool, value).bytes;
    return rabbit_read_field(&publication->pool, *(const char *)behind->value.data, value,
                             ret_value);
}

static void add_headers(struct rabbit_publication *publication,
                        const struct sluice_publication *from)
{
    amqp_basic_properties_t *properties = &publication->properties;
    size_t size = 0;

    properties->headers.entries =
        amqp_pool_alloc(&publication->pool,
                        (from->header_count + 1) * sizeof *properties->headers.entries);
    for (size_t i = 0; i < from->header_count; i++) {
        const struct sluice_header *header = &from->headers[i];
        amqp_field_value_t value;

        size += header->name.size + header->value.size + ENTRY_SIZE;
        if (header->name.size > NAME_MOST)
            refuse(publication, "a header's name has more than 255 bytes, the most that AMQP takes");
        if (size > HEADERS_MOST)
            refuse(publication, "its headers have more than 120000 bytes, the most that fit");
        if (publication->error[0])
            return;
        if (read_property(publication, header))
            continue;
        if (i + 1 < from->header_count && read_typed(publication, header, header + 1, &value))
            i++;
        else
            value = text_value(&publication->pool, header->value);
        add_value(publication, header->name, value);
    }
    if (properties->headers.num_entries)
        properties->_flags |= AMQP_BASIC_HEADERS_FLAG;
}

/* ---- all ---- */

struct rabbit_publication *rabbit_publication_new(const struct rabbit_config *config,
                                                  const struct sluice_publication *from)
{
    struct rabbit_publication *publication = calloc(1, sizeof *publication);

    if (!publication)
        return NULL;
    init_amqp_pool(&publication->pool, POOL_PAGE);
    address(publication, config, from->destination);
    publication->payload = copy_bytes(&publication->pool, from->payload);
    publication->properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG;
    publication->properties.delivery_mode = PERSISTENT;
    add_headers(publication, from);
    publication->size = from->payload.size;
    for (size_t i = 0; i < from->header_count; i++)
        publication->size += from->headers[i].name.size + from->headers[i].value.size;
    return publication;
}

void rabbit_publication_free(struct rabbit_publication *publication)
{
    empty_amqp_pool(&publication->pool);
    free(publication);
}
