/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/buffer.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "io/plugin.h"
#include "service/options.h"

enum { JSON, CONNECTORS };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print JSON."},
    [CONNECTORS] = {"connectors", 0, "DIR", "Look into DIR only."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "connectors",
    .synopsis = "[OPTION...] [NAME]",
    .description =
        "Lists the connectors that can be used; with NAME, the options of one.\n"
        "They are looked for in $SLUICE_CONNECTORS, in connectors/ beside the program, and\n"
        "in " SLUICE_CONNECTOR_DIRECTORY ".",
    .options = options,
    .examples = "  sluice connectors\n"
                "  sluice connectors kafka\n"
                "  sluice connectors --json kafka | jq '.options[].name'",
};

static const struct {
    uint32_t bit;
    const char *name;
} capabilities[] = {
    {SLUICE_CAN_SETTLE_UP_TO, "settle-up-to"},
    {SLUICE_CAN_DELAY, "delay"},
    {SLUICE_CAN_EXTEND, "extend"},
    {SLUICE_CAN_PUBLISH, "publish"},
    {SLUICE_CAN_BROWSE, "browse"},
    {SLUICE_CAN_PAUSE_LANE, "pause-lane"},
    {SLUICE_HAS_DELIVERY_COUNT, "delivery-count"},
    {SLUICE_HAS_MESSAGE_ID, "message-id"},
    {SLUICE_HAS_KEY, "key"},
    {SLUICE_IS_ORDERED, "ordered"},
    {SLUICE_HAS_STABLE_IDENTITY, "stable-identity"},
};

#define CAPABILITIES (sizeof capabilities / sizeof capabilities[0])

/* ---- JSON ---- */

static json_t *option_json(const struct sluice_option *option)
{
    json_t *object = json_pack("{s:s, s:s, s:b, s:b, s:s*, s:s}", "name", option->name, "type",
                               options_type_name(option->type), "required",
                               option->flags & SLUICE_OPTION_REQUIRED ? 1 : 0, "advanced",
                               option->flags & SLUICE_OPTION_ADVANCED ? 1 : 0, "default",
                               option->default_text, "help", option->help);
    const char *const *choice;

    if (option->minimum || option->maximum) {
        json_object_set_new(object, "minimum", json_integer(option->minimum));
        json_object_set_new(object, "maximum", json_integer(option->maximum));
    }
    if (option->type == SLUICE_ENUM) {
        json_t *choices = json_array();

        for (choice = option->choices; *choice; choice++)
            json_array_append_new(choices, json_string(*choice));
        json_object_set_new(object, "choices", choices);
    }
    return object;
}

static json_t *plugin_json(const struct plugin *plugin, bool with_options)
{
    const struct sluice_connector *connector = &plugin->connector;
    const struct sluice_option *option;
    json_t *can = json_array(), *table = json_array();
    char abi[16];
    size_t i;

    snprintf(abi, sizeof abi, "%u.%u", connector->abi_major, connector->abi_minor);
    for (i = 0; i < CAPABILITIES; i++)
        if (connector->capabilities & capabilities[i].bit)
            json_array_append_new(can, json_string(capabilities[i].name));
    for (option = connector->options; with_options && option->name; option++)
        json_array_append_new(table, option_json(option));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o*}", "name", plugin->name, "path",
                     plugin->path, "version", connector->version, "abi", abi, "description",
                     connector->description, "capabilities", can, "options",
                     with_options ? table : (json_decref(table), NULL));
}

static void print_json(json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(document);
}

/* ---- text ---- */

static void print_capabilities(const struct sluice_connector *connector)
{
    size_t i;

    for (i = 0; i < CAPABILITIES; i++)
        if (connector->capabilities & capabilities[i].bit)
            printf(" %s", capabilities[i].name);
    putchar('\n');
}

static void print_option(const struct sluice_option *option)
{
    struct buffer expected;

    buffer_init(&expected, 8192);
    options_print_expected(option, &expected);
    printf("\n  %s%s\n      %s\n      %c%s", option->name,
           option->flags & SLUICE_OPTION_REQUIRED ? " (required)" : "", option->help,
           *buffer_text(&expected) >= 'a' && option->type != SLUICE_ENUM &&
                   option->type != SLUICE_BOOL
               ? *buffer_text(&expected) - 'a' + 'A'
               : *buffer_text(&expected),
           buffer_text(&expected) + 1);
    if (option->default_text)
        printf("; default %s", option->default_text);
    putchar('\n');
    buffer_fini(&expected);
}

static void print_plugin(const struct plugin *plugin)
{
    const struct sluice_connector *connector = &plugin->connector;
    const struct sluice_option *option;

    printf("%s %s: %s\n%s\nABI %u.%u; it can:", plugin->name, connector->version,
           connector->description, plugin->path, connector->abi_major, connector->abi_minor);
    print_capabilities(connector);
    printf("\nOptions, below `source: { %s: ... }`; a dot means nesting:\n", plugin->name);
    for (option = connector->options; option->name; option++)
        print_option(option);
}

/* ---- commands ---- */

static int show_one(const char *name, const char *directory, bool json)
{
    struct fault fault;
    const struct plugin *plugin = plugin_load(name, directory, &fault);

    if (!plugin) {
        fprintf(stderr, "sluice connectors: %s\n", fault.text);
        return EX_UNAVAILABLE;
    }
    if (json)
        print_json(plugin_json(plugin, true));
    else
        print_plugin(plugin);
    return EX_OK;
}

static int list_all(const char *directory, bool json)
{
    struct plugin_found *list;
    size_t count = plugin_list(directory, &list), i;
    json_t *document = json ? json_array() : NULL;
    int code = EX_OK;

    for (i = 0; i < count; i++) {
        const struct plugin_found *found = &list[i];

        if (!found->plugin) {
            code = EX_CONFIG;
            fprintf(stderr, "sluice connectors: %s\n", found->fault.text);
            if (json)
                json_array_append_new(document,
                                      json_pack("{s:s, s:s, s:s}", "name", found->name, "path",
                                                found->path, "error", found->fault.text));
        } else if (json) {
            json_array_append_new(document, plugin_json(found->plugin, false));
        } else {
            printf("%-12s %-10s %s\n%24s%s\n%24sABI %u.%u:", found->name,
                   found->plugin->connector.version, found->plugin->connector.description, "",
                   found->plugin->path, "", found->plugin->connector.abi_major,
                   found->plugin->connector.abi_minor);
            print_capabilities(&found->plugin->connector);
        }
    }
    if (!count && !json) {
        char *places = plugin_places(directory);

        printf("No connector in %s.\n", places);
        free(places);
    }
    if (json)
        print_json(document);
    plugin_free_list(list, count);
    return code;
}

int cmd_connectors(int argc, char **argv)
{
    struct arguments arguments;
    const char *directory = NULL;
    bool json = false;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        if (option == JSON)
            json = true;
        else
            directory = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "unexpected \"%s\"", arguments.operands[1]);
    return arguments.operand_count ? show_one(arguments.operands[0], directory, json)
                                   : list_all(directory, json);
}
