/* SPDX-License-Identifier: MIT
 * One pass over a JSON text (RFC 8259): is it valid, and what is at one path in it. No tree, no
 * allocation, bounded depth. */
#ifndef BASE_JSON_SCAN_H
#define BASE_JSON_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

#define JSON_SCAN_DEPTH 128 /* arrays and objects within each other; deeper counts as not JSON */
#define JSON_SCAN_STEPS 32  /* of a path */

/* One step of a path: a member's name and, where that is written as an array index, the index. */
struct json_scan_step {
    const char *name; /* UTF-8, not NUL-terminated */
    size_t name_size;
    int64_t index; /* -1: not an index */
};

enum json_scan_kind {
    JSON_SCAN_ABSENT,
    JSON_SCAN_STRING,
    JSON_SCAN_NUMBER,
    JSON_SCAN_TRUE,
    JSON_SCAN_FALSE,
    JSON_SCAN_NULL,
    JSON_SCAN_OBJECT,
    JSON_SCAN_ARRAY
};

struct json_scan_value {
    enum json_scan_kind kind;
    const char *text; /* STRING: between the quotes, still escaped; NUMBER: as written; else NULL */
    size_t size;
};

/* Whether `data` is exactly one JSON text in strict UTF-8, also without lone surrogates in escapes.
 * With `steps` at most JSON_SCAN_STEPS and `ret_value` not NULL also says what is at the path; of
 * members of the same name the last counts, as for JSON.parse. */
bool json_scan(const void *data, size_t size, const struct json_scan_step *path, size_t steps,
               struct json_scan_value *ret_value);

/* A member of an object: a STRING, and what it holds. `text` and `size` of an ARRAY or OBJECT are all of
 * it, with its brackets, as json_walk gives them. */
struct json_scan_member {
    struct json_scan_value name, value;
};

/* As json_scan without a path. Where the text is an object, `ret_members` are its own members in their
 * order, the first `room` of them, and *ret_count says how many there are; where it is anything else,
 * *ret_count is 0. */
bool json_scan_members(const void *data, size_t size, struct json_scan_member *ret_members,
                       size_t room, size_t *ret_count);

/* Whether the text of a STRING, its escapes resolved, is `name`. */
bool json_scan_same(const struct json_scan_value *string, const char *name, size_t size);

/* Appends the text of a STRING with its escapes resolved. */
void json_scan_unescape(struct buffer *buffer, const struct json_scan_value *string);

#endif
