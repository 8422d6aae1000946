/* SPDX-License-Identifier: MIT
 * A server of one SQS queue for the bench, as the servers of the tests take more of two cores than what is
 * to be measured. It is full from the beginning, keeps nothing but the state of each message, and is strict
 * in what a client may ask: requests must be signed in form, batches have at most 10 entries with ids of
 * their own, and a receipt is that of a message that is out. What is deleted stays so, no lease ends, and
 * an empty queue is said at once. See "Amazon SQS API reference".
 *
 *   sqs_server --messages N [--size BYTES]
 *
 * Prints its port. On SIGTERM it prints how many messages were received, deleted, received again and wrongly
 * asked for, how many requests it answered, and the time from the first receive to the last deletion, as
 * JSON. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>
#include <microhttpd.h>
#include <openssl/evp.h>

#define BATCH        10
#define REQUEST_MOST ((size_t)256 << 10)
#define RECORD_MOST  1024 /* of a message in an answer, beside its body */

enum state { HERE, OUT, DELETED };

/* The body of each is `{"order":{"id":"order-N"},"pad":"xxx..."}`. */
struct message {
    unsigned char state; /* enum state */
    unsigned char receives;
    char md5[33];
};

static struct message *messages;
static long count, size = 1024, next_message, given_back;
static struct {
    long received, deleted, again, wrong, requests;
} counts;
static struct timespec first_received, last_deleted;

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "sqs_server: %s\n", what);
    exit(1);
}

/* ---- the queue ---- */

/* The body as JSON has it within a string, or plain. */
static int write_body(long number, bool escaped, char *out)
{
    const char *quote = escaped ? "\\\"" : "\"";
    int head = sprintf(out, "{%sorder%s:{%sid%s:%sorder-%ld%s},%spad%s:%s", quote, quote, quote, quote,
                       quote, number, quote, quote, quote, quote);
    int pad = (int)size - 42 - snprintf(NULL, 0, "%ld", number);

    memset(out + head, 'x', (size_t)pad);
    return head + pad + sprintf(out + head + pad, "%s}", quote);
}

static void fill(void)
{
    char *body = malloc((size_t)size + RECORD_MOST);

    messages = calloc((size_t)count, sizeof *messages);
    for (long i = 0; i < count; i++) {
        unsigned char digest[EVP_MAX_MD_SIZE];
        int length = write_body(i, false, body);

        EVP_Digest(body, (size_t)length, digest, NULL, EVP_md5(), NULL);
        for (int j = 0; j < 16; j++)
            sprintf(messages[i].md5 + 2 * j, "%02x", digest[j]);
    }
    free(body);
}

/* The next message that is here, or -1. Those that were given back come first. */
static long take(void)
{
    long number = -1;

    for (long i = 0; given_back && i < next_message && number < 0; i++)
        if (messages[i].state == HERE) {
            number = i;
            given_back--;
        }
    if (number < 0)
        number = next_message < count ? next_message++ : -1;
    if (number >= 0) {
        if (!counts.received)
            clock_gettime(CLOCK_MONOTONIC, &first_received);
        counts.received++;
        counts.again += messages[number].receives > 0;
        messages[number].receives++;
        messages[number].state = OUT;
    }
    return number;
}

static char *write_message(long number, char *out)
{
    const struct message *message = &messages[number];

    out += sprintf(out,
                   "{\"MessageId\":\"00000000-0000-4000-8000-%012ld\",\"ReceiptHandle\":"
                   "\"AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a-%ld-%u-AQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0aAQEBw"
                   "JnKyrHigUMZj6rYigCgxlaS3SLy0aAQEBwJnKyrHigUMZj6rYigCgxlaS3SLy0a==\",\"MD5OfBody\":"
                   "\"%s\",\"Attributes\":{\"SenderId\":\"AIDAIENQZJOLO23YVJ4VO\","
                   "\"ApproximateFirstReceiveTimestamp\":\"1545082649185\","
                   "\"ApproximateReceiveCount\":\"%u\",\"SentTimestamp\":\"1545082649183\"},\"Body\":\"",
                   number, number, message->receives, message->md5, message->receives);
    out += write_body(number, true, out);
    return out + sprintf(out, "\"}");
}

/* The message that an entry's receipt names, if it is out by it; else NULL. */
static struct message *message_of(json_t *entry)
{
    const char *receipt = json_string_value(json_object_get(entry, "ReceiptHandle"));
    const char *dash = receipt ? strchr(receipt, '-') : NULL;
    unsigned receives;
    long number;

    if (!dash || sscanf(dash, "-%ld-%u-", &number, &receives) != 2 || number < 0 || number >= count ||
        messages[number].receives != receives || messages[number].state == HERE)
        return NULL;
    return &messages[number];
}

/* ---- actions ---- */

static char *answer_error(const char *type, unsigned *ret_status)
{
    char *text = malloc(200);

    counts.wrong++;
    *ret_status = 400;
    snprintf(text, 200, "{\"__type\":\"com.amazonaws.sqs#%s\",\"message\":\"refused by the bench\"}", type);
    return text;
}

static char *receive(json_t *request, unsigned *ret_status)
{
    json_int_t most = json_integer_value(json_object_get(request, "MaxNumberOfMessages"));
    char *text, *out;

    if (most < 1 || most > BATCH)
        return answer_error("InvalidParameterValue", ret_status);
    text = out = malloc(100 + (size_t)most * ((size_t)size + RECORD_MOST));
    out += sprintf(out, "{\"Messages\":[");
    for (; most > 0; most--) {
        long number = take();

        if (number < 0)
            break;
        if (out[-1] == '}')
            *out++ = ',';
        out = write_message(number, out);
    }
    if (out[-1] == '[')
        strcpy(text, "{}");
    else
        strcpy(out, "]}");
    return text;
}

static bool has_own_ids(json_t *entries)
{
    bool seen[BATCH] = {false};
    json_t *entry;
    size_t index;

    json_array_foreach(entries, index, entry)
    {
        const char *id = json_string_value(json_object_get(entry, "Id"));

        if (!id || *id < '0' || *id > '9' || id[1] || seen[*id - '0'])
            return false;
        seen[*id - '0'] = true;
    }
    return true;
}

static void settle(struct message *message, json_t *entry, bool deletes)
{
    if (deletes && message->state == OUT) {
        message->state = DELETED;
        counts.deleted++;
    } else if (!deletes && message->state == OUT &&
               !json_integer_value(json_object_get(entry, "VisibilityTimeout"))) {
        message->state = HERE;
        given_back++;
    }
}

static char *settle_all(json_t *request, bool deletes, unsigned *ret_status)
{
    json_t *entries = json_object_get(request, "Entries"), *entry;
    char *text, *out;
    size_t index;

    if (!json_array_size(entries) || json_array_size(entries) > BATCH || !has_own_ids(entries))
        return answer_error("InvalidBatchEntryId", ret_status);
    json_array_foreach(entries, index, entry)
        if (!message_of(entry))
            return answer_error("ReceiptHandleIsInvalid", ret_status);
    text = out = malloc(1024);
    out += sprintf(out, "{\"Successful\":[");
    json_array_foreach(entries, index, entry)
    {
        settle(message_of(entry), entry, deletes);
        out += sprintf(out, "%s{\"Id\":\"%s\"}", index ? "," : "",
                       json_string_value(json_object_get(entry, "Id")));
    }
    strcpy(out, "]}");
    if (deletes)
        clock_gettime(CLOCK_MONOTONIC, &last_deleted);
    return text;
}

static char *attributes(void)
{
    char *text = malloc(100);

    snprintf(text, 100, "{\"Attributes\":{\"ApproximateNumberOfMessages\":\"%ld\"}}",
             count - next_message + given_back);
    return text;
}

static char *act(struct MHD_Connection *connection, const char *body, size_t length, unsigned *ret_status)
{
    const char *target = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Target");
    const char *signature = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
    const char *date = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "X-Amz-Date");
    json_t *request;
    char *text;

    counts.requests++;
    if (!signature || strncmp(signature, "AWS4-HMAC-SHA256 Credential=", 28) || !date || strlen(date) != 16 ||
        !strstr(signature, "SignedHeaders=") || !strstr(signature, "Signature="))
        return answer_error("IncompleteSignature", ret_status);
    request = json_loadb(body, length, 0, NULL);
    if (!json_is_object(request) || !target)
        text = answer_error("SerializationException", ret_status);
    else if (!strcmp(target, "AmazonSQS.GetQueueUrl"))
        text = strdup("{\"QueueUrl\":\"http://127.0.0.1/000000000000/bench\"}");
    else if (!strcmp(target, "AmazonSQS.GetQueueAttributes"))
        text = attributes();
    else if (!strcmp(target, "AmazonSQS.ReceiveMessage"))
        text = receive(request, ret_status);
    else if (!strcmp(target, "AmazonSQS.DeleteMessageBatch"))
        text = settle_all(request, true, ret_status);
    else if (!strcmp(target, "AmazonSQS.ChangeMessageVisibilityBatch"))
        text = settle_all(request, false, ret_status);
    else
        text = answer_error("InvalidAction", ret_status);
    json_decref(request);
    return text;
}

/* ---- HTTP ---- */

struct call {
    char *body;
    size_t size, room;
};

static void collect(struct call *call, const char *data, size_t length)
{
    if (call->size + length > REQUEST_MOST)
        die("a request is larger than any of SQS");
    if (call->size + length > call->room) {
        call->room = (call->size + length) * 2;
        call->body = realloc(call->body, call->room);
    }
    memcpy(call->body + call->size, data, length);
    call->size += length;
}

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *length, void **state)
{
    struct call *call = *state;
    struct MHD_Response *response;
    enum MHD_Result result;
    unsigned status = 200;
    char *text;

    (void)argument, (void)url, (void)method, (void)version;
    if (!call) {
        *state = calloc(1, sizeof *call);
        return MHD_YES;
    }
    if (*length) {
        collect(call, data, *length);
        *length = 0;
        return MHD_YES;
    }
    text = act(connection, call->body ? call->body : "", call->size, &status);
    response = MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE);
    MHD_add_response_header(response, "Content-Type", "application/x-amz-json-1.0");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static void on_end(void *argument, struct MHD_Connection *connection, void **state,
                   enum MHD_RequestTerminationCode code)
{
    struct call *call = *state;

    (void)argument, (void)connection, (void)code;
    if (call)
        free(call->body);
    free(call);
}

static void read_options(int argument_count, char **arguments)
{
    static const struct option known[] = {
        {"messages", 1, NULL, 'm'}, {"size", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(argument_count, arguments, "", known, NULL)) >= 0)
        *(option == 'm' ? &count : &size) = atol(optarg);
    if (count < 1 || size < 64 || size > 262144)
        die("usage: sqs_server --messages N [--size BYTES from 64 to 262144]");
}

int main(int argument_count, char **arguments)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct MHD_Daemon *daemon;
    sigset_t signals;
    int signal;

    read_options(argument_count, arguments);
    fill();
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    daemon = MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD, 0, NULL, NULL, on_request, NULL,
                              MHD_OPTION_SOCK_ADDR, (struct sockaddr *)&address,
                              MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
    if (!daemon)
        die("cannot serve HTTP on 127.0.0.1");
    printf("%u\n", (unsigned)MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port);
    fflush(stdout);
    sigwait(&signals, &signal);
    MHD_stop_daemon(daemon);
    printf("{\"received\":%ld,\"deleted\":%ld,\"again\":%ld,\"wrong\":%ld,\"requests\":%ld,\"seconds\":%.6f}\n",
           counts.received, counts.deleted, counts.again, counts.wrong, counts.requests,
           (double)(last_deleted.tv_sec - first_received.tv_sec) +
               (double)(last_deleted.tv_nsec - first_received.tv_nsec) / 1e9);
    free(messages);
    return 0;
}
