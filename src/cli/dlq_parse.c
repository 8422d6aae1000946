/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/dlq_parse.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/base64.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"

#define HEADERS_MOST     10000
#define FOUND_SHOWN      60 /* characters of what is wrong */
#define DURATION_MOST_MS 1e12

static void *own(struct dlq_parsed *parsed, void *memory)
{
    parsed->owned =
        memory_resize(parsed->owned, parsed->owned_count + 1, sizeof *parsed->owned);
    return parsed->owned[parsed->owned_count++] = memory;
}

/* `found`: NULL: nothing. */
static int wrong(struct fault *fault, const json_t *found, const char *name, const char *expected)
{
    char *text = NULL;

    if (found && !json_is_null(found))
        text = json_dumps(found, JSON_COMPACT | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    for (char *at = text; at && *at; at++)
        if (*at == 0x7f)
            *at = '?';
    if (text)
        fault_set(fault, "\"%s\" is %.*s%s, expected %s", name, FOUND_SHOWN, text,
                  strlen(text) > FOUND_SHOWN ? "..." : "", expected);
    else
        fault_set(fault, "\"%s\" is missing, expected %s", name, expected);
    free(text);
    return -1;
}

/* ---- members ---- */

static int read_text(const json_t *object, const char *name, bool needed, const char **ret,
                     struct fault *fault)
{
    const json_t *value = json_object_get(object, name);

    if (json_is_string(value) && (*json_string_value(value) || !needed)) {
        *ret = json_string_value(value);
        return 0;
    }
    *ret = "";
    return needed || (value && !json_is_null(value)) ? wrong(fault, value, name, "text") : 0;
}

static int read_number(const json_t *object, const char *name, int64_t most, int64_t *ret,
                       struct fault *fault)
{
    const json_t *value = json_object_get(object, name);

    *ret = 0;
    if (!value || json_is_null(value))
        return 0;
    if (!json_is_integer(value) || json_integer_value(value) < 0 ||
        json_integer_value(value) > most)
        return wrong(fault, value, name, "a whole number in range");
    *ret = json_integer_value(value);
    return 0;
}

/* RFC 3339 in UTC, as it is printed. */
static int read_time(const json_t *object, const char *name, bool needed, int64_t *ret_wall_us,
                     struct fault *fault)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value), *end;
    struct tm parts = {0};
    int64_t wall_us = 0;

    *ret_wall_us = 0;
    if (!text)
        return needed ? wrong(fault, value, name, "a time") : 0;
    end = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    if (end && *end == '.' && strspn(end + 1, "0123456789") == 6) {
        wall_us = strtol(end + 1, NULL, 10);
        end += 7;
    }
    /* 0 is no time, and a year has four digits. */
    if (end && strcmp(end, "Z") == 0 && parts.tm_year >= 70 && parts.tm_year < 8100)
        wall_us += (int64_t)timegm(&parts) * CLOCK_SECOND;
    else
        wall_us = 0;
    if (wall_us <= 0)
        return wrong(fault, value, name, "a time such as 2026-11-23T14:05:02.123456Z");
    *ret_wall_us = wall_us;
    return 0;
}

/* A string, {"base64": ...}, or null for absent. */
static int read_bytes(struct dlq_parsed *parsed, const json_t *value, const char *name,
                      struct sluice_bytes *ret, struct fault *fault)
{
    const json_t *encoded = json_is_object(value) ? json_object_get(value, "base64") : NULL;

    *ret = (struct sluice_bytes){NULL, 0};
    if (!value || json_is_null(value))
        return 0;
    if (json_is_string(value)) {
        *ret = (struct sluice_bytes){json_string_value(value), json_string_length(value)};
        return 0;
    }
    if (json_is_string(encoded)) {
        size_t size = json_string_length(encoded);
        char *bytes = own(parsed, memory_new(size / 4 * 3 + 1));

        size = base64_read(bytes, json_string_value(encoded), size);
        if (size != SIZE_MAX) {
            bytes[size] = '\0';
            *ret = (struct sluice_bytes){bytes, size};
            return 0;
        }
    }
    return wrong(fault, value, name, "text, {\"base64\": ...} or null");
}

static int read_member(struct dlq_parsed *parsed, const char *name, struct sluice_bytes *ret,
                       struct fault *fault)
{
    return read_bytes(parsed, json_object_get(parsed->document, name), name, ret, fault);
}

/* ---- parts ---- */

static int read_position(const json_t *object, uint64_t *ret, struct fault *fault)
{
    const json_t *value = json_object_get(object, "position");
    char *end;

    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *ret = (uint64_t)json_integer_value(value);
        return 0;
    }
    if (!json_is_string(value) || !*json_string_value(value))
        return wrong(fault, value, "position", "a whole number");
    *ret = strtoull(json_string_value(value), &end, 10);
    return *end ? wrong(fault, value, "position", "a whole number") : 0;
}

static int read_class(const json_t *object, enum dead_letter_class *ret, struct fault *fault)
{
    const json_t *value = json_object_get(object, "class");
    const char *name = json_string_value(value);

    for (int class = DEAD_ATTEMPTS; name && class <= DEAD_LETTER_CLASS_LAST; class ++)
        if (strcmp(dead_letter_class_name(class), name) == 0) {
            *ret = class;
            return 0;
        }
    return wrong(fault, value, "class",
                 "attempts, poison, named, patience, age, too_large, token_missing, token_conflict, "
                 "filtered, foreign or buried");
}

static int read_attempts(struct dlq_parsed *parsed, struct fault *fault)
{
    const json_t *array = json_object_get(parsed->document, "attempts");
    size_t count = json_array_size(array);

    if (array && !json_is_array(array))
        return wrong(fault, array, "attempts", "a list");
    for (size_t i = count > DEAD_LETTER_ATTEMPTS ? count - DEAD_LETTER_ATTEMPTS : 0; i < count;
         i++) {
        const json_t *one = json_array_get(array, i);
        struct dead_letter_attempt *attempt = &parsed->attempts[parsed->letter.attempts_kept++];
        const char *outcome, *error;
        int64_t status, batch;
        double duration;

        if (read_time(one, "time", false, &attempt->wall_us, fault) != 0 ||
            read_number(one, "status", 999, &status, fault) != 0 ||
            read_number(one, "batch_size", UINT32_MAX, &batch, fault) != 0 ||
            read_text(one, "outcome", false, &outcome, fault) != 0 ||
            read_text(one, "error", false, &error, fault) != 0)
            return fault_prefix(fault, "attempt %zu", i + 1);
        duration = json_number_value(json_object_get(one, "duration_ms"));
        if (!(duration >= 0 && duration < DURATION_MOST_MS))
            return fault_set(fault, "attempt %zu: \"duration_ms\" is not a number in range", i + 1);
        attempt->duration_us = (int64_t)(duration * 1000 + 0.5);
        attempt->status = (uint32_t)status;
        attempt->batch_size = (uint32_t)batch;
        snprintf(attempt->outcome, sizeof attempt->outcome, "%s", outcome);
        snprintf(attempt->error, sizeof attempt->error, "%s", error);
    }
    parsed->letter.attempts = parsed->attempts;
    return 0;
}

static int read_headers(struct dlq_parsed *parsed, struct fault *fault)
{
    const json_t *array = json_object_get(parsed->document, "headers");
    size_t count = json_array_size(array);
    struct sluice_header *headers;

    if ((array && !json_is_array(array)) || count > HEADERS_MOST)
        return wrong(fault, array, "headers", "a list of at most 10000");
    headers = own(parsed, memory_zero(count + 1, sizeof *headers));
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(array, i);

        if (read_bytes(parsed, json_object_get(one, "name"), "name", &headers[i].name, fault) !=
                0 ||
            read_bytes(parsed, json_object_get(one, "value"), "value", &headers[i].value, fault) !=
                0)
            return fault_prefix(fault, "header %zu", i + 1);
        if (!headers[i].name.data)
            return fault_set(fault, "header %zu has no name", i + 1);
    }
    parsed->letter.headers = headers;
    parsed->letter.header_count = count;
    return 0;
}

static int read_numbers(struct dlq_parsed *parsed, struct fault *fault)
{
    struct dead_letter *letter = &parsed->letter;
    const struct {
        const char *name;
        uint32_t *number;
        int64_t most;
    } members[] = {{"status", &letter->status, 999},
                   {"attempt_count", &letter->attempt_count, UINT32_MAX},
                   {"replay_count", &letter->replay_count, UINT32_MAX},
                   {"edit_count", &letter->edit_count, UINT32_MAX},
                   {"delivery_count", &letter->delivery_count, UINT32_MAX},
                   {"forced", &letter->forced, UINT32_MAX}};
    int64_t number;

    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (read_number(parsed->document, members[i].name, members[i].most, &number, fault) != 0)
            return -1;
        *members[i].number = (uint32_t)number;
    }
    letter->partition = -1;
    if (json_is_integer(json_object_get(parsed->document, "partition"))) {
        if (read_number(parsed->document, "partition", INT32_MAX, &number, fault) != 0)
            return -1;
        letter->partition = (int32_t)number;
    }
    return read_position(parsed->document, &letter->position, fault);
}

static int read_texts(struct dlq_parsed *parsed, struct fault *fault)
{
    struct dead_letter *letter = &parsed->letter;
    const json_t *object = parsed->document;
    struct sluice_bytes token;
    const char *id;

    if (read_text(object, "id", false, &id, fault) != 0 ||
        read_text(object, "mapping", true, &letter->mapping, fault) != 0 ||
        read_text(object, "revision", false, &letter->revision, fault) != 0 ||
        read_text(object, "connector", false, &letter->connector, fault) != 0 ||
        read_text(object, "lane", true, &letter->lane, fault) != 0 ||
        read_text(object, "source", false, &letter->source, fault) != 0 ||
        read_text(object, "reason", false, &letter->reason, fault) != 0 ||
        read_member(parsed, "token", &token, fault) != 0)
        return -1;
    if (*id && (strlen(id) != sizeof letter->id - 1 ||
                strspn(id, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != strlen(id) || *id > '7'))
        return wrong(fault, json_object_get(object, "id"), "id", "26 letters and digits, as `export` writes them");
    memcpy(letter->id, id, strlen(id));
    letter->token = token.data ? token.data : "";
    letter->token_size = token.size;
    return 0;
}

static int read_timestamp_kind(const json_t *object, uint32_t *ret, struct fault *fault)
{
    const json_t *value = json_object_get(object, "timestamp_kind");
    const char *kind = json_string_value(value);

    if (!value || json_is_null(value))
        *ret = SLUICE_TIMESTAMP_NONE;
    else if (kind && strcmp(kind, "created") == 0)
        *ret = SLUICE_TIMESTAMP_CREATED;
    else if (kind && strcmp(kind, "appended") == 0)
        *ret = SLUICE_TIMESTAMP_APPENDED;
    else
        return wrong(fault, value, "timestamp_kind", "created, appended or null");
    return 0;
}

static int read_all(struct dlq_parsed *parsed, struct fault *fault)
{
    struct dead_letter *letter = &parsed->letter;
    const json_t *object = parsed->document;

    if (!json_is_object(object))
        return fault_set(fault, "found no JSON object, expected one");
    if (read_texts(parsed, fault) != 0 || read_class(object, &letter->class, fault) != 0 ||
        read_numbers(parsed, fault) != 0 ||
        read_time(object, "died", true, &letter->dead_wall_us, fault) != 0 ||
        read_time(object, "produced", false, &letter->message_wall_us, fault) != 0 ||
        read_timestamp_kind(object, &letter->timestamp_kind, fault) != 0 ||
        read_time(object, "first_attempt", false, &letter->first_wall_us, fault) != 0 ||
        read_time(object, "last_attempt", false, &letter->last_wall_us, fault) != 0 ||
        read_time(object, "last_replay", false, &letter->replayed_wall_us, fault) != 0 ||
        read_member(parsed, "message_id", &letter->message_id, fault) != 0 ||
        read_member(parsed, "identity", &letter->identity, fault) != 0 ||
        read_member(parsed, "key", &letter->key, fault) != 0 ||
        read_member(parsed, "payload", &letter->payload, fault) != 0 ||
        read_member(parsed, "original", &letter->original, fault) != 0 ||
        read_member(parsed, "response", &letter->response, fault) != 0)
        return -1;
    return read_headers(parsed, fault) != 0 ? -1 : read_attempts(parsed, fault);
}

int dlq_parse_letter(const char *json, size_t size, struct dlq_parsed *ret_parsed,
                     struct fault *fault)
{
    json_error_t error;

    memset(ret_parsed, 0, sizeof *ret_parsed);
    ret_parsed->document = json_loadb(json, size, JSON_ALLOW_NUL | JSON_REJECT_DUPLICATES, &error);
    if (!ret_parsed->document)
        return fault_set(fault, "column %d: %s", error.column, error.text);
    if (read_all(ret_parsed, fault) == 0)
        return 0;
    dlq_parsed_fini(ret_parsed);
    return -1;
}

void dlq_parsed_fini(struct dlq_parsed *parsed)
{
    for (size_t i = 0; i < parsed->owned_count; i++)
        free(parsed->owned[i]);
    free(parsed->owned);
    json_decref(parsed->document);
    memset(parsed, 0, sizeof *parsed);
}
