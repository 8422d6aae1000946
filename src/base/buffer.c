/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/memory.h"

#define FIRST_CAPACITY 256

void buffer_init(struct buffer *buffer, size_t cap)
{
    *buffer = (struct buffer){.cap = cap};
}

void buffer_fini(struct buffer *buffer)
{
    free(buffer->data);
    *buffer = (struct buffer){.cap = buffer->cap};
}

void buffer_reset(struct buffer *buffer)
{
    buffer->size = 0;
    buffer->full = false;
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    size_t capacity = buffer->capacity;

    if (buffer->full || more > buffer->cap || buffer->size > buffer->cap - more) {
        buffer->full = true;
        return false;
    }
    if (capacity - buffer->size >= more)
        return true;
    if (capacity < FIRST_CAPACITY)
        capacity = FIRST_CAPACITY;
    while (capacity - buffer->size < more)
        capacity *= 2;
    if (capacity > buffer->cap)
        capacity = buffer->cap;
    buffer->data = memory_resize(buffer->data, capacity, 1);
    buffer->capacity = capacity;
    return true;
}

void buffer_format(struct buffer *buffer, const char *format, ...)
{
    va_list arguments, again;
    size_t room = buffer->capacity - buffer->size;
    int wanted;

    va_start(arguments, format);
    va_copy(again, arguments);
    wanted = vsnprintf(room ? buffer->data + buffer->size : NULL, room, format, arguments);
    va_end(arguments);
    if (wanted >= 0 && buffer_reserve(buffer, (size_t)wanted + 1)) {
        if ((size_t)wanted >= room)
            vsnprintf(buffer->data + buffer->size, (size_t)wanted + 1, format, again);
        buffer->size += (size_t)wanted;
    }
    va_end(again);
}

char *buffer_put_unsigned(char *out, uint64_t number)
{
    char digits[BUFFER_DIGITS];
    char *at = digits + sizeof digits;
    size_t size;

    do
        *--at = (char)('0' + number % 10);
    while (number /= 10);
    size = (size_t)(digits + sizeof digits - at);
    memcpy(out, at, size);
    return out + size;
}

void buffer_add_unsigned(struct buffer *buffer, uint64_t number)
{
    char digits[BUFFER_DIGITS];

    buffer_add(buffer, digits, (size_t)(buffer_put_unsigned(digits, number) - digits));
}

void buffer_add_number(struct buffer *buffer, int64_t number)
{
    if (number < 0)
        buffer_add(buffer, "-", 1);
    buffer_add_unsigned(buffer, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

const char *buffer_text(struct buffer *buffer)
{
    if (buffer->capacity == buffer->size) {
        buffer->data = memory_resize(buffer->data, buffer->capacity + 1, 1);
        buffer->capacity++;
    }
    buffer->data[buffer->size] = '\0';
    return buffer->data;
}
