/* SPDX-License-Identifier: MIT
 * `sluice dlq export`: letters as JSON lines, as `show --json` prints them, with all that `import`
 * needs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

static const struct arguments_option options[] = {DLQ_OPTIONS, [DLQ_OWN] = {0}};

static const struct arguments_usage usage = {
    .command = "dlq export",
    .synopsis = "[OPTION...] [ID...]",
    .description =
        "Writes dead letters as JSON lines, oldest first: those with these ids, or all that\n"
        "match (all, if nothing chooses). They stay where they are.",
    .options = options,
    .examples = "  sluice dlq export --mapping orders > orders.jsonl\n"
                "  sluice dlq export --since 1d | ssh elsewhere sluice dlq import -",
};

struct export {
    uint64_t count;
    bool failed;
};

static int see(void *argument, const struct dead_letter *letter)
{
    struct export *export = argument;

    dlq_json_print(dlq_json_letter(letter, true));
    export->count++;
    export->failed = ferror(stdout);
    return export->failed;
}

static int run(const struct dlq_choice *choice, struct dead_letter_store *store)
{
    struct export export = {0};
    int code = dlq_choice_each(choice, store, usage.command, 1, see, &export);

    if (fflush(stdout) != 0 || export.failed) {
        fprintf(stderr, "sluice dlq export: cannot write: %s; what was written is not complete\n",
                strerror(errno));
        return EX_IOERR;
    }
    if (code == EX_OK && !export.count) {
        fputs("sluice dlq export: no dead letters match\n", stderr);
        code = DLQ_EXIT_NONE;
    }
    return code;
}

int dlq_export(int argc, char **argv)
{
    struct dlq_choice choice = {.query = {.sort = DEAD_LETTER_OLDEST}};
    struct dead_letter_store *store = NULL;
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory = NULL;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        if ((code = dlq_choice_option(&choice, &arguments, option)) != EX_OK)
            break;
    if (option == ARGUMENTS_END && (code = dlq_choice_ids(&choice, &arguments)) == EX_OK) {
        directory = state_directory_find(choice.state);
        store = dlq_open(directory, true, &code);
        if (!store && code == EX_OK)
            code = DLQ_EXIT_NONE;
    }
    if (store) {
        code = run(&choice, store);
        store->ops->close(store);
    }
    free(directory);
    dlq_choice_fini(&choice);
    return code;
}
