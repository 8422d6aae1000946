/* SPDX-License-Identifier: MIT */
#include "cli/check_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sluice/connector.h>

#include "base/buffer.h"
#include "io/json_value.h"
#include "service/options.h"

#define RED    "\033[31m"
#define YELLOW "\033[33m"
#define GREEN  "\033[32m"
#define PLAIN  "\033[0m"

static const char *paint(const struct check_report *report, const char *colour)
{
    return report->colour ? colour : "";
}

static void append(struct check_report *report, const char *list, json_t *item)
{
    json_t *items = json_object_get(report->document, list);

    if (!items) {
        items = json_array();
        json_object_set_new(report->document, list, items);
    }
    json_array_append_new(items, item);
}

void check_report_begin(struct check_report *report, bool json)
{
    const char *no_colour = getenv("NO_COLOR");

    report->document = json ? json_object() : NULL;
    report->colour = !json && isatty(STDERR_FILENO) && (!no_colour || !*no_colour);
}

void check_report_problems(struct check_report *report, const struct problems *problems)
{
    size_t i;

    for (i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];

        if (report->document)
            append(report, "problems",
                   json_pack("{s:s, s:s, s:s}", "severity", problem->warning ? "warning" : "error",
                             "place", problem->place, "text", problem->text));
        else
            fprintf(stderr, "%s%s%s%s%s%s\n", problem->place, *problem->place ? ": " : "",
                    paint(report, problem->warning ? YELLOW : RED),
                    problem->warning ? "warning: " : "", paint(report, PLAIN), problem->text);
    }
    if (!report->document && problems->errors + problems->warnings > problems->count)
        fprintf(stderr, "and %zu more\n", problems->errors + problems->warnings - problems->count);
}

/* The effective settings, by dotted name. */
static json_t *settings_of(const struct sluice_values *values)
{
    const struct sluice_option *option;
    json_t *object = json_object();

    for (option = options_table(values); option->name; option++) {
        struct buffer text;

        if (!options_is_set(values, option->name) || option->type == OPTION_ELSEWHERE)
            continue;
        buffer_init(&text, 64 * 1024);
        options_print(values, option->name, &text);
        json_object_set_new(object, option->name, json_stringn(buffer_text(&text), text.size));
        buffer_fini(&text);
    }
    return object;
}

/* null: the state directory. */
static json_t *place_of(const struct letters_to *to)
{
    if (!to->connector)
        return json_null();
    return json_pack("{s:s, s:s, s:o}", "connector", to->connector->name, "place", to->text,
                     "options", to->is_source ? json_object() : settings_of(to->values));
}

void check_report_explained(struct check_report *report, const struct mapping *mapping,
                            const char *text)
{
    if (report->document)
        append(report, "explanations",
               json_pack("{s:s, s:s}", "mapping", mapping->name, "text", text));
    else
        printf("%s\n", text);
}

void check_report_tried(struct check_report *report, const struct mapping *mapping, bool good,
                        const char *text)
{
    if (report->document) {
        append(report, "tried",
               json_pack("{s:s, s:o, s:b, s:s}", "mapping", mapping->name, "file",
                         json_value_text(mapping->file), "ok", good, "text", text));
        return;
    }
    if (good)
        printf("%s: %sok%s: %s\n", mapping->name, paint(report, GREEN), paint(report, PLAIN), text);
    else
        fprintf(stderr, "%s: %sfailed%s: %s (%s)\n", mapping->name, paint(report, RED),
                paint(report, PLAIN), text, mapping->file);
    fflush(stdout);
}

static const char *plural(size_t count)
{
    return count == 1 ? "" : "s";
}

static void end_document(struct check_report *report, const struct configuration *configuration,
                         const struct problems *problems, bool good)
{
    size_t i;

    for (i = 0; configuration && i < configuration->mapping_count; i++) {
        const struct mapping *mapping = configuration->mappings[i];

        append(report, "mappings",
               json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "name", mapping->name, "file",
                         mapping->file, "revision", mapping->revision, "connector",
                         mapping->connector->name, "source", settings_of(mapping->values),
                         "settings", settings_of(mapping->settings), "dead_letter_to",
                         place_of(&mapping->letters_to)));
    }
    json_object_set_new(report->document, "errors", json_integer((json_int_t)problems->errors));
    json_object_set_new(report->document, "warnings", json_integer((json_int_t)problems->warnings));
    json_object_set_new(report->document, "ok", json_boolean(configuration && good));
    json_dumpf(report->document, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(report->document);
    report->document = NULL;
}

void check_report_end(struct check_report *report, const struct configuration *configuration,
                      const struct problems *problems, bool good)
{
    if (report->document) {
        end_document(report, configuration, problems, good);
    } else if (!configuration) {
        fprintf(stderr, "%zu mistake%s\n", problems->errors, plural(problems->errors));
    } else if (good) {
        size_t count = configuration->mapping_count;

        printf("%zu mapping%s %s fine", count, plural(count), count == 1 ? "is" : "are");
        if (problems->warnings)
            printf(", with %zu warning%s", problems->warnings, plural(problems->warnings));
        putchar('\n');
    }
}
