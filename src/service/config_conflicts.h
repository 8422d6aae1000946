/* SPDX-License-Identifier: MIT
 * Mappings that get into each other's way. */
#ifndef SERVICE_CONFIG_CONFLICTS_H
#define SERVICE_CONFIG_CONFLICTS_H

#include "service/mapping.h"
#include "service/problem.h"

/* Refuses mappings of the same name, and such as share a consumer group and a topic: each would get
 * only a part of the messages. The mappings are sorted by name. */
void config_conflicts_check(const struct configuration *configuration, struct problems *problems);

#endif
