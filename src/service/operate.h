/* SPDX-License-Identifier: MIT
 * What an operator does to the running service: reload, pause, resume, drain, set. */
#ifndef SERVICE_OPERATE_H
#define SERVICE_OPERATE_H

#include "service/notices.h"
#include "service/orders.h"
#include "service/reload.h"
#include "service/router.h"
#include "service/supervisor.h"

struct operate;

/* All are borrowed. The service manager is told of reloads through `notices`. */
struct operate *operate_new(struct orders *orders, struct supervisor *supervisor,
                            const struct reload_source *source, const struct notices *notices);
void operate_free(struct operate *operate); /* NULL is fine */

/* Adds POST /v1/reload and POST /v1/mappings/{name}/pause, resume, drain. */
void operate_add_routes(struct operate *operate, struct router *router);

/* Reloads as SIGHUP asks for. Main thread. */
void operate_reload(struct operate *operate);

#endif
