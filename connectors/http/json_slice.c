/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "json_slice.h"

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK  16
#define STRIDE (4 * BLOCK)

struct scan {
    const char *at, *end;
};

static void skip_spaces(struct scan *scan)
{
    while (scan->at < scan->end && (*scan->at == ' ' || *scan->at == '\n' || *scan->at == '\r' || *scan->at == '\t'))
        scan->at++;
}

static bool skip_char(struct scan *scan, char expected)
{
    if (scan->at == scan->end || *scan->at != expected)
        return false;
    scan->at++;
    return true;
}

static bool skip_word(struct scan *scan, const char *word)
{
    size_t size = strlen(word);

    if ((size_t)(scan->end - scan->at) < size || memcmp(scan->at, word, size) != 0)
        return false;
    scan->at += size;
    return true;
}

static bool skip_digits(struct scan *scan)
{
    const char *begin = scan->at;

    while (scan->at < scan->end && *scan->at >= '0' && *scan->at <= '9')
        scan->at++;
    return scan->at > begin;
}

static bool skip_number(struct scan *scan)
{
    skip_char(scan, '-');
    if (!skip_char(scan, '0') && !skip_digits(scan))
        return false;
    if (skip_char(scan, '.') && !skip_digits(scan))
        return false;
    if (skip_char(scan, 'e') || skip_char(scan, 'E')) {
        if (!skip_char(scan, '+'))
            skip_char(scan, '-');
        return skip_digits(scan);
    }
    return true;
}

/* The value of four hexadecimal digits, or -1. */
static int hex4(const char *at, const char *end)
{
    int value = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        char c = at[i];

        if (c >= '0' && c <= '9')
            value = value * 16 + (c - '0');
        else if ((c | 32) >= 'a' && (c | 32) <= 'f')
            value = value * 16 + ((c | 32) - 'a' + 10);
        else
            return -1;
    }
    return value;
}

typedef unsigned char characters __attribute__((vector_size(BLOCK)));
typedef signed char flags __attribute__((vector_size(BLOCK)));

/* -1 for each byte that ends a string, begins an escape or must not be in one. */
static inline flags find_odd(const char *at)
{
    characters bytes;

    memcpy(&bytes, at, BLOCK);
    return (bytes < 0x20) | (bytes == '"') | (bytes == '\\');
}

static inline bool are_plain(const char *at)
{
    flags odd = find_odd(at) | find_odd(at + BLOCK) | find_odd(at + 2 * BLOCK) | find_odd(at + 3 * BLOCK);
    uint64_t halves[2];

    memcpy(halves, &odd, BLOCK);
    return !(halves[0] | halves[1]);
}

/* How many of BLOCK bytes come before an odd one. */
static inline size_t count_plain(const char *at)
{
    flags odd = find_odd(at);
    uint64_t halves[2];

    memcpy(halves, &odd, BLOCK);
    if (halves[0])
        return (size_t)__builtin_ctzll(le64toh(halves[0])) / 8;
    return halves[1] ? 8 + (size_t)__builtin_ctzll(le64toh(halves[1])) / 8 : BLOCK;
}

const char *json_slice_skip_plain(const char *at, const char *end)
{
    while (end - at >= BLOCK) {
        size_t count = count_plain(at);

        at += count;
        if (count < BLOCK)
            return at;
        while (end - at >= STRIDE && are_plain(at))
            at += STRIDE;
    }
    while (at < end && *at != '"' && *at != '\\' && (unsigned char)*at >= 0x20)
        at++;
    return at;
}

static bool skip_string(struct scan *scan)
{
    if (!skip_char(scan, '"'))
        return false;
    while ((scan->at = json_slice_skip_plain(scan->at, scan->end)) < scan->end) {
        char c = *scan->at++;

        if (c == '"')
            return true;
        if (c != '\\')
            return false;
        if (scan->at == scan->end || !memchr("\"\\/bfnrtu", *scan->at, 9))
            return false;
        if (*scan->at++ == 'u') {
            if (hex4(scan->at, scan->end) < 0)
                return false;
            scan->at += 4;
        }
    }
    return false;
}

static bool skip_value(struct scan *scan, unsigned depth);

static bool skip_container(struct scan *scan, char end, unsigned depth)
{
    scan->at++;
    skip_spaces(scan);
    if (skip_char(scan, end))
        return true;
    do {
        skip_spaces(scan);
        if (end == '}') {
            if (!skip_string(scan))
                return false;
            skip_spaces(scan);
            if (!skip_char(scan, ':'))
                return false;
        }
        if (!skip_value(scan, depth))
            return false;
        skip_spaces(scan);
    } while (skip_char(scan, ','));
    return skip_char(scan, end);
}

/* Spaces before it are skipped too. */
static bool skip_value(struct scan *scan, unsigned depth)
{
    skip_spaces(scan);
    if (scan->at == scan->end)
        return false;
    switch (*scan->at) {
    case '{':
    case '[':
        return depth && skip_container(scan, *scan->at == '{' ? '}' : ']', depth - 1);
    case '"':
        return skip_string(scan);
    case 't':
        return skip_word(scan, "true");
    case 'f':
        return skip_word(scan, "false");
    case 'n':
        return skip_word(scan, "null");
    default:
        return skip_number(scan);
    }
}

/* The next value of a text that was checked. */
static struct json_slice take_value(struct scan *scan)
{
    struct json_slice value;

    skip_spaces(scan);
    value.data = scan->at;
    skip_value(scan, JSON_SLICE_DEPTH + 1);
    value.size = (size_t)(scan->at - value.data);
    return value;
}

bool json_slice_check(const char *text, size_t size, struct json_slice *ret_value)
{
    struct scan scan = {text, text + size};
    struct json_slice value;

    skip_spaces(&scan);
    value.data = scan.at;
    if (!skip_value(&scan, JSON_SLICE_DEPTH))
        return false;
    value.size = (size_t)(scan.at - value.data);
    skip_spaces(&scan);
    if (scan.at != scan.end)
        return false;
    *ret_value = value;
    return true;
}

char json_slice_kind(struct json_slice value)
{
    char first = *value.data;

    return first == '-' || (first >= '0' && first <= '9') ? '0' : first;
}

bool json_slice_next(struct json_slice array, size_t *at, struct json_slice *ret_element)
{
    struct scan scan = {array.data + (*at ? *at : 1), array.data + array.size};

    if (*array.data != '[' || *at >= array.size)
        return false;
    skip_spaces(&scan);
    skip_char(&scan, ',');
    skip_spaces(&scan);
    if (scan.at >= scan.end || *scan.at == ']')
        return false;
    *ret_element = take_value(&scan);
    *at = (size_t)(scan.at - array.data);
    return true;
}

/* ---- from front to back ---- */

void json_reader_begin(struct json_reader *reader, const char *text, size_t size)
{
    *reader = (struct json_reader){.at = text, .end = text + size, .depth = JSON_SLICE_DEPTH};
}

static struct scan scan_of(const struct json_reader *reader)
{
    return (struct scan){reader->at, reader->end};
}

char json_reader_kind(struct json_reader *reader)
{
    struct scan scan = scan_of(reader);

    skip_spaces(&scan);
    reader->at = scan.at;
    reader->failed |= scan.at == scan.end;
    return reader->failed ? '\0' : json_slice_kind((struct json_slice){scan.at, 1});
}

void json_reader_enter(struct json_reader *reader, char kind)
{
    if (json_reader_kind(reader) != kind || !reader->depth) {
        reader->failed = true;
        return;
    }
    reader->at++;
    reader->depth--;
    reader->first = true;
}

/* Whether something follows within what ends with `end`. */
static bool has_more(struct json_reader *reader, char end)
{
    bool first = reader->first;
    char kind = json_reader_kind(reader);

    reader->first = false;
    if (!kind || kind == end) {
        reader->at += kind == end;
        reader->depth += kind == end;
        return false;
    }
    if (first)
        return true;
    reader->failed |= kind != ',';
    reader->at++;
    return !reader->failed;
}

bool json_reader_member(struct json_reader *reader, struct json_slice *ret_name)
{
    struct scan scan;

    if (!has_more(reader, '}'))
        return false;
    scan = scan_of(reader);
    skip_spaces(&scan);
    ret_name->data = scan.at;
    if (!skip_string(&scan)) {
        reader->failed = true;
        return false;
    }
    ret_name->size = (size_t)(scan.at - ret_name->data);
    skip_spaces(&scan);
    reader->failed |= !skip_char(&scan, ':');
    reader->at = scan.at;
    return !reader->failed;
}

bool json_reader_element(struct json_reader *reader)
{
    return has_more(reader, ']');
}

bool json_reader_take(struct json_reader *reader, struct json_slice *ret_value)
{
    struct scan scan;

    if (!json_reader_kind(reader))
        return false;
    scan = scan_of(reader);
    ret_value->data = scan.at;
    if (!skip_value(&scan, reader->depth)) {
        reader->failed = true;
        return false;
    }
    ret_value->size = (size_t)(scan.at - ret_value->data);
    reader->at = scan.at;
    return true;
}

bool json_reader_end(struct json_reader *reader)
{
    struct scan scan = scan_of(reader);

    skip_spaces(&scan);
    return !reader->failed && scan.at == scan.end && reader->depth == JSON_SLICE_DEPTH;
}

/* ---- pointers ---- */

bool json_slice_is_pointer(const char *pointer)
{
    if (*pointer && *pointer != '/')
        return false;
    for (; (pointer = strchr(pointer, '~')); pointer++)
        if (pointer[1] != '0' && pointer[1] != '1')
            return false;
    return true;
}

/* Whether the pointer's next token, up to `/` or the end, is this name. */
static bool token_is(const char *token, const char *name, size_t size)
{
    size_t i = 0;

    for (; *token && *token != '/'; token++, i++) {
        char c = *token;

        if (c == '~')
            c = *++token == '1' ? '/' : '~';
        if (i == size || name[i] != c)
            return false;
    }
    return i == size;
}

static bool find_member(struct json_slice object, const char *token, struct json_slice *ret_value)
{
    struct json_reader reader;
    struct json_slice name, value;
    bool found = false;

    json_reader_begin(&reader, object.data, object.size);
    json_reader_enter(&reader, '{');
    while (json_reader_member(&reader, &name) && json_reader_take(&reader, &value)) {
        size_t size;
        char *text;
        bool same;

        if (!memchr(name.data, '\\', name.size)) {
            same = token_is(token, name.data + 1, name.size - 2);
        } else {
            text = json_slice_text(name, &size);
            same = text && token_is(token, text, size);
            free(text);
        }
        if (same) {
            *ret_value = value;
            found = true;
        }
    }
    return found;
}

static bool find_element(struct json_slice array, const char *token, struct json_slice *ret_value)
{
    struct json_slice element;
    size_t at = 0, index = 0;
    const char *digit = token;

    for (; *digit >= '0' && *digit <= '9' && digit - token < 7; digit++)
        index = index * 10 + (size_t)(*digit - '0');
    if (digit == token || (*digit && *digit != '/') || (*token == '0' && digit - token > 1))
        return false;
    do {
        if (!json_slice_next(array, &at, &element))
            return false;
    } while (index--);
    *ret_value = element;
    return true;
}

bool json_slice_find(struct json_slice value, const char *pointer, struct json_slice *ret_value)
{
    while (*pointer == '/') {
        char kind = json_slice_kind(value);

        pointer++;
        if (!(kind == '{' ? find_member(value, pointer, &value)
              : kind == '[' ? find_element(value, pointer, &value) : false))
            return false;
        pointer += strcspn(pointer, "/");
    }
    *ret_value = value;
    return true;
}

/* ---- strings ---- */

static char *put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        *out++ = (char)code;
        return out;
    }
    if (code < 0x800) {
        *out++ = (char)(0xc0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *out++ = (char)(0xe0 | code >> 12);
        } else {
            *out++ = (char)(0xf0 | code >> 18);
            *out++ = (char)(0x80 | (code >> 12 & 0x3f));
        }
        *out++ = (char)(0x80 | (code >> 6 & 0x3f));
    }
    *out++ = (char)(0x80 | (code & 0x3f));
    return out;
}

/* `at` is behind the `u`. Half a pair of surrogates stands for no character: U+FFFD. */
static const char *unescape_unicode(const char *at, const char *end, char **out)
{
    unsigned code = (unsigned)hex4(at, end);

    at += 4;
    if (code >= 0xd800 && code < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
        unsigned low = (unsigned)hex4(at + 2, end);

        if (low >= 0xdc00 && low < 0xe000) {
            code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            at += 6;
        }
    }
    if (code >= 0xd800 && code < 0xe000)
        code = 0xfffd;
    *out = put_utf8(*out, code);
    return at;
}

size_t json_slice_copy(struct json_slice string, char *ret)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *at = string.data + 1, *end = string.data + string.size - 1;
    char *out = ret;

    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);

        memcpy(out, at, plain);
        out += plain;
        at += plain;
        if (!escape)
            break;
        if (at[1] == 'u') {
            at = unescape_unicode(at + 2, end, &out);
        } else {
            *out++ = meant[strchr(names, at[1]) - names];
            at += 2;
        }
    }
    *out = '\0';
    return (size_t)(out - ret);
}

bool json_slice_is_long(struct json_slice value, const char *text)
{
    size_t size;
    char *found;
    bool same;

    if (*value.data != '"' || (value.data[1] != *text && value.data[1] != '\\') ||
        !memchr(value.data, '\\', value.size))
        return false;
    found = json_slice_text(value, &size);
    same = found && size == strlen(text) && !memcmp(found, text, size);
    free(found);
    return same;
}

char *json_slice_text(struct json_slice value, size_t *ret_size)
{
    char *text = malloc(value.size + 1);

    if (!text)
        return NULL;
    if (*value.data == '"') {
        *ret_size = json_slice_copy(value, text);
        return text;
    }
    memcpy(text, value.data, value.size);
    text[value.size] = '\0';
    *ret_size = value.size;
    return text;
}
