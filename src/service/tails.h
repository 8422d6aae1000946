/* SPDX-License-Identifier: MIT
 * GET /v1/mappings/{name}/tail: the live sample of a mapping's messages (service/tap.h), to be asked
 * again and again. Nothing is kept of who asks: the sample is taken while somebody does. */
#ifndef SERVICE_TAILS_H
#define SERVICE_TAILS_H

#include "service/router.h"
#include "service/supervisor.h"

/* Adds it; the supervisor is borrowed. */
void tails_add_routes(struct supervisor *supervisor, struct router *router);

#endif
