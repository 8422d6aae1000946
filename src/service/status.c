/* SPDX-License-Identifier: MIT */
#include "service/status.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/json_value.h"
#include "service/parked_left.h"
#include "service/state_name.h"
#include "service/status_lanes.h"

struct status {
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

static const struct word phase_words[] = {
    [SUPERVISOR_PAUSED] = {"paused", STATUS_DEGRADED},
    [SUPERVISOR_DRAINING] = {"draining", STATUS_DEGRADED},
    [SUPERVISOR_DRAINED] = {"drained", STATUS_DEGRADED},
    [SUPERVISOR_RESTARTING] = {"restarting", STATUS_DEGRADED},
    [SUPERVISOR_REMOVING] = {"removing", STATUS_DEGRADED},
    [SUPERVISOR_STOPPING] = {"stopping", STATUS_DEGRADED},
};

static const char *const phase_reasons[] = {
    [SUPERVISOR_PAUSED] = "by an operator",
    [SUPERVISOR_DRAINING] = "by an operator; what is in flight is waited for",
    [SUPERVISOR_DRAINED] = "by an operator",
    [SUPERVISOR_RESTARTING] = "its file changed; what is in flight is waited for",
    [SUPERVISOR_REMOVING] = "its file is gone; what is in flight is waited for",
    [SUPERVISOR_STOPPING] = "what is in flight is waited for",
};

static struct status_verdict verdict(struct word word, const char *reason, int64_t since_wall_us)
{
    return (struct status_verdict){word.health, word.state, reason, since_wall_us};
}

struct status_verdict status_judge(const struct supervisor_view *view,
                                   const struct recorder_stats *stores, int64_t now_us)
{
    static const struct word stuck = {"stuck", STATUS_BAD},
                             waiting = {"waiting_for_store", STATUS_BAD},
                             park_full = {"park_full", STATUS_DEGRADED},
                             memory_short = {"memory_short", STATUS_DEGRADED};
    const struct poller_status *status = &view->status;

    if (status->turn_us && now_us - status->turn_us > SUPERVISOR_STUCK_US)
        return verdict(stuck, "a poller's thread does not turn", 0);
    if (status->dead_letters_stuck || status->records_stuck)
        return verdict(waiting,
                       status->publisher.stuck ? status->publisher.text : stores->last_error.text, 0);
    if (view->phase != SUPERVISOR_RUNNING)
        return verdict(phase_words[view->phase], phase_reasons[view->phase],
                       view->wish_since_wall_us);
    if (status->state != SLUICE_STATE_RUNNING)
        return verdict(source_words[status->state], status->state_text, 0);
    if (status->gate != GATE_CLOSED)
        return verdict(gate_words[status->gate], status->gate_text, status->gate_since_wall_us);
    if (view->parked.full)
        return verdict(park_full, "retry.park_bytes is used up; long retries wait at their source", 0);
    if (status->memory_short)
        return verdict(memory_short,
                       "messages of other mappings take what `memory` of sluice.yaml allows all of them",
                       0);
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
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",      //
                     "received", (json_int_t)counts->received,                            //
                     "done", (json_int_t)counts->done,                                    //
                     "filtered", (json_int_t)counts->filtered,                            //
                     "duplicates", (json_int_t)counts->duplicates,                        //
                     "dead", (json_int_t)counts->dead,                                    //
                     "invocations", (json_int_t)counts->invocations,                      //
                     "failed", (json_int_t)counts->failed,                                //
                     "retried", (json_int_t)counts->retried,                              //
                     "named", (json_int_t)counts->named,                                  //
                     "refused", (json_int_t)counts->refused,                              //
                     "settled", (json_int_t)counts->settled,                              //
                     "parked", (json_int_t)counts->parked);
}

static json_t *parked_json(const struct lot_state *parked)
{
    return json_pack("{s:I, s:I, s:o, s:b}", "count", (json_int_t)parked->count, "bytes",
                     (json_int_t)parked->bytes, "due",
                     parked->waits ? json_value_time(parked->due_wall_us) : json_null(), "full",
                     (int)parked->full);
}

static json_t *breaker_json(const struct poller_status *status)
{
    static const char *const names[] = {"closed", "target_unavailable", "target_failing",
                                        "target_paused"};
    bool open = status->gate != GATE_CLOSED;

    return json_pack("{s:s, s:o, s:o, s:o}", "state", names[status->gate], "reason",
                     json_value_text(open ? status->gate_text : ""), "since",
                     json_value_time(open ? status->gate_since_wall_us : 0), "next_probe",
                     json_value_time(open ? status->gate_next_wall_us : 0));
}

static json_t *errors_json(const struct poller_error *errors)
{
    json_t *list = json_array();

    for (size_t i = 0; i < POLLER_ERRORS && errors[i].wall_us; i++)
        json_array_append_new(list, json_pack("{s:o, s:I, s:o}", "last",
                                              json_value_time(errors[i].wall_us), "count",
                                              (json_int_t)errors[i].count, "text",
                                              json_value_text(errors[i].text)));
    return list;
}

/* Which sides may be anybody. */
static json_t *unverified_json(const struct mapping *mapping)
{
    json_t *list = json_array();

    if (mapping_trusts_any_source(mapping))
        json_array_append_new(list, json_string("source"));
    if (mapping->target.insecure)
        json_array_append_new(list, json_string("target"));
    if (mapping_trusts_any_place(mapping))
        json_array_append_new(list, json_string("dead-letter place"));
    return list;
}

/* null: they stay in the state directory. */
static json_t *place_json(const struct mapping *mapping, const struct publisher_status *publisher)
{
    if (!mapping->letters_to.connector)
        return json_null();
    return json_pack("{s:o, s:s, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o}",          //
                     "place", json_value_text(mapping->letters_to.text),             //
                     "state", state_name(publisher->state),                //
                     "reason", json_value_text(publisher->state_text),               //
                     "since", json_value_time(publisher->state_wall_us),             //
                     "published", (json_int_t)publisher->published,                  //
                     "kept", (json_int_t)publisher->kept,                            //
                     "failures", (json_int_t)publisher->failures,                    //
                     "waiting", (json_int_t)publisher->waiting,                      //
                     "last_error", json_value_text(publisher->error),                //
                     "last_error_at", json_value_time(publisher->error_wall_us));
}

static json_t *mapping_json(const struct supervisor_view *view, const struct recorder_stats *stores)
{
    const struct mapping *mapping = view->mapping;
    const struct poller_status *now = &view->status;
    struct status_verdict how = status_judge(view, stores, clock_now());
    json_t *json, *numbers;

    json = json_pack("{s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:o, s:s, s:i}",    //
                     "name", mapping->name,                                   //
                     "health", health_names[how.health],                      //
                     "state", how.state,                                      //
                     "reason", json_value_text(how.reason),                   //
                     "since", json_value_time(how.since_wall_us),             //
                     "connector", mapping->connector->name,                   //
                     "target", json_value_text(mapping->target.url),          //
                     "file", json_value_text(mapping->file),                  //
                     "revision", mapping->revision,                           //
                     "pollers", (int)mapping->pollers);
    numbers = json_pack("{s:I, s:o, s:o, s:f, s:f, s:i, s:i, s:I, s:I, s:I, s:o, s:o, s:o}", //
                        "lanes", (json_int_t)now->lanes,                                   //
                        "lag", number_or_null(now->lag),                                   //
                        "oldest", json_value_time(now->oldest_ms > 0 ? now->oldest_ms * CLOCK_MS
                                                                     : 0), //
                        "received_rate", now->received_rate,               //
                        "done_rate", now->done_rate,                       //
                        "in_flight", (int)now->in_flight,                  //
                        "limit", (int)now->limit,                          //
                        "unfinished", (json_int_t)now->unfinished,         //
                        "retries_waiting", (json_int_t)now->waiting_retries, //
                        "suspects", (json_int_t)now->suspects,             //
                        "breaker", breaker_json(now),                      //
                        "counts", counts_json(&now->counts),               //
                        "errors", errors_json(now->errors));
    json_object_set_new(json, "unverified", unverified_json(mapping));
    json_object_set_new(json, "lanes_behind", status_lanes(view->running));
    json_object_set_new(json, "parked", parked_json(&view->parked));
    json_object_set_new(json, "dead_letter_to", place_json(mapping, &now->publisher));
    json_object_set_new(json, "concurrency_set", view->cap ? json_integer(view->cap) : json_null());
    json_object_update(json, numbers);
    json_decref(numbers);
    return json;
}

static json_t *stores_json(const struct recorder_stats *stores)
{
    bool stuck = stores->turn_us && clock_now() - stores->turn_us > SUPERVISOR_STUCK_US;

    return json_pack("{s:b, s:I, s:I, s:I, s:b, s:o}", "stuck", (int)stuck, "commits", (json_int_t)stores->commits,
                     "failures", (json_int_t)stores->failures, "waiting",
                     (json_int_t)stores->waiting, "failing",
                     stores->letters_failing_since_us || stores->tokens_failing_since_us ||
                         stores->park_failing_since_us,
                     "last_error", json_value_text(stores->last_error.text));
}

struct listing {
    struct recorder_stats stores;
    const char *name; /* only this one; NULL: all */
    json_t *mappings;
};

static void list_mapping(void *argument, const struct supervisor_view *view)
{
    struct listing *listing = argument;

    if (!listing->name || !strcmp(listing->name, view->mapping->name))
        json_array_append_new(listing->mappings, mapping_json(view, &listing->stores));
}

static struct listing list_mappings(struct status *status, const char *name)
{
    struct listing listing = {.name = name, .mappings = json_array()};

    supervisor_recorder_stats(status->supervisor, &listing.stores);
    supervisor_look(status->supervisor, list_mapping, &listing);
    return listing;
}

static void list_left(void *argument, const char *mapping, const struct lot_state *state)
{
    json_t *parked = parked_json(state);

    json_object_set_new(parked, "mapping", json_value_text(mapping));
    json_array_append_new(argument, parked);
}

static json_t *memory_json(struct supervisor *supervisor)
{
    const struct allowance *allowance = supervisor_allowance(supervisor);

    return json_pack("{s:I, s:I}", "held", (json_int_t)atomic_load(&allowance->held), "limit",
                     (json_int_t)atomic_load(&allowance->most));
}

static void show_service(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct status *status = argument;
    struct listing listing = list_mappings(status, NULL);
    json_t *left = json_array();

    parked_left_look(status->supervisor, list_left, left);
    answer->body = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "version", SLUICE_VERSION, "pid",
                             (int)getpid(), "started", json_value_time(status->started_wall_us),
                             "memory", memory_json(status->supervisor),
                             "stores", stores_json(&listing.stores), "mappings",
                             listing.mappings);
    json_object_set_new(answer->body, "parked_without_mapping", left);
}

static void show_mapping(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct listing listing = list_mappings(argument, call->parameters[0]);

    if (json_array_size(listing.mappings))
        answer->body = json_incref(json_array_get(listing.mappings, 0));
    else
        router_refuse(answer, 404, "there is no mapping %s", call->parameters[0]);
    json_decref(listing.mappings);
}

/* ---- life ---- */

struct status *status_new(struct supervisor *supervisor)
{
    struct status *status = memory_zero(1, sizeof *status);

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
