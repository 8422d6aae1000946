/* SPDX-License-Identifier: MIT
 * A poller's event loop over epoll: descriptors and timers, one thread. */
#ifndef IO_LOOP_H
#define IO_LOOP_H

#include <stdint.h>

#include "base/fault.h"

struct loop;

/* Called with the EPOLL* bits that are ready. May add, change or remove any watch or timer,
 * also its own. */
typedef void (*loop_fd_fn)(void *argument, uint32_t events);
typedef void (*loop_timer_fn)(void *argument);

/* A timer is the owner's memory, zeroed before first use. */
struct loop_timer {
    loop_timer_fn expired;
    void *argument;
    int64_t at_us; /* monotonic; kept by loop_set_timer */
    uint32_t slot; /* the loop's own; 0: not set */
};

struct loop *loop_new(struct fault *fault); /* NULL with a fault */
void loop_free(struct loop *loop);          /* NULL is fine */

/* Watches, changes or (events 0) stops watching a descriptor; level-triggered. 0 or -1 with errno. */
int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn ready, void *argument);
/* Stops watching; a descriptor that is not watched is fine. Call before close(fd). */
void loop_unwatch(struct loop *loop, int fd);

/* Sets (again) or clears a timer. CLOCK_NEVER clears. */
void loop_set_timer(struct loop *loop, struct loop_timer *timer, int64_t at_us);

/* Time at which the present turn began. Cheap. */
int64_t loop_now(const struct loop *loop);

/* Waits for the next event or timer, at most until `until_us`, and runs what is due. */
void loop_turn(struct loop *loop, int64_t until_us);

#endif
