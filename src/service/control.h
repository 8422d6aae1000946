/* SPDX-License-Identifier: MIT
 * The control socket: orders to the running service from people on this machine, as JSON over HTTP.
 * Who may connect is decided by the socket's file (mode 0660) and again by what the kernel tells of
 * the peer: root, the user that runs sluice, members of the file's group. */
#ifndef SERVICE_CONTROL_H
#define SERVICE_CONTROL_H

#include "base/fault.h"
#include "service/router.h"

struct control;

/* Serves the routes at `path`. `fd`: a Unix socket that listens already, taken over instead; 0: none. The
 * router is borrowed. NULL with a fault. */
struct control *control_start(const char *path, int fd, struct router *router,
                              struct fault *fault);
/* Waits for the call being answered, removes the socket. NULL is fine. */
void control_stop(struct control *control);

#endif
