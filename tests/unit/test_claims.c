/* SPDX-License-Identifier: MIT */
#include "service/claims.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

static struct claim_waiter *waiter(struct mailbox *mailbox)
{
    struct claim_waiter *waiter = calloc(1, sizeof *waiter);

    waiter->reply_to = mailbox;
    return waiter;
}

static void waiters_are_posted_when_a_claim_is_given_up(void **state)
{
    struct claims *claims = claims_new();
    struct mailbox mailbox;
    struct claim_waiter *first, *second;

    assert_int_equal(mailbox_init(&mailbox, NULL), 0);
    first = waiter(&mailbox);
    second = waiter(&mailbox);
    assert_true(claims_take(claims, "a", 1, first));
    assert_false(claims_take(claims, "a", 1, second));
    assert_true(claims_take(claims, "b", 1, first));
    assert_null(mailbox_take_all(&mailbox));
    claims_give_up(claims, "a", 1);
    assert_ptr_equal(mailbox_take_all(&mailbox), &second->item);
    assert_true(claims_take(claims, "a", 1, second));
    claims_free(claims);
    mailbox_fini(&mailbox);
    free(first);
    free(second);
}

/* A poller that ends before the others of its mapping is not posted to any more. */
static void waiters_of_one_mailbox_are_forgotten(void **state)
{
    struct claims *claims = claims_new();
    struct mailbox stays, goes;
    struct claim_waiter *owner, *kept;

    assert_int_equal(mailbox_init(&stays, NULL), 0);
    assert_int_equal(mailbox_init(&goes, NULL), 0);
    owner = waiter(&stays);
    kept = waiter(&stays);
    assert_true(claims_take(claims, "a", 1, owner));
    assert_false(claims_take(claims, "a", 1, waiter(&goes)));
    assert_false(claims_take(claims, "a", 1, kept));
    assert_false(claims_take(claims, "a", 1, waiter(&goes)));
    claims_forget(claims, &goes);
    mailbox_fini(&goes);
    claims_give_up(claims, "a", 1);
    assert_ptr_equal(mailbox_take_all(&stays), &kept->item);
    assert_null(kept->item.next);
    claims_free(claims);
    mailbox_fini(&stays);
    free(owner);
    free(kept);
}

/* Claims outlive pollers: one that ended in the middle blocks nobody. */
static void claims_of_one_that_ended_are_given_up(void **state)
{
    struct claims *claims = claims_new(), *held = claims_hold(claims);
    struct mailbox stays, goes;
    struct claim_waiter *owner, *kept;

    assert_int_equal(mailbox_init(&stays, NULL), 0);
    assert_int_equal(mailbox_init(&goes, NULL), 0);
    assert_true(claims_shared(claims));
    claims_free(held);
    assert_false(claims_shared(claims));
    owner = waiter(&goes);
    kept = waiter(&stays);
    assert_true(claims_take(claims, "a", 1, owner));
    assert_true(claims_take(claims, "b", 1, kept));
    assert_false(claims_take(claims, "a", 1, kept));
    claims_leave(claims, &goes);
    assert_ptr_equal(mailbox_take_all(&stays), &kept->item);
    assert_true(claims_take(claims, "a", 1, kept));
    assert_false(claims_take(claims, "b", 1, waiter(&goes)));
    claims_forget(claims, &goes);
    claims_free(claims);
    mailbox_fini(&stays);
    mailbox_fini(&goes);
    free(owner);
    free(kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiters_are_posted_when_a_claim_is_given_up),
        cmocka_unit_test(waiters_of_one_mailbox_are_forgotten),
        cmocka_unit_test(claims_of_one_that_ended_are_given_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
