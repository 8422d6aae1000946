/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <curl/curl.h>

#include "wire_sockets.h"

#define EVENTS_MOST      64
#define HEADERS_MOST     ((size_t)64 << 10) /* bytes of an answer's headers */
#define KEPT_BETWEEN     ((size_t)64 << 10) /* memory for an answer that an idle transfer keeps */
#define RETRY_AFTER_MOST 3600               /* seconds that a server may ask for */
#define IDLE_MOST        32                 /* transfers that wait for work */
#define OWN_HEADERS_MOST 3
#define DATE             "Date:"
#define DATE_MOST        80

struct transfer {
    struct http_wire *wire;
    CURL *easy;
    CURLU *url;     /* what `url_text` says; a queue has few URLs, and reading one takes its time */
    char *url_text; /* NULL: curl reads the request's by itself */
    struct transfer *next, *previous; /* among those under way; next: among the idle */
    struct http_request request;
    struct curl_slist own_headers[OWN_HEADERS_MOST]; /* before those of the request */
    char *body;
    size_t size, room, header_bytes;
    char date[DATE_MOST]; /* as the answer has it; empty: it has none */
    http_wire_done_fn done;
    void *argument;
    bool too_large;
    char detail[CURL_ERROR_SIZE];
};

struct http_wire {
    const struct http_wire_options *options;
    CURLM *multi;
    bool proxied;     /* the environment names a proxy */
    int epoll, event; /* event: an eventfd within epoll */
    int64_t due_us, now_us; /* curl's timer, and this turn's time */
    struct transfer *busy, *idle;
    unsigned idle_count;
    uint64_t ended;
    struct wire_sockets sockets;
};

/* ---- time, as curl asks for it ---- */

static int on_timer(CURLM *multi, long timeout_ms, void *argument)
{
    struct http_wire *wire = argument;

    (void)multi;
    wire->due_us = timeout_ms < 0 ? INT64_MAX : wire->now_us + timeout_ms * 1000;
    return 0;
}

/* ---- one transfer ---- */

static size_t take_body(char *data, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;

    size *= count;
    if (size > transfer->wire->options->answer_most - transfer->size) {
        transfer->too_large = true;
        return 0;
    }
    if (transfer->room - transfer->size <= size) { /* one for the NUL */
        size_t room = (transfer->size + size + 1) * 2;
        char *body = realloc(transfer->body, room);

        if (!body)
            return 0;
        transfer->body = body;
        transfer->room = room;
    }
    memcpy(transfer->body + transfer->size, data, size);
    transfer->size += size;
    transfer->body[transfer->size] = '\0';
    return size;
}

/* Read only where something is wrong, as dates take their time and clocks matter to no answer that is fine. */
static int64_t ahead_of(const struct transfer *transfer)
{
    time_t date = *transfer->date ? curl_getdate(transfer->date, NULL) : -1;

    return date > 0 ? (int64_t)date - (int64_t)time(NULL) : 0;
}

static size_t take_header(char *data, size_t size, size_t count, void *argument)
{
    struct transfer *transfer = argument;

    size *= count;
    if (size > strlen(DATE) && size < DATE_MOST && !strncasecmp(data, DATE, strlen(DATE))) {
        memcpy(transfer->date, data + strlen(DATE), size - strlen(DATE));
        transfer->date[size - strlen(DATE)] = '\0';
    }
    transfer->header_bytes += size;
    transfer->too_large |= transfer->header_bytes > HEADERS_MOST;
    return transfer->too_large ? 0 : size;
}

static void free_transfer(struct transfer *transfer)
{
    curl_easy_cleanup(transfer->easy);
    curl_url_cleanup(transfer->url);
    http_request_free(&transfer->request);
    free(transfer->url_text);
    free(transfer->body);
    free(transfer);
}

static bool names_proxy(void)
{
    static const char *const names[] = {"http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]))
            return true;
    return false;
}

static void set_options(const struct http_wire_options *options, CURL *easy)
{
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(options->connect_timeout_us / 1000));
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L); /* no waiting for a name server that is silent */
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2);
    if (options->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, options->ca_file);
    if (options->certificate_file)
        curl_easy_setopt(easy, CURLOPT_SSLCERT, options->certificate_file);
    if (options->key_file)
        curl_easy_setopt(easy, CURLOPT_SSLKEY, options->key_file);
    if (options->key_password)
        curl_easy_setopt(easy, CURLOPT_KEYPASSWD, options->key_password);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, (long)options->verify);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, options->verify ? 2L : 0L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, take_header);
}

static struct transfer *take_transfer(struct http_wire *wire)
{
    struct transfer *transfer = wire->idle;

    if (transfer) {
        wire->idle = transfer->next;
        wire->idle_count--;
        return transfer;
    }
    transfer = calloc(1, sizeof *transfer);
    if (transfer && !(transfer->easy = curl_easy_init())) {
        free(transfer);
        return NULL;
    }
    if (transfer) {
        transfer->wire = wire;
        set_options(wire->options, transfer->easy);
        if (!wire->proxied) { /* curl need not look into the environment for each request */
            curl_easy_setopt(transfer->easy, CURLOPT_PROXY, "");
            curl_easy_setopt(transfer->easy, CURLOPT_NOPROXY, "*");
        }
        curl_easy_setopt(transfer->easy, CURLOPT_WRITEDATA, transfer);
        curl_easy_setopt(transfer->easy, CURLOPT_HEADERDATA, transfer);
        curl_easy_setopt(transfer->easy, CURLOPT_PRIVATE, transfer);
        curl_easy_setopt(transfer->easy, CURLOPT_ERRORBUFFER, transfer->detail);
        curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETFUNCTION, wire_sockets_open);
        curl_easy_setopt(transfer->easy, CURLOPT_OPENSOCKETDATA, &wire->sockets);
        curl_easy_setopt(transfer->easy, CURLOPT_CLOSESOCKETFUNCTION, wire_sockets_close);
        curl_easy_setopt(transfer->easy, CURLOPT_CLOSESOCKETDATA, &wire->sockets);
    }
    return transfer;
}

static void put_away(struct http_wire *wire, struct transfer *transfer)
{
    http_request_free(&transfer->request);
    if (transfer->room > KEPT_BETWEEN) {
        free(transfer->body);
        transfer->body = NULL;
        transfer->room = 0;
    }
    if (wire->idle_count == IDLE_MOST) {
        free_transfer(transfer);
        return;
    }
    transfer->next = wire->idle;
    wire->idle = transfer;
    wire->idle_count++;
}

static void detach(struct http_wire *wire, struct transfer *transfer)
{
    curl_multi_remove_handle(wire->multi, transfer->easy);
    if (transfer->previous)
        transfer->previous->next = transfer->next;
    else
        wire->busy = transfer->next;
    if (transfer->next)
        transfer->next->previous = transfer->previous;
}

static void set_url(struct transfer *transfer)
{
    const char *url = transfer->request.url;

    if (transfer->url_text && !strcmp(transfer->url_text, url))
        return;
    free(transfer->url_text);
    transfer->url_text = NULL;
    if (!transfer->url)
        transfer->url = curl_url();
    if (transfer->url && !curl_url_set(transfer->url, CURLUPART_URL, url, 0))
        transfer->url_text = strdup(url);
    curl_easy_setopt(transfer->easy, CURLOPT_CURLU, transfer->url_text ? transfer->url : NULL);
    if (!transfer->url_text)
        curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
}

static bool has_header(const struct http_request *request, const char *name)
{
    const struct curl_slist *line = request->headers;

    while (line && strncasecmp(line->data, name, strlen(name)) != 0)
        line = line->next;
    return line;
}

/* The request's headers and ours: no pause for a server's word before a large body, no type that nobody chose, and
 * who it is, which curl's own option would write anew for each request. */
static struct curl_slist *list_headers(struct transfer *transfer)
{
    static const char agent[] = "User-Agent: sluice/" SLUICE_VERSION, type[] = "Content-Type:";
    struct curl_slist *list = transfer->request.headers, *own = transfer->own_headers;

    *own = (struct curl_slist){(char *)(uintptr_t)"Expect:", list};
    list = own++;
    if (!transfer->request.body) {
        *own = (struct curl_slist){(char *)(uintptr_t)type, list};
        list = own++;
    }
    if (!has_header(&transfer->request, "User-Agent:")) {
        *own = (struct curl_slist){(char *)(uintptr_t)agent, list};
        list = own;
    }
    return list;
}

static void set_request(struct transfer *transfer, int64_t timeout_us)
{
    const struct http_request *request = &transfer->request;
    CURL *easy = transfer->easy;
    bool get = !strcmp(request->method, "GET");

    set_url(transfer);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, list_headers(transfer));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)(timeout_us / 1000));
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, NULL);
    if (transfer->wire->proxied)
        curl_easy_setopt(easy, CURLOPT_NOPROXY, request->direct ? "*" : NULL);
    if (get) {
        curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
        return;
    }
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request->body ? request->body : "");
    if (strcmp(request->method, "POST") != 0)
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
}

int http_wire_send(struct http_wire *wire, struct http_request *request, int64_t timeout_us,
                   http_wire_done_fn done, void *argument)
{
    struct transfer *transfer = take_transfer(wire);

    if (!transfer) {
        http_request_free(request);
        return -1;
    }
    transfer->request = *request;
    *request = (struct http_request){0};
    transfer->done = done;
    transfer->argument = argument;
    transfer->size = transfer->header_bytes = 0;
    *transfer->date = '\0';
    transfer->too_large = false;
    *transfer->detail = '\0';
    set_request(transfer, timeout_us);
    if (curl_multi_add_handle(wire->multi, transfer->easy)) {
        put_away(wire, transfer);
        return -1;
    }
    transfer->previous = NULL;
    transfer->next = wire->busy;
    if (wire->busy)
        wire->busy->previous = transfer;
    wire->busy = transfer;
    return 0;
}

/* ---- ends ---- */

static void tell_problem(const struct transfer *transfer, CURLcode code, struct http_reply *reply)
{
    const char *url = transfer->request.url, *host = strstr(url, "://");
    int shown = host ? (int)(host + 3 - url + (int)strcspn(host + 3, "/?#")) : 0;

    reply->too_large = transfer->too_large;
    if (transfer->too_large)
        snprintf(reply->problem, sizeof reply->problem,
                 "%.*s: the answer has more than %zu bytes, or too long headers; fewer messages are asked "
                 "for at once; raise answer_bytes if single ones are so large",
                 shown, url, transfer->wire->options->answer_most);
    else
        snprintf(reply->problem, sizeof reply->problem, "%.*s: %s", shown, url,
                 *transfer->detail ? transfer->detail : curl_easy_strerror(code));
}

static void finish(struct http_wire *wire, struct transfer *transfer, CURLcode code)
{
    struct http_reply reply = {.answer = {.body = ""}};
    curl_off_t retry_after = 0;
    char *location = NULL;

    if (code == CURLE_OK) {
        curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &reply.answer.status);
        curl_easy_getinfo(transfer->easy, CURLINFO_RETRY_AFTER, &retry_after);
        curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &location);
        reply.answer.size = transfer->size;
        reply.answer.ahead_s = reply.answer.status / 100 == 2 ? 0 : ahead_of(transfer);
        if (transfer->size)
            reply.answer.body = transfer->body;
        reply.location = location;
        reply.retry_after_us =
            (retry_after < RETRY_AFTER_MOST ? retry_after : RETRY_AFTER_MOST) * HTTP_SECOND;
    } else {
        tell_problem(transfer, code, &reply);
    }
    detach(wire, transfer);
    wire->ended++;
    transfer->done(transfer->argument, &reply);
    put_away(wire, transfer);
}

static void drain(struct http_wire *wire)
{
    CURLMsg *message;
    int left;

    while ((message = curl_multi_info_read(wire->multi, &left))) {
        CURLcode code = message->data.result;
        struct transfer *transfer = NULL;

        if (message->msg != CURLMSG_DONE)
            continue;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        finish(wire, transfer, code);
    }
}

int64_t http_wire_turn(struct http_wire *wire, int64_t now_us)
{
    struct epoll_event events[EVENTS_MOST];
    int count = epoll_wait(wire->epoll, events, EVENTS_MOST, 0), running;

    wire->now_us = now_us;
    for (int i = 0; i < count; i++) {
        int fd = events[i].data.fd, what;
        eventfd_t woken;

        if (fd == wire->event)
            eventfd_read(wire->event, &woken);
        else if ((what = wire_sockets_ready(&wire->sockets, fd, events[i].events)))
            curl_multi_socket_action(wire->multi, fd, what, &running);
    }
    if (wire->due_us <= now_us) {
        wire->due_us = INT64_MAX;
        curl_multi_socket_action(wire->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    drain(wire);
    return count == EVENTS_MOST ? now_us : wire->due_us;
}

void http_wire_cancel(struct http_wire *wire, http_wire_done_fn done, void *argument)
{
    struct transfer *next;

    for (struct transfer *transfer = wire->busy; transfer; transfer = next) {
        next = transfer->next;
        if (transfer->done == done && transfer->argument == argument) {
            detach(wire, transfer);
            put_away(wire, transfer);
        }
    }
}

/* ---- life ---- */

struct http_wire *http_wire_new(const struct http_wire_options *options)
{
    struct http_wire *wire = calloc(1, sizeof *wire);
    struct epoll_event event = {.events = EPOLLIN};

    if (!wire)
        return NULL;
    wire->options = options;
    wire->proxied = names_proxy();
    wire->due_us = INT64_MAX;
    wire->epoll = epoll_create1(EPOLL_CLOEXEC);
    wire->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    wire->multi = curl_multi_init();
    event.data.fd = wire->event;
    if (wire->epoll < 0 || wire->event < 0 || !wire->multi ||
        epoll_ctl(wire->epoll, EPOLL_CTL_ADD, wire->event, &event)) {
        http_wire_free(wire);
        return NULL;
    }
    wire->sockets.epoll = wire->epoll;
    curl_multi_setopt(wire->multi, CURLMOPT_SOCKETFUNCTION, wire_sockets_watch);
    curl_multi_setopt(wire->multi, CURLMOPT_SOCKETDATA, &wire->sockets);
    curl_multi_setopt(wire->multi, CURLMOPT_TIMERFUNCTION, on_timer);
    curl_multi_setopt(wire->multi, CURLMOPT_TIMERDATA, wire);
    curl_multi_setopt(wire->multi, CURLMOPT_MAXCONNECTS, 32L);
    return wire;
}

void http_wire_free(struct http_wire *wire)
{
    struct transfer *transfer;

    if (!wire)
        return;
    while ((transfer = wire->busy)) {
        detach(wire, transfer);
        free_transfer(transfer);
    }
    while ((transfer = wire->idle)) {
        wire->idle = transfer->next;
        free_transfer(transfer);
    }
    if (wire->multi)
        curl_multi_cleanup(wire->multi);
    wire_sockets_fini(&wire->sockets); /* what was open is closed by now */
    if (wire->epoll >= 0)
        close(wire->epoll);
    if (wire->event >= 0)
        close(wire->event);
    free(wire);
}

uint64_t http_wire_ended(const struct http_wire *wire)
{
    return wire->ended;
}

void http_wire_wake(struct http_wire *wire)
{
    eventfd_write(wire->event, 1);
}

int http_wire_descriptor(const struct http_wire *wire)
{
    return wire->epoll;
}
