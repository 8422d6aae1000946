/* SPDX-License-Identifier: MIT
 * Reads back what text.c wrote of a header that is no string, see text_add_field. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "publish.h"

#define DEPTH_MOST  16
#define NUMBER_MOST 64 /* characters */

struct cursor {
    const char *at, *end;
    amqp_pool_t *pool;
};

static void skip_space(struct cursor *cursor)
{
    while (cursor->at < cursor->end && strchr(" \t\r\n", *cursor->at) && *cursor->at)
        cursor->at++;
}

static bool take(struct cursor *cursor, const char *word)
{
    size_t size = strlen(word);

    skip_space(cursor);
    if ((size_t)(cursor->end - cursor->at) < size || memcmp(cursor->at, word, size) != 0)
        return false;
    cursor->at += size;
    return true;
}

/* ---- strings ---- */

static bool read_hex(struct cursor *cursor, uint32_t *ret_code)
{
    char digits[5] = "", *rest;

    if (cursor->end - cursor->at < 4)
        return false;
    memcpy(digits, cursor->at, 4);
    *ret_code = (uint32_t)strtoul(digits, &rest, 16);
    cursor->at += 4;
    return !*rest;
}

/* What the writer escapes is below 0x20; others are copied as they are. */
static bool read_escape(struct cursor *cursor, char *ret_byte)
{
    static const char escapes[] = "\"\\/bfnrt", bytes[] = "\"\\/\b\f\n\r\t";
    const char *found;
    uint32_t code;

    if (cursor->at == cursor->end)
        return false;
    if (*cursor->at == 'u') {
        cursor->at++;
        if (!read_hex(cursor, &code) || code > 0x7f)
            return false;
        *ret_byte = (char)code;
        return true;
    }
    found = *cursor->at ? strchr(escapes, *cursor->at) : NULL;
    if (!found)
        return false;
    cursor->at++;
    *ret_byte = bytes[found - escapes];
    return true;
}

static bool read_string(struct cursor *cursor, amqp_bytes_t *ret_bytes)
{
    char *to;

    if (!take(cursor, "\""))
        return false;
    to = amqp_pool_alloc(cursor->pool, (size_t)(cursor->end - cursor->at) + 1);
    if (!to)
        return false;
    *ret_bytes = (amqp_bytes_t){0, to};
    while (cursor->at < cursor->end && *cursor->at != '"') {
        char byte = *cursor->at++;

        if (byte == '\\' && !read_escape(cursor, &byte))
            return false;
        to[ret_bytes->len++] = byte;
    }
    return take(cursor, "\"");
}

static bool read_base64(struct cursor *cursor, amqp_bytes_t *ret_bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    amqp_bytes_t text;
    uint32_t group = 0;
    unsigned bits = 0;
    size_t size = 0;
    char *to;

    if (!read_string(cursor, &text))
        return false;
    to = text.bytes; /* it becomes shorter */
    for (size_t i = 0; i < text.len && to[i] != '='; i++) {
        const char *digit = to[i] ? strchr(digits, to[i]) : NULL;

        if (!digit)
            return false;
        group = group << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits >= 8)
            to[size++] = (char)(group >> (bits -= 8));
    }
    *ret_bytes = (amqp_bytes_t){size, to};
    return true;
}

/* ---- numbers ---- */

static bool copy_number(struct cursor *cursor, char text[NUMBER_MOST])
{
    size_t size = 0;

    skip_space(cursor);
    while (cursor->at < cursor->end && *cursor->at && strchr("+-.0123456789eE", *cursor->at) &&
           size < NUMBER_MOST - 1)
        text[size++] = *cursor->at++;
    text[size] = '\0';
    return size > 0;
}

static bool read_number(struct cursor *cursor, amqp_field_value_t *value)
{
    char text[NUMBER_MOST], *rest;

    if (!copy_number(cursor, text))
        return false;
    errno = 0;
    value->kind = AMQP_FIELD_KIND_I64;
    value->value.i64 = strtoll(text, &rest, 10);
    if (!*rest && !errno)
        return true;
    value->kind = AMQP_FIELD_KIND_F64;
    value->value.f64 = strtod(text, &rest);
    return !*rest;
}

/* ---- what is nested ---- */

static bool read_value(struct cursor *cursor, unsigned depth, amqp_field_value_t *value);

/* {"$timestamp": ...}, {"$bytes": ...}, {"$string": ...}; a table otherwise, `*ret_tagged` false. */
static bool read_tagged(struct cursor *cursor, amqp_field_value_t *value, bool *ret_tagged)
{
    const char *begin = cursor->at;
    amqp_field_value_t number;
    bool fine = true;

    *ret_tagged = true;
    if (take(cursor, "{") && take(cursor, "\"$timestamp\"") && take(cursor, ":")) {
        fine = read_number(cursor, &number) && number.kind == AMQP_FIELD_KIND_I64;
        value->kind = AMQP_FIELD_KIND_TIMESTAMP;
        value->value.u64 = fine ? (uint64_t)number.value.i64 : 0;
        return fine && take(cursor, "}");
    }
    cursor->at = begin;
    if (take(cursor, "{") && take(cursor, "\"$bytes\"") && take(cursor, ":")) {
        value->kind = AMQP_FIELD_KIND_BYTES;
        return read_base64(cursor, &value->value.bytes) && take(cursor, "}");
    }
    cursor->at = begin;
    if (take(cursor, "{") && take(cursor, "\"$string\"") && take(cursor, ":")) {
        value->kind = AMQP_FIELD_KIND_UTF8;
        return read_base64(cursor, &value->value.bytes) && take(cursor, "}");
    }
    cursor->at = begin;
    *ret_tagged = false;
    return true;
}

static void *grow(struct cursor *cursor, const void *old, size_t count, size_t size)
{
    void *larger;

    if (count & (count - 1)) /* there is room up to the next power of two */
        return (void *)(uintptr_t)old;
    larger = amqp_pool_alloc(cursor->pool, (count ? count * 2 : 1) * size);
    if (larger && count)
        memcpy(larger, old, count * size);
    return larger;
}

static bool read_table(struct cursor *cursor, unsigned depth, amqp_table_t *ret_table)
{
    amqp_table_t table = {0, NULL};

    if (!take(cursor, "{"))
        return false;
    while (!take(cursor, "}")) {
        amqp_table_entry_t *entry;

        table.entries = grow(cursor, table.entries, (size_t)table.num_entries, sizeof *entry);
        if (!table.entries || (table.num_entries && !take(cursor, ",")))
            return false;
        entry = &table.entries[table.num_entries++];
        if (!read_string(cursor, &entry->key) || entry->key.len > 255 || !take(cursor, ":") ||
            !read_value(cursor, depth + 1, &entry->value))
            return false;
    }
    *ret_table = table;
    return true;
}

static bool read_array(struct cursor *cursor, unsigned depth, amqp_array_t *ret_array)
{
    amqp_array_t array = {0, NULL};

    if (!take(cursor, "["))
        return false;
    while (!take(cursor, "]")) {
        array.entries =
            grow(cursor, array.entries, (size_t)array.num_entries, sizeof *array.entries);
        if (!array.entries || (array.num_entries && !take(cursor, ",")) ||
            !read_value(cursor, depth + 1, &array.entries[array.num_entries++]))
            return false;
    }
    *ret_array = array;
    return true;
}

static bool read_value(struct cursor *cursor, unsigned depth, amqp_field_value_t *value)
{
    bool tagged;

    skip_space(cursor);
    if (depth > DEPTH_MOST || cursor->at == cursor->end)
        return false;
    switch (*cursor->at) {
    case '{':
        if (!read_tagged(cursor, value, &tagged) || tagged)
            return tagged && value->kind;
        value->kind = AMQP_FIELD_KIND_TABLE;
        return read_table(cursor, depth, &value->value.table);
    case '[':
        value->kind = AMQP_FIELD_KIND_ARRAY;
        return read_array(cursor, depth, &value->value.array);
    case '"':
        value->kind = AMQP_FIELD_KIND_UTF8;
        return read_string(cursor, &value->value.bytes);
    case 't':
    case 'f':
        value->kind = AMQP_FIELD_KIND_BOOLEAN;
        value->value.boolean = *cursor->at == 't';
        return take(cursor, value->value.boolean ? "true" : "false");
    case 'n':
        value->kind = AMQP_FIELD_KIND_VOID;
        return take(cursor, "null");
    default:
        return read_number(cursor, value);
    }
}

/* ---- a header ---- */

static bool fits(int64_t number, int64_t least, int64_t most)
{
    return number >= least && number <= most;
}

/* A number as the type that it had. */
static bool convert_number(char kind, const char *text, amqp_field_value_t *value)
{
    char *rest;
    int64_t number;

    errno = 0;
    value->kind = (uint8_t)kind;
    if (kind == AMQP_FIELD_KIND_F32 || kind == AMQP_FIELD_KIND_F64) {
        double real = strtod(text, &rest);

        if (kind == AMQP_FIELD_KIND_F32)
            value->value.f32 = (float)real;
        else
            value->value.f64 = real;
        return !*rest;
    }
    if (kind == AMQP_FIELD_KIND_U64 || kind == AMQP_FIELD_KIND_TIMESTAMP) {
        value->value.u64 = strtoull(text, &rest, 10);
        return !*rest && !errno && *text != '-';
    }
    number = strtoll(text, &rest, 10);
    if (*rest || errno)
        return false;
    switch (kind) {
    case AMQP_FIELD_KIND_I8:
        value->value.i8 = (int8_t)number;
        return fits(number, INT8_MIN, INT8_MAX);
    case AMQP_FIELD_KIND_U8:
        value->value.u8 = (uint8_t)number;
        return fits(number, 0, UINT8_MAX);
    case AMQP_FIELD_KIND_I16:
        value->value.i16 = (int16_t)number;
        return fits(number, INT16_MIN, INT16_MAX);
    case AMQP_FIELD_KIND_U16:
        value->value.u16 = (uint16_t)number;
        return fits(number, 0, UINT16_MAX);
    case AMQP_FIELD_KIND_I32:
        value->value.i32 = (int32_t)number;
        return fits(number, INT32_MIN, INT32_MAX);
    case AMQP_FIELD_KIND_U32:
        value->value.u32 = (uint32_t)number;
        return fits(number, 0, UINT32_MAX);
    case AMQP_FIELD_KIND_I64:
        value->value.i64 = number;
        return true;
    default:
        return false;
    }
}

/* `12.50`: 1250 with two decimals. */
static bool convert_decimal(const char *text, amqp_field_value_t *value)
{
    const char *point = strchr(text, '.');
    char digits[NUMBER_MOST], *rest;
    size_t whole = point ? (size_t)(point - text) : strlen(text);
    int64_t number;

    memcpy(digits, text, whole);
    strcpy(digits + whole, point ? point + 1 : "");
    errno = 0;
    number = strtoll(digits, &rest, 10);
    value->kind = AMQP_FIELD_KIND_DECIMAL;
    value->value.decimal =
        (amqp_decimal_t){point ? (uint8_t)strlen(point + 1) : 0, (uint32_t)(int32_t)number};
    return !*rest && !errno && fits(number, INT32_MIN, INT32_MAX);
}

bool rabbit_read_field(amqp_pool_t *pool, char kind, struct sluice_bytes text,
                       amqp_field_value_t *ret_value)
{
    struct cursor cursor = {text.data, (const char *)text.data + text.size, pool};
    char number[NUMBER_MOST];
    bool fine;

    if (!text.data)
        return false;
    switch (kind) {
    case AMQP_FIELD_KIND_BYTES:
        ret_value->kind = AMQP_FIELD_KIND_BYTES;
        ret_value->value.bytes = (amqp_bytes_t){text.size, (void *)(uintptr_t)text.data};
        return true;
    case AMQP_FIELD_KIND_BOOLEAN:
    case AMQP_FIELD_KIND_ARRAY:
    case AMQP_FIELD_KIND_TABLE:
        fine = read_value(&cursor, 0, ret_value) && ret_value->kind == (uint8_t)kind;
        break;
    case AMQP_FIELD_KIND_DECIMAL:
        fine = copy_number(&cursor, number) && convert_decimal(number, ret_value);
        break;
    default:
        fine = copy_number(&cursor, number) && convert_number(kind, number, ret_value);
        break;
    }
    return fine && cursor.at == cursor.end;
}
