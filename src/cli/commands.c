/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "cli/cli.h"

const struct cli_command cli_commands[] = {
    {"run", "Run all mappings as a service", cmd_run},
    {"check", "Check mapping files, with --connect against the real thing", cmd_check},
    {"status", "Tell how the running service is, --watch for live", cmd_status},
    {"tail", "Watch messages and what becomes of them", cmd_tail},
    {"cost", "Tell what mappings used and what that cost", cmd_cost},
    {"reload", "Have the service take changed files over", cmd_reload},
    {"pause", "Let mappings take no messages for a while", cmd_pause},
    {"resume", "Let paused, drained or waiting mappings go on", cmd_resume},
    {"drain", "Let mappings finish, give their lanes back and stop", cmd_drain},
    {"set", "Change a setting of a mapping until the next reload", cmd_set},
    {"dlq", "Look into dead letters, mend them, send them again", cmd_dlq},
    {"parked", "Look at messages whose retry is far off, try them again now", cmd_parked},
    {"token", "Look at recorded idempotency tokens, forget one", cmd_token},
    {"demo", "See it work, without a broker", cmd_demo},
    {"keys", "List the keys of a mapping file", cmd_keys},
    {"connectors", "List connectors and their options", cmd_connectors},
    {"schema", "Print the JSON Schema of the files, for editors", cmd_schema},
    {"version", "Print versions", cmd_version},
    {"complete", "Print what could come next, for shells", cmd_complete},
    {NULL, NULL, NULL},
};

const struct cli_command *cli_find_command(const char *name)
{
    for (const struct cli_command *command = cli_commands; command->name; command++)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}
