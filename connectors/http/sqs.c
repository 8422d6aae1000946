/* SPDX-License-Identifier: MIT
 * Amazon SQS by its JSON protocol (docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference):
 * ReceiveMessage, DeleteMessageBatch, ChangeMessageVisibilityBatch, SendMessage and GetQueueUrl. */
#define _GNU_SOURCE
#include "sqs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_read.h"

#define CLOCK_WRONG_S 60 /* AWS takes 5 to 15 minutes, by service */

/* ---- requests and answers ---- */

int sqs_request(const struct sqs *sqs, const char *action, json_t *body, struct http_request *ret)
{
    return sqs_request_text(sqs, action, json_write(body), ret);
}

int sqs_request_text(const struct sqs *sqs, const char *action, char *body, struct http_request *ret)
{
    ret->method = "POST";
    ret->body = body;
    if (!ret->body)
        return -1;
    ret->body_size = strlen(ret->body);
    return http_request_url(ret, "%s", sqs->endpoint) ||
                   http_request_header(ret, "Content-Type: application/x-amz-json-1.0") ||
                   http_request_header(ret, "X-Amz-Target: AmazonSQS.%s", action)
               ? -1
               : 0;
}

json_t *sqs_read(const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root = json_read(answer);

    if (json_is_object(root) && !json_object_get(root, "__type"))
        return root;
    json_decref(root);
    http_fault_answer(fault, answer, "a JSON object of SQS");
    return NULL;
}

/* A signature has a time. Where it was refused and the clocks differ, AWS's is taken from now on. */
static bool look_at_clock(struct sqs *sqs, const struct http_answer *answer, struct http_fault *fault)
{
    int64_t difference_s = answer->ahead_s - sqs->ahead_s;

    if (fault->state != SLUICE_STATE_UNAUTHORISED || !answer->ahead_s ||
        (difference_s < CLOCK_WRONG_S && difference_s > -CLOCK_WRONG_S))
        return false;
    sqs->ahead_s = answer->ahead_s;
    http_fault(fault, SLUICE_STATE_UNAUTHORISED,
               "AWS refuses the signature, as this machine's clock is %lld s %s that of AWS; the "
               "difference is made up for, and it is tried again. Set the clock",
               (long long)(answer->ahead_s > 0 ? answer->ahead_s : -answer->ahead_s),
               answer->ahead_s > 0 ? "behind" : "before");
    return true;
}

static void sqs_explain(void *dialect, const struct http_answer *answer, struct http_fault *fault)
{
    struct sqs *sqs = dialect;
    json_t *root = json_read(answer), *text = sqs_errors_text(root);
    const struct sqs_meaning *meaning;
    char code[SQS_CODE_MOST];

    if (sqs_errors_code(root, code)) {
        meaning = sqs_errors_meaning(code);
        http_fault(fault, meaning ? meaning->state : fault->state, "SQS answers %ld, %s%s%.200s%s%s%s%s%s",
                   answer->status, code, json_is_string(text) ? ": " : "",
                   json_is_string(text) ? json_string_value(text) : "", meaning ? "; " : "",
                   meaning ? meaning->cure : "",
                   meaning && meaning->state == SLUICE_STATE_UNAUTHORISED ? " (" : "",
                   meaning && meaning->state == SLUICE_STATE_UNAUTHORISED
                       ? aws_credentials_cure(sqs->credentials)
                       : "",
                   meaning && meaning->state == SLUICE_STATE_UNAUTHORISED ? ")" : "");
    }
    look_at_clock(sqs, answer, fault);
    json_decref(root);
}

/* ---- credentials ---- */

static int ask_url(struct sqs *sqs, int64_t now_s, struct http_request *ret_request,
                   struct http_fault *fault)
{
    const struct aws_keys *keys = aws_credentials_keys(sqs->credentials);

    sqs->asks_url = true;
    if (sqs_request(sqs, "GetQueueUrl",
                    json_pack("{ss ss*}", "QueueName", sqs->queue, "QueueOwnerAWSAccountId", sqs->account),
                    ret_request) ||
        (keys && aws_sign(sqs->signer, ret_request, keys, sqs->region, "sqs", now_s + sqs->ahead_s)))
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    return 1;
}

static int sqs_authorise(void *dialect, int64_t now_s, struct http_request *ret_request,
                         struct http_fault *fault)
{
    struct sqs *sqs = dialect;
    int status = aws_credentials_ask(sqs->credentials, now_s + sqs->ahead_s, ret_request, fault);

    sqs->asks_url = false;
    return status || sqs->url ? status : ask_url(sqs, now_s, ret_request, fault);
}

static int take_url(struct sqs *sqs, const struct http_answer *answer, struct http_fault *fault)
{
    json_t *root;
    const char *url;
    int status;

    if (answer->status / 100 != 2) {
        http_fault(fault,
                   answer->status == 401 || answer->status == 403   ? SLUICE_STATE_UNAUTHORISED
                   : answer->status >= 500 || answer->status == 429 ? SLUICE_STATE_UNREACHABLE
                                                                    : SLUICE_STATE_FAILED,
                   "%.200s answers %ld to the question for the queue's URL; it is tried again", sqs->endpoint,
                   answer->status);
        sqs_explain(sqs, answer, fault);
        if (fault->state == SLUICE_STATE_UNAUTHORISED)
            aws_credentials_forget(sqs->credentials);
        return -1;
    }
    root = sqs_read(answer, fault);
    if (!root)
        return -1;
    url = json_string_value(json_object_get(root, "QueueUrl"));
    status = url && !sqs_use_url(sqs, strdup(url))
                 ? 0
                 : http_fault_answer(fault, answer, "a QueueUrl that ends with the queue's name");
    json_decref(root);
    return status;
}

static int sqs_authorised(void *dialect, const struct http_answer *answer, int64_t now_s,
                          struct http_fault *fault)
{
    struct sqs *sqs = dialect;
    int status;

    if (sqs->asks_url)
        return take_url(sqs, answer, fault);
    status = aws_credentials_take(sqs->credentials, answer, now_s + sqs->ahead_s, fault);
    if (status)
        look_at_clock(sqs, answer, fault);
    return status;
}

static int sqs_unanswered(void *dialect, int64_t now_s, struct http_fault *fault)
{
    struct sqs *sqs = dialect;

    return sqs->asks_url ? -1
                         : aws_credentials_unanswered(sqs->credentials, now_s + sqs->ahead_s, fault);
}

static void sqs_forget(void *dialect)
{
    aws_credentials_forget(((struct sqs *)dialect)->credentials);
}

static int sqs_sign(void *dialect, int64_t now_s, struct http_request *request)
{
    const struct sqs *sqs = dialect;
    const struct aws_keys *keys = aws_credentials_keys(sqs->credentials);

    return keys ? aws_sign(sqs->signer, request, keys, sqs->region, "sqs", now_s + sqs->ahead_s) : 0;
}

/* ---- receiving ---- */

static int sqs_receive(void *dialect, unsigned count, struct http_request *ret_request)
{
    const struct sqs *sqs = dialect;
    char *text = malloc(JSON_QUOTED(strlen(sqs->url)) + 300), *out = text;

    if (!text)
        return -1;
    out = json_put_string(stpcpy(out, "{\"QueueUrl\":"), sqs->url);
    sprintf(out,
            ",\"MaxNumberOfMessages\":%u,\"VisibilityTimeout\":%lld,\"WaitTimeSeconds\":%lld,"
            "\"MessageSystemAttributeNames\":[\"All\"],\"MessageAttributeNames\":[\"All\"]}",
            count < SQS_BATCH ? count : SQS_BATCH, (long long)sqs->lease_s, (long long)sqs->wait_s);
    return sqs_request_text(sqs, "ReceiveMessage", text, ret_request);
}

static void sqs_hurry(void *dialect)
{
    ((struct sqs *)dialect)->wait_s = 0;
}

/* 0 where an answer of status 2xx was read to its end. */
static int end_answer(const struct http_answer *answer, struct json_reader *reader, struct http_fault *fault)
{
    return json_reader_end(reader) ? 0 : http_fault_answer(fault, answer, "a JSON object of SQS");
}

/* Whether the next member is a list with this name, which is entered; others are skipped. `__type` is that of an
 * error. */
static bool is_list(struct json_reader *reader, struct json_slice member, const char *name)
{
    struct json_slice skipped;

    if (json_slice_is(member, name) && json_reader_kind(reader) != 'n') {
        json_reader_enter(reader, '[');
        return true;
    }
    reader->failed |= json_slice_is(member, "__type");
    json_reader_take(reader, &skipped);
    return false;
}

static int read_messages(const struct sqs *sqs, struct json_reader *reader, struct http_list *ret_list,
                         struct http_fault *fault)
{
    struct sqs_sums sums = {0};

    while (json_reader_element(reader)) {
        struct http_message *message = sqs_message_read(sqs, reader, &sums, fault);

        if (!message)
            return -1;
        http_list_add(ret_list, message);
        if (sums.count == MD5_MANY_MOST && sqs_sums_check(sqs, &sums, fault))
            return -1;
        if (ret_list->count > HTTP_MESSAGES)
            return http_fault(fault, SLUICE_STATE_FAILED,
                              "the answer has more messages than SQS ever sends; it is tried again");
    }
    return sqs_sums_check(sqs, &sums, fault);
}

static int sqs_received(void *dialect, const struct http_answer *answer, struct http_list *ret_list,
                        struct http_fault *fault)
{
    struct json_reader reader;
    struct json_slice name;
    int status = 0;

    json_reader_begin(&reader, answer->body, answer->size);
    json_reader_enter(&reader, '{');
    while (!status && json_reader_member(&reader, &name))
        if (is_list(&reader, name, "Messages"))
            status = read_messages(dialect, &reader, ret_list, fault);
    if (!status || reader.failed)
        status = end_answer(answer, &reader, fault);
    if (status)
        http_list_free(ret_list);
    return status;
}

static int sqs_count(void *dialect, struct http_request *ret_request)
{
    const struct sqs *sqs = dialect;

    return sqs_request(sqs, "GetQueueAttributes",
                       json_pack("{ss s[s]}", "QueueUrl", sqs->url, "AttributeNames",
                                 "ApproximateNumberOfMessages"),
                       ret_request);
}

static int sqs_counted(void *dialect, const struct http_answer *answer, int64_t *ret_messages,
                       struct http_fault *fault)
{
    json_t *root = sqs_read(answer, fault), *attributes = json_object_get(root, "Attributes");
    const char *text = json_string_value(json_object_get(attributes, "ApproximateNumberOfMessages"));
    bool is_number = text && *text && strlen(text) < 18 && strspn(text, "0123456789") == strlen(text);

    (void)dialect;
    if (is_number)
        *ret_messages = strtoll(text, NULL, 10);
    else if (root)
        http_fault_answer(fault, answer, "the text ApproximateNumberOfMessages");
    json_decref(root);
    return is_number ? 0 : -1;
}

/* ---- settling ---- */

static int64_t visibility_of(const struct http_item *item)
{
    return item->seconds < 43200 ? item->seconds : 43200;
}

/* Whether an item can be in one request with the first. */
static bool is_like(const struct http_item *item, const struct http_item *first)
{
    return !first->alone && !item->alone &&
           (item->action == HTTP_ACKNOWLEDGE) == (first->action == HTTP_ACKNOWLEDGE);
}

/* Deletions, or changes of visibility: a message given back is visible after its delay. */
static int sqs_settle(void *dialect, struct http_item *const *items, size_t count,
                      struct http_request *ret_request, struct http_fault *fault)
{
    const struct sqs *sqs = dialect;
    bool deletes = items[0]->action == HTTP_ACKNOWLEDGE;
    size_t room = JSON_QUOTED(strlen(sqs->url)) + 100, entries = 0;
    char *text, *out;

    for (size_t i = 0; i < count && entries < SQS_BATCH; i++)
        if (!i || is_like(items[i], items[0])) {
            room += JSON_QUOTED(strlen(items[i]->message->receipt)) + 100;
            items[i]->taken = true;
            entries++;
        }
    text = malloc(room);
    if (!text)
        return http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    out = stpcpy(json_put_string(stpcpy(text, "{\"QueueUrl\":"), sqs->url), ",\"Entries\":[");
    entries = 0;
    for (size_t i = 0; i < count; i++) {
        if (!items[i]->taken)
            continue;
        out = stpcpy(out, entries ? ",{\"Id\":\"" : "{\"Id\":\"");
        *out++ = (char)('0' + entries); /* SQS_BATCH has one digit's worth */
        out = stpcpy(out, "\",\"ReceiptHandle\":");
        out = json_put_string(out, items[i]->message->receipt);
        if (!deletes)
            out += sprintf(out, ",\"VisibilityTimeout\":%lld", (long long)visibility_of(items[i]));
        out = stpcpy(out, "}");
        entries++;
    }
    stpcpy(out, "]}");
    return sqs_request_text(sqs, deletes ? "DeleteMessageBatch" : "ChangeMessageVisibilityBatch", text, ret_request)
               ? http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request")
               : 0;
}

/* What an entry of an answer says. */
struct entry {
    struct http_item *item; /* NULL: none that was asked about */
    char code[SQS_CODE_MOST];   /* of a failure; empty: none */
};

static struct entry read_entry(struct json_reader *reader, struct http_item *const *items, size_t count)
{
    struct json_slice name, value;
    struct entry entry = {0};

    json_reader_enter(reader, '{');
    while (json_reader_member(reader, &name) && json_reader_take(reader, &value)) {
        if (json_slice_is(name, "Code") && *value.data == '"' && value.size < sizeof entry.code)
            json_slice_copy(value, entry.code);
        for (size_t i = 0; i < count && i < SQS_BATCH && json_slice_is(name, "Id"); i++)
            if (json_slice_is(value, (const char[]){(char)('0' + i), '\0'}))
                entry.item = items[i];
    }
    return entry;
}

/* Whether a failure is the receipt's: it will not be taken another time. */
static bool is_stale(const char *code)
{
    static const char *const codes[] = {"ReceiptHandleIsInvalid", "MessageNotInflight", "InvalidParameterValue",
                                        "AWS.SimpleQueueService.MessageNotInflight", "InvalidIdFormat"};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++)
        if (!strcmp(code, codes[i]))
            return true;
    return false;
}

/* Of failures the code of the last that is not the receipt's. */
static int read_results(const struct http_answer *answer, struct http_item *const *items, size_t count,
                        char failed[SQS_CODE_MOST], struct http_fault *fault)
{
    struct json_reader reader;
    struct json_slice name;

    json_reader_begin(&reader, answer->body, answer->size);
    json_reader_enter(&reader, '{');
    while (json_reader_member(&reader, &name)) {
        bool fails = json_slice_is(name, "Failed");

        if (!is_list(&reader, name, fails ? "Failed" : "Successful"))
            continue;
        while (json_reader_element(&reader)) {
            struct entry entry = read_entry(&reader, items, count);

            if (entry.item && (!fails || is_stale(entry.code)))
                entry.item->result = fails ? HTTP_STALE : HTTP_DONE;
            else if (*entry.code)
                snprintf(failed, SQS_CODE_MOST, "%s", entry.code);
        }
    }
    return end_answer(answer, &reader, fault);
}

static int sqs_settled(void *dialect, const struct http_answer *answer, struct http_item *const *items,
                       size_t count, struct http_fault *fault)
{
    char failed[SQS_CODE_MOST] = "an answer that does not name it";
    const struct sqs_meaning *meaning;
    size_t open = 0;

    (void)dialect;
    if (read_results(answer, items, count, failed, fault)) {
        for (size_t i = 0; i < count; i++)
            items[i]->result = HTTP_OPEN; /* what such an answer says is not believed */
        return -1;
    }
    for (size_t i = 0; i < count; i++)
        if (items[i]->result == HTTP_OPEN) {
            items[i]->alone = true;
            open++;
        }
    meaning = sqs_errors_meaning(failed);
    return open ? http_fault(fault, meaning ? meaning->state : SLUICE_STATE_FAILED,
                             "SQS did not take %zu of %zu settlements (%.80s); they are tried again one by one",
                             open, count, failed)
                : 0;
}

const struct http_dialect sqs_dialect = {
    .name = "sqs",
    .open = sqs_open,
    .close = sqs_close,
    .authorise = sqs_authorise,
    .authorised = sqs_authorised,
    .unanswered = sqs_unanswered,
    .forget = sqs_forget,
    .sign = sqs_sign,
    .receive = sqs_receive,
    .hurry = sqs_hurry,
    .received = sqs_received,
    .count = sqs_count,
    .counted = sqs_counted,
    .settle = sqs_settle,
    .settled = sqs_settled,
    .publish = sqs_publish,
    .published = sqs_published,
    .refuses = sqs_errors_refuses,
    .look = sqs_look,
    .looked = sqs_looked,
    .peek = sqs_peek,
    .costs = sqs_costs,
    .costed = sqs_costed,
    .explain = sqs_explain,
};
