/* SPDX-License-Identifier: MIT
 * `sluice token`: what is recorded of idempotency tokens. Works beside a running service. */
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "cli/cli.h"
#include "cli/dlq_inside.h"
#include "cli/state_directory.h"
#include "io/json_value.h"
#include "io/token_store_look.h"

enum { YES, JSON, STATE };

static const struct arguments_option options[] = {
    [YES] = {"yes", 'y', NULL, "Do not ask."},
    [JSON] = {"json", 'j', NULL, "Print JSON, one object a line."},
    [STATE] = {"state", 0, "DIR", "State directory, where the service has an unusual one."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "token",
    .synopsis = "show MAPPING TOKEN | forget MAPPING TOKEN | stats",
    .description =
        "Tells what is recorded of idempotency tokens: a message whose token is recorded was done\n"
        "and is not invoked again until it expires. Messages named by their position are recorded\n"
        "by lane; of them only those that were replayed have a token here.\n\n"
        "Commands:\n"
        "  show    When a token was recorded, for which message, until when\n"
        "  forget  Forget a token: the next message with it is invoked again\n"
        "  stats   How many tokens each mapping has",
    .options = options,
    .examples = "  sluice token show orders 4711\n"
                "  sluice token forget orders 4711 --yes",
};

struct command {
    bool yes, json;
    const char *state;
    struct dlq_screen screen;
    uint64_t count;
};

static json_t *json_of(const struct token_record *record, const char *state)
{
    json_t *object = json_object();

    json_object_set_new(object, "mapping", json_value_text(record->mapping));
    json_object_set_new(object, "token", json_value_text(record->token));
    json_object_set_new(object, "state", json_string(state));
    json_object_set_new(object, "recorded", dlq_json_time(record->recorded_wall_us));
    json_object_set_new(object, "expires", dlq_json_time(record->expires_wall_us));
    json_object_set_new(object, "message", json_value_text(record->place));
    return object;
}

static int failed(const struct fault *fault)
{
    fprintf(stderr, "sluice token: %s\n", fault->text);
    return EX_IOERR;
}

static int show(struct command *command, struct token_look *look, const char *mapping,
                const char *token)
{
    struct token_record record = {.place = ""};
    char time[DLQ_TIME], ago[DLQ_TIME];
    struct fault fault;
    int found = token_look_find(look, mapping, token, strlen(token), &record, &fault);
    bool expired = found > 0 && record.expires_wall_us <= command->screen.now_us;

    if (found < 0)
        return failed(&fault);
    if (command->json) {
        dlq_json_print(json_of(&record, !found ? "unknown" : expired ? "expired" : "recorded"));
    } else if (!found) {
        fputs("Not recorded for mapping ", stdout);
        dlq_line(mapping, strlen(mapping), 63);
        puts(": a message with this token is invoked (or is in flight now).\n"
             "`sluice token stats` lists the mappings that recorded tokens.");
    } else {
        printf("%s at %s (%s ago)\n", expired ? "Recorded, and expired," : "Recorded",
               dlq_time(record.recorded_wall_us, time),
               dlq_ago(&command->screen, record.recorded_wall_us, ago));
        fputs("message  ", stdout);
        dlq_line(record.place, strlen(record.place), 95);
        printf("\nexpires  %s\n", dlq_time(record.expires_wall_us, time));
    }
    return found ? EX_OK : DLQ_EXIT_NONE;
}

static int forget(struct command *command, struct token_look *look, const char *mapping,
                  const char *token)
{
    struct fault fault;
    int found, code = dlq_confirm("token forget", command->yes,
                                  "Forget it? A message with this token would be invoked again.");

    if (code != EX_OK)
        return code;
    found = token_look_forget(look, mapping, token, strlen(token), &fault);
    if (found < 0)
        return failed(&fault);
    if (command->json)
        dlq_json_print(json_pack("{s:s, s:s, s:b}", "mapping", mapping, "token", token, "forgotten",
                                 found));
    else
        puts(found ? "Forgotten." : "It was not recorded.");
    return found ? EX_OK : DLQ_EXIT_NONE;
}

static void see_stats(void *argument, const struct token_look_stats *stats)
{
    struct command *command = argument;
    char count[DLQ_TIME], lanes[DLQ_TIME], first[DLQ_TIME], last[DLQ_TIME];

    if (command->json) {
        json_t *object = json_object();

        json_object_set_new(object, "mapping", json_value_text(stats->mapping));
        json_object_set_new(object, "tokens", json_integer((json_int_t)stats->tokens));
        json_object_set_new(object, "lanes", json_integer((json_int_t)stats->lanes));
        json_object_set_new(object, "first", dlq_json_time(stats->first_wall_us));
        json_object_set_new(object, "last", dlq_json_time(stats->last_wall_us));
        json_object_set_new(object, "next_expiry", dlq_json_time(stats->expires_wall_us));
        dlq_json_print(object);
        return;
    }
    if (!command->count++)
        printf("%-24s  %15s  %6s  %6s  %6s\n", "MAPPING", "TOKENS", "LANES", "FIRST", "LAST");
    dlq_pad(dlq_line(stats->mapping, strlen(stats->mapping), 24), 24);
    printf("%15s  %6s  %6s  %6s\n", dlq_number(stats->tokens, count),
           dlq_number(stats->lanes, lanes),
           stats->tokens ? dlq_ago(&command->screen, stats->first_wall_us, first) : "-",
           stats->tokens ? dlq_ago(&command->screen, stats->last_wall_us, last) : "-");
}

static int stats(struct command *command, struct token_look *look)
{
    struct fault fault;

    if (token_look_stats(look, see_stats, command, &fault) != 0)
        return failed(&fault);
    if (!command->json && !command->count)
        puts("No mapping has recorded anything yet.");
    return EX_OK;
}

static int run(struct command *command, const struct arguments *arguments)
{
    char *const *words = arguments->operands;
    const char *what = arguments->operand_count ? words[0] : "";
    bool shows = strcmp(what, "show") == 0, forgets = strcmp(what, "forget") == 0;
    char *directory;
    struct token_look *look;
    struct fault fault;
    int code;

    if (!shows && !forgets && strcmp(what, "stats") != 0)
        return arguments_refuse(arguments, "show, forget or stats?");
    if (arguments->operand_count != (shows || forgets ? 3 : 1))
        return arguments_refuse(arguments, shows || forgets ? "%s takes a mapping and a token"
                                                            : "%s takes nothing more",
                                what);
    directory = state_directory_find(command->state);
    look = token_look_open(directory, forgets, &fault);
    code = look ? EX_OK : state_directory_exit(directory, "tokens.mdb");
    free(directory);
    if (!look) {
        failed(&fault);
        return code;
    }
    code = shows     ? show(command, look, words[1], words[2])
           : forgets ? forget(command, look, words[1], words[2])
                     : stats(command, look);
    token_look_close(look);
    return code;
}

int cmd_token(int argc, char **argv)
{
    struct command command = {.screen = dlq_screen()};
    struct arguments arguments;
    int option, code = EX_OK;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        command.yes |= option == YES;
        command.json |= option == JSON;
        if (option == STATE)
            command.state = arguments.value;
    }
    return option == ARGUMENTS_DONE ? code : run(&command, &arguments);
}
