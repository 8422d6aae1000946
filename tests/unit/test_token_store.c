/* SPDX-License-Identifier: MIT
 * One contract, two stores. What only the embedded one promises is in test_token_store_lmdb.c. */
#define _GNU_SOURCE
#include "token_store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>

static void finds_what_was_committed(void **state)
{
    struct fixture *fixture = *state;
    struct token_record found;

    assert_int_equal(find(fixture, "orders", "a", T0), 0);
    put_one(fixture, "orders", "a", T0, HOUR);
    assert_int_equal(find_n(fixture, "orders", "a", 1, T0, &found), 1);
    assert_string_equal(found.mapping, "orders");
    assert_int_equal(found.token_size, 1);
    assert_true(found.fingerprint[0] == 7 && found.fingerprint[1] == 9);
    assert_true(found.recorded_wall_us == T0 && found.expires_wall_us == T0 + HOUR);
    assert_string_equal(found.place, "orders/3/1507");
    assert_int_equal(find(fixture, "orders", "b", T0), 0);
    assert_int_equal(find(fixture, "payments", "a", T0), 0);
    assert_int_equal(find(fixture, "order", "sa", T0), 0);
}

static void a_token_ends_when_it_expires(void **state)
{
    struct fixture *fixture = *state;

    put_one(fixture, "orders", "a", T0, HOUR);
    assert_int_equal(find(fixture, "orders", "a", T0 + HOUR - 1), 1);
    assert_int_equal(find(fixture, "orders", "a", T0 + HOUR), 0);
    put_one(fixture, "orders", "a", T0 + 5 * HOUR, HOUR);
    assert_int_equal(find(fixture, "orders", "a", T0 + 5 * HOUR), 1);
}

static void expiry_drops_only_what_expired(void **state)
{
    struct fixture *fixture = *state;
    char token[32];

    for (int hour = 1; hour <= 48; hour++) {
        snprintf(token, sizeof token, "%d", hour);
        put_one(fixture, "orders", token, T0, hour * HOUR);
    }
    for (int now = 0; now <= 49; now++) {
        expire_all(fixture, T0 + now * HOUR);
        for (int hour = 1; hour <= 48; hour++) {
            snprintf(token, sizeof token, "%d", hour);
            assert_int_equal(find(fixture, "orders", token, T0 + now * HOUR), hour > now);
        }
    }
}

static void any_bytes_and_lengths_are_tokens(void **state)
{
    struct fixture *fixture = *state;
    char token[TOKEN_MAX + 1];
    struct token_record records[TOKEN_MAX + 1];

    for (size_t size = 0; size <= TOKEN_MAX; size++) {
        memset(token, 0, sizeof token);
        records[size] = record("orders", "", T0, HOUR);
        records[size].token = memset(malloc(TOKEN_MAX), 0xff, TOKEN_MAX);
        ((char *)records[size].token)[size / 2] = '\0';
        records[size].token_size = size;
    }
    assert_int_equal(put(fixture, records, TOKEN_MAX + 1), 0);
    for (size_t size = 0; size <= TOKEN_MAX; size++) {
        assert_int_equal(find_n(fixture, "orders", records[size].token, size, T0, NULL), 1);
        if (size) {
            memcpy(token, records[size].token, size);
            token[size - 1] ^= 1;
            assert_int_equal(find_n(fixture, "orders", token, size, T0, NULL), 0);
        }
        free((char *)records[size].token);
    }
}

static void too_long_a_token_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct token_record records[2] = {record("orders", "good", T0, HOUR),
                                      record("orders", "long", T0, HOUR)};
    char token[TOKEN_MAX + 1] = {0};

    records[1].token = token;
    records[1].token_size = sizeof token;
    assert_int_equal(put(fixture, records, 2), -1);
    assert_non_null(strstr(fixture->fault.text, "1025 bytes"));
    /* Nothing of the transaction is left for the next one. */
    put_one(fixture, "orders", "other", T0, HOUR);
    assert_int_equal(find(fixture, "orders", "good", T0), 0);
    assert_int_equal(find(fixture, "orders", "other", T0), 1);
}

static void the_last_record_of_a_token_counts(void **state)
{
    struct fixture *fixture = *state;
    struct token_record records[2] = {record("orders", "a", T0, HOUR),
                                      record("orders", "a", T0, HOUR)};
    struct token_record found;

    records[1].fingerprint[0] = 8;
    strcpy(records[1].place, "second");
    assert_int_equal(put(fixture, records, 2), 0);
    assert_int_equal(find_n(fixture, "orders", "a", 1, T0, &found), 1);
    assert_string_equal(found.place, "second");
    records[0].recorded_wall_us += 20 * HOUR;
    records[0].expires_wall_us += 20 * HOUR;
    strcpy(records[0].place, "third");
    assert_int_equal(put(fixture, records, 1), 0);
    assert_int_equal(find_n(fixture, "orders", "a", 1, T0, &found), 1);
    assert_string_equal(found.place, "third");
}

static void an_aborted_transaction_leaves_nothing(void **state)
{
    struct fixture *fixture = *state;
    const struct token_store_ops *ops = fixture->store->ops;
    struct token_record one = record("orders", "a", T0, HOUR);
    struct lane_record lane_record = {"orders", "orders/0", "x", 1, CLOCK_NEVER};

    assert_int_equal(ops->begin(fixture->store, &fixture->fault), 0);
    assert_int_equal(ops->put_tokens(fixture->store, &one, 1, &fixture->fault), 0);
    assert_int_equal(ops->put_lanes(fixture->store, &lane_record, 1, &fixture->fault), 0);
    ops->abort(fixture->store);
    assert_int_equal(find(fixture, "orders", "a", T0), 0);
    put_one(fixture, "payments", "b", T0, HOUR);
    assert_int_equal(find(fixture, "orders", "a", T0), 0);
    assert_null(lane(fixture, "orders", "orders/0", T0));
    assert_int_equal(find(fixture, "payments", "b", T0), 1);
}

static void lanes_are_replaced_and_forgotten(void **state)
{
    struct fixture *fixture = *state;
    char longest[600];

    memset(longest, 'q', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(lane(fixture, "orders", "orders/0", T0));
    assert_int_equal(put_lane(fixture, "orders", "orders/0", "one", T0 + HOUR), 0);
    assert_int_equal(put_lane(fixture, "orders", longest, "long", CLOCK_NEVER), 0);
    assert_string_equal(lane(fixture, "orders", "orders/0", T0), "one");
    assert_string_equal(lane(fixture, "orders", longest, T0), "long");
    assert_null(lane(fixture, "payments", "orders/0", T0));
    assert_null(lane(fixture, "orders", "orders/0", T0 + HOUR));
    assert_int_equal(put_lane(fixture, "orders", "orders/0", "two", T0 + 2 * HOUR), 0);
    assert_string_equal(lane(fixture, "orders", "orders/0", T0), "two");
    expire_all(fixture, T0 + HOUR);
    assert_string_equal(lane(fixture, "orders", "orders/0", T0), "two");
    expire_all(fixture, T0 + 2 * HOUR);
    assert_null(lane(fixture, "orders", "orders/0", T0));
    assert_int_equal(put_lane(fixture, "orders", longest, NULL, 0), 0);
    assert_null(lane(fixture, "orders", longest, T0));
    assert_int_equal(put_lane(fixture, "orders", longest, NULL, 0), 0);
}

static void many_lanes_expire_in_steps(void **state)
{
    struct fixture *fixture = *state;
    const struct token_store_ops *ops = fixture->store->ops;
    char name[32];

    assert_int_equal(ops->begin(fixture->store, &fixture->fault), 0);
    for (int i = 0; i < 5000; i++) {
        struct lane_record one = {"orders", name, "v", 1, T0 + (i % 2 ? HOUR : 2 * HOUR)};

        snprintf(name, sizeof name, "queue/%d", i);
        assert_int_equal(ops->put_lanes(fixture->store, &one, 1, &fixture->fault), 0);
    }
    assert_int_equal(ops->commit(fixture->store, &fixture->fault), 0);
    expire_all(fixture, T0 + HOUR);
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "queue/%d", i);
        assert_int_equal(lane(fixture, "orders", name, T0) != NULL, i % 2 == 0);
    }
}

struct looker {
    struct token_store *store;
    atomic_int *committed;
    int failed;
};

#define ROUNDS 300

static void *look(void *argument)
{
    struct looker *looker = argument;
    const struct token_store_ops *ops = looker->store->ops;
    struct token_reader *reader = ops->reader_new(looker->store, NULL);
    struct token_record found;
    char token[32];
    int done;

    do {
        done = atomic_load(looker->committed);
        ops->reader_begin(reader, NULL);
        for (int i = done > 20 ? done - 20 : 0; i < done; i++) {
            snprintf(token, sizeof token, "t%d", i);
            if (ops->find_token(reader, "orders", token, strlen(token), T0, &found, NULL) != 1)
                looker->failed = i + 1;
        }
        if (ops->find_token(reader, "orders", "never", 5, T0, &found, NULL) != 0)
            looker->failed = -1;
        ops->reader_end(reader);
    } while (done < ROUNDS && !looker->failed);
    ops->reader_free(reader);
    return NULL;
}

/* What commit returned for, every thread sees from then on, while buckets come and go. */
static void readers_see_commits_at_once(void **state)
{
    struct fixture *fixture = *state;
    atomic_int committed = 0;
    struct looker lookers[2];
    pthread_t threads[2];
    char token[32];

    for (int i = 0; i < 2; i++) {
        lookers[i] = (struct looker){fixture->store, &committed, 0};
        assert_int_equal(pthread_create(&threads[i], NULL, look, &lookers[i]), 0);
    }
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(token, sizeof token, "t%d", i);
        put_one(fixture, "orders", token, T0, 24 * HOUR);
        atomic_store(&committed, i + 1);
        snprintf(token, sizeof token, "old%d", i);
        put_one(fixture, "orders", token, T0 - 100 * HOUR + i * HOUR / 10, HOUR);
        expire_all(fixture, T0 - 99 * HOUR + i * HOUR / 10);
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(lookers[i].failed, 0);
    }
}

#define BOTH(test)                                                                                 \
    {#test " (lmdb)", test, setup_lmdb, teardown, NULL},                                           \
    {                                                                                              \
#test " (memory)", test, setup_memory, teardown, NULL                                      \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(finds_what_was_committed),
        BOTH(a_token_ends_when_it_expires),
        BOTH(expiry_drops_only_what_expired),
        BOTH(any_bytes_and_lengths_are_tokens),
        BOTH(too_long_a_token_is_refused),
        BOTH(the_last_record_of_a_token_counts),
        BOTH(an_aborted_transaction_leaves_nothing),
        BOTH(lanes_are_replaced_and_forgotten),
        BOTH(many_lanes_expire_in_steps),
        BOTH(readers_see_commits_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
