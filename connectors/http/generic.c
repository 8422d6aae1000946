/* SPDX-License-Identifier: MIT
 * The dialect `generic`: any queue with an HTTP API, as a mapping describes it. */
#define _GNU_SOURCE
#include "generic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <curl/curl.h>

#include "base64.h"

#define URL_MOST 8192

static void *generic_open(struct http_reader *reader, int64_t lease_us,
                          struct http_abilities *ret_abilities)
{
    struct generic *generic = generic_read(reader, lease_us);

    if (!generic)
        return NULL;
    *ret_abilities = (struct http_abilities){
        .source = generic->source,
        .where = generic->where,
        .receive_most = GENERIC_TOGETHER,
        .settle_most = generic->acknowledge.together ? GENERIC_TOGETHER : 1,
        .lease_most_us = INT64_MAX,
        .delay_most_us = INT64_MAX,
        .extends = generic->extend.method,
        .releases = generic->release.method,
        .publishes = generic->publish.method,
    };
    return generic;
}

static void generic_close(void *dialect)
{
    generic_free(dialect);
}

/* ---- requests ---- */

static int build(const struct generic *generic, const struct generic_call *call,
                 struct template_values *values, struct http_request *ret_request,
                 struct http_fault *fault)
{
    char problem[HTTP_TEXT / 2];
    size_t size;

    values->secret = generic->secret;
    values->lease_s = values->lease_s ? values->lease_s : generic->lease_s;
    ret_request->method = call->method;
    ret_request->url = template_fill(&call->url, values, URL_MOST, &size, problem, sizeof problem);
    if (ret_request->url && call->has_body)
        ret_request->body = template_fill(&call->body, values, HTTP_BODY_MOST, &ret_request->body_size,
                                          problem, sizeof problem);
    if (!ret_request->url || (call->has_body && !ret_request->body))
        return http_fault(fault, SLUICE_STATE_FAILED, "the request cannot be written: %.300s", problem);
    if (call->content_type &&
        http_request_header(ret_request, "Content-Type: %s", call->content_type))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return 0;
}

/* The mapping's headers, secrets filled in; a Content-Type only with a body. */
static int generic_sign(void *dialect, int64_t now_s, struct http_request *request)
{
    const struct generic *generic = dialect;
    const struct template_values values = {.secret = generic->secret};
    bool typed = false;

    (void)now_s;
    for (struct curl_slist *line = request->headers; line; line = line->next)
        typed = typed || !strncasecmp(line->data, "Content-Type:", 13);
    for (size_t i = 0; i < generic->header_count; i++) {
        const struct generic_header *header = &generic->headers[i];
        char problem[HTTP_TEXT / 2], *value;
        size_t size;
        int status;

        if (!strcasecmp(header->name, "Content-Type") && (typed || !request->body))
            continue;
        value = template_fill(&header->value, &values, URL_MOST, &size, problem, sizeof problem);
        /* curl's own way to send an empty one. */
        status = !value || http_request_header(request, size ? "%s: %s" : "%s;%s", header->name, value);
        if (value)
            explicit_bzero(value, size);
        free(value);
        if (status)
            return -1;
    }
    return 0;
}

/* ---- answers ---- */

/* Not null, false, 0, and nothing empty. */
static bool says_something(struct json_slice value)
{
    switch (json_slice_kind(value)) {
    case 'n':
    case 'f':
        return false;
    case 't':
        return true;
    case '0':
        return value.size != 1 || *value.data != '0';
    default:
        return value.size > 2;
    }
}

/* The JSON of an answer, checked; -1 with a fault where it is none or names an error. */
static int read_answer(const struct generic *generic, const struct http_answer *answer,
                       struct json_slice *ret_root, struct http_fault *fault)
{
    struct json_slice error;

    if (!json_slice_check(answer->body, answer->size, ret_root))
        return http_fault_answer(fault, answer, "JSON");
    if (generic->error && json_slice_find(*ret_root, generic->error, &error) && says_something(error))
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "the answer names an error at %.100s: %.*s; it is tried again", generic->error,
                          (int)(error.size < 200 ? error.size : 200), error.data);
    return 0;
}

/* Of settling and publishing: an answer need not be JSON, but a page of something in between (a proxy,
 * a login) is no success, and JSON may name an error. */
static int read_success(const struct generic *generic, const struct http_answer *answer,
                        struct http_fault *fault)
{
    struct json_slice root;

    if (answer->body[strspn(answer->body, " \t\r\n")] == '<')
        return http_fault_answer(fault, answer, "no page");
    if (!answer->size || !generic->error)
        return 0;
    return read_answer(generic, answer, &root, fault);
}

/* ---- receiving ---- */

static int generic_receive(void *dialect, unsigned count, struct http_request *ret_request)
{
    const struct generic *generic = dialect;
    struct template_values values = {.count = count};
    struct http_fault fault;

    return build(generic, &generic->receive, &values, ret_request, &fault);
}

static int lacks(struct http_fault *fault, const char *what, const char *pointer, const char *expected)
{
    return http_fault(fault, SLUICE_STATE_FAILED,
                      "a message of the answer has no %s at \"%.100s\", expected %s: correct generic.%s; "
                      "it is tried again",
                      what, pointer, expected, what);
}

/* A text or a number, as it was written; false for anything else. */
static bool find_name(struct json_slice from, const char *pointer, struct json_slice *ret)
{
    char kind;

    if (!json_slice_find(from, pointer, ret))
        return false;
    kind = json_slice_kind(*ret);
    return (kind == '"' && ret->size > 2) || kind == '0';
}

/* Receipt and id, each as the server wrote it, one behind the other's NUL: JSON has none. */
static int keep_names(struct http_message *message, struct json_slice receipt, struct json_slice id)
{
    char *names = http_message_keep(message, NULL, receipt.size + 1 + id.size);

    if (!names)
        return -1;
    memcpy(names, receipt.data, receipt.size);
    names[receipt.size] = '\0';
    memcpy(names + receipt.size + 1, id.data, id.size);
    message->receipt = names;
    return 0;
}

static struct json_slice receipt_of(const struct http_message *message)
{
    return (struct json_slice){message->receipt, strlen(message->receipt)};
}

static struct json_slice id_of(const struct http_message *message)
{
    const char *id = message->receipt + strlen(message->receipt) + 1;

    return (struct json_slice){id, strlen(id)};
}

static int keep_text(struct http_message *message, struct json_slice value, struct sluice_bytes *ret)
{
    size_t size;
    char *text = json_slice_text(value, &size);

    *ret = (struct sluice_bytes){text, size};
    return text ? http_message_take(message, text) : -1;
}

static int keep_body(const struct generic *generic, struct http_message *message, struct json_slice body)
{
    void *decoded;
    size_t size;

    if (json_slice_kind(body) != '"') {
        message->payload = (struct sluice_bytes){http_message_keep(message, body.data, body.size),
                                                 body.size};
        return message->payload.data ? 0 : -1;
    }
    if (keep_text(message, body, &message->payload) || !generic->base64)
        return message->payload.data ? 0 : -1;
    decoded = base64_decode(message->payload.data, message->payload.size, &size);
    if (!decoded)
        return -1;
    message->payload = (struct sluice_bytes){decoded, size};
    return http_message_take(message, decoded);
}

static void read_attempts(const struct generic *generic, struct json_slice from,
                          struct http_message *message)
{
    struct json_slice attempts;
    long long count;

    if (!generic->attempts || !json_slice_find(from, generic->attempts, &attempts))
        return;
    count = strtoll(attempts.data + (json_slice_kind(attempts) == '"'), NULL, 10);
    message->delivery_count = count < 1 ? 0 : count > 1000000 ? 1000000 : (uint32_t)count - 1;
}

static int read_message(const struct generic *generic, struct json_slice from,
                        struct http_message *message, struct http_fault *fault)
{
    struct json_slice id, receipt, body, key;

    if (!find_name(from, generic->id, &id))
        return lacks(fault, "id", generic->id, "a text or number");
    receipt = id;
    if (generic->receipt && !find_name(from, generic->receipt, &receipt))
        return lacks(fault, "receipt", generic->receipt, "a text or number");
    if (!json_slice_find(from, generic->body, &body))
        return lacks(fault, "body", generic->body, "anything");
    read_attempts(generic, from, message);
    if (keep_names(message, receipt, id) || keep_text(message, id, &message->id))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for messages");
    if (generic->key && find_name(from, generic->key, &key) && keep_text(message, key, &message->key))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for messages");
    if (keep_body(generic, message, body))
        return lacks(fault, "body", generic->body,
                     generic->base64 ? "base64, as generic.encoding says" : "memory for it");
    return 0;
}

static int add_message(const struct generic *generic, struct json_slice from, struct http_list *list,
                       struct http_fault *fault)
{
    struct http_message *message = http_message_new(0);

    if (!message || list->count == HTTP_MESSAGES) {
        http_message_free(message);
        return http_fault(fault, SLUICE_STATE_FAILED, "the answer has more than %d messages",
                          HTTP_MESSAGES);
    }
    if (read_message(generic, from, message, fault)) {
        http_message_free(message);
        return -1;
    }
    http_list_add(list, message);
    return 0;
}

static int generic_received(void *dialect, const struct http_answer *answer, struct http_list *ret_list,
                            struct http_fault *fault)
{
    const struct generic *generic = dialect;
    struct json_slice root, list, from;
    size_t at = 0;
    int status = 0;

    if (answer->status == 204)
        return 0;
    if (read_answer(generic, answer, &root, fault))
        return -1;
    if (!json_slice_find(root, generic->list, &list)) {
        if (json_slice_kind(root) == '{' && strspn(root.data + 1, " \t\r\n") == root.size - 2)
            return 0; /* {} */
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "the answer has nothing at \"%.100s\", expected a list of messages: correct "
                          "generic.list; it is tried again",
                          generic->list);
    }
    if (json_slice_kind(list) == 'n')
        return 0;
    if (json_slice_kind(list) == '{')
        status = add_message(generic, list, ret_list, fault);
    else if (json_slice_kind(list) != '[')
        return http_fault_answer(fault, answer, "a list of messages at generic.list");
    while (!status && json_slice_next(list, &at, &from))
        status = add_message(generic, from, ret_list, fault);
    if (status)
        http_list_free(ret_list);
    return status;
}

/* ---- settling ---- */

static const struct generic_call *call_of(const struct generic *generic, const struct http_item *item)
{
    return item->action == HTTP_ACKNOWLEDGE ? &generic->acknowledge
           : item->action == HTTP_RELEASE   ? &generic->release
                                            : &generic->extend;
}

static int generic_settle(void *dialect, struct http_item *const *items, size_t count,
                          struct http_request *ret_request, struct http_fault *fault)
{
    const struct generic *generic = dialect;
    const struct http_item *first = items[0];
    const struct generic_call *call = call_of(generic, first);
    bool together = call->together && !first->alone;
    struct json_slice receipts[GENERIC_TOGETHER];
    struct template_values values = {.receipts = receipts};

    if (first->action == HTTP_EXTEND)
        values.lease_s = first->seconds;
    else
        values.delay_s = first->seconds;
    for (size_t i = 0; i < count && values.receipt_count < GENERIC_TOGETHER; i++) {
        struct http_item *item = items[i];

        if (i && (!together || item->alone || item->action != first->action ||
                  item->seconds != first->seconds))
            continue;
        item->taken = true;
        receipts[values.receipt_count++] = receipt_of(item->message);
    }
    values.id = id_of(first->message);
    return build(generic, call, &values, ret_request, fault);
}

/* A server that names a new receipt with each extension. */
static int take_receipt(const struct generic *generic, const struct http_answer *answer,
                        struct http_message *message, struct http_fault *fault)
{
    struct json_slice root, receipt;

    if (read_answer(generic, answer, &root, fault))
        return -1;
    if (!find_name(root, generic->new_receipt, &receipt))
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "the answer to an extension has no receipt at \"%.100s\": correct "
                          "generic.extend.receipt",
                          generic->new_receipt);
    if (keep_names(message, receipt, id_of(message)))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a receipt");
    return 0;
}

static int generic_settled(void *dialect, const struct http_answer *answer,
                           struct http_item *const *items, size_t count, struct http_fault *fault)
{
    const struct generic *generic = dialect;

    if (read_success(generic, answer, fault))
        return -1;
    if (items[0]->action == HTTP_EXTEND && generic->new_receipt &&
        take_receipt(generic, answer, items[0]->message, fault))
        return -1;
    for (size_t i = 0; i < count; i++)
        items[i]->result = HTTP_DONE;
    return 0;
}

/* ---- publishing ---- */

static int other_queue(const char *destination, struct http_fault *fault)
{
    return http_fault(fault, SLUICE_STATE_MISSING,
                      "%.100s is not this mapping's queue, and generic.publish.url names no other",
                      destination);
}

static int generic_publish(void *dialect, const struct sluice_publication *publication,
                           struct http_request *ret_request, struct http_fault *fault)
{
    const struct generic *generic = dialect;
    struct template_values values = {.body = publication->payload, .key = publication->key};

    if (publication->destination && strcmp(publication->destination, generic->source) != 0)
        return other_queue(publication->destination, fault);
    return build(generic, &generic->publish, &values, ret_request, fault);
}

static int generic_published(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    return read_success(dialect, answer, fault);
}

/* ---- looking at the queue ---- */

/* generic.check where it is described. Else OPTIONS, which no server takes for a message. */
static int generic_look(void *dialect, const char *destination, unsigned step,
                        struct http_request *ret_request, struct http_fault *fault)
{
    const struct generic *generic = dialect;
    struct generic_call call = generic->check;
    struct template_values values = {.body = {"", 0}};

    (void)step;
    if (destination && strcmp(destination, generic->source) != 0)
        return other_queue(destination, fault);
    if (!call.method) {
        call = generic->publish;
        call.method = "OPTIONS";
        call.has_body = false;
        call.content_type = NULL;
    }
    return build(generic, &call, &values, ret_request, fault);
}

static int generic_looked(void *dialect, const char *destination, unsigned step,
                          const struct http_answer *answer, struct http_fault *fault,
                          char ret_found[HTTP_TEXT])
{
    const struct generic *generic = dialect;
    long status = answer->status;

    (void)destination;
    (void)step;
    if (generic->check.method) {
        if (status / 100 != 2 || read_success(generic, answer, fault))
            return -1;
        snprintf(ret_found, HTTP_TEXT, "%.300s answers generic.check with %ld", generic->where, status);
        return 0;
    }
    if (status == 401 || status == 403 || (status / 100 == 5 && status != 501))
        return -1;
    snprintf(ret_found, HTTP_TEXT,
             "%.300s answers; whether it knows the queue and would take messages cannot be told without "
             "publishing: generic.check.url may name an address that tells it",
             generic->where);
    return 0;
}

const struct http_dialect generic_dialect = {
    .name = "generic",
    .open = generic_open,
    .close = generic_close,
    .sign = generic_sign,
    .receive = generic_receive,
    .received = generic_received,
    .settle = generic_settle,
    .settled = generic_settled,
    .publish = generic_publish,
    .published = generic_published,
    .look = generic_look,
    .looked = generic_looked,
};
