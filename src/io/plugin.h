/* SPDX-License-Identifier: MIT
 * Connectors as plugins: finds `sluice-NAME.so`, loads it and refuses what is not a connector of
 * this ABI. A plugin stays loaded to the end of the process, as threads of its libraries may
 * outlive every use. Main thread, before others use connectors. */
#ifndef IO_PLUGIN_H
#define IO_PLUGIN_H

#include <stddef.h>

#include <sluice/connector.h>

#include "base/fault.h"

struct plugin {
    char *name; /* as in the file's name */
    char *path; /* of the file */
    /* The plugin's descriptor, of the smaller size, zero beyond it. Operations that a plugin may
     * leave out are filled in: `headers` (none), `lane_drained` (nothing), `lag` (unknown).
     * `extend`, `pause_lane` and `publish` are there with their capability, `check` may be NULL. */
    struct sluice_connector connector;
    struct plugin *next;
};

/* Loads the connector `name`; a name with a slash is the path of a file. `directory`: the only
 * place to look (NULL: $SLUICE_CONNECTORS, colons between directories; `connectors/` beside the
 * running program; the directory it was built for). The same file is loaded once. NULL with a fault
 * naming file, what was found, what was expected and the cure. */
const struct plugin *plugin_load(const char *name, const char *directory, struct fault *fault);

/* One file that looks like a connector. */
struct plugin_found {
    char *name;
    char *path;
    const struct plugin *plugin; /* NULL: cannot be used, see `fault` */
    struct fault fault;
};

/* All that plugin_load would find, by name, each loaded. Returns how many; free with
 * plugin_free_list. */
size_t plugin_list(const char *directory, struct plugin_found **ret_list);
void plugin_free_list(struct plugin_found *list, size_t count);

/* The directories that plugin_load looks into, as `a, b and c`: memory of the caller's. */
char *plugin_places(const char *directory);

#endif
