/* SPDX-License-Identifier: MIT
 * The answer of GET /v1/status, for people. */
#ifndef CLI_STATUS_VIEW_H
#define CLI_STATUS_VIEW_H

#include <jansson.h>

#include "cli/screen.h"

/* Exit codes, those of monitoring plugins. */
enum { STATUS_EXIT_GOOD = 0, STATUS_EXIT_DEGRADED = 1, STATUS_EXIT_BAD = 2 };

/* How the worst of the mappings is. */
int status_view_health(const json_t *service);

/* Prints all mappings, a line for each and one more where there is something to say; at most
 * screen->height - 1 lines, those in trouble first where not all fit. */
void status_view_list(const struct screen *screen, const json_t *service);

/* Prints all that is known of one mapping; at most screen->height - 1 lines. */
void status_view_mapping(const struct screen *screen, const json_t *mapping);

#endif
