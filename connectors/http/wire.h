/* SPDX-License-Identifier: MIT
 * Requests under way: libcurl's multi interface behind one descriptor, on the caller's thread, without
 * ever waiting. */
#ifndef HTTP_WIRE_H
#define HTTP_WIRE_H

#include "dialect.h"

struct http_wire;

struct http_wire_options {
    int64_t connect_timeout_us;
    size_t answer_most; /* bytes */
    const char *ca_file, *certificate_file, *key_file, *key_password; /* NULL: none */
    bool verify;
};

/* How a request ended: with an answer (`status` is not 0), or with a text why there is none. */
struct http_reply {
    struct http_answer answer;
    const char *location;   /* of a redirection; NULL: none */
    int64_t retry_after_us; /* 0: not said */
    bool too_large;         /* the problem is the answer's size */
    char problem[HTTP_TEXT / 2];
};

typedef void (*http_wire_done_fn)(void *argument, const struct http_reply *reply);

/* NULL: no memory or descriptors. The options stay the caller's and must last. */
struct http_wire *http_wire_new(const struct http_wire_options *options);
/* Ends what is under way without telling. */
void http_wire_free(struct http_wire *wire);

/* Readable when `http_wire_turn` has something to do; the same for the life of the wire. */
int http_wire_descriptor(const struct http_wire *wire);

/* How many requests have ended so far, but for those that were cancelled. */
uint64_t http_wire_ended(const struct http_wire *wire);
/* Makes the descriptor readable: there is something to do that came from elsewhere. */
void http_wire_wake(struct http_wire *wire);

/* Begins a request, whose memory it takes over. `done` is called within a turn, exactly once. -1: no
 * memory; the request is freed all the same. */
int http_wire_send(struct http_wire *wire, struct http_request *request, int64_t timeout_us,
                   http_wire_done_fn done, void *argument);

/* Ends the requests of this `done` and argument without telling. */
void http_wire_cancel(struct http_wire *wire, http_wire_done_fn done, void *argument);

/* Does what can be done now, and returns when it wants to be called again at the latest (monotonic
 * microseconds; INT64_MAX: no need). */
int64_t http_wire_turn(struct http_wire *wire, int64_t now_us);

#endif
