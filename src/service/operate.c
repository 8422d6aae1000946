/* SPDX-License-Identifier: MIT */
#include "service/operate.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/json_value.h"
#include "service/park_bury.h"
#include "service/running.h"

struct operate {
    struct orders *orders;
    struct supervisor *supervisor;
    const struct reload_source *source;
    const struct notices *notices;
};

struct operate *operate_new(struct orders *orders, struct supervisor *supervisor,
                            const struct reload_source *source, const struct notices *notices)
{
    struct operate *operate = memory_zero(1, sizeof *operate);

    *operate = (struct operate){orders, supervisor, source, notices};
    return operate;
}

void operate_free(struct operate *operate)
{
    free(operate);
}

/* ---- reload ---- */

struct reload_order {
    const struct operate *operate;
    struct reload_report report;
};

static void do_reload(void *argument)
{
    struct reload_order *order = argument;
    const struct operate *operate = order->operate;

    notices_reloading(operate->notices);
    reload_run(operate->source, operate->supervisor, &order->report);
    notices_reloaded(operate->notices);
}

void operate_reload(struct operate *operate)
{
    struct reload_order order = {.operate = operate};

    do_reload(&order);
    reload_report_fini(&order.report);
}

static json_t *problems_json(const struct problems *problems)
{
    json_t *list = json_array();

    for (size_t i = 0; i < problems->count; i++) {
        const struct problem *problem = &problems->items[i];

        json_array_append_new(list, json_pack("{s:o, s:o, s:b}", "place",
                                              json_value_text(problem->place), "text",
                                              json_value_text(problem->text), "warning",
                                              (int)problem->warning));
    }
    return list;
}

static void report_refusal(const struct reload_report *report, struct router_answer *answer)
{
    if (report->fault.text[0])
        router_refuse(answer, 422, "nothing was changed: %s", report->fault.text);
    else
        router_refuse(answer, 422, "nothing was changed: %zu mistake%s in the files",
                      report->problems.errors, report->problems.errors == 1 ? "" : "s");
    json_object_set_new(answer->body, "problems", problems_json(&report->problems));
}

static void report_success(const struct reload_report *report, struct router_answer *answer)
{
    json_t *needs_restart = json_array();

    for (const char *const *setting = report->needs_restart; *setting; setting++)
        json_array_append_new(needs_restart, json_string(*setting));
    answer->body = json_pack("{s:I, s:I, s:I, s:I, s:o, s:o}",               //
                             "added", (json_int_t)report->changes.added,     //
                             "changed", (json_int_t)report->changes.changed, //
                             "removed", (json_int_t)report->changes.removed, //
                             "unchanged", (json_int_t)report->changes.unchanged,
                             "needs_restart", needs_restart, //
                             "problems", problems_json(&report->problems));
}

static void reload(void *argument, const struct router_call *call, struct router_answer *answer)
{
    struct operate *operate = argument;
    struct reload_order order = {.operate = operate};

    if (!orders_call(operate->orders, do_reload, &order)) {
        router_refuse(answer, 503, "the service is stopping");
        return;
    }
    if (order.report.good)
        report_success(&order.report, answer);
    else
        report_refusal(&order.report, answer);
    reload_report_fini(&order.report);
}

/* ---- wishes ---- */

struct wish_order {
    const struct operate *operate;
    const char *mapping;
    enum supervisor_wish wish;
    bool known;
    int failed;
    struct fault fault;
};

static void do_wish(void *argument)
{
    struct wish_order *order = argument;

    order->known = supervisor_knows(order->operate->supervisor, order->mapping);
    order->failed = supervisor_wish(order->operate->supervisor, order->mapping, order->wish,
                                    &order->fault);
}

static void wish(struct operate *operate, const char *mapping, enum supervisor_wish what,
                 struct router_answer *answer)
{
    struct wish_order order = {.operate = operate, .mapping = mapping, .wish = what};

    if (!orders_call(operate->orders, do_wish, &order))
        router_refuse(answer, 503, "the service is stopping");
    else if (order.failed)
        router_refuse(answer, order.known ? 409 : 404, "%s", order.fault.text);
}

static void pause_mapping(void *argument, const struct router_call *call,
                          struct router_answer *answer)
{
    wish(argument, call->parameters[0], SUPERVISOR_PAUSE, answer);
}

static void resume_mapping(void *argument, const struct router_call *call,
                           struct router_answer *answer)
{
    wish(argument, call->parameters[0], SUPERVISOR_RUN, answer);
}

static void drain_mapping(void *argument, const struct router_call *call,
                          struct router_answer *answer)
{
    wish(argument, call->parameters[0], SUPERVISOR_DRAIN, answer);
}

/* ---- settings for the night ---- */

struct cap_order {
    const struct operate *operate;
    const char *mapping;
    int64_t invocations;
    bool known;
    int failed;
    struct fault fault;
};

static void do_cap(void *argument)
{
    struct cap_order *order = argument;

    order->known = supervisor_knows(order->operate->supervisor, order->mapping);
    order->failed = supervisor_cap(order->operate->supervisor, order->mapping, order->invocations,
                                   &order->fault);
}

static void set_mapping(void *argument, const struct router_call *call,
                        struct router_answer *answer)
{
    struct operate *operate = argument;
    const json_t *number = json_object_get(call->body, "concurrency");
    struct cap_order order = {.operate = operate,
                              .mapping = call->parameters[0],
                              .invocations = json_integer_value(number)};

    if (!json_is_integer(number) || json_object_size(call->body) != 1)
        router_refuse(answer, 400, "expected {\"concurrency\": a whole number} and nothing else");
    else if (!orders_call(operate->orders, do_cap, &order))
        router_refuse(answer, 503, "the service is stopping");
    else if (order.failed)
        router_refuse(answer, order.known ? 422 : 404, "%s", order.fault.text);
}

/* ---- parked messages ---- */

struct hurry_order {
    const struct operate *operate;
    const char *mapping;
    size_t count;
    bool known;
};

static void do_hurry(void *argument)
{
    struct hurry_order *order = argument;

    struct supervisor *supervisor = order->operate->supervisor;

    order->known = supervisor_knows(supervisor, order->mapping);
    if (order->known)
        order->count = lot_hurry(park_lot(supervisor_park(supervisor), order->mapping), clock_wall());
}

static void retry_parked(void *argument, const struct router_call *call,
                         struct router_answer *answer)
{
    struct operate *operate = argument;
    struct hurry_order order = {.operate = operate, .mapping = call->parameters[0]};

    if (!orders_call(operate->orders, do_hurry, &order))
        router_refuse(answer, 503, "the service is stopping");
    else if (!order.known)
        router_refuse(answer, 404, "there is no mapping %s", order.mapping);
    else
        answer->body = json_pack("{s:I}", "count", (json_int_t)order.count);
}

struct bury_order {
    const char *mapping;
    bool elsewhere; /* its dead letters go to a place */
    bool drained;   /* which nobody talks to now */
    struct publisher_burial burial;
    struct publisher_status place;
};

static void bury_elsewhere(void *argument, const struct supervisor_view *view)
{
    struct bury_order *order = argument;
    struct publisher *publisher = view->running->publisher;

    if (strcmp(view->mapping->name, order->mapping) != 0 || !view->mapping->letters_to.connector)
        return;
    order->elsewhere = true;
    order->drained = !publisher;
    if (!publisher)
        return;
    publisher_bury(publisher, &order->burial);
    publisher_read_status(publisher, &order->place);
}

static json_t *burial_json(uint64_t count, uint64_t waiting, const char *reason, uint64_t unreadable,
                           const struct fault *fault)
{
    return json_pack("{s:I, s:I, s:o, s:I, s:o}", "count", (json_int_t)count, "waiting",
                     (json_int_t)waiting, "reason", json_value_text(waiting ? reason : ""), "unreadable",
                     (json_int_t)unreadable, "error", json_value_text(unreadable ? fault->text : ""));
}

static void bury_parked(void *argument, const struct router_call *call,
                        struct router_answer *answer)
{
    struct operate *operate = argument;
    struct bury_order order = {.mapping = call->parameters[0]};
    struct fault fault = {.text = ""};
    struct park_burial here;

    supervisor_look(operate->supervisor, bury_elsewhere, &order);
    if (order.drained)
        router_refuse(answer, 409,
                      "%s is drained, so nothing goes to where its dead letters go: `sluice resume "
                      "%s`, and `sluice pause` where it is not to go on",
                      order.mapping, order.mapping);
    else if (!order.elsewhere &&
             park_bury(supervisor_park(operate->supervisor), order.mapping, &here, &fault) != 0)
        router_refuse(answer, 503, "%s", fault.text);
    else if (order.elsewhere)
        answer->body = burial_json(order.burial.count, order.burial.waiting, order.place.text,
                                   order.burial.unreadable, &order.burial.fault);
    else
        answer->body = burial_json(here.count, 0, "", here.unreadable, &here.fault);
}

void operate_add_routes(struct operate *operate, struct router *router)
{
    static const struct router_route routes[] = {
        {"POST", "/v1/reload", reload},
        {"POST", "/v1/mappings/{name}/pause", pause_mapping},
        {"POST", "/v1/mappings/{name}/resume", resume_mapping},
        {"POST", "/v1/mappings/{name}/drain", drain_mapping},
        {"POST", "/v1/mappings/{name}/set", set_mapping},
        {"POST", "/v1/mappings/{name}/parked/retry", retry_parked},
        {"POST", "/v1/mappings/{name}/parked/bury", bury_parked},
        {0},
    };

    router_add(router, routes, operate);
}
