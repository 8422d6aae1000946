/* SPDX-License-Identifier: MIT */
#include "io/token_store_filter.h"

#include <stdlib.h>

#include "base/memory.h"

#define BLOCK_WORDS   8  /* of 32 bits; one bit of each is set by a key */
#define BITS_PER_KEY  16 /* about 1 false "maybe" in 500 when full */
#define LEAST_KEYS    4096
#define SEGMENTS_MOST 16
#define GROWTH        4 /* each segment is that many times its predecessor */

struct segment {
    size_t keys, room;
    uint32_t blocks;
    _Atomic uint32_t words[];
};

struct token_store_filter {
    struct token_store_filter_budget *budget;
    size_t count;
    unsigned used; /* by the adding thread only */
    _Atomic(struct segment *) segments[SEGMENTS_MOST];
};

/* The odd constants of the Parquet specification. */
static const uint32_t salts[BLOCK_WORDS] = {0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d,
                                            0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31};

static size_t segment_bytes(size_t blocks)
{
    return sizeof(struct segment) + blocks * BLOCK_WORDS * sizeof(uint32_t);
}

static struct segment *segment_new(size_t keys, struct token_store_filter_budget *budget)
{
    size_t blocks = keys * BITS_PER_KEY / (BLOCK_WORDS * 32);
    struct segment *segment;

    if (blocks > UINT32_MAX)
        blocks = UINT32_MAX;
    if (budget->used + segment_bytes(blocks) > budget->most)
        return NULL;
    segment = memory_zero(1, segment_bytes(blocks));
    segment->room = keys;
    segment->blocks = (uint32_t)blocks;
    budget->used += segment_bytes(blocks);
    return segment;
}

static size_t block_of(const struct segment *segment, uint64_t hash)
{
    return (size_t)(((hash >> 32) * segment->blocks) >> 32) * BLOCK_WORDS;
}

struct token_store_filter *token_store_filter_new(size_t expected,
                                                  struct token_store_filter_budget *budget)
{
    struct token_store_filter *filter = memory_zero(1, sizeof *filter);
    struct segment *segment;

    if (expected < LEAST_KEYS)
        expected = LEAST_KEYS;
    segment = segment_new(expected, budget);
    if (!segment) {
        /* One small segment is always granted: a filter without any would have to say no. */
        struct token_store_filter_budget beyond = {0, SIZE_MAX};

        segment = segment_new(LEAST_KEYS, &beyond);
        budget->used += beyond.used;
    }
    filter->budget = budget;
    filter->used = 1;
    atomic_init(&filter->segments[0], segment);
    return filter;
}

void token_store_filter_free(struct token_store_filter *filter)
{
    if (!filter)
        return;
    for (unsigned i = 0; i < filter->used; i++) {
        struct segment *segment = atomic_load(&filter->segments[i]);

        filter->budget->used -= segment_bytes(segment->blocks);
        free(segment);
    }
    free(filter);
}

static bool segment_maybe(struct segment *segment, uint64_t hash)
{
    _Atomic uint32_t *words = segment->words + block_of(segment, hash);

    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        uint32_t bit = UINT32_C(1) << (((uint32_t)hash * salts[i]) >> 27);

        if (!(atomic_load_explicit(&words[i], memory_order_relaxed) & bit))
            return false;
    }
    return true;
}

void token_store_filter_add(struct token_store_filter *filter, uint64_t hash)
{
    struct segment *segment =
        atomic_load_explicit(&filter->segments[filter->used - 1], memory_order_relaxed);
    _Atomic uint32_t *words;

    if (segment->keys >= segment->room && filter->used < SEGMENTS_MOST) {
        struct segment *next = segment_new(segment->room * GROWTH, filter->budget);

        if (next) {
            atomic_store_explicit(&filter->segments[filter->used++], next, memory_order_release);
            segment = next;
        }
    }
    words = segment->words + block_of(segment, hash);
    for (unsigned i = 0; i < BLOCK_WORDS; i++) {
        uint32_t bit = UINT32_C(1) << (((uint32_t)hash * salts[i]) >> 27);
        uint32_t word = atomic_load_explicit(&words[i], memory_order_relaxed);

        /* One thread adds, so a plain store loses nothing. */
        if (!(word & bit))
            atomic_store_explicit(&words[i], word | bit, memory_order_relaxed);
    }
    segment->keys++;
    filter->count++;
}

bool token_store_filter_maybe(const struct token_store_filter *filter, uint64_t hash)
{
    for (unsigned i = 0; i < SEGMENTS_MOST; i++) {
        struct segment *segment = atomic_load_explicit(&filter->segments[i], memory_order_acquire);

        if (!segment)
            return false;
        if (segment_maybe(segment, hash))
            return true;
    }
    return false;
}

size_t token_store_filter_count(const struct token_store_filter *filter)
{
    return filter->count;
}
