/* SPDX-License-Identifier: MIT
 * `sluice status`: how the running service is. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/status_view.h"
#include "cli/status_watch.h"
#include "io/control_client.h"

enum { WATCH, JSON, STATE, SOCKET, CONTROL };

static const struct arguments_option options[] = {
    [WATCH] = {"watch", 'w', NULL, "Show it live, once a second, until q."},
    [JSON] = {"json", 'j', NULL, "Print what the service answers."},
    [STATE] = {"state", 's', "DIR", "State directory, where the service does not use its usual one."},
    [SOCKET] = {"socket", 0, "PATH", "The control socket itself."},
    [CONTROL] = {"control", 0, "URL",
                 "The service's control_http instead; $SLUICE_CONTROL_TOKEN is what it asks for."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "status",
    .synopsis = "[OPTION...] [MAPPING]",
    .description =
        "Tells how the running service is: the state of each mapping with its reason, how far it is\n"
        "behind, its rates, and what went wrong lately.\n\n"
        "Exits with 0 if all is good, 1 if something does not work now and will by itself, or was\n"
        "stopped by an operator, 2 if something needs a person, 69 if no service is reached.",
    .options = options,
    .examples = "  sluice status\n"
                "  sluice status orders\n"
                "  sluice status --watch\n"
                "  sluice status --json | jq '.mappings[] | select(.health != \"good\")'",
};

static void print_answer(const json_t *answer, const char *mapping, bool json)
{
    struct screen screen;

    screen_look(&screen);
    screen.height = -1U; /* it may scroll */
    if (json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (mapping) {
        status_view_mapping(&screen, answer);
    } else {
        status_view_list(&screen, answer);
    }
}

static int show(const struct control_place *place, const char *mapping, bool json)
{
    char *path = mapping ? memory_format("/v1/mappings/%s", mapping) : memory_text("/v1/status");
    json_t *answer, *service;
    int code = control_ask("status", place, "GET", path, NULL, &answer);

    if (code == EX_OK) {
        service = mapping ? json_pack("{s:[O]}", "mappings", answer) : json_incref(answer);
        print_answer(answer, mapping, json);
        code = status_view_health(service);
        json_decref(service);
    }
    json_decref(answer);
    free(path);
    return code;
}

int cmd_status(int argc, char **argv)
{
    struct control_place place = {0};
    struct arguments arguments;
    bool watch = false, json = false;
    const char *mapping;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        watch |= option == WATCH;
        json |= option == JSON;
        if (option == STATE)
            place.state = arguments.value;
        else if (option == SOCKET || option == CONTROL)
            place.socket = arguments.value;
        if (option == CONTROL && !control_client_is_url(place.socket))
            return arguments_refuse(&arguments, "--control: found \"%s\", expected http://... or "
                                    "https://...", place.socket);
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "one mapping at most");
    if (watch && json)
        return arguments_refuse(&arguments, "--watch is for people, --json for scripts");
    mapping = arguments.operand_count ? arguments.operands[0] : NULL;
    if (mapping && !control_could_be_mapping(mapping)) {
        fprintf(stderr, "sluice status: there is no mapping %s\n", mapping);
        return EX_DATAERR;
    }
    return watch ? status_watch(&place, mapping) : show(&place, mapping, json);
}
