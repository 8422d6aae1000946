/* SPDX-License-Identifier: MIT
 * Listening sockets that the service manager made and keeps: sd_listen_fds(3), without libsystemd.
 * They outlive the service, so that who connects while it restarts waits instead of being refused. */
#ifndef IO_ACTIVATION_H
#define IO_ACTIVATION_H

#include <stddef.h>

#include "base/fault.h"

#define ACTIVATION_MOST 16
#define ACTIVATION_TEXT 160 /* bytes of a socket's description */

struct activation;

/* Takes over the sockets of $LISTEN_FDS and their names of $LISTEN_FDNAMES, where $LISTEN_PID is this
 * process, and takes these variables out of the environment. They become close-on-exec and
 * non-blocking. Once, before other threads start. NULL with a fault where one of them is no stream
 * socket that listens, or there are more than ACTIVATION_MOST. */
struct activation *activation_take(struct fault *fault);
/* Closes those that nobody claimed. NULL is fine. */
void activation_free(struct activation *activation);

/* The socket whose name is `name`, else the one that has the address `listen` (`127.0.0.1:9090`,
 * `[::1]:9090`, `localhost:9090`, `unix:/path`; `unix:`: any Unix socket; NULL: only by name). It is the caller's then; 0 where
 * there is none. */
int activation_claim(struct activation *activation, const char *name, const char *listen);

/* Describes a socket that nobody claimed, by its address and name; -1 where none is left. `*at` is 0 at
 * first and moves on. */
int activation_unclaimed(const struct activation *activation, size_t *at,
                         char ret_text[ACTIVATION_TEXT]);

#endif
