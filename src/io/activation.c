/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/activation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/units.h"

#define FIRST     3   /* SD_LISTEN_FDS_START */
#define NAME_MOST 255 /* systemd.socket(5), FileDescriptorName= */

struct handed {
    int fd; /* 0: claimed */
    char name[NAME_MOST + 1];
    char address[sizeof(struct sockaddr_un) + sizeof "unix:"];
};

struct activation {
    struct handed sockets[ACTIVATION_MOST];
    size_t count;
};

/* As an option names it; "" for an address that no option can name. */
static void print_address(int fd, char *text, size_t room)
{
    struct sockaddr_storage address = {0};
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)&address;
    const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)&address;
    const struct sockaddr_un *local = (const struct sockaddr_un *)&address;
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN];

    *text = '\0';
    if (getsockname(fd, (struct sockaddr *)&address, &size))
        return;
    if (address.ss_family == AF_INET)
        snprintf(text, room, "%s:%u", inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host),
                 ntohs(v4->sin_port));
    else if (address.ss_family == AF_INET6)
        snprintf(text, room, "[%s]:%u", inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host),
                 ntohs(v6->sin6_port));
    else if (address.ss_family == AF_UNIX && local->sun_path[0] == '/')
        snprintf(text, room, "unix:%.*s", (int)sizeof local->sun_path, local->sun_path);
}

static int take_socket(struct handed *handed, int fd, struct fault *fault)
{
    int listens = 0, type = 0, flags = fcntl(fd, F_GETFL);
    socklen_t size = sizeof listens;

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) || !listens ||
        getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) || type != SOCK_STREAM)
        return fault_set(fault,
                         "LISTEN_FDS: descriptor %d is no stream socket that listens; use "
                         "ListenStream= and Accept=no in the unit",
                         fd);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    handed->fd = fd;
    print_address(fd, handed->address, sizeof handed->address);
    return 0;
}

static int take_sockets(struct activation *activation, int64_t count, struct fault *fault)
{
    const char *names = getenv("LISTEN_FDNAMES");

    if (count > ACTIVATION_MOST)
        return fault_set(fault, "LISTEN_FDS: found %d sockets, expected at most %d", (int)count,
                         ACTIVATION_MOST);
    for (int i = 0; i < count; i++) {
        struct handed *handed = &activation->sockets[i];
        size_t size = names ? strcspn(names, ":") : 0;

        if (take_socket(handed, FIRST + i, fault))
            return -1;
        snprintf(handed->name, sizeof handed->name, "%.*s", (int)size, names ? names : "");
        if (names)
            names += size + (names[size] == ':');
        activation->count++;
    }
    return 0;
}

struct activation *activation_take(struct fault *fault)
{
    const char *process = getenv("LISTEN_PID"), *number = getenv("LISTEN_FDS");
    struct activation *activation = memory_zero(1, sizeof *activation);
    int64_t pid, count;

    if (process && number && !units_parse_integer(process, &pid) && pid == getpid() &&
        !units_parse_integer(number, &count) && count > 0 &&
        take_sockets(activation, count, fault)) {
        activation_free(activation);
        activation = NULL;
    }
    /* They are for this process only. */
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    return activation;
}

void activation_free(struct activation *activation)
{
    if (!activation)
        return;
    for (size_t i = 0; i < activation->count; i++)
        if (activation->sockets[i].fd)
            close(activation->sockets[i].fd);
    free(activation);
}

static bool has_address(const struct handed *handed, const char *listen)
{
    static const char any[] = "unix:";

    return !strcmp(handed->address, listen) ||
           (!strcmp(listen, any) && !strncmp(handed->address, any, strlen(any)));
}

static int claim(struct handed *handed)
{
    int fd = handed->fd;

    handed->fd = 0;
    return fd;
}

int activation_claim(struct activation *activation, const char *name, const char *listen)
{
    static const char local[] = "localhost:";
    char address[64];

    if (listen && !strncasecmp(listen, local, strlen(local))) {
        snprintf(address, sizeof address, "127.0.0.1:%s", listen + strlen(local));
        listen = address;
    }
    for (size_t i = 0; i < activation->count; i++)
        if (activation->sockets[i].fd && !strcmp(activation->sockets[i].name, name))
            return claim(&activation->sockets[i]);
    for (size_t i = 0; listen && i < activation->count; i++)
        if (activation->sockets[i].fd && has_address(&activation->sockets[i], listen))
            return claim(&activation->sockets[i]);
    return 0;
}

int activation_unclaimed(const struct activation *activation, size_t *at,
                         char ret_text[ACTIVATION_TEXT])
{
    for (; *at < activation->count; ++*at) {
        const struct handed *handed = &activation->sockets[*at];

        if (!handed->fd)
            continue;
        snprintf(ret_text, ACTIVATION_TEXT, "%.110s (%.40s)",
                 *handed->address ? handed->address : "an unknown address", handed->name);
        ++*at;
        return 0;
    }
    return -1;
}
