/* SPDX-License-Identifier: MIT
 * Asks the running service over its control socket, or over TCP where it has control_http. */
#ifndef IO_CONTROL_CLIENT_H
#define IO_CONTROL_CLIENT_H

#include <stdbool.h>
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

/* What callers over TCP show, from the environment: $SLUICE_CONTROL_TOKEN, or what the file of
 * $SLUICE_CONTROL_TOKEN_FILE holds; for https $SLUICE_CONTROL_CA_FILE (else the system's CAs), and
 * $SLUICE_CONTROL_CERTIFICATE_FILE with $SLUICE_CONTROL_KEY_FILE. */

/* Whether that is the URL of a control interface over TCP: http://... or https://... */
bool control_client_is_url(const char *socket);

/* `socket`: a path, or such a URL; a token goes to another machine by https only.
 * Sends one request: `method` GET, POST or DELETE, `path` from /v1 on with its query, `body` may be
 * NULL and stays the caller's. Blocks for `timeout_us` at most. *ret_answer is a new reference, NULL
 * where there was no JSON. `fault` is set unless CONTROL_ANSWERED. http_client_global_init first. */
enum control_outcome control_client_ask(const char *socket, const char *method, const char *path,
                                        const json_t *body, int64_t timeout_us,
                                        json_t **ret_answer, struct fault *fault);

#endif
