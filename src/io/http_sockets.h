/* SPDX-License-Identifier: MIT
 * curl's sockets on a loop. Only for http_client.c.
 *
 * curl asks for a connection's socket to be watched at the start of a request, and to be forgotten
 * at its end. Telling the kernel each time would be two system calls a request, so a connection
 * stays registered for reading until it is closed, which the close callback tells. Between two
 * requests nothing is to be read but the end of the connection: then it is unregistered, and is
 * found out before it is used again. Other sockets (the resolver's) have no close callback; curl
 * says "remove" before closing those, and is taken at its word. */
#ifndef IO_HTTP_SOCKETS_H
#define IO_HTTP_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>

#include <curl/curl.h>

#include "io/loop.h"

#define HTTP_SOCKETS_PORTS 256

/* A socket is ready for what curl asked: CURL_CSELECT_IN, CURL_CSELECT_OUT. */
typedef void (*http_sockets_fn)(void *argument, curl_socket_t fd, int events);

struct http_socket;

struct http_sockets {
    struct loop *loop;
    http_sockets_fn ready;
    void *argument;
    struct http_socket **by_number; /* by descriptor number */
    size_t room;
    struct http_socket *unnamed; /* connections of which no port is known yet, */
    struct http_socket *by_port[HTTP_SOCKETS_PORTS]; /* and the others by local port */
};

void http_sockets_init(struct http_sockets *sockets, struct loop *loop, http_sockets_fn ready,
                       void *argument);
void http_sockets_fini(struct http_sockets *sockets);

/* For CURLOPT_OPENSOCKETFUNCTION, CURLOPT_CLOSESOCKETFUNCTION and CURLMOPT_SOCKETFUNCTION, each
 * with the struct as its argument. */
curl_socket_t http_sockets_open(void *sockets, curlsocktype purpose, struct curl_sockaddr *address);
int http_sockets_close(void *sockets, curl_socket_t fd);
int http_sockets_watch(CURL *easy, curl_socket_t fd, int what, void *sockets, void *unused);

/* Whether the kept-alive connection of this local address has something to read, or has ended,
 * before a request was sent on it. What is there would be taken for the answer (libcurl before 8.1
 * does): a second answer to the request before, a 408 of a server tired of waiting; in TLS it is
 * the announcement of the end. Then it is made unfit for good. Of Unix sockets, which have no
 * port, any idle one counts. */
bool http_sockets_is_stale(struct http_sockets *sockets, const char *local_address, int local_port);

#endif
