/* SPDX-License-Identifier: MIT
 * A connector with one option of each type and nothing behind it, for tests of the configuration.
 * It refuses the topic `refused`, an entry `bad.key` of the map, and `silent` without a word. */
#include <stdlib.h>
#include <string.h>

#include "inert.h"

#ifndef FAKE_NAME
#define FAKE_NAME "fake"
#endif
#ifndef FAKE_CAPABILITIES
#define FAKE_CAPABILITIES                                                                          \
    (SLUICE_CAN_SETTLE_UP_TO | SLUICE_HAS_KEY | SLUICE_IS_ORDERED | SLUICE_HAS_STABLE_IDENTITY)
#endif

static const char *const starts[] = {"earliest", "latest", NULL};
static const char *const mechanisms[] = {"PLAIN", "SCRAM-SHA-512", NULL};

static const struct sluice_option options[] = {
    {"brokers", SLUICE_LIST, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "Addresses of brokers."},
    {"topic", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "Topic to read."},
    {"group", SLUICE_STRING, SLUICE_OPTION_REQUIRED, NULL, 0, 0, NULL, "Consumer group."},
    {"start", SLUICE_ENUM, 0, "latest", 0, 0, starts, "Where a new group begins."},
    {"prefetch", SLUICE_INT, 0, "10", 1, 1000, NULL, "Messages to fetch ahead."},
    {"fetch", SLUICE_BYTES, 0, "1 MiB", 1024, 1 << 30, NULL, "Bytes to fetch at once."},
    {"session", SLUICE_DURATION, SLUICE_OPTION_ADVANCED, "45s", 1000000, 600000000, NULL,
     "How long the group waits for a member."},
    {"secure", SLUICE_BOOL, 0, "false", 0, 0, NULL, "Whether to use TLS."},
    {"sasl.mechanism", SLUICE_ENUM, 0, NULL, 0, 0, mechanisms, "How to log in."},
    {"sasl.username", SLUICE_STRING, 0, NULL, 0, 0, NULL, "User name."},
    {"sasl.password", SLUICE_SECRET, 0, NULL, 0, 0, NULL, "Password."},
    {"properties", SLUICE_MAP, 0, NULL, 0, 0, NULL, "Anything else."},
    {0},
};

static int open_fake(struct sluice_host *host, const struct sluice_host_api *api,
                     const struct sluice_values *values, void **ret_instance)
{
    const char *topic = api->values->text(values, "topic"), *value;
    int result = 0;
    size_t i;

    if (strcmp(topic, "silent") == 0)
        return 1;
    if (strcmp(topic, "refused") == 0) {
        api->values->refuse(values, "topic", "found \"refused\", expected another");
        result = 1;
    }
    for (i = 0; i < api->values->count(values, "properties"); i++)
        if (strcmp(api->values->item(values, "properties", i, &value), "bad.key") == 0) {
            api->values->refuse(values, "properties.bad.key", "no such property");
            result = 1;
        }
    if (result == 0)
        *ret_instance = malloc(1);
    return result;
}

static void close_fake(void *instance)
{
    free(instance);
}

static int check(void *instance, const struct sluice_check *check)
{
    check->report(check->cookie, true, "the broker that is not there answers");
    return 0;
}

static const struct sluice_connector fake = {
    .magic = SLUICE_ABI_MAGIC,
    .struct_size = sizeof fake,
    .abi_major = SLUICE_ABI_MAJOR,
    .abi_minor = SLUICE_ABI_MINOR,
    .capabilities = FAKE_CAPABILITIES,
    .name = FAKE_NAME,
    .version = "1.2.3",
    .description = "Nothing, for tests",
    .options = options,
    .open = open_fake,
    INERT_OPERATIONS,
    .close = close_fake,
    .check = check,
};

SLUICE_CONNECTOR(fake)
