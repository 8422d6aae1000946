/* SPDX-License-Identifier: MIT
 * Taking changed files over while the service runs: all or nothing. Main thread. */
#ifndef SERVICE_RELOAD_H
#define SERVICE_RELOAD_H

#include "service/config.h"
#include "service/supervisor.h"

/* Where a configuration is read from, as configuration_load takes it, and the settings that the
 * service was started with. */
struct reload_source {
    const char *const *paths;
    size_t count;
    const struct overrides *overrides;
    const struct service_settings *started_with;
    /* Called with the new settings once they were taken over. */
    void (*taken)(void *argument, const struct service_settings *settings);
    void *argument;
};

struct reload_report {
    bool good;                       /* false: nothing was changed */
    struct supervisor_changes changes;
    struct problems problems;        /* errors and warnings of the files */
    struct fault fault;              /* why the mappings could not be made; "" */
    const char *needs_restart[16];   /* settings that wait for a restart; NULL ends */
};

/* Reads the files again and has the supervisor take them over. The report is logged here. */
void reload_run(const struct reload_source *source, struct supervisor *supervisor,
                struct reload_report *ret_report);
void reload_report_fini(struct reload_report *report);

#endif
