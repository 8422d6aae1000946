/* SPDX-License-Identifier: MIT
 * What a dead letter tells where it is published. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/clock.h"
#include "core/letter_story.h"

#define SECOND_OF(seconds) ((int64_t)(seconds)*CLOCK_SECOND)

static struct sluice_bytes text(const char *text)
{
    return (struct sluice_bytes){text, strlen(text)};
}

static struct sluice_header message_headers[] = {
    {{"trace", 5}, {"t1", 2}}, {{"trace", 5}, {"\0\xff", 2}}, {{"sluice-error", 12}, {"old", 3}}};

static struct dead_letter letter_of(enum dead_letter_class class)
{
    return (struct dead_letter){
        .id = "01KAS7M3Q2ABCDEFGHJKMNPQRS",
        .mapping = "orders",
        .revision = "0123",
        .connector = "kafka",
        .lane = "orders/3",
        .source = "orders",
        .partition = 3,
        .position = 4711,
        .message_wall_us = SECOND_OF(1700000000),
        .timestamp_kind = SLUICE_TIMESTAMP_CREATED,
        .token = "orders/3/4711",
        .key = {"k\0y", 3},
        .payload = {"{\"id\": 7}", 9},
        .headers = message_headers,
        .header_count = 3,
        .class = class,
        .reason = "500: \"no such customer\"",
        .status = 500,
        .response = {"oops", 4},
        .attempt_count = 5,
        .first_wall_us = SECOND_OF(1700000100),
        .last_wall_us = SECOND_OF(1700000200) + 7000,
        .dead_wall_us = SECOND_OF(1700000201),
    };
}

static const struct letter_place kafka = {
    .connector = "kafka",
    .keeps_keys = true,
    .source_connector = "kafka",
    .servers = "k1:9092",
    .target = "http://f/",
    .group = "g",
};

/* The header's value with its size before it; "" where there is none. */
static const char *value_of(const struct letter_story *story, const char *name)
{
    static char found[600];

    *found = '\0';
    for (size_t i = 0; i < story->count; i++)
        if (story->headers[i].name.size == strlen(name) &&
            !memcmp(story->headers[i].name.data, name, strlen(name))) {
            if (*found)
                fail_msg("%s is there twice", name);
            memset(found, 0, sizeof found);
            snprintf(found, sizeof found, "%zu:", story->headers[i].value.size);
            memcpy(found + strlen(found), story->headers[i].value.data,
                   story->headers[i].value.size);
        }
    return found;
}

static void test_our_own_names(void **state)
{
    struct dead_letter letter = letter_of(DEAD_ATTEMPTS);
    struct letter_story story;

    letter_story_write(&story, &letter, &kafka, NULL);
    /* The message's own come first, unchanged, but for one that would contradict. */
    assert_memory_equal(&story.headers[0], &message_headers[0], sizeof message_headers[0]);
    assert_memory_equal(&story.headers[1], &message_headers[1], sizeof message_headers[0]);
    assert_string_equal(value_of(&story, "sluice-error"), "23:500: \"no such customer\"");
    assert_string_equal(value_of(&story, "sluice-id"), "26:01KAS7M3Q2ABCDEFGHJKMNPQRS");
    assert_string_equal(value_of(&story, "sluice-mapping"), "6:orders");
    assert_string_equal(value_of(&story, "sluice-revision"), "4:0123");
    assert_string_equal(value_of(&story, "sluice-class"), "8:attempts");
    assert_string_equal(value_of(&story, "sluice-status"), "3:500");
    assert_string_equal(value_of(&story, "sluice-attempts"), "1:5");
    assert_string_equal(value_of(&story, "sluice-token"), "13:orders/3/4711");
    assert_string_equal(value_of(&story, "sluice-connector"), "5:kafka");
    assert_string_equal(value_of(&story, "sluice-source"), "6:orders");
    assert_string_equal(value_of(&story, "sluice-partition"), "1:3");
    assert_string_equal(value_of(&story, "sluice-position"), "4:4711");
    assert_string_equal(value_of(&story, "sluice-timestamp"), "24:2023-11-14T22:13:20.000Z");
    assert_string_equal(value_of(&story, "sluice-first-failure"), "24:2023-11-14T22:15:00.000Z");
    assert_string_equal(value_of(&story, "sluice-last-failure"), "24:2023-11-14T22:16:40.007Z");
    assert_string_equal(value_of(&story, "sluice-response"), "4:oops");
    assert_string_equal(value_of(&story, "sluice-key"), "");
    assert_string_equal(value_of(&story, "sluice-payload-kept"), "");
    assert_int_equal(story.count, 2 + 16);
    letter_story_fini(&story);
}

/* A place without keys gets the key as a header, byte by byte; what is not known is left out. */
static void test_without_keys_and_without_an_answer(void **state)
{
    struct dead_letter letter = letter_of(DEAD_FILTERED);
    struct letter_place place = kafka;
    struct letter_story story;

    place.connector = "rabbitmq";
    place.keeps_keys = false;
    letter.status = 0;
    letter.partition = -1;
    letter.response = (struct sluice_bytes){NULL, 0};
    letter.message_wall_us = 0;
    letter_story_write(&story, &letter, &place, NULL);
    assert_memory_equal(value_of(&story, "sluice-key"), "3:k\0y", 5);
    assert_string_equal(value_of(&story, "sluice-status"), "");
    assert_string_equal(value_of(&story, "sluice-partition"), "");
    assert_string_equal(value_of(&story, "sluice-response"), "");
    assert_string_equal(value_of(&story, "sluice-timestamp"), "");
    letter_story_fini(&story);
}

/* Where the payload is kept elsewhere, nothing of what may be too large goes along. */
static void test_a_pointer(void **state)
{
    struct dead_letter letter = letter_of(DEAD_ATTEMPTS);
    struct letter_story story;

    letter_story_write(&story, &letter, &kafka, "host-1");
    assert_string_equal(value_of(&story, "sluice-payload-kept"), "6:host-1");
    assert_memory_equal(value_of(&story, "sluice-key"), "3:k\0y", 5);
    assert_string_equal(value_of(&story, "trace"), "");
    letter_story_fini(&story);
}

static void test_a_pointer_without_headers(void **state)
{
    struct dead_letter letter = letter_of(DEAD_ATTEMPTS);
    struct letter_place place = kafka;
    struct letter_story story;
    struct buffer out;

    place.styles = LETTER_CLOUDEVENTS;
    place.lacks_headers = true;
    letter_story_write(&story, &letter, &place, "host-1");
    buffer_init(&out, 1 << 20);
    letter_word_write(&out, &story);
    buffer_add(&out, "", 1);
    assert_string_equal(
        out.data,
        "{\"sluice-id\":\"01KAS7M3Q2ABCDEFGHJKMNPQRS\",\"sluice-mapping\":\"orders\","
        "\"sluice-revision\":\"0123\",\"sluice-class\":\"attempts\","
        "\"sluice-error\":\"500: \\\"no such customer\\\"\",\"sluice-status\":\"500\","
        "\"sluice-attempts\":\"5\",\"sluice-token\":\"orders/3/4711\",\"sluice-connector\":\"kafka\","
        "\"sluice-source\":\"orders\",\"sluice-partition\":\"3\",\"sluice-position\":\"4711\","
        "\"sluice-timestamp\":\"2023-11-14T22:13:20.000Z\","
        "\"sluice-first-failure\":\"2023-11-14T22:15:00.000Z\","
        "\"sluice-last-failure\":\"2023-11-14T22:16:40.007Z\",\"sluice-response\":\"oops\","
        "\"sluice-key\":{\"base64\":\"awB5\"},\"sluice-payload-kept\":\"host-1\"}");
    buffer_fini(&out);
    letter_story_fini(&story);
}

static void test_names_of_others(void **state)
{
    struct dead_letter letter = letter_of(DEAD_ATTEMPTS);
    struct letter_place place = kafka;
    struct letter_story story;
    const struct sluice_header *offset = NULL;

    place.styles = LETTER_KAFKA_CONNECT | LETTER_SPRING | LETTER_RABBITMQ | LETTER_CLOUDEVENTS;
    letter_story_write(&story, &letter, &place, NULL);
    assert_string_equal(value_of(&story, "__connect.errors.topic"), "6:orders");
    assert_string_equal(value_of(&story, "__connect.errors.partition"), "1:3");
    assert_string_equal(value_of(&story, "__connect.errors.offset"), "4:4711");
    assert_string_equal(value_of(&story, "__connect.errors.exception.message"),
                        "23:500: \"no such customer\"");
    assert_string_equal(value_of(&story, "kafka_dlt-original-topic"), "6:orders");
    assert_string_equal(value_of(&story, "kafka_dlt-original-consumer-group"), "1:g");
    for (size_t i = 0; i < story.count; i++)
        if (!strncmp(story.headers[i].name.data, "kafka_dlt-original-offset", 25))
            offset = &story.headers[i];
    assert_non_null(offset);
    assert_int_equal(offset->value.size, 8);
    assert_memory_equal(offset->value.data, "\0\0\0\0\0\0\x12\x67", 8);
    assert_string_equal(value_of(&story, "x-first-death-queue"), "6:orders");
    assert_string_equal(value_of(&story, "ce_id"), "26:01KAS7M3Q2ABCDEFGHJKMNPQRS");
    assert_string_equal(value_of(&story, "ce_knativeerrorcode"), "3:500");
    assert_string_equal(value_of(&story, "ce_knativeerrordest"), "9:http://f/");
    assert_string_equal(value_of(&story, "amqp:fieldType"), "");
    letter_story_fini(&story);
}

/* x-death is a table of AMQP there; a message that was an event, or died before, stays what it was. */
static void test_what_was_there_stays(void **state)
{
    struct sluice_header headers[] = {{text("cloudEvents:id"), text("own")},
                                      {text("x-first-death-queue"), text("first")}};
    struct dead_letter letter = letter_of(DEAD_AGE);
    struct letter_place place = kafka;
    struct letter_story story;
    json_t *deaths, *death;

    place.connector = "rabbitmq";
    place.styles = LETTER_RABBITMQ | LETTER_CLOUDEVENTS;
    letter.headers = headers;
    letter.header_count = 2;
    letter.source = "with \"quotes\"";
    letter_story_write(&story, &letter, &place, NULL);
    assert_string_equal(value_of(&story, "cloudEvents:id"), "3:own");
    assert_string_equal(value_of(&story, "x-first-death-queue"), "5:first");
    assert_string_equal(value_of(&story, "amqp:fieldType"), "1:A");
    deaths = json_loads(strchr(value_of(&story, "x-death"), ':') + 1, 0, NULL);
    assert_non_null(deaths);
    death = json_array_get(deaths, 0);
    assert_string_equal(json_string_value(json_object_get(death, "reason")), "expired");
    assert_string_equal(json_string_value(json_object_get(death, "queue")), "with \"quotes\"");
    json_decref(deaths);
    letter_story_fini(&story);
}

static json_t *aws(enum dead_letter_class class, const char *connector)
{
    struct dead_letter letter = letter_of(class);
    struct letter_place place = kafka;
    struct buffer out;
    json_t *json;

    place.source_connector = letter.connector = connector;
    buffer_init(&out, 1 << 20);
    letter_aws_write(&out, &letter, &place);
    json = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
    if (!json)
        fail_msg("no JSON: %s", buffer_text(&out));
    buffer_fini(&out);
    return json;
}

static const char *text_at(json_t *json, const char *one, const char *other)
{
    return json_string_value(json_object_get(json_object_get(json, one), other));
}

static void test_the_record_of_aws(void **state)
{
    json_t *json = aws(DEAD_ATTEMPTS, "kafka"), *context = json_object_get(json, "requestContext");
    json_t *batch = json_object_get(json, "KafkaBatchInfo");
    json_t *payload = json_object_get(json, "payload");

    assert_string_equal(json_string_value(json_object_get(json, "version")), "1.0");
    assert_string_equal(json_string_value(json_object_get(json, "timestamp")),
                        "2023-11-14T22:16:40.007Z");
    assert_string_equal(text_at(json, "requestContext", "condition"), "RetryAttemptsExhausted");
    assert_int_equal(json_integer_value(json_object_get(context, "approximateInvokeCount")), 5);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "responseContext"),
                                                        "statusCode")), 500);
    assert_string_equal(text_at(json, "responseContext", "functionError"), "Unhandled");
    assert_int_equal(json_integer_value(json_object_get(batch, "batchSize")), 1);
    assert_int_equal(json_integer_value(json_object_get(batch, "payloadSize")), 9);
    assert_string_equal(text_at(batch, "recordInfo", "offset"), "4711");
    assert_string_equal(json_string_value(json_object_get(payload, "eventSource")),
                        "SelfManagedKafka");
    json_decref(json);
    json = aws(DEAD_AGE, "kafka");
    assert_string_equal(text_at(json, "requestContext", "condition"), "RecordAgeExceeded");
    assert_null(json_object_get(json, "responseContext"));
    json_decref(json);
    json = aws(DEAD_TOO_LARGE, "rabbitmq");
    assert_string_equal(text_at(json, "requestContext", "condition"), "MaximumPayloadSizeExceeded");
    assert_true(json_is_null(json_object_get(json, "responseContext")));
    assert_non_null(json_object_get(json, "MessageBatchInfo"));
    assert_string_equal(text_at(json, "payload", "eventSource"), "aws:rmq");
    json_decref(json);
    json = aws(DEAD_TOKEN_MISSING, "spool");
    assert_string_equal(text_at(json, "requestContext", "condition"), "token_missing");
    assert_int_equal(json_array_size(json_object_get(json_object_get(json, "payload"), "records")), 1);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_our_own_names),
        cmocka_unit_test(test_without_keys_and_without_an_answer),
        cmocka_unit_test(test_a_pointer),
        cmocka_unit_test(test_a_pointer_without_headers),
        cmocka_unit_test(test_names_of_others),
        cmocka_unit_test(test_what_was_there_stays),
        cmocka_unit_test(test_the_record_of_aws),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
