/* SPDX-License-Identifier: MIT
 * Splitting batches, and the heap of those that wait. */
#include "core/batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/random.h"

static void split_halves_in_order(void **state)
{
    for (size_t count = 2; count <= 9; count++) {
        struct message messages[9] = {0};
        struct batch *batch = batch_new(), *second;
        uint64_t entry = 0;

        for (size_t i = 0; i < count; i++) {
            messages[i].entry = i;
            messages[i].bytes = i + 1;
            message_list_append(&batch->messages, &messages[i]);
        }
        second = batch_split(batch);
        assert_int_equal(batch->messages.count, (count + 1) / 2);
        assert_int_equal(second->messages.count, count / 2);
        assert_int_equal(batch->messages.bytes + second->messages.bytes, count * (count + 1) / 2);
        for (struct message *m = batch->messages.first; m; m = m->next)
            assert_int_equal(m->entry, entry++);
        for (struct message *m = second->messages.first; m; m = m->next)
            assert_int_equal(m->entry, entry++);
        assert_int_equal(entry, count);
        assert_null(batch->then);
        assert_null(second->then);
        batch_free(batch);
        batch_free(second);
    }
}

static void heap_gives_by_due_time(void **state)
{
    struct batch batches[200] = {0};
    struct batch_heap heap = {0};
    struct random random = {11};
    bool inside[200] = {false};

    assert_null(batch_heap_first(&heap));
    for (int step = 0; step < 20000; step++) {
        size_t i = (size_t)random_up_to(&random, 199);
        int64_t earliest = INT64_MAX;

        if (inside[i])
            batch_heap_remove(&heap, &batches[i]);
        else
            batch_heap_add(&heap, &batches[i], random_up_to(&random, 50));
        inside[i] = !inside[i];
        assert_int_equal(!!batches[i].heap_slot, inside[i]);
        for (size_t j = 0; j < 200; j++)
            if (inside[j] && batches[j].due_us < earliest)
                earliest = batches[j].due_us;
        if (batch_heap_first(&heap))
            assert_int_equal(batch_heap_first(&heap)->due_us, earliest);
        else
            assert_int_equal(earliest, INT64_MAX);
    }
    batch_heap_fini(&heap);
}

static void messages_are_inserted_by_entry(void **state)
{
    static const uint64_t orders[][4] = {{0, 1, 2, 3}, {3, 2, 1, 0}, {2, 0, 3, 1}, {1, 3, 0, 2}};

    for (size_t i = 0; i < sizeof orders / sizeof orders[0]; i++) {
        struct message messages[4] = {0};
        struct message_list list = {0};

        for (size_t j = 0; j < 4; j++) {
            messages[j].entry = orders[i][j];
            messages[j].bytes = 10;
            message_list_insert(&list, &messages[j]);
        }
        assert_int_equal(list.count, 4);
        assert_int_equal(list.bytes, 40);
        assert_int_equal(list.last->entry, 3);
        assert_null(list.last->next);
        for (uint64_t entry = 0; entry < 4; entry++)
            assert_int_equal(message_list_take(&list)->entry, entry);
        assert_null(list.last);
        assert_int_equal(list.bytes, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(split_halves_in_order),
        cmocka_unit_test(heap_gives_by_due_time),
        cmocka_unit_test(messages_are_inserted_by_entry),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
