/* SPDX-License-Identifier: MIT */
#include "core/positions.h"

#include <endian.h>
#include <stdlib.h>

#include "base/memory.h"

#define POSITIONS_VERSION 1

void positions_fini(struct positions *positions)
{
    free(positions->ranges);
    *positions = (struct positions){0};
}

void positions_append(struct positions *positions, uint64_t position, bool adjacent)
{
    /* Past the cap the rest is not recorded: after a crash it is invoked again, never lost. Nor may
       it be joined to the last range, which would take in what is unfinished in between. */
    if (positions->full)
        return;
    if (adjacent && positions->count) {
        positions->ranges[positions->count - 1].last = position;
        return;
    }
    if (positions->count == POSITIONS_RANGES_MOST) {
        positions->full = true;
        return;
    }
    if (positions->count == positions->room) {
        positions->room = positions->room ? positions->room * 2 : 8;
        positions->ranges =
            memory_resize(positions->ranges, positions->room, sizeof *positions->ranges);
    }
    positions->ranges[positions->count++] = (struct position_range){position, position};
}

uint64_t positions_end(const struct positions *positions)
{
    uint64_t end = positions->base;

    for (size_t i = 0; i < positions->count && positions->ranges[i].first <= end; i++)
        if (positions->ranges[i].last >= end)
            end = positions->ranges[i].last + 1;
    return end;
}

bool positions_contain(const struct positions *positions, uint64_t position)
{
    size_t low = 0, high = positions->count;

    while (low < high) {
        size_t middle = (low + high) / 2;

        if (positions->ranges[middle].last < position)
            low = middle + 1;
        else
            high = middle;
    }
    return low < positions->count && positions->ranges[low].first <= position;
}

static void write_number(struct buffer *buffer, uint64_t number)
{
    number = htole64(number);
    buffer_add(buffer, &number, sizeof number);
}

static uint64_t read_number(const unsigned char *at)
{
    uint64_t number;

    memcpy(&number, at, sizeof number);
    return le64toh(number);
}

void positions_write(const struct positions *positions, struct buffer *buffer)
{
    buffer_add(buffer, &(char){POSITIONS_VERSION}, 1);
    write_number(buffer, positions->base);
    write_number(buffer, positions->count);
    for (size_t i = 0; i < positions->count; i++) {
        write_number(buffer, positions->ranges[i].first);
        write_number(buffer, positions->ranges[i].last);
    }
}

int positions_read(struct positions *positions, const void *data, size_t size)
{
    const unsigned char *at = data;
    uint64_t count;

    *positions = (struct positions){0};
    if (size < 17 || at[0] != POSITIONS_VERSION)
        return -1;
    count = read_number(at + 9);
    if (count > POSITIONS_RANGES_MOST || size != 17 + 16 * count)
        return -1;
    positions->base = read_number(at + 1);
    positions->ranges = memory_zero(count, sizeof *positions->ranges);
    positions->count = positions->room = count;
    for (size_t i = 0; i < count; i++) {
        struct position_range *range = &positions->ranges[i];

        range->first = read_number(at + 17 + 16 * i);
        range->last = read_number(at + 25 + 16 * i);
        if (range->last < range->first || (i && range->first <= range[-1].last)) {
            positions_fini(positions);
            return -1;
        }
    }
    return 0;
}
