/* SPDX-License-Identifier: MIT
 * `sluice cost [MAPPING]`: what mappings used and what that cost. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/dlq_inside.h"
#include "io/control_client.h"

enum { SINCE, STATE, SOCKET, CONTROL, JSON };

static const struct arguments_option options[] = {
    [SINCE] = {"since", 0, "TIME", "From that day on (UTC): 7d, 2026-11-01; 30 days if not given."},
    [STATE] = {"state", 's', "DIR", "State directory, where the service does not use its usual one."},
    [SOCKET] = {"socket", 0, "PATH", "The control socket itself."},
    [CONTROL] = {"control", 0, "URL",
                 "The service's control_http instead; $SLUICE_CONTROL_TOKEN is what it asks for."},
    [JSON] = {"json", 'j', NULL, "Print JSON."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "cost",
    .synopsis = "[OPTION...] [MAPPING]",
    .description =
        "Tells what each mapping used since a day: invocations that reached the function, messages\n"
        "done, bytes received and sent, and the seconds that the function took; with MAPPING day by\n"
        "day. With `prices` in sluice.yaml also what that cost, per day and per million messages.\n"
        "Days are those of UTC. Usage is kept for 400 days, across restarts.",
    .options = options,
    .examples = "  sluice cost\n"
                "  sluice cost orders --since 7d\n"
                "  sluice cost --json | jq '.mappings[] | {name, cost}'",
};

/* ---- numbers for people ---- */

#define NUMBER 32

static double number_of(const json_t *object, const char *name)
{
    return json_number_value(json_object_get(object, name));
}

/* `1.2 GB`. */
static const char *print_bytes(double bytes, char ret[NUMBER])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
    size_t unit = 0;

    for (; bytes >= 999.5 && unit < sizeof units / sizeof *units - 1; unit++)
        bytes /= 1000;
    snprintf(ret, NUMBER, bytes >= 100 || !unit ? "%.0f %s" : "%.1f %s", bytes, units[unit]);
    return ret;
}

/* So many digits that something of a small price is seen; `-` where there is none. */
static const char *print_cost(const json_t *cost, char ret[NUMBER])
{
    double number = json_number_value(cost);

    if (!json_is_number(cost))
        snprintf(ret, NUMBER, "-");
    else if (number >= 0.1 || number == 0)
        snprintf(ret, NUMBER, "%.2f", number);
    else
        snprintf(ret, NUMBER, "%.2g", number);
    return ret;
}

/* ---- tables ---- */

#define HEAD_FORMAT "%12s  %12s  %9s  %9s  %12s"

/* The columns that a day and a mapping have in common. */
static void print_counts(const json_t *counts)
{
    char calls[DLQ_TIME], messages[DLQ_TIME], received[NUMBER], sent[NUMBER], seconds[NUMBER];

    snprintf(seconds, sizeof seconds, "%.1f", number_of(counts, "function_seconds"));
    printf("  " HEAD_FORMAT, dlq_number((uint64_t)number_of(counts, "invocations"), calls),
           dlq_number((uint64_t)number_of(counts, "messages"), messages),
           print_bytes(number_of(counts, "received_bytes"), received),
           print_bytes(number_of(counts, "sent_bytes"), sent), seconds);
}

static void print_head(const char *first, unsigned width, bool priced, bool rates)
{
    printf("%-*s  " HEAD_FORMAT, (int)width, first, "INVOCATIONS", "MESSAGES", "IN", "OUT",
           "SECONDS");
    if (priced)
        printf("  %10s", "COST");
    if (priced && rates)
        printf("  %10s  %12s", "PER DAY", "PER MILLION");
    putchar('\n');
}

static void print_rates(const json_t *mapping)
{
    char cost[NUMBER], day[NUMBER], million[NUMBER];

    printf("  %10s  %10s  %12s", print_cost(json_object_get(mapping, "cost"), cost),
           print_cost(json_object_get(mapping, "cost_per_day"), day),
           print_cost(json_object_get(mapping, "cost_per_million_messages"), million));
}

static void print_days(const json_t *mapping, bool priced)
{
    const json_t *day;
    char cost[NUMBER];
    size_t i;

    print_head("DAY", 10, priced, false);
    json_array_foreach(json_object_get(mapping, "days"), i, day)
    {
        printf("%-10.10s", json_string_value(json_object_get(day, "day")));
        print_counts(day);
        if (priced)
            printf("  %10s", print_cost(json_object_get(day, "cost"), cost));
        putchar('\n');
    }
    putchar('\n');
}

static void print_mappings(const json_t *mappings, bool priced)
{
    unsigned width = 7;
    const json_t *mapping;
    size_t i;

    json_array_foreach(mappings, i, mapping)
    {
        unsigned one = dlq_width(json_string_value(json_object_get(mapping, "name")));

        width = one > width ? one : width;
    }
    print_head("MAPPING", width, priced, true);
    json_array_foreach(mappings, i, mapping)
    {
        printf("%-*s", (int)width, json_string_value(json_object_get(mapping, "name")));
        print_counts(mapping);
        if (priced)
            print_rates(mapping);
        putchar('\n');
    }
}

static void print_answer(const json_t *answer, const char *name)
{
    const json_t *mappings = json_object_get(answer, "mappings");
    const json_t *prices = json_object_get(answer, "prices");
    const char *currency = json_string_value(json_object_get(prices, "currency"));
    bool priced = json_is_object(prices);

    if (!json_array_size(mappings)) {
        printf("nothing was used since %s\n",
               json_string_value(json_object_get(answer, "since")));
        return;
    }
    if (name)
        print_days(json_array_get(mappings, 0), priced);
    print_mappings(mappings, priced);
    if (currency) {
        fputs("\nCosts are in ", stdout);
        dlq_line(currency, strlen(currency), 16);
        puts(".");
    } else if (!priced) {
        puts("\nWith `prices` in sluice.yaml this tells costs too; see sluice.yaml(5).");
    }
}

#define DAY 16

/* A date is that day in UTC; other times are the day in UTC that they fall into. 0 or -1. */
static int read_day(const char *text, char ret_day[DAY])
{
    int64_t wall_us;
    time_t seconds;
    struct tm tm;

    if (dlq_parse_time(text, clock_wall(), &wall_us))
        return -1;
    seconds = (time_t)(wall_us / CLOCK_SECOND);
    gmtime_r(&seconds, &tm);
    if (strlen(text) == 10 && strchr(text, '-'))
        memcpy(ret_day, text, 11);
    else
        strftime(ret_day, DAY, "%Y-%m-%d", &tm);
    return 0;
}

static int show(const struct control_place *place, const char *name, const char *since, bool json)
{
    char *path = memory_format("/v1/usage?%s%s%s%s", name ? "mapping=" : "", name ? name : "",
                               *since ? "&since=" : "", since);
    json_t *answer;
    int code;

    code = control_ask("cost", place, "GET", path, NULL, &answer);
    if (code == EX_OK && json) {
        json_dumpf(answer, stdout, JSON_INDENT(2));
        putchar('\n');
    } else if (code == EX_OK) {
        print_answer(answer, name);
    }
    json_decref(answer);
    free(path);
    return code;
}

int cmd_cost(int argc, char **argv)
{
    struct control_place place = {0};
    struct arguments arguments;
    char since[DAY] = "";
    bool json = false;
    const char *name;
    int option, code;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        json |= option == JSON;
        if (option == STATE)
            place.state = arguments.value;
        else if (option == SOCKET || option == CONTROL)
            place.socket = arguments.value;
        else if (option == SINCE && read_day(arguments.value, since))
            return arguments_refuse(&arguments, "--since: found \"%s\", expected a time such as 7d "
                                                "or 2026-11-01", arguments.value);
        if (option == CONTROL && !control_client_is_url(place.socket))
            return arguments_refuse(&arguments, "--control: found \"%s\", expected http://... or "
                                                "https://...", place.socket);
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count > 1)
        return arguments_refuse(&arguments, "one mapping at most");
    name = arguments.operand_count ? arguments.operands[0] : NULL;
    if (!name || control_could_be_mapping(name))
        return show(&place, name, since, json);
    fprintf(stderr, "sluice cost: there is no mapping %s\n", name);
    return EX_DATAERR;
}
