/* SPDX-License-Identifier: MIT */
#include "service/reload.h"

#include <string.h>

#include "base/log.h"
#include "service/config_control.h"
#include "service/config_traces.h"

static bool same_text(const char *one, const char *other)
{
    return one && other ? !strcmp(one, other) : one == other;
}

/* Settings of the service as a whole are what its parts were opened with. */
static void compare_settings(const struct service_settings *old, const struct service_settings *new,
                             struct reload_report *report)
{
    size_t count = 0;

    if (!same_text(old->state_directory, new->state_directory))
        report->needs_restart[count++] = "state_directory";
    if (!same_text(old->connector_directory, new->connector_directory))
        report->needs_restart[count++] = "connector_directory";
    if (!same_text(old->control, new->control))
        report->needs_restart[count++] = "control";
    if (!same_text(old->listen, new->listen))
        report->needs_restart[count++] = "listen";
    if (!config_control_same(&old->control_http, &new->control_http))
        report->needs_restart[count++] = "control_http";
    if (old->store_bytes != new->store_bytes)
        report->needs_restart[count++] = "store_size";
    if (!config_traces_same(&old->traces, &new->traces))
        report->needs_restart[count++] = "traces";
    if (old->metric_lanes != new->metric_lanes)
        report->needs_restart[count++] = "metrics.lanes";
    if (old->log_format != new->log_format)
        report->needs_restart[count++] = "log.format";
}

static void log_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];

        log_event(problem->warning ? LOG_WARNING : LOG_ERROR, "reload_problem",
                  LOG_TEXT("place", problem->place), LOG_TEXT("text", problem->text));
    }
}

static void log_report(const struct reload_report *report)
{
    log_problems(&report->problems);
    if (!report->good) {
        log_event(LOG_ERROR, "reload_refused", LOG_TEXT("error", report->fault.text),
                  LOG_NUMBER("mistakes", (int64_t)report->problems.errors),
                  LOG_TEXT("effect", "everything goes on as it was"));
        return;
    }
    for (const char *const *setting = report->needs_restart; *setting; setting++)
        log_event(LOG_WARNING, "reload_needs_restart", LOG_TEXT("setting", *setting),
                  LOG_TEXT("effect", "it is as before until sluice is started again"));
    log_event(LOG_INFO, "reloaded", LOG_NUMBER("added", (int64_t)report->changes.added),
              LOG_NUMBER("changed", (int64_t)report->changes.changed),
              LOG_NUMBER("removed", (int64_t)report->changes.removed),
              LOG_NUMBER("unchanged", (int64_t)report->changes.unchanged));
}

void reload_run(const struct reload_source *source, struct supervisor *supervisor,
                struct reload_report *ret_report)
{
    struct configuration *fresh;

    *ret_report = (struct reload_report){0};
    fresh = configuration_load(source->paths, source->count, source->overrides,
                               &ret_report->problems);
    if (fresh) {
        compare_settings(source->started_with, &fresh->service, ret_report);
        ret_report->good =
            !supervisor_apply(supervisor, fresh, &ret_report->changes, &ret_report->fault);
        if (ret_report->good) {
            log_set_level(fresh->service.log_level);
            source->taken(source->argument, &fresh->service);
        }
    }
    log_report(ret_report);
    configuration_free(fresh);
}

void reload_report_fini(struct reload_report *report)
{
    problem_free_all(&report->problems);
}
