/* SPDX-License-Identifier: MIT */
#include "io/otlp.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include <jansson.h>

#include "io/json_value.h"

#define KIND_CONSUMER 5
#define STATUS_ERROR  2

/* ---- attributes: {"key": ..., "value": {"stringValue": ...}} ---- */

static void add_text(json_t *attributes, const char *key, const char *text)
{
    if (*text)
        json_array_append_new(attributes, json_pack("{s:s, s:{s:o}}", "key", key, "value",
                                                    "stringValue", json_value_text(text)));
}

/* Numbers of 64 bits are strings in protobuf's JSON. */
static json_t *number_text(uint64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRIu64, number);
    return json_string(text);
}

static void add_number(json_t *attributes, const char *key, uint64_t number)
{
    json_array_append_new(attributes, json_pack("{s:s, s:{s:o}}", "key", key, "value", "intValue",
                                                number_text(number)));
}

static json_t *attributes_of(const struct span *span)
{
    json_t *attributes = json_array();

    add_text(attributes, "messaging.system", span->system);
    add_text(attributes, "messaging.operation.name", "process");
    add_text(attributes, "messaging.operation.type", "process");
    add_text(attributes, "messaging.destination.name", span->destination);
    add_text(attributes, "messaging.consumer.group.name", span->group);
    if (span->partition >= 0) {
        char number[16];

        snprintf(number, sizeof number, "%d", (int)span->partition);
        add_text(attributes, "messaging.destination.partition.id", number);
    }
    if (span->batched)
        add_number(attributes, "messaging.batch.message_count", span->messages);
    if (span->status)
        add_number(attributes, "http.response.status_code", span->status);
    if (span->failed && span->status >= 400) {
        char number[16];

        snprintf(number, sizeof number, "%u", (unsigned)span->status);
        add_text(attributes, "error.type", number);
    } else if (span->failed) {
        add_text(attributes, "error.type", span->outcome);
    }
    add_text(attributes, "sluice.mapping", span->mapping);
    add_text(attributes, "sluice.outcome", span->outcome);
    add_number(attributes, "sluice.attempt", span->attempt);
    if (span->named)
        add_number(attributes, "sluice.named", span->named);
    return attributes;
}

/* ---- spans ---- */

static json_t *links_of(const struct span *span)
{
    json_t *links = json_array();

    for (uint32_t i = 0; i < span->link_count; i++)
        json_array_append_new(links, json_pack("{s:s, s:s, s:i}", "traceId", span->links[i].trace_id,
                                               "spanId", span->links[i].span_id, "flags",
                                               (int)span->links[i].flags));
    return links;
}

static json_t *span_json(const struct span *span)
{
    const char *name = *span->destination ? span->destination : span->mapping;
    json_t *json = json_object(), *text = json_value_text(name);

    json_object_set_new(json, "traceId", json_string(span->self.trace_id));
    json_object_set_new(json, "spanId", json_string(span->self.span_id));
    if (*span->parent_id)
        json_object_set_new(json, "parentSpanId", json_string(span->parent_id));
    json_object_set_new(json, "flags", json_integer(span->self.flags));
    json_object_set_new(json, "name", json_sprintf("process %s", json_string_value(text)));
    json_object_set_new(json, "kind", json_integer(KIND_CONSUMER));
    json_object_set_new(json, "startTimeUnixNano", number_text((uint64_t)span->start_wall_us * 1000));
    json_object_set_new(json, "endTimeUnixNano", number_text((uint64_t)span->end_wall_us * 1000));
    json_object_set_new(json, "attributes", attributes_of(span));
    json_object_set_new(json, "links", links_of(span));
    if (span->links_dropped)
        json_object_set_new(json, "droppedLinksCount", json_integer(span->links_dropped));
    if (span->failed)
        json_object_set_new(json, "status", json_pack("{s:i, s:o}", "code", STATUS_ERROR, "message",
                                                      json_value_text(span->error)));
    json_decref(text);
    return json;
}

char *otlp_write(const struct span *first, const char *host)
{
    json_t *spans = json_array(), *resource = json_array(), *request;
    char *text;

    for (const struct span *span = first; span; span = (const struct span *)span->item.next)
        json_array_append_new(spans, span_json(span));
    add_text(resource, "service.name", "sluice");
    add_text(resource, "service.version", SLUICE_VERSION);
    add_text(resource, "host.name", host);
    request = json_pack("{s:[{s:{s:o}, s:[{s:{s:s, s:s}, s:o}]}]}", "resourceSpans", "resource",
                        "attributes", resource, "scopeSpans", "scope", "name", "sluice", "version",
                        SLUICE_VERSION, "spans", spans);
    text = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return text;
}

uint64_t otlp_rejected(const char *body, size_t size)
{
    json_t *answer = size ? json_loadb(body, size, 0, NULL) : NULL;
    json_t *count =
        json_object_get(json_object_get(answer, "partialSuccess"), "rejectedSpans");
    const char *text = json_string_value(count);
    json_int_t number = text ? strtoll(text, NULL, 10) : json_integer_value(count);

    json_decref(answer);
    return number > 0 ? (uint64_t)number : 0;
}
