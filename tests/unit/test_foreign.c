/* SPDX-License-Identifier: MIT
 * Dead letters as others write them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/buffer.h"
#include "core/foreign.h"
#include "core/letter_story.h"

#define BYTES(text) {(text), sizeof(text) - 1}
#define HEADER(name, value) {BYTES(name), BYTES(value)}
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static struct foreign read_it(const struct sluice_header *headers, size_t count,
                              const char *payload)
{
    const struct sluice_message message = {.payload = {payload, payload ? strlen(payload) : 0}};
    struct foreign foreign;

    foreign_read(&message, headers, count, &foreign);
    return foreign;
}

static void is_text(struct sluice_bytes bytes, const char *text)
{
    assert_non_null(bytes.data);
    assert_int_equal(bytes.size, strlen(text));
    assert_memory_equal(bytes.data, text, bytes.size);
}

static void is_at(const struct foreign *foreign, const char *source, int32_t partition,
                  uint64_t position)
{
    is_text(foreign->source, source);
    assert_int_equal(foreign->partition, partition);
    assert_true(foreign->has_position);
    assert_true(foreign->position == position);
}

static void kafka_connect(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("own", "1"),
        HEADER("__connect.errors.topic", "orders"),
        HEADER("__connect.errors.partition", "3"),
        HEADER("__connect.errors.offset", "1507"),
        HEADER("__connect.errors.connector.name", "sink"),
        HEADER("__connect.errors.task.id", "0"),
        HEADER("__connect.errors.stage", "VALUE_CONVERTER"),
        HEADER("__connect.errors.class.name", "org.apache.kafka.connect.json.JsonConverter"),
        HEADER("__connect.errors.exception.class.name", "x.DataException"),
        HEADER("__connect.errors.exception.message", "no JSON\nhere"),
        HEADER("__connect.errors.exception.stacktrace", "x.DataException: no JSON\n\tat a.b"),
    };
    struct foreign foreign = read_it(headers, COUNT(headers), "{");

    is_at(&foreign, "orders", 3, 1507);
    assert_string_equal(foreign.reason, "Kafka Connect sink, VALUE_CONVERTER: x.DataException: no "
                                        "JSON here");
    is_text(foreign.answer, "x.DataException: no JSON\n\tat a.b");
    assert_false(foreign.has_message);
    foreign_fini(&foreign);
}

static void spring_kafka(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("kafka_dlt-original-topic", "orders"),
        HEADER("kafka_dlt-original-partition", "\0\0\0\3"),
        HEADER("kafka_dlt-original-offset", "\0\0\0\0\0\0\5\343"),
        HEADER("kafka_dlt-original-timestamp", "\0\0\1\217\317\345\150\0"),
        HEADER("kafka_dlt-original-timestamp-type", "LogAppendTime"),
        HEADER("kafka_dlt-original-consumer-group", "billing"),
        HEADER("kafka_dlt-exception-fqcn", "o.s.ListenerExecutionFailedException"),
        HEADER("kafka_dlt-exception-cause-fqcn", "java.lang.IllegalStateException"),
        HEADER("kafka_dlt-exception-message", "Listener failed"),
        HEADER("kafka_dlt-exception-stacktrace", "o.s.Listener"),
        HEADER("kafka_dlt-original-topic", "orders.DLT"), /* it died again there */
    };
    struct foreign foreign = read_it(headers, COUNT(headers), "x");

    is_at(&foreign, "orders", 3, 1507);
    assert_int_equal(foreign.timestamp_kind, SLUICE_TIMESTAMP_APPENDED);
    assert_true(foreign.timestamp_ms == 0x18fcfe56800);
    assert_string_equal(foreign.reason, "Spring Kafka, group billing: "
                                        "java.lang.IllegalStateException: Listener failed");
    is_text(foreign.answer, "o.s.Listener");
    foreign_fini(&foreign);
}

static void spring_with_topics_of_retries(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("kafka_original-topic", "orders"),
        HEADER("kafka_original-partition", "0"),
        HEADER("kafka_original-offset", "27"),
        HEADER("retry_topic-attempts", "\0\0\0\4"),
        HEADER("kafka_dlt-original-topic", "orders-retry-2"),
        HEADER("kafka_dlt-original-partition", "\0\0\0\0"),
        HEADER("kafka_dlt-original-offset", "\0\0\0\0\0\0\0\1"),
        HEADER("kafka_dlt-key-exception-fqcn", "x.DeserializationException"),
        HEADER("kafka_dlt-key-exception-message", "bad key"),
    };
    struct foreign foreign = read_it(headers, COUNT(headers), "x");

    is_at(&foreign, "orders", 0, 27);
    assert_int_equal(foreign.attempts, 4);
    assert_string_equal(foreign.reason, "Spring Kafka: x.DeserializationException: bad key");
    foreign_fini(&foreign);
}

static void sluice_s_own(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("own", "1"),
        HEADER("sluice-mapping", "orders"),
        HEADER("sluice-class", "poison"),
        HEADER("sluice-error", "HTTP 422: no currency"),
        HEADER("sluice-status", "422"),
        HEADER("sluice-attempts", "2"),
        HEADER("sluice-token", "o-\0-17"),
        HEADER("sluice-connector", "rabbitmq"),
        HEADER("sluice-source", "shipments"),
        HEADER("sluice-position", "258"),
        HEADER("sluice-last-failure", "2026-01-31T08:00:00.123Z"),
        HEADER("sluice-response", "no currency"),
        HEADER("sluice-key", "k"),
        HEADER("sluice-tower", "not of the story"),
        HEADER("x-death", "[]"),
        HEADER("__connect.errors.topic", "others"),
    };
    struct foreign foreign = read_it(headers, COUNT(headers), "p");

    is_text(foreign.source, "shipments");
    assert_int_equal(foreign.partition, -1);
    assert_true(foreign.has_position && foreign.position == 258);
    assert_int_equal(foreign.class, DEAD_POISON);
    assert_int_equal(foreign.token.size, 6);
    assert_memory_equal(foreign.token.data, "o-\0-17", 6);
    assert_string_equal(foreign.reason, "HTTP 422: no currency");
    assert_int_equal(foreign.status, 422);
    assert_int_equal(foreign.attempts, 2);
    assert_true(foreign.failed_ms == INT64_C(1769846400123));
    is_text(foreign.answer, "no currency");
    assert_true(foreign.has_message);
    is_text(foreign.key, "k");
    is_text(foreign.payload, "p");
    assert_int_equal(foreign.header_count, 4);
    is_text(foreign.headers[0].name, "own");
    is_text(foreign.headers[1].name, "sluice-tower");
    foreign_fini(&foreign);
}

static void rabbitmq(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("x-death", "[{\"count\":3,\"reason\":\"rejected\",\"queue\":\"orders-retry\",\"time\":"
                          "{\"$timestamp\":1700000000},\"exchange\":\"shop\",\"routing-keys\":[\"o.new\"]}"
                          ",{\"count\":1,\"reason\":\"expired\",\"queue\":\"orders\"}]"),
        HEADER("x-first-death-queue", "orders"),
        HEADER("x-first-death-reason", "expired"),
    };
    struct foreign foreign = read_it(headers, COUNT(headers), "x");

    is_text(foreign.source, "orders");
    assert_int_equal(foreign.partition, -1);
    assert_false(foreign.has_position);
    assert_int_equal(foreign.attempts, 3);
    assert_true(foreign.failed_ms == INT64_C(1700000000000));
    assert_string_equal(foreign.reason, "RabbitMQ: rejected from queue orders-retry, first from "
                                        "orders, exchange shop, routing key o.new");
    foreign = read_it(headers + 1, 2, "x");
    assert_string_equal(foreign.reason, "RabbitMQ: expired from queue orders");
    foreign_fini(&foreign);
}

static void aws_asynchronous(void **state)
{
    struct foreign foreign = read_it(
        NULL, 0,
        "{\"version\":\"1.0\",\"timestamp\":\"2019-11-14T00:38:06.021Z\",\"requestContext\":"
        "{\"requestId\":\"e4b46cbf\",\"functionArn\":\"arn:aws:lambda:f:$LATEST\",\"condition\":"
        "\"RetriesExhausted\",\"approximateInvokeCount\":3},\"requestPayload\":{ \"ORDER_IDS\" : "
        "[9e1]},\"responseContext\":{\"statusCode\":200,\"functionError\":\"Unhandled\"},"
        "\"responsePayload\":{\"errorMessage\":\"no such order\"}}");

    assert_string_equal(foreign.reason,
                        "AWS Lambda: RetriesExhausted: Unhandled: no such order");
    assert_true(foreign.has_message);
    is_text(foreign.payload, "{ \"ORDER_IDS\" : [9e1]}");
    is_text(foreign.answer, "{\"errorMessage\":\"no such order\"}");
    assert_int_equal(foreign.attempts, 3);
    assert_int_equal(foreign.status, 200);
    assert_true(foreign.failed_ms == INT64_C(1573691886021));
    foreign_fini(&foreign);
}

#define AWS_KAFKA                                                                                  \
    "{\"version\":\"1.0\",\"timestamp\":\"2019-11-14T00:38:06.021Z\",\"requestContext\":"          \
    "{\"requestId\":\"e4b46cbf\",\"functionArn\":\"arn:f\",\"condition\":"                         \
    "\"RetryAttemptsExhausted\",\"approximateInvokeCount\":2},\"responseContext\":null,"

static void aws_kafka_with_the_message(void **state)
{
    struct foreign foreign = read_it(
        NULL, 0,
        AWS_KAFKA
        "\"KafkaBatchInfo\":{\"batchSize\":1},\"payload\":{\"eventSource\":\"aws:kafka\",\"records\":"
        "{\"my-orders-3\":[{\"topic\":\"my-orders\",\"partition\":3,\"offset\":15,\"timestamp\":"
        "1545084650987,\"timestampType\":\"LOG_APPEND_TIME\",\"key\":\"azE=\",\"value\":\"AP92\","
        "\"headers\":[{\"h\":[104,-61,-85]},{\"e\":[]}]}]}}}");

    is_at(&foreign, "my-orders", 3, 15);
    assert_true(foreign.has_message);
    is_text(foreign.key, "k1");
    assert_int_equal(foreign.payload.size, 3);
    assert_memory_equal(foreign.payload.data, "\0\377v", 3);
    assert_int_equal(foreign.header_count, 2);
    is_text(foreign.headers[0].name, "h");
    is_text(foreign.headers[0].value, "h\303\253");
    is_text(foreign.headers[1].value, "");
    assert_true(foreign.timestamp_ms == INT64_C(1545084650987));
    assert_int_equal(foreign.timestamp_kind, SLUICE_TIMESTAMP_APPENDED);
    foreign_fini(&foreign);
}

static void aws_kafka_without_it(void **state)
{
    struct foreign foreign =
        read_it(NULL, 0,
                AWS_KAFKA "\"KafkaBatchInfo\":{\"batchSize\":500,\"recordsInfo\":{\"orders-0\":"
                          "{\"firstRecordOffset\":\"100\",\"lastRecordOffset\":\"599\"}}}}");

    is_at(&foreign, "orders", 0, 100);
    assert_false(foreign.has_message);
    assert_string_equal(foreign.reason,
                        "AWS Lambda: RetryAttemptsExhausted; it names offsets 100 to 599, and their "
                        "messages are not in it.");
    foreign_fini(&foreign);
}

static void a_function_s_own_queue(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("RequestID", "r"), HEADER("ErrorCode", "200"), HEADER("ErrorMessage", "no such order")};
    struct foreign foreign = read_it(headers, COUNT(headers), "{\"a\":1}");

    assert_string_equal(foreign.reason, "AWS Lambda: no such order");
    assert_int_equal(foreign.status, 200);
    foreign_fini(&foreign);
}

static void sqs(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("sqs:DeadLetterQueueSourceArn", "arn:aws:sqs:eu-central-1:123456789012:orders")};
    static const struct sluice_header no_name[] = {
        HEADER("sqs:DeadLetterQueueSourceArn", "arn:aws:sqs:")};
    struct foreign foreign = read_it(headers, 1, "x");

    is_text(foreign.source, "orders");
    assert_string_equal(foreign.reason, "Amazon SQS: received as often as the redrive policy allows from "
                                        "queue orders");
    foreign = read_it(no_name, 1, "x");
    assert_null(foreign.by);
    foreign_fini(&foreign);
}

/* A letter as another sluice publishes it in AWS's format. */
static void write_record_at(struct buffer *out, const char *connector, uint64_t position,
                            struct sluice_bytes payload)
{
    static struct sluice_header headers[] = {
        HEADER("h", "v\n\"\\"), {BYTES("raw"), {"\0\377", 2}}, {BYTES("none"), {NULL, 0}},
        HEADER("sluice-mapping", "not of the story"), {{"\377", 1}, BYTES("")}};
    const struct dead_letter letter = {
        .id = "01KAS7M3Q2ABCDEFGHJKMNPQRS",
        .mapping = "orders",
        .connector = connector,
        .lane = "my/orders",
        .source = "my/orders",
        .partition = 3,
        .position = position,
        .message_wall_us = INT64_C(1700000000123000),
        .timestamp_kind = SLUICE_TIMESTAMP_APPENDED,
        .token = "t\0\377",
        .token_size = 3,
        .message_id = BYTES("id-7"),
        .key = {"k\0y", 3},
        .payload = payload,
        .headers = headers,
        .header_count = COUNT(headers),
        .class = DEAD_POISON,
        .reason = "500: \"no such customer\"",
        .status = 500,
        .response = {"oops", 4},
        .attempt_count = 5,
        .last_wall_us = INT64_C(1700000200007000),
    };
    const struct letter_place place = {.connector = "http",
                                       .source_connector = connector,
                                       .servers = "s:1",
                                       .target = "http://function/"};

    buffer_init(out, 1 << 20);
    letter_aws_write(out, &letter, &place);
}

static void write_record(struct buffer *out, const char *connector, struct sluice_bytes payload)
{
    write_record_at(out, connector, UINT64_MAX, payload);
}

static void is_the_letter(const struct foreign *foreign, struct sluice_bytes payload)
{
    assert_true(foreign->has_message);
    assert_int_equal(foreign->payload.size, payload.size);
    assert_true(!foreign->payload.data == !payload.data);
    if (payload.size)
        assert_memory_equal(foreign->payload.data, payload.data, payload.size);
    assert_int_equal(foreign->key.size, 3);
    assert_memory_equal(foreign->key.data, "k\0y", 3);
    assert_int_equal(foreign->header_count, 5);
    is_text(foreign->headers[0].value, "v\n\"\\");
    assert_memory_equal(foreign->headers[1].value.data, "\0\377", 2);
    assert_null(foreign->headers[2].value.data);
    is_text(foreign->headers[3].name, "sluice-mapping");
    is_text(foreign->headers[4].name, "\377");
    is_text(foreign->headers[4].value, "");
}

/* Of every kind of source, without a header of the story: nothing of a message changes. */
static void sluice_s_own_in_aws_s_format(void **state)
{
    static const char *const connectors[] = {"kafka", "rabbitmq", "sqs", "pubsub", "spool"};
    static const struct sluice_bytes payloads[] = {
        BYTES(" {\"a\": 1.10}\n"), BYTES("\"text\""), BYTES("a\tb\303\244\\"), {"\0\377\1", 3},
        BYTES("{\"base64\":\"AA==\"}"), BYTES(""), {NULL, 0}};

    for (size_t i = 0; i < COUNT(connectors) * COUNT(payloads); i++) {
        struct sluice_bytes payload = payloads[i % COUNT(payloads)];
        struct foreign foreign;
        struct buffer out;

        write_record(&out, connectors[i / COUNT(payloads)], payload);
        foreign_read(&(struct sluice_message){.payload = {out.data, out.size}}, NULL, 0, &foreign);
        is_the_letter(&foreign, payload);
        assert_string_equal(foreign.by, "sluice");
        is_text(foreign.source, "my/orders");
        is_text(foreign.message_id, "id-7");
        assert_true(foreign.is_whole);
        assert_int_equal(foreign.partition, 3);
        assert_true(foreign.has_position && foreign.position == UINT64_MAX);
        assert_int_equal(foreign.class, DEAD_POISON);
        assert_string_equal(foreign.reason, "500: \"no such customer\"");
        assert_int_equal(foreign.token.size, 3);
        assert_memory_equal(foreign.token.data, "t\0\377", 3);
        is_text(foreign.answer, "oops");
        assert_int_equal(foreign.attempts, 5);
        assert_int_equal(foreign.status, 500);
        assert_true(foreign.failed_ms == INT64_C(1700000200007));
        assert_true(foreign.timestamp_ms == INT64_C(1700000000123));
        assert_int_equal(foreign.timestamp_kind, SLUICE_TIMESTAMP_APPENDED);
        foreign_fini(&foreign);
        buffer_fini(&out);
    }
}

/* PostgreSQL's jsonb refuses \u0000, and binary keys, as numbers are, have it in plenty. */
static void a_record_has_no_nul(void **state)
{
    static const char *const connectors[] = {"kafka", "rabbitmq", "sqs"};

    for (size_t i = 0; i < COUNT(connectors); i++) {
        struct sluice_bytes payload = {"a\0b", 3};
        struct foreign foreign;
        struct buffer out;

        write_record(&out, connectors[i], payload); /* its key and its token have one too */
        if (strcmp(connectors[i], "sqs")) /* whose messages cannot have one */
            assert_null(strstr(buffer_text(&out), "\\u0000"));
        foreign_read(&(struct sluice_message){.payload = {out.data, out.size}}, NULL, 0, &foreign);
        is_the_letter(&foreign, payload);
        foreign_fini(&foreign);
        buffer_fini(&out);
    }
}

/* As a place writes it that keeps JSON and not its text: PostgreSQL's jsonb, with blanks and another order. */
static void a_record_that_was_written_anew(void **state)
{
    static const char *const connectors[] = {"kafka", "rabbitmq", "sqs", "spool"};
    static const size_t flags[] = {JSON_INDENT(2), JSON_SORT_KEYS, JSON_SORT_KEYS | JSON_ENSURE_ASCII};

    for (size_t i = 0; i < COUNT(connectors) * COUNT(flags); i++) {
        struct sluice_bytes payload = BYTES("{\"b\": 1.10, \"a\": \"\303\244\"}");
        struct foreign foreign;
        struct buffer out;
        json_t *tree;
        char *text;

        write_record_at(&out, connectors[i / COUNT(flags)], INT64_MAX, payload); /* as jansson can */
        tree = json_loadb(out.data, out.size, JSON_ALLOW_NUL, NULL);
        assert_non_null(tree);
        text = json_dumps(tree, flags[i % COUNT(flags)]);
        foreign_read(&(struct sluice_message){.payload = {text, strlen(text)}}, NULL, 0, &foreign);
        is_the_letter(&foreign, payload);
        assert_string_equal(foreign.by, "sluice");
        foreign_fini(&foreign);
        free(text);
        json_decref(tree);
        buffer_fini(&out);
    }
}

/* With the story in headers: their letter's record, or a message that is the record of another letter. */
static void a_record_of_another_letter_is_a_message(void **state)
{
    struct sluice_header headers[] = {
        HEADER("sluice-mapping", "m"), HEADER("sluice-class", "age"), HEADER("sluice-error", "too old"),
        HEADER("sluice-id", "01KAS7M3Q2ABCDEFGHJKMNPQRS"), HEADER("own", "kept")};
    struct sluice_message message = {0};
    struct foreign foreign;
    struct buffer out;

    write_record(&out, "rabbitmq", (struct sluice_bytes)BYTES("x"));
    message.payload = (struct sluice_bytes){out.data, out.size};
    foreign_read(&message, headers, COUNT(headers), &foreign);
    is_the_letter(&foreign, (struct sluice_bytes)BYTES("x"));
    foreign_fini(&foreign);
    headers[3].value = (struct sluice_bytes)BYTES("01M8H13YK4JFMZ4TSX2JQNBHQY");
    foreign_read(&message, headers, COUNT(headers), &foreign);
    assert_ptr_equal(foreign.payload.data, out.data);
    assert_int_equal(foreign.payload.size, out.size);
    assert_int_equal(foreign.header_count, 1);
    assert_string_equal(foreign.reason, "too old");
    foreign_fini(&foreign);
    buffer_fini(&out);
}

static void a_payload_that_was_too_large(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("sluice-mapping", "orders"), HEADER("sluice-class", "age"),
        HEADER("sluice-error", "too old"), HEADER("sluice-id", "01M8H13YK4JFMZ4TSX2JQNBHQY"),
        HEADER("sluice-payload-kept", "host-1")};
    struct foreign foreign = read_it(headers, COUNT(headers), NULL);

    assert_false(foreign.has_message);
    assert_string_equal(foreign.reason,
                        "too old; its payload is kept on host host-1 as 01M8H13YK4JFMZ4TSX2JQNBHQY");
    foreign_fini(&foreign);
}

#define WORD                                                                                        \
    "\"sluice-id\":\"01M8H13YK4JFMZ4TSX2JQNBHQY\", \"sluice-mapping\":\"orders\","                     \
    "\"sluice-class\":\"age\",\"sluice-error\":\"too \\\"old\\\"\",\"sluice-source\":\"q\",\"sluice-position\":\"7\","  \
    "\"sluice-token\":{\"base64\":\"AP8=\"},\"sluice-key\":\"k\",\"sluice-payload-kept\":\"host-1\""

static struct foreign read_payload(const char *text)
{
    struct foreign foreign;

    foreign_read(&(struct sluice_message){.payload = {text, strlen(text)}}, NULL, 0, &foreign);
    return foreign;
}

/* What a place without headers has instead of a letter that is too large for it. */
static void word_of_a_letter_kept_elsewhere(void **state)
{
    struct foreign foreign = read_payload("{" WORD "}");

    assert_string_equal(foreign.by, "sluice");
    assert_int_equal(foreign.class, DEAD_AGE);
    assert_string_equal(foreign.reason, "too \"old\"; its payload is kept on host host-1 as "
                                        "01M8H13YK4JFMZ4TSX2JQNBHQY");
    assert_int_equal(foreign.position, 7);
    assert_memory_equal(foreign.source.data, "q", 1);
    assert_int_equal(foreign.token.size, 2);
    assert_memory_equal(foreign.token.data, "\0\xff", 2);
    assert_memory_equal(foreign.key.data, "k", 1);
    /* It is no message's payload. */
    assert_true(foreign.has_message);
    assert_null(foreign.payload.data);
    assert_int_equal(foreign.header_count, 0);
    foreign_fini(&foreign);
}

static void a_message_that_is_like_such_word(void **state)
{
    static const char *const texts[] = {
        "{" WORD ",\"id\":7}", "{" WORD ",\"sluice-own\":\"x\"}", "{" WORD ",\"sluice-status\":500}",
        "[{" WORD "}]", "{" WORD, "\"sluice-payload-kept\"", "{\"sluice-payload-kept\":\"host-1\"}",
        "{" WORD ",\"sluice-token\":{\"base64\":\"?\"}}", "{\"sluice-id\":{" WORD "}}"};

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct foreign foreign = read_payload(texts[i]);

        assert_null(foreign.by);
        foreign_fini(&foreign);
    }
}

/* Cut off, or with one byte changed, at every place: no read past the end (under a sanitizer). */
static void such_word_that_is_damaged(void **state)
{
    static const char whole[] = "{" WORD "}";

    for (size_t i = 0; i < sizeof whole - 1; i++) {
        char *text = malloc(i + 1), *changed = malloc(sizeof whole);
        struct foreign foreign;

        memcpy(text, whole, i);
        foreign_read(&(struct sluice_message){.payload = {text, i}}, NULL, 0, &foreign);
        assert_null(foreign.by);
        foreign_fini(&foreign);
        memcpy(changed, whole, sizeof whole);
        changed[i] ^= 0x11;
        foreign_read(&(struct sluice_message){.payload = {changed, sizeof whole - 1}}, NULL, 0, &foreign);
        foreign_fini(&foreign);
        free(text);
        free(changed);
    }
}

/* Cut off, or with one byte changed, at every place: no read past the end (under a sanitizer), and a
 * message only where all of it is there. */
static void a_record_that_is_damaged(void **state)
{
    struct foreign foreign;
    struct buffer out;

    write_record(&out, "sqs", (struct sluice_bytes)BYTES("a\tb"));
    for (size_t i = 0; i < out.size; i++) {
        char *copy = malloc(out.size);

        memcpy(copy, out.data, out.size);
        memmove(copy + out.size - i, copy, i);
        foreign_read(&(struct sluice_message){.payload = {copy + out.size - i, i}}, NULL, 0, &foreign);
        assert_false(foreign.has_message);
        foreign_fini(&foreign);
        for (const char *c = "\"{[0\\"; *c; c++) {
            memcpy(copy, out.data, out.size);
            copy[i] = *c;
            foreign_read(&(struct sluice_message){.payload = {copy, out.size}}, NULL, 0, &foreign);
            foreign_fini(&foreign);
        }
        free(copy);
    }
    buffer_fini(&out);
}

/* Nobody that is known, or nonsense in the name of somebody: never more than is there. */
static void nonsense_is_not_told(void **state)
{
    static const struct sluice_header headers[] = {
        HEADER("__connect.errors.topic", ""),
        HEADER("__connect.errors.partition", "-1"),
        HEADER("__connect.errors.offset", "99999999999999999999"),
        {BYTES("__connect.errors.stage"), {NULL, 0}},
    };
    static const struct sluice_header death[] = {HEADER("x-death", "[[[")};
    static const char *const payloads[] = {
        "", "{}", "\"requestContext\"", "{\"requestContext\":{}}", "{\"requestContext\":",
        "{\"requestContext\":{\"condition\":\"x\",\"functionArn\":\"y\"},\"KafkaBatchInfo\":3}",
        AWS_KAFKA "\"KafkaBatchInfo\":{},\"payload\":{\"records\":{\"no\":[]}}}",
        AWS_KAFKA "\"KafkaBatchInfo\":{},\"payload\":{\"records\":{\"t-1\":[{\"value\":\"!\"}]}}}",
        AWS_KAFKA "\"requestPayload\":null}",
    };
    struct foreign foreign = read_it(headers, COUNT(headers), NULL);

    assert_string_equal(foreign.by, "Kafka Connect");
    assert_null(foreign.source.data);
    assert_int_equal(foreign.partition, -1);
    assert_false(foreign.has_position);
    foreign_fini(&foreign);
    foreign = read_it(death, 1, "x");
    assert_null(foreign.by);
    assert_string_equal(foreign.reason, "");
    for (size_t i = 0; i < COUNT(payloads); i++) {
        foreign = read_it(NULL, 0, payloads[i]);
        assert_false(foreign.has_message);
        foreign_fini(&foreign);
    }
}

/* Cut off at every place: no read past the end (under a sanitizer), and nothing made up. */
static void what_is_cut_off(void **state)
{
    static const char whole[] =
        AWS_KAFKA
        "\"KafkaBatchInfo\":{\"batchSize\":1},\"payload\":{\"records\":{\"o-3\":[{\"offset\":15,\"key\":"
        "\"azE=\",\"value\":\"AP92\",\"headers\":[{\"h\":[104]}]}]}}}";

    for (size_t size = 0; size < sizeof whole - 1; size++) {
        char *exact = malloc(size + 1);
        const struct sluice_header header = {BYTES("x-death"), {exact, size}};
        struct foreign foreign;

        memcpy(exact, whole, size);
        foreign_read(&(struct sluice_message){.payload = {exact, size}}, &header, 1, &foreign);
        assert_null(foreign.by);
        foreign_fini(&foreign);
        free(exact);
    }
}

static void a_long_reason_is_cut(void **state)
{
    char text[2000];
    struct sluice_header headers[] = {HEADER("kafka_dlt-exception-fqcn", "x"),
                                      {BYTES("kafka_dlt-exception-message"), {text, sizeof text}}};
    struct foreign foreign;

    memset(text, 'y', sizeof text);
    foreign = read_it(headers, 2, "x");
    assert_in_range(strlen(foreign.reason), FOREIGN_REASON - 40, FOREIGN_REASON - 1);
    foreign_fini(&foreign);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kafka_connect),
        cmocka_unit_test(spring_kafka),
        cmocka_unit_test(spring_with_topics_of_retries),
        cmocka_unit_test(sluice_s_own),
        cmocka_unit_test(rabbitmq),
        cmocka_unit_test(aws_asynchronous),
        cmocka_unit_test(aws_kafka_with_the_message),
        cmocka_unit_test(aws_kafka_without_it),
        cmocka_unit_test(a_function_s_own_queue),
        cmocka_unit_test(sluice_s_own_in_aws_s_format),
        cmocka_unit_test(a_record_has_no_nul),
        cmocka_unit_test(a_record_that_was_written_anew),
        cmocka_unit_test(a_record_of_another_letter_is_a_message),
        cmocka_unit_test(a_payload_that_was_too_large),
        cmocka_unit_test(word_of_a_letter_kept_elsewhere),
        cmocka_unit_test(a_message_that_is_like_such_word),
        cmocka_unit_test(such_word_that_is_damaged),
        cmocka_unit_test(a_record_that_is_damaged),
        cmocka_unit_test(sqs),
        cmocka_unit_test(nonsense_is_not_told),
        cmocka_unit_test(what_is_cut_off),
        cmocka_unit_test(a_long_reason_is_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
