/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sysexits.h>

#include <jansson.h>

#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/option_listing.h"
#include "io/plugin.h"

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
    {SLUICE_NEEDS_POSITION, "needs-position"},
    {SLUICE_LACKS_HEADERS, "lacks-headers"},
    {SLUICE_BROWSE_LEAVES_TRACE, "browse-leaves-trace"},
};

#define CAPABILITIES (sizeof capabilities / sizeof capabilities[0])

/* ---- JSON ---- */

static json_t *plugin_json(const struct plugin *plugin, bool with_options)
{
    const struct sluice_connector *connector = &plugin->connector;
    json_t *can = json_array();
    char abi[16];
    size_t i;

    snprintf(abi, sizeof abi, "%u.%u", connector->abi_major, connector->abi_minor);
    for (i = 0; i < CAPABILITIES; i++)
        if (connector->capabilities & capabilities[i].bit)
            json_array_append_new(can, json_string(capabilities[i].name));
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:o, s:o*}", "name", plugin->name, "path",
                     plugin->path, "version", connector->version, "abi", abi, "description",
                     connector->description, "capabilities", can, "options",
                     with_options ? option_listing_json(connector->options) : NULL);
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

static void print_plugin(const struct plugin *plugin)
{
    const struct sluice_connector *connector = &plugin->connector;

    printf("%s %s: %s\n%s\nABI %u.%u; it can:", plugin->name, connector->version,
           connector->description, plugin->path, connector->abi_major, connector->abi_minor);
    print_capabilities(connector);
    printf("\nOptions, below `source: { %s: ... }`; a dot means nesting:\n", plugin->name);
    option_listing_print(connector->options, NULL);
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
