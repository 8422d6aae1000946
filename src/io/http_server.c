/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <microhttpd.h>

#include "base/memory.h"
#include "base/units.h"

#define BACKLOG           64
#define TIMEOUT_S         15u
#define CONNECTION_MEMORY ((size_t)16 * 1024)        /* the headers of a request at most */
#define REFUSED_MAX       (16 * HTTP_SERVER_REQUEST) /* read and dropped so that the 413 is seen */

struct http_server {
    struct MHD_Daemon *daemon;
    http_server_fn handle;
    void *argument;
    char *unix_path; /* NULL: TCP */
    unsigned port;
};

/* One request while its body arrives. */
struct exchange {
    struct buffer body;
    size_t refused; /* bytes beyond what a request may have */
};

/* ---- answering ---- */

static enum MHD_Result queue(struct MHD_Connection *connection, struct http_server_answer *answer)
{
    struct MHD_Response *response;
    enum MHD_Result result;

    if (answer->body.full) {
        buffer_reset(&answer->body);
        buffer_add_text(&answer->body, "the answer is larger than the server allows\n");
        answer->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        answer->content_type = "text/plain; charset=utf-8";
    }
    response = MHD_create_response_from_buffer(answer->body.size, answer->body.data,
                                               MHD_RESPMEM_MUST_COPY);
    buffer_fini(&answer->body);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, answer->content_type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    result = MHD_queue_response(connection, answer->status, response);
    MHD_destroy_response(response);
    return result;
}

static struct http_server_answer plain_answer(unsigned status, const char *text)
{
    struct http_server_answer answer = {.status = status,
                                        .content_type = "text/plain; charset=utf-8"};

    buffer_init(&answer.body, HTTP_SERVER_ANSWER);
    buffer_add_text(&answer.body, text);
    return answer;
}

/* `localhost`, `127.0.0.1`, `[::1]`, each with or without a port. */
static bool names_this_machine(const char *host)
{
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t size = strlen(names[i]);

        if (!strncasecmp(host, names[i], size) && (!host[size] || host[size] == ':'))
            return true;
    }
    return false;
}

static enum MHD_Result answer(struct http_server *server, struct MHD_Connection *connection,
                              const struct exchange *exchange, const char *path, const char *method)
{
    const char *host =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);
    struct http_server_request request = {.method = method,
                                          .path = path,
                                          .body = exchange->body.data,
                                          .body_size = exchange->body.size,
                                          .server = server,
                                          .connection = connection};
    struct http_server_answer reply = plain_answer(MHD_HTTP_OK, "");

    if (!server->unix_path && host && !names_this_machine(host)) {
        reply = plain_answer(MHD_HTTP_FORBIDDEN, "the Host header does not name this machine\n");
    } else if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin")) {
        reply = plain_answer(MHD_HTTP_FORBIDDEN, "requests made by web pages are refused\n");
    } else if (exchange->refused) {
        reply = plain_answer(MHD_HTTP_CONTENT_TOO_LARGE, "the request is too large\n");
    } else {
        server->handle(server->argument, &request, &reply);
    }
    return queue(connection, &reply);
}

/* libmicrohttpd calls it once for the headers, then for each piece of the body, then once more. */
static enum MHD_Result accept_request(void *argument, struct MHD_Connection *connection,
                                      const char *path, const char *method, const char *version,
                                      const char *data, size_t *size, void **context)
{
    struct exchange *exchange = *context;

    if (!exchange) {
        exchange = memory_zero(1, sizeof *exchange);
        buffer_init(&exchange->body, HTTP_SERVER_REQUEST);
        *context = exchange;
        return MHD_YES;
    }
    if (*size) {
        if (exchange->refused || *size > HTTP_SERVER_REQUEST - exchange->body.size)
            exchange->refused += *size;
        else
            buffer_add(&exchange->body, data, *size);
        *size = 0;
        return exchange->refused > REFUSED_MAX ? MHD_NO : MHD_YES;
    }
    return answer(argument, connection, exchange, path, method);
}

static void forget_request(void *argument, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code)
{
    struct exchange *exchange = *context;

    if (!exchange)
        return;
    buffer_fini(&exchange->body);
    free(exchange);
    *context = NULL;
}

const char *http_server_query(const struct http_server_request *request, const char *name)
{
    struct MHD_Connection *connection = (struct MHD_Connection *)request->connection;
    const char *value = NULL;
    size_t size;

    if (MHD_lookup_connection_value_n(connection, MHD_GET_ARGUMENT_KIND, name, strlen(name), &value,
                                      &size) != MHD_YES)
        return NULL;
    return value ? value : "";
}

const char *http_server_header(const struct http_server_request *request, const char *name)
{
    return MHD_lookup_connection_value((struct MHD_Connection *)request->connection,
                                       MHD_HEADER_KIND, name);
}

bool http_server_peer(const struct http_server_request *request, struct unix_socket_peer *ret_peer)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        (struct MHD_Connection *)request->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct stat socket;

    return info && request->server->unix_path && !stat(request->server->unix_path, &socket) &&
           unix_socket_peer_allowed(info->connect_fd, socket.st_gid, ret_peer);
}

static void be_silent(void *argument, const char *format, va_list arguments)
{
}

/* ---- listening ---- */

static int refuse_address(const char *listen, struct fault *fault)
{
    return fault_set(fault,
                     "listen address %s: expected 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or "
                     "unix:/PATH (other machines must not reach it; put a proxy with "
                     "authentication before it for that)",
                     listen);
}

/* Fills in the address; returns its size, or -1 with a fault. */
static int parse_tcp(const char *listen, struct sockaddr_storage *address, struct fault *fault)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    const char *colon = strrchr(listen, ':');
    char host[64];
    int64_t port;

    if (!colon || (size_t)(colon - listen) >= sizeof host ||
        units_parse_integer(colon + 1, &port) || port < 0 || port > 65535)
        return refuse_address(listen, fault);
    memcpy(host, listen, (size_t)(colon - listen));
    host[colon - listen] = '\0';
    memset(address, 0, sizeof *address);
    if (!strcmp(host, "[::1]")) {
        v6->sin6_family = AF_INET6;
        v6->sin6_addr = in6addr_loopback;
        v6->sin6_port = htons((uint16_t)port);
        return sizeof *v6;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)port);
    if (!strcasecmp(host, "localhost"))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &v4->sin_addr) != 1 ||
             ntohl(v4->sin_addr.s_addr) >> 24 != IN_LOOPBACKNET)
        return refuse_address(listen, fault);
    return sizeof *v4;
}

static int listen_tcp(struct http_server *server, const char *listen_at, struct fault *fault)
{
    struct sockaddr_storage address;
    int size = parse_tcp(listen_at, &address, fault), one = 1, fd;
    socklen_t room = sizeof address;

    if (size < 0)
        return -1;
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, (socklen_t)size) || listen(fd, BACKLOG) ||
        getsockname(fd, (struct sockaddr *)&address, &room)) {
        fault_set(fault, "cannot listen at %s: %s%s", listen_at, strerror(errno),
                  errno == EADDRINUSE ? " (is another sluice running?)" : "");
        if (fd >= 0)
            close(fd);
        return -1;
    }
    server->port =
        ntohs(address.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&address)->sin6_port
                                            : ((struct sockaddr_in *)&address)->sin_port);
    return fd;
}

static int listen_unix(struct http_server *server, const char *path, struct fault *fault)
{
    int fd = unix_socket_listen(path, fault);

    if (fd >= 0)
        server->unix_path = memory_text(path);
    return fd;
}

/* ---- life ---- */

static struct MHD_Daemon *start_daemon(struct http_server *server, int fd)
{
    struct MHD_Daemon *daemon;
    sigset_t all, old;

    /* The server's thread takes no signals: they are for the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL, accept_request, server,
        MHD_OPTION_EXTERNAL_LOGGER, be_silent, NULL, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_NOTIFY_COMPLETED, forget_request, NULL, MHD_OPTION_CONNECTION_LIMIT,
        (unsigned)HTTP_SERVER_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return daemon;
}

struct http_server *http_server_start(const char *listen, http_server_fn handle, void *argument,
                                      struct fault *fault)
{
    struct http_server *server = memory_zero(1, sizeof *server);
    int fd;

    server->handle = handle;
    server->argument = argument;
    fd = strncmp(listen, "unix:", 5) ? listen_tcp(server, listen, fault)
                                     : listen_unix(server, listen + 5, fault);
    if (fd < 0) {
        free(server);
        return NULL;
    }
    server->daemon = start_daemon(server, fd);
    if (!server->daemon) {
        fault_set(fault, "cannot start the HTTP server at %s", listen);
        close(fd);
        http_server_stop(server);
        return NULL;
    }
    return server;
}

void http_server_stop(struct http_server *server)
{
    if (!server)
        return;
    if (server->unix_path)
        unlink(server->unix_path);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    free(server->unix_path);
    free(server);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}
