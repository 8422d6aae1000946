/* SPDX-License-Identifier: MIT
 * Which files a configuration consists of. */
#ifndef SERVICE_CONFIG_FILES_H
#define SERVICE_CONFIG_FILES_H

#include <stddef.h>

#include "service/problem.h"

struct config_files {
    char *service;   /* sluice.yaml; NULL: none */
    char **mappings; /* in no order */
    size_t count;
    char **directories; /* whose mapping files are wanted, once `mappings:` is known */
    size_t directory_count;
    int wants_all; /* sluice.yaml was named, so all its mappings are wanted */
};

/* Sorts out what the paths are, see configuration_load. `service`: see struct overrides. Errors are
 * added. */
void config_files_find(struct config_files *files, const char *const *paths, size_t count,
                       const char *service, struct problems *problems);
/* Adds to `directories`; takes over the path. */
void config_files_want_directory(struct config_files *files, char *path);
/* Adds the mapping files of a directory; warns of files that are none. */
void config_files_add_directory(struct config_files *files, const char *directory,
                                struct problems *problems);
void config_files_fini(struct config_files *files);

#endif
