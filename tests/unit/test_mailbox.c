/* SPDX-License-Identifier: MIT */
#include "base/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#define POSTERS 4
#define EACH    50000

struct letter {
    struct mailbox_item item;
    unsigned poster, number;
};

struct poster {
    struct mailbox *mailbox;
    struct letter *letters;
    unsigned index;
};

static int readable(const struct mailbox *mailbox, int timeout_ms)
{
    struct pollfd poll_for = {.fd = mailbox_fd(mailbox), .events = POLLIN};

    return poll(&poll_for, 1, timeout_ms);
}

static void wakes_without_a_letter(void **state)
{
    struct mailbox mailbox;

    (void)state;
    assert_int_equal(mailbox_init(&mailbox, NULL), 0);
    mailbox_wake(&mailbox);
    assert_int_equal(readable(&mailbox, 0), 1);
    assert_null(mailbox_take_all(&mailbox));
    assert_int_equal(readable(&mailbox, 0), 0);
    mailbox_fini(&mailbox);
}

static void keeps_order_and_clears_the_descriptor(void **state)
{
    struct letter letters[3] = {{.number = 0}, {.number = 1}, {.number = 2}};
    struct mailbox mailbox;
    struct mailbox_item *item;

    assert_int_equal(mailbox_init(&mailbox, NULL), 0);
    assert_null(mailbox_take_all(&mailbox));
    assert_int_equal(readable(&mailbox, 0), 0);
    for (unsigned i = 0; i < 3; i++)
        mailbox_post(&mailbox, &letters[i].item);
    assert_int_equal(readable(&mailbox, 0), 1);
    item = mailbox_take_all(&mailbox);
    for (unsigned i = 0; i < 3; i++, item = item->next)
        assert_int_equal(((struct letter *)item)->number, i);
    assert_null(item);
    assert_int_equal(readable(&mailbox, 0), 0);
    mailbox_fini(&mailbox);
}

static void *post_all(void *argument)
{
    struct poster *poster = argument;

    for (unsigned i = 0; i < EACH; i++) {
        poster->letters[i].poster = poster->index;
        poster->letters[i].number = i;
        mailbox_post(poster->mailbox, &poster->letters[i].item);
    }
    return NULL;
}

/* Nothing is lost, doubled or left asleep, and each poster's items stay in order. */
static void many_threads_post(void **state)
{
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    unsigned seen[POSTERS] = {0}, total = 0;
    struct mailbox mailbox;

    assert_int_equal(mailbox_init(&mailbox, NULL), 0);
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){&mailbox, calloc(EACH, sizeof(struct letter)), i};
        assert_int_equal(pthread_create(&threads[i], NULL, post_all, &posters[i]), 0);
    }
    while (total < POSTERS * EACH) {
        struct mailbox_item *item;

        assert_int_equal(readable(&mailbox, 10000), 1);
        for (item = mailbox_take_all(&mailbox); item; item = item->next, total++) {
            struct letter *letter = (struct letter *)item;

            assert_int_equal(letter->number, seen[letter->poster]++);
        }
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        pthread_join(threads[i], NULL);
        free(posters[i].letters);
    }
    assert_null(mailbox_take_all(&mailbox));
    mailbox_fini(&mailbox);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_clears_the_descriptor),
        cmocka_unit_test(wakes_without_a_letter),
        cmocka_unit_test(many_threads_post),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
