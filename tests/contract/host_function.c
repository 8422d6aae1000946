/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "host_function.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fake_host.h"

#define CONNECTIONS 128
#define IDS         20000
#define HEAD_MOST   16384

struct function {
    int listener, port, status;
    pthread_t acceptor, threads[CONNECTIONS];
    int fds[CONNECTIONS];
    int count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool stopping, holding;
    char held[32];
    char *body;
    struct {
        char id[24];
        int times;
    } ids[IDS];
    size_t id_count;
};

struct connection {
    struct function *function;
    int fd;
};

/* Under the lock. */
static void note(struct function *function, const char *id, size_t size)
{
    size_t i = 0;

    while (i < function->id_count && (strlen(function->ids[i].id) != size ||
                                      memcmp(function->ids[i].id, id, size)))
        i++;
    if (i == IDS || size >= sizeof function->ids[0].id)
        abort();
    if (i == function->id_count)
        snprintf(function->ids[function->id_count++].id, sizeof function->ids[0].id, "%.*s",
                 (int)size, id);
    function->ids[i].times++;
}

/* Whether the answer must wait for this body. Under the lock. */
static bool note_all(struct function *function, const char *body)
{
    static const char begin[] = "{\"id\":\"";
    bool held = function->holding && !function->held[0];

    for (const char *at = strstr(body, begin); at; at = strstr(at, begin)) {
        size_t size;

        at += strlen(begin);
        size = strcspn(at, "\"");
        note(function, at, size);
        held |= function->holding && strlen(function->held) == size &&
                !memcmp(function->held, at, size);
    }
    free(function->body);
    function->body = strdup(body);
    pthread_cond_broadcast(&function->changed);
    return held;
}

static char *read_request(int fd)
{
    char head[HEAD_MOST], *length, *body;
    size_t size = 0, wanted, got = 0;

    do {
        if (size + 1 >= sizeof head || recv(fd, head + size, 1, 0) != 1)
            return NULL;
        head[++size] = '\0';
    } while (size < 4 || memcmp(head + size - 4, "\r\n\r\n", 4));
    length = strcasestr(head, "\r\nContent-Length:");
    wanted = length ? strtoul(length + 17, NULL, 10) : 0;
    body = calloc(1, wanted + 1);
    while (got < wanted) {
        ssize_t some = recv(fd, body + got, wanted - got, 0);

        if (some <= 0) {
            free(body);
            return NULL;
        }
        got += (size_t)some;
    }
    return body;
}

static void *serve(void *argument)
{
    struct connection connection = *(struct connection *)argument;
    struct function *function = connection.function;
    char *body;

    free(argument);
    while ((body = read_request(connection.fd))) {
        char answer[100];
        int size;

        pthread_mutex_lock(&function->lock);
        if (note_all(function, body))
            while (function->holding && !function->stopping)
                pthread_cond_wait(&function->changed, &function->lock);
        size = snprintf(answer, sizeof answer, "HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n",
                        function->status);
        pthread_mutex_unlock(&function->lock);
        free(body);
        if (send(connection.fd, answer, (size_t)size, MSG_NOSIGNAL) != size)
            break;
    }
    shutdown(connection.fd, SHUT_RDWR);
    return NULL;
}

static void *accept_all(void *argument)
{
    struct function *function = argument;
    int fd;

    while ((fd = accept(function->listener, NULL, NULL)) >= 0) {
        struct connection *connection = malloc(sizeof *connection);

        *connection = (struct connection){function, fd};
        if (function->count == CONNECTIONS)
            abort();
        function->fds[function->count] = fd;
        if (pthread_create(&function->threads[function->count++], NULL, serve, connection))
            abort();
    }
    return NULL;
}

struct function *function_start(void)
{
    struct function *function = calloc(1, sizeof *function);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    pthread_condattr_t attributes;

    function->status = 200;
    pthread_mutex_init(&function->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&function->changed, &attributes);
    function->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(function->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(function->listener, (struct sockaddr *)&address, &size), 0);
    function->port = ntohs(address.sin_port);
    assert_int_equal(listen(function->listener, CONNECTIONS), 0);
    assert_int_equal(pthread_create(&function->acceptor, NULL, accept_all, function), 0);
    return function;
}

void function_stop(struct function *function)
{
    shutdown(function->listener, SHUT_RDWR);
    pthread_join(function->acceptor, NULL);
    close(function->listener);
    pthread_mutex_lock(&function->lock);
    function->stopping = true;
    pthread_cond_broadcast(&function->changed);
    pthread_mutex_unlock(&function->lock);
    for (int i = 0; i < function->count; i++) {
        shutdown(function->fds[i], SHUT_RDWR);
        pthread_join(function->threads[i], NULL);
        close(function->fds[i]);
    }
    free(function->body);
    free(function);
}

int function_port(struct function *function)
{
    return function->port;
}

void function_answer(struct function *function, int status)
{
    pthread_mutex_lock(&function->lock);
    function->status = status;
    pthread_mutex_unlock(&function->lock);
}

void function_hold(struct function *function, const char *id)
{
    pthread_mutex_lock(&function->lock);
    function->holding = id != NULL;
    snprintf(function->held, sizeof function->held, "%s", id ? id : "");
    pthread_cond_broadcast(&function->changed);
    pthread_mutex_unlock(&function->lock);
}

/* Under the lock. */
static int times_of(struct function *function, const char *id)
{
    for (size_t i = 0; i < function->id_count; i++)
        if (!strcmp(function->ids[i].id, id))
            return function->ids[i].times;
    return 0;
}

int function_seen(struct function *function, const char *id)
{
    int times;

    pthread_mutex_lock(&function->lock);
    times = times_of(function, id);
    pthread_mutex_unlock(&function->lock);
    return times;
}

void function_wait(struct function *function, int prefix, int first, int last, int times)
{
    int64_t until_us = host_now() + host_patience(20 * HOST_SECOND);
    struct timespec until = {.tv_sec = until_us / HOST_SECOND};
    char id[32] = "";
    int failed = 0;

    pthread_mutex_lock(&function->lock);
    for (int i = first; i <= last && !failed; i++) {
        snprintf(id, sizeof id, "%d-%d", prefix, i);
        while (times_of(function, id) < times && !failed)
            failed = pthread_cond_timedwait(&function->changed, &function->lock, &until);
    }
    pthread_mutex_unlock(&function->lock);
    if (failed)
        fail_msg("%s was given %d times, expected %d", id, function_seen(function, id), times);
}

const char *function_body(struct function *function)
{
    return function->body ? function->body : "";
}
