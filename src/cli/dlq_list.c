/* SPDX-License-Identifier: MIT
 * `sluice dlq ls`: letters, newest first. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/memory.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define CHUNK         200 /* letters laid out together */
#define LIMIT_USUAL   50
#define MAPPING_WIDTH 20
#define LANE_WIDTH    24
/* Columns of the reason: with less the message, with less the class is left out, with less it gets a line of
 * its own. */
#define REASON_BESIDE_LANE  44
#define REASON_BESIDE_CLASS 30
#define REASON_BESIDE       20

static const struct arguments_option options[] = {DLQ_OPTIONS, [DLQ_OWN] = {0}};

static const struct arguments_usage usage = {
    .command = "dlq ls",
    .synopsis = "[OPTION...] [MAPPING]",
    .description = "Lists dead letters, newest first.\n"
                   "Classes: attempts, poison, named, patience, age, too_large, token_missing,\n"
                   "token_conflict, filtered, foreign, buried.",
    .options = options,
    .examples = "  sluice dlq ls orders --since 2h\n"
                "  sluice dlq ls --status 4xx --limit 0 --json | jq -r .token\n"
                "  sluice dlq ls --error 'no such (customer|order)' --never-replayed\n"
                "  sluice dlq ls --since 2026-11-23 --until '2026-11-23 12:00'",
};

struct row {
    char id[27], class[16], status[8], age[DLQ_TIME];
    char *mapping, *lane, *reason;
};

struct list {
    struct dlq_choice choice;
    bool headed;
    struct dlq_screen screen;
    struct row rows[CHUNK];
    size_t count;
    uint64_t total;
    unsigned mapping_width, class_width, lane_width;
    bool with_mapping, with_class, with_lane, stacked;
};

static void widen(unsigned *width, const char *text, unsigned most)
{
    unsigned wanted = dlq_width(text);

    if (wanted > most)
        wanted = most;
    if (wanted > *width)
        *width = wanted;
}

static void cell(const char *text, unsigned width)
{
    dlq_pad(dlq_line(text, strlen(text), width), width);
}

/* Of all columns but the last. */
static unsigned width_of(const struct list *list)
{
    return 26 + 2 + 5 + 2 + (list->with_mapping ? list->mapping_width + 2 : 0) +
           (list->with_lane ? list->lane_width + 2 : 0) +
           (list->with_class ? list->class_width + 2 : 0) + 6 + 2;
}

/* What there is room for: why a letter died is worth more than where it was and its class. */
static void choose_columns(struct list *list)
{
    unsigned width = list->screen.width;

    list->with_mapping = !list->choice.query.mapping;
    list->with_lane = list->with_class = true;
    if (width < width_of(list) + REASON_BESIDE_LANE)
        list->with_lane = false;
    if (width < width_of(list) + REASON_BESIDE_CLASS)
        list->with_class = false;
    list->stacked = width < width_of(list) + REASON_BESIDE;
    if (width < width_of(list))
        list->with_mapping = false; /* it stands on the second line */
}

static void print_row(const struct list *list, const struct row *row)
{
    dlq_style(&list->screen, "dim");
    cell(row->id, 26);
    dlq_style(&list->screen, "plain");
    cell(row->age, list->stacked ? 4 : 5);
    if (list->with_mapping)
        cell(row->mapping, list->mapping_width);
    if (list->with_lane)
        cell(row->lane, list->lane_width);
    if (list->with_class)
        cell(row->class, list->class_width);
    if (list->stacked)
        printf("%s\n  ", row->status);
    else
        cell(row->status, 6);
}

/* On a terminal without what the column before says. */
static const char *reason_of(const struct list *list, const struct row *row)
{
    char said[48];
    size_t size = (size_t)snprintf(said, sizeof said, "the function answered %s: ", row->status);

    return list->screen.terminal && strncmp(row->reason, said, size) == 0 && row->reason[size]
               ? row->reason + size
               : row->reason;
}

static void print_reason(const struct list *list, const struct row *row)
{
    const char *reason = reason_of(list, row);
    unsigned width = list->screen.width, used = list->stacked ? 2 : width_of(list);

    if (list->stacked && !list->with_mapping && !list->choice.query.mapping) {
        used += dlq_line(row->mapping, strlen(row->mapping), list->mapping_width) + 2;
        fputs(": ", stdout);
    }
    dlq_line(reason, strlen(reason),
             !list->screen.terminal ? UINT_MAX : width > used ? width - used : 1);
    putchar('\n');
}

static void print_rows(struct list *list)
{
    struct row heads = {.id = "ID", .class = "CLASS", .status = "STATUS", .age = "AGE"};

    widen(&list->mapping_width, "MAPPING", MAPPING_WIDTH);
    widen(&list->class_width, "CLASS", 16);
    widen(&list->lane_width, "MESSAGE", LANE_WIDTH);
    for (size_t i = 0; i < list->count; i++) {
        widen(&list->mapping_width, list->rows[i].mapping, MAPPING_WIDTH);
        widen(&list->class_width, list->rows[i].class, 16);
        widen(&list->lane_width, list->rows[i].lane, LANE_WIDTH);
    }
    choose_columns(list);
    if (!list->headed && list->count) {
        heads.mapping = "MAPPING";
        heads.lane = "MESSAGE";
        print_row(list, &heads);
        puts("REASON");
        list->headed = true;
    }
    for (size_t i = 0; i < list->count; i++) {
        struct row *row = &list->rows[i];

        print_row(list, row);
        print_reason(list, row);
        free(row->mapping);
        free(row->lane);
        free(row->reason);
    }
    list->count = 0;
}

static int see(void *argument, const struct dead_letter *letter)
{
    struct list *list = argument;
    struct row *row = &list->rows[list->count];

    list->total++;
    if (list->choice.json) {
        dlq_json_print(dlq_json_letter(letter, false));
        return ferror(stdout);
    }
    memcpy(row->id, letter->id, sizeof row->id);
    snprintf(row->class, sizeof row->class, "%s", dead_letter_class_name(letter->class));
    if (letter->status)
        snprintf(row->status, sizeof row->status, "%u", letter->status % 100000);
    else
        strcpy(row->status, "-");
    dlq_ago(&list->screen, letter->dead_wall_us, row->age);
    row->mapping = memory_text(letter->mapping);
    row->lane = memory_format("%s/%llu", letter->lane, (unsigned long long)letter->position);
    row->reason = memory_text(letter->reason);
    if (++list->count == CHUNK)
        print_rows(list);
    return ferror(stdout);
}

static int print_list(struct list *list, struct dead_letter_store *store)
{
    uint64_t all = 0;
    struct fault fault;
    char number[DLQ_TIME];

    if (store->ops->list(store, &list->choice.query, 0, see, list, &fault) != 0) {
        print_rows(list);
        return dlq_failed(&fault);
    }
    if (list->choice.json)
        return EX_OK;
    print_rows(list);
    if (!list->total)
        dlq_choice_none(&list->choice, store);
    else if (list->choice.query.limit && list->total == list->choice.query.limit &&
             store->ops->count(store, &list->choice.query, &all, &fault) == 0 && all > list->total)
        fprintf(stderr, "%s more; --limit 0 lists all.\n", dlq_number(all - list->total, number));
    return EX_OK;
}

int dlq_list(int argc, char **argv)
{
    struct list *list = memory_zero(1, sizeof *list);
    struct dead_letter_store *store = NULL;
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory = NULL;

    list->choice.query.limit = LIMIT_USUAL;
    list->screen = dlq_screen();
    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        if ((code = dlq_choice_option(&list->choice, &arguments, option)) != EX_OK)
            break;
    if (option == ARGUMENTS_END &&
        (code = dlq_choice_mapping(&list->choice, &arguments)) == EX_OK) {
        directory = state_directory_find(list->choice.state);
        store = dlq_open(directory, list->choice.json, &code);
    }
    if (store) {
        code = print_list(list, store);
        store->ops->close(store);
    }
    free(directory);
    dlq_choice_fini(&list->choice);
    free(list);
    return code;
}
