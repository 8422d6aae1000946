/* SPDX-License-Identifier: MIT */
#include "service/letter_copy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* Memory that is wiped after the copy was made shows what the copy still points to. */
static char *lend(char **at, const char *text, size_t size)
{
    char *lent = *at;

    memcpy(lent, text, size);
    *at += size;
    return lent;
}

static struct sluice_bytes lend_bytes(char **at, const char *text, size_t size)
{
    return (struct sluice_bytes){lend(at, text, size), size};
}

static void all_of_it_is_its_own(void **state)
{
    char memory[1024], *at = memory;
    struct dead_letter_attempt attempts[2] = {{.status = 500, .error = "no"}, {.status = 503}};
    struct sluice_header headers[2] = {
        {lend_bytes(&at, "name", 4), lend_bytes(&at, "v\0lue", 5)},
        {lend_bytes(&at, "none", 4), {NULL, 0}},
    };
    struct dead_letter letter = {
        .id = "ID", .mapping = lend(&at, "m", 2), .revision = lend(&at, "r", 2),
        .connector = lend(&at, "kafka", 6), .lane = lend(&at, "t/3", 4), .source = lend(&at, "t", 2),
        .token = lend(&at, "to\0ken", 7), .token_size = 6, .reason = lend(&at, "why", 4),
        .found_lane = lend(&at, "dead/0", 7), .found_position = 7,
        .key = lend_bytes(&at, "k", 1), .payload = lend_bytes(&at, "pay", 3),
        .response = lend_bytes(&at, "answer", 6), .message_id = {"", 0}, .headers = headers,
        .header_count = 2, .attempts = attempts, .attempts_kept = 2, .attempt_count = 7,
        .partition = 3, .position = 42, .class = DEAD_BURIED};
    struct dead_letter *copy = letter_copy(&letter);

    (void)state;
    memset(memory, 'x', sizeof memory);
    memset(headers, 'x', sizeof headers);
    memset(attempts, 'x', sizeof attempts);
    assert_string_equal(copy->id, "ID");
    assert_string_equal(copy->mapping, "m");
    assert_string_equal(copy->revision, "r");
    assert_string_equal(copy->connector, "kafka");
    assert_string_equal(copy->lane, "t/3");
    assert_string_equal(copy->source, "t");
    assert_string_equal(copy->reason, "why");
    assert_string_equal(copy->found_lane, "dead/0");
    assert_int_equal(copy->found_position, 7);
    assert_memory_equal(copy->token, "to\0ken", 7);
    assert_int_equal(copy->token_size, 6);
    assert_memory_equal(copy->key.data, "k", 1);
    assert_memory_equal(copy->payload.data, "pay", 3);
    assert_memory_equal(copy->response.data, "answer", 6);
    assert_non_null(copy->message_id.data); /* empty is not absent */
    assert_null(copy->identity.data);
    assert_null(copy->original.data);
    assert_memory_equal(copy->headers[0].name.data, "name", 4);
    assert_memory_equal(copy->headers[0].value.data, "v\0lue", 5);
    assert_memory_equal(copy->headers[1].name.data, "none", 4);
    assert_null(copy->headers[1].value.data);
    assert_int_equal(copy->attempts[0].status, 500);
    assert_string_equal(copy->attempts[0].error, "no");
    assert_int_equal(copy->attempts[1].status, 503);
    assert_int_equal(copy->position, 42);
    free(copy);
}

static void the_least_letter(void **state)
{
    const struct dead_letter letter = {.mapping = "m", .token = "t"};
    struct dead_letter *copy = letter_copy(&letter);

    (void)state;
    assert_string_equal(copy->token, "t");
    assert_null(copy->reason);
    assert_int_equal(copy->header_count, 0);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_of_it_is_its_own),
        cmocka_unit_test(the_least_letter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
