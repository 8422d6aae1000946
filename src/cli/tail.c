/* SPDX-License-Identifier: MIT
 * `sluice tail MAPPING`: a live sample of messages and what becomes of them. */
#define _GNU_SOURCE
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "base/units.h"
#include "cli/arguments.h"
#include "cli/cli.h"
#include "cli/control.h"
#include "cli/dlq_inside.h"
#include "io/control_client.h"

#define LOOK_US  (200 * CLOCK_MS)
#define WIDTH    44 /* of what stands before the error */

enum { FAILED, PAYLOAD, LIMIT, STATE, SOCKET, CONTROL, JSON };

static const struct arguments_option options[] = {
    [FAILED] = {"failed", 'f', NULL, "Only what failed: attempts, and messages given up on."},
    [PAYLOAD] = {"payload", 'p', NULL, "Payloads too, 4 KiB of each at most."},
    [LIMIT] = {"limit", 'n', "N", "End after so many."},
    [STATE] = {"state", 's', "DIR", "State directory, where the service does not use its usual one."},
    [SOCKET] = {"socket", 0, "PATH", "The control socket itself."},
    [CONTROL] = {"control", 0, "URL",
                 "The service's control_http instead; $SLUICE_CONTROL_TOKEN is what it asks for."},
    [JSON] = {"json", 'j', NULL, "Print JSON, one line for each."},
    {0},
};

static const struct arguments_usage usage = {
    .command = "tail",
    .synopsis = "[OPTION...] MAPPING",
    .description =
        "Shows messages of a mapping and what becomes of them while it happens, until interrupted:\n"
        "each attempt with its outcome, and what was filtered, a duplicate or given up on. It is a\n"
        "sample: 200 a second at most and as many again that failed, so that watching slows nothing\n"
        "down; how many more there were is said. Payloads are shown only with --payload.",
    .options = options,
    .examples = "  sluice tail orders --failed\n"
                "  sluice tail orders --payload --limit 5\n"
                "  sluice tail orders --json | jq 'select(.invocation.seconds > 1)'",
};

struct tail {
    struct control_place place;
    struct dlq_screen screen;
    const char *mapping;
    bool failed, payload, json, begun;
    uint64_t limit, shown; /* 0: no limit */
    long long next, dropped;
};

/* ---- for people ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

/* `2026-11-28T11:00:05.123Z` as `11:00:05.123` where the reader is. */
static void print_time(const char *text)
{
    struct tm parts = {0}, local;
    const char *fraction = strptime(text, "%Y-%m-%dT%H:%M:%S", &parts);
    time_t seconds = timegm(&parts);

    if (!fraction || strspn(fraction, ".0123456789") > 4)
        return;
    localtime_r(&seconds, &local);
    printf("%02d:%02d:%02d%.*s", local.tm_hour, local.tm_min, local.tm_sec,
           (int)strspn(fraction, ".0123456789"), fraction);
}

static unsigned print_bytes(const json_t *bytes, unsigned width)
{
    const json_t *inside = json_object_get(bytes, "base64");
    const char *text = json_string_value(inside ? inside : bytes);

    return text ? (inside ? (unsigned)printf("base64:") : 0) +
                      dlq_line(text, json_string_length(inside ? inside : bytes), width)
                : 0;
}

static void print_invocation(const json_t *invocation)
{
    json_int_t messages = json_integer_value(json_object_get(invocation, "messages"));
    json_int_t attempt = json_integer_value(json_object_get(invocation, "attempt"));

    if (!json_is_object(invocation))
        return;
    printf("  %.0f ms", json_real_value(json_object_get(invocation, "seconds")) * 1000);
    if (messages > 1)
        printf(", one of %lld", (long long)messages);
    if (attempt > 1)
        printf(", attempt %lld", (long long)attempt);
}

/* A number, or text where it is beyond what JSON's numbers hold. Its width. */
static unsigned print_position(const json_t *position)
{
    if (json_is_string(position)) {
        putchar('/');
        return 1 + dlq_line(json_string_value(position), json_string_length(position), 20);
    }
    return (unsigned)printf("/%lld", (long long)json_integer_value(position));
}

static void print_line(const struct tail *tail, const json_t *entry)
{
    const char *outcome = text_of(entry, "outcome"), *lane = text_of(entry, "lane");
    const char *error = text_of(entry, "error");
    unsigned printed;

    dlq_style(&tail->screen, "dim");
    print_time(text_of(entry, "time"));
    dlq_style(&tail->screen, "plain");
    if (json_is_true(json_object_get(entry, "failed")))
        dlq_style(&tail->screen, "red");
    printf("  %-11s  ", outcome);
    dlq_style(&tail->screen, "plain");
    printed = dlq_line(lane, strlen(lane), 60);
    printed += print_position(json_object_get(entry, "position"));
    dlq_pad(printed, 16);
    dlq_pad(print_bytes(json_object_get(entry, "key"), 20), 8);
    printf("%lld bytes", (long long)json_integer_value(json_object_get(entry, "size")));
    print_invocation(json_object_get(entry, "invocation"));
    if (*error) {
        fputs("  ", stdout);
        dlq_line(error, strlen(error),
                 tail->screen.width == UINT_MAX     ? UINT_MAX
                 : tail->screen.width > WIDTH + 80  ? tail->screen.width - WIDTH - 40
                                                    : 40);
    }
    putchar('\n');
    if (tail->payload) {
        fputs("    ", stdout);
        print_bytes(json_object_get(entry, "payload"), UINT_MAX);
        putchar('\n');
    }
}

static void print_dropped(const struct tail *tail, long long count)
{
    char number[DLQ_TIME];

    if (tail->json) {
        printf("{\"dropped\": %lld}\n", count);
        return;
    }
    dlq_style(&tail->screen, "dim");
    printf("... %s more that are not shown\n", dlq_number((uint64_t)count, number));
    dlq_style(&tail->screen, "plain");
}

/* ---- looking ---- */

static char *path_of(const struct tail *tail)
{
    char after[32] = "";

    if (tail->begun)
        snprintf(after, sizeof after, "&after=%lld", tail->next);
    return memory_format("/v1/mappings/%s/tail?limit=%llu%s%s%s", tail->mapping,
                         (unsigned long long)(tail->limit ? tail->limit - tail->shown : INT_MAX),
                         tail->failed ? "&failed" : "", tail->payload ? "&payload" : "", after);
}

static void show(struct tail *tail, const json_t *answer)
{
    long long dropped = json_integer_value(json_object_get(answer, "dropped"));
    long long missed = json_integer_value(json_object_get(answer, "missed"));
    json_t *entry;
    size_t i;

    json_array_foreach(json_object_get(answer, "entries"), i, entry)
    {
        if (tail->json)
            dlq_json_print(json_incref(entry));
        else
            print_line(tail, entry);
        tail->shown++;
    }
    if (tail->begun && dropped + missed > tail->dropped)
        print_dropped(tail, dropped + missed - tail->dropped);
    if (!tail->begun && isatty(STDERR_FILENO))
        fprintf(stderr, "watching %s; Ctrl-C ends it\n", tail->mapping);
    tail->dropped = dropped;
    tail->next = json_integer_value(json_object_get(answer, "next"));
    tail->begun = true;
}

static int follow(struct tail *tail)
{
    const struct timespec pause = {.tv_nsec = LOOK_US * 1000};
    int received = 0, code = EX_OK;
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    while (received <= 0 && code == EX_OK && !(tail->limit && tail->shown >= tail->limit)) {
        char *path = path_of(tail);
        json_t *answer = NULL;

        code = control_ask("tail", &tail->place, "GET", path, NULL, &answer);
        free(path);
        if (code == EX_OK)
            show(tail, answer);
        json_decref(answer);
        if (fflush(stdout) != 0)
            break; /* nobody reads any more */
        if (code == EX_OK && !(tail->limit && tail->shown >= tail->limit))
            received = sigtimedwait(&signals, NULL, &pause);
    }
    return code;
}

int cmd_tail(int argc, char **argv)
{
    struct tail tail = {.screen = dlq_screen()};
    struct arguments arguments;
    int option, code;
    int64_t limit;

    arguments_begin(&arguments, &usage, argc, argv);
    while ((option = arguments_next(&arguments, &code)) >= 0) {
        tail.failed |= option == FAILED;
        tail.payload |= option == PAYLOAD;
        tail.json |= option == JSON;
        if (option == STATE)
            tail.place.state = arguments.value;
        else if (option == SOCKET || option == CONTROL)
            tail.place.socket = arguments.value;
        else if (option == LIMIT) {
            if (units_parse_integer(arguments.value, &limit) || limit < 1)
                return arguments_refuse(&arguments, "--limit: found \"%s\", expected a whole number "
                                                    "above 0", arguments.value);
            tail.limit = (uint64_t)limit;
        }
        if (option == CONTROL && !control_client_is_url(tail.place.socket))
            return arguments_refuse(&arguments, "--control: found \"%s\", expected http://... or "
                                    "https://...", tail.place.socket);
    }
    if (option == ARGUMENTS_DONE)
        return code;
    if (arguments.operand_count != 1)
        return arguments_refuse(&arguments, "which mapping? `sluice status` lists them");
    tail.mapping = arguments.operands[0];
    if (control_could_be_mapping(tail.mapping))
        return follow(&tail);
    fprintf(stderr, "sluice tail: there is no mapping %s\n", tail.mapping);
    return EX_DATAERR;
}
