/* SPDX-License-Identifier: MIT
 * Sets of positions and their durable form. */
#include "core/positions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void appends_and_joins(void **state)
{
    struct positions positions = {0};

    positions_append(&positions, 3, true); /* nothing to join with */
    positions_append(&positions, 9, true); /* holes in between were never delivered */
    positions_append(&positions, 20, false);
    assert_int_equal(positions.count, 2);
    assert_int_equal(positions.ranges[0].first, 3);
    assert_int_equal(positions.ranges[0].last, 9);
    assert_int_equal(positions.ranges[1].first, 20);
    positions_fini(&positions);
    assert_null(positions.ranges);
}

static void contains_by_range(void **state)
{
    static const struct {
        uint64_t position;
        bool wanted;
    } rows[] = {{0, false}, {9, false}, {10, true},  {15, true},  {20, true},        {21, false},
                {29, false}, {30, true}, {31, false}, {40, true}, {UINT64_MAX, true}};
    struct position_range ranges[] = {{10, 20}, {30, 30}, {40, UINT64_MAX}};
    struct positions positions = {.ranges = ranges, .count = 3};
    struct positions empty = {0};

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(positions_contain(&positions, rows[i].position), rows[i].wanted);
        assert_false(positions_contain(&empty, rows[i].position));
    }
}

static void ends_where_something_may_be_unfinished(void **state)
{
    struct position_range ranges[] = {{5, 9}, {10, 20}, {22, 30}};
    struct positions positions = {.base = 7, .ranges = ranges, .count = 3};
    struct positions none = {.base = 7};

    assert_int_equal(positions_end(&none), 7);
    assert_int_equal(positions_end(&positions), 21);
    positions.base = 4; /* 4 is not known to be finished */
    assert_int_equal(positions_end(&positions), 4);
    positions.base = 25; /* the source knows more */
    assert_int_equal(positions_end(&positions), 31);
    positions.base = 40;
    assert_int_equal(positions_end(&positions), 40);
}

static void survives_writing_and_reading(void **state)
{
    struct positions written = {.base = UINT64_C(0x0102030405060708)}, read;
    struct buffer buffer;

    buffer_init(&buffer, POSITIONS_BYTES_MOST);
    for (uint64_t i = 0; i < 100; i++)
        positions_append(&written, i * 10, i % 3 == 0);
    positions_write(&written, &buffer);
    assert_int_equal(buffer.size, 17 + 16 * written.count);
    assert_int_equal((unsigned char)buffer.data[1], 8); /* little-endian */
    assert_int_equal(positions_read(&read, buffer.data, buffer.size), 0);
    assert_int_equal(read.base, written.base);
    assert_int_equal(read.count, written.count);
    assert_memory_equal(read.ranges, written.ranges, read.count * sizeof *read.ranges);
    positions_fini(&read);
    positions_fini(&written);
    buffer_fini(&buffer);
}

static void refuses_what_is_no_record(void **state)
{
    struct position_range good[] = {{1, 5}, {7, 9}}, reversed[] = {{5, 1}},
                          touching[] = {{1, 5}, {5, 9}}, unsorted[] = {{7, 9}, {1, 5}};
    const struct {
        struct position_range *ranges;
        size_t count;
        int wanted;
    } rows[] = {{good, 2, 0}, {NULL, 0, 0}, {reversed, 1, -1}, {touching, 2, -1}, {unsorted, 2, -1}};
    struct positions read;
    struct buffer buffer;

    buffer_init(&buffer, POSITIONS_BYTES_MOST);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct positions positions = {.ranges = rows[i].ranges, .count = rows[i].count};

        buffer_reset(&buffer);
        positions_write(&positions, &buffer);
        assert_int_equal(positions_read(&read, buffer.data, buffer.size), rows[i].wanted);
        assert_int_equal(read.count, rows[i].wanted ? 0 : rows[i].count);
        positions_fini(&read);
        for (size_t size = 0; size < buffer.size; size++)
            assert_int_equal(positions_read(&read, buffer.data, size), -1);
    }
    ((char *)buffer.data)[0] = 2; /* another version */
    assert_int_equal(positions_read(&read, buffer.data, buffer.size), -1);
    ((char *)buffer.data)[0] = 1;
    memset((char *)buffer.data + 9, 0xff, 8); /* a count whose product overflows */
    assert_int_equal(positions_read(&read, buffer.data, buffer.size), -1);
    buffer_fini(&buffer);
}

static void is_bounded(void **state)
{
    struct positions positions = {0};
    struct buffer buffer;

    for (uint64_t i = 0; i < POSITIONS_RANGES_MOST + 10; i++)
        positions_append(&positions, 2 * i, false);
    assert_int_equal(positions.count, POSITIONS_RANGES_MOST);
    buffer_init(&buffer, POSITIONS_BYTES_MOST);
    positions_write(&positions, &buffer);
    assert_false(buffer.full);
    buffer_fini(&buffer);
    positions_fini(&positions);
}

/* What was left out at the cap must not come back through a neighbour that joins. */
static void past_the_cap_nothing_joins(void **state)
{
    struct positions positions = {0};
    uint64_t last = 2 * (POSITIONS_RANGES_MOST - 1);

    for (uint64_t i = 0; i < POSITIONS_RANGES_MOST; i++)
        positions_append(&positions, 2 * i, false);
    positions_append(&positions, last + 100, false); /* left out */
    positions_append(&positions, last + 101, true);  /* its neighbour */
    assert_false(positions_contain(&positions, last + 50));
    positions_fini(&positions);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_and_joins),
        cmocka_unit_test(contains_by_range),
        cmocka_unit_test(ends_where_something_may_be_unfinished),
        cmocka_unit_test(survives_writing_and_reading),
        cmocka_unit_test(refuses_what_is_no_record),
        cmocka_unit_test(is_bounded),
        cmocka_unit_test(past_the_cap_nothing_joins),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
