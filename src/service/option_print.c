/* SPDX-License-Identifier: MIT
 * Options as text: values as a user would write them, and what a table accepts. */
#include "service/options.h"

#include <string.h>

#include "base/units.h"
#include "service/option_print.h"

const char *options_type_name(uint32_t type)
{
    switch (type) {
    case SLUICE_INT:
        return "number";
    case SLUICE_BOOL:
        return "boolean";
    case SLUICE_BYTES:
        return "bytes";
    case SLUICE_DURATION:
        return "duration";
    case SLUICE_ENUM:
        return "choice";
    case SLUICE_SECRET:
        return "secret";
    case SLUICE_LIST:
        return "list";
    case SLUICE_MAP:
        return "map";
    case OPTION_INT_RANGE:
        return "number or range";
    case OPTION_DURATION_RANGE:
        return "duration or range";
    case OPTION_PATH:
        return "path";
    case OPTION_DECIMAL:
        return "decimal";
    case OPTION_ELSEWHERE:
        return "section";
    default:
        return "text";
    }
}

static void print_number(uint32_t type, int64_t number, struct buffer *buffer)
{
    char text[UNITS_TEXT];

    if (type == SLUICE_BYTES)
        buffer_add_text(buffer, units_print_bytes(number, text));
    else if (type == SLUICE_DURATION || type == OPTION_DURATION_RANGE)
        buffer_add_text(buffer, units_print_duration(number, text));
    else if (type == SLUICE_BOOL)
        buffer_add_text(buffer, number ? "true" : "false");
    else
        buffer_add_number(buffer, number);
}

static void print_choices(const struct sluice_option *option, struct buffer *buffer)
{
    const char *const *choice = option->choices;

    for (; *choice; choice++)
        buffer_format(buffer, "%s%s",
                      choice == option->choices ? ""
                      : choice[1]               ? ", "
                                                : " or ",
                      *choice);
}

void options_print_expected(const struct sluice_option *option, struct buffer *buffer)
{
    static const char *const wanted[] = {
        [SLUICE_STRING] = "text",
        [SLUICE_INT] = "a whole number",
        [SLUICE_BOOL] = "true or false",
        [SLUICE_BYTES] = "an amount of bytes such as 64 KiB or 1 MiB",
        [SLUICE_DURATION] = "a duration such as 200ms, 5s or 6h",
        [SLUICE_SECRET] = "text, better by !credential NAME, !file PATH or !env NAME",
        [SLUICE_LIST] = "a list of texts",
        [SLUICE_MAP] = "a map of names to texts",
    };

    if (option->type == SLUICE_ENUM)
        print_choices(option, buffer);
    else if (option->type == OPTION_INT_RANGE)
        buffer_add_text(buffer, "a number such as 8 or a range such as 1..32");
    else if (option->type == OPTION_DURATION_RANGE)
        buffer_add_text(buffer, "a duration such as 1s or a range such as 200ms..30s");
    else if (option->type == OPTION_DECIMAL)
        buffer_add_text(buffer, "a number such as 0.01");
    else if (option->type == OPTION_PATH)
        buffer_add_text(buffer, "a path");
    else if (option->type < sizeof wanted / sizeof wanted[0] && wanted[option->type])
        buffer_add_text(buffer, wanted[option->type]);
    if (option->type == SLUICE_STRING && (option->flags & SLUICE_OPTION_REQUIRED))
        buffer_add_text(buffer, " that is not empty");
    if (option->minimum || option->maximum) {
        bool is_example = option->type != SLUICE_INT;

        buffer_add_text(buffer, is_example ? ", from " : " from ");
        print_number(option->type, option->minimum, buffer);
        buffer_add_text(buffer, " to ");
        print_number(option->type, option->maximum, buffer);
    }
    if (option->type == SLUICE_DURATION && option->choices)
        buffer_format(buffer, ", or %s", option->choices[0]);
}

void option_print(const struct sluice_option *option, const struct option_value *value,
                  struct buffer *buffer)
{
    size_t i;

    if (!value->set || option->type == OPTION_ELSEWHERE)
        return;
    switch (option->type) {
    case SLUICE_SECRET:
        buffer_add_text(buffer, "(secret)");
        break;
    case SLUICE_STRING:
    case SLUICE_ENUM:
    case OPTION_PATH:
    case OPTION_DECIMAL:
        buffer_add_text(buffer, value->text);
        break;
    case SLUICE_LIST:
        for (i = 0; i < value->count; i++)
            buffer_format(buffer, "%s%s", i ? ", " : "", value->items[i]);
        break;
    case SLUICE_MAP:
        for (i = 0; i < value->count; i++)
            buffer_format(buffer, "%s%s: %s", i ? ", " : "", value->items[i],
                          value->referred[i] ? "(secret)" : value->map_values[i]);
        break;
    default:
        if (option->choices && !value->number) {
            buffer_add_text(buffer, option->choices[0]);
            break;
        }
        print_number(option->type, value->number, buffer);
        if (value->most != value->number &&
            (option->type == OPTION_INT_RANGE || option->type == OPTION_DURATION_RANGE)) {
            buffer_add_text(buffer, "..");
            print_number(option->type, value->most, buffer);
        }
    }
}
