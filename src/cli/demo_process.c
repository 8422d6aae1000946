/* SPDX-License-Identifier: MIT */
#define _GNU_SOURCE
#include "cli/demo_process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

/* In the child: only what is async-signal-safe, as other threads may have held locks. */
static void become(char *const *argv, enum demo_process_stream read, const int input[2],
                   const int output[2], int nothing)
{
    sigset_t none;

    prctl(PR_SET_PDEATHSIG, SIGTERM); /* no orphan if the demo is killed */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (read == DEMO_PROCESS_STDOUT) {
        dup2(input[0], STDIN_FILENO);
        dup2(output[1], STDOUT_FILENO);
    } else {
        dup2(nothing, STDIN_FILENO);
        dup2(nothing, STDOUT_FILENO);
        dup2(output[1], STDERR_FILENO);
    }
    execv(argv[0], argv);
    _exit(127);
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

int demo_process_start(struct demo_process *process, char *const *argv,
                       enum demo_process_stream read, struct fault *fault)
{
    int input[2] = {-1, -1}, output[2] = {-1, -1};
    int nothing = open("/dev/null", O_RDWR | O_CLOEXEC);

    process->pid = 0;
    process->input = process->output = -1;
    process->size = process->given = 0;
    if (nothing >= 0 && !pipe2(output, O_CLOEXEC) &&
        (read != DEMO_PROCESS_STDOUT || !pipe2(input, O_CLOEXEC)))
        process->pid = fork();
    else
        process->pid = -1;
    if (process->pid == 0)
        become(argv, read, input, output, nothing);
    if (process->pid < 0) {
        fault_set(fault, "cannot start %s: %s", argv[0], strerror(errno));
        close_one(&input[1]);
        close_one(&output[0]);
        process->pid = 0;
    } else {
        process->input = input[1];
        process->output = output[0];
        fcntl(process->output, F_SETFL, O_NONBLOCK);
    }
    close_one(&input[0]);
    close_one(&output[1]);
    close_one(&nothing);
    return process->pid ? 0 : -1;
}

const char *demo_process_line(struct demo_process *process)
{
    memmove(process->line, process->line + process->given, process->size - process->given);
    process->size -= process->given;
    process->given = 0;
    while (true) {
        char *end = memchr(process->line, '\n', process->size);
        size_t room = sizeof process->line - process->size;
        ssize_t got;

        if (end || !room) { /* a line that is too long is cut */
            end = end ? end : process->line + sizeof process->line - 1;
            *end = '\0';
            process->given = (size_t)(end - process->line) + 1;
            return process->line;
        }
        if (process->output < 0)
            return NULL;
        got = read(process->output, process->line + process->size, room);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return NULL;
        if (got <= 0)
            close_one(&process->output);
        else
            process->size += (size_t)got;
    }
}

void demo_process_wait(const struct demo_process *process, int64_t most_us)
{
    struct pollfd wanted = {.fd = process->output, .events = POLLIN};

    poll(&wanted, 1, (int)(most_us / CLOCK_MS));
}

int demo_process_stop(struct demo_process *process, int signal_number, int64_t most_us)
{
    const struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    int64_t until_us = clock_now() + most_us;
    int status = 0;
    pid_t ended;

    close_one(&process->input);
    if (process->pid <= 0)
        return 0;
    if (signal_number)
        kill(process->pid, signal_number);
    while (!(ended = waitpid(process->pid, &status, WNOHANG)) && clock_now() < until_us)
        nanosleep(&pause, NULL);
    if (!ended) {
        kill(process->pid, SIGKILL);
        waitpid(process->pid, &status, 0);
    }
    close_one(&process->output);
    process->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}
