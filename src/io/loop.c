/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "io/loop.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"

#define EVENTS_PER_TURN 128
#define NOT_WATCHED     0

/* One per descriptor number. `generation` tells an event of this watch from one that the kernel
 * handed over before the watch was removed and the number used again. */
struct watch {
    loop_fd_fn ready; /* NULL: not watched */
    void *argument;
    uint32_t wanted;  /* as asked for by loop_watch */
    uint32_t applied; /* as the kernel knows it */
    uint32_t generation;
    bool changed; /* listed in loop->changed */
};

struct loop {
    int epoll;
    bool coarse; /* the kernel has no epoll_pwait2: whole milliseconds */
    int64_t now_us;
    struct watch *watches;
    size_t watch_room;
    int *changed; /* descriptors whose `wanted` may differ from `applied` */
    size_t changed_count, changed_room;
    struct loop_timer **heap; /* from 1 */
    uint32_t heap_count, heap_room;
};

struct loop *loop_new(struct fault *fault)
{
    struct loop *loop = memory_zero(1, sizeof *loop);

    loop->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll < 0) {
        fault_set(fault, "cannot create an epoll descriptor: %s", strerror(errno));
        free(loop);
        return NULL;
    }
    loop->now_us = clock_now();
    return loop;
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    close(loop->epoll);
    free(loop->watches);
    free(loop->changed);
    free(loop->heap);
    free(loop);
}

int64_t loop_now(const struct loop *loop)
{
    return loop->now_us;
}

/* ---- descriptors ---- */

static int control(struct loop *loop, int operation, int fd)
{
    struct watch *watch = &loop->watches[fd];
    struct epoll_event event = {.events = watch->wanted};

    event.data.u64 = (uint64_t)watch->generation << 32 | (uint32_t)fd;
    if (epoll_ctl(loop->epoll, operation, fd, &event))
        return -1;
    watch->applied = watch->wanted;
    return 0;
}

static void note_change(struct loop *loop, int fd)
{
    if (loop->watches[fd].changed)
        return;
    if (loop->changed_count == loop->changed_room) {
        loop->changed_room = loop->changed_room ? loop->changed_room * 2 : 64;
        loop->changed = memory_resize(loop->changed, loop->changed_room, sizeof *loop->changed);
    }
    loop->changed[loop->changed_count++] = fd;
    loop->watches[fd].changed = true;
}

static void make_room(struct loop *loop, int fd)
{
    size_t room = loop->watch_room ? loop->watch_room : 64;

    if ((size_t)fd < loop->watch_room)
        return;
    while (room <= (size_t)fd)
        room *= 2;
    loop->watches = memory_resize(loop->watches, room, sizeof *loop->watches);
    memset(loop->watches + loop->watch_room, 0, (room - loop->watch_room) * sizeof *loop->watches);
    loop->watch_room = room;
}

int loop_watch(struct loop *loop, int fd, uint32_t events, loop_fd_fn ready, void *argument)
{
    struct watch *watch;

    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    if (!events) {
        loop_unwatch(loop, fd);
        return 0;
    }
    make_room(loop, fd);
    watch = &loop->watches[fd];
    if (watch->ready) {
        /* Changes wait for the end of the turn: whoever asks for one thing and then for the
         * opposite within a turn, as curl does twice a request, costs no system call. */
        watch->ready = ready;
        watch->argument = argument;
        watch->wanted = events;
        if (watch->wanted != watch->applied)
            note_change(loop, fd);
        return 0;
    }
    watch->generation++;
    watch->wanted = events;
    if (control(loop, EPOLL_CTL_ADD, fd) && (errno != EEXIST || control(loop, EPOLL_CTL_MOD, fd)))
        return -1;
    watch->ready = ready;
    watch->argument = argument;
    return 0;
}

void loop_unwatch(struct loop *loop, int fd)
{
    struct watch *watch;

    if (fd < 0 || (size_t)fd >= loop->watch_room || !loop->watches[fd].ready)
        return;
    watch = &loop->watches[fd];
    /* At once, not at the end of the turn: the caller closes the descriptor next. */
    epoll_ctl(loop->epoll, EPOLL_CTL_DEL, fd, NULL);
    watch->ready = NULL;
    watch->generation++;
    watch->wanted = watch->applied = NOT_WATCHED;
}

static void apply_changes(struct loop *loop)
{
    for (size_t i = 0; i < loop->changed_count; i++) {
        int fd = loop->changed[i];
        struct watch *watch = &loop->watches[fd];

        watch->changed = false;
        /* ENOENT: closed and opened again behind our back; the kernel forgot the old one. */
        if (watch->ready && watch->wanted != watch->applied && control(loop, EPOLL_CTL_MOD, fd) &&
            errno == ENOENT)
            control(loop, EPOLL_CTL_ADD, fd);
    }
    loop->changed_count = 0;
}

/* ---- timers: a binary heap, smallest `at_us` at 1 ---- */

static void put(struct loop *loop, uint32_t slot, struct loop_timer *timer)
{
    loop->heap[slot] = timer;
    timer->slot = slot;
}

/* Moves `timer` from the free place `slot` up or down to where it belongs. */
static void sift(struct loop *loop, uint32_t slot, struct loop_timer *timer)
{
    while (slot > 1 && loop->heap[slot / 2]->at_us > timer->at_us) {
        put(loop, slot, loop->heap[slot / 2]);
        slot /= 2;
    }
    for (uint32_t child; (child = slot * 2) <= loop->heap_count; slot = child) {
        if (child < loop->heap_count && loop->heap[child + 1]->at_us < loop->heap[child]->at_us)
            child++;
        if (loop->heap[child]->at_us >= timer->at_us)
            break;
        put(loop, slot, loop->heap[child]);
    }
    put(loop, slot, timer);
}

static void clear_timer(struct loop *loop, struct loop_timer *timer)
{
    uint32_t slot = timer->slot;
    struct loop_timer *last = loop->heap[loop->heap_count--];

    if (last != timer)
        sift(loop, slot, last);
    timer->slot = 0;
}

void loop_set_timer(struct loop *loop, struct loop_timer *timer, int64_t at_us)
{
    if (at_us == CLOCK_NEVER) {
        if (timer->slot)
            clear_timer(loop, timer);
        timer->at_us = at_us;
        return;
    }
    timer->at_us = at_us;
    if (timer->slot) {
        sift(loop, timer->slot, timer);
        return;
    }
    if (loop->heap_count + 1 >= loop->heap_room) {
        loop->heap_room = loop->heap_room ? loop->heap_room * 2 : 64;
        loop->heap = memory_resize(loop->heap, loop->heap_room, sizeof(struct loop_timer *));
    }
    sift(loop, ++loop->heap_count, timer);
}

/* Timers that a timer sets for now wait for the next turn once as many ran as were set at the
 * start, so that descriptors get their share. */
static void run_timers(struct loop *loop)
{
    uint32_t most = loop->heap_count;

    while (most-- && loop->heap_count && loop->heap[1]->at_us <= loop->now_us) {
        struct loop_timer *timer = loop->heap[1];

        clear_timer(loop, timer);
        timer->expired(timer->argument);
    }
}

/* ---- the turn ---- */

static int wait_events(struct loop *loop, struct epoll_event *events, int64_t until_us)
{
    int64_t wait_us;

    if (loop->heap_count && loop->heap[1]->at_us < until_us)
        until_us = loop->heap[1]->at_us;
    if (until_us == CLOCK_NEVER)
        return epoll_wait(loop->epoll, events, EVENTS_PER_TURN, -1);
    wait_us = until_us <= loop->now_us ? 0 : until_us - clock_now();
    if (wait_us <= 0)
        return epoll_wait(loop->epoll, events, EVENTS_PER_TURN, 0);
    if (!loop->coarse) {
        struct timespec timeout = {.tv_sec = (time_t)(wait_us / CLOCK_SECOND),
                                   .tv_nsec = (long)(wait_us % CLOCK_SECOND * 1000)};
        int count = epoll_pwait2(loop->epoll, events, EVENTS_PER_TURN, &timeout, NULL);

        /* EPERM: a system call filter that does not know it. */
        if (count >= 0 || (errno != ENOSYS && errno != EPERM))
            return count;
        loop->coarse = true;
    }
    wait_us = wait_us > CLOCK_HOUR ? CLOCK_HOUR : wait_us;
    return epoll_wait(loop->epoll, events, EVENTS_PER_TURN, (int)((wait_us + 999) / 1000));
}

void loop_turn(struct loop *loop, int64_t until_us)
{
    struct epoll_event events[EVENTS_PER_TURN];
    int count;

    apply_changes(loop);
    count = wait_events(loop, events, until_us);
    loop->now_us = clock_now();
    for (int i = 0; i < count; i++) {
        uint32_t fd = (uint32_t)events[i].data.u64;
        struct watch *watch = &loop->watches[fd];
        uint32_t ready = events[i].events & (watch->wanted | EPOLLERR | EPOLLHUP);

        if (watch->ready && ready && watch->generation == (uint32_t)(events[i].data.u64 >> 32))
            watch->ready(watch->argument, ready);
    }
    run_timers(loop);
}
