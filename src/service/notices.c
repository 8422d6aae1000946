/* SPDX-License-Identifier: MIT */
#include "service/notices.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "io/notify.h"
#include "io/threads.h"
#include "service/status.h"

#define STATUS_US  (2 * CLOCK_SECOND)
#define EXTEND_US  CLOCK_SECOND
#define EXTEND_BY  (10 * CLOCK_SECOND)
#define REPORT_MAX 4096

/* What is seen over all mappings. */
struct summary {
    struct recorder_stats stores;
    int64_t now_us, stuck_after_us;
    size_t mappings, good;
    int64_t lag;
    double rate;
    bool all_begun;
    const char *trouble; /* how the first that is not good is */
    char mapping[64], reason[256];
    char stuck[64]; /* mapping with a poller that does not turn; "": none */
};

void notices_init(struct notices *notices, struct supervisor *supervisor)
{
    *notices = (struct notices){.supervisor = supervisor, .watchdog_us = notify_watchdog_us()};
}

/* ---- looking ---- */

static void add_mapping(void *argument, const struct supervisor_view *view)
{
    const struct poller_status *status = &view->status;
    struct summary *summary = argument;
    struct status_verdict how = status_judge(view, &summary->stores, summary->now_us);

    summary->mappings++;
    summary->good += how.health == STATUS_GOOD;
    summary->lag += status->lag > 0 ? status->lag : 0;
    summary->rate += status->done_rate;
    summary->all_begun &= status->begun || view->phase != SUPERVISOR_RUNNING;
    if (how.health != STATUS_GOOD && !summary->trouble) {
        summary->trouble = how.state;
        snprintf(summary->mapping, sizeof summary->mapping, "%s", view->mapping->name);
        snprintf(summary->reason, sizeof summary->reason, "%s", how.reason);
    }
    if (status->turn_us && summary->now_us - status->turn_us > summary->stuck_after_us)
        snprintf(summary->stuck, sizeof summary->stuck, "%s", view->mapping->name);
}

static struct summary look(const struct notices *notices)
{
    struct summary summary = {
        .now_us = clock_now(), .stuck_after_us = SUPERVISOR_STUCK_US, .all_begun = true};

    if (notices->watchdog_us && notices->watchdog_us / 2 < summary.stuck_after_us)
        summary.stuck_after_us = notices->watchdog_us / 2;
    if (summary.stuck_after_us < POLLER_TURN_MOST_US * 3 / 2)
        summary.stuck_after_us = POLLER_TURN_MOST_US * 3 / 2;
    supervisor_recorder_stats(notices->supervisor, &summary.stores);
    supervisor_look(notices->supervisor, add_mapping, &summary);
    return summary;
}

/* ---- telling ---- */

/* The manager reads lines: what is in a text must not look like one. */
static void flatten(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < ' ' || *text == 0x7f)
            *text = ' ';
}

static void tell_status(struct notices *notices, const struct summary *summary)
{
    char status[sizeof notices->status];
    int used;

    if (summary->now_us < notices->status_us)
        return;
    notices->status_us = summary->now_us + STATUS_US;
    used = snprintf(status, sizeof status, "%zu of %zu mappings good, %.0f messages/s, lag %" PRId64,
                    summary->good, summary->mappings, summary->rate, summary->lag);
    if (summary->trouble)
        snprintf(status + used, sizeof status - (size_t)used, "; %s: %s%s%s", summary->mapping,
                 summary->trouble, summary->reason[0] ? ", " : "", summary->reason);
    flatten(status);
    if (!strcmp(status, notices->status))
        return;
    memcpy(notices->status, status, sizeof status);
    notify_send("STATUS=%s", status);
}

/* The first time it is not fed: the restart that follows must not be a riddle. */
static void tell_starved(const char *stuck)
{
    struct buffer threads;

    buffer_init(&threads, REPORT_MAX);
    threads_describe(&threads);
    log_event(LOG_ERROR, "watchdog_starved", LOG_TEXT("stuck", stuck),
              LOG_TEXT("threads", buffer_text(&threads)),
              LOG_TEXT("effect", "the service manager restarts the service if this goes on"));
    buffer_fini(&threads);
}

static void feed(struct notices *notices, const struct summary *summary)
{
    bool recorder_stuck = summary->stores.turn_us &&
                          summary->now_us - summary->stores.turn_us > summary->stuck_after_us;
    bool starved = recorder_stuck || summary->stuck[0];

    if (!notices->watchdog_us)
        return;
    if (starved && !notices->starved)
        tell_starved(recorder_stuck ? "the recorder" : summary->stuck);
    else if (!starved && notices->starved)
        log_event(LOG_INFO, "watchdog_fed_again", LOG_TEXT("text", "every thread turns again"));
    notices->starved = starved;
    if (starved || summary->now_us < notices->feed_us)
        return;
    notices->feed_us = summary->now_us + notices->watchdog_us / 4;
    notify_send("WATCHDOG=1");
}

/* To look at all mappings costs more than all else that the main thread does. */
static bool is_due(const struct notices *notices)
{
    int64_t now_us = clock_now();

    return !notices->ready || now_us >= notices->status_us ||
           (notices->watchdog_us && now_us >= notices->feed_us) ||
           (now_us < notices->stop_until_us && now_us >= notices->extend_us);
}

void notices_tick(struct notices *notices)
{
    struct summary summary;

    if (!is_due(notices))
        return;
    summary = look(notices);
    if (!notices->ready && summary.all_begun) {
        notices->ready = true;
        notify_send("READY=1");
    }
    tell_status(notices, &summary);
    feed(notices, &summary);
    if (summary.now_us < notices->stop_until_us && summary.now_us >= notices->extend_us) {
        notices->extend_us = summary.now_us + EXTEND_US;
        notify_send("EXTEND_TIMEOUT_USEC=%" PRId64, EXTEND_BY);
    }
}

void notices_reloading(const struct notices *notices)
{
    if (notices->ready)
        notify_send("RELOADING=1\nMONOTONIC_USEC=%" PRId64, clock_now());
}

void notices_reloaded(const struct notices *notices)
{
    if (notices->ready)
        notify_send("READY=1");
}

void notices_stopping(struct notices *notices, int64_t most_us)
{
    notices->stop_until_us = clock_now() + most_us + EXTEND_BY;
    notify_send("STOPPING=1\nEXTEND_TIMEOUT_USEC=%" PRId64, EXTEND_BY);
}
