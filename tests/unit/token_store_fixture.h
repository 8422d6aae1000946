/* SPDX-License-Identifier: MIT
 * A token store in a directory of its own, or in memory, for tests. */
#ifndef TOKEN_STORE_FIXTURE_H
#define TOKEN_STORE_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/token_store.h"

#define UNUSED __attribute__((unused))
#define MIB  ((size_t)1 << 20)
#define HOUR CLOCK_HOUR
#define T0   (INT64_C(1700000000) * CLOCK_SECOND)

struct fixture {
    char directory[64];
    bool durable;
    struct token_store *store;
    struct token_reader *reader;
    struct fault fault;
};

UNUSED static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
}

UNUSED static struct fixture *fixture_new(bool durable)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    strcpy(fixture->directory, "/tmp/test-token-store-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->durable = durable;
    return fixture;
}

UNUSED static void open_store(struct fixture *fixture)
{
    fixture->store = fixture->durable ? token_store_lmdb_open(fixture->directory, 64 * MIB,
                                                              24 * HOUR, &fixture->fault)
                                      : token_store_memory_open();
    if (!fixture->store)
        fail_msg("%s", fixture->fault.text);
    fixture->reader = fixture->store->ops->reader_new(fixture->store, &fixture->fault);
    assert_non_null(fixture->reader);
}

UNUSED static void close_store(struct fixture *fixture)
{
    if (!fixture->store)
        return;
    fixture->store->ops->reader_free(fixture->reader);
    fixture->store->ops->close(fixture->store);
    fixture->store = NULL;
}

UNUSED static int setup_lmdb(void **state)
{
    struct fixture *fixture = fixture_new(true);

    open_store(fixture);
    *state = fixture;
    return 0;
}

UNUSED static int setup_memory(void **state)
{
    struct fixture *fixture = fixture_new(false);

    open_store(fixture);
    *state = fixture;
    return 0;
}

UNUSED static int setup_directory(void **state)
{
    *state = fixture_new(true);
    return 0;
}

UNUSED static int teardown(void **state)
{
    struct fixture *fixture = *state;

    close_store(fixture);
    chmod(fixture->directory, 0700);
    nftw(fixture->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

UNUSED static struct token_record record(const char *mapping, const char *token, int64_t recorded,
                                  int64_t ttl)
{
    struct token_record record = {.mapping = mapping,
                                  .token = token,
                                  .token_size = strlen(token),
                                  .fingerprint = {7, 9},
                                  .recorded_wall_us = recorded,
                                  .expires_wall_us = recorded + ttl,
                                  .place = "orders/3/1507"};

    return record;
}

UNUSED static int put(struct fixture *fixture, const struct token_record *records, size_t count)
{
    const struct token_store_ops *ops = fixture->store->ops;

    if (ops->begin(fixture->store, &fixture->fault) != 0 ||
        ops->put_tokens(fixture->store, records, count, &fixture->fault) != 0)
        return -1;
    return ops->commit(fixture->store, &fixture->fault);
}

UNUSED static void put_one(struct fixture *fixture, const char *mapping, const char *token,
                    int64_t recorded, int64_t ttl)
{
    struct token_record one = record(mapping, token, recorded, ttl);

    if (put(fixture, &one, 1) != 0)
        fail_msg("%s", fixture->fault.text);
}

UNUSED static int find_n(struct fixture *fixture, const char *mapping, const char *token, size_t size,
                  int64_t wall, struct token_record *ret_record)
{
    const struct token_store_ops *ops = fixture->store->ops;
    struct token_record unused;
    int found;

    assert_int_equal(ops->reader_begin(fixture->reader, &fixture->fault), 0);
    found = ops->find_token(fixture->reader, mapping, token, size, wall,
                            ret_record ? ret_record : &unused, &fixture->fault);
    ops->reader_end(fixture->reader);
    if (found < 0)
        fail_msg("%s", fixture->fault.text);
    return found;
}

UNUSED static int find(struct fixture *fixture, const char *mapping, const char *token, int64_t wall)
{
    return find_n(fixture, mapping, token, strlen(token), wall, NULL);
}

UNUSED static int put_lane(struct fixture *fixture, const char *mapping, const char *lane,
                    const char *value, int64_t expires)
{
    const struct token_store_ops *ops = fixture->store->ops;
    struct lane_record lane_record = {mapping, lane, value, value ? strlen(value) : 0, expires};

    assert_int_equal(ops->begin(fixture->store, &fixture->fault), 0);
    assert_int_equal(ops->put_lanes(fixture->store, &lane_record, 1, &fixture->fault), 0);
    return ops->commit(fixture->store, &fixture->fault);
}

UNUSED static const char *lane(struct fixture *fixture, const char *mapping, const char *name,
                        int64_t wall)
{
    static char value[256];
    const struct token_store_ops *ops = fixture->store->ops;
    size_t size = 0;
    int found;

    assert_int_equal(ops->reader_begin(fixture->reader, &fixture->fault), 0);
    found = ops->find_lane(fixture->reader, mapping, name, wall, value, sizeof value - 1, &size,
                           &fixture->fault);
    ops->reader_end(fixture->reader);
    assert_true(found >= 0);
    value[size < sizeof value ? size : sizeof value - 1] = '\0';
    return found ? value : NULL;
}

UNUSED static void expire_all(struct fixture *fixture, int64_t wall)
{
    int more;

    while ((more = fixture->store->ops->expire(fixture->store, wall, &fixture->fault)) == 1)
        ;
    if (more != 0)
        fail_msg("%s", fixture->fault.text);
}

#endif
