/* SPDX-License-Identifier: MIT */
#include "cli/arguments.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/suggest.h"

static void (*take_usage)(const struct arguments_usage *usage);

void arguments_describe(void (*take)(const struct arguments_usage *usage))
{
    take_usage = take;
}

void arguments_begin(struct arguments *arguments, const struct arguments_usage *usage, int argc,
                     char **argv)
{
    *arguments = (struct arguments){
        .usage = usage, .argv = argv, .argc = argc, .at = 1, .operands = argv + 1};
}

int arguments_refuse(const struct arguments *arguments, const char *format, ...)
{
    va_list list;

    fprintf(stderr, "sluice %s: ", arguments->usage->command);
    va_start(list, format);
    vfprintf(stderr, format, list);
    va_end(list);
    fprintf(stderr, "\nTry `sluice %s --help`.\n", arguments->usage->command);
    return EX_USAGE;
}

/* ---- help ---- */

static void print_option(const struct arguments_option *option)
{
    char head[64];

    snprintf(head, sizeof head, "  %c%c%s --%s%s%s", option->letter ? '-' : ' ',
             option->letter ? option->letter : ' ', option->letter ? "," : " ", option->name,
             option->value ? " " : "", option->value ? option->value : "");
    if (strlen(head) > 28)
        printf("%s\n%28s %s\n", head, "", option->help);
    else
        printf("%-28s %s\n", head, option->help);
}

static void print_help(const struct arguments_usage *usage)
{
    static const struct arguments_option help = {"help", 'h', NULL, "Print this."};
    const struct arguments_option *option;

    printf("Usage: sluice %s%s%s\n\n%s\n\nOptions:\n", usage->command, *usage->synopsis ? " " : "",
           usage->synopsis, usage->description);
    for (option = usage->options; option->name; option++)
        print_option(option);
    print_option(&help);
    if (usage->examples)
        printf("\nExamples:\n%s\n", usage->examples);
}

/* ---- reading ---- */

static int refuse_option(const struct arguments *arguments, const char *name)
{
    struct suggest suggest = suggest_begin(name);
    const struct arguments_option *option;

    for (option = arguments->usage->options; option->name; option++)
        suggest_offer(&suggest, option->name);
    suggest_offer(&suggest, "help");
    if (suggest.nearest)
        return arguments_refuse(arguments, "unknown option --%s; did you mean --%s?", name,
                                suggest.nearest);
    return arguments_refuse(arguments, "unknown option --%s", name);
}

/* The option that `--name`, `--name=value`, `-x` or `-xvalue` is; -1: none. `*value` is what
 * follows within the word, NULL: nothing. */
static int find_option(const struct arguments *arguments, const char *word, const char **value)
{
    const struct arguments_option *table = arguments->usage->options;
    size_t size = word[1] == '-' ? strcspn(word + 2, "=") : 1;
    int i;

    for (i = 0; table[i].name; i++) {
        if (word[1] == '-') {
            if (strlen(table[i].name) == size && strncmp(table[i].name, word + 2, size) == 0) {
                *value = word[2 + size] ? word + 2 + size + 1 : NULL;
                return i;
            }
        } else if (table[i].letter && table[i].letter == word[1]) {
            *value = word[2] ? word + 2 : NULL;
            return i;
        }
    }
    return -1;
}

static int read_option(struct arguments *arguments, const char *word, int *ret_exit)
{
    int index = find_option(arguments, word, &arguments->value);
    const struct arguments_option *option;

    if (index < 0) {
        *ret_exit = word[1] == '-' ? refuse_option(arguments, word + 2)
                                   : arguments_refuse(arguments, "unknown option %s", word);
        return ARGUMENTS_DONE;
    }
    option = &arguments->usage->options[index];
    if (!option->value && arguments->value) {
        *ret_exit = arguments_refuse(arguments, "--%s takes no value", option->name);
        return ARGUMENTS_DONE;
    }
    if (option->value && !arguments->value) {
        if (arguments->at == arguments->argc) {
            *ret_exit =
                arguments_refuse(arguments, "--%s needs a value: %s", option->name, option->value);
            return ARGUMENTS_DONE;
        }
        arguments->value = arguments->argv[arguments->at++];
    }
    return index;
}

int arguments_next(struct arguments *arguments, int *ret_exit)
{
    while (arguments->at < arguments->argc) {
        char *word = arguments->argv[arguments->at++];

        if (arguments->only_operands || word[0] != '-' || !word[1]) {
            arguments->operands[arguments->operand_count++] = word;
        } else if (strcmp(word, "--") == 0) {
            arguments->only_operands = 1;
        } else if (strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0) {
            (take_usage ? take_usage : print_help)(arguments->usage);
            *ret_exit = EX_OK;
            return ARGUMENTS_DONE;
        } else {
            return read_option(arguments, word, ret_exit);
        }
    }
    return ARGUMENTS_END;
}
