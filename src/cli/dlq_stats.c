/* SPDX-License-Identifier: MIT
 * `sluice dlq stats`: letters grouped. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/suggest.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define GROUPS_MOST 100000 /* kept at once; there are 10000 errors, and an hour each year */
#define EXAMPLE_WIDTH 28
#define ERROR_WIDTH   60     /* of the longest error that need not be cut */
#define VALUE_WIDTH   24     /* and of other values */
#define FINE_MOST   100000 /* letters that may be looked at one by one for their trend */

enum { BY = DLQ_OWN };

static const struct arguments_option options[] = {
    DLQ_OPTIONS,
    [BY] = {"by", 'b', "FIELD", "Group by error (default), class, status, mapping, key or hour."},
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
                "  sluice dlq stats --by key --error 'no such customer'\n"
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
    *kept = (struct dlq_group){.value = group->value
                                            ? memory_text_n(group->value, group->value_size)
                                            : NULL,
                               .value_size = group->value_size,
                               .count = group->count,
                               .bytes = group->bytes,
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
    for (size_t i = 0; i < groups->count; i++) {
        free(groups->groups[i].value);
        free(groups->groups[i].trend);
    }
    free(groups->groups);
}

static bool is_value(const struct dlq_group *group, const char *value, size_t size)
{
    return !value == !group->value && size == group->value_size &&
           (!value || memcmp(value, group->value, size) == 0);
}

static int see_step(void *argument, const char *value, size_t value_size, uint64_t step,
                    uint64_t count)
{
    struct dlq_groups *groups = argument;

    for (size_t i = 0; i < groups->count; i++)
        if (is_value(&groups->groups[i], value, value_size)) {
            groups->groups[i].trend[step < DLQ_TREND ? step : DLQ_TREND - 1] += count;
            break;
        }
    return 0;
}

int dlq_groups_trend(struct dead_letter_store *store, const struct dead_letter_query *query,
                     const char *field, int64_t step_us, struct dlq_groups *groups,
                     struct fault *fault)
{
    for (size_t i = 0; i < groups->count; i++)
        groups->groups[i].trend = memory_zero(DLQ_TREND, sizeof(uint64_t));
    return store->ops->trend(store, query, field, step_us, see_step, groups, fault);
}

/* `2026-11-23T13:00Z` as all other times are shown. */
static void print_hour(const char *hour, unsigned width)
{
    struct tm parts = {0};
    char text[DLQ_TIME];
    time_t seconds;

    if (strptime(hour, "%Y-%m-%dT%H:%MZ", &parts)) {
        seconds = timegm(&parts);
        localtime_r(&seconds, &parts);
        strftime(text, sizeof text, "%Y-%m-%d %H:%M", &parts);
        hour = text;
    }
    dlq_line(hour, strlen(hour), width);
}

/* Keys that --key would not take as they are, as it does. */
static void print_value(const struct dlq_group *group, const char *field, unsigned width)
{
    bool is_key = strcmp(field, "key") == 0;
    struct sluice_bytes value = {group->value, group->value_size};
    char *hex;

    if (!value.data) {
        dlq_line("(no key)", 8, width);
    } else if (is_key && (strcmp(dlq_content(value), "binary") == 0 ||
                          strncmp(group->value, "hex:", 4) == 0)) {
        hex = memory_new(4 + 2 * value.size + 1);
        memcpy(hex, "hex:", 4);
        for (size_t i = 0; i < value.size; i++)
            snprintf(hex + 4 + 2 * i, 3, "%02x", (unsigned char)group->value[i]);
        dlq_line(hex, 4 + 2 * value.size, width);
        free(hex);
    } else if (strcmp(field, "error") == 0) {
        dlq_error(group->value, width);
    } else if (strcmp(field, "hour") == 0) {
        print_hour(group->value, width);
    } else {
        dlq_line(group->value, group->value_size, width);
    }
}

/* How the groups are laid out: on two lines each where errors would be cut short. */
struct layout {
    bool trend, example, stacked;
    unsigned used; /* columns before the value */
};

static struct layout lay_out(const struct dlq_screen *screen, const struct dlq_groups *groups,
                             const char *field)
{
    bool errors = strcmp(field, "error") == 0;
    unsigned most = errors ? ERROR_WIDTH : VALUE_WIDTH, longest = 0, width;
    struct layout layout = {.trend = groups->count && groups->groups[0].trend, .example = true};

    for (size_t i = 0; i < groups->count; i++) {
        width = groups->groups[i].value ? dlq_width(groups->groups[i].value) : 8;
        longest = width > most ? most : width > longest ? width : longest;
    }
    layout.used = 12 + 2 + 5 + 2 + 5 + 2 + (layout.trend ? DLQ_TREND + 2 : 0) + EXAMPLE_WIDTH;
    layout.stacked = errors && screen->width < layout.used + longest;
    if (screen->width < layout.used + (layout.stacked ? 0 : longest)) {
        layout.example = false;
        layout.used -= EXAMPLE_WIDTH;
    }
    if (layout.trend && !layout.stacked && screen->width < layout.used + 8) {
        layout.trend = false;
        layout.used -= DLQ_TREND + 2;
    }
    if (layout.stacked)
        layout.used = 2;
    return layout;
}

static void print_groups(const struct dlq_groups *groups, const char *field)
{
    struct dlq_screen screen = dlq_screen();
    struct layout layout = lay_out(&screen, groups, field);
    char count[DLQ_TIME], first[DLQ_TIME], last[DLQ_TIME], title[16];

    snprintf(title, sizeof title, "%s", field);
    for (char *at = title; *at; at++)
        *at = (char)(*at - 'a' + 'A');
    dlq_style(&screen, "bold");
    printf("%12s  %5s  %5s  %s%s%s%s\n", "COUNT", "FIRST", "LAST",
           !layout.trend                       ? ""
           : layout.stacked && !layout.example ? "TREND"
                                               : "TREND         ",
           !layout.example  ? ""
           : layout.stacked ? "EXAMPLE"
                            : "EXAMPLE                     ",
           layout.stacked ? "\n  " : "", title);
    dlq_style(&screen, "plain");
    for (size_t i = 0; i < groups->count; i++) {
        const struct dlq_group *group = &groups->groups[i];

        printf("%12s  %5s  %5s  ", dlq_number(group->count, count),
               dlq_ago(&screen, group->first_wall_us, first),
               dlq_ago(&screen, group->last_wall_us, last));
        if (layout.trend) {
            dlq_spark(&screen, group->trend, DLQ_TREND);
            fputs(layout.stacked && !layout.example ? "" : "  ", stdout);
        }
        if (layout.example) {
            dlq_style(&screen, "dim");
            printf("%-26s%s", group->example_id, layout.stacked ? "" : "  ");
            dlq_style(&screen, "plain");
        }
        if (layout.stacked)
            fputs("\n  ", stdout);
        print_value(group, field,
                    screen.terminal && screen.width > layout.used + 8 ? screen.width - layout.used
                    : screen.terminal                                 ? 8
                                                                      : screen.width);
        putchar('\n');
    }
}

static int check_field(const struct arguments *arguments, const char *field)
{
    static const char *const fields[] = {"error", "class", "status", "mapping", "key", "hour"};
    struct suggest suggest = suggest_begin(field);

    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(fields[i], field) == 0)
            return EX_OK;
        suggest_offer(&suggest, fields[i]);
    }
    if (suggest.nearest)
        return arguments_refuse(arguments, "--by %s; did you mean %s?", field, suggest.nearest);
    return arguments_refuse(arguments, "--by takes error, class, status, mapping, key or hour, not %s",
                            field);
}

/* Over the whole range that the groups span, in whole hours where there are too many letters to look
 * at each. Where they are of one moment or one hour each, there is no trend. */
static int add_trend(const struct dead_letter_query *chosen, struct dead_letter_store *store,
                     const char *field, struct dlq_groups *groups, struct fault *fault)
{
    int64_t first = INT64_MAX, last = 0, step;
    struct dead_letter_query query = *chosen;
    uint64_t letters = 0;

    for (size_t i = 0; i < groups->count; i++) {
        const struct dlq_group *group = &groups->groups[i];

        first = group->first_wall_us < first ? group->first_wall_us : first;
        last = group->last_wall_us > last ? group->last_wall_us : last;
        letters += group->count;
    }
    if (strcmp(field, "hour") == 0 || groups->count > 1000 || last - first < CLOCK_SECOND)
        return 0;
    step = (last - first) / DLQ_TREND + 1;
    if (letters > FINE_MOST) {
        if (strcmp(field, "key") == 0)
            return 0;
        first = first / CLOCK_HOUR * CLOCK_HOUR;
        step = ((last - first) / DLQ_TREND / CLOCK_HOUR + 1) * CLOCK_HOUR;
    }
    query.since_wall_us = first;
    if (step % CLOCK_HOUR)
        query.until_wall_us = last + 1;
    query.limit = 0;
    return dlq_groups_trend(store, &query, field, step, groups, fault);
}

static int print_stats(const struct dlq_choice *choice, const char *field,
                       struct dead_letter_store *store)
{
    struct dlq_groups groups;
    struct fault fault;
    int code = EX_OK;

    if (dlq_groups_read(store, &choice->query, field, &groups, &fault) != 0 ||
        add_trend(&choice->query, store, field, &groups, &fault) != 0)
        code = dlq_failed(&fault);
    else if (choice->json)
        for (size_t i = 0; i < groups.count; i++)
            dlq_json_print(dlq_json_group(&groups.groups[i], field));
    else if (groups.count)
        print_groups(&groups, field);
    else
        dlq_choice_none(choice, store);
    dlq_groups_fini(&groups);
    return code;
}

int dlq_stats(int argc, char **argv)
{
    struct dlq_choice choice = {.query = {.limit = 50}};
    const char *field = "error";
    struct dead_letter_store *store = NULL;
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        if (option == BY)
            code = check_field(&arguments, field = arguments.value);
        else
            code = dlq_choice_option(&choice, &arguments, option);
        if (code != EX_OK)
            break;
    }
    if (option == ARGUMENTS_END && (code = dlq_choice_mapping(&choice, &arguments)) == EX_OK) {
        directory = state_directory_find(choice.state);
        store = dlq_open(directory, choice.json, &code);
        free(directory);
    }
    if (store) {
        code = print_stats(&choice, field, store);
        store->ops->close(store);
    }
    dlq_choice_fini(&choice);
    return code;
}
