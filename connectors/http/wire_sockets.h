/* SPDX-License-Identifier: MIT
 * curl's sockets in an epoll descriptor. Only for wire.c.
 *
 * curl asks for a connection's socket to be watched at the start of a request, and to be forgotten at its
 * end. Telling the kernel each time would be two system calls a request, so a connection stays registered
 * for reading until it is closed, which the close callback tells. Between two requests nothing is to be
 * read but the end of the connection: then it is unregistered, and curl finds out before it uses it again.
 * Other sockets (the resolver's) have no close callback; curl says "remove" before closing those. */
#ifndef HTTP_WIRE_SOCKETS_H
#define HTTP_WIRE_SOCKETS_H

#include <stddef.h>
#include <stdint.h>

#include <curl/curl.h>

struct wire_socket;

struct wire_sockets {
    int epoll; /* borrowed; data.fd of its events is the socket */
    struct wire_socket *by_number; /* by descriptor number */
    size_t room;
};

void wire_sockets_fini(struct wire_sockets *sockets);

/* For CURLOPT_OPENSOCKETFUNCTION, CURLOPT_CLOSESOCKETFUNCTION and CURLMOPT_SOCKETFUNCTION, each with the
 * struct as its argument. */
curl_socket_t wire_sockets_open(void *sockets, curlsocktype purpose, struct curl_sockaddr *address);
int wire_sockets_close(void *sockets, curl_socket_t fd);
int wire_sockets_watch(CURL *easy, curl_socket_t fd, int what, void *sockets, void *unused);

/* Of events that epoll told of the socket, those that curl asked for, as CURL_CSELECT_IN and so on; 0: none. */
int wire_sockets_ready(struct wire_sockets *sockets, int fd, uint32_t events);

#endif
