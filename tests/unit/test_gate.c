/* SPDX-License-Identifier: MIT
 * The gate: adaptive limit, circuit breaker, probes. */
#include "core/gate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"

static const struct rules rules = {
    .retry = {.backoff_first_us = 200 * CLOCK_MS,
              .backoff_most_us = 30 * CLOCK_SECOND,
              .probe_first_us = 30 * CLOCK_SECOND,
              .probe_most_us = 10 * CLOCK_MINUTE},
    .concurrency = {.least = 2, .most = 16},
};
static struct random dice = {5};

static struct gate new_gate(void)
{
    struct gate gate;

    gate_init(&gate, &rules.concurrency);
    return gate;
}

static void starts_at_the_most(void **state)
{
    struct gate gate = new_gate();

    assert_int_equal(gate.limit, 16);
    gate.in_flight = 15;
    assert_true(gate_admits(&gate, 0));
    gate.in_flight = 16;
    assert_false(gate_admits(&gate, 0));
}

static void halves_once_per_burst_and_grows_again(void **state)
{
    struct gate gate = new_gate();
    int64_t now_us = CLOCK_SECOND;

    assert_false(gate_refused(&gate, &rules, 0, now_us, &dice));
    assert_int_equal(gate.limit, 8);
    assert_false(gate_refused(&gate, &rules, 0, now_us + 50 * CLOCK_MS, &dice));
    assert_int_equal(gate.limit, 8);
    for (int i = 0; i < 8; i++) {
        assert_int_equal(gate.limit, 8);
        assert_false(gate_succeeded(&gate, &rules));
    }
    assert_int_equal(gate.limit, 9);
    for (int i = 0; i < 1000; i++)
        gate_succeeded(&gate, &rules);
    assert_int_equal(gate.limit, 16);
    for (int i = 0; i < 10; i++)
        gate_refused(&gate, &rules, 0, now_us += CLOCK_SECOND, &dice);
    assert_int_equal(gate.limit, 2);
}

static void opens_after_refusals_in_a_row(void **state)
{
    struct gate gate = new_gate();

    for (int i = 0; i < 2; i++)
        assert_false(gate_refused(&gate, &rules, 0, CLOCK_SECOND, &dice));
    gate_succeeded(&gate, &rules);
    for (int i = 0; i < GATE_REFUSALS - 1; i++)
        assert_false(gate_refused(&gate, &rules, 0, CLOCK_SECOND, &dice));
    assert_true(gate_refused(&gate, &rules, 0, CLOCK_SECOND, &dice));
    assert_int_equal(gate.state, GATE_UNAVAILABLE);
    assert_int_equal(gate.opened_us, CLOCK_SECOND);
    assert_false(gate_admits(&gate, gate.next_us - 1));
    assert_true(gate_admits(&gate, gate.next_us));
    gate.in_flight = 1; /* one probe at a time */
    assert_false(gate_admits(&gate, gate.next_us));
    assert_true(gate_succeeded(&gate, &rules));
    assert_int_equal(gate.limit, 2);
    assert_true(gate_admits(&gate, 0));
}

static void retry_after_is_a_floor(void **state)
{
    struct gate gate = new_gate();

    gate_refused(&gate, &rules, 5 * CLOCK_SECOND, CLOCK_SECOND, &dice);
    assert_false(gate_probing(&gate));
    assert_int_equal(gate.next_us, 6 * CLOCK_SECOND);
    assert_false(gate_admits(&gate, 6 * CLOCK_SECOND - 1));
    gate_refused(&gate, &rules, CLOCK_SECOND, CLOCK_SECOND, &dice); /* never nearer */
    assert_int_equal(gate.next_us, 6 * CLOCK_SECOND);
    gate_open(&gate, GATE_FAILING, &rules, CLOCK_MINUTE, CLOCK_SECOND, &dice);
    assert_int_equal(gate.next_us, 61 * CLOCK_SECOND);
}

static void opening_keeps_a_longer_floor(void **state)
{
    struct gate gate = new_gate();

    gate_refused(&gate, &rules, CLOCK_MINUTE, CLOCK_SECOND, &dice);
    gate_refused(&gate, &rules, 0, CLOCK_SECOND, &dice);
    gate_refused(&gate, &rules, 0, CLOCK_SECOND, &dice);
    assert_true(gate_probing(&gate));
    assert_int_equal(gate.next_us, 61 * CLOCK_SECOND);
}

static void paused_probes_from_first_to_most(void **state)
{
    static const int64_t seconds[] = {30, 60, 120, 240, 480, 600, 600};
    struct gate gate = new_gate();

    int64_t now_us = 0;

    for (size_t i = 0; i < sizeof seconds / sizeof seconds[0]; i++) {
        assert_int_equal(gate_open(&gate, GATE_PAUSED, &rules, 0, now_us, &dice), i == 0);
        assert_int_equal(gate.next_us, now_us + seconds[i] * CLOCK_SECOND);
        now_us = gate.next_us;
    }
    assert_true(gate_open(&gate, GATE_FAILING, &rules, 0, now_us, &dice)); /* begins anew */
    assert_in_range(gate.next_us - now_us, 100 * CLOCK_MS, 200 * CLOCK_MS);
}

/* Thirty answers of one burst are one failed probe, not thirty. */
static void what_was_in_flight_is_no_probe(void **state)
{
    struct gate paused = new_gate(), down = new_gate();

    for (int i = 0; i < 30; i++) {
        gate_open(&paused, GATE_PAUSED, &rules, 0, CLOCK_SECOND + i, &dice);
        gate_refused(&down, &rules, 0, CLOCK_SECOND + i, &dice);
    }
    assert_int_equal(paused.next_us, 31 * CLOCK_SECOND);
    assert_in_range(down.next_us, CLOCK_SECOND, CLOCK_SECOND + 201 * CLOCK_MS);
    gate_refused(&down, &rules, CLOCK_MINUTE, CLOCK_SECOND + 40, &dice);
    assert_int_equal(down.next_us, 61 * CLOCK_SECOND + 40); /* but Retry-After is obeyed */
}

static void failing_waits_at_least_half_of_the_interval(void **state)
{
    for (int round = 0; round < 50; round++) {
        struct gate gate = new_gate();
        int64_t now_us = 0;

        for (uint32_t i = 1; i < 12; i++) {
            int64_t interval = (200 * CLOCK_MS) << (i - 1);

            interval = interval > 30 * CLOCK_SECOND ? 30 * CLOCK_SECOND : interval;
            gate_open(&gate, GATE_FAILING, &rules, 0, now_us, &dice);
            assert_in_range(gate.next_us - now_us, interval / 2, interval);
            now_us = gate.next_us;
        }
    }
}

static void an_operator_caps_it(void **state)
{
    struct gate gate;
    struct concurrency_settings settings = {1, 16};

    gate_init(&gate, &settings);
    gate.cap = 2;
    assert_int_equal(gate_present_limit(&gate), 2);
    gate.in_flight = 1;
    assert_true(gate_admits(&gate, 0));
    gate.in_flight = 2;
    assert_false(gate_admits(&gate, 0));
    gate.limit = 1; /* what the target takes is less */
    assert_int_equal(gate_present_limit(&gate), 1);
    gate.cap = 0;
    gate.limit = 16;
    assert_true(gate_admits(&gate, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_operator_caps_it),
        cmocka_unit_test(starts_at_the_most),
        cmocka_unit_test(halves_once_per_burst_and_grows_again),
        cmocka_unit_test(opens_after_refusals_in_a_row),
        cmocka_unit_test(retry_after_is_a_floor),
        cmocka_unit_test(opening_keeps_a_longer_floor),
        cmocka_unit_test(paused_probes_from_first_to_most),
        cmocka_unit_test(what_was_in_flight_is_no_probe),
        cmocka_unit_test(failing_waits_at_least_half_of_the_interval),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
