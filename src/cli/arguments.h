/* SPDX-License-Identifier: MIT
 * Options of a subcommand: one table for reading, for `--help` and for "did you mean". */
#ifndef CLI_ARGUMENTS_H
#define CLI_ARGUMENTS_H

struct arguments_option {
    const char *name;  /* without dashes; NULL ends the table */
    char letter;       /* 0: none */
    const char *value; /* what the help calls its value, NULL: it has none */
    const char *help;
};

struct arguments_usage {
    const char *command;                    /* `check` */
    const char *synopsis;                   /* what follows it: `[--connect] PATH...` */
    const char *description;                /* lines of text */
    const struct arguments_option *options; /* --help is always there */
    const char *examples;                   /* lines, NULL: none */
};

/* The state of reading; set by arguments_begin. */
struct arguments {
    const struct arguments_usage *usage;
    char **argv; /* argv[0] is the subcommand's name */
    int argc, at;
    int only_operands;
    const char *value; /* of the option just read */
    char **operands;   /* what is no option, in order; complete after ARGUMENTS_END */
    int operand_count;
};

enum { ARGUMENTS_END = -1, ARGUMENTS_DONE = -2 };

void arguments_begin(struct arguments *arguments, const struct arguments_usage *usage, int argc,
                     char **argv);

/* The index of the next option in the table; ARGUMENTS_END after the last. ARGUMENTS_DONE: return
 * `*ret_exit` now, as the help was printed (0), or a mistake (EX_USAGE). */
int arguments_next(struct arguments *arguments, int *ret_exit);

/* From now on `--help` gives the usage to `take` instead of printing it; NULL: prints again. */
void arguments_describe(void (*take)(const struct arguments_usage *usage));

/* Says what is wrong with the command line, and where help is. Returns EX_USAGE. */
int arguments_refuse(const struct arguments *arguments, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
