/* SPDX-License-Identifier: MIT */
#include "cli/demo_view.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define WIDTH    78
#define BAR      44
#define BLOCK_US (100 * CLOCK_MS)
#define LINE_US  CLOCK_SECOND
#define HEIGHT   12 /* lines of the block */

/* ECMA-48: to the first column (the terminal may have echoed a key) and a number of lines up. */
#define UP "\r\033[12A"

_Static_assert(HEIGHT == 12, "UP goes up by HEIGHT");

void demo_view_init(struct demo_view *view, const struct demo_watch *watch, unsigned total)
{
    *view = (struct demo_view){.watch = watch, .total = total};
    screen_look(&view->screen);
    view->block =
        view->screen.terminal && view->screen.width > WIDTH && view->screen.height > HEIGHT;
    view->screen.width = WIDTH;
    if (view->block)
        screen_hide_cursor(&view->screen);
}

static void draw_bar(const struct demo_view *view, const struct demo_function_status *function)
{
    const struct demo_watch *watch = view->watch;
    unsigned finished = function->done + (unsigned)watch->letters;
    unsigned full = finished >= view->total ? BAR : finished * BAR / view->total;
    char bar[BAR + 1];

    memset(bar, '#', full);
    memset(bar + full, '.', BAR - full);
    bar[BAR] = '\0';
    screen_line(&view->screen, SCREEN_GREEN, "  orders    [%s] %u of %u", bar, finished, view->total);
}

static void draw_block(struct demo_view *view)
{
    const struct demo_watch *watch = view->watch;
    struct demo_function_status function;
    double seconds = (double)(clock_now() - watch->start_us) / 1e6;

    demo_function_read_status(watch->function, &function);
    if (view->drawn)
        fputs(UP, stdout);
    screen_line(&view->screen, SCREEN_BOLD,
                "  sluice demo: Kafka topic orders -> http://127.0.0.1:%u/orders  %5.1f s",
                demo_function_port(watch->function), seconds);
    screen_line(&view->screen, NULL, "%s", "");
    draw_bar(view, &function);
    screen_line(&view->screen, NULL, "  function  invoked %u, of that 500: %u, 400: %u, slow: %u",
             function.invocations, function.failed, function.refused, function.slow);
    screen_line(&view->screen, NULL, "  now       %s", function.now);
    screen_line(&view->screen, NULL,
             "  sluice    lanes %" PRIu64 ", in flight %u of %" PRIu64 ", failures %" PRIu64
             ", retries %" PRIu64 ", waiting %" PRIu64,
             watch->lanes, function.running, watch->limit, watch->failed, watch->retried,
             watch->waiting);
    screen_line(&view->screen, watch->letters ? SCREEN_RED : NULL,
             "  set aside suspects %" PRIu64 ", dead letters %" PRIu64, watch->suspects,
             watch->letters);
    screen_line(&view->screen, NULL, "%s", "");
    for (size_t i = 0; i < DEMO_WATCH_EVENTS; i++) {
        const struct demo_watch_event *event = &watch->events[i];

        if (event->text[0])
            screen_line(&view->screen, SCREEN_DIM, "  %5.1f s  %s", (double)event->at_us / 1e6, event->text);
        else
            screen_line(&view->screen, NULL, "%s", "");
    }
    view->drawn = true;
}

static void draw_line(const struct demo_view *view)
{
    const struct demo_watch *watch = view->watch;
    struct demo_function_status function;

    demo_function_read_status(watch->function, &function);
    printf("%5.1f s  %u of %u orders done, %" PRIu64 " dead letters, %u invocations (500: %u, 400: "
           "%u), %" PRIu64 " retries waiting, %" PRIu64 " suspects\n",
           (double)(clock_now() - watch->start_us) / 1e6, function.done, view->total,
           watch->letters, function.invocations, function.failed, function.refused, watch->waiting,
           watch->suspects);
}

void demo_view_draw(struct demo_view *view, bool now)
{
    int64_t now_us = clock_now();

    if (!now && now_us < view->next_us)
        return;
    view->next_us = now_us + (view->block ? BLOCK_US : LINE_US);
    if (view->block)
        draw_block(view);
    else
        draw_line(view);
    fflush(stdout);
}

void demo_view_end(struct demo_view *view)
{
    if (view->block)
        screen_show_cursor(&view->screen);
    fflush(stdout);
    view->block = false;
}
