/* SPDX-License-Identifier: MIT
 * Randomness as an argument: a small generator (xorshift64*) whose seed the caller chooses. */
#ifndef CORE_RANDOM_H
#define CORE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state; /* not 0 */
};

static inline uint64_t random_next(struct random *random)
{
    random->state ^= random->state >> 12;
    random->state ^= random->state << 25;
    random->state ^= random->state >> 27;
    return random->state * UINT64_C(2685821657736338717);
}

/* Evenly from 0..most. */
static inline int64_t random_up_to(struct random *random, int64_t most)
{
    return most <= 0 ? 0 : (int64_t)((random_next(random) >> 1) % ((uint64_t)most + 1));
}

#endif
