/* SPDX-License-Identifier: MIT */
#include "base/suggest.h"

#include <stddef.h>
#include <string.h>

#define LONGEST 63 /* longer words get no suggestion */

static unsigned least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Optimal string alignment: insertions, deletions, replacements and swaps of neighbours. */
static unsigned distance_between(const char *a, size_t a_size, const char *b, size_t b_size)
{
    unsigned rows[3][LONGEST + 1];
    unsigned *before = rows[0], *last = rows[1], *now = rows[2];
    size_t i, j;

    for (j = 0; j <= b_size; j++)
        last[j] = (unsigned)j;
    for (i = 1; i <= a_size; i++) {
        unsigned *spare = before;

        now[0] = (unsigned)i;
        for (j = 1; j <= b_size; j++) {
            unsigned cost = a[i - 1] != b[j - 1];

            now[j] = least(least(last[j] + 1, now[j - 1] + 1), last[j - 1] + cost);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = least(now[j], before[j - 2] + 1);
        }
        before = last;
        last = now;
        now = spare;
    }
    return last[b_size];
}

void suggest_offer(struct suggest *suggest, const char *candidate)
{
    size_t size = strlen(suggest->word), other = strlen(candidate);
    size_t shorter = size < other ? size : other;
    unsigned distance;

    if (size == 0 || size > LONGEST || other > LONGEST)
        return;
    distance = distance_between(suggest->word, size, candidate, other);
    if (distance > (size + 2) / 3) {
        if (shorter < 3 || memcmp(suggest->word, candidate, shorter) != 0)
            return;
    } else if (distance >= other) {
        return; /* nothing in common */
    }
    if (!suggest->nearest || distance < suggest->distance) {
        suggest->nearest = candidate;
        suggest->distance = distance;
    }
}
