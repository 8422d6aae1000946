/* SPDX-License-Identifier: MIT
 * A connector that delivers nothing, and whose thread hangs as long as the file of its option `wedge`
 * exists; for tests of the watchdog and of what runs without a broker. */
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include <sluice/connector.h>

static const struct sluice_option options[] = {
    {"wedge", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "The file to look for."},
    {"late", SLUICE_BOOL, 0, "false", 0, 0, NULL, "Whether to stop only when told to hurry."},
    {0},
};

struct wedge {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const struct sluice_values *values;
    const char *file;
    bool stopping;
    int pipe[2];
};

static int open_wedge(struct sluice_host *host, const struct sluice_host_api *api,
                      const struct sluice_values *values, void **ret_instance)
{
    struct wedge *wedge = calloc(1, sizeof *wedge);

    wedge->host = host;
    wedge->api = api;
    wedge->values = values;
    wedge->file = api->values->text(values, "wedge");
    if (pipe(wedge->pipe) != 0)
        return 1;
    *ret_instance = wedge;
    return 0;
}

static int start(void *instance, const char *name)
{
    struct wedge *wedge = instance;

    wedge->api->state(wedge->host, SLUICE_STATE_RUNNING, NULL);
    return 0;
}

static int descriptor(void *instance)
{
    return ((struct wedge *)instance)->pipe[0];
}

static int64_t receive(void *instance, const struct sluice_room *room)
{
    struct wedge *wedge = instance;

    while (access(wedge->file, F_OK) == 0)
        poll(NULL, 0, 20);
    if (wedge->stopping)
        wedge->api->stopped(wedge->host);
    return 100000;
}

static void settle(void *instance, struct sluice_settle_item *items, size_t count)
{
}

static void release(void *instance, void *const *handles, size_t count)
{
}

static void stop(void *instance, int64_t deadline_us)
{
    struct wedge *wedge = instance;

    wedge->stopping = !deadline_us || !wedge->api->values->number(wedge->values, "late");
}

static void close_wedge(void *instance)
{
    struct wedge *wedge = instance;

    close(wedge->pipe[0]);
    close(wedge->pipe[1]);
    free(wedge);
}

static const struct sluice_connector wedge = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof wedge,
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = SLUICE_CAN_SETTLE_UP_TO | SLUICE_HAS_KEY | SLUICE_IS_ORDERED |
                    SLUICE_HAS_STABLE_IDENTITY,
    .name = "wedge",
    .version = "1.0.0",
    .description = "A thread that hangs, for tests",
    .options = options,
    .open = open_wedge,
    .start = start,
    .descriptor = descriptor,
    .receive = receive,
    .settle = settle,
    .release = release,
    .stop = stop,
    .close = close_wedge,
};

SLUICE_CONNECTOR(wedge)
