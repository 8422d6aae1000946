/* SPDX-License-Identifier: MIT
 * What is finished of a lane beyond what the source knows: the positional tokens' durable record.
 *
 * A record says: the source had settled everything before `base`, and the positions in `ranges`
 * (sorted, disjoint, inclusive) are finished as well. After a crash the source delivers again from
 * some point at or after `base`; what lies in a range is a duplicate. A source that starts before
 * `base` was rewound on purpose (or its lane was made anew), and the record is void. */
#ifndef CORE_POSITIONS_H
#define CORE_POSITIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buffer.h"

struct position_range {
    uint64_t first, last;
};

struct positions {
    uint64_t base;
    struct position_range *ranges; /* owned */
    size_t count, room;
    bool full; /* at the cap: whatever comes later is left out */
};

void positions_fini(struct positions *positions);
/* Appends a position above all that are there; joins it to the last range if `adjacent` (nothing
 * unfinished was delivered in between). From the cap on nothing is taken. */
void positions_append(struct positions *positions, uint64_t position, bool adjacent);
/* The first position that may be unfinished. */
uint64_t positions_end(const struct positions *positions);
bool positions_contain(const struct positions *positions, uint64_t position);

/* Version byte, then base, count and ranges as little-endian 64-bit numbers. */
void positions_write(const struct positions *positions, struct buffer *buffer);
/* 0; -1 where the bytes are no such record (then *positions is empty). */
int positions_read(struct positions *positions, const void *data, size_t size);

#define POSITIONS_RANGES_MOST 65536
#define POSITIONS_BYTES_MOST  (17 + 16 * POSITIONS_RANGES_MOST)

#endif
