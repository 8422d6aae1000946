/* SPDX-License-Identifier: MIT
 * Letters that sluice published as AWS's record of a failure (letter_aws.c): all that the record's member
 * `sluice` has, so that also a place that knows no headers gives back the message as it was. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/base64.h"
#include "base/memory.h"
#include "core/foreign_inside.h"

/* Headers and key, as they become a tree. */
#define LETTER_MOST ((size_t)4 << 20)

/* Where what is decoded goes: never more than it was as JSON. */
struct decoding {
    char *at;
};

static const struct sluice_bytes nothing;

static struct sluice_bytes keep(struct decoding *decoding, const char *text, size_t size)
{
    struct sluice_bytes kept = {decoding->at, size};

    memcpy(decoding->at, text, size);
    decoding->at += size;
    return kept;
}

/* False: it is no base64. */
static bool keep_base64(struct decoding *decoding, const char *text, size_t size,
                        struct sluice_bytes *ret_bytes)
{
    size_t decoded = base64_read(decoding->at, text, size);

    if (decoded == SIZE_MAX)
        return false;
    *ret_bytes = (struct sluice_bytes){decoding->at, decoded};
    decoding->at += decoded;
    return true;
}

/* Absent where it is neither a string nor {"base64":...}. */
static struct sluice_bytes bytes_of(struct decoding *decoding, const json_t *value)
{
    const json_t *encoded = json_object_get(value, "base64");
    struct sluice_bytes bytes = nothing;

    if (json_is_string(value))
        return keep(decoding, json_string_value(value), json_string_length(value));
    if (json_is_string(encoded))
        keep_base64(decoding, json_string_value(encoded), json_string_length(encoded), &bytes);
    return bytes;
}

static struct sluice_bytes member(struct decoding *decoding, const json_t *letter, const char *name)
{
    return bytes_of(decoding, json_object_get(letter, name));
}

/* ---- the payload ---- */

/* A string that stands in the record. */
struct place {
    struct json_scan_value string; /* ABSENT: it has none */
    bool is_base64;
};

static struct place place_in(const struct json_scan_value *list, const char *name, bool is_base64)
{
    const struct json_scan_step path[] = {{"0", 1, 0}, {name, strlen(name), -1}};
    struct place place = {.is_base64 = is_base64};

    if (!list || list->kind != JSON_SCAN_ARRAY ||
        !json_scan(list->text, list->size, path, 2, &place.string) ||
        place.string.kind != JSON_SCAN_STRING)
        place.string.kind = JSON_SCAN_ABSENT;
    return place;
}

/* In AWS's event for Kafka or RabbitMQ, where messages stand by their topic or queue, or that for SQS. */
static struct place place_in_event(const struct json_scan_value *event)
{
    const struct json_scan_value *sources;
    struct foreign_members members, by_source;
    const char *name = "value";

    if (!event || event->kind != JSON_SCAN_OBJECT ||
        !foreign_members_read(&members, event->text, event->size))
        return (struct place){0};
    sources = foreign_member(&members, "records");
    if (!sources) {
        sources = foreign_member(&members, "rmqMessagesByQueue");
        name = "data";
    }
    if (!sources)
        return place_in(foreign_member(&members, "Records"), "body", false);
    if (sources->kind != JSON_SCAN_OBJECT ||
        !foreign_members_read(&by_source, sources->text, sources->size) || !by_source.count)
        return (struct place){0};
    return place_in(&by_source.list[0].value, name, true);
}

/* What stands beside the letter, as the event has it otherwise. */
static struct place place_beside(const struct json_scan_value *payload)
{
    static const struct json_scan_step path[] = {{"base64", 6, -1}};
    struct place place = {.string = *payload};

    if (payload->kind != JSON_SCAN_OBJECT)
        return place;
    place.is_base64 = true;
    if (!json_scan(payload->text, payload->size, path, 1, &place.string))
        place.string.kind = JSON_SCAN_ABSENT;
    return place;
}

static bool take_payload(struct foreign *foreign, struct decoding *decoding, const struct place *place)
{
    const struct json_scan_value *string = &place->string;
    struct buffer text;

    if (string->kind == JSON_SCAN_NULL)
        return true; /* it had none */
    if (string->kind != JSON_SCAN_STRING)
        return false;
    if (place->is_base64)
        return keep_base64(decoding, string->text, string->size, &foreign->payload);
    if (!memchr(string->text, '\\', string->size)) {
        foreign->payload = (struct sluice_bytes){string->text, string->size};
        return true;
    }
    buffer_init(&text, string->size);
    json_scan_unescape(&text, string);
    foreign->payload = keep(decoding, text.data, text.size);
    buffer_fini(&text);
    return true;
}

/* ---- the letter ---- */

static void take_headers(struct foreign *foreign, struct decoding *decoding, const json_t *list)
{
    struct sluice_header *headers = foreign->memory;

    foreign->headers = headers;
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *one = json_array_get(list, i);
        struct sluice_bytes name = member(decoding, one, "name");

        if (name.data)
            headers[foreign->header_count++] =
                (struct sluice_header){name, member(decoding, one, "value")};
    }
}

static uint32_t number_of(const json_t *letter, const char *name)
{
    json_int_t number = json_integer_value(json_object_get(letter, name));

    return number > 0 && number <= UINT32_MAX ? (uint32_t)number : 0;
}

static void take_place(struct foreign *foreign, struct decoding *decoding, const json_t *letter)
{
    const json_t *partition = json_object_get(letter, "partition");
    const char *position = json_string_value(json_object_get(letter, "position"));
    char *end = NULL;

    foreign->source = member(decoding, letter, "source");
    if (json_is_integer(partition) && json_integer_value(partition) >= 0 &&
        json_integer_value(partition) <= INT32_MAX)
        foreign->partition = (int32_t)json_integer_value(partition);
    if (position && *position >= '0' && *position <= '9')
        foreign->position = strtoull(position, &end, 10);
    foreign->has_position = end && !*end;
}

static void take_letter(struct foreign *foreign, struct decoding *decoding, const json_t *letter)
{
    const char *kind = json_string_value(json_object_get(letter, "timestampKind"));

    foreign->by = "sluice";
    foreign->class = foreign_class(member(decoding, letter, "class"));
    foreign_say(foreign, "", member(decoding, letter, "error"));
    take_place(foreign, decoding, letter);
    foreign->token = member(decoding, letter, "token");
    foreign->answer = member(decoding, letter, "response");
    foreign->failed_ms = foreign_time(member(decoding, letter, "lastFailure"));
    foreign->attempts = number_of(letter, "attempts");
    foreign->status = number_of(letter, "status");
    if (kind) {
        foreign->timestamp_ms = json_integer_value(json_object_get(letter, "timestamp"));
        foreign->timestamp_kind = strcmp(kind, "appended") == 0 ? SLUICE_TIMESTAMP_APPENDED
                                                                : SLUICE_TIMESTAMP_CREATED;
    }
    foreign->is_whole = true;
    foreign->message_id = member(decoding, letter, "messageId");
    foreign->key = member(decoding, letter, "key");
    take_headers(foreign, decoding, json_object_get(letter, "headers"));
}

static bool is_of(const json_t *letter, const struct sluice_bytes *id)
{
    const json_t *own = json_object_get(letter, "id");

    return json_is_string(json_object_get(letter, "class")) && json_is_string(own) &&
           (!id || (json_string_length(own) == id->size &&
                    !memcmp(json_string_value(own), id->data, id->size)));
}

static bool read_letter(struct foreign *foreign, const json_t *letter, size_t letter_size,
                        const struct place *place)
{
    size_t header_count = json_array_size(json_object_get(letter, "headers"));
    struct foreign read = {.partition = -1};
    struct decoding decoding;

    read.memory = memory_new(header_count * sizeof(struct sluice_header) + letter_size +
                             place->string.size + 1);
    decoding.at = (char *)read.memory + header_count * sizeof(struct sluice_header);
    take_letter(&read, &decoding, letter);
    read.has_message = take_payload(&read, &decoding, place);
    if (!read.has_message) {
        foreign_fini(&read);
        return false;
    }
    *foreign = read;
    return true;
}

bool foreign_record_read(struct foreign *foreign, const struct sluice_bytes *payload,
                         const struct sluice_bytes *id)
{
    const struct json_scan_value *own, *text, *beside;
    struct foreign_members record, members;
    struct place place;
    json_t *letter;
    bool done;

    /* The names first: they are looked for in all that comes. A place may have written the JSON anew. */
    if (!payload->data || !memmem(payload->data, payload->size, "\"sluice\"", 8) ||
        !memmem(payload->data, payload->size, "\"letter\"", 8) ||
        !foreign_members_read(&record, payload->data, payload->size))
        return false;
    own = foreign_member(&record, "sluice");
    if (!own || own->kind != JSON_SCAN_OBJECT ||
        !foreign_members_read(&members, own->text, own->size))
        return false;
    letter = foreign_member_tree(&members, "letter", LETTER_MOST);
    text = foreign_member(&members, "letter");
    beside = foreign_member(&members, "payload");
    place = beside ? place_beside(beside) : place_in_event(foreign_member(&record, "payload"));
    done = letter && is_of(letter, id) && read_letter(foreign, letter, text->size, &place);
    json_decref(letter);
    return done;
}
