/* SPDX-License-Identifier: MIT */
#include "json_slice.h"

#include <stdlib.h>
#include <string.h>

struct scan {
    const char *at, *end;
};

static void skip_spaces(struct scan *scan)
{
    while (scan->at < scan->end && memchr(" \t\r\n", *scan->at, 4))
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

static bool skip_string(struct scan *scan)
{
    if (!skip_char(scan, '"'))
        return false;
    while (scan->at < scan->end) {
        unsigned char c = (unsigned char)*scan->at++;

        if (c == '"')
            return true;
        if (c < 0x20)
            return false;
        if (c != '\\')
            continue;
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
    struct scan scan = {object.data + 1, object.data + object.size};
    bool found = false;

    for (;;) {
        struct json_slice name, value;
        size_t size;
        char *text;
        bool same;

        skip_spaces(&scan);
        if (*scan.at == '}')
            return found;
        name = take_value(&scan);
        skip_spaces(&scan);
        scan.at++; /* : */
        value = take_value(&scan);
        skip_spaces(&scan);
        skip_char(&scan, ',');
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

char *json_slice_text(struct json_slice value, size_t *ret_size)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *at = value.data, *end = at + value.size;
    char *text = malloc(value.size + 1), *out = text;

    if (!text)
        return NULL;
    if (*at == '"') {
        for (at++, end--; at < end;) {
            if (*at != '\\') {
                *out++ = *at++;
            } else if (at[1] == 'u') {
                at = unescape_unicode(at + 2, end, &out);
            } else {
                *out++ = meant[strchr(names, at[1]) - names];
                at += 2;
            }
        }
    } else {
        memcpy(out, at, value.size);
        out += value.size;
    }
    *out = '\0';
    *ret_size = (size_t)(out - text);
    return text;
}
