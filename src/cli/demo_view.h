/* SPDX-License-Identifier: MIT
 * The live view of `sluice demo`: on a terminal a block that is drawn again in its place, elsewhere
 * a line a second. Main thread only. */
#ifndef CLI_DEMO_VIEW_H
#define CLI_DEMO_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/demo_watch.h"
#include "cli/screen.h"

struct demo_view {
    const struct demo_watch *watch;
    unsigned total; /* orders */
    struct screen screen;
    bool block; /* in place */
    bool drawn;
    int64_t next_us;
};

void demo_view_init(struct demo_view *view, const struct demo_watch *watch, unsigned total);
/* Draws if it is time for that, or if `now`. */
void demo_view_draw(struct demo_view *view, bool now);
/* Leaves the block as it is and gives the cursor back. */
void demo_view_end(struct demo_view *view);

#endif
