/* SPDX-License-Identifier: MIT
 * A dialect: how one kind of HTTP queue is asked, and what its answers mean. Dialects build requests
 * and read answers; they do no I/O, save reading small files of credentials, and keep no time. When to ask, leases, repetitions, order and all
 * that sluice is told are the same for all of them: see http.h. All functions of one instance are
 * called from one thread. */
#ifndef DIALECT_H
#define DIALECT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <sluice/connector.h>

#define HTTP_SECOND   INT64_C(1000000)
#define HTTP_TEXT     700 /* bytes of a text for people */
#define HTTP_MESSAGES 1000 /* in one answer, at most */
#define HTTP_BODY_MOST ((size_t)64 << 20) /* of a request */

/* ---- requests and answers ---- */

struct curl_slist;

/* A request; all but `method` is its own. Begins as all zero. */
struct http_request {
    const char *method;
    char *url;
    struct curl_slist *headers;
    char *body; /* NULL: none */
    size_t body_size;
    bool direct; /* past proxies: to a service of the machine's own */
};

/* Adds the header `Name: value`. 0, -1: no memory. */
int http_request_header(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The same of the URL, which must be unset. */
int http_request_url(struct http_request *request, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A POST of JSON: takes the text over and sets its headers. -1 where it is NULL or no memory. */
int http_request_json(struct http_request *request, char *text);
void http_request_free(struct http_request *request);

struct http_answer {
    long status;
    const char *body; /* NUL-terminated behind `size` */
    size_t size;
    int64_t ahead_s; /* the server's clock, by its header Date; 0 where it has none, or all is well */
};

/* What is wrong: a state as sluice knows them, and a text that says what was found and what to do. */
struct http_fault {
    uint32_t state; /* enum sluice_state */
    char text[HTTP_TEXT];
};

/* Sets a fault and returns -1. */
int http_fault(struct http_fault *fault, uint32_t state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The same where an answer of status 2xx is not what it should be: the text tells its beginning, unless
 * it is JSON. */
int http_fault_answer(struct http_fault *fault, const struct http_answer *answer, const char *expected);

/* RFC 3339 in UTC, "2026-01-02T03:04:05.678901Z", as milliseconds; 0 where it is something else, or NULL. */
int64_t http_read_time(const char *text);

/* ---- settling ---- */

enum http_action { HTTP_ACKNOWLEDGE = 1, HTTP_RELEASE, HTTP_EXTEND };

enum http_result {
    HTTP_OPEN,  /* not asked yet, or to be asked again */
    HTTP_DONE,
    HTTP_STALE  /* the server knows the receipt no more: the message comes again, or is gone */
};

struct http_message;

struct http_item {
    struct http_message *message;
    int64_t seconds; /* delay of a release, lease of an extension; rounded up */
    uint8_t action;  /* enum http_action */
    uint8_t result;  /* enum http_result */
    bool taken;      /* in a request */
    bool alone;      /* asked in a request of its own, since one together with others was refused */
    struct http_item *next; /* the connector's own */
};

/* ---- messages ---- */

struct http_keep;

/* A message as an answer had it. What it points to is its own memory, from `http_message_keep`. */
struct http_message {
    struct sluice_bytes payload; /* present */
    struct sluice_bytes id;      /* the server's name of the message, the same whenever it comes */
    struct sluice_bytes key;     /* what keeps it in order with others; absent: nothing */
    const char *receipt;         /* names this delivery; for a dialect alone to read */
    struct sluice_header *headers;
    size_t header_count;
    int64_t timestamp_ms; /* 0: unknown */
    uint32_t delivery_count; /* earlier deliveries */

    struct http_keep *kept;
    /* The connector's own, see http.h. */
    struct http_lane *lane;
    struct http_message *next, *previous; /* among all whose lease is ours */
    struct http_message *after;           /* in the lane's row of those not delivered */
    uint64_t position;
    int64_t lease_us; /* when the lease ends */
    unsigned items;   /* that are about it */
    bool delivered, settled, released, extending;
    struct http_item item; /* memory for one of them, as most messages have but one; `message` NULL: not in use */

    size_t room; /* of `memory`, until it was given out */
    max_align_t memory[];
};

/* `room`: as much as the largest that it will be asked to keep, which is then no memory of its own; 0: not
 * known. NULL: no memory. */
struct http_message *http_message_new(size_t room);
/* Copies bytes into memory that lasts as long as the message, a NUL behind them; NULL: no memory.
 * `data` NULL: the memory alone. */
void *http_message_keep(struct http_message *message, const void *data, size_t size);
/* Makes memory of malloc's the message's own. -1: no memory; then it is freed. */
int http_message_take(struct http_message *message, void *memory);
void http_message_free(struct http_message *message);

/* What an answer brought. */
struct http_list {
    struct http_message *first, *last;
    size_t count;
    int64_t backlog; /* messages that wait at the server; -1: it does not tell */
};

void http_list_add(struct http_list *list, struct http_message *message);
void http_list_free(struct http_list *list);

/* ---- options ---- */

struct http_reader {
    const struct sluice_host_api *api;
    const struct sluice_values *values;
    bool refused;
    bool publishing; /* nothing is received: what only receiving needs may be missing */
};

/* Values of options as `struct sluice_values_api` has them. */
const char *http_text(const struct http_reader *reader, const char *name);
int64_t http_number(const struct http_reader *reader, const char *name);
bool http_is_set(const struct http_reader *reader, const char *name);
void http_refuse(struct http_reader *reader, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Refuses where it is not an http:// or https:// address without a trailing slash. */
bool http_check_url(struct http_reader *reader, const char *name, const char *url);
/* The text of an option that must be there with this dialect; refuses and returns NULL if not. */
const char *http_demand(struct http_reader *reader, const char *name, const char *what);

/* ---- the dialect ---- */

/* What an instance can do, filled in by `open`. */
struct http_abilities {
    const char *source; /* the queue's name, for lanes; the dialect's memory */
    const char *where;  /* the server's address, for people; the dialect's memory */
    unsigned receive_most; /* messages in one answer */
    unsigned settle_most;  /* items in one request */
    int64_t first_lease_us; /* of a message that was received; 0: as asked for */
    int64_t lease_most_us, delay_most_us;
    int64_t wait_us; /* the server holds a receive this long until there is a message */
    bool extends, releases, publishes;
};

/* What it changes at the server that messages are received and given back. */
struct http_costs {
    int64_t messages; /* that wait, about; -1: not told */
    bool may_lose;    /* one may be moved elsewhere, or dropped */
    char text[HTTP_TEXT]; /* sentences */
};

/* Adds to the text. */
void http_costs_add(struct http_costs *costs, const char *format, ...) __attribute__((format(printf, 2, 3)));

struct http_dialect {
    const char *name; /* as in `dialect: NAME` */

    /* Reads its options. Refuses what cannot work; then the result is not used. NULL: no memory. */
    void *(*open)(struct http_reader *reader, int64_t lease_us, struct http_abilities *ret_abilities);
    void (*close)(void *dialect);

    /* Credentials, NULL where they never change. `authorise`: 0 they are there and last a while, 1 a
     * request is to be made first, whose answer `authorised` takes (0, or -1 with a fault), -1 with a
     * fault. `now_s`: wall clock. `forget` is called when the server refused them. */
    int (*authorise)(void *dialect, int64_t now_s, struct http_request *ret_request,
                     struct http_fault *fault);
    int (*authorised)(void *dialect, const struct http_answer *answer, int64_t now_s,
                      struct http_fault *fault);
    /* No answer came, as the fault says: 0 where those that are there still last, -1 with a fault that
     * may be better. NULL: -1. */
    int (*unanswered)(void *dialect, int64_t now_s, struct http_fault *fault);
    void (*forget)(void *dialect);
    /* Adds credentials to a request just before it is sent. */
    int (*sign)(void *dialect, int64_t now_s, struct http_request *request);

    /* Asks for at most `count` messages. 0, -1: no memory. */
    int (*receive)(void *dialect, unsigned count, struct http_request *ret_request);
    /* From now on the server shall hold no receive open. NULL: it cannot be told. */
    void (*hurry)(void *dialect);
    /* Reads an answer of status 2xx. On failure nothing is in the list. */
    int (*received)(void *dialect, const struct http_answer *answer, struct http_list *ret_list,
                    struct http_fault *fault);

    /* Asks how many messages wait, where receives do not tell; NULL: they do, or nobody does. 0, -1: no
     * memory. `counted` reads an answer of status 2xx. */
    int (*count)(void *dialect, struct http_request *ret_request);
    int (*counted)(void *dialect, const struct http_answer *answer, int64_t *ret_messages,
                   struct http_fault *fault);

    /* Builds one request of some of the items, the first among them, and marks those as `taken`.
     * Items with `alone` are taken one at a time. 0, -1 with a fault. */
    int (*settle)(void *dialect, struct http_item *const *items, size_t count,
                  struct http_request *ret_request, struct http_fault *fault);
    /* Reads an answer of status 2xx for the items that were taken: sets their results. -1 with a fault:
     * those that are still open are asked for again, after a pause. */
    int (*settled)(void *dialect, const struct http_answer *answer, struct http_item *const *items,
                   size_t count, struct http_fault *fault);

    /* Publishing one message; NULL where it cannot. -1 with a fault: it never can. */
    int (*publish)(void *dialect, const struct sluice_publication *publication,
                   struct http_request *ret_request, struct http_fault *fault);
    int (*published)(void *dialect, const struct http_answer *answer, struct http_fault *fault);
    /* Of an answer to publishing that is no success: whether it is the message that is refused, as it is too
     * large or has what the place never takes. NULL: nothing but 413 says so. */
    bool (*refuses)(const struct http_answer *answer);

    /* Looks at what is published to (`destination`: as of a publication), changing nothing, by one request
     * after another: `step` 0, then each that `looked` asks for. 0, -1 with a fault. */
    int (*look)(void *dialect, const char *destination, unsigned step, struct http_request *ret_request,
                struct http_fault *fault);
    /* Reads an answer, of whatever status; where that is no success the fault says so, and may be made
     * better. 0 with what was found, in words; 1: the next step is to be taken; -1 with the fault. */
    int (*looked)(void *dialect, const char *destination, unsigned step,
                  const struct http_answer *answer, struct http_fault *fault, char ret_found[HTTP_TEXT]);

    /* Looking into a queue by receiving and giving back; NULL where that cannot be. From now on receives are
     * of `destination` (as of a publication; NULL: what the options name), take messages for `lease_s`, and wait
     * for none that is not there; names in `abilities` are made to fit. 0, -1 with a fault: it cannot be looked
     * into. With credentials there. */
    int (*peek)(void *dialect, const char *destination, int64_t lease_s, struct http_abilities *abilities,
                struct http_fault *fault);
    /* Asks what that changes. 0, -1: no memory. `costed` reads an answer of whatever status: where it is no
     * success and no refusal, -1 with the fault, which says so already. */
    int (*costs)(void *dialect, struct http_request *ret_request);
    int (*costed)(void *dialect, const struct http_answer *answer, struct http_costs *ret_costs,
                  struct http_fault *fault);

    /* Makes the best of an answer that is no success: the fault is filled in by its status and may be
     * made better. May be NULL. */
    void (*explain)(void *dialect, const struct http_answer *answer, struct http_fault *fault);
};

extern const struct http_dialect cloudflare_dialect, generic_dialect, pubsub_dialect, sqs_dialect;

#endif
