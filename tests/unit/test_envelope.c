/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "core/envelope.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>
#include <openssl/evp.h>

#include "base/base64.h"
#include "base/json_text.h"

#define BYTES(text)                                                                                \
    {                                                                                              \
        (text), sizeof(text) - 1                                                                   \
    }
#define ABSENT                                                                                     \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

static const struct envelope_context lambda = {ENVELOPE_LAMBDA, "orders", "kafka",
                                               "h1:9092,h2:9092"};
static const struct envelope_context own = {ENVELOPE_JSON, "orders", "kafka", "h1:9092"};
static const struct envelope_context raw = {ENVELOPE_RAW, "orders", "kafka", "h1:9092"};

static struct envelope_record record_of(const struct sluice_message *message)
{
    return (struct envelope_record){.message = message,
                                    .source = "mytopic",
                                    .partition = 0,
                                    .token = "mytopic/0/15",
                                    .token_size = 12,
                                    .attempt = 1};
}

static void expect(const struct envelope_context *context, const struct envelope_record *records,
                   size_t count, const char *wanted)
{
    struct buffer buffer;

    buffer_init(&buffer, 1 << 20);
    envelope_write(&buffer, context, records, count);
    assert_false(buffer.full);
    assert_string_equal(buffer_text(&buffer), wanted);
    buffer_fini(&buffer);
}

static void kafka_event(void **state)
{
    static const unsigned char value[] = {104, 101, 0xc3, 0xab, 0, 127, 128, 255, 9, 10, 0x9c, 99};
    struct sluice_header headers[] = {{BYTES("headerKey"), {value, sizeof value}},
                                      {BYTES("a\"\\\n\x01\xff"), BYTES("")},
                                      {BYTES(""), ABSENT}};
    struct sluice_message message = {.position = 15,
                                     .key = BYTES("recordKey"),
                                     .payload = BYTES("Hello, this is a test."),
                                     .timestamp_ms = 1545084650987,
                                     .timestamp_kind = SLUICE_TIMESTAMP_CREATED};
    struct envelope_record record = record_of(&message);

    expect(&lambda, &record, 1,
           "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":\"h1:9092,h2:9092\","
           "\"records\":{\"mytopic-0\":[{\"topic\":\"mytopic\",\"partition\":0,\"offset\":15,"
           "\"timestamp\":1545084650987,\"timestampType\":\"CREATE_TIME\","
           "\"key\":\"cmVjb3JkS2V5\",\"value\":\"SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==\","
           "\"headers\":[]}]}}");
    record.headers = headers;
    record.header_count = 3;
    message.timestamp_kind = SLUICE_TIMESTAMP_APPENDED;
    message.position = UINT64_MAX;
    expect(&lambda, &record, 1,
           "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":\"h1:9092,h2:9092\","
           "\"records\":{\"mytopic-0\":[{\"topic\":\"mytopic\",\"partition\":0,"
           "\"offset\":18446744073709551615,"
           "\"timestamp\":1545084650987,\"timestampType\":\"LOG_APPEND_TIME\","
           "\"key\":\"cmVjb3JkS2V5\",\"value\":\"SGVsbG8sIHRoaXMgaXMgYSB0ZXN0Lg==\","
           "\"headers\":[{\"headerKey\":[104,101,-61,-85,0,127,-128,-1,9,10,-100,99]},"
           "{\"a\\\"\\\\\\n\\u0001\xef\xbf\xbd\":[]},{\"\":[]}]}]}}");
}

static void kafka_event_of_absent_things(void **state)
{
    struct sluice_message messages[] = {{.position = 1},
                                        {.position = 2,
                                         .key = BYTES(""),
                                         .payload = BYTES(""),
                                         .timestamp_ms = -5,
                                         .timestamp_kind = 1}};
    struct envelope_record records[] = {record_of(&messages[0]), record_of(&messages[1])};
    struct envelope_context context = lambda;

    context.servers = NULL;
    expect(&context, records, 2,
           "{\"eventSource\":\"SelfManagedKafka\",\"bootstrapServers\":\"\","
           "\"records\":{\"mytopic-0\":[{\"topic\":\"mytopic\",\"partition\":0,\"offset\":1,"
           "\"timestamp\":-1,\"timestampType\":\"NO_TIMESTAMP_TYPE\",\"value\":null,"
           "\"headers\":[]},{\"topic\":\"mytopic\",\"partition\":0,\"offset\":2,"
           "\"timestamp\":-5,\"timestampType\":\"CREATE_TIME\",\"key\":\"\",\"value\":\"\","
           "\"headers\":[]}]}}");
}

static const struct envelope_context rabbitmq = {ENVELOPE_LAMBDA, "orders", "rabbitmq", "h1:5672"};

static void rabbitmq_event(void **state)
{
    struct sluice_header headers[] = {
        {BYTES("h1"), BYTES("val")},
        {BYTES("high"), BYTES("\xff")},
        {BYTES("n"), BYTES("10")},
        {BYTES("amqp:fieldType"), BYTES("l")},
        {BYTES("table"), BYTES("{\"a\":[1]}")},
        {BYTES("amqp:fieldType"), BYTES("F")},
        {BYTES("raw"), BYTES("\x01")},
        {BYTES("amqp:fieldType"), BYTES("x")},
        {BYTES("nothing"), ABSENT},
        {BYTES("amqp:contentType"), BYTES("text/\"plain\"")},
        {BYTES("amqp:deliveryMode"), BYTES("1")},
        {BYTES("amqp:priority"), BYTES("34")},
        {BYTES("amqp:expiration"), BYTES("60000")},
        {BYTES("amqp:userId"), BYTES("user")},
    };
    struct sluice_message message = {.payload = BYTES("hi"),
                                     .timestamp_ms = 2021000,
                                     .timestamp_kind = SLUICE_TIMESTAMP_CREATED};
    struct envelope_record record = record_of(&message);

    record.headers = headers;
    record.header_count = sizeof headers / sizeof headers[0];
    expect(&rabbitmq, &record, 1,
           "{\"eventSource\":\"aws:rmq\",\"eventSourceArn\":\"arn:aws:mq:::broker:h1:5672\","
           "\"rmqMessagesByQueue\":{\"mytopic::/\":[{\"basicProperties\":{"
           "\"contentType\":\"text/\\\"plain\\\"\",\"contentEncoding\":null,"
           "\"headers\":{\"h1\":{\"bytes\":[118,97,108]},\"high\":{\"bytes\":[-1]},\"n\":10,"
           "\"table\":{\"a\":[1]},\"raw\":{\"bytes\":[1]},\"nothing\":null},"
           "\"deliveryMode\":1,\"priority\":34,\"correlationId\":null,\"replyTo\":null,"
           "\"expiration\":\"60000\",\"messageId\":null,"
           "\"timestamp\":\"Jan 1, 1970, 12:33:41 AM\",\"type\":null,\"userId\":\"user\","
           "\"appId\":null,\"clusterId\":null,\"bodySize\":2},"
           "\"redelivered\":false,\"data\":\"aGk=\"}]}}");
}

static const struct envelope_context sqs = {ENVELOPE_LAMBDA, "orders", "sqs", ""};

static void sqs_event(void **state)
{
    struct sluice_header headers[] = {
        {BYTES("Attribute3"), BYTES("\x01\x02")},
        {BYTES("sqs:dataType"), BYTES("Binary")},
        {BYTES("Attribute1"), BYTES("a \"text\"")},
        {BYTES("n"), BYTES("6")},
        {BYTES("sqs:dataType"), BYTES("Number")},
        {BYTES("n"), BYTES("again")},
        {BYTES("raw"), BYTES("\xff")},
        {BYTES("sqs:SentTimestamp"), BYTES("1545082649183")},
        {BYTES("sqs:ApproximateReceiveCount"), BYTES("1")},
        {BYTES("sqs:SenderId"), BYTES("AIDA")},
        {BYTES("sqs:receiptHandle"), BYTES("AQEB+/=")},
        {BYTES("sqs:md5OfBody"), BYTES("e4e6")},
        {BYTES("sqs:md5OfMessageAttributes"), BYTES("00484c")},
        {BYTES("sqs:queueArn"), BYTES("arn:aws:sqs:us-east-2:123456789012:my-queue")},
    };
    struct sluice_message message = {.payload = BYTES("line\n\xc3\xbc"), .message_id = BYTES("059f36b4")};
    struct sluice_message bare = {.payload = BYTES("b")};
    struct envelope_record records[] = {record_of(&message), record_of(&bare)};

    records[0].headers = headers;
    records[0].header_count = sizeof headers / sizeof headers[0];
    records[0].attempt = 3;
    expect(&sqs, records, 2,
           "{\"Records\":[{\"messageId\":\"059f36b4\",\"receiptHandle\":\"AQEB+/=\","
           "\"body\":\"line\\n\xc3\xbc\",\"attributes\":{\"ApproximateReceiveCount\":\"3\","
           "\"SentTimestamp\":\"1545082649183\",\"SenderId\":\"AIDA\"},"
           "\"messageAttributes\":{"
           "\"Attribute3\":{\"binaryValue\":\"AQI=\",\"stringListValues\":[],\"binaryListValues\":[],"
           "\"dataType\":\"Binary\"},"
           "\"Attribute1\":{\"stringValue\":\"a \\\"text\\\"\",\"stringListValues\":[],"
           "\"binaryListValues\":[],\"dataType\":\"String\"},"
           "\"n\":{\"stringValue\":\"6\",\"stringListValues\":[],\"binaryListValues\":[],"
           "\"dataType\":\"Number\"},"
           "\"raw\":{\"binaryValue\":\"/w==\",\"stringListValues\":[],\"binaryListValues\":[],"
           "\"dataType\":\"Binary\"}},"
           "\"md5OfMessageAttributes\":\"00484c\",\"md5OfBody\":\"e4e6\",\"eventSource\":\"aws:sqs\","
           "\"eventSourceARN\":\"arn:aws:sqs:us-east-2:123456789012:my-queue\","
           "\"awsRegion\":\"us-east-2\"},"
           "{\"messageId\":\"mytopic/0/15\",\"receiptHandle\":\"\",\"body\":\"b\","
           "\"attributes\":{\"ApproximateReceiveCount\":\"1\"},\"messageAttributes\":{},"
           "\"md5OfBody\":\"\",\"eventSource\":\"aws:sqs\",\"eventSourceARN\":\"mytopic\","
           "\"awsRegion\":\"\"}]}");
}

/* A producer names its headers as it likes, also as the connector's own. */
static void rabbitmq_event_of_false_names(void **state)
{
    struct sluice_header headers[] = {
        {BYTES("amqp:contentType"), BYTES("false")},
        {BYTES("amqp:priority"), BYTES("1}],\"x\":[{\"y\":2")},
        {BYTES("amqp:deliveryMode"), ABSENT},
        {BYTES("h"), BYTES("}")},
        {BYTES("amqp:fieldType"), BYTES("l")},
        {BYTES("amqp:contentType"), BYTES("text/plain")},
    };
    struct sluice_message message = {.payload = BYTES("hi")};
    struct envelope_record record = record_of(&message);
    struct buffer buffer;
    json_t *document, *properties;
    const char *type, *priority;

    record.headers = headers;
    record.header_count = sizeof headers / sizeof headers[0];
    buffer_init(&buffer, 1 << 20);
    envelope_write(&buffer, &rabbitmq, &record, 1);
    document = json_loadb(buffer.data, buffer.size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    assert_int_equal(json_unpack(document, "{s:{s:[{s:o}]}}", "rmqMessagesByQueue", "mytopic::/",
                                 "basicProperties", &properties),
                     0);
    assert_int_equal(json_unpack(properties, "{s:s, s:s, s:{s:{s:[i]}}}", "contentType", &type,
                                 "priority", &priority, "headers", "h", "bytes", &(int){0}),
                     0);
    assert_string_equal(type, "text/plain");
    assert_string_equal(priority, "1}],\"x\":[{\"y\":2");
    json_decref(document);
    buffer_fini(&buffer);
}

static void rabbitmq_event_groups_by_queue(void **state)
{
    struct sluice_header again[] = {{BYTES("amqp:redelivered"), BYTES("true")},
                                    {BYTES("amqp:vhost"), BYTES("shop")}};
    struct sluice_message messages[] = {{.payload = BYTES("")},
                                        {.payload = BYTES("x"), .delivery_count = 2},
                                        {.payload = BYTES("y")}};
    struct envelope_record records[3];
    struct buffer buffer;
    json_t *document, *queues;

    for (size_t i = 0; i < 3; i++) {
        records[i] = record_of(&messages[i]);
        records[i].source = i == 1 ? "b" : "a";
    }
    for (size_t i = 0; i < 3; i++) {
        records[i].headers = again + 1;
        records[i].header_count = 1;
    }
    records[2].headers = again;
    records[2].header_count = 2;
    buffer_init(&buffer, 1 << 20);
    envelope_write(&buffer, &rabbitmq, records, 3);
    document = json_loadb(buffer.data, buffer.size, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(document);
    queues = json_object_get(document, "rmqMessagesByQueue");
    assert_int_equal(json_object_size(queues), 2);
    assert_int_equal(json_array_size(json_object_get(queues, "a::shop")), 2);
    assert_int_equal(json_array_size(json_object_get(queues, "b::shop")), 1);
    for (size_t i = 0; i < 3; i++) {
        json_t *list = json_object_get(queues, i == 1 ? "b::shop" : "a::shop");
        json_t *message = json_array_get(list, i == 2 ? 1 : 0);

        assert_int_equal(json_is_true(json_object_get(message, "redelivered")), i > 0);
        assert_string_equal(json_string_value(json_object_get(message, "data")),
                            i == 0 ? "" : i == 1 ? "eA==" : "eQ==");
    }
    json_decref(document);
    buffer_fini(&buffer);
}

static void kafka_event_groups_by_partition(void **state)
{
    static const struct {
        const char *topic;
        int32_t partition;
    } places[] = {{"b", 10}, {"a", 1}, {"b", 2}, {"a", 1}, {"b", 10}, {"a-1", 0}, {"a", 1}};
    struct sluice_message messages[7];
    struct envelope_record records[7];
    struct buffer buffer;
    json_t *document, *groups, *group;
    json_error_t error;

    for (size_t i = 0; i < 7; i++) {
        messages[i] = (struct sluice_message){.position = i, .payload = BYTES("x")};
        records[i] = record_of(&messages[i]);
        records[i].source = strdup(places[i].topic); /* equal texts at different places */
        records[i].partition = places[i].partition;
    }
    buffer_init(&buffer, 1 << 16);
    envelope_write(&buffer, &lambda, records, 7);
    document = json_loadb(buffer.data, buffer.size, JSON_REJECT_DUPLICATES, &error);
    assert_non_null(document);
    groups = json_object_get(document, "records");
    assert_int_equal(json_object_size(groups), 4);
    group = json_object_get(groups, "a-1");
    assert_int_equal(json_array_size(group), 3);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(json_integer_value(json_object_get(json_array_get(group, i), "offset")),
                         i == 0   ? 1
                         : i == 1 ? 3
                                  : 6);
    assert_int_equal(json_array_size(json_object_get(groups, "a-1-0")), 1);
    assert_int_equal(json_array_size(json_object_get(groups, "b-10")), 2);
    assert_int_equal(json_array_size(json_object_get(groups, "b-2")), 1);
    json_decref(document);
    buffer_fini(&buffer);
    for (size_t i = 0; i < 7; i++)
        free((char *)records[i].source);
}

static void own_event(void **state)
{
    struct sluice_header headers[] = {{BYTES("h"), BYTES("v\"")}, {BYTES("bin"), BYTES("\xff")}};
    struct sluice_message messages[] = {
        {.position = 7,
         .key = BYTES("1"),
         .payload = BYTES(" {\"a\" : [1, 2e3]}\n"),
         .timestamp_ms = 12,
         .timestamp_kind = 1},
        {.position = 8, .key = BYTES("\xc3"), .payload = BYTES("not \"JSON\" \xc3\xa9")},
        {.position = 9, .payload = BYTES("\xff\xfe")},
        {.position = 10},
        {.position = 11, .payload = BYTES("")},
        {.position = 12, .payload = BYTES("{\"a\":1}{}")}};
    struct envelope_record records[6];

    for (size_t i = 0; i < 6; i++)
        records[i] = record_of(&messages[i]);
    records[0].headers = headers;
    records[0].header_count = 2;
    records[1].partition = -1;
    records[1].attempt = 3;
    records[1].token = "t\"";
    records[1].token_size = 2;
    expect(&own, records, 2,
           "{\"mapping\":\"orders\",\"records\":[{\"token\":\"mytopic/0/15\",\"attempt\":1,"
           "\"source\":\"mytopic\",\"partition\":0,\"position\":7,\"timestamp\":12,\"key\":\"1\","
           "\"value\": {\"a\" : [1, 2e3]}\n,\"headers\":[{\"name\":\"h\",\"value\":\"v\\\"\"},"
           "{\"name\":\"bin\",\"value\":{\"base64\":\"/w==\"}}]},"
           "{\"token\":\"t\\\"\",\"attempt\":3,\"source\":\"mytopic\",\"partition\":null,"
           "\"position\":8,\"timestamp\":null,\"key\":{\"base64\":\"ww==\"},"
           "\"value\":\"not \\\"JSON\\\" \xc3\xa9\",\"headers\":[]}]}");
    expect(&own, records + 2, 4,
           "{\"mapping\":\"orders\",\"records\":[{\"token\":\"mytopic/0/15\",\"attempt\":1,"
           "\"source\":\"mytopic\",\"partition\":0,\"position\":9,\"timestamp\":null,\"key\":null,"
           "\"value\":{\"base64\":\"//4=\"},\"headers\":[]},"
           "{\"token\":\"mytopic/0/15\",\"attempt\":1,"
           "\"source\":\"mytopic\",\"partition\":0,\"position\":10,\"timestamp\":null,\"key\":null,"
           "\"value\":null,\"headers\":[]},"
           "{\"token\":\"mytopic/0/15\",\"attempt\":1,"
           "\"source\":\"mytopic\",\"partition\":0,\"position\":11,\"timestamp\":null,\"key\":null,"
           "\"value\":\"\",\"headers\":[]},"
           "{\"token\":\"mytopic/0/15\",\"attempt\":1,"
           "\"source\":\"mytopic\",\"partition\":0,\"position\":12,\"timestamp\":null,\"key\":null,"
           "\"value\":\"{\\\"a\\\":1}{}\",\"headers\":[]}]}");
}

static void raw_body(void **state)
{
    struct sluice_message message = {.payload = BYTES("{}\xff")};
    struct envelope_record record = record_of(&message);

    expect(&raw, &record, 1, "{}\xff");
    assert_string_equal(envelope_content_type(&raw, &record), "application/json");
    message.payload = (struct sluice_bytes)BYTES("\x0a");
    assert_string_equal(envelope_content_type(&raw, &record), "application/octet-stream");
    message.payload = (struct sluice_bytes)ABSENT;
    expect(&raw, &record, 1, "");
    assert_string_equal(envelope_content_type(&raw, &record), "application/octet-stream");
    assert_string_equal(envelope_content_type(&lambda, &record), "application/json");
}

/* At every cap the result either is whole, or `full` says that it is not. */
static void obeys_the_cap(void **state)
{
    struct sluice_header header = {BYTES("name"), BYTES("va\"lue")};
    struct sluice_message message = {.key = BYTES("key"),
                                     .payload = BYTES("{\"some\":\"payload\"}")};
    struct envelope_record record = record_of(&message);
    const struct envelope_context *contexts[] = {&lambda, &own, &raw};

    record.headers = &header;
    record.header_count = 1;
    for (size_t i = 0; i < 3; i++) {
        struct buffer whole, buffer;

        buffer_init(&whole, 1 << 16);
        envelope_write(&whole, contexts[i], &record, 1);
        assert_false(whole.full);
        for (size_t cap = 0; cap <= whole.size + 512; cap++) {
            buffer_init(&buffer, cap);
            envelope_write(&buffer, contexts[i], &record, 1);
            if (!buffer.full) {
                assert_int_equal(buffer.size, whole.size);
                assert_memory_equal(buffer.data, whole.data, whole.size);
            } else {
                assert_true(cap < whole.size + 256);
            }
            buffer_fini(&buffer);
        }
        buffer_fini(&whole);
    }
}

static void base64_agrees_with_openssl(void **state)
{
    for (size_t size = 0; size < 300; size++) {
        unsigned char *data = malloc(size ? size : 1);
        char *out = malloc(BASE64_SIZE(size) + 1), wanted[500];

        for (size_t i = 0; i < size; i++)
            data[i] = (unsigned char)(size * 131 + i * i * 7 + i);
        EVP_EncodeBlock((unsigned char *)wanted, data, (int)size);
        assert_ptr_equal(base64_write(out, data, size), out + BASE64_SIZE(size));
        assert_memory_equal(out, wanted, BASE64_SIZE(size));
        free(data);
        free(out);
    }
}

/* Whatever the bytes, the escaped text has the announced size, and is a JSON string to jansson. */
static void escaping_is_always_valid(void **state)
{
    uint64_t seed = 88172645463325252u;

    for (int round = 0; round < 20000; round++) {
        unsigned char data[24];
        char text[24 * 6 + 2];
        size_t size = (size_t)round % sizeof data, written;
        json_t *string;

        for (size_t i = 0; i < size; i++) {
            static const unsigned char likely[] = "\"\\\n\x01\x7f\x80\xbf\xc3\xa9\xe2\xed\xf0\xf4z";

            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            data[i] = seed >> 60 ? likely[(seed >> 20) % (sizeof likely - 1)]
                                 : (unsigned char)(seed >> 20);
        }
        *text = '"';
        written = (size_t)(json_text_write(text + 1, data, size) - text - 1);
        assert_int_equal(written, json_text_size(data, size));
        text[1 + written] = '"';
        string = json_loadb(text, written + 2, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        assert_non_null(string);
        if (json_text_is_utf8(data, size)) {
            assert_int_equal(json_string_length(string), size);
            assert_memory_equal(json_string_value(string), data, size);
        }
        json_decref(string);
    }
}

/* Wherever something that is not plain stands among others, and is cut off. */
static void escaping_at_every_place(void **state)
{
    static const struct {
        const char *odd, *written;
    } cases[] = {{"\"", "\\\""},       {"\\", "\\\\"},   {"\n", "\\n"},
                 {"\x1f", "\\u001f"},  {" ", " "},         {"\x7f", "\x7f"},
                 {"\x80", "\xef\xbf\xbd"}, {"\xc3\xa9", "\xc3\xa9"}, {"\xe2\x82\xac", "\xe2\x82\xac"}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t size = 0; size < 180; size++)
            for (size_t place = 0; place <= size; place++) {
                size_t odd = strlen(cases[i].odd), long_as = strlen(cases[i].written);
                char *data = memset(malloc(size + odd), 'x', size + odd), text[300], wanted[200];

                memcpy(data + place, cases[i].odd, odd);
                memset(wanted, 'x', sizeof wanted);
                memcpy(wanted + place, cases[i].written, long_as);
                assert_int_equal(json_text_size(data, size + odd), size + long_as);
                assert_ptr_equal(json_text_write(text, data, size + odd), text + size + long_as);
                assert_memory_equal(text, wanted, size + long_as);
                free(data);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kafka_event),
        cmocka_unit_test(kafka_event_of_absent_things),
        cmocka_unit_test(kafka_event_groups_by_partition),
        cmocka_unit_test(rabbitmq_event),
        cmocka_unit_test(rabbitmq_event_of_false_names),
        cmocka_unit_test(sqs_event),
        cmocka_unit_test(rabbitmq_event_groups_by_queue),
        cmocka_unit_test(own_event),
        cmocka_unit_test(raw_body),
        cmocka_unit_test(obeys_the_cap),
        cmocka_unit_test(base64_agrees_with_openssl),
        cmocka_unit_test(escaping_is_always_valid),
        cmocka_unit_test(escaping_at_every_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
