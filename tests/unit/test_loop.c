/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/loop.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"

#define TIMERS 1000

struct place {
    struct loop *loop;
    int fd;
    int calls;
    uint32_t events;
    struct place *other;
};

static struct loop *open_loop(void)
{
    struct fault fault = {""};
    struct loop *loop = loop_new(&fault);

    assert_non_null(loop);
    return loop;
}

static struct place open_place(struct loop *loop)
{
    return (struct place){.loop = loop, .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
}

static void signal_place(struct place *place)
{
    assert_int_equal(eventfd_write(place->fd, 1), 0);
}

static void turn_now(struct loop *loop)
{
    loop_turn(loop, clock_now());
}

static void count(void *argument, uint32_t events)
{
    struct place *place = argument;

    place->calls++;
    place->events = events;
}

static void count_timer(void *argument)
{
    ++*(int *)argument;
}

static void watches_descriptors(void **state)
{
    struct loop *loop = open_loop();
    struct place place = open_place(loop);

    assert_int_equal(loop_watch(loop, place.fd, EPOLLIN, count, &place), 0);
    turn_now(loop);
    assert_int_equal(place.calls, 0);
    signal_place(&place);
    turn_now(loop);
    turn_now(loop); /* level-triggered */
    assert_int_equal(place.calls, 2);
    assert_int_equal(place.events, EPOLLIN);
    assert_int_equal(loop_watch(loop, place.fd, EPOLLIN | EPOLLOUT, count, &place), 0);
    turn_now(loop);
    assert_int_equal(place.events, EPOLLIN | EPOLLOUT);
    assert_int_equal(loop_watch(loop, place.fd, EPOLLOUT, count, &place), 0);
    turn_now(loop);
    assert_int_equal(place.events, EPOLLOUT);
    assert_int_equal(loop_watch(loop, place.fd, 0, NULL, NULL), 0);
    turn_now(loop);
    assert_int_equal(place.calls, 4);
    loop_unwatch(loop, place.fd);
    loop_unwatch(loop, -1);
    loop_unwatch(loop, 100000);
    assert_int_equal(loop_watch(loop, -1, EPOLLIN, count, &place), -1);
    close(place.fd);
    assert_int_equal(loop_watch(loop, place.fd, EPOLLIN, count, &place), -1);
    loop_free(loop);
}

static void remove_both(void *argument, uint32_t events)
{
    struct place *place = argument;

    place->calls++;
    loop_unwatch(place->loop, place->fd);
    loop_unwatch(place->loop, place->other->fd);
}

/* Both are ready in one batch; whichever comes first removes the other. */
static void removal_holds_within_the_batch(void **state)
{
    struct loop *loop = open_loop();
    struct place a = open_place(loop), b = open_place(loop);

    a.other = &b;
    b.other = &a;
    loop_watch(loop, a.fd, EPOLLIN, remove_both, &a);
    loop_watch(loop, b.fd, EPOLLIN, remove_both, &b);
    signal_place(&a);
    signal_place(&b);
    turn_now(loop);
    assert_int_equal(a.calls + b.calls, 1);
    close(a.fd);
    close(b.fd);
    loop_free(loop);
}

static struct place replacement;

static void replace_other(void *argument, uint32_t events)
{
    struct place *place = argument;
    int number = place->other->fd;

    place->calls++;
    loop_unwatch(place->loop, place->fd);
    loop_unwatch(place->loop, number);
    close(number);
    replacement = open_place(place->loop);
    assert_int_equal(replacement.fd, number); /* the kernel gives the lowest free one */
    assert_int_equal(loop_watch(place->loop, number, EPOLLIN, count, &replacement), 0);
}

/* An event of a descriptor closed in this batch is not told to the next owner of its number. */
static void stale_events_are_dropped(void **state)
{
    struct loop *loop = open_loop();
    struct place a = open_place(loop), b = open_place(loop);

    a.other = &b;
    b.other = &a;
    loop_watch(loop, a.fd, EPOLLIN, replace_other, &a);
    loop_watch(loop, b.fd, EPOLLIN, replace_other, &b);
    signal_place(&a);
    signal_place(&b);
    turn_now(loop);
    assert_int_equal(a.calls + b.calls, 1);
    assert_int_equal(replacement.calls, 0);
    signal_place(&replacement);
    turn_now(loop);
    assert_int_equal(replacement.calls, 1);
    close(a.fd);
    close(b.fd);
    loop_free(loop);
}

/* Closed without loop_unwatch, and the number used again. */
static void survives_a_forgotten_unwatch(void **state)
{
    struct loop *loop = open_loop();
    struct place a = open_place(loop), b;

    loop_watch(loop, a.fd, EPOLLIN, count, &a);
    close(a.fd);
    b = open_place(loop);
    assert_int_equal(b.fd, a.fd);
    assert_int_equal(loop_watch(loop, b.fd, EPOLLIN | EPOLLOUT, count, &b), 0);
    signal_place(&b);
    turn_now(loop);
    assert_int_equal(a.calls, 0);
    assert_int_equal(b.calls, 1);
    close(b.fd);
    loop_free(loop);
}

static void timers_run_in_order(void **state)
{
    struct loop *loop = open_loop();
    int calls = 0;
    struct loop_timer early = {.expired = count_timer, .argument = &calls}, late = early;
    int64_t begin = clock_now();

    loop_set_timer(loop, &late, begin + CLOCK_HOUR);
    loop_set_timer(loop, &early, begin + 1500);
    while (!calls && clock_now() < begin + 10 * CLOCK_SECOND)
        loop_turn(loop, CLOCK_NEVER);
    assert_int_equal(calls, 1);
    assert_true(loop_now(loop) >= begin + 1500);
    assert_int_equal(early.slot, 0);
    loop_set_timer(loop, &late, CLOCK_NEVER);
    loop_set_timer(loop, &late, CLOCK_NEVER);
    turn_now(loop);
    assert_int_equal(calls, 1);
    loop_set_timer(loop, &late, 0);
    turn_now(loop);
    assert_int_equal(calls, 2);
    loop_free(loop);
}

struct chain {
    struct loop *loop;
    struct loop_timer timer;
    int calls;
};

static void rearm(void *argument)
{
    struct chain *chain = argument;

    chain->calls++;
    loop_set_timer(chain->loop, &chain->timer, loop_now(chain->loop));
}

static void a_timer_that_rearms_ends_the_turn(void **state)
{
    struct loop *loop = open_loop();
    struct chain chain = {.loop = loop, .timer = {.expired = rearm, .argument = &chain}};

    loop_set_timer(loop, &chain.timer, 0);
    turn_now(loop);
    assert_int_equal(chain.calls, 1);
    turn_now(loop);
    assert_int_equal(chain.calls, 2);
    loop_free(loop);
}

struct check {
    struct loop_timer timer;
    int64_t *last;
    int *calls;
};

static void check_order(void *argument)
{
    struct check *check = argument;

    assert_true(check->timer.at_us >= *check->last);
    *check->last = check->timer.at_us;
    ++*check->calls;
}

static void heap_keeps_order(void **state)
{
    static struct check checks[TIMERS];
    struct loop *loop = open_loop();
    uint64_t seed = 88172645463325252u;
    int64_t last = 0;
    int calls = 0, wanted = 0;

    for (int round = 0; round < 10 * TIMERS; round++) {
        struct check *check;

        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        check = &checks[(seed >> 8) % TIMERS];
        check->timer.expired = check_order;
        check->timer.argument = check;
        check->last = &last;
        check->calls = &calls;
        loop_set_timer(loop, &check->timer,
                       (seed >> 40) % 4 ? (int64_t)(seed >> 40) % 5000 : CLOCK_NEVER);
    }
    for (int i = 0; i < TIMERS; i++)
        wanted += checks[i].timer.slot != 0;
    turn_now(loop);
    assert_int_equal(calls, wanted);
    assert_true(wanted > TIMERS / 2);
    loop_free(loop);
}

static void clear_other(void *argument)
{
    struct check *check = argument;

    ++*check->calls;
    loop_set_timer((struct loop *)check->last, &check[1].timer, CLOCK_NEVER);
}

static void a_timer_may_clear_another_that_is_due(void **state)
{
    struct loop *loop = open_loop();
    int calls = 0;
    struct check checks[2];

    memset(checks, 0, sizeof checks);
    for (int i = 0; i < 2; i++)
        checks[i] = (struct check){.timer = {.expired = clear_other, .argument = &checks[0]},
                                   .last = (int64_t *)loop,
                                   .calls = &calls};
    loop_set_timer(loop, &checks[0].timer, 1);
    loop_set_timer(loop, &checks[1].timer, 2);
    turn_now(loop);
    assert_int_equal(calls, 1);
    loop_free(loop);
}

static void waits_no_longer_than_told(void **state)
{
    struct loop *loop = open_loop();
    int64_t begin = clock_now();

    loop_turn(loop, begin + 3000);
    assert_true(clock_now() >= begin + 3000);
    assert_true(clock_now() < begin + 5 * CLOCK_SECOND);
    loop_free(loop);
    loop_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watches_descriptors),
        cmocka_unit_test(removal_holds_within_the_batch),
        cmocka_unit_test(stale_events_are_dropped),
        cmocka_unit_test(survives_a_forgotten_unwatch),
        cmocka_unit_test(timers_run_in_order),
        cmocka_unit_test(a_timer_that_rearms_ends_the_turn),
        cmocka_unit_test(heap_keeps_order),
        cmocka_unit_test(a_timer_may_clear_another_that_is_due),
        cmocka_unit_test(waits_no_longer_than_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
