/* SPDX-License-Identifier: MIT
 * Filters: AWS's documented examples and rules, mistakes, hostile payloads; then random patterns and
 * payloads against a plain evaluator over jansson's trees. */
#define _GNU_SOURCE
#include "core/filter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RANDOM_TRIES 200000

static struct filter *compiled(const char *pattern)
{
    struct fault fault = {.text = ""};
    json_t *json = json_loads(pattern, 0, NULL);
    struct filter *filter;

    assert_non_null(json);
    filter = filter_compile(json, &fault, NULL);
    if (!filter)
        fail_msg("%s: %s", pattern, fault.text);
    json_decref(json);
    return filter;
}

static enum filter_match try(const char *pattern, const struct filter_message *message)
{
    struct filter *filter = compiled(pattern);
    struct fault why = {.text = ""};
    struct buffer scratch;
    enum filter_match result;

    buffer_init(&scratch, 1 << 20);
    result = filter_try(filter, message, &scratch, &why);
    if (result == FILTER_UNTOLD && !why.text[0])
        fail_msg("%s: cannot be told, and not why", pattern);
    buffer_fini(&scratch);
    filter_free(filter);
    return result;
}

static struct sluice_bytes bytes_of(const char *text)
{
    return (struct sluice_bytes){text, text ? strlen(text) : 0};
}

/* The payload in memory of its own size, so that reading past the end is seen. */
static void expect(enum filter_match wanted, const char *pattern, const char *payload)
{
    size_t size = payload ? strlen(payload) : 0;
    char *exact = payload ? malloc(size ? size : 1) : NULL;
    struct filter_message message = {.payload = {exact, size}, .partition = -1};
    enum filter_match result;

    if (exact)
        memcpy(exact, payload, size);
    result = try(pattern, &message);
    free(exact);
    if (result != wanted)
        fail_msg("%s on %s: %d, wanted %d", pattern, payload, result, wanted);
}

#define YES(pattern, payload) expect(FILTER_YES, "{\"value\":" pattern "}", payload)
#define NO(pattern, payload)  expect(FILTER_NO, "{\"value\":" pattern "}", payload)

static void compares_scalars(void **state)
{
    YES("{\"a\":[\"x\",\"y\"]}", "{\"a\":\"y\"}");
    NO("{\"a\":[\"x\",\"y\"]}", "{\"a\":\"Y\"}");
    NO("{\"a\":[\"1\"]}", "{\"a\":1}");
    NO("{\"a\":[1]}", "{\"a\":\"1\"}");
    YES("{\"a\":[300]}", "{\"a\":300.0}");
    YES("{\"a\":[300]}", " {\"a\" : 3e2 } ");
    YES("{\"a\":[1.5]}", "{\"a\":1.50}");
    YES("{\"a\":[0]}", "{\"a\":-0}");
    NO("{\"a\":[9007199254740993]}", "{\"a\":9007199254740992}");
    YES("{\"a\":[9007199254740993]}", "{\"a\":9007199254740993}");
    YES("{\"a\":[true]}", "{\"a\":true}");
    NO("{\"a\":[true]}", "{\"a\":\"true\"}");
    YES("{\"a\":[null]}", "{\"a\":null}");
    NO("{\"a\":[null]}", "{}");
    NO("{\"a\":[null]}", "{\"a\":[]}");
    YES("{\"a\":[\"\"]}", "{\"a\":\"\"}");
    YES("{\"a\":[\"\\u00e9\\n\"]}", "{\"a\":\"\\u00e9\\n\"}");
    YES("{\"a\":[\"\\u00e9\"]}", "{\"\\u0061\":\"\xc3\xa9\"}");
    YES("{\"a\":[\"x\\\"y\"]}", "{\"a\":\"x\\\"y\",\"b\":2}");
    NO("{\"a\":[\"x\"]}", "[]");
    NO("{\"a\":[\"x\"]}", "\"x\"");
}

static void goes_down(void **state)
{
    YES("{\"a\":{\"b\":{\"c\":[1]}}}", "{\"x\":{\"b\":{\"c\":2}},\"a\":{\"b\":{\"c\":1}}}");
    NO("{\"a\":{\"b\":[1]}}", "{\"a\":1,\"b\":1}");
    YES("{\"a.b\":[1]}", "{\"a\":{\"b\":1}}");
    YES("{\"a.b\":[1]}", "{\"a.b\":1}");
    NO("{\"a.b\":[1]}", "{\"a.b\":2,\"a\":{\"b\":1}}");
    YES("{\"a.b.c\":[1]}", "{\"a\":{\"b\":{\"c\":1}}}");
    YES("{\"a\":[1],\"b\":[2]}", "{\"b\":2,\"a\":1}");
    NO("{\"a\":[1],\"b\":[2]}", "{\"b\":3,\"a\":1}");
    /* The last of two members of the same name counts. */
    YES("{\"a\":[1]}", "{\"a\":2,\"a\":1}");
    NO("{\"a\":[1]}", "{\"a\":1,\"a\":2}");
    YES("{\"a\":{\"b\":[1]}}", "{\"a\":{\"b\":2},\"a\":{\"c\":[],\"b\":1}}");
    NO("{\"a\":{\"b\":[1]}}", "{\"a\":{\"b\":1},\"a\":[]}");
}

static void goes_into_arrays(void **state)
{
    YES("{\"a\":[\"x\"]}", "{\"a\":[\"y\",\"x\"]}");
    NO("{\"a\":[\"x\"]}", "{\"a\":[\"y\",{\"x\":\"x\"}]}");
    YES("{\"a\":[2]}", "{\"a\":[[1],[[2]]]}");
    YES("{\"a\":{\"b\":[1],\"c\":[2]}}", "{\"a\":[{\"b\":2},{\"b\":1,\"c\":2}]}");
    /* Fields of different elements do not combine. */
    NO("{\"a\":{\"b\":[1],\"c\":[2]}}", "{\"a\":[{\"b\":1},{\"c\":2}]}");
    YES("{\"a\":[{\"exists\":false}]}", "{\"a\":[]}");
    YES("{\"a\":{\"b\":[1]}}", "[{},{\"a\":{\"b\":1}}]");
}

static void knows_operators(void **state)
{
    YES("{\"a\":[{\"exists\":true}]}", "{\"a\":null}");
    NO("{\"a\":[{\"exists\":true}]}", "{\"b\":1}");
    YES("{\"a\":{\"b\":[{\"exists\":false}]}}", "{\"b\":1}");
    NO("{\"a\":[{\"exists\":false}]}", "{\"a\":0}");
    YES("{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"abc\"}");
    NO("{\"a\":[{\"prefix\":\"ab\"}]}", "{\"a\":\"a\"}");
    YES("{\"a\":[{\"prefix\":{\"equals-ignore-case\":\"AB\"}}]}", "{\"a\":\"aBc\"}");
    YES("{\"a\":[{\"suffix\":\".png\"}]}", "{\"a\":\"x.png\"}");
    NO("{\"a\":[{\"suffix\":\".png\"}]}", "{\"a\":\"png\"}");
    YES("{\"a\":[{\"suffix\":{\"equals-ignore-case\":\".png\"}}]}", "{\"a\":\"x.PNG\"}");
    YES("{\"a\":[{\"equals-ignore-case\":\"Alice\"}]}", "{\"a\":\"aLICE\"}");
    NO("{\"a\":[{\"equals-ignore-case\":\"Alice\"}]}", "{\"a\":\"alice2\"}");
    YES("{\"a\":[{\"anything-but\":\"x\"}]}", "{\"a\":\"y\"}");
    YES("{\"a\":[{\"anything-but\":[\"x\"]}]}", "{\"a\":null}");
    YES("{\"a\":[{\"anything-but\":[\"x\"]}]}", "{\"a\":5}");
    NO("{\"a\":[{\"anything-but\":[\"x\"]}]}", "{}");
    NO("{\"a\":[{\"anything-but\":[1,2]}]}", "{\"a\":2.0}");
    NO("{\"a\":[{\"anything-but\":{\"prefix\":\"x\"}}]}", "{\"a\":\"xy\"}");
    NO("{\"a\":[{\"anything-but\":{\"suffix\":[\"1\",\"2\"]}}]}", "{\"a\":\"x2\"}");
    YES("{\"a\":[{\"anything-but\":{\"wildcard\":\"*x*\"}}]}", "{\"a\":\"y\"}");
    YES("{\"a\":[{\"cidr\":\"10.0.0.0/9\"}]}", "{\"a\":\"10.127.0.1\"}");
    NO("{\"a\":[{\"cidr\":\"10.0.0.0/9\"}]}", "{\"a\":\"10.128.0.1\"}");
    YES("{\"a\":[{\"cidr\":\"fe80::/10\"}]}", "{\"a\":\"febf::1\"}");
    NO("{\"a\":[{\"cidr\":\"fe80::/10\"}]}", "{\"a\":\"10.0.0.1\"}");
}

static void compares_numbers(void **state)
{
    YES("{\"a\":[{\"numeric\":[\"=\",5]}]}", "{\"a\":5.0}");
    YES("{\"a\":[{\"numeric\":[\">\",0,\"<=\",5]}]}", "{\"a\":5}");
    NO("{\"a\":[{\"numeric\":[\">\",0,\"<=\",5]}]}", "{\"a\":0}");
    NO("{\"a\":[{\"numeric\":[\">\",0]}]}", "{\"a\":\"1\"}");
    NO("{\"a\":[{\"numeric\":[\"<\",0]}]}", "{}");
    YES("{\"a\":[{\"numeric\":[\"<\",0]}]}", "{\"a\":-1e400}");
}

static void knows_wildcards(void **state)
{
    YES("{\"a\":[{\"wildcard\":\"*\"}]}", "{\"a\":\"\"}");
    YES("{\"a\":[{\"wildcard\":\"a*b\"}]}", "{\"a\":\"ab\"}");
    NO("{\"a\":[{\"wildcard\":\"ab*ba\"}]}", "{\"a\":\"aba\"}");
    YES("{\"a\":[{\"wildcard\":\"a*b*c\"}]}", "{\"a\":\"axbxbc\"}");
    NO("{\"a\":[{\"wildcard\":\"a*b*c\"}]}", "{\"a\":\"axc\"}");
    YES("{\"a\":[{\"wildcard\":\"a\\\\*b\"}]}", "{\"a\":\"a*b\"}");
    NO("{\"a\":[{\"wildcard\":\"a\\\\*b\"}]}", "{\"a\":\"axb\"}");
    NO("{\"a\":[{\"wildcard\":\"*x*\"}]}", "{\"a\":\"abc\"}");
}

static void knows_alternatives(void **state)
{
    static const char *const pattern =
        "{\"value\":{\"$or\":[{\"a\":[1]},{\"b\":{\"c\":[2]}}],\"d\":[3]}}";

    expect(FILTER_YES, pattern, "{\"a\":1,\"d\":3}");
    expect(FILTER_YES, pattern, "{\"b\":{\"c\":2},\"d\":3}");
    expect(FILTER_NO, pattern, "{\"b\":{\"c\":2},\"d\":4}");
    expect(FILTER_NO, pattern, "{\"d\":3}");
    expect(FILTER_YES, "[{\"value\":{\"a\":[1]}},{\"value\":{\"a\":[2]}}]", "{\"a\":2}");
    expect(FILTER_NO, "[{\"value\":{\"a\":[1]}},{\"value\":{\"a\":[2]}}]", "{\"a\":3}");
}

static void looks_at_parts(void **state)
{
    const struct sluice_header headers[] = {{bytes_of("region"), bytes_of("eu-1")},
                                            {bytes_of("region"), bytes_of("us\\n")},
                                            {bytes_of("none"), {NULL, 0}}};
    struct filter_message message = {.key = bytes_of("k-1"),
                                     .payload = bytes_of("hello \\ world"),
                                     .headers = headers,
                                     .header_count = 3,
                                     .source = "orders",
                                     .partition = 3,
                                     .has_timestamp = true,
                                     .timestamp_ms = 1700000000000};
    static const struct {
        enum filter_match wanted;
        const char *pattern;
    } cases[] = {
        {FILTER_YES, "{\"key\":[{\"prefix\":\"k-\"}]}"},
        {FILTER_NO, "{\"key\":[{\"anything-but\":\"k-1\"}]}"},
        {FILTER_YES, "{\"headers\":{\"region\":[{\"prefix\":\"us\\\\\"}]}}"},
        {FILTER_NO, "{\"headers\":{\"Region\":[{\"exists\":true}]}}"},
        {FILTER_YES, "{\"headers\":{\"zone\":[{\"exists\":false}],\"none\":[null]}}"},
        {FILTER_YES, "{\"headers\":{\"$or\":[{\"zone\":[\"x\"]},{\"region\":[\"eu-1\"]}]}}"},
        {FILTER_YES, "{\"source\":[\"orders\"],\"partition\":[3]}"},
        {FILTER_NO, "{\"source\":[\"orders\"],\"partition\":[{\"numeric\":[\">\",3]}]}"},
        {FILTER_YES, "{\"timestamp\":[{\"numeric\":[\">=\",1700000000000]}]}"},
        {FILTER_YES, "{\"value\":[{\"wildcard\":\"hello \\\\\\\\*\"}]}"},
        {FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}"},
        {FILTER_UNTOLD, "{\"key\":{\"a\":[1]}}"},
        /* What is told without the payload is told. */
        {FILTER_NO, "{\"value\":{\"a\":[1]},\"key\":[\"x\"]}"},
        {FILTER_YES, "[{\"value\":{\"a\":[1]}},{\"key\":[\"k-1\"]}]"},
        {FILTER_UNTOLD, "{\"$or\":[{\"value\":{\"a\":[1]}},{\"key\":[\"x\"]}]}"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        if (try(cases[i].pattern, &message) != cases[i].wanted)
            fail_msg("%s: wanted %d", cases[i].pattern, cases[i].wanted);
}

static void tells_what_is_no_json(void **state)
{
    char deep[600];

    expect(FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}", "");
    expect(FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}", "{\"a\":1");
    expect(FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}", "{\"a\":1}}");
    expect(FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}", "{\"a\":\"\xff\"}");
    /* A tombstone has nothing in it: that can be told. */
    expect(FILTER_NO, "{\"value\":{\"a\":[1]}}", NULL);
    expect(FILTER_YES, "{\"value\":{\"a\":[{\"exists\":false}]}}", NULL);
    expect(FILTER_YES, "{\"value\":[{\"exists\":false}]}", NULL);
    memset(deep, '[', 300);
    memset(deep + 300, ']', 299);
    deep[599] = '\0';
    expect(FILTER_UNTOLD, "{\"value\":{\"a\":[1]}}", deep);
}

/* What nests or repeats would be gone through again and again. */
static void bounds_its_work(void **state)
{
    enum { SIZE = 1 << 20, FIELDS = 63 };
    char *payload = malloc(SIZE), pattern[8192];
    struct filter_message message = {.payload = {payload, SIZE}, .partition = -1};
    size_t at = (size_t)snprintf(pattern, sizeof pattern, "{\"value\":{");
    struct timespec begin, end;

    for (int i = 0; i < FIELDS; i++)
        at += (size_t)snprintf(pattern + at, sizeof pattern - at,
                               "\"a%d.b\":[{\"exists\":false}],", i);
    snprintf(pattern + at, sizeof pattern - at, "\"z\":[1]}}");
    payload[0] = '[';
    for (size_t i = 1; i + 3 <= SIZE; i += 3)
        memcpy(payload + i, "{},", 3);
    payload[SIZE - 3] = '{';
    payload[SIZE - 2] = '}';
    payload[SIZE - 1] = ']';
    for (size_t i = SIZE - 4; payload[i] != ','; i--)
        payload[i] = ' ';
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(try(pattern, &message), FILTER_UNTOLD);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_in_range(end.tv_sec - begin.tv_sec, 0, 20); /* seconds, also under sanitizers */
    free(payload);
}

static void refuses(void **state)
{
    static const struct {
        const char *pattern, *why;
    } cases[] = {
        {"[]", "found 0 patterns, expected 1 to 32"},
        {"[1]", "expected a pattern, as { value: { status: [\"paid\"] } }"},
        {"{}", "found 0 fields, expected 1 to 64"},
        {"{\"valu\":[1]}", "valu: no such part of a message, expected value (the payload), key, "
                           "headers, source, partition, timestamp or $or"},
        {"{\"data\":[1]}", "data: the payload is called value here"},
        {"{\"headers\":[1]}", "headers: expected a map, as headers: { NAME: [\"value\"] }"},
        {"{\"partition\":{\"a\":[1]}}", "partition: expected a list, as partition: [3]"},
        {"{\"value\":{\"a\":[]}}",
         "a: expected a list of what it may be, as a: [\"paid\"], or a map of fields"},
        {"{\"headers\":{\"a\":{\"b\":[1]}}}",
         "a: expected a list of what it may be, as a: [\"paid\"]"},
        {"{\"value\":{\"a\":[[1]]}}",
         "a: a list within the list, expected texts, numbers, true, false, null, or one of exists, "
         "prefix, suffix, equals-ignore-case, anything-but, numeric, wildcard or cidr"},
        {"{\"value\":{\"a\":[{\"Prefix\":\"x\"}]}}",
         "a: found Prefix, expected exists, prefix, suffix, equals-ignore-case, anything-but, "
         "numeric, wildcard or cidr"},
        {"{\"value\":{\"a\":[{\"exists\":1}]}}", "a: exists: expected true or false"},
        {"{\"value\":{\"a\":[{\"prefix\":1}]}}",
         "a: prefix: expected a text, or { equals-ignore-case: TEXT }"},
        {"{\"value\":{\"a\":[{\"numeric\":[\">\",5,\"<\",5]}]}}",
         "a: numeric: no number is in this range: the lower bound comes first, the upper one is "
         "above it"},
        {"{\"value\":{\"a\":[{\"numeric\":[\">\",5,\">\",6]}]}}",
         "a: numeric: expected [\"=\", 5], [\">\", 0] or [\">=\", 1, \"<\", 10]"},
        {"{\"value\":{\"a\":[{\"wildcard\":\"a**\"}]}}", "a: wildcard: found **, expected single *"},
        {"{\"value\":{\"a\":[{\"wildcard\":\"a\\\\b\"}]}}",
         "a: wildcard: expected \\* or \\\\ where a \\ is"},
        {"{\"value\":{\"a\":[{\"cidr\":\"10.0.0.0/33\"}]}}",
         "a: cidr: expected a network, as \"10.0.0.0/8\""},
        {"{\"value\":{\"a\":[{\"anything-but\":[]}]}}",
         "a: anything-but: expected texts, numbers, or { prefix: TEXT } and the like, one at "
         "least"},
        {"{\"value\":{\"a\":[{\"anything-but\":{\"exists\":true}}]}}",
         "a: anything-but: expected texts, numbers, or { prefix: TEXT } and the like, one at "
         "least"},
        {"{\"value\":{\"$or\":[{\"a\":[1]}]}}",
         "$or: expected a list of 2 to 32 alternatives, each a map"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct fault fault = {.text = ""};
        json_t *json = json_loads(cases[i].pattern, 0, NULL);
        const json_t *where = NULL;

        assert_null(filter_compile(json, &fault, &where));
        assert_non_null(where);
        if (strcmp(fault.text, cases[i].why))
            fail_msg("%s: `%s`, wanted `%s`", cases[i].pattern, fault.text, cases[i].why);
        json_decref(json);
    }
}

/* Names with dots stand for paths, which stand for more: that does not grow without end. */
static void bounds_paths(void **state)
{
    struct fault fault = {.text = ""};
    char text[4096] = "[1]", wrapped[4096];
    json_t *json;

    for (int i = 0; i < 28; i++) {
        snprintf(wrapped, sizeof wrapped, "{\"a.b.c\":%.4000s}", text);
        memcpy(text, wrapped, sizeof text);
    }
    snprintf(wrapped, sizeof wrapped, "{\"value\":%.4000s}", text);
    json = json_loads(wrapped, 0, NULL);
    assert_non_null(json);
    assert_null(filter_compile(json, &fault, NULL));
    assert_true(strstr(fault.text, "fields in all") || strstr(fault.text, "levels"));
    json_decref(json);
}

/* ---- against a plain evaluator ---- */

static uint64_t seed;

static unsigned below(unsigned count)
{
    seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
    return (unsigned)(seed >> 33) % count;
}

static json_t *random_scalar(void)
{
    static const char *const texts[] = {"", "a", "ab", "b\"\\", "\xc3\xa9\n", "abab"};

    switch (below(6)) {
    case 0:
        return json_null();
    case 1:
        return json_boolean(below(2));
    case 2:
        return json_integer((json_int_t)below(4) - 1);
    case 3:
        return json_real((double)below(4) / 2);
    default:
        return json_string(texts[below(6)]);
    }
}

static json_t *random_value(unsigned depth)
{
    static const char *const names[] = {"a", "b", "c"};
    unsigned kind = depth ? below(4) : 0, count = below(4);
    json_t *json;

    if (kind < 2)
        return random_scalar();
    json = kind == 2 ? json_array() : json_object();
    for (unsigned i = 0; i < count; i++)
        if (kind == 2)
            json_array_append_new(json, random_value(depth - 1));
        else
            json_object_set_new(json, names[below(3)], random_value(depth - 1));
    return json;
}

/* Members that no pattern asks for, around as many as the filter keeps. */
static void add_members(json_t *object)
{
    char name[16];

    for (unsigned i = 0, count = 58 + below(10); i < count; i++) {
        snprintf(name, sizeof name, "x%u", i);
        json_object_set_new(object, name, random_value(1));
    }
}

static json_t *random_test(void)
{
    switch (below(7)) {
    case 0:
        return json_pack("{s:b}", "exists", below(2));
    case 1:
        return json_pack("{s:s}", "prefix", "a");
    case 2:
        return json_pack("{s:s}", "suffix", "b");
    case 3:
        return json_pack("{s:[s,i]}", "numeric", ">", 0);
    case 4:
        return json_pack("{s:[o]}", "anything-but", random_scalar());
    default:
        return random_scalar();
    }
}

static json_t *random_pattern(unsigned depth)
{
    static const char *const names[] = {"a", "b", "c"};
    unsigned count = 1 + below(2);
    json_t *json = json_object(), *list;

    for (unsigned i = 0; i < count; i++) {
        if (depth && below(2)) {
            json_object_set_new(json, names[below(3)], random_pattern(depth - 1));
            continue;
        }
        list = json_array();
        for (unsigned j = 0, tests = 1 + below(2); j < tests; j++)
            json_array_append_new(list, random_test());
        json_object_set_new(json, names[below(3)], list);
    }
    if (depth && !below(4))
        json_object_set_new(json, "$or",
                            json_pack("[o,o]", random_pattern(depth - 1), random_pattern(depth - 1)));
    return json;
}

static bool plain_test(const json_t *test, const json_t *value)
{
    const json_t *argument;

    if (!json_is_object(test))
        return json_is_number(test) ? json_is_number(value) &&
                                          json_number_value(test) == json_number_value(value)
                                    : json_equal((json_t *)test, (json_t *)value);
    if ((argument = json_object_get(test, "exists")))
        return json_is_true(argument) == (value != NULL);
    if ((argument = json_object_get(test, "prefix")))
        return json_is_string(value) && json_string_value(value)[0] == 'a';
    if ((argument = json_object_get(test, "suffix")))
        return json_is_string(value) && json_string_length(value) &&
               json_string_value(value)[json_string_length(value) - 1] == 'b';
    if ((argument = json_object_get(test, "numeric")))
        return json_is_number(value) && json_number_value(value) > 0;
    argument = json_object_get(test, "anything-but");
    return value && !json_is_object(value) && !plain_test(json_array_get(argument, 0), value);
}

static bool plain(const json_t *pattern, const json_t *value)
{
    const char *name;
    json_t *below_it, *element;
    size_t i;

    if (json_is_array(value) && json_array_size(value)) {
        json_array_foreach((json_t *)value, i, element) if (plain(pattern, element)) return true;
        return false;
    }
    if (json_is_array(value))
        value = NULL;
    if (json_is_array(pattern)) {
        json_array_foreach((json_t *)pattern, i,
                           element) if (plain_test(element, value)) return true;
        return false;
    }
    json_object_foreach((json_t *)pattern, name, below_it)
    {
        if (!strcmp(name, "$or")) {
            if (!plain(json_array_get(below_it, 0), value) &&
                !plain(json_array_get(below_it, 1), value))
                return false;
        } else if (!plain(below_it, json_object_get(value, name))) {
            return false;
        }
    }
    return true;
}

static void agrees_with_a_plain_evaluator(void **state)
{
    unsigned passed = 0;

    seed = getenv("SLUICE_SEED") ? strtoull(getenv("SLUICE_SEED"), NULL, 0) : (uint64_t)time(NULL);
    print_message("SLUICE_SEED=%llu\n", (unsigned long long)seed);
    for (int i = 0; i < RANDOM_TRIES / 100; i++) {
        json_t *pattern = random_pattern(2), *whole = json_pack("{s:O}", "value", pattern);
        char *text = json_dumps(whole, 0);

        for (int j = 0; j < 100; j++) {
            json_t *value = random_value(3);
            char *payload, *spaced = NULL;
            bool wanted;

            if (json_is_object(value) && !below(8))
                add_members(value);
            payload = json_dumps(value, JSON_ENCODE_ANY | (below(2) ? JSON_INDENT(2) : 0) |
                                            (below(2) ? JSON_ENSURE_ASCII : 0));
            wanted = plain(pattern, value);
            assert_true(asprintf(&spaced, "%s%s%s", below(4) ? "" : " \n", payload,
                                 below(4) ? "" : "\r\n\t ") > 0);
            expect(wanted ? FILTER_YES : FILTER_NO, text, spaced);
            passed += wanted;
            free(spaced);
            free(payload);
            json_decref(value);
        }
        free(text);
        json_decref(whole);
        json_decref(pattern);
    }
    /* Both answers came often enough to mean something. */
    assert_in_range(passed, RANDOM_TRIES / 100, RANDOM_TRIES - RANDOM_TRIES / 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compares_scalars),
        cmocka_unit_test(goes_down),
        cmocka_unit_test(goes_into_arrays),
        cmocka_unit_test(knows_operators),
        cmocka_unit_test(compares_numbers),
        cmocka_unit_test(knows_wildcards),
        cmocka_unit_test(knows_alternatives),
        cmocka_unit_test(looks_at_parts),
        cmocka_unit_test(tells_what_is_no_json),
        cmocka_unit_test(bounds_its_work),
        cmocka_unit_test(refuses),
        cmocka_unit_test(bounds_paths),
        cmocka_unit_test(agrees_with_a_plain_evaluator),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
