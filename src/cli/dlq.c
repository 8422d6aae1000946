/* SPDX-License-Identifier: MIT
 * `sluice dlq`: dead letters at a glance, and what its subcommands share. Reads the store beside a
 * running service, or without one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "base/units.h"
#include "cli/cli.h"
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
    .synopsis = "[ls|show|stats] [OPTION...]",
    .description =
        "Shows messages that were given up on: how many of each mapping, since when and why.\n\n"
        "Commands:\n"
        "  ls      List letters, newest first, by mapping, class, status or time\n"
        "  show    Show one with its whole story: message, attempts, last answer\n"
        "  stats   Count them by error, class, status, mapping or hour",
    .options = options,
    .examples = "  sluice dlq\n"
                "  sluice dlq ls orders --since 2h\n"
                "  sluice dlq stats --by error\n"
                "  sluice dlq show --help",
};

/* ---- shared ---- */

static bool exists(const char *path)
{
    struct stat status;

    return stat(path, &status) == 0;
}

int dlq_failed(const struct fault *fault)
{
    fprintf(stderr, "sluice dlq: %s\n", fault->text);
    return EX_IOERR;
}

struct dead_letter_store *dlq_open(const char *directory, bool quiet, int *ret_exit)
{
    char *path = memory_format("%s/dead-letters.sqlite", directory);
    struct dead_letter_store *store = NULL;
    struct stat status;
    struct fault fault;

    *ret_exit = EX_OK;
    if (stat(path, &status) != 0 && (errno == ENOENT || errno == ENOTDIR)) {
        if (!quiet)
            printf("No dead letters yet in %s%s.\n", directory,
                   exists(directory) ? "" : " (there is no such directory; --state names another)");
    } else {
        store = dead_letter_store_sqlite_open(directory, DEAD_LETTER_READ, &fault);
        if (!store) {
            *ret_exit = dlq_failed(&fault);
            if (access(path, R_OK) != 0 && errno == EACCES)
                *ret_exit = EX_NOPERM;
        }
    }
    free(path);
    return store;
}

int dlq_choose_class(const struct arguments *arguments, struct dead_letter_query *query)
{
    struct suggest suggest = suggest_begin(arguments->value);

    for (int class = DEAD_ATTEMPTS; class <= DEAD_FILTERED; class ++) {
        const char *name = dead_letter_class_name(class);

        if (strcmp(name, arguments->value) == 0) {
            query->class_name = name;
            return EX_OK;
        }
        suggest_offer(&suggest, name);
    }
    if (suggest.nearest)
        return arguments_refuse(arguments, "--class %s; did you mean %s?", arguments->value,
                                suggest.nearest);
    return arguments_refuse(arguments, "--class takes attempts, poison, named, patience, age, "
                                       "too_large, token_missing, token_conflict or filtered");
}

int dlq_choose_status(const struct arguments *arguments, struct dead_letter_query *query)
{
    int64_t status;

    if (units_parse_integer(arguments->value, &status) != 0 || status < 100 || status > 999)
        return arguments_refuse(arguments, "--status takes an HTTP status such as 500");
    query->status = (uint32_t)status;
    return EX_OK;
}

int dlq_choose_time(const struct arguments *arguments, int64_t *ret_wall_us)
{
    if (dlq_parse_time(arguments->value, clock_wall(), ret_wall_us) != 0)
        return arguments_refuse(arguments,
                                "\"%s\" is no time; one is 2h (ago), 2026-11-23 or "
                                "\"2026-11-23 14:00\", with Z for UTC",
                                arguments->value);
    return EX_OK;
}

int dlq_choose_limit(const struct arguments *arguments, struct dead_letter_query *query)
{
    int64_t limit;

    if (units_parse_integer(arguments->value, &limit) != 0 || limit < 0 || limit > UINT32_MAX)
        return arguments_refuse(arguments, "--limit takes a number, 0 for all");
    query->limit = (uint32_t)limit;
    return EX_OK;
}

/* ---- the summary ---- */

static int print_errors(struct dead_letter_store *store, const struct dlq_screen *screen,
                        const char *mapping, struct fault *fault)
{
    struct dead_letter_query query = {.mapping = mapping, .limit = TOP_ERRORS};
    struct dlq_groups errors;
    char number[DLQ_TIME];
    int result = dlq_groups_read(store, &query, "error", &errors, fault);

    for (size_t i = 0; result == 0 && i < errors.count; i++) {
        printf("  %10s  ", dlq_number(errors.groups[i].count, number));
        dlq_line(errors.groups[i].value, strlen(errors.groups[i].value),
                 screen->terminal ? screen->width - 14 : screen->width);
        putchar('\n');
    }
    dlq_groups_fini(&errors);
    return result;
}

static void print_mapping(const struct dlq_screen *screen, const struct dlq_group *mapping)
{
    char number[DLQ_TIME], first[DLQ_TIME], last[DLQ_TIME];

    putchar('\n');
    dlq_style(screen, "bold");
    dlq_line(mapping->value, strlen(mapping->value), screen->terminal ? 40 : screen->width);
    dlq_style(screen, "plain");
    printf(": %s, since %s ago, the newest %s ago\n", dlq_number(mapping->count, number),
           dlq_ago(screen, mapping->first_wall_us, first),
           dlq_ago(screen, mapping->last_wall_us, last));
}

static int print_summary(struct dead_letter_store *store, const char *directory)
{
    struct dead_letter_query all = {0};
    struct dlq_screen screen = dlq_screen();
    struct dlq_groups mappings;
    uint64_t total = 0;
    char number[DLQ_TIME];
    struct fault fault;
    int result = dlq_groups_read(store, &all, "mapping", &mappings, &fault);

    for (size_t i = 0; i < mappings.count; i++)
        total += mappings.groups[i].count;
    if (result == 0 && !total)
        printf("No dead letters in %s.\n", directory);
    else if (result == 0)
        printf("%s dead letter%s in %s\n", dlq_number(total, number), total == 1 ? "" : "s",
               directory);
    for (size_t i = 0; result == 0 && i < mappings.count; i++) {
        print_mapping(&screen, &mappings.groups[i]);
        result = print_errors(store, &screen, mappings.groups[i].value, &fault);
    }
    if (result == 0 && total) {
        printf("\nNext:\n  sluice dlq show %s\n  sluice dlq ls ", mappings.groups[0].example_id);
        dlq_line(mappings.groups[0].value, strlen(mappings.groups[0].value), 63);
        puts("\n  sluice dlq stats --by error");
    }
    dlq_groups_fini(&mappings);
    return result == 0 ? EX_OK : dlq_failed(&fault);
}

static int print_summary_json(struct dead_letter_store *store)
{
    struct dead_letter_query all = {0};
    struct dlq_groups mappings, errors;
    struct fault fault;
    int result = dlq_groups_read(store, &all, "mapping", &mappings, &fault);

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

static int refuse_command(const struct arguments *arguments, const char *name)
{
    struct suggest suggest = suggest_begin(name);

    suggest_offer(&suggest, "ls");
    suggest_offer(&suggest, "show");
    suggest_offer(&suggest, "stats");
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
    if (store) {
        code = json ? print_summary_json(store) : print_summary(store, directory);
        store->ops->close(store);
    }
    free(directory);
    return code;
}

int cmd_dlq(int argc, char **argv)
{
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"ls", dlq_list}, {"list", dlq_list}, {"show", dlq_show}, {"stats", dlq_stats}};

    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return summary(argc, argv);
}
