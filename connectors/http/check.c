/* SPDX-License-Identifier: MIT
 * Trying the real thing: of a source a message is asked for, and given back; a place is looked at. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "http.h"

#define TRY_MOST_US (5 * HTTP_SECOND) /* a server that holds a receive open is not waited for longer */

struct trial {
    struct http *http;
    bool answered;
    struct http_fault fault;
    struct http_list list;
};

static void on_trial(void *argument, const struct http_reply *reply)
{
    struct trial *trial = argument;
    const struct http_config *config = trial->http->config;

    trial->answered = true;
    if (!http_judge(trial->http, reply, &trial->fault))
        config->dialect->received(config->instance, &reply->answer, &trial->list, &trial->fault);
}

void http_turn_until(struct http *http, int64_t until_us, const bool *done)
{
    struct pollfd fd = {http_wire_descriptor(http->wire), POLLIN, 0};

    while (!*done && (http->now_us = http_now()) < until_us) {
        int64_t due_us = http_wire_turn(http->wire, http->now_us) - http->now_us;

        http_settle_turn(http);
        if (!*done)
            poll(&fd, 1, due_us < HTTP_SECOND / 20 ? (int)(due_us < 0 ? 0 : due_us / 1000) : 50);
    }
}

bool http_wait_credentials(struct http *http, int64_t until_us)
{
    bool done = false, there;

    http->now_us = http_now();
    while (!http_may_ask(http) && !http->credentials.bad && http_now() < until_us)
        http_turn_until(http, http_now() + HTTP_SECOND / 50, &done);
    there = !http->credentials.bad && http_may_ask(http);
    if (!there && !http->credentials.bad)
        http_fault(&http->credentials.fault, SLUICE_STATE_UNREACHABLE, "no credentials in time");
    return there;
}

static void give_back(struct http *http, struct trial *trial, int64_t until_us)
{
    bool done = false;

    for (struct http_message *message = trial->list.first, *next; message; message = next) {
        next = message->next;
        message->released = true;
        if (http->config->can.releases)
            http_settle_add(http, message, HTTP_RELEASE, 0);
        http_message_done(message);
    }
    trial->list = (struct http_list){.backlog = -1};
    while (!http_settle_flushed(http) && http_now() < until_us && !http->settling.bad)
        http_turn_until(http, http_now() + HTTP_SECOND / 50, &done);
}

static void tell_hold(const struct http *http, const struct sluice_check *check)
{
    const struct http_config *config = http->config;
    char text[HTTP_TEXT];

    if (config->can.extends || (check->hold_us >= 0 && check->hold_us <= config->lease_us))
        return;
    snprintf(text, sizeof text,
             "a message may be worked on longer than its lease of %lld s, which this API cannot renew: it "
             "then comes again, and counts as delivered once more. Raise lease, or bound retry.age",
             (long long)(config->lease_us / HTTP_SECOND));
    check->report(check->cookie, true, text);
}

/* Of a running mapping it is tried again; here somebody has to do something. */
static int report_fault(const struct sluice_check *check, const struct http_fault *fault)
{
    static const char again[] = "; it is tried again";
    size_t size = strlen(fault->text), tail = sizeof again - 1;
    char text[HTTP_TEXT + 64];

    if (size > tail && !strcmp(fault->text + size - tail, again))
        snprintf(text, sizeof text, "%.*s: check the address, the network and the server",
                 (int)(size - tail), fault->text);
    else
        snprintf(text, sizeof text, "%s", fault->text);
    check->report(check->cookie, false, text);
    return -1;
}

/* ---- a place ---- */

struct looking {
    struct http *http;
    const char *destination;
    unsigned step;
    bool answered;
    int outcome; /* as of `looked` */
    struct http_fault fault;
    char found[HTTP_TEXT];
};

static void on_look(void *argument, const struct http_reply *reply)
{
    struct looking *looking = argument;
    const struct http_config *config = looking->http->config;
    long status = reply->answer.status;

    looking->answered = true;
    looking->outcome = http_judge(looking->http, reply, &looking->fault);
    if (status && status / 100 != 3)
        looking->outcome = config->dialect->looked(config->instance, looking->destination, looking->step,
                                                   &reply->answer, &looking->fault, looking->found);
}

static void look_once(struct looking *looking, int64_t until_us)
{
    struct http *http = looking->http;
    const struct http_config *config = http->config;
    struct http_request request = {0};

    looking->answered = false;
    looking->outcome = config->dialect->look(config->instance, looking->destination, looking->step,
                                             &request, &looking->fault);
    if (!looking->outcome && http_ask(http, &request, config->timeout_us, on_look, looking))
        looking->outcome = http_fault(&looking->fault, SLUICE_STATE_FAILED, "no memory for a request");
    http_request_free(&request);
    if (looking->outcome)
        return;
    http_turn_until(http, until_us, &looking->answered);
    if (looking->answered)
        return;
    http_wire_cancel(http->wire, on_look, looking);
    looking->outcome = http_fault(&looking->fault, SLUICE_STATE_UNREACHABLE,
                                  "%.200s does not answer in time; it is tried again", config->can.where);
}

static int check_place(struct http *http, const struct sluice_check *check, int64_t until_us)
{
    struct looking looking = {.http = http};

    if (http->api->abi_minor)
        looking.destination = check->destination;
    do
        look_once(&looking, until_us);
    while (looking.outcome > 0 && ++looking.step);
    if (looking.outcome)
        return report_fault(check, &looking.fault);
    check->report(check->cookie, true, looking.found);
    return 0;
}

/* ---- both ---- */

int http_check(struct http *http, const struct sluice_check *check)
{
    struct http_config *config = http->config;
    int64_t deadline_us = http_now() + check->deadline_us, until_us = http_now() + TRY_MOST_US;
    struct trial trial = {.http = http, .list = {.backlog = -1}};
    struct http_request request = {0};
    char text[HTTP_TEXT + 100];

    http->stopping = true; /* no states are told */
    if (config->dialect->hurry) { /* a receive that is given up may take a message with it */
        config->dialect->hurry(config->instance);
        config->can.wait_us = 0;
    }
    if (until_us > deadline_us)
        until_us = deadline_us;
    if (!http_wait_credentials(http, deadline_us))
        return report_fault(check, &http->credentials.fault);
    if (http->publishes_only)
        return check_place(http, check, deadline_us);
    if (config->dialect->receive(config->instance, 1, &request) ||
        http_ask(http, &request, config->timeout_us + config->can.wait_us, on_trial, &trial))
        http_fault(&trial.fault, SLUICE_STATE_FAILED, "no memory for a request");
    else
        http_turn_until(http, config->can.wait_us ? until_us : deadline_us, &trial.answered);
    http_request_free(&request);
    if (!trial.answered)
        http_wire_cancel(http->wire, on_trial, &trial);
    if (!trial.answered && !config->can.wait_us)
        http_fault(&trial.fault, SLUICE_STATE_UNREACHABLE, "%.200s does not answer in time",
                   config->can.where);
    if (trial.fault.text[0])
        return report_fault(check, &trial.fault);
    snprintf(text, sizeof text, "%.300s %s", config->can.where,
             !trial.answered       ? "takes the request; no message came meanwhile"
             : trial.list.count ? "gives messages; the one that came is given back"
                                : "answers; no message waits");
    give_back(http, &trial, deadline_us);
    check->report(check->cookie, true, text);
    tell_hold(http, check);
    return 0;
}
