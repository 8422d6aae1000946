/* SPDX-License-Identifier: MIT
 * AWS's `aws:sqs` event (AWS Lambda developer guide, "Using Lambda with Amazon SQS", event shape):
 *   {"Records":[{"messageId":"059f36b4-...","receiptHandle":"AQEB...","body":"text",
 *     "attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1545082649183",
 *       "SenderId":"AIDA...","ApproximateFirstReceiveTimestamp":"1545082649185"},
 *     "messageAttributes":{"n":{"stringValue":"6","stringListValues":[],"binaryListValues":[],
 *       "dataType":"Number"}},
 *     "md5OfMessageAttributes":"...","md5OfBody":"...","eventSource":"aws:sqs",
 *     "eventSourceARN":"arn:aws:sqs:us-east-2:123456789012:orders","awsRegion":"us-east-2"}]}
 * Attributes, receipt and checksums come from the headers that the connector made of them (`sqs:...`, see
 * sluice-http(7)). On AWS each attempt is a delivery; here a message is kept between attempts, so
 * ApproximateReceiveCount tells the attempt, other deliveries included. */
#include <stdlib.h>

#include "core/envelope_shapes.h"

#define OWN "sqs:"

static bool is_text(const struct sluice_bytes *bytes, const char *text)
{
    return bytes->size == strlen(text) && !memcmp(bytes->data, text, bytes->size);
}

static bool is_own(const struct sluice_bytes *name)
{
    return name->size > strlen(OWN) && !memcmp(name->data, OWN, strlen(OWN));
}

/* What SQS itself calls an attribute of the system: those of the connector's own begin with a small
 * letter. */
static bool is_system(const struct sluice_bytes *name)
{
    const char *text = name->data;

    return is_own(name) && text[strlen(OWN)] >= 'A' && text[strlen(OWN)] <= 'Z';
}

/* The last header of this name, as the connector's come behind those of a producer; NULL: none. */
static const struct sluice_bytes *find(const struct envelope_record *record, const char *name)
{
    size_t size = strlen(name);

    for (size_t i = record->header_count; i > 0; i--) {
        const struct sluice_header *header = &record->headers[i - 1];

        if (header->name.size == size && !memcmp(header->name.data, name, size))
            return &header->value;
    }
    return NULL;
}

static void add_string(struct buffer *buffer, const void *data, size_t size)
{
    buffer_add_text(buffer, "\"");
    envelope_add_text(buffer, data, size);
    buffer_add_text(buffer, "\"");
}

/* `member` is its name, quoted, with the comma before it and the colon. */
static void add_member(struct buffer *buffer, const char *member, const struct sluice_bytes *value)
{
    buffer_add_text(buffer, member);
    add_string(buffer, value ? value->data : NULL, value ? value->size : 0);
}

static void add_system(struct buffer *buffer, const struct envelope_record *record)
{
    static const char count[] = OWN "ApproximateReceiveCount";

    buffer_add_text(buffer, ",\"attributes\":{\"ApproximateReceiveCount\":\"");
    buffer_add_unsigned(buffer, record->attempt);
    buffer_add_text(buffer, "\"");
    for (size_t i = 0; i < record->header_count; i++) {
        const struct sluice_header *header = &record->headers[i];
        const char *name = (const char *)header->name.data + strlen(OWN);

        if (!is_system(&header->name) || is_text(&header->name, count))
            continue;
        buffer_add_text(buffer, ",");
        add_string(buffer, name, header->name.size - strlen(OWN));
        buffer_add_text(buffer, ":");
        add_string(buffer, header->value.data, header->value.size);
    }
    buffer_add_text(buffer, "}");
}

/* ---- attributes of the producer ---- */

/* The type that the header behind it names; NULL: a text is a String, other bytes are Binary. */
static const struct sluice_bytes *type_of(const struct envelope_record *record, size_t index)
{
    const struct sluice_header *next = &record->headers[index + 1];

    return index + 1 < record->header_count && is_text(&next->name, OWN "dataType") ? &next->value : NULL;
}

/* SQS has each name once; headers of other sources may repeat, and an object's members must not. */
static bool is_repeated(const struct envelope_record *record, size_t index)
{
    const struct sluice_bytes *name = &record->headers[index].name;

    for (size_t i = 0; i < index; i++)
        if (record->headers[i].name.size == name->size &&
            !memcmp(record->headers[i].name.data, name->data, name->size))
            return true;
    return false;
}

static void add_attribute(struct buffer *buffer, const struct sluice_bytes *value,
                          const struct sluice_bytes *type)
{
    bool binary = type ? type->size >= 6 && !memcmp(type->data, "Binary", 6)
                       : !json_text_is_utf8(value->data, value->size);

    if (binary) {
        buffer_add_text(buffer, "{\"binaryValue\":\"");
        envelope_add_base64(buffer, value);
        buffer_add_text(buffer, "\"");
    } else {
        add_member(buffer, "{\"stringValue\":", value);
    }
    buffer_add_text(buffer, ",\"stringListValues\":[],\"binaryListValues\":[],\"dataType\":");
    if (type)
        add_string(buffer, type->data, type->size);
    else
        buffer_add_text(buffer, binary ? "\"Binary\"" : "\"String\"");
    buffer_add_text(buffer, "}");
}

static void add_attributes(struct buffer *buffer, const struct envelope_record *record)
{
    bool first = true;

    buffer_add_text(buffer, ",\"messageAttributes\":{");
    for (size_t i = 0; i < record->header_count; i++) {
        const struct sluice_header *header = &record->headers[i];

        if (is_own(&header->name) || is_repeated(record, i))
            continue;
        buffer_add_text(buffer, first ? "" : ",");
        first = false;
        add_string(buffer, header->name.data, header->name.size);
        buffer_add_text(buffer, ":");
        add_attribute(buffer, &header->value, type_of(record, i));
    }
    buffer_add_text(buffer, "}");
}

/* ---- messages ---- */

/* The fourth field of an ARN. */
static struct sluice_bytes region_of(const struct sluice_bytes *arn)
{
    const char *at = arn->data, *end = at + arn->size;

    for (int field = 0; field < 3 && at < end; field++) {
        const char *colon = memchr(at, ':', (size_t)(end - at));

        at = colon ? colon + 1 : end;
    }
    if (at < end) {
        const char *colon = memchr(at, ':', (size_t)(end - at));

        end = colon ? colon : end;
    }
    return (struct sluice_bytes){at, (size_t)(end - at)};
}

static void add_record(struct buffer *buffer, const struct envelope_record *record)
{
    const struct sluice_bytes *arn = find(record, OWN "queueArn");
    const struct sluice_bytes *of_attributes = find(record, OWN "md5OfMessageAttributes");
    const struct sluice_bytes queue = {record->source, strlen(record->source)};
    const struct sluice_bytes region = region_of(arn ? arn : &queue);
    const struct sluice_bytes token = {record->token, record->token_size};

    add_member(buffer, "{\"messageId\":",
               record->message->message_id.data ? &record->message->message_id : &token);
    add_member(buffer, ",\"receiptHandle\":", find(record, OWN "receiptHandle"));
    add_member(buffer, ",\"body\":", &record->message->payload);
    add_system(buffer, record);
    add_attributes(buffer, record);
    if (of_attributes)
        add_member(buffer, ",\"md5OfMessageAttributes\":", of_attributes);
    add_member(buffer, ",\"md5OfBody\":", find(record, OWN "md5OfBody"));
    add_member(buffer, ",\"eventSource\":\"aws:sqs\",\"eventSourceARN\":", arn ? arn : &queue);
    add_member(buffer, ",\"awsRegion\":", &region);
    buffer_add_text(buffer, "}");
}

void envelope_sqs_write(struct buffer *buffer, const struct envelope_context *context,
                        const struct envelope_record *records, size_t count)
{
    (void)context;
    buffer_add_text(buffer, "{\"Records\":[");
    for (size_t i = 0; i < count && !buffer->full; i++) {
        if (i)
            buffer_add_text(buffer, ",");
        add_record(buffer, &records[i]);
    }
    buffer_add_text(buffer, "]}");
}
