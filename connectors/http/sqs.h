/* SPDX-License-Identifier: MIT
 * The dialect sqs, inside. */
#ifndef SQS_H
#define SQS_H

#include <jansson.h>

#include "aws_credentials.h"
#include "dialect.h"
#include "hashes.h"
#include "json_slice.h"

#define SQS_BATCH           10 /* messages of a receive, entries of a batch */
#define SQS_ATTRIBUTES_MOST 50 /* SQS has 10, and as many of its own */

struct sqs {
    struct aws_credentials *credentials;
    struct hashes *hashes;
    struct aws_signer *signer;
    char *region, *account; /* `account`: the queue's owner; NULL: not said */
    char *endpoint;         /* where requests go: "https://sqs.eu-central-1.amazonaws.com/" */
    char *queue;            /* its name */
    char *url;              /* its QueueUrl; NULL: SQS is asked for it */
    char *arn;              /* known with `url` */
    char *where;            /* for people */
    int64_t lease_s, wait_s;
    int64_t ahead_s; /* AWS's clock, where this machine's was found to be wrong */
    bool is_fifo, asks_url;
};

/* ---- sqs_open.c ---- */

/* As `open` and `close` of struct http_dialect. */
void *sqs_open(struct http_reader *reader, int64_t lease_us, struct http_abilities *ret_abilities);
void sqs_close(void *dialect);
/* Takes the queue's URL over. -1: it is none, or no memory; then it is freed. */
int sqs_use_url(struct sqs *sqs, char *url);

/* ---- sqs.c ---- */

/* Builds the request of an action, as `ReceiveMessage`; the JSON is used up, and may be NULL for want of
 * memory. 0, -1: no memory. */
int sqs_request(const struct sqs *sqs, const char *action, json_t *body, struct http_request *ret);
/* The same of a text, which is taken over. */
int sqs_request_text(const struct sqs *sqs, const char *action, char *body, struct http_request *ret);
/* An answer's object, or NULL with a fault; the caller gives it back. */
json_t *sqs_read(const struct http_answer *answer, struct http_fault *fault);

/* ---- sqs_errors.c: what is not well ---- */

#define SQS_CODE_MOST 80

struct sqs_meaning {
    const char *code;
    uint32_t state; /* enum sluice_state */
    const char *cure;
};

/* NULL: nothing that is known. */
const struct sqs_meaning *sqs_errors_meaning(const char *code);
/* The code of an error without its namespace; false: there is none. */
bool sqs_errors_code(json_t *root, char ret[SQS_CODE_MOST]);
/* Its text, borrowed; NULL: there is none. */
json_t *sqs_errors_text(json_t *root);
/* As `refuses` of struct http_dialect. */
bool sqs_errors_refuses(const struct http_answer *answer);

/* ---- sqs_sums.c: whether messages are as they were sent ---- */

/* Bodies whose MD5 is still to be looked at: several together take less time. What they point to is the messages'
 * and the answer's. Begins as all zero. */
struct sqs_sums {
    size_t count;
    struct md5_text bodies[MD5_MANY_MOST];
    struct sluice_bytes ids[MD5_MANY_MOST];
    struct json_slice sums[MD5_MANY_MOST]; /* as the answer has them */
};

/* There must be room. */
void sqs_sums_add(struct sqs_sums *sums, struct sluice_bytes id, struct sluice_bytes body, struct json_slice sum);
/* Looks at all and empties it. 0, also where the library has no MD5; -1 with a fault: one was changed on its way. */
int sqs_sums_check(const struct sqs *sqs, struct sqs_sums *sums, struct http_fault *fault);
/* The same of the attributes of one message, which are as its answer should have them, or NULL. */
int sqs_sums_attributes(json_t *attributes, struct json_slice sum, struct sluice_bytes id,
                        struct http_fault *fault);
bool sqs_is_binary(json_t *attribute);

/* ---- sqs_message.c: messages as they come ---- */

/* Reads the value that is next; the sum of its body is still to be looked at. NULL with a fault where it is not what
 * SQS promises, or has other attributes than were sent. */
struct http_message *sqs_message_read(const struct sqs *sqs, struct json_reader *reader, struct sqs_sums *sums,
                                      struct http_fault *fault);

/* ---- sqs_browse.c: as of struct http_dialect ---- */

int sqs_peek(void *dialect, const char *destination, int64_t lease_s, struct http_abilities *abilities,
             struct http_fault *fault);
int sqs_costs(void *dialect, struct http_request *ret_request);
int sqs_costed(void *dialect, const struct http_answer *answer, struct http_costs *ret_costs,
               struct http_fault *fault);

/* ---- sqs_publish.c ---- */

/* The URL of the queue: this mapping's, or another one of the same account. NULL with a fault. */
char *sqs_url_of(const struct sqs *sqs, const char *destination, struct http_fault *fault);
/* Whether an answer says that the credentials do not allow what was asked. */
bool sqs_may_not(const struct http_answer *answer);

int sqs_publish(void *dialect, const struct sluice_publication *publication,
                struct http_request *ret_request, struct http_fault *fault);
int sqs_published(void *dialect, const struct http_answer *answer, struct http_fault *fault);
int sqs_look(void *dialect, const char *destination, unsigned step, struct http_request *ret_request,
             struct http_fault *fault);
int sqs_looked(void *dialect, const char *destination, unsigned step, const struct http_answer *answer,
               struct http_fault *fault, char ret_found[HTTP_TEXT]);

/* Headers that are more than attributes can be: one attribute with all of them as JSON, a list of
 * [name, value], where a value is a text, {"base64": ...} or null. */
#define SQS_HEADERS "sluice.headers"
#define SQS_KEY     "sluice.key" /* a message's key, where it is not its group */
#define SQS_EMPTY   "sluice.empty" /* the payload is empty, and the body stands for it */
#define SQS_EMPTY_BODY "{}"
/* Headers that the connector makes of what SQS says about a message begin so. */
#define SQS_OWN "sqs:"

#endif
