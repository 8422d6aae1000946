/* SPDX-License-Identifier: MIT
 * The resources of the control interface: which function answers which method and path. JSON in, JSON
 * out; errors as in RFC 9457: {"title": ..., "status": ..., "detail": ...}.
 *
 * A module adds its resources with a table, before the server starts:
 *
 *   static const struct router_route routes[] = {
 *       {"GET", "/v1/replays/{id}", show_replay},
 *       {"POST", "/v1/replays", begin_replay},
 *       {0},
 *   };
 *   router_add(router, routes, replays);
 *
 * Paths begin with /v1; what changes its meaning gets /v2. */
#ifndef SERVICE_ROUTER_H
#define SERVICE_ROUTER_H

#include <jansson.h>

#include "io/http_server.h"

#define ROUTER_PARAMETERS 4

struct router_call {
    const struct http_server_request *request;  /* its query: http_server_query */
    const char *parameters[ROUTER_PARAMETERS];  /* what stands in the path for each {...}, in order */
    json_t *body;                               /* borrowed; NULL: the request had none */
};

/* Empty at first: status 200, no body, which is sent as {}. */
struct router_answer {
    unsigned status;
    json_t *body; /* the router takes it over */
};

/* Called on a server's thread, one call at a time whatever servers there are; must not block for long:
 * what takes its time gets a resource of its own that tells how far it is. All is valid within the call. */
typedef void (*router_fn)(void *argument, const struct router_call *call,
                          struct router_answer *ret_answer);

struct router_route {
    const char *method; /* NULL ends the table */
    const char *path;   /* a part in braces stands for any text without a slash */
    router_fn handle;
};

struct router;

struct router *router_new(void);
void router_free(struct router *router); /* NULL is fine */

/* Adds the routes of a table, which is borrowed, as is `argument`. An earlier route wins. */
void router_add(struct router *router, const struct router_route *routes, void *argument);

/* Answers a request: with the list of all routes for GET /v1, with 404 for a path that no route has, 405 for another method, 400 where the body is
 * no JSON. `router`: a struct router; the signature is http_server_fn's. */
void router_handle(void *router, const struct http_server_request *request,
                   struct http_server_answer *ret_answer);

/* Makes the answer an error: `status` 400..599 and, as its detail, what was found, what was expected
 * and the cure. More members may be added to ret_answer->body afterwards. */
void router_refuse(struct router_answer *ret_answer, unsigned status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The text of a member of the call's body; NULL where it is absent, null or no text. */
const char *router_body_text(const struct router_call *call, const char *name);

#endif
