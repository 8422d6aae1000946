/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/plugin_check.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/memory.h"
#include "base/units.h"

#define OPTIONS_MAX 500
#define NAME_MAX_   63 /* of an option */

int plugin_check_file(const char *path, struct fault *fault)
{
    return file_check_owner(path, "the connector", fault);
}

/* ---- options ---- */

static bool is_option_name(const char *name)
{
    size_t size = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.");

    return size && size <= NAME_MAX_ && !name[size] && *name != '.' && name[size - 1] != '.' &&
           !strstr(name, "..");
}

static bool is_choice(const struct sluice_option *option, const char *text)
{
    const char *const *choice;

    for (choice = option->choices; *choice; choice++)
        if (strcmp(*choice, text) == 0)
            return true;
    return false;
}

/* Whether the default is what the option itself would accept. */
static bool default_fits(const struct sluice_option *option)
{
    const char *text = option->default_text;
    int64_t number = 0;
    int result = 0;

    if (!text)
        return true;
    switch (option->type) {
    case SLUICE_INT:
        result = units_parse_integer(text, &number);
        break;
    case SLUICE_BYTES:
        result = units_parse_bytes(text, &number);
        break;
    case SLUICE_DURATION:
        result = units_parse_duration(text, &number);
        break;
    case SLUICE_BOOL:
        return strcmp(text, "true") == 0 || strcmp(text, "false") == 0;
    case SLUICE_ENUM:
        return is_choice(option, text);
    case SLUICE_MAP:
        return false;
    default:
        return true;
    }
    return result == 0 && ((!option->minimum && !option->maximum) ||
                           (number >= option->minimum && number <= option->maximum));
}

/* Whether `name` is `other`, or the group that `other` is in. */
static bool collides(const char *name, const char *other)
{
    size_t size = strlen(name);

    return strncmp(name, other, size) == 0 && (other[size] == '\0' || other[size] == '.');
}

static int check_option(const struct sluice_option *table, size_t index, struct fault *fault)
{
    const struct sluice_option *option = &table[index];
    size_t i;

    if (!is_option_name(option->name))
        return fault_set(fault, "option %zu has the name \"%.40s\", expected a-z, 0-9, _ and dots",
                         index + 1, option->name);
    if (option->type < SLUICE_STRING || option->type > SLUICE_MAP)
        return fault_set(fault, "option %s has the type %u, expected %d to %d", option->name,
                         option->type, SLUICE_STRING, SLUICE_MAP);
    if (!option->help || !*option->help)
        return fault_set(fault, "option %s has no help text", option->name);
    if (option->type == SLUICE_ENUM && (!option->choices || !*option->choices))
        return fault_set(fault, "option %s has no choices", option->name);
    if (option->minimum > option->maximum)
        return fault_set(fault, "option %s has a minimum above its maximum", option->name);
    if (!default_fits(option))
        return fault_set(fault, "option %s has the default \"%.60s\", which it would not accept",
                         option->name, option->default_text);
    for (i = 0; i < index; i++)
        if (collides(option->name, table[i].name) || collides(table[i].name, option->name))
            return fault_set(fault, "options %s and %s collide", table[i].name, option->name);
    return 0;
}

static int check_options(const struct sluice_option *table, struct fault *fault)
{
    size_t i;

    if (!table)
        return fault_set(fault, "it has no table of options");
    for (i = 0; table[i].name; i++) {
        if (i == OPTIONS_MAX)
            return fault_set(fault, "its table of options has no end within %d", OPTIONS_MAX);
        if (check_option(table, i, fault) != 0)
            return -1;
    }
    return 0;
}

/* ---- operations ---- */

static size_t no_headers(void *instance, void *handle, struct sluice_header *ret_headers,
                         size_t room)
{
    return 0;
}

static void no_drained(void *instance, void *lane)
{
}

static void no_lag(void *instance, void *lane, struct sluice_lag *ret_lag)
{
    *ret_lag = (struct sluice_lag){-1, -1};
}

static int check_operations(const struct sluice_connector *connector, struct fault *fault)
{
    const uint32_t can = connector->capabilities;
    const struct {
        const char *name;
        bool there, wanted;
    } operations[] = {
        {"open", connector->open, true},
        {"start", connector->start, true},
        {"descriptor", connector->descriptor, true},
        {"receive", connector->receive, true},
        {"settle", connector->settle, true},
        {"release", connector->release, true},
        {"stop", connector->stop, true},
        {"close", connector->close, true},
        {"extend", connector->extend, can & SLUICE_CAN_EXTEND},
        {"pause_lane", connector->pause_lane, can & SLUICE_CAN_PAUSE_LANE},
        {"publish", connector->publish, can & SLUICE_CAN_PUBLISH},
        {"browse", connector->browse, can & SLUICE_CAN_BROWSE},
    };
    size_t i;

    for (i = 0; i < sizeof operations / sizeof operations[0]; i++)
        if (operations[i].wanted && !operations[i].there)
            return fault_set(fault, "it has no operation `%s`, which it must have%s",
                             operations[i].name, i < 8 ? "" : " by its capabilities");
    if ((can & SLUICE_BROWSE_LEAVES_TRACE) && !(can & SLUICE_CAN_BROWSE))
        return fault_set(fault, "it has SLUICE_BROWSE_LEAVES_TRACE without SLUICE_CAN_BROWSE, of which that tells");
    return 0;
}

int plugin_check_connector(const struct sluice_connector *found, const char *name,
                           struct sluice_connector *ret_connector, struct fault *fault)
{
    /* All of 1.0 up to and with `close`, the last operation that every connector has. */
    const size_t least = offsetof(struct sluice_connector, close) + sizeof(void *);
    struct sluice_connector connector;

    if (!found)
        return fault_set(fault, SLUICE_CONNECTOR_SYMBOL "() returned NULL");
    if (found->magic != SLUICE_ABI_MAGIC)
        return fault_set(fault,
                         "it begins with %08" PRIx32 ", expected %08" PRIx32
                         ", so it is no connector of sluice's",
                         found->magic, SLUICE_ABI_MAGIC);
    if (found->abi_major != SLUICE_ABI_MAJOR)
        return fault_set(fault,
                         "it is built for connector ABI %u.%u, this sluice has %d.%d; build it "
                         "again with this sluice's headers, or install the one that came with it",
                         found->abi_major, found->abi_minor, SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
    if (found->struct_size < least)
        return fault_set(fault,
                         "its descriptor has %" PRIu32 " bytes, expected at least %zu; set "
                         "struct_size to the size of struct sluice_connector",
                         found->struct_size, least);
    memset(&connector, 0, sizeof connector);
    memcpy(&connector, found,
           found->struct_size < sizeof connector ? found->struct_size : sizeof connector);
    connector.struct_size = sizeof connector;
    if (!connector.name || !connector.version || !connector.description)
        return fault_set(fault, "its name, version or description is missing");
    if (strcmp(connector.name, name) != 0)
        return fault_set(fault,
                         "it calls itself \"%.60s\", but its file is sluice-%s.so; rename the file "
                         "to sluice-%.60s.so",
                         connector.name, name, connector.name);
    if (check_operations(&connector, fault) != 0 || check_options(connector.options, fault) != 0)
        return -1;
    if (!connector.headers)
        connector.headers = no_headers;
    if (!connector.lane_drained)
        connector.lane_drained = no_drained;
    if (!connector.lag)
        connector.lag = no_lag;
    *ret_connector = connector;
    return 0;
}
