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

/* A pattern for the payload alone, as somebody typed it: YAML or JSON. As compact JSON, to be freed;
 * NULL with a fault. */
char *config_filter_payload(const char *text, struct fault *fault);

#endif
