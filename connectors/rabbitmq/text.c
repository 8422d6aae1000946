/* SPDX-License-Identifier: MIT */
#include "text.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MOST 64 /* tables within tables; deeper ones are null */

void text_init(struct text *text)
{
    text->data = text->first;
    text->size = 0;
    text->room = sizeof text->first;
    text->failed = false;
}

void text_fini(struct text *text)
{
    if (text->data != text->first)
        free(text->data);
}

void text_add(struct text *text, const void *data, size_t size)
{
    if (size > text->room - text->size) {
        size_t room = (text->size + size) * 2;
        char *larger = text->data == text->first ? malloc(room) : realloc(text->data, room);

        if (!larger) {
            text->failed = true;
            return;
        }
        if (text->data == text->first)
            memcpy(larger, text->first, text->size);
        text->data = larger;
        text->room = room;
    }
    if (size)
        memcpy(text->data + text->size, data, size);
    text->size += size;
}

void text_print(struct text *text, const char *format, ...)
{
    char some[64];
    va_list arguments;
    int size;

    va_start(arguments, format);
    size = vsnprintf(some, sizeof some, format, arguments);
    va_end(arguments);
    text_add(text, some, (size_t)size < sizeof some ? (size_t)size : sizeof some - 1);
}

static void add(struct text *text, const char *literal)
{
    text_add(text, literal, strlen(literal));
}

/* How many bytes of a well-formed UTF-8 character (RFC 3629) begin here; 0: none. */
static size_t character(const unsigned char *at, size_t left)
{
    size_t size = at[0] < 0x80 ? 1 : at[0] < 0xc2 ? 0 : at[0] < 0xe0 ? 2 : at[0] < 0xf0 ? 3 : at[0] < 0xf5 ? 4 : 0;

    if (size > left)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xc0) != 0x80)
            return 0;
    if (size > 2 && ((at[0] == 0xe0 && at[1] < 0xa0) || (at[0] == 0xed && at[1] > 0x9f) ||
                     (at[0] == 0xf0 && at[1] < 0x90) || (at[0] == 0xf4 && at[1] > 0x8f)))
        return 0;
    return size;
}

static bool is_utf8(amqp_bytes_t bytes)
{
    const unsigned char *at = bytes.bytes;
    size_t step;

    for (size_t i = 0; i < bytes.len; i += step)
        if (!(step = character(at + i, bytes.len - i)))
            return false;
    return true;
}

static void add_base64(struct text *text, amqp_bytes_t bytes)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *at = bytes.bytes;

    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t left = bytes.len - i;
        unsigned group = (unsigned)at[i] << 16 | (left > 1 ? (unsigned)at[i + 1] << 8 : 0) |
                         (left > 2 ? at[i + 2] : 0);
        char four[4] = {digits[group >> 18], digits[group >> 12 & 63],
                        left > 1 ? digits[group >> 6 & 63] : '=', left > 2 ? digits[group & 63] : '='};

        text_add(text, four, 4);
    }
}

static void add_tagged(struct text *text, const char *begin, amqp_bytes_t bytes)
{
    add(text, begin);
    add_base64(text, bytes);
    add(text, "\"}");
}

static void add_string(struct text *text, amqp_bytes_t bytes)
{
    const char *at = bytes.bytes;

    if (!is_utf8(bytes)) {
        add_tagged(text, "{\"$string\":\"", bytes);
        return;
    }
    add(text, "\"");
    for (size_t i = 0; i < bytes.len; i++) {
        if (at[i] == '"' || at[i] == '\\')
            text_print(text, "\\%c", at[i]);
        else if ((unsigned char)at[i] < 0x20)
            text_print(text, "\\u%04x", (unsigned char)at[i]);
        else
            text_add(text, at + i, 1);
    }
    add(text, "\"");
}

static void add_real(struct text *text, double number, int digits)
{
    if (isfinite(number))
        text_print(text, "%.*g", digits, number);
    else
        add(text, "null"); /* JSON has no other word for it */
}

static void add_decimal(struct text *text, amqp_decimal_t decimal)
{
    int64_t number = (int32_t)decimal.value, size = number < 0 ? -number : number, scale = 1;

    if (!decimal.decimals || decimal.decimals > 18) {
        text_print(text, decimal.decimals ? "%" PRId64 "e-%u" : "%" PRId64, number, decimal.decimals);
        return;
    }
    for (int i = 0; i < decimal.decimals; i++)
        scale *= 10;
    text_print(text, "%s%" PRId64 ".%0*" PRId64, number < 0 ? "-" : "", size / scale,
               decimal.decimals, size % scale);
}

static void add_field(struct text *text, const amqp_field_value_t *value, unsigned depth);

static void add_table(struct text *text, const amqp_table_t *table, unsigned depth)
{
    add(text, "{");
    for (int i = 0; i < table->num_entries; i++) {
        add(text, i ? "," : "");
        if (is_utf8(table->entries[i].key))
            add_string(text, table->entries[i].key);
        else
            add(text, "\"?\""); /* a JSON object has no other names than texts */
        add(text, ":");
        add_field(text, &table->entries[i].value, depth + 1);
    }
    add(text, "}");
}

static void add_array(struct text *text, const amqp_array_t *array, unsigned depth)
{
    add(text, "[");
    for (int i = 0; i < array->num_entries; i++) {
        add(text, i ? "," : "");
        add_field(text, &array->entries[i], depth + 1);
    }
    add(text, "]");
}

/* False: not a number. */
static bool add_number(struct text *text, const amqp_field_value_t *value)
{
    switch (value->kind) {
    case AMQP_FIELD_KIND_I8:
        text_print(text, "%d", value->value.i8);
        return true;
    case AMQP_FIELD_KIND_U8:
        text_print(text, "%u", value->value.u8);
        return true;
    case AMQP_FIELD_KIND_I16:
        text_print(text, "%d", value->value.i16);
        return true;
    case AMQP_FIELD_KIND_U16:
        text_print(text, "%u", value->value.u16);
        return true;
    case AMQP_FIELD_KIND_I32:
        text_print(text, "%" PRId32, value->value.i32);
        return true;
    case AMQP_FIELD_KIND_U32:
        text_print(text, "%" PRIu32, value->value.u32);
        return true;
    case AMQP_FIELD_KIND_I64:
        text_print(text, "%" PRId64, value->value.i64);
        return true;
    case AMQP_FIELD_KIND_U64:
        text_print(text, "%" PRIu64, value->value.u64);
        return true;
    case AMQP_FIELD_KIND_F32:
        add_real(text, (double)value->value.f32, 9);
        return true;
    case AMQP_FIELD_KIND_F64:
        add_real(text, value->value.f64, 17);
        return true;
    case AMQP_FIELD_KIND_DECIMAL:
        add_decimal(text, value->value.decimal);
        return true;
    default:
        return false;
    }
}

static void add_field(struct text *text, const amqp_field_value_t *value, unsigned depth)
{
    if (depth > DEPTH_MOST || add_number(text, value)) {
        if (depth > DEPTH_MOST)
            add(text, "null");
        return;
    }
    switch (value->kind) {
    case AMQP_FIELD_KIND_BOOLEAN:
        add(text, value->value.boolean ? "true" : "false");
        break;
    case AMQP_FIELD_KIND_UTF8:
        add_string(text, value->value.bytes);
        break;
    case AMQP_FIELD_KIND_BYTES:
        add_tagged(text, "{\"$bytes\":\"", value->value.bytes);
        break;
    case AMQP_FIELD_KIND_TIMESTAMP:
        text_print(text, depth ? "{\"$timestamp\":%" PRIu64 "}" : "%" PRIu64, value->value.u64);
        break;
    case AMQP_FIELD_KIND_TABLE:
        add_table(text, &value->value.table, depth);
        break;
    case AMQP_FIELD_KIND_ARRAY:
        add_array(text, &value->value.array, depth);
        break;
    default:
        add(text, "null");
        break;
    }
}

void text_add_field(struct text *text, const amqp_field_value_t *value)
{
    add_field(text, value, 0);
}
