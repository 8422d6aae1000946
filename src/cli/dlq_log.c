/* SPDX-License-Identifier: MIT
 * `sluice dlq log`: who did what to dead letters. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/units.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"
#include "io/json_value.h"

enum { LIMIT, JSON, STATE };

static const struct arguments_option options[] = {
    [LIMIT] = {"limit", 'n', "COUNT", "Only the newest ones; 0: all (default 50)."},
    [JSON] = {"json", 'j', NULL, "Print one JSON object a line."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service has an unusual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq log",
    .synopsis = "[OPTION...]",
    .description = "Tells who replayed, edited, discarded or imported dead letters, newest first.\n"
                   "The newest 100000 acts are kept.",
    .options = options,
    .examples = "  sluice dlq log\n"
                "  sluice dlq log --json | jq -r 'select(.action == \"discard\") | .login'",
};

#define WIDE 110 /* columns for an act on one line */

struct view {
    struct dlq_screen screen;
    bool json;
    uint64_t count;
};

static void print_json(const struct dead_letter_act *act)
{
    json_t *object = json_object();

    json_object_set_new(object, "time", dlq_json_time(act->wall_us));
    json_object_set_new(object, "uid", act->uid == DEAD_LETTER_NO_UID ? json_null()
                                                                      : json_integer(act->uid));
    json_object_set_new(object, "login", json_value_text(act->login));
    json_object_set_new(object, "action", json_value_text(act->action));
    json_object_set_new(object, "detail", json_value_text(act->detail));
    json_object_set_new(object, "count", json_integer((json_int_t)act->count));
    json_object_set_new(object, "failed", json_integer((json_int_t)act->failed));
    dlq_json_print(object);
}

static void cell(const char *text, unsigned width)
{
    dlq_pad(dlq_line(text, strlen(text), width), width);
}

static int see(void *argument, const struct dead_letter_act *act)
{
    struct view *view = argument;
    const unsigned width = view->screen.width;
    const bool stacked = view->screen.terminal && width < WIDE;
    const unsigned name = stacked ? 10 : 16, used = stacked ? 2 : 73;
    const int amount = stacked ? 7 : 10;
    char time[DLQ_TIME], number[DLQ_TIME], who[64];

    view->count++;
    if (view->json) {
        print_json(act);
        return ferror(stdout);
    }
    if (view->count == 1)
        printf("%-19s  %-*s  %-8s  %*s  %*s%sWHICH\n", "TIME", (int)name, "WHO", "WHAT", amount,
               "LETTERS", amount, "FAILED", stacked ? "\n  " : "  ");
    if (act->uid == DEAD_LETTER_NO_UID)
        snprintf(who, sizeof who, "%s(HTTP)", act->login);
    else
        snprintf(who, sizeof who, "%s(%u)", act->login, act->uid);
    printf("%-19s  ", dlq_time(act->wall_us, time));
    cell(who, name);
    cell(act->action, 8);
    printf("%*s  ", amount, dlq_number(act->count, number));
    printf("%*s%s", amount, dlq_number(act->failed, number), stacked ? "\n  " : "  ");
    dlq_line(act->detail, strlen(act->detail), view->screen.terminal ? width - used : UINT_MAX);
    putchar('\n');
    return ferror(stdout);
}

int dlq_log(int argc, char **argv)
{
    struct view view = {.screen = dlq_screen()};
    struct dead_letter_store *store;
    struct arguments arguments;
    const char *state = NULL;
    int64_t limit = 50;
    int option, code = EX_OK;
    struct fault fault;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        view.json |= option == JSON;
        if (option == STATE)
            state = arguments.value;
        if (option == LIMIT && (units_parse_integer(arguments.value, &limit) != 0 || limit < 0 ||
                                limit > UINT32_MAX))
            return arguments_refuse(&arguments, "--limit takes a number, 0 for all");
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count)
        return arguments_refuse(&arguments, "it takes no operand, but \"%.40s\" was given",
                                arguments.operands[0]);
    directory = state_directory_find(state);
    store = dlq_open(directory, view.json, &code);
    free(directory);
    if (!store)
        return code;
    if (store->ops->acts(store, (uint32_t)limit, see, &view, &fault) != 0)
        code = dlq_failed(&fault);
    else if (!view.count && !view.json)
        puts("Nobody has changed dead letters here.");
    store->ops->close(store);
    return code;
}
