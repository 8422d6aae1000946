/* SPDX-License-Identifier: MIT
 * Partial batch responses: every row of AWS's documented and observed rules, and then everything
 * that a function may answer by mistake. */
#define _GNU_SOURCE
#include "core/reply.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RECORDS 4

static const struct envelope_context kafka = {ENVELOPE_LAMBDA, "m", "kafka", "h:9092"};
static const struct envelope_context sqs = {ENVELOPE_LAMBDA, "m", "sqs", "h:443"};
static const struct envelope_context own = {ENVELOPE_JSON, "m", "kafka", "h:9092"};

/* mytopic-0 at 100 and 101, mytopic-1 at 100, my-topic-10-3 at 0 */
static struct sluice_message messages[RECORDS] = {
    {.position = 100, .message_id = {"id-0", 4}},
    {.position = 101, .message_id = {"id-1", 4}},
    {.position = 100, .message_id = {"d", 1}}, /* the token of another */
    {.position = 0}};
static const struct envelope_record records[RECORDS] = {
    {.message = &messages[0], .source = "mytopic", .partition = 0, .token = "a", .token_size = 1},
    {.message = &messages[1], .source = "mytopic", .partition = 0, .token = "ab", .token_size = 2},
    {.message = &messages[2],
     .source = "mytopic",
     .partition = 1,
     .token = "c\0d",
     .token_size = 3},
    {.message = &messages[3],
     .source = "my-topic-10",
     .partition = 3,
     .token = "d",
     .token_size = 1}};

struct row {
    const char *body;
    enum reply_kind kind;
    const char *failed; /* one digit a record */
    const char *says;   /* part of the fault */
};

#define ITEM(item)  "{\"batchItemFailures\":[" item "]}"
#define NAMED(name) ITEM("{\"itemIdentifier\":" name "}")

static void judge_rows(const struct envelope_context *context, const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool failed[RECORDS] = {true, false, true, false};
        size_t size = strlen(rows[i].body);
        char *exact = malloc(size ? size : 1), marks[RECORDS + 1] = "";
        struct fault fault = {""};
        enum reply_kind kind;

        memcpy(exact, rows[i].body, size);
        kind = reply_judge(context, records, RECORDS, exact, size, failed, &fault);
        for (size_t j = 0; j < RECORDS; j++)
            marks[j] = failed[j] ? '1' : '0';
        if (kind != rows[i].kind || strcmp(marks, rows[i].failed) ||
            (kind == REPLY_MALFORMED && (!rows[i].says || !strstr(fault.text, rows[i].says))))
            fail_msg("%s: kind %d failed %s fault `%s`", rows[i].body, kind, marks, fault.text);
        free(exact);
    }
}

#define JUDGE(context, rows) judge_rows(context, rows, sizeof(rows) / sizeof *(rows))

static void all_done(void **state)
{
    static const struct row rows[] = {
        {"", REPLY_DONE, "0000", NULL},
        {" \r\n\t", REPLY_DONE, "0000", NULL},
        {"\"\"", REPLY_DONE, "0000", NULL},
        {"null", REPLY_DONE, "0000", NULL},
        {"[]", REPLY_DONE, "0000", NULL},
        {"{}", REPLY_DONE, "0000", NULL},
        {" { } ", REPLY_DONE, "0000", NULL},
        {"{\"batchItemFailures\":[]}", REPLY_DONE, "0000", NULL},
        {"{\"batchItemFailures\":null}", REPLY_DONE, "0000", NULL},
        {"{\"batchItemFailures\":[],\"processed\":4}", REPLY_DONE, "0000", NULL},
    };

    JUDGE(&kafka, rows);
    JUDGE(&own, rows);
}

static void partial(void **state)
{
    static const struct row rows[] = {
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":100}"), REPLY_PARTIAL, "1000", NULL},
        {NAMED("{\"offset\":101,\"partition\":\"mytopic-0\"}"), REPLY_PARTIAL, "0100", NULL},
        {NAMED("{\"partition\":\"mytopic-1\",\"offset\":100}"), REPLY_PARTIAL, "0010", NULL},
        {NAMED("{\"partition\":\"my-topic-10-3\",\"offset\":0}"), REPLY_PARTIAL, "0001", NULL},
        {ITEM("{\"itemIdentifier\":{\"partition\":\"mytopic-1\",\"offset\":100},\"why\":1},"
              "{\"itemIdentifier\":{\"partition\":\"mytopic-0\",\"offset\":100}}"),
         REPLY_PARTIAL, "1010", NULL},
    };
    static const struct row own_rows[] = {
        {NAMED("\"a\""), REPLY_PARTIAL, "1000", NULL},
        {NAMED("\"ab\""), REPLY_PARTIAL, "0100", NULL},
        {NAMED("\"c\\u0000d\""), REPLY_PARTIAL, "0010", NULL},
        {NAMED("{\"source\":\"mytopic\",\"partition\":1,\"position\":100}"), REPLY_PARTIAL, "0010",
         NULL},
        {ITEM("{\"itemIdentifier\":\"d\"},{\"itemIdentifier\":\"a\"}"), REPLY_PARTIAL, "1001",
         NULL},
    };

    JUDGE(&kafka, rows);
    JUDGE(&own, own_rows);
}

/* SQS's identifier is the messageId; a token is understood too. */
static void partial_of_sqs(void **state)
{
    static const struct row rows[] = {
        {NAMED("\"id-0\""), REPLY_PARTIAL, "1000", NULL},
        {NAMED("\"ab\""), REPLY_PARTIAL, "0100", NULL},
        {NAMED("\"d\""), REPLY_PARTIAL, "0010", NULL},
        {ITEM("{\"itemIdentifier\":\"id-1\"},{\"itemIdentifier\":\"a\"}"), REPLY_PARTIAL, "1100", NULL},
        {NAMED("\"id-2\""), REPLY_MALFORMED, "1111", "not in the batch"},
        {NAMED("\"\""), REPLY_MALFORMED, "1111", "empty"},
        {NAMED("null"), REPLY_MALFORMED, "1111", "null"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":100}"), REPLY_MALFORMED, "1111", "source"},
        {ITEM("{\"itemIdentifier\":\"id-1\"},{\"itemIdentifier\":\"ab\"}"), REPLY_MALFORMED, "1111",
         "twice"},
    };
    static const struct row own_rows[] = {
        {NAMED("\"id-0\""), REPLY_MALFORMED, "1111", "not in the batch"},
    };

    JUDGE(&sqs, rows);
    JUDGE(&own, own_rows);
}

static void malformed(void **state)
{
    static const struct row rows[] = {
        {"{\"failures\":[]}", REPLY_MALFORMED, "1111", "`failures`"},
        {"{\"batchItemFailure\":[]}", REPLY_MALFORMED, "1111", "misspelt"},
        {"{\"batchitemfailures\":[]}", REPLY_MALFORMED, "1111", "misspelt"},
        {"{\"statusCode\":200,\"body\":\"ok\"}", REPLY_MALFORMED, "1111", "`statusCode`"},
        {"ok", REPLY_MALFORMED, "1111", "not JSON"},
        {"\"ok\"", REPLY_MALFORMED, "1111", "a string"},
        {"true", REPLY_MALFORMED, "1111", "true"},
        {"17", REPLY_MALFORMED, "1111", "a whole number"},
        {"[1]", REPLY_MALFORMED, "1111", "an array"},
        {"[{\"itemIdentifier\":\"a\"}]", REPLY_MALFORMED, "1111", "an array"},
        {"{\"batchItemFailures\":{}}", REPLY_MALFORMED, "1111", "expected an array"},
        {"{\"batchItemFailures\":\"\"}", REPLY_MALFORMED, "1111", "expected an array"},
        {"{\"batchItemFailures\":false}", REPLY_MALFORMED, "1111", "expected an array"},
        {"{\"batchItemFailures\":[]", REPLY_MALFORMED, "1111", "not JSON"},
        {"{\"batchItemFailures\":[]}}", REPLY_MALFORMED, "1111", "not JSON"},
        {"{\"batchItemFailures\":[],\"batchItemFailures\":[]}", REPLY_MALFORMED, "1111",
         "not JSON"},
        {"{\"a\":\"\xff\"}", REPLY_MALFORMED, "1111", "not JSON"},
        {"<html>502</html>", REPLY_MALFORMED, "1111", "not JSON"},
        {ITEM("null"), REPLY_MALFORMED, "1111", "item 1"},
        {ITEM("\"a\""), REPLY_MALFORMED, "1111", "a string"},
        {ITEM("{}"), REPLY_MALFORMED, "1111", "no `itemIdentifier`"},
        {ITEM("{\"foo\":1}"), REPLY_MALFORMED, "1111", "no `itemIdentifier`"},
        {ITEM("{\"foo\":null}"), REPLY_MALFORMED, "1111", "no `itemIdentifier`"},
        {NAMED("\"\""), REPLY_MALFORMED, "1111", "itemIdentifier"},
        {NAMED("null"), REPLY_MALFORMED, "1111", "null"},
        {NAMED("7"), REPLY_MALFORMED, "1111", "a whole number"},
    };
    static const struct row kafka_rows[] = {
        {NAMED("\"a\""), REPLY_MALFORMED, "1111", "a string"},
        {NAMED("\"100\""), REPLY_MALFORMED, "1111", "a string"},
        {NAMED("{}"), REPLY_MALFORMED, "1111", "partition"},
        {NAMED("{\"partition\":\"mytopic-0\"}"), REPLY_MALFORMED, "1111", "offset is missing"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":null}"), REPLY_MALFORMED, "1111", "null"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":\"100\"}"), REPLY_MALFORMED, "1111",
         "a string"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":100.0}"), REPLY_MALFORMED, "1111",
         "a number"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":-1}"), REPLY_MALFORMED, "1111", "offset"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":99999999999999999999}"), REPLY_MALFORMED,
         "1111", "not JSON"},
        {NAMED("{\"partition\":\"mytopic-0\",\"offset\":102}"), REPLY_MALFORMED, "1111",
         "not in the batch"},
        {NAMED("{\"partition\":\"mytopic-2\",\"offset\":100}"), REPLY_MALFORMED, "1111",
         "not in the batch"},
        {NAMED("{\"partition\":\"other-0\",\"offset\":100}"), REPLY_MALFORMED, "1111",
         "not in the batch"},
        {NAMED("{\"partition\":\"mytopic-4294967296\",\"offset\":100}"), REPLY_MALFORMED, "1111",
         "not in the batch"},
        {NAMED("{\"partition\":0,\"offset\":100}"), REPLY_MALFORMED, "1111", "partition"},
        {NAMED("{\"partition\":\"mytopic\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"mytopic-\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"-0\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"0\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"mytopic-00\",\"offset\":100}"), REPLY_MALFORMED, "1111", "TOPIC-"},
        {NAMED("{\"partition\":\"mytopic-99999999999999999999\",\"offset\":100}"), REPLY_MALFORMED,
         "1111", "TOPIC-"},
        {ITEM("{\"itemIdentifier\":{\"partition\":\"mytopic-0\",\"offset\":100}},"
              "{\"itemIdentifier\":{\"partition\":\"mytopic-0\",\"offset\":100}}"),
         REPLY_MALFORMED, "1111", "twice"},
        {ITEM("{\"itemIdentifier\":{\"partition\":\"mytopic-0\",\"offset\":100}},{}"),
         REPLY_MALFORMED, "1111", "item 2"},
        {ITEM("1,2,3,4,5"), REPLY_MALFORMED, "1111", "5 failures for a batch of 4"},
    };
    static const struct row own_rows[] = {
        {NAMED("\"b\""), REPLY_MALFORMED, "1111", "not in the batch"},
        {NAMED("\"c\""), REPLY_MALFORMED, "1111", "not in the batch"},
        {NAMED("{\"source\":\"mytopic\",\"partition\":1}"), REPLY_MALFORMED, "1111", "position"},
        {NAMED("{\"source\":\"mytopic\",\"position\":100}"), REPLY_MALFORMED, "1111", "not in"},
        {NAMED("{\"source\":1,\"position\":100}"), REPLY_MALFORMED, "1111", "source"},
        {NAMED("{\"source\":\"mytopic\",\"partition\":\"1\",\"position\":100}"), REPLY_MALFORMED,
         "1111", "partition"},
        {ITEM("{\"itemIdentifier\":\"a\"},{\"itemIdentifier\":"
              "{\"source\":\"mytopic\",\"partition\":0,\"position\":100}}"),
         REPLY_MALFORMED, "1111", "twice"},
    };

    JUDGE(&kafka, rows);
    JUDGE(&own, rows);
    JUDGE(&kafka, kafka_rows);
    JUDGE(&own, own_rows);
}

/* Large batches are searched another way. */
static void large_batch(void **state)
{
    enum { COUNT = 10000 };
    struct sluice_message *many = calloc(COUNT, sizeof *many);
    struct envelope_record *batch = calloc(COUNT, sizeof *batch);
    char(*tokens)[16] = calloc(COUNT, sizeof *tokens), (*ids)[16] = calloc(COUNT, sizeof *ids);
    bool *failed = calloc(COUNT, sizeof *failed);
    struct buffer body;
    struct fault fault;

    for (size_t i = 0; i < COUNT; i++) {
        many[i].position = 50000 - i * 3;
        snprintf(tokens[i], sizeof tokens[i], "t%zu", i * 7919 % COUNT);
        snprintf(ids[i], sizeof ids[i], "i%zu", (i + 1) * 7919 % COUNT);
        many[i].message_id = (struct sluice_bytes){ids[i], strlen(ids[i])};
        batch[i] = (struct envelope_record){.message = &many[i],
                                            .source = "mytopic",
                                            .partition = (int32_t)(i % 5),
                                            .token = tokens[i],
                                            .token_size = strlen(tokens[i])};
    }
    static const struct envelope_context *const contexts[] = {&kafka, &own, &sqs};

    for (int kind = 0; kind < 3; kind++) {
        buffer_init(&body, 1 << 22);
        buffer_add_text(&body, "{\"batchItemFailures\":[");
        for (size_t i = 0; i < COUNT; i += 2) {
            buffer_add_text(&body, i ? "," : "");
            if (kind)
                buffer_format(&body, "{\"itemIdentifier\":\"%s\"}", kind == 1 ? tokens[i] : ids[i]);
            else
                buffer_format(
                    &body, "{\"itemIdentifier\":{\"partition\":\"mytopic-%zu\",\"offset\":%llu}}",
                    i % 5, (unsigned long long)many[i].position);
        }
        buffer_add_text(&body, "]}");
        assert_int_equal(
            reply_judge(contexts[kind], batch, COUNT, body.data, body.size, failed, &fault),
            REPLY_PARTIAL);
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(failed[i], i % 2 == 0);
        buffer_fini(&body);
    }
    free(many);
    free(batch);
    free(tokens);
    free(ids);
    free(failed);
}

static void deep_nesting(void **state)
{
    enum { DEPTH = 1000000 };
    char *body = malloc(DEPTH);
    bool failed[RECORDS];
    struct fault fault;

    memset(body, '[', DEPTH);
    assert_int_equal(reply_judge(&kafka, records, RECORDS, body, DEPTH, failed, &fault),
                     REPLY_MALFORMED);
    free(body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_done),  cmocka_unit_test(partial),     cmocka_unit_test(partial_of_sqs),
        cmocka_unit_test(malformed), cmocka_unit_test(large_batch), cmocka_unit_test(deep_nesting),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
