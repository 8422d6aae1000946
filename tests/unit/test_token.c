/* SPDX-License-Identifier: MIT
 * Where tokens come from. */
#include "core/token.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/message.h"

#define BYTES(text) {(text), sizeof(text) - 1}

static char long_text[TOKEN_BYTES_MOST + 1];

static void finds(void **state)
{
    static const struct sluice_header headers[] = {
        {BYTES("Other"), BYTES("x")},
        {BYTES("Id"), BYTES("first")},
        {BYTES("Id"), BYTES("second")},
        {BYTES("Empty"), BYTES("")},
        {BYTES("Null"), {NULL, 0}},
    };
    const struct {
        enum token_source source;
        const char *argument;
        struct sluice_message message;
        const char *wanted; /* NULL: none */
    } rows[] = {
        {TOKEN_MESSAGE_ID, NULL, {.message_id = BYTES("m-1")}, "m-1"},
        {TOKEN_MESSAGE_ID, NULL, {.key = BYTES("k")}, NULL},
        {TOKEN_KEY, NULL, {.key = BYTES("k")}, "k"},
        {TOKEN_KEY, NULL, {.key = BYTES("")}, NULL},
        {TOKEN_KEY, NULL, {.key = {long_text, TOKEN_BYTES_MOST}}, long_text},
        {TOKEN_KEY, NULL, {.key = {long_text, TOKEN_BYTES_MOST + 1}}, NULL},
        {TOKEN_HEADER, "Id", {0}, "first"},
        {TOKEN_HEADER, "id", {0}, NULL},
        {TOKEN_HEADER, "I", {0}, NULL},
        {TOKEN_HEADER, "Empty", {0}, NULL},
        {TOKEN_HEADER, "Null", {0}, NULL},
        {TOKEN_POINTER, "/a/b", {.payload = BYTES("{\"a\":{\"b\":\"x\"}}")}, "x"},
        {TOKEN_POINTER, "/a", {.payload = BYTES("{\"a\":7}")}, "7"},
        {TOKEN_POINTER, "/a", {.payload = BYTES("{\"a\":{}}")}, NULL},
        {TOKEN_POINTER, "/b", {.payload = BYTES("{\"a\":7}")}, NULL},
        {TOKEN_POINTER, "/a", {.payload = BYTES("{\"a\":\"\"}")}, NULL},
        {TOKEN_POINTER, "/a", {.payload = BYTES("not json")}, NULL},
        {TOKEN_POINTER, "/a", {.payload = {NULL, 0}}, NULL},
    };

    memset(long_text, 'x', sizeof long_text);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct token_settings settings = {.source = rows[i].source,
                                          .argument = (char *)(uintptr_t)rows[i].argument};
        struct fault fault = {.text = ""};
        struct token_rule *rule = token_rule_new(&settings, &fault);
        struct buffer token;
        int found;

        assert_non_null(rule);
        assert_false(token_rule_is_positional(rule));
        assert_ptr_equal(token_rule_settings(rule), &settings);
        buffer_init(&token, TOKEN_BYTES_MOST);
        found = token_find(rule, &rows[i].message, headers, 5, &token, &fault);
        if (found != !!rows[i].wanted)
            fail_msg("row %zu: %d %s", i, found, fault.text);
        if (found)
            assert_memory_equal(token.data, rows[i].wanted, token.size);
        else
            assert_string_not_equal(fault.text, "");
        buffer_fini(&token);
        token_rule_free(rule);
    }
}

static void too_long_at_a_pointer_is_none(void **state)
{
    struct token_settings settings = {.source = TOKEN_POINTER, .argument = (char[]){"/a"}};
    struct fault fault = {.text = ""};
    struct token_rule *rule = token_rule_new(&settings, &fault);
    char json[TOKEN_BYTES_MOST + 16];

    for (size_t size = TOKEN_BYTES_MOST - 1; size <= TOKEN_BYTES_MOST + 1; size++) {
        struct sluice_message message = {.payload = {json, size + 8}};
        struct buffer token;

        memcpy(json, "{\"a\":\"", 6);
        memset(json + 6, 'y', size);
        memcpy(json + 6 + size, "\"}", 2);
        buffer_init(&token, TOKEN_BYTES_MOST);
        assert_int_equal(token_find(rule, &message, NULL, 0, &token, &fault),
                         size <= TOKEN_BYTES_MOST);
        buffer_fini(&token);
    }
    token_rule_free(rule);
}

static void refuses_what_is_no_pointer(void **state)
{
    struct token_settings settings = {.source = TOKEN_POINTER, .argument = (char[]){"a/b"}};
    struct fault fault = {.text = ""};

    assert_null(token_rule_new(&settings, &fault));
    assert_string_not_equal(fault.text, "");
    token_rule_free(NULL);
}

static void positions_name_messages(void **state)
{
    struct message message = {.source = {.position = 42}};
    struct buffer text;

    buffer_init(&text, 100);
    message_add_position_token(&message, "orders/3", &text);
    assert_string_equal(buffer_text(&text), "orders/3/42");
    buffer_reset(&text);
    message.source.position = UINT64_MAX;
    message_add_position_token(&message, "a", &text);
    assert_string_equal(buffer_text(&text), "a/18446744073709551615");
    buffer_reset(&text);
    message.source.identity = (struct sluice_bytes)BYTES("broker-1");
    message_add_position_token(&message, "orders/3", &text);
    assert_string_equal(buffer_text(&text), "broker-1");
    buffer_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds),
        cmocka_unit_test(too_long_at_a_pointer_is_none),
        cmocka_unit_test(refuses_what_is_no_pointer),
        cmocka_unit_test(positions_name_messages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
