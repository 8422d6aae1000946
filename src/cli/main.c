/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/suggest.h"
#include "cli/cli.h"

struct command {
    const char *name;
    const char *summary;
    int (*run)(int argc, char **argv);
};

static const struct command commands[] = {
    {"run", "Run all mappings as a service", cmd_run},
    {"check", "Check mapping files, with --connect against the real thing", cmd_check},
    {"dlq", "Look into dead letters, mend them, send them again", cmd_dlq},
    {"token", "Look at recorded idempotency tokens, forget one", cmd_token},
    {"demo", "See it work, without a broker", cmd_demo},
    {"keys", "List the keys of a mapping file", cmd_keys},
    {"connectors", "List connectors and their options", cmd_connectors},
    {"version", "Print versions", cmd_version},
};

static void print_help(FILE *out)
{
    size_t i;

    fputs("Usage: sluice COMMAND [ARGUMENT...]\n\n"
          "Takes messages from queues, invokes functions with them over HTTP, and loses none.\n\n"
          "Commands:\n",
          out);
    for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
        fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].summary);
    fputs("\n`sluice COMMAND --help` tells more about one, with examples.\n", out);
}

static const struct command *find_command(const char *name)
{
    size_t i;

    for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int refuse_command(const char *name)
{
    struct suggest suggest = suggest_begin(name);
    size_t i;

    for (i = 0; i < sizeof commands / sizeof commands[0]; i++)
        suggest_offer(&suggest, commands[i].name);
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
    const struct command *command;

    if (argc < 3) {
        print_help(stdout);
        return EX_OK;
    }
    command = find_command(argv[2]);
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
    const struct command *command;

    if (argc < 2 || strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0)
        return flush_output(run_help(argc, argv));
    if (strcmp(argv[1], "--version") == 0)
        argv[1] += 2;
    command = find_command(argv[1]);
    if (!command)
        return refuse_command(argv[1]);
    return flush_output(command->run(argc - 1, argv + 1));
}
