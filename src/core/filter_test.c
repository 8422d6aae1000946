/* SPDX-License-Identifier: MIT
 * One entry of a pattern's list against one value. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/filter_inside.h"

#define NUMBER_LONGEST 511

/* ---- numbers ---- */

static bool is_integer(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == '.' || text[i] == 'e' || text[i] == 'E')
            return false;
    return true;
}

static bool read_number(const struct json_scan_value *value, double *ret)
{
    char text[NUMBER_LONGEST + 1];

    if (value->kind != JSON_SCAN_NUMBER || value->size > NUMBER_LONGEST)
        return false;
    memcpy(text, value->text, value->size);
    text[value->size] = '\0';
    *ret = strtod(text, NULL);
    return true;
}

/* Whole numbers are compared digit by digit, as a double does not tell large ones apart. */
static bool same_number(const struct filter_test *test, const struct json_scan_value *value)
{
    double number;

    if (value->kind != JSON_SCAN_NUMBER)
        return false;
    if (test->text && is_integer(value->text, value->size) &&
        !(value->size == 2 && !memcmp(value->text, "-0", 2)))
        return value->size == test->size && !memcmp(value->text, test->text, test->size);
    return read_number(value, &number) && number == test->number;
}

static bool within(const struct filter_test *test, const struct json_scan_value *value)
{
    double number;

    if (!read_number(value, &number))
        return false;
    if (test->least.set &&
        !(test->least.inclusive ? number >= test->least.number : number > test->least.number))
        return false;
    return !test->most.set ||
           (test->most.inclusive ? number <= test->most.number : number < test->most.number);
}

/* ---- texts ---- */

static bool same(const char *one, const char *other, size_t size, bool ignore_case)
{
    return ignore_case ? !strncasecmp(one, other, size) && !memchr(one, '\0', size) &&
                             !memchr(other, '\0', size)
                       : !memcmp(one, other, size);
}

/* The first piece stands at the start, the last at the end, those between in order anywhere: as early
 * as possible leaves most room for the next, so nothing is tried twice. */
static bool wildcard(const struct filter_test *test, const char *text, size_t size)
{
    const char *piece = test->text, *end = text + size;
    size_t last = test->piece_count - 1;

    if (!last)
        return size == test->pieces[0] && !memcmp(text, piece, size);
    if (size < test->pieces[0] + test->pieces[last] || memcmp(text, piece, test->pieces[0]))
        return false;
    text += test->pieces[0];
    piece += test->pieces[0];
    end -= test->pieces[last];
    for (size_t i = 1; i < last; i++) {
        if (test->pieces[i]) {
            const char *found = memmem(text, (size_t)(end - text), piece, test->pieces[i]);

            if (!found)
                return false;
            text = found + test->pieces[i];
        }
        piece += test->pieces[i];
    }
    return !memcmp(end, piece, test->pieces[last]);
}

static bool within_network(const struct filter_test *test, const char *text, size_t size)
{
    unsigned char address[16];
    char copy[64];
    int whole = test->bits / 8, rest = test->bits % 8;

    if (size >= sizeof copy || memchr(text, '\0', size))
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(test->family, copy, address) != 1 || memcmp(address, test->address, (size_t)whole))
        return false;
    return !rest || !((address[whole] ^ test->address[whole]) >> (8 - rest));
}

static bool text_matches(const struct filter_test *test, const char *text, size_t size)
{
    switch (test->kind) {
    case TEST_TEXT:
        return size == test->size && !memcmp(text, test->text, size);
    case TEST_PREFIX:
        return size >= test->size && same(text, test->text, test->size, test->ignore_case);
    case TEST_SUFFIX:
        return size >= test->size &&
               same(text + size - test->size, test->text, test->size, test->ignore_case);
    case TEST_IGNORE_CASE:
        return size == test->size && same(text, test->text, size, true);
    case TEST_WILDCARD:
        return wildcard(test, text, size);
    case TEST_CIDR:
        return within_network(test, text, size);
    default:
        return false;
    }
}

static bool matches(const struct filter_test *test, const struct json_scan_value *value)
{
    switch (test->kind) {
    case TEST_EXISTS:
        return test->exists == (value->kind != JSON_SCAN_ABSENT);
    case TEST_WORD:
        return value->kind == test->word;
    case TEST_NUMBER:
        return same_number(test, value);
    case TEST_NUMERIC:
        return within(test, value);
    case TEST_ANYTHING_BUT:
        if (value->kind == JSON_SCAN_ABSENT || value->kind == JSON_SCAN_OBJECT)
            return false;
        for (size_t i = 0; i < test->test_count; i++)
            if (matches(&test->tests[i], value))
                return false;
        return true;
    default:
        return value->kind == JSON_SCAN_STRING && text_matches(test, value->text, value->size);
    }
}

bool filter_tests_match(const struct filter_test *tests, size_t count,
                        const struct json_scan_value *value, bool raw, struct buffer *scratch)
{
    struct json_scan_value plain = *value;

    if (!raw && value->kind == JSON_SCAN_STRING && memchr(value->text, '\\', value->size)) {
        buffer_reset(scratch);
        json_scan_unescape(scratch, value);
        plain.text = buffer_text(scratch);
        plain.size = scratch->size;
    }
    for (size_t i = 0; i < count; i++)
        if (matches(&tests[i], &plain))
            return true;
    return false;
}
