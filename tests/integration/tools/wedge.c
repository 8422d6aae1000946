/* SPDX-License-Identifier: MIT
 * A connector that delivers nothing, and whose thread hangs as long as the file of its option `wedge`
 * exists; for tests of the watchdog and of what runs without a broker. Lane number N of its `lanes` lags
 * N messages, and its name needs escapes. */
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/connector.h>

#define MOST_LANES 1000

static const struct sluice_option options[] = {
    {"wedge", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "The file to look for."},
    {"late", SLUICE_BOOL, 0, "false", 0, 0, NULL, "Whether to stop only when told to hurry."},
    {"lanes", SLUICE_INT, 0, "0", 0, MOST_LANES, NULL, "Lanes to open."},
    {0},
};

struct wedge {
    struct sluice_host *host;
    const struct sluice_host_api *api;
    const struct sluice_values *values;
    const char *file;
    bool stopping, opened;
    int64_t numbers[MOST_LANES]; /* cookies of the lanes: the number of each */
    void *lanes[MOST_LANES];     /* what the host calls them */
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

static void open_lanes(struct wedge *wedge)
{
    char name[32];

    for (int64_t i = 0; i < wedge->api->values->number(wedge->values, "lanes"); i++) {
        struct sluice_lane lane = {.name = name, .source = "wedge", .partition = (int32_t)i,
                                   .cookie = &wedge->numbers[i]};

        snprintf(name, sizeof name, "we\\dge\n\"%03d\"", (int)i);
        wedge->numbers[i] = i;
        wedge->lanes[i] = wedge->api->lane_opened(wedge->host, &lane);
    }
    wedge->opened = true;
}

static void lose_lanes(struct wedge *wedge)
{
    for (size_t i = 0; i < MOST_LANES; i++)
        if (wedge->lanes[i])
            wedge->api->lane_lost(wedge->host, wedge->lanes[i]);
    memset(wedge->lanes, 0, sizeof wedge->lanes);
}

static void lag(void *instance, void *lane, struct sluice_lag *ret_lag)
{
    *ret_lag = (struct sluice_lag){*(int64_t *)lane, -1};
}

static void lane_drained(void *instance, void *lane)
{
}

static int64_t receive(void *instance, const struct sluice_room *room)
{
    struct wedge *wedge = instance;

    while (access(wedge->file, F_OK) == 0)
        poll(NULL, 0, 20);
    if (!wedge->opened)
        open_lanes(wedge);
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

    lose_lanes(wedge);
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
    .lag = lag,
    .lane_drained = lane_drained,
    .stop = stop,
    .close = close_wedge,
};

SLUICE_CONNECTOR(wedge)
