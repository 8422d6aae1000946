/* SPDX-License-Identifier: MIT
 * Messages of SQS as they are written and read, and the shared files of AWS. The connector is a plugin, so
 * its files are taken in whole. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../../connectors/http/base64.c"
#include "../../connectors/http/dialect.c"
#include "../../connectors/http/hashes.c"
#include "../../connectors/http/json_read.c"
#include "../../connectors/http/json_slice.c"
#include "../../connectors/http/md5_many.c"
#include "../../connectors/http/sqs_errors.c"
#include "../../connectors/http/sqs_message.c"
#include "../../connectors/http/sqs_publish.c"
#include "../../connectors/http/sqs_sums.c"
#include "../../connectors/http/aws_files.c"
#include "../../connectors/http/aws_others.c"

static struct sqs fifo = {.url = (char *)"https://h/1/q.fifo", .arn = (char *)"arn:aws:sqs:r:1:q.fifo",
                          .is_fifo = true};
static struct sqs plain = {.url = (char *)"https://h/1/q", .arn = (char *)"arn:aws:sqs:r:1:q"};

static int make_hashes(void **state)
{
    (void)state;
    plain.hashes = fifo.hashes = hashes_new();
    return plain.hashes ? 0 : -1;
}

static int free_hashes(void **state)
{
    (void)state;
    hashes_free(plain.hashes);
    return 0;
}

/* What sqs.c has: the request's JSON is what matters here. */
int sqs_request(const struct sqs *sqs, const char *action, json_t *body, struct http_request *ret)
{
    assert_non_null(sqs);
    assert_string_equal(action, "SendMessage");
    ret->body = json_write(body);
    return ret->body ? 0 : -1;
}

json_t *sqs_read(const struct http_answer *answer, struct http_fault *fault)
{
    (void)fault;
    return json_read(answer);
}

#define BYTES(text) {text, sizeof(text) - 1}

/* ---- there and back ---- */

/* The message that a queue would give for what was sent. */
static json_t *received(json_t *sent)
{
    char of_body[33], of_attributes[33];
    json_t *body = json_object_get(sent, "MessageBody"), *message;
    json_t *attributes = json_object_get(sent, "MessageAttributes");
    json_t *group = json_object_get(sent, "MessageGroupId");

    hashes_md5(plain.hashes, json_string_value(body), json_string_length(body), of_body);
    message = json_pack("{ss ss sO ss s{ss ss sO*} sO*}", "MessageId", "id-1", "ReceiptHandle", "receipt", "Body",
                        body, "MD5OfBody", of_body, "Attributes", "ApproximateReceiveCount", "3",
                        "SentTimestamp", "1545082649183", "MessageGroupId", group, "MessageAttributes",
                        attributes);
    if (attributes) {
        assert_int_equal(md5_of_attributes(attributes, of_attributes), 0);
        json_object_set_new(message, "MD5OfMessageAttributes", json_string(of_attributes));
    }
    return message;
}

/* Publishes and reads what comes; `ret_sent` may be NULL. */
static struct http_message *travel(const struct sqs *sqs, const struct sluice_publication *publication,
                                   json_t **ret_sent)
{
    struct http_request request = {0};
    struct http_fault fault = {0};
    struct http_message *message;
    struct json_reader reader;
    struct sqs_sums sums = {0};
    json_t *sent, *from;
    char *text;

    if (sqs_publish((void *)(uintptr_t)sqs, publication, &request, &fault))
        fail_msg("%s", fault.text);
    sent = json_loads(request.body, JSON_ALLOW_NUL, NULL);
    assert_non_null(sent);
    from = received(sent);
    text = json_write(from);
    json_reader_begin(&reader, text, strlen(text));
    message = sqs_message_read(sqs, &reader, &sums, &fault);
    assert_true(json_reader_end(&reader));
    if (!message || sqs_sums_check(sqs, &sums, &fault))
        fail_msg("%s", fault.text);
    free(text);
    if (ret_sent)
        *ret_sent = sent;
    else
        json_decref(sent);
    http_request_free(&request);
    return message;
}

static bool same(struct sluice_bytes a, struct sluice_bytes b)
{
    return !a.data == !b.data && a.size == b.size && (!a.size || !memcmp(a.data, b.data, a.size));
}

/* The headers that are the message's own. */
static void expect_headers(const struct http_message *message, const struct sluice_header *headers,
                           size_t count)
{
    size_t found = 0;

    for (size_t i = 0; i < message->header_count; i++) {
        const struct sluice_header *header = &message->headers[i];
        bool there = false;

        if (is_own(&header->name))
            continue;
        for (size_t j = 0; j < count; j++)
            there |= same(header->name, headers[j].name) && same(header->value, headers[j].value);
        if (!there)
            fail_msg("%s = %s", (const char *)header->name.data, (const char *)header->value.data);
        found++;
    }
    assert_int_equal(found, count);
}

static void headers_are_attributes(void **state)
{
    struct sluice_header headers[] = {{BYTES("colour"), BYTES("gr\xc3\xbcn")},
                                      {BYTES("a.b-c_D9"), BYTES("{\"x\": 1}\r\n\t")},
                                      {BYTES("raw"), BYTES("\x00\xff\xfe")}};
    struct sluice_publication publication = {.key = BYTES("k 1"), .payload = BYTES("pay\xe2\x80\xa8load"),
                                             .headers = headers, .header_count = 3};
    json_t *sent, *attributes;
    struct http_message *message = travel(&plain, &publication, &sent);
    struct sluice_header expected[4] = {headers[0], headers[1], headers[2], {BYTES(SQS_KEY), BYTES("k 1")}};

    (void)state;
    attributes = json_object_get(sent, "MessageAttributes");
    assert_int_equal(json_object_size(attributes), 4);
    assert_string_equal(json_string_value(json_object_get(json_object_get(attributes, "raw"), "DataType")),
                        "Binary");
    assert_null(json_object_get(sent, "MessageGroupId"));
    assert_true(same(message->payload, publication.payload));
    assert_int_equal(message->delivery_count, 2);
    assert_int_equal(message->timestamp_ms, 1545082649183);
    assert_null(message->key.data);
    expect_headers(message, expected, 4);
    json_decref(sent);
    http_message_free(message);
}

static void headers_that_are_no_attributes(void **state)
{
    static const struct sluice_header odd[] = {
        {BYTES("empty"), BYTES("")},      {BYTES("absent"), {NULL, 0}},      {BYTES("a name"), BYTES("v")},
        {BYTES("AWS.x"), BYTES("v")},     {BYTES("amazon.y"), BYTES("v")},   {BYTES(".x"), BYTES("v")},
        {BYTES("x."), BYTES("v")},        {BYTES("x..y"), BYTES("v")},       {BYTES("twice"), BYTES("1")},
        {BYTES("twice"), BYTES("2")},     {BYTES("n\xc3\xa4me"), BYTES("v")}, {BYTES("c"), BYTES("\x01")},
        {BYTES("nonchar"), BYTES("\xef\xbf\xbf")}, {BYTES(""), BYTES("v")}, {BYTES("raw"), BYTES("\xff")}};
    struct sluice_publication publication = {.payload = BYTES("p"), .headers = odd,
                                             .header_count = sizeof odd / sizeof *odd};
    json_t *sent;
    struct http_message *message = travel(&plain, &publication, &sent);

    (void)state;
    assert_in_range(json_object_size(json_object_get(sent, "MessageAttributes")), 1, 10);
    expect_headers(message, odd, publication.header_count);
    json_decref(sent);
    http_message_free(message);
}

static void more_headers_than_attributes(void **state)
{
    struct sluice_header headers[40];
    char names[40][8];
    struct sluice_publication publication = {.key = BYTES("k"), .payload = BYTES("p"), .headers = headers};

    (void)state;
    for (size_t count = 8; count <= 40; count += count < 12 ? 1 : 28) {
        struct http_message *message;
        json_t *sent;

        for (size_t i = 0; i < count; i++) {
            snprintf(names[i], sizeof names[i], "h-%zu", i);
            headers[i] = (struct sluice_header){{names[i], strlen(names[i])}, {names[i] + 2, strlen(names[i]) - 2}};
        }
        publication.header_count = count;
        message = travel(&fifo, &publication, &sent);
        assert_in_range(json_object_size(json_object_get(sent, "MessageAttributes")), 8, 10);
        expect_headers(message, headers, count);
        assert_memory_equal(message->key.data, "k", 2);
        json_decref(sent);
        http_message_free(message);
    }
}

/* What came from SQS goes back with its types; what SQS said about it does not. */
static void types_come_back(void **state)
{
    struct sluice_header headers[] = {
        {BYTES("n"), BYTES("7")},   {BYTES("sqs:dataType"), BYTES("Number.int")},
        {BYTES("b"), BYTES("txt")}, {BYTES("sqs:dataType"), BYTES("Binary.png")},
        {BYTES("s"), BYTES("x")},   {BYTES("sqs:SentTimestamp"), BYTES("1")},
        {BYTES("sqs:receiptHandle"), BYTES("secret")}};
    struct sluice_publication publication = {.payload = BYTES("p"), .headers = headers, .header_count = 7};
    json_t *sent, *attributes;
    struct http_message *message = travel(&plain, &publication, &sent);

    (void)state;
    attributes = json_object_get(sent, "MessageAttributes");
    assert_int_equal(json_object_size(attributes), 3);
    assert_string_equal(json_string_value(json_object_get(json_object_get(attributes, "n"), "DataType")),
                        "Number.int");
    assert_string_equal(json_string_value(json_object_get(json_object_get(attributes, "b"), "BinaryValue")),
                        "dHh0");
    assert_true(same(message->headers[1].value, headers[1].value));
    json_decref(sent);
    http_message_free(message);
}

/* ---- FIFO queues ---- */

static const char *text_of(json_t *sent, const char *name)
{
    return json_string_value(json_object_get(sent, name));
}

static void keys_are_groups(void **state)
{
    static const struct {
        struct sluice_bytes key;
        const char *group; /* NULL: a hash, and the key is kept beside it */
    } rows[] = {{BYTES("order-7"), "order-7"}, {{NULL, 0}, "sluice"}, {BYTES("two words"), NULL},
                {BYTES("\xff\x00"), NULL},     {BYTES("gr\xc3\xbcn"), NULL}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sluice_publication publication = {.key = rows[i].key, .payload = BYTES("p")};
        json_t *sent;
        struct http_message *message = travel(&fifo, &publication, &sent);

        if (rows[i].group)
            assert_string_equal(text_of(sent, "MessageGroupId"), rows[i].group);
        else
            assert_int_equal(strlen(text_of(sent, "MessageGroupId")), 64);
        if (rows[i].key.data)
            assert_true(same(message->key, rows[i].key));
        json_decref(sent);
        http_message_free(message);
    }
}

static char *identity_of(const char *key, const char *payload, const char *header)
{
    struct sluice_header headers[] = {{BYTES("h"), {header, strlen(header)}}};
    struct sluice_publication publication = {.key = {key, strlen(key)}, .payload = {payload, strlen(payload)},
                                             .headers = headers, .header_count = 1};
    struct http_request request = {0};
    struct http_fault fault;
    json_t *sent;
    char *identity;

    assert_int_equal(sqs_publish(&fifo, &publication, &request, &fault), 0);
    sent = json_loads(request.body, 0, NULL);
    identity = strdup(text_of(sent, "MessageDeduplicationId"));
    json_decref(sent);
    http_request_free(&request);
    return identity;
}

static void the_same_again_is_named_the_same(void **state)
{
    char *first = identity_of("k", "p", "h");
    const char *different[][3] = {{"kp", "", "h"}, {"k", "ph", "h"}, {"k", "p", "i"}, {"k", "p2", "h"}};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        char *other;

        if (!*different[i][1])
            continue;
        other = identity_of(different[i][0], different[i][1], different[i][2]);
        assert_string_not_equal(first, other);
        free(other);
    }
    for (size_t i = 0; i < 2; i++) {
        char *again = identity_of("k", "p", "h");

        assert_string_equal(first, again);
        free(again);
    }
    free(first);
}

/* SQS refuses it; the headers say that it was one, also where they are more than SQS takes. */
static void an_empty_payload_is_told(void **state)
{
    struct sluice_header headers[12];

    (void)state;
    for (size_t i = 0; i < 12; i++)
        headers[i] = (struct sluice_header){{"abcdefghijkl" + i, 1}, BYTES("v")};
    for (size_t count = 0; count <= 12; count += 6) {
        struct sluice_publication publication = {.payload = BYTES(""), .headers = headers, .header_count = count};
        json_t *sent;
        struct http_message *message = travel(&plain, &publication, &sent);

        assert_true(json_object_size(json_object_get(sent, "MessageAttributes")) <= 10);
        assert_true(text_of(sent, "MessageBody")[0]);
        assert_non_null(message->payload.data);
        assert_int_equal(message->payload.size, 0);
        expect_headers(message, headers, count);
        http_message_free(message);
        json_decref(sent);
    }
}

/* Who changed the body and left the attribute meant the body. */
static void an_attribute_empties_no_other_payload(void **state)
{
    const struct sluice_header header = {BYTES("sluice.empty"), BYTES("1")};
    const struct sluice_publication publication = {
        .payload = BYTES("mended"), .headers = &header, .header_count = 1};
    struct http_message *message = travel(&plain, &publication, NULL);

    (void)state;
    assert_true(same(message->payload, publication.payload));
    expect_headers(message, &header, 1);
    http_message_free(message);
}

/* ---- refusals ---- */

/* What is said of the message itself, so that trying it again is of no use; anything else may be cured. */
static void errors_that_are_the_message(void **state)
{
    static const struct {
        long status;
        const char *body;
        bool refuses;
    } rows[] = {
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValue\",\"message\":\"One or more parameters are "
              "invalid. Reason: Message must be shorter than 1048576 bytes.\"}", true},
        {400, "{\"__type\":\"com.amazon.coral.service#InvalidParameterValueException\",\"Message\":\"One or more "
              "parameters are invalid. Reason: Message must be shorter than 262144 bytes.\"}", true},
        {400, "{\"__type\":\"InvalidMessageContents\",\"message\":\"x\"}", true},
        {400, "{\"__type\":\"com.amazonaws.sqs#BatchRequestTooLong\",\"message\":\"x\"}", true},
        {400, "{\"__type\":\"com.amazonaws.sqs#AWS.SimpleQueueService.BatchRequestTooLong\"}", true},
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValue\",\"message\":\"Value 0 for parameter "
              "DelaySeconds is invalid. Reason: DelaySeconds must be shorter than that.\"}", false},
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"Message\":\"MessageTooLong\"}", true},
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidAttributeValue\",\"Message\":\"MessageTooLongAgo\"}", false},
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValue\"}", false},
        {400, "{\"__type\":\"com.amazonaws.sqs#InvalidParameterValue\",\"message\":7}", false},
        {400, "{\"__type\":\"com.amazonaws.sqs#MissingParameter\",\"message\":\"x must be shorter than 9 bytes\"}",
         false},
        {500, "{\"__type\":\"com.amazonaws.sqs#InvalidMessageContents\"}", false},
        {400, "<html>InvalidMessageContents</html>", false},
        {400, "", false}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct http_answer answer = {.status = rows[i].status, .body = rows[i].body, .size = strlen(rows[i].body)};

        if (sqs_errors_refuses(&answer) != rows[i].refuses)
            fail_msg("%zu: %s", i, rows[i].body);
    }
}

static void refuses_what_sqs_does(void **state)
{
    static const struct {
        struct sluice_bytes payload;
        const char *destination, *says;
    } rows[] = {{BYTES("\xff"), NULL, "not UTF-8"},
                {BYTES("a\0b"), NULL, "control characters"},
                {BYTES("\x1b"), NULL, "control characters"},
                {BYTES("\xef\xbf\xbe"), NULL, "control characters"},
                {BYTES("p"), "https://elsewhere/1/q", "begins as its does"}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct sluice_publication publication = {.payload = rows[i].payload, .destination = rows[i].destination};
        struct http_request request = {0};
        struct http_fault fault = {0};

        assert_int_equal(sqs_publish(&plain, &publication, &request, &fault), -1);
        if (!strstr(fault.text, rows[i].says))
            fail_msg("%zu: %s", i, fault.text);
        http_request_free(&request);
    }
}

static void other_queues_of_the_account(void **state)
{
    static const char *const rows[][2] = {{NULL, "https://h/1/q"},
                                          {"dead", "https://h/1/dead"},
                                          {"https://h/1/dead.fifo", "https://h/1/dead.fifo"}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct sluice_publication publication = {.payload = BYTES("p"), .destination = rows[i][0]};
        struct http_request request = {0};
        struct http_fault fault;
        json_t *sent;

        assert_int_equal(sqs_publish(&plain, &publication, &request, &fault), 0);
        sent = json_loads(request.body, 0, NULL);
        assert_string_equal(text_of(sent, "QueueUrl"), rows[i][1]);
        assert_int_equal(!text_of(sent, "MessageGroupId"), i != 2);
        json_decref(sent);
        http_request_free(&request);
    }
}

static void messages_of_wrong_types(void **state)
{
    static const char *const rows[] = {
        "{}", "[]", "7", "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 7, 'MD5OfBody': 'm'}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b'}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': 'wrong'}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': 'm', 'Attributes': []}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': 'm', 'Attributes': {'a': 1}}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': 'm', 'MessageAttributes': 'x'}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': '92eb5ffee6ae2fec3ad71c777531578f', "
        "'MessageAttributes': {'x': {'DataType': 'String'}}}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': '92eb5ffee6ae2fec3ad71c777531578f', "
        "'MessageAttributes': {'x': {'DataType': 'Binary', 'BinaryValue': '?'}}}",
        "{'MessageId': 'i', 'ReceiptHandle': 'r', 'Body': 'b', 'MD5OfBody': '92eb5ffee6ae2fec3ad71c777531578f', "
        "'MD5OfMessageAttributes': 'wrong', 'MessageAttributes': {'x': {'DataType': 'String', 'StringValue': 'v'}}}"};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *text = strdup(rows[i]);
        struct http_fault fault = {0};
        struct http_message *message;
        struct json_reader reader;
        struct sqs_sums sums = {0};

        for (char *at = text; *at; at++)
            if (*at == '\'')
                *at = '"';
        json_reader_begin(&reader, text, strlen(text));
        message = sqs_message_read(&plain, &reader, &sums, &fault);
        assert_true(!message || sqs_sums_check(&plain, &sums, &fault));
        assert_true(fault.text[0]);
        http_message_free(message);
        free(text);
    }
}

/* ---- shared files ---- */

static char *setting_of(const char *credentials, const char *config, const char *profile, const char *key)
{
    struct aws_files files = {.credentials = (char *)(uintptr_t)credentials,
                              .config = (char *)(uintptr_t)config};

    return aws_files_value(&files, profile, key);
}

static void reads_shared_files(void **state)
{
    static const char credentials[] = "; a comment\n[default]\naws_access_key_id=AK\r\n\n[ two ]  # here\n"
                                      "AWS_Access_Key_Id =  B=2 \t\naws_secret_access_key = a#b ;c\n[three]\n";
    static const char config[] = "[default]\nregion = r1 # near\n[profile \"a b\"]\nregion=r2\ns3 =\n  region = no\n"
                                 "[two]\nregion = no\n[profile two]\nregion = r3\nempty =\n[profile default]\nx = y";
    static const struct {
        const char *profile, *key, *value;
    } rows[] = {{"default", "aws_access_key_id", "AK"}, {"two", "aws_access_key_id", "B=2"},
                {"two", "aws_secret_access_key", "a#b"}, {"three", "aws_access_key_id", NULL},
                {"default", "region", "r1"}, {"a b", "region", "r2"}, {"two", "region", "r3"},
                {"two", "empty", NULL}, {"default", "x", "y"}, {"none", "region", NULL}};
    struct aws_files files = {.credentials = (char *)(uintptr_t)credentials,
                              .config = (char *)(uintptr_t)config};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *value = setting_of(credentials, config, rows[i].profile, rows[i].key);

        if (!value != !rows[i].value || (value && strcmp(value, rows[i].value) != 0))
            fail_msg("%s %s: %s", rows[i].profile, rows[i].key, value);
        free(value);
    }
    assert_true(aws_files_has(&files, "three") && aws_files_has(&files, "a b"));
    assert_false(aws_files_has(&files, "a") || aws_files_has(&files, "four"));
    assert_null(setting_of(NULL, NULL, "default", "region"));
    assert_null(setting_of("[default", "[]\n=\n[profile]\n", "default", "region"));
}

/* What sluice does not do is told with the file, the profile, what it has there, and the cure. */
static void tells_of_other_ways_to_keys(void **state)
{
    static const char credentials[] = "[default]\naws_access_key_id = AK\n[run]\ncredential_process = /bin/keys\n"
                                      "[nothing]\n";
    static const char config[] = "[profile dev]\nsso_session = corp\nsso_account_id = 1\n[profile old]\n"
                                 "sso_start_url = https://x\n[sso-session corp]\nsso_region = r\n[profile role]\n"
                                 "sso_role_name = R\n[profile none]\nregion = r1\n";
    static const struct {
        const char *profile, *key, *path, *why;
    } rows[] = {{"run", "credential_process", "/h/credentials: ", "starts no other program"},
                {"dev", "sso_session", "/h/config: ", "IAM Identity Center"},
                {"old", "sso_start_url", "/h/config: ", "IAM Identity Center"},
                {"role", "sso_role_name", "/h/config: ", "IAM Identity Center"},
                {"default", NULL, NULL, NULL}, {"none", NULL, NULL, NULL}, {"nothing", NULL, NULL, NULL},
                {"corp", NULL, NULL, NULL}, {"not there", NULL, NULL, NULL}};
    struct aws_files files = {(char *)(uintptr_t)credentials, (char *)(uintptr_t)config,
                              (char *)(uintptr_t)"/h/credentials", (char *)(uintptr_t)"/h/config"};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[HTTP_TEXT] = "", profile[100];

        snprintf(profile, sizeof profile, "profile %s has ", rows[i].profile);
        assert_int_equal(aws_others_in(&files, rows[i].profile, text, sizeof text), rows[i].key != NULL);
        if (rows[i].key &&
            (strncmp(text, rows[i].path, strlen(rows[i].path)) != 0 || !strstr(text, profile) ||
             !strstr(text, rows[i].key) || !strstr(text, rows[i].why) || !strstr(text, "source_profile")))
            fail_msg("%s", text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(headers_are_attributes),
        cmocka_unit_test(headers_that_are_no_attributes),
        cmocka_unit_test(more_headers_than_attributes),
        cmocka_unit_test(types_come_back),
        cmocka_unit_test(keys_are_groups),
        cmocka_unit_test(the_same_again_is_named_the_same),
        cmocka_unit_test(an_empty_payload_is_told),
        cmocka_unit_test(an_attribute_empties_no_other_payload),
        cmocka_unit_test(errors_that_are_the_message),
        cmocka_unit_test(refuses_what_sqs_does),
        cmocka_unit_test(other_queues_of_the_account),
        cmocka_unit_test(messages_of_wrong_types),
        cmocka_unit_test(reads_shared_files),
        cmocka_unit_test(tells_of_other_ways_to_keys),
    };

    return cmocka_run_group_tests(tests, make_hashes, free_hashes);
}
