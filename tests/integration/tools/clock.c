/* SPDX-License-Identifier: MIT
 * Preloaded into a program, moves its wall clock by the seconds (an int64_t) in the file that
 * $SLUICE_TEST_CLOCK names, as they are at each call; monotonic clocks stay. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *moved;

__attribute__((constructor)) static void map_file(void)
{
    const char *path = getenv("SLUICE_TEST_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *page;

    if (file < 0)
        abort();
    page = mmap(NULL, sizeof *moved, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        abort();
    moved = page;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *ret_now)
{
    int code = (int)syscall(SYS_clock_gettime, clock, ret_now);

    if (code == 0 && moved && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        ret_now->tv_sec += *moved;
    return code;
}

int gettimeofday(struct timeval *restrict ret_now, void *restrict zone)
{
    struct timespec now;
    int code = clock_gettime(CLOCK_REALTIME, &now);

    (void)zone;
    *ret_now = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
    return code;
}

time_t time(time_t *ret_now)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (ret_now)
        *ret_now = now.tv_sec;
    return now.tv_sec;
}
