/* SPDX-License-Identifier: MIT
 * A child process of `sluice demo`, read line by line. Main thread only. */
#ifndef CLI_DEMO_PROCESS_H
#define CLI_DEMO_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/fault.h"

struct demo_process {
    pid_t pid;   /* 0: none */
    int input;   /* its standard input; -1: /dev/null */
    int output;  /* what is read of it; -1: it has ended */
    char line[16 * 1024];
    size_t size;  /* bytes in `line` */
    size_t given; /* of them the caller's line */
};

enum demo_process_stream { DEMO_PROCESS_STDOUT, DEMO_PROCESS_STDERR };

/* Starts `argv` (argv[0] is a path). With STDOUT that is read and standard input is a pipe; with
 * STDERR standard input and output are /dev/null. 0, or -1 with a fault. */
int demo_process_start(struct demo_process *process, char *const *argv,
                       enum demo_process_stream read, struct fault *fault);

/* The next whole line, valid until the next call; NULL: none yet, or (output is -1 then) the end.
 * Does not block. */
const char *demo_process_line(struct demo_process *process);
/* Waits for something to read, at most so long; a signal ends the wait. */
void demo_process_wait(const struct demo_process *process, int64_t most_us);

/* Closes its standard input, sends `signal_number` (0: none), waits for its end at most so long and
 * kills it then. Returns its exit code, -1 if a signal ended it. Fine if there is none. */
int demo_process_stop(struct demo_process *process, int signal_number, int64_t most_us);

#endif
