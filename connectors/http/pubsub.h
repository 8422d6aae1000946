/* SPDX-License-Identifier: MIT
 * The dialect pubsub, inside. */
#ifndef PUBSUB_H
#define PUBSUB_H

#include <jansson.h>

#include "dialect.h"
#include "pubsub_token.h"

#define PUBSUB_DEADLINE_MOST_S 600

struct pubsub {
    /* "https://.../v1/projects/P/subscriptions/S", without one the topic's; topic may be NULL. */
    char *subscription, *topic;
    char *topics;               /* "https://.../v1/projects/P/topics/" */
    char *source;
    struct pubsub_token *token;
    bool has_subscription;      /* else `subscription` is the topic */
    bool looks;                 /* a pull waits for nothing, see pubsub_peek */
};

/* An answer's object, or NULL with a fault; the caller gives it back. An empty one has no members. */
json_t *pubsub_read(const struct http_answer *answer, struct http_fault *fault);

/* ---- pubsub_browse.c: as of struct http_dialect ---- */

int pubsub_peek(void *dialect, const char *destination, int64_t lease_s, struct http_abilities *abilities,
                struct http_fault *fault);
int pubsub_costs(void *dialect, struct http_request *ret_request);
int pubsub_costed(void *dialect, const struct http_answer *answer, struct http_costs *ret_costs,
                  struct http_fault *fault);

#endif
