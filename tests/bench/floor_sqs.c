/* SPDX-License-Identifier: MIT
 * The floor of SQS: what libcurl alone costs from a queue to HTTP functions, as the shortest honest loop over
 * it: so many calls in flight, each of them by turns a ReceiveMessage of 10, the POST of AWS's event and a
 * DeleteMessageBatch. It does what any client must: it signs, checks the MD5 of each body, reads JSON whose
 * members come in any order, and looks for failures in answers. It has no tokens, retries, leases, dead
 * letters or limits: sluice is measured against it, and shares no code with it.
 *
 *   floor_sqs --queue URL --region NAME --url U [--in-flight N] [--messages N]
 *
 * It ends once --messages are done, or the queue is empty, and prints one JSON object; time and CPU are counted
 * from the first message on. */
#define _GNU_SOURCE
#include <ctype.h>
#include <getopt.h>

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "floor.h"

#define BATCH   10
#define DIGEST  32
#define KEY_ID  "AKIDEXAMPLE"
#define SECRET  "s3cr3t-of-the-bench"
#define HEADERS "content-type;host;x-amz-date;x-amz-target"

/* A piece of the answer; of a string what is within its quotes. */
struct piece {
    const char *data;
    size_t size;
};

enum step { RECEIVING, INVOKING, DELETING };

struct slot {
    CURL *sqs, *function;
    struct curl_slist *headers;
    enum step step;
    struct piece receipts[BATCH];
    int count;
    char *answer, *body; /* each with its NUL */
    size_t answer_size, answer_room, body_room;
};

static struct {
    const char *queue, *region, *url;
    int in_flight;
    int64_t messages;
} options = {.in_flight = 32, .messages = INT64_MAX};

static CURLM *multi;
static struct floor_counts counts;
static char *endpoint, *host, *queue_arn;
static int busy;
static EVP_MD_CTX *md5;

/* ---- JSON, which is taken for well-formed where it is what SQS sends ---- */

static const char *skip_spaces(const char *at)
{
    while (*at == ' ' || *at == '\n' || *at == '\r' || *at == '\t')
        at++;
    return at;
}

static const char *skip_string(const char *at)
{
    for (at++; (at = at + strcspn(at, "\"\\")), *at == '\\'; at += 2)
        ;
    if (!*at)
        die("SQS", "an answer ends within a text");
    return at + 1;
}

static const char *skip_value(const char *at)
{
    int depth = 0;

    do {
        if (*at == '"') {
            at = skip_string(at);
            continue;
        }
        depth += (*at == '{' || *at == '[') - (*at == '}' || *at == ']');
        if (!*at)
            die("SQS", "an answer ends within a value");
        at++;
    } while (depth || (isalnum((unsigned char)*at) && at[-1] != '}' && at[-1] != ']' && at[-1] != '"'));
    return at;
}

/* Walks an object: the next member behind `at`, which begins behind its brace. NULL: there is none. */
static const char *next_member(const char *at, struct piece *name, struct piece *value)
{
    at = skip_spaces(at);
    if (*at == ',')
        at = skip_spaces(at + 1);
    if (*at != '"')
        return NULL;
    name->data = at + 1;
    at = skip_string(at);
    name->size = (size_t)(at - 1 - name->data);
    at = skip_spaces(skip_spaces(at) + 1);
    value->data = at;
    at = skip_value(at);
    value->size = (size_t)(at - value->data);
    if (*value->data == '"') {
        value->data++;
        value->size -= 2;
    }
    return at;
}

static bool is(struct piece piece, const char *text)
{
    return piece.size == strlen(text) && !memcmp(piece.data, text, piece.size);
}

static unsigned hex(const char *at)
{
    char digits[5] = {at[0], at[1], at[2], at[3], '\0'};

    return (unsigned)strtoul(digits, NULL, 16);
}

/* The characters of a string, into memory of the same size. */
static size_t unescape(struct piece text, char *ret)
{
    static const char names[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *at = text.data, *end = at + text.size;
    char *out = ret;

    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t size = (size_t)((escape ? escape : end) - at);
        unsigned code;

        memcpy(out, at, size);
        out += size;
        at += size;
        if (!escape)
            break;
        if (at[1] != 'u') {
            *out++ = meant[strchr(names, at[1]) - names];
            at += 2;
            continue;
        }
        code = hex(at + 2);
        if (code > 0x7f)
            die("SQS", "the messages of this bench have no such characters");
        *out++ = (char)code;
        at += 6;
    }
    return (size_t)(out - ret);
}

/* ---- signatures ---- */

static char *put_hex(char *out, const unsigned char *data, int size)
{
    for (int i = 0; i < size; i++) {
        *out++ = "0123456789abcdef"[data[i] >> 4];
        *out++ = "0123456789abcdef"[data[i] & 15];
    }
    *out = '\0';
    return out;
}

static void mac(const void *key, int size, const char *text, unsigned char ret[DIGEST])
{
    HMAC(EVP_sha256(), key, size, (const unsigned char *)text, strlen(text), ret, NULL);
}

static void hash(const char *text, size_t size, char ret[2 * DIGEST + 1])
{
    unsigned char digest[DIGEST];

    EVP_Digest(text, size, digest, NULL, EVP_sha256(), NULL);
    put_hex(ret, digest, DIGEST);
}

/* The key of the day. */
static const unsigned char *key_of(const char *date)
{
    static char known[9];
    static unsigned char key[DIGEST];

    if (strcmp(known, date) != 0) {
        strcpy(known, date);
        mac("AWS4" SECRET, sizeof "AWS4" SECRET - 1, date, key);
        mac(key, DIGEST, options.region, key);
        mac(key, DIGEST, "sqs", key);
        mac(key, DIGEST, "aws4_request", key);
    }
    return key;
}

static void sign(struct slot *slot, const char *action)
{
    char stamp[20], date[9], text[1024], sum[2 * DIGEST + 1], line[700];
    unsigned char digest[DIGEST];
    time_t now = time(NULL);
    struct tm parts;

    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &parts);
    strftime(date, sizeof date, "%Y%m%d", &parts);
    hash(slot->body, strlen(slot->body), sum);
    snprintf(text, sizeof text,
             "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:%s\nx-amz-date:%s\n"
             "x-amz-target:AmazonSQS.%s\n\n" HEADERS "\n%s",
             host, stamp, action, sum);
    hash(text, strlen(text), sum);
    snprintf(text, sizeof text, "AWS4-HMAC-SHA256\n%s\n%s/%s/sqs/aws4_request\n%s", stamp, date,
             options.region, sum);
    mac(key_of(date), DIGEST, text, digest);
    put_hex(sum, digest, DIGEST);
    curl_slist_free_all(slot->headers);
    slot->headers = curl_slist_append(NULL, "Content-Type: application/x-amz-json-1.0");
    snprintf(line, sizeof line, "X-Amz-Target: AmazonSQS.%s", action);
    curl_slist_append(slot->headers, line);
    snprintf(line, sizeof line, "X-Amz-Date: %s", stamp);
    curl_slist_append(slot->headers, line);
    snprintf(line, sizeof line,
             "Authorization: AWS4-HMAC-SHA256 Credential=" KEY_ID
             "/%s/%s/sqs/aws4_request, SignedHeaders=" HEADERS ", Signature=%s",
             date, options.region, sum);
    curl_slist_append(slot->headers, line);
    curl_easy_setopt(slot->sqs, CURLOPT_HTTPHEADER, slot->headers);
}

/* ---- the three calls ---- */

static void make_room(struct slot *slot, size_t size)
{
    if (slot->body_room >= size)
        return;
    slot->body_room = size * 2;
    slot->body = realloc(slot->body, slot->body_room);
}

static void ask(struct slot *slot, enum step step, const char *action)
{
    slot->step = step;
    sign(slot, action);
    slot->answer_size = 0;
    floor_send(multi, slot->sqs, slot->body, strlen(slot->body), &counts);
}

static void receive(struct slot *slot)
{
    make_room(slot, 500 + strlen(options.queue));
    snprintf(slot->body, slot->body_room,
             "{\"QueueUrl\":\"%s\",\"MaxNumberOfMessages\":%d,\"VisibilityTimeout\":120,"
             "\"WaitTimeSeconds\":20,\"MessageSystemAttributeNames\":[\"All\"],"
             "\"MessageAttributeNames\":[\"All\"]}",
             options.queue, BATCH);
    ask(slot, RECEIVING, "ReceiveMessage");
}

static void check_body(struct piece body, struct piece sum, char *memory)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    char found[33];

    EVP_DigestInit_ex(md5, EVP_md5(), NULL);
    EVP_DigestUpdate(md5, memory, unescape(body, memory));
    EVP_DigestFinal_ex(md5, digest, NULL);
    put_hex(found, digest, 16);
    if (!is(sum, found))
        die("SQS", "a message has another MD5 than it says");
}

#define PIECE(out, piece) put(out, (piece).data, (piece).size)

static char *put_record(struct slot *slot, const char *message, char *out)
{
    struct piece name, value, id = {0}, body = {0}, sum = {0}, attributes = {"{}", 2};
    struct piece *receipt = &slot->receipts[slot->count];

    for (const char *at = message + 1; (at = next_member(at, &name, &value));)
        if (is(name, "MessageId"))
            id = value;
        else if (is(name, "ReceiptHandle"))
            *receipt = value;
        else if (is(name, "Body"))
            body = value;
        else if (is(name, "MD5OfBody"))
            sum = value;
        else if (is(name, "Attributes"))
            attributes = value;
    if (!id.data || !receipt->data || !body.data)
        die("SQS", "a message lacks what it must have");
    check_body(body, sum, out);
    out = PUT(out, "{\"messageId\":\"");
    out = PIECE(out, id);
    out = PUT(out, "\",\"receiptHandle\":\"");
    out = PIECE(out, *receipt);
    out = PUT(out, "\",\"body\":\"");
    out = PIECE(out, body);
    out = PUT(out, "\",\"attributes\":");
    out = PIECE(out, attributes);
    out = PUT(out, ",\"messageAttributes\":{},\"md5OfBody\":\"");
    out = PIECE(out, sum);
    out = PUT(out, "\",\"eventSource\":\"aws:sqs\",\"eventSourceARN\":\"");
    out = put(out, queue_arn, strlen(queue_arn));
    out = PUT(out, "\",\"awsRegion\":\"");
    out = put(out, options.region, strlen(options.region));
    slot->count++;
    return PUT(out, "\"}");
}

/* Whether there was a message. */
static bool invoke(struct slot *slot)
{
    struct piece name, value;
    char *out;

    make_room(slot, slot->answer_size + BATCH * (500 + strlen(queue_arn)));
    out = slot->body;
    out = PUT(out, "{\"Records\":[");
    slot->count = 0;
    for (const char *at = slot->answer + 1; (at = next_member(at, &name, &value));)
        if (is(name, "Messages"))
            for (const char *message = skip_spaces(value.data + 1); *message == '{' && slot->count < BATCH;) {
                out = put_record(slot, message, out);
                *out++ = ',';
                message = skip_spaces(skip_value(message));
                message = *message == ',' ? skip_spaces(message + 1) : message;
            }
    if (!slot->count)
        return false;
    floor_begin(&counts);
    out = PUT(out - 1, "]}");
    slot->step = INVOKING;
    floor_send(multi, slot->function, slot->body, (size_t)(out - slot->body), &counts);
    return true;
}

static void delete(struct slot *slot)
{
    char *out = slot->body;

    out += sprintf(out, "{\"QueueUrl\":\"%s\",\"Entries\":[", options.queue);
    for (int i = 0; i < slot->count; i++) {
        out += sprintf(out, "%s{\"Id\":\"%d\",\"ReceiptHandle\":\"", i ? "," : "", i);
        out = PIECE(out, slot->receipts[i]);
        out = PUT(out, "\"}");
    }
    strcpy(out, "]}");
    ask(slot, DELETING, "DeleteMessageBatch");
}

static void take_deleted(const struct slot *slot)
{
    struct piece name, value;

    for (const char *at = slot->answer + 1; (at = next_member(at, &name, &value));)
        if (is(name, "Failed") && value.size > 2)
            die("SQS", "messages were not deleted");
    counts.messages += slot->count;
}

static void advance(struct slot *slot)
{
    if (counts.failed)
        die("HTTP", "a request failed");
    if (slot->step == RECEIVING && invoke(slot))
        return;
    if (slot->step == INVOKING) {
        delete(slot);
        return;
    }
    if (slot->step == DELETING)
        take_deleted(slot);
    if (slot->step == DELETING && counts.messages + (int64_t)BATCH * (busy - 1) < options.messages)
        receive(slot);
    else
        busy--;
}

/* ---- set-up ---- */

static size_t take_answer(char *data, size_t size, size_t count, void *argument)
{
    struct slot *slot = argument;

    size *= count;
    if (slot->answer_size + size >= slot->answer_room) {
        slot->answer_room = (slot->answer_size + size + 1) * 2;
        slot->answer = realloc(slot->answer, slot->answer_room);
    }
    memcpy(slot->answer + slot->answer_size, data, size);
    slot->answer_size += size;
    slot->answer[slot->answer_size] = '\0';
    return size;
}

static struct slot *make_slots(void)
{
    struct slot *slots = calloc((size_t)options.in_flight, sizeof *slots);

    multi = floor_multi(2 * options.in_flight);
    for (int i = 0; i < options.in_flight; i++) {
        slots[i].function = floor_request(options.url, &slots[i]);
        slots[i].sqs = floor_request(endpoint, &slots[i]);
        curl_easy_setopt(slots[i].sqs, CURLOPT_WRITEFUNCTION, take_answer);
        curl_easy_setopt(slots[i].sqs, CURLOPT_WRITEDATA, &slots[i]);
    }
    return slots;
}

static void read_options(int count, char **arguments)
{
    static const struct option known[] = {
        {"queue", 1, NULL, 'q'},     {"region", 1, NULL, 'r'},   {"url", 1, NULL, 'u'},
        {"in-flight", 1, NULL, 'f'}, {"messages", 1, NULL, 'm'}, {NULL, 0, NULL, 0}};
    int option;

    while ((option = getopt_long(count, arguments, "", known, NULL)) >= 0)
        if (option == 'q')
            options.queue = optarg;
        else if (option == 'r')
            options.region = optarg;
        else if (option == 'u')
            options.url = optarg;
        else if (option == 'f')
            options.in_flight = atoi(optarg);
        else if (option == 'm')
            options.messages = atoll(optarg);
        else
            exit(64);
    if (!options.queue || !options.region || !options.url || options.in_flight < 1 ||
        strncmp(options.queue, "http://", 7) != 0)
        die("usage", "floor_sqs --queue URL --region NAME --url U [--in-flight N] [--messages N]");
    host = strndup(options.queue + 7, strcspn(options.queue + 7, "/"));
    if (asprintf(&endpoint, "http://%s/", host) < 0 ||
        asprintf(&queue_arn, "arn:aws:sqs:%s:000000000000:%s", options.region,
                 strrchr(options.queue, '/') + 1) < 0)
        die("usage", "no memory");
}

int main(int count, char **arguments)
{
    struct slot *slots, *slot;
    int running;

    read_options(count, arguments);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    md5 = EVP_MD_CTX_new();
    slots = make_slots();
    for (busy = 0; busy < options.in_flight; busy++)
        receive(&slots[busy]);
    while (busy) {
        curl_multi_perform(multi, &running);
        while ((slot = floor_answer(multi, &counts)))
            advance(slot);
        if (busy)
            curl_multi_poll(multi, NULL, 0, 1000, NULL);
    }
    floor_report(&counts);
    return 0;
}
