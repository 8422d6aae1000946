/* SPDX-License-Identifier: MIT */
#include "core/envelope.h"

#include <stdlib.h>

#include "base/base64.h"
#include "base/memory.h"
#include "core/envelope_shapes.h"

char *envelope_put_number(char *out, int64_t number)
{
    if (number < 0) {
        *out++ = '-';
        return buffer_put_unsigned(out, 0 - (uint64_t)number);
    }
    return buffer_put_unsigned(out, (uint64_t)number);
}

void envelope_add_text(struct buffer *buffer, const void *data, size_t size)
{
    size_t escaped;

    if (!size)
        return;
    /* Where even the longest fits it need not be measured first. */
    if (buffer->capacity - buffer->size >= JSON_TEXT_MOST(size) && !buffer->full) {
        char *end = json_text_write(buffer->data + buffer->size, data, size);

        buffer->size = (size_t)(end - buffer->data);
        return;
    }
    escaped = json_text_size(data, size);
    if (escaped && buffer_reserve(buffer, escaped)) {
        json_text_write(buffer->data + buffer->size, data, size);
        buffer->size += escaped;
    }
}

void envelope_add_base64(struct buffer *buffer, const struct sluice_bytes *bytes)
{
    size_t size = BASE64_SIZE(bytes->size);

    if (size && buffer_reserve(buffer, size)) {
        base64_write(buffer->data + buffer->size, bytes->data, bytes->size);
        buffer->size += size;
    }
}

int envelope_compare_places(const struct envelope_record *a, const struct envelope_record *b)
{
    int order = a->source == b->source ? 0 : strcmp(a->source, b->source);

    return order ? order : (a->partition > b->partition) - (a->partition < b->partition);
}

/* By topic and partition, within that as they were given. */
static int compare_places(const void *left, const void *right)
{
    const struct envelope_record *a = *(const struct envelope_record *const *)left;
    const struct envelope_record *b = *(const struct envelope_record *const *)right;
    int order = envelope_compare_places(a, b);

    return order ? order : (a > b) - (a < b);
}

const struct envelope_record **envelope_sort_by_place(const struct envelope_record *records,
                                                      size_t count)
{
    const struct envelope_record **sorted = memory_new(count * sizeof *sorted);

    for (size_t i = 0; i < count; i++)
        sorted[i] = &records[i];
    qsort(sorted, count, sizeof *sorted, compare_places);
    return sorted;
}

typedef void (*shape_fn)(struct buffer *buffer, const struct envelope_context *context,
                         const struct envelope_record *records, size_t count);

/* AWS's event for the kind of source; NULL where AWS has none that is written here. */
static shape_fn lambda_shape(const char *kind)
{
    static const struct {
        const char *kind;
        shape_fn write;
    } shapes[] = {{"kafka", envelope_kafka_write},
                  {"rabbitmq", envelope_rabbitmq_write},
                  {"sqs", envelope_sqs_write}};

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
        if (!strcmp(shapes[i].kind, kind))
            return shapes[i].write;
    return NULL;
}

bool envelope_has_lambda(const char *kind)
{
    return lambda_shape(kind);
}

static void write_lambda(struct buffer *buffer, const struct envelope_context *context,
                         const struct envelope_record *records, size_t count)
{
    shape_fn write = lambda_shape(context->kind);

    (write ? write : envelope_json_write)(buffer, context, records, count);
}

void envelope_write(struct buffer *buffer, const struct envelope_context *context,
                    const struct envelope_record *records, size_t count)
{
    switch (context->format) {
    case ENVELOPE_LAMBDA:
        write_lambda(buffer, context, records, count);
        return;
    case ENVELOPE_JSON:
        envelope_json_write(buffer, context, records, count);
        return;
    case ENVELOPE_RAW:
        buffer_add(buffer, records->message->payload.data, records->message->payload.size);
        return;
    }
}

const char *envelope_content_type(const struct envelope_context *context,
                                  const struct envelope_record *records)
{
    const struct sluice_bytes *payload = &records->message->payload;

    if (context->format != ENVELOPE_RAW)
        return "application/json";
    if (payload->size &&
        (*(const char *)payload->data == '{' || *(const char *)payload->data == '['))
        return "application/json";
    return "application/octet-stream";
}
