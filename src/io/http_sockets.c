/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_sockets.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/memory.h"

#define DRAIN_MAX             64 /* reads from a stale connection */
#define CURL_LOOKS_FOR_ITSELF 0x080a00

struct http_socket {
    struct http_sockets *sockets;
    int fd;
    bool is_connection; /* opened by http_sockets_open, so that http_sockets_close will be called */
    bool is_ipv6;
    uint16_t port;            /* the local one, 0: not known yet or none */
    uint32_t wanted;          /* EPOLLIN, EPOLLOUT as curl asked last; 0: none */
    struct http_socket *next; /* in sockets->unnamed or a list of sockets->by_port */
};

void http_sockets_init(struct http_sockets *sockets, struct loop *loop, http_sockets_fn ready,
                       void *argument)
{
    *sockets = (struct http_sockets){.loop = loop, .ready = ready, .argument = argument};
}

static struct http_socket *find(const struct http_sockets *sockets, int fd)
{
    return fd >= 0 && (size_t)fd < sockets->room ? sockets->by_number[fd] : NULL;
}

static struct http_socket **list_of(struct http_sockets *sockets, unsigned port)
{
    return port ? &sockets->by_port[port % HTTP_SOCKETS_PORTS] : &sockets->unnamed;
}

static struct http_socket *add(struct http_sockets *sockets, int fd)
{
    size_t room = sockets->room ? sockets->room : 64;

    if ((size_t)fd >= sockets->room) {
        while (room <= (size_t)fd)
            room *= 2;
        sockets->by_number = memory_resize(sockets->by_number, room, sizeof *sockets->by_number);
        memset(sockets->by_number + sockets->room, 0,
               (room - sockets->room) * sizeof *sockets->by_number);
        sockets->room = room;
    }
    sockets->by_number[fd] = memory_zero(1, sizeof **sockets->by_number);
    *sockets->by_number[fd] = (struct http_socket){.sockets = sockets, .fd = fd};
    return sockets->by_number[fd];
}

static void forget(struct http_socket *socket)
{
    struct http_sockets *sockets = socket->sockets;

    if (socket->is_connection) {
        struct http_socket **at = list_of(sockets, socket->port);

        while (*at != socket)
            at = &(*at)->next;
        *at = socket->next;
    }
    loop_unwatch(sockets->loop, socket->fd);
    sockets->by_number[socket->fd] = NULL;
    free(socket);
}

void http_sockets_fini(struct http_sockets *sockets)
{
    for (size_t fd = 0; fd < sockets->room; fd++)
        if (sockets->by_number[fd])
            forget(sockets->by_number[fd]);
    free(sockets->by_number);
    sockets->by_number = NULL;
    sockets->room = 0;
}

/* ---- as curl asks ---- */

static void became_ready(void *argument, uint32_t events)
{
    struct http_socket *socket = argument;
    struct loop *loop = socket->sockets->loop;
    int ready = 0;

    /* An error is told as ready for what was asked: curl's own read or write then says which. */
    if (events & (EPOLLERR | EPOLLHUP))
        events |= socket->wanted;
    if (events & socket->wanted & EPOLLIN)
        ready |= CURL_CSELECT_IN;
    if (events & socket->wanted & EPOLLOUT)
        ready |= CURL_CSELECT_OUT;
    if (ready)
        socket->sockets->ready(socket->sockets->argument, socket->fd, ready);
    else if (socket->wanted)
        loop_watch(loop, socket->fd, socket->wanted, became_ready, socket);
    else
        loop_unwatch(loop, socket->fd);
}

int http_sockets_watch(CURL *easy, curl_socket_t fd, int what, void *argument, void *unused)
{
    struct http_sockets *sockets = argument;
    struct http_socket *socket = find(sockets, fd);

    if (what == CURL_POLL_REMOVE) {
        if (socket && !socket->is_connection)
            forget(socket);
        else if (socket)
            socket->wanted = 0;
        return 0;
    }
    if (!socket)
        socket = add(sockets, fd);
    socket->wanted = (what & CURL_POLL_IN ? EPOLLIN : 0) | (what & CURL_POLL_OUT ? EPOLLOUT : 0);
    /* Where the kernel refuses, the request ends with its timeout. Telling curl would end all. */
    if (socket->wanted)
        loop_watch(sockets->loop, fd, socket->wanted | (socket->is_connection ? EPOLLIN : 0),
                   became_ready, socket);
    return 0;
}

curl_socket_t http_sockets_open(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct http_sockets *sockets = argument;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    struct http_socket *socket;

    if (fd < 0)
        return CURL_SOCKET_BAD;
    if (find(sockets, fd))
        forget(find(sockets, fd));
    socket = add(sockets, fd);
    socket->is_connection = true;
    socket->is_ipv6 = address->family == AF_INET6;
    socket->next = sockets->unnamed;
    sockets->unnamed = socket;
    return fd;
}

int http_sockets_close(void *argument, curl_socket_t fd)
{
    struct http_socket *socket = find(argument, fd);

    if (socket)
        forget(socket);
    return close(fd);
}

/* ---- stale connections ---- */

/* Sorts connections in by their local ports, as far as they have one by now. */
static void name_sockets(struct http_sockets *sockets)
{
    struct http_socket **at = &sockets->unnamed, *socket;

    while ((socket = *at)) {
        struct sockaddr_storage address = {.ss_family = AF_UNSPEC};
        socklen_t size = sizeof address;
        struct http_socket **list;

        if (!getsockname(socket->fd, (struct sockaddr *)&address, &size)) {
            if (address.ss_family == AF_INET)
                socket->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
            else if (address.ss_family == AF_INET6)
                socket->port = ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
        }
        if (!socket->port) {
            at = &socket->next;
            continue;
        }
        *at = socket->next;
        list = list_of(sockets, socket->port);
        socket->next = *list;
        *list = socket;
    }
}

static struct http_socket *find_local(struct http_sockets *sockets, const char *address, int port)
{
    bool is_ipv6 = strchr(address, ':');
    struct http_socket *socket = *list_of(sockets, (unsigned)port);

    while (socket && (socket->port != port || socket->is_ipv6 != is_ipv6))
        socket = socket->next;
    return socket;
}

/* Where it is stale also makes sure that curl, too, finds its end the next time. */
static bool retire_if_stale(const struct http_socket *socket)
{
    char bytes[4096];

    if (recv(socket->fd, bytes, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
        (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return false;
    for (int i = 0; i < DRAIN_MAX && recv(socket->fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0; i++)
        ;
    shutdown(socket->fd, SHUT_RDWR);
    return true;
}

/* Which of the idle ones curl has chosen cannot be told: none may be stale. From 8.10 on curl looks
 * for itself, and no longer says at once which are idle. */
static bool retire_stale_unnamed(const struct http_sockets *sockets)
{
    bool found = false;

    if (curl_version_info(CURLVERSION_NOW)->version_num >= CURL_LOOKS_FOR_ITSELF)
        return false;
    for (const struct http_socket *socket = sockets->unnamed; socket; socket = socket->next)
        found |= !socket->wanted && retire_if_stale(socket);
    return found;
}

bool http_sockets_is_stale(struct http_sockets *sockets, const char *local_address, int local_port)
{
    struct http_socket *socket;

    if (local_port <= 0)
        return retire_stale_unnamed(sockets);
    socket = find_local(sockets, local_address, local_port);
    if (!socket) {
        name_sockets(sockets);
        socket = find_local(sockets, local_address, local_port);
    }
    return socket && retire_if_stale(socket);
}
