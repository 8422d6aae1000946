/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/demo_function.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <jansson.h>
#include <microhttpd.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"

#define REQUEST_MOST ((size_t)1024 * 1024)
#define BATCH_MOST   100u
#define CONNECTIONS  32u
#define TIMEOUT_S    30u
#define FAILS_EVERY  6u /* invocations */
#define SLOW_EVERY   9u
#define QUICK_US     (180 * CLOCK_MS)
#define SLOW_US      (1500 * CLOCK_MS)

struct order {
    uint32_t handled;  /* times */
    int32_t partition; /* where it was last seen */
    uint64_t position;
    bool seen, failed;
};

struct demo_function {
    struct MHD_Daemon *daemon;
    unsigned port;
    pthread_mutex_t mutex; /* guards all below */
    pthread_cond_t stopped;
    bool stopping;
    uint32_t slow_running;
    unsigned first; /* order of the invocation that began last, and how many were with it */
    size_t with;
    struct demo_function_status status;
    struct order orders[DEMO_FUNCTION_ORDERS + 1];
};

/* One request: its body while it arrives, then what is in it. */
struct request {
    struct buffer body;
    unsigned numbers[BATCH_MOST]; /* of its orders */
    size_t count;
    char refusal[160];
    const char *failure;
    unsigned status;
    int64_t takes_us;
};

/* ---- what is asked ---- */

static unsigned number_of(const char *id)
{
    long number = id && !strncmp(id, "A-", 2) ? strtol(id + 2, NULL, 10) - 1000 : 0;

    return number > 0 && number <= DEMO_FUNCTION_ORDERS ? (unsigned)number : 0;
}

static void check_order(struct request *request, const char *id, const json_t *order)
{
    json_int_t quantity = json_integer_value(json_object_get(order, "quantity"));
    const char *country = json_string_value(json_object_get(order, "country"));

    if (quantity < 1)
        snprintf(request->refusal, sizeof request->refusal,
                 "%s has quantity %" JSON_INTEGER_FORMAT ", expected 1 or more", id, quantity);
    else if (country && !strcmp(country, "Atlantis"))
        snprintf(request->refusal, sizeof request->refusal, "%s goes to Atlantis, which is nowhere",
                 id);
}

static void read_record(struct demo_function *function, struct request *request,
                        const json_t *record)
{
    const json_t *order = json_object_get(json_object_get(record, "value"), "order");
    const char *id = json_string_value(json_object_get(order, "id"));
    unsigned number = number_of(id);

    if (!number || request->count == BATCH_MOST) {
        snprintf(request->refusal, sizeof request->refusal, "this is not an order of the demo");
        return;
    }
    check_order(request, id, order);
    request->numbers[request->count++] = number;
    pthread_mutex_lock(&function->mutex);
    function->orders[number].seen = true;
    function->orders[number].partition =
        (int32_t)json_integer_value(json_object_get(record, "partition"));
    function->orders[number].position =
        (uint64_t)json_integer_value(json_object_get(record, "position"));
    pthread_mutex_unlock(&function->mutex);
}

static void read_request(struct demo_function *function, struct request *request)
{
    json_t *root =
        json_loadb(request->body.data ? request->body.data : "", request->body.size, 0, NULL);
    json_t *records = json_object_get(root, "records");
    size_t index;
    json_t *record;

    if (!json_array_size(records))
        snprintf(request->refusal, sizeof request->refusal, "there are no records");
    json_array_foreach(records, index, record) read_record(function, request, record);
    json_decref(root);
}

/* ---- how it goes ---- */

/* Several, as the log leaves lines out that are always the same. */
static const char *const failures[3] = {"the database does not answer",
                                        "the payment service timed out", "out of memory"};

/* No order meets a failure twice, so that all good ones are handled in the end. */
static bool may_fail(const struct demo_function *function, const struct request *request)
{
    for (size_t i = 0; i < request->count; i++)
        if (function->orders[request->numbers[i]].failed)
            return false;
    return true;
}

/* Called with the mutex. */
static void decide(struct demo_function *function, struct request *request)
{
    uint32_t turn = ++function->status.invocations;

    request->status = MHD_HTTP_OK;
    request->takes_us = QUICK_US + turn * 37 % 100 * CLOCK_MS;
    if (request->refusal[0]) {
        request->status = MHD_HTTP_BAD_REQUEST;
        request->takes_us = QUICK_US / 2;
    } else if (turn % FAILS_EVERY == 0 && may_fail(function, request)) {
        request->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
        request->failure = failures[function->status.failed % 3];
        for (size_t i = 0; i < request->count; i++)
            function->orders[request->numbers[i]].failed = true;
    } else if (turn % SLOW_EVERY == 0) {
        request->takes_us = SLOW_US;
        function->status.slow++;
    }
}

/* Called with the mutex. */
static void work(struct demo_function *function, const struct request *request)
{
    int64_t until_us = clock_now() + request->takes_us;
    struct timespec until = {.tv_sec = until_us / CLOCK_SECOND,
                             .tv_nsec = until_us % CLOCK_SECOND * 1000};

    function->status.running++;
    function->slow_running += request->takes_us >= SLOW_US;
    function->first = request->count ? request->numbers[0] : 0;
    function->with = request->count;
    while (!function->stopping &&
           pthread_cond_timedwait(&function->stopped, &function->mutex, &until) != ETIMEDOUT)
        ;
    function->status.running--;
    function->slow_running -= request->takes_us >= SLOW_US;
}

/* Called with the mutex. */
static void count(struct demo_function *function, const struct request *request)
{
    struct demo_function_status *status = &function->status;

    if (request->status == MHD_HTTP_BAD_REQUEST)
        status->refused++;
    else if (request->status != MHD_HTTP_OK)
        status->failed++;
    if (request->status != MHD_HTTP_OK)
        return;
    status->succeeded++;
    for (size_t i = 0; i < request->count; i++) {
        uint32_t handled = ++function->orders[request->numbers[i]].handled;

        status->done += handled == 1;
        status->twice += handled == 2;
    }
}

static const char *invoke(struct demo_function *function, struct request *request)
{
    bool stopping;

    read_request(function, request);
    pthread_mutex_lock(&function->mutex);
    decide(function, request);
    work(function, request);
    stopping = function->stopping;
    if (!stopping)
        count(function, request);
    pthread_mutex_unlock(&function->mutex);
    if (stopping)
        return NULL;
    if (request->status == MHD_HTTP_OK)
        return "done\n";
    return request->refusal[0] ? request->refusal : request->failure;
}

/* ---- HTTP ---- */

static enum MHD_Result on_request(void *argument, struct MHD_Connection *connection,
                                  const char *path, const char *method, const char *version,
                                  const char *data, size_t *size, void **context)
{
    struct request *request = *context;
    struct MHD_Response *response;
    enum MHD_Result result;
    const char *text;

    if (!request) {
        request = memory_zero(1, sizeof *request);
        buffer_init(&request->body, REQUEST_MOST);
        *context = request;
        return MHD_YES;
    }
    if (*size) {
        buffer_add(&request->body, data, *size);
        *size = 0;
        return MHD_YES;
    }
    text = invoke(argument, request);
    if (!text)
        return MHD_NO;
    response = MHD_create_response_from_buffer(strlen(text), (void *)text, MHD_RESPMEM_MUST_COPY);
    if (!response)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, "text/plain; charset=utf-8");
    result = MHD_queue_response(connection, request->status, response);
    MHD_destroy_response(response);
    return result;
}

static void forget_request(void *argument, struct MHD_Connection *connection, void **context,
                           enum MHD_RequestTerminationCode code)
{
    struct request *request = *context;

    if (request)
        buffer_fini(&request->body);
    free(request);
    *context = NULL;
}

static int listen_here(unsigned *ret_port, struct fault *fault)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t room = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, room) || listen(fd, CONNECTIONS) ||
        getsockname(fd, (struct sockaddr *)&address, &room)) {
        fault_set(fault, "cannot listen at 127.0.0.1: %s", strerror(errno));
        if (fd >= 0)
            close(fd);
        return -1;
    }
    *ret_port = ntohs(address.sin_port);
    return fd;
}

/* Its threads take no signals: those are for the thread that waits for them. */
static struct MHD_Daemon *start_daemon(struct demo_function *function, int fd)
{
    struct MHD_Daemon *daemon;
    sigset_t all, old;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    daemon = MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_THREAD_PER_CONNECTION, 0,
                              NULL, NULL, on_request, function, MHD_OPTION_LISTEN_SOCKET, fd,
                              MHD_OPTION_NOTIFY_COMPLETED, forget_request, NULL,
                              MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS,
                              MHD_OPTION_CONNECTION_TIMEOUT, TIMEOUT_S, MHD_OPTION_END);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return daemon;
}

struct demo_function *demo_function_start(struct fault *fault)
{
    struct demo_function *function = memory_zero(1, sizeof *function);
    pthread_condattr_t attributes;
    int fd = listen_here(&function->port, fault);

    if (fd < 0) {
        free(function);
        return NULL;
    }
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&function->stopped, &attributes);
    pthread_condattr_destroy(&attributes);
    pthread_mutex_init(&function->mutex, NULL);
    function->daemon = start_daemon(function, fd);
    if (!function->daemon) {
        fault_set(fault, "cannot start the HTTP server of the function");
        close(fd);
        demo_function_stop(function);
        return NULL;
    }
    return function;
}

unsigned demo_function_port(const struct demo_function *function)
{
    return function->port;
}

void demo_function_stop(struct demo_function *function)
{
    if (!function)
        return;
    pthread_mutex_lock(&function->mutex);
    function->stopping = true;
    pthread_cond_broadcast(&function->stopped);
    pthread_mutex_unlock(&function->mutex);
    if (function->daemon)
        MHD_stop_daemon(function->daemon);
    pthread_cond_destroy(&function->stopped);
    pthread_mutex_destroy(&function->mutex);
    free(function);
}

/* ---- looking in ---- */

void demo_function_read_status(struct demo_function *function,
                               struct demo_function_status *ret_status)
{
    char with[32] = "";

    pthread_mutex_lock(&function->mutex);
    *ret_status = function->status;
    if (function->with > 1)
        snprintf(with, sizeof with, " and %zu more", function->with - 1);
    if (!ret_status->running)
        snprintf(ret_status->now, sizeof ret_status->now, "idle");
    else
        snprintf(ret_status->now, sizeof ret_status->now, "order A-%u%s%s", 1000 + function->first,
                 with, function->slow_running ? "; another call is slow today" : "");
    pthread_mutex_unlock(&function->mutex);
}

unsigned demo_function_order_at(struct demo_function *function, int32_t partition,
                                uint64_t position)
{
    unsigned found = 0;

    pthread_mutex_lock(&function->mutex);
    for (unsigned number = 1; number <= DEMO_FUNCTION_ORDERS && !found; number++) {
        const struct order *order = &function->orders[number];

        if (order->seen && order->partition == partition && order->position == position)
            found = number;
    }
    pthread_mutex_unlock(&function->mutex);
    return found;
}
