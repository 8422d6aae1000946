/* SPDX-License-Identifier: MIT */
#include "cli/status_watch.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/memory.h"
#include "cli/screen.h"
#include "cli/status_view.h"
#include "io/control_client.h"
#include "io/http_client.h"

#define EVERY_MS   1000
#define TIMEOUT_US (2 * CLOCK_SECOND)

struct watch {
    const char *mapping;
    char *path, *socket;
    struct screen screen;
    struct termios before; /* of standard input */
    bool keys;             /* standard input is a terminal, and ours */
    int signals;           /* signalfd */
    int code;
};

/* ---- the terminal ---- */

static void enter(struct watch *watch)
{
    struct termios quiet;

    watch->keys = !tcgetattr(STDIN_FILENO, &watch->before);
    if (watch->keys) {
        quiet = watch->before;
        quiet.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        quiet.c_cc[VMIN] = 0;
        quiet.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &quiet);
    }
    screen_enter_page(&watch->screen);
}

static void leave(const struct watch *watch)
{
    screen_leave_page(&watch->screen);
    if (watch->keys)
        tcsetattr(STDIN_FILENO, TCSANOW, &watch->before);
}

/* Ctrl-Z: the shell gets its terminal back, and we ours when we go on. */
static void suspend(struct watch *watch)
{
    leave(watch);
    raise(SIGSTOP);
    enter(watch);
}

/* ---- drawing ---- */

static void draw_answer(struct watch *watch, const json_t *answer)
{
    struct screen *screen = &watch->screen;

    if (watch->mapping) {
        json_t *service = json_pack("{s:[O]}", "mappings", answer);

        watch->code = status_view_health(service);
        json_decref(service);
        status_view_mapping(screen, answer);
    } else {
        watch->code = status_view_health(answer);
        status_view_list(screen, answer);
    }
}

static void draw(struct watch *watch)
{
    char now[16];
    time_t at = time(NULL);
    struct fault fault;
    json_t *answer;
    struct tm tm;

    screen_look(&watch->screen);
    screen_home(&watch->screen);
    if (control_client_ask(watch->socket, "GET", watch->path, NULL, TIMEOUT_US, &answer, &fault) ==
        CONTROL_ANSWERED) {
        draw_answer(watch, answer);
    } else {
        watch->code = EX_UNAVAILABLE;
        screen_line(&watch->screen, SCREEN_RED, "%s", fault.text);
    }
    json_decref(answer);
    screen_erase_below(&watch->screen);
    if (localtime_r(&at, &tm) && strftime(now, sizeof now, "%H:%M:%S", &tm))
        printf("%s, every second; q quits", now);
    fflush(stdout);
}

/* ---- keys and signals ---- */

/* Waits for the next second. Returns whether to go on. */
static bool wait_a_second(struct watch *watch)
{
    struct pollfd waited[] = {{.fd = watch->signals, .events = POLLIN},
                              {.fd = watch->keys ? STDIN_FILENO : -1, .events = POLLIN}};
    struct signalfd_siginfo info;
    char key;

    if (poll(waited, 2, EVERY_MS) <= 0)
        return true;
    if (waited[0].revents && read(watch->signals, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTSTP)
            suspend(watch);
        else if (info.ssi_signo != SIGWINCH)
            return false;
    }
    if (waited[1].revents & (POLLHUP | POLLERR))
        return false;
    return !waited[1].revents || read(STDIN_FILENO, &key, 1) != 1 || (key != 'q' && key != 'Q');
}

static int open_signals(void)
{
    static const int wanted[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH};
    sigset_t signals;

    sigemptyset(&signals);
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        sigaddset(&signals, wanted[i]);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signalfd(-1, &signals, SFD_CLOEXEC);
}

int status_watch(const struct control_place *place, const char *mapping)
{
    struct watch watch = {.mapping = mapping};

    screen_look(&watch.screen);
    if (!watch.screen.terminal) {
        fputs("sluice status: --watch needs a terminal; --json is for scripts\n", stderr);
        return EX_USAGE;
    }
    http_client_global_init();
    watch.socket = control_find(place);
    watch.path = mapping ? memory_format("/v1/mappings/%s", mapping) : memory_text("/v1/status");
    watch.signals = open_signals();
    enter(&watch);
    do {
        draw(&watch);
    } while (wait_a_second(&watch));
    leave(&watch);
    close(watch.signals);
    free(watch.path);
    free(watch.socket);
    return watch.code;
}
