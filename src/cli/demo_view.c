/* SPDX-License-Identifier: MIT */
#include "cli/demo_view.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"

#define WIDTH    78
#define BAR      44
#define BLOCK_US (100 * CLOCK_MS)
#define LINE_US  CLOCK_SECOND
#define HEIGHT   12 /* lines of the block */

/* Escape sequences are those of ECMA-48: to the first column (the terminal may have echoed a key)
 * and a number of lines up, erase to the end of line. */
#define UP          "\r\033[12A"
#define ERASE       "\033[K"
#define HIDE_CURSOR "\033[?25l"
#define SHOW_CURSOR "\033[?25h"

_Static_assert(HEIGHT == 12, "UP goes up by HEIGHT");

static bool is_wide_terminal(void)
{
    const char *kind = getenv("TERM");
    struct winsize size = {0};

    if (!isatty(STDOUT_FILENO) || !kind || !*kind || !strcmp(kind, "dumb"))
        return false;
    return !ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col > WIDTH && size.ws_row > HEIGHT;
}

void demo_view_init(struct demo_view *view, const struct demo_watch *watch, unsigned total)
{
    const char *no_colour = getenv("NO_COLOR"); /* no-color.org */

    *view = (struct demo_view){.watch = watch, .total = total, .block = is_wide_terminal()};
    view->colour = view->block && !(no_colour && *no_colour);
    if (view->block)
        fputs(HIDE_CURSOR, stdout);
}

static void put_line(const struct demo_view *view, const char *colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One line of the block, cut at WIDTH columns; `colour` is an SGR number, NULL: none. */
static void put_line(const struct demo_view *view, const char *colour, const char *format, ...)
{
    char line[512];
    va_list arguments;
    size_t columns = 0, i = 0, size, cut = 0;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    size = strlen(line);
    while (i < size) {
        size_t step = json_text_sequence((unsigned char *)line + i, (unsigned char *)line + size);

        if (!step || (step == 1 && (line[i] < ' ' || line[i] == 0x7f)))
            line[i] = '?';
        if (columns == WIDTH - 3)
            cut = i;
        i += step ? step : 1;
        columns++;
    }
    if (columns > WIDTH)
        memcpy(line + cut, "...", 4);
    if (view->colour && colour)
        printf("\033[%sm%s\033[0m" ERASE "\n", colour, line);
    else
        printf("%s" ERASE "\n", line);
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
    put_line(view, "32", "  orders    [%s] %u of %u", bar, finished, view->total);
}

static void draw_block(struct demo_view *view)
{
    const struct demo_watch *watch = view->watch;
    struct demo_function_status function;
    double seconds = (double)(clock_now() - watch->start_us) / 1e6;

    demo_function_read_status(watch->function, &function);
    if (view->drawn)
        fputs(UP, stdout);
    put_line(view, "1", "  sluice demo: Kafka topic orders -> http://127.0.0.1:%u/orders  %5.1f s",
             demo_function_port(watch->function), seconds);
    put_line(view, NULL, "%s", "");
    draw_bar(view, &function);
    put_line(view, NULL, "  function  invoked %u, of that 500: %u, 400: %u, slow: %u",
             function.invocations, function.failed, function.refused, function.slow);
    put_line(view, NULL, "  now       %s", function.now);
    put_line(view, NULL,
             "  sluice    lanes %" PRIu64 ", in flight %u of %" PRIu64 ", failures %" PRIu64
             ", retries %" PRIu64 ", waiting %" PRIu64,
             watch->lanes, function.running, watch->limit, watch->failed, watch->retried,
             watch->waiting);
    put_line(view, watch->letters ? "31" : NULL,
             "  set aside suspects %" PRIu64 ", dead letters %" PRIu64, watch->suspects,
             watch->letters);
    put_line(view, NULL, "%s", "");
    for (size_t i = 0; i < DEMO_WATCH_EVENTS; i++) {
        const struct demo_watch_event *event = &watch->events[i];

        if (event->text[0])
            put_line(view, "2", "  %5.1f s  %s", (double)event->at_us / 1e6, event->text);
        else
            put_line(view, NULL, "%s", "");
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
        fputs(SHOW_CURSOR, stdout);
    fflush(stdout);
    view->block = false;
}
