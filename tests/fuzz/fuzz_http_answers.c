/* SPDX-License-Identifier: MIT
 * Answers of HTTP queues, as each dialect reads them. The first byte chooses the dialect, the second what
 * was asked; the rest is the answer's body. */
#include "fuzz.h"

#include <stdarg.h>
#include <string.h>

#include "dialect.h"
#include "http.h"

struct setting {
    const char *name, *value;
};

struct sluice_values {
    const struct setting *settings;
};

static const struct setting cloudflare[] = {
    {"token", "t"}, {"cloudflare.account", "023e105f4ecef8ad9ca31a8372d0c353"},
    {"cloudflare.queue", "023e105f4ecef8ad9ca31a8372d0c353"}, {NULL, NULL}};
static const struct setting pubsub[] = {
    {"url", "http://localhost:1"}, {"pubsub.project", "p"}, {"pubsub.subscription", "orders"},
    {"pubsub.authentication", "metadata"}, {NULL, NULL}};
static const struct setting generic[] = {
    {"generic.receive.url", "http://localhost:1/r"}, {"generic.list", "/messages"},
    {"generic.id", "/id"}, {"generic.receipt", "/receipt"}, {"generic.body", "/body"},
    {"generic.attempts", "/attempts"}, {"generic.timestamp", "/at"},
    {"generic.ack.url", "http://localhost:1/a/{id}"}, {"generic.ack.body", "{\"r\": \"{receipt}\"}"},
    {"generic.extend.url", "http://localhost:1/e/{id}"}, {"generic.extend.receipt", "/receipt"},
    {"generic.release.url", "http://localhost:1/l/{id}"}, {NULL, NULL}};

static const struct setting sqs[] = {
    {"sqs.queue", "https://sqs.eu-central-1.amazonaws.com/123456789012/orders"}, {"sqs.credentials", "instance"},
    {NULL, NULL}};

static const char *text(const struct sluice_values *values, const char *name)
{
    for (const struct setting *setting = values->settings; setting->name; setting++)
        if (!strcmp(setting->name, name))
            return setting->value;
    for (const struct sluice_option *option = http_options; option->name; option++)
        if (!strcmp(option->name, name))
            return option->default_text;
    return NULL;
}

static bool is_set(const struct sluice_values *values, const char *name)
{
    return text(values, name) != NULL;
}

static int64_t number(const struct sluice_values *values, const char *name)
{
    (void)values;
    (void)name;
    return 0;
}

static size_t count(const struct sluice_values *values, const char *name)
{
    (void)values;
    (void)name;
    return 0;
}

static void refuse(const struct sluice_values *values, const char *name, const char *reason)
{
    (void)values;
    fprintf(stderr, "%s: %s\n", name, reason);
    abort();
}

static const struct sluice_values_api values_api = {
    .struct_size = sizeof values_api, .is_set = is_set, .text = text, .number = number, .count = count,
    .refuse = refuse};
static const struct sluice_host_api host_api = {.struct_size = sizeof host_api, .values = &values_api};

static struct opened {
    const struct http_dialect *dialect;
    struct sluice_values values;
    const char *message; /* an answer that brings one */
    struct http_abilities abilities;
    void *instance;
} dialects[] = {
    {.dialect = &cloudflare_dialect,
     .values = {cloudflare},
     .message = "{\"success\":true,\"result\":{\"messages\":[{\"id\":\"a\",\"attempts\":1,\"lease_id\":\"L\","
                "\"timestamp_ms\":1,\"metadata\":{\"CF-Content-Type\":\"text\"},\"body\":\"b\"}]}}"},
    {.dialect = &pubsub_dialect,
     .values = {pubsub},
     .message = "{\"receivedMessages\":[{\"ackId\":\"x\",\"message\":{\"messageId\":\"1\",\"data\":\"aGk=\"}}]}"},
    {.dialect = &generic_dialect,
     .values = {generic},
     .message = "{\"messages\":[{\"id\":1,\"receipt\":\"r\",\"body\":\"b\"}]}"},
    {.dialect = &sqs_dialect,
     .values = {sqs},
     .message = "{\"Messages\":[{\"MessageId\":\"m\",\"ReceiptHandle\":\"r\",\"Body\":\"b\","
                "\"MD5OfBody\":\"92eb5ffee6ae2fec3ad71c777531578f\"}]}"}};
#define DIALECTS (sizeof dialects / sizeof *dialects)

static void open_all(void)
{
    for (size_t i = 0; !dialects[DIALECTS - 1].instance && i < DIALECTS; i++) {
        struct http_reader reader = {.api = &host_api, .values = &dialects[i].values};

        dialects[i].instance = dialects[i].dialect->open(&reader, 30 * HTTP_SECOND, &dialects[i].abilities);
        MUST(dialects[i].instance);
    }
}

/* Reads all that a message says it has, so that a sanitizer sees what is not there. */
static size_t look_at(const struct http_message *message)
{
    size_t sum = strlen(message->receipt);

    MUST(message->payload.data);
    for (size_t i = 0; i < message->payload.size; i++)
        sum += ((const uint8_t *)message->payload.data)[i];
    for (size_t i = 0; i < message->id.size; i++)
        sum += ((const uint8_t *)message->id.data)[i];
    for (size_t i = 0; message->key.data && i < message->key.size; i++)
        sum += ((const uint8_t *)message->key.data)[i];
    for (size_t i = 0; i < message->header_count; i++)
        sum += message->headers[i].name.size + (message->headers[i].value.data != NULL);
    return sum;
}

/* Acknowledges one that was received, so that the request is built from what the answer had. */
static void settle(struct opened *opened, struct http_message *message, uint8_t action)
{
    struct http_item item = {.message = message, .seconds = 3, .action = action};
    struct http_item *items[] = {&item};
    struct http_request request = {0};
    struct http_fault fault = {0};

    if (!opened->dialect->settle(opened->instance, items, 1, &request, &fault)) {
        MUST(item.taken && request.url && request.method);
        MUST(!request.body || !memchr(request.body, '\0', request.body_size));
        for (const char *at = request.url; *at; at++)
            MUST((unsigned char)*at > ' ' && *at != 0x7f);
    } else {
        MUST(fault.text[0]);
    }
    http_request_free(&request);
}

static void received(struct opened *opened, const struct http_answer *answer)
{
    struct http_list list = {.backlog = -1};
    struct http_fault fault = {0};
    static volatile size_t sum;

    if (opened->dialect->received(opened->instance, answer, &list, &fault)) {
        MUST(fault.state && fault.text[0] && !list.first);
    } else {
        MUST(list.count <= HTTP_MESSAGES);
        for (struct http_message *message = list.first; message; message = message->next) {
            sum += look_at(message);
            settle(opened, message, HTTP_ACKNOWLEDGE);
            if (opened->abilities.extends)
                settle(opened, message, HTTP_EXTEND);
            if (opened->abilities.releases)
                settle(opened, message, HTTP_RELEASE);
        }
    }
    http_list_free(&list);
}

/* The answer to an acknowledgement, a release or an extension of one message. */
static void settled(struct opened *opened, const struct http_answer *answer, uint8_t action)
{
    const struct http_answer one = {
        .status = 200, .body = opened->message, .size = strlen(opened->message)};
    struct http_list list = {.backlog = -1};
    struct http_item item = {.seconds = 3, .action = action};
    struct http_item *items[] = {&item};
    struct http_request request = {0};
    struct http_fault fault = {0};

    MUST(!opened->dialect->received(opened->instance, &one, &list, &fault) && list.count == 1);
    item.message = list.first;
    if (!opened->dialect->settle(opened->instance, items, 1, &request, &fault) &&
        opened->dialect->settled(opened->instance, answer, items, 1, &fault))
        MUST(fault.text[0]);
    http_request_free(&request);
    http_list_free(&list);
}

/* The answer to each question that leads to credentials, until they are there or refused. */
static void authorised(struct opened *opened, const struct http_answer *answer)
{
    static int64_t now_s = 1000;
    struct http_fault fault = {0};
    int status = 1;

    for (int i = 0; opened->dialect->authorise && i < 4 && status == 1; i++) {
        struct http_request request = {0};

        now_s += 100000; /* what was taken before is old */
        status = opened->dialect->authorise(opened->instance, now_s, &request, &fault);
        http_request_free(&request);
        if (status == 1 && opened->dialect->authorised(opened->instance, answer, now_s, &fault))
            MUST(fault.text[0]);
        else if (status == -1)
            MUST(fault.text[0]);
    }
}

/* The answer to a look at what is published to. */
static void looked(struct opened *opened, const struct http_answer *answer, unsigned step)
{
    struct http_fault fault = {.state = SLUICE_STATE_FAILED, .text = "no success"};
    char found[HTTP_TEXT] = "";
    int outcome = opened->dialect->looked(opened->instance, NULL, step, answer, &fault, found);

    if (outcome < 0)
        MUST(fault.text[0] && memchr(fault.text, '\0', sizeof fault.text));
    else if (!outcome)
        MUST(found[0] && memchr(found, '\0', sizeof found));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct opened *opened;
    struct http_answer answer = {.status = 200};
    struct http_fault fault = {.state = SLUICE_STATE_FAILED};
    char *body;

    open_all();
    if (size < 2)
        return 0;
    opened = &dialects[data[0] % DIALECTS];
    body = malloc(size - 1);
    memcpy(body, data + 2, size - 2);
    body[size - 2] = '\0';
    answer.body = body;
    answer.size = size - 2;
    switch (data[1] % 7) {
    case 0:
        received(opened, &answer);
        break;
    case 1:
        settled(opened, &answer, HTTP_ACKNOWLEDGE);
        break;
    case 2:
        if (opened->abilities.extends)
            settled(opened, &answer, HTTP_EXTEND);
        break;
    case 3:
        answer.status = 400;
        if (opened->dialect->refuses)
            opened->dialect->refuses(&answer);
        if (opened->dialect->explain) {
            answer.status = 400 + data[1];
            opened->dialect->explain(opened->instance, &answer, &fault);
            MUST(memchr(fault.text, '\0', sizeof fault.text));
        }
        break;
    case 4:
        authorised(opened, &answer);
        break;
    case 5:
        if (opened->dialect->published && opened->dialect->published(opened->instance, &answer, &fault))
            MUST(fault.text[0]);
        break;
    default:
        looked(opened, &answer, 0);
        answer.status = 404;
        looked(opened, &answer, 0);
        looked(opened, &answer, 1);
    }
    free(body);
    return 0;
}
