/* SPDX-License-Identifier: MIT
 * A message against compiled patterns. JSON is checked once, and gives the payload's own members
 * in that pass; what they hold is gone through in place: objects of the pattern pick their members,
 * everything else is passed over. */
#include "core/filter.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/json_walk.h"
#include "core/filter_inside.h"

#define MEMBERS_KEPT 64 /* of a payload, so that it is not gone through again for them */
#define BUDGET_BYTES INT64_C(50000000) /* about as many nanoseconds; and four times the payload */

struct attempt_at {
    const struct filter_message *message;
    struct buffer *scratch;
    /* Whether the payload and the key are JSON; 0: not looked at yet, -1: no. */
    int payload_is_json, key_is_json;
    int64_t budget; /* bytes that may still be gone through */
    struct fault *why;
    /* Members of the payload where it is an object with no more of them; else `object` is NULL. */
    struct json_scan_member members[MEMBERS_KEPT];
    size_t member_count;
    const char *object;
};

static const struct json_scan_value absent = {.kind = JSON_SCAN_ABSENT};

/* ---- JSON ---- */

/* Arrays within arrays, and many alternatives, go through the same bytes again and again: no payload
 * may hold up the others for that. */
static bool afford(struct attempt_at *at, const struct json_scan_value *value)
{
    at->budget -= at->budget > 0 ? (int64_t)value->size + 16 : 0;
    return at->budget > 0;
}

static bool object_matches(const struct filter_object *object, const struct json_scan_value *value,
                           struct attempt_at *at);

/* Tests against a value: of an array one element is enough, and an empty one counts as absent. */
static bool leaf_matches(const struct filter_field *field, const struct json_scan_value *value,
                         struct attempt_at *at)
{
    struct json_scan_value element;
    struct json_walk walk;
    bool empty = true;

    if (value->kind != JSON_SCAN_ARRAY)
        return filter_tests_match(field->tests, field->test_count, value, false, at->scratch);
    if (!afford(at, value))
        return false;
    walk = json_walk_begin(value);
    while (at->budget > 0 && json_walk_next(&walk, NULL, &element)) {
        empty = false;
        if (leaf_matches(field, &element, at))
            return true;
    }
    return empty && filter_tests_match(field->tests, field->test_count, &absent, false, at->scratch);
}

static bool field_matches(const struct filter_field *field, const struct json_scan_value *whole,
                          const struct json_scan_value *value, struct attempt_at *at)
{
    if (value->kind == JSON_SCAN_ABSENT && field->path)
        return object_matches(field->path, whole, at);
    return field->object ? object_matches(field->object, value, at)
                         : leaf_matches(field, value, at);
}

static void find_field(const struct filter_object *object, const struct json_scan_value *name,
                       const struct json_scan_value *member,
                       struct json_scan_value found[FILTER_FIELDS_MOST])
{
    for (size_t i = 0; i < object->field_count; i++)
        if (json_scan_same(name, object->fields[i].name, object->fields[i].name_size))
            found[i] = *member;
}

/* Finds the object's members; of members of the same name the last counts. */
static void find_fields(const struct filter_object *object, const struct json_scan_value *value,
                        struct json_scan_value found[FILTER_FIELDS_MOST], struct attempt_at *at)
{
    struct json_scan_value name, member;
    struct json_walk walk;

    for (size_t i = 0; i < object->field_count; i++)
        found[i] = absent;
    if (value->kind != JSON_SCAN_OBJECT || !afford(at, value))
        return;
    if (value->text == at->object) {
        for (size_t i = 0; i < at->member_count; i++)
            find_field(object, &at->members[i].name, &at->members[i].value, found);
        return;
    }
    walk = json_walk_begin(value);
    while (json_walk_next(&walk, &name, &member))
        find_field(object, &name, &member, found);
}

static bool groups_match(const struct filter_object *object, const struct json_scan_value *value,
                         struct attempt_at *at)
{
    for (size_t i = 0; i < object->group_count; i++) {
        const struct filter_group *group = &object->groups[i];
        bool any = false;

        for (size_t j = 0; j < group->object_count && !any; j++)
            any = object_matches(&group->objects[j], value, at);
        if (!any)
            return false;
    }
    return true;
}

static bool single_object_matches(const struct filter_object *object,
                                  const struct json_scan_value *value, struct attempt_at *at)
{
    struct json_scan_value found[FILTER_FIELDS_MOST];

    find_fields(object, value, found, at);
    for (size_t i = 0; i < object->field_count; i++)
        if (!field_matches(&object->fields[i], value, &found[i], at))
            return false;
    return groups_match(object, value, at);
}

/* Of an array one element has to match as a whole. What is no object has no members. */
static bool object_matches(const struct filter_object *object, const struct json_scan_value *value,
                           struct attempt_at *at)
{
    struct json_scan_value element;
    struct json_walk walk;
    bool empty = true;

    if (value->kind != JSON_SCAN_ARRAY)
        return single_object_matches(object, value, at);
    if (!afford(at, value))
        return false;
    walk = json_walk_begin(value);
    while (at->budget > 0 && json_walk_next(&walk, NULL, &element)) {
        empty = false;
        if (object_matches(object, &element, at))
            return true;
    }
    return empty && single_object_matches(object, &absent, at);
}

/* ---- the parts of a message ---- */

static enum filter_match told(bool matches)
{
    return matches ? FILTER_YES : FILTER_NO;
}

static struct json_scan_value text_value(const struct sluice_bytes *bytes)
{
    if (!bytes->data)
        return absent;
    return (struct json_scan_value){JSON_SCAN_STRING, bytes->data, bytes->size};
}

/* Checks it, and keeps the members of the payload. */
static bool scan_bytes(struct attempt_at *at, const struct sluice_bytes *bytes)
{
    size_t count;

    if (bytes != &at->message->payload)
        return json_scan(bytes->data, bytes->size, NULL, 0, NULL);
    if (!json_scan_members(bytes->data, bytes->size, at->members, MEMBERS_KEPT, &count))
        return false;
    if (count && count <= MEMBERS_KEPT)
        at->object = json_walk_text(bytes->data, bytes->size).text;
    at->member_count = count;
    return true;
}

/* The payload or key: by a list of tests as text, by an object as JSON. */
static enum filter_match bytes_match(struct attempt_at *at, const struct filter_field *field,
                                     const struct sluice_bytes *bytes, int *is_json,
                                     const char *what)
{
    struct json_scan_value value = text_value(bytes);

    if (!field->object)
        return told(
            filter_tests_match(field->tests, field->test_count, &value, true, at->scratch));
    if (!bytes->data)
        return told(object_matches(field->object, &absent, at));
    if (!*is_json)
        *is_json = scan_bytes(at, bytes) ? 1 : -1;
    if (*is_json < 0) {
        fault_set(at->why, "the filter looks into the %s as JSON, and it is not JSON", what);
        return FILTER_UNTOLD;
    }
    value = json_walk_text(bytes->data, bytes->size);
    return told(object_matches(field->object, &value, at));
}

static bool header_matches(const struct attempt_at *at, const struct filter_field *field)
{
    const struct filter_message *message = at->message;
    bool found = false;

    for (size_t i = 0; i < message->header_count; i++) {
        const struct sluice_header *header = &message->headers[i];
        struct json_scan_value value = text_value(&header->value);

        if (header->name.size != field->name_size ||
            memcmp(header->name.data, field->name, field->name_size))
            continue;
        found = true;
        if (value.kind == JSON_SCAN_ABSENT)
            value.kind = JSON_SCAN_NULL;
        if (filter_tests_match(field->tests, field->test_count, &value, true, at->scratch))
            return true;
    }
    return !found &&
           filter_tests_match(field->tests, field->test_count, &absent, true, at->scratch);
}

static bool headers_match(const struct attempt_at *at, const struct filter_object *object)
{
    for (size_t i = 0; i < object->field_count; i++)
        if (!header_matches(at, &object->fields[i]))
            return false;
    for (size_t i = 0; i < object->group_count; i++) {
        bool any = false;

        for (size_t j = 0; j < object->groups[i].object_count && !any; j++)
            any = headers_match(at, &object->groups[i].objects[j]);
        if (!any)
            return false;
    }
    return true;
}

static enum filter_match number_matches(const struct attempt_at *at,
                                        const struct filter_field *field, bool is_set,
                                        int64_t number)
{
    char text[24];
    struct json_scan_value value = absent;

    if (is_set)
        value = (struct json_scan_value){
            JSON_SCAN_NUMBER, text, (size_t)snprintf(text, sizeof text, "%" PRId64, number)};
    return told(filter_tests_match(field->tests, field->test_count, &value, true, at->scratch));
}

static enum filter_match part_matches(struct attempt_at *at, const struct filter_field *field)
{
    const struct filter_message *message = at->message;
    struct sluice_bytes source = {message->source, message->source ? strlen(message->source) : 0};
    struct json_scan_value text = text_value(&source);

    switch (field->name[0]) {
    case 'v':
        return bytes_match(at, field, &message->payload, &at->payload_is_json, "payload");
    case 'k':
        return bytes_match(at, field, &message->key, &at->key_is_json, "key");
    case 'h':
        return told(headers_match(at, field->object));
    case 'p':
        return number_matches(at, field, message->partition >= 0, message->partition);
    case 't':
        return number_matches(at, field, message->has_timestamp, message->timestamp_ms);
    default:
        return told(filter_tests_match(field->tests, field->test_count, &text, true, at->scratch));
    }
}

/* A plain no outweighs what cannot be told. */
static enum filter_match pattern_matches(struct attempt_at *at, const struct filter_object *pattern)
{
    enum filter_match all = FILTER_YES;

    for (size_t i = 0; i < pattern->field_count; i++) {
        enum filter_match one = part_matches(at, &pattern->fields[i]);

        if (one == FILTER_NO)
            return FILTER_NO;
        if (one == FILTER_UNTOLD)
            all = FILTER_UNTOLD;
    }
    for (size_t i = 0; i < pattern->group_count; i++) {
        const struct filter_group *group = &pattern->groups[i];
        enum filter_match any = FILTER_NO;

        for (size_t j = 0; j < group->object_count && any != FILTER_YES; j++) {
            enum filter_match one = pattern_matches(at, &group->objects[j]);

            any = one == FILTER_NO ? any : one;
        }
        if (any == FILTER_NO)
            return FILTER_NO;
        if (any == FILTER_UNTOLD)
            all = FILTER_UNTOLD;
    }
    return all;
}

enum filter_match filter_try(const struct filter *filter, const struct filter_message *message,
                             struct buffer *scratch, struct fault *why)
{
    enum filter_match best = FILTER_NO;
    struct attempt_at at;

    /* Member by member: the members of the payload need no zeroes. */
    at.message = message;
    at.scratch = scratch;
    at.payload_is_json = at.key_is_json = 0;
    at.budget = BUDGET_BYTES + 4 * (int64_t)message->payload.size;
    at.why = why;
    at.object = NULL;
    for (size_t i = 0; i < filter->count && best != FILTER_YES; i++) {
        enum filter_match one = pattern_matches(&at, &filter->patterns[i]);

        best = one == FILTER_NO ? best : one;
    }
    if (at.budget <= 0) {
        fault_set(why, "the filter would have to go through too much of the message: it is large, "
                       "deep, or there are many alternatives");
        return FILTER_UNTOLD;
    }
    return best;
}

bool filter_reads_headers(const struct filter *filter)
{
    return filter->reads_headers;
}

size_t filter_patterns(const struct filter *filter)
{
    return filter->count;
}
