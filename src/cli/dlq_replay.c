/* SPDX-License-Identifier: MIT
 * `sluice dlq replay`: letters through their mapping again. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/dlq_choice.h"
#include "cli/dlq_inside.h"
#include "cli/dlq_replay.h"
#include "io/http_client.h"
#include "service/config.h"
#include "service/replay_alone.h"

#define DRAIN_US (30 * CLOCK_SECOND)
#define WAIT_US  (60 * CLOCK_SECOND)

enum {
    TO = DLQ_OWN,
    ALL,
    DRY_RUN,
    ONE_FIRST,
    FORCE,
    RATE,
    CONCURRENCY,
    MAX_FAILURES,
    WAIT,
    YES,
    CONFIG,
    CONNECTORS
};

static const struct arguments_option options[] = {
    DLQ_OPTIONS,
    [TO] = {"to", 0, "MAPPING", "Through this mapping, not the letters' own."},
    [ALL] = {"all", 'a', NULL, "All letters, where nothing else chooses."},
    [DRY_RUN] = {"dry-run", 0, NULL, "Only say what would happen."},
    [ONE_FIRST] = {"one-first", '1', NULL, "Replay one, show how it went, ask, then the rest."},
    [FORCE] = {"force", 0, NULL, "With a new token, also where the message was done meanwhile."},
    [RATE] = {"rate", 0, "COUNT", "At most so many a second, for each mapping."},
    [CONCURRENCY] = {"concurrency", 0, "COUNT", "At most so many invocations at once."},
    [MAX_FAILURES] = {"max-failures", 0, "COUNT", "Stop once so many died again (see below)."},
    [WAIT] = {"wait", 0, "TIME", "How long to wait for a target that is down (default 1m)."},
    [YES] = {"yes", 'y', NULL, "Do not ask."},
    [CONFIG] = {"config", 'C', "DIR", "Read DIR/sluice.yaml and its mappings."},
    [CONNECTORS] = {"connectors", 0, "DIR", "Load connectors from DIR only."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "dlq replay",
    .synopsis = "[OPTION...] [ID...]",
    .description =
        "Sends dead letters through their mapping again: its target, batches, order and retries,\n"
        "oldest first, with the token that each message had. One whose token was recorded\n"
        "meanwhile is not sent again. A letter leaves the store when its replay is done; one that\n"
        "dies again stays, with what happened added to its story. Without --max-failures it stops\n"
        "once 10 died again and they are more than half. Interrupted or killed, it may be begun\n"
        "again: nothing is lost, and nothing is sent with another token.",
    .options = options,
    .examples = "  sluice dlq replay --mapping orders --dry-run\n"
                "  sluice dlq replay --mapping orders --status 5xx --one-first --rate 50\n"
                "  sluice dlq replay 01KAS7M3Q2 --to orders-repaired",
};

struct command {
    struct dlq_choice choice;
    struct replay_order order;
    bool all, dry_run, one_first, yes;
    int64_t wait_us;
    const char *config;
    struct overrides overrides;
    struct configuration *configuration;
    struct replay_alone *alone;
    struct replay_context context;
    struct dead_letter_store *store;
    struct dlq_replay_view view;
    char (*ids)[27];
    const char **id_texts;
};

/* ---- the command line ---- */

static int read_count(const struct arguments *arguments, const char *name, int64_t *ret)
{
    if (units_parse_integer(arguments->value, ret) != 0 || *ret < 1 || *ret > UINT32_MAX)
        return arguments_refuse(arguments, "--%s takes a number above 0, not %s", name,
                                arguments->value);
    return EX_OK;
}

static int read_own(struct command *command, const struct arguments *arguments, int option)
{
    int64_t number = 0;
    int code = EX_OK;

    switch (option) {
    case TO:
        command->order.to = arguments->value;
        break;
    case RATE:
        code = read_count(arguments, "rate", &number);
        command->order.rate = (uint32_t)number;
        break;
    case CONCURRENCY:
        code = read_count(arguments, "concurrency", &number);
        command->order.concurrency = (uint32_t)number;
        break;
    case MAX_FAILURES:
        code = read_count(arguments, "max-failures", &number);
        command->order.max_failures = (uint64_t)number;
        break;
    case WAIT:
        if (units_parse_duration(arguments->value, &command->wait_us) != 0)
            code = arguments_refuse(arguments, "--wait takes a time such as 5m");
        break;
    case CONFIG:
        command->config = arguments->value;
        break;
    case CONNECTORS:
        command->overrides.connector_directory = arguments->value;
        break;
    default:
        command->all |= option == ALL;
        command->dry_run |= option == DRY_RUN;
        command->one_first |= option == ONE_FIRST;
        command->order.force |= option == FORCE;
        command->yes |= option == YES;
    }
    return code;
}

static int read_options(struct command *command, struct arguments *arguments, int *ret_code)
{
    int option, code = EX_OK;

    while ((option = arguments_next(arguments, ret_code)) >= 0) {
        code = option < DLQ_OWN ? dlq_choice_option(&command->choice, arguments, option)
                                : read_own(command, arguments, option);
        if (code != EX_OK)
            break;
    }
    if (option == ARGUMENTS_DONE)
        return -1;
    if (code == EX_OK)
        code = dlq_choice_ids(&command->choice, arguments);
    if (code == EX_OK && !command->choice.id_count && !command->choice.filtered && !command->all)
        code = arguments_refuse(arguments, "which ones? Give ids or filters, or --all");
    *ret_code = code;
    return code == EX_OK ? 0 : -1;
}

/* ---- before ---- */

/* Whole ids in place of what was typed. */
static int find_ids(struct command *command)
{
    int count = command->choice.id_count;

    command->ids = memory_zero((size_t)count + 1, sizeof *command->ids);
    command->id_texts = memory_zero((size_t)count + 1, sizeof *command->id_texts);
    for (int i = 0; i < count; i++) {
        int code =
            dlq_find(command->store, usage.command, command->choice.ids[i], command->ids[i]);

        if (code != EX_OK)
            return code;
        command->id_texts[i] = command->ids[i];
    }
    command->order.ids = command->id_texts;
    command->order.id_count = (size_t)count;
    command->order.query = command->choice.query;
    return EX_OK;
}

/* ---- running ---- */

/* Until it ends, is interrupted, or has waited too long for a target. */
static void watch(struct command *command, struct replay *replay, struct replay_status *ret_status)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    int64_t down_since_us = 0;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    for (;;) {
        replay_read_status(replay, ret_status);
        if (ret_status->ended)
            return;
        dlq_replay_progress(&command->view, ret_status);
        if (!ret_status->down)
            down_since_us = 0;
        else if (!down_since_us)
            down_since_us = clock_now();
        if (down_since_us && clock_now() - down_since_us >= command->wait_us &&
            !command->view.end) {
            command->view.end = "unavailable";
            memcpy(command->view.why, ret_status->text, sizeof command->view.why);
            replay_stop(replay, 0);
        }
        if (sigtimedwait(&signals, NULL, &pause) > 0) {
            replay_stop(replay, command->view.end ? 0 : DRAIN_US);
            command->view.end = "interrupted";
        }
    }
}

static int run_once(struct command *command, struct replay_status *ret_status)
{
    struct fault fault;
    struct replay *replay = replay_start(&command->context, &command->order, &fault);

    if (!replay) {
        fprintf(stderr, "sluice dlq replay: %s\n", fault.text);
        return EX_CONFIG;
    }
    watch(command, replay, ret_status);
    replay_free(replay);
    if (ret_status->too_many)
        command->view.end = "failures";
    return EX_OK;
}

static int note_first(void *argument, const struct dead_letter *letter)
{
    struct command *command = argument;

    memcpy(command->ids[0], letter->id, sizeof letter->id);
    command->order.skip = letter->dead_wall_us;
    return 1;
}

/* One alone; then, if the person says so, the others. */
static int run_one(struct command *command, uint64_t total, struct replay_status *ret_status)
{
    struct replay_order whole = command->order;
    const char *id = command->ids[0];
    char number[DLQ_TIME];
    int code;

    if (!whole.id_count) {
        command->choice.query.limit = 1;
        code = dlq_choice_each(&command->choice, command->store, usage.command, 0, note_first,
                               command);
    } else {
        struct dlq_choice one = {.ids = command->choice.ids, .id_count = 1};

        code = dlq_choice_each(&one, command->store, usage.command, 0, note_first, command);
    }
    if (code != EX_OK)
        return code;
    command->order.ids = &id;
    command->order.id_count = 1;
    whole.skip = command->order.skip;
    command->order.skip = 0;
    command->view.total = 1;
    code = run_once(command, ret_status);
    command->order = whole;
    if (code != EX_OK || command->view.end || total < 2)
        return code;
    dlq_replay_first(&command->view, id, ret_status);
    code = dlq_confirm(usage.command, command->yes, "Replay the other %s?",
                       dlq_number(total - 1, number));
    if (code != EX_OK)
        return code;
    command->view.before = *ret_status;
    command->view.total = total;
    /* One that died again is chosen again, and left out. */
    if (command->order.query.limit && !ret_status->died)
        command->order.query.limit--;
    return run_once(command, ret_status);
}

static int run_alone(struct command *command, uint64_t total)
{
    struct replay_status status = {0};
    struct fault fault;
    int code;

    command->alone = replay_alone_open(command->configuration, &command->context, &fault);
    if (!command->alone)
        return dlq_failed(&fault);
    command->view.total = total;
    code = command->one_first ? run_one(command, total, &status) : run_once(command, &status);
    if (code == EX_OK)
        code = dlq_replay_tell(&command->view, &status);
    return code;
}

static int run(struct command *command)
{
    const char *directory = command->configuration->service.state_directory;
    char number[DLQ_TIME];
    uint64_t total = 0;
    long holder;
    int code = EX_OK;

    command->store = dlq_open(directory, true, &code);
    if (!command->store)
        return code == EX_OK ? dlq_none(command->choice.json) : code;
    code = find_ids(command);
    if (code == EX_OK)
        code = dlq_replay_plan(&(struct dlq_replay_plan){.choice = &command->choice,
                                                         .order = &command->order,
                                                         .configuration = command->configuration,
                                                         .store = command->store,
                                                         .tell = command->dry_run},
                               &total);
    if (code == EX_OK && !total)
        code = dlq_none(command->choice.json);
    if (code != EX_OK || command->dry_run)
        return code;
    holder = replay_alone_holder(directory);
    if (holder >= 0) {
        fprintf(stderr,
                "sluice dlq replay: the service runs (pid %ld) and has its state directory %s; "
                "stop it, replay, and start it again\n",
                holder, directory);
        return EX_TEMPFAIL;
    }
    code = command->one_first
               ? EX_OK
               : dlq_confirm(usage.command, command->yes, "Replay %s dead letter%s?",
                             dlq_number(total, number), total == 1 ? "" : "s");
    return code == EX_OK ? run_alone(command, total) : code;
}

static void prepare_process(void)
{
    sigset_t signals;

    /* Before any thread, so that all inherit it. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    signal(SIGPIPE, SIG_IGN);
    log_setup((enum log_level)0, LOG_AUTO); /* what happens to letters is told at the end */
    http_client_global_init();
}

int dlq_replay(int argc, char **argv)
{
    struct command *command = memory_zero(1, sizeof *command);
    char *detail = dlq_choice_text(argc, argv);
    struct arguments arguments;
    int code = EX_OK;

    command->choice.query.sort = DEAD_LETTER_OLDEST;
    command->wait_us = WAIT_US;
    arguments_begin(&arguments, &usage, argc, argv);
    if (read_options(command, &arguments, &code) == 0) {
        command->overrides.state_directory = command->choice.state;
        command->configuration = dlq_configuration(command->config, &command->overrides);
        code = command->configuration ? EX_OK : EX_CONFIG;
    }
    if (command->configuration) {
        command->view = (struct dlq_replay_view){.screen = dlq_screen(),
                                                 .json = command->choice.json};
        command->order.act = (struct dead_letter_act){.action = "replay", .detail = detail};
        dlq_who(&command->order.act);
        prepare_process();
        code = run(command);
        http_client_global_fini();
    }
    if (command->store)
        command->store->ops->close(command->store);
    replay_alone_close(command->alone);
    configuration_free(command->configuration);
    dlq_choice_fini(&command->choice);
    free((char *)(uintptr_t)command->order.act.login);
    free(command->ids);
    free(command->id_texts);
    free(command);
    free(detail);
    return code;
}
