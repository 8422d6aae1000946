/* SPDX-License-Identifier: MIT
 * Lines for people on a terminal or in a file: cut, neutralised, coloured where that is wanted. */
#ifndef CLI_SCREEN_H
#define CLI_SCREEN_H

#include <stdbool.h>
#include <stdint.h>

#define SCREEN_BOLD   "1"
#define SCREEN_DIM    "2"
#define SCREEN_RED    "31"
#define SCREEN_GREEN  "32"
#define SCREEN_YELLOW "33"

struct screen {
    bool terminal; /* standard output is one that obeys escape sequences */
    bool colour;   /* as above, and $NO_COLOR is not set */
    unsigned width, height;
};

/* What standard output is now; to be looked at again when its size may have changed. Elsewhere than on
 * a terminal width is large, so that nothing is cut. */
void screen_look(struct screen *screen);

/* Prints a line, cut at the width; what a terminal could take for an order (control characters, bytes
 * that are no UTF-8) becomes `?`. On a terminal the rest of the line is erased. `colour`: NULL or one
 * of the above. */
void screen_line(const struct screen *screen, const char *colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Escape sequences of ECMA-48 and xterm; flushed. Nothing where it is no terminal. */
void screen_hide_cursor(const struct screen *screen);
void screen_show_cursor(const struct screen *screen);
/* A page of its own, and back to what was there before. */
void screen_enter_page(const struct screen *screen);
void screen_leave_page(const struct screen *screen);
/* To the first line of the page; erases what is below the last line printed. */
void screen_home(const struct screen *screen);
void screen_erase_below(const struct screen *screen);

#define SCREEN_SPAN 24
/* `3s`, `12m`, `5h`, `3d`; `-` for negative times. */
const char *screen_span(int64_t us, char ret_text[SCREEN_SPAN]);

#endif
