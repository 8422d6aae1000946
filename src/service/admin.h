/* SPDX-License-Identifier: MIT
 * /livez, /readyz and /metrics over the running service. */
#ifndef SERVICE_ADMIN_H
#define SERVICE_ADMIN_H

#include "base/fault.h"
#include "service/replays.h"
#include "service/supervisor.h"

struct admin;

/* Listens at an address as http_server_start takes it. `fd`: a socket that listens already, taken over;
 * 0: none. NULL with a fault. The supervisor and the replays are borrowed. */
struct admin *admin_start(const char *listen, int fd, struct supervisor *supervisor,
                          struct replays *replays, struct fault *fault);
/* NULL is fine. */
void admin_stop(struct admin *admin);
/* The TCP port, 0 for a Unix socket. */
unsigned admin_port(const struct admin *admin);

#endif
