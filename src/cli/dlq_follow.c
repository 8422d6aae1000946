/* SPDX-License-Identifier: MIT
 * `sluice dlq follow`: letters as they are written. */
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"

#define WIDE    110 /* columns for all that is known of one */
#define LOOK_US (300 * CLOCK_MS)
/* Several pollers write, so that one which died a little earlier may be written a little later. */
#define LATE_US (10 * CLOCK_SECOND)
#define SEEN    65536 /* shown lately, each at its place by number; one may push out another */

static const struct arguments_option options[] = {DLQ_OPTIONS, [DLQ_OWN] = {0}};

static const struct arguments_usage usage = {
    .command = "dlq follow",
    .synopsis = "[OPTION...] [MAPPING]",
    .description = "Shows dead letters as they are written, until interrupted. With --since those\n"
                   "from then on first; with --limit it ends after so many.",
    .options = options,
    .examples = "  sluice dlq follow orders\n"
                "  sluice dlq follow --json --status 5xx | while read -r letter; do ...; done",
};

struct follow {
    struct dlq_choice choice;
    struct dlq_screen screen;
    int64_t newest;
    uint64_t count;
    bool done;
    int64_t *seen;
};

static void print_line(const struct follow *follow, const struct dead_letter *letter)
{
    const char *time, *class = dead_letter_class_name(letter->class);
    unsigned width = follow->screen.width, used;
    char text[DLQ_TIME];

    time = dlq_time(letter->dead_wall_us, text);
    if (width < WIDE)
        time += strcspn(time, " ") + 1; /* the day is known to who watches */
    dlq_style(&follow->screen, "dim");
    used = (unsigned)printf("%s  %s  ", time, letter->id);
    dlq_style(&follow->screen, "plain");
    used += dlq_line(letter->mapping, strlen(letter->mapping), width < WIDE ? 20 : width);
    used += width < WIDE ? (unsigned)printf("  ") : (unsigned)printf("  %s  ", class);
    dlq_error(letter->reason, !follow->screen.terminal ? UINT_MAX
                              : width > used + 8       ? width - used
                                                       : 8);
    putchar('\n');
}

static int see(void *argument, const struct dead_letter *letter)
{
    struct follow *follow = argument;
    int64_t *seen = &follow->seen[letter->dead_wall_us % SEEN];

    if (*seen == letter->dead_wall_us)
        return 0;
    *seen = letter->dead_wall_us;
    follow->newest = letter->dead_wall_us;
    follow->count++;
    if (follow->choice.json)
        dlq_json_print(dlq_json_letter(letter, false));
    else
        print_line(follow, letter);
    follow->done |= follow->choice.query.limit && follow->count == follow->choice.query.limit;
    return follow->done || ferror(stdout);
}

/* What came since the last look. */
static int look(struct follow *follow, struct dead_letter_store *store)
{
    struct dead_letter_query query = follow->choice.query;
    struct fault fault;

    query.sort = DEAD_LETTER_OLDEST;
    query.limit = 0;
    if (follow->newest - LATE_US > query.since_wall_us)
        query.since_wall_us = follow->newest - LATE_US;
    if (store->ops->list(store, &query, 0, see, follow, &fault) != 0)
        return dlq_failed(&fault);
    if (fflush(stdout) != 0)
        follow->done = true; /* nobody reads any more */
    return EX_OK;
}

static int run(struct follow *follow, const char *directory)
{
    const struct timespec pause = {.tv_nsec = LOOK_US * 1000};
    struct dead_letter_store *store = NULL;
    int received = 0, code = EX_OK;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    if (state_directory_is_missing(directory))
        fprintf(stderr, "there is no directory %s yet; --state names another\n", directory);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "following dead letters in %s; Ctrl-C ends it\n", directory);
    while (received <= 0 && code == EX_OK && !follow->done) {
        if (!store)
            store = dlq_open(directory, true, &code);
        if (store)
            code = look(follow, store);
        if (code == EX_OK && !follow->done)
            received = sigtimedwait(&signals, NULL, &pause);
    }
    if (store)
        store->ops->close(store);
    return code;
}

int dlq_follow(int argc, char **argv)
{
    struct follow follow = {.screen = dlq_screen()};
    struct arguments arguments;
    int option, code = EX_OK;
    char *directory;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0)
        if ((code = dlq_choice_option(&follow.choice, &arguments, option)) != EX_OK)
            break;
    if (option == ARGUMENTS_END &&
        (code = dlq_choice_mapping(&follow.choice, &arguments)) == EX_OK) {
        if (!follow.choice.query.since_wall_us)
            follow.choice.query.since_wall_us = follow.screen.now_us;
        directory = state_directory_find(follow.choice.state);
        follow.seen = memory_zero(SEEN, sizeof *follow.seen);
        code = run(&follow, directory);
        free(follow.seen);
        free(directory);
    }
    dlq_choice_fini(&follow.choice);
    return code;
}
