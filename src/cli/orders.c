/* SPDX-License-Identifier: MIT
 * `sluice reload`, `sluice pause|resume|drain MAPPING`, `sluice set MAPPING NAME=VALUE`. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/memory.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "io/control_client.h"

enum { STATE, SOCKET, CONTROL, JSON };

static const struct arguments_option options[] = {
    [STATE] = {"state", 's', "DIR", "State directory, where the service does not use its usual one."},
    [SOCKET] = {"socket", 0, "PATH", "The control socket itself."},
    [CONTROL] = {"control", 0, "URL",
                 "The service's control_http instead; $SLUICE_CONTROL_TOKEN is what it asks for."},
    [JSON] = {"json", 'j', NULL, "Print the answer as JSON."},
    {0},
};

/* Reads the command line. True: go on, with operands complete. */
static bool read_arguments(struct arguments *arguments, const struct arguments_usage *usage,
                           int argc, char **argv, struct control_place *place, bool *ret_json,
                           int *ret_exit)
{
    int option;

    *place = (struct control_place){0};
    *ret_json = false;
    arguments_begin(arguments, usage, argc, argv);
    while ((option = arguments_next(arguments, ret_exit)) >= 0) {
        if (option == STATE)
            place->state = arguments->value;
        else if (option == SOCKET || option == CONTROL)
            place->socket = arguments->value;
        else
            *ret_json = true;
        if (option == CONTROL && !control_client_is_url(place->socket)) {
            *ret_exit = arguments_refuse(arguments, "--control: found \"%s\", expected http://... or "
                                         "https://...", place->socket);
            return false;
        }
    }
    return option == ARGUMENTS_END;
}

static void print_json(const json_t *answer)
{
    json_dumpf(answer, stdout, JSON_INDENT(2));
    putchar('\n');
}

/* ---- reload ---- */

static const struct arguments_usage reload_usage = {
    .command = "reload",
    .synopsis = "[OPTION...]",
    .description =
        "Has the running service take changed files over, all or nothing: where a file is wrong,\n"
        "everything goes on as it was. Mappings that did not change do not notice. A changed one\n"
        "finishes what is in flight and starts anew, a removed one finishes and stops. Secrets and\n"
        "certificates are read again.\n\n"
        "Exits with 65 where the service refused.",
    .options = options,
    .examples = "  sluice reload\n"
                "  sluice check && sluice reload",
};

static long long number_of(const json_t *answer, const char *name)
{
    return json_integer_value(json_object_get(answer, name));
}

static void print_problems(const json_t *answer)
{
    json_t *problem;
    size_t i;

    json_array_foreach(json_object_get(answer, "problems"), i, problem)
    {
        const char *place = json_string_value(json_object_get(problem, "place"));

        fprintf(stderr, "%s%s%s%s\n", place ? place : "", place ? ": " : "",
                json_is_true(json_object_get(problem, "warning")) ? "warning: " : "",
                json_string_value(json_object_get(problem, "text")));
    }
}

static void print_reload(const json_t *answer)
{
    json_t *setting;
    size_t i;

    printf("%lld changed, %lld added, %lld removed, %lld as they were\n",
           number_of(answer, "changed"), number_of(answer, "added"), number_of(answer, "removed"),
           number_of(answer, "unchanged"));
    json_array_foreach(json_object_get(answer, "needs_restart"), i, setting)
        printf("%s: takes effect when sluice is started again\n", json_string_value(setting));
}

int cmd_reload(int argc, char **argv)
{
    struct arguments arguments;
    struct control_place place;
    json_t *answer;
    bool json;
    int code;

    if (!read_arguments(&arguments, &reload_usage, argc, argv, &place, &json, &code))
        return code;
    if (arguments.operand_count)
        return arguments_refuse(&arguments, "unexpected \"%s\"; it reloads all files",
                                arguments.operands[0]);
    code = control_ask("reload", &place, "POST", "/v1/reload", NULL, &answer);
    if (json && answer) {
        print_json(answer);
    } else {
        print_problems(answer);
        if (code == EX_OK)
            print_reload(answer);
    }
    json_decref(answer);
    return code;
}

/* ---- pause, resume, drain ---- */

#define WISH_OPTIONS                                                                               \
    .synopsis = "[OPTION...] MAPPING...", .options = options

static const struct arguments_usage pause_usage = {
    .command = "pause",
    WISH_OPTIONS,
    .description =
        "Lets mappings take no more messages and begin no more invocations until they are resumed.\n"
        "What is in flight lands. They keep their lanes, so that resuming is quick and no other\n"
        "consumer takes over. Stays across reloads, not across a restart of the service.",
    .examples = "  sluice pause orders",
};
static const struct arguments_usage resume_usage = {
    .command = "resume",
    WISH_OPTIONS,
    .description =
        "Lets paused or drained mappings go on. One that waits for its target, as that is down or\n"
        "refused the credentials, tries it again at once.",
    .examples = "  sluice resume orders",
};
static const struct arguments_usage drain_usage = {
    .command = "drain",
    WISH_OPTIONS,
    .description =
        "Lets mappings finish what is in flight, give their lanes back and stop, until they are\n"
        "resumed: other consumers of the group take over. Stays across reloads, not across a\n"
        "restart of the service. `sluice status` tells when it is done.",
    .examples = "  sluice drain orders",
};

static int wish(const struct arguments_usage *usage, int argc, char **argv)
{
    struct arguments arguments;
    struct control_place place;
    int code, worst = EX_OK;
    bool json;

    if (!read_arguments(&arguments, usage, argc, argv, &place, &json, &code))
        return code;
    if (!arguments.operand_count)
        return arguments_refuse(&arguments, "which mapping? `sluice status` lists them");
    for (int i = 0; i < arguments.operand_count; i++) {
        const char *name = arguments.operands[i];
        char *path = memory_format("/v1/mappings/%s/%s", name, usage->command);
        json_t *answer = NULL;

        if (control_could_be_mapping(name)) {
            code = control_ask(usage->command, &place, "POST", path, NULL, &answer);
        } else {
            fprintf(stderr, "sluice %s: there is no mapping %s\n", usage->command, name);
            code = EX_DATAERR;
        }
        if (json && answer)
            print_json(answer);
        json_decref(answer);
        free(path);
        worst = code != EX_OK ? code : worst;
    }
    return worst;
}

int cmd_pause(int argc, char **argv)
{
    return wish(&pause_usage, argc, argv);
}

int cmd_resume(int argc, char **argv)
{
    return wish(&resume_usage, argc, argv);
}

int cmd_drain(int argc, char **argv)
{
    return wish(&drain_usage, argc, argv);
}

/* ---- set ---- */

static const struct arguments_usage set_usage = {
    .command = "set",
    .synopsis = "[OPTION...] MAPPING concurrency=N",
    .options = options,
    .description =
        "Lets a mapping have at most N invocations in flight per poller, where its function needs\n"
        "rest. N is from 1 to what target.http.concurrency allows. It holds until the next reload or\n"
        "restart; `sluice status` tells of it.",
    .examples = "  sluice set orders concurrency=2",
};

int cmd_set(int argc, char **argv)
{
    static const char name[] = "concurrency=";
    struct arguments arguments;
    struct control_place place;
    json_t *body, *answer = NULL;
    const char *mapping, *setting;
    int64_t number;
    char *path;
    bool json;
    int code;

    if (!read_arguments(&arguments, &set_usage, argc, argv, &place, &json, &code))
        return code;
    if (arguments.operand_count != 2)
        return arguments_refuse(&arguments, "expected a mapping and concurrency=N");
    mapping = arguments.operands[0];
    setting = arguments.operands[1];
    if (strncmp(setting, name, strlen(name)) != 0 ||
        units_parse_integer(setting + strlen(name), &number))
        return arguments_refuse(&arguments, "found \"%s\", expected concurrency=N", setting);
    if (!control_could_be_mapping(mapping)) {
        fprintf(stderr, "sluice set: there is no mapping %s\n", mapping);
        return EX_DATAERR;
    }
    path = memory_format("/v1/mappings/%s/set", mapping);
    body = json_pack("{s:I}", "concurrency", (json_int_t)number);
    code = control_ask("set", &place, "POST", path, body, &answer);
    if (json && answer)
        print_json(answer);
    json_decref(body);
    json_decref(answer);
    free(path);
    return code;
}
