/* SPDX-License-Identifier: MIT */
#include "cli/control.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/state_directory.h"
#include "io/control_client.h"
#include "io/http_client.h"

#define RUNTIME_DIRECTORY "/run/sluice" /* of sluice.service */
#define TIMEOUT_US        (20 * CLOCK_SECOND)

/* That of a unit with this runtime directory, whose name its socket unit's begins with (sluice.socket): NULL
 * where there is none. */
static char *find_of_unit(const char *runtime)
{
    static const char *const ends[] = {"-control.sock", "/control.sock"};

    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        char *path = memory_format("%.*s%s", (int)strcspn(runtime, ":"), runtime, ends[i]);

        if (!access(path, F_OK))
            return path;
        free(path);
    }
    return NULL;
}

char *control_find(const struct control_place *place)
{
    const char *runtime = getenv("RUNTIME_DIRECTORY");
    char *state, *path = NULL;

    if (place->socket)
        return memory_text(place->socket);
    if (!place->state) /* within a unit no other's: `ExecReload=` must not reload another instance */
        path = find_of_unit(runtime && *runtime ? runtime : RUNTIME_DIRECTORY);
    if (path)
        return path;
    state = state_directory_find(place->state);
    path = memory_format("%s/control.sock", state);
    free(state);
    return path;
}

bool control_could_be_mapping(const char *name)
{
    return *name && !name[strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-")];
}

int control_ask(const char *command, const struct control_place *place, const char *method,
                const char *path, const json_t *body, json_t **ret_answer)
{
    static const int codes[] = {
        [CONTROL_ANSWERED] = EX_OK,          [CONTROL_REFUSED] = EX_DATAERR,
        [CONTROL_FORBIDDEN] = EX_NOPERM,     [CONTROL_NOT_RUNNING] = EX_UNAVAILABLE,
        [CONTROL_FAILED] = EX_PROTOCOL,
    };
    char *socket = control_find(place);
    enum control_outcome outcome;
    struct fault fault;

    http_client_global_init();
    outcome = control_client_ask(socket, method, path, body, TIMEOUT_US, ret_answer, &fault);
    if (outcome != CONTROL_ANSWERED)
        fprintf(stderr, "sluice %s: %s\n", command, fault.text);
    if (outcome == CONTROL_NOT_RUNNING && !place->socket && !place->state)
        fputs("Where it keeps its state elsewhere, --state names the directory.\n", stderr);
    free(socket);
    return codes[outcome];
}
