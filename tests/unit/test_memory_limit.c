/* SPDX-License-Identifier: MIT */
#include "io/memory_limit.h"

#include <limits.h>
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

#define MIB (UINT64_C(1) << 20)

/* Writes a file below the present directory, with the directories before it. */
static void write_file(const char *path, const char *text)
{
    char directory[PATH_MAX];
    FILE *file;

    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
        mkdir(directory, 0700);
    }
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int enter_directory(void **state)
{
    char path[] = "/tmp/sluice-limit-XXXXXX";

    *state = mkdtemp(path) ? strdup(path) : NULL;
    return *state ? chdir(*state) : -1;
}

static int leave_directory(void **state)
{
    char command[PATH_MAX];

    snprintf(command, sizeof command, "rm -rf '%s'", (char *)*state);
    free(*state);
    return chdir("/") || system(command);
}

static void a_machine_without_groups_has_what_it_has(void **state)
{
    assert_int_equal(memory_limit_read("./none"),
                     (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

static void the_group_of_a_service_limits(void **state)
{
    write_file("./proc/self/cgroup", "0::/system.slice/sluice.service\n");
    write_file("./sys/fs/cgroup/system.slice/sluice.service/memory.max", "67108864\n");
    write_file("./sys/fs/cgroup/system.slice/sluice.service/memory.high", "max\n");
    write_file("./sys/fs/cgroup/system.slice/memory.max", "max\n");
    assert_int_equal(memory_limit_read("."), 64 * MIB);
}

static void memory_high_limits_too(void **state)
{
    write_file("./proc/self/cgroup", "0::/system.slice/sluice.service\n");
    write_file("./sys/fs/cgroup/system.slice/sluice.service/memory.max", "67108864\n");
    write_file("./sys/fs/cgroup/system.slice/sluice.service/memory.high", "33554432\n");
    assert_int_equal(memory_limit_read("."), 32 * MIB);
}

static void a_group_above_limits_too(void **state)
{
    write_file("./proc/self/cgroup", "0::/a/b/c\n");
    write_file("./sys/fs/cgroup/a/b/c/memory.max", "67108864\n");
    write_file("./sys/fs/cgroup/a/memory.max", "16777216\n");
    assert_int_equal(memory_limit_read("."), 16 * MIB);
}

static void in_a_container_the_top_is_a_group(void **state)
{
    write_file("./proc/self/cgroup", "0::/\n");
    write_file("./sys/fs/cgroup/memory.max", "134217728\n");
    assert_int_equal(memory_limit_read("."), 128 * MIB);
}

static void version_1_is_understood(void **state)
{
    write_file("./proc/self/cgroup", "9:name=systemd:/\n8:pids:/x\n4:memory:/docker/1\n0::/x\n");
    write_file("./sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "50331648\n");
    write_file("./sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(memory_limit_read("."), 48 * MIB);
}

static void nonsense_limits_nothing(void **state)
{
    uint64_t machine = memory_limit_read("./none");

    write_file("./proc/self/cgroup", "0\n0:\n::\n0::relative\n0::/a\n");
    write_file("./sys/fs/cgroup/a/memory.max", "plenty\n");
    assert_int_equal(memory_limit_read("."), machine);
    write_file("./sys/fs/cgroup/a/memory.max", "");
    assert_int_equal(memory_limit_read("."), machine);
}

#define IN_DIRECTORY(test_) cmocka_unit_test_setup_teardown(test_, enter_directory, leave_directory)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_DIRECTORY(a_machine_without_groups_has_what_it_has),
        IN_DIRECTORY(the_group_of_a_service_limits),
        IN_DIRECTORY(memory_high_limits_too),
        IN_DIRECTORY(a_group_above_limits_too),
        IN_DIRECTORY(in_a_container_the_top_is_a_group),
        IN_DIRECTORY(version_1_is_understood),
        IN_DIRECTORY(nonsense_limits_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
