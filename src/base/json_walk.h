/* SPDX-License-Identifier: MIT
 * Going through a JSON text that json_scan found valid: member by member, without a tree. Texts that
 * were not checked must not be given to it. */
#ifndef BASE_JSON_WALK_H
#define BASE_JSON_WALK_H

#include "base/json_scan.h"

/* The whole text as a value. As in json_scan, but that `text` and `size` of an ARRAY or OBJECT are all
 * of it, with its brackets. */
struct json_scan_value json_walk_text(const void *json, size_t size);

struct json_walk {
    const char *at, *end;
    bool is_array;
};

/* Begins with an ARRAY or OBJECT that this file gave. */
struct json_walk json_walk_begin(const struct json_scan_value *container);
/* The next element, or member with its name; false at the end. `ret_name` is left alone in arrays. */
bool json_walk_next(struct json_walk *walk, struct json_scan_value *ret_name,
                    struct json_scan_value *ret_value);

#endif
