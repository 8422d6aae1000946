/* SPDX-License-Identifier: MIT
 * A small HTTP server for this machine only: metrics, health, the control interface. libmicrohttpd
 * on a thread of its own. (Linking it costs about 0.1 MiB: libcurl has already loaded gnutls.) */
#ifndef IO_HTTP_SERVER_H
#define IO_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buffer.h"
#include "base/fault.h"
#include "io/http_server_tls.h"
#include "io/unix_socket.h"

#define HTTP_SERVER_CONNECTIONS 64
#define HTTP_SERVER_REQUEST     ((size_t)1024 * 1024)      /* bytes of a request's body at most */
#define HTTP_SERVER_ADDRESS     64                         /* bytes of an address as text */
#define HTTP_SERVER_ANSWER      ((size_t)64 * 1024 * 1024) /* and of an answer's */

struct http_server;

struct http_server_request {
    const char *method; /* GET, HEAD, POST, PUT, DELETE as sent */
    const char *path;   /* without the query, %XX resolved */
    const char *body;   /* not NUL-terminated */
    size_t body_size;
    const struct http_server *server; /* these two for the functions below */
    const void *connection;
};

struct http_server_answer {
    unsigned status;          /* 200 where the handler leaves it */
    const char *content_type; /* static; text/plain where the handler leaves it */
    const char *challenge;    /* static; the header WWW-Authenticate of a 401 */
    struct buffer body;       /* empty at first; the server frees it */
};

/* Called on the server's thread, one request at a time; must not block for long. All is valid
 * within the call. */
typedef void (*http_server_fn)(void *argument, const struct http_server_request *request,
                               struct http_server_answer *ret_answer);

/* Called once the headers are there, before any of the body is kept: false refuses with the answer, and
 * the body is thrown away as it comes. */
typedef bool (*http_server_admit_fn)(void *argument, const struct http_server_request *request,
                                     struct http_server_answer *ret_answer);

/* The value of `?name=value`, "" for `?name`, NULL where absent. Within the handler. */
const char *http_server_query(const struct http_server_request *request, const char *name);

/* The value of a header, of the first where it comes twice; NULL where absent. Within the handler. */
const char *http_server_header(const struct http_server_request *request, const char *name);

/* Whether the request came over a Unix socket from one who may give orders: root, the user of this
 * process, or a member of the group that the socket's file belongs to. Within the handler. */
bool http_server_peer(const struct http_server_request *request, struct unix_socket_peer *ret_peer);

/* Whether the client has shown a certificate that the CA of the server's present TLS vouches for; its
 * subject. Within the handler. */
bool http_server_certificate(const struct http_server_request *request, char *ret_name,
                             size_t room);

/* The address that the request came from, for the log; "" for a Unix socket. Within the handler. */
void http_server_from(const struct http_server_request *request,
                      char ret_text[HTTP_SERVER_ADDRESS]);

struct http_server_settings {
    const char *listen; /* `127.0.0.1:9090`, `[::1]:9090`, `localhost:9090` (port 0: any), or
                           `unix:/path`: mode 0660, a socket left behind by a dead process is
                           replaced */
    int fd;             /* a socket that listens already, which it takes over; 0: it makes one */
    struct http_server_tls *tls; /* shared; NULL: without */
    bool anywhere;               /* addresses that other machines reach are fine */
    http_server_admit_fn admit;  /* NULL: all are let in */
    http_server_fn handle;
    void *argument; /* of both */
};

/* Starts to serve. So that no web page can reach it through a browser here, a request with an Origin
 * header is answered 403, and so is, over TCP without `anywhere`, one with a Host header that does not
 * name this machine. NULL with a fault; also for an address that other machines could reach, where
 * that was not allowed. */
struct http_server *http_server_start(const struct http_server_settings *settings,
                                      struct fault *fault);
/* Waits for the handler to return, closes all connections, removes a Unix socket that it made. NULL is
 * fine. */
void http_server_stop(struct http_server *server);

/* From now on handshakes show this certificate, and all clients, also those that are connected, are judged
 * by its CA. Shared; only where the server was started with TLS. Any thread. */
void http_server_set_tls(struct http_server *server, struct http_server_tls *tls);

/* The TCP port, 0 for a Unix socket. */
unsigned http_server_port(const struct http_server *server);

/* Whether `listen` is an address that http_server_start takes, with `anywhere` or without. */
int http_server_check_address(const char *listen, bool anywhere, struct fault *fault);

#endif
