/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/status_view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/memory.h"

#define RECENT_US  (5 * CLOCK_MINUTE) /* an error is told in the list for so long */
#define NARROW     80 /* what the list is made for; more goes to the names */
#define NAME_LEAST 16

/* ---- reading ---- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *name)
{
    return json_integer_value(json_object_get(object, name));
}

static json_int_t count_of(const json_t *mapping, const char *name)
{
    return number_of(json_object_get(mapping, "counts"), name);
}

/* A time of the answer; -1 where there is none. */
static int64_t time_of(const json_t *object, const char *name)
{
    struct tm tm = {0};

    if (!strptime(text_of(object, name), "%Y-%m-%dT%H:%M:%S", &tm))
        return -1;
    return (int64_t)timegm(&tm) * CLOCK_SECOND;
}

/* Microseconds since then; -1 where there is none. */
static int64_t passed_since(const json_t *object, const char *name)
{
    int64_t wall_us = time_of(object, name), passed_us = clock_wall() - wall_us;

    if (wall_us < 0)
        return -1;
    return passed_us > 0 ? passed_us : 0;
}

static int exit_of(const json_t *mapping)
{
    const char *health = text_of(mapping, "health");

    if (!strcmp(health, "good"))
        return STATUS_EXIT_GOOD;
    return strcmp(health, "degraded") ? STATUS_EXIT_BAD : STATUS_EXIT_DEGRADED;
}

int status_view_health(const json_t *service)
{
    int worst = STATUS_EXIT_GOOD;
    json_t *mapping;
    size_t i;

    json_array_foreach(json_object_get(service, "mappings"), i, mapping)
    {
        int code = exit_of(mapping);

        worst = code > worst ? code : worst;
    }
    return worst;
}

static const char *const colours[] = {SCREEN_GREEN, SCREEN_YELLOW, SCREEN_RED};

/* ---- small texts ---- */

#define SMALL 32

/* `target unavailable` */
static const char *words(const char *state, char ret_text[SMALL])
{
    snprintf(ret_text, SMALL, "%s", state);
    for (char *at = ret_text; *at; at++)
        if (*at == '_')
            *at = ' ';
    return ret_text;
}

/* Four or five signs: 999, 12.3k, 4.5M; `-` where unknown. */
static const char *amount(const json_t *value, char ret_text[SMALL])
{
    static const char letters[] = " kMGT";
    double number = json_number_value(value);
    size_t i = 0;

    if (!json_is_number(value))
        return "-";
    while (number >= 999.5 && i < sizeof letters - 2) {
        number /= 1000;
        i++;
    }
    if (i)
        snprintf(ret_text, SMALL, number < 99.95 ? "%.1f%c" : "%.0f%c", number, letters[i]);
    else if (json_is_real(value))
        snprintf(ret_text, SMALL, number < 99.95 ? "%.1f" : "%.0f", number);
    else
        snprintf(ret_text, SMALL, "%.0f", number);
    return ret_text;
}

static const char *amount_of(const json_t *object, const char *name, char ret_text[SMALL])
{
    return amount(json_object_get(object, name), ret_text);
}

/* ` since 10:02, 12m ago`, in local time; "" where unknown. */
static void print_since(const json_t *object, const char *name, char *text, size_t room)
{
    int64_t passed_us = passed_since(object, name);
    time_t at = (time_t)((clock_wall() - passed_us) / CLOCK_SECOND);
    char clock[SMALL], span[SCREEN_SPAN];
    struct tm tm;

    *text = '\0';
    if (passed_us < 0 || !localtime_r(&at, &tm))
        return;
    strftime(clock, sizeof clock, passed_us < CLOCK_DAY ? "%H:%M" : "%Y-%m-%d %H:%M", &tm);
    snprintf(text, room, " since %s, %s ago", clock, screen_span(passed_us, span));
}

/* ---- the list ---- */

/* Whether dead letters go to a place that takes none now, though nothing may wait for it yet. */
static bool place_is_away(const json_t *place)
{
    const char *state = text_of(place, "state");

    return *state && strcmp(state, "running") && strcmp(state, "connecting") &&
           strcmp(state, "stopped");
}

/* The line of a list below the mapping's own; false: nothing to say. */
static bool explain(const json_t *mapping, char *text, size_t room)
{
    const json_t *error = json_array_get(json_object_get(mapping, "errors"), 0);
    const json_t *place = json_object_get(mapping, "dead_letter_to");
    const char *reason = text_of(mapping, "reason");
    int64_t passed_us = passed_since(error, "last");
    char since[64], span[SCREEN_SPAN];

    if (*reason) {
        print_since(mapping, "since", since, sizeof since);
        snprintf(text, room, "  %s%s", reason, since);
        return true;
    }
    if (place_is_away(place)) {
        print_since(place, "since", since, sizeof since);
        snprintf(text, room, "  the place of its dead letters, %s, is %s%s: %s",
                 text_of(place, "place"), text_of(place, "state"), since, text_of(place, "reason"));
        return true;
    }
    if (passed_us < 0 || passed_us > RECENT_US)
        return false;
    snprintf(text, room, "  %s ago: %s", screen_span(passed_us, span), text_of(error, "text"));
    return true;
}

/* The column of names: as wide as the longest, within what the screen has beyond the others. */
static int name_width(const struct screen *screen, const json_t *service)
{
    size_t width = NAME_LEAST, most = NAME_LEAST, i;
    json_t *mapping;

    if (screen->width > NARROW)
        most += screen->width - NARROW;
    json_array_foreach(json_object_get(service, "mappings"), i, mapping)
    {
        size_t size = strlen(text_of(mapping, "name"));

        width = size > width ? size : width;
    }
    return (int)(width < most ? width : most);
}

static void print_row(const struct screen *screen, const json_t *mapping, int name_width)
{
    char lag[SMALL], in[SMALL], done[SMALL], dead[SMALL], state[SMALL], flying[SMALL];
    char oldest[SCREEN_SPAN];

    snprintf(flying, sizeof flying, "%lld/%lld", (long long)number_of(mapping, "in_flight"),
             (long long)number_of(mapping, "limit"));
    screen_line(screen, exit_of(mapping) ? colours[exit_of(mapping)] : NULL,
                "%-*.*s %-19.19s %6s %6s %6s %6s %8s %6s", name_width, name_width,
                text_of(mapping, "name"), words(text_of(mapping, "state"), state),
                amount_of(mapping, "lag", lag), screen_span(passed_since(mapping, "oldest"), oldest),
                amount_of(mapping, "received_rate", in), amount_of(mapping, "done_rate", done),
                flying, amount_of(json_object_get(mapping, "counts"), "dead", dead));
}

static void print_head(const struct screen *screen, const json_t *service, int name_width)
{
    size_t counts[3] = {0}, total = json_array_size(json_object_get(service, "mappings"));
    char span[SCREEN_SPAN], bad[SMALL] = "", degraded[SMALL] = "";
    json_t *mapping;
    size_t i;

    json_array_foreach(json_object_get(service, "mappings"), i, mapping) counts[exit_of(mapping)]++;
    if (counts[STATUS_EXIT_BAD])
        snprintf(bad, sizeof bad, ", %zu bad", counts[STATUS_EXIT_BAD]);
    if (counts[STATUS_EXIT_DEGRADED])
        snprintf(degraded, sizeof degraded, ", %zu degraded", counts[STATUS_EXIT_DEGRADED]);
    screen_line(screen, SCREEN_BOLD, "sluice %s, up %s: %zu mapping%s, %zu good%s%s",
                text_of(service, "version"), screen_span(passed_since(service, "started"), span),
                total, total == 1 ? "" : "s", counts[STATUS_EXIT_GOOD], degraded, bad);
    screen_line(screen, SCREEN_DIM, "%-*s %-19s %6s %6s %6s %6s %8s %6s", name_width, "MAPPING",
                "STATE", "LAG", "OLDEST", "IN/s", "DONE/s", "FLYING", "DEAD");
}

static int compare_trouble(const void *left, const void *right)
{
    const json_t *a = *(json_t *const *)left, *b = *(json_t *const *)right;
    int order = exit_of(b) - exit_of(a);

    return order ? order : strcmp(text_of(a, "name"), text_of(b, "name"));
}

/* Lines that all would take. */
static size_t lines_of(json_t *const *mappings, size_t count)
{
    char text[1024];
    size_t lines = 0;

    for (size_t i = 0; i < count; i++)
        lines += explain(mappings[i], text, sizeof text) ? 2 : 1;
    return lines;
}

void status_view_list(const struct screen *screen, const json_t *service)
{
    json_t *list = json_object_get(service, "mappings"), *mapping, *left_over;
    size_t count = json_array_size(list), i, left = screen->height > 4 ? screen->height - 4 : 0;
    json_t **mappings = memory_zero(count, sizeof *mappings);
    int width = name_width(screen, service);
    char text[1024];

    json_array_foreach(list, i, mapping) mappings[i] = mapping;
    if (lines_of(mappings, count) > left)
        qsort(mappings, count, sizeof *mappings, compare_trouble);
    print_head(screen, service, width);
    for (i = 0; i < count && left >= 2; i++) {
        print_row(screen, mappings[i], width);
        left--;
        if (explain(mappings[i], text, sizeof text)) {
            screen_line(screen, SCREEN_DIM, "%s", text);
            left--;
        }
    }
    if (i < count)
        screen_line(screen, SCREEN_DIM, "%zu more, no worse than these", count - i);
    json_array_foreach(json_object_get(service, "parked_without_mapping"), i, left_over)
        screen_line(screen, SCREEN_YELLOW, "%lld messages of %s are parked, a mapping that is gone",
                    (long long)number_of(left_over, "count"), text_of(left_over, "mapping"));
    free(mappings);
}

/* ---- one mapping ---- */

static void print_parked(const struct screen *screen, const json_t *parked)
{
    int64_t due_us = time_of(parked, "due"), left_us = due_us - clock_wall();
    char bytes[SMALL], due[SCREEN_SPAN + 32] = "", span[SCREEN_SPAN];

    if (!number_of(parked, "count"))
        return;
    if (due_us >= 0 && left_us > 0)
        snprintf(due, sizeof due, ", the next is due in %s", screen_span(left_us, span));
    else if (due_us >= 0)
        snprintf(due, sizeof due, ", the first was due %s ago", screen_span(-left_us, span));
    screen_line(screen, NULL, "  parked     %lld messages, %sB%s%s",
                (long long)number_of(parked, "count"), amount_of(parked, "bytes", bytes), due,
                json_is_true(json_object_get(parked, "full")) ? ", full" : "");
}

/* Where its dead letters go in place of the state directory. */
static void print_place(const struct screen *screen, const json_t *place)
{
    const char *reason = text_of(place, "reason"), *error = text_of(place, "last_error");
    char since[64], span[SCREEN_SPAN], kept[64] = "", failures[64] = "";

    if (!json_is_object(place))
        return;
    if (number_of(place, "kept"))
        snprintf(kept, sizeof kept, ", %lld of them kept here",
                 (long long)number_of(place, "kept"));
    if (number_of(place, "failures"))
        snprintf(failures, sizeof failures, ", %lld tries failed",
                 (long long)number_of(place, "failures"));
    print_since(place, "since", since, sizeof since);
    screen_line(screen, place_is_away(place) ? SCREEN_RED : NULL, "  letters to %s, %s%s%s%s",
                text_of(place, "place"), text_of(place, "state"), since, *reason ? ": " : "", reason);
    screen_line(screen, NULL, "             %lld written, %lld waiting%s%s",
                (long long)number_of(place, "published"), (long long)number_of(place, "waiting"), kept,
                failures);
    if (*error && strcmp(error, reason))
        screen_line(screen, SCREEN_DIM, "             last error %s ago: %s",
                    screen_span(passed_since(place, "last_error_at"), span), error);
}

/* Where one lane is behind, the sum does not tell which. */
static void print_lanes(const struct screen *screen, const json_t *lanes)
{
    char lag[SMALL], old[SCREEN_SPAN + 32], span[SCREEN_SPAN];
    json_t *lane;
    size_t i;

    json_array_foreach(lanes, i, lane)
    {
        int64_t passed_us = passed_since(lane, "oldest");

        *old = '\0';
        if (passed_us >= 0)
            snprintf(old, sizeof old, ", the oldest %s old", screen_span(passed_us, span));
        screen_line(screen, NULL, "  %s %s: %s messages behind%s", i ? "          " : "behind    ",
                    *text_of(lane, "lane") ? text_of(lane, "lane") : "all other lanes",
                    json_is_number(json_object_get(lane, "lag")) ? amount_of(lane, "lag", lag) : "?",
                    old);
    }
}

static void print_numbers(const struct screen *screen, const json_t *mapping)
{
    char a[SMALL], b[SMALL], span[SCREEN_SPAN];

    if (json_is_number(json_object_get(mapping, "lag")))
        screen_line(screen, NULL, "  lag        %s messages, the oldest %s old, %lld lanes",
                    amount_of(mapping, "lag", a),
                    screen_span(passed_since(mapping, "oldest"), span),
                    (long long)number_of(mapping, "lanes"));
    else
        screen_line(screen, NULL, "  lag        unknown, %lld lanes",
                    (long long)number_of(mapping, "lanes"));
    print_lanes(screen, json_object_get(mapping, "lanes_behind"));
    screen_line(screen, NULL, "  rate       %s/s received, %s/s done",
                amount_of(mapping, "received_rate", a), amount_of(mapping, "done_rate", b));
    screen_line(screen, NULL,
                "  now        %lld of %lld invocations in flight%s, %lld messages unfinished",
                (long long)number_of(mapping, "in_flight"), (long long)number_of(mapping, "limit"),
                json_is_integer(json_object_get(mapping, "concurrency_set"))
                    ? " (concurrency set until the next reload)"
                    : "",
                (long long)number_of(mapping, "unfinished"));
    screen_line(screen, NULL, "  waiting    %lld batches for another attempt, %lld suspects",
                (long long)number_of(mapping, "retries_waiting"),
                (long long)number_of(mapping, "suspects"));
    print_parked(screen, json_object_get(mapping, "parked"));
    print_place(screen, json_object_get(mapping, "dead_letter_to"));
    screen_line(screen, NULL,
                "  in all     %lld received, %lld done, %lld duplicates, %lld dead letters",
                (long long)count_of(mapping, "received"), (long long)count_of(mapping, "done"),
                (long long)count_of(mapping, "duplicates"), (long long)count_of(mapping, "dead"));
    screen_line(screen, NULL, "  calls      %lld invocations, %lld failed, %lld messages retried",
                (long long)count_of(mapping, "invocations"), (long long)count_of(mapping, "failed"),
                (long long)count_of(mapping, "retried"));
}

void status_view_mapping(const struct screen *screen, const json_t *mapping)
{
    const json_t *breaker = json_object_get(mapping, "breaker");
    char state[SMALL], since[64], next[SCREEN_SPAN + 24], span[SCREEN_SPAN];
    json_t *error, *side;
    size_t i;

    print_since(mapping, "since", since, sizeof since);
    screen_line(screen, SCREEN_BOLD, "%s", text_of(mapping, "name"));
    screen_line(screen, colours[exit_of(mapping)], "  state      %s%s",
                words(text_of(mapping, "state"), state), since);
    if (*text_of(mapping, "reason"))
        screen_line(screen, NULL, "  reason     %s", text_of(mapping, "reason"));
    screen_line(screen, NULL, "  target     %s", text_of(mapping, "target"));
    print_since(breaker, "since", since, sizeof since);
    *next = '\0';
    if (time_of(breaker, "next_probe") > clock_wall())
        snprintf(next, sizeof next, ", next probe in %s",
                 screen_span(time_of(breaker, "next_probe") - clock_wall(), span));
    screen_line(screen, NULL, "  breaker    %s%s%s", words(text_of(breaker, "state"), state), since,
                next);
    print_numbers(screen, mapping);
    json_array_foreach(json_object_get(mapping, "unverified"), i, side)
        screen_line(screen, SCREEN_YELLOW, "  tls        the %s's certificate is not checked "
                                           "(tls.verify: false)", json_string_value(side));
    screen_line(screen, NULL, "  file       %s, revision %s", text_of(mapping, "file"),
                text_of(mapping, "revision"));
    json_array_foreach(json_object_get(mapping, "errors"), i, error)
        screen_line(screen, SCREEN_DIM, "  error      %s ago, %lld times: %s",
                    screen_span(passed_since(error, "last"), span),
                    (long long)number_of(error, "count"), text_of(error, "text"));
}
