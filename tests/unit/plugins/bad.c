/* SPDX-License-Identifier: MIT
 * Connectors with one fault each, which is the file's name behind `bad-`. The Makefile reads the
 * list from here.
 *
 * BAD null          returns no descriptor
 * BAD magic         another magic number
 * BAD major         built for another ABI
 * BAD size          too small for the operations that all must have
 * BAD text          no description
 * BAD name          calls itself otherwise
 * BAD operation     no `settle`
 * BAD publish       can publish, but has no `publish`
 * BAD trace         tells that looking leaves a trace, but cannot look
 * BAD table         no table of options
 * BAD option-name   an option with a space in its name
 * BAD option-type   an option of an unknown type
 * BAD option-help   an option without a help text
 * BAD option-choice an ENUM without choices
 * BAD option-range  a minimum above the maximum
 * BAD option-default a default that is out of its own range
 * BAD option-twice  the same name twice
 * BAD option-group  a name that is also a group
 * BAD minor         good: a newer minor version, with a longer descriptor
 * BAD old           good: an older one, without `check` */
#include <string.h>

#include "inert.h"

static struct sluice_option options[3] = {
    {"first", SLUICE_INT, 0, "5", 1, 10, NULL, "A number."},
    {"second", SLUICE_STRING, 0, NULL, 0, 0, NULL, "A text."},
};

static int open_bad(struct sluice_host *host, const struct sluice_host_api *api,
                    const struct sluice_values *values, void **ret_instance)
{
    *ret_instance = NULL;
    return 0;
}

static void close_bad(void *instance)
{
}

static int check(void *instance, const struct sluice_check *check)
{
    return 0;
}

static struct {
    struct sluice_connector connector;
    void *newer[4];
} bad = {.connector = {
             .magic = SLUICE_ABI_MAGIC,
             .struct_size = sizeof(struct sluice_connector),
             .abi_major = SLUICE_ABI_MAJOR,
             .abi_minor = SLUICE_ABI_MINOR,
             .name = "bad-" BAD,
             .version = "1",
             .description = "Wrong in one way",
             .options = options,
             .open = open_bad,
             INERT_OPERATIONS,
             .close = close_bad,
             .check = check,
         }};

static int is(const char *fault)
{
    return strcmp(BAD, fault) == 0;
}

static void spoil_options(void)
{
    if (is("option-name"))
        options[0].name = "the first";
    if (is("option-type"))
        options[0].type = 77;
    if (is("option-help"))
        options[0].help = NULL;
    if (is("option-choice"))
        options[1].type = SLUICE_ENUM;
    if (is("option-range"))
        options[0].minimum = 11;
    if (is("option-default"))
        options[0].default_text = "11";
    if (is("option-twice"))
        options[1].name = "first";
    if (is("option-group"))
        options[1].name = "first.part";
}

__attribute__((visibility("default"))) const struct sluice_connector *sluice_connector(void);

const struct sluice_connector *sluice_connector(void)
{
    struct sluice_connector *connector = &bad.connector;

    spoil_options();
    if (is("null"))
        return NULL;
    if (is("magic"))
        connector->magic = 1;
    if (is("major"))
        connector->abi_major = 7;
    if (is("size"))
        connector->struct_size = 64;
    if (is("text"))
        connector->description = NULL;
    if (is("name"))
        connector->name = "good";
    if (is("operation"))
        connector->settle = NULL;
    if (is("publish"))
        connector->capabilities = SLUICE_CAN_PUBLISH;
    if (is("trace"))
        connector->capabilities = SLUICE_BROWSE_LEAVES_TRACE;
    if (is("table"))
        connector->options = NULL;
    if (is("minor")) {
        connector->abi_minor = 9;
        connector->struct_size = sizeof bad;
    }
    if (is("old"))
        connector->struct_size = offsetof(struct sluice_connector, check);
    return connector;
}
