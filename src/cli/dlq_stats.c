/* SPDX-License-Identifier: MIT
 * `sluice dlq stats`: letters grouped. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/memory.h"
#include "base/suggest.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define GROUPS_MOST                                                                                \
    100000 /* kept at once; there are at most 10000 errors, and an hour each year                  \
            */

enum { BY, CLASS, STATUS, SINCE, UNTIL, LIMIT, JSON, STATE };

static const struct arguments_option options[] = {
    [BY] = {"by", 'b', "FIELD", "Group by error (default), class, status, mapping or hour."},
    [CLASS] = {"class", 'c', "CLASS", "Only letters of this class, such as poison."},
    [STATUS] = {"status", 's', "CODE", "Only letters with this last HTTP status."},
    [SINCE] = {"since", 0, "TIME", "Only letters that died since then: 2h, 2026-11-23 14:00."},
    [UNTIL] = {"until", 0, "TIME", "Only letters that died before then."},
    [LIMIT] = {"limit", 'n', "COUNT", "Only the largest groups; 0: all (default 50)."},
    [JSON] = {"json", 'j', NULL, "Print one JSON object a line."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service does not use its usual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq stats",
    .synopsis = "[OPTION...] [MAPPING]",
    .description = "Groups dead letters and counts them, largest group first. Errors are grouped\n"
                   "with numbers, ids and quoted parts folded into # and '*'.",
    .options = options,
    .examples = "  sluice dlq stats\n"
                "  sluice dlq stats orders --by hour --since 2d\n"
                "  sluice dlq stats --json | jq -r 'select(.count > 100) | .example'",
};

static int keep(void *argument, const struct dead_letter_group *group)
{
    struct dlq_groups *groups = argument;
    struct dlq_group *kept;

    if ((groups->count & (groups->count - 1)) == 0)
        groups->groups = memory_resize(groups->groups, groups->count ? groups->count * 2 : 1,
                                       sizeof *groups->groups);
    kept = &groups->groups[groups->count++];
    *kept = (struct dlq_group){.value = memory_text(group->value),
                               .count = group->count,
                               .first_wall_us = group->first_wall_us,
                               .last_wall_us = group->last_wall_us};
    memcpy(kept->example_id, group->example_id,
           strnlen(group->example_id, sizeof kept->example_id - 1));
    return groups->count >= GROUPS_MOST;
}

int dlq_groups_read(struct dead_letter_store *store, const struct dead_letter_query *query,
                    const char *field, struct dlq_groups *ret_groups, struct fault *fault)
{
    *ret_groups = (struct dlq_groups){NULL, 0};
    return store->ops->group(store, query, field, keep, ret_groups, fault);
}

void dlq_groups_fini(struct dlq_groups *groups)
{
    for (size_t i = 0; i < groups->count; i++)
        free(groups->groups[i].value);
    free(groups->groups);
}

static void print_groups(const struct dlq_groups *groups, const char *field)
{
    struct dlq_screen screen = dlq_screen();
    bool show_example = screen.width >= 80;
    unsigned used = 12 + 2 + 5 + 2 + 5 + 2 + (show_example ? 26 + 2 : 0);
    char count[DLQ_TIME], first[DLQ_TIME], last[DLQ_TIME], title[16];

    snprintf(title, sizeof title, "%s", field);
    for (char *at = title; *at; at++)
        *at = (char)(*at - 'a' + 'A');
    dlq_style(&screen, "bold");
    printf("%12s  %5s  %5s  %s%s%s\n", "COUNT", "FIRST", "LAST",
           show_example ? "EXAMPLE                     " : "", title, "");
    dlq_style(&screen, "plain");
    for (size_t i = 0; i < groups->count; i++) {
        const struct dlq_group *group = &groups->groups[i];

        printf("%12s  %5s  %5s  ", dlq_number(group->count, count),
               dlq_ago(&screen, group->first_wall_us, first),
               dlq_ago(&screen, group->last_wall_us, last));
        if (show_example) {
            dlq_style(&screen, "dim");
            printf("%-26s  ", group->example_id);
            dlq_style(&screen, "plain");
        }
        dlq_line(group->value, strlen(group->value),
                 screen.width == (unsigned)-1 ? screen.width : screen.width - used);
        putchar('\n');
    }
}

static int check_field(const struct arguments *arguments, const char *field)
{
    static const char *const fields[] = {"error", "class", "status", "mapping", "hour"};
    struct suggest suggest = suggest_begin(field);

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i], field) == 0)
            return EX_OK;
        suggest_offer(&suggest, fields[i]);
    }
    if (suggest.nearest)
        return arguments_refuse(arguments, "--by %s; did you mean %s?", field, suggest.nearest);
    return arguments_refuse(arguments, "--by takes error, class, status, mapping or hour, not %s",
                            field);
}

struct stats {
    struct dead_letter_query query;
    const char *field, *state;
    bool json;
};

static int read_option(struct stats *stats, struct arguments *arguments, int option)
{
    switch (option) {
    case BY:
        stats->field = arguments->value;
        return check_field(arguments, arguments->value);
    case CLASS:
        return dlq_choose_class(arguments, &stats->query);
    case STATUS:
        return dlq_choose_status(arguments, &stats->query);
    case SINCE:
        return dlq_choose_time(arguments, &stats->query.since_wall_us);
    case UNTIL:
        return dlq_choose_time(arguments, &stats->query.until_wall_us);
    case LIMIT:
        return dlq_choose_limit(arguments, &stats->query);
    case JSON:
        stats->json = true;
        return EX_OK;
    default:
        stats->state = arguments->value;
        return EX_OK;
    }
}

static int print_stats(const struct stats *stats, struct dead_letter_store *store)
{
    struct dlq_groups groups;
    struct fault fault;
    int code = EX_OK;

    if (dlq_groups_read(store, &stats->query, stats->field, &groups, &fault) != 0)
        code = dlq_failed(&fault);
    else if (stats->json)
        for (size_t i = 0; i < groups.count; i++)
            dlq_json_print(dlq_json_group(&groups.groups[i], stats->field));
    else if (groups.count)
        print_groups(&groups, stats->field);
    else
        puts("No dead letters match.");
    dlq_groups_fini(&groups);
    return code;
}

int dlq_stats(int argc, char **argv)
{
    struct stats stats = {.query = {.limit = 50}, .field = "error"};
    struct dead_letter_store *store;
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        if ((code = read_option(&stats, &arguments, option)) != EX_OK)
            return code;
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "one mapping at most, not %s too",
                                arguments.operands[1]);
    if (arguments.operand_count)
        stats.query.mapping = arguments.operands[0];
    directory = state_directory_find(stats.state);
    store = dlq_open(directory, stats.json, &code);
    free(directory);
    if (!store)
        return code;
    code = print_stats(&stats, store);
    store->ops->close(store);
    return code;
}
