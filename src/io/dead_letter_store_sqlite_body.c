/* SPDX-License-Identifier: MIT
 * Attempts and headers, as they are stored. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "io/dead_letter_store_sqlite.h"

/* ASCII as it is, what JSON wants escaped is escaped, and bytes that are not UTF-8 are replaced:
 * jansson reads nothing else. */
static void add_json_text(struct buffer *buffer, const char *text, size_t most)
{
    size_t size = strnlen(text, most);

    buffer_add(buffer, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        size_t length = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;

        if (c == '"' || c == '\\') {
            buffer_add(buffer, "\\", 1);
            buffer_add(buffer, &text[i], 1);
        } else if (c < 0x20) {
            buffer_format(buffer, "\\u%04x", c);
        } else if (length == 1) {
            buffer_add(buffer, &text[i], 1);
        } else {
            json_t *probe = length && length <= size - i ? json_stringn(text + i, length) : NULL;

            if (probe) {
                buffer_add(buffer, text + i, length);
                i += length - 1;
            } else {
                buffer_add_text(buffer, "?");
            }
            json_decref(probe);
        }
    }
    buffer_add(buffer, "\"", 1);
}

void dead_letter_sqlite_write_attempts(struct buffer *buffer, const struct dead_letter *letter)
{
    size_t first = letter->attempts_kept > DEAD_LETTER_ATTEMPTS
                       ? letter->attempts_kept - DEAD_LETTER_ATTEMPTS
                       : 0;

    buffer_add(buffer, "[", 1);
    for (size_t i = first; i < letter->attempts_kept; i++) {
        const struct dead_letter_attempt *attempt = &letter->attempts[i];

        buffer_add_text(buffer, i == first ? "[" : ",[");
        buffer_add_number(buffer, attempt->wall_us);
        buffer_add(buffer, ",", 1);
        buffer_add_number(buffer, attempt->duration_us);
        buffer_add(buffer, ",", 1);
        buffer_add_number(buffer, attempt->status);
        buffer_add(buffer, ",", 1);
        buffer_add_number(buffer, attempt->batch_size);
        buffer_add(buffer, ",", 1);
        add_json_text(buffer, attempt->outcome, sizeof attempt->outcome);
        buffer_add(buffer, ",", 1);
        add_json_text(buffer, attempt->error, sizeof attempt->error);
        buffer_add(buffer, "]", 1);
    }
    buffer_add(buffer, "]", 1);
}

static void read_text(const json_t *array, size_t index, char *ret_text, size_t room)
{
    const char *text = json_string_value(json_array_get(array, index));
    size_t size = text ? strlen(text) : 0;

    if (size > room - 1)
        size = room - 1;
    if (size)
        memcpy(ret_text, text, size);
    ret_text[size] = '\0';
}

size_t dead_letter_sqlite_read_attempts(const char *text, size_t size,
                                        struct dead_letter_attempt ret[DEAD_LETTER_ATTEMPTS])
{
    json_t *attempts = text ? json_loadb(text, size, 0, NULL) : NULL;
    size_t count = json_array_size(attempts);

    if (count > DEAD_LETTER_ATTEMPTS)
        count = DEAD_LETTER_ATTEMPTS;
    for (size_t i = 0; i < count; i++) {
        const json_t *one = json_array_get(attempts, i);

        ret[i].wall_us = json_integer_value(json_array_get(one, 0));
        ret[i].duration_us = json_integer_value(json_array_get(one, 1));
        ret[i].status = (uint32_t)json_integer_value(json_array_get(one, 2));
        ret[i].batch_size = (uint32_t)json_integer_value(json_array_get(one, 3));
        read_text(one, 4, ret[i].outcome, sizeof ret[i].outcome);
        read_text(one, 5, ret[i].error, sizeof ret[i].error);
    }
    json_decref(attempts);
    return count;
}

static void add_size(struct buffer *buffer, size_t size)
{
    const unsigned char bytes[4] = {(unsigned char)size, (unsigned char)(size >> 8),
                                    (unsigned char)(size >> 16), (unsigned char)(size >> 24)};

    buffer_add(buffer, bytes, sizeof bytes);
}

void dead_letter_sqlite_write_headers(struct buffer *buffer, const struct dead_letter *letter)
{
    for (size_t i = 0; i < letter->header_count; i++) {
        const struct sluice_header *header = &letter->headers[i];

        add_size(buffer, header->name.size);
        add_size(buffer, header->value.data ? header->value.size + 1 : 0);
        buffer_add(buffer, header->name.data, header->name.size);
        if (header->value.data)
            buffer_add(buffer, header->value.data, header->value.size);
    }
}

/* A size and whether it was there. */
static size_t take_size(const unsigned char **at, size_t *left)
{
    const unsigned char *bytes = *at;

    *at += 4;
    *left -= 4;
    return bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16 | (size_t)bytes[3] << 24;
}

size_t dead_letter_sqlite_read_headers(const void *bytes, size_t size,
                                       struct sluice_header **ret_headers)
{
    const unsigned char *at = bytes;
    struct sluice_header *headers = memory_zero(size / 8 + 1, sizeof *headers);
    size_t count = 0;

    while (size >= 8) {
        size_t name = take_size(&at, &size), value = take_size(&at, &size);
        size_t value_size = value ? value - 1 : 0;

        if (name > size || value_size > size - name)
            break;
        headers[count].name = (struct sluice_bytes){at, name};
        headers[count].value = (struct sluice_bytes){value ? at + name : NULL, value_size};
        at += name + value_size;
        size -= name + value_size;
        count++;
    }
    *ret_headers = headers;
    return count;
}
