/* SPDX-License-Identifier: MIT
 * Reading the key `filter` of a mapping. */
#ifndef SERVICE_CONFIG_FILTER_H
#define SERVICE_CONFIG_FILTER_H

#include "core/filter.h"
#include "service/config_tree.h"
#include "service/problem.h"

/* Compiles what stands there. NULL with an error added. `ret_text` gets it as compact JSON, to be freed. */
struct filter *config_filter_read(const struct node *node, char **ret_text,
                                  struct problems *problems);

#endif
