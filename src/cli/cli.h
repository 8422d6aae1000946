/* SPDX-License-Identifier: MIT
 * The subcommands of `sluice`. Each is one file with one function, which gets its arguments with
 * argv[0] as its own name, and returns an exit code of <sysexits.h>. */
#ifndef CLI_CLI_H
#define CLI_CLI_H

int cmd_run(int argc, char **argv);
int cmd_check(int argc, char **argv);
int cmd_demo(int argc, char **argv);
int cmd_dlq(int argc, char **argv);
int cmd_keys(int argc, char **argv);
int cmd_connectors(int argc, char **argv);
int cmd_token(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
