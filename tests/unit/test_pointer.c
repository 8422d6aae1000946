/* SPDX-License-Identifier: MIT
 * JSON Pointers, and with them the scanner: known answers, then random texts against jansson. */
#define _GNU_SOURCE
#include "core/pointer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/json_scan.h"
#include "base/json_text.h"

#define RANDOM_TEXTS 60000

static int find_in(const char *path, const void *json, size_t size, struct buffer *token)
{
    struct fault fault = {""};
    struct pointer *pointer = pointer_compile(path, &fault);
    char *exact = malloc(size ? size : 1); /* so that reading past the end is seen */
    int result;

    assert_string_equal(fault.text, "");
    assert_non_null(pointer);
    memcpy(exact, json, size);
    result = pointer_find(pointer, exact, size, token);
    free(exact);
    pointer_free(pointer);
    return result;
}

static void expect(const char *path, const char *json, int wanted, const char *wanted_token)
{
    struct buffer token;
    int result;

    buffer_init(&token, 4096);
    result = find_in(path, json, strlen(json), &token);
    if (result != wanted || strcmp(buffer_text(&token), wanted_token))
        fail_msg("%s in %s: %d `%s`, wanted %d `%s`", path, json, result, buffer_text(&token),
                 wanted, wanted_token);
    buffer_fini(&token);
}

static void finds_scalars(void **state)
{
    expect("/order/id", "{\"order\":{\"id\":\"A-1\"}}", 1, "A-1");
    expect("/order/id", " { \"x\" : [ 1, {\"order\":2} ] , \"order\" : { \"id\" : 17 } } ", 1,
           "17");
    expect("/a", "{\"a\":-1.50e+3}", 1, "-1.50e+3");
    expect("/a", "{\"a\":true}", 1, "true");
    expect("/a", "{\"a\":false}", 1, "false");
    expect("", "\"whole\"", 1, "whole");
    expect("", "42", 1, "42");
    expect("/", "{\"\":1}", 1, "1");
    expect("/a~1b/c~0d", "{\"a/b\":{\"c~d\":\"x\"}}", 1, "x");
    expect("/a~01", "{\"a~1\":\"x\"}", 1, "x");
    expect("/0", "[7,8]", 1, "7");
    expect("/1/0/k", "[7,[{\"k\":\"v\"}],8]", 1, "v");
    expect("/0", "{\"0\":\"member\"}", 1, "member");
    expect("/a", "{\"\\u0061\":\"escaped name\"}", 1, "escaped name");
    expect("/\xf0\x9f\x98\x80", "{\"\\ud83d\\ude00\":1}", 1, "1");
    expect("/a", "{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20ac\\ud83d\\ude00\"}", 1,
           "\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

static void finds_nothing(void **state)
{
    expect("/a", "{\"a\":null}", 0, "");
    expect("/a", "{\"a\":{\"b\":1}}", 0, "");
    expect("/a", "{\"a\":[1]}", 0, "");
    expect("/a", "{\"a\":\"\"}", 0, "");
    expect("/a", "{}", 0, "");
    expect("/a", "{\"b\":1}", 0, "");
    expect("/a/b", "{\"a\":1}", 0, "");
    expect("/a/b", "{\"a\":\"b\"}", 0, "");
    expect("/a", "[1,2]", 0, "");
    expect("/2", "[1,2]", 0, "");
    expect("/-", "[1,2]", 0, "");
    expect("/00", "[1,2]", 0, "");
    expect("/a", "{\"x\":{\"a\":1}}", 0, "");
    expect("/a/b", "{\"b\":{\"a\":1},\"a\":{\"c\":{\"b\":1}}}", 0, "");
    expect("", "{\"a\":1}", 0, "");
    expect("", "null", 0, "");
}

static void last_of_a_name_counts(void **state)
{
    expect("/a", "{\"a\":1,\"a\":2}", 1, "2");
    expect("/a/b", "{\"a\":{\"b\":1},\"a\":{\"c\":2}}", 0, "");
    expect("/a/b", "{\"a\":{\"b\":1},\"a\":5}", 0, "");
    expect("/a/b", "{\"a\":{\"b\":1},\"a\":{}}", 0, "");
    expect("/a", "{\"a\":1,\"a\":null}", 0, "");
    expect("/a/0", "{\"a\":[1],\"a\":[]}", 0, "");
}

static void refuses_what_is_not_json(void **state)
{
    static const char *const texts[] = {"",
                                        " ",
                                        "{",
                                        "}",
                                        "[",
                                        "]",
                                        "{\"a\":1",
                                        "{\"a\":1,}",
                                        "{\"a\" 1}",
                                        "{a:1}",
                                        "{'a':1}",
                                        "{\"a\":1}x",
                                        "{\"a\":1}{}",
                                        "[1,]",
                                        "[,1]",
                                        "[1 2]",
                                        "[1]]",
                                        "{\"a\":1]",
                                        "[1}",
                                        "01",
                                        "-",
                                        "1.",
                                        ".5",
                                        "1e",
                                        "1e+",
                                        "+1",
                                        "0x1",
                                        "NaN",
                                        "Infinity",
                                        "-Infinity",
                                        "nul",
                                        "nulll",
                                        "True",
                                        "\"",
                                        "\"a",
                                        "\"\\\"",
                                        "\"\\x\"",
                                        "\"\\u12\"",
                                        "\"\\u12g4\"",
                                        "\"\\ud800\"",
                                        "\"\\ud800\\u0041\"",
                                        "\"\\udc00\"",
                                        "\"a\nb\"",
                                        "\"a\tb\"",
                                        "\"\x01\"",
                                        "\"\x80\"",
                                        "\"\xc0\x80\"",
                                        "\"\xc3\"",
                                        "\"\xe0\x80\x80\"",
                                        "\"\xed\xa0\x80\"",
                                        "\"\xf4\x90\x80\x80\"",
                                        "\"\xf8\x88\x80\x80\x80\"",
                                        "\xef\xbb\xbf{}",
                                        "// c\n1",
                                        "[1,/**/2]",
                                        "\"01234567\x01\"",
                                        "{\"a\":1,\"b\"}",
                                        "{\"a\"}",
                                        "{1:2}",
                                        "{,}",
                                        "\f1",
                                        "\v1",
                                        "1\f"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        expect("/a", texts[i], -1, "");
    for (size_t i = 0; i < 8; i++) /* cut off before any terminator */
        assert_false(json_scan("\"0123456789", i, NULL, 0, NULL));
    assert_false(json_scan("1\0", 2, NULL, 0, NULL));
    assert_false(json_scan("\"\\\0\"", 4, NULL, 0, NULL));
}

static void bounds_the_depth(void **state)
{
    char text[4 * JSON_SCAN_DEPTH];

    for (int depth = JSON_SCAN_DEPTH; depth <= JSON_SCAN_DEPTH + 1; depth++) {
        memset(text, '[', (size_t)depth);
        memset(text + depth, ']', (size_t)depth);
        assert_int_equal(json_scan(text, (size_t)depth * 2, NULL, 0, NULL),
                         depth == JSON_SCAN_DEPTH);
    }
}

static void compile_refuses(void **state)
{
    char deep[3 * JSON_SCAN_STEPS + 3] = "";
    struct fault fault;
    struct pointer *pointer;

    assert_null(pointer_compile("order/id", &fault));
    assert_non_null(strstr(fault.text, "`/order/id`"));
    assert_null(pointer_compile("/a~", &fault));
    assert_null(pointer_compile("/a~2", &fault));
    assert_non_null(strstr(fault.text, "~0"));
    assert_null(pointer_compile("/\xff", &fault));
    for (int i = 0; i < JSON_SCAN_STEPS; i++)
        strcat(deep, "/a");
    pointer = pointer_compile(deep, &fault);
    assert_non_null(pointer);
    pointer_free(pointer);
    strcat(deep, "/a");
    assert_null(pointer_compile(deep, &fault));
}

static void obeys_the_cap(void **state)
{
    struct buffer token;

    buffer_init(&token, 3);
    assert_int_equal(find_in("", "\"abcdef\"", 8, &token), 1);
    assert_true(token.full);
    buffer_fini(&token);
}

/* ---- random texts ---- */

static uint64_t seed = 88172645463325252u;

static uint32_t draw(uint32_t below)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 20) % below;
}

static void add_random_string(struct buffer *text)
{
    static const char *const parts[] = {"a",
                                        "b",
                                        "id",
                                        "0",
                                        "1",
                                        "\\u0061",
                                        "\\n",
                                        "\\\"",
                                        "~",
                                        "/",
                                        "\xc3\xa9",
                                        "\\u00e9",
                                        "\\ud83d\\ude00",
                                        "\xf0\x9f\x98\x80",
                                        "0123456789abcdef"};
    uint32_t count = draw(3);

    buffer_add_text(text, "\"");
    while (count--)
        buffer_add_text(text, parts[draw(sizeof parts / sizeof *parts)]);
    buffer_add_text(text, "\"");
}

static void add_random_value(struct buffer *text, int depth)
{
    static const char *const scalars[] = {"0", "-1", "12.5", "1e3", "true", "false", "null"};
    uint32_t choice = draw(depth > 5 ? 4 : 10), count = draw(4);
    bool is_array = choice >= 7;

    if (choice < 2) {
        add_random_string(text);
    } else if (choice < 4) {
        buffer_add_text(text, scalars[draw(sizeof scalars / sizeof *scalars)]);
    } else {
        buffer_add_text(text, is_array ? "[" : "{ ");
        for (uint32_t i = 0; i < count; i++) {
            buffer_add_text(text, i ? ", " : "");
            if (!is_array) {
                add_random_string(text);
                buffer_add_text(text, ":");
            }
            add_random_value(text, depth + 1);
        }
        buffer_add_text(text, is_array ? "]" : "}");
    }
}

/* Changes, removes or doubles a byte or two, so that about half of the texts break. */
static void damage(struct buffer *text)
{
    static const char bytes[] = "{}[]\",:\\0e-. \n\x80\xc3\xf0u";

    for (uint32_t i = draw(3); i-- && text->size;) {
        size_t at = draw((uint32_t)text->size);

        switch (draw(3)) {
        case 0:
            text->data[at] = bytes[draw(sizeof bytes - 1)];
            break;
        case 1:
            memmove(text->data + at, text->data + at + 1, text->size - at - 1);
            text->size--;
            break;
        default:
            text->size = at;
        }
    }
}

static const json_t *walk(const json_t *at, const char *path)
{
    char name[64];

    while (at && *path) {
        size_t size = 0;

        for (path++; *path && *path != '/'; path++)
            name[size++] = *path != '~' ? *path : *++path == '0' ? '~' : '/';
        name[size] = '\0';
        if (json_is_object(at))
            at = json_object_get(at, name);
        else if (json_is_array(at) && size && strspn(name, "0123456789") == size &&
                 (*name != '0' || size == 1))
            at = json_array_get(at, strtoul(name, NULL, 10));
        else
            at = NULL;
    }
    return at;
}

static void compare(const char *path, struct buffer *text, int *found)
{
    json_error_t error;
    json_t *document = json_loadb(text->data, text->size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    const json_t *value;
    struct buffer token;
    int result;

    if (!document && (strstr(error.text, "NUL byte") || strstr(error.text, "too big") ||
                      strstr(error.text, "overflow")))
        return; /* JSON all the same */
    buffer_init(&token, 65536);
    result = find_in(path, text->data, text->size, &token);
    value = walk(document, path);
    if ((result < 0) != !document)
        fail_msg("%d but %s: %.*s", result, document ? "valid" : error.text, (int)text->size,
                 text->data);
    if (document && json_is_string(value) && json_string_length(value)) {
        assert_int_equal(result, 1);
        assert_int_equal(token.size, json_string_length(value));
        assert_memory_equal(token.data, json_string_value(value), token.size);
        ++*found;
    } else if (document && (json_is_number(value) || json_is_boolean(value))) {
        assert_int_equal(result, 1);
        if (json_is_number(value))
            assert_true(strtod(buffer_text(&token), NULL) == json_number_value(value));
        else
            assert_string_equal(buffer_text(&token), json_is_true(value) ? "true" : "false");
        ++*found;
    } else if (document && result != 0) {
        fail_msg("%s found in %.*s", path, (int)text->size, text->data);
    }
    buffer_fini(&token);
    json_decref(document);
}

static void agrees_with_jansson(void **state)
{
    static const char *const paths[] = {
        "",       "/a",        "/id", "/0",     "/1",   "/a/b", "/0/1", "/a/id",
        "/~0/~1", "/\xc3\xa9", "/",   "/a/0/b", "/0/0", "//",   "/1/a", "/0123456789abcdef"};
    int found = 0;

    for (int i = 0; i < RANDOM_TEXTS; i++) {
        struct buffer text;

        buffer_init(&text, 1 << 20);
        add_random_value(&text, 0);
        if (draw(2))
            damage(&text);
        for (size_t j = 0; j < sizeof paths / sizeof *paths; j++)
            compare(paths[j], &text, &found);
        buffer_fini(&text);
    }
    assert_true(found > RANDOM_TEXTS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_scalars),         cmocka_unit_test(finds_nothing),
        cmocka_unit_test(last_of_a_name_counts), cmocka_unit_test(refuses_what_is_not_json),
        cmocka_unit_test(bounds_the_depth),      cmocka_unit_test(compile_refuses),
        cmocka_unit_test(obeys_the_cap),         cmocka_unit_test(agrees_with_jansson),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
