/* SPDX-License-Identifier: MIT */
#include "cli/screen.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json_text.h"

#define LINE_MOST 2048

void screen_look(struct screen *screen)
{
    const char *kind = getenv("TERM"), *no_colour = getenv("NO_COLOR"); /* no-color.org */
    struct winsize size = {0};

    *screen = (struct screen){.width = UINT_MAX, .height = UINT_MAX};
    if (!isatty(STDOUT_FILENO) || !kind || !*kind || !strcmp(kind, "dumb"))
        return;
    screen->terminal = true;
    screen->colour = !(no_colour && *no_colour);
    screen->width = 80;
    screen->height = 24;
    if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) && size.ws_col && size.ws_row) {
        screen->width = size.ws_col;
        screen->height = size.ws_row;
    }
}

/* Whether a terminal shows the sequence as one sign: not C0, DEL or C1 (U+0080 to U+009F). */
static bool is_harmless(const char *at, size_t size)
{
    const unsigned char *bytes = (const unsigned char *)at;

    if (size == 1)
        return *bytes >= ' ' && *bytes != 0x7f;
    return size > 1 && !(bytes[0] == 0xc2 && bytes[1] < 0xa0);
}

/* Writes what is harmless of `line`, at most `width` columns of it; UTF-8 signs count as one. */
static void write_harmless(const char *line, unsigned width)
{
    const char *end = line + strlen(line);

    for (unsigned columns = 0; line < end && columns < width; columns++) {
        size_t size = json_text_sequence((const unsigned char *)line, (const unsigned char *)end);

        if (is_harmless(line, size))
            fwrite(line, 1, size, stdout);
        else
            putchar('?');
        line += size ? size : 1;
    }
}

void screen_line(const struct screen *screen, const char *colour, const char *format, ...)
{
    char line[LINE_MOST];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (screen->colour && colour)
        printf("\033[%sm", colour);
    write_harmless(line, screen->width);
    if (screen->colour && colour)
        fputs("\033[0m", stdout);
    fputs(screen->terminal ? "\033[K\n" : "\n", stdout);
}

static void send(const struct screen *screen, const char *sequence)
{
    if (!screen->terminal)
        return;
    fputs(sequence, stdout);
    fflush(stdout);
}

void screen_hide_cursor(const struct screen *screen)
{
    send(screen, "\033[?25l");
}

void screen_show_cursor(const struct screen *screen)
{
    send(screen, "\033[?25h");
}

void screen_enter_page(const struct screen *screen)
{
    send(screen, "\033[?1049h\033[?25l\033[2J\033[H");
}

void screen_leave_page(const struct screen *screen)
{
    send(screen, "\033[0m\033[?25h\033[?1049l");
}

void screen_home(const struct screen *screen)
{
    send(screen, "\033[H");
}

void screen_erase_below(const struct screen *screen)
{
    send(screen, "\033[J");
}

const char *screen_span(int64_t us, char ret_text[SCREEN_SPAN])
{
    static const struct {
        int64_t below, unit;
        char letter;
    } spans[] = {{2 * CLOCK_MINUTE, CLOCK_SECOND, 's'},
                 {2 * CLOCK_HOUR, CLOCK_MINUTE, 'm'},
                 {2 * CLOCK_DAY, CLOCK_HOUR, 'h'},
                 {INT64_MAX, CLOCK_DAY, 'd'}};
    size_t i = 0;

    if (us < 0)
        return "-";
    while (us >= spans[i].below)
        i++;
    snprintf(ret_text, SCREEN_SPAN, "%" PRId64 "%c", us / spans[i].unit, spans[i].letter);
    return ret_text;
}
