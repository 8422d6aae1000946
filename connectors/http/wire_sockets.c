/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "wire_sockets.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM_FIRST 64

struct wire_socket {
    uint32_t wanted;    /* EPOLLIN, EPOLLOUT as curl asked last; 0: none */
    uint32_t known;     /* as epoll has it; 0: it has not */
    bool is_connection; /* opened by wire_sockets_open, so that wire_sockets_close will be called */
};

void wire_sockets_fini(struct wire_sockets *sockets)
{
    free(sockets->by_number);
    *sockets = (struct wire_sockets){.epoll = -1};
}

/* NULL: no memory. */
static struct wire_socket *socket_of(struct wire_sockets *sockets, int fd)
{
    size_t room = sockets->room ? sockets->room : ROOM_FIRST;
    struct wire_socket *longer;

    if ((size_t)fd < sockets->room)
        return &sockets->by_number[fd];
    while (room <= (size_t)fd)
        room *= 2;
    longer = realloc(sockets->by_number, room * sizeof *longer);
    if (!longer)
        return NULL;
    memset(longer + sockets->room, 0, (room - sockets->room) * sizeof *longer);
    sockets->by_number = longer;
    sockets->room = room;
    return &longer[fd];
}

static void tell_epoll(struct wire_sockets *sockets, int fd, uint32_t events)
{
    struct wire_socket *socket = &sockets->by_number[fd];
    struct epoll_event event = {.events = events, .data.fd = fd};
    bool known = socket->known;

    if (socket->known == events)
        return;
    socket->known = events;
    if (!events)
        epoll_ctl(sockets->epoll, EPOLL_CTL_DEL, fd, NULL);
    /* A descriptor that was closed and opened again is unknown to epoll, whatever is known here. */
    else if (epoll_ctl(sockets->epoll, known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &event))
        epoll_ctl(sockets->epoll, known ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd, &event);
}

int wire_sockets_watch(CURL *easy, curl_socket_t fd, int what, void *argument, void *unused)
{
    struct wire_sockets *sockets = argument;
    struct wire_socket *socket = socket_of(sockets, fd);

    (void)easy, (void)unused;
    if (!socket) /* the request ends with its timeout; telling curl would end all */
        return 0;
    socket->wanted = what == CURL_POLL_REMOVE
                         ? 0
                         : (what & CURL_POLL_IN ? EPOLLIN : 0u) | (what & CURL_POLL_OUT ? EPOLLOUT : 0u);
    tell_epoll(sockets, fd, socket->wanted | (socket->is_connection ? EPOLLIN : 0u));
    return 0;
}

int wire_sockets_ready(struct wire_sockets *sockets, int fd, uint32_t events)
{
    const struct wire_socket *socket = socket_of(sockets, fd);

    if (!socket)
        return 0;
    /* An error is told as ready for what was asked: curl's own read or write then says which. */
    if (events & (EPOLLERR | EPOLLHUP))
        events |= socket->wanted;
    events &= socket->wanted;
    if (!events) /* it ended between two requests, or the server speaks unasked */
        tell_epoll(sockets, fd, socket->wanted);
    return (events & EPOLLIN ? CURL_CSELECT_IN : 0) | (events & EPOLLOUT ? CURL_CSELECT_OUT : 0);
}

curl_socket_t wire_sockets_open(void *argument, curlsocktype purpose, struct curl_sockaddr *address)
{
    struct wire_sockets *sockets = argument;
    int fd = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    struct wire_socket *socket = fd < 0 ? NULL : socket_of(sockets, fd);

    (void)purpose;
    if (!socket) {
        if (fd >= 0)
            close(fd);
        return CURL_SOCKET_BAD;
    }
    *socket = (struct wire_socket){.is_connection = true};
    return fd;
}

int wire_sockets_close(void *argument, curl_socket_t fd)
{
    struct wire_socket *socket = socket_of(argument, fd);

    if (socket)
        *socket = (struct wire_socket){0}; /* epoll forgets it by itself */
    return close(fd);
}
