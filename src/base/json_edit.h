/* SPDX-License-Identifier: MIT
 * Changing one value in a JSON text without touching the rest: numbers, order and spaces stay. */
#ifndef BASE_JSON_EDIT_H
#define BASE_JSON_EDIT_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/fault.h"

/* Appends the JSON text `json` with the value at the JSON Pointer (RFC 6901) replaced by the JSON
 * text `value`, or added: a new member at the end of an object, `-` at the end of an array. What is
 * above it must be there. Of members of the same name the last counts. -1 with a fault, and nothing
 * of use in `ret`: not JSON, no such place. */
int json_edit_set(struct buffer *ret, const char *json, size_t size, const char *pointer,
                  const char *value, size_t value_size, struct fault *fault);

/* Appends the JSON text laid out on lines, two spaces for each level; tokens stay as written. The
 * text must be valid. */
void json_edit_lay_out(struct buffer *ret, const char *json, size_t size);
/* Appends it without the spaces between tokens. */
void json_edit_pack(struct buffer *ret, const char *json, size_t size);

#endif
