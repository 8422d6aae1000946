/* SPDX-License-Identifier: MIT */
#include "service/admin.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/http_server.h"

struct admin {
    struct supervisor *supervisor;
    struct http_server *server;
};

/* One metric over all mappings: Prometheus text format 0.0.4. */
struct metric {
    const char *name, *type, *help;
    double (*read)(const struct poller_status *status);
};

#define READ(name_, expression_)                                                                   \
    static double name_(const struct poller_status *status)                                        \
    {                                                                                              \
        return (double)(expression_);                                                              \
    }
READ(read_received, status->counts.received)
READ(read_done, status->counts.done)
READ(read_duplicates, status->counts.duplicates)
READ(read_dead, status->counts.dead)
READ(read_invocations, status->counts.invocations)
READ(read_failed, status->counts.failed)
READ(read_retried, status->counts.retried)
READ(read_in_flight, status->in_flight)
READ(read_limit, status->limit)
READ(read_unfinished, status->unfinished)
READ(read_waiting, status->waiting_retries)
READ(read_suspects, status->suspects)
READ(read_lanes, status->lanes)
READ(read_lag, status->lag)
READ(read_running, status->state == SLUICE_STATE_RUNNING)
READ(read_gate, status->gate)
READ(read_stuck, status->dead_letters_stuck || status->records_stuck)

static const struct metric metrics[] = {
    {"sluice_messages_received_total", "counter", "Messages taken from the source.", read_received},
    {"sluice_messages_done_total", "counter", "Messages the function has done.", read_done},
    {"sluice_messages_duplicate_total", "counter", "Messages settled without invoking, as their token was recorded.", read_duplicates},
    {"sluice_messages_dead_total", "counter", "Messages given up on.", read_dead},
    {"sluice_invocations_total", "counter", "Invocations begun.", read_invocations},
    {"sluice_invocations_failed_total", "counter", "Invocations that counted as failed.", read_failed},
    {"sluice_messages_retried_total", "counter", "Messages put back for another attempt.", read_retried},
    {"sluice_invocations_in_flight", "gauge", "Invocations in flight.", read_in_flight},
    {"sluice_invocations_limit", "gauge", "Invocations that may be in flight now.", read_limit},
    {"sluice_messages_unfinished", "gauge", "Messages received whose verdict is not yet durable.", read_unfinished},
    {"sluice_batches_waiting", "gauge", "Batches that wait for their next attempt.", read_waiting},
    {"sluice_suspects", "gauge", "Messages that wait for a witness.", read_suspects},
    {"sluice_lanes", "gauge", "Lanes assigned.", read_lanes},
    {"sluice_lag_messages", "gauge", "Messages behind the newest; -1: unknown.", read_lag},
    {"sluice_source_running", "gauge", "1 while the source delivers.", read_running},
    {"sluice_gate_state", "gauge", "0 open, 1 target unavailable, 2 target failing, 3 paused.", read_gate},
    {"sluice_store_stuck", "gauge", "1 while tokens or dead letters cannot be written.", read_stuck},
};

/* What a scrape shows of a mapping. */
struct sample {
    char name[64];
    struct poller_status status;
};

struct samples {
    struct sample *items;
    size_t count, room;
};

static void take_sample(void *argument, const struct supervisor_view *view)
{
    struct samples *samples = argument;
    struct sample *sample;

    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 16;
        samples->items = memory_resize(samples->items, samples->room, sizeof *samples->items);
    }
    sample = &samples->items[samples->count++];
    snprintf(sample->name, sizeof sample->name, "%s", view->mapping->name);
    sample->status = view->status;
}

static void write_metrics(struct admin *admin, struct buffer *body)
{
    struct samples samples = {0};
    struct recorder_stats stats;

    supervisor_look(admin->supervisor, take_sample, &samples);
    for (size_t m = 0; m < sizeof metrics / sizeof metrics[0]; m++) {
        const struct metric *metric = &metrics[m];

        buffer_format(body, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help,
                      metric->name, metric->type);
        for (size_t i = 0; i < samples.count; i++)
            buffer_format(body, "%s{mapping=\"%s\"} %.0f\n", metric->name,
                          samples.items[i].name, metric->read(&samples.items[i].status));
    }
    supervisor_recorder_stats(admin->supervisor, &stats);
    buffer_format(body,
                  "# HELP sluice_store_commits_total Commits of the stores.\n"
                  "# TYPE sluice_store_commits_total counter\n"
                  "sluice_store_commits_total %" PRIu64 "\n"
                  "# HELP sluice_store_failures_total Commits that failed.\n"
                  "# TYPE sluice_store_failures_total counter\n"
                  "sluice_store_failures_total %" PRIu64 "\n",
                  stats.commits, stats.failures);
    free(samples.items);
}

struct health {
    struct buffer *body;
    bool ready; /* asked for */
    bool good;
};

static void add_health(void *argument, const struct supervisor_view *view)
{
    struct health *health = argument;
    const struct poller_status *status = &view->status;

    if (status->turn_us && clock_now() - status->turn_us > SUPERVISOR_STUCK_US) {
        buffer_format(health->body, "%s: a poller is stuck\n", view->mapping->name);
        health->good = false;
    } else if (health->ready && view->phase == SUPERVISOR_RUNNING &&
               status->state != SLUICE_STATE_RUNNING) {
        buffer_format(health->body, "%s: %s\n", view->mapping->name,
                      status->state_text[0] ? status->state_text : "connecting");
        health->good = false;
    }
}

/* Ready: every source delivers, but for those that were told not to. Live: every poller turns. */
static bool write_health(struct admin *admin, bool ready, struct buffer *body)
{
    struct health health = {.body = body, .ready = ready, .good = true};

    supervisor_look(admin->supervisor, add_health, &health);
    if (health.good)
        buffer_add_text(body, "ok\n");
    return health.good;
}

static void handle(void *argument, const struct http_server_request *request,
                   struct http_server_answer *answer)
{
    struct admin *admin = argument;
    bool get = !strcmp(request->method, "GET") || !strcmp(request->method, "HEAD");

    if (!get) {
        answer->status = 405;
        buffer_add_text(&answer->body, "only GET\n");
    } else if (!strcmp(request->path, "/metrics")) {
        answer->content_type = "text/plain; version=0.0.4; charset=utf-8";
        write_metrics(admin, &answer->body);
    } else if (!strcmp(request->path, "/livez")) {
        answer->status = write_health(admin, false, &answer->body) ? 200 : 503;
    } else if (!strcmp(request->path, "/readyz")) {
        answer->status = write_health(admin, true, &answer->body) ? 200 : 503;
    } else {
        answer->status = 404;
        buffer_add_text(&answer->body, "there are /metrics, /livez and /readyz\n");
    }
}

struct admin *admin_start(const char *listen, struct supervisor *supervisor, struct fault *fault)
{
    struct admin *admin = memory_zero(1, sizeof *admin);

    admin->supervisor = supervisor;
    admin->server = http_server_start(listen, handle, admin, fault);
    if (!admin->server) {
        free(admin);
        return NULL;
    }
    return admin;
}

void admin_stop(struct admin *admin)
{
    if (admin)
        http_server_stop(admin->server);
    free(admin);
}

unsigned admin_port(const struct admin *admin)
{
    return http_server_port(admin->server);
}
