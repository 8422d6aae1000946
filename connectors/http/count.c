/* SPDX-License-Identifier: MIT
 * What waits at the server, for people alone: asked for rarely, as it costs a request, and where it is not told
 * nothing else suffers. */
#include <stdio.h>

#include "http.h"

#define EVERY_US   (30 * HTTP_SECOND)
#define REFUSED_US (600 * HTTP_SECOND) /* until permission is tried again */

/* Once, and only where the rest is permitted: else the state says it. */
static void tell_refusal(struct http *http, const struct http_fault *fault)
{
    char text[HTTP_TEXT + 300];

    if (http->count_told || http->receiving.bad)
        return;
    http->count_told = true;
    snprintf(text, sizeof text, "the lag of %.200s is unknown, and all else goes on: %s", http->config->can.source,
             fault->text);
    http->api->log(http->host, SLUICE_LOG_INFO, "lag_unknown", text);
}

static void on_counted(void *argument, const struct http_reply *reply)
{
    struct http *http = argument;
    const struct http_config *config = http->config;
    struct http_fault fault = {0};
    int64_t messages;

    http->counting = false;
    http->count_us = http->now_us + EVERY_US;
    if (!http_judge(http, reply, &fault) &&
        !config->dialect->counted(config->instance, &reply->answer, &messages, &fault)) {
        http->backlog = messages;
        return;
    }
    http->backlog = -1;
    if (fault.state == SLUICE_STATE_UNAUTHORISED) {
        http->count_us = http->now_us + REFUSED_US;
        tell_refusal(http, &fault);
    }
}

int64_t http_count(struct http *http)
{
    const struct http_config *config = http->config;
    struct http_request request = {0};

    if (!config->dialect->count || http->counting || !http->running || http->receiving.bad)
        return INT64_MAX;
    if (http->now_us < http->count_us)
        return http->count_us;
    if (!http_may_ask(http))
        return http->now_us + HTTP_SECOND;
    http->count_us = http->now_us + EVERY_US;
    http->counting = !config->dialect->count(config->instance, &request) &&
                     !http_ask(http, &request, config->timeout_us, on_counted, http);
    if (!http->counting)
        http_request_free(&request);
    return http->count_us;
}
