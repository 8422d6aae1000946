/* SPDX-License-Identifier: MIT
 * What `sluice demo` sees of the running sluice, the way an operator would: its log and its
 * metrics. Main thread only. */
#ifndef CLI_DEMO_WATCH_H
#define CLI_DEMO_WATCH_H

#include <stdint.h>

#include "io/demo_function.h"

#define DEMO_WATCH_EVENTS 4

struct demo_watch_event {
    int64_t at_us; /* since the start */
    char text[160];
};

struct demo_watch {
    struct demo_function *function; /* to call orders by their names */
    int64_t start_us;
    unsigned port; /* of the metrics; 0: not yet known */
    /* From the metrics, about a second old at most. */
    uint64_t done, duplicates, dead, invocations, failed, retried, in_flight, limit, unfinished,
        waiting, suspects, lanes;
    uint64_t letters; /* from the log, at once */
    struct demo_watch_event events[DEMO_WATCH_EVENTS]; /* newest last */
    char trouble[512]; /* the last thing it said that is not part of the show */
};

/* Takes one line of the log. */
void demo_watch_line(struct demo_watch *watch, const char *line);
/* Reads the metrics; keeps the old ones where that fails. Blocks for half a second at most. */
void demo_watch_metrics(struct demo_watch *watch);

#endif
