/* SPDX-License-Identifier: MIT
 * Publishing: one request for each message, a few at a time; sluice itself tries again. */
#include <stdio.h>
#include <stdlib.h>

#include "http.h"

#define PUBLISHINGS_MOST  16
#define DESTINATION_SHOWN 128
#define TOO_LARGE         413 /* the status */

struct http_publishing {
    struct http *http;
    struct http_publishing *next;
    void *cookie;
    char destination[DESTINATION_SHOWN];
    bool refused; /* cannot be sent: told in the next turn */
    bool never;   /* trying it again is of no use */
    struct http_fault refusal;
};

/* How an instance that does nothing else is. */
static void tell_state(struct http *http, const struct http_fault *fault)
{
    if (!http->publishes_only || http->stopping)
        return;
    if (fault)
        http->api->state(http->host, fault->state, fault->text);
    else
        http_worked(http, &http->receiving);
}

static void end_publishing(struct http_publishing *publishing, const char *error, bool never)
{
    struct http *http = publishing->http;
    struct http_publishing **at = &http->publishings;
    char text[HTTP_TEXT + DESTINATION_SHOWN];

    if (error)
        snprintf(text, sizeof text, "publishing to %s: %s", publishing->destination, error);
    while (*at != publishing)
        at = &(*at)->next;
    *at = publishing->next;
    http->publishing_count--;
    if (error && never && SLUICE_HOST_HAS(http->api, unpublishable))
        http->api->unpublishable(http->host, publishing->cookie, text);
    else
        http->api->published(http->host, publishing->cookie, error ? text : NULL);
    free(publishing);
}

/* Whether an answer that is no success speaks of the message, and not of the place. */
static bool refuses_message(const struct http_dialect *dialect, const struct http_answer *answer)
{
    return answer->status == TOO_LARGE ||
           (answer->status && dialect->refuses && dialect->refuses(answer));
}

static void on_published(void *argument, const struct http_reply *reply)
{
    struct http_publishing *publishing = argument;
    struct http *http = publishing->http;
    const struct http_config *config = http->config;
    struct http_fault fault;
    int status = http_judge(http, reply, &fault);
    bool never;

    if (status && fault.state == SLUICE_STATE_UNAUTHORISED && config->dialect->forget)
        config->dialect->forget(config->instance);
    if (!status)
        status = config->dialect->published(config->instance, &reply->answer, &fault);
    never = status && refuses_message(config->dialect, &reply->answer);
    tell_state(http, status && !never ? &fault : NULL);
    end_publishing(publishing, status ? fault.text : NULL, never);
}

int http_publish(struct http *http, const struct sluice_publication *publication)
{
    const struct http_config *config = http->config;
    struct http_publishing *publishing;
    struct http_request request = {0};
    struct http_fault *fault;

    if (http->publishing_count == PUBLISHINGS_MOST || !http_may_ask(http) ||
        !(publishing = calloc(1, sizeof *publishing)))
        return -1;
    publishing->http = http;
    publishing->next = http->publishings;
    publishing->cookie = publication->cookie;
    snprintf(publishing->destination, sizeof publishing->destination, "%s",
             publication->destination ? publication->destination : config->can.source);
    http->publishings = publishing;
    http->publishing_count++;
    fault = &publishing->refusal;
    if (!config->can.publishes)
        http_fault(fault, SLUICE_STATE_FAILED,
                   "%.200s cannot be published to: the mapping has no generic.publish.url",
                   config->can.source);
    else if (config->dialect->publish(config->instance, publication, &request, fault))
        publishing->never = true;
    else if (!http_ask(http, &request, config->timeout_us, on_published, publishing))
        return 0;
    else
        http_fault(fault, SLUICE_STATE_FAILED, "no memory for a request");
    http_request_free(&request);
    publishing->refused = true;
    http_wire_wake(http->wire);
    return 0;
}

void http_publish_turn(struct http *http)
{
    struct http_publishing *next;

    for (struct http_publishing *publishing = http->publishings; publishing; publishing = next) {
        next = publishing->next;
        if (publishing->refused)
            /* Of one that cannot be sent at all: its content, unless the place is missing. */
            end_publishing(publishing, publishing->refusal.text,
                           publishing->never && publishing->refusal.state == SLUICE_STATE_FAILED);
    }
}

void http_publish_give_up(struct http *http)
{
    while (http->publishings) {
        struct http_publishing *publishing = http->publishings;

        /* Whoever is ended is in the list no more. NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
        http_wire_cancel(http->wire, on_published, publishing);
        end_publishing(publishing, "the connector is closed; the message may have been published",
                       false);
    }
}
