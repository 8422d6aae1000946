/* SPDX-License-Identifier: MIT
 * The control interface over TCP, where sluice.yaml switches it on: the same resources as those of the
 * control socket (service/control.h), for callers that show a bearer token (RFC 6750), a client
 * certificate, or both where both are set up. */
#ifndef SERVICE_CONTROL_HTTP_H
#define SERVICE_CONTROL_HTTP_H

#include "base/fault.h"
#include "service/mapping.h"
#include "service/router.h"

struct control_http;

/* Serves the routes. `fd`: a socket that listens already, taken over; 0: none. The settings must have
 * passed config_control_check. The router is borrowed. NULL with a fault. */
struct control_http *control_http_start(const struct control_http_settings *settings, int fd,
                                        struct router *router, struct fault *fault);
/* Waits for the call being answered. NULL is fine. */
void control_http_stop(struct control_http *control);

/* From now on callers must show what these settings ask for, at once for all of it, and see their
 * certificate. Where TLS comes or goes, which config_control_same tells, that waits for a restart, and the token
 * is asked for beside what was. Any thread. */
void control_http_take(struct control_http *control, const struct control_http_settings *settings);

/* The TCP port. */
unsigned control_http_port(const struct control_http *control);

#endif
