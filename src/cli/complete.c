/* SPDX-License-Identifier: MIT
 * `sluice complete`: what could come next on a command line. The shells' own scripts (config/completion)
 * only pass words here and show what comes back, so that they never fall behind. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include <jansson.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/complete_letters.h"
#include "cli/control.h"
#include "core/dead_letter.h"
#include "io/control_client.h"
#include "io/http_client.h"
#include "io/plugin.h"

#define MAPPINGS_TIMEOUT_US CLOCK_SECOND /* a person waits for the key to answer */

static const struct arguments_option options[] = {{0}};

static const struct arguments_usage usage = {
    .command = "complete",
    .synopsis = "-- [WORD...] PREFIX",
    .description =
        "Prints what could come next after WORDs of a command line of sluice: a candidate and what it\n"
        "means on each line, with a tab between; `:files` or `:directories` where the shell knows.\n"
        "The shell drops what does not begin with PREFIX.",
    .options = options,
    .examples = "  sluice complete -- status --",
};

/* The usage that a command's `--help` showed last. */
static const struct arguments_usage *shown;

static void take(const struct arguments_usage *described)
{
    shown = described;
}

/* The usage of a command, or of its subcommand where `sub` is one (NULL: none). */
static const struct arguments_usage *usage_of(const struct cli_command *command, char *sub)
{
    char name[32], help[] = "--help";

    snprintf(name, sizeof name, "%s", command->name);
    shown = NULL;
    arguments_describe(take);
    if (sub)
        command->run(3, (char *[]){name, sub, help, NULL});
    else
        command->run(2, (char *[]){name, help, NULL});
    arguments_describe(NULL);
    return shown;
}

/* ---- candidates ---- */

static void print_commands(void)
{
    for (const struct cli_command *command = cli_commands; command->name; command++)
        if (command->run != cmd_complete)
            printf("%s\t%s\n", command->name, command->summary);
    puts("help\tTell more about a command");
}

static void print_options(const struct arguments_usage *described)
{
    for (const struct arguments_option *option = described->options; option->name; option++)
        printf("--%s\t%s\n", option->name, option->help);
    puts("--help\tPrint what it does, with examples");
}

/* Those of the running service; where none is found, and with `letters`, those that have dead letters. */
static void print_mappings(bool letters, const char *state)
{
    char *socket = control_find(&(struct control_place){.state = state});
    json_t *answer = NULL, *mapping;
    struct fault fault;
    size_t i;

    if (letters) {
        complete_mappings(state);
        free(socket);
        return;
    }

    http_client_global_init();
    control_client_ask(socket, "GET", "/v1/status", NULL, MAPPINGS_TIMEOUT_US, &answer, &fault);
    json_array_foreach(json_object_get(answer, "mappings"), i, mapping)
        printf("%s\t%s\n", json_string_value(json_object_get(mapping, "name")),
               json_string_value(json_object_get(mapping, "state")));
    if (!answer)
        complete_mappings(state);
    json_decref(answer);
    free(socket);
}

/* Whether a mapping is to be chosen for its letters. */
static bool is_for_letters(const struct arguments_usage *described)
{
    return !strncmp(described->command, "dlq", 3) && strcmp(described->command, "dlq browse") != 0;
}

static void print_connectors(void)
{
    struct plugin_found *list;
    size_t count = plugin_list(NULL, &list);

    for (size_t i = 0; i < count; i++)
        if (list[i].plugin)
            printf("%s\t%s\n", list[i].name, list[i].plugin->connector.description);
    plugin_free_list(list, count);
}

/* `[ls|show|stats] ...`: the words of the first bracket, if it is a choice. Returns whether it is. */
static bool print_choices(const char *synopsis)
{
    size_t size = *synopsis == '[' ? strcspn(synopsis + 1, "]") : 0;
    char *choices, *rest, *word;

    if (!memchr(synopsis + 1, '|', size))
        return false;
    choices = memory_text_n(synopsis + 1, size);
    for (word = strtok_r(choices, "|", &rest); word; word = strtok_r(NULL, "|", &rest))
        printf("%s\t\n", word);
    free(choices);
    return true;
}

static bool is_choice(const char *synopsis, const char *word)
{
    size_t size = strlen(word);

    if (*synopsis != '[')
        return false;
    for (const char *at = synopsis; *at && *at != ']'; at += 1 + strcspn(at + 1, "|]"))
        if (!strncmp(at + 1, word, size) && (at[1 + size] == '|' || at[1 + size] == ']'))
            return true;
    return false;
}

/* `show MAPPING TOKEN | stats`: the first word of each alternative, then what follows it. Returns whether
 * there are some. `operand`: how many stand before. */
static bool print_alternatives(const char *synopsis, int operand, const char *state)
{
    const char *at = synopsis;

    if (*synopsis == '[' || !strstr(synopsis, " | "))
        return false;
    for (; operand == 0 && at; at = at ? at + 3 : NULL) {
        printf("%.*s\t\n", (int)strcspn(at, " "), at);
        at = strstr(at, " | ");
    }
    if (operand == 1 && strstr(synopsis, "MAPPING"))
        print_mappings(false, state);
    return true;
}

static void print_operands(const struct arguments_usage *described, int operand, const char *state,
                           const char *prefix)
{
    if (print_choices(described->synopsis) ||
        print_alternatives(described->synopsis, operand, state))
        return;
    if (strstr(described->synopsis, "MAPPING"))
        print_mappings(is_for_letters(described), state);
    else if (strstr(described->synopsis, "ID"))
        complete_ids(state, prefix);
    else if (strstr(described->synopsis, "PATH") || strstr(described->synopsis, "FILE"))
        puts(":files");
    else if (!strcmp(described->command, "connectors"))
        print_connectors();
}

/* ---- the command line ---- */

/* The option that `word` is and that wants a value after it; NULL: none. */
static const struct arguments_option *wants_value(const struct arguments_usage *described,
                                                  const char *word)
{
    for (const struct arguments_option *option = described->options; option->name; option++)
        if (option->value &&
            ((!strncmp(word, "--", 2) && !strcmp(word + 2, option->name)) ||
             (word[0] == '-' && option->letter && word[1] == option->letter && !word[2])))
            return option;
    return NULL;
}

/* Of options that take one of a few words. */
static void print_words(const char *option)
{
    static const char *const words[][7] = {
        {"by", "error", "class", "status", "mapping", "key", "hour"},
        {"sort", "newest", "oldest", "attempts"},
        {"status", "4xx", "5xx", "none"}};

    if (!strcmp(option, "class"))
        for (int class = DEAD_ATTEMPTS; class <= DEAD_LETTER_CLASS_LAST; class ++)
            printf("%s\t\n", dead_letter_class_name(class));
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        for (size_t n = 1; !strcmp(option, words[i][0]) && n < 7 && words[i][n]; n++)
            printf("%s\t\n", words[i][n]);
}

static void print_values(const struct arguments_usage *described,
                         const struct arguments_option *option, const char *state)
{
    if (!strcmp(option->value, "DIR"))
        puts(":directories");
    else if (!strcmp(option->value, "PATH") || !strcmp(option->value, "FILE"))
        puts(":files");
    else if (!strcmp(option->value, "MAPPING") || !strcmp(option->name, "mapping"))
        print_mappings(is_for_letters(described) && strcmp(option->name, "to") != 0, state);
    else if (!strncmp(described->command, "dlq", 3))
        print_words(option->name);
}

/* The value of --state among the words; NULL: none. */
static const char *find_state(char **words, int count)
{
    for (int i = 1; i + 1 < count - 1; i++)
        if (!strcmp(words[i], "--state"))
            return words[i + 1];
    return NULL;
}

static void complete(char **words, int count)
{
    const char *prefix = words[count - 1], *state = find_state(words, count);
    const struct cli_command *command;
    const struct arguments_usage *described;
    const struct arguments_option *option;

    if (count == 1 || (count == 2 && !strcmp(words[0], "help"))) {
        print_commands();
        return;
    }
    command = cli_find_command(words[0]);
    described = command ? usage_of(command, NULL) : NULL;
    if (described && count > 2 && is_choice(described->synopsis, words[1]))
        described = usage_of(command, words[1]);
    if (!described)
        return;
    option = wants_value(described, words[count - 2]);
    if (option)
        print_values(described, option, state);
    else if (*prefix == '-')
        print_options(described);
    else
        print_operands(described, count - 2, state, prefix);
}

int cmd_complete(int argc, char **argv)
{
    struct arguments arguments;
    int code;

    arguments_begin(&arguments, &usage, argc, argv);
    if (arguments_next(&arguments, &code) == ARGUMENTS_DONE)
        return code;
    if (!arguments.operand_count)
        return arguments_refuse(&arguments, "which words? The last is the one to complete");
    complete(arguments.operands, arguments.operand_count);
    return EX_OK;
}
