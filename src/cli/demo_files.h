/* SPDX-License-Identifier: MIT
 * The directory of `sluice demo`: sluice.yaml, mappings.d/orders.yaml and state/. */
#ifndef CLI_DEMO_FILES_H
#define CLI_DEMO_FILES_H

#include <stdbool.h>

#include "base/fault.h"

struct demo_files {
    char *directory; /* as given, or as made below $TMPDIR */
    char *mapping, *state;
    bool temporary;
};

/* Makes `directory` (NULL: a new one below $TMPDIR), or empties the state of an earlier demo in it.
 * Refuses a directory that is not a demo's. 0, or -1 with a fault and nothing to free. */
int demo_files_init(struct demo_files *files, const char *directory, struct fault *fault);
void demo_files_fini(struct demo_files *files);

/* Writes sluice.yaml and the mapping. 0, or -1 with a fault. */
int demo_files_write(const struct demo_files *files, const char *brokers, unsigned function_port,
                     struct fault *fault);

/* Removes the directory if it is a temporary one. */
void demo_files_remove(const struct demo_files *files);

#endif
