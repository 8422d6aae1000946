/* SPDX-License-Identifier: MIT
 * What contradicts itself in a mapping, though each key alone is fine. */
#ifndef SERVICE_CONFIG_RULES_H
#define SERVICE_CONFIG_RULES_H

#include "service/mapping.h"
#include "service/problem.h"

/* Adds errors and warnings about a mapping whose settings and connector were read. The connector
 * may be NULL, where it could not be loaded. */
void config_rules_check(const struct mapping *mapping, struct problems *problems);

#endif
