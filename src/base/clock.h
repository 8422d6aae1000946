/* SPDX-License-Identifier: MIT
 * Time. All time inside sluice is in microseconds: `now` is monotonic, `wall` is since 1970. Rules
 * in core/ take time as an argument; only io/, service/ and cli/ read the clock. */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

#define CLOCK_MS     INT64_C(1000)
#define CLOCK_SECOND INT64_C(1000000)
#define CLOCK_MINUTE (60 * CLOCK_SECOND)
#define CLOCK_HOUR   (60 * CLOCK_MINUTE)
#define CLOCK_DAY    (24 * CLOCK_HOUR)
#define CLOCK_NEVER  INT64_MAX

static inline int64_t clock_read(clockid_t which)
{
    struct timespec time;

    clock_gettime(which, &time);
    return (int64_t)time.tv_sec * CLOCK_SECOND + time.tv_nsec / 1000;
}

static inline int64_t clock_now(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

static inline int64_t clock_wall(void)
{
    return clock_read(CLOCK_REALTIME);
}

#endif
