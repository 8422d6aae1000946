/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/http_client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <curl/curl.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "io/http_end.h"
#include "io/http_options.h"
#include "io/http_sockets.h"

#define HEADERS_MAX       ((size_t)64 * 1024) /* bytes of an answer's headers */
#define BODY_KEPT_BETWEEN ((size_t)64 * 1024) /* memory that an idle transfer keeps */
#define UPLOAD_ROOM_LEAST ((size_t)64 * 1024) /* libcurl's default */
#define UPLOAD_ROOM_MOST  ((size_t)512 * 1024)
#define STALE_MAX         16                  /* stale connections that one request puts up with */

/* One easy handle and what belongs to its present request. Reused. */
struct transfer {
    struct http_client *client;
    CURL *easy;
    struct transfer *next;  /* among the idle ones, */
    struct transfer *older; /* and among all */
    struct http_request request;
    struct curl_slist *headers; /* array, so that a request costs no allocation for its headers */
    size_t header_room;
    size_t upload_room; /* of libcurl's buffer; 0: its default */
    struct buffer body;
    size_t header_bytes;
    int64_t begun_us;
    unsigned sendings;
    unsigned stale_count;
    bool in_flight, stale, body_too_large, headers_too_large;
    char function_error[64];
    int64_t retry_after_us;
    char detail[CURL_ERROR_SIZE];
};

struct http_client {
    struct loop *loop;
    struct http_options options;
    CURLM *multi;
    struct loop_timer timer;
    struct transfer *idle, *newest;
    struct http_sockets sockets;
};

void http_client_global_init(void)
{
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

void http_client_global_fini(void)
{
    curl_global_cleanup();
}

/* ---- ends ---- */

/* Begins again where the connection was found unfit before anything was sent: curl has closed it,
 * and takes another. Whether it was begun. */
static bool begin_again(struct transfer *transfer)
{
    if (!transfer->stale || transfer->sendings || ++transfer->stale_count > STALE_MAX)
        return false;
    transfer->stale = false;
    *transfer->detail = '\0';
    curl_multi_remove_handle(transfer->client->multi, transfer->easy);
    return !curl_multi_add_handle(transfer->client->multi, transfer->easy);
}

/* Where nothing was reached: why, as a number of errno; 0: not known. What curl cannot open, a socket or
 * the resolver's pair of them, it does not tell the reason of. */
static long reason_of(const struct transfer *transfer, CURLcode code)
{
    long reason = 0;
    int probe;

    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &reason);
    if (reason || (code != CURLE_COULDNT_CONNECT && code != CURLE_COULDNT_RESOLVE_HOST))
        return reason;
    probe = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0);
    if (probe >= 0)
        close(probe);
    return probe < 0 && errno == EMFILE ? EMFILE : 0;
}

static void finish(struct transfer *transfer, CURLcode code)
{
    struct http_client *client = transfer->client;
    struct http_answer answer = {.function_error = ""};
    struct http_end_facts facts = {.code = code,
                                   .sendings = transfer->sendings,
                                   .body_too_large = transfer->body_too_large,
                                   .headers_too_large = transfer->headers_too_large,
                                   .detail = transfer->detail};
    long status = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    answer.status = (uint32_t)status;
    answer.end = http_end_classify(&facts);
    if (answer.end != HTTP_ANSWERED) {
        facts.errno_number = reason_of(transfer, code);
        http_end_explain(&facts, &client->options, answer.error, sizeof answer.error);
    }
    answer.body = transfer->body.data;
    answer.body_size = transfer->body.size;
    memcpy(answer.function_error, transfer->function_error, sizeof answer.function_error);
    answer.retry_after_us = transfer->retry_after_us;
    answer.duration_us = clock_now() - transfer->begun_us;

    curl_multi_remove_handle(client->multi, transfer->easy);
    transfer->in_flight = false;
    transfer->request.done(transfer->request.argument, &answer);
    /* Only now: `done` reads the body, and may send another request. */
    if (transfer->body.capacity > BODY_KEPT_BETWEEN)
        buffer_fini(&transfer->body);
    transfer->next = client->idle;
    client->idle = transfer;
}

static void drain(struct http_client *client)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(client->multi, &left))) {
        CURLcode code = message->data.result;
        struct transfer *transfer = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        if (!begin_again(transfer))
            finish(transfer, code);
    }
}

/* ---- sockets and time, as curl asks for them ---- */

static void act(struct http_client *client, curl_socket_t socket, int events)
{
    int running;

    curl_multi_socket_action(client->multi, socket, events, &running);
    drain(client);
}

static void timer_expired(void *argument)
{
    act(argument, CURL_SOCKET_TIMEOUT, 0);
}

/* 0 means at once, which is within this turn: all requests begun in a turn start together. */
static int set_timer(CURLM *multi, long timeout_ms, void *argument)
{
    struct http_client *client = argument;

    loop_set_timer(client->loop, &client->timer,
                   timeout_ms < 0    ? CLOCK_NEVER
                   : timeout_ms == 0 ? loop_now(client->loop)
                                     : clock_now() + timeout_ms * CLOCK_MS);
    return 0;
}

static void socket_ready(void *argument, curl_socket_t fd, int events)
{
    act(argument, fd, events);
}

/* ---- the transfer, as curl calls us ---- */

/* Called before every sending of the request, so also before the silent repetition that curl makes
 * when a kept-alive connection dies under it. A repetition is the engine's decision alone. */
static int before_sending(void *argument, char *remote, char *local, int remote_port,
                          int local_port)
{
    struct transfer *transfer = argument;
    long fresh = 0;

    curl_easy_getinfo(transfer->easy, CURLINFO_NUM_CONNECTS, &fresh);
    if (!fresh && !transfer->sendings &&
        http_sockets_is_stale(&transfer->client->sockets, local, local_port)) {
        transfer->stale = true;
        return CURL_PREREQFUNC_ABORT;
    }
    return ++transfer->sendings > 1 ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    size_t room = transfer->body.cap - transfer->body.size;

    size *= count;
    if (size > room) {
        buffer_add(&transfer->body, data, room);
        transfer->body_too_large = true;
        return 0; /* curl ends the transfer */
    }
    buffer_add(&transfer->body, data, size);
    return size;
}

/* The value of the line where it is header `name`, without spaces and line end; else false. */
static bool header_value(const char *line, size_t size, const char *name, char *ret_value,
                         size_t room)
{
    size_t name_size = strlen(name);

    if (size <= name_size || line[name_size] != ':' || strncasecmp(line, name, name_size))
        return false;
    line += name_size + 1;
    size -= name_size + 1;
    while (size && (*line == ' ' || *line == '\t'))
        line++, size--;
    while (size && (unsigned char)line[size - 1] <= ' ')
        size--;
    if (size >= room)
        size = room - 1;
    memcpy(ret_value, line, size);
    ret_value[size] = '\0';
    return true;
}

static size_t take_header(char *line, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;
    char value[64];

    size *= count;
    transfer->header_bytes += size;
    if (transfer->header_bytes > HEADERS_MAX) {
        transfer->headers_too_large = true;
        return 0;
    }
    if (size > 5 && !memcmp(line, "HTTP/", 5)) {
        /* The final answer after an interim one (1xx): what that said does not hold. */
        transfer->retry_after_us = 0;
        *transfer->function_error = '\0';
    } else if (header_value(line, size, "Retry-After", value, sizeof value)) {
        transfer->retry_after_us = http_end_retry_after(value, clock_wall());
    } else {
        header_value(line, size, "X-Amz-Function-Error", transfer->function_error,
                     sizeof transfer->function_error);
    }
    return size;
}

/* ---- sending ---- */

static int set_callbacks(struct transfer *transfer)
{
    CURL *easy = transfer->easy;
    CURLcode code = CURLE_OK;

#define SET(option, value) (code = code ? code : curl_easy_setopt(easy, option, value))
    SET(CURLOPT_PRIVATE, transfer);
    SET(CURLOPT_ERRORBUFFER, transfer->detail);
    SET(CURLOPT_PREREQFUNCTION, before_sending);
    SET(CURLOPT_PREREQDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, take_body);
    SET(CURLOPT_WRITEDATA, transfer);
    SET(CURLOPT_HEADERFUNCTION, take_header);
    SET(CURLOPT_HEADERDATA, transfer);
    SET(CURLOPT_OPENSOCKETFUNCTION, http_sockets_open);
    SET(CURLOPT_OPENSOCKETDATA, &transfer->client->sockets);
    SET(CURLOPT_CLOSESOCKETFUNCTION, http_sockets_close);
    SET(CURLOPT_CLOSESOCKETDATA, &transfer->client->sockets);
#undef SET
    return code ? -1 : 0;
}

static struct transfer *new_transfer(struct http_client *client, struct fault *fault)
{
    struct transfer *transfer = memory_zero(1, sizeof *transfer);

    transfer->client = client;
    transfer->easy = curl_easy_init();
    if (!transfer->easy || set_callbacks(transfer)) {
        fault_set(fault, "%s: libcurl makes no handle", client->options.place);
        goto failed;
    }
    if (http_options_apply(&client->options, transfer->easy, fault))
        goto failed;
    buffer_init(&transfer->body, client->options.settings->response_bytes);
    transfer->older = client->newest;
    client->newest = transfer;
    return transfer;
failed:
    curl_easy_cleanup(transfer->easy);
    free(transfer);
    return NULL;
}

/* The request's headers, then those of all requests, as curl's list; the texts are not copied. */
static struct curl_slist *list_headers(struct transfer *transfer)
{
    const struct http_options *options = &transfer->client->options;
    const struct http_request *request = &transfer->request;
    struct curl_slist *first = options->headers;

    if (request->header_count > transfer->header_room) {
        transfer->headers =
            memory_resize(transfer->headers, request->header_count, sizeof *transfer->headers);
        transfer->header_room = request->header_count;
    }
    for (size_t i = request->header_count; i-- > 0;) {
        if (http_options_overrides(options, request->headers[i]))
            continue;
        transfer->headers[i] = (struct curl_slist){(char *)request->headers[i], first};
        first = &transfer->headers[i];
    }
    return first;
}

/* libcurl sends one upload buffer's worth in each turn of the loop, so a large body in the 64 KiB it
 * begins with would cost turns, system calls and wake-ups of the function. */
static CURLcode make_upload_room(struct transfer *transfer)
{
    size_t room = UPLOAD_ROOM_LEAST;

    while (room < transfer->request.body_size && room < UPLOAD_ROOM_MOST)
        room *= 2;
    if (room == UPLOAD_ROOM_LEAST || room <= transfer->upload_room)
        return CURLE_OK;
    transfer->upload_room = room;
    return curl_easy_setopt(transfer->easy, CURLOPT_UPLOAD_BUFFERSIZE, (long)room);
}

static int begin(struct transfer *transfer, struct fault *fault)
{
    CURL *easy = transfer->easy;
    const struct http_request *request = &transfer->request;
    CURLMcode code;

    buffer_reset(&transfer->body);
    transfer->header_bytes = 0;
    transfer->sendings = transfer->stale_count = 0;
    transfer->stale = false;
    transfer->body_too_large = transfer->headers_too_large = false;
    *transfer->function_error = *transfer->detail = '\0';
    transfer->retry_after_us = 0;
    transfer->begun_us = clock_now();
    if (curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size) ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body_size ? request->body : "") ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list_headers(transfer)) ||
        make_upload_room(transfer))
        return fault_set(fault, "%s: libcurl refuses the request", transfer->client->options.place);
    code = curl_multi_add_handle(transfer->client->multi, easy);
    if (code)
        return fault_set(fault, "%s: libcurl cannot begin the request: %s",
                         transfer->client->options.place, curl_multi_strerror(code));
    transfer->in_flight = true;
    return 0;
}

int http_client_send(struct http_client *client, const struct http_request *request,
                     struct fault *fault)
{
    struct transfer *transfer = client->idle;

    for (size_t i = 0; i < request->header_count; i++)
        if (strpbrk(request->headers[i], "\r\n"))
            return fault_set(fault, "%s: a line break in the header %.*s", client->options.place,
                             (int)strcspn(request->headers[i], ":\r\n"), request->headers[i]);
    if (transfer)
        client->idle = transfer->next;
    else if (!(transfer = new_transfer(client, fault)))
        return -1;
    transfer->request = *request;
    if (!begin(transfer, fault))
        return 0;
    transfer->next = client->idle;
    client->idle = transfer;
    return -1;
}

/* ---- life ---- */

static int set_multi(struct http_client *client)
{
    CURLM *multi = client->multi;
    long connections = client->options.settings->connections;
    CURLMcode code = CURLM_OK;

#define SET(option, value) (code = code ? code : curl_multi_setopt(multi, option, value))
    SET(CURLMOPT_SOCKETFUNCTION, http_sockets_watch);
    SET(CURLMOPT_SOCKETDATA, &client->sockets);
    SET(CURLMOPT_TIMERFUNCTION, set_timer);
    SET(CURLMOPT_TIMERDATA, client);
    SET(CURLMOPT_MAXCONNECTS, connections > 0 ? connections : 1L);
    SET(CURLMOPT_PIPELINING, (long)CURLPIPE_NOTHING);
#undef SET
    return code ? -1 : 0;
}

struct http_client *http_client_new(struct loop *loop, const struct http_settings *settings,
                                    struct fault *fault)
{
    struct http_client *client = memory_zero(1, sizeof *client);

    client->loop = loop;
    if (http_options_init(&client->options, settings, fault)) {
        free(client);
        return NULL;
    }
    http_sockets_init(&client->sockets, loop, socket_ready, client);
    client->timer = (struct loop_timer){.expired = timer_expired, .argument = client};
    client->multi = curl_multi_init();
    if (!client->multi || set_multi(client)) {
        fault_set(fault, "%s: libcurl makes no multi handle", client->options.place);
        goto failed;
    }
    /* One handle at once, so that libcurl's refusals come now and not with the first message. */
    if (!(client->idle = new_transfer(client, fault)))
        goto failed;
    return client;
failed:
    http_client_free(client);
    return NULL;
}

void http_client_free(struct http_client *client)
{
    if (!client)
        return;
    for (struct transfer *transfer = client->newest, *older; transfer; transfer = older) {
        older = transfer->older;
        if (transfer->in_flight)
            curl_multi_remove_handle(client->multi, transfer->easy);
        curl_easy_cleanup(transfer->easy);
        buffer_fini(&transfer->body);
        free(transfer->headers);
        free(transfer);
    }
    curl_multi_cleanup(client->multi); /* closes the connections, by http_sockets_close */
    http_sockets_fini(&client->sockets);
    loop_set_timer(client->loop, &client->timer, CLOCK_NEVER);
    http_options_fini(&client->options);
    free(client);
}
