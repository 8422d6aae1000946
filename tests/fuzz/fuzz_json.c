/* SPDX-License-Identifier: MIT
 * json_scan, json_scan_members and json_walk over the same text, beside jansson. */
#include "fuzz.h"

#include <string.h>

#include <jansson.h>

#include "base/json_scan.h"
#include "base/json_walk.h"

#define ROOM 64

static size_t count_all(const struct json_scan_value *value, size_t left)
{
    struct json_scan_value name, inner;
    struct json_walk walk;

    if (value->kind != JSON_SCAN_ARRAY && value->kind != JSON_SCAN_OBJECT)
        return 1;
    MUST(left); /* json_scan bounds the depth */
    walk = json_walk_begin(value);
    size_t count = 1;
    while (json_walk_next(&walk, &name, &inner)) {
        MUST(walk.is_array || name.kind == JSON_SCAN_STRING);
        count += count_all(&inner, left - 1);
    }
    return count;
}

static void check_members(const char *text, size_t size, const struct json_scan_value *whole)
{
    struct json_scan_member members[ROOM];
    struct json_scan_value name, value;
    struct json_walk walk;
    size_t count, seen = 0;

    MUST(json_scan_members(text, size, members, ROOM, &count));
    if (whole->kind != JSON_SCAN_OBJECT) {
        MUST(count == 0);
        return;
    }
    walk = json_walk_begin(whole);
    while (json_walk_next(&walk, &name, &value)) {
        if (seen < ROOM) {
            MUST(members[seen].name.text == name.text && members[seen].name.size == name.size);
            MUST(members[seen].value.kind == value.kind && members[seen].value.text == value.text &&
                 members[seen].value.size == value.size);
        }
        seen++;
    }
    MUST(seen == count);
}

/* jansson refuses what is fine by RFC 8259: numbers that no double or integer holds, NUL in names; and
 * takes nesting that json_scan does not. */
static void check_beside_jansson(const char *text, size_t size, bool valid)
{
    json_error_t error;
    json_t *json = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    size_t depth = 0;

    for (size_t i = 0; i < size; i++)
        depth += text[i] == '[' || text[i] == '{';
    if (json && depth <= JSON_SCAN_DEPTH && !memchr(text, 0, size)) /* it overlooks a NUL behind a number */
        MUST(valid);
    if (!json && valid)
        MUST(json_error_code(&error) == json_error_numeric_overflow ||
             json_error_code(&error) == json_error_null_byte_in_key);
    json_decref(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct json_scan_step path[] = {{"a", 1, -1}, {"0", 1, 0}};
    const char *text = (const char *)data;
    struct json_scan_value found = {0}, whole;
    bool valid = json_scan(text, size, NULL, 0, NULL);
    struct json_scan_member members[1];
    size_t count;

    MUST(json_scan(text, size, path, 2, &found) == valid);
    MUST(json_scan_members(text, size, members, 1, &count) == valid);
    check_beside_jansson(text, size, valid);
    if (!valid)
        return 0;
    if (found.kind == JSON_SCAN_STRING) {
        struct buffer buffer;

        buffer_init(&buffer, 1 << 20);
        json_scan_unescape(&buffer, &found);
        MUST(json_scan_same(&found, buffer.data ? buffer.data : "", buffer.size));
        buffer_fini(&buffer);
    }
    whole = json_walk_text(text, size);
    MUST(count_all(&whole, JSON_SCAN_DEPTH) >= 1);
    check_members(text, size, &whole);
    return 0;
}
