/* SPDX-License-Identifier: MIT */
#include "core/filter_tests.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"

#define OPERATORS                                                                                  \
    "exists, prefix, suffix, equals-ignore-case, anything-but, numeric, wildcard or cidr"

#define BUT_EXPECTED "expected texts, numbers, or { prefix: TEXT } and the like, one at least"

void filter_tests_free(struct filter_test *tests, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        filter_tests_free(tests[i].tests, tests[i].test_count);
        free(tests[i].text);
        free(tests[i].pieces);
    }
    free(tests);
}

static void set_text(struct filter_test *test, enum filter_test_kind kind, const json_t *text)
{
    test->kind = kind;
    test->size = json_string_length(text);
    test->text = memory_new(test->size + 1);
    memcpy(test->text, json_string_value(text), test->size + 1);
}

static int read_scalar(const json_t *value, struct filter_test *ret)
{
    switch (json_typeof(value)) {
    case JSON_STRING:
        set_text(ret, TEST_TEXT, value);
        return 0;
    case JSON_INTEGER:
        ret->text = memory_format("%" JSON_INTEGER_FORMAT, json_integer_value(value));
        ret->size = strlen(ret->text);
        /* fall through */
    case JSON_REAL:
        ret->kind = TEST_NUMBER;
        ret->number = json_number_value(value);
        return 0;
    case JSON_TRUE:
    case JSON_FALSE:
    case JSON_NULL:
        ret->kind = TEST_WORD;
        ret->word = json_is_null(value)   ? JSON_SCAN_NULL
                    : json_is_true(value) ? JSON_SCAN_TRUE
                                          : JSON_SCAN_FALSE;
        return 0;
    default:
        return -1;
    }
}

/* ---- operators: each reads its argument; 0, or -1 with a fault that says what was expected ---- */

static int read_exists(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    ret->kind = TEST_EXISTS;
    ret->exists = json_is_true(argument);
    return json_is_boolean(argument) ? 0 : fault_set(fault, "expected true or false");
}

static int read_end(const json_t *argument, enum filter_test_kind kind, struct filter_test *ret,
                    struct fault *fault)
{
    const json_t *folded = json_object_get(argument, "equals-ignore-case");

    ret->ignore_case = json_is_object(argument) && json_object_size(argument) == 1 && folded;
    if (ret->ignore_case)
        argument = folded;
    if (!json_is_string(argument))
        return fault_set(fault, "expected a text, or { equals-ignore-case: TEXT }");
    set_text(ret, kind, argument);
    return 0;
}

static int read_prefix(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    return read_end(argument, TEST_PREFIX, ret, fault);
}

static int read_suffix(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    return read_end(argument, TEST_SUFFIX, ret, fault);
}

static int read_ignore_case(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    if (!json_is_string(argument))
        return fault_set(fault, "expected a text");
    set_text(ret, TEST_IGNORE_CASE, argument);
    return 0;
}

static int read_wildcard(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    const char *at = json_string_value(argument);
    size_t size = json_string_length(argument), piece = 0;
    char *out;

    if (!at || strlen(at) != size)
        return fault_set(fault, "expected a text with *, as \"*.csv\"");
    ret->kind = TEST_WILDCARD;
    ret->text = out = memory_new(size + 1);
    ret->pieces = memory_zero(size + 1, sizeof *ret->pieces);
    for (; *at; at++) {
        if (*at == '*' && at[1] == '*')
            return fault_set(fault, "found **, expected single *");
        if (*at == '\\' && at[1] != '*' && at[1] != '\\')
            return fault_set(fault, "expected \\* or \\\\ where a \\ is");
        if (*at == '*') {
            piece++;
            continue;
        }
        *out++ = *at == '\\' ? *++at : *at;
        ret->pieces[piece]++;
    }
    ret->piece_count = piece + 1;
    return 0;
}

static int read_bound(const char *operator, double number, struct filter_test *test)
{
    struct filter_bound bound = {true, operator[1] == '=', number};

    if (!strcmp(operator, "=")) {
        bound.inclusive = true;
        test->least = test->most = bound;
        return 0;
    }
    if (!strcmp(operator, ">") || !strcmp(operator, ">="))
        return test->least.set ? -1 : (test->least = bound, 0);
    if (!strcmp(operator, "<") || !strcmp(operator, "<="))
        return test->most.set ? -1 : (test->most = bound, 0);
    return -1;
}

static int read_numeric(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    size_t count = json_array_size(argument);
    int failed = count != 2 && count != 4;

    ret->kind = TEST_NUMERIC;
    for (size_t i = 0; i < count && !failed; i += 2) {
        const char *operator = json_string_value(json_array_get(argument, i));
        const json_t *number = json_array_get(argument, i + 1);

        failed = !operator || !json_is_number(number) ||
                 (count == 4 && !strcmp(operator, "=")) ||
                 read_bound(operator, json_number_value(number), ret);
    }
    if (failed)
        return fault_set(fault, "expected [\"=\", 5], [\">\", 0] or [\">=\", 1, \"<\", 10]");
    if (count == 4 && ret->least.number >= ret->most.number)
        return fault_set(fault, "no number is in this range: the lower bound comes first, the "
                                "upper one is above it");
    return 0;
}

static int read_cidr(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    const char *text = json_string_value(argument), *slash = text ? strchr(text, '/') : NULL;
    char *end = NULL, *address;
    long bits = slash ? strtol(slash + 1, &end, 10) : -1;
    int read;

    ret->kind = TEST_CIDR;
    if (!slash || end == slash + 1 || *end || strlen(text) != json_string_length(argument))
        return fault_set(fault, "expected a network, as \"10.0.0.0/8\"");
    address = memory_text_n(text, (size_t)(slash - text));
    ret->family = strchr(address, ':') ? AF_INET6 : AF_INET;
    read = inet_pton(ret->family, address, ret->address);
    free(address);
    if (read != 1 || bits < 0 || bits > (ret->family == AF_INET6 ? 128 : 32))
        return fault_set(fault, "expected a network, as \"10.0.0.0/8\"");
    ret->bits = (int)bits;
    return 0;
}

static int read_operator(const json_t *object, struct filter_test *ret, struct fault *fault);

/* One thing that it must not be: a scalar, or an operator. */
static int add_exception(const json_t *value, struct filter_test *test, struct fault *fault)
{
    struct filter_test *one;

    test->tests = memory_resize(test->tests, test->test_count + 1, sizeof *test->tests);
    one = &test->tests[test->test_count++];
    *one = (struct filter_test){0};
    if (json_is_object(value))
        return read_operator(value, one, fault);
    return read_scalar(value, one) ? fault_set(fault, BUT_EXPECTED) : 0;
}

/* `{ suffix: [a, b] }`: none of them. */
static int add_exceptions(const json_t *object, struct filter_test *test, struct fault *fault)
{
    const char *name = json_object_iter_key(json_object_iter((json_t *)object));
    const json_t *list = name ? json_object_get(object, name) : NULL;
    int failed = 0;

    if (!name || !strcmp(name, "exists") || !strcmp(name, "anything-but"))
        return fault_set(fault, BUT_EXPECTED);
    if (!json_is_array(list) || !strcmp(name, "numeric"))
        return add_exception(object, test, fault);
    for (size_t i = 0; i < json_array_size(list) && !failed; i++) {
        json_t *single = json_object();

        json_object_set_new(single, name, json_deep_copy(json_array_get(list, i)));
        failed = add_exception(single, test, fault);
        json_decref(single);
    }
    return failed;
}

static int read_anything_but(const json_t *argument, struct filter_test *ret, struct fault *fault)
{
    size_t count = json_is_array(argument) ? json_array_size(argument) : 1;
    int failed = 0;

    ret->kind = TEST_ANYTHING_BUT;
    for (size_t i = 0; i < count && !failed; i++) {
        const json_t *value = json_is_array(argument) ? json_array_get(argument, i) : argument;

        failed = json_is_object(value) ? add_exceptions(value, ret, fault)
                                       : add_exception(value, ret, fault);
    }
    return failed || ret->test_count ? failed : fault_set(fault, BUT_EXPECTED);
}

static const struct operator {
    const char *name;
    int (*read)(const json_t *argument, struct filter_test *ret, struct fault *fault);
} operators[] = {
    {"exists", read_exists},
    {"prefix", read_prefix},
    {"suffix", read_suffix},
    {"equals-ignore-case", read_ignore_case},
    {"anything-but", read_anything_but},
    {"numeric", read_numeric},
    {"wildcard", read_wildcard},
    {"cidr", read_cidr},
};

static int read_operator(const json_t *object, struct filter_test *ret, struct fault *fault)
{
    const char *name = json_object_iter_key(json_object_iter((json_t *)object));

    if (json_object_size(object) != 1)
        return fault_set(fault, "found a map of %zu, expected one of " OPERATORS " in each",
                         json_object_size(object));
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (!strcmp(name, operators[i].name)) {
            if (!operators[i].read(json_object_get(object, name), ret, fault))
                return 0;
            return fault_prefix(fault, "%s", name);
        }
    return fault_set(fault, "found %.60s, expected " OPERATORS, name);
}

int filter_tests_compile(const json_t *list, const char *name, struct filter_test **ret_tests,
                         size_t *ret_count, struct fault *fault)
{
    size_t count = json_array_size(list);
    struct filter_test *tests = memory_zero(count, sizeof *tests);

    *ret_tests = tests;
    *ret_count = count;
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        int failed = json_is_object(value) ? read_operator(value, &tests[i], fault)
                                           : read_scalar(value, &tests[i]);

        if (failed && !json_is_object(value))
            fault_set(fault, "a list within the list, expected texts, numbers, true, false, null, "
                             "or one of " OPERATORS);
        if (failed)
            return fault_prefix(fault, "%.60s", name);
    }
    return 0;
}
