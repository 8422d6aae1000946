/* SPDX-License-Identifier: MIT
 * Invocations over HTTP by libcurl's multi interface on a poller's loop. HTTP/1.1 keep-alive, no
 * redirects, no proxy, never a silent second sending of a request, never the answer to another one.
 * One thread; the process ignores SIGPIPE. */
#ifndef IO_HTTP_CLIENT_H
#define IO_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/loop.h"

enum http_auth { HTTP_AUTH_NONE, HTTP_AUTH_BASIC, HTTP_AUTH_BEARER };

/* How to reach a target. All strings are owned by whoever owns the struct; NULL where unset. */
struct http_settings {
    char *url; /* http:// or https:// */
    char *unix_socket;
    int64_t timeout_us;         /* of the whole invocation */
    int64_t connect_timeout_us; /* resolving, connecting, TLS */
    size_t response_bytes;      /* body bytes kept and read at most; more: the transfer fails */
    uint32_t connections;       /* kept open at most: the highest number in flight */
    enum http_auth auth;
    char *username, *password; /* BASIC; password and token are secrets */
    char *token;               /* BEARER */
    char **headers;            /* `Name: value`, NULL-terminated, or NULL; values may be secrets;
                                  they win over a request's headers of the same name */
    char *ca_file;             /* NULL: the system's */
    char *certificate_file, *key_file, *key_password;
    bool insecure; /* tls.verify: false */
};

/* How a request ended, seen from the transport. */
enum http_end {
    HTTP_ANSWERED,        /* `status` holds; the body was read whole */
    HTTP_UNREACHABLE,     /* resolving, connecting or TLS failed, nothing was sent */
    HTTP_CONNECT_TIMEOUT,
    HTTP_TIMEOUT,         /* sent, not answered in time */
    HTTP_BROKEN,          /* closed or reset after something may have been sent, or not HTTP */
    HTTP_TOO_LARGE        /* the answer passed response_bytes; `status` holds */
};

struct http_answer {
    enum http_end end;
    uint32_t status; /* 0 where none came */
    const char *body; /* valid within the callback; up to response_bytes */
    size_t body_size;
    char function_error[64]; /* X-Amz-Function-Error, "" where absent */
    int64_t retry_after_us;  /* Retry-After (seconds or date), 0: absent; clamped to 1 day */
    int64_t duration_us;
    char error[256]; /* for people, where end is not ANSWERED: what failed, with host and port */
};

typedef void (*http_done_fn)(void *argument, const struct http_answer *answer);

/* One request. Body and header memory must stay valid until `done` was called. */
struct http_request {
    const char *body;
    size_t body_size;
    const char *const *headers; /* `Name: value` without line breaks; include Content-Type */
    size_t header_count;
    http_done_fn done; /* called exactly once, from within loop_turn, never from http_client_send */
    void *argument;
};

struct http_client;

/* `settings` are borrowed for the client's life. NULL with a fault (bad URL, unreadable
 * certificate). */
struct http_client *http_client_new(struct loop *loop, const struct http_settings *settings,
                                    struct fault *fault);
/* Requests in flight are abandoned; their `done` is not called. Not from within a `done`. */
void http_client_free(struct http_client *client);

/* Sends a POST. 0, or -1 with a fault where it could not even be begun (then `done` is not called). */
int http_client_send(struct http_client *client, const struct http_request *request,
                     struct fault *fault);

/* Process-wide, once, before threads; and at the end. */
void http_client_global_init(void);
void http_client_global_fini(void);

#endif
