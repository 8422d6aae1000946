/* SPDX-License-Identifier: MIT
 * JSON Pointers (RFC 6901) into payloads, for idempotency tokens. */
#ifndef CORE_POINTER_H
#define CORE_POINTER_H

#include <stddef.h>

#include "base/buffer.h"
#include "base/fault.h"

struct pointer; /* compiled; read-only, so any number of threads may share it */

/* NULL with a fault that names the cure where `text` is not a JSON Pointer or has more than 32
 * steps. */
struct pointer *pointer_compile(const char *text, struct fault *fault);
void pointer_free(struct pointer *pointer); /* NULL is fine */

/* Appends the scalar at the pointer to `ret_token`: strings without their escapes, numbers as they
 * are written (so `1` and `1.0` differ), `true`, `false`.
 * 1: found; 0: absent, null, an object or array, or an empty string (a token that says nothing
 * would make duplicates of strangers); -1: the payload as a whole is not valid JSON, or nested
 * deeper than 128. Of members of the same name the last counts. */
int pointer_find(const struct pointer *pointer, const void *json, size_t size,
                 struct buffer *ret_token);

#endif
