/* SPDX-License-Identifier: MIT
 * Cloudflare Queues as a pull consumer (developers.cloudflare.com/queues/configuration/pull-consumers,
 * and the REST API's messages/pull, messages/ack and messages). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base64.h"
#include "dialect.h"
#include "json_read.h"

#define API          "https://api.cloudflare.com/client/v4"
#define PULL_MOST    100
#define LEASE_MOST_S (12 * 3600)
#define DELAY_MOST_S (24 * 3600)

struct cloudflare {
    char *token, *url; /* url: ".../queues/QUEUE" */
    char *queue;
    long long lease_ms;
};

static void cloudflare_close(void *dialect)
{
    struct cloudflare *cloudflare = dialect;

    if (cloudflare->token)
        explicit_bzero(cloudflare->token, strlen(cloudflare->token));
    free(cloudflare->token);
    free(cloudflare->url);
    free(cloudflare->queue);
    free(cloudflare);
}

/* An id is hexadecimal; anything else is a name, or would change the path. */
static const char *read_id(struct http_reader *reader, const char *name, const char *what)
{
    const char *id = http_demand(reader, name, what);

    if (id && (strlen(id) > 64 || strspn(id, "0123456789abcdefABCDEF-") != strlen(id))) {
        http_refuse(reader, name, "found \"%.80s\", expected %s", id, what);
        return NULL;
    }
    return id;
}

static void *cloudflare_open(struct http_reader *reader, int64_t lease_us,
                             struct http_abilities *ret_abilities)
{
    struct cloudflare *cloudflare = calloc(1, sizeof *cloudflare);
    const char *api = http_text(reader, "url");
    const char *account = read_id(reader, "cloudflare.account", "the account's id (32 hexadecimal digits)");
    const char *queue = read_id(reader, "cloudflare.queue",
                                "the queue's id (32 hexadecimal digits), not its name: wrangler queues "
                                "info NAME tells it");
    const char *token = http_demand(reader, "token",
                                    "an API token with the permission Queues: Edit, better by "
                                    "!credential NAME");
    struct http_request url = {0};

    if (api)
        http_check_url(reader, "url", api);
    if (!cloudflare || reader->refused)
        return cloudflare;
    cloudflare->lease_ms = lease_us / 1000;
    cloudflare->token = strdup(token);
    cloudflare->queue = strdup(queue);
    http_request_url(&url, "%s/accounts/%s/queues/%s", api ? api : API, account, queue);
    cloudflare->url = url.url;
    if (!cloudflare->token || !cloudflare->queue || !cloudflare->url) {
        cloudflare_close(cloudflare);
        return NULL;
    }
    *ret_abilities = (struct http_abilities){
        .source = cloudflare->queue,
        .where = cloudflare->url,
        .receive_most = PULL_MOST,
        .settle_most = PULL_MOST,
        .lease_most_us = LEASE_MOST_S * HTTP_SECOND,
        .delay_most_us = DELAY_MOST_S * HTTP_SECOND,
        .releases = true,
        .publishes = true,
    };
    return cloudflare;
}

static int cloudflare_sign(void *dialect, int64_t now_s, struct http_request *request)
{
    const struct cloudflare *cloudflare = dialect;

    (void)now_s;
    return http_request_header(request, "Authorization: Bearer %s", cloudflare->token);
}

/* ---- answers ---- */

/* The first error that an answer names, or NULL. */
static const char *first_error(json_t *answer)
{
    json_t *error = json_array_get(json_object_get(answer, "errors"), 0);

    return json_string_value(json_object_get(error, "message"));
}

/* The `result` of an answer that says success; the caller gives the answer back. NULL with a fault. */
static json_t *read_result(const struct http_answer *answer, json_t **ret_root, struct http_fault *fault)
{
    json_t *root = json_read(answer), *result;
    const char *error;

    if (!json_is_object(root)) {
        json_decref(root);
        http_fault_answer(fault, answer, "the JSON of Cloudflare's API");
        return NULL;
    }
    error = first_error(root);
    result = json_object_get(root, "result");
    if (json_is_true(json_object_get(root, "success")) && json_is_object(result)) {
        *ret_root = root;
        return result;
    }
    if (error)
        http_fault(fault, SLUICE_STATE_FAILED, "Cloudflare answers \"%.200s\"; it is tried again", error);
    else
        http_fault_answer(fault, answer, "\"success\": true with a result");
    json_decref(root);
    return NULL;
}

static void cloudflare_explain(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = json_read(answer);
    const char *error = first_error(root);
    uint32_t state = fault->state;

    (void)dialect;
    if (error)
        http_fault(fault, state, "Cloudflare answers %ld, \"%.200s\"%s", answer->status, error,
                   state == SLUICE_STATE_UNAUTHORISED
                       ? ": the token needs the permission Queues: Edit of this account"
                   : state == SLUICE_STATE_MISSING
                       ? ": check cloudflare.account and cloudflare.queue, and that the queue has an "
                         "HTTP pull consumer"
                       : "");
    json_decref(root);
}

/* ---- receiving ---- */

static int cloudflare_receive(void *dialect, unsigned count, struct http_request *ret_request)
{
    const struct cloudflare *cloudflare = dialect;

    if (http_request_url(ret_request, "%s/messages/pull", cloudflare->url))
        return -1;
    return http_request_json(ret_request,
                             json_write(json_pack("{si sI}", "batch_size", (int)count,
                                                  "visibility_timeout_ms",
                                                  (json_int_t)cloudflare->lease_ms)));
}

/* Bodies published as `json` or `bytes` come in base64; `text`, and what is no base64, as it is. */
static int read_body(json_t *body, const char *kind, struct http_message *message)
{
    const char *text = json_string_value(body);
    size_t size = json_string_length(body), decoded_size;
    void *decoded = kind && strcmp(kind, "text") != 0 ? base64_decode(text, size, &decoded_size) : NULL;

    if (decoded) {
        message->payload = (struct sluice_bytes){decoded, decoded_size};
        return http_message_take(message, decoded);
    }
    message->payload = (struct sluice_bytes){http_message_keep(message, text, size), size};
    return message->payload.data ? 0 : -1;
}

static struct http_message *read_message(json_t *from)
{
    json_t *body = json_object_get(from, "body"), *metadata = json_object_get(from, "metadata");
    json_t *id = json_object_get(from, "id"), *lease = json_object_get(from, "lease_id");
    json_t *attempts = json_object_get(from, "attempts");
    struct http_message *message;

    if (!json_is_string(body) || !json_is_string(id) || !json_is_string(lease) ||
        !json_string_length(lease) || (attempts && !json_is_integer(attempts)))
        return NULL;
    message = http_message_new(0);
    if (!message)
        return NULL;
    message->timestamp_ms = json_integer_value(json_object_get(from, "timestamp_ms"));
    message->delivery_count = json_read_deliveries(attempts);
    if (json_keep_string(id, message, &message->id) ||
        !(message->receipt = http_message_keep(message, json_string_value(lease),
                                               json_string_length(lease))) ||
        json_keep_headers(metadata, message) ||
        read_body(body, json_string_value(json_object_get(metadata, "CF-Content-Type")), message)) {
        http_message_free(message);
        return NULL;
    }
    return message;
}

static int cloudflare_received(void *dialect, const struct http_answer *answer,
                               struct http_list *ret_list, struct http_fault *fault)
{
    json_t *root, *result = read_result(answer, &root, fault);
    json_t *messages = json_object_get(result, "messages"), *from;
    json_t *backlog = json_object_get(result, "message_backlog_count");
    size_t index;
    int status = 0;

    (void)dialect;
    if (!result)
        return -1;
    if (!json_is_array(messages) || json_array_size(messages) > HTTP_MESSAGES)
        status = http_fault_answer(fault, answer, "a list of messages");
    json_array_foreach(messages, index, from)
    {
        struct http_message *message = status ? NULL : read_message(from);

        if (message)
            http_list_add(ret_list, message);
        else if (!status)
            status = http_fault_answer(fault, answer,
                                       "messages with the texts id, body and lease_id and a number of "
                                       "attempts");
    }
    if (status)
        http_list_free(ret_list);
    else if (json_is_integer(backlog))
        ret_list->backlog = json_integer_value(backlog);
    json_decref(root);
    return status;
}

/* ---- settling ---- */

/* Acknowledgements and retries go together. */
static int cloudflare_settle(void *dialect, struct http_item *const *items, size_t count,
                             struct http_request *ret_request, struct http_fault *fault)
{
    const struct cloudflare *cloudflare = dialect;
    json_t *acks = json_array(), *retries = json_array();
    int status = acks && retries ? 0 : -1;

    for (size_t i = 0; i < count && i < PULL_MOST && !status; i++) {
        const struct http_item *item = items[i];

        if (i && (items[0]->alone || item->alone))
            break;
        if (item->action == HTTP_ACKNOWLEDGE)
            status = json_array_append_new(acks, json_pack("{ss}", "lease_id", item->message->receipt));
        else
            status = json_array_append_new(
                retries, json_pack("{ss sI}", "lease_id", item->message->receipt, "delay_seconds",
                                   (json_int_t)item->seconds));
        items[i]->taken = true;
    }
    status = status || http_request_url(ret_request, "%s/messages/ack", cloudflare->url);
    if (!status)
        status = http_request_json(ret_request, json_write(json_pack("{sO sO}", "acks", acks, "retries",
                                                                     retries)));
    json_decref(acks);
    json_decref(retries);
    return status ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request") : 0;
}

/* It counts and names none, so all have been taken. */
static int cloudflare_settled(void *dialect, const struct http_answer *answer,
                              struct http_item *const *items, size_t count, struct http_fault *fault)
{
    json_t *root;

    (void)dialect;
    if (!read_result(answer, &root, fault))
        return -1;
    json_decref(root);
    for (size_t i = 0; i < count; i++)
        items[i]->result = HTTP_DONE;
    return 0;
}

/* ---- publishing ---- */

static int other_queue(const char *destination, struct http_fault *fault)
{
    return http_fault(fault, SLUICE_STATE_MISSING,
                      "queue %.100s is not this mapping's: a queue of Cloudflare is published to by a "
                      "mapping of its own",
                      destination);
}

static int cloudflare_publish(void *dialect, const struct sluice_publication *publication,
                              struct http_request *ret_request, struct http_fault *fault)
{
    const struct cloudflare *cloudflare = dialect;
    json_t *body = json_stringn(publication->payload.data ? publication->payload.data : "",
                                publication->payload.size);

    if (publication->destination && strcmp(publication->destination, cloudflare->queue) != 0) {
        json_decref(body);
        return other_queue(publication->destination, fault);
    }
    if (!body)
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "the message is not UTF-8, and Cloudflare's API takes text and JSON only");
    if (http_request_json(ret_request,
                          json_write(json_pack("{so ss}", "body", body, "content_type", "text"))) ||
        http_request_url(ret_request, "%s/messages", cloudflare->url))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return 0;
}

static int cloudflare_published(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = json_read(answer);
    bool success = json_is_true(json_object_get(root, "success"));
    const char *error = first_error(root);

    (void)dialect;
    if (!success && error)
        http_fault(fault, SLUICE_STATE_FAILED, "Cloudflare answers \"%.200s\"", error);
    else if (!success)
        http_fault_answer(fault, answer, "\"success\": true");
    json_decref(root);
    return success ? 0 : -1;
}

/* developers.cloudflare.com/queues/reference/error-codes: MessageSizeOutOfBounds and BatchSizeOutOfBounds, which
 * a batch of one is as well. */
static bool cloudflare_refuses(const struct http_answer *answer)
{
    json_t *root = json_read(answer), *error = json_array_get(json_object_get(root, "errors"), 0);
    json_int_t code = json_integer_value(json_object_get(error, "code"));

    json_decref(root);
    return code == 10204 || code == 10205;
}

/* ---- looking at the queue ---- */

static int cloudflare_look(void *dialect, const char *destination, unsigned step,
                           struct http_request *ret_request, struct http_fault *fault)
{
    const struct cloudflare *cloudflare = dialect;

    (void)step;
    if (destination && strcmp(destination, cloudflare->queue) != 0)
        return other_queue(destination, fault);
    ret_request->method = "GET";
    return http_request_url(ret_request, "%s", cloudflare->url)
               ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request")
               : 0;
}

static int cloudflare_looked(void *dialect, const char *destination, unsigned step,
                             const struct http_answer *answer, struct http_fault *fault,
                             char ret_found[HTTP_TEXT])
{
    const struct cloudflare *cloudflare = dialect;
    const char *name;
    json_t *root, *result;

    (void)destination;
    (void)step;
    if (answer->status / 100 != 2) {
        if (fault->state == SLUICE_STATE_MISSING)
            http_fault(fault, SLUICE_STATE_MISSING,
                       "queue %.70s does not exist: check cloudflare.account and cloudflare.queue, which is "
                       "the queue's id and not its name",
                       cloudflare->queue);
        return -1;
    }
    result = read_result(answer, &root, fault);
    if (!result)
        return -1;
    name = json_string_value(json_object_get(result, "queue_name"));
    snprintf(ret_found, HTTP_TEXT, "queue %.70s%s%.200s%s is there", cloudflare->queue,
             name ? " (" : "", name ? name : "", name ? ")" : "");
    json_decref(root);
    return 0;
}

const struct http_dialect cloudflare_dialect = {
    .name = "cloudflare",
    .open = cloudflare_open,
    .close = cloudflare_close,
    .sign = cloudflare_sign,
    .receive = cloudflare_receive,
    .received = cloudflare_received,
    .settle = cloudflare_settle,
    .settled = cloudflare_settled,
    .publish = cloudflare_publish,
    .published = cloudflare_published,
    .refuses = cloudflare_refuses,
    .look = cloudflare_look,
    .looked = cloudflare_looked,
    .explain = cloudflare_explain,
};
