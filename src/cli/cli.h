/* SPDX-License-Identifier: MIT
 * The subcommands of `sluice`. Each is one function, which gets its arguments with
 * argv[0] as its own name, and returns an exit code of <sysexits.h>. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_dlq(int argc, char **argv);
int cmd_status(int argc, char **argv);
int cmd_tail(int argc, char **argv);
int cmd_cost(int argc, char **argv);
int cmd_reload(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_drain(int argc, char **argv);
int cmd_set(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_schema(int argc, char **argv);
int cmd_connectors(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_parked(int argc, char **argv);
int cmd_version(int argc, char **argv);
int cmd_complete(int argc, char **argv);

struct cli_command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

/* All of them, in the order of the help; a NULL name ends. */
extern const struct cli_command cli_commands[];
const struct cli_command *cli_find_command(const char *name); /* NULL: none */

#endif
