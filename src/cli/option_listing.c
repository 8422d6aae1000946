/* SPDX-License-Identifier: MIT */
#include "cli/option_listing.h"

#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "service/options.h"

static const char *remark_on(const struct sluice_option *option)
{
    if (option->flags & SLUICE_OPTION_REQUIRED)
        return " (required)";
    return option->flags & SLUICE_OPTION_PUBLISH ? " (only for dead letters)" : "";
}

static void print_option(const struct sluice_option *option)
{
    struct buffer expected;
    const char *text;

    buffer_init(&expected, 8192);
    options_print_expected(option, &expected);
    text = buffer_text(&expected);
    printf("\n  %s%s\n      %s\n", option->name, remark_on(option), option->help);
    if (*text)
        printf("      %s: %s", option->type == SLUICE_ENUM ? "One of" : "Value", text);
    if (option->default_text)
        printf("; default %s", option->default_text);
    if (*text)
        putchar('\n');
    buffer_fini(&expected);
}

unsigned option_listing_print(const struct sluice_option *table, const char *group)
{
    size_t size = group ? strlen(group) : 0;
    unsigned count = 0;

    for (; table->name; table++)
        if (!group || (strncmp(table->name, group, size) == 0 &&
                       (table->name[size] == '.' || !table->name[size]))) {
            print_option(table);
            count++;
        }
    return count;
}

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

json_t *option_listing_json(const struct sluice_option *table)
{
    json_t *list = json_array();

    for (; table->name; table++)
        json_array_append_new(list, option_json(table));
    return list;
}
