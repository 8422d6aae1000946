/* SPDX-License-Identifier: MIT */
#include "service/trial.h"

#include "service/host_nothing.h"
#include "service/options.h"

/* A host that takes no messages: enough for `open`, `check` and `close`. */
struct sluice_host {
    char unused;
};

static void ignore_log(struct sluice_host *host, uint32_t level, const char *event,
                       const char *text)
{
}

static void ignore_state(struct sluice_host *host, uint32_t state, const char *text)
{
}

static void ignore_published(struct sluice_host *host, void *cookie, const char *error)
{
}

static void ignore_unpublishable(struct sluice_host *host, void *cookie, const char *error)
{
}

static int no_position(struct sluice_host *host, void *lane, uint64_t *ret_position)
{
    return 0;
}

static const struct sluice_host_api host_api = {
    .struct_size = sizeof host_api,
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .values = &options_api,
    .log = ignore_log,
    .state = ignore_state,
    .lane_opened = host_nothing_lane_opened,
    .lane_closing = host_nothing_lane,
    .lane_lost = host_nothing_lane,
    .deliver = host_nothing_deliver,
    .settled = host_nothing_settled,
    .published = ignore_published,
    .stopped = host_nothing_stopped,
    .settle_failed = host_nothing_settle_failed,
    .lane_position = no_position,
    .unpublishable = ignore_unpublishable,
};

/* 0, or -1 with errors added. */
static int open_instance(const struct sluice_connector *connector,
                         const struct sluice_values *values, bool publishes, struct place place,
                         struct problems *problems, void **ret_instance)
{
    static struct sluice_host nobody;
    void *instance = NULL;
    size_t refused;
    int result;

    options_collect(problems);
    result = (publishes ? connector->open_publisher : connector->open)(&nobody, &host_api, values,
                                                                       &instance);
    refused = options_collect(NULL);
    if (result == 0 && refused)
        connector->close(instance);
    if (result != 0 && !refused)
        problem_add(problems, place,
                    "%s.%s: the connector refuses these options without saying why",
                    publishes ? "dead_letter.to" : "source", connector->name);
    if (result != 0 || refused)
        return -1;
    *ret_instance = instance;
    return 0;
}

static int open_and_close(const struct sluice_connector *connector,
                          const struct sluice_values *values, bool publishes, struct place place,
                          struct problems *problems)
{
    void *instance;

    if (open_instance(connector, values, publishes, place, problems, &instance) != 0)
        return -1;
    connector->close(instance);
    return 0;
}

int trial_open(const struct sluice_connector *connector, const struct sluice_values *values,
               struct place place, struct problems *problems)
{
    return open_and_close(connector, values, false, place, problems);
}

int trial_open_place(const struct sluice_connector *connector, const struct sluice_values *values,
                     struct place place, struct problems *problems)
{
    return open_and_close(connector, values, true, place, problems);
}

static int check_instance(const struct sluice_connector *connector,
                          const struct sluice_values *values, bool publishes,
                          const struct sluice_check *check)
{
    struct problems problems = {0};
    void *instance;
    int result;

    if (!connector->check)
        return 1;
    if (open_instance(connector, values, publishes, (struct place){0}, &problems, &instance) != 0) {
        check->report(check->cookie, false, problems.count ? problems.items[0].text : "refused");
        problem_free_all(&problems);
        return -1;
    }
    result = connector->check(instance, check);
    connector->close(instance);
    return result == 0 ? 0 : -1;
}

int trial_check(const struct sluice_connector *connector, const struct sluice_values *values,
                const struct sluice_check *check)
{
    return check_instance(connector, values, false, check);
}

int trial_check_place(const struct sluice_connector *connector, const struct sluice_values *values,
                      const struct sluice_check *check)
{
    return check_instance(connector, values, true, check);
}

int trial_browse(const struct sluice_connector *connector, const struct sluice_values *values,
                 bool publishes, const struct sluice_browse *browse)
{
    struct problems problems = {0};
    void *instance;
    int result;

    if (open_instance(connector, values, publishes, (struct place){0}, &problems, &instance) != 0) {
        browse->fail(browse->cookie, problems.count ? problems.items[0].text : "refused");
        problem_free_all(&problems);
        return -1;
    }
    result = connector->browse(instance, browse);
    connector->close(instance);
    return result == 0 ? 0 : -1;
}
