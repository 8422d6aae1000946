/* SPDX-License-Identifier: MIT
 * One mapping from its tree: its own keys and its connector's options. */
#ifndef SERVICE_CONFIG_MAPPING_H
#define SERVICE_CONFIG_MAPPING_H

#include "service/config_tree.h"
#include "service/mapping.h"
#include "service/problem.h"

/* What all mappings of a configuration share. */
struct mapping_context {
    struct config_pool *pool;
    const struct node *defaults;     /* of sluice.yaml, NULL: none */
    const char *connector_directory; /* NULL: the search path */
    struct problems *problems;
};

/* Makes the mapping of a file. NULL with errors added; also with a mapping returned there may be
 * errors, and the configuration must not be used then. */
struct mapping *config_mapping_read(const struct mapping_context *context, const char *path);

/* The headers that a MAP of `settings` says, `Name: value` each, ended by NULL and to be freed with what
 * they hold; NULL: none. What no header can be, or is set by sluice itself, is an error. */
char **config_mapping_headers(const struct sluice_values *settings, const char *option,
                              struct problems *problems);

#endif
