/* SPDX-License-Identifier: MIT */
#include "service/metrics.h"

#include <assert.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/memory.h"
#include "io/http_server.h"
#include "io/process.h"
#include "service/running.h"
#include "service/status.h"

/* What a scrape sees of a mapping. */
struct sample {
    char name[64], connector[32], revision[17];
    enum status_health health;
    bool stopped; /* by an operator: paused or drained */
    struct poller_status status;
    struct lot_state parked;
};

struct scrape {
    struct recorder_stats stores;
    struct sample *samples;
    size_t count, room;
    int64_t now_us, wall_us;
    struct buffer lags, ages;   /* samples of lanes */
    struct poller_lane *lanes;  /* scratch */
};

/* What is written, and how. */
struct page {
    struct buffer *buffer;
    enum metrics_format format;
};

/* ---- of a mapping ---- */

struct metric {
    const char *name, *type, *help;
    double (*read)(const struct scrape *scrape, const struct sample *sample);
};

#define READ(name_, expression_)                                                                   \
    static double name_(const struct scrape *scrape, const struct sample *sample)                  \
    {                                                                                              \
        const struct poller_status *status = &sample->status;                                      \
                                                                                                   \
        (void)scrape;                                                                              \
        (void)status;                                                                              \
        return (double)(expression_);                                                              \
    }
READ(read_received, status->counts.received)
READ(read_done, status->counts.done)
READ(read_filtered, status->counts.filtered)
READ(read_duplicates, status->counts.duplicates)
READ(read_dead, status->counts.dead)
READ(read_retried, status->counts.retried)
READ(read_named, status->counts.named)
READ(read_invocations, status->counts.invocations)
READ(read_failed, status->counts.failed)
READ(read_refused, status->counts.refused)
READ(read_settled, status->counts.settled)
READ(read_settle_failures, status->settle_failures)
READ(read_parked_all, status->counts.parked)
READ(read_parked, sample->parked.count)
READ(read_parked_bytes, sample->parked.bytes)
READ(read_overdue, sample->parked.due_wall_us && sample->parked.due_wall_us < scrape->wall_us
                       ? (double)(scrape->wall_us - sample->parked.due_wall_us) / CLOCK_SECOND
                       : 0)
READ(read_park_full, sample->parked.full)
READ(read_memory_short, status->memory_short)
READ(read_in_flight, status->in_flight)
READ(read_limit, status->limit)
READ(read_unfinished, status->unfinished)
READ(read_bytes, status->bytes)
READ(read_waiting, status->waiting_retries)
READ(read_suspects, status->suspects)
READ(read_lanes, status->lanes)
READ(read_lag, status->lag)
READ(read_age, status->oldest_ms < 0
                   ? 0
                   : (double)(scrape->wall_us - status->oldest_ms * CLOCK_MS) / CLOCK_SECOND)
READ(read_running, status->state == SLUICE_STATE_RUNNING)
READ(read_stopped, sample->stopped)
READ(read_health, sample->health)
READ(read_stuck, status->dead_letters_stuck || status->records_stuck)
READ(read_published, status->publisher.published)
READ(read_kept, status->publisher.kept)
READ(read_unpublished, status->publisher.failures)
READ(read_letters_waiting, status->publisher.waiting)
READ(read_turn, status->turn_us ? (double)(scrape->now_us - status->turn_us) / CLOCK_SECOND : 0)

/* What AWS's event source mappings call the same is in parentheses. */
static const struct metric metrics[] = {
    {"sluice_messages_received_total", "counter",
     "Messages taken from the source (PolledEventCount).", read_received},
    {"sluice_messages_done_total", "counter", "Messages the function has done.", read_done},
    {"sluice_messages_filtered_total", "counter",
     "Messages left out by the filter (FilteredOutEventCount).", read_filtered},
    {"sluice_messages_duplicate_total", "counter",
     "Messages settled without invoking, as their token was recorded.", read_duplicates},
    {"sluice_messages_dead_total", "counter",
     "Messages given up on and kept as dead letters (OnFailureDestinationDeliveredEventCount).",
     read_dead},
    {"sluice_messages_retried_total", "counter", "Messages put back for another attempt.",
     read_retried},
    {"sluice_messages_named_total", "counter",
     "Messages that the function named as failed (batchItemFailures).", read_named},
    {"sluice_messages_settled_total", "counter",
     "Messages that the source was told are finished (CommittedEventCount, DeletedEventCount).",
     read_settled},
    {"sluice_settlement_failures_total", "counter",
     "Commits and settlements that the source did not take; they are tried again, or their messages "
     "come again.",
     read_settle_failures},
    {"sluice_messages_parked_total", "counter",
     "Times that messages were parked, as their retry was far off.", read_parked_all},
    {"sluice_invocations_total", "counter", "Invocations begun (Invocations).", read_invocations},
    {"sluice_invocations_failed_total", "counter", "Invocations that counted as failed (Errors).",
     read_failed},
    {"sluice_invocations_refused_total", "counter",
     "Invocations that the target throttled or could not take, which count as no attempt (Throttles).",
     read_refused},
    {"sluice_invocations_in_flight", "gauge", "Invocations in flight (ConcurrentExecutions).",
     read_in_flight},
    {"sluice_invocations_limit", "gauge", "Invocations that may be in flight now.", read_limit},
    {"sluice_messages_unfinished", "gauge",
     "Messages received whose verdict is not yet durable.", read_unfinished},
    {"sluice_held_bytes", "gauge", "Bytes of keys and payloads held.", read_bytes},
    {"sluice_batches_waiting", "gauge", "Batches that wait for their next attempt.", read_waiting},
    {"sluice_parked_messages", "gauge", "Messages parked.", read_parked},
    {"sluice_parked_bytes", "gauge", "Bytes of parked messages, as retry.park_bytes counts them.",
     read_parked_bytes},
    {"sluice_parked_overdue_seconds", "gauge",
     "How long the retry that was due first is overdue; 0 if none is.", read_overdue},
    {"sluice_park_full", "gauge", "1 while retry.park_bytes keeps messages from being parked.",
     read_park_full},
    {"sluice_memory_short", "gauge",
     "1 while messages of other mappings take what memory of sluice.yaml allows all of them.",
     read_memory_short},
    {"sluice_suspects", "gauge", "Messages that wait for a witness.", read_suspects},
    {"sluice_lanes", "gauge", "Lanes assigned.", read_lanes},
    {"sluice_lag_messages", "gauge",
     "Messages behind the newest; -1 if unknown (SumOffsetLag).", read_lag},
    {"sluice_oldest_message_age_seconds", "gauge",
     "Age of the oldest message received and not yet finished; 0 if there is none.", read_age},
    {"sluice_source_running", "gauge", "1 while the source delivers.", read_running},
    {"sluice_mapping_stopped", "gauge", "1 while an operator has it paused or drained.",
     read_stopped},
    {"sluice_mapping_health", "gauge",
     "0 good, 1 makes no progress now and will by itself, 2 needs a person.", read_health},
    {"sluice_store_stuck", "gauge", "1 while its tokens or dead letters cannot be written.",
     read_stuck},
    {"sluice_dead_letters_published_total", "counter",
     "Dead letters confirmed by the place that dead_letter.to names.", read_published},
    {"sluice_dead_letters_kept_total", "counter",
     "Dead letters too large for that place, whose payloads are kept in the state directory.",
     read_kept},
    {"sluice_dead_letters_publish_failures_total", "counter",
     "Tries to publish a dead letter there that failed (OnFailureDestinationDeliveryErrorCount).",
     read_unpublished},
    {"sluice_dead_letters_waiting", "gauge",
     "Dead letters that the place has not confirmed yet; their lanes wait.", read_letters_waiting},
    {"sluice_poller_turn_age_seconds", "gauge",
     "Seconds since the slowest poller's loop last turned; more than a few mean that it hangs.",
     read_turn},
};

/* OpenMetrics names the unit where the name ends with it. */
static void write_unit(struct buffer *buffer, const char *name, size_t size)
{
    static const char *const units[] = {"seconds", "bytes"};

    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        size_t length = strlen(units[i]);

        if (size > length && memcmp(name + size - length, units[i], length) == 0 &&
            name[size - length - 1] == '_')
            buffer_format(buffer, "# UNIT %.*s %s\n", (int)size, name, units[i]);
    }
}

/* In OpenMetrics a counter's family is called without the _total of its samples. */
static void write_head(const struct page *page, const char *name, const char *type,
                       const char *help)
{
    size_t size = strlen(name);

    if (page->format == METRICS_OPENMETRICS && strcmp(type, "counter") == 0)
        size -= strlen("_total");
    buffer_format(page->buffer, "# HELP %.*s %s\n# TYPE %.*s %s\n", (int)size, name, help, (int)size,
                  name, type);
    if (page->format == METRICS_OPENMETRICS)
        write_unit(page->buffer, name, size);
}

/* Samples of mappings and lanes are many, and printf makes most of their cost: what they have alike is
 * written without it. */
static void add_texts(struct buffer *buffer, const char *const *texts)
{
    for (; *texts; texts++)
        buffer_add_text(buffer, *texts);
}
#define ADD_TEXTS(buffer_, ...) add_texts(buffer_, (const char *const[]){__VA_ARGS__, NULL})

static void add_value(struct buffer *buffer, double value)
{
    if (fabs(value) < 1e15 && value == (double)(int64_t)value)
        buffer_add_number(buffer, (int64_t)value);
    else
        buffer_format(buffer, "%.16g", value);
}

static void write_numbers(const struct scrape *scrape, const struct page *page)
{
    for (size_t m = 0; m < sizeof metrics / sizeof metrics[0]; m++) {
        const struct metric *metric = &metrics[m];

        write_head(page, metric->name, metric->type, metric->help);
        for (size_t i = 0; i < scrape->count; i++) {
            ADD_TEXTS(page->buffer, metric->name, "{mapping=\"", scrape->samples[i].name, "\"} ");
            add_value(page->buffer, metric->read(scrape, &scrape->samples[i]));
            buffer_add_text(page->buffer, "\n");
        }
    }
}

static void write_states(const struct scrape *scrape, const struct page *page)
{
    static const char *const states[] = {[GATE_CLOSED] = "closed",
                                         [GATE_UNAVAILABLE] = "target_unavailable",
                                         [GATE_FAILING] = "target_failing",
                                         [GATE_PAUSED] = "target_paused"};

    write_head(page, "sluice_breaker_state", "gauge",
               "1 for the state that the circuit breaker is in, 0 for the others.");
    for (size_t i = 0; i < scrape->count; i++)
        for (size_t s = 0; s < sizeof states / sizeof *states; s++)
            ADD_TEXTS(page->buffer, "sluice_breaker_state{mapping=\"", scrape->samples[i].name,
                      "\",state=\"", states[s],
                      scrape->samples[i].status.gate == s ? "\"} 1\n" : "\"} 0\n");
    write_head(page, "sluice_mapping_info", "gauge", "1; what runs, by its labels.");
    for (size_t i = 0; i < scrape->count; i++)
        ADD_TEXTS(page->buffer, "sluice_mapping_info{mapping=\"", scrape->samples[i].name,
                  "\",connector=\"", scrape->samples[i].connector, "\",revision=\"",
                  scrape->samples[i].revision, "\"} 1\n");
}

/* ---- histograms ---- */

/* A scale's bounds as labels. As OpenMetrics has numbers in labels, in both formats: "1" and "1.0" would
 * be two series. */
struct bounds {
    char text[HISTOGRAM_BOUNDS + 1][16];
};

static void print_bounds(const struct histogram_scale *scale, struct bounds *ret_bounds)
{
    for (size_t i = 0; i < scale->count; i++)
        snprintf(ret_bounds->text[i], sizeof ret_bounds->text[i],
                 scale->bounds[i] == floor(scale->bounds[i]) ? "%.1f" : "%g", scale->bounds[i]);
    strcpy(ret_bounds->text[scale->count], "+Inf");
}

/* An example for a bucket, which only OpenMetrics has a place for. */
static void write_exemplar(const struct page *page, const struct poller_exemplar *exemplar)
{
    if (page->format == METRICS_OPENMETRICS && exemplar->trace_id[0])
        buffer_format(page->buffer, " # {trace_id=\"%s\"} %.16g %.3f", exemplar->trace_id,
                      exemplar->value, (double)exemplar->wall_us / CLOCK_SECOND);
}

/* What the histograms of one name have alike. */
struct histogram_family {
    const char *name;
    const struct histogram_scale *scale;
    struct bounds bounds;
};

/* The series of one histogram; `mapping` NULL: it is of the service; `exemplars` of its buckets, NULL:
 * none. */
static void write_histogram(const struct page *page, const struct histogram_family *family,
                            const char *mapping, const struct histogram *histogram,
                            const struct poller_exemplar *exemplars)
{
    char label[96] = "", braces[98] = "";
    uint64_t count = 0;

    if (mapping) {
        snprintf(label, sizeof label, "mapping=\"%s\",", mapping);
        snprintf(braces, sizeof braces, "{mapping=\"%s\"}", mapping);
    }
    for (size_t i = 0; i <= family->scale->count; i++) {
        count += histogram->buckets[i];
        ADD_TEXTS(page->buffer, family->name, "_bucket{", label, "le=\"", family->bounds.text[i],
                  "\"} ");
        buffer_add_unsigned(page->buffer, count);
        if (exemplars)
            write_exemplar(page, &exemplars[i]);
        buffer_add_text(page->buffer, "\n");
    }
    ADD_TEXTS(page->buffer, family->name, "_sum", braces, " ");
    add_value(page->buffer, histogram->sum);
    ADD_TEXTS(page->buffer, "\n", family->name, "_count", braces, " ");
    buffer_add_unsigned(page->buffer, count);
    buffer_add_text(page->buffer, "\n");
}

static struct histogram_family begin_histograms(const struct page *page, const char *name,
                                                const char *help,
                                                const struct histogram_scale *scale)
{
    struct histogram_family family = {.name = name, .scale = scale};

    print_bounds(scale, &family.bounds);
    write_head(page, name, "histogram", help);
    return family;
}

static void write_histograms(const struct scrape *scrape, const struct page *page)
{
    struct histogram_family family =
        begin_histograms(page, "sluice_invocation_duration_seconds",
                         "How long invocations took, from sending to the end of the answer (Duration).",
                         &poller_duration_scale);

    for (size_t i = 0; i < scrape->count; i++)
        write_histogram(page, &family, scrape->samples[i].name, &scrape->samples[i].status.duration,
                        scrape->samples[i].status.exemplars);
    family = begin_histograms(
        page, "sluice_batch_messages",
        "Messages in an invocation; their sum counts each attempt (InvokedEventCount).",
        &poller_batch_scale);
    for (size_t i = 0; i < scrape->count; i++)
        write_histogram(page, &family, scrape->samples[i].name, &scrape->samples[i].status.batch,
                        NULL);
    family = begin_histograms(page, "sluice_batch_age_seconds",
                              "From the timestamp of a batch's first message until the function had "
                              "done it (IteratorAge).",
                              &poller_age_scale);
    for (size_t i = 0; i < scrape->count; i++)
        write_histogram(page, &family, scrape->samples[i].name, &scrape->samples[i].status.age, NULL);
}

/* ---- of lanes ---- */

static void add_name(struct buffer *buffer, const char *metric, const char *mapping,
                     const char *lane)
{
    ADD_TEXTS(buffer, metric, "{mapping=\"", mapping, "\",lane=\"", lane, "\"} ");
}

static void add_age(struct buffer *buffer, int64_t age_ms)
{
    char fraction[] = {'.', (char)('0' + age_ms / 100 % 10), (char)('0' + age_ms / 10 % 10),
                       (char)('0' + age_ms % 10)};

    buffer_add_number(buffer, age_ms / 1000);
    buffer_add(buffer, fraction, sizeof fraction);
}

static void add_lanes(struct scrape *scrape, const struct supervisor_view *view)
{
    struct lane_slots *slots = view->running->book->lanes;
    const char *mapping = view->mapping->name;

    if (!lane_slots_most(slots))
        return;
    lane_slots_lock(slots);
    running_lanes(view->running, scrape->lanes);
    for (uint32_t i = 0; i <= lane_slots_most(slots); i++) {
        const struct poller_lane *lane = &scrape->lanes[i];
        int64_t age_ms = lane->oldest_ms < 0 ? 0 : scrape->wall_us / CLOCK_MS - lane->oldest_ms;

        if (!lane->lanes)
            continue;
        add_name(&scrape->lags, "sluice_lane_lag_messages", mapping, lane_slots_label(slots, i));
        buffer_add_number(&scrape->lags, lane->lag);
        buffer_add_text(&scrape->lags, "\n");
        add_name(&scrape->ages, "sluice_lane_oldest_message_age_seconds", mapping,
                 lane_slots_label(slots, i));
        add_age(&scrape->ages, age_ms > 0 ? age_ms : 0);
        buffer_add_text(&scrape->ages, "\n");
    }
    lane_slots_unlock(slots);
}

static void write_lanes(const struct scrape *scrape, const struct page *page)
{
    write_head(page, "sluice_lane_lag_messages", "gauge",
               "Messages behind the newest of a lane; -1 if unknown (OffsetLag).");
    buffer_add(page->buffer, scrape->lags.data, scrape->lags.size);
    write_head(page, "sluice_lane_oldest_message_age_seconds", "gauge",
               "Age of the oldest message of a lane received and not yet finished; 0 if there is "
               "none.");
    buffer_add(page->buffer, scrape->ages.data, scrape->ages.size);
}

/* ---- of the service ---- */

static void write_one(const struct page *page, const char *name, const char *type, const char *help,
                      double value)
{
    write_head(page, name, type, help);
    buffer_format(page->buffer, "%s %.16g\n", name, value);
}

static void write_traces(struct supervisor *supervisor, const struct page *page)
{
    struct tracer_stats stats;

    supervisor_tracer_stats(supervisor, &stats);
    write_one(page, "sluice_spans_sent_total", "counter", "Spans that the receiver of traces took.",
              (double)stats.sent);
    write_one(page, "sluice_spans_dropped_total", "counter",
              "Spans that were dropped, as they did not fit or the receiver did not take them.",
              (double)stats.dropped);
}

static void write_stores(const struct recorder_stats *stores, const struct page *page)
{
    struct histogram_family family;

    write_one(page, "sluice_store_commits_total", "counter", "Commits of the stores.",
              (double)stores->commits);
    write_one(page, "sluice_store_failures_total", "counter", "Commits that failed.",
              (double)stores->failures);
    write_one(page, "sluice_store_waiting", "gauge", "Records that wait to be written.",
              (double)stores->waiting);
    family = begin_histograms(page, "sluice_store_commit_duration_seconds",
                              "How long a group of commits to both stores took.",
                              &recorder_commit_scale);
    write_histogram(page, &family, NULL, &stores->commit_duration, NULL);
}

static void write_memory(struct supervisor *supervisor, const struct page *page)
{
    const struct allowance *allowance = supervisor_allowance(supervisor);

    write_one(page, "sluice_memory_held_bytes", "gauge",
              "Memory that received messages of all mappings take.",
              (double)atomic_load(&allowance->held));
    write_one(page, "sluice_memory_limit_bytes", "gauge",
              "What they may take: memory of sluice.yaml.", (double)atomic_load(&allowance->most));
}

static void write_replays(struct replays *replays, const struct page *page)
{
    struct replays_totals totals;
    const struct {
        const char *outcome;
        const uint64_t *count;
    } rows[] = {{"done", &totals.done},
                {"already", &totals.already},
                {"died", &totals.died},
                {"gone", &totals.gone},
                {"changed", &totals.changed}};

    replays_read_totals(replays, &totals);
    write_one(page, "sluice_replays_running", "gauge", "Replays of dead letters that run.",
              (double)totals.running);
    write_head(page, "sluice_replayed_letters_total", "counter",
               "Dead letters that were replayed, by what became of them.");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        buffer_format(page->buffer, "sluice_replayed_letters_total{outcome=\"%s\"} %" PRIu64 "\n",
                      rows[i].outcome, *rows[i].count);
}

/* Names as in Prometheus' own clients. */
static void write_process(const struct page *page)
{
    struct process_usage usage;

    process_read_usage(&usage);
    write_one(page, "process_cpu_seconds_total", "counter", "CPU time used.", usage.cpu_seconds);
    write_one(page, "process_start_time_seconds", "gauge", "When the process began, since 1970.",
              usage.start_seconds);
    write_one(page, "process_resident_memory_bytes", "gauge", "Memory in use.",
              (double)usage.resident_bytes);
    write_one(page, "process_virtual_memory_bytes", "gauge", "Address space in use.",
              (double)usage.virtual_bytes);
    write_one(page, "process_open_fds", "gauge", "Open file descriptors.",
              (double)usage.open_descriptors);
    write_one(page, "process_max_fds", "gauge", "File descriptors that may be open.",
              (double)usage.most_descriptors);
    write_one(page, "process_threads", "gauge", "Threads.", (double)usage.threads);
}

/* ---- the scrape ---- */

static void take_sample(void *argument, const struct supervisor_view *view)
{
    struct scrape *scrape = argument;
    struct sample *sample;

    if (scrape->count == scrape->room) {
        scrape->room *= 2;
        scrape->samples = memory_resize(scrape->samples, scrape->room, sizeof *scrape->samples);
    }
    sample = &scrape->samples[scrape->count++];
    snprintf(sample->name, sizeof sample->name, "%s", view->mapping->name);
    snprintf(sample->connector, sizeof sample->connector, "%s", view->mapping->connector->name);
    snprintf(sample->revision, sizeof sample->revision, "%s", view->mapping->revision);
    sample->health = status_judge(view, &scrape->stores, scrape->now_us).health;
    sample->stopped = view->phase == SUPERVISOR_PAUSED || view->phase == SUPERVISOR_DRAINING ||
                      view->phase == SUPERVISOR_DRAINED;
    sample->status = view->status;
    add_lanes(scrape, view);
    sample->parked = view->parked;
}

const char *metrics_content_type(enum metrics_format format)
{
    return format == METRICS_OPENMETRICS
               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
               : "text/plain; version=0.0.4; charset=utf-8";
}

/* The weight (RFC 9110, 12.4.2) that a media range's parameters give it. */
static double weight_of(const char *parameters, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        size_t at = i + 1 + strspn(parameters + i + 1, " \t");

        if (parameters[i] == ';' && at + 1 < size && (parameters[at] == 'q' || parameters[at] == 'Q') &&
            parameters[at + 1] == '=')
            return strtod(parameters + at + 2, NULL);
    }
    return 1;
}

enum metrics_format metrics_choose(const char *accept)
{
    static const char *const names[] = {[METRICS_TEXT] = "text/plain",
                                        [METRICS_OPENMETRICS] = "application/openmetrics-text"};
    double weights[] = {0, 0};

    for (const char *range = accept; range && *range;) {
        size_t size;

        range += strspn(range, ", \t");
        size = strcspn(range, ",");
        for (size_t i = 0; i < 2; i++) {
            size_t length = strlen(names[i]);

            if (size >= length && strncasecmp(range, names[i], length) == 0 &&
                (size == length || strchr("; \t", range[length])))
                weights[i] = fmax(weights[i], weight_of(range + length, size - length));
        }
        range += size;
    }
    return weights[METRICS_OPENMETRICS] > 0 && weights[METRICS_OPENMETRICS] >= weights[METRICS_TEXT]
               ? METRICS_OPENMETRICS
               : METRICS_TEXT;
}

void metrics_write(struct supervisor *supervisor, struct replays *replays,
                   enum metrics_format format, struct buffer *buffer)
{
    const struct page page = {buffer, format};
    struct scrape scrape = {.samples = memory_zero(16, sizeof *scrape.samples),
                            .room = 16,
                            .now_us = clock_now(),
                            .wall_us = clock_wall()};

    scrape.lanes = memory_zero(LANE_SLOTS_MOST + 1, sizeof *scrape.lanes);
    buffer_init(&scrape.lags, HTTP_SERVER_ANSWER);
    buffer_init(&scrape.ages, HTTP_SERVER_ANSWER);
    supervisor_recorder_stats(supervisor, &scrape.stores);
    supervisor_look(supervisor, take_sample, &scrape);
    assert(scrape.samples); /* for the analyser, which does not see that it only grows */
    write_numbers(&scrape, &page);
    write_states(&scrape, &page);
    write_histograms(&scrape, &page);
    write_lanes(&scrape, &page);
    write_memory(supervisor, &page);
    write_stores(&scrape.stores, &page);
    write_replays(replays, &page);
    write_traces(supervisor, &page);
    write_head(&page, "sluice_build_info", "gauge", "1; the version, by its label.");
    buffer_format(buffer, "sluice_build_info{version=\"%s\"} 1\n", SLUICE_VERSION);
    write_process(&page);
    if (format == METRICS_OPENMETRICS)
        buffer_add_text(buffer, "# EOF\n");
    buffer_fini(&scrape.lags);
    buffer_fini(&scrape.ages);
    free(scrape.lanes);
    free(scrape.samples);
}
