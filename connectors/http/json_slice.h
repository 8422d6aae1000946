/* SPDX-License-Identifier: MIT
 * Looking into JSON without changing it: values stay the bytes that the server sent, so that a body
 * that is JSON reaches the function as it was, and numbers of any size keep their digits. */
#ifndef JSON_SLICE_H
#define JSON_SLICE_H

#include <stdbool.h>
#include <stddef.h>

#define JSON_SLICE_DEPTH 64 /* arrays and objects within each other, at most */

/* One value within a text that belongs to somebody else, without spaces around. */
struct json_slice {
    const char *data;
    size_t size;
};

/* Whether the text is one value by RFC 8259 and not deeper than JSON_SLICE_DEPTH. Bytes above 0x7f
 * within strings are not looked at. All other functions take only what this has accepted. */
bool json_slice_check(const char *text, size_t size, struct json_slice *ret_value);

/* RFC 6901: "" is the value itself, `/a/0` an element of a member. Of equal names the last. */
bool json_slice_find(struct json_slice value, const char *pointer, struct json_slice *ret_value);

/* Whether a text is such a pointer: empty, or beginning with `/`, with `~0` and `~1` only. */
bool json_slice_is_pointer(const char *pointer);

/* The elements of an array, one after the other; `at` begins with 0. False behind the last, and for
 * what is no array. */
bool json_slice_next(struct json_slice array, size_t *at, struct json_slice *ret_element);

/* What a value says: of a string its characters, of all others their JSON. With a NUL behind it;
 * the caller frees it. NULL: no memory. */
char *json_slice_text(struct json_slice value, size_t *ret_size);

/* Whether it is `[`, `{`, `"`, `t`, `f`, `n`, or a number (`0`). */
char json_slice_kind(struct json_slice value);

#endif
