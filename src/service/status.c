/* SPDX-License-Identifier: MIT */
#include "service/status.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/json_value.h"

/* A poller that has not turned for this long is stuck. */
#define STUCK_US (30 * CLOCK_SECOND)

struct status {
    const struct configuration *configuration;
    struct supervisor *supervisor;
    int64_t started_wall_us;
};

/* ---- the verdict ---- */

struct word {
    const char *state;
    enum status_health health;
};

static const struct word source_words[] = {
    [0] = {"connecting", STATUS_DEGRADED},
    [SLUICE_STATE_CONNECTING] = {"connecting", STATUS_DEGRADED},
    [SLUICE_STATE_RUNNING] = {"running", STATUS_GOOD},
    [SLUICE_STATE_UNREACHABLE] = {"source_unreachable", STATUS_DEGRADED},
    [SLUICE_STATE_UNAUTHORISED] = {"source_unauthorised", STATUS_BAD},
    [SLUICE_STATE_MISSING] = {"source_missing", STATUS_BAD},
    [SLUICE_STATE_FAILED] = {"source_failed", STATUS_BAD},
};

static const struct word gate_words[] = {
    [GATE_UNAVAILABLE] = {"target_unavailable", STATUS_DEGRADED},
    [GATE_FAILING] = {"target_failing", STATUS_DEGRADED},
    [GATE_PAUSED] = {"target_paused", STATUS_BAD},
};

static struct status_verdict verdict(struct word word, const char *reason, int64_t since_wall_us)
{
    return (struct status_verdict){word.health, word.state, reason, since_wall_us};
}

struct status_verdict status_judge(const struct poller_status *status,
                                   const struct recorder_stats *stores, int64_t now_us)
{
    static const struct word stuck = {"stuck", STATUS_BAD},
                             letters = {"waiting_for_dead_letters", STATUS_BAD},
                             tokens = {"waiting_for_tokens", STATUS_BAD};

    if (status->turn_us && now_us - status->turn_us > STUCK_US)
        return verdict(stuck, "a poller's thread does not turn", 0);
    if (status->dead_letters_stuck)
        return verdict(letters, stores->last_error.text, 0);
    if (status->records_stuck)
        return verdict(tokens, stores->last_error.text, 0);
    if (status->state != SLUICE_STATE_RUNNING)
        return verdict(source_words[status->state], status->state_text, 0);
    if (status->gate != GATE_CLOSED)
        return verdict(gate_words[status->gate], status->gate_text, status->gate_since_wall_us);
    return verdict(source_words[SLUICE_STATE_RUNNING], "", 0);
}

/* ---- JSON ---- */

static const char *const health_names[] = {"good", "degraded", "bad"};

static json_t *number_or_null(int64_t number)
{
    return number < 0 ? json_null() : json_integer(number);
}

static json_t *counts_json(const struct engine_counts *counts)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",                     //
                     "received", (json_int_t)counts->received,                            //
                     "done", (json_int_t)counts->done,                                    //
                     "filtered", (json_int_t)counts->filtered,                            //
                     "duplicates", (json_int_t)counts->duplicates,                        //
                     "dead", (json_int_t)counts->dead,                                    //
                     "invocations", (json_int_t)counts->invocations,                      //
                     "failed", (json_int_t)counts->failed,                                //
                     "retried", (json_int_t)counts->retried,                              //
                     "named", (json_int_t)counts->named);
}

static json_t *mapping_json(struct status *status, size_t index,
                            const struct recorder_stats *stores)
{
    const struct mapping *mapping = status->configuration->mappings[index];
    struct poller_status now;
    struct status_verdict how;

    supervisor_status(status->supervisor, index, &now);
    how = status_judge(&now, stores, clock_now());
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:s, s:i, s:I, s:o, s:i, s:i, s:I, "
                     "s:I, s:I, s:o}",
                     "name", mapping->name,                            //
                     "health", health_names[how.health],               //
                     "state", how.state,                               //
                     "reason", json_value_text(how.reason),            //
                     "since", json_value_time(how.since_wall_us),      //
                     "connector", mapping->connector->name,            //
                     "target", json_value_text(mapping->target.url),   //
                     "file", json_value_text(mapping->file),           //
                     "revision", mapping->revision,                    //
                     "pollers", (int)mapping->pollers,                 //
                     "lanes", (json_int_t)now.lanes,                   //
                     "lag", number_or_null(now.lag),                   //
                     "in_flight", (int)now.in_flight,                  //
                     "limit", (int)now.limit,                          //
                     "unfinished", (json_int_t)now.unfinished,         //
                     "retries_waiting", (json_int_t)now.waiting_retries, //
                     "suspects", (json_int_t)now.suspects,             //
                     "counts", counts_json(&now.counts));
}

static json_t *stores_json(const struct recorder_stats *stores)
{
    return json_pack("{s:I, s:I, s:I, s:b, s:o}", "commits", (json_int_t)stores->commits,
                     "failures", (json_int_t)stores->failures, "waiting",
                     (json_int_t)stores->waiting, "failing",
                     stores->letters_failing_since_us || stores->tokens_failing_since_us,
                     "last_error", json_value_text(stores->last_error.text));
}

static void show_service(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct status *status = argument;
    json_t *mappings = json_array();
    struct recorder_stats stores;

    (void)call;
    supervisor_recorder_stats(status->supervisor, &stores);
    for (size_t i = 0; i < status->configuration->mapping_count; i++)
        json_array_append_new(mappings, mapping_json(status, i, &stores));
    answer->body = json_pack("{s:s, s:i, s:o, s:o, s:o}", "version", SLUICE_VERSION, "pid",
                             (int)getpid(), "started", json_value_time(status->started_wall_us),
                             "stores", stores_json(&stores), "mappings", mappings);
}

static void show_mapping(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct status *status = argument;
    struct recorder_stats stores;

    supervisor_recorder_stats(status->supervisor, &stores);
    for (size_t i = 0; i < status->configuration->mapping_count && !answer->body; i++)
        if (!strcmp(status->configuration->mappings[i]->name, call->parameters[0]))
            answer->body = mapping_json(status, i, &stores);
    if (!answer->body)
        router_refuse(answer, 404, "there is no mapping %s", call->parameters[0]);
}

/* ---- life ---- */

struct status *status_new(const struct configuration *configuration, struct supervisor *supervisor)
{
    struct status *status = memory_zero(1, sizeof *status);

    status->configuration = configuration;
    status->supervisor = supervisor;
    status->started_wall_us = clock_wall();
    return status;
}

void status_free(struct status *status)
{
    free(status);
}

void status_add_routes(struct status *status, struct router *router)
{
    static const struct router_route routes[] = {
        {"GET", "/v1/status", show_service},
        {"GET", "/v1/mappings/{name}", show_mapping},
        {0},
    };

    router_add(router, routes, status);
}
