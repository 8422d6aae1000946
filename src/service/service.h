/* SPDX-License-Identifier: MIT
 * The whole running service: mappings, metrics, control socket, signals. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "service/reload.h"

/* Blocks the signals that the service waits for; before any thread, so that all inherit it. */
void service_block_signals(void);

/* Runs all mappings until SIGTERM or SIGINT. `source`: what the configuration was loaded from, to be
 * read again by SIGHUP; its `started_with` is filled in. Returns the exit code, of <sysexits.h>; what
 * went wrong was printed or logged. Main thread. */
int service_run(struct configuration *configuration, struct reload_source *source);

#endif
