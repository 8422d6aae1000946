/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/usage_store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/memory.h"

static char directory[64], *path;

static int setup(void **state)
{
    strcpy(directory, "/tmp/test-usage-XXXXXX");
    path = mkdtemp(directory) ? memory_format("%s/usage.db", directory) : NULL;
    return path ? 0 : -1;
}

static int teardown(void **state)
{
    unlink(path);
    free(path);
    return rmdir(directory);
}

static void its_file_is_private(void **state)
{
    struct usage_store *store;
    struct fault fault;
    struct stat status;

    umask(0);
    store = usage_store_open(directory, &fault);
    assert_non_null(store);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
    usage_store_close(store);
    store = usage_store_open(directory, &fault); /* what is there already */
    assert_non_null(store);
    usage_store_close(store);
}

/* Whoever may write in the directory must not choose another file for it. */
static void a_link_is_not_followed(void **state)
{
    char elsewhere[] = "/tmp/test-usage-other-XXXXXX";
    struct fault fault = {""};
    struct stat status;

    close(mkstemp(elsewhere));
    assert_int_equal(symlink(elsewhere, path), 0);
    assert_null(usage_store_open(directory, &fault));
    assert_non_null(strstr(fault.text, path));
    assert_non_null(strstr(fault.text, "must own its state directory"));
    assert_int_equal(stat(elsewhere, &status), 0);
    assert_int_equal(status.st_size, 0);
    unlink(elsewhere);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(its_file_is_private, setup, teardown),
        cmocka_unit_test_setup_teardown(a_link_is_not_followed, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
