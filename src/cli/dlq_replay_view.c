/* SPDX-License-Identifier: MIT */
#include "cli/dlq_replay.h"

#include <limits.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/clock.h"

#define REDRAW_US (200 * CLOCK_MS)
#define AGAIN_US  (10 * CLOCK_SECOND)

static struct replay_status sum(const struct replay_status *one, const struct replay_status *other)
{
    struct replay_status status = *other;

    status.done += one->done;
    status.already += one->already;
    status.died += one->died;
    status.gone += one->gone;
    status.changed += one->changed;
    return status;
}

static uint64_t finished(const struct replay_status *status)
{
    return status->done + status->already + status->died + status->gone;
}

/* Texts of targets and stores, of which a terminal gets printable ASCII only; at most so many characters. */
static void print_plain(const char *text, unsigned most)
{
    for (; *text && most--; text++)
        fputc(*text >= 0x20 && *text < 0x7f ? *text : '?', stderr);
}

void dlq_replay_progress(struct dlq_replay_view *view, const struct replay_status *status)
{
    bool terminal = isatty(STDERR_FILENO);
    struct replay_status all = sum(&view->before, status);
    char done[DLQ_TIME], total[DLQ_TIME], died[DLQ_TIME];
    int64_t now = clock_now();
    int used;

    if (view->json || now - view->shown_us < (terminal ? REDRAW_US : AGAIN_US))
        return;
    /* Short replays elsewhere need no progress. */
    if (!terminal && !view->shown_us) {
        view->shown_us = now;
        return;
    }
    view->shown_us = now;
    fputs(terminal ? "\r\033[K" : "", stderr);
    used = fprintf(stderr, "%s of %s %s, %s %s%s", dlq_number(finished(&all), done),
                   dlq_number(view->total, total), view->to_source ? "published" : "tried",
                   dlq_number(all.died, died), view->to_source ? "refused" : "died again",
                   status->down ? "; waiting: " : "");
    /* A line that wraps could not be drawn anew. */
    if (status->down && terminal)
        print_plain(status->text, view->screen.width > (unsigned)used + 1
                                      ? view->screen.width - (unsigned)used - 1 : 0);
    else if (status->down)
        print_plain(status->text, UINT_MAX);
    if (!terminal)
        fputc('\n', stderr);
    view->shown_width = terminal;
}

static void end_progress(struct dlq_replay_view *view)
{
    if (view->shown_width)
        fputs("\r\033[K", stderr);
    view->shown_width = 0;
}

void dlq_replay_first(struct dlq_replay_view *view, const char *id,
                      const struct replay_status *status)
{
    end_progress(view);
    if (view->json)
        return;
    printf("%s %s.\n", id,
           status->done      ? view->to_source ? "is published" : "is done"
           : status->already ? "was done before: its token is recorded"
           : status->died    ? view->to_source ? "is refused by its topic or queue (too large)"
                                               : "died again (`sluice dlq show` tells why)"
                             : "is gone: somebody removed it");
}

static void tell_people(const struct dlq_replay_view *view, const struct replay_status *status,
                        uint64_t left)
{
    const char *goes_on = view->attached ? "begin the replay again to go on" : "the same command goes on";
    char number[DLQ_TIME];

    printf("%s %s", dlq_number(status->done, number),
           view->to_source ? "published back" : "replayed");
    if (status->already)
        printf(", %s done before (their tokens were recorded)",
               dlq_number(status->already, number));
    if (status->died && view->to_source)
        printf(", %s refused by their topics or queues (too large) and kept",
               dlq_number(status->died, number));
    else if (status->died)
        printf(", %s died again (`sluice dlq ls --replayed`)", dlq_number(status->died, number));
    if (status->gone)
        printf(", %s removed by somebody meanwhile", dlq_number(status->gone, number));
    if (status->changed)
        printf(", %s edited meanwhile and kept", dlq_number(status->changed, number));
    if (left)
        printf(", %s left", dlq_number(left, number));
    puts(".");
    fflush(stdout);
    if (view->end && strcmp(view->end, "failures") == 0)
        fprintf(stderr, "Stopped, as %s.\n", view->why[0] ? view->why : "too many died again");
    else if (view->end && strcmp(view->end, "interrupted") == 0)
        fprintf(stderr, "Interrupted; %s with what is left.\n", goes_on);
    else if (view->end && strcmp(view->end, "stopped_there") == 0)
        fprintf(stderr, "It was stopped by somebody else or with the service; %s\nwith what is left.\n",
                goes_on);
    else if (view->end) {
        fputs("Stopped, as this did not get better: ", stderr);
        print_plain(view->why, UINT_MAX);
        fputc('\n', stderr);
    }
}

int dlq_replay_tell(struct dlq_replay_view *view, const struct replay_status *status)
{
    struct replay_status all = sum(&view->before, status);
    uint64_t left = view->total > finished(&all) ? view->total - finished(&all) : 0;

    end_progress(view);
    if (view->json)
        dlq_json_print(json_pack(
            "{s:s, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:s?}", "action", "replay",
            "dry_run", 0, "through", view->through_service ? "service" : "command", "selected", (json_int_t)view->total, "done", (json_int_t)all.done, "already",
            (json_int_t)all.already, "died", (json_int_t)all.died, "gone", (json_int_t)all.gone,
            "changed", (json_int_t)all.changed, "left", (json_int_t)left, "stopped", view->end));
    else
        tell_people(view, &all, left);
    if (view->end && strcmp(view->end, "unavailable") == 0)
        return EX_UNAVAILABLE;
    if (view->end && (strcmp(view->end, "interrupted") == 0 ||
                      strcmp(view->end, "stopped_there") == 0))
        return EX_TEMPFAIL;
    return all.died || left || all.changed ? DLQ_EXIT_SOME : EX_OK;
}
