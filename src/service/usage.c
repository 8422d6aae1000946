/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "service/usage.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "io/json_value.h"
#include "service/ledger.h"

#define WRITE_US   (10 * CLOCK_SECOND)
#define SHOWN_DAYS 30 /* where nobody says since when */
#define GIGABYTE   1e9

struct usage {
    struct supervisor *supervisor;
    struct usage_store *store; /* the thread's own; NULL: could not be opened yet */
    bool failing;              /* the last try to write, which was told */
    pthread_t thread;
    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t changed;
    struct ledger ledger;
    bool stopping;
};

static int64_t today(void)
{
    return clock_wall() / CLOCK_DAY;
}

/* ---- counting ---- */

static void collect_book(void *argument, struct book *book)
{
    struct usage *usage = argument;
    struct usage_counts counts = meter_take(&book->meter);

    ledger_add(&usage->ledger, book->mapping, today(), &counts);
}

/* With the lock held. */
static void collect(struct usage *usage)
{
    books_each(supervisor_books(usage->supervisor), collect_book, usage);
}

/* ---- writing, on the thread ---- */

static void take_row(void *argument, const struct usage_row *row)
{
    ledger_load(argument, row);
}

/* Adds what was counted meanwhile to what was on disk. */
static void join(struct usage *usage, struct ledger *stored)
{
    struct usage_row *rows;
    size_t count;

    pthread_mutex_lock(&usage->mutex);
    rows = ledger_take_unwritten(&usage->ledger, &count);
    for (size_t i = 0; i < count; i++)
        ledger_add(stored, rows[i].mapping, rows[i].day, &rows[i].counts);
    free(rows);
    ledger_fini(&usage->ledger);
    usage->ledger = *stored;
    pthread_mutex_unlock(&usage->mutex);
}

static void tell(struct usage *usage, const struct fault *fault)
{
    if (!usage->failing)
        log_event(LOG_ERROR, "usage_unwritten", LOG_TEXT("error", fault->text),
                  LOG_TEXT("effect", "it is counted on and tried again; a restart before that "
                                     "forgets it"));
    usage->failing = true;
}

static int open_store(struct usage *usage, struct fault *fault)
{
    struct ledger stored = {0};

    usage->store = usage_store_open(supervisor_state_directory(usage->supervisor), fault);
    if (!usage->store)
        return -1;
    if (!usage_store_read(usage->store, take_row, &stored, fault)) {
        join(usage, &stored);
        return 0;
    }
    ledger_fini(&stored);
    usage_store_close(usage->store);
    usage->store = NULL;
    return -1;
}

static void write_down(struct usage *usage)
{
    struct fault fault;
    struct usage_row *rows;
    size_t count;

    if (!usage->store && open_store(usage, &fault)) {
        tell(usage, &fault);
        return;
    }
    pthread_mutex_lock(&usage->mutex);
    collect(usage);
    rows = ledger_take_unwritten(&usage->ledger, &count);
    pthread_mutex_unlock(&usage->mutex);
    if (count && usage_store_write(usage->store, rows, count, LEDGER_DAYS, &fault)) {
        tell(usage, &fault);
        pthread_mutex_lock(&usage->mutex);
        ledger_give_back(&usage->ledger, rows, count);
        pthread_mutex_unlock(&usage->mutex);
    } else if (count && usage->failing) {
        usage->failing = false;
        log_event(LOG_INFO, "usage_written");
    }
    free(rows);
}

/* Returns whether to go on. */
static bool wait_a_while(struct usage *usage)
{
    int64_t until_us = clock_now() + WRITE_US;
    struct timespec until = {.tv_sec = until_us / CLOCK_SECOND,
                             .tv_nsec = until_us % CLOCK_SECOND * 1000};
    bool go_on;

    pthread_mutex_lock(&usage->mutex);
    while (!usage->stopping &&
           !pthread_cond_timedwait(&usage->changed, &usage->mutex, &until))
        ;
    go_on = !usage->stopping;
    pthread_mutex_unlock(&usage->mutex);
    return go_on;
}

static void *run(void *argument)
{
    struct usage *usage = argument;

    do {
        write_down(usage);
    } while (wait_a_while(usage));
    write_down(usage);
    usage_store_close(usage->store);
    return NULL;
}

struct usage *usage_start(struct supervisor *supervisor, struct fault *fault)
{
    struct usage *usage = memory_zero(1, sizeof *usage);
    pthread_condattr_t attributes;
    int failed;

    usage->supervisor = supervisor;
    pthread_mutex_init(&usage->mutex, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&usage->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    failed = pthread_create(&usage->thread, NULL, run, usage);
    if (!failed) {
        pthread_setname_np(usage->thread, "usage");
        return usage;
    }
    fault_set(fault, "cannot start a thread: %s", strerror(failed));
    pthread_cond_destroy(&usage->changed);
    pthread_mutex_destroy(&usage->mutex);
    free(usage);
    return NULL;
}

void usage_stop(struct usage *usage)
{
    if (!usage)
        return;
    pthread_mutex_lock(&usage->mutex);
    usage->stopping = true;
    pthread_cond_broadcast(&usage->changed);
    pthread_mutex_unlock(&usage->mutex);
    pthread_join(usage->thread, NULL);
    ledger_fini(&usage->ledger);
    pthread_cond_destroy(&usage->changed);
    pthread_mutex_destroy(&usage->mutex);
    free(usage);
}

/* ---- what it cost ---- */

static double cost_of(const struct prices *prices, const struct usage_counts *counts)
{
    return prices->invocation * (double)counts->invocations +
           prices->second * (double)counts->function_us / CLOCK_SECOND +
           prices->message * (double)counts->messages +
           prices->gigabyte * (double)(counts->received_bytes + counts->sent_bytes) / GIGABYTE;
}

static json_t *counts_json(const struct usage_counts *counts, const struct prices *prices)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:f, s:o}", "invocations",
                     (json_int_t)counts->invocations, "messages", (json_int_t)counts->messages,
                     "received_bytes", (json_int_t)counts->received_bytes, "sent_bytes",
                     (json_int_t)counts->sent_bytes, "function_seconds",
                     (double)counts->function_us / CLOCK_SECOND, "cost",
                     prices->set ? json_real(cost_of(prices, counts)) : json_null());
}

static json_t *date_json(int64_t day)
{
    time_t seconds = (time_t)(day * (CLOCK_DAY / CLOCK_SECOND));
    char text[32];
    struct tm tm;

    gmtime_r(&seconds, &tm);
    strftime(text, sizeof text, "%Y-%m-%d", &tm);
    return json_string(text);
}

/* The days that have gone by, today as far as it is. */
static double days_since(int64_t day)
{
    double days = (double)(clock_wall() - day * CLOCK_DAY) / CLOCK_DAY;

    return days > 0 ? days : 0;
}

static json_t *mapping_json(const struct ledger_mapping *mapping, int64_t since,
                            const struct prices *prices)
{
    struct usage_counts sum = {0};
    json_t *days = json_array(), *json, *day_json;
    int64_t first = -1;
    double cost;

    for (size_t i = 0; i < mapping->count; i++) {
        const struct ledger_day *day = &mapping->days[i];

        if (day->day < since)
            continue;
        first = first < 0 ? day->day : first;
        usage_counts_add(&sum, &day->counts);
        day_json = counts_json(&day->counts, prices);
        json_object_set_new(day_json, "day", date_json(day->day));
        json_array_append_new(days, day_json);
    }
    cost = cost_of(prices, &sum);
    json = counts_json(&sum, prices);
    json_object_set_new(json, "name", json_string(mapping->name));
    json_object_set_new(json, "days", days);
    json_object_set_new(json, "cost_per_day",
                        prices->set && first >= 0 && days_since(first) > 0
                            ? json_real(cost / days_since(first))
                            : json_null());
    json_object_set_new(json, "cost_per_million_messages",
                        prices->set && sum.messages ? json_real(cost / (double)sum.messages * 1e6)
                                                    : json_null());
    return json;
}

/* ---- the resource ---- */

static json_t *prices_json(const struct prices *prices)
{
    if (!prices->set)
        return json_null();
    return json_pack("{s:o, s:f, s:f, s:f, s:f}", "currency", json_value_text(prices->currency),
                     "invocation", prices->invocation, "second", prices->second, "message",
                     prices->message, "gigabyte", prices->gigabyte);
}

/* False: refused. */
static bool read_since(const struct router_call *call, int64_t *ret_day,
                       struct router_answer *answer)
{
    const char *text = http_server_query(call->request, "since"), *end;
    struct tm tm = {0};

    *ret_day = today() - SHOWN_DAYS + 1;
    if (!text)
        return true;
    end = strptime(text, "%Y-%m-%d", &tm);
    if (!end || *end) {
        router_refuse(answer, 400, "since: found \"%.40s\", expected a date such as 2026-11-01",
                      text);
        return false;
    }
    *ret_day = (int64_t)timegm(&tm) / (CLOCK_DAY / CLOCK_SECOND);
    return true;
}

static bool is_wanted(const struct ledger_mapping *mapping, const char *name, int64_t since)
{
    return (!name || !strcmp(mapping->name, name)) && mapping->count &&
           mapping->days[mapping->count - 1].day >= since;
}

static int compare(const void *left, const void *right)
{
    return strcmp(((const struct ledger_mapping *)left)->name,
                  ((const struct ledger_mapping *)right)->name);
}

static void show_usage(void *argument, const struct router_call *call, struct router_answer *answer)
{
    struct usage *usage = argument;
    const char *name = http_server_query(call->request, "mapping");
    json_t *mappings = json_array();
    struct prices prices;
    int64_t since;

    if (!read_since(call, &since, answer)) {
        json_decref(mappings);
        return;
    }
    supervisor_prices(usage->supervisor, &prices);
    pthread_mutex_lock(&usage->mutex);
    collect(usage);
    if (usage->ledger.count)
        qsort(usage->ledger.mappings, usage->ledger.count, sizeof *usage->ledger.mappings, compare);
    for (size_t i = 0; i < usage->ledger.count; i++)
        if (is_wanted(&usage->ledger.mappings[i], name, since))
            json_array_append_new(mappings,
                                  mapping_json(&usage->ledger.mappings[i], since, &prices));
    pthread_mutex_unlock(&usage->mutex);
    answer->body = json_pack("{s:o, s:o, s:o}", "since", date_json(since), "prices",
                             prices_json(&prices), "mappings", mappings);
}

void usage_add_routes(struct usage *usage, struct router *router)
{
    static const struct router_route routes[] = {
        {"GET", "/v1/usage", show_usage},
        {0},
    };

    router_add(router, routes, usage);
}
