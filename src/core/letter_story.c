/* SPDX-License-Identifier: MIT */
#include "core/letter_story.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/json_text.h"
#include "base/memory.h"

#define TEXT_MOST        ((size_t)16 << 20)
#define POINTER_KEY_MOST 1024 /* bytes; what only tells where a letter is kept must not grow with it */

/* Earlier ones of these would contradict the new ones. */
static const char *const own_names[] = {
    "sluice-id",        "sluice-mapping",       "sluice-revision",     "sluice-class",
    "sluice-error",     "sluice-status",        "sluice-attempts",     "sluice-token",
    "sluice-connector", "sluice-source",        "sluice-partition",    "sluice-position",
    "sluice-timestamp", "sluice-first-failure", "sluice-last-failure", "sluice-response",
    "sluice-key",       "sluice-payload-kept"};

struct writer {
    struct letter_story *story;
    const struct dead_letter *letter;
    const struct letter_place *place;
    size_t room;
};

const char *letter_time(int64_t wall_us, char text[LETTER_TIME])
{
    time_t seconds = (time_t)(wall_us / CLOCK_SECOND);
    struct tm parts;
    size_t size;

    gmtime_r(&seconds, &parts);
    size = strftime(text, LETTER_TIME, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(text + size, LETTER_TIME - size, ".%03dZ", (int)(wall_us / CLOCK_MS % 1000));
    return text;
}

/* ---- one header ---- */

static struct sluice_header *next_header(struct writer *writer)
{
    struct letter_story *story = writer->story;

    if (story->count == writer->room) {
        writer->room = writer->room ? writer->room * 2 : 64;
        story->headers = memory_resize(story->headers, writer->room, sizeof *story->headers);
    }
    return &story->headers[story->count++];
}

/* A place in the text, which may still move; absent where it does not fit. */
static struct sluice_bytes keep(struct writer *writer, const void *data, size_t size)
{
    struct buffer *text = &writer->story->text;
    size_t at = text->size;

    buffer_add(text, data, size);
    buffer_add(text, "", 1);
    if (text->full)
        return (struct sluice_bytes){NULL, 0};
    return (struct sluice_bytes){(void *)(uintptr_t)(at + 1), size};
}

static void add(struct writer *writer, const char *name, const void *value, size_t size)
{
    struct sluice_header *header = next_header(writer);

    header->name = keep(writer, name, strlen(name));
    header->value = keep(writer, value, size);
}

static void add_text(struct writer *writer, const char *name, const char *value)
{
    if (value && *value)
        add(writer, name, value, strlen(value));
}

static void add_number(struct writer *writer, const char *name, int64_t number)
{
    char text[24];

    snprintf(text, sizeof text, "%" PRId64, number);
    add_text(writer, name, text);
}

static void add_time(struct writer *writer, const char *name, int64_t wall_us)
{
    char text[LETTER_TIME];

    if (wall_us)
        add_text(writer, name, letter_time(wall_us, text));
}

/* Java's way: the highest byte first. */
static void add_big_endian(struct writer *writer, const char *name, uint64_t number, size_t size)
{
    unsigned char bytes[8];

    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(number >> (size - 1 - i) * 8);
    add(writer, name, bytes, size);
}

static bool has_header(const struct dead_letter *letter, const char *name)
{
    for (size_t i = 0; i < letter->header_count; i++)
        if (letter->headers[i].name.size == strlen(name) &&
            !memcmp(letter->headers[i].name.data, name, letter->headers[i].name.size))
            return true;
    return false;
}

/* ---- whose names ---- */

static void add_own(struct writer *writer, const char *kept_at)
{
    const struct dead_letter *letter = writer->letter;

    add_text(writer, "sluice-id", letter->id);
    add_text(writer, "sluice-mapping", letter->mapping);
    add_text(writer, "sluice-revision", letter->revision);
    add_text(writer, "sluice-class", dead_letter_class_name(letter->class));
    add_text(writer, "sluice-error", letter->reason);
    if (letter->status)
        add_number(writer, "sluice-status", letter->status);
    add_number(writer, "sluice-attempts", letter->attempt_count);
    add(writer, "sluice-token", letter->token, dead_letter_token_size(letter));
    add_text(writer, "sluice-connector", letter->connector);
    add_text(writer, "sluice-source", letter->source);
    if (letter->partition >= 0)
        add_number(writer, "sluice-partition", letter->partition);
    add_number(writer, "sluice-position", (int64_t)letter->position);
    add_time(writer, "sluice-timestamp", letter->message_wall_us);
    add_time(writer, "sluice-first-failure", letter->first_wall_us);
    add_time(writer, "sluice-last-failure", letter->last_wall_us);
    if (letter->response.size)
        add(writer, "sluice-response", letter->response.data, letter->response.size);
    if (letter->key.data &&
        (kept_at ? letter->key.size <= POINTER_KEY_MOST : !writer->place->keeps_keys))
        add(writer, "sluice-key", letter->key.data, letter->key.size);
    add_text(writer, "sluice-payload-kept", kept_at);
}

static void add_kafka_connect(struct writer *writer)
{
    const struct dead_letter *letter = writer->letter;

    add_text(writer, "__connect.errors.topic", letter->source);
    add_number(writer, "__connect.errors.partition", letter->partition);
    add_number(writer, "__connect.errors.offset", (int64_t)letter->position);
    add_text(writer, "__connect.errors.connector.name", letter->mapping);
    add_number(writer, "__connect.errors.task.id", 0);
    add_text(writer, "__connect.errors.stage", "TASK_PUT");
    add_text(writer, "__connect.errors.class.name", "sluice");
    add_text(writer, "__connect.errors.exception.class.name", dead_letter_class_name(letter->class));
    add_text(writer, "__connect.errors.exception.message", letter->reason);
}

static void add_spring(struct writer *writer)
{
    const struct dead_letter *letter = writer->letter;

    add_text(writer, "kafka_dlt-original-topic", letter->source);
    add_big_endian(writer, "kafka_dlt-original-partition", (uint32_t)letter->partition, 4);
    add_big_endian(writer, "kafka_dlt-original-offset", letter->position, 8);
    add_big_endian(writer, "kafka_dlt-original-timestamp",
                   (uint64_t)(letter->message_wall_us / CLOCK_MS), 8);
    add_text(writer, "kafka_dlt-original-timestamp-type",
             letter->timestamp_kind == SLUICE_TIMESTAMP_APPENDED ? "LogAppendTime" : "CreateTime");
    add_text(writer, "kafka_dlt-original-consumer-group", writer->place->group);
    add_text(writer, "kafka_dlt-exception-fqcn", dead_letter_class_name(letter->class));
    add_text(writer, "kafka_dlt-exception-message", letter->reason);
}

static void add_json_text(struct buffer *json, const char *text)
{
    size_t size = strlen(text);

    if (!buffer_reserve(json, json_text_size(text, size) + 2))
        return;
    json->data[json->size++] = '"';
    json->size = (size_t)(json_text_write(json->data + json->size, text, size) - json->data);
    json->data[json->size++] = '"';
}

/* As sluice's RabbitMQ connector has tables: JSON, with the type in the header behind it. */
static void add_death(struct writer *writer, const char *reason)
{
    const struct dead_letter *letter = writer->letter;
    struct buffer json;

    buffer_init(&json, 64 * 1024);
    buffer_format(&json, "[{\"count\":1,\"reason\":\"%s\",\"queue\":", reason);
    add_json_text(&json, letter->source);
    buffer_format(&json, ",\"time\":{\"$timestamp\":%" PRId64 "},\"exchange\":\"\",\"routing-keys\":[",
                  letter->last_wall_us / CLOCK_SECOND);
    add_json_text(&json, letter->source);
    buffer_add_text(&json, "]}]");
    add(writer, "x-death", json.data, json.size);
    if (strcmp(writer->place->connector, "rabbitmq") == 0)
        add_text(writer, "amqp:fieldType", "A");
    buffer_fini(&json);
}

static void add_rabbitmq(struct writer *writer)
{
    const char *reason = writer->letter->class == DEAD_AGE ? "expired" : "rejected";

    if (!has_header(writer->letter, "x-death"))
        add_death(writer, reason);
    if (has_header(writer->letter, "x-first-death-queue"))
        return;
    add_text(writer, "x-first-death-reason", reason);
    add_text(writer, "x-first-death-queue", writer->letter->source);
    add(writer, "x-first-death-exchange", "", 0);
}

/* The protocol bindings of CloudEvents call the same attribute differently. */
static void add_attribute(struct writer *writer, const char *name, const char *value)
{
    const char *connector = writer->place->connector;
    char full[64];

    snprintf(full, sizeof full, "%s%s",
             strcmp(connector, "rabbitmq") == 0 ? "cloudEvents:"
             : strcmp(connector, "http") == 0   ? "ce-"
                                                : "ce_",
             name);
    if (!has_header(writer->letter, full))
        add_text(writer, full, value);
}

/* A message that is an event already keeps being that one. */
static void add_cloudevents(struct writer *writer)
{
    const struct dead_letter *letter = writer->letter;
    char text[LETTER_TIME], code[16] = "", source[400];

    snprintf(source, sizeof source, "/sluice/%s/%s", letter->mapping, letter->source);
    snprintf(code, sizeof code, "%u", letter->status);
    add_attribute(writer, "specversion", "1.0");
    add_attribute(writer, "id", letter->id);
    add_attribute(writer, "source", source);
    add_attribute(writer, "type", "sluice.dead_letter");
    add_attribute(writer, "time", letter_time(letter->last_wall_us, text));
    add_attribute(writer, "knativeerrordest", writer->place->target);
    if (letter->status)
        add_attribute(writer, "knativeerrorcode", code);
    add_attribute(writer, "knativeerrordata", letter->reason);
}

/* ---- all ---- */

static bool is_own(struct sluice_bytes name)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++)
        if (name.size == strlen(own_names[i]) && !memcmp(name.data, own_names[i], name.size))
            return true;
    return false;
}

void letter_story_write(struct letter_story *story, const struct dead_letter *letter,
                        const struct letter_place *place, const char *kept_at)
{
    struct writer writer = {story, letter, place, 0};
    size_t borrowed;

    *story = (struct letter_story){.count = 0};
    buffer_init(&story->text, TEXT_MOST);
    for (size_t i = 0; !kept_at && i < letter->header_count; i++)
        if (!is_own(letter->headers[i].name))
            *next_header(&writer) = letter->headers[i];
    borrowed = story->count;
    add_own(&writer, kept_at);
    if (place->styles & LETTER_KAFKA_CONNECT)
        add_kafka_connect(&writer);
    if (place->styles & LETTER_SPRING)
        add_spring(&writer);
    if (place->styles & LETTER_RABBITMQ)
        add_rabbitmq(&writer);
    if (place->styles & LETTER_CLOUDEVENTS)
        add_cloudevents(&writer);
    for (size_t i = borrowed; i < story->count; i++) {
        struct sluice_header *header = &story->headers[i];

        if (header->name.data)
            header->name.data = story->text.data + (uintptr_t)header->name.data - 1;
        if (header->value.data)
            header->value.data = story->text.data + (uintptr_t)header->value.data - 1;
    }
}

void letter_word_write(struct buffer *out, const struct letter_story *story)
{
    const char *before = "{\"";

    for (size_t i = 0; i < story->count; i++) {
        const struct sluice_header *header = &story->headers[i];

        if (!is_own(header->name))
            continue;
        buffer_add_text(out, before);
        buffer_add(out, header->name.data, header->name.size);
        buffer_add_text(out, "\":");
        letter_add_bytes(out, &header->value);
        before = ",\"";
    }
    buffer_add_text(out, "}");
}

void letter_story_fini(struct letter_story *story)
{
    free(story->headers);
    buffer_fini(&story->text);
    *story = (struct letter_story){.count = 0};
}
