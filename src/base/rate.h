/* SPDX-License-Identifier: MIT
 * How fast a counter grows, smoothed over about ten seconds. */
#ifndef BASE_RATE_H
#define BASE_RATE_H

#include <stdint.h>

struct rate {
    double per_second;
    uint64_t count; /* at the last update */
    int64_t at_us;  /* 0: none yet */
};

/* Takes note of the counter's value at a monotonic time. Zero the rate before the first. */
void rate_update(struct rate *rate, uint64_t count, int64_t now_us);

#endif
