/* SPDX-License-Identifier: MIT
 * Looking into a queue: messages are received, held until the end of the look, and given back. Their lease
 * outlasts the look by little, so that they come back by themselves where it is killed. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "http.h"

#define GIVE_BACK_US  (10 * HTTP_SECOND) /* for that at the end, at most */
#define LEASE_MORE_US (GIVE_BACK_US + 5 * HTTP_SECOND)
#define EMPTY_MOST    2 /* answers in a row without a message, at the end of a queue */
#define LANE_MOST     700

struct browsing {
    struct http *http;
    const struct sluice_browse *asked;
    bool knows; /* the host of `allow` and what follows */
    int64_t until_us, lease_s;
    struct http_message *taken; /* by `next` */
    uint64_t count;
    size_t bytes;
    bool enough, failed;
    /* Of the request under way: */
    bool answered;
    struct http_fault fault;
    struct http_list list;
    struct http_costs costs;
};

static void fail(struct browsing *browsing, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Some of it is the server's, and it goes to a terminal. */
static void clean(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = ' ';
}

static void fail(struct browsing *browsing, const char *format, ...)
{
    char text[HTTP_TEXT + 200];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    clean(text);
    browsing->failed = browsing->enough = true;
    browsing->asked->fail(browsing->asked->cookie, text);
}

/* What is tried again elsewhere ends a look. */
static void fail_with(struct browsing *browsing, const struct http_fault *fault)
{
    static const char again[] = "; it is tried again";
    size_t size = strlen(fault->text), tail = sizeof again - 1;
    bool is_tried = size > tail && !strcmp(fault->text + size - tail, again);

    fail(browsing, "%.*s", (int)(is_tried ? size - tail : size), fault->text);
}

static bool ends(struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;

    if (!browsing->enough && asked->stopped && asked->stopped(asked->cookie))
        browsing->enough = true;
    if (!browsing->enough && http_now() >= browsing->until_us)
        fail(browsing, "%.300s could not be read to its end in time", browsing->http->config->can.where);
    return browsing->enough;
}

/* Sends it and waits for its answer, which is not given up: it may bring messages. -1: told. */
static int ask(struct browsing *browsing, struct http_request *request, http_wire_done_fn done)
{
    struct http *http = browsing->http;
    const struct http_config *config = http->config;
    int64_t timeout_us = config->timeout_us + HTTP_SECOND;

    browsing->answered = false;
    browsing->fault.text[0] = '\0';
    if (http_ask(http, request, timeout_us, done, browsing))
        http_fault(&browsing->fault, SLUICE_STATE_FAILED, "no memory for a request");
    else
        http_turn_until(http, http_now() + timeout_us + HTTP_SECOND, &browsing->answered);
    if (!browsing->fault.text[0] && browsing->answered)
        return 0;
    if (!browsing->fault.text[0]) {
        http_wire_cancel(http->wire, done, browsing);
        http_fault(&browsing->fault, SLUICE_STATE_UNREACHABLE, "%.200s does not answer in time",
                   config->can.where);
    }
    fail_with(browsing, &browsing->fault);
    return -1;
}

/* ---- what it changes ---- */

static void on_costs(void *argument, const struct http_reply *reply)
{
    struct browsing *browsing = argument;
    struct http *http = browsing->http;
    struct http_fault fault = {.text = ""};

    browsing->answered = true;
    if (http_judge(http, reply, &fault) && (!reply->answer.status || reply->answer.status / 100 == 3))
        browsing->fault = fault;
    else if (http->config->dialect->costed(http->config->instance, &reply->answer, &browsing->costs, &fault))
        browsing->fault = fault;
}

static int find_costs(struct browsing *browsing)
{
    const struct http_config *config = browsing->http->config;
    struct http_request request = {0};
    int failed = config->dialect->costs(config->instance, &request);

    if (!failed)
        failed = ask(browsing, &request, on_costs);
    else
        fail(browsing, "no memory for a request");
    http_request_free(&request);
    return failed;
}

static bool is_allowed(struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;
    const struct http_costs *costs = &browsing->costs;
    char text[2 * HTTP_TEXT], count[64] = "messages";
    int64_t asked_us = http_now();
    int refused;

    if (costs->messages >= 0)
        snprintf(count, sizeof count, "about %" PRId64 " messages", costs->messages);
    snprintf(text, sizeof text,
             "%.300s holds %s. Some of them, %" PRIu64 " and %zu MiB at most, are received, hidden from others "
             "while they are read (%" PRId64 " s at most), and then given back. %s",
             browsing->http->config->can.where, count, asked->most_messages, asked->most_bytes >> 20,
             browsing->lease_s, costs->text);
    clean(text);
    refused = asked->allow(asked->cookie, costs->may_lose, text);
    browsing->until_us += http_now() - asked_us;
    return !refused;
}

/* ---- messages ---- */

static void on_received(void *argument, const struct http_reply *reply)
{
    struct browsing *browsing = argument;
    struct http *http = browsing->http;
    const struct http_config *config = http->config;

    browsing->answered = true;
    if (!http_judge(http, reply, &browsing->fault))
        config->dialect->received(config->instance, &reply->answer, &browsing->list, &browsing->fault);
}

static void show(struct browsing *browsing, struct http_message *message)
{
    const char *source = browsing->http->config->can.source;
    char name[LANE_MOST];
    struct sluice_lane lane = {.name = source, .source = source, .partition = -1};
    struct sluice_message shown;

    if (message->key.data) {
        http_lane_name(source, message->key, name, sizeof name);
        lane.name = name;
    }
    message->position = ++browsing->count;
    browsing->bytes += message->payload.size;
    http_message_convert(message, &shown);
    if (!browsing->enough)
        browsing->enough = browsing->asked->see(browsing->asked->cookie, &lane, &shown, message->headers,
                                                message->header_count) != 0;
}

static void take(struct browsing *browsing)
{
    struct http *http = browsing->http;
    bool extends = http->config->can.first_lease_us && http->config->can.extends;

    for (struct http_message *message = browsing->list.first, *next; message; message = next) {
        next = message->next;
        message->next = browsing->taken;
        browsing->taken = message;
        if (extends) /* the server gave it a lease of its own */
            http_settle_add(http, message, HTTP_EXTEND, browsing->lease_s);
        show(browsing, message);
    }
    browsing->list = (struct http_list){.backlog = -1};
}

static void read_all(struct browsing *browsing)
{
    const struct sluice_browse *asked = browsing->asked;
    const struct http_config *config = browsing->http->config;
    unsigned empty = 0;

    while (browsing->count < asked->most_messages && browsing->bytes < asked->most_bytes &&
           empty < EMPTY_MOST && !ends(browsing)) {
        uint64_t room = asked->most_messages - browsing->count;
        struct http_request request = {0};
        int failed = config->dialect->receive(
            config->instance, room < config->can.receive_most ? (unsigned)room : config->can.receive_most,
            &request);

        if (failed)
            fail(browsing, "no memory for a request");
        else
            failed = ask(browsing, &request, on_received);
        http_request_free(&request);
        if (failed)
            return;
        empty = browsing->list.count ? 0 : empty + 1;
        take(browsing);
    }
    if (empty < EMPTY_MOST && asked->note && !browsing->failed && browsing->count) {
        char text[200];

        snprintf(text, sizeof text, "%" PRIu64 " messages were looked at; there may be more.", browsing->count);
        asked->note(asked->cookie, text);
    }
}

static void give_back(struct browsing *browsing)
{
    struct http *http = browsing->http;
    int64_t until_us = http_now() + GIVE_BACK_US;
    bool done = false;

    for (struct http_message *message = browsing->taken, *next; message; message = next) {
        next = message->next;
        message->released = true;
        if (http->config->can.releases)
            http_settle_add(http, message, HTTP_RELEASE, 0);
        http_message_done(message);
    }
    browsing->taken = NULL;
    while (!http_settle_flushed(http) && http_now() < until_us)
        http_turn_until(http, http_now() + HTTP_SECOND / 50, &done);
    if (!http_settle_flushed(http))
        fail(browsing, "not all of %.300s could be given back%s%.300s; what is hidden comes back within %" PRId64
             " s",
             http->config->can.where, http->settling.bad ? ": " : "",
             http->settling.bad ? http->settling.fault.text : "", browsing->lease_s);
}

/* ---- all of it ---- */

static void look(struct browsing *browsing)
{
    struct http *http = browsing->http;
    struct http_config *config = http->config;
    struct http_fault fault = {.text = ""};

    if (!http_wait_credentials(http, browsing->until_us)) {
        fail_with(browsing, &http->credentials.fault);
        return;
    }
    if (config->dialect->peek(config->instance, browsing->asked->destination, browsing->lease_s, &config->can,
                              &fault)) {
        fail_with(browsing, &fault);
        return;
    }
    if (find_costs(browsing) || !browsing->costs.messages || !is_allowed(browsing))
        return;
    if (http_wait_credentials(http, browsing->until_us)) /* it may have taken long */
        read_all(browsing);
    else
        fail_with(browsing, &http->credentials.fault);
    give_back(browsing);
}

int http_browse(struct http *http, const struct sluice_browse *browse)
{
    const struct http_config *config = http->config;
    struct browsing browsing = {.http = http,
                                .asked = browse,
                                .knows = http->api->abi_minor >= 2,
                                .list = {.backlog = -1}};
    int64_t deadline_us = browse->deadline_us;

    http->stopping = true; /* no states are told */
    if (!config->dialect->peek) {
        fail(&browsing, "messages of the dialect %s cannot be looked into: its API takes them, counts that, and "
                        "cannot be trusted to have them back",
             config->dialect->name);
        return -1;
    }
    if (!browsing.knows || !browse->allow) {
        fail(&browsing, "%.300s cannot be looked into without a trace", config->can.where);
        return -1;
    }
    if (deadline_us > config->can.lease_most_us - LEASE_MORE_US)
        deadline_us = config->can.lease_most_us - LEASE_MORE_US;
    browsing.until_us = http_now() + deadline_us;
    browsing.lease_s = (deadline_us + LEASE_MORE_US + HTTP_SECOND - 1) / HTTP_SECOND;
    look(&browsing);
    return browsing.failed ? -1 : 0;
}
