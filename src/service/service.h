/* SPDX-License-Identifier: MIT
 * The whole running service: mappings, metrics, control socket, signals. */
#ifndef SERVICE_SERVICE_H
#define SERVICE_SERVICE_H

#include "service/config.h"

/* Blocks the signals that the service waits for; before any thread, so that all inherit it. */
void service_block_signals(void);

/* Runs all mappings until SIGTERM or SIGINT. `configuration` is borrowed. Returns the exit code, of
 * <sysexits.h>; what went wrong was printed or logged. Main thread. */
int service_run(const struct configuration *configuration);

#endif
