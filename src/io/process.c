/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/process.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"

static uint64_t count_descriptors(void)
{
    DIR *directory = opendir("/proc/self/fd");
    uint64_t count = 0;

    if (!directory)
        return 0;
    for (const struct dirent *entry; (entry = readdir(directory));)
        count += *entry->d_name != '.';
    closedir(directory);
    return count - 1; /* the directory's own */
}

/* proc(5): what follows the name in parentheses, from field 3 on. */
static void read_stat(struct process_usage *usage)
{
    unsigned long long user, system, start, size;
    long threads, pages, ticks = sysconf(_SC_CLK_TCK);
    char text[1024];
    ssize_t got = file_read("/proc/self/stat", text, sizeof text - 1);
    const char *rest;

    text[got > 0 ? got : 0] = '\0';
    rest = strrchr(text, ')');
    if (!rest || sscanf(rest + 1,
                        " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %*d %*d %*d %*d "
                        "%ld %*d %llu %llu %ld",
                        &user, &system, &threads, &start, &size, &pages) != 6)
        return;
    usage->cpu_seconds = (double)(user + system) / (double)ticks;
    usage->start_seconds =
        (double)(clock_wall() - clock_read(CLOCK_BOOTTIME)) / CLOCK_SECOND +
        (double)start / (double)ticks;
    usage->threads = (uint64_t)threads;
    usage->virtual_bytes = size;
    usage->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

void process_read_usage(struct process_usage *ret_usage)
{
    struct rlimit limit;

    *ret_usage = (struct process_usage){0};
    read_stat(ret_usage);
    ret_usage->open_descriptors = count_descriptors();
    if (!getrlimit(RLIMIT_NOFILE, &limit))
        ret_usage->most_descriptors = limit.rlim_cur;
}
