/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <gnutls/abstract.h>
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
    http_server_admit_fn admit;
    char *unix_path; /* NULL: TCP */
    bool inherited;  /* the socket was handed over, and is not ours to remove */
    bool anywhere;   /* other machines may reach it */
    unsigned port;
    pthread_mutex_t mutex;       /* guards: */
    struct http_server_tls *tls; /* of connections to come; NULL: without */
};

/* A connection with TLS. */
struct secured {
    struct http_server_tls *tls;
};

/* One request while its body arrives. */
struct exchange {
    struct buffer body;
    size_t refused; /* bytes beyond what a request may have */
    bool turned_away;
    struct http_server_answer refusal; /* where turned away */
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
    if (answer->challenge)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, answer->challenge);
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

static struct http_server_request request_of(const struct http_server *server,
                                             struct MHD_Connection *connection, const char *path,
                                             const char *method)
{
    return (struct http_server_request){
        .method = method, .path = path, .server = server, .connection = connection};
}

/* Whether a web page may have made it. */
static bool is_from_a_page(const struct http_server *server, struct MHD_Connection *connection,
                           struct http_server_answer *ret_answer)
{
    const char *host =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST);

    if (!server->unix_path && !server->anywhere && host && !names_this_machine(host))
        *ret_answer =
            plain_answer(MHD_HTTP_FORBIDDEN, "the Host header does not name this machine\n");
    else if (MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Origin"))
        *ret_answer =
            plain_answer(MHD_HTTP_FORBIDDEN, "requests made by web pages are refused\n");
    else
        return false;
    return true;
}

static struct exchange *begin(struct http_server *server, struct MHD_Connection *connection,
                              const char *path, const char *method)
{
    struct http_server_request request = request_of(server, connection, path, method);
    struct exchange *exchange = memory_zero(1, sizeof *exchange);
    struct http_server_answer refusal = plain_answer(MHD_HTTP_UNAUTHORIZED, "");

    buffer_init(&exchange->body, HTTP_SERVER_REQUEST);
    exchange->turned_away =
        is_from_a_page(server, connection, &refusal) ||
        (server->admit && !server->admit(server->argument, &request, &refusal));
    if (exchange->turned_away)
        exchange->refusal = refusal;
    else
        buffer_fini(&refusal.body);
    return exchange;
}

static void keep(struct exchange *exchange, const char *data, size_t size)
{
    if (exchange->turned_away || exchange->refused ||
        size > HTTP_SERVER_REQUEST - exchange->body.size)
        exchange->refused += size;
    else
        buffer_add(&exchange->body, data, size);
}

static enum MHD_Result answer(struct http_server *server, struct MHD_Connection *connection,
                              struct exchange *exchange, const char *path, const char *method)
{
    struct http_server_request request = request_of(server, connection, path, method);
    struct http_server_answer reply;

    if (exchange->turned_away) {
        reply = exchange->refusal;
        exchange->turned_away = false; /* its text is gone now */
    } else if (exchange->refused) {
        reply = plain_answer(MHD_HTTP_CONTENT_TOO_LARGE, "the request is too large\n");
    } else {
        reply = plain_answer(MHD_HTTP_OK, "");
        request.body = exchange->body.data;
        request.body_size = exchange->body.size;
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
        *context = begin(argument, connection, path, method);
        return MHD_YES;
    }
    if (*size) {
        keep(exchange, data, *size);
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
    if (exchange->turned_away)
        buffer_fini(&exchange->refusal.body);
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

/* ---- TLS ---- */

/* Gives a session what the server has now. 0, or -1 without memory. */
static int renew(const struct http_server *server, struct secured *secured, void *session)
{
    pthread_mutex_t *mutex = (pthread_mutex_t *)&server->mutex;
    struct http_server_tls *tls;

    pthread_mutex_lock(mutex);
    tls = http_server_tls_share(server->tls);
    pthread_mutex_unlock(mutex);
    if (http_server_tls_use(tls, session) != 0) {
        http_server_tls_free(tls);
        return -1;
    }
    http_server_tls_free(secured->tls);
    secured->tls = tls;
    return 0;
}

/* NULL: the connection has no TLS. */
static void *session_of(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_GNUTLS_SESSION);

    return info ? info->tls_session : NULL;
}

bool http_server_certificate(const struct http_server_request *request, char *ret_name,
                             size_t room)
{
    struct MHD_Connection *connection = (struct MHD_Connection *)request->connection;
    void *session = session_of(connection);
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);

    return session && info && info->socket_context &&
           renew(request->server, info->socket_context, session) == 0 &&
           http_server_tls_peer(session, ret_name, room);
}

void http_server_from(const struct http_server_request *request,
                      char ret_text[HTTP_SERVER_ADDRESS])
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        (struct MHD_Connection *)request->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info ? info->client_addr : NULL;

    *ret_text = '\0';
    if (address && address->sa_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, ret_text,
                  HTTP_SERVER_ADDRESS);
    else if (address && address->sa_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, ret_text,
                  HTTP_SERVER_ADDRESS);
}

static void be_silent(void *argument, const char *format, va_list arguments)
{
}

/* ---- listening ---- */

static int refuse_address(const char *listen, bool anywhere, struct fault *fault)
{
    if (anywhere)
        return fault_set(fault, "listen address %s: expected ADDRESS:PORT, where ADDRESS is one of "
                         "IPv4, or of IPv6 in brackets, or localhost", listen);
    return fault_set(fault,
                     "listen address %s: expected 127.0.0.1:PORT, [::1]:PORT, localhost:PORT or "
                     "unix:/PATH (other machines must not reach it; put a proxy with "
                     "authentication before it for that)",
                     listen);
}

static bool is_here(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

/* Fills in the address; returns its size, 0 where that is none. */
static socklen_t parse_host(const char *host, uint16_t port, struct sockaddr_storage *address)
{
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
    size_t size = strlen(host);
    char inside[64];

    memset(address, 0, sizeof *address);
    if (size > 2 && *host == '[' && host[size - 1] == ']') {
        snprintf(inside, sizeof inside, "%.*s", (int)size - 2, host + 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        return inet_pton(AF_INET6, inside, &v6->sin6_addr) == 1 ? sizeof *v6 : 0;
    }
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    if (!strcasecmp(host, "localhost"))
        v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    else if (inet_pton(AF_INET, host, &v4->sin_addr) != 1)
        return 0;
    return sizeof *v4;
}

/* Fills in the address; returns its size, or -1 with a fault. */
static int parse_tcp(const char *listen, bool anywhere, struct sockaddr_storage *address,
                     struct fault *fault)
{
    const char *colon = strrchr(listen, ':');
    socklen_t size;
    char host[64];
    int64_t port;

    if (!colon || (size_t)(colon - listen) >= sizeof host ||
        units_parse_integer(colon + 1, &port) || port < 0 || port > 65535)
        return refuse_address(listen, anywhere, fault);
    memcpy(host, listen, (size_t)(colon - listen));
    host[colon - listen] = '\0';
    size = parse_host(host, (uint16_t)port, address);
    if (!size || (!anywhere && !is_here(address)))
        return refuse_address(listen, anywhere, fault);
    return (int)size;
}

int http_server_check_address(const char *listen, bool anywhere, struct fault *fault)
{
    struct sockaddr_storage address;

    if (!strncmp(listen, "unix:", 5))
        return listen[5] == '/' ? 0 : refuse_address(listen, anywhere, fault);
    return parse_tcp(listen, anywhere, &address, fault) < 0 ? -1 : 0;
}

static unsigned port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static int listen_tcp(struct http_server *server, const char *listen_at, struct fault *fault)
{
    struct sockaddr_storage address;
    int size = parse_tcp(listen_at, server->anywhere, &address, fault), one = 1, fd;
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
    server->port = port_of(&address);
    return fd;
}

/* Makes sure that the socket handed over is none that other machines reach, unless they may. */
static int take_over(struct http_server *server, int fd, struct fault *fault)
{
    struct sockaddr_storage address = {0};
    struct sockaddr_un *local = (struct sockaddr_un *)&address;
    socklen_t size = sizeof address;

    server->inherited = true;
    if (getsockname(fd, (struct sockaddr *)&address, &size))
        return fault_set(fault, "the socket handed over: %s", strerror(errno));
    if (address.ss_family == AF_UNIX) {
        server->unix_path = memory_text_n(local->sun_path, sizeof local->sun_path);
        return fd;
    }
    if (address.ss_family != AF_INET && address.ss_family != AF_INET6)
        return fault_set(fault, "the socket handed over is neither TCP nor a Unix socket");
    if (!server->anywhere && !is_here(&address))
        return fault_set(fault, "the socket handed over can be reached by other machines; let its "
                         "unit listen at 127.0.0.1 or [::1]");
    server->port = port_of(&address);
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

/* The certificate is not the daemon's but that of each connection, so that it can be replaced. */
static void note_connection(void *argument, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode what)
{
    struct secured *secured = *context;
    void *session;

    if (what == MHD_CONNECTION_NOTIFY_STARTED) {
        session = session_of(connection);
        *context = secured = session ? memory_zero(1, sizeof *secured) : NULL;
        if (secured)
            renew(argument, secured, session); /* if it fails, so does the handshake */
    } else if (secured) {
        http_server_tls_free(secured->tls);
        free(secured);
        *context = NULL;
    }
}

/* For connections without a certificate: there are none, as note_connection comes first. */
static int have_no_certificate(gnutls_session_t session, const gnutls_datum_t *authorities,
                               int authority_count, const gnutls_pk_algorithm_t *algorithms,
                               int algorithm_count, gnutls_pcert_st **ret_chain,
                               unsigned *ret_length, gnutls_privkey_t *ret_key)
{
    return -1;
}

static struct MHD_Daemon *start_daemon(struct http_server *server, int fd)
{
    bool tls = server->tls != NULL;
    const struct MHD_OptionItem secured[] = {
        {MHD_OPTION_HTTPS_CERT_CALLBACK, 0, (void *)(uintptr_t)have_no_certificate},
        {MHD_OPTION_HTTPS_PRIORITIES, 0, (void *)HTTP_SERVER_TLS_PRIORITIES},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)note_connection, server},
        {MHD_OPTION_END, 0, NULL}};
    const struct MHD_OptionItem plain[] = {{MHD_OPTION_END, 0, NULL}};
    struct MHD_Daemon *daemon;
    sigset_t all, old;

    /* The server's thread takes no signals: they are for the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    /* Without an ITC it would end its thread by shutting the socket down, also for the service manager
       that keeps it. */
    daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ITC | MHD_USE_ERROR_LOG | (tls ? MHD_USE_TLS : 0), 0,
        NULL, NULL, accept_request, server, MHD_OPTION_EXTERNAL_LOGGER, be_silent, NULL,
        MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_NOTIFY_COMPLETED, forget_request, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_SERVER_CONNECTIONS,
        MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        CONNECTION_MEMORY, MHD_OPTION_ARRAY, tls ? secured : plain, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return daemon;
}

struct http_server *http_server_start(const struct http_server_settings *settings,
                                      struct fault *fault)
{
    struct http_server *server = memory_zero(1, sizeof *server);
    int fd;

    server->handle = settings->handle;
    server->admit = settings->admit;
    server->argument = settings->argument;
    server->anywhere = settings->anywhere;
    server->tls = http_server_tls_share(settings->tls);
    pthread_mutex_init(&server->mutex, NULL);
    if (settings->fd)
        fd = take_over(server, settings->fd, fault);
    else if (strncmp(settings->listen, "unix:", 5))
        fd = listen_tcp(server, settings->listen, fault);
    else
        fd = listen_unix(server, settings->listen + 5, fault);
    if (fd < 0) {
        if (settings->fd)
            close(settings->fd);
        http_server_stop(server);
        return NULL;
    }
    server->daemon = start_daemon(server, fd);
    if (!server->daemon) {
        fault_set(fault, "cannot start the HTTP server at %s", settings->listen);
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
    if (server->unix_path && !server->inherited)
        unlink(server->unix_path);
    if (server->daemon)
        MHD_stop_daemon(server->daemon);
    http_server_tls_free(server->tls);
    pthread_mutex_destroy(&server->mutex);
    free(server->unix_path);
    free(server);
}

void http_server_set_tls(struct http_server *server, struct http_server_tls *tls)
{
    struct http_server_tls *old;

    pthread_mutex_lock(&server->mutex);
    old = server->tls;
    server->tls = http_server_tls_share(tls);
    pthread_mutex_unlock(&server->mutex);
    http_server_tls_free(old);
}

unsigned http_server_port(const struct http_server *server)
{
    return server->port;
}
