/* SPDX-License-Identifier: MIT
 * Requests with credentials, and how the server is. */
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "http.h"

#define BACKOFF_FIRST_US (HTTP_SECOND / 4)
#define BACKOFF_MOST_US  (30 * HTTP_SECOND)

int64_t http_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * HTTP_SECOND + now.tv_nsec / 1000;
}

/* ---- states ---- */

static void tell_state(struct http *http)
{
    const struct http_side *sides[] = {&http->credentials, &http->receiving, &http->settling};

    if (http->stopping)
        return;
    for (size_t i = 0; i < 3; i++)
        if (sides[i]->bad) {
            http->api->state(http->host, sides[i]->fault.state, sides[i]->fault.text);
            return;
        }
    http->api->state(http->host, http->running ? SLUICE_STATE_RUNNING : SLUICE_STATE_CONNECTING, NULL);
}

static int64_t backoff(unsigned failures)
{
    int64_t pause_us = BACKOFF_FIRST_US << (failures < 10 ? failures : 10);
    uint64_t chance = (uint64_t)http_now() * UINT64_C(0x9e3779b97f4a7c15) >> 33;

    if (pause_us > BACKOFF_MOST_US)
        pause_us = BACKOFF_MOST_US;
    return pause_us / 2 + (int64_t)(chance % (uint64_t)(pause_us / 2 + 1));
}

void http_failed(struct http *http, struct http_side *side, const struct http_fault *fault,
                 int64_t retry_after_us)
{
    int64_t due_us = http->now_us + retry_after_us;

    /* Several requests that fail together are one failure. */
    if (!side->bad || http->now_us >= side->due_us)
        side->due_us = http->now_us + backoff(side->failures++);
    if (side->due_us < due_us)
        side->due_us = due_us;
    side->bad = true;
    if (&side->fault != fault)
        side->fault = *fault;
    tell_state(http);
}

void http_worked(struct http *http, struct http_side *side)
{
    side->failures = 0;
    side->due_us = 0;
    side->bad = false;
    if (side != &http->credentials)
        http->running = true;
    tell_state(http);
}

/* ---- answers ---- */

static uint32_t state_of(long status)
{
    switch (status) {
    case 401:
    case 403:
        return SLUICE_STATE_UNAUTHORISED;
    case 404:
    case 410:
        return SLUICE_STATE_MISSING;
    case 408:
    case 429:
        return SLUICE_STATE_UNREACHABLE;
    default:
        return status >= 500 ? SLUICE_STATE_UNREACHABLE : SLUICE_STATE_FAILED;
    }
}

static const char *cure_of(uint32_t state)
{
    switch (state) {
    case SLUICE_STATE_UNAUTHORISED:
        return ": check the credentials and what they permit";
    case SLUICE_STATE_MISSING:
        return ": check the address and the queue's name";
    case SLUICE_STATE_UNREACHABLE:
        return "; it is tried again";
    default:
        return ": it does not accept the request";
    }
}

int http_judge(struct http *http, const struct http_reply *reply, struct http_fault *fault)
{
    const struct http_config *config = http->config;
    long status = reply->answer.status;
    uint32_t state = state_of(status);

    if (status / 100 == 2)
        return 0;
    if (!status)
        return http_fault(fault, SLUICE_STATE_UNREACHABLE, "%s; it is tried again", reply->problem);
    if (status / 100 == 3)
        return http_fault(fault, SLUICE_STATE_FAILED,
                          "%.200s redirects to %.150s, which is not followed: correct the address",
                          config->can.where, reply->location ? reply->location : "nowhere");
    http_fault(fault, state, "%.200s answers %ld%s", config->can.where, status, cure_of(state));
    if (config->dialect->explain)
        config->dialect->explain(config->instance, &reply->answer, fault);
    return -1;
}

/* ---- credentials ---- */

static void on_credentials(void *argument, const struct http_reply *reply)
{
    struct http *http = argument;
    const struct http_config *config = http->config;
    struct http_fault fault;
    int status;

    http->asking = false;
    if (reply->answer.status) {
        status = config->dialect->authorised(config->instance, &reply->answer, (int64_t)time(NULL), &fault);
    } else {
        status = http_judge(http, reply, &fault);
        if (config->dialect->unanswered)
            status = config->dialect->unanswered(config->instance, (int64_t)time(NULL), &fault);
    }
    if (status)
        http_failed(http, &http->credentials, &fault, reply->retry_after_us);
    else
        http_worked(http, &http->credentials);
}

bool http_may_ask(struct http *http)
{
    const struct http_config *config = http->config;
    struct http_request request = {0};
    struct http_fault fault;
    int status;

    if (!config->dialect->authorise)
        return true;
    if (http->asking || http->now_us < http->credentials.due_us)
        return false;
    status = config->dialect->authorise(config->instance, (int64_t)time(NULL), &request, &fault);
    if (!status)
        return true;
    if (status > 0 && http_wire_send(http->wire, &request, config->timeout_us, on_credentials, http)) {
        status = http_fault(&fault, SLUICE_STATE_FAILED, "no memory for a request");
    } else if (status > 0) {
        http->asking = true;
        return false;
    }
    http_request_free(&request);
    http_failed(http, &http->credentials, &fault, 0);
    return false;
}

int http_ask(struct http *http, struct http_request *request, int64_t timeout_us,
             http_wire_done_fn done, void *argument)
{
    const struct http_config *config = http->config;

    if (config->dialect->sign &&
        config->dialect->sign(config->instance, (int64_t)time(NULL), request)) {
        http_request_free(request);
        return -1;
    }
    return http_wire_send(http->wire, request, timeout_us, done, argument);
}
