/* SPDX-License-Identifier: MIT */
#include "base/json_edit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base64.h"

static void sets_values(void **state)
{
    static const struct {
        const char *json, *pointer, *value, *expected; /* NULL: refused */
    } cases[] = {
        {"{\"a\": 1.10, \"b\":2}", "/b", "\"x\"", "{\"a\": 1.10, \"b\":\"x\"}"},
        {"{\"a\":{\"b\":[1,2,3]}}", "/a/b/1", "{}", "{\"a\":{\"b\":[1,{},3]}}"},
        {"{\"a\":{\"b\":[1]}}", "/a/b/-", "2", "{\"a\":{\"b\":[1,2]}}"},
        {"[]", "/-", "2", "[2]"},
        {"{}", "/n", "null", "{\"n\":null}"},
        {"{ }", "/a~1b~0", "1", "{\"a/b~\":1 }"},
        {"{\"a\":1}", "/q\"", "1", "{\"a\":1,\"q\\\"\":1}"},
        {"{\"a/b\":{\"}\":\"]\\\"\"},\"c\":3}", "/c", "4", "{\"a/b\":{\"}\":\"]\\\"\"},\"c\":4}"},
        {"{\"\\u0061\":1}", "/a", "2", "{\"\\u0061\":2}"},
        {"{\"a\":1,\"a\":2}", "/a", "3", "{\"a\":1,\"a\":3}"},
        {" [1, -2.5e3 , true] ", "/1", "0", " [1, 0 , true] "},
        {"17", "", "18", "18"},
        {"{\"\":1}", "/", "2", "{\"\":2}"},
        {"{\"a\":1}", "/a/b", "2", NULL},
        {"{\"a\":1}", "/b/c", "2", NULL},
        {"[1]", "/1", "2", NULL},
        {"[1]", "/01", "2", NULL},
        {"[1]", "/x", "2", NULL},
        {"[1]", "/", "2", NULL},
        {"{\"a\":", "/a", "2", NULL},
        {"{\"a\":1}", "a", "2", NULL},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct buffer out;
        struct fault fault = {.text = ""};
        int result;

        buffer_init(&out, 1000);
        result = json_edit_set(&out, cases[i].json, strlen(cases[i].json), cases[i].pointer,
                               cases[i].value, strlen(cases[i].value), &fault);
        if (cases[i].expected) {
            assert_int_equal(result, 0);
            assert_string_equal(buffer_text(&out), cases[i].expected);
        } else {
            assert_int_equal(result, -1);
            assert_true(fault.text[0] != '\0');
        }
        buffer_fini(&out);
    }
}

static void lays_out_and_packs(void **state)
{
    static const char json[] = "{\"a\":[1.10,{}],\"b\":\"x , y\",\"c\":[]}";
    static const char laid[] =
        "{\n  \"a\": [\n    1.10,\n    {}\n  ],\n  \"b\": \"x , y\",\n  \"c\": []\n}";
    struct buffer out, packed;

    buffer_init(&out, 1000);
    buffer_init(&packed, 1000);
    json_edit_lay_out(&out, json, sizeof json - 1);
    assert_string_equal(buffer_text(&out), laid);
    json_edit_pack(&packed, out.data, out.size);
    assert_string_equal(buffer_text(&packed), json);
    buffer_fini(&out);
    buffer_fini(&packed);
}

static void reads_base64(void **state)
{
    unsigned char data[256], back[300];
    char text[400];

    for (size_t i = 0; i < sizeof data; i++)
        data[i] = (unsigned char)(i * 7);
    for (size_t size = 0; size < sizeof data; size++) {
        base64_write(text, data, size);
        assert_int_equal(base64_read(back, text, BASE64_SIZE(size)), size);
        assert_memory_equal(back, data, size);
    }
    assert_true(base64_read(back, "abc", 3) == SIZE_MAX);
    assert_true(base64_read(back, "ab!=", 4) == SIZE_MAX);
    assert_true(base64_read(back, "a===", 4) == SIZE_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_values),
        cmocka_unit_test(lays_out_and_packs),
        cmocka_unit_test(reads_base64),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
