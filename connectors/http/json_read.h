/* SPDX-License-Identifier: MIT
 * What the dialects that speak JSON do alike. */
#ifndef JSON_READ_H
#define JSON_READ_H

#include <jansson.h>

#include "dialect.h"

/* The answer's JSON, or NULL where it is none. NUL characters in texts are fine. */
json_t *json_read(const struct http_answer *answer);

/* The text of a value, which is used up; the caller frees it. NULL: no memory, or `json` was. */
char *json_write(json_t *json);

/* Copies a text into the message's memory. -1: no memory. */
int json_keep_string(json_t *string, struct http_message *message, struct sluice_bytes *ret);

/* The members of an object, texts as they are and others as JSON, become headers; nothing where it is
 * no object. -1: no memory. */
int json_keep_headers(json_t *object, struct http_message *message);

/* Earlier deliveries, where a server counts this one too; 0 where it does not tell. */
uint32_t json_read_deliveries(json_t *attempts);
uint32_t json_earlier_deliveries(int64_t attempts);

/* Writes a text between quotes, and returns where it ends: JSON_QUOTED(size) bytes further at most. */
char *json_put_string(char *out, const char *text);
#define JSON_QUOTED(size) (6 * (size) + 2)

#endif
