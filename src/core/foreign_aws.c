/* SPDX-License-Identifier: MIT
 * Records that AWS sends to failure destinations (AWS Lambda developer guide, "Retaining records for
 * asynchronous invocations", "Capturing discarded batches" for Kafka):
 *
 *   {"version":"1.0","timestamp":"2019-11-14T00:38:06.021Z",
 *    "requestContext":{"requestId":...,"functionArn":...,"condition":"RetriesExhausted",
 *                      "approximateInvokeCount":3},
 *    "responseContext":{"statusCode":200,"functionError":"Unhandled"},
 *    "requestPayload":{...},"responsePayload":{"errorMessage":...}}      an asynchronous invocation
 *    "KafkaBatchInfo":{"batchSize":1,"recordsInfo":{"orders-3":{"firstRecordOffset":"15",...}}},
 *    "payload":{"records":{"orders-3":[{"topic":...,"value":"<base64>"}]}}    to a Kafka topic: the record;
 *                                                                 to a queue: without it */
#define _GNU_SOURCE
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/json_scan.h"
#include "base/memory.h"
#include "core/foreign_inside.h"

#define HEADERS_MOST 1000
/* Bytes of what becomes a tree, which may take twenty times as much. */
#define PART_MOST    ((size_t)64 << 10)
#define EVENT_MOST   ((size_t)2 << 20) /* Kafka's usual limit, in base64, and more */

/* The parts of a record; NULL where they are missing. */
struct record {
    json_t *context, *response, *answer, *info, *payload;
};

static struct sluice_bytes text_of(const json_t *value)
{
    return (struct sluice_bytes){json_string_value(value), json_string_length(value)};
}

/* ---- the record of a Kafka topic, back from the event ---- */

/* Memory for what is decoded: an array of headers, then bytes. */
struct decoding {
    struct sluice_header *headers;
    size_t header_count;
    char *at;
};

static struct sluice_bytes decode(struct decoding *decoding, const json_t *value)
{
    struct sluice_bytes bytes = {decoding->at, 0};

    if (!json_is_string(value))
        return (struct sluice_bytes){NULL, 0};
    bytes.size = base64_read(decoding->at, json_string_value(value), json_string_length(value));
    if (bytes.size == SIZE_MAX)
        return (struct sluice_bytes){NULL, 0};
    decoding->at += bytes.size;
    return bytes;
}

/* `{"name":[104,-61]}`, bytes as Java's. */
static void decode_header(struct decoding *decoding, const char *name, const json_t *value)
{
    struct sluice_header *header = &decoding->headers[decoding->header_count++];
    char *at = decoding->at;

    memcpy(at, name, strlen(name));
    header->name = (struct sluice_bytes){at, strlen(name)};
    at += strlen(name);
    header->value = (struct sluice_bytes){at, json_array_size(value)};
    for (size_t i = 0; i < header->value.size; i++)
        *at++ = (char)json_integer_value(json_array_get(value, i));
    decoding->at = at;
}

static void decode_headers(struct decoding *decoding, const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_t *one = json_array_get(list, i), *value;
        const char *name;

        json_object_foreach(one, name, value)
        {
            if (decoding->header_count < HEADERS_MOST && json_is_array(value))
                decode_header(decoding, name, value);
        }
    }
}

static bool read_record(struct foreign *foreign, const json_t *record, size_t payload_size)
{
    struct decoding decoding = {.header_count = 0};
    const char *kind = json_string_value(json_object_get(record, "timestampType"));
    const json_t *value = json_object_get(record, "value"), *headers;
    size_t room = 0;

    if (!json_is_string(value) && !json_is_null(value))
        return false;
    headers = json_object_get(record, "headers");
    room = json_array_size(headers);
    room = room < HEADERS_MOST ? room : HEADERS_MOST;
    /* Nothing that is decoded is longer than it was; and a header may hold several. */
    foreign->memory = memory_new(HEADERS_MOST * sizeof *decoding.headers * (room > 0) + payload_size);
    decoding.headers = foreign->memory;
    decoding.at = (char *)foreign->memory + HEADERS_MOST * sizeof *decoding.headers * (room > 0);
    foreign->key = decode(&decoding, json_object_get(record, "key"));
    foreign->payload = decode(&decoding, value);
    if (json_is_string(value) && !foreign->payload.data)
        return false;
    decode_headers(&decoding, headers);
    foreign->headers = decoding.headers;
    foreign->header_count = decoding.header_count;
    foreign->has_message = true;
    if (json_is_integer(json_object_get(record, "timestamp"))) {
        foreign->timestamp_ms = json_integer_value(json_object_get(record, "timestamp"));
        foreign->timestamp_kind = kind && !strcmp(kind, "LOG_APPEND_TIME") ? SLUICE_TIMESTAMP_APPENDED
                                                                          : SLUICE_TIMESTAMP_CREATED;
    }
    return true;
}

/* ---- where it was ---- */

/* `orders-3`: the topic, within the payload's text, and the partition. */
static void read_place(struct foreign *foreign, const char *name, const struct sluice_bytes *payload)
{
    const char *dash = strrchr(name, '-'), *there;
    size_t size = dash ? (size_t)(dash - name) : 0;
    char *end;
    long partition = dash ? strtol(dash + 1, &end, 10) : -1;

    if (!size || !dash[1] || *end || partition < 0 || partition > INT32_MAX)
        return;
    there = memmem(payload->data, payload->size, name, strlen(name));
    if (!there) /* written with escapes, as no topic is */
        return;
    foreign->source = (struct sluice_bytes){there, size};
    foreign->partition = (int32_t)partition;
}

static int64_t number_of(const json_t *value)
{
    return json_is_string(value)    ? strtoll(json_string_value(value), NULL, 10)
           : json_is_integer(value) ? json_integer_value(value)
                                    : -1;
}

static void read_batch(struct foreign *foreign, const struct record *record,
                       const struct sluice_bytes *payload)
{
    void *places = json_object_iter(json_object_get(record->info, "recordsInfo"));
    void *place = json_object_iter(json_object_get(record->payload, "records"));
    int64_t first = -1, last = -1;
    char text[96];

    if (place) {
        const json_t *one = json_array_get(json_object_iter_value(place), 0);

        read_place(foreign, json_object_iter_key(place), payload);
        first = number_of(json_object_get(one, "offset"));
        if (!read_record(foreign, one, payload->size))
            first = -1;
    } else if (places) {
        read_place(foreign, json_object_iter_key(places), payload);
        first = number_of(json_object_get(json_object_iter_value(places), "firstRecordOffset"));
        last = number_of(json_object_get(json_object_iter_value(places), "lastRecordOffset"));
    }
    if (first >= 0) {
        foreign->has_position = true;
        foreign->position = (uint64_t)first;
    }
    if (foreign->has_message)
        return;
    snprintf(text, sizeof text, "it names offsets %" PRId64 " to %" PRId64, first, last);
    foreign_say(foreign, "; ", (struct sluice_bytes){text, strlen(text)});
    foreign_say(foreign, ", and their messages are not in it", (struct sluice_bytes){".", 1});
}

/* What an asynchronous invocation was given, byte by byte. */
static void take_request(struct foreign *foreign, const struct json_scan_value *value)
{
    if (!value || !value->text)
        return;
    foreign->has_message = true;
    foreign->payload = value->kind == JSON_SCAN_STRING
                           ? (struct sluice_bytes){value->text - 1, value->size + 2}
                           : (struct sluice_bytes){value->text, value->size};
}

/* ---- the whole ---- */

bool foreign_members_read(struct foreign_members *members, const void *text, size_t size)
{
    return json_scan_members(text, size, members->list, FOREIGN_MEMBERS_MOST, &members->count) &&
           members->count <= FOREIGN_MEMBERS_MOST;
}

const struct json_scan_value *foreign_member(const struct foreign_members *members, const char *name)
{
    for (size_t i = 0; i < members->count; i++)
        if (json_scan_same(&members->list[i].name, name, strlen(name)))
            return &members->list[i].value;
    return NULL;
}

json_t *foreign_member_tree(const struct foreign_members *members, const char *name, size_t most)
{
    const struct json_scan_value *value = foreign_member(members, name);

    return value && value->kind == JSON_SCAN_OBJECT && value->size <= most
               ? json_loadb(value->text, value->size, JSON_ALLOW_NUL, NULL)
               : NULL;
}

static void read_all(struct foreign *foreign, const struct record *record,
                     const struct foreign_members *members, const struct sluice_bytes *payload)
{
    const struct json_scan_value *time = foreign_member(members, "timestamp");
    const struct json_scan_value *answer = foreign_member(members, "responsePayload");
    int64_t number = json_integer_value(json_object_get(record->context, "approximateInvokeCount"));

    foreign->by = "AWS Lambda";
    if (time && time->text)
        foreign->failed_ms = foreign_time((struct sluice_bytes){time->text, time->size});
    if (number > 0 && number <= UINT32_MAX)
        foreign->attempts = (uint32_t)number;
    number = json_integer_value(json_object_get(record->response, "statusCode"));
    if (number > 0 && number <= 999)
        foreign->status = (uint32_t)number;
    foreign_say(foreign, ": ", text_of(json_object_get(record->context, "condition")));
    foreign_say(foreign, ": ", text_of(json_object_get(record->response, "functionError")));
    foreign_say(foreign, ": ", text_of(json_object_get(record->answer, "errorMessage")));
    if (answer && answer->text)
        foreign->answer = (struct sluice_bytes){answer->text, answer->size};
    if (foreign_member(members, "KafkaBatchInfo"))
        read_batch(foreign, record, payload);
    else
        take_request(foreign, foreign_member(members, "requestPayload"));
    if (!foreign_member(members, "KafkaBatchInfo") && !foreign->has_message && !foreign_member(members, "payload"))
        foreign_say(foreign, "; ", (struct sluice_bytes){"the message is not in it", 24});
}

bool foreign_aws_read(struct foreign *foreign, const struct sluice_bytes *payload)
{
    struct foreign_members members;
    struct record record;
    bool is_record;

    /* The name first: it is looked for in all that comes. */
    if (!payload->data || !memmem(payload->data, payload->size, "\"requestContext\"", 16) ||
        !foreign_members_read(&members, payload->data, payload->size))
        return false;
    record = (struct record){.context = foreign_member_tree(&members, "requestContext", PART_MOST)};
    is_record = json_is_string(json_object_get(record.context, "condition")) &&
                json_is_string(json_object_get(record.context, "functionArn"));
    if (is_record) {
        record.response = foreign_member_tree(&members, "responseContext", PART_MOST);
        record.answer = foreign_member_tree(&members, "responsePayload", PART_MOST);
        record.info = foreign_member_tree(&members, "KafkaBatchInfo", PART_MOST);
        record.payload = foreign_member_tree(&members, "payload", EVENT_MOST);
        read_all(foreign, &record, &members, payload);
    }
    json_decref(record.context);
    json_decref(record.response);
    json_decref(record.answer);
    json_decref(record.info);
    json_decref(record.payload);
    return is_record;
}
