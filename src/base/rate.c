/* SPDX-License-Identifier: MIT */
#include "base/rate.h"

#include "base/clock.h"

#define SMOOTH_US (10 * CLOCK_SECOND)
#define LEAST     0.005 /* shown as nothing, so that it ends */

void rate_update(struct rate *rate, uint64_t count, int64_t now_us)
{
    int64_t passed_us = now_us - rate->at_us;
    double present, weight;

    if (!rate->at_us || passed_us > SMOOTH_US || count < rate->count)
        rate->per_second = 0;
    if (rate->at_us && passed_us > 0 && count >= rate->count) {
        present = (double)(count - rate->count) * CLOCK_SECOND / (double)passed_us;
        weight = passed_us > SMOOTH_US ? 1 : (double)passed_us / SMOOTH_US;
        rate->per_second += (present - rate->per_second) * weight;
    }
    if (rate->per_second < LEAST)
        rate->per_second = 0;
    rate->count = count;
    rate->at_us = now_us;
}
