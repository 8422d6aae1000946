/* SPDX-License-Identifier: MIT
 * Asks the running service over its control socket. */
#ifndef IO_CONTROL_CLIENT_H
#define IO_CONTROL_CLIENT_H

#include <stdint.h>

#include <jansson.h>

#include "base/fault.h"

enum control_outcome {
    CONTROL_ANSWERED,    /* with a status below 400 */
    CONTROL_REFUSED,     /* with 400 or above; the fault holds the answer's detail */
    CONTROL_FORBIDDEN,   /* this user may not */
    CONTROL_NOT_RUNNING, /* nothing serves the socket */
    CONTROL_FAILED       /* no answer in time, or none that can be read */
};

/* Sends one request: `method` GET, POST or DELETE, `path` from /v1 on with its query, `body` may be
 * NULL and stays the caller's. Blocks for `timeout_us` at most. *ret_answer is a new reference, NULL
 * where there was no JSON. `fault` is set unless CONTROL_ANSWERED. http_client_global_init first. */
enum control_outcome control_client_ask(const char *socket, const char *method, const char *path,
                                        const json_t *body, int64_t timeout_us,
                                        json_t **ret_answer, struct fault *fault);

#endif
