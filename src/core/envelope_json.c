/* SPDX-License-Identifier: MIT
 * sluice's own event, for functions that do not know AWS's:
 *   {"mapping":"orders","records":[{"token":"orders/3/1507","attempt":1,"source":"orders",
 *     "partition":3,"position":1507,"timestamp":1545084650987,"key":"k","value":{"a":1},
 *     "headers":[{"name":"n","value":"v"}]}]}
 * partition and timestamp are null where there is none. key and header values are strings where
 * they are UTF-8, {"base64":"..."} where not, null where absent; value is embedded where it is
 * JSON. */
#include "base/json_scan.h"
#include "core/envelope_shapes.h"

static void add_base64(struct buffer *buffer, const struct sluice_bytes *bytes)
{
    buffer_add_text(buffer, "{\"base64\":\"");
    envelope_add_base64(buffer, bytes);
    buffer_add_text(buffer, "\"}");
}

void envelope_add_text_or_base64(struct buffer *buffer, const struct sluice_bytes *bytes)
{
    if (!bytes->data) {
        buffer_add_text(buffer, "null");
    } else if (json_text_is_utf8(bytes->data, bytes->size)) {
        buffer_add_text(buffer, "\"");
        envelope_add_text(buffer, bytes->data, bytes->size);
        buffer_add_text(buffer, "\"");
    } else {
        add_base64(buffer, bytes);
    }
}

static void add_value(struct buffer *buffer, const struct sluice_bytes *value)
{
    if (value->data && json_scan(value->data, value->size, NULL, 0, NULL))
        buffer_add(buffer, value->data, value->size);
    else
        envelope_add_text_or_base64(buffer, value);
}

static void add_record(struct buffer *buffer, const struct envelope_record *record)
{
    const struct sluice_message *message = record->message;
    char numbers[128], *out = numbers;

    buffer_add_text(buffer, "{\"token\":\"");
    envelope_add_text(buffer, record->token, record->token_size);
    out = ENVELOPE_PUT(out, "\",\"attempt\":");
    out = buffer_put_unsigned(out, record->attempt);
    out = ENVELOPE_PUT(out, ",\"source\":\"");
    buffer_add(buffer, numbers, (size_t)(out - numbers));
    envelope_add_text(buffer, record->source, strlen(record->source));
    out = ENVELOPE_PUT(numbers, "\",\"partition\":");
    out = record->partition < 0 ? ENVELOPE_PUT(out, "null")
                                : envelope_put_number(out, record->partition);
    out = ENVELOPE_PUT(out, ",\"position\":");
    out = buffer_put_unsigned(out, message->position);
    out = ENVELOPE_PUT(out, ",\"timestamp\":");
    out = message->timestamp_kind == SLUICE_TIMESTAMP_NONE
              ? ENVELOPE_PUT(out, "null")
              : envelope_put_number(out, message->timestamp_ms);
    out = ENVELOPE_PUT(out, ",\"key\":");
    buffer_add(buffer, numbers, (size_t)(out - numbers));
    envelope_add_text_or_base64(buffer, &message->key);
    buffer_add_text(buffer, ",\"value\":");
    add_value(buffer, &message->payload);
    buffer_add_text(buffer, ",\"headers\":[");
    for (size_t i = 0; i < record->header_count; i++) {
        buffer_add_text(buffer, i ? ",{\"name\":\"" : "{\"name\":\"");
        envelope_add_text(buffer, record->headers[i].name.data, record->headers[i].name.size);
        buffer_add_text(buffer, "\",\"value\":");
        envelope_add_text_or_base64(buffer, &record->headers[i].value);
        buffer_add_text(buffer, "}");
    }
    buffer_add_text(buffer, "]}");
}

void envelope_json_write(struct buffer *buffer, const struct envelope_context *context,
                         const struct envelope_record *records, size_t count)
{
    buffer_add_text(buffer, "{\"mapping\":\"");
    envelope_add_text(buffer, context->mapping, strlen(context->mapping));
    buffer_add_text(buffer, "\",\"records\":[");
    for (size_t i = 0; i < count && !buffer->full; i++) {
        if (i)
            buffer_add_text(buffer, ",");
        add_record(buffer, &records[i]);
    }
    buffer_add_text(buffer, "]}");
}
