/* SPDX-License-Identifier: MIT */
#include "service/tap.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW (1000 * CLOCK_SECOND)

/* What a look saw. */
struct seen {
    size_t count, failed;
    uint64_t first, last;
    char lane[TAP_TEXT + 1], error[TAP_TEXT + 1];
    size_t payload, payload_size, key, token;
    bool has_payload;
};

static void see(void *argument, const struct tap_entry *entry)
{
    struct seen *seen = argument;

    if (!seen->count++)
        seen->first = entry->number;
    assert_true(!seen->last || entry->number > seen->last);
    seen->last = entry->number;
    seen->failed += entry->event.failed;
    snprintf(seen->lane, sizeof seen->lane, "%s", entry->event.lane);
    snprintf(seen->error, sizeof seen->error, "%s", entry->event.error ? entry->event.error : "");
    seen->payload = entry->event.payload.size;
    seen->has_payload = entry->event.payload.data != NULL;
    seen->payload_size = entry->payload_size;
    seen->key = entry->event.key.size;
    seen->token = entry->event.token.size;
}

static struct tap_look look(struct tap *tap, unsigned wishes, uint64_t after, int64_t now_us,
                            struct seen *ret_seen)
{
    struct tap_look result;

    *ret_seen = (struct seen){0};
    tap_look(tap, wishes, after, SIZE_MAX, now_us, see, ret_seen, &result);
    return result;
}

static void offer(struct tap *tap, bool failed, int64_t now_us)
{
    const struct tap_event event = {.outcome = failed ? "failed" : "done",
                                    .failed = failed,
                                    .lane = "t/0",
                                    .error = failed ? "boom" : NULL,
                                    .payload = {"payload", 7}};

    tap_offer(tap, &event, now_us);
}

static void nothing_is_taken_while_nobody_looks(void **state)
{
    struct tap *tap = tap_new();
    struct tap_look result;
    struct seen seen;

    offer(tap, true, NOW);
    assert_int_equal(tap_wishes(tap, NOW), 0);
    result = look(tap, TAP_ALL, UINT64_MAX, NOW, &seen);
    assert_int_equal(seen.count, 0);
    assert_int_equal(result.dropped + result.missed, 0);
    offer(tap, true, NOW);
    offer(tap, false, NOW + TAP_OPEN_US - 1);
    offer(tap, false, NOW + TAP_OPEN_US);
    result = look(tap, TAP_ALL, result.next, NOW + TAP_OPEN_US, &seen);
    assert_int_equal(seen.count, 2);
    assert_int_equal(result.next, 2);
    look(tap, TAP_ALL, result.next, NOW + TAP_OPEN_US, &seen);
    assert_int_equal(seen.count, 0);
    tap_free(tap);
}

static void from_now_on(void **state)
{
    struct tap *tap = tap_new();
    struct seen seen;

    look(tap, TAP_ALL, UINT64_MAX, NOW, &seen);
    offer(tap, false, NOW);
    look(tap, TAP_ALL, UINT64_MAX, NOW, &seen);
    assert_int_equal(seen.count, 0);
    tap_free(tap);
}

static void who_wants_failures_gets_no_others(void **state)
{
    struct tap *tap = tap_new();
    struct seen seen;

    look(tap, TAP_FAILED, 0, NOW, &seen);
    assert_int_equal(tap_wishes(tap, NOW), TAP_FAILED);
    offer(tap, false, NOW);
    offer(tap, true, NOW);
    look(tap, TAP_FAILED, 0, NOW, &seen);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.error, "boom");
    look(tap, TAP_ALL, 0, NOW, &seen); /* another one, who wants all from here on */
    offer(tap, false, NOW);
    look(tap, TAP_FAILED, 0, NOW, &seen);
    assert_int_equal(seen.count, 1);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.count, 2);
    tap_free(tap);
}

static void payloads_only_where_they_are_wanted(void **state)
{
    struct tap *tap = tap_new();
    struct seen seen;

    look(tap, TAP_ALL, 0, NOW, &seen);
    offer(tap, false, NOW);
    look(tap, TAP_ALL | TAP_PAYLOADS, 0, NOW, &seen);
    assert_false(seen.has_payload);
    assert_int_equal(seen.payload_size, 7);
    offer(tap, false, NOW);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.payload, 7);
    tap_free(tap);
}

static void so_many_a_second_and_the_others_are_counted(void **state)
{
    struct tap *tap = tap_new();
    struct tap_look result;
    struct seen seen;

    look(tap, TAP_ALL, 0, NOW, &seen);
    for (int i = 0; i < 1000; i++)
        offer(tap, false, NOW);
    for (int i = 0; i < 3; i++) /* which are not lost among the others */
        offer(tap, true, NOW);
    result = look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.count, TAP_RATE + 3);
    assert_int_equal(seen.failed, 3);
    assert_int_equal(result.dropped, 1000 - TAP_RATE);
    result = look(tap, TAP_FAILED, 0, NOW, &seen);
    assert_int_equal(result.dropped, 0);
    for (int i = 0; i < 1000; i++)
        offer(tap, false, NOW + CLOCK_SECOND / 2);
    result = look(tap, TAP_ALL, result.next, NOW + CLOCK_SECOND / 2, &seen);
    assert_int_equal(seen.count, TAP_RATE / 2);
    assert_int_equal(result.dropped, 2000 - TAP_RATE - TAP_RATE / 2);
    tap_free(tap);
}

static void who_looks_late_is_told_what_is_gone(void **state)
{
    struct tap *tap = tap_new();
    struct tap_look result;
    struct seen seen;

    for (int i = 0; i < 2 * TAP_ENTRIES; i++) {
        look(tap, TAP_ALL, UINT64_MAX, NOW + i * CLOCK_SECOND, &seen);
        offer(tap, false, NOW + i * CLOCK_SECOND);
    }
    result = look(tap, TAP_ALL, 100, NOW + 2 * TAP_ENTRIES * CLOCK_SECOND, &seen);
    assert_int_equal(seen.count, TAP_ENTRIES);
    assert_int_equal(seen.first, TAP_ENTRIES + 1);
    assert_int_equal(result.missed, TAP_ENTRIES - 100);
    tap_free(tap);
}

static void a_part_at_a_time(void **state)
{
    struct tap *tap = tap_new();
    struct tap_look result;
    struct seen seen = {0};

    look(tap, TAP_ALL, 0, NOW, &seen);
    for (int i = 0; i < 10; i++)
        offer(tap, i % 2, NOW);
    seen = (struct seen){0};
    tap_look(tap, TAP_FAILED, 0, 3, NOW, see, &seen, &result);
    assert_int_equal(seen.count, 3);
    tap_look(tap, TAP_FAILED, result.next, 3, NOW, see, &seen, &result);
    assert_int_equal(seen.count, 5);
    assert_int_equal(result.next, 10);
    tap_free(tap);
}

static void all_of_an_entry_is_bounded(void **state)
{
    static char large[100000];
    struct tap *tap = tap_new();
    struct tap_event event = {.outcome = "failed", .failed = true};
    struct seen seen;

    memset(large, 'x', sizeof large - 1);
    event.lane = event.error = large;
    event.key = event.token = event.payload = (struct sluice_bytes){large, sizeof large - 1};
    look(tap, TAP_ALL | TAP_PAYLOADS, 0, NOW, &seen);
    tap_offer(tap, &event, NOW);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(strlen(seen.lane), TAP_TEXT);
    assert_int_equal(strlen(seen.error), TAP_TEXT);
    assert_int_equal(seen.key, TAP_TEXT);
    assert_int_equal(seen.token, TAP_TEXT);
    assert_int_equal(seen.payload, TAP_PAYLOAD);
    assert_int_equal(seen.payload_size, sizeof large - 1);
    tap_free(tap);
}

static void what_is_kept_goes_with_who_looked(void **state)
{
    struct tap *tap = tap_new();
    struct seen seen;

    look(tap, TAP_ALL, 0, NOW, &seen);
    offer(tap, false, NOW);
    tap_tidy(tap, NOW + TAP_OPEN_US - 1);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.count, 1);
    tap_tidy(tap, NOW + TAP_OPEN_US);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.count, 0);
    offer(tap, false, NOW);
    look(tap, TAP_ALL, 0, NOW, &seen);
    assert_int_equal(seen.last, 2); /* numbers go on */
    tap_free(tap);
}

static atomic_bool looking;

static void *offer_many(void *argument)
{
    for (int i = 0; atomic_load(&looking); i++)
        offer(argument, i % 2, NOW + i);
    return NULL;
}

static void threads_meet(void **state)
{
    struct tap *tap = tap_new();
    struct tap_look result = {0};
    pthread_t threads[2];
    size_t count = 0;
    struct seen seen;

    atomic_store(&looking, true);
    look(tap, TAP_ALL | TAP_PAYLOADS, 0, NOW, &seen);
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, offer_many, tap), 0);
    while (count < 300) {
        result = look(tap, TAP_ALL | TAP_PAYLOADS, result.next, NOW, &seen);
        count += seen.count;
    }
    atomic_store(&looking, false);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    tap_free(tap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_taken_while_nobody_looks),
        cmocka_unit_test(from_now_on),
        cmocka_unit_test(who_wants_failures_gets_no_others),
        cmocka_unit_test(payloads_only_where_they_are_wanted),
        cmocka_unit_test(so_many_a_second_and_the_others_are_counted),
        cmocka_unit_test(who_looks_late_is_told_what_is_gone),
        cmocka_unit_test(a_part_at_a_time),
        cmocka_unit_test(all_of_an_entry_is_bounded),
        cmocka_unit_test(what_is_kept_goes_with_who_looked),
        cmocka_unit_test(threads_meet),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
