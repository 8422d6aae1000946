/* SPDX-License-Identifier: MIT
 * What each mapping used, day by day, kept across restarts, and what it cost: GET /v1/usage. A thread of
 * its own writes it down; where that fails it goes on counting and tries again. */
#ifndef SERVICE_USAGE_H
#define SERVICE_USAGE_H

#include "service/books.h"
#include "service/router.h"
#include "service/supervisor.h"

struct usage;

/* The supervisor, whose books are counted, is borrowed. NULL with a fault. */
struct usage *usage_start(struct supervisor *supervisor, struct fault *fault);
/* Writes what is left. After the pollers have ended, before the supervisor goes. NULL is fine. */
void usage_stop(struct usage *usage);

void usage_add_routes(struct usage *usage, struct router *router);

#endif
