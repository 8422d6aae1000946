/* SPDX-License-Identifier: MIT
 * A growable byte string with a cap given at creation. */
#ifndef BASE_BUFFER_H
#define BASE_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Once an append would pass the cap, `full` is set, the append and all later ones are dropped, and
 * the contents are what fitted before. Writers need not check each append, only `full` at the end. */
struct buffer {
    char *data; /* not NUL-terminated unless buffer_text was called; NULL while empty */
    size_t size;
    size_t capacity;
    size_t cap;
    bool full;
};

void buffer_init(struct buffer *buffer, size_t cap);
void buffer_fini(struct buffer *buffer);
/* Empties, keeping the memory. */
void buffer_reset(struct buffer *buffer);
/* Makes room for `more` bytes beyond `size`; false (and `full`) where the cap forbids. */
bool buffer_reserve(struct buffer *buffer, size_t more);
void buffer_format(struct buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buffer_add_number(struct buffer *buffer, int64_t number);
void buffer_add_unsigned(struct buffer *buffer, uint64_t number);
#define BUFFER_DIGITS 20
/* Writes the digits of a number, at most BUFFER_DIGITS, to where there is room; returns the place after them. */
char *buffer_put_unsigned(char *out, uint64_t number);
/* NUL-terminates (outside `size`) and returns the text; "" where nothing fits. */
const char *buffer_text(struct buffer *buffer);

static inline void buffer_add(struct buffer *buffer, const void *data, size_t size)
{
    if (size && !buffer->full &&
        (buffer->capacity - buffer->size >= size || buffer_reserve(buffer, size))) {
        memcpy(buffer->data + buffer->size, data, size);
        buffer->size += size;
    }
}

static inline void buffer_add_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

#endif
