/* SPDX-License-Identifier: MIT
 * The event shapes behind envelope_write, one file each. Only for envelope*.c, and the record that holds
 * such an event. */
#ifndef CORE_ENVELOPE_SHAPES_H
#define CORE_ENVELOPE_SHAPES_H

#include <string.h>

#include "base/json_text.h"
#include "core/envelope.h"

void envelope_kafka_write(struct buffer *buffer, const struct envelope_context *context,
                          const struct envelope_record *records, size_t count);
void envelope_rabbitmq_write(struct buffer *buffer, const struct envelope_context *context,
                             const struct envelope_record *records, size_t count);
void envelope_sqs_write(struct buffer *buffer, const struct envelope_context *context,
                        const struct envelope_record *records, size_t count);
void envelope_json_write(struct buffer *buffer, const struct envelope_context *context,
                         const struct envelope_record *records, size_t count);

/* The writers below put bytes at `out` without looking: the caller has reserved their sizes, once
 * for a whole record. */

#define ENVELOPE_NUMBER BUFFER_DIGITS /* the longest number, with its sign */

char *envelope_put_number(char *out, int64_t number);

static inline char *envelope_put(char *out, const char *text, size_t size)
{
    memcpy(out, text, size);
    return out + size;
}

/* A string literal. */
#define ENVELOPE_PUT(out, literal) envelope_put(out, literal, sizeof(literal) - 1)

/* Appends the inside of a JSON string. */
void envelope_add_text(struct buffer *buffer, const void *data, size_t size);
/* The same, in base64. */
void envelope_add_base64(struct buffer *buffer, const struct sluice_bytes *bytes);
/* A string where it is UTF-8, {"base64":"..."} where not, null where absent. */
void envelope_add_text_or_base64(struct buffer *buffer, const struct sluice_bytes *bytes);

/* By source and partition: < 0, 0, > 0. */
int envelope_compare_places(const struct envelope_record *a, const struct envelope_record *b);
/* The records by source and partition, within that as they were given; the caller's, for free(). */
const struct envelope_record **envelope_sort_by_place(const struct envelope_record *records,
                                                      size_t count);

#endif
