/* SPDX-License-Identifier: MIT
 * Looks at a target without invoking it: whether its URL is one, and whether something answers at
 * the other end. */
#ifndef IO_HTTP_PROBE_H
#define IO_HTTP_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/fault.h"
#include "io/http_client.h"

/* 0 where `url` can be invoked: http or https, with a host, without user, password and fragment.
 * -1 with a fault that never holds a password. */
int http_probe_url(const char *url, struct fault *fault);

/* Whether the URL's host is this machine, or it is https: nobody on the way can read along. */
bool http_probe_is_private(const char *url);

/* Resolves, connects and shakes hands for TLS with the target's own settings, then closes: the
 * function is not invoked. Blocks for at most `deadline_us`. 0, or -1 with a fault naming host and
 * port. While there is one thread only, or after http_client_global_init. */
int http_probe_connect(const struct http_settings *settings, int64_t deadline_us,
                       struct fault *fault);

#endif
