/* SPDX-License-Identifier: MIT
 * AWS's `SelfManagedKafka` event:
 *   {"eventSource":"SelfManagedKafka","bootstrapServers":"h1:9092,h2:9092","records":{"topic-0":[
 *     {"topic":"topic","partition":0,"offset":15,"timestamp":1545084650987,
 *      "timestampType":"CREATE_TIME","key":"<base64>","value":"<base64>",
 *      "headers":[{"name":[104,101,-61,-85]}]}]}}
 * (AWS Lambda developer guide; header bytes are signed, as Java's.) Where AWS documents nothing:
 *   - no key: the member is absent, as AWS's own clients expect ("key" is optional there);
 *   - tombstone: "value":null;
 *   - header without value: [] (a null there makes some clients refuse the whole event);
 *   - no timestamp: -1 and NO_TIMESTAMP_TYPE, as Kafka's Java client has it. */
#include <stdlib.h>

#include "base/base64.h"
#include "core/envelope_shapes.h"

/* All of a record's member names, punctuation and numbers, the `,` before it included. */
#define FIXED_SIZE 256

static size_t header_value_size(const struct sluice_bytes *value)
{
    const signed char *bytes = value->data;
    size_t size = value->size;

    for (size_t i = 0; i < value->size; i++)
        size += (size_t)(1 + (bytes[i] < 0) + (bytes[i] > 9 || bytes[i] < -9) +
                         (bytes[i] > 99 || bytes[i] < -99));
    return size;
}

/* An upper bound, exact but for FIXED_SIZE. */
static size_t record_size(const struct envelope_record *record, size_t topic_size)
{
    const struct sluice_message *message = record->message;
    size_t size = FIXED_SIZE + topic_size + BASE64_SIZE(message->key.size) +
                  BASE64_SIZE(message->payload.size);

    for (size_t i = 0; i < record->header_count; i++)
        size += sizeof "{\"\":[]}," +
                json_text_size(record->headers[i].name.data, record->headers[i].name.size) +
                header_value_size(&record->headers[i].value);
    return size;
}

static char *put_signed_byte(char *out, signed char byte)
{
    unsigned number = byte < 0 ? 0u - (unsigned)byte : (unsigned)byte;

    if (byte < 0)
        *out++ = '-';
    if (number > 99)
        *out++ = '1';
    if (number > 9)
        *out++ = (char)('0' + number / 10 % 10);
    *out++ = (char)('0' + number % 10);
    return out;
}

static char *put_headers(char *out, const struct envelope_record *record)
{
    for (size_t i = 0; i < record->header_count; i++) {
        const struct sluice_header *header = &record->headers[i];
        const signed char *bytes = header->value.data;

        out = i ? ENVELOPE_PUT(out, ",{\"") : ENVELOPE_PUT(out, "{\"");
        out = json_text_write(out, header->name.data, header->name.size);
        out = ENVELOPE_PUT(out, "\":[");
        for (size_t j = 0; j < header->value.size; j++) {
            if (j)
                *out++ = ',';
            out = put_signed_byte(out, bytes[j]);
        }
        out = ENVELOPE_PUT(out, "]}");
    }
    return out;
}

static char *put_timestamp(char *out, const struct sluice_message *message)
{
    out = ENVELOPE_PUT(out, ",\"timestamp\":");
    if (message->timestamp_kind == SLUICE_TIMESTAMP_NONE)
        return ENVELOPE_PUT(out, "-1,\"timestampType\":\"NO_TIMESTAMP_TYPE\"");
    out = envelope_put_number(out, message->timestamp_ms);
    if (message->timestamp_kind == SLUICE_TIMESTAMP_APPENDED)
        return ENVELOPE_PUT(out, ",\"timestampType\":\"LOG_APPEND_TIME\"");
    return ENVELOPE_PUT(out, ",\"timestampType\":\"CREATE_TIME\"");
}

static void add_record(struct buffer *buffer, const struct envelope_record *record, bool first)
{
    const struct sluice_message *message = record->message;
    size_t raw_topic_size = strlen(record->source);
    size_t topic_size = json_text_size(record->source, raw_topic_size);
    char *out;

    if (!buffer_reserve(buffer, record_size(record, topic_size)))
        return;
    out = buffer->data + buffer->size;
    out = first ? ENVELOPE_PUT(out, "{\"topic\":\"") : ENVELOPE_PUT(out, ",{\"topic\":\"");
    out = json_text_write(out, record->source, raw_topic_size);
    out = ENVELOPE_PUT(out, "\",\"partition\":");
    out = envelope_put_number(out, record->partition);
    out = ENVELOPE_PUT(out, ",\"offset\":");
    out = buffer_put_unsigned(out, message->position);
    out = put_timestamp(out, message);
    if (message->key.data) {
        out = ENVELOPE_PUT(out, ",\"key\":\"");
        out = base64_write(out, message->key.data, message->key.size);
        *out++ = '"';
    }
    if (message->payload.data) {
        out = ENVELOPE_PUT(out, ",\"value\":\"");
        out = base64_write(out, message->payload.data, message->payload.size);
        *out++ = '"';
    } else {
        out = ENVELOPE_PUT(out, ",\"value\":null");
    }
    out = ENVELOPE_PUT(out, ",\"headers\":[");
    out = put_headers(out, record);
    out = ENVELOPE_PUT(out, "]}");
    buffer->size = (size_t)(out - buffer->data);
}

static void add_group_start(struct buffer *buffer, const struct envelope_record *record, bool first)
{
    buffer_add_text(buffer, first ? "\"" : "],\"");
    envelope_add_text(buffer, record->source, strlen(record->source));
    buffer_add_text(buffer, "-");
    buffer_add_number(buffer, record->partition);
    buffer_add_text(buffer, "\":[");
}

static void add_in_order(struct buffer *buffer, const struct envelope_record *records, size_t count)
{
    add_group_start(buffer, records, true);
    for (size_t i = 0; i < count; i++)
        add_record(buffer, &records[i], i == 0);
}

/* The members of `records` must not repeat, so records are brought together by partition. */
static void add_by_partition(struct buffer *buffer, const struct envelope_record *records,
                             size_t count)
{
    const struct envelope_record **sorted = envelope_sort_by_place(records, count);

    for (size_t i = 0; i < count; i++) {
        bool first = i == 0 || envelope_compare_places(sorted[i - 1], sorted[i]);

        if (first)
            add_group_start(buffer, sorted[i], i == 0);
        add_record(buffer, sorted[i], first);
    }
    free(sorted);
}

void envelope_kafka_write(struct buffer *buffer, const struct envelope_context *context,
                          const struct envelope_record *records, size_t count)
{
    const char *servers = context->servers ? context->servers : "";
    size_t same = 0;

    while (same < count && !envelope_compare_places(&records[0], &records[same]))
        same++;
    buffer_add_text(buffer, "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":\"");
    envelope_add_text(buffer, servers, strlen(servers));
    buffer_add_text(buffer, "\",\"records\":{");
    if (count && same == count)
        add_in_order(buffer, records, count);
    else if (count)
        add_by_partition(buffer, records, count);
    buffer_add_text(buffer, count ? "]}}" : "}}");
}
