/* SPDX-License-Identifier: MIT
 * A scripted HTTP server for tests: a thread per connection, on a port that the kernel gives. The
 * script says what each connection does, also what no decent server would do. */
#ifndef HTTP_TEST_SERVER_H
#define HTTP_TEST_SERVER_H

#include <arpa/inet.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <openssl/ssl.h>

#define SERVER_CONNECTIONS 256

/* libssl is there because libcurl needs it; the tests do not link it. */
#define SSL_CALL(name) ((__typeof__(&name))dlsym(RTLD_DEFAULT, #name))

struct server;

struct peer {
    struct server *server;
    int fd;
    SSL *ssl;
    int number; /* of the connection, from 0 */
    pthread_t thread;
    char *head; /* of the last request: line and headers, NUL-terminated */
    char *body;
    size_t body_size;
};

typedef void (*server_script_fn)(struct peer *peer);

struct server {
    server_script_fn script;
    SSL_CTX *tls;
    int listener, port;
    pthread_t thread;
    atomic_int connections, requests, ended; /* ended: connections closed by the script's end */
    struct peer peers[SERVER_CONNECTIONS];
};

static ssize_t peer_read(struct peer *peer, void *data, size_t size)
{
    if (peer->ssl)
        return SSL_CALL(SSL_read)(peer->ssl, data, (int)size);
    return recv(peer->fd, data, size, 0);
}

static bool peer_write(struct peer *peer, const void *data, size_t size)
{
    const char *at = data;

    while (size) {
        ssize_t done = peer->ssl ? SSL_CALL(SSL_write)(peer->ssl, at, (int)size)
                                 : send(peer->fd, at, size, MSG_NOSIGNAL);

        if (done <= 0)
            return false;
        at += done;
        size -= (size_t)done;
    }
    return true;
}

static bool peer_say(struct peer *peer, const char *text)
{
    return peer_write(peer, text, strlen(text));
}

static bool __attribute__((unused))
peer_header(const struct peer *peer, const char *name, char *ret_value, size_t room)
{
    char pattern[80];
    const char *at;
    size_t size;

    snprintf(pattern, sizeof pattern, "\r\n%s:", name);
    at = strcasestr(peer->head, pattern);
    if (!at)
        return false;
    at += strlen(pattern);
    at += strspn(at, " ");
    size = strcspn(at, "\r");
    snprintf(ret_value, room, "%.*s", (int)size, at);
    return true;
}

/* Reads one request; false at the end of the connection. Counts it. */
static bool peer_receive(struct peer *peer)
{
    char head[65536], length[32] = "0";
    size_t size = 0;

    do {
        if (size + 1 >= sizeof head || peer_read(peer, head + size, 1) != 1)
            return false;
        head[++size] = '\0';
    } while (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4));
    free(peer->head);
    peer->head = strdup(head);
    peer_header(peer, "Content-Length", length, sizeof length);
    free(peer->body);
    peer->body_size = strtoul(length, NULL, 10);
    peer->body = malloc(peer->body_size + 1);
    for (size = 0; size < peer->body_size;) {
        ssize_t got = peer_read(peer, peer->body + size, peer->body_size - size);

        if (got <= 0)
            return false;
        size += (size_t)got;
    }
    peer->body[size] = '\0';
    atomic_fetch_add(&peer->server->requests, 1);
    return true;
}

static void *server_serve(void *argument)
{
    struct peer *peer = argument;

    if (peer->server->tls) {
        peer->ssl = SSL_CALL(SSL_new)(peer->server->tls);
        SSL_CALL(SSL_set_fd)(peer->ssl, peer->fd);
        if (SSL_CALL(SSL_accept)(peer->ssl) > 0)
            peer->server->script(peer);
        SSL_CALL(SSL_shutdown)(peer->ssl);
        SSL_CALL(SSL_free)(peer->ssl);
    } else {
        peer->server->script(peer);
    }
    shutdown(peer->fd, SHUT_RDWR);
    atomic_fetch_add(&peer->server->ended, 1);
    free(peer->head);
    free(peer->body);
    return NULL;
}

static void *server_accept(void *argument)
{
    struct server *server = argument;

    for (;;) {
        int fd = accept(server->listener, NULL, NULL), number = atomic_load(&server->connections);
        struct peer *peer = &server->peers[number];

        if (fd < 0)
            return NULL;
        if (number == SERVER_CONNECTIONS)
            abort();
        *peer = (struct peer){.server = server, .fd = fd, .number = number};
        if (pthread_create(&peer->thread, NULL, server_serve, peer))
            abort();
        atomic_fetch_add(&server->connections, 1);
    }
}

/* `path` not NULL: a Unix socket there. */
static struct server *server_start(server_script_fn script, SSL_CTX *tls, const char *path)
{
    struct server *server = calloc(1, sizeof *server);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr_un unix_address = {.sun_family = AF_UNIX};
    socklen_t size = sizeof address;
    int failed;

    server->script = script;
    server->tls = tls;
    server->listener = socket(path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (path) {
        snprintf(unix_address.sun_path, sizeof unix_address.sun_path, "%s", path);
        failed = bind(server->listener, (struct sockaddr *)&unix_address, sizeof unix_address);
    } else {
        failed = bind(server->listener, (struct sockaddr *)&address, sizeof address) ||
                 getsockname(server->listener, (struct sockaddr *)&address, &size);
        server->port = ntohs(address.sin_port);
    }
    if (failed || listen(server->listener, 128) ||
        pthread_create(&server->thread, NULL, server_accept, server))
        abort();
    return server;
}

static void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    for (int i = 0; i < atomic_load(&server->connections); i++) {
        shutdown(server->peers[i].fd, SHUT_RDWR);
        pthread_join(server->peers[i].thread, NULL);
        close(server->peers[i].fd);
    }
    free(server);
}

#endif
