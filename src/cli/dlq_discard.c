/* SPDX-License-Identifier: MIT
 * `sluice dlq discard`: removes letters for good. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/memory.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define CHUNK 500 /* removed at once: the service never waits long for its turn to write */

enum { ALL = DLQ_OWN, YES, DRY_RUN };

static const struct arguments_option options[] = {
    DLQ_OPTIONS,
    [ALL] = {"all", 'a', NULL, "All letters, where nothing else chooses."},
    [YES] = {"yes", 'y', NULL, "Do not ask."},
    [DRY_RUN] = {"dry-run", 0, NULL, "Only say how many it would be."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq discard",
    .synopsis = "[OPTION...] [ID...]",
    .description = "Removes dead letters for good: those with these ids, or all that match.\n"
                   "Asks before, on a terminal; needs --yes elsewhere.",
    .options = options,
    .examples = "  sluice dlq discard 01KAS7M3Q2\n"
                "  sluice dlq discard --mapping orders --class filtered --until 7d --yes",
};

struct discard {
    struct dlq_choice choice;
    bool all, yes, dry_run;
    struct dead_letter_store *writer;
    struct dead_letter_act act;
    int64_t numbers[CHUNK];
    size_t count;
    bool failed;
    struct fault fault;
};

static int flush(struct discard *discard)
{
    if (discard->count &&
        discard->writer->ops->remove(discard->writer, discard->numbers, NULL, discard->count,
                                     &discard->act, &discard->fault) < 0)
        discard->failed = true;
    discard->count = 0;
    return discard->failed;
}

static int see(void *argument, const struct dead_letter *letter)
{
    struct discard *discard = argument;

    discard->numbers[discard->count++] = letter->dead_wall_us;
    return discard->count == CHUNK ? flush(discard) : 0;
}

static int tell(const struct discard *discard, uint64_t matched)
{
    char number[DLQ_TIME];

    if (discard->choice.json)
        dlq_json_print(json_pack("{s:s, s:I, s:I, s:b}", "action", "discard", "matched",
                                 (json_int_t)matched, "discarded",
                                 (json_int_t)discard->act.count, "dry_run", discard->dry_run));
    else if (discard->dry_run)
        printf("%s dead letter%s would be discarded.\n", dlq_number(matched, number),
               matched == 1 ? "" : "s");
    else
        printf("%s dead letter%s discarded.\n", dlq_number(discard->act.count, number),
               discard->act.count == 1 ? "" : "s");
    return EX_OK;
}

static int run(struct discard *discard, struct dead_letter_store *store)
{
    uint64_t matched = 0;
    char number[DLQ_TIME];
    int code = dlq_choice_count(&discard->choice, store, usage.command, &matched);

    if (code == EX_OK && !matched)
        code = dlq_choice_none(&discard->choice, store);
    if (code != EX_OK)
        return code;
    if (discard->dry_run)
        return tell(discard, matched);
    code = dlq_confirm(usage.command, discard->yes, "Discard %s dead letter%s for good?",
                       dlq_number(matched, number), matched == 1 ? "" : "s");
    if (code != EX_OK)
        return code;
    code = dlq_choice_each(&discard->choice, store, usage.command, 0, see, discard);
    flush(discard);
    if (discard->failed)
        code = dlq_failed(&discard->fault);
    tell(discard, matched);
    return code;
}

static int read_options(struct discard *discard, struct arguments *arguments, int *ret_code)
{
    int option, code = EX_OK;

    while ((option = arguments_next(arguments, ret_code)) >= 0) {
        if (option < DLQ_OWN)
            code = dlq_choice_option(&discard->choice, arguments, option);
        discard->all |= option == ALL;
        discard->yes |= option == YES;
        discard->dry_run |= option == DRY_RUN;
        if (code != EX_OK)
            break;
    }
    if (option == ARGUMENTS_DONE)
        return -1;
    if (code == EX_OK)
        code = dlq_choice_ids(&discard->choice, arguments);
    if (code == EX_OK && !discard->choice.id_count && !discard->choice.filtered && !discard->all)
        code = arguments_refuse(arguments, "which ones? Give ids or filters, or --all");
    *ret_code = code;
    return code == EX_OK ? 0 : -1;
}

int dlq_discard(int argc, char **argv)
{
    struct discard *discard = memory_zero(1, sizeof *discard);
    char *detail = dlq_choice_text(argc, argv), *directory;
    struct dead_letter_store *store;
    struct arguments arguments;
    int code = EX_OK;

    arguments_begin(&arguments, &usage, argc, argv);
    if (read_options(discard, &arguments, &code) == 0) {
        discard->act = (struct dead_letter_act){.action = "discard", .detail = detail};
        dlq_who(&discard->act);
        directory = state_directory_find(discard->choice.state);
        discard->writer = dlq_open_writer(directory, &code);
        store = discard->writer ? dlq_open(directory, true, &code) : NULL;
        if (store) {
            code = run(discard, store);
            store->ops->close(store);
        }
        if (discard->writer)
            discard->writer->ops->close(discard->writer);
        free((char *)(uintptr_t)discard->act.login);
        free(directory);
    }
    dlq_choice_fini(&discard->choice);
    free(detail);
    free(discard);
    return code;
}
