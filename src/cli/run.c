/* SPDX-License-Identifier: MIT
 * `sluice run`: all mappings of a configuration, until a signal ends it. */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/log.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "io/http_client.h"
#include "service/message_ids.h"
#include "service/service.h"

enum { CONFIG, STATE, LISTEN, CONNECTORS, LOG_FORMAT, LOG_LEVEL };

static const struct arguments_option options[] = {
    [CONFIG] = {"config", 'c', "DIR", "Read DIR/sluice.yaml and its mappings."},
    [STATE] = {"state", 's', "DIR", "Keep tokens and dead letters in DIR."},
    [LISTEN] = {"listen", 'l', "ADDRESS", "Serve metrics and health at ADDRESS (127.0.0.1:9090, unix:/path)."},
    [CONNECTORS] = {"connectors", 0, "DIR", "Load connectors from DIR only."},
    [LOG_FORMAT] = {"log-format", 0, "FORMAT", "human, json or logfmt."},
    [LOG_LEVEL] = {"log-level", 0, "LEVEL", "error, warning, info or debug."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "run",
    .synopsis = "[OPTION...] [PATH...]",
    .description =
        "Runs all mappings of the configuration (default " SLUICE_CONFIG_DIRECTORY ") in the\n"
        "foreground. SIGTERM or SIGINT gives lanes back after what is in flight has landed; a second\n"
        "one ends at once. SIGHUP takes changed files over. Exits with 0 after that, 78 if the configuration is wrong, 73 or 74 if the\n"
        "state directory cannot be used.",
    .options = options,
    .examples = "  sluice run\n"
                "  sluice run --config ./config --state ./state --listen 127.0.0.1:9090",
};

static int choose(const char *value, const char *const *choices)
{
    for (int i = 0; choices[i]; i++)
        if (!strcmp(value, choices[i]))
            return i;
    return -1;
}

static void print_problems(const struct problems *problems)
{
    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];

        fprintf(stderr, "%s%s%s%s\n", problem->place, problem->place[0] ? ": " : "",
                problem->warning ? "warning: " : "", problem->text);
    }
}

static int load_and_run(const struct overrides *overrides, const char *const *paths, size_t count)
{
    struct reload_source source = {.paths = paths, .count = count, .overrides = overrides};
    struct problems problems = {0};
    struct configuration *configuration;
    int code;

    service_block_signals();
    http_client_global_init();

    configuration = configuration_load(paths, count, overrides, &problems);
    print_problems(&problems);
    problem_free_all(&problems);
    if (!configuration)
        return EX_CONFIG;
    log_set_message_ids(message_ids);
    log_setup(configuration->service.log_level, configuration->service.log_format);
    code = service_run(configuration, &source);
    configuration_free(configuration);
    http_client_global_fini();
    return code;
}

int cmd_run(int argc, char **argv)
{
    static const char *const formats[] = {"human", "json", "logfmt", NULL};
    static const char *const levels[] = {"error", "warning", "info", "debug", NULL};
    struct overrides overrides = {0};
    struct arguments arguments;
    const char *config = NULL;
    int option, code, choice;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        if (option == CONFIG)
            config = arguments.value;
        else if (option == STATE)
            overrides.state_directory = arguments.value;
        else if (option == LISTEN)
            overrides.listen = arguments.value;
        else if (option == CONNECTORS)
            overrides.connector_directory = arguments.value;
        else if (option == LOG_FORMAT) {
            choice = choose(arguments.value, formats);
            if (choice < 0)
                return arguments_refuse(&arguments, "--log-format: found \"%s\", expected human, "
                                        "json or logfmt", arguments.value);
            overrides.log_format = (enum log_format)(LOG_HUMAN + choice);
        } else {
            choice = choose(arguments.value, levels);
            if (choice < 0)
                return arguments_refuse(&arguments, "--log-level: found \"%s\", expected error, "
                                        "warning, info or debug", arguments.value);
            overrides.log_level = (enum log_level)(LOG_ERROR + choice);
        }
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (config && arguments.operand_count == 0)
        return load_and_run(&overrides, &config, 1);
    overrides.service = config;
    return load_and_run(&overrides, (const char *const *)arguments.operands,
                        (size_t)arguments.operand_count);
}
