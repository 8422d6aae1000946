/* SPDX-License-Identifier: MIT
 * Reads sluice.yaml and mapping files into a configuration, or says all that is wrong with them. */
#ifndef SERVICE_CONFIG_H
#define SERVICE_CONFIG_H

#include <stddef.h>

#include "service/mapping.h"
#include "service/options.h"
#include "service/problem.h"

/* What the command line sets over the files; NULL and 0: nothing. */
struct overrides {
    const char *service; /* sluice.yaml or its directory, for settings and defaults only */
    const char *connector_directory;
    const char *state_directory;
    const char *listen;
    enum log_level log_level;
    enum log_format log_format; /* LOG_AUTO: as in the file */
};

/* Reads paths (none: SLUICE_CONFIG_DIRECTORY). A path is
 *   - a directory with sluice.yaml, or sluice.yaml itself: with all files of its `mappings:`;
 *   - a directory with mappings.d;
 *   - a directory of mapping files (*.yaml, *.yml, *.json);
 *   - a mapping file. Its defaults come from a sluice.yaml beside it or beside its mappings.d.
 * Connectors are loaded, and each is opened once, offline.
 *
 * Returns the configuration, perhaps with warnings in `problems`; or NULL with at least one error.
 * `problems` is zeroed by the caller before and emptied with problem_free_all after; it is sorted.
 * Main thread only. */
struct configuration *configuration_load(const char *const *paths, size_t count,
                                         const struct overrides *overrides,
                                         struct problems *problems);

/* Keeps it until one more configuration_free. Returns it. Main thread only, as is freeing. */
struct configuration *configuration_hold(struct configuration *configuration);
/* NULL is fine. No connector instance may use its values any more. */
void configuration_free(struct configuration *configuration);

/* The longest time that a mapping keeps its tokens; at least an hour. */
int64_t configuration_longest_ttl(const struct configuration *configuration);

/* The keys of sluice.yaml, see mapping_table. */
extern const struct sluice_option service_table[];

#endif
