/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/suggest.h"
#include "cli/cli.h"

static void print_help(FILE *out)
{
    size_t i;

    fputs("Usage: sluice COMMAND [ARGUMENT...]\n\n"
          "Takes messages from queues, invokes functions with them over HTTP, and loses none.\n\n"
          "Commands:\n",
          out);
    for (i = 0; cli_commands[i].name; i++)
        fprintf(out, "  %-12s %s\n", cli_commands[i].name, cli_commands[i].summary);
    fputs("\n`sluice COMMAND --help` tells more about one, with examples.\n", out);
}

static int refuse_command(const char *name)
{
    struct suggest suggest = suggest_begin(name);
    size_t i;

    for (i = 0; cli_commands[i].name; i++)
        suggest_offer(&suggest, cli_commands[i].name);
    fprintf(stderr, "sluice: unknown command \"%s\"", name);
    if (suggest.nearest)
        fprintf(stderr, "; did you mean \"%s\"?\n", suggest.nearest);
    else
        fputs("\n", stderr);
    fputs("Try `sluice --help`.\n", stderr);
    return EX_USAGE;
}

static int run_help(int argc, char **argv)
{
    char help[] = "--help";
    const struct cli_command *command;

    if (argc < 3) {
        print_help(stdout);
        return EX_OK;
    }
    command = cli_find_command(argv[2]);
    if (!command)
        return refuse_command(argv[2]);
    return command->run(2, (char *[]){argv[2], help, NULL});
}

/* What was printed may not have arrived: a full disk behind a redirection is no success. */
static int flush_output(int code)
{
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == EX_OK) {
        perror("sluice: standard output");
        return EX_IOERR;
    }
    return code;
}

int main(int argc, char **argv)
{
    const struct cli_command *command;

    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0)
        return flush_output(run_help(argc, argv));
    if (strcmp(argv[1], "--version") == 0)
        argv[1] += 2;
    command = cli_find_command(argv[1]);
    if (!command)
        return refuse_command(argv[1]);
    return flush_output(command->run(argc - 1, argv + 1));
}
