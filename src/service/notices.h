/* SPDX-License-Identifier: MIT
 * What the service manager (systemd) is told: that the service is ready, how it is, that its threads
 * make progress, that it reloads or stops. Main thread. */
#ifndef SERVICE_NOTICES_H
#define SERVICE_NOTICES_H

#include <stdbool.h>
#include <stdint.h>

#include "service/supervisor.h"

struct notices {
    struct supervisor *supervisor;
    int64_t watchdog_us; /* 0: not watched */
    int64_t feed_us, status_us, extend_us; /* when next */
    int64_t stop_until_us; /* how long to ask for more time to stop; 0: not stopping */
    bool ready;
    bool starved; /* a thread is stuck: the watchdog is not fed */
    char status[512];
};

void notices_init(struct notices *notices, struct supervisor *supervisor);

/* To be called a few times a second. READY goes out once every poller has begun; the watchdog is fed
 * only while every poller and the recorder make progress, and the log says which does not. */
void notices_tick(struct notices *notices);

/* Around a reload. */
void notices_reloading(const struct notices *notices);
void notices_reloaded(const struct notices *notices);

/* The service stops, within `most_us`. */
void notices_stopping(struct notices *notices, int64_t most_us);

#endif
