/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include <jansson.h>

#include "base/buffer.h"
#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/check_report.h"
#include "cli/cli.h"
#include "io/http_probe.h"
#include "service/config.h"
#include "service/explain.h"
#include "service/trial.h"

#define EXPLANATION_MAX ((size_t)64 * 1024)

enum { CONNECT, EXPLAIN, JSON, CONFIG, CONNECTORS, TIMEOUT };

static const struct arguments_option options[] = {
    [CONNECT] = {"connect", 'c', NULL,
                 "Try the source, the place of dead letters and the function for real, invoking nothing."},
    [EXPLAIN] = {"explain", 'e', NULL, "Tell in plain sentences what each mapping will do."},
    [JSON] = {"json", 'j', NULL, "Print one JSON document instead of text."},
    [CONFIG] = {"config", 0, "DIR", "Take settings and defaults from DIR/sluice.yaml."},
    [CONNECTORS] = {"connectors", 0, "DIR", "Load connectors from DIR only."},
    [TIMEOUT] = {"timeout", 0, "TIME", "How long --connect may take for each mapping (10s)."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "check",
    .synopsis = "[OPTION...] [PATH...]",
    .description =
        "Reads mapping files as `sluice run` would, and prints all mistakes with their places.\n"
        "PATH is a directory with sluice.yaml and mappings.d (default " SLUICE_CONFIG_DIRECTORY
        "),\n"
        "a directory of mapping files, or a mapping file. Exits with 0 if all is fine, 78 if not,\n"
        "and 69 if only --connect found something.",
    .options = options,
    .examples = "  sluice check /etc/sluice\n"
                "  sluice check --explain mappings.d/orders.yaml\n"
                "  sluice check --connect --json",
};

struct wishes {
    bool connect, explain, json;
    int64_t timeout_us;
    struct overrides overrides;
};

/* ---- the real thing ---- */

struct trying {
    struct check_report *report;
    const struct mapping *mapping;
    bool failed; /* something was reported that does not work */
    const char *part; /* goes before what is reported; NULL: nothing */
    const char *place; /* `kafka letters`, for what fails without naming it; NULL: nothing */
};

static void report_found(void *cookie, bool ok, const char *text)
{
    struct trying *trying = cookie;
    const char *name = trying->place ? strchr(trying->place, ' ') : NULL;
    bool names = ok || !name || strstr(text, name + 1);
    char *whole = memory_format("%s%s%s%s%s", trying->part ? trying->part : "", text,
                                names ? "" : " (", names ? "" : trying->place, names ? "" : ")");

    trying->failed = trying->failed || !ok;
    check_report_tried(trying->report, trying->mapping, ok, whole);
    free(whole);
}

static bool try_source(struct trying *trying, int64_t timeout_us)
{
    const struct mapping *mapping = trying->mapping;
    const struct retry_settings *retry = &mapping->rules.retry;
    const struct sluice_check check = {
        .deadline_us = timeout_us,
        .hold_us = retry->age_us ? retry->age_us + mapping->target.timeout_us : -1,
        .cookie = trying,
        .report = report_found,
    };
    char text[128];
    int result = trial_check(mapping->connector, mapping->values, &check);

    if (result == 1) {
        snprintf(text, sizeof text, "source.%.60s: the connector has no check of its own",
                 mapping->connector->name);
        check_report_tried(trying->report, mapping, true, text);
        return true;
    }
    if (result != 0 && !trying->failed)
        report_found(trying, false, "the connector's check failed without saying why");
    return !trying->failed && result == 0;
}

static bool try_place(struct trying *trying, int64_t timeout_us)
{
    const struct letters_to *to = &trying->mapping->letters_to;
    const struct sluice_check check = {
        .deadline_us = timeout_us,
        .cookie = trying,
        .report = report_found,
        .destination = to->name,
    };
    int result;

    if (!to->connector)
        return true;
    trying->part = "dead_letter.to: ";
    trying->place = to->text;
    trying->failed = false;
    result = trial_check_place(to->connector, to->values, &check);
    if (result == 1)
        report_found(trying, true, "the connector has no check of its own");
    else if (result != 0 && !trying->failed)
        report_found(trying, false, "the connector's check failed without saying why");
    return !trying->failed && result >= 0;
}

static bool try_target(struct trying *trying, int64_t timeout_us)
{
    const struct mapping *mapping = trying->mapping;
    struct fault fault;
    char text[600];
    bool good = http_probe_connect(&mapping->target, timeout_us, &fault) == 0;

    if (good)
        snprintf(text, sizeof text, "target.http: connected to %.400s", mapping->target.url);
    else
        snprintf(text, sizeof text, "target.http: %s", fault.text);
    check_report_tried(trying->report, mapping, good, text);
    return good;
}

/* Tries every mapping. Whether all worked. */
static bool try_all(struct check_report *report, const struct configuration *configuration,
                    int64_t timeout_us)
{
    bool good = true;
    size_t i;

    for (i = 0; i < configuration->mapping_count; i++) {
        struct trying trying = {.report = report, .mapping = configuration->mappings[i]};
        bool source = try_source(&trying, timeout_us);
        bool place = try_place(&trying, timeout_us);

        good = try_target(&trying, timeout_us) && source && place && good;
    }
    return good;
}

static void explain_all(struct check_report *report, const struct configuration *configuration)
{
    size_t i;

    for (i = 0; i < configuration->mapping_count; i++) {
        struct buffer text;

        buffer_init(&text, EXPLANATION_MAX);
        explain_mapping(configuration->mappings[i], &text);
        check_report_explained(report, configuration->mappings[i], buffer_text(&text));
        buffer_fini(&text);
    }
}

static int check_paths(const struct wishes *wishes, const char *const *paths, size_t count)
{
    struct problems problems = {0};
    struct configuration *configuration =
        configuration_load(paths, count, &wishes->overrides, &problems);
    struct check_report report;
    bool good = true;

    check_report_begin(&report, wishes->json);
    check_report_problems(&report, &problems);
    if (configuration) {
        if (wishes->explain)
            explain_all(&report, configuration);
        if (wishes->connect)
            good = try_all(&report, configuration, wishes->timeout_us);
    }
    check_report_end(&report, configuration, &problems, good);
    problem_free_all(&problems);
    configuration_free(configuration);
    return !configuration ? EX_CONFIG : good ? EX_OK : EX_UNAVAILABLE;
}

int cmd_check(int argc, char **argv)
{
    struct wishes wishes = {.timeout_us = 10 * CLOCK_SECOND};
    struct arguments arguments;
    const char *config = NULL;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        wishes.connect = wishes.connect || option == CONNECT;
        wishes.explain = wishes.explain || option == EXPLAIN;
        wishes.json = wishes.json || option == JSON;
        if (option == CONFIG)
            config = arguments.value;
        else if (option == CONNECTORS)
            wishes.overrides.connector_directory = arguments.value;
        else if (option == TIMEOUT &&
                 (units_parse_duration(arguments.value, &wishes.timeout_us) != 0 ||
                  wishes.timeout_us == 0))
            return arguments_refuse(&arguments,
                                    "--timeout: found \"%s\", expected a duration such as "
                                    "10s",
                                    arguments.value);
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (config && arguments.operand_count == 0) /* as `sluice run --config DIR` */
        return check_paths(&wishes, &config, 1);
    wishes.overrides.service = config;
    return check_paths(&wishes, (const char *const *)arguments.operands,
                       (size_t)arguments.operand_count);
}
