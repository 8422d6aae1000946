/* SPDX-License-Identifier: MIT
 * How long to wait before the next try. */
#ifndef CORE_RETRY_H
#define CORE_RETRY_H

#include <stdint.h>

#include "core/random.h"

/* Exponential back-off with full jitter: evenly from 0..min(most, first * 2^(failures-1)), but not
 * less than `floor_us` (Retry-After). `failures` >= 1. Microseconds. */
int64_t retry_delay(int64_t first_us, int64_t most_us, uint32_t failures, int64_t floor_us,
                    struct random *random);

/* The same without jitter: the interval between probes, growing by 2 from first to most. */
int64_t retry_interval(int64_t first_us, int64_t most_us, uint32_t failures);

#endif
