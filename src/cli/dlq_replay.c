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
#include "cli/dlq_replay_way.h"
#include "io/http_client.h"
#include "service/config.h"

#define DRAIN_US (30 * CLOCK_SECOND)
#define WAIT_US  (60 * CLOCK_SECOND)

enum {
    TO = DLQ_OWN,
    TO_SOURCE,
    ALL,
    DRY_RUN,
    ONE_FIRST,
    FORCE,
    RATE,
    CONCURRENCY,
    MAX_FAILURES,
    WAIT,
    DETACH,
    ATTACH,
    YES,
    CONFIG,
    CONNECTORS
};

static const struct arguments_option options[] = {
    DLQ_OPTIONS,
    [TO] = {"to", 0, "MAPPING", "Through this mapping, not the letters' own."},
    [TO_SOURCE] = {"to-source", 0, NULL, "Publish them back to their topics or queues instead."},
    [ALL] = {"all", 'a', NULL, "All letters, where nothing else chooses."},
    [DRY_RUN] = {"dry-run", 0, NULL, "Only say what would happen."},
    [ONE_FIRST] = {"one-first", '1', NULL, "Replay one, show how it went, ask, then the rest."},
    [FORCE] = {"force", 0, NULL, "With a new token, also where the message was done meanwhile."},
    [RATE] = {"rate", 0, "COUNT", "At most so many a second, for each mapping."},
    [CONCURRENCY] = {"concurrency", 0, "COUNT", "At most so many invocations at once."},
    [MAX_FAILURES] = {"max-failures", 0, "COUNT", "Stop once so many died again (see below)."},
    [WAIT] = {"wait", 0, "TIME", "How long to wait for a target that is down (default 1m)."},
    [DETACH] = {"detach", 'd', NULL, "Leave it to the running service, and do not wait."},
    [ATTACH] = {"attach", 0, "NUMBER", "Watch one that the service has, as --detach told it."},
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
        "again: nothing is lost, and nothing is sent with another token.\n\n"
        "With --to-source each is published back to the topic or queue that it came from, with the\n"
        "header sluice-replayed, and leaves the store when that is confirmed: it is then a message\n"
        "like any other, for all who read there.\n\n"
        "Where the service runs, the replay runs there, beside what comes from the sources; Ctrl-C\n"
        "stops it, and where the terminal is closed it goes on. Else it runs in this process.",
    .options = options,
    .examples = "  sluice dlq replay --mapping orders --dry-run\n"
                "  sluice dlq replay --mapping orders --status 5xx --one-first --rate 50\n"
                "  sluice dlq replay 01KAS7M3Q2 --to orders-repaired\n"
                "  sluice dlq replay --mapping orders --to-source --rate 100",
};

struct command {
    struct dlq_choice choice;
    struct replay_order order;
    bool all, dry_run, one_first, yes, detach;
    int64_t attach; /* 0: begin one */
    int64_t wait_us;
    const char *config;
    struct overrides overrides;
    struct configuration *configuration;
    struct dlq_replay_way way;
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
    case ATTACH:
        code = read_count(arguments, "attach", &command->attach);
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
        command->order.to_source |= option == TO_SOURCE;
        command->yes |= option == YES;
        command->detach |= option == DETACH;
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
    if (code == EX_OK && !command->choice.id_count && !command->choice.filtered && !command->all &&
        !command->attach)
        code = arguments_refuse(arguments, "which ones? Give ids or filters, or --all");
    if (code == EX_OK && command->order.to_source &&
        (command->order.to || command->order.force || command->order.concurrency ||
         command->order.max_failures))
        code = arguments_refuse(arguments, "--to-source invokes nothing: leave out --to, --force, "
                                           "--concurrency and --max-failures");
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

/* Until it ends, is interrupted, or has waited too long for a target. EX_OK, or EX_CONFIG. */
static int watch(struct command *command, struct replay_status *ret_status)
{
    const struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};
    struct dlq_replay_way *way = &command->way;
    int64_t down_since_us = 0;
    sigset_t signals;
    int code;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    for (;;) {
        code = dlq_replay_way_status(way, ret_status);
        if (way->stopped && !command->view.end)
            command->view.end = "stopped_there";
        if (command->attach)
            command->view.total = ret_status->selected;
        if (code == EX_CONFIG || code == EX_UNAVAILABLE || ret_status->ended)
            return code == EX_CONFIG ? code : EX_OK;
        dlq_replay_progress(&command->view, ret_status);
        if (!ret_status->down)
            down_since_us = 0;
        else if (!down_since_us)
            down_since_us = clock_now();
        if (down_since_us && clock_now() - down_since_us >= command->wait_us &&
            !command->view.end) {
            command->view.end = "unavailable";
            memcpy(command->view.why, ret_status->text, sizeof command->view.why);
            dlq_replay_way_stop(way, 0);
        }
        if (sigtimedwait(&signals, NULL, &pause) > 0) {
            dlq_replay_way_stop(way, command->view.end ? 0 : DRAIN_US);
            command->view.end = "interrupted";
        }
    }
}

static int run_once(struct command *command, struct replay_status *ret_status)
{
    uint64_t counted = command->view.total - command->view.before.selected;
    int code = command->attach ? dlq_replay_way_attach(&command->way, command->attach)
                               : dlq_replay_way_begin(&command->way, &command->order);

    if (code == EX_OK && !command->detach)
        code = watch(command, ret_status);
    dlq_replay_way_end(&command->way);
    if (code == EX_OK && ret_status->selected < counted && ret_status->ended)
        ret_status->gone += counted - ret_status->selected; /* since they were counted */
    if (ret_status->too_many)
        command->view.end = "failures";
    return code;
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
    bool detach = command->detach;
    int code;

    command->detach = false; /* the first is waited for */
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
    command->view.total = total;
    if (command->yes && ret_status->died) {
        command->view.end = "failures";
        snprintf(command->view.why, sizeof command->view.why, "the first died again");
        return code;
    }
    if (!command->yes && !dlq_ask("Replay the other %s?", dlq_number(total - 1, number))) {
        command->view.end = "interrupted";
        return code;
    }
    command->detach = detach;
    command->view.before = *ret_status;
    /* One that died again is chosen again, and left out. */
    if (command->order.query.limit && !ret_status->died)
        command->order.query.limit--;
    return run_once(command, ret_status);
}

static void tell_way(const struct command *command)
{
    if (command->choice.json)
        return;
    if (command->way.socket)
        fprintf(stderr, "The service (pid %ld) replays; Ctrl-C stops it.\n", command->way.holder);
    else
        fputs("No service runs: this process replays.\n", stderr);
}

static int tell_detached(const struct command *command)
{
    if (command->choice.json)
        dlq_json_print(json_pack("{s:s, s:I, s:I}", "action", "replay", "replay",
                                 (json_int_t)command->way.number, "selected",
                                 (json_int_t)command->view.total));
    else
        printf("The service replays; `sluice dlq replay --attach %lld` watches it.\n",
               command->way.number);
    return EX_OK;
}

static int run_chosen(struct command *command, uint64_t total)
{
    struct replay_status status = {0};
    int code;

    if (!command->one_first && command->store) { /* its memory is of no more use */
        command->store->ops->close(command->store);
        command->store = NULL;
    }
    command->view.total = total;
    command->view.through_service = command->way.socket != NULL;
    if (!command->detach)
        tell_way(command);
    code = command->one_first ? run_one(command, total, &status) : run_once(command, &status);
    if (code != EX_OK)
        return code;
    return command->detach ? tell_detached(command) : dlq_replay_tell(&command->view, &status);
}

static int check_way(const struct command *command)
{
    if (command->way.socket || (!command->detach && !command->attach))
        return EX_OK;
    fputs("sluice dlq replay: no service runs that could do it; leave --detach and --attach out\n",
          stderr);
    return EX_UNAVAILABLE;
}

static int attach(struct command *command)
{
    int code = dlq_replay_way_open(&command->way, command->configuration);

    command->view.attached = true;
    if (code == EX_OK)
        code = check_way(command);
    return code == EX_OK ? run_chosen(command, 0) : code;
}

static int run(struct command *command)
{
    const char *directory = command->configuration->service.state_directory;
    char number[DLQ_TIME];
    uint64_t total = 0;
    int code = EX_OK;

    if (command->attach)
        return attach(command);
    command->store = dlq_open(directory, true, &code);
    if (!command->store)
        return code == EX_OK ? dlq_choice_none(&command->choice, NULL) : code;
    code = find_ids(command);
    if (code == EX_OK)
        code = dlq_replay_plan(&(struct dlq_replay_plan){.choice = &command->choice,
                                                         .order = &command->order,
                                                         .configuration = command->configuration,
                                                         .store = command->store,
                                                         .tell = command->dry_run},
                               &total);
    if (code == EX_OK && !total)
        code = dlq_choice_none(&command->choice, command->store);
    if (code != EX_OK || command->dry_run)
        return code;
    code = dlq_replay_way_open(&command->way, command->configuration);
    if (code == EX_OK)
        code = check_way(command);
    if (code == EX_OK && command->one_first)
        code = dlq_can_ask(usage.command, command->yes);
    else if (code == EX_OK)
        code = dlq_confirm(usage.command, command->yes,
                           command->order.to_source ? "Publish %s dead letter%s back to the source?"
                                                    : "Replay %s dead letter%s?",
                           dlq_number(total, number), total == 1 ? "" : "s");
    return code == EX_OK ? run_chosen(command, total) : code;
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
                                                 .json = command->choice.json,
                                                 .to_source = command->order.to_source};
        command->order.act = (struct dead_letter_act){.action = "replay", .detail = detail};
        dlq_who(&command->order.act);
        prepare_process();
        command->choice.state = command->configuration->service.state_directory;
        code = run(command);
        http_client_global_fini();
    }
    if (command->store)
        command->store->ops->close(command->store);
    dlq_replay_way_close(&command->way);
    configuration_free(command->configuration);
    dlq_choice_fini(&command->choice);
    free((char *)(uintptr_t)command->order.act.login);
    free(command->ids);
    free(command->id_texts);
    free(command);
    free(detail);
    return code;
}
