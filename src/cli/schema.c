/* SPDX-License-Identifier: MIT
 * `sluice schema`: JSON Schema of the configuration files, from the option tables, for editors. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/schema_filter.h"
#include "io/plugin.h"
#include "service/config.h"

#define DURATION "(0|[0-9]+(\\.[0-9]+)? ?(us|ms|s|m|h|d))"
#define DECIMAL  "[0-9]+(\\.[0-9]+)?([eE][-+]?[0-9]+)?"
#define BYTES    "[0-9]+(\\.[0-9]+)? ?(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)?"

#define USES (SLUICE_OPTION_CONSUME | SLUICE_OPTION_PUBLISH)

enum { SERVICE, CONNECTORS };

static const struct arguments_option options[] = {
    [SERVICE] = {"service", 0, NULL, "The schema of sluice.yaml instead."},
    [CONNECTORS] = {"connectors", 0, "DIR", "Load connectors from DIR only."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "schema",
    .synopsis = "[OPTION...]",
    .description =
        "Prints the JSON Schema (draft 2020-12) of mapping files, with the options of all connectors\n"
        "that are found. Editors complete and check by it: put this into the first line of a file,\n"
        "  # yaml-language-server: $schema=/usr/share/sluice/sluice-mapping.schema.json\n"
        "`sluice check` knows more than a schema can say.",
    .options = options,
    .examples = "  sluice schema > sluice-mapping.schema.json\n"
                "  sluice schema --service",
};

/* ---- one option ---- */

static json_t *typed(const char *type)
{
    return json_pack("{s:[s, s]}", "type", type, "null"); /* null takes a default away */
}

/* Text like that, or a whole number from 0 to `most`. */
static json_t *text_like(const char *pattern, json_int_t most)
{
    char *whole = memory_format("^%s$", pattern);
    json_t *schema = json_pack("{s:[s, s, s], s:s, s:i, s:I}", "type", "string", "integer", "null",
                               "pattern", whole, "minimum", 0, "maximum", most);

    free(whole);
    return schema;
}

static json_t *choices_of(const struct sluice_option *option)
{
    json_t *choices = json_array();

    for (const char *const *choice = option->choices; *choice; choice++)
        json_array_append_new(choices, json_string(*choice));
    json_array_append_new(choices, json_null());
    return json_pack("{s:o}", "enum", choices);
}

static json_t *integer_of(const struct sluice_option *option)
{
    json_t *schema = typed("integer");

    if (option->minimum || option->maximum) {
        json_object_set_new(schema, "minimum", json_integer(option->minimum));
        json_object_set_new(schema, "maximum", json_integer(option->maximum));
    }
    return schema;
}

/* A duration, or the one word that stands for none. */
static json_t *duration_or(const char *word)
{
    char *pattern = memory_format(DURATION "|%s", word);
    json_t *type = text_like(pattern, 0);

    free(pattern);
    return type;
}

static json_t *type_of(const struct sluice_option *option)
{
    switch (option->type) {
    case SLUICE_INT:
        return integer_of(option);
    case SLUICE_BOOL:
        return typed("boolean");
    case SLUICE_BYTES:
        return text_like(BYTES, option->maximum ? option->maximum : INT64_MAX);
    case SLUICE_DURATION:
        return option->choices ? duration_or(option->choices[0]) : text_like(DURATION, 0);
    case SLUICE_ENUM:
        return choices_of(option);
    case SLUICE_LIST:
        return json_pack("{s:[s, s, s], s:{s:[s, s, s]}}", "type", "array", "string", "null",
                         "items", "type", "string", "number", "boolean");
    case SLUICE_MAP:
        return json_pack("{s:[s, s], s:{s:[s, s, s]}}", "type", "object", "null",
                         "additionalProperties", "type", "string", "number", "boolean");
    case OPTION_INT_RANGE:
        return text_like("[0-9]+(\\.\\.[0-9]+)?", option->maximum);
    case OPTION_DURATION_RANGE:
        return text_like(DURATION "(\\.\\." DURATION ")?", 0);
    case OPTION_DECIMAL:
        return json_pack("{s:[s, s, s], s:s, s:I, s:I}", "type", "number", "string", "null",
                         "pattern", "^" DECIMAL "$", "minimum", (json_int_t)option->minimum,
                         "maximum", (json_int_t)option->maximum);
    case OPTION_ELSEWHERE:
        return json_object();
    default: /* a text may look like a number */
        return json_pack("{s:[s, s, s, s]}", "type", "string", "number", "boolean", "null");
    }
}

/* ---- a table ---- */

static json_t *new_object(void)
{
    return json_pack("{s:[s, s], s:{}, s:b}", "type", "object", "null", "properties",
                     "additionalProperties", 0);
}

static void require(json_t *object, const char *name)
{
    json_t *required = json_object_get(object, "required"), *other;
    size_t i;

    if (!required) {
        required = json_array();
        json_object_set_new(object, "required", required);
    }
    json_array_foreach(required, i, other) if (!strcmp(json_string_value(other), name)) return;
    json_array_append_new(required, json_string(name));
}

/* Puts an option where its dots say, making what is above it. */
static void add_option(json_t *object, const struct sluice_option *option, bool with_required)
{
    char *name = memory_text(option->name), *part = name, *dot;
    bool required = with_required && option->flags & SLUICE_OPTION_REQUIRED;
    json_t *schema = type_of(option), *below;

    for (; (dot = strchr(part, '.')); part = dot + 1) {
        *dot = '\0';
        if (required)
            require(object, part);
        below = json_object_get(json_object_get(object, "properties"), part);
        if (!below) {
            below = new_object();
            json_object_set_new(json_object_get(object, "properties"), part, below);
        }
        object = below;
    }
    if (required)
        require(object, part);
    json_object_set_new(schema, "description", json_string(option->help));
    if (option->default_text)
        json_object_set_new(schema, "x-default", json_string(option->default_text));
    json_object_set_new(json_object_get(object, "properties"), part, schema);
    free(name);
}

static json_t *table_schema(const struct sluice_option *table, bool with_required)
{
    json_t *object = new_object();

    for (; table->name; table++)
        if ((table->flags & USES) != SLUICE_OPTION_PUBLISH)
            add_option(object, table, with_required);
    return object;
}

/* The options that a connector has where it only publishes. */
static json_t *place_table_schema(const struct sluice_option *table)
{
    json_t *object = new_object();

    for (; table->name; table++)
        if ((table->flags & USES) != SLUICE_OPTION_CONSUME)
            add_option(object, table, !(table->flags & SLUICE_OPTION_CONSUME));
    return object;
}

/* ---- the files ---- */

/* One connector, by its name; for a place, one that can be it. */
static json_t *connectors_schema(const char *directory, bool place, bool with_required)
{
    struct plugin_found *list;
    size_t count = plugin_list(directory, &list);
    json_t *object = new_object(), *properties = json_object_get(object, "properties");

    for (size_t i = 0; i < count; i++)
        if (list[i].plugin && place && list[i].plugin->connector.open_publisher)
            json_object_set_new(properties, list[i].name,
                                place_table_schema(list[i].plugin->connector.options));
        else if (list[i].plugin && !place)
            json_object_set_new(properties, list[i].name,
                                table_schema(list[i].plugin->connector.options, with_required));
        else if (!list[i].plugin && !place)
            fprintf(stderr, "sluice schema: %s\n", list[i].fault.text);
    if (with_required) {
        json_object_set_new(object, "minProperties", json_integer(1));
        json_object_set_new(object, "maxProperties", json_integer(1));
    }
    plugin_free_list(list, count);
    return object;
}

/* A connector, or the name of a topic or queue; in place of what stands there but its description. */
static void set_place(json_t *schema, const char *directory)
{
    json_t *letters = json_object_get(json_object_get(schema, "properties"), "dead_letter");
    json_t *to = json_object_get(json_object_get(letters, "properties"), "to");
    json_t *connectors = connectors_schema(directory, true, true);

    json_object_set_new(connectors, "type", json_string("object"));
    json_object_set_new(to, "anyOf", json_pack("[{s:[s, s, s]}, o]", "type", "string", "number", "null", connectors));
}

static json_t *mapping_schema(const char *directory, bool with_required)
{
    json_t *schema = table_schema(mapping_table, with_required);
    json_t *properties = json_object_get(schema, "properties"), *filter = schema_filter();

    json_object_set_new(properties, "source", connectors_schema(directory, false, with_required));
    json_object_update(json_object_get(properties, "filter"), filter);
    json_decref(filter);
    set_place(schema, directory);
    return schema;
}

static json_t *service_schema(const char *directory)
{
    json_t *schema = table_schema(service_table, true);

    json_object_set_new(json_object_get(schema, "properties"), "defaults",
                        mapping_schema(directory, false));
    return schema;
}

int cmd_schema(int argc, char **argv)
{
    const char *directory = NULL;
    struct arguments arguments;
    bool service = false;
    json_t *schema;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        if (option == SERVICE)
            service = true;
        else
            directory = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count)
        return arguments_refuse(&arguments, "unexpected \"%s\"", arguments.operands[0]);
    /* What a mapping must have may stand in the defaults of sluice.yaml. */
    schema = service ? service_schema(directory) : mapping_schema(directory, false);
    json_object_set_new(schema, "$defs", schema_filter_definitions());
    json_object_set_new(schema, "$schema",
                        json_string("https://json-schema.org/draft/2020-12/schema"));
    json_object_set_new(schema, "title", json_string(service ? "sluice.yaml" : "sluice mapping"));
    json_dumpf(schema, stdout, JSON_INDENT(2) | JSON_SORT_KEYS);
    putchar('\n');
    json_decref(schema);
    return EX_OK;
}
