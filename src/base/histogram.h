/* SPDX-License-Identifier: MIT
 * How often values fell between given bounds, as Prometheus counts: each bucket up to its bound. */
#ifndef BASE_HISTOGRAM_H
#define BASE_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BOUNDS 15

/* Ascending bounds; the same for all histograms that are added up. */
struct histogram_scale {
    size_t count; /* at most HISTOGRAM_BOUNDS */
    double bounds[HISTOGRAM_BOUNDS];
};

struct histogram {
    uint64_t buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulative; the last: beyond all bounds */
    double sum;
};

/* Returns the bucket that it fell into. */
static inline size_t histogram_add(struct histogram *histogram, const struct histogram_scale *scale,
                                   double value)
{
    size_t i = 0;

    while (i < scale->count && value > scale->bounds[i])
        i++;
    histogram->buckets[i]++;
    histogram->sum += value;
    return i;
}

static inline void histogram_join(struct histogram *sum, const struct histogram *more)
{
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        sum->buckets[i] += more->buckets[i];
    sum->sum += more->sum;
}

#endif
