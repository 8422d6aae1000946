/* SPDX-License-Identifier: MIT
 * `sluice dlq`: dead letters at a glance, and what its subcommands share. Reads the store beside a
 * running service, or without one. */
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/cli.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_elsewhere.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define TOP_ERRORS      3

enum { JSON, STATE };

static const struct arguments_option options[] = {
    [JSON] = {"json", 'j', NULL, "Print one JSON object for each mapping."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service does not use its usual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq",
    .synopsis = "[ls|show|stats|follow|replay|edit|discard|export|import|log|browse] [OPTION...]",
    .description =
        "Shows messages that were given up on: how many of each mapping, since when and why.\n\n"
        "Commands:\n"
        "  ls       List letters, by mapping, class, status, error, key, token, time and more\n"
        "  show     Show one with its whole story: message, attempts, last answer\n"
        "  stats    Count them by error, class, status, mapping, key or hour\n"
        "  follow   Show letters as they are written\n"
        "  replay   Send letters through their mapping again\n"
        "  edit     Change payloads; the original is kept\n"
        "  discard  Remove letters for good\n"
        "  export   Write letters as JSON lines, with all that import needs\n"
        "  import   Add letters that were exported elsewhere\n"
        "  log      Tell who replayed, edited, discarded or imported letters\n"
        "  browse   List letters where dead_letter.to has them go, leaving them there",
    .options = options,
    .examples = "  sluice dlq\n"
                "  sluice dlq ls orders --since 2h\n"
                "  sluice dlq stats --by error\n"
                "  sluice dlq show --help",
};

/* ---- shared ---- */

int dlq_failed(const struct fault *fault)
{
    fprintf(stderr, "sluice dlq: %s\n", fault->text);
    return EX_IOERR;
}

struct dead_letter_store *dlq_open(const char *directory, bool quiet, int *ret_exit)
{
    struct fault fault;
    struct dead_letter_store *store =
        dead_letter_store_sqlite_open(directory, DEAD_LETTER_READ, &fault);

    *ret_exit = EX_OK;
    if (!store && fault.text[0]) {
        dlq_failed(&fault);
        *ret_exit = state_directory_exit(directory, "dead-letters.sqlite");
    } else if (!store && !quiet) {
        printf("No dead letters yet in %s%s.\n", directory,
               state_directory_is_missing(directory)
                   ? " (there is no such directory; --state names another)"
                   : "");
    }
    return store;
}

struct dead_letter_store *dlq_open_writer(const char *directory, int *ret_exit)
{
    struct dead_letter_store *store = dlq_open(directory, true, ret_exit);
    struct fault fault;

    if (!store) {
        if (*ret_exit == EX_OK) {
            fprintf(stderr, "sluice dlq: there are no dead letters yet in %s\n", directory);
            *ret_exit = DLQ_EXIT_NONE;
        }
        return NULL;
    }
    store->ops->close(store);
    store = dead_letter_store_sqlite_open(directory, DEAD_LETTER_WRITE, &fault);
    if (!store)
        *ret_exit = dlq_failed(&fault);
    return store;
}

struct configuration *dlq_configuration(const char *config, const struct overrides *overrides)
{
    struct problems problems = {0};
    struct configuration *configuration =
        configuration_load(&config, config ? 1 : 0, overrides, &problems);

    for (size_t i = 0; !configuration && i < problems.count; i++)
        fprintf(stderr, "%s%s%s\n", problems.items[i].place,
                problems.items[i].place[0] ? ": " : "", problems.items[i].text);
    problem_free_all(&problems);
    return configuration;
}

int dlq_can_ask(const char *command, bool yes)
{
    if (yes || (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)))
        return EX_OK;
    fprintf(stderr, "sluice %s: there is no terminal to ask on; --yes goes on without asking\n",
            command);
    return EX_USAGE;
}

__attribute__((format(printf, 1, 0))) static bool ask(const char *format, va_list list)
{
    char answer[16] = "";

    fflush(stdout);
    vfprintf(stderr, format, list);
    fputs(" [y/N] ", stderr);
    return fgets(answer, sizeof answer, stdin) && (answer[0] == 'y' || answer[0] == 'Y');
}

bool dlq_ask(const char *format, ...)
{
    va_list list;
    bool yes;

    va_start(list, format);
    yes = ask(format, list);
    va_end(list);
    return yes;
}

int dlq_confirm(const char *command, bool yes, const char *format, ...)
{
    int code = dlq_can_ask(command, yes);
    va_list list;

    if (yes || code != EX_OK)
        return code;
    va_start(list, format);
    if (!ask(format, list)) {
        fputs("Nothing was done.\n", stderr);
        code = EX_TEMPFAIL;
    }
    va_end(list);
    return code;
}

void dlq_who(struct dead_letter_act *act)
{
    const char *sudo = getenv("SUDO_USER"), *login = NULL;
    struct passwd *user;

    act->uid = getuid();
    act->wall_us = clock_wall();
    if (getuid() == 0 && sudo && *sudo)
        login = sudo;
    else if ((user = getpwuid(getuid())) != NULL)
        login = user->pw_name;
    act->login = memory_text(login ? login : "");
}

/* ---- the summary ---- */

static int print_errors(struct dead_letter_store *store, const struct dlq_screen *screen,
                        const struct dlq_group *mapping, struct fault *fault)
{
    struct dead_letter_query query = {.mapping = mapping->value, .limit = TOP_ERRORS};
    struct dlq_groups errors;
    uint64_t left = mapping->count;
    char number[DLQ_TIME];
    int result = dlq_groups_read(store, &query, "error", &errors, fault);

    for (size_t i = 0; result == 0 && i < errors.count; i++) {
        printf("  %10s  ", dlq_number(errors.groups[i].count, number));
        dlq_error(errors.groups[i].value, screen->terminal ? screen->width - 14 : screen->width);
        putchar('\n');
        left -= errors.groups[i].count < left ? errors.groups[i].count : left;
    }
    if (result == 0 && errors.count == TOP_ERRORS && left)
        printf("  %10s  others\n", dlq_number(left, number));
    dlq_groups_fini(&errors);
    return result;
}

static void print_mapping(const struct dlq_screen *screen, const struct dlq_group *mapping)
{
    char number[DLQ_TIME], first[DLQ_TIME], last[DLQ_TIME];
    uint64_t lately = 0;

    putchar('\n');
    dlq_style(screen, "bold");
    dlq_line(mapping->value, strlen(mapping->value), screen->terminal ? 40 : screen->width);
    dlq_style(screen, "plain");
    printf(": %s, since %s ago, the newest %s ago\n", dlq_number(mapping->count, number),
           dlq_ago(screen, mapping->first_wall_us, first),
           dlq_ago(screen, mapping->last_wall_us, last));
    for (size_t i = 0; i < DLQ_TREND; i++)
        lately += mapping->trend[i];
    printf("  last hour: %s  ", dlq_number(lately, number));
    dlq_spark(screen, mapping->trend, DLQ_TREND);
    putchar('\n');
}

/* Mappings with how much each had in the last hour, in steps of five minutes. */
static int read_mappings(struct dead_letter_store *store, struct dlq_groups *ret_mappings,
                         struct fault *fault)
{
    struct dead_letter_query all = {0}, lately = {.since_wall_us = clock_wall() - CLOCK_HOUR};
    int result = dlq_groups_read(store, &all, "mapping", ret_mappings, fault);

    return result != 0 ? result
                       : dlq_groups_trend(store, &lately, "mapping", CLOCK_HOUR / DLQ_TREND,
                                          ret_mappings, fault);
}

/* `state`: as it was given, to be given again; NULL: it was not. */
static void print_next(const struct dlq_group *mapping, const char *state)
{
    char *quoted = state ? dlq_choice_text(2, (char *[]){NULL, (char *)(uintptr_t)state}) : NULL;
    char *place = quoted ? memory_format(" --state %s", quoted) : memory_text("");
    size_t size = strlen(place);

    printf("\nNext:\n  sluice dlq show %s", mapping->example_id);
    dlq_line(place, size, UINT_MAX);
    fputs("\n  sluice dlq ls ", stdout);
    dlq_line(mapping->value, mapping->value_size, 63);
    dlq_line(place, size, UINT_MAX);
    fputs("\n  sluice dlq stats --by error", stdout);
    dlq_line(place, size, UINT_MAX);
    fputs("\n  sluice dlq replay --dry-run --mapping ", stdout);
    dlq_line(mapping->value, mapping->value_size, 63);
    dlq_line(place, size, UINT_MAX);
    putchar('\n');
    free(place);
    free(quoted);
}

static int print_summary(struct dead_letter_store *store, const char *directory, const char *state)
{
    struct dlq_screen screen = dlq_screen();
    struct dlq_groups mappings;
    uint64_t total = 0;
    char number[DLQ_TIME];
    struct fault fault;
    int result = read_mappings(store, &mappings, &fault);

    for (size_t i = 0; i < mappings.count; i++)
        total += mappings.groups[i].count;
    if (result == 0 && !total)
        printf("No dead letters in %s.\n", directory);
    else if (result == 0)
        printf("%s dead letter%s in %s\n", dlq_number(total, number), total == 1 ? "" : "s",
               directory);
    for (size_t i = 0; result == 0 && i < mappings.count; i++) {
        print_mapping(&screen, &mappings.groups[i]);
        result = print_errors(store, &screen, &mappings.groups[i], &fault);
    }
    if (result == 0)
        dlq_elsewhere_tell(state, NULL);
    if (result == 0 && total)
        print_next(&mappings.groups[0], state);
    dlq_groups_fini(&mappings);
    return result == 0 ? EX_OK : dlq_failed(&fault);
}

static int print_summary_json(struct dead_letter_store *store)
{
    struct dlq_groups mappings, errors;
    struct fault fault;
    int result = read_mappings(store, &mappings, &fault);

    for (size_t i = 0; result == 0 && i < mappings.count; i++) {
        struct dead_letter_query query = {.mapping = mappings.groups[i].value, .limit = TOP_ERRORS};
        json_t *object = dlq_json_group(&mappings.groups[i], "mapping"), *list = json_array();

        result = dlq_groups_read(store, &query, "error", &errors, &fault);
        for (size_t n = 0; n < errors.count; n++)
            json_array_append_new(list, dlq_json_group(&errors.groups[n], "error"));
        json_object_set_new(object, "errors", list);
        dlq_json_print(object);
        dlq_groups_fini(&errors);
    }
    dlq_groups_fini(&mappings);
    return result == 0 ? EX_OK : dlq_failed(&fault);
}

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"ls", dlq_list},         {"list", dlq_list},     {"show", dlq_show},
    {"stats", dlq_stats},     {"edit", dlq_edit},     {"discard", dlq_discard},
    {"export", dlq_export},   {"import", dlq_import}, {"log", dlq_log},
    {"replay", dlq_replay},   {"follow", dlq_follow}, {"browse", dlq_browse},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

static int refuse_command(const struct arguments *arguments, const char *name)
{
    struct suggest suggest = suggest_begin(name);

    for (size_t i = 0; i < COMMANDS; i++)
        suggest_offer(&suggest, commands[i].name);
    if (suggest.nearest)
        return arguments_refuse(arguments, "unknown command \"%s\"; did you mean %s?", name,
                                suggest.nearest);
    return arguments_refuse(arguments, "unknown command \"%s\"", name);
}

static int summary(int argc, char **argv)
{
    struct dead_letter_store *store;
    struct arguments arguments;
    const char *state = NULL;
    int option, code = EX_OK;
    bool json = false;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        json |= option == JSON;
        if (option == STATE)
            state = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count)
        return refuse_command(&arguments, arguments.operands[0]);
    directory = state_directory_find(state);
    store = dlq_open(directory, json, &code);
    if (!store && !json)
        dlq_elsewhere_tell(state, NULL);
    if (store) {
        code = json ? print_summary_json(store) : print_summary(store, directory, state);
        store->ops->close(store);
    }
    free(directory);
    return code;
}

int cmd_dlq(int argc, char **argv)
{
    for (size_t i = 0; argc > 1 && i < COMMANDS; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return summary(argc, argv);
}
