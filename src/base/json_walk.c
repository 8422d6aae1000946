/* SPDX-License-Identifier: MIT */
#include "base/json_walk.h"

#include <string.h>

#include "base/json_text.h"

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r'))
        at++;
    return at;
}

#define ONES UINT64_C(0x0101010101010101)

/* The quote that ends the string whose inside begins at `at`. Most strings are short, so that calling
 * memchr costs more than looking. */
static const char *string_end(const char *at, const char *end)
{
    for (;;) {
        while (end - at >= 8) {
            uint64_t word, quotes, escapes;

            memcpy(&word, at, 8);
            quotes = word ^ '"' * ONES;
            escapes = word ^ '\\' * ONES;
            /* Whether a byte is 0, that is one of the two. */
            word = (((quotes - ONES) & ~quotes) | ((escapes - ONES) & ~escapes)) & 0x80 * ONES;
            if (word) {
                at += json_text_passed(word);
                break;
            }
            at += 8;
        }
        while (at < end && *at != '"' && *at != '\\')
            at++;
        if (at >= end || *at == '"')
            return at < end ? at : end;
        at += 2;
    }
}

static const char *container_end(const char *at, const char *end)
{
    static const signed char steps[256] = {['{'] = 1, ['['] = 1, ['}'] = -1, [']'] = -1, ['"'] = 2};
    int depth = 0;

    while (at < end) {
        signed char step = steps[(unsigned char)*at++];

        if (step == 2) {
            at = string_end(at, end) + 1;
        } else if (step) {
            depth += step;
            if (!depth)
                return at;
        }
    }
    return end;
}

static const char *scalar_end(const char *at, const char *end)
{
    while (at < end && *at != ',' && *at != ']' && *at != '}' && (unsigned char)*at > ' ')
        at++;
    return at;
}

/* The value at `at`; returns the place after it. */
static const char *take(const char *at, const char *end, struct json_scan_value *ret)
{
    const char *from = at;

    *ret = (struct json_scan_value){.kind = JSON_SCAN_ABSENT};
    if (at == end)
        return at;
    switch (*at) {
    case '"':
        at = string_end(at + 1, end);
        *ret = (struct json_scan_value){JSON_SCAN_STRING, from + 1, (size_t)(at - from - 1)};
        return at < end ? at + 1 : end;
    case '{':
    case '[':
        at = container_end(at, end);
        *ret = (struct json_scan_value){*from == '{' ? JSON_SCAN_OBJECT : JSON_SCAN_ARRAY, from,
                                        (size_t)(at - from)};
        return at;
    case 't':
        ret->kind = JSON_SCAN_TRUE;
        break;
    case 'f':
        ret->kind = JSON_SCAN_FALSE;
        break;
    case 'n':
        ret->kind = JSON_SCAN_NULL;
        break;
    default:
        at = scalar_end(at, end);
        *ret = (struct json_scan_value){JSON_SCAN_NUMBER, from, (size_t)(at - from)};
        return at;
    }
    return scalar_end(at, end);
}

struct json_scan_value json_walk_text(const void *json, size_t size)
{
    const char *end = (const char *)json + size, *at = skip_space(json, end);
    struct json_scan_value value;

    /* As nothing but space follows, its end need not be looked for. */
    while (at < end && (end[-1] == ' ' || end[-1] == '\n' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    if (at < end && (*at == '{' || *at == '['))
        return (struct json_scan_value){*at == '{' ? JSON_SCAN_OBJECT : JSON_SCAN_ARRAY, at,
                                        (size_t)(end - at)};
    take(at, end, &value);
    return value;
}

struct json_walk json_walk_begin(const struct json_scan_value *container)
{
    /* Without the brackets. */
    return (struct json_walk){.at = container->text + 1,
                              .end = container->text + container->size - 1,
                              .is_array = container->kind == JSON_SCAN_ARRAY};
}

bool json_walk_next(struct json_walk *walk, struct json_scan_value *ret_name,
                    struct json_scan_value *ret_value)
{
    const char *at = skip_space(walk->at, walk->end);

    if (at < walk->end && *at == ',')
        at = skip_space(at + 1, walk->end);
    if (at == walk->end)
        return false;
    if (!walk->is_array) {
        at = skip_space(take(at, walk->end, ret_name), walk->end);
        at = skip_space(at + 1, walk->end); /* the colon */
    }
    walk->at = take(at, walk->end, ret_value);
    return true;
}
