/* SPDX-License-Identifier: MIT
 * Looking into JSON without changing it: values stay the bytes that the server sent, so that a body
 * that is JSON reaches the function as it was, and numbers of any size keep their digits. */
#ifndef JSON_SLICE_H
#define JSON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

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

/* Goes on to the first byte that ends a JSON string, begins an escape or must be written as one; else to `end`. */
const char *json_slice_skip_plain(const char *at, const char *end);

/* Whether a value is a string that says this. */
bool json_slice_is_long(struct json_slice value, const char *text);
static inline bool json_slice_is(struct json_slice value, const char *text)
{
    size_t size = strlen(text);

    /* One that is longer may have escapes. */
    return value.size == size + 2 ? *value.data == '"' && !memcmp(value.data + 1, text, size)
                                  : value.size > size + 2 && json_slice_is_long(value, text);
}

/* Writes what a string says and a NUL, all into no more memory than the string has. Returns the size without
 * the NUL. */
size_t json_slice_copy(struct json_slice string, char *ret);

/* What a value says: of a string its characters, of all others their JSON. With a NUL behind it;
 * the caller frees it. NULL: no memory. */
char *json_slice_text(struct json_slice value, size_t *ret_size);

/* Whether it is `[`, `{`, `"`, `t`, `f`, `n`, or a number (`0`). */
char json_slice_kind(struct json_slice value);

/* ---- reading from front to back, where all of a text is wanted: it is checked as it is read ---- */

struct json_reader {
    const char *at, *end;
    bool first;  /* nothing of the present object or array was read yet */
    bool failed; /* it is no JSON, or not what was asked for; then nothing more is read */
    unsigned depth;
};

void json_reader_begin(struct json_reader *reader, const char *text, size_t size);
/* Enters an object (`{`) or an array (`[`), which must be next. */
void json_reader_enter(struct json_reader *reader, char kind);
/* Whether the object has another member, whose name is read, with its quotes: the value is next. At its end it
 * is left. */
bool json_reader_member(struct json_reader *reader, struct json_slice *ret_name);
/* Whether the array has another element, which is next. At its end it is left. */
bool json_reader_element(struct json_reader *reader);
/* The kind of what is next, as `json_slice_kind`; NUL after a failure. */
char json_reader_kind(struct json_reader *reader);
/* Reads a value, with all that is in it. False after a failure. */
bool json_reader_take(struct json_reader *reader, struct json_slice *ret_value);
/* Whether nothing failed and nothing is left. */
bool json_reader_end(struct json_reader *reader);

#endif
