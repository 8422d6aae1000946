/* SPDX-License-Identifier: MIT
 * Messages of SQS. A custom attribute is a header; where its type is not String, the header `sqs:dataType`
 * just behind it tells it. What SQS itself says about the message follows: `sqs:` and the name of each
 * system attribute, `sqs:receiptHandle`, `sqs:md5OfBody`, `sqs:md5OfMessageAttributes`, `sqs:queueArn`. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base64.h"
#include "json_read.h"
#include "sqs.h"

#define PACKED_MOST     200

/* What an answer says of a message, as it is written there; `data` NULL: nothing. */
struct fields {
    struct json_slice id, receipt, body, of_body, of_attributes;
    struct {
        struct json_slice name, value;
    } system[SQS_ATTRIBUTES_MOST];
    size_t system_count;
    json_t *attributes; /* NULL: none; parsed, as few messages have any */
};

/* ---- headers ---- */

/* Texts go one behind the other into memory that was measured before. */
struct builder {
    struct http_message *message;
    char *at;
};

static struct sluice_bytes put(struct builder *builder, const void *data, size_t size)
{
    struct sluice_bytes bytes = {builder->at, size};

    memcpy(builder->at, data, size);
    builder->at[size] = '\0';
    builder->at += size + 1;
    return bytes;
}

static struct sluice_bytes put_slice(struct builder *builder, struct json_slice string)
{
    struct sluice_bytes bytes = {builder->at, json_slice_copy(string, builder->at)};

    builder->at += bytes.size + 1;
    return bytes;
}

static struct sluice_bytes put_string(struct builder *builder, json_t *string)
{
    return put(builder, json_string_value(string), json_string_length(string));
}

static void add_header(struct builder *builder, struct sluice_bytes name, struct sluice_bytes value)
{
    builder->message->headers[builder->message->header_count++] = (struct sluice_header){name, value};
}

/* `name` lasts: it is a constant. */
static void add_own(struct builder *builder, const char *name, struct sluice_bytes value)
{
    add_header(builder, (struct sluice_bytes){name, strlen(name)}, value);
}

static struct sluice_bytes add_system(struct builder *builder, struct json_slice name, struct json_slice value)
{
    struct sluice_bytes whole = put(builder, SQS_OWN, strlen(SQS_OWN)), text;

    builder->at--;
    whole.size += put_slice(builder, name).size;
    text = put_slice(builder, value);
    add_header(builder, whole, text);
    return text;
}

static int add_attribute(struct builder *builder, const char *name, json_t *attribute)
{
    json_t *type = json_object_get(attribute, "DataType");
    struct sluice_bytes own_name = put(builder, name, strlen(name)), value;

    if (sqs_is_binary(attribute)) {
        json_t *text = json_object_get(attribute, "BinaryValue");
        void *bytes = base64_decode(json_string_value(text), json_string_length(text), &value.size);

        value.data = bytes;
        if (!bytes || http_message_take(builder->message, bytes))
            return -1;
    } else {
        value = put_string(builder, json_object_get(attribute, "StringValue"));
    }
    add_header(builder, own_name, value);
    if (strcmp(json_string_value(type), "String") != 0)
        add_own(builder, SQS_OWN "dataType", put_string(builder, type));
    return 0;
}

/* ---- headers in one attribute ---- */

static int unpack_value(json_t *value, struct http_message *message, struct sluice_bytes *ret)
{
    json_t *text = json_object_get(value, "base64");
    void *bytes;

    *ret = (struct sluice_bytes){0};
    if (json_is_null(value))
        return 0;
    if (json_is_string(value))
        return json_keep_string(value, message, ret);
    bytes = base64_decode(json_string_value(text), json_string_length(text), &ret->size);
    ret->data = bytes;
    return !json_is_string(text) || !bytes || http_message_take(message, bytes) ? -1 : 0;
}

/* The list that publishing made of a message's headers; 0 also where it is another one, which then stays
 * an attribute like others (`ret_list` NULL). */
static void read_packed(json_t *attributes, json_t **ret_list)
{
    json_t *text = json_object_get(json_object_get(attributes, SQS_HEADERS), "StringValue"), *pair;
    json_t *list = text ? json_loadb(json_string_value(text), json_string_length(text), JSON_ALLOW_NUL, NULL)
                        : NULL;
    bool fine = json_is_array(list) && json_array_size(list) <= PACKED_MOST;
    size_t index;

    json_array_foreach(list, index, pair)
    {
        json_t *value = json_array_get(pair, 1);

        fine &= json_array_size(pair) == 2 && json_is_string(json_array_get(pair, 0)) &&
                (json_is_string(value) || json_is_null(value) ||
                 json_is_string(json_object_get(value, "base64")));
    }
    if (!fine) {
        json_decref(list);
        list = NULL;
    }
    *ret_list = list;
}

static int add_packed(struct builder *builder, json_t *list)
{
    json_t *pair;
    size_t index;

    json_array_foreach(list, index, pair)
    {
        struct sluice_bytes name, value;

        if (json_keep_string(json_array_get(pair, 0), builder->message, &name) ||
            unpack_value(json_array_get(pair, 1), builder->message, &value))
            return -1;
        add_header(builder, name, value);
    }
    return 0;
}

/* ---- a message ---- */

static bool is_string(struct json_slice value)
{
    return value.data && *value.data == '"';
}

/* Attributes of the system, all of which are texts. */
static bool read_system(struct json_reader *reader, struct fields *fields)
{
    struct json_slice name, value;

    fields->system_count = 0;
    json_reader_enter(reader, '{');
    while (json_reader_member(reader, &name) && json_reader_take(reader, &value)) {
        if (fields->system_count == SQS_ATTRIBUTES_MOST || !is_string(value))
            return false;
        fields->system[fields->system_count].name = name;
        fields->system[fields->system_count++].value = value;
    }
    return !reader->failed;
}

static bool are_attributes(json_t *attributes)
{
    const char *name;
    json_t *value;

    if (attributes && (!json_is_object(attributes) || json_object_size(attributes) > SQS_ATTRIBUTES_MOST))
        return false;
    json_object_foreach(attributes, name, value)
        if (!json_is_string(json_object_get(value, "DataType")) ||
            !json_is_string(json_object_get(value, sqs_is_binary(value) ? "BinaryValue" : "StringValue")))
            return false;
    return true;
}

static bool read_attributes(struct json_slice text, struct fields *fields)
{
    json_decref(fields->attributes);
    fields->attributes = json_loadb(text.data, text.size, JSON_ALLOW_NUL, NULL); /* NULL: no object, or no UTF-8 */
    return fields->attributes && are_attributes(fields->attributes);
}

/* Where a member belongs; NULL: elsewhere. */
static struct json_slice *field_of(struct fields *fields, struct json_slice name)
{
    return json_slice_is(name, "MessageId")                ? &fields->id
           : json_slice_is(name, "ReceiptHandle")          ? &fields->receipt
           : json_slice_is(name, "Body")                   ? &fields->body
           : json_slice_is(name, "MD5OfBody")              ? &fields->of_body
           : json_slice_is(name, "MD5OfMessageAttributes") ? &fields->of_attributes
                                                           : NULL;
}

/* False: it is no message. */
static bool read_fields(struct json_reader *reader, struct fields *fields)
{
    struct json_slice name, value;
    bool fine = true;

    json_reader_enter(reader, '{');
    while (fine && json_reader_member(reader, &name)) {
        struct json_slice *field = field_of(fields, name);

        if (json_slice_is(name, "Attributes")) {
            fine = read_system(reader, fields);
            continue;
        }
        if (!json_reader_take(reader, &value))
            return false;
        if (field)
            *field = value;
        else if (json_slice_is(name, "MessageAttributes"))
            fine = read_attributes(value, fields);
    }
    return fine && !reader->failed && is_string(fields->id) && is_string(fields->receipt) &&
           is_string(fields->body) && is_string(fields->of_body) &&
           (!fields->of_attributes.data || is_string(fields->of_attributes));
}

static bool stands_for_empty(const struct sluice_bytes *body)
{
    return body->size == strlen(SQS_EMPTY_BODY) && !memcmp(body->data, SQS_EMPTY_BODY, body->size);
}

static int add_attributes(struct builder *builder, json_t *attributes, const struct sqs *sqs)
{
    struct http_message *message = builder->message;
    json_t *packed, *attribute;
    const char *name;
    int status = 0;

    read_packed(attributes, &packed);
    json_object_foreach(attributes, name, attribute)
    {
        size_t before = message->header_count;
        bool is_key = sqs->is_fifo && !strcmp(name, SQS_KEY);

        if (!strcmp(name, SQS_EMPTY) && stands_for_empty(&message->payload)) {
            message->payload.size = 0;
            continue;
        }
        if (status || (packed && !is_key))
            continue;
        status = add_attribute(builder, name, attribute);
        if (is_key && !status) {
            message->key = message->headers[before].value;
            message->header_count = before;
        }
    }
    if (packed && !status)
        status = add_packed(builder, packed);
    json_decref(packed);
    return status;
}

static void fill_system(const struct sqs *sqs, struct builder *builder, const struct fields *fields)
{
    struct http_message *message = builder->message;

    for (size_t i = 0; i < fields->system_count; i++) {
        struct json_slice name = fields->system[i].name;
        struct sluice_bytes text = add_system(builder, name, fields->system[i].value);

        if (json_slice_is(name, "SentTimestamp"))
            message->timestamp_ms = strtoll(text.data, NULL, 10);
        else if (json_slice_is(name, "ApproximateReceiveCount"))
            message->delivery_count = json_earlier_deliveries(strtoll(text.data, NULL, 10));
        else if (sqs->is_fifo && !message->key.data && json_slice_is(name, "MessageGroupId"))
            message->key = text;
    }
}

static int fill(const struct sqs *sqs, struct builder *builder, const struct fields *fields,
                struct sqs_sums *sums, struct http_fault *fault)
{
    struct http_message *message = builder->message;
    struct sluice_bytes receipt, body;

    message->id = put_slice(builder, fields->id);
    message->payload = body = put_slice(builder, fields->body);
    if (fields->of_attributes.data &&
        sqs_sums_attributes(fields->attributes, fields->of_attributes, message->id, fault))
        return -1;
    receipt = put_slice(builder, fields->receipt);
    message->receipt = receipt.data;
    if (add_attributes(builder, fields->attributes, sqs))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a message, or an attribute is no base64");
    fill_system(sqs, builder, fields);
    add_own(builder, SQS_OWN "receiptHandle", receipt);
    add_own(builder, SQS_OWN "md5OfBody", put_slice(builder, fields->of_body));
    if (fields->of_attributes.data)
        add_own(builder, SQS_OWN "md5OfMessageAttributes", put_slice(builder, fields->of_attributes));
    add_own(builder, SQS_OWN "queueArn", put(builder, sqs->arn, strlen(sqs->arn)));
    sqs_sums_add(sums, message->id, body, fields->of_body);
    return 0;
}

/* Texts take no more than they have in the answer, but for the NULs and beginnings of names. */
static struct http_message *build(const struct sqs *sqs, size_t size, const struct fields *fields,
                                  struct sqs_sums *sums, struct http_fault *fault)
{
    size_t system = fields->system_count, attributes = json_object_size(fields->attributes);
    size_t headers = 2 * attributes + system + 4 + (json_object_get(fields->attributes, SQS_HEADERS) ? PACKED_MOST : 0);
    size_t room = headers * sizeof(struct sluice_header) + size + strlen(sqs->arn) + 16 * (system + attributes + 8);
    struct http_message *message = http_message_new(room);
    struct builder builder = {message, NULL};

    if (message) {
        message->headers = http_message_keep(message, NULL, room);
        builder.at = message->headers ? (char *)(message->headers + headers) : NULL;
    }
    if (!builder.at)
        http_fault(fault, SLUICE_STATE_FAILED, "no memory for a message");
    else if (!fill(sqs, &builder, fields, sums, fault))
        return message;
    http_message_free(message);
    return NULL;
}

struct http_message *sqs_message_read(const struct sqs *sqs, struct json_reader *reader, struct sqs_sums *sums,
                                      struct http_fault *fault)
{
    struct fields fields = {0};
    struct http_message *message = NULL;
    const char *begin = reader->at;

    if (read_fields(reader, &fields))
        message = build(sqs, (size_t)(reader->at - begin), &fields, sums, fault);
    else
        http_fault(fault, SLUICE_STATE_FAILED,
                   "the answer has a message without the texts MessageId, ReceiptHandle, Body and MD5OfBody, "
                   "or with attributes of other types than SQS has; it is tried again");
    json_decref(fields.attributes);
    return message;
}
