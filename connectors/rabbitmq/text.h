/* SPDX-License-Identifier: MIT
 * Text that grows, and JSON in it. */
#ifndef RABBITMQ_TEXT_H
#define RABBITMQ_TEXT_H

#include "rabbitmq.h"

struct text {
    char *data; /* `first`, or own memory */
    size_t size, room;
    bool failed; /* no memory: what is there is not all */
    char first[1024];
};

void text_init(struct text *text);
void text_fini(struct text *text);
void text_add(struct text *text, const void *data, size_t size);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The value of a header that is no string: numbers and truth as they are in JSON, `null` for none, tables
 * as objects, arrays as arrays. Within those
 *   {"$timestamp": seconds}, {"$bytes": "base64"} for a byte array, {"$string": "base64"} for a string that
 *   is not UTF-8. */
void text_add_field(struct text *text, const amqp_field_value_t *value);

#endif
