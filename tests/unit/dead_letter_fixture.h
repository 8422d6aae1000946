/* SPDX-License-Identifier: MIT
 * A store of dead letters in a directory of its own, for tests. */
#ifndef DEAD_LETTER_FIXTURE_H
#define DEAD_LETTER_FIXTURE_H

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/clock.h"
#include "io/dead_letter_store.h"

#define T0     (INT64_C(1700000000) * CLOCK_SECOND)
#define UNUSED __attribute__((unused))

struct fixture {
    char directory[64];
    struct dead_letter_store *store; /* NULL: closed */
    struct fault fault;
};

UNUSED static void open_store(struct fixture *fixture, enum dead_letter_access access)
{
    fixture->store = dead_letter_store_sqlite_open(fixture->directory, access, &fixture->fault);
    if (!fixture->store)
        fail_msg("%s", fixture->fault.text);
}

UNUSED static void close_store(struct fixture *fixture)
{
    if (fixture->store)
        fixture->store->ops->close(fixture->store);
    fixture->store = NULL;
}

UNUSED static int setup_directory(void **state)
{
    struct fixture *fixture = calloc(1, sizeof *fixture);

    strcpy(fixture->directory, "/tmp/test-dead-letters-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    *state = fixture;
    return 0;
}

UNUSED static int setup(void **state)
{
    setup_directory(state);
    open_store(*state, DEAD_LETTER_WRITE);
    return 0;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    return remove(path);
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

UNUSED static void add_n(struct fixture *fixture, struct dead_letter *letters, size_t count)
{
    if (fixture->store->ops->add(fixture->store, letters, count, &fixture->fault) != 0)
        fail_msg("%s", fixture->fault.text);
}

/* Positions of letters, as a query gives them. */
#define SEEN 2048
struct seen {
    size_t count;
    uint64_t positions[SEEN];
    size_t stop_after; /* 0: not */
};

UNUSED static int see(void *argument, const struct dead_letter *one)
{
    struct seen *seen = argument;

    assert_true(seen->count < SEEN);
    seen->positions[seen->count++] = one->position;
    return seen->stop_after && seen->count >= seen->stop_after;
}

#endif
