/* SPDX-License-Identifier: MIT
 * `sluice parked`: messages that left their source and wait for a retry that is far off. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/dlq_inside.h"
#include "cli/screen.h"
#include "cli/state_directory.h"
#include "io/json_value.h"
#include "io/parked_store.h"

static const struct arguments_option none[] = {{0}};

static const struct arguments_usage usage = {
    .command = "parked",
    .synopsis = "[ls|retry|bury] ...",
    .description =
        "Looks at messages that are parked: they left their source, as their retry is further off than\n"
        "retry.park_after, and are tried again when it is due.\n\n"
        "Commands:\n"
        "  ls      List them; works beside a running service, and without one\n"
        "  retry   Have the running service try those of mappings again now\n"
        "  bury    Have it make dead letters of those of mappings",
    .options = none,
    .examples = "  sluice parked ls orders\n"
                "  sluice parked retry orders",
};

/* ---- ls ---- */

enum { LS_JSON, LS_STATE };

static const struct arguments_option ls_options[] = {
    [LS_JSON] = {"json", 'j', NULL, "Print JSON, one object a line."},
    [LS_STATE] = {"state", 's', "DIR", "State directory, where the service has an unusual one."},
    {0},
};

static const struct arguments_usage ls_usage = {
    .command = "parked ls",
    .synopsis = "[OPTION...] [MAPPING]",
    .description = "Lists parked messages, those parked first at the top.",
    .options = ls_options,
    .examples = "  sluice parked ls\n"
                "  sluice parked ls orders --json | jq -r .error | sort | uniq -c",
};

#define WIDE 110 /* columns for names as they are */

struct listing {
    struct dlq_screen screen;
    bool json;
    uint64_t count;
};

static json_t *json_of(const struct parked *parked)
{
    const struct dead_letter *letter = &parked->letter;
    const struct sluice_bytes token = {letter->token, dead_letter_token_size(letter)};
    json_t *object = json_object();

    json_object_set_new(object, "mapping", json_value_text(letter->mapping));
    json_object_set_new(object, "lane", json_value_text(letter->lane));
    json_object_set_new(object, "position", json_value_unsigned(letter->position));
    json_object_set_new(object, "token", dlq_json_bytes(token));
    json_object_set_new(object, "due", dlq_json_time(parked->due_wall_us));
    json_object_set_new(object, "parked", dlq_json_time(parked->parked_wall_us));
    json_object_set_new(object, "attempts", json_integer(letter->attempt_count));
    json_object_set_new(object, "first_failed", dlq_json_time(parked->first_failed_wall_us));
    json_object_set_new(object, "status", json_integer(letter->status));
    json_object_set_new(object, "error", json_value_text(letter->reason));
    json_object_set_new(object, "bytes", json_integer((json_int_t)parked->bytes));
    return object;
}

/* `12m`: in how long; `now`; `-` behind another. */
static const char *print_due(const struct listing *listing, int64_t due_us, char ret[SCREEN_SPAN])
{
    if (!due_us)
        return "-";
    return due_us <= listing->screen.now_us ? "now"
                                            : screen_span(due_us - listing->screen.now_us, ret);
}

static int list_one(void *argument, const struct parked *parked)
{
    struct listing *listing = argument;
    const struct dead_letter *letter = &parked->letter;
    char due[SCREEN_SPAN], place[512];
    const unsigned width = listing->screen.width;
    const unsigned name = width < WIDE ? 10 : 20, at = width < WIDE ? 24 : 32, used = name + at + 22;
    const unsigned left = width > used + 8 ? width - used : 8;

    if (listing->json) {
        dlq_json_print(json_of(parked));
        return 0;
    }
    if (!listing->count++)
        printf("%-*s  %-*s  %8s  %6s  %s\n", (int)name, "MAPPING", (int)at, "MESSAGE", "ATTEMPTS",
               "DUE IN", "ERROR");
    snprintf(place, sizeof place, "%s/%llu", letter->lane, (unsigned long long)letter->position);
    dlq_pad(dlq_line(letter->mapping, strlen(letter->mapping), name), name);
    dlq_pad(dlq_line(place, strlen(place), at), at);
    printf("%8u  %6s  ", letter->attempt_count, print_due(listing, parked->due_wall_us, due));
    dlq_error(letter->reason, left);
    putchar('\n');
    return 0;
}

static int list(const char *state, const char *mapping, struct listing *listing)
{
    char *directory = state_directory_find(state);
    struct parked_store *store;
    struct fault fault = {.text = ""};
    int code = EX_OK;

    store = parked_store_open(directory, false, &fault);
    if (store)
        parked_store_list(store, mapping, list_one, listing, &fault);
    if (fault.text[0]) {
        fprintf(stderr, "sluice parked: %s\n", fault.text);
        code = state_directory_exit(directory, "parked.sqlite");
    }
    parked_store_close(store);
    if (code == EX_OK && !listing->json && !listing->count && state_directory_is_missing(directory))
        printf("Nothing is parked: there is no directory %s; --state names another.\n", directory);
    else if (code == EX_OK && !listing->json && !listing->count)
        puts("Nothing is parked.");
    free(directory);
    return code;
}

static int parked_ls(int argc, char **argv)
{
    struct listing listing = {.screen = dlq_screen()};
    struct arguments arguments;
    const char *state = NULL;
    int option, code;

    arguments_begin(&arguments, &ls_usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        listing.json |= option == LS_JSON;
        if (option == LS_STATE)
            state = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "one mapping at most");
    return list(state, arguments.operand_count ? arguments.operands[0] : NULL, &listing);
}

/* ---- retry and bury ---- */

#define ASK_AGAIN_MS 100
#define STUCK_US     (3 * CLOCK_SECOND)  /* without progress, where it is known why */
#define PATIENCE_US  (30 * CLOCK_SECOND) /* and where it is not */

enum { ORDER_JSON, ORDER_STATE, ORDER_SOCKET, ORDER_YES };

#define ORDER_OPTIONS                                                                              \
    [ORDER_JSON] = {"json", 'j', NULL, "Print the answer as JSON."},                               \
    [ORDER_STATE] = {"state", 's', "DIR",                                                          \
                     "State directory, where the service does not use its usual one."},            \
    [ORDER_SOCKET] = {"socket", 0, "PATH", "The control socket, or the URL of control_http."}

static const struct arguments_option retry_options[] = {ORDER_OPTIONS, {0}};
static const struct arguments_option bury_options[] = {
    ORDER_OPTIONS, [ORDER_YES] = {"yes", 'y', NULL, "Do not ask."}, {0}};

static const struct arguments_usage retry_usage = {
    .command = "parked retry",
    .synopsis = "[OPTION...] MAPPING...",
    .description =
        "Has the running service try the parked messages of mappings again now, each once: what fails is\n"
        "parked anew, with one more attempt.",
    .options = retry_options,
    .examples = "  sluice parked retry orders",
};

static const struct arguments_usage bury_usage = {
    .command = "parked bury",
    .synopsis = "[OPTION...] MAPPING...",
    .description =
        "Has the running service make dead letters of the parked messages of mappings, whatever their\n"
        "retry waits for; also of a mapping that is not there any more. They are of class buried, and can\n"
        "be replayed like any other. Where the mapping's dead letters go elsewhere (dead_letter.to) they\n"
        "go there, and stay parked until they are confirmed; exits with 69 while that place is away.\n"
        "What cannot be read from the store stays parked too; the exit code is 74 then.",
    .options = bury_options,
    .examples = "  sluice parked bury orders --yes",
};

struct outcome {
    long long count, waiting;
    char reason[400]; /* why they wait; "" */
    long long unreadable;
    char error[512]; /* why they cannot be read */
};

/* Gives the order once. `ret_outcome` adds up. */
static int ask_once(const struct control_place *place, const char *order, const char *path,
                    struct outcome *ret_outcome)
{
    char *name = memory_format("parked %s", order);
    json_t *answer = NULL;
    const char *reason, *error;
    int code = control_ask(name, place, "POST", path, NULL, &answer);

    if (code == EX_OK) {
        reason = json_string_value(json_object_get(answer, "reason"));
        ret_outcome->count += json_integer_value(json_object_get(answer, "count"));
        ret_outcome->waiting = json_integer_value(json_object_get(answer, "waiting"));
        snprintf(ret_outcome->reason, sizeof ret_outcome->reason, "%s", reason ? reason : "");
        ret_outcome->unreadable = json_integer_value(json_object_get(answer, "unreadable"));
        error = json_string_value(json_object_get(answer, "error"));
        snprintf(ret_outcome->error, sizeof ret_outcome->error, "%s", error ? error : "");
    }
    json_decref(answer);
    free(name);
    return code;
}

/* Gives the order, again and again where it is done in parts: until nothing is left, or nothing goes on. */
static int order_one(const struct control_place *place, const char *mapping, const char *order,
                     bool in_parts, struct outcome *ret_outcome)
{
    char *path = memory_format("/v1/mappings/%s/parked/%s", mapping, order);
    int64_t progress_us = clock_now();
    long long before;
    int code;

    do {
        before = ret_outcome->count;
        if (ret_outcome->waiting)
            poll(NULL, 0, ASK_AGAIN_MS);
        code = ask_once(place, order, path, ret_outcome);
        if (ret_outcome->count != before)
            progress_us = clock_now();
    } while (code == EX_OK && in_parts && (ret_outcome->count != before || ret_outcome->waiting) &&
             clock_now() - progress_us < (ret_outcome->reason[0] ? STUCK_US : PATIENCE_US));
    free(path);
    return code;
}

static int report(const char *mapping, const struct outcome *outcome, bool json, bool buries)
{
    if (json && buries)
        dlq_json_print(json_pack("{s:s, s:I, s:I, s:o, s:I, s:o}", "mapping", mapping, "count",
                                 (json_int_t)outcome->count, "waiting", (json_int_t)outcome->waiting,
                                 "reason", json_value_text(outcome->reason), "unreadable",
                                 (json_int_t)outcome->unreadable, "error",
                                 json_value_text(outcome->error)));
    else if (json)
        dlq_json_print(
            json_pack("{s:s, s:I}", "mapping", mapping, "count", (json_int_t)outcome->count));
    else
        printf("%s: %lld %s\n", mapping, outcome->count, buries ? "buried" : "due now");
    if (outcome->unreadable)
        fprintf(stderr, "sluice parked bury: %s: %lld stay%s parked, as the store cannot be read: %s\n",
                mapping, outcome->unreadable, outcome->unreadable == 1 ? "s" : "", outcome->error);
    if (!outcome->waiting)
        return outcome->unreadable ? EX_IOERR : EX_OK;
    fprintf(stderr,
            "sluice parked bury: %s: %lld wait for their place (%s); they are buried when it takes them, "
            "and stay parked until then; what else is parked, by another `sluice parked bury`\n",
            mapping, outcome->waiting,
            outcome->reason[0] ? outcome->reason : "it has not confirmed them yet");
    return EX_UNAVAILABLE;
}

static int give_order(const struct arguments_usage *described, const char *order, int argc, char **argv)
{
    struct control_place place = {0};
    struct arguments arguments;
    bool json = false, yes = false, buries = strcmp(order, "bury") == 0;
    int option, code, worst = EX_OK;

    arguments_begin(&arguments, described, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        json |= option == ORDER_JSON;
        yes |= option == ORDER_YES;
        if (option == ORDER_STATE)
            place.state = arguments.value;
        else if (option == ORDER_SOCKET)
            place.socket = arguments.value;
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (!arguments.operand_count)
        return arguments_refuse(&arguments, "which mapping? `sluice status` lists them");
    code = buries ? dlq_confirm("parked bury", yes, "Make dead letters of all that is parked there?")
                  : EX_OK;
    for (int i = 0; i < arguments.operand_count && code == EX_OK; i++) {
        const char *mapping = arguments.operands[i];
        struct outcome outcome = {0};
        int failed = EX_DATAERR;

        if (control_could_be_mapping(mapping))
            failed = order_one(&place, mapping, order, buries, &outcome);
        else
            fprintf(stderr, "sluice parked %s: there is no mapping %s\n", order, mapping);
        if (failed == EX_OK)
            failed = report(mapping, &outcome, json, buries);
        worst = failed != EX_OK ? failed : worst;
    }
    return code != EX_OK ? code : worst;
}

int cmd_parked(int argc, char **argv)
{
    struct arguments arguments;
    int code;

    if (argc > 1 && strcmp(argv[1], "ls") == 0)
        return parked_ls(argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "retry") == 0)
        return give_order(&retry_usage, "retry", argc - 1, argv + 1);
    if (argc > 1 && strcmp(argv[1], "bury") == 0)
        return give_order(&bury_usage, "bury", argc - 1, argv + 1);
    arguments_begin(&arguments, &usage, argc, argv);
    if (arguments_next(&arguments, &code) == ARGUMENTS_DONE)
        return code;
    return arguments_refuse(&arguments, "ls, retry or bury?");
}
